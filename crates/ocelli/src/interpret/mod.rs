//! Interpretation of a classifier, as plain values: metrics, rankings, calibration, label errors, and
//! visualisations.
//!
//! Everything starts from an [`Interpretation`]: predictions of labelled images, with their names.
//!
//! | topic | type |
//! |---|---|
//! | which classes are confused | [`ConfusionMatrix`] |
//! | precision, recall and F1 of every class | [`ClassRow`] |
//! | the most correct, most incorrect and most uncertain images | [`Ranked`] |
//! | whether probabilities can be trusted | [`Calibration`] |
//! | other thresholds, for multi-label data | [`ThresholdCurve`] |
//! | which labels are likely wrong | [`LabelErrors`] |
//! | near duplicates and outliers | [`Neighbours`] |
//! | where in a photo the evidence lies | [`Explanation`] |
//! | what filters respond to | [`Inside`] |
//! | the comparison of two models | [`Comparison`] |

mod calibration;
mod classes;
mod compare;
mod confusion;
pub(crate) mod evaluation;
mod explain;
mod inside;
mod labels;
pub(crate) mod large_neighbours;
mod look;
pub(crate) mod neighbours;
mod ranking;
mod table;
mod thresholds;

pub use calibration::{Bin, Calibration, Reliability};
pub use classes::{ClassRow, ClassTable, Means};
pub use compare::{Comparison, DigestsById, Flip};
pub use confusion::{Confused, ConfusionMatrix};
pub use explain::{Explanation, HeatMap, TargetClass};
pub use inside::{Inside, Patches, StagePicture};
pub use labels::{LabelErrors, Suspect};
pub use look::Look;
pub use neighbours::{Neighbours, Outlier, Pair};
pub use ranking::{Ranked, Ranking};
pub use table::probability_column;
pub use thresholds::{ThresholdCurve, ThresholdPoint};

use std::path::PathBuf;

use ocelli_data::Items;

use crate::error::Result;
use crate::metric::predictions::Predictions;
use ocelli_data::Task;

/// Predictions of labelled images, with the names of images and classes.
#[derive(Debug, Clone)]
pub struct Interpretation {
    /// The names of the classes, in the order of the probabilities.
    pub classes: Vec<String>,
    /// The images' ids, in the order of the predictions.
    pub ids: Vec<String>,
    /// The images' files.
    pub paths: Vec<PathBuf>,
    /// The predictions.
    pub predictions: Predictions,
}

impl Interpretation {
    /// Adds names to predictions, whose items are indices into `items`.
    pub fn new(predictions: Predictions, items: &Items) -> Self {
        Self {
            classes: items.classes.names().to_vec(),
            ids: predictions.items().iter().map(|&item| items[item].id.clone()).collect(),
            paths: predictions.items().iter().map(|&item| items[item].path.clone()).collect(),
            predictions,
        }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether an image has one label or several.
    pub fn task(&self) -> Task {
        self.predictions.task()
    }

    /// The index of a class.
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn class(&self, name: &str) -> Result<usize> {
        self.classes
            .iter()
            .position(|class| class == name)
            .ok_or_else(|| crate::error::Error::setting("class", name, "one of the model's classes"))
    }

    /// The true classes of an image, ascending.
    pub fn truth(&self, index: usize) -> &[usize] {
        self.predictions.targets()[index].classes()
    }

    /// Whether the predicted classes of an image are exactly the true ones.
    pub fn is_right(&self, index: usize) -> bool {
        self.predictions.predicted_labels(index) == self.truth(index)
    }

    /// The names of some classes, joined by commas.
    pub fn named(&self, classes: &[usize]) -> String {
        classes.iter().map(|&class| self.classes[class].as_str()).collect::<Vec<_>>().join(", ")
    }
}
