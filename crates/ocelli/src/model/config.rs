//! The configuration that a model file carries: everything that is needed to use the model.

use std::collections::BTreeSet;
use std::path::Path;

use ocelli_data::{Augmentation, Channels, Decoder, Items, Preprocessing, RgbImage, Task};
use ocelli_nn::{HeadForm, Precision, TensorFile};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file;
use crate::metric::predictions::THRESHOLD;
use crate::metric::temperature::BELIEVED;
use crate::model::finite::check_finite;
use crate::model::submission::clip::{CLIP_RANGE, ProbabilityClip};
use crate::model::training_record::TrainingRecord;
use crate::unknown::UnknownConfig;

/// How a model is used; it is stored in the model's file as JSON, in the metadata entry `ocelli`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The version of this format: 4.
    pub format: u32,
    /// The version of Ocelli that wrote it.
    pub version: String,
    /// The backbone's name in the registry.
    pub arch: String,
    /// The form of its head, where that is not the default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub head: HeadForm,
    /// Whether an image has one label or several.
    pub task: Task,
    /// The names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
    /// From a photo to the network's input.
    pub preprocessing: Preprocessing,
    /// The threshold of each class for multi-label predictions. Default: [`THRESHOLD`](crate::THRESHOLD) for
    /// all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f32>>,
    /// Which bands of an image are read, and which values are black and white, where that is not the default.
    #[serde(default, skip_serializing_if = "Channels::is_usual")]
    pub channels: Channels,
    /// The augmentation of training images, from which test-time augmentation draws views.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// The precision of activations that it was trained and validated with.
    #[serde(default)]
    pub precision: Precision,
    /// The distance from 0 and 1 that submissions clip probabilities to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<ProbabilityClip>,
    /// The separator between several labels of an image, in the table that it was trained on and in
    /// submissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<char>,
    /// The temperature that logits are divided by to be calibrated, fitted on validation images; `None` if
    /// none was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// How it was trained and validated; `None` for a model that no run has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRecord>,
    /// The score of photos of unknown classes; `None` where none was to be fitted. Its parameters are the
    /// file's tensors `unknown.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownConfig>,
}

fn is_default(form: &HeadForm) -> bool {
    *form == HeadForm::default()
}

/// The most classes that a model may have.
const MOST_CLASSES: usize = 100_000;

/// The version of the format that this version writes and reads.
const FORMAT: u32 = 4;
/// The metadata entry that holds the configuration.
pub(crate) const ENTRY: &str = "ocelli";

impl ModelConfig {
    pub(crate) fn new(arch: &str, items: &Items, preprocessing: Preprocessing, precision: Precision) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arch: arch.to_owned(),
            head: HeadForm::default(),
            task: items.task,
            classes: items.classes.names().to_vec(),
            preprocessing,
            thresholds: None,
            channels: Channels::default(),
            augmentation: None,
            precision,
            clip: None,
            label_separator: None,
            temperature: None,
            training: None,
            unknown: None,
        }
    }

    /// The threshold of each class.
    pub fn thresholds(&self) -> Vec<f32> {
        self.thresholds.clone().unwrap_or_else(|| vec![THRESHOLD; self.classes.len()])
    }

    /// What reads images as in training, with the usual limits.
    pub(crate) fn decoder(&self) -> Decoder {
        Decoder { channels: self.channels, ..Decoder::default() }
    }

    /// A photo as the network sees it, its side in pixels; `None` where it cannot be read.
    pub fn framed(&self, photo: impl AsRef<Path>, size: usize) -> Option<RgbImage> {
        Preprocessing { size, ..self.preprocessing }.frame_file(photo, &self.decoder()).ok()
    }

    /// A number that no model is used with, where there is one, and what it must be.
    fn wrong_number(&self) -> Option<String> {
        let temperature = self.temperature.filter(|temperature| !BELIEVED.contains(temperature));
        let threshold = self.thresholds.iter().flatten().find(|threshold| !threshold.is_finite());
        let clip = self.clip.map(|clip| clip.at).filter(|at| !CLIP_RANGE.contains(at));
        temperature
            .map(|found| {
                format!("the temperature {found}; it must be from {} to {}", BELIEVED.start(), BELIEVED.end())
            })
            .or_else(|| threshold.map(|found| format!("the threshold {found}; it must be finite")))
            .or_else(|| {
                clip.map(|found| format!("probabilities clipped at {found}; it must be from 0 to below 0.5"))
            })
    }

    /// The bytes of a model file, and the digest in them.
    pub(crate) fn to_bytes(&self, tensors: &TensorFile) -> (Vec<u8>, String) {
        tensors.to_bytes_and_digest(ENTRY, &serde_json::to_string(self).expect("plain values serialise"))
    }
}

/// A model file's configuration and tensors.
pub(crate) fn read(path: &Path) -> Result<(ModelConfig, TensorFile)> {
    let tensors = TensorFile::read(path)?;
    Ok((config_of(path, &tensors)?, tensors))
}

/// The configuration of a model file that has been read.
pub(crate) fn config_of(path: &Path, tensors: &TensorFile) -> Result<ModelConfig> {
    let not_a_model = |reason: String| Error::NotAModel { path: path.to_owned(), reason };
    let text = tensors.metadata(ENTRY).ok_or_else(|| {
        not_a_model("it holds tensors, but not what they are for; give a model.safetensors of a run".into())
    })?;
    let config: ModelConfig = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => match value["format"].as_u64() {
            Some(format) if format != u64::from(FORMAT) => {
                return Err(not_a_model(format!(
                    "its config has form {format}, this version of Ocelli reads form {FORMAT}; \
                         use the version that wrote it"
                )));
            }
            _ => serde_json::from_value(value),
        },
        Err(error) => Err(error),
    }
    .map_err(|error| not_a_model(format!("its config cannot be read: {error}")))?;
    if tensors.digest().is_none() {
        return Err(not_a_model(
            "it has no digest of its content, by which damage would be seen: another program has written it; to have \
             it believed as it is, add the metadata entry \"ocelli-digest\" with the text \"none\""
                .into(),
        ));
    }
    config.preprocessing.validate()?;
    config.channels.validate()?;
    if config.classes.len() > MOST_CLASSES {
        let classes = config.classes.len();
        let reason = format!("its config has {classes} classes, more than the limit of {MOST_CLASSES}");
        return Err(not_a_model(reason));
    }
    if let Some(thresholds) = &config.thresholds
        && thresholds.len() != config.classes.len()
    {
        let (found, classes) = (thresholds.len(), config.classes.len());
        return Err(not_a_model(format!("its config has {found} thresholds for {classes} classes")));
    }
    if let Some(wrong) = config.wrong_number() {
        return Err(not_a_model(format!("its config has {wrong}")));
    }
    check_finite(tensors, &path.display().to_string())?;
    if config.classes.is_empty() {
        return Err(not_a_model("its config has no classes".into()));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = config.classes.iter().find(|class| !names.insert(*class)) {
        return Err(not_a_model(format!("its config has two classes named {twice:?}")));
    }
    Ok(config)
}

/// Writes a model file, and returns its digest.
pub(crate) fn save(path: &Path, config: &ModelConfig, tensors: &TensorFile) -> Result<String> {
    let (bytes, digest) = config.to_bytes(tensors);
    file::write_whole(path, &bytes)?;
    Ok(digest)
}
