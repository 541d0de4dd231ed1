//! The layers that networks are made of.

mod batch_norm;
mod conv_bn_act;
mod dropout;
mod linear;
mod pool;

pub use batch_norm::BatchNorm;
pub use conv_bn_act::{Conv, ConvBnAct};
pub use dropout::Dropout;
pub use linear::Linear;
pub use pool::Pool;
