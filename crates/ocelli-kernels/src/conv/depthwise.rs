//! The engine of depthwise convolutions with one filter a channel: forward passes, gradients with respect to data,
//! and gradients with respect to weights.
//!
//! A register tile holds some neighbouring output pixels of one vector of channels; each input vector is loaded once
//! a kernel row and multiplied by all weights that need it. Where there are dot products of pairs of bf16, a tile
//! holds two rows of output pixels, and a word pairs two input rows, which both output rows are computed from.

use super::dense::{Epilogue, Geometry, clamp};
use crate::{
    Element, Isa,
    element::{load_lanes, store_lanes},
    memory::{AlignedWords, SharedMut},
    simd::{self, Kernel, Simd, unrolled},
    threads,
};
use rayon::prelude::*;
use std::{mem::MaybeUninit, ops::Range};

/// Weights in the order `[block of channels][tap][channel of the block]`, in f32; or for pairs of rows, in the order
/// `[block of channels][pair of input rows][output row, 0 or 1][column of taps][channel of the block]`, in words of
/// two bf16.
///
/// Taps form a grid of `rows × columns`, neighbours `spacing` apart; rows and columns of the geometry's taps.
#[derive(Clone, Debug)]
pub struct PackedDepthwise {
    isa: Isa,
    words: AlignedWords,
    channels: usize,
    /// Channels that are computed together.
    block: usize,
    /// Words of a channel.
    taps: usize,
    grid: TapGrid,
    pairs: bool,
}

/// Taps in rows and columns, `[first + i · spacing]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapGrid {
    pub rows: usize,
    pub columns: usize,
    pub first: [isize; 2],
    pub spacing: [isize; 2],
}

/// Channels of a block where all are too many: two cache lines of bf16, so that none is touched twice.
const BLOCK: usize = 64;

/// All channels, so that memory is read from one end to the other, if their weights fit into the first cache beside
/// the inputs; else [`BLOCK`].
fn block_of(channels: usize, taps: usize) -> usize {
    let all = channels.next_multiple_of(16);
    if all * taps * 4 <= 16 * 1024 { all } else { BLOCK }
}

impl PackedDepthwise {
    /// Packs the weight `weight(channel, row of the grid, column of the grid)` for applications `step` apart.
    pub(crate) fn pack<T: Element>(
        isa: Isa,
        channels: usize,
        grid: TapGrid,
        step: [usize; 2],
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let pairs = T::BF16
            && simd::has_fast_dot(isa)
            && grid.spacing == [1, 1]
            && step[0] == step[1]
            && matches!((grid.columns, step[1]), (1 | 2 | 3 | 5 | 7, 1) | (3 | 5 | 7, 2));
        let taps = match pairs {
            true => row_pairs(grid.rows, step[0]) * 2 * grid.columns,
            false => grid.rows * grid.columns,
        };
        let block = block_of(channels, taps);
        let mut words = AlignedWords::zeros(channels.next_multiple_of(block) * taps);
        let packed = words.as_mut_slice();
        for channel in 0..channels {
            let start = channel / block * block * taps + channel % block;
            for tap in 0..taps {
                let (row, column) = (tap / grid.columns, tap % grid.columns);
                packed[start + tap * block] = if pairs {
                    let (pair, output) = (row / 2, row % 2);
                    T::word(|i| {
                        let row = (2 * pair + i).checked_sub(output * step[0]);
                        row.filter(|row| *row < grid.rows).map_or(0.0, |row| weight(channel, row, column))
                    })
                } else {
                    weight(channel, row, column).to_bits()
                };
            }
        }
        PackedDepthwise { isa, words, channels, block, taps, grid, pairs }
    }

    /// The grid with other offsets: the same weights serve every padding.
    pub(crate) fn at(&self, first: [isize; 2]) -> TapGrid {
        TapGrid { first, ..self.grid }
    }

    /// The rows of all images' grids, in pieces for one core each, all of one image. They depend on the shape alone.
    pub(crate) fn pieces<T: Element>(&self, geometry: &Geometry) -> Vec<Range<usize>> {
        let height = geometry.grid_height;
        let row_bytes = geometry.in_width * geometry.step[0] * self.channels * size_of::<T>();
        let fits = 256 * 1024 / row_bytes.max(1);
        let shared = (geometry.batch * height).div_ceil(threads::pieces(16));
        // Even, so that rows find their neighbours.
        let len = fits.min(shared).next_multiple_of(2).max(2);
        let rows = |image: usize| {
            (0..height).step_by(len).map(move |row| {
                let first = image * height;
                first + row..first + (row + len).min(height)
            })
        };
        (0..geometry.batch).flat_map(rows).collect()
    }

    /// Computes a piece of the rows, all channels.
    ///
    /// # Safety
    /// No other thread writes these rows.
    pub(crate) unsafe fn run_piece<T: Element>(
        &self,
        geometry: &Geometry,
        grid: TapGrid,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: SharedMut<T>,
        rows: Range<usize>,
    ) {
        let kernel = RowsKernel { packed: self, geometry, grid, x, epilogue, y, rows };
        T::depthwise_rows(self.isa, kernel);
    }

    /// Computes all rows on the current thread pool.
    pub(crate) fn run<T: Element>(
        &self,
        geometry: &Geometry,
        grid: TapGrid,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: &mut [T],
    ) {
        let y = SharedMut::new(y);
        let pieces = self.pieces::<T>(geometry).into_par_iter().with_min_len(threads::least(1));
        pieces.for_each(|rows| {
            // SAFETY: pieces of rows are disjoint.
            unsafe { self.run_piece(geometry, grid, x, epilogue, y, rows) }
        });
    }
}

pub struct RowsKernel<'a, T> {
    packed: &'a PackedDepthwise,
    geometry: &'a Geometry,
    grid: TapGrid,
    x: &'a [T],
    epilogue: &'a Epilogue<'a, T>,
    y: SharedMut<T>,
    rows: Range<usize>,
}

impl<T: Element> Kernel for RowsKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (columns, step) = (self.grid.columns, self.geometry.step[1]);
        if S::FAST_DOT && T::BF16 && self.packed.pairs {
            // Rows of maps are multiples of 7 or 8 pixels, mostly.
            let sevens = self.geometry.grid_width.is_multiple_of(7);
            // SAFETY: the processor has S.
            return unsafe {
                match (columns, step, sevens) {
                    (1, 1, _) => self.all_pairs::<S, 1, 1, 8>(),
                    (2, 1, _) => self.all_pairs::<S, 2, 1, 8>(),
                    (3, 1, true) => self.all_pairs::<S, 3, 1, 7>(),
                    (3, 1, false) => self.all_pairs::<S, 3, 1, 8>(),
                    (5, 1, true) => self.all_pairs::<S, 5, 1, 7>(),
                    (5, 1, false) => self.all_pairs::<S, 5, 1, 8>(),
                    (7, 1, _) => self.all_pairs::<S, 7, 1, 7>(),
                    (3, 2, true) => self.all_pairs::<S, 3, 2, 7>(),
                    (3, 2, false) => self.all_pairs::<S, 3, 2, 8>(),
                    (5, 2, true) => self.all_pairs::<S, 5, 2, 7>(),
                    (5, 2, false) => self.all_pairs::<S, 5, 2, 8>(),
                    (7, 2, _) => self.all_pairs::<S, 7, 2, 7>(),
                    _ => unreachable!("no weights are packed in pairs for {columns} columns and step {step}"),
                }
            };
        }
        let neighbours = self.grid.spacing[1] == 1;
        // SAFETY: the processor has S.
        unsafe {
            match (neighbours, columns, step) {
                (true, 3, 1) => self.all_widths::<S, 3, 1>(),
                (true, 3, 2) => self.all_widths::<S, 3, 2>(),
                (true, 5, 1) => self.all_widths::<S, 5, 1>(),
                (true, 5, 2) => self.all_widths::<S, 5, 2>(),
                (true, 7, 1) => self.all_widths::<S, 7, 1>(),
                (true, 2, 1) => self.all_widths::<S, 2, 1>(),
                (true, 1, 1) => self.all_widths::<S, 1, 1>(),
                _ => self.all::<S, 1, 0, 4>(),
            }
        }
    }
}

/// Pairs of input rows that two output rows below each other are computed from.
fn row_pairs(rows: usize, step: usize) -> usize {
    (rows + step).div_ceil(2)
}

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
    /// As [`all`](Self::all), with tiles that rows of this width are multiples of, mostly.
    #[inline(always)]
    unsafe fn all_widths<S: Simd, const K: usize, const STEP: usize>(&self) {
        // SAFETY: the processor has S.
        unsafe {
            match self.geometry.grid_width {
                ..=4 => self.all::<S, K, STEP, 4>(),
                width if width.is_multiple_of(7) => self.all::<S, K, STEP, 7>(),
                _ => self.all::<S, K, STEP, 8>(),
            }
        }
    }

    /// `K` columns of taps side by side, `STEP` input pixels between outputs, `P` outputs a tile.
    /// `STEP` 0 stands for any number of columns, spacing and step.
    #[inline(always)]
    unsafe fn all<S: Simd, const K: usize, const STEP: usize, const P: usize>(&self) {
        let geometry = self.geometry;
        let channels = self.packed.channels;
        let width = self.packed.block;
        let taps = self.grid.rows * self.grid.columns;
        for block in (0..channels).step_by(width) {
            let weights = self.packed.words.as_ptr().wrapping_add(block * taps).cast::<f32>();
            for row in self.rows.clone() {
                let (image, row) = (row / geometry.grid_height, row % geometry.grid_height);
                let first_output = geometry.out_first + image * geometry.out_image + row * geometry.out_row;
                let mut start = 0;
                while start < geometry.grid_width {
                    let count = P.min(geometry.grid_width - start);
                    let run = Run {
                        row: (row * geometry.step[0]) as isize,
                        image,
                        start,
                        count,
                        output: first_output + start * geometry.out_column,
                    };
                    for channel in (block..channels.min(block + width)).step_by(S::LANES) {
                        let weights = weights.wrapping_add(channel - block);
                        let lanes = S::LANES.min(channels - channel);
                        // SAFETY: the processor has S; channels, rows and columns are inside of the geometry.
                        unsafe {
                            if lanes == S::LANES {
                                self.tile::<S, K, STEP, P, true>(&run, channel, lanes, weights);
                            } else {
                                self.tile::<S, K, STEP, P, false>(&run, channel, lanes, weights);
                            }
                        }
                    }
                    start += count;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const K: usize, const STEP: usize, const P: usize, const WHOLE: bool>(
        &self,
        run: &Run,
        channel: usize,
        lanes: usize,
        weights: *const f32,
    ) {
        let (geometry, grid) = (self.geometry, self.grid);
        let step = if STEP == 0 { geometry.step[1] } else { STEP };
        let first_column = (run.start * step) as isize + grid.first[1];
        let reach = if STEP == 0 {
            (P - 1) as isize * step as isize + (grid.columns - 1) as isize * grid.spacing[1].abs()
        } else {
            ((P - 1) * STEP + K - 1) as isize
        };
        let inside = STEP != 0
            && run.count == P
            && first_column >= 0
            && first_column + reach < geometry.in_width as isize;
        // SAFETY: the processor has S. Input pixels are read only inside of the image, or zeros instead. Weights are padded to whole vectors.
        unsafe {
            let bias = match self.epilogue.bias {
                Some(bias) => load_lanes::<S, f32, WHOLE>(bias.as_ptr().add(channel), lanes),
                None => S::splat(0.0),
            };
            let zeros = [T::default(); 16];
            let mut sums = [bias; P];
            for tap_row in 0..grid.rows {
                let row = run.row + grid.first[0] + tap_row as isize * grid.spacing[0];
                if row < 0 || row as usize >= geometry.in_height {
                    continue;
                }
                let pixels = (run.image * geometry.in_height + row as usize) * geometry.in_width;
                let x = self.x.as_ptr().wrapping_add(pixels * geometry.in_channels + channel);
                let weights = weights.add(tap_row * grid.columns * self.packed.block);

                if STEP == 0 {
                    for tap in 0..grid.columns {
                        let weight = S::load(weights.add(tap * self.packed.block));
                        for p in 0..P {
                            let column = first_column + (p * step) as isize + tap as isize * grid.spacing[1];
                            if p < run.count && column >= 0 && (column as usize) < geometry.in_width {
                                sums[p] = S::fma(
                                    load_lanes::<S, T, WHOLE>(
                                        x.wrapping_offset(column * geometry.in_channels as isize),
                                        lanes,
                                    ),
                                    weight,
                                    sums[p],
                                );
                            }
                        }
                    }
                    continue;
                }
                let x = x.wrapping_offset(first_column * geometry.in_channels as isize);
                if inside {
                    self.add_row::<S, K, STEP, P, WHOLE, true>(
                        x,
                        first_column,
                        lanes,
                        weights,
                        &zeros,
                        &mut sums,
                    );
                } else {
                    self.add_row::<S, K, STEP, P, WHOLE, false>(
                        x,
                        first_column,
                        lanes,
                        weights,
                        &zeros,
                        &mut sums,
                    );
                }
            }
            let first = run.output * geometry.out_channels + channel;
            let step = geometry.out_column * geometry.out_channels;
            if let (Some([low, high]), None) = (clamp(self.epilogue.activation), self.epilogue.residual) {
                let (low, high) = (S::splat(low), S::splat(high));
                unrolled!(p < P, {
                    if p < run.count {
                        let value = S::min(high, S::max(low, sums[p]));
                        store_lanes::<S, T, WHOLE>(self.y.at(first + p * step), lanes, value);
                    }
                });
                return;
            }
            // Through memory: what follows is too long to be unrolled, and registers have no index.
            let mut tile = MaybeUninit::<RunSums>::uninit();
            let tile = tile.as_mut_ptr().cast::<f32>();
            for p in 0..P {
                S::store(tile.add(p * S::LANES), sums[p]);
            }
            for p in 0..run.count {
                let at = first + p * step;
                let mut value = S::load(tile.add(p * S::LANES));
                if let Some(residual) = self.epilogue.residual {
                    value = S::add(value, load_lanes::<S, T, WHOLE>(residual.as_ptr().add(at), lanes));
                }
                value = simd::activate::<S>(self.epilogue.activation, value);
                store_lanes::<S, T, WHOLE>(self.y.at(at), lanes, value);
            }
        }
    }
}

impl<T: Element> RowsKernel<'_, T> {
    /// Adds what a row of taps gives to neighbouring outputs; `x`: the first one's first input, at `column`. `INSIDE`:
    /// all inputs are inside of the image.
    #[inline(always)]
    unsafe fn add_row<
        S: Simd,
        const K: usize,
        const STEP: usize,
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
        let (channels, width) = (self.geometry.in_channels, self.geometry.in_width);
        // SAFETY: the processor has S. Pixels are inside of the image, or zeros are read instead. Weights are padded to
        // whole vectors.
        unsafe {
            let mut taps = [S::splat(0.0); K];
            for k in 0..K {
                taps[k] = S::load(weights.add(k * self.packed.block));
            }
            if STEP == 1 {
                // Input vectors from left to right: each output takes its taps in order.
                for j in 0..P - 1 + K {
                    let x = x.wrapping_add(j * channels);
                    // Where the next tile reads: see `add_pair`.
                    if INSIDE && j < P {
                        S::prefetch(x.wrapping_add(P * channels));
                    }
                    // A choice of addresses instead of a branch, which would be foreseen badly.
                    let within = INSIDE || ((column + j as isize) as usize) < width;
                    let input = load_lanes::<S, T, WHOLE>(if within { x } else { zeros.as_ptr() }, lanes);
                    for p in 0..P {
                        if j >= p && j < p + K {
                            sums[p] = S::fma(input, taps[j - p], sums[p]);
                        }
                    }
                }
                return;
            }
            // An input has few outputs: it is loaded again for each.
            for k in 0..K {
                for p in 0..P {
                    let j = p * STEP + k;
                    let x = x.wrapping_add(j * channels);
                    if INSIDE && k < STEP {
                        S::prefetch(x.wrapping_add(P * STEP * channels));
                    }
                    let within = INSIDE || ((column + j as isize) as usize) < width;
                    let input = load_lanes::<S, T, WHOLE>(if within { x } else { zeros.as_ptr() }, lanes);
                    sums[p] = S::fma(input, taps[k], sums[p]);
                }
            }
        }
    }
}

/// Neighbouring grid pixels of one or both of two rows.
struct PairRun {
    image: usize,
    /// Input row of the first output row's first tap.
    row: isize,
    /// Which of the two rows are computed. A row is the first or the second by its number in the image, so that its
    /// sums are the same however the rows are cut into pieces.
    computed: [bool; 2],
    start: usize,
    count: usize,
    /// First output pixels of the rows.
    outputs: [usize; 2],
}

impl<T: Element> RowsKernel<'_, T> {
    /// `K` columns of taps side by side, `STEP` input pixels between outputs, tiles of two rows of `P` outputs.
    #[inline(always)]
    unsafe fn all_pairs<S: Simd, const K: usize, const STEP: usize, const P: usize>(&self) {
        let geometry = self.geometry;
        let (channels, width) = (self.packed.channels, self.packed.block);
        for block in (0..channels).step_by(width) {
            let weights = self.packed.words.as_ptr().wrapping_add(block * self.packed.taps).cast::<f32>();
            let mut next = self.rows.start;
            while next < self.rows.end {
                let (image, row) = (next / geometry.grid_height, next % geometry.grid_height);
                let first = row / 2 * 2;
                let has_second = row + 1 < geometry.grid_height && next + 1 < self.rows.end;
                let computed = [row == first, row > first || has_second];
                next += usize::from(computed[0]) + usize::from(computed[1]);
                let output =
                    |row: usize| geometry.out_first + image * geometry.out_image + row * geometry.out_row;
                for start in (0..geometry.grid_width).step_by(P) {
                    let column = start * geometry.out_column;
                    let run = PairRun {
                        image,
                        row: (first * STEP) as isize + self.grid.first[0],
                        computed,
                        start,
                        count: P.min(geometry.grid_width - start),
                        outputs: [output(first) + column, output(first + 1) + column],
                    };
                    for channel in (block..channels.min(block + width)).step_by(S::LANES) {
                        let lanes = S::LANES.min(channels - channel);
                        // SAFETY: the processor has S; channels, rows and columns are inside of the geometry.
                        unsafe {
                            let weights = weights.wrapping_add(channel - block);
                            self.pair_tile::<S, K, STEP, P>(&run, channel, lanes, weights);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn pair_tile<S: Simd, const K: usize, const STEP: usize, const P: usize>(
        &self,
        run: &PairRun,
        channel: usize,
        lanes: usize,
        weights: *const f32,
    ) {
        let (geometry, grid) = (self.geometry, self.grid);
        let [first, second] = run.computed;
        // SAFETY: the processor has S. Rows outside of the image are not read: they have no lanes. Weights are padded
        // to whole vectors.
        unsafe {
            let bias = match self.epilogue.bias {
                Some(bias) => S::load_first(bias.as_ptr().add(channel), lanes),
                None => S::splat(0.0),
            };
            let mut sums = [[bias; P]; 2];
            for pair in 0..row_pairs(grid.rows, STEP) {
                let rows = [0, 1].map(|i| {
                    let row = run.row + (2 * pair + i) as isize;
                    if row < 0 || row as usize >= geometry.in_height {
                        return (self.x.as_ptr(), 0);
                    }
                    let pixel = (run.image * geometry.in_height + row as usize) * geometry.in_width;
                    (self.x.as_ptr().wrapping_add(pixel * geometry.in_channels + channel), lanes)
                });
                if rows[0].1 + rows[1].1 == 0 {
                    continue;
                }
                let weights = weights.wrapping_add(pair * 2 * K * self.packed.block);
                match (first && 2 * pair < grid.rows, second && 2 * pair + 1 >= STEP) {
                    (true, true) => {
                        self.add_pair::<S, K, STEP, P, true, true>(run, rows, weights, &mut sums);
                    }
                    (true, false) => {
                        self.add_pair::<S, K, STEP, P, true, false>(run, rows, weights, &mut sums);
                    }
                    (false, true) => {
                        self.add_pair::<S, K, STEP, P, false, true>(run, rows, weights, &mut sums);
                    }
                    (false, false) => {}
                }
            }
            let limits = clamp(self.epilogue.activation).filter(|_| self.epilogue.residual.is_none());
            for output in 0..2 {
                if !run.computed[output] {
                    continue;
                }
                let first = run.outputs[output] * geometry.out_channels + channel;
                let step = geometry.out_column * geometry.out_channels;
                if let Some([low, high]) = limits {
                    let (low, high) = (S::splat(low), S::splat(high));
                    unrolled!(p < P, {
                        if p < run.count {
                            let value = S::min(high, S::max(low, sums[output][p]));
                            T::store_first::<S>(self.y.at(first + p * step), lanes, value);
                        }
                    });
                    continue;
                }
                // Through memory: what follows is too long to be repeated.
                let mut tile = MaybeUninit::<RunSums>::uninit();
                let tile = tile.as_mut_ptr().cast::<f32>();
                unrolled!(p < P, { S::store(tile.add(p * S::LANES), sums[output][p]) });
                for p in 0..run.count {
                    let at = first + p * step;
                    let mut value = S::load(tile.add(p * S::LANES));
                    if let Some(residual) = self.epilogue.residual {
                        value = S::add(value, T::load_first::<S>(residual.as_ptr().add(at), lanes));
                    }
                    value = simd::activate::<S>(self.epilogue.activation, value);
                    T::store_first::<S>(self.y.at(at), lanes, value);
                }
            }
        }
    }

    /// Adds what a pair of input rows, each with its lanes, gives to the first and the second output row.
    #[inline(always)]
    unsafe fn add_pair<
        S: Simd,
        const K: usize,
        const STEP: usize,
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
        let first_column = (run.start * STEP) as isize + self.grid.first[1];
        let width = self.geometry.in_width;
        let inside = first_column >= 0 && first_column as usize + (P - 1) * STEP + K <= width;
        let [(low, lows), (high, highs)] = rows;
        // Where the next tile reads: too short a way in one line of memory for the processor to foresee it.
        let ahead = P * STEP * self.geometry.in_channels;
        // SAFETY: the processor has S; columns outside of the image are not read.
        unsafe {
            let mut taps = [[S::splat(0.0); K]; 2];
            for k in 0..K {
                if FIRST {
                    taps[0][k] = S::load(weights.add(k * self.packed.block));
                }
                if SECOND {
                    taps[1][k] = S::load(weights.add((K + k) * self.packed.block));
                }
            }
            for j in 0..(P - 1) * STEP + K {
                let column = first_column + j as isize;
                if !inside && (column < 0 || column as usize >= width) {
                    continue;
                }
                let offset = column * self.geometry.in_channels as isize;
                let (low, high) = (low.wrapping_offset(offset), high.wrapping_offset(offset));
                if j < P * STEP {
                    S::prefetch(low.wrapping_add(ahead));
                    S::prefetch(high.wrapping_add(ahead));
                }
                let input = S::load_pairs_first(low.cast(), lows, high.cast(), highs);
                for p in 0..P {
                    if j >= p * STEP && j < p * STEP + K {
                        if FIRST {
                            sums[0][p] = S::dot(sums[0][p], taps[0][j - p * STEP], input);
                        }
                        if SECOND {
                            sums[1][p] = S::dot(sums[1][p], taps[1][j - p * STEP], input);
                        }
                    }
                }
            }
        }
    }
}

/// The gradient with respect to the weights, `[channels, 1, rows, columns]`, of a convolution with one filter a
/// channel. Rows of output pixels are cut into segments by the shape alone; their sums are added in order.
pub(crate) fn backward_weights<T: Element>(
    isa: Isa,
    geometry: &Geometry,
    grid: TapGrid,
    x: &[T],
    dy: &[T],
    dw: &mut [f32],
) {
    let channels = geometry.in_channels;
    let taps = grid.rows * grid.columns;
    let rows = geometry.batch * geometry.grid_height;
    let row_bytes = geometry.in_width * geometry.step[0] * channels.min(BLOCK) * size_of::<T>();
    let blocks = channels.div_ceil(BLOCK);
    // Segments of a block fit into the cache of a core; there are enough of them to share.
    let len = (256 * 1024 / row_bytes.max(1))
        .max(1)
        .min(rows.div_ceil(threads::pieces(32).div_ceil(blocks)))
        .max(1);
    let segments = rows.div_ceil(len);
    let padded = channels.next_multiple_of(BLOCK);
    let mut partial = vec![0.0f32; segments * taps * padded];
    let sums = SharedMut::new(&mut partial);
    (0..segments * blocks).into_par_iter().with_min_len(threads::least(1)).for_each(|item| {
        let (segment, block) = (item / blocks, item % blocks);
        let rows = segment * len..((segment + 1) * len).min(rows);
        for channel in (block * BLOCK..channels.min((block + 1) * BLOCK)).step_by(simd::lanes(isa)) {
            let sums = sums.at(segment * taps * padded + channel);
            T::depthwise_weights(
                isa,
                WeightKernel { geometry, grid, x, dy, rows: rows.clone(), channel, sums, padded },
            );
        }
    });
    dw.par_chunks_mut(taps).enumerate().with_min_len(threads::least(1)).for_each(|(channel, dw)| {
        for (tap, dw) in dw.iter_mut().enumerate() {
            let of_segment = |segment: usize| f64::from(partial[(segment * taps + tap) * padded + channel]);
            *dw = (0..segments).map(of_segment).sum::<f64>() as f32;
        }
    });
}

/// One vector of channels of a segment: sums of `dy` times `x` for each tap.
pub struct WeightKernel<'a, T> {
    geometry: &'a Geometry,
    grid: TapGrid,
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
        let neighbours = self.grid.spacing == [1, 1] && self.grid.rows == self.grid.columns;
        let (columns, step) = (self.grid.columns, self.geometry.step[1]);
        let square = neighbours && self.geometry.step == [step; 2];
        if S::FAST_DOT && T::BF16 && square && matches!((columns, step), (3 | 5, 1 | 2)) {
            // SAFETY: the processor has S.
            return unsafe {
                match (columns, step) {
                    (3, 1) => self.all_pairs::<S, 3, 1, 8>(),
                    (3, _) => self.all_pairs::<S, 3, 2, 8>(),
                    (_, 1) => self.all_pairs::<S, 5, 1, 4>(),
                    _ => self.all_pairs::<S, 5, 2, 4>(),
                }
            };
        }
        // SAFETY: the processor has S.
        unsafe {
            match (S::MANY_REGISTERS, neighbours, columns, step) {
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
    /// `R` rows and `K` columns of taps at once, `STEP` input pixels between outputs, `P` outputs at once.
    /// `STEP` 0 stands for any columns, spacing and step.
    #[inline(always)]
    unsafe fn all<S: Simd, const R: usize, const K: usize, const STEP: usize, const P: usize>(&self) {
        let lanes = S::LANES.min(self.geometry.in_channels - self.channel);
        for tap_row in (0..self.grid.rows).step_by(R) {
            for tap_column in (0..self.grid.columns).step_by(K) {
                // SAFETY: the processor has S.
                unsafe {
                    if lanes == S::LANES {
                        self.taps::<S, R, K, STEP, P, true>(tap_row, tap_column, lanes);
                    } else {
                        self.taps::<S, R, K, STEP, P, false>(tap_row, tap_column, lanes);
                    }
                }
            }
        }
    }

    /// All `K × K` taps, `STEP` input pixels between outputs; words pair the outputs of two rows, `P` at once, and
    /// the inputs below them.
    #[inline(always)]
    unsafe fn all_pairs<S: Simd, const K: usize, const STEP: usize, const P: usize>(&self) {
        let (geometry, grid) = (self.geometry, self.grid);
        let (channels, width) = (geometry.in_channels, geometry.in_width);
        let lanes = S::LANES.min(channels - self.channel);
        // SAFETY: the processor has S. Pixels outside of the images have no lanes or are not asked for. The sums are
        // padded to whole vectors.
        unsafe {
            let mut sums = [[S::splat(0.0); K]; K];
            let mut next = self.rows.start;
            while next < self.rows.end {
                let (image, row) = (next / geometry.grid_height, next % geometry.grid_height);
                let has_second = row + 1 < geometry.grid_height && next + 1 < self.rows.end;
                let second_lanes = if has_second { lanes } else { 0 };
                let dy = self.dy.as_ptr().add(next * geometry.grid_width * channels + self.channel);
                let second_dy = dy.wrapping_add(geometry.grid_width * channels);
                next += 1 + usize::from(has_second);
                let input_row = |row: usize, tap: usize, lanes: usize| {
                    let row = (row * STEP + tap) as isize + grid.first[0];
                    if row < 0 || row as usize >= geometry.in_height {
                        return (self.x.as_ptr(), 0);
                    }
                    let pixel = (image * geometry.in_height + row as usize) * width;
                    (self.x.as_ptr().wrapping_add(pixel * channels + self.channel), lanes)
                };
                for start in (0..geometry.grid_width).step_by(P) {
                    let count = P.min(geometry.grid_width - start);
                    let mut gradients = [S::splat(0.0); P];
                    unrolled!(p < P, {
                        if p < count {
                            let at = (start + p) * channels;
                            let (low, high) = (dy.wrapping_add(at), second_dy.wrapping_add(at));
                            gradients[p] = S::load_pairs_first(low.cast(), lanes, high.cast(), second_lanes);
                        }
                    });
                    let first = (start * STEP) as isize + grid.first[1];
                    let inside = first >= 0 && first as usize + (P - 1) * STEP + K <= width;
                    for r in 0..K {
                        let (low, lows) = input_row(row, r, lanes);
                        let (high, highs) = input_row(row + 1, r, second_lanes);
                        for j in 0..(P - 1) * STEP + K {
                            let column = first + j as isize;
                            if !inside && (column < 0 || column as usize >= width) {
                                continue;
                            }
                            let offset = column * channels as isize;
                            let (low, high) = (low.wrapping_offset(offset), high.wrapping_offset(offset));
                            let input = S::load_pairs_first(low.cast(), lows, high.cast(), highs);
                            for k in 0..K {
                                if j >= k && (j - k).is_multiple_of(STEP) && (j - k) / STEP < P {
                                    sums[r][k] = S::dot(sums[r][k], input, gradients[(j - k) / STEP]);
                                }
                            }
                        }
                    }
                }
            }
            for r in 0..K {
                for k in 0..K {
                    S::store(self.sums.add((r * K + k) * self.padded), sums[r][k]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn taps<
        S: Simd,
        const R: usize,
        const K: usize,
        const STEP: usize,
        const P: usize,
        const WHOLE: bool,
    >(
        &self,
        tap_row: usize,
        tap_column: usize,
        lanes: usize,
    ) {
        let (geometry, grid) = (self.geometry, self.grid);
        let channels = geometry.in_channels;
        let step = if STEP == 0 { geometry.step[1] } else { STEP };
        // SAFETY: the processor has S. Pixels are read only inside of the images, after checks. The sums are padded
        // to whole vectors.
        unsafe {
            let zero = S::splat(0.0);
            let mut sums = [[zero; K]; R];
            for row in self.rows.clone() {
                let (image, out_row) = (row / geometry.grid_height, row % geometry.grid_height);
                let dy = self.dy.as_ptr().add(row * geometry.grid_width * channels + self.channel);
                let mut rows: [Option<*const T>; R] = [None; R];
                for (r, place) in rows.iter_mut().enumerate() {
                    let offset = grid.first[0] + (tap_row + r) as isize * grid.spacing[0];
                    let in_row = (out_row * geometry.step[0]) as isize + offset;
                    if in_row >= 0 && (in_row as usize) < geometry.in_height {
                        let pixel = (image * geometry.in_height + in_row as usize) * geometry.in_width;
                        *place = Some(self.x.as_ptr().add(pixel * channels + self.channel));
                    }
                }
                let mut start = 0;
                while start < geometry.grid_width {
                    let count = P.min(geometry.grid_width - start);
                    let mut gradients = [zero; P];
                    for p in 0..P {
                        if p < count {
                            gradients[p] = load_lanes::<S, T, WHOLE>(dy.add((start + p) * channels), lanes);
                        }
                    }
                    let first =
                        (start * step) as isize + grid.first[1] + tap_column as isize * grid.spacing[1];
                    if STEP == 0 {
                        for p in 0..P {
                            let column = first + (p * step) as isize;
                            let inside = p < count && column >= 0 && (column as usize) < geometry.in_width;
                            if let Some(x) = rows[0].filter(|_| inside) {
                                let input =
                                    load_lanes::<S, T, WHOLE>(x.add(column as usize * channels), lanes);
                                sums[0][0] = S::fma(input, gradients[p], sums[0][0]);
                            }
                        }
                        start += count;
                        continue;
                    }
                    let reach = (P - 1) * STEP + K;
                    let inside = first >= 0 && first as usize + reach <= geometry.in_width;
                    for r in 0..R {
                        let Some(x) = rows[r] else { continue };
                        for j in 0..reach {
                            let column = first + j as isize;
                            if !inside && (column < 0 || column as usize >= geometry.in_width) {
                                continue;
                            }
                            let input =
                                load_lanes::<S, T, WHOLE>(x.offset(column * channels as isize), lanes);
                            for k in 0..K {
                                if j >= k && (j - k).is_multiple_of(STEP) && (j - k) / STEP < P {
                                    sums[r][k] = S::fma(input, gradients[(j - k) / STEP], sums[r][k]);
                                }
                            }
                        }
                    }
                    start += count;
                }
            }
            for r in 0..R {
                for k in 0..K {
                    let tap = (tap_row + r) * grid.columns + tap_column + k;
                    S::store(self.sums.add(tap * self.padded), sums[r][k]);
                }
            }
        }
    }
}
