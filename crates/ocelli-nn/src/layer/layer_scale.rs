//! Layer scale (Touvron et al. 2021, <https://arxiv.org/abs/2103.17239>): a learned factor for every channel of a
//! branch.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::builder::Initial;
use crate::op::{self, Activation, NormScale};
use crate::{Builder, Pass};

/// `factor · branch + residual`, a factor a channel.
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

    /// `[images, channels, height, width]` in and out.
    pub fn forward(&self, branch: Tensor<4>, residual: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let weight = match self {
            Self::Vector(factor) => pass.value(factor),
            Self::Maps(factor) => pass.value(factor).flatten(0, 2),
        };
        let scale = NormScale { weight, ..NormScale::constant(1.0, None, &branch) };
        op::batch_norm(branch, scale, Some(residual), Activation::None)
    }
}
