//! A trained model: one safetensors file that says itself how it is to be used.

pub(crate) mod ensemble;
pub(crate) mod submission;
pub(crate) mod tta;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use ocelli_data::{
    Augmentation, BadImages, Batch, Batches, Channels, Classes, Decoder, Item, Items, Loader, LoaderOptions,
    Preprocessing, RgbImage, Skipped, Target, Task, text_of,
};
use ocelli_nn::{AnyBackbone, Arch, Backbone, Network, Precision, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::file;
use crate::interpret::{temper, tempered_thresholds};
use crate::metric::predictions::{Predictions, THRESHOLD, predicted_labels, probabilities};
use crate::model::submission::ProbabilityClip;
use crate::model::tta::{Tta, TtaMean};
use crate::run::folder::model_of;

/// How a model is to be used; it stands in the model's file as JSON, in the metadata entry `ocelli`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// The version of this contract's form: 2.
    pub format: u32,
    /// The version of Ocelli that wrote it.
    pub version: String,
    /// The backbone's name in the registry.
    pub architecture: String,
    /// Whether an image has one class or several.
    pub task: Task,
    /// The names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
    /// From a photo to the network's input.
    pub preprocessing: Preprocessing,
    /// From which probability on a photo is said to have a class, where it may have several: one a class.
    /// Without them [`THRESHOLD`](crate::THRESHOLD) for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f32>>,
    /// Which bands of an image are read, and which values are black and white, where it was said.
    #[serde(default, skip_serializing_if = "Channels::is_usual")]
    pub channels: Channels,
    /// How images were changed at random in training: what test-time augmentation draws views from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// The precision of the activations that it was trained and measured with.
    #[serde(default)]
    pub precision: Precision,
    /// How far submissions keep probabilities from 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<ProbabilityClip>,
    /// What separates several labels of an image in the table that it was trained on, and so in submissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<char>,
    /// What logits are divided by to be calibrated, fitted on validation images; nothing where none was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

/// The most classes that a model may have.
const MOST_CLASSES: usize = 100_000;

/// The contract's form that this version writes and reads.
const FORMAT: u32 = 2;
/// The metadata entry that holds the contract.
const ENTRY: &str = "ocelli";

impl Contract {
    pub(crate) fn new(
        architecture: &str,
        items: &Items,
        preprocessing: Preprocessing,
        precision: Precision,
    ) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: architecture.to_owned(),
            task: items.task,
            classes: items.classes.names().to_vec(),
            preprocessing,
            thresholds: None,
            channels: Channels::default(),
            augmentation: None,
            precision,
            clip: None,
            label_separator: None,
            temperature: None,
        }
    }

    /// The threshold of each class.
    pub fn thresholds(&self) -> Vec<f32> {
        self.thresholds.clone().unwrap_or_else(|| vec![THRESHOLD; self.classes.len()])
    }

    /// The bytes of a model file, and the digest in them.
    pub(crate) fn to_bytes(&self, tensors: &TensorFile) -> (Vec<u8>, String) {
        tensors.to_bytes_and_digest(ENTRY, &serde_json::to_string(self).expect("plain values serialise"))
    }
}

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
    /// Its file, for errors.
    origin: String,
    contract: Contract,
    pub(crate) network: Network<B>,
    loading: LoaderOptions,
    calibrated: bool,
}

/// What a model says about one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The photo.
    pub path: PathBuf,
    /// The names of the classes.
    pub classes: Arc<[String]>,
    /// The probability of each class; they sum to 1 where an image has one class.
    pub probabilities: Vec<f32>,
    /// Whether an image has one class or several.
    pub task: Task,
    /// From which probability on the photo is said to have each class, where it may have several.
    pub thresholds: Arc<[f32]>,
}

/// A class and its probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassProbability {
    /// The class.
    pub class: String,
    /// 0 to 1.
    pub probability: f32,
}

impl Prediction {
    /// The most probable class.
    pub fn best(&self) -> ClassProbability {
        self.ranked().swap_remove(0)
    }

    /// What the photo is said to be, the most probable first: one class; or, where an image has several, all whose
    /// probability reaches their threshold, possibly none.
    pub fn predicted_labels(&self) -> Vec<ClassProbability> {
        let decided = predicted_labels(self.task, &self.probabilities, &self.thresholds);
        let guess = |class: usize| ClassProbability {
            class: self.classes[class].clone(),
            probability: self.probabilities[class],
        };
        let mut guesses: Vec<ClassProbability> = decided.into_iter().map(guess).collect();
        guesses.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        guesses
    }

    /// All classes, the most probable first.
    pub fn ranked(&self) -> Vec<ClassProbability> {
        let named = self.classes.iter().zip(&self.probabilities);
        let mut guesses: Vec<ClassProbability> = named
            .map(|(class, &probability)| ClassProbability { class: class.clone(), probability })
            .collect();
        guesses.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        guesses
    }
}

impl Model {
    /// Reads a model that Ocelli has written; its file may be given, or the folder of its run.
    ///
    /// # Errors
    /// [`Error::Network`] where the file is no whole safetensors file, is damaged, or its tensors are another network's;
    /// [`Error::NotAModel`] where it has no contract, or one that this version does not know, or no digest;
    /// [`Error::NotFiniteTensor`] where a weight is NaN or infinite.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = &model_of(path.as_ref())?;
        let (contract, tensors) = read(path)?;
        let arch: Arch = contract.architecture.parse().map_err(|error: ocelli_nn::Error| {
            Error::NotAModel { path: path.clone(), reason: error.to_string() }
        })?;
        // The head is made before its values are read: a file that claims classes it has no numbers for is refused first.
        let classes = contract.classes.len();
        let has_rows =
            |name: &str| tensors.get(name).is_some_and(|tensor| tensor.shape.first() == Some(&classes));
        if !tensors.names().any(has_rows) {
            let reason =
                format!("its contract has {classes} classes, and none of its tensors has as many rows");
            return Err(Error::NotAModel { path: path.clone(), reason });
        }
        let network = arch.trained(&tensors, classes, &Device::flex())?;
        let network = network.with_precision(contract.precision);
        let (loading, origin) = (loading(&contract), path.display().to_string());
        Ok(Self { origin, contract, network, loading, calibrated: false })
    }
}

/// Images are read as in training.
fn loading(contract: &Contract) -> LoaderOptions {
    let decoder = Decoder { channels: contract.channels, ..Decoder::default() };
    LoaderOptions { decoder, ..LoaderOptions::default() }
}

/// A model file's contract and tensors.
fn read(path: &Path) -> Result<(Contract, TensorFile)> {
    let tensors = TensorFile::read(path)?;
    let not_a_model = |reason: String| Error::NotAModel { path: path.to_owned(), reason };
    let text = tensors.metadata(ENTRY).ok_or_else(|| {
        not_a_model("it holds tensors, but not what they are for; give a model.safetensors of a run".into())
    })?;
    let contract: Contract = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => match value["format"].as_u64() {
            Some(format) if format != u64::from(FORMAT) => {
                return Err(not_a_model(format!(
                    "its contract has form {format}, this version of Ocelli reads form {FORMAT}; \
                         use the version that wrote it"
                )));
            }
            _ => serde_json::from_value(value),
        },
        Err(error) => Err(error),
    }
    .map_err(|error| not_a_model(format!("its contract cannot be read: {error}")))?;
    if tensors.digest().is_none() {
        return Err(not_a_model(
            "it has no digest of its content, by which damage would be seen: another program has written it; to have \
             it believed as it is, add the metadata entry \"ocelli-digest\" with the text \"none\""
                .into(),
        ));
    }
    contract.preprocessing.validate()?;
    contract.channels.validate()?;
    if contract.classes.len() > MOST_CLASSES {
        let classes = contract.classes.len();
        let reason = format!("its contract has {classes} classes, more than the limit of {MOST_CLASSES}");
        return Err(not_a_model(reason));
    }
    if let Some(thresholds) = &contract.thresholds
        && thresholds.len() != contract.classes.len()
    {
        let (found, classes) = (thresholds.len(), contract.classes.len());
        return Err(not_a_model(format!("its contract has {found} thresholds for {classes} classes")));
    }
    check_finite(&tensors, &path.display().to_string())?;
    Ok((contract, tensors))
}

/// Refuses tensors with a number that is NaN or infinite; `model` names them in the error.
pub(crate) fn check_finite(tensors: &TensorFile, model: &str) -> Result<()> {
    check_finite_of(tensors, tensors.names(), model)
}

/// As [`check_finite`], of the tensors of these names.
pub(crate) fn check_finite_of<'a>(
    tensors: &TensorFile,
    names: impl Iterator<Item = &'a str>,
    model: &str,
) -> Result<()> {
    for name in names {
        let values = tensors.get(name).map_or(&[][..], |tensor| &tensor.values);
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotFiniteTensor { model: model.to_owned(), tensor: name.to_owned(), value });
        }
    }
    Ok(())
}

/// Refuses logits of which one is NaN or infinite; `model` and `photo` name them in the error.
pub(crate) fn check_outputs(logits: &[f32], classes: &[String], model: &str, photo: &str) -> Result<()> {
    match logits.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(class) => Err(Error::NotFiniteOutput {
            model: model.to_owned(),
            photo: photo.to_owned(),
            class: classes.get(class).cloned().unwrap_or_default(),
            value: logits[class],
        }),
    }
}

/// From what a network computes of the views of a photo to what is said of it: the one way for all predictions of a
/// model, whatever they are asked for.
#[derive(Debug, Clone)]
struct Answers {
    model: String,
    task: Task,
    classes: Arc<[String]>,
    mean: TtaMean,
    temperature: Option<f64>,
    thresholds: Arc<[f32]>,
}

impl Answers {
    /// The probabilities of every class, from the weight and the logits of each view; `photo` names it in errors.
    fn probabilities(&self, views: &[(f64, &[f32])], photo: &str) -> Result<Vec<f32>> {
        for (_, logits) in views {
            check_outputs(logits, &self.classes, &self.model, photo)?;
        }
        let mut row = match views {
            [(_, plain)] => probabilities(self.task, plain),
            _ => self.mean.of(self.task, views),
        };
        if let Some(temperature) = self.temperature {
            temper(self.task, &mut row, temperature);
        }
        Ok(row)
    }

    fn prediction(&self, path: PathBuf, views: &[(f64, &[f32])]) -> Result<Prediction> {
        let probabilities = self.probabilities(views, &path.display().to_string())?;
        let (classes, thresholds) = (self.classes.clone(), self.thresholds.clone());
        Ok(Prediction { path, classes, probabilities, task: self.task, thresholds })
    }
}

impl<B: Backbone> Model<B> {
    /// Reads a model on a backbone or with a head of the user's own, saved by [`Learner::save`](crate::Learner::save).
    /// `network` is made of the same parts; its values are replaced by the file's.
    ///
    /// # Errors
    /// As [`load`](Model::load).
    pub fn load_into(path: impl AsRef<Path>, network: Network<B>) -> Result<Self> {
        let (contract, tensors) = read(path.as_ref())?;
        let network = network.with_tensors(&tensors)?;
        let network = network.with_precision(contract.precision);
        let (loading, origin) = (loading(&contract), path.as_ref().display().to_string());
        Ok(Self { origin, contract, network, loading, calibrated: false })
    }

    /// A model of a network that was just trained.
    pub(crate) fn new(contract: Contract, network: Network<B>) -> Self {
        let (loading, origin) = (loading(&contract), "the network".to_owned());
        Self { origin, contract, network, loading, calibrated: false }
    }

    /// Sets from which probability on an image is said to have a class, one a class, where it may have several; see
    /// [`Predictions::best_thresholds`].
    ///
    /// # Errors
    /// Where there are more or fewer than classes, or images have one class each.
    pub fn with_thresholds(mut self, thresholds: Vec<f32>) -> Result<Self> {
        if self.contract.task == Task::SingleLabel || thresholds.len() != self.contract.classes.len() {
            let expected = "one a class, where images may have several classes";
            return Err(Error::setting("thresholds", thresholds.len(), expected));
        }
        self.contract.thresholds = Some(thresholds);
        Ok(self)
    }

    /// Sets how far submissions keep probabilities from 0 and 1.
    pub fn with_clip(mut self, clip: Option<ProbabilityClip>) -> Self {
        self.contract.clip = clip;
        self
    }

    /// Fits the temperature that makes probabilities mean what they say on predictions of held-out images, and gives it;
    /// none where it does not lower the log loss of images that it was not fitted on: see
    /// [`Predictions::helpful_temperature`]. [`calibrated`](Self::calibrated) then uses it.
    pub fn calibrate(&mut self, predictions: &Predictions) -> Option<f64> {
        self.contract.temperature = predictions.helpful_temperature();
        self.contract.temperature
    }

    /// Writes the model to a file, with all that is needed to use it.
    ///
    /// # Errors
    /// Where the file cannot be written; what was there before then stays. [`Error::NotFiniteTensor`] where a weight is
    /// NaN or infinite.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors = self.network.to_tensors();
        check_finite(&tensors, &self.origin)?;
        save(path.as_ref(), &self.contract, &tensors).map(drop)
    }

    /// The model on another device: everything is computed there from now on.
    pub fn to_device(mut self, device: &Device) -> Self {
        self.network = self.network.fork(&device.clone().autodiff());
        self
    }

    /// How the model is to be used.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Computes with another precision than the model was measured with; probabilities then differ a little.
    pub fn precision(self, precision: Precision) -> Self {
        Self { network: self.network.with_precision(precision), ..self }
    }

    /// The number of threads that decode; 0, the default: one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.loading.threads = threads;
        self
    }

    /// The limits of decoding.
    pub(crate) fn limited_as(mut self, decoder: Decoder) -> Self {
        self.loading.decoder = Decoder { channels: self.contract.channels, ..decoder };
        self
    }

    /// What reads the model's images: as in training, within the limits that were set.
    pub(crate) fn decoder(&self) -> Decoder {
        self.loading.decoder
    }

    /// From now on gives probabilities with the temperature that was fitted on the validation images, so that of what is
    /// said with 0.9 about nine in ten are right, whichever way a prediction is asked for. Which class is the most probable
    /// does not change.
    ///
    /// # Errors
    /// Where the model holds no temperature, since none lowered the log loss of validation images that it was not fitted
    /// on.
    pub fn calibrated(mut self) -> Result<Self> {
        if self.contract.temperature.is_none_or(|temperature| temperature <= 0.0) {
            return Err(Error::NotCalibrated { model: self.origin });
        }
        self.calibrated = true;
        Ok(self)
    }

    /// The largest photo that is read, in pixels; by default the number above which Pillow refuses too.
    pub fn max_pixels(mut self, pixels: u64) -> Self {
        self.loading.decoder.max_pixels = pixels;
        self
    }

    /// The probabilities of every class for each photo, in the order given. A photo that cannot be read gives
    /// an error in its place; the others are not affected.
    ///
    /// A photo's probabilities are the same, to the bit, whatever the other photos are, and the same that
    /// validation saw in training on a machine of the same kind.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn predict<P: Into<PathBuf>>(
        &self,
        photos: impl IntoIterator<Item = P>,
    ) -> Result<impl Iterator<Item = Result<Prediction>>> {
        self.predict_with(photos, None)
    }

    /// As [`predict`](Self::predict), with test-time augmentation where it is asked for. Random views are drawn from
    /// the path of the photo and changed as in training.
    ///
    /// # Errors
    /// Where no thread can be started, or there are too many views.
    pub fn predict_with<P: Into<PathBuf>>(
        &self,
        photos: impl IntoIterator<Item = P>,
        tta: Option<Tta>,
    ) -> Result<impl Iterator<Item = Result<Prediction>>> {
        let photos: Vec<Item> = photos
            .into_iter()
            .map(|photo| {
                let path: PathBuf = photo.into();
                Item { id: text_of(&path), path, target: Target::Unlabelled }
            })
            .collect();
        let items = Arc::new(Items {
            root: PathBuf::new(),
            task: self.contract.task,
            classes: Classes::default(),
            items: photos,
        });
        let mut options = LoaderOptions { bad_images: BadImages::Skip, ..self.loading };
        if tta.is_some() {
            // Each view has batches of its own.
            options.batch_size = options.batch_size.div_ceil(4);
        }
        let plain = Loader::new(items.clone(), self.contract.preprocessing, options)?;
        let loaders = match tta {
            Some(tta) => tta.views.loaders(&plain, self.contract.augmentation.as_ref(), 0)?,
            None => vec![(plain, 0, 1.0)],
        };
        let all: Vec<usize> = (0..items.len()).collect();
        let passes = loaders
            .into_iter()
            .map(|(loader, epoch, weight)| Ok((loader.batches(all.clone(), epoch)?, weight)));
        let mut passes = Passes {
            network: self.network.clone(),
            answers: self.answers(tta.map(|tta| tta.mean).unwrap_or_default()),
            items: items.clone(),
            passes: passes.collect::<Result<_>>()?,
            next: 0,
        };
        Ok(std::iter::from_fn(move || passes.next()).flat_map(|batch| match batch {
            Ok(predictions) => predictions,
            Err(error) => vec![Err(error)],
        }))
    }

    /// How what the network computes becomes an answer.
    fn answers(&self, mean: TtaMean) -> Answers {
        let temperature = self.contract.temperature.filter(|_| self.calibrated);
        Answers {
            model: self.origin.clone(),
            task: self.contract.task,
            classes: self.contract.classes.clone().into(),
            mean,
            temperature,
            thresholds: tempered_thresholds(&self.contract.thresholds(), temperature),
        }
    }

    /// The probabilities of every class for images in memory, a row each, calibrated where [`predict`](Self::predict)'s
    /// are. To the bit they are those of the files where the images were decoded with
    /// [`Decoder::decode_for`] and [`Preprocessing::needed`] of the [contract](Self::contract): large JPEGs are decoded at a
    /// reduced scale.
    ///
    /// # Errors
    /// [`Error::NotFiniteOutput`] where the network computes something that is not finite.
    pub fn predict_images(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>> {
        let Preprocessing { size, .. } = self.contract.preprocessing;
        let answers = self.answers(TtaMean::default());
        let mut rows = Vec::with_capacity(images.len());
        for images in images.chunks(self.loading.batch_size) {
            let mut samples = vec![0.0; images.len() * size * size * 3];
            for (image, sample) in images.iter().zip(samples.chunks_exact_mut(size * size * 3)) {
                self.contract.preprocessing.apply(image, sample)?;
            }
            let mut batch = Batch {
                indices: (0..images.len()).collect(),
                epochs: vec![0; images.len()],
                images: samples.into(),
                shape: [images.len(), size, size, 3],
                skipped: Vec::new(),
            };
            let logits = logits(&self.network, &mut batch);
            for row in logits.chunks_exact(self.contract.classes.len()) {
                let photo = format!("image {}", rows.len() + 1);
                rows.push(answers.probabilities(&[(1.0, row)], &photo)?);
            }
        }
        Ok(rows)
    }
}

/// All views of some photos, batch by batch.
struct Passes<B: Backbone> {
    network: Network<B>,
    answers: Answers,
    items: Arc<Items>,
    passes: Vec<(Batches, f64)>,
    /// The first photo of the next batch.
    next: usize,
}

/// One view of the photos of a batch.
struct View {
    weight: f64,
    /// The photos that could be read in this view, ascending, and their logits, row by row.
    indices: Vec<usize>,
    logits: Vec<f32>,
    /// Why the others could not, in their order.
    skipped: Vec<Skipped>,
}

impl<B: Backbone> Passes<B> {
    /// The predictions of a batch's photos, in their order. A photo that cannot be read in one view, since it was changed
    /// meanwhile, has an error in its own place.
    fn next(&mut self) -> Option<Result<Vec<Result<Prediction>>>> {
        let mut views = Vec::with_capacity(self.passes.len());
        for (batches, weight) in &mut self.passes {
            let mut batch = match batches.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error.into())),
            };
            let logits = logits(&self.network, &mut batch);
            views.push(View { weight: *weight, indices: batch.indices, logits, skipped: batch.skipped });
        }
        let count = views.first().map_or(0, |view| view.indices.len() + view.skipped.len());
        let photos = self.next..self.next + count;
        self.next = photos.end;
        let mut rows = vec![0; views.len()];
        let predictions = photos.enumerate().map(|(position, photo)| {
            let path = self.items[photo].path.clone();
            match logits_of(photo, position, &views, &mut rows) {
                Ok(logits) => self.answers.prediction(path, &logits),
                Err(reason) => Err(Error::Photo { path, reason }),
            }
        });
        Some(Ok(predictions.collect()))
    }
}

/// The weight and the logits of every view of a photo, the one at `position` in its batch, or why one of them could not be
/// read. `rows`: of each view, how many photos before it could be read.
fn logits_of<'a>(
    photo: usize,
    position: usize,
    views: &'a [View],
    rows: &mut [usize],
) -> std::result::Result<Vec<(f64, &'a [f32])>, String> {
    let (mut logits, mut lost) = (Vec::with_capacity(views.len()), None);
    for (view, row) in views.iter().zip(rows) {
        if view.indices.get(*row) == Some(&photo) {
            let classes = view.logits.len() / view.indices.len();
            logits.push((view.weight, &view.logits[*row * classes..][..classes]));
            *row += 1;
        } else {
            let skipped = view.skipped.get(position - *row);
            lost = lost.or(Some(skipped.map(|skipped| skipped.reason.clone()).unwrap_or_default()));
        }
    }
    match lost {
        None => Ok(logits),
        Some(reason) if logits.is_empty() => Err(reason),
        Some(reason) => Err(format!("was changed while it was read ({reason}); predict it again")),
    }
}

/// The logits of a batch, row by row.
fn logits<B: Backbone>(network: &Network<B>, batch: &mut Batch) -> Vec<f32> {
    if batch.indices.is_empty() {
        return Vec::new();
    }
    let logits = network.infer(to_tensor(batch, &network.device()));
    logits.into_data().try_into_vec::<f32>().expect("logits are f32")
}

/// Writes a model file, and gives the digest in it.
pub(crate) fn save(path: &Path, contract: &Contract, tensors: &TensorFile) -> Result<String> {
    let (bytes, digest) = contract.to_bytes(tensors);
    file::write(path, &bytes)?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_that_changes_between_views_has_the_error_itself() {
        // Three photos of a batch; the first cannot be read at all, the second not any more in the second view.
        let lost = |reasons: &[&str]| {
            reasons.iter().map(|reason| Skipped::image("photo", reason)).collect::<Vec<_>>()
        };
        let views = [
            View {
                weight: 0.4,
                indices: vec![8, 9],
                logits: vec![1.0, 2.0, 3.0, 4.0],
                skipped: lost(&["x"]),
            },
            View { weight: 0.6, indices: vec![9], logits: vec![5.0, 6.0], skipped: lost(&["x", "cut off"]) },
        ];
        let mut rows = vec![0; 2];
        let mut of = |photo: usize, position: usize| logits_of(photo, position, &views, &mut rows);
        assert_eq!(of(7, 0), Err("x".to_owned()));
        let error = of(8, 1).unwrap_err();
        assert!(error.contains("was changed while it was read") && error.contains("cut off"), "{error}");
        assert_eq!(of(9, 2), Ok(vec![(0.4, &[3.0, 4.0][..]), (0.6, &[5.0, 6.0][..])]));
    }

    #[test]
    fn a_model_with_a_weight_that_is_not_finite_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let items = Items {
            root: PathBuf::new(),
            task: Task::SingleLabel,
            classes: Classes::default(),
            items: Vec::new(),
        };
        let preprocessing = Preprocessing {
            size: 32,
            framing: ocelli_data::Framing::Crop { fraction: 1.0 },
            filter: ocelli_data::Filter::Bicubic,
            normalization: ocelli_data::Normalization::IMAGENET,
        };
        let contract = Contract::new("efficientnet_lite0", &items, preprocessing, Precision::F32);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut tensors = TensorFile::new("made");
            tensors.insert("conv.weight", vec![2], vec![0.5, -0.5]);
            tensors.insert("head.weight", vec![2, 2], vec![0.5, 1.0, value, 2.0]);
            let path = folder.path().join("model.safetensors");
            save(&path, &contract, &tensors).unwrap();
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
