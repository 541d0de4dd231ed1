//! Images without labels: files, folders, lists of them.

use std::path::{Path, PathBuf};

use super::listing;
use crate::{Classes, DataError, Dataset, Item, Items, Skipped, Target, Task, io_reason};

/// All images below a folder, and everything else in it, sorted folder by folder. Only paths are held.
pub fn images_below(folder: impl AsRef<Path>) -> (Vec<PathBuf>, Vec<Skipped>) {
    let listing = listing::images_below(folder.as_ref());
    (listing.images, listing.skipped)
}

/// The images among these files and below these folders, unlabelled, in the order given.
///
/// Whether a file is an image is found out when it is decoded. An id is the path as given, separated by `/`.
pub fn read(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Dataset, DataError> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut skipped: Vec<Skipped> = Vec::new();
    for path in paths {
        let path = path.as_ref();
        match std::fs::metadata(path) {
            Err(error) => {
                skipped.push(Skipped::image(path, format!("cannot be read: {}", io_reason(&error))))
            }
            Ok(found) if found.is_dir() => {
                let listing = listing::images_below(path);
                files.extend(listing.images);
                skipped.extend(listing.skipped);
            }
            Ok(_) => files.push(path.to_owned()),
        }
    }
    let items = files.into_iter().map(|path| Item {
        id: super::id_of(Path::new(""), &path),
        path,
        target: Target::Unlabelled,
    });
    let items = Items {
        root: PathBuf::new(),
        task: Task::SingleLabel,
        classes: Classes::default(),
        items: items.collect(),
    };
    Ok(Dataset { items, split: None, skipped, notices: Vec::new(), losses: Vec::new() })
}
