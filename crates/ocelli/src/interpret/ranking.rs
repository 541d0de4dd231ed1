//! The images that say most about a model: most correct, most incorrect, most uncertain, top losses.

use std::path::PathBuf;

use serde::Serialize;

use super::Interpretation;
use ocelli_data::Task;

/// By what images are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Images of the class that are recognised, the surest first.
    MostCorrect,
    /// Images of the class that are not recognised, the lowest probability of it first.
    MostIncorrect,
    /// Images of the class for which the two most probable classes are nearest to each other; where images have
    /// several classes, those whose probability of it is nearest to the threshold.
    MostUncertain,
}

/// An image with its place in a ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// The place in the predictions, from 0.
    pub place: usize,
    /// The image's id.
    pub id: String,
    /// The image's file.
    pub path: PathBuf,
    /// What it is, and what it is said to be.
    pub truth: Vec<String>,
    /// The classes that it is said to have.
    pub predicted: Vec<String>,
    /// The probability of the class asked for, or of the first true class.
    pub probability: f32,
    /// The image's loss.
    pub loss: f64,
}

impl Interpretation {
    /// The first `images` images of a class in an order.
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn ranked(&self, order: Order, class: &str, images: usize) -> crate::Result<Vec<Ranked>> {
        let class = self.class(class)?;
        Ok(self
            .rows_in_order(order, class)
            .into_iter()
            .take(images)
            .map(|place| self.describe(place, class))
            .collect())
    }

    /// [`Order::MostCorrect`]
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn most_correct(&self, class: &str, images: usize) -> crate::Result<Vec<Ranked>> {
        self.ranked(Order::MostCorrect, class, images)
    }

    /// [`Order::MostIncorrect`]
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn most_incorrect(&self, class: &str, images: usize) -> crate::Result<Vec<Ranked>> {
        self.ranked(Order::MostIncorrect, class, images)
    }

    /// [`Order::MostUncertain`]
    ///
    /// # Errors
    /// Where there is no class of that name.
    pub fn most_uncertain(&self, class: &str, images: usize) -> crate::Result<Vec<Ranked>> {
        self.ranked(Order::MostUncertain, class, images)
    }

    /// The images with the highest losses, those first.
    pub fn top_losses(&self, images: usize) -> Vec<Ranked> {
        let losses = self.predictions.losses();
        let mut places: Vec<usize> = (0..self.len()).collect();
        places.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]));
        places.truncate(images);
        let first = |place: usize| self.truth(place).first().copied().unwrap_or(0);
        places.into_iter().map(|place| self.describe(place, first(place))).collect()
    }

    /// All images of a class that belong into an order, by places.
    pub fn rows_in_order(&self, order: Order, class: usize) -> Vec<usize> {
        let probability = |place: usize| f64::from(self.predictions.row(place)[class]);
        let recognised = |place: usize| self.predictions.predicted_labels(place).contains(&class);
        let mut keyed: Vec<(f64, usize)> = (0..self.len())
            .filter(|&place| self.truth(place).contains(&class))
            .filter_map(|place| match order {
                Order::MostCorrect => recognised(place).then(|| (-probability(place), place)),
                Order::MostIncorrect => (!recognised(place)).then(|| (probability(place), place)),
                Order::MostUncertain => Some((self.margin(place, class), place)),
            })
            .collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        keyed.into_iter().map(|(_, place)| place).collect()
    }

    /// How far a decision is from the other one, 0 to 1.
    fn margin(&self, place: usize, class: usize) -> f64 {
        let row = self.predictions.row(place);
        match self.task() {
            Task::MultiLabel => f64::from((row[class] - self.predictions.thresholds()[class]).abs()),
            Task::SingleLabel => {
                let mut sorted = row.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                f64::from(sorted[0]) - sorted.get(1).copied().map_or(0.0, f64::from)
            }
        }
    }

    fn describe(&self, place: usize, class: usize) -> Ranked {
        let names = |classes: &[usize]| classes.iter().map(|&class| self.classes[class].clone()).collect();
        Ranked {
            place,
            id: self.ids[place].clone(),
            path: self.paths[place].clone(),
            truth: names(self.truth(place)),
            predicted: names(&self.predictions.predicted_labels(place)),
            probability: self.predictions.row(place)[class],
            loss: self.predictions.losses()[place],
        }
    }
}
