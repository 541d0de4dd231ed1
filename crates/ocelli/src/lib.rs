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
//! | how its steps are done | `run/perform.rs` |
//! | the best weights, early stopping | `learner/best.rs` |
//! | a whole run with its folder | [`Run`] |
//! | checkpoints, resuming | `run/checkpoint.rs` |
//! | which photos a run began with | `data/recorded.rs` |
//! | what is said about rows | [`Diagnosis`] |
//! | the training loop | `train/fit.rs` |
//! | where training stands, and how it is resumed | `learner/snapshot.rs` |
//! | what is minimised, and how weights move | [`Loss`], [`TrainOptions`] |
//! | how a learning rate is found | [`LrFind`] |
//! | how learning rates move | [`schedule`] |
//! | what a learner can do | [`Learner`] |
//! | how photos are read | [`ImageData`], then `ocelli-data` |
//! | networks and layers | `ocelli-nn` |
//! | charts of schedules and searches | `charts.rs`, then `ocelli-plot` |
//! | what is precomputed, and kept between runs | `features/` |
//! | what a run folder holds | [`RunFolder`] |
//! | what is told while it works | [`event`] |
//! | where pretrained weights come from | `pretrained.rs`, then [`hub`] |
//! | how fast a backbone is here | [`Speed`] |
//! | measures, thresholds | [`Metric`], [`Predictions`] |
//! | several views of an image | [`Tta`] |
//! | submissions | [`Submission`] |
//! | the model file | [`Contract`], [`Model`] |
//! | what it gets right and wrong | [`interpret`] |
//! | what is read of a run that is over | [`finished`] |
//! | labels to look at | [`review`] |
//! | the pages that show it | `ocelli-report` |

#[cfg(feature = "plot")]
mod charts;
mod data;
mod error;
pub mod event;
mod features;
mod file;
pub mod interpret;
mod learner;
mod lr_finder;
mod metric;
mod model;
mod paths;
mod pretrained;
mod recipe;
mod run;
pub mod schedule;
mod stop;
mod train;

pub use burn::tensor::Device;
pub use data::builder::ImageDataBuilder;
pub use data::of_run::MissingImages;
pub use data::photos::{Found, outside, photos_in, trained_on};
pub use data::recorded::Differences;
pub use data::{ClassCount, HeldOut, ImageData, Part};
pub use error::{Error, Result};
pub use event::{Event, Observer};
pub use file::write_whole;
pub use interpret::Interpretation;
pub use learner::Learner;
pub use learner::memory::{AvailableMemory, MemoryLimit, available_memory};
pub use learner::snapshot::{SnapshotHeader, TrainSnapshot};
pub use learner::speed::Speed;
pub use lr_finder::curve::LrCurve;
pub use lr_finder::suggest::{Finding, Rule, Suggestion, Suggestions};
pub use lr_finder::{Growth, LrFind};
pub use metric::custom::CustomMetric;
pub use metric::predictions::{PredictionParts, Predictions, THRESHOLD};
pub use metric::proportion::Proportion;
pub use metric::record::EpochRecord;
pub use metric::{Average, ClassMeasures, Direction, Metric, MetricEstimate};
pub use model::Model;
pub use model::contract::Contract;
pub use model::ensemble::Ensemble;
pub use model::evaluation::{Evaluation, evaluate};
pub use model::prediction::{ClassProbability, Prediction};
pub use model::submission::clip::ProbabilityClip;
pub use model::submission::{Submission, Submitted, Values};
pub use model::tta::{Tta, TtaLogits, TtaMean, TtaViews};
pub use ocelli_data::augment::mix::Mix;
pub use ocelli_data::augment::{policy::Policy, sheet::contact_sheet};
pub use ocelli_data::inspect as inspection;
pub use ocelli_data::source::table::{Column, TableOptions, is_table};
pub use ocelli_data::{
    Augmentation, BadImages, Channels, ClassLoss, Crop, DataError, Decoder, Filter, Framing, Grouping, Items,
    MAX_THREADS, Normalization, Preprocessing, RgbImage, Skipped, Target, Task, Transform, io_reason,
    picture::write_drawing, text, text_of,
};
/// How text stands in tables that spreadsheets may open.
pub use ocelli_data::{escape_formula, unescape_formula};
/// Pretrained weights by name.
pub use ocelli_hub as hub;
pub use ocelli_hub::{CACHE_VARIABLE, WeightStore, default_cache};
/// The instruction set that the kernels use.
pub use ocelli_kernels::Isa;
/// Networks and their parts, for backbones and heads of one's own.
pub use ocelli_nn as nn;
pub use ocelli_nn::{
    Arch, ArchInfo, DeviceKind, DeviceName, Error as NetworkError, Network, Precision, Publisher, Statistics,
    TensorFile,
};
/// Charts and matrices as files.
#[cfg(feature = "plot")]
pub use ocelli_plot as plot;
pub use pretrained::built_in_weights;
pub use recipe::builder::{Preset, RecipeBuilder};
pub use recipe::diagnosis::{Baseline, Diagnosis, LossTrend, MetricChange};
pub use recipe::freezing::{Freezing, Summary};
pub use recipe::{LrChoice, Phase, Recipe, TrainPhase};
pub use run::config::{RunConfig, RunEnv, Thresholds, photos_of_run};
pub use run::folder::{Recorder, RunFolder};
pub use run::perform::RecipeResult;
pub use run::resume::Moved;
pub use run::{Run, RunResult};
pub use run::{finished, review};
pub use schedule::learning_rates::LearningRates;
pub use schedule::{Epochs, OneCycle, Schedule, Sgdr};
pub use stop::Stop;
pub use train::loss::{ClassWeights, Loss};
pub use train::optimizer::{DEFAULT_WEIGHT_DECAY, Optimizer, WeightDecay};
pub use train::options::TrainOptions;

/// All that the examples use.
pub mod prelude {
    pub use crate::{
        Arch, Augmentation, BadImages, Epochs, Event, Filter, Framing, Grouping, ImageData, Learner,
        LearningRates, Loss, LrFind, Model, Observer, OneCycle, Optimizer, Part, Precision, Preset, Recipe,
        Schedule, Sgdr, TableOptions, TrainOptions, Tta,
    };
}
