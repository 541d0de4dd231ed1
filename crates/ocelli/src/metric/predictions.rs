//! Predicted probabilities, and their accuracy and loss.

use ocelli_data::{Target, Task};

use crate::metric::proportion::Proportion;

/// The predicted probabilities of some items. Metrics are over those whose labels are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    pub(super) task: Task,
    pub(super) classes: usize,
    pub(super) items: Vec<usize>,
    pub(super) targets: Vec<Target>,
    pub(super) probabilities: Vec<f32>,
    pub(super) losses: Vec<f64>,
    pub(super) thresholds: Vec<f32>,
}

/// The parts of [`Predictions`], to make them from another source.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionParts {
    /// Whether an image has one label or several.
    pub task: Task,
    /// The number of classes.
    pub classes: usize,
    /// See [`Predictions::items`].
    pub items: Vec<usize>,
    /// See [`Predictions::targets`].
    pub targets: Vec<Target>,
    /// See [`Predictions::probabilities`].
    pub probabilities: Vec<f32>,
    /// See [`Predictions::losses`].
    pub losses: Vec<f64>,
    /// See [`Predictions::thresholds`].
    pub thresholds: Vec<f32>,
}

/// The default threshold of multi-label predictions.
pub const THRESHOLD: f32 = 0.5;

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

    /// From their parts.
    ///
    /// # Panics
    /// Where there is not one target and one loss for each item, one probability for each item and class, and
    /// one threshold for each class.
    pub fn from_parts(parts: PredictionParts) -> Self {
        let PredictionParts { task, classes, items, targets, probabilities, losses, thresholds } = parts;
        assert_eq!(
            (targets.len(), losses.len()),
            (items.len(), items.len()),
            "a target and a loss for each item"
        );
        assert_eq!(probabilities.len(), items.len() * classes, "a probability for each item and class");
        assert_eq!(thresholds.len(), classes, "a threshold for each class");
        Self { task, classes, items, targets, probabilities, losses, thresholds }
    }

    /// Their parts.
    pub fn into_parts(self) -> PredictionParts {
        let Self { task, classes, items, targets, probabilities, losses, thresholds } = self;
        PredictionParts { task, classes, items, targets, probabilities, losses, thresholds }
    }

    /// Whether an image has one label or several.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items, as indices into [`ImageData::items`](crate::ImageData::items).
    pub fn items(&self) -> &[usize] {
        &self.items
    }

    /// The true classes of each item.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// `[items, classes]`, row by row. For single-label data each row sums to 1; for multi-label data each
    /// value is a probability of its own.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// The loss of each item: cross-entropy, or the mean of the classes' binary cross-entropies; natural
    /// logarithm. NaN where its labels are not known, and where the network's output is not finite.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// The threshold of each class for multi-label predictions.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// Sets the threshold of each class.
    ///
    /// # Panics
    /// Where there is not one for each class.
    pub fn set_thresholds(&mut self, thresholds: Vec<f32>) {
        assert_eq!(thresholds.len(), self.classes, "a threshold for each class");
        self.thresholds = thresholds;
    }

    /// Gives an item another index.
    pub(crate) fn set_item(&mut self, index: usize, item: usize) {
        self.items[index] = item;
    }

    /// Adds one item with its logits.
    pub(crate) fn push(&mut self, item: usize, target: &Target, logits: &[f32]) {
        self.items.push(item);
        self.targets.push(target.clone());
        self.losses.push(loss(self.task, logits, target));
        self.probabilities.extend(probabilities(self.task, logits));
    }

    /// Adds one item with its probabilities.
    pub(crate) fn push_probabilities(&mut self, item: usize, target: &Target, probabilities: Vec<f32>) {
        let loss = loss_of(self.task, &probabilities, target);
        self.push_row(item, target.clone(), &probabilities, loss);
    }

    /// Adds one item with its probabilities and its loss.
    pub(crate) fn push_row(&mut self, item: usize, target: Target, probabilities: &[f32], loss: f64) {
        self.items.push(item);
        self.targets.push(target);
        self.losses.push(loss);
        self.probabilities.extend_from_slice(probabilities);
    }

    /// The probabilities of one item, at this position in [`items`](Self::items).
    pub fn row(&self, index: usize) -> &[f32] {
        &self.probabilities[index * self.classes..][..self.classes]
    }

    /// The images at these positions, each as often as it is named.
    pub(crate) fn select(&self, positions: impl Iterator<Item = usize>) -> Self {
        let mut some = Self::new(self.task, self.classes);
        some.thresholds.clone_from(&self.thresholds);
        for index in positions {
            let target = self.targets[index].clone();
            some.push_row(self.items[index], target, self.row(index), self.losses[index]);
        }
        some
    }

    /// Repeats each image this many times.
    pub(super) fn repeated(&self, weights: &[u32]) -> Self {
        let times = |(index, &weight): (usize, &u32)| std::iter::repeat_n(index, weight as usize);
        self.select(weights.iter().enumerate().flat_map(times))
    }

    /// Whether all outputs of the network are finite. If not, its weights have become too large or NaN,
    /// nothing is predicted, and metrics are NaN.
    pub fn is_finite(&self) -> bool {
        let labelled = |target: &Target| !matches!(target, Target::Unlabelled);
        let mut losses = self.targets.iter().zip(&self.losses);
        self.probabilities.iter().all(|probability| probability.is_finite())
            && losses.all(|(target, loss)| loss.is_finite() || !labelled(target))
    }

    /// The predicted classes of one item, ascending: the most probable one, or all that reach their
    /// [threshold](Self::thresholds). None where a probability is not finite.
    pub fn predicted_labels(&self, index: usize) -> Vec<usize> {
        predicted_labels(self.task, self.row(index), &self.thresholds)
    }

    /// The most probable class of one item; of equal ones, the first.
    pub fn most_probable(&self, index: usize) -> usize {
        most_probable(self.row(index))
    }

    /// The fraction of items whose predicted classes are exactly the true ones.
    pub fn accuracy(&self) -> Proportion {
        let right = |&index: &usize| self.predicted_labels(index) == self.targets[index].classes();
        Proportion { count: (0..self.items.len()).filter(right).count(), total: self.items.len() }
    }

    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len() as f64
    }
}

/// The predicted classes of an image, ascending.
pub(crate) fn predicted_labels(task: Task, row: &[f32], thresholds: &[f32]) -> Vec<usize> {
    match task {
        // NaN is neither above nor below a threshold, and no class.
        _ if !all_finite(row) => Vec::new(),
        Task::SingleLabel => vec![most_probable(row)],
        Task::MultiLabel => (0..row.len()).filter(|&class| row[class] >= thresholds[class]).collect(),
    }
}

/// The most probable class; of equal ones, the first.
fn most_probable(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (class, value)| if *value > row[best] { class } else { best })
}

/// Whether no value is NaN or infinite.
pub(crate) fn all_finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

/// Softmax, or a sigmoid for each class; in f64. NaN for all classes if a logit is not finite, since a
/// sigmoid would turn an overflow into a confident prediction.
pub(crate) fn probabilities(task: Task, logits: &[f32]) -> Vec<f32> {
    match task {
        _ if !all_finite(logits) => vec![f32::NAN; logits.len()],
        Task::SingleLabel => log_softmax(logits).iter().map(|log| log.exp() as f32).collect(),
        Task::MultiLabel => {
            logits.iter().map(|logit| (1.0 / (1.0 + (-f64::from(*logit)).exp())) as f32).collect()
        }
    }
}

/// The loss of one image from its logits; NaN where its labels are not known, or a logit is not finite.
fn loss(task: Task, logits: &[f32], target: &Target) -> f64 {
    match (task, target) {
        (_, Target::Unlabelled) => f64::NAN,
        _ if !all_finite(logits) => f64::NAN,
        // Not the negative: where the model is sure, that is -0.
        (Task::SingleLabel, _) => 0.0 - log_softmax(logits)[target.classes()[0]],
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

/// Probabilities are clipped to this distance from 0 and 1 in a loss.
const LEAST: f64 = 1e-15;

/// The loss of one image from its probabilities; NaN where its labels are not known, or a probability is not
/// finite.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_nothing_has_no_sign() {
        // Beyond what an exponential can hold.
        let sure = [2000.0, -2000.0];
        for (task, target) in
            [(Task::SingleLabel, Target::Class(0)), (Task::MultiLabel, Target::Classes(vec![0]))]
        {
            assert_eq!(loss(task, &sure, &target).to_string(), "0", "{task:?}");
        }
        assert_eq!(loss(Task::SingleLabel, &sure, &Target::Class(1)), 4000.0);
    }
}
