//! Tracks a recipe: its progress, time and checkpoints.

use std::time::Instant;

use ocelli_data::timeline;
use ocelli_nn::Backbone;

use crate::error::Result;
use crate::event::{Event, Observers};
use crate::learner::fit::LearnerHooks;
use crate::learner::{Learner, LearnerView};
use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;
use crate::recipe::{Phase, Recipe};
use crate::run::checkpoint::Checkpoints;
use crate::run::progress::Progress;
use crate::schedule::Schedule;
use crate::train::fit::Fit;

/// Tracks a recipe: its progress, its time, and its checkpoints, if it writes any.
pub(crate) struct Tracker {
    pub(crate) progress: Progress,
    /// When seconds were last added to the progress.
    clock: Instant,
    checkpoints: Option<Checkpoints>,
    /// The seconds that the recipe may take.
    pub(crate) time_limit: Option<f64>,
    /// The schedule of the current fit if there is time for all of it, where it is fitted to the time.
    pub(crate) wanted: Option<Schedule>,
}

/// The part of the time that is left which epochs may take; the rest is for what follows them: predictions, the model,
/// the report.
const FOR_EPOCHS: f64 = 0.95;

/// The epochs of so many seconds that end in the time that is left.
pub(crate) fn whole_epochs(left: f64, epoch: f64) -> usize {
    (FOR_EPOCHS * left / epoch.max(1e-6)).max(0.0) as usize
}

/// The time that must be left, in seconds, for so many epochs.
pub(crate) fn seconds_of_epochs(epochs: usize, epoch: f64) -> f64 {
    epochs as f64 * epoch / FOR_EPOCHS
}

impl Tracker {
    /// Before the first phase.
    pub(crate) fn new(checkpoints: Option<Checkpoints>) -> Self {
        Self::at(Progress::default(), checkpoints)
    }

    /// From this progress on.
    pub(crate) fn at(progress: Progress, checkpoints: Option<Checkpoints>) -> Self {
        Self { progress, clock: Instant::now(), checkpoints, time_limit: None, wanted: None }
    }

    /// Starts the clock.
    pub(crate) fn start_clock(&mut self) {
        self.clock = Instant::now();
    }

    /// Seconds of training so far, over all attempts.
    pub(crate) fn seconds(&self) -> f64 {
        self.progress.seconds + self.clock.elapsed().as_secs_f64()
    }

    /// The seconds that are left of a time limit.
    pub(crate) fn time_left(&self) -> Option<f64> {
        self.time_limit.map(|limit| limit - self.seconds())
    }

    /// Goes back before test-time augmentation if that was the last phase, since its result is not in a
    /// checkpoint.
    pub(crate) fn repeat_tta(&mut self, recipe: &Recipe) {
        let done = self.progress.done.min(recipe.phases.len());
        if done > 0 && matches!(recipe.phases[done - 1], Phase::Tta(_)) {
            self.progress.done = done - 1;
        }
    }

    /// Writes a checkpoint of a learner, if there are checkpoints.
    pub(crate) fn write_checkpoint<B: Backbone>(
        &mut self,
        learner: &LearnerView<B>,
        observers: &mut Observers,
    ) -> Result<()> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        let _span = timeline::span("checkpoint");
        self.progress.seconds += self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        let path = checkpoints.write(learner, &self.progress)?;
        observers.emit(&Event::Written { what: "checkpoint", path })
    }

    /// The same for a learner that is not in a fit.
    pub(crate) fn write_checkpoint_of<B: Backbone>(&mut self, learner: &mut Learner<B>) -> Result<()> {
        let Learner { state, inputs, options, best, history, unfinished, observers, .. } = learner;
        let view = LearnerView { state, inputs, options, best, history, fit: unfinished.as_ref() };
        self.write_checkpoint(&view, observers)
    }
}

impl<B: Backbone> LearnerHooks<B> for Tracker {
    fn is_checkpoint_due(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(Checkpoints::is_due)
    }

    fn after_step(&mut self, learner: &LearnerView<B>, observers: &mut Observers) -> Result<()> {
        // Where processes share the state out, after the next step.
        let is_due = self.checkpoints.as_ref().is_some_and(Checkpoints::is_due);
        match is_due && learner.fit.is_none_or(Fit::is_whole) {
            true => self.write_checkpoint(learner, observers),
            false => Ok(()),
        }
    }

    fn epochs_in_time(&self, done: usize, seconds: f64) -> Option<(usize, &Schedule)> {
        let (left, wanted) = (self.time_left()?, self.wanted.as_ref()?);
        let epochs = done + whole_epochs(left, seconds).max(1);
        Some((epochs.min(wanted.epochs()), wanted))
    }

    fn measured(&mut self, record: &EpochRecord, predictions: &Predictions, metric: Option<Metric>) {
        let Progress { watch, candidates, .. } = &mut self.progress;
        candidates.follow(record, predictions, metric);
        watch.follow(record, predictions, metric, candidates.contributions_of(record));
    }

    fn after_epoch(&mut self, learner: &LearnerView<B>, observers: &mut Observers) -> Result<()> {
        match self.checkpoints.as_ref().is_some_and(Checkpoints::is_due_after_epoch) {
            true => self.write_checkpoint(learner, observers),
            false => Ok(()),
        }
    }
}
