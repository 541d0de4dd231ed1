//! What a forward pass does where training and inference differ.

use std::cell::RefCell;

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;

/// The mode of a forward pass. It is created for one call of `forward`, which changes no parameter: batch
/// statistics are collected in the [`TrainPass`], and the caller updates the running ones.
#[derive(Debug)]
pub enum Pass {
    /// Inference: running statistics folded into the convolutions, no dropout, no autodiff.
    Infer,
    /// Training.
    Train(TrainPass),
}

/// The state of one training pass.
#[derive(Debug)]
#[non_exhaustive]
pub struct TrainPass {
    /// What the batch norms of the backbone normalise by.
    pub statistics: Statistics,
    /// What the batch norms of the head normalise by.
    pub head_statistics: Statistics,
    /// The key from which dropout masks are drawn, a pure function of it, the layer and the element; without
    /// one nothing is dropped.
    pub dropout_key: Option<u64>,
    /// The statistics of each batch norm, in the order of the layers.
    pub batch_stats: RefCell<Vec<BatchStats>>,
}

/// What batch norms normalise by while they train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// Mean and variance of the batch; the running ones follow them.
    Batch,
    /// The running mean and variance, which stay as they are.
    Running,
}

/// Mean and variance of one batch norm's input in one batch.
#[derive(Debug, Clone)]
pub struct BatchStats {
    /// The parameter that holds the running mean, and the batch's mean, shape `[channels]`.
    pub mean: (ParamId, Tensor<1>),
    /// The parameter that holds the running variance, and the batch's unbiased variance, shape `[channels]`.
    pub variance: (ParamId, Tensor<1>),
    /// The weight of the new value in the running one, 0 to 1.
    pub momentum: f64,
}

impl Pass {
    /// A training pass whose dropout masks are drawn from `dropout_key`. The norms of the head normalise by
    /// the batch.
    pub fn train(statistics: Statistics, dropout_key: u64) -> Self {
        Self::Train(TrainPass {
            statistics,
            head_statistics: Statistics::Batch,
            dropout_key: Some(dropout_key),
            batch_stats: RefCell::default(),
        })
    }

    /// The values of [`Infer`](Self::Infer), with autodiff: for gradients of a network in evaluation mode.
    pub fn differentiable() -> Self {
        Self::Train(TrainPass {
            statistics: Statistics::Running,
            head_statistics: Statistics::Running,
            dropout_key: None,
            batch_stats: RefCell::default(),
        })
    }

    /// A parameter's value: with autodiff in training, without in inference.
    pub fn value<const D: usize>(&self, parameter: &Param<Tensor<D>>) -> Tensor<D> {
        match self {
            Self::Infer => parameter.val().inner(),
            Self::Train(_) => parameter.val(),
        }
    }

    /// The batch statistics of a training pass; none in an inference pass.
    pub fn into_batch_stats(self) -> Vec<BatchStats> {
        match self {
            Self::Train(pass) => pass.batch_stats.into_inner(),
            Self::Infer => Vec::new(),
        }
    }
}
