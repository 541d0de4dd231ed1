//! The training loop.

use std::time::Instant;

use burn::tensor::Tensor;
use ocelli_data::augment::mix::Mixed;
use ocelli_data::{Batches, Draws, Order, Purpose};
use ocelli_nn::{Backbone, GROUPS, Network, Pass, Statistics, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::event::{EpochRow, Event, Stage, Task};
use crate::features::Look;
use crate::learner::Learner;
use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::recipe::diagnosis::Watch;
use crate::schedule::Schedule;
use crate::schedule::learning_rates::LearningRates;
use crate::train::gradients::ParameterGradients;
use crate::train::optimizer::OptimizerState;
use crate::train::options::Method;
use crate::train::weight_average::WeightAverage;

/// Where the batches of an epoch come from.
pub(crate) enum Source {
    /// Kept activations of these items, one entry a batch.
    Kept(std::vec::IntoIter<Vec<usize>>),
    /// The image files.
    Images(Batches),
}

/// Some images as the trained part of a network takes them.
pub(crate) struct Ready {
    /// How many they are; there may be none.
    pub(crate) images: usize,
    /// What they are: `[images, classes]`, row by row.
    targets: Vec<f32>,
    input: Input,
}

/// What the trained part of a network takes.
pub(crate) enum Input {
    /// Images, or feature maps at the border: `[images, channels, height, width]`.
    Maps(Tensor<4>),
    /// Pooled features: `[images, features]`.
    Pooled(Tensor<2>),
}

impl Input {
    /// The number of numbers.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Maps(maps) => maps.shape().num_elements(),
            Self::Pooled(pooled) => pooled.shape().num_elements(),
        }
    }
}

/// A fit: what was asked for, how far it is, and what it has gathered on the way. It can be kept after any step
/// and resumed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fit {
    pub(crate) rates: LearningRates,
    pub(crate) schedule: Schedule,
    /// Epochs of the schedule that are over, validation included.
    pub(crate) epoch: usize,
    /// Batches of the epoch at hand that are over.
    pub(crate) batch: usize,
    /// What the epoch at hand has come to so far.
    pub(crate) sums: Sums,
    pub(crate) descent: Descent,
    /// The exponential average of the weights, if it is wanted.
    pub(crate) ema: Option<WeightAverage>,
    /// The mean of the weights after epochs, if it is wanted.
    pub(crate) swa: Option<WeightAverage>,
}

/// What one epoch has come to so far.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// The sum of the losses of all images that were trained on.
    loss: f64,
    /// Their number.
    images: usize,
    /// The learning rates of the last step.
    rates: Option<LearningRates>,
    seconds: f64,
}

/// How gradients become steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Descent {
    optimizer: OptimizerState,
    /// Gradients of batches that await their step, each times its number of images.
    #[serde(skip)]
    gathered: ParameterGradients,
    /// The number of those batches and of their images.
    batches: usize,
    images: usize,
}

/// A number of training that is none any more.
pub(crate) struct NotFinite {
    what: &'static str,
    value: f64,
}

impl Descent {
    pub(crate) fn new(method: &Method) -> Result<Self> {
        let optimizer = OptimizerState::new(method.optimizer.check()?, method.weight_decay);
        Ok(Self { optimizer, gathered: ParameterGradients::default(), batches: 0, images: 0 })
    }
}

impl Fit {
    /// Adds the fit's tensors to a file, their names beginning with `prefix`.
    pub(crate) fn write<B: Backbone>(&self, network: &Network<B>, prefix: &str, file: &mut TensorFile) {
        self.descent.optimizer.write(network, &format!("{prefix}optimizer"), file);
        self.descent.gathered.write(network, &format!("{prefix}gathered"), file);
        for (average, name) in [(&self.ema, "ema"), (&self.swa, "swa")] {
            if let Some(average) = average {
                average.write(network, &format!("{prefix}{name}"), file);
            }
        }
    }

    /// Takes the fit's tensors from a file that [`write`](Self::write) has filled.
    pub(crate) fn read<B: Backbone>(&mut self, network: &Network<B>, prefix: &str, file: &TensorFile) {
        self.descent.optimizer.read(network, &format!("{prefix}optimizer"), file);
        self.descent.gathered.read(network, &format!("{prefix}gathered"), file);
        for (average, name) in [(&mut self.ema, "ema"), (&mut self.swa, "swa")] {
            if let Some(average) = average {
                average.read(network, &format!("{prefix}{name}"), file);
            }
        }
    }
}

impl<B: Backbone> Learner<B> {
    /// Trains for the epochs of a schedule, at one peak learning rate or one for each layer group, and gives the
    /// rows of the table.
    ///
    /// Each epoch goes once over the training images, in an order drawn from the seed, and then measures on the
    /// validation images. How the weights move is [`method`](Self::method)'s to say. A last batch of one image is
    /// left out of training, since batch norm needs two.
    ///
    /// # Errors
    /// [`Error::Setting`] for learning rates or schedules out of range; [`Error::Diverged`] where the loss or its
    /// gradients are no numbers any more, [`Error::Stopped`] where an observer asks to stop: both leave the network
    /// as it was after the step before.
    pub fn fit(
        &mut self,
        learning_rates: impl Into<LearningRates>,
        schedule: impl Into<Schedule>,
    ) -> Result<Vec<EpochRow>> {
        let fit = self.begin(learning_rates.into(), schedule.into())?;
        self.finish(fit)
    }

    /// A fit before its first step.
    pub(crate) fn begin(&mut self, rates: LearningRates, schedule: Schedule) -> Result<Fit> {
        let (rates, schedule) = (rates.check()?, schedule.check()?);
        self.method.check(self.data.classes().len())?;
        let descent = Descent::new(&self.method)?;
        let average = || WeightAverage::of(&self.network, self.freezing.frozen());
        let (ema, swa) = (self.method.ema.map(|_| average()), self.method.swa.map(|_| average()));
        self.fits += 1;
        self.temperature = None;
        self.performance.watch = Watch::default();
        self.observers.tell(&Event::StageStarted(Stage {
            number: self.fits,
            freezing: self.freezing,
            learning_rates: rates,
            epochs: schedule.epochs(),
        }))?;
        Ok(Fit { rates, schedule, epoch: 0, batch: 0, sums: Sums::default(), descent, ema, swa })
    }

    /// Goes on with a fit to its end, or to an error, from which it can be resumed; gives the rows of the epochs that
    /// end meanwhile.
    pub(crate) fn finish(&mut self, mut fit: Fit) -> Result<Vec<EpochRow>> {
        let result = self.train(&mut fit);
        self.unfinished = result.is_err().then_some(fit);
        result
    }

    fn train(&mut self, fit: &mut Fit) -> Result<Vec<EpochRow>> {
        let epochs = fit.schedule.epochs();
        self.ready_images(epochs)?;
        let mut rows = Vec::new();
        while fit.epoch < epochs {
            let began = Instant::now();
            self.train_epoch(fit)?;
            // MetricEstimate and kept is the average, where there is one; training goes on with the weights themselves.
            let trained = self.network.clone();
            let measured = self.take_averages(fit).and_then(|()| self.measure_epoch(fit, began));
            if fit.epoch < epochs {
                self.network = trained;
            }
            rows.push(measured?);
            self.write_checkpoint(Some(fit))?;
        }
        Ok(rows)
    }

    /// Validates after an epoch, counts it, and tells of it.
    fn measure_epoch(&mut self, fit: &mut Fit, began: Instant) -> Result<EpochRow> {
        let predictions = self.validate()?;
        fit.sums.seconds += began.elapsed().as_secs_f64();
        let mut row = self.end_epoch(fit, &predictions);
        self.consider(&mut row);
        self.performance.watch.follow(&row, &predictions, self.keeping);
        self.history.push(row.clone());
        if self.is_out_of_patience() {
            fit.epoch = fit.schedule.epochs();
        }
        if let Some(cycle) = fit.schedule.cycle_ends().position(|end| end == fit.epoch) {
            if row.is_finite() {
                self.save_cycle(cycle)?;
            } else {
                let text = format!(
                    "cycle {} has no model: what the network computes is not finite any more",
                    cycle + 1
                );
                self.observers.tell(&Event::Notice { text })?;
            }
        }
        self.observers.tell(&Event::Epoch(row.clone()))?;
        Ok(row)
    }

    /// Makes sure that whatever training starts from is at hand.
    pub(crate) fn ready_images(&mut self, epochs: usize) -> Result<()> {
        if self.freezing.is_cached() { self.ready_activations() } else { self.ready_resized(epochs) }
    }

    /// What is left of one pass over the training images.
    fn train_epoch(&mut self, fit: &mut Fit) -> Result<()> {
        let order = self.order();
        let (total, batch_size) = (order.len(), self.data.batch_size());
        let batches = batches_per_epoch(total, batch_size);
        let mut source = self.source(order, fit.batch)?;
        while fit.batch < batches {
            let Some(ready) = self.next(&mut source)? else { break };
            if ready.images > 1 {
                let images = ready.images;
                let point = fit.schedule.at(fit.epoch * batches + fit.batch, batches);
                let rates = fit.rates.scaled(point.lr_factor);
                let last = fit.batch + 1 == batches;
                let loss = self.descend(ready, rates, point.momentum, &mut fit.descent, last).map_err(
                    |NotFinite { what, value }| {
                        let (epoch, batch) = (fit.epoch + 1, fit.batch + 1);
                        Error::Diverged { what, value, epoch, batch, rates: rates.to_string() }
                    },
                )?;
                if let (Some(average), Some(decay), 0) = (&mut fit.ema, self.method.ema, fit.descent.batches)
                {
                    average.ema_update(&self.network, decay);
                }
                fit.sums.loss += loss * images as f64;
                fit.sums.images += images;
                fit.sums.rates = Some(rates);
            }
            fit.batch += 1;
            self.progress(Task::Training, (fit.batch * batch_size).min(total), total)?;
            self.write_checkpoint_if_due(fit)?;
        }
        if fit.sums.images == 0 {
            return Err(Error::NoTrainingBatch);
        }
        Ok(())
    }

    /// After an epoch: puts the averages of weights in the place of the network's own, where they are wanted.
    fn take_averages(&mut self, fit: &mut Fit) -> Result<()> {
        if let (Some(average), Some(first)) = (&mut fit.swa, self.method.swa)
            && fit.epoch >= first
        {
            average.swa_update(&self.network, fit.epoch - first);
            self.network = average.apply(self.network.clone());
            self.estimate_statistics()?;
        } else if let Some(average) = &fit.ema {
            self.network = average.apply(self.network.clone());
        }
        Ok(())
    }

    /// Counts the epoch and gives its row.
    fn end_epoch(&mut self, fit: &mut Fit, predictions: &Predictions) -> EpochRow {
        let sums = std::mem::take(&mut fit.sums);
        let measured = !predictions.is_empty();
        fit.epoch += 1;
        fit.batch = 0;
        self.epochs += 1;
        let metrics = self.metrics.iter().map(|&metric| (metric, predictions.value_watched(metric)));
        EpochRow {
            stage: self.fits,
            epoch: fit.epoch,
            train_loss: sums.loss / sums.images as f64,
            valid_loss: measured.then(|| predictions.loss()),
            accuracy: measured.then(|| predictions.value(Metric::Accuracy)),
            metrics: if measured { metrics.collect() } else { Vec::new() },
            learning_rates: sums.rates.unwrap_or(fit.rates),
            seconds: sums.seconds,
            best: false,
        }
    }

    /// The training images in the order of this epoch.
    pub(crate) fn order(&self) -> Vec<usize> {
        let seed = self.seed;
        let order =
            if self.data.is_balanced() { Order::ClassBalanced { seed } } else { Order::Shuffled { seed } };
        order.of(&self.data.items, &self.data.split.train, self.epochs)
    }

    /// The batches of this epoch from `first` on.
    pub(crate) fn source(&self, order: Vec<usize>, first: usize) -> Result<Source> {
        if !self.freezing.is_cached() {
            return Ok(Source::Images(self.training_loader()?.batches_from(order, self.epochs, first)?));
        }
        // Bad images leave gaps in their batches, as they do where images are loaded.
        let batches = order.chunks(self.data.batch_size()).skip(first);
        let batches: Vec<_> = batches.map(|items| self.with_activations(items, Look::Training)).collect();
        Ok(Source::Kept(batches.into_iter()))
    }

    /// The next batch of the epoch.
    pub(crate) fn next(&mut self, source: &mut Source) -> Result<Option<Ready>> {
        let device = self.network.device();
        match source {
            Source::Kept(batches) => {
                let Some(items) = batches.next() else { return Ok(None) };
                let kept = self.activations_of(&items, Look::Training);
                let input = if self.pooled() {
                    Input::Pooled(Tensor::from_data(kept, &device))
                } else {
                    Input::Maps(Tensor::from_data(kept, &device))
                };
                Ok(Some(Ready { images: items.len(), targets: self.targets(&items), input }))
            }
            Source::Images(batches) => {
                let Some(mut batch) = batches.next().transpose()? else { return Ok(None) };
                self.tell_skipped(&batch.skipped)?;
                let mut targets = self.targets(&batch.indices);
                if let Some(mix) = self.method.mix {
                    let mixed = mix.apply(&mut batch, &self.data.items, self.seed, self.epochs)?;
                    targets = mix_targets(&targets, &mixed, self.data.classes().len());
                }
                let images = to_tensor(&mut batch, &device);
                let maps = if batch.indices.is_empty() {
                    images
                } else {
                    self.network.infer_stages(images, 0, self.border())
                };
                let input =
                    if self.pooled() { Input::Pooled(self.network.pool(maps)) } else { Input::Maps(maps) };
                Ok(Some(Ready { images: batch.indices.len(), targets, input }))
            }
        }
    }

    /// A row for each item, 1 where it has the class.
    fn targets(&self, items: &[usize]) -> Vec<f32> {
        let classes = self.data.classes().len();
        let mut targets = vec![0.0; items.len() * classes];
        for (row, &item) in items.iter().enumerate() {
            for class in self.data.items[item].target.classes() {
                targets[row * classes + class] = 1.0;
            }
        }
        targets
    }

    /// Takes a batch into account and gives its mean loss. The weights move where enough batches have come
    /// together, or where this is the last. A loss or gradient that is no number moves nothing.
    pub(crate) fn descend(
        &mut self,
        ready: Ready,
        rates: LearningRates,
        momentum: Option<f64>,
        descent: &mut Descent,
        last: bool,
    ) -> std::result::Result<f64, NotFinite> {
        let finite =
            |what, value: f64| if value.is_finite() { Ok(value) } else { Err(NotFinite { what, value }) };
        let (logits, pass) = self.forward(&self.network, ready.input, self.statistics);
        let weights = self.method.loss.weights(&self.data);
        let loss = self.method.loss.of(logits, ready.targets, weights.as_deref(), self.data.task());
        let value = finite("training loss", f64::from(loss.clone().into_scalar::<f32>()))?;
        let mut gradients = ParameterGradients::take(&self.network, loss.backward());
        let several = self.method.accumulate > 1;
        if several {
            gradients.scale(ready.images as f64);
            gradients.add(descent.gathered.clone());
        }
        finite("gradients' norm", gradients.norm())?;
        descent.batches += 1;
        descent.images += ready.images;
        if last || descent.batches >= self.method.accumulate {
            if several {
                gradients.scale(1.0 / descent.images as f64);
            }
            if let Some(most) = self.method.clip {
                gradients.clip(most);
            }
            self.network = descent.optimizer.step(self.network.clone(), gradients, rates, momentum);
            (descent.batches, descent.images) = (0, 0);
            descent.gathered = ParameterGradients::default();
        } else {
            descent.gathered = gradients;
        }
        self.network = self.network.clone().update_statistics(pass.into_seen());
        self.steps += 1;
        Ok(value)
    }

    /// Logits of a training pass over the trained part of a network, and the pass with what it has seen.
    pub(crate) fn forward(
        &self,
        network: &Network<B>,
        input: Input,
        statistics: Statistics,
    ) -> (Tensor<2>, Pass) {
        let key = Draws::new(self.seed, Purpose::Dropout, self.epochs, self.steps).bits();
        let pass = Pass::training(statistics, key);
        let logits = match input {
            Input::Maps(maps) => network.forward_from(self.border(), maps, &pass),
            Input::Pooled(pooled) => network.forward_head(pooled, &pass),
        };
        (logits, pass)
    }

    /// Sets the running statistics of the norms that train to the means of the batches' over all training images: those
    /// of the head, and, with [`bn_freeze(false)`](Self::bn_freeze), of trained groups of the backbone. An average of
    /// weights needs this, since it has never been run itself.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are to stop the work, or an observer asks to stop.
    pub fn estimate_statistics(&mut self) -> Result<()> {
        if self.freezing.is_cached() {
            self.ready_activations()?;
        }
        let order = self.order();
        let (total, mut done, mut batches) = (order.len(), 0, 0.0);
        let mut source = self.source(order, 0)?;
        while let Some(ready) = self.next(&mut source)? {
            let images = ready.images;
            if images > 1 {
                batches += 1.0;
                // Without gradients: what a pass keeps for them would stay in memory, since none are asked for.
                let network = self.network.clone().train_groups_from(GROUPS);
                let (_, pass) = self.forward(&network, ready.input, self.statistics);
                let mut seen = pass.into_seen();
                seen.iter_mut().for_each(|seen| seen.momentum = 1.0 / batches);
                self.network = self.network.clone().update_statistics(seen);
            }
            done += images;
            self.progress(Task::Statistics, done, total)?;
        }
        Ok(())
    }
}

/// Batches of an epoch: a remainder of one image is none, since batch norm needs two.
pub(crate) fn batches_per_epoch(images: usize, batch_size: usize) -> usize {
    images / batch_size + usize::from(images % batch_size > 1 || images == 1)
}

/// The targets of images that were mixed with others of their batch.
fn mix_targets(targets: &[f32], mixed: &Mixed, classes: usize) -> Vec<f32> {
    let rows = mixed.partners.iter().enumerate().flat_map(|(image, partner)| {
        let (own, other) = (&targets[image * classes..][..classes], &targets[partner * classes..][..classes]);
        own.iter().zip(other).map(|(own, other)| mixed.weight * own + (1.0 - mixed.weight) * other)
    });
    rows.collect()
}
