//! Photos that are named on the command line: files, and folders of them.

use std::path::PathBuf;

use ocelli::{Found, photos_in};

use crate::errors::Failure;
use crate::output::no_photos;

/// The photos at these paths, in their order, or, with `-` alone, at those on standard input, one per line;
/// those of a folder are sorted. Files that look like photos and
/// cannot be read are among them, so that each is listed with its reason when it is read.
///
/// # Errors
/// Where a folder has none, or standard input cannot be read.
pub fn photos_at(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if paths == [PathBuf::from("-")] {
        let lines = std::io::stdin().lines().collect::<Result<Vec<String>, _>>();
        let lines = lines.map_err(|error| {
            Failure::Error(format!(
                "standard input: {}; expected paths, one per line",
                ocelli::io_reason(&error)
            ))
        })?;
        let paths: Vec<PathBuf> = lines.into_iter().filter(|line| !line.is_empty()).map(Into::into).collect();
        if paths.is_empty() {
            return Err(Failure::Error(
                "standard input: no paths of photos, expected one per line".to_owned(),
            ));
        }
        return photos_at(&paths);
    }
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
