//! Features in 8-bit integers.

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::Model;

use crate::errors::Failure;
use crate::photos::photos_at;

/// Whether a model's features are computed in 8-bit integers.
#[derive(Debug, Args)]
pub struct Int8Flags {
    /// Compute features in 8-bit integers: faster, a little less exact
    ///
    /// Static quantization of convolutional networks, on the CPU. The ranges of activations are found on up to 100
    /// training images of the model's run, and kept in its folder, or on those of --int8-photos. It pays on processors
    /// without bf16; the guide has figures of speed and accuracy.
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, conflicts_with = "precision")]
    int8: bool,
    /// With --int8: photos that ranges are found on [default: the run's]
    ///
    /// A photo or a folder; can be given several times. [default: the training images of the model's run]
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, value_name = "PATH", requires = "int8")]
    int8_photos: Vec<PathBuf>,
}

/// What ranges of activations are found on.
pub enum Int8Ranges {
    /// Nothing: features are floats.
    None,
    /// The photos of each model's run.
    OfRun,
    Photos(Vec<PathBuf>),
}

impl Int8Flags {
    /// Finds the photos that are named.
    pub fn ranges(&self) -> Result<Int8Ranges, Failure> {
        Ok(match (self.int8, &self.int8_photos[..]) {
            (false, _) => Int8Ranges::None,
            (true, []) => Int8Ranges::OfRun,
            (true, paths) => Int8Ranges::Photos(photos_at(paths)?.photos),
        })
    }
}

impl Int8Ranges {
    /// A model that was loaded from this path.
    pub fn apply(&self, model: Model, path: &Path) -> ocelli::Result<Model> {
        match self {
            Self::None => Ok(model),
            Self::OfRun => model.int8_of_run(path),
            Self::Photos(photos) => model.int8(photos),
        }
    }
}
