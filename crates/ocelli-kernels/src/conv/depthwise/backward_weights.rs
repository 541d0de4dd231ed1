//! Gradients with respect to the weights of depthwise convolutions.

use super::BLOCK;
use crate::{
    conv::geometry::{SamplingGrid, TapGrid},
    element::{Element, load_lanes},
    isa::Isa,
    shared_mut::SharedMut,
    simd::{self, Kernel, Simd, unrolled},
    threads,
};
use rayon::prelude::*;
use std::ops::Range;

/// The gradient with respect to the weights, `[channels, 1, rows, columns]`. The shape alone decides how rows
/// of output pixels are divided into segments; the sums of segments are added in order.
pub(in crate::conv) fn backward_weights<T: Element>(
    isa: Isa,
    grid: &SamplingGrid,
    taps: TapGrid,
    x: &[T],
    dy: &[T],
    dw: &mut [f32],
) {
    let channels = grid.in_channels;
    let tap_count = taps.rows * taps.columns;
    let rows = grid.batch * grid.height;
    let row_bytes = grid.in_width * grid.stride[0] * channels.min(BLOCK) * size_of::<T>();
    let blocks = channels.div_ceil(BLOCK);
    // Segments of a block fit into the cache of a core; there are enough of them to share.
    let len = (256 * 1024 / row_bytes.max(1))
        .max(1)
        .min(rows.div_ceil(threads::target_pieces(32).div_ceil(blocks)))
        .max(1);
    let segments = rows.div_ceil(len);
    let padded = channels.next_multiple_of(BLOCK);
    let mut partial = vec![0.0f32; segments * tap_count * padded];
    let sums = SharedMut::new(&mut partial);
    (0..segments * blocks).into_par_iter().with_min_len(threads::min_len(1)).for_each(|item| {
        let (segment, block) = (item / blocks, item % blocks);
        let rows = segment * len..((segment + 1) * len).min(rows);
        for channel in (block * BLOCK..channels.min((block + 1) * BLOCK)).step_by(simd::lanes(isa)) {
            let sums = sums.at(segment * tap_count * padded + channel);
            let kernel = WeightKernel { grid, taps, x, dy, rows: rows.clone(), channel, sums, padded };
            T::depthwise_weights(isa, kernel);
        }
    });
    dw.par_chunks_mut(tap_count).enumerate().with_min_len(threads::min_len(1)).for_each(|(channel, dw)| {
        for (tap, dw) in dw.iter_mut().enumerate() {
            let of_segment =
                |segment: usize| f64::from(partial[(segment * tap_count + tap) * padded + channel]);
            *dw = (0..segments).map(of_segment).sum::<f64>() as f32;
        }
    });
}

/// One vector of channels of a segment: sums of `dy` times `x` for each tap.
pub struct WeightKernel<'a, T> {
    grid: &'a SamplingGrid,
    taps: TapGrid,
    x: &'a [T],
    dy: &'a [T],
    rows: Range<usize>,
    channel: usize,
    /// `[tap][padded]`
    sums: *mut f32,
    padded: usize,
}

impl<T: Element> Kernel for WeightKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let square = self.taps.dilation == [1, 1] && self.taps.rows == self.taps.columns;
        let (columns, stride) = (self.taps.columns, self.grid.stride[1]);
        let one_stride = self.grid.stride == [stride; 2];
        if S::FAST_DOT && T::BF16 && square && one_stride && matches!((columns, stride), (3 | 5, 1 | 2)) {
            // SAFETY: the processor has S.
            return unsafe {
                match (columns, stride) {
                    (3, 1) => self.all_pairs::<S, 3, 1, 8>(),
                    (3, _) => self.all_pairs::<S, 3, 2, 8>(),
                    (_, 1) => self.all_pairs::<S, 5, 1, 4>(),
                    _ => self.all_pairs::<S, 5, 2, 4>(),
                }
            };
        }
        // SAFETY: the processor has S.
        unsafe {
            match (S::MANY_REGISTERS, square, columns, stride) {
                (true, true, 3, 1) => self.all::<S, 3, 3, 1, 8>(),
                (true, true, 3, 2) => self.all::<S, 3, 3, 2, 8>(),
                (true, true, 5, 1) => self.all::<S, 5, 5, 1, 4>(),
                (true, true, 5, 2) => self.all::<S, 5, 5, 2, 4>(),
                (false, true, 3, 1) => self.all::<S, 3, 3, 1, 4>(),
                (false, true, 3, 2) => self.all::<S, 3, 3, 2, 4>(),
                (false, true, 5, 1) => self.all::<S, 1, 5, 1, 7>(),
                (false, true, 5, 2) => self.all::<S, 1, 5, 2, 7>(),
                (_, true, 7, 1) => self.all::<S, 1, 7, 1, 7>(),
                _ => self.all::<S, 1, 1, 0, 4>(),
            }
        }
    }
}

impl<T: Element> WeightKernel<'_, T> {
    /// `R` rows and `K` columns of taps at once, `STRIDE` input pixels between outputs, `P` outputs at once.
    /// `STRIDE` 0 stands for any columns, dilation and stride.
    #[inline(always)]
    unsafe fn all<S: Simd, const R: usize, const K: usize, const STRIDE: usize, const P: usize>(&self) {
        let lanes = S::LANES.min(self.grid.in_channels - self.channel);
        for tap_row in (0..self.taps.rows).step_by(R) {
            for tap_column in (0..self.taps.columns).step_by(K) {
                // SAFETY: the processor has S.
                unsafe {
                    if lanes == S::LANES {
                        self.sum_taps::<S, R, K, STRIDE, P, true>(tap_row, tap_column, lanes);
                    } else {
                        self.sum_taps::<S, R, K, STRIDE, P, false>(tap_row, tap_column, lanes);
                    }
                }
            }
        }
    }

    /// The sums of `R × K` taps from a row and column of taps on.
    #[inline(always)]
    unsafe fn sum_taps<
        S: Simd,
        const R: usize,
        const K: usize,
        const STRIDE: usize,
        const P: usize,
        const WHOLE: bool,
    >(
        &self,
        tap_row: usize,
        tap_column: usize,
        lanes: usize,
    ) {
        let (grid, taps) = (self.grid, self.taps);
        let channels = grid.in_channels;
        let stride = if STRIDE == 0 { grid.stride[1] } else { STRIDE };
        // SAFETY: the processor has S. Pixels are read only inside of the images, after checks. The sums are padded
        // to whole vectors.
        unsafe {
            let mut sums = [[S::splat(0.0); K]; R];
            for row in self.rows.clone() {
                let dy = self.dy.as_ptr().add(row * grid.width * channels + self.channel);
                let rows: [Option<*const T>; R] = self.input_rows(row, tap_row);
                let mut start = 0;
                while start < grid.width {
                    let count = P.min(grid.width - start);
                    let mut gradients = [S::splat(0.0); P];
                    for p in 0..P {
                        if p < count {
                            gradients[p] = load_lanes::<S, T, WHOLE>(dy.add((start + p) * channels), lanes);
                        }
                    }
                    let first =
                        (start * stride) as isize + taps.first[1] + tap_column as isize * taps.dilation[1];
                    if STRIDE == 0 {
                        let sum = &mut sums[0][0];
                        self.add_tap::<S, P, WHOLE>(rows[0], first, count, lanes, &gradients, sum);
                    } else {
                        self.add_taps::<S, R, K, STRIDE, P, WHOLE>(
                            &rows, first, lanes, &gradients, &mut sums,
                        );
                    }
                    start += count;
                }
            }
            for r in 0..R {
                for k in 0..K {
                    let tap = (tap_row + r) * taps.columns + tap_column + k;
                    S::store(self.sums.add(tap * self.padded), sums[r][k]);
                }
            }
        }
    }

    /// The rows of the image that an output row, counted over all images, reads at `R` rows of taps; none
    /// outside.
    #[inline(always)]
    fn input_rows<const R: usize>(&self, row: usize, tap_row: usize) -> [Option<*const T>; R] {
        let (grid, taps) = (self.grid, self.taps);
        let (image, out_row) = (row / grid.height, row % grid.height);
        let mut rows = [None; R];
        for (r, input) in rows.iter_mut().enumerate() {
            let offset = taps.first[0] + (tap_row + r) as isize * taps.dilation[0];
            let in_row = (out_row * grid.stride[0]) as isize + offset;
            if in_row >= 0 && (in_row as usize) < grid.in_height {
                let pixel = (image * grid.in_height + in_row as usize) * grid.in_width;
                *input = Some(self.x.as_ptr().wrapping_add(pixel * grid.in_channels + self.channel));
            }
        }
        rows
    }

    /// Adds the products of one tap and `count` outputs; `first`: the column of the first output's input.
    #[inline(always)]
    unsafe fn add_tap<S: Simd, const P: usize, const WHOLE: bool>(
        &self,
        row: Option<*const T>,
        first: isize,
        count: usize,
        lanes: usize,
        gradients: &[S::V; P],
        sum: &mut S::V,
    ) {
        let grid = self.grid;
        // SAFETY: the processor has S. Pixels are read only inside of the images.
        unsafe {
            for p in 0..P {
                let column = first + (p * grid.stride[1]) as isize;
                let inside = p < count && column >= 0 && (column as usize) < grid.in_width;
                if let Some(x) = row.filter(|_| inside) {
                    let input = load_lanes::<S, T, WHOLE>(x.add(column as usize * grid.in_channels), lanes);
                    *sum = S::fma(input, gradients[p], *sum);
                }
            }
        }
    }

    /// Adds the products of `R` rows and `K` contiguous columns of taps; `first`: the column of the first
    /// input.
    #[inline(always)]
    unsafe fn add_taps<
        S: Simd,
        const R: usize,
        const K: usize,
        const STRIDE: usize,
        const P: usize,
        const WHOLE: bool,
    >(
        &self,
        rows: &[Option<*const T>; R],
        first: isize,
        lanes: usize,
        gradients: &[S::V; P],
        sums: &mut [[S::V; K]; R],
    ) {
        let (channels, width) = (self.grid.in_channels, self.grid.in_width);
        let reach = (P - 1) * STRIDE + K;
        let inside = first >= 0 && first as usize + reach <= width;
        // SAFETY: the processor has S. Pixels are read only inside of the images.
        unsafe {
            for r in 0..R {
                let Some(x) = rows[r] else { continue };
                for j in 0..reach {
                    let column = first + j as isize;
                    if !inside && (column < 0 || column as usize >= width) {
                        continue;
                    }
                    let input = load_lanes::<S, T, WHOLE>(x.offset(column * channels as isize), lanes);
                    for k in 0..K {
                        if j >= k && (j - k).is_multiple_of(STRIDE) && (j - k) / STRIDE < P {
                            sums[r][k] = S::fma(input, gradients[(j - k) / STRIDE], sums[r][k]);
                        }
                    }
                }
            }
        }
    }

    /// All `K × K` taps, `STRIDE` input pixels between outputs; words pair the outputs of two rows, `P` at
    /// once, and the inputs that they read.
    #[inline(always)]
    unsafe fn all_pairs<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(&self) {
        let grid = self.grid;
        let channels = grid.in_channels;
        let lanes = S::LANES.min(channels - self.channel);
        // SAFETY: the processor has S. Pixels outside of the images have no lanes or are not read. The sums are
        // padded to whole vectors.
        unsafe {
            let mut sums = [[S::splat(0.0); K]; K];
            let mut next = self.rows.start;
            while next < self.rows.end {
                let (image, row) = (next / grid.height, next % grid.height);
                let has_second = row + 1 < grid.height && next + 1 < self.rows.end;
                let row_lanes = [lanes, if has_second { lanes } else { 0 }];
                let dy = self.dy.as_ptr().add(next * grid.width * channels + self.channel);
                let second_dy = dy.wrapping_add(grid.width * channels);
                next += 1 + usize::from(has_second);
                for start in (0..grid.width).step_by(P) {
                    let count = P.min(grid.width - start);
                    let mut gradients = [S::splat(0.0); P];
                    unrolled!(p < P, {
                        if p < count {
                            let at = (start + p) * channels;
                            let (low, high) = (dy.wrapping_add(at), second_dy.wrapping_add(at));
                            gradients[p] =
                                S::load_pairs_first(low.cast(), row_lanes[0], high.cast(), row_lanes[1]);
                        }
                    });
                    let first = (start * STRIDE) as isize + self.taps.first[1];
                    self.add_pairs::<S, K, STRIDE, P>([image, row], row_lanes, first, &gradients, &mut sums);
                }
            }
            for r in 0..K {
                for k in 0..K {
                    S::store(self.sums.add((r * K + k) * self.padded), sums[r][k]);
                }
            }
        }
    }

    /// Adds the products of all taps with the gradients of two output rows, the first of which is given, each
    /// with its lanes; `first`: the column of the first input.
    #[inline(always)]
    unsafe fn add_pairs<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(
        &self,
        [image, row]: [usize; 2],
        row_lanes: [usize; 2],
        first: isize,
        gradients: &[S::V; P],
        sums: &mut [[S::V; K]; K],
    ) {
        let (channels, width) = (self.grid.in_channels, self.grid.in_width);
        let inside = first >= 0 && first as usize + (P - 1) * STRIDE + K <= width;
        // SAFETY: the processor has S. Pixels outside of the images have no lanes or are not read.
        unsafe {
            for r in 0..K {
                let (low, lows) = self.input_row(image, row * STRIDE + r, row_lanes[0]);
                let (high, highs) = self.input_row(image, (row + 1) * STRIDE + r, row_lanes[1]);
                for j in 0..(P - 1) * STRIDE + K {
                    let column = first + j as isize;
                    if !inside && (column < 0 || column as usize >= width) {
                        continue;
                    }
                    let offset = column * channels as isize;
                    let (low, high) = (low.wrapping_offset(offset), high.wrapping_offset(offset));
                    let input = S::load_pairs_first(low.cast(), lows, high.cast(), highs);
                    for k in 0..K {
                        if j >= k && (j - k).is_multiple_of(STRIDE) && (j - k) / STRIDE < P {
                            sums[r][k] = S::dot(sums[r][k], input, gradients[(j - k) / STRIDE]);
                        }
                    }
                }
            }
        }
    }

    /// A row of an image, counted from the first row of taps, and how many lanes are read: none outside of
    /// the image.
    #[inline(always)]
    fn input_row(&self, image: usize, row: usize, lanes: usize) -> (*const T, usize) {
        let row = row as isize + self.taps.first[0];
        if row < 0 || row as usize >= self.grid.in_height {
            return (self.x.as_ptr(), 0);
        }
        let pixel = (image * self.grid.in_height + row as usize) * self.grid.in_width;
        (self.x.as_ptr().wrapping_add(pixel * self.grid.in_channels + self.channel), lanes)
    }
}
