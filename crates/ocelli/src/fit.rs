//! The training loop.

use std::time::Instant;

use burn::tensor::{Tensor, TensorData, activation};
use ocelli_data::{Batches, Draws, Order, Purpose, Task as Labels};
use ocelli_nn::{Backbone, Pass};

use crate::batch::to_tensor;
use crate::event::{Event, Stage, Task};
use crate::optimizer::OptimizerState;
use crate::schedule::Schedule;
use crate::{EpochRow, Error, Learner, LearningRates, Metric, Result};

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
        let rates = learning_rates.into().check()?;
        let schedule = schedule.into().check()?;
        let mut optimizer = OptimizerState::new(self.optimizer.check()?, self.weight_decay);
        self.fits += 1;
        self.observers.tell(&Event::StageStarted(Stage {
            number: self.fits,
            state: self.state,
            learning_rates: rates,
            epochs: schedule.epochs(),
        }))?;
        if self.state.is_precomputed() {
            self.ready_activations()?;
        } else {
            self.ready_resized(schedule.epochs())?;
        }
        let mut rows = Vec::new();
        for epoch in 0..schedule.epochs() {
            let began = Instant::now();
            let (train_loss, last_rates) = self.train_epoch(epoch, rates, schedule, &mut optimizer)?;
            let predictions = self.validate()?;
            let measured = !predictions.items.is_empty();
            let row = EpochRow {
                stage: self.fits,
                epoch: epoch + 1,
                train_loss,
                valid_loss: measured.then(|| predictions.loss()),
                accuracy: measured.then(|| predictions.accuracy().value()),
                f1: (measured && predictions.task == Labels::MultiLabel)
                    .then(|| predictions.value(Metric::usual(Labels::MultiLabel))),
                learning_rates: last_rates,
                seconds: began.elapsed().as_secs_f64(),
            };
            self.history.push(row.clone());
            rows.push(row.clone());
            self.observers.tell(&Event::Epoch(row))?;
        }
        Ok(rows)
    }

    /// One pass over the training images; gives the mean loss and the last learning rates.
    fn train_epoch(
        &mut self,
        epoch: usize,
        rates: LearningRates,
        schedule: Schedule,
        optimizer: &mut OptimizerState,
    ) -> Result<(f64, LearningRates)> {
        let train = &self.data.split.train;
        let seed = self.seed;
        let order =
            if self.data.is_balanced() { Order::ClassBalanced { seed } } else { Order::Shuffled { seed } };
        let order = order.of(&self.data.items, train, self.epochs);
        let (total, batch_size) = (order.len(), self.data.batch_size());
        // A remainder of one image is no batch.
        let batches = total / batch_size + usize::from(total % batch_size > 1 || total == 1);
        let (mut sum, mut count, mut done) = (0.0, 0usize, 0);
        let mut last_rates = rates;
        let mut source = self.source(order)?;
        for batch in 0..batches {
            let Some((items, input)) = self.next(&mut source)? else { break };
            if items.len() > 1 {
                let point = schedule.at(epoch * batches + batch, batches);
                last_rates = rates.scaled(point.factor);
                let loss = self.step(&items, input, last_rates, point.momentum, optimizer);
                if !loss.is_finite() {
                    let (epoch, batch) = (epoch + 1, batch + 1);
                    return Err(Error::Diverged { loss, epoch, batch, rates: last_rates.to_string() });
                }
                sum += f64::from(loss) * items.len() as f64;
                count += items.len();
            }
            done += batch_size.min(total - done);
            self.progress(Task::Training, done, total)?;
        }
        self.epochs += 1;
        Ok((sum / count as f64, last_rates))
    }

    fn source(&self, order: Vec<usize>) -> Result<Source> {
        if !self.state.is_precomputed() {
            return Ok(Source::Images(self.training_loader()?.batches(order, self.epochs)?));
        }
        // Bad images leave gaps in their batches, as they do where images are loaded.
        let batches = order.chunks(self.data.batch_size()).map(|items| self.with_activations(items));
        Ok(Source::Kept(batches.collect::<Vec<_>>().into_iter()))
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
