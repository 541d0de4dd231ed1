//! Images in memory: from bytes or pixels to the network's input, and from there to predictions and features. The two
//! steps are apart so that a program can decode some images while the network computes others.

use std::path::PathBuf;

use ocelli_data::{Batch, RgbImage};
use ocelli_nn::Backbone;

use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::prediction::{Answers, Prediction, outputs};
use crate::model::tta::TtaMean;

/// An image as a model's network takes it: decoded, resized, cropped and normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// `[size, size, 3]`
    pub(crate) values: Vec<f32>,
}

/// The path of an image in memory, in errors.
const IN_MEMORY: &str = "the image in memory";

fn refused(reason: String) -> Error {
    Error::Photo { path: PathBuf::from(IN_MEMORY), reason }
}

/// Samples as one batch.
pub(crate) fn batch_of(samples: &[Sample], size: usize) -> Batch {
    let images: Vec<f32> = samples.iter().flat_map(|sample| sample.values.iter().copied()).collect();
    Batch {
        indices: (0..samples.len()).collect(),
        epochs: vec![0; samples.len()],
        images: images.into(),
        shape: [samples.len(), size, size, 3],
        skipped: Vec::new(),
    }
}

impl<B: Backbone> Model<B> {
    /// Decodes an image file in memory, as the model's own images: large JPEGs at a reduced scale.
    ///
    /// # Errors
    /// [`Error::Photo`] where the bytes cannot be read as an image.
    pub fn decode(&self, bytes: &[u8]) -> Result<RgbImage> {
        let needed = self.config().preprocessing.needed();
        self.decoder().decode_for(bytes, needed).map_err(|reason| refused(reason.to_string()))
    }

    /// A decoded image as the network takes it.
    ///
    /// # Errors
    /// Where memory is too small.
    pub fn sample(&self, image: &RgbImage) -> Result<Sample> {
        let preprocessing = self.config().preprocessing;
        let mut values = vec![0.0; preprocessing.sample_len()];
        preprocessing.apply(image, &mut values)?;
        Ok(Sample { values })
    }

    /// A sample of values that another program has resized, cropped and normalised: `[size, size, 3]`, row by row.
    ///
    /// # Errors
    /// [`Error::Photo`] where there are more or fewer values, or one is not finite.
    pub fn sample_of_values(&self, values: Vec<f32>) -> Result<Sample> {
        let expected = self.config().preprocessing.sample_len();
        if values.len() != expected {
            return Err(refused(format!("{} values are given; expected {expected}", values.len())));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(refused(format!("{value} is among its values, and all must be finite"))),
            None => Ok(Sample { values }),
        }
    }

    /// The predictions of samples, in their order, computed together, with empty paths. A sample's probabilities do not
    /// depend on the others, and are those of [`predict`](Self::predict) for the image's file, to the bit.
    ///
    /// An error is that of one sample: [`Error::NotFiniteOutput`] where the network computes something that is not
    /// finite.
    pub fn predict_samples(&self, samples: &[Sample]) -> Vec<Result<Prediction>> {
        let answers = self.answers(TtaMean::default());
        let features = self.feature_network();
        let mut rows = Vec::with_capacity(samples.len());
        for samples in samples.chunks(self.loading.batch_size) {
            let mut batch = batch_of(samples, self.config().preprocessing.size);
            let (logits, scores) = outputs(&self.network, &features, self.unknown.as_ref(), &mut batch);
            for (index, row) in logits.chunks_exact(self.config().classes.len()).enumerate() {
                let photo = format!("image {}", rows.len() + 1);
                let probabilities = answers.probabilities(&[(1.0, row)], &photo);
                rows.push(probabilities.map(|probabilities| {
                    let Answers { task, classes, thresholds, min_probability, .. } = answers.clone();
                    let (path, unknown) = (PathBuf::new(), scores.get(index).copied());
                    Prediction { path, classes, probabilities, task, thresholds, min_probability, unknown }
                }));
            }
        }
        rows
    }

    /// The features of samples, in their order: those of [`Embedder::embed`] for the images' files, to the bit.
    ///
    /// An error is that of one sample: [`Error::NotFiniteFeatures`].
    pub fn embed_samples(&self, samples: &[Sample]) -> Vec<Result<Vec<f32>>> {
        let embedder = Embedder::of_model(self);
        let chunks = samples.chunks(self.loading.batch_size);
        chunks.flat_map(|samples| embedder.embed_samples(samples)).collect()
    }

    /// The prediction of one image in memory, such as an upload: `bytes` are those of a JPEG, PNG or other
    /// image file. It is that of [`predict`](Self::predict) for a file of these bytes, to the bit, with an
    /// empty path.
    ///
    /// # Errors
    /// [`Error::Photo`] where the bytes cannot be read as an image; [`Error::NotFiniteOutput`] where the
    /// network computes something that is not finite.
    pub fn predict_bytes(&self, bytes: &[u8]) -> Result<Prediction> {
        self.predict_image(&self.decode(bytes)?)
    }

    /// The prediction of one decoded image in memory, with an empty path: `rgb` holds its rows from the top,
    /// three bytes per pixel (red, green, blue), without padding.
    ///
    /// Pixels are taken as they are: upright, in sRGB. A grey image has the same value three times: a model that
    /// was trained on grey photos takes them so, too. For a model that reads [other bands or another range of
    /// values](crate::ModelConfig::channels), use [`predict_bytes`](Self::predict_bytes).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = ocelli::Model::load("model.safetensors")?;
    /// // From the crate `image`: image::open("garden.jpg")?.into_rgb8(), with its width(), height() and as_raw().
    /// let (width, height, pixels) = (2, 1, [255, 0, 0, 0, 0, 255]);
    /// println!("{}", model.predict_pixels(width, height, &pixels)?.best().class);
    /// // From a camera's grey values:
    /// let grey = [10, 200];
    /// let pixels: Vec<u8> = grey.iter().flat_map(|&value| [value; 3]).collect();
    /// println!("{}", model.predict_pixels(width, height, &pixels)?.best().class);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Photo`] where there are not `width · height · 3` bytes, or a side is 0;
    /// [`Error::NotFiniteOutput`] where the network computes something that is not finite.
    pub fn predict_pixels(&self, width: u32, height: u32, rgb: &[u8]) -> Result<Prediction> {
        self.predict_image(&image_of(width, height, rgb.to_vec())?)
    }

    pub(crate) fn predict_image(&self, image: &RgbImage) -> Result<Prediction> {
        self.predict_samples(&[self.sample(image)?]).remove(0)
    }

    /// The probabilities of every class for images in memory, one row each, calibrated where
    /// [`predict`](Self::predict)'s are. They are those of the files, to the bit, if the images were decoded
    /// with [`decode`](Self::decode): large JPEGs are decoded at a reduced scale.
    ///
    /// # Errors
    /// [`Error::NotFiniteOutput`] where an output of the network is not finite.
    pub fn predict_images(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>> {
        let mut rows = Vec::with_capacity(images.len());
        for images in images.chunks(self.loading.batch_size) {
            let samples = images.iter().map(|image| self.sample(image)).collect::<Result<Vec<_>>>()?;
            for prediction in self.predict_samples(&samples) {
                rows.push(prediction?.probabilities);
            }
        }
        Ok(rows)
    }
}

/// An image of pixels in memory.
fn image_of(width: u32, height: u32, rgb: Vec<u8>) -> Result<RgbImage> {
    let given = rgb.len();
    RgbImage::new(width, height, rgb).ok_or_else(|| {
        refused(format!(
            "{given} bytes are given for {width} × {height} pixels; expected width · height · 3, and sides of at least 1"
        ))
    })
}
