//! Labels that are likely wrong: confident learning (Northcutt et al. 2021, <https://arxiv.org/abs/1911.00068>).
//!
//! The predictions must be of networks that have not been trained on the images, such as
//! [`Learner::out_of_fold`](crate::Learner::out_of_fold) gives.

use serde::Serialize;

use super::Interpretation;
use ocelli_data::Task;

/// The likely wrong labels of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelErrors {
    /// The images whose labels are in doubt, the most doubtful first.
    pub suspects: Vec<Suspect>,
    /// How many labels confident learning takes to be wrong: the suspects before this place.
    pub likely: usize,
    /// The number of images that were looked at.
    pub images: usize,
}

/// An image whose label is in doubt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspect {
    /// The image's id.
    pub id: String,
    /// The place in the predictions, from 0.
    pub place: usize,
    /// The classes that it is labelled with.
    pub given: Vec<String>,
    /// The classes that it seems to have.
    pub suggested: Vec<String>,
    /// The margin of the label: its probability less that of the likeliest other class, −1 to 1; where images have
    /// several classes, the lowest probability that one of them is labelled rightly, less one half, doubled.
    pub score: f64,
    /// Whether the image counts as an error by confident learning: another class is as probable as it is, on average,
    /// in images that are labelled with it.
    pub likely: bool,
}

impl Interpretation {
    /// The images whose label is less probable than another, those most in doubt first.
    pub fn label_errors(&self) -> LabelErrors {
        let thresholds = self.self_confidence();
        let mut suspects: Vec<Suspect> = (0..self.len())
            .filter_map(|place| match self.task() {
                Task::SingleLabel => self.doubt(place, &thresholds),
                Task::MultiLabel => self.doubt_several(place, &thresholds),
            })
            .collect();
        suspects.sort_by(|a, b| b.likely.cmp(&a.likely).then(a.score.total_cmp(&b.score)));
        let likely = suspects.iter().filter(|suspect| suspect.likely).count();
        LabelErrors { suspects, likely, images: self.len() }
    }

    /// For every class the mean probability of it in images that are labelled with it, then the mean probability of its
    /// absence in those that are not; 1 where there are none.
    fn self_confidence(&self) -> Vec<[f64; 2]> {
        let mut sums = vec![[(0.0, 0usize); 2]; self.classes.len()];
        for place in 0..self.len() {
            let truth = self.truth(place);
            for (class, &probability) in self.predictions.row(place).iter().enumerate() {
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

    fn doubt(&self, place: usize, thresholds: &[[f64; 2]]) -> Option<Suspect> {
        let (row, given) = (self.predictions.row(place), *self.truth(place).first()?);
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
            id: self.ids[place].clone(),
            place,
            given: vec![self.classes[given].clone()],
            suggested: vec![self.classes[other].clone()],
            score,
            likely: counted.is_some_and(|class| class != given),
        })
    }

    /// Each class is a question of its own: present or absent.
    fn doubt_several(&self, place: usize, thresholds: &[[f64; 2]]) -> Option<Suspect> {
        let (row, truth) = (self.predictions.row(place), self.truth(place));
        let mut suggested = Vec::new();
        let (mut lowest, mut likely) = (1.0f64, false);
        for (class, &probability) in row.iter().enumerate() {
            let has = truth.contains(&class);
            let present = f64::from(probability);
            let right = if has { present } else { 1.0 - present };
            lowest = lowest.min(right);
            // The other answer is as probable as it is where it is the label.
            likely |= right < 0.5 && 1.0 - right >= thresholds[class][usize::from(has)];
            if has == (right >= 0.5) {
                suggested.push(self.classes[class].clone());
            }
        }
        (lowest < 0.5).then(|| Suspect {
            id: self.ids[place].clone(),
            place,
            given: truth.iter().map(|&class| self.classes[class].clone()).collect(),
            suggested,
            score: 2.0 * lowest - 1.0,
            likely,
        })
    }
}
