//! Squeeze and excitation (Hu et al. 2018, <https://arxiv.org/abs/1709.01507>).

use burn::module::Module;
use burn::tensor::Tensor;

use super::{ConvAct, ConvSpec};
use crate::op::{self, Activation, GlobalPool};
use crate::{Builder, Pass};

/// Multiplies every channel by a factor from 0 to 1 that two small layers make of all channels' means.
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    squeeze: ConvAct,
    excite: ConvAct,
    #[module(skip)]
    gate: Gate,
}

/// The function that makes a factor from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gate {
    /// `1 / (1 + exp(−u))`
    Sigmoid,
    /// `min(max(u + 3, 0), 6) / 6`
    HardSigmoid,
}

impl SqueezeExcite {
    /// Layers `fc1`, to `squeezed` channels, and `fc2`, with an activation between them.
    pub fn new(builder: &Builder, channels: usize, squeezed: usize, between: Activation, gate: Gate) -> Self {
        Self {
            squeeze: ConvAct::new(&builder.at("fc1"), ConvSpec::new(channels, squeezed, 1), between),
            excite: ConvAct::new(&builder.at("fc2"), ConvSpec::new(squeezed, channels, 1), Activation::None),
            gate,
        }
    }

    /// `[images, channels, height, width]` in and out.
    pub fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let [images, channels, _, _] = input.dims();
        let means = op::global_pool(input.clone(), GlobalPool::Average).reshape([images, channels, 1, 1]);
        let factors = self.excite.forward(self.squeeze.forward(means, None, pass), None, pass);
        let factors = match self.gate {
            Gate::Sigmoid => op::sigmoid(factors),
            Gate::HardSigmoid => op::hard_sigmoid(factors),
        };
        op::scale_channels(input, factors.reshape([images, channels]))
    }
}
