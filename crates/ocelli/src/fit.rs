//! The training loop.

use std::time::Instant;

use burn::tensor::{Tensor, TensorData, activation};
use ocelli_data::{Batches, Draws, Order, Purpose, Task as Labels};
use ocelli_nn::{Backbone, Network, Pass, TensorFile};
use serde::{Deserialize, Serialize};

use crate::batch::to_tensor;
use crate::event::{Event, Stage, Task};
use crate::optimizer::OptimizerState;
use crate::schedule::Schedule;
use crate::{EpochRow, Error, Learner, LearningRates, Metric, Predictions, Result};

/// Where the batches of an epoch come from.
enum Source {
    /// Kept activations of these items, one entry a batch.
    Kept(std::vec::IntoIter<Vec<usize>>),
    /// The image files.
    Images(Batches),
}

/// What the trained part of a network takes.
enum Input {
    /// Images, or feature maps at the border: `[images, channels, height, width]`.
    Maps(Tensor<4>),
    /// Pooled features: `[images, features]`.
    Pooled(Tensor<2>),
}

/// A fit: what was asked for, how far it is, and what it has gathered on the way. It can be kept after any step
/// and continued.
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
    pub(crate) optimizer: OptimizerState,
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

impl Fit {
    /// Adds the fit's tensors to a file, their names beginning with `prefix`.
    pub(crate) fn write<B: Backbone>(&self, network: &Network<B>, prefix: &str, file: &mut TensorFile) {
        self.optimizer.write(network, &format!("{prefix}optimizer"), file);
    }

    /// Takes the fit's tensors from a file that [`write`](Self::write) has filled.
    pub(crate) fn read<B: Backbone>(&mut self, network: &Network<B>, prefix: &str, file: &TensorFile) {
        self.optimizer.read(network, &format!("{prefix}optimizer"), file);
    }
}

impl<B: Backbone> Learner<B> {
    /// Trains for the epochs of a schedule, at one peak learning rate or one for each layer group, and gives the
    /// rows of the table.
    ///
    /// Each epoch goes once over the training images, in an order drawn from the seed, and then measures on the
    /// validation images. The loss is cross-entropy. A last batch of one image is left out of training, since
    /// batch norm needs two.
    ///
    /// # Errors
    /// [`Error::Setting`] for learning rates or schedules out of range; [`Error::Diverged`] where the loss is no
    /// number any more, [`Error::Stopped`] where an observer asks to stop: both leave the network as it was
    /// after the step before.
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
        let optimizer = OptimizerState::new(self.optimizer.check()?, self.weight_decay);
        self.fits += 1;
        self.observers.tell(&Event::StageStarted(Stage {
            number: self.fits,
            state: self.state,
            learning_rates: rates,
            epochs: schedule.epochs(),
        }))?;
        Ok(Fit { rates, schedule, epoch: 0, batch: 0, sums: Sums::default(), optimizer })
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
        if self.state.is_precomputed() {
            self.ready_activations()?;
        } else {
            self.ready_resized(epochs)?;
        }
        let mut rows = Vec::new();
        while fit.epoch < epochs {
            let began = Instant::now();
            self.train_epoch(fit)?;
            let predictions = self.validate()?;
            fit.sums.seconds += began.elapsed().as_secs_f64();
            let row = self.end_epoch(fit, &predictions);
            self.history.push(row.clone());
            rows.push(row.clone());
            self.observers.tell(&Event::Epoch(row))?;
        }
        Ok(rows)
    }

    /// What is left of one pass over the training images.
    fn train_epoch(&mut self, fit: &mut Fit) -> Result<()> {
        let train = &self.data.split.train;
        let seed = self.seed;
        let order =
            if self.data.is_balanced() { Order::ClassBalanced { seed } } else { Order::Shuffled { seed } };
        let order = order.of(&self.data.items, train, self.epochs);
        let (total, batch_size) = (order.len(), self.data.batch_size());
        // A remainder of one image is no batch.
        let batches = total / batch_size + usize::from(total % batch_size > 1 || total == 1);
        let mut source = self.source(order, fit.batch)?;
        while fit.batch < batches {
            let Some((items, input)) = self.next(&mut source)? else { break };
            if items.len() > 1 {
                let point = fit.schedule.at(fit.epoch * batches + fit.batch, batches);
                let rates = fit.rates.scaled(point.factor);
                let loss = self.step(&items, input, rates, point.momentum, &mut fit.optimizer);
                if !loss.is_finite() {
                    let (epoch, batch) = (fit.epoch + 1, fit.batch + 1);
                    return Err(Error::Diverged { loss, epoch, batch, rates: rates.to_string() });
                }
                fit.sums.loss += f64::from(loss) * items.len() as f64;
                fit.sums.images += items.len();
                fit.sums.rates = Some(rates);
            }
            fit.batch += 1;
            self.progress(Task::Training, (fit.batch * batch_size).min(total), total)?;
        }
        Ok(())
    }

    /// Counts the epoch and gives its row.
    fn end_epoch(&mut self, fit: &mut Fit, predictions: &Predictions) -> EpochRow {
        let sums = std::mem::take(&mut fit.sums);
        let measured = !predictions.items.is_empty();
        fit.epoch += 1;
        fit.batch = 0;
        self.epochs += 1;
        EpochRow {
            stage: self.fits,
            epoch: fit.epoch,
            train_loss: sums.loss / sums.images as f64,
            valid_loss: measured.then(|| predictions.loss()),
            accuracy: measured.then(|| predictions.accuracy().value()),
            f1: (measured && predictions.task == Labels::MultiLabel)
                .then(|| predictions.value(Metric::usual(Labels::MultiLabel))),
            learning_rates: sums.rates.unwrap_or(fit.rates),
            seconds: sums.seconds,
        }
    }

    /// The batches of an epoch from `first` on.
    fn source(&self, order: Vec<usize>, first: usize) -> Result<Source> {
        if !self.state.is_precomputed() {
            return Ok(Source::Images(self.training_loader()?.batches_from(order, self.epochs, first)?));
        }
        // Bad images leave gaps in their batches, as they do where images are loaded.
        let batches = order.chunks(self.data.batch_size()).skip(first);
        let batches: Vec<_> = batches.map(|items| self.with_activations(items)).collect();
        Ok(Source::Kept(batches.into_iter()))
    }

    /// The items of the next batch and the trained part's input; both may be of no images.
    fn next(&mut self, source: &mut Source) -> Result<Option<(Vec<usize>, Input)>> {
        let device = self.network.device();
        match source {
            Source::Kept(batches) => {
                let Some(items) = batches.next() else { return Ok(None) };
                let kept = self.activations_of(&items);
                let input = if self.pooled() {
                    Input::Pooled(Tensor::from_data(kept, &device))
                } else {
                    Input::Maps(Tensor::from_data(kept, &device))
                };
                Ok(Some((items, input)))
            }
            Source::Images(batches) => {
                let Some(batch) = batches.next().transpose()? else { return Ok(None) };
                self.tell_skipped(&batch.skipped)?;
                let images = to_tensor(&batch, &device);
                let maps = if batch.indices.is_empty() {
                    images
                } else {
                    self.network.infer_stages(images, 0, self.border())
                };
                let input =
                    if self.pooled() { Input::Pooled(self.network.pool(maps)) } else { Input::Maps(maps) };
                Ok(Some((batch.indices, input)))
            }
        }
    }

    /// Moves the weights by one batch and gives its mean loss; a loss that is no number moves nothing.
    fn step(
        &mut self,
        items: &[usize],
        input: Input,
        rates: LearningRates,
        momentum: Option<f64>,
        optimizer: &mut OptimizerState,
    ) -> f32 {
        let key = Draws::new(self.seed, Purpose::Dropout, self.epochs, self.steps).bits();
        let pass = Pass::training(self.statistics, key);
        let logits = match input {
            Input::Maps(maps) => self.network.forward_from(self.border(), maps, &pass),
            Input::Pooled(pooled) => self.network.forward_head(pooled, &pass),
        };
        let loss = self.loss(logits, items);
        let value = loss.clone().into_scalar();
        if f32::is_finite(value) {
            let gradients = loss.backward();
            let network = optimizer.step(self.network.clone(), gradients, rates, momentum);
            self.network = network.update_statistics(pass.into_seen());
            self.steps += 1;
        }
        value
    }

    /// Cross-entropy, or the mean of the classes' binary cross-entropies where images have several; mean over images.
    fn loss(&self, logits: Tensor<2>, items: &[usize]) -> Tensor<1> {
        let [images, classes] = logits.dims();
        let mut has = vec![0.0f32; images * classes];
        for (row, &item) in items.iter().enumerate() {
            for class in self.data.items[item].target.classes() {
                has[row * classes + class] = 1.0;
            }
        }
        let has = Tensor::from_data(TensorData::new(has, [images, classes]), &logits.device());
        match self.data.task() {
            Labels::SingleLabel => {
                (activation::log_softmax(logits, 1) * has).sum().mul_scalar(-1.0 / images as f32)
            }
            Labels::MultiLabel => {
                let likely = activation::log_sigmoid(logits.clone()) * has.clone();
                let unlikely = activation::log_sigmoid(logits.neg()) * has.neg().add_scalar(1.0);
                (likely + unlikely).sum().mul_scalar(-1.0 / (images * classes) as f32)
            }
        }
    }
}
