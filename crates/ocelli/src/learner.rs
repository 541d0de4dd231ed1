//! The learner: a network, photos, and what is trained of it.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_data::{Digest, Items, Loader, Normalization, Preprocessing, Skipped, Store, Task as Labels};
use ocelli_nn::{Arch, Backbone, Body, Classifier, GROUPS, Head, Network, Precision, Statistics, TensorFile};

use crate::activations::{ActivationStore, Activations};
use crate::batch::to_tensor;
use crate::event::{Event, Observers, Progress, Task};
use crate::fit::Fit;
use crate::method::Method;
use crate::model::Contract;
use crate::pull::pretrained_weights;
use crate::{
    EpochRow, Error, ImageData, Observer, Optimizer, Predictions, Result, State, WeightDecay, model,
};

/// Trains a classifier on photos by transfer learning.
///
/// A new learner has a pretrained body, which is frozen, and a new head. See the [crate's docs](crate) for the
/// usual steps.
pub struct Learner<B: Backbone = Body> {
    pub(crate) network: Network<B>,
    pub(crate) data: ImageData,
    pub(crate) state: State,
    pub(crate) observers: Observers,
    pub(crate) seed: u64,
    pub(crate) method: Method,
    pub(crate) statistics: Statistics,
    /// Steps of the optimizer so far, over all fits: dropout masks are drawn from it.
    pub(crate) steps: u64,
    /// Epochs so far, over all fits: shuffling and augmentation are drawn from it.
    pub(crate) epochs: u64,
    pub(crate) fits: usize,
    pub(crate) history: Vec<EpochRow>,
    pub(crate) thresholds: Option<Vec<f32>>,
    /// The fit that an error has ended.
    pub(crate) unfinished: Option<Fit>,
    architecture: String,
    set_aside: Vec<String>,
    normalization: Normalization,
    cache: Option<PathBuf>,
    cycle_save_name: Option<PathBuf>,
    kept: Option<(blake3::Hash, Activations)>,
    skipped: BTreeSet<PathBuf>,
    /// All items, large ones by their resized copies.
    resized: Option<Arc<Items>>,
}

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The images that are trained on.
    Train,
    /// Those that are held out to measure on.
    Valid,
    /// Those for the very end, with labels or without.
    Test,
}

impl Learner {
    /// A learner on a backbone of the registry with its pretrained weights, seed 0. They are built in, or come from
    /// this machine: see [`WeightStore`](crate::WeightStore), whose [`pull`](crate::WeightStore::pull) fetches
    /// them. Nothing is fetched here.
    ///
    /// # Errors
    /// [`Error::NoWeights`] where they are not at hand.
    pub fn pretrained(arch: Arch, data: ImageData) -> Result<Self> {
        Self::pretrained_seeded(arch, data, 0)
    }

    /// As [`pretrained`](Self::pretrained), with a seed for the head's first values, dropout and the order of
    /// the images.
    ///
    /// # Errors
    /// As [`pretrained`](Self::pretrained).
    pub fn pretrained_seeded(arch: Arch, data: ImageData, seed: u64) -> Result<Self> {
        Self::with_weights(arch, &pretrained_weights(arch, None)?, data, seed)
    }

    /// A learner on a backbone of the registry with the body's weights from a file.
    ///
    /// # Errors
    /// [`Error::Network`] where they are another network's; [`Error::ImageSize`] where the images are too small for
    /// it.
    pub fn with_weights(arch: Arch, weights: &TensorFile, data: ImageData, seed: u64) -> Result<Self> {
        let info = arch.info();
        if data.size() < info.smallest {
            let (architecture, size) = (info.name.to_owned(), data.size());
            return Err(Error::ImageSize { architecture, size, smallest: info.smallest });
        }
        let network = arch.transfer(weights, data.classes().len(), seed, &Device::flex())?;
        let normalization = Normalization { mean: info.mean, std: info.std };
        let mut learner = Self::new(network, info.name, normalization, data, seed);
        learner.set_aside = arch.set_aside(weights).into_iter().map(str::to_owned).collect();
        Ok(learner)
    }
}

impl<B: Backbone<Head = Head>> Learner<B> {
    /// A learner on a backbone of the user's own, with the usual new head: see the example `custom_backbone`.
    /// `name` stands in the model's file; `normalization` is what the backbone takes.
    pub fn from_backbone(
        backbone: B,
        name: &str,
        normalization: Normalization,
        data: ImageData,
        seed: u64,
    ) -> Self {
        let network = Network::with_transfer_head(backbone, data.classes().len(), seed);
        Self::new(network, name, normalization, data, seed)
    }
}

impl<B: Backbone> Learner<B> {
    /// A learner on any network, whose head may be the user's own.
    ///
    /// # Errors
    /// [`Error::Setting`] where the head has another number of classes than the data, or the network is for images
    /// that have not three channels: loaded images have red, green and blue.
    pub fn from_network(
        network: Network<B>,
        name: &str,
        normalization: Normalization,
        data: ImageData,
        seed: u64,
    ) -> Result<Self> {
        let refused =
            |name, value: usize, expected| Err(Error::Setting { name, value: value.to_string(), expected });
        if network.head().classes() != data.classes().len() {
            let classes = network.head().classes();
            return refused("the head's number of classes", classes, "as many classes as the data has");
        }
        if network.input_channels() != 3 {
            let channels = network.input_channels();
            return refused(
                "the network's number of input channels",
                channels,
                "3: images are loaded in colour",
            );
        }
        Ok(Self::new(network, name, normalization, data, seed))
    }

    /// Moves the network to another device; everything is computed there from now on.
    pub fn to_device(&mut self, device: &Device) -> &mut Self {
        self.network = self.network.clone().to_device(&device.clone().autodiff());
        self.set_state(self.state);
        self.kept = None;
        self
    }

    fn new(
        network: Network<B>,
        architecture: &str,
        normalization: Normalization,
        data: ImageData,
        seed: u64,
    ) -> Self {
        let mut learner = Self {
            network: network.with_precision(Precision::fastest()),
            data,
            state: State::Live { frozen: GROUPS - 1 },
            observers: Observers::default(),
            seed,
            method: Method::default(),
            statistics: Statistics::Running,
            steps: 0,
            epochs: 0,
            fits: 0,
            history: Vec::new(),
            thresholds: None,
            unfinished: None,
            architecture: architecture.to_owned(),
            set_aside: Vec::new(),
            normalization,
            cache: None,
            cycle_save_name: None,
            kept: None,
            skipped: BTreeSet::new(),
            resized: None,
        };
        learner.freeze();
        learner
    }

    /// Sets the optimizer for the fits to come; its memory starts anew with every fit. Default:
    /// [`Optimizer::SGD`].
    pub fn optimizer(&mut self, optimizer: Optimizer) -> &mut Self {
        self.method.optimizer = optimizer;
        self
    }

    /// Sets the decoupled weight decay: each step takes `rate · decay` of every weight away, norms and biases
    /// excepted. Default [`DEFAULT_WEIGHT_DECAY`](crate::DEFAULT_WEIGHT_DECAY).
    pub fn weight_decay(&mut self, decay: impl Into<WeightDecay>) -> &mut Self {
        self.method.weight_decay = decay.into();
        self
    }

    /// Sets all of how the weights move in the fits to come.
    pub fn method(&mut self, method: Method) -> &mut Self {
        self.method = method;
        self
    }

    /// Saves the model at the end of every cycle of the fits to come, as `NAME_cyc_K.safetensors` with K from 0, in
    /// each fit anew. Saved is what the epoch has measured; fastai 0.7 saves the weights before the last step.
    /// An [`Ensemble`](crate::Ensemble) of them averages their predictions (Huang et al. 2017,
    /// <https://arxiv.org/abs/1704.00109>).
    pub fn cycle_save_name(&mut self, name: impl Into<PathBuf>) -> &mut Self {
        self.cycle_save_name = Some(name.into());
        self
    }

    /// Sets what the backbone's batch norms normalise by while they are trained. The default, the running
    /// statistics, leaves the features as the head knows them; the batch's own change them at once. The head's
    /// norms always take the batch's.
    pub fn backbone_statistics(&mut self, statistics: Statistics) -> &mut Self {
        self.statistics = statistics;
        self
    }

    /// Sets the precision of the activations in the backbone, in training and in use; the model is then used with the
    /// same. The default is [`Precision::fastest`].
    pub fn precision(&mut self, precision: Precision) -> &mut Self {
        self.network = self.network.clone().with_precision(precision);
        self
    }

    /// Keeps precomputed activations in this folder, and takes those that are there. Without a folder they are
    /// computed in memory.
    pub fn cache(&mut self, folder: impl Into<PathBuf>) -> &mut Self {
        self.cache = Some(folder.into());
        self
    }

    /// Sets from which probability on an image is said to have a class, one a class, where it may have several; the
    /// model keeps them. See [`Predictions::best_thresholds`].
    ///
    /// # Errors
    /// Where there are more or fewer than classes, or images have one class each.
    pub fn thresholds(&mut self, thresholds: Vec<f32>) -> Result<&mut Self> {
        if self.data.task() == Labels::SingleLabel || thresholds.len() != self.data.classes().len() {
            return Err(Error::Setting {
                name: "the number of thresholds",
                value: thresholds.len().to_string(),
                expected: "one a class, where images may have several classes",
            });
        }
        self.thresholds = Some(thresholds);
        Ok(self)
    }

    /// Adds a listener.
    pub fn observe(&mut self, observer: impl Observer + 'static) -> &mut Self {
        self.observers.add(Box::new(observer));
        self
    }

    /// What is frozen and what is precomputed.
    pub fn state(&self) -> State {
        self.state
    }

    /// The photos.
    pub fn data(&self) -> &ImageData {
        &self.data
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network<B> {
        &self.network
    }

    /// The backbone's name.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The tensors of the weights file that were left out: those of a classifier.
    pub fn set_aside(&self) -> &[String] {
        &self.set_aside
    }

    /// The rows of all epochs so far.
    pub fn history(&self) -> &[EpochRow] {
        &self.history
    }

    /// From a photo to the network's input.
    pub fn preprocessing(&self) -> Preprocessing {
        self.data.preprocessing(self.normalization)
    }

    /// Freezes the backbone; the head alone is trained.
    pub fn freeze(&mut self) {
        self.set_state(State::Live { frozen: GROUPS - 1 });
    }

    /// Freezes the layer groups before `group` and trains those from it on; 0 trains all. Every epoch then
    /// starts from the images.
    ///
    /// # Errors
    /// Where there is no such group.
    pub fn freeze_to(&mut self, group: usize) -> Result<()> {
        if group >= GROUPS {
            return Err(Error::Setting {
                name: "the first layer group to train",
                value: group.to_string(),
                expected: "0 (early body), 1 (late body) or 2 (head)",
            });
        }
        self.set_state(State::Live { frozen: group });
        Ok(())
    }

    /// Trains all layers; activations are not precomputed any more.
    pub fn unfreeze(&mut self) {
        self.set_state(State::Live { frozen: 0 });
    }

    /// With `true`: computes the frozen groups' output once for every image and trains on it from now on; with
    /// `false`: every epoch starts from the images.
    ///
    /// # Errors
    /// Where nothing is frozen, or an image cannot be used and bad images are to stop the work.
    pub fn precompute(&mut self, precompute: bool) -> Result<()> {
        let frozen = self.state.frozen();
        if !precompute {
            self.set_state(State::Live { frozen });
            return Ok(());
        }
        if frozen == 0 {
            return Err(Error::State {
                found: "all layers are trained, so no activations stay the same".to_owned(),
                advice: "freeze some layers first",
            });
        }
        self.set_state(State::Precomputed { frozen });
        self.ready_activations()
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.state = state;
        let network = self.network.clone();
        self.network = network.train_groups_from(state.frozen());
    }

    /// Predicts the validation set, in the order of the split, as the network is used; nothing where nothing is held
    /// out.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are to stop the work, or an observer asks to stop.
    pub fn validate(&mut self) -> Result<Predictions> {
        self.predict(Part::Valid)
    }

    /// Predicts the images of a part, in the order of the split, as the network is used. Those to train on are
    /// not augmented; those without labels have a loss of NaN.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are to stop the work, or an observer asks to stop.
    pub fn predict(&mut self, part: Part) -> Result<Predictions> {
        let items = self.items_of(part).to_vec();
        let mut predictions = self.no_predictions();
        if self.state.is_precomputed() && part != Part::Test {
            self.ready_activations()?;
            let with_activations = self.with_activations(&items);
            for items in with_activations.chunks(self.data.batch_size()) {
                let logits = self.infer_activations(self.activations_of(items));
                self.push(&mut predictions, items, logits);
            }
            return Ok(predictions);
        }
        let total = items.len();
        let mut done = 0;
        for batch in self.loader()?.batches(items, 0)? {
            let batch = batch?;
            self.tell_skipped(&batch.skipped)?;
            if !batch.indices.is_empty() {
                let logits = self.network.infer(to_tensor(&batch, &self.network.device()));
                self.push(&mut predictions, &batch.indices, logits);
            }
            done += batch.indices.len() + batch.skipped.len();
            self.progress(Task::Validation, done, total)?;
        }
        Ok(predictions)
    }

    /// Predictions of nothing, to be filled.
    pub(crate) fn no_predictions(&self) -> Predictions {
        let mut predictions = Predictions::new(self.data.task(), self.data.classes().len());
        if let Some(thresholds) = &self.thresholds {
            predictions.thresholds.clone_from(thresholds);
        }
        predictions
    }

    /// The items of a part.
    pub(crate) fn items_of(&self, part: Part) -> &[usize] {
        let split = &self.data.split;
        match part {
            Part::Train => &split.train,
            Part::Valid => &split.valid,
            Part::Test => &split.test,
        }
    }

    fn push(&self, predictions: &mut Predictions, items: &[usize], logits: Tensor<2>) {
        let classes = self.data.classes().len();
        let logits = logits.into_data().try_into_vec::<f32>().expect("logits are f32");
        for (&item, logits) in items.iter().zip(logits.chunks_exact(classes)) {
            predictions.push(item, &self.data.items[item].target, logits);
        }
    }

    /// Writes the model to a file, with all that is needed to use it.
    ///
    /// # Errors
    /// Where the file cannot be written; what was there before then stays.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let precision = self.network.precision();
        let mut contract =
            Contract::new(&self.architecture, &self.data.items, self.preprocessing(), precision);
        contract.thresholds = self.thresholds.clone();
        contract.augmentation = self.data.augmentation().cloned();
        model::save(path.as_ref(), &contract, &self.network.to_tensors())
    }

    /// Saves the model at the end of a cycle, counted from 0, if that is wanted.
    pub(crate) fn save_cycle(&mut self, cycle: usize) -> Result<()> {
        let Some(name) = &self.cycle_save_name else { return Ok(()) };
        let mut path = name.clone().into_os_string();
        path.push(format!("_cyc_{cycle}.safetensors"));
        self.save(&path)?;
        self.observers.tell(&Event::Written { what: "model of a cycle", path: path.into() })
    }

    pub(crate) fn loader(&self) -> Result<Loader> {
        self.data.loader(self.normalization)
    }

    /// The loader of images to train on: from files or their resized copies, changed at random.
    pub(crate) fn training_loader(&self) -> Result<Loader> {
        self.data.training_loader(self.resized.clone(), self.normalization, self.seed)
    }

    /// Resizes once what several epochs would decode again and again, where that saves time.
    pub(crate) fn ready_resized(&mut self, epochs: usize) -> Result<()> {
        self.resized = None;
        let Some(cache) = self.cache.clone() else { return Ok(()) };
        let Some(side) = self.data.store_side(self.normalization) else { return Ok(()) };
        if epochs < 2 {
            return Ok(());
        }
        let items = self.data.training_items();
        let store = Store::new(cache, side)?;
        let (done, total) = (AtomicUsize::new(0), items.len());
        let filled = std::thread::scope(|scope| -> Result<_> {
            let count = || {
                done.fetch_add(1, Ordering::Relaxed);
            };
            let data = &self.data;
            let (items, done) = (&items, &done);
            let digests: Vec<Digest> = data.split.train.iter().map(|&item| data.digests[item]).collect();
            let store = &store;
            let options = data.loading();
            let work =
                scope.spawn(move || store.fill(items, &digests, &options.decoder, options.threads, count));
            while !work.is_finished() {
                std::thread::sleep(Duration::from_millis(50));
                let done = done.load(Ordering::Relaxed);
                self.observers.tell(&Event::Progress(Progress { task: Task::Resizing, done, total }))?;
            }
            Ok(work.join().expect("images are resized without a panic"))
        })?;
        match filled {
            Ok(filled) => {
                self.tell_skipped(&filled.skipped)?;
                if filled.made + filled.present > 0 {
                    self.resized = Some(Arc::new(store.substitute(&self.data.items, &self.data.digests)));
                }
                Ok(())
            }
            Err(error) => {
                // Without the copies all goes on as well, only slower.
                let text = format!("{error}; this run goes on with the original images");
                self.observers.tell(&Event::Notice { text })
            }
        }
    }

    pub(crate) fn tell(&mut self, event: &Event) -> Result<()> {
        self.observers.tell(event)
    }

    pub(crate) fn progress(&mut self, task: Task, done: usize, total: usize) -> Result<()> {
        self.observers.tell(&Event::Progress(Progress { task, done, total }))
    }

    /// Tells of images that were left out, of each once.
    pub(crate) fn tell_skipped(&mut self, skipped: &[Skipped]) -> Result<()> {
        for Skipped { path, reason, .. } in skipped {
            if self.skipped.insert(path.clone()) {
                self.observers.tell(&Event::Skipped { path: path.clone(), reason: reason.clone() })?;
            }
        }
        Ok(())
    }
}

// Precomputed activations.
impl<B: Backbone> Learner<B> {
    /// The first stage that is trained.
    pub(crate) fn border(&self) -> usize {
        self.network.group_starts()[self.state.frozen()]
    }

    /// Whether the whole backbone is frozen, so that what is kept is pooled.
    pub(crate) fn pooled(&self) -> bool {
        self.border() == self.network.backbone().stages()
    }

    /// The kept activations of items that have some, as the trained part's input: `[items, …]`.
    pub(crate) fn activations_of(&self, items: &[usize]) -> TensorData {
        let (_, kept) = self.kept.as_ref().expect("activations are ready");
        let rows =
            items.iter().map(|&item| kept.get(&self.data.digests[item]).expect("an item that has some"));
        let values: Vec<f32> = rows.flatten().copied().collect();
        TensorData::new(values, [&[items.len()], &kept.shape[..]].concat())
    }

    /// The items that have kept activations: all but bad images.
    pub(crate) fn with_activations(&self, items: &[usize]) -> Vec<usize> {
        let (_, kept) = self.kept.as_ref().expect("activations are ready");
        items.iter().copied().filter(|&item| kept.get(&self.data.digests[item]).is_some()).collect()
    }

    fn infer_activations(&self, activations: TensorData) -> Tensor<2> {
        let device = self.network.device();
        if self.pooled() {
            return self.network.infer_head(Tensor::from_data(activations, &device));
        }
        let stages = self.network.backbone().stages();
        let maps = self.network.infer_stages(Tensor::from_data(activations, &device), self.border(), stages);
        self.network.infer_head(self.network.pool(maps))
    }

    /// Makes sure that the activations of all images are at hand: from memory, from the cache folder, or
    /// computed and kept there.
    pub(crate) fn ready_activations(&mut self) -> Result<()> {
        let key = self.activation_key();
        if self.kept.as_ref().is_some_and(|(kept, _)| *kept == key) {
            return Ok(());
        }
        let began = Instant::now();
        let split = &self.data.split;
        let wanted: Vec<usize> = [&split.train[..], &split.valid].concat();
        let digests: HashSet<Digest> = wanted.iter().map(|&item| self.data.digests[item]).collect();
        let store = self.cache.as_ref().map(|cache| ActivationStore::new(cache, &key));
        let (mut activations, damaged) = store.as_ref().map(|store| store.load(&digests)).unwrap_or_default();
        for path in damaged {
            let text = format!("{} is damaged; its activations are computed again", path.display());
            self.observers.tell(&Event::Notice { text })?;
        }

        let mut seen = HashSet::new();
        let missing: Vec<usize> = wanted
            .into_iter()
            .filter(|&item| {
                let digest = &self.data.digests[item];
                activations.get(digest).is_none() && seen.insert(*digest)
            })
            .collect();
        let kept = digests.len() - missing.len();
        let computed = self.compute_activations(missing, store.as_ref(), &mut activations)?;
        self.kept = Some((key, activations));
        let seconds = began.elapsed().as_secs_f64();
        self.observers.tell(&Event::Activations { kept, computed, seconds })
    }

    /// Computes activations of the items, keeping them now and then; gives how many there were.
    fn compute_activations(
        &mut self,
        items: Vec<usize>,
        mut store: Option<&ActivationStore>,
        activations: &mut Activations,
    ) -> Result<usize> {
        let (total, border, pooled) = (items.len(), self.border(), self.pooled());
        let device = self.network.device();
        let mut unsaved = Vec::new();
        let (mut done, mut computed) = (0, 0);
        for batch in self.loader()?.batches(items, 0)? {
            let batch = batch?;
            self.tell_skipped(&batch.skipped)?;
            if !batch.indices.is_empty() {
                let maps = self.network.infer_stages(to_tensor(&batch, &device), 0, border);
                let (shape, values) = if pooled { parts(self.network.pool(maps)) } else { parts(maps) };
                let digests: Vec<Digest> =
                    batch.indices.iter().map(|&item| self.data.digests[item]).collect();
                activations.add(&shape, &digests, &values);
                computed += digests.len();
                unsaved.extend(digests);
            }
            done += batch.indices.len() + batch.skipped.len();
            if let (Some(to), true) = (store, unsaved.len() >= IMAGES_A_SHARD || done == total)
                && let Err(error) = to.save(&std::mem::take(&mut unsaved), activations)
            {
                // Without the cache all goes on as well, only slower the next time.
                store = None;
                let text = format!("{error}; this run goes on without it");
                self.observers.tell(&Event::Notice { text })?;
            }
            self.progress(Task::Activations, done, total)?;
        }
        Ok(computed)
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

/// So many images' activations are written at once; a killed run computes at most as many again.
const IMAGES_A_SHARD: usize = 512;

/// The shape of one row, and all numbers.
fn parts<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<f32>) {
    let shape = tensor.dims()[1..].to_vec();
    // Maps may be bf16, which f32 holds exactly.
    (shape, tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32"))
}
