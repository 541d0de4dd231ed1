//! A data set as its source describes it: items, a split if the source gives one, what was left out.

use crate::items::{Items, Skipped};
use crate::split::Split;

/// What a source found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// All items: for training, validation and testing.
    pub items: Items,
    /// The split that the source itself describes (`train/` and `valid/` folders), if it does.
    pub split: Option<Split>,
    /// Files and folders that were left out, sorted by path.
    pub skipped: Vec<Skipped>,
}
