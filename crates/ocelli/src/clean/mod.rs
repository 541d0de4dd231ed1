//! Cleaning the labels of a run's training photos: which to look at, what is beside them, and what is decided.
//!
//! Nothing is written but the table of decisions in the run's folder, which `RunConfig::decisions` takes. Held-out
//! photos are not among those that are listed: what changes them changes what all runs are measured by.

mod decisions_file;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use ocelli_data::{Classes, Task, read_photo};
use rayon::prelude::*;
use serde::Serialize;

use crate::clean::decisions_file::DecisionsFile;
use crate::data::ImageData;
use crate::embed::nearest::{Nearest, connected, unit_rows};
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::interpret::neighbours::{dot, row};
use crate::interpret::{Outlier, Suspect};
use crate::run::finished::FinishedRun;
use crate::run::folder::RunFolder;
use crate::run::review::{LabelReview, ReviewOptions};
use crate::stop::Stop;

pub use decisions_file::LabelDecision;

/// The decisions about photos, by their ids.
pub type Decisions = HashMap<String, LabelDecision>;

/// Options of [`LabelCleaning::open`].
#[derive(Default)]
pub struct CleanOptions {
    /// The cache folder for features.
    pub cache: Option<PathBuf>,
    /// Decoding threads; 0: one per core.
    pub threads: usize,
    /// Where the photos are now, if they have been moved.
    pub data: Option<PathBuf>,
    /// Receives progress while features are computed.
    pub observer: Option<Box<dyn Observer>>,
    /// Once set, opening ends with [`Error::Stopped`].
    pub stop: Stop,
}

/// The training photos of a finished run, with what says something about their labels. Photos are meant by their index
/// here, from 0.
pub struct LabelCleaning {
    run: FinishedRun,
    data: ImageData,
    review: LabelReview,
    /// Features with length 1, `[photos, width]`.
    features: Vec<f32>,
    by_id: HashMap<String, usize>,
    duplicates: Vec<Duplicates>,
    notices: Vec<String>,
    file: DecisionsFile,
}

/// Photos that show the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Duplicates {
    /// The photos, ascending.
    pub photos: Vec<usize>,
    /// Whether all are the same file, byte for byte.
    pub identical: bool,
    /// Whether they have different labels, which cannot all be right.
    pub contradict: bool,
}

/// The photos most like one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Alike {
    /// Those with the same label, the most similar first.
    pub same_label: Vec<Nearest>,
    /// Those with another one.
    pub other_label: Vec<Nearest>,
}

/// What decisions are written to a file for training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingDecisions {
    /// The file.
    pub path: PathBuf,
    /// How many decisions it has.
    pub decisions: usize,
    /// Photos that are no longer there, whose decisions were left out.
    pub missing: Vec<String>,
}

/// The longest name of a new class, in characters.
const LONGEST_NAME: usize = 100;

impl LabelCleaning {
    /// Opens a finished run; `run` is its folder, or the model in it. Features of training photos that are not in the
    /// cache are computed.
    ///
    /// # Errors
    /// As [`FinishedRun::open`] and [`FinishedRun::review_labels`]; [`Error::NothingToClean`] where there are too few
    /// training photos.
    pub fn open(run: impl AsRef<Path>, options: CleanOptions) -> Result<Self> {
        let run = FinishedRun::open(run.as_ref())?;
        let CleanOptions { cache, threads, data, observer, stop } = options;
        let mut named = run.predictions()?;
        let (data, missing) = run.images(&mut named, data.as_deref(), threads, &stop)?;
        let review = ReviewOptions { cache, observer, features: true, only_cached: false };
        let found = run.review_labels(&data, review, &stop)?;
        let few = || Error::NothingToClean {
            path: run.folder.clone(),
            photos: data.train_len(),
            reason: missing.trouble.first().cloned(),
        };
        let mut review = found.ok_or_else(few)?;
        let photos = review.predictions.len();
        let features = review.features.take().unwrap_or_default();
        let width = features.len() / photos.max(1);
        let features = unit_rows(&features, width);
        let by_id =
            review.predictions.ids.iter().cloned().enumerate().map(|(index, id)| (id, index)).collect();
        let mut notices = missing.trouble.clone();
        for (ids, what) in
            [(&missing.missing, "no longer there"), (&missing.changed, "changed since the run")]
        {
            match ids.len() {
                0 => {}
                1 => notices.push(format!("1 photo of the run is {what}, and is not listed: {}", ids[0])),
                many => notices.push(format!("{many} photos of the run are {what}, and are not listed")),
            }
        }
        notices.append(&mut review.left_out);
        let classes = Classes::new(review.predictions.classes.iter().cloned());
        let earlier = run.settings.decisions.as_ref().map(|path| run.resolve(path));
        let file = DecisionsFile::new(run.folder.join(FILE), earlier, data.task(), classes);
        // Wrong rows are found now, not at the first decision.
        file.read()?;
        let duplicates = duplicates_of(&review);
        Ok(Self { run, data, review, features, by_id, duplicates, notices, file })
    }

    /// The run.
    pub fn run(&self) -> &FinishedRun {
        &self.run
    }

    /// The table of decisions.
    pub fn decisions_path(&self) -> &Path {
        self.file.path()
    }

    /// What people should know, one sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The names of the run's classes.
    pub fn classes(&self) -> &[String] {
        &self.review.predictions.classes
    }

    /// Whether photos have one label or several.
    pub fn task(&self) -> Task {
        self.data.task()
    }

    /// The number of photos.
    pub fn len(&self) -> usize {
        self.review.predictions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of a photo.
    ///
    /// # Panics
    /// As all that take an index: where there is no such photo.
    pub fn id(&self, photo: usize) -> &str {
        &self.review.predictions.ids[photo]
    }

    /// The photo of this id.
    pub fn index(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The classes of a photo's label in the run, ascending.
    pub fn label(&self, photo: usize) -> &[usize] {
        self.review.predictions.truth(photo)
    }

    /// The probability of each class, by a network that was not trained on the photo (out of fold).
    pub fn probabilities(&self, photo: usize) -> &[f32] {
        self.review.predictions.predictions.row(photo)
    }

    /// Whether the out-of-fold predictions are significantly better than chance; if not, there are no suspects.
    pub fn better_than_chance(&self) -> bool {
        self.review.errors.better_than_chance
    }

    /// Photos whose label is suspicious, the most suspicious first, and how many of them are likely wrong.
    pub fn suspects(&self) -> (&[Suspect], usize) {
        (&self.review.errors.suspects, self.review.errors.likely)
    }

    /// Groups of photos that show the same: those of different labels first, then the larger ones.
    pub fn duplicates(&self) -> &[Duplicates] {
        &self.duplicates
    }

    /// Photos that are far from all others, the farthest first.
    pub fn outliers(&self) -> &[Outlier] {
        &self.review.neighbours.outliers
    }

    /// The photos most like one: at most `count` of the same label, and as many of others. All are compared.
    pub fn alike(&self, photo: usize, count: usize) -> Alike {
        let width = self.features.len() / self.len();
        let query = row(&self.features, width, photo);
        let mut all: Vec<Nearest> = (self.features.par_chunks_exact(width.max(1)).enumerate())
            .filter(|(index, _)| *index != photo)
            .map(|(index, features)| Nearest { index, similarity: dot(query, features).min(1.0) })
            .collect();
        all.sort_unstable_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.index.cmp(&b.index)));
        let label = self.label(photo);
        let of = |same: bool| all.iter().filter(move |near| (self.label(near.index) == label) == same);
        Alike {
            same_label: of(true).take(count).copied().collect(),
            other_label: of(false).take(count).copied().collect(),
        }
    }

    /// A photo as JPEG, its longer side at most this long; small ones are not enlarged.
    ///
    /// # Errors
    /// [`Error::Photo`] where the file is gone, has changed since the run, or cannot be read.
    pub fn jpeg(&self, photo: usize, side: u32) -> Result<Vec<u8>> {
        let item = self.review.predictions.predictions.items()[photo];
        let path = &self.data.items()[item].path;
        let wrong = |reason: String| Error::Photo { path: path.clone(), reason };
        let decoder = self.data.decoder();
        let bytes = read_photo(path, decoder.max_bytes()).map_err(|reason| wrong(reason.to_string()))?;
        if *blake3::hash(&bytes).as_bytes() != self.data.digests[item] {
            return Err(wrong("the file has changed since the run".to_owned()));
        }
        let image = decoder.decode_for(&bytes, side).map_err(|reason| wrong(reason.to_string()))?;
        Ok(image.bounded(side).to_jpeg(QUALITY))
    }

    /// All decisions, also those of other windows, and made by hand; those that the run was trained with are among them.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub fn decisions(&self) -> Result<Decisions> {
        self.file.read()
    }

    /// Decides about a photo, or takes back what is decided (`None`): the table in the run's folder has that when this
    /// returns. Returns all decisions.
    ///
    /// # Errors
    /// [`Error::Photo`] where the photo's file is gone; [`Error::Setting`] where the label is none;
    /// [`Error::RunBusy`] where another process keeps the table locked; where it cannot be read or written.
    pub fn decide(&self, photo: usize, decision: Option<&LabelDecision>) -> Result<Decisions> {
        if let Some(LabelDecision::Relabel(labels)) = decision {
            self.check(labels)?;
        }
        let item = self.review.predictions.predictions.items()[photo];
        let path = &self.data.items()[item].path;
        if decision.is_some() && !path.is_file() {
            return Err(Error::Photo {
                path: path.clone(),
                reason: "the file is no longer there".to_owned(),
            });
        }
        self.file.set(self.id(photo), decision)
    }

    /// Checks that labels are some of the classes, or can be new ones.
    fn check(&self, labels: &[String]) -> Result<()> {
        let setting = |value: &str, expected: &'static str| Err(Error::setting("label", value, expected));
        if self.task() == Task::SingleLabel && labels.len() != 1 {
            return setting(&labels.join(", "), "one class");
        }
        let mut known = self.classes().to_vec();
        known.extend(self.new_classes()?);
        for (index, name) in labels.iter().enumerate() {
            if labels[..index].contains(name) {
                return setting(name, "each class once");
            }
            if known.contains(name) {
                continue;
            }
            if name.trim() != name || name.is_empty() || name.chars().count() > LONGEST_NAME {
                return setting(name, "a name of 1 to 100 characters, without blanks around it");
            }
            if name.chars().any(char::is_control) || name.contains(['/', '\\']) {
                return setting(name, "a name without line breaks and slashes");
            }
            if self.task() == Task::MultiLabel && name.contains(crate::data::decisions::SEPARATOR) {
                return setting(name, "a name without |, which separates labels");
            }
            if Classes::new(known.iter().cloned()).alike(name).is_some() {
                return setting(name, "a name that does not look like that of another class");
            }
        }
        Ok(())
    }

    /// Classes that decisions name and the run does not have.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub fn new_classes(&self) -> Result<Vec<String>> {
        let named = self.file.read()?.into_values().flat_map(|decision| match decision {
            LabelDecision::Relabel(labels) => labels,
            _ => Vec::new(),
        });
        let new: BTreeSet<String> = named.filter(|name| !self.classes().contains(name)).collect();
        Ok(new.into_iter().collect())
    }

    /// Creates the folder of a next run beside this one, and writes a copy of the decisions for it into this run's
    /// folder: later decisions then do not change what that run says that it was trained with. Decisions about photos
    /// that are gone are left out, since training refuses them.
    ///
    /// # Errors
    /// Where the folder or the copy cannot be written.
    pub fn prepare_training(&self) -> Result<(PathBuf, TrainingDecisions)> {
        let folder = self.run.folder.canonicalize().map_err(Error::io("open", &self.run.folder))?;
        let name = self.run.name.rsplit_once('-').filter(|(_, number)| number.parse::<u32>().is_ok());
        let name = name.map_or(self.run.name.as_str(), |(name, _)| name);
        let next = RunFolder::numbered(folder.parent().unwrap_or(&folder), name)?.path().to_owned();
        let own = next.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let items = &self.data.items().items;
        let there: HashSet<&str> =
            items.iter().filter(|item| item.path.is_file()).map(|item| item.id.as_str()).collect();
        let path = folder.join(format!("decisions-{own}.csv"));
        let (decisions, missing) = self.file.copy_to(&path, |id| there.contains(id))?;
        Ok((next, TrainingDecisions { path, decisions, missing }))
    }
}

/// The table's name in a run's folder.
const FILE: &str = "decisions.csv";
/// The quality of JPEGs.
const QUALITY: u8 = 82;

/// Groups of photos that are the same or nearly so.
fn duplicates_of(review: &LabelReview) -> Vec<Duplicates> {
    let identical =
        review.duplicates.iter().flat_map(|group| group[1..].iter().map(|&other| (group[0], other, 1.0)));
    let near = review.neighbours.pairs.iter().map(|pair| (pair.first, pair.second, pair.likeness as f32));
    let groups = connected(review.predictions.len(), identical.chain(near));
    let is_identical = |photos: &[usize]| {
        review.duplicates.iter().any(|group| photos.iter().all(|photo| group.contains(photo)))
    };
    let mut groups: Vec<Duplicates> = (groups.into_iter())
        .map(|group| {
            let photos: Vec<usize> = group.iter().map(|near| near.index).collect();
            let first = review.predictions.truth(photos[0]);
            let contradict = photos.iter().any(|&photo| review.predictions.truth(photo) != first);
            Duplicates { identical: is_identical(&photos), contradict, photos }
        })
        .collect();
    // Stable: larger groups stay before smaller ones.
    groups.sort_by_key(|group| !group.contradict);
    groups
}
