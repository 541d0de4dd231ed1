//! The kernels of depthwise convolutions, which have one filter a channel: forward passes, gradients with
//! respect to data, and gradients with respect to weights.
//!
//! A register tile holds some neighbouring output pixels of one vector of channels; each input vector is
//! loaded once a kernel row and multiplied by all weights that need it. Where there are dot products of pairs
//! of bf16, a tile holds two rows of output pixels, and a word pairs two input rows, which both output rows
//! are computed from.
//!
//! | module | |
//! |---|---|
//! | `rows` | tiles of one row |
//! | `pairs` | tiles of two rows, for pairs of bf16 |
//! | `backward_weights` | gradients with respect to weights |

mod backward_weights;
mod pairs;
mod rows;

use super::geometry::{Epilogue, SamplingGrid, TapGrid};
use crate::{
    buffer_pool::AlignedWords,
    element::Element,
    isa::Isa,
    shared_mut::SharedMut,
    simd::{self, Kernel, Simd},
    threads,
};
pub(crate) use backward_weights::WeightKernel;
pub(super) use backward_weights::backward_weights;
use rayon::prelude::*;
use std::ops::Range;

/// Weights in the order `[block of channels][tap][channel of the block]`, in f32; or for pairs of rows, in
/// the order
/// `[block of channels][pair of input rows][output row, 0 or 1][column of taps][channel of the block]`, in
/// words of two bf16.
#[derive(Clone, Debug)]
pub struct PackedDepthwise {
    isa: Isa,
    words: AlignedWords,
    channels: usize,
    /// Channels that are computed together.
    block: usize,
    words_per_channel: usize,
    taps: TapGrid,
    pairs: bool,
}

/// Channels of a block where all are too many: two cache lines of bf16, so that none is touched twice.
const BLOCK: usize = 64;

/// All channels, so that memory is read from one end to the other, if their weights fit into the first cache
/// beside the inputs; else [`BLOCK`].
fn channels_per_block(channels: usize, words_per_channel: usize) -> usize {
    let all = channels.next_multiple_of(16);
    if all * words_per_channel * 4 <= 16 * 1024 { all } else { BLOCK }
}

/// Pairs of input rows that two neighbouring output rows are computed from.
fn row_pairs(tap_rows: usize, stride: usize) -> usize {
    (tap_rows + stride).div_ceil(2)
}

impl PackedDepthwise {
    /// Packs the weights `weight(channel, row of taps, column of taps)` of a convolution with this stride.
    pub(crate) fn pack<T: Element>(
        isa: Isa,
        channels: usize,
        taps: TapGrid,
        stride: [usize; 2],
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let pairs = T::BF16
            && simd::has_fast_dot(isa)
            && taps.dilation == [1, 1]
            && stride[0] == stride[1]
            && matches!((taps.columns, stride[1]), (1 | 2 | 3 | 5 | 7, 1) | (3 | 5 | 7, 2));
        let words_per_channel = match pairs {
            true => row_pairs(taps.rows, stride[0]) * 2 * taps.columns,
            false => taps.rows * taps.columns,
        };
        let block = channels_per_block(channels, words_per_channel);
        let mut words = AlignedWords::zeros(channels.next_multiple_of(block) * words_per_channel);
        let packed = words.as_mut_slice();
        for channel in 0..channels {
            let start = channel / block * block * words_per_channel + channel % block;
            for word in 0..words_per_channel {
                let (row, column) = (word / taps.columns, word % taps.columns);
                packed[start + word * block] = if pairs {
                    let (pair, output) = (row / 2, row % 2);
                    T::word(|i| {
                        let row = (2 * pair + i).checked_sub(output * stride[0]);
                        row.filter(|row| *row < taps.rows).map_or(0.0, |row| weight(channel, row, column))
                    })
                } else {
                    weight(channel, row, column).to_bits()
                };
            }
        }
        PackedDepthwise { isa, words, channels, block, words_per_channel, taps, pairs }
    }

    /// The taps with another offset: the same weights serve every padding.
    pub(crate) fn taps_from(&self, first: [isize; 2]) -> TapGrid {
        TapGrid { first, ..self.taps }
    }

    /// The rows of all images' grids, in pieces for one core each, all of one image. They depend on the shape
    /// alone.
    pub(crate) fn pieces<T: Element>(&self, grid: &SamplingGrid) -> Vec<Range<usize>> {
        let height = grid.height;
        let row_bytes = grid.in_width * grid.stride[0] * self.channels * size_of::<T>();
        let fits = 256 * 1024 / row_bytes.max(1);
        let shared = (grid.batch * height).div_ceil(threads::target_pieces(16));
        // Even, so that pairs of rows are not separated.
        let len = fits.min(shared).next_multiple_of(2).max(2);
        let rows = |image: usize| {
            (0..height).step_by(len).map(move |row| {
                let first = image * height;
                first + row..first + (row + len).min(height)
            })
        };
        (0..grid.batch).flat_map(rows).collect()
    }

    /// Computes a piece of the rows, all channels.
    ///
    /// # Safety
    /// No other thread writes these rows.
    pub(crate) unsafe fn run_piece<T: Element>(
        &self,
        grid: &SamplingGrid,
        taps: TapGrid,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: SharedMut<T>,
        rows: Range<usize>,
    ) {
        let kernel = RowsKernel { packed: self, grid, taps, x, epilogue, y, rows };
        T::depthwise_rows(self.isa, kernel);
    }

    /// Computes all rows on the current thread pool.
    pub(crate) fn run<T: Element>(
        &self,
        grid: &SamplingGrid,
        taps: TapGrid,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: &mut [T],
    ) {
        let y = SharedMut::new(y);
        let pieces = self.pieces::<T>(grid).into_par_iter().with_min_len(threads::min_len(1));
        pieces.for_each(|rows| {
            // SAFETY: pieces of rows are disjoint.
            unsafe { self.run_piece(grid, taps, x, epilogue, y, rows) }
        });
    }
}

/// Some rows, all channels.
pub struct RowsKernel<'a, T> {
    packed: &'a PackedDepthwise,
    grid: &'a SamplingGrid,
    taps: TapGrid,
    x: &'a [T],
    epilogue: &'a Epilogue<'a, T>,
    y: SharedMut<T>,
    rows: Range<usize>,
}

impl<T: Element> Kernel for RowsKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (columns, stride) = (self.taps.columns, self.grid.stride[1]);
        if S::FAST_DOT && T::BF16 && self.packed.pairs {
            // The width of most maps is a multiple of 7 or 8.
            let sevens = self.grid.width.is_multiple_of(7);
            // SAFETY: the processor has S.
            return unsafe {
                match (columns, stride, sevens) {
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
                    _ => unreachable!(
                        "no weights are packed in pairs for {columns} columns and stride {stride}"
                    ),
                }
            };
        }
        let contiguous = self.taps.dilation[1] == 1;
        // SAFETY: the processor has S.
        unsafe {
            match (contiguous, columns, stride) {
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
