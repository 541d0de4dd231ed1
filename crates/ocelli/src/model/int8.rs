//! A model whose features are computed in 8-bit integers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Tensor;
use ocelli_data::{BadImages, Batches, Loader, LoaderOptions, files};
use ocelli_nn::{Backbone, Int8Features, Network, Ranges};
use serde::{Deserialize, Serialize};

use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::file;
use crate::model::{Model, unlabelled};
use crate::paths::{INT8_RANGES, model_of};
use crate::run::finished::{FinishedRun, TrainingPhotos};

/// A model's features in 8-bit integers.
#[derive(Debug, Clone)]
pub(crate) struct Int8<B: Backbone> {
    features: Arc<Int8Features<B>>,
    source: Int8Source,
}

/// Where the ranges of a model's [8-bit integers](Model::int8) come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Int8Source {
    /// They were kept in this file.
    Kept(PathBuf),
    /// They were found now.
    Found {
        /// On how many photos.
        photos: usize,
        /// How many more there were to be: photos that cannot be read, training photos that are missing or have changed.
        left_out: usize,
        /// The file that they are kept in from now on.
        kept: Option<PathBuf>,
        /// Why they could not be kept.
        not_kept: Option<String>,
    },
}

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
    /// That of the ranges, by which changes are seen.
    digest: String,
    ranges: Ranges,
}

impl KeptRanges {
    fn new(model: &str, ranges: &Ranges) -> Self {
        let (version, model) = (VERSION.to_owned(), model.to_owned());
        Self { version, model, digest: digest_of(ranges), ranges: ranges.clone() }
    }

    /// The ranges in a file, if they are of this model. A file that is damaged or was changed is as none.
    fn read(path: &Path, model: &str) -> Option<Ranges> {
        let kept: Self = serde_json::from_slice(&files::read(path).ok()?).ok()?;
        let is_whole = kept.digest == digest_of(&kept.ranges);
        (is_whole && kept.model == model && kept.version == VERSION).then_some(kept.ranges)
    }
}

fn digest_of(ranges: &Ranges) -> String {
    let text = serde_json::to_string(ranges).expect("plain values serialise");
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// The numbers below `length`, each once, in an order whose first `most` are spread over all.
pub(crate) fn spread_over(length: usize, most: usize) -> impl Iterator<Item = usize> {
    let step = length.div_ceil(most).max(1);
    (0..step).flat_map(move |first| (first..length).step_by(step))
}

/// The options of a loader of photos that ranges are found on.
pub(crate) fn for_ranges(loading: LoaderOptions) -> LoaderOptions {
    LoaderOptions { bad_images: BadImages::Skip, batch_size: RECORDED_TOGETHER, ..loading }
}

/// The ranges of a network's values on the photos of these batches, on how many, and why the first of the others cannot be
/// read.
pub(crate) fn ranges_over<B: Backbone>(
    network: &Network<B>,
    batches: Batches,
) -> Result<(Ranges, usize, Option<String>)> {
    let (mut ranges, mut reason, mut count) = (Ranges::default(), None, 0);
    for batch in batches {
        let mut batch = batch?;
        reason = reason.or(batch.skipped.first().map(|skipped| skipped.reason.clone()));
        if !batch.indices.is_empty() {
            count += batch.indices.len();
            ranges.merge(&network.ranges(to_tensor(&mut batch, &network.device()))?);
        }
    }
    Ok((ranges, count, reason))
}

impl Model {
    /// [8-bit integers](Self::int8) by the training photos of the model's run, given the model's file or the folder of its
    /// run. Where all of them are there, the ranges are kept beside the model in `int8-ranges.json`, if it can be written,
    /// and taken from it from then on, also where the two files are alone.
    ///
    /// # Errors
    /// As [`int8`](Self::int8) and [`FinishedRun::images`]; [`Error::NoPhotosForRanges`] also where the file is alone.
    pub fn int8_of_run(self, model: impl AsRef<Path>) -> Result<Self> {
        self.check_cpu()?;
        let file = model_of(model.as_ref())?;
        let path = file.with_file_name(INT8_RANGES);
        let digest = self.digest.clone();
        if let Some(ranges) = digest.as_deref().and_then(|digest| KeptRanges::read(&path, digest)) {
            return self.int8_by(ranges, Int8Source::Kept(path));
        }
        let Some(run) = FinishedRun::of_model(&file)? else { return self.int8(&[]) };
        let TrainingPhotos { photos, missing, trouble } = run.training_photos()?;
        if photos.is_empty() {
            let missing = || format!("of its run {missing} training images are missing or have changed");
            let reason = Some(trouble.unwrap_or_else(missing));
            return Err(Error::NoPhotosForRanges { model: self.origin, reason });
        }
        // As in training, whatever photos may be predicted.
        let options = LoaderOptions { decoder: self.config.decoder(), ..self.loading };
        let (ranges, count, unreadable) = self.ranges(&photos, options)?;
        let left_out = missing + unreadable;
        let source = Int8Source::Found { photos: count, left_out, kept: None, not_kept: None };
        let mut model = self.int8_by(ranges, source)?;
        // What is unchanged and unreadable was so in training.
        if let (Some(digest), 0) = (digest, missing)
            && let Some(Int8 { features, source: Int8Source::Found { kept, not_kept, .. } }) = &mut model.int8
        {
            let text = serde_json::to_string_pretty(&KeptRanges::new(&digest, features.ranges()));
            match file::write_whole(&path, text.expect("plain values serialise").as_bytes()) {
                Ok(()) => *kept = Some(path),
                Err(error) => *not_kept = Some(error.to_string()),
            }
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
        self.check_cpu()?;
        let (ranges, count, left_out) = self.ranges(photos, self.loading)?;
        let source = Int8Source::Found { photos: count, left_out, kept: None, not_kept: None };
        self.int8_by(ranges, source)
    }

    /// [8-bit integers](Self::int8) by these ranges.
    fn int8_by(mut self, ranges: Ranges, source: Int8Source) -> Result<Self> {
        let size = [self.config.preprocessing.size; 2];
        let features = Arc::new(Int8Features::new(&self.network, ranges, size)?);
        self.int8 = Some(Int8 { features, source });
        Ok(self)
    }

    fn check_cpu(&self) -> Result<()> {
        match ocelli_nn::op::is_cpu(&self.network.device()) {
            true => Ok(()),
            false => Err(Error::Int8Device { model: self.origin.clone() }),
        }
    }

    /// Whether features are computed in [8-bit integers](Self::int8).
    pub fn is_int8(&self) -> bool {
        self.int8.is_some()
    }

    /// Where the ranges of [8-bit integers](Self::int8) come from.
    pub fn int8_source(&self) -> Option<&Int8Source> {
        self.int8.as_ref().map(|int8| &int8.source)
    }

    /// A digest of the ranges that the [8-bit integers](Self::int8) are by.
    pub(crate) fn int8_digest(&self) -> Option<String> {
        self.int8.as_ref().map(|int8| digest_of(int8.features.ranges()))
    }

    /// What computes features.
    pub(crate) fn feature_network(&self) -> FeatureNetwork<B> {
        match &self.int8 {
            Some(int8) => FeatureNetwork::Int8(int8.features.clone()),
            None => FeatureNetwork::Float(self.network.clone()),
        }
    }

    /// The ranges of the network's values on some of these photos, on how many, and how many could not be read.
    fn ranges(&self, photos: &[PathBuf], loading: LoaderOptions) -> Result<(Ranges, usize, usize)> {
        let places: Vec<usize> =
            spread_over(photos.len(), PHOTOS_FOR_RANGES).take(PHOTOS_FOR_RANGES).collect();
        let some = places.iter().map(|place| photos[*place].clone());
        let items = Arc::new(unlabelled(some, self.config.task));
        let options = for_ranges(loading);
        let loader = Loader::new(items, self.config.preprocessing, options)?;
        let (ranges, count, reason) =
            ranges_over(&self.network, loader.batches((0..places.len()).collect(), 0)?)?;
        match count {
            0 => Err(Error::NoPhotosForRanges { model: self.origin.clone(), reason }),
            _ => Ok((ranges, count, places.len() - count)),
        }
    }
}
