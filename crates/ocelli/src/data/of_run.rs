//! The images of a finished run that have not changed: what its report shows.

use std::collections::HashSet;
use std::path::Path;

use ocelli_data::{Classes, Dataset, Digest, Item, Items, Skipped, Split, Target, Task};
use rayon::prelude::*;

use crate::data::builder::{ImageDataBuilder, Source};
use crate::data::recorded::Recorded;
use crate::data::{ImageData, decisions};
use crate::error::{Error, Result};

impl ImageDataBuilder {
    /// The images of a finished run that have not changed, with the run's split.
    pub(crate) fn of_run(self, run: &RunImages) -> Result<(ImageData, MissingImages)> {
        self.options.check_preprocessing()?;
        let mut lost = MissingImages::default();
        let recorded = Recorded::read(run.folder, true).inspect_err(|error| {
            lost.trouble.push(format!("which images were trained on is not known: {error}"));
        });
        let recorded = recorded.ok();
        let (items, skipped, notices) = self.present(run, &mut lost);
        let mut items = items_of_run(items, run, recorded.as_ref());
        let found = digests_of(&items, run)?;
        if let Some(recorded) = &recorded {
            lost.compare(&items, &found, recorded);
        } else {
            lost.compare_presence(&items, &found);
        }
        let mut split = split_of(&items, run, recorded.as_ref(), &lost);
        let mut dropped = Vec::new();
        if let Some(path) = &self.decisions {
            let there: HashSet<String> = items.items.iter().map(|item| item.id.clone()).collect();
            let applied = decisions::read(path).and_then(|mut decisions| {
                decisions.retain(|decision| there.contains(decision.id()));
                decisions::apply(&decisions, path, &mut items, &mut split)
            });
            match applied {
                Ok(applied) => dropped = applied.dropped,
                Err(error) => lost.trouble.push(format!("decisions about labels were not applied: {error}")),
            }
        }
        // A missing image has a digest that no other has.
        let other = |id: &str| *blake3::hash(id.as_bytes()).as_bytes();
        let digests = items.items.iter().zip(found);
        let digests = digests.map(|(item, digest)| digest.unwrap_or_else(|| other(&item.id))).collect();
        let data = ImageData::new(items, split, digests, "as the split file says", &self);
        Ok((ImageData { notices, dropped, ..data.skipping(skipped) }, lost))
    }

    /// What the source contains now; `None` if it cannot be read.
    fn present(&self, run: &RunImages, lost: &mut MissingImages) -> (Items, Vec<Skipped>, Vec<String>) {
        let known = || Classes::new(run.classes.iter().cloned());
        let mut folders = |root: &Path| self.folder_options().read_known(root, &known());
        let read = self.read_with(&mut folders);
        let read = read.or_else(|error| {
            let by_folders = self.clone().class_folders(true);
            by_folders.read_with(&mut folders).map_err(|_| error)
        });
        match read.map(|(labelled, _)| labelled.dataset) {
            Ok(Dataset { items, skipped, notices, .. }) => (items, skipped, notices),
            Err(error) => {
                lost.trouble.push(error.to_string());
                let root = match &self.source {
                    Source::Folder(root) => root.clone(),
                    Source::Table(path, options) => {
                        let beside = || path.parent().map(Path::to_owned).unwrap_or_default();
                        options.folder.clone().unwrap_or_else(beside)
                    }
                    Source::List(..) => Default::default(),
                };
                let nothing = Items { items: Vec::new(), root, classes: known(), task: run.task };
                (nothing, Vec::new(), Vec::new())
            }
        }
    }
}

/// The images of the run that still exist, and all validation images, with the classes of the model.
fn items_of_run(items: Items, run: &RunImages, recorded: Option<&Recorded>) -> Items {
    // The classes are the model's, whatever has become of their folders.
    let known = Classes::new(run.classes.iter().cloned());
    let class = |&class: &usize| known.index(items.classes.name(class).unwrap_or_default());
    let is_of_run = |item: &&Item| recorded.is_none_or(|recorded| recorded.side(&item.id).is_some());
    let found = items.items.iter().filter(is_of_run).filter_map(|item| {
        let classes = item.target.classes().iter().map(class).collect::<Option<Vec<_>>>()?;
        let target = match &item.target {
            Target::Unlabelled => Target::Unlabelled,
            _ => Target::new(items.task, classes),
        };
        Some(Item { target, ..item.clone() })
    });
    let found: Vec<Item> = found.collect();
    let mut items = Items { items: found, classes: known, ..items };
    // Labels of validation images are in the run, so that their pictures are found even without the others.
    let there: HashSet<String> = items.items.iter().map(|item| item.id.clone()).collect();
    for (id, target) in run.measured.iter().filter(|(id, _)| !there.contains(id)) {
        let path = items.root.join(id);
        items.items.push(Item { id: id.clone(), path, target: target.clone() });
    }
    items
}

fn digests_of(items: &Items, run: &RunImages) -> Result<Vec<Option<Digest>>> {
    let digest = |item: &Item| if (run.stopped)() { None } else { digest_of(&item.path) };
    let found = items.items.par_iter().map(digest).collect();
    if (run.stopped)() { Err(Error::Stopped) } else { Ok(found) }
}

/// The run's validation images are for validation, and unchanged others for training.
fn split_of(items: &Items, run: &RunImages, recorded: Option<&Recorded>, lost: &MissingImages) -> Split {
    let gone = lost.ids();
    let measured: HashSet<&str> = run.measured.iter().map(|(id, _)| id.as_str()).collect();
    let trained = |id: &str| recorded.is_none_or(|recorded| recorded.side(id) == Some("train"));
    let mut split = Split::default();
    for (index, item) in items.items.iter().enumerate() {
        let id = item.id.as_str();
        if measured.contains(id) {
            split.valid.push(index);
        } else if !gone.contains(id) && trained(id) && item.target != Target::Unlabelled {
            split.train.push(index);
        }
    }
    split
}

/// What a run records of its images.
pub(crate) struct RunImages<'a> {
    /// Its folder.
    pub(crate) folder: &'a Path,
    /// The names of the classes.
    pub(crate) classes: &'a [String],
    pub(crate) task: Task,
    /// The validation images, with their labels.
    pub(crate) measured: &'a [(String, Target)],
    /// Whether to stop.
    pub(crate) stopped: &'a (dyn Fn() -> bool + Sync),
}

/// Images of a run that are missing or have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingImages {
    /// Ids of images that are missing or unreadable.
    pub missing: Vec<String>,
    /// Ids of images whose content has changed.
    pub changed: Vec<String>,
    /// Problems in reading, one sentence each.
    pub trouble: Vec<String>,
}

impl MissingImages {
    /// Images that are unreadable, have changed, or are missing.
    fn compare(&mut self, items: &Items, found: &[Option<Digest>], recorded: &Recorded) {
        self.compare_presence(items, found);
        for (item, digest) in items.items.iter().zip(found) {
            if let (Some(now), Some(then)) = (digest, recorded.digest(&item.id))
                && now != then
            {
                self.changed.push(item.id.clone());
            }
        }
        let there: HashSet<&str> = items.items.iter().map(|item| item.id.as_str()).collect();
        let needed = recorded.ids().filter(|id| recorded.side(id).is_some_and(|side| side != "test"));
        self.missing.extend(needed.filter(|id| !there.contains(id)).map(str::to_owned));
        self.missing.sort();
    }

    fn compare_presence(&mut self, items: &Items, found: &[Option<Digest>]) {
        let absent = items.items.iter().zip(found).filter(|(_, digest)| digest.is_none());
        self.missing.extend(absent.map(|(item, _)| item.id.clone()));
        self.missing.sort();
    }

    /// The ids of all of them.
    pub fn ids(&self) -> HashSet<&str> {
        self.missing.iter().chain(&self.changed).map(String::as_str).collect()
    }
}

/// The digest of a file; `None` if it cannot be read, or is not a file.
pub(crate) fn digest_of(path: &Path) -> Option<Digest> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).ok()?).ok()?;
    Some(*hasher.finalize().as_bytes())
}
