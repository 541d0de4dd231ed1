//! What a network must offer to be trained as a backbone.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::Pass;
use crate::model::EfficientNetLite;

/// A network without its classifier, as a row of stages.
///
/// A stage is the unit of freezing and of caching: stages before a border can run in inference mode and their
/// output be kept. Stages fall into two layer groups at [`group_border`](Backbone::group_border), which train
/// at learning rates of their own; the head is the third.
pub trait Backbone: Module + ModuleDisplay {
    /// The number of stages.
    fn stages(&self) -> usize;

    /// Runs one stage: `[images, channels, height, width]` in and out, the first stage's input being the
    /// normalised images.
    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4>;

    /// The number of channels that the last stage puts out.
    fn channels(&self) -> usize;

    /// The first stage of the second layer group.
    fn group_border(&self) -> usize;

    /// The stage that holds the tensor of that name, counted from 0.
    fn stage_of(&self, tensor: &str) -> usize;
}

/// A backbone of the registry.
#[derive(Module, Debug)]
pub enum Body {
    /// EfficientNet-Lite0 to Lite4.
    EfficientNetLite(EfficientNetLite),
}

impl Backbone for Body {
    fn stages(&self) -> usize {
        match self {
            Self::EfficientNetLite(body) => body.stages(),
        }
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match self {
            Self::EfficientNetLite(body) => body.forward_stage(stage, input, pass),
        }
    }

    fn channels(&self) -> usize {
        match self {
            Self::EfficientNetLite(body) => body.channels(),
        }
    }

    fn group_border(&self) -> usize {
        match self {
            Self::EfficientNetLite(body) => body.group_border(),
        }
    }

    fn stage_of(&self, tensor: &str) -> usize {
        match self {
            Self::EfficientNetLite(body) => body.stage_of(tensor),
        }
    }
}
