//! Presets of recipes, and the builder that changes them.

use std::fmt;
use std::str::FromStr;

use ocelli_data::Augmentation;
use ocelli_nn::GROUPS;

use crate::error::{Error, Result};
use crate::model::tta::Tta;
use crate::recipe::freezing::Freezing;
use crate::recipe::logistic::LogisticRegression;
use crate::recipe::{LrChoice, Phase, Recipe, TrainPhase};
use crate::schedule::learning_rates::LearningRates;
use crate::schedule::{MAX_EPOCHS, OneCycle, Schedule, Sgdr};
use crate::train::optimizer::Optimizer;
use ocelli_nn::Arch;

/// A recipe by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Preset {
    /// Fits a linear head to cached features by logistic regression, then trains all layers where that promises a
    /// gain: the default.
    #[default]
    Auto,
    /// Fits a linear head to cached features by logistic regression (a linear probe).
    Linear,
    /// Trains a new head on cached features.
    Quick,
    /// The phases of fast.ai's lesson with few epochs, training all layers at the first size only.
    Lesson,
    /// The lesson's phases with its numbers of epochs: all layers in cycles of 1, 2 and 4 epochs, at every
    /// size.
    Full,
    /// fastai 2's `fine_tune`: one epoch of the head, then this many of all layers.
    FineTune(usize),
}

impl Preset {
    /// The default augmentation: for photos taken from the side, in recipes with augmentation.
    pub fn augmentation(self) -> Option<Augmentation> {
        matches!(self, Self::Auto | Self::Lesson | Self::Full).then(|| Augmentation::side_on().max_zoom(1.1))
    }

    /// The image size for a backbone, in pixels, where none is asked for: the one that its weights were trained at, and for
    /// a linear head nine sevenths of it, to a multiple of 32. Objects look larger in the random crops of the pretraining
    /// than in whole images, so that features of larger images are better (Touvron et al. 2019,
    /// <https://arxiv.org/abs/1906.06423>); `benches/linear.md` has by how much. Networks of image patches keep their size.
    pub fn size(self, arch: Arch) -> usize {
        let native = arch.info().size;
        match self {
            Self::Auto | Self::Linear if !arch.info().has_patches() => (native * 9 / 7 + 16) / 32 * 32,
            _ => native,
        }
    }

    fn numbers(self, in_time: bool) -> Numbers {
        let head = Numbers {
            regression: false,
            head_epochs: 10,
            augmented_epochs: 0,
            augmented_copies: 0,
            unfrozen_schedule: None,
            only_if_promising: false,
            optimizer: None,
            unfrozen_lr: None,
            group_lr_ratio: 10.0,
            tta: None,
            pct_start: 0.25,
            head_steps: Some(100),
        };
        match self {
            Self::Auto => Numbers {
                regression: true,
                head_epochs: 0,
                unfrozen_schedule: Some(fine_tuning(if in_time { AUTO_EPOCHS_IN_TIME } else { AUTO_EPOCHS })),
                only_if_promising: true,
                // A head on features of all depths passes on gradients of very different sizes.
                optimizer: Some(Optimizer::ADAM_W),
                unfrozen_lr: Some(AUTO_LR),
                group_lr_ratio: 1.0,
                ..head
            },
            Self::Linear => Numbers { regression: true, head_epochs: 0, ..head },
            Self::Quick => head,
            Self::Lesson => Numbers {
                head_epochs: 5,
                augmented_epochs: 3,
                augmented_copies: 2,
                unfrozen_schedule: Some(OneCycle::epochs(1).into()),
                tta: Some(Tta::views(4)),
                ..head
            },
            Self::Full => Numbers {
                head_epochs: 2,
                augmented_epochs: 3,
                unfrozen_schedule: Some(Sgdr::cycles(3).mult(2).into()),
                tta: Some(Tta::views(4)),
                ..head
            },
            // A warm-up over nearly the whole epoch, then half the learning rate, as in fastai 2.
            Self::FineTune(epochs) => Numbers {
                head_epochs: 1,
                unfrozen_schedule: Some(fine_tuning(epochs)),
                pct_start: 0.99,
                head_steps: None,
                ..head
            },
        }
    }
}

/// The defaults of a preset.
struct Numbers {
    /// Whether the head is a logistic regression.
    regression: bool,
    head_epochs: usize,
    augmented_epochs: usize,
    augmented_copies: usize,
    unfrozen_schedule: Option<Schedule>,
    /// Whether all layers are trained only where that promises a gain.
    only_if_promising: bool,
    /// That of all layers; `None`: the learner's.
    optimizer: Option<Optimizer>,
    /// That of the head in training all layers; `None`: the finder's, or fastai's.
    unfrozen_lr: Option<f64>,
    group_lr_ratio: f64,
    tta: Option<Tta>,
    /// The fraction of the head's steps in which its learning rate rises.
    pct_start: f64,
    /// The steps of the learning rate finder for the head; without it learning rates are fixed, as in fastai.
    head_steps: Option<usize>,
}

/// Makes a [`Recipe`] from a [`Preset`] and changes to it.
///
/// ```
/// use ocelli::{Preset, RecipeBuilder};
///
/// let recipe = RecipeBuilder::new(Preset::Lesson, 160).augmented(true).head_epochs(3).head_lr(1e-2).build();
/// assert_eq!(recipe.epochs(), 3 + 3 + 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct RecipeBuilder {
    preset: Preset,
    sizes: Vec<usize>,
    augmented: bool,
    head_epochs: Option<usize>,
    augmented_epochs: Option<usize>,
    augmented_copies: Option<usize>,
    unfrozen_schedule: Option<Schedule>,
    head_lr: Option<f64>,
    unfrozen_lrs: Option<LearningRates>,
    group_lr_ratio: Option<f64>,
    time_limit: Option<f64>,
    /// `None`: the preset's.
    tta: Option<Option<Tta>>,
}

/// The head's learning rate if the finder has no reliable result.
const FALLBACK_LR: f64 = 1e-2;
/// The most epochs of all layers in [`Preset::Auto`], without and with a time limit, and their learning rate, for
/// AdamW: see `benches/linear.md`.
const AUTO_EPOCHS: usize = 8;
const AUTO_EPOCHS_IN_TIME: usize = 24;
const AUTO_LR: f64 = 4e-4;
/// Steps of the finder if each goes through the whole network.
const UNFROZEN_STEPS: usize = 24;
/// The frozen layer groups if only the head is trained.
const ALL_BUT_HEAD: usize = GROUPS - 1;

impl Recipe {
    /// A preset with its own numbers for images of this size in pixels, on images that have its own
    /// [augmentation](Preset::augmentation).
    pub fn preset(preset: Preset, size: usize) -> Self {
        RecipeBuilder::new(preset, size).augmented(preset.augmentation().is_some()).build()
    }
}

impl RecipeBuilder {
    /// A preset with its defaults, for images of this size in pixels.
    pub fn new(preset: Preset, size: usize) -> Self {
        Self {
            preset,
            sizes: vec![size],
            augmented: false,
            head_epochs: None,
            augmented_epochs: None,
            augmented_copies: None,
            unfrozen_schedule: None,
            head_lr: None,
            unfrozen_lrs: None,
            group_lr_ratio: None,
            time_limit: None,
            tta: None,
        }
    }

    /// Progressive resizing: continues at these sizes after the phases at the first one.
    pub fn then_sizes(mut self, sizes: impl IntoIterator<Item = usize>) -> Self {
        self.sizes.extend(sizes);
        self
    }

    /// Whether the data is augmented; if not, phases with augmentation are skipped. Default: not.
    pub fn augmented(self, augmented: bool) -> Self {
        Self { augmented, ..self }
    }

    /// Epochs of the head on cached features; 0 skips the phase.
    pub fn head_epochs(self, epochs: usize) -> Self {
        Self { head_epochs: Some(epochs), ..self }
    }

    /// Epochs of the head on augmented images, in cycles of one epoch; 0 skips the phase.
    pub fn augmented_epochs(self, epochs: usize) -> Self {
        Self { augmented_epochs: Some(epochs), ..self }
    }

    /// Augmented copies of each image whose features are cached for these epochs; with 0 each epoch starts
    /// from the images.
    pub fn augmented_copies(self, copies: usize) -> Self {
        Self { augmented_copies: Some(copies), ..self }
    }

    /// The schedule of the phase that trains all layers; one of 0 epochs skips the phase.
    pub fn unfrozen_schedule(self, schedule: impl Into<Schedule>) -> Self {
        Self { unfrozen_schedule: Some(schedule.into()), ..self }
    }

    /// The learning rate of the head. In a phase that trains all layers, which are then nearly trained, the
    /// head's is a tenth of it, and that of each group before it is divided by the
    /// [ratio](Self::group_lr_ratio). Default: the learning rate finder's.
    pub fn head_lr(self, lr: f64) -> Self {
        Self { head_lr: Some(lr), ..self }
    }

    /// The learning rates of early layers, late layers and head in phases that train all layers. Default: the
    /// learning rate finder's, or those that follow from the [head's](Self::head_lr).
    pub fn unfrozen_lrs(self, lrs: impl Into<LearningRates>) -> Self {
        Self { unfrozen_lrs: Some(lrs.into()), ..self }
    }

    /// The ratio of learning rates between layer groups: that of a group divided by that of the group before
    /// it. Default: 10, for photos like ImageNet's; use 3 for others. [`Preset::Auto`] trains all at one rate.
    pub fn group_lr_ratio(self, decay: f64) -> Self {
        Self { group_lr_ratio: Some(decay), ..self }
    }

    /// The seconds that all phases together may take: see [`Recipe::time_limit`]. Default: no limit.
    pub fn time_limit(self, seconds: f64) -> Self {
        Self { time_limit: Some(seconds), ..self }
    }

    /// Test-time augmentation at the end, or none. Default: the preset's.
    pub fn tta(self, tta: Option<Tta>) -> Self {
        Self { tta: Some(tta), ..self }
    }

    /// The recipe.
    #[must_use]
    pub fn build(&self) -> Recipe {
        let numbers = self.preset.numbers(self.time_limit.is_some());
        let (head_lr, unfrozen_lrs) = self.learning_rates(&numbers);
        let head_epochs = self.head_epochs.unwrap_or(numbers.head_epochs);
        let augmented_epochs =
            self.augmented_epochs.unwrap_or(if self.augmented { numbers.augmented_epochs } else { 0 });
        let copies = self.augmented_copies.unwrap_or(numbers.augmented_copies);
        let unfrozen_schedule = self.unfrozen_schedule.clone().or(numbers.unfrozen_schedule);
        let unfrozen_schedule = unfrozen_schedule.filter(|schedule| schedule.epochs() > 0);
        // fastai's `fine_tune` augments its one epoch of the head as well.
        let is_cached = !(self.augmented && matches!(self.preset, Preset::FineTune(_)));

        let mut phases = Vec::new();
        for (index, &size) in self.sizes.iter().enumerate() {
            if index > 0 {
                phases.push(Phase::Resize { size });
            }
            if numbers.regression {
                phases.push(Phase::LogisticRegression(LogisticRegression::default()));
            }
            // At larger sizes a trained head continues as in the lesson: at once on augmented images, if
            // their features are cached for all epochs together.
            let goes_on = index > 0 && augmented_epochs > 0 && copies > 0;
            if head_epochs > 0 && !goes_on {
                let schedule = OneCycle::epochs(head_epochs).pct_start(numbers.pct_start);
                phases.push(train(head(is_cached, 0), head_lr, schedule));
            }
            if augmented_epochs > 0 {
                let cycles = Sgdr::cycles(augmented_epochs);
                // New images are learnt in ever longer cycles, as in the lesson.
                let cycles = if goes_on { cycles.mult(2) } else { cycles };
                phases.push(train(head(copies > 0, copies), head_lr, cycles));
            }
            // Small images are the cheapest to train all layers on.
            if let Some(schedule) = &unfrozen_schedule
                && (index == 0 || self.preset != Preset::Lesson)
            {
                // What is asked for is done.
                if numbers.only_if_promising && self.unfrozen_schedule.is_none() {
                    phases.push(Phase::EndUnlessPromising);
                }
                phases.push(Phase::Train(TrainPhase {
                    freezing: Freezing::Streamed { frozen: 0 },
                    lr: unfrozen_lrs,
                    schedule: schedule.clone(),
                    optimizer: numbers.optimizer,
                }));
            }
        }
        phases.extend(self.tta.unwrap_or(numbers.tta).map(Phase::Tta));
        Recipe { time_limit: self.time_limit, phases }
    }

    /// The learning rates of the head alone, and of all layers.
    fn learning_rates(&self, numbers: &Numbers) -> (LrChoice, LrChoice) {
        let ratio = self.group_lr_ratio.unwrap_or(numbers.group_lr_ratio);
        let found = |steps, fallback| LrChoice::Finder { group_lr_ratio: ratio, steps, fallback };
        let (found_head, found_all) = match numbers.head_steps {
            Some(steps) => (found(steps, FALLBACK_LR), found(UNFROZEN_STEPS, FALLBACK_LR / 10.0)),
            None => (LrChoice::Fixed(2e-3.into()), LrChoice::Fixed(LearningRates::geometric(1e-5, 1e-3))),
        };
        let head = self.head_lr.map_or(found_head, |lr| LrChoice::Fixed(lr.into()));
        let of_head = self.head_lr.map(|lr| lr / 10.0).or(numbers.unfrozen_lr);
        let follows = || of_head.map(|lr| LearningRates::from_ratio(lr, ratio));
        (head, self.unfrozen_lrs.or_else(follows).map_or(found_all, LrChoice::Fixed))
    }
}

/// One cycle of all layers, as in fastai 2's `fine_tune`.
fn fine_tuning(epochs: usize) -> Schedule {
    OneCycle::epochs(epochs).pct_start(0.3).div(5.0).into()
}

/// The head alone.
fn head(is_cached: bool, augmented_copies: usize) -> Freezing {
    match is_cached {
        true => Freezing::Cached { frozen: ALL_BUT_HEAD, augmented_copies },
        false => Freezing::Streamed { frozen: ALL_BUT_HEAD },
    }
}

fn train(freezing: Freezing, lr: LrChoice, schedule: impl Into<Schedule>) -> Phase {
    Phase::Train(TrainPhase { freezing, lr, schedule: schedule.into(), optimizer: None })
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Linear => formatter.write_str("linear"),
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
        match name {
            "auto" => Ok(Self::Auto),
            "linear" => Ok(Self::Linear),
            "quick" => Ok(Self::Quick),
            "lesson" => Ok(Self::Lesson),
            "full" => Ok(Self::Full),
            _ => match name.strip_prefix("fine-tune-").and_then(|epochs| epochs.parse().ok()) {
                Some(epochs @ 1..=MAX_EPOCHS) => Ok(Self::FineTune(epochs)),
                _ => {
                    let expected = "auto, linear, quick, lesson, full, or fine-tune-N for N epochs";
                    Err(Error::setting("recipe", name, expected))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_read_as_they_were_written() {
        for preset in
            [Preset::Auto, Preset::Linear, Preset::Quick, Preset::Lesson, Preset::Full, Preset::FineTune(3)]
        {
            let recipe =
                RecipeBuilder::new(preset, 128).then_sizes([160]).augmented(true).head_lr(0.03).build();
            let text = toml::to_string(&recipe).unwrap();
            assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
        }
        let text = toml::to_string(&Recipe::preset(Preset::Lesson, 128)).unwrap();
        for line in ["phase = \"train\"", "features = \"cached\"", "frozen = 2", "augmented_copies = 2"] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn the_rates_of_all_layers_follow_from_the_heads() {
        let recipe = RecipeBuilder::new(Preset::Lesson, 128).head_lr(1e-2).group_lr_ratio(3.0).build();
        let rates = recipe.phases.iter().filter_map(|phase| match phase {
            Phase::Train(TrainPhase { lr: LrChoice::Fixed(rates), .. }) => Some(rates.0),
            _ => None,
        });
        let [head, all] = rates.collect::<Vec<_>>()[..] else { panic!("{recipe:?}") };
        assert_eq!(head, [1e-2; GROUPS]);
        for (rate, expected) in all.into_iter().zip([1e-3 / 9.0, 1e-3 / 3.0, 1e-3]) {
            assert!((rate / expected - 1.0).abs() < 1e-12, "{all:?}");
        }
    }
}
