//! A model for other programs: as an ONNX file, as a TFLite file, or as a web page.

mod agreement;
mod web;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ocelli_data::{Target, Task};
use ocelli_nn::Backbone;
use ocelli_nn::graph::Output;
use ocelli_onnx as onnx;
use ocelli_tflite as tflite;

use crate::error::{Error, Result};
use crate::export::agreement::{Bound, Check, Format};
use crate::file::write_whole;
use crate::model::Model;
use crate::run::finished::FinishedRun;
use crate::stop::Stop;

pub use crate::export::agreement::{Agreement, WholePhotos};
pub use crate::export::web::{WebOptions, WebRuntime};

/// How a model is written as ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OnnxOptions {
    /// How much of the preprocessing is in the file.
    pub preprocessing: ExportPreprocessing,
    /// What the file gives.
    pub output: ExportOutput,
    /// How weights are stored.
    pub precision: OnnxPrecision,
    /// Whether probabilities are calibrated, as by [`Model::calibrated`].
    pub calibrated: bool,
}

/// How a model is written as TFLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TfliteOptions {
    /// How much of the preprocessing is in the file; all of it cannot be.
    pub preprocessing: ExportPreprocessing,
    /// What the file gives.
    pub output: ExportOutput,
    /// Whether probabilities are calibrated, as by [`Model::calibrated`].
    pub calibrated: bool,
}

/// How much of the preprocessing is in an exported file. Images are `[images, 3, height, width]` in ONNX files, and
/// `[images, height, width, 3]` in TFLite files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExportPreprocessing {
    /// The file takes 8-bit pixels of the model's size, and normalises them.
    #[default]
    Normalize,
    /// The file takes 8-bit pixels of images of any size, and resizes, crops or pads, and normalises them. ONNX only.
    All,
    /// The file takes normalised floats.
    None,
}

/// What an exported file gives for each image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExportOutput {
    /// The probability of each class.
    #[default]
    Probabilities,
    /// The network's outputs before softmax or sigmoid.
    Logits,
    /// The pooled features before the classifier.
    Features,
}

/// How weights are stored in an ONNX file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnnxPrecision {
    /// In 32 bits.
    #[default]
    F32,
    /// In 16 bits: half the size. Engines convert them to 32 bits when they load the file.
    F16,
    /// In 8 bits, a third of the size, and computed in 8 bits too, which is faster in some engines and for some networks
    /// only. Static quantization: the ranges of the network's values are those on training photos.
    Int8,
}

/// Photos that an exported file is made and compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportPhotos {
    /// Those that file and model are compared on: photos that the model was not trained on.
    pub validation: Vec<PathBuf>,
    /// The class of each validation photo; empty where they are not known, or are several for one photo.
    pub labels: Vec<usize>,
    /// Those that ranges for 8-bit integers are found on. Where there are none, every second validation photo is taken.
    pub training: Vec<PathBuf>,
}

impl ExportPreprocessing {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("normalize", "8-bit pixels of the model's size in; normalised in the file"),
        ("all", "8-bit pixels of any size in; resized and normalised in the file (ONNX)"),
        ("none", "normalised floats in"),
    ];
}

impl ExportOutput {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("probabilities", "the probability of each class"),
        ("logits", "the network's outputs before softmax or sigmoid"),
        ("features", "the pooled features before the classifier"),
    ];
}

impl OnnxPrecision {
    /// What is accepted.
    fn bound(self) -> Bound {
        match self {
            Self::F32 => Bound::Difference(1e-4),
            Self::F16 => Bound::Difference(1e-2),
            Self::Int8 => Bound::Accuracy(0.02),
        }
    }
}

impl FromStr for ExportPreprocessing {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "normalize" => Ok(Self::Normalize),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => Err(Error::setting("preprocessing", name, "normalize, all or none")),
        }
    }
}

impl FromStr for ExportOutput {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "probabilities" => Ok(Self::Probabilities),
            "logits" => Ok(Self::Logits),
            "features" => Ok(Self::Features),
            _ => Err(Error::setting("output", name, "probabilities, logits or features")),
        }
    }
}

impl<B: Backbone> Model<B> {
    /// Writes the model as an ONNX file, which another engine has run before: on up to 32 of the photos, on noise, on
    /// black and on white. Where the model has an unknown score, it is a second output, `unknown_score`; its threshold is
    /// in the configuration. The file holds the model's configuration, as the text `ocelli`, and the agreement, as the
    /// text `agreement`, both in JSON.
    ///
    /// # Errors
    /// [`Error::Disagreement`] where the engine computes something else than the model; [`Error::QuantizationLoss`] where a
    /// file of 8-bit integers is worse than the model, by 0.02 of accuracy or more; [`Error::Onnx`] where the
    /// network cannot be written or the engine cannot run it; [`Error::NoPhotosToCheck`] where there are no photos, or
    /// none of them can be read; [`Error::NotCalibrated`] where calibrated probabilities are asked for and the model
    /// has none; [`Error::Io`] where the file cannot be written. There is no file then, and an existing one is
    /// unchanged.
    pub fn export_onnx(
        &self,
        path: impl AsRef<Path>,
        options: &OnnxOptions,
        photos: &ExportPhotos,
    ) -> Result<Agreement> {
        let (bytes, agreement) = self.onnx_file(options, photos)?;
        write_whole(path.as_ref(), &bytes)?;
        Ok(agreement)
    }

    /// The bytes of [`export_onnx`](Self::export_onnx)'s file.
    fn onnx_file(&self, options: &OnnxOptions, photos: &ExportPhotos) -> Result<(Vec<u8>, Agreement)> {
        let config = self.config();
        let temperature = self.temperature_of(options.calibrated)?;
        let graph = self.graph()?;
        let metadata = BTreeMap::from([(
            "ocelli".to_owned(),
            serde_json::to_string(config).expect("plain values serialise"),
        )]);
        let preprocessing = config.preprocessing;
        let input = match options.preprocessing {
            ExportPreprocessing::Normalize => onnx::Input::Pixels(preprocessing),
            ExportPreprocessing::All => onnx::Input::AnySize(preprocessing),
            ExportPreprocessing::None => onnx::Input::Normalized,
        };
        let output = self.output_of(options.output, temperature);
        let float = match options.precision {
            OnnxPrecision::F32 => onnx::Float::F32,
            OnnxPrecision::F16 => onnx::Float::F16,
            OnnxPrecision::Int8 => onnx::Float::F32,
        };
        let unknown = self.unknown_score().map(|score| score.0.clone());
        let mut file = onnx::Model::new(&graph, &onnx::Options { input, output, float, unknown, metadata })?;
        let check = Check {
            model: self,
            graph: &graph,
            input,
            output,
            temperature,
            bound: options.precision.bound(),
            format: Format::Onnx,
        };
        let mut photos = Cow::Borrowed(photos);
        if options.precision == OnnxPrecision::Int8 {
            if photos.training.is_empty() {
                photos.to_mut().training_from_validation()?;
            }
            let ranges = check.ranges(&file, &photos.training)?;
            file = file.quantize(&ranges)?;
        }
        let agreement = check.run(&file.to_bytes(), &photos)?;
        let text = serde_json::to_string(&agreement).expect("plain values serialise");
        file.set_metadata("agreement", text);
        Ok((file.to_bytes(), agreement))
    }

    /// Writes the model as a TFLite file for LiteRT, of 32-bit floats. Before, the file is read back, and an interpreter of
    /// Ocelli's own computes in f64 what it says, on up to 32 of the photos, on noise, on black and on white, or on fewer
    /// where the network is large: on one photo and on noise at least. LiteRT itself does not run it.
    ///
    /// The file is for one image at a time, and can be resized for more. Where the model has an unknown score, it is a
    /// second output, `unknown_score`; its threshold is in the configuration. Packed into the file, which is a ZIP archive
    /// too, are `labels.txt`, which its metadata names, and the model's configuration and the agreement, as `ocelli.json`
    /// and `agreement.json`.
    ///
    /// # Errors
    /// [`Error::Disagreement`] where the file says something else than the model computes; [`Error::Tflite`] where the
    /// network or a class cannot be written; [`Error::Setting`] where the file should resize images; otherwise those of
    /// [`export_onnx`](Self::export_onnx). There is no file then, and an existing one is unchanged.
    pub fn export_tflite(
        &self,
        path: impl AsRef<Path>,
        options: &TfliteOptions,
        photos: &ExportPhotos,
    ) -> Result<Agreement> {
        let config = self.config();
        let temperature = self.temperature_of(options.calibrated)?;
        let normalization = tflite::Normalization {
            mean: config.preprocessing.normalization.mean.to_vec(),
            std: config.preprocessing.normalization.std.to_vec(),
        };
        let (input, of_check) = match options.preprocessing {
            ExportPreprocessing::Normalize => {
                (tflite::Input::Pixels(normalization), onnx::Input::Pixels(config.preprocessing))
            }
            ExportPreprocessing::None => {
                (tflite::Input::Normalized(Some(normalization)), onnx::Input::Normalized)
            }
            ExportPreprocessing::All => {
                let expected = "normalize or none: a TFLite file takes images of the model's size";
                return Err(Error::setting("preprocessing", "all", expected));
            }
        };
        let output = self.output_of(options.output, temperature);
        let unknown = self.unknown_score().map(|score| score.0.clone());
        let graph = self.graph()?;
        let options = tflite::Options { input, output, unknown, labels: config.classes.clone() };
        let mut file = tflite::Model::new(&graph, &options)?;
        file.attach("ocelli.json", serde_json::to_string(config).expect("plain values serialise"));
        let check = Check {
            model: self,
            graph: &graph,
            input: of_check,
            output,
            temperature,
            bound: Bound::Difference(1e-4),
            format: Format::Tflite,
        };
        let agreement = check.run(&file.to_bytes()?, photos)?;
        file.attach("agreement.json", serde_json::to_string(&agreement).expect("plain values serialise"));
        write_whole(path.as_ref(), &file.to_bytes()?)?;
        Ok(agreement)
    }

    /// What logits are divided by.
    fn temperature_of(&self, calibrated: bool) -> Result<f64> {
        match (calibrated, self.config().temperature) {
            (false, _) => Ok(1.0),
            (true, Some(temperature)) => Ok(temperature),
            (true, None) => Err(Error::NotCalibrated { model: self.origin().to_owned() }),
        }
    }

    fn output_of(&self, output: ExportOutput, temperature: f64) -> Output {
        match (output, self.config().task) {
            (ExportOutput::Logits, _) => Output::Logits,
            (ExportOutput::Features, _) => Output::Features,
            (ExportOutput::Probabilities, Task::SingleLabel) => Output::Probabilities { temperature },
            (ExportOutput::Probabilities, Task::MultiLabel) => Output::ProbabilityOfEach { temperature },
        }
    }
}

impl ExportPhotos {
    /// The photos of the run of a model, given the model's file or the folder of its run, that can still be found; none where
    /// it has no run.
    ///
    /// # Errors
    /// [`Error::NoPhotosToCheck`] where there is none of them any more; where the run is not finished, or damaged.
    pub fn of_run(model: impl AsRef<Path>) -> Result<Self> {
        let Some(run) = FinishedRun::of_model(model)? else { return Ok(Self::default()) };
        let mut predictions = run.predictions()?;
        let (images, _) = run.images(&mut predictions, None, 0, &Stop::default())?;
        let mut photos = Self::default();
        for (path, target) in predictions.paths.iter().zip(predictions.predictions.targets()) {
            if path.is_file() {
                photos.validation.push(path.clone());
                if let Target::Class(class) = target {
                    photos.labels.push(*class);
                }
            }
        }
        if let (true, Some(first)) = (photos.validation.is_empty(), predictions.paths.first()) {
            let reason = format!("those of its run have moved: {} is not there", first.display());
            return Err(Error::NoPhotosToCheck { reason: Some(reason) });
        }
        photos.training = run.existing_training_photos(&images);
        Ok(photos)
    }

    /// Every second validation photo finds ranges, and the others are compared on.
    fn training_from_validation(&mut self) -> Result<()> {
        if self.validation.len() == 1 {
            return Err(Error::setting(
                "photos",
                "1",
                "two at least: every second is for the ranges of integers",
            ));
        }
        let all = std::mem::take(&mut self.validation);
        let labels = std::mem::take(&mut self.labels);
        for (at, photo) in all.into_iter().enumerate() {
            match at % 2 {
                0 => self.training.push(photo),
                _ => {
                    self.validation.push(photo);
                    self.labels.extend(labels.get(at));
                }
            }
        }
        Ok(())
    }
}
