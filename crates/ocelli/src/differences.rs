//! Differences between photos and those that a run began with.

use std::fmt;

/// Differences between a run's photos and those that it began with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Ids of photos that were added.
    pub added: Vec<String>,
    /// Ids of photos that are missing.
    pub missing: Vec<String>,
    /// Ids of photos whose content has changed.
    pub changed: Vec<String>,
    /// Ids of photos whose labels have changed.
    pub relabelled: Vec<String>,
}

impl Differences {
    /// Whether all of the run's photos are unchanged.
    pub(crate) fn only_added(&self) -> bool {
        self.missing.is_empty() && self.changed.is_empty() && self.relabelled.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        /// The most ids that are listed.
        const NAMED: usize = 3;
        let part = |ids: &[String], one: &str, several: &str| {
            let named = ids.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if ids.len() > NAMED { ", …" } else { "" };
            let what = if ids.len() == 1 { one } else { several };
            (!ids.is_empty()).then(|| format!("{} {what} ({named}{more})", ids.len()))
        };
        let parts = [
            part(&self.missing, "photo is missing", "photos are missing"),
            part(&self.changed, "photo has other content", "photos have other content"),
            part(&self.relabelled, "photo has another label", "photos have other labels"),
            part(&self.added, "photo was added", "photos were added"),
        ];
        formatter.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
