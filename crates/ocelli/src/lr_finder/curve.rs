//! The learning rate finder's curve, and where its loss rises.

use serde::{Deserialize, Serialize};

use crate::schedule::learning_rates::LearningRates;

/// The standard deviation of the smoothing kernel, as a fraction of the steps.
pub(super) const SMOOTHED: f64 = 0.03;
/// With fewer steps before divergence a curve supports no learning rate.
pub(super) const MIN_STEPS: usize = 10;
/// The standard deviation of the smoothing for finding a rise, as a fraction of the steps.
const RISE_SMOOTHED: f64 = 0.05;
/// The smallest rise of the loss's logarithm that counts.
const LEAST_RISE: f64 = 0.05;

/// The learning rate finder's curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrCurve {
    /// The learning rates of the first step, one per layer group; all steps have the same ratios.
    pub start: LearningRates,
    /// The head's learning rate at each step.
    pub rates: Vec<f64>,
    /// The loss before each step.
    pub losses: Vec<f64>,
    /// The smoothed losses: at each step the geometric mean of its neighbours on both sides, with Gaussian
    /// weights of 3 % of the steps. Unlike the running average that fastai draws, whose minimum lies almost a
    /// factor of ten to the right, it does not lag.
    pub smoothed: Vec<f64>,
    /// The head's learning rate at which the loss diverged, if it did.
    pub diverged: Option<f64>,
    /// The number of frozen layer groups: 0 where all layers were trained, as
    /// [`LrFind::search`](crate::LrFind::search) supposes.
    #[serde(default)]
    pub frozen: usize,
    /// The number of training images, if it is known.
    #[serde(default)]
    pub photos: Option<usize>,
}

impl LrCurve {
    /// The learning rate above which the loss stays clearly higher than at low learning rates; `None` if it
    /// never does.
    ///
    /// Low learning rates are those of the first half of the steps, which hardly change a trained network, or
    /// of the first quarter if the loss is already higher in the second one. Clearly higher is by more than
    /// two standard deviations of the mean of as many batches as the smoothing averages.
    pub fn rises_at(&self) -> Option<f64> {
        let (level, deviation) = self.low_rates(if self.rises_at_once() { 4 } else { 2 })?;
        let width = (self.losses.len() as f64 * RISE_SMOOTHED).max(1.0);
        let higher = (2.0 * deviation / averaged(width).sqrt()).max(LEAST_RISE);
        let smoothed = smoothed(&self.losses, width);
        let last_low = smoothed.iter().rposition(|loss| loss.ln() <= level + higher)?;
        self.rates.get(last_low + 1).copied().or(self.diverged)
    }

    /// Whether the loss already rises at low learning rates: its mean logarithm in the second quarter of the
    /// steps is clearly above that in the first.
    fn rises_at_once(&self) -> bool {
        let Some((_, deviation)) = self.low_rates(2) else { return false };
        let quarter = self.losses.len() / 4;
        let mean =
            |losses: &[f64]| losses.iter().map(|loss| logarithm(*loss)).sum::<f64>() / losses.len() as f64;
        let rise = mean(&self.losses[quarter..2 * quarter]) - mean(&self.losses[..quarter]);
        // Four standard deviations of the difference, since a rise discards most of the steps that give the
        // level.
        rise > (4.0 * deviation * (2.0 / quarter as f64).sqrt()).max(LEAST_RISE)
    }

    /// The logarithm of the loss at the learning rates of the first half, quarter …, and its standard
    /// deviation from batch to batch, both by medians; `None` if there are too few steps.
    fn low_rates(&self, part: usize) -> Option<(f64, f64)> {
        let low = &self.losses[..self.losses.len() / part];
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let level = median(low.iter().map(|loss| logarithm(*loss)).collect())?;
        // 1.4826 median absolute deviations of a normal number are its standard deviation.
        let deviation = 1.4826 * median(low.iter().map(|loss| (logarithm(*loss) - level).abs()).collect())?;
        (low.len() >= MIN_STEPS / 2).then_some((level, deviation))
    }

    /// The relative difference of losses that is more than noise.
    pub(super) fn clear(&self) -> f64 {
        0.02_f64.max(2.0 * self.noise())
    }

    /// The learning rates of all groups if the head's is `head`, in the ratios of the search.
    pub fn rates_at(&self, head: f64) -> LearningRates {
        self.start.scaled(head / self.start.head())
    }

    /// Learning rates and smoothed losses without the first tenth and the last five steps, as in fastai 2.
    pub(super) fn considered(&self) -> (&[f64], &[f64]) {
        let end = self.smoothed.len().saturating_sub(5);
        let first = (self.smoothed.len() / 10).min(end);
        (&self.rates[first..end], &self.smoothed[first..end])
    }

    /// The relative noise of the smoothed losses: half the width of the 95 % confidence interval of the mean.
    fn noise(&self) -> f64 {
        let (first, count) = (self.losses.len() / 10, self.losses.len());
        let residuals =
            (first..count).map(|step| (self.losses[step] / self.smoothed[step]).max(1e-6).ln().powi(2));
        let mut squares: Vec<f64> = residuals.collect();
        squares.sort_by(f64::total_cmp);
        // By the median, which divergence does not affect; 0.455 is that of a squared standard normal value.
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

/// The effective number of values that a Gaussian kernel of this standard deviation averages: 2 √π s.
fn averaged(width: f64) -> f64 {
    (2.0 * std::f64::consts::PI.sqrt() * width).max(1.0)
}

/// The logarithm of a loss, which may be 0.
fn logarithm(loss: f64) -> f64 {
    loss.max(1e-12).ln()
}

/// Weighted means of logarithms, weights `exp(−d² / 2 width²)` at a distance of d steps.
pub(super) fn smoothed(losses: &[f64], width: f64) -> Vec<f64> {
    let logarithms: Vec<f64> = losses.iter().map(|loss| logarithm(*loss)).collect();
    let at = |centre: usize| {
        let weights = logarithms.iter().enumerate().map(|(index, logarithm)| {
            let distance = index as f64 - centre as f64;
            let weight = (-distance * distance / (2.0 * width * width)).exp();
            (weight, weight * logarithm)
        });
        let (weights, sum) =
            weights.fold((0.0, 0.0), |sums, (weight, value)| (sums.0 + weight, sums.1 + value));
        (sum / weights).exp()
    };
    (0..losses.len()).map(at).collect()
}
