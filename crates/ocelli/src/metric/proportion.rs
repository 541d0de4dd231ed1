//! Proportions, with Wilson's interval.

use serde::Serialize;

/// A proportion of a set, with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Proportion {
    /// The number of successes.
    pub count: usize,
    /// The number of trials.
    pub total: usize,
}

impl Proportion {
    /// 0 to 1; NaN for no trials.
    pub fn value(self) -> f64 {
        self.count as f64 / self.total as f64
    }

    /// Wilson's score interval at 95 % (Wilson 1927).
    pub fn interval(self) -> (f64, f64) {
        wilson(self.value(), self.total as f64)
    }
}

/// The number of standard deviations that contain 95 % of a normal distribution.
pub(crate) const Z: f64 = 1.959963984540054;

/// Wilson's score interval at 95 % for a proportion `p` observed in `n` trials, which need not be a whole
/// number.
pub(crate) fn wilson(p: f64, n: f64) -> (f64, f64) {
    let centre = p + Z * Z / (2.0 * n);
    let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // An observed 0 or 1 is an end of the interval: rounding must not exclude it.
    let low = if p == 0.0 { 0.0 } else { ((centre - reach) / scale).max(0.0) };
    let high = if p == 1.0 { 1.0 } else { ((centre + reach) / scale).min(1.0) };
    (low, high)
}
