//! Custom metrics.

use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::metric::predictions::Predictions;
use crate::metric::{Direction, Metric};

/// A custom metric: a name, a direction, and a function of predictions.
///
/// Once [registered](Self::register) it is a [`Metric`] like any other: it can select the best weights, has a
/// column in the history and a 95 % interval, and its name can be used wherever a metric is named.
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

/// All registered metrics.
static REGISTERED: Mutex<Vec<CustomMetric>> = Mutex::new(Vec::new());

impl CustomMetric {
    /// `score` is called with predictions that are finite and not empty; NaN means that it is not defined for
    /// them.
    pub const fn new(name: &'static str, direction: Direction, score: fn(&Predictions) -> f64) -> Self {
        Self { name, direction, score }
    }

    /// Makes the name known in this process, so that it can be parsed, and read from the settings of a
    /// resumed run. Registering the same name again replaces the metric.
    ///
    /// # Errors
    /// [`Error::Setting`] where the name is empty, is that of a built-in metric, or has other characters than
    /// lower-case letters, digits and hyphens.
    pub fn register(self) -> Result<Metric> {
        let usual = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '-');
        if self.name.is_empty() || !self.name.chars().all(usual) {
            let expected = "lower-case letters, digits and hyphens";
            return Err(Error::setting("metric", format!("{:?}", self.name), expected));
        }
        if Metric::built_in(self.name).is_some() {
            return Err(Error::setting("metric", self.name, "a name that no built-in metric has"));
        }
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        registered.retain(|other| other.name != self.name);
        registered.push(self);
        Ok(Metric::Custom(self))
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        registered.iter().find(|metric| metric.name == name).copied()
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
        if predictions.is_empty() { f64::NAN } else { (self.score)(predictions) }
    }
}

/// Metrics are equal if their names are.
impl PartialEq for CustomMetric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
