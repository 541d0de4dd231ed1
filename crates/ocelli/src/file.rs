//! Files of run folders and of the cache: see [`ocelli_data::files`].

use std::path::Path;

use ocelli_data::{DataError, files};
use ocelli_nn::TensorFile;

use crate::error::{Error, Result};

/// See [`ocelli_data::write_whole`]. What keeps a file from being written is this crate's error, which names the remedy.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    ocelli_data::write_whole(path, bytes).map_err(|error| match error {
        DataError::Io { action, path, source } => Error::Io { action, path, source },
        error => error.into(),
    })
}

/// Tensors that were written here.
pub(crate) fn read_tensors(path: &Path) -> Result<TensorFile> {
    let bytes = files::read(path).map_err(Error::io("read", path))?;
    Ok(TensorFile::parse(&bytes, &path.display().to_string())?)
}
