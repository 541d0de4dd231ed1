//! From the bytes of a table to rows of cells.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{names, table_error};
use crate::DataError;
use crate::decode::Format;
use crate::text::count;

/// The largest table that is read, in bytes.
const LARGEST: u64 = 1 << 30;
/// So many bytes of a table tell what it is about.
const BEGINNING: usize = 1 << 16;
/// The largest JSON, in bytes, that is read for that as a whole.
const SMALL_JSON: u64 = 16 << 20;
/// So many rows tell what separates the columns.
const SOME_ROWS: usize = 200;

/// The rows of a table as they stand in its file.
///
/// Read are rows of cells separated by commas, tabs, semicolons, `|` or spaces, in UTF-8 or UTF-16; and JSON:
/// an object a line, a list of objects, or one object of file names and labels. Lines that begin with `#` and
/// do not have the columns of a row are comments.
#[derive(Debug, Clone)]
pub struct Sheet {
    pub(super) path: PathBuf,
    /// The rows, a possible header among them.
    pub rows: Vec<Row>,
    /// What separates the columns; a comma for JSON.
    pub delimiter: char,
    /// The names of the columns, where the file's form has them: JSON.
    pub(super) names: Option<Vec<String>>,
    /// The last comment before the rows, which may say what the columns are.
    comment: Option<String>,
    pub(super) notices: Vec<String>,
}

/// So many cells JSON may always have; more only where the file is as long.
const FEW_CELLS: usize = 1 << 20;

/// A row of cells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The line of the file where it begins, from 1; of a JSON list or object, the number of the entry.
    pub line: u64,
    /// Its cells, without quotes and without spaces around them.
    pub cells: Vec<String>,
    /// Cells that go over several lines, and the line where their quote opens.
    pub(super) long: Vec<(usize, u64)>,
}

impl Row {
    /// A cell; empty where the row is too short.
    pub fn cell(&self, column: usize) -> &str {
        self.cells.get(column).map_or("", String::as_str)
    }

    /// The number of cells without the empty ones at the end.
    fn width(&self) -> usize {
        self.cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1)
    }
}

/// The labels in a cell of Label Studio's, which is `{"choices":["Cat","Dog"]}` where an image has several, as in others.
fn choices(cell: &str) -> Option<String> {
    let entries = cell.strip_prefix("{\"choices\":")?;
    let list: Vec<String> = serde_json::from_str(entries.strip_suffix('}')?).ok()?;
    (!list.iter().any(|label| label.contains('|'))).then(|| list.join("|"))
}

impl Sheet {
    /// Reads a table.
    ///
    /// # Errors
    /// Where it is no table of text, and where a quote is not closed; with the row.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let wrong = |detail: &str, advice: &str| Err(table_error(path, None, detail, advice));
        let found = std::fs::metadata(path).map_err(DataError::io("read", path))?;
        if found.is_dir() {
            return wrong("is a folder", "give a CSV file");
        }
        if !found.is_file() {
            return wrong("is no regular file", "give a CSV file");
        }
        if found.len() > LARGEST {
            return wrong("has more than 1 GiB", "give a table of labels");
        }
        Self::of(path, &std::fs::read(path).map_err(DataError::io("read", path))?)
    }

    /// The first rows of a table; all of one that is small, or of JSON.
    pub(super) fn read_beginning(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io("read", path))?;
        let mut bytes = Vec::new();
        file.take(BEGINNING as u64).read_to_end(&mut bytes).map_err(DataError::io("read", path))?;
        let is_json = matches!(bytes.trim_ascii_start(), [b'{' | b'[', ..]);
        let is_whole = bytes.len() < BEGINNING;
        let length = || std::fs::metadata(path).map_or(0, |found| found.len());
        if is_whole || is_json && length() <= SMALL_JSON {
            return Self::read(path);
        }
        let end = bytes.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
        // A character of UTF-16 has two bytes.
        bytes.truncate(end - end % 2);
        let whole_lines = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
        if bytes.len() - whole_lines < 4 {
            bytes.truncate(whole_lines);
        }
        Self::of(path, &bytes)
    }

    fn of(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let text = decode(path, bytes)?;
        let mut sheet = Sheet {
            path: path.to_owned(),
            rows: Vec::new(),
            delimiter: ',',
            names: None,
            comment: None,
            notices: Vec::new(),
        };
        if text.trim_start().starts_with(['{', '[']) && is_json(path, &text) {
            sheet.read_json(&text)?;
        } else {
            sheet.read_cells(&text)?;
        }
        if sheet.rows.is_empty() {
            return Err(table_error(path, None, "has no rows", "give a table with a row for each image"));
        }
        for cell in sheet.rows.iter_mut().flat_map(|row| &mut row.cells) {
            if let Some(labels) = choices(cell) {
                *cell = labels;
            }
        }
        Ok(sheet)
    }

    /// The names of the columns, if it has them: those of its form, or else its first row.
    pub(super) fn possible_header(&self) -> Option<&[String]> {
        self.names.as_deref().or(self.rows.first().map(|row| &row.cells[..]))
    }

    /// The file's name, for people.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The number of columns.
    pub(super) fn width(&self) -> usize {
        match &self.names {
            Some(names) => names.len(),
            None => self.rows.iter().map(|row| row.cells.len()).max().unwrap_or(0),
        }
    }

    fn read_cells(&mut self, text: &str) -> Result<(), DataError> {
        let path = self.path.clone();
        let (text, first_line, stated) = separator_line(text);
        let (text, first_line) = number_of_rows(text, first_line);
        let (rows, rows_line) = leading_comments(text, first_line, stated);
        let comment = text[..text.len() - rows.len()].lines().last();
        self.comment = comment.map(|comment| comment.trim_start_matches('#').trim().to_owned());
        let (text, first_line) = (rows, rows_line);
        let (text, first_line) = self.below_title(text, first_line);
        let delimiter = stated.unwrap_or_else(|| delimiter_of(text));
        for row in (Reader { text, at: 0, line: first_line, delimiter }) {
            let row = row.map_err(|broken| broken.error(&path))?;
            if row.cells.iter().any(|cell| !cell.is_empty()) {
                self.rows.push(row);
            }
        }
        self.delimiter = delimiter;
        self.drop_comments();
        self.name_the_index();
        let Some(first) = self.rows.first() else { return Ok(()) };
        let (line, width) = (first.line, first.cells.len());
        if let Some(row) = self.rows.iter().find(|row| row.width() > width) {
            let detail = format!(
                "has {} cells, and row {line} has {width}: {}",
                row.width(),
                shortened(&row.cells.join(&format!("{delimiter} ")))
            );
            let advice = format!("put cells that hold {} into quotes", separator_name(delimiter));
            return Err(table_error(&path, Some(row.line), detail, &advice));
        }
        if delimiter != ',' && width > 1 {
            let same = self.rows.iter().filter(|row| row.cells.len() == width).count();
            let cells = first.cells.iter().map(|cell| format!("\"{}\"", shortened(cell))).collect::<Vec<_>>();
            self.notices.push(format!(
                "the columns of {} are separated by {}: row {line} has {width} ({}), and so have {} of {} rows",
                self.name(),
                separator_name(delimiter),
                cells.join(", "),
                count(same),
                count(self.rows.len())
            ));
        }
        Ok(())
    }

    /// The text from the names of the columns on, where a title stands over them: lines of one cell at most, above one that
    /// names a column of files and others.
    fn below_title<'a>(&mut self, text: &'a str, first_line: u64) -> (&'a str, u64) {
        const MOST_LINES: usize = 6;
        let cells = |line: &str, delimiter: char| -> Vec<String> {
            let cells = line.split(delimiter).map(|cell| cell.trim().trim_matches('"').to_owned());
            cells.filter(|cell| !cell.is_empty()).collect()
        };
        for delimiter in [',', ';', '\t', '|'] {
            let (mut start, mut titles) = (0, 0);
            for (number, line) in text.split_inclusive('\n').take(MOST_LINES).enumerate() {
                let found = cells(line, delimiter);
                let are_names = found.len() > 1
                    && found.iter().any(|cell| names::file_rank(cell).is_some())
                    && !found.iter().any(|cell| ends_as_image(cell));
                if are_names && titles > 0 {
                    let name = self.name();
                    self.notices.push(format!(
                        "the columns of {name} have their names in row {}: {}; the rows above it are not read",
                        first_line + number as u64,
                        shortened(&found.join(", "))
                    ));
                    return (&text[start..], first_line + number as u64);
                }
                if found.len() > 1 || found.iter().any(|cell| ends_as_image(cell)) {
                    break;
                }
                titles += found.len();
                start += line.len();
            }
        }
        (text, first_line)
    }

    /// Takes away lines that begin with `#` and are no rows.
    fn drop_comments(&mut self) {
        let usual = self.rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
        let before = self.rows.len();
        let mut first = None;
        self.rows.retain(|row| {
            let comment = usual > 1 && row.width() == 1 && row.cells[0].starts_with('#');
            if comment {
                first.get_or_insert(row.line);
            }
            !comment
        });
        if let Some(line) = first {
            let comments = count(before - self.rows.len());
            self.notices
                .push(format!("{comments} lines of {} are comments; the first is row {line}", self.name()));
        }
    }

    /// R names all columns but the first, which numbers the rows; people leave out the name of a last one.
    fn name_the_index(&mut self) {
        let [header, rows @ ..] = &mut self.rows[..] else { return };
        let width = header.cells.len() + 1;
        let are_files = || rows.iter().all(|row| ends_as_image(row.cell(0)));
        if rows.is_empty() || rows.iter().any(|row| row.cells.len() != width) {
            return;
        }
        let may_be_index =
            counts(rows, 0) || are_files() && header.cells.iter().all(|cell| !ends_as_image(cell));
        // Files differ from row to row, so that a column of other cells below their name is not theirs.
        let rank = |column: &usize| names::file_rank(&header.cells[*column]);
        let of_files = (0..header.cells.len()).filter(|column| rank(column).is_some()).min_by_key(rank);
        let recurs = |column: usize| {
            let different: HashSet<&str> = rows.iter().map(|row| row.cell(column)).collect();
            different.len() < rows.len()
        };
        match of_files {
            Some(column) if recurs(column + 1) && !recurs(column) => header.cells.push(String::new()),
            _ if may_be_index => header.cells.insert(0, String::new()),
            _ => {}
        }
    }

    /// The rows of a table of one column, cut at spaces: into as many columns as each row has, or else into
    /// the first word and the rest, `1340192 Boeing 717`.
    pub(super) fn cut_at_spaces(&self) -> Option<Self> {
        let words = |row: &Row| row.cell(0).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let width = self.rows.first().map(words)?.len();
        let same = self.rows.iter().all(|row| words(row).len() == width);
        let several = same && width > 1 || self.rows.iter().all(|row| words(row).len() > 1);
        if !several || self.names.is_some() || self.rows.iter().any(|row| !row.long.is_empty()) {
            return None;
        }
        let mut cut = self.clone();
        cut.delimiter = ' ';
        for row in &mut cut.rows {
            row.cells = match (same, row.cell(0).split_once(char::is_whitespace)) {
                (false, Some((first, rest))) => vec![first.to_owned(), rest.trim().to_owned()],
                _ => words(row),
            };
        }
        let Row { line, cells, .. } = &cut.rows[0];
        let cells =
            cells.iter().map(|cell| format!("\"{}\"", shortened(cell))).collect::<Vec<_>>().join(", ");
        let (name, rows) = (self.name(), count(self.rows.len()));
        cut.notices.push(match same {
            true => format!("the columns of {name} are separated by spaces: all of {rows} rows have {width}, as row {line}: {cells}"),
            false => format!("the columns of {name} are the first word of each row and the rest, as in row {line}: {cells}"),
        });
        let named = self.comment.as_deref().and_then(|comment| {
            names_in(comment, cut.rows[0].cells.len())
                .filter(|names| names.iter().any(|name| names::is_known(name)))
        });
        if let Some(named) = named {
            cut.notices.push(format!("a comment in {name} names the columns: {}", named.join(", ")));
            cut.names = Some(named);
        }
        Some(cut)
    }

    fn read_json(&mut self, text: &str) -> Result<(), DataError> {
        let mut names: Vec<String> = Vec::new();
        let mut index = std::collections::HashMap::new();
        // Columns with a list somewhere: single values in them are lists of one.
        let mut lists = std::collections::HashSet::new();
        for (line, entry) in json_entries(&self.path, text)? {
            let mut row = Row { line, ..Row::default() };
            for (name, value) in entry {
                let column = *index.entry(name.clone()).or_insert_with(|| {
                    names.push(name);
                    names.len() - 1
                });
                if row.cells.len() <= column {
                    row.cells.resize(column + 1, String::new());
                }
                row.cells[column] = match flags(&value).unwrap_or(value) {
                    Value::String(text) => text.trim().to_owned(),
                    Value::Null => String::new(),
                    value => {
                        lists.extend(value.is_array().then_some(column));
                        value.to_string()
                    }
                };
                if row.cells[column].contains(['\n', '\r']) {
                    row.long.push((column, line));
                }
            }
            self.rows.push(row);
            // Every row has a cell for every name: of a table, few are empty.
            let cells = self.rows.len().saturating_mul(names.len());
            if cells > FEW_CELLS && cells > text.len() {
                let detail = format!(
                    "has {} names in its first {} entries ({}, …), which would be columns",
                    count(names.len()),
                    count(self.rows.len()),
                    names.iter().take(3).map(|name| shortened(name)).collect::<Vec<_>>().join(", ")
                );
                let advice =
                    "give each entry the same names, such as {\"file\": \"1.jpg\", \"label\": \"cat\"}";
                return Err(table_error(&self.path, None, detail, advice));
            }
        }
        let width = names.len();
        for row in &mut self.rows {
            row.cells.resize(width, String::new());
            for column in &lists {
                let cell = &mut row.cells[*column];
                if !cell.is_empty() && !cell.starts_with(['[', '{']) {
                    *cell = Value::from(vec![std::mem::take(cell)]).to_string();
                }
            }
        }
        self.notices.push(format!(
            "{} holds JSON: {} entries of {}",
            self.name(),
            count(self.rows.len()),
            names.join(", ")
        ));
        self.names = Some(names);
        Ok(())
    }
}

/// The images of a JSON object as COCO has it, with the names of the categories that its annotations give each; `None` where
/// it is none, or where annotations say where in the images things are.
fn coco_entries(whole: &JsonObject) -> Option<Vec<(u64, JsonObject)>> {
    let list = |name: &str| whole.get(name)?.as_array();
    let key = |value: Option<&Value>| value.filter(|value| !value.is_null()).map(Value::to_string);
    let of_category: HashMap<String, &Value> = list("categories")?
        .iter()
        .map(|category| Some((key(category.get("id"))?, category.get("name")?)))
        .collect::<Option<_>>()?;
    let mut of_image: HashMap<String, Vec<Value>> = HashMap::new();
    for annotation in list("annotations")? {
        if annotation.get("bbox").is_some() || annotation.get("segmentation").is_some() {
            return None;
        }
        let name = of_category.get(&key(annotation.get("category_id"))?)?;
        let names = of_image.entry(key(annotation.get("image_id"))?).or_default();
        if !names.contains(name) {
            names.push((*name).clone());
        }
    }
    let several = of_image.values().any(|names| names.len() > 1);
    let entry = |(number, image): (u64, &Value)| {
        let mut names = of_image.remove(&key(image.get("id"))?).unwrap_or_default();
        let label = if several { Value::Array(names) } else { names.pop().unwrap_or(Value::Null) };
        let cells = [("file_name", image.get("file_name")?.clone()), ("label", label)];
        Some((number, cells.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()))
    };
    (1..).zip(list("images")?).map(entry).collect()
}

/// Of an object such as `{"cat": true, "dog": false}` the names that are true.
fn flags(value: &Value) -> Option<Value> {
    let Value::Object(object) = value else { return None };
    let flag = |value: &Value| {
        value.as_bool().or(match value.as_u64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        })
    };
    let set: Option<Vec<(&String, bool)>> =
        object.iter().map(|(name, value)| Some((name, flag(value)?))).collect();
    let set = set.filter(|set| !set.is_empty())?;
    Some(set.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.clone()).collect())
}

/// Whether a column numbers its rows: 0, 1, 2 … or 1, 2, 3 ….
pub(super) fn counts(rows: &[Row], column: usize) -> bool {
    let number = |row: &Row| row.cell(column).parse::<usize>().ok();
    let Some(first @ (0 | 1)) = rows.first().and_then(number) else { return false };
    rows.len() > 1 && (first..).zip(rows).all(|(expected, row)| number(row) == Some(expected))
}

/// A separator, for people.
pub(super) fn separator_name(separator: char) -> String {
    match separator {
        '\t' => "tabs".to_owned(),
        ' ' => "spaces".to_owned(),
        other => format!("\"{other}\""),
    }
}

/// A text of a line at most, for people.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.replace(['\r', '\n'], "⏎");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The text of a file, without its byte order mark.
fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<Cow<'a, str>, DataError> {
    let foreign = match bytes {
        [b'P', b'K', 3, 4, ..] => Some("an Excel workbook or another ZIP file"),
        [0xD0, 0xCF, 0x11, 0xE0, ..] => Some("an old Excel workbook"),
        [b'P', b'A', b'R', b'1', ..] => Some("a Parquet file"),
        [0x1F, 0x8B, ..] => Some("compressed with gzip"),
        [b'B', b'Z', b'h', ..] => Some("compressed with bzip2"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Some("compressed with zstd"),
        [b'S', b'Q', b'L', b'i', b't', b'e', ..] => Some("an SQLite database"),
        _ => Format::of(bytes).map(|_| "an image"),
    };
    if let Some(foreign) = foreign {
        return Err(table_error(
            path,
            None,
            format!("is {foreign}"),
            "save the table as a CSV file in UTF-8",
        ));
    }
    let wide = |order: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (units, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|unit| order(*unit)).collect();
        let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
        text.ok_or_else(|| table_error(path, None, "is damaged UTF-16", "save it as UTF-8"))
    };
    let text: Cow<str> = match bytes {
        [0xFF, 0xFE, rest @ ..] => wide(u16::from_le_bytes, rest)?.into(),
        [0xFE, 0xFF, rest @ ..] => wide(u16::from_be_bytes, rest)?.into(),
        [1..=u8::MAX, 0, 1..=u8::MAX, 0, ..] => wide(u16::from_le_bytes, bytes)?.into(),
        [0, 1..=u8::MAX, 0, 1..=u8::MAX, ..] => wide(u16::from_be_bytes, bytes)?.into(),
        _ => {
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            std::str::from_utf8(bytes)
                .map_err(|error| {
                    let line = line_at(bytes, error.valid_up_to());
                    let start = bytes[..error.valid_up_to()]
                        .iter()
                        .rposition(|byte| matches!(byte, b'\r' | b'\n'))
                        .map_or(0, |end| end + 1);
                    let row: Vec<u8> = bytes[start..]
                        .iter()
                        .copied()
                        .take_while(|byte| !matches!(byte, b'\r' | b'\n'))
                        .collect();
                    let latin: String = row.iter().map(|&byte| char::from(byte)).collect();
                    let detail = format!("is not valid UTF-8; as Latin-1 it is \"{}\"", shortened(&latin));
                    table_error(path, Some(line), detail, "save the table as UTF-8")
                })?
                .into()
        }
    };
    if let Some(at) = text.find('\0') {
        let line = line_at(text.as_bytes(), at);
        return Err(table_error(path, Some(line), "holds zero bytes", "give a table of text"));
    }
    Ok(text)
}

/// The line of a byte, from 1.
fn line_at(bytes: &[u8], at: usize) -> u64 {
    let ends = |index: &usize| {
        bytes[*index] == b'\n' || bytes[*index] == b'\r' && bytes.get(index + 1) != Some(&b'\n')
    };
    1 + (0..at).filter(ends).count() as u64
}

fn is_json(path: &Path, text: &str) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    matches!(ending.as_str(), "json" | "jsonl" | "ndjson" | "jsonlines")
        || serde_json::from_str::<serde_json::Map<String, Value>>(first).is_ok()
}

type JsonObject = serde_json::Map<String, Value>;

/// The objects of a JSON file, each with its line or its number: one a line, or a list, or one object from
/// file to label.
fn json_entries(path: &Path, text: &str) -> Result<Vec<(u64, JsonObject)>, DataError> {
    let wrong = |line: Option<u64>, detail: String| {
        table_error(path, line, detail, "give an object for each image, one a line")
    };
    let object = |line: u64, value: Value| match value {
        Value::Object(entry) => Ok((line, entry)),
        _ => Err(wrong(Some(line), "is no JSON object".to_owned())),
    };
    if !text.trim_start().starts_with('[') && !is_one_object(path, text) {
        let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty());
        let entry = |(line, text): (u64, &str)| {
            let value = serde_json::from_str(text);
            object(line, value.map_err(|error| wrong(Some(line), format!("is no JSON: {error}")))?)
        };
        return lines.map(entry).collect();
    }
    let whole: Value = serde_json::from_str(text)
        .map_err(|error| wrong(Some(error.line() as u64), format!("is no JSON: {error}")))?;
    match whole {
        Value::Array(list) => (1..).zip(list).map(|(number, entry)| object(number, entry)).collect(),
        Value::Object(labels) if let Some(entries) = coco_entries(&labels) => Ok(entries),
        Value::Object(labels) => {
            let nested = |value: &Value| match value {
                Value::Object(_) => true,
                Value::Array(list) => list.iter().any(|entry| entry.is_object() || entry.is_array()),
                _ => false,
            };
            if let Some((name, _)) = labels.iter().find(|(_, value)| nested(value)) {
                return Err(wrong(None, format!("is one JSON object, and its \"{name}\" is no label")));
            }
            let pair = |(number, (file, label)): (u64, (String, Value))| {
                let pair = [("file", Value::String(file)), ("label", label)];
                (number, pair.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            };
            Ok((1..).zip(labels).map(pair).collect())
        }
        _ => Err(wrong(None, "is no JSON object".to_owned())),
    }
}

/// Whether the whole file is one object, not one a line.
fn is_one_object(path: &Path, text: &str) -> bool {
    let lines = path.extension().is_some_and(|ending| ending != "json");
    !lines && serde_json::from_str::<serde_json::Map<String, Value>>(text).is_ok()
        || text.lines().next().is_some_and(|line| line.trim() == "{")
}

/// Excel's first line `sep=;`, which says what separates the columns: the text after it, the number of its
/// line.
fn separator_line(text: &str) -> (&str, u64, Option<char>) {
    let first = text.split(['\r', '\n']).next().unwrap_or_default();
    let mut stated = first.trim().strip_prefix("sep=").unwrap_or_default().trim_matches('"').chars();
    match (stated.next(), stated.next()) {
        (Some(delimiter), None) if delimiter.is_ascii() => {
            let rest = &text[first.len()..];
            (rest.strip_prefix("\r\n").or(rest.get(1..)).unwrap_or_default(), 2, Some(delimiter))
        }
        // The separator that the trimming took: a tab.
        _ if first == "sep=\t" => (text[first.len()..].trim_start_matches(['\r', '\n']), 2, Some('\t')),
        _ => (text, 1, None),
    }
}

/// Steps over the lines at the beginning that begin with `#`, but for one that names the columns of those
/// below.
fn leading_comments(text: &str, first_line: u64, stated: Option<char>) -> (&str, u64) {
    let mut rest = text;
    let mut line = first_line;
    let mut last = None;
    while rest.starts_with('#') {
        let end = rest
            .find(['\r', '\n'])
            .map_or(rest.len(), |end| end + if rest[end..].starts_with("\r\n") { 2 } else { 1 });
        last = Some((&rest[1..], line));
        rest = &rest[end..];
        line += 1;
    }
    let Some((header, header_line)) = last else { return (text, first_line) };
    let delimiter = stated.unwrap_or_else(|| delimiter_of(rest));
    let row =
        |text| Reader { text, at: 0, line: 1, delimiter }.next().and_then(Result::ok).unwrap_or_default();
    let names = |row: &Row| row.cells.iter().any(|cell| names::is_known(cell));
    let (first, named, next) = (row(text), row(header), row(rest));
    let is_header = named.width() > 1
        && named.width() == next.width()
        && names(&named)
        && !names(&next)
        && !is_sentence(named.cells.iter().map(String::as_str));
    // A row whose id begins so: as wide as the others.
    let as_wide = rest.trim().is_empty() || first.width() == next.width();
    let is_row = first.width() > 1 && as_wide && !is_header && !names(&next);
    match (is_header, is_row) {
        (true, _) => (header, header_line),
        (_, true) => (text, first_line),
        _ => (rest, line),
    }
}

/// Whether words are rather those of a sentence than the names of columns: `one label per line`, `ID: 1:37`.
fn is_sentence<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    const OF_SENTENCES: [&str; 9] = ["per", "the", "is", "are", "of", "each", "one", "and", "for"];
    words.any(|word| word.contains(':') || OF_SENTENCES.contains(&word.to_lowercase().as_str()))
}

/// The names of so many columns in a comment, which are words, or two: `BREED ID`.
fn names_in(comment: &str, columns: usize) -> Option<Vec<String>> {
    if is_sentence(comment.split_whitespace()) {
        return None;
    }
    let mut names: Vec<String> = comment.split_whitespace().map(str::to_owned).collect();
    let is_second = |word: &String| ["id", "name", "number", "index"].contains(&word.to_lowercase().as_str());
    while names.len() > columns {
        let second =
            (1..names.len()).rev().find(|&at| is_second(&names[at]) && !names[at - 1].contains(' '))?;
        let word = names.remove(second);
        names[second - 1] = format!("{} {word}", names[second - 1]);
    }
    Some(names).filter(|names| names.len() == columns)
}

/// Steps over a first line that only says how many rows there are, as those of CelebA do.
fn number_of_rows(text: &str, first_line: u64) -> (&str, u64) {
    let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
    let Some((first, rest)) = text.split_once('\n') else { return (text, first_line) };
    let Ok(number) = first.trim().parse::<usize>() else { return (text, first_line) };
    let is_number = lines(rest) == number || lines(rest) == number + 1;
    let is_row = rest.lines().next().is_none_or(|next| next.split_whitespace().count() < 2);
    if is_number && !is_row { (rest, first_line + 1) } else { (text, first_line) }
}

/// What separates the columns: what gives the rows as many cells as the first one.
fn delimiter_of(text: &str) -> char {
    let mut best: Option<((bool, usize), char)> = None;
    for delimiter in [',', '\t', ';', '|'] {
        let Some((width, evidence, fraction)) = columns_of(text, delimiter) else { continue };
        if width > 1 && best.is_none_or(|(other, _)| (evidence, fraction) > other) {
            best = Some(((evidence, fraction), delimiter));
        }
    }
    if let Some((_, delimiter)) = best {
        return delimiter;
    }
    match columns_of(text, ' ') {
        Some((2.., true, 1000)) => ' ',
        _ => ',',
    }
}

/// How many columns the first row has, whether they are known by name or hold names of images, and how many
/// of a thousand rows have no more than it and at least two.
fn columns_of(text: &str, delimiter: char) -> Option<(usize, bool, usize)> {
    let rows: Vec<Row> = Reader { text, at: 0, line: 1, delimiter }
        .map_while(Result::ok)
        .filter(|row| row.width() > 0 && !(row.width() == 1 && row.cells[0].starts_with('#')))
        .take(SOME_ROWS)
        .collect();
    let first = rows.first()?;
    let width = first.width();
    let fits = |row: &&Row| {
        row.width() <= width && row.cells.len() > 1 && (delimiter != ' ' || row.width() == width)
    };
    let images = rows.iter().filter(|row| row.cells.iter().any(|cell| ends_as_image(cell))).count();
    let known = first.cells.iter().filter(|cell| names::is_known(cell)).count();
    let evidence = known > 1 || known > 0 && delimiter != ' ' || 2 * images > rows.len();
    // R's header lacks the name of the first column.
    let unnamed = || counts(&rows[1..], 0) || rows[1..].iter().all(|row| ends_as_image(row.cell(0)));
    let shifted = rows.len() > 1 && rows[1..].iter().all(|row| row.cells.len() == width + 1) && unnamed();
    let fraction = if shifted { 1000 } else { rows.iter().filter(fits).count() * 1000 / rows.len() };
    Some((width, evidence, fraction))
}

/// Whether files of this ending, in small letters, are images that are read.
pub(super) fn is_image_ending(ending: &str) -> bool {
    Format::ALL.iter().any(|format| format.extensions().contains(&ending))
}

/// Whether a cell ends as the names of images do.
pub(super) fn ends_as_image(cell: &str) -> bool {
    cell.rsplit_once('.').is_some_and(|(_, ending)| is_image_ending(&ending.to_lowercase()))
}

/// A quote that does not end as it should.
struct Broken {
    line: u64,
    detail: String,
}

impl Broken {
    fn error(self, path: &Path) -> DataError {
        table_error(
            path,
            Some(self.line),
            self.detail,
            "close the quote, or write \"\" for one within a cell",
        )
    }
}

/// Rows one after the other.
struct Reader<'a> {
    text: &'a str,
    /// The byte that is next.
    at: usize,
    /// Its line, from 1.
    line: u64,
    delimiter: char,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn is_delimiter(&self, byte: u8) -> bool {
        byte == self.delimiter as u8 || self.delimiter == ' ' && byte == b'\t'
    }

    /// Steps over a line's end.
    fn end_line(&mut self) {
        self.at += if self.text[self.at..].starts_with("\r\n") { 2 } else { 1 };
        self.line += 1;
    }

    /// The text up to the next delimiter or line's end.
    fn plain(&mut self) -> &str {
        let start = self.at;
        while self.peek().is_some_and(|byte| !matches!(byte, b'\r' | b'\n') && !self.is_delimiter(byte)) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// A cell in quotes, of which the first is next.
    fn quoted(&mut self) -> Result<String, Broken> {
        let opened = self.line;
        self.at += 1;
        let mut cell = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| !matches!(byte, b'"' | b'\r' | b'\n')) {
                self.at += 1;
            }
            cell.push_str(&self.text[start..self.at]);
            match self.peek() {
                None => {
                    let detail = "opens a quote that is never closed".to_owned();
                    return Err(Broken { line: opened, detail });
                }
                Some(b'"') if self.text.as_bytes().get(self.at + 1) == Some(&b'"') => {
                    cell.push('"');
                    self.at += 2;
                }
                Some(b'"') => break,
                Some(_) => {
                    cell.push('\n');
                    self.end_line();
                }
            }
        }
        self.at += 1;
        let closed = self.line;
        let rest = self.plain();
        if !rest.trim().is_empty() && closed > opened {
            let rest = shortened(rest);
            let detail = format!("opens a quote that row {closed} closes amid a cell, before {rest}");
            return Err(Broken { line: opened, detail });
        }
        cell.push_str(rest);
        Ok(cell)
    }

    fn row(&mut self) -> Result<Row, Broken> {
        let mut row = Row { line: self.line, ..Row::default() };
        loop {
            while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t') && !self.is_delimiter(byte)) {
                self.at += 1;
            }
            let opened = self.line;
            let is_quoted = self.peek() == Some(b'"');
            let cell = if is_quoted { self.quoted()? } else { self.plain().to_owned() };
            if self.line > opened {
                row.long.push((row.cells.len(), opened));
            }
            // Several spaces are as good as one.
            if is_quoted || self.delimiter != ' ' || !cell.trim().is_empty() {
                row.cells.push(cell.trim().to_owned());
            }
            match self.peek() {
                Some(byte) if self.is_delimiter(byte) => self.at += 1,
                Some(_) => {
                    self.end_line();
                    return Ok(row);
                }
                None => return Ok(row),
            }
        }
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Row, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.peek()?;
        let row = self.row();
        if row.is_err() {
            self.at = self.text.len();
        }
        Some(row)
    }
}
