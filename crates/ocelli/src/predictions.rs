//! Probabilities and what they are worth, exact over a whole set.

use ocelli_data::{Draws, Purpose, Target, Task};
use serde::Serialize;

/// What a network says about some items whose classes are known.
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
    pub losses: Vec<f64>,
}

/// From this probability on, an image of several classes is said to have one.
pub const THRESHOLD: f32 = 0.5;

/// A share of a set with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub total: usize,
}

impl Share {
    /// 0 to 1; NaN of nothing.
    pub fn value(self) -> f64 {
        self.count as f64 / self.total as f64
    }

    /// Wilson's score interval at 95 % (Wilson 1927): where the share of a whole population lies of which these
    /// were drawn.
    pub fn interval(self) -> (f64, f64) {
        let z = 1.959963984540054;
        let (n, p) = (self.total as f64, self.value());
        let centre = p + z * z / (2.0 * n);
        let reach = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z * z / n;
        (((centre - reach) / scale).max(0.0), ((centre + reach) / scale).min(1.0))
    }
}

/// The micro-averaged F1 score: the harmonic mean of precision and recall over all labels of all images.
#[derive(Debug, Clone, PartialEq)]
pub struct F1 {
    /// For each image: labels rightly given, wrongly given, and missed.
    counts: Vec<[usize; 3]>,
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;

impl F1 {
    /// 0 to 1; NaN where there are no labels, neither given nor true.
    pub fn value(&self) -> f64 {
        f1(self.counts.iter())
    }

    /// The middle 95 % of the scores of 2,000 sets of as many images drawn from these (the bootstrap's percentile
    /// interval, Efron 1979), always the same draws.
    pub fn interval(&self) -> (f64, f64) {
        let images = self.counts.len();
        let mut scores: Vec<f64> = (0..RESAMPLES as u64)
            .map(|resample| {
                let mut draws = Draws::new(0, Purpose::Bootstrap, 0, resample);
                let drawn: Vec<&[usize; 3]> =
                    (0..images).map(|_| &self.counts[draws.below(images as u64) as usize]).collect();
                f1(drawn.into_iter())
            })
            .filter(|score| !score.is_nan())
            .collect();
        scores.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * scores.len() as f64) as usize;
            scores.get(place.min(scores.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
        };
        (at(0.025), at(0.975))
    }
}

fn f1<'a>(counts: impl Iterator<Item = &'a [usize; 3]>) -> f64 {
    let [right, wrong, missed] =
        counts.fold([0; 3], |sums: [usize; 3], count| std::array::from_fn(|i| sums[i] + count[i]));
    2.0 * right as f64 / (2 * right + wrong + missed) as f64
}

impl Predictions {
    pub(crate) fn new(task: Task, classes: usize) -> Self {
        Self { task, classes, items: vec![], targets: vec![], probabilities: vec![], losses: vec![] }
    }

    /// Adds one item with its logits.
    pub(crate) fn push(&mut self, item: usize, target: &Target, logits: &[f32]) {
        self.items.push(item);
        self.targets.push(target.clone());
        self.losses.push(loss(self.task, logits, target.classes()));
        self.probabilities.extend(probabilities(self.task, logits));
    }

    /// The probabilities of one item, as placed in [`items`](Self::items).
    pub fn row(&self, place: usize) -> &[f32] {
        &self.probabilities[place * self.classes..][..self.classes]
    }

    /// The classes that one item is said to have, ascending: the most probable, or all that reach [`THRESHOLD`].
    pub fn decided(&self, place: usize) -> Vec<usize> {
        decided(self.task, self.row(place))
    }

    /// The share of items that are said to have exactly the classes that they have.
    pub fn accuracy(&self) -> Share {
        let right = |&place: &usize| self.decided(place) == self.targets[place].classes();
        Share { count: (0..self.items.len()).filter(right).count(), total: self.items.len() }
    }

    /// The micro-averaged F1 score, which is worth looking at where images have several classes.
    pub fn f1(&self) -> F1 {
        let count = |place: usize| {
            let (said, true_classes) = (self.decided(place), self.targets[place].classes());
            let right = said.iter().filter(|class| true_classes.contains(class)).count();
            [right, said.len() - right, true_classes.len() - right]
        };
        F1 { counts: (0..self.items.len()).map(count).collect() }
    }

    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len() as f64
    }
}

/// The classes that an image is said to have, ascending.
pub(crate) fn decided(task: Task, row: &[f32]) -> Vec<usize> {
    match task {
        Task::SingleLabel => vec![most_probable(row)],
        Task::MultiLabel => (0..row.len()).filter(|&class| row[class] >= THRESHOLD).collect(),
    }
}

/// The class of the highest probability, of equal ones the first.
fn most_probable(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (class, value)| if *value > row[best] { class } else { best })
}

/// Softmax, or a sigmoid for each class; in f64.
pub(crate) fn probabilities(task: Task, logits: &[f32]) -> Vec<f32> {
    match task {
        Task::SingleLabel => log_softmax(logits).iter().map(|log| log.exp() as f32).collect(),
        Task::MultiLabel => {
            logits.iter().map(|logit| (1.0 / (1.0 + (-f64::from(*logit)).exp())) as f32).collect()
        }
    }
}

/// The loss of one image with these classes.
fn loss(task: Task, logits: &[f32], classes: &[usize]) -> f64 {
    match task {
        Task::SingleLabel => -log_softmax(logits)[classes[0]],
        Task::MultiLabel => {
            let terms = logits.iter().enumerate().map(|(class, logit)| {
                let logit = f64::from(*logit);
                let has = f64::from(u8::from(classes.contains(&class)));
                logit.max(0.0) - logit * has + (-logit.abs()).exp().ln_1p()
            });
            terms.sum::<f64>() / logits.len() as f64
        }
    }
}

/// Logarithms of the softmax, in f64.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
    logits.iter().map(|logit| f64::from(*logit) - highest - sum.ln()).collect()
}
