//! Performing a recipe, from any point of it on.

use std::time::Instant;

use ocelli_nn::Backbone;
use serde::{Deserialize, Serialize};

use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::event::{EpochRow, Event, PhaseStarted, Task};
use crate::learner::Learner;
use crate::lr_finder::{LrFind, Suggestion};
use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::model::finite::{check_finite, check_outputs};
use crate::model::tta::Stack;
use crate::recipe::diagnosis::{Compared, Diagnosis, Packed, Watch};
use crate::recipe::freezing::Freezing;
use crate::recipe::{LrChoice, Phase, Recipe, TrainPhase};
use crate::schedule::learning_rates::LearningRates;

/// How far a recipe is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Fits of the learner before the recipe: those of the recipe are numbered on from there.
    pub(crate) fits_before: usize,
    /// Steps that are over.
    pub(crate) done: usize,
    /// The learning rates of the step at hand, once they are known.
    pub(crate) rates: Option<LearningRates>,
    /// The best row before the step at hand.
    pub(crate) before: Option<EpochRow>,
    /// What each validation image contributed to the metric of that row.
    #[serde(default)]
    pub(crate) scores: Option<Packed>,
    /// What the step at hand has shown so far.
    #[serde(default)]
    pub(crate) watch: Watch,
    /// Seconds of training so far, over all attempts.
    pub(crate) seconds: f64,
}

/// What a recipe came to.
#[derive(Debug, Clone)]
pub struct Performed {
    /// The validation set, as the network is used, with the best weights.
    pub predictions: Predictions,
    /// Every view of it, where the recipe ends with test-time augmentation.
    pub views: Option<Stack>,
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
    pub fn perform(&mut self, recipe: &Recipe) -> Result<Performed> {
        recipe.check()?;
        self.performance = Progress { fits_before: self.fits, ..Progress::default() };
        self.unfinished = None;
        self.check_memory(recipe)?;
        self.go_on(recipe)
    }

    /// Performs what is left of a recipe, beginning with the fit that is unfinished.
    pub(crate) fn go_on(&mut self, recipe: &Recipe) -> Result<Performed> {
        if self.keeping.is_none() {
            self.keep_best(Some(Metric::usual(self.data.task())));
        }
        let mut views = None;
        while let Some(phase) = recipe.phases.get(self.performance.done) {
            if self.unfinished.is_none() {
                let number = self.performance.done + 1;
                self.tell(&Event::PhaseStarted(PhaseStarted { number, phase: phase.clone() }))?;
            }
            match phase {
                Phase::Train(train) => self.perform_train(train)?,
                Phase::Resize { size } => self.set_size(*size)?,
                Phase::Tta(tta) => {
                    self.return_to_best_of_all()?;
                    let began = Instant::now();
                    let stack = self.predict_views(crate::data::Part::Valid, tta.views)?;
                    self.tell(&Event::spent(Task::Views, began))?;
                    if stack.mean(tta.mean).is_finite() {
                        views = Some(stack);
                    } else {
                        let text = "test-time augmentation is left out: what the network computes of some views is \
                                    not finite";
                        self.tell(&Event::Notice { text: text.to_owned() })?;
                    }
                }
            }
            self.performance = Progress {
                fits_before: self.performance.fits_before,
                done: self.performance.done + 1,
                seconds: self.performance.seconds,
                scores: self.performance.scores.take(),
                ..Progress::default()
            };
            self.write_checkpoint(None)?;
        }
        self.return_to_best_of_all()?;
        self.check_finite()?;
        let predictions = match &views {
            Some(views) => views.plain(),
            None => self.validate()?,
        };
        Ok(Performed { predictions, views })
    }

    fn perform_train(&mut self, train: &TrainPhase) -> Result<()> {
        let result = match self.unfinished {
            Some(_) => self.resume(),
            None => {
                match train.freezing {
                    Freezing::Cached { .. } => self.precompute_with(train.freezing)?,
                    Freezing::Live { .. } => self.set_freezing(train.freezing),
                }
                let rates = match (self.performance.rates, train.lr) {
                    (Some(rates), _) => rates,
                    (None, LrChoice::Fixed(rates)) => rates,
                    (None, LrChoice::Finder { steps, fallback, .. }) => {
                        self.find_rates(train.lr, steps, fallback)?
                    }
                };
                self.performance.rates = Some(rates);
                self.performance.before = self.best_of_all().map(|(row, _)| row.clone());
                // A fit has the number of its step, after the fits before the recipe.
                self.fits = self.performance.fits_before + self.performance.done;
                let fit = self.begin(rates, train.schedule.clone())?;
                self.write_checkpoint(Some(&fit))?;
                self.finish(fit)
            }
        };
        let rows: Vec<EpochRow> = self.history.iter().filter(|row| row.stage == self.fits).cloned().collect();
        let rates = self.performance.rates.map(|rates| rates.to_string()).unwrap_or_default();
        let lost = || Error::NoFiniteEpoch { stage: self.fits, epochs: rows.len(), rates };
        let result = match result {
            Ok(_) if !rows.is_empty() && rows.iter().all(|row| !row.is_finite()) => Err(lost()),
            result => result,
        };
        match result {
            Ok(_) => {}
            Err(error @ (Error::Diverged { .. } | Error::NoFiniteEpoch { .. }))
                if self.best_of_all().is_some() =>
            {
                self.unfinished = None;
                self.take_scores();
                let text = format!("{error}. This step is given up; the best weights so far are kept");
                self.tell(&Event::Notice { text })?;
                if self.best().is_some() {
                    self.return_to_best();
                } else {
                    self.take_best_of_all();
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let (watch, scores) = (self.performance.watch.clone(), self.performance.scores.clone());
        self.take_scores();
        let best = self.best_of_all().map(|(row, _)| row.clone());
        let baseline = self.data.baseline(&watch.items());
        let compared = Compared {
            metric: self.keeping,
            before: self.performance.before.as_ref().map(|row| (row, scores.as_ref())),
            best: best.as_ref(),
            baseline: Some(&baseline),
        };
        if let Some(diagnosis) = Diagnosis::of(&rows, &watch, &compared) {
            self.tell(&Event::Diagnosis(diagnosis))?;
        }
        self.return_to_best();
        Ok(())
    }

    /// Where the best epoch of all is one of the stage at hand, what each image contributes to it is kept for the stages to
    /// come.
    fn take_scores(&mut self) {
        let watch = std::mem::take(&mut self.performance.watch);
        if self.best_of_all().is_some_and(|(row, _)| row.stage == self.fits) {
            self.performance.scores = watch.scores().cloned();
        }
    }

    /// Runs the learning rate finder and says what it found.
    fn find_rates(&mut self, rates: LrChoice, steps: usize, fallback: f64) -> Result<LearningRates> {
        let (start, end, images) = match self.freezing.frozen() {
            // Where all layers are trained, what is good is a tenth and less of what is good for a new head. Each step is
            // dear, and half a batch says as much of where the loss rises.
            0 => (1e-4, 1.0, self.data.batch_size().div_ceil(2).max(2)),
            _ => (1e-5, 10.0, self.data.batch_size()),
        };
        let find = LrFind::default().start(rates.with_head(start)).end(end).steps(steps).batch_size(images);
        let began = Instant::now();
        let curve = self.lr_find(find)?;
        self.tell(&Event::spent(Task::LearningRates, began))?;
        let (finding, doubt) = match curve.finding() {
            Ok(finding) => (Some(finding), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let suggestion: Option<Suggestion> = curve.suggestion().ok();
        let rates = rates.with_head(suggestion.map_or(fallback, |suggestion| suggestion.rate));
        let stage = self.performance.fits_before + self.performance.done + 1;
        self.tell(&Event::RateFound { stage, rates, finding, suggestion, doubt, curve })?;
        Ok(rates)
    }

    /// Whether the network is of use: its tensors are finite, and where nothing is held out, what it computes of the first
    /// images that it was trained on. (Validation has shown it otherwise.)
    fn check_finite(&mut self) -> Result<()> {
        check_finite(&self.network.to_tensors(), "the network")?;
        if !self.items_of(crate::data::Part::Valid).is_empty() {
            return Ok(());
        }
        let first: Vec<usize> = self.data.split.train.iter().copied().take(self.data.batch_size()).collect();
        let Some(batch) = self.loader()?.batches(first, 0)?.next() else { return Ok(()) };
        let mut batch = batch?;
        if batch.indices.is_empty() {
            return Ok(());
        }
        let logits = self.network.infer(to_tensor(&mut batch, &self.network.device()));
        let logits = logits.into_data().try_into_vec::<f32>().expect("logits are f32");
        let classes = self.data.classes();
        for (&item, row) in batch.indices.iter().zip(logits.chunks_exact(classes.len())) {
            check_outputs(row, classes, "the network", &self.data.items[item].id)?;
        }
        Ok(())
    }

    /// Returns to the best weights at any size of the images, and to that size.
    fn return_to_best_of_all(&mut self) -> Result<()> {
        if let Some((_, size)) = self.best_of_all() {
            if size != self.data.size() {
                self.set_size(size)?;
            }
            self.return_to_best();
        }
        Ok(())
    }
}
