//! Convolution: forward, and gradients with respect to data and weights.

mod generic;

use crate::{Activation, ChannelStatistics, Conv2dShape, Element, assert_len, channel_statistics};

/// Weights of a convolution in the order that its kernel reads them, with bias.
///
/// Packing depends on the kernel size, stride, dilation, groups and channels of the shape, not on batch, image size
/// and padding: the same packed weights serve images of every size.
#[derive(Clone, Debug)]
pub struct PackedConv2d<T: Element> {
    filter: Conv2dShape,
    weights: Vec<f32>,
    bias: Vec<f32>,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> PackedConv2d<T> {
    /// Packs `weights` (`[out_channels, in_channels / groups, rows, columns]`), each output channel multiplied by
    /// `scale` (`[out_channels]`; a folded batch norm) first, and keeps `bias` (`[out_channels]`).
    ///
    /// # Panics
    /// On an invalid shape, or slices of other lengths.
    pub fn pack(shape: &Conv2dShape, weights: &[f32], scale: Option<&[f32]>, bias: Option<&[f32]>) -> Self {
        shape.assert_valid();
        assert_len("weights", weights, shape.weight_len());
        if let Some(scale) = scale {
            assert_len("scale", scale, shape.out_channels);
        }
        if let Some(bias) = bias {
            assert_len("bias", bias, shape.out_channels);
        }
        let per_output = shape.weight_len() / shape.out_channels;
        let round = |value: f32| T::from_f32(value).to_f32();
        let weights = weights
            .chunks_exact(per_output)
            .enumerate()
            .flat_map(|(output, chunk)| {
                chunk.iter().map(move |w| round(w * scale.map_or(1.0, |s| s[output])))
            })
            .collect();
        let bias = bias.map_or_else(|| vec![0.0; shape.out_channels], <[f32]>::to_vec);
        PackedConv2d { filter: *shape, weights, bias, element: std::marker::PhantomData }
    }

    /// `y = activation(conv(x) + bias + residual)`.
    ///
    /// `x`: `[batch, in_height, in_width, in_channels]`; `residual` and `y`:
    /// `[batch, out_height, out_width, out_channels]`.
    ///
    /// # Panics
    /// On an invalid shape, one with another filter than was packed, or slices of other lengths.
    pub fn forward(
        &self,
        shape: &Conv2dShape,
        x: &[T],
        residual: Option<&[T]>,
        activation: Activation,
        y: &mut [T],
    ) {
        self.check(shape, x, residual, y);
        generic::forward(shape, &self.weights, &self.bias, x, residual, activation, y);
    }

    /// `y = conv(x) + bias`, and the mean and variance of each of y's channels: what batch norm needs in training.
    ///
    /// # Panics
    /// As [`PackedConv2d::forward`]; and if `y` is empty.
    pub fn forward_with_statistics(&self, shape: &Conv2dShape, x: &[T], y: &mut [T]) -> ChannelStatistics {
        self.forward(shape, x, None, Activation::None, y);
        channel_statistics(shape.out_channels, y)
    }

    #[track_caller]
    fn check(&self, shape: &Conv2dShape, x: &[T], residual: Option<&[T]>, y: &[T]) {
        shape.assert_valid();
        let filter =
            |s: &Conv2dShape| (s.in_channels, s.out_channels, s.kernel, s.stride, s.dilation, s.groups);
        assert_eq!(filter(shape), filter(&self.filter), "the weights were packed for another filter");
        assert_len("x", x, shape.input_len());
        if let Some(residual) = residual {
            assert_len("residual", residual, shape.output_len());
        }
        assert_len("y", y, shape.output_len());
    }
}

/// The gradient with respect to the input: `dx` from `dy` and the weights.
///
/// `weights`: as for [`PackedConv2d::pack`]; `dy`: `[batch, out_height, out_width, out_channels]`; `dx`:
/// `[batch, in_height, in_width, in_channels]`, overwritten.
///
/// # Panics
/// On an invalid shape or slices of other lengths.
pub fn conv2d_backward_data<T: Element>(shape: &Conv2dShape, weights: &[f32], dy: &[T], dx: &mut [T]) {
    shape.assert_valid();
    assert_len("weights", weights, shape.weight_len());
    assert_len("dy", dy, shape.output_len());
    assert_len("dx", dx, shape.input_len());
    generic::backward_data(shape, weights, dy, dx);
}

/// The gradient with respect to the weights: `dw`, in the order `[out, in / groups, rows, columns]`.
///
/// `x`: `[batch, in_height, in_width, in_channels]`; `dy`: `[batch, out_height, out_width, out_channels]`; `dw` is
/// overwritten. (The gradient with respect to a bias is [`channel_sums`](crate::channel_sums) of `dy`.)
///
/// # Panics
/// On an invalid shape or slices of other lengths.
pub fn conv2d_backward_weights<T: Element>(shape: &Conv2dShape, x: &[T], dy: &[T], dw: &mut [f32]) {
    shape.assert_valid();
    assert_len("x", x, shape.input_len());
    assert_len("dy", dy, shape.output_len());
    assert_len("dw", dw, shape.weight_len());
    generic::backward_weights(shape, x, dy, dw);
}
