//! Depthwise convolutions: tiles of some neighbouring output pixels of one vector of channels, in floats.
//!
//! Some rows of some channels become floats in memory first, with padding around them: each byte is widened once for all
//! taps, and no tap is outside.

use super::{
    epilogue::{Epilogue, store_bytes},
    maps::{Int8Maps, pixel_bytes},
};
use crate::{
    buffer_pool::{AlignedWords, Scratch},
    shape::Conv2dShape,
    shared_mut::SharedMut,
    simd::{Kernel, Simd, unrolled},
};
use std::ops::Range;

/// Channels that become floats together: whole vectors of every instruction set.
pub(super) const CHANNELS: usize = 16;

/// Weights in the order `[tap][channel]`, channels padded to [`CHANNELS`].
#[derive(Debug)]
pub(super) struct PackedFilters {
    words: AlignedWords,
    channels: usize,
}

impl PackedFilters {
    /// Packs weights `[channels, 1, rows, columns]`.
    pub(super) fn pack(channels: usize, kernel: [usize; 2], weights: &[f32]) -> Self {
        let taps = kernel[0] * kernel[1];
        let padded = channels.next_multiple_of(CHANNELS);
        let mut words = AlignedWords::zeros(taps * padded);
        for (at, weight) in weights.iter().enumerate() {
            words.as_mut_slice()[at % taps * padded + at / taps] = weight.to_bits();
        }
        Self { words, channels }
    }
}

/// Some rows of the output, all channels.
pub(super) struct DepthwiseKernel<'a> {
    pub weights: &'a PackedFilters,
    pub shape: &'a Conv2dShape,
    pub x: &'a Int8Maps,
    pub epilogue: Epilogue<'a>,
    pub y: SharedMut<u8>,
    /// Of all images.
    pub rows: Range<usize>,
}

/// Rows of [`CHANNELS`] channels as floats, `[row][column][channel]`.
struct Window {
    words: Scratch,
    columns: usize,
}

impl Kernel for DepthwiseKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let contiguous = self.shape.dilation[1] == 1;
        // SAFETY: the processor has S.
        unsafe {
            match (contiguous, self.shape.kernel[1], self.shape.stride[1]) {
                (true, 3, 1) => self.all_widths::<S, 3, 1>(),
                (true, 3, 2) => self.all_widths::<S, 3, 2>(),
                (true, 5, 1) => self.all_widths::<S, 5, 1>(),
                (true, 5, 2) => self.all_widths::<S, 5, 2>(),
                (true, 7, 1) => self.all_widths::<S, 7, 1>(),
                _ => self.all::<S, 1, 0, 4>(),
            }
        }
    }
}

impl DepthwiseKernel<'_> {
    /// As [`all`](Self::all), with tiles that divide most rows of this width.
    #[inline(always)]
    unsafe fn all_widths<S: Simd, const K: usize, const STRIDE: usize>(&self) {
        // SAFETY: the processor has S.
        unsafe {
            match self.shape.out_width() {
                ..=4 => self.all::<S, K, STRIDE, 4>(),
                width if width.is_multiple_of(7) => self.all::<S, K, STRIDE, 7>(),
                _ => self.all::<S, K, STRIDE, 8>(),
            }
        }
    }

    /// `K` columns of taps side by side, `STRIDE` input pixels between outputs, `P` outputs a tile. `STRIDE` 0 stands for
    /// any number of columns, dilation and stride.
    #[inline(always)]
    unsafe fn all<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(&self) {
        let shape = self.shape;
        let (height, width) = (shape.out_height(), shape.out_width());
        let reach = [0, 1].map(|axis| shape.dilation[axis] * (shape.kernel[axis] - 1) + 1);
        // A tile that reaches beyond the row reads what is there, and stores nothing of it.
        let columns = (width.next_multiple_of(P) - 1) * shape.stride[1] + reach[1];
        let most = ((self.rows.len().min(height) - 1) * shape.stride[0] + reach[0]) * columns * CHANNELS;
        let mut window = Window { words: Scratch::take(most), columns };
        let mut first = self.rows.start;
        while first < self.rows.end {
            // Rows of one image.
            let last = self.rows.end.min((first / height + 1) * height);
            let in_rows = (last - first - 1) * shape.stride[0] + reach[0];
            for channel in (0..self.weights.channels).step_by(CHANNELS) {
                // SAFETY: the processor has S; the window holds what is read.
                unsafe {
                    self.widen::<S>(&mut window, first, in_rows, channel);
                    for row in first..last {
                        let window = window.words.as_ptr().cast::<f32>();
                        let window = window.add((row - first) * shape.stride[0] * columns * CHANNELS);
                        for start in (0..width).step_by(P) {
                            for lane in (0..CHANNELS).step_by(S::LANES) {
                                if channel + lane < self.weights.channels {
                                    let at = [row, start, channel + lane];
                                    let window = window.add(start * shape.stride[1] * CHANNELS + lane);
                                    self.tile::<S, K, STRIDE, P>(window, columns, at);
                                }
                            }
                        }
                    }
                }
            }
            first = last;
        }
    }

    /// Fills the window with the inputs of some rows, of which the output row `first` is the first.
    ///
    /// # Safety
    /// The processor has S; the window has room.
    #[inline(always)]
    unsafe fn widen<S: Simd>(&self, window: &mut Window, first: usize, in_rows: usize, channel: usize) {
        let (shape, height) = (self.shape, self.shape.out_height());
        let bytes = pixel_bytes(shape.in_channels);
        let (image, row) = (first / height, first % height);
        let zero = f32::from(self.x.quantization().zero_point);
        let to = window.words.as_mut_slice().as_mut_ptr().cast::<f32>();
        let left = shape.padding.left;
        let inside = left.min(window.columns)..(left + shape.in_width).min(window.columns);
        // SAFETY: the caller's promise. Maps have slack behind their last pixel.
        unsafe {
            for in_row in 0..in_rows {
                let to = to.add(in_row * window.columns * CHANNELS);
                let from = (row * shape.stride[0] + in_row).checked_sub(shape.padding.top);
                let Some(from) = from.filter(|row| *row < shape.in_height) else {
                    std::slice::from_raw_parts_mut(to, window.columns * CHANNELS).fill(zero);
                    continue;
                };
                let x = self.x.bytes().as_ptr();
                let x = x.add((image * shape.in_height + from) * shape.in_width * bytes + channel);
                std::slice::from_raw_parts_mut(to, inside.start * CHANNELS).fill(zero);
                for (at, column) in inside.clone().enumerate() {
                    for lane in (0..CHANNELS).step_by(S::LANES) {
                        let values = S::load_u8(x.add(at * bytes + lane));
                        S::store(to.add(column * CHANNELS + lane), values);
                    }
                }
                let behind = to.add(inside.end * CHANNELS);
                std::slice::from_raw_parts_mut(behind, (window.columns - inside.end) * CHANNELS).fill(zero);
            }
        }
    }

    /// Computes and stores the pixels `start..start + P` of an output row as far as there are any; `x`: the first tap of the
    /// first.
    ///
    /// # Safety
    /// The processor has S; the window holds the taps of all `P` pixels.
    #[inline(always)]
    unsafe fn tile<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(
        &self,
        x: *const f32,
        columns: usize,
        [row, start, channel]: [usize; 3],
    ) {
        let shape = self.shape;
        let padded = self.weights.channels.next_multiple_of(CHANNELS);
        let [tap_rows, tap_columns] = shape.kernel;
        // SAFETY: the caller's promise. Weights are padded to whole vectors, and maps have slack.
        unsafe {
            let mut sums = [S::splat(0.0); P];
            for tap_row in 0..tap_rows {
                let x = x.add(tap_row * shape.dilation[0] * columns * CHANNELS);
                let weights = self.weights.words.as_ptr().cast::<f32>();
                let weights = weights.add(tap_row * tap_columns * padded + channel);
                if STRIDE == 0 {
                    for tap in 0..tap_columns {
                        let weight = S::load(weights.add(tap * padded));
                        for p in 0..P {
                            let column = p * shape.stride[1] + tap * shape.dilation[1];
                            sums[p] = S::fma(S::load(x.add(column * CHANNELS)), weight, sums[p]);
                        }
                    }
                    continue;
                }
                let mut tap_weights = [S::splat(0.0); K];
                for k in 0..K {
                    tap_weights[k] = S::load(weights.add(k * padded));
                }
                if STRIDE == 1 {
                    // Input vectors from left to right: each output takes its taps in order.
                    for j in 0..P - 1 + K {
                        let input = S::load(x.add(j * CHANNELS));
                        for p in 0..P {
                            if j >= p && j < p + K {
                                sums[p] = S::fma(input, tap_weights[j - p], sums[p]);
                            }
                        }
                    }
                    continue;
                }
                // An input has few outputs: it is loaded again for each.
                for k in 0..K {
                    for p in 0..P {
                        let input = S::load(x.add((p * STRIDE + k) * CHANNELS));
                        sums[p] = S::fma(input, tap_weights[k], sums[p]);
                    }
                }
            }
            let width = shape.out_width();
            let count = P.min(width - start);
            let lanes = S::LANES.min(self.weights.channels - channel);
            let out_bytes = pixel_bytes(shape.out_channels);
            let first = (row * width + start) * out_bytes + channel;
            unrolled!(p < P, {
                if p < count {
                    let at = first + p * out_bytes;
                    let value = self.epilogue.apply::<S, true, true>(sums[p], channel, at);
                    store_bytes::<S>(self.y.at(at), lanes, value);
                }
            });
        }
    }
}
