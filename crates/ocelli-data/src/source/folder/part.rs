//! A folder in a folder, with all that is below it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Reader;
use crate::names::{class_name, file_name};
use crate::{Classes, Skipped};

/// A folder in a folder, with all that is below it.
#[derive(Default)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) images: Vec<PathBuf>,
    /// Whether images, or what is meant as one, lie in it directly.
    pub(super) direct: bool,
    /// Folders in it that hold images.
    pub(super) subfolders: BTreeSet<OsString>,
    /// Files that are meant as images, and of which no other form is there.
    pub(super) lost: Vec<Skipped>,
    /// Other files that may be something: films, unknown kinds.
    pub(super) other: Vec<Skipped>,
    /// Texts, tables, hidden files.
    pub(super) usual: usize,
}

impl Part {
    pub(super) fn name(&self) -> String {
        file_name(&self.path)
    }

    pub(super) fn has_images(&self) -> bool {
        !self.images.is_empty() || !self.lost.is_empty()
    }

    /// Whether it can be a class: whose photos may all be lost.
    pub(super) fn may_be_class(&self) -> bool {
        self.has_images() || !self.other.is_empty()
    }

    /// Whether it holds nothing but folders of images.
    pub(super) fn holds_folders(&self) -> bool {
        !self.direct && !self.subfolders.is_empty()
    }
}

/// The images in folders inside of a class folder.
pub(super) struct Inner<'a> {
    /// The folder, from the class folder on: `rejected`, `2019/blurred`.
    pub(super) folder: String,
    pub(super) images: Vec<&'a Path>,
}

impl Part {
    /// The folders of images inside of it.
    pub(super) fn inner(&self) -> Vec<Inner<'_>> {
        let mut inner: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
        let lost = self.lost.iter().map(|skipped| &skipped.path);
        for image in self.images.iter().chain(lost) {
            let folder = image.parent().and_then(|folder| folder.strip_prefix(&self.path).ok());
            if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) {
                inner.entry(crate::text_of(folder)).or_default().push(image);
            }
        }
        inner.into_iter().map(|(folder, images)| Inner { folder, images }).collect()
    }

    /// The folders where the images in it part ways: those directly in it, or in the only one that holds any, as
    /// `bike` and `mug` are in `amazon/images/bike`; none where images lie beside them.
    pub(super) fn branches(&self) -> BTreeSet<OsString> {
        let lost = self.lost.iter().map(|skipped| &skipped.path);
        let folders =
            self.images.iter().chain(lost).filter_map(|image| image.parent()?.strip_prefix(&self.path).ok());
        let folders: BTreeSet<&Path> = folders.collect();
        for level in 0.. {
            let at_level: BTreeSet<Option<&OsStr>> =
                folders.iter().map(|folder| folder.iter().nth(level)).collect();
            if at_level.contains(&None) || at_level.is_empty() {
                break;
            }
            if at_level.len() > 1 {
                return at_level.into_iter().flatten().map(OsStr::to_owned).collect();
            }
        }
        BTreeSet::new()
    }
}

impl Reader<'_> {
    /// The folders in a folder, and the images in it directly.
    pub(super) fn parts(&self, folder: &Path) -> (Vec<Part>, Vec<PathBuf>) {
        let mut parts: BTreeMap<&OsStr, Part> = BTreeMap::new();
        for path in self.listing.folders.iter().filter(|path| path.parent() == Some(folder)) {
            if let Some(name) = path.file_name() {
                parts.insert(name, Part { path: path.clone(), ..Part::default() });
            }
        }
        let mut loose = Vec::new();
        // The first folder on the way to a file, and the second; nothing where the file lies there directly.
        let way = |path: &'_ Path| -> Option<(OsString, Option<OsString>)> {
            let mut way = path.strip_prefix(folder).ok()?.iter();
            let (first, second, third) = (way.next()?.to_owned(), way.next(), way.next());
            Some((first, second.filter(|_| third.is_some()).map(OsStr::to_owned)))
        };
        for image in &self.listing.images {
            let Some((first, second)) = way(image) else { continue };
            match parts.get_mut(first.as_os_str()) {
                Some(part) => {
                    part.images.push(image.clone());
                    part.direct |= second.is_none();
                    part.subfolders.extend(second);
                }
                None => loose.push(image.clone()),
            }
        }
        for skipped in &self.skipped {
            let Some((first, second)) = way(&skipped.path) else { continue };
            let Some(part) = parts.get_mut(first.as_os_str()) else { continue };
            // An image that is there in another form, too, as cameras write both, is not lost.
            let is_elsewhere = || stem(&skipped.path).is_some_and(|stem| self.stems.contains(&stem));
            if skipped.is_image && !is_elsewhere() {
                part.direct |= second.is_none();
                part.subfolders.extend(second);
                part.lost.push(skipped.clone());
            } else if skipped.is_usual || skipped.is_image {
                part.usual += 1;
            } else {
                part.other.push(skipped.clone());
            }
        }
        (parts.into_values().collect(), loose)
    }

    /// The folder itself, or the one that is all that it holds, and so on; `stop` says what is not entered.
    pub(super) fn enter(&mut self, folder: &Path, stop: impl Fn(&Part) -> bool) -> PathBuf {
        let mut inner = folder.to_owned();
        loop {
            let (parts, loose) = self.parts(&inner);
            let with_images: Vec<&Part> = parts.iter().filter(|part| part.has_images()).collect();
            match &with_images[..] {
                [only] if loose.is_empty() && only.holds_folders() && !stop(only) => {
                    inner = only.path.clone()
                }
                _ => break,
            }
        }
        if inner != folder {
            let text =
                format!("{} is all that {} holds; its folders are read", inner.display(), folder.display());
            self.notices.push(text);
        }
        inner
    }

    pub(super) fn enter_unless_class(&mut self, folder: &Path, classes: &Classes) -> PathBuf {
        let classes = classes.clone();
        self.enter(folder, move |part| classes.alike(&class_name(&part.path)).is_some())
    }
}

/// The folder of a file, and its name without the ending, in lower case.
pub(super) fn stem(path: &Path) -> Option<(PathBuf, String)> {
    Some((path.parent()?.to_owned(), crate::text_of(path.file_stem()?).to_lowercase()))
}
