//! Runs a recipe phase by phase, from any point on.

use std::time::Instant;

use ocelli_nn::{Backbone, GROUPS};

use crate::data::Part;
use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::event::{Activity, Event, PhaseStarted};
use crate::learner::Learner;
use crate::lr_finder::LrFind;
use crate::lr_finder::suggest::LrSuggestion;
use crate::metric::Metric;
use crate::metric::choice::CorrectedEstimate;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;
use crate::model::finite::{check_finite, check_outputs};
use crate::model::tta::{Tta, TtaLogits};
use crate::processes::agreement::digest;
use crate::recipe::diagnosis::{Compared, Diagnosis, Watch};
use crate::recipe::freezing::Freezing;
use crate::recipe::logistic::LogisticRegression;
use crate::recipe::{LrChoice, Phase, Recipe, TrainPhase};
use crate::run::progress::Progress;
use crate::run::tracker::{Tracker, seconds_of_epochs, whole_epochs};
use crate::schedule::Schedule;
use crate::schedule::learning_rates::LearningRates;
use crate::train::fit::batches_per_epoch;
use crate::train::infer::values;

/// The result of a recipe.
#[derive(Debug, Clone)]
pub struct RecipeResult {
    /// Predictions of the validation set with the best weights, without test-time augmentation.
    pub predictions: Predictions,
    /// Predictions of every view of it, where the recipe ends with test-time augmentation.
    pub views: Option<TtaLogits>,
    /// The metric that chose the best epoch, corrected for the choice; `None` where there was none, for a
    /// custom metric, and where not all epochs were compared on the same images.
    pub corrected: Option<CorrectedEstimate>,
}

impl<B: Backbone> Learner<B> {
    /// Runs a recipe. At the end the learner has the best weights of all phases; see
    /// [`keep_best`](Self::keep_best).
    ///
    /// A phase that diverges, or in which the network's outputs are finite after no epoch, is skipped if an
    /// earlier one has given usable weights.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`Error::NoFiniteEpoch`] where no phase has given usable weights;
    /// [`Error::Memory`] before the first phase where the machine has too little memory.
    pub fn run_recipe(&mut self, recipe: &Recipe) -> Result<RecipeResult> {
        recipe.check()?;
        self.unfinished = None;
        self.check_memory(recipe, 0)?;
        let mut tracker = Tracker::new(None);
        tracker.progress.fits_before = self.state.fits;
        run_recipe(self, recipe, &mut tracker)
    }
}

/// Runs what is left of a recipe, beginning with the fit that is unfinished.
pub(crate) fn run_recipe<B: Backbone>(
    learner: &mut Learner<B>,
    recipe: &Recipe,
    tracker: &mut Tracker,
) -> Result<RecipeResult> {
    if learner.best.metric.is_none() {
        learner.keep_best(Some(Metric::usual(learner.data().task())));
    }
    tracker.time_limit = recipe.time_limit;
    let least_steps = if recipe.phases.contains(&Phase::EndUnlessPromising) { LEAST_STEPS } else { 0 };
    let mut runner = Runner { learner, tracker, least_steps };
    let mut views = None;
    while let Some(phase) = recipe.phases.get(runner.tracker.progress.done) {
        if runner.learner.unfinished.is_none() {
            let number = runner.tracker.progress.done + 1;
            runner.emit(&Event::PhaseStarted(PhaseStarted { number, phase: phase.clone() }))?;
        }
        match phase {
            Phase::Train(train) => runner.train(train)?,
            Phase::LogisticRegression(settings) => runner.logistic_regression(settings)?,
            Phase::Resize { size } => runner.learner.set_size(*size)?,
            Phase::EndUnlessPromising => runner.end_unless_promising(recipe)?,
            Phase::Tta(tta) => views = runner.predict_views(*tta)?,
        }
        runner.tracker.progress = Progress {
            fits_before: runner.tracker.progress.fits_before,
            done: runner.tracker.progress.done + 1,
            seconds: runner.tracker.progress.seconds,
            scores: runner.tracker.progress.scores.take(),
            candidates: std::mem::take(&mut runner.tracker.progress.candidates),
            depth_gain: runner.tracker.progress.depth_gain,
            ..Progress::default()
        };
        runner.tracker.write_checkpoint_of(runner.learner)?;
        let Learner { state, inputs, .. } = &*runner.learner;
        inputs.processes.agree("the weights", || digest(&state.network))?;
    }
    runner.return_to_best_of_all()?;
    runner.check_finite()?;
    let predictions = match &views {
        Some(views) => views.plain(),
        None => runner.learner.validate()?,
    };
    let (metric, best) = (runner.learner.best.metric, runner.learner.best_of_all());
    let corrected = best.zip(metric).and_then(|((best, _), metric)| {
        runner.tracker.progress.candidates.corrected(best, &predictions.monitored(metric), metric)
    });
    Ok(RecipeResult { predictions, views, corrected })
}

/// The training photos of a class from which on training all layers may pay: with fewer, a head alone is usually
/// better (Kim et al. 2022, <https://arxiv.org/abs/2205.07874>).
const PROMISING_PHOTOS: usize = 20;
/// The [gain by earlier stages](crate::LogisticRegressionFit::depth_gain) from which on training all layers pays;
/// see `benches/linear.md`.
const PROMISING_GAIN: f64 = 0.2;

/// The part of the time that is left in which settings of a logistic regression are compared.
const FOR_COMPARISONS: f64 = 0.4;
/// The part of a time limit that must be left for looking whether an epoch of all layers fits into it.
const LEAST_LEFT: f64 = 0.15;

/// The training steps of all layers after a logistic regression from which on they may be better than it; see
/// `benches/frontier.md`.
pub(super) const LEAST_STEPS: usize = 150;

/// Whether a phase's epochs are fitted to a time limit: those of a head alone take little.
pub(super) fn trains_backbone(train: &TrainPhase) -> bool {
    train.freezing.frozen() + 1 < GROUPS
}

/// Runs the phases of a recipe.
struct Runner<'a, B: Backbone> {
    learner: &'a mut Learner<B>,
    tracker: &'a mut Tracker,
    /// Where a time limit leaves fewer training steps of all layers than this, they are not trained.
    least_steps: usize,
}

impl<B: Backbone> Runner<'_, B> {
    fn emit(&mut self, event: &Event) -> Result<()> {
        self.learner.observers.emit(event)
    }

    /// Begins a fit or resumes it, and acts on its outcome.
    fn train(&mut self, train: &TrainPhase) -> Result<()> {
        if self.learner.unfinished.is_none() {
            self.begin(train)?;
        }
        if self.learner.unfinished.is_none() {
            // There is no time for it.
            return Ok(());
        }
        self.tracker.wanted = trains_backbone(train).then(|| train.schedule.clone());
        let result = self.learner.resume_with(self.tracker);
        let fit = self.learner.state.fits;
        let of_fit = |row: &&EpochRecord| row.fit == fit;
        let rows: Vec<EpochRecord> = self.learner.history.iter().filter(of_fit).cloned().collect();
        let result = match result {
            Ok(_) if !rows.is_empty() && rows.iter().all(|row| !row.is_finite()) => {
                let rates = self.tracker.progress.rates.map(|rates| rates.to_string()).unwrap_or_default();
                Err(Error::NoFiniteEpoch { fit, epochs: rows.len(), rates })
            }
            result => result,
        };
        match result {
            Ok(_) => self.diagnose(&rows),
            Err(error @ (Error::Diverged { .. } | Error::NoFiniteEpoch { .. }))
                if self.learner.best_of_all().is_some() =>
            {
                self.skip_phase(&error)
            }
            Err(error) => Err(error),
        }
    }

    /// Fits a linear head. An interrupted fit begins again: it takes seconds.
    fn logistic_regression(&mut self, settings: &LogisticRegression) -> Result<()> {
        self.number_fit();
        // Processes are not equally fast, and all choose the same.
        let time = self.tracker.time_left().map(|left| (FOR_COMPARISONS * left).max(0.0));
        let millis = self.learner.inputs.processes.as_first(time.map_or(0, |time| (1e3 * time) as usize))?;
        let time = time.map(|_| millis as f64 / 1e3);
        let (row, fitted) = self.learner.logistic_regression_with(settings, time, self.tracker)?;
        self.tracker.progress.depth_gain = fitted.depth_gain();
        if !row.is_finite() {
            let rates = "a logistic regression".to_owned();
            let error = Error::NoFiniteEpoch { fit: row.fit, epochs: 1, rates };
            return if self.learner.best_of_all().is_some() { self.skip_phase(&error) } else { Err(error) };
        }
        self.diagnose(&[row])
    }

    /// Begins the fit of a phase, at its learning rates or the learning rate finder's.
    fn begin(&mut self, train: &TrainPhase) -> Result<()> {
        match train.freezing {
            Freezing::Cached { .. } => self.learner.cache_features_as(train.freezing)?,
            Freezing::Streamed { .. } => self.learner.set_freezing(train.freezing),
        }
        let rates = match (self.tracker.progress.rates, train.lr) {
            (Some(rates), _) => rates,
            (None, LrChoice::Fixed(rates)) => rates,
            (None, LrChoice::Finder { steps, fallback, .. }) => {
                self.find_learning_rates(train.lr, steps, fallback)?
            }
        };
        self.tracker.progress.rates = Some(rates);
        let Some(schedule) = self.schedule_in_time(train)? else { return Ok(()) };
        self.number_fit();
        // The fit keeps its own.
        let optimizer = self.learner.options.optimizer;
        self.learner.options.optimizer = train.optimizer.unwrap_or(optimizer);
        let begun = self.learner.begin(rates, schedule);
        self.learner.options.optimizer = optimizer;
        begun?;
        self.tracker.write_checkpoint_of(self.learner)
    }

    /// Passes over the rest of a recipe, but for test-time augmentation, unless it promises a gain.
    fn end_unless_promising(&mut self, recipe: &Recipe) -> Result<()> {
        let rest = &recipe.phases[self.tracker.progress.done + 1..];
        let (goes_on, reason) = self.is_promising(rest)?;
        if !goes_on {
            let passed = rest.iter().take_while(|phase| !matches!(phase, Phase::Tta(_))).count();
            self.tracker.progress.done += passed;
        }
        self.emit(&Event::Decision { goes_on, reason })
    }

    /// Whether to train all layers, and why.
    fn is_promising(&self, rest: &[Phase]) -> Result<(bool, String)> {
        let no = |reason: &str| Ok((false, format!("no: {reason}")));
        let (photos, classes) = (self.learner.data().train_len(), self.learner.data().classes().len());
        let per_class = photos / classes.max(1);
        if per_class < PROMISING_PHOTOS {
            return no(&format!(
                "that seldom pays with fewer than {PROMISING_PHOTOS} training photos of each class, and these are \
                 {per_class} on average"
            ));
        }
        let Some(gain) = self.tracker.progress.depth_gain else {
            return no("features of several depths were not compared");
        };
        let percent = |part: f64| format!("{:.0} %", 100.0 * part);
        if gain < PROMISING_GAIN {
            let found = match gain {
                ..0.005 => "do not lower the log loss".to_owned(),
                _ => format!("lower the log loss by {}", percent(gain)),
            };
            let least = percent(PROMISING_GAIN);
            return no(&format!("features of earlier layers {found}, and it seldom pays below {least}"));
        }
        let steps = batches_per_epoch(photos, self.learner.data().batch_size());
        let epochs = rest.iter().filter_map(|phase| match phase {
            Phase::Train(train) => Some(train.schedule.epochs()),
            _ => None,
        });
        let steps = steps * epochs.sum::<usize>();
        if steps < self.least_steps {
            return no(&format!(
                "{steps} training steps are too few, since fewer than {LEAST_STEPS} seldom pay"
            ));
        }
        // What comes before it takes time, too.
        if !self.has_left(2.0 * LEAST_LEFT)? {
            return no("there is too little time left for it");
        }
        if let Err(error @ Error::Memory { .. }) = self.learner.check_memory(&Recipe::from(rest.to_vec()), 0)
        {
            return no(&error.to_string());
        }
        let gain = percent(gain);
        Ok((
            true,
            format!("yes: features of earlier layers lower the log loss by {gain}; it mostly pays then"),
        ))
    }

    /// The schedule of a phase, with no more epochs than end in time; `None` where there is no time for one.
    fn schedule_in_time(&mut self, train: &TrainPhase) -> Result<Option<Schedule>> {
        let schedule = &train.schedule;
        if self.tracker.time_limit.is_none() || !trains_backbone(train) {
            return Ok(Some(schedule.clone()));
        }
        // Measuring takes time, too.
        if !self.has_left(LEAST_LEFT)? {
            let text = "all layers are not trained: there is no time left for it".to_owned();
            self.emit(&Event::Notice { text })?;
            return Ok(None);
        }
        let (epoch, wanted) = (self.learner.seconds_of_an_epoch()?, schedule.epochs());
        let epochs = whole_epochs(self.tracker.time_left().unwrap_or(0.0), epoch).min(wanted);
        let epochs = self.learner.inputs.processes.as_first(epochs)?;
        if epochs == wanted {
            return Ok(Some(schedule.clone()));
        }
        let data = self.learner.data();
        let steps = epochs * batches_per_epoch(data.train_len(), data.batch_size());
        let epochs = if steps < self.least_steps { 0 } else { epochs };
        let enough = self.enough_time(if epochs == 0 { self.least_steps } else { 0 }, wanted, epoch);
        let text = match epochs {
            0 if steps > 0 => format!(
                "all layers are not trained: there is time for {steps} steps, an epoch takes about {epoch:.0} s, and fewer \
                 than {LEAST_STEPS} steps seldom pay; {enough}"
            ),
            0 => format!(
                "all layers are not trained: an epoch takes about {epoch:.0} s, and there is no time left for it; {enough}"
            ),
            1 => {
                format!("one epoch of all layers fits into the time: it takes about {epoch:.0} s; {enough}")
            }
            _ => format!(
                "{epochs} epochs of all layers fit into the time: one takes about {epoch:.0} s; {enough}"
            ),
        };
        self.emit(&Event::Notice { text })?;
        Ok((epochs > 0).then(|| schedule.within(epochs)))
    }

    /// The time limit with which there would be time for this many training steps, at least one epoch, or, with none,
    /// for the epochs that are wanted.
    fn enough_time(&self, steps: usize, wanted: usize, epoch: f64) -> String {
        let data = self.learner.data();
        let of_epoch = batches_per_epoch(data.train_len(), data.batch_size()).max(1);
        let (epochs, what) = match steps {
            0 => (wanted, format!("for all {wanted}")),
            _ => (steps.div_ceil(of_epoch).min(wanted), "for that".to_owned()),
        };
        let limit = self.tracker.time_limit.unwrap_or(0.0);
        let before = limit - self.tracker.time_left().unwrap_or(0.0);
        // In whole tens of seconds.
        let enough = 10.0 * ((before + seconds_of_epochs(epochs, epoch)) / 10.0).ceil();
        format!("{what} `time_limit` {enough:.0} is enough")
    }

    /// Whether this part of a time limit is left, by the clock of process 0; without a limit it is.
    fn has_left(&self, part: f64) -> Result<bool> {
        let limit = self.tracker.time_left().zip(self.tracker.time_limit);
        self.learner.inputs.processes.decided(limit.is_none_or(|(left, limit)| left >= part * limit))
    }

    /// Before a fit: it has the number of its phase, after the fits before the recipe.
    fn number_fit(&mut self) {
        let progress = &mut self.tracker.progress;
        progress.before = self.learner.best_of_all().map(|(row, _)| row.clone());
        progress.watch = Watch::default();
        self.learner.state.fits = progress.fits_before + progress.done;
    }

    /// Emits a diagnosis of the fit, and restores the best weights.
    fn diagnose(&mut self, rows: &[EpochRecord]) -> Result<()> {
        let progress = &self.tracker.progress;
        let (watch, scores, before) =
            (progress.watch.clone(), progress.scores.clone(), progress.before.clone());
        self.keep_scores_of_best();
        let best = self.learner.best_of_all().map(|(row, _)| row.clone());
        let baseline = self.learner.used_data().baseline(&watch.items());
        let compared = Compared {
            metric: self.learner.best.metric,
            before: before.as_ref().map(|row| (row, scores.as_ref())),
            best: best.as_ref(),
            baseline: Some(&baseline),
        };
        if let Some(diagnosis) = Diagnosis::of(rows, &watch, &compared) {
            self.emit(&Event::Diagnosis(diagnosis))?;
        }
        // While the features are those of the pretrained backbone; once, and by the process that others hear.
        if self.tracker.progress.done == 0
            && self.learner.inputs.processes.rank() == 0
            && let Some(text) = self.learner.look_alikes()?
        {
            self.emit(&Event::Notice { text })?;
        }
        self.learner.return_to_best();
        Ok(())
    }

    /// Continues without the current phase, from the best weights so far.
    fn skip_phase(&mut self, error: &Error) -> Result<()> {
        self.learner.unfinished = None;
        self.keep_scores_of_best();
        let text = format!("{error}. This phase is skipped; restored the best weights so far");
        self.emit(&Event::Notice { text })?;
        if self.learner.best().is_some() {
            self.learner.return_to_best();
        } else {
            self.learner.take_best_of_all();
        }
        Ok(())
    }

    /// If the best epoch of all is one of the current fit, keeps what each image contributes to its metric,
    /// for comparison with later fits.
    fn keep_scores_of_best(&mut self) {
        let watch = std::mem::take(&mut self.tracker.progress.watch);
        let fit = self.learner.state.fits;
        if let Some((best, _)) = self.learner.best_of_all()
            && best.fit == fit
        {
            self.tracker.progress.scores = watch.scores_of(best).cloned();
        }
    }

    /// Runs the learning rate finder and emits its result.
    fn find_learning_rates(&mut self, rates: LrChoice, steps: usize, fallback: f64) -> Result<LearningRates> {
        let batch = self.learner.data().batch_size();
        let (start, end, images) = match self.learner.state.freezing.frozen() {
            // Where all layers are trained, a good learning rate is a tenth or less of a new head's. Each
            // step is slow, and half a batch shows just as well where the loss rises.
            0 => (1e-4, 1.0, batch.div_ceil(2).max(2)),
            _ => (1e-5, 10.0, batch),
        };
        let find =
            LrFind::default().start_lr(rates.with_head(start)).end_lr(end).steps(steps).batch_size(images);
        let began = Instant::now();
        let curve = self.learner.lr_find(find)?;
        self.emit(&Event::elapsed(Activity::LearningRates, began))?;
        let (shape, reason) = match curve.shape() {
            Ok(shape) => (Some(shape), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let suggestion: Option<LrSuggestion> = curve.suggestion().ok();
        let learning_rates = rates.with_head(suggestion.map_or(fallback, |suggestion| suggestion.rate));
        let fit = self.tracker.progress.fits_before + self.tracker.progress.done + 1;
        self.emit(&Event::LrFound { fit, learning_rates, shape, suggestion, reason, curve })?;
        Ok(learning_rates)
    }

    /// Test-time augmentation with the best weights; `None` where the network's output for a view is not
    /// finite.
    fn predict_views(&mut self, tta: Tta) -> Result<Option<TtaLogits>> {
        self.return_to_best_of_all()?;
        let began = Instant::now();
        let stack = self.learner.predict_views(Part::Valid, tta.views)?;
        self.emit(&Event::elapsed(Activity::Views, began))?;
        if stack.mean(tta.mean).is_finite() {
            return Ok(Some(stack));
        }
        let text = "test-time augmentation is skipped: the network's outputs for some views are not finite (NaN or infinite)";
        self.emit(&Event::Notice { text: text.to_owned() })?;
        Ok(None)
    }

    /// Checks that the network's tensors are finite, and without validation images also its outputs for the
    /// first training images. (Validation has checked them otherwise.)
    fn check_finite(&self) -> Result<()> {
        let (network, data) = (self.learner.network(), self.learner.data());
        check_finite(&network.to_tensors(), "the network")?;
        if !data.part(Part::Valid).is_empty() {
            return Ok(());
        }
        let first: Vec<usize> = data.part(Part::Train).iter().copied().take(data.batch_size()).collect();
        let Some(batch) = self.learner.inputs.loader()?.batches(first, 0)?.next() else { return Ok(()) };
        let mut batch = batch?;
        if batch.indices.is_empty() {
            return Ok(());
        }
        let logits = values(network.infer(to_tensor(&mut batch, &network.device())));
        let classes = data.classes();
        for (&item, row) in batch.indices.iter().zip(logits.chunks_exact(classes.len())) {
            check_outputs(row, classes, "the network", &data.items[item].id)?;
        }
        Ok(())
    }

    /// Restores the best weights of all image sizes, and their size.
    fn return_to_best_of_all(&mut self) -> Result<()> {
        if let Some((_, size)) = self.learner.best_of_all() {
            if size != self.learner.data().size() {
                self.learner.set_size(size)?;
            }
            self.learner.return_to_best();
        }
        Ok(())
    }
}
