//! The recipe: the phases of transfer learning, as one value.

pub(crate) mod builder;
pub(crate) mod diagnosis;
pub(crate) mod freezing;
pub(crate) mod logistic;

use std::ops::RangeInclusive;

use ocelli_nn::Arch;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lr_finder::LrFind;
use crate::model::tta::Tta;
use crate::recipe::freezing::Freezing;
use crate::recipe::logistic::LogisticRegression;
use crate::schedule::Schedule;
use crate::schedule::learning_rates::LearningRates;
use crate::train::optimizer::Optimizer;

/// The phases of training a pretrained network with a new head.
///
/// A recipe is a value: take a [preset](Recipe::preset), change it with a [`RecipeBuilder`](crate::RecipeBuilder), or list phases
/// yourself. It is run by [`Learner::run_recipe`](crate::Learner::run_recipe), and stored in a run's
/// `config.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The seconds that all phases together may take, at least 1; `None`: no limit. A phase that trains all
    /// layers has as many whole epochs as end in time, at most those of its schedule, and is left out where
    /// there is no time for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<f64>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
}

/// A phase of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// Train.
    Train(TrainPhase),
    /// Fit a linear head to cached features: one epoch.
    LogisticRegression(LogisticRegression),
    /// End here, but for test-time augmentation, unless training all layers promises a gain: where there are too
    /// few photos, or where a logistic regression before it finds that they are much like ImageNet's
    /// ([`LogisticRegressionFit::depth_gain`](crate::LogisticRegressionFit::depth_gain)).
    EndUnlessPromising,
    /// Change the image size, in pixels. The best weights so far are remembered, and the recipe ends with
    /// them if nothing at the new size is better.
    Resize {
        /// The image size in pixels.
        size: usize,
    },
    /// Return to the best weights and predict with test-time augmentation.
    Tta(Tta),
}

/// A phase that trains: one fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainPhase {
    /// Which layer groups are frozen, and whether their features are cached.
    #[serde(flatten)]
    pub freezing: Freezing,
    /// The peak learning rates.
    pub lr: LrChoice,
    /// How the learning rates change, and for how many epochs.
    pub schedule: Schedule,
    /// The optimizer; `None`: the learner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Optimizer>,
}

/// Where the peak learning rates of a fit come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LrChoice {
    /// These learning rates.
    Fixed(LearningRates),
    /// The learning rate finder's, which runs before the fit.
    Finder {
        /// The learning rate of a layer group divided by that of the group before it.
        group_lr_ratio: f64,
        /// The steps of the finder.
        steps: usize,
        /// The head's learning rate if the finder has no reliable result.
        fallback: f64,
    },
}

/// The largest image size in pixels.
const MAX_SIZE: usize = 8192;
/// The shortest and the longest time limit, in seconds.
const TIME_LIMITS: RangeInclusive<f64> = 1.0..=1e8;

impl From<Vec<Phase>> for Recipe {
    /// Without a time limit.
    fn from(phases: Vec<Phase>) -> Self {
        Self { time_limit: None, phases }
    }
}

impl Recipe {
    /// The epochs of all phases.
    pub fn epochs(&self) -> usize {
        let epochs = self.phases.iter().map(|phase| match phase {
            Phase::Train(train) => train.schedule.epochs(),
            Phase::LogisticRegression(_) => 1,
            _ => 0,
        });
        epochs.fold(0, usize::saturating_add)
    }

    /// The largest image size in pixels, if the first phase has this one.
    pub fn largest_size(&self, first: usize) -> usize {
        let sizes = self.phases.iter().filter_map(|phase| match phase {
            Phase::Resize { size } => Some(*size),
            _ => None,
        });
        sizes.fold(first, usize::max)
    }

    /// A warning if even the largest image size of the recipe is less than half of the size that the backbone
    /// was trained with: objects are then less than half as large as it expects, and networks lose accuracy
    /// at much smaller differences already (Touvron et al. 2019, <https://arxiv.org/abs/1906.06423>).
    pub fn size_warning(&self, arch: Arch, first: usize) -> Option<String> {
        let (largest, native) = (self.largest_size(first), arch.info().size);
        (2 * largest < native).then(|| {
            format!(
                "images of {largest} px are less than half as large as the {native} px that {arch} was trained \
                 on, so that it recognises little; from {} px on it sees more, where the photos have them",
                native.div_ceil(2)
            )
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(seconds) = self.time_limit
            && !TIME_LIMITS.contains(&seconds)
        {
            return Err(Error::setting("time_limit", seconds, "from 1 to 100,000,000 seconds"));
        }
        for phase in &self.phases {
            match phase {
                Phase::Train(train) => train.check()?,
                Phase::LogisticRegression(settings) => settings.check()?,
                Phase::Resize { size } if !(1..=MAX_SIZE).contains(size) => {
                    return Err(Error::setting("size", size, "a number of pixels from 1 to 8192"));
                }
                Phase::Resize { .. } | Phase::Tta(_) | Phase::EndUnlessPromising => {}
            }
        }
        match self.epochs() {
            0 => Err(Error::setting("epochs", "0 in all phases of the recipe", "at least 1 for one of them")),
            _ => Ok(()),
        }
    }
}

impl TrainPhase {
    fn check(&self) -> Result<()> {
        self.freezing.check()?;
        self.schedule.clone().check()?;
        if let Some(optimizer) = self.optimizer {
            optimizer.check()?;
        }
        match self.lr {
            LrChoice::Fixed(rates) => rates.check()?,
            LrChoice::Finder { group_lr_ratio, steps, fallback } => {
                if !(1.0..=1e6).contains(&group_lr_ratio) {
                    let expected = "from 1 to 1,000,000, such as 10 or 3";
                    return Err(Error::setting("group_lr_ratio", group_lr_ratio, expected));
                }
                LrFind::default().steps(steps).check()?;
                LearningRates::from(fallback).check()?
            }
        };
        Ok(())
    }
}

impl LrChoice {
    /// The learning rates of all groups if the head's is `head`.
    pub fn with_head(self, head: f64) -> LearningRates {
        match self {
            Self::Fixed(rates) => rates,
            Self::Finder { group_lr_ratio, .. } => LearningRates::from_ratio(head, group_lr_ratio),
        }
    }
}
