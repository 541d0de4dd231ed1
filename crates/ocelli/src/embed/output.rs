//! Features of many photos in a file, written in pieces: an interrupted output continues.
//!
//! While it is made, the rows stand in `OUT.part` and a journal in `OUT.journal`. The journal has a line of
//! JSON for each photo that is done: its path, size and modification time, and how long `OUT.part` then was.
//! Rows are synced to disk before the journal names them. An output continues after the longest beginning of
//! the journal that lists the same photos, unchanged, in the same order. Finished rows of other settings, or of
//! another first photo, are not dropped: the output is refused.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ocelli_data::{escape_formula, files, text_of};
use ocelli_nn::{Backbone, Precision};
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::embed::nearest::normalize;
use crate::embed::npy::{HEADER, header};
use crate::embed::{Embedder, Embedding};
use crate::error::{Error, Result};
use crate::parquet::{Cell, Column, Kind, ParquetWriter};

/// The form of a file of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingFormat {
    /// NumPy's array `[photos, features]` in f32.
    Npy,
    /// NumPy's archive of the arrays `features` and `paths`.
    Npz,
    /// A table: `path`, then one column per feature.
    Csv,
    /// A JSON object per line, with `path` and `features`.
    Jsonl,
    /// Parquet with the columns `path` and `features`, a list of 32-bit floats. While it is made, rows are those of
    /// NumPy's array, so that it continues as the others do.
    Parquet,
}

/// Options of [`Embedder::write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbedOptions {
    /// The form of the file.
    pub format: EmbeddingFormat,
    /// Scale each photo's features to length 1 (L2).
    pub normalize: bool,
}

/// What happens while a file of features is written.
#[derive(Debug, Clone, Copy)]
pub enum EmbedEvent<'a> {
    /// An interrupted output continues after this many photos.
    Resumed(usize),
    /// A photo could not be read.
    Skipped(&'a Path, &'a str),
    /// This many photos of all are done.
    Progress(usize, usize),
}

/// A file of features that has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbedSummary {
    /// Photos with features: the rows of the file.
    pub rows: usize,
    /// The features of each.
    pub features: usize,
    /// Photos that could not be read.
    pub skipped: usize,
    /// The table of all photos with their rows, counted from 0, or the reason why they have none.
    pub index: PathBuf,
}

impl EmbeddingFormat {
    /// The form that a file's extension names.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "npy" => Some(Self::Npy),
            "npz" => Some(Self::Npz),
            "csv" => Some(Self::Csv),
            "jsonl" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// The bytes before the first row.
    fn begin(self, width: usize) -> Vec<u8> {
        match self {
            // The number of rows is filled in at the end.
            Self::Npy | Self::Npz => header("<f4", &[0, width]).to_vec(),
            Self::Csv => {
                let columns: String = (0..width).map(|index| format!(",feature_{index}")).collect();
                format!("path{columns}\n").into_bytes()
            }
            Self::Jsonl | Self::Parquet => Vec::new(),
        }
    }

    fn add_row(self, out: &mut Vec<u8>, path: &Path, row: &[f32]) {
        let path = || text_of(path);
        match self {
            Self::Npy | Self::Npz | Self::Parquet => {
                out.extend(row.iter().flat_map(|value| value.to_le_bytes()))
            }
            Self::Csv => {
                out.extend(csv_line(
                    std::iter::once(escape_formula(&path()).into_owned())
                        .chain(row.iter().map(f32::to_string)),
                ));
            }
            Self::Jsonl => {
                serde_json::to_writer(&mut *out, &Line { path: path(), features: row }).expect("memory");
                out.push(b'\n');
            }
        }
    }
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    path: String,
    features: &'a [f32],
}

fn csv_line(cells: impl Iterator<Item = String>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).expect("memory can be written");
    writer.into_inner().expect("memory can be written")
}

/// The first line of a journal: everything that rows depend on, except the photos.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Origin {
    ocelli_embed: u32,
    /// The version of Ocelli.
    version: String,
    /// The backbone's name.
    backbone: String,
    /// The number of stages that run.
    layer: usize,
    size: usize,
    precision: Precision,
    max_pixels: u64,
    format: EmbeddingFormat,
    normalize: bool,
    /// The digest of the network and its preprocessing.
    key: String,
}

/// The version of the journal's form.
const FORM: u32 = 2;

impl Origin {
    fn new<B: Backbone>(embedder: &Embedder<B>, options: EmbedOptions) -> Self {
        Self {
            ocelli_embed: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            backbone: embedder.arch.clone(),
            layer: embedder.stages,
            size: embedder.preprocessing.size,
            precision: embedder.network.precision(),
            max_pixels: embedder.decoder().max_pixels,
            format: options.format,
            normalize: options.normalize,
            key: embedder.key(),
        }
    }

    /// How earlier settings differ from these, for people.
    fn differences(&self, before: &Self) -> String {
        let mut differences = Vec::new();
        let mut compare = |what: &str, before: String, now: String| {
            if before != now {
                differences.push(format!("{what} was {before} and is {now}"));
            }
        };
        let format = |format: EmbeddingFormat| format!("{format:?}").to_lowercase();
        compare("the backbone", before.backbone.clone(), self.backbone.clone());
        compare("the layer", before.layer.to_string(), self.layer.to_string());
        compare("the image size", before.size.to_string(), self.size.to_string());
        compare("the precision", before.precision.to_string(), self.precision.to_string());
        compare("`max_pixels` ", before.max_pixels.to_string(), self.max_pixels.to_string());
        compare("the format", format(before.format), format(self.format));
        compare("the scaling to length 1", before.normalize.to_string(), self.normalize.to_string());
        compare("the version of Ocelli", before.version.clone(), self.version.clone());
        if differences.is_empty() {
            // Weights, other preprocessing, the processor.
            let digest = |key: &str| key.get(..8).unwrap_or(key).to_owned();
            let (before, now) = (digest(&before.key), digest(&self.key));
            differences.push(format!("the network (by its digest) was {before} and is {now}"));
        }
        differences.join("; ").replace("  ", " ")
    }
}

/// A line of a journal: a photo that is done.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    path: String,
    /// Its size and modification time in nanoseconds, if it could be asked for.
    file: Option<(u64, u128)>,
    /// Why it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The length of the rows so far, in bytes.
    end: u64,
}

/// Photos between two writes; a killed process loses at most as many.
const PHOTOS_A_PIECE: usize = 1024;

/// The files of an output that is being made.
struct Output<'a> {
    out: &'a Path,
    part: PathBuf,
    journal: PathBuf,
    options: EmbedOptions,
    width: usize,
    /// Photos that are done, and those of them that have a row.
    done: usize,
    rows: usize,
    /// The length of the rows so far.
    end: u64,
}

impl<B: Backbone> Embedder<B> {
    /// Writes the features of photos to the file `out`, in their order, and beside it `OUT.index.csv`, a table
    /// of all photos with their rows. Memory does not grow with the number of photos but for their paths. An
    /// interrupted output continues: which photos are done is known by their path, size and modification
    /// time, in `OUT.journal`, which is removed at the end.
    ///
    /// # Errors
    /// [`Error::Stopped`] where `observer` asks to stop; [`Error::OutputPath`] where `out` exists, or another
    /// process is writing it; [`Error::OtherEmbedSettings`] where an interrupted output was begun with others;
    /// [`Error::NothingToWrite`] where no photo can be read; where a file cannot be written.
    pub fn write(
        &self,
        photos: &[PathBuf],
        out: &Path,
        options: EmbedOptions,
        observer: &mut dyn FnMut(EmbedEvent) -> ControlFlow<()>,
    ) -> Result<EmbedSummary> {
        let refused = |reason: &str| Error::OutputPath { path: out.to_owned(), reason: reason.to_owned() };
        if out.symlink_metadata().is_ok() {
            return Err(refused("this file exists already"));
        }
        let folder = files::folder_of(out);
        files::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let beside = |end: &str| {
            let mut name = out.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let (part, journal) = (beside(".part"), beside(".journal"));
        let Some(_lock) = files::lock(beside(".lock")).map_err(Error::io("create", out))? else {
            return Err(refused("another process is writing it"));
        };
        let origin = Origin::new(self, options);
        let width = self.features();
        let mut output = Output { out, part, journal, options, width, done: 0, rows: 0, end: 0 };
        output.check(&origin, photos)?;
        let skipped_before = output.resume(&origin, photos, observer)?;
        let mut skipped = skipped_before;
        while output.done < photos.len() {
            let piece = &photos[output.done..photos.len().min(output.done + PHOTOS_A_PIECE)];
            skipped += output.add(self, piece, photos.len(), observer)?;
        }
        if output.rows == 0 && !photos.is_empty() {
            for path in [&output.part, &output.journal, &beside(".lock")] {
                let _ = files::remove(path);
            }
            return Err(Error::NothingToWrite { path: out.to_owned(), photos: photos.len() });
        }
        let index = beside(".index.csv");
        output.finish(&index)?;
        let _ = files::remove(beside(".lock"));
        Ok(EmbedSummary { rows: output.rows, features: width, skipped, index })
    }
}

impl Output<'_> {
    /// Checks that no finished rows would be dropped: those of other settings, or of other photos.
    fn check(&self, origin: &Origin, photos: &[PathBuf]) -> Result<()> {
        let Ok(file) = File::open(&self.journal) else { return Ok(()) };
        let mut lines = BufReader::new(file).lines().map_while(std::io::Result::ok);
        let Some(before) = lines.next().and_then(|line| serde_json::from_str::<Origin>(&line).ok()) else {
            return Ok(());
        };
        let mut done = lines.map_while(|line| serde_json::from_str::<Done>(&line).ok());
        let Some(first) = done.next() else { return Ok(()) };
        if first.reason.is_some() && done.all(|done| done.reason.is_some()) {
            return Ok(());
        }
        let differences = match photos.first().map(text_of) {
            _ if before != *origin => origin.differences(&before),
            Some(photo) if photo != first.path => {
                format!("the first photo was {} and is {photo}", first.path)
            }
            _ => return Ok(()),
        };
        Err(Error::OtherEmbedSettings { path: self.out.to_owned(), differences })
    }

    /// Finds what an interrupted output has done, or begins anew; returns the number of skipped photos.
    fn resume(
        &mut self,
        origin: &Origin,
        photos: &[PathBuf],
        observer: &mut dyn FnMut(EmbedEvent) -> ControlFlow<()>,
    ) -> Result<usize> {
        let mut skipped = 0;
        let length = std::fs::metadata(&self.part).map_or(0, |found| found.len());
        let begin = self.options.format.begin(self.width);
        let mut of_journal = 0;
        if let Ok(file) = File::open(&self.journal) {
            let mut lines = BufReader::new(file);
            let mut line = Vec::new();
            let mut next = |line: &mut Vec<u8>| {
                line.clear();
                // A line without an end was being written.
                lines.read_until(b'\n', line).is_ok_and(|_| line.ends_with(b"\n"))
            };
            let same =
                next(&mut line) && serde_json::from_slice::<Origin>(&line).is_ok_and(|it| it == *origin);
            if same && length >= begin.len() as u64 {
                of_journal = line.len() as u64;
                self.end = begin.len() as u64;
                while let Some(photo) = photos.get(self.done)
                    && next(&mut line)
                    && let Ok(done) = serde_json::from_slice::<Done>(&line)
                    && done.path == text_of(photo)
                    && done.file == file_state(photo)
                    && (self.end..=length).contains(&done.end)
                {
                    of_journal += line.len() as u64;
                    self.end = done.end;
                    self.done += 1;
                    match &done.reason {
                        None => self.rows += 1,
                        Some(reason) => {
                            skipped += 1;
                            let _ = observer(EmbedEvent::Skipped(photo, reason));
                        }
                    }
                }
            }
        }
        if self.done > 0 {
            files::truncate(&self.part, self.end).map_err(Error::io("write", &self.part))?;
            files::truncate(&self.journal, of_journal).map_err(Error::io("write", &self.journal))?;
            if observer(EmbedEvent::Resumed(self.done)).is_break() {
                return Err(Error::Stopped);
            }
            return Ok(skipped);
        }
        for path in [&self.journal, &self.part] {
            if path.exists() {
                files::remove(path).map_err(Error::io("remove", path))?;
            }
        }
        files::append(&self.part, &begin).map_err(Error::io("write", &self.part))?;
        self.end = begin.len() as u64;
        let line = serde_json::to_string(origin).expect("plain values serialise") + "\n";
        files::append(&self.journal, line.as_bytes()).map_err(Error::io("write", &self.journal))?;
        Ok(skipped)
    }

    /// Computes and writes the rows of some photos; returns the number of those skipped.
    fn add<B: Backbone>(
        &mut self,
        embedder: &Embedder<B>,
        photos: &[PathBuf],
        total: usize,
        observer: &mut dyn FnMut(EmbedEvent) -> ControlFlow<()>,
    ) -> Result<usize> {
        // Asked for before the photos are read: one that is changed meanwhile is computed again.
        let states: Vec<_> = photos.iter().map(|photo| file_state(photo)).collect();
        let (mut rows, mut lines, mut skipped, mut stops) = (Vec::new(), Vec::new(), 0, false);
        let mut of_piece = 0;
        for (embedding, file) in embedder.embed(photos.iter().cloned())?.zip(states) {
            let (path, reason) = match embedding {
                Ok(Embedding { path, mut features, .. }) => {
                    if self.options.normalize {
                        normalize(&mut features);
                    }
                    self.options.format.add_row(&mut rows, &path, &features);
                    self.rows += 1;
                    (path, None)
                }
                Err(Error::Photo { path, reason }) => {
                    stops |= observer(EmbedEvent::Skipped(&path, &reason)).is_break();
                    skipped += 1;
                    (path, Some(reason))
                }
                Err(error) => return Err(error),
            };
            let done = Done { path: text_of(&path), file, reason, end: self.end + rows.len() as u64 };
            serde_json::to_writer(&mut lines, &done).expect("memory can be written");
            lines.push(b'\n');
            of_piece += 1;
            stops |= observer(EmbedEvent::Progress(self.done + of_piece, total)).is_break();
            if stops {
                break;
            }
        }
        files::append(&self.part, &rows).map_err(Error::io("write", &self.part))?;
        files::sync(&self.part).map_err(Error::io("write", &self.part))?;
        files::append(&self.journal, &lines).map_err(Error::io("write", &self.journal))?;
        self.end += rows.len() as u64;
        self.done += of_piece;
        if stops { Err(Error::Stopped) } else { Ok(skipped) }
    }

    /// Makes the file and its index from the parts.
    fn finish(&mut self, index: &Path) -> Result<()> {
        let paths = self.write_index(index)?;
        let write = |error| Error::io("write", self.out)(error);
        if matches!(self.options.format, EmbeddingFormat::Npy | EmbeddingFormat::Npz) {
            let begin = header("<f4", &[self.rows, self.width]);
            files::overwrite_start(&self.part, &begin).map_err(write)?;
            files::sync(&self.part).map_err(write)?;
        }
        if matches!(self.options.format, EmbeddingFormat::Npz | EmbeddingFormat::Parquet) {
            let whole = self.part.with_extension("part-whole");
            match self.options.format {
                EmbeddingFormat::Npz => self.write_archive(&whole, index, paths),
                _ => self.write_table(&whole, index),
            }
            .map_err(write)?;
            files::sync(&whole).map_err(write)?;
            files::rename(&whole, self.out).map_err(write)?;
            files::remove(&self.part).map_err(Error::io("remove", &self.part))?;
        } else {
            files::sync(&self.part).map_err(write)?;
            files::rename(&self.part, self.out).map_err(write)?;
        }
        files::remove(&self.journal).map_err(Error::io("remove", &self.journal))
    }

    /// Writes the table of all photos; returns the number of characters of the longest path with a row.
    fn write_index(&self, index: &Path) -> Result<usize> {
        let part = self.part.with_extension("part-index");
        let mut longest = 0;
        let mut write = || -> std::io::Result<()> {
            let mut lines = BufReader::new(File::open(&self.journal)?);
            let mut writer = csv::Writer::from_writer(BufWriter::new(File::create(&part)?));
            writer.write_record(["path", "row", "reason"])?;
            let (mut line, mut row) = (Vec::new(), 0);
            lines.read_until(b'\n', &mut line)?;
            for _ in 0..self.done {
                line.clear();
                lines.read_until(b'\n', &mut line)?;
                let done: Done = serde_json::from_slice(&line)?;
                let path = escape_formula(&done.path).into_owned();
                match done.reason {
                    None => {
                        longest = longest.max(done.path.chars().count());
                        writer.write_record([&path, &row.to_string(), ""])?;
                        row += 1;
                    }
                    Some(reason) => writer.write_record([&path, "", &escape_formula(&reason)])?,
                }
            }
            writer.flush()?;
            drop(writer);
            files::sync(&part)?;
            files::rename(&part, index)
        };
        write().map_err(Error::io("write", index))?;
        Ok(longest)
    }

    /// Writes the archive of the arrays `features` and `paths`.
    fn write_archive(&self, archive: &Path, index: &Path, longest: usize) -> std::io::Result<()> {
        let mut zip = ZipWriter::new(BufWriter::new(File::create(archive)?));
        // Not compressed, as by `numpy.savez`, of any size, and without the time, so that the same features give the
        // same bytes.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(true)
            .last_modified_time(DateTime::default());
        zip.start_file("features.npy", options)?;
        std::io::copy(&mut File::open(&self.part)?, &mut zip)?;
        zip.start_file("paths.npy", options)?;
        // NumPy's text has a fixed number of characters, four bytes each, padded with zeros.
        let longest = longest.max(1);
        zip.write_all(&header(&format!("<U{longest}"), &[self.rows]))?;
        each_path(index, |path| {
            let letters = path.chars().map(u32::from).chain(std::iter::repeat(0)).take(longest);
            let bytes: Vec<u8> = letters.flat_map(u32::to_le_bytes).collect();
            zip.write_all(&bytes)
        })?;
        zip.finish()?.flush()
    }

    /// Writes the table of the columns `path` and `features`.
    fn write_table(&self, table: &Path, index: &Path) -> std::io::Result<()> {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let columns = vec![column("path", Kind::Text), column("features", Kind::Floats)];
        let mut table = ParquetWriter::new(BufWriter::new(File::create(table)?), columns)?;
        let mut rows = BufReader::new(File::open(&self.part)?);
        let mut bytes = vec![0; 4 * self.width];
        each_path(index, |path| {
            rows.read_exact(&mut bytes)?;
            let values = bytes.as_chunks::<4>().0.iter();
            let values: Vec<f32> = values.map(|value| f32::from_le_bytes(*value)).collect();
            table.row([Cell::Text(path), Cell::Floats(&values)])
        })?;
        table.finish()?.flush()
    }
}

/// Calls `take` with the paths that have a row, in their order.
fn each_path(index: &Path, mut take: impl FnMut(&str) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut table = csv::Reader::from_path(index)?;
    for record in table.records() {
        let record = record?;
        if record.get(1).is_some_and(|row| !row.is_empty()) {
            take(ocelli_data::unescape_formula(record.get(0).unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// The size and modification time of a file.
fn file_state(path: &Path) -> Option<(u64, u128)> {
    let found = std::fs::metadata(path).ok()?;
    let modified = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((found.len(), modified.as_nanos()))
}

const _: () = assert!(HEADER.is_multiple_of(64));
