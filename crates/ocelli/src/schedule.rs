//! How learning rate and momentum move over the steps of a `fit`: pure functions, tested without a model.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A course of the learning rate over a number of epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schedule", rename_all = "kebab-case")]
pub enum Schedule {
    /// The peak rate throughout.
    Constant {
        /// Epochs in all.
        epochs: usize,
    },
    /// Cosine annealing with warm restarts (Loshchilov & Hutter 2016, <https://arxiv.org/abs/1608.03983>), each
    /// cycle from the peak to almost 0, batch by batch.
    ///
    /// As fastai 0.7 has it: the first twentieth of the first cycle runs at a hundredth of the peak.
    Sgdr {
        /// The number of cycles.
        cycles: usize,
        /// Epochs of the first cycle.
        cycle_len: usize,
        /// Each cycle is so many times as long as the one before.
        cycle_mult: usize,
    },
    /// Half a cosine up from 1/25 of the peak in the first quarter, half a cosine down to 1/100,000 of it, with
    /// momentum 0.95 → 0.85 → 0.95: the one-cycle policy (Smith 2018, <https://arxiv.org/abs/1803.09820>) with the
    /// constants of fastai 2's `fit_one_cycle`.
    OneCycle {
        /// Epochs in all.
        epochs: usize,
    },
}

/// Where a schedule stands at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The share of the peak learning rate, 0 to 1.
    pub factor: f64,
    /// The momentum, where the schedule sets it.
    pub momentum: Option<f64>,
}

/// So many epochs at a constant rate.
#[derive(Debug, Clone, Copy)]
pub struct Epochs(pub usize);

impl From<Epochs> for Schedule {
    fn from(Epochs(epochs): Epochs) -> Self {
        Self::Constant { epochs }
    }
}

/// Cosine annealing with restarts, in the words of the lesson: `Sgdr::cycles(3).len(1).mult(2)`.
#[derive(Debug, Clone, Copy)]
pub struct Sgdr {
    cycles: usize,
    len: usize,
    mult: usize,
}

impl Sgdr {
    /// That many cycles, of one epoch each.
    pub fn cycles(cycles: usize) -> Self {
        Self { cycles, len: 1, mult: 1 }
    }

    /// Epochs of the first cycle.
    pub fn len(mut self, epochs: usize) -> Self {
        self.len = epochs;
        self
    }

    /// Each cycle is so many times as long as the one before.
    pub fn mult(mut self, mult: usize) -> Self {
        self.mult = mult;
        self
    }
}

impl From<Sgdr> for Schedule {
    fn from(sgdr: Sgdr) -> Self {
        Self::Sgdr { cycles: sgdr.cycles, cycle_len: sgdr.len, cycle_mult: sgdr.mult }
    }
}

/// The most epochs that a schedule may have; a guard against `cycle_mult` running away.
const MAX_EPOCHS: usize = 100_000;

impl Schedule {
    /// The number of epochs in all.
    pub fn epochs(&self) -> usize {
        match *self {
            Self::Constant { epochs } | Self::OneCycle { epochs } => epochs,
            Self::Sgdr { cycles, cycle_len, cycle_mult } => {
                let lengths = (0..cycles).scan(cycle_len, |len, _| {
                    let this = *len;
                    *len = len.saturating_mul(cycle_mult);
                    Some(this)
                });
                lengths.fold(0, usize::saturating_add)
            }
        }
    }

    /// Where the schedule stands at `step`, counted from 0 over all epochs of `steps_per_epoch` batches.
    pub fn at(&self, step: usize, steps_per_epoch: usize) -> Point {
        match *self {
            Self::Constant { .. } => Point { factor: 1.0, momentum: None },
            Self::Sgdr { cycle_len, cycle_mult, .. } => {
                let mut length = cycle_len * steps_per_epoch;
                let mut within = step;
                while within >= length {
                    within -= length;
                    length *= cycle_mult;
                }
                let warming_up =
                    step < cycle_len * steps_per_epoch && step * 20 < cycle_len * steps_per_epoch;
                // A cycle of one step has no course; fastai's formula would warm it up and never train.
                let factor = if length == 1 {
                    1.0
                } else if warming_up {
                    0.01
                } else {
                    cosine(1.0, 0.0, within as f64 / length as f64)
                };
                Point { factor, momentum: None }
            }
            Self::OneCycle { epochs } => {
                let steps = epochs * steps_per_epoch;
                let position = step as f64 / (steps.max(2) - 1) as f64;
                let (factor, momentum) = if position < 0.25 {
                    let up = position / 0.25;
                    (cosine(1.0 / 25.0, 1.0, up), cosine(0.95, 0.85, up))
                } else {
                    let down = (position - 0.25) / 0.75;
                    (cosine(1.0, 1e-5, down), cosine(0.85, 0.95, down))
                };
                Point { factor, momentum: Some(momentum) }
            }
        }
    }

    pub(crate) fn check(self) -> Result<Self> {
        let multiplier = match self {
            Self::Sgdr { cycle_mult, .. } => cycle_mult,
            _ => 1,
        };
        for (name, value) in [("the number of epochs", self.epochs()), ("cycle_mult", multiplier)] {
            if !(1..=MAX_EPOCHS).contains(&value) {
                let expected = "a whole number from 1 to 100,000";
                return Err(Error::Setting { name, value: value.to_string(), expected });
            }
        }
        Ok(self)
    }
}

/// Half a cosine from `start` at 0 to `end` at 1.
fn cosine(start: f64, end: f64, position: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + (PI * position).cos())
}
