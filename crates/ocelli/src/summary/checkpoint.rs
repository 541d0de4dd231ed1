//! What is said of a checkpoint.

use std::path::Path;

use ocelli_nn::TensorFile;
use serde::Serialize;

use crate::error::Result;
use crate::run::checkpoint::Contents;
use crate::summary::FileInfo;

/// What a checkpoint of a run says.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointSummary {
    /// The file.
    #[serde(flatten)]
    pub file: FileInfo,
    /// The version of the format.
    pub format: u32,
    /// The version of Ocelli that wrote it.
    pub version: String,
    /// The instruction set that the kernels used.
    pub instructions: String,
    /// The backbone.
    pub arch: Option<String>,
    /// The image size in pixels.
    pub size: usize,
    /// The phases of the recipe that are finished, and all.
    pub phases: (usize, Option<usize>),
    /// The epochs that are finished, over all phases.
    pub epochs: usize,
    /// Seconds of training so far.
    pub seconds: f64,
    /// The best weights at each image size, in files of their own beside it: usable models.
    pub best: Vec<BestWeights>,
}

/// The best weights so far at an image size.
#[derive(Debug, Clone, Serialize)]
pub struct BestWeights {
    /// The file's name.
    pub file: String,
    /// The image size in pixels.
    pub size: usize,
    /// The phase, counted from 1.
    pub phase: usize,
    /// The epoch within it, counted from 1.
    pub epoch: usize,
    /// The accuracy on the validation images.
    pub accuracy: Option<f64>,
    /// The loss on the validation images.
    pub valid_loss: Option<f64>,
}

impl CheckpointSummary {
    pub(crate) fn of(path: &Path, tensors: &TensorFile) -> Result<Self> {
        let contents = Contents::of(tensors, path)?;
        let best = contents.best.into_iter().map(|(file, size, record)| BestWeights {
            file,
            size,
            phase: record.fit,
            epoch: record.epoch,
            accuracy: record.accuracy,
            valid_loss: record.valid_loss,
        });
        Ok(Self {
            file: FileInfo::of(path, tensors)?,
            format: contents.format,
            version: contents.version,
            instructions: contents.instructions,
            arch: contents.settings.as_ref().map(|settings| settings.arch.clone()),
            size: contents.size,
            phases: (contents.phases, contents.settings.map(|settings| settings.recipe.phases.len())),
            epochs: contents.epochs,
            seconds: contents.seconds,
            best: best.collect(),
        })
    }
}
