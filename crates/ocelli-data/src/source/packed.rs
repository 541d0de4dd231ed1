//! Files that hold images, but are none.

use std::path::Path;

use crate::DataError;
use crate::names::ending;

/// That a file is no image, but may hold some: packed, or as numbers; `None` for other endings.
pub(crate) fn packed(path: &Path) -> Option<DataError> {
    let reason = |what: &str| format!("{} {what}", path.display());
    let (reason, advice) = match ending(path).as_str() {
        "zip" | "tar" | "gz" | "tgz" | "bz2" | "xz" | "zst" | "rar" | "7z" => {
            (reason("is packed"), "unpack it, and give the folder that this makes")
        }
        "parquet" | "arrow" | "tfrecord" | "lmdb" | "mdb" | "h5" | "hdf5" | "npy" | "npz" | "mat" | "pkl"
        | "pickle" => (
            reason("may hold images as numbers, which are not read"),
            "write them out as image files, in a folder for each class",
        ),
        _ => return None,
    };
    Some(DataError::Split { reason, advice: advice.to_owned() })
}
