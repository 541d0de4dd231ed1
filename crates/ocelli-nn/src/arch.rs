//! The registry: a name gives a network, its preprocessing and where its weights come from.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::builder::build;
use crate::head::{HiddenActivation, PublishedForm, PublishedHead, TransferHead};
use crate::layer::Pool;
use crate::model::{
    ConvNext, ConvNextNames, ConvNextVariant, DenseNet, DenseNetVariant, EfficientNet, EfficientNetLite,
    InceptionResNetV2, InceptionV4, LiteVariant, MobileNetV2, MobileNetV3, ResNet, ResNetVariant, Vgg,
    VisionTransformer, VisionTransformerVariant,
};
use crate::network::HEAD;
use crate::{Backbone, Body, Builder, Error, Head, Network, Result, TensorFile};

/// A backbone that Ocelli knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
pub enum Arch {
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
    ResNext50_32x4d,
    ResNext101_32x8d,
    ResNext101_64x4d,
    WideResNet50_2,
    Vgg16Bn,
    Vgg19Bn,
    DenseNet121,
    DenseNet161,
    DenseNet169,
    DenseNet201,
    InceptionV4,
    InceptionResNetV2,
    MobileNetV2,
    MobileNetV3Large,
    EfficientNetB0,
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
    EfficientNetLite3,
    EfficientNetLite4,
    ConvNextAtto,
    ConvNextTiny,
    VitTinyPatch16,
}

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
    /// Published top-1 accuracy on ImageNet's validation set, 0 to 1, at [`size`](Self::size).
    pub accuracy: f32,
    /// Trained numbers of the published network, classifier of 1000 classes included.
    pub parameters: usize,
    /// Multiply-adds of one image at [`size`](Self::size), in millions.
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

/// ImageNet's mean and standard deviation, as torchvision rounds them.
const IMAGENET: ([f32; 3], [f32; 3]) =
    ([0.485 * 255.0, 0.456 * 255.0, 0.406 * 255.0], [0.229 * 255.0, 0.224 * 255.0, 0.225 * 255.0]);
/// From −1 to 1.
const HALF: ([f32; 3], [f32; 3]) = ([127.5; 3], [127.5; 3]);
/// TensorFlow's preprocessing of EfficientNet-Lite: (x − 127) / 128.
const LITE: ([f32; 3], [f32; 3]) = ([127.0; 3], [128.0; 3]);

/// A network of torchvision. Where it publishes several weights, the first are taken: those of later recipes with
/// mixing and smoothed labels are more accurate on ImageNet, but their features transfer less well while they are
/// frozen (Kornblith et al. 2021, <https://arxiv.org/abs/2010.16402>).
const fn torchvision(
    name: &'static str,
    file: &'static str,
    late: &'static str,
    accuracy: f32,
    parameters: usize,
    multiply_adds: u32,
) -> ArchInfo {
    ArchInfo {
        name,
        publisher: Publisher::Torchvision { file },
        licence: "BSD-3-Clause",
        size: 224,
        smallest: 1,
        late,
        mean: IMAGENET.0,
        std: IMAGENET.1,
        accuracy,
        parameters,
        multiply_adds,
    }
}

/// A network that cannot take images of every size.
const fn smallest(smallest: usize, info: ArchInfo) -> ArchInfo {
    ArchInfo { smallest, ..info }
}

/// A network of timm: its name there, the repository, the part that begins the second layer group.
const fn timm(
    name: &'static str,
    published: [&'static str; 3],
    (mean, std): ([f32; 3], [f32; 3]),
    size: usize,
    accuracy: f32,
    parameters: usize,
    multiply_adds: u32,
) -> ArchInfo {
    let [timm_name, repository, late] = published;
    ArchInfo {
        name,
        publisher: Publisher::Timm { name: timm_name, repository },
        licence: "Apache-2.0",
        size,
        smallest: 1,
        late,
        mean,
        std,
        accuracy,
        parameters,
        multiply_adds,
    }
}

impl Arch {
    /// Every known backbone.
    pub const ALL: [Self; 28] = [
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet101,
        Self::ResNet152,
        Self::ResNext50_32x4d,
        Self::ResNext101_32x8d,
        Self::ResNext101_64x4d,
        Self::WideResNet50_2,
        Self::Vgg16Bn,
        Self::Vgg19Bn,
        Self::DenseNet121,
        Self::DenseNet161,
        Self::DenseNet169,
        Self::DenseNet201,
        Self::InceptionV4,
        Self::InceptionResNetV2,
        Self::MobileNetV2,
        Self::MobileNetV3Large,
        Self::EfficientNetB0,
        Self::EfficientNetLite0,
        Self::EfficientNetLite1,
        Self::EfficientNetLite2,
        Self::EfficientNetLite3,
        Self::EfficientNetLite4,
        Self::ConvNextAtto,
        Self::ConvNextTiny,
        Self::VitTinyPatch16,
    ];

    /// What is published about it.
    #[rustfmt::skip] // a table
    pub const fn info(self) -> ArchInfo {
        // Accuracies and multiply-adds of torchvision's networks stand beside their weights there. Accuracies of the
        // Lites are their authors' (https://github.com/tensorflow/tpu, models/official/efficientnet/lite): timm measures
        // 0.748, 0.767 and 0.775 for 0 to 2, and 3 and 4 at other sizes. All others' are from timm's
        // results/results-imagenet.csv. Multiply-adds of timm's networks are counted over convolutions, linear layers
        // and attention.
        match self {
            Self::ResNet18 => torchvision("resnet18", "resnet18-f37072fd.pth", "layer3", 0.698, 11_689_512, 1_814),
            Self::ResNet34 => torchvision("resnet34", "resnet34-b627a593.pth", "layer3", 0.733, 21_797_672, 3_664),
            Self::ResNet50 => torchvision("resnet50", "resnet50-0676ba61.pth", "layer3", 0.761, 25_557_032, 4_089),
            Self::ResNet101 => torchvision("resnet101", "resnet101-63fe2227.pth", "layer3", 0.774, 44_549_160, 7_801),
            Self::ResNet152 => torchvision("resnet152", "resnet152-394f9c45.pth", "layer3", 0.783, 60_192_808, 11_514),
            Self::ResNext50_32x4d => torchvision("resnext50_32x4d", "resnext50_32x4d-7cdf4587.pth", "layer3", 0.776, 25_028_904, 4_230),
            Self::ResNext101_32x8d => torchvision("resnext101_32x8d", "resnext101_32x8d-8ba56ff5.pth", "layer3", 0.793, 88_791_336, 16_414),
            Self::ResNext101_64x4d => torchvision("resnext101_64x4d", "resnext101_64x4d-173b62eb.pth", "layer3", 0.832, 83_455_272, 15_460),
            Self::WideResNet50_2 => torchvision("wide_resnet50_2", "wide_resnet50_2-95faca4d.pth", "layer3", 0.785, 68_883_240, 11_398),
            Self::Vgg16Bn => smallest(32, torchvision("vgg16_bn", "vgg16_bn-6c64b313.pth", "features.24", 0.734, 138_365_992, 15_470)),
            Self::Vgg19Bn => smallest(32, torchvision("vgg19_bn", "vgg19_bn-c79401a0.pth", "features.23", 0.742, 143_678_248, 19_632)),
            Self::DenseNet121 => smallest(29, torchvision("densenet121", "densenet121-a639ec97.pth", "features.transition2", 0.744, 7_978_856, 2_834)),
            Self::DenseNet161 => smallest(29, torchvision("densenet161", "densenet161-8d451a50.pth", "features.transition2", 0.771, 28_681_000, 7_728)),
            Self::DenseNet169 => smallest(29, torchvision("densenet169", "densenet169-b2777c0a.pth", "features.transition2", 0.756, 14_149_480, 3_360)),
            Self::DenseNet201 => smallest(29, torchvision("densenet201", "densenet201-c1103571.pth", "features.transition2", 0.769, 20_013_928, 4_291)),
            Self::InceptionV4 => smallest(75, timm("inception_v4", ["inception_v4", "timm/inception_v4.tf_in1k", "features.9"], HALF, 299, 0.801, 42_679_816, 12_254)),
            Self::InceptionResNetV2 => smallest(75, timm("inception_resnet_v2", ["inception_resnet_v2", "timm/inception_resnet_v2.tf_in1k", "mixed_6a"], HALF, 299, 0.804, 55_843_464, 13_156)),
            Self::MobileNetV2 => torchvision("mobilenet_v2", "mobilenet_v2-b0353104.pth", "features.7", 0.719, 3_504_872, 301),
            Self::MobileNetV3Large => torchvision("mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth", "features.7", 0.740, 5_483_032, 217),
            Self::EfficientNetB0 => torchvision("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", "features.4", 0.777, 5_288_548, 386),
            Self::EfficientNetLite0 => timm("efficientnet_lite0", ["tf_efficientnet_lite0", "timm/tf_efficientnet_lite0.in1k", "blocks.3"], LITE, 224, 0.751, 4_652_008, 385),
            Self::EfficientNetLite1 => timm("efficientnet_lite1", ["tf_efficientnet_lite1", "timm/tf_efficientnet_lite1.in1k", "blocks.3"], LITE, 240, 0.767, 5_416_680, 600),
            Self::EfficientNetLite2 => timm("efficientnet_lite2", ["tf_efficientnet_lite2", "timm/tf_efficientnet_lite2.in1k", "blocks.3"], LITE, 260, 0.776, 6_092_072, 860),
            Self::EfficientNetLite3 => timm("efficientnet_lite3", ["tf_efficientnet_lite3", "timm/tf_efficientnet_lite3.in1k", "blocks.3"], LITE, 280, 0.798, 8_197_096, 1_383),
            Self::EfficientNetLite4 => timm("efficientnet_lite4", ["tf_efficientnet_lite4", "timm/tf_efficientnet_lite4.in1k", "blocks.3"], LITE, 300, 0.815, 13_006_568, 2_553),
            Self::ConvNextAtto => smallest(32, timm("convnext_atto", ["convnext_atto", "timm/convnext_atto.d2_in1k", "stages.2"], IMAGENET, 224, 0.757, 3_695_520, 547)),
            Self::ConvNextTiny => smallest(32, torchvision("convnext_tiny", "convnext_tiny-983f1562.pth", "features.4", 0.825, 28_589_128, 4_456)),
            Self::VitTinyPatch16 => smallest(16, timm("vit_tiny_patch16", ["vit_tiny_patch16_224", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", "blocks.6"], HALF, 224, 0.755, 5_717_416, 1_254)),
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
        let of_body = |name: &str| !is_below(name, HEAD) && !self.is_of_classifier(name);
        self.build(Some(weights), of_body, seed, channels, device, transfer_head(classes))
    }

    /// A network whose tensors all come from `weights`, as [`Network::to_tensors`] gave them.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the weights are not this network's.
    pub fn trained(self, weights: &TensorFile, classes: usize, device: &Device) -> Result<Network> {
        self.build(Some(weights), |_| true, 0, 3, device, transfer_head(classes))
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
            |builder, body| {
                let head = PublishedHead::new(builder, self.published_form(), body.channels(), classes);
                Head::Published(head)
            },
        )
    }

    /// A network with a new head for images of `channels` channels, all of whose weights are drawn from `seed`.
    pub fn untrained(self, channels: usize, classes: usize, seed: u64, device: &Device) -> Network {
        let network = self.build(None, |_| true, seed, channels, device, transfer_head(classes));
        network.expect("without a file there is nothing to mismatch")
    }

    /// The names of the tensors in `weights` that [`transfer`](Self::transfer) sets aside: those of a classifier.
    pub fn set_aside(self, weights: &TensorFile) -> Vec<&str> {
        weights.names().filter(|name| is_below(name, HEAD) || self.is_of_classifier(name)).collect()
    }

    fn build(
        self,
        weights: Option<&TensorFile>,
        select: impl Fn(&str) -> bool,
        seed: u64,
        channels: usize,
        device: &Device,
        head: impl FnOnce(&Builder, &Body) -> Head,
    ) -> Result<Network> {
        let construct = |builder: &Builder| {
            let body = self.body(builder);
            let head = head(builder, &body);
            (body, head)
        };
        let ((body, head), names) =
            build(self.info().name, device, weights, select, seed, channels, construct)?;
        Ok(Network::new(body, head, names).for_channels(channels))
    }

    fn body(self, builder: &Builder) -> Body {
        let resnet = |variant| Body::ResNet(ResNet::new(builder, variant));
        let lite = |width, depth| {
            Body::EfficientNetLite(EfficientNetLite::new(builder, LiteVariant { width, depth }))
        };
        let densenet = |growth, stem, layers| {
            Body::DenseNet(DenseNet::new(builder, DenseNetVariant { growth, stem, layers }))
        };
        let convnext = |blocks, widths, names| {
            Body::ConvNext(ConvNext::new(builder, ConvNextVariant { blocks, widths, names }))
        };
        match self {
            Self::ResNet18 => resnet(ResNetVariant::basic([2, 2, 2, 2])),
            Self::ResNet34 => resnet(ResNetVariant::basic([3, 4, 6, 3])),
            Self::ResNet50 => resnet(ResNetVariant::bottleneck([3, 4, 6, 3], 1, 64)),
            Self::ResNet101 => resnet(ResNetVariant::bottleneck([3, 4, 23, 3], 1, 64)),
            Self::ResNet152 => resnet(ResNetVariant::bottleneck([3, 8, 36, 3], 1, 64)),
            Self::ResNext50_32x4d => resnet(ResNetVariant::bottleneck([3, 4, 6, 3], 32, 4)),
            Self::ResNext101_32x8d => resnet(ResNetVariant::bottleneck([3, 4, 23, 3], 32, 8)),
            Self::ResNext101_64x4d => resnet(ResNetVariant::bottleneck([3, 4, 23, 3], 64, 4)),
            Self::WideResNet50_2 => resnet(ResNetVariant::bottleneck([3, 4, 6, 3], 1, 128)),
            Self::Vgg16Bn => Body::Vgg(Vgg::new(builder, [2, 2, 3, 3, 3])),
            Self::Vgg19Bn => Body::Vgg(Vgg::new(builder, [2, 2, 4, 4, 4])),
            Self::DenseNet121 => densenet(32, 64, [6, 12, 24, 16]),
            Self::DenseNet161 => densenet(48, 96, [6, 12, 36, 24]),
            Self::DenseNet169 => densenet(32, 64, [6, 12, 32, 32]),
            Self::DenseNet201 => densenet(32, 64, [6, 12, 48, 32]),
            Self::InceptionV4 => Body::InceptionV4(InceptionV4::new(builder)),
            Self::InceptionResNetV2 => Body::InceptionResNetV2(InceptionResNetV2::new(builder)),
            Self::MobileNetV2 => Body::MobileNetV2(MobileNetV2::new(builder)),
            Self::MobileNetV3Large => Body::MobileNetV3(MobileNetV3::new(builder)),
            Self::EfficientNetB0 => Body::EfficientNet(EfficientNet::new(builder)),
            Self::EfficientNetLite0 => lite(1.0, 1.0),
            Self::EfficientNetLite1 => lite(1.0, 1.1),
            Self::EfficientNetLite2 => lite(1.1, 1.2),
            Self::EfficientNetLite3 => lite(1.2, 1.4),
            Self::EfficientNetLite4 => lite(1.4, 1.8),
            Self::ConvNextAtto => convnext([2, 2, 6, 2], [40, 80, 160, 320], ConvNextNames::Timm),
            Self::ConvNextTiny => convnext([3, 3, 9, 3], [96, 192, 384, 768], ConvNextNames::Torchvision),
            Self::VitTinyPatch16 => {
                let variant =
                    VisionTransformerVariant { width: 192, heads: 3, depth: 12, patch: 16, grid: 14 };
                Body::VisionTransformer(VisionTransformer::new(builder, variant))
            }
        }
    }

    /// The published classifier.
    const fn published_form(self) -> PublishedForm {
        match self {
            Self::Vgg16Bn | Self::Vgg19Bn => PublishedForm {
                pool: Pool::Grid(7),
                hidden: &[("classifier.0", 4096), ("classifier.3", 4096)],
                ..linear("classifier.6")
            },
            Self::MobileNetV3Large => PublishedForm {
                hidden: &[("classifier.0", 1280)],
                activation: HiddenActivation::HardSwish,
                ..linear("classifier.3")
            },
            Self::InceptionV4 => linear("last_linear"),
            Self::InceptionResNetV2 => linear("classif"),
            Self::MobileNetV2 | Self::EfficientNetB0 => linear("classifier.1"),
            Self::DenseNet121
            | Self::DenseNet161
            | Self::DenseNet169
            | Self::DenseNet201
            | Self::EfficientNetLite0
            | Self::EfficientNetLite1
            | Self::EfficientNetLite2
            | Self::EfficientNetLite3
            | Self::EfficientNetLite4 => linear("classifier"),
            Self::ConvNextAtto => PublishedForm { norm: Some("head.norm"), ..linear("head.fc") },
            Self::ConvNextTiny => PublishedForm { norm: Some("classifier.0"), ..linear("classifier.2") },
            Self::VitTinyPatch16 => PublishedForm { pool: Pool::ClassToken, ..linear("head") },
            Self::ResNet18
            | Self::ResNet34
            | Self::ResNet50
            | Self::ResNet101
            | Self::ResNet152
            | Self::ResNext50_32x4d
            | Self::ResNext101_32x8d
            | Self::ResNext101_64x4d
            | Self::WideResNet50_2 => linear("fc"),
        }
    }

    fn is_of_classifier(self, tensor: &str) -> bool {
        let form = self.published_form();
        let hidden = form.hidden.iter().map(|(name, _)| *name);
        hidden.chain(form.norm).chain([form.output]).any(|layer| is_below(tensor, layer))
    }
}

/// fastai's head, pooling as the backbone asks for.
fn transfer_head(classes: usize) -> impl FnOnce(&Builder, &Body) -> Head {
    move |builder, body| {
        Head::Transfer(TransferHead::new(&builder.at(HEAD), body.pool(), body.channels(), classes))
    }
}

/// Average pooling and one linear layer.
const fn linear(output: &'static str) -> PublishedForm {
    PublishedForm { pool: Pool::Average, norm: None, hidden: &[], activation: HiddenActivation::Relu, output }
}

/// Whether a tensor's name is `part.` and more.
fn is_below(tensor: &str, part: &str) -> bool {
    tensor.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'))
}

impl ArchInfo {
    /// The publisher's name for the network.
    pub const fn published_name(&self) -> &'static str {
        match self.publisher {
            Publisher::Torchvision { .. } => self.name,
            Publisher::Timm { name, .. } => name,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.info().name)
    }
}

impl FromStr for Arch {
    type Err = Error;

    /// Takes the name here or timm's.
    fn from_str(name: &str) -> Result<Self> {
        let known = |arch: &Arch| [arch.info().name, arch.info().published_name()].contains(&name);
        Self::ALL.into_iter().find(known).ok_or_else(|| Error::UnknownArchitecture {
            found: name.to_owned(),
            known: Self::ALL.iter().map(|arch| arch.info().name).collect(),
        })
    }
}
