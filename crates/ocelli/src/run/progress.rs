//! How far a recipe is.

use serde::{Deserialize, Serialize};

use crate::metric::record::EpochRecord;
use crate::recipe::diagnosis::{Packed, Watch};
use crate::schedule::learning_rates::LearningRates;

/// How far a recipe is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Fits of the learner before the recipe: those of the recipe are numbered on from there.
    pub(crate) fits_before: usize,
    /// Steps that are over.
    pub(crate) done: usize,
    /// The learning rates of the step at hand, once they are known.
    pub(crate) rates: Option<LearningRates>,
    /// The best row before the step at hand.
    pub(crate) before: Option<EpochRecord>,
    /// What each validation image contributed to the metric of that row.
    #[serde(default)]
    pub(crate) scores: Option<Packed>,
    /// What the step at hand has shown so far.
    #[serde(default)]
    pub(crate) watch: Watch,
    /// Seconds of training so far, over all attempts.
    pub(crate) seconds: f64,
}
