//! Tiles of some neighbouring output pixels in one row.

use super::RowsKernel;
use crate::{
    activation::activate,
    element::{Element, load_lanes, store_lanes},
    simd::{Simd, unrolled},
};
use std::mem::MaybeUninit;

/// Sums of the longest run, `[pixel][channel]`.
#[repr(align(64))]
struct RunSums {
    _sums: [f32; 8 * 16],
}

/// A run of grid pixels in a row, and where their inputs and outputs are.
struct Run {
    /// Input pixel of the grid's row, without the tap.
    row: isize,
    image: usize,
    start: usize,
    count: usize,
    output: usize,
}

impl<T: Element> RowsKernel<'_, T> {
    /// As [`all`](Self::all), with tiles that divide most rows of this width.
    #[inline(always)]
    pub(super) unsafe fn all_widths<S: Simd, const K: usize, const STRIDE: usize>(&self) {
        // SAFETY: the processor has S.
        unsafe {
            match self.grid.width {
                ..=4 => self.all::<S, K, STRIDE, 4>(),
                width if width.is_multiple_of(7) => self.all::<S, K, STRIDE, 7>(),
                _ => self.all::<S, K, STRIDE, 8>(),
            }
        }
    }

    /// `K` columns of taps side by side, `STRIDE` input pixels between outputs, `P` outputs a tile.
    /// `STRIDE` 0 stands for any number of columns, dilation and stride.
    #[inline(always)]
    pub(super) unsafe fn all<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(&self) {
        let grid = self.grid;
        let channels = self.packed.channels;
        let width = self.packed.block;
        for block in (0..channels).step_by(width) {
            let weights =
                self.packed.words.as_ptr().wrapping_add(block * self.packed.words_per_channel).cast::<f32>();
            for row in self.rows.clone() {
                let (image, row) = (row / grid.height, row % grid.height);
                let first_output = grid.out_first + image * grid.out_image + row * grid.out_row;
                let mut start = 0;
                while start < grid.width {
                    let count = P.min(grid.width - start);
                    let run = Run {
                        row: (row * grid.stride[0]) as isize,
                        image,
                        start,
                        count,
                        output: first_output + start * grid.out_column,
                    };
                    for channel in (block..channels.min(block + width)).step_by(S::LANES) {
                        let weights = weights.wrapping_add(channel - block);
                        let lanes = S::LANES.min(channels - channel);
                        // SAFETY: the processor has S; channels, rows and columns are inside of the grid.
                        unsafe {
                            if lanes == S::LANES {
                                self.tile::<S, K, STRIDE, P, true>(&run, channel, lanes, weights);
                            } else {
                                self.tile::<S, K, STRIDE, P, false>(&run, channel, lanes, weights);
                            }
                        }
                    }
                    start += count;
                }
            }
        }
    }

    /// Computes and stores a run of at most `P` pixels.
    #[inline(always)]
    unsafe fn tile<S: Simd, const K: usize, const STRIDE: usize, const P: usize, const WHOLE: bool>(
        &self,
        run: &Run,
        channel: usize,
        lanes: usize,
        weights: *const f32,
    ) {
        let (grid, taps) = (self.grid, self.taps);
        let stride = if STRIDE == 0 { grid.stride[1] } else { STRIDE };
        let column = (run.start * stride) as isize + taps.first[1];
        let reach = ((P - 1) * STRIDE + K - 1) as isize;
        let inside = run.count == P && column >= 0 && column + reach < grid.in_width as isize;
        // SAFETY: the processor has S. Input pixels are read only inside of the image, or zeros instead. Weights are
        // padded to whole vectors.
        unsafe {
            let bias = match self.epilogue.bias {
                Some(bias) => load_lanes::<S, f32, WHOLE>(bias.as_ptr().add(channel), lanes),
                None => S::splat(0.0),
            };
            let zeros = [T::default(); 16];
            let mut sums = [bias; P];
            for tap_row in 0..taps.rows {
                let row = run.row + taps.first[0] + tap_row as isize * taps.dilation[0];
                if row < 0 || row as usize >= grid.in_height {
                    continue;
                }
                let pixels = (run.image * grid.in_height + row as usize) * grid.in_width;
                let x = self.x.as_ptr().wrapping_add(pixels * grid.in_channels + channel);
                let weights = weights.add(tap_row * taps.columns * self.packed.block);
                let first = x.wrapping_offset(column * grid.in_channels as isize);
                if STRIDE == 0 {
                    self.add_dilated_row::<S, P, WHOLE>(x, column, run.count, lanes, weights, &mut sums);
                } else if inside {
                    self.add_row::<S, K, STRIDE, P, WHOLE, true>(
                        first, column, lanes, weights, &zeros, &mut sums,
                    );
                } else {
                    self.add_row::<S, K, STRIDE, P, WHOLE, false>(
                        first, column, lanes, weights, &zeros, &mut sums,
                    );
                }
            }
            self.store_run::<S, P, WHOLE>(&sums, run.count, run.output, channel, lanes);
        }
    }

    /// Adds the products of a row of any taps to `count` outputs; `x`: the image's row; `first_column`: the
    /// column of the first input, which may lie outside of the image.
    #[inline(always)]
    unsafe fn add_dilated_row<S: Simd, const P: usize, const WHOLE: bool>(
        &self,
        x: *const T,
        first_column: isize,
        count: usize,
        lanes: usize,
        weights: *const f32,
        sums: &mut [S::V; P],
    ) {
        let (grid, taps) = (self.grid, self.taps);
        // SAFETY: the processor has S. Pixels are read only inside of the image. Weights are padded to whole vectors.
        unsafe {
            for tap in 0..taps.columns {
                let weight = S::load(weights.add(tap * self.packed.block));
                for p in 0..P {
                    let column =
                        first_column + (p * grid.stride[1]) as isize + tap as isize * taps.dilation[1];
                    if p < count && column >= 0 && (column as usize) < grid.in_width {
                        let x = x.wrapping_offset(column * grid.in_channels as isize);
                        sums[p] = S::fma(load_lanes::<S, T, WHOLE>(x, lanes), weight, sums[p]);
                    }
                }
            }
        }
    }

    /// Adds the products of a row of taps to neighbouring outputs; `x`: the first one's first input, at
    /// `column`. `INSIDE`: all inputs are inside of the image.
    #[inline(always)]
    unsafe fn add_row<
        S: Simd,
        const K: usize,
        const STRIDE: usize,
        const P: usize,
        const WHOLE: bool,
        const INSIDE: bool,
    >(
        &self,
        x: *const T,
        column: isize,
        lanes: usize,
        weights: *const f32,
        zeros: &[T; 16],
        sums: &mut [S::V; P],
    ) {
        let (channels, width) = (self.grid.in_channels, self.grid.in_width);
        // SAFETY: the processor has S. Pixels are inside of the image, or zeros are read instead. Weights are
        // padded to whole vectors.
        unsafe {
            let mut tap_weights = [S::splat(0.0); K];
            for k in 0..K {
                tap_weights[k] = S::load(weights.add(k * self.packed.block));
            }
            if STRIDE == 1 {
                // Input vectors from left to right: each output takes its taps in order.
                for j in 0..P - 1 + K {
                    let x = x.wrapping_add(j * channels);
                    // Where the next tile reads: see `add_pair`.
                    if INSIDE && j < P {
                        S::prefetch(x.wrapping_add(P * channels));
                    }
                    // A choice of addresses instead of a branch, which would be predicted badly.
                    let within = INSIDE || ((column + j as isize) as usize) < width;
                    let input = load_lanes::<S, T, WHOLE>(if within { x } else { zeros.as_ptr() }, lanes);
                    for p in 0..P {
                        if j >= p && j < p + K {
                            sums[p] = S::fma(input, tap_weights[j - p], sums[p]);
                        }
                    }
                }
                return;
            }
            // An input has few outputs: it is loaded again for each.
            for k in 0..K {
                for p in 0..P {
                    let j = p * STRIDE + k;
                    let x = x.wrapping_add(j * channels);
                    if INSIDE && k < STRIDE {
                        S::prefetch(x.wrapping_add(P * STRIDE * channels));
                    }
                    let within = INSIDE || ((column + j as isize) as usize) < width;
                    let input = load_lanes::<S, T, WHOLE>(if within { x } else { zeros.as_ptr() }, lanes);
                    sums[p] = S::fma(input, tap_weights[k], sums[p]);
                }
            }
        }
    }

    /// Stores the outputs of a run; `output`: its first pixel.
    ///
    /// # Safety
    /// The processor has S; there are `lanes` channels from `channel` on, and `count` pixels.
    #[inline(always)]
    pub(super) unsafe fn store_run<S: Simd, const P: usize, const WHOLE: bool>(
        &self,
        sums: &[S::V; P],
        count: usize,
        output: usize,
        channel: usize,
        lanes: usize,
    ) {
        let first = output * self.grid.out_channels + channel;
        let stride = self.grid.out_column * self.grid.out_channels;
        // SAFETY: the caller's promise.
        unsafe {
            if let (Some([low, high]), None) = (self.epilogue.activation.limits(), self.epilogue.residual) {
                let (low, high) = (S::splat(low), S::splat(high));
                unrolled!(p < P, {
                    if p < count {
                        let value = S::min(high, S::max(low, sums[p]));
                        store_lanes::<S, T, WHOLE>(self.y.at(first + p * stride), lanes, value);
                    }
                });
                return;
            }
            // Through memory: what follows is too long to be unrolled, and registers have no index.
            let mut tile = MaybeUninit::<RunSums>::uninit();
            let tile = tile.as_mut_ptr().cast::<f32>();
            unrolled!(p < P, { S::store(tile.add(p * S::LANES), sums[p]) });
            for p in 0..count {
                let at = first + p * stride;
                let mut value = S::load(tile.add(p * S::LANES));
                if let Some(residual) = self.epilogue.residual {
                    value = S::add(value, load_lanes::<S, T, WHOLE>(residual.as_ptr().add(at), lanes));
                }
                value = activate::<S>(self.epilogue.activation, value);
                store_lanes::<S, T, WHOLE>(self.y.at(at), lanes, value);
            }
        }
    }
}
