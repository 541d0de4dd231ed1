//! The networks, one file each: from block to whole network, then the architectures that are published of it.
//!
//! A new architecture of a family is one entry at the end of the family's file. A new family is its file, and
//! here its `mod`, its `pub use` and its line in `families!`.

use burn::module::Module;
use burn::tensor::Tensor;

mod convnext;
mod densenet;
mod efficientnet;
mod efficientnet_lite;
mod inception;
mod inception_resnet_v2;
mod inception_v4;
mod mobilenet_v2;
mod mobilenet_v3;
mod resnet;
mod staged;
mod vgg;
mod vision_transformer;

pub use convnext::{ConvNext, ConvNextNames, ConvNextVariant};
pub use densenet::{DenseNet, DenseNetVariant};
pub use efficientnet::efficientnet_b0;
pub use efficientnet_lite::{LiteVariant, efficientnet_lite};
pub use inception_resnet_v2::InceptionResNetV2;
pub use inception_v4::InceptionV4;
pub use mobilenet_v2::mobilenet_v2;
pub use mobilenet_v3::mobilenet_v3_large;
pub use resnet::{BlockKind, ResNet, ResNetVariant};
pub use staged::StagedBackbone;
pub use vgg::Vgg;
pub use vision_transformer::{VisionTransformer, VisionTransformerVariant};

use crate::layer::Pool;
use crate::{Arch, Backbone, Head, Pass};

/// Lists the types of backbones, and of each the families' files that build it.
macro_rules! families {
    ($($Backbone:ident: $($family:ident),+;)+) => {
        /// A backbone of the registry.
        #[derive(Module, Debug)]
        #[allow(missing_docs, clippy::large_enum_variant)] // the names say it; one value a network
        #[non_exhaustive]
        pub enum AnyBackbone {
            $($Backbone($Backbone),)+
        }

        $(impl From<$Backbone> for AnyBackbone {
            fn from(backbone: $Backbone) -> Self {
                Self::$Backbone(backbone)
            }
        })+

        impl Backbone for AnyBackbone {
            type Head = Head;

            fn stages(&self) -> usize {
                match self { $(Self::$Backbone(backbone) => backbone.stages(),)+ }
            }

            fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
                match self { $(Self::$Backbone(backbone) => backbone.forward_stage(stage, input, pass),)+ }
            }

            fn channels(&self) -> usize {
                match self { $(Self::$Backbone(backbone) => backbone.channels(),)+ }
            }

            fn pool(&self) -> Pool {
                match self { $(Self::$Backbone(backbone) => backbone.pool(),)+ }
            }

            fn takes_any_precision(&self) -> bool {
                true
            }

            fn group_boundary(&self) -> usize {
                match self { $(Self::$Backbone(backbone) => backbone.group_boundary(),)+ }
            }

            fn stage_of(&self, tensor: &str) -> usize {
                match self { $(Self::$Backbone(backbone) => backbone.stage_of(tensor),)+ }
            }
        }

        /// The architectures of each family.
        pub(crate) const FAMILIES: &[&[Arch]] = &[$($($family::ARCHS),+),+];
    };
}

families! {
    ResNet: resnet;
    Vgg: vgg;
    DenseNet: densenet;
    InceptionV4: inception_v4;
    InceptionResNetV2: inception_resnet_v2;
    StagedBackbone: mobilenet_v2, mobilenet_v3, efficientnet, efficientnet_lite;
    ConvNext: convnext;
    VisionTransformer: vision_transformer;
}

/// The `n` of a tensor `features.n.…`.
fn feature_number(tensor: &str) -> usize {
    let number = tensor.strip_prefix("features.").and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Channels rounded to a multiple of 8, down by at most a tenth (`_make_divisible` in torchvision and timm).
fn rounded_channels(channels: f64) -> usize {
    let nearest = (((channels + 4.0) / 8.0) as usize * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}
