//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ocelli::{DEFAULT_WEIGHT_DECAY, DeviceName, Precision};

/// Trains image classifiers: a folder of photos in, a classifier out.
#[derive(Debug, Parser)]
#[command(name = "ocelli", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
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
    /// Fetch the pretrained weights of a backbone
    Pull(Pull),
}

/// Train a classifier on a folder of photos.
///
/// DATA holds a folder of photos for each class, or train/ and valid/ with such folders in them; or it is a CSV table
/// with a row a photo. Nothing is written into it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli train photos
  ocelli train dogbreeds --labels labels.csv --size 160 --unfrozen-epochs 3 --lr 1e-5,1e-4,1e-3")]
pub struct Train {
    #[command(flatten)]
    pub source: Source,

    /// Side of the square that the network sees, in pixels [default: the backbone's own]
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<usize>,
    /// How a photo becomes a square
    #[arg(long, value_enum, default_value_t = Frame::Crop)]
    pub framing: Frame,
    /// Random changes of photos while all layers are trained; several, separated by commas, add up
    #[arg(long, value_enum, value_name = "CHANGE[,CHANGE]", value_delimiter = ',', default_value = "none")]
    pub augment: Vec<Change>,
    /// Draw every class equally often
    #[arg(long)]
    pub balanced: bool,
    /// What to do with photos that cannot be decoded
    #[arg(long, value_enum, default_value_t = Bad::Skip)]
    pub bad_images: Bad,

    /// The pretrained backbone
    #[arg(long, value_name = "NAME", default_value = "efficientnet_lite0")]
    pub arch: String,
    /// The backbone's weights: safetensors or a PyTorch checkpoint, under torchvision's or timm's names
    /// [default: the published ones, fetched where they are not here]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,

    /// Epochs of the new head, on activations that are computed once
    #[arg(long, default_value_t = 10)]
    pub epochs: usize,
    /// Epochs of all layers afterwards
    #[arg(long, value_name = "EPOCHS", default_value_t = 0)]
    pub unfrozen_epochs: usize,
    /// Learning rate of the head; or three, for early layers, late layers and head while all are trained
    #[arg(
        long,
        value_name = "RATE[,RATE,RATE]",
        value_delimiter = ',',
        allow_negative_numbers = true,
        default_value = "1e-2"
    )]
    pub lr: Vec<f64>,
    /// Images a batch
    #[arg(long, value_name = "IMAGES", default_value_t = 64)]
    pub batch: usize,
    /// The rule that moves the weights
    #[arg(long, value_enum, default_value_t = Rule::Sgd)]
    pub optimizer: Rule,
    /// Decoupled weight decay
    #[arg(long, value_name = "DECAY", default_value_t = DEFAULT_WEIGHT_DECAY, allow_negative_numbers = true)]
    pub weight_decay: f64,
    /// Decides the split, the first weights, dropout and the order of photos
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Where the run's files go; must be empty or new [default: runs/DATA-1, -2, …]
    #[arg(long, value_name = "FOLDER")]
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
    #[command(flatten)]
    pub source: Source,

    /// What is trained
    #[arg(long, value_enum, default_value_t = Layers::Head)]
    pub layers: Layers,
    /// Start each step from photos, with their random changes, instead of from activations that are computed once
    #[arg(long)]
    pub live: bool,
    /// Proportions of the learning rates of early layers, late layers and head [default: all alike]
    #[arg(long, value_name = "RATE,RATE,RATE", value_delimiter = ',', allow_negative_numbers = true)]
    pub lr: Vec<f64>,
    /// The head's learning rate in the first step
    #[arg(long, value_name = "RATE", default_value_t = 1e-5, allow_negative_numbers = true)]
    pub start: f64,
    /// The head's learning rate after the last step
    #[arg(long, value_name = "RATE", default_value_t = 10.0, allow_negative_numbers = true)]
    pub end: f64,
    /// Steps of one batch; photos come again where there are fewer batches
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// Let rates grow by the same difference instead of the same factor
    #[arg(long)]
    pub linear: bool,

    /// Side of the square that the network sees, in pixels [default: the backbone's own]
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<usize>,
    /// How a photo becomes a square
    #[arg(long, value_enum, default_value_t = Frame::Crop)]
    pub framing: Frame,
    /// Random changes of photos, with --live
    #[arg(long, value_enum, value_name = "CHANGE[,CHANGE]", value_delimiter = ',', default_value = "none")]
    pub augment: Vec<Change>,
    /// The pretrained backbone
    #[arg(long, value_name = "NAME", default_value = "efficientnet_lite0")]
    pub arch: String,
    /// The backbone's weights: safetensors or a PyTorch checkpoint [default: the published ones, fetched where they
    /// are not here]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Images a batch
    #[arg(long, value_name = "IMAGES", default_value_t = 64)]
    pub batch: usize,
    /// The rule that moves the weights
    #[arg(long, value_enum, default_value_t = Rule::Sgd)]
    pub optimizer: Rule,
    /// Decoupled weight decay
    #[arg(long, value_name = "DECAY", default_value_t = DEFAULT_WEIGHT_DECAY, allow_negative_numbers = true)]
    pub weight_decay: f64,
    /// Decides the split, the first weights, dropout and the order of photos
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// The folder that the files go into
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub out: PathBuf,
    /// Print suggestions and curve as one JSON object
    #[arg(long)]
    pub json: bool,
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
pub struct Source {
    /// The folder of photos, or a table of their labels
    pub data: PathBuf,

    /// A CSV table of labels for the photos in DATA: a row a photo
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// What the table's ids lack to be file names [default: found out]
    #[arg(long, value_name = ".jpg")]
    pub suffix: Option<String>,
    /// The table's column of photos: its name, or its number from 1 [default: 1]
    #[arg(long, value_name = "COLUMN")]
    pub id_column: Option<String>,
    /// The table's column of labels [default: 2]
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// The table's column that says train, valid or test
    #[arg(long, value_name = "COLUMN")]
    pub split_column: Option<String>,
    /// What separates several labels in a cell of the table [default: a space]
    #[arg(long, value_name = "CHARACTER")]
    pub label_separator: Option<char>,
    /// Whether a cell of the table holds one label, or several separated by spaces [default: found out]
    #[arg(long, value_enum)]
    pub task: Option<Labels>,

    /// The largest photo that is read, in pixels [default: 178956970]
    #[arg(long, value_name = "PIXELS")]
    pub max_pixels: Option<u64>,

    /// Share of each class that is held out to measure on, or `none` [default: 0.2, or what the data says]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub valid: Option<String>,
    /// Hold out one fold of several, such as 1/5
    #[arg(long, value_name = "FOLD/FOLDS", conflicts_with = "valid")]
    pub fold: Option<String>,
    /// Hold out what the split.csv of an earlier run says
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
    #[command(flatten)]
    pub source: Source,

    /// Side of the square that a network is to see, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    pub size: usize,
    /// Decides the split where the data does not
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print all that was found as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write a page with pictures of the classes and of what was found
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

/// Show what an augmentation does to a photo.
///
/// Writes one picture: the photo as validation sees it, then as training sees it, epoch by epoch.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli augment cat.jpg --augment side-on,jitter,cutout
  ocelli augment field.tif --augment top-down --columns 8 --rows 4 --out field.png")]
pub struct Augment {
    /// The photo
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
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    pub size: usize,
    /// How a photo becomes a square
    #[arg(long, value_enum, default_value_t = Frame::Crop)]
    pub framing: Frame,
    /// Pictures in a row
    #[arg(long, default_value_t = 4)]
    pub columns: usize,
    /// Rows of pictures
    #[arg(long, default_value_t = 3)]
    pub rows: usize,
    /// Decides the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The picture's file
    #[arg(long, value_name = "FILE", default_value = "augmented.png")]
    pub out: PathBuf,
}

/// How the machine is used; no result depends on it, but for rounding between devices.
#[derive(Debug, Args)]
pub struct Machine {
    /// What computes: cpu, cuda, metal, vulkan, wgpu or rocm; cuda:1 is the second of several. All but cpu must be
    /// compiled in
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Folder for what speeds up the next run; may be deleted at any time [default: $OCELLI_CACHE, or the
    /// user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Numbers that activations are stored in; the model is then used with the same
    #[arg(long, value_enum, default_value_t = Numbers::Auto)]
    pub precision: Numbers,
    /// Print results only
    #[arg(long, short)]
    pub quiet: bool,
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
/// Photos that cannot be read are reported, and the exit status is then 1.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli predict runs/photos-1/model.safetensors garden.jpg holiday/
  find . -name '*.jpg' | ocelli predict runs/photos-1/model.safetensors --csv > predictions.csv")]
pub struct Predict {
    /// A model.safetensors that `ocelli train` has written
    pub model: PathBuf,
    /// Photos, and folders of them; none, or -: paths are read from standard input, one a line
    pub photos: Vec<PathBuf>,

    /// Print an object a photo, one a line, with the probability of every class
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print a CSV table with the probability of every class
    #[arg(long)]
    pub csv: bool,
    /// Numbers that activations are stored in; auto: those that the model was measured with
    #[arg(long, value_enum, default_value_t = Numbers::Auto)]
    pub precision: Numbers,
    /// What computes: cpu, cuda, metal, vulkan, wgpu or rocm; cuda:1 is the second of several
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

/// List the backbones with what is published about them, or measure how fast they are here.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli models
  ocelli models --measure resnet34 efficientnet_lite0 --size 128")]
pub struct Models {
    /// Backbones [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Measure images a second: of a frozen network, and in training of all layers. Weights are random
    #[arg(long)]
    pub measure: bool,
    /// Side of the images to measure with, in pixels [default: each backbone's own]
    #[arg(long, value_name = "PIXELS", requires = "measure")]
    pub size: Option<usize>,
    /// Images a batch
    #[arg(long, value_name = "IMAGES", default_value_t = 16, value_parser = at_least_two)]
    pub batch: usize,
    /// Batches to measure, after one to warm up; the median counts
    #[arg(long, value_name = "BATCHES", default_value_t = 3)]
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
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

/// Batch norm learns nothing from one image.
fn at_least_two(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= 2 => Ok(number),
        _ => Err("a batch has at least 2 images".to_owned()),
    }
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
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,

    /// Folder for what speeds up the next run; weights go into weights/ [default: $OCELLI_CACHE, or the user's
    /// cache folder]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// How long the server may be silent, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub patience: u64,
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

/// What to do with photos that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bad {
    /// Leave them out and list them
    Skip,
    /// Stop with an error
    Fail,
}

/// The rule that moves the weights.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Rule {
    /// Gradient descent with momentum 0.9
    Sgd,
    /// Adam with decoupled weight decay
    #[value(name = "adamw")]
    AdamW,
}
