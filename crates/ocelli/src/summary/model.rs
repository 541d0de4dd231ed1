//! What is said of a trained model.

use std::path::Path;

use ocelli_data::{Channels, Framing, Preprocessing, Task};
use ocelli_nn::{Arch, HeadForm, HeadKind, Precision, Publisher, TensorFile};
use serde::Serialize;

use crate::error::Result;
use crate::model::config::{ModelConfig, config_of};
use crate::model::training_record::{PretrainedWeights, TrainingRecord};
use crate::run::finished::FinishedRun;
use crate::run::folder::folder_of;
use crate::summary::FileInfo;
use crate::unknown::{FALSE_REFUSALS, UnknownConfig};

/// What a model's file says about the model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelSummary {
    /// The file.
    #[serde(flatten)]
    pub file: FileInfo,
    /// The version of the configuration's format.
    pub format: u32,
    /// The version of Ocelli that wrote it.
    pub version: String,
    /// The backbone.
    pub arch: String,
    /// The form of its head.
    pub head: HeadForm,
    /// What is published about the backbone; `None` for a custom one.
    pub published: Option<PublishedBackbone>,
    /// Whether an image has one label or several.
    pub task: Task,
    /// The classes, in the order of the outputs.
    pub classes: Vec<String>,
    /// The threshold of each class, for multi-label models.
    pub thresholds: Option<Vec<f32>>,
    /// From a photo to the network's input.
    pub preprocessing: Preprocessing,
    /// Which bands are read, and which values are black and white, where that is not the default.
    #[serde(skip_serializing_if = "Channels::is_usual")]
    pub channels: Channels,
    /// The precision of activations.
    pub precision: Precision,
    /// The temperature that calibrates its probabilities; `None` where none was found to help.
    pub temperature: Option<f64>,
    /// How it was trained and validated; `None` for a model that no run has written.
    pub training: Option<TrainingRecord>,
    /// The unknown score; `None` for a model without one.
    pub unknown: Option<UnknownSummary>,
    /// What the folder of its run adds; `None` for a lone file.
    pub run: Option<RunSummary>,
}

/// The score of photos that show none of the classes.
#[derive(Debug, Clone, Serialize)]
pub struct UnknownSummary {
    /// Photos with a higher score are called unknown.
    pub threshold: f32,
    /// The part of the photos of its classes that the threshold is to refuse.
    pub false_refusals: f64,
    /// The validation photos that it was set on.
    pub valid_photos: usize,
}

/// What is published about a backbone of the registry.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedBackbone {
    /// Its publisher's name for it.
    pub name: String,
    /// "torchvision", or its repository on the Hugging Face hub.
    pub origin: String,
    /// The licence of the published weights.
    pub licence: String,
}

/// What the folder of a run adds to its model.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// The folder's name.
    pub name: String,
    /// Each phase: what was trained, and for how many epochs at which learning rate.
    pub phases: Vec<String>,
    /// Seconds of training.
    pub seconds: Option<f64>,
    /// Skipped images.
    pub skipped: usize,
    /// Where the split comes from.
    pub split: Option<String>,
}

impl PublishedBackbone {
    pub(crate) fn of(arch: Arch) -> Self {
        let info = arch.info();
        let origin = match info.publisher {
            Publisher::Torchvision { .. } => "torchvision",
            Publisher::Timm { repository, .. } => repository,
        };
        Self {
            name: info.published_name().to_owned(),
            origin: origin.to_owned(),
            licence: info.licence.to_owned(),
        }
    }
}

impl ModelSummary {
    /// Its head in words: "linear, on features of 6 stages"; `None` for the usual or a custom one.
    pub fn head_text(&self) -> Option<String> {
        let HeadForm { kind, depths } = &self.head;
        let kind = if *kind == HeadKind::Linear { "linear" } else { "one hidden layer" };
        match depths.len() {
            0 if self.head == HeadForm::default() => None,
            0 => Some(kind.to_owned()),
            earlier => Some(format!("{kind}, on features of {} stages", earlier + 1)),
        }
    }

    pub(crate) fn of(path: &Path, tensors: &TensorFile) -> Result<Self> {
        let config = config_of(path, tensors)?;
        let file = FileInfo::of(path, tensors)?;
        let run = RunSummary::of(path, file.digest.as_deref());
        Ok(Self::new(file, config, run))
    }

    pub(crate) fn new(file: FileInfo, config: ModelConfig, run: Option<RunSummary>) -> Self {
        let ModelConfig { format, version, arch, head, task, classes, .. } = config;
        let published = arch.parse::<Arch>().ok().map(PublishedBackbone::of);
        Self {
            file,
            format,
            version,
            published,
            arch,
            head,
            task,
            classes,
            thresholds: config.thresholds,
            preprocessing: config.preprocessing,
            channels: config.channels,
            precision: config.precision,
            temperature: config.temperature,
            training: config.training,
            unknown: config.unknown.as_ref().and_then(UnknownSummary::of),
            run,
        }
    }

    /// The licence of the pretrained weights that training started from; `None` where it is not known.
    pub fn pretrained_licence(&self) -> Option<&str> {
        match self.training.as_ref()?.pretrained {
            PretrainedWeights::Published => {
                self.published.as_ref().map(|published| published.licence.as_str())
            }
            PretrainedWeights::Own | PretrainedWeights::Unknown => None,
        }
    }

    /// The preprocessing in words, step by step.
    pub fn preprocessing_steps(&self) -> Vec<String> {
        let Preprocessing { size, framing, filter, normalization } = self.preprocessing;
        let mut steps = Vec::new();
        if let Some(bands) = self.channels.bands {
            let bands = bands.map(|band| band.to_string()).join(", ");
            steps.push(format!("take the bands {bands} as red, green and blue"));
        }
        if let Some([low, high]) = self.channels.value_range {
            steps.push(format!("stretch values from {low} to {high} over 0 to 255"));
        }
        steps.push(
            "decode upright, as 8-bit RGB in sRGB (a JPEG at a half, a quarter or an eighth of its size, where that is enough)"
                .to_owned(),
        );
        let filter = format!("{filter:?}").to_lowercase();
        match framing {
            Framing::Crop { fraction } => {
                let shorter = (size as f64 / fraction).floor();
                steps.push(format!(
                    "resize the shorter side to {shorter} px ({filter}), crop the centre {size} × {size} px"
                ));
            }
            Framing::Squish => steps.push(format!("resize both sides to {size} px ({filter})")),
            Framing::Pad => steps.push(format!(
                "resize the longer side to {size} px ({filter}), fill up to {size} × {size} px with the mean colour"
            )),
        }
        let rounded = |values: [f32; 3]| match values {
            [red, green, blue] if red == green && green == blue => red.to_string(),
            values => format!("({})", values.map(|value| value.to_string()).join(", ")),
        };
        let (mean, std) = (rounded(normalization.mean), rounded(normalization.std));
        steps.push(format!("(x − mean) / std with mean {mean} and std {std}, for x from 0 to 255"));
        steps
    }
}

impl UnknownSummary {
    fn of(config: &UnknownConfig) -> Option<Self> {
        let UnknownConfig::Fitted { valid_scores, .. } = config else { return None };
        let threshold = config.threshold(FALSE_REFUSALS)?;
        Some(Self { threshold, false_refusals: FALSE_REFUSALS, valid_photos: valid_scores.len() })
    }
}

impl RunSummary {
    /// Of the run that a model lies in, if it is that run's model.
    fn of(path: &Path, digest: Option<&str>) -> Option<Self> {
        digest?;
        let folder = folder_of(path);
        // A model whose folder is another's, or damaged, is described by its file alone.
        let run = (folder != path).then(|| FinishedRun::open(&folder).ok()).flatten()?;
        let phase = |phase: &crate::run::finished::PhaseRecord| format!("{}: {}", phase.title, phase.text);
        Some(Self {
            phases: run.phases.iter().map(phase).collect(),
            seconds: run.finished.as_ref().map(|finished| finished.seconds),
            skipped: run.skipped.len(),
            split: run.data.as_ref().map(|data| data.origin.clone()),
            name: run.name,
        })
    }
}
