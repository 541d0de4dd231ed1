//! Flags for the network and its optimizer.

use std::path::PathBuf;

use clap::Args;
use ocelli::{AUTO_ARCH, Optimizer, RunConfig};

use crate::errors::Failure;
use crate::values::{ArchOrAuto, arch_or_auto, at_least_0, batch_size, names_help, one_of, seed};

/// The pretrained network.
#[derive(Debug, Args)]
pub struct BackboneFlags {
    /// Backbone [default: efficientnet_lite0]
    ///
    /// `ocelli models` lists them. Its weights are downloaded if they are not on this machine. auto: the best for these
    /// photos among those whose weights are on this machine, by cross-validation of a linear head on up to 1,000 of
    /// them; ocelli pull gets more.
    #[arg(long, value_name = "NAME", help_heading = "Training", value_parser = arch_or_auto)]
    pub arch: Option<ArchOrAuto>,
    /// Pretrained weights of the backbone: a safetensors file or a PyTorch checkpoint
    ///
    /// [default: the published ones]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FILE", help_heading = "Training")]
    pub weights: Option<PathBuf>,
}

impl BackboneFlags {
    /// Applies the flags to settings.
    pub fn apply(&self, settings: &mut RunConfig) {
        match self.arch {
            Some(ArchOrAuto::Arch(arch)) => {
                settings.arch = arch.to_string();
                settings.size = arch.info().size;
            }
            Some(ArchOrAuto::Auto) => settings.arch = AUTO_ARCH.to_owned(),
            None => {}
        }
        settings.weights = self.weights.clone().or(settings.weights.take());
    }

    /// Refuses to choose a backbone.
    pub fn no_auto(&self, verb: &str) -> Result<(), Failure> {
        match self.arch {
            Some(ArchOrAuto::Auto) => Err(Failure::Error(format!(
                "--arch auto is for ocelli train, which compares backbones; give ocelli {verb} the name of one"
            ))),
            _ => Ok(()),
        }
    }
}

/// The optimizer.
#[derive(Debug, Args)]
pub struct OptimizerFlags {
    /// Optimizer: sgd, nesterov, adamw, rmsprop, adagrad or lion [default: sgd]
    #[arg(hide_short_help = true, hide_possible_values = true, help_heading = "Optimizer and loss")]
    #[arg(long_help = names_help("Optimizer [default: sgd]", Optimizer::NAMES))]
    #[arg(long, value_name = "NAME", value_parser = one_of::<Optimizer>(Optimizer::NAMES))]
    pub optimizer: Option<Optimizer>,
    /// Decoupled weight decay, not applied to biases and norms [default: 1]
    #[arg(hide_short_help = true, help_heading = "Optimizer and loss")]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, value_parser = at_least_0)]
    pub weight_decay: Option<f64>,
}

impl OptimizerFlags {
    /// Applies the flags to settings.
    pub fn apply(&self, settings: &mut RunConfig) {
        settings.train.optimizer = self.optimizer.unwrap_or(settings.train.optimizer);
        settings.train.weight_decay = self.weight_decay.map_or(settings.train.weight_decay, Into::into);
    }
}

/// Batches and the seed.
#[derive(Debug, Args)]
pub struct BatchFlags {
    /// Images per batch [default: 64]
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = batch_size)]
    pub batch_size: Option<usize>,
    /// Random seed of the split, initialization, dropout, shuffling and augmentation [default: 0]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = seed)]
    pub seed: Option<u64>,
}

impl BatchFlags {
    /// Applies the flags to settings.
    pub fn apply(&self, settings: &mut RunConfig) {
        settings.batch_size = self.batch_size.unwrap_or(settings.batch_size);
        settings.seed = self.seed.unwrap_or(settings.seed);
    }
}
