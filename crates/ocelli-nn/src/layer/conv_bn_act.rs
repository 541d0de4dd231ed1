//! The layer that carries the networks: convolution → batch norm → (+ residual) → activation.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::BatchNorm;
use crate::builder::Initial;
use crate::op::{self, Activation, ConvNorm, FoldedConv, Geometry, Padding};
use crate::{Builder, Pass, Statistics};

/// What a convolution is: channels, kernel, stride, padding, groups.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    from: usize,
    to: usize,
    kernel: usize,
    geometry: Geometry,
}

impl Conv {
    /// A square convolution of stride 1 with as much padding on each side as keeps the size.
    pub fn new(from: usize, to: usize, kernel: usize) -> Self {
        let geometry = Geometry {
            stride: 1,
            padding: Padding::Symmetric([(kernel - 1) / 2; 2]),
            dilation: 1,
            groups: 1,
        };
        Self { from, to, kernel, geometry }
    }

    /// The distance between two applications of the kernel.
    pub fn stride(mut self, stride: usize) -> Self {
        self.geometry.stride = stride;
        self
    }

    /// TensorFlow's "same" padding: ⌈size / stride⌉ outputs, the odd pixel of padding at right and bottom.
    pub fn same(mut self) -> Self {
        self.geometry.padding = Padding::Same;
        self
    }

    /// One kernel a channel.
    pub fn depthwise(mut self) -> Self {
        self.geometry.groups = self.from;
        self
    }
}

/// Convolution without bias, batch norm, optional residual, activation.
///
/// In inference the norm is folded into the convolution, whose packed form is kept until a parameter changes.
#[derive(Module, Debug)]
pub struct ConvBnAct {
    weight: Param<Tensor<4>>,
    norm: BatchNorm,
    #[module(skip)]
    geometry: Geometry,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    folded: FoldedConv,
}

impl ConvBnAct {
    /// A layer whose tensors are named `names[0].weight` (convolution) and `names[1].*` (norm); `epsilon` is the
    /// norm's.
    pub fn new(
        builder: &Builder,
        names: [&str; 2],
        conv: Conv,
        epsilon: f64,
        activation: Activation,
    ) -> Self {
        let Conv { from, to, kernel, geometry } = conv;
        let inputs = from / geometry.groups * kernel * kernel;
        let shape = [to, from / geometry.groups, kernel, kernel];
        Self {
            weight: builder.at(names[0]).parameter("weight", shape, Initial::KaimingNormal { inputs }),
            norm: BatchNorm::new(&builder.at(names[1]), to, epsilon),
            geometry,
            activation,
            folded: FoldedConv::default(),
        }
    }

    /// `[images, channels, height, width]` in and out; the residual has the output's shape.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>, pass: &Pass) -> Tensor<4> {
        match pass {
            Pass::Inference => {
                let tensors = ConvNorm {
                    weight: self.weight.val().inner(),
                    bias: None,
                    gain: 1.0,
                    norm: Some(self.norm.running()),
                };
                let residual = residual.map(Tensor::inner);
                self.folded.forward(input.inner(), residual, tensors, self.geometry, self.activation)
            }
            Pass::Training(training) => match training.statistics {
                Statistics::Batch => {
                    let (x, seen) = op::conv2d_with_statistics(input, self.weight.val(), self.geometry);
                    self.norm.forward_seen(x, seen, residual, self.activation, training)
                }
                Statistics::Running => {
                    let x = op::conv2d(input, self.weight.val(), self.geometry);
                    self.norm.forward_maps(x, residual, self.activation, pass)
                }
            },
        }
    }
}
