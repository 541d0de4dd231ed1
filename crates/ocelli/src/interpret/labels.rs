//! Labels that are likely wrong: confident learning (Northcutt et al. 2021,
//! <https://arxiv.org/abs/1911.00068>).
//!
//! The predictions must be out of fold, by networks that were not trained on the images: see
//! [`Learner::out_of_fold`](crate::Learner::out_of_fold). They must also know something: where their AUROC is
//! not significantly above 0.5, at 5 %, most disagreements are their errors, and none is listed.

use serde::Serialize;

use super::Interpretation;
use crate::metric::Metric;
use crate::metric::proportion::Z;
use ocelli_data::Task;

/// The likely wrong labels of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelErrors {
    /// Images with a suspicious label, the most suspicious first.
    pub suspects: Vec<Suspect>,
    /// How many labels are likely wrong by confident learning: the first suspects.
    pub likely: usize,
    /// The number of images that were checked.
    pub images: usize,
    /// Whether the predictions are significantly better than chance; if not, they say nothing about labels, and
    /// there are no suspects.
    pub better_than_chance: bool,
}

/// An image with a suspicious label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspect {
    /// The image's id.
    pub id: String,
    /// The index in the predictions, from 0.
    pub index: usize,
    /// The classes that it is labelled with.
    pub given: Vec<String>,
    /// The suggested classes.
    pub suggested: Vec<String>,
    /// The label's margin: its probability minus that of the most probable other class, −1 to 1; for
    /// multi-label data, twice the lowest probability that one of its labels is right, minus one.
    pub score: f64,
    /// Whether the label is likely wrong by confident learning: another class is at least as probable as it
    /// is on average among the images labelled with it.
    pub likely: bool,
}

/// Probabilities from which the areas under the ROC curves are computed, at most.
const MOST_RANKED: usize = 1 << 26;

impl Interpretation {
    /// The images whose label is less probable than another, the most suspicious first.
    pub fn label_errors(&self) -> LabelErrors {
        if !self.is_better_than_chance() {
            let images = self.len();
            return LabelErrors { suspects: Vec::new(), likely: 0, images, better_than_chance: false };
        }
        let thresholds = self.self_confidence();
        let mut suspects: Vec<Suspect> = (0..self.len())
            .filter_map(|index| match self.task() {
                Task::SingleLabel => self.suspect(index, &thresholds),
                Task::MultiLabel => self.suspect_of_several(index, &thresholds),
            })
            .collect();
        suspects.sort_by(|a, b| b.likely.cmp(&a.likely).then(a.score.total_cmp(&b.score)));
        let likely = suspects.iter().filter(|suspect| suspect.likely).count();
        LabelErrors { suspects, likely, images: self.len(), better_than_chance: true }
    }

    /// Whether the mean area under the ROC curves of the classes is above 0.5 by 1.96 of its standard errors.
    fn is_better_than_chance(&self) -> bool {
        // Fewer images than very many show as much.
        let step = self.predictions.probabilities().len().div_ceil(MOST_RANKED);
        let each = match step {
            0 | 1 => self.predictions.contributions(Metric::Auroc),
            step => {
                let some = self.predictions.select((0..self.len()).step_by(step));
                some.contributions(Metric::Auroc)
            }
        };
        let Some(each) = each else { return false };
        let number = each.len() as f64;
        let area = each.iter().sum::<f64>() / number;
        let variance = each.iter().map(|value| (value - area).powi(2)).sum::<f64>() / number;
        area - Z * (variance / number).sqrt() > 0.5
    }

    /// For every class its mean probability among images labelled with it, then the mean probability of its
    /// absence among the others; 1 where there are none.
    fn self_confidence(&self) -> Vec<[f64; 2]> {
        let mut sums = vec![[(0.0, 0usize); 2]; self.classes.len()];
        for index in 0..self.len() {
            let truth = self.truth(index);
            for (class, &probability) in self.predictions.row(index).iter().enumerate() {
                let (side, value) = if truth.contains(&class) {
                    (0, f64::from(probability))
                } else {
                    (1, 1.0 - f64::from(probability))
                };
                sums[class][side].0 += value;
                sums[class][side].1 += 1;
            }
        }
        let mean = |(sum, count): (f64, usize)| if count == 0 { 1.0 } else { sum / count as f64 };
        sums.into_iter().map(|sides| sides.map(mean)).collect()
    }

    fn suspect(&self, index: usize, thresholds: &[[f64; 2]]) -> Option<Suspect> {
        let (row, given) = (self.predictions.row(index), *self.truth(index).first()?);
        let others = || (0..row.len()).filter(|&class| class != given);
        let other = others().fold(None, |best: Option<usize>, class| match best {
            Some(best) if row[best] >= row[class] => Some(best),
            _ => Some(class),
        })?;
        let score = f64::from(row[given]) - f64::from(row[other]);
        // The class that an image is counted for: of those that reach their threshold, the most probable.
        let counted = (0..row.len()).filter(|&class| f64::from(row[class]) >= thresholds[class][0]);
        let counted = counted.max_by(|&a, &b| row[a].total_cmp(&row[b]));
        (score < 0.0).then(|| Suspect {
            id: self.ids[index].clone(),
            index,
            given: vec![self.classes[given].clone()],
            suggested: vec![self.classes[other].clone()],
            score,
            likely: counted.is_some_and(|class| class != given),
        })
    }

    /// For multi-label data each class is checked on its own: present or absent.
    fn suspect_of_several(&self, index: usize, thresholds: &[[f64; 2]]) -> Option<Suspect> {
        let (row, truth) = (self.predictions.row(index), self.truth(index));
        let mut suggested = Vec::new();
        let (mut lowest, mut likely) = (1.0f64, false);
        for (class, &probability) in row.iter().enumerate() {
            let has = truth.contains(&class);
            let present = f64::from(probability);
            let right = if has { present } else { 1.0 - present };
            lowest = lowest.min(right);
            // The opposite label is at least as probable as it is on average where it is given.
            likely |= right < 0.5 && 1.0 - right >= thresholds[class][usize::from(has)];
            if has == (right >= 0.5) {
                suggested.push(self.classes[class].clone());
            }
        }
        (lowest < 0.5).then(|| Suspect {
            id: self.ids[index].clone(),
            index,
            given: truth.iter().map(|&class| self.classes[class].clone()).collect(),
            suggested,
            score: 2.0 * lowest - 1.0,
            likely,
        })
    }
}
