//! A folder of class folders, or `train/` and `valid/` folders of them.
use std::path::Path;

use crate::{DataError, Dataset};

/// Reads `root/train/CLASS/…` and `root/valid/CLASS/…` (and `root/test/…`), or `root/CLASS/…`.
pub fn read(root: impl AsRef<Path>) -> Result<Dataset, DataError> {
    let _ = root;
    todo!()
}
