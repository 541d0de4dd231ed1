//! The identity of an image file: the hash of its bytes.

use std::path::Path;

use rayon::prelude::*;

use crate::decode::named_as_image;
use crate::photo_file::{open_photo, read_photo};
use crate::threads::pool;
use crate::{DataError, DecodeError, Items};

/// The BLAKE3 hash of a file's bytes: equal exactly for byte-identical files, whatever their names.
pub type Digest = [u8; 32];

/// The digest of every item, in order, computed by `threads` threads (0: one per core).
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

/// The bytes of an image file, read once; an error if they do not match this digest, if one is given. So the
/// hashed bytes are the decoded ones, even if the file changes meanwhile. The file may have `limit` bytes.
pub(crate) fn read_expected(
    path: &Path,
    digest: Option<&Digest>,
    limit: u64,
) -> Result<Vec<u8>, DecodeError> {
    let bytes = named_as_image(path, read_photo(path, limit)?)?;
    match digest {
        Some(digest) if blake3::hash(&bytes).as_bytes() != digest => Err(DecodeError::Changed),
        _ => Ok(bytes),
    }
}
