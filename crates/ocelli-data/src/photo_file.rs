//! Photos are read from files alone, and from none without end.

use std::fs::{self, File, FileType};
use std::io::Read;
use std::path::Path;

use crate::DecodeError;
use crate::decode::budget;

/// A photo's file that has more bytes than this is read while no other image is decoded.
const LARGE: u64 = 64 << 20;

/// Opens a file, and nothing else that has a path: a folder has no bytes, a device may have no end, and who
/// opens a named pipe waits until somebody writes to it.
///
/// # Errors
/// [`DecodeError::NotAFile`], and [`DecodeError::Io`] with the system's reason.
pub(crate) fn open_photo(path: &Path) -> Result<File, DecodeError> {
    // A pipe must not even be opened; what was opened is checked again, since paths may change in between.
    regular(fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// The bytes of a photo's file, of which there may be `limit`.
///
/// # Errors
/// [`DecodeError::NotAFile`], [`DecodeError::FileTooLarge`], and [`DecodeError::Io`] with the system's reason.
pub fn read_photo(path: &Path, limit: u64) -> Result<Vec<u8>, DecodeError> {
    let file = open_photo(path)?;
    let length = file.metadata()?.len();
    if length > limit {
        return Err(DecodeError::FileTooLarge { bytes: length, limit });
    }
    let _scope = budget::scope();
    if length > LARGE {
        budget::claim(budget::CAPACITY);
    }
    let mut bytes = Vec::with_capacity(length as usize + 1);
    // A file may grow while it is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(DecodeError::FileTooLarge { bytes: bytes.len() as u64, limit }),
        false => Ok(bytes),
    }
}

/// Refuses what is no file, by its name.
fn regular(kind: FileType) -> Result<(), DecodeError> {
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return Err(DecodeError::NotAFile { found: "a folder" });
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Err(DecodeError::NotAFile { found: "a pipe" });
        }
        if kind.is_socket() {
            return Err(DecodeError::NotAFile { found: "a socket" });
        }
        if kind.is_char_device() || kind.is_block_device() {
            return Err(DecodeError::NotAFile { found: "a device" });
        }
    }
    Err(DecodeError::NotAFile { found: "no file" })
}
