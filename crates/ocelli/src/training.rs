//! A whole run: from settings to a model in a run folder.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ocelli_data::source::csv::CsvOptions;
use ocelli_data::{Augmentation, BadImages, Filter, Framing};
use ocelli_nn::{Arch, DeviceName, Precision, TensorFile};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::optimizer::DEFAULT_WEIGHT_DECAY;
use crate::pull::pretrained_weights;
use crate::{
    Error, HeldOut, ImageData, Learner, Observer, Optimizer, Predictions, Recipe, Result, RunFolder,
};

/// Everything that decides a run's result, and nothing that does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The folder of photos, or a table of their labels.
    pub data: PathBuf,
    /// The backbone's name.
    pub architecture: String,
    /// A file with the backbone's weights; without it the published ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The side in pixels of the images that the network sees.
    pub size: usize,
    /// How a photo is resized.
    pub filter: Filter,
    /// What is held out; without it what the data says, else a fifth of every class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    /// Whether every class is drawn equally often.
    pub balanced: bool,
    /// The precision of the activations in the backbone; without it the fastest of this processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Images a batch.
    pub batch_size: usize,
    /// The seed of the split, the head, dropout and the order of images.
    pub seed: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether images that cannot be decoded end the run.
    pub fail_on_bad_images: bool,
    /// The largest number of pixels of an image that is read; without it Pillow's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
    /// How a photo becomes a square.
    pub framing: Framing,
    /// The rule that moves the weights.
    pub optimizer: Optimizer,
    /// Which layers are trained, for how long, at which rates.
    pub recipe: Recipe,
    /// How a table of labels is read; without it `data` is a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<CsvOptions>,
    /// How images are changed at random where they are not precomputed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
}

impl Settings {
    /// The usual settings for a folder of photos.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let arch = Arch::EfficientNetLite0;
        Self {
            data: data.into(),
            architecture: arch.to_string(),
            weights: None,
            size: arch.info().size,
            filter: Filter::Bicubic,
            held_out: None,
            balanced: false,
            precision: None,
            batch_size: 64,
            seed: 0,
            weight_decay: DEFAULT_WEIGHT_DECAY,
            fail_on_bad_images: false,
            max_pixels: None,
            framing: Framing::Crop { fraction: 1.0 },
            optimizer: Optimizer::SGD,
            recipe: Recipe::default(),
            table: None,
            augmentation: None,
        }
    }

    /// A learner of these settings, before any training: reads and checks the photos, and builds the network.
    ///
    /// # Errors
    /// For everything that can be known before something is computed.
    pub fn learner(&self, places: &Places) -> Result<Learner> {
        let arch: Arch = self.architecture.parse()?;
        let device = places.device.open()?;
        let policy = if self.fail_on_bad_images { BadImages::Fail } else { BadImages::Skip };
        let mut data = match &self.table {
            Some(options) => ImageData::from_csv(&self.data, options.clone()),
            None => ImageData::from_folder(&self.data),
        };
        if let Some(held_out) = &self.held_out {
            data = data.hold_out(held_out.clone());
        }
        if let Some(pixels) = self.max_pixels {
            data = data.max_pixels(pixels);
        }
        if let Some(augmentation) = &self.augmentation {
            data = data.transforms(augmentation.clone());
        }
        let data = data
            .size(self.size)
            .framing(self.framing)
            .filter(self.filter)
            .balanced(self.balanced)
            .seed(self.seed)
            .batch_size(self.batch_size)
            .threads(places.threads)
            .bad_images(policy)
            .load()?;
        let weights = match &self.weights {
            Some(path) => TensorFile::read(path)?,
            None => pretrained_weights(arch, places.cache.as_deref())?,
        };
        let mut learner = Learner::with_weights(arch, &weights, data, self.seed)?;
        if places.device != DeviceName::default() {
            learner.to_device(&device);
        }
        learner.optimizer(self.optimizer.check()?).weight_decay(self.weight_decay);
        if let Some(precision) = self.precision {
            learner.precision(precision);
        }
        if let Some(cache) = &places.cache {
            learner.cache(cache);
        }
        Ok(learner)
    }
}

/// Where a run's files go, and what it works with.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The run folder; without it `runs/NAME-N` in the current folder.
    pub out: Option<PathBuf>,
    /// The cache folder; without it nothing is kept between runs.
    pub cache: Option<PathBuf>,
    /// What computes.
    pub device: DeviceName,
    /// Threads that decode; 0: one for each core.
    pub threads: usize,
    /// The settings as they were given, for the run folder.
    pub given: String,
}

/// A run that is ready to go: the photos are read and checked, the run folder is made.
pub struct Training {
    learner: Learner,
    run: RunFolder,
    recipe: Recipe,
    /// The weights file that was given.
    weights: Option<PathBuf>,
}

/// What `config.toml` holds.
#[derive(Serialize)]
struct Config<'a> {
    version: &'a str,
    given: &'a str,
    settings: &'a Settings,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The validation set at the end.
    pub predictions: Predictions,
    /// The model's file.
    pub model: PathBuf,
    /// Seconds from the first step of the recipe to the written model.
    pub seconds: f64,
}

impl Training {
    /// Reads and checks the photos, builds the network, makes the run folder.
    ///
    /// # Errors
    /// For everything that can be known before something is computed.
    pub fn prepare(settings: &Settings, places: &Places) -> Result<Self> {
        settings.recipe.check()?;
        let mut learner = settings.learner(places)?;
        let run = match &places.out {
            Some(out) => RunFolder::at(out)?,
            None => RunFolder::numbered("runs", &name_of(&settings.data))?,
        };
        let version = env!("CARGO_PKG_VERSION");
        let settings = &Settings { precision: Some(learner.network().precision()), ..settings.clone() };
        run.write_config(&Config { version, given: &places.given, settings })?;
        let data = learner.data();
        data.split().write(data.items(), run.path().join("split.csv"))?;
        let recorder = run.recorder(data.task(), data.skipped())?;
        learner.observe(recorder);
        Ok(Self { learner, run, recipe: settings.recipe, weights: settings.weights.clone() })
    }

    /// Adds a listener.
    pub fn observe(&mut self, observer: impl Observer + 'static) {
        self.learner.observe(observer);
    }

    /// The learner, before the recipe.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The weights file that was given, and its tensors that were left out: those of its classifier.
    pub fn set_aside(&self) -> Option<(&Path, &[String])> {
        self.weights.as_deref().map(|path| (path, self.learner.set_aside()))
    }

    /// The run folder.
    pub fn run_folder(&self) -> &RunFolder {
        &self.run
    }

    /// Performs the recipe and writes the model.
    ///
    /// # Errors
    /// As [`Learner::fit`]. Where an observer asked to stop after an epoch, the model is written all the same.
    pub fn run(&mut self) -> Result<Outcome> {
        let began = Instant::now();
        let model = self.run.model();
        let recipe = self.recipe;
        match recipe.run(&mut self.learner) {
            Ok(predictions) => {
                self.learner.save(&model)?;
                self.learner.tell(&Event::Written { what: "model", path: model.clone() })?;
                Ok(Outcome { predictions, model, seconds: began.elapsed().as_secs_f64() })
            }
            Err(Error::Stopped) if !self.learner.history().is_empty() => {
                self.learner.save(&model)?;
                Err(Error::Stopped)
            }
            Err(error) => Err(error),
        }
    }
}

/// The name of a folder, or of a table's folder, as a part of another's.
fn name_of(folder: &Path) -> String {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let folder = if absolute.is_file() { absolute.parent().unwrap_or(&absolute) } else { &absolute };
    folder.file_name().map_or_else(|| "photos".to_owned(), |name| name.to_string_lossy().into_owned())
}
