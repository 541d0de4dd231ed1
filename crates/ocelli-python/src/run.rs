//! Runs in a folder.

use std::path::PathBuf;

use ocelli::{Moved, RunEnv};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::data::config;
use crate::interpretation::Interpretation;
use crate::values::plain;
use crate::work::{Exclusive, Watch, library};

/// A run with its folder.
#[pyclass(frozen, module = "ocelli._ocelli")]
pub struct Run {
    run: Exclusive<ocelli::Run>,
    folder: PathBuf,
}

impl Run {
    fn watched(mut run: ocelli::Run) -> Self {
        let watch = Watch::default();
        run.observe(watch.clone());
        let folder = run.run_folder().path().to_owned();
        Self { run: Exclusive::new("run", run, watch), folder }
    }
}

#[pymethods]
impl Run {
    #[staticmethod]
    #[pyo3(signature = (data, settings, out, cache, threads, tensorboard, given))]
    #[allow(clippy::too_many_arguments)] // they are named in Python
    fn prepare(
        py: Python<'_>,
        data: PathBuf,
        settings: &Bound<'_, PyAny>,
        out: Option<PathBuf>,
        cache: Option<PathBuf>,
        threads: usize,
        tensorboard: bool,
        given: String,
    ) -> PyResult<Self> {
        let config = config(py, data, settings)?;
        let env = RunEnv { out, cache, threads, tensorboard, given, ..RunEnv::default() };
        library(py, || Ok(Self::watched(ocelli::Run::prepare(&config, &env)?)))
    }

    #[staticmethod]
    #[pyo3(signature = (folder, out, cache, threads, data, without_changed))]
    fn resume(
        py: Python<'_>,
        folder: PathBuf,
        out: Option<PathBuf>,
        cache: Option<PathBuf>,
        threads: usize,
        data: Option<PathBuf>,
        without_changed: bool,
    ) -> PyResult<Self> {
        let env = RunEnv { out, cache, threads, ..RunEnv::default() };
        let moved = Moved { data, without_changed };
        library(py, || Ok(Self::watched(ocelli::Run::resume(&folder, &env, &moved)?)))
    }

    /// The result as a dictionary.
    fn run<'py>(&self, py: Python<'py>, on_event: Option<Py<PyAny>>) -> PyResult<Bound<'py, PyDict>> {
        let (result, named, augmented) = self.run.work(py, on_event, |run| {
            let result = run.run()?;
            let items = run.learner().data().items();
            let named = ocelli::Interpretation::new(result.predictions.clone(), items);
            let augmented = result.augmented.clone().map(|found| ocelli::Interpretation::new(found, items));
            Ok((result, named, augmented))
        })?;
        let found = PyDict::new(py);
        found.set_item("predictions", Py::new(py, Interpretation(named))?)?;
        let augmented = augmented.map(|found| Py::new(py, Interpretation(found))).transpose()?;
        found.set_item("augmented", augmented)?;
        found.set_item("metric", result.metric.to_string())?;
        found.set_item("corrected", plain(py, &result.corrected)?)?;
        found.set_item("thresholds", result.thresholds)?;
        found.set_item("model", result.model)?;
        found.set_item("seconds", result.seconds)?;
        Ok(found)
    }

    /// Writes the report into the folder: its page.
    fn report(&self, py: Python<'_>, cache: Option<PathBuf>, threads: usize) -> PyResult<PathBuf> {
        let options =
            ocelli_report::ReportOptions { cache, threads, ..ocelli_report::ReportOptions::default() };
        library(py, || Ok(ocelli_report::report_run(&self.folder, options)?.page))
    }

    #[getter]
    fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    fn history<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &self.run.read(py, |run| run.learner().history().to_vec())?)
    }

    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &self.run.read(py, |run| run.settings().clone())?)
    }
}
