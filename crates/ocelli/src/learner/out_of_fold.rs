//! Out-of-fold predictions of training images.

use ocelli_data::Split;
use ocelli_nn::{Backbone, GROUPS, Head, Network};

use crate::data::{ImageData, Part};
use crate::error::{Error, Result};
use crate::event::{Activity, Observers};
use crate::learner::Learner;
use crate::metric::predictions::Predictions;
use crate::recipe::freezing::Freezing;
use crate::schedule::OneCycle;
use crate::spread::spread;
use crate::stop::Stop;
use crate::train::fit::{Fit, FitHooks};
use crate::train::infer::predict;
use crate::train::options::TrainOptions;
use crate::train::state::TrainState;

/// Epochs of each fold's head.
const EPOCHS: usize = 4;
/// The batch size: most of a step's time is spent on the weights, whatever the number of images.
const BATCH_SIZE: usize = 128;
/// The learning rate of each fold's head.
const LEARNING_RATE: f64 = 1e-2;

/// Images of other folds that a fold's head is trained on, at most, evenly spread over them: more would take
/// minutes, and teach it little that is new.
pub(crate) const MOST_FITTED: usize = 10_000;

/// Heads are trained without observers; only a request to stop is passed on.
struct Silent(Observers);

impl<B: Backbone> FitHooks<B> for Silent {
    fn observers(&mut self) -> &mut Observers {
        &mut self.0
    }
}

impl<B: Backbone<Head = Head>> Learner<B> {
    /// Predicts every training image by a head that was trained on other folds: the images are divided into
    /// `folds` folds, and for each a new head is fitted to the others by logistic regression, on cached features of the
    /// frozen backbone, which are computed once. With so many images and classes that this would take longer, a head with
    /// a hidden layer is trained instead. The learner itself is not changed. Byte-identical images are in the same fold.
    /// Of very many images a fold's head is fitted to 10,000, spread evenly.
    ///
    /// The items of the predictions are indices into [`ImageData::items`], ascending.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); where there are fewer images than folds.
    pub fn out_of_fold(&mut self, folds: usize) -> Result<Predictions> {
        let seed = self.state.seed;
        self.out_of_fold_with(folds, |network| Ok(network.with_new_head(seed)))
    }
}

impl<B: Backbone> Learner<B> {
    /// As [`out_of_fold`](Self::out_of_fold), for a network with a custom head, which is trained for four epochs:
    /// `new_head` gives a network like this one whose head has not been trained; its backbone is not used.
    ///
    /// # Errors
    /// As [`out_of_fold`](Self::out_of_fold), and whatever `new_head` gives.
    pub fn out_of_fold_with(
        &mut self,
        folds: usize,
        mut new_head: impl FnMut(&Network<B>) -> Result<Network<B>>,
    ) -> Result<Predictions> {
        self.out_of_fold_until(folds, &Stop::default(), &mut new_head)
    }

    /// As [`out_of_fold_with`](Self::out_of_fold_with), until `stop` is set.
    pub(crate) fn out_of_fold_until(
        &mut self,
        folds: usize,
        stop: &Stop,
        new_head: &mut NewHead<B>,
    ) -> Result<Predictions> {
        let mut head = self.state.fork();
        head.set_freezing(FROZEN);
        self.inputs.prepare_features(&head, &mut self.observers)?;
        if let Some(predictions) = self.regressions_out_of_fold(folds, stop)? {
            return if predictions.is_finite() { Ok(predictions) } else { Err(Error::OutOfFoldNotFinite) };
        }
        let data = self.data().clone();
        let train = &data.split.train;
        let mut parts = Vec::new();
        for (fold, split) in data.folds_of(train, folds, self.state.seed)?.into_iter().enumerate() {
            let of = |indices: Vec<usize>| indices.into_iter().map(|index| train[index]).collect::<Vec<_>>();
            let fitted = spread(&of(split.train), MOST_FITTED);
            let split = Split { train: fitted, valid: of(split.valid), test: Vec::new() };
            let network = &self.state.network;
            let network = network.with_head_of(&new_head(network)?);
            parts.push(self.predict_fold(network, data.with_split(split), stop)?);
            self.observers.progress(Activity::Review, fold + 1, folds)?;
        }
        let merged = merged(parts, &data);
        if !merged.is_finite() {
            return Err(Error::OutOfFoldNotFinite);
        }
        Ok(merged)
    }

    /// Trains a network's new head on the training images of this split, and predicts its validation images.
    fn predict_fold(&self, network: Network<B>, data: ImageData, stop: &Stop) -> Result<Predictions> {
        let mut state = TrainState::new(network, self.state.seed);
        state.set_freezing(FROZEN);
        state.fits = 1;
        let data = data.with_batch_size(BATCH_SIZE);
        // The fold is predicted once, at the end, and not after every epoch.
        let fitted = Split { train: data.split.train.clone(), ..Split::default() };
        let mut inputs = self.inputs.with_data(data.with_split(fitted));
        let TrainOptions { optimizer, weight_decay, .. } = self.options;
        let options = TrainOptions { optimizer, weight_decay, ..TrainOptions::default() };
        let mut hooks = Silent(Observers::default());
        hooks.0.add(Box::new(stop.clone()));
        let schedule = OneCycle::epochs(EPOCHS).into();
        Fit::new(LEARNING_RATE.into(), schedule, &state, &options)?.run(
            &mut state,
            &mut inputs,
            &options,
            &mut hooks,
        )?;
        let mut inputs = self.inputs.with_data(data);
        predict(&state, &mut inputs, Part::Valid, &mut hooks.0)
    }
}

/// Makes a network with the same backbone and a new head.
pub(crate) type NewHead<'a, B> = dyn FnMut(&Network<B>) -> Result<Network<B>> + 'a;

/// Only the head is trained, on cached features.
const FROZEN: Freezing = Freezing::Cached { frozen: GROUPS - 1, augmented_copies: 0 };

/// The predictions of all folds as one, by ascending items.
fn merged(parts: Vec<Predictions>, data: &ImageData) -> Predictions {
    let classes = data.classes().len();
    let mut rows: Vec<(usize, usize, usize)> = Vec::new();
    for (part, predictions) in parts.iter().enumerate() {
        rows.extend(predictions.items().iter().enumerate().map(|(row, &item)| (item, part, row)));
    }
    rows.sort_unstable();
    let mut merged = Predictions::new(data.task(), classes);
    for (item, part, row) in rows {
        let predictions = &parts[part];
        let target = predictions.targets()[row].clone();
        merged.push_row(item, target, predictions.row(row), predictions.losses()[row]);
    }
    merged
}
