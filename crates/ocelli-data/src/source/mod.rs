//! Where items come from.

pub mod folder;
pub mod list;
pub(crate) mod listing;
pub(crate) mod masks;
mod packed;
pub(crate) mod role;
pub mod table;

use std::path::{Path, PathBuf};

use crate::{DataError, names::text_of};

/// What is said of images for testing when a data set is read to train on it.
pub const UNUSED: &str = "neither trained on nor evaluated";

/// Whether a folder has the name of a part of a split: `train`, `Testing`.
pub fn is_split_name(folder: &Path) -> bool {
    role::named_role(&crate::names::file_name(folder))
        .is_some_and(|named| named.rest.is_empty() && named.sure)
}

/// The path again, if it is a folder.
pub(crate) fn existing_folder(path: &Path) -> Result<PathBuf, DataError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(path.to_owned()),
        Ok(_) => Err(packed::packed(path).unwrap_or_else(|| DataError::NotAFolder { path: path.to_owned() })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DataError::Missing { path: path.to_owned() })
        }
        Err(error) => Err(DataError::io("read", path)(error)),
    }
}

/// The id of a file: its path relative to `root`, separated by `/`. Different files have different ids,
/// whatever bytes their names are made of.
pub fn id_of(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = relative.components().map(|part| text_of(part.as_os_str())).collect();
    parts.join("/")
}
