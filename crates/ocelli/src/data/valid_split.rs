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
    /// Cross-validation over so many folds, at least 2: a run trains a model for each of them, and then one on all
    /// images, which is evaluated by the predictions of the folds' models: each image by one that has not seen it. A time
    /// limit of its recipe is one for each of the models. See [`Run::run_folds`](crate::Run::run_folds). Without a run
    /// nothing is held out.
    Folds(usize),
    /// As in the `split.csv` of an earlier run, or in a published list of images that is called as its side of
    /// the split (`train.txt`, `val_list.csv`) and those beside it.
    File(#[serde(with = "ocelli_data::path_text")] PathBuf),
    /// These items, as indices into [`ImageData::items`](crate::ImageData::items).
    Items(Vec<usize>),
    /// None: all images are for training.
    Nothing,
}
