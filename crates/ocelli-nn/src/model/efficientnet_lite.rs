//! EfficientNet-Lite: EfficientNet (Tan & Le 2019, <https://arxiv.org/abs/1905.11946>) without squeeze and
//! excitation and with ReLU6, as Google published it for phones; tensor names are those of timm's
//! `tf_efficientnet_lite0` … `lite4`.

use super::efficientnet::{FEATURES, LAYOUT, Row, STEM};
use super::rounded_channels;
use super::staged::{StageNames, StagedBackbone};
use crate::Builder;
use crate::arch::{ArchInfo, Entry, Normalization, register, timm};
use crate::head::PublishedForm;
use crate::layer::{ConvBnAct, ConvSpec, InvertedResidual};
use crate::op::Activation;

/// One of the five published sizes: channels and repetitions of the B0 layout, multiplied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LiteVariant {
    /// Factor on channels.
    pub width: f64,
    /// Factor on the number of blocks in a stage.
    pub depth: f64,
}

/// TensorFlow's constant in batch norms.
const EPSILON: f64 = 1e-3;

/// The backbone of one variant: stem, seven stages of blocks, and a last 1×1 convolution to 1280 channels;
/// nine stages in all.
pub fn efficientnet_lite(builder: &Builder, variant: LiteVariant) -> StagedBackbone {
    let outer =
        |names, conv: ConvSpec| ConvBnAct::new(builder, names, conv.same(), EPSILON, Activation::Relu6);
    let mut channels = STEM;
    let stages = LAYOUT
        .iter()
        .enumerate()
        .map(|(stage, row)| {
            // timm and Google scale neither the first nor the last stage's number of blocks.
            let fixed = stage == 0 || stage == LAYOUT.len() - 1;
            let depth = if fixed { 1.0 } else { variant.depth };
            let to = rounded_channels(row.channels as f64 * variant.width);
            let blocks = (row.blocks as f64 * depth).ceil() as usize;
            (0..blocks)
                .map(|number| {
                    let stride = if number == 0 { row.stride } else { 1 };
                    let at = builder.at("blocks").at(stage).at(number);
                    let from = std::mem::replace(&mut channels, to);
                    block(&at, row, from, to, stride)
                })
                .collect()
        })
        .collect();
    StagedBackbone {
        stem: outer(["conv_stem", "bn1"], ConvSpec::new(builder.input_channels(), STEM, 3).stride(2)),
        stages,
        last: outer(["conv_head", "bn2"], ConvSpec::new(channels, FEATURES, 1)),
        channels: FEATURES,
        // Stem and three stages form the first group; the second begins at an eighth of the image's
        // resolution.
        group_boundary: 4,
        names: StageNames::Timm,
    }
}

/// An inverted residual, whose names count only the layers that are there.
fn block(builder: &Builder, layout: &Row, from: usize, to: usize, stride: usize) -> InvertedResidual {
    let conv = |from, to, kernel| ConvSpec::new(from, to, kernel).same();
    let layer = |names, conv, activation| ConvBnAct::new(builder, names, conv, EPSILON, activation);
    let wide = from * layout.expansion;
    let depthwise = conv(wide, wide, layout.kernel).stride(stride).depthwise();
    let residual = stride == 1 && from == to;
    if layout.expansion == 1 {
        InvertedResidual {
            expand: None,
            depthwise: layer(["conv_dw", "bn1"], depthwise, Activation::Relu6),
            squeeze: None,
            project: layer(["conv_pw", "bn2"], conv(wide, to, 1), Activation::None),
            residual,
        }
    } else {
        InvertedResidual {
            expand: Some(layer(["conv_pw", "bn1"], conv(from, wide, 1), Activation::Relu6)),
            depthwise: layer(["conv_dw", "bn2"], depthwise, Activation::Relu6),
            squeeze: None,
            project: layer(["conv_pwl", "bn3"], conv(wide, to, 1), Activation::None),
            residual,
        }
    }
}

/// TensorFlow's preprocessing: (x − 127) / 128.
const NORMALIZATION: Normalization = ([127.0; 3], [128.0; 3]);
const LATE: &str = "blocks.3";
const CLASSIFIER: PublishedForm = PublishedForm::linear("classifier");

// Accuracies are the authors' (https://github.com/tensorflow/tpu, models/official/efficientnet/lite): timm
// measures 0.748, 0.767 and 0.775 for 0 to 2, and 3 and 4 at other sizes.

register! {
    EfficientNetLite0 = Entry {
        info: ArchInfo {
            accuracy: 0.751,
            parameters: 4_652_008,
            multiply_adds: 385,
            ..timm("efficientnet_lite0", ["tf_efficientnet_lite0", "timm/tf_efficientnet_lite0.in1k"], LATE, NORMALIZATION)
        },
        classifier: CLASSIFIER,
        build: |builder| efficientnet_lite(builder, LiteVariant { width: 1.0, depth: 1.0 }).into(),
    };
    EfficientNetLite1 = Entry {
        info: ArchInfo {
            size: 240,
            accuracy: 0.767,
            parameters: 5_416_680,
            multiply_adds: 600,
            ..timm("efficientnet_lite1", ["tf_efficientnet_lite1", "timm/tf_efficientnet_lite1.in1k"], LATE, NORMALIZATION)
        },
        classifier: CLASSIFIER,
        build: |builder| efficientnet_lite(builder, LiteVariant { width: 1.0, depth: 1.1 }).into(),
    };
    EfficientNetLite2 = Entry {
        info: ArchInfo {
            size: 260,
            accuracy: 0.776,
            parameters: 6_092_072,
            multiply_adds: 860,
            ..timm("efficientnet_lite2", ["tf_efficientnet_lite2", "timm/tf_efficientnet_lite2.in1k"], LATE, NORMALIZATION)
        },
        classifier: CLASSIFIER,
        build: |builder| efficientnet_lite(builder, LiteVariant { width: 1.1, depth: 1.2 }).into(),
    };
    EfficientNetLite3 = Entry {
        info: ArchInfo {
            size: 280,
            accuracy: 0.798,
            parameters: 8_197_096,
            multiply_adds: 1_383,
            ..timm("efficientnet_lite3", ["tf_efficientnet_lite3", "timm/tf_efficientnet_lite3.in1k"], LATE, NORMALIZATION)
        },
        classifier: CLASSIFIER,
        build: |builder| efficientnet_lite(builder, LiteVariant { width: 1.2, depth: 1.4 }).into(),
    };
    EfficientNetLite4 = Entry {
        info: ArchInfo {
            size: 300,
            accuracy: 0.815,
            parameters: 13_006_568,
            multiply_adds: 2_553,
            ..timm("efficientnet_lite4", ["tf_efficientnet_lite4", "timm/tf_efficientnet_lite4.in1k"], LATE, NORMALIZATION)
        },
        classifier: CLASSIFIER,
        build: |builder| efficientnet_lite(builder, LiteVariant { width: 1.4, depth: 1.8 }).into(),
    };
}
