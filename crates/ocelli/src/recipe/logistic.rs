//! The settings of a logistic regression as the head.

use std::fmt;

use ocelli_data::text::count;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::train::loss::Loss;

/// A phase that replaces the head by a linear one, fitted to the features of all training images at once by
/// multinomial logistic regression; one binary regression a class where images have several.
///
/// What is left open is chosen by cross-validation on the training images alone, by log loss: from which depths
/// of the backbone features are taken (Evci et al. 2022, <https://arxiv.org/abs/2201.03529>), how the last stage is
/// pooled, and the strength of the penalty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogisticRegression {
    /// The stages of the backbone before the last whose output is used too, ascending; `None`: chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depths: Option<Vec<usize>>,
    /// The inverse of the penalty on the weights of standardised features, as scikit-learn's `C`; from 1e-6 to
    /// 1e6; `None`: chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub c: Option<f64>,
    /// How the last stage is pooled; `None`: chosen, or both where nothing else is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<LastPooling>,
    /// The folds of the cross-validation, at least 2.
    pub folds: usize,
}

/// Which features of the backbone's last stage a logistic regression has, and how features are scaled before it.
///
/// Where photos resemble ImageNet's, `Average` lowers the log loss: by 9 % on breeds of dogs and 11 % on ants and bees
/// (`benches/linear.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastPooling {
    /// The maximum and the mean of every channel, if the head pools both, each feature divided by its standard deviation.
    #[default]
    MaximumAndAverage,
    /// The mean alone; each feature divided by the geometric mean of its standard deviation and that of the features of
    /// its stage, so that features that vary much weigh more.
    Average,
}

impl Default for LogisticRegression {
    /// Everything is chosen, in five folds.
    fn default() -> Self {
        Self { depths: None, c: None, pooling: None, folds: 5 }
    }
}

/// The most folds.
const MAX_FOLDS: usize = 100;

impl LogisticRegression {
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(c) = self.c
            && !(1e-6..=1e6).contains(&c)
        {
            return Err(Error::setting("c", c, "from 0.000001 to 1,000,000, such as 0.01"));
        }
        if let Some(depths) = &self.depths
            && !depths.is_sorted_by(|a, b| a < b)
        {
            return Err(Error::setting("depths", format!("{depths:?}"), "stages of the backbone, ascending"));
        }
        match self.folds {
            2..=MAX_FOLDS => Ok(()),
            folds => Err(Error::setting("folds", folds, "from 2 to 100")),
        }
    }
}

/// That a loss is one that a logistic regression minimises.
pub(crate) fn check_loss(loss: &Loss) -> Result<()> {
    if loss.custom.is_some() {
        let expected = "cross-entropy, with or without label smoothing and class weights; other losses train a head \
                        by gradient descent, as in the recipe quick";
        return Err(Error::setting("loss", "another loss for a logistic regression", expected));
    }
    if loss.focal_gamma != 0.0 {
        let expected = "left out where a logistic regression fits the head, as the recipes auto and linear do; quick \
                        and lesson train by it";
        return Err(Error::setting("focal_gamma", loss.focal_gamma, expected));
    }
    Ok(())
}

/// What a logistic regression has chosen, and by which figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LogisticRegressionFit {
    /// The fit, counted from 1.
    pub fit: usize,
    /// The stages before the last whose output is used.
    pub depths: Vec<usize>,
    /// The number of features of an image.
    pub features: usize,
    /// The inverse of the penalty.
    pub c: f64,
    /// How the last stage is pooled.
    pub pooling: LastPooling,
    /// The folds.
    pub folds: usize,
    /// The settings that were compared, in this order.
    pub candidates: Vec<LogisticCandidate>,
    /// The chosen setting with a quarter, a half and all of the training images; empty where there are too few to tell,
    /// or so many that settings were compared on some.
    pub learning_curve: Vec<LearningPoint>,
    /// The iterations of the last fit, on all training images.
    pub iterations: usize,
    /// Seconds, without those for features.
    pub seconds: f64,
}

impl LogisticRegressionFit {
    /// By which part features of earlier stages lower the log loss in cross-validation: 0.3 where they lower it
    /// from 0.40 to 0.28; negative where they raise it. `None` where that was not compared.
    ///
    /// Earlier stages help where photos are unlike those that the backbone was trained on (Evci et al. 2022), and
    /// there training all layers pays as well.
    pub fn depth_gain(&self) -> Option<f64> {
        let first = self.candidates.first().filter(|candidate| candidate.depths.is_empty())?;
        let deeper = |candidate: &&LogisticCandidate| {
            !candidate.depths.is_empty() && candidate.c == first.c && candidate.pooling == first.pooling
        };
        let best = self.candidates.iter().filter(deeper).map(|deeper| deeper.log_loss).reduce(f64::min)?;
        Some(1.0 - best / first.log_loss).filter(|gain| gain.is_finite())
    }

    /// The accuracy that twice as many images may bring, if errors go on falling as they did from a quarter of them to
    /// all: by a power of their number (Hestness et al. 2017, <https://arxiv.org/abs/1712.00409>). `None` without a
    /// learning curve, and where errors did not fall.
    pub fn with_twice_as_many(&self) -> Option<f64> {
        let [quarter, _, whole] = &self.learning_curve[..] else { return None };
        let (few, all) = (1.0 - quarter.accuracy, 1.0 - whole.accuracy);
        (all < few).then(|| 1.0 - all * (all / few).sqrt())
    }
}

impl fmt::Display for LogisticRegressionFit {
    /// ```text
    /// 3,304 features of 6 stages, C = 0.01: the best of 5 settings in 5-fold cross-validation
    /// in cross-validation: accuracy 0.9071, log loss 0.2728 on 2,240 training images
    /// learning curve: 0.8567 with a quarter, 0.8866 with half; twice as many may bring 0.925
    /// ```
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let stages = match self.depths.len() {
            0 => "the last stage".to_owned(),
            earlier => format!("{} stages", earlier + 1),
        };
        let pooling = match self.pooling {
            LastPooling::MaximumAndAverage => "",
            LastPooling::Average => ", average pooling",
        };
        write!(formatter, "{} features of {stages}{pooling}, C = {}", count(self.features), self.c)?;
        let is_chosen = |candidate: &&LogisticCandidate| {
            candidate.depths == self.depths && candidate.c == self.c && candidate.pooling == self.pooling
        };
        let Some(chosen) = self.candidates.iter().find(is_chosen) else { return Ok(()) };
        match self.candidates.len() {
            1 => {}
            settings => write!(
                formatter,
                ": the best of {settings} settings in {}-fold cross-validation",
                self.folds
            )?,
        }
        write!(
            formatter,
            "\nin cross-validation: accuracy {:.4}, log loss {:.4} on {} training images",
            chosen.accuracy,
            chosen.log_loss,
            count(chosen.images)
        )?;
        let [quarter, half, _] = &self.learning_curve[..] else { return Ok(()) };
        write!(
            formatter,
            "\nlearning curve: {:.4} with a quarter, {:.4} with half",
            quarter.accuracy, half.accuracy
        )?;
        match self.with_twice_as_many() {
            Some(accuracy) => write!(formatter, "; twice as many may bring {accuracy:.3}"),
            None => Ok(()),
        }
    }
}

/// A point of a learning curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LearningPoint {
    /// The images that each regression was fitted to.
    pub images: usize,
    /// The mean log loss of images that it was not fitted to.
    pub log_loss: f64,
    /// The accuracy of these predictions.
    pub accuracy: f64,
}

/// One setting of a logistic regression, and its figures in cross-validation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LogisticCandidate {
    /// The stages before the last whose output is used.
    pub depths: Vec<usize>,
    /// The inverse of the penalty.
    pub c: f64,
    /// How the last stage is pooled.
    pub pooling: LastPooling,
    /// The mean log loss of training images, each predicted by a regression without its fold.
    pub log_loss: f64,
    /// The accuracy of these predictions.
    pub accuracy: f64,
    /// The training images that were predicted.
    pub images: usize,
}
