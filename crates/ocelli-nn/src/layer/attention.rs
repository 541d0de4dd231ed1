//! Multi-head self-attention (Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>).

use burn::module::Module;
use burn::tensor::Tensor;

use super::ConvAct;
use crate::op::{self, Activation};
use crate::{Builder, Pass};

/// Multi-head self-attention over all tokens.
#[derive(Module, Debug)]
pub struct Attention {
    qkv: ConvAct,
    output: ConvAct,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    /// Attention over tokens of `channels` features, which `heads` divides; layers `qkv` and `proj`.
    pub fn new(builder: &Builder, channels: usize, heads: usize) -> Self {
        assert_eq!(channels % heads, 0, "heads share the channels evenly");
        let linear = |name, outputs| ConvAct::linear(&builder.at(name), channels, outputs, Activation::None);
        Self { qkv: linear("qkv", 3 * channels), output: linear("proj", channels), heads }
    }

    /// The attention output for the tokens of `input`, plus `residual`; all `[images, channels, tokens, 1]`.
    pub fn forward(&self, input: Tensor<4>, residual: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let mixed = op::attention(self.qkv.forward(input, None, pass), self.heads);
        self.output.forward(mixed, Some(residual), pass)
    }
}
