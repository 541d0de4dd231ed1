//! A trained model: one safetensors file with its weights and everything needed to use it.

pub(crate) mod config;
pub(crate) mod ensemble;
pub(crate) mod finite;
pub(crate) mod int8;
pub(crate) mod prediction;
pub(crate) mod samples;
pub(crate) mod submission;
pub(crate) mod training_record;
pub(crate) mod tta;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use ocelli_data::{
    Augmentation, BadImages, Classes, Decoder, Item, Items, Loader, LoaderOptions, Target, Task, files,
    text_of,
};
use ocelli_nn::{AnyBackbone, Arch, Backbone, Graph, Network, Precision, TensorFile};

use crate::error::{Error, Result};
use crate::metric::predictions::Predictions;
use crate::metric::temperature::thresholds_with_temperature;
use crate::model::config::{ModelConfig, read, save};
use crate::model::finite::check_finite;
use crate::model::prediction::{Answers, Passes, Prediction};
use crate::model::submission::clip::ProbabilityClip;
use crate::model::training_record::TrainingRecord;
use crate::model::tta::{Tta, TtaMean, TtaViews};
use crate::paths::model_of;
use crate::unknown::{FALSE_REFUSALS, PREFIX, UnknownConfig, UnknownScore};

/// A trained classifier.
///
/// ```no_run
/// # fn main() -> ocelli::Result<()> {
/// let model = ocelli::Model::load("runs/photos-1/model.safetensors")?;
/// for prediction in model.predict(["garden.jpg"])? {
///     let best = prediction?.best();
///     println!("{} {:.3}", best.class, best.probability);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Model<B: Backbone = AnyBackbone> {
    /// The model's file, for errors.
    origin: String,
    /// The digest of the model's file; `None` where it was not loaded from one.
    digest: Option<String>,
    config: ModelConfig,
    pub(crate) network: Network<B>,
    loading: LoaderOptions,
    calibrated: bool,
    min_probability: f32,
    unknown: Option<UnknownOfModel>,
    /// Computes features in 8-bit integers.
    int8: Option<int8::Int8<B>>,
}

/// A model's unknown score, and its threshold.
#[derive(Debug, Clone)]
pub(crate) struct UnknownOfModel {
    pub(crate) score: Arc<UnknownScore>,
    pub(crate) threshold: f32,
}

/// The photos that are prepared together: what is known about a photo beside its path is in memory for this
/// many at a time.
pub(crate) const AT_ONCE: usize = 16_384;

impl Model {
    /// Loads a model that Ocelli has written, given its file or the folder of its run.
    ///
    /// # Errors
    /// [`Error::Network`] where the file is not a complete safetensors file, is damaged, or holds the tensors
    /// of another network; [`Error::NotAModel`] where it has no configuration, one that this version does not
    /// know, or no digest; [`Error::NotFiniteTensor`] where a weight is NaN or infinite.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = &model_of(path.as_ref())?;
        let (config, tensors) = read(path)?;
        let unknown = unknown_of(path, &config, &tensors)?;
        let tensors = tensors.filtered(|name| !name.starts_with(PREFIX));
        let digest = digest_of(path, &tensors)?;
        let arch: Arch = config.arch.parse().map_err(|error: ocelli_nn::Error| Error::NotAModel {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        // The head is built before its values are read, so that a file that claims more classes than it has
        // values for is refused first.
        let classes = config.classes.len();
        let has_rows =
            |name: &str| tensors.get(name).is_some_and(|tensor| tensor.shape.first() == Some(&classes));
        if !tensors.names().any(has_rows) {
            let reason =
                format!("its config has {classes} classes, and none of its tensors has as many rows");
            return Err(Error::NotAModel { path: path.clone(), reason });
        }
        let network = arch.trained(&tensors, &config.head, classes, &Device::flex())?;
        let network = network.with_precision(config.precision);
        if let Some(UnknownOfModel { score, .. }) = &unknown {
            let (width, found) = (network.head().features(), score.features());
            if found != width {
                let reason = format!("its unknown score is of {found} features, and its network has {width}");
                return Err(Error::NotAModel { path: path.clone(), reason });
            }
        }
        let origin = path.display().to_string();
        Ok(Self { origin, digest: Some(digest), unknown, ..Self::new(config, network) })
    }
}

/// The digest by which a model's file is recognised: the one in it, which is that of its content, or, where a
/// person has changed the file, that of its bytes.
fn digest_of(path: &Path, tensors: &TensorFile) -> Result<String> {
    match tensors.digest() {
        Some(digest) if digest != "none" => Ok(digest.to_owned()),
        _ => Ok(files::hash(path).map_err(Error::io("read", path))?.to_hex().to_string()),
    }
}

/// The unknown score in a model's file.
fn unknown_of(path: &Path, config: &ModelConfig, tensors: &TensorFile) -> Result<Option<UnknownOfModel>> {
    let threshold = config.unknown.as_ref().and_then(|unknown| unknown.threshold(FALSE_REFUSALS));
    let Some(threshold) = threshold else { return Ok(None) };
    let score = UnknownScore::from_tensors(tensors).ok_or_else(|| Error::NotAModel {
        path: path.to_owned(),
        reason: format!("its config has an unknown score, and its tensors {PREFIX}* are not complete"),
    })?;
    Ok(Some(UnknownOfModel { score: Arc::new(score), threshold }))
}

/// Images are read as in training.
fn loading(config: &ModelConfig) -> LoaderOptions {
    LoaderOptions { decoder: config.decoder(), ..LoaderOptions::default() }
}

impl<B: Backbone> Model<B> {
    /// Loads a model with a custom backbone or head, saved by [`Learner::save`](crate::Learner::save).
    /// `network` is built of the same parts; its values are replaced by the file's.
    ///
    /// # Errors
    /// As [`load`](Model::load).
    pub fn load_into(path: impl AsRef<Path>, network: Network<B>) -> Result<Self> {
        let path = path.as_ref();
        let (config, tensors) = read(path)?;
        let digest = digest_of(path, &tensors)?;
        let unknown = unknown_of(path, &config, &tensors)?;
        let network = network.with_tensors(&tensors.filtered(|name| !name.starts_with(PREFIX)))?;
        let network = network.with_precision(config.precision);
        let origin = path.display().to_string();
        Ok(Self { origin, digest: Some(digest), unknown, ..Self::new(config, network) })
    }

    /// A model of a network that was just trained.
    pub(crate) fn new(config: ModelConfig, network: Network<B>) -> Self {
        let loading = loading(&config);
        let origin = "the network".to_owned();
        Self {
            origin,
            digest: None,
            config,
            network,
            loading,
            calibrated: false,
            min_probability: 0.0,
            unknown: None,
            int8: None,
        }
    }

    /// The network in inference, in f32, as a list of operations on images of the model's size.
    ///
    /// # Errors
    /// Where a custom backbone or head computes something that is not recorded; see [`Network::graph`].
    pub fn graph(&self) -> Result<Graph> {
        Ok(self.network.graph([self.config.preprocessing.size; 2])?)
    }

    /// Sets the threshold of each class for multi-label predictions; see [`Predictions::best_thresholds`].
    ///
    /// # Errors
    /// Where their number is not that of the classes, or the model is single-label.
    pub fn with_thresholds(mut self, thresholds: Vec<f32>) -> Result<Self> {
        if self.config.task == Task::SingleLabel || thresholds.len() != self.config.classes.len() {
            let expected = "one a class, where images may have several classes";
            return Err(Error::setting("thresholds", thresholds.len(), expected));
        }
        self.config.thresholds = Some(thresholds);
        Ok(self)
    }

    /// Sets how the model was trained, for whoever has its file alone.
    pub(crate) fn with_training(mut self, training: TrainingRecord) -> Self {
        self.config.training = Some(training);
        self
    }

    /// Sets the distance from 0 and 1 that submissions clip probabilities to.
    pub fn with_clip(mut self, clip: Option<ProbabilityClip>) -> Self {
        self.config.clip = clip;
        self
    }

    /// Fits the temperature that calibrates probabilities on predictions of validation images, and returns
    /// it; `None` if it does not lower the log loss of images that it was not fitted on: see
    /// [`Predictions::validated_temperature`]. [`calibrated`](Self::calibrated) then uses it.
    pub fn calibrate(&mut self, predictions: &Predictions) -> Option<f64> {
        self.config.temperature = predictions.validated_temperature();
        self.config.temperature
    }

    /// Sets the unknown score, as [`Learner::fit_unknown`](crate::Learner::fit_unknown) fits it.
    pub fn with_unknown(mut self, score: Option<UnknownScore>, config: UnknownConfig) -> Self {
        self.unknown = config
            .threshold(FALSE_REFUSALS)
            .zip(score)
            .map(|(threshold, score)| UnknownOfModel { score: Arc::new(score), threshold });
        self.config.unknown = Some(config);
        self
    }

    /// Sets the threshold of the unknown score by the fraction of photos of known classes that it refuses, 0
    /// to 1; 0.05 at first.
    ///
    /// # Errors
    /// [`Error::NoUnknownScore`] where the model has none; [`Error::Setting`].
    pub fn false_refusals(mut self, fraction: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&fraction) {
            return Err(Error::setting("false_refusals", fraction, "from 0 to less than 1"));
        }
        let threshold = self.config.unknown.as_ref().and_then(|unknown| unknown.threshold(fraction));
        match (&mut self.unknown, threshold) {
            (Some(unknown), Some(threshold)) => unknown.threshold = threshold,
            _ => {
                let reason = match &self.config.unknown {
                    Some(UnknownConfig::Missing { reason }) => reason.clone(),
                    _ => "none was fitted when it was saved".to_owned(),
                };
                return Err(Error::NoUnknownScore { model: self.origin, reason });
            }
        }
        Ok(self)
    }

    /// The unknown score, if the model has one.
    pub fn unknown_score(&self) -> Option<&UnknownScore> {
        self.unknown.as_ref().map(|unknown| &*unknown.score)
    }

    /// The threshold of the unknown score.
    pub fn unknown_threshold(&self) -> Option<f32> {
        self.unknown.as_ref().map(|unknown| unknown.threshold)
    }

    /// Writes the model to a file, with everything that is needed to use it.
    ///
    /// # Errors
    /// Where the file cannot be written; an existing file is then unchanged. [`Error::NotFiniteTensor`] where
    /// a weight is NaN or infinite.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut tensors = self.network.to_tensors();
        if let Some(unknown) = &self.unknown {
            unknown.score.add_to(&mut tensors);
        }
        check_finite(&tensors, &self.origin)?;
        save(path.as_ref(), &self.config, &tensors).map(drop)
    }

    /// Moves the model to another device, where it computes in floats.
    pub fn to_device(mut self, device: &Device) -> Self {
        self.int8 = None;
        self.network = self.network.fork(&device.clone().autodiff());
        self
    }

    /// How the model is used.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The digest of the file that the model was loaded from, in hexadecimal digits; `None` for a model that was
    /// just trained.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Where the model came from: its file, or "the network".
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Sets another precision than the model was validated with; probabilities then differ slightly. Features in
    /// [8-bit integers](Self::int8) do not depend on it.
    pub fn precision(self, precision: Precision) -> Self {
        Self { network: self.network.with_precision(precision), ..self }
    }

    /// The number of decoding threads; 0, the default: one per core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.loading.threads = threads;
        self
    }

    /// The limits of decoding.
    pub(crate) fn limited_as(mut self, decoder: Decoder) -> Self {
        self.loading.decoder = Decoder { channels: self.config.channels, ..decoder };
        self
    }

    /// What decodes the model's images: as in training, within the limits that are set.
    pub fn decoder(&self) -> Decoder {
        self.loading.decoder
    }

    /// How the model's images are read.
    pub(crate) fn loading(&self) -> LoaderOptions {
        self.loading
    }

    /// The number of the network's parameters.
    pub fn parameters(&self) -> usize {
        self.network.parameters().iter().sum()
    }

    /// Applies the temperature that was fitted on the validation images to all probabilities from now on, so
    /// that of predictions with a probability of 0.9 about nine in ten are right. The most probable class
    /// does not change.
    ///
    /// # Errors
    /// Where the model holds no temperature, since none lowered the log loss of validation images that it was
    /// not fitted on.
    pub fn calibrated(mut self) -> Result<Self> {
        if self.config.temperature.is_none() {
            return Err(Error::NotCalibrated { model: self.origin });
        }
        self.calibrated = true;
        Ok(self)
    }

    /// Predicts no class for photos whose most probable class has a lower probability than this, from 0 to 1;
    /// default: 0, so that each photo has a class. Probabilities are unchanged.
    ///
    /// # Errors
    /// Where it is not from 0 to 1, or the model is multi-label: its classes have thresholds of their own.
    pub fn min_probability(self, probability: f32) -> Result<Self> {
        check_min_probability(self.config.task, probability)?;
        Ok(Self { min_probability: probability, ..self })
    }

    /// Whether views of test-time augmentation differ from the plain one: random views are drawn with the augmentation of
    /// training, and all alike where there was none.
    pub fn has_views(&self, tta: &Tta) -> bool {
        match tta.views {
            TtaViews::Corners => true,
            TtaViews::Random(_) => {
                self.config.augmentation.as_ref().is_some_and(|change| *change != Augmentation::none())
            }
        }
    }

    /// Whether probabilities are [calibrated](Self::calibrated).
    pub fn is_calibrated(&self) -> bool {
        self.calibrated
    }

    /// The largest photo that is read, in pixels; default: Pillow's limit.
    pub fn max_pixels(mut self, pixels: u64) -> Self {
        self.loading.decoder.max_pixels = pixels;
        self
    }

    /// Predicts photos, in the order given. A photo that cannot be read gives an error for itself; the others
    /// are not affected. Paths are taken some thousands at a time, so that their number is not limited by
    /// memory.
    ///
    /// A photo's probabilities do not depend on the other photos, and are those of its validation in
    /// training, to the bit, on a machine of the same kind.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn predict<P: Into<PathBuf>>(
        &self,
        photos: impl IntoIterator<Item = P>,
    ) -> Result<impl Iterator<Item = Result<Prediction>>> {
        self.predict_with(photos, None)
    }

    /// As [`predict`](Self::predict), with optional test-time augmentation. Random views are drawn from the
    /// path of the photo, with the augmentation of training.
    ///
    /// # Errors
    /// Where a thread cannot be started, or there are too many views.
    pub fn predict_with<P: Into<PathBuf>>(
        &self,
        photos: impl IntoIterator<Item = P>,
        tta: Option<Tta>,
    ) -> Result<impl Iterator<Item = Result<Prediction>>> {
        self.predict_by(photos.into_iter().map(Into::into), tta, AT_ONCE)
    }

    /// Prepares this many photos at once.
    fn predict_by(
        &self,
        mut photos: impl Iterator<Item = PathBuf>,
        tta: Option<Tta>,
        at_once: usize,
    ) -> Result<impl Iterator<Item = Result<Prediction>>> {
        let mut passes = self.passes(photos.by_ref().take(at_once), tta)?;
        let mut failed = false;
        let next = move || loop {
            if failed {
                return None;
            }
            let batch = match passes.next() {
                Some(batch) => batch,
                None => {
                    let mut more = photos.by_ref().take(at_once).peekable();
                    more.peek()?;
                    match self.passes(more, tta) {
                        Ok(more) => {
                            passes = more;
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            failed = batch.is_err();
            return Some(batch);
        };
        Ok(std::iter::from_fn(next).flat_map(|batch| match batch {
            Ok(predictions) => predictions,
            Err(error) => vec![Err(error)],
        }))
    }

    /// All views of these photos.
    fn passes(&self, photos: impl Iterator<Item = PathBuf>, tta: Option<Tta>) -> Result<Passes<B>> {
        let items = Arc::new(unlabelled(photos, self.config.task));
        let mut options = LoaderOptions { bad_images: BadImages::Skip, ..self.loading };
        if tta.is_some() {
            // Each view has its own batches.
            options.batch_size = options.batch_size.div_ceil(4);
        }
        let plain = Loader::new(items.clone(), self.config.preprocessing, options)?;
        let loaders = match tta {
            Some(tta) => tta.views.loaders(&plain, self.config.augmentation.as_ref(), 0)?,
            None => vec![(plain, 0, 1.0)],
        };
        let all: Vec<usize> = (0..items.len()).collect();
        let passes = loaders
            .into_iter()
            .map(|(loader, epoch, weight)| Ok((loader.batches(all.clone(), epoch)?, weight)));
        Ok(Passes {
            network: self.network.clone(),
            features: self.feature_network(),
            answers: self.answers(tta.map(|tta| tta.mean).unwrap_or_default()),
            items: items.clone(),
            passes: passes.collect::<Result<_>>()?,
            unknown: self.unknown.clone(),
            next: 0,
        })
    }

    /// How outputs of the network become predictions.
    fn answers(&self, mean: TtaMean) -> Answers {
        let temperature = self.config.temperature.filter(|_| self.calibrated);
        Answers {
            model: self.origin.clone(),
            task: self.config.task,
            classes: self.config.classes.clone().into(),
            mean,
            temperature,
            thresholds: thresholds_with_temperature(&self.config.thresholds(), temperature),
            min_probability: self.min_probability,
        }
    }
}

/// Checks the lowest probability of a predicted class.
pub(crate) fn check_min_probability(task: Task, probability: f32) -> Result<()> {
    let refused = |expected| Err(Error::setting("min_probability", probability, expected));
    match task {
        _ if !(0.0..=1.0).contains(&probability) => refused("from 0 to 1"),
        Task::MultiLabel => {
            refused("left out for a multi-label model, whose classes have thresholds of their own")
        }
        Task::SingleLabel => Ok(()),
    }
}

/// Photos without labels.
pub(crate) fn unlabelled(paths: impl Iterator<Item = PathBuf>, task: Task) -> Items {
    let photos = paths.map(|path| Item { id: text_of(&path), path, target: Target::Unlabelled });
    Items { root: PathBuf::new(), task, classes: Classes::default(), items: photos.collect() }
}

#[cfg(test)]
mod tests {
    use ocelli_data::Preprocessing;

    use ocelli_nn::graph::UnknownParameters;

    use super::*;

    fn config(classes: Classes) -> ModelConfig {
        let items = Items { root: PathBuf::new(), task: Task::SingleLabel, classes, items: Vec::new() };
        let preprocessing = Preprocessing {
            size: 32,
            framing: ocelli_data::Framing::Crop { fraction: 1.0 },
            filter: ocelli_data::Filter::Bicubic,
            normalization: ocelli_data::Normalization::IMAGENET,
        };
        ModelConfig::new("efficientnet_lite0", &items, preprocessing, Precision::F32)
    }

    /// An untrained model, which answers with something.
    fn untrained() -> Model {
        let config = config(Classes::new(["a", "b", "c"]));
        Model::new(config, Arch::EfficientNetLite0.untrained(3, 3, 0, &Device::flex()))
    }

    #[test]
    fn photos_are_taken_by_and_by_with_the_same_predictions() {
        let flags = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji/flags");
        let mut photos: Vec<PathBuf> =
            std::fs::read_dir(flags).unwrap().map(|entry| entry.unwrap().path()).take(7).collect();
        photos.insert(3, "nowhere.png".into());
        let model = untrained();
        for tta in [None, Some(Tta::views(2))] {
            let predict = |at_once| {
                let predictions = model.predict_by(photos.clone().into_iter(), tta, at_once).unwrap();
                predictions
                    .map(|prediction| prediction.map_err(|error| error.to_string()))
                    .collect::<Vec<_>>()
            };
            let together = predict(100);
            assert_eq!(together.len(), photos.len());
            assert!(together[3].is_err() && together[4].is_ok());
            for at_once in [1, 4, 8] {
                assert_eq!(predict(at_once), together, "{at_once} at once");
            }
        }
        let endless = model.predict(std::iter::repeat(&photos[0])).unwrap();
        assert_eq!(endless.take(3).filter(|prediction| prediction.is_ok()).count(), 3);
    }

    #[test]
    fn a_lowest_probability_takes_the_class_and_leaves_the_probabilities() {
        let flag = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji/flags/de.png");
        let of = |model: &Model| model.predict([flag]).unwrap().next().unwrap().unwrap();
        let plain = of(&untrained());
        let best = plain.best();
        let at = of(&untrained().min_probability(best.probability).unwrap());
        assert_eq!(at.predicted_labels(), std::slice::from_ref(&best), "a bound that is reached");
        let above = of(&untrained().min_probability(best.probability.next_up()).unwrap());
        assert!(above.predicted_labels().is_empty());
        assert_eq!((above.best(), &above.probabilities), (best, &plain.probabilities));
        assert!(untrained().min_probability(1.1).is_err() && untrained().min_probability(f32::NAN).is_err());
        let mut several = untrained();
        several.config.task = Task::MultiLabel;
        let error = several.min_probability(0.5).unwrap_err().to_string();
        assert!(error.contains("min_probability") && error.contains("multi-label"), "{error}");
    }

    #[test]
    fn numbers_that_no_model_is_used_with_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let config = serde_json::to_value(config(Classes::new(["a", "b"]))).unwrap();
        let clip = |at: f64| serde_json::json!({ "at": at, "log_loss": [0.1, 0.05, 0.2] });
        let cases = [
            ("clip", clip(0.7), "clipped at 0.7"),
            ("clip", clip(0.5), "clipped at 0.5"),
            ("clip", clip(-0.1), "clipped at -0.1"),
            ("temperature", 0.0.into(), "the temperature 0;"),
            ("temperature", 1e-300.into(), "the temperature 0.00"),
            ("thresholds", serde_json::json!([0.5, 1e39]), "the threshold inf"),
        ];
        for (name, value, wanted) in cases {
            let mut config = config.clone();
            config[name] = value;
            std::fs::write(&path, TensorFile::new("made").to_bytes(config::ENTRY, &config.to_string()))
                .unwrap();
            let error = Model::load(&path).unwrap_err();
            assert!(matches!(error, Error::NotAModel { .. }), "{name}: {error}");
            assert!(error.to_string().contains(wanted), "{wanted}: {error}");
        }
    }

    #[test]
    fn an_unknown_score_of_another_network_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let fitted = |width: usize| {
            let score = UnknownScore(UnknownParameters {
                center: vec![0.0; width],
                projection: vec![0.0; width],
                within: vec![1.0],
                means: vec![0.0],
                total: vec![0.0],
                residual: 1.0,
            });
            let config = UnknownConfig::Fitted { train_photos: 9, valid_scores: vec![0.5] };
            untrained().with_unknown(Some(score), config).save(&path).unwrap();
            Model::load(&path)
        };
        // Half of what maximum and average pooling give.
        let error = fitted(1280).unwrap_err().to_string();
        assert!(error.contains("of 1280 features, and its network has 2560"), "{error}");
        assert!(fitted(2560).is_ok());
    }

    #[test]
    fn a_model_with_a_weight_that_is_not_finite_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(Classes::default());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut tensors = TensorFile::new("made");
            tensors.insert("conv.weight", vec![2], vec![0.5, -0.5]);
            tensors.insert("head.weight", vec![2, 2], vec![0.5, 1.0, value, 2.0]);
            let path = folder.path().join("model.safetensors");
            save(&path, &config, &tensors).unwrap();
            let error = Model::load(&path).unwrap_err();
            assert!(
                matches!(&error, Error::NotFiniteTensor { tensor, .. } if tensor == "head.weight"),
                "{error}"
            );
            let text = error.to_string();
            assert!(text.contains("model.safetensors") && text.contains("learning rate"), "{text}");
        }
    }
}
