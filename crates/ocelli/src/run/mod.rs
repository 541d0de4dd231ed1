//! A whole run: from settings to a model in a run folder.

pub(crate) mod checkpoint;
pub mod finished;
pub(crate) mod folder;
pub(crate) mod perform;
pub mod review;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use ocelli_data::source::table::{TableOptions, is_table};
use ocelli_data::{Augmentation, BadImages, Channels, Filter, Framing, Grouping, Task as Labels};
use ocelli_nn::{Arch, DeviceName, Precision, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::photos::outside;
use crate::data::recorded::{self, Recorded};
use crate::data::{HeldOut, ImageData, ImageDataBuilder};
use crate::error::{Error, Result};
use crate::event::{Event, Finished, Observer};
use crate::interpret::Interpretation;
use crate::learner::Learner;
use crate::metric::predictions::Predictions;
use crate::metric::{Metric, MetricEstimate};
use crate::model::submission::ProbabilityClip;
use crate::pretrained::pretrained_weights;
use crate::recipe::builder::Preset;
use crate::recipe::{Phase, Recipe};
use crate::run::checkpoint::{Checkpoint, Checkpoints};
use crate::run::folder::{RunFolder, Wholeness, unsealed};
use crate::train::options::Method;

/// Everything that decides a run's result, and nothing that does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The folder of photos, or a table of their labels.
    #[serde(with = "ocelli_data::path_text")]
    pub data: PathBuf,
    /// The backbone's name.
    pub architecture: String,
    /// A file with the backbone's weights; without it the published ones.
    #[serde(default, with = "ocelli_data::path_text::option", skip_serializing_if = "Option::is_none")]
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
    /// What is done about images that cannot be read.
    #[serde(default)]
    pub bad_images: BadImages,
    /// The largest number of pixels of an image that is read; without it Pillow's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
    /// Which bands of an image are read, and which values are black and white.
    #[serde(default, skip_serializing_if = "Channels::is_usual")]
    pub channels: Channels,
    /// How a photo becomes a square.
    pub framing: Framing,
    /// How weights move: loss, optimizer, regularisers.
    #[serde(default)]
    pub method: Method,
    /// Whether the backbone's batch norms keep their running statistics while they are trained: see
    /// [`Learner::bn_freeze`].
    pub bn_freeze: bool,
    /// By which metric the best weights are kept; without it by the task's usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// From which probability on an image has a class, where it may have several.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// A stage ends after so many epochs without a better one; without it, when its epochs are over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Which layers are trained, for how long, at which rates.
    pub recipe: Recipe,
    /// How a table of labels is read; without it `data` is a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableOptions>,
    /// What says which images belong together, and so on one side of the split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Grouping>,
    /// How images are changed at random where they are not precomputed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// A table of what people have decided about labels of training images.
    #[serde(default, with = "ocelli_data::path_text::option", skip_serializing_if = "Option::is_none")]
    pub decisions: Option<PathBuf>,
}

/// From which probability on an image is said to have a class, where it may have several: tuned on the held-out images
/// to the metric by which the best weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thresholds {
    /// One for all classes, at which the metric is best.
    #[default]
    One,
    /// One for each class, at which its own F is highest: by the metric's beta, if it is an F, else by 1.
    PerClass,
}

impl Thresholds {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] =
        &[("one", "One threshold for all classes"), ("per-class", "A threshold for each class")];
}

impl FromStr for Thresholds {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "one" => Ok(Self::One),
            "per-class" => Ok(Self::PerClass),
            _ => Err(Error::Setting {
                name: "thresholds",
                value: name.to_owned(),
                expected: "one or per-class",
            }),
        }
    }
}

impl Settings {
    /// The usual settings for a folder of photos: the recipe [`Preset::default`], with its augmentation.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let (arch, preset) = (Arch::EfficientNetLite0, Preset::default());
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
            bad_images: BadImages::default(),
            max_pixels: None,
            channels: Channels::default(),
            framing: Framing::Crop { fraction: 1.0 },
            method: Method::default(),
            bn_freeze: true,
            metric: None,
            thresholds: Thresholds::default(),
            patience: None,
            recipe: Recipe::preset(preset, arch.info().size),
            table: None,
            groups: None,
            augmentation: preset.augmentation(),
            decisions: None,
        }
    }

    /// The photos that the settings tell of, to be loaded.
    pub fn image_data(&self, threads: usize) -> ImageDataBuilder {
        let mut data = match &self.table {
            Some(options) => ImageData::from_csv(&self.data, options.clone()),
            None => ImageData::from_path(&self.data),
        };
        if let Some(held_out) = &self.held_out {
            data = data.hold_out(held_out.clone());
        }
        if let Some(groups) = &self.groups {
            data = data.groups(groups.clone());
        }
        if let Some(pixels) = self.max_pixels {
            data = data.max_pixels(pixels);
        }
        data = data.channels(self.channels);
        if let Some(augmentation) = &self.augmentation {
            data = data.transforms(augmentation.clone());
        }
        if let Some(decisions) = &self.decisions {
            data = data.decisions(decisions);
        }
        data.size(self.size)
            .framing(self.framing)
            .filter(self.filter)
            .balanced(self.balanced)
            .seed(self.seed)
            .batch_size(self.batch_size)
            .threads(threads)
            .bad_images(self.bad_images)
    }

    /// What can be known to be wrong before photos are looked at.
    fn check(&self) -> Result<()> {
        self.recipe.check()?;
        let arch: Arch = self.architecture.parse()?;
        let later = self.recipe.phases.iter().filter_map(|phase| match phase {
            Phase::Resize { size } => Some(*size),
            _ => None,
        });
        for size in later.chain([self.size]) {
            let smallest = arch.info().smallest;
            if size < smallest {
                return Err(Error::ImageSize { architecture: arch.to_string(), size, smallest });
            }
        }
        Ok(())
    }

    /// A learner of these settings, before any training: reads and checks the photos, and builds the network.
    ///
    /// # Errors
    /// For everything that can be known before something is computed.
    pub fn learner(&self, places: &Places) -> Result<Learner> {
        self.learner_on(self.image_data(places.threads).load()?, places)
    }

    /// As [`learner`](Self::learner), on photos that have been read already.
    pub(crate) fn learner_on(&self, data: ImageData, places: &Places) -> Result<Learner> {
        let arch: Arch = self.architecture.parse()?;
        let device = places.device.open()?;
        let weights = match &self.weights {
            Some(path) => TensorFile::read(path)?,
            None => pretrained_weights(arch, places.cache.as_deref())?,
        };
        let mut learner = Learner::with_weights(arch, &weights, data, self.seed)?;
        if places.device != DeviceName::default() {
            learner.to_device(&device);
        }
        self.method.check(learner.data().classes().len())?;
        learner.method(self.method.clone()).bn_freeze(self.bn_freeze);
        if let Some(precision) = self.precision {
            learner.precision(precision);
        }
        let metric = self.metric.unwrap_or(Metric::usual(learner.data().task()));
        learner.keep_best(Some(metric)).early_stopping(self.patience);
        if let Some(cache) = &places.cache {
            learner.cache(cache);
        }
        Ok(learner)
    }
}

/// Where a run's files go, and what it works with.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The run folder; without it `runs/NAME-N` in the current folder, or, where that is among the photos, beside theirs.
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
    settings: Settings,
    /// What is to be said as soon as somebody listens.
    notices: Vec<String>,
}

/// What `config.toml` holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) version: String,
    pub(crate) given: String,
    /// Where the command ran: relative paths of the settings begin here.
    #[serde(default, with = "ocelli_data::path_text")]
    pub(crate) directory: PathBuf,
    pub(crate) settings: Settings,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The validation set at the end, as the model predicts it.
    pub predictions: Predictions,
    /// The same with test-time augmentation, where the recipe ends with it.
    pub augmented: Option<Predictions>,
    /// What the best weights were kept by.
    pub metric: Metric,
    /// From which probability on the model says that an image has each class, where it may have several.
    pub thresholds: Option<Vec<f32>>,
    /// The model's file.
    pub model: PathBuf,
    /// Seconds from the first step of the recipe to the written model, over all attempts.
    pub seconds: f64,
}

/// What is different where a run is resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Where the photos are now, or the table of their labels; without it where they were.
    pub data: Option<PathBuf>,
    /// Whether the run goes on without the photos that have gone or changed since it began, or whose labels have; else
    /// it is refused.
    pub without_changed: bool,
}

impl Settings {
    /// Reads the settings of a run's `config.toml`, or a file like it. Relative paths in it are meant from where the run
    /// was begun; they are absolute in what is given, where that was another folder than the current one.
    ///
    /// # Errors
    /// Where it cannot be read, or a setting is missing, unknown or of another kind.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Config::read(path.as_ref())?.settings_from_here())
    }

    /// The settings with the photos, or their table, at another place: where that of a table is a folder, the photos are
    /// there, and so is the table, unless it is where it was.
    fn moved(mut self, data: &Path) -> Self {
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        match &mut self.table {
            Some(_) if data.is_file() => self.data = data,
            // The table was found in the folder of photos, and has moved with it.
            Some(table) if table.folder.is_none() && !is_table(&self.data) && data.is_dir() => {
                self.data = data;
            }
            Some(table) => {
                let beside = self.data.file_name().map(|name| data.join(name)).filter(|path| path.is_file());
                if let Some(beside) = beside.filter(|_| table.folder.is_none() || !self.data.is_file()) {
                    self.data = beside;
                }
                if table.folder.is_some() || !self.data.starts_with(&data) {
                    table.folder = Some(data);
                }
            }
            None => self.data = data,
        }
        self
    }
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        parse(&text, path)
    }

    /// The settings of a run's folder, which must be those that it began with; `began`: their text, where a checkpoint
    /// has it too.
    ///
    /// # Errors
    /// [`Error::Settings`] where they have been changed, with what differs.
    pub(crate) fn of_run(run: &RunFolder, began: Option<&str>) -> Result<Self> {
        let path = run.config();
        let (text, whole) = run.read_config()?;
        let differences = began.map(|began| differences(&unsealed(text.clone()).0, began));
        match (whole, differences) {
            (true, _) => parse(&text, &path),
            // Another layout of the same.
            (false, Some(Ok(differences))) if differences.is_empty() => parse(&text, &path),
            (false, differences) => {
                let what = match differences {
                    Some(Ok(differences)) => differences.join("; "),
                    Some(Err(error)) => error,
                    None => "its last line holds the digest of another text".to_owned(),
                };
                let reason = format!(
                    "has been changed since the run began, or is damaged: {what}; put it back as it was to go on, or \
                     begin another run with it"
                );
                Err(Error::Settings { path, reason })
            }
        }
    }

    /// The settings, for a process that may run in another folder than the run was begun in.
    fn settings_from_here(&self) -> Settings {
        let mut settings = self.settings.clone();
        if std::env::current_dir().is_ok_and(|here| here == self.directory) {
            return settings;
        }
        let resolve = |path: &mut PathBuf| {
            // Where the folder of then is not there any more, all of it may have been moved here.
            let then = self.directory.join(&*path);
            if then.exists() || !path.exists() {
                *path = then;
            }
        };
        resolve(&mut settings.data);
        settings.weights.as_mut().map(resolve);
        settings.decisions.as_mut().map(resolve);
        settings.table.as_mut().and_then(|table| table.folder.as_mut()).map(resolve);
        if let Some(HeldOut::File(path)) = &mut settings.held_out {
            resolve(path);
        }
        settings
    }
}

/// The settings that a text holds; `path` is named in errors.
fn parse(text: &str, path: &Path) -> Result<Config> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
        let place = line.map_or_else(String::new, |line| format!("line {line}: "));
        Error::Settings { path: path.to_owned(), reason: format!("{place}{}", error.message()) }
    })
}

/// Which settings differ between two texts, in words; an error where the first is no text of settings.
fn differences(now: &str, began: &str) -> std::result::Result<Vec<String>, String> {
    fn flatten(name: &str, value: &toml::Value, all: &mut BTreeMap<String, String>) {
        let inner = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        match value {
            toml::Value::Table(table) => {
                table.iter().for_each(|(key, value)| flatten(&inner(key), value, all));
            }
            toml::Value::Array(values) => {
                values
                    .iter()
                    .enumerate()
                    .for_each(|(at, value)| flatten(&inner(&at.to_string()), value, all));
            }
            value => {
                all.insert(name.to_owned(), value.to_string());
            }
        }
    }
    let settings = |text: &str| {
        let table: toml::Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let mut all = BTreeMap::new();
        flatten("", &toml::Value::Table(table), &mut all);
        Ok::<_, String>(all)
    };
    let (now, began) = (settings(now)?, settings(began)?);
    let names: BTreeSet<&String> = now.keys().chain(began.keys()).collect();
    let said = |value: Option<&String>| value.map_or("not there", String::as_str).to_owned();
    Ok(names
        .into_iter()
        .filter(|name| now.get(*name) != began.get(*name))
        .map(|name| format!("{name} is {}, and was {}", said(now.get(name)), said(began.get(name))))
        .collect())
}

impl Training {
    /// Reads and checks the photos, builds the network, makes the run folder.
    ///
    /// # Errors
    /// For everything that can be known before something is computed.
    pub fn prepare(settings: &Settings, places: &Places) -> Result<Self> {
        settings.check()?;
        let mut learner = settings.learner(places)?;
        learner.check_memory(&settings.recipe)?;
        let mut notices = Vec::new();
        let run = match &places.out {
            Some(out) => RunFolder::at(out)?,
            None => {
                let (runs, elsewhere) = outside("runs", &learner.data().folders())?;
                notices.extend(elsewhere);
                RunFolder::numbered(runs, &name_of(&settings.data))?
            }
        };
        let run = run.locked()?;
        if run.config().exists() {
            // Another process was quicker.
            return Err(Error::RunExists { path: run.path().to_owned() });
        }
        run.sweep();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let settings = &Settings { precision: Some(learner.network().precision()), ..settings.clone() };
        let directory = std::env::current_dir().unwrap_or_default();
        let config = run.write_config(&Config {
            version,
            given: places.given.clone(),
            directory,
            settings: settings.clone(),
        })?;
        learner.data().write_record(run.path())?;
        run.write_split(learner.data())?;
        let recorder = run.recorder(&[], learner.data().skipped())?;
        learner.observe(recorder);
        learner.checkpoints = Some(Checkpoints::new(run.checkpoints(), config));
        Ok(Self { learner, run, settings: settings.clone(), notices })
    }

    /// As [`prepare`](Self::prepare), for the run of that folder, which was interrupted: it goes on from its last
    /// checkpoint, and comes to the same rows and the same model, to the bit, as if it had not been. The photos are looked
    /// for where they were when the run was begun, or where they have been moved. Photos that have come since are no part
    /// of it. With [`Places::out`] the run is copied there, and goes on in the copy.
    ///
    /// # Errors
    /// [`Error::Finished`] where there is nothing left to do; [`Error::RunBusy`] where another process is at work on the
    /// run; [`Error::Settings`] where its settings were changed; [`Error::PhotosChanged`] where photos are not what they
    /// were, unless it is to go on without them, and then comes to another result. Files of the run that are damaged or
    /// missing are made again.
    pub fn resume(run: &Path, places: &Places, moved: &Moved) -> Result<Self> {
        let mut run = RunFolder::open(run)?;
        if places.out.is_none() {
            run = run.locked()?;
        }
        let mut notices = Vec::new();
        match run.wholeness()? {
            Wholeness::Whole => {
                return Err(Error::Finished { path: run.path().to_owned(), model: run.model() });
            }
            Wholeness::Unfinished => {}
            Wholeness::Damaged(paths) => notices.extend(paths.into_iter().map(|path| {
                format!("{} is missing, or not as the run wrote it; it is made again", path.display())
            })),
        }
        if places.out.is_none() {
            run.sweep();
        }
        let mut last = Checkpoint::last(&run.checkpoints())?;
        let config = Config::of_run(&run, last.checkpoint.as_ref().map(Checkpoint::config))?;
        let mut settings = config.settings_from_here();
        if let Some(data) = &moved.data {
            settings = settings.moved(data);
        }
        // A process that was killed before it had recorded its photos had done nothing with them.
        let is_new = last.checkpoint.is_none() && !run.path().join(recorded::FILE).exists();
        let mut data = settings.image_data(places.threads);
        let mut began_with = 0;
        if !is_new {
            let recorded = Recorded::read(run.path(), moved.without_changed)?;
            began_with = recorded.len();
            data = data.recorded(recorded);
        }
        let data = data.load()?;
        let fewer = data.items().len() < began_with;
        let mut learner = settings.learner_on(data, places)?;
        if let Some(out) = &places.out {
            run = run.copy_to(out)?.locked()?;
            last = Checkpoint::last(&run.checkpoints())?;
        }
        let checkpoint = last.checkpoint.take();
        notices.extend(last.damaged.iter().map(Error::to_string));
        match &checkpoint {
            _ if last.damaged.is_empty() => {}
            Some(checkpoint) => notices.push(format!(
                "the checkpoint before it is gone on from, {}, which is whole",
                checkpoint.path().display()
            )),
            None => notices.push("no whole checkpoint is left, so the run begins anew".to_owned()),
        }
        let text = match run.read_config()? {
            (text, true) => text,
            // The same settings in another layout: from now on, in this one.
            (_, false) => run.write_config(&config)?,
        };
        if is_new {
            learner.data().write_record(run.path())?;
        }
        let history = checkpoint.as_ref().map(|checkpoint| checkpoint.history().to_vec()).unwrap_or_default();
        if let Some(checkpoint) = checkpoint {
            notices.extend(learner.return_to_checkpoint(checkpoint, !fewer)?);
            // What test-time augmentation came to is in no checkpoint.
            let phases = &settings.recipe.phases;
            let done = learner.performance.done.min(phases.len());
            if done > 0 && learner.unfinished.is_none() && matches!(phases[done - 1], Phase::Tta(_)) {
                learner.performance.done = done - 1;
            }
        } else {
            learner.checkpoints = Some(Checkpoints::new(run.checkpoints(), text).after_damaged(&last));
        }
        run.write_split(learner.data())?;
        let recorder = run.recorder(&history, learner.data().skipped())?;
        learner.observe(recorder);
        learner.check_memory(&settings.recipe)?;
        if fewer {
            // From here on the run is one of the photos that are left.
            let fit = learner.unfinished.take();
            learner.write_checkpoint(fit.as_ref())?;
            learner.unfinished = fit;
            learner.data().write_record(run.path())?;
        }
        Ok(Self { learner, run, settings, notices })
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
        self.settings.weights.as_deref().map(|path| (path, self.learner.set_aside()))
    }

    /// The run folder.
    pub fn run_folder(&self) -> &RunFolder {
        &self.run
    }

    /// What is to be done.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether there is a checkpoint to go on from.
    pub fn has_checkpoint(&self) -> bool {
        Checkpoint::exists(&self.run.checkpoints())
    }

    /// Performs the recipe, or what is left of it, and writes the model.
    ///
    /// # Errors
    /// As [`Learner::fit`]. Where an observer asked to stop, a checkpoint is written first. Whatever the error is, the
    /// last checkpoint is whole, and [`resume`](Self::resume) goes on from it.
    pub fn run(&mut self) -> Result<Outcome> {
        let learner = &mut self.learner;
        learner.clock = Instant::now();
        let (data, classes) = (learner.data(), learner.data().class_counts());
        let (train, valid, origin) = (data.train_len(), data.valid_len(), data.split_origin());
        learner.tell(&Event::Data { classes, train, valid, origin })?;
        for text in self.notices.drain(..) {
            learner.tell(&Event::Notice { text })?;
        }
        if let Some(fit) = &learner.unfinished {
            let epochs = (fit.epoch, fit.schedule.epochs());
            learner.tell(&Event::Resumed { stage: learner.fits, epochs })?;
        }
        let performed = match learner.go_on(&self.settings.recipe) {
            Err(Error::Stopped) => {
                let fit = learner.unfinished.take();
                learner.write_checkpoint(fit.as_ref())?;
                learner.unfinished = fit;
                return Err(Error::Stopped);
            }
            performed => performed?,
        };
        let metric = learner.keeping.unwrap_or(Metric::usual(learner.data().task()));
        let tta = self.settings.recipe.phases.iter().rev().find_map(|phase| match phase {
            Phase::Tta(tta) => Some(tta.mean),
            _ => None,
        });
        let mut predictions = performed.predictions;
        let mut augmented = performed.views.zip(tta).map(|(views, mean)| views.mean(mean));
        let mut thresholds = None;
        if learner.data().task() == Labels::MultiLabel && !predictions.items.is_empty() {
            let tuned = match (self.settings.thresholds, metric) {
                (Thresholds::One, _) => vec![predictions.best_threshold(metric); predictions.classes],
                (Thresholds::PerClass, Metric::F(beta, _)) => predictions.best_thresholds(beta),
                (Thresholds::PerClass, _) => predictions.best_thresholds(1.0),
            };
            learner.thresholds(tuned.clone())?;
            for predictions in augmented.iter_mut().chain([&mut predictions]) {
                predictions.thresholds.clone_from(&tuned);
            }
            thresholds = Some(tuned);
        }
        learner.clip = ProbabilityClip::chosen_on(&predictions);
        let best = learner.best_of_all().map(|(row, _)| (row.stage, row.epoch));
        let finished = Finished {
            seconds: learner.performance.seconds + learner.clock.elapsed().as_secs_f64(),
            metric,
            kept: best,
            size: learner.data().size(),
            augmented: augmented.as_ref().map_or_else(Vec::new, |augmented| measures(augmented, metric)),
        };
        learner.tell(&Event::Finished(finished))?;
        let model = self.run.model();
        learner.calibrate(&predictions);
        learner.save(&model)?;
        learner.tell(&Event::Written { what: "model", path: model.clone() })?;
        Interpretation::new(predictions.clone(), learner.data().items()).write_csv(self.run.predictions())?;
        self.run.finish()?;
        let seconds = learner.performance.seconds + learner.clock.elapsed().as_secs_f64();
        Ok(Outcome { predictions, augmented, metric, thresholds, model, seconds })
    }
}

/// What people are told of predictions: the metric by which the best is kept, then what is usual.
fn measures(predictions: &Predictions, metric: Metric) -> Vec<MetricEstimate> {
    if predictions.items.is_empty() {
        return Vec::new();
    }
    let usual = match predictions.task {
        Labels::SingleLabel => [Metric::Accuracy, Metric::LogLoss],
        Labels::MultiLabel => [Metric::usual(Labels::MultiLabel), Metric::LabelAccuracy],
    };
    let metrics = (!usual.contains(&metric)).then_some(metric).into_iter().chain(usual);
    metrics.map(|metric| predictions.estimate(metric)).collect()
}

/// The name of a folder, or of a table's folder, as a part of another's.
fn name_of(folder: &Path) -> String {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let folder = if absolute.is_file() { absolute.parent().unwrap_or(&absolute) } else { &absolute };
    folder.file_name().map_or_else(|| "photos".to_owned(), ocelli_data::text_of)
}
