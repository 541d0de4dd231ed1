//! Learning rates: one, or one per layer group (discriminative learning rates).

use std::fmt;

use ocelli_nn::GROUPS;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One learning rate for each layer group: early layers, late layers, head.
///
/// ```
/// use ocelli::LearningRates;
///
/// let same: LearningRates = 1e-2.into();
/// let each: LearningRates = [1e-4, 1e-3, 1e-2].into();
/// let spread: LearningRates = (1e-4, 1e-2).into();
/// assert_eq!(spread.to_string(), each.to_string());
/// # let _ = same;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LearningRates(pub [f64; GROUPS]);

impl LearningRates {
    /// From `low` for the first group to `high` for the head, by a constant factor.
    pub fn geometric(low: f64, high: f64) -> Self {
        let factor = (high / low).powf(1.0 / (GROUPS - 1) as f64);
        Self(std::array::from_fn(
            |group| if group + 1 == GROUPS { high } else { low * factor.powi(group as i32) },
        ))
    }

    /// `head` for the head; each group before it has that of the next one divided by `ratio`.
    pub fn from_ratio(head: f64, ratio: f64) -> Self {
        Self::geometric(head / ratio.powi(GROUPS as i32 - 1), head)
    }

    /// The head's learning rate.
    pub fn head(self) -> f64 {
        self.0[GROUPS - 1]
    }

    /// All learning rates times `factor`.
    pub fn scaled(self, factor: f64) -> Self {
        Self(self.0.map(|rate| rate * factor))
    }

    pub(crate) fn check(self) -> Result<Self> {
        match self.0.iter().find(|rate| !(rate.is_finite() && **rate > 0.0)) {
            Some(rate) => Err(Error::setting("lr", rate, "a number above 0, such as 0.01")),
            None => Ok(self),
        }
    }
}

impl From<f64> for LearningRates {
    fn from(rate: f64) -> Self {
        Self([rate; GROUPS])
    }
}

/// From the low one for the first group to the high one for the head: [`LearningRates::geometric`].
impl From<(f64, f64)> for LearningRates {
    fn from((low, high): (f64, f64)) -> Self {
        Self::geometric(low, high)
    }
}

impl From<[f64; GROUPS]> for LearningRates {
    fn from(rates: [f64; GROUPS]) -> Self {
        Self(rates)
    }
}

impl fmt::Display for LearningRates {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let [first, .., last] = self.0;
        if first == last && self.0.iter().all(|rate| *rate == first) {
            return write!(formatter, "{last:.1e}");
        }
        let rates: Vec<String> = self.0.iter().map(|rate| format!("{rate:.1e}")).collect();
        formatter.write_str(&rates.join(", "))
    }
}
