//! Where items come from.

pub mod csv;
pub mod folder;
pub mod list;
pub(crate) mod listing;

use std::path::{Path, PathBuf};

use crate::DataError;

/// The path again, if it is a folder.
pub(crate) fn existing_folder(path: &Path) -> Result<PathBuf, DataError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(path.to_owned()),
        Ok(_) => Err(DataError::NotAFolder { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DataError::Missing { path: path.to_owned() })
        }
        Err(error) => Err(DataError::io("read", path)(error)),
    }
}

/// The id of a file: its path relative to `root`, separated by `/`.
pub(crate) fn id_of(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
