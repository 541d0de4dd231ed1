//! A table of predictions in a file: a stream that can be resumed (CSV, JSON Lines), or written whole (JSON).

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ocelli_data::files::{self, Lock};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::model::prediction::Prediction;
use crate::predict::resume::KeptRows;
use crate::predict::settings::TableSettings;
use crate::predict::table::{TableLayout, TableWriter};

/// A table of predictions that is being written to a file.
///
/// CSV and JSON Lines grow row by row, so that an interrupted table can be [resumed](Self::resume). JSON
/// appears when it is [finished](Self::finish), whole or not at all.
#[derive(Debug)]
pub struct PredictionFile {
    path: PathBuf,
    table: Target,
}

#[derive(Debug)]
enum Target {
    Stream(TableWriter<Appender>),
    Whole(TableWriter<BufWriter<NamedTempFile>>),
}

/// Rows wait for others until there are this many bytes, or until this time has passed.
const WAITING: usize = 1 << 15;
const LONGEST: Duration = Duration::from_secs(1);

/// Appends to a file.
#[derive(Debug)]
struct Appender {
    path: PathBuf,
    waiting: Vec<u8>,
    written: Instant,
    /// Keeps other processes from writing to the same table.
    _lock: Lock,
}

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= WAITING || self.written.elapsed() >= LONGEST {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            files::append(&self.path, &self.waiting)?;
            self.waiting.clear();
        }
        self.written = Instant::now();
        Ok(())
    }
}

impl PredictionFile {
    /// Begins a table in a new file. Missing folders are created.
    ///
    /// # Errors
    /// [`Error::TableExists`] where the file exists; where it cannot be written.
    pub fn create(path: impl AsRef<Path>, layout: TableLayout, settings: &TableSettings) -> Result<Self> {
        let path = path.as_ref();
        if path.symlink_metadata().is_ok() {
            return Err(Error::TableExists { path: path.to_owned() });
        }
        let folder = files::folder_of(path);
        files::create_dir_all(folder).map_err(Error::io("create", folder))?;
        if layout.format.is_resumable() {
            settings.write(path)?;
            let lock = locked(path)?;
            files::append(path, &layout.header()).map_err(Error::io("write", path))?;
            return Ok(Self::stream(path, layout, lock));
        }
        let out = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder);
        let out = BufWriter::new(out.map_err(Error::io("write", path))?);
        let table = TableWriter::new(out, layout).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_owned(), table: Target::Whole(table) })
    }

    /// Continues a table. Its whole rows are kept, and the beginning of another row is dropped. A table that does
    /// not exist is begun.
    ///
    /// # Errors
    /// [`Error::TableWithoutSettings`] and [`Error::OtherTableSettings`] where it was not made with these
    /// settings; [`Error::OtherTable`] where a row is not as this layout writes it; [`Error::TableBusy`] where
    /// another process is writing to it; [`Error::Setting`] where its format cannot be continued.
    pub fn resume(
        path: impl AsRef<Path>,
        layout: TableLayout,
        settings: &TableSettings,
    ) -> Result<(Self, KeptRows)> {
        let path = path.as_ref();
        if !layout.format.is_resumable() {
            return Err(Error::setting("format", "json", "csv or jsonl, to resume a table"));
        }
        if !path.exists() {
            return Ok((Self::create(path, layout, settings)?, KeptRows::default()));
        }
        settings.check(path)?;
        let lock = locked(path)?;
        let kept = KeptRows::read(path, &layout)?;
        if kept.was_torn {
            files::truncate(path, kept.length).map_err(Error::io("write", path))?;
        }
        if kept.length == 0 {
            files::append(path, &layout.header()).map_err(Error::io("write", path))?;
        }
        Ok((Self::stream(path, layout, lock), kept))
    }

    fn stream(path: &Path, layout: TableLayout, lock: Lock) -> Self {
        let appender =
            Appender { path: path.to_owned(), waiting: Vec::new(), written: Instant::now(), _lock: lock };
        Self { path: path.to_owned(), table: Target::Stream(TableWriter::resumed(appender, layout)) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the row of a prediction.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&mut self, prediction: &Prediction) -> Result<()> {
        match &mut self.table {
            Target::Stream(table) => table.write(prediction),
            Target::Whole(table) => table.write(prediction),
        }
        .map_err(Error::io("write", &self.path))
    }

    /// Writes the row of a file that could not be read.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_error(&mut self, path: &Path, reason: &str) -> Result<()> {
        match &mut self.table {
            Target::Stream(table) => table.write_error(path, reason),
            Target::Whole(table) => table.write_error(path, reason),
        }
        .map_err(Error::io("write", &self.path))
    }

    /// Hands the rows so far to the system.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        match &mut self.table {
            Target::Stream(table) => table.flush(),
            Target::Whole(table) => table.flush(),
        }
        .map_err(Error::io("write", &self.path))
    }

    /// Ends the table.
    ///
    /// # Errors
    /// Where the file cannot be written, or another process has created one of its name meanwhile.
    pub fn finish(self) -> Result<()> {
        let path = self.path;
        match self.table {
            Target::Stream(table) => {
                let finish = || {
                    table.finish()?;
                    files::sync(&path)
                };
                finish().map_err(Error::io("write", &path))
            }
            Target::Whole(table) => {
                let finish = || {
                    let file = table.finish()?.into_inner().map_err(|error| error.into_error())?;
                    file.as_file().sync_all()?;
                    file.persist_noclobber(&path).map_err(|error| error.error)
                };
                finish().map(drop).map_err(Error::io("write", &path))
            }
        }
    }
}

/// The lock of a table: on its settings' file.
fn locked(table: &Path) -> Result<Lock> {
    let path = TableSettings::path(table);
    let lock = files::lock(&path).map_err(Error::io("lock", &path))?;
    lock.ok_or_else(|| Error::TableBusy { path: table.to_owned() })
}
