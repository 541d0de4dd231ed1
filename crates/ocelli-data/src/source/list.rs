//! Lists of images: files and folders without labels, and files with labels that a program knows.

use std::collections::HashSet;
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

/// Files with their labels, in the order given. Ids are relative to the folder that all of them are in, so that those of all
/// files of class folders are as [`folder::read`](super::folder::read) has them. No file is opened.
///
/// # Errors
/// [`DataError::Setting`] where there are no files, a file is named twice, a label is empty, there are fewer than two
/// classes, or, with one label per image, a file has none or several.
pub fn read_labelled(files: &[(PathBuf, Vec<String>)], task: Task) -> Result<Dataset, DataError> {
    let refused = |name, value: String, expected| DataError::Setting { name, value, expected };
    let Some((first, _)) = files.first() else {
        return Err(refused("paths", "empty".to_owned(), "at least one file of each class"));
    };
    let parent = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let mut root = parent(first);
    while !files.iter().all(|(path, _)| path.starts_with(&root)) {
        root = parent(&root);
    }
    let classes = Classes::new(files.iter().flat_map(|(_, labels)| labels.iter().cloned()));
    if classes.index("").is_some() {
        return Err(refused("labels", "an empty text".to_owned(), "the name of a class"));
    }
    if classes.len() < 2 && task == Task::SingleLabel {
        let found = format!("{:?} for all files", classes.names().first().map_or("", String::as_str));
        return Err(refused("labels", found, "of at least two classes"));
    }
    let mut ids = HashSet::new();
    let items = files.iter().map(|(path, labels)| {
        let id = super::id_of(&root, path);
        if !ids.insert(id.clone()) {
            return Err(refused("paths", path.display().to_string(), "named once"));
        }
        if task == Task::SingleLabel && labels.len() != 1 {
            let found = format!("{} labels for {}", labels.len(), path.display());
            return Err(refused("labels", found, "one label per file, or the task multi-label"));
        }
        let mut of_file: Vec<usize> = labels.iter().filter_map(|label| classes.index(label)).collect();
        of_file.sort_unstable();
        of_file.dedup();
        Ok(Item { id, path: path.clone(), target: Target::new(task, of_file) })
    });
    let items = items.collect::<Result<_, _>>()?;
    let items = Items { root, task, classes, items };
    Ok(Dataset { items, split: None, skipped: Vec::new(), notices: Vec::new(), losses: Vec::new() })
}
