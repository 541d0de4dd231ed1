//! What a file of a network holds, as plain values: a trained model, a checkpoint of a run, weights, an ONNX file.
//!
//! | to change | file |
//! |---|---|
//! | which kind a file is | `mod.rs` |
//! | what is said of a model, a checkpoint, weights, an ONNX file | `model.rs`, `checkpoint.rs`, `weights.rs`, `onnx.rs` |
//! | the model card | `card.rs` |

pub(crate) mod card;
pub(crate) mod checkpoint;
pub(crate) mod model;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;
pub(crate) mod weights;

use std::path::{Path, PathBuf};

use ocelli_nn::TensorFile;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::config::ENTRY as MODEL_ENTRY;
use crate::paths::model_of;
use crate::run::checkpoint::{ENTRY as CHECKPOINT_ENTRY, last_file};
use crate::run::folder::RunFolder;
use crate::summary::checkpoint::CheckpointSummary;
use crate::summary::model::ModelSummary;
#[cfg(feature = "onnx")]
use crate::summary::onnx::OnnxSummary;
use crate::summary::weights::WeightsSummary;
use crate::unknown::PREFIX;

/// What a file of a network holds. Other kinds of files become other variants.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileSummary {
    /// A trained model.
    Model(Box<ModelSummary>),
    /// A checkpoint of a run.
    Checkpoint(Box<CheckpointSummary>),
    /// Weights, with nothing that says what they are for.
    Weights(Box<WeightsSummary>),
    /// An ONNX file, of Ocelli's or another's.
    #[cfg(feature = "onnx")]
    Onnx(Box<OnnxSummary>),
}

/// What every kind of file has.
#[derive(Debug, Clone, Serialize)]
pub struct FileInfo {
    /// The file.
    #[serde(serialize_with = "ocelli_data::names::as_text")]
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The BLAKE3 digest of its content that the file holds, which was compared with the content; `None` where it
    /// holds none.
    pub digest: Option<String>,
    /// The number of values in its tensors, running statistics and the unknown score not counted.
    pub parameters: usize,
    /// Its tensors, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<TensorSummary>,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorSummary {
    /// Its name.
    pub name: String,
    /// The length of each dimension.
    pub shape: Vec<usize>,
    /// The type of its values in the file, such as F32; `None` where it is not known.
    pub dtype: Option<String>,
}

impl FileSummary {
    /// Reads a model, a checkpoint, a weights file or, with the feature `onnx`, an ONNX file; of the folder of a run the model, or, where the run is not
    /// finished, the last checkpoint.
    ///
    /// # Errors
    /// [`Error::Network`] where it is neither safetensors nor a PyTorch checkpoint, or is damaged;
    /// [`Error::NotAModel`] and [`Error::NotACheckpoint`] where this version does not know its form;
    /// [`Error::Io`] where it cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = &file_of(path.as_ref())?;
        let tensors = match TensorFile::read(path) {
            // The first field of an ONNX file, the version of the format.
            #[cfg(feature = "onnx")]
            Err(ocelli_nn::Error::NotWeights { begins, .. }) if begins.starts_with('\u{8}') => {
                return Ok(Self::Onnx(Box::new(OnnxSummary::of(path)?)));
            }
            tensors => tensors?,
        };
        if tensors.metadata(MODEL_ENTRY).is_some() {
            return Ok(Self::Model(Box::new(ModelSummary::of(path, &tensors)?)));
        }
        if tensors.metadata(CHECKPOINT_ENTRY).is_some() {
            return Ok(Self::Checkpoint(Box::new(CheckpointSummary::of(path, &tensors)?)));
        }
        Ok(Self::Weights(Box::new(WeightsSummary::of(path, &tensors)?)))
    }

    /// What every kind of file has.
    pub fn file(&self) -> &FileInfo {
        match self {
            Self::Model(summary) => &summary.file,
            Self::Checkpoint(summary) => &summary.file,
            Self::Weights(summary) => &summary.file,
            #[cfg(feature = "onnx")]
            Self::Onnx(summary) => &summary.file,
        }
    }

    /// The same without the list of tensors.
    pub fn without_tensors(mut self) -> Self {
        let file = match &mut self {
            Self::Model(summary) => &mut summary.file,
            Self::Checkpoint(summary) => &mut summary.file,
            Self::Weights(summary) => &mut summary.file,
            #[cfg(feature = "onnx")]
            Self::Onnx(summary) => &mut summary.file,
        };
        file.tensors.clear();
        self
    }
}

/// The file to read: in the folder of a run that is not finished, the last checkpoint.
fn file_of(path: &Path) -> Result<PathBuf> {
    model_of(path).or_else(|error| {
        let checkpoints = RunFolder::open(path).ok().map(|run| run.checkpoints());
        checkpoints.and_then(|folder| last_file(&folder)).ok_or(error)
    })
}

impl FileInfo {
    pub(crate) fn of(path: &Path, tensors: &TensorFile) -> Result<Self> {
        let bytes = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
        let summaries = tensors.names().map(|name| TensorSummary {
            name: name.to_owned(),
            shape: tensors.get(name).map(|tensor| tensor.shape.clone()).unwrap_or_default(),
            dtype: tensors.dtype(name).map(str::to_owned),
        });
        let summaries: Vec<TensorSummary> = summaries.collect();
        let trained = summaries
            .iter()
            .filter(|tensor| !is_running_statistic(&tensor.name) && !tensor.name.starts_with(PREFIX));
        Ok(Self {
            path: path.to_owned(),
            bytes,
            digest: tensors.digest().filter(|digest| *digest != "none").map(str::to_owned),
            parameters: trained.map(|tensor| tensor.shape.iter().product::<usize>()).sum(),
            tensors: summaries,
        })
    }
}

/// Whether a tensor is a mean or variance that a batch norm has seen.
fn is_running_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}
