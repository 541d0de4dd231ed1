//! The kernel of dense and grouped convolutions: forward passes, and gradients with respect to data.
//!
//! Both are the same loop: each output pixel sums over taps, and over the channels of the input pixel at each
//! tap. A register tile holds up to [`MAX_PIXELS`] output pixels × 1 to 3 vectors of output channels; input
//! words (one f32, or two bf16 channels) are broadcast and multiplied with vectors of packed weights. A tap
//! that lies in padding reads zeros. Each sum runs over taps, then channels, in one order: it does not depend
//! on how the work is split.
//!
//! | module | |
//! |---|---|
//! | `pack` | weights in the order in which tiles read them |
//! | `gather` | addresses of the inputs of each pixel |
//! | `tile` | the register tiles |

mod gather;
mod pack;
mod tile;

use super::geometry::{Epilogue, SamplingGrid};
use crate::{
    activation::Activation, buffer_pool::Scratch, element::Element, isa::Isa, shared_mut::SharedMut, simd,
    threads,
};
use gather::{InputMode, TileInputs};
pub(crate) use pack::RoundKernel;
pub(super) use pack::WeightSource;
use pack::{Block, WordLayout, blocks};
use rayon::prelude::*;
use std::{ops::Range, sync::Arc};
pub(crate) use tile::BlockKernel;
use tile::MAX_PIXELS;

/// Weights in the order `[group][block of output channels][word of taps · channels][vector][lane]`.
#[derive(Clone, Debug)]
pub(crate) struct PackedDense {
    isa: Isa,
    /// Lanes beyond a block's channels hold any values.
    words: Arc<Scratch>,
    blocks: Vec<Block>,
    taps: usize,
    /// Neighbouring taps whose inputs are contiguous in memory.
    taps_per_row: usize,
    groups: usize,
    group_in: usize,
    group_out: usize,
}

/// Weights that are packed piece by piece, just before they are used, take at most this many bytes a piece:
/// they and the inputs that they meet fit into the cache of a core.
const PACKED_PIECE_BYTES: usize = 192 * 1024;

/// Inputs of at most this many bytes, and at most a quarter of the weights' bytes, are read again for each
/// piece of weights, instead of the weights for each piece of pixels.
const SMALL_INPUT_BYTES: usize = 1024 * 1024;

/// Fewest blocks of weights for which threads share the weights.
const MIN_SHARED_BLOCKS: usize = 8;

const WORDS_PER_CACHE_LINE: usize = 16;

impl PackedDense {
    /// Computes all pixels on the current thread pool.
    pub(crate) fn run<T: Element>(
        &self,
        grid: &SamplingGrid,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: &mut [T],
    ) {
        let y = SharedMut::new(y);
        let target = threads::target_pieces(16);
        let pieces = self.pieces::<T>(grid, target);
        let work = threads::with_blocks(&pieces, &self.blocks, target);
        work.into_par_iter().with_min_len(threads::min_len(1)).for_each(|(piece, blocks)| {
            // SAFETY: pieces of pixels and blocks of channels are disjoint.
            unsafe { self.run_blocks(grid, x, epilogue, y, piece.clone(), blocks) }
        });
    }

    /// Whether weights that are used once are better packed just before they are used: then threads share the
    /// weights instead of the pixels, of which there are few.
    pub(crate) fn packs_in_pieces<T: Element>(isa: Isa, source: &WeightSource<'_>, x: &[T]) -> bool {
        let words_per_channel = WordLayout::new::<T>(source).per_channel;
        let (blocks, words) = blocks(isa, source.groups, source.group_out, words_per_channel);
        let (inputs, weights) = (size_of_val(x), words * size_of::<u32>());
        inputs <= SMALL_INPUT_BYTES.min(weights / 4) && blocks.len() >= MIN_SHARED_BLOCKS
    }

    /// The same as [`pack`](Self::pack) and [`run`](Self::run), with pieces of the weights that stay in the
    /// cache.
    pub(crate) fn pack_and_run<T: Element>(
        isa: Isa,
        source: &WeightSource<'_>,
        grid: &SamplingGrid,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: &mut [T],
    ) {
        let y = SharedMut::new(y);
        let words_per_channel = WordLayout::new::<T>(source).per_channel;
        let (blocks, len) = blocks(isa, source.groups, source.group_out, words_per_channel);
        let pieces = (len * size_of::<u32>()).div_ceil(PACKED_PIECE_BYTES).max(threads::target_pieces(16));
        let work = blocks.par_chunks(blocks.len().div_ceil(pieces));
        work.with_min_len(threads::min_len(1)).for_each(|blocks| {
            let words = blocks.iter().map(|block| words_per_channel * block.vectors * simd::lanes(isa)).sum();
            let packed =
                threads::single_threaded(|| Self::pack_blocks::<T>(isa, source, blocks.to_vec(), words));
            // SAFETY: the channels of blocks are disjoint.
            unsafe { packed.run_blocks(grid, x, epilogue, y, 0..grid.pixels(), &packed.blocks) }
        });
    }

    /// The bare sums of a pointwise convolution with one group: `sums`, `[pixel][output]`, of `x`,
    /// `[pixel][input]`, on this thread.
    pub(super) fn products<T: Element>(&self, x: &[T], sums: &mut [f32]) {
        let pixels = sums.len() / self.group_out;
        let zeros = vec![T::default(); self.group_in];
        let inputs = x.chunks_exact(self.group_in).take(pixels).map(<[T]>::as_ptr);
        let pointers: Vec<*const T> = inputs.chain([zeros.as_ptr(); MAX_PIXELS]).collect();
        let outputs: Vec<usize> = (0..pixels).map(|pixel| pixel * self.group_out).collect();
        for block in &self.blocks {
            let kernel = BlockKernel {
                block: *block,
                weights: self.block_words(block),
                taps: 1,
                first_word: 0,
                words_per_tap: self.group_in / T::PER_WORD,
                pointers: &pointers,
                pointer_stride: pointers.len(),
                outputs: &outputs,
                pixels,
                bias: None,
                residual: None,
                activation: Activation::None,
                y: std::ptr::null_mut(),
                sums: Some(sums[block.first..].as_mut_ptr()),
            };
            T::dense_block(self.isa, kernel);
        }
    }

    /// The grid's pixels in pieces that fit into the cache of a core, at least `target` of them if there are
    /// enough pixels. They depend on the shape alone.
    pub(crate) fn pieces<T: Element>(&self, grid: &SamplingGrid, target: usize) -> Vec<Range<usize>> {
        // Divisible by the pixels of all tiles.
        const MAX_PIECE: usize = 252;
        // Whole tiles, for most blocks at least.
        let tile = if simd::has_many_registers(self.isa) { MAX_PIXELS } else { 6 };
        let pixels = grid.pixels();
        let inputs_per_pixel = grid.stride[0] * grid.stride[1];
        let bytes =
            (self.group_in * self.groups * inputs_per_pixel + self.group_out * self.groups) * size_of::<T>();
        let fits = (512 * 1024 / bytes / tile).max(1) * tile;
        let balanced = pixels.div_ceil(target).next_multiple_of(tile);
        let len = MAX_PIECE.min(fits).min(balanced).max(tile);
        (0..pixels).step_by(len).map(|start| start..(start + len).min(pixels)).collect()
    }

    /// Computes a piece of the pixels, all channels.
    ///
    /// # Safety
    /// No other thread writes these pixels.
    pub(crate) unsafe fn run_piece<T: Element>(
        &self,
        grid: &SamplingGrid,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: SharedMut<T>,
        piece: Range<usize>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.run_blocks(grid, x, epilogue, y, piece, &self.blocks) }
    }

    /// # Safety
    /// No other thread writes these channels of these pixels.
    unsafe fn run_blocks<T: Element>(
        &self,
        grid: &SamplingGrid,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: SharedMut<T>,
        piece: Range<usize>,
        blocks: &[Block],
    ) {
        let mut inputs = TileInputs::new(self.input_mode::<T>(grid), self, grid, x, piece);
        for block in blocks {
            inputs.select_group(block.group);
            let channel = block.group * self.group_out + block.first;
            let kernel = BlockKernel {
                block: *block,
                weights: self.block_words(block),
                taps: inputs.taps,
                first_word: inputs.first_word,
                words_per_tap: inputs.words_per_tap,
                pointers: &inputs.pointers,
                pointer_stride: inputs.pointer_stride,
                outputs: &inputs.outputs,
                pixels: inputs.pixels,
                bias: epilogue.bias.map(|bias| &bias[channel..][..block.count]),
                residual: epilogue.residual.map(|residual| residual[channel..].as_ptr()),
                activation: epilogue.activation,
                y: y.at(channel),
                sums: None,
            };
            T::dense_block(self.isa, kernel);
        }
    }

    fn input_mode<T: Element>(&self, grid: &SamplingGrid) -> InputMode {
        match pack::straddles_taps::<T>(self.taps, self.group_in) {
            true if self.taps_per_row > 1 => InputMode::Rows,
            true => InputMode::Patches,
            false if grid.is_pointwise() => InputMode::Pointwise,
            false => InputMode::Taps,
        }
    }

    fn block_words(&self, block: &Block) -> *const u32 {
        // SAFETY: a block's words begin at its offset.
        unsafe { self.words.as_ptr().add(block.offset) }
    }
}
