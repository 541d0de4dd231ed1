//! Features of photos (embeddings): what a backbone, or its first stages, computes of each, pooled.

pub(crate) mod nearest;
pub(crate) mod npy;
pub(crate) mod output;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use ocelli_data::{
    BadImages, Batches, Decoder, Digest, Filter, Framing, Items, Loader, LoaderOptions, Normalization,
    Preprocessing, RgbImage, Skipped, files,
};
use ocelli_nn::{AnyBackbone, Arch, Backbone, Network, Precision};
use rayon::prelude::*;

use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::features::prefix::FrozenPrefix;
use crate::features::store::{ActivationStore, Activations};
use crate::model::finite::check_finite_of;
use crate::model::samples::{Sample, batch_of};
use crate::model::{Model, unlabelled};
use crate::pretrained::pretrained_weights;

/// Computes features of photos: the backbone of a trained model or of the registry without a classifier.
///
/// ```
/// use ocelli::{Arch, Embedder};
///
/// # fn main() -> ocelli::Result<()> {
/// let embedder = Embedder::pretrained(Arch::EfficientNetLite0, Some(64), None)?;
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji/flags/de.png");
/// for embedding in embedder.embed([photo])? {
///     assert_eq!(embedding?.features.len(), embedder.features());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Embedder<B: Backbone = AnyBackbone> {
    network: Network<B>,
    /// The backbone's name.
    arch: String,
    preprocessing: Preprocessing,
    loading: LoaderOptions,
    /// The number of stages that run; the output of the last one is pooled.
    stages: usize,
}

/// The features of a photo.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Embedding {
    /// The photo.
    pub path: PathBuf,
    /// Its features.
    pub features: Vec<f32>,
}

/// The features of a set of photos.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Embeddings {
    /// The photos that could be read, in the order given.
    pub paths: Vec<PathBuf>,
    /// Their features, row by row: `[photos, features]`.
    pub features: Vec<f32>,
    /// The photos that could not be read, with the reason.
    pub skipped: Vec<Skipped>,
    /// How many of the features were in the cache.
    pub cached: usize,
}

/// Photos whose computed features are written to the cache at once.
const PHOTOS_A_SHARD: usize = 512;

impl Embedder {
    /// A pretrained backbone of the registry; `size` is the image size in pixels if it is not the backbone's
    /// own, and `cache` the cache folder if it is not the default one. Photos are resized and cropped as in
    /// training by default, and normalised as the backbone requires. Nothing is downloaded.
    ///
    /// # Errors
    /// [`Error::NoWeights`] where the weights are not on this machine; [`Error::ImageSize`] where images are
    /// too small for the backbone.
    pub fn pretrained(arch: Arch, size: Option<usize>, cache: Option<&Path>) -> Result<Self> {
        let info = arch.info();
        let size = size.unwrap_or(info.size);
        if size < info.smallest {
            let arch = info.name.to_owned();
            return Err(Error::ImageSize { arch, size, smallest: info.smallest });
        }
        let weights = pretrained_weights(arch, cache)?;
        let dropped = arch.dropped_tensors(&weights);
        let used = weights.names().filter(|name| !dropped.contains(name));
        check_finite_of(&weights, used, weights.origin())?;
        // The head is never run; its number of classes is any.
        let network = arch.transfer(&weights, 2, 0, &Device::flex())?.with_precision(Precision::fastest());
        let preprocessing = Preprocessing {
            size,
            framing: Framing::Crop { fraction: 1.0 },
            filter: Filter::Bicubic,
            normalization: Normalization { mean: info.mean, std: info.std },
        };
        preprocessing.validate()?;
        Ok(Self::new(network, info.name, preprocessing, LoaderOptions::default()))
    }
}

impl<B: Backbone> Embedder<B> {
    fn new(network: Network<B>, arch: &str, preprocessing: Preprocessing, loading: LoaderOptions) -> Self {
        let stages = network.backbone().stages();
        Self { network, arch: arch.to_owned(), preprocessing, loading, stages }
    }

    /// The backbone of a model, with the model's preprocessing and precision.
    pub fn of_model(model: &Model<B>) -> Self {
        let config = model.config();
        Self::new(model.network.clone(), &config.arch, config.preprocessing, model.loading())
    }

    /// Pools the output of another stage than the last: its number, from 1, or the name of a part of the
    /// network, as in the names of its tensors, such as `blocks.3`; the stage is then the one in which that
    /// part ends.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`].
    pub fn layer(mut self, layer: &str) -> Result<Self> {
        let all = self.network.backbone().stages();
        let tensors = self.network.to_tensors();
        let of_backbone: Vec<&str> = tensors.names().filter(|name| !name.starts_with("head.")).collect();
        let found = match layer.parse::<usize>() {
            Ok(number) => Some(number).filter(|number| (1..=all).contains(number)),
            Err(_) => {
                let prefix = format!("{layer}.");
                let inside = of_backbone.iter().filter(|name| name.starts_with(&prefix));
                inside.map(|name| self.network.backbone().stage_of(name) + 1).max()
            }
        };
        let Some(stages) = found else {
            // The longest common part of the names in each stage.
            let parts = (0..all).filter_map(|stage| {
                let mut names =
                    of_backbone.iter().filter(|name| self.network.backbone().stage_of(name) == stage);
                let first = names.next()?;
                let common = names.fold(*first, |common, name| {
                    let same = common.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
                    &common[..same]
                });
                let end = common.rfind('.').unwrap_or(common.len());
                Some(common[..end].to_owned()).filter(|part| !part.is_empty())
            });
            let mut parts: Vec<String> = parts.collect();
            parts.dedup();
            return Err(Error::NoSuchLayer { layer: layer.to_owned(), stages: all, parts });
        };
        self.stages = stages;
        Ok(self)
    }

    /// The number of decoding threads; 0, the default: one per core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.loading.threads = threads;
        self
    }

    /// The largest photo that is read, in pixels; default: Pillow's limit.
    pub fn max_pixels(mut self, pixels: u64) -> Self {
        self.loading.decoder.max_pixels = pixels;
        self
    }

    /// Sets another precision of activations; features then differ slightly.
    pub fn precision(self, precision: Precision) -> Self {
        Self { network: self.network.with_precision(precision), ..self }
    }

    /// Moves the network to another device.
    pub fn to_device(mut self, device: &Device) -> Self {
        use burn::module::Module;
        self.network = self.network.fork(&device.clone().autodiff());
        self
    }

    /// The limits of decoding, and what is read of an image.
    pub fn decoder(&self) -> Decoder {
        self.loading.decoder
    }

    /// From a photo to the network's input.
    pub fn preprocessing(&self) -> Preprocessing {
        self.preprocessing
    }

    /// The number of features of a photo.
    pub fn features(&self) -> usize {
        let size = self.preprocessing.size;
        let channels = self.network.input_channels();
        let device = self.network.device();
        let black = burn::tensor::Tensor::<4>::zeros([1, size, size, channels], &device);
        self.prefix().features(black.permute([0, 3, 1, 2])).1.len()
    }

    /// A digest of everything that features depend on, except the photo: the network's weights, the layer,
    /// the preprocessing, the precision, this version and the processor's instruction set.
    pub fn key(&self) -> String {
        self.prefix().key().to_hex()[..32].to_owned()
    }

    fn prefix(&self) -> FrozenPrefix<'_, B> {
        FrozenPrefix {
            network: &self.network,
            backbone: &self.arch,
            boundary: self.stages,
            pooled: true,
            preprocessing: self.preprocessing,
            channels: self.loading.decoder.channels,
            int8: None,
        }
    }

    /// The features of photos, in the order given. A photo that cannot be read gives an error for itself; the
    /// others are not affected. Features do not depend on the other photos, to the bit.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn embed<P: Into<PathBuf>>(
        &self,
        photos: impl IntoIterator<Item = P>,
    ) -> Result<impl Iterator<Item = Result<Embedding>>> {
        let (items, batches) = self.batches(photos.into_iter().map(Into::into).collect(), None)?;
        let mut rows = Rows { embedder: self.clone(), items, batches, next: 0 };
        Ok(std::iter::from_fn(move || rows.next()).flat_map(|batch| match batch {
            Ok(embeddings) => embeddings,
            Err(error) => vec![Err(error)],
        }))
    }

    /// The features of photos, all in memory. Those that the cache folder has are read from there, by the
    /// photos' content, whatever their names, and computed ones are written there. `progress` is called with
    /// the number of photos that are done and of all; it can ask to stop.
    ///
    /// # Errors
    /// [`Error::Stopped`] where `progress` asks to stop; where a thread cannot be started.
    pub fn embed_all(
        &self,
        photos: &[PathBuf],
        cache: Option<&Path>,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Embeddings> {
        let digests: Vec<std::result::Result<Digest, String>> =
            photos.par_iter().map(|path| digest(path)).collect();
        let expected: HashSet<Digest> = digests.iter().flatten().copied().collect();
        let store =
            cache.map(|cache| ActivationStore::new(cache, &self.prefix().key(), self.decoder().max_pixels));
        let mut found = Activations::default();
        if let Some(store) = &store {
            store.load(&expected, &mut found)?;
        }
        let cached = expected.iter().filter(|digest| found.has(digest)).count();
        // Byte-identical photos are computed once.
        let mut seen = HashSet::new();
        let missing: Vec<(PathBuf, Digest)> = photos
            .iter()
            .zip(&digests)
            .filter_map(|(path, digest)| Some((path.clone(), *digest.as_ref().ok()?)))
            .filter(|(_, digest)| !found.has(digest) && seen.insert(*digest))
            .collect();
        let mut reasons: HashMap<Digest, String> = HashMap::new();
        let (mut done, total) = (photos.len() - missing.len(), photos.len());
        let (paths, of_missing): (Vec<PathBuf>, Vec<Digest>) = missing.into_iter().unzip();
        let (items, batches) = self.batches(paths, Some(of_missing.clone()))?;
        let mut rows = Rows { embedder: self.clone(), items, batches, next: 0 };
        let mut unsaved = Vec::new();
        let mut each = of_missing.iter();
        while let Some(batch) = rows.next() {
            for (embedding, digest) in batch?.into_iter().zip(each.by_ref()) {
                match embedding {
                    Ok(Embedding { features, .. }) => {
                        found.add(&[features.len()], &[*digest], &features)?;
                        unsaved.push(*digest);
                    }
                    Err(Error::Photo { reason, .. }) => {
                        reasons.insert(*digest, reason);
                    }
                    Err(error) => return Err(error),
                }
                done += 1;
            }
            let stops = progress(done, total).is_break();
            if let Some(store) = &store
                && (unsaved.len() >= PHOTOS_A_SHARD || stops || done == total)
            {
                // Without the cache they only have to be computed again next time.
                let _ = store.save(&std::mem::take(&mut unsaved), &found);
            }
            if stops {
                return Err(Error::Stopped);
            }
        }
        let mut all = Embeddings { cached, ..Embeddings::default() };
        for (path, digest) in photos.iter().zip(digests) {
            let digest = digest.and_then(|digest| match found.has(&digest) {
                true => Ok(digest),
                false => Err(reasons.get(&digest).cloned().unwrap_or_default()),
            });
            match digest {
                Ok(digest) => {
                    all.paths.push(path.clone());
                    found.append_to(&mut all.features, &digest)?;
                }
                Err(reason) => all.skipped.push(Skipped::image(path, reason)),
            }
        }
        Ok(all)
    }

    /// The features of decoded images in memory, in their order: those of [`embed`](Self::embed) for files of these
    /// pixels, to the bit. An error is that of one image.
    ///
    /// # Errors
    /// Where memory is too small.
    pub fn embed_images(&self, images: &[RgbImage]) -> Result<Vec<Result<Vec<f32>>>> {
        let preprocessing = self.preprocessing;
        let samples = images.par_iter().map(|image| {
            let mut values = vec![0.0; preprocessing.sample_len()];
            preprocessing.apply(image, &mut values)?;
            Ok(Sample { values })
        });
        let samples = samples.collect::<Result<Vec<_>>>()?;
        let chunks = samples.chunks(self.loading.batch_size);
        Ok(chunks.flat_map(|samples| self.embed_samples(samples)).collect())
    }

    /// The features of samples that a model has made; an error is that of one sample.
    pub(crate) fn embed_samples(&self, samples: &[Sample]) -> Vec<Result<Vec<f32>>> {
        if samples.is_empty() {
            return Vec::new();
        }
        let mut batch = batch_of(samples, self.preprocessing.size);
        let (_, values) = self.prefix().features(to_tensor(&mut batch, &self.network.device()));
        let rows = values.chunks_exact(values.len() / samples.len());
        rows.enumerate().map(|(index, row)| self.finite(row, &format!("image {}", index + 1))).collect()
    }

    /// A photo's features, which must be finite.
    fn finite(&self, row: &[f32], photo: &str) -> Result<Vec<f32>> {
        match row.iter().find(|value| !value.is_finite()) {
            None => Ok(row.to_vec()),
            Some(&value) => {
                Err(Error::NotFiniteFeatures { network: self.arch.clone(), photo: photo.to_owned(), value })
            }
        }
    }

    fn batches(&self, photos: Vec<PathBuf>, digests: Option<Vec<Digest>>) -> Result<(Arc<Items>, Batches)> {
        let items = Arc::new(unlabelled(photos.into_iter(), ocelli_data::Task::SingleLabel));
        let options = LoaderOptions { bad_images: BadImages::Skip, ..self.loading };
        let mut loader = Loader::new(items.clone(), self.preprocessing, options)?;
        if let Some(digests) = digests {
            loader = loader.expecting(Arc::new(digests));
        }
        let batches = loader.batches((0..items.len()).collect(), 0)?;
        Ok((items, batches))
    }
}

/// The digest of a photo, or why it cannot be read.
fn digest(path: &Path) -> std::result::Result<Digest, String> {
    let hash = match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err("it is not a file".to_owned()),
        Ok(_) => files::hash(path),
        Err(error) => Err(error),
    };
    hash.map(|hash| *hash.as_bytes()).map_err(|error| ocelli_data::io_reason(&error))
}

/// The rows of some photos, batch by batch.
struct Rows<B: Backbone> {
    embedder: Embedder<B>,
    items: Arc<Items>,
    batches: Batches,
    /// The first photo of the next batch.
    next: usize,
}

impl<B: Backbone> Rows<B> {
    /// The features of a batch's photos, in order.
    fn next(&mut self) -> Option<Result<Vec<Result<Embedding>>>> {
        let mut batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error.into())),
        };
        let count = batch.indices.len() + batch.skipped.len();
        let photos = self.next..self.next + count;
        self.next = photos.end;
        let mut skipped = std::mem::take(&mut batch.skipped).into_iter();
        let indices = std::mem::take(&mut batch.indices);
        let values = match indices.is_empty() {
            true => Vec::new(),
            false => {
                let device = self.embedder.network.device();
                self.embedder.prefix().features(to_tensor(&mut batch, &device)).1
            }
        };
        let width = values.len() / indices.len().max(1);
        let mut rows = indices.iter().zip(values.chunks_exact(width.max(1))).peekable();
        let embeddings = photos.map(|photo| {
            let path = self.items[photo].path.clone();
            match rows.next_if(|(index, _)| **index == photo) {
                Some((_, row)) => {
                    let features = self.embedder.finite(row, &path.display().to_string())?;
                    Ok(Embedding { path, features })
                }
                None => {
                    let reason = skipped.next().map(|skipped| skipped.reason).unwrap_or_default();
                    Err(Error::Photo { path, reason })
                }
            }
        });
        Some(Ok(embeddings.collect()))
    }
}
