//! A data set as its source describes it: items, a split if the source gives one, what was left out.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::items::{Items, Skipped};
use crate::split::Split;
use crate::threads::pool;
use crate::{DataError, Decoder};

/// What a source found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// All items: for training, validation and testing.
    pub items: Items,
    /// The split that the source itself describes (`train/` and `valid/` folders, a column), if it does. Where no item
    /// of it is for validation, the source does not say what is held out of those to train on.
    pub split: Option<Split>,
    /// Files and folders that were left out, sorted by path.
    pub skipped: Vec<Skipped>,
    /// What people should know before they trust a result, one line each.
    pub notices: Vec<String>,
}

/// Makes sure that every class has at least one image at `indices` (those to train on) that can be decoded.
///
/// Images of each class are decoded until one succeeds, so a healthy data set costs one image a class.
/// Gives the images that were found bad on the way.
pub fn check_classes(
    items: &Items,
    indices: &[usize],
    decoder: &Decoder,
    threads: usize,
) -> Result<Vec<Skipped>, DataError> {
    let mut by_class: BTreeMap<usize, Vec<usize>> =
        (0..items.classes.len()).map(|class| (class, vec![])).collect();
    for &index in indices {
        for &class in items[index].target.classes() {
            by_class.entry(class).or_default().push(index);
        }
    }
    let checked: Vec<Result<Vec<Skipped>, DataError>> = pool(threads)?.install(|| {
        by_class.par_iter().map(|(&class, indices)| check_class(items, class, indices, decoder)).collect()
    });
    let mut bad = checked.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    bad.sort_by(|a, b| a.path.cmp(&b.path));
    bad.dedup();
    Ok(bad)
}

fn check_class(
    items: &Items,
    class: usize,
    indices: &[usize],
    decoder: &Decoder,
) -> Result<Vec<Skipped>, DataError> {
    let mut bad = Vec::new();
    for &index in indices {
        match decoder.decode_file_for(&items[index].path, 1) {
            Ok(_) => return Ok(bad),
            Err(DataError::BadImage { path, reason }) => bad.push(Skipped::image(path, reason)),
            Err(error) => return Err(error),
        }
    }
    let found = match bad.first() {
        None => "there are none".to_owned(),
        Some(first) => {
            format!("none of {} can be decoded; {}: {}", bad.len(), first.path.display(), first.reason)
        }
    };
    let class = items.classes.name(class).unwrap_or_default().to_owned();
    Err(DataError::ClassWithoutImages { class, path: items.root.clone(), found })
}
