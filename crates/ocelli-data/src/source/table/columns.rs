//! Which columns of a table hold the files, the labels, the side of the split and the group.

mod doubts;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::files::Finder;
use super::path_columns::PathColumns;
use super::rows::binary;
use super::sheet::{Row, Sheet, counts, ends_as_image};
use super::sides::{SplitColumns, flag, odd_values};
use super::{Column, TableOptions, names, table_error};
use crate::DataError;
use crate::source::role::{Role, said_role};
use crate::text::count;

/// So many rows tell which column holds files.
const SOME_ROWS: usize = 500;
/// From so many different files on a column is one that may hold files.
const FEW: usize = 5;
/// So many columns are named to people.
const SOME_COLUMNS: usize = 12;

/// Columns, by their indices.
pub(super) struct Columns {
    pub file: usize,
    /// One column of labels, or a column of 0 and 1 for each class.
    pub labels: Vec<usize>,
    pub split: Option<SplitColumns>,
    pub group: Option<usize>,
    /// A column that is called as one of groups, and not asked for.
    pub unused_group: Option<usize>,
}

/// A table whose columns are looked for.
pub(super) struct Search<'a> {
    pub sheet: &'a Sheet,
    pub options: &'a TableOptions,
    pub finder: &'a Finder,
    /// The names of the columns, where the table has them.
    pub header: Option<&'a [String]>,
    /// The columns that make the paths of the files, where they are two.
    pub path_columns: Option<PathColumns>,
}

impl Search<'_> {
    /// The rows that are certainly no header.
    fn rows(&self) -> &[Row] {
        let may_be_names = self.header.is_none() && self.sheet.rows.len() > 1;
        &self.sheet.rows[usize::from(may_be_names)..]
    }

    /// A column's name, or its number from 1.
    fn name(&self, column: usize) -> String {
        match self.header.and_then(|header| header.get(column)).filter(|name| !name.is_empty()) {
            Some(name) => format!("\"{name}\""),
            None => format!("number {}", column + 1),
        }
    }

    fn header_name(&self, column: usize) -> Option<&str> {
        self.header?.get(column).map(String::as_str)
    }

    /// All columns, for people.
    fn all(&self) -> String {
        list(self.header.map_or_else(
            || (1..=self.sheet.width()).map(|number| number.to_string()).collect(),
            |header| {
                header
                    .iter()
                    .map(|name| if name.is_empty() { "(no name)".to_owned() } else { name.clone() })
                    .collect()
            },
        ))
    }

    /// The column that was asked for.
    pub(super) fn stated(&self, column: &Column) -> Result<usize, DataError> {
        let width = self.sheet.width();
        let names = self.header.unwrap_or_default();
        let found = match column {
            Column::Index(index) => Some(*index).filter(|index| *index < width),
            Column::Name(name) => {
                let mut all = names.iter().enumerate().filter(|(_, other)| *other == name);
                let first = all.next().map(|(column, _)| column);
                if let (Some(_), Some(_)) = (first, all.next()) {
                    let detail = format!("has several columns called \"{name}\"");
                    return Err(self.error(detail, "give the column's number"));
                }
                // As people type it, where only one can be meant.
                first.or_else(|| {
                    let mut alike =
                        names.iter().enumerate().filter(|(_, other)| other.eq_ignore_ascii_case(name));
                    alike.next().map(|(column, _)| column).filter(|_| alike.next().is_none())
                })
            }
        };
        found.ok_or_else(|| {
            let (stated, has) = match column {
                Column::Index(index) => (format!("number {}", index + 1), format!("{width} columns")),
                Column::Name(name) => (format!("\"{name}\""), format!("the columns {}", self.all())),
            };
            self.error(format!("has {has}, but no column {stated}"), "name its columns")
        })
    }

    fn error(&self, detail: String, advice: &str) -> DataError {
        table_error(&self.sheet.path, None, detail, advice)
    }

    /// The column whose cells are most different files; of equal ones that with the plainest name.
    pub(super) fn file(&self, notices: &mut Vec<String>) -> Result<usize, DataError> {
        if let Some(column) = &self.options.id_column {
            return self.stated(column);
        }
        let rows = self.rows();
        let suffix = self.options.suffix.as_deref();
        let step = rows.len().div_ceil(SOME_ROWS).max(1);
        let rank = |column| self.header_name(column).and_then(names::file_rank).unwrap_or(usize::MAX);
        let hits = |step: usize| -> Vec<usize> {
            let hit =
                |column| self.finder.hits(rows.iter().step_by(step).map(|row| row.cell(column)), suffix);
            (0..self.sheet.width()).map(hit).collect()
        };
        let mut found = hits(step);
        if step > 1 && found.iter().all(|&hits| hits == 0) {
            found = hits(1);
        }
        let most = found.iter().copied().max().unwrap_or(0);
        let sampled = || rows.iter().step_by(step);
        // Whether nearly all values of a column are files, however often each comes.
        let are_files = |column: usize| {
            let different: HashSet<&str> =
                sampled().map(|row| row.cell(column)).filter(|cell| !cell.is_empty()).collect();
            found[column] > 0 && 10 * found[column] >= 9 * different.len()
        };
        // Names with their endings are surely those of files; numbers may be of anything.
        let has_endings = |column: usize| {
            (10 * found[column] >= 9 * most || are_files(column))
                && 2 * sampled().filter(|row| ends_as_image(row.cell(column))).count() > sampled().count()
        };
        // The last column may be that of whole paths.
        let is_joined = |column: usize| self.path_columns.is_some() && column + 1 == found.len();
        let says_image = |column: usize| {
            let is_called = self.header_name(column).is_some_and(names::says_image);
            are_files(column) && (is_called || is_joined(column))
        };
        let best = (0..found.len()).min_by_key(|&column| {
            let fewest = std::cmp::Reverse(found[column]);
            (!has_endings(column), !says_image(column), fewest, rank(column), column)
        });
        let column = best.unwrap_or(0);
        if most > 0 && !has_endings(column) {
            self.check_rivals(column, &found, step)?;
        }
        if column > 0 && found[column] > 0 {
            let sampled = rows.len().div_ceil(if found[column] > 0 { step } else { 1 });
            notices.push(format!(
                "the files of {} are in the column {}: {} of {} sampled rows name different files there",
                self.sheet.name(),
                self.name(column),
                count(found[column]),
                count(sampled)
            ));
        }
        // Another column of files: of other ones, if both together name more.
        let others = (0..found.len())
            .filter(|&other| other != column && 2 * found[other] > found[column] && !counts(rows, other));
        for other in others {
            let cells = rows.iter().step_by(step).flat_map(|row| [row.cell(column), row.cell(other)]);
            if self.finder.hits(cells, suffix) > found[column] {
                notices.push(format!(
                    "warning: the columns {} and {} of {} name different files; those of {} are read (to choose: `id_column`)",
                    self.name(column),
                    self.name(other),
                    self.sheet.name(),
                    self.name(column)
                ));
            }
        }
        Ok(column)
    }

    /// Refuses to choose between two columns of numbers that name different files in the same rows, unless one is called
    /// by a plainer name, or numbers the rows.
    fn check_rivals(&self, column: usize, found: &[usize], step: usize) -> Result<(), DataError> {
        let rows = self.rows();
        let plainly = |column| self.header_name(column).is_some_and(names::says_image);
        let rival = (0..found.len()).find(|&other| {
            let disagree = || {
                let differ = |row: &&Row| {
                    let [one, two] = [column, other].map(|column| row.cell(column).trim_start_matches('0'));
                    one != two
                };
                10 * rows.iter().step_by(step).filter(differ).count() > rows.iter().step_by(step).count()
            };
            other != column
                && 10 * found[other] >= 9 * found[column]
                && found[other] >= FEW
                && !counts(rows, other)
                && !self.header_name(other).is_some_and(names::is_label)
                && !plainly(column)
                && disagree()
        });
        match rival {
            None => Ok(()),
            Some(other) => Err(self.error(
                format!(
                    "names different files in the columns {} and {}",
                    self.name(column),
                    self.name(other)
                ),
                "name the column of the files (`id_column`)",
            )),
        }
    }

    /// All other columns, when that of the files is known.
    pub(super) fn find(&self, file: usize, notices: &mut Vec<String>) -> Result<Columns, DataError> {
        let group = self.options.group_column.as_ref().map(|column| self.stated(column)).transpose()?;
        let stated: Vec<usize> =
            self.options.label_columns.iter().map(|column| self.stated(column)).collect::<Result<_, _>>()?;
        let split = match &self.options.split_column {
            Some(column) if self.is_none(column) => None,
            Some(column) => Some(self.stated_split(self.stated(column)?)?),
            None => self.split(file, &stated, notices)?,
        };
        if stated.len() > 1 {
            self.check_binary(&stated)?;
        }
        let labels = match stated.is_empty() {
            false => stated,
            true => self.labels(file, split.as_ref(), group, notices)?,
        };
        for (column, what) in
            labels.iter().map(|column| (*column, "labels")).chain(group.map(|group| (group, "groups")))
        {
            if self.header.is_some() && doubts::are_merged(self.rows(), column) {
                // Who names the column knows what is in it.
                match self.options.label_columns.is_empty() || what == "groups" {
                    true => return Err(self.merged(column, what)),
                    false => {
                        let table = self.sheet.name();
                        notices.push(format!("warning: {table} {}", self.says_merged(column, what)));
                    }
                }
            }
        }
        if let [label] = labels[..] {
            notices.extend(self.dates_among(label));
        }
        notices.extend(self.left_out_by_name(file, &labels, split.as_ref()));
        let unused_group = if group.is_some() { None } else { self.unused_group(file, &labels) };
        if group.is_none() {
            notices.extend(self.merged_groups(file, &labels));
        }
        Ok(Columns { file, labels, split, group, unused_group })
    }

    /// Whether what is given as a column says that there is none.
    fn is_none(&self, column: &Column) -> bool {
        let called = |names: &[String]| names.iter().any(|name| name == "none");
        matches!(column, Column::Name(name) if name == "none") && !self.header.is_some_and(called)
    }

    /// Refuses a column of 0 and 1 that is called `valid` or `test`, and may as well say which images are sound, or
    /// how a test turned out: it would hold out half of the images or more.
    fn check_held_out(&self, column: usize, asked: &names::Asked) -> Result<(), DataError> {
        let (role, rows) = (asked.role, self.rows());
        let held_out = rows.iter().filter(|row| flag(row.cell(column)) == Some(true)).count();
        let most = rows.len() + usize::from(asked.sure);
        if role == Role::Train || asked.sure && role == Role::Test || 2 * held_out < most {
            return Ok(());
        }
        let name = self.name(column);
        let detail = format!(
            "has the column {name}, which is 1 in {} of {} rows: it is not clear whether these are the {} images, or \
             what else it says",
            count(held_out),
            count(rows.len()),
            role.purpose()
        );
        let bare = self.header_name(column).unwrap_or_default();
        let advice = format!(
            "if they are, name it as the column of the split (`split_column` {bare}); if it is none: `split_column` none"
        );
        Err(self.error(detail, &advice))
    }

    /// The columns that are called as those of groups, with how plainly, in their order.
    fn called_groups(&self, file: usize, labels: &[usize]) -> Vec<(usize, usize)> {
        let free = |column: &usize| *column != file && !labels.contains(column);
        let rank = |column: usize| Some((self.header_name(column).and_then(names::group_rank)?, column));
        (0..self.sheet.width()).filter(free).filter_map(rank).collect()
    }

    /// The column whose name and cells say which images belong together.
    fn unused_group(&self, file: usize, labels: &[usize]) -> Option<usize> {
        let recurs = |column: &usize| may_be_groups(self.rows().iter().map(|row| row.cell(*column)));
        let mut called = self.called_groups(file, labels);
        called.sort_unstable();
        called.into_iter().map(|(_, column)| column).find(recurs)
    }

    /// The column of the split that was asked for.
    fn stated_split(&self, column: usize) -> Result<SplitColumns, DataError> {
        let name = self.header_name(column).unwrap_or_default();
        let role = names::asked_role(name).map_or(Role::Valid, |asked| asked.role);
        let cells = Cells::of(self.rows(), column);
        let split = match cells.flags > cells.words {
            true => SplitColumns::Flags(vec![(column, role)]),
            false => SplitColumns::Words(column),
        };
        self.check_split(split)
    }

    /// The columns that give the split. A column is taken for one
    /// - if it says nothing but train, valid and test, and is called the split or says two of them at least;
    /// - if it is called as a question (`is_test`, `valid`), and says yes and no.
    ///
    /// One that does so but for some rows is an error: these would be trained on or held out at random.
    fn split(
        &self,
        file: usize,
        labels: &[usize],
        notices: &mut Vec<String>,
    ) -> Result<Option<SplitColumns>, DataError> {
        let rows = self.rows();
        let group = self.options.group_column.as_ref().and_then(|column| self.stated(column).ok());
        let free = |column: &usize| *column != file && !labels.contains(column) && group != Some(*column);
        let name = |column: usize| self.header_name(column).unwrap_or_default();
        let columns: Vec<usize> = (0..self.sheet.width()).filter(free).collect();
        let in_words = columns.iter().copied().find(|&column| {
            let some = rows.iter().take(SOME_ROWS).any(|row| said_role(row.cell(column)).is_some());
            if !some {
                return false;
            }
            let cells = Cells::of(rows, column);
            let is_called = names::is_split(name(column)) || names::asked_role(name(column)).is_some();
            match is_called {
                true => cells.words > cells.flags,
                // A few odd rows do not make it another column, and a class called "train" does not make it one.
                false => cells.roles > 1 && 10 * cells.words >= 9 * rows.len(),
            }
        });
        if let Some(column) = in_words {
            let split = self.check_split(SplitColumns::Words(column))?;
            let sides: BTreeSet<String> = rows.iter().map(|row| row.cell(column).to_lowercase()).collect();
            notices.push(format!(
                "the column {} of {} gives the split: {}",
                self.name(column),
                self.sheet.name(),
                sides.into_iter().collect::<Vec<_>>().join(", ")
            ));
            return Ok(Some(split));
        }
        let mut flags: Vec<(usize, Role)> = Vec::new();
        for &column in &columns {
            let Some(asked) = names::asked_role(name(column)) else { continue };
            let cells = Cells::of(rows, column);
            let answers =
                2 * cells.flags >= rows.len() || asked.sure && cells.flags > 0 || cells.empty_is_no();
            let is_flag = match asked.sure {
                true => answers,
                // In a table of classes with a column each, a class may be called so: a train, a test.
                false => answers && cells.both && !self.may_be_class(column, file, labels),
            };
            if is_flag && !flags.iter().any(|(_, role)| *role == asked.role) {
                self.check_held_out(column, &asked)?;
                flags.push((column, asked.role));
            } else if is_flag || asked.sure {
                notices.push(self.ignored(column));
            }
        }
        if flags.is_empty() {
            // What is called so, and is not followed, must not pass unnoticed.
            let is_one = |column: &usize| {
                let cells = Cells::of(rows, *column);
                let says_some = names::says_split(name(*column)) || cells.words > 0;
                names::is_split(name(*column)) && says_some
                    || cells.roles > 1 && 2 * cells.words >= rows.len()
            };
            let called = columns.into_iter().find(is_one);
            notices.extend(called.map(|column| self.ignored(column)));
            return Ok(None);
        }
        let split = self.check_split(SplitColumns::Flags(flags))?;
        if let SplitColumns::Flags(flags) = &split {
            let named = flags.iter().map(|(column, _)| self.name(*column)).collect::<Vec<_>>().join(" and ");
            let columns = if flags.len() == 1 { "column" } else { "columns" };
            let mut said: Vec<String> = flags
                .iter()
                .map(|(column, role)| match flags.len() {
                    1 => format!("1 is {}", role.name()),
                    _ => format!("1 in {} is {}", self.name(*column), role.name()),
                })
                .collect();
            said.extend(split.otherwise().map(|role| format!("0 is {}", role.name())));
            let give = if flags.len() == 1 { "gives" } else { "give" };
            let (table, said) = (self.sheet.name(), said.join(", "));
            notices.push(format!("the {columns} {named} of {table} {give} the split: {said}"));
        }
        Ok(Some(split))
    }

    /// Whether a column of 0 and 1 stands among others, so that each may be a class.
    fn may_be_class(&self, column: usize, file: usize, labels: &[usize]) -> bool {
        let others = (0..self.sheet.width()).filter(|&other| {
            let asks = self.header_name(other).is_some_and(|name| names::asked_role(name).is_some());
            other != file && other != column && !asks && !counts(self.rows(), other)
        });
        match labels {
            [] => others
                .into_iter()
                .all(|other| self.is_binary(other) && !self.header_name(other).is_some_and(names::is_label)),
            labels => labels.len() > 1,
        }
    }

    /// That the column of a split is not followed.
    fn ignored(&self, column: usize) -> String {
        let row = self.rows().first();
        let odd = row.map_or(String::new(), |row| match row.cell(column) {
            "" => format!("row {} is empty", row.line),
            text => format!("row {} is \"{}\"", row.line, super::sheet::shortened(text)),
        });
        format!(
            "warning: the column {} of {} is ignored: {odd}, where each row of a split is train, valid (val, \
             validation, dev) or test; its rows are trained on or held out regardless of it",
            self.name(column),
            self.sheet.name()
        )
    }

    /// The columns again, if every row says its role.
    fn check_split(&self, split: SplitColumns) -> Result<SplitColumns, DataError> {
        // An empty cell says no beside cells that say yes, and nothing beside those that say no.
        let silent: Vec<usize> = match &split {
            SplitColumns::Words(_) => Vec::new(),
            flags => {
                let says_no = |cell: &str| !cell.is_empty() && flag(cell) == Some(false);
                let says_no = |column: &usize| self.rows().iter().any(|row| says_no(row.cell(*column)));
                flags.columns().into_iter().filter(says_no).collect()
            }
        };
        let odd = |row: &Row| {
            let silent = silent.iter().copied().find(|column| row.cell(*column).is_empty());
            silent.or(split.role(row).err())
        };
        let odd: Vec<(&Row, usize)> = self.rows().iter().filter_map(|row| Some((row, odd(row)?))).collect();
        let Some(&(first, column)) = odd.first() else { return Ok(split) };
        let of_column = odd.iter().filter(|(_, other)| *other == column);
        let values = odd_values(of_column.map(|(row, _)| (row.line, row.cell(column))));
        let expected = match &split {
            SplitColumns::Words(_) => "train, valid or test".to_owned(),
            SplitColumns::Flags(flags) if flags.len() > 1 => {
                "1 in one of the columns of the split, and 0 in the others".to_owned()
            }
            SplitColumns::Flags(_) => "1 or 0 (or train, valid or test in all rows)".to_owned(),
        };
        let detail = format!(
            "does not say its side of the split: {} of {} rows have other values than {expected} in the column {}: {values}",
            count(odd.len()),
            count(self.rows().len()),
            self.name(column)
        );
        let advice = "correct these rows or take them out; or rename the column, if it is not of a split";
        Err(table_error(&self.sheet.path, Some(first.line), detail, advice))
    }

    /// The columns that may hold labels: all others that are not empty.
    fn candidates(&self, taken: &[usize], notices: &mut Vec<String>) -> Vec<usize> {
        let (name, rows) = (self.sheet.name(), self.rows());
        let mut candidates: Vec<usize> =
            (0..self.sheet.width()).filter(|column| !taken.contains(column)).collect();
        // An index numbers the rows and has no name of its own; columns without any cell come from commas at
        // the end.
        let index = |&column: &usize| {
            counts(rows, column)
                && self.header_name(column).is_none_or(names::is_index)
                && candidates.len() > 1
        };
        let indices: Vec<usize> = candidates.iter().copied().filter(index).collect();
        if let Some(&column) = indices.first() {
            notices.push(format!(
                "the column {} of {name} numbers its rows ({}, {}, …) and is left out",
                self.name(column),
                rows[0].cell(column),
                rows[1].cell(column)
            ));
        }
        candidates.retain(|column| !indices.contains(column));
        let used = |column: &usize| {
            self.header_name(*column).is_some_and(|name| !name.is_empty())
                || rows.iter().any(|row| !row.cell(*column).is_empty())
        };
        candidates.retain(used);
        candidates
    }

    fn labels(
        &self,
        file: usize,
        split: Option<&SplitColumns>,
        group: Option<usize>,
        notices: &mut Vec<String>,
    ) -> Result<Vec<usize>, DataError> {
        let (name, rows) = (self.sheet.name(), self.rows());
        if self.header.is_some_and(names::are_predictions) {
            let detail = format!("has the columns of predictions ({}), and no labels", self.all());
            let advice =
                "give a table of labels; if these are to be taken for labels, say so (`label_columns`)";
            return Err(self.error(detail, advice));
        }
        let mut taken = vec![file];
        taken.extend(group);
        taken.extend(split.into_iter().flat_map(SplitColumns::columns));
        taken.extend(self.path_columns.map(|columns| columns.name));
        let mut candidates = self.candidates(&taken, notices);
        // The folder of a path may be its class.
        if let Some(PathColumns { folder, .. }) = self.path_columns
            && !self.header_name(folder).is_some_and(names::is_label)
            && candidates.len() > 1
        {
            let is_folder = |row: &Row, column: usize| row.cell(column) == row.cell(folder);
            candidates.retain(|&column| !rows.iter().all(|row| is_folder(row, column)));
        }
        match candidates[..] {
            [] => {
                let detail = format!("has no column of labels beside that of the files ({})", self.all());
                let advice =
                    "separate its columns by commas, tabs, semicolons or |, and give it a column of labels";
                return Err(self.error(detail, advice));
            }
            [only] if self.header_name(only).is_some_and(names::says_predicted) => {
                let detail =
                    format!("has the column {}, of predictions by its name, and no labels", self.name(only));
                let advice =
                    "give a table of labels; if these are to be taken for labels, say so (`label_columns`)";
                return Err(self.error(detail, advice));
            }
            [only] => {
                notices.extend(self.hardly_labels(only, group));
                return Ok(vec![only]);
            }
            _ => {}
        }
        let of = format!("of {name} ({})", self.all());
        let mut named: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|&column| self.header_name(column).is_some_and(names::is_label))
            .collect();
        // A place in an image is none, and what is different in each row says no class.
        let may_be = |column: &usize| {
            let has_x = || self.header.is_some_and(|header| header.iter().any(|name| name == "x"));
            let is_place = self.header_name(*column) == Some("y") && has_x();
            !is_place && !self.all_differ(*column)
        };
        if named.len() > 1 {
            let left: Vec<usize> = named.iter().copied().filter(may_be).collect();
            named = if left.is_empty() { named } else { left };
        }
        match named[..] {
            [column] => {
                notices.push(format!("the labels {of} are in the column {}, by its name", self.name(column)));
                notices.extend(self.corrections(column, &candidates));
                notices.extend(self.of_several(column, &candidates));
                return Ok(vec![column]);
            }
            [first, ..] if named.iter().all(|&other| self.says_the_same(first, other)) => {
                let is_number =
                    |column: &usize| rows.iter().all(|row| row.cell(*column).parse::<f64>().is_ok());
                let column = named.iter().copied().find(|column| !is_number(column)).unwrap_or(first);
                let all = list(named.iter().map(|&column| self.name(column)).collect());
                notices.push(format!(
                    "the labels {of} are in the column {}; {all} divide the rows alike",
                    self.name(column)
                ));
                return Ok(vec![column]);
            }
            [] if self.header.is_some()
                && candidates.iter().all(|&column| self.is_binary(column))
                && self.remarks(&candidates).is_empty()
                && !self.say_the_same_thing(&candidates) =>
            {
                let row = rows.first().map_or(0, |row| row.line);
                let classes = list(candidates.iter().map(|&column| self.name(column)).collect());
                let minus = |row: &Row| candidates.iter().any(|&column| row.cell(column).starts_with('-'));
                let zero = if rows.iter().any(minus) { "-1" } else { "0" };
                notices.push(format!(
                    "{name} has a column for each of {} classes: row {row} and all others hold only {zero} and 1 in {classes}",
                    candidates.len()
                ));
                notices.extend(self.beside_one_hot(&candidates));
                return Ok(candidates);
            }
            [] if self.header.is_some() => {
                // Beside classes with a single 1 in each row, patients and remarks are none.
                let is_empty = |column: usize| rows.iter().all(|row| row.cell(column).is_empty());
                let remarks = self.remarks(&candidates);
                let (flags, others): (Vec<usize>, Vec<usize>) = candidates.iter().partition(|&&column| {
                    self.is_binary(column) && !remarks.contains(&column) && !is_empty(column)
                });
                let is_other = |column: &usize| {
                    let name = self.header_name(*column).unwrap_or_default();
                    is_empty(*column)
                        || remarks.contains(column)
                        || names::group_rank(name).is_some()
                        || names::says_something_else(name, true)
                };
                let are_classes = || self.are_one_hot(&flags) || !self.say_the_same_thing(&flags);
                if flags.len() > 2 && others.iter().all(is_other) && are_classes() {
                    let classes = list(flags.iter().map(|&column| self.name(column)).collect());
                    notices
                        .push(format!("{name} has a column for each of {} classes: {classes}", flags.len()));
                    return Ok(flags);
                }
                // What numbers the rows, or is different in each, says no class.
                let left: Vec<usize> = candidates
                    .iter()
                    .copied()
                    .filter(|&column| !self.all_differ(column) && !is_empty(column) && !counts(rows, column))
                    .collect();
                if let [only] = left[..]
                    && self.different(only) > 1
                    && self.comes_again(only)
                {
                    notices.push(format!(
                        "the labels {of} are in the column {}, the only one whose cells come again",
                        self.name(only)
                    ));
                    notices.extend(self.hardly_labels(only, group));
                    return Ok(vec![only]);
                }
            }
            _ => {}
        }
        let detail =
            format!("has the columns {}, and which of them holds the labels is not clear", self.all());
        Err(self.error(
            detail,
            "name that column, or the columns of 0 and 1 that stand for a class each (`label_columns`)",
        ))
    }

    /// Whether the cells of a column are different in each of many rows.
    fn all_differ(&self, column: usize) -> bool {
        const MANY: usize = 10;
        self.rows().len() >= MANY && self.different(column) == self.rows().len()
    }

    /// Whether each cell of a column is that of several rows, on average.
    fn comes_again(&self, column: usize) -> bool {
        const FEWEST_ROWS: usize = 3;
        self.rows().len() >= FEWEST_ROWS * self.different(column)
    }

    fn different(&self, column: usize) -> usize {
        self.rows().iter().map(|row| row.cell(column)).collect::<HashSet<_>>().len()
    }

    /// Those of these columns that have marks in some rows, as remarks have, where others are of 0 and 1 in each row.
    fn remarks(&self, columns: &[usize]) -> HashSet<usize> {
        let is_full = |column: usize| self.rows().iter().all(|row| !row.cell(column).is_empty());
        let (full, others): (Vec<usize>, Vec<usize>) = columns.iter().partition(|column| is_full(**column));
        match full.len() {
            0 | 1 => HashSet::new(),
            _ => others.into_iter().filter(|&column| self.has_marks(column)).collect(),
        }
    }

    /// Whether columns of 0 and 1 are hardly classes, but judgements of one: by their names, or since two of them have 1
    /// mostly in the same rows.
    fn say_the_same_thing(&self, columns: &[usize]) -> bool {
        /// Rows with 1 from which on they tell.
        const FEW: usize = 10;
        let ones = |column: usize| -> HashSet<usize> {
            let rows = self.rows().iter().enumerate();
            rows.filter(|(_, row)| binary(row.cell(column)) == Some(true)).map(|(index, _)| index).collect()
        };
        if columns.iter().any(|&column| self.header_name(column).is_some_and(names::is_judgement)) {
            return true;
        }
        // Of many columns, those of classes are sure, and comparing all takes long.
        if columns.len() > SOME_COLUMNS {
            return false;
        }
        let ones: Vec<HashSet<usize>> = columns.iter().map(|&column| ones(column)).collect();
        ones.iter().enumerate().any(|(index, one)| {
            ones[index + 1..].iter().any(|other| {
                let both = one.intersection(other).count();
                both >= FEW && 10 * both >= 7 * one.union(other).count()
            })
        })
    }

    /// Whether values of one column go with values of the other, one to one.
    fn says_the_same(&self, one: usize, other: usize) -> bool {
        let (mut forth, mut back) = (HashMap::new(), HashMap::new());
        self.rows().iter().all(|row| {
            let (a, b) = (row.cell(one), row.cell(other));
            *forth.entry(a).or_insert(b) == b && *back.entry(b).or_insert(a) == a
        })
    }

    fn is_binary(&self, column: usize) -> bool {
        let rows = self.rows();
        let are_flags = rows.iter().all(|row| binary(row.cell(column)).is_some());
        (are_flags || self.has_marks(column)) && self.third_value(column).is_none()
    }

    /// Whether a column has a mark in some rows, and is empty in the others, as people fill in tables.
    fn has_marks(&self, column: usize) -> bool {
        let cells = || self.rows().iter().map(|row| row.cell(column));
        cells().any(|cell| !cell.is_empty())
            && cells().all(|cell| cell.is_empty() || binary(cell) == Some(true))
    }

    /// How many of these columns say yes in a row.
    fn said_yes(row: &Row, columns: &[usize]) -> usize {
        columns.iter().filter(|&&column| binary(row.cell(column)) == Some(true)).count()
    }

    /// Whether each row says yes in exactly one of several columns.
    fn are_one_hot(&self, columns: &[usize]) -> bool {
        columns.len() > 1 && self.rows().iter().all(|row| Self::said_yes(row, columns) == 1)
    }

    /// A row with -1 in a column that has 0 too: it says neither yes nor no, as in CheXpert.
    fn third_value(&self, column: usize) -> Option<&Row> {
        let is = |row: &&Row, value: f64| row.cell(column).parse() == Ok(value);
        let minus = self.rows().iter().find(|row| is(row, -1.0))?;
        self.rows().iter().any(|row| is(&row, 0.0)).then_some(minus)
    }

    fn check_binary(&self, columns: &[usize]) -> Result<(), DataError> {
        let wrong = |detail: String, row: Option<u64>| {
            let advice = "give columns of 0 and 1 with the names of classes, or one column of labels";
            Err(table_error(&self.sheet.path, row, detail, advice))
        };
        if self.header.is_none() {
            return wrong("does not name its columns, so there are no names of classes".to_owned(), None);
        }
        if columns.iter().collect::<HashSet<_>>().len() < columns.len() {
            return wrong("is given one column of labels twice".to_owned(), None);
        }
        for &column in columns {
            if let Some(row) = self.third_value(column) {
                let (cell, name) = (row.cell(column), self.name(column));
                let detail =
                    format!("holds \"{cell}\" in the column {name}, beside 0 and 1, and could mean either");
                return wrong(detail, Some(row.line));
            }
        }
        let marked: HashSet<usize> =
            columns.iter().copied().filter(|&column| self.has_marks(column)).collect();
        for row in self.rows() {
            let is_odd = |column: &&usize| {
                let cell = row.cell(**column);
                binary(cell).is_none() && !(cell.is_empty() && marked.contains(*column))
            };
            if let Some(&column) = columns.iter().find(is_odd) {
                let cell = super::sheet::shortened(row.cell(column));
                let detail = format!("holds \"{cell}\" in the column {}; expected 0 or 1", self.name(column));
                return wrong(detail, Some(row.line));
            }
        }
        Ok(())
    }
}

/// Whether cells may say which images belong together: some come again, but they are no yes and no, nor a few kinds of many
/// images.
pub(super) fn may_be_groups<'a>(cells: impl Iterator<Item = &'a str>) -> bool {
    const FEW: usize = 3;
    const MANY_IMAGES: usize = 10;
    let cells: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
    let different: HashSet<&str> = cells.iter().copied().collect();
    let are_kinds = different.len() <= FEW && cells.len() > MANY_IMAGES * different.len();
    let are_flags = different.iter().all(|cell| flag(cell).is_some());
    different.len() > 1 && different.len() < cells.len() && !are_flags && !are_kinds
}

/// How many cells of a column say what.
struct Cells {
    /// Yes or no.
    flags: usize,
    /// The role of a row, in words.
    words: usize,
    /// Different roles.
    roles: usize,
    /// Whether yes and no are both said.
    both: bool,
    empty: usize,
    all: usize,
}

impl Cells {
    fn of(rows: &[Row], column: usize) -> Self {
        let cells = || rows.iter().map(|row| row.cell(column));
        let flags: Vec<bool> = cells().filter(|cell| !cell.is_empty()).filter_map(flag).collect();
        let roles: Vec<Role> = cells().filter_map(said_role).collect();
        let empty = cells().filter(|cell| cell.is_empty()).count();
        Cells {
            flags: flags.len(),
            words: roles.len(),
            roles: roles.iter().collect::<BTreeSet<_>>().len(),
            both: flags.contains(&true) && (flags.contains(&false) || empty > 0),
            empty,
            all: rows.len(),
        }
    }

    /// Whether all but the empty cells say yes.
    fn empty_is_no(&self) -> bool {
        self.flags > 0 && self.flags + self.empty == self.all
    }
}

fn list(names: Vec<String>) -> String {
    let more = names.len().saturating_sub(SOME_COLUMNS);
    let text = names.into_iter().take(SOME_COLUMNS).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}
