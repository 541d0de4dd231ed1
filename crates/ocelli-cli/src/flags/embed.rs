//! What computes features: a model, or a pretrained backbone.

use std::path::PathBuf;

use clap::Args;
use ocelli::{DeviceName, Embedder, Model};

use crate::errors::Failure;
use crate::flags::{CacheFlags, ComputeFlags};
use crate::output::shown;
use crate::values::{arch, pixels, side};

/// The network whose features are used, and how.
#[derive(Debug, Args)]
pub struct EmbedFlags {
    /// Model file, run folder, or a backbone's name (see `ocelli models`)
    ///
    /// A backbone must have its weights on this machine; `ocelli pull` downloads them.
    #[arg(value_name = "MODEL|ARCH")]
    pub network: PathBuf,
    /// Stage whose output is pooled: a number, or a part such as blocks.3 [default: the last]
    #[arg(long, value_name = "LAYER")]
    pub layer: Option<String>,
    /// With a backbone: image size in pixels [default: the backbone's]
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    pub size: Option<usize>,
    /// Largest image to read, in pixels [default: 178956970]
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, value_name = "PIXELS", value_parser = pixels)]
    pub max_pixels: Option<u64>,
    #[command(flatten)]
    pub compute: ComputeFlags,
    #[command(flatten)]
    pub cache: CacheFlags,
}

impl EmbedFlags {
    /// Reads the network, and starts the threads.
    pub fn embedder(&self) -> Result<Embedder, Failure> {
        let threads = self.compute.threads.start()?;
        let name = self.network.to_str().unwrap_or_default();
        let mut embedder = match arch(name) {
            Ok(arch) if !self.network.exists() => {
                let cache = self.cache.cache.as_deref();
                Embedder::pretrained(arch, self.size, cache).map_err(without_weights_flag)?
            }
            parsed => {
                let path = shown(self.network.display());
                if let (false, Err(error)) = (self.network.exists(), &parsed) {
                    return Err(Failure::Error(format!(
                        "{path}: there is no such model file, and it is an {error}"
                    )));
                }
                if self.size.is_some() {
                    return Err(Failure::Error(format!(
                        "--size is for a backbone; the model {path} has its own image size"
                    )));
                }
                Embedder::of_model(&Model::load(&self.network)?)
            }
        };
        if let Some(layer) = &self.layer {
            embedder = embedder.layer(layer)?;
        }
        if let Some(precision) = self.compute.precision {
            embedder = embedder.precision(precision);
        }
        if let Some(pixels) = self.max_pixels {
            embedder = embedder.max_pixels(pixels);
        }
        if self.compute.device != DeviceName::default() {
            embedder = embedder.to_device(&self.compute.device.open()?);
        }
        Ok(embedder.threads(threads))
    }
}

/// A failure to find weights, which these verbs take from the cache alone: without the advice to name a file.
fn without_weights_flag(error: ocelli::Error) -> Failure {
    match error {
        ocelli::Error::NoWeights { arch, url, path } => {
            let path = shown(path.display());
            let pull = match cfg!(feature = "hub") {
                true => format!("\n       to download them:  ocelli pull {arch}"),
                false => String::new(),
            };
            Failure::Error(format!(
                "the weights of {arch} are not on this machine; get {url} and save it as {path}{pull}"
            ))
        }
        error => error.into(),
    }
}
