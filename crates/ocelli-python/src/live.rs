//! The live page of runs and of learners.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ocelli::Recording;
use ocelli_serve::{Background, Error, ListenOptions, Runs, Server};
use pyo3::prelude::*;

use crate::errors;
use crate::work::detached;

/// A page that shows runs, or a learner, on a server of its own until it is closed.
#[pyclass(frozen, module = "ocelli._ocelli")]
pub struct LivePage {
    folder: PathBuf,
    url: String,
    /// What is there until it is closed. What is recorded ends first, so that those who look see how it ended.
    open: Mutex<Option<(Option<Recording>, Background)>>,
}

impl LivePage {
    pub fn start(py: Python<'_>, folder: PathBuf, recording: Option<Recording>, port: u16) -> PyResult<Self> {
        let started = detached(py, || {
            let options = ListenOptions { port, ..ListenOptions::default() };
            Server::bind(Runs::open(&folder, None)?, &options, |_| {})?.spawn()
        })?;
        let server = started.map_err(|error| match error {
            Error::Folder { ref source, ref path } => errors::of_file(py, &error.to_string(), path, source),
            Error::Listen { .. } => {
                errors::setting(py, "port", port.to_string(), "a port that is free, or 0 for any free one")
            }
            error => errors::other(py, &error.to_string()),
        })?;
        Ok(Self { folder, url: server.url().to_owned(), open: Mutex::new(Some((recording, server))) })
    }
}

#[pymethods]
impl LivePage {
    /// The page of a run's folder, or of a folder of runs.
    #[staticmethod]
    fn open(py: Python<'_>, folder: PathBuf, port: u16) -> PyResult<Self> {
        Self::start(py, folder, None, port)
    }

    #[getter]
    fn url(&self) -> &str {
        &self.url
    }

    #[getter]
    fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    #[getter]
    fn is_open(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((recording, server)) = open {
                drop(recording);
                drop(server);
            }
        })
    }
}
