//! Rows of numbers, in memory or, where they are many, in a scratch file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ocelli_data::files::Scratch;

use crate::error::{Error, Result};

/// Rows of numbers that are all equally long, by their numbers from 0.
///
/// Few are in memory. From some size on they are in a scratch file, if there is a folder for it: a batch's rows
/// are then read when it is trained on, mostly from the system's file cache, which gives way where memory is
/// short.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowStore {
    place: Place,
    /// Where a scratch file may be made.
    folder: Option<PathBuf>,
    /// The bytes that may be in memory.
    most: usize,
}

#[derive(Debug, Clone)]
enum Place {
    Memory(Vec<f32>),
    /// Copies share the file: each knows its rows by their numbers, and rows never change.
    Scratch(Arc<Mutex<Filed>>),
}

/// Rows in a file; the last ones are written together.
#[derive(Debug)]
struct Filed {
    scratch: Scratch,
    /// Values that are not in the file yet, after those that are.
    unwritten: Vec<f32>,
}

/// The memory that rows take before they move to a scratch file.
const MOST_IN_MEMORY: usize = 256 << 20;
/// Values that are written to the file at once.
const WRITTEN_AT_ONCE: usize = 1 << 20;

impl Default for Place {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl RowStore {
    /// None yet; large ones go to a scratch file on the disk of this folder.
    pub(crate) fn spilling_to(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), most: MOST_IN_MEMORY, ..Self::default() }
    }

    /// Another one with the same limit and folder.
    pub(crate) fn empty_like(&self) -> Self {
        Self { place: Place::default(), folder: self.folder.clone(), most: self.most }
    }

    /// Adds a row; returns its number.
    ///
    /// # Errors
    /// Where the scratch file fails, and cannot be read again either.
    pub(crate) fn push(&mut self, row: &[f32]) -> Result<usize> {
        if let Place::Memory(values) = &mut self.place {
            let number = values.len() / row.len();
            values.extend_from_slice(row);
            if size_of_val(&values[..]) > self.most
                && let Some(folder) = self.folder.take()
                // Where no file can be made, memory has to do.
                && let Ok(scratch) = Scratch::create(&folder)
            {
                self.folder = Some(folder);
                let mut filed = Filed { scratch, unwritten: std::mem::take(values) };
                match filed.write() {
                    Ok(()) => self.place = Place::Scratch(Arc::new(Mutex::new(filed))),
                    Err(_) => {
                        self.folder = None;
                        *values = filed.read_all()?;
                    }
                }
            }
            return Ok(number);
        }
        let Place::Scratch(filed) = &self.place else { unreachable!("not in memory") };
        let mut filed = filed.lock().unwrap_or_else(PoisonError::into_inner);
        let number = filed.len() / row.len();
        filed.unwritten.extend_from_slice(row);
        if filed.unwritten.len() >= WRITTEN_AT_ONCE && filed.write().is_err() {
            // The disk is full: everything goes back to memory.
            let values = filed.read_all()?;
            drop(filed);
            (self.place, self.folder) = (Place::Memory(values), None);
        }
        Ok(number)
    }

    /// Appends the row of this number, which has this length.
    ///
    /// # Errors
    /// Where the scratch file cannot be read.
    pub(crate) fn append_to(&self, values: &mut Vec<f32>, number: usize, length: usize) -> Result<()> {
        match &self.place {
            Place::Memory(rows) => values.extend_from_slice(&rows[number * length..][..length]),
            Place::Scratch(filed) => {
                let filed = filed.lock().unwrap_or_else(PoisonError::into_inner);
                filed.append_to(values, number * length, length)?;
            }
        }
        Ok(())
    }
}

impl Filed {
    /// The number of values.
    fn len(&self) -> usize {
        self.written() + self.unwritten.len()
    }

    fn written(&self) -> usize {
        self.scratch.len() as usize / size_of::<f32>()
    }

    /// Writes what is not in the file yet; where that fails, no value is lost.
    fn write(&mut self) -> std::io::Result<()> {
        // Piece by piece: the bytes are a copy.
        let mut done = 0;
        let mut result = Ok(());
        for piece in self.unwritten.chunks(WRITTEN_AT_ONCE) {
            let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_le_bytes()).collect();
            result = self.scratch.append(&bytes);
            if result.is_err() {
                break;
            }
            done += piece.len();
        }
        if result.is_ok() {
            self.unwritten = Vec::new();
        } else {
            self.unwritten.drain(..done);
        }
        result
    }

    fn append_to(&self, values: &mut Vec<f32>, from: usize, length: usize) -> Result<()> {
        let written = self.written();
        if from >= written {
            values.extend_from_slice(&self.unwritten[from - written..][..length]);
            return Ok(());
        }
        // Rows are written in whole pieces of many, which may end within a row.
        let in_file = length.min(written - from);
        let mut bytes = vec![0; in_file * size_of::<f32>()];
        let offset = (from * size_of::<f32>()) as u64;
        self.scratch.read_at(&mut bytes, offset).map_err(|source| Error::Io {
            action: "read features from a scratch file in",
            path: self.scratch.folder().to_owned(),
            source,
        })?;
        values.extend(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)));
        values.extend_from_slice(&self.unwritten[..length - in_file]);
        Ok(())
    }

    /// All values.
    fn read_all(&self) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(self.len());
        self.append_to(&mut values, 0, self.written())?;
        values.extend_from_slice(&self.unwritten);
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 5000;

    fn row(number: usize) -> Vec<f32> {
        (0..LENGTH).map(|at| (number * LENGTH + at) as f32).collect()
    }

    /// All rows, in an order that jumps.
    fn check(rows: &RowStore, count: usize) {
        for number in (0..count).map(|at| at * 7 % count) {
            let mut values = vec![-1.0];
            rows.append_to(&mut values, number, LENGTH).unwrap();
            assert!(values[0] == -1.0 && values[1..] == row(number), "row {number} of {count}");
        }
    }

    #[test]
    fn rows_are_the_same_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = RowStore { most: 100 * LENGTH * 4, ..RowStore::spilling_to(folder.path()) };
        // More than is written at once, so that pieces end within rows.
        let count = 3 * WRITTEN_AT_ONCE / LENGTH + 20;
        for number in 0..count {
            assert_eq!(rows.push(&row(number)).unwrap(), number);
            if number % 97 == 0 {
                check(&rows, number + 1);
            }
        }
        assert!(matches!(rows.place, Place::Scratch(_)));
        check(&rows, count);
        // Copies go on independently.
        let mut copy = rows.clone();
        let (own, other) = (rows.push(&row(count)).unwrap(), copy.push(&row(count + 1)).unwrap());
        let mut values = Vec::new();
        rows.append_to(&mut values, own, LENGTH).unwrap();
        copy.append_to(&mut values, other, LENGTH).unwrap();
        assert_eq!(values, [row(count), row(count + 1)].concat());
        // The file has no name, and nothing is left of it.
        drop((rows, copy));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_a_folder_rows_stay_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        std::fs::write(&file, "").unwrap();
        for mut rows in [RowStore::default(), RowStore { most: 0, ..RowStore::spilling_to(&file) }] {
            (0..30).for_each(|number| assert_eq!(rows.push(&row(number)).unwrap(), number));
            assert!(matches!(rows.place, Place::Memory(_)));
            check(&rows, 30);
        }
    }
}
