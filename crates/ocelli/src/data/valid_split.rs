//! The validation split.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The validation split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ValidSplit {
    /// This fraction of every class, above 0 and below 1, drawn from the seed.
    Fraction(f64),
    /// Cross-validation: one of several folds, counted from 0; each image is in exactly one.
    Fold {
        /// The number of folds, at least 2.
        folds: usize,
        /// Which of them.
        fold: usize,
    },
    /// As in the `split.csv` of an earlier run, or in a published list of images that is called as its side of
    /// the split (`train.txt`, `val_list.csv`) and those beside it.
    File(#[serde(with = "ocelli_data::path_text")] PathBuf),
    /// These items, as indices into [`ImageData::items`](crate::ImageData::items).
    Items(Vec<usize>),
    /// None: all images are for training.
    Nothing,
}
