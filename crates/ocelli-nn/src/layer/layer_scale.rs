//! Layer scale (Touvron et al. 2021, <https://arxiv.org/abs/2103.17239>): a learned factor for every channel
//! of a branch.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::ConvAct;
use crate::builder::Initial;
use crate::{Builder, Pass};

/// A factor for each channel of what the last convolution of a branch gives, before the residual is added.
#[derive(Module, Debug)]
pub enum LayerScale {
    /// As timm stores it: `[channels]`.
    Vector(Param<Tensor<1>>),
    /// As torchvision stores it: `[channels, 1, 1]`.
    Maps(Param<Tensor<3>>),
}

/// What factors begin with.
const FIRST: Initial = Initial::Constant(1e-6);

impl LayerScale {
    /// The parameter `name` of shape `[channels]`.
    pub fn vector(builder: &Builder, name: &str, channels: usize) -> Self {
        Self::Vector(builder.parameter(name, [channels], FIRST))
    }

    /// The parameter `name` of shape `[channels, 1, 1]`.
    pub fn maps(builder: &Builder, name: &str, channels: usize) -> Self {
        Self::Maps(builder.parameter(name, [channels, 1, 1], FIRST))
    }

    /// `factor · branch(input) + residual`: `[images, channels, height, width]`.
    pub fn forward(&self, branch: &ConvAct, input: Tensor<4>, residual: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let factors = match self {
            Self::Vector(factors) => pass.value(factors),
            Self::Maps(factors) => pass.value(factors).flatten(0, 2),
        };
        branch.forward_scaled(input, factors, residual, pass)
    }
}
