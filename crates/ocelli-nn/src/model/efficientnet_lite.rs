//! EfficientNet-Lite: EfficientNet (Tan & Le 2019, <https://arxiv.org/abs/1905.11946>) without squeeze and
//! excitation and with ReLU6, as Google published it for phones; tensor names are those of timm's
//! `tf_efficientnet_lite0` … `lite4`.

use burn::module::Module;
use burn::tensor::Tensor;

use super::efficientnet::{FEATURES, LAYOUT, Row, STEM};
use super::rounded_channels;
use crate::layer::{Conv, ConvBnAct, InvertedResidual};
use crate::op::Activation;
use crate::{Backbone, Builder, Head, Pass};

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

/// The body: stem, seven rows of blocks, and a last 1×1 convolution to 1280 channels; nine stages.
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    stem: ConvBnAct,
    rows: Vec<Vec<InvertedResidual>>,
    last: ConvBnAct,
}

impl EfficientNetLite {
    /// The body of one variant.
    pub fn new(builder: &Builder, variant: LiteVariant) -> Self {
        let conv = |from, to, kernel| Conv::new(from, to, kernel).same();
        let mut channels = STEM;
        let rows = LAYOUT
            .iter()
            .enumerate()
            .map(|(row, layout)| {
                // timm and Google scale neither the first nor the last row's number of blocks.
                let fixed = row == 0 || row == LAYOUT.len() - 1;
                let depth = if fixed { 1.0 } else { variant.depth };
                let to = rounded_channels(layout.channels as f64 * variant.width);
                let blocks = (layout.blocks as f64 * depth).ceil() as usize;
                (0..blocks)
                    .map(|number| {
                        let stride = if number == 0 { layout.stride } else { 1 };
                        let at = builder.at("blocks").at(row).at(number);
                        let from = std::mem::replace(&mut channels, to);
                        block(&at, layout, from, to, stride)
                    })
                    .collect()
            })
            .collect();
        Self {
            stem: ConvBnAct::new(
                builder,
                ["conv_stem", "bn1"],
                conv(builder.input_channels(), STEM, 3).stride(2),
                EPSILON,
                Activation::Relu6,
            ),
            rows,
            last: ConvBnAct::new(
                builder,
                ["conv_head", "bn2"],
                conv(channels, FEATURES, 1),
                EPSILON,
                Activation::Relu6,
            ),
        }
    }
}

/// An inverted residual, whose names count only the layers that are there.
fn block(builder: &Builder, layout: &Row, from: usize, to: usize, stride: usize) -> InvertedResidual {
    let conv = |from, to, kernel| Conv::new(from, to, kernel).same();
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

impl Backbone for EfficientNetLite {
    type Head = Head;

    fn stages(&self) -> usize {
        self.rows.len() + 2
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match stage {
            0 => self.stem.forward(input, None, pass),
            stage if stage <= self.rows.len() => {
                self.rows[stage - 1].iter().fold(input, |x, block| block.forward(x, pass))
            }
            _ => self.last.forward(input, None, pass),
        }
    }

    fn channels(&self) -> usize {
        FEATURES
    }

    /// Stem and three rows form the first group; the second begins at an eighth of the image's resolution.
    fn group_border(&self) -> usize {
        4
    }

    fn stage_of(&self, tensor: &str) -> usize {
        let mut parts = tensor.split('.');
        match (parts.next(), parts.next().and_then(|row| row.parse::<usize>().ok())) {
            (Some("conv_stem" | "bn1"), _) => 0,
            (Some("blocks"), Some(row)) => row + 1,
            _ => self.rows.len() + 1,
        }
    }
}
