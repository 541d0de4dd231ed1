//! Clipping of probabilities, because a single confident error costs so much log loss.

use std::ops::Range;

use ocelli_data::{Target, Task};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::metric::estimate::MetricEstimate;
use crate::metric::predictions::{Predictions, loss_of};

/// The distance from 0 and 1 that probabilities are clipped to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityClip {
    /// Probabilities are raised to at least this, and lowered to at most 1 minus this; 0 changes nothing.
    pub at: f64,
    /// The log loss of the clipped validation images, by which it was chosen, and the ends of its 95 %
    /// interval.
    pub log_loss: (f64, f64, f64),
}

/// Where the distance is.
pub(crate) const CLIP_RANGE: Range<f64> = 0.0..0.5;
/// Candidate values.
const CLIPS: [f64; 9] = [0.0, 1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2];

impl ProbabilityClip {
    /// The distance with the lowest log loss on these predictions, after which single-label rows are
    /// normalised to 1 again; of equal ones the smaller. `None` for no predictions.
    pub fn chosen_on(predictions: &Predictions) -> Option<Self> {
        let clipped = |at: f64| {
            let mut clipped = Predictions::new(predictions.task(), predictions.classes());
            for (index, (&item, target)) in predictions.items().iter().zip(predictions.targets()).enumerate()
            {
                let row = clip(predictions.task(), predictions.row(index), at);
                clipped.push_probabilities(item, target, row);
            }
            clipped
        };
        // Row by row: a copy of all probabilities for each candidate would take much memory and time.
        let loss_at = |at: f64| {
            let of = |(index, target): (usize, &Target)| {
                loss_of(predictions.task(), &clip(predictions.task(), predictions.row(index), at), target)
            };
            let losses: Vec<f64> = predictions.targets().par_iter().enumerate().map(of).collect();
            losses.iter().sum::<f64>() / losses.len() as f64
        };
        let losses = CLIPS.map(|at| (at, loss_at(at)));
        let best =
            losses.into_iter().filter(|(_, loss)| loss.is_finite()).min_by(|a, b| a.1.total_cmp(&b.1))?;
        let MetricEstimate { value, interval: (low, high), .. } = clipped(best.0).estimate(Metric::LogLoss);
        Some(Self { at: best.0, log_loss: (value, low, high) })
    }
}

/// One image's probabilities, clipped.
pub(super) fn clip(task: Task, row: &[f32], at: f64) -> Vec<f32> {
    let clipped: Vec<f64> =
        row.iter().map(|&probability| f64::from(probability).clamp(at, 1.0 - at)).collect();
    let sum: f64 = if task == Task::SingleLabel { clipped.iter().sum() } else { 1.0 };
    clipped.into_iter().map(|probability| (probability / sum) as f32).collect()
}
