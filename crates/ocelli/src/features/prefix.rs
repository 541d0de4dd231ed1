//! The frozen part of a network, and the cache key of everything that its features depend on.

use std::collections::HashSet;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use ocelli_data::{Augmentation, Channels, Digest, Preprocessing};
use ocelli_nn::{Backbone, Network};

use crate::features::store::ActivationStore;

/// The stages of a network before the first trainable one, and the preprocessing.
pub(crate) struct FrozenPrefix<'a, B: Backbone> {
    pub(crate) network: &'a Network<B>,
    /// The backbone's name.
    pub(crate) backbone: &'a str,
    /// The first trainable stage.
    pub(crate) boundary: usize,
    /// Whether all stages are frozen, so that their output is pooled.
    pub(crate) pooled: bool,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) channels: Channels,
    /// Where the features of training images are to be computed in 8-bit integers: the images that ranges are found on.
    pub(crate) int8: Option<Vec<Digest>>,
}

/// The keys of everything that features depend on, except the image.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    /// Of training images, where they may be computed in 8-bit integers.
    pub(crate) train: blake3::Hash,
    /// Of other images.
    pub(crate) others: blake3::Hash,
}

impl<B: Backbone> FrozenPrefix<'_, B> {
    /// The features of images: the shape of one image's, and all values, row by row.
    pub(crate) fn features(&self, images: Tensor<4>) -> (Vec<usize>, Vec<f32>) {
        if self.is_whole() {
            return parts(self.network.infer_features(images));
        }
        let maps = self.network.infer_stages(images, 0, self.boundary).maps;
        if self.pooled { parts(self.network.pool(maps)) } else { parts(maps) }
    }

    /// The keys of the features of training images, and of others. The ranges of 8-bit integers follow from the latter and
    /// from the images that they are found on.
    pub(crate) fn keys(&self) -> Keys {
        let others = self.key();
        let Some(images) = self.images_for_ranges() else { return Keys { train: others, others } };
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"int8").update(others.as_bytes());
        images.iter().for_each(|image| {
            hasher.update(image);
        });
        Keys { train: hasher.finalize(), others }
    }

    /// The images that the ranges of 8-bit integers are found on; `None` where the features of training images are as the
    /// others: there are integers for pooled features alone.
    pub(crate) fn images_for_ranges(&self) -> Option<&[Digest]> {
        self.int8.as_deref().filter(|_| self.is_whole())
    }

    /// Whether features are what the head takes.
    fn is_whole(&self) -> bool {
        self.pooled && self.boundary == self.network.backbone().stages()
    }

    /// The key of everything that features depend on, except the image.
    pub(crate) fn key(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        // Earlier formats may hold features of photos that had been replaced by others.
        add(b"ocelli activations, form 4");
        add(self.backbone.as_bytes());
        // The kernels of another version may round differently.
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(computed_by(&self.network.device()).as_bytes());
        add(self.network.precision().to_string().as_bytes());
        add(serde_json::to_string(&self.preprocessing).expect("plain values serialise").as_bytes());
        add(serde_json::to_string(&self.channels).expect("plain values serialise").as_bytes());
        add(&[u8::from(self.pooled)]);
        add(&(self.boundary as u64).to_le_bytes());
        if self.is_whole() {
            self.network.depths().iter().for_each(|depth| add(&(*depth as u64).to_le_bytes()));
        }
        let tensors = self.network.to_tensors();
        for name in tensors.names().filter(|name| !name.starts_with("head.")) {
            if self.network.backbone().stage_of(name) < self.boundary {
                let tensor = tensors.get(name).expect("a listed name");
                add(name.as_bytes());
                let values: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                add(&values);
            }
        }
        hasher.finalize()
    }

    /// The fraction of these images, for training and others, whose features are in the cache folder.
    pub(crate) fn cached_fraction(
        &self,
        cache: &Path,
        max_pixels: u64,
        [train, others]: [HashSet<Digest>; 2],
    ) -> f64 {
        let store = |key| ActivationStore::new(cache, &key, max_pixels);
        let keys = self.keys();
        // An image that is in both has the others' features.
        let of_train = train.difference(&others).copied().collect();
        let count = match self.images_for_ranges() {
            None => store(keys.train).count(&train.union(&others).copied().collect()),
            Some(_) => store(keys.train).count(&of_train) + store(keys.others).count(&others),
        };
        count as f64 / train.union(&others).count().max(1) as f64
    }
}

/// The key of the features of one augmented copy of each image; `key` is that without augmentation.
pub(crate) fn key_of_view(
    key: &blake3::Hash,
    seed: u64,
    view: u64,
    augmentation: Option<&Augmentation>,
) -> blake3::Hash {
    let augmentation = serde_json::to_vec(&augmentation).expect("plain values serialise");
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes()).update(&seed.to_le_bytes()).update(&view.to_le_bytes());
    hasher.update(&augmentation);
    hasher.finalize()
}

/// What rounding depends on: the CPU's kernels, or the device.
fn computed_by(device: &Device) -> String {
    if *device == Device::flex() { ocelli_kernels::Isa::current().to_string() } else { format!("{device:?}") }
}

/// The shape of one row, and all values.
pub(crate) fn parts<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<f32>) {
    let shape = tensor.dims()[1..].to_vec();
    // Maps may be bf16, which f32 holds exactly.
    (shape, tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32"))
}
