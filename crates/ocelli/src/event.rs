//! What happens while a learner works, told to whoever listens.

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
use crate::lr_finder::curve::LrCurve;
use crate::lr_finder::suggest::{Finding, Suggestion};
use crate::metric::Metric;
use crate::metric::estimate::MetricEstimate;
use crate::metric::record::EpochRecord;
use crate::recipe::Phase;
use crate::recipe::diagnosis::Diagnosis;
use crate::recipe::freezing::Freezing;
use crate::schedule::learning_rates::LearningRates;

/// Something that happened. Serialises to one JSON object with the field `event`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The photos have been read and divided.
    Data {
        /// Images of each class in each part.
        classes: Vec<ClassCount>,
        /// Images to train on.
        train: usize,
        /// Images to measure on.
        valid: usize,
        /// Who decided what is held out, for people.
        origin: &'static str,
    },
    /// Something that people should know.
    Notice {
        /// One sentence.
        text: String,
    },
    /// An image was left out.
    Skipped {
        /// The image file.
        #[serde(serialize_with = "ocelli_data::names::as_text")]
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A step of a recipe begins.
    PhaseStarted(PhaseStarted),
    /// The learning rate finder has looked for the rates of a fit.
    RateFound {
        /// The fit that it is for, counted from 1.
        fit: usize,
        /// The peak learning rates that are gone on with.
        rates: LearningRates,
        /// What the curve says of the head's, if it is of use.
        finding: Option<Finding>,
        /// The head's rate that is gone on with, and by which rule; nothing where the curve is of no use.
        suggestion: Option<Suggestion>,
        /// Why it is not.
        doubt: Option<String>,
        /// What the finder saw.
        curve: LrCurve,
    },
    /// A fit begins.
    FitStarted(FitStarted),
    /// An interrupted fit goes on.
    Resumed {
        /// The fit, counted from 1.
        fit: usize,
        /// Epochs that are over, and all.
        epochs: (usize, usize),
    },
    /// A long step has gone on.
    Progress(Progress),
    /// Activations are ready.
    Activations {
        /// Images whose activations were kept from an earlier time.
        kept: usize,
        /// Images whose activations were computed now.
        computed: usize,
        /// Seconds that it took.
        seconds: f64,
    },
    /// An epoch is over.
    Epoch(EpochRecord),
    /// What the rows of a fit mean.
    Diagnosis(Diagnosis),
    /// A long step is over that is told of nowhere else.
    Spent {
        /// What was done.
        task: Task,
        /// Seconds that it took.
        seconds: f64,
    },
    /// All steps are over.
    Finished(Finished),
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
    /// What is done.
    #[serde(flatten)]
    pub phase: Phase,
}

impl Event {
    /// That a long step is over, which began then.
    pub(crate) fn spent(task: Task, began: Instant) -> Self {
        Self::Spent { task, seconds: began.elapsed().as_secs_f64() }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finished {
    /// Seconds from the first step on, over all attempts.
    pub seconds: f64,
    /// What the best weights were kept by.
    pub metric: Metric,
    /// The fit and the epoch whose weights the model has; nothing where no image is held out, so that it has the last.
    pub kept: Option<(usize, usize)>,
    /// The side in pixels of the images that it was measured on.
    pub size: usize,
    /// Measures with test-time augmentation, where the recipe ends with it.
    pub augmented: Vec<MetricEstimate>,
}

/// A fit begins.
#[derive(Debug, Clone, Serialize)]
pub struct FitStarted {
    /// Counted from 1.
    pub number: usize,
    /// What is frozen and what is precomputed.
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
        // Frozen groups have no learning rate.
        let rates = match self.freezing.frozen() + 1 {
            GROUPS => LearningRates::from(self.learning_rates.head()),
            _ => self.learning_rates,
        };
        let epochs = if self.epochs == 1 { "epoch" } else { "epochs" };
        write!(formatter, "{} {epochs} at learning rate {rates}", count(self.epochs))
    }
}

/// How far a long step is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Progress {
    /// What is being done.
    pub task: Task,
    /// Images done; steps, where learning rates are searched.
    pub done: usize,
    /// Images in all; steps, where learning rates are searched.
    pub total: usize,
}

impl Task {
    /// What is counted: `image`, `view` or `step`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::LearningRates => "step",
            Self::Views => "view",
            _ => "image",
        }
    }
}

/// The steps that take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Computing the frozen groups' output.
    Activations,
    /// Training for one epoch.
    Training,
    /// Measuring on the validation set.
    Validation,
    /// Predicting several views of each image.
    Views,
    /// Estimating the statistics of norms for averaged weights.
    Statistics,
    /// Searching learning rates.
    LearningRates,
    /// Resizing large images once for all epochs.
    Resizing,
}

/// Someone who listens. Observers cannot change training, except to ask for its end.
pub trait Observer: Send {
    /// Takes one event; `Break` asks to stop after the step at hand.
    ///
    /// # Errors
    /// What keeps the observer from its work, such as a full disk; it ends the training with that error.
    fn observe(&mut self, event: &Event) -> Result<ControlFlow<()>>;
}

impl<F: FnMut(&Event) -> ControlFlow<()> + Send> Observer for F {
    fn observe(&mut self, event: &Event) -> Result<ControlFlow<()>> {
        Ok(self(event))
    }
}

/// Those who listen, and what they have been told of images that were left out.
#[derive(Default)]
pub(crate) struct Observers {
    listeners: Vec<Box<dyn Observer>>,
    /// Why each was left out.
    skipped: BTreeMap<PathBuf, String>,
}

impl Observers {
    pub(crate) fn add(&mut self, observer: Box<dyn Observer>) {
        self.listeners.push(observer);
    }

    /// Tells everyone; then an error, or a wish to stop, ends the work.
    pub(crate) fn tell(&mut self, event: &Event) -> Result<()> {
        let (mut result, mut stop) = (Ok(()), false);
        for observer in &mut self.listeners {
            match observer.observe(event) {
                Ok(wish) => stop |= wish.is_break(),
                Err(error) => result = Err(error),
            }
        }
        if stop && result.is_ok() { Err(Error::Stopped) } else { result }
    }

    /// Tells how far a long step is.
    pub(crate) fn progress(&mut self, task: Task, done: usize, total: usize) -> Result<()> {
        self.tell(&Event::Progress(Progress { task, done, total }))
    }

    /// Tells of images that were left out, of each once; an error where a class cannot do without them.
    pub(crate) fn tell_skipped(&mut self, skipped: &[Skipped], data: &ImageData) -> Result<()> {
        let mut is_new = false;
        for Skipped { path, reason, .. } in skipped {
            if self.skipped.insert(path.clone(), reason.clone()).is_none() {
                is_new = true;
                self.tell(&Event::Skipped { path: path.clone(), reason: reason.clone() })?;
            }
        }
        let all = self.skipped.iter().map(|(path, reason)| (path.as_path(), reason.as_str()));
        if is_new { data.can_spare(all) } else { Ok(()) }
    }

    /// Whether an image has been left out.
    pub(crate) fn was_skipped(&self, path: &Path) -> bool {
        self.skipped.contains_key(path)
    }
}
