//! The record of one epoch.

use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::schedule::learning_rates::LearningRates;

/// One epoch: a row of the table that training prints, and of `history.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The fit, counted from 1.
    pub fit: usize,
    /// The epoch within the fit, counted from 1.
    pub epoch: usize,
    /// Mean loss over the training images, in training mode, while the weights change.
    pub train_loss: f64,
    /// Mean loss over the validation images after the epoch; `None` without validation images.
    pub valid_loss: Option<f64>,
    /// The accuracy on the validation images. Losses and metrics are NaN if the network's outputs are not
    /// finite.
    pub accuracy: Option<f64>,
    /// The other metrics, if there are validation images; F with several labels per image at the single
    /// threshold where it is highest.
    pub metrics: Vec<(Metric, f64)>,
    /// The learning rates of the last step.
    pub learning_rates: LearningRates,
    /// Seconds, validation included.
    pub seconds: f64,
    /// Whether this epoch was the best so far at its image size, so that its weights were saved.
    #[serde(default)]
    pub best: bool,
}

impl EpochRecord {
    /// The value of a metric on the validation images, if it was computed.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Accuracy => self.accuracy,
            Metric::ErrorRate => self.accuracy.map(|accuracy| 1.0 - accuracy),
            Metric::LogLoss => self.valid_loss,
            _ => self.metrics.iter().find(|(other, _)| *other == metric).map(|(_, value)| *value),
        }
    }

    /// Whether all outputs of the network for the validation images are finite. If not, the weights have
    /// become too large or NaN, and the epoch is never the best.
    pub fn is_finite(&self) -> bool {
        self.train_loss.is_finite() && self.valid_loss.is_none_or(f64::is_finite)
    }

    /// Whether this epoch is better than another: by the metric, and if that is equal or not defined, by the
    /// validation loss. One that is not [finite](Self::is_finite) is worse than any that is.
    pub fn is_better(&self, other: &Self, metric: Metric) -> bool {
        if !(self.is_finite() && other.is_finite()) {
            return self.is_finite() && !other.is_finite();
        }
        let value = |row: &Self| row.value(metric).unwrap_or(f64::NAN);
        let loss = |row: &Self| row.valid_loss.unwrap_or(f64::NAN);
        metric.is_better(value(self), value(other))
            || !metric.is_better(value(other), value(self))
                && Metric::LogLoss.is_better(loss(self), loss(other))
    }
}
