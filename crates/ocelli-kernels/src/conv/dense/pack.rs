//! Packs weights in the order in which the tiles of [`PackedDense`] read them.

use super::{PackedDense, WORDS_PER_CACHE_LINE};
use crate::{
    buffer_pool::Scratch,
    element::{Element, load},
    isa::Isa,
    shared_mut::SharedMut,
    simd::{self, Kernel, Simd},
    threads,
};
use rayon::prelude::*;
use std::{marker::PhantomData, ops::Range, sync::Arc};

/// Output channels that are computed together.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub(super) group: usize,
    /// First channel in the group, and how many.
    pub(in crate::conv) first: usize,
    pub(in crate::conv) count: usize,
    pub(in crate::conv) vectors: usize,
    /// Its first word.
    pub(super) offset: usize,
}

/// Divides the output channels of all groups into blocks; also returns their total number of words.
pub(super) fn blocks(
    isa: Isa,
    groups: usize,
    group_out: usize,
    words_per_channel: usize,
) -> (Vec<Block>, usize) {
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

/// A convolution's weights, in PyTorch's order `[outputs of all groups, inputs of a group, taps]`, and how
/// the convolution that is packed uses them.
pub(crate) struct WeightSource<'a> {
    pub weights: &'a [f32],
    /// For each output of all groups; only unless `transposed`.
    pub scale: Option<&'a [f32]>,
    pub groups: usize,
    /// As the convolution that is packed sees them.
    pub group_in: usize,
    pub group_out: usize,
    /// Taps of the weights, and which of them are used in which order.
    pub all_taps: usize,
    pub taps: Vec<usize>,
    /// Neighbouring taps whose inputs are contiguous in memory; 1 if none are.
    pub taps_per_row: usize,
    /// Whether outputs and inputs are exchanged, as in the gradient with respect to the input.
    pub transposed: bool,
}

impl WeightSource<'_> {
    /// Where the taps of an output and an input of a group begin.
    pub(in crate::conv) fn start(&self, group: usize, output: usize, input: usize) -> usize {
        if self.transposed {
            ((group * self.group_in + input) * self.group_out + output) * self.all_taps
        } else {
            ((group * self.group_out + output) * self.group_in + input) * self.all_taps
        }
    }

    pub(in crate::conv) fn scale(&self, group: usize, output: usize) -> f32 {
        self.scale.map_or(1.0, |scale| scale[group * self.group_out + output])
    }
}

/// Inputs that are packed together.
const PACKED_INPUTS: usize = 16;

/// Lines of the cache that are asked for before they are packed: weights are read in short runs that lie far apart,
/// which no processor foresees.
const LINES_AHEAD: usize = 24;

/// Whether words straddle taps: where channels do not fill words, or are so few that finding the address of
/// each tap would take longer than the multiplications. Then rows of taps are read together, or taps are
/// gathered into patches.
pub(super) fn straddles_taps<T: Element>(taps: usize, group_in: usize) -> bool {
    taps > 0 && (!group_in.is_multiple_of(T::PER_WORD) || (group_in < 8 && taps > 1))
}

/// How an output channel's weights are divided into words.
#[derive(Clone, Copy)]
pub(super) struct WordLayout {
    straddles_taps: bool,
    /// Taps whose inputs fill words together, where words straddle taps, and their words.
    taps_together: usize,
    words_together: usize,
    pub(super) per_channel: usize,
}

impl WordLayout {
    pub(super) fn new<T: Element>(source: &WeightSource<'_>) -> Self {
        let taps = source.taps.len();
        let straddles_taps = straddles_taps::<T>(taps, source.group_in);
        // The taps of a row fill whole words if they are read from the image, and all taps together if they
        // are gathered into patches.
        let taps_together = match source.taps_per_row {
            1 => taps,
            row => row,
        };
        let words_together = (taps_together * source.group_in).div_ceil(T::PER_WORD);
        let per_channel = match straddles_taps {
            true => taps / taps_together * words_together,
            false => taps * (source.group_in / T::PER_WORD),
        };
        WordLayout { straddles_taps, taps_together, words_together, per_channel }
    }
}

impl PackedDense {
    pub(crate) fn pack<T: Element>(isa: Isa, source: &WeightSource<'_>) -> Self {
        let layout = WordLayout::new::<T>(source);
        let (blocks, len) = blocks(isa, source.groups, source.group_out, layout.per_channel);
        Self::pack_blocks::<T>(isa, source, blocks, len)
    }

    /// Packs consecutive blocks with `len` words in all.
    pub(super) fn pack_blocks<T: Element>(
        isa: Isa,
        source: &WeightSource<'_>,
        mut blocks: Vec<Block>,
        len: usize,
    ) -> Self {
        let first_offset = blocks.first().map_or(0, |block| block.offset);
        blocks.iter_mut().for_each(|block| block.offset -= first_offset);
        let mut words = Scratch::take(len);
        zero_unused_lanes(isa, &blocks, WordLayout::new::<T>(source).per_channel, &mut words);
        let packer = Packer::new::<T>(isa, source, SharedMut::new(words.as_mut_slice()));
        let work = packer.work(&blocks);
        work.into_par_iter().with_min_len(threads::min_len(4)).for_each(|(blocks, inputs)| {
            // SAFETY: the words of a block and an input belong to one piece of work.
            unsafe { packer.pack::<T>(blocks, inputs) }
        });
        PackedDense {
            isa,
            words: Arc::new(words),
            blocks,
            taps: source.taps.len(),
            taps_per_row: source.taps_per_row,
            groups: source.groups,
            group_in: source.group_in,
            group_out: source.group_out,
        }
    }

    /// `count` pointwise convolutions with these inputs, which fill words, and outputs. `fill` writes the
    /// words of a block of outputs and some inputs, in all of the convolutions: its argument returns the
    /// address of the words of a convolution and an input (or a pair of inputs), as many as the block's
    /// vectors hold.
    pub(in crate::conv) fn pointwise<T: Element>(
        isa: Isa,
        [inputs, outputs]: [usize; 2],
        count: usize,
        fill: impl Fn(&Block, Range<usize>, &dyn Fn(usize, usize) -> *mut u32) + Sync,
    ) -> Vec<Self> {
        let (blocks, len) = blocks(isa, 1, outputs, inputs / T::PER_WORD);
        let mut words: Vec<Scratch> = (0..count).map(|_| Scratch::take(len)).collect();
        words.iter_mut().for_each(|words| zero_unused_lanes(isa, &blocks, inputs / T::PER_WORD, words));
        let all: Vec<SharedMut<u32>> =
            words.iter_mut().map(|words| SharedMut::new(words.as_mut_slice())).collect();
        let work: Vec<(&Block, usize)> = blocks
            .iter()
            .flat_map(|block| (0..inputs).step_by(PACKED_INPUTS).map(move |first| (block, first)))
            .collect();
        work.into_par_iter().with_min_len(threads::min_len(4)).for_each(|(block, first)| {
            let width = block.vectors * simd::lanes(isa);
            let word = |which: usize, input: usize| all[which].at(block.offset + input / T::PER_WORD * width);
            fill(block, first..(first + PACKED_INPUTS).min(inputs), &word);
        });
        let packed = |words| PackedDense {
            isa,
            words: Arc::new(words),
            blocks: blocks.clone(),
            taps: 1,
            taps_per_row: 1,
            groups: 1,
            group_in: inputs,
            group_out: outputs,
        };
        words.into_iter().map(packed).collect()
    }
}

/// Zeroes the blocks whose outputs do not fill their vectors, each with so many words an output. The lanes without
/// an output hold what the memory was last used for; multiplied by it they give nothing that is used, but where
/// that is subnormal each multiplication takes a hundred times as long.
fn zero_unused_lanes(isa: Isa, blocks: &[Block], words_per_output: usize, words: &mut Scratch) {
    for block in blocks {
        let width = block.vectors * simd::lanes(isa);
        if block.count < width {
            words.as_mut_slice()[block.offset..][..words_per_output * width].fill(0);
        }
    }
}

/// How weights become words.
#[derive(Clone, Copy, PartialEq)]
enum Packing {
    /// A word is a weight in f32.
    Copied,
    /// The same, where the weights of an input are contiguous, for all outputs of a group.
    CopiedTransposed,
    /// Words of two bf16 of the same tap.
    Rounded,
    /// Words of any taps.
    StraddlingTaps,
}

struct Packer<'a> {
    isa: Isa,
    lanes: usize,
    source: &'a WeightSource<'a>,
    layout: WordLayout,
    packing: Packing,
    words: SharedMut<u32>,
}

impl<'a> Packer<'a> {
    fn new<T: Element>(isa: Isa, source: &'a WeightSource<'a>, words: SharedMut<u32>) -> Self {
        let layout = WordLayout::new::<T>(source);
        let packing = match (layout.straddles_taps, T::BF16, source.transposed) {
            (true, _, _) => Packing::StraddlingTaps,
            (false, true, _) => Packing::Rounded,
            (false, false, true) => Packing::CopiedTransposed,
            (false, false, false) => Packing::Copied,
        };
        Packer { isa, lanes: simd::lanes(isa), source, layout, packing, words }
    }

    /// Blocks, each with a piece of their inputs: inputs of pieces fill words.
    fn work<'b>(&self, blocks: &'b [Block]) -> Vec<(&'b [Block], Range<usize>)> {
        let group_in = self.source.group_in;
        let piece = match self.packing {
            Packing::StraddlingTaps => group_in,
            Packing::Copied => 4 * PACKED_INPUTS,
            Packing::CopiedTransposed | Packing::Rounded => PACKED_INPUTS,
        };
        let together: Vec<&[Block]> = match self.packing {
            Packing::CopiedTransposed => blocks.chunk_by(|a, b| a.group == b.group).collect(),
            _ => blocks.chunks(1).collect(),
        };
        let pieces = |blocks: &'b [Block]| {
            (0..group_in).step_by(piece).map(move |first| (blocks, first..(first + piece).min(group_in)))
        };
        together.into_iter().flat_map(pieces).collect()
    }

    /// Packs some inputs of some blocks: of one block, unless they are [`Packing::CopiedTransposed`].
    ///
    /// # Safety
    /// No other thread writes these words.
    unsafe fn pack<T: Element>(&self, blocks: &[Block], inputs: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.packing {
                Packing::Copied if self.source.all_taps == 1 => self.transpose(&blocks[0], inputs),
                Packing::Copied => self.copy(&blocks[0], inputs),
                Packing::CopiedTransposed => self.copy_transposed(blocks, inputs),
                Packing::Rounded => self.round::<T>(&blocks[0], inputs),
                Packing::StraddlingTaps => self.straddle_taps::<T>(&blocks[0], inputs),
            }
        }
    }

    fn width(&self, block: &Block) -> usize {
        block.vectors * self.lanes
    }

    /// # Safety
    /// As [`pack`](Self::pack).
    unsafe fn copy_transposed(&self, blocks: &[Block], inputs: Range<usize>) {
        // Copies: what is written might alias `self`, which would be read again for each row.
        let Packer { source, words, lanes, .. } = *self;
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return };
        let run = (last.first + last.count - first.first) * source.all_taps;
        // In lines; a long run is foreseen, but for its beginning.
        let foreseen = run.div_ceil(WORDS_PER_CACHE_LINE).min(LINES_AHEAD);
        let distance = LINES_AHEAD.div_ceil(foreseen) * source.group_out * source.all_taps;
        for input in inputs {
            let weights = &source.weights[source.start(first.group, first.first, input)..];
            for line in 0..foreseen {
                simd::prefetch(weights.as_ptr().wrapping_add(distance + line * WORDS_PER_CACHE_LINE));
            }
            for block in blocks {
                let weights = &source.weights[source.start(block.group, block.first, input)..];
                for (at, tap) in source.taps.iter().enumerate() {
                    let word = block.offset + (at * source.group_in + input) * block.vectors * lanes;
                    // SAFETY: the caller's promise.
                    let row = unsafe { words.slice(word, block.count) };
                    let copy = |(word, weight): (&mut u32, &f32)| *word = weight.to_bits();
                    if source.all_taps == 1 {
                        row.iter_mut().zip(weights).for_each(copy);
                    } else {
                        row.iter_mut().zip(weights[*tap..].iter().step_by(source.all_taps)).for_each(copy);
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`pack`](Self::pack).
    unsafe fn copy(&self, block: &Block, inputs: Range<usize>) {
        let (source, words, width) = (self.source, self.words, self.width(block));
        for output in 0..block.count {
            let scale = source.scale(block.group, block.first + output);
            let weights = &source.weights[source.start(block.group, block.first + output, inputs.start)..];
            for (input, weights) in inputs.clone().zip(weights.chunks_exact(source.all_taps)) {
                for (at, tap) in source.taps.iter().enumerate() {
                    let word = block.offset + (at * source.group_in + input) * width + output;
                    // SAFETY: the caller's promise; there are as many words as outputs.
                    unsafe { words.at(word).write((weights[*tap] * scale).to_bits()) };
                }
            }
        }
    }

    /// [`copy`](Self::copy) of one tap: in squares, read along the inputs and written along the outputs, a
    /// line of the cache at a time.
    ///
    /// # Safety
    /// As [`pack`](Self::pack).
    unsafe fn transpose(&self, block: &Block, inputs: Range<usize>) {
        const SIDE: usize = WORDS_PER_CACHE_LINE;
        let (source, words, width) = (self.source, self.words, self.width(block));
        let mut square = [[0u32; SIDE]; SIDE];
        for first in inputs.clone().step_by(SIDE) {
            let columns = SIDE.min(inputs.end - first);
            for output in (0..block.count).step_by(SIDE) {
                let rows = SIDE.min(block.count - output);
                for (row, line) in square[..rows].iter_mut().enumerate() {
                    let channel = block.first + output + row;
                    let scale = source.scale(block.group, channel);
                    let weights = &source.weights[source.start(block.group, channel, first)..];
                    simd::prefetch(weights.as_ptr().wrapping_add(2 * SIDE));
                    let scaled = |(word, weight): (&mut u32, &f32)| *word = (weight * scale).to_bits();
                    match weights.first_chunk::<SIDE>() {
                        // The excess is not used.
                        Some(weights) => line.iter_mut().zip(weights).for_each(scaled),
                        None => line.iter_mut().zip(&weights[..columns]).for_each(scaled),
                    }
                }
                if (rows, columns) == (SIDE, SIDE) {
                    for column in 0..SIDE {
                        let word = block.offset + (first + column) * width + output;
                        // SAFETY: as below.
                        let to = unsafe { words.slice(word, SIDE) };
                        let to: &mut [u32; SIDE] = to.try_into().expect("a line");
                        *to = std::array::from_fn(|row| square[row][column]);
                    }
                    continue;
                }
                for column in 0..columns {
                    let word = block.offset + (first + column) * width + output;
                    // SAFETY: the caller's promise; there are as many words as outputs.
                    let to = unsafe { words.slice(word, rows) };
                    for (word, line) in to.iter_mut().zip(&square) {
                        *word = line[column];
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`pack`](Self::pack).
    unsafe fn round<T: Element>(&self, block: &Block, inputs: Range<usize>) {
        let rounded = RoundedWeights::new::<T>(self.isa, self.source, block, inputs.clone());
        for (at, tap) in self.source.taps.iter().enumerate() {
            for input in (0..inputs.len()).step_by(T::PER_WORD) {
                let word = (at * self.source.group_in + inputs.start + input) / T::PER_WORD;
                // SAFETY: the caller's promise.
                let row = unsafe { self.row(block, word) };
                rounded.words::<T>(row, [Some((input, *tap)), Some((input + 1, *tap))]);
            }
        }
    }

    /// # Safety
    /// As [`pack`](Self::pack).
    unsafe fn straddle_taps<T: Element>(&self, block: &Block, inputs: Range<usize>) {
        let group_in = self.source.group_in;
        let WordLayout { taps_together, words_together, per_channel, .. } = self.layout;
        let rounded = RoundedWeights::new::<T>(self.isa, self.source, block, inputs);
        for word in 0..per_channel {
            let first_tap = word / words_together * taps_together;
            let element = |i: usize| {
                let at = word % words_together * T::PER_WORD + i;
                let inside = at < taps_together * group_in;
                inside.then(|| (at % group_in, self.source.taps[first_tap + at / group_in]))
            };
            // SAFETY: the caller's promise.
            rounded.words::<T>(unsafe { self.row(block, word) }, [element(0), element(1)]);
        }
    }

    /// The words of a block's outputs, the `word`th of each.
    ///
    /// # Safety
    /// As [`pack`](Self::pack).
    unsafe fn row(&self, block: &Block, word: usize) -> &'a mut [u32] {
        // SAFETY: the caller's promise.
        unsafe { self.words.slice(block.offset + word * self.width(block), block.count) }
    }
}

/// Weights of a block's outputs and some inputs, scaled and rounded, in the order of their source.
struct RoundedWeights {
    /// f32, or the bits of bf16.
    values: Vec<u32>,
    output_stride: usize,
    input_stride: usize,
}

impl RoundedWeights {
    fn new<T: Element>(isa: Isa, source: &WeightSource<'_>, block: &Block, inputs: Range<usize>) -> Self {
        let row_len = if source.transposed { block.count } else { inputs.len() } * source.all_taps;
        // A cache line more, so that rows as long as a power of two do not compete for the same lines of the
        // cache.
        let stride = row_len.next_multiple_of(16) + 16;
        let rows = if source.transposed { inputs.len() } else { block.count };
        let mut values = vec![0u32; rows * stride];
        for (row, values) in values.chunks_exact_mut(stride).enumerate() {
            let (output, input) = if source.transposed { (0, row) } else { (row, 0) };
            let start = source.start(block.group, block.first + output, inputs.start + input);
            let scale = source.scale(block.group, block.first + output);
            let from = &source.weights[start..start + row_len];
            T::round_weights(isa, RoundKernel { from, scale, to: values, element: PhantomData });
        }
        let (output_stride, input_stride) =
            if source.transposed { (source.all_taps, stride) } else { (stride, source.all_taps) };
        RoundedWeights { values, output_stride, input_stride }
    }

    /// Fills a row of words, one for each output, with the elements at these (input, tap), or 0.
    fn words<T: Element>(&self, row: &mut [u32], elements: [Option<(usize, usize)>; 2]) {
        let start =
            |element: Option<(usize, usize)>| element.map(|(input, tap)| input * self.input_stride + tap);
        let outputs = self.values.iter();
        match (start(elements[0]), start(elements[1])) {
            (Some(low), Some(high)) if T::BF16 => {
                let low = outputs.clone().skip(low).step_by(self.output_stride);
                let high = outputs.skip(high).step_by(self.output_stride);
                row.iter_mut()
                    .zip(low.zip(high))
                    .for_each(|(word, (low, high))| *word = low >> 16 | high & 0xffff_0000);
            }
            (Some(low), _) => {
                let low = outputs.skip(low).step_by(self.output_stride);
                let shift = if T::BF16 { 16 } else { 0 };
                row.iter_mut().zip(low).for_each(|(word, low)| *word = low >> shift);
            }
            _ => row.fill(0),
        }
    }
}

/// Scales, and rounds to the precision of the element type; the results are f32.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_without_an_output_are_zero_whatever_the_memory_held() {
        const SUBNORMAL: u32 = 1;
        let isa = Isa::current();
        for (outputs, inputs) in [(7, 64), (2, 33), (17, 16), (1, 5)] {
            // The pool gives this memory again.
            for len in [1 << 10, 1 << 11, 1 << 12, 1 << 13] {
                Scratch::take(len).as_mut_slice().fill(SUBNORMAL);
            }
            let weights = vec![1.0; outputs * inputs];
            let source = WeightSource {
                weights: &weights,
                scale: None,
                groups: 1,
                group_in: inputs,
                group_out: outputs,
                all_taps: 1,
                taps: vec![0],
                taps_per_row: 1,
                transposed: false,
            };
            let packed = PackedDense::pack::<f32>(isa, &source);
            for block in &packed.blocks {
                let width = block.vectors * simd::lanes(isa);
                for word in 0..inputs * width {
                    // SAFETY: a word of the block.
                    let found = f32::from_bits(unsafe { *packed.words.as_ptr().add(block.offset + word) });
                    let expected = if word % width < block.count { 1.0 } else { 0.0 };
                    assert_eq!(found, expected, "{outputs} outputs, {inputs} inputs, word {word}");
                }
            }
        }
    }
}
