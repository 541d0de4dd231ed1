//! Heads of backbones: pooling, then a classifier.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::layer::{BatchNorm, Dropout, LayerNorm, Linear, Pool};
use crate::{Builder, Pass, op};

/// Computes logits `[images, classes]` from a backbone's output `[images, channels, height, width]`.
///
/// Pooling and classifying are separate steps, so that pooled features of a frozen backbone can be cached and
/// the classifier trained on them alone.
pub trait Classifier: Module + ModuleDisplay {
    /// One vector an image, without parameters: `[images, pooled]`.
    fn pool(&self, maps: Tensor<4>) -> Tensor<2>;

    /// Logits `[images, classes]` from pooled features `[images, pooled]`.
    fn classify(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2>;

    /// The number of classes.
    fn classes(&self) -> usize;

    /// A new head of a kind, for this many pooled features; `None` where the head is a custom module.
    fn new_of(_: &Builder, _: HeadKind, _: Pool, _features: usize, _classes: usize) -> Option<Self> {
        None
    }

    /// How it pools; `None` for a custom module.
    fn pooling(&self) -> Option<Pool> {
        None
    }

    /// Its kind; `None` for a custom module and for a published network's own classifier.
    fn kind(&self) -> Option<HeadKind> {
        None
    }
}

/// What a head for transfer learning is, so that it can be built again for the tensors of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeadForm {
    /// The layers of the head.
    pub kind: HeadKind,
    /// The stages of the backbone before the last whose output it takes too, ascending (Evci et al. 2022,
    /// Head2Toe, <https://arxiv.org/abs/2201.03529>): the mean of every channel of each, before the features
    /// of the last stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depths: Vec<usize>,
}

/// The layers of a head for transfer learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HeadKind {
    /// [`TransferHead`]: one hidden layer.
    #[default]
    Mlp,
    /// [`LinearHead`]: a batch norm and one linear layer.
    Linear,
}

/// The heads of the registry's networks.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one value a network
#[non_exhaustive]
pub enum Head {
    /// The head that transfer learning trains.
    Transfer(TransferHead),
    /// A linear head, which logistic regression fits.
    Linear(LinearHead),
    /// A published network's own classifier.
    Published(PublishedHead),
}

/// fastai's head: maximum and average pooling side by side → batch norm → dropout 0.25 → linear → ReLU →
/// batch norm → dropout 0.5 → linear.
///
/// Linear weights start Kaiming-normal with fan-in, biases at 0 (fastai 0.7, `ConvnetBuilder.get_fc_layers`).
#[derive(Module, Debug)]
pub struct TransferHead {
    norm_in: BatchNorm,
    dropout_in: Dropout,
    hidden: Linear,
    norm_hidden: BatchNorm,
    dropout_hidden: Dropout,
    output: Linear,
    #[module(skip)]
    pool: Pool,
}

/// Width of the hidden layer of [`TransferHead`].
const HIDDEN: usize = 512;

/// Batch norm, which standardises features, → linear. With the statistics of the training images its output is
/// that of a multinomial logistic regression on standardised features.
#[derive(Module, Debug)]
pub struct LinearHead {
    norm: BatchNorm,
    linear: Linear,
    #[module(skip)]
    pool: Pool,
}

/// Pooling, a layer norm in some networks, then one linear layer or several with an activation between them.
/// Dropout, which some have there, is left out: a published network is used, not trained.
#[derive(Module, Debug)]
pub struct PublishedHead {
    norm: Option<LayerNorm>,
    layers: Vec<Linear>,
    #[module(skip)]
    form: PublishedForm,
}

/// What a published network's classifier is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PublishedForm {
    /// How the last stage's output becomes one vector.
    pub pool: Pool,
    /// The layer norm's name, where there is one.
    pub norm: Option<&'static str>,
    /// Hidden layers: name and width.
    pub hidden: &'static [(&'static str, usize)],
    /// What follows each hidden layer.
    pub activation: HiddenActivation,
    /// The last layer's name.
    pub output: &'static str,
}

impl PublishedForm {
    /// Average pooling and one linear layer of that name.
    pub const fn linear(output: &'static str) -> Self {
        Self { pool: Pool::Average, norm: None, hidden: &[], activation: HiddenActivation::Relu, output }
    }
}

/// An activation between the layers of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HiddenActivation {
    /// `max(u, 0)`
    Relu,
    /// `u · min(max(u + 3, 0), 6) / 6`
    HardSwish,
}

impl TransferHead {
    /// A head for `pooled` features. Its parts are numbered as in PyTorch's `Sequential` of concat pooling,
    /// flatten, batch norm, dropout, linear, ReLU, batch norm, dropout, linear.
    pub fn new(builder: &Builder, pool: Pool, pooled: usize, classes: usize) -> Self {
        Self {
            norm_in: BatchNorm::new(&builder.at("2"), pooled, 1e-5),
            dropout_in: Dropout::new(&builder.at("3"), 0.25),
            hidden: Linear::new(&builder.at("4"), pooled, HIDDEN),
            norm_hidden: BatchNorm::new(&builder.at("6"), HIDDEN, 1e-5),
            dropout_hidden: Dropout::new(&builder.at("7"), 0.5),
            output: Linear::new(&builder.at("8"), HIDDEN, classes),
            pool,
        }
    }

    fn classify(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let x = self.norm_in.forward(pooled, pass);
        let x = self.dropout_in.forward(x, pass);
        let x = op::relu(self.hidden.forward(x, pass));
        let x = self.norm_hidden.forward(x, pass);
        let x = self.dropout_hidden.forward(x, pass);
        self.output.forward(x, pass)
    }
}

impl LinearHead {
    /// What its norm adds to variances.
    pub const EPSILON: f64 = 1e-5;

    /// A head for `pooled` features.
    pub fn new(builder: &Builder, pool: Pool, pooled: usize, classes: usize) -> Self {
        Self {
            norm: BatchNorm::new(&builder.at("norm"), pooled, Self::EPSILON),
            linear: Linear::new(&builder.at("linear"), pooled, classes),
            pool,
        }
    }

    fn classify(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2> {
        self.linear.forward(self.norm.forward(pooled, pass), pass)
    }
}

impl Head {
    /// The number of pooled features that it takes.
    pub fn features(&self) -> usize {
        match self {
            Self::Transfer(head) => head.hidden.inputs(),
            Self::Linear(head) => head.linear.inputs(),
            Self::Published(head) => head.layers.first().map_or(0, Linear::inputs),
        }
    }
}

impl PublishedHead {
    /// The published classifier of a network with `channels` channels.
    pub fn new(builder: &Builder, form: PublishedForm, channels: usize, classes: usize) -> Self {
        let mut inputs = form.pool.features(channels);
        let norm = form.norm.map(|name| LayerNorm::new(&builder.at(name), inputs));
        let layers = form.hidden.iter().copied().chain([(form.output, classes)]);
        let layers = layers.map(|(name, outputs)| {
            Linear::new(&builder.at(name), std::mem::replace(&mut inputs, outputs), outputs)
        });
        Self { norm, layers: layers.collect(), form }
    }

    fn classify(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let x = match &self.norm {
            Some(norm) => norm.forward(pooled, pass),
            None => pooled,
        };
        let (output, hidden) = self.layers.split_last().expect("a classifier has a last layer");
        let x = hidden.iter().fold(x, |x, layer| {
            let x = layer.forward(x, pass);
            match self.form.activation {
                HiddenActivation::Relu => op::relu(x),
                HiddenActivation::HardSwish => op::hard_swish(x),
            }
        });
        output.forward(x, pass)
    }
}

impl Classifier for Head {
    fn pool(&self, maps: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Transfer(head) => head.pool.forward(maps),
            Self::Linear(head) => head.pool.forward(maps),
            Self::Published(head) => head.form.pool.forward(maps),
        }
    }

    fn classify(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2> {
        match self {
            Self::Transfer(head) => head.classify(pooled, pass),
            Self::Linear(head) => head.classify(pooled, pass),
            Self::Published(head) => head.classify(pooled, pass),
        }
    }

    fn classes(&self) -> usize {
        match self {
            Self::Transfer(head) => head.output.outputs(),
            Self::Linear(head) => head.linear.outputs(),
            Self::Published(head) => head.layers.last().map_or(0, Linear::outputs),
        }
    }

    fn pooling(&self) -> Option<Pool> {
        Some(match self {
            Self::Transfer(head) => head.pool,
            Self::Linear(head) => head.pool,
            Self::Published(head) => head.form.pool,
        })
    }

    fn new_of(
        builder: &Builder,
        kind: HeadKind,
        pool: Pool,
        features: usize,
        classes: usize,
    ) -> Option<Self> {
        Some(match kind {
            HeadKind::Mlp => Self::Transfer(TransferHead::new(builder, pool, features, classes)),
            HeadKind::Linear => Self::Linear(LinearHead::new(builder, pool, features, classes)),
        })
    }

    fn kind(&self) -> Option<HeadKind> {
        match self {
            Self::Transfer(_) => Some(HeadKind::Mlp),
            Self::Linear(_) => Some(HeadKind::Linear),
            Self::Published(_) => None,
        }
    }
}
