//! The registry: a name gives a network, its preprocessing and where its weights come from.
//!
//! An architecture is one [`Entry`], at the end of its family's file in `model/`. There [`register!`] makes
//! the entry and its constant, such as [`Arch::ResNet34`]. [`FAMILIES`] lists the families.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use burn::tensor::Device;

use crate::builder::build;
use crate::head::{LinearHead, PublishedForm, PublishedHead, TransferHead};
use crate::model::FAMILIES;
use crate::network::HEAD;
use crate::{AnyBackbone, Backbone, Builder, Error, Head, HeadForm, Network, Result, TensorFile};

/// A backbone that Ocelli knows by name. Each has a constant here, such as [`Arch::ResNet34`];
/// [`ALL`](Self::ALL) lists them.
#[derive(Clone, Copy)]
pub struct Arch {
    pub(crate) entry: &'static Entry,
}

/// An architecture: what is published about it, and how it is built.
pub(crate) struct Entry {
    pub info: ArchInfo,
    /// The published classifier.
    pub classifier: PublishedForm,
    pub build: fn(&Builder) -> AnyBackbone,
}

/// Registers a family's architectures: `register! { Constant = entry; … }`.
macro_rules! register {
    ($($constant:ident = $entry:expr;)+) => {
        #[allow(non_upper_case_globals, missing_docs)] // they read like the variants of an enum, and their names say it
        impl crate::Arch {
            $(pub const $constant: Self = Self { entry: &$entry };)+
        }

        /// The architectures of this family.
        pub(super) const ARCHS: &[crate::Arch] = &[$(crate::Arch::$constant),+];
    };
}
pub(crate) use register;

/// What is published about a backbone.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ArchInfo {
    /// The name, as in the command's `--arch`.
    pub name: &'static str,
    /// Whose network it is, under which name and with which weights.
    pub publisher: Publisher,
    /// The licence of the weights.
    pub licence: &'static str,
    /// The image side in pixels that the weights were trained at.
    pub size: usize,
    /// The smallest image side in pixels that the network can take.
    pub smallest: usize,
    /// The part that begins the second layer group, by its published name.
    pub late: &'static str,
    /// What is subtracted from the pixels (0 to 255) of red, green, blue.
    pub mean: [f32; 3],
    /// What they are then divided by.
    pub std: [f32; 3],
    /// Published top-1 accuracy on ImageNet's validation set, 0 to 1, at [`size`](Self::size). torchvision's
    /// stand beside its weights; EfficientNet-Lite's are its authors'; all others' are from timm's
    /// `results/results-imagenet.csv`.
    pub accuracy: f32,
    /// Trainable parameters of the published network, classifier of 1000 classes included.
    pub parameters: usize,
    /// Multiply-adds of one image at [`size`](Self::size), in millions: torchvision's own figures; for timm's
    /// networks those of convolutions, linear layers and attention.
    pub multiply_adds: u32,
}

/// Whose tensor names and weights a backbone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    /// torchvision, whose name for it is the name here.
    Torchvision {
        /// The weights file, whose name ends in the first digits of its SHA-256.
        file: &'static str,
    },
    /// timm, on the Hugging Face hub.
    Timm {
        /// timm's name for the network.
        name: &'static str,
        /// The repository with its weights.
        repository: &'static str,
    },
}

/// Mean and standard deviation of the pixels (0 to 255) of red, green and blue.
pub(crate) type Normalization = ([f32; 3], [f32; 3]);
/// ImageNet's, as torchvision rounds them.
pub(crate) const IMAGENET: Normalization =
    ([0.485 * 255.0, 0.456 * 255.0, 0.406 * 255.0], [0.229 * 255.0, 0.224 * 255.0, 0.225 * 255.0]);
/// From −1 to 1.
pub(crate) const HALF: Normalization = ([127.5; 3], [127.5; 3]);

/// A network of torchvision: its name, the weights file, the part that begins the second layer group. Where
/// torchvision publishes several weights, the first are taken: those of later recipes with mixing and
/// smoothed labels are more accurate on ImageNet, but their features transfer less well while they are frozen
/// (Kornblith et al. 2021, <https://arxiv.org/abs/2010.16402>). The entry adds accuracy, parameters and
/// multiply-adds.
pub(crate) const fn torchvision(name: &'static str, file: &'static str, late: &'static str) -> ArchInfo {
    let (mean, std) = IMAGENET;
    ArchInfo {
        name,
        publisher: Publisher::Torchvision { file },
        licence: "BSD-3-Clause",
        size: 224,
        smallest: 1,
        late,
        mean,
        std,
        accuracy: 0.0,
        parameters: 0,
        multiply_adds: 0,
    }
}

/// A network of timm: its name here, timm's name and repository, the part that begins the second layer group,
/// and its preprocessing. The entry adds accuracy, parameters and multiply-adds.
pub(crate) const fn timm(
    name: &'static str,
    [timm_name, repository]: [&'static str; 2],
    late: &'static str,
    (mean, std): Normalization,
) -> ArchInfo {
    ArchInfo {
        publisher: Publisher::Timm { name: timm_name, repository },
        licence: "Apache-2.0",
        mean,
        std,
        ..torchvision(name, "", late)
    }
}

impl Arch {
    /// Every known backbone, family by family.
    pub const ALL: &'static [Self] = &ALL;

    /// The name, as in the command's `--arch`.
    pub const fn name(self) -> &'static str {
        self.entry.info.name
    }

    /// What is published about it.
    pub const fn info(self) -> &'static ArchInfo {
        &self.entry.info
    }

    /// The network with a new head for transfer learning: the backbone from `weights` (whose classifier is
    /// dropped), the head drawn from `seed`.
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
        self.transfer_channels(weights, 3, classes, seed, device)
    }

    /// As [`transfer`](Self::transfer), for images of `channels` channels: the kernels of the weights' first
    /// convolution are summed for one channel, and repeated in turn for several others than 3.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the weights are not this backbone's.
    pub fn transfer_channels(
        self,
        weights: &TensorFile,
        channels: usize,
        classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Network> {
        let in_backbone = |name: &str| !is_below(name, HEAD) && !self.is_in_classifier(name);
        self.build(Some(weights), in_backbone, seed, channels, device, transfer_head(classes))
    }

    /// A network whose tensors all come from `weights`, as [`Network::to_tensors`] gave them, with a head of
    /// this form.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the weights are not this network's; [`Error::HeadForm`] where the head's
    /// depths are not stages of it.
    pub fn trained(
        self,
        weights: &TensorFile,
        form: &HeadForm,
        classes: usize,
        device: &Device,
    ) -> Result<Network> {
        if *form == HeadForm::default() {
            return self.build(Some(weights), |_| true, 0, 3, device, transfer_head(classes));
        }
        let in_backbone = |name: &str| !is_below(name, HEAD);
        // Until the widths are known, a head as small as can be.
        let placeholder = |builder: &Builder, backbone: &AnyBackbone| {
            Head::Linear(LinearHead::new(&builder.at(HEAD), backbone.pool(), 1, classes))
        };
        let network = self.build(Some(weights), in_backbone, 0, 3, device, placeholder)?;
        network.check_depths(&form.depths)?;
        // The widths are those of the smallest image.
        let features = network.feature_widths(&form.depths, self.info().smallest).iter().sum();
        let network = network.with_head_form(form, features, 0).expect("the registry's heads have forms");
        network.with_tensors(weights)
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
            3,
            device,
            |builder, backbone| {
                let head = PublishedHead::new(builder, self.entry.classifier, backbone.channels(), classes);
                Head::Published(head)
            },
        )
    }

    /// A network with a new head for images of `channels` channels, all of whose weights are drawn from
    /// `seed`.
    pub fn untrained(self, channels: usize, classes: usize, seed: u64, device: &Device) -> Network {
        let network = self.build(None, |_| true, seed, channels, device, transfer_head(classes));
        network.expect("without a file there is nothing to mismatch")
    }

    /// The names of the tensors in `weights` that [`transfer`](Self::transfer) drops: those of a classifier.
    pub fn dropped_tensors(self, weights: &TensorFile) -> Vec<&str> {
        weights.names().filter(|name| is_below(name, HEAD) || self.is_in_classifier(name)).collect()
    }

    fn build(
        self,
        weights: Option<&TensorFile>,
        select: impl Fn(&str) -> bool,
        seed: u64,
        channels: usize,
        device: &Device,
        head: impl FnOnce(&Builder, &AnyBackbone) -> Head,
    ) -> Result<Network> {
        let construct = |builder: &Builder| {
            let backbone = (self.entry.build)(builder);
            let head = head(builder, &backbone);
            (backbone, head)
        };
        let ((backbone, head), names) =
            build(self.name(), device, weights, select, seed, channels, construct)?;
        Ok(Network::new(backbone, head, names).with_input_channels(channels))
    }

    fn is_in_classifier(self, tensor: &str) -> bool {
        let form = &self.entry.classifier;
        let hidden = form.hidden.iter().map(|(name, _)| *name);
        hidden.chain(form.norm).chain([form.output]).any(|layer| is_below(tensor, layer))
    }
}

/// fastai's head, with the backbone's pooling.
fn transfer_head(classes: usize) -> impl FnOnce(&Builder, &AnyBackbone) -> Head {
    move |builder, backbone| {
        let pool = backbone.pool();
        let features = pool.features(backbone.channels());
        Head::Transfer(TransferHead::new(&builder.at(HEAD), pool, features, classes))
    }
}

/// Whether a tensor's name is `part.` and more.
fn is_below(tensor: &str, part: &str) -> bool {
    tensor.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'))
}

impl ArchInfo {
    /// Whether it takes an image as patches, like a vision transformer, with positions learnt at its size.
    pub fn has_patches(&self) -> bool {
        self.name.starts_with("vit_")
    }

    /// The publisher's name for the network.
    pub const fn published_name(&self) -> &'static str {
        match self.publisher {
            Publisher::Torchvision { .. } => self.name,
            Publisher::Timm { name, .. } => name,
        }
    }
}

/// The architectures of all families.
const ALL: [Arch; count()] = {
    let mut all = [FAMILIES[0][0]; count()];
    let (mut at, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut arch = 0;
        while arch < FAMILIES[family].len() {
            all[at] = FAMILIES[family][arch];
            (at, arch) = (at + 1, arch + 1);
        }
        family += 1;
    }
    all
};

const fn count() -> usize {
    let (mut count, mut family) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
}

impl PartialEq for Arch {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Arch {}

impl Hash for Arch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_tuple("Arch").field(&self.name()).finish()
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Arch {
    type Err = Error;

    /// Takes the name here or timm's.
    fn from_str(name: &str) -> Result<Self> {
        let known = |arch: &&Self| [arch.name(), arch.info().published_name()].contains(&name);
        Self::ALL.iter().find(known).copied().ok_or_else(|| Error::UnknownArchitecture {
            found: name.to_owned(),
            known: Self::ALL.iter().map(|arch| arch.name()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is published of each, and what its entry builds: parameters exactly, multiplications as rounded.
    #[test]
    fn every_entry_builds_what_it_says() {
        for &arch in Arch::ALL {
            let head = |builder: &Builder, backbone: &AnyBackbone| {
                let form = arch.entry.classifier;
                Head::Published(PublishedHead::new(builder, form, backbone.channels(), 1000))
            };
            let network = arch.build(None, |_| true, 0, 3, &Device::flex(), head).unwrap();
            let info = arch.info();
            assert_eq!(network.parameters().iter().sum::<usize>(), info.parameters, "{arch}");
            let graph = network.graph([info.size; 2]).unwrap();
            let millions = graph.multiply_adds() as f64 / 1e6;
            let off = (millions / info.multiply_adds as f64 - 1.0).abs();
            println!("{arch}: {millions:.0} and {} million", info.multiply_adds);
            assert!(off < 0.02, "{arch}: {millions:.0} million, and its entry says {}", info.multiply_adds);
        }
    }
}
