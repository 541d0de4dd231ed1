//! Names of a run's files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The name of the model's file.
pub(crate) const MODEL: &str = "model.safetensors";
/// The name of the file with the ranges that features in 8-bit integers are by.
pub(crate) const INT8_RANGES: &str = "int8-ranges.json";
/// The name of the file with the settings.
pub(crate) const CONFIG: &str = "config.toml";

/// Whether there is a file at this path.
///
/// # Errors
/// Where that cannot be known, such as in a folder that may not be entered.
pub(crate) fn is_file(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// The model's file, given the file or the folder of its run.
///
/// # Errors
/// [`Error::NotAModel`] for a folder without one; [`Error::Io`] for one that may not be entered.
pub(crate) fn model_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let model = path.join(MODEL);
    match (is_file(&model)?, is_file(&path.join(CONFIG))?) {
        (true, _) => Ok(model),
        (false, true) => Err(Error::NotAModel {
            path: path.to_owned(),
            reason: format!(
                "it is the folder of a run that is not finished, and has no {MODEL} yet; resume it first"
            ),
        }),
        (false, false) => Err(Error::NotAModel {
            path: path.to_owned(),
            reason: format!("it is a folder without a {MODEL}; give the model, or the folder of its run"),
        }),
    }
}
