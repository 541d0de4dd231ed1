//! Gradients with respect to the weights of dense and grouped convolutions.
//!
//! For each tap this is a matrix product that sums over pixels: `dy` (pixels × outputs) with the input pixels
//! at the tap (pixels × inputs). One side fills vectors, the other is broadcast. Both are copied into panels
//! first, so that the channels of a register tile are contiguous from pixel to pixel. In bf16 a word pairs
//! the same pixel of two images, so that dot products of pairs sum over pixels at any stride and shift.
//!
//! The shape alone decides how rows of pixels are divided into segments; each segment's sums are kept apart
//! and added in order.
//!
//! | module | |
//! |---|---|
//! | `plan` | how the work is divided |
//! | `panels` | both sides of the product, in panels |
//! | `products` | the kernel that sums products |
//! | `reduce` | from the segments' sums to the gradient |

mod panels;
mod plan;
mod products;
mod reduce;

use crate::{
    buffer_pool::{Buffer, Scratch},
    element::Element,
    isa::Isa,
    shape::Conv2dShape,
    shared_mut::SharedMut,
    threads,
};
pub(super) use panels::PANEL_SLACK;
pub(crate) use panels::PanelKernel;
use panels::Panels;
use plan::{Item, Plan};
pub(crate) use products::SumKernel;
use products::find_runs;
pub(super) use products::{BroadcastWidths, Operand, PixelRun};
use rayon::prelude::*;
use std::{marker::PhantomData, ops::Range};

pub(crate) fn backward_weights<T: Element>(shape: &Conv2dShape, x: &[T], dy: &[T], dw: &mut [f32]) {
    if shape.batch == 0 {
        dw.fill(0.0);
        return;
    }
    let isa = Isa::current();
    let plan = Plan::new::<T>(isa, shape);
    let (input_block, output_block) = plan.blocks();
    let input_groups = [shape.groups, shape.group_in()];
    // Patches are gathered from whole pixels.
    let (input_groups, input_block) = if plan.gathers_patches {
        ([1, shape.in_channels], shape.in_channels)
    } else {
        (input_groups, input_block)
    };
    let x = Panels::new(isa, shape.batch, x, input_groups, input_block);
    let dy = Panels::new(isa, shape.batch, dy, [shape.groups, shape.group_out()], output_block);
    let mut task = Task {
        isa,
        shape,
        plan: &plan,
        x,
        dy,
        sums: SharedMut::new(dw),
        sum_rows: plan.broadcast_len,
        sum_stride: plan.padded_vector(),
    };
    let items = plan.items();
    let run = |task: &Task<'_>| {
        items.par_iter().with_min_len(threads::min_len(1)).for_each(|item| task.run::<T>(item));
    };
    if plan.sums_are_gradient(shape) {
        return run(&task);
    }
    let mut partial = Buffer::<f32>::take(plan.segments.len() * plan.partial_len());
    (task.sums, task.sum_rows) = (SharedMut::new(&mut partial), plan.padded_broadcast());
    run(&task);
    plan.reduce(shape, &partial, dw);
}

/// What all items share.
struct Task<'a> {
    isa: Isa,
    shape: &'a Conv2dShape,
    plan: &'a Plan,
    x: Panels,
    dy: Panels,
    /// `[segment][group][tap][broadcast][vector]`
    sums: SharedMut<f32>,
    /// Rows of a matrix of sums, one a broadcast, of which the last block has none beyond; and their length.
    sum_rows: usize,
    sum_stride: usize,
}

impl Task<'_> {
    fn run<T: Element>(&self, item: &Item) {
        let (shape, plan) = (self.shape, self.plan);
        let segment = plan.segments[item.segment].clone();
        let pixels = segment.len().min(plan.rows_at_once) * shape.out_width();
        let patch_words = if plan.gathers_patches { pixels * plan.inputs() + PANEL_SLACK } else { 0 };
        let mut patches = Scratch::take(patch_words);
        for first in segment.clone().step_by(plan.rows_at_once) {
            let rows = first..(first + plan.rows_at_once).min(segment.end);
            let runs: Vec<Vec<PixelRun>> = if plan.gathers_patches {
                let channel = item.group * shape.group_in();
                self.gather(channel, rows.clone(), patches.as_mut_slice());
                let output = rows.start * shape.out_width();
                vec![vec![PixelRun { input: 0, output, count: rows.len() * shape.out_width() }]]
            } else {
                (0..plan.taps).map(|tap| find_runs(shape, tap, rows.clone())).collect()
            };
            for vector in item.blocks.clone() {
                for broadcast in 0..plan.broadcast_blocks() {
                    let [vector_side, broadcast_side] = match plan.vector_is_output {
                        true => [self.output(item, vector), self.input(item, broadcast, &patches)],
                        false => [self.input(item, vector, &patches), self.output(item, broadcast)],
                    };
                    for (tap, runs) in runs.iter().enumerate() {
                        let matrix = (item.segment * plan.groups + item.group) * plan.taps + tap;
                        let row = broadcast * plan.broadcast_block;
                        let sums = (matrix * self.sum_rows + row) * self.sum_stride;
                        let kernel = SumKernel {
                            runs,
                            vector: vector_side,
                            broadcast: broadcast_side,
                            vector_is_output: plan.vector_is_output,
                            vector_block: plan.vector_block,
                            broadcast_block: plan.broadcast_block,
                            sums: self.sums.at(sums + vector * plan.vector_block),
                            sum_stride: self.sum_stride,
                            adds: first > segment.start,
                            element: PhantomData::<T>,
                        };
                        self.sum_rows_of(kernel, self.sum_rows - row);
                    }
                }
            }
        }
    }

    /// Sums the products of a block, as many as there are rows for.
    fn sum_rows_of<T: Element>(&self, kernel: SumKernel<'_, T>, rows: usize) {
        if rows >= kernel.broadcast_block {
            return T::sum_products(self.isa, kernel);
        }
        for row in 0..rows {
            let mut broadcast = kernel.broadcast;
            broadcast.start = broadcast.start.wrapping_add(row);
            let sums = kernel.sums.wrapping_add(row * kernel.sum_stride);
            T::sum_products(self.isa, SumKernel { broadcast, broadcast_block: 1, sums, ..kernel });
        }
    }

    /// A block of the inputs.
    fn input(&self, item: &Item, block: usize, patches: &Scratch) -> Operand {
        if self.plan.gathers_patches {
            let start = patches.as_ptr().wrapping_add(block * self.plan.blocks().0);
            Operand { start, pixel: self.plan.inputs(), stride: self.plan.inputs() }
        } else {
            let stride = self.x.block * self.shape.stride[1];
            Operand { start: self.x.at(item.group, block), pixel: self.x.block, stride }
        }
    }

    /// A block of the gradients with respect to the outputs.
    fn output(&self, item: &Item, block: usize) -> Operand {
        Operand { start: self.dy.at(item.group, block), pixel: self.dy.block, stride: self.dy.block }
    }

    /// Copies the inputs of each output pixel of the rows into a patch, `[tap][channel]`.
    fn gather(&self, first_channel: usize, rows: Range<usize>, patches: &mut [u32]) {
        let (shape, x) = (self.shape, self.x.at(0, 0));
        let (group_in, out_height, out_width) = (shape.group_in(), shape.out_height(), shape.out_width());
        let row_len = shape.kernel[1] * group_in;
        // The inputs of a row of taps are contiguous if nothing lies between them.
        let contiguous = group_in == shape.in_channels && shape.dilation[1] == 1;
        let pixels = (0..rows.len() * out_width).map(|at| (rows.start + at / out_width, at % out_width));
        for ((row, column), patch) in pixels.zip(patches.chunks_exact_mut(self.plan.inputs())) {
            let (image, row) = (row / out_height, row % out_height);
            let left = (column * shape.stride[1]) as isize - shape.padding.left as isize;
            for (tap_row, patch) in patch.chunks_exact_mut(row_len).enumerate() {
                let y = (row * shape.stride[0] + tap_row * shape.dilation[0]).wrapping_sub(shape.padding.top);
                if y >= shape.in_height {
                    patch.fill(0);
                    continue;
                }
                let line = (image * shape.in_height + y) * shape.in_width;
                if contiguous && left >= 0 && left as usize + shape.kernel[1] <= shape.in_width {
                    let from = x.wrapping_add((line + left as usize) * shape.in_channels + first_channel);
                    // SAFETY: all taps of the row are inside of the image.
                    patch.copy_from_slice(unsafe { std::slice::from_raw_parts(from, row_len) });
                    continue;
                }
                for (tap_column, patch) in patch.chunks_exact_mut(group_in).enumerate() {
                    let column = left + (tap_column * shape.dilation[1]) as isize;
                    if column >= 0 && (column as usize) < shape.in_width {
                        let input = line + column as usize;
                        let from = x.wrapping_add(input * shape.in_channels + first_channel);
                        // SAFETY: a pixel inside of the image.
                        patch.copy_from_slice(unsafe { std::slice::from_raw_parts(from, group_in) });
                    } else {
                        patch.fill(0);
                    }
                }
            }
        }
    }
}
