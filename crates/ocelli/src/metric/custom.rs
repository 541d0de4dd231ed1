//! Custom metrics.

use std::fmt;

use ocelli_data::registry::Registry;

use crate::metric::direction::Direction;
use crate::metric::predictions::Predictions;

/// A custom metric: a name, a direction, and a function of predictions.
///
/// Once [registered](Self::register) it is a [`Metric`](crate::Metric) like any other: it can select the best
/// weights, has a column in the history and a 95 % interval, and its name can be used wherever a metric is
/// named.
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
    score: ScoreFunction,
}

/// How a custom metric is computed.
#[derive(Clone, Copy)]
enum ScoreFunction {
    Plain(fn(&Predictions) -> f64),
    Closure(&'static (dyn Fn(&Predictions) -> f64 + Send + Sync)),
}

impl fmt::Debug for ScoreFunction {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a function of predictions")
    }
}

/// All registered metrics.
static REGISTERED: Registry<CustomMetric> = Registry::new();

impl CustomMetric {
    /// `score` is called with predictions that are finite and not empty; NaN means that it is not defined for
    /// them.
    pub const fn new(name: &'static str, direction: Direction, score: fn(&Predictions) -> f64) -> Self {
        Self { name, direction, score: ScoreFunction::Plain(score) }
    }

    /// As [`new`](Self::new), of a name and a function that are only known when the program runs, such as those of another
    /// language. They stay in memory until the process ends, as a registered metric may be named at any time.
    pub fn from_closure(
        name: String,
        direction: Direction,
        score: impl Fn(&Predictions) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.leak(), direction, score: ScoreFunction::Closure(Box::leak(Box::new(score))) }
    }

    /// Replaces one of the same name.
    pub(super) fn remember(self) {
        REGISTERED.register(self.name, self);
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        REGISTERED.find(name)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Whether higher or lower is better.
    pub fn direction(self) -> Direction {
        self.direction
    }

    pub(super) fn score(self, predictions: &Predictions) -> f64 {
        match self.score {
            _ if predictions.is_empty() => f64::NAN,
            ScoreFunction::Plain(score) => score(predictions),
            ScoreFunction::Closure(score) => score(predictions),
        }
    }
}

/// Metrics are equal if their names are.
impl PartialEq for CustomMetric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
