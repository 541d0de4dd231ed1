//! The cache folder: everything in it may be deleted at any time.

use std::path::PathBuf;

use etcetera::BaseStrategy;

use crate::error::{Error, Result};

/// The environment variable that names the cache folder.
pub const CACHE_VARIABLE: &str = "OCELLI_CACHE";

/// `$OCELLI_CACHE`, or the folder `ocelli` in the user's cache folder (`~/.cache` on Linux).
///
/// # Errors
/// [`Error::NoCacheFolder`] where neither is known.
pub fn default_cache() -> Result<PathBuf> {
    match std::env::var_os(CACHE_VARIABLE).filter(|value| !value.is_empty()) {
        Some(folder) => Ok(folder.into()),
        None => match etcetera::base_strategy::choose_native_strategy() {
            Ok(folders) => Ok(folders.cache_dir().join("ocelli")),
            Err(_) => Err(Error::NoCacheFolder),
        },
    }
}
