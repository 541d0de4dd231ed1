//! The photos in a folder, for prediction.

use std::path::{Path, PathBuf};

use ocelli_data::{Skipped, source};

use crate::Result;

/// All images below `folder`, sorted, and what is meant as an image there and is none; hidden files and folders are
/// left out.
///
/// # Errors
/// Where the folder cannot be read.
pub fn photos_in(folder: impl AsRef<Path>) -> Result<(Vec<PathBuf>, Vec<Skipped>)> {
    let mut found = source::list::read([folder])?;
    found.skipped.retain(|skipped| skipped.is_image);
    Ok((found.items.items.into_iter().map(|item| item.path).collect(), found.skipped))
}
