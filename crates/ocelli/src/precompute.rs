//! The output of frozen layers, computed once and trained on again and again.

use std::collections::HashSet;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_data::random::key;
use ocelli_data::{Batches, Digest};
use ocelli_nn::Backbone;

use crate::activations::{ActivationStore, Activations};
use crate::batch::to_tensor;
use crate::event::{Event, Task};
use crate::learner::Part;
use crate::{Error, Learner, Result, State};

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
        let frozen = self.state.frozen();
        match precompute {
            true => self.precompute_state(State::Precomputed { frozen, views: 0 }),
            false => {
                self.set_state(State::Live { frozen });
                Ok(())
            }
        }
    }

    /// Computes the frozen groups' output for so many augmented views of every image to train on, and trains on them
    /// from now on, each epoch on another view of each image: augmentation at the price of some passes over the images
    /// instead of one an epoch. Validation sees the images as they are.
    ///
    /// # Errors
    /// As [`precompute`](Self::precompute); [`Error::State`] where the photos are not augmented.
    pub fn precompute_views(&mut self, views: usize) -> Result<()> {
        if views == 0 {
            return Err(Error::Setting {
                name: "the number of views",
                value: "0".to_owned(),
                expected: "at least 1",
            });
        }
        if self.data.augmentation().is_none() {
            return Err(Error::State {
                found: "the photos are not augmented, so that all views would be alike".to_owned(),
                advice: "give the data transforms, or precompute without views",
            });
        }
        self.precompute_state(State::Precomputed { frozen: self.state.frozen(), views })
    }

    pub(crate) fn precompute_state(&mut self, state: State) -> Result<()> {
        if state.frozen() == 0 {
            return Err(Error::State {
                found: "all layers are trained, so no activations stay the same".to_owned(),
                advice: "freeze some layers first",
            });
        }
        self.set_state(state);
        self.ready_activations()
    }

    /// The first stage that is trained.
    pub(crate) fn border(&self) -> usize {
        self.network.group_starts()[self.state.frozen()]
    }

    /// Whether the whole backbone is frozen, so that what is kept is pooled.
    pub(crate) fn pooled(&self) -> bool {
        self.border() == self.network.backbone().stages()
    }

    /// Whether the activations of a part, looked at plainly, are among those that are kept.
    pub(crate) fn keeps(&self, part: Part) -> bool {
        match self.state {
            State::Precomputed { views: 0, .. } => part != Part::Test,
            State::Precomputed { .. } => part == Part::Valid,
            State::Live { .. } => false,
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
        let views = self.state.views();
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
        let all = (train.len() * views + seen_plainly.len(), 0);
        let (mut kept, done) = self.gather(&key, seen_plainly, None, &mut plain, all)?;
        let (mut computed, mut sets) = (done.1, Vec::new());
        let mut at = (all.0, done.0);
        for view in 0..views as u64 {
            let key = self.view_key(&key, view);
            let mut activations = Activations::default();
            let (found, done) = self.gather(&key, train.clone(), Some(view), &mut activations, at)?;
            at.1 = done.0;
            kept += found;
            computed += done.1;
            sets.push(activations);
        }
        let of_train = of_train || views == 0;
        self.kept = Some(Kept { key, plain, of_train, views: sets });
        let seconds = began.elapsed().as_secs_f64();
        self.observers.tell(&Event::Activations { kept, computed, seconds })
    }

    /// Adds the activations of `items` that are not there yet: from the cache, or computed and kept there. `total` and
    /// `before` are images in all and those done before. Gives how many were in the cache, and then how many images
    /// are done and how many were computed.
    fn gather(
        &mut self,
        key: &blake3::Hash,
        items: Vec<usize>,
        view: Option<u64>,
        activations: &mut Activations,
        (total, before): (usize, usize),
    ) -> Result<(usize, (usize, usize))> {
        let digest = |learner: &Self, item: usize| match view {
            None => learner.data.digests[item],
            Some(_) => learner.view_digest(item),
        };
        let wanted: HashSet<Digest> = items.iter().map(|&item| digest(self, item)).collect();
        let mut store = self.cache.as_ref().map(|cache| ActivationStore::new(cache, key));
        if let Some(store) = &store {
            let lacking = wanted.iter().copied().filter(|digest| activations.get(digest).is_none()).collect();
            for path in store.load(&lacking, activations) {
                let text = format!("{} is damaged; its activations are computed again", path.display());
                self.observers.tell(&Event::Notice { text })?;
            }
        }
        let all = items.len();
        let mut seen = HashSet::new();
        let missing: Vec<usize> = items
            .into_iter()
            .filter(|&item| {
                let digest = digest(self, item);
                activations.get(&digest).is_none() && seen.insert(digest)
            })
            .collect();
        let found = wanted.len() - missing.len();
        let (border, pooled, last) = (self.border(), self.pooled(), missing.len());
        let device = self.network.device();
        let mut unsaved = Vec::new();
        let (mut looked_at, mut computed) = (0, 0);
        for batch in self.batches_to_keep(missing, view)? {
            let mut batch = batch?;
            self.tell_skipped(&batch.skipped)?;
            if !batch.indices.is_empty() {
                let maps = self.network.infer_stages(to_tensor(&mut batch, &device), 0, border);
                let (shape, values) = if pooled { parts(self.network.pool(maps)) } else { parts(maps) };
                let digests: Vec<Digest> = batch.indices.iter().map(|&item| digest(self, item)).collect();
                activations.add(&shape, &digests, &values);
                computed += digests.len();
                unsaved.extend(digests);
            }
            looked_at += batch.indices.len() + batch.skipped.len();
            if let (Some(to), true) = (&store, unsaved.len() >= IMAGES_A_SHARD || looked_at == last)
                && let Err(error) = to.save(&std::mem::take(&mut unsaved), activations)
            {
                // Without the cache all goes on as well, only slower the next time.
                store = None;
                let text = format!("{error}; this run goes on without it");
                self.observers.tell(&Event::Notice { text })?;
            }
            self.progress(Task::Activations, before + all - last + looked_at, total)?;
        }
        Ok((found, (before + all, computed)))
    }

    fn batches_to_keep(&self, items: Vec<usize>, view: Option<u64>) -> Result<Batches> {
        Ok(match view {
            None => self.loader()?.batches(items, 0)?,
            Some(view) => {
                let loader = self.data.training_loader(None, self.normalization, self.seed)?;
                loader.batches(items, EPOCH_OF_VIEWS + view)?
            }
        })
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
        add(b"ocelli activations, form 1");
        add(self.architecture.as_bytes());
        // Another version's kernels may round otherwise.
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(computed_by(&self.network.device()).as_bytes());
        add(self.network.precision().to_string().as_bytes());
        add(serde_json::to_string(&self.preprocessing()).expect("plain values serialise").as_bytes());
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
