//! Pooling over a whole feature map.

use burn::tensor::Tensor;

use crate::op::{self, GlobalPool};

/// How a feature map `[images, channels, height, width]` becomes one vector an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pool {
    /// The mean of every channel: `[images, channels]`.
    Average,
    /// The maximum of every channel, then the mean of every channel: `[images, 2 · channels]` (fastai's order).
    MaximumAndAverage,
}

impl Pool {
    /// Pools a batch.
    pub fn forward(self, input: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Average => op::pool(input, GlobalPool::Average),
            Self::MaximumAndAverage => op::pool(input, GlobalPool::MaximumAndAverage),
        }
    }
}
