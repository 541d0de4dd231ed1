//! What a table beside class folders says that is not read: a label for each folder, or which photos belong together.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::beside::{AGREEING, MOST};
use super::columns::may_be_groups;
use super::discover::Tables;
use super::sheet::Sheet;
use super::{Match, Opened, TableOptions, UnusedGroups, names};
use crate::Dataset;
use crate::names::file_name;

/// That a table has a label for each of the folders, which several of them have in common.
pub(super) fn labels_of_folders(root: &Path, tables: &Tables, folders: &BTreeSet<String>) -> Option<String> {
    let candidates = tables.labels.iter().chain(&tables.others);
    candidates.filter_map(|table| Some((table, Sheet::read(table).ok()?))).find_map(|(table, sheet)| {
        let cells = |column: usize| sheet.rows.iter().map(move |row| row.cell(column));
        let names =
            |column: &usize| cells(*column).filter(|cell| folders.contains(*cell)).collect::<BTreeSet<_>>();
        let column = (0..sheet.width()).find(|column| {
            folders.len() > 2 && names(column).len() as f64 >= AGREEING * folders.len() as f64
        })?;
        let rows = || sheet.rows.iter().filter(|row| folders.contains(row.cell(column)));
        let label = (0..sheet.width()).filter(|other| *other != column).find(|other| {
            let labels: BTreeSet<&str> =
                rows().map(|row| row.cell(*other)).filter(|cell| !cell.is_empty()).collect();
            labels.len() > 1 && 2 * labels.len() <= folders.len()
        })?;
        let first = rows().next()?;
        Some(format!(
            "{} in {} has a label for each folder, such as \"{}\" for {}",
            file_name(table),
            root.display(),
            first.cell(label),
            first.cell(column)
        ))
    })
}

/// The column of a table beside class folders that says which of their photos belong together.
pub(super) fn groups_beside(root: &Path, tables: &Tables, data: &Dataset) -> Option<UnusedGroups> {
    let names_groups = |table: &&PathBuf| {
        Sheet::read_beginning(table).is_ok_and(|sheet| {
            sheet
                .possible_header()
                .is_some_and(|header| header.iter().any(|name| names::group_rank(name).is_some()))
        })
    };
    let options =
        TableOptions { folder: Some(root.to_owned()), allow_missing: true, ..TableOptions::default() };
    tables.labels.iter().chain(&tables.others).filter(names_groups).find_map(|table| {
        let opened = Opened::open(table, &options, Vec::new()).ok()?;
        let header = opened.header.as_ref()?;
        let called =
            (0..header.len()).filter_map(|column| Some((names::group_rank(&header[column])?, column)));
        let (_, column) = called.min()?;
        let rows = opened.sheet.rows.iter().zip(&opened.matches);
        let groups: HashMap<&Path, &str> = rows
            .filter_map(|(row, found)| match found {
                Match::Found(found) => Some((found.path.as_path(), row.cell(column))),
                _ => None,
            })
            .filter(|(_, group)| !group.is_empty())
            .collect();
        let of = |path: &PathBuf| groups.get(path.as_path()).map(|group| (*group).to_owned());
        let groups: Vec<Option<String>> = data.items.items.iter().map(|item| of(&item.path)).collect();
        let known = groups.iter().flatten().count();
        let most = known as f64 >= MOST * groups.len() as f64;
        (most && may_be_groups(groups.iter().flatten().map(String::as_str)))
            .then(|| UnusedGroups { column: header[column].clone(), groups })
    })
}
