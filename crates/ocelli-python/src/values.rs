//! Values to and from Python.

use std::path::PathBuf;

use ocelli::LearningRates;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyTuple};
use pythonize::{depythonize, pythonize};

use crate::errors;

/// A value of the library as dictionaries, lists and numbers.
pub fn plain<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize(py, value)?)
}

/// Numbers as bytes, which numpy takes as an array without copying them again.
pub fn floats<'py>(py: Python<'py>, values: &[f32]) -> Bound<'py, PyByteArray> {
    PyByteArray::new(py, bytemuck::cast_slice(values))
}

/// A value of the library from dictionaries, lists and numbers; `name` is what it is called in errors.
pub fn of_plain<T: serde::de::DeserializeOwned>(name: &str, value: &Bound<'_, PyAny>) -> PyResult<T> {
    depythonize(value)
        .map_err(|error| errors::unreadable(value.py(), name, value.to_string(), &error.to_string()))
}

/// The value of a name.
pub fn named<T>(py: Python<'_>, name: &str) -> PyResult<T>
where
    T: std::str::FromStr,
    ocelli::Error: From<T::Err>,
{
    name.parse().map_err(|error: T::Err| errors::raised(py, &error.into()))
}

/// One learning rate, a low and a high one, or one for each layer group.
pub fn learning_rates(lr: &Bound<'_, PyAny>) -> PyResult<LearningRates> {
    if let Ok(rate) = lr.extract::<f64>() {
        return Ok(rate.into());
    }
    match lr.extract::<Vec<f64>>().unwrap_or_default()[..] {
        [low, high] => Ok((low, high).into()),
        [early, late, head] => Ok([early, late, head].into()),
        _ => {
            let expected = "a number, (low, high), or one for early layers, late layers and head";
            Err(errors::setting(lr.py(), "lr", lr.repr()?.to_string(), expected))
        }
    }
}

/// An image as the Python code hands it over.
pub enum Image {
    /// A file.
    Path(PathBuf),
    /// The bytes of a file.
    Bytes(Vec<u8>),
    /// Width, height and red, green and blue of each pixel.
    Pixels(u32, u32, Vec<u8>),
}

/// A path, bytes, or a tuple of width, height and a buffer of pixels.
pub fn image(image: &Bound<'_, PyAny>) -> PyResult<Image> {
    if let Ok(pixels) = image.cast::<PyTuple>() {
        let (width, height) = (pixels.get_item(0)?.extract()?, pixels.get_item(1)?.extract()?);
        let values = PyBuffer::<u8>::get(&pixels.get_item(2)?)?.to_vec(image.py())?;
        return Ok(Image::Pixels(width, height, values));
    }
    if let Ok(bytes) = image.cast::<PyBytes>() {
        return Ok(Image::Bytes(bytes.as_bytes().to_vec()));
    }
    Ok(Image::Path(image.extract()?))
}
