//! `ocelli pull`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ocelli::{Arch, WeightStore, built_in_weights, keep_weights};

use crate::errors::Failure;
use crate::flags::CacheFlags;
use crate::output::{path_line, println};
use crate::values::{arch, whole};

/// Download pretrained weights
///
/// Weights in the caches of torch.hub and Hugging Face are used where they are. The path of each file is
/// printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli pull efficientnet_lite4
  ocelli pull efficientnet_lite2 --from efficientnet-lite2-9656183e.pth
  HF_ENDPOINT=https://hub.example.org ocelli pull convnext_atto

Environment:
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY    proxies
  HF_ENDPOINT, OCELLI_TORCHVISION_URL             mirrors
  OCELLI_CACHE, TORCH_HOME, HF_HOME, HF_HUB_CACHE caches")]
pub struct Pull {
    /// Backbones; `ocelli models` lists them
    #[arg(required = true, value_name = "NAME", value_parser = arch)]
    names: Vec<Arch>,

    /// Keep the weights of this file instead, where the network is not to be reached
    ///
    /// A safetensors file or a PyTorch checkpoint with the tensors of torchvision's or timm's network. It is checked, and
    /// used like downloaded weights.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Give up if the server sends nothing for this long
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = whole::<1, 86_400>)]
    timeout: usize,
    /// Print only the paths
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    cache: CacheFlags,
}

impl Pull {
    pub fn run(&self) -> Result<(), Failure> {
        let mut store = match &self.cache.cache {
            Some(folder) => WeightStore::with_cache(folder),
            None => WeightStore::from_environment()?,
        };
        store.retry.read_timeout = Duration::from_secs(self.timeout as u64);
        if let Some(file) = &self.from {
            let [arch] = self.names[..] else {
                let message = "--from has the weights of one backbone: give one name";
                return Err(Failure::Error(message.to_owned()));
            };
            path_line(&keep_weights(&store, arch, file)?);
            return Ok(());
        }
        for arch in &self.names {
            match built_in_weights(*arch) {
                Some(_) => println!("{arch} is built in"),
                None => path_line(&fetched(&store, *arch, self.quiet)?),
            }
        }
        Ok(())
    }
}

/// The file with a backbone's weights, downloaded unless it is on this machine; messages go to standard
/// error.
#[cfg(feature = "hub")]
pub fn fetched(store: &WeightStore, arch: Arch, quiet: bool) -> ocelli::Result<PathBuf> {
    let mut transfer = crate::transfer::Transfer::new(quiet);
    Ok(store.pull(arch, &mut |event| {
        transfer.observe(event);
        std::ops::ControlFlow::Continue(())
    })?)
}

/// The file with a backbone's weights, if it is on this machine: this program was built without downloads.
#[cfg(not(feature = "hub"))]
pub fn fetched(store: &WeightStore, arch: Arch, _quiet: bool) -> ocelli::Result<PathBuf> {
    store.find(arch)?.ok_or_else(|| {
        let file = store.remote(arch);
        ocelli::Error::NoWeights { arch: arch.to_string(), url: file.url, path: store.folder.join(file.name) }
    })
}
