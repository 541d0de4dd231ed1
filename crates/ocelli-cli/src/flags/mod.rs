//! Flags that several verbs share, each group declared once.
//!
//! | group | flags |
//! |---|---|
//! | [`DataFlags`] | labels, the validation split, decoding |
//! | [`ImageFlags`], [`ChannelFlags`] | preprocessing and augmentation; bands |
//! | [`BackboneFlags`], [`OptimizerFlags`] | the network, the optimizer |
//! | [`EmbedFlags`] | a model or backbone whose features are used |
//! | [`Int8Flags`] | features in 8-bit integers |
//! | `ListenFlags` | where a server listens, and who may ask it |
//! | [`ProcessFlags`] | several processes |
//! | [`ComputeFlags`] | device, precision, threads |
//! | [`PixelFlags`] | the largest photo |
//! | [`ThreadFlags`], [`CacheFlags`], [`OutputFlags`] | the rest |

mod data;
mod embed;
mod images;
mod int8;
#[cfg(feature = "serve")]
pub mod listen;
pub mod processes;
mod training;

use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::Args;
use ocelli::{DeviceName, MAX_THREADS, Model, Precision, ProcessGroup, default_cache};

use crate::errors::Failure;
use crate::values::{one_of, pixels, threads};

pub use data::DataFlags;
pub use embed::EmbedFlags;
pub use images::{ChannelFlags, ImageFlags, combined};
pub use int8::{Int8Flags, Int8Ranges};
pub use processes::ProcessFlags;
pub use training::{BackboneFlags, BatchFlags, OptimizerFlags};

/// Device and precision. Results depend on them only by rounding.
#[derive(Debug, Args)]
pub struct ComputeFlags {
    /// Device: cpu, cuda, metal, vulkan, wgpu or rocm; cuda:1 is the second GPU
    ///
    /// All but cpu must be compiled in.
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Precision of activations: f32 or bf16 [default: the fastest here]
    ///
    /// The fastest is bf16 where the processor has instructions for it, else f32. A model records the
    /// precision that it was validated with, and is used with the same.
    #[arg(hide_short_help = true, hide_possible_values = true, help_heading = "Run")]
    #[arg(long, value_name = "PRECISION", value_parser = one_of::<Precision>(Precision::NAMES))]
    pub precision: Option<Precision>,
    #[command(flatten)]
    pub threads: ThreadFlags,
}

/// How large photos may be that a model looks at.
#[derive(Debug, Args)]
pub struct PixelFlags {
    /// Largest image to read, in pixels [default: 178956970]
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, value_name = "PIXELS", value_parser = pixels)]
    max_pixels: Option<u64>,
}

impl PixelFlags {
    pub fn apply(&self, model: Model) -> Model {
        self.max_pixels.into_iter().fold(model, Model::max_pixels)
    }
}

/// The number of threads.
#[derive(Debug, Args)]
pub struct ThreadFlags {
    /// Number of threads; 0: one for each core
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads)]
    pub threads: usize,
}

impl ThreadFlags {
    /// Starts the kernels' threads; the loader has its own for decoding. Returns their number.
    pub fn start(&self) -> Result<usize, Failure> {
        self.start_beside(&ProcessGroup::default())
    }

    /// The same beside other processes, among which the cores of a machine are divided.
    pub fn start_beside(&self, processes: &ProcessGroup) -> Result<usize, Failure> {
        // All ask, whatever they were given.
        let own = if processes.is_shared() { processes.threads()? } else { 0 };
        let threads = if self.threads == 0 { own } else { self.threads };
        if threads > MAX_THREADS {
            let message =
                format!("--threads is {threads}; expected at most {MAX_THREADS}, 0: one for each core");
            return Err(Failure::Error(message));
        }
        let count = if threads == 0 { default_threads() } else { threads };
        let mut pool = rayon::ThreadPoolBuilder::new().num_threads(count);
        if count > 1 {
            // This thread computes too: what it shares begins at once, without waking another. As the only one it would
            // keep waiting what other threads ask for.
            pool = pool.use_current_thread();
        }
        pool.build_global()?;
        Ok(threads)
    }
}

/// As many threads as training uses unless it is told otherwise: one for each core that this process may use.
pub fn default_threads() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// The cache folder for features and weights.
#[derive(Debug, Args)]
pub struct CacheFlags {
    /// Cache folder for features and downloaded weights
    ///
    /// It can be deleted at any time. [default: $OCELLI_CACHE, or the user's cache folder]
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
}

impl CacheFlags {
    /// The folder: the given one, or the default.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        match &self.cache {
            Some(folder) => Ok(folder.clone()),
            None => Ok(default_cache()?),
        }
    }
}

/// How much is printed.
#[derive(Debug, Args)]
pub struct OutputFlags {
    /// Print only the result
    #[arg(help_heading = "Run")]
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also print checkpoints as they are written, and the LR finder's other suggestions
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, short)]
    pub verbose: bool,
}
