//! The networks, one file each, from block to whole.

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
mod vgg;
mod vision_transformer;

pub use convnext::{ConvNext, ConvNextNames, ConvNextVariant};
pub use densenet::{DenseNet, DenseNetVariant};
pub use efficientnet::EfficientNet;
pub use efficientnet_lite::{EfficientNetLite, LiteVariant};
pub use inception_resnet_v2::InceptionResNetV2;
pub use inception_v4::InceptionV4;
pub use mobilenet_v2::MobileNetV2;
pub use mobilenet_v3::MobileNetV3;
pub use resnet::{BlockKind, ResNet, ResNetVariant};
pub use vgg::Vgg;
pub use vision_transformer::{VisionTransformer, VisionTransformerVariant};

/// The number of the part that holds a tensor, in networks that are a row `features.0`, `features.1`, ….
fn feature_number(tensor: &str) -> usize {
    let number = tensor.strip_prefix("features.").and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Channels as the papers on small networks round them: to a multiple of 8, never by more than a tenth downwards.
fn rounded_channels(channels: f64) -> usize {
    let nearest = (((channels + 4.0) / 8.0) as usize * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}
