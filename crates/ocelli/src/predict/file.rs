//! A table of predictions in a file: a stream that can be resumed (CSV, JSON Lines), or written whole (JSON, Parquet).

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ocelli_data::files::{self, Lock};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::model::prediction::Prediction;
use crate::predict::columns::ColumnWriter;
use crate::predict::resume::{KeptRow, KeptRows};
use crate::predict::settings::TableSettings;
use crate::predict::table::{TableFormat, TableLayout, TableWriter};

/// A table of predictions that is being written to a file.
///
/// CSV and JSON Lines grow row by row, so that an interrupted table can be [resumed](Self::resume). JSON and Parquet
/// appear when they are [finished](Self::finish), whole or not at all; memory holds a group of rows of Parquet.
#[derive(Debug)]
pub struct PredictionFile {
    path: PathBuf,
    layout: TableLayout,
    settings: TableSettings,
    /// Whether there was no file.
    is_new: bool,
    /// Once there is a file.
    table: Option<Target>,
    /// When this value was made: half-written files in the folder that are older are left by others.
    created: SystemTime,
}

#[derive(Debug)]
enum Target {
    Stream(TableWriter<Appender>),
    Whole(TableWriter<BufWriter<NamedTempFile>>),
    Columns(Box<ColumnWriter<BufWriter<NamedTempFile>>>),
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
    /// Begins a table in a new file. It is created with its first row, or at its end; missing folders as well.
    ///
    /// # Errors
    /// [`Error::TableExists`] where the file exists.
    pub fn create(path: impl AsRef<Path>, layout: TableLayout, settings: &TableSettings) -> Result<Self> {
        let path = path.as_ref();
        check_new(path)?;
        let settings = settings.clone();
        Ok(Self {
            path: path.to_owned(),
            layout,
            settings,
            is_new: true,
            table: None,
            created: SystemTime::now(),
        })
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
            let name = if layout.format == TableFormat::Json { "json" } else { "parquet" };
            return Err(Error::setting("format", name, "csv or jsonl, to resume a table"));
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
        let table = Some(stream(path, layout.clone(), lock));
        let (path, settings) = (path.to_owned(), settings.clone());
        Ok((Self { path, layout, settings, is_new: false, table, created: SystemTime::now() }, kept))
    }

    /// Calls `take` with each row that was kept, in their order.
    ///
    /// # Errors
    /// Those of `take`; where the table cannot be read.
    pub fn each_kept(&self, kept: &KeptRows, take: &mut dyn FnMut(KeptRow) -> Result<()>) -> Result<()> {
        kept.each(&self.path, &self.layout, take)
    }

    /// The table, which is created if it was not yet.
    fn table(&mut self) -> Result<&mut Target> {
        let begun = match self.table.take() {
            Some(table) => table,
            None => self.begin()?,
        };
        Ok(self.table.insert(begun))
    }

    /// Creates the file; JSON and Parquet under a temporary name.
    fn begin(&self) -> Result<Target> {
        let (path, layout) = (&self.path, self.layout.clone());
        check_new(path)?;
        let folder = files::folder_of(path);
        files::create_dir_all(folder).map_err(Error::io("create", folder))?;
        files::sweep(folder, self.created.elapsed().unwrap_or_default());
        if layout.format.is_resumable() {
            self.settings.write(path)?;
            let lock = locked(path)?;
            files::append(path, &layout.header()).map_err(Error::io("write", path))?;
            return Ok(stream(path, layout, lock));
        }
        let out = BufWriter::new(files::temporary(path).map_err(Error::io("write", path))?);
        let begin = || match layout.format {
            TableFormat::Parquet => Ok(Target::Columns(Box::new(ColumnWriter::new(out, layout)?))),
            _ => Ok(Target::Whole(TableWriter::new(out, layout)?)),
        };
        begin().map_err(Error::io("write", path))
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
        match self.table()? {
            Target::Stream(table) => table.write(prediction),
            Target::Whole(table) => table.write(prediction),
            Target::Columns(table) => table.write(prediction),
        }
        .map_err(Error::io("write", &self.path))
    }

    /// Writes the row of a file that could not be read.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_error(&mut self, path: &Path, reason: &str) -> Result<()> {
        match self.table()? {
            Target::Stream(table) => table.write_error(path, reason),
            Target::Whole(table) => table.write_error(path, reason),
            Target::Columns(table) => table.write_error(path, reason),
        }
        .map_err(Error::io("write", &self.path))
    }

    /// Hands the rows so far to the system.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        match &mut self.table {
            Some(Target::Stream(table)) => table.flush(),
            Some(Target::Whole(table)) => table.flush(),
            Some(Target::Columns(table)) => table.flush(),
            None => Ok(()),
        }
        .map_err(Error::io("write", &self.path))
    }

    /// Leaves no file, where no row of a new table is worth keeping. A table that was there is ended.
    ///
    /// # Errors
    /// Where the file cannot be removed, or written.
    pub fn discard(self) -> Result<()> {
        if !self.is_new {
            return self.finish();
        }
        if let Some(Target::Stream(table)) = self.table {
            // What waits to be written would create the file again.
            drop(table);
            for path in [&self.path, &TableSettings::path(&self.path)] {
                files::remove(path).map_err(Error::io("remove", path))?;
            }
        }
        Ok(())
    }

    /// Ends the table.
    ///
    /// # Errors
    /// Where the file cannot be written, or another process has created one of its name meanwhile.
    pub fn finish(mut self) -> Result<()> {
        self.table()?;
        let path = self.path;
        match self.table.expect("it was just begun") {
            Target::Stream(table) => {
                let finish = || {
                    table.finish()?;
                    files::sync(&path)
                };
                finish().map_err(Error::io("write", &path))
            }
            Target::Whole(table) => {
                table.finish().and_then(|out| persist(out, &path)).map_err(Error::io("write", &path))
            }
            Target::Columns(table) => {
                table.finish().and_then(|out| persist(out, &path)).map_err(Error::io("write", &path))
            }
        }
    }
}

/// Gives a temporary file its name, unless another file has it.
fn persist(out: BufWriter<NamedTempFile>, path: &Path) -> io::Result<()> {
    let file = out.into_inner().map_err(|error| error.into_error())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

fn stream(path: &Path, layout: TableLayout, lock: Lock) -> Target {
    let appender =
        Appender { path: path.to_owned(), waiting: Vec::new(), written: Instant::now(), _lock: lock };
    Target::Stream(TableWriter::resumed(appender, layout))
}

/// Checks that there is no file of this name.
fn check_new(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(Error::TableExists { path: path.to_owned() }),
        Err(_) => Ok(()),
    }
}

/// The lock of a table: on its settings' file.
fn locked(table: &Path) -> Result<Lock> {
    let path = TableSettings::path(table);
    let lock = files::lock(&path).map_err(Error::io("lock", &path))?;
    lock.ok_or_else(|| Error::TableBusy { path: table.to_owned() })
}
