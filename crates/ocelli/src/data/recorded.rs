//! The photos that a run began with: `photos.csv` in its folder, one row per photo, with its labels, its part
//! of the split and a digest of its bytes. With it a run is resumed on the same photos, wherever they are
//! then; missing and changed ones are reported.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use ocelli_data::{
    Classes, DataError, Digest, Item, Items, Skipped, Split, Target, Task, escape_formula, unescape_formula,
};

use crate::differences::Differences;
use crate::error::{Error, Result};
use crate::file;

/// The recorded photos of a run.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// The run's folder.
    folder: PathBuf,
    task: Task,
    photos: Vec<Photo>,
    /// The photos by id.
    by_id: HashMap<String, usize>,
    /// Whether missing and changed photos are dropped instead of refused.
    without_changed: bool,
}

#[derive(Debug, Clone)]
struct Photo {
    id: String,
    labels: Vec<String>,
    /// Its part of the split, as an index into [`SIDES`].
    side: Option<usize>,
    digest: Digest,
}

/// What a resumed run continues with.
pub(crate) struct Restored {
    pub(crate) items: Items,
    pub(crate) digests: Vec<Digest>,
    pub(crate) split: Split,
    /// The photos that the run goes on without.
    pub(crate) skipped: Vec<Skipped>,
    /// Differences, one sentence each.
    pub(crate) notices: Vec<String>,
}

/// The parts of a split, as the file names them.
const SIDES: [&str; 3] = ["train", "valid", "test"];

/// The file's name.
pub(crate) const FILE: &str = "photos.csv";

/// What decisions about labels have changed.
pub(crate) struct Decided<'a> {
    /// The items' labels in the source.
    pub(crate) before: &'a [Target],
    /// Items that are not trained on.
    pub(crate) dropped: &'a [usize],
}

/// Records the photos that a run begins with, with their part of the split and their labels in the source, and,
/// where there are decisions about labels, what these have changed.
pub(crate) fn write(
    folder: &Path,
    items: &Items,
    decided: Option<&Decided>,
    split: &Split,
    digests: &[Digest],
) -> Result<()> {
    let mut sides = vec![""; items.len()];
    for (side, indices) in SIDES.into_iter().zip([&split.train, &split.valid, &split.test]) {
        indices.iter().for_each(|&index| sides[index] = side);
    }
    let dropped: HashSet<usize> = decided.iter().flat_map(|decided| decided.dropped).copied().collect();
    let mut table = csv::Writer::from_writer(Vec::new());
    let in_memory = "writing to memory succeeds";
    let header = match items.task {
        Task::SingleLabel => "label",
        Task::MultiLabel => "labels",
    };
    let mut columns = vec!["id", header, "split", "blake3"];
    if decided.is_some() {
        columns.extend(["decision", if header == "label" { "new_label" } else { "new_labels" }]);
    }
    table.write_record(columns).expect(in_memory);
    for (index, (item, digest)) in items.items.iter().zip(digests).enumerate() {
        let before = decided.map_or(&item.target, |decided| &decided.before[index]);
        let digest = blake3::Hash::from_bytes(*digest).to_hex();
        let (id, labels) = (escape_formula(&item.id), cell(items, before));
        let mut cells = vec![id, labels.into(), sides[index].into(), digest.as_str().into()];
        if decided.is_some() {
            let (decision, label) = match (dropped.contains(&index), *before == item.target) {
                (true, _) => ("drop", String::new()),
                (false, true) => ("", String::new()),
                (false, false) => ("relabel", cell(items, &item.target)),
            };
            cells.extend([decision.into(), label.into()]);
        }
        table.write_record(cells.iter().map(|cell| cell.as_bytes())).expect(in_memory);
    }
    file::write_whole(&folder.join(FILE), &table.into_inner().expect(in_memory))
}

/// The cell of an item's labels. Several are a JSON list, so that they may contain any character.
fn cell(items: &Items, target: &Target) -> String {
    let labels = names(items, target);
    let text = match items.task {
        Task::SingleLabel => labels.concat(),
        Task::MultiLabel => serde_json::to_string(&labels).expect("text serialises"),
    };
    escape_formula(&text).into_owned()
}

fn names(items: &Items, target: &Target) -> Vec<String> {
    target.classes().iter().filter_map(|&class| items.classes.name(class)).map(str::to_owned).collect()
}

impl Recorded {
    /// Reads the recorded photos of the run in this folder.
    pub(crate) fn read(folder: &Path, without_changed: bool) -> Result<Self> {
        let path = folder.join(FILE);
        let wrong = |row: Option<u64>, detail: &str| DataError::Table {
            path: path.clone(),
            row,
            detail: detail.to_owned(),
            advice: "train anew: without it nobody knows which photos the run began with".to_owned(),
        };
        let bytes = ocelli_data::files::read(&path).map_err(Error::io("read", &path))?;
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let header = reader.headers().map_err(|_| wrong(Some(1), "is not what a run writes"))?;
        let task = match header.get(1) {
            Some("label") => Task::SingleLabel,
            Some("labels") => Task::MultiLabel,
            _ => return Err(wrong(Some(1), "is not what a run writes").into()),
        };
        let mut photos = Vec::new();
        for record in reader.records() {
            let row = record.as_ref().ok().and_then(|record| record.position()).map(csv::Position::line);
            let photo = record.ok().and_then(|record| {
                let (id, labels, side, digest) =
                    (record.get(0)?, record.get(1)?, record.get(2)?, record.get(3)?);
                let (id, labels) = (unescape_formula(id), unescape_formula(labels));
                let labels = match task {
                    Task::SingleLabel if labels.is_empty() => Vec::new(),
                    Task::SingleLabel => vec![labels.to_owned()],
                    Task::MultiLabel => serde_json::from_str(labels).ok()?,
                };
                let digest = *blake3::Hash::from_hex(digest).ok()?.as_bytes();
                let side = match side {
                    "" => None,
                    side => Some(SIDES.iter().position(|known| *known == side)?),
                };
                Some(Photo { id: id.to_owned(), labels, side, digest })
            });
            photos.push(photo.ok_or_else(|| wrong(row, "is not what a run writes"))?);
        }
        let by_id = photos.iter().enumerate().map(|(index, photo)| (photo.id.clone(), index)).collect();
        Ok(Self { folder: folder.to_owned(), task, photos, by_id, without_changed })
    }

    /// The ids of all photos.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.photos.iter().map(|photo| photo.id.as_str())
    }

    fn photo(&self, id: &str) -> Option<&Photo> {
        self.by_id.get(id).map(|&index| &self.photos[index])
    }

    /// The part of the split that a photo is in: train, valid or test.
    pub(crate) fn side(&self, id: &str) -> Option<&'static str> {
        self.photo(id)?.side.map(|side| SIDES[side])
    }

    /// The digest of a photo's file.
    pub(crate) fn digest(&self, id: &str) -> Option<&Digest> {
        self.photo(id).map(|photo| &photo.digest)
    }

    /// The classes of the run, whatever others there are now: each is an output of its network.
    pub(crate) fn classes(&self) -> Classes {
        let names: BTreeSet<&String> = self.photos.iter().flat_map(|photo| &photo.labels).collect();
        Classes::new(names.into_iter().cloned())
    }

    /// The digests of all photos' files, by their ids.
    pub(crate) fn digests(&self) -> HashMap<String, Digest> {
        self.photos.iter().map(|photo| (photo.id.clone(), photo.digest)).collect()
    }

    /// Whether any of the photos has this class.
    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.photos.iter().any(|photo| photo.labels.iter().any(|label| label == class))
    }

    /// The ids and digests of the training photos.
    pub(crate) fn trained_on(&self) -> impl Iterator<Item = (String, Digest)> {
        let trained = self.photos.iter().filter(|photo| photo.side == Some(0));
        trained.map(|photo| (photo.id.clone(), photo.digest))
    }

    /// The number of photos.
    pub(crate) fn len(&self) -> usize {
        self.photos.len()
    }

    /// Selects the run's photos from those that exist now, with the run's split. Photos that were added are
    /// not part of it.
    pub(crate) fn restore(&self, items: Items, digests: &[Digest]) -> Result<Restored> {
        let present: HashMap<&str, usize> =
            items.items.iter().enumerate().map(|(index, item)| (item.id.as_str(), index)).collect();
        let mut differences = Differences::default();
        let mut skipped = Vec::new();
        let mut leave_out = |photo: &Photo, what: &str| {
            skipped.push(Skipped::image(items.root.join(&photo.id), format!("{what} since the run began")));
            photo.id.clone()
        };
        let mut stay: Vec<(&Photo, usize)> = Vec::with_capacity(self.photos.len());
        for photo in &self.photos {
            match present.get(photo.id.as_str()) {
                None => differences.missing.push(leave_out(photo, "gone")),
                Some(&index) if digests[index] != photo.digest => {
                    differences.changed.push(leave_out(photo, "changed"));
                }
                Some(&index)
                    if sorted(names(&items, &items[index].target)) != sorted(photo.labels.clone()) =>
                {
                    differences.relabelled.push(leave_out(photo, "labelled otherwise"));
                }
                Some(&index) => stay.push((photo, index)),
            }
        }
        let own: HashSet<&str> = self.photos.iter().map(|photo| photo.id.as_str()).collect();
        let added = items.items.iter().map(|item| &item.id).filter(|id| !own.contains(id.as_str()));
        differences.added = added.cloned().collect();
        let mut notices = Vec::new();
        if !differences.only_added() && !self.without_changed {
            let (data, run) = (items.root.clone(), self.folder.clone());
            let (photos, differences) = (self.photos.len(), Box::new(differences));
            return Err(Error::PhotosChanged { data, run, photos, differences });
        }
        if !differences.only_added() {
            let left_out = self.photos.len() - stay.len();
            notices.push(format!(
                "since the run began, {differences}; it goes on without {left_out} of its {} photos, so that what it \
                 measures from now on is of others than before",
                self.photos.len()
            ));
        } else if !differences.added.is_empty() {
            notices.push(format!("since the run began, {differences}; they are no part of it"));
        }

        let classes = self.classes();
        let target = |photo: &Photo| match (self.task, &photo.labels[..]) {
            (Task::SingleLabel, []) => Target::Unlabelled,
            (task, labels) => {
                Target::new(task, labels.iter().filter_map(|label| classes.index(label)).collect())
            }
        };
        let selected =
            stay.iter().map(|(photo, index)| Item { target: target(photo), ..items[*index].clone() });
        let selected: Vec<Item> = selected.collect();
        let digests = stay.iter().map(|(photo, _)| photo.digest).collect();
        let items = Items { root: items.root, task: self.task, classes, items: selected };
        let mut sides: [Vec<usize>; 3] = Default::default();
        for (index, (photo, _)) in stay.iter().enumerate() {
            if let Some(side) = photo.side {
                sides[side].push(index);
            }
        }
        let [train, valid, test] = sides;
        let split = Split { train, valid, test };
        Ok(Restored { items, digests, split, skipped, notices })
    }
}

fn sorted(mut labels: Vec<String>) -> Vec<String> {
    labels.sort_unstable();
    labels
}
