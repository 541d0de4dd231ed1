//! A folder in a folder, with all that is below it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Reader;
use crate::names::{class_name, composed, file_name};
use crate::source::role;
use crate::{Classes, Skipped};

/// The images of a folder that are compared with those of the same names in another.
const COMPARED: usize = 16;

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
    /// The class, if it is not the folder's name alone: see [`by_first_letters`].
    pub(super) of_index: Option<String>,
}

impl Part {
    pub(super) fn name(&self) -> String {
        self.of_index.clone().unwrap_or_else(|| file_name(&self.path))
    }

    /// The class of its images, if it is a class folder.
    pub(super) fn class(&self) -> String {
        self.of_index.clone().unwrap_or_else(|| class_name(&self.path))
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
        (by_first_letters(parts.into_values().collect()), loose)
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

    /// Leaves out a folder that holds the folders beside it once more, as some archives do: `photos/cats`,
    /// `photos/photos/cats`.
    pub(super) fn leave_out_copies(&mut self, folder: &Path) {
        let (parts, _) = self.parts(folder);
        let beside: BTreeSet<String> = parts.iter().map(|part| file_name(&part.path)).collect();
        // One that is called as a part of a split holds other images under the same names.
        let may_be_copy = |part: &&Part| {
            part.holds_folders()
                && role::named_role(&part.name()).is_none()
                && part.subfolders.iter().all(|inner| beside.contains(&*inner.to_string_lossy()))
        };
        let listed: BTreeSet<&Path> = self.listing.images.iter().map(PathBuf::as_path).collect();
        let bytes = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.len());
        let twin = |image: &PathBuf, part: &Part| {
            let twin = folder.join(image.strip_prefix(&part.path).ok()?);
            (listed.contains(twin.as_path()) && bytes(&twin) == bytes(image)).then_some(twin)
        };
        // A few are compared whole.
        let are_same = |image: &PathBuf, part: &Part| {
            let twin = twin(image, part).and_then(|twin| std::fs::read(twin).ok());
            twin.is_some() && twin == std::fs::read(image).ok()
        };
        let is_copy = |part: &&Part| {
            part.images.iter().all(|image| twin(image, part).is_some())
                && part.images.iter().take(COMPARED).all(|image| are_same(image, part))
        };
        let copies: Vec<PathBuf> =
            parts.iter().filter(may_be_copy).filter(is_copy).map(|part| part.path.clone()).collect();
        for copy in copies {
            let of_copy = |path: &Path| path.starts_with(&copy);
            let before = self.listing.images.len();
            self.listing.images.retain(|image| !of_copy(image));
            let images = super::images(before - self.listing.images.len());
            self.listing.folders.retain(|folder| !of_copy(folder));
            self.skipped.retain(|skipped| !of_copy(&skipped.path));
            self.skipped.push(Skipped::new(&copy, "a copy of the folders beside it"));
            let notice = format!(
                "{} holds the folders beside it once more ({images}), and is left out",
                copy.display()
            );
            self.notices.push(notice);
        }
    }

    pub(super) fn enter_unless_class(&mut self, folder: &Path, classes: &Classes) -> PathBuf {
        let classes = classes.clone();
        self.enter(folder, move |part| classes.alike(&part.class()).is_some())
    }
}

/// Folders that are put in order by their first letters, as in SUN397 and Places365: `a/abbey`, `b/bakery/shop`.
/// The folders in those of the letters are the classes, or, where these hold nothing but folders, the folders in
/// them, whose class is called as both. Folders that are nothing of the kind are returned as they are.
fn by_first_letters(parts: Vec<Part>) -> Vec<Part> {
    let letter = |name: &str| {
        let mut letters = name.chars();
        let first = letters.next().filter(|first| first.is_alphabetic())?;
        Some((first.to_lowercase().to_string(), letters.next()))
    };
    let begins = |part: &Part| {
        let name = part.name();
        let Some((own, None)) = letter(&name) else { return false };
        let begins =
            |inner: &OsString| letter(&inner.to_string_lossy()).is_some_and(|(first, _)| first == own);
        part.holds_folders() && part.subfolders.iter().all(begins)
    };
    let (mut with_images, mut inner) = (0, 0);
    for part in parts.iter().filter(|part| part.may_be_class()) {
        if !begins(part) {
            return parts;
        }
        (with_images, inner) = (with_images + 1, inner + part.subfolders.len());
    }
    // Of few folders, the names of all may begin so by chance.
    if with_images < 2 || inner < 4 {
        return parts;
    }
    parts.into_iter().flat_map(Part::inner_folders).collect()
}

impl Part {
    /// The class folders in a folder of a letter.
    fn inner_folders(self) -> Vec<Part> {
        let Self { path: letter, images, lost, other, .. } = self;
        let folder = |file: &Path| -> Option<PathBuf> {
            let folder = file.parent()?.strip_prefix(&letter).ok()?;
            (!folder.as_os_str().is_empty()).then(|| folder.to_owned())
        };
        let files = || images.iter().chain(lost.iter().map(|skipped| &skipped.path));
        // Those that hold images directly.
        let direct: BTreeSet<PathBuf> =
            files().filter_map(|file| folder(file)).filter(|folder| folder.iter().count() == 1).collect();
        let class = |file: &Path| {
            let folder = folder(file)?;
            let first = PathBuf::from(folder.iter().next()?);
            Some(match folder.iter().nth(1) {
                Some(second) if !direct.contains(&first) => first.join(second),
                _ => first,
            })
        };
        let mut parts: BTreeMap<PathBuf, Part> = BTreeMap::new();
        let new = |class: &Path| Part {
            path: letter.join(class),
            of_index: Some(composed(crate::text_of(class).trim())),
            ..Part::default()
        };
        for image in &images {
            if let Some(class) = class(image) {
                let part = parts.entry(class).or_insert_with_key(|class| new(class));
                part.add(image);
                part.images.push(image.clone());
            }
        }
        for skipped in &lost {
            if let Some(class) = class(&skipped.path) {
                let part = parts.entry(class).or_insert_with_key(|class| new(class));
                part.add(&skipped.path);
                part.lost.push(skipped.clone());
            }
        }
        for skipped in &other {
            if let Some(class) = class(&skipped.path) {
                parts.entry(class).or_insert_with_key(|class| new(class)).other.push(skipped.clone());
            }
        }
        parts.into_values().collect()
    }

    /// Notes where an image lies.
    fn add(&mut self, image: &Path) {
        let inside = image.parent().and_then(|folder| folder.strip_prefix(&self.path).ok());
        match inside.and_then(|inside| inside.iter().next()) {
            Some(folder) => {
                self.subfolders.insert(folder.to_owned());
            }
            None => self.direct = true,
        }
    }
}

/// The folder of a file, and its name without the ending, in lower case.
pub(super) fn stem(path: &Path) -> Option<(PathBuf, String)> {
    Some((path.parent()?.to_owned(), crate::text_of(path.file_stem()?).to_lowercase()))
}
