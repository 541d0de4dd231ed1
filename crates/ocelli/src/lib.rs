//! Trains image classifiers by transfer learning: a folder of photos in, a classifier and an honest report
//! out.
//!
//! The workflow is that of fast.ai's lesson on image classification: a new head on a pretrained backbone is
//! trained on cached features, then all layers are fine-tuned with discriminative learning rates.
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
//! learner.cache_features()?;
//! let records = learner.fit(1e-2, Epochs(4))?;
//! assert!(records[3].accuracy.unwrap() > 0.4); // seven classes: chance is 0.14
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
//! Examples, each a page long (`cargo run --release -p ocelli --example NAME`): `quickstart`, `labels_table`
//! (several labels per image), `resume`, `predict_bytes` (images in memory), `own_augmentation`, `own_loss`,
//! `own_metric`, `custom_backbone`.
//!
//! # How the parts meet
//!
//! [`ImageData`] lists, splits and checks the images; the crate `ocelli-data` decodes them and makes batches.
//! A [`Learner`] owns what training needs: the training state (the network, what is frozen, the seed and the
//! counters), the inputs (images, cached features of frozen layers, resized copies) and the [`TrainOptions`]
//! (loss, optimizer). [`Learner::fit`] runs the one training loop, in `train/fit.rs`, with the learning rates
//! of a [`Schedule`]. The loop calls hooks after each step and epoch: the learner's remember the best weights
//! and emit [`Event`]s to observers, which can only ask to stop. The learning rate finder, the memory check
//! and the heads for out-of-fold predictions train on a copy of the state.
//!
//! A [`Recipe`] is a list of phases as a value; [`Learner::run_recipe`] runs them one after the other, each
//! from the best weights so far. A [`Run`] is a learner with a [`RunConfig`] and a run folder, in which it
//! records events, checkpoints and results; [`Run::resume`] restores the last checkpoint and continues to the
//! same bits. A [`Model`] is what remains: one file with the network and its [`ModelConfig`]. [`interpret`]
//! computes from [`Predictions`] what reports show, and the crate `ocelli-report` draws them.
//!
//! | to change | file |
//! |---|---|
//! | how images are listed, split and checked | `data/mod.rs`, `data/builder.rs`, `data/load.rs` |
//! | notices about data | `data/notices.rs` |
//! | which photos a run began with, and decisions about labels | `data/recorded.rs`, `data/decisions.rs` |
//! | the training loop | `train/fit.rs`, and one step in `train/step.rs` |
//! | the training state, and where batches come from | `train/state.rs`, `train/input.rs` |
//! | training in pieces of a batch, which processes share | `train/micro_batches.rs`, `train/exchange.rs` |
//! | photos of which each process has a part | `processes/gather.rs` |
//! | losses | `train/loss.rs`, `train/custom_loss.rs` |
//! | optimizers | `train/optimizer.rs` |
//! | averages of weights (EMA, SWA) | `train/weight_average.rs` |
//! | options of training | `train/options.rs` |
//! | schedules of learning rate and momentum | `schedule/policy.rs`, `schedule/builders.rs` |
//! | the learning rate finder: search, curve, rules | `lr_finder/mod.rs`, `lr_finder/curve.rs`, `lr_finder/suggest.rs` |
//! | cached features, and the key of the cache | `features/cache.rs`, `features/store.rs`, `features/prefix.rs` |
//! | features of photos as a result, and the nearest of them | `embed/mod.rs`, `embed/nearest.rs` |
//! | what a learner can do | `learner/mod.rs`, `learner/fit.rs`, `learner/features.rs`, `learner/predict.rs` |
//! | the best weights, early stopping | `learner/best.rs`, `learner/keep_best.rs` |
//! | snapshots of training | `learner/snapshot.rs` |
//! | the memory check, the speed of backbones | `learner/memory.rs`, `learner/speed.rs` |
//! | recipes and their presets | `recipe/mod.rs`, `recipe/builder.rs` |
//! | what is frozen, and whether features are cached | `recipe/freezing.rs` |
//! | the diagnosis after each fit | `recipe/diagnosis.rs` |
//! | how a recipe is run | `run/run_recipe.rs` |
//! | which backbone suits photos best | `run/arch_choice.rs` |
//! | runs: configuration, folder, checkpoints, resuming | `run/config.rs`, `run/folder.rs`, `run/checkpoint.rs` (when: `run/tracker.rs`, progress: `run/progress.rs`), `run/resume.rs` |
//! | what a learner does, in a folder that is shown as a run | `run/recording.rs` |
//! | what is read of a finished run, and label reviews | `run/finished.rs`, `run/review.rs` |
//! | labels that are cleaned: what is listed, the table of decisions | `clean/mod.rs`, `clean/decisions_file.rs` |
//! | events and observers | `event.rs` |
//! | metrics, their intervals, thresholds, calibration | `metric/mod.rs`, `metric/score.rs`, `metric/thresholds.rs`, `metric/temperature.rs` |
//! | the model file and its configuration | `model/mod.rs`, `model/config.rs` |
//! | the unknown score: formula and fit, and on which photos | `unknown.rs`, `learner/unknown.rs` |
//! | test-time augmentation | `model/tta.rs` |
//! | ONNX and TFLite files, and their comparison with the model | `export/mod.rs`, `export/agreement.rs`, then the crates `ocelli-onnx` and `ocelli-tflite` |
//! | models as web pages | `export/web.rs`, and the page `export/web/index.html` |
//! | tables of predictions, resumed; photos in folders by class | `predict/mod.rs` |
//! | the format Parquet | `parquet.rs` |
//! | what is said of a model's file, a checkpoint, weights, an ONNX file; the model card | `summary/mod.rs` |
//! | submissions to competitions | `model/submission/mod.rs` |
//! | confusion matrix, rankings, label errors, heat maps | `interpret/mod.rs`, and one file for each beside it |
//! | charts of schedules and of the finder | `charts.rs`, `curve_files.rs`, then the crate `ocelli-plot` |
//! | several processes: what is shared out, what they compare, those that do not write | `processes/mod.rs`, `processes/shared.rs`, `processes/agreement.rs`, `run/worker.rs` |
//! | how long a run takes on several machines | `plan/mod.rs`, `plan/link.rs`, `plan/work.rs`, and what is measured for that: `plan/measure.rs` |
//! | where pretrained weights come from | `pretrained.rs`, then the crate `ocelli-hub` |
//! | errors | `error.rs` |

#[cfg(feature = "plot")]
mod charts;
pub mod clean;
mod curve_files;
mod data;
mod differences;
mod embed;
mod error;
pub mod event;
#[cfg(feature = "onnx")]
mod export;
mod features;
mod file;
pub mod interpret;
mod learner;
mod lr_finder;
mod metric;
mod model;
mod parquet;
mod paths;
pub mod plan;
mod predict;
mod pretrained;
mod processes;
mod recipe;
mod run;
pub mod schedule;
mod spread;
mod stop;
mod summary;
mod train;
mod unknown;

pub use burn::tensor::Device;
pub use data::builder::{HashProgress, ImageDataBuilder};
pub use data::of_run::MissingImages;
pub use data::photos::{Found, outside, photos_in};
pub use data::valid_split::ValidSplit;
pub use data::{ClassCount, ImageData, Part};
pub use differences::Differences;
pub use embed::nearest::{Nearest, duplicate_groups, nearest};
pub use embed::output::{EmbedEvent, EmbedOptions, EmbedSummary, EmbeddingFormat};
pub use embed::{Embedder, Embedding, Embeddings};
pub use error::{Error, Result};
pub use event::{EpochTimes, Event, FoldFinished, Observer};
#[cfg(feature = "onnx")]
pub use export::{
    Agreement, ExportOutput, ExportPhotos, ExportPreprocessing, OnnxOptions, OnnxPrecision, TfliteOptions,
    WebOptions, WebRuntime, WholePhotos,
};
pub use file::write_whole;
pub use interpret::Interpretation;
pub use interpret::evaluation::{Evaluation, StrangerScores, evaluate, score_strangers};
pub use learner::Learner;
pub use learner::examples::{Example, Examples};
pub use learner::memory::{AvailableMemory, MemoryLimit, available_memory};
pub use learner::snapshot::{SnapshotHeader, TrainSnapshot};
pub use learner::speed::Speed;
pub use lr_finder::curve::LrCurve;
pub use lr_finder::suggest::{CurveShape, LrRule, LrSuggestion, SuggestedLrs};
pub use lr_finder::{Growth, LrFind};
pub use metric::choice::CorrectedEstimate;
pub use metric::custom::CustomMetric;
pub use metric::direction::Direction;
pub use metric::estimate::{ClassMeasures, MetricEstimate};
pub use metric::predictions::{PredictionParts, Predictions, THRESHOLD};
pub use metric::proportion::Proportion;
pub use metric::record::EpochRecord;
pub use metric::{Average, Metric};
pub use model::Model;
pub use model::config::ModelConfig;
pub use model::ensemble::Ensemble;
pub use model::int8::Int8Source;
pub use model::prediction::{ClassProbability, Prediction};
pub use model::samples::Sample;
pub use model::submission::clip::ProbabilityClip;
pub use model::submission::values::Values;
pub use model::submission::{Submission, Submitted};
pub use model::training_record::{PretrainedWeights, TrainedPhase, TrainingRecord, ValidationMetric};
pub use model::tta::{Tta, TtaLogits, TtaMean, TtaViews};
pub use ocelli_data::augment::mix::Mix;
pub use ocelli_data::augment::{policy::Policy, sheet::contact_sheet};
pub use ocelli_data::inspect as inspection;
/// How text stands in tables that spreadsheets may open.
pub use ocelli_data::names::composed;
pub use ocelli_data::source::table::{Column, TableOptions, is_table};
pub use ocelli_data::timeline;
pub use ocelli_data::{
    Augmentation, BadImages, Channels, ClassLoss, Crop, CustomTransform, DataError, Decoder, Draws, Filter,
    Framing, Grouping, Items, MAX_THREADS, Normalization, Pixels, Preprocessing, RgbImage, Skipped, Target,
    Task, Transform, files::NewFolder, files::is_new_or_empty, io_reason, picture::write_drawing, stem_of,
    text, text_of,
};
pub use ocelli_data::{escape_formula, unescape_formula};
/// What processes that train together are joined by.
pub use ocelli_distributed as distributed;
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
pub use predict::file::PredictionFile;
pub use predict::path_set::PathSet;
pub use predict::resume::{KeptRow, KeptRows};
pub use predict::settings::TableSettings;
pub use predict::sorter::{PhotoSorter, Placement};
pub use predict::table::{TableFormat, TableLayout, TableWriter};
pub use pretrained::{built_in_weights, keep_weights};
pub use processes::ProcessGroup;
pub use recipe::builder::{Preset, RecipeBuilder};
pub use recipe::diagnosis::{Baseline, Diagnosis, LossTrend, MetricChange};
pub use recipe::freezing::{Freezing, Summary};
pub use recipe::logistic::{
    LastPooling, LearningPoint, LogisticCandidate, LogisticRegression, LogisticRegressionFit,
};
pub use recipe::{LrChoice, Phase, Recipe, TrainPhase};
pub use run::arch_choice::{AUTO_ARCH, ArchScore, compare_archs};
pub use run::config::{RunConfig, RunEnv, Thresholds, photos_of_run};
pub use run::folder::{Recorder, RunFolder};
pub use run::observed::{RunSettings, RunState};
pub use run::recording::Recording;
pub use run::resume::Moved;
pub use run::run_recipe::RecipeResult;
pub use run::worker::Worker;
pub use run::{Run, RunResult};
pub use run::{finished, review};
pub use schedule::learning_rates::LearningRates;
pub use schedule::{Epochs, OneCycle, Schedule, Sgdr};
pub use stop::Stop;
pub use summary::checkpoint::{BestWeights, CheckpointSummary};
pub use summary::model::{ModelSummary, PublishedBackbone, RunSummary, UnknownSummary};
#[cfg(feature = "onnx")]
pub use summary::onnx::{OnnxSummary, OnnxValue};
pub use summary::weights::WeightsSummary;
pub use summary::{FileInfo, FileSummary, TensorSummary};
pub use train::custom_loss::CustomLoss;
pub use train::loss::{ClassWeights, Loss};
pub use train::optimizer::{DEFAULT_WEIGHT_DECAY, Optimizer, WeightDecay};
pub use train::options::TrainOptions;
pub use unknown::{FALSE_REFUSALS, Unknown, UnknownConfig, UnknownScore, auroc};

/// All that the examples use.
pub mod prelude {
    pub use crate::{
        Arch, Augmentation, BadImages, Epochs, Event, Filter, Framing, Grouping, ImageData, Learner,
        LearningRates, Loss, LrFind, Model, Observer, OneCycle, Optimizer, Part, Precision, Preset, Recipe,
        Schedule, Sgdr, TableOptions, TrainOptions, Tta,
    };
}
