//! Metrics and transforms that are Python functions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ocelli::{Augmentation, CustomMetric, CustomTransform, Direction, Predictions, Target, Task};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::errors;
use crate::values::{floats, of_plain, plain};

/// What a metric has raised, until the call ends that computes it.
static RAISED: Mutex<Option<PyErr>> = Mutex::new(None);

/// The function of each metric by its name: what is registered again is used from then on, also by learners that know it.
static METRICS: Mutex<BTreeMap<String, Py<PyAny>>> = Mutex::new(BTreeMap::new());

/// The function of a metric.
fn function_of(py: Python<'_>, name: &str) -> Option<Py<PyAny>> {
    let functions = METRICS.lock().unwrap_or_else(PoisonError::into_inner);
    functions.get(name).map(|function| function.clone_ref(py))
}

/// What a metric has raised since it was last asked for.
pub fn raised() -> Option<PyErr> {
    RAISED.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Probabilities `[images, classes]`, and the targets: the class of each image, or whether it has each class.
fn arrays<'py>(py: Python<'py>, predictions: &Predictions) -> (Bound<'py, PyByteArray>, Vec<i64>) {
    let class = |class: usize| i64::try_from(class).unwrap_or(-1);
    let targets = predictions.targets().iter();
    let targets = match predictions.task() {
        Task::SingleLabel => {
            targets.map(|target| target.classes().first().map_or(-1, |&of| class(of))).collect()
        }
        Task::MultiLabel => targets
            .flat_map(|target: &Target| {
                (0..predictions.classes()).map(|class| i64::from(target.classes().contains(&class)))
            })
            .collect(),
    };
    (floats(py, predictions.probabilities()), targets)
}

/// Makes a metric known by its name. `function` is called with the bytes of probabilities, the targets, the number of
/// classes, and whether images may have several classes.
#[pyfunction]
fn register_metric(
    py: Python<'_>,
    name: String,
    function: Py<PyAny>,
    higher_is_better: bool,
) -> PyResult<()> {
    let direction = if higher_is_better { Direction::Higher } else { Direction::Lower };
    let key = name.clone();
    let metric = CustomMetric::from_closure(name.clone(), direction, move |predictions| {
        let value = Python::attach(|py| {
            let Some(function) = function_of(py, &key) else { return Ok(f64::NAN) };
            let (probabilities, targets) = arrays(py, predictions);
            let is_multi_label = predictions.task() == Task::MultiLabel;
            let value =
                function.call1(py, (probabilities, targets, predictions.classes(), is_multi_label))?;
            value.extract::<f64>(py)
        });
        value.unwrap_or_else(|error| {
            RAISED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            f64::NAN
        })
    });
    metric.register().map_err(|error| errors::raised(py, &error))?;
    // One that is replaced is dropped when the lock is free again.
    let _replaced = METRICS.lock().unwrap_or_else(PoisonError::into_inner).insert(name, function);
    Ok(())
}

/// Makes a transform known by its name. `function` is called in worker threads with the pixels of an image as a bytearray,
/// its side, and a number for its random draws; it changes the pixels.
#[pyfunction]
fn register_transform(py: Python<'_>, name: String, function: Py<PyAny>) -> PyResult<()> {
    let transform = CustomTransform::new(name, move |pixels, draws| {
        let (size, seed) = (pixels.size(), draws.bits());
        let values = pixels.values();
        let bytes: Vec<u8> = values.iter().flatten().map(|value| value.round() as u8).collect();
        let changed = Python::attach(|py| -> PyResult<Vec<u8>> {
            let buffer = PyByteArray::new(py, &bytes);
            function.call1(py, (&buffer, size, seed))?;
            Ok(buffer.to_vec())
        });
        match changed {
            Ok(changed) if changed.len() == bytes.len() => {
                let each = values.iter_mut().flatten().zip(changed.into_iter().zip(bytes));
                // What it has left alone is not rounded.
                each.filter(|(_, (new, old))| new != old)
                    .for_each(|(value, (new, _))| *value = f32::from(new));
            }
            // The library makes an error of the transform of a panic, with its text. This one is not printed.
            Ok(_) => std::panic::resume_unwind(Box::new("changed the size of its buffer".to_owned())),
            Err(error) => std::panic::resume_unwind(Box::new(error.to_string())),
        }
    });
    transform.register().map(drop).map_err(|error| errors::raised(py, &ocelli::Error::from(error)))
}

/// An augmentation with a transform of one's own at its end.
#[pyfunction]
fn with_transform<'py>(
    py: Python<'py>,
    augmentation: &Bound<'py, PyAny>,
    name: String,
) -> PyResult<Bound<'py, PyAny>> {
    let augmentation: Augmentation = of_plain("augmentation", augmentation)?;
    let augmentation = augmentation.with(CustomTransform::from(name));
    augmentation.validate().map_err(|error| errors::raised(py, &ocelli::Error::from(error)))?;
    plain(py, &augmentation)
}

pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(register_metric, module)?)?;
    module.add_function(wrap_pyfunction!(register_transform, module)?)?;
    module.add_function(wrap_pyfunction!(with_transform, module)?)
}
