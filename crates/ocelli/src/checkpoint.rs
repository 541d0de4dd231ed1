//! Checkpoints: all that a run needs to go on as if it had never been interrupted, written whole or not at all.
//!
//! A checkpoint is a safetensors file: the network's tensors, those of the fit under way, and everything else as TOML
//! in the metadata entry `ocelli-checkpoint` (TOML, because it gives every number back to the last digit). The best
//! weights so far stand beside it as models that can be used. The last two checkpoints are kept, so that there is one
//! even where the disk damages the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ocelli_nn::{Backbone, TensorFile};
use serde::{Deserialize, Serialize};

use crate::best::Best;
use crate::event::Event;
use crate::fit::Fit;
use crate::perform::Progress;
use crate::position::{Numbers, Position};
use crate::{EpochRow, Error, Learner, Result, State, file};

/// Where and when checkpoints are written.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    /// The longest time without one.
    every: Duration,
    written: Instant,
    /// The number of the last one.
    number: u64,
    /// The files of best weights that the last checkpoint names.
    best: BTreeSet<String>,
}

/// All of a checkpoint that is no tensor.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    version: String,
    /// Decides how the kernels round.
    instructions: String,
    /// What the photos and their split were.
    data: String,
    /// The side of the images in pixels.
    size: usize,
    progress: Progress,
    numbers: Numbers,
    history: Vec<EpochRow>,
    best: Vec<BestEntry>,
}

/// The best weights at one size of the images.
#[derive(Debug, Serialize, Deserialize)]
struct BestEntry {
    file: String,
    size: usize,
    state: State,
    row: EpochRow,
}

/// A checkpoint that was read.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    number: u64,
    header: Header,
    tensors: TensorFile,
}

/// The form that this version writes and reads.
const FORMAT: u32 = 1;
const ENTRY: &str = "ocelli-checkpoint";
/// What a checkpoint's name begins with; its number follows.
const NAME: &str = "checkpoint-";
const EXTENSION: &str = ".safetensors";
/// Checkpoints that are kept.
const KEPT: u64 = 2;
/// The longest time without a checkpoint.
const EVERY: Duration = Duration::from_secs(120);

impl Checkpoints {
    /// Checkpoints in this folder, after every epoch and every two minutes.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, every: EVERY, written: Instant::now(), number: 0, best: BTreeSet::new() }
    }

    /// Checkpoints in the folder of one that was read, after it.
    pub(crate) fn after(checkpoint: &Checkpoint) -> Self {
        let folder = checkpoint.path.parent().unwrap_or(Path::new(".")).to_owned();
        let best = checkpoint.header.best.iter().map(|best| best.file.clone()).collect();
        Self { number: checkpoint.number, best, ..Self::new(folder) }
    }
}

/// The numbers of the checkpoints in a folder, ascending.
fn numbers(folder: &Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let number = |name: &str| name.strip_prefix(NAME)?.strip_suffix(EXTENSION)?.parse().ok();
    let mut numbers: Vec<u64> =
        entries.filter_map(|entry| number(entry.ok()?.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    numbers
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{NAME}{number:06}{EXTENSION}"))
}

impl Checkpoint {
    /// The last checkpoint in a folder that can be read, if there is one, and what is wrong with those after it.
    pub(crate) fn last(folder: &Path) -> (Option<Self>, Vec<Error>) {
        let mut damaged = Vec::new();
        for number in numbers(folder).into_iter().rev() {
            match Self::read(path(folder, number), number) {
                Ok(checkpoint) => return (Some(checkpoint), damaged),
                Err(error) => damaged.push(error),
            }
        }
        (None, damaged)
    }

    /// Whether there is any in a folder.
    pub(crate) fn exists(folder: &Path) -> bool {
        !numbers(folder).is_empty()
    }

    fn read(path: PathBuf, number: u64) -> Result<Self> {
        let wrong = |reason: String| Error::NotACheckpoint { path: path.clone(), reason };
        let tensors = TensorFile::read(&path)?;
        let text = tensors.metadata(ENTRY).ok_or_else(|| wrong("it has no header".to_owned()))?;
        let header: Header = toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))?;
        if header.format != FORMAT {
            return Err(wrong(format!("it has form {}, this version reads form {FORMAT}", header.format)));
        }
        Ok(Self { path, number, header, tensors })
    }

    /// The rows so far.
    pub(crate) fn history(&self) -> &[EpochRow] {
        &self.header.history
    }
}

impl<B: Backbone> Learner<B> {
    /// Writes a checkpoint after a batch, if the last one is long ago.
    pub(crate) fn write_checkpoint_if_due(&mut self, fit: &Fit) -> Result<()> {
        match &self.checkpoints {
            Some(checkpoints) if checkpoints.written.elapsed() >= checkpoints.every => {
                self.write_checkpoint(Some(fit))
            }
            _ => Ok(()),
        }
    }

    /// Writes a checkpoint, if they are wanted; `fit` is under way.
    pub(crate) fn write_checkpoint(&mut self, fit: Option<&Fit>) -> Result<()> {
        let Some(mut checkpoints) = self.checkpoints.take() else { return Ok(()) };
        self.performance.seconds += self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        let result = self.write_into(&mut checkpoints, fit);
        let path = path(&checkpoints.folder, checkpoints.number);
        self.checkpoints = Some(checkpoints);
        result?;
        self.tell(&Event::Written { what: "checkpoint", path })
    }

    fn write_into(&self, checkpoints: &mut Checkpoints, fit: Option<&Fit>) -> Result<()> {
        let Checkpoints { folder, written, number, best: before, .. } = checkpoints;
        let mut best = Vec::new();
        for (&size, Best { network, state, row }) in &self.best {
            let name = format!("best-{size}px-{}-{}{EXTENSION}", row.stage, row.epoch);
            // The same stage and epoch has the same weights, whenever it was computed.
            if !before.contains(&name) || !folder.join(&name).exists() {
                self.save_as(&folder.join(&name), network, size)?;
            }
            best.push(BestEntry { file: name, size, state: *state, row: row.clone() });
        }
        let named: BTreeSet<String> = best.iter().map(|best| best.file.clone()).collect();
        let Position { numbers: position, tensors } = self.position_in(fit);
        let header = Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instructions: ocelli_kernels::Isa::current().to_string(),
            data: self.data.fingerprint(),
            size: self.data.size(),
            progress: self.performance.clone(),
            numbers: position,
            history: self.history.clone(),
            best,
        };
        let text = toml::to_string(&header).expect("plain values serialise");
        file::write(&path(folder, *number + 1), &tensors.to_bytes(ENTRY, &text))?;
        *number += 1;
        *written = Instant::now();
        for old in numbers(folder).into_iter().filter(|old| old + KEPT <= *number) {
            let _ = std::fs::remove_file(path(folder, old));
        }
        // What the checkpoint before this one names is kept with it.
        let wanted = |name: &str| named.contains(name) || before.contains(name);
        for entry in std::fs::read_dir(&*folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with("best-") && !wanted(name)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        *before = named;
        Ok(())
    }

    /// Goes to where a checkpoint was written; `same_photos`, unless it is wished to go on with others.
    pub(crate) fn return_to_checkpoint(&mut self, checkpoint: Checkpoint, same_photos: bool) -> Result<()> {
        let after = Checkpoints::after(&checkpoint);
        let Checkpoint { path, header, tensors, .. } = checkpoint;
        if same_photos && header.data != self.data.fingerprint() {
            return Err(Error::State {
                found: format!(
                    "{}: the photos, or which of them are held out, are not what they were",
                    path.display()
                ),
                advice: "train anew, or put the photos back as they were",
            });
        }
        let instructions = ocelli_kernels::Isa::current().to_string();
        if (header.version.as_str(), &header.instructions) != (env!("CARGO_PKG_VERSION"), &instructions) {
            let text = format!(
                "the run began with version {} on {}, and goes on with version {} on {instructions}: results may \
                 differ in the last digits",
                header.version,
                header.instructions,
                env!("CARGO_PKG_VERSION"),
            );
            self.tell(&Event::Notice { text })?;
        }
        if header.size != self.data.size() {
            self.set_size(header.size)?;
        }
        for BestEntry { file, size, state, row } in header.best {
            let name = path.with_file_name(file);
            let network = self.network.clone().with_tensors(&TensorFile::read(&name)?)?;
            self.best.insert(size, Best { network, state, row });
        }
        self.return_to(Position { numbers: header.numbers, tensors })?;
        self.history = header.history;
        self.performance = header.progress;
        self.checkpoints = Some(after);
        Ok(())
    }
}
