//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ocelli::{
    Arch, BadImages, DEFAULT_WEIGHT_DECAY, DeviceName, MAX_THREADS, Metric, Precision, Preset, Tta,
};

use crate::words::{count, meant};

/// Trains image classifiers: a folder of photos in, a classifier out.
#[derive(Debug, Parser)]
#[command(name = "ocelli", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // one value a process
pub enum Verb {
    /// Train a classifier on a folder of photos
    Train(Train),
    /// Find the learning rate at which training learns fastest
    LrFind(LrFind),
    /// Say what is in a data set before anything is trained on it
    Inspect(Inspect),
    /// Show what an augmentation does to a photo
    Augment(Augment),
    /// Say what is on photos, with a trained model
    Predict(Predict),
    /// List the backbones, or measure how fast they are here
    Models(Models),
    /// Write a submission to a competition
    Submit(Submit),
    /// Measure a trained model on new photos with labels
    Evaluate(Evaluate),
    /// Show where in a photo a trained model looks
    Explain(Explain),
    /// Write the report of a run
    Report(Report),
    /// Say how two runs differ, image by image
    Compare(Compare),
    /// Fetch the pretrained weights of a backbone
    Pull(Pull),
}

/// What a run's settings are made from: a run that goes on has its own.
const SETTINGS: [&str; 55] = [
    "data",
    "precision",
    "config",
    "labels",
    "suffix",
    "id_column",
    "label_column",
    "split_column",
    "group_column",
    "group_pattern",
    "allow_missing",
    "task",
    "valid",
    "fold",
    "split",
    "size",
    "framing",
    "augment",
    "balanced",
    "bad_images",
    "arch",
    "weights",
    "recipe",
    "epochs",
    "augmented_epochs",
    "views",
    "unfrozen_epochs",
    "cycles",
    "cycle_len",
    "cycle_mult",
    "lr",
    "spread",
    "tta",
    "metric",
    "patience",
    "thresholds",
    "decisions",
    "mixup",
    "cutmix",
    "label_smoothing",
    "focal",
    "class_weights",
    "clip",
    "accumulate",
    "ema",
    "swa",
    "batch_statistics",
    "batch",
    "optimizer",
    "weight_decay",
    "seed",
    "label_separator",
    "max_pixels",
    "bands",
    "range",
];

/// Train a classifier on a folder of photos.
///
/// DATA holds a folder of photos for each class, or train/ and valid/ with such folders in them; or it is a CSV table
/// with a row a photo. Nothing is written into it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:
  ocelli train photos
  ocelli train planet --labels train.csv --augment top-down --size 64,128 --spread 3
These are the usual options; `ocelli train --help` lists all.",
    after_long_help = "Examples:
  ocelli train photos
  ocelli train planet --labels train.csv --augment top-down --size 64,128 --spread 3 --metric f2-samples
  ocelli train --resume runs/photos-1"
)]
pub struct Train {
    /// The folder of photos, or a table of their labels
    #[arg(required_unless_present_any = ["resume", "config"])]
    pub data: Option<PathBuf>,
    /// Go on with a run that was interrupted, as if it had not been
    ///
    /// It works from any folder. Where the photos have been moved, give their place with --data. With --out the run is
    /// copied there first, and goes on in the copy.
    #[arg(long, value_name = "RUN", conflicts_with_all = SETTINGS)]
    pub resume: Option<PathBuf>,
    /// With --resume: where the photos, or the table of their labels, are now
    #[arg(hide_short_help = true)]
    #[arg(long = "data", value_name = "DATA", requires = "resume")]
    pub moved_to: Option<PathBuf>,
    /// With --resume: go on without the photos that have gone or changed since the run began
    #[arg(hide_short_help = true)]
    #[arg(long, requires = "resume")]
    pub without_changed: bool,
    /// Begin with the settings of this file: an earlier run's config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub source: Source,

    /// Side of the images in pixels; several: one after the other
    ///
    /// [default: that of the backbone's own training]
    #[arg(long, value_name = "PIXELS", value_delimiter = ',', help_heading = "Photos", value_parser = side)]
    pub size: Vec<usize>,
    /// How a photo becomes a square [default: crop]
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum, help_heading = "Photos")]
    pub framing: Option<Frame>,
    /// Random changes of photos; several add up [default: the recipe's]
    ///
    /// The lesson has side-on, quick none.
    #[arg(long, value_enum, value_name = "CHANGE", value_delimiter = ',', help_heading = "Photos")]
    pub augment: Vec<Change>,
    /// Mix each photo with another of its batch (mixup), by shares drawn from Beta(ALPHA, ALPHA); 0.2 to 0.4 is usual
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true, help_heading = "Photos", value_parser = alpha)]
    pub mixup: Option<f64>,
    /// Paste a part of another photo of its batch into each (CutMix); 1 is usual
    #[arg(hide_short_help = true)]
    #[arg(
        long,
        value_name = "ALPHA",
        allow_negative_numbers = true,
        conflicts_with = "mixup",
        help_heading = "Photos", value_parser = alpha)]
    pub cutmix: Option<f64>,
    /// Draw every class equally often
    #[arg(hide_short_help = true)]
    #[arg(long, help_heading = "Photos")]
    pub balanced: bool,
    /// What to do with photos that cannot be read [default: few]
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum, help_heading = "Photos")]
    pub bad_images: Option<Bad>,
    /// Labels of training photos to correct and photos to drop: the table that the report's page gives
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FILE", help_heading = "Photos")]
    pub decisions: Option<PathBuf>,

    /// The backbone; see `ocelli models` [default: efficientnet_lite0]
    #[arg(long, value_name = "NAME", help_heading = "Recipe", value_parser = backbone)]
    pub arch: Option<String>,
    /// Its weights: safetensors or a PyTorch checkpoint [default: the published ones]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FILE", help_heading = "Recipe")]
    pub weights: Option<PathBuf>,
    /// quick (a new head), lesson, full, or fine-tune-N [default: lesson]
    #[arg(long, value_name = "NAME", help_heading = "Recipe", value_parser = recipe)]
    pub recipe: Option<Preset>,
    /// Epochs of the new head on activations that are computed once
    #[arg(long, value_name = "N", help_heading = "Recipe", value_parser = epochs)]
    pub epochs: Option<usize>,
    /// Cycles of one epoch of the head on augmented photos
    #[arg(long, value_name = "N", help_heading = "Recipe", value_parser = epochs)]
    pub augmented_epochs: Option<usize>,
    /// Augmented views of each photo that are precomputed for these; 0: each epoch starts from the photos
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "VIEWS", help_heading = "Recipe", value_parser = whole::<0, 1000>)]
    pub views: Option<usize>,
    /// Epochs of all layers, in one cycle; 0: none
    #[arg(long, value_name = "N", help_heading = "Recipe", value_parser = epochs)]
    pub unfrozen_epochs: Option<usize>,
    /// Cycles of all layers instead, each from the peak rate to 0
    #[arg(hide_short_help = true)]
    #[arg(long, conflicts_with = "unfrozen_epochs", help_heading = "Recipe", value_parser = whole::<0, 1000>)]
    pub cycles: Option<usize>,
    /// Epochs of the first cycle
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "EPOCHS", default_value_t = 1, requires = "cycles", help_heading = "Recipe", value_parser = whole::<1, 10_000>)]
    pub cycle_len: usize,
    /// Each cycle is so many times as long as the one before
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FACTOR", default_value_t = 1, requires = "cycles", help_heading = "Recipe", value_parser = whole::<1, 100>)]
    pub cycle_mult: usize,
    /// The head's learning rate; three: early layers', late ones', head's [default: found]
    ///
    /// One is for the head; all layers then train at a tenth of it and below. Three are for training all layers.
    #[arg(
        long,
        value_name = "RATE",
        value_delimiter = ',',
        allow_negative_numbers = true,
        help_heading = "Recipe", value_parser = above_0)]
    pub lr: Vec<f64>,
    /// Rate of a layer group over that of the one before it [default: 10]
    ///
    /// 10 is for photos like ImageNet's, everyday ones; 3 for others, such as satellite or medical images.
    #[arg(long, value_name = "FACTOR", help_heading = "Recipe", value_parser = spread)]
    pub spread: Option<f64>,
    /// Views at the end, besides the plain one: a number, corners or none
    #[arg(long, value_name = "VIEWS", help_heading = "Recipe", value_parser = views_or_none)]
    pub tta: Option<AtEnd>,
    /// What the best weights are kept by, such as log-loss [default: accuracy, or f1]
    ///
    /// accuracy, error-rate, top-5, label-accuracy, balanced-accuracy, log-loss, precision, recall, f1, f2, auroc; precision,
    /// recall and F also with -macro or -samples. [default: accuracy; f1 where photos have several labels]
    #[arg(long, value_name = "NAME", help_heading = "Recipe", value_parser = metric)]
    pub metric: Option<Metric>,
    /// From which probability on a photo has a label, where it may have several [default: one]
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum, help_heading = "Recipe")]
    pub thresholds: Option<Tuned>,
    /// End a stage after so many epochs without a better one
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "EPOCHS", help_heading = "Recipe", value_parser = whole::<1, 100_000>)]
    pub patience: Option<usize>,

    /// The rule that moves the weights [default: sgd]
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum, help_heading = "Optimizer")]
    pub optimizer: Option<Rule>,
    /// Decoupled weight decay [default: 1]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, help_heading = "Optimizer", value_parser = at_least_0)]
    pub weight_decay: Option<f64>,
    /// Share of each label that is spread over all classes; 0.1 is usual [default: 0]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Optimizer", value_parser = below_1)]
    pub label_smoothing: Option<f64>,
    /// Exponent of the focal loss, which makes less of what is known already; 2 is usual [default: 0, cross-entropy]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true, help_heading = "Optimizer", value_parser = gamma)]
    pub focal: Option<f64>,
    /// What classes weigh in the loss: `equal`, `balanced`, or a number a class, in their order [default: equal]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "WEIGHTS", value_delimiter = ',', help_heading = "Optimizer")]
    pub class_weights: Vec<String>,
    /// The greatest norm of all gradients together [default: none]
    #[arg(hide_short_help = true)]
    #[arg(
        long,
        value_name = "NORM",
        allow_negative_numbers = true,
        help_heading = "Optimizer",
        value_parser = above_0
    )]
    pub clip: Option<f64>,
    /// Batches a step, over which gradients are averaged [default: 1]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "BATCHES", help_heading = "Optimizer", value_parser = whole::<1, 1_000_000>)]
    pub accumulate: Option<usize>,
    /// Measure and keep an exponential average of the weights; 0.99 to 0.9999 are usual
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, help_heading = "Optimizer", value_parser = below_1)]
    pub ema: Option<f64>,
    /// Average the weights after each epoch of a stage, from this one on, counted from 0
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "EPOCH", conflicts_with = "ema", help_heading = "Optimizer", value_parser = epochs)]
    pub swa: Option<usize>,
    /// Let the backbone's norms follow each batch while they are trained, instead of keeping their statistics
    #[arg(hide_short_help = true)]
    #[arg(long, help_heading = "Optimizer")]
    pub batch_statistics: bool,

    /// Images a batch [default: 64]
    #[arg(long, value_name = "IMAGES", help_heading = "Run", value_parser = batch)]
    pub batch: Option<usize>,
    /// Decides split, first weights, dropout, order of photos [default: 0]
    #[arg(long, value_name = "NUMBER", help_heading = "Run", value_parser = seed)]
    pub seed: Option<u64>,
    /// Where the run's files go: an empty or new folder [default: runs/DATA-1, …]
    ///
    /// Where the working folder lies in DATA, `runs` is made beside DATA: nothing is written among the photos.
    #[arg(long, value_name = "FOLDER", help_heading = "Run")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub machine: Machine,
}

/// Find the learning rate at which training learns fastest.
///
/// Trains for some steps at rates that grow from step to step, and shows where the loss falls. No model comes of it. What was
/// seen is written as lr_find.csv, lr_find.png and lr_find.svg.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli lr-find photos
  ocelli lr-find photos --layers all --lr 1e-4,1e-3,1e-2 --size 160 --out curves")]
pub struct LrFind {
    /// The folder of photos, or a table of their labels
    pub data: PathBuf,

    /// What is trained
    #[arg(long, value_enum, default_value_t = Layers::Head)]
    pub layers: Layers,
    /// Start each step from photos, with their random changes, instead of from activations that are computed once
    #[arg(long)]
    pub live: bool,
    /// Proportions of the learning rates of early layers, late layers and head [default: all alike]
    #[arg(long, value_name = "RATE,RATE,RATE", value_delimiter = ',', allow_negative_numbers = true, value_parser = above_0)]
    pub lr: Vec<f64>,
    /// The head's learning rate in the first step
    #[arg(long, value_name = "RATE", default_value_t = 1e-5, allow_negative_numbers = true, value_parser = above_0)]
    pub start: f64,
    /// The head's learning rate after the last step
    #[arg(long, value_name = "RATE", default_value_t = 10.0, allow_negative_numbers = true, value_parser = above_0)]
    pub end: f64,
    /// Steps of one batch; photos come again where there are fewer batches
    #[arg(long, default_value_t = 100, value_parser = whole::<20, 100_000>)]
    pub steps: usize,
    /// Let rates grow by the same difference instead of the same factor
    #[arg(hide_short_help = true)]
    #[arg(long)]
    pub linear: bool,

    /// Side of the square that the network sees, in pixels [default: the backbone's own]
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    pub size: Option<usize>,
    /// How a photo becomes a square
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum, default_value_t = Frame::Crop)]
    pub framing: Frame,
    /// Random changes of photos, with --live
    #[arg(long, value_enum, value_name = "CHANGE[,CHANGE]", value_delimiter = ',', default_value = "none")]
    pub augment: Vec<Change>,
    /// The pretrained backbone
    #[arg(long, value_name = "NAME", default_value = "efficientnet_lite0", value_parser = backbone)]
    pub arch: String,
    /// The backbone's weights: safetensors or a PyTorch checkpoint [default: the published ones, fetched where they
    /// are not here]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Images a batch
    #[arg(long, value_name = "IMAGES", default_value_t = 64, value_parser = batch)]
    pub batch: usize,
    /// The rule that moves the weights
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum, default_value_t = Rule::Sgd)]
    pub optimizer: Rule,
    /// Decoupled weight decay
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "DECAY", default_value_t = DEFAULT_WEIGHT_DECAY, allow_negative_numbers = true, value_parser = at_least_0)]
    pub weight_decay: f64,
    /// Decides the split, the first weights, dropout and the order of photos
    #[arg(hide_short_help = true)]
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,

    /// What to do with photos that cannot be read
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum, default_value_t = Bad::Few)]
    pub bad_images: Bad,

    /// The folder that the files go into [default: the working folder, or beside DATA where that lies in it]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Print suggestions and curve as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub machine: Machine,
}

/// Which layers are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layers {
    /// The new head alone
    Head,
    /// The later half of the backbone, and the head
    Late,
    /// All
    All,
}

/// Photos with their labels, and which of them are held out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Labels")]
pub struct Source {
    /// A table of labels for the photos in DATA: CSV, or JSON lines [default: one in DATA, where no folders say them]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// What the table's ids lack to be file names [default: found out]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = ".jpg")]
    pub suffix: Option<String>,
    /// The table's column of photos: its name, or its number from 1 [default: found out]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "COLUMN")]
    pub id_column: Option<String>,
    /// The table's column of labels; several: columns of 0 and 1, one a class [default: the one called so]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub label_column: Vec<String>,
    /// The table's column that says train, valid or test [default: one called split]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "COLUMN")]
    pub split_column: Option<String>,
    /// What separates several labels in a cell of the table [default: found out]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "CHARACTER")]
    pub label_separator: Option<char>,
    /// Whether a photo has one label or several [default: found out]
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum)]
    pub task: Option<Labels>,
    /// Leave out rows without a file, even where they are more than a tenth of all, or all of a class
    #[arg(hide_short_help = true)]
    #[arg(long)]
    pub allow_missing: bool,

    /// The largest photo that is read, in pixels [default: 178956970]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "PIXELS", value_parser = pixels)]
    pub max_pixels: Option<u64>,
    /// Which bands of images with several become red, green and blue, such as 4,3,2 [default: the first three]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "BANDS")]
    pub bands: Option<String>,
    /// Which values of samples of more than 8 bits are black and white, such as 0,4095 [default: all that fit; floats: 0,1]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    pub range: Option<String>,

    /// Share of each class that is held out, or `none` [default: 0.2]
    ///
    /// Where the data says what is held out, that is the default.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub valid: Option<String>,
    /// Hold out one fold of several, such as 1/5
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FOLD/FOLDS", conflicts_with = "valid")]
    pub fold: Option<String>,
    /// Hold out whole groups of photos: those with the same text in this column of the table, such as patient
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "COLUMN")]
    pub group_column: Option<String>,
    /// Hold out whole groups of photos: the part of a file's name that this regular expression finds in ( )
    ///
    /// Such as '^(patient[0-9]+)_'. With a / in it, it is looked for in the path.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "REGEX", conflicts_with = "group_column")]
    pub group_pattern: Option<String>,
    /// Hold out what the split.csv of an earlier run says
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["valid", "fold"])]
    pub split: Option<PathBuf>,
}

/// How many labels a photo has.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Labels {
    /// One label a photo
    Single,
    /// Any number of labels a photo
    Multi,
}

/// What stands in a submission beside the id, where that is one column.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Values {
    /// The names of the classes
    Labels,
    /// The probability of the class that the column is named after, or of the second of two
    Probabilities,
}

/// Random changes of photos in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Change {
    /// Centre crops, as in validation
    None,
    /// Random crops, rotation by up to 10°, light
    Basic,
    /// For photos taken from the side: basic, zoom up to 1.1, mirror images
    SideOn,
    /// For photos taken from above: basic, zoom up to 1.05, quarter turns and mirror images
    TopDown,
    /// TrivialAugment: one strong change a photo, any of many
    Trivial,
    /// RandAugment: two changes a photo, any of many
    Rand,
    /// Any part of 8 % or more of the photo, instead of zoom and crop
    GoogleNet,
    /// Hue and saturation, a little
    Jitter,
    /// Wider or higher by up to a tenth
    Stretch,
    /// Blur of every second photo
    Blur,
    /// A black square on every second photo
    Cutout,
}

/// Say what is in a data set before anything is trained on it.
///
/// Decodes every photo once. Nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli inspect photos --html photos.html
  ocelli inspect dogbreeds --labels labels.csv --json > dogbreeds.json")]
pub struct Inspect {
    /// The folder of photos, or a table of their labels
    pub data: PathBuf,

    /// Side of the square that a network is to see, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = side)]
    pub size: usize,
    /// Decides the split where the data does not
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
    /// Print all that was found as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write a page with pictures of the classes and of what was found
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, value_parser = threads)]
    pub threads: usize,

    #[command(flatten)]
    pub source: Source,
}

/// Show what an augmentation does to a photo.
///
/// Writes one picture: the photo as validation sees it, then as training sees it, epoch by epoch.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli augment cat.jpg --augment side-on,jitter,cutout
  ocelli augment field.tif --augment top-down --columns 8 --rows 4 --out field.png")]
pub struct Augment {
    /// The photo, or a folder, whose first photo is taken
    pub photo: PathBuf,

    /// The random changes; several, separated by commas, add up
    #[arg(
        long,
        value_enum,
        value_name = "CHANGE[,CHANGE]",
        value_delimiter = ',',
        default_value = "side-on"
    )]
    pub augment: Vec<Change>,
    /// Side of each picture, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = side)]
    pub size: usize,
    /// How a photo becomes a square
    #[arg(long, value_enum, default_value_t = Frame::Crop)]
    pub framing: Frame,
    /// Which bands of images with several become red, green and blue, such as 4,3,2 [default: the first three]
    #[arg(long, value_name = "BANDS")]
    pub bands: Option<String>,
    /// Which values of samples of more than 8 bits are black and white, such as 0,4095 [default: all that fit; floats: 0,1]
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    pub range: Option<String>,
    /// Pictures in a row
    #[arg(long, default_value_t = 4, value_parser = whole::<1, 1000>)]
    pub columns: usize,
    /// Rows of pictures
    #[arg(long, default_value_t = 3, value_parser = whole::<1, 1000>)]
    pub rows: usize,
    /// Decides the draws
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
    /// The picture's file [default: augmented.png, or the first number after it that is free]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How the machine is used; no result depends on it, but for rounding between devices.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct Machine {
    /// What computes: cpu, cuda, metal, vulkan, wgpu or rocm; cuda:1 is the second of several. All but cpu must be
    /// compiled in
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Threads; 0: one for each core
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = threads)]
    pub threads: usize,
    /// Folder for what speeds up the next run; may be deleted at any time [default: $OCELLI_CACHE, or the
    /// user's cache folder]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Numbers that activations are stored in; the model is then used with the same
    #[arg(hide_short_help = true)]
    #[arg(long, value_enum, default_value_t = Numbers::Auto)]
    pub precision: Numbers,
    /// Print results only: the model's path, or the learning rate
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print checkpoints too, as they are written
    #[arg(hide_short_help = true)]
    #[arg(long, short)]
    pub verbose: bool,
}

/// The precision of activations.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Numbers {
    /// The fastest of this processor: bf16 where it has instructions for it
    Auto,
    /// 32 bits
    F32,
    /// 16 bits (bfloat16), with sums and weights of 32
    Bf16,
}

impl Numbers {
    /// The precision, unless the choice is left to the machine.
    pub fn precision(self) -> Option<Precision> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(Precision::F32),
            Self::Bf16 => Some(Precision::Bf16),
        }
    }
}

/// Say what is on photos, with a trained model.
///
/// Every file that is left out is named on standard error with the reason. The exit status is then 1, unless they are
/// only files that lie among photos as a matter of course: texts, tables, hidden files, thumbnails of a system.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli predict runs/photos-1/model.safetensors garden.jpg holiday/
  find . -name '*.jpg' -print0 | ocelli predict runs/photos-1/model.safetensors -0 --csv > predictions.csv")]
pub struct Predict {
    /// A model that `ocelli train` has written, or the folder of its run
    pub model: PathBuf,
    /// Photos, and folders of them; none, or -: paths are read from standard input, one a line
    ///
    /// Photos are answered as soon as their paths are there.
    pub photos: Vec<PathBuf>,
    /// Paths on standard input end with a zero byte, as `find -print0` writes them
    #[arg(long, short = '0')]
    pub null: bool,

    /// Print an object a photo, one a line, with the probability of every class
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print a CSV table with the probability of every class
    #[arg(long)]
    pub csv: bool,
    /// Give probabilities as calibrated on the validation photos, not as validation saw them
    #[arg(long)]
    pub calibrated: bool,
    /// Numbers that activations are stored in; auto: those that the model was measured with
    #[arg(long, value_enum, default_value_t = Numbers::Auto)]
    pub precision: Numbers,
    /// What computes: cpu, cuda, metal, vulkan, wgpu or rocm; cuda:1 is the second of several
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Look at so many views of each photo, changed as in training, besides the plain one, or at its `corners`
    #[arg(long, value_name = "VIEWS", value_parser = views)]
    pub tta: Option<Tta>,
    /// The largest photo that is read, in pixels [default: 178956970]
    #[arg(long, value_name = "PIXELS", value_parser = pixels)]
    pub max_pixels: Option<u64>,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, value_parser = threads)]
    pub threads: usize,
}

/// List the backbones with what is published about them, or measure how fast they are here.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli models
  ocelli models --measure resnet34 efficientnet_lite0 --size 128")]
pub struct Models {
    /// Backbones [default: all]
    #[arg(value_name = "NAME", value_parser = backbone)]
    pub names: Vec<String>,

    /// Measure images a second: of a frozen network, and in training of all layers. Weights are random
    #[arg(long)]
    pub measure: bool,
    /// Side of the images to measure with, in pixels [default: each backbone's own]
    #[arg(long, value_name = "PIXELS", requires = "measure", value_parser = side)]
    pub size: Option<usize>,
    /// Images a batch
    #[arg(long, value_name = "IMAGES", default_value_t = 16, value_parser = batch)]
    pub batch: usize,
    /// Batches to measure, after one to warm up; the median counts
    #[arg(long, value_name = "BATCHES", default_value_t = 3, value_parser = whole::<1, 10_000>)]
    pub runs: usize,
    /// Print an object a backbone, one a line
    #[arg(long)]
    pub json: bool,
    /// Numbers that activations are stored in; auto: the fastest of this processor
    #[arg(long, value_enum, default_value_t = Numbers::Auto)]
    pub precision: Numbers,
    /// What computes: cpu, cuda, metal, vulkan, wgpu or rocm; cuda:1 is the second of several
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, value_parser = threads)]
    pub threads: usize,
}

/// Write a submission to a competition: a CSV table with a row for each test photo.
///
/// With a sample submission, its ids, their order and its columns are taken over; every id must have its photo.
/// Probabilities are kept as far from 0 and 1 as was best for the log loss of the validation images.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli submit runs/dogbreeds-1/model.safetensors test --sample sample_submission.csv
  ocelli train --config runs/dogbreeds-1/config.toml --valid none --out runs/all
  ocelli submit runs/all/model.safetensors test --clip 0.001 --tta 4 --out all.csv")]
pub struct Submit {
    /// A model that `ocelli train` has written, or the folder of its run
    pub model: PathBuf,
    /// The folder of test photos
    pub test: PathBuf,

    /// The competition's sample submission
    #[arg(long, value_name = "FILE")]
    pub sample: Option<PathBuf>,
    /// What a single column of the sample is to hold [default: what its first rows hold]
    #[arg(long, value_enum, requires = "sample")]
    pub values: Option<Values>,
    /// Look at so many views of each photo, changed as in training, besides the plain one, or at its `corners`
    #[arg(long, value_name = "VIEWS", value_parser = views)]
    pub tta: Option<Tta>,
    /// Keep probabilities this far from 0 and 1 [default: as was best for the validation images]
    #[arg(long, value_name = "DISTANCE", allow_negative_numbers = true, value_parser = distance)]
    pub clip: Option<f64>,
    /// The table's file [default: submission.csv, or the first number after it that is free]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, value_parser = threads)]
    pub threads: usize,
    /// Print the path only
    #[arg(long, short)]
    pub quiet: bool,
}

/// Measure a trained model on new photos with labels.
///
/// Of data that says what is kept for the end (test/), else what is held out (valid/), that part is measured on; where it
/// is said here, the part that is said; else all of it. Photos that the model was trained on, as split.csv beside it
/// tells, are left out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli evaluate runs/photos-1/model.safetensors new-photos
  ocelli evaluate model.safetensors dogbreeds --labels labels.csv --out dogbreeds-report")]
pub struct Evaluate {
    /// A model that `ocelli train` has written, or the folder of its run
    pub model: PathBuf,
    /// The folder of photos, or a table of their labels
    pub data: PathBuf,

    /// Where predictions, tables and the report go; must be empty or new [default: evaluations/DATA-1, -2, …]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Measure photos that the model was trained on, too
    #[arg(long)]
    pub all: bool,
    /// What to do with photos that cannot be read
    #[arg(long, value_enum, default_value_t = Bad::Few)]
    pub bad_images: Bad,
    /// Print the figures as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, value_parser = threads)]
    pub threads: usize,

    #[command(flatten)]
    pub source: Source,
}

/// Show where in a photo a trained model looks.
///
/// Writes a picture a photo: as the network sees it, then with the heat map of Grad-CAM, red where the evidence for
/// the class is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli explain runs/photos-1/model.safetensors garden.jpg
  ocelli explain model.safetensors cat.jpg dog.jpg --class dogs --out heat")]
pub struct Explain {
    /// A model that `ocelli train` has written, or the folder of its run
    pub model: PathBuf,
    /// Photos, and folders of them
    #[arg(required = true)]
    pub photos: Vec<PathBuf>,

    /// The class to explain [default: what the photo is said to be]
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
    /// The folder of the pictures [default: explained, or the first number after it that is free]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, value_parser = threads)]
    pub threads: usize,
}

/// Write the report of a run.
///
/// One page, report.html, which works offline, and its tables as CSV and JSON in results/, both in the run's folder.
/// `ocelli train` writes them itself; this makes them anew.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli report runs/photos-1
  ocelli report runs/photos-1 --data /media/photos")]
pub struct Report {
    /// The folder of a finished run, or the model in it
    pub run: PathBuf,

    /// Where the photos are now, if they have been moved
    #[arg(long, value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, value_parser = threads)]
    pub threads: usize,
    /// Folder for what speeds up the next run; may be deleted at any time [default: $OCELLI_CACHE, or the
    /// user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Print results only
    #[arg(long, short)]
    pub quiet: bool,
}

/// Say how two runs differ, image by image.
///
/// The images that both were measured on are compared: McNemar's exact test, and which images flipped.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli compare runs/photos-1 runs/photos-2
  ocelli compare runs/photos-1 runs/photos-2 --out difference.html")]
pub struct Compare {
    /// The folder of a finished run, or the model in it
    #[arg(value_name = "RUN_A")]
    pub first: PathBuf,
    /// The folder of another
    #[arg(value_name = "RUN_B")]
    pub second: PathBuf,

    /// The page that shows both side by side [default: compare.html, or the first number after it that is free]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the comparison as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Fetch the pretrained weights of a backbone.
///
/// What torch hub's or Hugging Face's cache has is used where it lies. The path of each file is printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli pull efficientnet_lite4
  HF_ENDPOINT=https://hub.example.org ocelli pull convnext_atto

Environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY; mirrors: HF_ENDPOINT, OCELLI_TORCHVISION_URL;
caches: OCELLI_CACHE, TORCH_HOME, HF_HOME, HF_HUB_CACHE.")]
pub struct Pull {
    /// The backbone's name
    #[arg(required = true, value_name = "NAME", value_parser = backbone)]
    pub names: Vec<String>,

    /// Folder for what speeds up the next run; weights go into weights/ [default: $OCELLI_CACHE, or the user's
    /// cache folder]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// How long the server may be silent, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = whole::<1, 86_400>)]
    pub patience: usize,
    /// Print paths only
    #[arg(long, short)]
    pub quiet: bool,
}

/// How a photo becomes a square.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Frame {
    /// The shorter side fits; the ends of the longer one are cut off
    Crop,
    /// Both sides fit; shapes are distorted
    Squish,
    /// The longer side fits; the rest is filled
    Pad,
}

/// What to do with photos that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bad {
    /// Leave them out and list them; stop where a class loses all of its photos, or more than a tenth
    Few,
    /// Leave them out and list them, however many there are
    Skip,
    /// Stop at the first one
    Fail,
}

impl Bad {
    pub fn policy(self) -> BadImages {
        match self {
            Self::Few => BadImages::Few,
            Self::Skip => BadImages::Skip,
            Self::Fail => BadImages::Fail,
        }
    }
}

/// How thresholds are tuned on what is held out.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Tuned {
    /// One for all labels
    One,
    /// One for each label
    PerClass,
}

/// The rule that moves the weights.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Rule {
    /// Gradient descent with momentum 0.9
    Sgd,
    /// The same, looking one step ahead
    Nesterov,
    /// Adam with decoupled weight decay
    #[value(name = "adamw")]
    AdamW,
    /// Steps by the root of the mean square of gradients
    #[value(name = "rmsprop")]
    RmsProp,
    /// Steps by the root of the sum of their squares
    #[value(name = "adagrad")]
    AdaGrad,
    /// Steps by the sign of the mean gradient
    Lion,
}

/// What follows the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AtEnd {
    /// Nothing.
    Nothing,
    /// Test-time augmentation.
    Views(Tta),
}

/// A whole number of this range.
fn whole<const FROM: usize, const TO: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (FROM..=TO).contains(&number) => Ok(number),
        _ => Err(format!("it takes a whole number from {FROM} to {}", count(TO))),
    }
}

/// The side of an image in pixels.
fn side(text: &str) -> Result<usize, String> {
    whole::<1, 8192>(text)
}

/// A number of epochs, which may be none.
fn epochs(text: &str) -> Result<usize, String> {
    whole::<0, 100_000>(text)
}

/// Batch norm learns nothing from one image.
fn batch(text: &str) -> Result<usize, String> {
    whole::<2, 65_536>(text)
}

/// A seed that a file of settings can hold too.
fn seed(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if i64::try_from(number).is_ok() => Ok(number),
        _ => Err(format!("it takes a whole number from 0 to {}", i64::MAX)),
    }
}

/// The pixels of a whole photo.
fn pixels(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000_000_000) => Ok(number),
        _ => Err("it takes a whole number from 1 to 1,000,000,000,000".to_owned()),
    }
}

/// A number of threads; 0: one for each core.
fn threads(text: &str) -> Result<usize, String> {
    whole::<0, MAX_THREADS>(text)
}

fn number(text: &str, range: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if holds(number) => Ok(number),
        _ => Err(format!("it takes a number {range}")),
    }
}

fn above_0(text: &str) -> Result<f64, String> {
    number(text, "above 0, such as 0.01", |number| number > 0.0 && number.is_finite())
}

fn at_least_0(text: &str) -> Result<f64, String> {
    number(text, "from 0 on, such as 0.01", |number| number >= 0.0 && number.is_finite())
}

fn below_1(text: &str) -> Result<f64, String> {
    number(text, "from 0 to below 1", |number| (0.0..1.0).contains(&number))
}

fn alpha(text: &str) -> Result<f64, String> {
    number(text, "above 0 and at most 100, such as 0.4", |number| number > 0.0 && number <= 100.0)
}

fn gamma(text: &str) -> Result<f64, String> {
    number(text, "from 1 to 10, or 0", |number| number == 0.0 || (1.0..=10.0).contains(&number))
}

fn spread(text: &str) -> Result<f64, String> {
    number(text, "from 1 to 1,000,000, such as 10 or 3", |number| (1.0..=1e6).contains(&number))
}

fn distance(text: &str) -> Result<f64, String> {
    number(text, "from 0 to below 0.5, such as 0.001", |number| (0.0..0.5).contains(&number))
}

/// `--tta 4`, `--tta corners`
fn views(text: &str) -> Result<Tta, String> {
    match (text, text.parse()) {
        ("corners", _) => Ok(Tta::corners()),
        (_, Ok(number @ 1..=64)) => Ok(Tta::views(number)),
        _ => Err("it takes a number of views from 1 to 64, such as 4, or corners".to_owned()),
    }
}

fn views_or_none(text: &str) -> Result<AtEnd, String> {
    match text {
        "none" => Ok(AtEnd::Nothing),
        _ => views(text).map(AtEnd::Views).map_err(|range| format!("{range}, or none")),
    }
}

/// The name of a backbone that there is.
fn backbone(text: &str) -> Result<String, String> {
    if text.parse::<Arch>().is_ok() {
        return Ok(text.to_owned());
    }
    let names = Arch::ALL.iter().map(|arch| arch.name()).collect::<Vec<_>>();
    Err(format!("there is no such backbone{}; `ocelli models` lists all", meant(text, names)))
}

/// The name of a recipe.
fn recipe(text: &str) -> Result<Preset, String> {
    text.parse().map_err(|_| {
        let meant = meant(text, ["quick", "lesson", "full", "fine-tune-3"]);
        format!(
            "there is no such recipe{meant}; there are quick, lesson, full, and fine-tune-N for N epochs, from 1 to 100,000"
        )
    })
}

/// The name of a metric.
fn metric(text: &str) -> Result<Metric, String> {
    const NAMES: [&str; 17] = [
        "accuracy",
        "error-rate",
        "top-5",
        "label-accuracy",
        "balanced-accuracy",
        "log-loss",
        "precision",
        "recall",
        "f1",
        "f2",
        "auroc",
        "precision-macro",
        "recall-macro",
        "f1-macro",
        "precision-samples",
        "recall-samples",
        "f2-samples",
    ];
    text.parse().map_err(|_| {
        let names = NAMES[..11].join(", ");
        let meant = meant(text, NAMES);
        format!(
            "there is no such metric{meant}; there are {names}; precision, recall and F also with -macro or -samples"
        )
    })
}
