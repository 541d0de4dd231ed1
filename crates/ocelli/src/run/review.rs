//! Reviewing labels: likely label errors, near duplicates, outliers.

use std::collections::HashMap;
use std::path::PathBuf;

use ocelli_data::Split;
use ocelli_nn::{Backbone, Network};

use crate::data::ImageData;
use crate::error::Result;
use crate::event::Observer;
use crate::interpret::evaluation::Evaluation;
use crate::interpret::{Interpretation, LabelErrors, Neighbours};
use crate::learner::Learner;
use crate::learner::out_of_fold::NewHead;
use crate::run::config::{RunConfig, RunEnv};
use crate::run::finished::FinishedRun;
use crate::stop::Stop;
use crate::train::loss::Loss;

/// A review of labels, by networks that were not trained on these images.
pub struct LabelReview {
    /// The predictions of those networks.
    pub predictions: Interpretation,
    /// Likely label errors.
    pub errors: LabelErrors,
    /// Near duplicates and outliers, by their rows among the predictions.
    pub neighbours: Neighbours,
    /// Groups of byte-identical images, by their rows among the predictions.
    pub duplicates: Vec<Vec<usize>>,
    /// Whether decisions about these images can be applied in training.
    pub trainable: bool,
    /// The features of the images, row by row, where they were asked for.
    pub features: Option<Vec<f32>>,
}

/// Options of a label review.
#[derive(Default)]
pub struct ReviewOptions {
    /// The cache folder.
    pub cache: Option<PathBuf>,
    /// Skip the review if the features of the backbone are not cached yet.
    pub only_cached: bool,
    /// Also give the images' features.
    pub features: bool,
    /// Receives progress while features are computed.
    pub observer: Option<Box<dyn Observer>>,
}

/// Folds of the out-of-fold predictions for training images.
pub const REVIEW_FOLDS: usize = 3;
/// Outliers that are listed.
const OUTLIERS: usize = 24;

impl LabelReview {
    /// Reviews the labels of an evaluation, with the model's own predictions, since it was not trained on
    /// these images.
    pub fn of_evaluation(evaluation: &Evaluation) -> Self {
        let Evaluation { named, data, .. } = evaluation;
        Self {
            errors: named.label_errors(),
            neighbours: Neighbours { pairs: Vec::new(), outliers: Vec::new() },
            duplicates: identical(data, named.predictions.items()),
            predictions: named.clone(),
            trainable: false,
            features: None,
        }
    }
}

impl FinishedRun {
    /// Reviews the labels of training images, by out-of-fold predictions of heads on the pretrained
    /// backbone's features. `None` if features would have to be computed but may not be, or if there are too
    /// few images.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped) where `stop` is set; as training.
    pub fn review_labels(
        &self,
        data: &ImageData,
        options: ReviewOptions,
        stop: &Stop,
    ) -> Result<Option<LabelReview>> {
        let env = RunEnv { cache: options.cache.clone(), ..RunEnv::default() };
        let pretrained =
            |settings: &RunConfig, data| -> Result<Learner> { Ok(settings.pretrained(data, &env)?.0) };
        let seed = self.settings.seed;
        self.review(data, options, stop, &pretrained, &mut |network| Ok(network.with_new_head(seed)))
    }

    /// As [`review_labels`](Self::review_labels), for a network of the user's own: `learner` makes a new
    /// learner of the run's settings and photos, as it did for
    /// [`Run::prepare_with`](crate::Run::prepare_with). Its backbone should be pretrained: heads on random
    /// features disagree with most labels.
    ///
    /// # Errors
    /// As [`review_labels`](Self::review_labels), and whatever `learner` gives.
    pub fn review_labels_with<B: Backbone>(
        &self,
        data: &ImageData,
        options: ReviewOptions,
        stop: &Stop,
        learner: impl Fn(&RunConfig, ImageData) -> Result<Learner<B>>,
    ) -> Result<Option<LabelReview>> {
        let settings = self.settings_for_training();
        let mut new_head = |_: &Network<B>| Ok(learner(&settings, data.clone())?.network().clone());
        self.review(data, options, stop, &learner, &mut new_head)
    }

    /// The settings from which a network like the run's is made, whatever it was trained on.
    pub(crate) fn settings_for_training(&self) -> RunConfig {
        let mut settings = self.settings.clone();
        settings.weights = settings.weights.map(|path| self.resolve(&path));
        // Heads are trained on the usual one, and a custom one need not be known here.
        settings.train.loss = Loss::default();
        settings
    }

    fn review<B: Backbone>(
        &self,
        data: &ImageData,
        options: ReviewOptions,
        stop: &Stop,
        learner: &dyn Fn(&RunConfig, ImageData) -> Result<Learner<B>>,
        new_head: &mut NewHead<B>,
    ) -> Result<Option<LabelReview>> {
        if data.train_len() < 2 * REVIEW_FOLDS {
            return Ok(None);
        }
        let settings = self.settings_for_training();
        let env = RunEnv { cache: options.cache, ..RunEnv::default() };
        let training = Split { train: data.split().train.clone(), ..Split::default() };
        let mut learner = learner(&settings, data.with_split(training))?;
        settings.apply(&mut learner, &env)?;
        if options.only_cached && !learner.has_cached_features() {
            return Ok(None);
        }
        if let Some(observer) = options.observer {
            learner.observe_boxed(observer);
        }
        learner.observe(stop.clone());
        let predictions = learner.out_of_fold_until(REVIEW_FOLDS, stop, new_head)?;
        let features = learner.pooled_features(predictions.items())?;
        let neighbours = Neighbours::until(&features, predictions.len(), OUTLIERS, &|| stop.is_set());
        stop.check()?;
        let duplicates = identical(data, predictions.items());
        let named = Interpretation::new(predictions, data.items());
        Ok(Some(LabelReview {
            errors: named.label_errors(),
            predictions: named,
            neighbours,
            duplicates,
            trainable: true,
            features: options.features.then_some(features),
        }))
    }
}

/// Groups of byte-identical images among some items, by rows.
fn identical(data: &ImageData, items: &[usize]) -> Vec<Vec<usize>> {
    let mut groups: HashMap<_, Vec<usize>> = HashMap::new();
    for (index, &item) in items.iter().enumerate() {
        groups.entry(data.digests[item]).or_default().push(index);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    groups
}
