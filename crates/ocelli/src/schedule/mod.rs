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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_epochs_have_the_same_shape_and_end_as_low() {
        let whole: Schedule = OneCycle::epochs(8).div(5.0).into();
        assert_eq!(whole.within(8), whole);
        let short = whole.within(3);
        assert_eq!(short.epochs(), 3);
        for (step, of_whole) in [(0, 0), (15, 40), (29, 79)] {
            let (short, whole) = (short.at(step, 10).lr_factor, whole.at(of_whole, 10).lr_factor);
            assert!((short - whole).abs() < 0.03, "{short} and {whole} at {step}");
        }
        assert_eq!(whole.within(0).epochs(), 1);
        // Whole cycles, of 1, 2 and 4 epochs.
        let cycles: Schedule = Sgdr::cycles(3).mult(2).into();
        let epochs = [0, 1, 2, 3, 4, 6, 7, 100].map(|epochs| cycles.within(epochs).epochs());
        assert_eq!(epochs, [1, 1, 1, 3, 3, 3, 7, 7]);
    }
}
