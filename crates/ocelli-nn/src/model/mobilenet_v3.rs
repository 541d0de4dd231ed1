//! MobileNetV3-Large (Howard et al. 2019, <https://arxiv.org/abs/1905.02244>); tensor names are
//! torchvision's.

use super::rounded_channels;
use super::staged::{StageNames, StagedBackbone};
use crate::Builder;
use crate::arch::{ArchInfo, Entry, register, torchvision};
use crate::head::{HiddenActivation, PublishedForm};
use crate::layer::{ConvBnAct, ConvSpec, Gate, InvertedResidual, SqueezeExcite};
use crate::op::Activation;

/// One row of the paper's table 1.
struct Row {
    kernel: usize,
    wide: usize,
    channels: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
}

const fn row(
    kernel: usize,
    wide: usize,
    channels: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
) -> Row {
    Row { kernel, wide, channels, squeeze, activation, stride }
}

const LAYOUT: [Row; 15] = [
    row(3, 16, 16, false, Activation::Relu, 1),
    row(3, 64, 24, false, Activation::Relu, 2),
    row(3, 72, 24, false, Activation::Relu, 1),
    row(5, 72, 40, true, Activation::Relu, 2),
    row(5, 120, 40, true, Activation::Relu, 1),
    row(5, 120, 40, true, Activation::Relu, 1),
    row(3, 240, 80, false, Activation::HardSwish, 2),
    row(3, 200, 80, false, Activation::HardSwish, 1),
    row(3, 184, 80, false, Activation::HardSwish, 1),
    row(3, 184, 80, false, Activation::HardSwish, 1),
    row(3, 480, 112, true, Activation::HardSwish, 1),
    row(3, 672, 112, true, Activation::HardSwish, 1),
    row(5, 672, 160, true, Activation::HardSwish, 2),
    row(5, 960, 160, true, Activation::HardSwish, 1),
    row(5, 960, 160, true, Activation::HardSwish, 1),
];
const STEM: usize = 16;
const FEATURES: usize = 960;
const EPSILON: f64 = 1e-3;

/// The large backbone at width 1: stem, 15 inverted residuals, a last 1×1 convolution to 960 channels; 17
/// stages.
pub fn mobilenet_v3_large(builder: &Builder) -> StagedBackbone {
    let builder = builder.at("features");
    let outer = |number: usize, conv| {
        ConvBnAct::new(&builder.at(number), ["0", "1"], conv, EPSILON, Activation::HardSwish)
    };
    let mut channels = STEM;
    let stages: Vec<Vec<InvertedResidual>> = LAYOUT
        .iter()
        .enumerate()
        .map(|(index, row)| {
            let from = std::mem::replace(&mut channels, row.channels);
            vec![block(&builder.at(index + 1).at("block"), row, from)]
        })
        .collect();
    StagedBackbone {
        stem: outer(0, ConvSpec::new(builder.input_channels(), STEM, 3).stride(2)),
        last: outer(stages.len() + 1, ConvSpec::new(channels, FEATURES, 1)),
        stages,
        channels: FEATURES,
        // Where the size falls to a sixteenth of the image's.
        group_boundary: 7,
        names: StageNames::Torchvision,
    }
}

/// An inverted residual, with squeeze and excitation where the row has it.
fn block(builder: &Builder, row: &Row, from: usize) -> InvertedResidual {
    let mut number = 0;
    let mut next = || {
        number += 1;
        builder.at(number - 1)
    };
    let layer = |at: Builder, conv, activation| ConvBnAct::new(&at, ["0", "1"], conv, EPSILON, activation);
    let wide = row.wide;
    let depthwise = ConvSpec::new(wide, wide, row.kernel).stride(row.stride).depthwise();
    InvertedResidual {
        expand: (wide != from).then(|| layer(next(), ConvSpec::new(from, wide, 1), row.activation)),
        depthwise: layer(next(), depthwise, row.activation),
        squeeze: row.squeeze.then(|| {
            let squeezed = rounded_channels((wide / 4) as f64);
            SqueezeExcite::new(&next(), wide, squeezed, Activation::Relu, Gate::HardSigmoid)
        }),
        project: layer(next(), ConvSpec::new(wide, row.channels, 1), Activation::None),
        residual: row.stride == 1 && from == row.channels,
    }
}

register! {
    MobileNetV3Large = Entry {
        info: ArchInfo {
            accuracy: 0.740,
            parameters: 5_483_032,
            multiply_adds: 217,
            ..torchvision("mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth", "features.7")
        },
        classifier: PublishedForm {
            hidden: &[("classifier.0", 1280)],
            activation: HiddenActivation::HardSwish,
            ..PublishedForm::linear("classifier.3")
        },
        build: |builder| mobilenet_v3_large(builder).into(),
    };
}
