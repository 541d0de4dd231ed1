//! Batch normalisation (Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>).

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::builder::Initial;
use crate::op::{self, Activation};
use crate::pass::{BatchStats, Statistics, TrainPass};
use crate::{Builder, Pass};

/// Normalises every channel to mean 0 and variance 1, then scales and shifts it.
///
/// In training by the batch's statistics or the running ones, as the pass says; in inference by the running
/// ones. The running statistics are parameters that no gradient reaches; the caller updates them with the
/// [`batch_stats`](crate::TrainPass::batch_stats) of the pass.
#[derive(Module, Debug)]
pub struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

/// The weight of a new batch in the running statistics (PyTorch's default).
const MOMENTUM: f64 = 0.1;

impl BatchNorm {
    /// A norm over `channels` channels; `epsilon` is added to the variance.
    pub fn new(builder: &Builder, channels: usize, epsilon: f64) -> Self {
        let vector = |name, value| builder.parameter(name, [channels], Initial::Constant(value));
        Self {
            weight: vector("weight", 1.0),
            bias: vector("bias", 0.0),
            running_mean: vector("running_mean", 0.0),
            running_var: vector("running_var", 1.0),
            epsilon,
        }
    }

    /// Normalises a head's `[images, channels]`; in training by the statistics that the pass says for heads.
    pub fn forward(&self, input: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let [images, channels] = input.dims();
        let input = input.reshape([images, channels, 1, 1]);
        let statistics = match pass {
            Pass::Train(training) => training.head_statistics,
            Pass::Infer => Statistics::Running,
        };
        self.normalise(input, None, Activation::None, pass, statistics).reshape([images, channels])
    }

    /// Normalises `[images, channels, height, width]`, adds the residual, then applies the activation; in
    /// training by the statistics that the pass says.
    pub fn forward_maps(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
        pass: &Pass,
    ) -> Tensor<4> {
        let statistics = match pass {
            Pass::Train(training) => training.statistics,
            Pass::Infer => Statistics::Running,
        };
        self.normalise(input, residual, activation, pass, statistics)
    }

    /// As [`forward_maps`](Self::forward_maps) by the given statistics of the batch, mean and biased
    /// variance.
    pub(super) fn forward_with_stats(
        &self,
        input: Tensor<4>,
        (mean, variance): (Tensor<1>, Tensor<1>),
        residual: Option<Tensor<4>>,
        activation: Activation,
        training: &TrainPass,
    ) -> Tensor<4> {
        let count = (input.shape().num_elements() / self.channels()) as f64;
        // PyTorch normalises by the biased variance and updates the running one with the unbiased.
        let unbiased = variance.clone().mul_scalar(count / (count - 1.0).max(1.0));
        training.batch_stats.borrow_mut().push(BatchStats {
            mean: (self.running_mean.id, mean.clone()),
            variance: (self.running_var.id, unbiased),
            momentum: MOMENTUM,
        });
        op::batch_norm(input, self.affine(mean, variance, true), residual, activation)
    }

    fn normalise(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
        pass: &Pass,
        statistics: Statistics,
    ) -> Tensor<4> {
        if let (Pass::Train(training), Statistics::Batch) = (pass, statistics) {
            let stats = op::batch_statistics(input.clone().inner());
            return self.forward_with_stats(input, stats, residual, activation, training);
        }
        let norm = self.affine_by_running();
        match pass {
            Pass::Infer => op::batch_norm(input.inner(), norm.inner(), residual, activation),
            Pass::Train(_) => op::batch_norm(input, norm, residual, activation),
        }
    }

    /// The norm in training by its running statistics.
    pub(super) fn affine_by_running(&self) -> op::AffineNorm {
        self.affine(self.running_mean.val().inner(), self.running_var.val().inner(), false)
    }

    fn affine(&self, mean: Tensor<1>, variance: Tensor<1>, from_batch: bool) -> op::AffineNorm {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        op::AffineNorm { weight, bias, mean, variance, epsilon: self.epsilon, from_batch }
    }

    /// The norm in inference, without autodiff.
    pub(super) fn folded(&self) -> op::FoldedNorm {
        op::FoldedNorm {
            weight: self.weight.val().inner(),
            bias: self.bias.val().inner(),
            mean: self.running_mean.val().inner(),
            variance: self.running_var.val().inner(),
            epsilon: self.epsilon,
        }
    }

    fn channels(&self) -> usize {
        self.weight.dims()[0]
    }
}
