//! The labels of a folder of the split whose photos lie in no class folders, beside one that has them: Tiny
//! ImageNet's `val/val_annotations.txt`, GTSRB's `Test.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::discover::{files, is_table};
use super::sheet::{Row, Sheet};
use super::{Finder, Match};
use crate::Classes;
use crate::names::file_name;
use crate::source::role;

/// A table that labels the photos of a folder, and the class of each photo that it names.
pub(crate) struct SideLabels {
    pub(crate) table: PathBuf,
    pub(crate) classes: BTreeMap<PathBuf, String>,
}

/// Looks for a table in the folder of a side of the split, or beside it with the name of that side, which names
/// most of these photos, with classes that are known.
pub(crate) fn side_labels(folder: &Path, images: &[PathBuf], known: &Classes) -> Option<SideLabels> {
    let side = role::named_role(&file_name(folder))?.role;
    let around = folder.parent()?;
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let is_of_side = |path: &PathBuf| role::named_role(&stem(path)).is_some_and(|named| named.role == side);
    let tables = files(folder).chain(files(around).filter(is_of_side));
    let mut tables =
        tables.filter(|path| is_table(path) && !stem(path).to_lowercase().contains("submission"));
    let finder = Finder::of(around, images.iter().cloned());
    tables.find_map(|table| {
        let sheet = Sheet::read(&table).ok()?;
        let sheets = [sheet.cut_at_spaces(), Some(sheet)];
        sheets.into_iter().flatten().find_map(|sheet| labelled_by(&table, &sheet, images, &finder, known))
    })
}

fn labelled_by(
    table: &Path,
    sheet: &Sheet,
    images: &[PathBuf],
    finder: &Finder,
    known: &Classes,
) -> Option<SideLabels> {
    let columns = || 0..sheet.width();
    let hits = |column: usize| finder.hits(sheet.rows.iter().map(|row| row.cell(column)), None);
    let (named, of_files) = columns()
        .map(|column| (hits(column), column))
        .max_by_key(|(hits, column)| (*hits, usize::MAX - column))?;
    if 10 * named < 9 * images.len() {
        return None;
    }
    // A first row may name the columns.
    let class = |row: &Row, column: usize| known.alike(row.cell(column)).map(str::to_owned);
    let is_class = |column: &usize| {
        let classed = sheet.rows.iter().filter(|row| class(row, *column).is_some()).count();
        *column != of_files && classed > 0 && classed + 1 >= sheet.rows.len()
    };
    let mut labels = columns().filter(is_class);
    let (of_labels, None) = (labels.next()?, labels.next()) else { return None };
    let names: Vec<&str> = sheet.rows.iter().map(|row| row.cell(of_files)).collect();
    let mut classes = BTreeMap::new();
    for (row, found) in sheet.rows.iter().zip(finder.resolve(&names, None, &[])) {
        if let (Match::Found(found), Some(class)) = (found, class(row, of_labels)) {
            // Of two rows that say different things about a photo, none is right.
            if classes.insert(found.path, class.clone()).is_some_and(|other| other != class) {
                return None;
            }
        }
    }
    // A column of one class is hardly one of labels.
    let different: BTreeSet<&String> = classes.values().collect();
    (different.len() > 1).then(|| SideLabels { table: table.to_owned(), classes })
}
