//! What is doubtful about the columns of a table that were found, one sentence each.

use std::collections::{BTreeSet, HashMap};

use super::super::sheet::{Row, shortened};
use super::super::{names, sides::SplitColumns};
use super::{SOME_COLUMNS, Search};
use crate::DataError;
use crate::names::is_digits;
use crate::text::count;

impl Search<'_> {
    /// The warning that a column of groups, which is not used, has a value in the first row of each block only.
    pub(super) fn merged_groups(&self, file: usize, labels: &[usize]) -> Option<String> {
        let mut called = self.called_groups(file, labels).into_iter().map(|(_, column)| column);
        let column = called.find(|column| are_merged(self.rows(), *column))?;
        Some(format!(
            "warning: the column {} of {} says which images belong together, in the first row of each block only, as merged cells \
             are saved, and is not used, so that metrics may be too good; fill it down, and give it (`group_column`)",
            self.name(column),
            self.sheet.name()
        ))
    }

    /// That a column has a value in the first row of each block of rows only.
    pub(super) fn merged(&self, column: usize, what: &str) -> DataError {
        let other = match what {
            "groups" => "",
            _ => "; where the others have none, take their rows out, or name the column (`label_columns`)",
        };
        let advice = format!("fill the cells down, so that each row has its own{other}");
        self.error(self.says_merged(column, what), &advice)
    }

    pub(super) fn says_merged(&self, column: usize, what: &str) -> String {
        let rows = self.rows();
        let full = rows.iter().filter(|row| !row.cell(column).is_empty()).count();
        let first = rows.iter().find(|row| row.cell(column).is_empty()).map_or(0, |row| row.line);
        format!(
            "has {what} in {} of {} rows of the column {}, and none in those below each of them, the first of which is row \
             {first}, as merged cells of a spreadsheet are saved",
            count(full),
            count(rows.len()),
            self.name(column)
        )
    }

    /// The warning that a column marks rows as ones to leave out, which are read like the others.
    pub(super) fn left_out_by_name(
        &self,
        file: usize,
        labels: &[usize],
        split: Option<&SplitColumns>,
    ) -> Option<String> {
        /// Values from which on a column says something else than yes and no.
        const SOME: usize = 4;
        let split = split.map(SplitColumns::columns).unwrap_or_default();
        let free = |column: &usize| *column != file && !labels.contains(column) && !split.contains(column);
        let called = |column: &usize| self.header_name(*column).is_some_and(names::says_left_out);
        let different =
            |column: usize| -> BTreeSet<&str> { self.rows().iter().map(|row| row.cell(column)).collect() };
        let column =
            (0..self.sheet.width()).filter(|column| free(column) && called(column)).find(|column| {
                let values = different(*column);
                let name = self.header_name(*column).unwrap_or_default();
                (2..=SOME).contains(&values.len()) && names::say_left_out(name, values.into_iter())
            })?;
        let values: Vec<String> =
            different(column).into_iter().map(|value| format!("\"{}\"", shortened(value))).collect();
        Some(format!(
            "warning: the column {} of {} is not read: rows with {} in it are used alike; take out those that are not to be used",
            self.name(column),
            self.sheet.name(),
            values.join(", ")
        ))
    }

    /// The warning that the only column left is hardly one of labels, by its name, or by that of the column of groups.
    pub(super) fn hardly_labels(&self, only: usize, group: Option<usize>) -> Option<String> {
        let header = self.header_name(only).unwrap_or_default();
        // Whoever has a table of files and persons learns to tell persons.
        let is_group = names::group_rank(header).is_some();
        if is_group && self.sheet.width() == 2 && self.comes_again(only) {
            return None;
        }
        let says = if is_group {
            "by its name it says which images belong together, and not what they show".to_owned()
        } else if names::says_something_else(header, self.begins_with_digits(only)) {
            "by its name it may say something else of the images than what is to be learned".to_owned()
        } else {
            let is_label = |column: &usize| {
                let named = |column| self.header_name(column).is_some_and(names::is_label);
                named(*column) && !named(only)
            };
            let group = group.filter(is_label)?;
            format!("the column {}, whose name says labels, is asked for as that of groups", self.name(group))
        };
        Some(format!(
            "warning: the labels of {} are in the column {}, the only one left beside that of the files; {says}",
            self.sheet.name(),
            self.name(only)
        ))
    }

    /// Whether most cells of a column begin as numbers do.
    pub(super) fn begins_with_digits(&self, column: usize) -> bool {
        let begins = |row: &&Row| {
            row.cell(column).trim_start_matches(['-', '+']).starts_with(|first: char| first.is_ascii_digit())
        };
        2 * self.rows().iter().filter(begins).count() > self.rows().len()
    }

    /// The warning that another column is called as one of corrected labels, and says others.
    pub(super) fn corrections(&self, label: usize, candidates: &[usize]) -> Option<String> {
        let says_correction = |column: usize| self.header_name(column).is_some_and(names::says_correction);
        let other = candidates.iter().copied().find(|&column| column != label && says_correction(column))?;
        let differs = |row: &&Row| !row.cell(other).is_empty() && row.cell(other) != row.cell(label);
        let rows = self.rows().iter().filter(differs).count();
        (rows > 0).then(|| {
            format!(
                "warning: the column {} of {} says other labels than {} in {} of {} rows, and is not used; to use it: \
                 `label_columns`",
                self.name(other),
                self.sheet.name(),
                self.name(label),
                count(rows),
                count(self.rows().len())
            )
        })
    }

    /// The warning that a value of the labels comes with several of a column around it: `alba` of Quercus and of Alnus.
    pub(super) fn of_several(&self, label: usize, candidates: &[usize]) -> Option<String> {
        let inner = self.header_name(label)?;
        let is_around = |column: &usize| {
            *column != label && self.header_name(*column).is_some_and(|outer| names::is_around(outer, inner))
        };
        let outer = candidates.iter().copied().find(is_around)?;
        let mut found: HashMap<&str, &str> = HashMap::new();
        let other = self.rows().iter().find(|row| {
            let (value, around) = (row.cell(label), row.cell(outer));
            !value.is_empty() && *found.entry(value).or_insert(around) != around
        })?;
        let value = other.cell(label);
        Some(format!(
            "warning: \"{value}\" in the column {} of {} comes with several values of {}, such as \"{}\" and \"{}\", and is one \
             class: where these are different ones, put both columns into one",
            self.name(label),
            self.sheet.name(),
            self.name(outer),
            found[value],
            other.cell(outer)
        ))
    }

    /// The warning that a spreadsheet has made dates of some labels: `09-Mar` of `3-9`.
    pub(super) fn dates_among(&self, label: usize) -> Option<String> {
        const MONTHS: [&str; 16] = [
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mrz", "mai",
            "okt", "dez",
        ];
        let parts = |cell: &'_ str| -> Option<(String, String)> {
            let (one, other) = cell.split_once(['-', '.'])?;
            Some((one.trim().to_lowercase(), other.trim().to_lowercase()))
        };
        let is_number = |text: &str| text.len() <= 2 && is_digits(text);
        let is_date = |cell: &str| {
            parts(cell).is_some_and(|(one, other)| {
                is_number(&one) && MONTHS.contains(&&*other) || MONTHS.contains(&&*one) && is_number(&other)
            })
        };
        let is_range =
            |cell: &str| parts(cell).is_some_and(|(one, other)| is_number(&one) && is_number(&other));
        let cells: BTreeSet<&str> = self.rows().iter().map(|row| row.cell(label)).collect();
        let (date, range) =
            (cells.iter().find(|cell| is_date(cell))?, cells.iter().find(|cell| is_range(cell))?);
        Some(format!(
            "warning: labels of {} look like dates, such as \"{date}\", and others like ranges, such as \"{range}\": a \
             spreadsheet may have changed them",
            self.sheet.name()
        ))
    }

    /// The warning that all columns but one have a single 1 in each row, so that the one is hardly a class: a sum, a remark.
    pub(super) fn beside_one_hot(&self, columns: &[usize]) -> Option<String> {
        const FEWEST: usize = 5;
        if columns.len() < 4
            || columns.len() > SOME_COLUMNS
            || self.rows().len() < FEWEST
            || self.are_one_hot(columns)
        {
            return None;
        }
        let without = |column: usize| -> Vec<usize> {
            columns.iter().copied().filter(|other| *other != column).collect()
        };
        let mut odd = columns.iter().copied().filter(|&column| self.are_one_hot(&without(column)));
        let only = odd.next().filter(|_| odd.next().is_none())?;
        Some(format!(
            "warning: all columns of classes in {} but {} have a single 1 in each row, so that {} may be none: then name the \
             others (`label_columns`)",
            self.sheet.name(),
            self.name(only),
            self.name(only)
        ))
    }
}

/// Whether a column is empty but in the first row of each block, as merged cells of spreadsheets are saved.
pub(super) fn are_merged(rows: &[Row], column: usize) -> bool {
    /// Blocks from which on it is no chance.
    const FEW: usize = 2;
    let full: Vec<bool> = rows.iter().map(|row| !row.cell(column).is_empty()).collect();
    let blocks: Vec<&str> = rows.iter().map(|row| row.cell(column)).filter(|cell| !cell.is_empty()).collect();
    full.first() == Some(&true)
        && blocks.len() >= FEW
        && 2 * blocks.len() <= full.len()
        && !full.windows(2).any(|pair| pair == [true, true])
        // Two of one value would be merged as well; those of rows without a value follow one another by chance.
        && !blocks.windows(2).any(|pair| pair[0] == pair[1])
}
