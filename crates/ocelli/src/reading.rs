//! What the rows of a stage mean, in a sentence: the lesson's way to read them.

use std::fmt;

use serde::Serialize;

use crate::predictions::Share;
use crate::{EpochRow, Metric};

/// What the rows of a stage mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// The stage, counted from 1.
    pub stage: usize,
    /// How well the network fits what it was trained on, and what it was not.
    pub fitting: Fitting,
    /// How the best of these rows compares with the best before.
    pub change: Option<Change>,
    /// The stage and the epoch whose weights are gone on with.
    pub kept: Option<(usize, usize)>,
    /// Whether those are of an earlier stage: this one has brought nothing.
    pub in_vain: bool,
}

/// How the losses on training and validation images compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fitting {
    /// The validation loss is not above the training loss.
    Under,
    /// It is above, by no more than a half.
    Even,
    /// It is far above.
    Over,
}

/// A metric before and after a stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// The metric by which the best is kept.
    pub metric: Metric,
    /// The best value before.
    pub before: f64,
    /// The best value of the stage.
    pub after: f64,
    /// Whether the difference is within the 95 % interval of a share of so many images; `None` where the metric is no
    /// share.
    pub within_chance: Option<bool>,
}

/// From this ratio of validation loss to training loss on, a network fits its training images too well.
const FAR_ABOVE: f64 = 1.5;

impl Reading {
    /// Reads the rows of the last stage of a history; `before` is the best row before it, `best` the best of all.
    pub(crate) fn of(
        rows: &[EpochRow],
        before: Option<&EpochRow>,
        best: Option<&EpochRow>,
        metric: Option<Metric>,
        images: usize,
    ) -> Option<Self> {
        let last = rows.last()?;
        let valid = last.valid_loss?;
        let fitting = if valid <= last.train_loss {
            Fitting::Under
        } else if valid <= FAR_ABOVE * last.train_loss {
            Fitting::Even
        } else {
            Fitting::Over
        };
        let change = metric.and_then(|metric| {
            let of_stage =
                rows.iter().reduce(|best, row| if row.is_better(best, metric) { row } else { best })?;
            let (before, after) = (before?.value(metric)?, of_stage.value(metric)?);
            let is_share = matches!(metric, Metric::Accuracy | Metric::ErrorRate);
            let within = || {
                let count = (after * images as f64).round() as usize;
                let (low, high) = Share { count, total: images }.interval();
                (low..=high).contains(&before)
            };
            Some(Change { metric, before, after, within_chance: is_share.then(within) })
        });
        let kept = best.map(|row| (row.stage, row.epoch));
        let in_vain = kept.is_some_and(|(stage, _)| stage < last.stage);
        Some(Self { stage: last.stage, fitting, change, kept, in_vain })
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self.fitting {
            Fitting::Under => "the validation loss is not above the training loss: not overfitting, longer cycles may bring more",
            Fitting::Even => "the validation loss is a little above the training loss: a good fit",
            Fitting::Over => "the validation loss is far above the training loss: overfitting; augmentation, or fewer epochs",
        })?;
        if let Some(Change { metric, before, after, within_chance }) = self.change {
            write!(formatter, "; {metric} {before:.4} → {after:.4}")?;
            let better = metric.is_better(after, before);
            formatter.write_str(match (within_chance, better) {
                _ if before == after => ", the same",
                (Some(true), _) => ", no more than chance",
                (_, true) => ", better",
                (_, false) => ", worse",
            })?;
        }
        match self.kept {
            Some((stage, epoch)) if self.in_vain => write!(
                formatter,
                "\nthis step brought nothing: the weights of step {stage}, epoch {epoch} are kept"
            ),
            _ => Ok(()),
        }
    }
}
