//! The progress of a recipe.

use serde::{Deserialize, Serialize};

use crate::metric::choice::Candidates;
use crate::metric::packed::Packed;
use crate::metric::record::EpochRecord;
use crate::recipe::diagnosis::Watch;
use crate::schedule::learning_rates::LearningRates;

/// The progress of a recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Fits of the learner before the recipe; those of the recipe are numbered after them.
    pub(crate) fits_before: usize,
    /// Finished phases.
    pub(crate) done: usize,
    /// The learning rates of the current phase, once they are known.
    pub(crate) rates: Option<LearningRates>,
    /// The best record before the current phase.
    pub(crate) before: Option<EpochRecord>,
    /// What each validation image contributed to the metric of that record.
    #[serde(default)]
    pub(crate) scores: Option<Packed>,
    /// What a diagnosis needs of the current phase's epochs so far.
    #[serde(default)]
    pub(crate) watch: Watch,
    /// By which part earlier stages lowered the log loss of the last logistic regression.
    #[serde(default)]
    pub(crate) depth_gain: Option<f64>,
    /// All epochs so far, among which the best is chosen.
    pub(crate) candidates: Candidates,
    /// Seconds of training so far, over all attempts.
    pub(crate) seconds: f64,
}

impl Progress {
    /// Whether all images that it knows of are among so many items.
    pub(crate) fn is_among(&self, items: usize) -> bool {
        self.watch.is_among(items)
            && self.scores.iter().all(|scores| scores.is_among(items))
            && self.candidates.is_among(items)
    }

    /// Forgets what single images contributed: the run continues with others, which have other indices.
    pub(crate) fn forget_images(&mut self) {
        (self.watch, self.scores) = (Watch::default(), None);
        self.candidates.forget();
    }
}
