//! What one forward pass does where training and use differ.

use std::cell::RefCell;

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;

/// How a network runs forward. A pass is created for one call of `forward` and changes no parameter: what
/// training learns about statistics is collected in the [`Training`] value and applied by the caller.
#[derive(Debug)]
pub enum Pass {
    /// The network as it is used: running statistics folded into the convolutions, no dropout, no autodiff.
    Inference,
    /// The network as it is trained.
    Training(Training),
}

/// The state of one training pass.
#[derive(Debug)]
pub struct Training {
    /// What the batch norms of the backbone normalise by.
    pub statistics: Statistics,
    /// What the batch norms of the head normalise by.
    pub head_statistics: Statistics,
    /// The key from which dropout masks are drawn, a pure function of it, the layer and the element; without one
    /// nothing is dropped.
    pub dropout_key: Option<u64>,
    /// Batch statistics seen on the way, in the order of the layers.
    pub seen: RefCell<Vec<SeenStatistics>>,
}

/// What batch norms normalise by while they train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// Mean and variance of the batch; the running ones follow them.
    Batch,
    /// The running mean and variance, which stay as they are.
    Running,
}

/// Mean and variance that one batch norm saw in one batch.
#[derive(Debug, Clone)]
pub struct SeenStatistics {
    /// The parameter that holds the running mean, and the batch's mean, shape `[channels]`.
    pub mean: (ParamId, Tensor<1>),
    /// The parameter that holds the running variance, and the batch's unbiased variance, shape `[channels]`.
    pub variance: (ParamId, Tensor<1>),
    /// The share of the new value in the running one, 0 to 1.
    pub momentum: f64,
}

impl Pass {
    /// A training pass whose dropout masks are drawn from `dropout_key`. A head's norms take the batch's statistics,
    /// which is what they learn with.
    pub fn training(statistics: Statistics, dropout_key: u64) -> Self {
        Self::Training(Training {
            statistics,
            head_statistics: Statistics::Batch,
            dropout_key: Some(dropout_key),
            seen: RefCell::default(),
        })
    }

    /// The numbers of [`Inference`](Self::Inference), with autodiff: gradients of what the network says as it is used.
    pub fn differentiable() -> Self {
        Self::Training(Training {
            statistics: Statistics::Running,
            head_statistics: Statistics::Running,
            dropout_key: None,
            seen: RefCell::default(),
        })
    }

    /// A parameter's value: with autodiff in training, without in inference.
    pub fn value<const D: usize>(&self, parameter: &Param<Tensor<D>>) -> Tensor<D> {
        match self {
            Self::Inference => parameter.val().inner(),
            Self::Training(_) => parameter.val(),
        }
    }

    /// The batch statistics seen in a training pass; none in an inference pass.
    pub fn into_seen(self) -> Vec<SeenStatistics> {
        match self {
            Self::Training(training) => training.seen.into_inner(),
            Self::Inference => Vec::new(),
        }
    }
}
