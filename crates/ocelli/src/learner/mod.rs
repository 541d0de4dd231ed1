//! The learner: a network, photos, and what is trained of it.

pub(crate) mod best;
pub(crate) mod fine_tune;
pub(crate) mod memory;
pub(crate) mod snapshot;
pub(crate) mod speed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_data::{Digest, Loader, Normalization, Preprocessing, Skipped, Store, Task as Labels};
use ocelli_nn::{Arch, Backbone, Body, Classifier, GROUPS, Head, Network, Precision, Statistics, TensorFile};

use crate::data::to_tensor::to_tensor;
use crate::data::{ImageData, Part};
use crate::error::{Error, Result};
use crate::event::{EpochRow, Event, Observer, Observers, Progress, Task};
use crate::features::{Kept, Look};
use crate::learner::best::Best;
use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::model::contract::Contract;
use crate::model::submission::clip::ProbabilityClip;
use crate::model::{contract, finite};
use crate::pretrained::pretrained_weights;
use crate::recipe::freezing::{Freezing, Summary};
use crate::run::checkpoint::Checkpoints;
use crate::run::perform::Progress as Performance;
use crate::train::fit::Fit;
use crate::train::optimizer::{Optimizer, WeightDecay};
use crate::train::options::Method;

/// Trains a classifier on photos by transfer learning.
///
/// A new learner has a pretrained body, which is frozen, and a new head. See the [crate's docs](crate) for the
/// usual steps.
pub struct Learner<B: Backbone = Body> {
    pub(crate) network: Network<B>,
    pub(crate) data: ImageData,
    pub(crate) freezing: Freezing,
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
    pub(crate) clip: Option<ProbabilityClip>,
    /// What is measured after every epoch, besides losses and accuracy.
    pub(crate) metrics: Vec<Metric>,
    /// What the best weights are kept by.
    pub(crate) keeping: Option<Metric>,
    /// The best weights by the size of the images.
    pub(crate) best: BTreeMap<usize, Best<B>>,
    pub(crate) patience: Option<usize>,
    /// How far the recipe is that is being performed.
    pub(crate) performance: Performance,
    /// When the seconds in [`performance`](Self::performance) were counted last.
    pub(crate) clock: Instant,
    pub(crate) checkpoints: Option<Checkpoints>,
    /// The fit that an error has ended.
    pub(crate) unfinished: Option<Fit>,
    pub(crate) architecture: String,
    set_aside: Vec<String>,
    pub(crate) normalization: Normalization,
    /// What logits are divided by to be calibrated, if it is known for the weights as they are.
    pub(crate) temperature: Option<f64>,
    pub(crate) cache: Option<PathBuf>,
    cycle_save_name: Option<PathBuf>,
    pub(crate) kept: Option<Kept>,
    pub(crate) skipped: BTreeMap<PathBuf, String>,
    /// Where resized copies of large images are.
    resized: Option<Store>,
}

impl Learner {
    /// A learner on a backbone of the registry with its pretrained weights, seed 0. They are built in, or come from
    /// this machine: see [`WeightStore`](crate::WeightStore), whose `pull` (feature `hub`) downloads
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
    /// [`Error::Network`] where they are another network's; [`Error::NotFiniteTensor`] where one of them is NaN or infinite;
    /// [`Error::ImageSize`] where the images are too small for it.
    pub fn with_weights(arch: Arch, weights: &TensorFile, data: ImageData, seed: u64) -> Result<Self> {
        let info = arch.info();
        if data.size() < info.smallest {
            let (architecture, size) = (info.name.to_owned(), data.size());
            return Err(Error::ImageSize { architecture, size, smallest: info.smallest });
        }
        let aside: Vec<&str> = arch.set_aside(weights);
        finite::check_finite_of(
            weights,
            weights.names().filter(|name| !aside.contains(name)),
            weights.origin(),
        )?;
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
    ///
    /// As every new learner it trains the head alone. A backbone without weights is to be trained whole:
    /// [`unfreeze`](Self::unfreeze), and [`bn_freeze(false)`](Self::bn_freeze), since its running statistics tell nothing
    /// yet.
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
        if network.head().classes() != data.classes().len() {
            let classes = network.head().classes();
            return Err(Error::setting(
                "the head's number of classes",
                classes,
                "as many classes as the data has",
            ));
        }
        if network.input_channels() != 3 {
            let channels = network.input_channels();
            return Err(Error::setting(
                "the network's number of input channels",
                channels,
                "3: images are loaded in colour",
            ));
        }
        Ok(Self::new(network, name, normalization, data, seed))
    }

    /// Moves the network to another device; everything is computed there from now on.
    pub fn to_device(&mut self, device: &Device) -> &mut Self {
        // A fork's parameters are leaves again; those of `to_device` are results of a move.
        self.network = self.network.clone().fork(&device.clone().autodiff());
        self.set_freezing(self.freezing);
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
        let several = data.task() == Labels::MultiLabel;
        let mut learner = Self {
            network: network.with_precision(Precision::fastest()),
            data,
            freezing: Freezing::Live { frozen: GROUPS - 1 },
            observers: Observers::default(),
            seed,
            method: Method::default(),
            statistics: Statistics::Running,
            steps: 0,
            epochs: 0,
            fits: 0,
            history: Vec::new(),
            thresholds: None,
            clip: None,
            metrics: if several { vec![Metric::usual(Labels::MultiLabel)] } else { Vec::new() },
            keeping: None,
            best: BTreeMap::new(),
            patience: None,
            performance: Performance::default(),
            clock: Instant::now(),
            checkpoints: None,
            unfinished: None,
            architecture: architecture.to_owned(),
            set_aside: Vec::new(),
            temperature: None,
            normalization,
            cache: None,
            cycle_save_name: None,
            kept: None,
            skipped: BTreeMap::new(),
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

    /// With `true`, the default, the backbone's batch norms normalise by their running statistics while they are
    /// trained, which leaves the features as the head knows them; with `false` by those of the batch, which the running
    /// ones follow. The norms of a head always take the batch's, those of frozen groups never.
    ///
    /// fastai's default is `false`, after which unfreezing can cost several per cent of accuracy at once; see
    /// `benches/unfreezing.md`.
    pub fn bn_freeze(&mut self, freeze: bool) -> &mut Self {
        self.statistics = if freeze { Statistics::Running } else { Statistics::Batch };
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
            return Err(Error::setting(
                "thresholds",
                thresholds.len(),
                "one a class, where images may have several classes",
            ));
        }
        self.thresholds = Some(thresholds);
        Ok(self)
    }

    pub(crate) fn observe_boxed(&mut self, observer: Box<dyn Observer>) {
        self.observers.add(observer);
    }

    /// Adds a listener.
    pub fn observe(&mut self, observer: impl Observer + 'static) -> &mut Self {
        self.observers.add(Box::new(observer));
        self
    }

    /// What is frozen and what is precomputed.
    pub fn freezing(&self) -> Freezing {
        self.freezing
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

    /// What is trained, with the number of parameters of each layer group.
    pub fn summary(&self) -> Summary {
        Summary {
            freezing: self.freezing,
            statistics: self.statistics,
            parameters: self.network.parameters(),
        }
    }

    /// Goes on with other photos of the same classes: more of them, or the same at another size. What is frozen and
    /// precomputed stays so: activations of the new photos are taken from the cache, or computed, before the next
    /// fit. (fastai 0.7 freezes the backbone here, and goes on training on the old activations if they were
    /// precomputed.) A fit that is unfinished cannot be resumed any more.
    ///
    /// # Errors
    /// [`Error::ClassMismatch`] where classes or task are others, [`Error::ImageSize`] where the images are too small for the
    /// backbone; the learner then stays as it was.
    pub fn set_data(&mut self, data: ImageData) -> Result<()> {
        if data.classes() != self.data.classes() || data.task() != self.data.task() {
            return Err(Error::ClassMismatch {
                what: "the new data".to_owned(),
                found: data.classes().to_vec(),
                expected: self.data.classes().to_vec(),
            });
        }
        if let Ok(arch) = self.architecture.parse::<Arch>()
            && data.size() < arch.info().smallest
        {
            let (architecture, size) = (self.architecture.clone(), data.size());
            return Err(Error::ImageSize { architecture, size, smallest: arch.info().smallest });
        }
        self.data = data;
        self.kept = None;
        self.resized = None;
        self.unfinished = None;
        Ok(())
    }

    /// Goes on with the same photos at another size in pixels: [`set_data`](Self::set_data).
    ///
    /// # Errors
    /// [`Error::Data`] for sizes out of range, [`Error::ImageSize`] for those too small for the backbone.
    pub fn set_size(&mut self, size: usize) -> Result<()> {
        let data = self.data.clone().with_size(size)?;
        self.set_data(data)
    }

    /// Freezes the backbone; the head alone is trained.
    pub fn freeze(&mut self) {
        self.set_freezing(Freezing::Live { frozen: GROUPS - 1 });
    }

    /// Freezes the layer groups before `group` and trains those from it on; 0 trains all. Every epoch then
    /// starts from the images.
    ///
    /// # Errors
    /// Where there is no such group.
    pub fn freeze_to(&mut self, group: usize) -> Result<()> {
        if group >= GROUPS {
            return Err(Error::setting("group", group, "0 (early body), 1 (late body) or 2 (head)"));
        }
        self.set_freezing(Freezing::Live { frozen: group });
        Ok(())
    }

    /// Trains all layers; activations are not precomputed any more.
    pub fn unfreeze(&mut self) {
        self.set_freezing(Freezing::Live { frozen: 0 });
    }

    pub(crate) fn set_freezing(&mut self, freezing: Freezing) {
        self.freezing = freezing;
        let network = self.network.clone();
        self.network = network.train_groups_from(freezing.frozen());
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
        let (items, logits) = self.infer(part, Task::Validation)?;
        let mut predictions = self.no_predictions();
        for (&item, logits) in items.iter().zip(logits.chunks_exact(self.data.classes().len())) {
            predictions.push(item, &self.data.items[item].target, logits);
        }
        Ok(predictions)
    }

    /// The images of a part that can be read, and their logits `[images, classes]`, row by row; from kept activations
    /// where there are some. `task` is what progress is told of.
    pub(crate) fn infer(&mut self, part: Part, task: Task) -> Result<(Vec<usize>, Vec<f32>)> {
        let items = self.items_of(part).to_vec();
        let mut all = Vec::with_capacity(items.len() * self.data.classes().len());
        let mut add = |logits: Tensor<2>| {
            all.extend(logits.into_data().try_into_vec::<f32>().expect("logits are f32"));
        };
        if self.keeps(part) {
            self.ready_activations()?;
            let with_activations = self.with_activations(&items, Look::Plain);
            // Pooled features are small: many at once share the packing of the head's weights.
            let many = if self.pooled() { 1024 } else { 1 };
            for items in with_activations.chunks(self.data.batch_size().max(many)) {
                add(self.infer_activations(self.activations_of(items, Look::Plain)));
            }
            return Ok((with_activations, all));
        }
        let (total, mut done) = (items.len(), 0);
        let mut readable = Vec::with_capacity(total);
        for batch in self.loader()?.batches(items, 0)? {
            let mut batch = batch?;
            self.tell_skipped(&batch.skipped)?;
            if !batch.indices.is_empty() {
                add(self.network.infer(to_tensor(&mut batch, &self.network.device())));
            }
            done += batch.indices.len() + batch.skipped.len();
            readable.extend_from_slice(&batch.indices);
            self.progress(task, done, total)?;
        }
        Ok((readable, all))
    }

    /// Predictions of nothing, to be filled.
    pub(crate) fn no_predictions(&self) -> Predictions {
        let mut predictions = Predictions::new(self.data.task(), self.data.classes().len());
        if let Some(thresholds) = &self.thresholds {
            predictions.set_thresholds(thresholds.clone());
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

    /// Fits the temperature that makes probabilities mean what they say on predictions of held-out images, and keeps it
    /// for the models that are [saved](Self::save) until the weights are trained again; none where it does not lower the
    /// log loss of images that it was not fitted on: see [`Predictions::helpful_temperature`].
    pub fn calibrate(&mut self, predictions: &Predictions) -> Option<f64> {
        self.temperature = predictions.helpful_temperature();
        self.temperature
    }

    /// Writes the model to a file, with all that is needed to use it.
    ///
    /// # Errors
    /// Where the file cannot be written; what was there before then stays. [`Error::NotFiniteTensor`] where a weight is
    /// NaN or infinite.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_as(path.as_ref(), &self.network, self.data.size()).map(drop)
    }

    /// Writes a model of another network like this one's, for images of another size, and gives the digest in it.
    pub(crate) fn save_as(&self, path: &Path, network: &Network<B>, size: usize) -> Result<String> {
        let preprocessing = Preprocessing { size, ..self.preprocessing() };
        let precision = self.network.precision();
        let mut contract = Contract::new(&self.architecture, &self.data.items, preprocessing, precision);
        contract.thresholds = self.thresholds.clone();
        contract.channels = self.data.loading().decoder.channels;
        contract.temperature = self.temperature;
        contract.augmentation = self.data.augmentation().cloned();
        contract.clip = self.clip;
        contract.label_separator = self.data.label_separator;
        let tensors = network.to_tensors();
        finite::check_finite(&tensors, "the network")?;
        contract::save(path, &contract, &tensors)
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
        // A copy holds three bands of 8 bits: what is chosen among more is read from the photo itself.
        if epochs < 2 || !self.data.loading().decoder.channels.is_usual() {
            return Ok(());
        }
        let began = Instant::now();
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
        // Whether or not they could be kept, the same copies are trained on.
        self.resized = Some(store);
        match filled {
            Ok(filled) => {
                self.tell_skipped(&filled.skipped)?;
                self.tell(&Event::spent(Task::Resizing, began))
            }
            Err(error) => {
                let text =
                    format!("{error}; this run goes on without, and resizes images again in every epoch");
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

    /// Tells of images that were left out, of each once; an error where a class cannot do without them.
    pub(crate) fn tell_skipped(&mut self, skipped: &[Skipped]) -> Result<()> {
        let mut is_new = false;
        for Skipped { path, reason, .. } in skipped {
            if self.skipped.insert(path.clone(), reason.clone()).is_none() {
                is_new = true;
                self.observers.tell(&Event::Skipped { path: path.clone(), reason: reason.clone() })?;
            }
        }
        match is_new {
            true => self
                .data
                .can_spare(self.skipped.iter().map(|(path, reason)| (path.as_path(), reason.as_str()))),
            false => Ok(()),
        }
    }
}
