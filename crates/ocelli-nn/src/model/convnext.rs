//! ConvNeXt (Liu et al. 2022, <https://arxiv.org/abs/2201.03545>), without the stochastic depth that it was
//! first trained with. Tensor names are torchvision's for the tiny size, timm's for atto.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::arch::{ArchInfo, Entry, IMAGENET, register, timm, torchvision};
use crate::head::PublishedForm;
use crate::layer::{ConvAct, ConvSpec, LayerNorm, LayerScale};
use crate::op::Activation;
use crate::{Backbone, Builder, Head, Pass};

/// A published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvNextVariant {
    /// Blocks in each of the four stages.
    pub blocks: [usize; 4],
    /// Channels in each of them.
    pub widths: [usize; 4],
    /// Whose names its tensors have.
    pub names: ConvNextNames,
}

/// Whose tensor names and shapes a ConvNeXt has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConvNextNames {
    /// `features.1.0.block.0.weight`; a block's linear layers have matrices.
    Torchvision,
    /// `stages.0.blocks.0.conv_dw.weight`; a block's linear layers are 1×1 convolutions.
    Timm,
}

/// A block is wider inside by this factor.
const EXPANSION: usize = 4;

/// The backbone: a stem of 4×4 patches and four stages of blocks, each later one with a norm and a 2×2
/// convolution that halves the size before it; five stages.
#[derive(Module, Debug)]
pub struct ConvNext {
    stem: ConvAct,
    stem_norm: LayerNorm,
    stages: Vec<Stage>,
    #[module(skip)]
    names: ConvNextNames,
    #[module(skip)]
    channels: usize,
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<Downsample>,
    blocks: Vec<Block>,
}

#[derive(Module, Debug)]
struct Downsample {
    norm: LayerNorm,
    conv: ConvAct,
}

/// Depthwise 7×7 convolution, layer norm, two linear layers with GELU between them, layer scale, residual.
#[derive(Module, Debug)]
struct Block {
    depthwise: ConvAct,
    norm: LayerNorm,
    widen: ConvAct,
    narrow: ConvAct,
    scale: LayerScale,
}

impl ConvNext {
    /// The backbone of one variant.
    pub fn new(builder: &Builder, variant: ConvNextVariant) -> Self {
        let ConvNextVariant { blocks, widths, names } = variant;
        let stem = match names {
            ConvNextNames::Torchvision => builder.at("features.0"),
            ConvNextNames::Timm => builder.at("stem"),
        };
        let patches = |from, to, side| ConvSpec::new(from, to, side).stride(side).unpadded();
        let stage = |stage: usize| {
            let (downsample, blocks_path) = match names {
                ConvNextNames::Torchvision => {
                    let number = 2 * stage;
                    (format!("features.{number}"), format!("features.{}", number + 1))
                }
                ConvNextNames::Timm => {
                    (format!("stages.{stage}.downsample"), format!("stages.{stage}.blocks"))
                }
            };
            let downsample = builder.at(downsample);
            Stage {
                downsample: (stage > 0).then(|| Downsample {
                    norm: LayerNorm::new(&downsample.at(0), widths[stage - 1]),
                    conv: ConvAct::new(
                        &downsample.at(1),
                        patches(widths[stage - 1], widths[stage], 2),
                        Activation::None,
                    ),
                }),
                blocks: (0..blocks[stage])
                    .map(|block| Block::new(&builder.at(&blocks_path).at(block), names, widths[stage]))
                    .collect(),
            }
        };
        Self {
            stem: ConvAct::new(
                &stem.at(0),
                patches(builder.input_channels(), widths[0], 4),
                Activation::None,
            ),
            stem_norm: LayerNorm::new(&stem.at(1), widths[0]),
            stages: (0..blocks.len()).map(stage).collect(),
            names,
            channels: widths[3],
        }
    }
}

impl Block {
    fn new(builder: &Builder, names: ConvNextNames, width: usize) -> Self {
        let depthwise = ConvSpec::new(width, width, 7).depthwise();
        let wide = EXPANSION * width;
        let none = Activation::None;
        match names {
            ConvNextNames::Torchvision => {
                let at = |number: usize| builder.at("block").at(number);
                Self {
                    depthwise: ConvAct::new(&at(0), depthwise, none),
                    norm: LayerNorm::new(&at(2), width),
                    widen: ConvAct::linear(&at(3), width, wide, Activation::Gelu),
                    narrow: ConvAct::linear(&at(5), wide, width, none),
                    scale: LayerScale::maps(builder, "layer_scale", width),
                }
            }
            ConvNextNames::Timm => Self {
                depthwise: ConvAct::new(&builder.at("conv_dw"), depthwise, none),
                norm: LayerNorm::new(&builder.at("norm"), width),
                widen: ConvAct::new(&builder.at("mlp.fc1"), ConvSpec::new(width, wide, 1), Activation::Gelu),
                narrow: ConvAct::new(&builder.at("mlp.fc2"), ConvSpec::new(wide, width, 1), none),
                scale: LayerScale::vector(builder, "gamma", width),
            },
        }
    }

    fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = self.depthwise.forward(input.clone(), None, pass);
        let x = self.norm.forward_maps(x, pass);
        let x = self.widen.forward(x, None, pass);
        self.scale.forward(&self.narrow, x, input, pass)
    }
}

impl Stage {
    fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = match &self.downsample {
            Some(Downsample { norm, conv }) => conv.forward(norm.forward_maps(input, pass), None, pass),
            None => input,
        };
        self.blocks.iter().fold(x, |x, block| block.forward(x, pass))
    }
}

impl Backbone for ConvNext {
    type Head = Head;

    fn stages(&self) -> usize {
        1 + self.stages.len()
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match stage.checked_sub(1) {
            None => self.stem_norm.forward_maps(self.stem.forward(input, None, pass), pass),
            Some(stage) => self.stages[stage].forward(input, pass),
        }
    }

    fn channels(&self) -> usize {
        self.channels
    }

    /// Before the third row of blocks, where the size falls to a sixteenth of the image's: as in ResNet.
    fn group_boundary(&self) -> usize {
        3
    }

    fn stage_of(&self, tensor: &str) -> usize {
        let mut parts = tensor.split('.');
        let (part, number) = (parts.next(), parts.next().and_then(|number| number.parse::<usize>().ok()));
        match (self.names, part, number) {
            // Blocks are odd, what leads to them even.
            (ConvNextNames::Torchvision, Some("features"), Some(number)) if number > 0 => number / 2 + 1,
            (ConvNextNames::Timm, Some("stages"), Some(number)) => number + 1,
            _ => 0,
        }
    }
}

register! {
    ConvNextAtto = Entry {
        info: ArchInfo {
            smallest: 32,
            accuracy: 0.757,
            parameters: 3_695_520,
            multiply_adds: 547,
            ..timm("convnext_atto", ["convnext_atto", "timm/convnext_atto.d2_in1k"], "stages.2", IMAGENET)
        },
        classifier: PublishedForm { norm: Some("head.norm"), ..PublishedForm::linear("head.fc") },
        build: |builder| {
            let (blocks, widths) = ([2, 2, 6, 2], [40, 80, 160, 320]);
            ConvNext::new(builder, ConvNextVariant { blocks, widths, names: ConvNextNames::Timm }).into()
        },
    };
    ConvNextTiny = Entry {
        info: ArchInfo {
            smallest: 32,
            accuracy: 0.825,
            parameters: 28_589_128,
            multiply_adds: 4_456,
            ..torchvision("convnext_tiny", "convnext_tiny-983f1562.pth", "features.4")
        },
        classifier: PublishedForm { norm: Some("classifier.0"), ..PublishedForm::linear("classifier.2") },
        build: |builder| {
            let (blocks, widths) = ([3, 3, 9, 3], [96, 192, 384, 768]);
            ConvNext::new(builder, ConvNextVariant { blocks, widths, names: ConvNextNames::Torchvision }).into()
        },
    };
}
