//! From flags to settings.

use ocelli::{Mix, OneCycle, Preset, RecipeBuilder, RunConfig, Sgdr, ValidSplit};

use super::{RecipeFlags, Train};
use crate::errors::Failure;
use crate::values::OrNone;

impl Train {
    /// The settings: the defaults, or those of `--config`, changed by the flags.
    pub(super) fn settings(&self) -> Result<RunConfig, Failure> {
        let mut settings = match &self.config {
            Some(path) => RunConfig::read(path)?,
            None => RunConfig::new(self.data.clone().unwrap_or_default()),
        };
        let preset = self.recipe.recipe.unwrap_or_default();
        if self.config.is_none() {
            settings.augmentation = preset.augmentation();
            let is_fitted = preset == Preset::Auto || self.recipe.time.is_some();
            settings.fit_to_photos = is_fitted && self.size.is_empty();
        }
        self.source.apply(self.data.as_deref(), &mut settings)?;
        self.backbone.apply(&mut settings);
        self.images.apply(&mut settings);
        self.batches.apply(&mut settings);
        self.optimizer.apply(&mut settings);
        self.loss.apply(&mut settings.train)?;
        let mix = self.mixup.map(|alpha| Mix::Mixup { alpha });
        let mix = mix.or(self.cutmix.map(|alpha| Mix::CutMix { alpha }));
        settings.train.mix = mix.or(settings.train.mix);
        settings.balanced_sampling |= self.balanced_sampling;
        settings.decisions = self.decisions.clone().or(settings.decisions);
        settings.precision = self.compute.precision.or(settings.precision);
        settings.train.train_bn |= self.recipe.train_bn;
        settings.metric = self.recipe.metric.or(settings.metric);
        settings.patience = self.recipe.patience.or(settings.patience);
        settings.thresholds = self.recipe.thresholds.unwrap_or(settings.thresholds);
        settings.valid_split = self.folds.map(ValidSplit::Folds).or(settings.valid_split);
        if self.config.is_none() || !self.size.is_empty() || self.recipe.changes_recipe() {
            let sizes = if self.size.is_empty() { vec![settings.size] } else { self.size.clone() };
            settings.size = sizes[0];
            settings.recipe = self.recipe.builder(preset, &sizes, settings.augmentation.is_some())?.build();
            if let (Some(limit), Some(folds)) = (settings.recipe.time_limit, settings.folds()) {
                // It is one for all trainings together.
                settings.recipe.time_limit = Some(limit / (folds + 1) as f64);
            }
        }
        Ok(settings)
    }
}

impl RecipeFlags {
    /// Whether a flag is given that changes the phases.
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
            || self.time.is_some()
    }

    fn builder(&self, preset: Preset, sizes: &[usize], augmented: bool) -> Result<RecipeBuilder, Failure> {
        let recipe = RecipeBuilder::new(preset, sizes[0]).then_sizes(sizes[1..].iter().copied());
        let mut recipe = recipe.augmented(augmented);
        recipe = match self.lr[..] {
            [] => recipe,
            [lr] => recipe.head_lr(lr),
            [early, late, head] => recipe.unfrozen_lrs([early, late, head]),
            _ => {
                let number = self.lr.len();
                return Err(Failure::Error(format!(
                    "--lr has {number} learning rates; expected one, for the head, or three, for early layers, late layers and head"
                )));
            }
        };
        if let Some(epochs) = self.head_epochs {
            recipe = recipe.head_epochs(epochs);
        }
        if let Some(epochs) = self.augmented_epochs {
            recipe = recipe.augmented_epochs(epochs);
        }
        if let Some(copies) = self.augmented_copies {
            recipe = recipe.augmented_copies(copies);
        }
        if let Some(epochs) = self.unfrozen_epochs {
            recipe = recipe.unfrozen_schedule(OneCycle::epochs(epochs));
        } else if let Some(cycles) = self.cycles {
            recipe = recipe.unfrozen_schedule(Sgdr::cycles(cycles).len(self.cycle_len).mult(self.cycle_mult));
        }
        if let Some(ratio) = self.group_lr_ratio {
            recipe = recipe.group_lr_ratio(ratio);
        }
        if let Some(seconds) = self.time {
            recipe = recipe.time_limit(seconds);
        }
        if let Some(OrNone(tta)) = self.tta {
            recipe = recipe.tta(tta);
        }
        Ok(recipe)
    }
}
