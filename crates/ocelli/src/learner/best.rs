//! The best weights so far, kept while training goes on.

use ocelli_nn::{Backbone, Network};

use crate::event::EpochRow;
use crate::learner::Learner;
use crate::metric::Metric;
use crate::recipe::freezing::Freezing;

/// A network after one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Best<B: Backbone> {
    pub(crate) network: Network<B>,
    pub(crate) freezing: Freezing,
    pub(crate) row: EpochRow,
}

impl EpochRow {
    /// The value of a metric on the validation images, if it was measured.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Accuracy => self.accuracy,
            Metric::ErrorRate => self.accuracy.map(|accuracy| 1.0 - accuracy),
            Metric::LogLoss => self.valid_loss,
            _ => self.metrics.iter().find(|(other, _)| *other == metric).map(|(_, value)| *value),
        }
    }

    /// Whether everything that the network computed of the validation images is finite. Where it is not, the weights have
    /// become too large or NaN, and the epoch is never the best.
    pub fn is_finite(&self) -> bool {
        self.train_loss.is_finite() && self.valid_loss.is_none_or(f64::is_finite)
    }

    /// Whether this epoch is better than another: by the metric, and where that is the same, or not defined, by the
    /// validation loss. One that is not [finite](Self::is_finite) is worse than every one that is.
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

impl<B: Backbone> Learner<B> {
    /// Keeps the weights of the best epoch by this metric, of equal ones that with the lower validation loss; for each
    /// size of the images one. `None` keeps none, which is the default. See [`return_to_best`](Self::return_to_best).
    pub fn keep_best(&mut self, metric: Option<Metric>) -> &mut Self {
        self.keeping = metric;
        if let Some(metric) = metric {
            self.measure(metric);
        }
        self
    }

    /// Ends a fit after so many epochs without a better one by the metric that [`keep_best`](Self::keep_best) names.
    /// `None`, the default: each fit has all of its epochs.
    pub fn early_stopping(&mut self, patience: Option<usize>) -> &mut Self {
        self.patience = patience;
        self
    }

    /// Measures a metric after every epoch, besides losses and accuracy.
    pub fn measure(&mut self, metric: Metric) -> &mut Self {
        let in_every_row = matches!(metric, Metric::Accuracy | Metric::ErrorRate | Metric::LogLoss);
        if !in_every_row && !self.metrics.contains(&metric) {
            self.metrics.push(metric);
        }
        self
    }

    /// The best epoch so far at the current size of the images.
    pub fn best(&self) -> Option<&EpochRow> {
        self.best.get(&self.data.size()).map(|best| &best.row)
    }

    /// The best epoch so far at any size, and the size in pixels.
    pub fn best_of_all(&self) -> Option<(&EpochRow, usize)> {
        let metric = self.keeping?;
        let rows = self.best.iter().map(|(&size, best)| (&best.row, size));
        rows.reduce(|best, other| if other.0.is_better(best.0, metric) { other } else { best })
    }

    /// Returns to the best weights at the current size of the images. What was trained since is forgotten.
    pub fn return_to_best(&mut self) {
        if let Some(best) = self.best.get(&self.data.size()) {
            let (network, freezing) = (best.network.copy(), best.freezing);
            self.set_freezing(freezing);
            self.network = network.train_groups_from(freezing.frozen());
        }
    }

    /// Takes the best weights at any size of the images, which stays as it is.
    pub(crate) fn take_best_of_all(&mut self) {
        let Some((_, size)) = self.best_of_all() else { return };
        if let Some(best) = self.best.get(&size) {
            self.network = best.network.copy().train_groups_from(self.freezing.frozen());
        }
    }

    /// Keeps the network as it is now, if this epoch is the best, and notes that in its row.
    pub(crate) fn consider(&mut self, row: &mut EpochRow) {
        let Some(metric) = self.keeping else { return };
        let size = self.data.size();
        let better = self.best.get(&size).is_none_or(|best| row.is_better(&best.row, metric));
        row.best = better && row.valid_loss.is_some() && row.is_finite();
        if row.best {
            let best = Best { network: self.network.copy(), freezing: self.freezing, row: row.clone() };
            self.best.insert(size, best);
        }
    }

    /// Whether the fit at hand has gone on for too long without a better epoch.
    pub(crate) fn is_out_of_patience(&self) -> bool {
        let (Some(patience), Some(metric)) = (self.patience, self.keeping) else { return false };
        let rows: Vec<&EpochRow> = self.history.iter().filter(|row| row.stage == self.fits).collect();
        let best = (0..rows.len())
            .fold(0, |best, row| if rows[row].is_better(rows[best], metric) { row } else { best });
        rows.len() > best + patience
    }
}
