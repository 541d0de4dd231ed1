//! Performing a recipe, from any point of it on.

use std::time::Instant;

use ocelli_nn::Backbone;

use crate::data::Part;
use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::event::{Event, PhaseStarted, Task};
use crate::learner::Learner;
use crate::lr_finder::LrFind;
use crate::lr_finder::suggest::Suggestion;
use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;
use crate::model::finite::{check_finite, check_outputs};
use crate::model::tta::{Tta, TtaLogits};
use crate::recipe::diagnosis::{Compared, Diagnosis, Watch};
use crate::recipe::freezing::Freezing;
use crate::recipe::{LrChoice, Phase, Recipe, TrainPhase};
use crate::run::progress::Progress;
use crate::run::tracker::Tracker;
use crate::schedule::learning_rates::LearningRates;
use crate::train::infer::values;

/// What a recipe came to.
#[derive(Debug, Clone)]
pub struct RecipeResult {
    /// The validation set, as the network is used, with the best weights.
    pub predictions: Predictions,
    /// Every view of it, where the recipe ends with test-time augmentation.
    pub views: Option<TtaLogits>,
}

impl<B: Backbone> Learner<B> {
    /// Performs a recipe, keeping the best weights, which the learner has at the end, whatever came after them; see
    /// [`keep_best`](Self::keep_best).
    ///
    /// A step that diverges, or after none of whose epochs everything that the network computes is finite, is given up
    /// where there are good weights to return to.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`Error::NoFiniteEpoch`] where there are no good weights; [`Error::Memory`] before the first step where the machine has too little of it.
    pub fn run_recipe(&mut self, recipe: &Recipe) -> Result<RecipeResult> {
        recipe.check()?;
        self.unfinished = None;
        self.check_memory(recipe, 0)?;
        let mut tracker = Tracker::new(None);
        tracker.progress.fits_before = self.state.fits;
        run_recipe(self, recipe, &mut tracker)
    }
}

/// Performs what is left of a recipe, beginning with the fit that is unfinished.
pub(crate) fn run_recipe<B: Backbone>(
    learner: &mut Learner<B>,
    recipe: &Recipe,
    tracker: &mut Tracker,
) -> Result<RecipeResult> {
    if learner.best.metric.is_none() {
        learner.keep_best(Some(Metric::usual(learner.data().task())));
    }
    let mut runner = Runner { learner, tracker };
    let mut views = None;
    while let Some(phase) = recipe.phases.get(runner.tracker.progress.done) {
        if runner.learner.unfinished.is_none() {
            let number = runner.tracker.progress.done + 1;
            runner.tell(&Event::PhaseStarted(PhaseStarted { number, phase: phase.clone() }))?;
        }
        match phase {
            Phase::Train(train) => runner.train(train)?,
            Phase::Resize { size } => runner.learner.set_size(*size)?,
            Phase::Tta(tta) => views = runner.predict_views(*tta)?,
        }
        runner.tracker.progress = Progress {
            fits_before: runner.tracker.progress.fits_before,
            done: runner.tracker.progress.done + 1,
            seconds: runner.tracker.progress.seconds,
            scores: runner.tracker.progress.scores.take(),
            ..Progress::default()
        };
        runner.tracker.write_checkpoint_of(runner.learner)?;
    }
    runner.return_to_best_of_all()?;
    runner.check_finite()?;
    let predictions = match &views {
        Some(views) => views.plain(),
        None => runner.learner.validate()?,
    };
    Ok(RecipeResult { predictions, views })
}

/// Performs steps of a recipe.
struct Runner<'a, B: Backbone> {
    learner: &'a mut Learner<B>,
    tracker: &'a mut Tracker,
}

impl<B: Backbone> Runner<'_, B> {
    fn tell(&mut self, event: &Event) -> Result<()> {
        self.learner.observers.tell(event)
    }

    /// One fit, begun or gone on with, and what is made of its outcome.
    fn train(&mut self, train: &TrainPhase) -> Result<()> {
        if self.learner.unfinished.is_none() {
            self.begin(train)?;
        }
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
            Ok(_) => self.tell_reading(&rows),
            Err(error @ (Error::Diverged { .. } | Error::NoFiniteEpoch { .. }))
                if self.learner.best_of_all().is_some() =>
            {
                self.give_up(&error)
            }
            Err(error) => Err(error),
        }
    }

    /// Begins the fit of a step, at its learning rates, or those that the finder finds.
    fn begin(&mut self, train: &TrainPhase) -> Result<()> {
        match train.freezing {
            Freezing::Cached { .. } => self.learner.precompute_with(train.freezing)?,
            Freezing::Live { .. } => self.learner.set_freezing(train.freezing),
        }
        let rates = match (self.tracker.progress.rates, train.lr) {
            (Some(rates), _) => rates,
            (None, LrChoice::Fixed(rates)) => rates,
            (None, LrChoice::Finder { steps, fallback, .. }) => self.find_rates(train.lr, steps, fallback)?,
        };
        let progress = &mut self.tracker.progress;
        progress.rates = Some(rates);
        progress.before = self.learner.best_of_all().map(|(row, _)| row.clone());
        progress.watch = Watch::default();
        // A fit has the number of its step, after the fits before the recipe.
        self.learner.state.fits = progress.fits_before + progress.done;
        self.learner.begin(rates, train.schedule.clone())?;
        self.tracker.write_checkpoint_of(self.learner)
    }

    /// Says what the rows of a fit mean, and returns to the best weights.
    fn tell_reading(&mut self, rows: &[EpochRecord]) -> Result<()> {
        let progress = &self.tracker.progress;
        let (watch, scores, before) =
            (progress.watch.clone(), progress.scores.clone(), progress.before.clone());
        self.take_scores();
        let best = self.learner.best_of_all().map(|(row, _)| row.clone());
        let baseline = self.learner.data().baseline(&watch.items());
        let compared = Compared {
            metric: self.learner.best.metric,
            before: before.as_ref().map(|row| (row, scores.as_ref())),
            best: best.as_ref(),
            baseline: Some(&baseline),
        };
        if let Some(reading) = Diagnosis::of(rows, &watch, &compared) {
            self.tell(&Event::Diagnosis(reading))?;
        }
        self.learner.return_to_best();
        Ok(())
    }

    /// Goes on without the step at hand, with the best weights so far.
    fn give_up(&mut self, error: &Error) -> Result<()> {
        self.learner.unfinished = None;
        self.take_scores();
        let text = format!("{error}. This step is given up; the best weights so far are kept");
        self.tell(&Event::Notice { text })?;
        if self.learner.best().is_some() {
            self.learner.return_to_best();
        } else {
            self.learner.take_best_of_all();
        }
        Ok(())
    }

    /// Where the best epoch of all is one of the fit at hand, what each image contributes to it is kept for the fits to
    /// come.
    fn take_scores(&mut self) {
        let watch = std::mem::take(&mut self.tracker.progress.watch);
        let fit = self.learner.state.fits;
        if self.learner.best_of_all().is_some_and(|(row, _)| row.fit == fit) {
            self.tracker.progress.scores = watch.scores().cloned();
        }
    }

    /// Runs the learning rate finder and says what it found.
    fn find_rates(&mut self, rates: LrChoice, steps: usize, fallback: f64) -> Result<LearningRates> {
        let batch = self.learner.data().batch_size();
        let (start, end, images) = match self.learner.state.freezing.frozen() {
            // Where all layers are trained, what is good is a tenth and less of what is good for a new head. Each step is
            // dear, and half a batch says as much of where the loss rises.
            0 => (1e-4, 1.0, batch.div_ceil(2).max(2)),
            _ => (1e-5, 10.0, batch),
        };
        let find = LrFind::default().start(rates.with_head(start)).end(end).steps(steps).batch_size(images);
        let began = Instant::now();
        let curve = self.learner.lr_find(find)?;
        self.tell(&Event::spent(Task::LearningRates, began))?;
        let (finding, doubt) = match curve.finding() {
            Ok(finding) => (Some(finding), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let suggestion: Option<Suggestion> = curve.suggestion().ok();
        let rates = rates.with_head(suggestion.map_or(fallback, |suggestion| suggestion.rate));
        let fit = self.tracker.progress.fits_before + self.tracker.progress.done + 1;
        self.tell(&Event::RateFound { fit, rates, finding, suggestion, doubt, curve })?;
        Ok(rates)
    }

    /// Test-time augmentation with the best weights; nothing where what the network computes of a view is not finite.
    fn predict_views(&mut self, tta: Tta) -> Result<Option<TtaLogits>> {
        self.return_to_best_of_all()?;
        let began = Instant::now();
        let stack = self.learner.predict_views(Part::Valid, tta.views)?;
        self.tell(&Event::spent(Task::Views, began))?;
        if stack.mean(tta.mean).is_finite() {
            return Ok(Some(stack));
        }
        let text =
            "test-time augmentation is left out: what the network computes of some views is not finite";
        self.tell(&Event::Notice { text: text.to_owned() })?;
        Ok(None)
    }

    /// Whether the network is of use: its tensors are finite, and where nothing is held out, what it computes of the first
    /// images that it was trained on. (Validation has shown it otherwise.)
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

    /// Returns to the best weights at any size of the images, and to that size.
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
