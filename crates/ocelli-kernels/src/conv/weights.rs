//! Gradients with respect to the weights of dense and grouped convolutions.
//!
//! For each tap this is a matrix product that sums over pixels: `dy` (pixels × outputs) with the input pixels below
//! the tap (pixels × inputs). One side fills vectors, the other is broadcast. In bf16 a word pairs the same place of
//! two images, so that dot products of pairs sum over pixels at any stride and shift.
//!
//! Rows of pixels are cut into segments by the shape alone; each segment's sums are kept apart and added in order.

use crate::{
    Conv2dShape, Element, Isa,
    memory::{Scratch, SharedMut},
    simd::{self, Kernel, Simd},
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
    let x = Words::of(isa, shape.batch, x);
    let dy = Words::of(isa, shape.batch, dy);
    let mut partial = Scratch::take(plan.segments.len() * plan.partial_len());
    let sums = SharedMut::new(partial.as_mut_slice());
    plan.items()
        .into_par_iter()
        .for_each(|item| plan.run::<T>(isa, shape, x.as_ptr(), dy.as_ptr(), &item, sums));
    plan.reduce(shape, partial.as_mut_slice(), dw);
}

/// Activations as words: f32 as they are, bf16 paired from two images.
enum Words<'a> {
    Borrowed(&'a [f32]),
    Paired(Scratch),
}

impl<'a> Words<'a> {
    fn of<T: Element>(isa: Isa, batch: usize, values: &'a [T]) -> Self {
        if !T::BF16 {
            // SAFETY: the only other element type is f32 itself.
            return Words::Borrowed(unsafe {
                std::slice::from_raw_parts(values.as_ptr().cast(), values.len())
            });
        }
        let image = values.len() / batch;
        // Whole vectors may be read at the last pixel.
        let mut words = Scratch::take(batch.div_ceil(2) * image + 64);
        const CHUNK: usize = 1 << 14;
        let work: Vec<(usize, Range<usize>)> = (0..batch.div_ceil(2))
            .flat_map(|pair| {
                (0..image).step_by(CHUNK).map(move |start| (pair, start..(start + CHUNK).min(image)))
            })
            .collect();
        let all = SharedMut::new(words.as_mut_slice());
        work.into_par_iter().for_each(|(pair, range)| {
            let low = &values[2 * pair * image..][range.clone()];
            let high = (2 * pair + 1 < batch).then(|| &values[(2 * pair + 1) * image..][range.clone()]);
            // SAFETY: ranges of pairs do not overlap.
            let words = unsafe { all.slice(pair * image + range.start, range.len()) };
            T::pair_images(isa, PairKernel { low, high, words });
        });
        Words::Paired(words)
    }

    fn as_ptr(&self) -> WordPointer {
        match self {
            Words::Borrowed(values) => WordPointer(values.as_ptr().cast()),
            Words::Paired(words) => WordPointer(words.as_ptr()),
        }
    }
}

/// A pointer that threads share to read.
#[derive(Clone, Copy)]
struct WordPointer(*const u32);

// SAFETY: what it points to is only read while it is shared.
unsafe impl Send for WordPointer {}
// SAFETY: as above.
unsafe impl Sync for WordPointer {}

impl WordPointer {
    fn at(self, index: usize) -> *const u32 {
        self.0.wrapping_add(index)
    }
}

pub struct PairKernel<'a, T> {
    low: &'a [T],
    high: Option<&'a [T]>,
    words: &'a mut [u32],
}

impl<T: Element> Kernel for PairKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let high_bits = |i: usize| self.high.map_or(0.0, |high| high[i].to_f32());
        let mut done = 0;
        if let Some(high) = self.high {
            while done + S::LANES <= self.words.len() {
                // SAFETY: the processor has S; there are LANES elements more in all three. T is bf16.
                unsafe {
                    let pairs =
                        S::load_pairs(self.low.as_ptr().add(done).cast(), high.as_ptr().add(done).cast());
                    S::store(self.words.as_mut_ptr().add(done).cast(), pairs);
                }
                done += S::LANES;
            }
        }
        for i in done..self.words.len() {
            self.words[i] = self.low[i].to_f32().to_bits() >> 16 | (high_bits(i).to_bits() & 0xffff_0000);
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
    /// Blocks of the vector side, in channels.
    vector_block: usize,
    /// Rows of output pixels, over all words' images.
    segments: Vec<Range<usize>>,
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
        let gathers = all_taps > 1 && group_in < 16;
        let (inputs, taps) = if gathers { (group_in * all_taps, 1) } else { (group_in, all_taps) };
        // Idle lanes are lost; so are multiplications with few broadcasts for a loaded vector.
        let cost = |vector: usize, broadcast: usize| vector.next_multiple_of(lanes) * (broadcast + 2);
        let vector_is_output = cost(group_out, inputs) < cost(inputs, group_out);
        let (vector_len, broadcast_len) =
            if vector_is_output { (group_out, inputs) } else { (inputs, group_out) };
        let vector_block = 2 * lanes;
        let blocks = vector_len.div_ceil(vector_block);
        let out_width = shape.out_width();
        let rows = shape.batch.div_ceil(if T::BF16 { 2 } else { 1 }) * shape.out_height();
        // The broadcast side of a segment fits into the cache of a core, there are enough items to share, and partial
        // sums do not fill the memory.
        let cached = (rows * out_width * broadcast_len * 4).div_ceil(512 * 1024);
        let shared = 16usize.div_ceil(if gathers { 1 } else { blocks * shape.groups });
        let partial = shape.groups * taps * broadcast_len * vector_len.next_multiple_of(vector_block);
        let memory = ((12 << 20) / partial.max(1)).max(1);
        let count = cached.max(shared).min(memory).min(rows).max(1);
        let len = rows.div_ceil(count);
        let segments = (0..rows).step_by(len).map(|start| start..(start + len).min(rows)).collect();
        Plan {
            groups: shape.groups,
            vector_is_output,
            gathers,
            taps,
            vector_len,
            broadcast_len,
            vector_block,
            segments,
        }
    }

    fn padded_vector(&self) -> usize {
        self.vector_len.next_multiple_of(self.vector_block)
    }

    /// Sums of a segment: `[group][tap][broadcast][vector]`.
    fn partial_len(&self) -> usize {
        self.groups * self.taps * self.broadcast_len * self.padded_vector()
    }

    fn items(&self) -> Vec<Item> {
        let blocks = self.vector_len.div_ceil(self.vector_block);
        // Patches are gathered once an item.
        let per_item = if self.gathers { blocks } else { 1 };
        let mut items = Vec::new();
        for segment in 0..self.segments.len() {
            for group in 0..self.groups {
                let ranges = (0..blocks).step_by(per_item).map(|first| first..(first + per_item).min(blocks));
                items.extend(ranges.map(|blocks| Item { segment, group, blocks }));
            }
        }
        items
    }

    fn run<T: Element>(
        &self,
        isa: Isa,
        shape: &Conv2dShape,
        x: WordPointer,
        dy: WordPointer,
        item: &Item,
        sums: SharedMut<u32>,
    ) {
        let rows = self.segments[item.segment].clone();
        let out_width = shape.out_width();
        let (group_in, group_out) = (shape.group_in(), shape.group_out());
        let mut patches =
            Scratch::take(if self.gathers { rows.len() * out_width * self.inputs() + 64 } else { 0 });
        if self.gathers {
            self.gather(shape, x, item.group * group_in, rows.clone(), patches.as_mut_slice());
        }
        let mut runs = Vec::new();
        for tap in 0..self.taps {
            let (input, input_step) = if self.gathers {
                runs.clear();
                let pixels = rows.len() * out_width;
                runs.push(Run {
                    input: 0,
                    output: rows.start * out_width * shape.out_channels,
                    count: pixels,
                });
                (patches.as_ptr(), self.inputs())
            } else {
                find_runs(shape, tap, rows.clone(), &mut runs);
                (x.at(item.group * group_in), shape.in_channels * shape.stride[1])
            };
            let output = dy.at(item.group * group_out);
            for block in item.blocks.clone() {
                let first = block * self.vector_block;
                let lanes = (self.vector_len - first).min(self.vector_block);
                let mut broadcast = 0;
                while broadcast < self.broadcast_len {
                    let left = self.broadcast_len - broadcast;
                    let sum = ((item.segment * self.groups + item.group) * self.taps + tap)
                        * self.broadcast_len
                        + broadcast;
                    let kernel = SumKernel {
                        runs: &runs,
                        vector: if self.vector_is_output { output } else { input }.wrapping_add(first),
                        broadcast: if self.vector_is_output { input } else { output }.wrapping_add(broadcast),
                        vector_step: if self.vector_is_output { shape.out_channels } else { input_step },
                        broadcast_step: if self.vector_is_output { input_step } else { shape.out_channels },
                        vector_is_output: self.vector_is_output,
                        lanes,
                        left,
                        sums: sums.at(sum * self.padded_vector() + first).cast(),
                        sum_step: self.padded_vector(),
                        padded: T::BF16 || (self.gathers && !self.vector_is_output),
                        element: PhantomData::<T>,
                    };
                    broadcast += T::sum_products(isa, kernel);
                }
            }
        }
    }

    fn inputs(&self) -> usize {
        if self.vector_is_output { self.broadcast_len } else { self.vector_len }
    }

    /// Copies the inputs of each output pixel of the rows into a patch, `[tap][channel]`.
    fn gather(
        &self,
        shape: &Conv2dShape,
        x: WordPointer,
        first: usize,
        rows: Range<usize>,
        patches: &mut [u32],
    ) {
        let (group_in, out_height, out_width) = (shape.group_in(), shape.out_height(), shape.out_width());
        let mut patches = patches.chunks_exact_mut(self.inputs());
        for row in rows {
            let (image, row) = (row / out_height, row % out_height);
            for column in 0..out_width {
                let patch = patches.next().expect("as many patches as pixels");
                for (tap, patch) in patch.chunks_exact_mut(group_in).enumerate() {
                    let y = (row * shape.stride[0] + tap / shape.kernel[1] * shape.dilation[0])
                        .wrapping_sub(shape.padding.top);
                    let x_column = (column * shape.stride[1] + tap % shape.kernel[1] * shape.dilation[1])
                        .wrapping_sub(shape.padding.left);
                    if y < shape.in_height && x_column < shape.in_width {
                        let pixel = (image * shape.in_height + y) * shape.in_width + x_column;
                        let from = x.at(pixel * shape.in_channels + first);
                        for (c, word) in patch.iter_mut().enumerate() {
                            // SAFETY: a pixel inside of the image.
                            *word = unsafe { from.add(c).read() };
                        }
                    } else {
                        patch.fill(0);
                    }
                }
            }
        }
    }

    /// Adds the segments' sums in order and puts them into PyTorch's order.
    fn reduce(&self, shape: &Conv2dShape, partial: &[u32], dw: &mut [f32]) {
        let (group_in, group_out, all_taps) =
            (shape.group_in(), shape.group_out(), shape.kernel[0] * shape.kernel[1]);
        let (len, padded) = (self.partial_len(), self.padded_vector());
        dw.par_chunks_mut(group_in * all_taps).enumerate().for_each(|(output, dw)| {
            let (group, output) = (output / group_out, output % group_out);
            for input in 0..group_in {
                for tap in 0..all_taps {
                    let (tap_row, side) =
                        if self.gathers { (0, tap * group_in + input) } else { (tap, input) };
                    let (broadcast, vector) =
                        if self.vector_is_output { (side, output) } else { (output, side) };
                    let at =
                        ((group * self.taps + tap_row) * self.broadcast_len + broadcast) * padded + vector;
                    let segments = (0..self.segments.len()).map(|s| f32::from_bits(partial[s * len + at]));
                    dw[input * all_taps + tap] = if self.segments.len() == 1 {
                        segments.sum()
                    } else {
                        segments.map(f64::from).sum::<f64>() as f32
                    };
                }
            }
        });
    }
}

/// Neighbouring output pixels with their input pixels, as offsets in words.
pub struct Run {
    input: usize,
    output: usize,
    count: usize,
}

/// The runs of output pixels, row by row, for which a tap is not in padding.
fn find_runs(shape: &Conv2dShape, tap: usize, rows: Range<usize>, runs: &mut Vec<Run>) {
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let (tap_row, tap_column) =
        (tap / shape.kernel[1] * shape.dilation[0], tap % shape.kernel[1] * shape.dilation[1]);
    let start = shape.padding.left.saturating_sub(tap_column).div_ceil(shape.stride[1]);
    let end = (shape.in_width + shape.padding.left)
        .saturating_sub(tap_column)
        .div_ceil(shape.stride[1])
        .min(out_width);
    runs.clear();
    if start >= end {
        return;
    }
    for row in rows {
        let (image, out_row) = (row / out_height, row % out_height);
        let in_row = (out_row * shape.stride[0] + tap_row).wrapping_sub(shape.padding.top);
        if in_row < shape.in_height {
            let column = start * shape.stride[1] + tap_column - shape.padding.left;
            runs.push(Run {
                input: ((image * shape.in_height + in_row) * shape.in_width + column) * shape.in_channels,
                output: (row * out_width + start) * shape.out_channels,
                count: end - start,
            });
        }
    }
}

/// Sums products of up to 2 vectors with as many broadcasts as registers hold; returns how many it did.
pub struct SumKernel<'a, T> {
    runs: &'a [Run],
    vector: *const u32,
    broadcast: *const u32,
    vector_step: usize,
    broadcast_step: usize,
    vector_is_output: bool,
    /// Channels of the vector side, at most 2 vectors.
    lanes: usize,
    /// Whether whole vectors may be read where `lanes` are fewer.
    padded: bool,
    /// Channels of the broadcast side that are left.
    left: usize,
    sums: *mut f32,
    sum_step: usize,
    element: PhantomData<T>,
}

impl<T: Element> Kernel for SumKernel<'_, T> {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        let whole = self.padded || self.lanes.is_multiple_of(S::LANES);
        // SAFETY: the processor has S.
        unsafe {
            match (self.lanes > S::LANES, whole) {
                (true, true) => self.widest::<S, 2, true>(),
                (true, false) => self.widest::<S, 2, false>(),
                (false, true) => self.widest::<S, 1, true>(),
                (false, false) => self.widest::<S, 1, false>(),
            }
        }
    }
}

impl<T: Element> SumKernel<'_, T> {
    /// Chooses the number of broadcasts so that the blocks of what is left are nearly equal.
    #[inline(always)]
    unsafe fn widest<S: Simd, const V: usize, const WHOLE: bool>(&self) -> usize {
        let most = if S::MANY_REGISTERS { 14 } else { 6 };
        let wanted = self.left.div_ceil(self.left.div_ceil(most));
        // SAFETY: the processor has S.
        unsafe {
            if S::MANY_REGISTERS {
                match wanted {
                    14.. => self.sum::<S, 14, V, WHOLE>(),
                    13 => self.sum::<S, 13, V, WHOLE>(),
                    12 => self.sum::<S, 12, V, WHOLE>(),
                    8.. => self.sum::<S, 8, V, WHOLE>(),
                    4.. => self.sum::<S, 4, V, WHOLE>(),
                    _ => self.sum::<S, 1, V, WHOLE>(),
                }
            } else {
                match wanted {
                    6.. => self.sum::<S, 6, V, WHOLE>(),
                    5 => self.sum::<S, 5, V, WHOLE>(),
                    4 => self.sum::<S, 4, V, WHOLE>(),
                    _ => self.sum::<S, 1, V, WHOLE>(),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn sum<S: Simd, const P: usize, const V: usize, const WHOLE: bool>(&self) -> usize {
        // SAFETY: the processor has S. Runs lie inside of both sides by their construction; a whole vector is read
        // only if there are as many channels or the side is padded; the sums are padded to whole blocks.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; P];
            for run in self.runs {
                let (vector, broadcast) =
                    if self.vector_is_output { (run.output, run.input) } else { (run.input, run.output) };
                let mut vector = self.vector.add(vector).cast::<f32>();
                let mut broadcast = self.broadcast.add(broadcast);
                for _ in 0..run.count {
                    let vectors: [S::V; V] = std::array::from_fn(|v| {
                        let from = vector.add(v * S::LANES);
                        if WHOLE || v + 1 < V {
                            S::load(from)
                        } else {
                            S::load_first(from, self.lanes - v * S::LANES)
                        }
                    });
                    for p in 0..P {
                        let factor = S::splat_word(broadcast.add(p).read());
                        for v in 0..V {
                            sums[p][v] = T::multiply::<S>(sums[p][v], vectors[v], factor);
                        }
                    }
                    vector = vector.wrapping_add(self.vector_step);
                    broadcast = broadcast.wrapping_add(self.broadcast_step);
                }
            }
            for p in 0..P {
                for v in 0..V {
                    S::store(self.sums.add(p * self.sum_step + v * S::LANES), sums[p][v]);
                }
            }
        }
        P
    }
}
