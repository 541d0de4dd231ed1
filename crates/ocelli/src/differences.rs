//! In what photos differ from those that a run began with.

use std::fmt;

/// Photos that are not as a run has recorded them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Ids of photos that have come since.
    pub added: Vec<String>,
    /// Ids of photos that are not there any more.
    pub gone: Vec<String>,
    /// Ids of photos whose files hold something else.
    pub changed: Vec<String>,
    /// Ids of photos whose labels are others.
    pub relabelled: Vec<String>,
}

impl Differences {
    /// Whether all of the run's photos are there as they were.
    pub(crate) fn only_added(&self) -> bool {
        self.gone.is_empty() && self.changed.is_empty() && self.relabelled.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        /// So many are named.
        const NAMED: usize = 3;
        let part = |ids: &[String], one: &str, several: &str| {
            let named = ids.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if ids.len() > NAMED { ", …" } else { "" };
            let what = if ids.len() == 1 { one } else { several };
            (!ids.is_empty()).then(|| format!("{} {what} ({named}{more})", ids.len()))
        };
        let parts = [
            part(&self.gone, "photo has gone", "photos have gone"),
            part(&self.changed, "photo has other content", "photos have other content"),
            part(&self.relabelled, "photo has another label", "photos have other labels"),
            part(&self.added, "photo was added", "photos were added"),
        ];
        formatter.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
