//! Thread pools.

use std::io;
use std::num::NonZero;

use crate::DataError;

/// The most threads: each needs memory of its own, and more than a machine's cores are useless.
pub const MAX_THREADS: usize = 256;

/// Refuses more threads than the limit.
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

/// The number of threads of a setting: 0 is one per core.
pub(crate) fn count(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS),
        threads => threads,
    }
}

/// A pool of this many threads, separate from the global one.
pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, DataError> {
    check_threads(threads)?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(count(threads))
        .thread_name(|index| format!("ocelli-data-{index}"))
        .build()
        .map_err(|error| DataError::Threads { source: io::Error::other(error) })
}
