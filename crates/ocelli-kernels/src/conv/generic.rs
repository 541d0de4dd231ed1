//! Plain loops for every shape.

use crate::{Conv2dShape, Element};
use rayon::prelude::*;

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
