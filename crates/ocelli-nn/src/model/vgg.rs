//! VGG with batch norm (Simonyan & Zisserman 2015, <https://arxiv.org/abs/1409.1556>); tensor names are
//! torchvision's.

use burn::module::Module;
use burn::tensor::Tensor;

use super::feature_number;
use crate::arch::{ArchInfo, Entry, register, torchvision};
use crate::head::PublishedForm;
use crate::layer::{ConvBnAct, ConvSpec, Pool};
use crate::op::{self, Activation, Window};
use crate::{Backbone, Builder, Head, Pass};

/// Channels of the five blocks.
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];
const EPSILON: f64 = 1e-5;

/// The backbone: five blocks of 3×3 convolutions, max pooling after each. A stage is a convolution with the
/// pooling before it where it begins a block; the last also has the pooling behind it.
#[derive(Module, Debug)]
pub struct Vgg {
    convolutions: Vec<ConvBnAct>,
    /// Which of them begins a block.
    #[module(skip)]
    starts: Vec<usize>,
}

impl Vgg {
    /// The backbone with this many convolutions in each block: `[2, 2, 3, 3, 3]` for VGG-16.
    pub fn new(builder: &Builder, blocks: [usize; 5]) -> Self {
        // Convolution, norm and ReLU count in torchvision's names, and so does pooling.
        let (mut number, mut channels) = (0, builder.input_channels());
        let (mut convolutions, mut starts) = (Vec::new(), Vec::new());
        for (width, count) in WIDTHS.into_iter().zip(blocks) {
            starts.push(convolutions.len());
            for _ in 0..count {
                let conv = ConvSpec::new(std::mem::replace(&mut channels, width), width, 3);
                let names = [number, number + 1].map(|number| format!("features.{number}"));
                let names = names.each_ref().map(String::as_str);
                convolutions.push(ConvBnAct::with_bias(builder, names, conv, EPSILON, Activation::Relu));
                number += 3;
            }
            number += 1;
        }
        Self { convolutions, starts }
    }
}

impl Backbone for Vgg {
    type Head = Head;

    fn stages(&self) -> usize {
        self.convolutions.len()
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let pool = |x| op::max_pool2d(x, Window::new(2, 2));
        let begins_block = stage > 0 && self.starts.contains(&stage);
        let x = if begins_block { pool(input) } else { input };
        let x = self.convolutions[stage].forward(x, None, pass);
        if stage + 1 == self.convolutions.len() { pool(x) } else { x }
    }

    fn channels(&self) -> usize {
        WIDTHS[4]
    }

    /// Behind the seventh convolution, as in fastai: the end of the third block in VGG-16.
    fn group_boundary(&self) -> usize {
        7
    }

    fn stage_of(&self, tensor: &str) -> usize {
        let number = feature_number(tensor);
        // As many convolutions come before it as threes are left without the poolings.
        let poolings = |stage: usize| self.starts.iter().filter(|start| (1..=stage).contains(*start)).count();
        (0..self.stages()).rev().find(|&stage| number >= 3 * stage + poolings(stage)).unwrap_or(0)
    }
}

const CLASSIFIER: PublishedForm = PublishedForm {
    pool: Pool::Grid(7),
    hidden: &[("classifier.0", 4096), ("classifier.3", 4096)],
    ..PublishedForm::linear("classifier.6")
};

register! {
    Vgg16Bn = Entry {
        info: ArchInfo {
            smallest: 32,
            accuracy: 0.734,
            parameters: 138_365_992,
            multiply_adds: 15_470,
            ..torchvision("vgg16_bn", "vgg16_bn-6c64b313.pth", "features.24")
        },
        classifier: CLASSIFIER,
        build: |builder| Vgg::new(builder, [2, 2, 3, 3, 3]).into(),
    };
    Vgg19Bn = Entry {
        info: ArchInfo {
            smallest: 32,
            accuracy: 0.742,
            parameters: 143_678_248,
            multiply_adds: 19_632,
            ..torchvision("vgg19_bn", "vgg19_bn-c79401a0.pth", "features.23")
        },
        classifier: CLASSIFIER,
        build: |builder| Vgg::new(builder, [2, 2, 4, 4, 4]).into(),
    };
}
