//! The features of a learner's images: those in memory, and how missing ones are read from the cache folder,
//! or computed and written there.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use burn::tensor::TensorData;
use ocelli_data::random::key as hash_of_text;
use ocelli_data::{Augmentation, Batch, Digest, Normalization, timeline};
use ocelli_nn::{Backbone, Int8Features};

use crate::data::ImageData;
use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::event::{Activity, Event, Observers};
use crate::features::prefix::{FrozenPrefix, Keys, key_of_view, parts};
use crate::features::store::{ActivationStore, Activations};
use crate::model::int8::{for_ranges, ranges_over};
use crate::processes::ProcessGroup;
use crate::processes::shared::{Rows, SharedBatches};

/// The cached features of the frozen layers, for the images of a learner.
#[derive(Clone)]
pub(crate) struct FeatureCache {
    /// The key of the features of training images, from which that of the others follows.
    key: blake3::Hash,
    /// Features of images without augmentation, by the images' digests.
    plain: Activations,
    /// Whether those of training images are among them.
    of_train: bool,
    /// Features of augmented copies of the training images, one set per copy, by [`digest_of_view`].
    views: Vec<Activations>,
}

/// Which features to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Without augmentation.
    Validation,
    /// As in training, in this epoch.
    Training {
        /// Counted over all fits.
        epoch: u64,
    },
}

/// What computes features.
pub(crate) struct Collector<'a, B: Backbone> {
    pub(crate) prefix: FrozenPrefix<'a, B>,
    pub(crate) data: &'a ImageData,
    pub(crate) normalization: Normalization,
    /// The seed of augmented copies.
    pub(crate) seed: u64,
    pub(crate) cache: Option<&'a Path>,
    pub(crate) processes: &'a ProcessGroup,
}

/// The features of one view of the images, while they are collected.
struct ViewFeatures {
    /// The index of the augmented copy; `None` without augmentation.
    view: Option<u64>,
    features: Activations,
    store: Option<ActivationStore>,
    /// Digests of features that are not in the store yet.
    unsaved: Vec<Digest>,
    /// Whether missing ones are computed in 8-bit integers.
    int8: bool,
}

/// Progress of collecting, in images.
#[derive(Default)]
struct CacheProgress {
    total: usize,
    done: usize,
    /// Found in the cache.
    found: usize,
    computed: usize,
    /// Seconds that were spent waiting for decoded images.
    waited: f64,
}

/// Augmented copies are drawn for epochs that training never reaches.
const EPOCH_OF_VIEWS: u64 = 1 << 48;

/// The number of images whose features are written at once; a killed run loses at most as many.
const IMAGES_A_SHARD: usize = 512;

impl ViewFeatures {
    /// The epoch that its augmentation is drawn for.
    fn epoch(&self) -> u64 {
        self.view.map_or(0, |view| EPOCH_OF_VIEWS + view)
    }

    /// Whether there are features of an item.
    fn has(&self, data: &ImageData, item: usize) -> bool {
        self.features.has(&self.digest(data, item))
    }

    fn digest(&self, data: &ImageData, item: usize) -> Digest {
        match self.view {
            None => data.digests[item],
            Some(_) => digest_of_view(data, item),
        }
    }

    /// Reads from the store the features of these images; returns what is wrong with its files.
    fn load(&mut self, data: &ImageData, items: &[usize]) -> Result<Vec<String>> {
        let Some(store) = &self.store else { return Ok(Vec::new()) };
        let digests = items.iter().map(|&item| self.digest(data, item));
        let missing: HashSet<Digest> = digests.filter(|digest| !self.features.has(digest)).collect();
        store.load(&missing, &mut self.features)
    }

    /// Gives other processes the features that they lack, and takes those that this one lacks: caches may
    /// differ.
    fn exchange(&mut self, data: &ImageData, items: &[usize], processes: &ProcessGroup) -> Result<()> {
        if !processes.is_shared() {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let digests = items.iter().map(|&item| self.digest(data, item));
        let digests: Vec<Digest> = digests.filter(|digest| seen.insert(*digest)).collect();
        let has: Vec<u8> = digests.iter().map(|digest| u8::from(self.features.has(digest))).collect();
        let all = processes.all_gather(&has)?;
        // The first process that has an image's features gives them to those that do not.
        let giver = |image: usize| {
            let first = all.iter().position(|has| has.get(image) == Some(&1))?;
            all.iter().any(|has| has.get(image) == Some(&0)).then_some(first)
        };
        let givers: Vec<Option<usize>> = (0..digests.len()).map(giver).collect();
        if givers.iter().all(Option::is_none) {
            return Ok(());
        }
        let rank = processes.rank();
        let given = digests.iter().zip(&givers).filter(|(_, giver)| **giver == Some(rank));
        let mut rows = Vec::new();
        for (digest, _) in given {
            self.features.append_to(&mut rows, digest)?;
        }
        let mut bytes = (self.features.shape.len() as u64).to_le_bytes().to_vec();
        bytes.extend(self.features.shape.iter().flat_map(|side| (*side as u64).to_le_bytes()));
        bytes.extend(rows.iter().flat_map(|value| value.to_le_bytes()));
        for (from, part) in processes.all_gather(&bytes)?.iter().enumerate().filter(|(from, _)| *from != rank)
        {
            let given = digests.iter().zip(&givers).filter(|(_, giver)| **giver == Some(from));
            let given: Vec<Digest> = given.map(|(digest, _)| *digest).collect();
            self.take(&given, part)?.ok_or(Error::ProcessesDiverged { what: "messages", rank: from })?;
        }
        Ok(())
    }

    /// Adds features that another process has sent; `None` where it has sent something else.
    fn take(&mut self, images: &[Digest], part: &[u8]) -> Result<Option<()>> {
        match read_rows(images, part) {
            Some((_, values)) if values.is_empty() => Ok(Some(())),
            Some((shape, values)) => self.features.add(&shape, images, &values).map(Some),
            None => Ok(None),
        }
    }

    /// The first items of those without features, each digest once; and how many different images there are.
    fn missing(&self, data: &ImageData, items: &[usize]) -> (HashSet<usize>, usize) {
        let mut seen = HashSet::new();
        let mut missing = HashSet::new();
        for &item in items {
            let digest = self.digest(data, item);
            if seen.insert(digest) && !self.features.has(&digest) {
                missing.insert(item);
            }
        }
        (missing, seen.len())
    }

    /// Writes the features that are not in the store yet.
    fn save(&mut self, observers: &mut Observers) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let _span = timeline::span("write features");
        if let Err(error) = store.save(&std::mem::take(&mut self.unsaved), &self.features) {
            // Without the cache the run only has to compute them again next time.
            self.store = None;
            let text = format!("{error}; this run goes on without it");
            observers.emit(&Event::Notice { text })?;
        }
        Ok(())
    }
}

/// The shape of an image's features, and those of images, as another process has sent them.
fn read_rows(images: &[Digest], part: &[u8]) -> Option<(Vec<usize>, Vec<f32>)> {
    let (length, rest) = part.split_first_chunk()?;
    let (shape, values) = rest.split_at_checked(8 * usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    if images.is_empty() {
        return Some(Default::default());
    }
    let shape: Vec<usize> =
        shape.as_chunks().0.iter().map(|side| u64::from_le_bytes(*side) as usize).collect();
    let values: Vec<f32> = values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    (values.len() == images.len() * shape.iter().product::<usize>()).then_some((shape, values))
}

/// The identity of an image with augmentation, which depends on its id.
fn digest_of_view(data: &ImageData, item: usize) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&data.digests[item]).update(data.items[item].id.as_bytes());
    *hasher.finalize().as_bytes()
}

impl FeatureCache {
    /// Whether these are features of that key.
    pub(crate) fn is_of(&self, key: &blake3::Hash) -> bool {
        self.key == *key
    }

    /// Whether there are features of this many augmented copies for training.
    pub(crate) fn is_enough(&self, views: usize) -> bool {
        self.views.len() == views && (self.of_train || views > 0)
    }

    /// Whether an item has features.
    pub(crate) fn has(&self, data: &ImageData, item: usize, view: View) -> bool {
        let (features, digest) = self.place(data, item, view);
        features.has(&digest)
    }

    /// Where the features of an item are, if it has any.
    fn place(&self, data: &ImageData, item: usize, view: View) -> (&Activations, Digest) {
        match (view, self.views.len()) {
            (View::Validation, _) | (_, 0) => (&self.plain, data.digests[item]),
            (View::Training { epoch }, views) => {
                // The copies take turns, but not all images use the same one.
                let view = epoch.wrapping_add(hash_of_text(&data.items[item].id)) % views as u64;
                (&self.views[view as usize], digest_of_view(data, item))
            }
        }
    }

    /// The features of these items, which have some: `[items, …]`.
    ///
    /// # Errors
    /// Where they are in a scratch file that cannot be read.
    pub(crate) fn rows(&self, data: &ImageData, items: &[usize], view: View) -> Result<TensorData> {
        let views = self.views.first().filter(|_| view != View::Validation);
        let shape = views.unwrap_or(&self.plain).shape.clone();
        let mut values = Vec::with_capacity(items.len() * shape.iter().product::<usize>());
        for &item in items {
            let (features, digest) = self.place(data, item, view);
            features.append_to(&mut values, &digest)?;
        }
        Ok(TensorData::new(values, [vec![items.len()], shape].concat()))
    }

    /// Some columns of the features of the images without augmentation, as the features of another key; each image's are
    /// written to its store too, if it has one. Also returns whether that went well.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub(crate) fn columns<'a>(
        &self,
        key: blake3::Hash,
        ranges: &[Range<usize>],
        store_of: impl Fn(&Digest) -> Option<&'a ActivationStore>,
    ) -> Result<(Self, Result<()>)> {
        let plain = self.plain.columns(ranges)?;
        let images = plain.images();
        let mut of_stores: Vec<(&ActivationStore, Vec<Digest>)> = Vec::new();
        for image in images {
            let Some(store) = store_of(&image) else { continue };
            match of_stores.iter_mut().find(|(other, _)| std::ptr::eq(*other, store)) {
                Some((_, images)) => images.push(image),
                None => of_stores.push((store, vec![image])),
            }
        }
        let saved = of_stores.iter().try_for_each(|(store, images)| {
            images.chunks(IMAGES_A_SHARD).try_for_each(|images| store.save(images, &plain))
        });
        Ok((Self { key, plain, of_train: self.of_train, views: Vec::new() }, saved))
    }

    /// The features of all images, and of this many augmented copies of training images, or, with 0, of these
    /// without augmentation. `old` are features of the same keys. Also returns the event that reports it.
    pub(crate) fn collect<B: Backbone>(
        old: Option<Self>,
        keys: Keys,
        views: usize,
        collector: &Collector<B>,
        observers: &mut Observers,
    ) -> Result<(Self, Event)> {
        let began = Instant::now();
        let _span = timeline::span("features");
        let Collector { data, seed, .. } = *collector;
        let int8 = collector.prefix.images_for_ranges().is_some();
        let (mut plain, of_train) = match old {
            Some(old) => (old.plain, old.of_train),
            None => (collector.empty(), false),
        };
        let split = &data.split;
        // Validation is by the network itself, whatever computes the features that heads are trained on.
        let without_augmentation = match (views, int8) {
            (0, false) => vec![(keys.train, [&split.train[..], &split.valid].concat(), false)],
            (0, true) => {
                vec![(keys.others, split.valid.clone(), false), (keys.train, split.train.clone(), true)]
            }
            _ => vec![(keys.others, split.valid.clone(), false)],
        };
        let total = split.train.len() * views.max(1) + split.valid.len();
        let mut progress = CacheProgress { total, ..CacheProgress::default() };
        for (key, items, int8) in without_augmentation {
            let mut view = [collector.begin(key, plain, None, int8)];
            collector.fill(items, &mut view, &mut progress, observers)?;
            let [view] = view;
            plain = view.features;
        }
        let copies = (0..views as u64).map(|view| {
            let key = key_of_view(&keys.train, seed, view, data.augmentation());
            collector.begin(key, collector.empty(), Some(view), int8)
        });
        let mut of_views: Vec<ViewFeatures> = copies.collect();
        collector.fill(split.train.clone(), &mut of_views, &mut progress, observers)?;
        let seconds = began.elapsed().as_secs_f64();
        let CacheProgress { found, computed, waited, .. } = progress;
        let of_train = of_train || views == 0;
        let views = of_views.into_iter().map(|view| view.features).collect();
        Ok((
            Self { key: keys.train, plain, of_train, views },
            Event::Features { cached: found, computed, seconds, waited },
        ))
    }
}

impl<B: Backbone> Collector<'_, B> {
    /// The features of no image yet.
    fn empty(&self) -> Activations {
        self.cache.map_or_else(Activations::default, Activations::spilling_to)
    }

    fn begin(&self, key: blake3::Hash, features: Activations, view: Option<u64>, int8: bool) -> ViewFeatures {
        // The code of a custom transform is in no key, so that another one's features would be taken for its
        // own.
        let is_custom = self.data.augmentation().is_some_and(Augmentation::is_custom);
        let cache = self.cache.filter(|_| view.is_none() || !is_custom);
        let store = cache.map(|cache| ActivationStore::new(cache, &key, self.data.decoder().max_pixels));
        ViewFeatures { view, features, store, unsaved: Vec::new(), int8 }
    }

    /// Adds missing features of `items`, for all views: from the cache, or computed and written there. An
    /// image is decoded once for all its views and copies; if one copy of a file cannot be read, the next is
    /// tried, so that each item either has features or is reported.
    fn fill(
        &self,
        mut items: Vec<usize>,
        views: &mut [ViewFeatures],
        progress: &mut CacheProgress,
        observers: &mut Observers,
    ) -> Result<()> {
        self.fill_once(&items, views, progress, observers)?;
        let (found, done) = (progress.found, progress.done);
        loop {
            let before = items.len();
            items.retain(|&item| {
                let is_missing = |view: &ViewFeatures| !view.has(self.data, item);
                !observers.was_skipped(&self.data.items[item].path) && views.iter().any(is_missing)
            });
            if items.is_empty() || items.len() == before {
                return Ok(());
            }
            self.fill_once(&items, views, progress, observers)?;
            (progress.found, progress.done) = (found, done);
        }
    }

    fn fill_once(
        &self,
        items: &[usize],
        views: &mut [ViewFeatures],
        progress: &mut CacheProgress,
        observers: &mut Observers,
    ) -> Result<()> {
        let mut missing = Vec::new();
        for view in views.iter_mut() {
            let _span = timeline::span("read cached features");
            for problem in view.load(self.data, items)? {
                let text = format!("{problem}; its activations are computed again");
                observers.emit(&Event::Notice { text })?;
            }
            view.exchange(self.data, items, self.processes)?;
            let (of_view, different) = view.missing(self.data, items);
            progress.found += different - of_view.len();
            progress.done += items.len() - of_view.len();
            missing.push(of_view);
        }
        let mut samples: Vec<(usize, u64)> = Vec::new();
        for &item in items {
            for (view, missing) in views.iter().zip(&mut missing) {
                // Once, even if an item occurs several times.
                if missing.remove(&item) {
                    samples.push((item, view.epoch()));
                }
            }
        }
        self.compute(samples, views, progress, observers)
    }

    /// Computes the features of items in the epochs of views, and adds them.
    fn compute(
        &self,
        samples: Vec<(usize, u64)>,
        views: &mut [ViewFeatures],
        progress: &mut CacheProgress,
        observers: &mut Observers,
    ) -> Result<()> {
        let device = self.prefix.network.device();
        let mut left = samples.len();
        let int8 = match left > 0 && views.iter().any(|view| view.int8) {
            true => Some(self.int8(observers)?),
            false => None,
        };
        let mut batches = self.batches_of(samples, views)?;
        let mut compute = |batch: &mut Batch| {
            let images = to_tensor(batch, &device);
            let (shape, values) = match &int8 {
                Some(int8) => parts(int8.infer(images)?),
                None => self.prefix.features(images),
            };
            Ok(Rows { shape, values, targets: Vec::new() })
        };
        loop {
            let batch = match batches.next(self.data, &mut compute) {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                // Features that were computed before all processes stopped are written.
                Err(error @ Error::Stopped) => {
                    views.iter_mut().try_for_each(|view| view.save(observers))?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            let mut emitted = observers.emit_skipped(&batch.skipped, self.data);
            if !batch.indices.is_empty() {
                let Rows { shape, values, .. } = &batch.rows;
                let rows = values.chunks_exact(shape.iter().product());
                for ((&item, &epoch), row) in batch.indices.iter().zip(&batch.epochs).zip(rows) {
                    let view = views.iter_mut().find(|view| view.epoch() == epoch).expect("one of the views");
                    let digest = view.digest(self.data, item);
                    view.features.add(shape, &[digest], row)?;
                    // Each process writes what it has computed.
                    if batch.is_own {
                        view.unsaved.push(digest);
                    }
                }
                progress.computed += batch.indices.len();
            }
            progress.waited += batch.waited;
            let seen = batch.indices.len() + batch.skipped.len();
            left -= seen;
            progress.done += seen;
            emitted =
                emitted.and_then(|()| observers.progress(Activity::Features, progress.done, progress.total));
            for view in views.iter_mut() {
                // Computed features are written even when an observer asks to stop.
                if view.unsaved.len() >= IMAGES_A_SHARD || left == 0 || emitted.is_err() {
                    view.save(observers)?;
                }
            }
            emitted?;
        }
        Ok(())
    }

    /// What computes features in 8-bit integers, by the ranges of the network's values on some training images.
    fn int8(&self, observers: &mut Observers) -> Result<Int8Features<B>> {
        let _span = timeline::span("ranges of 8-bit integers");
        let images = self.prefix.images_for_ranges().unwrap_or_default();
        let mut item_of: HashMap<&Digest, usize> = HashMap::new();
        for (item, digest) in self.data.digests.iter().enumerate() {
            item_of.entry(digest).or_insert(item);
        }
        let items = images.iter().filter_map(|image| item_of.get(image).copied()).collect();
        let loader = self.data.loader_with(self.normalization, for_ranges(self.data.loading()))?;
        let network = self.prefix.network;
        let (ranges, count, _) = ranges_over(network, loader.batches(items, 0)?)?;
        if count == 0 {
            let expected = "false: none of the training images that ranges would be found on can be read";
            return Err(Error::setting("int8", true, expected));
        }
        let text =
            format!("features of training images are computed in 8-bit integers; ranges by {count} of them");
        observers.emit(&Event::Notice { text })?;
        Ok(Int8Features::new(network, ranges, [self.data.size(); 2])?)
    }

    fn batches_of(&self, samples: Vec<(usize, u64)>, views: &[ViewFeatures]) -> Result<SharedBatches> {
        let Self { data, normalization, seed, .. } = *self;
        let loader = match views.iter().any(|view| view.view.is_some()) {
            true => data.training_loader(None, normalization, seed, data.batch_size())?,
            false => data.loader(normalization)?,
        };
        SharedBatches::new(&loader, samples, data.batch_size(), 0, self.processes)
    }
}
