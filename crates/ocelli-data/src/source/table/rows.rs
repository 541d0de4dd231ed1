//! From the rows of a table to files and their labels.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::files::{uploaded_name, web_path};
use super::labels::{self, Cell, Reading};
use super::sheet::{Row, shortened};
use super::{Found, Match, Table, ambiguous, names};
use crate::names::file_name;
use crate::source::role::Role;
use crate::text::count;
use crate::{DataError, Skipped, Task};

/// The notices and the skipped files so far.
pub(super) struct Notes {
    pub(super) skipped: Vec<Skipped>,
    pub(super) notices: Vec<String>,
}

/// A row whose file exists.
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) id: String,
    pub(super) path: PathBuf,
    /// The row's index in the sheet.
    pub(super) row: usize,
    pub(super) side: Option<Role>,
    pub(super) group: Option<String>,
}

/// How labels stand in the rows.
pub(super) enum Labels<'a> {
    /// In a cell. These words, which stand for no value elsewhere, are classes here.
    Cells(usize, Reading, BTreeSet<String>),
    /// In a column for each class.
    Columns(Vec<(usize, &'a str)>),
}

impl<'a> Labels<'a> {
    pub(super) fn of(&'a self, row: &'a Row) -> BTreeSet<&'a str> {
        match self {
            Labels::Cells(column, _, classes) if classes.contains(row.cell(*column)) => {
                BTreeSet::from([row.cell(*column)])
            }
            Labels::Cells(column, reading, _) => reading.labels(row.cell(*column)),
            Labels::Columns(columns) => {
                let on = |(column, _): &&(usize, &'a str)| binary(row.cell(*column)) == Some(true);
                columns.iter().filter(on).map(|(_, class)| *class).collect()
            }
        }
    }
}

/// The value of a cell in a class's column.
pub(super) fn binary(cell: &str) -> Option<bool> {
    match cell {
        "1" | "1.0" | "true" | "True" | "TRUE" | "x" | "X" | "yes" | "Yes" | "YES" => Some(true),
        // Some data sets say 1 and -1, as CelebA does.
        "0" | "0.0" | "-1" | "-1.0" | "false" | "False" | "FALSE" | "no" | "No" | "NO" => Some(false),
        _ => None,
    }
}

/// How often something was met, and where first.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) times: usize,
    pub(super) first: Option<(u64, String)>,
}

impl Tally {
    pub(super) fn count(&mut self, line: u64, what: impl FnOnce() -> String) {
        self.times += 1;
        self.first.get_or_insert_with(|| (line, what()));
    }

    pub(super) fn say(&self, what: &str, notices: &mut Vec<String>) {
        if let Some((line, first)) = &self.first {
            notices.push(format!("{} {what}; the first is row {line}: {first}", count(self.times)));
        }
    }
}

impl Table<'_> {
    /// The folder that ids are relative to; says how names lead to files.
    pub(super) fn say_where(&self, folder: &Path, matches: &[Match], notices: &mut Vec<String>) -> PathBuf {
        let found: Vec<(&Row, &Found)> = (self.sheet.rows.iter().zip(matches))
            .filter_map(|(row, found)| match found {
                Match::Found(found) => Some((row, found)),
                _ => None,
            })
            .collect();
        let name = self.name();
        // One folder before all names is where the ids begin.
        let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
        found.iter().for_each(|(_, found)| *folders.entry(&found.folder).or_default() += 1);
        let common = match folders.iter().next() {
            Some((common, _)) if folders.len() == 1 && found.iter().all(|(_, found)| found.within) => *common,
            _ => "",
        };
        let root = if common.is_empty() { folder.to_owned() } else { folder.join(common) };
        let mut notes = Vec::new();
        if !common.is_empty() {
            notes.push(format!("the files of {name} are in {}", root.display()));
        } else if folders.len() > 1 {
            let names = folders.keys().map(|folder| if folder.is_empty() { "." } else { folder });
            let more = if folders.len() > 3 { ", …" } else { "" };
            notes.push(format!(
                "the files of {name} are in {} folders of {}: {}{more}",
                count(folders.len()),
                folder.display(),
                names.take(3).collect::<Vec<_>>().join(", ")
            ));
        }
        if self.options.suffix.is_none()
            && let Some(lacking) = lacking_endings(&found)
        {
            notes.push(format!("the ids of {name} lack {lacking} to be file names"));
        }
        if let (false, Some((row, found))) = (notes.is_empty(), found.first()) {
            let example = format!("row {}: {}", row.line, found.path.display());
            notices.push(format!("{} ({example})", notes.join(", and ")));
        }
        self.notice_inexact(&found, notices);
        root
    }

    /// Notices about names that were matched with files although they differ.
    fn notice_inexact(&self, found: &[(&Row, &Found)], notices: &mut Vec<String>) {
        let (name, file) = (self.name(), self.columns.file);
        let ways = |what: &str, matches: &dyn Fn(&Row, &Found) -> bool| {
            let mut such = found.iter().filter(|(row, found)| matches(row, found));
            let (row, first) = such.next()?;
            let (rows, given) = (count(1 + such.count()), shortened(row.cell(file)));
            let first = format!("row {}: {given} is {}", row.line, first.relative);
            Some(format!("{rows} names in {name} {what}; the first is {first}"))
        };
        let elsewhere = "begin with folders that are not here, and are found by the end of their paths";
        notices.extend(ways(elsewhere, &|_, found| !found.dropped.is_empty()));
        let folded = "differ in upper and lower case, or in the Unicode form, from those of the files";
        notices.extend(ways(folded, &|_, found| found.folded));
        let web = "are those of web addresses, with %20 and the like for characters";
        notices.extend(ways(web, &|row, found| {
            let given = row.cell(file).replace('\\', "/");
            let last = given.rsplit('/').next().unwrap_or_default();
            let there = found.relative.rsplit('/').next().unwrap_or_default();
            web_path(&given).is_some() && !there.to_lowercase().starts_with(&last.to_lowercase())
        }));
        let uploaded =
            "are those that Label Studio gives to uploaded files, with eight digits before their own";
        notices.extend(ways(uploaded, &|row, found| {
            uploaded_name(row.cell(file)).is_some_and(|name| found.relative.ends_with(name))
                && !found.relative.ends_with(row.cell(file).rsplit('/').next().unwrap_or_default())
        }));
        let mut several = found.iter().filter(|(_, found)| !found.also.is_empty());
        if let Some((row, found)) = several.next() {
            let names = count(1 + several.count());
            notices.push(format!(
                "{names} names in {name} could be several files, and are taken for those in the folder, or with the ending, \
                 of most names; the first is row {}: {} is {}, not {}",
                row.line,
                shortened(row.cell(file)),
                found.relative,
                found.also.join(" or ")
            ));
        }
        notices.extend(ways("have \\ between their folders", &|row, found| {
            row.cell(file).contains('\\')
                && found.dropped.is_empty()
                && !found.path.to_string_lossy().contains('\\')
        }));
        let mut outside = found.iter().filter(|(_, found)| !found.within);
        if let Some((row, found)) = outside.next() {
            let files = count(1 + outside.count());
            let first = format!("row {}: {}", row.line, found.path.display());
            notices.push(format!("{files} names in {name} are outside the folder; the first is {first}"));
        }
    }

    /// The rows whose files exist, and the indices of those whose files do not, with the reasons.
    #[allow(clippy::type_complexity)] // used once
    pub(super) fn entries(
        &self,
        folder: &Path,
        root: &Path,
        matches: Vec<Match>,
        notes: &mut Notes,
    ) -> Result<(Vec<Entry>, Vec<(usize, Option<String>)>), DataError> {
        let mut entries = Vec::new();
        let mut missing = Vec::new();
        let mut unusable = Tally::default();
        let last = self.columns.labels.iter().copied().max().unwrap_or(0).max(self.columns.file);
        let below = root.strip_prefix(folder).map(|below| below.display().to_string()).unwrap_or_default();
        let prefix = if below.is_empty() { below } else { below + "/" };
        for (index, (row, found)) in self.sheet.rows.iter().zip(matches).enumerate() {
            let line = row.line;
            if row.cells.len() <= last {
                let reason = format!("row {line} has too few columns ({})", row.cells.len());
                let cells = row.cells.len();
                unusable.count(line, || format!("it has {cells} cell{}", if cells == 1 { "" } else { "s" }));
                notes.skipped.push(Skipped::new(&self.sheet.path, reason));
                continue;
            }
            let text = row.cell(self.columns.file);
            if text.is_empty() {
                unusable.count(line, || "it names no file".to_owned());
                notes.skipped.push(Skipped::new(&self.sheet.path, format!("row {line} names no file")));
                continue;
            }
            let found = match found {
                Match::Found(found) => found,
                Match::Ambiguous(several) => {
                    return Err(ambiguous(self.sheet, row, self.columns.file, &several));
                }
                Match::Missing(why) => {
                    let more = why.as_ref().map_or_else(String::new, |why| format!("; {why}"));
                    let file =
                        root.join(format!("{text}{}", self.options.suffix.as_deref().unwrap_or_default()));
                    notes.skipped.push(Skipped::new(
                        file,
                        format!("named in row {line}, but there is no such file{more}"),
                    ));
                    missing.push((index, why));
                    continue;
                }
            };
            let said = self.columns.split.as_ref().map(|split| split.role(row)).transpose();
            let side = said.map_err(|column| {
                let text = shortened(row.cell(column));
                let detail = format!("says \"{text}\"; expected train, valid or test");
                self.error(Some(line), detail, "correct the row")
            })?;
            let id = found.relative.strip_prefix(prefix.as_str()).unwrap_or(&found.relative).to_owned();
            let group = self
                .columns
                .group
                .or(self.columns.unused_group)
                .map(|column| row.cell(column))
                .filter(|group| !group.is_empty() && !labels::is_missing(group));
            let group = group.map(str::to_owned);
            entries.push(Entry { line, id, path: found.path, row: index, side, group });
        }
        let of = format!("of {} rows of {} cannot be used", count(self.sheet.rows.len()), self.name());
        unusable.say(&of, &mut notes.notices);
        Ok((entries, missing))
    }

    /// The words for no value that are classes: those whose files all lie in a folder of that name.
    fn named_as_their_folders(
        &self,
        column: usize,
        entries: &[Entry],
        notices: &mut Vec<String>,
    ) -> BTreeSet<String> {
        let mut words: BTreeMap<&str, bool> = BTreeMap::new();
        for entry in entries {
            let word = self.sheet.rows[entry.row].cell(column);
            if labels::is_missing(word) {
                let folder = entry.path.parent().map(file_name).unwrap_or_default();
                *words.entry(word).or_insert(true) &= folder == word;
            }
        }
        let classes: BTreeSet<String> =
            words.into_iter().filter(|(_, all)| *all).map(|(word, _)| word.to_owned()).collect();
        notices.extend(classes.iter().map(|word| {
            format!(
                "warning: \"{word}\" in {} is read as a class, since its files are in a folder of that name",
                self.name()
            )
        }));
        classes
    }

    /// Says which rows have a word for no value instead of a label.
    fn say_missing_labels(&self, cells: &[Cell], classes: &BTreeSet<String>, notices: &mut Vec<String>) {
        let mut missing = Tally::default();
        let mut words: BTreeSet<&str> = BTreeSet::new();
        for cell in cells.iter().filter(|cell| labels::is_missing(cell.text) && !classes.contains(cell.text))
        {
            missing.count(cell.line, || cell.text.to_owned());
            words.insert(cell.text);
        }
        let Some((line, first)) = missing.first else { return };
        let words = words.into_iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        notices.push(format!(
            "warning: {} of {} rows of {} have no value for a label ({words}); the first is row {line}: \
             {first}. To keep one as a class, give it another name in the table",
            count(missing.times),
            count(self.sheet.rows.len()),
            self.name()
        ));
    }

    pub(super) fn labels(
        &self,
        entries: &[Entry],
        notices: &mut Vec<String>,
    ) -> Result<(Labels<'_>, Task), DataError> {
        let rows = || entries.iter().map(|entry| &self.sheet.rows[entry.row]);
        if let [column] = self.columns.labels[..] {
            let cells: Vec<Cell> =
                rows().map(|row| Cell { line: row.line, text: row.cell(column) }).collect();
            let files: HashSet<&PathBuf> = entries.iter().map(|entry| &entry.path).collect();
            let header = self.header.and_then(|header| header.get(column));
            let form = labels::Form {
                several_called: header.is_some_and(|name| names::is_plural(name)),
                rows_recur: files.len() < entries.len(),
            };
            let (reading, task) = labels::decide(&self.sheet.path, &cells, form, self.options, notices)?;
            let classes = self.named_as_their_folders(column, entries, notices);
            self.say_missing_labels(&cells, &classes, notices);
            return Ok((Labels::Cells(column, reading, classes), task));
        }
        let names = self.header.unwrap_or_default();
        let labels = Labels::Columns(
            self.columns
                .labels
                .iter()
                .map(|&column| (column, names.get(column).map_or("", String::as_str)))
                .collect(),
        );
        let odd = rows().map(|row| (row.line, labels.of(row).len())).find(|(_, ones)| *ones != 1);
        let task = match (self.options.task, odd) {
            (Some(Task::SingleLabel), Some((line, ones))) => {
                let detail = format!("has 1 in {ones} columns of classes, where an image has one class");
                return Err(self.error(
                    Some(line),
                    detail,
                    "correct the row, or let images have several labels (`task` multi-label)",
                ));
            }
            (Some(task), _) => task,
            (None, None) => {
                notices.push(format!(
                    "read as single-label: each of {} rows has 1 for one class",
                    count(entries.len())
                ));
                Task::SingleLabel
            }
            (None, Some((line, ones))) => {
                let several = rows().filter(|row| labels.of(row).len() != 1).count();
                let (warning, undo) = labels::rarely(several, entries.len());
                notices.push(format!(
                    "{warning}read as multi-label: {} of {} rows have 1 for no class or for several, the first is row {line}: for \
                     {ones}{undo}",
                    count(several),
                    count(entries.len())
                ));
                Task::MultiLabel
            }
        };
        Ok((labels, task))
    }
}

/// The endings that the ids lack to be file names, for a notice; `None` where they lack none.
fn lacking_endings(found: &[(&Row, &Found)]) -> Option<String> {
    let mut endings: BTreeMap<&str, usize> = BTreeMap::new();
    found
        .iter()
        .filter(|(_, found)| !found.ending.is_empty())
        .for_each(|(_, found)| *endings.entry(&found.ending).or_default() += 1);
    let (first, _) = endings.iter().next()?;
    if endings.len() == 1 {
        return Some(format!("\"{first}\""));
    }
    let each = endings.iter().map(|(ending, names)| format!("\"{ending}\" ({})", count(*names)));
    Some(each.collect::<Vec<_>>().join(", "))
}
