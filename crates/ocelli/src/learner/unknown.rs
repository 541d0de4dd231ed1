//! The unknown score of a learner's model, fitted on its photos.

use std::collections::HashMap;

use ocelli_data::{Batch, Task as Labels};
use ocelli_nn::{Backbone, GROUPS};

use crate::data::Part;
use crate::data::to_tensor::to_tensor;
use crate::error::Result;
use crate::event::Observers;
use crate::features::cache::View;
use crate::learner::Learner;
use crate::processes::shared::Rows;
use crate::recipe::freezing::Freezing;
use crate::spread::spread;
use crate::train::state::TrainState;
use crate::unknown::{UnknownConfig, UnknownScore};

/// Training photos that it is fitted on: at most these, or so many of each class, whichever is more. Where all
/// layers were trained, features are computed for this, which must not take long beside the training.
const TRAIN_PHOTOS: usize = 600;
const PHOTOS_A_CLASS: usize = 5;
/// With very many classes fewer of each: their features are in memory.
const MOST_TRAIN_PHOTOS: usize = 10_000;
/// Validation photos that thresholds are set on, at most.
const VALID_PHOTOS: usize = 400;
/// The fraction of images that must have cached features, as for a label review.
const NEARLY_ALL: f64 = 0.95;

impl<B: Backbone> Learner<B> {
    /// Fits the unknown score on features of training photos, without augmentation, and scores validation
    /// photos, from which thresholds follow. Features are the final network's: cached ones where there are
    /// some, else they are computed, of some hundred photos. The learner is not changed.
    ///
    /// Where it cannot be fitted there is no score, and the configuration holds the reason.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are errors.
    pub fn fit_unknown(&mut self) -> Result<(Option<UnknownScore>, UnknownConfig)> {
        let missing = |reason: &str| Ok((None, UnknownConfig::Missing { reason: reason.to_owned() }));
        let valid = spread(self.data().part(Part::Valid), VALID_PHOTOS);
        if valid.is_empty() {
            return missing("there are no validation photos to set its threshold on");
        }
        let train = self.train_photos();
        let (train, features) = self.final_features(&train)?;
        let (valid, valid_features) = self.final_features(&valid)?;
        if train.is_empty() || valid.is_empty() {
            return missing("no training or no validation photos could be read");
        }
        let data = self.data();
        let several = data.task() == Labels::MultiLabel;
        let class = |item: &usize| match several {
            true => 0,
            false => data.items[*item].target.classes().first().copied().unwrap_or(0),
        };
        let labels: Vec<usize> = train.iter().map(class).collect();
        let classes = if several { 1 } else { data.classes().len() };
        let width = features.len() / train.len();
        let score = match UnknownScore::fit(&features, width, &labels, classes) {
            Ok(score) => score,
            Err(reason) => return missing(&reason),
        };
        let mut valid_scores = score.of(&valid_features);
        if valid_scores.iter().any(|score| !score.is_finite()) {
            return missing("the scores of validation photos are not finite");
        }
        valid_scores.sort_by(f32::total_cmp);
        Ok((Some(score), UnknownConfig::Fitted { train_photos: train.len(), valid_scores }))
    }

    /// The training photos to fit on: of each class equally many, as far as it has so many.
    fn train_photos(&self) -> Vec<usize> {
        let data = self.data();
        let most = TRAIN_PHOTOS.max((PHOTOS_A_CLASS * data.classes().len()).min(MOST_TRAIN_PHOTOS));
        let train = data.part(Part::Train);
        if data.task() == Labels::MultiLabel || train.len() <= most {
            return spread(train, most);
        }
        let mut of_class: HashMap<usize, Vec<usize>> = HashMap::new();
        for &item in train {
            for &class in data.items[item].target.classes() {
                of_class.entry(class).or_default().push(item);
            }
        }
        let each = (most / of_class.len().max(1)).max(1);
        let mut chosen: Vec<usize> = of_class.values().flat_map(|items| spread(items, each)).collect();
        chosen.sort_unstable();
        chosen
    }

    /// The pooled features of items by the final network, row by row, of those that can be read.
    fn final_features(&mut self, items: &[usize]) -> Result<(Vec<usize>, Vec<f32>)> {
        let mut state = self.state.fork();
        state.set_freezing(Freezing::Cached { frozen: GROUPS - 1, augmented_copies: 0 });
        let in_memory = self.inputs.has_features_of(&state);
        // Where they were trained on in 8-bit integers, a resumed run takes the same.
        let is_last = self.state.freezing.is_cached() && self.state.is_pooled();
        let were_trained_on = || self.inputs.is_int8() && is_last;
        let is_cached = in_memory || were_trained_on() || self.inputs.cached_fraction(&state) >= NEARLY_ALL;
        // Other processes may have other caches.
        if self.inputs.processes.decided(is_cached)? {
            self.inputs.prepare_features(&state, &mut Observers::default())?;
            let items = self.inputs.with_features(items, View::Validation);
            let values = self.inputs.features_of(&items, View::Validation)?.try_into_vec::<f32>();
            return Ok((items, values.expect("features are f32")));
        }
        self.computed_features(&state, items)
    }

    fn computed_features(&self, state: &TrainState<B>, items: &[usize]) -> Result<(Vec<usize>, Vec<f32>)> {
        let network = &state.network;
        let (mut read, mut features) = (Vec::new(), Vec::new());
        let samples = items.iter().map(|&item| (item, 0)).collect();
        let mut batches = self.inputs.shared_batches(&self.inputs.loader()?, samples)?;
        let mut compute = |batch: &mut Batch| {
            let pooled = network.infer_features(to_tensor(batch, &network.device()));
            let shape = vec![pooled.dims()[1]];
            let values = pooled.into_data().convert::<f32>().try_into_vec::<f32>();
            Ok(Rows { shape, values: values.expect("converted to f32"), targets: Vec::new() })
        };
        while let Some(batch) = batches.next(&self.inputs.data, &mut compute)? {
            read.extend_from_slice(&batch.indices);
            features.extend(batch.rows.values);
        }
        Ok((read, features))
    }
}
