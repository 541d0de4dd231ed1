//! Packed convolutions of bytes, and how their work is split.

use super::{
    MAX_PAIR, Quantization,
    dense::{DenseKernel, PackedBytes},
    depthwise::{self, DepthwiseKernel, PackedFilters},
    epilogue::Epilogue,
    maps::{Int8Maps, pixel_bytes},
};
use crate::{
    activation::Activation,
    isa::Isa,
    shape::{Conv2dShape, Padding, assert_len},
    shared_mut::SharedMut,
    simd::{self, run_on, run_on_bytes},
    threads,
};
use rayon::prelude::*;
use std::ops::Range;

/// What a convolution of bytes is, besides its weights.
#[derive(Clone, Copy, Debug)]
pub struct Int8ConvOptions {
    /// Input channels over all groups, and output channels.
    pub channels: [usize; 2],
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Distance between output pixels, in input pixels.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: Padding,
    /// Distance between kernel taps, in input pixels.
    pub dilation: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// What follows.
    pub activation: Activation,
    /// What the bytes of input and output stand for.
    pub quantization: [Quantization; 2],
}

/// A convolution of bytes: `activation(conv(x) + bias + residual)`.
#[derive(Debug)]
pub struct Int8Conv {
    isa: Isa,
    options: Int8ConvOptions,
    weights: Weights,
    /// What the sums of each channel are multiplied by, and what is added then; with room for a whole vector behind.
    factors: Vec<f32>,
    shifts: Vec<f32>,
}

#[derive(Debug)]
enum Weights {
    Dense(PackedBytes),
    Depthwise(PackedFilters),
}

/// The most products of a sum: of 127 with bytes, they fit into 32 bits.
const MAX_PRODUCTS: usize = 1 << 16;

impl Int8Conv {
    /// Packs weights `[outputs, channels / groups, rows, columns]` and biases `[outputs]`. The weights of dense and grouped
    /// convolutions are rounded to steps of a size of each output channel.
    ///
    /// # Panics
    /// On slices of other lengths, where the groups do not divide the channels, and on more than 65,536 weights of an output.
    pub fn pack(options: Int8ConvOptions, weights: &[f32], bias: &[f32]) -> Self {
        let Int8ConvOptions { channels: [inputs, outputs], kernel, groups, .. } = options;
        assert!(inputs % groups == 0 && outputs % groups == 0, "groups divide the channels");
        let per_output = inputs / groups * kernel[0] * kernel[1];
        assert!(per_output <= MAX_PRODUCTS, "{per_output} weights of an output are more than {MAX_PRODUCTS}");
        assert_len("weights", weights, outputs * per_output);
        assert_len("bias", bias, outputs);
        let isa = Isa::current();
        let [from, to] = options.quantization;
        let is_depthwise = groups == inputs && groups == outputs;
        // What a sum is multiplied by, and the sum of the weights, in steps.
        let (weights, all): (_, Vec<(f32, f32)>) = if is_depthwise {
            let sums = weights.chunks_exact(per_output).map(|weights| (1.0, weights.iter().sum()));
            (Weights::Depthwise(PackedFilters::pack(outputs, kernel, weights)), sums.collect())
        } else {
            let steps: Vec<f32> = weights
                .chunks_exact(per_output)
                .map(|weights| step(weights, inputs / groups, groups))
                .collect();
            let integers: Vec<i8> = weights
                .iter()
                .enumerate()
                .map(|(at, weight)| (weight / steps[at / per_output]).round_ties_even() as i8)
                .collect();
            let sum = |weights: &[i8]| weights.iter().map(|weight| f32::from(*weight)).sum();
            let sums = steps.into_iter().zip(integers.chunks_exact(per_output).map(sum)).collect();
            (Weights::Dense(PackedBytes::pack(isa, options.channels, kernel, groups, &integers)), sums)
        };
        let (step, zero) = match is_clamp(options.activation) {
            true => (to.scale, f32::from(to.zero_point)),
            false => (1.0, 0.0),
        };
        let padded = outputs + 2 * simd::lanes(isa);
        let (mut factors, mut shifts) = (vec![0.0; padded], vec![0.0; padded]);
        for (output, (of_weight, sum)) in all.into_iter().enumerate() {
            let factor = f64::from(from.scale) * f64::from(of_weight) / f64::from(step);
            let zeros = f64::from(from.zero_point) * f64::from(sum);
            factors[output] = factor as f32;
            shifts[output] = (f64::from(bias[output]) / f64::from(step) - factor * zeros) as f32 + zero;
        }
        Self { isa, options, weights, factors, shifts }
    }

    /// Computes maps, on the current thread pool.
    ///
    /// # Panics
    /// Where the maps have other channels, or stand for other numbers than packed for, where the kernel does not fit into
    /// them, and where the residual has not the output's shape.
    pub fn forward(&self, x: &Int8Maps, residual: Option<&Int8Maps>) -> Int8Maps {
        let Int8ConvOptions {
            channels: [inputs, outputs], kernel, stride, padding, dilation, groups, ..
        } = self.options;
        let [from, to] = self.options.quantization;
        let [batch, in_height, in_width, in_channels] = x.shape();
        assert_eq!(in_channels, inputs, "input channels");
        assert_eq!(x.quantization(), from, "the numbers that bytes stand for");
        let shape = Conv2dShape {
            batch,
            in_height,
            in_width,
            in_channels,
            out_channels: outputs,
            kernel,
            stride,
            padding,
            dilation,
            groups,
        };
        shape.assert_valid();
        let mut y = Int8Maps::take([batch, shape.out_height(), shape.out_width(), outputs], to);
        if let Some(residual) = residual {
            assert_eq!(residual.shape(), y.shape(), "a residual of the output's shape");
        }
        let activation = self.options.activation;
        let scales = [&self.factors[..], &self.shifts];
        let epilogue =
            Epilogue::new(scales, residual.map(Int8Maps::coded), activation, to, is_clamp(activation));
        let target = SharedMut::new(y.bytes_mut());
        match &self.weights {
            Weights::Dense(weights) if padding == Padding::default() => {
                self.dense(weights, &shape, x, epilogue, target);
            }
            Weights::Dense(weights) => self.dense(weights, &shape, &x.padded(padding), epilogue, target),
            Weights::Depthwise(weights) => self.depthwise(weights, &shape, x, epilogue, target),
        }
        y
    }

    /// `x` is padded.
    fn dense(
        &self,
        weights: &PackedBytes,
        shape: &Conv2dShape,
        x: &Int8Maps,
        epilogue: Epilogue<'_>,
        y: SharedMut<u8>,
    ) {
        let inputs_per_pixel = shape.stride[0] * shape.stride[1];
        let bytes = pixel_bytes(shape.in_channels) * inputs_per_pixel + pixel_bytes(shape.out_channels);
        let pixels = shape.batch * shape.out_height() * shape.out_width();
        let target = threads::target_pieces(16);
        let pieces = pieces(pixels, target, bytes, weights.tile_pixels());
        let work = threads::with_blocks(&pieces, weights.blocks(), target);
        work.into_par_iter().with_min_len(threads::min_len(1)).for_each(|(piece, blocks)| {
            let kernel = DenseKernel { weights, shape, x, epilogue, y, piece: piece.clone(), blocks };
            run_on_bytes(self.isa, kernel);
        });
    }

    fn depthwise(
        &self,
        weights: &PackedFilters,
        shape: &Conv2dShape,
        x: &Int8Maps,
        epilogue: Epilogue<'_>,
        y: SharedMut<u8>,
    ) {
        // Those of the floats that the bytes become.
        let row_bytes = shape.out_width() * shape.stride[0] * shape.stride[1] * depthwise::CHANNELS * 4;
        let rows = shape.batch * shape.out_height();
        let rows = pieces(rows, threads::target_pieces(16), row_bytes, shape.kernel[0].min(4));
        rows.into_par_iter().with_min_len(threads::min_len(1)).for_each(|rows| {
            let kernel = DepthwiseKernel { weights, shape, x, epilogue, y, rows };
            run_on(self.isa, kernel);
        });
    }
}

/// The step of an output's weights, `[channel][tap]`: as small as 8 bits allow, and such that no two weights whose products
/// are added in 16 bits are more than [`MAX_PAIR`] together, nor less than its negative.
fn step(weights: &[f32], channels: usize, groups: usize) -> f32 {
    let taps = weights.len() / channels;
    let at =
        |channel: usize, tap: usize| if channel < channels { weights[channel * taps + tap] } else { 0.0 };
    // Groups of an odd number of channels may begin in the middle of a pair: then any two may meet.
    let largest = match groups == 1 || channels.is_multiple_of(2) || channels == 1 {
        true => (0..channels).step_by(2).flat_map(|channel| (0..taps).map(move |tap| [channel, tap])).fold(
            0f32,
            |largest, [channel, tap]| {
                let [a, b] = [at(channel, tap), at(channel + 1, tap)];
                largest.max(a.max(0.0) + b.max(0.0)).max(-(a.min(0.0) + b.min(0.0)))
            },
        ),
        false => 2.0 * weights.iter().fold(0f32, |largest, weight| largest.max(weight.abs())),
    };
    if largest > 0.0 { largest / f32::from(MAX_PAIR) } else { 1.0 }
}

/// Whether an activation is nothing but a clamp.
fn is_clamp(activation: Activation) -> bool {
    activation.limits().is_some()
}

/// The items in pieces that fit into the cache of a core, whole tiles, at least `target` if there are enough.
fn pieces(items: usize, target: usize, bytes: usize, tile: usize) -> Vec<Range<usize>> {
    let fits = (192 * 1024 / bytes / tile).max(1) * tile;
    let balanced = items.div_ceil(target).next_multiple_of(tile);
    let len = fits.min(balanced).max(tile);
    (0..items).step_by(len).map(|start| start..(start + len).min(items)).collect()
}
