//! Several convolutions in a row, without norms by batch statistics between them (those of an inverted
//! residual block): what lies between them stays in the cache of a core.
//!
//! In inference each core takes some images, or a band of rows of one image, through all of the convolutions;
//! rows above and below a band that a kernel reaches into are computed twice. In training, where the feature
//! maps are kept, it takes whole images, forward and backward; then the gradients stay in the cache.
//!
//! | module | |
//! |---|---|
//! | `inference` | the forward pass that keeps nothing |
//! | `training` | the forward pass that keeps feature maps, and the backward pass |

mod inference;
mod training;

use super::PackedConv2d;
use crate::{activation::Activation, element::Element, shape::Conv2dShape};
pub use inference::fused_block;
use std::ops::Range;
pub use training::{
    StageGradients, fused_block_backward, fused_block_with_feature_maps, has_fused_block_backward,
};

/// One convolution of a fused block, and what follows it.
#[derive(Debug)]
pub struct FusedStage<'a, T: Element> {
    /// Weights and bias.
    pub conv: &'a PackedConv2d<T>,
    /// Its input is the output of the stage before.
    pub shape: Conv2dShape,
    /// Applied to its output.
    pub activation: Activation,
}

impl<T: Element> Clone for FusedStage<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Element> Copy for FusedStage<'_, T> {}

#[track_caller]
fn check<T: Element>(stages: &[FusedStage<'_, T>], residual: bool) {
    for stage in stages {
        stage.conv.check_filter(&stage.shape);
    }
    for pair in stages.windows(2) {
        let (from, to) = (&pair[0].shape, &pair[1].shape);
        let out = [from.batch, from.out_height(), from.out_width(), from.out_channels];
        let input = [to.batch, to.in_height, to.in_width, to.in_channels];
        assert_eq!(out, input, "one stage's output is the next's input");
    }
    if residual {
        let (first, last) = (&stages[0].shape, &stages[stages.len() - 1].shape);
        let output = [last.out_height(), last.out_width(), last.out_channels];
        let input = [first.in_height, first.in_width, first.in_channels];
        assert_eq!(output, input, "the residual has the output's shape");
    }
}

/// The bytes of a core's cache that the maps on both sides of a convolution may take.
const CACHE_BYTES: usize = 768 * 1024;

/// The bytes of an image's maps on both sides of a convolution, for the convolution where they are largest.
fn image_bytes<'a, T: Element>(shapes: impl Iterator<Item = &'a Conv2dShape>) -> usize {
    let bytes =
        |shape: &Conv2dShape| (shape.input_len() + shape.output_len()) / shape.batch.max(1) * size_of::<T>();
    shapes.map(bytes).max().unwrap_or(0).max(1)
}

/// Images in pieces of `len`.
fn split_images(images: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let (end, len) = (images.end, len.max(1));
    images.step_by(len).map(move |start| start..(start + len).min(end))
}
