//! What the learning rate finder saw, and where the loss rises.

use serde::{Deserialize, Serialize};

use crate::schedule::learning_rates::LearningRates;

/// The standard deviation of the smoothing kernel as a share of the steps.
pub(super) const SMOOTHED: f64 = 0.03;
/// Fewer steps before the loss grows without bounds say nothing.
pub(super) const FEWEST_KEPT: usize = 10;
/// The standard deviation of the smoothing in which a rise is looked for, as a share of the steps.
const RISE_SMOOTHED: f64 = 0.05;
/// The smallest rise of the loss's logarithm that counts.
const LEAST_RISE: f64 = 0.05;

/// What the learning rate finder saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrCurve {
    /// The rates of the first step, one a layer group, whose ratios all steps kept.
    pub start: LearningRates,
    /// The head's rate of each step.
    pub rates: Vec<f64>,
    /// The loss before each step.
    pub losses: Vec<f64>,
    /// The losses, smoothed: at each step the geometric mean of its neighbours on both sides, in Gaussian weights
    /// of 3 % of the steps. Looking both ways it lags behind nowhere, unlike the average of the past that fastai
    /// draws, whose minimum lies almost a factor of ten to the right.
    pub smoothed: Vec<f64>,
    /// The head's rate at which the loss grew without bounds, if it did.
    pub diverged: Option<f64>,
    /// The number of frozen layer groups: 0 where all layers were trained, as [`LrFind::search`](crate::LrFind::search) supposes.
    #[serde(default)]
    pub frozen: usize,
    /// The number of photos that were trained on, if it is known.
    #[serde(default)]
    pub photos: Option<usize>,
}

impl LrCurve {
    /// The rate from which on the loss is clearly higher than at low rates, for good; nothing where it never is.
    ///
    /// Low rates are those of the first half of the steps, at which a network that is trained already stays as it is, or of
    /// the first quarter, where the loss is higher in the second one already; clearly higher is by more
    /// than two standard deviations of the mean of so many batches as the smoothing takes together.
    pub fn rises_at(&self) -> Option<f64> {
        let (level, deviation) = self.low_rates(if self.rises_at_once() { 4 } else { 2 })?;
        let width = (self.losses.len() as f64 * RISE_SMOOTHED).max(1.0);
        let higher = (2.0 * deviation / averaged(width).sqrt()).max(LEAST_RISE);
        let smoothed = smoothed(&self.losses, width);
        let last_low = smoothed.iter().rposition(|loss| loss.ln() <= level + higher)?;
        self.rates.get(last_low + 1).copied().or(self.diverged)
    }

    /// Whether the loss rises already among the low rates: its mean logarithm in the second quarter of the steps is clearly
    /// above that in the first.
    fn rises_at_once(&self) -> bool {
        let Some((_, deviation)) = self.low_rates(2) else { return false };
        let quarter = self.losses.len() / 4;
        let mean =
            |losses: &[f64]| losses.iter().map(|loss| logarithm(*loss)).sum::<f64>() / losses.len() as f64;
        let rise = mean(&self.losses[quarter..2 * quarter]) - mean(&self.losses[..quarter]);
        // Four standard deviations of the difference, since it takes most of the level's steps away.
        rise > (4.0 * deviation * (2.0 / quarter as f64).sqrt()).max(LEAST_RISE)
    }

    /// The logarithm of the loss at the rates of the first half, quarter …, and its standard deviation from batch to batch,
    /// both by medians; nothing where there are too few.
    fn low_rates(&self, part: usize) -> Option<(f64, f64)> {
        let low = &self.losses[..self.losses.len() / part];
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let level = median(low.iter().map(|loss| logarithm(*loss)).collect())?;
        // 1.4826 median absolute deviations of a normal number are its standard deviation.
        let deviation = 1.4826 * median(low.iter().map(|loss| (logarithm(*loss) - level).abs()).collect())?;
        (low.len() >= FEWEST_KEPT / 2).then_some((level, deviation))
    }

    /// The relative difference of losses that is not by chance.
    pub(super) fn clear(&self) -> f64 {
        0.02_f64.max(2.0 * self.noise())
    }

    /// The rates of all groups where the head's is `head`, in the proportions of the search.
    pub fn rates_at(&self, head: f64) -> LearningRates {
        self.start.scaled(head / self.start.head())
    }

    /// Rates and smoothed losses without the first tenth and the last five steps, as fastai 2 has it.
    pub(super) fn considered(&self) -> (&[f64], &[f64]) {
        let end = self.smoothed.len().saturating_sub(5);
        let first = (self.smoothed.len() / 10).min(end);
        (&self.rates[first..end], &self.smoothed[first..end])
    }

    /// How much smoothed losses vary by chance, relative to them: half the width of a 95 % interval of the mean that
    /// they are.
    fn noise(&self) -> f64 {
        let (first, count) = (self.losses.len() / 10, self.losses.len());
        let residuals =
            (first..count).map(|step| (self.losses[step] / self.smoothed[step]).max(1e-6).ln().powi(2));
        let mut squares: Vec<f64> = residuals.collect();
        squares.sort_by(f64::total_cmp);
        // By the median, which divergence does not move; 0.455 is that of a squared normal number.
        let variance = squares.get(squares.len() / 2).copied().unwrap_or(0.0) / 0.455;
        1.96 * (variance / averaged(SMOOTHED * count as f64)).sqrt()
    }

    /// The curve as a CSV file: `step,learning_rate,loss,smoothed_loss`.
    pub fn to_csv(&self) -> String {
        let rows = self.rates.iter().zip(&self.losses).zip(&self.smoothed).enumerate();
        let rows =
            rows.map(|(step, ((rate, loss), smoothed))| format!("{step},{rate:e},{loss},{smoothed}\n"));
        std::iter::once("step,learning_rate,loss,smoothed_loss\n".to_owned()).chain(rows).collect()
    }
}

/// How many numbers a Gaussian kernel of this standard deviation averages, in the variance of its mean: 2 √π s.
fn averaged(width: f64) -> f64 {
    (2.0 * std::f64::consts::PI.sqrt() * width).max(1.0)
}

/// Of a loss, which may be 0.
fn logarithm(loss: f64) -> f64 {
    loss.max(1e-12).ln()
}

/// Weighted means of logarithms, weights `exp(−d² / 2 width²)` at a distance of d steps.
pub(super) fn smoothed(losses: &[f64], width: f64) -> Vec<f64> {
    let logarithms: Vec<f64> = losses.iter().map(|loss| logarithm(*loss)).collect();
    let at = |centre: usize| {
        let weights = logarithms.iter().enumerate().map(|(place, logarithm)| {
            let distance = place as f64 - centre as f64;
            let weight = (-distance * distance / (2.0 * width * width)).exp();
            (weight, weight * logarithm)
        });
        let (weights, sum) =
            weights.fold((0.0, 0.0), |sums, (weight, value)| (sums.0 + weight, sums.1 + value));
        (sum / weights).exp()
    };
    (0..losses.len()).map(at).collect()
}
