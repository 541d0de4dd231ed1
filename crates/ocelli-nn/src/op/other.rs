//! Pooling over whole maps, maps side by side, linear layers, ReLU.

use burn::tensor::Tensor;

use super::{composed, flex, has_kernels};

/// How a whole map `[images, channels, height, width]` becomes one vector an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GlobalPool {
    /// The mean of every channel: `[images, channels]`.
    Average,
    /// The maximum of every channel, then the mean of every channel: `[images, 2 · channels]` (fastai's order).
    MaximumAndAverage,
}

/// Pools whole maps: `[images, channels, height, width]` to `[images, pooled]`.
pub fn pool(input: Tensor<4>, pool: GlobalPool) -> Tensor<2> {
    if has_kernels(&input) { flex::pool(input, pool) } else { composed::pool(input, pool) }
}

/// Joins maps `[images, channels, height, width]` channel by channel.
///
/// # Panics
/// If there are none, or of different images, heights or widths.
pub fn join(parts: Vec<Tensor<4>>) -> Tensor<4> {
    if parts.iter().all(has_kernels) {
        parts.into_iter().reduce(flex::join).expect("there are maps to join")
    } else {
        composed::join(parts)
    }
}

/// `input · weightᵀ + bias`: `[images, inputs]` and `[outputs, inputs]` to `[images, outputs]`.
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    if has_kernels(&input) {
        flex::linear(input, weight, bias)
    } else {
        composed::linear(input, weight, bias)
    }
}

/// Negative numbers become 0.
pub fn relu(input: Tensor<2>) -> Tensor<2> {
    burn::tensor::activation::relu(input)
}
