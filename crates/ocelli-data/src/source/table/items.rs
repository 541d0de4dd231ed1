//! From files and their labels to a data set.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::rows::{Entry, Labels, Notes, Tally};
use super::sides::FolderSides;
use super::{ImpliedSplit, Labelled, SplitBy, Table, UnusedGroups, labels};
use crate::names::stem_of;
use crate::source::folder::some_names;
use crate::source::masks::Masks;
use crate::source::role::{self, Role};
use crate::source::{UNUSED, listing};
use crate::text::count;
use crate::{Classes, DataError, Dataset, Item, Items, Skipped, Split, Target, Task};

/// Images with their split and groups.
#[derive(Default)]
struct ItemRows {
    items: Vec<Item>,
    sides: Vec<Option<Role>>,
    groups: Vec<Option<String>>,
}

impl Table<'_> {
    /// Turns rows into items; rows without a label are no training images unless several labels are allowed.
    pub(super) fn dataset(
        &self,
        root: PathBuf,
        entries: Vec<(Entry, BTreeSet<String>)>,
        labels: &Labels,
        task: Task,
        mut notes: Notes,
    ) -> Result<Labelled, DataError> {
        let classes = Classes::new(entries.iter().flat_map(|(_, labels)| labels));
        if classes.is_empty() {
            let advice = "name the column of the labels (`label_columns`)";
            return Err(self.error(None, "has no labels".to_owned(), advice));
        }
        if let Some(error) = self.measurements(&classes, &entries) {
            return Err(error);
        }
        labels::check_looks(&self.sheet.path, classes.names())?;
        notes.notices.extend(labels::oddities(classes.names()));
        notes.notices.extend(self.without_images(labels, &classes));
        notes.notices.extend(self.nearly_all_different(&classes, &entries));
        let ItemRows { items, mut sides, groups } = self.item_rows(entries, &classes, task, &mut notes);
        let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
        let folders = FolderSides::of(&ids);
        let mut implied_split = None;
        match (&folders, &self.columns.split) {
            (None, _) => {}
            (Some(folders), Some(_)) => notes.notices.extend(self.disagreement(folders, &sides)),
            (Some(folders), None) => {
                sides.clone_from(&folders.roles);
                let said = self.say_folders(folders);
                notes.notices.extend(said.iter().cloned());
                implied_split =
                    Some(ImpliedSplit { by: SplitBy::Folders, files: folders.named(), notices: said });
            }
        }
        let test = sides.iter().filter(|side| **side == Some(Role::Test)).count();
        if test > 0 {
            notes.notices.push(format!(
                "{} rows of {} are test images, which are {UNUSED}",
                count(test),
                self.name()
            ));
            notes.notices.extend(self.trains_by_name(&folders, test));
        }
        let items = Items { root, task, classes, items };
        let has_split = self.columns.split.is_some() || implied_split.is_some();
        let split = has_split.then(|| {
            let side = |side| (0..sides.len()).filter(|&index| sides[index] == Some(side)).collect();
            Split { train: side(Role::Train), valid: side(Role::Valid), test: side(Role::Test) }
        });
        notes.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let label_separator = match labels {
            Labels::Cells(_, reading, _) if task == Task::MultiLabel => reading.separator(),
            _ => None,
        };
        if self.columns.group.is_some() {
            let names: BTreeSet<&str> = groups.iter().flatten().map(String::as_str).collect();
            notes.notices.extend(labels::alike_groups(names));
        }
        let Notes { skipped, notices } = notes;
        let dataset = Dataset { items, split, skipped, notices, losses: Vec::new() };
        let unused_groups = self.columns.unused_group.map(|column| UnusedGroups {
            column: self.header.and_then(|header| header.get(column)).cloned().unwrap_or_default(),
            groups: groups.clone(),
        });
        let groups = self.columns.group.is_some().then_some(groups);
        let unused_split = None;
        Ok(Labelled { dataset, label_separator, groups, implied_split, unused_split, unused_groups })
    }

    /// The warning that a table is called as one of training images, and its names lead into a folder of test images,
    /// which they do not say themselves: there the same numbers may be those of other photos.
    fn trains_by_name(&self, folders: &Option<FolderSides>, test: usize) -> Option<String> {
        folders.as_ref().filter(|_| self.columns.split.is_none())?;
        let stem = stem_of(&self.sheet.path);
        let trains = role::named_role(&stem).is_some_and(|named| named.sure && named.role == Role::Train);
        let says_folders =
            self.sheet.rows.iter().any(|row| row.cell(self.columns.file).contains(['/', '\\']));
        (trains && !says_folders).then(|| {
            format!(
                "warning: {} is called as a table of training images, but {} of its rows name files that only the folder of the \
                 test images has; if these are other photos of the same names, take the rows out",
                self.name(),
                count(test)
            )
        })
    }

    /// The notices that the folders of files give the split.
    fn say_folders(&self, folders: &FolderSides) -> Vec<String> {
        let table = self.name();
        let mut notices = vec![format!(
            "the files of {table} are in folders of a split, which is followed: {}",
            folders.named()
        )];
        if !folders.beside.is_empty() {
            let files: usize = folders.beside.iter().map(|(_, files)| files).sum();
            let named = folders.beside.iter().map(|(name, files)| format!("{name} ({})", count(*files)));
            notices.push(format!(
                "warning: {} images of {table} lie beside these folders, and are left out: {}",
                count(files),
                some_names(named)
            ));
        }
        notices
    }

    /// The notice that a column says of files another side of the split than their folders.
    fn disagreement(&self, folders: &FolderSides, sides: &[Option<Role>]) -> Option<String> {
        let differ = |(folder, column): &(&Option<Role>, &Option<Role>)| folder.is_some() && folder != column;
        let differ = folders.roles.iter().zip(sides).filter(differ).count();
        (differ > 0).then(|| {
            format!(
                "the split is that of the column; the folders of {} images of {} say another one: {}",
                count(differ),
                self.name(),
                folders.named()
            )
        })
    }

    /// The rows that are images of the data set; those without a label are skipped, except in multi-label
    /// data.
    fn item_rows(
        &self,
        entries: Vec<(Entry, BTreeSet<String>)>,
        classes: &Classes,
        task: Task,
        notes: &mut Notes,
    ) -> ItemRows {
        let ItemRows { mut items, mut sides, mut groups } = ItemRows::default();
        let mut without = Tally::default();
        for (entry, labels) in entries {
            let mut indices: Vec<usize> = labels.iter().filter_map(|label| classes.index(label)).collect();
            indices.sort_unstable();
            if indices.is_empty() && entry.side != Some(Role::Test) {
                without.count(entry.line, || entry.id.clone());
            }
            let target = match (task, indices.first()) {
                (Task::MultiLabel, _) => Target::Classes(indices),
                (Task::SingleLabel, Some(&class)) => Target::Class(class),
                (Task::SingleLabel, None) if entry.side == Some(Role::Test) => Target::Unlabelled,
                (Task::SingleLabel, None) => {
                    let reason = format!("row {} has no label", entry.line);
                    notes.skipped.push(Skipped::new(&entry.path, reason));
                    continue;
                }
            };
            items.push(Item { id: entry.id, path: entry.path, target });
            sides.push(entry.side);
            groups.push(entry.group);
        }
        let read_as = match task {
            Task::SingleLabel => "have no label and are left out",
            Task::MultiLabel => "have no label, so none of the classes is in their images",
        };
        let rows = count(self.sheet.rows.len());
        let before = notes.notices.len();
        without.say(&format!("of {rows} rows of {} {read_as}", self.name()), &mut notes.notices);
        if task == Task::SingleLabel && 2 * without.times > self.sheet.rows.len() {
            notes.notices[before..].iter_mut().for_each(|notice| notice.insert_str(0, "warning: "));
        }
        ItemRows { items, sides, groups }
    }

    /// That columns of classes hold no 1.
    fn without_images(&self, labels: &Labels, classes: &Classes) -> Option<String> {
        let Labels::Columns(columns) = labels else { return None };
        let empty = columns.iter().map(|(_, name)| *name).filter(|name| classes.index(name).is_none());
        let empty: Vec<String> = empty.map(|name| format!("\"{name}\"")).collect();
        (!empty.is_empty()).then(|| {
            format!(
                "warning: no row of {} has {}, which the model cannot learn and does not have as a class",
                self.name(),
                empty.join(", ")
            )
        })
    }

    /// The warning that labels are hardly classes, since they seldom come twice.
    fn nearly_all_different(
        &self,
        classes: &Classes,
        entries: &[(Entry, BTreeSet<String>)],
    ) -> Option<String> {
        let [column] = self.columns.labels[..] else { return None };
        let images = entries.iter().filter(|(_, labels)| !labels.is_empty()).count();
        labels::are_nearly_all_different(classes.len(), images).then(|| {
            format!(
                "warning: {} has {} classes for {} images in the column {}; if these are no classes, name their column \
                 (`label_columns`): {}",
                self.name(),
                count(classes.len()),
                count(images),
                self.column_name(column),
                self.column_names()
            )
        })
    }

    /// That the column of labels holds measurements.
    fn measurements(&self, classes: &Classes, entries: &[(Entry, BTreeSet<String>)]) -> Option<DataError> {
        let [column] = self.columns.labels[..] else { return None };
        let images = entries.iter().filter(|(_, labels)| !labels.is_empty()).count();
        if !labels::are_measurements(classes.names(), images) {
            return None;
        }
        let detail = format!(
            "has measurements in the column {}, no classes: {} different numbers in {} rows, such as {}",
            self.column_name(column),
            count(classes.len()),
            count(images),
            classes.names()[0]
        );
        let advice = format!(
            "name the column of the classes (`label_columns`); the columns are {}. Numbers are classes once they are put into \
             ranges with a name each",
            self.column_names()
        );
        Some(self.error(None, detail, &advice))
    }
}

/// Lists the images in a folder that no row of its table names, but for those in a folder of test images.
pub(super) fn list_unnamed(table: &str, folder: &Path, dataset: &mut Dataset) -> Vec<PathBuf> {
    let Dataset { items, skipped, notices, .. } = dataset;
    let named: HashSet<&Path> = items.items.iter().map(|item| item.path.as_path()).collect();
    let listed: HashSet<PathBuf> = skipped.iter().map(|skipped| skipped.path.clone()).collect();
    let mut listing = listing::images_below(folder);
    // Those that rows name are images of the data set.
    let masks = Masks::find(folder, listing.images.iter().map(PathBuf::as_path)).without(&named);
    skipped.extend(masks.take_out(&mut listing));
    let unnamed: Vec<PathBuf> = listing
        .images
        .into_iter()
        .filter(|image| !named.contains(image.as_path()) && !listed.contains(image))
        .filter(|image| image.starts_with(&items.root) || !is_for_testing(folder, image))
        .collect();
    if let Some(first) = unnamed.first() {
        let images = match unnamed.len() {
            1 => "1 image".to_owned(),
            several => format!("{} images", count(several)),
        };
        let (folder, first) = (folder.display(), first.display());
        notices.push(format!("{images} in {folder} without a row in {table}; the first is {first}"));
    }
    let reason = format!("an image that no row of {table} names");
    skipped.extend(unnamed.iter().map(|image| Skipped::new(image, &reason)));
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    unnamed
}

/// The warning that numbers miss at one end and are left over at the other, so that each photo may have the label of
/// another.
pub(super) fn off_by_one(
    table: &str,
    missing: &[String],
    unnamed: &[PathBuf],
    items: &Items,
) -> Option<String> {
    /// With more of them it is another matter.
    const MOST: usize = 10;
    let number = |text: &str| -> Option<u64> {
        let stem = Path::new(text).file_stem()?.to_str()?;
        let digits = stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        stem[digits..].parse().ok()
    };
    if missing.is_empty() || missing.len() != unnamed.len() || missing.len() > MOST {
        return None;
    }
    let all = |numbers: Vec<Option<u64>>| numbers.into_iter().collect::<Option<Vec<u64>>>();
    let missing = all(missing.iter().map(|name| number(name)).collect())?;
    let unnamed = all(unnamed.iter().map(|path| number(path.to_str()?)).collect())?;
    let found = all(items.items.iter().map(|item| number(&item.id)).collect())?;
    let ends = |numbers: &[u64]| Some((*numbers.iter().min()?, *numbers.iter().max()?));
    let ((missing, missing_end), (unnamed, unnamed_end), (first, last)) =
        (ends(&missing)?, ends(&unnamed)?, ends(&found)?);
    let shifted = missing > last && unnamed_end < first || unnamed > last && missing_end < first;
    shifted.then(|| {
        format!(
            "warning: the numbers in {table} go from {} to {}, and those of the photos from {} to {}: if one of both counts \
             otherwise, each photo has the label of another",
            missing.min(first),
            missing_end.max(last),
            unnamed.min(first),
            unnamed_end.max(last)
        )
    })
}

/// Whether an image lies in a folder for testing.
fn is_for_testing(folder: &Path, image: &Path) -> bool {
    let inside = image.strip_prefix(folder).unwrap_or(image).parent();
    let mut names = inside.into_iter().flat_map(Path::iter).map(|name| name.to_string_lossy());
    names.any(|name| role::named_role(&name).is_some_and(|named| named.role == Role::Test))
}
