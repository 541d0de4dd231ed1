//! What can go wrong with TFLite files.

/// Everything that this crate can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation of the network has no operator in TFLite.
    #[error("the operation {operation:?} cannot be written as TFLite")]
    NoOperator {
        /// The operation.
        operation: String,
    },
    /// There is not a normalization for each channel.
    #[error("the network takes {channels} channels, and the normalization is for {given}")]
    Channels {
        /// The network's.
        channels: usize,
        /// The normalization's.
        given: usize,
    },
    /// A class cannot be a line of `labels.txt`.
    #[error(
        "the class {class:?} has a line break in its name, and labels.txt in a TFLite file has a class in each line"
    )]
    Label {
        /// The class.
        class: String,
    },
    /// Offsets of the format have 31 bits.
    #[error("the file would have {bytes} bytes, and a TFLite file has less than 2 GiB")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The file cannot be read, or says something that this crate does not write.
    #[error("not a TFLite file of this program, or a damaged one: {reason}")]
    NotReadable {
        /// What was found.
        reason: String,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
