//! The sequence of stages that MobileNet and EfficientNet share.

use burn::module::Module;
use burn::tensor::Tensor;

use super::feature_number;
use crate::layer::{ConvBnAct, InvertedResidual};
use crate::{Backbone, Head, Pass};

/// A stem, stages of inverted residuals, and a last 1×1 convolution; stem and convolution are stages too.
#[derive(Module, Debug)]
pub struct StagedBackbone {
    pub(super) stem: ConvBnAct,
    pub(super) stages: Vec<Vec<InvertedResidual>>,
    pub(super) last: ConvBnAct,
    /// Channels of the last convolution.
    #[module(skip)]
    pub(super) channels: usize,
    /// The first stage of the second layer group.
    #[module(skip)]
    pub(super) group_boundary: usize,
    #[module(skip)]
    pub(super) names: StageNames,
}

/// Whose tensor names the stages have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageNames {
    /// Stage n is `features.n`.
    Torchvision,
    /// `conv_stem` and `bn1`, then `blocks.n`, then `conv_head` and `bn2`.
    Timm,
}

impl Backbone for StagedBackbone {
    type Head = Head;

    fn stages(&self) -> usize {
        self.stages.len() + 2
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match stage {
            0 => self.stem.forward(input, None, pass),
            stage if stage <= self.stages.len() => {
                self.stages[stage - 1].iter().fold(input, |x, block| block.forward(x, pass))
            }
            _ => self.last.forward(input, None, pass),
        }
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn group_boundary(&self) -> usize {
        self.group_boundary
    }

    fn stage_of(&self, tensor: &str) -> usize {
        let mut parts = tensor.split('.');
        match (self.names, parts.next(), parts.next().and_then(|number| number.parse::<usize>().ok())) {
            (StageNames::Torchvision, ..) => feature_number(tensor),
            (StageNames::Timm, Some("conv_stem" | "bn1"), _) => 0,
            (StageNames::Timm, Some("blocks"), Some(number)) => number + 1,
            (StageNames::Timm, ..) => self.stages.len() + 1,
        }
    }
}
