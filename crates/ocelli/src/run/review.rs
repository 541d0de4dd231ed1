//! Reviewing labels: likely label errors, near duplicates, outliers.

use std::collections::HashMap;
use std::path::PathBuf;

use ocelli_data::Split;

use crate::data::ImageData;
use crate::error::Result;
use crate::event::Observer;
use crate::interpret::{Interpretation, LabelErrors, Neighbours};
use crate::model::evaluation::Evaluation;
use crate::run::config::RunEnv;
use crate::run::finished::FinishedRun;
use crate::stop::Stop;

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
}

/// Options of a label review.
#[derive(Default)]
pub struct ReviewOptions {
    /// The cache folder.
    pub cache: Option<PathBuf>,
    /// Skip the review if the features of the backbone are not cached yet.
    pub only_cached: bool,
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
        if data.train_len() < 2 * REVIEW_FOLDS {
            return Ok(None);
        }
        let mut settings = self.settings.clone();
        settings.weights = settings.weights.map(|path| self.resolve(&path));
        let env = RunEnv { cache: options.cache, ..RunEnv::default() };
        let training = Split { train: data.split().train.clone(), ..Split::default() };
        let mut learner = settings.learner_on(data.with_split(training), &env)?;
        if options.only_cached && !learner.has_cached_features() {
            return Ok(None);
        }
        if let Some(observer) = options.observer {
            learner.observe_boxed(observer);
        }
        learner.observe(stop.clone());
        let predictions = learner.out_of_fold_until(REVIEW_FOLDS, stop)?;
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
