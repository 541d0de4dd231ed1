//! The values of metrics with their 95 % intervals, and the metrics of each class.

use ocelli_data::{Target, Task};
use rayon::prelude::*;
use serde::Serialize;

use crate::metric::Metric;
use crate::metric::predictions::{Predictions, loss_of};
use crate::metric::proportion::{Z, wilson};
use crate::metric::score::{Counts, Score, area_contributions, counts, ranking};

/// A metric's value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricEstimate {
    /// The metric.
    pub metric: Metric,
    /// NaN where it is not defined, such as for no images, or for predictions that are not finite.
    pub value: f64,
    /// The lower and the upper end of the interval, which contains the value; NaN where that is.
    pub interval: (f64, f64),
}

/// The metrics of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassMeasures {
    /// Images of the class.
    pub support: usize,
    /// Images predicted as the class.
    pub predicted: usize,
    /// The fraction of images predicted as the class that are of it; 0 where there are none.
    pub precision: f64,
    /// The fraction of images of the class that are predicted as it; 0 where there are none.
    pub recall: f64,
    /// The F1 score.
    pub f1: f64,
    /// See [`Metric::Auroc`]; NaN where all images are of the class, or none.
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

    /// The value of a metric and its 95 % interval, which always contains the value.
    ///
    /// For a proportion of the images the interval is Wilson's (1927). For every other metric from 0 to 1 it
    /// is Wilson's for as many images as would give the metric's variance if it were a proportion, the usual
    /// way with averages of samples that are not simple random ones (Korn and Graubard 1998): it stays within
    /// 0 and 1, and is not empty even where nothing is wrong. The variance is that of means of independent
    /// images, or else the bootstrap's (Efron) with 2,000 resamples, always the same draws, in which classes
    /// without a drawn image are left out. The bootstrap understates the variance of classes with few images,
    /// so averages over classes count as at most as many images as their weighting implies.
    ///
    /// The log loss has no upper bound, and a few images say little of how often a confident network is wrong.
    /// Its interval begins at the lowest mean that is within 1.96 of *its* standard errors of the observed
    /// one, the standard deviation of losses being proportional to their mean. It ends at the highest such
    /// mean, at most twice the value, or if that is more at 1.96 standard errors above the mean of these
    /// images with one more that is wrong: whose class is the second most probable one, or of which one label
    /// is another. The interval of a [custom metric](crate::CustomMetric) is 1.96 standard errors of the
    /// bootstrap on either side.
    pub fn estimate(&self, metric: Metric) -> MetricEstimate {
        if !self.is_finite() {
            return MetricEstimate { metric, value: f64::NAN, interval: (f64::NAN, f64::NAN) };
        }
        let score = Score::new(self, metric);
        let value = score.of(&vec![1; self.items.len()]);
        MetricEstimate { metric, value, interval: self.interval_of(metric, &score, value, 0.0) }
    }

    /// The 95 % interval of a metric as if its value were higher by `by`: see [`estimate`](Self::estimate).
    pub(crate) fn interval_moved(&self, metric: Metric, by: f64) -> (f64, f64) {
        if !self.is_finite() {
            return (f64::NAN, f64::NAN);
        }
        let score = Score::new(self, metric);
        self.interval_of(metric, &score, score.of(&vec![1; self.items.len()]), by)
    }

    /// The interval of a score that has this value, moved.
    fn interval_of(&self, metric: Metric, score: &Score, value: f64, by: f64) -> (f64, f64) {
        // A variance that is only rounding error counts as 0.
        let variance = Some(score.variance()).filter(|variance| *variance > 1e-20).unwrap_or(0.0);
        let moved = value + by;
        match metric {
            _ if value.is_nan() => (f64::NAN, f64::NAN),
            Metric::LogLoss => {
                let (low, high) = loss_interval(value, variance, self.len() as f64, self.mistaken_loss());
                // Both ends are multiples of the value, which moves them.
                let scale = if value > 0.0 { moved.max(0.0) / value } else { 1.0 };
                (low * scale, high * scale)
            }
            // The range of a custom metric is not known.
            Metric::Custom(_) => (moved - Z * variance.sqrt(), moved + Z * variance.sqrt()),
            _ => {
                let alike = value * (1.0 - value) / variance;
                // Without any variance, 0 / 0.
                let alike = if alike.is_nan() { f64::INFINITY } else { alike };
                wilson(moved.clamp(0.0, 1.0), alike.min(score.most_images(variance)))
            }
        }
    }

    /// The mean loss of these images if each were wrong in one thing: if its class were the second most
    /// probable one, or if one label, any of them alike, were another.
    fn mistaken_loss(&self) -> f64 {
        let mistaken = |index: usize| match self.task {
            Task::SingleLabel => {
                let row = self.row(index);
                let first = self.most_probable(index);
                let others = (0..self.classes).filter(|class| *class != first);
                let second = others.max_by(|one, two| row[*one].total_cmp(&row[*two]));
                second.map_or(0.0, |second| loss_of(self.task, row, &Target::Class(second)))
            }
            Task::MultiLabel => {
                let (row, classes) = (self.row(index), self.classes as f64);
                let has = self.targets[index].classes();
                let others = (0..self.classes).filter(|class| !has.contains(class)).collect();
                let same = loss_of(self.task, row, &Target::Classes(has.to_vec()));
                let all_other = loss_of(self.task, row, &Target::Classes(others));
                same + (all_other - same) / classes
            }
        };
        (0..self.len()).map(mistaken).sum::<f64>() / self.len() as f64
    }

    /// What each image contributes to a metric, whose mean over images is approximately its value: the score
    /// of the image where the metric is a mean of such, else its pseudo-value of the jackknife (Tukey 1958).
    /// Two models on the same images can be compared with these in a paired test. `None` where the metric is
    /// not defined.
    pub(crate) fn contributions(&self, metric: Metric) -> Option<Vec<f64>> {
        if !self.is_finite() || self.items.is_empty() {
            return None;
        }
        let contributions = match metric {
            Metric::Auroc => area_contributions(self),
            metric => Score::new(self, metric).contributions(),
        };
        contributions.iter().all(|value| value.is_finite()).then_some(contributions)
    }

    /// The metrics of each class, in the order of the classes.
    pub fn per_class(&self) -> Vec<ClassMeasures> {
        let counts = counts(self).into_iter().flatten().fold(
            vec![Counts::default(); self.classes],
            |mut sums, (class, count)| {
                sums[class].add(count, 1);
                sums
            },
        );
        // Class by class: the rankings of many classes at once would take much memory.
        let each_once = vec![1; self.items.len()];
        let aurocs = (0..self.classes).into_par_iter().map(|class| ranking(self, class).auroc(&each_once));
        let aurocs: Vec<f64> = aurocs.collect();
        let measures = counts.into_iter().zip(aurocs).map(|(counts, auroc)| ClassMeasures {
            support: counts.support(),
            predicted: counts.right + counts.wrong,
            precision: counts.precision(),
            recall: counts.recall(),
            f1: counts.f(1.0),
            auroc,
        });
        measures.collect()
    }
}

/// The interval of a mean of losses, from the variance of the mean, the number of images and the loss of a mistake.
fn loss_interval(mean: f64, variance: f64, images: f64, mistake: f64) -> (f64, f64) {
    // From here on the end of proportional deviations would soon be infinite.
    const WIDEST: f64 = 0.5;
    // NaN where all losses are 0.
    let relative = Some(Z * variance.sqrt() / mean).filter(|relative| relative.is_finite()).unwrap_or(0.0);
    // The same images and one more.
    let more = images + 1.0;
    let (with, step) = ((images * mean + mistake) / more, mistake - mean);
    let squares = images * images * variance + step * step * images / more;
    let mistaken = with + Z * squares.sqrt() / more;
    (mean / (1.0 + relative), (mean / (1.0 - relative.min(WIDEST))).max(mistaken))
}
