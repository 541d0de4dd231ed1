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
