//! Rankings of images: most correct, most incorrect, most uncertain, top losses.

use std::path::PathBuf;

use serde::Serialize;

use super::Interpretation;
use ocelli_data::Task;

/// The order of a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ranking {
    /// Correctly predicted images of the class, the most confident first.
    MostCorrect,
    /// Wrongly predicted images of the class, those with its lowest probability first.
    MostIncorrect,
    /// Images of the class whose two most probable classes are closest to each other; for multi-label data,
    /// those whose probability is closest to the threshold.
    MostUncertain,
}

/// An image in a ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// The index in the predictions, from 0.
    pub index: usize,
    /// The image's id.
    pub id: String,
    /// The image's file.
    pub path: PathBuf,
    /// The true and the predicted classes.
    pub truth: Vec<String>,
    /// The predicted classes.
    pub predicted: Vec<String>,
    /// The probability of the ranked class, or of the first true class.
    pub probability: f32,
    /// The image's loss.
    pub loss: f64,
}

impl Interpretation {
    /// The first `images` images of a class in an order.
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn ranked(&self, order: Ranking, class: &str, images: usize) -> crate::Result<Vec<Ranked>> {
        let class = self.class(class)?;
        Ok(self
            .rows_in_order(order, class)
            .into_iter()
            .take(images)
            .map(|index| self.describe(index, class))
            .collect())
    }

    /// [`Ranking::MostCorrect`]
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn most_correct(&self, class: &str, images: usize) -> crate::Result<Vec<Ranked>> {
        self.ranked(Ranking::MostCorrect, class, images)
    }

    /// [`Ranking::MostIncorrect`]
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn most_incorrect(&self, class: &str, images: usize) -> crate::Result<Vec<Ranked>> {
        self.ranked(Ranking::MostIncorrect, class, images)
    }

    /// [`Ranking::MostUncertain`]
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn most_uncertain(&self, class: &str, images: usize) -> crate::Result<Vec<Ranked>> {
        self.ranked(Ranking::MostUncertain, class, images)
    }

    /// The images with the highest losses, those first.
    pub fn top_losses(&self, images: usize) -> Vec<Ranked> {
        let losses = self.predictions.losses();
        let mut indices: Vec<usize> = (0..self.len()).collect();
        indices.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]));
        indices.truncate(images);
        let first = |index: usize| self.truth(index).first().copied().unwrap_or(0);
        indices.into_iter().map(|index| self.describe(index, first(index))).collect()
    }

    /// The indices of all images of a class that belong in an order.
    pub fn rows_in_order(&self, order: Ranking, class: usize) -> Vec<usize> {
        let probability = |index: usize| f64::from(self.predictions.row(index)[class]);
        let recognised = |index: usize| self.predictions.predicted_labels(index).contains(&class);
        let mut keyed: Vec<(f64, usize)> = (0..self.len())
            .filter(|&index| self.truth(index).contains(&class))
            .filter_map(|index| match order {
                Ranking::MostCorrect => recognised(index).then(|| (-probability(index), index)),
                Ranking::MostIncorrect => (!recognised(index)).then(|| (probability(index), index)),
                Ranking::MostUncertain => Some((self.margin(index, class), index)),
            })
            .collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        keyed.into_iter().map(|(_, index)| index).collect()
    }

    /// The margin of a prediction, 0 to 1.
    fn margin(&self, index: usize, class: usize) -> f64 {
        let row = self.predictions.row(index);
        match self.task() {
            Task::MultiLabel => f64::from((row[class] - self.predictions.thresholds()[class]).abs()),
            Task::SingleLabel => {
                let mut sorted = row.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                f64::from(sorted[0]) - sorted.get(1).copied().map_or(0.0, f64::from)
            }
        }
    }

    fn describe(&self, index: usize, class: usize) -> Ranked {
        let names = |classes: &[usize]| classes.iter().map(|&class| self.classes[class].clone()).collect();
        Ranked {
            index,
            id: self.ids[index].clone(),
            path: self.paths[index].clone(),
            truth: names(self.truth(index)),
            predicted: names(&self.predictions.predicted_labels(index)),
            probability: self.predictions.row(index)[class],
            loss: self.predictions.losses()[index],
        }
    }
}
