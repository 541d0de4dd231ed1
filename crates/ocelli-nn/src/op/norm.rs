//! Batch norm: statistics, and normalise + residual + activation in one operation.

use burn::tensor::Tensor;

use super::{Activation, composed, flex, has_kernels};

/// What a batch norm multiplies by and adds.
#[derive(Debug, Clone)]
pub struct NormScale {
    /// The factor, `[channels]`.
    pub weight: Tensor<1>,
    /// The shift, `[channels]`.
    pub bias: Tensor<1>,
    /// The mean to subtract, `[channels]`, without autodiff.
    pub mean: Tensor<1>,
    /// The biased variance to divide by, `[channels]`, without autodiff.
    pub variance: Tensor<1>,
    /// What is added to the variance.
    pub epsilon: f64,
    /// Whether mean and variance are those of the input, so that the gradient goes through them.
    pub from_batch: bool,
}

impl NormScale {
    /// The same numbers without autodiff.
    pub fn inner(self) -> Self {
        Self { weight: self.weight.inner(), bias: self.bias.inner(), ..self }
    }
}

/// Mean and biased variance of every channel of `[images, channels, height, width]`, which has no autodiff.
pub fn batch_statistics(input: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    if has_kernels(&input) { flex::batch_statistics(input) } else { composed::batch_statistics(input) }
}

/// `activation((input − mean) / √(variance + ε) · weight + bias + residual)`.
pub fn batch_norm(
    input: Tensor<4>,
    scale: NormScale,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    if has_kernels(&input) {
        flex::batch_norm(input, scale, residual, activation)
    } else {
        composed::batch_norm(input, scale, residual, activation)
    }
}
