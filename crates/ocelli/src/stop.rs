//! Stopping work early.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::event::{Event, Observer};

/// A request to stop. Work that takes one checks it between images.
#[derive(Debug, Clone, Default)]
pub struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    /// Set as soon as the flag is true. [`Stop::default`] never is.
    pub fn new(flag: Arc<AtomicBool>) -> Self {
        Self(Some(flag))
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// # Errors
    /// [`Error::Stopped`] where it is set.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// Training that observes it ends as soon as it is set.
impl Observer for Stop {
    fn observe(&mut self, _: &Event) -> Result<ControlFlow<()>> {
        Ok(if self.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
