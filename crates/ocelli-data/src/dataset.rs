//! A data set as its source describes it: items, a split if the source gives one, what was left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::items::{Items, Skipped};
use crate::split::Split;
use crate::text::count;
use crate::threads::pool;
use crate::{DataError, Decoder, text_of};

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
    /// Classes that have lost images already, because what is in the files is not read.
    pub losses: Vec<ClassLoss>,
}

/// What of a class cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassLoss {
    /// The class.
    pub class: String,
    /// Where its images are.
    pub folder: PathBuf,
    /// Its images that can be used, as far as it is known.
    pub kept: usize,
    /// Those that cannot, at least one.
    pub lost: Vec<Skipped>,
}

impl ClassLoss {
    /// Whether all images of the class are lost, or more than a tenth: too many to go on as if nothing were the matter.
    pub fn is_serious(&self) -> bool {
        self.kept == 0 || 10 * self.lost.len() > self.kept + self.lost.len()
    }

    /// The loss as an error.
    pub fn error(&self) -> DataError {
        let (class, path) = (self.class.clone(), self.folder.clone());
        match self.kept {
            0 => DataError::ClassWithoutImages { class, path, found: self.reasons() },
            _ => DataError::ClassLosesImages {
                class,
                path,
                lost: self.lost.len(),
                of: self.kept + self.lost.len(),
                found: self.reasons(),
            },
        }
    }

    /// Why images are lost, the most frequent reason first: `3 × named .jpg, but the file is empty (0.jpg …)`.
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
        let told = reasons.into_iter().take(3).map(|(reason, paths)| {
            let first = text_of(paths[0].strip_prefix(&self.folder).unwrap_or(paths[0]));
            match (paths.len(), first.as_str()) {
                // The folder itself.
                (_, "") => reason.to_owned(),
                (1, first) => format!("{first}: {reason}"),
                (files, first) => format!("{first} and {} more: {reason}", count(files - 1)),
            }
        });
        let mut told = told.collect::<Vec<_>>().join("; ");
        if more > 0 {
            told.push_str(&format!("; and {more} more reasons"));
        }
        told
    }
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
    let (bad, lost) = undecodable_classes(items, indices, decoder, threads)?;
    match lost.first() {
        Some(ClassLoss { class, folder, lost, .. }) if lost.is_empty() => Err(DataError::Split {
            reason: format!("no image of the class \"{class}\" of {} is left to train on", folder.display()),
            advice: "hold out fewer of them, add images of it, or remove the class".to_owned(),
        }),
        Some(loss) => Err(loss.error()),
        None => Ok(bad),
    }
}

/// As [`check_classes`], but the classes without an image that can be decoded are given, too; those that have no image at
/// `indices` at all have lost none.
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
            lost.push(ClassLoss { class, folder: items.root.clone(), kept: 0, lost: of_class.clone() });
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

/// The losses of the classes of some images that were found bad, by their items: with what these classes have lost
/// before, of the images at `indices`.
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
        let (class, kept) =
            (items.classes.name(class).unwrap_or_default().to_owned(), counts[class] - bad.len());
        let mut lost: Vec<Skipped> =
            before.iter().filter(|loss| loss.class == class).flat_map(|loss| loss.lost.clone()).collect();
        lost.extend(bad);
        ClassLoss { class, folder: items.root.clone(), kept, lost }
    };
    by_class.into_iter().map(loss).collect()
}
