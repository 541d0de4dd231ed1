//! All access to the files that Ocelli writes and reads again: run folders and the cache folder.
//!
//! Files are written whole or not at all, and each step goes through here, so that tests can make any of them
//! fail: see `fault.rs`.

mod fault;
mod scratch;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::{DataError, io_reason};
use fault::Step;

pub use scratch::Scratch;

/// The prefix of the name of a file that is being written.
const WRITING: &str = ".writing-";

/// Writes `bytes` to `path`: into a temporary file beside it, synced to disk, then renamed. Readers of `path`
/// see the old content or the new, never a part, even after a crash. Missing folders are created.
///
/// A symbolic link is followed: the file that it names is replaced, or created. What is no file, such as a
/// device or a named pipe, is opened and written, since a file in its place would not be what was asked for.
pub fn write_whole(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), DataError> {
    let path = path.as_ref();
    let failed = |error| DataError::io("write", path)(with_need(error, bytes.len()));
    if is_stream(path) {
        return write_through(path, bytes).map_err(failed);
    }
    let path = &followed(path).map_err(failed)?;
    let folder = folder_of(path);
    create_dir_all(folder).map_err(DataError::io("create", folder))?;
    let write = || {
        fault::step(Step::Create, path)?;
        let mut file = tempfile::Builder::new()
            .prefix(WRITING)
            .permissions(readable_by_others())
            .tempfile_in(folder)
            .map_err(|error| in_folder(folder, error))?;
        // A lock that nobody waits for: see `sweep`.
        let _ = file.as_file().try_lock();
        let temporary = file.path().to_owned();
        fault::write(file.as_file_mut(), &temporary, bytes)?;
        fault::sync(&temporary)?;
        file.as_file().sync_all()?;
        fault::rename(&temporary, path)?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)
    };
    write().map_err(failed)
}

/// Whether a path leads to something that takes bytes but is no file: a device, a named pipe, a socket.
pub fn is_stream(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Writes to a device or a pipe, which is not synced: most cannot be.
fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fault::step(Step::Create, path)?;
    let mut file = OpenOptions::new().write(true).open(path)?;
    fault::write(&mut file, path, bytes)
}

/// The most links that lead from one to the next, as in Linux.
const MOST_LINKS: usize = 40;

/// What a path leads to at the end of all symbolic links, whether that exists or not.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if !path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            return Ok(path);
        }
        // A relative target starts from the folder of the link.
        path = folder_of(&path).join(fs::read_link(&path)?);
    }
    Err(io::Error::other("symbolic links that lead to each other"))
}

/// Appends `bytes` to a file, which is created if needed; on failure the old content is unchanged.
///
/// # Errors
/// The system's.
pub fn append(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    fault::step(Step::Create, path)?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    fault::write(&mut file, path, bytes).map_err(|error| {
        let _ = file.set_len(before); // half a line would spoil the next one
        with_need(error, bytes.len())
    })
}

/// Cuts a file off after this many bytes.
///
/// # Errors
/// The system's.
pub fn truncate(path: impl AsRef<Path>, length: u64) -> io::Result<()> {
    let path = path.as_ref();
    fault::step(Step::Create, path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// Replaces the first bytes of a file, which is longer.
///
/// # Errors
/// The system's.
pub fn overwrite_start(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    fault::step(Step::Write, path)?;
    OpenOptions::new().write(true).open(path)?.write_all(bytes)
}

/// A file's bytes.
///
/// # Errors
/// The system's.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    fault::step(Step::Open, path)?;
    let mut file = File::open(path)?;
    fault::step(Step::Read, path)?;
    let mut bytes = Vec::with_capacity(file.metadata().map_or(0, |metadata| metadata.len() as usize));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file's bytes as text.
///
/// # Errors
/// The system's; [`ErrorKind::InvalidData`] where they are not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

/// The BLAKE3 hash of a file's bytes.
///
/// # Errors
/// The system's.
pub fn hash(path: impl AsRef<Path>) -> io::Result<blake3::Hash> {
    let path = path.as_ref();
    fault::step(Step::Open, path)?;
    let file = File::open(path)?;
    fault::step(Step::Read, path)?;
    Ok(blake3::Hasher::new().update_reader(file)?.finalize())
}

/// The entries of a folder, sorted; empty if it does not exist.
///
/// # Errors
/// The system's.
pub fn list(folder: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
    let folder = folder.as_ref();
    fault::step(Step::List, folder)?;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Creates a folder and its parents.
///
/// # Errors
/// The system's.
pub fn create_dir_all(folder: impl AsRef<Path>) -> io::Result<()> {
    let folder = folder.as_ref();
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    create_dir_all(folder_of(folder))?;
    match create_dir(folder) {
        // Another process has created it.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        // A file, or a device.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(ErrorKind::NotADirectory.into()),
        made => made,
    }
}

/// The error of something that could not be created in a folder. Where that exists, it is not what is missing.
pub fn in_folder(folder: &Path, error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::NotFound if folder.is_dir() => {
            let reason = match folder.canonicalize() {
                Ok(folder) => format!("nothing can be created in {}", folder.display()),
                Err(_) => "its folder has been removed".to_owned(),
            };
            io::Error::new(ErrorKind::Unsupported, reason)
        }
        _ => error,
    }
}

/// Creates a folder that must not exist.
///
/// # Errors
/// The system's; [`ErrorKind::AlreadyExists`] where it exists.
pub fn create_dir(folder: impl AsRef<Path>) -> io::Result<()> {
    let folder = folder.as_ref();
    fault::step(Step::Folder, folder)?;
    fs::create_dir(folder).map_err(|error| in_folder(folder_of(folder), error))?;
    sync_folder(folder_of(folder))
}

/// Whether a folder holds nothing, or does not exist.
///
/// # Errors
/// The system's; [`ErrorKind::NotADirectory`] where it is a file.
pub fn is_new_or_empty(folder: impl AsRef<Path>) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        entries => Ok(entries?.next().is_none()),
    }
}

/// A folder that is there whole or not at all: its files are written into a temporary folder beside it, which
/// then gets its name. Where the folder exists and is empty, which may be the working folder, they are written
/// in it and moved at the end. Dropped before that, nothing is left.
#[derive(Debug)]
pub struct NewFolder {
    folder: PathBuf,
    is_there: bool,
    temporary: tempfile::TempDir,
}

impl NewFolder {
    /// Begins a folder that is new or empty.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        let is_there = folder.is_dir();
        let place = if is_there { &folder } else { folder_of(&folder) };
        create_dir_all(place)?;
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temporary = builder.prefix(WRITING).tempdir_in(place).map_err(|error| in_folder(place, error))?;
        Ok(Self { folder, is_there, temporary })
    }

    /// Where its files are written.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// The system's; nothing is left then.
    pub fn finish(self) -> io::Result<()> {
        let Self { folder, is_there, temporary } = self;
        if !is_there {
            let renamed = rename(temporary.path(), &folder);
            match &renamed {
                Ok(()) => drop(temporary.keep()),
                // It has its name, and the disk failed after that.
                Err(_) if !temporary.path().exists() => drop(fs::remove_dir_all(&folder)),
                Err(_) => {}
            }
            return renamed;
        }
        let mut moved = Vec::new();
        for path in list(temporary.path())? {
            let to = folder.join(path.file_name().unwrap_or_default());
            moved.push(to.clone());
            if let Err(error) = rename(&path, &to) {
                for path in &moved {
                    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Removes a file.
///
/// # Errors
/// The system's.
pub fn remove(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    fault::remove(path)?;
    fs::remove_file(path)
}

/// Renames a file whose content is synced to disk, replacing an existing one.
///
/// # Errors
/// The system's.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    fault::rename(from, to)?;
    fs::rename(from, to)?;
    sync_folder(folder_of(to))
}

/// Syncs a file's content to disk.
///
/// # Errors
/// The system's.
pub fn sync(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    fault::sync(path)?;
    // Windows only syncs writable handles.
    OpenOptions::new().write(true).open(path)?.sync_all()
}

/// A name is durable once its folder is synced. Systems that cannot sync folders need not.
fn sync_folder(folder: &Path) -> io::Result<()> {
    fault::sync_folder(folder)?;
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(error),
        // EIO: a disk failure.
        Err(error) if cfg!(unix) && error.raw_os_error() == Some(5) => Err(error),
        _ => Ok(()),
    }
}

/// A temporary file beside the file that it becomes, for a writer that fills it step by step. It is locked, so
/// that [`sweep`] leaves it alone until its writer ends, and as readable as other files.
///
/// # Errors
/// The system's.
pub fn temporary(path: impl AsRef<Path>) -> io::Result<tempfile::NamedTempFile> {
    let path = path.as_ref();
    let mut builder = tempfile::Builder::new();
    builder.prefix(WRITING).permissions(readable_by_others());
    let file = builder.tempfile_in(folder_of(path))?;
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Removes half-written files of killed writers from a folder: those not written to for at least `age`, and
/// not locked by a living writer. Pass zero if nobody else is writing there. What cannot be removed stays.
pub fn sweep(folder: impl AsRef<Path>, age: Duration) {
    let Ok(entries) = list(folder) else { return };
    let half_written = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(WRITING))
    };
    for path in entries.into_iter().filter(half_written) {
        let written = path.metadata().and_then(|metadata| metadata.modified());
        let old =
            written.is_ok_and(|written| SystemTime::now().duration_since(written).unwrap_or_default() >= age);
        let locked =
            || File::open(&path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        if old && !locked() {
            let _ = remove(&path);
        }
    }
}

/// Files that other processes may be writing do not count as left over before this age: a write takes
/// seconds.
pub const LEFT: Duration = Duration::from_secs(60 * 60);

/// A lock, released when the value is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Locks a file, which is created if needed, against other processes; `None` if another one has it. File
/// systems without locks lock out nobody.
///
/// # Errors
/// The system's, where the file cannot be created.
pub fn lock(path: impl AsRef<Path>) -> io::Result<Option<Lock>> {
    let path = path.as_ref();
    fault::step(Step::Create, path)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Lock { _file: file })),
    }
}

/// Whether another process has [locked](lock) this file; not where that cannot be seen.
pub fn is_locked(path: impl AsRef<Path>) -> bool {
    // Released at once, as the file is closed.
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The folder that a file is in; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The error of a full disk, with the space that was needed.
fn with_need(error: io::Error, bytes: usize) -> io::Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            let need = match bytes {
                0..100_000 => format!("{bytes} bytes"),
                _ => format!("{:.1} MB", bytes as f64 / 1e6),
            };
            io::Error::new(error.kind(), format!("{}; {need} were to be written", io_reason(&error)))
        }
        _ => error,
    }
}

/// Temporary files are private by default; results get the permissions of the system's mask.
fn readable_by_others() -> fs::Permissions {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(not(unix))]
    return tempfile::tempfile().and_then(|file| file.metadata()).expect("a temporary file").permissions();
}
