//! Whether an exported file computes what its model computes, by running it in another engine.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_data::{Draws, Framing, Preprocessing, Purpose, RgbImage, Task};
use ocelli_nn::{Backbone, Graph, Network, Precision};
use ocelli_onnx::{self as onnx, Engine};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::predictions::probabilities;
use crate::metric::temperature::apply_temperature;
use crate::model::Model;

/// How far an exported file and its model agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Agreement {
    /// The engine that ran the file.
    pub engine: String,
    /// The photos that both were given.
    pub photos: usize,
    /// The made-up images beside them: noise, black, white.
    pub made_up: usize,
    /// The largest difference of logits (of features, where the file gives these), as a part of their spread over all
    /// images.
    pub difference: f64,
    /// What the difference may be.
    pub bound: f64,
    /// The largest difference of probabilities.
    pub probabilities: f64,
    /// The images with the same most probable class, of all.
    pub same_class: usize,
    /// The largest difference of the unknown score, as a part of its spread over all images, where the file gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_score: Option<f64>,
    /// Where the file resizes: how far 999 of 1,000 pixel values at least are from Ocelli's own, in grey levels of 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grey_levels: Option<f64>,
}

/// The most photos that are tried.
const PHOTOS: usize = 32;
/// The most grey levels that resized pixels may differ by, but for one in a thousand: images more than twice as long as
/// wide are resized in another order.
const GREY_LEVELS: f64 = 2.0;
/// See [`GREY_LEVELS`].
const PIXELS: f64 = 0.999;

/// A check that is to be made.
pub(super) struct Check<'a, B: Backbone> {
    pub model: &'a Model<B>,
    pub graph: &'a Graph,
    pub file: &'a [u8],
    pub input: onnx::Input,
    pub output: onnx::Output,
    pub temperature: f64,
    pub bound: f64,
}

/// What one image gives.
struct Compared {
    /// Of the engine, then of the model: logits, or features.
    outputs: [Vec<f32>; 2],
    /// Of the engine, then of the model; empty for features.
    probabilities: [Vec<f32>; 2],
    /// Of the engine, then of the model: the unknown score, where the file gives it.
    unknown: Option<[f32; 2]>,
    /// Differences of resized pixels, in grey levels.
    grey_levels: Vec<f32>,
}

impl<B: Backbone> Check<'_, B> {
    pub fn run(&self, photos: &[PathBuf]) -> Result<Agreement> {
        let mut reason = None;
        let mut images = Vec::new();
        // Spread over all that are given.
        let step = photos.len().div_ceil(PHOTOS).max(1);
        for photo in photos.iter().step_by(step).chain(photos.iter().skip(1).step_by(step)) {
            if images.len() == PHOTOS {
                break;
            }
            match self.image(photo) {
                Ok(image) => images.push(image),
                Err(error) => reason = reason.or(Some(error.to_string())),
            }
        }
        if images.is_empty() {
            return Err(Error::NoPhotosToCheck { reason });
        }
        let count = images.len();
        images.extend(self.made_up());
        let network =
            self.model.network.clone().fork(&Device::flex().autodiff()).with_precision(Precision::F32);
        let compared = match self.input {
            onnx::Input::AnySize(_) => self.compare_resized(&network, &images)?,
            _ => self.compare_all(&network, &images)?,
        };
        self.judge(&compared, count)
    }

    fn judge(&self, compared: &[Compared], photos: usize) -> Result<Agreement> {
        let expected = || compared.iter().flat_map(|one| &one.outputs[1]).map(|value| f64::from(*value));
        let spread = expected().fold(f64::MIN, f64::max) - expected().fold(f64::MAX, f64::min);
        let largest = |of: fn(&Compared) -> &[Vec<f32>; 2]| {
            compared.iter().map(|one| largest_difference(of(one))).fold(0.0, f64::max)
        };
        // All alike where there is one class: then differences count as they are.
        let difference = largest(|one| &one.outputs) / if spread > 0.0 { spread } else { 1.0 };
        let best = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        let same = |one: &&Compared| best(&one.probabilities[0]) == best(&one.probabilities[1]);
        let agreement = Agreement {
            engine: Engine::NAME.to_owned(),
            photos,
            made_up: compared.len() - photos,
            difference,
            bound: self.bound,
            probabilities: largest(|one| &one.probabilities),
            same_class: compared.iter().filter(same).count(),
            unknown_score: unknown_score(compared),
            grey_levels: grey_levels(compared),
        };
        if exceeds(agreement.difference, self.bound) {
            let what = match self.output {
                onnx::Output::Features => "features",
                _ => "logits",
            };
            return Err(Error::Disagreement {
                what,
                found: format!("{:.1e} of their spread", agreement.difference),
                bound: format!("{:.0e}", self.bound),
                engine: Engine::NAME,
            });
        }
        // Squares of features, and differences of such.
        let bound = 10.0 * self.bound;
        if let Some(found) = agreement.unknown_score.filter(|found| exceeds(*found, bound)) {
            return Err(Error::Disagreement {
                what: "unknown scores",
                found: format!("{found:.1e} of their spread"),
                bound: format!("{bound:.0e}"),
                engine: Engine::NAME,
            });
        }
        if let Some(levels) = agreement.grey_levels.filter(|levels| exceeds(*levels, GREY_LEVELS + 0.01)) {
            return Err(Error::Disagreement {
                what: "resized pixels",
                found: format!("{levels:.1} grey levels"),
                bound: format!("{GREY_LEVELS}"),
                engine: Engine::NAME,
            });
        }
        Ok(agreement)
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.model.config().preprocessing
    }

    fn size(&self) -> usize {
        self.preprocessing().size
    }

    /// A photo as the file is given it: of the model's size, unless the file resizes.
    fn image(&self, photo: &Path) -> Result<RgbImage> {
        let (preprocessing, decoder) = (self.preprocessing(), self.model.decoder());
        Ok(match self.input {
            onnx::Input::AnySize(_) => {
                let image = decoder.decode_file_for(photo, preprocessing.needed())?;
                // A JPEG at a reduced scale remembers its true extent, which an array of pixels has not.
                let (width, height) = (image.width(), image.height());
                RgbImage::new(width, height, image.into_pixels()).expect("it had as many pixels")
            }
            _ => preprocessing.frame_file(photo, &decoder)?,
        })
    }

    /// Noise, black and white; of another size than the model's where the file resizes.
    fn made_up(&self) -> Vec<RgbImage> {
        let size = self.size() as u32;
        let (width, height) = match self.input {
            onnx::Input::AnySize(_) => (size + size / 3 + 1, size + 1),
            _ => (size, size),
        };
        let length = width as usize * height as usize * 3;
        let mut draws = Draws::new(0, Purpose::Noise, 0, 0);
        let noise = (0..length).map(|_| draws.below(256) as u8).collect();
        let all: [Vec<u8>; 3] = [noise, vec![0; length], vec![255; length]];
        all.into_iter().filter_map(|pixels| RgbImage::new(width, height, pixels)).collect()
    }

    fn engine(&self) -> Result<Engine> {
        let mut values = match self.output {
            onnx::Output::Probabilities { .. } | onnx::Output::ProbabilityOfEach { .. } => {
                vec!["logits", "probabilities"]
            }
            output => vec![output.name()],
        };
        values.extend(self.model.unknown_score().map(|_| "unknown_score"));
        Ok(Engine::load_values(self.file, &values)?)
    }

    /// Images of the model's size through engine and model.
    fn compare_all(&self, network: &Network<B>, images: &[RgbImage]) -> Result<Vec<Compared>> {
        // Nothing is resized any more: an image of this size stays as it is.
        let as_it_is = Preprocessing { framing: Framing::Squish, ..*self.preprocessing() };
        let engine = self.engine()?;
        let shape = [1, 3, self.size(), self.size()];
        let compare = |image: &RgbImage| {
            let mut sample = vec![0.0; as_it_is.sample_len()];
            as_it_is.apply(image, &mut sample)?;
            let sample = channels_first(&sample);
            let found = match self.input {
                onnx::Input::Normalized => engine.run(&sample, shape)?,
                _ => engine.run(&channels_first(image.pixels()), shape)?,
            };
            Ok(self.compared(found, self.outputs(network, sample)))
        };
        images.iter().map(compare).collect()
    }

    /// Images of any size: pixels by Ocelli and by the file's own nodes; then the network on the latter, and the whole file.
    fn compare_resized(&self, network: &Network<B>, images: &[RgbImage]) -> Result<Vec<Compared>> {
        let mut alone = self.graph.clone();
        alone.nodes.clear();
        (alone.features, alone.logits) = (0, 0);
        let options = onnx::Options { input: self.input, ..onnx::Options::default() };
        let resizing = Engine::load(&onnx::Model::new(&alone, &options)?.to_bytes())?;
        let engine = self.engine()?;
        let (preprocessing, area) = (self.preprocessing(), self.size() * self.size());
        let compare = |image: &RgbImage| {
            let shape = [1, 3, image.height() as usize, image.width() as usize];
            let pixels = channels_first(image.pixels());
            let resized = resizing.run(&pixels, shape)?.swap_remove(0);
            let mut sample = vec![0.0; preprocessing.sample_len()];
            preprocessing.apply(image, &mut sample)?;
            let own = channels_first(&sample);
            let levels = own.iter().zip(&resized).enumerate().map(|(at, (own, resized))| {
                (own - resized).abs() * preprocessing.normalization.std[at / area]
            });
            let grey_levels = levels.collect();
            let mut compared = self.compared(engine.run(&pixels, shape)?, self.outputs(network, resized));
            if !compared.probabilities[1].is_empty() {
                // Of what the file computes, beside what the model itself does from the photo.
                compared.probabilities[1] = self.probabilities(&self.outputs(network, own).0);
            }
            Ok(Compared { grey_levels, ..compared })
        };
        images.iter().map(compare).collect()
    }

    /// `found` are the engine's logits or features, its probabilities where the file gives these, and the unknown score
    /// where the model has one.
    fn compared(&self, mut found: Vec<Vec<f32>>, (expected, features): (Vec<f32>, Vec<f32>)) -> Compared {
        let score = self.model.unknown_score().filter(|_| found.len() > 1);
        let unknown = score.and_then(|score| Some([*found.pop()?.first()?, *score.of(&features).first()?]));
        let given = (found.len() > 1).then(|| found.swap_remove(1));
        let found = found.swap_remove(0);
        let of_model = self.probabilities(&expected);
        let of_engine = given.unwrap_or_else(|| self.probabilities(&found));
        Compared {
            outputs: [found, expected],
            probabilities: [of_engine, of_model],
            unknown,
            grey_levels: Vec::new(),
        }
    }

    /// The model's logits (or features, where the file gives these) of a normalised image, channels first; and its
    /// features.
    fn outputs(&self, network: &Network<B>, sample: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
        let data = TensorData::new(sample, [1, 3, self.size(), self.size()]);
        let image = Tensor::<4>::from_data(data, &Device::flex());
        let pooled = network.pool(network.infer_stages(image, 0, network.backbone().stages()));
        let values = |tensor: Tensor<2>| tensor.into_data().try_into_vec().expect("outputs are f32");
        match self.output {
            onnx::Output::Features => (values(pooled.clone()), values(pooled)),
            _ => (values(network.infer_head(pooled.clone())), values(pooled)),
        }
    }

    /// None of features.
    fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        if self.output == onnx::Output::Features {
            return Vec::new();
        }
        let task: Task = self.model.config().task;
        let mut row = probabilities(task, logits);
        if self.temperature != 1.0 {
            apply_temperature(task, &mut row, self.temperature);
        }
        row
    }
}

/// Whether a difference is more than it may be; NaN is no agreement.
fn exceeds(difference: f64, bound: f64) -> bool {
    difference.is_nan() || difference > bound
}

/// The largest difference of the unknown score, as a part of its spread.
fn unknown_score(compared: &[Compared]) -> Option<f64> {
    let pairs: Vec<[f64; 2]> =
        compared.iter().filter_map(|one| one.unknown).map(|pair| pair.map(f64::from)).collect();
    let (least, most) = pairs
        .iter()
        .fold((f64::MAX, f64::MIN), |(least, most), pair| (least.min(pair[1]), most.max(pair[1])));
    let differences = pairs.iter().map(|[found, expected]| (found - expected).abs());
    let largest = differences.reduce(|largest, next| if next <= largest { largest } else { next })?;
    Some(if most > least { largest / (most - least) } else { largest })
}

/// The difference that all pixels have at most, but for one in a thousand.
fn grey_levels(compared: &[Compared]) -> Option<f64> {
    let mut levels: Vec<f32> = compared.iter().flat_map(|one| one.grey_levels.iter().copied()).collect();
    levels.sort_by(f32::total_cmp);
    let last = levels.len().checked_sub(1)?;
    Some(f64::from(levels[(last as f64 * PIXELS) as usize]))
}

fn largest_difference([found, expected]: &[Vec<f32>; 2]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let differences = found.iter().zip(expected).map(|(found, expected)| f64::from((found - expected).abs()));
    // As `max` would not, it keeps NaN.
    differences.fold(0.0, |largest, difference| if difference <= largest { largest } else { difference })
}

/// `[height, width, 3]` as `[3, height, width]`.
fn channels_first<T: Copy>(pixels: &[T]) -> Vec<T> {
    (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied()).collect()
}
