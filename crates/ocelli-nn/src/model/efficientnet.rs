//! EfficientNet-B0 (Tan & Le 2019, <https://arxiv.org/abs/1905.11946>), without the stochastic depth that it
//! was first trained with; tensor names are torchvision's.

use super::staged::{StageNames, StagedBackbone};
use crate::Builder;
use crate::arch::{ArchInfo, Entry, register, torchvision};
use crate::head::PublishedForm;
use crate::layer::{ConvBnAct, ConvSpec, Gate, InvertedResidual, SqueezeExcite};
use crate::op::Activation;

/// One row of the paper's table 1.
pub(super) struct Row {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) expansion: usize,
    pub(super) channels: usize,
    pub(super) blocks: usize,
}

pub(super) const LAYOUT: [Row; 7] = [
    Row { kernel: 3, stride: 1, expansion: 1, channels: 16, blocks: 1 },
    Row { kernel: 3, stride: 2, expansion: 6, channels: 24, blocks: 2 },
    Row { kernel: 5, stride: 2, expansion: 6, channels: 40, blocks: 2 },
    Row { kernel: 3, stride: 2, expansion: 6, channels: 80, blocks: 3 },
    Row { kernel: 5, stride: 1, expansion: 6, channels: 112, blocks: 3 },
    Row { kernel: 5, stride: 2, expansion: 6, channels: 192, blocks: 4 },
    Row { kernel: 3, stride: 1, expansion: 6, channels: 320, blocks: 1 },
];
pub(super) const STEM: usize = 32;
pub(super) const FEATURES: usize = 1280;
const EPSILON: f64 = 1e-5;

/// The backbone of B0: stem, seven stages of blocks, and a last 1×1 convolution to 1280 channels; nine stages
/// in all.
pub fn efficientnet_b0(builder: &Builder) -> StagedBackbone {
    let builder = builder.at("features");
    let outer = |number: usize, conv| {
        ConvBnAct::new(&builder.at(number), ["0", "1"], conv, EPSILON, Activation::Silu)
    };
    let mut channels = STEM;
    let stages: Vec<Vec<InvertedResidual>> = LAYOUT
        .iter()
        .enumerate()
        .map(|(stage, row)| {
            (0..row.blocks)
                .map(|number| {
                    let stride = if number == 0 { row.stride } else { 1 };
                    let from = std::mem::replace(&mut channels, row.channels);
                    block(&builder.at(stage + 1).at(number).at("block"), row, from, stride)
                })
                .collect()
        })
        .collect();
    StagedBackbone {
        stem: outer(0, ConvSpec::new(builder.input_channels(), STEM, 3).stride(2)),
        last: outer(stages.len() + 1, ConvSpec::new(channels, FEATURES, 1)),
        stages,
        channels: FEATURES,
        // Where the size falls to a sixteenth of the image's, as in EfficientNet-Lite.
        group_boundary: 4,
        names: StageNames::Torchvision,
    }
}

/// An inverted residual with squeeze and excitation to a quarter of the block's input.
fn block(builder: &Builder, layout: &Row, from: usize, stride: usize) -> InvertedResidual {
    let layer =
        |at: usize, conv, activation| ConvBnAct::new(&builder.at(at), ["0", "1"], conv, EPSILON, activation);
    let wide = from * layout.expansion;
    let expand = (wide != from).then(|| layer(0, ConvSpec::new(from, wide, 1), Activation::Silu));
    let first = usize::from(expand.is_some());
    let depthwise = ConvSpec::new(wide, wide, layout.kernel).stride(stride).depthwise();
    let squeeze = &builder.at(first + 1);
    InvertedResidual {
        expand,
        depthwise: layer(first, depthwise, Activation::Silu),
        squeeze: Some(SqueezeExcite::new(squeeze, wide, from / 4, Activation::Silu, Gate::Sigmoid)),
        project: layer(first + 2, ConvSpec::new(wide, layout.channels, 1), Activation::None),
        residual: stride == 1 && from == layout.channels,
    }
}

register! {
    EfficientNetB0 = Entry {
        info: ArchInfo {
            accuracy: 0.777,
            parameters: 5_288_548,
            multiply_adds: 386,
            ..torchvision("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", "features.4")
        },
        classifier: PublishedForm::linear("classifier.1"),
        build: |builder| efficientnet_b0(builder).into(),
    };
}
