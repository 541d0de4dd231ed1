//! Convolution: forward, and gradients with respect to data and weights.
//!
//! | module | |
//! |---|---|
//! | `chain` | convolutions one after another, in the cache |
//! | `dense` | the engine of dense and grouped convolutions |
//! | `depthwise` | the engine of depthwise convolutions |
//! | `weights` | gradients with respect to weights |
//! | `winograd` | 3×3 convolutions with fewer multiplications |

pub(crate) mod chain;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod weights;
pub(crate) mod winograd;

use crate::{
    Activation, ChannelStatistics, Conv2dShape, Element, Isa, assert_len, channel_statistics,
    memory::SharedMut, norm::Moments, simd,
};
pub use chain::{
    Link, LinkGradients, conv2d_chain, conv2d_chain_backward, conv2d_chain_with_maps, has_chain_backward,
};
use dense::{Epilogue, Geometry, PackedDense, WeightSource};
use depthwise::{PackedDepthwise, TapGrid};
use rayon::prelude::*;
use std::{borrow::Cow, ops::Range};
use winograd::PackedWinograd;

/// Weights of a convolution in the order that its kernel reads them, with bias.
///
/// Packing depends on the kernel size, stride, dilation, groups and channels of the shape, not on batch, image size
/// and padding: the same packed weights serve images of every size.
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
    /// Packs `weights` (`[out_channels, in_channels / groups, rows, columns]`), each output channel multiplied by
    /// `scale` (`[out_channels]`; a folded batch norm) first, and keeps `bias` (`[out_channels]`).
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
        let packed = if has_filter_per_channel(shape) {
            let grid = forward_grid(shape);
            let taps = shape.kernel[0] * shape.kernel[1];
            let weight = |channel: usize, row: usize, column: usize| {
                let weight = weights[channel * taps + row * shape.kernel[1] + column];
                T::from_f32(weight * scale.map_or(1.0, |scale| scale[channel])).to_f32()
            };
            let channels = shape.in_channels;
            Packed::Depthwise(PackedDepthwise::pack::<T>(
                Isa::current(),
                channels,
                grid,
                shape.stride,
                weight,
            ))
        } else {
            let (joined, weights) = join_groups(shape, weights);
            Packed::dense::<T>(&joined, &forward_source(&joined, &weights, scale))
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
    /// On an invalid shape, one with another filter than was packed, or slices of other lengths.
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
        let geometry = forward_geometry(shape);
        match &self.packed {
            Packed::Dense(packed) => packed.run(&geometry, x, &epilogue, y),
            Packed::Depthwise(packed) => {
                packed.run(&geometry, packed.at(forward_grid(shape).first), x, &epilogue, y);
            }
            Packed::Winograd(packed) => {
                packed.run(&geometry, forward_grid(shape).first, x, &epilogue, y, |_| ());
            }
        }
    }

    /// As [`conv2d_with_statistics`].
    fn forward_with_statistics(&self, shape: &Conv2dShape, x: &[T], y: &mut [T]) -> ChannelStatistics {
        self.check(shape, x, None, y);
        let epilogue = Epilogue { bias: self.bias.as_deref(), residual: None, activation: Activation::None };
        let geometry = forward_geometry(shape);
        let channels = shape.out_channels;
        // Each piece is summed while it is in the cache of the core that computed it.
        let moments: Vec<Moments> = match &self.packed {
            Packed::Dense(packed) => {
                let y = SharedMut::new(y);
                let pieces = packed.pieces::<T>(&geometry, 16);
                pieces
                    .into_par_iter()
                    .map(|pixels| {
                        // SAFETY: pieces of pixels are disjoint.
                        let done = unsafe {
                            packed.run_piece(&geometry, x, &epilogue, y, pixels.clone());
                            y.slice(pixels.start * channels, pixels.len() * channels)
                        };
                        Moments::of(channels, done)
                    })
                    .collect()
            }
            Packed::Depthwise(packed) => {
                let y = SharedMut::new(y);
                let grid = packed.at(forward_grid(shape).first);
                let row_len = geometry.grid_width * channels;
                let pieces = packed.pieces::<T>(&geometry);
                pieces
                    .into_par_iter()
                    .map(|rows| {
                        // SAFETY: pieces of rows are disjoint.
                        let done = unsafe {
                            packed.run_piece(&geometry, grid, x, &epilogue, y, rows.clone());
                            y.slice(rows.start * row_len, rows.len() * row_len)
                        };
                        Moments::of(channels, done)
                    })
                    .collect()
            }
            Packed::Winograd(packed) => {
                let first = forward_grid(shape).first;
                packed.run(&geometry, first, x, &epilogue, y, |done| Moments::of(channels, done))
            }
        };
        Moments::merge(channels, &moments)
    }

    /// Whether outputs are computed in tiles, from which their sums' order follows.
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

/// `y = activation(conv(x) + bias + residual)` with weights that are used this once: what [`PackedConv2d`] does, to the
/// bit, without waiting for all weights to be packed where there are few pixels.
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
    let Some(source) = source_to_use_once(shape, weights, x) else {
        return PackedConv2d::pack(shape, weights, None, bias).forward(shape, x, residual, activation, y);
    };
    check_maps(shape, x, residual, y);
    if let Some(bias) = bias {
        assert_len("bias", bias, shape.out_channels);
    }
    let epilogue = Epilogue { bias, residual, activation };
    PackedDense::run_once(Isa::current(), &source, &forward_geometry(shape), x, &epilogue, y);
}

/// `y = conv(x)` with weights that are used this once, and the mean and variance of each of y's channels: what batch
/// norm needs in training.
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
    if source_to_use_once(shape, weights, x).is_none() {
        return PackedConv2d::pack(shape, weights, None, None).forward_with_statistics(shape, x, y);
    }
    conv2d(shape, weights, None, x, None, Activation::None, y);
    channel_statistics(shape.out_channels, y)
}

/// The weights of a convolution that is better packed piece by piece.
fn source_to_use_once<'a, T: Element>(
    shape: &Conv2dShape,
    weights: &'a [f32],
    x: &[T],
) -> Option<WeightSource<'a>> {
    shape.assert_valid();
    assert_len("weights", weights, shape.weight_len());
    let source = is_direct::<T>(shape).then(|| forward_source(shape, weights, None))?;
    PackedDense::is_better_once(Isa::current(), &source, x).then_some(source)
}

/// The gradient with respect to the input: `dx` from `dy` and the weights, plus `others` if there are any: gradients
/// that reach the same input by other ways.
///
/// `weights`: as for [`PackedConv2d::pack`]; `dy`: `[batch, out_height, out_width, out_channels]`; `others` and `dx`:
/// `[batch, in_height, in_width, in_channels]`; `dx` is overwritten.
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
    let sources: Vec<_> = phases.iter().map(|phase| backward_source(shape, weights, phase)).collect();
    let once = |source: &WeightSource<'_>| PackedDense::is_better_once(isa, source, dy);
    if !is_direct::<T>(shape) || !sources.iter().all(once) {
        return PackedBackward::pack::<T>(shape, weights).run(shape, dy, others, dx);
    }
    let epilogue = Epilogue { bias: None, residual: others, activation: Activation::None };
    for (phase, source) in phases.iter().zip(&sources) {
        PackedDense::run_once(isa, source, &phase.geometry, dy, &epilogue, dx);
    }
}

/// Weights in the order that the gradient with respect to the input reads them, phase by phase.
struct PackedBackward(Vec<Packed>);

impl PackedBackward {
    /// They serve any batch of images of this size.
    fn pack<T: Element>(shape: &Conv2dShape, weights: &[f32]) -> Self {
        let taps = shape.kernel[0] * shape.kernel[1];
        let (joined, of_joined) = join_groups(shape, weights);
        let pack = |phase: Phase| {
            if has_filter_per_channel(shape) {
                let weight = |channel: usize, row: usize, column: usize| {
                    let tap = phase.kernel_tap(shape, row * phase.columns.len() + column);
                    T::from_f32(weights[channel * taps + tap]).to_f32()
                };
                let (channels, step) = (shape.in_channels, phase.geometry.step);
                Packed::Depthwise(PackedDepthwise::pack::<T>(
                    Isa::current(),
                    channels,
                    phase.grid,
                    step,
                    weight,
                ))
            } else {
                Packed::dense::<T>(&joined, &backward_source(&joined, &of_joined, &phase))
            }
        };
        PackedBackward(phases(shape).into_iter().map(pack).collect())
    }

    fn run<T: Element>(&self, shape: &Conv2dShape, dy: &[T], others: Option<&[T]>, dx: &mut [T]) {
        let epilogue = Epilogue { bias: None, residual: others, activation: Activation::None };
        for (phase, packed) in phases(shape).iter().zip(&self.0) {
            match packed {
                Packed::Dense(packed) => packed.run(&phase.geometry, dy, &epilogue, dx),
                Packed::Depthwise(packed) => packed.run(&phase.geometry, phase.grid, dy, &epilogue, dx),
                Packed::Winograd(packed) => {
                    packed.run(&phase.geometry, phase.grid.first, dy, &epilogue, dx, |_| ());
                }
            }
        }
    }
}

fn has_filter_per_channel(shape: &Conv2dShape) -> bool {
    shape.groups == shape.in_channels && shape.groups == shape.out_channels && shape.groups > 1
}

/// Whether every product is computed, and no other, by the engine of dense convolutions.
fn is_direct<T: Element>(shape: &Conv2dShape) -> bool {
    !has_filter_per_channel(shape) && groups_at_once(shape) == 1 && !winograd::is_for::<T>(shape)
}

/// How many groups are computed as one: as many as fill a vector with their channels, whose lanes would be idle. That
/// takes no more multiplications than each group by itself, though most are by 0 (so that an infinity or NaN reaches the
/// neighbours of its group).
fn groups_at_once(shape: &Conv2dShape) -> usize {
    if has_filter_per_channel(shape) {
        return 1;
    }
    let fit = simd::lanes(Isa::current()) / shape.group_in().max(shape.group_out());
    (1..=fit).rev().find(|groups| shape.groups.is_multiple_of(*groups)).unwrap_or(1)
}

/// The same convolution with groups that are computed at once as one.
fn with_joined_groups(shape: &Conv2dShape) -> Conv2dShape {
    Conv2dShape { groups: shape.groups / groups_at_once(shape), ..*shape }
}

/// [`with_joined_groups`], and its weights: zeros between the groups.
fn join_groups<'a>(shape: &Conv2dShape, weights: &'a [f32]) -> (Conv2dShape, Cow<'a, [f32]>) {
    let joined = with_joined_groups(shape);
    if joined == *shape {
        return (joined, Cow::Borrowed(weights));
    }
    let mut zeros_between = vec![0.0; joined.weight_len()];
    for (own, of_joined) in rows_of_groups(shape) {
        zeros_between[of_joined].copy_from_slice(&weights[own]);
    }
    (joined, Cow::Owned(zeros_between))
}

/// Where each output's weights lie, by themselves and among the zeros of joined groups.
fn rows_of_groups(shape: &Conv2dShape) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let at_once = groups_at_once(shape);
    let (len, group_out) = (shape.weight_len() / shape.out_channels.max(1), shape.group_out());
    (0..shape.out_channels).map(move |output| {
        let place = output * at_once + output / group_out % at_once;
        (output * len..(output + 1) * len, place * len..(place + 1) * len)
    })
}

fn forward_source<'a>(shape: &Conv2dShape, weights: &'a [f32], scale: Option<&'a [f32]>) -> WeightSource<'a> {
    let taps = shape.kernel[0] * shape.kernel[1];
    WeightSource {
        weights,
        scale,
        groups: shape.groups,
        group_in: shape.group_in(),
        group_out: shape.group_out(),
        all_taps: taps,
        taps: (0..taps).collect(),
        row: if shape.groups == 1 && shape.dilation[1] == 1 { shape.kernel[1] } else { 1 },
        backwards: false,
    }
}

fn backward_source<'a>(shape: &Conv2dShape, weights: &'a [f32], phase: &Phase) -> WeightSource<'a> {
    WeightSource {
        weights,
        scale: None,
        groups: shape.groups,
        // Here the outputs are inputs.
        group_in: shape.group_out(),
        group_out: shape.group_in(),
        all_taps: shape.kernel[0] * shape.kernel[1],
        taps: (0..phase.geometry.taps.len()).map(|tap| phase.kernel_tap(shape, tap)).collect(),
        row: 1,
        backwards: true,
    }
}

fn forward_grid(shape: &Conv2dShape) -> TapGrid {
    TapGrid {
        rows: shape.kernel[0],
        columns: shape.kernel[1],
        first: [-(shape.padding.top as isize), -(shape.padding.left as isize)],
        spacing: shape.dilation.map(|dilation| dilation as isize),
    }
}

fn taps(grid: TapGrid) -> Vec<[isize; 2]> {
    let row = |r: usize| grid.first[0] + r as isize * grid.spacing[0];
    let column = |c: usize| grid.first[1] + c as isize * grid.spacing[1];
    (0..grid.rows).flat_map(|r| (0..grid.columns).map(move |c| [row(r), column(c)])).collect()
}

fn forward_geometry(shape: &Conv2dShape) -> Geometry {
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    Geometry {
        batch: shape.batch,
        in_height: shape.in_height,
        in_width: shape.in_width,
        in_channels: shape.in_channels,
        step: shape.stride,
        taps: taps(forward_grid(shape)),
        grid_height: out_height,
        grid_width: out_width,
        out_image: out_height * out_width,
        out_row: out_width,
        out_column: 1,
        out_first: 0,
        out_channels: shape.out_channels,
    }
}

/// Input pixels whose gradient sums the same kernel taps: with stride s, every s-th row and column.
struct Phase {
    geometry: Geometry,
    /// Kernel rows and columns that meet these pixels, in the order of the geometry's taps.
    rows: Vec<usize>,
    columns: Vec<usize>,
    grid: TapGrid,
}

impl Phase {
    /// Which of the kernel's taps is the geometry's.
    fn kernel_tap(&self, shape: &Conv2dShape, tap: usize) -> usize {
        self.rows[tap / self.columns.len()] * shape.kernel[1] + self.columns[tap % self.columns.len()]
    }
}

/// A convolution with stride s backwards is s² convolutions of `dy` with stride 1, each with some of the taps.
fn phases(shape: &Conv2dShape) -> Vec<Phase> {
    let row_axis = phase_axis(shape.kernel[0], shape.stride[0], shape.dilation[0], shape.padding.top);
    let column_axis = phase_axis(shape.kernel[1], shape.stride[1], shape.dilation[1], shape.padding.left);
    let mut phases = Vec::new();
    for (first_row, rows) in row_axis.iter().enumerate().take(shape.in_height) {
        for (first_column, columns) in column_axis.iter().enumerate().take(shape.in_width) {
            let spacing = [rows, columns].map(|axis| match axis[..] {
                [(_, first), (_, second), ..] => second - first,
                _ => 1,
            });
            let first = [rows, columns].map(|axis| axis.first().map_or(0, |(_, offset)| *offset));
            let grid = TapGrid { rows: rows.len(), columns: columns.len(), first, spacing };
            let geometry = Geometry {
                batch: shape.batch,
                in_height: shape.out_height(),
                in_width: shape.out_width(),
                in_channels: shape.out_channels,
                step: [1, 1],
                taps: taps(grid),
                grid_height: (shape.in_height - first_row).div_ceil(shape.stride[0]),
                grid_width: (shape.in_width - first_column).div_ceil(shape.stride[1]),
                out_image: shape.in_height * shape.in_width,
                out_row: shape.stride[0] * shape.in_width,
                out_column: shape.stride[1],
                out_first: first_row * shape.in_width + first_column,
                out_channels: shape.in_channels,
            };
            let [rows, columns] = [rows, columns].map(|axis| axis.iter().map(|(tap, _)| *tap).collect());
            phases.push(Phase { geometry, rows, columns, grid });
        }
    }
    phases
}

/// For each phase of an axis the kernel taps that meet it, and how far from it they meet `dy`, in ascending distance.
fn phase_axis(kernel: usize, stride: usize, dilation: usize, padding: usize) -> Vec<Vec<(usize, isize)>> {
    (0..stride)
        .map(|first| {
            let distance = |tap: usize| (first + padding) as isize - (tap * dilation) as isize;
            let meets = (0..kernel).rev().filter(|tap| distance(*tap) % stride as isize == 0);
            meets.map(|tap| (tap, distance(tap) / stride as isize)).collect()
        })
        .collect()
}

/// The gradient with respect to the weights: `dw`, in the order `[out, in / groups, rows, columns]`.
///
/// `x`: `[batch, in_height, in_width, in_channels]`; `dy`: `[batch, out_height, out_width, out_channels]`; `dw` is
/// overwritten. (The gradient with respect to a bias is [`channel_sums`](crate::channel_sums) of `dy`.)
///
/// # Panics
/// On an invalid shape or slices of other lengths.
pub fn conv2d_backward_weights<T: Element>(shape: &Conv2dShape, x: &[T], dy: &[T], dw: &mut [f32]) {
    shape.assert_valid();
    assert_len("x", x, shape.input_len());
    assert_len("dy", dy, shape.output_len());
    assert_len("dw", dw, shape.weight_len());
    let joined = with_joined_groups(shape);
    if has_filter_per_channel(shape) {
        depthwise::backward_weights(Isa::current(), &forward_geometry(shape), forward_grid(shape), x, dy, dw);
    } else if joined != *shape {
        let mut of_joined = vec![0.0; joined.weight_len()];
        conv2d_backward_weights(&joined, x, dy, &mut of_joined);
        for (own, row) in rows_of_groups(shape) {
            dw[own].copy_from_slice(&of_joined[row]);
        }
    } else if winograd::is_for::<T>(shape) {
        let first = forward_grid(shape).first;
        winograd::backward_weights(Isa::current(), &forward_geometry(shape), first, x, dy, dw);
    } else {
        weights::backward_weights(shape, x, dy, dw);
    }
}
