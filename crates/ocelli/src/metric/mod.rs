//! Metrics of predictions: exact over a whole set, with a direction and a 95 % interval.

pub(crate) mod choice;
pub(crate) mod custom;
pub(crate) mod direction;
pub(crate) mod estimate;
pub(crate) mod packed;
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
use ocelli_data::registry::Registry;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::custom::CustomMetric;
use crate::metric::direction::Direction;

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
    /// `balanced-accuracy`: the mean recall of the classes that occur. With several labels per image, the mean
    /// over labels of the mean of sensitivity and specificity, of the labels that some images have and some
    /// have not: predicting a label for every image, or for none, gives 0.5.
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

impl CustomMetric {
    /// Makes the name known in this process, so that it can be parsed, and read from the settings of a run
    /// that is resumed. Registering the same name again replaces the metric.
    ///
    /// # Errors
    /// [`Error::Setting`] where the name is empty, is that of a built-in metric, or has other characters than
    /// lower-case letters, digits and hyphens.
    pub fn register(self) -> Result<Metric> {
        if !Registry::<Self>::takes(self.name()) {
            return Err(Error::setting("metric", format!("{:?}", self.name()), Registry::<Self>::NAMES));
        }
        if Metric::built_in(self.name()).is_some() {
            return Err(Error::setting("metric", self.name(), "a name that no built-in metric has"));
        }
        self.remember();
        Ok(Metric::Custom(self))
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
    /// Common names that [`FromStr`] takes.
    pub const NAMES: [&str; 11] = [
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
    ];
    /// Common names of averages over classes and over images, which [`FromStr`] takes as well.
    pub const AVERAGED: [&str; 6] =
        ["precision-macro", "recall-macro", "f1-macro", "precision-samples", "recall-samples", "f2-samples"];
    /// The names that are expected, in words.
    pub const EXPECTED: &str = "accuracy, error-rate, top-5, label-accuracy, balanced-accuracy, log-loss, precision, recall, f1, \
         f2 or auroc; precision, recall and F also with -macro or -samples";
}

fn unknown(name: &str) -> Error {
    Error::setting("metric", name, Metric::EXPECTED)
}
