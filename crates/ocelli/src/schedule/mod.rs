//! Schedules of learning rate and momentum over the steps of a fit: pure functions, tested and plotted
//! without a model.
//!
//! A [`Schedule`] is a number of cycles, each of which follows a [`LrPolicy`]:
//!
//! | lesson | here |
//! |---|---|
//! | `fit(lr, 3)` | [`Epochs`]`(3)` |
//! | `fit(lr, 3, cycle_len=1, cycle_mult=2)` | [`Sgdr`]`::cycles(3).len(1).mult(2)` |
//! | `fit(lr, 1, cycle_len=8, use_clr=(20, 10))` | [`SlantedTriangular`]`::cycles(1).len(8).div(20.0).cut_div(10)` |
//! | `fit(lr, 1, cycle_len=8, use_clr_beta=(10, 10))` | [`LinearOneCycle`]`::epochs(8)` |
//! | `fit_one_cycle(8, lr)` (fastai 2) | [`OneCycle`]`::epochs(8)` |
//! | `fit_opt_sched([TrainingPhase(…), …])` | [`LrPhases`]`::of([LrPhase::linear(1.0, 0.0, 1.0), …])` |

pub(crate) mod learning_rates;

mod builders;
mod policy;

pub use builders::{Epochs, LinearOneCycle, LrPhases, OneCycle, Sgdr, SlantedTriangular, StepDecay};
pub use policy::{LrPhase, LrPolicy, SchedulePoint, Shape};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::schedule::policy::CycleStep;

/// The learning rate and momentum of every step of a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The number of cycles.
    pub cycles: usize,
    /// Epochs of the first cycle.
    pub cycle_len: usize,
    /// Each cycle is this many times as long as the one before.
    pub cycle_mult: usize,
    /// The policy within a cycle.
    pub policy: LrPolicy,
}
/// The most epochs that a schedule may have; a guard against `cycle_mult` running away.
pub(crate) const MAX_EPOCHS: usize = 100_000;

impl Schedule {
    /// One cycle of this many epochs.
    pub fn once(epochs: usize, policy: LrPolicy) -> Self {
        Self { cycles: 1, cycle_len: epochs, cycle_mult: 1, policy }
    }

    /// The total number of epochs.
    pub fn epochs(&self) -> usize {
        self.cycle_lengths().fold(0, usize::saturating_add)
    }

    /// The same shape in this many epochs: as many whole cycles as there is room for, or else a shorter first one.
    #[must_use]
    pub(crate) fn within(&self, epochs: usize) -> Self {
        match self.cycle_ends().take_while(|end| *end <= epochs).count() {
            0 => Self { cycles: 1, cycle_len: epochs.max(1), ..self.clone() },
            cycles => Self { cycles, ..self.clone() },
        }
    }

    /// For each cycle, the number of epochs after which it ends.
    pub fn cycle_ends(&self) -> impl Iterator<Item = usize> {
        self.cycle_lengths().scan(0usize, |end, length| {
            *end = end.saturating_add(length);
            Some(*end)
        })
    }

    fn cycle_lengths(&self) -> impl Iterator<Item = usize> {
        let mult = self.cycle_mult;
        std::iter::successors(Some(self.cycle_len), move |length| Some(length.saturating_mul(mult)))
            // One cycle more than a schedule may have epochs, so that too many are detected.
            .take(self.cycles.min(MAX_EPOCHS + 1))
    }

    /// The schedule at `step`, counted from 0 over all epochs of `steps_per_epoch` batches.
    pub fn at(&self, step: usize, steps_per_epoch: usize) -> SchedulePoint {
        let mut length = self.cycle_len.saturating_mul(steps_per_epoch);
        let mut within = step;
        while within >= length && length > 0 {
            within -= length;
            length = length.saturating_mul(self.cycle_mult);
        }
        self.policy.at(CycleStep {
            step: within,
            steps: length,
            steps_per_epoch,
            first_cycle: within == step,
        })
    }

    pub(crate) fn check(self) -> Result<Self> {
        let numbers = [("epochs", self.epochs()), ("cycles", self.cycles), ("cycle_mult", self.cycle_mult)];
        for (name, value) in numbers {
            if !(1..=MAX_EPOCHS).contains(&value) {
                let expected = "a whole number from 1 to 100,000";
                return Err(Error::setting(name, value, expected));
            }
        }
        self.policy.check(self.cycle_len)?;
        Ok(self)
    }
}
