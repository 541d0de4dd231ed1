//! Sums of products over runs of pixels.

use crate::{
    element::Element,
    isa::Isa,
    shape::Conv2dShape,
    simd::{self, Kernel, Simd},
};
use std::{marker::PhantomData, ops::Range};

/// Contiguous output pixels with their input pixels.
pub struct PixelRun {
    pub(in crate::conv) input: usize,
    pub(in crate::conv) output: usize,
    pub(in crate::conv) count: usize,
}

/// The runs of output pixels for which a tap is not in padding.
pub(super) fn find_runs(shape: &Conv2dShape, tap: usize, rows: Range<usize>) -> Vec<PixelRun> {
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let tap_row = tap / shape.kernel[1] * shape.dilation[0];
    let tap_column = tap % shape.kernel[1] * shape.dilation[1];
    let padded_width = shape.in_width + shape.padding.left;
    let start = shape.padding.left.saturating_sub(tap_column).div_ceil(shape.stride[1]);
    let end = padded_width.saturating_sub(tap_column).div_ceil(shape.stride[1]).min(out_width);
    let mut runs: Vec<PixelRun> = Vec::new();
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
            // Contiguous whole rows.
            Some(run)
                if run.input + run.count * shape.stride[1] == input && run.output + run.count == output =>
            {
                run.count += end - start;
            }
            _ => runs.push(PixelRun { input, output, count: end - start }),
        }
    }
    runs
}

/// Numbers of broadcasts that register tiles are compiled for.
pub(in crate::conv) struct BroadcastWidths;

impl BroadcastWidths {
    /// The width that costs least for `len` broadcasts, with one vector or two: idle broadcasts are lost, and
    /// each block loads the vectors.
    pub(in crate::conv) fn best(isa: Isa, is_one_vector: bool, len: usize) -> usize {
        let widths: &[usize] = match (simd::has_many_registers(isa), is_one_vector) {
            (true, _) => &[14, 13, 12, 8, 4, 1],
            (false, true) => &[8, 6, 5, 4, 1],
            (false, false) => &[6, 5, 4, 1],
        };
        *widths.iter().min_by_key(|width| len.div_ceil(**width) * (**width + 1)).expect("there are widths")
    }
}

/// One side of the product, a block of channels: its first word, and the distances between pixels and between
/// neighbours of a run.
#[derive(Clone, Copy)]
pub struct Operand {
    pub(in crate::conv) start: *const u32,
    pub(in crate::conv) pixel: usize,
    pub(in crate::conv) stride: usize,
}

/// Sums products of a block of vectors with a block of broadcasts.
pub struct SumKernel<'a, T> {
    pub(in crate::conv) runs: &'a [PixelRun],
    pub(in crate::conv) vector: Operand,
    pub(in crate::conv) broadcast: Operand,
    pub(in crate::conv) vector_is_output: bool,
    pub(in crate::conv) vector_block: usize,
    pub(in crate::conv) broadcast_block: usize,
    pub(in crate::conv) sums: *mut f32,
    pub(in crate::conv) sum_stride: usize,
    /// To the sums that are there already.
    pub(in crate::conv) adds: bool,
    pub(in crate::conv) element: PhantomData<T>,
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
                    vector = vector.wrapping_add(self.vector.stride);
                    broadcast = broadcast.wrapping_add(self.broadcast.stride);
                }
            }
            for p in 0..P {
                for v in 0..V {
                    let to = self.sums.add(p * self.sum_stride + v * S::LANES);
                    let sum = if self.adds { S::add(S::load(to), sums[p][v]) } else { sums[p][v] };
                    S::store(to, sum);
                }
            }
        }
    }
}
