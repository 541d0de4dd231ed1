//! A learner and its best weights.

use ocelli_nn::Backbone;

use crate::learner::Learner;
use crate::metric::Metric;
use crate::metric::record::EpochRecord;

impl<B: Backbone> Learner<B> {
    /// Keeps the weights of the best epoch by this metric, of equal ones that with the lower validation loss; for each
    /// size of the images one. `None` keeps none, which is the default. See [`return_to_best`](Self::return_to_best).
    pub fn keep_best(&mut self, metric: Option<Metric>) -> &mut Self {
        self.best.metric = metric;
        if let Some(metric) = metric {
            self.measure(metric);
        }
        self
    }

    /// Ends a fit after so many epochs without a better one by the metric that [`keep_best`](Self::keep_best) names.
    /// `None`, the default: each fit has all of its epochs.
    pub fn early_stopping(&mut self, patience: Option<usize>) -> &mut Self {
        self.best.patience = patience;
        self
    }

    /// The best epoch so far at the current size of the images.
    pub fn best(&self) -> Option<&EpochRecord> {
        self.best.by_size.get(&self.data().size()).map(|best| &best.record)
    }

    /// The best epoch so far at any size, and the size in pixels.
    pub fn best_of_all(&self) -> Option<(&EpochRecord, usize)> {
        self.best.of_all().map(|(best, size)| (&best.record, size))
    }

    /// Returns to the best weights at the current size of the images. What was trained since is forgotten.
    pub fn return_to_best(&mut self) {
        if let Some(best) = self.best.by_size.get(&self.inputs.data.size()) {
            self.state.network = best.network.copy();
            self.state.set_freezing(best.freezing);
        }
    }

    /// Takes the best weights at any size of the images, which stays as it is.
    pub(crate) fn take_best_of_all(&mut self) {
        if let Some((best, _)) = self.best.of_all() {
            self.state.network = best.network.copy();
            self.state.set_freezing(self.state.freezing);
        }
    }
}
