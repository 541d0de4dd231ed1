//! Fully connected layers: a 1×1 convolution over one pixel an image.

use crate::{
    activation::Activation,
    conv::{conv2d, conv2d_backward_data, conv2d_backward_weights},
    element::Element,
    shape::{Conv2dShape, Padding},
};

/// `y = x · weightsᵀ + bias`; `weights`: `[outputs, inputs]`, `bias`: `[outputs]`, `x`: `[rows, inputs]`,
/// `y`: `[rows, outputs]`.
///
/// Each row's result has the same bits whatever the other rows are.
///
/// # Panics
/// If `inputs` or `outputs` is 0, or on slices of other lengths.
pub fn linear<T: Element>(
    [rows, inputs, outputs]: [usize; 3],
    weights: &[f32],
    bias: Option<&[f32]>,
    x: &[T],
    y: &mut [T],
) {
    conv2d(&as_conv(rows, inputs, outputs), weights, bias, x, None, Activation::None, y);
}

/// The gradient with respect to the input: `dx = dy · weights`; `weights`: `[outputs, inputs]`, `dy`:
/// `[rows, outputs]`, `dx`: `[rows, inputs]`, overwritten.
///
/// # Panics
/// If `inputs` or `outputs` is 0, or on slices of other lengths.
pub fn linear_backward_data<T: Element>(
    [rows, inputs, outputs]: [usize; 3],
    weights: &[f32],
    dy: &[T],
    dx: &mut [T],
) {
    conv2d_backward_data(&as_conv(rows, inputs, outputs), weights, dy, None, dx);
}

/// The gradient with respect to the weights: `dw = dyᵀ · x`, `[outputs, inputs]`, overwritten; `x`:
/// `[rows, inputs]`, `dy`: `[rows, outputs]`. (The gradient with respect to the bias is
/// [`channel_sums`](crate::channel_sums) of `dy`.)
///
/// # Panics
/// If `inputs` or `outputs` is 0, or on slices of other lengths.
pub fn linear_backward_weights<T: Element>(
    [rows, inputs, outputs]: [usize; 3],
    x: &[T],
    dy: &[T],
    dw: &mut [f32],
) {
    conv2d_backward_weights(&as_conv(rows, inputs, outputs), x, dy, dw);
}

fn as_conv(rows: usize, inputs: usize, outputs: usize) -> Conv2dShape {
    Conv2dShape {
        batch: rows,
        in_height: 1,
        in_width: 1,
        in_channels: inputs,
        out_channels: outputs,
        kernel: [1, 1],
        stride: [1, 1],
        padding: Padding::default(),
        dilation: [1, 1],
        groups: 1,
    }
}
