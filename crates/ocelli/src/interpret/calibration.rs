//! Whether probabilities mean what they say, and the temperature that makes them, judged on images that it was not fitted
//! on.

use std::sync::Arc;

use ocelli_data::Target;
use serde::Serialize;

use super::Interpretation;
use crate::metric::predictions::{Predictions, loss_of};
use ocelli_data::Task;

/// How far probabilities can be trusted, as they are and with a temperature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// What logits are divided by, fitted on all of these predictions; nothing where none can be fitted, or where it does
    /// not lower the log loss of images that it was not fitted on.
    pub temperature: Option<f64>,
    /// The probabilities as they are.
    pub plain: Reliability,
    /// The probabilities with a temperature, each image with the one that was fitted on the other folds: what is to be
    /// expected of new images. Nothing where there is no temperature.
    pub calibrated: Option<Reliability>,
    /// What came of it, in a sentence or two.
    pub sentence: String,
}

/// Confidence against what comes true.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// Fifteen bins of equal width; empty ones have no shares.
    pub bins: Vec<Bin>,
    /// The expected calibration error (Naeini et al. 2015): the mean distance of confidence and accuracy over bins,
    /// weighted by images, 0 to 1.
    pub expected_error: f64,
    /// The mean negative logarithm of the true class's probability; where images have several classes, the mean
    /// binary cross-entropy.
    pub log_loss: f64,
    /// The mean squared distance of probabilities and truth, summed over classes (Brier 1950), 0 to 2.
    pub brier: f64,
}

/// What is said with about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// The lowest confidence, not included but for 0.
    pub low: f64,
    /// The highest confidence.
    pub high: f64,
    /// How often something was said with it.
    pub count: usize,
    /// The mean confidence.
    pub confidence: Option<f64>,
    /// The share that came true.
    pub accuracy: Option<f64>,
}

/// The bins of a reliability diagram.
const BINS: usize = 15;
/// The temperatures that are believed: beyond them, too few images are wrong, or right, to know one.
const BELIEVED: (f64, f64) = (0.05, 20.0);

/// Parts of the images for cross-validation: a temperature is fitted on all but one, and judged on that one.
const FOLDS: usize = 5;

impl Interpretation {
    /// Whether the probabilities mean what they say, and whether a temperature makes them.
    pub fn calibration(&self) -> Calibration {
        let predictions = &self.predictions;
        let plain = reliability(predictions);
        let Some(temperature) = predictions.temperature() else {
            let sentence =
                "No temperature can be fitted, since everything that is said is right, or wrong.".to_owned();
            return Calibration { temperature: None, plain, calibrated: None, sentence };
        };
        let judged = reliability(&predictions.cross_tempered());
        let helps = judged.log_loss < plain.log_loss;
        let sentence = sentence(temperature, helps, &plain, &judged);
        let temperature = helps.then_some(temperature);
        Calibration { temperature, plain, calibrated: helps.then_some(judged), sentence }
    }
}

/// Each measure with its direction, so that nothing is praised that became worse.
fn sentence(temperature: f64, helps: bool, plain: &Reliability, judged: &Reliability) -> String {
    let measures = [
        ("log loss", plain.log_loss, judged.log_loss),
        ("expected error", plain.expected_error, judged.expected_error),
        ("Brier score", plain.brier, judged.brier),
    ];
    let told = measures.map(|(name, before, after)| {
        let moved = match (format!("{before:.4}"), format!("{after:.4}")) {
            (before, after) if before == after => return format!("the {name} stays at {before}"),
            (before, after) => format!("from {before} to {after}"),
        };
        let word = if after < before { "falls" } else { "rises" };
        format!("the {name} {word} {moved}")
    });
    let sureness = if temperature > 1.0 { "less sure" } else { "surer" };
    let verdict = match helps {
        true => format!("A temperature of {temperature:.3} makes the model {sureness}."),
        false => "No temperature is kept, since it does not lower the log loss of images that it was not fitted on."
            .to_owned(),
    };
    let [first, second, third] = told;
    format!(
        "{verdict} In cross-validation, with temperatures that were fitted on other images, {first}, {second}, and {third}."
    )
}

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
    fn cross_tempered(&self) -> Self {
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

    /// Adds one item with its probabilities.
    pub(crate) fn push_probabilities(&mut self, item: usize, target: &Target, probabilities: Vec<f32>) {
        self.items.push(item);
        self.targets.push(target.clone());
        self.losses.push(loss_of(self.task, &probabilities, target));
        self.probabilities.extend(probabilities);
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

fn reliability(predictions: &Predictions) -> Reliability {
    let mut sums = vec![(0usize, 0.0, 0usize); BINS];
    let mut brier = 0.0;
    let mut said = 0;
    let images = predictions.items.len();
    for place in 0..images {
        let (row, truth) = (predictions.row(place), predictions.targets[place].classes());
        for (class, &probability) in row.iter().enumerate() {
            let has = f64::from(u8::from(truth.contains(&class)));
            brier += (f64::from(probability) - has).powi(2);
        }
        // Where an image has one class, the answer is what counts; else each class is an answer.
        let answers = match predictions.task {
            Task::SingleLabel => predictions.predicted_labels(place),
            Task::MultiLabel => (0..row.len()).collect(),
        };
        for class in answers {
            let confidence = f64::from(row[class]);
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            sums[bin].0 += 1;
            sums[bin].1 += confidence;
            sums[bin].2 += usize::from(truth.contains(&class));
            said += 1;
        }
    }
    let bins: Vec<Bin> = sums
        .iter()
        .enumerate()
        .map(|(bin, &(count, confidence, right))| Bin {
            low: bin as f64 / BINS as f64,
            high: (bin + 1) as f64 / BINS as f64,
            count,
            confidence: (count > 0).then(|| confidence / count as f64),
            accuracy: (count > 0).then(|| right as f64 / count as f64),
        })
        .collect();
    let distance = |bin: &Bin| match (bin.confidence, bin.accuracy) {
        (Some(confidence), Some(accuracy)) => bin.count as f64 * (confidence - accuracy).abs(),
        _ => 0.0,
    };
    Reliability {
        expected_error: bins.iter().map(distance).sum::<f64>() / f64::from(said.max(1)),
        log_loss: predictions.loss(),
        brier: brier / images as f64,
        bins,
    }
}
