//! The learner: trains a classifier on photos.

pub(crate) mod best;
pub(crate) mod examples;
mod features;
pub(crate) mod fine_tune;
pub(crate) mod fit;
pub(crate) mod keep_best;
pub(crate) mod logistic_regression;
mod look_alikes;
pub(crate) mod lr_find;
pub(crate) mod memory;
pub(crate) mod out_of_fold;
pub(crate) mod predict;
pub(crate) mod save;
pub(crate) mod snapshot;
pub(crate) mod speed;
pub(crate) mod to_model;
pub(crate) mod unknown;

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use ocelli_data::{Normalization, Preprocessing, Task as Labels};
use ocelli_nn::{
    AnyBackbone, Arch, Backbone, Classifier, GROUPS, Head, Int8Features, Network, Precision, TensorFile,
};

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::event::{Observer, Observers};
use crate::learner::best::BestWeights;
use crate::learner::save::SaveCycles;
use crate::metric::Metric;
use crate::metric::record::EpochRecord;
use crate::pretrained::{pretrained_weights, transferred};
use crate::recipe::freezing::{Freezing, Summary};
use crate::train::fit::Fit;
use crate::train::input::{BackboneInfo, Inputs};
use crate::train::optimizer::{Optimizer, WeightDecay};
use crate::train::options::TrainOptions;
use crate::train::state::TrainState;

/// Trains a classifier on photos by transfer learning.
///
/// A new learner has a pretrained backbone, which is frozen, and a new head. The [crate's docs](crate) show
/// the usual steps.
pub struct Learner<B: Backbone = AnyBackbone> {
    pub(crate) state: TrainState<B>,
    pub(crate) inputs: Inputs,
    pub(crate) options: TrainOptions,
    pub(crate) best: BestWeights<B>,
    pub(crate) history: Vec<EpochRecord>,
    pub(crate) observers: Observers,
    /// The fit that an error has ended, if any.
    pub(crate) unfinished: Option<Fit>,
    save_cycles: Option<SaveCycles>,
}

/// A view of the learner's state, for snapshots and hooks.
pub(crate) struct LearnerView<'a, B: Backbone> {
    pub(crate) state: &'a TrainState<B>,
    pub(crate) inputs: &'a Inputs,
    pub(crate) options: &'a TrainOptions,
    pub(crate) best: &'a BestWeights<B>,
    pub(crate) history: &'a [EpochRecord],
    /// The current fit.
    pub(crate) fit: Option<&'a Fit>,
}

impl Learner {
    /// A learner on a pretrained backbone of the registry, with the seed of its [data](ImageData::with_seed).
    /// The weights are built in, or a file on this machine: see [`WeightStore`](crate::WeightStore), whose
    /// [`pull`](crate::WeightStore::pull) downloads them. Nothing is downloaded here.
    ///
    /// # Errors
    /// [`Error::NoWeights`] where they are not on this machine.
    pub fn pretrained(arch: Arch, data: ImageData) -> Result<Self> {
        Self::with_weights(arch, &pretrained_weights(arch, None)?, data)
    }

    /// A learner on a backbone of the registry, with its weights from a file.
    ///
    /// # Errors
    /// [`Error::Network`] where they are another network's; [`Error::NotFiniteTensor`] where a weight is NaN
    /// or infinite; [`Error::ImageSize`] where the images are too small for the backbone.
    pub fn with_weights(arch: Arch, weights: &TensorFile, data: ImageData) -> Result<Self> {
        let info = arch.info();
        if data.size() < info.smallest {
            let (arch, size) = (info.name.to_owned(), data.size());
            return Err(Error::ImageSize { arch, size, smallest: info.smallest });
        }
        let network = transferred(arch, weights, data.classes().len(), data.seed())?;
        let normalization = Normalization { mean: info.mean, std: info.std };
        Ok(Self::new(network, info.name, normalization, data))
    }
}

impl<B: Backbone<Head = Head>> Learner<B> {
    /// A learner on a custom backbone, with the usual new head: see the example `custom_backbone`. `name` is
    /// stored in the model's file; `normalization` is the backbone's.
    ///
    /// Like every new learner it trains the head alone. A backbone without pretrained weights should be
    /// trained whole: [`unfreeze`](Self::unfreeze), and [`set_train_bn(true)`](Self::set_train_bn), since its
    /// running statistics are not yet meaningful.
    pub fn from_backbone(backbone: B, name: &str, normalization: Normalization, data: ImageData) -> Self {
        let network = Network::with_transfer_head(backbone, data.classes().len(), data.seed());
        Self::new(network, name, normalization, data)
    }
}

impl<B: Backbone> Learner<B> {
    /// A learner on any network, also with a custom head.
    ///
    /// # Errors
    /// [`Error::Setting`] where the head has another number of classes than the data, or the network does not
    /// take three channels: images are loaded as red, green and blue.
    pub fn from_network(
        network: Network<B>,
        name: &str,
        normalization: Normalization,
        data: ImageData,
    ) -> Result<Self> {
        let (classes, channels) = (network.head().classes(), network.input_channels());
        if classes != data.classes().len() {
            let expected = "the number of classes of the data";
            return Err(Error::setting("classes", classes, expected));
        }
        if channels != 3 {
            let expected = "3: images are loaded in colour";
            return Err(Error::setting("input_channels", channels, expected));
        }
        Ok(Self::new(network, name, normalization, data))
    }

    /// Moves the network to another device.
    pub fn to_device(&mut self, device: &Device) -> &mut Self {
        // A fork's parameters are leaves again; those of `to_device` are results of an operation.
        self.state.network = self.state.network.clone().fork(&device.clone().autodiff());
        self.set_freezing(self.state.freezing);
        self.inputs.forget_features();
        self
    }

    fn new(network: Network<B>, arch: &str, normalization: Normalization, data: ImageData) -> Self {
        let mut options = TrainOptions::default();
        if data.task() == Labels::MultiLabel {
            options.measure(Metric::usual(Labels::MultiLabel));
        }
        let backbone = BackboneInfo { name: arch.to_owned(), normalization };
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

    /// Sets the optimizer of later fits; its state is reset at the start of every fit. Default:
    /// [`Optimizer::SGD`].
    pub fn set_optimizer(&mut self, optimizer: Optimizer) -> &mut Self {
        self.options.optimizer = optimizer;
        self
    }

    /// Sets the decoupled weight decay: each step shrinks every weight by the factor `1 − lr · decay`, except
    /// norms and biases. Default: [`DEFAULT_WEIGHT_DECAY`](crate::DEFAULT_WEIGHT_DECAY).
    pub fn set_weight_decay(&mut self, decay: impl Into<WeightDecay>) -> &mut Self {
        self.options.weight_decay = decay.into();
        self
    }

    /// Sets the options of later fits. Metrics are added to those that are already computed.
    pub fn set_options(&mut self, options: TrainOptions) -> &mut Self {
        let measured = std::mem::replace(&mut self.options, options).metrics;
        let metrics = std::mem::replace(&mut self.options.metrics, measured);
        metrics.into_iter().for_each(|metric| self.options.measure(metric));
        self
    }

    /// Computes a metric after every epoch, besides losses and accuracy.
    pub fn measure(&mut self, metric: Metric) -> &mut Self {
        self.options.measure(metric);
        self
    }

    /// Saves the model at the end of every cycle of later fits, as `NAME_cyc_K.safetensors` with K from 0,
    /// for each fit anew. It has the weights that the epoch has validated; fastai 0.7 saves those before the
    /// last step. An [`Ensemble`](crate::Ensemble) of these models averages their predictions (Huang et al.
    /// 2017, <https://arxiv.org/abs/1704.00109>).
    pub fn set_cycle_save_name(&mut self, name: impl Into<PathBuf>) -> &mut Self {
        self.save_cycles = Some(SaveCycles::new(name.into()));
        self
    }

    /// Sets what the backbone's trainable batch norms normalise by in training: [`TrainOptions::train_bn`].
    pub fn set_train_bn(&mut self, train_bn: bool) -> &mut Self {
        self.options.train_bn = train_bn;
        self
    }

    /// Sets the precision of activations in the backbone, in training and in inference; the model records it.
    /// Default: [`Precision::fastest`].
    pub fn set_precision(&mut self, precision: Precision) -> &mut Self {
        self.state.network = self.state.network.clone().with_precision(precision);
        self
    }

    /// Sets whether [cached features](Self::cache_features) of training images are computed in 8-bit integers, which is
    /// faster and a little less exact: static quantization as by [`Model::int8`](crate::Model::int8), by the ranges of
    /// values on 100 training images. Those of validation images are computed by the network itself, so that metrics are of
    /// the model that is saved. Only pooled features of a whole frozen backbone are; layers are trained in floats. Default:
    /// no.
    ///
    /// # Errors
    /// [`Error::Int8Device`] on another device than the CPU; [`Error::Network`] where the network is no convolutional one.
    pub fn set_int8_features(&mut self, int8: bool) -> Result<&mut Self> {
        if int8 {
            let network = self.network();
            if !ocelli_nn::op::is_cpu(&network.device()) {
                return Err(Error::Int8Device { model: self.arch().to_owned() });
            }
            Int8Features::check(network, [self.data().size(); 2])?;
        }
        self.inputs.set_int8(int8);
        Ok(self)
    }

    /// Sets the folder to cache features in. Without one they are only kept in memory.
    pub fn set_cache(&mut self, folder: impl Into<PathBuf>) -> &mut Self {
        self.inputs.cache = Some(folder.into());
        self
    }

    pub(crate) fn observe_boxed(&mut self, observer: Box<dyn Observer>) {
        self.observers.add(observer);
    }

    /// Adds an observer.
    pub fn observe(&mut self, observer: impl Observer + 'static) -> &mut Self {
        self.observers.add(Box::new(observer));
        self
    }

    /// Which layers are frozen, and whether their features are cached.
    pub fn freezing(&self) -> Freezing {
        self.state.freezing
    }

    /// The photos.
    pub fn data(&self) -> &ImageData {
        &self.inputs.data
    }

    /// The photos without those that have been skipped so far, because they cannot be read.
    pub fn used_data(&self) -> ImageData {
        self.data().without(|path| self.observers.was_skipped(path))
    }

    /// The network in its current state.
    pub fn network(&self) -> &Network<B> {
        &self.state.network
    }

    /// The backbone's name.
    pub fn arch(&self) -> &str {
        &self.inputs.backbone.name
    }

    /// The records of all epochs so far.
    pub fn history(&self) -> &[EpochRecord] {
        &self.history
    }

    /// The preprocessing of images.
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

    /// A view of the state, between fits or in a fit that an error has ended.
    pub(crate) fn view(&self) -> LearnerView<'_, B> {
        let Self { state, inputs, options, best, history, unfinished, .. } = self;
        LearnerView { state, inputs, options, best, history, fit: unfinished.as_ref() }
    }

    /// Replaces the data by other images of the same classes: more of them, or the same at another size.
    /// Which layers are frozen and whether features are cached does not change: features of the new images
    /// are read from the cache, or computed, before the next fit. (fastai 0.7 freezes the backbone here, and
    /// keeps training on the features of the old images.) An unfinished fit can no longer be resumed.
    ///
    /// # Errors
    /// [`Error::ClassMismatch`] where the classes or the task differ, [`Error::ImageSize`] where the images
    /// are too small for the backbone; the learner is then unchanged.
    pub fn set_data(&mut self, data: ImageData) -> Result<()> {
        if data.classes() != self.data().classes() || data.task() != self.data().task() {
            return Err(Error::ClassMismatch {
                what: "the new data".to_owned(),
                found: data.classes().to_vec(),
                expected: self.data().classes().to_vec(),
            });
        }
        if let Ok(arch) = self.arch().parse::<Arch>()
            && data.size() < arch.info().smallest
        {
            let smallest = arch.info().smallest;
            return Err(Error::ImageSize { arch: arch.to_string(), size: data.size(), smallest });
        }
        self.inputs.set_data(data);
        self.unfinished = None;
        Ok(())
    }

    /// Changes the image size in pixels, with the same images: [`set_data`](Self::set_data).
    ///
    /// # Errors
    /// [`Error::Data`] for sizes out of range, [`Error::ImageSize`] for sizes too small for the backbone.
    pub fn set_size(&mut self, size: usize) -> Result<()> {
        let data = self.data().clone().with_size(size)?;
        self.set_data(data)
    }

    /// Freezes the backbone, so that only the head is trained.
    pub fn freeze(&mut self) {
        self.set_freezing(Freezing::Streamed { frozen: GROUPS - 1 });
    }

    /// Freezes the layer groups before `group` and trains the others; 0 trains all. Every epoch then starts
    /// from the images.
    ///
    /// # Errors
    /// Where there is no such group.
    pub fn freeze_to(&mut self, group: usize) -> Result<()> {
        if group >= GROUPS {
            return Err(Error::setting("group", group, "0 (early layers), 1 (late layers) or 2 (head)"));
        }
        self.set_freezing(Freezing::Streamed { frozen: group });
        Ok(())
    }

    /// Unfreezes all layers; features are no longer cached.
    pub fn unfreeze(&mut self) {
        self.set_freezing(Freezing::Streamed { frozen: 0 });
    }

    pub(crate) fn set_freezing(&mut self, freezing: Freezing) {
        self.state.set_freezing(freezing);
    }
}
