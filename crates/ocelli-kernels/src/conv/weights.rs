//! Gradients with respect to the weights of dense and grouped convolutions.
//!
//! For each tap this is a matrix product that sums over pixels: `dy` (pixels × outputs) with the input pixels below
//! the tap (pixels × inputs). One side fills vectors, the other is broadcast. Both are copied into panels first, so
//! that the channels of a register tile follow each other from pixel to pixel. In bf16 a word pairs the same place of
//! two images, so that dot products of pairs sum over pixels at any stride and shift.
//!
//! Rows of pixels are cut into segments by the shape alone; each segment's sums are kept apart and added in order.

use crate::{
    Conv2dShape, Element, Isa,
    memory::{Scratch, SharedMut},
    simd::{self, Kernel, Simd},
    threads,
};
use rayon::prelude::*;
use std::{marker::PhantomData, ops::Range};

pub(crate) fn backward_weights<T: Element>(shape: &Conv2dShape, x: &[T], dy: &[T], dw: &mut [f32]) {
    if shape.batch == 0 {
        dw.fill(0.0);
        return;
    }
    let isa = Isa::current();
    let plan = Plan::of::<T>(isa, shape);
    let (input_block, output_block) = plan.blocks();
    let input_groups = [shape.groups, shape.group_in()];
    // Patches are gathered from whole pixels.
    let (input_groups, input_block) =
        if plan.gathers { ([1, shape.in_channels], shape.in_channels) } else { (input_groups, input_block) };
    let x = Panels::of(isa, shape.batch, x, input_groups, input_block);
    let dy = Panels::of(isa, shape.batch, dy, [shape.groups, shape.group_out()], output_block);
    let mut partial = Scratch::take(plan.segments.len() * plan.partial_len());
    let sums = SharedMut::new(partial.as_mut_slice());
    let items = plan.items().into_par_iter().with_min_len(threads::least(1));
    items.for_each(|item| plan.run::<T>(isa, shape, &x, &dy, &item, sums));
    plan.reduce(shape, partial.as_mut_slice(), dw);
}

/// Words in the order `[group][block of channels][pixel of all images, or pairs of images][channel of the block]`.
/// Channels that fill up the last block hold anything.
struct Panels {
    words: Scratch,
    block: usize,
    /// Blocks of a group.
    blocks: usize,
    pixels: usize,
}

/// Words that may be read beyond the end of panels and patches.
pub(super) const SLACK: usize = 64;

impl Panels {
    fn of<T: Element>(
        isa: Isa,
        batch: usize,
        values: &[T],
        [groups, group]: [usize; 2],
        block: usize,
    ) -> Self {
        let channels = groups * group;
        let units = batch.div_ceil(T::PER_WORD);
        let image_pixels = values.len() / batch / channels;
        let (pixels, blocks) = (units * image_pixels, group.div_ceil(block));
        let mut words = Scratch::take(groups * blocks * pixels * block + SLACK);
        let all = SharedMut::new(words.as_mut_slice());
        // Pieces whose values fit into the first cache of a core.
        let piece = (8192 / channels).max(8);
        let work: Vec<(usize, Range<usize>)> = (0..units)
            .flat_map(|unit| {
                (0..image_pixels).step_by(piece).map(move |at| (unit, at..(at + piece).min(image_pixels)))
            })
            .collect();
        work.into_par_iter().with_min_len(threads::least(4)).for_each(|(unit, range)| {
            let image =
                |n: usize| if n < batch { Some(&values[n * image_pixels * channels..]) } else { None };
            let low = image(unit * T::PER_WORD).expect("a unit begins with an image");
            let high = if T::BF16 { image(unit * 2 + 1) } else { None };
            let kernel = PanelKernel {
                low: &low[range.start * channels..],
                high: high.map(|high| &high[range.start * channels..]),
                groups,
                group,
                block,
                pixels: range.len(),
                words: all,
                first: (unit * image_pixels + range.start) * block,
                step: pixels * block,
            };
            T::copy_panels(isa, kernel);
        });
        Panels { words, block, blocks, pixels }
    }

    /// The first word of a block.
    fn at(&self, group: usize, block: usize) -> *const u32 {
        self.words.as_ptr().wrapping_add((group * self.blocks + block) * self.pixels * self.block)
    }
}

/// Copies some pixels into all panels.
pub struct PanelKernel<'a, T> {
    pub(super) low: &'a [T],
    /// The second image of a pair.
    pub(super) high: Option<&'a [T]>,
    pub(super) groups: usize,
    /// Channels of a group, and of a block.
    pub(super) group: usize,
    pub(super) block: usize,
    pub(super) pixels: usize,
    /// No other thread writes these pixels' words.
    pub(super) words: SharedMut<u32>,
    /// Where the pixels' words are in the first panel, and the distance to the next.
    pub(super) first: usize,
    pub(super) step: usize,
}

impl<T: Element> Kernel for PanelKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.groups * self.group;
        let mut to = self.first;
        for group in 0..self.groups {
            for first in (0..self.group).step_by(self.block) {
                let count = self.block.min(self.group - first);
                // SAFETY: the processor has S; panels and pieces of pixels do not overlap.
                unsafe {
                    let words = self.words.slice(to, self.pixels * self.block);
                    self.panel::<S>(group * self.group + first, channels, count, words);
                }
                to += self.step;
            }
        }
    }
}

impl<T: Element> PanelKernel<'_, T> {
    /// Copies `count` channels of each pixel from `first` on.
    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, first: usize, channels: usize, count: usize, words: &mut [u32]) {
        let reach = count.next_multiple_of(S::LANES);
        let zeros = [T::default(); 16];
        // The pixels of which whole vectors can be read and written.
        let steps = |len: usize, start: usize, step: usize| match len.checked_sub(start + reach) {
            Some(left) => left / step + 1,
            None => 0,
        };
        let shorter = self.high.map_or(self.low.len(), |high| high.len().min(self.low.len()));
        let whole = steps(shorter, first, channels).min(steps(words.len(), 0, self.block)).min(self.pixels);
        for pixel in 0..whole {
            for at in (0..reach).step_by(S::LANES) {
                let from = first + pixel * channels + at;
                // SAFETY: the processor has S; there are as many elements and words, by the count above. What is too
                // much is overwritten with the next pixel. T is bf16 where it is loaded as bf16.
                unsafe {
                    let low = self.low.as_ptr().add(from);
                    let values = if T::BF16 {
                        let high = match self.high {
                            Some(high) => high.as_ptr().add(from),
                            None => zeros.as_ptr(),
                        };
                        S::load_pairs(low.cast(), high.cast())
                    } else {
                        S::load(low.cast())
                    };
                    S::store(words.as_mut_ptr().add(pixel * self.block + at).cast(), values);
                }
            }
        }
        for pixel in whole..self.pixels {
            for at in 0..count {
                let from = first + pixel * channels + at;
                let (low, high) =
                    (self.low[from].to_f32(), self.high.map_or(0.0, |high| high[from].to_f32()));
                words[pixel * self.block + at] = T::word(|i| if i == 0 { low } else { high });
            }
        }
    }
}

/// How the work is cut. "Vector side" and "broadcast side" are inputs and outputs, or outputs and inputs.
struct Plan {
    groups: usize,
    /// The vector side is dy's channels.
    vector_is_output: bool,
    /// Inputs are gathered into patches of all taps first: where a tap has too few channels for a vector.
    gathers: bool,
    taps: usize,
    /// Channels of each side in a group; of patches: taps · channels.
    vector_len: usize,
    broadcast_len: usize,
    /// Blocks of the sides, in channels: what a register tile holds.
    vector_block: usize,
    broadcast_block: usize,
    /// Rows of output pixels, over all images or pairs of images.
    segments: Vec<Range<usize>>,
    /// So many rows are summed at once: the vector side's stay in the first cache of a core.
    rows_at_once: usize,
}

/// What one task computes: blocks of the vector side in one segment.
struct Item {
    segment: usize,
    group: usize,
    blocks: Range<usize>,
}

impl Plan {
    fn of<T: Element>(isa: Isa, shape: &Conv2dShape) -> Plan {
        let lanes = simd::lanes(isa);
        let all_taps = shape.kernel[0] * shape.kernel[1];
        let (group_in, group_out) = (shape.group_in(), shape.group_out());
        let gathers = all_taps > 1 && group_in < lanes;
        let (inputs, taps) = if gathers { (group_in * all_taps, 1) } else { (group_in, all_taps) };
        // Idle lanes and broadcasts are lost.
        let cost = |vector: usize, broadcast: usize| {
            let width = BroadcastWidths::best(isa, vector <= lanes, broadcast);
            vector.next_multiple_of(lanes) * broadcast.next_multiple_of(width)
        };
        // Where outputs are the vector side, sums are transposed in the end: only where it pays.
        let vector_is_output = cost(group_out, inputs) * 16 < cost(inputs, group_out) * 15;
        let (vector_len, broadcast_len) =
            if vector_is_output { (group_out, inputs) } else { (inputs, group_out) };
        let mut plan = Plan {
            groups: shape.groups,
            vector_is_output,
            gathers,
            taps,
            vector_len,
            broadcast_len,
            vector_block: if vector_len <= lanes { lanes } else { 2 * lanes },
            broadcast_block: BroadcastWidths::best(isa, vector_len <= lanes, broadcast_len),
            segments: Vec::new(),
            rows_at_once: 1,
        };
        let rows = shape.batch.div_ceil(T::PER_WORD) * shape.out_height();
        // The broadcast side of a segment fits into the cache of a core, or is at least much more than the partial sums;
        // there are enough items to share, and partial sums do not fill the memory.
        let worthwhile = (512 * 1024).max(4 * plan.partial_len() * 4);
        let cached = (rows * shape.out_width() * broadcast_len * 4).div_ceil(worthwhile);
        let blocks = if gathers { 1 } else { plan.vector_blocks() * shape.groups };
        let shared = (threads::pieces(16) / blocks).max(1);
        let memory = ((12 << 20) / plan.partial_len().max(1)).max(1);
        let count = cached.max(shared).min(memory).min(rows).max(1);
        let len = rows.div_ceil(count);
        plan.segments = (0..rows).step_by(len).map(|start| start..(start + len).min(rows)).collect();
        let row = shape.out_width().max(1) * if gathers { vector_len } else { plan.vector_block } * 4;
        plan.rows_at_once = (24 * 1024 / row).max(1);
        plan
    }

    /// Block lengths of inputs and outputs.
    fn blocks(&self) -> (usize, usize) {
        if self.vector_is_output {
            (self.broadcast_block, self.vector_block)
        } else {
            (self.vector_block, self.broadcast_block)
        }
    }

    fn vector_blocks(&self) -> usize {
        self.vector_len.div_ceil(self.vector_block)
    }

    fn broadcast_blocks(&self) -> usize {
        self.broadcast_len.div_ceil(self.broadcast_block)
    }

    fn padded_vector(&self) -> usize {
        self.vector_blocks() * self.vector_block
    }

    fn padded_broadcast(&self) -> usize {
        self.broadcast_blocks() * self.broadcast_block
    }

    /// Sums of a segment: `[group][tap][broadcast][vector]`.
    fn partial_len(&self) -> usize {
        self.groups * self.taps * self.padded_broadcast() * self.padded_vector()
    }

    /// Channels of the inputs' side.
    fn inputs(&self) -> usize {
        if self.vector_is_output { self.broadcast_len } else { self.vector_len }
    }

    fn items(&self) -> Vec<Item> {
        // Patches are gathered once an item.
        let per_item = if self.gathers { self.vector_blocks() } else { 1 };
        let mut items = Vec::new();
        for segment in 0..self.segments.len() {
            for group in 0..self.groups {
                let ranges = (0..self.vector_blocks()).step_by(per_item).map(|first| first..first + per_item);
                items.extend(ranges.map(|blocks| Item { segment, group, blocks }));
            }
        }
        items
    }

    fn run<T: Element>(
        &self,
        isa: Isa,
        shape: &Conv2dShape,
        x: &Panels,
        dy: &Panels,
        item: &Item,
        sums: SharedMut<u32>,
    ) {
        let segment = self.segments[item.segment].clone();
        let pixels = segment.len().min(self.rows_at_once) * shape.out_width();
        let mut patches = Scratch::take(if self.gathers { pixels * self.inputs() + SLACK } else { 0 });
        for first in segment.clone().step_by(self.rows_at_once) {
            let rows = first..(first + self.rows_at_once).min(segment.end);
            let runs: Vec<Vec<Run>> = if self.gathers {
                let channel = item.group * shape.group_in();
                self.gather(shape, x.at(0, 0), channel, rows.clone(), patches.as_mut_slice());
                let output = rows.start * shape.out_width();
                vec![vec![Run { input: 0, output, count: rows.len() * shape.out_width() }]]
            } else {
                (0..self.taps).map(|tap| find_runs(shape, tap, rows.clone())).collect()
            };
            let input = |block: usize| {
                if self.gathers {
                    let start = patches.as_ptr().wrapping_add(block * self.blocks().0);
                    Side { start, pixel: self.inputs(), step: self.inputs() }
                } else {
                    Side { start: x.at(item.group, block), pixel: x.block, step: x.block * shape.stride[1] }
                }
            };
            let output =
                |block: usize| Side { start: dy.at(item.group, block), pixel: dy.block, step: dy.block };
            for vector in item.blocks.clone() {
                for broadcast in 0..self.broadcast_blocks() {
                    for (tap, runs) in runs.iter().enumerate() {
                        let matrix = (item.segment * self.groups + item.group) * self.taps + tap;
                        let row = matrix * self.padded_broadcast() + broadcast * self.broadcast_block;
                        let kernel = SumKernel {
                            runs,
                            vector: if self.vector_is_output { output(vector) } else { input(vector) },
                            broadcast: if self.vector_is_output {
                                input(broadcast)
                            } else {
                                output(broadcast)
                            },
                            vector_is_output: self.vector_is_output,
                            vector_block: self.vector_block,
                            broadcast_block: self.broadcast_block,
                            sums: sums.at(row * self.padded_vector() + vector * self.vector_block).cast(),
                            sum_step: self.padded_vector(),
                            adds: first > segment.start,
                            element: PhantomData::<T>,
                        };
                        T::sum_products(isa, kernel);
                    }
                }
            }
        }
    }

    /// Copies the inputs of each output pixel of the rows into a patch, `[tap][channel]`.
    fn gather(
        &self,
        shape: &Conv2dShape,
        x: *const u32,
        first: usize,
        rows: Range<usize>,
        patches: &mut [u32],
    ) {
        let (group_in, out_height, out_width) = (shape.group_in(), shape.out_height(), shape.out_width());
        let row_len = shape.kernel[1] * group_in;
        // Taps of a row follow each other if nothing lies between them.
        let joined = group_in == shape.in_channels && shape.dilation[1] == 1;
        let pixels = (0..rows.len() * out_width).map(|at| (rows.start + at / out_width, at % out_width));
        for ((row, column), patch) in pixels.zip(patches.chunks_exact_mut(self.inputs())) {
            let (image, row) = (row / out_height, row % out_height);
            let left = (column * shape.stride[1]) as isize - shape.padding.left as isize;
            for (tap_row, patch) in patch.chunks_exact_mut(row_len).enumerate() {
                let y = (row * shape.stride[0] + tap_row * shape.dilation[0]).wrapping_sub(shape.padding.top);
                if y >= shape.in_height {
                    patch.fill(0);
                    continue;
                }
                let line = (image * shape.in_height + y) * shape.in_width;
                if joined && left >= 0 && left as usize + shape.kernel[1] <= shape.in_width {
                    let from = x.wrapping_add((line + left as usize) * shape.in_channels + first);
                    // SAFETY: all taps of the row are inside of the image.
                    patch.copy_from_slice(unsafe { std::slice::from_raw_parts(from, row_len) });
                    continue;
                }
                for (tap_column, patch) in patch.chunks_exact_mut(group_in).enumerate() {
                    let column = left + (tap_column * shape.dilation[1]) as isize;
                    if column >= 0 && (column as usize) < shape.in_width {
                        let from = x.wrapping_add((line + column as usize) * shape.in_channels + first);
                        // SAFETY: a pixel inside of the image.
                        patch.copy_from_slice(unsafe { std::slice::from_raw_parts(from, group_in) });
                    } else {
                        patch.fill(0);
                    }
                }
            }
        }
    }

    /// Adds the segments' sums in order and puts them into PyTorch's order.
    fn reduce(&self, shape: &Conv2dShape, partial: &[u32], dw: &mut [f32]) {
        let (group_in, group_out) = (shape.group_in(), shape.group_out());
        let all_taps = shape.kernel[0] * shape.kernel[1];
        let row_len = group_in * all_taps;
        let dw = SharedMut::new(dw);
        // Some outputs together: they follow each other in memory where they are the vector side.
        let work: Vec<(usize, Range<usize>)> = (0..self.groups)
            .flat_map(|group| {
                (0..group_out)
                    .step_by(TOGETHER)
                    .map(move |first| (group, first..(first + TOGETHER).min(group_out)))
            })
            .collect();
        work.into_par_iter().with_min_len(threads::least(1)).for_each(|(group, outputs)| {
            // SAFETY: outputs are disjoint.
            let dw =
                unsafe { dw.slice((group * group_out + outputs.start) * row_len, outputs.len() * row_len) };
            if self.segments.len() == 1 && all_taps == 1 && !self.vector_is_output {
                for (output, dw) in outputs.clone().zip(dw.chunks_exact_mut(row_len)) {
                    let row = group * self.padded_broadcast() + output;
                    let sums = &partial[row * self.padded_vector()..][..row_len];
                    dw.iter_mut().zip(sums).for_each(|(dw, sum)| *dw = f32::from_bits(*sum));
                }
                return;
            }
            let place = |tap: usize, input: usize| {
                let (tap_row, side) = if self.gathers { (0, tap * group_in + input) } else { (tap, input) };
                (group * self.taps + tap_row, side)
            };
            for tap in 0..all_taps {
                if self.vector_is_output {
                    for input in 0..group_in {
                        let (matrix, side) = place(tap, input);
                        let row = matrix * self.padded_broadcast() + side;
                        let sums =
                            self.sums(partial, row * self.padded_vector() + outputs.start, outputs.len());
                        for (output, sum) in sums[..outputs.len()].iter().enumerate() {
                            dw[output * row_len + input * all_taps + tap] = *sum;
                        }
                    }
                    continue;
                }
                for output in 0..outputs.len() {
                    for input in (0..group_in).step_by(TOGETHER) {
                        let (matrix, side) = place(tap, input);
                        let row = matrix * self.padded_broadcast() + outputs.start + output;
                        let count = TOGETHER.min(group_in - input);
                        let sums = self.sums(partial, row * self.padded_vector() + side, count);
                        let to = &mut dw[output * row_len + input * all_taps + tap..];
                        let to = to.iter_mut().step_by(all_taps);
                        to.zip(&sums[..count]).for_each(|(to, sum)| *to = *sum);
                    }
                }
            }
        });
    }

    /// The sums of all segments at `count` places from `at` on, up to [`TOGETHER`].
    fn sums(&self, partial: &[u32], at: usize, count: usize) -> [f32; TOGETHER] {
        let mut sums = [0.0f64; TOGETHER];
        for segment in partial.chunks_exact(self.partial_len()).take(self.segments.len()) {
            let add = |(sum, word): (&mut f64, &u32)| *sum += f64::from(f32::from_bits(*word));
            match segment[at..].first_chunk::<TOGETHER>() {
                // What is too much is not used.
                Some(words) => sums.iter_mut().zip(words).for_each(add),
                None => sums.iter_mut().zip(&segment[at..at + count]).for_each(add),
            }
        }
        sums.map(|sum| sum as f32)
    }
}

/// Outputs or inputs whose sums are added together.
const TOGETHER: usize = 16;

/// Neighbouring output pixels with their input pixels.
pub struct Run {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) count: usize,
}

/// The runs of output pixels for which a tap is not in padding.
fn find_runs(shape: &Conv2dShape, tap: usize, rows: Range<usize>) -> Vec<Run> {
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let tap_row = tap / shape.kernel[1] * shape.dilation[0];
    let tap_column = tap % shape.kernel[1] * shape.dilation[1];
    let padded_width = shape.in_width + shape.padding.left;
    let start = shape.padding.left.saturating_sub(tap_column).div_ceil(shape.stride[1]);
    let end = padded_width.saturating_sub(tap_column).div_ceil(shape.stride[1]).min(out_width);
    let mut runs: Vec<Run> = Vec::new();
    if start >= end {
        return runs;
    }
    for row in rows {
        let (image, out_row) = (row / out_height, row % out_height);
        let in_row = (out_row * shape.stride[0] + tap_row).wrapping_sub(shape.padding.top);
        if in_row >= shape.in_height {
            continue;
        }
        let column = start * shape.stride[1] + tap_column - shape.padding.left;
        let input = (image * shape.in_height + in_row) * shape.in_width + column;
        let output = row * out_width + start;
        match runs.last_mut() {
            // Whole rows that follow each other.
            Some(run)
                if run.input + run.count * shape.stride[1] == input && run.output + run.count == output =>
            {
                run.count += end - start;
            }
            _ => runs.push(Run { input, output, count: end - start }),
        }
    }
    runs
}

/// Numbers of broadcasts that register tiles are compiled for.
pub(super) struct BroadcastWidths;

impl BroadcastWidths {
    /// The width that does the least for `len` broadcasts, with one vector or two: idle ones are lost, and each block
    /// loads the vectors.
    pub(super) fn best(isa: Isa, is_one_vector: bool, len: usize) -> usize {
        let widths: &[usize] = match (simd::has_many_registers(isa), is_one_vector) {
            (true, _) => &[14, 13, 12, 8, 4, 1],
            (false, true) => &[8, 6, 5, 4, 1],
            (false, false) => &[6, 5, 4, 1],
        };
        *widths.iter().min_by_key(|width| len.div_ceil(**width) * (**width + 1)).expect("there are widths")
    }
}

/// A block of channels: its first word, and the distances between pixels and between neighbours of a run.
pub struct Side {
    pub(super) start: *const u32,
    pub(super) pixel: usize,
    pub(super) step: usize,
}

/// Sums products of a block of vectors with a block of broadcasts.
pub struct SumKernel<'a, T> {
    pub(super) runs: &'a [Run],
    pub(super) vector: Side,
    pub(super) broadcast: Side,
    pub(super) vector_is_output: bool,
    pub(super) vector_block: usize,
    pub(super) broadcast_block: usize,
    pub(super) sums: *mut f32,
    pub(super) sum_step: usize,
    /// To what is there already.
    pub(super) adds: bool,
    pub(super) element: PhantomData<T>,
}

impl<T: Element> Kernel for SumKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S.
        unsafe {
            match (S::MANY_REGISTERS, self.vector_block > S::LANES, self.broadcast_block) {
                (true, true, 14) => self.sum::<S, 14, 2>(),
                (true, true, 13) => self.sum::<S, 13, 2>(),
                (true, true, 12) => self.sum::<S, 12, 2>(),
                (true, true, 8) => self.sum::<S, 8, 2>(),
                (true, false, 14) => self.sum::<S, 14, 1>(),
                (true, false, 13) => self.sum::<S, 13, 1>(),
                (true, false, 12) => self.sum::<S, 12, 1>(),
                (true, false, 8) => self.sum::<S, 8, 1>(),
                (false, true, 6) => self.sum::<S, 6, 2>(),
                (false, true, 5) => self.sum::<S, 5, 2>(),
                (false, false, 8) => self.sum::<S, 8, 1>(),
                (false, false, 6) => self.sum::<S, 6, 1>(),
                (false, false, 5) => self.sum::<S, 5, 1>(),
                (_, true, 4) => self.sum::<S, 4, 2>(),
                (_, false, 4) => self.sum::<S, 4, 1>(),
                (_, true, 1) => self.sum::<S, 1, 2>(),
                (_, false, 1) => self.sum::<S, 1, 1>(),
                (_, _, width) => unreachable!("no register tile has {width} broadcasts"),
            }
        }
    }
}

impl<T: Element> SumKernel<'_, T> {
    #[inline(always)]
    unsafe fn sum<S: Simd, const P: usize, const V: usize>(&self) {
        // SAFETY: the processor has S. Runs lie inside of both sides by their construction; panels and patches may be
        // read as far as a block beyond their end; the sums are padded to whole blocks.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; P];
            for run in self.runs {
                let (vector, broadcast) =
                    if self.vector_is_output { (run.output, run.input) } else { (run.input, run.output) };
                let mut vector = self.vector.start.add(vector * self.vector.pixel).cast::<f32>();
                let mut broadcast = self.broadcast.start.add(broadcast * self.broadcast.pixel);
                for _ in 0..run.count {
                    let mut vectors = [S::splat(0.0); V];
                    for v in 0..V {
                        vectors[v] = S::load(vector.add(v * S::LANES));
                    }
                    for p in 0..P {
                        let factor = S::splat_word(broadcast.add(p).read());
                        for v in 0..V {
                            sums[p][v] = T::multiply::<S>(sums[p][v], vectors[v], factor);
                        }
                    }
                    vector = vector.wrapping_add(self.vector.step);
                    broadcast = broadcast.wrapping_add(self.broadcast.step);
                }
            }
            for p in 0..P {
                for v in 0..V {
                    let to = self.sums.add(p * self.sum_step + v * S::LANES);
                    let sum = if self.adds { S::add(S::load(to), sums[p][v]) } else { sums[p][v] };
                    S::store(to, sum);
                }
            }
        }
    }
}
