//! EfficientNet-B0 (Tan & Le 2019, <https://arxiv.org/abs/1905.11946>), without the stochastic depth that it was
//! first trained with; tensor names are torchvision's.

use burn::module::Module;
use burn::tensor::Tensor;

use super::feature_number;
use crate::layer::{Conv, ConvBnAct, Gate, SqueezeExcite};
use crate::op::Activation;
use crate::{Backbone, Builder, Head, Pass};

/// One row of the paper's table 1.
struct Row {
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
    blocks: usize,
}

const LAYOUT: [Row; 7] = [
    Row { kernel: 3, stride: 1, expansion: 1, channels: 16, blocks: 1 },
    Row { kernel: 3, stride: 2, expansion: 6, channels: 24, blocks: 2 },
    Row { kernel: 5, stride: 2, expansion: 6, channels: 40, blocks: 2 },
    Row { kernel: 3, stride: 2, expansion: 6, channels: 80, blocks: 3 },
    Row { kernel: 5, stride: 1, expansion: 6, channels: 112, blocks: 3 },
    Row { kernel: 5, stride: 2, expansion: 6, channels: 192, blocks: 4 },
    Row { kernel: 3, stride: 1, expansion: 6, channels: 320, blocks: 1 },
];
const STEM: usize = 32;
const FEATURES: usize = 1280;
const EPSILON: f64 = 1e-5;

/// The body: stem, seven rows of blocks, and a last 1×1 convolution to 1280 channels; nine stages.
#[derive(Module, Debug)]
pub struct EfficientNet {
    stem: ConvBnAct,
    rows: Vec<Vec<Block>>,
    last: ConvBnAct,
}

/// An inverted residual: 1×1 expansion (absent in the first), depthwise convolution, squeeze and excitation, linear
/// 1×1 projection.
#[derive(Module, Debug)]
struct Block {
    expand: Option<ConvBnAct>,
    depthwise: ConvBnAct,
    squeeze: SqueezeExcite,
    project: ConvBnAct,
    #[module(skip)]
    residual: bool,
}

impl EfficientNet {
    /// The body of B0.
    pub fn new(builder: &Builder) -> Self {
        let builder = builder.at("features");
        let outer = |number: usize, conv| {
            ConvBnAct::new(&builder.at(number), ["0", "1"], conv, EPSILON, Activation::Silu)
        };
        let mut channels = STEM;
        let rows: Vec<Vec<Block>> = LAYOUT
            .iter()
            .enumerate()
            .map(|(row, layout)| {
                (0..layout.blocks)
                    .map(|block| {
                        let stride = if block == 0 { layout.stride } else { 1 };
                        let from = std::mem::replace(&mut channels, layout.channels);
                        Block::new(&builder.at(row + 1).at(block).at("block"), layout, from, stride)
                    })
                    .collect()
            })
            .collect();
        Self {
            stem: outer(0, Conv::new(builder.input_channels(), STEM, 3).stride(2)),
            last: outer(rows.len() + 1, Conv::new(channels, FEATURES, 1)),
            rows,
        }
    }
}

impl Block {
    fn new(builder: &Builder, layout: &Row, from: usize, stride: usize) -> Self {
        let layer = |at: usize, conv, activation| {
            ConvBnAct::new(&builder.at(at), ["0", "1"], conv, EPSILON, activation)
        };
        let wide = from * layout.expansion;
        let expand = (wide != from).then(|| layer(0, Conv::new(from, wide, 1), Activation::Silu));
        let first = usize::from(expand.is_some());
        let depthwise = Conv::new(wide, wide, layout.kernel).stride(stride).depthwise();
        Self {
            expand,
            depthwise: layer(first, depthwise, Activation::Silu),
            squeeze: SqueezeExcite::new(
                &builder.at(first + 1),
                wide,
                from / 4,
                Activation::Silu,
                Gate::Sigmoid,
            ),
            project: layer(first + 2, Conv::new(wide, layout.channels, 1), Activation::None),
            residual: stride == 1 && from == layout.channels,
        }
    }

    fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let residual = self.residual.then(|| input.clone());
        let x = match &self.expand {
            Some(expand) => expand.forward(input, None, pass),
            None => input,
        };
        let x = self.squeeze.forward(self.depthwise.forward(x, None, pass), pass);
        self.project.forward(x, residual, pass)
    }
}

impl Backbone for EfficientNet {
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

    /// Where the size falls to a sixteenth of the image's, as in EfficientNet-Lite.
    fn group_border(&self) -> usize {
        4
    }

    fn stage_of(&self, tensor: &str) -> usize {
        feature_number(tensor)
    }
}
