//! Metrics of predictions: exact over a whole set, with a direction and a 95 % interval.

pub(crate) mod custom;
pub(crate) mod paired;
pub(crate) mod predictions;
pub(crate) mod proportion;
pub(crate) mod record;
pub(crate) mod temperature;

mod score;
mod thresholds;

use std::fmt;
use std::str::FromStr;

use ocelli_data::Task;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::custom::CustomMetric;
use crate::metric::predictions::Predictions;
use crate::metric::proportion::{Z, wilson};
use crate::metric::score::{Counts, Score, counts, ranking};

/// A metric of predictions. Its text, as in `--metric`, is the name that [`Display`](fmt::Display) gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum Metric {
    /// `accuracy`: the fraction of images whose predicted classes are exactly the true ones.
    Accuracy,
    /// `error-rate`: one minus the accuracy.
    ErrorRate,
    /// `top-5`: the fraction of images with a true class among the five (or another number of) most probable
    /// ones.
    Top(usize),
    /// `label-accuracy`: the fraction of correct labels, over all labels of all images (fastai's
    /// `accuracy_multi`).
    LabelAccuracy,
    /// `balanced-accuracy`: the mean recall of the classes that occur.
    BalancedAccuracy,
    /// `log-loss`: cross-entropy, or the mean of the classes' binary cross-entropies; natural logarithm.
    LogLoss,
    /// `precision`, `precision-macro`, `precision-samples`: the fraction of predicted labels that are true.
    Precision(Average),
    /// `recall`, …: the fraction of true labels that are predicted.
    Recall(Average),
    /// `f1`, `f2-macro`, `f0.5-samples`, …: (1 + β²) · precision · recall / (β² · precision + recall), where
    /// recall counts β times as much as precision (van Rijsbergen 1979).
    F(f64, Average),
    /// `auroc`: the area under the ROC curve, the probability that an image of a class is given a higher
    /// probability of it than one without, ties counting half; the mean over the classes that some images
    /// have and some have not.
    Auroc,
    /// A custom metric, by its name.
    Custom(CustomMetric),
}

/// What precision, recall and F are averaged over. Where nothing is predicted, or an image has no true label,
/// they are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Average {
    /// Counts over all classes together.
    #[default]
    Micro,
    /// The mean over the classes that occur, like scikit-learn's with `labels=unique(y_true)`. False
    /// positives count against the image's true class.
    Macro,
    /// The mean over images: Kaggle's F2 for satellite images.
    Samples,
}

/// Whether higher or lower is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Higher is better.
    Higher,
    /// Lower is better.
    Lower,
}

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

impl Metric {
    /// Whether higher or lower is better.
    pub fn direction(self) -> Direction {
        match self {
            Self::ErrorRate | Self::LogLoss => Direction::Lower,
            Self::Custom(metric) => metric.direction(),
            _ => Direction::Higher,
        }
    }

    /// Whether `new` is better than `old`. A finite value is better than NaN or an infinity, and these are
    /// better than nothing.
    pub fn is_better(self, new: f64, old: f64) -> bool {
        match self.direction() {
            _ if !new.is_finite() => false,
            _ if !old.is_finite() => true,
            Direction::Higher => new > old,
            Direction::Lower => new < old,
        }
    }

    /// The default metric of a task.
    pub fn usual(task: Task) -> Self {
        match task {
            Task::SingleLabel => Self::Accuracy,
            Task::MultiLabel => Self::F(1.0, Average::Micro),
        }
    }
}

impl Direction {
    /// `higher` or `lower`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let averaged = |average: &Average| match average {
            Average::Micro => "",
            Average::Macro => "-macro",
            Average::Samples => "-samples",
        };
        match self {
            Self::Accuracy => formatter.write_str("accuracy"),
            Self::ErrorRate => formatter.write_str("error-rate"),
            Self::Top(count) => write!(formatter, "top-{count}"),
            Self::LabelAccuracy => formatter.write_str("label-accuracy"),
            Self::BalancedAccuracy => formatter.write_str("balanced-accuracy"),
            Self::LogLoss => formatter.write_str("log-loss"),
            Self::Precision(average) => write!(formatter, "precision{}", averaged(average)),
            Self::Recall(average) => write!(formatter, "recall{}", averaged(average)),
            Self::F(beta, average) => write!(formatter, "f{beta}{}", averaged(average)),
            Self::Auroc => formatter.write_str("auroc"),
            Self::Custom(metric) => formatter.write_str(metric.name()),
        }
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let custom = || CustomMetric::named(name).map(Self::Custom);
        Self::built_in(name).or_else(custom).ok_or_else(|| unknown(name))
    }
}

impl Metric {
    /// Parses a built-in metric.
    fn built_in(name: &str) -> Option<Self> {
        let (measure, average) = match name.rsplit_once('-') {
            Some((measure, "macro")) => (measure, Average::Macro),
            Some((measure, "samples")) => (measure, Average::Samples),
            Some((measure, "micro")) => (measure, Average::Micro),
            _ => (name, Average::Micro),
        };
        let number = |prefix: &str| measure.strip_prefix(prefix);
        Some(match measure {
            "precision" => Self::Precision(average),
            "recall" => Self::Recall(average),
            _ if number("f")
                .and_then(|beta| beta.parse().ok())
                .is_some_and(|beta: f64| beta > 0.0 && beta.is_finite()) =>
            {
                Self::F(measure[1..].parse().unwrap_or(1.0), average)
            }
            _ if measure != name => return None,
            "accuracy" => Self::Accuracy,
            "error-rate" => Self::ErrorRate,
            "label-accuracy" => Self::LabelAccuracy,
            "balanced-accuracy" => Self::BalancedAccuracy,
            "log-loss" => Self::LogLoss,
            "auroc" => Self::Auroc,
            _ => match number("top-").and_then(|count| count.parse().ok()) {
                Some(count @ 1..) => Self::Top(count),
                _ => return None,
            },
        })
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

impl TryFrom<String> for Metric {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl Metric {
    /// Common names that [`FromStr`] takes: metrics, then averages over classes and over images.
    pub const NAMES: [&str; 17] = [
        "accuracy",
        "error-rate",
        "top-5",
        "label-accuracy",
        "balanced-accuracy",
        "log-loss",
        "precision",
        "recall",
        "f1",
        "f2",
        "auroc",
        "precision-macro",
        "recall-macro",
        "f1-macro",
        "precision-samples",
        "recall-samples",
        "f2-samples",
    ];
}

fn unknown(name: &str) -> Error {
    Error::setting(
        "metric",
        name,
        "accuracy, error-rate, top-5, label-accuracy, balanced-accuracy, log-loss, auroc, or precision, \
                   recall, f1, f2 as they are or with -macro or -samples",
    )
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
    /// The log loss has no upper bound; its interval contains the means that are within 1.96 of *their*
    /// standard errors of the observed one, the standard deviation of losses being proportional to their
    /// mean. Its upper end is at most ten times the value. The interval of a [custom metric](CustomMetric) is
    /// 1.96 standard errors of the bootstrap on either side.
    pub fn estimate(&self, metric: Metric) -> MetricEstimate {
        if !self.is_finite() {
            return MetricEstimate { metric, value: f64::NAN, interval: (f64::NAN, f64::NAN) };
        }
        let images = self.items.len();
        let score = Score::new(self, metric);
        let value = score.of(&vec![1; images]);
        // A variance that is only rounding error counts as 0.
        let variance = Some(score.variance()).filter(|variance| *variance > 1e-20).unwrap_or(0.0);
        let interval = match (metric, variance) {
            _ if value.is_nan() => (f64::NAN, f64::NAN),
            (Metric::LogLoss, variance) => scale_interval(value, variance.sqrt()),
            // The range of a custom metric is not known.
            (Metric::Custom(_), variance) => (value - Z * variance.sqrt(), value + Z * variance.sqrt()),
            (_, variance) => {
                let alike = value * (1.0 - value) / variance;
                // Without any variance, 0 / 0.
                let alike = if alike.is_nan() { f64::INFINITY } else { alike };
                wilson(value, alike.min(score.most_images(variance)))
            }
        };
        MetricEstimate { metric, value, interval }
    }

    /// What each image contributes to a metric, whose mean over images is approximately its value: the score
    /// of the image where the metric is a mean of such, else its pseudo-value of the jackknife (Tukey 1958).
    /// Two models on the same images can be compared with these in a paired test. `None` where the metric is
    /// not defined.
    pub(crate) fn contributions(&self, metric: Metric) -> Option<Vec<f64>> {
        if !self.is_finite() || self.items.is_empty() {
            return None;
        }
        let contributions = Score::new(self, metric).contributions();
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

/// The interval of a mean of non-negative values whose standard error is proportional to it.
fn scale_interval(mean: f64, error: f64) -> (f64, f64) {
    /// From here on the upper end is ten times the mean, and would otherwise soon be infinite.
    const WIDEST: f64 = 0.9;
    let relative = Z * error / mean;
    // NaN for one image, which has no variance, or where all values are 0.
    let relative = if relative < WIDEST { relative } else { WIDEST };
    (mean / (1.0 + relative), mean / (1.0 - relative))
}
