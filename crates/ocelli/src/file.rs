//! Files of run folders and of the cache: see [`ocelli_data::files`].

use std::path::Path;

use ocelli_data::{DataError, files};
use ocelli_nn::TensorFile;

use crate::error::{Error, Result};

/// Writes a file whole or not at all, as [`ocelli_data::write_whole`] does.
///
/// # Errors
/// [`Error::Io`], which names the remedy, where it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
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
