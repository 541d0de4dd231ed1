//! The networks, one file each, from block to whole.

mod efficientnet_lite;

pub use efficientnet_lite::{EfficientNetLite, LiteVariant};
