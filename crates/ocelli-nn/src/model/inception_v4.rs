//! Inception-v4 (Szegedy et al. 2017, <https://arxiv.org/abs/1602.07261>); tensor names are timm's.

use burn::module::Module;
use burn::tensor::Tensor;

use super::feature_number;
use super::inception::{Branch, branches, conv, halving, line};
use crate::arch::{ArchInfo, Entry, HALF, register, timm};
use crate::head::PublishedForm;
use crate::layer::{ConvBnAct, ConvSpec};
use crate::{Backbone, Builder, Head, Pass, op};

const FEATURES: usize = 1536;

/// The backbone: three convolutions and 19 inception blocks, a stage each.
#[derive(Module, Debug)]
pub struct InceptionV4 {
    stem: Vec<ConvBnAct>,
    blocks: Vec<Block>,
}

/// What follows the first convolutions.
#[derive(Module, Debug)]
enum Block {
    /// Branches, concatenated.
    Plain(Vec<Branch>),
    /// The last blocks, whose branches fork again.
    Forked(InceptionC),
}

impl InceptionV4 {
    /// The backbone.
    pub fn new(builder: &Builder) -> Self {
        let builder = builder.at("features");
        let stem = [
            halving(builder.input_channels(), 32),
            ConvSpec::new(32, 32, 3).unpadded(),
            ConvSpec::new(32, 64, 3),
        ];
        let stem: Vec<ConvBnAct> =
            stem.into_iter().enumerate().map(|(number, of)| conv(&builder.at(number), of)).collect();
        let mut blocks = Vec::new();
        let mut add = |block: fn(&Builder) -> Block, times: usize| {
            for _ in 0..times {
                blocks.push(block(&builder.at(3 + blocks.len())));
            }
        };
        add(mixed_3a, 1);
        add(mixed_4a, 1);
        add(mixed_5a, 1);
        add(inception_a, 4);
        add(reduction_a, 1);
        add(inception_b, 7);
        add(reduction_b, 1);
        add(|builder| Block::Forked(InceptionC::new(builder)), 3);
        Self { stem, blocks }
    }
}

fn mixed_3a(builder: &Builder) -> Block {
    Block::Plain(vec![Branch::maximum(), Branch::single(&builder.at("conv"), halving(64, 96))])
}

fn mixed_4a(builder: &Builder) -> Block {
    let last = |from| ConvSpec::new(from, 96, 3).unpadded();
    Block::Plain(vec![
        Branch::row(&builder.at("branch0"), &[ConvSpec::new(160, 64, 1), last(64)]),
        Branch::row(
            &builder.at("branch1"),
            &[ConvSpec::new(160, 64, 1), line(64, 64, [1, 7]), line(64, 64, [7, 1]), last(64)],
        ),
    ])
}

fn mixed_5a(builder: &Builder) -> Block {
    Block::Plain(vec![Branch::single(&builder.at("conv"), halving(192, 192)), Branch::maximum()])
}

fn inception_a(builder: &Builder) -> Block {
    Block::Plain(vec![
        Branch::single(&builder.at("branch0"), ConvSpec::new(384, 96, 1)),
        Branch::row(&builder.at("branch1"), &[ConvSpec::new(384, 64, 1), ConvSpec::new(64, 96, 3)]),
        Branch::row(
            &builder.at("branch2"),
            &[ConvSpec::new(384, 64, 1), ConvSpec::new(64, 96, 3), ConvSpec::new(96, 96, 3)],
        ),
        Branch::average(&builder.at("branch3"), ConvSpec::new(384, 96, 1)),
    ])
}

fn reduction_a(builder: &Builder) -> Block {
    Block::Plain(vec![
        Branch::single(&builder.at("branch0"), halving(384, 384)),
        Branch::row(
            &builder.at("branch1"),
            &[ConvSpec::new(384, 192, 1), ConvSpec::new(192, 224, 3), halving(224, 256)],
        ),
        Branch::maximum(),
    ])
}

fn inception_b(builder: &Builder) -> Block {
    Block::Plain(vec![
        Branch::single(&builder.at("branch0"), ConvSpec::new(1024, 384, 1)),
        Branch::row(
            &builder.at("branch1"),
            &[ConvSpec::new(1024, 192, 1), line(192, 224, [1, 7]), line(224, 256, [7, 1])],
        ),
        Branch::row(
            &builder.at("branch2"),
            &[
                ConvSpec::new(1024, 192, 1),
                line(192, 192, [7, 1]),
                line(192, 224, [1, 7]),
                line(224, 224, [7, 1]),
                line(224, 256, [1, 7]),
            ],
        ),
        Branch::average(&builder.at("branch3"), ConvSpec::new(1024, 128, 1)),
    ])
}

fn reduction_b(builder: &Builder) -> Block {
    Block::Plain(vec![
        Branch::row(&builder.at("branch0"), &[ConvSpec::new(1024, 192, 1), halving(192, 192)]),
        Branch::row(
            &builder.at("branch1"),
            &[ConvSpec::new(1024, 256, 1), line(256, 256, [1, 7]), line(256, 320, [7, 1]), halving(320, 320)],
        ),
        Branch::maximum(),
    ])
}

/// Four branches, two of which end in a row and a column side by side.
#[derive(Module, Debug)]
struct InceptionC {
    plain: Branch,
    short: Vec<ConvBnAct>,
    short_fork: Vec<ConvBnAct>,
    long: Vec<ConvBnAct>,
    long_fork: Vec<ConvBnAct>,
    pooled: Branch,
}

impl InceptionC {
    fn new(builder: &Builder) -> Self {
        let row = |layers: &[(&str, ConvSpec)]| -> Vec<ConvBnAct> {
            layers.iter().map(|(name, of)| conv(&builder.at(name), *of)).collect()
        };
        Self {
            plain: Branch::single(&builder.at("branch0"), ConvSpec::new(FEATURES, 256, 1)),
            short: row(&[("branch1_0", ConvSpec::new(FEATURES, 384, 1))]),
            short_fork: row(&[
                ("branch1_1a", line(384, 256, [1, 3])),
                ("branch1_1b", line(384, 256, [3, 1])),
            ]),
            long: row(&[
                ("branch2_0", ConvSpec::new(FEATURES, 384, 1)),
                ("branch2_1", line(384, 448, [3, 1])),
                ("branch2_2", line(448, 512, [1, 3])),
            ]),
            long_fork: row(&[("branch2_3a", line(512, 256, [1, 3])), ("branch2_3b", line(512, 256, [3, 1]))]),
            pooled: Branch::average(&builder.at("branch3"), ConvSpec::new(FEATURES, 256, 1)),
        }
    }

    fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let mut parts = vec![self.plain.forward(input.clone(), pass)];
        for (row, fork) in [(&self.short, &self.short_fork), (&self.long, &self.long_fork)] {
            let x = row.iter().fold(input.clone(), |x, conv| conv.forward(x, None, pass));
            parts.extend(fork.iter().map(|conv| conv.forward(x.clone(), None, pass)));
        }
        parts.push(self.pooled.forward(input, pass));
        op::concat(parts)
    }
}

impl Backbone for InceptionV4 {
    type Head = Head;

    fn stages(&self) -> usize {
        self.stem.len() + self.blocks.len()
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match stage.checked_sub(self.stem.len()) {
            None => self.stem[stage].forward(input, None, pass),
            Some(block) => match &self.blocks[block] {
                Block::Plain(of) => branches(of, &input, pass),
                Block::Forked(block) => block.forward(input, pass),
            },
        }
    }

    fn channels(&self) -> usize {
        FEATURES
    }

    /// Behind the third Inception-A block, as in fastai.
    fn group_boundary(&self) -> usize {
        9
    }

    fn stage_of(&self, tensor: &str) -> usize {
        feature_number(tensor)
    }
}

register! {
    InceptionV4 = Entry {
        info: ArchInfo {
            size: 299,
            smallest: 75,
            accuracy: 0.801,
            parameters: 42_679_816,
            multiply_adds: 12_254,
            ..timm("inception_v4", ["inception_v4", "timm/inception_v4.tf_in1k"], "features.9", HALF)
        },
        classifier: PublishedForm::linear("last_linear"),
        build: |builder| InceptionV4::new(builder).into(),
    };
}
