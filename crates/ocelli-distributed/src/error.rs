//! Errors.

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed. After any error the job is over.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A process has ended, or cannot be reached any more.
    #[error("lost rank {rank} on {host}: {reason}")]
    Lost {
        /// The rank of the lost process.
        rank: usize,
        /// Its machine.
        host: String,
        /// What was noticed, such as "the connection was closed".
        reason: String,
    },
    /// A process has ended the job.
    #[error("rank {rank} on {host}: {message}")]
    Aborted {
        /// The rank of that process.
        rank: usize,
        /// Its machine.
        host: String,
        /// Why.
        message: String,
    },
    /// Processes have called different operations.
    #[error("rank {rank} on {host} is at another operation: {found}, but {expected} was expected")]
    OutOfStep {
        /// The rank of the other process.
        rank: usize,
        /// Its machine.
        host: String,
        /// What it called.
        found: String,
        /// What this process called.
        expected: String,
    },
    /// A setting out of range.
    #[error("{name} is {value}, but must be {expected}")]
    Setting {
        /// The name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// The job could not be joined.
    #[error("cannot join {address}: {reason}")]
    Join {
        /// The address of rank 0.
        address: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An operation of the transport below has failed.
    #[error("{operation} failed: {reason}")]
    Failed {
        /// Its name.
        operation: &'static str,
        /// What was said of it.
        reason: String,
    },
}
