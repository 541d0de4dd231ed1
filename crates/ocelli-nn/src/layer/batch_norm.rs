//! Batch normalisation (Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>).

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::builder::Initial;
use crate::op::{self, Activation};
use crate::pass::{SeenStatistics, Statistics};
use crate::{Builder, Pass};

/// Normalises every channel to mean 0 and variance 1, then scales and shifts it.
///
/// In training by the batch's statistics or the running ones, as the pass says; in inference by the running
/// ones. The running statistics are parameters that no gradient reaches; the trainer moves them by what the
/// pass has [`seen`](crate::Training::seen).
#[derive(Module, Debug)]
pub struct BatchNorm {
    pub(super) weight: Param<Tensor<1>>,
    pub(super) bias: Param<Tensor<1>>,
    pub(super) running_mean: Param<Tensor<1>>,
    pub(super) running_var: Param<Tensor<1>>,
    #[module(skip)]
    pub(super) epsilon: f64,
}

/// The share of a new batch in the running statistics (PyTorch's default).
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

    /// Normalises `[images, channels]`: in training always by the batch's statistics, which is what a head's
    /// norms learn with.
    pub fn forward(&self, input: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let [images, channels] = input.dims();
        let input = input.reshape([images, channels, 1, 1]);
        self.normalise(input, None, Activation::None, pass, Statistics::Batch).reshape([images, channels])
    }

    /// Normalises `[images, channels, height, width]`, adds the residual, then applies the activation; in training
    /// by the statistics that the pass says.
    pub(super) fn forward_maps(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
        pass: &Pass,
    ) -> Tensor<4> {
        let statistics = match pass {
            Pass::Training(training) => training.statistics,
            Pass::Inference => Statistics::Running,
        };
        self.normalise(input, residual, activation, pass, statistics)
    }

    fn normalise(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
        pass: &Pass,
        statistics: Statistics,
    ) -> Tensor<4> {
        let running = || (self.running_mean.val().inner(), self.running_var.val().inner());
        let ((mean, variance), from_batch) = match pass {
            Pass::Training(training) if statistics == Statistics::Batch => {
                let (mean, variance) = op::batch_statistics(input.clone().inner());
                let count = (input.shape().num_elements() / self.channels()) as f64;
                // PyTorch normalises by the biased variance and remembers the unbiased one.
                let unbiased = variance.clone().mul_scalar(count / (count - 1.0).max(1.0));
                training.seen.borrow_mut().push(SeenStatistics {
                    mean: (self.running_mean.id, mean.clone()),
                    variance: (self.running_var.id, unbiased),
                    momentum: MOMENTUM,
                });
                ((mean, variance), true)
            }
            _ => (running(), false),
        };
        let scale = op::NormScale {
            weight: self.weight.val(),
            bias: self.bias.val(),
            mean,
            variance,
            epsilon: self.epsilon,
            from_batch,
        };
        match pass {
            Pass::Inference => op::batch_norm(input.inner(), scale.inner(), residual, activation),
            Pass::Training(_) => op::batch_norm(input, scale, residual, activation),
        }
    }

    pub(super) fn channels(&self) -> usize {
        self.weight.dims()[0]
    }
}
