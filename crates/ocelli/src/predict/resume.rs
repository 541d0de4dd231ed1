//! What an interrupted table of predictions holds: whole rows, which are kept, and perhaps the beginning of one
//! more, which is dropped.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use ocelli_data::{text_of, unescape_formula};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::predict::table::{TableFormat, TableLayout};

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
    /// Digests of the paths, which take less memory than the paths.
    paths: HashSet<[u8; 16]>,
}

impl KeptRows {
    /// Whether the table has a row of this path.
    pub fn contains(&self, path: &Path) -> bool {
        !self.paths.is_empty() && self.paths.contains(&key(&text_of(path)))
    }

    fn add(&mut self, path: &str, has_error: bool) {
        self.rows += 1;
        self.errors += usize::from(has_error);
        self.paths.insert(key(path));
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
        let rows = BufReader::new(open()?.take(whole));
        match layout.format {
            TableFormat::Csv => kept.read_csv(rows, path, layout)?,
            TableFormat::JsonLines => kept.read_json_lines(rows, path)?,
            TableFormat::Json => {
                return Err(Error::setting("format", "json", "csv or jsonl, to resume a table"));
            }
        }
        Ok(kept)
    }

    fn read_csv(&mut self, rows: impl Read, path: &Path, layout: &TableLayout) -> Result<()> {
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
                self.add(unescape_formula(&record[0]), !record[3].is_empty());
            }
            number += 1;
        }
    }

    fn read_json_lines(&mut self, rows: impl BufRead, path: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Row {
            path: String,
            error: Option<String>,
        }
        for (number, line) in rows.split(b'\n').enumerate() {
            let line = line.map_err(Error::io("read", path))?;
            let row: Row = serde_json::from_slice(&line).map_err(|error| Error::OtherTable {
                path: path.to_owned(),
                row: number + 1,
                reason: error.to_string(),
            })?;
            self.add(&row.path, row.error.is_some());
        }
        Ok(())
    }
}

fn key(path: &str) -> [u8; 16] {
    *blake3::hash(path.as_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes")
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
