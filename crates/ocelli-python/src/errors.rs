//! The library's errors as the exceptions of `ocelli._errors`, with the same words.

use std::io;
use std::path::Path;

use ocelli::{DataError, Error, NetworkError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What an exception holds beside its text.
#[derive(Default)]
struct Details<'a> {
    path: Option<&'a Path>,
    /// A setting's name, the value found and the values allowed.
    setting: Option<(&'a str, String, &'a str)>,
}

/// An exception of `ocelli._errors`.
fn exception(py: Python<'_>, class: &str, text: &str, details: &Details<'_>) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let class = py.import("ocelli._errors")?.getattr(class)?;
        let keywords = PyDict::new(py);
        if let Some(path) = details.path {
            keywords.set_item("path", path)?;
        }
        if let Some((name, value, expected)) = &details.setting {
            keywords.set_item("name", name)?;
            keywords.set_item("value", value)?;
            keywords.set_item("expected", expected)?;
        }
        Ok(PyErr::from_value(class.call((text,), Some(&keywords))?))
    };
    made().unwrap_or_else(|error| error)
}

/// A panic: an error of Ocelli's own.
pub fn internal(py: Python<'_>, message: &str) -> PyErr {
    let text = format!("{message}: this is an error in Ocelli; please report it");
    exception(py, "InternalError", &text, &Details::default())
}

/// Another thread, or a callback of the object itself, uses it.
pub fn busy(py: Python<'_>, what: &str) -> PyErr {
    let text =
        format!("the {what} is in use: by another thread, or by the call that this callback belongs to");
    exception(py, "BusyError", &text, &Details::default())
}

/// A setting that is outside of its range.
pub fn setting(py: Python<'_>, name: &str, value: String, expected: &str) -> PyErr {
    let text = format!("{name} is {value}; it must be {expected}");
    exception(
        py,
        "SettingError",
        &text,
        &Details { setting: Some((name, value, expected)), ..Details::default() },
    )
}

/// A value that cannot be read as what it is for; `reason` names the part of it.
pub fn unreadable(py: Python<'_>, name: &str, value: String, reason: &str) -> PyErr {
    let text = format!("{name} cannot be used: {reason}");
    exception(
        py,
        "SettingError",
        &text,
        &Details { setting: Some((name, value, reason)), ..Details::default() },
    )
}

/// A file or a folder that cannot be used.
pub fn of_file(py: Python<'_>, text: &str, path: &Path, source: &io::Error) -> PyErr {
    exception(py, io_class(source), text, &Details { path: Some(path), ..Details::default() })
}

/// An error without a class of its own.
pub fn other(py: Python<'_>, text: &str) -> PyErr {
    exception(py, "Error", text, &Details::default())
}

/// The exception of an error.
pub fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let (class, details) = class_of(error);
    exception(py, class, &error.to_string(), &details)
}

fn io_class(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound { "MissingFileError" } else { "FileError" }
}

fn class_of(error: &Error) -> (&'static str, Details<'_>) {
    let at = |path| Details { path: Some(path), ..Details::default() };
    let none = Details::default;
    match error {
        Error::Setting { name, value, expected }
        | Error::Data(DataError::Setting { name, value, expected }) => {
            ("SettingError", Details { setting: Some((name, value.clone(), expected)), ..none() })
        }
        Error::ImageSize { size, .. } => {
            let setting = Some(("size", size.to_string(), "at least the backbone's smallest"));
            ("SettingError", Details { setting, ..none() })
        }
        Error::Data(DataError::Missing { path }) => ("MissingFileError", at(path)),
        Error::Data(DataError::BadImage { path, .. })
        | Error::BadImage { path, .. }
        | Error::Photo { path, .. } => ("ImageError", at(path)),
        Error::Io { path, source, .. }
        | Error::Data(DataError::Io { path, source, .. })
        | Error::Network(NetworkError::Read { path, source }) => (io_class(source), at(path)),
        Error::Data(
            DataError::NotAFolder { path }
            | DataError::NoImages { path, .. }
            | DataError::NoClassFolders { path, .. }
            | DataError::SingleClass { path, .. }
            | DataError::ClassWithoutImages { path, .. }
            | DataError::ClassLosesImages { path, .. }
            | DataError::UnknownClass { path, .. }
            | DataError::HalfASplit { path, .. }
            | DataError::Table { path, .. },
        )
        | Error::NoPhotos { path } => ("DataError", at(path)),
        Error::Data(_)
        | Error::NothingHeldOut { .. }
        | Error::AllTrainedOn { .. }
        | Error::NoLabelledImages { .. }
        | Error::NoGroupColumn { .. }
        | Error::NothingReadable { .. }
        | Error::NoTrainingBatch
        | Error::NotAugmented => ("DataError", none()),
        Error::ClassMismatch { .. } | Error::ClassUnknownToModel { .. } | Error::TaskMismatch { .. } => {
            ("ClassError", none())
        }
        Error::NotAModel { path, .. } | Error::IsTflite { path } => ("ModelError", at(path)),
        Error::Network(_)
        | Error::NotFiniteTensor { .. }
        | Error::NotCalibrated { .. }
        | Error::NoUnknownScore { .. } => ("ModelError", none()),
        Error::Hub(_) | Error::NoWeights { .. } => ("WeightsError", none()),
        Error::Diverged { .. }
        | Error::NoFiniteEpoch { .. }
        | Error::NotFiniteOutput { .. }
        | Error::NotFiniteFeatures { .. } => ("NotFiniteError", none()),
        Error::NoLearningRate { .. } => ("NoLearningRateError", none()),
        Error::Memory { .. } => ("NotEnoughMemoryError", none()),
        Error::Disagreement { .. }
        | Error::QuantizationLoss { .. }
        | Error::NoPhotosToCheck { .. }
        | Error::Onnx(_)
        | Error::Tflite(_) => ("ExportError", none()),
        Error::NotARun { path }
        | Error::NotFinished { path }
        | Error::Finished { path, .. }
        | Error::RunBusy { path }
        | Error::FolderNotEmpty { path }
        | Error::Settings { path, .. }
        | Error::NotACheckpoint { path, .. } => ("RunError", at(path)),
        Error::PhotosChanged { .. }
        | Error::PhotosNotFound { .. }
        | Error::CheckpointOfOtherPhotos { .. } => ("RunError", none()),
        Error::Stopped => ("Stopped", none()),
        _ => ("Error", none()),
    }
}
