//! A table of labels: a row for each image, with its file, its class or classes, and possibly its side of the split.
//!
//! ```text
//! id,breed                          image_name,tags,split
//! 000bec18,boston_bull              photos/1.jpg,clear primary,train
//! 001cdf01,pekinese                 photos/2.jpg,haze water road,valid
//! ```
//!
//! Commas, semicolons and tabs are told apart by the first line. What is not stated is detected and said in
//! [`Dataset::notices`], with the rows that decided it: whether there is a header, where the files are, what ending
//! their names lack, and the task; so is how many rows could not be used. Rows are numbered as the lines of the file,
//! from 1.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{existing_folder, listing};
use crate::decode::Format;
use crate::words::count;
use crate::{Classes, DataError, Dataset, Item, Items, Skipped, Split, Target, Task};

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// Counted from 0.
    Index(usize),
    /// By its name in the header.
    Name(String),
}

/// How to read a table; what is `None` is detected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvOptions {
    /// The folder that the files are relative to. Detected: the table's own, or `train/` or `images/` in it.
    #[serde(default, with = "crate::path_text::option")]
    pub folder: Option<PathBuf>,
    /// What the ids lack to be file names: `.jpg`. Detected: nothing, or an image format's customary ending.
    pub suffix: Option<String>,
    /// Whether the first row names the columns. Detected: it does if a column is given by name, or if its id
    /// is no file while other rows' are.
    pub header: Option<bool>,
    /// The column of the files; the first by default.
    pub id: Column,
    /// The column of the labels; the second by default.
    pub label: Column,
    /// The column that says train, valid or test (or true and false: whether a row is for validation).
    pub split: Option<Column>,
    /// What separates several labels of one image; a space by default.
    pub label_separator: char,
    /// Single- or multi-label. Detected: multi-label if more than half of the words are in several different
    /// cells, so that "golden retriever" stays one class.
    pub task: Option<Task>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions {
            folder: None,
            suffix: None,
            header: None,
            id: Column::Index(0),
            label: Column::Index(1),
            split: None,
            label_separator: ' ',
            task: None,
        }
    }
}

/// Reads a table of labels; no image is decoded. Items keep the order of the rows.
pub fn read(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Dataset, DataError> {
    let path = path.as_ref();
    let mut table = Table::read(path)?;
    let mut notices = Vec::new();
    let header = table.header(options)?;
    let columns = Columns::find(&table, header.as_deref(), options)?;
    let place = Place::find(&table, &columns, options, header.is_none(), &mut notices)?;
    if options.header.is_none() && header.is_none() && table.first_row_is_a_header(&columns, &place) {
        let (line, names) = table.rows.remove(0);
        let file = place.file(&names[columns.id]);
        notices.insert(
            0,
            format!(
                "row {line} of {} names the columns ({}): there is no file {}",
                table.name(),
                names.join(", "),
                file.display()
            ),
        );
    }

    let mut skipped = Vec::new();
    let rows = table.items(&columns, &place, &mut skipped, &mut notices)?;
    let task = decide_task(&rows, options, &mut notices);
    let (items, sides) = label(&table, &place, rows, task, options, &mut skipped, &mut notices)?;
    list_unnamed(&place, &items, &table, &mut skipped, &mut notices);
    let split = columns.split.is_some().then(|| {
        let side = |wanted| (0..sides.len()).filter(|&index| sides[index] == Some(wanted)).collect();
        Split { train: side(Side::Train), valid: side(Side::Valid), test: side(Side::Test) }
    });
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Dataset { items, split, skipped, notices, losses: Vec::new() })
}

/// Counts lines up to the places of rows; the reader's own count is behind by one after `\r\n`.
struct Lines<'a> {
    bytes: &'a [u8],
    /// Bytes counted.
    seen: usize,
    /// The line of the next byte, from 1.
    line: u64,
}

impl Lines<'_> {
    /// The line of the row that the reader began to look for at this byte, which is not before those asked for so far:
    /// the rest of a line's end and empty lines may come before the row.
    fn of(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        while let Some(&found) = self.bytes.get(self.seen) {
            if self.seen >= byte && !matches!(found, b'\r' | b'\n') {
                break;
            }
            self.seen += 1;
            let ends = found == b'\n' || found == b'\r' && self.bytes.get(self.seen) != Some(&b'\n');
            self.line += u64::from(ends);
        }
        self.line
    }
}

/// A file of rows.
struct Table {
    path: PathBuf,
    /// Line number and cells.
    rows: Vec<(u64, Vec<String>)>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                return Err(table_error(path, None, "is a folder", "give a CSV file"));
            }
            _ => std::fs::read(path).map_err(DataError::io("read", path))?,
        };
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        let first_line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let delimiter =
            [b',', b'\t', b';'].into_iter().find(|byte| first_line.contains(byte)).unwrap_or(b',');
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(bytes);
        let mut rows = Vec::new();
        let mut lines = Lines { bytes, seen: 0, line: 1 };
        for record in reader.byte_records() {
            let record = record.map_err(|error| table_error(path, None, error, "save it as a CSV file"))?;
            let line = lines.of(record.position().map_or(0, csv::Position::byte));
            let cell = |cell: &[u8]| std::str::from_utf8(cell).map(|text| text.trim().to_owned());
            let cells = record.iter().map(cell).collect::<Result<Vec<_>, _>>();
            let cells =
                cells.map_err(|_| table_error(path, Some(line), "is not valid UTF-8", "save it as UTF-8"))?;
            if cells.iter().any(|cell| !cell.is_empty()) {
                rows.push((line, cells));
            }
        }
        if rows.is_empty() {
            return Err(table_error(path, None, "has no rows", "give a table with a row for each image"));
        }
        Ok(Table { path: path.to_owned(), rows })
    }

    /// The file's name, for people.
    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Takes the first row off if it is known to be a header.
    fn header(&mut self, options: &CsvOptions) -> Result<Option<Vec<String>>, DataError> {
        let by_name = |column: &Column| matches!(column, Column::Name(_));
        let named =
            by_name(&options.id) || by_name(&options.label) || options.split.as_ref().is_some_and(by_name);
        match (options.header, named) {
            (Some(false), true) => Err(DataError::Setting {
                name: "header",
                value: "absent".to_owned(),
                expected: "present where columns are given by name",
            }),
            (Some(true), _) | (None, true) => Ok(Some(self.rows.remove(0).1)),
            (Some(false), false) | (None, false) => Ok(None),
        }
    }

    /// Whether the first id is no file; that others are is known when this is asked.
    fn first_row_is_a_header(&self, columns: &Columns, place: &Place) -> bool {
        let id = self.rows.first().and_then(|(_, cells)| cells.get(columns.id));
        self.rows.len() > 1 && id.is_some_and(|id| !place.file(id).is_file()) && {
            let labels = |(_, cells): &(u64, Vec<String>)| cells.get(columns.label).cloned();
            let first = labels(&self.rows[0]);
            // A label that occurs again is a label, whatever became of its file.
            !self.rows[1..].iter().any(|row| labels(row) == first)
        }
    }

    /// The rows whose files exist, each file once.
    fn items(
        &self,
        columns: &Columns,
        place: &Place,
        skipped: &mut Vec<Skipped>,
        notices: &mut Vec<String>,
    ) -> Result<Vec<Row>, DataError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let (mut missing, mut repeated) = (Tally::default(), Tally::default());
        for (line, cells) in &self.rows {
            let line = *line;
            let mut skip = |path: &Path, reason: String| skipped.push(Skipped::new(path, reason));
            let (Some(id), Some(label)) = (cells.get(columns.id), cells.get(columns.label)) else {
                skip(&self.path, format!("row {line} has too few columns ({})", cells.len()));
                continue;
            };
            let file = place.file(id);
            let Some(id) = place.id(&file).filter(|_| !id.is_empty()) else {
                skip(
                    &self.path,
                    format!("row {line} names no file within {}: \"{id}\"", place.folder.display()),
                );
                continue;
            };
            if !file.is_file() {
                skip(&file, format!("named in row {line}, but there is no such file"));
                missing.count(line, || file.display().to_string());
                continue;
            }
            let side = match columns.split.map(|column| cells.get(column).map_or("", String::as_str)) {
                None => None,
                Some(text) => Some(Side::parse(text).ok_or_else(|| {
                    let detail = format!("says \"{text}\" where train, valid or test is needed");
                    table_error(&self.path, Some(line), detail, "correct the row")
                })?),
            };
            let row = Row { line, id: id.clone(), file, label: label.clone(), side };
            match seen.get(&id).map(|&first| &rows[first]) {
                None => {
                    seen.insert(id, rows.len());
                    rows.push(row);
                }
                Some(first) if first.label != row.label || first.side != row.side => {
                    return Err(table_error(
                        &self.path,
                        Some(line),
                        format!(
                            "contradicts row {} on {id}: \"{}\" here, \"{}\" there",
                            first.line,
                            row.text(),
                            first.text()
                        ),
                        "keep the right one",
                    ));
                }
                Some(first) => {
                    skip(&row.file, format!("row {line} repeats row {}", first.line));
                    repeated.count(line, || row.id.clone());
                }
            }
        }
        let of = format!("of {} rows of {}", count(self.rows.len()), self.name());
        missing.say(&format!("{of} name files that do not exist"), notices);
        repeated.say(&format!("{of} repeat others and are left out"), notices);
        Ok(rows)
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

/// A row whose file exists.
struct Row {
    line: u64,
    id: String,
    file: PathBuf,
    label: String,
    side: Option<Side>,
}

impl Row {
    fn text(&self) -> String {
        match self.side {
            None => self.label.clone(),
            Some(side) => format!("{} ({side:?})", self.label),
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
            "valid" | "val" | "validation" | "true" | "1" => Side::Valid,
            "test" => Side::Test,
            _ => return None,
        })
    }
}

/// Indices of the columns.
struct Columns {
    id: usize,
    label: usize,
    split: Option<usize>,
}

impl Columns {
    fn find(table: &Table, header: Option<&[String]>, options: &CsvOptions) -> Result<Self, DataError> {
        let width = table.rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
        let index = |column: &Column| {
            let names = header.unwrap_or_default();
            let found = match column {
                Column::Index(index) => Some(*index).filter(|index| *index < width),
                Column::Name(name) => names.iter().position(|other| other == name),
            };
            found.ok_or_else(|| {
                let (wanted, has) = match column {
                    Column::Index(index) => (format!("number {}", index + 1), format!("{width} columns")),
                    Column::Name(name) => (format!("\"{name}\""), format!("columns {}", names.join(", "))),
                };
                table_error(
                    &table.path,
                    None,
                    format!("has {has}, but no column {wanted}"),
                    "name its columns",
                )
            })
        };
        Ok(Columns {
            id: index(&options.id)?,
            label: index(&options.label)?,
            split: options.split.as_ref().map(index).transpose()?,
        })
    }
}

/// So many rows tell where the files are.
const SOME_ROWS: usize = 500;

/// Where the files are.
struct Place {
    folder: PathBuf,
    suffix: String,
}

impl Place {
    /// The folder and suffix under which the most ids are files.
    fn find(
        table: &Table,
        columns: &Columns,
        options: &CsvOptions,
        may_have_header: bool,
        notices: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        let beside =
            table.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folders = match &options.folder {
            Some(folder) => vec![existing_folder(folder)?],
            None => vec![beside.to_owned(), beside.join("train"), beside.join("images")],
        };
        let endings =
            Format::ALL.iter().flat_map(|format| format.extensions()).map(|ending| format!(".{ending}"));
        let suffixes: Vec<String> = match &options.suffix {
            Some(suffix) => vec![suffix.clone()],
            None => std::iter::once(String::new()).chain(endings).collect(),
        };
        let ids: Vec<&str> =
            table.rows.iter().filter_map(|(_, cells)| cells.get(columns.id)).map(String::as_str).collect();
        let best = |ids: &[&str]| {
            let mut best = (0, Place { folder: folders[0].clone(), suffix: suffixes[0].clone() });
            for folder in &folders {
                for suffix in &suffixes {
                    let place = Place { folder: folder.clone(), suffix: suffix.clone() };
                    let found = ids.iter().filter(|id| !id.is_empty() && place.file(id).is_file()).count();
                    if found > best.0 {
                        best = (found, place);
                    }
                    // No other place can have more.
                    if found + usize::from(may_have_header) >= ids.len() {
                        break;
                    }
                }
            }
            best
        };
        // Some rows from all over the table tell; all of them are looked at only if those find nothing.
        let some: Vec<&str> = ids.iter().copied().step_by(ids.len().div_ceil(SOME_ROWS).max(1)).collect();
        let mut best_place = best(&some);
        if best_place.0 == 0 && some.len() < ids.len() {
            best_place = best(&ids);
        }
        let (found, place) = best_place;
        if found == 0 {
            let example = ids.get(usize::from(may_have_header && ids.len() > 1)).copied().unwrap_or_default();
            return Err(table_error(
                &table.path,
                None,
                format!("names no file that exists: there is no {}", place.file(example).display()),
                "give the folder of the images, the column of the file names, or the suffix they lack",
            ));
        }
        let mut said = Vec::new();
        if options.folder.is_none() && place.folder != beside {
            said.push(format!("the files of {} are in {}", table.name(), place.folder.display()));
        }
        if options.suffix.is_none() && !place.suffix.is_empty() {
            said.push(format!("the ids of {} lack \"{}\" to be file names", table.name(), place.suffix));
        }
        let file = |(line, cells): &(u64, Vec<String>)| {
            let file = cells.get(columns.id).filter(|id| !id.is_empty()).map(|id| place.file(id))?;
            file.is_file().then(|| format!("row {line}: {}", file.display()))
        };
        if let (false, Some(example)) = (said.is_empty(), table.rows.iter().find_map(file)) {
            notices.push(format!("{} ({example})", said.join(", and ")));
        }
        Ok(place)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}{}", self.suffix))
    }

    /// The path relative to the folder, separated by `/`; `None` if it leads out of it.
    fn id(&self, file: &Path) -> Option<String> {
        let mut parts = Vec::new();
        for part in file.strip_prefix(&self.folder).ok()?.components() {
            match part {
                Component::Normal(part) => parts.push(part.to_str()?),
                Component::CurDir => {}
                _ => return None,
            }
        }
        (!parts.is_empty()).then(|| parts.join("/"))
    }
}

/// The labels in a cell, sorted, each once.
fn labels(cell: &str, separator: char) -> BTreeSet<&str> {
    cell.split(separator).map(str::trim).filter(|label| !label.is_empty()).collect()
}

/// The task as stated, or as the cells suggest it.
fn decide_task(rows: &[Row], options: &CsvOptions, notices: &mut Vec<String>) -> Task {
    let separator = options.label_separator;
    if let Some(task) = options.task {
        return task;
    }
    let several: Vec<&Row> = rows.iter().filter(|row| labels(&row.label, separator).len() > 1).collect();
    let Some(first) = several.first() else {
        notices.push(format!("read as single-label: none of {} rows has several labels", count(rows.len())));
        return Task::SingleLabel;
    };
    // Labels recur in other combinations; the words of a class's name seldom do.
    let cells: HashSet<BTreeSet<&str>> = rows.iter().map(|row| labels(&row.label, separator)).collect();
    let mut cells_with: HashMap<&str, usize> = HashMap::new();
    cells.iter().flatten().for_each(|word| *cells_with.entry(word).or_default() += 1);
    let words = cells_with.len();
    let recurring = cells_with.values().filter(|&&cells| cells > 1).count();
    let evidence = format!(
        "{} of {} rows have several words, the first is row {}: \"{}\"; {recurring} of {words} words are in different cells",
        count(several.len()),
        count(rows.len()),
        first.line,
        first.label,
    );
    let (task, reading) = match 2 * recurring > words {
        true => (Task::MultiLabel, "multi-label"),
        false => (Task::SingleLabel, "single-label, with spaces in the names of classes"),
    };
    notices.push(format!("read as {reading}: {evidence}"));
    task
}

/// Turns rows into items; rows without a label are no training images unless several labels are allowed.
fn label(
    table: &Table,
    place: &Place,
    rows: Vec<Row>,
    task: Task,
    options: &CsvOptions,
    skipped: &mut Vec<Skipped>,
    notices: &mut Vec<String>,
) -> Result<(Items, Vec<Option<Side>>), DataError> {
    let of = |row: &Row| -> Vec<String> {
        match task {
            Task::SingleLabel => {
                Some(row.label.clone()).filter(|label| !label.is_empty()).into_iter().collect()
            }
            Task::MultiLabel => {
                labels(&row.label, options.label_separator).into_iter().map(str::to_owned).collect()
            }
        }
    };
    let classes = Classes::new(rows.iter().flat_map(&of));
    match classes.names() {
        [] => return Err(table_error(&table.path, None, "has no labels", "name the column of the labels")),
        [class] if task == Task::SingleLabel => {
            return Err(DataError::SingleClass { path: table.path.clone(), class: class.clone() });
        }
        _ => {}
    }
    let mut items = Vec::new();
    let mut sides = Vec::new();
    let mut without = Tally::default();
    for row in rows {
        let mut classes: Vec<usize> = of(&row).iter().filter_map(|label| classes.index(label)).collect();
        classes.sort_unstable();
        if classes.is_empty() && row.side != Some(Side::Test) {
            without.count(row.line, || row.id.clone());
        }
        let target = match (task, classes.first()) {
            (Task::MultiLabel, _) => Target::Classes(classes),
            (Task::SingleLabel, Some(&class)) => Target::Class(class),
            (Task::SingleLabel, None) if row.side == Some(Side::Test) => Target::Unlabelled,
            (Task::SingleLabel, None) => {
                skipped.push(Skipped::new(&row.file, format!("row {} has no label", row.line)));
                continue;
            }
        };
        items.push(Item { id: row.id, path: row.file, target });
        sides.push(row.side);
    }
    let read_as = match task {
        Task::SingleLabel => "rows have no label and are left out",
        Task::MultiLabel => "rows have no label, so none of the classes is in their images",
    };
    without.say(read_as, notices);
    Ok((Items { root: place.folder.clone(), task, classes, items }, sides))
}

/// Lists the images in the folder that no row names.
fn list_unnamed(
    place: &Place,
    items: &Items,
    table: &Table,
    skipped: &mut Vec<Skipped>,
    notices: &mut Vec<String>,
) {
    let named: HashSet<&Path> = items.items.iter().map(|item| item.path.as_path()).collect();
    let listed: HashSet<PathBuf> = skipped.iter().map(|skipped| skipped.path.clone()).collect();
    let name = table.name();
    let unnamed: Vec<PathBuf> = listing::images_below(&place.folder)
        .images
        .into_iter()
        .filter(|image| !named.contains(image.as_path()) && !listed.contains(image))
        .collect();
    if let Some(first) = unnamed.first() {
        let (images, folder) = (count(unnamed.len()), place.folder.display());
        notices.push(format!(
            "{images} images in {folder} are named by no row of {name}; the first is {}",
            first.display()
        ));
    }
    skipped.extend(
        unnamed.into_iter().map(|image| Skipped::new(image, format!("an image that no row of {name} names"))),
    );
}

fn table_error(path: &Path, row: Option<u64>, detail: impl ToString, advice: &str) -> DataError {
    DataError::Table { path: path.to_owned(), row, detail: detail.to_string(), advice: advice.to_owned() }
}
