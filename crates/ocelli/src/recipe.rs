//! The recipe: the steps of transfer learning in their order, as one value.

use ocelli_nn::Backbone;
use serde::{Deserialize, Serialize};

use crate::schedule::OneCycle;
use crate::{Error, Learner, LearningRates, Predictions, Result};

/// Trains the head on precomputed activations, then all layers together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Epochs of the head on precomputed activations; 0 leaves the step out.
    pub epochs: usize,
    /// The head's learning rate.
    pub learning_rate: f64,
    /// Epochs of all layers afterwards; 0 leaves the step out.
    pub unfrozen_epochs: usize,
    /// The learning rates of early body, late body and head while all layers are trained.
    pub unfrozen_learning_rates: LearningRates,
}

impl Default for Recipe {
    fn default() -> Self {
        Self::with_learning_rate(1e-2)
    }
}

impl Recipe {
    /// The usual epochs; the head at this rate, then all layers at its tenth, hundredth and thousandth: later
    /// layers have further to go from ImageNet than earlier ones, and all start near their goal.
    pub fn with_learning_rate(rate: f64) -> Self {
        Self {
            epochs: 10,
            learning_rate: rate,
            unfrozen_epochs: 0,
            unfrozen_learning_rates: LearningRates::spread(rate / 1000.0, rate / 10.0),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        LearningRates::from(self.learning_rate).check()?;
        self.unfrozen_learning_rates.check()?;
        if self.epochs + self.unfrozen_epochs == 0 {
            return Err(Error::Setting {
                name: "the number of epochs",
                value: "0 for the head and 0 for all layers".to_owned(),
                expected: "at least 1 for one of them",
            });
        }
        Ok(())
    }

    /// Performs the recipe and gives the predictions of the validation set at its end.
    ///
    /// # Errors
    /// As [`Learner::fit`].
    pub fn run<B: Backbone>(&self, learner: &mut Learner<B>) -> Result<Predictions> {
        if self.epochs > 0 {
            learner.freeze();
            learner.precompute(true)?;
            learner.fit(self.learning_rate, OneCycle::epochs(self.epochs))?;
        }
        if self.unfrozen_epochs > 0 {
            learner.unfreeze();
            learner.fit(self.unfrozen_learning_rates, OneCycle::epochs(self.unfrozen_epochs))?;
        }
        learner.validate()
    }
}
