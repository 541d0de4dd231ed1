//! The learner: trains a classifier on photos, step by step.

pub(crate) mod best;
pub(crate) mod features;
pub(crate) mod fine_tune;
pub(crate) mod fit;
pub(crate) mod keep_best;
pub(crate) mod lr_find;
pub(crate) mod memory;
pub(crate) mod out_of_fold;
pub(crate) mod predict;
pub(crate) mod save;
pub(crate) mod snapshot;
pub(crate) mod speed;
pub(crate) mod to_model;

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use ocelli_data::{Normalization, Preprocessing, Task as Labels};
use ocelli_nn::{AnyBackbone, Arch, Backbone, Classifier, GROUPS, Head, Network, Precision, TensorFile};

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::event::{Observer, Observers};
use crate::learner::best::BestWeights;
use crate::learner::save::SaveCycles;
use crate::metric::Metric;
use crate::metric::record::EpochRecord;
use crate::model::finite::check_finite_of;
use crate::pretrained::pretrained_weights;
use crate::recipe::freezing::{Freezing, Summary};
use crate::train::fit::Fit;
use crate::train::input::{BackboneInfo, Inputs};
use crate::train::optimizer::{Optimizer, WeightDecay};
use crate::train::options::TrainOptions;
use crate::train::state::TrainState;

/// Trains a classifier on photos by transfer learning.
///
/// A new learner has a pretrained body, which is frozen, and a new head. See the [crate's docs](crate) for the
/// usual steps.
pub struct Learner<B: Backbone = AnyBackbone> {
    pub(crate) state: TrainState<B>,
    pub(crate) inputs: Inputs,
    pub(crate) options: TrainOptions,
    pub(crate) best: BestWeights<B>,
    pub(crate) history: Vec<EpochRecord>,
    pub(crate) observers: Observers,
    /// The fit that an error has ended.
    pub(crate) unfinished: Option<Fit>,
    save_cycles: Option<SaveCycles>,
}

/// What a learner has come to, for those who keep it.
pub(crate) struct LearnerView<'a, B: Backbone> {
    pub(crate) state: &'a TrainState<B>,
    pub(crate) inputs: &'a Inputs,
    pub(crate) options: &'a TrainOptions,
    pub(crate) best: &'a BestWeights<B>,
    pub(crate) history: &'a [EpochRecord],
    /// The fit under way.
    pub(crate) fit: Option<&'a Fit>,
}

impl Learner {
    /// A learner on a backbone of the registry with its pretrained weights, seeded as its
    /// [data](ImageData::with_seed) is. The weights are built in, or come from this machine: see
    /// [`WeightStore`](crate::WeightStore), whose [`pull`](crate::WeightStore::pull) fetches them. Nothing is fetched
    /// here.
    ///
    /// # Errors
    /// [`Error::NoWeights`] where they are not at hand.
    pub fn pretrained(arch: Arch, data: ImageData) -> Result<Self> {
        Self::with_weights(arch, &pretrained_weights(arch, None)?, data)
    }

    /// A learner on a backbone of the registry with the body's weights from a file.
    ///
    /// # Errors
    /// [`Error::Network`] where they are another network's; [`Error::NotFiniteTensor`] where one of them is NaN or infinite;
    /// [`Error::ImageSize`] where the images are too small for it.
    pub fn with_weights(arch: Arch, weights: &TensorFile, data: ImageData) -> Result<Self> {
        let info = arch.info();
        if data.size() < info.smallest {
            let (architecture, size) = (info.name.to_owned(), data.size());
            return Err(Error::ImageSize { architecture, size, smallest: info.smallest });
        }
        let aside: Vec<&str> = arch.dropped_tensors(weights);
        let taken = weights.names().filter(|name| !aside.contains(name));
        check_finite_of(weights, taken, weights.origin())?;
        let network = arch.transfer(weights, data.classes().len(), data.seed(), &Device::flex())?;
        let normalization = Normalization { mean: info.mean, std: info.std };
        Ok(Self::new(network, info.name, normalization, data))
    }
}

impl<B: Backbone<Head = Head>> Learner<B> {
    /// A learner on a backbone of the user's own, with the usual new head: see the example `custom_backbone`.
    /// `name` stands in the model's file; `normalization` is what the backbone takes.
    ///
    /// As every new learner it trains the head alone. A backbone without weights is to be trained whole:
    /// [`unfreeze`](Self::unfreeze), and [`set_batch_statistics(true)`](Self::set_batch_statistics), since its running statistics tell nothing
    /// yet.
    pub fn from_backbone(backbone: B, name: &str, normalization: Normalization, data: ImageData) -> Self {
        let network = Network::with_transfer_head(backbone, data.classes().len(), data.seed());
        Self::new(network, name, normalization, data)
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
    ) -> Result<Self> {
        let (classes, channels) = (network.head().classes(), network.input_channels());
        if classes != data.classes().len() {
            let expected = "as many classes as the data has";
            return Err(Error::setting("the head's number of classes", classes, expected));
        }
        if channels != 3 {
            let expected = "3: images are loaded in colour";
            return Err(Error::setting("the network's number of input channels", channels, expected));
        }
        Ok(Self::new(network, name, normalization, data))
    }

    /// Moves the network to another device; everything is computed there from now on.
    pub fn to_device(&mut self, device: &Device) -> &mut Self {
        // A fork's parameters are leaves again; those of `to_device` are results of a move.
        self.state.network = self.state.network.clone().fork(&device.clone().autodiff());
        self.set_freezing(self.state.freezing);
        self.inputs.forget_features();
        self
    }

    fn new(network: Network<B>, architecture: &str, normalization: Normalization, data: ImageData) -> Self {
        let mut options = TrainOptions::default();
        if data.task() == Labels::MultiLabel {
            options.measure(Metric::usual(Labels::MultiLabel));
        }
        let backbone = BackboneInfo { name: architecture.to_owned(), normalization };
        Self {
            state: TrainState::new(network.with_precision(Precision::fastest()), data.seed()),
            inputs: Inputs::new(data, backbone),
            options,
            best: BestWeights::default(),
            history: Vec::new(),
            observers: Observers::default(),
            unfinished: None,
            save_cycles: None,
        }
    }

    /// Sets the optimizer for the fits to come; its memory starts anew with every fit. Default:
    /// [`Optimizer::SGD`].
    pub fn set_optimizer(&mut self, optimizer: Optimizer) -> &mut Self {
        self.options.optimizer = optimizer;
        self
    }

    /// Sets the decoupled weight decay: each step takes `rate · decay` of every weight away, norms and biases
    /// excepted. Default [`DEFAULT_WEIGHT_DECAY`](crate::DEFAULT_WEIGHT_DECAY).
    pub fn set_weight_decay(&mut self, decay: impl Into<WeightDecay>) -> &mut Self {
        self.options.weight_decay = decay.into();
        self
    }

    /// Sets how the weights move in the fits to come, and what is measured. What is measured already goes on to be.
    pub fn set_options(&mut self, options: TrainOptions) -> &mut Self {
        let measured = std::mem::replace(&mut self.options, options).metrics;
        let metrics = std::mem::replace(&mut self.options.metrics, measured);
        metrics.into_iter().for_each(|metric| self.options.measure(metric));
        self
    }

    /// Measures a metric after every epoch, besides losses and accuracy.
    pub fn measure(&mut self, metric: Metric) -> &mut Self {
        self.options.measure(metric);
        self
    }

    /// Saves the model at the end of every cycle of the fits to come, as `NAME_cyc_K.safetensors` with K from 0, in
    /// each fit anew. Saved is what the epoch has measured; fastai 0.7 saves the weights before the last step.
    /// An [`Ensemble`](crate::Ensemble) of them averages their predictions (Huang et al. 2017,
    /// <https://arxiv.org/abs/1704.00109>).
    pub fn set_cycle_save_name(&mut self, name: impl Into<PathBuf>) -> &mut Self {
        self.save_cycles = Some(SaveCycles::new(name.into()));
        self
    }

    /// Sets what the backbone's batch norms normalise by while they are trained:
    /// [`TrainOptions::batch_statistics`].
    pub fn set_batch_statistics(&mut self, of_batch: bool) -> &mut Self {
        self.options.batch_statistics = of_batch;
        self
    }

    /// Sets the precision of the activations in the backbone, in training and in use; the model is then used with the
    /// same. The default is [`Precision::fastest`].
    pub fn set_precision(&mut self, precision: Precision) -> &mut Self {
        self.state.network = self.state.network.clone().with_precision(precision);
        self
    }

    /// Keeps cached features in this folder, and takes those that are there. Without a folder they are computed in
    /// memory.
    pub fn set_cache(&mut self, folder: impl Into<PathBuf>) -> &mut Self {
        self.inputs.cache = Some(folder.into());
        self
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
        self.state.freezing
    }

    /// The photos.
    pub fn data(&self) -> &ImageData {
        &self.inputs.data
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network<B> {
        &self.state.network
    }

    /// The backbone's name.
    pub fn architecture(&self) -> &str {
        &self.inputs.backbone.name
    }

    /// The rows of all epochs so far.
    pub fn history(&self) -> &[EpochRecord] {
        &self.history
    }

    /// From a photo to the network's input.
    pub fn preprocessing(&self) -> Preprocessing {
        self.inputs.preprocessing()
    }

    /// What is trained, with the number of parameters of each layer group.
    pub fn summary(&self) -> Summary {
        Summary {
            freezing: self.state.freezing,
            statistics: self.options.statistics(),
            parameters: self.state.network.parameters(),
        }
    }

    /// What the learner has come to; between fits, or in one that an error has ended.
    pub(crate) fn view(&self) -> LearnerView<'_, B> {
        let Self { state, inputs, options, best, history, unfinished, .. } = self;
        LearnerView { state, inputs, options, best, history, fit: unfinished.as_ref() }
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
        if data.classes() != self.data().classes() || data.task() != self.data().task() {
            return Err(Error::ClassMismatch {
                what: "the new data".to_owned(),
                found: data.classes().to_vec(),
                expected: self.data().classes().to_vec(),
            });
        }
        if let Ok(arch) = self.architecture().parse::<Arch>()
            && data.size() < arch.info().smallest
        {
            let (architecture, size) = (self.architecture().to_owned(), data.size());
            return Err(Error::ImageSize { architecture, size, smallest: arch.info().smallest });
        }
        self.inputs.set_data(data);
        self.unfinished = None;
        Ok(())
    }

    /// Goes on with the same photos at another size in pixels: [`set_data`](Self::set_data).
    ///
    /// # Errors
    /// [`Error::Data`] for sizes out of range, [`Error::ImageSize`] for those too small for the backbone.
    pub fn set_size(&mut self, size: usize) -> Result<()> {
        let data = self.data().clone().with_size(size)?;
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
        self.state.set_freezing(freezing);
    }
}
