//! The configuration of a run: everything that decides its result, as `config.toml` holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ocelli_data::source::table::{TableOptions, is_table};
use ocelli_data::{Augmentation, BadImages, Channels, Filter, Framing, Grouping};
use ocelli_nn::{Arch, Backbone, DeviceName, Precision, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::ImageData;
use crate::data::builder::ImageDataBuilder;
use crate::data::held_out::HeldOut;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::metric::Metric;
use crate::pretrained::pretrained_weights;
use crate::recipe::builder::Preset;
use crate::recipe::{Phase, Recipe};
use crate::run::folder::{RunFolder, moved_data, unsealed};
use crate::train::options::TrainOptions;

/// Everything that decides a run's result, and nothing that does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
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
    pub train: TrainOptions,
    /// By which metric the best weights are kept; without it by the task's usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// From which probability on an image has a class, where it may have several.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// A fit ends after so many epochs without a better one; without it, when its epochs are over.
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

impl RunConfig {
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
            train: TrainOptions::default(),
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
            data = data.augmentation(augmentation.clone());
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
    pub(crate) fn check(&self) -> Result<()> {
        self.recipe.check()?;
        // Of a backbone of the user's own nothing is known.
        let Ok(arch) = self.architecture.parse::<Arch>() else { return Ok(()) };
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

    /// A learner of these settings on a backbone of the registry, before any training: reads and checks the photos, and
    /// builds the network.
    ///
    /// # Errors
    /// For everything that can be known before something is computed.
    pub fn learner(&self, places: &RunEnv) -> Result<Learner> {
        let data = self.image_data(places.threads).load()?;
        let mut learner = self.pretrained(data, places)?.0;
        self.apply(&mut learner, places)?;
        Ok(learner)
    }

    /// A learner with the pretrained weights of the backbone, and the names of the tensors of their file that it has no
    /// use for: those of a classifier.
    pub(crate) fn pretrained(&self, data: ImageData, places: &RunEnv) -> Result<(Learner, Vec<String>)> {
        let arch: Arch = self.architecture.parse()?;
        // A device that is not there is said before weights are looked for.
        places.device.open()?;
        let weights = match &self.weights {
            Some(path) => TensorFile::read(path)?,
            None => pretrained_weights(arch, places.cache.as_deref())?,
        };
        let learner = Learner::with_weights(arch, &weights, data)?;
        let dropped_tensors = arch.dropped_tensors(&weights).into_iter().map(str::to_owned).collect();
        Ok((learner, dropped_tensors))
    }

    /// Makes a learner train as these settings say.
    pub(crate) fn apply<B: Backbone>(&self, learner: &mut Learner<B>, places: &RunEnv) -> Result<()> {
        if places.device != DeviceName::default() {
            learner.to_device(&places.device.open()?);
        }
        self.train.check(learner.data().classes().len())?;
        learner.set_options(self.train.clone());
        if let Some(precision) = self.precision {
            learner.set_precision(precision);
        }
        let metric = self.metric.unwrap_or(Metric::usual(learner.data().task()));
        learner.keep_best(Some(metric)).early_stopping(self.patience);
        if let Some(cache) = &places.cache {
            learner.set_cache(cache);
        }
        Ok(())
    }
}

/// Where a run's files go, and what it works with.
#[derive(Debug, Clone, Default)]
pub struct RunEnv {
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

/// What `config.toml` holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) version: String,
    pub(crate) given: String,
    /// Where the command ran: relative paths of the settings begin here.
    #[serde(default, with = "ocelli_data::path_text")]
    pub(crate) directory: PathBuf,
    pub(crate) settings: RunConfig,
}

impl RunConfig {
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
    pub(crate) fn settings_from_here(&self) -> RunConfig {
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

/// The folder of photos that the run of a model, or that in this folder, was trained on, or the folder of its table;
/// `None` where nothing tells.
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
