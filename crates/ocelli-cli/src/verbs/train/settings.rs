//! From flags to settings.

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{Arch, Mix, OneCycle, Precision, Preset, RecipeBuilder, RunConfig, Sgdr};

use super::RecipeFlags;
use super::loss::LossFlags;
use crate::errors::Failure;
use crate::flags::{BackboneFlags, BatchFlags, DataFlags, ImageFlags, OptimizerFlags};
use crate::values::{OrNone, alpha, side};

/// What a run's settings follow from, besides the photos.
#[derive(Debug, Args)]
pub struct SettingFlags {
    /// Start from the settings of an earlier run's config.toml
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) source: DataFlags,

    /// Image size in pixels; several: progressive resizing
    ///
    /// Photos are resized to squares of this size. With several sizes, such as 128,224, training starts with
    /// the first and continues with the next. [default: the backbone's, such as 224; with a linear head nine sevenths
    /// of it, 288]
    #[arg(long, value_name = "PIXELS", value_delimiter = ',', help_heading = "Images", value_parser = side)]
    pub(super) size: Vec<usize>,
    #[command(flatten)]
    pub(super) images: ImageFlags,
    /// Mixup: blend images in pairs, with weights from Beta(ALPHA, ALPHA); usually 0.2 to 0.4
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true, help_heading = "Images", value_parser = alpha)]
    pub(super) mixup: Option<f64>,
    /// CutMix: paste a box of another image, with an area from Beta(ALPHA, ALPHA); usually 1
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true, conflicts_with = "mixup")]
    #[arg(help_heading = "Images", value_parser = alpha)]
    pub(super) cutmix: Option<f64>,
    /// Sample all classes equally often
    #[arg(hide_short_help = true)]
    #[arg(long, help_heading = "Images")]
    pub(super) balanced_sampling: bool,
    /// CSV of corrected labels and of images to drop, as the report page exports it
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FILE", help_heading = "Images")]
    pub(super) decisions: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) backbone: BackboneFlags,
    #[command(flatten)]
    pub(super) recipe: RecipeFlags,
    #[command(flatten)]
    pub(super) batches: BatchFlags,
    #[command(flatten)]
    pub(super) optimizer: OptimizerFlags,
    #[command(flatten)]
    pub(super) loss: LossFlags,
}

impl SettingFlags {
    /// The settings: the defaults, or those of `--config`, changed by the flags.
    pub fn settings(&self, data: Option<&Path>, precision: Option<Precision>) -> Result<RunConfig, Failure> {
        let mut settings = match &self.config {
            Some(path) => RunConfig::read(path)?,
            None => RunConfig::new(data.unwrap_or(Path::new(""))),
        };
        let preset = self.recipe.recipe.unwrap_or_default();
        if self.config.is_none() {
            settings.augmentation = preset.augmentation();
            let is_fitted = preset == Preset::Auto || self.recipe.time.is_some();
            settings.fit_to_photos = is_fitted && self.size.is_empty();
        }
        self.source.apply(data, &mut settings)?;
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
        settings.precision = precision.or(settings.precision);
        settings.train.train_bn |= self.recipe.train_bn;
        settings.metric = self.recipe.metric.or(settings.metric);
        settings.patience = self.recipe.patience.or(settings.patience);
        settings.thresholds = self.recipe.thresholds.unwrap_or(settings.thresholds);
        if self.config.is_none() || !self.size.is_empty() || self.recipe.changes_recipe() {
            let usual = match &self.config {
                // Where the backbone is to be chosen, that of the default one.
                None => preset.size(settings.arch.parse().unwrap_or(Arch::EfficientNetLite0)),
                Some(_) => settings.size,
            };
            let sizes = if self.size.is_empty() { vec![usual] } else { self.size.clone() };
            settings.size = sizes[0];
            settings.recipe = self.recipe.builder(preset, &sizes, settings.augmentation.is_some())?.build();
        }
        Ok(settings)
    }
}

impl SettingFlags {
    /// Whether the size of pieces of a batch is given, by a flag or a file.
    pub fn has_micro_batch(&self) -> bool {
        self.loss.micro_batch.is_some() || self.config.is_some()
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
