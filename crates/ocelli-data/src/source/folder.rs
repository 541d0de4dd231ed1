//! A folder of class folders, or folders to train on, to measure on and to test on that hold such folders.
//!
//! ```text
//! photos/train/cats/1.jpg            photos/cats/1.jpg
//! photos/train/dogs/2.jpg            photos/cats/kittens/3.jpg
//! photos/valid/cats/3.jpg     or     photos/dogs/2.jpg
//! photos/valid/dogs/4.jpg
//! photos/test/5.jpg
//! ```
//!
//! The name of a class folder is the class of all images below it, at any depth. The folders of a split may be called
//! what people call them, in upper or lower case: `Training`, `training_set`, `val`, `validation`, `Testing`, `test1`,
//! and, side by side, `seg_train` and `seg_test`. Without one for validation nothing says what is held out of the one to
//! train on. The one to test on is optional: if it consists of class folders its items are labelled, otherwise they are
//! not. Folders beside these are left out.
//!
//! A folder that holds nothing but one other folder of folders, as unpacked archives do, is entered.
//!
//! Where folders may be classes or parts of a split, and names do not decide, nothing is guessed: [`read`] is an error, and
//! [`look`] gives the same as a problem beside what it would be if all folders were classes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::role::{self, Role};
use super::{existing_folder, id_of, listing};
use crate::dataset::ClassLoss;
use crate::names::{class_name, file_name, look_of};
use crate::words::count;
use crate::{Classes, DataError, Dataset, Item, Items, Skipped, Split, Target, Task};

/// Reads the names below `root`; no image is decoded.
///
/// Without a folder to train on the data set has no split of its own: see [`split`](mod@crate::split). With one and
/// without one for validation no item of the split is for validation. What classes lose is in
/// [`losses`](Dataset::losses): whether it is too much is the caller's to decide.
pub fn read(root: impl AsRef<Path>) -> Result<Dataset, DataError> {
    let (data, problem) = look(root)?;
    match problem {
        None => Ok(data),
        Some(problem) => Err(problem),
    }
}

/// As [`read`], for whoever does not train on it: where it is not clear whether folders are classes, all of them are taken
/// for classes, and the second value is the error that [`read`] gives.
pub fn look(root: impl AsRef<Path>) -> Result<(Dataset, Option<DataError>), DataError> {
    let mut reader = Reader::new(root.as_ref(), None)?;
    let data = reader.read()?;
    Ok((data, reader.problem))
}

/// As [`read`], of images to measure a model of these classes on: one class is enough, and so is a part of a split. The
/// images of a folder that is called as a class itself are of that class.
pub fn read_known(root: impl AsRef<Path>, known: &Classes) -> Result<Dataset, DataError> {
    let mut reader = Reader::new(root.as_ref(), Some(known))?;
    let data = reader.read()?;
    match reader.problem {
        None => Ok(data),
        Some(problem) => Err(problem),
    }
}

/// A folder in a folder, with all that is below it.
#[derive(Default)]
struct Part {
    path: PathBuf,
    images: Vec<PathBuf>,
    /// Whether images, or what is meant as one, lie in it directly.
    direct: bool,
    /// Folders in it that hold images.
    subfolders: BTreeSet<OsString>,
    /// Files that are meant as images, and of which no other form is there.
    lost: Vec<Skipped>,
    /// Other files that may be something: films, unknown kinds.
    other: Vec<Skipped>,
    /// Texts, tables, hidden files.
    usual: usize,
}

impl Part {
    fn name(&self) -> String {
        file_name(&self.path)
    }

    fn has_images(&self) -> bool {
        !self.images.is_empty() || !self.lost.is_empty()
    }

    /// Whether it can be a class: whose photos may all be lost.
    fn may_be_class(&self) -> bool {
        self.has_images() || !self.other.is_empty()
    }

    /// Whether it holds nothing but folders of images.
    fn holds_folders(&self) -> bool {
        !self.direct && !self.subfolders.is_empty()
    }
}

/// A class folder.
struct ClassFolder {
    class: String,
    path: PathBuf,
    images: Vec<PathBuf>,
}

/// What has been found so far.
struct Reader<'a> {
    root: PathBuf,
    listing: listing::Listing,
    /// Stems of images with their folders, in lower case.
    stems: HashSet<(PathBuf, String)>,
    known: Option<&'a Classes>,
    items: Vec<Item>,
    skipped: Vec<Skipped>,
    notices: Vec<String>,
    losses: Vec<ClassLoss>,
    problem: Option<DataError>,
}

/// The folders of a split, as far as there are any.
struct SplitFolders {
    train: Option<Part>,
    valid: Option<Part>,
    test: Option<Part>,
}

impl<'a> Reader<'a> {
    fn new(root: &Path, known: Option<&'a Classes>) -> Result<Self, DataError> {
        let root = existing_folder(root)?;
        std::fs::read_dir(&root).map_err(DataError::io("list", &root))?;
        let mut listing = listing::images_below(&root);
        let skipped = std::mem::take(&mut listing.skipped);
        let notices = listing::known_leftovers(&skipped).into_iter().collect();
        let stems = listing.images.iter().filter_map(|image| stem(image)).collect();
        Ok(Reader {
            root,
            listing,
            stems,
            known,
            items: Vec::new(),
            skipped,
            notices,
            losses: Vec::new(),
            problem: None,
        })
    }

    fn read(&mut self) -> Result<Dataset, DataError> {
        let known = self.known;
        let is_class = move |name: &str| known.is_some_and(|known| class_among(known, name).is_some());
        let asked = self.root.clone();
        self.root =
            self.enter(&asked, |part| role::said_by(&part.name()).is_some() || is_class(&part.name()));
        let root = self.root.clone();
        let (parts, loose) = self.parts(&root);
        let names: Vec<String> = parts.iter().map(Part::name).collect();
        let mut roles = role::roles(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for (role, name) in roles.iter_mut().zip(&names) {
            *role = role.filter(|_| !is_class(name));
        }
        match self.split_folders(&parts, &roles)? {
            Some(folders) => self.split(folders, parts, loose),
            None => self.one_folder(&root, parts, loose),
        }
    }

    /// Which folders are those of a split; `None` where all are classes.
    fn split_folders(
        &mut self,
        parts: &[Part],
        roles: &[Option<Role>],
    ) -> Result<Option<SplitFolders>, DataError> {
        let of = |wanted: Role| {
            let all = parts.iter().zip(roles).filter(move |(_, role)| **role == Some(wanted));
            let all: Vec<&Part> = all.map(|(part, _)| part).collect();
            // An empty one does not count beside another.
            match all.iter().filter(|part| part.may_be_class()).count() {
                0 => all,
                _ => all.into_iter().filter(|part| part.may_be_class()).collect(),
            }
        };
        let [train, valid, test] = [Role::Train, Role::Valid, Role::Test].map(of);
        let others: Vec<&Part> = parts
            .iter()
            .zip(roles)
            .filter(|(part, role)| role.is_none() && part.may_be_class())
            .map(|(part, _)| part)
            .collect();
        let twice = [(Role::Train, &train), (Role::Valid, &valid), (Role::Test, &test)];
        if let Some((role, [first, second, ..])) = twice
            .iter()
            .map(|(role, parts)| (*role, &parts[..]))
            .find(|(_, parts)| parts.len() > 1 && (!train.is_empty() || others.is_empty()))
        {
            if let Some(problem) = self.class_and_part_in_one(parts) {
                return Err(problem);
            }
            return Err(DataError::Split {
                reason: format!(
                    "{} and {} both hold {} images",
                    first.path.display(),
                    second.path.display(),
                    role.purpose()
                ),
                advice: "keep one of them, or put their images together".to_owned(),
            });
        }
        let measured = valid.first().or(test.first());
        let folders = || {
            let part = |parts: &[&Part]| {
                parts.first().map(|part| Part { path: part.path.clone(), ..Part::default() })
            };
            SplitFolders { train: part(&train), valid: part(&valid), test: part(&test) }
        };
        match (train.first(), measured) {
            (None, None) => {
                if self.known.is_none() {
                    self.same_subfolders(parts);
                }
                Ok(None)
            }
            (Some(_), Some(_)) => Ok(Some(folders())),
            (Some(_), None) if others.is_empty() => Ok(Some(folders())),
            (Some(train), None) if self.known.is_some() => Ok(train.holds_folders().then(folders)),
            // A train may be what is on the photos.
            (Some(train), None) if train.subfolders.len() < 2 || train.direct => Ok(None),
            (Some(train), None) => {
                let (name, inside) = (train.name(), train.subfolders.iter().map(crate::text_of));
                self.doubt(DataError::Split {
                    reason: format!(
                        "{} has the folder {name}, which holds folders of images itself ({}), and beside it {}: it is \
                         not clear whether {name} is a class, or what is to be trained on",
                        self.root.display(),
                        some_names(inside),
                        some_names(others.iter().map(|part| part.name())),
                    ),
                    advice: format!(
                        "give {} alone or move the others out, or, if it is a class, rename it",
                        train.path.display()
                    ),
                });
                Ok(None)
            }
            (None, Some(_)) if self.known.is_some() => Ok(Some(folders())),
            (None, Some(measured)) if others.is_empty() => Err(DataError::HalfASplit {
                present: measured.name(),
                missing: Role::Train.name().to_owned(),
                path: self.root.clone(),
            }),
            (None, Some(measured)) => {
                let role = if valid.is_empty() { Role::Test } else { Role::Valid };
                self.doubt(DataError::Split {
                    reason: format!(
                        "{} has the folder {}, which is called as {} images are, but none to train on: beside it there \
                         is {}",
                        self.root.display(),
                        measured.name(),
                        role.purpose(),
                        some_names(others.iter().map(|part| part.name())),
                    ),
                    advice: format!(
                        "put the class folders to train on into {}, or, if {} is a class, rename it",
                        self.root.join(Role::Train.name()).display(),
                        measured.name()
                    ),
                });
                Ok(None)
            }
        }
    }

    /// That folders are called by their class and their part of the split at once: `ants_train`, `bees_train`, `ants_test`.
    fn class_and_part_in_one(&self, parts: &[Part]) -> Option<DataError> {
        let said: Vec<(String, Role, String)> = parts
            .iter()
            .filter_map(|part| role::said_by(&part.name()).map(|said| (part.name(), said.role, said.rest)))
            .collect();
        let classes: BTreeSet<&str> = said.iter().map(|(.., rest)| rest.as_str()).collect();
        if classes.len() < 2 || classes.contains("") {
            return None;
        }
        let folder = |(_, role, rest): &(String, Role, String)| {
            format!("{}/", self.root.join(role.name()).join(rest).display())
        };
        Some(DataError::Split {
            reason: format!(
                "the folders in {} are called by class and part of the split at once: {}",
                self.root.display(),
                some_names(said.iter().map(|(name, ..)| name.clone()))
            ),
            advice: format!(
                "move each into a folder for its part, as a folder of its class: {}",
                some_names(said.iter().map(folder))
            ),
        })
    }

    /// Says which classes are made of several folders, whose own names count for nothing.
    fn say_merged(&mut self, folder: &Path, parts: &[Part]) {
        let merged: Vec<String> = parts
            .iter()
            .filter(|part| part.has_images() && part.subfolders.len() > 1)
            .map(|part| {
                format!("{} ({})", part.name(), some_names(part.subfolders.iter().map(crate::text_of)))
            })
            .collect();
        if merged.is_empty() || self.known.is_some() {
            return;
        }
        self.notices.push(format!(
            "the classes are the folders directly in {}, and what lies in their folders is of their class: {}. Where the \
             inner folders are the classes, move them up, or give a table of labels",
            folder.display(),
            some_names(merged)
        ));
    }

    /// Whether folders hold the same folders, as parts of a split do, or years, and classes seldom.
    fn same_subfolders(&mut self, parts: &[Part]) {
        let classes: Vec<&Part> = parts.iter().filter(|part| part.has_images()).collect();
        let [first, _, ..] = classes[..] else { return };
        let mut common = first.subfolders.clone();
        for part in &classes {
            common.retain(|name| part.subfolders.contains(name));
        }
        let alike = classes.iter().all(|part| !part.direct && 2 * common.len() >= part.subfolders.len());
        if common.len() < 2 || !alike {
            return;
        }
        let inside: Vec<String> = common.iter().map(crate::text_of).collect();
        let roles = role::roles(&inside.iter().map(String::as_str).collect::<Vec<_>>());
        let outside = some_names(classes.iter().map(|part| part.name()));
        let inside_named = some_names(inside.iter().cloned());
        let root = self.root.display();
        let (reason, advice) = match roles.iter().all(Option::is_some) {
            true => (
                format!("the folders in {root} ({outside}) are each divided into {inside_named}"),
                format!(
                    "turn it around: {}, with a folder for each class in them",
                    roles
                        .iter()
                        .flatten()
                        .map(|role| format!("{}/", self.root.join(role.name()).display()))
                        .collect::<BTreeSet<_>>()
                        .into_iter()
                        .collect::<Vec<_>>()
                        .join(" and ")
                ),
            ),
            false => (
                format!(
                    "the folders in {root} ({outside}) all hold the same folders ({inside_named}): it is not clear which \
                     of both are the classes"
                ),
                format!(
                    "if {inside_named} are, call the others train and valid, or put their images together in one folder \
                     a class; if {outside} are, put their images into them directly, or give a table of labels"
                ),
            ),
        };
        self.doubt(DataError::Split { reason, advice });
    }

    fn doubt(&mut self, problem: DataError) {
        self.problem.get_or_insert(problem);
    }

    /// `root/CLASS/…`
    fn one_folder(
        &mut self,
        root: &Path,
        parts: Vec<Part>,
        loose: Vec<PathBuf>,
    ) -> Result<Dataset, DataError> {
        if let Some(class) = self.own_class(root, &parts, &loose) {
            self.notices
                .push(format!("the images in {} are taken for the class \"{class}\"", root.display()));
            let classes = Classes::new([class]);
            self.add(&loose, |_| Target::Class(0));
            return Ok(self.dataset(classes, None));
        }
        let images_outside = loose.len();
        self.say_merged(root, &parts);
        let folders = self.class_folders(root, parts, loose)?;
        let classes = self.classes(root, &folders, images_outside)?;
        for ClassFolder { class, images, .. } in &folders {
            self.label(&classes, class, images);
        }
        Ok(self.dataset(classes, None))
    }

    /// The known class that a folder of nothing but images is called as.
    fn own_class(&self, root: &Path, parts: &[Part], loose: &[PathBuf]) -> Option<String> {
        let known = self.known?;
        let real = root.canonicalize().ok()?;
        let alone = !loose.is_empty() && !parts.iter().any(Part::may_be_class);
        class_among(known, &class_name(&real)).filter(|_| alone).map(str::to_owned)
    }

    /// `root/train/CLASS/…`, `root/valid/CLASS/…`, `root/test/…`
    fn split(
        &mut self,
        folders: SplitFolders,
        parts: Vec<Part>,
        loose: Vec<PathBuf>,
    ) -> Result<Dataset, DataError> {
        let SplitFolders { train, valid, test } = folders;
        let inside = [&train, &valid, &test].map(|part| part.as_ref().map(|part| part.path.clone()));
        self.skipped
            .extend(loose.iter().map(|path| Skipped::image(path, "lies beside the folders of the split")));
        let beside: Vec<Part> =
            parts.into_iter().filter(|part| !inside.contains(&Some(part.path.clone()))).collect();
        let with_images = beside.iter().filter(|part| !part.images.is_empty());
        let named: Vec<String> = with_images
            .map(|part| format!("{} ({})", part.path.display(), images(part.images.len())))
            .collect();
        if !named.is_empty() {
            let split = inside.iter().flatten().map(|path| file_name(path)).collect::<Vec<_>>().join(", ");
            self.notices.push(format!(
                "beside the folders of the split ({split}), and left out: {}",
                named.join(", ")
            ));
        }
        for part in beside {
            self.skipped.retain(|skipped| !skipped.path.starts_with(&part.path));
            self.skipped.push(Skipped::new(&part.path, "lies beside the folders of the split"));
        }

        let mut split = Split::default();
        let known = self.known.cloned();
        let mut classes = known.unwrap_or_default();
        if let Some(train) = &train {
            let folder = self.enter(&train.path, |_| false);
            let (parts, loose) = self.parts(&folder);
            let images_outside = loose.len();
            self.say_merged(&folder, &parts);
            let trained = self.class_folders(&folder, parts, loose)?;
            if self.known.is_none() {
                classes = self.classes(&folder, &trained, images_outside)?;
            } else {
                classes = self.widened(classes, &trained);
            }
            for ClassFolder { class, images, .. } in &trained {
                split.train.extend(self.label(&classes, class, images));
            }
        }
        let train = train.map(|train| train.path);
        if let Some(valid) = &valid {
            let folder = self.enter_unless_class(&valid.path, &classes);
            let (parts, loose) = self.parts(&folder);
            let folders = self.class_folders(&folder, parts, loose)?;
            if self.known.is_some() {
                classes = self.widened(classes, &folders);
            }
            split.valid = self.validation(&folder, folders, train.as_deref(), &classes)?;
        }
        if let Some(test) = &test {
            let folder = self.enter_unless_class(&test.path, &classes);
            split.test = self.test(&folder, &classes)?;
            if self.known.is_none() && !split.test.is_empty() {
                self.notices.push(format!(
                    "{} in {} are for a test: nothing is trained on them, and nothing measured",
                    images(split.test.len()),
                    folder.display()
                ));
            }
        }
        Ok(self.dataset(classes, Some(split)))
    }

    /// The classes, and those of folders that are none of them: whoever measures is told of these.
    fn widened(&self, classes: Classes, folders: &[ClassFolder]) -> Classes {
        let more = folders.iter().map(|folder| folder.class.clone());
        Classes::new(classes.names().iter().cloned().chain(more))
    }

    /// The folder itself, or the one that is all that it holds, and so on; `stop` says what is not entered.
    fn enter(&mut self, folder: &Path, stop: impl Fn(&Part) -> bool) -> PathBuf {
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

    fn enter_unless_class(&mut self, folder: &Path, classes: &Classes) -> PathBuf {
        let classes = classes.clone();
        self.enter(folder, move |part| class_among(&classes, &class_name(&part.path)).is_some())
    }

    /// The folders in a folder, and the images in it directly.
    fn parts(&self, folder: &Path) -> (Vec<Part>, Vec<PathBuf>) {
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

    /// The class folders in `folder`, without those that hold nothing that may be an image.
    fn class_folders(
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
            let class = class_name(&part.path);
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
                    kept: part.images.len(),
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
    fn look_alike(&mut self, folders: &[ClassFolder]) -> Result<(), DataError> {
        let mut looks: BTreeMap<String, &ClassFolder> = BTreeMap::new();
        let mut letters: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for folder in folders {
            let look = look_of(&folder.class);
            letters.entry(look.to_lowercase()).or_default().push(&folder.class);
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
                "the classes {} differ in upper and lower case only; if they are one, put their images together",
                classes.join(" and ")
            ));
        }
        Ok(())
    }

    /// At least two classes, or what is wrong with the folder.
    fn classes(
        &self,
        folder: &Path,
        folders: &[ClassFolder],
        images_outside: usize,
    ) -> Result<Classes, DataError> {
        let path = folder.to_owned();
        // A class that has lost all images is what is the matter, more than that there are too few.
        let vanished = self.losses.iter().find(|loss| loss.kept == 0 && loss.folder.starts_with(folder));
        match (folders, vanished, self.known) {
            ([] | [_], Some(loss), None) => Err(loss.error()),
            ([], None, _) if images_outside > 0 => {
                Err(DataError::NoClassFolders { path, images: images_outside })
            }
            ([], ..) => Err(DataError::NoImages { found: self.summary(folder), path }),
            ([only], None, None) => Err(DataError::SingleClass { path, class: only.class.clone() }),
            _ => Ok(Classes::new(folders.iter().map(|folder| folder.class.clone()))),
        }
    }

    /// Adds the images of a class, and gives their indices.
    fn label(&mut self, classes: &Classes, class: &str, images: &[PathBuf]) -> std::ops::Range<usize> {
        let target = class_among(classes, class)
            .and_then(|class| classes.index(class))
            .map_or(Target::Unlabelled, Target::Class);
        self.add(images, |_| target.clone())
    }

    fn add(&mut self, images: &[PathBuf], target: impl Fn(&Path) -> Target) -> std::ops::Range<usize> {
        let start = self.items.len();
        self.items.extend(images.iter().map(|path| Item {
            id: id_of(&self.root, path),
            path: path.clone(),
            target: target(path),
        }));
        start..self.items.len()
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
            let Some(known) = class_among(classes, &class) else {
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
    fn test(&mut self, folder: &Path, classes: &Classes) -> Result<Vec<usize>, DataError> {
        let (parts, loose) = self.parts(folder);
        let of_class = |part: &Part| class_among(classes, &class_name(&part.path)).is_some();
        let mut strangers: Vec<String> =
            parts.iter().filter(|part| !part.images.is_empty() && !of_class(part)).map(Part::name).collect();
        let has_classes = parts.iter().any(|part| of_class(part) && part.may_be_class());
        if strangers.is_empty() && loose.is_empty() && has_classes {
            let folders = self.class_folders(folder, parts, loose)?;
            let mut indices = Vec::new();
            for ClassFolder { class, path, images } in folders {
                let known = class_among(classes, &class).unwrap_or(&class).to_owned();
                if known != class {
                    self.notices.push(format!("{} is taken for the class \"{known}\"", path.display()));
                }
                indices.extend(self.label(classes, &known, &images));
            }
            return Ok(indices);
        }
        if has_classes {
            if !loose.is_empty() {
                strangers.push(images(loose.len()));
            }
            self.notices.push(format!(
                "{} is read without labels, since not all of it lies in folders of the classes: it has {}",
                folder.display(),
                some_names(strangers)
            ));
        }
        let below: Vec<PathBuf> =
            self.listing.images.iter().filter(|image| image.starts_with(folder)).cloned().collect();
        Ok(self.add(&below, |_| Target::Unlabelled).collect())
    }

    /// What a folder without images holds, for people.
    fn summary(&self, folder: &Path) -> String {
        match self.skipped.iter().filter(|skipped| skipped.path.starts_with(folder)).count() {
            0 => "it is empty".to_owned(),
            _ => format!("it has {}", reasons(&self.skipped, folder)),
        }
    }

    /// Sorts everything by id.
    fn dataset(&mut self, classes: Classes, split: Option<Split>) -> Dataset {
        let (mut items, mut skipped) = (std::mem::take(&mut self.items), std::mem::take(&mut self.skipped));
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by(|&a, &b| items[a].id.cmp(&items[b].id));
        let mut place = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old] = new;
        }
        let moved = |indices: Vec<usize>| {
            let mut moved: Vec<usize> = indices.into_iter().map(|index| place[index]).collect();
            moved.sort_unstable();
            moved
        };
        let split = split.map(|split| Split {
            train: moved(split.train),
            valid: moved(split.valid),
            test: moved(split.test),
        });
        items.sort_by(|a, b| a.id.cmp(&b.id));
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let items = Items { root: self.root.clone(), task: Task::SingleLabel, classes, items };
        let (notices, losses) = (std::mem::take(&mut self.notices), std::mem::take(&mut self.losses));
        Dataset { items, split, skipped, notices, losses }
    }
}

/// The folder of a file, and its name without the ending, in lower case.
fn stem(path: &Path) -> Option<(PathBuf, String)> {
    Some((path.parent()?.to_owned(), crate::text_of(path.file_stem()?).to_lowercase()))
}

/// The class of this name among these; where there is none, the only one that looks the same, or differs from it in upper
/// and lower case only.
fn class_among<'a>(classes: &'a Classes, name: &str) -> Option<&'a str> {
    if let Some(index) = classes.index(name) {
        return classes.name(index);
    }
    let looks: [fn(&str) -> String; 2] = [look_of, |name| look_of(name).to_lowercase()];
    for look in looks {
        let wanted = look(name);
        let mut alike = classes.names().iter().filter(|class| look(class) == wanted);
        match (alike.next(), alike.next()) {
            (Some(class), None) => return Some(class),
            (Some(_), Some(_)) => return None,
            _ => {}
        }
    }
    None
}

/// The first few skipped paths below a folder with their reasons.
fn reasons(skipped: &[Skipped], folder: &Path) -> String {
    let below: Vec<&Skipped> = skipped.iter().filter(|skipped| skipped.path.starts_with(folder)).collect();
    let named = below.iter().take(3).map(|skipped| {
        let path = skipped.path.strip_prefix(folder).unwrap_or(&skipped.path);
        match path.as_os_str().is_empty() {
            true => skipped.reason.clone(),
            false => format!("{}: {}", path.display(), skipped.reason),
        }
    });
    let mut text = named.collect::<Vec<_>>().join("; ");
    if below.len() > 3 {
        text.push_str(&format!("; and {} more", below.len() - 3));
    }
    text
}

/// The first names of a list, and how many more there are.
fn some_of(names: &[String]) -> String {
    some_names(names.iter().cloned())
}

fn some_names(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    let mut text = names.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 8 {
        text.push_str(&format!(" and {} more", count(names.len() - 8)));
    }
    text
}

/// `1 image`, `3 images`
fn images(number: usize) -> String {
    format!("{} image{}", count(number), if number == 1 { "" } else { "s" })
}
