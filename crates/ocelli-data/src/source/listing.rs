//! The image files below a folder, in one fixed order.
//!
//! The content of a file decides whether it is an image, never its name. Symbolic links are followed, so
//! that a data set can be made of links; a link into its own parents is reported. Names that begin with a dot,
//! and `__MACOSX`, are hidden: they are reported once and not looked into.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::decode::{Refused, refused as refused_image};
use crate::{DataError, Skipped};

/// What lies below a folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Images, sorted by their names' bytes, folder by folder.
    pub images: Vec<PathBuf>,
    /// Everything else that is no folder.
    pub skipped: Vec<Skipped>,
}

/// What lies directly in a folder.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Visible folders, sorted by their names' bytes.
    pub folders: Vec<PathBuf>,
    /// Visible files, sorted by their names' bytes.
    pub files: Vec<PathBuf>,
    /// Hidden ones, and names that are not text.
    pub skipped: Vec<Skipped>,
}

/// Looks at one folder.
pub(crate) fn entries(folder: &Path) -> Result<Entries, DataError> {
    let mut entries = Entries::default();
    for entry in WalkDir::new(folder).min_depth(1).max_depth(1).follow_links(true).sort_by_file_name() {
        match entry {
            Err(error) if error.depth() == 0 => {
                return Err(DataError::io("list", folder)(error.into()));
            }
            Err(error) => entries.skipped.push(walk_error(&error, folder)),
            Ok(entry) => {
                let path = entry.path().to_owned();
                match refused(&entry) {
                    Some(reason) => entries.skipped.push(Skipped::new(path, reason)),
                    None if entry.file_type().is_dir() => entries.folders.push(path),
                    None => entries.files.push(path),
                }
            }
        }
    }
    Ok(entries)
}

/// Looks at everything below a folder.
pub(crate) fn images_below(folder: &Path) -> Listing {
    let mut listing = Listing::default();
    let real_folder = folder.canonicalize().ok();
    let is_loop = |entry: &DirEntry| {
        entry.path_is_symlink()
            && entry.file_type().is_dir()
            && entry
                .path()
                .canonicalize()
                .ok()
                .is_some_and(|to| real_folder.as_ref().is_some_and(|from| from.starts_with(to)))
    };
    let mut walk = WalkDir::new(folder).min_depth(1).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        match entry {
            Err(error) => listing.skipped.push(walk_error(&error, folder)),
            Ok(entry) => {
                let refused =
                    is_loop(&entry).then_some("a link to its own parent").or_else(|| refused(&entry));
                if let Some(reason) = refused {
                    listing.skipped.push(Skipped::new(entry.path(), reason));
                    if entry.file_type().is_dir() {
                        walk.skip_current_dir();
                    }
                } else if !entry.file_type().is_dir() {
                    listing.add(entry.path());
                }
            }
        }
    }
    listing
}

impl Listing {
    /// Looks at one file.
    pub(crate) fn add(&mut self, path: &Path) {
        match not_an_image(path) {
            None => self.images.push(path.to_owned()),
            Some((reason, meant_as_image)) => {
                let skipped = Skipped { is_image: meant_as_image, ..Skipped::new(path, reason) };
                self.skipped.push(skipped);
            }
        }
    }
}

/// Why an entry is not looked at.
fn refused(entry: &DirEntry) -> Option<&'static str> {
    let name = entry.file_name();
    if name.as_encoded_bytes().starts_with(b".") || name == OsStr::new("__MACOSX") {
        return Some("hidden");
    }
    if name.to_str().is_none() {
        return Some("its name is not valid UTF-8; rename it");
    }
    (!entry.file_type().is_dir() && !entry.file_type().is_file()).then_some("neither a file nor a folder")
}

fn walk_error(error: &walkdir::Error, folder: &Path) -> Skipped {
    let path = error.path().unwrap_or(folder);
    match (error.loop_ancestor(), error.io_error()) {
        (Some(_), _) => Skipped::new(path, "a link to its own parent"),
        (None, Some(source)) if path.is_symlink() => Skipped::new(path, format!("a broken link: {source}")),
        (None, Some(source)) => Skipped::new(path, format!("cannot be read: {source}")),
        (None, None) => Skipped::new(path, error),
    }
}

/// Why a file is not an image that can be read, and whether it was meant as one.
fn not_an_image(path: &Path) -> Option<(String, bool)> {
    Some(match refused_image(path) {
        Err(error) => (format!("cannot be read: {error}"), true),
        Ok(None) => return None,
        Ok(Some(Refused::Foreign(error))) => (error.to_string(), true),
        Ok(Some(Refused::Misnamed(reason))) => (reason, true),
        Ok(Some(Refused::Other)) => ("not an image".to_owned(), false),
    })
}
