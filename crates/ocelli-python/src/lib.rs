//! The module `ocelli._ocelli`: the library for the Python package in `python/ocelli`, which has the names, the checks of
//! arguments and the docs.
//!
//! Work is done without the interpreter's lock, on the calling thread. Events come back to Python on that thread too, so
//! that a notebook's output can be changed there; signals are looked for at each event. A panic becomes an exception.
//!
//! | to change | file |
//! |---|---|
//! | work without the lock, panics, Ctrl-C, events | `work.rs` |
//! | errors as exceptions | `errors.rs` |
//! | values to and from Python | `values.rs` |
//! | metrics and transforms that are Python functions | `callbacks.rs` |
//! | image data, inspection | `data.rs` |
//! | the learner | `learner.rs` |
//! | the live page | `live.rs` |
//! | recipes, schedules, named settings | `settings.rs` |
//! | runs | `run.rs` |
//! | models, predictions, features | `model.rs` |
//! | predictions with their labels | `interpretation.rs` |

mod callbacks;
mod data;
mod errors;
mod interpretation;
mod learner;
mod live;
mod model;
mod run;
mod settings;
mod values;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;

/// Runs the command, once in a process: its exit status. `program` starts it again.
#[pyfunction]
fn command(py: Python<'_>, program: PathBuf, arguments: Vec<OsString>) -> PyResult<u8> {
    work::detached(py, || ocelli_cli::run(Some(program), arguments))
}

#[pymodule(gil_used = false)]
fn _ocelli(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(command, module)?)?;
    settings::add_to(module)?;
    data::add_to(module)?;
    callbacks::add_to(module)?;
    module.add_class::<interpretation::Interpretation>()?;
    module.add_class::<learner::Learner>()?;
    module.add_class::<learner::LrCurve>()?;
    module.add_class::<live::LivePage>()?;
    module.add_class::<model::Model>()?;
    module.add_class::<model::Embedder>()?;
    module.add_class::<run::Run>()
}
