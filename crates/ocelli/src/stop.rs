//! Ending work that somebody no longer wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Whether somebody wants no more of what is being computed. Work that takes one asks it between images.
#[derive(Debug, Clone, Default)]
pub struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    /// Set as soon as the flag is true. [`Stop::default`] never is.
    pub fn new(flag: Option<Arc<AtomicBool>>) -> Self {
        Self(flag)
    }

    /// The flag.
    pub(crate) fn flag(&self) -> Option<&Arc<AtomicBool>> {
        self.0.as_ref()
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
