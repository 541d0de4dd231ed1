//! The identity of an image file: the hash of its bytes.

use rayon::prelude::*;

use crate::files::open_photo;
use crate::threads::pool;
use crate::{DataError, Items};

/// The BLAKE3 hash of a file's bytes: equal exactly for byte-identical files, whatever their names.
pub type Digest = [u8; 32];

/// The digest of every item, in order, computed by `threads` threads (0: one for each core).
///
/// `progress` is called after each file, from any thread. A file that cannot be read is an error.
pub fn digests(items: &Items, threads: usize, progress: impl Fn() + Sync) -> Result<Vec<Digest>, DataError> {
    pool(threads)?.install(|| {
        items
            .items
            .par_iter()
            .map(|item| {
                let mut hasher = blake3::Hasher::new();
                let file = open_photo(&item.path)
                    .map_err(|reason| DataError::BadImage { path: item.path.clone(), reason })?;
                hasher.update_reader(file).map_err(DataError::io("read", &item.path))?;
                progress();
                Ok(*hasher.finalize().as_bytes())
            })
            .collect()
    })
}
