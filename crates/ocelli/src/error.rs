//! What can go wrong, said for people.

use std::io;
use std::path::{Path, PathBuf};

use ocelli_data::{DataError, io_reason};

use crate::data::recorded::Differences;
use crate::pull::PullError;

/// Everything that this crate can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is wrong with the photos.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Something is wrong with a network or its weights.
    #[error(transparent)]
    Network(ocelli_nn::Error),
    /// A setting is outside of its range.
    #[error("{name} is {value}; it must be {expected}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The value found.
        value: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// The images are too small for the network.
    #[error(
        "{architecture} takes images from {smallest} px on, and these are made {size} px; choose a larger size, \
         or another backbone"
    )]
    ImageSize {
        /// The backbone's name.
        architecture: String,
        /// The side of the images in pixels.
        size: usize,
        /// The smallest side that the backbone can take.
        smallest: usize,
    },
    /// The state of the learner does not allow what was asked.
    #[error("{found}; {advice}")]
    State {
        /// What is the matter.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A file is no model of Ocelli's.
    #[error("{}: not a model of Ocelli's: {reason}", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong in it.
        reason: String,
    },
    /// A file is no checkpoint.
    #[error("{}: not a checkpoint: {reason}", path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong in it.
        reason: String,
    },
    /// A folder is not that of a run.
    #[error("{}: not the folder of a run, for it has no config.toml; give one such as runs/photos-1", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A file with settings cannot be read.
    #[error("{}: {reason}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A run has come to its end.
    #[error("{}: this run is finished; its model is {}", path.display(), model.display())]
    Finished {
        /// The folder.
        path: PathBuf,
        /// The model.
        model: PathBuf,
    },
    /// The photos of a run are not those that it began with.
    #[error(
        "{}: the run {} began with {photos} photos, and since then {differences}; put them back as they were, or go \
         on without those that have gone or changed",
        data.display(), run.display()
    )]
    PhotosChanged {
        /// The folder of the photos.
        data: PathBuf,
        /// The folder of the run.
        run: PathBuf,
        /// How many photos the run began with.
        photos: usize,
        /// What is different.
        differences: Box<Differences>,
    },
    /// A photo cannot be used.
    #[error("{}: {reason}", path.display())]
    Photo {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Weights by name cannot be had.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// No weights of that backbone are at hand.
    #[error(
        "the weights of {architecture} are not on this machine; fetch them with `ocelli pull {architecture}`, or \
         get {url} and save it as {}, or give a file of your own with --weights FILE",
        path.display()
    )]
    NoWeights {
        /// The backbone.
        architecture: String,
        /// Where they are published.
        url: String,
        /// Where their file belongs.
        path: PathBuf,
    },
    /// The loss, or its gradient, is no number any more. The network is as it was before that batch.
    #[error(
        "the {what} became {value} in epoch {epoch}, batch {batch}, at the learning rates {rates}; \
         train with lower ones, such as a tenth"
    )]
    Diverged {
        /// "training loss" or "gradients' norm".
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
        /// Counted from 1.
        epoch: usize,
        /// Counted from 1.
        batch: usize,
        /// One a layer group.
        rates: String,
    },
    /// After no epoch of a fit was everything that the network computes of the validation images finite.
    #[error(
        "step {stage} gave no usable weights: after each of its {}, at the learning rates {rates}, what the network \
         computes of the validation images was not finite (NaN or infinite); train with lower rates, such as a tenth, \
         or let them be found",
        number_of_epochs(*epochs)
    )]
    NoFiniteEpoch {
        /// The step of the recipe, counted from 1.
        stage: usize,
        /// Its epochs.
        epochs: usize,
        /// The peak learning rates, one a layer group.
        rates: String,
    },
    /// A tensor holds a number that is NaN or infinite.
    #[error(
        "{model}: its tensor {tensor} holds {value}, which no trained weight is: the learning rate was too high, or \
         the file is damaged; train again with a lower rate, or copy the file again"
    )]
    NotFiniteTensor {
        /// The model's file, or "the network".
        model: String,
        /// The tensor.
        tensor: String,
        /// NaN or an infinity.
        value: f32,
    },
    /// A network computes something that is not finite.
    #[error(
        "{model}: what it computes of {photo} is not finite ({value} for the class {class}): its weights are too \
         large to be of use; train again with a lower learning rate, or use another model"
    )]
    NotFiniteOutput {
        /// The model's file, or "the network".
        model: String,
        /// The photo.
        photo: String,
        /// The class of the first such number.
        class: String,
        /// NaN or an infinity.
        value: f32,
    },
    /// There is less memory than a step of training, or of using the network, takes.
    #[error(
        "{task} with {batch} images of {size} px at once takes about {} of memory, and {} are free; {}",
        gigabytes(*needed), gigabytes(*available), smaller(*fits)
    )]
    Memory {
        /// "training all layers"
        task: &'static str,
        /// Images a batch.
        batch: usize,
        /// Their side in pixels.
        size: usize,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that there are.
        available: u64,
        /// The largest batch that would fit, if one of two images does.
        fits: Option<usize>,
    },
    /// The learning rate finder found none.
    #[error("no reliable learning rate: {reason}")]
    NoLearningRate {
        /// What the curve shows instead.
        reason: String,
    },
    /// An observer asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// The run folder that was asked for holds something already.
    #[error("{}: holds files already; give another folder, which is empty or new", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// Another process is writing into the folder of a run.
    #[error("{}: another process is at work on this run; wait until it has ended, or stop it", path.display())]
    RunBusy {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a finished run is not as the run wrote it.
    #[error(
        "{}: is missing, or not as the run wrote it, by its checksums.b3; resume the run, and it is made again",
        path.display()
    )]
    DamagedResult {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("cannot {action} {}: {}{}", path.display(), io_reason(source), remedy(action, source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps the system's reason with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }
}

impl From<ocelli_nn::Error> for Error {
    /// A file that cannot be read is said in the same words, whatever it holds.
    fn from(error: ocelli_nn::Error) -> Self {
        match error {
            ocelli_nn::Error::Read { path, source } => Self::Io { action: "read", path, source },
            error => Self::Network(error),
        }
    }
}

fn number_of_epochs(epochs: usize) -> String {
    if epochs == 1 { "1 epoch".to_owned() } else { format!("{epochs} epochs") }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

fn smaller(fits: Option<usize>) -> String {
    match fits {
        Some(fits) => format!("--batch {fits} fits"),
        None => "choose a smaller --size or another --arch, or free some".to_owned(),
    }
}

fn remedy(action: &str, source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied if action != "read" => "; choose a folder that you may write to",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space and run again",
        io::ErrorKind::ReadOnlyFilesystem => "; choose a folder that you may write to",
        _ => "",
    }
}
