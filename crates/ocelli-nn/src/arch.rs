//! The registry: a name gives a network, its preprocessing and where its weights come from.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::builder::build;
use crate::head::{LinearHead, TransferHead};
use crate::model::{EfficientNetLite, LiteVariant};
use crate::network::HEAD;
use crate::{Backbone, Body, Builder, Error, Head, Network, Result, TensorFile};

/// A backbone that Ocelli knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
pub enum Arch {
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
    EfficientNetLite3,
    EfficientNetLite4,
}

/// What is published about a backbone.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ArchInfo {
    /// The name, as in the command's `--arch`.
    pub name: &'static str,
    /// timm's name for the same network.
    pub timm_name: &'static str,
    /// The image side in pixels that the weights were trained at.
    pub size: usize,
    /// What is subtracted from the pixels (0 to 255) of red, green, blue.
    pub mean: [f32; 3],
    /// What they are then divided by.
    pub std: [f32; 3],
    /// Published top-1 accuracy on ImageNet's validation set, 0 to 1, at [`size`](Self::size).
    pub accuracy: f32,
}

/// TensorFlow's preprocessing of EfficientNet-Lite: (x − 127) / 128.
const fn lite(name: &'static str, timm_name: &'static str, size: usize, accuracy: f32) -> ArchInfo {
    ArchInfo { name, timm_name, size, mean: [127.0; 3], std: [128.0; 3], accuracy }
}

impl Arch {
    /// Every known backbone.
    pub const ALL: [Self; 5] = [
        Self::EfficientNetLite0,
        Self::EfficientNetLite1,
        Self::EfficientNetLite2,
        Self::EfficientNetLite3,
        Self::EfficientNetLite4,
    ];

    /// What is published about it.
    pub const fn info(self) -> ArchInfo {
        // Accuracies: Google's EfficientNet-Lite table.
        match self {
            Self::EfficientNetLite0 => lite("efficientnet_lite0", "tf_efficientnet_lite0", 224, 0.751),
            Self::EfficientNetLite1 => lite("efficientnet_lite1", "tf_efficientnet_lite1", 240, 0.767),
            Self::EfficientNetLite2 => lite("efficientnet_lite2", "tf_efficientnet_lite2", 260, 0.776),
            Self::EfficientNetLite3 => lite("efficientnet_lite3", "tf_efficientnet_lite3", 280, 0.798),
            Self::EfficientNetLite4 => lite("efficientnet_lite4", "tf_efficientnet_lite4", 300, 0.815),
        }
    }

    /// The network with a new head for transfer learning: the body from `weights` (whose classifier is set
    /// aside), the head drawn from `seed`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the weights are not this backbone's.
    pub fn transfer(
        self,
        weights: &TensorFile,
        classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Network> {
        let of_body = |name: &str| !name.starts_with(HEAD) && !name.starts_with(CLASSIFIER);
        self.build(Some(weights), of_body, seed, device, |builder, channels| {
            Head::Transfer(TransferHead::new(&builder.at(HEAD), channels, classes))
        })
    }

    /// A network whose tensors all come from `weights`, as [`Network::to_tensors`] gave them.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the weights are not this network's.
    pub fn trained(self, weights: &TensorFile, classes: usize, device: &Device) -> Result<Network> {
        self.build(
            Some(weights),
            |_| true,
            0,
            device,
            |builder, channels| Head::Transfer(TransferHead::new(&builder.at(HEAD), channels, classes)),
        )
    }

    /// The published network with its own classifier of `classes` classes (1000 for ImageNet).
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the weights are not this network's.
    pub fn published(self, weights: &TensorFile, classes: usize, device: &Device) -> Result<Network> {
        self.build(
            Some(weights),
            |_| true,
            0,
            device,
            |builder, channels| Head::Linear(LinearHead::new(&builder.at(CLASSIFIER), channels, classes)),
        )
    }

    fn build(
        self,
        weights: Option<&TensorFile>,
        select: impl Fn(&str) -> bool,
        seed: u64,
        device: &Device,
        head: impl FnOnce(&Builder, usize) -> Head,
    ) -> Result<Network> {
        let construct = |builder: &Builder| {
            let body = self.body(builder);
            let head = head(builder, body.channels());
            (body, head)
        };
        let ((body, head), names) = build(self.info().name, device, weights, select, seed, construct)?;
        Ok(Network::new(body, head, names))
    }

    fn body(self, builder: &Builder) -> Body {
        let (width, depth) = match self {
            Self::EfficientNetLite0 => (1.0, 1.0),
            Self::EfficientNetLite1 => (1.0, 1.1),
            Self::EfficientNetLite2 => (1.1, 1.2),
            Self::EfficientNetLite3 => (1.2, 1.4),
            Self::EfficientNetLite4 => (1.4, 1.8),
        };
        Body::EfficientNetLite(EfficientNetLite::new(builder, LiteVariant { width, depth }))
    }
}

/// timm's name of the published classifier.
const CLASSIFIER: &str = "classifier";

impl fmt::Display for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.info().name)
    }
}

impl FromStr for Arch {
    type Err = Error;

    /// Takes the name here or timm's.
    fn from_str(name: &str) -> Result<Self> {
        let known = |arch: &Arch| [arch.info().name, arch.info().timm_name].contains(&name);
        Self::ALL.into_iter().find(known).ok_or_else(|| Error::UnknownArchitecture {
            found: name.to_owned(),
            known: Self::ALL.iter().map(|arch| arch.info().name).collect(),
        })
    }
}
