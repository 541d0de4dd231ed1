//! From files and their labels to a data set.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::rows::{Entry, Labels, Notes, Side, Tally};
use super::{Labelled, Table, labels};
use crate::source::listing;
use crate::text::count;
use crate::{Classes, DataError, Dataset, Item, Items, Skipped, Split, Target, Task};

/// Images with their split and groups.
#[derive(Default)]
struct ItemRows {
    items: Vec<Item>,
    sides: Vec<Option<Side>>,
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
        notes.notices.extend(labels::oddities(classes.names()));
        let ItemRows { items, sides, groups } = self.item_rows(entries, &classes, task, &mut notes);
        let test = sides.iter().filter(|side| **side == Some(Side::Test)).count();
        if test > 0 {
            notes.notices.push(format!(
                "{} rows of {} are test images, which are neither trained on nor evaluated",
                count(test),
                self.name()
            ));
        }
        let items = Items { root, task, classes, items };
        self.list_unnamed(&items, &mut notes);
        let split = self.columns.split.is_some().then(|| {
            let side = |side| (0..sides.len()).filter(|&index| sides[index] == Some(side)).collect();
            Split { train: side(Side::Train), valid: side(Side::Valid), test: side(Side::Test) }
        });
        notes.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let label_separator = match labels {
            Labels::Cells(_, reading) if task == Task::MultiLabel => reading.separator(),
            _ => None,
        };
        let Notes { skipped, notices } = notes;
        let dataset = Dataset { items, split, skipped, notices, losses: Vec::new() };
        let groups = self.columns.group.is_some().then_some(groups);
        Ok(Labelled { dataset, label_separator, groups })
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
            if indices.is_empty() && entry.side != Some(Side::Test) {
                without.count(entry.line, || entry.id.clone());
            }
            let target = match (task, indices.first()) {
                (Task::MultiLabel, _) => Target::Classes(indices),
                (Task::SingleLabel, Some(&class)) => Target::Class(class),
                (Task::SingleLabel, None) if entry.side == Some(Side::Test) => Target::Unlabelled,
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
        without.say(&format!("of {rows} rows of {} {read_as}", self.name()), &mut notes.notices);
        ItemRows { items, sides, groups }
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

    /// Lists the images in the folder that no row names.
    pub(super) fn list_unnamed(&self, items: &Items, notes: &mut Notes) {
        let named: HashSet<&Path> = items.items.iter().map(|item| item.path.as_path()).collect();
        let listed: HashSet<PathBuf> = notes.skipped.iter().map(|skipped| skipped.path.clone()).collect();
        let name = self.name();
        let unnamed: Vec<PathBuf> = listing::images_below(&items.root)
            .images
            .into_iter()
            .filter(|image| !named.contains(image.as_path()) && !listed.contains(image))
            .collect();
        if let Some(first) = unnamed.first() {
            let images = match unnamed.len() {
                1 => "1 image".to_owned(),
                several => format!("{} images", count(several)),
            };
            let (folder, first) = (items.root.display(), first.display());
            notes.notices.push(format!("{images} in {folder} without a row in {name}; the first is {first}"));
        }
        let reason = format!("an image that no row of {name} names");
        notes.skipped.extend(unnamed.into_iter().map(|image| Skipped::new(image, &reason)));
    }
}
