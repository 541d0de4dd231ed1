//! The labels of a folder of the split whose photos lie in no class folders, beside one that has them: Tiny
//! ImageNet's `val/val_annotations.txt`, GTSRB's `Test.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::discover::{files, is_table};
use super::sheet::{Row, Sheet, shortened};
use super::{Finder, Match, names};
use crate::Classes;
use crate::names::{file_name, stem_of};
use crate::source::role;

/// A table that labels the photos of a folder, and the class of each photo that it names.
pub(crate) struct SideLabels {
    pub(crate) table: PathBuf,
    pub(crate) classes: BTreeMap<PathBuf, String>,
}

/// Looks for a table in the folder of a side of the split, or beside it with the name of that side, which names
/// most of these photos, with classes that are known.
pub(crate) fn side_labels(folder: &Path, images: &[PathBuf], known: &Classes) -> Option<SideLabels> {
    let finder = Finder::of(folder.parent()?, images.iter().cloned());
    tables_of(folder)?.find_map(|table| {
        let sheet = Sheet::read(&table).ok()?;
        let sheets = [sheet.cut_at_spaces(), Some(sheet)];
        sheets.into_iter().flatten().find_map(|sheet| labelled_by(&table, &sheet, images, &finder, known))
    })
}

/// The warning that such a table has labels that are none of the known classes.
pub(crate) fn unknown_side_labels(folder: &Path, images: &[PathBuf], known: &Classes) -> Option<String> {
    let finder = Finder::of(folder.parent()?, images.iter().cloned());
    tables_of(folder)?.find_map(|table| {
        let sheet = Sheet::read(&table).ok()?;
        files_column(&sheet, images, &finder)?;
        let header = sheet.rows.first()?;
        let column = (0..sheet.width()).find(|&column| names::is_label(header.cell(column)))?;
        let labels: BTreeSet<&str> = sheet.rows[1..].iter().map(|row| row.cell(column)).collect();
        let unknown = labels.iter().find(|label| !label.is_empty() && known.alike(label).is_none())?;
        (labels.len() > 1).then(|| {
            format!(
                "warning: the images in {} are read without labels: {} names them, but its column \"{}\" holds other values \
                 than the classes, such as \"{}\"; the classes are {}",
                folder.display(),
                file_name(&table),
                header.cell(column),
                shortened(unknown),
                known.names().iter().take(8).cloned().collect::<Vec<_>>().join(", ")
            )
        })
    })
}

/// The tables in the folder of a side of the split, and those beside it with the name of that side.
fn tables_of(folder: &Path) -> Option<impl Iterator<Item = PathBuf>> {
    let side = role::named_role(&file_name(folder))?.role;
    let is_of_side =
        move |path: &PathBuf| role::named_role(&stem_of(path)).is_some_and(|named| named.role == side);
    let tables = files(folder).chain(files(folder.parent()?).filter(is_of_side));
    Some(tables.filter(move |path| is_table(path) && !stem_of(path).to_lowercase().contains("submission")))
}

/// The column that names nearly all of these images.
fn files_column(sheet: &Sheet, images: &[PathBuf], finder: &Finder) -> Option<usize> {
    let hits = |column: usize| finder.hits(sheet.rows.iter().map(|row| row.cell(column)), None);
    let (named, of_files) = (0..sheet.width())
        .map(|column| (hits(column), column))
        .max_by_key(|(hits, column)| (*hits, usize::MAX - column))?;
    (10 * named >= 9 * images.len()).then_some(of_files)
}

fn labelled_by(
    table: &Path,
    sheet: &Sheet,
    images: &[PathBuf],
    finder: &Finder,
    known: &Classes,
) -> Option<SideLabels> {
    let of_files = files_column(sheet, images, finder)?;
    // A first row may name the columns.
    let class = |row: &Row, column: usize| known.alike(row.cell(column)).map(str::to_owned);
    let is_class = |column: &usize| {
        let classed = sheet.rows.iter().filter(|row| class(row, *column).is_some()).count();
        *column != of_files && classed > 0 && classed + 1 >= sheet.rows.len()
    };
    let mut labels = (0..sheet.width()).filter(is_class);
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
