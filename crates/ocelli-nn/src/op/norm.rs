//! Batch norm: statistics, and normalise + residual + activation in one operation.

use burn::tensor::Tensor;

use super::{Activation, RunningNorm, composed, flex, has_kernels};

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
    /// A factor and a shift (0 where there is none) without any norm, for the channels of `maps`.
    pub fn constant(factor: f64, bias: Option<Tensor<1>>, maps: &Tensor<4>) -> Self {
        let [_, channels, _, _] = maps.dims();
        let zeros = Tensor::zeros([channels], &maps.device().inner());
        let ones = zeros.clone().add_scalar(1.0);
        Self {
            weight: zeros.clone().add_scalar(factor),
            bias: bias.unwrap_or_else(|| zeros.clone()),
            mean: zeros,
            variance: ones,
            epsilon: 0.0,
            from_batch: false,
        }
    }

    /// The same numbers without autodiff.
    pub fn inner(self) -> Self {
        Self { weight: self.weight.inner(), bias: self.bias.inner(), ..self }
    }
}

impl From<RunningNorm> for NormScale {
    fn from(norm: RunningNorm) -> Self {
        let RunningNorm { weight, bias, mean, variance, epsilon } = norm;
        Self { weight, bias, mean, variance, epsilon, from_batch: false }
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
