//! Adds the segments' sums, and puts them into PyTorch's order.

use super::plan::Plan;
use crate::{shape::Conv2dShape, shared_mut::SharedMut, threads};
use rayon::prelude::*;
use std::ops::Range;

/// Outputs or inputs whose sums are added together.
const SUMS_AT_ONCE: usize = 16;

impl Plan {
    /// Adds the segments' sums in order, and writes them as `[output][input of the group][tap]`.
    pub(super) fn reduce(&self, shape: &Conv2dShape, partial: &[f32], dw: &mut [f32]) {
        let (group_in, group_out) = (shape.group_in(), shape.group_out());
        let all_taps = shape.kernel[0] * shape.kernel[1];
        let row_len = group_in * all_taps;
        let dw = SharedMut::new(dw);
        // Several outputs together: they are contiguous where they are the vector side.
        let work: Vec<(usize, Range<usize>)> = (0..self.groups)
            .flat_map(|group| {
                (0..group_out)
                    .step_by(SUMS_AT_ONCE)
                    .map(move |first| (group, first..(first + SUMS_AT_ONCE).min(group_out)))
            })
            .collect();
        work.into_par_iter().with_min_len(threads::min_len(1)).for_each(|(group, outputs)| {
            // SAFETY: outputs are disjoint.
            let dw =
                unsafe { dw.slice((group * group_out + outputs.start) * row_len, outputs.len() * row_len) };
            if self.segments.len() == 1 && all_taps == 1 && !self.vector_is_output {
                for (output, dw) in outputs.zip(dw.chunks_exact_mut(row_len)) {
                    let row = group * self.padded_broadcast() + output;
                    let sums = &partial[row * self.padded_vector()..][..row_len];
                    dw.copy_from_slice(sums);
                }
            } else if self.vector_is_output {
                self.reduce_outputs(shape, partial, group, outputs, dw);
            } else {
                self.reduce_inputs(shape, partial, group, outputs, dw);
            }
        });
    }

    /// Sums of some outputs, which are the vector side.
    fn reduce_outputs(
        &self,
        shape: &Conv2dShape,
        partial: &[f32],
        group: usize,
        outputs: Range<usize>,
        dw: &mut [f32],
    ) {
        let (group_in, all_taps) = (shape.group_in(), shape.kernel[0] * shape.kernel[1]);
        for tap in 0..all_taps {
            for input in 0..group_in {
                let (matrix, broadcast) = self.matrix_and_input(group_in, group, tap, input);
                let row = matrix * self.padded_broadcast() + broadcast;
                let sums = self.sums(partial, row * self.padded_vector() + outputs.start, outputs.len());
                for (output, sum) in sums[..outputs.len()].iter().enumerate() {
                    dw[(output * group_in + input) * all_taps + tap] = *sum;
                }
            }
        }
    }

    /// Sums of some outputs, where the inputs are the vector side.
    fn reduce_inputs(
        &self,
        shape: &Conv2dShape,
        partial: &[f32],
        group: usize,
        outputs: Range<usize>,
        dw: &mut [f32],
    ) {
        let (group_in, all_taps) = (shape.group_in(), shape.kernel[0] * shape.kernel[1]);
        for tap in 0..all_taps {
            for output in 0..outputs.len() {
                for input in (0..group_in).step_by(SUMS_AT_ONCE) {
                    let (matrix, vector) = self.matrix_and_input(group_in, group, tap, input);
                    let row = matrix * self.padded_broadcast() + outputs.start + output;
                    let count = SUMS_AT_ONCE.min(group_in - input);
                    let sums = self.sums(partial, row * self.padded_vector() + vector, count);
                    let to = &mut dw[(output * group_in + input) * all_taps + tap..];
                    let to = to.iter_mut().step_by(all_taps);
                    to.zip(&sums[..count]).for_each(|(to, sum)| *to = *sum);
                }
            }
        }
    }

    /// The matrix of sums that a tap belongs to, and the index of an input therein.
    fn matrix_and_input(&self, group_in: usize, group: usize, tap: usize, input: usize) -> (usize, usize) {
        if self.gathers_patches {
            (group * self.taps, tap * group_in + input)
        } else {
            (group * self.taps + tap, input)
        }
    }

    /// `count` sums of all segments from index `at` on, up to [`SUMS_AT_ONCE`].
    fn sums(&self, partial: &[f32], at: usize, count: usize) -> [f32; SUMS_AT_ONCE] {
        let mut sums = [0.0f64; SUMS_AT_ONCE];
        for segment in partial.chunks_exact(self.partial_len()).take(self.segments.len()) {
            let add = |(sum, part): (&mut f64, &f32)| *sum += f64::from(*part);
            match segment[at..].first_chunk::<SUMS_AT_ONCE>() {
                // The excess is not used.
                Some(parts) => sums.iter_mut().zip(parts).for_each(add),
                None => sums.iter_mut().zip(&segment[at..at + count]).for_each(add),
            }
        }
        sums.map(|sum| sum as f32)
    }
}
