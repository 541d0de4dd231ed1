//! How patient a download is.

use std::time::Duration;

/// Timeouts of a download, and when it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server may send nothing.
    pub read_timeout: Duration,
    /// Attempts in a row that may bring nothing.
    pub attempts: u32,
    /// The pause after the first failed attempt; after each further one, twice as long.
    pub backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect_timeout: seconds(15), read_timeout: seconds(30), attempts: 5, backoff: seconds(1) }
    }
}
