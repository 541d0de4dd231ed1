//! The training loop.

use std::ops::ControlFlow;
use std::time::Instant;

use ocelli_data::timeline;
use ocelli_nn::{Backbone, GROUPS, Network, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::Part;
use crate::error::{Error, Result};
use crate::event::{Activity, EpochTimes, Event, Observers};
use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;
use crate::processes::agreement::digest;
use crate::recipe::freezing::Freezing;
use crate::schedule::Schedule;
use crate::schedule::learning_rates::LearningRates;
use crate::train::infer::predict;
use crate::train::input::Inputs;
use crate::train::options::TrainOptions;
use crate::train::state::TrainState;
use crate::train::step::{Accumulation, NotFinite, StepError, StepSize, train_step};
use crate::train::weight_average::WeightAverage;

/// A fit: its learning rates and schedule, and how far it is. It can be saved after any step and resumed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fit {
    /// The peak learning rates.
    pub(crate) rates: LearningRates,
    pub(crate) schedule: Schedule,
    /// Finished epochs of the schedule, validation included.
    pub(crate) epoch: usize,
    /// Finished batches of this epoch.
    pub(crate) batch: usize,
    totals: EpochTotals,
    accumulation: Accumulation,
    /// The exponential moving average of the weights, if there is one.
    ema: Option<WeightAverage>,
    /// The average of the weights over epochs (SWA), if there is one.
    swa: Option<WeightAverage>,
}

/// The totals of an epoch so far.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct EpochTotals {
    /// The sum of the losses of all training images so far.
    loss: f64,
    /// Their number.
    images: usize,
    /// The learning rates of the last step.
    rates: Option<LearningRates>,
    seconds: f64,
}

/// A fit in progress.
pub(crate) struct FitView<'a, B: Backbone> {
    pub(crate) fit: &'a Fit,
    pub(crate) state: &'a TrainState<B>,
    pub(crate) inputs: &'a Inputs,
    pub(crate) options: &'a TrainOptions,
}

/// A finished epoch, and the network that was validated: the average of the weights, if there is one.
pub(crate) struct MeasuredEpoch<B: Backbone> {
    pub(crate) record: EpochRecord,
    pub(crate) predictions: Predictions,
    pub(crate) network: Network<B>,
    pub(crate) freezing: Freezing,
    /// The image size in pixels.
    pub(crate) size: usize,
    /// Where the time went.
    pub(crate) times: EpochTimes,
}

/// Called by the loop. They may fail, or ask to stop, and cannot change anything else.
pub(crate) trait FitHooks<B: Backbone> {
    /// The observers.
    fn observers(&mut self) -> &mut Observers;

    /// Whether this process is to save the state after the next step.
    fn is_checkpoint_due(&self) -> bool {
        false
    }

    /// After each batch.
    fn after_step(&mut self, _now: &FitView<B>) -> Result<()> {
        Ok(())
    }

    /// After an epoch that is not the last, by the number of epochs done and the seconds of the last one: how many end
    /// in time, and the schedule if all did; `None` where time does not matter.
    fn epochs_in_time(&self, _done: usize, _seconds: f64) -> Option<(usize, &Schedule)> {
        None
    }

    /// After validation; `Break` makes this epoch the last. The record may be marked as the best.
    fn measured(&mut self, _epoch: &mut MeasuredEpoch<B>, _fit: &Fit) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// After an epoch has been counted.
    fn after_epoch(&mut self, _epoch: &MeasuredEpoch<B>, _now: &FitView<B>) -> Result<()> {
        Ok(())
    }
}

impl Fit {
    /// A fit before its first step.
    pub(crate) fn new<B: Backbone>(
        rates: LearningRates,
        schedule: Schedule,
        state: &TrainState<B>,
        options: &TrainOptions,
    ) -> Result<Self> {
        let (rates, schedule) = (rates.check()?, schedule.check()?);
        let accumulation = Accumulation::new(options)?;
        let average = || WeightAverage::of(&state.network, state.freezing.frozen());
        let (ema, swa) = (options.ema_decay.map(|_| average()), options.swa_start.map(|_| average()));
        Ok(Self {
            rates,
            schedule,
            epoch: 0,
            batch: 0,
            totals: EpochTotals::default(),
            accumulation,
            ema,
            swa,
        })
    }

    /// Runs to the end, or to an error, from which it can be resumed; returns the records of the epochs that
    /// end meanwhile.
    pub(crate) fn run<B: Backbone>(
        &mut self,
        state: &mut TrainState<B>,
        inputs: &mut Inputs,
        options: &TrainOptions,
        hooks: &mut dyn FitHooks<B>,
    ) -> Result<Vec<EpochRecord>> {
        let result = self.run_epochs(state, inputs, options, hooks);
        if matches!(result, Err(Error::Stopped | Error::Diverged { .. })) {
            // Which all processes come to at the same place.
            self.accumulation.gather(&state.network, &inputs.processes)?;
        }
        result
    }

    /// Whether process 0 has the whole state, so that it can be saved.
    pub(crate) fn is_whole(&self) -> bool {
        self.accumulation.is_whole()
    }

    fn run_epochs<B: Backbone>(
        &mut self,
        state: &mut TrainState<B>,
        inputs: &mut Inputs,
        options: &TrainOptions,
        hooks: &mut dyn FitHooks<B>,
    ) -> Result<Vec<EpochRecord>> {
        inputs.prepare(state, self.schedule.epochs(), hooks.observers())?;
        let mut records = Vec::new();
        while !self.is_over() {
            let _span = timeline::span("epoch");
            let began = Instant::now();
            let mut times = EpochTimes { fit: state.fits, epoch: self.epoch + 1, ..EpochTimes::default() };
            self.train_epoch(state, inputs, options, hooks, &mut times)?;
            self.accumulation.gather(&state.network, &inputs.processes)?;
            let trained = Instant::now();
            // The average is validated and saved, if there is one; training continues with the weights
            // themselves.
            let averaged = self.averaged(state, inputs, options, hooks.observers())?;
            let measured = averaged.as_ref().unwrap_or(state);
            let predictions = {
                let _span = timeline::span("validation");
                predict(measured, inputs, Part::Valid, hooks.observers())?
            };
            times.validation = trained.elapsed().as_secs_f64();
            self.totals.seconds += began.elapsed().as_secs_f64();
            let network = measured.network.clone();
            let record = self.end_epoch(state, options, &predictions);
            let (freezing, size) = (state.freezing, inputs.data.size());
            let mut epoch = MeasuredEpoch { record, predictions, network, freezing, size, times };
            if hooks.measured(&mut epoch, self).is_break() {
                self.epoch = self.schedule.epochs();
            }
            if !self.is_over() {
                self.keep_to_time(epoch.record.seconds, inputs, hooks)?;
            }
            if let (true, Some(averaged)) = (self.is_over(), averaged) {
                state.network = averaged.network;
            }
            hooks.after_epoch(&epoch, &FitView { fit: self, state, inputs, options })?;
            records.push(epoch.record);
            inputs.processes.agree("the weights", || digest(&state.network))?;
        }
        Ok(records)
    }

    /// Changes the number of epochs where the last one took more or less time than was planned. The learning rate goes
    /// on where it is in the new schedule, so that it ends as low.
    fn keep_to_time<B: Backbone>(
        &mut self,
        seconds: f64,
        inputs: &Inputs,
        hooks: &mut dyn FitHooks<B>,
    ) -> Result<()> {
        let Some((epochs, whole)) = hooks.epochs_in_time(self.epoch, seconds) else { return Ok(()) };
        // Processes are not equally fast.
        let schedule = whole.within(inputs.processes.as_first(epochs)?);
        let (before, epochs) = (self.schedule.epochs(), schedule.epochs());
        if epochs != before {
            self.schedule = schedule;
            let text = format!(
                "there is time for {epochs} epochs in all instead of {before}: the last one took {seconds:.0} s"
            );
            hooks.observers().emit(&Event::Notice { text })?;
        }
        Ok(())
    }

    /// Whether all epochs are finished.
    fn is_over(&self) -> bool {
        self.epoch >= self.schedule.epochs()
    }

    /// Trains on the remaining batches of an epoch.
    fn train_epoch<B: Backbone>(
        &mut self,
        state: &mut TrainState<B>,
        inputs: &Inputs,
        options: &TrainOptions,
        hooks: &mut dyn FitHooks<B>,
        times: &mut EpochTimes,
    ) -> Result<()> {
        let order = inputs.order(state);
        let (total, batch_size) = (order.len(), inputs.data.batch_size());
        let batches = batches_per_epoch(total, batch_size);
        let mut stream = inputs.batches(state, order, batch_size, self.batch, options.pieces())?;
        while self.batch < batches {
            let began = Instant::now();
            let Some(batch) = stream.next(state, inputs, options.mix, hooks.observers())? else { break };
            times.wait += batch.waited;
            // The frozen layers, where their features are not cached.
            times.forward += began.elapsed().as_secs_f64() - batch.waited;
            // Batch norm needs two images.
            if batch.images > 1 {
                let point = self.schedule.at(self.epoch * batches + self.batch, batches);
                let rates = self.rates.scaled(point.lr_factor);
                let is_last = self.batch + 1 == batches;
                let is_saved = hooks.is_checkpoint_due();
                let images = batch.images;
                let step = StepSize { rates, momentum: point.momentum, is_last, is_saved };
                let step = train_step(state, batch, step, options, inputs, &mut self.accumulation).map_err(
                    |error| match error {
                        StepError::NotFinite(error) => self.diverged(&error, rates),
                        StepError::Loss(error) => error,
                    },
                )?;
                if let (Some(average), Some(decay), true) =
                    (&mut self.ema, options.ema_decay, self.accumulation.has_stepped())
                {
                    average.ema_update(&state.network, decay);
                }
                times.images += images;
                times.forward += step.forward;
                times.backward += step.backward;
                times.optimizer += step.optimizer;
                self.totals.loss += step.loss * images as f64;
                self.totals.images += images;
                self.totals.rates = Some(rates);
            }
            self.batch += 1;
            hooks.observers().progress(Activity::Training, (self.batch * batch_size).min(total), total)?;
            hooks.after_step(&FitView { fit: self, state, inputs, options })?;
        }
        if self.totals.images == 0 { Err(Error::NoTrainingBatch) } else { Ok(()) }
    }

    fn diverged(&self, error: &NotFinite, rates: LearningRates) -> Error {
        let NotFinite { what, value } = *error;
        let (epoch, batch) = (self.epoch + 1, self.batch + 1);
        Error::Diverged { what, value, epoch, batch, rates: rates.to_string() }
    }

    /// After an epoch: a copy of the state with the average of the weights, if there is one.
    fn averaged<B: Backbone>(
        &mut self,
        state: &TrainState<B>,
        inputs: &mut Inputs,
        options: &TrainOptions,
        observers: &mut Observers,
    ) -> Result<Option<TrainState<B>>> {
        if let (Some(average), Some(first)) = (&mut self.swa, options.swa_start)
            && self.epoch >= first
        {
            average.swa_update(&state.network, self.epoch - first);
            let mut fork = state.fork();
            fork.network = average.apply(fork.network);
            estimate_statistics(&mut fork, inputs, options, observers)?;
            return Ok(Some(fork));
        }
        Ok(self.ema.as_ref().map(|average| {
            let mut fork = state.fork();
            fork.network = average.apply(fork.network);
            fork
        }))
    }

    /// Counts the epoch and returns its record.
    fn end_epoch<B: Backbone>(
        &mut self,
        state: &mut TrainState<B>,
        options: &TrainOptions,
        predictions: &Predictions,
    ) -> EpochRecord {
        let totals = std::mem::take(&mut self.totals);
        self.epoch += 1;
        self.batch = 0;
        state.epochs += 1;
        let train_loss = totals.loss / totals.images as f64;
        let learning_rates = totals.rates.unwrap_or(self.rates);
        let record = record((state.fits, self.epoch), train_loss, predictions, options);
        EpochRecord { learning_rates, seconds: totals.seconds, ..record }
    }

    /// Adds the fit's tensors to a file, with this prefix.
    pub(crate) fn write<B: Backbone>(&self, network: &Network<B>, prefix: &str, file: &mut TensorFile) {
        self.accumulation.write(network, prefix, file);
        for (average, name) in [(&self.ema, "ema"), (&self.swa, "swa")] {
            if let Some(average) = average {
                average.write(network, &format!("{prefix}{name}"), file);
            }
        }
    }

    /// Reads the fit's tensors from a file that [`write`](Self::write) has filled.
    ///
    /// # Errors
    /// Where one is not that of a parameter of this network.
    pub(crate) fn read<B: Backbone>(
        &mut self,
        network: &Network<B>,
        prefix: &str,
        file: &TensorFile,
    ) -> Result<()> {
        self.accumulation.read(network, prefix, file)?;
        for (average, name) in [(&mut self.ema, "ema"), (&mut self.swa, "swa")] {
            if let Some(average) = average {
                average.read(network, &format!("{prefix}{name}"), file)?;
            }
        }
        Ok(())
    }

    /// Checks one that has been read from a file.
    pub(crate) fn check(&self) -> Result<()> {
        self.rates.check()?;
        self.schedule.clone().check()?;
        self.accumulation.check()
    }
}

/// The record of an epoch, without its learning rates and its time, by its predictions of the validation images.
pub(crate) fn record(
    (fit, epoch): (usize, usize),
    train_loss: f64,
    predictions: &Predictions,
    options: &TrainOptions,
) -> EpochRecord {
    let measured = !predictions.is_empty();
    let metrics = options.metrics.iter().map(|&metric| (metric, predictions.monitored_value(metric)));
    EpochRecord {
        fit,
        epoch,
        train_loss,
        valid_loss: measured.then(|| predictions.loss()),
        accuracy: measured.then(|| predictions.value(Metric::Accuracy)),
        metrics: if measured { metrics.collect() } else { Vec::new() },
        learning_rates: LearningRates::from(0.0),
        seconds: 0.0,
        best: false,
    }
}

/// Sets the running statistics of trainable norms to the means of the batches' over all training images.
pub(crate) fn estimate_statistics<B: Backbone>(
    state: &mut TrainState<B>,
    inputs: &mut Inputs,
    options: &TrainOptions,
    observers: &mut Observers,
) -> Result<()> {
    if state.freezing.is_cached() {
        inputs.prepare_features(state, observers)?;
    }
    let order = inputs.order(state);
    let (total, mut done, mut batches) = (order.len(), 0, 0.0);
    let mut stream = inputs.batches(state, order, inputs.data.batch_size(), 0, None)?;
    while let Some(batch) = stream.next(state, inputs, options.mix, observers)? {
        if batch.images > 1 {
            batches += 1.0;
            // Without gradients: a pass would keep what they need in memory.
            let network = state.network.clone().train_groups_from(GROUPS);
            let (_, pass) = state.forward(&network, batch.input, options.statistics());
            let mut seen = pass.into_batch_stats();
            seen.iter_mut().for_each(|seen| seen.momentum = 1.0 / batches);
            state.network = state.network.clone().update_running_stats(seen);
        }
        done += batch.images;
        observers.progress(Activity::Statistics, done, total)?;
    }
    Ok(())
}

/// Batches of an epoch: a remainder of one image is dropped, since batch norm needs two.
pub(crate) fn batches_per_epoch(images: usize, batch_size: usize) -> usize {
    images / batch_size + usize::from(images % batch_size > 1 || images == 1)
}
