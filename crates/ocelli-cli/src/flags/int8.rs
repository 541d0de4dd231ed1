//! Features in 8-bit integers.

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{Int8Source, Model};

use crate::errors::Failure;
use crate::output::{eprintln, is_dash, message};
use crate::photos::photos_at;
use crate::text::counted;

/// Whether a model's features are computed in 8-bit integers.
#[derive(Debug, Args)]
pub struct Int8Flags {
    /// Compute features in 8-bit integers: faster, a little less exact
    ///
    /// Static quantization of convolutional networks, on the CPU; ConvNeXt and ViT are refused. The ranges of activations
    /// are found on up to 100 training images of the model's run, and kept in its folder; --int8-photos finds them on
    /// others. It pays on processors without bf16; the guide has figures of speed and accuracy.
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, conflicts_with = "precision")]
    int8: bool,
    /// With --int8: photos that ranges are found on [default: the run's]
    ///
    /// A photo or a folder; can be given several times. Ranges by these photos are not kept.
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
            (true, paths) => {
                if let Some(missing) = paths.iter().find(|path| !is_dash(path) && !path.exists()) {
                    let what = "does not exist; --int8-photos takes photos or folders of photos";
                    return Err(Failure::Error(format!("{}: {what}", missing.display())));
                }
                let named = photos_at(paths)?;
                named.conclude()?;
                Int8Ranges::Photos(named.photos)
            }
        })
    }
}

impl Int8Ranges {
    /// A model that was loaded from this path. Says on standard error what ranges were found on.
    pub fn apply(&self, model: Model, path: &Path) -> ocelli::Result<Model> {
        let (model, of_run) = match self {
            Self::None => return Ok(model),
            Self::OfRun => (model.int8_of_run(path)?, true),
            Self::Photos(photos) => (model.int8(photos)?, false),
        };
        if let Some(Int8Source::Found { photos, left_out, kept, not_kept, .. }) = model.int8_source() {
            let what = counted(*photos, if of_run { "training image" } else { "photo" });
            let others = match left_out {
                0 => String::new(),
                _ if of_run => {
                    format!(" ({left_out} more could not be used: missing, changed or unreadable)")
                }
                _ => format!(" ({left_out} more cannot be read)"),
            };
            let kept = match (kept, not_kept) {
                (Some(path), _) => format!(", kept in {}", path.display()),
                (None, Some(reason)) => format!("; they are not kept: {reason}"),
                (None, None) if of_run => "; they are not kept".to_owned(),
                (None, None) => String::new(),
            };
            eprintln!("note: {}", message(format!("ranges of 8-bit integers found on {what}{others}{kept}")));
        }
        Ok(model)
    }
}
