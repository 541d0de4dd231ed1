//! What Inception-v4 and Inception-ResNet-v2 (Szegedy et al. 2017, <https://arxiv.org/abs/1602.07261>) share:
//! branches side by side, whose outputs are concatenated.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::layer::{ConvBnAct, ConvSpec};
use crate::op::{self, Activation, Window};
use crate::{Builder, Pass};

/// TensorFlow's constant in batch norms.
const EPSILON: f64 = 1e-3;

/// Convolution, norm and ReLU under the names `conv` and `bn`.
pub(super) fn conv(builder: &Builder, conv: ConvSpec) -> ConvBnAct {
    ConvBnAct::new(builder, ["conv", "bn"], conv, EPSILON, Activation::Relu)
}

/// The pooling of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    None,
    /// 3×3 means at stride 1.
    Average,
    /// 3×3 maxima at stride 2.
    Maximum,
}

/// Pooling, then convolutions, either of which may be absent.
#[derive(Module, Debug)]
pub(super) struct Branch {
    convolutions: Vec<ConvBnAct>,
    #[module(skip)]
    pooling: Pooling,
}

impl Branch {
    /// One convolution, named by the branch itself.
    pub(super) fn single(builder: &Builder, of: ConvSpec) -> Self {
        Self { convolutions: vec![conv(builder, of)], pooling: Pooling::None }
    }

    /// Several convolutions, numbered.
    pub(super) fn row(builder: &Builder, of: &[ConvSpec]) -> Self {
        let convolutions = of.iter().enumerate().map(|(number, of)| conv(&builder.at(number), *of));
        Self { convolutions: convolutions.collect(), pooling: Pooling::None }
    }

    /// 3×3 means at stride 1, then one convolution, numbered 1.
    pub(super) fn average(builder: &Builder, of: ConvSpec) -> Self {
        Self { convolutions: vec![conv(&builder.at(1), of)], pooling: Pooling::Average }
    }

    /// 3×3 maxima at stride 2.
    pub(super) fn maximum() -> Self {
        Self { convolutions: Vec::new(), pooling: Pooling::Maximum }
    }

    pub(super) fn forward(&self, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let pooled = match self.pooling {
            Pooling::None => input,
            Pooling::Average => op::average_pool2d(input, Window::new(3, 1).padding(1), false),
            Pooling::Maximum => op::max_pool2d(input, Window::new(3, 2)),
        };
        self.convolutions.iter().fold(pooled, |x, conv| conv.forward(x, None, pass))
    }
}

/// All branches of the same input, concatenated.
pub(super) fn branches(of: &[Branch], input: &Tensor<4>, pass: &Pass) -> Tensor<4> {
    op::concat(of.iter().map(|branch| branch.forward(input.clone(), pass)).collect())
}

/// A convolution of one row or one column, which keeps the size.
pub(super) fn line(from: usize, to: usize, kernel: [usize; 2]) -> ConvSpec {
    ConvSpec::rectangle(from, to, kernel)
}

/// A square convolution at stride 2 without padding.
pub(super) fn halving(from: usize, to: usize) -> ConvSpec {
    ConvSpec::new(from, to, 3).stride(2).unpadded()
}
