//! The recipe: the steps of transfer learning in their order, as one value.

pub(crate) mod diagnosis;
pub(crate) mod freezing;

use std::fmt;
use std::str::FromStr;

use ocelli_data::Augmentation;
use ocelli_nn::{Arch, GROUPS};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lr_finder::LrFind;
use crate::model::tta::Tta;
use crate::recipe::freezing::State;
use crate::schedule::learning_rates::LearningRates;
use crate::schedule::{MAX_EPOCHS, OneCycle, Schedule, Sgdr};

/// What is done to a pretrained network with a new head, step by step.
///
/// A recipe is data: take a preset, change what is to be different, or put steps together by hand. It is performed by
/// [`Learner::perform`](crate::Learner::perform), and stands in a run's `config.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// One after the other.
    pub steps: Vec<Step>,
}

/// A step of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Train.
    Train(Train),
    /// Go on with images of another side, in pixels. What was best before is kept, and is what the recipe ends with if
    /// nothing at the new size is better.
    Resize {
        /// The side in pixels.
        size: usize,
    },
    /// Return to the best weights and predict with test-time augmentation.
    Views(Tta),
}

/// One fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// The number of frozen layer groups: 2 trains the head, 0 all layers.
    pub frozen: usize,
    /// Whether the frozen groups' output is computed once for every image, so that augmentation has no effect.
    pub precompute: bool,
    /// Where it is: the number of augmented views of each image to train on, of which each epoch takes one; 0: images
    /// as they are.
    #[serde(default)]
    pub views: usize,
    /// The peak learning rates.
    pub rates: Rates,
    /// How they move, and for how many epochs.
    pub schedule: Schedule,
}

/// Where the peak learning rates of a fit come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rates {
    /// From here.
    Given(LearningRates),
    /// From the learning rate finder, which is run before the fit.
    Found {
        /// Each layer group trains at the rate of the next one divided by this.
        spread: f64,
        /// The steps of the finder.
        steps: usize,
        /// The head's rate where the finder has no reliable answer.
        otherwise: f64,
    },
}

/// A recipe by name, as `--recipe` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// A new head on precomputed activations.
    Quick,
    /// The lesson's steps, with few epochs, and all layers trained at the first size alone: the default.
    #[default]
    Lesson,
    /// The lesson's steps with its numbers: cycles of 1, 2 and 4 epochs of all layers, at every size.
    Full,
    /// fastai 2's `fine_tune`: one epoch of the head, then so many of all layers.
    FineTune(usize),
}

/// What a recipe is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// Which steps.
    pub preset: Preset,
    /// The sides of the images in pixels, one after the other; the first is that of the data.
    pub sizes: Vec<usize>,
    /// Whether images are augmented; without it there is no use in steps for augmentation.
    pub augmented: bool,
    /// Epochs of the head on precomputed activations; 0 leaves the step out.
    pub epochs: Option<usize>,
    /// Cycles of one epoch of the head with augmentation; 0 leaves the step out.
    pub augmented_epochs: Option<usize>,
    /// Augmented views of each image that are precomputed for these; 0: each epoch starts from the images.
    pub views: Option<usize>,
    /// The schedule of all layers; of 0 epochs: the step is left out.
    pub unfrozen: Option<Schedule>,
    /// The learning rate of the head alone; without it the finder's.
    pub rate: Option<f64>,
    /// The learning rates of early body, late body and head while all are trained; without them the finder's.
    pub unfrozen_rates: Option<LearningRates>,
    /// The rate of a layer group divided by that of the one before it; 10 for photos like ImageNet's, 3 for others.
    pub spread: f64,
    /// Test-time augmentation at the end; with `None` as the preset has it.
    pub tta: Option<Option<Tta>>,
}

/// The head's rate where the finder has no answer.
const USUAL_RATE: f64 = 1e-2;

impl Choices {
    /// A preset with its own numbers for images of these sides.
    pub fn new(preset: Preset, sizes: Vec<usize>) -> Self {
        Self {
            preset,
            sizes,
            augmented: false,
            epochs: None,
            augmented_epochs: None,
            views: None,
            unfrozen: None,
            rate: None,
            unfrozen_rates: None,
            spread: 10.0,
            tta: None,
        }
    }

    /// The steps.
    pub fn recipe(&self) -> Recipe {
        let (epochs, augmented_epochs, views, unfrozen, tta): (_, _, _, Option<Schedule>, _) =
            match self.preset {
                Preset::Quick => (10, 0, 0, None, None),
                Preset::Lesson => (5, 3, 2, Some(OneCycle::epochs(1).into()), Some(Tta::views(4))),
                Preset::Full => (2, 3, 0, Some(Sgdr::cycles(3).mult(2).into()), Some(Tta::views(4))),
                // A warm-up over nearly the whole epoch, then half the rate: fastai 2's constants.
                Preset::FineTune(epochs) => {
                    (1, 0, 0, Some(OneCycle::epochs(epochs).pct_start(0.3).div(5.0).into()), None)
                }
            };
        let epochs = self.epochs.unwrap_or(epochs);
        let augmented_epochs =
            self.augmented_epochs.unwrap_or(if self.augmented { augmented_epochs } else { 0 });
        let views = self.views.unwrap_or(views);
        let unfrozen = self.unfrozen.clone().or(unfrozen).filter(|schedule| schedule.epochs() > 0);
        let found = |steps, otherwise| Rates::Found { spread: self.spread, steps, otherwise };
        let given = |rates| Rates::Given(rates);
        let (found_head, found_all, pct_start) = match self.preset {
            Preset::FineTune(_) => (given(2e-3.into()), given(LearningRates::spread(1e-5, 1e-3)), 0.99),
            _ => (found(100, USUAL_RATE), found(UNFROZEN_STEPS, USUAL_RATE / 10.0), 0.25),
        };
        let head = self.rate.map_or(found_head, |rate| given(rate.into()));
        let all = self.unfrozen_rates.map_or(found_all, given);
        let train = |frozen, precompute, views, rates, schedule| {
            Step::Train(Train { frozen, precompute, views, rates, schedule })
        };
        // fastai's `fine_tune` augments its one epoch of the head as well.
        let precompute = !(self.augmented && matches!(self.preset, Preset::FineTune(_)));

        let mut steps = Vec::new();
        for (place, &size) in self.sizes.iter().enumerate() {
            if place > 0 {
                steps.push(Step::Resize { size });
            }
            // A head that is trained already goes on with larger images as the lesson's does: on augmented ones at once,
            // where their activations are computed for all epochs together.
            let goes_on = place > 0 && augmented_epochs > 0 && views > 0;
            if epochs > 0 && !goes_on {
                steps.push(train(
                    HEAD,
                    precompute,
                    0,
                    head,
                    OneCycle::epochs(epochs).pct_start(pct_start).into(),
                ));
            }
            if augmented_epochs > 0 {
                let cycles = Sgdr::cycles(augmented_epochs);
                // What is new to the head it learns in ever longer cycles, as in the lesson.
                let cycles = if goes_on { cycles.mult(2) } else { cycles };
                steps.push(train(HEAD, views > 0, views, head, cycles.into()));
            }
            // Small images are the cheapest to train all layers on.
            if let Some(schedule) = &unfrozen
                && (place == 0 || self.preset != Preset::Lesson)
            {
                steps.push(train(0, false, 0, all, schedule.clone()));
            }
        }
        steps.extend(self.tta.unwrap_or(tta).map(Step::Views));
        Recipe { steps }
    }
}

/// The largest side of images in pixels.
const MAX_SIZE: usize = 8192;
/// The most views of each image that are kept.
const MAX_VIEWS: usize = 1000;
/// The layer groups before the head.
const HEAD: usize = GROUPS - 1;
/// Steps of the finder where each goes through the whole network.
const UNFROZEN_STEPS: usize = 24;

impl Preset {
    /// How photos are changed at random, where nothing else is said: as photos taken from the side are, in the recipes whose
    /// steps are about augmentation.
    pub fn augmentation(self) -> Option<Augmentation> {
        matches!(self, Self::Lesson | Self::Full).then(|| Augmentation::side_on().max_zoom(1.1))
    }
}

impl Recipe {
    /// A preset with its own numbers for images of one side, in pixels, changed by its own
    /// [augmentation](Preset::augmentation).
    pub fn preset(preset: Preset, size: usize) -> Self {
        let augmented = preset.augmentation().is_some();
        Choices { augmented, ..Choices::new(preset, vec![size]) }.recipe()
    }

    /// The epochs of all steps.
    pub fn epochs(&self) -> usize {
        let epochs = self.steps.iter().map(|step| match step {
            Step::Train(train) => train.schedule.epochs(),
            _ => 0,
        });
        epochs.fold(0, usize::saturating_add)
    }

    /// The largest side of the images, in pixels, where the first step has this one.
    pub fn largest_size(&self, first: usize) -> usize {
        let sizes = self.steps.iter().filter_map(|step| match step {
            Step::Resize { size } => Some(*size),
            _ => None,
        });
        sizes.fold(first, usize::max)
    }

    /// A warning where the side of even the largest images of the recipe is less than half of what the backbone was trained
    /// on: everything is then less than half as large as it knows it, and networks lose accuracy at much smaller
    /// differences already (Touvron et al. 2019, <https://arxiv.org/abs/1906.06423>).
    pub fn size_warning(&self, architecture: Arch, first: usize) -> Option<String> {
        let (largest, native) = (self.largest_size(first), architecture.info().size);
        (2 * largest < native).then(|| {
            format!(
                "images of {largest} px are less than half as large as the {native} px that {architecture} was trained \
                 on, so that it recognises little; from {} px on it sees more, where the photos have them",
                native.div_ceil(2)
            )
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        for step in &self.steps {
            let train = match step {
                Step::Train(train) => train,
                Step::Resize { size } if !(1..=MAX_SIZE).contains(size) => {
                    let (value, expected) = (size.to_string(), "a number of pixels from 1 to 8192");
                    return Err(Error::Setting { name: "size", value, expected });
                }
                Step::Resize { .. } | Step::Views(_) => continue,
            };
            if train.views > MAX_VIEWS {
                let (value, expected) = (train.views.to_string(), "at most 1,000");
                return Err(Error::Setting { name: "the number of views", value, expected });
            }
            train.schedule.clone().check()?;
            match train.rates {
                Rates::Given(rates) => rates.check()?,
                Rates::Found { spread, steps, otherwise } => {
                    if !(1.0..=1e6).contains(&spread) {
                        return Err(Error::Setting {
                            name: "the spread of learning rates",
                            value: spread.to_string(),
                            expected: "from 1 to 1,000,000, such as 10 or 3",
                        });
                    }
                    LrFind::default().steps(steps).check()?;
                    LearningRates::from(otherwise).check()?
                }
            };
            if train.precompute && train.frozen == 0 || train.frozen >= GROUPS {
                return Err(Error::Setting {
                    name: "the number of frozen layer groups",
                    value: train.frozen.to_string(),
                    expected: "0, 1 or 2, and not 0 where activations are precomputed",
                });
            }
        }
        match self.epochs() {
            0 => Err(Error::Setting {
                name: "the number of epochs",
                value: "0 in all steps of the recipe".to_owned(),
                expected: "at least 1 for one of them",
            }),
            _ => Ok(()),
        }
    }
}

impl Train {
    /// What the learner trains, from what.
    pub fn state(&self) -> State {
        let Self { frozen, precompute, views, .. } = *self;
        if precompute { State::Precomputed { frozen, views } } else { State::Live { frozen } }
    }
}

impl Rates {
    /// The rates of all groups where the head's is `head`.
    pub fn spread(self, head: f64) -> LearningRates {
        match self {
            Self::Given(rates) => rates,
            Self::Found { spread, .. } => LearningRates::spread(head / spread.powi(GROUPS as i32 - 1), head),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Quick => formatter.write_str("quick"),
            Self::Lesson => formatter.write_str("lesson"),
            Self::Full => formatter.write_str("full"),
            Self::FineTune(epochs) => write!(formatter, "fine-tune-{epochs}"),
        }
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "quick" => Self::Quick,
            "lesson" => Self::Lesson,
            "full" => Self::Full,
            _ => match name.strip_prefix("fine-tune-").and_then(|epochs| epochs.parse().ok()) {
                Some(epochs @ 1..=MAX_EPOCHS) => Self::FineTune(epochs),
                _ => {
                    return Err(Error::Setting {
                        name: "the recipe",
                        value: name.to_owned(),
                        expected: "quick, lesson, full, or fine-tune-N for N epochs",
                    });
                }
            },
        })
    }
}
