//! Photos that are named on the command line: files, and folders of them.

use std::path::{Path, PathBuf};

use ocelli::{Found, photos_in};

use crate::errors::Failure;
use crate::output::no_photos;

/// The photos at these paths, in their order; those of a folder are sorted. Files that look like photos and
/// cannot be read are among them, so that each is listed with its reason when it is read.
///
/// # Errors
/// Where a folder has none.
pub fn photos_at(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let Found { mut photos, skipped } = photos_in(path)?;
        if photos.is_empty() && skipped.iter().all(|skipped| skipped.is_usual) {
            return Err(no_photos(path, &skipped));
        }
        photos.extend(skipped.into_iter().filter(|skipped| !skipped.is_usual).map(|skipped| skipped.path));
        photos.sort();
        all.extend(photos);
    }
    Ok(all)
}

/// The folders among these paths.
pub fn folders_of(paths: &[PathBuf]) -> Vec<&Path> {
    paths.iter().filter(|path| path.is_dir()).map(PathBuf::as_path).collect()
}
