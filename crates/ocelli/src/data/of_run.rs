//! The photos of a run that is over, as far as they are still what they were: what its report is made of.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ocelli_data::source::table::{self, Tables};
use ocelli_data::{
    Classes, DataError, Dataset, Digest, Item, Items, Split, Target, Task, source, unescape_formula,
};
use rayon::prelude::*;

use super::{ImageData, ImageDataBuilder, Source};
use crate::data::decisions;
use crate::error::{Error, Result};
use crate::interpret::target_of;

impl ImageDataBuilder {
    /// The images of a run that is over, as far as they are still what they were, divided as its split file says.
    pub(crate) fn of_run(self, run: &RunImages) -> Result<(ImageData, Lost)> {
        self.preprocessing_is_valid()?;
        let mut lost = Lost::default();
        let sides = column(&run.folder.join("split.csv"), "split");
        let sides = sides.unwrap_or_else(|error| {
            lost.trouble.push(format!("which images were trained on is not known: {error}"));
            HashMap::new()
        });
        // Where a run has recorded what its files held, those that hold something else by now are known.
        let recorded = column(&run.folder.join("photos.csv"), "blake3").unwrap_or_default();
        let nothing = |root: PathBuf| Items {
            items: Vec::new(),
            root,
            classes: Classes::new(run.classes.iter().cloned()),
            task: run.task,
        };
        let read = match &self.source {
            Source::Folder(root) if Tables::of(root).is_empty() || !table::says_the_classes(root) => {
                source::folder::read_known(root, &Classes::new(run.classes.iter().cloned()))
                    .map_err(Error::from)
            }
            _ => self.read().map(|(labelled, _)| labelled.dataset),
        };
        let (mut items, mut skipped, notices) = match read {
            Ok(Dataset { items, skipped, notices, .. }) => (items, skipped, notices),
            Err(error) => {
                lost.trouble.push(error.to_string());
                let root = match &self.source {
                    Source::Folder(root) => root.clone(),
                    Source::Table(path, options) => {
                        let beside = || path.parent().map(Path::to_owned).unwrap_or_default();
                        options.folder.clone().unwrap_or_else(beside)
                    }
                };
                (nothing(root), Vec::new(), Vec::new())
            }
        };
        // Classes are the model's, whatever has become of their folders.
        let known = Classes::new(run.classes.iter().cloned());
        let class = |&class: &usize| known.index(items.classes.name(class).unwrap_or_default());
        let found = items.items.iter().filter(|item| sides.contains_key(&item.id) || sides.is_empty());
        let found = found.filter_map(|item| {
            let classes = item.target.classes().iter().map(class).collect::<Option<Vec<_>>>()?;
            let target = match &item.target {
                Target::Unlabelled => Target::Unlabelled,
                _ => target_of(items.task, classes),
            };
            Some(Item { target, ..item.clone() })
        });
        let found: Vec<Item> = found.collect();
        items = Items { items: found, classes: known, ..items };
        // What was measured on has its labels in the run, so that its pictures are found even without the others.
        let mut places: HashMap<String, usize> =
            items.items.iter().enumerate().map(|(place, item)| (item.id.clone(), place)).collect();
        for (id, target) in run.measured {
            places.entry(id.clone()).or_insert_with(|| {
                let path = items.root.join(id);
                items.items.push(Item { id: id.clone(), path, target: target.clone() });
                items.items.len() - 1
            });
        }
        let found: Vec<Option<Digest>> = items
            .items
            .par_iter()
            .map(|item| if (run.stopped)() { None } else { digest_of(&item.path) })
            .collect();
        if (run.stopped)() {
            return Err(Error::Stopped);
        }
        for (item, digest) in items.items.iter().zip(&found) {
            match (digest, recorded.get(&item.id)) {
                (None, _) => lost.missing.push(item.id.clone()),
                (Some(now), Some(then)) if *blake3::Hash::from_bytes(*now).to_hex() != **then => {
                    lost.changed.push(item.id.clone());
                }
                _ => {}
            }
        }
        let there = |id: &str| places.contains_key(id);
        let wanted = sides.iter().filter(|(_, side)| *side != "test").map(|(id, _)| id);
        lost.missing.extend(wanted.filter(|id| !there(id)).cloned());
        lost.missing.sort();
        let gone = lost.ids();
        let measured: HashSet<&str> = run.measured.iter().map(|(id, _)| id.as_str()).collect();
        let mut split = Split::default();
        for (place, item) in items.items.iter().enumerate() {
            if measured.contains(item.id.as_str()) {
                split.valid.push(place);
            } else if !gone.contains(item.id.as_str())
                && sides.get(&item.id).is_none_or(|side| side == "train")
                && item.target != Target::Unlabelled
            {
                split.train.push(place);
            }
        }
        let mut dropped = Vec::new();
        if let Some(path) = &self.decisions {
            let applied = decisions::read(path).and_then(|decisions| {
                let decisions: Vec<_> =
                    decisions.into_iter().filter(|decision| there(decision.id())).collect();
                decisions::apply(&decisions, path, &mut items, &mut split)
            });
            match applied {
                Ok(applied) => dropped = applied.dropped,
                Err(error) => lost.trouble.push(format!("decisions about labels were not applied: {error}")),
            }
        }
        // What is not there is like nothing else.
        let other = |id: &str| *blake3::hash(id.as_bytes()).as_bytes();
        let digests = items.items.iter().zip(found);
        let digests = digests.map(|(item, digest)| digest.unwrap_or_else(|| other(&item.id))).collect();
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let data = ImageData {
            items: Arc::new(items),
            split,
            digests: Arc::new(digests),
            skipped,
            notices,
            losses: Vec::new(),
            folder: self.folder(),
            origin: "as the split file says",
            label_separator: None,
            dropped,
            undecided: None,
            size: self.size,
            framing: self.framing,
            filter: self.filter,
            augmentation: self.augmentation,
            balanced: self.balanced,
            seed: self.seed,
            loading: self.loading,
        };
        Ok((data, lost))
    }
}

/// What a run knows of its images.
pub(crate) struct RunImages<'a> {
    /// Its folder.
    pub(crate) folder: &'a Path,
    /// The names of the classes.
    pub(crate) classes: &'a [String],
    pub(crate) task: Task,
    /// The images that were measured on, with what they are.
    pub(crate) measured: &'a [(String, Target)],
    /// Whether somebody wants no more of it.
    pub(crate) stopped: &'a (dyn Fn() -> bool + Sync),
}

/// What of a run's images is not what it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Ids of images that are not there any more, or cannot be read.
    pub(crate) missing: Vec<String>,
    /// Ids of images that have other bytes than in the run.
    pub(crate) changed: Vec<String>,
    /// What could not be read at all, a sentence each.
    pub(crate) trouble: Vec<String>,
}

impl Lost {
    /// The ids of all images that are not what they were.
    pub(crate) fn ids(&self) -> HashSet<&str> {
        self.missing.iter().chain(&self.changed).map(String::as_str).collect()
    }
}

/// A column of one of a run's tables, by the ids of its first column.
fn column(path: &Path, name: &str) -> Result<HashMap<String, String>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let wrong = |detail: String| -> Error {
        let advice = "take it from a copy of the run, or train anew".to_owned();
        DataError::Table { path: path.to_owned(), row: None, detail, advice }.into()
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&bytes[..]);
    let header = reader.headers().map_err(|error| wrong(error.to_string()))?;
    let place = header.iter().position(|cell| cell == name);
    let place = place.ok_or_else(|| wrong(format!("has no column {name}")))?;
    let rows = reader.records().map(|record| {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        let cell = |place: usize| record.get(place).unwrap_or_default();
        Ok((unescape_formula(cell(0)).to_owned(), cell(place).to_owned()))
    });
    rows.collect()
}

/// The digest of a file; nothing where it cannot be read, or is no file.
fn digest_of(path: &Path) -> Option<Digest> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).ok()?).ok()?;
    Some(*hasher.finalize().as_bytes())
}
