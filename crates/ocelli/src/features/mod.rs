//! The output of frozen layers, computed once and trained on again and again.

pub(crate) mod store;

use std::collections::HashSet;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_data::random::key;
use ocelli_data::{Batches, Digest};
use ocelli_nn::Backbone;

use crate::data::Part;
use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::event::{Event, Task};
use crate::features::store::{ActivationStore, Activations};
use crate::learner::Learner;
use crate::recipe::freezing::Freezing;

/// The activations at hand.
pub(crate) struct Kept {
    /// Of what they are the output.
    key: blake3::Hash,
    /// Of images as validation sees them, by the images' digests.
    plain: Activations,
    /// Whether those to train on are among these.
    of_train: bool,
    /// Of the views of images to train on, one set a view, by [`Learner::view_digest`].
    views: Vec<Activations>,
}

/// One way of looking at images, while its activations are gathered.
struct Looked {
    /// Which view; none: plainly.
    view: Option<u64>,
    activations: Activations,
    store: Option<ActivationStore>,
    /// What the store does not hold yet.
    unsaved: Vec<Digest>,
}

impl Looked {
    fn new<B: Backbone>(
        learner: &Learner<B>,
        key: blake3::Hash,
        activations: Activations,
        view: Option<u64>,
    ) -> Self {
        let store = learner.cache.as_ref().map(|cache| ActivationStore::new(cache, &key));
        Self { view, activations, store, unsaved: Vec::new() }
    }

    /// The epoch that its random changes are drawn for.
    fn epoch(&self) -> u64 {
        self.view.map_or(0, |view| EPOCH_OF_VIEWS + view)
    }
}

/// How far the gathering of activations is, in images.
#[derive(Default)]
struct Gathered {
    total: usize,
    done: usize,
    /// Kept already.
    found: usize,
    computed: usize,
}

/// How images are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// As validation sees them.
    Plain,
    /// As training does in this epoch.
    Training,
}

/// Views take their random changes from epochs that no training reaches.
const EPOCH_OF_VIEWS: u64 = 1 << 48;

/// So many images' activations are written at once; a killed run computes at most as many again.
const IMAGES_A_SHARD: usize = 512;

impl<B: Backbone> Learner<B> {
    /// With `true`: computes the frozen groups' output once for every image and trains on it from now on; with
    /// `false`: every epoch starts from the images.
    ///
    /// # Errors
    /// Where nothing is frozen, or an image cannot be used and bad images are to stop the work.
    pub fn precompute(&mut self, precompute: bool) -> Result<()> {
        let frozen = self.freezing.frozen();
        match precompute {
            true => self.precompute_with(Freezing::Cached { frozen, augmented_copies: 0 }),
            false => {
                self.set_freezing(Freezing::Live { frozen });
                Ok(())
            }
        }
    }

    /// Computes the frozen groups' output for so many augmented views of every image to train on, and trains on them
    /// from now on, each epoch on another view of each image: augmentation at the price of some passes over the images
    /// instead of one an epoch. Validation sees the images as they are.
    ///
    /// # Errors
    /// As [`precompute`](Self::precompute); [`Error::NotAugmented`] where the photos are not augmented.
    pub fn precompute_views(&mut self, augmented_copies: usize) -> Result<()> {
        if augmented_copies == 0 {
            return Err(Error::setting("augmented_copies", "0", "at least 1"));
        }
        if self.data.augmentation().is_none() {
            return Err(Error::NotAugmented);
        }
        self.precompute_with(Freezing::Cached { frozen: self.freezing.frozen(), augmented_copies })
    }

    pub(crate) fn precompute_with(&mut self, freezing: Freezing) -> Result<()> {
        if freezing.frozen() == 0 {
            return Err(Error::NothingFrozen);
        }
        self.set_freezing(freezing);
        self.ready_activations()
    }

    /// The first stage that is trained.
    pub(crate) fn border(&self) -> usize {
        self.network.group_starts()[self.freezing.frozen()]
    }

    /// Whether the whole backbone is frozen, so that what is kept is pooled.
    pub(crate) fn pooled(&self) -> bool {
        self.border() == self.network.backbone().stages()
    }

    /// Whether the activations of a part, looked at plainly, are among those that are kept.
    pub(crate) fn keeps(&self, part: Part) -> bool {
        match self.freezing {
            Freezing::Cached { augmented_copies: 0, .. } => part != Part::Test,
            Freezing::Cached { .. } => part == Part::Valid,
            Freezing::Live { .. } => false,
        }
    }

    /// The kept activations of items that have some, as the trained part's input: `[items, …]`.
    pub(crate) fn activations_of(&self, items: &[usize], look: Look) -> TensorData {
        let rows =
            items.iter().map(|&item| self.activations_of_one(item, look).expect("an item that has some"));
        let values = rows.collect::<Vec<&[f32]>>().concat();
        let kept = self.kept.as_ref().expect("activations are ready");
        let shape =
            kept.views.first().filter(|_| look == Look::Training).unwrap_or(&kept.plain).shape.clone();
        TensorData::new(values, [vec![items.len()], shape].concat())
    }

    /// The items that have kept activations: all but bad images.
    pub(crate) fn with_activations(&self, items: &[usize], look: Look) -> Vec<usize> {
        items.iter().copied().filter(|&item| self.activations_of_one(item, look).is_some()).collect()
    }

    fn activations_of_one(&self, item: usize, look: Look) -> Option<&[f32]> {
        let kept = self.kept.as_ref().expect("activations are ready");
        match (look, kept.views.len()) {
            (Look::Plain, _) | (_, 0) => kept.plain.get(&self.data.digests[item]),
            (Look::Training, views) => {
                // Every view in turn, not all images at the same one.
                let view = self.epochs.wrapping_add(key(&self.data.items[item].id)) % views as u64;
                kept.views[view as usize].get(&self.view_digest(item))
            }
        }
    }

    /// The identity of an image where its random changes count, which depend on its id.
    fn view_digest(&self, item: usize) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.data.digests[item]).update(self.data.items[item].id.as_bytes());
        *hasher.finalize().as_bytes()
    }

    pub(crate) fn infer_activations(&self, activations: TensorData) -> Tensor<2> {
        let device = self.network.device();
        if self.pooled() {
            return self.network.infer_head(Tensor::from_data(activations, &device));
        }
        let stages = self.network.backbone().stages();
        let maps = self.network.infer_stages(Tensor::from_data(activations, &device), self.border(), stages);
        self.network.infer_head(self.network.pool(maps))
    }

    /// Whether the pooled activations of the backbone are in the cache folder, but for those of a few images, which may
    /// be bad ones.
    pub(crate) fn has_kept_activations(&mut self) -> bool {
        self.freeze();
        let Some(cache) = &self.cache else { return false };
        let split = &self.data.split;
        let wanted: HashSet<Digest> =
            split.train.iter().chain(&split.valid).map(|&item| self.data.digests[item]).collect();
        let mut kept = Activations::default();
        ActivationStore::new(cache, &self.activation_key()).load(&wanted, &mut kept);
        let found = wanted.iter().filter(|digest| kept.get(digest).is_some()).count();
        found * 20 >= wanted.len() * 19
    }

    /// The backbone's pooled activations of items that have some, row by row: `[items, features]`.
    pub(crate) fn pooled_activations(&mut self, items: &[usize]) -> Result<Vec<f32>> {
        self.freeze();
        self.precompute(true)?;
        let values = self.activations_of(items, Look::Plain).try_into_vec::<f32>();
        Ok(values.expect("activations are f32"))
    }

    /// Makes sure that the activations that training and validation need are at hand: from memory, from the cache
    /// folder, or computed and kept there.
    pub(crate) fn ready_activations(&mut self) -> Result<()> {
        let views = self.freezing.augmented_copies();
        let key = self.activation_key();
        let old = self.kept.take().filter(|kept| kept.key == key);
        if old.as_ref().is_some_and(|kept| kept.views.len() == views && (kept.of_train || views > 0)) {
            self.kept = old;
            return Ok(());
        }
        let began = Instant::now();
        let (mut plain, of_train) = old.map_or_else(Default::default, |kept| (kept.plain, kept.of_train));
        let split = &self.data.split;
        let train = split.train.clone();
        let seen_plainly = if views == 0 { [&train[..], &split.valid].concat() } else { split.valid.clone() };
        let total = train.len() * views + seen_plainly.len();
        let mut progress = Gathered { total, ..Gathered::default() };
        let mut looks = vec![Looked::new(self, key, std::mem::take(&mut plain), None)];
        self.gather(seen_plainly, &mut looks, &mut progress)?;
        plain = looks.remove(0).activations;
        looks
            .extend((0..views as u64).map(|view| {
                Looked::new(self, self.view_key(&key, view), Activations::default(), Some(view))
            }));
        self.gather(train, &mut looks, &mut progress)?;
        let sets = looks.into_iter().map(|look| look.activations).collect();
        let of_train = of_train || views == 0;
        self.kept = Some(Kept { key, plain, of_train, views: sets });
        let seconds = began.elapsed().as_secs_f64();
        let Gathered { found, computed, .. } = progress;
        self.observers.tell(&Event::Activations { kept: found, computed, seconds })
    }

    /// Adds the activations of `items` that are not there yet, of all looks at them: from the cache, or computed and kept
    /// there. An image is decoded once for all views of it, and for all its copies; where one of these cannot be read, the
    /// next is tried, so that each is either of use or named.
    fn gather(&mut self, mut items: Vec<usize>, looks: &mut [Looked], progress: &mut Gathered) -> Result<()> {
        self.gather_once(&items, looks, progress)?;
        let (found, done) = (progress.found, progress.done);
        loop {
            let before = items.len();
            items.retain(|&item| {
                let lacks = |look: &Looked| look.activations.get(&self.digest(item, look.view)).is_none();
                !self.skipped.contains_key(&self.data.items[item].path) && looks.iter().any(lacks)
            });
            if items.is_empty() || items.len() == before {
                return Ok(());
            }
            self.gather_once(&items, looks, progress)?;
            (progress.found, progress.done) = (found, done);
        }
    }

    fn gather_once(&mut self, items: &[usize], looks: &mut [Looked], progress: &mut Gathered) -> Result<()> {
        let mut samples: Vec<(usize, u64)> = Vec::new();
        let mut wanting: Vec<HashSet<usize>> = Vec::new();
        for look in looks.iter_mut() {
            let wanted: HashSet<Digest> = items.iter().map(|&item| self.digest(item, look.view)).collect();
            let lacking =
                wanted.iter().copied().filter(|digest| look.activations.get(digest).is_none()).collect();
            let damaged = look.store.as_ref().map(|store| store.load(&lacking, &mut look.activations));
            for path in damaged.into_iter().flatten() {
                let text = format!("{} is damaged; its activations are computed again", path.display());
                self.observers.tell(&Event::Notice { text })?;
            }
            let mut seen = HashSet::new();
            let missing: HashSet<usize> = items
                .iter()
                .copied()
                .filter(|&item| {
                    let digest = self.digest(item, look.view);
                    look.activations.get(&digest).is_none() && seen.insert(digest)
                })
                .collect();
            progress.found += wanted.len() - missing.len();
            progress.done += items.len() - missing.len();
            wanting.push(missing);
        }
        for &item in items {
            for (look, missing) in looks.iter().zip(&mut wanting) {
                // Once, where an item occurs several times.
                if missing.remove(&item) {
                    samples.push((item, look.epoch()));
                }
            }
        }
        let (border, pooled, device) = (self.border(), self.pooled(), self.network.device());
        let mut left = samples.len();
        for batch in self.batches_to_keep(samples, looks)? {
            let mut batch = batch?;
            let mut told = self.tell_skipped(&batch.skipped);
            if !batch.indices.is_empty() {
                let maps = self.network.infer_stages(to_tensor(&mut batch, &device), 0, border);
                let (shape, values) = if pooled { parts(self.network.pool(maps)) } else { parts(maps) };
                let rows = values.chunks_exact(shape.iter().product());
                for ((&item, &epoch), row) in batch.indices.iter().zip(&batch.epochs).zip(rows) {
                    let look = looks.iter_mut().find(|look| look.epoch() == epoch).expect("it was asked for");
                    let digest = self.digest(item, look.view);
                    look.activations.add(&shape, &[digest], row);
                    look.unsaved.push(digest);
                }
                progress.computed += batch.indices.len();
            }
            let looked_at = batch.indices.len() + batch.skipped.len();
            left -= looked_at;
            progress.done += looked_at;
            told = told.and_then(|()| self.progress(Task::Activations, progress.done, progress.total));
            for look in looks.iter_mut() {
                // What has been computed is kept also where somebody wishes to stop.
                let due = look.unsaved.len() >= IMAGES_A_SHARD || left == 0 || told.is_err();
                if let (Some(store), true) = (&look.store, due)
                    && let Err(error) = store.save(&std::mem::take(&mut look.unsaved), &look.activations)
                {
                    // Without the cache all goes on as well, only slower the next time.
                    look.store = None;
                    let text = format!("{error}; this run goes on without it");
                    self.observers.tell(&Event::Notice { text })?;
                }
            }
            told?;
        }
        Ok(())
    }

    fn batches_to_keep(&self, samples: Vec<(usize, u64)>, looks: &[Looked]) -> Result<Batches> {
        let loader = match looks.iter().any(|look| look.view.is_some()) {
            true => self.data.training_loader(None, self.normalization, self.seed)?,
            false => self.loader()?,
        };
        Ok(loader.batches_of(samples)?)
    }

    /// The identity of an image, looked at plainly or as a view.
    fn digest(&self, item: usize, view: Option<u64>) -> Digest {
        match view {
            None => self.data.digests[item],
            Some(_) => self.view_digest(item),
        }
    }

    /// The key of a view's activations.
    fn view_key(&self, key: &blake3::Hash, view: u64) -> blake3::Hash {
        let augmentation = serde_json::to_vec(&self.data.augmentation()).expect("plain values serialise");
        let mut hasher = blake3::Hasher::new();
        hasher.update(key.as_bytes()).update(&self.seed.to_le_bytes()).update(&view.to_le_bytes());
        hasher.update(&augmentation);
        hasher.finalize()
    }

    /// The key of everything that decides activations but the image.
    fn activation_key(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        // Forms before may hold activations of photos that had been replaced by others.
        add(b"ocelli activations, form 3");
        add(self.architecture.as_bytes());
        // Another version's kernels may round otherwise.
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(computed_by(&self.network.device()).as_bytes());
        add(self.network.precision().to_string().as_bytes());
        add(serde_json::to_string(&self.preprocessing()).expect("plain values serialise").as_bytes());
        let channels = self.data.loading().decoder.channels;
        add(serde_json::to_string(&channels).expect("plain values serialise").as_bytes());
        add(&[u8::from(self.pooled())]);
        let border = self.border();
        add(&(border as u64).to_le_bytes());
        let tensors = self.network.to_tensors();
        for name in tensors.names().filter(|name| !name.starts_with("head.")) {
            if self.network.backbone().stage_of(name) < border {
                let tensor = tensors.get(name).expect("a listed name");
                add(name.as_bytes());
                let values: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                add(&values);
            }
        }
        hasher.finalize()
    }
}

/// What decides how numbers are rounded: the CPU's kernels, or the device.
fn computed_by(device: &Device) -> String {
    if *device == Device::flex() { ocelli_kernels::Isa::current().to_string() } else { format!("{device:?}") }
}

/// The shape of one row, and all numbers.
fn parts<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<f32>) {
    let shape = tensor.dims()[1..].to_vec();
    // Maps may be bf16, which f32 holds exactly.
    (shape, tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32"))
}
