//! Whether an exported file computes what its model computes, by running it in another engine.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_data::decode::Probe;
use ocelli_data::{Draws, Framing, Preprocessing, Purpose, RgbImage, Task};
use ocelli_nn::graph::{Output, UNKNOWN_SCORE};
use ocelli_nn::{Backbone, Graph, Network, Precision};
use ocelli_onnx::{self as onnx, Engine};
use ocelli_tflite::{Images, Interpreter};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::export::ExportPhotos;
use crate::metric::predictions::probabilities;
use crate::metric::temperature::apply_temperature;
use crate::model::Model;
use crate::model::int8::{PHOTOS_FOR_RANGES, spread_over};

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
    /// What the difference may be; nothing is said of 8-bit files, which are judged by their accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// Of 8-bit files, where the photos' classes are known: the model's accuracy on these photos, and the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<[f64; 2]>,
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
    /// Where the file resizes: what changes if photos are decoded at their whole size, as other programs do, and not at a
    /// half, a quarter or an eighth of it, as Ocelli does with large JPEGs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<WholePhotos>,
}

/// What the file gives for photos that are decoded at their whole size, beside what the model gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WholePhotos {
    /// The photos that Ocelli decodes at a reduced size.
    pub photos: usize,
    /// The largest difference of probabilities (of outputs, for features) in them.
    pub difference: f64,
    /// Those with the same most probable class.
    pub same_class: usize,
}

/// What is accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// This difference of logits, as a part of their spread.
    Difference(f64),
    /// Such a loss of accuracy; where classes are unknown, such a part of the photos that become another class.
    Accuracy(f64),
}

/// The most photos that are tried.
const PHOTOS: usize = 32;
/// Noise, black and white.
const MADE_UP: usize = 3;
/// The most multiplications that the slow interpreter of TFLite files is given: some ten seconds' work.
const MULTIPLICATIONS: usize = 16_000_000_000;
/// The most photos that accuracy is measured on.
const PHOTOS_FOR_ACCURACY: usize = 200;
/// The most grey levels that resized pixels may differ by, but for one in a thousand: images more than twice as long as
/// wide are resized in another order.
const GREY_LEVELS: f64 = 2.0;
/// See [`GREY_LEVELS`].
const PIXELS: f64 = 0.999;

/// A check that is to be made.
pub(super) struct Check<'a, B: Backbone> {
    pub model: &'a Model<B>,
    pub graph: &'a Graph,
    pub input: onnx::Input,
    pub output: Output,
    pub temperature: f64,
    pub bound: Bound,
    pub format: Format,
}

/// What kind of file is checked. TFLite files take images of the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Onnx,
    Tflite,
}

/// What runs a file.
enum Runner {
    Onnx(Box<Engine>),
    /// With the names of the values that are compared.
    Tflite(Interpreter, Vec<&'static str>),
}

impl Format {
    /// The name of what runs the file.
    fn engine(self) -> &'static str {
        match self {
            Self::Onnx => Engine::NAME,
            Self::Tflite => Interpreter::NAME,
        }
    }
}

impl Runner {
    /// The values for an image, of pixels or of normalised floats, in rows of pixels: `[height, width, 3]`.
    fn run(&self, image: Images, [height, width]: [usize; 2]) -> Result<Vec<Vec<f32>>> {
        let shape = [1, 3, height, width];
        Ok(match (self, image) {
            (Self::Tflite(interpreter, names), image) => interpreter.run(image, names)?,
            (Self::Onnx(engine), Images::Pixels(pixels)) => engine.run(&channels_first(pixels), shape)?,
            (Self::Onnx(engine), Images::Floats(sample)) => engine.run(&channels_first(sample), shape)?,
        })
    }
}

/// A file that is compared, ready to run.
struct Candidate<B: Backbone> {
    /// The model's network, in 32 bits.
    network: Network<B>,
    runner: Runner,
    /// Only what resizes in the file, where it does.
    resizing: Option<Engine>,
}

/// What the model gives for one image.
struct Outputs {
    logits: Vec<f32>,
    features: Vec<f32>,
}

/// What one image gives.
struct Compared {
    /// Of the engine, then of the model: logits, or features.
    outputs: [Vec<f32>; 2],
    /// Of the engine, then of the model; for features what the model's head makes of them.
    probabilities: [Vec<f32>; 2],
    /// Of the engine, then of the model: the unknown score, where the file gives it.
    unknown: Option<[f32; 2]>,
    /// Differences of resized pixels, in grey levels.
    grey_levels: Vec<f32>,
}

impl<B: Backbone> Check<'_, B> {
    /// Compares a file with the model.
    pub fn run(&self, file: &[u8], photos: &ExportPhotos) -> Result<Agreement> {
        let candidate = self.candidate(file)?;
        let (most, made_up) = match (self.bound, self.format) {
            (Bound::Accuracy(_), _) => (PHOTOS_FOR_ACCURACY, 0),
            (_, Format::Onnx) => (PHOTOS, MADE_UP),
            (_, Format::Tflite) => self.in_time(),
        };
        let mut reason = None;
        let (mut compared, mut labels, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for at in spread_over(photos.validation.len(), most) {
            if compared.len() == most {
                break;
            }
            match self.image(&photos.validation[at]) {
                Ok(image) => {
                    let one = self.compare(&candidate, &image)?;
                    whole.extend(self.whole(&candidate, &photos.validation[at], &image, &one)?);
                    compared.push(one);
                    labels.extend(photos.labels.get(at));
                }
                Err(error) => reason = reason.or(Some(error.to_string())),
            }
        }
        if compared.is_empty() {
            return Err(Error::NoPhotosToCheck { reason });
        }
        let count = compared.len();
        // Steps of integers are made for photos.
        for image in self.made_up().into_iter().take(made_up) {
            compared.push(self.compare(&candidate, &image)?);
        }
        let mut agreement = self.judge(&compared, count, &labels)?;
        if let onnx::Input::AnySize(_) = self.input {
            let pairs = whole.iter().map(|pair: &[Vec<f32>; 2]| pair);
            agreement.whole = Some(WholePhotos {
                photos: whole.len(),
                difference: largest_of(pairs.clone().map(largest_difference)),
                same_class: pairs.filter(|[found, expected]| best(found) == best(expected)).count(),
            });
        }
        Ok(agreement)
    }

    /// Of a photo that was decoded at a reduced size: what the file gives for the whole photo, and what the model gives for
    /// the reduced one. Nothing of others.
    fn whole(
        &self,
        candidate: &Candidate<B>,
        photo: &Path,
        reduced: &RgbImage,
        compared: &Compared,
    ) -> Result<Option<[Vec<f32>; 2]>> {
        if candidate.resizing.is_none() {
            return Ok(None);
        }
        let decoder = self.model.decoder();
        let is_whole = |probe: Probe| (probe.width, probe.height) == (reduced.width(), reduced.height());
        if decoder.probe_file(photo).is_ok_and(is_whole) {
            return Ok(None);
        }
        let Ok(image) = decoder.decode_file(photo) else { return Ok(None) };
        let mut found = candidate.runner.run(Images::Pixels(image.pixels()), sides(&image))?;
        // Logits, then probabilities where the file gives these.
        let at = usize::from(matches!(
            self.output,
            Output::Probabilities { .. } | Output::ProbabilityOfEach { .. }
        ));
        let expected = if at == 1 { &compared.probabilities[1] } else { &compared.outputs[1] };
        Ok(Some([found.swap_remove(at), expected.clone()]))
    }

    /// How many photos and made-up images the slow interpreter computes: of each one at least.
    fn in_time(&self) -> (usize, usize) {
        let images = (MULTIPLICATIONS / self.graph.multiply_adds().max(1)).max(2);
        let made_up = MADE_UP.min(images / 2);
        ((images - made_up).min(PHOTOS), made_up)
    }

    /// The ranges of the file's values on photos.
    pub fn ranges(&self, file: &onnx::Model, photos: &[PathBuf]) -> Result<onnx::Ranges> {
        let mut reason = None;
        let places = spread_over(photos.len(), PHOTOS_FOR_RANGES);
        let mut images = places
            .filter_map(|at| match self.image(&photos[at]) {
                Ok(image) => Some(image),
                Err(error) => {
                    reason = reason.take().or(Some(error.to_string()));
                    None
                }
            })
            .take(PHOTOS_FOR_RANGES)
            .peekable();
        let some = images.peek().is_some();
        let shape = |image: &RgbImage| [1, 3, image.height() as usize, image.width() as usize];
        let ranges = match self.input {
            onnx::Input::Normalized => {
                file.ranges(images.map(|image| (channels_first(&self.normalized(&image)), shape(&image))))?
            }
            _ => file.ranges(images.map(|image| (channels_first(image.pixels()), shape(&image))))?,
        };
        if some { Ok(ranges) } else { Err(Error::NoPhotosToCheck { reason }) }
    }

    fn judge(&self, compared: &[Compared], photos: usize, labels: &[usize]) -> Result<Agreement> {
        let expected = || compared.iter().flat_map(|one| &one.outputs[1]).map(|value| f64::from(*value));
        let spread = expected().fold(f64::MIN, f64::max) - expected().fold(f64::MAX, f64::min);
        let largest = |of: fn(&Compared) -> &[Vec<f32>; 2]| {
            largest_of(compared.iter().map(|one| largest_difference(of(one))))
        };
        // All alike where there is one class: then differences count as they are.
        let difference = largest(|one| &one.outputs) / if spread > 0.0 { spread } else { 1.0 };
        let same = |one: &&Compared| best(&one.probabilities[0]) == best(&one.probabilities[1]);
        let is_labelled = labels.len() == photos;
        let accuracy = |of: usize| {
            let right = compared.iter().zip(labels);
            let right = right.filter(|(one, label)| best(&one.probabilities[of]) == Some(**label)).count();
            right as f64 / photos as f64
        };
        let bound = match self.bound {
            Bound::Difference(bound) => Some(bound),
            Bound::Accuracy(_) => None,
        };
        let agreement = Agreement {
            engine: self.format.engine().to_owned(),
            photos,
            made_up: compared.len() - photos,
            difference,
            bound,
            accuracy: (bound.is_none() && is_labelled).then(|| [accuracy(1), accuracy(0)]),
            probabilities: largest(|one| &one.probabilities),
            same_class: compared.iter().filter(same).count(),
            unknown_score: unknown_score(compared),
            grey_levels: grey_levels(compared),
            whole: None,
        };
        match self.bound {
            Bound::Difference(bound) => self.check_difference(&agreement, bound)?,
            Bound::Accuracy(bound) => check_accuracy(&agreement, bound)?,
        }
        if let Some(levels) = agreement.grey_levels.filter(|levels| exceeds(*levels, GREY_LEVELS + 0.01)) {
            return Err(Error::Disagreement {
                what: "resized pixels",
                found: format!("{levels:.1} grey levels"),
                bound: format!("{GREY_LEVELS}"),
                engine: self.format.engine(),
            });
        }
        Ok(agreement)
    }

    fn check_difference(&self, agreement: &Agreement, bound: f64) -> Result<()> {
        if exceeds(agreement.difference, bound) {
            let what = match self.output {
                Output::Features => "features",
                _ => "logits",
            };
            return Err(Error::Disagreement {
                what,
                found: format!("{:.1e} of their spread", agreement.difference),
                bound: format!("{bound:.0e}"),
                engine: self.format.engine(),
            });
        }
        // Squares of features, and differences of such.
        let bound = 10.0 * bound;
        if let Some(found) = agreement.unknown_score.filter(|found| exceeds(*found, bound)) {
            return Err(Error::Disagreement {
                what: "unknown scores",
                found: format!("{found:.1e} of their spread"),
                bound: format!("{bound:.0e}"),
                engine: self.format.engine(),
            });
        }
        Ok(())
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

    fn candidate(&self, file: &[u8]) -> Result<Candidate<B>> {
        let mut values = match self.output {
            Output::Probabilities { .. } | Output::ProbabilityOfEach { .. } => {
                vec!["logits", "probabilities"]
            }
            output => vec![output.name()],
        };
        values.extend(self.model.unknown_score().map(|_| UNKNOWN_SCORE));
        let resizing = match self.input {
            onnx::Input::AnySize(_) => {
                let mut alone = self.graph.clone();
                alone.nodes.clear();
                (alone.features, alone.logits) = (0, 0);
                let options = onnx::Options { input: self.input, ..onnx::Options::default() };
                Some(Engine::load(&onnx::Model::new(&alone, &options)?.to_bytes())?)
            }
            _ => None,
        };
        let network = self.model.network.clone().fork(&Device::flex().autodiff());
        let runner = match self.format {
            Format::Onnx => Runner::Onnx(Box::new(Engine::load_values(file, &values)?)),
            Format::Tflite => Runner::Tflite(Interpreter::load(file)?, values),
        };
        Ok(Candidate { network: network.with_precision(Precision::F32), runner, resizing })
    }

    /// An image of the model's size, normalised, in rows of pixels.
    fn normalized(&self, image: &RgbImage) -> Vec<f32> {
        // Nothing is resized any more: an image of this size stays as it is.
        let as_it_is = Preprocessing { framing: Framing::Squish, ..*self.preprocessing() };
        let mut sample = vec![0.0; as_it_is.sample_len()];
        as_it_is.apply(image, &mut sample).expect("it has the model's size");
        sample
    }

    /// An image through engine and model. Where the file resizes: pixels by Ocelli and by the file's own nodes; then the
    /// network on the latter, and the whole file.
    fn compare(&self, candidate: &Candidate<B>, image: &RgbImage) -> Result<Compared> {
        let Candidate { network, runner, resizing } = candidate;
        let Some(resizing) = resizing else {
            let sample = self.normalized(image);
            let given = match self.input {
                onnx::Input::Normalized => Images::Floats(&sample),
                _ => Images::Pixels(image.pixels()),
            };
            let found = runner.run(given, sides(image))?;
            return Ok(self.compared(network, found, self.outputs(network, channels_first(&sample))));
        };
        let [height, width] = sides(image);
        let resized = resizing.run(&channels_first(image.pixels()), [1, 3, height, width])?.swap_remove(0);
        let preprocessing = self.preprocessing();
        let mut sample = vec![0.0; preprocessing.sample_len()];
        preprocessing.apply(image, &mut sample)?;
        let own = channels_first(&sample);
        let area = self.size() * self.size();
        let levels =
            own.iter().zip(&resized).enumerate().map(|(at, (own, resized))| {
                (own - resized).abs() * preprocessing.normalization.std[at / area]
            });
        let grey_levels = levels.collect();
        let mut compared = self.compared(
            network,
            runner.run(Images::Pixels(image.pixels()), sides(image))?,
            self.outputs(network, resized),
        );
        // Of what the file computes, beside what the model itself does from the photo.
        compared.probabilities[1] = self.probabilities(&self.outputs(network, own).logits);
        Ok(Compared { grey_levels, ..compared })
    }

    /// `found` are the engine's logits or features, its probabilities where the file gives these, and the unknown score
    /// where the model has one.
    fn compared(&self, network: &Network<B>, mut found: Vec<Vec<f32>>, model: Outputs) -> Compared {
        let score = self.model.unknown_score().filter(|_| found.len() > 1);
        let unknown =
            score.and_then(|score| Some([*found.pop()?.first()?, *score.of(&model.features).first()?]));
        let given = (found.len() > 1).then(|| found.swap_remove(1));
        let found = found.swap_remove(0);
        let of_model = self.probabilities(&model.logits);
        let (of_engine, expected) = match self.output {
            // What the model's own head makes of them.
            Output::Features => {
                let features =
                    Tensor::<2>::from_data(TensorData::new(found.clone(), [1, found.len()]), &Device::flex());
                (self.probabilities(&values(network.infer_head(features))), model.features)
            }
            _ => (given.unwrap_or_else(|| self.probabilities(&found)), model.logits),
        };
        Compared {
            outputs: [found, expected],
            probabilities: [of_engine, of_model],
            unknown,
            grey_levels: Vec::new(),
        }
    }

    /// What the model gives for a normalised image, channels first.
    fn outputs(&self, network: &Network<B>, sample: Vec<f32>) -> Outputs {
        let data = TensorData::new(sample, [1, 3, self.size(), self.size()]);
        let image = Tensor::<4>::from_data(data, &Device::flex());
        let pooled = network.infer_features(image);
        Outputs { logits: values(network.infer_head(pooled.clone())), features: values(pooled) }
    }

    fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        let task: Task = self.model.config().task;
        let mut row = probabilities(task, logits);
        if self.temperature != 1.0 {
            apply_temperature(task, &mut row, self.temperature);
        }
        row
    }
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("outputs are f32")
}

fn check_accuracy(agreement: &Agreement, bound: f64) -> Result<()> {
    let (measure, before, after) = match agreement.accuracy {
        Some([before, after]) => ("the accuracy", before, after),
        None => {
            let same = agreement.same_class as f64 / agreement.photos as f64;
            ("the part of photos with the same most probable class", 1.0, same)
        }
    };
    match exceeds(before - after, bound) {
        false => Ok(()),
        true => Err(Error::QuantizationLoss { measure, before, after, photos: agreement.photos, bound }),
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
    let largest = if pairs.is_empty() { return None } else { largest_of(differences) };
    Some(if most > least { largest / (most - least) } else { largest })
}

/// The difference that all pixels have at most, but for one in a thousand.
fn grey_levels(compared: &[Compared]) -> Option<f64> {
    let mut levels: Vec<f32> = compared.iter().flat_map(|one| one.grey_levels.iter().copied()).collect();
    levels.sort_by(f32::total_cmp);
    let last = levels.len().checked_sub(1)?;
    Some(f64::from(levels[(last as f64 * PIXELS) as usize]))
}

/// The place of the largest number.
fn best(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]))
}

fn largest_difference([found, expected]: &[Vec<f32>; 2]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let differences = found.iter().zip(expected).map(|(found, expected)| f64::from((found - expected).abs()));
    largest_of(differences)
}

/// The largest difference; NaN where one is, which `max` would leave out.
fn largest_of(differences: impl Iterator<Item = f64>) -> f64 {
    differences.fold(0.0, |largest, next| if largest.is_nan() || next <= largest { largest } else { next })
}

/// Rows and columns of an image.
fn sides(image: &RgbImage) -> [usize; 2] {
    [image.height() as usize, image.width() as usize]
}

/// `[height, width, 3]` as `[3, height, width]`.
fn channels_first<T: Copy>(pixels: &[T]) -> Vec<T> {
    (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_no_agreement() {
        assert_eq!(largest_of([0.5, 2.0, 1.0].into_iter()), 2.0);
        for place in 0..3 {
            let mut differences = [1.0, 2.0, 3.0];
            differences[place] = f64::NAN;
            assert!(exceeds(largest_of(differences.into_iter()), 1e9));
        }
        assert!(exceeds(largest_difference(&[vec![0.0, f32::NAN], vec![0.0, 1.0]]), 1e9));
        assert!(exceeds(largest_difference(&[vec![0.0], vec![0.0, 1.0]]), 1e9));
    }

    #[test]
    fn photos_are_spread_over_all_and_each_is_taken_once() {
        for (length, most) in [(0, 32), (1, 32), (20, 32), (32, 32), (33, 32), (100, 32), (1000, 32)] {
            let places: Vec<usize> = spread_over(length, most).collect();
            let mut sorted = places.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..length), "{length}");
            let first = &places[..places.len().min(most)];
            assert!(length < 2 * most || first.iter().any(|&place| place > length / 2), "{length}");
        }
    }
}
