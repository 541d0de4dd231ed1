//! Where the batches of an epoch come from: images, or cached features.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::{Tensor, TensorData};
use ocelli_data::augment::mix::{Mix, Mixed};
use ocelli_data::{
    Batch, Batches, Digest, Items, Loader, Normalization, Preprocessing, Sampler, Store, timeline,
};
use ocelli_nn::Backbone;

use crate::data::to_tensor::to_tensor;
use crate::data::{ImageData, Part};
use crate::error::{Error, Result};
use crate::event::{Activity, Event, Observers};
use crate::features::cache::{Collector, FeatureCache, View};
use crate::features::prefix::FrozenPrefix;
use crate::features::store::ActivationStore;
use crate::model::int8::{PHOTOS_FOR_RANGES, spread_over};
use crate::processes::ProcessGroup;
use crate::processes::shared::{PieceBatch, PieceBatches, Rows, SharedBatches};
use crate::recipe::freezing::Freezing;
use crate::train::state::{StageInput, TrainState};

/// A backbone's name and input normalisation.
#[derive(Debug, Clone)]
pub(crate) struct BackboneInfo {
    /// The name in the model's file.
    pub(crate) name: String,
    pub(crate) normalization: Normalization,
}

/// Where batches come from: the images, and the caches that save reading them in every epoch.
pub(crate) struct Inputs {
    pub(crate) data: ImageData,
    pub(crate) backbone: BackboneInfo,
    /// The cache folder for features and resized images.
    pub(crate) cache: Option<PathBuf>,
    /// The cached features of the frozen layers, if there are any. Shared, since they may be large.
    features: Option<Arc<FeatureCache>>,
    /// The resized copies of large images.
    resized: Option<Store>,
    /// The processes that share out what is computed from images.
    pub(crate) processes: ProcessGroup,
    /// Where features of training images are computed in 8-bit integers: the images that ranges are found on.
    int8: Option<Vec<Digest>>,
}

/// A batch as the trainable part of a network takes it.
pub(crate) struct TrainBatch {
    /// The number of images; may be 0.
    pub(crate) images: usize,
    /// Targets: `[images, classes]`, row by row.
    pub(crate) targets: Vec<f32>,
    pub(crate) input: StageInput,
    /// The images that `input` has, where other processes have the rest.
    pub(crate) part: Option<Range<usize>>,
    /// Seconds that training waited for the images or their features.
    pub(crate) waited: f64,
}

/// The batches of an epoch.
pub(crate) enum BatchStream {
    /// Items with cached features, one entry per batch.
    Cached(std::vec::IntoIter<Vec<usize>>),
    /// The image files.
    Images(Batches),
    /// The image files, of which other processes load some, where only the head is trained.
    Shared(SharedBatches),
    /// The image files, of which other processes load some, where layers of the backbone are trained.
    Pieces(Box<PieceBatches>),
}

impl Inputs {
    pub(crate) fn new(data: ImageData, backbone: BackboneInfo) -> Self {
        let processes = ProcessGroup::default();
        Self { data, backbone, cache: None, features: None, resized: None, processes, int8: None }
    }

    /// The frozen part of a network, for these images.
    fn prefix<'a, B: Backbone>(&'a self, state: &'a TrainState<B>) -> FrozenPrefix<'a, B> {
        FrozenPrefix {
            network: &state.network,
            backbone: &self.backbone.name,
            boundary: state.first_trained_stage(),
            pooled: state.is_pooled(),
            preprocessing: self.preprocessing(),
            channels: self.data.loading().decoder.channels,
            int8: self.int8.clone(),
        }
    }

    /// Sets whether features of training images are computed in 8-bit integers.
    pub(crate) fn set_int8(&mut self, int8: bool) {
        let train = &self.data.split.train;
        let places = || spread_over(train.len(), PHOTOS_FOR_RANGES).take(PHOTOS_FOR_RANGES);
        self.int8 = int8.then(|| places().map(|place| self.data.digests[train[place]]).collect());
    }

    /// Whether features of training images are computed in 8-bit integers.
    pub(crate) fn is_int8(&self) -> bool {
        self.int8.is_some()
    }

    /// The same with other images, for this process alone, keeping features that are already cached.
    pub(crate) fn with_data(&self, data: ImageData) -> Self {
        let (backbone, cache) = (self.backbone.clone(), self.cache.clone());
        let processes = ProcessGroup::default();
        let (features, int8) = (self.features.clone(), self.int8.clone());
        Self { data, backbone, cache, features, resized: None, processes, int8 }
    }

    /// Replaces the images.
    pub(crate) fn set_data(&mut self, data: ImageData) {
        self.data = data;
        self.set_int8(self.is_int8());
        self.forget_features();
        self.resized = None;
    }

    /// Drops the cached features.
    pub(crate) fn forget_features(&mut self) {
        self.features = None;
    }

    /// From a file to the network's input.
    pub(crate) fn preprocessing(&self) -> Preprocessing {
        self.data.preprocessing(self.backbone.normalization)
    }

    pub(crate) fn loader(&self) -> Result<Loader> {
        self.data.loader(self.backbone.normalization)
    }

    /// The batches of these samples, shared out. The loader's batch size is the data's.
    pub(crate) fn shared_batches(
        &self,
        loader: &Loader,
        samples: Vec<(usize, u64)>,
    ) -> Result<SharedBatches> {
        SharedBatches::new(loader, samples, self.data.batch_size(), 0, &self.processes)
    }

    /// Prepares the input of training: cached features, or resized copies if several epochs need them.
    pub(crate) fn prepare<B: Backbone>(
        &mut self,
        state: &TrainState<B>,
        epochs: usize,
        observers: &mut Observers,
    ) -> Result<()> {
        match state.freezing.is_cached() {
            true => self.prepare_features(state, observers),
            false => self.prepare_resized(epochs, observers),
        }
    }

    /// Prepares the features that training and validation need: from memory, from the cache folder, or
    /// computed and written there.
    pub(crate) fn prepare_features<B: Backbone>(
        &mut self,
        state: &TrainState<B>,
        observers: &mut Observers,
    ) -> Result<()> {
        let old = self.features.take();
        let prefix = self.prefix(state);
        let keys = prefix.keys();
        let views = state.freezing.augmented_copies();
        let old = old.filter(|features| features.is_of(&keys.train));
        if old.as_ref().is_some_and(|features| features.is_enough(views)) {
            self.features = old;
            return Ok(());
        }
        let collector = Collector {
            prefix,
            data: &self.data,
            normalization: self.backbone.normalization,
            seed: state.seed,
            cache: self.cache.as_deref(),
            processes: &self.processes,
        };
        let old = old.map(Arc::unwrap_or_clone);
        let (features, event) = FeatureCache::collect(old, keys, views, &collector, observers)?;
        self.features = Some(Arc::new(features));
        observers.emit(&event)
    }

    /// Makes the features of this state's network ready from those in memory, of which they are these columns.
    pub(crate) fn narrow_features<B: Backbone>(
        &mut self,
        state: &TrainState<B>,
        columns: &[Range<usize>],
        observers: &mut Observers,
    ) -> Result<()> {
        let keys = self.prefix(state).keys();
        let max_pixels = self.data.decoder().max_pixels;
        let store = |key| self.cache.as_deref().map(|cache| ActivationStore::new(cache, &key, max_pixels));
        let [store, store_of_others] = [keys.train, keys.others].map(store);
        let split = &self.data.split;
        let others: HashSet<Digest> = split.valid.iter().map(|&item| self.data.digests[item]).collect();
        let store_of = |image: &Digest| match others.contains(image) {
            true => store_of_others.as_ref(),
            false => store.as_ref(),
        };
        let (features, saved) = self.features().columns(keys.train, columns, store_of)?;
        self.features = Some(Arc::new(features));
        match saved {
            Ok(()) => Ok(()),
            Err(error) => {
                let text = format!("{error}; this run goes on without it");
                observers.emit(&Event::Notice { text })
            }
        }
    }

    /// Whether the features of this state's frozen layers are in memory, for all images without augmentation.
    pub(crate) fn has_features_of<B: Backbone>(&self, state: &TrainState<B>) -> bool {
        let key = || self.prefix(state).keys().train;
        self.features.as_ref().is_some_and(|features| features.is_enough(0) && features.is_of(&key()))
    }

    /// The fraction of images whose features are in the cache folder.
    pub(crate) fn cached_fraction<B: Backbone>(&self, state: &TrainState<B>) -> f64 {
        let Some(cache) = &self.cache else { return 0.0 };
        let split = &self.data.split;
        let images = [&split.train, &split.valid]
            .map(|items| items.iter().map(|&item| self.data.digests[item]).collect());
        self.prefix(state).cached_fraction(cache, self.data.decoder().max_pixels, images)
    }

    /// Resizes once the images that several epochs would decode again and again, if that saves time.
    fn prepare_resized(&mut self, epochs: usize, observers: &mut Observers) -> Result<()> {
        self.resized = None;
        let Some(cache) = self.cache.clone() else { return Ok(()) };
        let Some(side) = self.data.store_side(self.backbone.normalization) else { return Ok(()) };
        // A copy has three bands of 8 bits; selected bands or values are read from the photo itself.
        if epochs < 2 || !self.data.loading().decoder.channels.is_usual() {
            return Ok(());
        }
        let began = Instant::now();
        // Each process makes some copies; it resizes others again in every epoch if their cache is not its own.
        let (rank, all) = (self.processes.rank(), self.processes.size());
        let split = self.data.split.train.iter().copied().skip(rank).step_by(all);
        let own: Vec<usize> = split.collect();
        let items = Items {
            items: own.iter().map(|&item| self.data.items[item].clone()).collect(),
            ..self.data.training_items()
        };
        let store = Store::new(cache, side)?;
        let (done, total) = (AtomicUsize::new(0), items.len());
        let data = &self.data;
        let filled = std::thread::scope(|scope| -> Result<_> {
            let count = || {
                done.fetch_add(1, Ordering::Relaxed);
            };
            let (items, done, store) = (&items, &done, &store);
            let digests: Vec<Digest> = own.iter().map(|&item| data.digests[item]).collect();
            let options = data.loading();
            let work =
                scope.spawn(move || store.fill(items, &digests, &options.decoder, options.threads, count));
            while !work.is_finished() {
                std::thread::sleep(Duration::from_millis(50));
                observers.progress(Activity::Resizing, done.load(Ordering::Relaxed), total)?;
            }
            Ok(work.join().expect("images are resized without a panic"))
        })?;
        // Training uses the same copies whether or not they could be written.
        self.resized = Some(store);
        match filled {
            Ok(filled) => {
                let skipped = self.processes.all_skipped(filled.skipped, &self.data)?;
                observers.emit_skipped(&skipped, &self.data)?;
                observers.emit(&Event::elapsed(Activity::Resizing, began))
            }
            Err(error) => {
                let skipped = self.processes.all_skipped(Vec::new(), &self.data)?;
                observers.emit_skipped(&skipped, &self.data)?;
                let text =
                    format!("{error}; this run goes on without, and resizes images again in every epoch");
                observers.emit(&Event::Notice { text })
            }
        }
    }

    /// The training images in the order of this epoch.
    pub(crate) fn order<B: Backbone>(&self, state: &TrainState<B>) -> Vec<usize> {
        let seed = state.seed;
        let order = if self.data.balanced_sampling() {
            Sampler::ClassBalanced { seed }
        } else {
            Sampler::Shuffled { seed }
        };
        order.of(&self.data.items, &self.data.split.train, state.epochs)
    }

    /// Items of this epoch in batches of `size`, from the batch `first` on; with several processes in `pieces` of
    /// so many images, of which each loads its own.
    pub(crate) fn batches<B: Backbone>(
        &self,
        state: &TrainState<B>,
        order: Vec<usize>,
        size: usize,
        first: usize,
        pieces: Option<usize>,
    ) -> Result<BatchStream> {
        if !state.freezing.is_cached() {
            let Self { data, backbone, resized, .. } = self;
            let loader = data.training_loader(resized.clone(), backbone.normalization, state.seed, size)?;
            let samples = |order: Vec<usize>| order.into_iter().map(|item| (item, state.epochs)).collect();
            if self.processes.is_shared() && state.is_pooled() {
                let batches = SharedBatches::new(&loader, samples(order), size, first, &self.processes)?;
                return Ok(BatchStream::Shared(batches));
            }
            if let (Some(piece), true) = (pieces, self.processes.is_shared()) {
                let batches = PieceBatches::new(loader, samples(order), size, piece, first, &self.processes)?;
                return Ok(BatchStream::Pieces(Box::new(batches)));
            }
            return Ok(BatchStream::Images(loader.batches_from(order, state.epochs, first)?));
        }
        // Unreadable images leave gaps in their batches, as when images are loaded.
        let view = View::Training { epoch: state.epochs };
        let batches = order.chunks(size).skip(first);
        let batches: Vec<_> = batches.map(|items| self.with_features(items, view)).collect();
        Ok(BatchStream::Cached(batches.into_iter()))
    }

    /// Whether the features of a part, as validation sees it, are among those that
    /// [`prepare_features`](Self::prepare_features) makes ready. That is a question of the freezing alone:
    /// whatever the cache holds, it computes what is missing.
    pub(crate) fn prepares_features_of(freezing: Freezing, part: Part) -> bool {
        match freezing {
            Freezing::Cached { augmented_copies: 0, .. } => part != Part::Test,
            Freezing::Cached { .. } => part == Part::Valid,
            Freezing::Streamed { .. } => false,
        }
    }

    fn features(&self) -> &FeatureCache {
        self.features.as_deref().expect("features are ready")
    }

    /// The items with cached features: all but unreadable images.
    pub(crate) fn with_features(&self, items: &[usize], view: View) -> Vec<usize> {
        let features = self.features();
        items.iter().copied().filter(|&item| features.has(&self.data, item, view)).collect()
    }

    /// The cached features of these items, which have some: `[items, …]`.
    ///
    /// # Errors
    /// Where they are in a scratch file that cannot be read.
    pub(crate) fn features_of(&self, items: &[usize], view: View) -> Result<TensorData> {
        self.features().rows(&self.data, items, view)
    }

    /// One row per item, 1 where it has the class.
    pub(crate) fn targets(&self, items: &[usize]) -> Vec<f32> {
        let classes = self.data.classes().len();
        let mut targets = vec![0.0; items.len() * classes];
        for (row, &item) in items.iter().enumerate() {
            for class in self.data.items[item].target.classes() {
                targets[row * classes + class] = 1.0;
            }
        }
        targets
    }
}

impl BatchStream {
    /// The next batch of the epoch; `mix` mixes images that come from files.
    pub(crate) fn next<B: Backbone>(
        &mut self,
        state: &TrainState<B>,
        inputs: &Inputs,
        mix: Option<Mix>,
        observers: &mut Observers,
    ) -> Result<Option<TrainBatch>> {
        let device = state.network.device();
        let began = Instant::now();
        match self {
            Self::Cached(batches) => {
                let Some(items) = batches.next() else { return Ok(None) };
                let features = inputs.features_of(&items, View::Training { epoch: state.epochs })?;
                let waited = began.elapsed().as_secs_f64();
                timeline::add("read features", began);
                let input = match state.is_pooled() {
                    true => StageInput::Pooled(Tensor::from_data(features, &device)),
                    false => StageInput::Maps(Tensor::<4>::from_data(features, &device).into()),
                };
                let targets = inputs.targets(&items);
                Ok(Some(TrainBatch { images: items.len(), targets, input, part: None, waited }))
            }
            Self::Shared(batches) => {
                let mut compute = |batch: &mut Batch| frozen_rows(state, inputs, mix, batch);
                let Some(batch) = batches.next(&inputs.data, &mut compute)? else { return Ok(None) };
                observers.emit_skipped(&batch.skipped, &inputs.data)?;
                let (images, Rows { shape, values, targets }) = (batch.indices.len(), batch.rows);
                let input = match images {
                    0 => StageInput::Pooled(Tensor::zeros([0, 0], &device)),
                    _ => {
                        let pooled = TensorData::new(values, [vec![images], shape].concat());
                        StageInput::Pooled(Tensor::from_data(pooled, &device))
                    }
                };
                Ok(Some(TrainBatch { images, targets, input, part: None, waited: batch.waited }))
            }
            Self::Images(batches) => {
                let Some(batch) = batches.next().transpose()? else { return Ok(None) };
                let waited = began.elapsed().as_secs_f64();
                timeline::add("wait for images", began);
                observers.emit_skipped(&batch.skipped, &inputs.data)?;
                Ok(Some(of_images(state, inputs, mix, batch, waited)?))
            }
            Self::Pieces(batches) => {
                let Some(batch) = batches.next()? else { return Ok(None) };
                let waited = began.elapsed().as_secs_f64();
                timeline::add("wait for images", began);
                let (items, part, own) = match batch {
                    PieceBatch::Part(items, part, own) => (items, part, own),
                    PieceBatch::Whole(batch) => {
                        observers.emit_skipped(&batch.skipped, &inputs.data)?;
                        return Ok(Some(of_images(state, inputs, mix, batch, waited)?));
                    }
                };
                let input = match own {
                    Some(mut batch) => state.infer_frozen(to_tensor(&mut batch, &device)),
                    None => StageInput::Maps(Tensor::<4>::zeros([0, 3, 1, 1], &device).into()),
                };
                let targets = inputs.targets(&items);
                Ok(Some(TrainBatch { images: items.len(), targets, input, part: Some(part), waited }))
            }
        }
    }
}

/// A batch of images, all of which this process has.
fn of_images<B: Backbone>(
    state: &TrainState<B>,
    inputs: &Inputs,
    mix: Option<Mix>,
    mut batch: Batch,
    waited: f64,
) -> Result<TrainBatch> {
    let targets = targets_of(state, inputs, mix, &mut batch)?;
    let images = to_tensor(&mut batch, &state.network.device());
    let input = match batch.indices.len() {
        0 => StageInput::Maps(images.into()),
        _ => state.infer_frozen(images),
    };
    Ok(TrainBatch { images: batch.indices.len(), targets, input, part: None, waited })
}

/// The targets of a batch of images, which are mixed if they are to be.
fn targets_of<B: Backbone>(
    state: &TrainState<B>,
    inputs: &Inputs,
    mix: Option<Mix>,
    batch: &mut Batch,
) -> Result<Vec<f32>> {
    let targets = inputs.targets(&batch.indices);
    let Some(mix) = mix else { return Ok(targets) };
    let mixed = mix.apply(batch, &inputs.data.items, state.seed, state.epochs)?;
    Ok(mix_targets(&targets, &mixed, inputs.data.classes().len()))
}

/// The pooled features of a batch of images, and its targets, for all processes.
fn frozen_rows<B: Backbone>(
    state: &TrainState<B>,
    inputs: &Inputs,
    mix: Option<Mix>,
    batch: &mut Batch,
) -> Result<Rows> {
    let targets = targets_of(state, inputs, mix, batch)?;
    let StageInput::Pooled(pooled) = state.infer_frozen(to_tensor(batch, &state.network.device())) else {
        unreachable!("only the head is trained");
    };
    let shape = vec![pooled.dims()[1]];
    // Features may be bf16, which f32 holds exactly.
    let values = pooled.into_data().convert::<f32>().try_into_vec().expect("converted to f32");
    Ok(Rows { shape, values, targets })
}

/// Batches that continue from epoch to epoch, for a run of the learning rate finder that needs more than one
/// epoch.
pub(crate) struct EndlessBatches {
    size: usize,
    pieces: Option<usize>,
    stream: Option<BatchStream>,
}

impl EndlessBatches {
    /// Batches of this size, as [`Inputs::batches`] has them.
    pub(crate) fn new(size: usize, pieces: Option<usize>) -> Self {
        Self { size, pieces, stream: None }
    }

    /// The next batch of at least two images, of this epoch or the next.
    ///
    /// # Errors
    /// Where a whole epoch has none.
    pub(crate) fn next<B: Backbone>(
        &mut self,
        state: &mut TrainState<B>,
        inputs: &Inputs,
        mix: Option<Mix>,
        observers: &mut Observers,
    ) -> Result<TrainBatch> {
        let mut begun = 0;
        loop {
            if let Some(stream) = &mut self.stream
                && let Some(batch) = stream.next(state, inputs, mix, observers)?
            {
                if batch.images > 1 {
                    return Ok(batch);
                }
                continue;
            }
            if begun == 2 {
                return Err(Error::NoTrainingBatch);
            }
            begun += 1;
            state.epochs += u64::from(self.stream.is_some());
            self.stream = Some(inputs.batches(state, inputs.order(state), self.size, 0, self.pieces)?);
        }
    }
}

/// The targets of images that were mixed.
fn mix_targets(targets: &[f32], mixed: &Mixed, classes: usize) -> Vec<f32> {
    let rows = mixed.partners.iter().enumerate().flat_map(|(image, partner)| {
        let (own, other) = (&targets[image * classes..][..classes], &targets[partner * classes..][..classes]);
        own.iter().zip(other).map(|(own, other)| mixed.weight * own + (1.0 - mixed.weight) * other)
    });
    rows.collect()
}
