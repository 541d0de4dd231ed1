//! Fits of a learner.

use std::ops::ControlFlow;

use ocelli_nn::Backbone;

use crate::error::Result;
use crate::event::{Event, FitStarted, Observers};
use crate::learner::best::BestWeights;
use crate::learner::examples::Examples;
use crate::learner::save::SaveCycles;
use crate::learner::{Learner, LearnerView};
use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;
use crate::schedule::Schedule;
use crate::schedule::learning_rates::LearningRates;
use crate::train::fit::{Fit, FitHooks, FitView, MeasuredEpoch};
use crate::train::input::Inputs;

/// Records the progress of a fit from outside the learner.
pub(crate) trait LearnerHooks<B: Backbone> {
    /// Whether this process is to save the state after the next step.
    fn is_checkpoint_due(&self) -> bool {
        false
    }

    /// After each batch.
    fn after_step(&mut self, _learner: &LearnerView<B>, _observers: &mut Observers) -> Result<()> {
        Ok(())
    }

    /// After an epoch that is not the last, by the number of epochs done and the seconds of the last one: how many end
    /// in time, and the schedule if all did; `None` where time does not matter.
    fn epochs_in_time(&self, _done: usize, _seconds: f64) -> Option<(usize, &Schedule)> {
        None
    }

    /// After validation; `metric` is the one that chooses the best weights.
    fn measured(&mut self, _record: &EpochRecord, _predictions: &Predictions, _metric: Option<Metric>) {}

    /// After an epoch has been counted and emitted.
    fn after_epoch(&mut self, _learner: &LearnerView<B>, _observers: &mut Observers) -> Result<()> {
        Ok(())
    }
}

/// Records nothing.
impl<B: Backbone> LearnerHooks<B> for () {}

/// What a learner does after steps and epochs: best weights, patience, models of cycles, history, events.
pub(super) struct Hooks<'a, B: Backbone> {
    pub(super) best: &'a mut BestWeights<B>,
    pub(super) history: &'a mut Vec<EpochRecord>,
    pub(super) observers: &'a mut Observers,
    pub(super) save_cycles: Option<&'a SaveCycles>,
    pub(super) above: &'a mut dyn LearnerHooks<B>,
}

impl<B: Backbone> Hooks<'_, B> {
    /// The learner's state, and the hooks from outside.
    fn view<'a>(
        &'a mut self,
        now: &FitView<'a, B>,
    ) -> (LearnerView<'a, B>, &'a mut dyn LearnerHooks<B>, &'a mut Observers) {
        let &FitView { fit, state, inputs, options } = now;
        let (best, history) = (&*self.best, &self.history[..]);
        let view = LearnerView { state, inputs, options, best, history, fit: Some(fit) };
        (view, self.above, self.observers)
    }

    /// Compares an epoch with the best one, and adds it to the history.
    pub(super) fn follow(&mut self, epoch: &mut MeasuredEpoch<B>) {
        self.best.consider(epoch);
        self.above.measured(&epoch.record, &epoch.predictions, self.best.metric);
        self.history.push(epoch.record.clone());
    }

    /// Emits what is known of an epoch; all of it also where an observer asks to stop.
    pub(super) fn emit(&mut self, epoch: &MeasuredEpoch<B>, inputs: &Inputs) -> Result<()> {
        let events = [
            Event::Epoch(epoch.record.clone()),
            Event::EpochTimes(epoch.times),
            Event::Examples(Examples::of(&epoch.record, &epoch.predictions, &inputs.data)),
        ];
        let emitted = events.map(|event| self.observers.emit(&event));
        emitted.into_iter().collect()
    }
}

impl<B: Backbone> FitHooks<B> for Hooks<'_, B> {
    fn observers(&mut self) -> &mut Observers {
        self.observers
    }

    fn is_checkpoint_due(&self) -> bool {
        self.above.is_checkpoint_due()
    }

    fn after_step(&mut self, now: &FitView<B>) -> Result<()> {
        let (view, above, observers) = self.view(now);
        above.after_step(&view, observers)
    }

    fn epochs_in_time(&self, done: usize, seconds: f64) -> Option<(usize, &Schedule)> {
        self.above.epochs_in_time(done, seconds)
    }

    fn measured(&mut self, epoch: &mut MeasuredEpoch<B>, _: &Fit) -> ControlFlow<()> {
        self.follow(epoch);
        match self.best.is_out_of_patience(self.history) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn after_epoch(&mut self, epoch: &MeasuredEpoch<B>, now: &FitView<B>) -> Result<()> {
        let cycle = now.fit.schedule.cycle_ends().position(|end| end == now.fit.epoch);
        if let (Some(save), Some(cycle)) = (self.save_cycles, cycle) {
            save.after_cycle(cycle, epoch, now.inputs, self.observers)?;
        }
        self.emit(epoch, now.inputs)?;
        let (view, above, observers) = self.view(now);
        above.after_epoch(&view, observers)
    }
}

impl<B: Backbone> Learner<B> {
    /// Trains for the epochs of a schedule, at one peak learning rate or one for each layer group, and
    /// returns the records of the epochs.
    ///
    /// Each epoch goes once over the training images, in an order drawn from the seed, and is then validated.
    /// Loss and optimizer are set by the [options](Self::set_options). A last batch of one image is dropped,
    /// since batch norm needs two.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for learning rates or schedules out of range;
    /// [`Error::Diverged`](crate::Error::Diverged) where the loss or its gradients become NaN or infinite,
    /// [`Error::Stopped`](crate::Error::Stopped) where an observer asks to stop: both leave the network as it
    /// was after the step before.
    pub fn fit(
        &mut self,
        learning_rates: impl Into<LearningRates>,
        schedule: impl Into<Schedule>,
    ) -> Result<Vec<EpochRecord>> {
        self.begin(learning_rates.into(), schedule.into())?;
        self.resume_with(&mut ())
    }

    /// Resumes a fit that an error has ended, from the step where it did, and returns the records of the
    /// epochs that end meanwhile; empty if no fit is unfinished. The result is the same, to the bit, as
    /// without the interruption.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn resume(&mut self) -> Result<Vec<EpochRecord>> {
        if let Some(event) = self.resumed() {
            self.observers.emit(&event)?;
        }
        self.resume_with(&mut ())
    }

    /// What is told where an unfinished fit is resumed.
    pub(crate) fn resumed(&self) -> Option<Event> {
        let fit = self.unfinished.as_ref()?;
        Some(Event::Resumed { fit: self.state.fits, epochs: (fit.epoch, fit.schedule.epochs()) })
    }

    /// Begins a fit, for [`resume`](Self::resume).
    pub(crate) fn begin(&mut self, rates: LearningRates, schedule: Schedule) -> Result<()> {
        self.options.check(self.data().classes().len())?;
        let fit = Fit::new(rates, schedule, &self.state, &self.options)?;
        self.state.fits += 1;
        self.observers.emit(&Event::FitStarted(FitStarted {
            number: self.state.fits,
            freezing: self.state.freezing,
            learning_rates: fit.rates,
            epochs: fit.schedule.epochs(),
        }))?;
        self.unfinished = Some(fit);
        Ok(())
    }

    /// As [`resume`](Self::resume), with hooks from outside.
    pub(crate) fn resume_with(&mut self, above: &mut dyn LearnerHooks<B>) -> Result<Vec<EpochRecord>> {
        let Some(mut fit) = self.unfinished.take() else { return Ok(Vec::new()) };
        let Self { state, inputs, options, best, history, observers, save_cycles, .. } = self;
        let mut hooks = Hooks { best, history, observers, save_cycles: save_cycles.as_ref(), above };
        let result = fit.run(state, inputs, options, &mut hooks);
        self.unfinished = result.is_err().then_some(fit);
        result
    }
}
