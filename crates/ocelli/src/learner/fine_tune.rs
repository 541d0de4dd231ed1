//! fastai 2's short recipe.

use ocelli_nn::Backbone;

use crate::error::Result;
use crate::learner::Learner;
use crate::metric::record::EpochRecord;
use crate::schedule::OneCycle;
use crate::schedule::learning_rates::LearningRates;

/// The base learning rate of fastai 2's `fine_tune`.
const BASE: f64 = 2e-3;

impl<B: Backbone> Learner<B> {
    /// Trains as fastai 2's `fine_tune` does: one epoch of the head, with a learning rate that rises to 2e-3
    /// almost until the end; then `epochs` epochs of all layers in one cycle, at learning rates from 1e-5 to
    /// 1e-3. Returns the records of all epochs.
    ///
    /// The optimizer is the learner's; fastai uses Adam, and trains batch norms with batch statistics
    /// ([`set_train_bn(true)`](Self::set_train_bn)).
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fine_tune(&mut self, epochs: usize) -> Result<Vec<EpochRecord>> {
        self.freeze();
        let mut rows = self.fit(BASE, OneCycle::epochs(1).pct_start(0.99))?;
        self.unfreeze();
        let rates = LearningRates::geometric(BASE / 2.0 / 100.0, BASE / 2.0);
        rows.extend(self.fit(rates, OneCycle::epochs(epochs).pct_start(0.3).div(5.0))?);
        Ok(rows)
    }
}
