//! ResNet (He et al. 2016, <https://arxiv.org/abs/1512.03385>), with the stride in a bottleneck's 3×3
//! convolution; ResNeXt (Xie et al. 2017, <https://arxiv.org/abs/1611.05431>), whose 3×3 convolutions work in
//! groups; Wide ResNet (Zagoruyko & Komodakis 2016, <https://arxiv.org/abs/1605.07146>). Tensor names are
//! torchvision's.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::arch::{ArchInfo, Entry, register, torchvision};
use crate::head::PublishedForm;
use crate::layer::{ConvBnAct, ConvSpec};
use crate::op::{self, Activation, Window};
use crate::{Backbone, Builder, Head, Pass};

/// A published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNetVariant {
    /// Blocks in each of the four layers.
    pub blocks: [usize; 4],
    /// What a block is.
    pub block: BlockKind,
}

/// What a residual block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockKind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1 to fewer channels, 3×3, 1×1 to four times the layer's width.
    Bottleneck {
        /// Groups of the 3×3 convolution.
        groups: usize,
        /// Channels of one of its groups in the first layer.
        width: usize,
    },
}

impl ResNetVariant {
    /// Two convolutions a block.
    pub const fn basic(blocks: [usize; 4]) -> Self {
        Self { blocks, block: BlockKind::Basic }
    }

    /// Bottlenecks whose 3×3 convolution begins with `groups` groups of `width` channels; ResNet: 1 of 64.
    pub const fn bottleneck(blocks: [usize; 4], groups: usize, width: usize) -> Self {
        Self { blocks, block: BlockKind::Bottleneck { groups, width } }
    }
}

/// Width of the stem and of the first layer.
const STEM: usize = 64;
/// How many times a layer's width a bottleneck puts out.
const EXPANSION: usize = 4;
const EPSILON: f64 = 1e-5;

/// The backbone: stem with max pooling, and four layers of blocks; five stages.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvBnAct,
    layers: Vec<Vec<Block>>,
    #[module(skip)]
    channels: usize,
}

/// A residual block; its convolutions follow each other, the last adds the input.
#[derive(Module, Debug)]
struct Block {
    convolutions: Vec<ConvBnAct>,
    downsample: Option<ConvBnAct>,
}

impl ResNet {
    /// The backbone of one variant.
    pub fn new(builder: &Builder, variant: ResNetVariant) -> Self {
        let stem = ConvSpec::new(builder.input_channels(), STEM, 7).stride(2);
        let stem = ConvBnAct::new(builder, ["conv1", "bn1"], stem, EPSILON, Activation::Relu);
        let mut channels = STEM;
        let layers = (0..4)
            .map(|layer| {
                (0..variant.blocks[layer])
                    .map(|block| {
                        let at = builder.at(format_args!("layer{}", layer + 1)).at(block);
                        let stride = if layer > 0 && block == 0 { 2 } else { 1 };
                        Block::new(&at, variant.block, &mut channels, STEM << layer, stride)
                    })
                    .collect()
            })
            .collect();
        Self { stem, layers, channels }
    }
}

impl Block {
    /// `channels` goes in with those of the input and comes out with those of the output.
    fn new(builder: &Builder, kind: BlockKind, channels: &mut usize, width: usize, stride: usize) -> Self {
        let (convolutions, to) = match kind {
            BlockKind::Basic => {
                let first = ConvSpec::new(*channels, width, 3).stride(stride);
                (vec![first, ConvSpec::new(width, width, 3)], width)
            }
            BlockKind::Bottleneck { groups, width: first_width } => {
                let inner = groups * first_width * width / STEM;
                let to = EXPANSION * width;
                let middle = ConvSpec::new(inner, inner, 3).stride(stride).groups(groups);
                (vec![ConvSpec::new(*channels, inner, 1), middle, ConvSpec::new(inner, to, 1)], to)
            }
        };
        let convolutions = convolutions
            .into_iter()
            .enumerate()
            .map(|(index, conv)| {
                let names = [format!("conv{}", index + 1), format!("bn{}", index + 1)];
                ConvBnAct::new(builder, names.each_ref().map(String::as_str), conv, EPSILON, Activation::Relu)
            })
            .collect();
        let from = std::mem::replace(channels, to);
        let downsample = (stride != 1 || from != to).then(|| {
            let conv = ConvSpec::new(from, to, 1).stride(stride);
            ConvBnAct::new(&builder.at("downsample"), ["0", "1"], conv, EPSILON, Activation::None)
        });
        Self { convolutions, downsample }
    }

    fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let residual = match &self.downsample {
            Some(downsample) => downsample.forward(input.clone(), None, pass),
            None => input.clone(),
        };
        let (last, first) = self.convolutions.split_last().expect("a block has convolutions");
        let x = first.iter().fold(input, |x, conv| conv.forward(x, None, pass));
        last.forward(x, Some(residual), pass)
    }
}

impl Backbone for ResNet {
    type Head = Head;

    fn stages(&self) -> usize {
        1 + self.layers.len()
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match stage.checked_sub(1) {
            None => op::max_pool2d(self.stem.forward(input, None, pass), Window::new(3, 2).padding(1)),
            Some(layer) => self.layers[layer].iter().fold(input, |x, block| block.forward(x, pass)),
        }
    }

    fn channels(&self) -> usize {
        self.channels
    }

    /// Before `layer3`, as in fastai.
    fn group_boundary(&self) -> usize {
        3
    }

    fn stage_of(&self, tensor: &str) -> usize {
        let layer = tensor.strip_prefix("layer").and_then(|rest| rest.split('.').next());
        layer.and_then(|layer| layer.parse().ok()).unwrap_or(0)
    }
}

const LATE: &str = "layer3";
const CLASSIFIER: PublishedForm = PublishedForm::linear("fc");

register! {
    ResNet18 = Entry {
        info: ArchInfo {
            accuracy: 0.698,
            parameters: 11_689_512,
            multiply_adds: 1_814,
            ..torchvision("resnet18", "resnet18-f37072fd.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::basic([2, 2, 2, 2])).into(),
    };
    ResNet34 = Entry {
        info: ArchInfo {
            accuracy: 0.733,
            parameters: 21_797_672,
            multiply_adds: 3_664,
            ..torchvision("resnet34", "resnet34-b627a593.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::basic([3, 4, 6, 3])).into(),
    };
    ResNet50 = Entry {
        info: ArchInfo {
            accuracy: 0.761,
            parameters: 25_557_032,
            multiply_adds: 4_089,
            ..torchvision("resnet50", "resnet50-0676ba61.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::bottleneck([3, 4, 6, 3], 1, 64)).into(),
    };
    ResNet101 = Entry {
        info: ArchInfo {
            accuracy: 0.774,
            parameters: 44_549_160,
            multiply_adds: 7_801,
            ..torchvision("resnet101", "resnet101-63fe2227.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::bottleneck([3, 4, 23, 3], 1, 64)).into(),
    };
    ResNet152 = Entry {
        info: ArchInfo {
            accuracy: 0.783,
            parameters: 60_192_808,
            multiply_adds: 11_514,
            ..torchvision("resnet152", "resnet152-394f9c45.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::bottleneck([3, 8, 36, 3], 1, 64)).into(),
    };
    ResNext50_32x4d = Entry {
        info: ArchInfo {
            accuracy: 0.776,
            parameters: 25_028_904,
            multiply_adds: 4_230,
            ..torchvision("resnext50_32x4d", "resnext50_32x4d-7cdf4587.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::bottleneck([3, 4, 6, 3], 32, 4)).into(),
    };
    ResNext101_32x8d = Entry {
        info: ArchInfo {
            accuracy: 0.793,
            parameters: 88_791_336,
            multiply_adds: 16_414,
            ..torchvision("resnext101_32x8d", "resnext101_32x8d-8ba56ff5.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::bottleneck([3, 4, 23, 3], 32, 8)).into(),
    };
    ResNext101_64x4d = Entry {
        info: ArchInfo {
            accuracy: 0.832,
            parameters: 83_455_272,
            multiply_adds: 15_460,
            ..torchvision("resnext101_64x4d", "resnext101_64x4d-173b62eb.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::bottleneck([3, 4, 23, 3], 64, 4)).into(),
    };
    WideResNet50_2 = Entry {
        info: ArchInfo {
            accuracy: 0.785,
            parameters: 68_883_240,
            multiply_adds: 11_398,
            ..torchvision("wide_resnet50_2", "wide_resnet50_2-95faca4d.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| ResNet::new(builder, ResNetVariant::bottleneck([3, 4, 6, 3], 1, 128)).into(),
    };
}
