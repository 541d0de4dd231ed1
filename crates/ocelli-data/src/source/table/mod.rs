//! A table of labels: a row for each image, with its file, its class or classes, and possibly its side of the split.
//!
//! ```text
//! id,breed                          image_name,tags,split             file,cat,dog
//! 000bec18,boston_bull              photos/1.jpg,clear primary,train  1.jpg,1,0
//! 001cdf01,pekinese                 photos/2.jpg,haze water,valid     2.jpg,0,1
//! ```
//!
//! Commas, tabs, semicolons, `|` and spaces separate columns; JSON lines are read too. What is not stated is detected
//! and said in [`Dataset::notices`], with the rows that decided it: whether there is a header, which columns hold files
//! and labels, where the files are, what their names lack, what separates several labels, and the task; so is how many
//! rows could not be used. What is not clear is an error that says what to state. Rows are numbered as the lines of the
//! file, from 1.
//!
//! | file | what it knows |
//! |---|---|
//! | `names` | what people call columns and tables |
//! | `sheet` | bytes to rows of cells |
//! | `columns` | which column is which |
//! | `files` | which file a name means |
//! | `labels` | one label or several in a cell |
//! | `discover` | the table that lies in a folder of photos |

mod columns;
mod discover;
mod files;
mod labels;
mod names;
mod sheet;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use discover::{Tables, is_table, says_the_classes};
pub use files::{Finder, Found, Match};
pub use sheet::{Row, Sheet};

use super::{existing_folder, listing};
use crate::words::count;
use crate::{Classes, DataError, Dataset, Item, Items, Skipped, Split, Target, Task};
use columns::{Columns, Search};
use labels::{Cell, Reading};
use sheet::shortened;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// Counted from 0.
    Index(usize),
    /// By its name in the header.
    Name(String),
}

/// How to read a table; what is `None` or empty is detected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableOptions {
    /// The folder that holds the files. Detected: the table's own.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::path_text::option")]
    pub folder: Option<PathBuf>,
    /// What the ids lack to be file names: `.jpg`. Detected: nothing, or an image format's customary ending, each id by
    /// itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Whether the first row names the columns. Detected: it does if a column is given by name, if it has a name that
    /// columns usually have, or if its id is no file while other rows' are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The column of the files. Detected: the one whose cells are files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Column>,
    /// The column of the labels, or several columns of 0 and 1, named by a class each. Detected by their names, or
    /// because there is no other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label: Vec<Column>,
    /// The column that says train, valid or test (or true and false: whether a row is for validation). Detected if it
    /// is called so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Column>,
    /// The column of what images of one group share, such as the patient: given to [`Labelled::groups`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Column>,
    /// What separates several labels of one image. Detected: `|`, `;`, a comma or a space, or lists in brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<char>,
    /// Single- or multi-label. Detected: multi-label if more than half of what a separator leaves (of `|` and `;`: half)
    /// is in several different cells, so that "golden retriever" stays one class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Whether more than a tenth of the rows, or all of a class, may name files that do not exist.
    pub allow_missing: bool,
}

/// What a table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Images and their labels.
    pub dataset: Dataset,
    /// What separates several labels of one image, where the table shows it.
    pub label_separator: Option<char>,
    /// For each item what it shares with others of its group, if a column of it was asked for; `None` for an empty cell.
    pub groups: Option<Vec<Option<String>>>,
}

/// Reads a table of labels, or the one in a folder; no image is decoded. Items keep the order of the rows.
///
/// # Errors
/// Where it is no table, where what was not stated is not clear, where rows contradict each other, and where more than
/// a tenth of them name files that do not exist; with the row.
pub fn read(path: impl AsRef<Path>, options: &TableOptions) -> Result<Labelled, DataError> {
    let path = path.as_ref();
    let mut notices = Vec::new();
    let found;
    let path = if path.is_dir() {
        let tables = Tables::of(path);
        found = tables.one(path)?;
        notices.push(format!("the labels are those of {}{}", found.display(), tables.others()));
        &found
    } else {
        path
    };
    let mut sheet = Sheet::read(path)?;
    notices.append(&mut sheet.notices);
    if sheet.width() < 2 {
        let row = sheet.rows.get(1).or(sheet.rows.first());
        let (line, text) = row.map_or((1, ""), |row| (row.line, row.cell(0)));
        let detail = format!("has a single column; row {line} is \"{}\"", shortened(text));
        let advice = "give it a column of files and one of labels, apart by commas, tabs, semicolons or |";
        return Err(table_error(path, None, detail, advice));
    }
    let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = match &options.folder {
        Some(folder) => existing_folder(folder)?,
        None => beside.to_owned(),
    };
    let finder = Finder::new(&folder);
    let mut header = known_header(&mut sheet, options, &finder, &mut notices)?;
    let mut search = Search { sheet: &sheet, options, finder: &finder, header: header.as_deref() };
    let file = search.file(&mut notices)?;
    // A quote that was forgotten makes one cell of many rows.
    refuse_long_cells(&sheet, file)?;
    let names: Vec<&str> = sheet.rows.iter().map(|row| row.cell(file)).collect();
    let mut matches = finder.resolve(&names, options.suffix.as_deref(), &[beside.to_owned()]);
    if !matches.iter().any(|found| matches!(found, Match::Found(_))) {
        return Err(nothing_found(&sheet, file, header.is_none(), &folder, options, &matches));
    }
    if options.header.is_none() && header.is_none() && first_row_is_a_header(&sheet, file, &matches) {
        let row = sheet.rows.remove(0);
        matches.remove(0);
        notices.insert(
            0,
            format!(
                "row {} of {} names the columns ({}): there is no file {}",
                row.line,
                sheet.name(),
                row.cells.join(", "),
                folder.join(row.cell(file)).display()
            ),
        );
        header = Some(row.cells);
    }
    search = Search { sheet: &sheet, options, finder: &finder, header: header.as_deref() };
    let columns = search.find(file, &mut notices)?;
    for &column in &columns.labels {
        refuse_long_cells(&sheet, column)?;
    }
    let table = Table { sheet: &sheet, columns, header: header.as_deref(), options };
    table.read(&folder, matches, notices)
}

/// Takes the first row off if it is known to be a header.
fn known_header(
    sheet: &mut Sheet,
    options: &TableOptions,
    finder: &Finder,
    notices: &mut Vec<String>,
) -> Result<Option<Vec<String>>, DataError> {
    if let Some(names) = &sheet.names {
        return Ok(Some(names.clone()));
    }
    let by_name = |column: &Column| matches!(column, Column::Name(_));
    let single = [&options.id, &options.split, &options.group];
    let named = options.label.iter().chain(single.into_iter().flatten()).any(by_name);
    let is_header = match (options.header, named) {
        (Some(false), true) => {
            return Err(DataError::Setting {
                name: "header",
                value: "absent".to_owned(),
                expected: "present where columns are given by name",
            });
        }
        (Some(false), false) => false,
        (Some(true), _) | (None, true) => true,
        (None, false) => looks_like_a_header(sheet, finder),
    };
    if !is_header {
        return Ok(None);
    }
    let Row { line, cells: header, .. } = sheet.rows.remove(0);
    if options.header.is_none() && !named {
        notices.push(format!("row {line} of {} names the columns: {}", sheet.name(), header.join(", ")));
    }
    if sheet.rows.is_empty() {
        let advice = "give a table with a row for each image";
        return Err(table_error(&sheet.path, None, "has no rows but that of the columns' names", advice));
    }
    Ok(Some(header))
}

/// Whether the first row has the usual name of a column, which is neither a file nor comes again below.
fn looks_like_a_header(sheet: &Sheet, finder: &Finder) -> bool {
    let [first, rows @ ..] = &sheet.rows[..] else { return false };
    let known = first
        .cells
        .iter()
        .enumerate()
        .any(|(column, name)| names::is_known(name) && !rows.iter().any(|row| row.cell(column) == name));
    known && finder.hits(first.cells.iter().map(String::as_str), None) == 0
}

/// Whether the first id is no file; that others are is known when this is asked.
fn first_row_is_a_header(sheet: &Sheet, file: usize, matches: &[Match]) -> bool {
    let [first, rows @ ..] = &sheet.rows[..] else { return false };
    let recurs = |(column, cell): (usize, &String)| {
        // A label that occurs again is a label, whatever became of its file.
        column != file && !cell.is_empty() && rows.iter().any(|row| row.cell(column) == cell)
    };
    !rows.is_empty() && !matches!(matches[0], Match::Found(_)) && !first.cells.iter().enumerate().any(recurs)
}

/// An error where a cell of a column goes over several lines.
fn refuse_long_cells(sheet: &Sheet, column: usize) -> Result<(), DataError> {
    let long = |row: &Row| {
        row.long
            .iter()
            .find(|(long, _)| *long == column)
            .map(|(_, line)| (*line, row.cell(column).to_owned()))
    };
    match sheet.rows.iter().find_map(long) {
        None => Ok(()),
        Some((line, cell)) => {
            let lines = cell.lines().count().max(2);
            let detail = format!("opens a quote around {lines} lines, beginning with {}", shortened(&cell));
            let advice = "a name has no line breaks: close the quote in its row";
            Err(table_error(&sheet.path, Some(line), detail, advice))
        }
    }
}

/// Why no row names a file.
fn nothing_found(
    sheet: &Sheet,
    file: usize,
    may_have_header: bool,
    folder: &Path,
    options: &TableOptions,
    matches: &[Match],
) -> DataError {
    let place = usize::from(may_have_header && sheet.rows.len() > 1);
    let advice = "give the folder of the images, the column of the file names (`id`), or the suffix they lack (`suffix`)";
    for (row, found) in sheet.rows.iter().zip(matches).skip(place) {
        if let Match::Ambiguous(several) = found {
            return ambiguous(sheet, row, file, several);
        }
    }
    let Some(row) = sheet.rows.get(place) else {
        return table_error(&sheet.path, None, "names no file that exists", advice);
    };
    let name = format!("{}{}", row.cell(file), options.suffix.as_deref().unwrap_or_default());
    let why = match matches.get(place) {
        Some(Match::Missing(Some(why))) => format!(" ({why})"),
        _ => String::new(),
    };
    let detail = format!(
        "names no file that exists: there is no {}, nor another file of that name below {}; row {}{why}",
        shortened(&folder.join(name).display().to_string()),
        folder.display(),
        row.line
    );
    table_error(&sheet.path, None, detail, advice)
}

fn ambiguous(sheet: &Sheet, row: &Row, file: usize, several: &[String]) -> DataError {
    let detail = format!("names {}, which could be {}", shortened(row.cell(file)), several.join(" or "));
    let advice = "give the folder of the images, the suffix that names lack (`suffix`), or names in full";
    table_error(&sheet.path, Some(row.line), detail, advice)
}

/// A file of rows, whose columns are known.
struct Table<'a> {
    sheet: &'a Sheet,
    columns: Columns,
    header: Option<&'a [String]>,
    options: &'a TableOptions,
}

/// What is said and left out on the way.
struct Said {
    skipped: Vec<Skipped>,
    notices: Vec<String>,
}

/// A row whose file exists.
struct Entry {
    line: u64,
    id: String,
    path: PathBuf,
    /// The row's place in the sheet.
    row: usize,
    side: Option<Side>,
    group: Option<String>,
}

/// How labels stand in the rows.
enum Labels<'a> {
    /// In a cell.
    Cells(usize, Reading),
    /// In a column for each class.
    Columns(Vec<(usize, &'a str)>),
}

impl<'a> Labels<'a> {
    fn of(&'a self, row: &'a Row) -> BTreeSet<&'a str> {
        match self {
            Labels::Cells(column, reading) => reading.labels(row.cell(*column)),
            Labels::Columns(columns) => {
                let on = |(column, _): &&(usize, &'a str)| columns::binary(row.cell(*column)) == Some(true);
                columns.iter().filter(on).map(|(_, class)| *class).collect()
            }
        }
    }
}

impl Table<'_> {
    fn name(&self) -> String {
        self.sheet.name()
    }

    /// A column's name, or its number from 1.
    fn column_name(&self, column: usize) -> String {
        match self.header.and_then(|header| header.get(column)).filter(|name| !name.is_empty()) {
            Some(name) => format!("\"{name}\""),
            None => format!("number {}", column + 1),
        }
    }

    fn column_names(&self) -> String {
        (0..self.sheet.width()).map(|column| self.column_name(column)).collect::<Vec<_>>().join(", ")
    }

    fn error(&self, line: Option<u64>, detail: String, advice: &str) -> DataError {
        table_error(&self.sheet.path, line, detail, advice)
    }

    fn read(self, folder: &Path, matches: Vec<Match>, notices: Vec<String>) -> Result<Labelled, DataError> {
        let mut said = Said { skipped: Vec::new(), notices };
        let root = self.say_where(folder, &matches, &mut said.notices);
        let (entries, missing) = self.entries(folder, &root, matches, &mut said)?;
        let (labels, mut task) = self.labels(&entries, &mut said.notices)?;
        let lines =
            self.sheet.rows.iter().flat_map(|row| labels.of(row).into_iter().map(|label| (row.line, label)));
        labels::check_names(&self.sheet.path, lines)?;
        let entries = self.merge(entries, &labels, &mut task, &mut said)?;
        self.say_missing(&missing, &entries, &labels, &mut said.notices)?;
        self.dataset(root, entries, &labels, task, said)
    }

    /// The folder that ids are relative to; says how names lead to files.
    fn say_where(&self, folder: &Path, matches: &[Match], notices: &mut Vec<String>) -> PathBuf {
        let found: Vec<(&Row, &Found)> = (self.sheet.rows.iter().zip(matches))
            .filter_map(|(row, found)| match found {
                Match::Found(found) => Some((row, found)),
                _ => None,
            })
            .collect();
        let name = self.name();
        let file = self.columns.file;
        let example = |row: &Row, found: &Found| format!("row {}: {}", row.line, found.path.display());
        // One folder before all names is where the ids begin.
        let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
        found.iter().for_each(|(_, found)| *folders.entry(&found.folder).or_default() += 1);
        let common = match folders.iter().next() {
            Some((common, _)) if folders.len() == 1 && found.iter().all(|(_, found)| found.within) => *common,
            _ => "",
        };
        let root = if common.is_empty() { folder.to_owned() } else { folder.join(common) };
        let mut said = Vec::new();
        if !common.is_empty() {
            said.push(format!("the files of {name} are in {}", root.display()));
        } else if folders.len() > 1 {
            let names = folders.keys().map(|folder| if folder.is_empty() { "." } else { folder });
            let more = if folders.len() > 3 { ", …" } else { "" };
            said.push(format!(
                "the files of {name} are in {} folders of {}: {}{more}",
                count(folders.len()),
                folder.display(),
                names.take(3).collect::<Vec<_>>().join(", ")
            ));
        }
        let mut endings: BTreeMap<&str, usize> = BTreeMap::new();
        found
            .iter()
            .filter(|(_, found)| !found.ending.is_empty())
            .for_each(|(_, found)| *endings.entry(&found.ending).or_default() += 1);
        if self.options.suffix.is_none() && !endings.is_empty() {
            let lacking = match endings.iter().next() {
                Some((ending, _)) if endings.len() == 1 => format!("\"{ending}\""),
                _ => endings
                    .iter()
                    .map(|(ending, names)| format!("\"{ending}\" ({})", count(*names)))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            said.push(format!("the ids of {name} lack {lacking} to be file names"));
        }
        if let (false, Some((row, found))) = (said.is_empty(), found.first()) {
            notices.push(format!("{} ({})", said.join(", and "), example(row, found)));
        }
        let mut ways = |what: &str, wanted: &dyn Fn(&Row, &Found) -> bool| {
            let mut such = found.iter().filter(|(row, found)| wanted(row, found));
            if let Some((row, found)) = such.next() {
                let rows = count(1 + such.count());
                let given = shortened(row.cell(file));
                notices.push(format!(
                    "{rows} names in {name} {what}; the first is row {}: {given} is {}",
                    row.line, found.relative
                ));
            }
        };
        ways("begin with folders that are not here, and are found by the end of their paths", &|_, found| {
            !found.dropped.is_empty()
        });
        ways(
            "differ in upper and lower case, or in the Unicode form, from those of the files",
            &|_, found| found.folded,
        );
        ways("have \\ between their folders", &|row, found| {
            row.cell(file).contains('\\')
                && found.dropped.is_empty()
                && !found.path.to_string_lossy().contains('\\')
        });
        ways("lead out of the folder", &|_, found| !found.within);
        root
    }

    /// The rows whose files exist, and the places of those whose files do not, with what was said of them.
    #[allow(clippy::type_complexity)] // used once
    fn entries(
        &self,
        folder: &Path,
        root: &Path,
        matches: Vec<Match>,
        said: &mut Said,
    ) -> Result<(Vec<Entry>, Vec<(usize, Option<String>)>), DataError> {
        let mut entries = Vec::new();
        let mut missing = Vec::new();
        let mut unusable = Tally::default();
        let last = self.columns.labels.iter().copied().max().unwrap_or(0).max(self.columns.file);
        let below = root.strip_prefix(folder).map(|below| below.display().to_string()).unwrap_or_default();
        let prefix = if below.is_empty() { below } else { below + "/" };
        for (place, (row, found)) in self.sheet.rows.iter().zip(matches).enumerate() {
            let line = row.line;
            if row.cells.len() <= last {
                let reason = format!("row {line} has too few columns ({})", row.cells.len());
                unusable.count(line, || format!("it has {} cells", row.cells.len()));
                said.skipped.push(Skipped::new(&self.sheet.path, reason));
                continue;
            }
            let text = row.cell(self.columns.file);
            if text.is_empty() {
                unusable.count(line, || "it names no file".to_owned());
                said.skipped.push(Skipped::new(&self.sheet.path, format!("row {line} names no file")));
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
                    said.skipped.push(Skipped::new(
                        file,
                        format!("named in row {line}, but there is no such file{more}"),
                    ));
                    missing.push((place, why));
                    continue;
                }
            };
            let side = match self.columns.split.map(|column| row.cell(column)) {
                None => None,
                Some(text) => Some(Side::parse(text).ok_or_else(|| {
                    let detail = format!("says \"{}\" where train, valid or test is needed", shortened(text));
                    self.error(Some(line), detail, "correct the row")
                })?),
            };
            let id = found.relative.strip_prefix(prefix.as_str()).unwrap_or(&found.relative).to_owned();
            let group = self.columns.group.map(|column| row.cell(column)).filter(|group| !group.is_empty());
            let group = group.map(str::to_owned);
            entries.push(Entry { line, id, path: found.path, row: place, side, group });
        }
        let of = format!("of {} rows of {} cannot be used", count(self.sheet.rows.len()), self.name());
        unusable.say(&of, &mut said.notices);
        Ok((entries, missing))
    }

    fn labels(&self, entries: &[Entry], notices: &mut Vec<String>) -> Result<(Labels<'_>, Task), DataError> {
        let rows = || entries.iter().map(|entry| &self.sheet.rows[entry.row]);
        if let [column] = self.columns.labels[..] {
            let cells: Vec<Cell> =
                rows().map(|row| Cell { line: row.line, text: row.cell(column) }).collect();
            let (reading, task) = labels::decide(&self.sheet.path, &cells, self.options, notices)?;
            let mut missing = Tally::default();
            for cell in cells.iter().filter(|cell| labels::is_missing(cell.text)) {
                missing.count(cell.line, || cell.text.to_owned());
            }
            let of = format!(
                "of {} rows of {} have no value for a label, as pandas writes it",
                count(self.sheet.rows.len()),
                self.name()
            );
            missing.say(&of, notices);
            return Ok((Labels::Cells(column, reading), task));
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
                notices.push(format!(
                    "read as multi-label: {} of {} rows have 1 for no class or for several, the first is row {line}: for {ones}",
                    count(several),
                    count(entries.len())
                ));
                Task::MultiLabel
            }
        };
        Ok((labels, task))
    }

    /// Makes one of several rows about a file: the labels of all where images have several, or says what contradicts.
    fn merge(
        &self,
        entries: Vec<Entry>,
        labels: &Labels,
        task: &mut Task,
        said: &mut Said,
    ) -> Result<Vec<(Entry, BTreeSet<String>)>, DataError> {
        let of = |entry: &Entry| labels.of(&self.sheet.rows[entry.row]);
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut by_file: Vec<Vec<Entry>> = Vec::new();
        for entry in entries {
            match places.get(&entry.id) {
                Some(&place) => by_file[place].push(entry),
                None => {
                    places.insert(entry.id.clone(), by_file.len());
                    by_file.push(vec![entry]);
                }
            }
        }
        // Whether an image has a row for each of its labels: then many have several, and none says the same twice.
        let differ = |rows: &[Entry]| rows.iter().any(|entry| of(entry) != of(&rows[0]));
        let several = by_file.iter().filter(|rows| differ(rows)).count();
        let twice = by_file.iter().any(|rows| {
            rows.iter()
                .enumerate()
                .any(|(place, entry)| rows[..place].iter().any(|before| of(before) == of(entry)))
        });
        let a_row_a_label = several >= 3 && 5 * several >= by_file.len() && !twice;
        let first = by_file.iter().find(|rows| differ(rows)).map(|rows| {
            let lines: Vec<String> = rows.iter().take(3).map(|entry| entry.line.to_string()).collect();
            format!("{} has rows {}", rows[0].id, lines.join(", "))
        });
        if let (Some(first), true) =
            (&first, *task == Task::MultiLabel || self.options.task.is_none() && a_row_a_label)
        {
            let mut read_as = "";
            if *task == Task::SingleLabel {
                read_as = "read as multi-label, a row a label: ";
                // Read cell by cell they seemed to have one each.
                said.notices.retain(|notice| !notice.starts_with("read as single-label"));
            }
            said.notices.push(format!(
                "{read_as}{} of {} images have several rows, whose labels are put together; {first}",
                count(several),
                count(by_file.len())
            ));
            *task = Task::MultiLabel;
        }
        let mut merged = Vec::new();
        let mut repeated = Tally::default();
        for mut rows in by_file {
            let rest = rows.split_off(1);
            let first = rows.remove(0);
            let mut all: BTreeSet<String> = of(&first).into_iter().map(labels::composed).collect();
            for entry in rest {
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
                let labels_differ = of(&entry) != of(&first);
                if entry.side != first.side
                    || entry.group != first.group
                    || labels_differ && *task == Task::SingleLabel
                {
                    let (here, there) = (text(&entry), text(&first));
                    let detail =
                        format!("contradicts row {} on {}: {here} here, {there} there", first.line, entry.id);
                    let advice = match labels_differ {
                        true => "keep the right one, or let images have several labels (`task` multi-label)",
                        false => "keep the right one",
                    };
                    return Err(self.error(Some(entry.line), detail, advice));
                }
                if !labels_differ {
                    said.skipped.push(Skipped::new(
                        &entry.path,
                        format!("row {} repeats row {}", entry.line, first.line),
                    ));
                    repeated.count(entry.line, || entry.id.clone());
                }
                all.extend(of(&entry).into_iter().map(labels::composed));
            }
            merged.push((first, all));
        }
        let of = format!(
            "of {} rows of {} repeat others and are left out",
            count(self.sheet.rows.len()),
            self.name()
        );
        repeated.say(&of, &mut said.notices);
        Ok(merged)
    }

    /// Says which files are missing; too many are an error.
    fn say_missing(
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
            .map(|(place, why)| {
                let row = &self.sheet.rows[*place];
                let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
                format!("row {}: {}{why}", row.line, shortened(row.cell(self.columns.file)))
            })
            .collect();
        let share = 100.0 * missing.len() as f64 / rows as f64;
        let text = format!(
            "{} of {} rows of {} ({share:.0} %) name files that do not exist; the first is {}",
            count(missing.len()),
            count(rows),
            self.name(),
            first.join(", ")
        );
        let kept: HashSet<&str> =
            entries.iter().flat_map(|(_, labels)| labels.iter().map(String::as_str)).collect();
        let lost: BTreeSet<&str> = (missing.iter())
            .flat_map(|(place, _)| labels.of(&self.sheet.rows[*place]))
            .filter(|label| !kept.contains(labels::composed(label).as_str()))
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

    /// Turns rows into items; rows without a label are no training images unless several labels are allowed.
    fn dataset(
        &self,
        root: PathBuf,
        entries: Vec<(Entry, BTreeSet<String>)>,
        labels: &Labels,
        task: Task,
        mut said: Said,
    ) -> Result<Labelled, DataError> {
        let classes = Classes::new(entries.iter().flat_map(|(_, labels)| labels));
        if classes.is_empty() {
            let advice = "name the column of the labels (`label`)";
            return Err(self.error(None, "has no labels".to_owned(), advice));
        }
        let images = entries.iter().filter(|(_, labels)| !labels.is_empty()).count();
        if let ([column], true) =
            (&self.columns.labels[..], labels::are_measurements(classes.names(), images))
        {
            let column = self.column_name(*column);
            let detail = format!(
                "has measurements in the column {column}, no classes: {} different numbers in {} rows, such as {}",
                count(classes.len()),
                count(images),
                classes.names()[0]
            );
            let advice = format!(
                "name the column of the classes (`label`); the columns are {}. Numbers are classes once they are put into \
                 ranges with a name each",
                self.column_names()
            );
            return Err(self.error(None, detail, &advice));
        }
        said.notices.extend(labels::oddities(classes.names()));
        let mut items = Vec::new();
        let mut sides = Vec::new();
        let mut groups = Vec::new();
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
                    said.skipped.push(Skipped::new(&entry.path, reason));
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
        without.say(&format!("of {rows} rows of {} {read_as}", self.name()), &mut said.notices);
        let test = sides.iter().filter(|side| **side == Some(Side::Test)).count();
        if test > 0 {
            said.notices.push(format!(
                "{} rows of {} are test images: nothing is trained on them, and nothing measured",
                count(test),
                self.name()
            ));
        }
        let items = Items { root, task, classes, items };
        self.list_unnamed(&items, &mut said);
        let split = self.columns.split.is_some().then(|| {
            let side = |wanted| (0..sides.len()).filter(|&index| sides[index] == Some(wanted)).collect();
            Split { train: side(Side::Train), valid: side(Side::Valid), test: side(Side::Test) }
        });
        said.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let label_separator = match labels {
            Labels::Cells(_, reading) if task == Task::MultiLabel => reading.separator(),
            _ => None,
        };
        let Said { skipped, notices } = said;
        let dataset = Dataset { items, split, skipped, notices, losses: Vec::new() };
        let groups = self.columns.group.is_some().then_some(groups);
        Ok(Labelled { dataset, label_separator, groups })
    }

    /// Lists the images in the folder that no row names.
    fn list_unnamed(&self, items: &Items, said: &mut Said) {
        let named: HashSet<&Path> = items.items.iter().map(|item| item.path.as_path()).collect();
        let listed: HashSet<PathBuf> = said.skipped.iter().map(|skipped| skipped.path.clone()).collect();
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
            said.notices.push(format!("{images} in {folder} without a row in {name}; the first is {first}"));
        }
        let reason = format!("an image that no row of {name} names");
        said.skipped.extend(unnamed.into_iter().map(|image| Skipped::new(image, &reason)));
    }
}

/// How often something was met, and where first.
#[derive(Default)]
struct Tally {
    times: usize,
    first: Option<(u64, String)>,
}

impl Tally {
    fn count(&mut self, line: u64, what: impl FnOnce() -> String) {
        self.times += 1;
        self.first.get_or_insert_with(|| (line, what()));
    }

    fn say(&self, what: &str, notices: &mut Vec<String>) {
        if let Some((line, first)) = &self.first {
            notices.push(format!("{} {what}; the first is row {line}: {first}", count(self.times)));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Train,
    Valid,
    Test,
}

impl Side {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_lowercase().as_str() {
            "train" | "training" | "false" | "0" => Side::Train,
            "valid" | "val" | "validation" | "dev" | "true" | "1" => Side::Valid,
            "test" | "testing" => Side::Test,
            _ => return None,
        })
    }
}

fn table_error(path: &Path, row: Option<u64>, detail: impl ToString, advice: &str) -> DataError {
    DataError::Table { path: path.to_owned(), row, detail: detail.to_string(), advice: advice.to_owned() }
}
