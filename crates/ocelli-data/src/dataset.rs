//! A data set as its source describes it: items, the source's split, skipped files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::items::{Items, Skipped};
use crate::split::Split;
use crate::text::count;
use crate::threads::pool;
use crate::{DataError, Decoder, text_of};

/// The content of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// All items: for training, validation and testing.
    pub items: Items,
    /// The source's own split (`train/` and `valid/` folders, a column), if it has one. If it has no
    /// validation items, the source defines no validation set.
    pub split: Option<Split>,
    /// Skipped files and folders, sorted by path.
    pub skipped: Vec<Skipped>,
    /// Notices that matter for trusting a result, one line each.
    pub notices: Vec<String>,
    /// Classes that have lost images already, because their files cannot be read.
    pub losses: Vec<ClassLoss>,
}

/// The images that a class loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassLoss {
    /// The class.
    pub class: String,
    /// Where its images are.
    pub folder: PathBuf,
    /// Images that can be used, as far as known.
    pub usable: usize,
    /// Images that cannot be used, at least one.
    pub lost: Vec<Skipped>,
}

impl ClassLoss {
    /// Whether all images of the class are lost, or more than a tenth: too many to continue without a word.
    pub fn is_serious(&self) -> bool {
        self.usable == 0 || 10 * self.lost.len() > self.usable + self.lost.len()
    }

    /// The loss as an error.
    pub fn error(&self) -> DataError {
        let (class, path) = (self.class.clone(), self.folder.clone());
        match self.usable {
            0 => DataError::ClassWithoutImages { class, path, found: self.reasons() },
            _ => DataError::ClassLosesImages {
                class,
                path,
                lost: self.lost.len(),
                of: self.usable + self.lost.len(),
                found: self.reasons(),
            },
        }
    }

    /// Why images are lost, the most frequent reason first:
    /// `3 × named .jpg, but the file is empty (0.jpg …)`.
    fn reasons(&self) -> String {
        let mut reasons: Vec<(&str, Vec<&Path>)> = Vec::new();
        for Skipped { path, reason, .. } in &self.lost {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, paths)) => paths.push(path),
                None => reasons.push((reason, vec![path])),
            }
        }
        reasons.sort_by_key(|(_, paths)| std::cmp::Reverse(paths.len()));
        let more = reasons.len().saturating_sub(3);
        let shown = reasons.into_iter().take(3).map(|(reason, paths)| {
            let first = text_of(paths[0].strip_prefix(&self.folder).unwrap_or(paths[0]));
            match (paths.len(), first.as_str()) {
                // The folder itself.
                (_, "") => reason.to_owned(),
                (1, first) => format!("{first}: {reason}"),
                (files, first) => format!("{first} and {} more: {reason}", count(files - 1)),
            }
        });
        let mut shown = shown.collect::<Vec<_>>().join("; ");
        if more > 0 {
            shown.push_str(&format!("; and {more} more reasons"));
        }
        shown
    }
}

/// Checks that every class has at least one image at `indices` (the training images) that can be decoded.
///
/// Images of each class are decoded until one succeeds, so a healthy data set costs one image per class.
/// Returns the bad images that were found.
pub fn check_classes(
    items: &Items,
    indices: &[usize],
    decoder: &Decoder,
    threads: usize,
) -> Result<Vec<Skipped>, DataError> {
    let (bad, lost) = undecodable_classes(items, indices, decoder, threads)?;
    match lost.first() {
        Some(ClassLoss { class, folder, lost, .. }) if lost.is_empty() => Err(DataError::Split {
            reason: format!("no image of the class \"{class}\" of {} is left to train on", folder.display()),
            advice: "hold out fewer of them, add images of it (where groups are kept together, of another group), or remove the class; where lists, folders or a column give the split, it is they that hold out all of its images".to_owned(),
        }),
        Some(loss) => Err(loss.error()),
        None => Ok(bad),
    }
}

/// As [`check_classes`], but also returns the classes without an image that can be decoded; those without
/// images at `indices` have lost none.
pub fn undecodable_classes(
    items: &Items,
    indices: &[usize],
    decoder: &Decoder,
    threads: usize,
) -> Result<(Vec<Skipped>, Vec<ClassLoss>), DataError> {
    let mut by_class: BTreeMap<usize, Vec<usize>> =
        (0..items.classes.len()).map(|class| (class, vec![])).collect();
    for &index in indices {
        for &class in items[index].target.classes() {
            by_class.entry(class).or_default().push(index);
        }
    }
    let checked: Vec<Result<(Vec<Skipped>, bool), DataError>> = pool(threads)?
        .install(|| by_class.par_iter().map(|(_, indices)| check_class(items, indices, decoder)).collect());
    let (mut bad, mut lost) = (Vec::new(), Vec::new());
    for (class, checked) in by_class.into_keys().zip(checked) {
        let (of_class, has_one) = checked?;
        if !has_one {
            let class = items.classes.name(class).unwrap_or_default().to_owned();
            lost.push(ClassLoss { class, folder: items.root.clone(), usable: 0, lost: of_class.clone() });
        }
        bad.extend(of_class);
    }
    bad.sort_by(|a, b| a.path.cmp(&b.path));
    bad.dedup();
    Ok((bad, lost))
}

/// The bad images before the first good one, and whether there is one.
fn check_class(
    items: &Items,
    indices: &[usize],
    decoder: &Decoder,
) -> Result<(Vec<Skipped>, bool), DataError> {
    let mut bad = Vec::new();
    for &index in indices {
        match decoder.decode_file_for(&items[index].path, 1) {
            Ok(_) => return Ok((bad, true)),
            Err(DataError::BadImage { path, reason }) => bad.push(Skipped::image(path, reason)),
            Err(error) => return Err(error),
        }
    }
    Ok((bad, false))
}

/// The losses of classes by images that were found bad, given by their items: with what these classes have
/// lost before, of the images at `indices`.
pub fn class_losses(
    items: &Items,
    indices: &[usize],
    before: &[ClassLoss],
    bad: &BTreeMap<usize, Skipped>,
) -> Vec<ClassLoss> {
    let counts = items.class_counts(indices);
    let mut by_class: BTreeMap<usize, Vec<Skipped>> = BTreeMap::new();
    for (&item, skipped) in bad {
        for &class in items[item].target.classes() {
            by_class.entry(class).or_default().push(skipped.clone());
        }
    }
    let loss = |(class, bad): (usize, Vec<Skipped>)| {
        let (class, usable) =
            (items.classes.name(class).unwrap_or_default().to_owned(), counts[class] - bad.len());
        let mut lost: Vec<Skipped> =
            before.iter().filter(|loss| loss.class == class).flat_map(|loss| loss.lost.clone()).collect();
        lost.extend(bad);
        ClassLoss { class, folder: items.root.clone(), usable, lost }
    };
    by_class.into_iter().map(loss).collect()
}
