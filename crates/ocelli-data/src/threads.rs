//! Threads of our own: as many as asked for.

use std::io;
use std::num::NonZero;

use crate::DataError;

/// The number of threads meant by a setting: 0 is one for each core.
pub(crate) fn count(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    }
}

/// A pool of that many threads, apart from the global one.
pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, DataError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(count(threads))
        .thread_name(|index| format!("ocelli-data-{index}"))
        .build()
        .map_err(|error| DataError::Threads { source: io::Error::other(error) })
}
