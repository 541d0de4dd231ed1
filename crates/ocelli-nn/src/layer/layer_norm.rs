//! Layer normalisation (Ba et al. 2016, <https://arxiv.org/abs/1607.06450>).

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::builder::Initial;
use crate::{Builder, Pass, op};

/// Normalises the channels of every pixel to mean 0 and variance 1, then scales and shifts them.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

/// What is added to the variance, in all networks here.
const EPSILON: f64 = 1e-6;

impl LayerNorm {
    /// A norm over `channels` channels.
    pub fn new(builder: &Builder, channels: usize) -> Self {
        Self {
            weight: builder.parameter("weight", [channels], Initial::Constant(1.0)),
            bias: builder.parameter("bias", [channels], Initial::Constant(0.0)),
        }
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.weight.dims()[0]
    }

    /// Normalises `[images, channels]`, each image's channels together.
    pub fn forward(&self, input: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let [images, channels] = input.dims();
        self.forward_maps(input.reshape([images, channels, 1, 1]), pass).reshape([images, channels])
    }

    /// Normalises `[images, channels, height, width]`, each pixel's channels together.
    pub fn forward_maps(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        op::layer_norm(input, pass.value(&self.weight), pass.value(&self.bias), EPSILON)
    }
}
