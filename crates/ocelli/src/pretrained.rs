//! A backbone's pretrained weights: embedded, or a file on this machine.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use ocelli_hub::{RemoteFile, WeightStore};
use ocelli_nn::{Arch, Network, TensorFile};

use crate::error::{Error, Result};
use crate::model::finite::check_finite_of;

/// The weights that are embedded (feature `lite0`), as the bytes of a safetensors file.
pub fn built_in_weights(arch: Arch) -> Option<&'static [u8]> {
    #[cfg(feature = "lite0")]
    if arch == Arch::EfficientNetLite0 {
        return Some(ocelli_lite0::WEIGHTS);
    }
    let _ = arch;
    None
}

/// A backbone's pretrained weights; `cache` is the cache folder if it is not the default one. Nothing is
/// downloaded.
///
/// # Errors
/// [`Error::NoWeights`] where they are not on this machine.
pub(crate) fn pretrained_weights(arch: Arch, cache: Option<&Path>) -> Result<TensorFile> {
    if let Some(bytes) = built_in_weights(arch) {
        return Ok(TensorFile::parse(bytes, "the built-in weights")?);
    }
    let store = store_in(cache)?;
    if let Some(path) = store.find(arch)? {
        return Ok(TensorFile::read(path)?);
    }
    let RemoteFile { url, name, .. } = store.remote(arch);
    Err(Error::NoWeights { arch: arch.to_string(), url, path: store.folder.join(name) })
}

fn store_in(cache: Option<&Path>) -> Result<WeightStore> {
    Ok(match cache {
        Some(cache) => WeightStore::with_cache(cache),
        None => WeightStore::from_environment()?,
    })
}

/// Whether a backbone's pretrained weights are embedded, or in a file on this machine.
pub(crate) fn is_on_this_machine(arch: Arch, cache: Option<&Path>) -> Result<bool> {
    Ok(built_in_weights(arch).is_some() || store_in(cache)?.find(arch)?.is_some())
}

/// Keeps the weights of a file, safetensors or a PyTorch checkpoint, as a backbone's pretrained ones, as if they had been
/// downloaded: where the network is not to be reached, or they were published elsewhere. Returns their path.
///
/// # Errors
/// Where the file cannot be read, does not have all tensors of the backbone in their shapes, or has values that are not
/// finite; where it cannot be written; [`Error::Setting`] for a backbone whose weights are built in.
pub fn keep_weights(store: &WeightStore, arch: Arch, file: impl AsRef<Path>) -> Result<PathBuf> {
    if built_in_weights(arch).is_some() {
        return Err(Error::setting("arch", arch, "a backbone whose weights are not built in"));
    }
    let weights = TensorFile::read(file)?;
    transferred(arch, &weights, 1, 0)?;
    Ok(store.keep(arch, &weights.to_bytes("format", "pt"))?)
}

/// A network with a new head on a backbone of these weights, of which names, shapes and values are checked.
pub(crate) fn transferred(arch: Arch, weights: &TensorFile, classes: usize, seed: u64) -> Result<Network> {
    let aside = arch.dropped_tensors(weights);
    let taken = weights.names().filter(|name| !aside.contains(name));
    check_finite_of(weights, taken, weights.origin())?;
    Ok(arch.transfer(weights, classes, seed, &Device::flex())?)
}
