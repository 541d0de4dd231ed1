//! Inverted residuals (Sandler et al. 2018, <https://arxiv.org/abs/1801.04381>).

use burn::module::Module;
use burn::tensor::Tensor;

use super::{ConvBnAct, SqueezeExcite};
use crate::{Pass, Statistics, op};

/// 1×1 expansion (absent where the block is not wider inside), depthwise convolution, squeeze and excitation
/// in some networks, linear 1×1 projection. Networks differ in kernels, activations and names, so that each
/// builds its own.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    /// To the channels inside.
    pub expand: Option<ConvBnAct>,
    /// Over each of these channels.
    pub depthwise: ConvBnAct,
    /// What weighs them.
    pub squeeze: Option<SqueezeExcite>,
    /// To the block's own channels, without an activation.
    pub project: ConvBnAct,
    /// Whether the input is added to the output, which then has its shape.
    #[module(skip)]
    pub residual: bool,
}

impl InvertedResidual {
    /// `[images, channels, height, width]` in and out.
    pub fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        if self.squeeze.is_none() {
            let layers = self.expand.iter().chain([&self.depthwise, &self.project]);
            match pass {
                Pass::Infer => {
                    return op::fused_block(
                        input.inner(),
                        layers.map(ConvBnAct::fused_stage).collect(),
                        self.residual,
                    );
                }
                Pass::Train(training) if training.statistics == Statistics::Running => {
                    if let Some(stages) = layers.map(ConvBnAct::trainable_stage).collect() {
                        return op::trainable_block(input, stages, self.residual);
                    }
                }
                Pass::Train(_) => {}
            }
        }
        let residual = self.residual.then(|| input.clone());
        let x = match &self.expand {
            Some(expand) => expand.forward(input, None, pass),
            None => input,
        };
        let x = self.depthwise.forward(x, None, pass);
        let x = match &self.squeeze {
            Some(squeeze) => squeeze.forward(x, pass),
            None => x,
        };
        self.project.forward(x, residual, pass)
    }
}
