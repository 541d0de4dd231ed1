//! Events: what happens during training, and the observers that receive it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ocelli_data::Skipped;
use ocelli_data::text::count;
use ocelli_nn::GROUPS;
use serde::Serialize;

use crate::data::{ClassCount, ImageData};
use crate::error::{Error, Result};
use crate::learner::examples::Examples;
use crate::lr_finder::curve::LrCurve;
use crate::lr_finder::suggest::{CurveShape, LrSuggestion};
use crate::metric::Metric;
use crate::metric::choice::CorrectedEstimate;
use crate::metric::estimate::MetricEstimate;
use crate::metric::record::EpochRecord;
use crate::processes::ProcessGroup;
use crate::recipe::Phase;
use crate::recipe::diagnosis::Diagnosis;
use crate::recipe::freezing::Freezing;
use crate::recipe::logistic::LogisticRegressionFit;
use crate::schedule::learning_rates::LearningRates;

/// Something that happened. Serialises to one JSON object with the field `event`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The images have been read and split.
    Data {
        /// Images of each class in the training and validation sets.
        classes: Vec<ClassCount>,
        /// Training images.
        train: usize,
        /// Validation images.
        valid: usize,
        /// Where the split comes from, for people.
        origin: &'static str,
    },
    /// A notice for people.
    Notice {
        /// One sentence.
        text: String,
    },
    /// An image was skipped.
    Skipped {
        /// The image file.
        #[serde(serialize_with = "ocelli_data::names::as_text")]
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A phase of a recipe begins.
    PhaseStarted(PhaseStarted),
    /// The learning rate finder has run before a fit.
    LrFound {
        /// The fit that it is for, counted from 1.
        fit: usize,
        /// The peak learning rates of the fit.
        learning_rates: LearningRates,
        /// The shape of the curve; `None` where it supports no learning rate.
        shape: Option<CurveShape>,
        /// The head's learning rate, and the rule that chose it; `None` where the curve supports none, and
        /// the recipe's fallback is used.
        suggestion: Option<LrSuggestion>,
        /// Why the curve supports no learning rate.
        reason: Option<String>,
        /// Learning rates and losses.
        curve: LrCurve,
    },
    /// A fit begins.
    FitStarted(FitStarted),
    /// An interrupted fit is resumed.
    Resumed {
        /// The fit, counted from 1.
        fit: usize,
        /// Finished epochs, and all.
        epochs: (usize, usize),
    },
    /// Progress of a long activity.
    Progress(Progress),
    /// The features of the frozen layers are ready.
    Features {
        /// Images whose features were in the cache.
        cached: usize,
        /// Images whose features were computed.
        computed: usize,
        /// Seconds that it took.
        seconds: f64,
        /// Of these, seconds in which the network waited for decoded images.
        waited: f64,
    },
    /// An epoch has ended.
    Epoch(EpochRecord),
    /// Where the time of that epoch went.
    EpochTimes(EpochTimes),
    /// Predictions for a few validation photos after that epoch.
    Examples(Examples),
    /// A logistic regression has been fitted: what was chosen, and how.
    LogisticRegression(LogisticRegressionFit),
    /// Whether a recipe goes on after [`Phase::EndUnlessPromising`].
    Decision {
        /// Whether all layers are trained.
        goes_on: bool,
        /// Why, for people: `yes: …` or `no: …`.
        reason: String,
    },
    /// A diagnosis of a fit that has ended.
    Diagnosis(Diagnosis),
    /// A fold of a cross-validation is finished.
    FoldFinished(FoldFinished),
    /// A long activity has ended for which there is no other event.
    Elapsed {
        /// What was done.
        activity: Activity,
        /// Seconds that it took.
        seconds: f64,
    },
    /// The recipe is finished.
    Finished(Finished),
    /// Training was stopped, and can be resumed.
    Stopped,
    /// A file was written.
    Written {
        /// What it is: "model", "history".
        what: &'static str,
        /// Where it is.
        #[serde(serialize_with = "ocelli_data::names::as_text")]
        path: PathBuf,
    },
}

/// A phase of a recipe begins.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseStarted {
    /// Counted from 1.
    pub number: usize,
    /// The phase.
    #[serde(flatten)]
    pub phase: Phase,
}

impl Event {
    /// A long activity that began at `began` has ended.
    pub(crate) fn elapsed(activity: Activity, began: Instant) -> Self {
        Self::Elapsed { activity, seconds: began.elapsed().as_secs_f64() }
    }
}

/// A fold of a cross-validation is finished.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoldFinished {
    /// Counted from 1.
    pub fold: usize,
    /// The number of folds.
    pub folds: usize,
    /// The images that its model was evaluated on.
    pub images: usize,
    /// Metrics on them.
    pub metrics: Vec<MetricEstimate>,
    /// Seconds of its training, over all attempts.
    pub seconds: f64,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finished {
    /// Seconds of training, over all attempts and folds.
    pub seconds: f64,
    /// The metric that chose the best weights.
    pub metric: Metric,
    /// The fit and the epoch whose weights the model has; `None` without validation images, where it has the
    /// last.
    pub best: Option<(usize, usize)>,
    /// The image size in pixels at which it was evaluated.
    pub size: usize,
    /// The metric that chose the best weights, corrected for the choice.
    pub corrected: Option<CorrectedEstimate>,
    /// Metrics with test-time augmentation, where the recipe ends with it.
    pub augmented: Vec<MetricEstimate>,
}

/// Where the time of an epoch went, in seconds; of a resumed one, since it was resumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct EpochTimes {
    /// The fit, counted from 1.
    pub fit: usize,
    /// The epoch within the fit, counted from 1.
    pub epoch: usize,
    /// Training images.
    pub images: usize,
    /// Waiting for images to be read and decoded, or for cached features.
    pub wait: f64,
    /// From images to the loss, frozen layers included.
    pub forward: f64,
    /// From the loss to the gradients.
    pub backward: f64,
    /// Updating the weights.
    pub optimizer: f64,
    /// Predicting the validation images, and averages of weights before it.
    pub validation: f64,
}

/// A fit begins.
#[derive(Debug, Clone, Serialize)]
pub struct FitStarted {
    /// Counted from 1.
    pub number: usize,
    /// What is frozen, and whether its features are cached.
    #[serde(flatten)]
    pub freezing: Freezing,
    /// The peak learning rates.
    pub learning_rates: LearningRates,
    /// The number of epochs.
    pub epochs: usize,
}

impl fmt::Display for FitStarted {
    /// `5 epochs at learning rate 3.5e-2`
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        if self.learning_rates == LearningRates::from(0.0) {
            return formatter.write_str("logistic regression");
        }
        // Frozen groups have no learning rate.
        let rates = match self.freezing.frozen() + 1 {
            GROUPS => LearningRates::from(self.learning_rates.head()),
            _ => self.learning_rates,
        };
        let epochs = if self.epochs == 1 { "epoch" } else { "epochs" };
        write!(formatter, "{} {epochs} at learning rate {rates}", count(self.epochs))
    }
}

/// How far a long activity is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Progress {
    /// What is being done.
    pub activity: Activity,
    /// Images done; steps for the learning rate finder.
    pub done: usize,
    /// Images in all; steps for the learning rate finder.
    pub total: usize,
}

impl Activity {
    /// The unit of its progress: `image`, `view` or `step`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::LearningRates => "step",
            Self::Views => "view",
            Self::LogisticRegression => "fit",
            Self::Review => "fold",
            _ => "image",
        }
    }
}

/// An activity that takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// Reading and hashing all image files, before a run.
    Hashing,
    /// Computing the features of the frozen layers.
    Features,
    /// Training for one epoch.
    Training,
    /// Evaluating the validation set.
    Validation,
    /// Predicting several views of each image.
    Views,
    /// Estimating batch norm statistics for averaged weights.
    Statistics,
    /// Running the learning rate finder.
    LearningRates,
    /// Resizing large images, once for all epochs.
    Resizing,
    /// Fitting logistic regressions, counted in fits.
    LogisticRegression,
    /// Training heads that check labels, counted in folds.
    Review,
}

/// Receives events. An observer cannot change training; it can only ask to stop it.
pub trait Observer: Send {
    /// Receives one event; `Break` asks to stop after the current step.
    ///
    /// # Errors
    /// Any error, such as a full disk; it ends the training.
    fn observe(&mut self, event: &Event) -> Result<ControlFlow<()>>;
}

impl<F: FnMut(&Event) -> ControlFlow<()> + Send> Observer for F {
    fn observe(&mut self, event: &Event) -> Result<ControlFlow<()>> {
        Ok(self(event))
    }
}

/// The observers, and which skipped images they have been notified of.
#[derive(Default)]
pub(crate) struct Observers {
    observers: Vec<Box<dyn Observer>>,
    /// A request to stop is one to all processes, which agree on when.
    pub(crate) processes: ProcessGroup,
    /// Why each was skipped.
    skipped: BTreeMap<PathBuf, String>,
}

impl Observers {
    pub(crate) fn add(&mut self, observer: Box<dyn Observer>) {
        self.observers.push(observer);
    }

    /// Sends an event to every observer; an error of one, or a request to stop, is then returned.
    pub(crate) fn emit(&mut self, event: &Event) -> Result<()> {
        let (mut result, mut stop) = (Ok(()), false);
        for observer in &mut self.observers {
            match observer.observe(event) {
                Ok(flow) => stop |= flow.is_break(),
                Err(error) => result = Err(error),
            }
        }
        // Several processes stop together, when they next exchange something.
        let is_agreed = |stop: bool| stop && !self.processes.wants_to_stop();
        if result.is_ok() && is_agreed(stop) { Err(Error::Stopped) } else { result }
    }

    /// Emits how far a long activity is.
    pub(crate) fn progress(&mut self, activity: Activity, done: usize, total: usize) -> Result<()> {
        // A lost process is noticed here too, where nothing is exchanged for long.
        self.processes.check()?;
        self.emit(&Event::Progress(Progress { activity, done, total }))
    }

    /// Emits images that were skipped, each once; an error where a class loses too many.
    pub(crate) fn emit_skipped(&mut self, skipped: &[Skipped], data: &ImageData) -> Result<()> {
        let mut is_new = false;
        for Skipped { path, reason, .. } in skipped {
            if self.skipped.insert(path.clone(), reason.clone()).is_none() {
                is_new = true;
                self.emit(&Event::Skipped { path: path.clone(), reason: reason.clone() })?;
            }
        }
        let all = self.skipped.iter().map(|(path, reason)| (path.as_path(), reason.as_str()));
        if is_new { data.can_spare(all) } else { Ok(()) }
    }

    /// Whether any image has been skipped.
    pub(crate) fn has_skipped(&self) -> bool {
        !self.skipped.is_empty()
    }

    /// Whether an image has been skipped.
    pub(crate) fn was_skipped(&self, path: &Path) -> bool {
        self.skipped.contains_key(path)
    }
}
