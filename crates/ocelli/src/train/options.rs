//! Options of training: optimizer, loss, regularization.

use ocelli_data::augment::mix::Mix;
use ocelli_nn::{Precision, Statistics};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::train::loss::Loss;
use crate::train::optimizer::{Optimizer, WeightDecay};

/// Options of training other than learning rates and schedule: loss, regularization, optimizer.
///
/// ```
/// use ocelli::{Loss, TrainOptions, Optimizer};
///
/// let options = TrainOptions { loss: Loss::smoothed(0.1), max_grad_norm: Some(1.0), optimizer: Optimizer::ADAM_W, ..TrainOptions::default() };
/// # let _ = options;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// The optimizer; its state is reset at the start of every fit.
    pub optimizer: Optimizer,
    /// Decoupled weight decay.
    pub weight_decay: WeightDecay,
    /// The training loss.
    pub loss: Loss,
    /// Mixup or CutMix. Like augmentation it has no effect on cached features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// Gradient clipping: the maximum norm of all gradients together. Above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_grad_norm: Option<f64>,
    /// Gradient accumulation: batches per optimizer step, whose gradients are averaged over all their images;
    /// an epoch's last step may have fewer. At least 1.
    pub accumulate_steps: usize,
    /// Trains layers of the backbone on this many images of a batch at a time, and adds up the gradients in a
    /// fixed order; the head and the loss see the whole batch all the same. Several processes share these
    /// pieces out, and reach the same result, to the bit, as one; it is not that of whole batches, by rounding.
    /// It takes less memory. At least 1, and not together with [`train_bn`](Self::train_bn).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// How gradients and the changes of weights travel between processes: in f32, or rounded to bf16, which halves the
    /// bytes. They are rounded in the same way whatever the number of processes, one included, which therefore reach
    /// the same result, to the bit. Weights and the optimizer's state stay f32. Needs
    /// [`micro_batch`](Self::micro_batch).
    #[serde(skip_serializing_if = "is_f32")]
    pub exchange_precision: Precision,
    /// The decay of an exponential moving average of the weights, from 0 to below 1; 0.99 to 0.9999 are
    /// usual. If set, the average is validated after each epoch, and becomes the network's weights at the end
    /// of a fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Stochastic weight averaging (Izmailov et al. 2018, <https://arxiv.org/abs/1803.05407>) from the end of
    /// this epoch of a fit on, counted from 0. The average is validated after later epochs, and becomes the
    /// network's weights at the end of the fit; the running statistics of trained norms are re-estimated in a
    /// pass over the training images, as by PyTorch's `torch.optim.swa_utils.update_bn`.
    ///
    /// It is for long fits. After a few steps the running variances of a new head are still close to their
    /// initial 1; re-estimated, they are those of the features, and a feature that is constant in training
    /// but not in validation is multiplied by up to 316 (`1 / √1e-5`). On small sets the validation loss can
    /// rise by a factor of four at the first averaged epoch, with the same weights, as it does without
    /// averaging after some hundred steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swa_start: Option<usize>,
    /// What the backbone's trainable batch norms normalise by in training: with `false`, the default, their
    /// running statistics, so that the features stay as the head was trained on them; with `true` the
    /// statistics of the batch, by which the running ones are updated. The norms of a head always use the
    /// batch's, those of frozen groups never.
    ///
    /// fastai's default is `true`, with which unfreezing can cost several per cent of accuracy at once; see
    /// `benches/unfreezing.md`.
    pub train_bn: bool,
    /// Metrics that are computed after every epoch, besides losses and accuracy.
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
            micro_batch: None,
            exchange_precision: Precision::F32,
            ema_decay: None,
            swa_start: None,
            train_bn: false,
            metrics: Vec::new(),
        }
    }
}

fn is_f32(precision: &Precision) -> bool {
    *precision == Precision::F32
}

impl TrainOptions {
    /// The images of a piece of a batch, where each process needs to load its pieces alone: images that are mixed
    /// need each other.
    pub(crate) fn pieces(&self) -> Option<usize> {
        self.micro_batch.filter(|_| self.mix.is_none())
    }

    /// What the trainable batch norms of the backbone normalise by.
    pub(crate) fn statistics(&self) -> Statistics {
        if self.train_bn { Statistics::Batch } else { Statistics::Running }
    }

    /// Adds a metric, unless it is in every record anyway.
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
            return Err(Error::setting("mix.alpha", alpha, "above 0 and at most 100, such as 0.4"));
        }
        if let Some(clip) = self.max_grad_norm
            && !(clip.is_finite() && clip > 0.0)
        {
            return Err(Error::setting("max_grad_norm", clip, "a number above 0, such as 1"));
        }
        if self.accumulate_steps == 0 {
            return Err(Error::setting("accumulate_steps", "0", "at least 1"));
        }
        if self.micro_batch == Some(0) {
            return Err(Error::setting("micro_batch", "0", "at least 1"));
        }
        if self.micro_batch.is_some() && self.train_bn {
            let expected = "left out where norms of the backbone train by the statistics of whole batches";
            return Err(Error::setting("micro_batch", "set where `train_bn` is, too", expected));
        }
        if self.micro_batch.is_none() && !is_f32(&self.exchange_precision) {
            let expected = "left out where `micro_batch` is not set: the gradients of pieces of a batch are what is rounded";
            return Err(Error::setting("exchange_precision", self.exchange_precision, expected));
        }
        if let Some(decay) = self.ema_decay
            && !(0.0..1.0).contains(&decay)
        {
            return Err(Error::setting("ema_decay", decay, "from 0 to below 1, such as 0.999"));
        }
        if self.ema_decay.is_some() && self.swa_start.is_some() {
            return Err(Error::setting(
                "swa_start",
                "set together with ema_decay",
                "the only average of weights",
            ));
        }
        Ok(())
    }
}
