//! The photos in a folder, for prediction.

use std::path::{Path, PathBuf};

use ocelli_data::Format;
use walkdir::WalkDir;

use crate::{Error, Result};

/// All files below `folder` that have an image's extension, sorted; hidden files and folders are left out.
///
/// # Errors
/// Where the folder or one below it cannot be read.
pub fn photos_in(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let folder = folder.as_ref();
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
    };
    let mut photos = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible)
    {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            Error::Io { action: "read", path, source: error.into() }
        })?;
        if entry.file_type().is_file() && is_photo(entry.path()) {
            photos.push(entry.into_path());
        }
    }
    Ok(photos)
}

fn is_photo(path: &Path) -> bool {
    let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else { return false };
    let extension = extension.to_ascii_lowercase();
    Format::ALL.iter().any(|format| format.extensions().contains(&extension.as_str()))
}
