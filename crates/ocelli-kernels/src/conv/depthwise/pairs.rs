//! Tiles of two neighbouring rows of output pixels, for dot products of pairs of bf16.

use super::{RowsKernel, row_pairs};
use crate::{element::Element, simd::Simd};

/// Neighbouring grid pixels of one or both of two rows.
struct PairRun {
    image: usize,
    /// Input row of the first output row's first tap.
    row: isize,
    /// Which of the two rows are computed. A row is the first or the second by its number in the image, so
    /// that its sums are the same however the rows are cut into pieces.
    computed: [bool; 2],
    start: usize,
    count: usize,
    /// First output pixels of the rows.
    outputs: [usize; 2],
}

impl<T: Element> RowsKernel<'_, T> {
    /// `K` columns of taps side by side, `STRIDE` input pixels between outputs, tiles of two rows of `P`
    /// outputs.
    #[inline(always)]
    pub(super) unsafe fn all_pairs<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(&self) {
        let grid = self.grid;
        let (channels, width) = (self.packed.channels, self.packed.block);
        for block in (0..channels).step_by(width) {
            let weights =
                self.packed.words.as_ptr().wrapping_add(block * self.packed.words_per_channel).cast::<f32>();
            let mut next = self.rows.start;
            while next < self.rows.end {
                let (image, row) = (next / grid.height, next % grid.height);
                let first = row / 2 * 2;
                let has_second = row + 1 < grid.height && next + 1 < self.rows.end;
                let computed = [row == first, row > first || has_second];
                next += usize::from(computed[0]) + usize::from(computed[1]);
                let output = |row: usize| grid.out_first + image * grid.out_image + row * grid.out_row;
                for start in (0..grid.width).step_by(P) {
                    let column = start * grid.out_column;
                    let run = PairRun {
                        image,
                        row: (first * STRIDE) as isize + self.taps.first[0],
                        computed,
                        start,
                        count: P.min(grid.width - start),
                        outputs: [output(first) + column, output(first + 1) + column],
                    };
                    for channel in (block..channels.min(block + width)).step_by(S::LANES) {
                        let lanes = S::LANES.min(channels - channel);
                        // SAFETY: the processor has S; channels, rows and columns are inside of the grid.
                        unsafe {
                            let weights = weights.wrapping_add(channel - block);
                            self.pair_tile::<S, K, STRIDE, P>(&run, channel, lanes, weights);
                        }
                    }
                }
            }
        }
    }

    /// Computes and stores a run of two rows of at most `P` pixels.
    #[inline(always)]
    unsafe fn pair_tile<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(
        &self,
        run: &PairRun,
        channel: usize,
        lanes: usize,
        weights: *const f32,
    ) {
        let [first, second] = run.computed;
        // SAFETY: the processor has S. Rows outside of the image are not read: they have no lanes. Weights are padded
        // to whole vectors.
        unsafe {
            let bias = match self.epilogue.bias {
                Some(bias) => S::load_first(bias.as_ptr().add(channel), lanes),
                None => S::splat(0.0),
            };
            let mut sums = [[bias; P]; 2];
            for pair in 0..row_pairs(self.taps.rows, STRIDE) {
                let rows = [0, 1]
                    .map(|i| self.input_row(run.image, run.row + (2 * pair + i) as isize, channel, lanes));
                if rows[0].1 + rows[1].1 == 0 {
                    continue;
                }
                let weights = weights.wrapping_add(pair * 2 * K * self.packed.block);
                match (first && 2 * pair < self.taps.rows, second && 2 * pair + 1 >= STRIDE) {
                    (true, true) => {
                        self.add_pair::<S, K, STRIDE, P, true, true>(run, rows, weights, &mut sums);
                    }
                    (true, false) => {
                        self.add_pair::<S, K, STRIDE, P, true, false>(run, rows, weights, &mut sums);
                    }
                    (false, true) => {
                        self.add_pair::<S, K, STRIDE, P, false, true>(run, rows, weights, &mut sums);
                    }
                    (false, false) => {}
                }
            }
            // No loop: sums in registers have no index.
            if first {
                self.store_run::<S, P, false>(&sums[0], run.count, run.outputs[0], channel, lanes);
            }
            if second {
                self.store_run::<S, P, false>(&sums[1], run.count, run.outputs[1], channel, lanes);
            }
        }
    }

    /// A row of an image from `channel` on, and how many lanes are read: none outside of the image.
    #[inline(always)]
    fn input_row(&self, image: usize, row: isize, channel: usize, lanes: usize) -> (*const T, usize) {
        if row < 0 || row as usize >= self.grid.in_height {
            return (self.x.as_ptr(), 0);
        }
        let pixel = (image * self.grid.in_height + row as usize) * self.grid.in_width;
        (self.x.as_ptr().wrapping_add(pixel * self.grid.in_channels + channel), lanes)
    }

    /// Adds the products of a pair of input rows, each with its lanes, to the first and the second output
    /// row.
    #[inline(always)]
    unsafe fn add_pair<
        S: Simd,
        const K: usize,
        const STRIDE: usize,
        const P: usize,
        const FIRST: bool,
        const SECOND: bool,
    >(
        &self,
        run: &PairRun,
        rows: [(*const T, usize); 2],
        weights: *const f32,
        sums: &mut [[S::V; P]; 2],
    ) {
        let first_column = (run.start * STRIDE) as isize + self.taps.first[1];
        let width = self.grid.in_width;
        let inside = first_column >= 0 && first_column as usize + (P - 1) * STRIDE + K <= width;
        let [(low, lows), (high, highs)] = rows;
        // Where the next tile reads: too short a distance in one direction for the processor to prefetch it
        // by itself.
        let ahead = P * STRIDE * self.grid.in_channels;
        // SAFETY: the processor has S; columns outside of the image are not read.
        unsafe {
            let mut tap_weights = [[S::splat(0.0); K]; 2];
            for k in 0..K {
                if FIRST {
                    tap_weights[0][k] = S::load(weights.add(k * self.packed.block));
                }
                if SECOND {
                    tap_weights[1][k] = S::load(weights.add((K + k) * self.packed.block));
                }
            }
            for j in 0..(P - 1) * STRIDE + K {
                let column = first_column + j as isize;
                if !inside && (column < 0 || column as usize >= width) {
                    continue;
                }
                let offset = column * self.grid.in_channels as isize;
                let (low, high) = (low.wrapping_offset(offset), high.wrapping_offset(offset));
                if j < P * STRIDE {
                    S::prefetch(low.wrapping_add(ahead));
                    S::prefetch(high.wrapping_add(ahead));
                }
                let input = S::load_pairs_first(low.cast(), lows, high.cast(), highs);
                for p in 0..P {
                    if j >= p * STRIDE && j < p * STRIDE + K {
                        if FIRST {
                            sums[0][p] = S::dot(sums[0][p], tap_weights[0][j - p * STRIDE], input);
                        }
                        if SECOND {
                            sums[1][p] = S::dot(sums[1][p], tap_weights[1][j - p * STRIDE], input);
                        }
                    }
                }
            }
        }
    }
}
