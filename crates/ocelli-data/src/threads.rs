//! Threads of our own: as many as asked for.

use std::io;
use std::num::NonZero;

use crate::DataError;

/// The most threads that may be asked for: each keeps memory of its own, and more than a machine has cores are of no
/// use.
pub const MAX_THREADS: usize = 256;

/// Refuses more threads than there may be.
///
/// # Errors
/// [`DataError::Setting`] above [`MAX_THREADS`].
pub fn check_threads(threads: usize) -> Result<(), DataError> {
    match threads {
        0..=MAX_THREADS => Ok(()),
        _ => Err(DataError::Setting {
            name: "threads",
            value: threads.to_string(),
            expected: "at most 256; 0 is one for each core",
        }),
    }
}

/// The number of threads meant by a setting: 0 is one for each core.
pub(crate) fn count(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS),
        threads => threads,
    }
}

/// A pool of that many threads, apart from the global one.
pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, DataError> {
    check_threads(threads)?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(count(threads))
        .thread_name(|index| format!("ocelli-data-{index}"))
        .build()
        .map_err(|error| DataError::Threads { source: io::Error::other(error) })
}
