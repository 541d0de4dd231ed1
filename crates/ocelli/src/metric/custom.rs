//! Metrics of one's own.

use std::sync::{Mutex, PoisonError};

use crate::metric::direction::Direction;
use crate::metric::predictions::Predictions;

/// A metric of one's own: a name, a direction, and a function of predictions.
///
/// Once [registered](Self::register) it is a [`Metric`](crate::Metric) as every other: best weights are kept by it, it has a column in
/// the history, a 95 % interval, and its name is understood wherever metrics are named.
///
/// ```
/// use ocelli::{CustomMetric, Direction, Metric};
///
/// let worst_class = CustomMetric::new("worst-recall", Direction::Higher, |predictions| {
///     predictions.per_class().iter().map(|class| class.recall).fold(1.0, f64::min)
/// });
/// let metric = worst_class.register().unwrap();
/// assert_eq!("worst-recall".parse::<Metric>().unwrap(), metric);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CustomMetric {
    name: &'static str,
    direction: Direction,
    score: fn(&Predictions) -> f64,
}

/// All that have been registered.
static REGISTERED: Mutex<Vec<CustomMetric>> = Mutex::new(Vec::new());

impl CustomMetric {
    /// `score` is called with predictions that are finite and not none; NaN says that it is not defined for them.
    pub const fn new(name: &'static str, direction: Direction, score: fn(&Predictions) -> f64) -> Self {
        Self { name, direction, score }
    }

    /// Takes the place of one of the same name.
    pub(super) fn remember(self) {
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        registered.retain(|other| other.name != self.name);
        registered.push(self);
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        registered.iter().find(|metric| metric.name == name).copied()
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Which way is better.
    pub fn direction(self) -> Direction {
        self.direction
    }

    pub(super) fn score(self, predictions: &Predictions) -> f64 {
        if predictions.is_empty() { f64::NAN } else { (self.score)(predictions) }
    }
}

/// Metrics are the same if their names are.
impl PartialEq for CustomMetric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
