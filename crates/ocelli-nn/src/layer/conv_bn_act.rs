//! The layer that carries the networks: convolution → batch norm → (+ residual) → activation.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{BatchNorm, ConvSpec};
use crate::op::{
    self, Activation, AffineNorm, ConvOptions, ConvTensors, FoldedConv, FusedStage, TrainableStage,
};
use crate::{Builder, Pass, Statistics};

/// Convolution, batch norm, optional residual, activation.
///
/// In inference the norm is folded into the convolution, whose packed form is cached until a parameter
/// changes.
#[derive(Module, Debug)]
pub struct ConvBnAct {
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
    norm: BatchNorm,
    #[module(skip)]
    options: ConvOptions,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    folded: FoldedConv,
}

impl ConvBnAct {
    /// A layer whose tensors are named `names[0].weight` (convolution) and `names[1].*` (norm); `epsilon` is
    /// the norm's.
    pub fn new(
        builder: &Builder,
        names: [&str; 2],
        conv: ConvSpec,
        epsilon: f64,
        activation: Activation,
    ) -> Self {
        Self {
            weight: conv.weight(&builder.at(names[0])),
            bias: None,
            norm: BatchNorm::new(&builder.at(names[1]), conv.outputs(), epsilon),
            options: conv.options,
            activation,
            folded: FoldedConv::default(),
        }
    }

    /// As [`new`](Self::new), with a bias between convolution and norm, `names[0].bias`, as the oldest
    /// networks have it.
    pub fn with_bias(
        builder: &Builder,
        names: [&str; 2],
        conv: ConvSpec,
        epsilon: f64,
        activation: Activation,
    ) -> Self {
        let bias = Some(conv.bias(&builder.at(names[0])));
        Self { bias, ..Self::new(builder, names, conv, epsilon, activation) }
    }

    /// `[images, channels, height, width]` in and out; the residual has the output's shape.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>, pass: &Pass) -> Tensor<4> {
        let training = match pass {
            Pass::Infer => {
                let FusedStage { folded, tensors, options, activation } = self.fused_stage();
                let residual = residual.map(Tensor::inner);
                return folded.forward(input.inner(), residual, tensors, options, activation);
            }
            Pass::Train(training) => training,
        };
        let weight = self.weight.val();
        match self.bias.as_ref().map(Param::val) {
            None if training.statistics == Statistics::Batch => {
                let (x, stats) = op::conv2d_with_statistics(input, weight, self.options);
                self.norm.forward_with_stats(x, stats, residual, self.activation, training)
            }
            bias => {
                let x = op::conv2d(input, weight, self.options);
                let x = match &bias {
                    Some(_) => {
                        op::batch_norm(x.clone(), AffineNorm::constant(1.0, bias, &x), None, Activation::None)
                    }
                    None => x,
                };
                self.norm.forward_maps(x, residual, self.activation, pass)
            }
        }
    }

    /// The layer in inference, as a stage of a fused block.
    pub(super) fn fused_stage(&self) -> FusedStage<'_> {
        let weight = Pass::Infer.value(&self.weight);
        let bias = self.bias.as_ref().map(|bias| Pass::Infer.value(bias));
        let tensors = ConvTensors { weight, bias, gain: 1.0, scale: None, norm: Some(self.norm.folded()) };
        FusedStage { folded: &self.folded, tensors, options: self.options, activation: self.activation }
    }

    /// The layer in training by running statistics, as a stage of a fused block; `None` for a layer with a
    /// bias.
    pub(super) fn trainable_stage(&self) -> Option<TrainableStage> {
        self.bias.is_none().then(|| TrainableStage {
            weight: self.weight.val(),
            options: self.options,
            norm: self.norm.affine_by_running(),
            activation: self.activation,
        })
    }
}
