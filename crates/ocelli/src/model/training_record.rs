//! How a model was trained, for whoever has its file alone.

use serde::{Deserialize, Serialize};

use crate::metric::choice::CorrectedEstimate;
use crate::metric::estimate::MetricEstimate;

/// How a model was trained and validated, as its file records it. It names no path, and nothing that differs
/// between runs of the same settings on the same photos, such as times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Training images.
    pub train_images: usize,
    /// Validation images.
    pub valid_images: usize,
    /// The folds of a cross-validation, whose models predicted the training images for the metrics: each by one that had
    /// not seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// The weights that training started from.
    pub pretrained: PretrainedWeights,
    /// The phases that trained, in their order.
    pub phases: Vec<TrainedPhase>,
    /// The phase and the epoch whose weights the model has, counted from 1; `None` without validation images:
    /// the last.
    pub best: Option<(usize, usize)>,
    /// The seed of the split, the head, dropout and the order of images.
    pub seed: u64,
    /// Metrics on the validation images, by which the best weights were also chosen.
    pub metrics: Vec<ValidationMetric>,
    /// The metric that chose the best weights, corrected for the choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected: Option<CorrectedEstimate>,
    /// The metrics with test-time augmentation, if the recipe ends with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tta_metrics: Vec<ValidationMetric>,
}

/// The weights that training started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PretrainedWeights {
    /// The backbone's published ones, trained on ImageNet.
    Published,
    /// A file of the user's own.
    Own,
    /// Not known, as for custom backbones.
    Unknown,
}

/// A phase of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainedPhase {
    /// Its number, counted from 1.
    pub number: usize,
    /// What was trained: "head, cached features".
    pub trained: String,
    /// Epochs.
    pub epochs: usize,
}

/// A metric on the validation images with its 95 % confidence interval. What is not defined is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationMetric {
    /// The metric's name.
    pub metric: String,
    /// Its value.
    pub value: Option<f64>,
    /// The ends of the interval.
    pub interval: Option<(f64, f64)>,
}

impl From<&MetricEstimate> for ValidationMetric {
    fn from(estimate: &MetricEstimate) -> Self {
        let (low, high) = estimate.interval;
        Self {
            metric: estimate.metric.to_string(),
            value: estimate.value.is_finite().then_some(estimate.value),
            interval: (low.is_finite() && high.is_finite()).then_some((low, high)),
        }
    }
}
