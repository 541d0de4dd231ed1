//! Runs: from a configuration to a model in a run folder.

pub(crate) mod arch_choice;
pub(crate) mod checkpoint;
pub(crate) mod config;
pub mod finished;
mod fitting;
pub(crate) mod folder;
pub(crate) mod folds;
pub(crate) mod observed;
pub(crate) mod progress;
pub(crate) mod recording;
pub(crate) mod resume;
pub mod review;
pub(crate) mod run_recipe;
pub(crate) mod stop_request;
pub(crate) mod tensorboard;
pub(crate) mod tracker;
pub(crate) mod worker;

use std::path::{Path, PathBuf};

use ocelli_data::{Task as Labels, timeline};
use ocelli_nn::{AnyBackbone, Arch, Backbone};

use crate::data::ImageData;
use crate::data::photos::outside;
use crate::error::{Error, Result};
use crate::event::{Event, Finished, Observer};
use crate::interpret::Interpretation;
use crate::learner::Learner;
use crate::metric::Metric;
use crate::metric::choice::CorrectedEstimate;
use crate::metric::estimate::MetricEstimate;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;
use crate::model::submission::clip::ProbabilityClip;
use crate::model::training_record::{PretrainedWeights, TrainedPhase, TrainingRecord, ValidationMetric};
use crate::processes::agreement;
use crate::recipe::{Phase, Recipe};
use crate::run::checkpoint::{Checkpoint, Checkpoints};
use crate::run::config::{Config, RunConfig, RunEnv, Thresholds};
use crate::run::folder::RunFolder;
use crate::run::folds::OutOfFold;
use crate::run::run_recipe::{RecipeResult, run_recipe};
use crate::run::stop_request::StopRequest;
use crate::run::tensorboard::TensorBoard;
use crate::run::tracker::Tracker;

/// A run that is ready to start: its images are read and checked, and its folder exists.
pub struct Run<B: Backbone = AnyBackbone> {
    learner: Learner<B>,
    tracker: Tracker,
    run: RunFolder,
    settings: RunConfig,
    /// Tensors of the weights file that the network does not use.
    dropped_tensors: Vec<String>,
    /// The weights that training started from.
    pretrained: PretrainedWeights,
    /// Notices that are emitted at the start.
    notices: Vec<String>,
    /// Whether the run began in an earlier process.
    is_resumed: bool,
    /// What the models of the folds predict, in a cross-validation.
    out_of_fold: Option<OutOfFold>,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// Predictions of the validation set by the model; in a cross-validation those of all images by the models of the
    /// folds.
    pub predictions: Predictions,
    /// The same with test-time augmentation, where the recipe ends with it.
    pub augmented: Option<Predictions>,
    /// The metric that chose the best weights.
    pub metric: Metric,
    /// That metric, corrected for the choice: see [`RecipeResult::corrected`](crate::RecipeResult).
    pub corrected: Option<CorrectedEstimate>,
    /// The threshold of each class, for multi-label data.
    pub thresholds: Option<Vec<f32>>,
    /// The model's file.
    pub model: PathBuf,
    /// Seconds of training, up to the written model, over all attempts and folds.
    pub seconds: f64,
}

impl Run {
    /// Reads and checks the images, builds the network, and creates the run folder.
    ///
    /// # Errors
    /// For everything that can be checked before training.
    pub fn prepare(settings: &RunConfig, env: &RunEnv) -> Result<Self> {
        let mut dropped_tensors = Vec::new();
        let (settings, of_choice) = &arch_choice::resolved(settings, env)?;
        settings.arch.parse::<Arch>()?;
        let mut run = Self::prepare_with(settings, env, |data| {
            let (learner, names) = settings.pretrained(data, env)?;
            dropped_tensors = names;
            Ok(learner)
        })?;
        run.notices.splice(0..0, of_choice.iter().cloned());
        Ok(Self { dropped_tensors, pretrained: settings.pretrained_weights(), ..run })
    }
}

impl<B: Backbone> Run<B> {
    /// As [`prepare`](Run::prepare), for a custom network: `learner` makes a new learner of the images, which
    /// is then configured by the settings. `arch` in the settings is a name of your choice.
    ///
    /// # Errors
    /// As [`prepare`](Run::prepare), and any error of `learner`.
    pub fn prepare_with(
        settings: &RunConfig,
        env: &RunEnv,
        learner: impl FnOnce(ImageData) -> Result<Learner<B>>,
    ) -> Result<Self> {
        let (mut learner, settings, mut notices) = new_learner(settings, env, learner)?;
        let run = match &env.out {
            Some(out) => RunFolder::at(out)?,
            None => {
                let (runs, elsewhere) = outside("runs", &learner.data().folders())?;
                notices.extend(elsewhere);
                RunFolder::numbered(runs, &name_of(&settings.data))?
            }
        };
        let run = run.locked()?;
        if run.config().exists() {
            // Another process has taken the name.
            return Err(Error::FolderNotEmpty { path: run.path().to_owned() });
        }
        run.sweep();
        let settings = RunConfig { precision: Some(learner.network().precision()), ..settings };
        let config = run.write_config(&Config {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            given: env.given.clone(),
            directory: std::env::current_dir().unwrap_or_default(),
            settings: settings.clone(),
        })?;
        learner.data().write_record(run.path())?;
        run.write_split(learner.data())?;
        if let Some(folds) = settings.folds() {
            run.write_folds(learner.data(), folds)?;
        }
        let recorder = run.recorder(&[], learner.data().skipped())?;
        learner.observe(recorder);
        learner.observe(StopRequest::of(run.path()));
        if env.tensorboard {
            learner.observe(TensorBoard::open(run.path(), &config, &[])?);
        }
        let tracker = Tracker::new(Some(Checkpoints::new(run.checkpoints(), config)));
        Ok(Self::assembled(learner, tracker, run, settings, notices))
    }

    /// A new run of these, whose weights are not known.
    fn assembled(
        learner: Learner<B>,
        tracker: Tracker,
        run: RunFolder,
        settings: RunConfig,
        notices: Vec<String>,
    ) -> Self {
        Self {
            learner,
            tracker,
            run,
            settings,
            dropped_tensors: Vec::new(),
            pretrained: PretrainedWeights::Unknown,
            notices,
            is_resumed: false,
            out_of_fold: None,
        }
    }

    /// Adds an observer.
    pub fn observe(&mut self, observer: impl Observer + 'static) {
        self.learner.observe(observer);
    }

    /// The learner, before the recipe.
    pub fn learner(&self) -> &Learner<B> {
        &self.learner
    }

    /// Tensors of the weights file that the network does not use: those of its classifier.
    pub fn dropped_tensors(&self) -> Option<(&Path, &[String])> {
        self.settings.weights.as_deref().map(|path| (path, &self.dropped_tensors[..]))
    }

    /// The run folder.
    pub fn run_folder(&self) -> &RunFolder {
        &self.run
    }

    /// The configuration.
    pub fn settings(&self) -> &RunConfig {
        &self.settings
    }

    /// Whether there is a checkpoint to resume from, or a fold that has begun.
    pub fn has_checkpoint(&self) -> bool {
        Checkpoint::exists(&self.run.checkpoints()) || self.run.fold(1).exists()
    }

    /// Runs the recipe, or what is left of it, and writes the model.
    ///
    /// # Errors
    /// As [`Learner::fit`]. If an observer asks to stop, a checkpoint is written first. After any error
    /// [`resume`](Run::resume) continues from the last checkpoint. [`Error::FoldsNotRun`] where this is a
    /// cross-validation whose folds have not been run before.
    pub fn run(&mut self) -> Result<RunResult> {
        if self.settings.folds().is_some() && self.out_of_fold.is_none() {
            return Err(Error::FoldsNotRun { path: self.run.path().to_owned() });
        }
        self.tracker.start_clock();
        self.introduce()?;
        match run_recipe(&mut self.learner, &self.settings.recipe, &mut self.tracker) {
            Err(Error::Stopped) => {
                // Observers that ask to stop do so again.
                let not_stopped = |error: &Error| !matches!(error, Error::Stopped);
                self.write_checkpoint()
                    .or_else(|error| if not_stopped(&error) { Err(error) } else { Ok(()) })?;
                let stopped = self.learner.observers.emit(&Event::Stopped);
                self.run.end_stop_request();
                stopped.and(Err(Error::Stopped))
            }
            result => {
                let result = self.conclude(result?);
                self.run.end_stop_request();
                result
            }
        }
    }

    /// Emits the data, notices and, where the run is resumed, from where.
    fn introduce(&mut self) -> Result<()> {
        let learner = &mut self.learner;
        let data = learner.used_data();
        learner.observers.emit(&data_event(&data))?;
        for text in self.notices.drain(..) {
            learner.observers.emit(&Event::Notice { text })?;
        }
        if let Some(event) = learner.resumed() {
            learner.observers.emit(&event)?;
        }
        Ok(())
    }

    /// Writes the results of the recipe.
    fn conclude(&mut self, result: RecipeResult) -> Result<RunResult> {
        let out_of_fold = self.out_of_fold.take();
        let Self { learner, tracker, run, settings, pretrained, .. } = self;
        let metric = learner.best.metric.unwrap_or(Metric::usual(learner.data().task()));
        let tta = settings.recipe.phases.iter().rev().find_map(|phase| match phase {
            Phase::Tta(tta) => Some(tta.mean),
            _ => None,
        });
        let (mut predictions, corrected, of_folds) = match out_of_fold {
            Some(folds) => (folds.predictions, folds.corrected, folds.seconds),
            None => (result.predictions, result.corrected, 0.0),
        };
        let mut augmented = result.views.zip(tta).map(|(views, mean)| views.mean(mean));
        augmented.take_if(|augmented| augmented.is_empty());
        let thresholds = settings.thresholds.tuned(&predictions, metric);
        let per_class = thresholds.as_ref().is_some_and(|tuned| tuned.iter().any(|each| *each != tuned[0]));
        // Epochs are compared at one threshold for all classes.
        let corrected = corrected.filter(|_| !(per_class && matches!(metric, Metric::F(..))));
        if let Some(tuned) = &thresholds {
            for predictions in augmented.iter_mut().chain([&mut predictions]) {
                predictions.set_thresholds(tuned.clone());
            }
        }
        if learner.observers.has_skipped() {
            // Images are found unreadable when they are loaded, after the data was first reported.
            let event = data_event(&learner.used_data());
            learner.observers.emit(&event)?;
        }
        let best = learner.best_of_all().map(|(row, _)| (row.fit, row.epoch));
        let tta_metrics = augmented.as_ref().map_or_else(Vec::new, |augmented| measures(augmented, metric));
        let used = learner.used_data();
        let training = TrainingRecord {
            train_images: used.train_len(),
            valid_images: used.valid_len(),
            folds: settings.folds(),
            pretrained: *pretrained,
            phases: trained_phases(&settings.recipe, &learner.history),
            best,
            seed: settings.seed,
            corrected,
            metrics: measures(&predictions, metric).iter().map(ValidationMetric::from).collect(),
            tta_metrics: tta_metrics.iter().map(ValidationMetric::from).collect(),
        };
        learner.observers.emit(&Event::Finished(Finished {
            seconds: of_folds + tracker.seconds(),
            metric,
            best,
            size: learner.data().size(),
            corrected,
            augmented: tta_metrics,
        }))?;
        let _span = timeline::span("write model");
        let mut model = learner.to_model().with_clip(ProbabilityClip::chosen_on(&predictions));
        model = model.with_training(training);
        if let Some(tuned) = &thresholds {
            model = model.with_thresholds(tuned.clone())?;
        }
        model.calibrate(&predictions);
        let (score, config) = learner.fit_unknown()?;
        let model = model.with_unknown(score, config);
        let path = run.model();
        model.save(&path)?;
        learner.observers.emit(&Event::Written { what: "model", path: path.clone() })?;
        let interpretation = Interpretation::new(predictions.clone(), learner.data().items());
        interpretation.write_csv(run.predictions())?;
        #[cfg(feature = "plot")]
        if let Some(matrix) = interpretation.drawn_matrix() {
            let png = matrix.plot().to_png();
            tensorboard::add_picture(run.path(), learner.history.len(), "confusion matrix", &png)?;
        }
        run.finish()?;
        let seconds = of_folds + tracker.seconds();
        Ok(RunResult { predictions, augmented, metric, corrected, thresholds, model: path, seconds })
    }

    /// Writes a checkpoint of the run.
    fn write_checkpoint(&mut self) -> Result<()> {
        self.tracker.write_checkpoint_of(&mut self.learner)
    }
}

/// The learner of a new run, in each of its processes; they agree on what they have. Also the settings as they were
/// fitted to the photos, and why.
pub(crate) fn new_learner<B: Backbone>(
    settings: &RunConfig,
    env: &RunEnv,
    learner: impl FnOnce(ImageData) -> Result<Learner<B>>,
) -> Result<(Learner<B>, RunConfig, Vec<String>)> {
    settings.check()?;
    agreement::check_recipe(&env.processes, settings)?;
    let data = settings.image_data(env.threads).hash_progress(env.hash_progress.clone());
    let mut learner = learner(data.load()?)?;
    settings.apply(&mut learner, env)?;
    let (mut settings, mut reasons) = (settings.clone(), Vec::new());
    if settings.fit_to_photos {
        reasons = fitting::fit(&mut settings, &mut learner)?;
    }
    learner.check_memory(&settings.recipe, 0)?;
    agreement::compare(&env.processes, &settings, &learner, 0)?;
    Ok((learner, settings, reasons))
}

/// What is told of the data at first.
fn data_event(data: &ImageData) -> Event {
    let (classes, origin) = (data.class_counts(), data.split_origin());
    Event::Data { classes, train: data.train_len(), valid: data.valid_len(), origin }
}

impl Thresholds {
    /// The threshold of each class, tuned on predictions for the validation images; `None` for single-label
    /// data, or without validation images.
    fn tuned(self, predictions: &Predictions, metric: Metric) -> Option<Vec<f32>> {
        if predictions.task() == Labels::SingleLabel || predictions.is_empty() {
            return None;
        }
        Some(match (self, metric) {
            (Self::One, _) => vec![predictions.best_threshold(metric); predictions.classes()],
            (Self::PerClass, Metric::F(beta, _)) => predictions.best_thresholds(beta),
            (Self::PerClass, _) => predictions.best_thresholds(1.0),
        })
    }
}

/// The metrics of a result: the one that chose the best weights, then the usual ones.
pub(crate) fn measures(predictions: &Predictions, metric: Metric) -> Vec<MetricEstimate> {
    if predictions.is_empty() {
        return Vec::new();
    }
    let usual = match predictions.task() {
        Labels::SingleLabel => [Metric::Accuracy, Metric::LogLoss],
        Labels::MultiLabel => [Metric::usual(Labels::MultiLabel), Metric::LabelAccuracy],
    };
    let metrics = (!usual.contains(&metric)).then_some(metric).into_iter().chain(usual);
    metrics.map(|metric| predictions.estimate(metric)).collect()
}

/// The phases of a recipe that trained, by the history of their epochs: a fit has the number of its phase.
fn trained_phases(recipe: &Recipe, history: &[EpochRecord]) -> Vec<TrainedPhase> {
    let mut phases: Vec<TrainedPhase> = Vec::new();
    for record in history {
        match phases.last_mut().filter(|phase| phase.number == record.fit) {
            Some(phase) => phase.epochs += 1,
            None => {
                let trained = match recipe.phases.get(record.fit.wrapping_sub(1)) {
                    Some(Phase::Train(train)) => train.freezing.to_string(),
                    Some(Phase::LogisticRegression(_)) => "head, logistic regression".to_owned(),
                    _ => "training".to_owned(),
                };
                phases.push(TrainedPhase { number: record.fit, trained, epochs: 1 });
            }
        }
    }
    phases
}

/// The name of a folder, or of a table's folder, for the name of the run.
fn name_of(folder: &Path) -> String {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let folder = if absolute.is_file() { absolute.parent().unwrap_or(&absolute) } else { &absolute };
    folder.file_name().map_or_else(|| "photos".to_owned(), ocelli_data::text_of)
}
