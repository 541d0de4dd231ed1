//! Fully connected layers.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::builder::Initial;
use crate::{Builder, Pass, op};

/// `x · weightᵀ + bias`, the weight being `[outputs, inputs]` as PyTorch has it.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    /// A layer with Kaiming-normal weights and biases of 0.
    pub fn new(builder: &Builder, inputs: usize, outputs: usize) -> Self {
        Self {
            weight: builder.parameter("weight", [outputs, inputs], Initial::KaimingNormal { inputs }),
            bias: builder.parameter("bias", [outputs], Initial::Constant(0.0)),
        }
    }

    /// `[images, inputs]` to `[images, outputs]`.
    pub fn forward(&self, input: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let (weight, bias) = (pass.value(&self.weight), pass.value(&self.bias));
        match pass {
            Pass::Infer => op::linear(input.inner(), weight, bias),
            Pass::Train(_) => op::linear(input, weight, bias),
        }
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.weight.dims()[1]
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.bias.dims()[0]
    }
}
