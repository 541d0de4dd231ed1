//! Work without the interpreter's lock.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use ocelli::{Event, Observer};
use pyo3::prelude::*;
use pythonize::pythonize;

use crate::{callbacks, errors};

/// Signals are looked for, and progress is given to callbacks, this often at most.
const OFTEN: Duration = Duration::from_millis(50);

/// Does work without the lock. A panic becomes an exception.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .map_err(|panic| errors::internal(py, panic_text(&*panic)))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

/// As [`detached`], for work of the library.
pub fn library<T: Send>(py: Python<'_>, work: impl FnOnce() -> ocelli::Result<T> + Send) -> PyResult<T> {
    let result = detached(py, work)?;
    match callbacks::raised() {
        Some(raised) => Err(raised),
        None => result.map_err(|error| errors::raised(py, &error)),
    }
}

/// What the Python code of a call is told, and what it answered.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<Watched>>);

#[derive(Default)]
struct Watched {
    /// Called with each event, as a dictionary; `False` asks to stop.
    callback: Option<Py<PyAny>>,
    /// What it raised, or Ctrl-C.
    raised: Option<PyErr>,
    /// When it was last looked for signals.
    looked: Option<Instant>,
}

impl Watch {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the callback of a call. It is kept for the call only, so that no cycle of references is hidden from Python.
    pub fn begin(&self, callback: Option<Py<PyAny>>) {
        *self.watched() = Watched { callback, ..Watched::default() };
    }

    /// The exception that ended the call, if any.
    pub fn end(&self) -> Option<PyErr> {
        std::mem::take(&mut *self.watched()).raised
    }

    /// Whether it is time to look for signals.
    fn is_due(&self) -> bool {
        let mut watched = self.watched();
        let due = watched.looked.is_none_or(|looked| looked.elapsed() >= OFTEN);
        if due {
            watched.looked = Some(Instant::now());
        }
        due
    }

    /// Looks for signals, from time to time.
    pub fn look(&self) -> ControlFlow<()> {
        if !self.is_due() {
            return ControlFlow::Continue(());
        }
        self.attached(|py| py.check_signals().map(|()| true))
    }

    fn attached(&self, work: impl FnOnce(Python<'_>) -> PyResult<bool>) -> ControlFlow<()> {
        match Python::attach(work) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(raised) => {
                // The first one is the cause.
                self.watched().raised.get_or_insert(raised);
                ControlFlow::Break(())
            }
        }
    }
}

impl Observer for Watch {
    fn observe(&mut self, event: &Event) -> ocelli::Result<ControlFlow<()>> {
        if let Some(raised) = callbacks::raised() {
            self.watched().raised.get_or_insert(raised);
            return Ok(ControlFlow::Break(()));
        }
        let under_way = matches!(event, Event::Progress(progress) if progress.done < progress.total);
        let due = self.is_due();
        if under_way && !due {
            return Ok(ControlFlow::Continue(()));
        }
        Ok(self.attached(|py| {
            py.check_signals()?;
            let callback = self.watched().callback.as_ref().map(|callback| callback.clone_ref(py));
            let Some(callback) = callback else { return Ok(true) };
            let answer = callback.call1(py, (pythonize(py, event)?,))?;
            Ok(!answer.bind(py).is(pyo3::types::PyBool::new(py, false)))
        }))
    }
}

/// Something that one call at a time may use, without the lock.
pub struct Exclusive<T> {
    value: Mutex<T>,
    watch: Watch,
    /// What it is called in errors.
    name: &'static str,
}

impl<T: Send> Exclusive<T> {
    pub fn new(name: &'static str, value: T, watch: Watch) -> Self {
        Self { value: Mutex::new(value), watch, name }
    }

    /// Work of the library on it, whose events go to the callback.
    pub fn work<R: Send>(
        &self,
        py: Python<'_>,
        callback: Option<Py<PyAny>>,
        work: impl FnOnce(&mut T) -> ocelli::Result<R> + Send,
    ) -> PyResult<R> {
        let done = py.detach(|| {
            let mut value = match self.value.try_lock() {
                Ok(value) => value,
                Err(TryLockError::WouldBlock) => return Err(None),
                Err(TryLockError::Poisoned(_)) => return Err(Some(String::new())),
            };
            self.watch.begin(callback);
            let result = catch_unwind(AssertUnwindSafe(|| work(&mut value)));
            let raised = self.watch.end().or_else(callbacks::raised);
            match result {
                Ok(result) => Ok((result, raised)),
                Err(panic) => {
                    let text = panic_text(&*panic).to_owned();
                    // What it holds may be half changed: it is not used again.
                    let _ = catch_unwind(AssertUnwindSafe(move || {
                        let _poisoning = value;
                        std::panic::resume_unwind(Box::new(()))
                    }));
                    Err(Some(text))
                }
            }
        });
        match done {
            Ok((_, Some(raised))) => Err(raised),
            Ok((result, None)) => result.map_err(|error| errors::raised(py, &error)),
            Err(None) => Err(errors::busy(py, self.name)),
            Err(Some(text)) if text.is_empty() => {
                Err(errors::internal(py, &format!("the {} cannot be used after a panic", self.name)))
            }
            Err(Some(text)) => Err(errors::internal(py, &text)),
        }
    }

    /// Reads something of it, which takes no time.
    pub fn read<R: Send>(&self, py: Python<'_>, read: impl FnOnce(&mut T) -> R + Send) -> PyResult<R> {
        self.work(py, None, |value| Ok(read(value)))
    }
}
