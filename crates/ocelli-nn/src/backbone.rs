//! The interface of a backbone.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::layer::Pool;
use crate::{Classifier, Pass};

/// A network without its classifier, as a sequence of stages.
///
/// A stage is the unit of freezing and of caching: the stages before the first trained one can run in
/// inference mode and their output be cached. Stages fall into two layer groups at
/// [`group_boundary`](Backbone::group_boundary), which train at learning rates of their own; the head is the
/// third.
///
/// Any Burn module can be one. Its layers may be those of [`layer`](crate::layer), which run on the CPU
/// kernels and know what a [`Pass`] is, or Burn's own.
pub trait Backbone: Module + ModuleDisplay {
    /// Its head: [`Head`](crate::Head), or a custom module.
    type Head: Classifier;

    /// The number of stages.
    fn stages(&self) -> usize;

    /// Runs one stage: `[images, channels, height, width]` in and out, the first stage's input being the
    /// normalised images. Tokens are maps of one column: `[images, channels, tokens, 1]`.
    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4>;

    /// The number of channels that the last stage puts out.
    fn channels(&self) -> usize;

    /// How a new head pools the last stage's output.
    fn pool(&self) -> Pool {
        Pool::MaximumAndAverage
    }

    /// Whether stages take maps of any [`Precision`](crate::op::Precision): those made of the layers here do,
    /// Burn's own layers take f32 alone.
    fn takes_any_precision(&self) -> bool {
        false
    }

    /// The first stage of the second layer group.
    fn group_boundary(&self) -> usize;

    /// The stage that holds the tensor of that name, counted from 0. Names are those given by a
    /// [`Builder`](crate::Builder), or else the paths of fields, such as `blocks.0.conv.weight`.
    fn stage_of(&self, tensor: &str) -> usize;
}
