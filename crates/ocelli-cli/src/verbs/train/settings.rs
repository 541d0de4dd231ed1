//! From flags to settings.

use ocelli::{Choices, ClassWeights, LearningRates, Method, Mix, OneCycle, Preset, Schedule, Settings, Sgdr};

use super::{LossFlags, RecipeFlags, Train};
use crate::errors::Failure;

impl Train {
    /// The settings: the usual ones, or those of `--config`, changed by what is given.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = match &self.config {
            Some(path) => Settings::read(path)?,
            None => Settings::new(self.data.clone().unwrap_or_default()),
        };
        let preset = self.recipe.recipe.unwrap_or_default();
        if self.config.is_none() {
            settings.augmentation = preset.augmentation();
        }
        self.source.apply(self.data.as_deref(), &mut settings)?;
        self.backbone.apply(&mut settings);
        self.images.apply(&mut settings);
        self.batches.apply(&mut settings);
        self.optimizer.apply(&mut settings);
        self.loss.apply(&mut settings.method)?;
        let mix = self.mixup.map(|alpha| Mix::Mixup { alpha });
        let mix = mix.or(self.cutmix.map(|alpha| Mix::CutMix { alpha }));
        settings.method.mix = mix.or(settings.method.mix);
        settings.balanced |= self.balanced_sampling;
        settings.decisions = self.decisions.clone().or(settings.decisions);
        settings.precision = self.compute.precision.or(settings.precision);
        settings.bn_freeze &= !self.recipe.train_bn;
        settings.metric = self.recipe.metric.or(settings.metric);
        settings.patience = self.recipe.patience.or(settings.patience);
        settings.thresholds = self.recipe.thresholds.unwrap_or(settings.thresholds);
        if self.config.is_none() || !self.size.is_empty() || self.recipe.changes_recipe() {
            let sizes = if self.size.is_empty() { vec![settings.size] } else { self.size.clone() };
            let choices = self.recipe.choices(preset, sizes, settings.augmentation.is_some())?;
            settings.size = choices.sizes[0];
            settings.recipe = choices.recipe();
        }
        Ok(settings)
    }
}

impl RecipeFlags {
    /// Whether anything is given that the phases depend on.
    fn changes_recipe(&self) -> bool {
        let numbers = [
            self.head_epochs,
            self.augmented_epochs,
            self.augmented_copies,
            self.unfrozen_epochs,
            self.cycles,
        ];
        self.recipe.is_some()
            || numbers.into_iter().any(|number| number.is_some())
            || !self.lr.is_empty()
            || self.group_lr_ratio.is_some()
            || self.tta.is_some()
    }

    fn choices(&self, preset: Preset, sizes: Vec<usize>, augmented: bool) -> Result<Choices, Failure> {
        let (rate, unfrozen_rates) = match self.lr[..] {
            [] => (None, None),
            [rate] => (Some(rate), None),
            [early, late, head] => (None, Some(LearningRates([early, late, head]))),
            _ => {
                let number = self.lr.len();
                return Err(Failure::Error(format!(
                    "--lr has {number} learning rates; expected one, for the head, or three, for early layers, late layers and head"
                )));
            }
        };
        let unfrozen: Option<Schedule> = match (self.unfrozen_epochs, self.cycles) {
            (Some(epochs), _) => Some(OneCycle::epochs(epochs).into()),
            (None, Some(cycles)) => {
                Some(Sgdr::cycles(cycles).len(self.cycle_len).mult(self.cycle_mult).into())
            }
            (None, None) => None,
        };
        let usual = Choices::new(preset, sizes);
        Ok(Choices {
            augmented,
            epochs: self.head_epochs,
            augmented_epochs: self.augmented_epochs,
            views: self.augmented_copies,
            unfrozen,
            rate,
            unfrozen_rates,
            spread: self.group_lr_ratio.unwrap_or(usual.spread),
            tta: self.tta.map(|tta| tta.0),
            ..usual
        })
    }
}

impl LossFlags {
    fn apply(&self, method: &mut Method) -> Result<(), Failure> {
        method.loss.smoothing = self.label_smoothing.unwrap_or(method.loss.smoothing);
        method.loss.gamma = self.focal_gamma.unwrap_or(method.loss.gamma);
        match self.class_weights.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => {}
            ["equal"] => method.loss.class_weights = ClassWeights::Equal,
            ["balanced"] => method.loss.class_weights = ClassWeights::Balanced,
            ref numbers => {
                let weights: Result<Vec<f64>, _> = numbers.iter().map(|number| number.parse()).collect();
                let weights = weights.map_err(|_| {
                    Failure::Error(format!(
                        "--class-weights {}: expected equal, balanced, or a number for each class, such as 1,2,1",
                        numbers.join(",")
                    ))
                })?;
                method.loss.class_weights = ClassWeights::Given(weights);
            }
        }
        method.clip = self.max_grad_norm.or(method.clip);
        method.accumulate = self.accumulate_steps.unwrap_or(method.accumulate);
        method.ema = self.ema_decay.or(method.ema);
        method.swa = self.swa_start.or(method.swa);
        Ok(())
    }
}
