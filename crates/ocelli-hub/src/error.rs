//! What can go wrong while weights are looked up or downloaded, with a workaround.

use std::io;
use std::path::{Path, PathBuf};

use ocelli_data::{DataError, io_reason};

/// Why weights by name cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server cannot be reached.
    #[error("cannot reach {url}: {reason}; {}", by_hand(url, path))]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why not.
        reason: String,
        /// Where the file belongs.
        path: PathBuf,
    },
    /// A server does not answer.
    #[error("{url} does not answer: {reason}")]
    NoAnswer {
        /// What was asked for.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The server does not give the file.
    #[error("{url}: the server answers {status}; {}", by_hand(url, path))]
    Refused {
        /// What was asked for.
        url: String,
        /// The status: number and meaning.
        status: String,
        /// Where the file belongs.
        path: PathBuf,
    },
    /// The download was interrupted again and again.
    #[error(
        "{url}: {reason}, {attempts} times; {received} bytes are kept, and the next attempt resumes from there; \
         otherwise {}",
        by_hand(url, path)
    )]
    Interrupted {
        /// What was asked for.
        url: String,
        /// What happened last.
        reason: String,
        /// How often in a row nothing came.
        attempts: u32,
        /// The bytes that have come so far.
        received: u64,
        /// Where the file belongs.
        path: PathBuf,
    },
    /// What came is not what was published.
    #[error(
        "{url}: the downloaded file is not the published one: its SHA-256 begins with {found}, expected {expected}{}; {}",
        if *page { "; it is a web page, perhaps a proxy's" } else { "" },
        by_hand(url, path)
    )]
    WrongContent {
        /// What was asked for.
        url: String,
        /// The checksum that was published, or its beginning.
        expected: String,
        /// As many digits of that of the content.
        found: String,
        /// Whether the content is HTML.
        page: bool,
        /// Where the file belongs.
        path: PathBuf,
    },
    /// More came than any file of weights holds.
    #[error(
        "{url}: the server sends more than {limit} bytes, more than any file of weights has; {}",
        by_hand(url, path)
    )]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit in bytes.
        limit: u64,
        /// Where the file belongs.
        path: PathBuf,
    },
    /// A file in the cache folder is not what was published.
    #[error(
        "{}: is damaged, or another file: its {algorithm} begins with {found}, expected {expected}; \
         download it again, or remove it",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// "SHA-256" or "BLAKE3 hash".
        algorithm: &'static str,
        /// The checksum that was published or recorded, or its beginning.
        expected: String,
        /// As many digits of the file's.
        found: String,
    },
    /// There is no folder for the cache.
    #[error(
        "there is no home folder to hold the cache; name a folder with the environment variable OCELLI_CACHE"
    )]
    NoCacheFolder,
    /// The watcher asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// Reading or writing failed.
    #[error("cannot {action} {}: {}", path.display(), io_reason(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(DataError),
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Io { action, path, source } => Self::Io { action, path, source },
            error => Self::Write(error),
        }
    }
}

impl Error {
    /// Wraps the system's reason with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    /// A damaged file, with as much of its hashes as people compare.
    pub(crate) fn damaged(path: PathBuf, algorithm: &'static str, expected: &str, found: &str) -> Self {
        let beginning = |digits: &str| digits.chars().take(12).collect();
        Self::Damaged { path, algorithm, expected: beginning(expected), found: beginning(found) }
    }
}

fn by_hand(url: &str, path: &Path) -> String {
    format!("download {url} in another way and save it as {}", path.display())
}
