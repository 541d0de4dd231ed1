//! A folder of class folders, or `train/` and `valid/` folders of them.
//!
//! ```text
//! photos/train/cats/1.jpg            photos/cats/1.jpg
//! photos/train/dogs/2.jpg            photos/cats/kittens/3.jpg
//! photos/valid/cats/3.jpg     or     photos/dogs/2.jpg
//! photos/valid/dogs/4.jpg
//! photos/test/5.jpg
//! ```
//!
//! The name of a class folder is the class of all images below it, at any depth. `valid/` may also be called
//! `val/` or `validation/`; without it nothing says what is held out of `train/`. `test/` is optional: if it consists
//! of class folders its items are labelled, otherwise they are not. Folders beside these three are left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{existing_folder, id_of, listing};
use crate::{Classes, DataError, Dataset, Item, Items, Skipped, Split, Target, Task};

const TRAIN: &str = "train";
const VALID: [&str; 3] = ["valid", "val", "validation"];
const TEST: &str = "test";

/// Reads the names below `root`; no image is decoded.
///
/// Without `train/` the data set has no split of its own: see [`split`](mod@crate::split). With `train/` and without
/// `valid/` no item of the split is for validation.
pub fn read(root: impl AsRef<Path>) -> Result<Dataset, DataError> {
    let root = existing_folder(root.as_ref())?;
    let entries = listing::entries(&root)?;
    let named = |names: &[&str]| {
        entries
            .folders
            .iter()
            .filter(|folder| names.contains(&file_name(folder).as_str()))
            .collect::<Vec<_>>()
    };
    let (train, valid) = (named(&[TRAIN]), named(&VALID));
    let others = entries.folders.len() - train.len() - valid.len() - named(&[TEST]).len();
    match (&train[..], &valid[..]) {
        ([train], [valid]) => split_folders(&root, train, Some(valid), &entries),
        ([_], [first, second, ..]) => Err(DataError::Split {
            reason: format!("{} and {} both hold validation images", first.display(), second.display()),
            advice: "keep one of them".to_owned(),
        }),
        ([train], []) if others == 0 => split_folders(&root, train, None, &entries),
        ([], [valid, ..]) if others == 0 => {
            Err(DataError::HalfASplit { present: file_name(valid), missing: TRAIN.to_owned(), path: root })
        }
        _ => one_folder(&root, &entries),
    }
}

/// `root/CLASS/…`
fn one_folder(root: &Path, entries: &listing::Entries) -> Result<Dataset, DataError> {
    let mut found = Found::new(root);
    let by_class = found.class_folders(root, entries, "lies outside of the class folders")?;
    let classes = found.classes(root, &by_class, entries)?;
    for (class, images) in &by_class {
        found.label(&classes, class, images);
    }
    if by_class.contains_key(TEST) {
        found.notices.push(format!(
            "{} is read as a class; if it is a test set, put the class folders into {}",
            root.join(TEST).display(),
            root.join(TRAIN).display()
        ));
    }
    Ok(found.dataset(classes, None))
}

/// `root/train/CLASS/…`, `root/valid/CLASS/…`, `root/test/…`
fn split_folders(
    root: &Path,
    train: &Path,
    valid: Option<&Path>,
    entries: &listing::Entries,
) -> Result<Dataset, DataError> {
    let mut found = Found::new(root);
    found.skipped.extend(entries.skipped.iter().cloned());
    let beside = entries.files.iter().chain(&entries.folders).filter(|path| {
        *path != train
            && valid.is_none_or(|valid| *path != valid)
            && (file_name(path) != TEST || !path.is_dir())
    });
    found.skipped.extend(beside.map(|path| Skipped::new(path, "lies beside the folders of the split")));

    let mut split = Split::default();
    let entries_of_train = listing::entries(train)?;
    let trained = found.class_folders(train, &entries_of_train, "lies outside of the class folders")?;
    let classes = found.classes(train, &trained, &entries_of_train)?;
    for (class, images) in &trained {
        split.train.extend(found.label(&classes, class, images));
    }

    if let Some(valid) = valid {
        split.valid = found.validation(valid, train, &classes)?;
    }
    if let Some(test) = entries.folders.iter().find(|folder| file_name(folder) == TEST) {
        split.test = found.test(test, &classes)?;
    }
    Ok(found.dataset(classes, Some(split)))
}

/// Images of each class, by name.
type ByClass = BTreeMap<String, Vec<PathBuf>>;

/// What has been found so far.
struct Found {
    root: PathBuf,
    items: Vec<Item>,
    skipped: Vec<Skipped>,
    notices: Vec<String>,
}

impl Found {
    fn new(root: &Path) -> Self {
        Found { root: root.to_owned(), items: Vec::new(), skipped: Vec::new(), notices: Vec::new() }
    }

    /// The images of each class folder in `folder`. A folder without anything meant as an image is left out.
    fn class_folders(
        &mut self,
        folder: &Path,
        entries: &listing::Entries,
        outside: &str,
    ) -> Result<ByClass, DataError> {
        self.skipped.extend(entries.skipped.iter().cloned());
        let mut loose = listing::Listing::default();
        entries.files.iter().for_each(|path| loose.add(path));
        self.skipped
            .extend(loose.images.iter().map(|path| Skipped::new(path, format!("an image that {outside}"))));
        self.skipped.extend(loose.skipped);

        let mut by_class = ByClass::new();
        for class_folder in &entries.folders {
            let listing = listing::images_below(class_folder);
            let class = file_name(class_folder);
            let found = listing.skipped.len();
            let unusable = listing.skipped.iter().filter(|skipped| skipped.is_image).count();
            self.skipped.extend(listing.skipped);
            match (listing.images.is_empty(), unusable) {
                (false, _) => {
                    by_class.insert(class, listing.images);
                }
                (true, 0) => self.skipped.push(Skipped::new(
                    class_folder,
                    match found {
                        0 => "an empty folder".to_owned(),
                        _ => "a folder without images".to_owned(),
                    },
                )),
                (true, unusable) => {
                    let path = folder.join(&class);
                    let found = format!(
                        "{unusable} of {found} files are meant as images, none can be read: {}",
                        reasons(&self.skipped, &path)
                    );
                    return Err(DataError::ClassWithoutImages { class, path, found });
                }
            }
        }
        Ok(by_class)
    }

    /// At least two classes, or what is wrong with the folder.
    fn classes(
        &self,
        folder: &Path,
        by_class: &ByClass,
        entries: &listing::Entries,
    ) -> Result<Classes, DataError> {
        let path = folder.to_owned();
        match by_class.len() {
            0 => {
                let loose = entries.files.iter().filter(|file| {
                    self.skipped
                        .iter()
                        .any(|skipped| skipped.path == **file && skipped.reason.starts_with("an image"))
                });
                match loose.count() {
                    0 => Err(DataError::NoImages { found: self.summary(folder), path }),
                    images => Err(DataError::NoClassFolders { path, images }),
                }
            }
            1 => Err(DataError::SingleClass {
                path,
                class: by_class.keys().next().cloned().unwrap_or_default(),
            }),
            _ => Ok(Classes::new(by_class.keys())),
        }
    }

    /// Adds the images of a class, and gives their indices.
    fn label(&mut self, classes: &Classes, class: &str, images: &[PathBuf]) -> std::ops::Range<usize> {
        let target = classes.index(class).map_or(Target::Unlabelled, Target::Class);
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
    fn validation(&mut self, valid: &Path, train: &Path, classes: &Classes) -> Result<Vec<usize>, DataError> {
        let by_class =
            self.class_folders(valid, &listing::entries(valid)?, "lies outside of the class folders")?;
        let mut indices = Vec::new();
        for (class, images) in &by_class {
            if classes.index(class).is_none() {
                return Err(DataError::UnknownClass {
                    path: valid.join(class),
                    class: class.clone(),
                    train: train.to_owned(),
                    known: some_of(classes.names()),
                });
            }
            indices.extend(self.label(classes, class, images));
        }
        if indices.is_empty() {
            return Err(DataError::NoImages { path: valid.to_owned(), found: self.summary(valid) });
        }
        for class in classes.names().iter().filter(|class| !by_class.contains_key(*class)) {
            self.notices
                .push(format!("{} has no images of \"{class}\": nothing is measured on it", valid.display()));
        }
        Ok(indices)
    }

    /// Labelled if all images lie in folders of known classes, else unlabelled.
    fn test(&mut self, folder: &Path, classes: &Classes) -> Result<Vec<usize>, DataError> {
        let listing = listing::images_below(folder);
        self.skipped.extend(listing.skipped);
        let class_of = |path: &Path| {
            let mut parts = path.strip_prefix(folder).ok()?.components();
            let class = classes.index(parts.next()?.as_os_str().to_str()?)?;
            parts.next().map(|_| class)
        };
        let labelled = listing.images.iter().all(|path| class_of(path).is_some());
        let target = |path: &Path| match class_of(path) {
            Some(class) if labelled => Target::Class(class),
            _ => Target::Unlabelled,
        };
        Ok(self.add(&listing.images, target).collect())
    }

    /// What a folder without images holds, for people.
    fn summary(&self, folder: &Path) -> String {
        match self.skipped.iter().filter(|skipped| skipped.path.starts_with(folder)).count() {
            0 => "it is empty".to_owned(),
            _ => format!("it has {}", reasons(&self.skipped, folder)),
        }
    }

    /// Sorts everything by id.
    fn dataset(mut self, classes: Classes, split: Option<Split>) -> Dataset {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.sort_by(|&a, &b| self.items[a].id.cmp(&self.items[b].id));
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
        self.items.sort_by(|a, b| a.id.cmp(&b.id));
        self.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let items = Items { root: self.root, task: Task::SingleLabel, classes, items: self.items };
        Dataset { items, split, skipped: self.skipped, notices: self.notices }
    }
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
    let mut text = names.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 8 {
        text.push_str(&format!(" and {} more", names.len() - 8));
    }
    text
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
