//! What an interrupted table of predictions holds: whole rows, which are kept, and perhaps the beginning of one
//! more, which is dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use ocelli_data::{Task, path_text, unescape_formula};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as TextError, StringDeserializer};

use crate::error::{Error, Result};
use crate::predict::path_set::PathSet;
use crate::predict::table::{TableFormat, TableLayout};

/// The column of CSV that says whether a photo is called unknown, where there is one.
const UNKNOWN: usize = 4;

/// The rows of an interrupted table.
#[derive(Debug, Default)]
pub struct KeptRows {
    /// The number of rows.
    pub rows: usize,
    /// Those of them whose file could not be read.
    pub errors: usize,
    /// Whether the beginning of another row was dropped.
    pub was_torn: bool,
    /// The length of the whole rows, in bytes.
    pub(crate) length: u64,
    paths: PathSet,
}

/// What a row says about a photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRow {
    /// The photo.
    pub path: PathBuf,
    /// The classes that were predicted; none where no class was, or the photo could not be read.
    pub labels: Vec<String>,
    /// Whether it was called unknown.
    pub unknown: bool,
    /// Whether it could not be read.
    pub failed: bool,
}

impl KeptRows {
    /// Whether the table has a row of this path.
    pub fn contains(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// Reads the whole rows of a table.
    ///
    /// # Errors
    /// [`Error::OtherTable`] where a row is not as this layout writes it.
    pub(crate) fn read(path: &Path, layout: &TableLayout) -> Result<Self> {
        let open = || File::open(path).map_err(Error::io("read", path));
        let length = open()?.metadata().map_err(Error::io("read", path))?.len();
        let whole = whole_length(open()?, layout.format).map_err(Error::io("read", path))?;
        let mut kept = Self { length: whole, was_torn: whole < length, ..Self::default() };
        each_row(path, whole, layout, &mut |row: Row| {
            kept.rows += 1;
            kept.errors += usize::from(row.error.is_some());
            kept.paths.insert_text(&row.path);
            Ok(())
        })?;
        Ok(kept)
    }

    /// Reads the rows that were kept again, which are still the first ones of the table.
    pub(crate) fn each(
        &self,
        path: &Path,
        layout: &TableLayout,
        take: &mut dyn FnMut(KeptRow) -> Result<()>,
    ) -> Result<()> {
        match self.rows {
            // There may be no file yet.
            0 => Ok(()),
            _ => each_row(path, self.length, layout, &mut |row: Row| take(row.kept())),
        }
    }
}

/// A row, as far as it matters for what is kept: an object of JSON Lines, or the same in CSV.
#[derive(Deserialize)]
struct Row {
    path: String,
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    classes: Option<Vec<String>>,
    #[serde(default)]
    unknown: Option<bool>,
    #[serde(default)]
    error: Option<String>,
}

impl Row {
    fn of_csv(record: &csv::StringRecord, layout: &TableLayout) -> Self {
        let text = |cell: usize| unescape_formula(&record[cell]).to_owned();
        let given = |cell: usize| Some(text(cell)).filter(|text| !text.is_empty());
        let several = layout.task == Task::MultiLabel;
        let labels = || given(1).map(|labels| labels.split(layout.separator).map(str::to_owned).collect());
        Self {
            path: text(0),
            class: if several { None } else { given(1) },
            classes: if several { labels() } else { None },
            unknown: layout.unknown.then(|| &record[UNKNOWN] == "true"),
            error: given(3),
        }
    }

    fn kept(self) -> KeptRow {
        KeptRow {
            path: path_of(self.path),
            labels: self.class.into_iter().chain(self.classes.into_iter().flatten()).collect(),
            unknown: self.unknown.unwrap_or(false),
            failed: self.error.is_some(),
        }
    }
}

/// The path that a row names.
fn path_of(text: String) -> PathBuf {
    let text: StringDeserializer<TextError> = text.into_deserializer();
    path_text::deserialize(text).expect("every text is a path")
}

/// Reads the rows in the first bytes of a table, so many.
fn each_row(
    path: &Path,
    length: u64,
    layout: &TableLayout,
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<()> {
    let rows = BufReader::new(File::open(path).map_err(Error::io("read", path))?.take(length));
    match layout.format {
        TableFormat::Csv => each_row_of_csv(rows, path, layout, take),
        TableFormat::JsonLines => each_row_of_json_lines(rows, path, take),
        TableFormat::Json | TableFormat::Parquet => {
            Err(Error::setting("format", "json", "csv or jsonl, to resume a table"))
        }
    }
}

fn each_row_of_csv(
    rows: impl Read,
    path: &Path,
    layout: &TableLayout,
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(rows);
    let columns = layout.columns();
    let mut record = csv::StringRecord::new();
    let mut number = 0;
    loop {
        let other = |reason: String| Error::OtherTable { path: path.to_owned(), row: number + 1, reason };
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Io(source) => return Err(Error::io("read", path)(source)),
                csv::ErrorKind::Utf8 { .. } => return Err(other("it is not UTF-8".to_owned())),
                _ => return Err(other("it is not CSV".to_owned())),
            },
        }
        if record.len() != columns.len() {
            return Err(other(format!("it has {} cells, expected {}", record.len(), columns.len())));
        }
        if number == 0 {
            if !record.iter().map(unescape_formula).eq(columns.iter().map(String::as_str)) {
                return Err(other("the header has other columns".to_owned()));
            }
        } else {
            take(Row::of_csv(&record, layout))?;
        }
        number += 1;
    }
}

fn each_row_of_json_lines(
    rows: impl BufRead,
    path: &Path,
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<()> {
    for (number, line) in rows.split(b'\n').enumerate() {
        let line = line.map_err(Error::io("read", path))?;
        let row = serde_json::from_slice(&line).map_err(|error| Error::OtherTable {
            path: path.to_owned(),
            row: number + 1,
            reason: error.to_string(),
        })?;
        take(row)?;
    }
    Ok(())
}

/// The length of the rows that end, in bytes: a row ends with a line break, which in CSV may also stand in a
/// quoted cell.
fn whole_length(mut file: impl Read, format: TableFormat) -> std::io::Result<u64> {
    let (mut whole, mut at, mut quoted) = (0, 0, false);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok(whole),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for byte in &buffer[..read] {
            at += 1;
            match byte {
                // A quote in a cell is doubled.
                b'"' if format == TableFormat::Csv => quoted = !quoted,
                b'\n' if !quoted => whole = at,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_with_a_line_break_outside_of_quotes() {
        let length = |text: &str, format| whole_length(text.as_bytes(), format).unwrap();
        assert_eq!(length("a,b\n1,2\n3", TableFormat::Csv), 8);
        assert_eq!(length("a,b\n\"x\ny\",2\n", TableFormat::Csv), 12);
        assert_eq!(length("a,b\n\"x\ny", TableFormat::Csv), 4);
        assert_eq!(length("a,b\n\"x\"\"\ny", TableFormat::Csv), 4);
        assert_eq!(length("a", TableFormat::Csv), 0);
        assert_eq!(length("", TableFormat::Csv), 0);
        assert_eq!(length("{\"a\":\"\\\"\"}\n{\"a\n", TableFormat::JsonLines), 15);
    }
}
