//! A table for each side of the split, read as one data set: `train.csv` and `valid.csv`.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::discover::{Tables, folder_of_side, some};
use super::labels::is_missing;
use super::sheet::Sheet;
use super::{Column, Labelled, ReadTable, TableOptions, UnusedGroups, items, read_one, table_error};
use crate::files::folder_of;
use crate::source::role::Role;
use crate::source::{UNUSED, id_of};
use crate::text::count;
use crate::{DataError, Dataset, Item, Items, Split, Target};

/// The way out of tables that do not go together.
const APART: &str = "correct them, or give one table with all rows and a column of the split (`from_csv`)";

/// Reads the tables of a folder that are each of a side of the split.
pub(super) fn read(folder: &Path, tables: &Tables, options: &TableOptions) -> Result<Labelled, DataError> {
    for pair in tables.sides.windows(2) {
        if pair[0].0 == pair[1].0 {
            let detail = format!(
                "holds two tables of {} images: {}",
                pair[0].0.purpose(),
                some(&[pair[0].1.clone(), pair[1].1.clone()])
            );
            return Err(table_error(
                folder,
                None,
                detail,
                "say which is meant (`from_csv`), or take one out",
            ));
        }
    }
    let (_, train) = &tables.sides[0];
    let mut notices: Vec<String> = tables.without_table().into_iter().collect();
    let first = read_one(train, &in_folder(folder, Role::Train, train, options), Vec::new())?;
    let same = TableOptions {
        label_columns: first.label_columns.clone(),
        task: Some(first.labelled.dataset.items.task),
        label_separator: first.labelled.label_separator,
        ..options.clone()
    };
    let mut read = vec![(Role::Train, train.clone(), first)];
    for (role, table) in &tables.sides[1..] {
        if *role == Role::Test && !has_labels(table, &same.label_columns)? {
            let name = name_in(folder, table);
            notices.push(format!("{name} has no labels and is left out: its images are {UNUSED}"));
            continue;
        }
        let other = read_one(table, &in_folder(folder, *role, table, &same), Vec::new())?;
        check_same_columns(&read[0].2, &other, table)?;
        read.push((*role, table.clone(), other));
    }
    if read.len() == 1 {
        // That for training is all: it is read as if it were alone.
        notices.insert(0, format!("the labels are those of {}", train.display()));
        let mut alone = read_one(train, options, notices)?;
        let images = alone.labelled.dataset.items.root.clone();
        alone.list_unnamed(&images);
        return Ok(alone.labelled);
    }
    let names: Vec<String> = read.iter().map(|(_, table, _)| name_in(folder, table)).collect();
    notices.insert(0, format!("the labels are those of {}, which give the split", names.join(" and ")));
    joined(folder, read, &names.join(", "), notices)
}

/// The path of a table in a folder, for people.
fn name_in(folder: &Path, table: &Path) -> String {
    id_of(folder, table)
}

/// The options with the folder that the files of a table are in.
fn in_folder(folder: &Path, role: Role, table: &Path, options: &TableOptions) -> TableOptions {
    let beside = || if folder_of(table) == folder { folder_of_side(folder, role) } else { None };
    TableOptions { folder: options.folder.clone().or_else(beside), ..options.clone() }
}

/// Whether a table has these columns of labels, and something in them.
fn has_labels(table: &Path, columns: &[Column]) -> Result<bool, DataError> {
    let sheet = Sheet::read(table)?;
    let header =
        sheet.names.clone().or_else(|| sheet.rows.first().map(|row| row.cells.clone())).unwrap_or_default();
    let found = columns.iter().map(|column| match column {
        Column::Index(index) => Some(*index).filter(|index| *index < sheet.width()),
        Column::Name(name) => header.iter().position(|other| other.eq_ignore_ascii_case(name)),
    });
    let Some(found) = found.collect::<Option<Vec<usize>>>() else { return Ok(false) };
    let rows = &sheet.rows[usize::from(sheet.names.is_none() && sheet.rows.len() > 1)..];
    let says = |cell: &str| !cell.is_empty() && !is_missing(cell);
    Ok(rows.iter().any(|row| found.iter().any(|&column| says(row.cell(column)))))
}

/// Columns of 0 and 1 must be the same in all tables: one that only a later table has would be passed over.
fn check_same_columns(first: &ReadTable, other: &ReadTable, table: &Path) -> Result<(), DataError> {
    let (Some(here), Some(there)) = (&first.header, &other.header) else { return Ok(()) };
    let (here, there): (BTreeSet<_>, BTreeSet<_>) = (here.iter().collect(), there.iter().collect());
    if first.label_columns.len() < 2 || here == there {
        return Ok(());
    }
    let named = |names: BTreeSet<&&String>| {
        names.into_iter().take(8).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    let detail = format!(
        "has other columns than {}: {}",
        first.name,
        named(here.symmetric_difference(&there).collect())
    );
    Err(table_error(table, None, detail, APART))
}

/// One data set of several tables.
fn joined(
    folder: &Path,
    read: Vec<(Role, PathBuf, ReadTable)>,
    names: &str,
    mut notices: Vec<String>,
) -> Result<Labelled, DataError> {
    let roots: BTreeSet<PathBuf> =
        read.iter().map(|(.., table)| table.labelled.dataset.items.root.clone()).collect();
    let root = match roots.first() {
        Some(root) if roots.len() == 1 => root.clone(),
        _ => folder.to_owned(),
    };
    let first = &read[0].2.labelled;
    let (task, label_separator) = (first.dataset.items.task, first.label_separator);
    let classes = first.dataset.items.classes.clone();
    let mut all = Dataset {
        items: Items { root: root.clone(), task, classes: classes.clone(), items: Vec::new() },
        split: None,
        skipped: Vec::new(),
        notices: Vec::new(),
        losses: Vec::new(),
    };
    let mut split = Split::default();
    let mut groups = Some(Vec::new());
    let mut unused = Some(UnusedGroups { column: String::new(), groups: Vec::new() });
    let mut named: HashMap<PathBuf, PathBuf> = HashMap::new();
    for (role, table, read) in read {
        let Labelled { dataset, groups: own_groups, implied_split, unused_groups: own_unused, .. } =
            read.labelled;
        if dataset.split.is_some() && implied_split.is_none() {
            let detail = "has a column of the split, and its name is that of a side of the split too";
            return Err(table_error(
                &table,
                None,
                detail,
                "give it alone (`from_csv`), or rename the column",
            ));
        }
        let start = all.items.items.len();
        for item in dataset.items.items {
            if let Some(other) = named.insert(item.path.clone(), table.clone())
                && other != table
            {
                let detail = format!("names {}, as {} does", item.path.display(), name_in(folder, &other));
                return Err(table_error(&table, None, detail, "name each image in one of the tables"));
            }
            let mut labels = Vec::new();
            for name in item.target.classes().iter().filter_map(|&class| dataset.items.classes.name(class)) {
                labels.push(classes.index(name).ok_or_else(|| {
                    let train = &names.split(", ").next().unwrap_or_default();
                    let detail =
                        format!("has the label \"{name}\" ({}), which {train} does not have", item.id);
                    table_error(&table, None, detail, APART)
                })?);
            }
            labels.sort_unstable();
            let target = match &item.target {
                Target::Unlabelled => Target::Unlabelled,
                _ => Target::new(task, labels),
            };
            let id = if item.path.starts_with(&root) { id_of(&root, &item.path) } else { item.id };
            all.items.items.push(Item { id, path: item.path, target });
        }
        let side = match role {
            Role::Train => &mut split.train,
            Role::Valid => &mut split.valid,
            Role::Test => &mut split.test,
        };
        side.extend(start..all.items.items.len());
        groups = groups.zip(own_groups).map(|(mut groups, own)| {
            groups.extend(own);
            groups
        });
        unused = unused.zip(own_unused).map(|(mut unused, own)| {
            unused.column = own.column;
            unused.groups.extend(own.groups);
            unused
        });
        all.skipped.extend(dataset.skipped);
        let implied = implied_split.map(|implied| implied.notices).unwrap_or_default();
        notices.extend(dataset.notices.into_iter().filter(|notice| !implied.contains(notice)));
    }
    if !split.test.is_empty() {
        let test = count(split.test.len());
        notices.push(format!("test images are {UNUSED}: {test}"));
    }
    let mut once = BTreeSet::new();
    notices.retain(|notice| once.insert(notice.clone()));
    all.split = Some(split);
    all.notices = notices;
    let images = all.items.root.clone();
    items::list_unnamed(names, &images, &mut all);
    Ok(Labelled {
        dataset: all,
        label_separator,
        groups,
        implied_split: None,
        unused_split: None,
        unused_groups: unused,
    })
}
