//! Predictions of training images by networks that have not been trained on them.

use std::ops::ControlFlow;

use ocelli_data::split::k_fold;
use ocelli_data::{Digest, Split};
use ocelli_nn::Arch;

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::learner::Learner;
use crate::metric::predictions::Predictions;
use crate::schedule::OneCycle;
use crate::stop::Stop;

/// Epochs of each fold's head.
pub const OUT_OF_FOLD_EPOCHS: usize = 4;
/// Images a batch: most of a step's time is spent on the weights, whatever the number of images.
const OUT_OF_FOLD_BATCH: usize = 128;
/// The learning rate of each fold's head.
const LEARNING_RATE: f64 = 1e-2;

impl Learner {
    /// Predicts every training image by a head that was trained on the others: the images are divided into `folds`
    /// parts, and for each a new head learns from the other parts, on activations of the frozen backbone, which are
    /// computed once. The learner itself stays as it is. Byte-identical images are in the same part.
    ///
    /// The items of the predictions are indices into [`ImageData::items`], ascending.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); where there are fewer images than folds.
    pub fn out_of_fold(&mut self, folds: usize) -> Result<Predictions> {
        self.out_of_fold_until(folds, &Stop::default())
    }

    /// As [`out_of_fold`](Self::out_of_fold), until somebody wants no more of it.
    pub(crate) fn out_of_fold_until(&mut self, folds: usize, stop: &Stop) -> Result<Predictions> {
        let before = self.freezing();
        self.freeze();
        self.precompute(true)?;
        let training = self.data.training_items();
        let train = self.data.split.train.clone();
        let digests: Vec<Digest> = train.iter().map(|&item| self.data.digests[item]).collect();
        let mut rows = Vec::new();
        for fold in 0..folds {
            let split = k_fold(&training, &digests, &[], folds, fold, self.seed)?;
            let of = |places: Vec<usize>| places.into_iter().map(|place| train[place]).collect();
            let split = Split { train: of(split.train), valid: of(split.valid), test: Vec::new() };
            let mut learner = self.with_new_head(self.data.with_split(split))?;
            let asked = stop.clone();
            learner.observe(
                move |_: &Event| {
                    if asked.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                },
            );
            // Moved there and back: they may be large.
            learner.kept = self.kept.take();
            let predicted = learner
                .precompute(true)
                .and_then(|()| learner.fit(LEARNING_RATE, OneCycle::epochs(OUT_OF_FOLD_EPOCHS)))
                .and_then(|_| learner.validate());
            self.kept = learner.kept.take();
            rows.push(predicted?);
        }
        self.set_freezing(before);
        if before.is_cached() {
            self.ready_activations()?;
        }
        let joined = joined(rows, self.data());
        if !joined.is_finite() {
            return Err(Error::OutOfFoldNotFinite);
        }
        Ok(joined)
    }

    /// A learner of the same backbone on other data of the same classes, with a head of its own that has not been
    /// trained, and nobody listening.
    fn with_new_head(&self, data: ImageData) -> Result<Self> {
        let arch: Arch = self.architecture().parse()?;
        let mut learner = Self::with_weights(arch, &self.network.to_tensors(), data, self.seed)?;
        learner.data.set_batch_size(OUT_OF_FOLD_BATCH);
        learner.precision(self.network.precision());
        learner.method.optimizer = self.method.optimizer;
        learner.method.weight_decay = self.method.weight_decay;
        Ok(learner)
    }
}

/// The parts' predictions as one, by ascending items.
fn joined(parts: Vec<Predictions>, data: &ImageData) -> Predictions {
    let classes = data.classes().len();
    let mut places: Vec<(usize, usize, usize)> = Vec::new();
    for (part, predictions) in parts.iter().enumerate() {
        places.extend(predictions.items.iter().enumerate().map(|(place, &item)| (item, part, place)));
    }
    places.sort_unstable();
    let mut joined = Predictions::new(data.task(), classes);
    for (item, part, place) in places {
        let predictions = &parts[part];
        joined.items.push(item);
        joined.targets.push(predictions.targets[place].clone());
        joined.probabilities.extend_from_slice(predictions.row(place));
        joined.losses.push(predictions.losses[place]);
    }
    joined
}
