//! What a network must offer to be trained as a backbone.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::layer::Pool;
use crate::model::{
    ConvNext, DenseNet, EfficientNet, EfficientNetLite, InceptionResNetV2, InceptionV4, MobileNetV2,
    MobileNetV3, ResNet, Vgg, VisionTransformer,
};
use crate::{Classifier, Head, Pass};

/// A network without its classifier, as a row of stages.
///
/// A stage is the unit of freezing and of caching: stages before a border can run in inference mode and their
/// output be kept. Stages fall into two layer groups at [`group_border`](Backbone::group_border), which train
/// at learning rates of their own; the head is the third.
///
/// Any Burn module can be one. Its layers may be those of [`layer`](crate::layer), which run on the CPU kernels
/// and know what a [`Pass`] is, or Burn's own.
pub trait Backbone: Module + ModuleDisplay {
    /// What stands on it: [`Head`], or a module of the user's.
    type Head: Classifier;

    /// The number of stages.
    fn stages(&self) -> usize;

    /// Runs one stage: `[images, channels, height, width]` in and out, the first stage's input being the
    /// normalised images. Tokens are maps of one column: `[images, channels, tokens, 1]`.
    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4>;

    /// The number of channels that the last stage puts out.
    fn channels(&self) -> usize;

    /// How a new head pools the last stage's output.
    fn pool(&self) -> Pool {
        Pool::MaximumAndAverage
    }

    /// Whether stages take maps of any [`Precision`](crate::op::Precision): those made of the layers here do, Burn's
    /// own layers take f32 alone.
    fn takes_any_precision(&self) -> bool {
        false
    }

    /// The first stage of the second layer group.
    fn group_border(&self) -> usize;

    /// The stage that holds the tensor of that name, counted from 0. Names are those given by a
    /// [`Builder`](crate::Builder), or else the paths of fields, such as `blocks.0.conv.weight`.
    fn stage_of(&self, tensor: &str) -> usize;
}

/// A backbone of the registry.
#[derive(Module, Debug)]
#[allow(missing_docs, clippy::large_enum_variant)] // the names say it; one value a network
pub enum Body {
    ResNet(ResNet),
    Vgg(Vgg),
    DenseNet(DenseNet),
    InceptionV4(InceptionV4),
    InceptionResNetV2(InceptionResNetV2),
    MobileNetV2(MobileNetV2),
    MobileNetV3(MobileNetV3),
    EfficientNet(EfficientNet),
    EfficientNetLite(EfficientNetLite),
    ConvNext(ConvNext),
    VisionTransformer(VisionTransformer),
}

/// The same expression for whichever network it is.
macro_rules! of_body {
    ($self:ident, $body:ident => $result:expr) => {
        match $self {
            Self::ResNet($body) => $result,
            Self::Vgg($body) => $result,
            Self::DenseNet($body) => $result,
            Self::InceptionV4($body) => $result,
            Self::InceptionResNetV2($body) => $result,
            Self::MobileNetV2($body) => $result,
            Self::MobileNetV3($body) => $result,
            Self::EfficientNet($body) => $result,
            Self::EfficientNetLite($body) => $result,
            Self::ConvNext($body) => $result,
            Self::VisionTransformer($body) => $result,
        }
    };
}

impl Backbone for Body {
    type Head = Head;

    fn stages(&self) -> usize {
        of_body!(self, body => body.stages())
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        of_body!(self, body => body.forward_stage(stage, input, pass))
    }

    fn channels(&self) -> usize {
        of_body!(self, body => body.channels())
    }

    fn pool(&self) -> Pool {
        of_body!(self, body => body.pool())
    }

    fn takes_any_precision(&self) -> bool {
        true
    }

    fn group_border(&self) -> usize {
        of_body!(self, body => body.group_border())
    }

    fn stage_of(&self, tensor: &str) -> usize {
        of_body!(self, body => body.stage_of(tensor))
    }
}
