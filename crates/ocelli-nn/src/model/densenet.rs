//! DenseNet (Huang et al. 2017, <https://arxiv.org/abs/1608.06993>); tensor names are torchvision's.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::arch::{ArchInfo, Entry, register, torchvision};
use crate::head::PublishedForm;
use crate::layer::{BatchNorm, ConvAct, ConvBnAct, ConvSpec};
use crate::op::{self, Activation, Window};
use crate::{Backbone, Builder, Head, Pass};

/// A published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseNetVariant {
    /// Channels that each layer adds.
    pub growth: usize,
    /// Channels of the stem.
    pub stem: usize,
    /// Layers in each of the four blocks.
    pub layers: [usize; 4],
}

/// A layer's first convolution has this many times the channels that the layer adds.
const BOTTLENECK: usize = 4;
const EPSILON: f64 = 1e-5;

/// The backbone: stem with max pooling, four dense blocks with transitions between them, a last norm and
/// ReLU. Stages are stem, blocks and transitions.
#[derive(Module, Debug)]
pub struct DenseNet {
    stem: ConvBnAct,
    blocks: Vec<Vec<DenseLayer>>,
    transitions: Vec<Transition>,
    norm: BatchNorm,
    #[module(skip)]
    channels: usize,
}

/// Norm, ReLU, 1×1 convolution, norm, ReLU, 3×3 convolution; its output is concatenated to its input.
#[derive(Module, Debug)]
struct DenseLayer {
    norm: BatchNorm,
    reduce: ConvBnAct,
    grow: ConvAct,
}

/// Norm, ReLU, 1×1 convolution to half the channels, average pooling to half the size.
#[derive(Module, Debug)]
struct Transition {
    norm: BatchNorm,
    conv: ConvAct,
}

impl DenseNet {
    /// The backbone of one variant.
    pub fn new(builder: &Builder, variant: DenseNetVariant) -> Self {
        let builder = builder.at("features");
        let stem = ConvSpec::new(builder.input_channels(), variant.stem, 7).stride(2);
        let stem = ConvBnAct::new(&builder, ["conv0", "norm0"], stem, EPSILON, Activation::Relu);
        let mut channels = variant.stem;
        let (mut blocks, mut transitions) = (Vec::new(), Vec::new());
        for (block, layers) in variant.layers.into_iter().enumerate() {
            let number = block + 1;
            let layer = |layer| {
                let at = builder.at(format_args!("denseblock{number}.denselayer{}", layer + 1));
                let from = channels + layer * variant.growth;
                DenseLayer::new(&at, from, variant.growth)
            };
            blocks.push((0..layers).map(layer).collect());
            channels += layers * variant.growth;
            if number < variant.layers.len() {
                transitions.push(Transition::new(&builder.at(format_args!("transition{number}")), channels));
                channels /= 2;
            }
        }
        Self {
            stem,
            blocks,
            transitions,
            norm: BatchNorm::new(&builder.at("norm5"), channels, EPSILON),
            channels,
        }
    }
}

impl DenseLayer {
    fn new(builder: &Builder, from: usize, growth: usize) -> Self {
        let wide = BOTTLENECK * growth;
        let reduce = ConvSpec::new(from, wide, 1);
        Self {
            norm: BatchNorm::new(&builder.at("norm1"), from, EPSILON),
            reduce: ConvBnAct::new(builder, ["conv1", "norm2"], reduce, EPSILON, Activation::Relu),
            grow: ConvAct::without_bias(
                &builder.at("conv2"),
                ConvSpec::new(wide, growth, 3),
                Activation::None,
            ),
        }
    }

    fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = self.norm.forward_maps(input.clone(), None, Activation::Relu, pass);
        let x = self.grow.forward(self.reduce.forward(x, None, pass), None, pass);
        op::concat(vec![input, x])
    }
}

impl Transition {
    fn new(builder: &Builder, channels: usize) -> Self {
        let conv = ConvSpec::new(channels, channels / 2, 1);
        Self {
            norm: BatchNorm::new(&builder.at("norm"), channels, EPSILON),
            conv: ConvAct::without_bias(&builder.at("conv"), conv, Activation::None),
        }
    }

    fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = self.norm.forward_maps(input, None, Activation::Relu, pass);
        op::average_pool2d(self.conv.forward(x, None, pass), Window::new(2, 2), false)
    }
}

impl Backbone for DenseNet {
    type Head = Head;

    fn stages(&self) -> usize {
        1 + self.blocks.len() + self.transitions.len()
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let Some(part) = stage.checked_sub(1) else {
            return op::max_pool2d(self.stem.forward(input, None, pass), Window::new(3, 2).padding(1));
        };
        if part % 2 == 1 {
            return self.transitions[part / 2].forward(input, pass);
        }
        let x = self.blocks[part / 2].iter().fold(input, |x, layer| layer.forward(x, pass));
        if stage + 1 < self.stages() {
            return x;
        }
        // torchvision applies this ReLU outside of `features`, where fastai 0.7 loses it.
        self.norm.forward_maps(x, None, Activation::Relu, pass)
    }

    fn channels(&self) -> usize {
        self.channels
    }

    /// Before `transition2`, as in fastai.
    fn group_boundary(&self) -> usize {
        4
    }

    fn stage_of(&self, tensor: &str) -> usize {
        let part = tensor.strip_prefix("features.").and_then(|rest| rest.split('.').next()).unwrap_or("");
        let number = |kind| part.strip_prefix(kind).and_then(|number| number.parse::<usize>().ok());
        match (number("denseblock"), number("transition")) {
            (Some(block), _) => 2 * block - 1,
            (_, Some(transition)) => 2 * transition,
            _ if part == "norm5" => self.stages() - 1,
            _ => 0,
        }
    }
}

const LATE: &str = "features.transition2";
const CLASSIFIER: PublishedForm = PublishedForm::linear("classifier");

register! {
    DenseNet121 = Entry {
        info: ArchInfo {
            smallest: 29,
            accuracy: 0.744,
            parameters: 7_978_856,
            multiply_adds: 2_834,
            ..torchvision("densenet121", "densenet121-a639ec97.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| DenseNet::new(builder, DenseNetVariant { growth: 32, stem: 64, layers: [6, 12, 24, 16] }).into(),
    };
    DenseNet161 = Entry {
        info: ArchInfo {
            smallest: 29,
            accuracy: 0.771,
            parameters: 28_681_000,
            multiply_adds: 7_728,
            ..torchvision("densenet161", "densenet161-8d451a50.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| DenseNet::new(builder, DenseNetVariant { growth: 48, stem: 96, layers: [6, 12, 36, 24] }).into(),
    };
    DenseNet169 = Entry {
        info: ArchInfo {
            smallest: 29,
            accuracy: 0.756,
            parameters: 14_149_480,
            multiply_adds: 3_360,
            ..torchvision("densenet169", "densenet169-b2777c0a.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| DenseNet::new(builder, DenseNetVariant { growth: 32, stem: 64, layers: [6, 12, 32, 32] }).into(),
    };
    DenseNet201 = Entry {
        info: ArchInfo {
            smallest: 29,
            accuracy: 0.769,
            parameters: 20_013_928,
            multiply_adds: 4_291,
            ..torchvision("densenet201", "densenet201-c1103571.pth", LATE)
        },
        classifier: CLASSIFIER,
        build: |builder| DenseNet::new(builder, DenseNetVariant { growth: 32, stem: 64, layers: [6, 12, 48, 32] }).into(),
    };
}
