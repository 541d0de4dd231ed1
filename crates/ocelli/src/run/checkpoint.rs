//! Checkpoints: everything that a run needs to continue as if it had never been interrupted.
//!
//! A checkpoint is a safetensors file: the network's tensors, those of the current fit, and everything else
//! as TOML in the metadata entry `ocelli-checkpoint` (TOML, because it preserves every digit of a number).
//! The best weights so far are stored beside it as usable models. Each file holds a digest of its content.
//! The last two checkpoints are retained, in case the disk damages the last one, or a file that it needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ocelli_data::files;
use ocelli_nn::{Backbone, HeadForm, TensorFile};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file;
use crate::learner::best::Best;
use crate::learner::save::save_network;
use crate::learner::snapshot::{SnapshotHeader, TrainSnapshot};
use crate::learner::{Learner, LearnerView};
use crate::metric::record::EpochRecord;
use crate::recipe::freezing::Freezing;
use crate::run::config::{Config, RunConfig};
use crate::run::folder::unsealed;
use crate::run::progress::Progress;

/// Writes checkpoints, and decides when.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    /// When the last one was written, or the first one could have been.
    written: Instant,
    /// The highest number so far.
    number: u64,
    /// The numbers of complete checkpoints, ascending.
    retained: Vec<u64>,
    /// The files of best weights that the last checkpoint refers to, with their digests.
    best: BTreeMap<String, String>,
    /// The text of the run's settings.
    config: String,
}

/// A checkpoint without its tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    version: String,
    /// Determines how the kernels round.
    instructions: String,
    /// A hash of the images and their split.
    data: String,
    /// The settings that the run began with, as the text of its `config.toml`.
    config: String,
    /// The image size in pixels.
    size: usize,
    progress: Progress,
    snapshot: SnapshotHeader,
    history: Vec<EpochRecord>,
    best: Vec<BestEntry>,
}

/// The best weights at one image size.
#[derive(Debug, Serialize, Deserialize)]
struct BestEntry {
    file: String,
    /// The digest of its content.
    digest: String,
    size: usize,
    freezing: Freezing,
    /// The form of the head; `None` for a custom one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<HeadForm>,
    record: EpochRecord,
}

/// A checkpoint that has been read.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    number: u64,
    /// The highest number of any checkpoint in the folder, complete or not.
    highest: u64,
    header: Header,
    tensors: TensorFile,
    /// The best weights that the header refers to, in its order.
    best: Vec<TensorFile>,
}

/// The checkpoints in a folder.
#[derive(Debug)]
pub(crate) struct Last {
    /// The last complete one.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// What is wrong with later ones.
    pub(crate) damaged: Vec<Error>,
    /// The highest number of any.
    highest: u64,
}

/// The version of the format that this version writes and reads.
const FORMAT: u32 = 5;
pub(crate) const ENTRY: &str = "ocelli-checkpoint";
/// The prefix of a checkpoint's name; its number follows.
const NAME: &str = "checkpoint-";
const EXTENSION: &str = ".safetensors";
/// How many checkpoints are retained.
const RETAINED: usize = 2;
/// The longest time between two checkpoints.
const LONGEST: Duration = Duration::from_secs(120);
/// The shortest time between the checkpoints of epochs: an epoch of cached features takes less time than a checkpoint
/// sometimes.
const SHORTEST: Duration = Duration::from_secs(3);

impl Checkpoints {
    /// Checkpoints in this folder of a run with these settings.
    pub(crate) fn new(folder: PathBuf, config: String) -> Self {
        let written = Instant::now();
        Self { folder, written, number: 0, retained: Vec::new(), best: BTreeMap::new(), config }
    }

    /// The same, after those in the folder, none of which is complete.
    pub(crate) fn after_damaged(self, last: &Last) -> Self {
        Self { number: last.highest, ..self }
    }

    /// Checkpoints after one that was read, in its folder.
    fn after(checkpoint: &Checkpoint) -> Self {
        let folder = checkpoint.path.parent().unwrap_or(Path::new(".")).to_owned();
        let best = &checkpoint.header.best;
        Self {
            number: checkpoint.highest,
            retained: vec![checkpoint.number],
            best: best.iter().map(|best| (best.file.clone(), best.digest.clone())).collect(),
            ..Self::new(folder, checkpoint.header.config.clone())
        }
    }
}

/// The numbers of the checkpoints in a folder, ascending. Another file, such as a copy that a person has made, is
/// none: its name is not what its number gives.
fn numbers(folder: &Path) -> Result<Vec<u64>> {
    let number = |found: PathBuf| {
        let name = found.file_name()?.to_str()?;
        let number = name.strip_prefix(NAME)?.strip_suffix(EXTENSION)?.parse().ok()?;
        (number < u64::MAX && *name == *path(folder, number).file_name()?).then_some(number)
    };
    let entries = files::list(folder).map_err(Error::io("list", folder))?;
    let mut numbers: Vec<u64> = entries.into_iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{NAME}{number:06}{EXTENSION}"))
}

impl Checkpoint {
    /// The last complete checkpoint in a folder, and what is wrong with later ones.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub(crate) fn last(folder: &Path) -> Result<Last> {
        let numbers = numbers(folder)?;
        let highest = numbers.last().copied().unwrap_or(0);
        let mut damaged = Vec::new();
        for number in numbers.into_iter().rev() {
            match Self::read(path(folder, number), number, highest) {
                Ok(checkpoint) => return Ok(Last { checkpoint: Some(checkpoint), damaged, highest }),
                Err(error) => damaged.push(error),
            }
        }
        Ok(Last { checkpoint: None, damaged, highest })
    }

    /// Whether there are checkpoints in a folder.
    pub(crate) fn exists(folder: &Path) -> bool {
        numbers(folder).is_ok_and(|numbers| !numbers.is_empty())
    }

    fn read(path: PathBuf, number: u64, highest: u64) -> Result<Self> {
        let wrong = |reason: String| Error::NotACheckpoint { path: path.clone(), reason };
        let tensors = file::read_tensors(&path)?;
        if tensors.digest().is_none() {
            return Err(wrong("it has no digest of its content".to_owned()));
        }
        let header = Header::of(&tensors, &path)?;
        let best = header.best.iter().map(|BestEntry { file, digest, .. }| {
            if Path::new(file).file_name() != Some(file.as_ref()) {
                return Err(wrong(format!("its best weights are in {file:?}, which is no file beside it")));
            }
            let name = path.with_file_name(file);
            let tensors = file::read_tensors(&name)?;
            match tensors.digest() == Some(digest) {
                true => Ok(tensors),
                false => Err(wrong(format!("{} holds other weights than it did", name.display()))),
            }
        });
        let best = best.collect::<Result<_>>()?;
        Ok(Self { path, number, highest, header, tensors, best })
    }

    /// The text of the settings that the run began with.
    pub(crate) fn config(&self) -> &str {
        &self.header.config
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Header {
    fn of(tensors: &TensorFile, path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::NotACheckpoint { path: path.to_owned(), reason };
        let text = tensors.metadata(ENTRY).ok_or_else(|| wrong("it has no header".to_owned()))?;
        let form = toml::from_str::<Form>(text).map_err(|error| wrong(error.message().to_owned()))?.format;
        if form != FORMAT {
            return Err(wrong(format!("it has form {form}, this version reads form {FORMAT}")));
        }
        toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))
    }
}

/// The file of the last checkpoint in a folder.
pub(crate) fn last_file(folder: &Path) -> Option<PathBuf> {
    numbers(folder).ok()?.last().map(|number| path(folder, *number))
}

/// What a checkpoint says beside its tensors, for people.
pub(crate) struct Contents {
    pub(crate) format: u32,
    pub(crate) version: String,
    pub(crate) instructions: String,
    /// The settings of the run; `None` where this version does not read them.
    pub(crate) settings: Option<RunConfig>,
    /// The image size in pixels.
    pub(crate) size: usize,
    /// Finished phases.
    pub(crate) phases: usize,
    /// Finished epochs, over all phases.
    pub(crate) epochs: usize,
    /// Seconds of training so far.
    pub(crate) seconds: f64,
    /// The file, the image size and the epoch of the best weights.
    pub(crate) best: Vec<(String, usize, EpochRecord)>,
}

impl Contents {
    /// Of a checkpoint, whether or not the files are there that it refers to.
    pub(crate) fn of(tensors: &TensorFile, path: &Path) -> Result<Self> {
        let header = Header::of(tensors, path)?;
        let settings = toml::from_str::<Config>(&unsealed(header.config).0).ok();
        Ok(Self {
            format: header.format,
            version: header.version,
            instructions: header.instructions,
            settings: settings.map(|config| config.settings),
            size: header.size,
            phases: header.progress.done,
            epochs: header.history.len(),
            seconds: header.progress.seconds,
            best: header.best.into_iter().map(|best| (best.file, best.size, best.record)).collect(),
        })
    }
}

/// The beginning of a header in any version of the format.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

impl Checkpoints {
    /// Whether the last one is so long ago that one is to be written within an epoch.
    pub(crate) fn is_due(&self) -> bool {
        self.written.elapsed() >= LONGEST
    }

    /// Whether one is to be written after an epoch.
    pub(crate) fn is_due_after_epoch(&self) -> bool {
        self.written.elapsed() >= SHORTEST
    }

    /// Writes a checkpoint and the best weights that it refers to, and removes obsolete files; returns its
    /// path.
    pub(crate) fn write<B: Backbone>(
        &mut self,
        learner: &LearnerView<B>,
        progress: &Progress,
    ) -> Result<PathBuf> {
        let best = self.write_best(learner)?;
        let named: BTreeMap<String, String> =
            best.iter().map(|best| (best.file.clone(), best.digest.clone())).collect();
        let TrainSnapshot { header: snapshot, tensors } = TrainSnapshot::of(learner);
        let data = &learner.inputs.data;
        let header = Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instructions: ocelli_kernels::Isa::current().to_string(),
            data: data.fingerprint(),
            config: self.config.clone(),
            size: data.size(),
            progress: progress.clone(),
            snapshot,
            history: learner.history.to_vec(),
            best,
        };
        let text = toml::to_string(&header).expect("plain values serialise");
        let path = path(&self.folder, self.number + 1);
        file::write_whole(&path, &tensors.to_bytes(ENTRY, &text))?;
        self.number += 1;
        self.written = Instant::now();
        self.retained.push(self.number);
        self.retained.drain(..self.retained.len().saturating_sub(RETAINED));
        self.sweep(&named);
        self.best = named;
        Ok(path)
    }

    /// Writes the best weights that have no file yet.
    fn write_best<B: Backbone>(&self, learner: &LearnerView<B>) -> Result<Vec<BestEntry>> {
        let entries = learner.best.by_size.iter().map(|(&size, best)| {
            let Best { network, freezing, record } = best;
            let file = format!("best-{size}px-{}-{}{EXTENSION}", record.fit, record.epoch);
            let path = self.folder.join(&file);
            // The same fit and epoch has the same weights, in every attempt.
            let digest = match self.best.get(&file).filter(|_| path.exists()) {
                Some(digest) => digest.clone(),
                None => save_network(&path, network, learner.inputs, size)?,
            };
            let head = network.head_form();
            Ok(BestEntry { file, digest, size, freezing: *freezing, head, record: record.clone() })
        });
        entries.collect()
    }

    /// Removes obsolete checkpoints, and best weights that neither the last one (these) nor the one before it
    /// refers to.
    fn sweep(&self, named: &BTreeMap<String, String>) {
        // What cannot be listed or removed now is removed after the next one. Damaged ones are removed as
        // well.
        for old in numbers(&self.folder).unwrap_or_default() {
            if !self.retained.contains(&old) {
                let _ = files::remove(path(&self.folder, old));
            }
        }
        for entry in files::list(&self.folder).unwrap_or_default() {
            let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("best-") && !named.contains_key(name) && !self.best.contains_key(name) {
                let _ = files::remove(&entry);
            }
        }
    }
}

impl Checkpoint {
    /// Restores a learner to this checkpoint; `same_photos`, unless it is to continue with others. Returns
    /// the tracker to continue with, and notices.
    pub(crate) fn restore<B: Backbone>(
        self,
        learner: &mut Learner<B>,
        same_photos: bool,
    ) -> Result<(Progress, Checkpoints, Option<String>)> {
        let after = Checkpoints::after(&self);
        let Self { path, mut header, tensors, best, .. } = self;
        if same_photos && header.data != learner.data().fingerprint() {
            return Err(Error::CheckpointOfOtherPhotos { checkpoint: path });
        }
        if !same_photos {
            header.progress.forget_images();
        }
        header
            .check(learner.data().items().len())
            .map_err(|reason| Error::NotACheckpoint { path, reason })?;
        let notice = header.notice();
        if header.size != learner.data().size() {
            learner.set_size(header.size)?;
        }
        for (BestEntry { size, freezing, record, head, .. }, tensors) in header.best.into_iter().zip(best) {
            let network = learner.with_form(head.as_ref())?.with_tensors(&tensors)?;
            learner.best.by_size.insert(size, Best { network, freezing, record });
        }
        learner.restore(TrainSnapshot { header: header.snapshot, tensors })?;
        learner.history = header.history;
        Ok((header.progress, after, notice))
    }
}

impl Header {
    /// Checks what is used without another check, of so many items; says what is wrong.
    fn check(&self, items: usize) -> std::result::Result<(), String> {
        if !self.progress.is_among(items) {
            return Err(format!("it knows of other images than the run's {items}"));
        }
        let all = self.best.iter().map(|best| best.freezing.check());
        all.chain([self.snapshot.check()]).collect::<Result<()>>().map_err(|error| error.to_string())
    }

    /// A notice that results may differ, because the version or the processor has changed.
    fn notice(&self) -> Option<String> {
        let (version, instructions) = (env!("CARGO_PKG_VERSION"), ocelli_kernels::Isa::current().to_string());
        (self.version != version || self.instructions != instructions).then(|| {
            format!(
                "the run began with version {} on {}, and goes on with version {version} on {instructions}: results \
                 may differ in the last digits",
                self.version, self.instructions
            )
        })
    }
}
