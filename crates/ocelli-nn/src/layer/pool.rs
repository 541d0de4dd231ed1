//! Pooling of whole maps.

use burn::tensor::{DType, Tensor, module};

use crate::op::{self, GlobalPool};

/// How the last stage's output becomes one vector an image, in f32, which a classifier takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pool {
    /// The mean of every channel: `[images, channels]`.
    Average,
    /// The maximum of every channel, then the mean of every channel: `[images, 2 · channels]` (fastai's
    /// order).
    MaximumAndAverage,
    /// The means of a grid of this many rows and columns, channel by channel: `[images, channels · grid²]`.
    Grid(usize),
    /// Of tokens `[images, channels, tokens, 1]` the first: `[images, channels]`.
    ClassToken,
    /// The first token, then the mean of the others: `[images, 2 · channels]`.
    ClassTokenAndAverage,
}

impl Pool {
    /// Pools a batch `[images, channels, height, width]`.
    pub fn forward(self, input: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Average => op::global_pool(input, GlobalPool::Average),
            Self::MaximumAndAverage => op::global_pool(input, GlobalPool::MaximumAndAverage),
            Self::Grid(side) => module::adaptive_avg_pool2d(input.cast(DType::F32), [side; 2]).flatten(1, 3),
            Self::ClassToken => input.narrow(2, 0, 1).cast(DType::F32).flatten(1, 3),
            Self::ClassTokenAndAverage => {
                let others = input.dims()[2] - 1;
                let average = op::global_pool(input.clone().narrow(2, 1, others), GlobalPool::Average);
                Tensor::cat(vec![Self::ClassToken.forward(input), average], 1)
            }
        }
    }

    /// The number of features of an image with this many channels.
    pub fn features(self, channels: usize) -> usize {
        match self {
            Self::Average | Self::ClassToken => channels,
            Self::MaximumAndAverage | Self::ClassTokenAndAverage => 2 * channels,
            Self::Grid(side) => channels * side * side,
        }
    }
}
