//! Precision, recall and F1 of every class.

use serde::Serialize;

use super::Interpretation;
use crate::metric::estimate::ClassMeasures;
use crate::metric::proportion::Proportion;
use crate::metric::{Average, Metric};

/// The metrics of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassRow {
    /// The class.
    pub class: String,
    /// Images of the class.
    pub support: usize,
    /// Images predicted as the class.
    pub predicted: usize,
    /// The fraction of images predicted as the class that are of it; `None` where there are none.
    pub precision: Option<Proportion>,
    /// The fraction of images of the class that are predicted as it; `None` where there are none.
    pub recall: Option<Proportion>,
    /// The F1 score, 0 to 1; `None` where no image is of the class or predicted as it.
    pub f1: Option<f64>,
    /// The area under the ROC curve, see [`Metric::Auroc`]; `None` where all images are of the class, or
    /// none.
    pub auroc: Option<f64>,
}

/// The metrics of every class, and their means.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassTable {
    /// In the order of the classes.
    pub rows: Vec<ClassRow>,
    /// Macro averages.
    pub means: Means,
}

/// Macro averages: means over the classes that occur, 0 to 1; the precision of a class that is never
/// predicted counts as 0. See [`Average::Macro`].
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
        let fraction = |count, total| (total > 0).then_some(Proportion { count, total });
        let row = |(class, of): (&String, ClassMeasures)| {
            let right = (of.recall * of.support as f64).round() as usize;
            ClassRow {
                class: class.clone(),
                support: of.support,
                predicted: of.predicted,
                precision: fraction(right, of.predicted),
                recall: fraction(right, of.support),
                f1: (of.support + of.predicted > 0).then_some(of.f1),
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
