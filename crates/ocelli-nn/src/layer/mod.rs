//! The layers that networks are made of.

mod attention;
mod batch_norm;
mod conv;
mod conv_bn_act;
mod dropout;
mod inverted_residual;
mod layer_norm;
mod layer_scale;
mod linear;
mod pool;
mod squeeze_excite;

use burn::tensor::Tensor;

pub use attention::Attention;
pub use batch_norm::BatchNorm;
pub use conv::{ConvAct, ConvSpec};
pub use conv_bn_act::ConvBnAct;
pub use dropout::Dropout;
pub use inverted_residual::InvertedResidual;
pub use layer_norm::LayerNorm;
pub use layer_scale::LayerScale;
pub use linear::Linear;
pub use pool::Pool;
pub use squeeze_excite::{Gate, SqueezeExcite};

/// Maps as `[images, height, width, channels]`, as they lie in memory.
pub fn channels_last(maps: Tensor<4>) -> Tensor<4> {
    maps.permute([0, 2, 3, 1])
}

/// `[images, height, width, channels]` as maps.
pub fn channels_first(pixels: Tensor<4>) -> Tensor<4> {
    pixels.permute([0, 3, 1, 2])
}
