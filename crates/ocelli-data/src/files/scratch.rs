//! A file for values that would take too much memory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::fault::{self, Step};
use super::{create_dir_all, in_folder, with_need};

/// A file without a name, which nothing else reads: its room is free again once it is dropped, or its process
/// has ended. What is appended to it can be read back at any offset, by several threads at once.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    folder: PathBuf,
    length: u64,
}

impl Scratch {
    /// An empty one, on the disk of a folder, which is created if needed.
    ///
    /// # Errors
    /// The system's.
    pub fn create(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref();
        create_dir_all(folder)?;
        fault::step(Step::Create, folder)?;
        let file = tempfile::tempfile_in(folder).map_err(|error| in_folder(folder, error))?;
        Ok(Self { file, folder: folder.to_owned(), length: 0 })
    }

    /// The folder on whose disk it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The number of bytes in it.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends bytes; where that fails, it is as before.
    ///
    /// # Errors
    /// The system's.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        fault::step(Step::Write, &self.folder)?;
        write_at(&self.file, bytes, self.length).map_err(|error| with_need(error, bytes.len()))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Fills `bytes` with what is at an offset.
    ///
    /// # Errors
    /// The system's; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) beyond the end.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        read_at(&self.file, bytes, offset)
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        (bytes, offset) = (&bytes[written..], offset + written as u64);
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (bytes, offset) = (&mut bytes[read..], offset + read as u64);
    }
    Ok(())
}
