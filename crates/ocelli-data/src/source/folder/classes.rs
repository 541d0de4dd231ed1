//! From class folders to labelled items.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::part::Part;
use super::{Reader, images, no_classes, some_names, some_of};
use crate::dataset::ClassLoss;
use crate::names::{class_name, file_name, is_digits, look_of, loose_look};
use crate::source::packed::packed;
use crate::source::table::SideLabels;
use crate::source::{id_of, table};
use crate::{Classes, DataError, Item, Skipped, Target};

/// A class folder.
pub(super) struct ClassFolder {
    pub(super) class: String,
    pub(super) path: PathBuf,
    pub(super) images: Vec<PathBuf>,
}

impl Reader<'_> {
    /// The known class that a folder of nothing but images is called as.
    pub(super) fn own_class(&self, root: &Path, parts: &[Part], loose: &[PathBuf]) -> Option<String> {
        let known = self.known?;
        let real = root.canonicalize().ok()?;
        let alone = !loose.is_empty() && !parts.iter().any(Part::may_be_class);
        known.alike(&class_name(&real)).filter(|_| alone).map(str::to_owned)
    }

    /// The class folders in `folder`, without those that hold nothing that may be an image.
    pub(super) fn class_folders(
        &mut self,
        folder: &Path,
        parts: Vec<Part>,
        loose: Vec<PathBuf>,
    ) -> Result<Vec<ClassFolder>, DataError> {
        let outside = "an image that lies outside of the class folders";
        self.skipped.extend(loose.iter().map(|path| Skipped::image(path, outside)));
        if !loose.is_empty() && parts.iter().any(Part::may_be_class) {
            let (images, folder) = (images(loose.len()), folder.display());
            self.notices.push(format!("{images} in {folder} outside of its class folders: left out"));
        }
        let mut folders = Vec::new();
        for part in parts {
            let class = part.class();
            if !part.may_be_class() {
                let (holds, reason) = match part.usual {
                    0 => ("is empty", "an empty folder"),
                    _ => ("holds no images", "a folder without images"),
                };
                self.notices.push(format!("{} {holds}, and is not taken for a class", part.path.display()));
                self.skipped.push(Skipped::new(&part.path, reason));
                continue;
            }
            // Films among photos are no loss; nothing but films is one.
            let lost: Vec<Skipped> = match part.images.is_empty() {
                true => part.lost.into_iter().chain(part.other).collect(),
                false => part.lost,
            };
            if !lost.is_empty() {
                self.losses.push(ClassLoss {
                    class: class.clone(),
                    folder: part.path.clone(),
                    usable: part.images.len(),
                    lost,
                });
            }
            if !part.images.is_empty() {
                folders.push(ClassFolder { class, path: part.path, images: part.images });
            }
        }
        self.look_alike(&folders)?;
        Ok(folders)
    }

    /// Refuses folders whose names look the same, and notes those that differ in upper and lower case only.
    pub(super) fn look_alike(&mut self, folders: &[ClassFolder]) -> Result<(), DataError> {
        let mut looks: BTreeMap<String, &ClassFolder> = BTreeMap::new();
        let mut letters: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for folder in folders {
            let look = look_of(&folder.class);
            letters.entry(loose_look(&folder.class)).or_default().push(&folder.class);
            let Some(other) = looks.insert(look, folder) else { continue };
            // Quoted so that marks and blanks are seen.
            let name = |folder: &ClassFolder| format!("{:?}", file_name(&folder.path));
            return Err(DataError::Split {
                reason: format!(
                    "{} has two folders whose names look the same: {} ({}) and {} ({})",
                    other.path.parent().unwrap_or(&other.path).display(),
                    name(other),
                    images(other.images.len()),
                    name(folder),
                    images(folder.images.len())
                ),
                advice: "put their images into one of them, or rename one".to_owned(),
            });
        }
        for classes in letters.into_values().filter(|classes| classes.len() > 1) {
            self.notices.push(format!(
                "the classes {} differ in upper and lower case, in spaces and punctuation, or in letters that look the same, only; if they are one, put their images together",
                classes.join(" and ")
            ));
        }
        let classes: Vec<&str> = folders.iter().map(|folder| folder.class.as_str()).collect();
        self.notices.extend(copies(&classes).map(|copies| {
            format!(
                "warning: the classes {} are named as copies or other versions of a folder, or parts of a download, are; if \
                 they are one, put their images together",
                copies.join(", ")
            )
        }));
        Ok(())
    }

    /// At least two classes, or what is wrong with the folder.
    pub(super) fn classes(
        &self,
        folder: &Path,
        folders: &[ClassFolder],
        images_outside: usize,
    ) -> Result<Classes, DataError> {
        let path = folder.to_owned();
        // A class that has lost all images is what is the matter, more than that there are too few.
        let vanished = self.losses.iter().find(|loss| loss.usable == 0 && loss.folder.starts_with(folder));
        let unread = if folders.len() < 2 { table::unread(&self.root) } else { None };
        if let ([] | [_], None, None) = (folders, vanished, self.known) {
            if let Some(boxes) = no_classes::boxes_in(&self.root) {
                return Err(no_classes::of_detection(&self.root, &boxes));
            }
            let images: Vec<&Path> = match folders {
                [only] => only.images.iter().map(PathBuf::as_path).collect(),
                _ => self
                    .listing
                    .images
                    .iter()
                    .map(PathBuf::as_path)
                    .filter(|path| path.parent() == Some(folder))
                    .collect(),
            };
            if let Some(words) = no_classes::first_words(&images).filter(|_| unread.is_none()) {
                return Err(no_classes::in_names(folder, images.len(), words));
            }
        }
        match (folders, vanished, self.known) {
            ([] | [_], Some(loss), None) => Err(loss.error()),
            ([] | [_], None, None) if (images_outside > 0 || !folders.is_empty()) && unread.is_some() => {
                let (tables, advice) = unread.unwrap_or_default();
                let has = match folders {
                    [only] => format!("has the single class \"{}\"", only.class),
                    _ => format!("holds {} but no class folders", images(images_outside)),
                };
                let are = if tables.contains(", ") { "are" } else { "is" };
                let reason = format!("{} {has}, and {tables} in it {are} not read", self.root.display());
                let advice = format!("{advice}; if not, make a folder for each class, at least two");
                Err(DataError::Split { reason, advice })
            }
            ([], None, _) if images_outside > 0 => {
                Err(DataError::NoClassFolders { path, images: images_outside })
            }
            ([], ..) => {
                let below = self.skipped.iter().filter(|skipped| skipped.path.starts_with(folder));
                let packed = below.map(|skipped| &skipped.path).find_map(|path| packed(path));
                Err(packed.unwrap_or_else(|| DataError::NoImages { found: self.summary(folder), path }))
            }
            ([only], None, None) => {
                let inside: BTreeSet<&OsStr> = only
                    .images
                    .iter()
                    .filter_map(|image| image.parent()?.strip_prefix(&only.path).ok()?.iter().next())
                    .collect();
                // `data/cat`, `data/dog` beside a picture.
                Err(match inside.len() > 1 && images_outside > 0 {
                    true => DataError::Split {
                        reason: format!(
                            "{} holds the folder {}, which holds folders of images ({}), and {} beside it",
                            path.display(),
                            only.class,
                            some_names(inside.into_iter().map(crate::text_of)),
                            images(images_outside)
                        ),
                        advice: format!("if these are the classes, give it: {}", only.path.display()),
                    },
                    false => DataError::SingleClass { path, class: only.class.clone() },
                })
            }
            _ => Ok(Classes::new(folders.iter().map(|folder| folder.class.clone()))),
        }
    }

    /// The classes, and those of folders that are none of them: an evaluation reports these.
    pub(super) fn widened(&self, classes: Classes, folders: &[ClassFolder]) -> Classes {
        let more = folders.iter().map(|folder| folder.class.clone());
        Classes::new(classes.names().iter().cloned().chain(more))
    }

    /// Adds the images of a class, and gives their indices.
    pub(super) fn label(
        &mut self,
        classes: &Classes,
        class: &str,
        images: &[PathBuf],
    ) -> std::ops::Range<usize> {
        let target = classes
            .alike(class)
            .and_then(|class| classes.index(class))
            .map_or(Target::Unlabelled, Target::Class);
        self.add(images, |_| target.clone())
    }

    pub(super) fn add(
        &mut self,
        images: &[PathBuf],
        target: impl Fn(&Path) -> Target,
    ) -> std::ops::Range<usize> {
        let start = self.items.len();
        self.items.extend(images.iter().map(|path| Item {
            id: id_of(&self.root, path),
            path: path.clone(),
            target: target(path),
        }));
        start..self.items.len()
    }

    /// The photos of a folder of the split that a table in it, or beside it, labels, where no class folders do.
    fn by_side_labels(&mut self, side: &Path, folder: &Path, classes: &Classes) -> Option<Vec<usize>> {
        let (parts, _) = self.parts(folder);
        if parts.iter().any(|part| part.has_images() && classes.alike(&part.class()).is_some()) {
            return None;
        }
        let below: Vec<PathBuf> =
            self.listing.images.iter().filter(|image| image.starts_with(folder)).cloned().collect();
        let SideLabels { table, classes: of } = table::side_labels(side, &below, classes)?;
        let (named, others): (Vec<PathBuf>, Vec<PathBuf>) =
            below.into_iter().partition(|image| of.contains_key(image));
        let target = |image: &Path| {
            let class = of.get(image).and_then(|class| classes.index(class));
            class.map_or(Target::Unlabelled, Target::Class)
        };
        let mut notice = format!(
            "the labels of {} are those of {}",
            images(named.len()) + " in " + &side.display().to_string(),
            table.display()
        );
        if !others.is_empty() {
            notice += &format!("; it does not name {}, which are left out", images(others.len()));
            self.skipped.extend(others.iter().map(|image| Skipped::new(image, "an image that no row names")));
        }
        self.notices.push(notice);
        Some(self.add(&named, target).collect())
    }

    /// Labelled images of known classes: those of class folders, or as a table says.
    pub(super) fn validation_of(
        &mut self,
        side: &Path,
        folder: &Path,
        train: Option<&Path>,
        classes: &mut Classes,
    ) -> Result<Vec<usize>, DataError> {
        if let Some(labelled) = self.by_side_labels(side, folder, classes) {
            return Ok(labelled);
        }
        let (parts, loose) = self.parts(folder);
        let images_outside = loose.len();
        self.say_inner(folder, &parts);
        let folders = self.class_folders(folder, parts, loose)?;
        if folders.is_empty() && images_outside > 0 {
            return Err(DataError::NoClassFolders { path: folder.to_owned(), images: images_outside });
        }
        if self.known.is_some() {
            *classes = self.widened(classes.clone(), &folders);
        }
        self.validation(folder, folders, train, classes)
    }

    /// Labelled images of known classes.
    fn validation(
        &mut self,
        valid: &Path,
        folders: Vec<ClassFolder>,
        train: Option<&Path>,
        classes: &Classes,
    ) -> Result<Vec<usize>, DataError> {
        let mut indices = Vec::new();
        let mut seen = BTreeSet::new();
        for ClassFolder { class, path, images } in folders {
            let Some(known) = classes.alike(&class) else {
                return Err(DataError::UnknownClass {
                    path,
                    class,
                    train: train.unwrap_or(&self.root).to_owned(),
                    known: some_of(classes.names()),
                });
            };
            if known != class {
                self.notices.push(format!("{} is taken for the class \"{known}\"", path.display()));
            }
            seen.insert(known.to_owned());
            indices.extend(self.label(classes, known, &images));
        }
        if indices.is_empty() {
            return match self.losses.iter().find(|loss| loss.folder.starts_with(valid)) {
                Some(loss) => Err(loss.error()),
                None => Err(DataError::NoImages { path: valid.to_owned(), found: self.summary(valid) }),
            };
        }
        if self.known.is_none() {
            for class in classes.names().iter().filter(|class| !seen.contains(*class)) {
                self.notices.push(format!(
                    "{} has no images of \"{class}\": nothing is measured on it",
                    valid.display()
                ));
            }
        }
        Ok(indices)
    }

    /// Labelled if all images lie in folders of known classes, else unlabelled.
    pub(super) fn test(
        &mut self,
        side: &Path,
        folder: &Path,
        classes: &Classes,
    ) -> Result<Vec<usize>, DataError> {
        if let Some(labelled) = self.by_side_labels(side, folder, classes) {
            return Ok(labelled);
        }
        let (parts, loose) = self.parts(folder);
        let of_class = |part: &Part| classes.alike(&part.class()).is_some();
        let mut strangers: Vec<String> =
            parts.iter().filter(|part| !part.images.is_empty() && !of_class(part)).map(Part::name).collect();
        let has_classes = parts.iter().any(|part| of_class(part) && part.may_be_class());
        if strangers.is_empty() && loose.is_empty() && has_classes {
            self.say_inner(folder, &parts);
            let folders = self.class_folders(folder, parts, loose)?;
            let mut indices = Vec::new();
            for ClassFolder { class, path, images } in folders {
                let known = classes.alike(&class).unwrap_or(&class).to_owned();
                if known != class {
                    self.notices.push(format!("{} is taken for the class \"{known}\"", path.display()));
                }
                indices.extend(self.label(classes, &known, &images));
            }
            return Ok(indices);
        }
        let below: Vec<PathBuf> =
            self.listing.images.iter().filter(|image| image.starts_with(folder)).cloned().collect();
        if has_classes {
            if !loose.is_empty() {
                strangers.push(images(loose.len()));
            }
            self.notices.push(format!(
                "{} is read without labels, since not all of it lies in folders of the classes: it has {}",
                folder.display(),
                some_names(strangers)
            ));
        } else if strangers.len() > 1 {
            self.notices.push(format!(
                "warning: {} is read without labels, since none of its folders is called as a class: it has {}, and the classes \
                 are {}",
                folder.display(),
                some_names(strangers),
                some_of(classes.names())
            ));
        } else {
            self.notices.extend(table::unknown_side_labels(side, &below, classes));
        }
        Ok(self.add(&below, |_| Target::Unlabelled).collect())
    }
}

/// Classes whose names are one but for what file managers and downloads add: `cats`, `cats (1)`, `cats - Copy`,
/// `cats-20240101T120000Z-001`.
fn copies<'a>(classes: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut of_base: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for class in classes {
        of_base.entry(base_of(class, classes).to_lowercase()).or_default().push(class);
    }
    let several: Vec<&str> = of_base.into_values().filter(|names| names.len() > 1).flatten().collect();
    (!several.is_empty()).then_some(several)
}

/// What Google Drive has cut into parts, of a part's name: `photos` of `photos-20240101T101010Z-001`.
pub(super) fn download_of(name: &str) -> Option<&str> {
    let (rest, number) = name.rsplit_once('-')?;
    let (rest, time) = rest.rsplit_once('-')?;
    let (day, time) = time.strip_suffix('Z')?.split_once('T')?;
    ([day, time, number].into_iter().all(is_digits) && day.len() == 8 && time.len() == 6).then_some(rest)
}

/// A name without what is added to copies and parts of downloads.
fn base_of<'a>(name: &'a str, classes: &[&str]) -> &'a str {
    const COPIES: [&str; 8] =
        [" - copy", " copy", " - kopie", " kopie", " - copie", " - copia", " copie", " copia"];
    const OF: [&str; 4] = ["copy of ", "kopie von ", "copie de ", "copia di "];
    const VERSIONS: [&str; 28] = [
        "copy",
        "kopie",
        "copie",
        "copia",
        "aug",
        "augmented",
        "augmentation",
        "flip",
        "flipped",
        "mirrored",
        "rotated",
        "resized",
        "scaled",
        "cropped",
        "crop",
        "crops",
        "old",
        "new",
        "backup",
        "original",
        "originals",
        "orig",
        "test",
        "train",
        "valid",
        "val",
        "validation",
        "small",
    ];
    let mut base = name.trim();
    loop {
        let before = base;
        if let Some((rest, number)) = base.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("))
            && is_digits(number)
        {
            base = rest;
        }
        let ends = |ending: &&&str| {
            let cut = base.len().checked_sub(ending.len()).filter(|cut| base.is_char_boundary(*cut));
            cut.is_some_and(|cut| base[cut..].eq_ignore_ascii_case(ending))
        };
        if let Some(ending) = COPIES.iter().find(ends) {
            base = &base[..base.len() - ending.len()];
        }
        let begins =
            |start: &&&str| base.get(..start.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(start));
        if let Some(start) = OF.iter().find(begins) {
            base = &base[start.len()..];
        }
        base = download_of(base).unwrap_or(base);
        if let Some((rest, number)) = base.rsplit_once(' ')
            && is_digits(number)
            && classes.contains(&rest)
        {
            base = rest;
        }
        // Another version of a class that is there, too: `cats_augmented`, `cats (copy)`, `aug_cats`.
        let is_version =
            |word: &str| VERSIONS.contains(&word.trim_matches(['(', ')']).to_lowercase().as_str());
        let marks = [' ', '_', '-'];
        let last = base.rsplit_once(marks).map(|(rest, word)| (word, rest));
        let mut ends = [last, base.split_once(marks)].into_iter().flatten();
        if let Some((_, rest)) = ends.find(|(word, rest)| is_version(word) && classes.contains(rest)) {
            base = rest;
        }
        if base == before {
            return base;
        }
    }
}
