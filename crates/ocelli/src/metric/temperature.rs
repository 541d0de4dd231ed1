//! The temperature that logits are divided by, so that probabilities mean what they say.

use std::sync::Arc;

use ocelli_data::Task;

use crate::metric::predictions::{Predictions, loss_of};

/// The temperatures that are believed: beyond them, too few images are wrong, or right, to know one.
const BELIEVED: (f64, f64) = (0.05, 20.0);

/// Parts of the images for cross-validation: a temperature is fitted on all but one, and judged on that one.
const FOLDS: usize = 5;

impl Predictions {
    /// The temperature that makes the log loss of these images lowest when it divides every logit (Guo et al. 2017,
    /// <https://arxiv.org/abs/1706.04599>): above 1 where the network is too sure. Nothing where there is none, since
    /// all that is said is right, or wrong.
    pub fn temperature(&self) -> Option<f64> {
        self.temperature_of(&(0..self.items.len()).collect::<Vec<_>>())
    }

    /// The [temperature](Self::temperature), where temperatures that are fitted on four fifths of the images lower the log
    /// loss of the others; else nothing. What is fitted and judged on the same images always looks better.
    pub fn helpful_temperature(&self) -> Option<f64> {
        let temperature = self.temperature()?;
        (self.cross_tempered().loss() < self.loss()).then_some(temperature)
    }

    /// Every image with the temperature that was fitted on the images of the other folds; as it is where there is none.
    /// Folds have about as many images of each class.
    pub(crate) fn cross_tempered(&self) -> Self {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.sort_by_key(|&place| self.targets[place].classes().first().copied());
        let folds = FOLDS.min(order.len());
        let mut tempered = self.clone();
        for fold in 0..folds {
            let within = |at: &usize| at % folds == fold;
            let others: Vec<usize> = (0..order.len()).filter(|at| !within(at)).map(|at| order[at]).collect();
            let Some(temperature) = self.temperature_of(&others) else { continue };
            for at in (0..order.len()).filter(within) {
                tempered.temper_at(order[at], temperature);
            }
        }
        tempered
    }

    /// The temperature of the lowest log loss of the images at these places.
    fn temperature_of(&self, places: &[usize]) -> Option<f64> {
        // The log loss is convex in 1 / temperature: its slope has one zero.
        let slope = |inverse: f64| places.iter().map(|&place| self.slope(place, inverse)).sum::<f64>();
        let (mut low, mut high) = (BELIEVED.1.recip().ln(), BELIEVED.0.recip().ln());
        let signs = (slope(low.exp()), slope(high.exp()));
        if places.is_empty() || !(signs.0 < 0.0 && signs.1 > 0.0) || !self.is_finite() {
            return None;
        }
        while high - low > 1e-9 {
            let middle = (low + high) / 2.0;
            *(if slope(middle.exp()) < 0.0 { &mut low } else { &mut high }) = middle;
        }
        Some((-(low + high) / 2.0).exp())
    }

    fn temper_at(&mut self, place: usize, temperature: f64) {
        let row = &mut self.probabilities[place * self.classes..][..self.classes];
        temper(self.task, row, temperature);
        self.losses[place] = loss_of(self.task, row, &self.targets[place]);
    }

    /// The same predictions with every logit divided by a temperature.
    ///
    /// # Panics
    /// Where the temperature is not above 0.
    pub fn tempered(&self, temperature: f64) -> Self {
        assert!(temperature > 0.0, "a temperature is above 0");
        let mut tempered = self.clone();
        for place in 0..self.items.len() {
            tempered.temper_at(place, temperature);
        }
        tempered.thresholds = tempered_thresholds(&self.thresholds, Some(temperature)).to_vec();
        tempered
    }

    /// The derivative of an image's loss by the inverse temperature.
    fn slope(&self, place: usize, inverse: f64) -> f64 {
        let (row, truth) = (self.row(place), self.targets[place].classes());
        match self.task {
            Task::SingleLabel => {
                let logits = logits(row);
                let powers: Vec<f64> = logits.iter().map(|logit| (inverse * logit).exp()).collect();
                let sum: f64 = powers.iter().sum();
                let expected =
                    powers.iter().zip(&logits).map(|(power, logit)| power * logit).sum::<f64>() / sum;
                expected - truth.first().map_or(expected, |&class| logits[class])
            }
            Task::MultiLabel => {
                let terms = row.iter().enumerate().map(|(class, &probability)| {
                    let logit = logit(probability);
                    let has = f64::from(u8::from(truth.contains(&class)));
                    ((1.0 + (-inverse * logit).exp()).recip() - has) * logit
                });
                terms.sum::<f64>() / row.len() as f64
            }
        }
    }
}

/// Probabilities with their logits divided by a temperature.
pub(crate) fn temper(task: Task, row: &mut [f32], temperature: f64) {
    match task {
        Task::SingleLabel => {
            let powers: Vec<f64> = logits(row).iter().map(|logit| (logit / temperature).exp()).collect();
            let sum: f64 = powers.iter().sum();
            row.iter_mut().zip(powers).for_each(|(value, power)| *value = (power / sum) as f32);
        }
        Task::MultiLabel => {
            for value in row {
                *value = (1.0 + (-logit(*value) / temperature).exp()).recip() as f32;
            }
        }
    }
}

/// The thresholds that decide the same after a temperature.
pub(crate) fn tempered_thresholds(thresholds: &[f32], temperature: Option<f64>) -> Arc<[f32]> {
    let mut thresholds = thresholds.to_vec();
    if let Some(temperature) = temperature {
        temper(Task::MultiLabel, &mut thresholds, temperature);
    }
    thresholds.into()
}

/// Logits of a softmax, the highest of them 0. A probability that is no number but 0 in single precision counts as the
/// smallest there is.
fn logits(row: &[f32]) -> Vec<f64> {
    let highest = f64::from(row.iter().copied().fold(f32::MIN_POSITIVE, f32::max)).ln();
    row.iter().map(|&value| f64::from(value.max(f32::MIN_POSITIVE)).ln() - highest).collect()
}

/// The logit of a sigmoid. What single precision holds for 1 counts as half a step below it.
fn logit(probability: f32) -> f64 {
    let near_one = 1.0 - f64::from(f32::EPSILON) / 4.0;
    let probability = f64::from(probability).clamp(f64::from(f32::MIN_POSITIVE), near_one);
    (probability / (1.0 - probability)).ln()
}
