//! A part of a set, and how sure it is.

use serde::Serialize;

/// A part of a set with its 95 % interval.
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
