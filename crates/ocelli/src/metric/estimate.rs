//! The values of metrics, with their 95 % intervals, and what is known of each class.

use rayon::prelude::*;
use serde::Serialize;

use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::metric::proportion::{Z, wilson};
use crate::metric::score::{Counts, Score, counts, ranking};

/// A metric's value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricEstimate {
    /// What was measured.
    pub metric: Metric,
    /// NaN where it is not defined, as of nothing, or of predictions that are not finite.
    pub value: f64,
    /// The lower and the upper end of the interval, which holds the value; NaN where that is.
    pub interval: (f64, f64),
}

/// What is known of one class, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassMeasures {
    /// Images that have it.
    pub support: usize,
    /// Images that are said to have it.
    pub said: usize,
    /// Of those that are said to have it, the share that has; 0 where none are.
    pub precision: f64,
    /// Of those that have it, the share that is said to; 0 where none have.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// See [`Metric::Auroc`]; NaN where all images have it or none.
    pub auroc: f64,
}

impl Predictions {
    /// The value of a metric over all images; NaN where it is not defined, and where the predictions are not
    /// [finite](Self::is_finite).
    pub fn value(&self, metric: Metric) -> f64 {
        if !self.is_finite() {
            return f64::NAN;
        }
        Score::new(self, metric).of(&vec![1; self.items.len()])
    }

    /// The value of a metric and its 95 % interval, which always holds the value.
    ///
    /// For a share of the images the interval is Wilson's (1927). For every other metric from 0 to 1 it is Wilson's for
    /// as many images as would give the metric's variance if it were such a share, the usual way with averages of
    /// samples that are no simple ones (Korn and Graubard 1998): it stays within 0 and 1, and says something even where
    /// nothing is wrong. The variance is that of means of independent images, or else that of 2,000 sets of as many
    /// images drawn from these (Efron's bootstrap, always the same draws), in which classes that no drawn image has are
    /// left out. A class of few images tells less than its bootstrap shows, so that averages over classes count at most
    /// as as many images as they weigh them.
    ///
    /// The log loss has no upper bound; its interval holds the means from which the one seen is less than 1.96 of
    /// *their* standard errors away, the spread of losses being proportional to their mean. Its upper end is at most
    /// ten times the value. That of a [metric of one's own](crate::CustomMetric) is 1.96 standard errors of the bootstrap on either
    /// side.
    pub fn estimate(&self, metric: Metric) -> MetricEstimate {
        if !self.is_finite() {
            return MetricEstimate { metric, value: f64::NAN, interval: (f64::NAN, f64::NAN) };
        }
        let images = self.items.len();
        let score = Score::new(self, metric);
        let value = score.of(&vec![1; images]);
        // What rounding makes of no variance at all is none.
        let variance = Some(score.variance()).filter(|variance| *variance > 1e-20).unwrap_or(0.0);
        let interval = match (metric, variance) {
            _ if value.is_nan() => (f64::NAN, f64::NAN),
            (Metric::LogLoss, variance) => scale_interval(value, variance.sqrt()),
            // Its range is not known.
            (Metric::Custom(_), variance) => (value - Z * variance.sqrt(), value + Z * variance.sqrt()),
            (_, variance) => {
                let alike = value * (1.0 - value) / variance;
                // What never varies gives 0 / 0.
                let alike = if alike.is_nan() { f64::INFINITY } else { alike };
                wilson(value, alike.min(score.most_images(variance)))
            }
        };
        MetricEstimate { metric, value, interval }
    }

    /// For each image what it contributes to a metric, whose mean over images is, nearly, its value: the score of the
    /// image where the metric is a mean of such, else its pseudo-value of the jackknife (Tukey 1958). The difference of
    /// two models on the same images can be tested with these in pairs. `None` where the metric is not defined.
    pub(crate) fn contributions(&self, metric: Metric) -> Option<Vec<f64>> {
        if !self.is_finite() || self.items.is_empty() {
            return None;
        }
        let contributions = Score::new(self, metric).contributions();
        contributions.iter().all(|value| value.is_finite()).then_some(contributions)
    }

    /// Each class by itself, in the order of the classes.
    pub fn per_class(&self) -> Vec<ClassMeasures> {
        let counts = counts(self).into_iter().flatten().fold(
            vec![Counts::default(); self.classes],
            |mut sums, (class, count)| {
                sums[class].add(count, 1);
                sums
            },
        );
        // Class by class: the rankings of many classes together would fill the memory.
        let each_once = vec![1; self.items.len()];
        let aurocs = (0..self.classes).into_par_iter().map(|class| ranking(self, class).auroc(&each_once));
        let aurocs: Vec<f64> = aurocs.collect();
        let measures = counts.into_iter().zip(aurocs).map(|(counts, auroc)| ClassMeasures {
            support: counts.support(),
            said: counts.right + counts.wrong,
            precision: counts.precision(),
            recall: counts.recall(),
            f1: counts.f(1.0),
            auroc,
        });
        measures.collect()
    }
}

/// The means of non-negative numbers from which one that was seen is not too far away, where the standard error is
/// proportional to the mean.
fn scale_interval(mean: f64, error: f64) -> (f64, f64) {
    /// From here on the upper end is ten times the mean, and would soon be infinite.
    const WIDEST: f64 = 0.9;
    let relative = Z * error / mean;
    // NaN of one image, which has no spread, or where all are 0.
    let relative = if relative < WIDEST { relative } else { WIDEST };
    (mean / (1.0 + relative), mean / (1.0 - relative))
}
