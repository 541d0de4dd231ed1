//! On which side of the split a row is: as its columns say, or the folders that its file lies in.

use std::collections::{BTreeMap, BTreeSet};

use super::sheet::{Row, shortened};
use crate::source::folder::some_names;
use crate::source::role::{self, Role};
use crate::text::count;

/// So many folders deep the folders of a split are looked for.
const DEEPEST: usize = 16;
/// So many different values, and rows of each, are named to people.
const SOME: usize = 4;

/// The columns that give the split.
pub(super) enum SplitColumns {
    /// One that says train, valid or test.
    Words(usize),
    /// Columns of 0 and 1, each of which says whether a row has this role.
    Flags(Vec<(usize, Role)>),
}

impl SplitColumns {
    pub(super) fn columns(&self) -> Vec<usize> {
        match self {
            SplitColumns::Words(column) => vec![*column],
            SplitColumns::Flags(flags) => flags.iter().map(|(column, _)| *column).collect(),
        }
    }

    /// The role of a row, or the column whose cell does not say it.
    pub(super) fn role(&self, row: &Row) -> Result<Role, usize> {
        match self {
            SplitColumns::Words(column) => role::said_role(row.cell(*column)).ok_or(*column),
            SplitColumns::Flags(flags) => {
                let mut said = None;
                for &(column, role) in flags {
                    match (flag(row.cell(column)), said) {
                        (Some(true), None) => said = Some(role),
                        (Some(true), Some(_)) | (None, _) => return Err(column),
                        (Some(false), _) => {}
                    }
                }
                said.or_else(|| self.otherwise()).ok_or(flags[0].0)
            }
        }
    }

    /// The role of rows that have 0 in all columns of flags.
    pub(super) fn otherwise(&self) -> Option<Role> {
        let SplitColumns::Flags(flags) = self else { return None };
        let is_said = |role: &Role| flags.iter().any(|(_, other)| other == role);
        [Role::Train, Role::Valid, Role::Test].into_iter().find(|role| !is_said(role))
    }
}

/// Whether a flag is set: spreadsheets leave the others empty, or write all as fractions.
pub(super) fn flag(cell: &str) -> Option<bool> {
    match cell.to_lowercase().as_str() {
        // A cross, as people mark rows.
        "1" | "1.0" | "true" | "yes" | "t" | "y" | "x" => Some(true),
        "" | "0" | "0.0" | "false" | "no" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// The rows that do not say their role, by what they say: `"" (rows 3, 5), "unlabeled" (row 7)`.
pub(super) fn odd_values<'a>(odd: impl Iterator<Item = (u64, &'a str)>) -> String {
    let mut values: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    odd.for_each(|(line, text)| values.entry(text).or_default().push(line));
    let more = values.len().saturating_sub(SOME);
    let named = values.into_iter().take(SOME).map(|(text, lines)| {
        let mut rows = lines.iter().take(SOME).map(u64::to_string).collect::<Vec<_>>().join(", ");
        if lines.len() > SOME {
            rows += &format!(" and {} more", count(lines.len() - SOME));
        }
        let row = if lines.len() == 1 { "row" } else { "rows" };
        format!("\"{}\" in {row} {rows}", shortened(text))
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {} more values", count(more));
    }
    text
}

/// The split that the folders of files give: `train/1.jpg`, `valid/2.jpg`.
pub(super) struct FolderSides {
    /// The role of each file; `None` beside the folders of the split.
    pub(super) roles: Vec<Option<Role>>,
    /// The folders of the split, with their roles and numbers of files.
    pub(super) folders: Vec<(String, Role, usize)>,
    /// What else there is beside them, with its number of files.
    pub(super) beside: Vec<(String, usize)>,
}

impl FolderSides {
    /// The split that folders of these files, given by their ids, have the names of, if they do.
    pub(super) fn of(ids: &[&str]) -> Option<Self> {
        let folder = |id: &str, level: usize| -> Option<String> {
            let mut parts = id.split('/').skip(level);
            let folder = parts.next()?;
            parts.next().map(|_| folder.to_owned())
        };
        (0..DEEPEST).find_map(|level| {
            let names: Vec<Option<String>> = ids.iter().map(|id| folder(id, level)).collect();
            let different: BTreeSet<&str> = names.iter().flatten().map(String::as_str).collect();
            let different: Vec<&str> = different.into_iter().collect();
            let roles = role::roles(&different);
            let found: BTreeSet<Role> = roles.iter().flatten().copied().collect();
            (found.len() > 1).then(|| {
                let of: BTreeMap<&str, Role> =
                    different.iter().zip(roles).filter_map(|(name, role)| Some((*name, role?))).collect();
                let role = |name: &Option<String>| name.as_deref().and_then(|name| of.get(name)).copied();
                let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
                names.iter().for_each(|name| *counts.entry(name.as_deref()).or_default() += 1);
                let number = |name: &str| counts.get(&Some(name)).copied().unwrap_or(0);
                let mut folders: Vec<(String, Role, usize)> =
                    of.iter().map(|(name, role)| ((*name).to_owned(), *role, number(name))).collect();
                folders.sort_by_key(|(_, role, _)| *role);
                let beside = counts.iter().filter(|(name, _)| name.is_none_or(|name| !of.contains_key(name)));
                FolderSides {
                    roles: names.iter().map(role).collect(),
                    folders,
                    beside: beside
                        .map(|(name, files)| (name.unwrap_or("no folder").to_owned(), *files))
                        .collect(),
                }
            })
        })
    }

    /// `train (3), valid (2)`
    pub(super) fn named(&self) -> String {
        some_names(self.folders.iter().map(|(name, _, files)| format!("{name} ({})", count(*files))))
    }
}
