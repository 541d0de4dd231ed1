//! A model whose features are computed in 8-bit integers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Tensor;
use ocelli_data::{BadImages, Loader, LoaderOptions, files};
use ocelli_nn::{Backbone, Int8Features, Network, Ranges};
use serde::{Deserialize, Serialize};

use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::file;
use crate::model::{Model, unlabelled};
use crate::paths::INT8_RANGES;
use crate::run::finished::FinishedRun;

/// What computes a model's features.
#[derive(Debug)]
pub(crate) enum FeatureNetwork<B: Backbone> {
    /// The network itself.
    Float(Network<B>),
    /// Its features in 8-bit integers.
    Int8(Arc<Int8Features<B>>),
}

impl<B: Backbone> FeatureNetwork<B> {
    /// The pooled features of images, `[images, features]`.
    pub fn infer(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Float(network) => network.infer_features(images),
            Self::Int8(features) => {
                features.infer(images).expect("a network that was recorded for images of this size")
            }
        }
    }
}

/// The most photos that ranges are found on.
pub(crate) const PHOTOS_FOR_RANGES: usize = 100;
/// Photos that are recorded together: all of their values are in memory at once.
const RECORDED_TOGETHER: usize = 4;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The ranges of a network's values, as they are kept in the folder of a run.
#[derive(Serialize, Deserialize)]
struct KeptRanges {
    /// The version of Ocelli: values of another one may have other names.
    version: String,
    /// The digest of the model.
    model: String,
    ranges: Ranges,
}

impl KeptRanges {
    /// The ranges in a file, if they are of this model. A file that is damaged is as none.
    fn read(path: &Path, model: &str) -> Option<Ranges> {
        let kept: Self = serde_json::from_slice(&files::read(path).ok()?).ok()?;
        (kept.model == model && kept.version == VERSION).then_some(kept.ranges)
    }
}

/// The numbers below `length`, each once, in an order whose first `most` are spread over all.
pub(crate) fn spread_over(length: usize, most: usize) -> impl Iterator<Item = usize> {
    let step = length.div_ceil(most).max(1);
    (0..step).flat_map(move |first| (first..length).step_by(step))
}

impl Model {
    /// [8-bit integers](Self::int8) by the training photos of the model's run, given the model's file or the folder of its
    /// run. The ranges are kept there in `int8-ranges.json`, if it can be written, and taken from it from then on.
    ///
    /// # Errors
    /// As [`int8`](Self::int8) and [`FinishedRun::training_photos`]; [`Error::NoPhotosForRanges`] also where the file is
    /// alone.
    pub fn int8_of_run(self, model: impl AsRef<Path>) -> Result<Self> {
        let Some(run) = FinishedRun::of_model(model)? else { return self.int8(&[]) };
        let path = run.folder.join(INT8_RANGES);
        let digest = self.digest.clone();
        if let Some(ranges) = digest.as_deref().and_then(|digest| KeptRanges::read(&path, digest)) {
            return self.int8_by(ranges);
        }
        let photos = run.training_photos()?;
        if photos.is_empty() {
            let reason = Some("the training images of its run are not where they were".to_owned());
            return Err(Error::NoPhotosForRanges { model: self.origin, reason });
        }
        let model = self.int8(&photos)?;
        if let (Some(model_digest), Some(features)) = (digest, &model.int8) {
            let ranges = features.ranges().clone();
            let kept = KeptRanges { version: VERSION.to_owned(), model: model_digest, ranges };
            let text = serde_json::to_string_pretty(&kept).expect("finite numbers serialise");
            // Where it cannot be written, they are found again next time.
            let _ = file::write_whole(&path, text.as_bytes());
        }
        Ok(model)
    }
}

impl<B: Backbone> Model<B> {
    /// Computes features in 8-bit integers from now on, and classifies them in 32 bits: static quantization, weights by
    /// output channel (those of depthwise convolutions stay in 32 bits), activations by the smallest and the largest number
    /// of each value on up to 100 of these photos, which should be training photos. Photos that cannot be read are left out.
    ///
    /// Predictions differ from those of the model a little. On processors without bf16 it is faster; the guide has figures.
    ///
    /// # Errors
    /// [`Error::NoPhotosForRanges`] where no photo can be read; [`Error::Int8Device`] where the model is not on the CPU;
    /// [`Error::Network`] where its network is no convolutional network, or its values are not finite.
    pub fn int8(self, photos: &[PathBuf]) -> Result<Self> {
        if !ocelli_nn::op::is_cpu(&self.network.device()) {
            return Err(Error::Int8Device { model: self.origin });
        }
        let ranges = self.ranges(photos)?;
        self.int8_by(ranges)
    }

    /// [8-bit integers](Self::int8) by these ranges.
    fn int8_by(mut self, ranges: Ranges) -> Result<Self> {
        if !ocelli_nn::op::is_cpu(&self.network.device()) {
            return Err(Error::Int8Device { model: self.origin });
        }
        let size = [self.config.preprocessing.size; 2];
        self.int8 = Some(Arc::new(Int8Features::new(&self.network, ranges, size)?));
        Ok(self)
    }

    /// Whether features are computed in [8-bit integers](Self::int8).
    pub fn is_int8(&self) -> bool {
        self.int8.is_some()
    }

    /// A digest of the ranges that the [8-bit integers](Self::int8) are by.
    pub(crate) fn int8_digest(&self) -> Option<String> {
        let ranges = self.int8.as_ref()?.ranges();
        let text = serde_json::to_string(ranges).expect("plain values serialise");
        Some(blake3::hash(text.as_bytes()).to_hex().to_string())
    }

    /// What computes features.
    pub(crate) fn feature_network(&self) -> FeatureNetwork<B> {
        match &self.int8 {
            Some(features) => FeatureNetwork::Int8(features.clone()),
            None => FeatureNetwork::Float(self.network.clone()),
        }
    }

    /// The ranges of the network's values on some of these photos.
    fn ranges(&self, photos: &[PathBuf]) -> Result<Ranges> {
        let places: Vec<usize> =
            spread_over(photos.len(), PHOTOS_FOR_RANGES).take(PHOTOS_FOR_RANGES).collect();
        let some = places.iter().map(|place| photos[*place].clone());
        let items = Arc::new(unlabelled(some, self.config.task));
        let options =
            LoaderOptions { bad_images: BadImages::Skip, batch_size: RECORDED_TOGETHER, ..self.loading };
        let loader = Loader::new(items, self.config.preprocessing, options)?;
        let (mut ranges, mut reason, mut count) = (Ranges::default(), None, 0);
        for batch in loader.batches((0..places.len()).collect(), 0)? {
            let mut batch = batch?;
            reason = reason.or(batch.skipped.first().map(|skipped| skipped.reason.clone()));
            if !batch.indices.is_empty() {
                count += batch.indices.len();
                ranges.merge(&self.network.ranges(to_tensor(&mut batch, &self.network.device()))?);
            }
        }
        match count {
            0 => Err(Error::NoPhotosForRanges { model: self.origin.clone(), reason }),
            _ => Ok(ranges),
        }
    }
}
