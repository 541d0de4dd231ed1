//! Trains image classifiers by transfer learning: a folder of photos in, a classifier and an honest report out.
//!
//! The workflow is that of fast.ai's lesson on image classification: a pretrained backbone, a new head, its
//! training on precomputed activations, then all layers at learning rates of their own.
//!
//! ```
//! use ocelli::prelude::*;
//!
//! # fn main() -> ocelli::Result<()> {
//! # let out = tempfile::tempdir().unwrap();
//! # let model_path = out.path().join("model.safetensors");
//! let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
//! let data = ImageData::from_folder(photos).size(32).load()?;
//!
//! let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
//! learner.precompute(true)?;
//! let rows = learner.fit(1e-2, Epochs(4))?;
//! assert!(rows[3].accuracy.unwrap() > 0.4); // seven classes: a guess is right in 0.14
//!
//! learner.save(&model_path)?;
//! let model = Model::load(&model_path)?;
//! let photo = format!("{photos}/flags/de.png");
//! for prediction in model.predict([photo])? {
//!     println!("{}", prediction?.best().class);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | to change | see |
//! |---|---|
//! | what is trained when | [`Recipe`] |
//! | how its steps are done | `perform.rs` |
//! | the best weights, early stopping | `best.rs` |
//! | a whole run with its folder | [`Training`] |
//! | checkpoints, resuming | `checkpoint.rs` |
//! | which photos a run began with | `recorded.rs` |
//! | what is said about rows | [`Reading`] |
//! | the training loop | `fit.rs` |
//! | where training stands, and how it is resumed | `position.rs` |
//! | what is minimised, and how weights move | [`Loss`], [`Method`] |
//! | how a learning rate is found | [`LrFind`] |
//! | how learning rates move | [`schedule`] |
//! | what a learner can do | [`Learner`] |
//! | how photos are read | [`ImageData`], then `ocelli-data` |
//! | networks and layers | `ocelli-nn` |
//! | charts | [`plot`] |
//! | what is precomputed, and kept between runs | `precompute.rs`, `activations.rs` |
//! | what a run folder holds | [`RunFolder`] |
//! | what is told while it works | [`event`] |
//! | where pretrained weights come from | [`pull`] |
//! | how fast a backbone is here | [`Speed`] |
//! | measures, thresholds | [`Metric`], [`Predictions`] |
//! | several views of an image | [`Tta`] |
//! | submissions | [`Submission`] |
//! | the model file | [`Contract`], [`Model`] |
//! | what it gets right and wrong | [`interpret`] |
//! | the page that shows it | [`report`] |

mod activations;
mod averages;
mod batch;
mod best;
mod cache;
mod checkpoint;
mod data;
mod decisions;
mod ensemble;
mod error;
pub mod event;
mod file;
mod fine_tune;
mod fit;
mod gradients;
pub mod interpret;
mod learner;
mod learning_rate;
mod loss;
mod lr_find;
mod memory;
mod method;
mod metric;
mod model;
mod optimizer;
mod perform;
mod photos;
pub mod plot;
mod position;
mod precompute;
mod predictions;
pub mod pull;
mod reading;
mod recipe;
mod recorded;
pub mod report;
mod run;
pub mod schedule;
mod speed;
mod state;
mod submission;
mod training;
mod tta;

pub use burn::tensor::Device;
pub use cache::{CACHE_VARIABLE, default_cache};
pub use data::{ClassCount, HeldOut, ImageData, ImageDataBuilder};
pub use ensemble::Ensemble;
pub use error::{Error, Result};
pub use event::{EpochRow, Event, Observer};
pub use interpret::Interpretation;
pub use learner::{Learner, Part};
pub use learning_rate::LearningRates;
pub use loss::{ClassWeights, Loss};
pub use lr_find::{Finding, Growth, LrCurve, LrFind, Rule, Suggestion, Suggestions};
pub use method::Method;
pub use metric::{Average, ClassMeasures, Direction, Measured, Metric};
pub use model::{Contract, Guess, Model, Prediction};
pub use ocelli_data::augment::mix::Mix;
pub use ocelli_data::augment::{policy::Policy, sheet::contact_sheet};
pub use ocelli_data::inspect as inspection;
pub use ocelli_data::source::table::{Column, TableOptions, is_table};
pub use ocelli_data::{
    Augmentation, BadImages, Channels, ClassLoss, Crop, DataError, Decoder, Filter, Framing, Grouping, Items,
    MAX_THREADS, Normalization, Preprocessing, RgbImage, Skipped, Target, Task, Transform, io_reason,
    picture::write_drawing, text_of, words, write_whole,
};
/// How text stands in tables that spreadsheets may open.
pub use ocelli_data::{escape_formula, unescape_formula};
/// Networks and their parts, for backbones and heads of one's own.
pub use ocelli_nn as nn;
pub use ocelli_nn::{
    Arch, ArchInfo, DeviceKind, DeviceName, Error as NetworkError, Network, Precision, Publisher, Statistics,
    TensorFile,
};
pub use optimizer::{DEFAULT_WEIGHT_DECAY, Optimizer, WeightDecay};
pub use perform::Performed;
pub use photos::{Found, outside, photos_in, photos_of_run, trained_on};
pub use position::{Numbers, Position};
pub use predictions::{Predictions, Share, THRESHOLD};
pub use pull::{WeightStore, built_in_weights};
pub use reading::{Baseline, Change, Course, Reading};
pub use recipe::{Choices, Preset, Rates, Recipe, Step, Train};
pub use recorded::Differences;
pub use run::{Recorder, RunFolder};
pub use schedule::{Epochs, OneCycle, Schedule, Sgdr};
pub use speed::Speed;
pub use state::{State, Summary};
pub use submission::{Clip, Submission, Submitted, Values};
pub use training::{Moved, Outcome, Places, Settings, Thresholds, Training};
pub use tta::{Mean, Stack, Tta, Views};

/// All that the examples use.
pub mod prelude {
    pub use crate::{
        Arch, Augmentation, BadImages, Epochs, Event, Filter, Framing, Grouping, ImageData, Learner,
        LearningRates, Loss, LrFind, Method, Model, Observer, OneCycle, Optimizer, Part, Precision, Preset,
        Recipe, Schedule, Sgdr, TableOptions, Tta,
    };
}
