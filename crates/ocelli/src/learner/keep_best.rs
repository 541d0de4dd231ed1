//! The best weights, and early stopping.

use ocelli_nn::Backbone;

use crate::learner::Learner;
use crate::metric::Metric;
use crate::metric::record::EpochRecord;

impl<B: Backbone> Learner<B> {
    /// Saves the weights of the best epoch by this metric, and of equal ones that with the lower validation
    /// loss; one for each image size. `None`, the default, saves none. See
    /// [`return_to_best`](Self::return_to_best).
    pub fn keep_best(&mut self, metric: Option<Metric>) -> &mut Self {
        self.best.metric = metric;
        if let Some(metric) = metric {
            self.measure(metric);
        }
        self
    }

    /// Early stopping: ends a fit after this many epochs without improvement of the metric that
    /// [`keep_best`](Self::keep_best) sets. `None`, the default: each fit runs all of its epochs.
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

    /// Restores the best weights at the current image size.
    pub fn return_to_best(&mut self) {
        if let Some(best) = self.best.by_size.get(&self.inputs.data.size()) {
            self.state.network = best.network.copy();
            self.state.set_freezing(best.freezing);
        }
    }

    /// Restores the best weights at any image size, without changing the size.
    pub(crate) fn take_best_of_all(&mut self) {
        if let Some((best, _)) = self.best.of_all() {
            self.state.network = best.network.copy();
            self.state.set_freezing(self.state.freezing);
        }
    }
}
