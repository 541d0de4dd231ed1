//! Multi-head self-attention (Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>).

use burn::module::Module;
use burn::tensor::{Tensor, activation};

use super::Linear;
use crate::{Builder, Pass};

/// Every token asks all tokens, in several heads side by side.
#[derive(Module, Debug)]
pub struct Attention {
    qkv: Linear,
    output: Linear,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    /// Attention over tokens of `channels` numbers, which `heads` divides; layers `qkv` and `proj`.
    pub fn new(builder: &Builder, channels: usize, heads: usize) -> Self {
        assert_eq!(channels % heads, 0, "heads share the channels evenly");
        Self {
            qkv: Linear::new(&builder.at("qkv"), channels, 3 * channels),
            output: Linear::new(&builder.at("proj"), channels, channels),
            heads,
        }
    }

    /// `[images, tokens, channels]` in and out.
    pub fn forward(&self, input: Tensor<3>, pass: &Pass) -> Tensor<3> {
        let [images, tokens, channels] = input.dims();
        let width = channels / self.heads;
        let qkv = self.qkv.forward_tokens(input, pass);
        let [query, key, value] = [0, 1, 2].map(|part| {
            let part = qkv.clone().narrow(2, part * channels, channels);
            part.reshape([images, tokens, self.heads, width]).swap_dims(1, 2)
        });
        let scores = query.mul_scalar((width as f64).powf(-0.5)).matmul(key.swap_dims(2, 3));
        let mixed = activation::softmax(scores, 3).matmul(value); // [images, heads, tokens, width]
        self.output.forward_tokens(mixed.swap_dims(1, 2).reshape([images, tokens, channels]), pass)
    }
}
