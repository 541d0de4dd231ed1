//! Gradients of convolutions with respect to their input: forward convolutions of `dy`, one for each
//! [`Phase`].

use super::{
    Packed,
    dense::{PackedDense, WeightSource},
    depthwise::PackedDepthwise,
    geometry::{Epilogue, Phase, phases},
    groups::merge_groups,
    is_dense, is_depthwise,
};
use crate::{
    activation::Activation,
    element::Element,
    isa::Isa,
    shape::{Conv2dShape, assert_len},
};

/// The gradient with respect to the input: `dx` from `dy` and the weights, plus `others` if given: gradients
/// that reach the same input along other paths.
///
/// `weights`: as for [`PackedConv2d::pack`](crate::PackedConv2d::pack); `dy`: `[batch, out_height, out_width,
/// out_channels]`; `others` and `dx`: `[batch, in_height, in_width, in_channels]`; `dx` is overwritten.
///
/// # Panics
/// On an invalid shape or slices of other lengths.
pub fn conv2d_backward_data<T: Element>(
    shape: &Conv2dShape,
    weights: &[f32],
    dy: &[T],
    others: Option<&[T]>,
    dx: &mut [T],
) {
    shape.assert_valid();
    assert_len("weights", weights, shape.weight_len());
    assert_len("dy", dy, shape.output_len());
    assert_len("dx", dx, shape.input_len());
    if let Some(others) = others {
        assert_len("others", others, shape.input_len());
    }
    let isa = Isa::current();
    let phases = phases(shape);
    let sources: Vec<_> = phases.iter().map(|phase| weight_source(shape, weights, phase)).collect();
    let packs_in_pieces = |source: &WeightSource<'_>| PackedDense::packs_in_pieces(isa, source, dy);
    if !is_dense::<T>(shape) || !sources.iter().all(packs_in_pieces) {
        return PackedBackward::pack::<T>(shape, weights).run(shape, dy, others, dx);
    }
    let epilogue = Epilogue { bias: None, residual: others, activation: Activation::None };
    for (phase, source) in phases.iter().zip(&sources) {
        PackedDense::pack_and_run(isa, source, &phase.grid, dy, &epilogue, dx);
    }
}

/// Weights packed for the gradient with respect to the input, one packing for each phase.
pub(super) struct PackedBackward(Vec<Packed>);

impl PackedBackward {
    /// The result serves any batch of images of this size.
    pub(super) fn pack<T: Element>(shape: &Conv2dShape, weights: &[f32]) -> Self {
        let taps = shape.kernel[0] * shape.kernel[1];
        let (merged, merged_weights) = merge_groups(shape, weights);
        let pack = |phase: Phase| {
            if !is_depthwise(shape) {
                return Packed::dense::<T>(&merged, &weight_source(&merged, &merged_weights, &phase));
            }
            let weight = |channel: usize, row: usize, column: usize| {
                let tap = phase.kernel_tap_at(shape, row, column);
                T::from_f32(weights[channel * taps + tap]).to_f32()
            };
            let (channels, stride) = (shape.in_channels, phase.grid.stride);
            Packed::Depthwise(PackedDepthwise::pack::<T>(
                Isa::current(),
                channels,
                phase.taps,
                stride,
                weight,
            ))
        };
        PackedBackward(phases(shape).into_iter().map(pack).collect())
    }

    pub(super) fn run<T: Element>(&self, shape: &Conv2dShape, dy: &[T], others: Option<&[T]>, dx: &mut [T]) {
        let epilogue = Epilogue { bias: None, residual: others, activation: Activation::None };
        for (phase, packed) in phases(shape).iter().zip(&self.0) {
            match packed {
                Packed::Dense(packed) => packed.run(&phase.grid, dy, &epilogue, dx),
                Packed::Depthwise(packed) => packed.run(&phase.grid, phase.taps, dy, &epilogue, dx),
                Packed::Winograd(packed) => {
                    packed.run(&phase.grid, phase.taps.first, dy, &epilogue, dx, |_| ());
                }
            }
        }
    }
}

fn weight_source<'a>(shape: &Conv2dShape, weights: &'a [f32], phase: &Phase) -> WeightSource<'a> {
    WeightSource {
        weights,
        scale: None,
        groups: shape.groups,
        // What the convolution of `dy` reads are the forward pass's outputs.
        group_in: shape.group_out(),
        group_out: shape.group_in(),
        all_taps: shape.kernel[0] * shape.kernel[1],
        taps: phase.kernel_taps(shape),
        taps_per_row: 1,
        transposed: true,
    }
}
