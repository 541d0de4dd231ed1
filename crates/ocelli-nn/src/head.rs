//! What stands on a backbone: pooling, then a classifier.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::layer::{BatchNorm, Dropout, Linear, Pool};
use crate::{Builder, Pass, op};

/// A classifier on pooled features: feature maps `[images, channels, height, width]` in, logits
/// `[images, classes]` out.
///
/// Pooling and classifying are separate steps, so that pooled features of a frozen backbone can be kept and
/// the classifier trained on them alone.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one value a network
pub enum Head {
    /// The head that transfer learning trains.
    Transfer(TransferHead),
    /// The classifier of many published networks: average pooling and one linear layer.
    Linear(LinearHead),
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
}

/// Width of the hidden layer of [`TransferHead`].
const HIDDEN: usize = 512;

/// Average pooling, then one linear layer.
#[derive(Module, Debug)]
pub struct LinearHead {
    output: Linear,
}

impl TransferHead {
    /// A head for feature maps of `channels` channels. Its parts are numbered as in PyTorch's `Sequential` of
    /// concat pooling, flatten, batch norm, dropout, linear, ReLU, batch norm, dropout, linear.
    pub fn new(builder: &Builder, channels: usize, classes: usize) -> Self {
        let pooled = 2 * channels;
        Self {
            norm_in: BatchNorm::new(&builder.at("2"), pooled, 1e-5),
            dropout_in: Dropout::new(&builder.at("3"), 0.25),
            hidden: Linear::new(&builder.at("4"), pooled, HIDDEN),
            norm_hidden: BatchNorm::new(&builder.at("6"), HIDDEN, 1e-5),
            dropout_hidden: Dropout::new(&builder.at("7"), 0.5),
            output: Linear::new(&builder.at("8"), HIDDEN, classes),
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
    /// The published classifier of a network with `channels` channels.
    pub fn new(builder: &Builder, channels: usize, classes: usize) -> Self {
        Self { output: Linear::new(builder, channels, classes) }
    }
}

impl Head {
    /// How feature maps become one vector an image.
    pub fn pooling(&self) -> Pool {
        match self {
            Self::Transfer(_) => Pool::MaximumAndAverage,
            Self::Linear(_) => Pool::Average,
        }
    }

    /// Logits `[images, classes]` from pooled features `[images, pooled]`.
    pub fn classify(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2> {
        match self {
            Self::Transfer(head) => head.classify(pooled, pass),
            Self::Linear(head) => head.output.forward(pooled, pass),
        }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        match self {
            Self::Transfer(head) => head.output.outputs(),
            Self::Linear(head) => head.output.outputs(),
        }
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.devices().remove(0)
    }
}
