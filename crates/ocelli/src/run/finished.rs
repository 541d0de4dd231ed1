//! A finished run, read from its folder: what reports and comparisons are made of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ocelli_data::{Items, Target, files, unescape_formula};
use ocelli_nn::{Backbone, GROUPS};
use serde::Deserialize;
use serde_json::Value;

use crate::data::builder::ImageDataBuilder;
use crate::data::of_run::{MissingImages, RunImages};
use crate::data::recorded::Recorded;
use crate::data::{ClassCount, ImageData};
use crate::error::{Error, Result};
use crate::interpret::{Comparison, DigestsById, Interpretation};
use crate::learner::Learner;
use crate::lr_finder::curve::LrCurve;
use crate::lr_finder::suggest::CurveShape;
use crate::metric::Metric;
use crate::metric::choice::CorrectedEstimate;
use crate::model::Model;
use crate::model::config::{self, ModelConfig};
use crate::paths::{CONFIG, MODEL};
use crate::recipe::freezing::{Freezing, GROUP_NAMES};
use crate::recipe::{Phase, TrainPhase};
use crate::run::config::{Config, RunConfig};
use crate::run::folder::{RunFolder, event_of, moved_data};
use crate::schedule::Schedule;
use crate::schedule::learning_rates::LearningRates;
use crate::stop::Stop;
use crate::train::fit::batches_per_epoch;

/// A finished run, as its folder records it.
pub struct FinishedRun {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The folder that relative paths of the settings start from.
    directory: PathBuf,
    /// The version of Ocelli that wrote it.
    pub version: String,
    /// The command that started it.
    pub given: String,
    /// All settings.
    pub settings: RunConfig,
    /// The phases that trained, in their order.
    pub phases: Vec<PhaseRecord>,
    /// Columns and rows of `history.csv`.
    pub history: (Vec<String>, Vec<Vec<String>>),
    /// Runs of the learning rate finder.
    pub searches: Vec<SearchRecord>,
    /// Rows of `skipped.csv`: path and reason.
    pub skipped: Vec<Vec<String>>,
    /// Notices that were printed.
    pub notices: Vec<String>,
    /// Seconds spent on computing features.
    pub features: f64,
    /// Images whose features were computed.
    pub computed: u64,
    /// Seconds spent in the learning rate finder.
    pub searching: f64,
    /// Seconds spent on resizing images once for all epochs.
    pub resizing: f64,
    /// Seconds spent on test-time augmentation.
    pub viewing: f64,
    /// Seconds of resizing that the learning rate finder's contain.
    resizing_within: f64,
    /// The folds of a cross-validation.
    pub folds: Vec<FoldRecord>,
    /// The data.
    pub data: Option<DataRecord>,
    /// The result.
    pub finished: Option<ResultRecord>,
}

/// The data of a run, and its split.
#[derive(Deserialize)]
pub struct DataRecord {
    /// Images of each class.
    pub classes: Vec<ClassCount>,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub valid: usize,
    /// Where the split comes from, for people.
    pub origin: String,
}

/// The result of a run.
#[derive(Deserialize)]
pub struct ResultRecord {
    /// Seconds from the first phase to the written model.
    pub seconds: f64,
    /// Phase and epoch of the model's weights.
    pub best: Option<(usize, usize)>,
    /// The image size of the model, in pixels.
    pub size: usize,
    /// The metric that chose the best weights, corrected for the choice.
    pub corrected: Option<CorrectedEstimate>,
    /// Metrics with test-time augmentation.
    #[serde(default)]
    pub augmented: Vec<EstimateRecord>,
}

/// A fold of a cross-validation.
#[derive(Deserialize)]
pub struct FoldRecord {
    /// Counted from 1.
    pub fold: usize,
    /// The images that its model was evaluated on.
    pub images: usize,
    /// Metrics on them.
    pub metrics: Vec<EstimateRecord>,
}

/// A metric with its 95 % confidence interval; NaN is `None`.
#[derive(Deserialize)]
pub struct EstimateRecord {
    /// The metric.
    pub metric: Metric,
    /// Its value.
    pub value: Option<f64>,
    /// Its 95 % interval.
    pub interval: (Option<f64>, Option<f64>),
}

/// One phase of a run that trained.
pub struct PhaseRecord {
    /// Its number in the recipe, from 1.
    pub number: usize,
    /// "head, cached features"
    pub title: String,
    /// "5 epochs at learning rate 3.5e-2"
    pub text: String,
    /// The diagnosis of its fit, line by line.
    pub diagnosis: Vec<String>,
    /// The number of frozen layer groups.
    pub frozen: usize,
    /// The peak learning rates.
    pub learning_rates: LearningRates,
}

/// One run of the learning rate finder.
#[derive(Deserialize)]
pub struct SearchRecord {
    /// The phase that it was for.
    pub fit: usize,
    /// The learning rates that were used.
    pub learning_rates: LearningRates,
    /// The shape of the curve; `None` where it supports no learning rate.
    pub shape: Option<CurveShape>,
    /// Why it supports none.
    pub reason: Option<String>,
    /// Learning rates and losses.
    pub curve: LrCurve,
}

/// The learning rates of some steps of a run.
pub struct RateCurve {
    /// The layer group, or all of them.
    pub name: &'static str,
    /// Epochs since the start, and the learning rate; `None` where the group is frozen.
    pub points: Vec<(f64, Option<f64>)>,
}

/// Points of a curve of learning rates, approximately.
const RATE_POINTS: usize = 600;
/// More steps than an epoch has, whatever number of images the events claim.
const MOST_STEPS: usize = 1 << 32;
/// Steps of an epoch among which its highest learning rate is searched.
const RATES_OF_AN_EPOCH: usize = 64;

impl FinishedRun {
    /// Opens a finished run; `run` is its folder, or the model in it.
    ///
    /// # Errors
    /// [`Error::NotARun`] where there is none, [`Error::NotFinished`] where it is not finished,
    /// [`Error::DamagedResult`] where a file is not as the run wrote it.
    pub fn open(run: impl Into<PathBuf>) -> Result<Self> {
        Self::read(RunFolder::open(run)?.path())
    }

    /// The run of a model, given the model's file or the folder of its run; `None` where the file is alone.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_model(model: impl AsRef<Path>) -> Result<Option<Self>> {
        let model = model.as_ref();
        let folder = if model.is_dir() { Some(model) } else { model.parent() };
        let is_run = |folder: &&Path| folder.join(CONFIG).is_file() && folder.join(MODEL).is_file();
        folder.filter(is_run).map(Self::open).transpose()
    }

    /// The training photos of the run that are still where they were.
    ///
    /// # Errors
    /// As [`predictions`](Self::predictions) and [`images`](Self::images).
    pub(crate) fn training_photos(&self) -> Result<TrainingPhotos> {
        let mut predictions = self.predictions()?;
        let (images, lost) = self.images(&mut predictions, None, 0, &Stop::default())?;
        let photos = self.existing_training_photos(&images);
        let mut gone = lost.ids();
        if self.folds.is_empty() {
            predictions.ids.iter().for_each(|id| _ = gone.remove(id.as_str()));
        }
        let trouble = lost.trouble.first().cloned();
        Ok(TrainingPhotos { photos, missing: gone.len(), trouble })
    }

    /// The training photos that are there. After a cross-validation all images were predicted, and the model trained on them.
    pub(crate) fn existing_training_photos(&self, images: &ImageData) -> Vec<PathBuf> {
        let (items, split) = (images.items(), images.split());
        let trained = if self.folds.is_empty() { &split.train } else { &split.valid };
        let photos = trained.iter().map(|&item| items.items[item].path.clone());
        photos.filter(|path| path.is_file()).collect()
    }

    /// The run's model.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn model(&self) -> Result<Model> {
        Model::load(self.folder.join("model.safetensors"))
    }

    /// The configuration of the run's model, whatever its network.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn model_config(&self) -> Result<ModelConfig> {
        Ok(config::read(&self.folder.join("model.safetensors"))?.0)
    }

    /// The run's model, for a custom backbone or head: `learner` makes a new learner of the run's settings
    /// and photos, as it did for [`Run::prepare_with`](crate::Run::prepare_with); its weights are replaced.
    ///
    /// # Errors
    /// As [`Model::load_into`], and whatever `learner` gives.
    pub fn model_with<B: Backbone>(
        &self,
        data: &ImageData,
        learner: impl FnOnce(&RunConfig, ImageData) -> Result<Learner<B>>,
    ) -> Result<Model<B>> {
        let learner = learner(&self.settings_for_training(), data.clone())?;
        Model::load_into(self.folder.join("model.safetensors"), learner.network().copy())
    }

    /// The model's predictions for the validation images; in a cross-validation those of the folds' models for all images.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn predictions(&self) -> Result<Interpretation> {
        Interpretation::read_csv(self.folder.join("predictions.csv"), "")
    }

    /// As [`predictions`](Self::predictions), with the model's thresholds: they say which classes an image of several
    /// has.
    ///
    /// # Errors
    /// Where they or the model cannot be read.
    pub fn labelled_predictions(&self) -> Result<Interpretation> {
        let mut named = self.predictions()?;
        named.predictions.set_thresholds(self.model_config()?.thresholds());
        Ok(named)
    }

    /// Compares with another run on the images that both were evaluated on.
    ///
    /// # Errors
    /// [`Error::NotComparable`] where the classes differ, no image is in both, or an image has different labels.
    pub fn compare(&self, other: &Self) -> Result<Comparison> {
        let (one, two) = (self.labelled_predictions()?, other.labelled_predictions()?);
        let compared = one.compare_files(&two, [&self.digests()?, &other.digests()?]);
        let mut compared = compared.map_err(|error| Error::NotComparable {
            first: self.folder.clone(),
            second: other.folder.clone(),
            reason: Box::new(error),
        })?;
        // They are of all images that a run was evaluated on.
        let all = [one.len(), two.len()] == [compared.first.total; 2];
        compared.corrected = [self, other].map(|run| {
            let corrected = run.finished.as_ref().and_then(|finished| finished.corrected);
            corrected.filter(|corrected| all && corrected.metric == Metric::Accuracy)
        });
        Ok(compared)
    }

    /// The digests of the photos' files that the run began with, by their ids.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn digests(&self) -> Result<DigestsById> {
        Ok(Recorded::read(&self.folder, true)?.digests())
    }

    /// The images of the run that still exist, and which are missing; `data` is where they are now, if they
    /// have been moved. Items and paths are filled into `predictions`.
    ///
    /// # Errors
    /// [`Error::PhotosNotFound`] where `data` is given, and there are none.
    pub fn images(
        &self,
        predictions: &mut Interpretation,
        data: Option<&Path>,
        threads: usize,
        stop: &Stop,
    ) -> Result<(ImageData, MissingImages)> {
        let targets = predictions.predictions.targets().iter().cloned();
        let measured: Vec<(String, Target)> = predictions.ids.iter().cloned().zip(targets).collect();
        let images = RunImages {
            folder: &self.folder,
            classes: &predictions.classes,
            task: predictions.task(),
            measured: &measured,
            stopped: &|| stop.is_set(),
        };
        let (images, missing) = self.image_data(data, threads).of_run(&images)?;
        // If `data` is given, the images must be there.
        if let (Some(_), Some(reason)) = (data, missing.trouble.first())
            && missing.missing.len() >= measured.len()
        {
            return Err(Error::PhotosNotFound { reason: reason.clone() });
        }
        locate(predictions, images.items());
        Ok((images, missing))
    }

    fn read(folder: &Path) -> Result<Self> {
        let run = RunFolder::open(folder)?;
        run.check_results()?;
        let config = Config::of_run(&run, None)?;
        config.settings.check()?;
        let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = absolute.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut records = Self {
            name,
            folder: folder.to_owned(),
            directory: config.directory,
            version: config.version,
            given: config.given,
            settings: config.settings,
            phases: Vec::new(),
            history: table(&folder.join("history.csv")).unwrap_or_default(),
            searches: Vec::new(),
            skipped: table(&folder.join("skipped.csv")).unwrap_or_default().1,
            notices: Vec::new(),
            features: 0.0,
            computed: 0,
            searching: 0.0,
            resizing: 0.0,
            viewing: 0.0,
            resizing_within: 0.0,
            folds: Vec::new(),
            data: None,
            finished: None,
        };
        let path = folder.join("events.jsonl");
        let events = files::read(&path).map_err(Error::io("read", &path))?;
        let mut damaged = 0;
        for line in String::from_utf8_lossy(&events).lines() {
            match event_of(line) {
                Some(event) => records.add(&event),
                None => damaged += 1,
            }
        }
        if damaged > 0 {
            let lines = if damaged == 1 { "line is" } else { "lines are" };
            records.notices.push(format!(
                "{}: {damaged} damaged {lines} ignored; times and learning rates on this page may be incomplete",
                path.display()
            ));
        }
        Ok(records)
    }

    fn add(&mut self, event: &Value) {
        match event["event"].as_str() {
            Some("fit-started") => {
                let state = serde_json::from_value::<Freezing>(event.clone()).ok();
                let title = state.map_or_else(|| "training".to_owned(), |state| state.to_string());
                let frozen = state.map_or(0, Freezing::frozen);
                let number = event["number"].as_u64().unwrap_or(0) as usize;
                let text = event["text"].as_str().unwrap_or_default().to_owned();
                let learning_rates = serde_json::from_value(event["learning_rates"].clone())
                    .unwrap_or(LearningRates::from(0.0));
                // A phase that was interrupted before its first checkpoint begins again.
                self.phases.retain(|phase| phase.number != number);
                self.phases.push(PhaseRecord {
                    number,
                    title,
                    text,
                    diagnosis: Vec::new(),
                    frozen,
                    learning_rates,
                });
                self.resizing_within = 0.0;
            }
            Some("logistic-regression") => {
                let number = event["fit"].as_u64().unwrap_or(0) as usize;
                if let Some(phase) = self.phases.iter_mut().find(|phase| phase.number == number) {
                    "head, logistic regression".clone_into(&mut phase.title);
                    phase.text = event["text"].as_str().unwrap_or_default().replace('\n', "; ");
                }
            }
            Some("diagnosis") => {
                let number = event["fit"].as_u64().unwrap_or(0) as usize;
                if let Some(phase) = self.phases.iter_mut().find(|phase| phase.number == number) {
                    let text = event["text"].as_str().unwrap_or_default();
                    phase.diagnosis = text.lines().map(str::to_owned).collect();
                }
            }
            Some("elapsed") => {
                let seconds = event["seconds"].as_f64().unwrap_or(0.0);
                match event["activity"].as_str() {
                    Some("views") => self.viewing += seconds,
                    Some("resizing") => {
                        self.resizing += seconds;
                        self.resizing_within += seconds;
                    }
                    // Before its first step the finder may have images resized.
                    Some("learning-rates") => {
                        self.searching += (seconds - std::mem::take(&mut self.resizing_within)).max(0.0);
                    }
                    _ => {}
                }
            }
            Some("fold-finished") => {
                if let Ok(fold) = serde_json::from_value::<FoldRecord>(event.clone()) {
                    self.folds.retain(|other| other.fold != fold.fold);
                    self.folds.push(fold);
                }
            }
            Some("data") => self.data = serde_json::from_value(event.clone()).ok(),
            Some("finished") => self.finished = serde_json::from_value(event.clone()).ok(),
            Some("features") => {
                self.features += event["seconds"].as_f64().unwrap_or(0.0);
                self.computed += event["computed"].as_u64().unwrap_or(0);
            }
            Some("lr-found") => {
                if let Ok(search) = serde_json::from_value::<SearchRecord>(event.clone()) {
                    self.searches.retain(|other| other.fit != search.fit);
                    self.searches.push(search);
                }
            }
            Some("notice") => self.notices.extend(event["text"].as_str().map(str::to_owned)),
            _ => {}
        }
    }

    /// A column of `history.csv` as numbers, `None` for cells without one; `None` if there is no such column.
    pub fn column(&self, name: &str) -> Option<Vec<Option<f64>>> {
        let (columns, rows) = &self.history;
        let index = columns.iter().position(|column| column == name)?;
        Some(rows.iter().map(|row| row.get(index)?.parse().ok()).collect())
    }

    /// Phase and epoch of each row of the history.
    pub fn epochs(&self) -> Vec<(usize, usize)> {
        let [phases, epochs] = ["phase", "epoch"].map(|name| self.column(name).unwrap_or_default());
        let number = |cell: Option<f64>| cell.unwrap_or(0.0) as usize;
        phases.into_iter().zip(epochs).map(|(fit, epoch)| (number(fit), number(epoch))).collect()
    }

    /// Seconds of the epochs of a phase that are in the history.
    pub fn seconds_of(&self, phase: usize) -> f64 {
        let seconds = self.column("seconds").unwrap_or_default().into_iter();
        let of = self.epochs().into_iter().zip(seconds).filter(|((of, _), _)| *of == phase);
        of.filter_map(|(_, seconds)| seconds).sum()
    }

    /// The row of the history whose weights the model has.
    pub fn best_row(&self) -> Option<usize> {
        let best = self.finished.as_ref()?.best?;
        self.epochs().into_iter().position(|epoch| epoch == best)
    }

    /// The first row of the history of each phase but the first, with the phase's number.
    pub fn phase_starts(&self) -> Vec<(usize, usize)> {
        let epochs = self.epochs();
        let changes = epochs.windows(2).enumerate().filter(|(_, pair)| pair[0].0 != pair[1].0);
        changes.map(|(row, pair)| (row + 1, pair[1].0)).collect()
    }

    /// The head's highest learning rate in an epoch of a phase, epochs counted from 1, by the schedule.
    pub fn highest_rate(&self, phase: &PhaseRecord, epoch: usize, training_images: usize) -> Option<f64> {
        let Phase::Train(train) = self.settings.recipe.phases.get(phase.number.wrapping_sub(1))? else {
            return None;
        };
        let steps = self.steps_of_an_epoch(training_images);
        let stride = steps.div_ceil(RATES_OF_AN_EPOCH).max(1);
        // No epoch has a higher number than there are rows.
        let first = epoch.min(self.history.1.len()).saturating_sub(1) * steps;
        let sampled = (0..steps).step_by(stride).chain(steps.checked_sub(1));
        let schedule = self.schedule_of(phase, train);
        let factors = sampled.map(|step| schedule.at(first + step, steps).lr_factor);
        let highest = factors.fold(f64::NEG_INFINITY, f64::max);
        highest.is_finite().then(|| phase.learning_rates.head() * highest)
    }

    /// The schedule of a phase. With a time limit it had fewer epochs, where all ended as planned as many as there are;
    /// where the plan changed meanwhile, earlier rates were somewhat higher.
    fn schedule_of(&self, phase: &PhaseRecord, train: &TrainPhase) -> Schedule {
        match self.settings.recipe.time_limit {
            None => train.schedule.clone(),
            Some(_) => {
                let epochs = self.epochs().iter().filter(|(fit, _)| *fit == phase.number).count();
                train.schedule.within(epochs)
            }
        }
    }

    fn steps_of_an_epoch(&self, training_images: usize) -> usize {
        batches_per_epoch(training_images, self.settings.batch_size.max(1)).clamp(1, MOST_STEPS)
    }

    /// The learning rates of the run's steps, by its schedules: one curve where all layers have the same,
    /// else one per layer group. Long runs are shown with fewer points.
    pub fn rate_curves(&self, training_images: usize) -> Vec<RateCurve> {
        let steps = self.steps_of_an_epoch(training_images);
        let all = self.epochs();
        let epochs_of = |number: usize| all.iter().filter(|(fit, _)| *fit == number).count();
        let stride = (steps * self.history.1.len()).div_ceil(RATE_POINTS).max(1);
        let (mut before, mut points) = (0, [const { Vec::new() }; GROUPS]);
        for phase in &self.phases {
            let epochs = epochs_of(phase.number);
            let Some(Phase::Train(train)) = self.settings.recipe.phases.get(phase.number.wrapping_sub(1))
            else {
                before += epochs;
                continue;
            };
            // Schedules jump at the ends of epochs, which are all included unless there are very many.
            let ends = (0..epochs).step_by((epochs / RATE_POINTS).max(1));
            let ends = ends.flat_map(|epoch| [epoch * steps, (epoch + 1) * steps - 1]);
            let mut sampled: Vec<usize> = (0..epochs * steps).step_by(stride).chain(ends).collect();
            sampled.sort_unstable();
            sampled.dedup();
            let schedule = self.schedule_of(phase, train);
            for step in sampled {
                let at = before as f64 + step as f64 / steps as f64;
                let rates = phase.learning_rates.scaled(schedule.at(step, steps).lr_factor);
                for (group, points) in points.iter_mut().enumerate() {
                    points.push((at, (group >= phase.frozen).then_some(rates.0[group])));
                }
            }
            before += epochs;
        }
        if points[0] == points[GROUPS - 1] {
            let [.., points] = points;
            return vec![RateCurve { name: "all layers", points }];
        }
        let curves = points.into_iter().zip(GROUP_NAMES).map(|(points, name)| RateCurve { name, points });
        curves.filter(|curve| curve.points.iter().any(|point| point.1.is_some())).collect()
    }

    /// Resolves a path of the settings against the folder that the command ran in.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The run's images.
    fn image_data(&self, data: Option<&Path>, threads: usize) -> ImageDataBuilder {
        let mut settings = self.settings.clone();
        let moved = data.map(Path::to_owned).or_else(|| moved_data(&self.folder));
        settings.data = moved.clone().unwrap_or_else(|| self.resolve(&settings.data));
        if let Some(folder) = settings.table.as_mut().and_then(|table| table.folder.as_mut()) {
            *folder = moved.unwrap_or_else(|| self.resolve(folder));
            settings.data = self.resolve(&self.settings.data);
        }
        settings.decisions = settings.decisions.map(|path| self.resolve(&path));
        settings.valid_split = None;
        settings.image_data(threads)
    }
}

/// Fills in the items and paths of predictions by their ids, which all exist.
fn locate(predictions: &mut Interpretation, items: &Items) {
    let index: HashMap<&str, usize> =
        items.items.iter().enumerate().map(|(index, item)| (item.id.as_str(), index)).collect();
    for (row, id) in predictions.ids.iter().enumerate() {
        let item = index[id.as_str()];
        predictions.predictions.set_item(row, item);
        predictions.paths[row] = items[item].path.clone();
    }
}

/// The history of a run that may still train: the columns of its `history.csv`, and a row an epoch. Empty where there
/// is none yet.
pub fn history(run: impl AsRef<Path>) -> (Vec<String>, Vec<Vec<String>>) {
    table(&run.as_ref().join("history.csv")).unwrap_or_default()
}

/// Columns and rows of a CSV file; `None` if there is none.
fn table(path: &Path) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).ok()?;
    let cells = |record: &csv::StringRecord| {
        record.iter().map(unescape_formula).map(str::to_owned).collect::<Vec<String>>()
    };
    let header = cells(reader.headers().ok()?);
    let rows = reader.records().filter_map(|record| Some(cells(&record.ok()?))).collect();
    Some((header, rows))
}

/// The photos that a run was trained on.
pub(crate) struct TrainingPhotos {
    /// Those that are there.
    pub(crate) photos: Vec<PathBuf>,
    /// How many others are missing or have changed.
    pub(crate) missing: usize,
    /// Why they could not be looked for.
    pub(crate) trouble: Option<String>,
}
