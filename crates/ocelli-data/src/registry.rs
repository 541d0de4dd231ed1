//! Functions of the user's own, by the names under which settings and models hold them.

use std::sync::{Mutex, PoisonError};

/// What has been registered in this process, by name.
#[derive(Debug)]
pub struct Registry<T>(Mutex<Vec<(String, T)>>);

impl<T: Clone> Registry<T> {
    /// The names that a registry takes, for an error.
    pub const NAMES: &str = "lower-case letters, digits and hyphens";

    /// An empty one.
    #[allow(clippy::new_without_default)] // for statics alone
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Whether a name is of [`NAMES`](Self::NAMES), and not empty.
    pub fn takes(name: &str) -> bool {
        let usual = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '-');
        !name.is_empty() && name.chars().all(usual)
    }

    /// Adds one; it replaces another of its name.
    pub fn register(&self, name: &str, registered: T) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| other != name);
        all.push((name.to_owned(), registered));
    }

    /// The one of a name.
    pub fn find(&self, name: &str) -> Option<T> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(other, _)| other == name).map(|(_, registered)| registered.clone())
    }
}
