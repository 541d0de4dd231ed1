//! How the weights of a network move, whatever the learning rates.

use ocelli_data::augment::mix::Mix;
use ocelli_nn::Statistics;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::train::loss::Loss;
use crate::train::optimizer::{Optimizer, WeightDecay};

/// How a learner trains, besides what a fit is asked for: loss, regularisers, optimizer.
///
/// ```
/// use ocelli::{Loss, TrainOptions, Optimizer};
///
/// let method = TrainOptions { loss: Loss::smoothed(0.1), max_grad_norm: Some(1.0), optimizer: Optimizer::ADAM_W, ..TrainOptions::default() };
/// # let _ = method;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainOptions {
    /// The rule that moves the weights; its memory starts anew with every fit.
    pub optimizer: Optimizer,
    /// How weights are pulled to 0.
    pub weight_decay: WeightDecay,
    /// What is made small.
    pub loss: Loss,
    /// How the images of a batch are mixed with each other. Like augmentation it has no effect on precomputed
    /// activations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// The greatest norm of all gradients together; longer ones are shortened to it. Above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_grad_norm: Option<f64>,
    /// Batches a step, whose gradients are averaged over all their images; an epoch's last step may have fewer.
    /// At least 1.
    pub accumulate_steps: usize,
    /// The decay of an exponential average of the weights, from 0 to below 1; 0.99 to 0.9999 are usual. Where it is
    /// given, the average is what each epoch measures, and what the network is at the end of a fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Stochastic weight averaging (Izmailov et al. 2018, <https://arxiv.org/abs/1803.05407>): from the end of which
    /// epoch of a fit on, counted from 0, the weights are averaged. Their mean is what later epochs measure, and
    /// what the network is at the end, the statistics of trained norms estimated anew in a pass over the training
    /// images, as by PyTorch's `torch.optim.swa_utils.update_bn`.
    ///
    /// It is for long fits. After a few steps the running variances of a new head are still close to 1, where they began, and
    /// estimated anew they are those of the features: a feature that is constant in training, and not elsewhere, is then
    /// multiplied by up to 316 (`1 / √1e-5`). On small sets the validation loss can rise by a factor of four at the first
    /// averaged epoch, with the same weights, as it does without averages once some hundred steps have been made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swa_start: Option<usize>,
    /// What the backbone's batch norms normalise by while they are trained: with `false`, the default, their running
    /// statistics, which leaves the features as the head knows them; with `true` the statistics of the batch, which
    /// the running ones follow. The norms of a head always take the batch's, those of frozen groups never.
    ///
    /// fastai's default is `true`, after which unfreezing can cost several per cent of accuracy at once; see
    /// `benches/unfreezing.md`.
    pub batch_statistics: bool,
    /// What is measured after every epoch, besides losses and accuracy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
}

impl Default for TrainOptions {
    /// SGD with momentum on cross-entropy, with decoupled weight decay.
    fn default() -> Self {
        Self {
            optimizer: Optimizer::SGD,
            weight_decay: WeightDecay::default(),
            loss: Loss::default(),
            mix: None,
            max_grad_norm: None,
            accumulate_steps: 1,
            ema_decay: None,
            swa_start: None,
            batch_statistics: false,
            metrics: Vec::new(),
        }
    }
}

impl TrainOptions {
    /// What the norms of trained groups of the backbone normalise by.
    pub(crate) fn statistics(&self) -> Statistics {
        if self.batch_statistics { Statistics::Batch } else { Statistics::Running }
    }

    /// Measures a metric after every epoch, unless it is in every record anyway.
    pub(crate) fn measure(&mut self, metric: Metric) {
        let in_every_record = matches!(metric, Metric::Accuracy | Metric::ErrorRate | Metric::LogLoss);
        if !in_every_record && !self.metrics.contains(&metric) {
            self.metrics.push(metric);
        }
    }

    pub(crate) fn check(&self, classes: usize) -> Result<()> {
        self.optimizer.check()?;
        self.weight_decay.check()?;
        self.loss.check(classes)?;
        if let Some(Mix::Mixup { alpha } | Mix::CutMix { alpha }) = self.mix
            && !(alpha > 0.0 && alpha <= 100.0)
        {
            return Err(Error::setting(
                "the alpha of mixed images",
                alpha,
                "above 0 and at most 100, such as 0.4",
            ));
        }
        if let Some(clip) = self.max_grad_norm
            && !(clip.is_finite() && clip > 0.0)
        {
            return Err(Error::setting("the greatest gradient norm", clip, "a number above 0, such as 1"));
        }
        if self.accumulate_steps == 0 {
            return Err(Error::setting("the number of batches a step", "0", "at least 1"));
        }
        if let Some(decay) = self.ema_decay
            && !(0.0..1.0).contains(&decay)
        {
            return Err(Error::setting(
                "the decay of averaged weights",
                decay,
                "from 0 to below 1, such as 0.999",
            ));
        }
        if self.ema_decay.is_some() && self.swa_start.is_some() {
            let value = "an exponential one and that of epochs".to_owned();
            return Err(Error::setting("the average of weights", value, "one of them"));
        }
        Ok(())
    }
}
