//! Precision, recall and F1 of every class.

use serde::Serialize;

use super::Interpretation;
use crate::metric::estimate::ClassMeasures;
use crate::metric::proportion::Proportion;
use crate::metric::{Average, Metric};

/// How well one class is recognised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassRow {
    /// The class.
    pub class: String,
    /// Images that have it.
    pub support: usize,
    /// Images that are said to have it.
    pub predicted: usize,
    /// Of the images that are said to have it, those that do; nothing where none are.
    pub precision: Option<Proportion>,
    /// Of the images that have it, those that are said to; nothing where none do.
    pub recall: Option<Proportion>,
    /// The harmonic mean of precision and recall, 0 to 1; nothing where no image has it nor is said to.
    pub f1: Option<f64>,
    /// The area under the ROC curve, see [`Metric::Auroc`]; nothing where all images have the class or none.
    pub auroc: Option<f64>,
}

/// Every class, and their means.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassTable {
    /// In the order of the classes.
    pub rows: Vec<ClassRow>,
    /// Each class counted once.
    pub means: Means,
}

/// Means over the classes that some image has, each counted once (macro averages), 0 to 1; a precision of what nothing is
/// said to be counts as 0. See [`Average::Macro`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Means {
    /// The mean precision.
    pub precision: f64,
    /// The mean recall.
    pub recall: f64,
    /// The mean F1 score.
    pub f1: f64,
}

impl Interpretation {
    /// Precision, recall and F1 of every class.
    pub fn class_table(&self) -> ClassTable {
        let share = |count, total| (total > 0).then_some(Proportion { count, total });
        let row = |(class, of): (&String, ClassMeasures)| {
            let right = (of.recall * of.support as f64).round() as usize;
            ClassRow {
                class: class.clone(),
                support: of.support,
                predicted: of.said,
                precision: share(right, of.said),
                recall: share(right, of.support),
                f1: (of.support + of.said > 0).then_some(of.f1),
                auroc: Some(of.auroc).filter(|area| !area.is_nan()),
            }
        };
        let value = |metric| self.predictions.value(metric);
        ClassTable {
            rows: self.classes.iter().zip(self.predictions.per_class()).map(row).collect(),
            means: Means {
                precision: value(Metric::Precision(Average::Macro)),
                recall: value(Metric::Recall(Average::Macro)),
                f1: value(Metric::F(1.0, Average::Macro)),
            },
        }
    }
}
