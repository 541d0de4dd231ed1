//! Several rows about one file, and rows whose files are missing.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::rows::{Entry, Labels, Notes, Tally, binary};
use super::sheet::shortened;
use super::{Table, names};
use crate::names::composed;
use crate::text::count;
use crate::{DataError, Skipped, Task};

impl Table<'_> {
    /// Makes one of several rows about a file: the labels of all where images have several, or says what
    /// contradicts.
    pub(super) fn merge(
        &self,
        entries: Vec<Entry>,
        labels: &Labels,
        task: &mut Task,
        notes: &mut Notes,
    ) -> Result<Vec<(Entry, BTreeSet<String>)>, DataError> {
        let by_file = by_file(entries);
        self.note_several_rows(&by_file, labels, task, notes);
        if *task == Task::MultiLabel && by_file.iter().any(|rows| rows.len() > 1) {
            self.check_presence()?;
        }
        let mut merged = Vec::new();
        let mut repeated = Tally::default();
        for mut rows in by_file {
            let rest = rows.split_off(1);
            let first = rows.remove(0);
            let of = |entry: &Entry| labels.of(&self.sheet.rows[entry.row]);
            let mut all: BTreeSet<String> = of(&first).into_iter().map(composed).collect();
            for entry in rest {
                if let Some(error) = self.contradiction(&first, &entry, labels, *task) {
                    return Err(error);
                }
                if of(&entry) == of(&first) {
                    let reason = format!("row {} repeats row {}", entry.line, first.line);
                    notes.skipped.push(Skipped::new(&entry.path, reason));
                    repeated.count(entry.line, || entry.id.clone());
                }
                all.extend(of(&entry).into_iter().map(composed));
            }
            merged.push((first, all));
        }
        let rows = count(self.sheet.rows.len());
        let of = format!("of {rows} rows of {} repeat others and are left out", self.name());
        repeated.say(&of, &mut notes.notices);
        Ok(merged)
    }

    /// Refuses a table of a row for each label with a column that says of some that they are not there, as Open Images' has.
    fn check_presence(&self) -> Result<(), DataError> {
        let rows = &self.sheet.rows;
        let values = |column: usize| rows.iter().map(move |row| binary(row.cell(column)));
        let says_no = |column: &usize| {
            self.header.and_then(|header| header.get(*column)).is_some_and(|name| names::says_presence(name))
                && values(*column).all(|value| value.is_some())
                && values(*column).any(|value| value == Some(false))
        };
        let cells = |column: usize| rows.iter().map(move |row| row.cell(column));
        let is_sure = |column: &usize| {
            let number = |cell: &str| cell.parse::<f64>().ok();
            self.header
                .and_then(|header| header.get(*column))
                .is_some_and(|name| names::says_probability(name))
                && cells(*column).all(|cell| number(cell).is_some_and(|number| number >= 0.0))
                && cells(*column).any(|cell| number(cell).is_some_and(|number| number.fract() != 0.0))
        };
        if let Some(column) = (0..self.sheet.width()).find(is_sure) {
            return Err(self.error(
                rows.first().map(|row| row.line),
                format!(
                    "has a row for each label, and {} says how sure it is: put together, all labels would count alike",
                    self.column_name(column)
                ),
                "keep the rows of the labels that images have, or the surest row of each image",
            ));
        }
        let Some(column) = (0..self.sheet.width()).find(says_no) else { return Ok(()) };
        let row = rows.iter().find(|row| binary(row.cell(column)) == Some(false));
        Err(self.error(
            row.map(|row| row.line),
            format!(
                "has a row for each label, and {} says that this one's label is not there",
                self.column_name(column)
            ),
            "leave out the rows with 0",
        ))
    }

    /// Where images have a row for each of their labels, makes the task multi-label; says which images have
    /// several rows.
    fn note_several_rows(&self, by_file: &[Vec<Entry>], labels: &Labels, task: &mut Task, notes: &mut Notes) {
        let of = |entry: &Entry| labels.of(&self.sheet.rows[entry.row]);
        let differ = |rows: &[Entry]| rows.iter().any(|entry| of(entry) != of(&rows[0]));
        let several = by_file.iter().filter(|rows| differ(rows)).count();
        let Some(first) = by_file.iter().find(|rows| differ(rows)) else { return };
        // Whether an image has a row for each of its labels: then many have several, and none says the same
        // twice.
        let twice = by_file.iter().any(|rows| {
            let repeats = |row: usize| rows[..row].iter().any(|before| of(before) == of(&rows[row]));
            (0..rows.len()).any(repeats)
        });
        let a_row_a_label = several >= 3 && 5 * several >= by_file.len() && !twice;
        if *task == Task::SingleLabel && !(self.options.task.is_none() && a_row_a_label) {
            return;
        }
        let mut read_as = "";
        if *task == Task::SingleLabel {
            read_as = "read as multi-label, a row a label: ";
            // Read cell by cell they seemed to have one each.
            notes.notices.retain(|notice| !notice.starts_with("read as single-label"));
        }
        let lines: Vec<String> = first.iter().take(3).map(|entry| entry.line.to_string()).collect();
        notes.notices.push(format!(
            "{read_as}{} of {} images have several rows, whose labels are put together; {} has rows {}",
            count(several),
            count(by_file.len()),
            first[0].id,
            lines.join(", ")
        ));
        *task = Task::MultiLabel;
    }

    /// That a row says of a file what an earlier one does not.
    fn contradiction(&self, first: &Entry, entry: &Entry, labels: &Labels, task: Task) -> Option<DataError> {
        let of = |entry: &Entry| labels.of(&self.sheet.rows[entry.row]);
        let labels_differ = of(entry) != of(first);
        let agree = entry.side == first.side && entry.group == first.group;
        if agree && !(labels_differ && task == Task::SingleLabel) {
            return None;
        }
        let text = |entry: &Entry| {
            let mut text = format!("\"{}\"", of(entry).into_iter().collect::<Vec<_>>().join(", "));
            if let Some(side) = entry.side {
                text += &format!(" ({side:?})");
            }
            if let Some(group) = &entry.group {
                text += &format!(" of {group}");
            }
            text
        };
        let (here, there) = (text(entry), text(first));
        let detail = format!("contradicts row {} on {}: {here} here, {there} there", first.line, entry.id);
        let advice = match labels_differ {
            true if self.options.task.is_none() => {
                "keep the right one, or let images have several labels (`task` multi-label)"
            }
            _ => "keep the right one",
        };
        Some(self.error(Some(entry.line), detail, advice))
    }

    /// Says which files are missing; too many are an error.
    pub(super) fn say_missing(
        &self,
        missing: &[(usize, Option<String>)],
        entries: &[(Entry, BTreeSet<String>)],
        labels: &Labels,
        notices: &mut Vec<String>,
    ) -> Result<(), DataError> {
        if missing.is_empty() {
            return Ok(());
        }
        let rows = self.sheet.rows.len();
        let first: Vec<String> = (missing.iter().take(3))
            .map(|(index, why)| {
                let row = &self.sheet.rows[*index];
                let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
                format!("row {}: {}{why}", row.line, shortened(row.cell(self.columns.file)))
            })
            .collect();
        let fraction = 100.0 * missing.len() as f64 / rows as f64;
        let text = format!(
            "{} of {} rows of {} ({fraction:.0} %) name files that do not exist; the first is {}",
            count(missing.len()),
            count(rows),
            self.name(),
            first.join(", ")
        );
        let kept: HashSet<&str> =
            entries.iter().flat_map(|(_, labels)| labels.iter().map(String::as_str)).collect();
        let lost: BTreeSet<&str> = (missing.iter())
            .flat_map(|(index, _)| labels.of(&self.sheet.rows[*index]))
            .filter(|label| !kept.contains(composed(label).as_str()))
            .collect();
        let lost: Vec<&str> = lost.into_iter().collect();
        let vanished = (!lost.is_empty()).then(|| {
            let some = lost.iter().take(5).copied().collect::<Vec<_>>().join("\", \"");
            let more = if lost.len() > 5 { format!(" and {} more", lost.len() - 5) } else { String::new() };
            format!("no file is left of \"{some}\"{more}")
        });
        // One row of a small table is no sign that the folder is another.
        let many = 10 * missing.len() > rows && missing.len() > 1;
        if !self.options.allow_missing && (many || vanished.is_some()) {
            let detail = match vanished {
                Some(vanished) => format!("{text}; {vanished}"),
                None => text,
            };
            let advice = "give the folder that holds them all, or let them be left out (`allow_missing`)";
            return Err(self.error(None, format!("does not fit the files: {detail}"), advice));
        }
        notices.push(text);
        notices.extend(vanished.map(|vanished| format!("{vanished}: it is no class")));
        Ok(())
    }
}

/// The rows of each file, in the order of the first ones.
fn by_file(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut by_file: Vec<Vec<Entry>> = Vec::new();
    for entry in entries {
        match positions.get(&entry.id) {
            Some(&position) => by_file[position].push(entry),
            None => {
                positions.insert(entry.id.clone(), by_file.len());
                by_file.push(vec![entry]);
            }
        }
    }
    by_file
}
