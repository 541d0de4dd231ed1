//! A backbone's pretrained weights: embedded, or a file on this machine.

use std::path::Path;

use ocelli_hub::{RemoteFile, WeightStore};
use ocelli_nn::{Arch, TensorFile};

use crate::error::{Error, Result};

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
    let store = match cache {
        Some(cache) => WeightStore::with_cache(cache),
        None => WeightStore::from_environment()?,
    };
    if let Some(path) = store.find(arch)? {
        return Ok(TensorFile::read(path)?);
    }
    let RemoteFile { url, name, .. } = store.remote(arch);
    Err(Error::NoWeights { arch: arch.to_string(), url, path: store.folder.join(name) })
}
