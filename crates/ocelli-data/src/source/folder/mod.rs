//! Class folders, or folders for training, validation and testing that contain them.
//!
//! ```text
//! photos/train/cats/1.jpg            photos/cats/1.jpg
//! photos/train/dogs/2.jpg            photos/cats/kittens/3.jpg
//! photos/valid/cats/3.jpg     or     photos/dogs/2.jpg
//! photos/valid/dogs/4.jpg
//! photos/test/5.jpg
//! ```
//!
//! The name of a class folder is the class of all images below it, at any depth, with a notice; an inner folder
//! with the name of another class or of a part of a split is an error. The folders of a split may
//! have any common name, in upper or lower case: `Training`, `training_set`, `val`, `validation`, `Testing`,
//! `test1`, and, side by side, `seg_train` and `seg_test`. Without a validation folder the source defines no
//! validation set. The test folder is optional: if it consists of class folders its items are labelled,
//! otherwise they are not. A validation or test folder without class folders is labelled by a table in it, or
//! beside it with its name, that names its photos and the classes of the others: `val/val_annotations.txt`,
//! `Test.csv`. Folders beside these are skipped.
//!
//! A folder that contains only one other folder of folders, as in unpacked archives, is entered. Folders that
//! are the first letters of those in them (`a/abbey`, `b/bakery/shop`) are no classes: those in them are.
//!
//! Segmentation masks beside photos are left out, with a notice: images in a folder called as one of masks whose
//! names are those of photos in the folder of images beside it, and images called as the photo beside them and
//! `_mask` ([`FolderOptions::include_masks`] keeps them).
//!
//! If folders may be classes or parts of a split, and names do not decide, nothing is guessed: [`read`] is an
//! error, and [`look`] returns the same as a problem beside the result with all folders as classes.
//!
//! | file | content |
//! |---|---|
//! | `mod.rs` | from a folder to a data set |
//! | `part.rs` | what is in a folder, and which folder is entered |
//! | `layout.rs` | whether folders are classes, or parts of a split |
//! | `classes.rs` | from class folders to labelled items |
//! | `no_classes.rs` | why there are no class folders |

mod classes;
mod doubts;
mod layout;
mod no_classes;
mod part;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::masks::Masks;
use super::{UNUSED, existing_folder, listing, role};
use crate::dataset::ClassLoss;
use crate::names::file_name;
use crate::text::count;
use crate::{Classes, DataError, Dataset, Item, Items, Skipped, Split, Target, Task};
use classes::ClassFolder;
use layout::SplitFolders;
use part::{Part, stem};

/// Reads the names below `root`; no image is decoded.
///
/// Without a training folder the data set has no split of its own: see [`split`](mod@crate::split). Without a
/// validation folder its split has no validation items. What classes lose is in [`losses`](Dataset::losses):
/// the caller decides whether it is too much.
pub fn read(root: impl AsRef<Path>) -> Result<Dataset, DataError> {
    FolderOptions::default().read(root)
}

/// As [`read`], for uses other than training: if it is not clear whether folders are classes, all of them
/// count as classes, and the second value is the error that [`read`] gives.
pub fn look(root: impl AsRef<Path>) -> Result<(Dataset, Option<DataError>), DataError> {
    FolderOptions::default().look(root)
}

/// As [`read`], for evaluating a model of these classes: one class is enough, and so is a part of a split.
/// The images of a folder that has the name of a class itself are of that class.
pub fn read_known(root: impl AsRef<Path>, known: &Classes) -> Result<Dataset, DataError> {
    FolderOptions::default().read_known(root, known)
}

/// What counts as a photo in class folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderOptions {
    /// Whether images that are called as the segmentation masks of others are photos too.
    pub include_masks: bool,
    /// Whether the outermost folders are the classes of photos that lie many folders deep, where any may be.
    pub outermost: bool,
}

impl FolderOptions {
    /// As [`read`].
    pub fn read(self, root: impl AsRef<Path>) -> Result<Dataset, DataError> {
        let (data, problem) = self.look(root)?;
        match problem {
            None => Ok(data),
            Some(problem) => Err(problem),
        }
    }

    /// As [`look`].
    pub fn look(self, root: impl AsRef<Path>) -> Result<(Dataset, Option<DataError>), DataError> {
        let mut reader = Reader::new(root.as_ref(), None, self)?;
        let data = reader.read()?;
        Ok((data, reader.problem))
    }

    /// As [`read_known`].
    pub fn read_known(self, root: impl AsRef<Path>, known: &Classes) -> Result<Dataset, DataError> {
        let mut reader = Reader::new(root.as_ref(), Some(known), self)?;
        let data = reader.read()?;
        match reader.problem {
            None => Ok(data),
            Some(problem) => Err(problem),
        }
    }
}

/// What has been found so far.
struct Reader<'a> {
    root: PathBuf,
    listing: listing::Listing,
    /// Stems of images with their folders, in lower case.
    stems: HashSet<(PathBuf, String)>,
    known: Option<&'a Classes>,
    /// See [`FolderOptions::outermost`].
    outermost: bool,
    items: Vec<Item>,
    skipped: Vec<Skipped>,
    notices: Vec<String>,
    losses: Vec<ClassLoss>,
    problem: Option<DataError>,
}

impl<'a> Reader<'a> {
    fn new(root: &Path, known: Option<&'a Classes>, options: FolderOptions) -> Result<Self, DataError> {
        let root = existing_folder(root)?;
        std::fs::read_dir(&root).map_err(DataError::io("list", &root))?;
        let mut listing = listing::images_below(&root);
        let mut notices: Vec<String> = listing::known_leftovers(&listing.skipped).into_iter().collect();
        let masks = Masks::find(&root, listing.images.iter().map(PathBuf::as_path));
        if options.include_masks {
            notices.extend(masks.taken_for_photos(&root));
        } else {
            let left_out = masks.take_out(&mut listing);
            listing.skipped.extend(left_out);
            notices.extend(masks.notices(&root));
        }
        let skipped = std::mem::take(&mut listing.skipped);
        let stems = listing.images.iter().filter_map(|image| stem(image)).collect();
        Ok(Reader {
            root,
            listing,
            stems,
            known,
            outermost: options.outermost,
            items: Vec::new(),
            skipped,
            notices,
            losses: Vec::new(),
            problem: None,
        })
    }

    fn read(&mut self) -> Result<Dataset, DataError> {
        let known = self.known;
        let is_class = move |name: &str| known.is_some_and(|known| known.alike(name).is_some());
        let asked = self.root.clone();
        // A folder of a split is one alone, too: `train`, but not `Final_Training`.
        let is_side = |name: &str| role::roles(&[name])[0].is_some();
        self.root = self.enter(&asked, |part| is_side(&part.name()) || is_class(&part.name()));
        let root = self.root.clone();
        self.leave_out_copies(&root);
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
        self.say_inner(root, &parts);
        let folders = self.class_folders(root, parts, loose)?;
        let classes = self.classes(root, &folders, images_outside)?;
        for ClassFolder { class, images, .. } in &folders {
            self.label(&classes, class, images);
        }
        Ok(self.dataset(classes, None))
    }

    /// Leaves out what lies beside the folders of a split.
    fn leave_out_beside(&mut self, inside: &[Option<PathBuf>; 3], parts: Vec<Part>, loose: &[PathBuf]) {
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
        self.leave_out_beside(&inside, parts, &loose);

        let mut split = Split::default();
        let known = self.known.cloned();
        let mut classes = known.unwrap_or_default();
        if let Some(train) = &train {
            let folder = self.enter(&train.path, |_| false);
            let (parts, loose) = self.parts(&folder);
            let images_outside = loose.len();
            if self.known.is_none() {
                self.same_subfolders(&folder, &parts);
            }
            self.say_inner(&folder, &parts);
            let trained = self.class_folders(&folder, parts, loose)?;
            if self.known.is_none() {
                classes = self.classes(&folder, &trained, images_outside).map_err(|error| {
                    let measured = valid.as_ref().or(test.as_ref());
                    measured.and_then(|part| self.more_classes_in(&part.path, &error)).unwrap_or(error)
                })?;
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
            split.valid = self.validation_of(&valid.path, &folder, train.as_deref(), &mut classes)?;
        }
        if let Some(test) = &test {
            let folder = self.enter_unless_class(&test.path, &classes);
            split.test = self.test(&test.path, &folder, &classes)?;
            if self.known.is_none() && !split.test.is_empty() {
                self.notices.push(format!(
                    "test images are {UNUSED}: {} in {}",
                    images(split.test.len()),
                    folder.display()
                ));
            }
        }
        Ok(self.dataset(classes, Some(split)))
    }

    /// That there is one class to train on, but more in a folder to measure on, as data sets of anomalies have them.
    fn more_classes_in(&self, folder: &Path, error: &DataError) -> Option<DataError> {
        let DataError::SingleClass { path, class } = error else { return None };
        let names: Vec<String> =
            self.parts(folder).0.iter().filter(|part| part.has_images()).map(Part::name).collect();
        (names.len() > 1).then(|| DataError::Split {
            reason: format!(
                "{} has the single class \"{class}\", and {} has the classes {}, as data sets have in which what is not \
                 \"{class}\" is to be found without examples; a classifier learns from examples of each class",
                path.display(),
                folder.display(),
                some_of(&names)
            ),
            advice: format!("to train on those of {0}, give it: {0}", folder.display()),
        })
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
        let mut position = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            position[old] = new;
        }
        let moved = |indices: Vec<usize>| {
            let mut moved: Vec<usize> = indices.into_iter().map(|index| position[index]).collect();
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
        let (mut notices, losses) = (std::mem::take(&mut self.notices), std::mem::take(&mut self.losses));
        if self.known.is_none() {
            notices.extend(doubts::of(&items, &skipped));
        }
        Dataset { items, split, skipped, notices, losses }
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
    some_names(names.iter().cloned())
}

/// Likewise.
pub(super) fn some_names(names: impl IntoIterator<Item = String>) -> String {
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
