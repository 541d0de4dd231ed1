//! What is held out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which images are held out to measure on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HeldOut {
    /// This share of every class, above 0 and below 1, drawn from the seed.
    Fraction(f64),
    /// One of several folds, counted from 0: each image is held out in exactly one.
    Fold {
        /// The number of folds, at least 2.
        folds: usize,
        /// Which of them.
        fold: usize,
    },
    /// As a `split.csv` says that an earlier run has written.
    File(#[serde(with = "ocelli_data::path_text")] PathBuf),
    /// These items, as indices into [`ImageData::items`](crate::ImageData::items).
    Items(Vec<usize>),
    /// None: all are trained on, and nothing is measured.
    Nothing,
}
