//! MobileNetV2 (Sandler et al. 2018, <https://arxiv.org/abs/1801.04381>); tensor names are torchvision's.

use super::staged::{StageNames, StagedBackbone};
use crate::Builder;
use crate::arch::{ArchInfo, Entry, register, torchvision};
use crate::head::PublishedForm;
use crate::layer::{ConvBnAct, ConvSpec, InvertedResidual};
use crate::op::Activation;

/// One row of the paper's table 2.
struct Row {
    expansion: usize,
    channels: usize,
    blocks: usize,
    stride: usize,
}

const LAYOUT: [Row; 7] = [
    Row { expansion: 1, channels: 16, blocks: 1, stride: 1 },
    Row { expansion: 6, channels: 24, blocks: 2, stride: 2 },
    Row { expansion: 6, channels: 32, blocks: 3, stride: 2 },
    Row { expansion: 6, channels: 64, blocks: 4, stride: 2 },
    Row { expansion: 6, channels: 96, blocks: 3, stride: 1 },
    Row { expansion: 6, channels: 160, blocks: 3, stride: 2 },
    Row { expansion: 6, channels: 320, blocks: 1, stride: 1 },
];
const STEM: usize = 32;
const FEATURES: usize = 1280;
const EPSILON: f64 = 1e-5;

/// The backbone at width 1: stem, 17 inverted residuals, a last 1×1 convolution to 1280 channels; 19 stages.
pub fn mobilenet_v2(builder: &Builder) -> StagedBackbone {
    let builder = builder.at("features");
    let relu6 = |number: usize, conv| {
        ConvBnAct::new(&builder.at(number), ["0", "1"], conv, EPSILON, Activation::Relu6)
    };
    let mut channels = STEM;
    let mut stages = Vec::new();
    for row in LAYOUT {
        for number in 0..row.blocks {
            let at = builder.at(stages.len() + 1).at("conv");
            let from = std::mem::replace(&mut channels, row.channels);
            let stride = if number == 0 { row.stride } else { 1 };
            stages.push(vec![block(&at, &row, from, stride)]);
        }
    }
    StagedBackbone {
        stem: relu6(0, ConvSpec::new(builder.input_channels(), STEM, 3).stride(2)),
        last: relu6(stages.len() + 1, ConvSpec::new(channels, FEATURES, 1)),
        stages,
        channels: FEATURES,
        // Where the size falls to a sixteenth of the image's.
        group_boundary: 7,
        names: StageNames::Torchvision,
    }
}

/// An inverted residual; the first is not wider inside.
fn block(builder: &Builder, row: &Row, from: usize, stride: usize) -> InvertedResidual {
    let wide = from * row.expansion;
    let relu6 =
        |at: usize, conv| ConvBnAct::new(&builder.at(at), ["0", "1"], conv, EPSILON, Activation::Relu6);
    let expand = (row.expansion != 1).then(|| relu6(0, ConvSpec::new(from, wide, 1)));
    let first = usize::from(expand.is_some());
    let depthwise = relu6(first, ConvSpec::new(wide, wide, 3).stride(stride).depthwise());
    let names = [first + 1, first + 2].map(|number| number.to_string());
    let names = names.each_ref().map(String::as_str);
    let project = ConvSpec::new(wide, row.channels, 1);
    InvertedResidual {
        expand,
        depthwise,
        squeeze: None,
        project: ConvBnAct::new(builder, names, project, EPSILON, Activation::None),
        residual: stride == 1 && from == row.channels,
    }
}

register! {
    MobileNetV2 = Entry {
        info: ArchInfo {
            accuracy: 0.719,
            parameters: 3_504_872,
            multiply_adds: 301,
            ..torchvision("mobilenet_v2", "mobilenet_v2-b0353104.pth", "features.7")
        },
        classifier: PublishedForm::linear("classifier.1"),
        build: |builder| mobilenet_v2(builder).into(),
    };
}
