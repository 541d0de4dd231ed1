//! Probabilities and what they are worth, exact over a whole set.

use serde::Serialize;

/// What a network says about some items whose classes are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// The items, as indices into [`ImageData::items`](crate::ImageData::items).
    pub items: Vec<usize>,
    /// The class of each item.
    pub targets: Vec<usize>,
    /// `[items, classes]`, row by row; each row sums to 1.
    pub probabilities: Vec<f32>,
    /// The natural logarithms of the probabilities of the right classes, from which the loss comes.
    pub log_likelihoods: Vec<f64>,
}

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

impl Predictions {
    pub(crate) fn new() -> Self {
        Self { items: vec![], targets: vec![], probabilities: vec![], log_likelihoods: vec![] }
    }

    /// Adds one item with its logits.
    pub(crate) fn push(&mut self, item: usize, target: usize, logits: &[f32]) {
        let logarithms = log_softmax(logits);
        self.items.push(item);
        self.targets.push(target);
        self.log_likelihoods.push(logarithms[target]);
        self.probabilities.extend(logarithms.iter().map(|log| log.exp() as f32));
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.probabilities.len() / self.items.len().max(1)
    }

    /// The probabilities of one item, as placed in [`items`](Self::items).
    pub fn row(&self, place: usize) -> &[f32] {
        &self.probabilities[place * self.classes()..][..self.classes()]
    }

    /// The share of items whose most probable class is theirs.
    pub fn accuracy(&self) -> Share {
        let right = |&place: &usize| most_probable(self.row(place)) == self.targets[place];
        Share { count: (0..self.items.len()).filter(right).count(), total: self.items.len() }
    }

    /// Mean negative log-likelihood: cross-entropy, natural logarithm.
    pub fn loss(&self) -> f64 {
        -self.log_likelihoods.iter().sum::<f64>() / self.log_likelihoods.len() as f64
    }
}

/// The class of the highest probability, of equal ones the first.
pub(crate) fn most_probable(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (class, value)| if *value > row[best] { class } else { best })
}

/// Logarithms of the softmax, in f64.
pub(crate) fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
    logits.iter().map(|logit| f64::from(*logit) - highest - sum.ln()).collect()
}
