//! Files that are written whole or not at all.

use std::path::Path;

use crate::Result;

/// See [`ocelli_data::write_whole`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(ocelli_data::write_whole(path, bytes)?)
}
