//! Cross-validation: a run for each fold, by whose predictions the run of all images is evaluated.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ocelli_data::{Target, escape_formula};
use ocelli_nn::{AnyBackbone, Backbone};

use crate::data::ImageData;
use crate::data::notices::LOOK_ALIKES;
use crate::data::valid_split::ValidSplit;
use crate::error::{Error, Result};
use crate::event::{Event, FoldFinished};
use crate::file;
use crate::learner::Learner;
use crate::metric::Metric;
use crate::metric::choice::CorrectedEstimate;
use crate::metric::predictions::{PredictionParts, Predictions, THRESHOLD};
use crate::paths::{CONFIG, is_file};
use crate::run::Run;
use crate::run::config::{RunConfig, RunEnv};
use crate::run::finished::FinishedRun;
use crate::run::measures;
use crate::run::resume::Moved;
use crate::run::stop_request::StopRequest;

/// What the folds' models predict: each image by a model that has not seen it.
#[derive(Debug)]
pub(crate) struct OutOfFold {
    /// Of all images that could be read, by ascending items.
    pub(crate) predictions: Predictions,
    /// The metric that chose the folds' epochs, corrected for that choice.
    pub(crate) corrected: Option<CorrectedEstimate>,
    /// Seconds of the folds' training.
    pub(crate) seconds: f64,
}

/// Receives the run of each fold before it starts, and the fold, counted from 1: to add observers.
pub type BeginFold<'a, B> = dyn FnMut(&mut Run<B>, usize) + 'a;

impl Run<AnyBackbone> {
    /// Runs the folds of a cross-validation ([`ValidSplit::Folds`]), or what is left of them: each is a run of its own in
    /// the folder `fold-K` of this one. After that [`run`](Run::run) trains on all images. `env` and `moved` are those
    /// that this run was prepared or resumed with.
    ///
    /// # Errors
    /// As [`prepare`](Run::prepare), [`resume`](Run::resume) and [`run`](Run::run) of the folds.
    pub fn run_folds(
        &mut self,
        env: &RunEnv,
        moved: &Moved,
        begin: &mut BeginFold<AnyBackbone>,
    ) -> Result<()> {
        self.folds(env, begin, &|settings, env| Self::prepare(settings, env), &|run, env| {
            Self::resume(run, env, moved)
        })
    }
}

impl<B: Backbone> Run<B> {
    /// As [`run_folds`](Run::run_folds), for a custom network: `learner` makes a new learner of a fold's settings and
    /// images, as it did for [`prepare_with`](Self::prepare_with).
    ///
    /// # Errors
    /// As [`run_folds`](Run::run_folds), and any error of `learner`.
    pub fn run_folds_with(
        &mut self,
        env: &RunEnv,
        moved: &Moved,
        begin: &mut BeginFold<B>,
        learner: impl Fn(&RunConfig, ImageData) -> Result<Learner<B>>,
    ) -> Result<()> {
        self.folds(
            env,
            begin,
            &|settings, env| Self::prepare_with(settings, env, |data| learner(settings, data)),
            &|run, env| Self::resume_with(run, env, moved, &learner),
        )
    }

    fn folds(
        &mut self,
        env: &RunEnv,
        begin: &mut BeginFold<B>,
        prepare: &dyn Fn(&RunConfig, &RunEnv) -> Result<Self>,
        resume: &dyn Fn(&Path, &RunEnv) -> Result<Self>,
    ) -> Result<()> {
        let Some(folds) = self.settings.folds() else { return Ok(()) };
        let mut parts = Vec::new();
        for fold in 1..=folds {
            let folder = self.run.fold(fold);
            let begun = match is_file(&folder.join(CONFIG))? {
                true => resume(&folder, &RunEnv { out: None, ..env.clone() }),
                false => {
                    let valid_split = Some(self.valid_split_of(fold, folds, env)?);
                    let settings = RunConfig { valid_split, ..self.settings.clone() };
                    prepare(&settings, &RunEnv { out: Some(folder.clone()), ..env.clone() })
                }
            };
            match begun {
                // It was finished before this process.
                Err(Error::Finished { .. }) => {}
                begun => {
                    let mut run = begun?;
                    begin(&mut run, fold);
                    let copies = copies_told(&mut run);
                    // Who asks the whole to stop means what is running.
                    run.observe(StopRequest::of(self.run.path()));
                    run.run().inspect_err(|_| self.run.end_stop_request())?;
                    drop(run);
                    // Folds are alike: what is true of the first is said once.
                    let told = copies.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let (1, Some(told)) = (fold, told) {
                        let text = told.replacen(
                            LOOK_ALIKES,
                            &format!("warning: in fold 1 of {folds} at least "),
                            1,
                        );
                        self.learner.observers.emit(&Event::Notice { text })?;
                    }
                }
            }
            let part = self.part(&folder)?;
            let metrics = measures(&part.predictions.monitored(self.metric()), self.metric());
            let (images, seconds) = (part.predictions.len(), part.seconds);
            let finished = FoldFinished { fold, folds, images, metrics, seconds };
            self.learner.observers.emit(&Event::FoldFinished(finished))?;
            parts.push(part);
        }
        self.out_of_fold = Some(merged(&parts, self.metric()));
        Ok(())
    }

    /// The split of a fold, counted from 1, that is to begin: that of the images with which the whole run began, though
    /// some may be gone by now, and others added.
    fn valid_split_of(&self, fold: usize, folds: usize, env: &RunEnv) -> Result<ValidSplit> {
        let drawn = ValidSplit::Fold { folds, fold: fold - 1 };
        let Some(began) = self.run.folds()?.filter(|_| self.is_resumed) else { return Ok(drawn) };
        let data = self.learner.data();
        let here: BTreeSet<&str> = data.items().items.iter().map(|item| item.id.as_str()).collect();
        let (there, tested_there) = self.settings.image_data(env.threads).ids()?;
        let is_same = began.keys().map(String::as_str).eq(here.iter().copied());
        let tested: BTreeSet<&str> =
            data.split().test.iter().map(|&item| data.items()[item].id.as_str()).collect();
        let is_same = is_same && tested_there.iter().map(String::as_str).eq(tested.iter().copied());
        if is_same && began.keys().eq(there.iter()) {
            return Ok(drawn);
        }
        let side = |id: &str| match began.get(id) {
            // What is no part of the run is neither trained on nor predicted, as a test image.
            _ if tested.contains(id) || !here.contains(id) => "test",
            Some(Some(held_out)) if *held_out == fold => "valid",
            _ => "train",
        };
        let mut table = csv::Writer::from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        table.write_record(["id", "split"]).expect(in_memory);
        for id in there.iter().map(String::as_str) {
            table.write_record([&*escape_formula(id), side(id)]).expect(in_memory);
        }
        let path = self.run.path().join(format!("fold-{fold}.csv"));
        file::write_whole(&path, &table.into_inner().expect(in_memory))?;
        Ok(ValidSplit::File(path))
    }

    fn metric(&self) -> Metric {
        self.learner.best.metric.unwrap_or(Metric::usual(self.learner.data().task()))
    }

    /// The predictions of a finished fold, with this run's items.
    fn part(&self, folder: &Path) -> Result<Part> {
        let finished = FinishedRun::open(folder)?;
        let named = finished.predictions()?;
        let items = self.learner.data().items();
        let classes = items.classes.names();
        if named.classes != classes {
            return Err(Error::ClassMismatch {
                what: folder.display().to_string(),
                found: named.classes,
                expected: classes.to_vec(),
            });
        }
        let index: HashMap<&str, usize> =
            items.items.iter().enumerate().map(|(index, item)| (item.id.as_str(), index)).collect();
        // The run may have been resumed without photos that are gone.
        let rows: Vec<(usize, usize)> = named
            .ids
            .iter()
            .enumerate()
            .filter_map(|(row, id)| Some((*index.get(id.as_str())?, row)))
            .collect();
        let (corrected, seconds) = finished.finished.map_or((None, 0.0), |end| (end.corrected, end.seconds));
        Ok(Part { predictions: chosen(&[(&named.predictions, rows)]), corrected, seconds })
    }
}

/// What a run will say of validation images that look like training images.
fn copies_told<B: Backbone>(run: &mut Run<B>) -> Arc<Mutex<Option<String>>> {
    let told = Arc::new(Mutex::new(None));
    let heard = told.clone();
    run.observe(move |event: &Event| {
        if let Event::Notice { text } = event
            && text.starts_with(LOOK_ALIKES)
        {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
        }
        ControlFlow::Continue(())
    });
    told
}

/// What is known of a fold.
struct Part {
    predictions: Predictions,
    corrected: Option<CorrectedEstimate>,
    seconds: f64,
}

/// All folds as one.
fn merged(parts: &[Part], metric: Metric) -> OutOfFold {
    let rows = |part: &Part| part.predictions.items().iter().copied().zip(0..).collect();
    let all: Vec<(&Predictions, Vec<(usize, usize)>)> =
        parts.iter().map(|part| (&part.predictions, rows(part))).collect();
    OutOfFold {
        predictions: chosen(&all),
        corrected: corrected(parts, metric),
        seconds: parts.iter().map(|part| part.seconds).sum(),
    }
}

/// Rows of some predictions, by the items that they get.
fn chosen(parts: &[(&Predictions, Vec<(usize, usize)>)]) -> Predictions {
    let mut rows: Vec<(usize, &Predictions, usize)> =
        parts.iter().flat_map(|(part, rows)| rows.iter().map(|&(item, row)| (item, *part, row))).collect();
    rows.sort_by_key(|(item, ..)| *item);
    let (task, classes) = (parts[0].0.task(), parts[0].0.classes());
    let targets: Vec<Target> = rows.iter().map(|(_, part, row)| part.targets()[*row].clone()).collect();
    let probabilities =
        rows.iter().flat_map(|(_, part, row)| &part.probabilities()[row * classes..][..classes]).copied();
    Predictions::from_parts(PredictionParts {
        task,
        classes,
        targets,
        probabilities: probabilities.collect(),
        items: rows.iter().map(|(item, ..)| *item).collect(),
        losses: rows.iter().map(|(_, part, row)| part.losses()[*row]).collect(),
        thresholds: vec![THRESHOLD; classes],
    })
}

/// The mean of the folds' corrected metrics by their images; folds in which there was no choice have their plain one.
/// The interval is that of a mean of independent figures.
fn corrected(parts: &[Part], metric: Metric) -> Option<CorrectedEstimate> {
    let epochs = parts.iter().filter_map(|part| Some(part.corrected?.epochs)).max()?;
    let images: usize = parts.iter().map(|part| part.predictions.len()).sum();
    let (mut value, mut below, mut above) = (0.0, 0.0, 0.0);
    for part in parts {
        let (of_part, (low, high)) = match part.corrected {
            Some(corrected) => (corrected.value, corrected.interval),
            None => {
                let plain = part.predictions.monitored(metric).estimate(metric);
                (plain.value, plain.interval)
            }
        };
        let weight = part.predictions.len() as f64 / images as f64;
        value += weight * of_part;
        below += (weight * (of_part - low)).powi(2);
        above += (weight * (high - of_part)).powi(2);
    }
    let interval = (value - below.sqrt(), value + above.sqrt());
    value.is_finite().then_some(CorrectedEstimate { metric, epochs, value, interval })
}
