//! Files are written whole or not at all; photos are read from files alone, and from none without end.

use std::fs::{self, File, FileType};
use std::io::{Read, Write};
use std::path::Path;

use crate::decode::budget;
use crate::{DataError, DecodeError};

/// A photo's file that has more bytes than this is read while no other image is decoded.
const LARGE: u64 = 64 << 20;

/// Opens a file, and nothing else that has a path: a folder has no bytes, a device may have no end, and who opens a
/// named pipe waits until somebody writes to it.
///
/// # Errors
/// [`DecodeError::NotAFile`], and [`DecodeError::Io`] with the system's reason.
pub(crate) fn open_photo(path: &Path) -> Result<File, DecodeError> {
    // A pipe must not even be opened; what is opened is looked at again, since paths may change in between.
    regular(fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// The bytes of a photo's file, of which there may be `limit`.
///
/// # Errors
/// Those of [`open_photo`], and [`DecodeError::FileTooLarge`].
pub(crate) fn read_photo(path: &Path, limit: u64) -> Result<Vec<u8>, DecodeError> {
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

/// Writes `bytes` to `path`: into a temporary file beside it, forced to the disk, then renamed. Whoever reads
/// `path` sees the old content or the new, never a part, even after a crash. Folders on the way are made.
pub fn write_whole(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), DataError> {
    let path = path.as_ref();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(DataError::io("create", folder))?;
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".writing-")
            .permissions(readable_by_others())
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The rename itself lasts once the folder is on the disk; systems that cannot sync folders need not.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    };
    write().map_err(DataError::io("write", path))
}

/// Temporary files are private by default; results are for everyone whom the system's mask admits.
fn readable_by_others() -> fs::Permissions {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(not(unix))]
    return tempfile::tempfile().and_then(|file| file.metadata()).expect("a temporary file").permissions();
}
