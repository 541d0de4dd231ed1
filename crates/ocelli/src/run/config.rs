//! The configuration of a run: everything that determines its result, as stored in `config.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ocelli_data::source::table::{TableOptions, is_table};
use ocelli_data::{Augmentation, BadImages, Channels, Filter, Framing, Grouping};
use ocelli_nn::{Arch, Backbone, DeviceName, Precision, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::ImageData;
use crate::data::builder::{HashProgress, ImageDataBuilder};
use crate::data::valid_split::ValidSplit;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::metric::Metric;
use crate::model::training_record::PretrainedWeights;
use crate::pretrained::pretrained_weights;
use crate::processes::ProcessGroup;
use crate::recipe::builder::Preset;
use crate::recipe::logistic::check_loss;
use crate::recipe::{Phase, Recipe};
use crate::run::folder::{RunFolder, moved_data, unsealed};
use crate::train::options::TrainOptions;

/// Everything that determines a run's result, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The folder of photos, or a table of their labels.
    #[serde(with = "ocelli_data::path_text")]
    pub data: PathBuf,
    /// The backbone's name.
    pub arch: String,
    /// A file with the backbone's weights; default: the published ones.
    #[serde(default, with = "ocelli_data::path_text::option", skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The image size in pixels.
    pub size: usize,
    /// Whether size and recipe may be fitted to the photos: images are smaller where a time limit is short, and where all
    /// layers are trained and photos are smaller; and where there are very many photos, heads are trained by gradient
    /// descent instead of by logistic regression. A run's `config.toml` has what was taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fit_to_photos: bool,
    /// The resampling filter.
    pub filter: Filter,
    /// The validation split; default: the data's own, else a fifth of every class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_split: Option<ValidSplit>,
    /// Whether to sample every class equally often.
    pub balanced_sampling: bool,
    /// The precision of activations in the backbone; default: the fastest on this processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Whether the cached features of training images are computed in 8-bit integers, on the CPU:
    /// [`Learner::set_int8_features`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub int8: bool,
    /// The batch size.
    pub batch_size: usize,
    /// The seed of the split, the head, dropout and the order of images.
    pub seed: u64,
    /// What to do with images that cannot be read.
    #[serde(default)]
    pub bad_images: BadImages,
    /// The largest image that is read, in pixels; default: Pillow's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
    /// Which bands of an image are read, and which values are black and white.
    #[serde(default, skip_serializing_if = "Channels::is_usual")]
    pub channels: Channels,
    /// How photos are made square: resize mode and crop.
    pub framing: Framing,
    /// Loss, optimizer and regularization.
    #[serde(default)]
    pub train: TrainOptions,
    /// The metric that chooses the best weights; default: the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// How thresholds of multi-label predictions are tuned.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Early stopping: a fit ends after this many epochs without improvement; default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// The phases of training.
    pub recipe: Recipe,
    /// How a table of labels is read; without it `data` is a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableOptions>,
    /// Whether the names of the folders in `data` are the classes, whatever tables lie beside them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub class_folders: bool,
    /// Which images must stay on the same side of the split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Grouping>,
    /// The augmentation of training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// A table of decisions about labels of training images, from a report.
    #[serde(default, with = "ocelli_data::path_text::option", skip_serializing_if = "Option::is_none")]
    pub decisions: Option<PathBuf>,
}

/// How the thresholds of multi-label predictions are tuned on the validation images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thresholds {
    /// One threshold for all classes, where the metric that chooses the best weights is best.
    #[default]
    One,
    /// One threshold for each class, where its own F is highest: with the metric's beta, if it is an F, else
    /// with 1.
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

impl RunConfig {
    /// The default configuration for a folder of photos: the recipe [`Preset::default`], with its
    /// augmentation.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let (arch, preset) = (Arch::EfficientNetLite0, Preset::default());
        Self {
            data: data.into(),
            arch: arch.to_string(),
            weights: None,
            size: preset.size(arch),
            fit_to_photos: preset == Preset::Auto,
            filter: Filter::Bicubic,
            valid_split: None,
            balanced_sampling: false,
            precision: None,
            int8: false,
            batch_size: 64,
            seed: 0,
            bad_images: BadImages::default(),
            max_pixels: None,
            channels: Channels::default(),
            framing: Framing::Crop { fraction: 1.0 },
            train: TrainOptions::default(),
            metric: None,
            thresholds: Thresholds::default(),
            patience: None,
            recipe: Recipe::preset(preset, preset.size(arch)),
            table: None,
            class_folders: false,
            groups: None,
            augmentation: preset.augmentation(),
            decisions: None,
        }
    }

    /// The folds of a cross-validation; `None` where this is none.
    pub fn folds(&self) -> Option<usize> {
        match self.valid_split {
            Some(ValidSplit::Folds(folds)) => Some(folds),
            _ => None,
        }
    }

    /// The data of this configuration, to be loaded.
    pub fn image_data(&self, threads: usize) -> ImageDataBuilder {
        let mut data = match &self.table {
            Some(options) => ImageData::from_csv(&self.data, options.clone()),
            None => ImageData::from_path(&self.data).class_folders(self.class_folders),
        };
        if let Some(valid_split) = &self.valid_split {
            data = data.valid_split(valid_split.clone());
        }
        if let Some(groups) = &self.groups {
            data = data.groups(groups.clone());
        }
        if let Some(pixels) = self.max_pixels {
            data = data.max_pixels(pixels);
        }
        data = data.channels(self.channels);
        if let Some(augmentation) = &self.augmentation {
            data = data.augmentation(augmentation.clone());
        }
        if let Some(decisions) = &self.decisions {
            data = data.decisions(decisions);
        }
        data.size(self.size)
            .framing(self.framing)
            .filter(self.filter)
            .balanced_sampling(self.balanced_sampling)
            .seed(self.seed)
            .batch_size(self.batch_size)
            .threads(threads)
            .bad_images(self.bad_images)
    }

    /// Checks what can be checked before images are read.
    pub(crate) fn check(&self) -> Result<()> {
        self.recipe.check()?;
        if self.recipe.phases.iter().any(|phase| matches!(phase, Phase::LogisticRegression(_))) {
            check_loss(&self.train.loss)?;
        }
        if let Some(folds) = self.folds().filter(|folds| *folds < 2) {
            return Err(Error::setting("folds", folds, "at least 2"));
        }
        if self.int8 && self.folds().is_some() {
            let expected = "false in cross-validation: each fold would compute features of its own, where floats are shared";
            return Err(Error::setting("int8", true, expected));
        }
        // A custom backbone is not in the registry.
        let Ok(arch) = self.arch.parse::<Arch>() else { return Ok(()) };
        let later = self.recipe.phases.iter().filter_map(|phase| match phase {
            Phase::Resize { size } => Some(*size),
            _ => None,
        });
        for size in later.chain([self.size]) {
            let smallest = arch.info().smallest;
            if size < smallest {
                return Err(Error::ImageSize { arch: arch.to_string(), size, smallest });
            }
        }
        Ok(())
    }

    /// A learner with this configuration on a backbone of the registry, before any training: reads and checks
    /// the images, and builds the network.
    ///
    /// # Errors
    /// For everything that can be known before something is computed.
    pub fn learner(&self, env: &RunEnv) -> Result<Learner> {
        let data = self.image_data(env.threads).hash_progress(env.hash_progress.clone()).load()?;
        let mut learner = self.pretrained(data, env)?.0;
        self.apply(&mut learner, env)?;
        Ok(learner)
    }

    /// A learner with the pretrained weights of the backbone, and the names of the tensors of their file that
    /// it does not use: those of a classifier.
    pub(crate) fn pretrained(&self, data: ImageData, env: &RunEnv) -> Result<(Learner, Vec<String>)> {
        let arch: Arch = self.arch.parse()?;
        // A missing device is reported before weights are looked up.
        env.device.open()?;
        let weights = match &self.weights {
            Some(path) => TensorFile::read(path)?,
            None => pretrained_weights(arch, env.cache.as_deref())?,
        };
        let learner = Learner::with_weights(arch, &weights, data)?;
        let dropped_tensors = arch.dropped_tensors(&weights).into_iter().map(str::to_owned).collect();
        Ok((learner, dropped_tensors))
    }

    /// Which weights a learner of a backbone of the registry starts from.
    pub(crate) fn pretrained_weights(&self) -> PretrainedWeights {
        if self.weights.is_some() { PretrainedWeights::Own } else { PretrainedWeights::Published }
    }

    /// Applies this configuration to a learner.
    pub(crate) fn apply<B: Backbone>(&self, learner: &mut Learner<B>, env: &RunEnv) -> Result<()> {
        if env.device != DeviceName::default() {
            learner.to_device(&env.device.open()?);
        }
        self.train.check(learner.data().classes().len())?;
        learner.set_options(self.train.clone());
        if let Some(precision) = self.precision {
            learner.set_precision(precision);
        }
        learner.set_int8_features(self.int8)?;
        let metric = self.metric.unwrap_or(Metric::usual(learner.data().task()));
        learner.keep_best(Some(metric)).early_stopping(self.patience);
        if let Some(cache) = &env.cache {
            learner.set_cache(cache);
        }
        learner.inputs.processes = env.processes.clone();
        learner.observers.processes = env.processes.clone();
        Ok(())
    }
}

/// Where a run writes its files, and the resources that it uses.
#[derive(Debug, Clone, Default)]
pub struct RunEnv {
    /// The run folder; default: `runs/NAME-N` in the current folder, or, if that is among the photos, beside
    /// theirs.
    pub out: Option<PathBuf>,
    /// The cache folder; without it nothing is cached between runs.
    pub cache: Option<PathBuf>,
    /// The device.
    pub device: DeviceName,
    /// Decoding threads; 0: one per core.
    pub threads: usize,
    /// The command line, for the run folder.
    pub given: String,
    /// Whether TensorBoard's event file is written too. A run that has one continues it.
    pub tensorboard: bool,
    /// The processes that train together; default: this one alone.
    pub processes: ProcessGroup,
    /// What is told of the photos that are read before the run.
    pub hash_progress: HashProgress,
}

/// The content of `config.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) version: String,
    pub(crate) given: String,
    /// The folder that the command ran in, which relative paths of the settings start from.
    #[serde(default, with = "ocelli_data::path_text")]
    pub(crate) directory: PathBuf,
    pub(crate) settings: RunConfig,
}

impl RunConfig {
    /// Reads the settings of a `config.toml`. Relative paths in it start from the folder that the run began
    /// in; they are made absolute if that was not the current folder.
    ///
    /// # Errors
    /// Where it cannot be read, or a setting is missing, unknown or of the wrong type.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Config::read(path.as_ref())?.settings_from_here())
    }

    /// The settings with the photos, or their table, moved: if the table has a folder of photos, the photos
    /// are there, and so is the table, unless it is where it was.
    pub(crate) fn moved(mut self, data: &Path) -> Self {
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

    /// The settings of a run, which must be those that it began with; `began` is their text from a
    /// checkpoint, if there is one.
    ///
    /// # Errors
    /// [`Error::Settings`] where they have been changed, with the differences.
    pub(crate) fn of_run(run: &RunFolder, began: Option<&str>) -> Result<Self> {
        let path = run.config();
        let (text, whole) = run.read_config()?;
        let differences = began.map(|began| differences(&unsealed(text.clone()).0, began));
        match (whole, differences) {
            (true, _) => parse(&text, &path),
            // The same settings in another layout.
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

    /// The settings with paths for the current folder.
    pub(crate) fn settings_from_here(&self) -> RunConfig {
        let mut settings = self.settings.clone();
        if std::env::current_dir().is_ok_and(|here| here == self.directory) {
            return settings;
        }
        let resolve = |path: &mut PathBuf| {
            // If the folder from back then no longer exists, all of it may have been moved here.
            let then = self.directory.join(&*path);
            if then.exists() || !path.exists() {
                *path = then;
            }
        };
        resolve(&mut settings.data);
        settings.weights.as_mut().map(resolve);
        settings.decisions.as_mut().map(resolve);
        settings.table.as_mut().and_then(|table| table.folder.as_mut()).map(resolve);
        if let Some(ValidSplit::File(path)) = &mut settings.valid_split {
            resolve(path);
        }
        settings
    }
}

/// Parses settings; `path` is named in errors.
fn parse(text: &str, path: &Path) -> Result<Config> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
        let prefix = line.map_or_else(String::new, |line| format!("line {line}: "));
        let reason = unknown_setting(error.message()).unwrap_or_else(|| error.message().to_owned());
        Error::Settings { path: path.to_owned(), reason: format!("{prefix}{reason}") }
    })
}

/// What to say of a setting that is not known, from the parser's message, which lists all of its table.
fn unknown_setting(message: &str) -> Option<String> {
    let mut names = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let nearest = names.max_by(|a, b| {
        let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
        likeness(a).total_cmp(&likeness(b))
    })?;
    Some(format!("unknown setting `{unknown}`; the nearest is `{nearest}`"))
}

/// The settings of a text by their names, such as `train.micro_batch`; an error if it cannot be parsed.
pub(crate) fn by_name(text: &str) -> std::result::Result<BTreeMap<String, String>, String> {
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
    let table: toml::Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut all = BTreeMap::new();
    flatten("", &toml::Value::Table(table), &mut all);
    Ok(all)
}

/// The settings that differ between two texts, in words; an error if the first cannot be parsed.
fn differences(now: &str, began: &str) -> std::result::Result<Vec<String>, String> {
    let (now, began) = (by_name(now)?, by_name(began)?);
    let names: BTreeSet<&String> = now.keys().chain(began.keys()).collect();
    let shown = |value: Option<&String>| value.map_or("not there", String::as_str).to_owned();
    Ok(names
        .into_iter()
        .filter(|name| now.get(*name) != began.get(*name))
        .map(|name| format!("{name} is {}, and was {}", shown(now.get(name)), shown(began.get(name))))
        .collect())
}

/// The folder of photos, or of the table, that the run of a model (or in this folder) was trained on; `None`
/// if it is not known.
pub fn photos_of_run(model: impl AsRef<Path>) -> Option<PathBuf> {
    let model = model.as_ref();
    let run = if model.is_dir() { model } else { model.parent()? };
    let text = std::fs::read_to_string(run.join("config.toml")).ok()?;
    let config = toml::from_str::<Config>(&text).ok()?;
    match moved_data(run) {
        Some(data) if data.is_dir() => Some(data),
        _ => Some(folder_of(&config)),
    }
}

fn folder_of(config: &Config) -> PathBuf {
    let data = config.directory.join(&config.settings.data);
    match config.settings.table.as_ref().map(|table| &table.folder) {
        None => data,
        Some(Some(folder)) => config.directory.join(folder),
        Some(None) if data.is_dir() => data,
        Some(None) => data.parent().unwrap_or(&data).to_owned(),
    }
}
