//! A folder of photos, read, split and checked, before anything is computed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ocelli_data::{
    BadImages, Dataset, Digest, Filter, Framing, Items, Loader, LoaderOptions, Normalization, Preprocessing,
    Skipped, Split, check_classes, digests, source, split,
};

use crate::Result;

/// Photos with labels, divided into those to train on and those to measure on.
///
/// Made by [`ImageData::from_folder`].
#[derive(Debug, Clone)]
pub struct ImageData {
    pub(crate) items: Arc<Items>,
    pub(crate) split: Split,
    pub(crate) digests: Arc<Vec<Digest>>,
    skipped: Vec<Skipped>,
    notices: Vec<String>,
    own_split: bool,
    size: usize,
    framing: Framing,
    filter: Filter,
    loading: LoaderOptions,
}

/// How photos are read. Finish with [`load`](ImageDataBuilder::load).
#[derive(Debug, Clone)]
pub struct ImageDataBuilder {
    root: PathBuf,
    size: usize,
    framing: Framing,
    filter: Filter,
    valid: f64,
    seed: u64,
    loading: LoaderOptions,
}

/// Images of one class in each part of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// Images to train on.
    pub train: usize,
    /// Images to measure on.
    pub valid: usize,
}

impl ImageData {
    /// Photos in `root/train/CLASS/` and `root/valid/CLASS/`, or in `root/CLASS/`; see
    /// [`ocelli_data::source::folder`].
    pub fn from_folder(root: impl AsRef<Path>) -> ImageDataBuilder {
        ImageDataBuilder {
            root: root.as_ref().to_owned(),
            size: 224,
            framing: Framing::Crop { fraction: 1.0 },
            filter: Filter::Bicubic,
            valid: 0.2,
            seed: 0,
            loading: LoaderOptions::default(),
        }
    }

    /// The names of the classes, in the order of a model's outputs.
    pub fn classes(&self) -> &[String] {
        self.items.classes.names()
    }

    /// How many images of each class there are.
    pub fn class_counts(&self) -> Vec<ClassCount> {
        let train = self.items.class_counts(&self.split.train);
        let valid = self.items.class_counts(&self.split.valid);
        let counts = train.into_iter().zip(valid);
        let named = self.classes().iter().zip(counts);
        named.map(|(class, (train, valid))| ClassCount { class: class.clone(), train, valid }).collect()
    }

    /// The number of images to train on.
    pub fn train_len(&self) -> usize {
        self.split.train.len()
    }

    /// The number of images to measure on.
    pub fn valid_len(&self) -> usize {
        self.split.valid.len()
    }

    /// All items, of which the [`split`](Self::split) holds indices.
    pub fn items(&self) -> &Items {
        &self.items
    }

    /// Which items are trained on and which are held out.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Whether the folders themselves say what is held out.
    pub fn has_own_split(&self) -> bool {
        self.own_split
    }

    /// Files and folders that were left out, sorted by path.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// What people should know before they trust a result, a sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The side in pixels of the images that the network sees.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Images a batch.
    pub fn batch_size(&self) -> usize {
        self.loading.batch_size
    }

    /// From file to network, for a network that wants this normalisation.
    pub(crate) fn preprocessing(&self, normalization: Normalization) -> Preprocessing {
        Preprocessing { size: self.size, framing: self.framing, filter: self.filter, normalization }
    }

    pub(crate) fn loader(&self, normalization: Normalization) -> Result<Loader> {
        Ok(Loader::new(self.items.clone(), self.preprocessing(normalization), self.loading)?)
    }
}

impl ImageDataBuilder {
    /// The side in pixels of the square images that the network sees, 1 to 8192. Default 224.
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// How a photo becomes a square. Default: the shorter side to the size, the centre kept.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// How photos are resized. Default bicubic, antialiased, as most backbones were trained.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// The share of every class that is held out where the folders do not say, above 0 and below 1. Default 0.2.
    pub fn valid(mut self, fraction: f64) -> Self {
        self.valid = fraction;
        self
    }

    /// The seed of the split. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Images a batch, at least 2. Default 64.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.loading.batch_size = images;
        self
    }

    /// Threads that decode; 0, the default: one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.loading.threads = threads;
        self
    }

    /// What to do about images that cannot be decoded. Default: leave them out and list them.
    pub fn bad_images(mut self, policy: BadImages) -> Self {
        self.loading.bad_images = policy;
        self
    }

    /// Reads names, splits, hashes every file, and makes sure that every class has an image that can be decoded.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data), which names the folder or file and says what to do.
    pub fn load(self) -> Result<ImageData> {
        self.preprocessing_is_valid()?;
        if self.loading.batch_size < 2 {
            return Err(crate::Error::Setting {
                name: "the batch size",
                value: self.loading.batch_size.to_string(),
                expected: "at least 2: batch norm needs more than one image",
            });
        }
        let threads = self.loading.threads;
        let Dataset { items, split: own, mut skipped, mut notices } = source::folder::read(&self.root)?;
        let digests = digests(&items, threads, || ())?;
        let own_split = own.is_some();
        let split = match own {
            Some(split) => split,
            None => split::stratified(&items, &digests, self.valid, self.seed)?,
        };
        notices.extend(shared_images(&digests, &split));
        let bad = check_classes(&items, &split.train, &self.loading.decoder, threads)?;
        if let (BadImages::Fail, Some(bad)) = (self.loading.bad_images, bad.first()) {
            return Err(crate::Error::State {
                found: format!("{} {}", bad.path.display(), bad.reason),
                advice: "remove it, or let bad images be skipped",
            });
        }
        // Images found bad here are met again, and listed, when their batch is made.
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(ImageData {
            items: Arc::new(items),
            split,
            digests: Arc::new(digests),
            skipped,
            notices,
            own_split,
            size: self.size,
            framing: self.framing,
            filter: self.filter,
            loading: self.loading,
        })
    }

    fn preprocessing_is_valid(&self) -> Result<()> {
        let Self { size, framing, filter, .. } = *self;
        // Any valid normalisation: the network's own comes later.
        let preprocessing = Preprocessing { size, framing, filter, normalization: Normalization::IMAGENET };
        Ok(preprocessing.validate()?)
    }
}

/// A warning where images to measure on are also trained on, as in splits that the folders give.
fn shared_images(digests: &[Digest], split: &Split) -> Option<String> {
    let trained: BTreeMap<&Digest, usize> = split.train.iter().map(|&item| (&digests[item], item)).collect();
    let shared = split.valid.iter().filter(|&&item| trained.contains_key(&digests[item])).count();
    (shared > 0).then(|| {
        format!("{shared} of the validation images are byte for byte among the training images, so the accuracy is too high")
    })
}
