//! Inception-ResNet-v2 (Szegedy et al. 2017, <https://arxiv.org/abs/1602.07261>); tensor names are timm's.

use burn::module::Module;
use burn::tensor::Tensor;

use super::inception::{Branch, branches, conv, halving, line};
use crate::arch::{ArchInfo, Entry, HALF, register, timm};
use crate::head::PublishedForm;
use crate::layer::{ConvAct, ConvBnAct, ConvSpec};
use crate::op::{self, Activation, Window};
use crate::{Backbone, Builder, Head, Pass};

const FEATURES: usize = 1536;

/// The backbone: convolutions, then three rows of residual blocks with branches before each that change the
/// size; nine stages.
#[derive(Module, Debug)]
pub struct InceptionResNetV2 {
    stem: Vec<ConvBnAct>,
    stem_pooled: Vec<ConvBnAct>,
    mixed_5b: Vec<Branch>,
    repeat: Vec<Block>,
    mixed_6a: Vec<Branch>,
    repeat_1: Vec<Block>,
    mixed_7a: Vec<Branch>,
    repeat_2: Vec<Block>,
    block8: Block,
    conv2d_7b: ConvBnAct,
}

/// Branches, concatenated, and a 1×1 convolution whose scaled-down output is added to the input.
#[derive(Module, Debug)]
struct Block {
    branches: Vec<Branch>,
    project: ConvAct,
}

impl InceptionResNetV2 {
    /// The backbone.
    pub fn new(builder: &Builder) -> Self {
        let named = |name: &str, of| conv(&builder.at(name), of);
        let row = |name: &str, count: usize, block: fn(&Builder) -> Block| {
            (0..count).map(|number| block(&builder.at(name).at(number))).collect()
        };
        Self {
            stem: vec![
                named("conv2d_1a", halving(builder.input_channels(), 32)),
                named("conv2d_2a", ConvSpec::new(32, 32, 3).unpadded()),
                named("conv2d_2b", ConvSpec::new(32, 64, 3)),
            ],
            stem_pooled: vec![
                named("conv2d_3b", ConvSpec::new(64, 80, 1)),
                named("conv2d_4a", ConvSpec::new(80, 192, 3).unpadded()),
            ],
            mixed_5b: mixed_5b(&builder.at("mixed_5b")),
            repeat: row("repeat", 10, block_35),
            mixed_6a: mixed_6a(&builder.at("mixed_6a")),
            repeat_1: row("repeat_1", 20, block_17),
            mixed_7a: mixed_7a(&builder.at("mixed_7a")),
            repeat_2: row("repeat_2", 9, |builder| block_8(builder, 0.2, Activation::Relu)),
            block8: block_8(&builder.at("block8"), 1.0, Activation::None),
            conv2d_7b: named("conv2d_7b", ConvSpec::new(2080, FEATURES, 1)),
        }
    }
}

fn mixed_5b(builder: &Builder) -> Vec<Branch> {
    vec![
        Branch::single(&builder.at("branch0"), ConvSpec::new(192, 96, 1)),
        Branch::row(&builder.at("branch1"), &[ConvSpec::new(192, 48, 1), ConvSpec::new(48, 64, 5)]),
        Branch::row(
            &builder.at("branch2"),
            &[ConvSpec::new(192, 64, 1), ConvSpec::new(64, 96, 3), ConvSpec::new(96, 96, 3)],
        ),
        Branch::average(&builder.at("branch3"), ConvSpec::new(192, 64, 1)),
    ]
}

fn mixed_6a(builder: &Builder) -> Vec<Branch> {
    vec![
        Branch::single(&builder.at("branch0"), halving(320, 384)),
        Branch::row(
            &builder.at("branch1"),
            &[ConvSpec::new(320, 256, 1), ConvSpec::new(256, 256, 3), halving(256, 384)],
        ),
        Branch::maximum(),
    ]
}

fn mixed_7a(builder: &Builder) -> Vec<Branch> {
    let first = ConvSpec::new(1088, 256, 1);
    vec![
        Branch::row(&builder.at("branch0"), &[first, halving(256, 384)]),
        Branch::row(&builder.at("branch1"), &[first, halving(256, 288)]),
        Branch::row(&builder.at("branch2"), &[first, ConvSpec::new(256, 288, 3), halving(288, 320)]),
        Branch::maximum(),
    ]
}

/// At an eighth of the image's size.
fn block_35(builder: &Builder) -> Block {
    let branches = vec![
        Branch::single(&builder.at("branch0"), ConvSpec::new(320, 32, 1)),
        Branch::row(&builder.at("branch1"), &[ConvSpec::new(320, 32, 1), ConvSpec::new(32, 32, 3)]),
        Branch::row(
            &builder.at("branch2"),
            &[ConvSpec::new(320, 32, 1), ConvSpec::new(32, 48, 3), ConvSpec::new(48, 64, 3)],
        ),
    ];
    Block::new(builder, branches, ConvSpec::new(128, 320, 1), 0.17, Activation::Relu)
}

/// At a sixteenth.
fn block_17(builder: &Builder) -> Block {
    let branches = vec![
        Branch::single(&builder.at("branch0"), ConvSpec::new(1088, 192, 1)),
        Branch::row(
            &builder.at("branch1"),
            &[ConvSpec::new(1088, 128, 1), line(128, 160, [1, 7]), line(160, 192, [7, 1])],
        ),
    ];
    Block::new(builder, branches, ConvSpec::new(384, 1088, 1), 0.1, Activation::Relu)
}

/// At a thirty-second.
fn block_8(builder: &Builder, gain: f64, activation: Activation) -> Block {
    let branches = vec![
        Branch::single(&builder.at("branch0"), ConvSpec::new(2080, 192, 1)),
        Branch::row(
            &builder.at("branch1"),
            &[ConvSpec::new(2080, 192, 1), line(192, 224, [1, 3]), line(224, 256, [3, 1])],
        ),
    ];
    Block::new(builder, branches, ConvSpec::new(448, 2080, 1), gain, activation)
}

impl Block {
    fn new(
        builder: &Builder,
        branches: Vec<Branch>,
        project: ConvSpec,
        gain: f64,
        activation: Activation,
    ) -> Self {
        Self { branches, project: ConvAct::new(&builder.at("conv2d"), project, activation).gain(gain) }
    }

    fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = branches(&self.branches, &input, pass);
        self.project.forward(x, Some(input), pass)
    }
}

impl Backbone for InceptionResNetV2 {
    type Head = Head;

    fn stages(&self) -> usize {
        9
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let pool = |x| op::max_pool2d(x, Window::new(3, 2));
        let row = |of: &[ConvBnAct], x| of.iter().fold(x, |x, conv| conv.forward(x, None, pass));
        let blocks = |of: &[Block], x| of.iter().fold(x, |x, block| block.forward(x, pass));
        match stage {
            0 => row(&self.stem, input),
            1 => row(&self.stem_pooled, pool(input)),
            2 => branches(&self.mixed_5b, &pool(input), pass),
            3 => blocks(&self.repeat, input),
            4 => branches(&self.mixed_6a, &input, pass),
            5 => blocks(&self.repeat_1, input),
            6 => branches(&self.mixed_7a, &input, pass),
            7 => blocks(&self.repeat_2, input),
            _ => self.conv2d_7b.forward(self.block8.forward(input, pass), None, pass),
        }
    }

    fn channels(&self) -> usize {
        FEATURES
    }

    /// Before `mixed_6a`, as in fastai.
    fn group_boundary(&self) -> usize {
        4
    }

    fn stage_of(&self, tensor: &str) -> usize {
        match tensor.split('.').next() {
            Some("conv2d_3b" | "conv2d_4a") => 1,
            Some("mixed_5b") => 2,
            Some("repeat") => 3,
            Some("mixed_6a") => 4,
            Some("repeat_1") => 5,
            Some("mixed_7a") => 6,
            Some("repeat_2") => 7,
            Some("block8" | "conv2d_7b") => 8,
            _ => 0,
        }
    }
}

register! {
    InceptionResNetV2 = Entry {
        info: ArchInfo {
            size: 299,
            smallest: 75,
            accuracy: 0.804,
            parameters: 55_843_464,
            multiply_adds: 13_156,
            ..timm("inception_resnet_v2", ["inception_resnet_v2", "timm/inception_resnet_v2.tf_in1k"], "mixed_6a", HALF)
        },
        classifier: PublishedForm::linear("classif"),
        build: |builder| InceptionResNetV2::new(builder).into(),
    };
}
