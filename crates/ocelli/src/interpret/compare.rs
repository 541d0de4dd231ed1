//! Comparison of two models on the same images.

use std::collections::HashMap;

use ocelli_data::{Digest, Task};
use serde::Serialize;

use super::Interpretation;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::metric::choice::CorrectedEstimate;
use crate::metric::paired::mcnemar;
use crate::metric::proportion::Proportion;

/// Two models on the images that both have predicted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Images that both predict correctly.
    pub both_right: usize,
    /// Images that both predict wrongly.
    pub both_wrong: usize,
    /// Images that only the first predicts correctly, the most confident errors first.
    pub right_to_wrong: Vec<Flip>,
    /// Images that only the second predicts correctly, the most confident corrections first.
    pub wrong_to_right: Vec<Flip>,
    /// The first model's accuracy on these images.
    pub first: Proportion,
    /// The second model's accuracy on these images.
    pub second: Proportion,
    /// The mean of the classes' recalls of each model on these images; `None` where images have several labels.
    pub balanced_accuracy: Option<[f64; 2]>,
    /// The p-value of McNemar's exact test (two-sided, binomial).
    pub p_value: f64,
    /// Images of the first that the second has not predicted.
    pub only_first: usize,
    /// Images of the second that the first has not predicted.
    pub only_second: usize,
    /// Images of the same id in both whose files differ, which are not compared.
    pub other_files: usize,
    /// The accuracy of each, corrected for choosing the best of several epochs by these images; `None` where nothing
    /// was chosen by them, or by another metric, or where a run was evaluated on other images, too.
    pub corrected: [Option<CorrectedEstimate>; 2],
}

impl Comparison {
    /// Whether the one that is better on these images is better, too, where the choice of each one's epoch is corrected
    /// for; `None` where nothing is to be corrected.
    pub fn holds_corrected(&self) -> Option<bool> {
        if self.corrected.iter().all(Option::is_none) {
            return None;
        }
        let [first, second] =
            [(0, self.first), (1, self.second)].map(|(index, plain): (usize, Proportion)| {
                self.corrected[index].as_ref().map_or(plain.value(), |corrected| corrected.value)
            });
        Some((second - first) * (self.second.value() - self.first.value()) > 0.0)
    }
}

/// The digests of images' files, by the images' ids, as far as they are known.
pub type DigestsById = HashMap<String, Digest>;

/// An image that only one of two models predicts correctly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flip {
    /// The image's id.
    pub id: String,
    /// The index in the first model's predictions.
    pub index: usize,
    /// The true class.
    pub truth: String,
    /// The first model's prediction.
    pub first: String,
    /// The second model's prediction.
    pub second: String,
    /// The probability of the second model's prediction.
    pub probability: f32,
}

impl Interpretation {
    /// Compares with another model's predictions; images are matched by id.
    ///
    /// # Errors
    /// Where the classes differ, no image is in both, or an image has different labels.
    pub fn compare(&self, other: &Self) -> Result<Comparison> {
        self.compare_files(other, [&DigestsById::new(), &DigestsById::new()])
    }

    /// As [`compare`](Self::compare), but images whose files are known to differ, by their digests here and in
    /// the other run, are not the same ones, whatever their ids.
    ///
    /// # Errors
    /// As [`compare`](Self::compare); [`Error::OtherImages`] where no image of the same id is the same file.
    pub fn compare_files(&self, other: &Self, digests: [&DigestsById; 2]) -> Result<Comparison> {
        if self.classes != other.classes || self.task() != other.task() {
            return Err(Error::ClassMismatch {
                what: "the second".to_owned(),
                found: other.classes.clone(),
                expected: self.classes.clone(),
            });
        }
        let indices: HashMap<&str, usize> =
            other.ids.iter().enumerate().map(|(index, id)| (id.as_str(), index)).collect();
        let pairs: Vec<(usize, usize)> = self
            .ids
            .iter()
            .enumerate()
            .filter_map(|(index, id)| Some((index, *indices.get(id.as_str())?)))
            .collect();
        let is_other = |id: &String| match digests.map(|known| known.get(id)) {
            [Some(here), Some(there)] => here != there,
            _ => false,
        };
        let same_id = pairs.len();
        let pairs: Vec<(usize, usize)> =
            pairs.into_iter().filter(|&(index, _)| !is_other(&self.ids[index])).collect();
        let other_files = same_id - pairs.len();
        match (pairs.is_empty(), other_files) {
            (true, 0) => return Err(Error::NoCommonImages),
            (true, images) => return Err(Error::OtherImages { images }),
            _ => {}
        }
        if let Some(&(a, b)) = pairs.iter().find(|&&(a, b)| self.truth(a) != other.truth(b)) {
            let (first, second) = (self.named(self.truth(a)), other.named(other.truth(b)));
            return Err(Error::LabelsDiffer { image: self.ids[a].clone(), first, second });
        }
        let (mut both_right, mut both_wrong) = (0, 0);
        let (mut lost, mut won) = (Vec::new(), Vec::new());
        for &(a, b) in &pairs {
            match (self.is_right(a), other.is_right(b)) {
                (true, true) => both_right += 1,
                (false, false) => both_wrong += 1,
                (true, false) => lost.push(self.flip(a, other, b)),
                (false, true) => won.push(self.flip(a, other, b)),
            }
        }
        for flips in [&mut lost, &mut won] {
            flips.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        }
        let fraction = |count| Proportion { count, total: pairs.len() };
        let balanced_accuracy = (self.task() == Task::SingleLabel).then(|| {
            let first = self.predictions.select(pairs.iter().map(|pair| pair.0));
            let second = other.predictions.select(pairs.iter().map(|pair| pair.1));
            [first, second].map(|common| common.value(Metric::BalancedAccuracy))
        });
        Ok(Comparison {
            first: fraction(both_right + lost.len()),
            second: fraction(both_right + won.len()),
            balanced_accuracy,
            p_value: mcnemar(lost.len(), won.len()),
            only_first: self.len() - same_id,
            only_second: other.len() - same_id,
            other_files,
            corrected: [None, None],
            both_right,
            both_wrong,
            right_to_wrong: lost,
            wrong_to_right: won,
        })
    }

    fn flip(&self, index: usize, other: &Self, there: usize) -> Flip {
        let predicted = other.predictions.predicted_labels(there);
        let row = other.predictions.row(there);
        let sure = predicted.iter().map(|&class| row[class]).fold(0.0, f32::max);
        Flip {
            id: self.ids[index].clone(),
            index,
            truth: self.named(self.truth(index)),
            first: self.named(&self.predictions.predicted_labels(index)),
            second: self.named(&predicted),
            probability: sure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs with so many of 100 images right, and their corrected accuracies.
    fn compared(right: [usize; 2], corrected: [Option<f64>; 2]) -> Comparison {
        let [first, second] = right.map(|count| Proportion { count, total: 100 });
        let corrected = corrected.map(|value| {
            value.map(|value| CorrectedEstimate {
                metric: Metric::Accuracy,
                epochs: 10,
                value,
                interval: (value - 0.05, value + 0.05),
            })
        });
        Comparison {
            both_right: 0,
            both_wrong: 0,
            right_to_wrong: Vec::new(),
            wrong_to_right: Vec::new(),
            first,
            second,
            balanced_accuracy: None,
            p_value: 0.01,
            only_first: 0,
            only_second: 0,
            other_files: 0,
            corrected,
        }
    }

    #[test]
    fn a_lead_that_comes_from_choosing_epochs_does_not_hold() {
        assert_eq!(compared([80, 90], [None, None]).holds_corrected(), None);
        assert_eq!(compared([80, 90], [None, Some(0.85)]).holds_corrected(), Some(true));
        assert_eq!(compared([80, 90], [None, Some(0.79)]).holds_corrected(), Some(false));
        assert_eq!(compared([90, 80], [Some(0.81), None]).holds_corrected(), Some(true));
        assert_eq!(compared([90, 80], [Some(0.78), Some(0.79)]).holds_corrected(), Some(false));
    }
}
