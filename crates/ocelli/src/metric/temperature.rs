//! Temperature scaling: calibration of probabilities.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ocelli_data::Task;
use rayon::prelude::*;

use crate::metric::predictions::{Predictions, loss_of};

/// Temperatures outside this range are not used: too few images are wrong, or right, to fit one.
pub(crate) const BELIEVED: RangeInclusive<f64> = 0.05..=20.0;

/// Folds for cross-validation: a temperature is fitted on all but one, and evaluated on that one.
const FOLDS: usize = 5;

impl Predictions {
    /// The temperature that minimises the log loss of these images when every logit is divided by it (Guo et
    /// al. 2017, <https://arxiv.org/abs/1706.04599>): above 1 if the network is overconfident. `None` if
    /// there is no minimum, since all predictions are right, or all wrong. Where images times classes are more
    /// than 16 million, it is fitted to every so many-th image.
    pub fn temperature(&self) -> Option<f64> {
        Logits::of(self).temperature(&(0..self.items.len()).collect::<Vec<_>>())
    }

    /// The [temperature](Self::temperature), if temperatures that are fitted on four fifths of the images
    /// lower the log loss of the others; else `None`. Fitting and evaluating on the same images would always
    /// look better.
    pub fn validated_temperature(&self) -> Option<f64> {
        let temperature = self.temperature()?;
        (self.with_cross_validated_temperature().loss() < self.loss()).then_some(temperature)
    }

    /// Every image with the temperature that was fitted on the images of the other folds; unchanged if there
    /// is none. Folds are stratified by class.
    pub(crate) fn with_cross_validated_temperature(&self) -> Self {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.sort_by_key(|&index| self.targets[index].classes().first().copied());
        let folds = FOLDS.min(order.len());
        let mut with_temperature = self.clone();
        let logits = Logits::of(self);
        for fold in 0..folds {
            let within = |at: &usize| at % folds == fold;
            let others: Vec<usize> = (0..order.len()).filter(|at| !within(at)).map(|at| order[at]).collect();
            let Some(temperature) = logits.temperature(&others) else { continue };
            for at in (0..order.len()).filter(within) {
                with_temperature.apply_temperature_at(order[at], temperature);
            }
        }
        with_temperature
    }

    fn apply_temperature_at(&mut self, index: usize, temperature: f64) {
        let row = &mut self.probabilities[index * self.classes..][..self.classes];
        apply_temperature(self.task, row, temperature);
        self.losses[index] = loss_of(self.task, row, &self.targets[index]);
    }

    /// The same predictions with every logit divided by a temperature.
    ///
    /// # Panics
    /// Where the temperature is not above 0.
    pub fn with_temperature(&self, temperature: f64) -> Self {
        assert!(temperature > 0.0, "a temperature is above 0");
        let mut with_temperature = self.clone();
        for index in 0..self.items.len() {
            with_temperature.apply_temperature_at(index, temperature);
        }
        with_temperature.thresholds =
            thresholds_with_temperature(&self.thresholds, Some(temperature)).to_vec();
        with_temperature
    }
}

/// The logits of predictions, which every step of a search for a temperature needs.
struct Logits<'a> {
    predictions: &'a Predictions,
    /// `[images, classes]`; empty where they would take much memory, and are computed each time.
    values: Vec<f64>,
}

/// Logits that are kept in memory, at most: 128 MB.
const MOST_KEPT: usize = 1 << 24;
/// Logits that a temperature is fitted to where there are more than that, at most.
const MOST_FITTED: usize = 1 << 22;
/// Images whose slopes one thread computes at a time.
const AT_ONCE: usize = 64;

impl<'a> Logits<'a> {
    fn of(predictions: &'a Predictions) -> Self {
        let rows = predictions.probabilities.par_chunks(predictions.classes.max(1));
        let values = match predictions.probabilities.len() {
            ..=MOST_KEPT => rows.flat_map_iter(|row| logits(predictions.task, row)).collect(),
            _ => Vec::new(),
        };
        Self { predictions, values }
    }

    /// The temperature that minimises the log loss of the images at these indices.
    fn temperature(&self, indices: &[usize]) -> Option<f64> {
        let some;
        let indices = match self.values.is_empty() {
            // With so many classes, a part of the images shows the same, in seconds instead of minutes.
            true => {
                let step = (indices.len() * self.predictions.classes).div_ceil(MOST_FITTED).max(1);
                some = indices.iter().copied().step_by(step).collect::<Vec<usize>>();
                &some[..]
            }
            false => indices,
        };
        // The log loss is convex in 1 / temperature: its slope has one zero. Slopes are added in their order.
        let slope = |inverse: f64| {
            let slopes = indices.par_iter().with_min_len(AT_ONCE).map(|&index| self.slope(index, inverse));
            slopes.collect::<Vec<f64>>().into_iter().sum::<f64>()
        };
        let (mut low, mut high) = (BELIEVED.end().recip().ln(), BELIEVED.start().recip().ln());
        let signs = (slope(low.exp()), slope(high.exp()));
        if indices.is_empty() || !(signs.0 < 0.0 && signs.1 > 0.0) || !self.predictions.is_finite() {
            return None;
        }
        while high - low > 1e-9 {
            let middle = (low + high) / 2.0;
            *(if slope(middle.exp()) < 0.0 { &mut low } else { &mut high }) = middle;
        }
        Some((-(low + high) / 2.0).exp())
    }

    /// The derivative of an image's loss with respect to the inverse temperature.
    fn slope(&self, index: usize, inverse: f64) -> f64 {
        let Predictions { task, classes, targets, .. } = self.predictions;
        let computed;
        let logits = match self.values.is_empty() {
            true => {
                computed = logits(*task, self.predictions.row(index)).collect::<Vec<f64>>();
                &computed[..]
            }
            false => &self.values[index * classes..][..*classes],
        };
        let truth = targets[index].classes();
        match task {
            Task::SingleLabel => {
                let (mut sum, mut weighted) = (0.0, 0.0);
                for logit in logits {
                    let power = (inverse * logit).exp();
                    sum += power;
                    weighted += power * logit;
                }
                let expected = weighted / sum;
                expected - truth.first().map_or(expected, |&class| logits[class])
            }
            Task::MultiLabel => {
                let terms = logits.iter().enumerate().map(|(class, &logit)| {
                    let has = f64::from(u8::from(truth.contains(&class)));
                    ((1.0 + (-inverse * logit).exp()).recip() - has) * logit
                });
                terms.sum::<f64>() / logits.len() as f64
            }
        }
    }
}

/// The logits of an image's probabilities: those of a softmax, or of a sigmoid for each class.
fn logits(task: Task, row: &[f32]) -> impl Iterator<Item = f64> {
    let highest = f64::from(row.iter().copied().fold(f32::MIN_POSITIVE, f32::max)).ln();
    row.iter().map(move |&value| match task {
        Task::SingleLabel => softmax_logit(value, highest),
        Task::MultiLabel => logit(value),
    })
}

/// Probabilities with their logits divided by a temperature.
pub(crate) fn apply_temperature(task: Task, row: &mut [f32], temperature: f64) {
    match task {
        Task::SingleLabel => {
            let powers: Vec<f64> = logits(task, row).map(|logit| (logit / temperature).exp()).collect();
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

/// The thresholds that make the same predictions after temperature scaling.
pub(crate) fn thresholds_with_temperature(thresholds: &[f32], temperature: Option<f64>) -> Arc<[f32]> {
    let mut thresholds = thresholds.to_vec();
    if let Some(temperature) = temperature {
        apply_temperature(Task::MultiLabel, &mut thresholds, temperature);
    }
    thresholds.into()
}

/// A logit of a softmax whose highest probability has this logarithm. A probability that underflows to 0 in
/// single precision counts as the smallest positive one.
fn softmax_logit(value: f32, highest: f64) -> f64 {
    f64::from(value.max(f32::MIN_POSITIVE)).ln() - highest
}

/// The logit of a sigmoid. A probability that rounds to 1 in single precision counts as half a step below it.
fn logit(probability: f32) -> f64 {
    let near_one = 1.0 - f64::from(f32::EPSILON) / 4.0;
    let probability = f64::from(probability).clamp(f64::from(f32::MIN_POSITIVE), near_one);
    (probability / (1.0 - probability)).ln()
}
