//! What can go wrong while weights are fetched, with a way round it.

use std::path::PathBuf;

/// Why weights by name cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
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
    /// The transfer was cut again and again.
    #[error(
        "{url}: {reason}, {attempts} times; {received} bytes are kept, and the same command goes on from there; \
         otherwise {}",
        by_hand(url, path)
    )]
    Cut {
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
        "{url}: what came is not the file that was published: its SHA-256 begins with {found}, {expected} is \
         expected{}; {}",
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
    #[error("{url}: more than {limit} bytes come, which is no file of weights; {}", by_hand(url, path))]
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
        "{}: is damaged, or another file: its {algorithm} begins with {found}, {expected} is expected; fetch it \
         again with `ocelli pull`, or remove it",
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
}

impl PullError {
    /// A damaged file, with as much of its hashes as people compare.
    pub(super) fn damaged(path: PathBuf, algorithm: &'static str, expected: &str, found: &str) -> Self {
        let beginning = |digits: &str| digits.chars().take(12).collect();
        Self::Damaged { path, algorithm, expected: beginning(expected), found: beginning(found) }
    }
}

fn by_hand(url: &str, path: &std::path::Path) -> String {
    format!("get {url} in another way, and save it as {}", path.display())
}
