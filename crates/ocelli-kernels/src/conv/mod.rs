//! Convolution: forward, and gradients with respect to data and weights.
//!
//! | module | |
//! |---|---|
//! | `geometry` | which input pixels an output pixel reads; what follows the sums |
//! | `groups` | narrow groups computed together |
//! | `dense` | the kernel of dense and grouped convolutions |
//! | `depthwise` | the kernels of depthwise convolutions, with their gradient with respect to weights |
//! | `winograd` | 3×3 convolutions with fewer multiplications |
//! | `backward_data` | gradients with respect to the input, by the three kernels above |
//! | `backward_weights` | gradients with respect to the weights of dense and grouped convolutions |
//! | `fused_block` | several convolutions in a row, with what lies between them kept in the cache |

mod backward_data;
pub(crate) mod backward_weights;
pub(crate) mod dense;
pub(crate) mod depthwise;
mod fused_block;
mod geometry;
mod groups;
pub(crate) mod winograd;

use crate::{
    activation::Activation,
    batch_norm::{ChannelStatistics, Moments, channel_statistics},
    element::Element,
    isa::Isa,
    shape::{Conv2dShape, assert_len},
    shared_mut::SharedMut,
};
pub use backward_data::conv2d_backward_data;
use dense::{PackedDense, WeightSource};
use depthwise::PackedDepthwise;
pub use fused_block::{
    FusedStage, StageGradients, fused_block, fused_block_backward, fused_block_with_feature_maps,
    has_fused_block_backward,
};
use geometry::{Epilogue, SamplingGrid, TapGrid};
use groups::{groups_to_merge, merge_groups, merged_shape, weight_rows};
use rayon::prelude::*;
use winograd::PackedWinograd;

/// Weights of a convolution in the order in which its kernel reads them, with bias.
///
/// Packing depends on the kernel size, stride, dilation, groups and channels of the shape, not on batch,
/// image size and padding: the same packed weights serve images of every size.
#[derive(Clone, Debug)]
pub struct PackedConv2d<T: Element> {
    filter: Conv2dShape,
    packed: Packed,
    bias: Option<Vec<f32>>,
    element: std::marker::PhantomData<T>,
}

#[derive(Clone, Debug)]
enum Packed {
    Dense(PackedDense),
    Depthwise(PackedDepthwise),
    Winograd(PackedWinograd),
}

impl Packed {
    /// Weights of a dense or grouped convolution of this shape, forwards or backwards.
    fn dense<T: Element>(shape: &Conv2dShape, source: &WeightSource<'_>) -> Self {
        if winograd::is_for::<T>(shape) {
            Packed::Winograd(PackedWinograd::pack::<T>(Isa::current(), source))
        } else {
            Packed::Dense(PackedDense::pack::<T>(Isa::current(), source))
        }
    }
}

impl<T: Element> PackedConv2d<T> {
    /// Packs `weights` (`[out_channels, in_channels / groups, rows, columns]`), each output channel
    /// multiplied by `scale` (`[out_channels]`; a folded batch norm) first, and keeps `bias`
    /// (`[out_channels]`).
    ///
    /// # Panics
    /// On an invalid shape, or slices of other lengths.
    pub fn pack(shape: &Conv2dShape, weights: &[f32], scale: Option<&[f32]>, bias: Option<&[f32]>) -> Self {
        shape.assert_valid();
        assert_len("weights", weights, shape.weight_len());
        if let Some(scale) = scale {
            assert_len("scale", scale, shape.out_channels);
        }
        if let Some(bias) = bias {
            assert_len("bias", bias, shape.out_channels);
        }
        let packed = if is_depthwise(shape) {
            let taps = shape.kernel[0] * shape.kernel[1];
            let weight = |channel: usize, row: usize, column: usize| {
                let weight = weights[channel * taps + row * shape.kernel[1] + column];
                T::from_f32(weight * scale.map_or(1.0, |scale| scale[channel])).to_f32()
            };
            let channels = shape.in_channels;
            Packed::Depthwise(PackedDepthwise::pack::<T>(
                Isa::current(),
                channels,
                TapGrid::forward(shape),
                shape.stride,
                weight,
            ))
        } else {
            let (merged, weights) = merge_groups(shape, weights);
            Packed::dense::<T>(&merged, &weight_source(&merged, &weights, scale))
        };
        PackedConv2d {
            filter: *shape,
            packed,
            bias: bias.map(<[f32]>::to_vec),
            element: std::marker::PhantomData,
        }
    }

    /// `y = activation(conv(x) + bias + residual)`.
    ///
    /// `x`: `[batch, in_height, in_width, in_channels]`; `residual` and `y`:
    /// `[batch, out_height, out_width, out_channels]`.
    ///
    /// # Panics
    /// On an invalid shape, one with another filter than the packed one, or slices of other lengths.
    pub fn forward(
        &self,
        shape: &Conv2dShape,
        x: &[T],
        residual: Option<&[T]>,
        activation: Activation,
        y: &mut [T],
    ) {
        self.check(shape, x, residual, y);
        let epilogue = Epilogue { bias: self.bias.as_deref(), residual, activation };
        let grid = SamplingGrid::forward(shape);
        match &self.packed {
            Packed::Dense(packed) => packed.run(&grid, x, &epilogue, y),
            Packed::Depthwise(packed) => {
                packed.run(&grid, packed.taps_from(TapGrid::forward(shape).first), x, &epilogue, y);
            }
            Packed::Winograd(packed) => {
                packed.run(&grid, TapGrid::forward(shape).first, x, &epilogue, y, |_| ());
            }
        }
    }

    /// As [`conv2d_with_statistics`].
    fn forward_with_statistics(&self, shape: &Conv2dShape, x: &[T], y: &mut [T]) -> ChannelStatistics {
        self.check(shape, x, None, y);
        let epilogue = Epilogue { bias: self.bias.as_deref(), residual: None, activation: Activation::None };
        let grid = SamplingGrid::forward(shape);
        let channels = shape.out_channels;
        // Each piece is summed while it is in the cache of the core that computed it.
        let moments: Vec<Moments> = match &self.packed {
            Packed::Dense(packed) => {
                let y = SharedMut::new(y);
                let pieces = packed.pieces::<T>(&grid, 16);
                pieces
                    .into_par_iter()
                    .map(|pixels| {
                        // SAFETY: pieces of pixels are disjoint.
                        let output = unsafe {
                            packed.run_piece(&grid, x, &epilogue, y, pixels.clone());
                            y.slice(pixels.start * channels, pixels.len() * channels)
                        };
                        Moments::new(channels, output)
                    })
                    .collect()
            }
            Packed::Depthwise(packed) => {
                let y = SharedMut::new(y);
                let taps = packed.taps_from(TapGrid::forward(shape).first);
                let row_len = grid.width * channels;
                let pieces = packed.pieces::<T>(&grid);
                pieces
                    .into_par_iter()
                    .map(|rows| {
                        // SAFETY: pieces of rows are disjoint.
                        let output = unsafe {
                            packed.run_piece(&grid, taps, x, &epilogue, y, rows.clone());
                            y.slice(rows.start * row_len, rows.len() * row_len)
                        };
                        Moments::new(channels, output)
                    })
                    .collect()
            }
            Packed::Winograd(packed) => {
                let first = TapGrid::forward(shape).first;
                packed.run(&grid, first, x, &epilogue, y, |output| Moments::new(channels, output))
            }
        };
        Moments::merge(channels, &moments)
    }

    /// Whether outputs are computed in tiles of several rows, whose position changes the rounding.
    fn has_tiles(&self) -> bool {
        matches!(self.packed, Packed::Winograd(_))
    }

    #[track_caller]
    fn check_filter(&self, shape: &Conv2dShape) {
        shape.assert_valid();
        let filter =
            |s: &Conv2dShape| (s.in_channels, s.out_channels, s.kernel, s.stride, s.dilation, s.groups);
        assert_eq!(filter(shape), filter(&self.filter), "the weights were packed for another filter");
    }

    #[track_caller]
    fn check(&self, shape: &Conv2dShape, x: &[T], residual: Option<&[T]>, y: &[T]) {
        self.check_filter(shape);
        check_maps(shape, x, residual, y);
    }
}

#[track_caller]
fn check_maps<T>(shape: &Conv2dShape, x: &[T], residual: Option<&[T]>, y: &[T]) {
    assert_len("x", x, shape.input_len());
    if let Some(residual) = residual {
        assert_len("residual", residual, shape.output_len());
    }
    assert_len("y", y, shape.output_len());
}

/// `y = activation(conv(x) + bias + residual)` with weights that are used once: the same bits as by
/// [`PackedConv2d`], without waiting for all weights to be packed where there are few pixels.
///
/// # Panics
/// As [`PackedConv2d::pack`] and [`PackedConv2d::forward`].
pub fn conv2d<T: Element>(
    shape: &Conv2dShape,
    weights: &[f32],
    bias: Option<&[f32]>,
    x: &[T],
    residual: Option<&[T]>,
    activation: Activation,
    y: &mut [T],
) {
    let Some(source) = source_to_pack_in_pieces(shape, weights, x) else {
        return PackedConv2d::pack(shape, weights, None, bias).forward(shape, x, residual, activation, y);
    };
    check_maps(shape, x, residual, y);
    if let Some(bias) = bias {
        assert_len("bias", bias, shape.out_channels);
    }
    let epilogue = Epilogue { bias, residual, activation };
    PackedDense::pack_and_run(Isa::current(), &source, &SamplingGrid::forward(shape), x, &epilogue, y);
}

/// `y = conv(x)` with weights that are used once, and the mean and variance of each of y's channels: what
/// batch norm needs in training.
///
/// # Panics
/// As [`PackedConv2d::pack`] and [`PackedConv2d::forward`]; and if `y` is empty.
pub fn conv2d_with_statistics<T: Element>(
    shape: &Conv2dShape,
    weights: &[f32],
    x: &[T],
    y: &mut [T],
) -> ChannelStatistics {
    assert!(!y.is_empty(), "statistics of nothing");
    if source_to_pack_in_pieces(shape, weights, x).is_none() {
        return PackedConv2d::pack(shape, weights, None, None).forward_with_statistics(shape, x, y);
    }
    conv2d(shape, weights, None, x, None, Activation::None, y);
    channel_statistics(shape.out_channels, y)
}

/// The weights of a convolution, if they are better packed piece by piece; see
/// [`PackedDense::packs_in_pieces`].
fn source_to_pack_in_pieces<'a, T: Element>(
    shape: &Conv2dShape,
    weights: &'a [f32],
    x: &[T],
) -> Option<WeightSource<'a>> {
    shape.assert_valid();
    assert_len("weights", weights, shape.weight_len());
    let source = is_dense::<T>(shape).then(|| weight_source(shape, weights, None))?;
    PackedDense::packs_in_pieces(Isa::current(), &source, x).then_some(source)
}

fn is_depthwise(shape: &Conv2dShape) -> bool {
    shape.groups == shape.in_channels && shape.groups == shape.out_channels && shape.groups > 1
}

/// Whether the dense kernel computes the convolution as it is: without merged groups, and not by Winograd's
/// algorithm.
fn is_dense<T: Element>(shape: &Conv2dShape) -> bool {
    !is_depthwise(shape) && groups_to_merge(shape) == 1 && !winograd::is_for::<T>(shape)
}

fn weight_source<'a>(shape: &Conv2dShape, weights: &'a [f32], scale: Option<&'a [f32]>) -> WeightSource<'a> {
    let taps = shape.kernel[0] * shape.kernel[1];
    WeightSource {
        weights,
        scale,
        groups: shape.groups,
        group_in: shape.group_in(),
        group_out: shape.group_out(),
        all_taps: taps,
        taps: (0..taps).collect(),
        taps_per_row: if shape.groups == 1 && shape.dilation[1] == 1 { shape.kernel[1] } else { 1 },
        transposed: false,
    }
}

/// The gradient with respect to the weights: `dw`, in the order `[out, in / groups, rows, columns]`.
///
/// `x`: `[batch, in_height, in_width, in_channels]`; `dy`: `[batch, out_height, out_width, out_channels]`;
/// `dw` is overwritten. (The gradient with respect to a bias is [`channel_sums`](crate::channel_sums) of
/// `dy`.)
///
/// # Panics
/// On an invalid shape or slices of other lengths.
pub fn conv2d_backward_weights<T: Element>(shape: &Conv2dShape, x: &[T], dy: &[T], dw: &mut [f32]) {
    shape.assert_valid();
    assert_len("x", x, shape.input_len());
    assert_len("dy", dy, shape.output_len());
    assert_len("dw", dw, shape.weight_len());
    let merged = merged_shape(shape);
    if is_depthwise(shape) {
        depthwise::backward_weights(
            Isa::current(),
            &SamplingGrid::forward(shape),
            TapGrid::forward(shape),
            x,
            dy,
            dw,
        );
    } else if merged != *shape {
        let mut merged_dw = vec![0.0; merged.weight_len()];
        conv2d_backward_weights(&merged, x, dy, &mut merged_dw);
        for (own, row) in weight_rows(shape) {
            dw[own].copy_from_slice(&merged_dw[row]);
        }
    } else if winograd::is_for::<T>(shape) {
        let first = TapGrid::forward(shape).first;
        winograd::backward_weights(Isa::current(), &SamplingGrid::forward(shape), first, x, dy, dw);
    } else {
        backward_weights::backward_weights(shape, x, dy, dw);
    }
}
