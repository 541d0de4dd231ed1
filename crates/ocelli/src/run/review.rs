//! Reviewing labels: likely label errors, near duplicates, outliers.

use std::collections::HashMap;
use std::path::PathBuf;

use ocelli_data::text::count;
use ocelli_data::{Split, timeline};
use ocelli_nn::{Backbone, HeadKind, Network};

use crate::data::ImageData;
use crate::error::Result;
use crate::event::Observer;
use crate::interpret::evaluation::Evaluation;
use crate::interpret::large_neighbours::{FeatureRows, MOST_PAIRS, references};
use crate::interpret::{Interpretation, LabelErrors, Neighbours};
use crate::learner::Learner;
use crate::learner::out_of_fold::{MOST_FITTED, NewHead};
use crate::run::config::{RunConfig, RunEnv};
use crate::run::finished::FinishedRun;
use crate::spread::spread;
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
    /// What was left out because there are very many images or classes, one sentence each.
    pub left_out: Vec<String>,
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
/// Probabilities of the out-of-fold predictions, images times classes, at most: 256 MB. With very many classes
/// fewer images are reviewed, but so many at least.
const MOST_ANSWERS: usize = 1 << 26;
const LEAST_REVIEWED: usize = 1000;
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
            left_out: Vec::new(),
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
        let candidates = match self.settings.folds() {
            // All of its images were both trained on and predicted.
            Some(_) => &data.split().valid,
            None => &data.split().train,
        };
        if candidates.len() < 2 * REVIEW_FOLDS {
            return Ok(None);
        }
        let settings = self.settings_for_training();
        let env = RunEnv { cache: options.cache, ..RunEnv::default() };
        let reviewed = spread(candidates, (MOST_ANSWERS / data.classes().len()).max(LEAST_REVIEWED));
        let training = Split { train: reviewed, ..Split::default() };
        let mut learner = learner(&settings, data.with_split(training))?;
        settings.apply(&mut learner, &env)?;
        let model = self.model_config()?;
        if model.head.kind == HeadKind::Linear {
            // The features that the run has cached are those that its head takes.
            learner.set_size(model.preprocessing.size)?;
            learner.state.network = learner.with_form(Some(&model.head))?;
        }
        if options.only_cached && !learner.has_cached_features() {
            return Ok(None);
        }
        if let Some(observer) = options.observer {
            learner.observe_boxed(observer);
        }
        learner.observe(stop.clone());
        let spanned = timeline::span("report: out-of-fold heads");
        let predictions = learner.out_of_fold_until(REVIEW_FOLDS, stop, new_head)?;
        drop(spanned);
        let spanned = timeline::span("report: neighbours");
        learner.prepare_pooled_features()?;
        let items = predictions.items();
        let read =
            |rows: &[usize]| learner.pooled_features(&rows.iter().map(|&row| items[row]).collect::<Vec<_>>());
        let rows = FeatureRows { images: items.len(), read: &read };
        let neighbours = Neighbours::of_rows(&rows, OUTLIERS, stop)?;
        drop(spanned);
        stop.check()?;
        let features = options.features.then(|| learner.pooled_features(items)).transpose()?;
        let left_out = left_out(data, items.len());
        let duplicates = identical(data, predictions.items());
        let named = Interpretation::new(predictions, data.items());
        Ok(Some(LabelReview {
            errors: named.label_errors(),
            predictions: named,
            neighbours,
            duplicates,
            trainable: true,
            features,
            left_out,
        }))
    }
}

/// What a review of so many training images of these leaves out.
fn left_out(data: &ImageData, images: usize) -> Vec<String> {
    let (all, classes) = (data.train_len(), data.classes().len());
    let mut sentences = Vec::new();
    if images < all && all > (MOST_ANSWERS / classes).max(LEAST_REVIEWED) {
        sentences.push(format!(
            "labels were checked of {} of {} training images, spread evenly, since there are {} classes",
            count(images),
            count(all),
            count(classes)
        ));
    }
    if images / REVIEW_FOLDS * (REVIEW_FOLDS - 1) > MOST_FITTED {
        sentences.push(format!(
            "the heads that check labels were each fitted to {} of the training images of the other folds, spread evenly",
            count(MOST_FITTED)
        ));
    }
    let compared = references(images);
    if compared < images {
        sentences.push(format!(
            "near duplicates and outliers were looked for by comparing each of {} training images with {} of them; at \
             most {} pairs are listed",
            count(images),
            count(compared),
            count(MOST_PAIRS)
        ));
    }
    sentences
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
