//! Why a figure cannot be written.

use std::io;
use std::path::PathBuf;

/// Why a figure cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file's name says no format that can be written.
    #[error("{}: figures are written as .png or .svg; end the name in one of them", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}
