//! MobileNetV2 (Sandler et al. 2018, <https://arxiv.org/abs/1801.04381>); tensor names are torchvision's.

use burn::module::Module;
use burn::tensor::Tensor;

use super::feature_number;
use crate::layer::{Conv, ConvBnAct, InvertedResidual};
use crate::op::Activation;
use crate::{Backbone, Builder, Head, Pass};

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

/// The body: stem, 17 inverted residuals, a last 1×1 convolution to 1280 channels; 19 stages.
#[derive(Module, Debug)]
pub struct MobileNetV2 {
    stem: ConvBnAct,
    blocks: Vec<InvertedResidual>,
    last: ConvBnAct,
}

impl MobileNetV2 {
    /// The body at width 1.
    pub fn new(builder: &Builder) -> Self {
        let builder = builder.at("features");
        let relu6 = |number: usize, conv| {
            ConvBnAct::new(&builder.at(number), ["0", "1"], conv, EPSILON, Activation::Relu6)
        };
        let mut channels = STEM;
        let mut blocks = Vec::new();
        for row in LAYOUT {
            for number in 0..row.blocks {
                let at = builder.at(blocks.len() + 1).at("conv");
                let from = std::mem::replace(&mut channels, row.channels);
                let stride = if number == 0 { row.stride } else { 1 };
                blocks.push(block(&at, &row, from, stride));
            }
        }
        Self {
            stem: relu6(0, Conv::new(builder.input_channels(), STEM, 3).stride(2)),
            last: relu6(blocks.len() + 1, Conv::new(channels, FEATURES, 1)),
            blocks,
        }
    }
}

/// An inverted residual; the first is not wider inside.
fn block(builder: &Builder, row: &Row, from: usize, stride: usize) -> InvertedResidual {
    let wide = from * row.expansion;
    let relu6 =
        |at: usize, conv| ConvBnAct::new(&builder.at(at), ["0", "1"], conv, EPSILON, Activation::Relu6);
    let expand = (row.expansion != 1).then(|| relu6(0, Conv::new(from, wide, 1)));
    let first = usize::from(expand.is_some());
    let depthwise = relu6(first, Conv::new(wide, wide, 3).stride(stride).depthwise());
    let names = [first + 1, first + 2].map(|number| number.to_string());
    let names = names.each_ref().map(String::as_str);
    let project = Conv::new(wide, row.channels, 1);
    InvertedResidual {
        expand,
        depthwise,
        squeeze: None,
        project: ConvBnAct::new(builder, names, project, EPSILON, Activation::None),
        residual: stride == 1 && from == row.channels,
    }
}

impl Backbone for MobileNetV2 {
    type Head = Head;

    fn stages(&self) -> usize {
        self.blocks.len() + 2
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match stage {
            0 => self.stem.forward(input, None, pass),
            stage if stage <= self.blocks.len() => self.blocks[stage - 1].forward(input, pass),
            _ => self.last.forward(input, None, pass),
        }
    }

    fn channels(&self) -> usize {
        FEATURES
    }

    /// Where the size falls to a sixteenth of the image's.
    fn group_border(&self) -> usize {
        7
    }

    fn stage_of(&self, tensor: &str) -> usize {
        feature_number(tensor)
    }
}
