//! Probabilities and what they are worth, exact over a whole set.

use ocelli_data::{Target, Task};
use serde::Serialize;

use crate::data::ImageData;

/// What a network says about some items. Metrics are of those whose classes are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Whether an image has one class or several.
    pub task: Task,
    /// The number of classes.
    pub classes: usize,
    /// The items, as indices into [`ImageData::items`](crate::ImageData::items).
    pub items: Vec<usize>,
    /// What each item is.
    pub targets: Vec<Target>,
    /// `[items, classes]`, row by row. With one class an image each row sums to 1; with several each number is a
    /// probability of its own.
    pub probabilities: Vec<f32>,
    /// The loss of each item: cross-entropy, or the mean of the classes' binary cross-entropies; natural logarithm.
    /// NaN where its classes are not known, and where what the network computed is not finite.
    pub losses: Vec<f64>,
    /// From which probability on an image is said to have a class, where it may have several: one a class.
    pub thresholds: Vec<f32>,
}

/// From this probability on, an image of several classes is usually said to have one.
pub const THRESHOLD: f32 = 0.5;

/// A share of a set with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Proportion {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub total: usize,
}

impl Proportion {
    /// 0 to 1; NaN of nothing.
    pub fn value(self) -> f64 {
        self.count as f64 / self.total as f64
    }

    /// Wilson's score interval at 95 % (Wilson 1927): where the share of a whole population lies of which these
    /// were drawn.
    pub fn interval(self) -> (f64, f64) {
        wilson(self.value(), self.total as f64)
    }
}

/// The number of standard deviations in which 95 % of a normal distribution lie.
pub(crate) const Z: f64 = 1.959963984540054;

/// Wilson's score interval at 95 % for a share `p` that was seen in `n` draws, which may be a fraction of one.
pub(crate) fn wilson(p: f64, n: f64) -> (f64, f64) {
    let centre = p + Z * Z / (2.0 * n);
    let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // 0 and 1 are ends of the interval where they are seen: rounding must not shut them out.
    let low = if p == 0.0 { 0.0 } else { ((centre - reach) / scale).max(0.0) };
    let high = if p == 1.0 { 1.0 } else { ((centre + reach) / scale).min(1.0) };
    (low, high)
}

impl Predictions {
    pub(crate) fn new(task: Task, classes: usize) -> Self {
        let thresholds = vec![THRESHOLD; classes];
        Self {
            task,
            classes,
            items: vec![],
            targets: vec![],
            probabilities: vec![],
            losses: vec![],
            thresholds,
        }
    }

    /// Adds one item with its logits.
    pub(crate) fn push(&mut self, item: usize, target: &Target, logits: &[f32]) {
        self.items.push(item);
        self.targets.push(target.clone());
        self.losses.push(loss(self.task, logits, target));
        self.probabilities.extend(probabilities(self.task, logits));
    }

    /// The probabilities of one item, as placed in [`items`](Self::items).
    pub fn row(&self, place: usize) -> &[f32] {
        &self.probabilities[place * self.classes..][..self.classes]
    }

    /// Whether everything that the network computed is finite. Where it is not, its weights have become too large or
    /// NaN, nothing is decided, and metrics are NaN.
    pub fn is_finite(&self) -> bool {
        let labelled = |target: &Target| !matches!(target, Target::Unlabelled);
        let mut losses = self.targets.iter().zip(&self.losses);
        self.probabilities.iter().all(|probability| probability.is_finite())
            && losses.all(|(target, loss)| loss.is_finite() || !labelled(target))
    }

    /// The classes that one item is said to have, ascending: the most probable, or all that reach their
    /// [threshold](Self::thresholds). None where a probability is not finite.
    pub fn predicted_labels(&self, place: usize) -> Vec<usize> {
        predicted_labels(self.task, self.row(place), &self.thresholds)
    }

    /// The share of items that are said to have exactly the classes that they have.
    pub fn accuracy(&self) -> Proportion {
        let right = |&place: &usize| self.predicted_labels(place) == self.targets[place].classes();
        Proportion { count: (0..self.items.len()).filter(right).count(), total: self.items.len() }
    }

    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len() as f64
    }
}

impl ImageData {
    /// The same answer for each of some items: every class as probable as it is frequent among the images to train on,
    /// counted once more than it occurs. What a model has learnt is what it is better than this: in accuracy, than always
    /// saying the most frequent class.
    pub fn baseline(&self, items: &[usize]) -> Predictions {
        let mut counts = vec![1usize; self.classes().len()];
        for &item in &self.split.train {
            self.items[item].target.classes().iter().for_each(|&class| counts[class] += 1);
        }
        let all = match self.task() {
            Task::SingleLabel => counts.iter().sum::<usize>(),
            Task::MultiLabel => self.split.train.len() + 2,
        };
        let row: Vec<f32> = counts.iter().map(|count| (*count as f64 / all as f64) as f32).collect();
        let mut predictions = Predictions::new(self.task(), counts.len());
        for &item in items {
            predictions.push_probabilities(item, &self.items[item].target, row.clone());
        }
        predictions
    }
}

/// The classes that an image is said to have, ascending.
pub(crate) fn predicted_labels(task: Task, row: &[f32], thresholds: &[f32]) -> Vec<usize> {
    match task {
        // NaN is neither above nor below anything, and no class.
        _ if !all_finite(row) => Vec::new(),
        Task::SingleLabel => vec![most_probable(row)],
        Task::MultiLabel => (0..row.len()).filter(|&class| row[class] >= thresholds[class]).collect(),
    }
}

/// The class of the highest probability, of equal ones the first.
fn most_probable(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (class, value)| if *value > row[best] { class } else { best })
}

/// Whether no number is NaN or infinite.
pub(crate) fn all_finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

/// Softmax, or a sigmoid for each class; in f64. NaN for all where a logit is not finite, since a sigmoid would make a
/// sure answer of an overflow.
pub(crate) fn probabilities(task: Task, logits: &[f32]) -> Vec<f32> {
    match task {
        _ if !all_finite(logits) => vec![f32::NAN; logits.len()],
        Task::SingleLabel => log_softmax(logits).iter().map(|log| log.exp() as f32).collect(),
        Task::MultiLabel => {
            logits.iter().map(|logit| (1.0 / (1.0 + (-f64::from(*logit)).exp())) as f32).collect()
        }
    }
}

/// The loss of one image from its logits; NaN where its classes are not known, or a logit is not finite.
fn loss(task: Task, logits: &[f32], target: &Target) -> f64 {
    match (task, target) {
        (_, Target::Unlabelled) => f64::NAN,
        _ if !all_finite(logits) => f64::NAN,
        (Task::SingleLabel, _) => -log_softmax(logits)[target.classes()[0]],
        (Task::MultiLabel, _) => {
            let terms = logits.iter().enumerate().map(|(class, logit)| {
                let logit = f64::from(*logit);
                let has = f64::from(u8::from(target.classes().contains(&class)));
                logit.max(0.0) - logit * has + (-logit.abs()).exp().ln_1p()
            });
            terms.sum::<f64>() / logits.len() as f64
        }
    }
}

/// Probabilities count as at least this in a loss, and as at most 1 less it.
const LEAST: f64 = 1e-15;

/// The loss of one image from its probabilities; NaN where its classes are not known, or a probability is not finite.
pub(crate) fn loss_of(task: Task, row: &[f32], target: &Target) -> f64 {
    let log = |probability: f64| probability.clamp(LEAST, 1.0 - LEAST).ln();
    match (task, target) {
        (_, Target::Unlabelled) => f64::NAN,
        _ if !all_finite(row) => f64::NAN,
        (Task::SingleLabel, _) => -log(f64::from(row[target.classes()[0]])),
        (Task::MultiLabel, _) => {
            let terms = row.iter().enumerate().map(|(class, &probability)| {
                let probability = f64::from(probability);
                -log(if target.classes().contains(&class) { probability } else { 1.0 - probability })
            });
            terms.sum::<f64>() / row.len() as f64
        }
    }
}

/// Logarithms of the softmax, in f64.
pub(crate) fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
    logits.iter().map(|logit| f64::from(*logit) - highest - sum.ln()).collect()
}
