//! What can go wrong, in words for people and in variants for programs.
//!
//! Texts speak of this crate's settings. A front end that calls them otherwise, as the command does with its
//! flags, translates by variant, and by [`Error::setting_name`].

use std::io;
use std::path::{Path, PathBuf};

use ocelli_data::{DataError, Task, io_reason};

use crate::differences::Differences;

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
    /// A model cannot be written as ONNX, or the engine that checks the file cannot run it.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] ocelli_onnx::Error),
    /// A model cannot be written as TFLite, or the file cannot be read back.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Tflite(#[from] ocelli_tflite::Error),
    /// A TFLite file is given where something is to be read.
    #[error(
        "{}: is a TFLite file (LiteRT), which Ocelli writes but does not read; give the model file that it was exported from",
        path.display()
    )]
    IsTflite {
        /// The file.
        path: PathBuf,
    },
    /// A file that begins as an ONNX file is none, or is damaged.
    #[cfg(feature = "onnx")]
    #[error("{}: {source}", path.display())]
    NotAnOnnxFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ocelli_onnx::Error,
    },
    /// An exported file does not compute what the model computes. It was not written.
    #[cfg(feature = "onnx")]
    #[error(
        "the exported file does not compute what the model computes: {what} differ by {found}, and {bound} would be \
         accepted (in {engine}); no file was written"
    )]
    Disagreement {
        /// What was compared.
        what: &'static str,
        /// The largest difference.
        found: String,
        /// The largest difference that is accepted.
        bound: String,
        /// The engine that ran the file.
        engine: &'static str,
    },
    /// An exported file of 8-bit integers is worse than the model. It was not written.
    #[cfg(feature = "onnx")]
    #[error(
        "in 8-bit integers {measure} falls from {before:.4} to {after:.4} on {photos} photos, and {bound} less would be \
         accepted; no file was written"
    )]
    QuantizationLoss {
        /// What is measured.
        measure: &'static str,
        /// The model's.
        before: f64,
        /// The file's.
        after: f64,
        /// The photos that it was measured on.
        photos: usize,
        /// The loss that is accepted.
        bound: f64,
    },
    /// There are no photos to compare an exported file and its model on.
    #[cfg(feature = "onnx")]
    #[error("an exported file is compared with the model on photos, and {}", match reason {
        Some(reason) => format!("none can be read ({reason})"),
        None => "there are none; give some, or the folder of the model's run".to_owned(),
    })]
    NoPhotosToCheck {
        /// Why the first could not be read.
        reason: Option<String>,
    },
    /// Photos that should show none of a model's classes are those that it knows.
    #[error("{known} of the {photos} strangers are {what} photos; strangers show none of the classes")]
    NoStrangers {
        /// How many of them.
        known: usize,
        /// All that were given.
        photos: usize,
        /// Which photos they are: evaluated, training.
        what: &'static str,
    },
    /// What is given as onnxruntime-web is something else.
    #[cfg(feature = "onnx")]
    #[error("{}: is not the npm package onnxruntime-web {version}: {reason}", path.display())]
    NotWebRuntime {
        /// The folder or the archive.
        path: PathBuf,
        /// The version that is needed.
        version: &'static str,
        /// What is missing, or different.
        reason: String,
    },
    /// A model cannot be written as a web page.
    #[cfg(feature = "onnx")]
    #[error(
        "the model reads bands or value ranges of its own, and browsers read every photo as 8-bit RGB; export an ONNX \
         file instead"
    )]
    NotForBrowsers,
    /// Another process is lost, has ended the job, or cannot be joined.
    #[error(transparent)]
    Processes(#[from] ocelli_distributed::Error),
    /// Processes that are to train together do not have the same.
    #[error("{what} differs: {expected} in process 0, {found} in process {rank} on {host}{advice}")]
    ProcessesDiffer {
        /// What differs.
        what: &'static str,
        /// The rank of the other process.
        rank: usize,
        /// Its machine.
        host: String,
        /// What it has.
        found: String,
        /// What process 0 has.
        expected: String,
        /// What to do, after a full stop; may be empty.
        advice: &'static str,
    },
    /// Processes have not computed the same.
    #[error(
        "{what} of process {rank} are not those of process 0, though both compute from the same: please report this, with \
         the processors of both machines"
    )]
    ProcessesDiverged {
        /// What differs.
        what: &'static str,
        /// The rank of the other process.
        rank: usize,
    },
    /// A process was lost that had a part of the optimizer's state.
    #[error(
        "the optimizer's state was shared out among processes, one of which is lost: go on from the last checkpoint, with any \
         number of processes"
    )]
    StateInParts,
    /// A recipe has a phase that several processes can only share by micro-batches.
    #[error(
        "phase {phase} trains layers of the backbone, which {processes} processes can only share in pieces of a batch: with \
         `micro_batch` set, the result is the same with any number of processes; or train the head alone"
    )]
    NotShared {
        /// The phase, counted from 1.
        phase: usize,
        /// The number of processes.
        processes: usize,
    },
    /// A setting is outside of its range.
    #[error("{name} is {value}; it must be {expected}")]
    Setting {
        /// The setting's name: that of its field, or of the method that sets it.
        name: &'static str,
        /// The value found.
        value: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// The images are too small for the network.
    #[error(
        "{arch} needs images of at least {smallest} px, and the size is {size} px; choose a larger size or another \
         backbone"
    )]
    ImageSize {
        /// The backbone's name.
        arch: String,
        /// The side of the images in pixels.
        size: usize,
        /// The smallest side that the backbone can take.
        smallest: usize,
    },
    /// An ensemble of no models.
    #[error("the ensemble has no models; give at least one")]
    EmptyEnsemble,
    /// Models, or a model and photos, are for different classes.
    #[error(
        "{what} has the classes {}, expected {}; use models and photos of the same classes",
        some(found),
        some(expected)
    )]
    ClassMismatch {
        /// What has other classes: "model 2 of the ensemble", "the new data".
        what: String,
        /// Its classes.
        found: Vec<String>,
        /// The classes that are needed.
        expected: Vec<String>,
    },
    /// A model of an ensemble differs from the first in whether an image has one class or several.
    #[error(
        "{model}: the model is {}, and the first one {}; use models of the same task",
        task_name(*found), task_name(*expected)
    )]
    EnsembleTasks {
        /// The model's file, or "the network".
        model: String,
        /// Its task.
        found: Task,
        /// The task of the first model.
        expected: Task,
    },
    /// A model and data differ in whether an image has one class or several.
    #[error(
        "the model is {}, and the data {}; {}",
        task_name(*model), task_name(*data), of_one_task(*model)
    )]
    TaskMismatch {
        /// The task of the model.
        model: Task,
        /// The task of the data.
        data: Task,
    },
    /// The data has a class that the model does not have.
    #[error("{} has the class \"{class}\", which the model does not have; rename or remove it", data.display())]
    ClassUnknownToModel {
        /// The folder of the photos.
        data: PathBuf,
        /// The class.
        class: String,
    },
    /// A model holds no temperature.
    #[error(
        "{model}: the model is not calibrated: there were no validation images to fit a temperature on, or no \
         temperature lowered their log loss; use its probabilities without calibration"
    )]
    NotCalibrated {
        /// The model's file, or "the network".
        model: String,
    },
    /// A model on another device than the CPU cannot compute in 8-bit integers.
    #[error("{model}: 8-bit integers are for the CPU; use it on the CPU, or without them")]
    Int8Device {
        /// The model's file, or "the network".
        model: String,
    },
    /// There are no photos that ranges of 8-bit integers could be found on.
    #[error(
        "{model}: 8-bit integers need photos to find the ranges of the network's values on, and there are none{}; give some \
         training photos",
        reason.as_ref().map_or_else(String::new, |reason| format!(" that can be read ({reason})"))
    )]
    NoPhotosForRanges {
        /// The model's file, or "the network".
        model: String,
        /// Why the first of them could not be read.
        reason: Option<String>,
    },
    /// A model has no score of photos of unknown classes.
    #[error("{model}: the model has no unknown score: {reason}; use it without, or train again")]
    NoUnknownScore {
        /// The model's file, or "the network".
        model: String,
        /// Why not.
        reason: String,
    },
    /// A folder holds no photos.
    #[error("{} holds no photos; give a folder of photos", path.display())]
    NoPhotos {
        /// The folder.
        path: PathBuf,
    },
    /// A photo cannot be used, and such photos are to stop the work.
    #[error("{}: {reason}; remove it, or let bad images be skipped", path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Nothing of the data can be measured on, since its labelled images are all training images.
    #[error(
        "all labelled images of {} are training images, so there are none to evaluate; give images that the model was not \
         trained on, or set a validation split",
        data.display()
    )]
    NothingHeldOut {
        /// The folder of the photos.
        data: PathBuf,
    },
    /// The model has seen all images that it was to be evaluated on.
    #[error(
        "the model was trained on all {images} images of {}, so they cannot show how well it generalizes; \
         give images that it was not trained on, or include the training images",
        data.display()
    )]
    AllTrainedOn {
        /// The folder of the photos.
        data: PathBuf,
        /// How many there are.
        images: usize,
    },
    /// None of the images to evaluate on can be read.
    #[error(
        "{} has no labelled images that can be read; give a folder with a folder of photos for each class, or a table \
         of labels",
        data.display()
    )]
    NoLabelledImages {
        /// The folder of the photos.
        data: PathBuf,
    },
    /// Groups are to be read from a column, and there is no table.
    #[error(
        "{} is read by its class folders, which have no column of groups; give a table of labels, or a pattern that \
         finds the group in the file's name",
        data.display()
    )]
    NoGroupColumn {
        /// The folder of the photos.
        data: PathBuf,
    },
    /// All layers are trained, so that there are no features to cache.
    #[error("all layers are trained, so there are no frozen features to cache; freeze some layers first")]
    NothingFrozen,
    /// The head is a custom module, and a linear one was to take its place.
    #[error(
        "the network's head is a custom module, which cannot be replaced by a logistic regression; train it by gradient \
         descent"
    )]
    CustomHead,
    /// Augmented copies are to be cached of photos that are not augmented.
    #[error("the data has no augmentation, so all copies would be identical; set an augmentation first")]
    NotAugmented,
    /// No batch has two images that can be read, which batch norm needs.
    #[error("no batch has two training images that can be read; see which images were skipped, and why")]
    NoTrainingBatch,
    /// A head trained to judge labels diverged.
    #[error(
        "a head trained for out-of-fold predictions gives outputs that are not finite; check for photos with extreme \
         values"
    )]
    OutOfFoldNotFinite,
    /// A checkpoint was written with other photos, or another split.
    #[error(
        "{}: the photos or their split have changed since this checkpoint was written; restore them, or start a new run",
        checkpoint.display()
    )]
    CheckpointOfOtherPhotos {
        /// The checkpoint's file.
        checkpoint: PathBuf,
    },
    /// Two sets of predictions have no image in common.
    #[error("the two have no validation image in common; train both with the same split")]
    NoCommonImages,
    /// Images of the same ids in two sets of predictions are different files.
    #[error(
        "the two have {images} validation images of the same names, but none of them is the same file; compare \
         runs on the same photos"
    )]
    OtherImages {
        /// How many have the same id.
        images: usize,
    },
    /// Two sets of predictions differ in the label of an image.
    #[error("{image} is {first} in one and {second} in the other; compare runs on the same labels")]
    LabelsDiffer {
        /// The image's id.
        image: String,
        /// Its label in the first.
        first: String,
        /// Its label in the second.
        second: String,
    },
    /// Two runs cannot be compared.
    #[error("{} and {}: {reason}", first.display(), second.display())]
    NotComparable {
        /// The first run.
        first: PathBuf,
        /// The second run.
        second: PathBuf,
        /// Why not.
        reason: Box<Error>,
    },
    /// A confusion matrix of images that may have several classes.
    #[error("there is no confusion matrix for multi-label data; see the metrics of each class")]
    NoConfusionMatrix,
    /// A sample submission that cannot be filled in.
    #[error("{}: {reason}; {advice}", path.display())]
    Sample {
        /// The sample's file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// Nothing says which class a column of a sample submission is about.
    #[error(
        "{}: its column \"{column}\" holds numbers, and neither it nor they are among the model's classes ({}); name the \
         column after the class whose probability it is to hold, or set the values to labels or indices",
        path.display(), some(classes)
    )]
    SampleColumn {
        /// The sample's file.
        path: PathBuf,
        /// The column's name.
        column: String,
        /// The model's classes.
        classes: Vec<String>,
    },
    /// The numbers in a sample submission may stand for classes or for probabilities.
    #[error(
        "{}: its column \"{column}\" holds {cells} alone, which may stand for a class or for a probability; set the values to \
         probabilities (of {}), to indices (0 for {}, 1 for {}), or to labels (names of classes)",
        path.display(), classes[1], classes[0], classes[1]
    )]
    SampleForm {
        /// The sample's file.
        path: PathBuf,
        /// The column's name.
        column: String,
        /// What is in its cells.
        cells: &'static str,
        /// The model's two classes.
        classes: [String; 2],
    },
    /// A class has the name of the column of ids.
    #[error(
        "a class of the model is called id, as the first column is; give the competition's sample submission, which \
         names the columns"
    )]
    ClassCalledId,
    /// Output cannot be written to that path.
    #[error("{}: {reason}; give another path for the output", path.display())]
    OutputPath {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Photos cannot be sorted into that folder.
    #[error("{}: {reason}; give another folder for the sorted photos", path.display())]
    SortFolder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A table of predictions is to be written to a file that exists.
    #[error("{}: this file exists already; give another name, resume it, or remove it", path.display())]
    TableExists {
        /// The file.
        path: PathBuf,
    },
    /// Another process is writing to a table of predictions.
    #[error("{}: another process is writing to this table; wait until it ends, or stop it", path.display())]
    TableBusy {
        /// The table.
        path: PathBuf,
    },
    /// Nothing says what a table of predictions was made with.
    #[error(
        "{}: it cannot be resumed, since {}, which says what it was made with, {reason}; write another table",
        table.display(), settings.display()
    )]
    TableWithoutSettings {
        /// The table.
        table: PathBuf,
        /// The file with its settings.
        settings: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A table of predictions was made with other settings.
    #[error("{}: it was made with other settings: {differences}; use the same, or write another table", table.display())]
    OtherTableSettings {
        /// The table.
        table: PathBuf,
        /// The differences.
        differences: String,
    },
    /// An interrupted file of features was begun with other settings.
    #[error(
        "{}: it was begun with other settings: {differences}; use the same to continue it, give another name, or \
         remove {}.journal to begin again",
        path.display(), path.display()
    )]
    OtherEmbedSettings {
        /// The file.
        path: PathBuf,
        /// The differences.
        differences: String,
    },
    /// None of the photos could be read.
    #[error("{}: nothing is written, since none of the {photos} files could be read as a photo", path.display())]
    NothingToWrite {
        /// The file that would have been written.
        path: PathBuf,
        /// The number of photos.
        photos: usize,
    },
    /// A table of predictions is not as it was written.
    #[error("{}, row {row}: {reason}; it was changed, or is damaged: write another table", path.display())]
    OtherTable {
        /// The table.
        path: PathBuf,
        /// The row, counted from 1; a header is one.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// No folder for cached files is known.
    #[error(
        "there is no home folder to hold the cache; name a folder with the environment variable OCELLI_CACHE"
    )]
    NoCacheFolder,
    /// A run has not come to its end.
    #[error("{}: the run is not finished; resume it, or give the folder of a finished run", path.display())]
    NotFinished {
        /// The run's folder.
        path: PathBuf,
    },
    /// A cross-validation was to train on all images before its folds.
    #[error("{}: the folds of this cross-validation have not been run; run them first", path.display())]
    FoldsNotRun {
        /// The run's folder.
        path: PathBuf,
    },
    /// The photos of a run are not where they are looked for.
    #[error("{reason}; give the folder that holds the photos now, or none: tables and charts need no photos")]
    PhotosNotFound {
        /// What was looked for, and where.
        reason: String,
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
        "{}: the run {} began with {photos} photos, and since then {differences}; restore them, or continue without \
         those that are missing or have changed",
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
    /// Pretrained weights cannot be found or downloaded.
    #[error(transparent)]
    Hub(ocelli_hub::Error),
    /// No weights of that backbone are at hand.
    #[error(
        "the weights of {arch} are not on this machine; pull them, or get {url} and save it as {}, or give a \
         weights file of your own",
        path.display()
    )]
    NoWeights {
        /// The backbone.
        arch: String,
        /// Where they are published.
        url: String,
        /// Where their file belongs.
        path: PathBuf,
    },
    /// The loss, or its gradient, is no number any more. The network is as it was before that batch.
    #[error(
        "the {what} became {value} in epoch {epoch}, batch {batch}, at the learning rates {rates}; \
         use lower ones, such as a tenth"
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
    /// A custom loss is named whose function this program does not have.
    #[error(
        "the custom loss \"{name}\" is not registered in this program; register it first (CustomLoss::register), or use \
         the program that the run was begun with"
    )]
    LossNotRegistered {
        /// The loss.
        name: String,
    },
    /// A custom loss cannot be trained on.
    #[error("the custom loss \"{name}\" {reason}")]
    CustomLoss {
        /// The loss.
        name: String,
        /// What it does, and what it must do.
        reason: String,
    },
    /// After no epoch of a fit was everything that the network computes of the validation images finite.
    #[error(
        "phase {fit} gave no usable weights: after each of its {}, at the learning rates {rates}, the network's outputs \
         for the validation images were not finite (NaN or infinite); use lower learning rates, such as a tenth, or the \
         learning rate finder",
        number_of_epochs(*epochs)
    )]
    NoFiniteEpoch {
        /// The phase of the recipe, counted from 1.
        fit: usize,
        /// Its epochs.
        epochs: usize,
        /// The peak learning rates, one a layer group.
        rates: String,
    },
    /// A tensor holds a number that is NaN or infinite.
    #[error(
        "{model}: the tensor {tensor} contains {value}: the learning rate was too high, or the file is damaged; train \
         again with a lower learning rate, or copy the file again"
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
        "{model}: its output for {photo} is not finite ({value} for the class {class}): its weights are too large; train \
         again with a lower learning rate, or use another model"
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
    /// A network computes features that are not finite.
    #[error(
        "{network}: a feature of {photo} is not finite ({value}): its weights are too large; use another model or \
         backbone"
    )]
    NotFiniteFeatures {
        /// The backbone's name.
        network: String,
        /// The photo.
        photo: String,
        /// NaN or an infinity.
        value: f32,
    },
    /// A network has no such layer.
    #[error(
        "the network has no layer \"{layer}\"; give the number of a stage, from 1 to {stages}, or the name of a part: {}",
        some(parts)
    )]
    NoSuchLayer {
        /// The layer.
        layer: String,
        /// The number of stages.
        stages: usize,
        /// The parts that the stages consist of.
        parts: Vec<String>,
    },
    /// There is less memory than a step of training, or of using the network, takes.
    #[error(
        "{task} with a batch of {batch} images of {size} px needs about {} of memory, and {} are free; {}",
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
    #[error("stopped on request")]
    Stopped,
    /// A folder that is to be written holds something already.
    #[error("{}: is not empty; give a new or empty folder", path.display())]
    FolderNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Another process is writing into the folder of a run.
    #[error("{}: another process is using this run; wait until it ends, or stop it", path.display())]
    RunBusy {
        /// The folder.
        path: PathBuf,
    },
    /// A run has too few training photos for its labels to be looked through.
    #[error(
        "{}: its labels cannot be looked through, with {photos} training photos that are there and unchanged{}",
        path.display(),
        reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"))
    )]
    NothingToClean {
        /// The folder of the run.
        path: PathBuf,
        /// How many there are.
        photos: usize,
        /// Why others are not there, if that is known.
        reason: Option<String>,
    },
    /// A file of a finished run is not as the run wrote it.
    #[error(
        "{}: is missing, or does not match checksums.b3; {}",
        path.display(),
        match path.ends_with("photos.csv") || path.ends_with("config.toml") {
            true => "a run is resumed by this file: bring back a copy of it, or train anew",
            false => "resume the run to write it again",
        }
    )]
    DamagedResult {
        /// The file.
        path: PathBuf,
    },
    /// No training image can be read.
    #[error(
        "{}: none of the {images} training images can be read, so there is nothing to train on; the first is {}: \
         {reason}",
        data.display(),
        first.display()
    )]
    NothingReadable {
        /// The folder of the images.
        data: PathBuf,
        /// How many there are.
        images: usize,
        /// The first of them.
        first: PathBuf,
        /// Why it cannot be read.
        reason: String,
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
    /// A setting that is outside of its range.
    pub(crate) fn setting(name: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self::Setting { name, value: value.to_string(), expected }
    }

    /// The name of the setting that is to be changed, where it is a setting that is refused: as the field or
    /// the method is called that sets it.
    pub fn setting_name(&self) -> Option<&'static str> {
        match self {
            Self::Setting { name, .. } | Self::Data(DataError::Setting { name, .. }) => Some(name),
            Self::ImageSize { .. } => Some("size"),
            _ => None,
        }
    }

    /// Wraps the system's reason with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }
}

impl From<ocelli_hub::Error> for Error {
    fn from(error: ocelli_hub::Error) -> Self {
        match error {
            ocelli_hub::Error::Io { action, path, source } => Self::Io { action, path, source },
            ocelli_hub::Error::Stopped => Self::Stopped,
            ocelli_hub::Error::NoCacheFolder => Self::NoCacheFolder,
            error => Self::Hub(error),
        }
    }
}

impl From<ocelli_nn::Error> for Error {
    /// A file that cannot be read is said in the same words, whatever it holds; one that is exported is known.
    fn from(error: ocelli_nn::Error) -> Self {
        match error {
            ocelli_nn::Error::Read { path, source } => Self::Io { action: "read", path, source },
            // From the fifth byte on, after an offset.
            ocelli_nn::Error::NotWeights { path, begins } if begins.contains("TFL3") => {
                Self::IsTflite { path }
            }
            error => Self::Network(error),
        }
    }
}

/// The first of a list, for people.
pub(crate) fn some(names: &[String]) -> String {
    /// So many are named.
    const NAMED: usize = 8;
    let more = if names.len() > NAMED { ", …" } else { "" };
    names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ") + more
}

fn task_name(task: Task) -> &'static str {
    match task {
        Task::SingleLabel => "single-label",
        Task::MultiLabel => "multi-label",
    }
}

/// What to do where a model of this task meets data of the other.
fn of_one_task(model: Task) -> &'static str {
    match model {
        Task::SingleLabel => "remove images without exactly one label, or use a multi-label model",
        Task::MultiLabel => {
            "give a table with all labels of each image, read with `task` multi-label; class folders say one label each"
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
        Some(fits) => format!("a batch of {fits} fits"),
        None => "use smaller images or another backbone, or free memory".to_owned(),
    }
}

fn remedy(action: &str, source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied if !matches!(action, "read" | "list") => {
            "; choose a folder that you may write to"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space and run again",
        io::ErrorKind::ReadOnlyFilesystem => "; choose a folder that you may write to",
        _ => "",
    }
}
