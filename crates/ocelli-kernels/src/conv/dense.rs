//! The engine of dense and grouped convolutions: forward passes, and gradients with respect to data.
//!
//! Both are the same loop: each output pixel sums over taps, and over the channels of the input pixel below each tap.
//! A register tile holds [`pixels_per_tile`] output pixels × 1 to 3 vectors of output channels; input words (one f32,
//! or two bf16 channels) are broadcast against vectors of packed weights. A tap that lies in padding reads zeros.
//! Each sum is one chain in the order taps, channels: it does not depend on how the work is cut.

use crate::{
    Activation, Element, Isa,
    element::{load_lanes, store_lanes},
    elementwise::load,
    memory::{Scratch, SharedMut},
    simd::{self, Kernel, Simd, unrolled},
    threads,
};
use rayon::prelude::*;
use std::{marker::PhantomData, mem::MaybeUninit, ops::Range, sync::Arc};

/// Where output pixels find their inputs and where they are stored: pixels form a grid in each image; pixel
/// `(row, column)` has its taps at input pixels `(row, column) · step + tap`.
#[derive(Clone, Debug)]
pub struct Geometry {
    pub batch: usize,
    pub in_height: usize,
    pub in_width: usize,
    /// Channels of an input pixel in memory, over all groups.
    pub in_channels: usize,
    pub step: [usize; 2],
    pub taps: Vec<[isize; 2]>,
    pub grid_height: usize,
    pub grid_width: usize,
    /// Distances between images, rows and columns of the grid in the output, and its first pixel, in pixels.
    pub out_image: usize,
    pub out_row: usize,
    pub out_column: usize,
    pub out_first: usize,
    /// Channels of an output pixel in memory, over all groups.
    pub out_channels: usize,
}

impl Geometry {
    /// Whether the input and output pixels are the same, one tap each.
    fn is_pointwise(&self) -> bool {
        self.taps == [[0, 0]]
            && self.step == [1, 1]
            && [self.in_height, self.in_width] == [self.grid_height, self.grid_width]
            && [self.out_image, self.out_row, self.out_column, self.out_first]
                == [self.grid_height * self.grid_width, self.grid_width, 1, 0]
    }

    pub(crate) fn pixels(&self) -> usize {
        self.batch * self.grid_height * self.grid_width
    }
}

/// What is done to a tile before it is stored.
pub struct Epilogue<'a, T> {
    /// `[out_channels]`
    pub bias: Option<&'a [f32]>,
    /// Of the output's shape.
    pub residual: Option<&'a [T]>,
    pub activation: Activation,
}

/// Weights in the order `[group][block of output channels][word of taps · channels][vector][lane]`.
#[derive(Clone, Debug)]
pub(crate) struct PackedDense {
    isa: Isa,
    /// Lanes beyond a block's channels hold anything.
    words: Arc<Scratch>,
    blocks: Vec<Block>,
    taps: usize,
    /// Taps side by side whose inputs follow each other in memory.
    row: usize,
    groups: usize,
    group_in: usize,
    group_out: usize,
}

/// Output channels that are computed together.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    group: usize,
    /// First channel in the group, and how many.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) vectors: usize,
    /// Its first word.
    offset: usize,
}

/// Cuts the output channels of all groups into blocks; also, how many words they have together.
fn blocks(isa: Isa, groups: usize, group_out: usize, words_per_channel: usize) -> (Vec<Block>, usize) {
    let lanes = simd::lanes(isa);
    let mut blocks = Vec::new();
    let mut offset = 0;
    for group in 0..groups {
        let mut first = 0;
        while first < group_out {
            let left = (group_out - first).div_ceil(lanes);
            let vectors = if left == 1 || left == 3 { left } else { 2 };
            let count = (vectors * lanes).min(group_out - first);
            blocks.push(Block { group, first, count, vectors, offset });
            first += count;
            offset += words_per_channel * vectors * lanes;
        }
    }
    (blocks, offset)
}

/// Where a convolution's weights lie: in PyTorch's order `[outputs of all groups, inputs of a group, taps]`, used
/// forwards, or backwards with outputs and inputs exchanged.
pub(crate) struct WeightSource<'a> {
    pub weights: &'a [f32],
    /// For each output of all groups; forwards only.
    pub scale: Option<&'a [f32]>,
    pub groups: usize,
    /// As the convolution that is packed sees them.
    pub group_in: usize,
    pub group_out: usize,
    /// Taps of the source, and which of them are used in which order.
    pub all_taps: usize,
    pub taps: Vec<usize>,
    /// So many taps are side by side, and their inputs follow each other in memory; 1 if none do.
    pub row: usize,
    pub backwards: bool,
}

impl WeightSource<'_> {
    /// Where the taps of an output and an input of a group lie.
    pub(super) fn start(&self, group: usize, output: usize, input: usize) -> usize {
        if self.backwards {
            ((group * self.group_in + input) * self.group_out + output) * self.all_taps
        } else {
            ((group * self.group_out + output) * self.group_in + input) * self.all_taps
        }
    }

    pub(super) fn scale(&self, group: usize, output: usize) -> f32 {
        self.scale.map_or(1.0, |scale| scale[group * self.group_out + output])
    }

    /// Packs some inputs of some blocks of a group as f32, backwards: a word is a weight. An input's weights lie side by
    /// side.
    ///
    /// # Safety
    /// No other thread writes these words.
    unsafe fn copy_backwards(
        &self,
        blocks: &[Block],
        inputs: Range<usize>,
        lanes: usize,
        words: SharedMut<u32>,
    ) {
        for input in inputs {
            for block in blocks {
                let weights = &self.weights[self.start(block.group, block.first, input)..];
                for (at, tap) in self.taps.iter().enumerate() {
                    let word = block.offset + (at * self.group_in + input) * block.vectors * lanes;
                    // SAFETY: the caller's promise.
                    let row = unsafe { words.slice(word, block.count) };
                    let copy = |(word, weight): (&mut u32, &f32)| *word = weight.to_bits();
                    if self.all_taps == 1 {
                        row.iter_mut().zip(weights).for_each(copy);
                    } else {
                        row.iter_mut().zip(weights[*tap..].iter().step_by(self.all_taps)).for_each(copy);
                    }
                }
            }
        }
    }

    /// Packs some inputs of a block as f32, forwards.
    ///
    /// # Safety
    /// No other thread writes these words, `width` a tap and input.
    unsafe fn copy(&self, block: &Block, inputs: Range<usize>, width: usize, words: SharedMut<u32>) {
        if self.all_taps == 1 {
            // SAFETY: the caller's promise.
            return unsafe { self.transpose(block, inputs, width, words) };
        }
        for output in 0..block.count {
            let scale = self.scale(block.group, block.first + output);
            let weights = &self.weights[self.start(block.group, block.first + output, inputs.start)..];
            for (input, weights) in inputs.clone().zip(weights.chunks_exact(self.all_taps)) {
                for (at, tap) in self.taps.iter().enumerate() {
                    let word = block.offset + (at * self.group_in + input) * width + output;
                    // SAFETY: the caller's promise; there are as many words as outputs.
                    unsafe { words.at(word).write((weights[*tap] * scale).to_bits()) };
                }
            }
        }
    }

    /// [`copy`](Self::copy) of one tap. Squares go through a small table, read along the inputs and written along the
    /// outputs, a line of the cache at a time.
    ///
    /// # Safety
    /// As there.
    unsafe fn transpose(&self, block: &Block, inputs: Range<usize>, width: usize, words: SharedMut<u32>) {
        const SIDE: usize = WORDS_OF_A_LINE;
        let mut square = [[0u32; SIDE]; SIDE];
        for first in inputs.clone().step_by(SIDE) {
            let columns = SIDE.min(inputs.end - first);
            for output in (0..block.count).step_by(SIDE) {
                let rows = SIDE.min(block.count - output);
                for (row, line) in square[..rows].iter_mut().enumerate() {
                    let channel = block.first + output + row;
                    let scale = self.scale(block.group, channel);
                    let weights = &self.weights[self.start(block.group, channel, first)..][..columns];
                    for (word, weight) in line.iter_mut().zip(weights) {
                        *word = (weight * scale).to_bits();
                    }
                }
                for column in 0..columns {
                    // SAFETY: the caller's promise; there are as many words as outputs.
                    let to = unsafe { words.slice(block.offset + (first + column) * width + output, rows) };
                    for (word, line) in to.iter_mut().zip(&square) {
                        *word = line[column];
                    }
                }
            }
        }
    }
}

/// Inputs that are packed together.
const PACKED_INPUTS: usize = 16;

/// Weights that are packed piece by piece, and used at once, are at most of so many bytes a piece: they and the inputs
/// that they meet fit into the cache of a core.
const PACKED_AT_ONCE: usize = 192 * 1024;

/// Inputs of at most so many bytes, and a quarter of the weights', are read again for each piece of weights rather than
/// the weights for each piece of pixels.
const FEW_INPUTS: usize = 1024 * 1024;

/// So many blocks of weights are enough for threads to share.
const SHARED_BLOCKS: usize = 8;

/// How the words of an output channel are counted.
struct Words {
    /// Whether they straddle taps.
    gathered: bool,
    /// Taps whose inputs fill words together.
    joined: usize,
    /// Of taps that are joined.
    per_row: usize,
    per_channel: usize,
}

impl Words {
    fn of<T: Element>(source: &WeightSource<'_>) -> Self {
        let taps = source.taps.len();
        let gathered = gathers::<T>(taps, source.group_in);
        // Rows of taps fill whole words if they are read where they lie, and all taps together if they are gathered.
        let joined = match source.row {
            1 => taps,
            row => row,
        };
        let per_row = (joined * source.group_in).div_ceil(T::PER_WORD);
        let per_channel = match gathered {
            true => taps / joined * per_row,
            false => taps * (source.group_in / T::PER_WORD),
        };
        Words { gathered, joined, per_row, per_channel }
    }
}

impl PackedDense {
    pub(crate) fn pack<T: Element>(isa: Isa, source: &WeightSource<'_>) -> Self {
        let words = Words::of::<T>(source);
        let (blocks, len) = blocks(isa, source.groups, source.group_out, words.per_channel);
        Self::pack_blocks::<T>(isa, source, blocks, len)
    }

    /// Packs some blocks that follow each other, of so many words in all.
    fn pack_blocks<T: Element>(
        isa: Isa,
        source: &WeightSource<'_>,
        mut blocks: Vec<Block>,
        len: usize,
    ) -> Self {
        let WeightSource { groups, group_in, group_out, .. } = *source;
        let taps = source.taps.len();
        let lanes = simd::lanes(isa);
        let Words { gathered, joined, per_row, per_channel } = Words::of::<T>(source);
        let before = blocks.first().map_or(0, |block| block.offset);
        blocks.iter_mut().for_each(|block| block.offset -= before);
        let mut words = Scratch::take(len);
        let all = SharedMut::new(words.as_mut_slice());
        let copied = !T::BF16 && !gathered;
        // Inputs of a block in pieces; words may straddle taps if inputs are gathered, and there is one piece.
        let piece = match gathered {
            true => group_in,
            false if copied && !source.backwards => 4 * PACKED_INPUTS,
            false => PACKED_INPUTS,
        };
        // Backwards, the weights of an input lie side by side, for all outputs of a group.
        let together: Vec<&[Block]> = match copied && source.backwards {
            true => blocks.chunk_by(|a, b| a.group == b.group).collect(),
            false => blocks.chunks(1).collect(),
        };
        let work: Vec<(&[Block], Range<usize>)> = together
            .iter()
            .flat_map(|blocks| {
                (0..group_in).step_by(piece).map(move |first| (*blocks, first..(first + piece).min(group_in)))
            })
            .collect();
        work.into_par_iter().with_min_len(threads::least(4)).for_each(|(blocks, inputs)| {
            let block = &blocks[0];
            let width = block.vectors * lanes;
            if copied {
                // SAFETY: as below.
                return unsafe {
                    match source.backwards {
                        true => source.copy_backwards(blocks, inputs, lanes, all),
                        false => source.copy(block, inputs, width, all),
                    }
                };
            }
            let stage = Stage::of::<T>(isa, source, block, inputs.clone());
            // SAFETY: words of a block, a tap and an input belong to one piece of work: inputs of pieces fill words.
            let row = |word: usize| unsafe { all.slice(block.offset + word * width, block.count) };
            if gathered {
                for word in 0..per_channel {
                    let (first_tap, word_of_row) = (word / per_row * joined, word % per_row);
                    let element = |i: usize| {
                        let at = word_of_row * T::PER_WORD + i;
                        let inside = at < joined * group_in;
                        inside.then(|| (at % group_in, source.taps[first_tap + at / group_in]))
                    };
                    stage.words::<T>(row(word), [element(0), element(1)]);
                }
            } else {
                for (at, tap) in source.taps.iter().enumerate() {
                    for input in (0..inputs.len()).step_by(T::PER_WORD) {
                        let word = (at * group_in + inputs.start + input) / T::PER_WORD;
                        stage.words::<T>(row(word), [Some((input, *tap)), Some((input + 1, *tap))]);
                    }
                }
            }
        });
        PackedDense {
            isa,
            words: Arc::new(words),
            blocks,
            taps,
            row: source.row,
            groups,
            group_in,
            group_out,
        }
    }

    /// `count` pointwise convolutions with so many inputs, which fill words, and outputs. `fill` writes the words of a
    /// block of outputs and some inputs, in all of them: those of a convolution and an input, or a pair, follow each
    /// other at the address that it gets, as many as the block's vectors hold.
    pub(super) fn pointwise<T: Element>(
        isa: Isa,
        [inputs, outputs]: [usize; 2],
        count: usize,
        fill: impl Fn(&Block, Range<usize>, &dyn Fn(usize, usize) -> *mut u32) + Sync,
    ) -> Vec<Self> {
        let (blocks, len) = blocks(isa, 1, outputs, inputs / T::PER_WORD);
        let mut words: Vec<Scratch> = (0..count).map(|_| Scratch::take(len)).collect();
        let all: Vec<SharedMut<u32>> =
            words.iter_mut().map(|words| SharedMut::new(words.as_mut_slice())).collect();
        let work: Vec<(&Block, usize)> = blocks
            .iter()
            .flat_map(|block| (0..inputs).step_by(PACKED_INPUTS).map(move |first| (block, first)))
            .collect();
        work.into_par_iter().with_min_len(threads::least(4)).for_each(|(block, first)| {
            let width = block.vectors * simd::lanes(isa);
            let word = |which: usize, input: usize| all[which].at(block.offset + input / T::PER_WORD * width);
            fill(block, first..(first + PACKED_INPUTS).min(inputs), &word);
        });
        let packed = |words| PackedDense {
            isa,
            words: Arc::new(words),
            blocks: blocks.clone(),
            taps: 1,
            row: 1,
            groups: 1,
            group_in: inputs,
            group_out: outputs,
        };
        words.into_iter().map(packed).collect()
    }

    /// Computes all pixels on the current thread pool.
    pub(crate) fn run<T: Element>(
        &self,
        geometry: &Geometry,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: &mut [T],
    ) {
        let y = SharedMut::new(y);
        let wanted = threads::pieces(16);
        let pieces = self.pieces::<T>(geometry, wanted);
        // Few pixels: cut the output channels as well.
        let cuts = (wanted / pieces.len().max(1)).clamp(1, self.blocks.len());
        let per_cut = self.blocks.len().div_ceil(cuts);
        let work: Vec<_> = pieces
            .iter()
            .flat_map(|piece| self.blocks.chunks(per_cut).map(move |blocks| (piece, blocks)))
            .collect();
        work.into_par_iter().with_min_len(threads::least(1)).for_each(|(piece, blocks)| {
            // SAFETY: pieces of pixels and blocks of channels are disjoint.
            unsafe { self.run_blocks(geometry, x, epilogue, y, piece.clone(), blocks) }
        });
    }

    /// Whether weights that are used once are better packed just before they are used: threads then share the weights
    /// instead of the pixels, of which there are few.
    pub(crate) fn is_better_once<T: Element>(isa: Isa, source: &WeightSource<'_>, x: &[T]) -> bool {
        let width = Words::of::<T>(source).per_channel;
        let (blocks, words) = blocks(isa, source.groups, source.group_out, width);
        let (inputs, weights) = (size_of_val(x), words * size_of::<u32>());
        inputs <= FEW_INPUTS.min(weights / 4) && blocks.len() >= SHARED_BLOCKS
    }

    /// What [`pack`](Self::pack) and [`run`](Self::run) do, with pieces of the weights that stay in the cache.
    pub(crate) fn run_once<T: Element>(
        isa: Isa,
        source: &WeightSource<'_>,
        geometry: &Geometry,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: &mut [T],
    ) {
        let y = SharedMut::new(y);
        let width = Words::of::<T>(source).per_channel;
        let (blocks, len) = blocks(isa, source.groups, source.group_out, width);
        let pieces = (len * size_of::<u32>()).div_ceil(PACKED_AT_ONCE).max(threads::pieces(16));
        let work = blocks.par_chunks(blocks.len().div_ceil(pieces));
        work.with_min_len(threads::least(1)).for_each(|blocks| {
            let words = blocks.iter().map(|block| width * block.vectors * simd::lanes(isa)).sum();
            let packed = threads::alone(|| Self::pack_blocks::<T>(isa, source, blocks.to_vec(), words));
            // SAFETY: the channels of blocks are disjoint.
            unsafe { packed.run_blocks(geometry, x, epilogue, y, 0..geometry.pixels(), &packed.blocks) }
        });
    }

    /// The sums of a pointwise convolution with one group, and nothing after them: `sums`, `[pixel][output]`, of `x`,
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
                // SAFETY: a block's words follow its offset.
                weights: unsafe { self.words.as_ptr().add(block.offset) },
                taps: 1,
                first_word: 0,
                words_per_tap: self.group_in / T::PER_WORD,
                pointers: &pointers,
                stride: pointers.len(),
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

    /// The grid's pixels in pieces that fit into the cache of a core, at least `wanted` of them if there are enough
    /// pixels. They depend on the shape alone.
    pub(crate) fn pieces<T: Element>(&self, geometry: &Geometry, wanted: usize) -> Vec<Range<usize>> {
        // Divisible by the pixels of all tiles.
        const WHOLE: usize = 252;
        // Whole tiles, of most blocks at least.
        let tile = if simd::has_many_registers(self.isa) { MAX_PIXELS } else { 6 };
        let pixels = geometry.pixels();
        let reach = geometry.step[0] * geometry.step[1];
        let bytes = (self.group_in * self.groups * reach + self.group_out * self.groups) * size_of::<T>();
        let fits = (512 * 1024 / bytes / tile).max(1) * tile;
        let balanced = pixels.div_ceil(wanted).next_multiple_of(tile);
        let len = WHOLE.min(fits).min(balanced).max(tile);
        (0..pixels).step_by(len).map(|start| start..(start + len).min(pixels)).collect()
    }

    /// Computes a piece of the pixels, all channels.
    ///
    /// # Safety
    /// No other thread writes these pixels.
    pub(crate) unsafe fn run_piece<T: Element>(
        &self,
        geometry: &Geometry,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: SharedMut<T>,
        piece: Range<usize>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.run_blocks(geometry, x, epilogue, y, piece, &self.blocks) }
    }

    /// # Safety
    /// No other thread writes these channels of these pixels.
    unsafe fn run_blocks<T: Element>(
        &self,
        geometry: &Geometry,
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: SharedMut<T>,
        piece: Range<usize>,
        blocks: &[Block],
    ) {
        let by_rows = gathers::<T>(self.taps, self.group_in) && self.row > 1;
        let gathers = gathers::<T>(self.taps, self.group_in) && !by_rows;
        let taps = match (by_rows, gathers) {
            (true, _) => self.taps / self.row,
            (_, true) => 1,
            _ => self.taps,
        };
        let len = piece.len();
        let stride = len + MAX_PIXELS;
        let joined = if by_rows { self.row } else { self.taps };
        let patch_len = (joined * self.group_in).next_multiple_of(T::PER_WORD);
        let zeros = vec![T::default(); if gathers || by_rows { patch_len } else { geometry.in_channels }];
        let mut pointers = vec![zeros.as_ptr(); stride * taps];
        let mut outputs = vec![0; stride];
        // A 1×1 convolution without stride: inputs and outputs follow each other.
        let follows = geometry.is_pointwise() && !gathers && !by_rows;
        let pixels = if follows { Vec::new() } else { locate(geometry, piece.clone()) };
        let patch_step = patch_len.next_multiple_of(16) + COPIED + 16;
        let mut patches = vec![T::default(); if gathers { patch_step * len } else { 0 }];
        let mut edges = vec![T::default(); if by_rows { patch_len * taps * len } else { 0 }];
        if follows {
            for (at, output) in piece.clone().zip(&mut outputs) {
                *output = at * geometry.out_channels;
            }
        } else {
            for (pixel, output) in pixels.iter().zip(&mut outputs) {
                *output = pixel.output * geometry.out_channels;
            }
        }
        if by_rows {
            point_rows(geometry, x, self.row, &pixels, patch_len, &mut edges, &mut pointers, stride);
        } else if follows {
            let inputs = x[piece.start * geometry.in_channels..piece.end * geometry.in_channels]
                .chunks_exact(geometry.in_channels);
            for (pointer, input) in pointers.iter_mut().zip(inputs) {
                *pointer = input.as_ptr();
            }
        } else if !gathers {
            point(geometry, x, &pixels, &zeros, &mut pointers, stride);
        }
        let mut group = usize::MAX;
        for block in blocks {
            if gathers && block.group != group {
                group = block.group;
                let first = group * self.group_in;
                gather(geometry, x, first, self.group_in, &pixels, patch_step, &mut patches);
                for (pointer, patch) in pointers.iter_mut().zip(patches.chunks_exact(patch_step)) {
                    *pointer = patch.as_ptr();
                }
            }
            let channel = block.group * self.group_out + block.first;
            let kernel = BlockKernel {
                block: *block,
                // SAFETY: a block's words follow its offset.
                weights: unsafe { self.words.as_ptr().add(block.offset) },
                taps,
                first_word: if gathers { 0 } else { block.group * self.group_in / T::PER_WORD },
                words_per_tap: if gathers || by_rows { patch_len } else { self.group_in } / T::PER_WORD,
                pointers: &pointers,
                stride,
                outputs: &outputs,
                pixels: len,
                bias: epilogue.bias.map(|bias| &bias[channel..][..block.count]),
                residual: epilogue.residual.map(|residual| residual[channel..].as_ptr()),
                activation: epilogue.activation,
                y: y.at(channel),
                sums: None,
            };
            T::dense_block(self.isa, kernel);
        }
    }
}

/// Whether words straddle taps: where channels do not fill words, or are so few that finding the address of each tap
/// would take longer than multiplying them. Then rows of taps are read together, or taps are gathered into patches.
fn gathers<T: Element>(taps: usize, group_in: usize) -> bool {
    taps > 0 && (!group_in.is_multiple_of(T::PER_WORD) || (group_in < 8 && taps > 1))
}

/// Weights of a block's outputs and some inputs, scaled and rounded: copied in the order they lie in memory.
struct Stage {
    /// f32, or the bits of bf16.
    values: Vec<u32>,
    output_step: usize,
    input_step: usize,
}

impl Stage {
    fn of<T: Element>(isa: Isa, source: &WeightSource<'_>, block: &Block, inputs: Range<usize>) -> Self {
        // Odd steps, so that rows do not meet in the same places of a cache.
        let inner = if source.backwards { block.count } else { inputs.len() } * source.all_taps;
        let step = inner.next_multiple_of(16) + 16;
        let rows = if source.backwards { inputs.len() } else { block.count };
        let mut values = vec![0u32; rows * step];
        for (row, values) in values.chunks_exact_mut(step).enumerate() {
            let (output, input) = if source.backwards { (0, row) } else { (row, 0) };
            let start = source.start(block.group, block.first + output, inputs.start + input);
            let scale = source.scale(block.group, block.first + output);
            T::round_weights(
                isa,
                RoundKernel {
                    from: &source.weights[start..start + inner],
                    scale,
                    to: values,
                    element: PhantomData,
                },
            );
        }
        let (output_step, input_step) =
            if source.backwards { (source.all_taps, step) } else { (step, source.all_taps) };
        Stage { values, output_step, input_step }
    }

    /// Fills a row of words, one for each output; the word's elements are at these (input, tap), or 0.
    fn words<T: Element>(&self, row: &mut [u32], elements: [Option<(usize, usize)>; 2]) {
        let start =
            |element: Option<(usize, usize)>| element.map(|(input, tap)| input * self.input_step + tap);
        let outputs = self.values.iter();
        match (start(elements[0]), start(elements[1])) {
            (Some(low), Some(high)) if T::BF16 => {
                let low = outputs.clone().skip(low).step_by(self.output_step);
                let high = outputs.skip(high).step_by(self.output_step);
                row.iter_mut()
                    .zip(low.zip(high))
                    .for_each(|(word, (low, high))| *word = low >> 16 | high & 0xffff_0000);
            }
            (Some(low), _) => {
                let low = outputs.skip(low).step_by(self.output_step);
                let shift = if T::BF16 { 16 } else { 0 };
                row.iter_mut().zip(low).for_each(|(word, low)| *word = low >> shift);
            }
            _ => row.fill(0),
        }
    }
}

/// Scales, and rounds to the precision of the element type, still as f32.
pub struct RoundKernel<'a, T> {
    from: &'a [f32],
    scale: f32,
    to: &'a mut [u32],
    element: PhantomData<T>,
}

impl<T: Element> Kernel for RoundKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S; `to` is longer than `from` by a vector.
        unsafe {
            let scale = S::splat(self.scale);
            let mut rounded = [T::default(); 16];
            for at in (0..self.from.len()).step_by(S::LANES) {
                let lanes = S::LANES.min(self.from.len() - at);
                let value = S::mul(scale, load::<S, f32>(self.from.as_ptr().add(at), lanes));
                T::store::<S>(rounded.as_mut_ptr(), value);
                S::store(self.to.as_mut_ptr().add(at).cast(), T::load::<S>(rounded.as_ptr()));
            }
        }
    }
}

/// Pixels of the largest register tile.
const MAX_PIXELS: usize = 14;

struct Pixel {
    image: usize,
    /// Input pixel of the tap (0, 0).
    row: isize,
    column: isize,
    /// Index in the output, in pixels.
    output: usize,
}

fn locate(geometry: &Geometry, piece: Range<usize>) -> Vec<Pixel> {
    let in_image = geometry.grid_height * geometry.grid_width;
    let mut image = piece.start / in_image;
    let mut row = piece.start % in_image / geometry.grid_width;
    let mut column = piece.start % geometry.grid_width;
    piece
        .map(|_| {
            let output = geometry.out_first
                + image * geometry.out_image
                + row * geometry.out_row
                + column * geometry.out_column;
            let pixel = Pixel {
                image,
                row: (row * geometry.step[0]) as isize,
                column: (column * geometry.step[1]) as isize,
                output,
            };
            column += 1;
            if column == geometry.grid_width {
                (row, column) = (row + 1, 0);
                if row == geometry.grid_height {
                    (image, row) = (image + 1, 0);
                }
            }
            pixel
        })
        .collect()
}

/// The input pixel below a tap, unless it is padding.
fn below(geometry: &Geometry, pixel: &Pixel, tap: [isize; 2]) -> Option<usize> {
    let (row, column) = (pixel.row + tap[0], pixel.column + tap[1]);
    // Negative numbers become large ones.
    let inside = (row as usize) < geometry.in_height && (column as usize) < geometry.in_width;
    inside.then(|| (pixel.image * geometry.in_height + row as usize) * geometry.in_width + column as usize)
}

/// Fills `pointers`, `[tap][pixel]`, with the addresses of each pixel's inputs.
fn point<T: Element>(
    geometry: &Geometry,
    x: &[T],
    pixels: &[Pixel],
    zeros: &[T],
    pointers: &mut [*const T],
    stride: usize,
) {
    let mut start = 0;
    for run in pixels.chunk_by(|a, b| (a.image, a.row) == (b.image, b.row)) {
        for (tap, pointers) in geometry.taps.iter().zip(pointers.chunks_exact_mut(stride)) {
            let pointers = &mut pointers[start..start + run.len()];
            let inside = whole_rows(geometry, run, &[*tap], |_| true);
            pointers[..inside.start].fill(zeros.as_ptr());
            pointers[inside.end..].fill(zeros.as_ptr());
            point_inside(geometry, x, run, *tap, inside, pointers);
        }
        start += run.len();
    }
}

/// Fills in the addresses of a tap's inputs for those pixels of a run for which it is inside of the image.
fn point_inside<T: Element>(
    geometry: &Geometry,
    x: &[T],
    run: &[Pixel],
    tap: [isize; 2],
    inside: Range<usize>,
    pointers: &mut [*const T],
) {
    let Some(pixel) = run[inside.clone()].first() else { return };
    let input = below(geometry, pixel, tap).expect("the tap is inside of the image");
    let from = x[input * geometry.in_channels..].as_ptr();
    let step = geometry.step[1] * geometry.in_channels;
    for (i, pointer) in pointers[inside].iter_mut().enumerate() {
        *pointer = from.wrapping_add(i * step);
    }
}

/// Fills `pointers`, `[row of taps][pixel]`, with the addresses of each pixel's inputs, which follow each other for the
/// taps of a row. The last word may hold an element more than the row has; its weight is 0. Rows that reach into
/// padding are copied into `edges`, which has room for `patch_len` elements a pixel and row.
#[allow(clippy::too_many_arguments)] // where from, where to, and how much
fn point_rows<T: Element>(
    geometry: &Geometry,
    x: &[T],
    row: usize,
    pixels: &[Pixel],
    patch_len: usize,
    edges: &mut [T],
    pointers: &mut [*const T],
    stride: usize,
) {
    let channels = geometry.in_channels;
    let mut edges = edges.chunks_exact_mut(patch_len);
    let mut first = 0;
    for run in pixels.chunk_by(|a, b| (a.image, a.row) == (b.image, b.row)) {
        for (taps, pointers) in geometry.taps.chunks_exact(row).zip(pointers.chunks_exact_mut(stride)) {
            let inside = whole_rows(geometry, run, taps, |start| start * channels + patch_len <= x.len());
            let pointers = &mut pointers[first..first + run.len()];
            point_inside(geometry, x, run, taps[0], inside.clone(), pointers);
            for i in (0..inside.start).chain(inside.end..run.len()) {
                let edge = edges.next().expect("there is room for all");
                for (tap, edge) in taps.iter().zip(edge.chunks_exact_mut(channels)) {
                    match below(geometry, &run[i], *tap) {
                        Some(input) => edge.copy_from_slice(&x[input * channels..][..channels]),
                        None => edge.fill(T::default()),
                    }
                }
                pointers[i] = edge.as_ptr();
            }
        }
        first += run.len();
    }
}

/// Elements that are copied at once, and that patches have room for beyond their end.
const COPIED: usize = 32;

/// Copies each pixel's inputs into a contiguous patch, `[tap][channel]`.
fn gather<T: Element>(
    geometry: &Geometry,
    x: &[T],
    first: usize,
    group_in: usize,
    pixels: &[Pixel],
    patch_step: usize,
    patches: &mut [T],
) {
    // Taps side by side read neighbouring inputs if there is one group.
    let joined =
        |a: &[isize; 2], b: &[isize; 2]| group_in == geometry.in_channels && a[0] == b[0] && a[1] + 1 == b[1];
    let rows: Vec<&[[isize; 2]]> = geometry.taps.chunk_by(joined).collect();
    let mut first_patch = 0;
    for run in pixels.chunk_by(|a, b| (a.image, a.row) == (b.image, b.row)) {
        let patches = &mut patches[first_patch * patch_step..(first_patch + run.len()) * patch_step];
        first_patch += run.len();
        let mut at = 0;
        for taps in &rows {
            let len = taps.len() * group_in;
            let inside = whole_rows(geometry, run, taps, |start| {
                start * geometry.in_channels + first + len.next_multiple_of(COPIED) <= x.len()
            });
            for (i, (pixel, patch)) in run.iter().zip(patches.chunks_exact_mut(patch_step)).enumerate() {
                let patch = &mut patch[at..];
                if inside.contains(&i) {
                    let input = (pixel.image * geometry.in_height + (pixel.row + taps[0][0]) as usize)
                        * geometry.in_width
                        + (pixel.column + taps[0][1]) as usize;
                    let x = &x[input * geometry.in_channels + first..];
                    // Whole blocks: what is too much is overwritten by the next row, or lies beyond the patch.
                    for block in (0..len).step_by(COPIED) {
                        let to: &mut [T; COPIED] =
                            (&mut patch[block..][..COPIED]).try_into().expect("as long");
                        *to = x[block..][..COPIED].try_into().expect("as long");
                    }
                    continue;
                }
                for (tap, patch) in taps.iter().zip(patch.chunks_exact_mut(group_in)) {
                    match below(geometry, pixel, *tap) {
                        Some(input) => {
                            let x = &x[input * geometry.in_channels + first..][..group_in];
                            patch.iter_mut().zip(x).for_each(|(patch, x)| *patch = *x);
                        }
                        None => patch.fill(T::default()),
                    }
                }
            }
            at += len;
        }
        for patch in patches.chunks_exact_mut(patch_step) {
            // A last word that is not full.
            patch[at..][..8].fill(T::default());
        }
    }
}

/// The pixels of a run in one row for which all of these taps, neighbours in a row, are inside of the image, and whose
/// first input pixel `fits`.
fn whole_rows(
    geometry: &Geometry,
    run: &[Pixel],
    taps: &[[isize; 2]],
    fits: impl Fn(usize) -> bool,
) -> Range<usize> {
    let row = run[0].row + taps[0][0];
    if row < 0 || row as usize >= geometry.in_height {
        return 0..0;
    }
    let (left, right) = (taps[0][1], taps[taps.len() - 1][1]);
    let start = run.partition_point(|pixel| pixel.column + left < 0);
    let end = run.partition_point(|pixel| {
        let column = pixel.column + left;
        pixel.column + right < geometry.in_width as isize
            && fits(
                (pixel.image * geometry.in_height + row as usize) * geometry.in_width
                    + column.max(0) as usize,
            )
    });
    start..end.max(start)
}

/// The limits of an activation that only limits.
#[inline(always)]
pub(crate) fn clamp(activation: Activation) -> Option<[f32; 2]> {
    match activation {
        Activation::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
        Activation::Relu => Some([0.0, f32::INFINITY]),
        Activation::Relu6 => Some([0.0, 6.0]),
        Activation::Silu | Activation::HardSwish | Activation::Gelu => None,
    }
}

/// So many products are summed in f32 before they are added to the sum of those before: a single chain over
/// thousands of products would lose digits. bf16 has lost more already.
const CHAIN: usize = 128;

/// Words of a line of the cache.
const WORDS_OF_A_LINE: usize = 16;

/// Sums that begin with the bias.
#[inline(always)]
unsafe fn first_sums<S: Simd, const P: usize, const V: usize>(bias: &[[f32; 16]; 3]) -> [[S::V; V]; P] {
    // SAFETY: the processor has S.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; P];
        for v in 0..V {
            let bias = S::load(bias[v].as_ptr());
            for p in 0..P {
                sums[p][v] = bias;
            }
        }
        sums
    }
}

/// Adds the products of some words at each pointer and of `weights`, `[word][vector]`, to the sums; the weights that
/// follow.
///
/// # Safety
/// The processor has S, and there are so many words at each pointer, and weights.
#[inline(always)]
unsafe fn add_products<T: Element, S: Simd, const P: usize, const V: usize>(
    sums: &mut [[S::V; V]; P],
    pointers: &[*const u32; P],
    words: Range<usize>,
    mut weights: *const f32,
) -> *const f32 {
    // SAFETY: the caller's promise.
    unsafe {
        for word in words {
            let mut vectors = [S::splat(0.0); V];
            for v in 0..V {
                vectors[v] = S::load(weights.add(v * S::LANES));
            }
            weights = weights.add(V * S::LANES);
            for p in 0..P {
                let input = S::splat_word(pointers[p].add(word).read_unaligned());
                for v in 0..V {
                    sums[p][v] = T::multiply::<S>(sums[p][v], vectors[v], input);
                }
            }
        }
        weights
    }
}

/// Writes the sums to the tile, `[pixel][vector]`, and sets them to 0.
#[inline(always)]
unsafe fn move_to<S: Simd, const P: usize, const V: usize>(tile: *mut f32, sums: &mut [[S::V; V]; P]) {
    for p in 0..P {
        for v in 0..V {
            // SAFETY: the processor has S; the tile holds P · V vectors.
            unsafe {
                S::store(tile.add((p * V + v) * S::LANES), sums[p][v]);
                sums[p][v] = S::splat(0.0);
            }
        }
    }
}

/// Adds the sums to the tile, `[pixel][vector]`, and sets them to 0.
#[inline(always)]
unsafe fn add_to<S: Simd, const P: usize, const V: usize>(tile: *mut f32, sums: &mut [[S::V; V]; P]) {
    for p in 0..P {
        for v in 0..V {
            // SAFETY: the processor has S; the tile holds P · V vectors.
            unsafe {
                let at = tile.add((p * V + v) * S::LANES);
                S::store(at, S::add(S::load(at), sums[p][v]));
                sums[p][v] = S::splat(0.0);
            }
        }
    }
}

/// Sums of the largest tile, `[pixel][channel]`.
#[repr(align(64))]
struct TileSums {
    _sums: [f32; 28 * 16],
}

/// One block of output channels of a piece of pixels.
pub struct BlockKernel<'a, T> {
    block: Block,
    weights: *const u32,
    taps: usize,
    /// Beyond each pointer, and how many words from there on.
    first_word: usize,
    words_per_tap: usize,
    pointers: &'a [*const T],
    stride: usize,
    outputs: &'a [usize],
    pixels: usize,
    bias: Option<&'a [f32]>,
    residual: Option<*const T>,
    activation: Activation,
    y: *mut T,
    /// Where the bare sums go, instead.
    sums: Option<*mut f32>,
}

impl<T: Element> Kernel for BlockKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S.
        unsafe {
            match (S::MANY_REGISTERS, self.block.vectors) {
                (true, 1) => self.tiles::<S, 14, 1>(),
                (true, 2) => self.tiles::<S, 14, 2>(),
                (true, _) => self.tiles::<S, 9, 3>(),
                (false, 1) => self.tiles::<S, 7, 1>(),
                (false, 2) => self.tiles::<S, 6, 2>(),
                (false, _) => self.tiles::<S, 3, 3>(),
            }
        }
    }
}

impl<T: Element> BlockKernel<'_, T> {
    #[inline(always)]
    unsafe fn tiles<S: Simd, const P: usize, const V: usize>(&self) {
        let mut bias = [[0.0f32; 16]; 3];
        if let Some(values) = self.bias {
            for (i, value) in values.iter().enumerate() {
                bias[i / S::LANES][i % S::LANES] = *value;
            }
        }
        let mut start = 0;
        if let Some(limits) = clamp(self.activation)
            && self.taps * self.words_per_tap < CHAIN
            && self.sums.is_none()
        {
            let whole = self.block.count == V * S::LANES;
            while start + P <= self.pixels {
                // SAFETY: as below.
                unsafe {
                    match (self.residual, whole) {
                        (None, true) => self.short_tile::<S, P, V, false, true>(start, &bias, limits),
                        (None, false) => self.short_tile::<S, P, V, false, false>(start, &bias, limits),
                        (_, true) => self.short_tile::<S, P, V, true, true>(start, &bias, limits),
                        (_, false) => self.short_tile::<S, P, V, true, false>(start, &bias, limits),
                    }
                }
                start += P;
            }
        }
        while start < self.pixels {
            // SAFETY: the processor has S; see `tile`.
            unsafe { self.tile::<S, P, V>(start, &bias) };
            start += P;
        }
    }

    /// What [`tile`](Self::tile) does, for P pixels, few products and an activation that only limits: those are so soon
    /// done that every branch between them shows. `WHOLE`: the block fills its vectors.
    #[inline(always)]
    unsafe fn short_tile<S: Simd, const P: usize, const V: usize, const RESIDUAL: bool, const WHOLE: bool>(
        &self,
        start: usize,
        bias: &[[f32; 16]; 3],
        limits: [f32; 2],
    ) {
        // SAFETY: see `tile`.
        unsafe {
            let mut sums = first_sums::<S, P, V>(bias);
            let mut weights = self.weights.cast::<f32>();
            for tap in 0..self.taps {
                let pointers = self.pointers.as_ptr().add(tap * self.stride + start);
                let pointers: [*const u32; P] = *pointers.cast();
                let words = self.first_word..self.first_word + self.words_per_tap;
                weights = add_products::<T, S, P, V>(&mut sums, &pointers, words, weights);
            }
            let (low, high) = (S::splat(limits[0]), S::splat(limits[1]));
            let residual = self.residual.unwrap_or(self.y);
            let outputs = self.outputs.as_ptr().add(start);
            // Of the last vector.
            let lanes = self.block.count - (V - 1) * S::LANES;
            unrolled!(p < P, {
                let output = *outputs.add(p);
                for v in 0..V {
                    let at = output + v * S::LANES;
                    let is_last = v + 1 == V;
                    let mut value = sums[p][v];
                    if RESIDUAL {
                        let residual = residual.add(at);
                        let residual = match is_last {
                            true => load_lanes::<S, T, WHOLE>(residual, lanes),
                            false => T::load::<S>(residual),
                        };
                        value = S::add(value, residual);
                    }
                    let value = S::min(high, S::max(low, value));
                    match is_last {
                        true => store_lanes::<S, T, WHOLE>(self.y.add(at), lanes, value),
                        false => T::store::<S>(self.y.add(at), value),
                    }
                }
            });
        }
    }

    /// Computes and stores pixels `start..start + P`, as far as there are any.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize>(&self, start: usize, bias: &[[f32; 16]; 3]) {
        // SAFETY: the processor has S. There are `words_per_tap` words from `first_word` on at each pointer: it points to the channels of a
        // pixel, to a patch or to zeros. The weights hold as many rows of V vectors as words are multiplied. Outputs
        // and residuals lie in the output, by the geometry.
        unsafe {
            let mut sums = first_sums::<S, P, V>(bias);
            // Through memory: registers have no index, and loops that are too long are not unrolled.
            let mut tile = MaybeUninit::<TileSums>::uninit();
            let tile = tile.as_mut_ptr().cast::<f32>();
            let mut chain = 0;
            let mut is_first = true;
            let mut weights = self.weights.cast::<f32>();
            for tap in 0..self.taps {
                let pointers: &[*const T; P] = &*self.pointers.as_ptr().add(tap * self.stride + start).cast();
                let pointers: [*const u32; P] = std::array::from_fn(|p| pointers[p].cast());
                let next = if start + P < self.pixels { start + P } else { start };
                let next = self.pointers.as_ptr().add(tap * self.stride + next);
                let mut first = self.first_word;
                let last = first + self.words_per_tap;
                while first < last {
                    let end = if T::BF16 { last } else { last.min(first + CHAIN) };
                    let mut line = first;
                    while line < end {
                        // The next tile's inputs. Those of more taps are in the cache already: they overlap.
                        if self.taps == 1 {
                            for p in 0..P {
                                S::prefetch((*next.add(p)).cast::<u32>().wrapping_add(line));
                            }
                        }
                        let next_line = end.min(line + WORDS_OF_A_LINE);
                        weights = add_products::<T, S, P, V>(&mut sums, &pointers, line..next_line, weights);
                        line = next_line;
                    }
                    chain += end - first;
                    first = end;
                    if !T::BF16 && chain >= CHAIN {
                        if is_first {
                            move_to::<S, P, V>(tile, &mut sums);
                        } else {
                            add_to::<S, P, V>(tile, &mut sums);
                        }
                        is_first = false;
                        chain = 0;
                    }
                }
            }
            if !is_first {
                unrolled!(p < P, {
                    for v in 0..V {
                        sums[p][v] = S::add(S::load(tile.add((p * V + v) * S::LANES)), sums[p][v]);
                    }
                });
            }
            let whole = self.block.count == V * S::LANES;
            let pixels = P.min(self.pixels - start);
            if let Some(to) = self.sums {
                let outputs = self.outputs.as_ptr().add(start);
                let lanes = self.block.count - (V - 1) * S::LANES;
                unrolled!(p < P, {
                    if p < pixels {
                        let to = to.add(*outputs.add(p));
                        for v in 0..V {
                            if whole || v + 1 < V {
                                S::store(to.add(v * S::LANES), sums[p][v]);
                            } else {
                                S::store_first(to.add(v * S::LANES), lanes, sums[p][v]);
                            }
                        }
                    }
                });
                return;
            }
            if let (Some([low, high]), true) = (clamp(self.activation), whole || self.residual.is_none()) {
                let (low, high) = (S::splat(low), S::splat(high));
                let outputs = self.outputs.as_ptr().add(start);
                // Of the last vector.
                let lanes = self.block.count - (V - 1) * S::LANES;
                match self.residual {
                    None => unrolled!(p < P, {
                        if p < pixels {
                            let y = self.y.add(*outputs.add(p));
                            for v in 0..V {
                                let value = S::min(high, S::max(low, sums[p][v]));
                                if whole || v + 1 < V {
                                    T::store::<S>(y.add(v * S::LANES), value);
                                } else {
                                    T::store_first::<S>(y.add(v * S::LANES), lanes, value);
                                }
                            }
                        }
                    }),
                    Some(residual) => unrolled!(p < P, {
                        if p < pixels {
                            let output = *outputs.add(p);
                            for v in 0..V {
                                let at = output + v * S::LANES;
                                let value = S::add(sums[p][v], T::load::<S>(residual.add(at)));
                                T::store::<S>(self.y.add(at), S::min(high, S::max(low, value)));
                            }
                        }
                    }),
                }
                return;
            }
            // Through memory: what follows is too long to be repeated.
            move_to::<S, P, V>(tile, &mut sums);
            for p in 0..pixels {
                let output = self.outputs[start + p];
                for v in 0..V {
                    let mut value = S::load(tile.add((p * V + v) * S::LANES));
                    let at = output + v * S::LANES;
                    if whole {
                        if let Some(residual) = self.residual {
                            value = S::add(value, T::load::<S>(residual.add(at)));
                        }
                        T::store::<S>(self.y.add(at), simd::activate::<S>(self.activation, value));
                    } else {
                        let count = (self.block.count - v * S::LANES).min(S::LANES);
                        if let Some(residual) = self.residual {
                            value = S::add(value, T::load_first::<S>(residual.add(at), count));
                        }
                        let value = simd::activate::<S>(self.activation, value);
                        T::store_first::<S>(self.y.add(at), count, value);
                    }
                }
            }
        }
    }
}
