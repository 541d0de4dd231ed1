//! Plain loops for every shape.

use crate::{Activation, Conv2dShape, Element};
use rayon::prelude::*;

pub(crate) fn forward<T: Element>(
    shape: &Conv2dShape,
    weights: &[f32],
    bias: &[f32],
    x: &[T],
    residual: Option<&[T]>,
    activation: Activation,
    y: &mut [T],
) {
    let (out_width, out_height) = (shape.out_width(), shape.out_height());
    let (group_in, group_out) = (shape.group_in(), shape.group_out());
    let row_len = out_width * shape.out_channels;
    y.par_chunks_mut(row_len).enumerate().for_each(|(row, y)| {
        let (image, oy) = (row / out_height, row % out_height);
        for ox in 0..out_width {
            for k in 0..shape.out_channels {
                let mut sum = 0.0f32;
                for ky in 0..shape.kernel[0] {
                    let Some(iy) = input_index(shape, 0, oy, ky) else { continue };
                    for kx in 0..shape.kernel[1] {
                        let Some(ix) = input_index(shape, 1, ox, kx) else { continue };
                        let pixel =
                            ((image * shape.in_height + iy) * shape.in_width + ix) * shape.in_channels;
                        let first = pixel + k / group_out * group_in;
                        for c in 0..group_in {
                            let w = ((k * group_in + c) * shape.kernel[0] + ky) * shape.kernel[1] + kx;
                            sum += x[first + c].to_f32() * weights[w];
                        }
                    }
                }
                let at = ox * shape.out_channels + k;
                let residual = residual.map_or(0.0, |r| r[row * row_len + at].to_f32());
                y[at] = T::from_f32(activation.apply(sum + bias[k] + residual));
            }
        }
    });
}

pub(crate) fn backward_data<T: Element>(shape: &Conv2dShape, weights: &[f32], dy: &[T], dx: &mut [T]) {
    let (out_width, out_height) = (shape.out_width(), shape.out_height());
    let (group_in, group_out) = (shape.group_in(), shape.group_out());
    dx.par_chunks_mut(shape.in_width * shape.in_channels).enumerate().for_each(|(row, dx)| {
        let (image, iy) = (row / shape.in_height, row % shape.in_height);
        let mut sums = vec![0.0f32; dx.len()];
        for ky in 0..shape.kernel[0] {
            let Some(oy) = output_index(shape, 0, iy, ky, out_height) else { continue };
            for (ix, sums) in sums.chunks_exact_mut(shape.in_channels).enumerate() {
                for kx in 0..shape.kernel[1] {
                    let Some(ox) = output_index(shape, 1, ix, kx, out_width) else { continue };
                    let pixel = ((image * out_height + oy) * out_width + ox) * shape.out_channels;
                    for k in 0..shape.out_channels {
                        let gradient = dy[pixel + k].to_f32();
                        for c in 0..group_in {
                            let w = ((k * group_in + c) * shape.kernel[0] + ky) * shape.kernel[1] + kx;
                            sums[k / group_out * group_in + c] += gradient * T::from_f32(weights[w]).to_f32();
                        }
                    }
                }
            }
        }
        for (dx, sum) in dx.iter_mut().zip(sums) {
            *dx = T::from_f32(sum);
        }
    });
}

pub(crate) fn backward_weights<T: Element>(shape: &Conv2dShape, x: &[T], dy: &[T], dw: &mut [f32]) {
    let (out_width, out_height) = (shape.out_width(), shape.out_height());
    let (group_in, group_out) = (shape.group_in(), shape.group_out());
    let taps = shape.kernel[0] * shape.kernel[1];
    dw.par_chunks_mut(group_in * taps).enumerate().for_each(|(k, dw)| {
        for (at, dw) in dw.iter_mut().enumerate() {
            let (c, ky, kx) = (at / taps, at % taps / shape.kernel[1], at % shape.kernel[1]);
            let mut sum = 0.0f64;
            for image in 0..shape.batch {
                for oy in 0..out_height {
                    let Some(iy) = input_index(shape, 0, oy, ky) else { continue };
                    for ox in 0..out_width {
                        let Some(ix) = input_index(shape, 1, ox, kx) else { continue };
                        let pixel =
                            ((image * shape.in_height + iy) * shape.in_width + ix) * shape.in_channels;
                        let gradient =
                            dy[((image * out_height + oy) * out_width + ox) * shape.out_channels + k];
                        sum += f64::from(x[pixel + k / group_out * group_in + c].to_f32())
                            * f64::from(gradient.to_f32());
                    }
                }
            }
            *dw = sum as f32;
        }
    });
}

/// The input row (axis 0) or column (axis 1) below a kernel tap, unless it is padding.
fn input_index(shape: &Conv2dShape, axis: usize, output: usize, tap: usize) -> Option<usize> {
    let (padding, size) = [(shape.padding.top, shape.in_height), (shape.padding.left, shape.in_width)][axis];
    let index = (output * shape.stride[axis] + tap * shape.dilation[axis]).checked_sub(padding)?;
    (index < size).then_some(index)
}

/// The output row or column whose kernel tap lies on an input row or column.
fn output_index(shape: &Conv2dShape, axis: usize, input: usize, tap: usize, size: usize) -> Option<usize> {
    let padding = [shape.padding.top, shape.padding.left][axis];
    let shifted = (input + padding).checked_sub(tap * shape.dilation[axis])?;
    (shifted % shape.stride[axis] == 0 && shifted / shape.stride[axis] < size)
        .then_some(shifted / shape.stride[axis])
}
