//! Pooling of whole maps.

use burn::tensor::Tensor;

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
            Self::Grid(side) => op::adaptive_average_pool2d(input, side),
            Self::ClassToken => op::class_token(input),
            Self::ClassTokenAndAverage => {
                let average = op::global_pool(op::patch_tokens(input.clone()), GlobalPool::Average);
                op::concat_features(vec![op::class_token(input), average])
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
