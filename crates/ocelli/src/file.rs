//! Files that are written whole or not at all.

use std::path::Path;

use ocelli_data::DataError;

use crate::{Error, Result};

/// See [`ocelli_data::write_whole`]. What keeps a file from being written is this crate's error, which names the remedy.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    ocelli_data::write_whole(path, bytes).map_err(|error| match error {
        DataError::Io { action, path, source } => Error::Io { action, path, source },
        error => error.into(),
    })
}
