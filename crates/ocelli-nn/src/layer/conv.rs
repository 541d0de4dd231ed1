//! The specification of a convolution, and the layer of a convolution without a norm.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::builder::Initial;
use crate::op::{self, Activation, AffineNorm, ConvOptions, ConvTensors, FoldedConv, Padding};
use crate::{Builder, Pass};

/// The specification of a convolution: channels, kernel, stride, padding, groups.
#[derive(Debug, Clone, Copy)]
pub struct ConvSpec {
    from: usize,
    to: usize,
    kernel: [usize; 2],
    pub(super) options: ConvOptions,
}

impl ConvSpec {
    /// A square convolution of stride 1 with as much padding on each side as keeps the size.
    pub fn new(from: usize, to: usize, kernel: usize) -> Self {
        Self::rectangle(from, to, [kernel; 2])
    }

    /// As [`new`](Self::new), with a kernel of this many rows and columns.
    pub fn rectangle(from: usize, to: usize, kernel: [usize; 2]) -> Self {
        let padding = Padding::Symmetric(kernel.map(|side| (side - 1) / 2));
        let options = ConvOptions { stride: 1, padding, dilation: 1, groups: 1 };
        Self { from, to, kernel, options }
    }

    /// The distance between two applications of the kernel.
    pub fn stride(mut self, stride: usize) -> Self {
        self.options.stride = stride;
        self
    }

    /// TensorFlow's "same" padding: ⌈size / stride⌉ outputs, the odd pixel of padding at right and bottom.
    pub fn same(mut self) -> Self {
        self.options.padding = Padding::Same;
        self
    }

    /// No padding: TensorFlow's "valid".
    pub fn unpadded(mut self) -> Self {
        self.options.padding = Padding::Symmetric([0; 2]);
        self
    }

    /// Splits the channels into this many groups that do not see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.options.groups = groups;
        self
    }

    /// One kernel a channel.
    pub fn depthwise(self) -> Self {
        self.groups(self.from)
    }

    /// The number of output channels.
    pub(super) fn outputs(&self) -> usize {
        self.to
    }

    /// The parameter `weight`, `[outputs, channels / groups, rows, columns]`.
    pub(super) fn weight(&self, builder: &Builder) -> Param<Tensor<4>> {
        let [rows, columns] = self.kernel;
        let channels = self.from / self.options.groups;
        let initial = Initial::KaimingNormal { inputs: channels * rows * columns };
        builder.parameter("weight", [self.to, channels, rows, columns], initial)
    }

    /// The parameter `bias`, `[outputs]`.
    pub(super) fn bias(&self, builder: &Builder) -> Param<Tensor<1>> {
        builder.parameter("bias", [self.to], Initial::Constant(0.0))
    }
}

/// Convolution (with or without a bias), a constant gain, optional residual, activation: no norm.
#[derive(Module, Debug)]
pub struct ConvAct {
    weight: Kernel,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    gain: f64,
    #[module(skip)]
    options: ConvOptions,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    folded: FoldedConv,
}

/// A convolution's weight as it is stored.
#[derive(Module, Debug)]
enum Kernel {
    /// `[outputs, channels / groups, rows, columns]`
    Convolution(Param<Tensor<4>>),
    /// `[outputs, channels]`, of one row and one column.
    Linear(Param<Tensor<2>>),
}

impl Kernel {
    fn value(&self, pass: &Pass) -> Tensor<4> {
        match self {
            Self::Convolution(weight) => pass.value(weight),
            Self::Linear(weight) => {
                let [outputs, channels] = weight.dims();
                pass.value(weight).reshape([outputs, channels, 1, 1])
            }
        }
    }
}

impl ConvAct {
    /// A convolution with a bias; tensors `weight` and `bias` in the builder's path.
    pub fn new(builder: &Builder, conv: ConvSpec, activation: Activation) -> Self {
        Self { bias: Some(conv.bias(builder)), ..Self::without_bias(builder, conv, activation) }
    }

    /// A convolution without bias; tensor `weight` in the builder's path.
    pub fn without_bias(builder: &Builder, conv: ConvSpec, activation: Activation) -> Self {
        Self {
            weight: Kernel::Convolution(conv.weight(builder)),
            bias: None,
            gain: 1.0,
            options: conv.options,
            activation,
            folded: FoldedConv::default(),
        }
    }

    /// A 1×1 convolution with a bias whose weight is stored as that of a linear layer.
    pub fn linear(builder: &Builder, from: usize, to: usize, activation: Activation) -> Self {
        let initial = Initial::KaimingNormal { inputs: from };
        let conv = ConvSpec::new(from, to, 1);
        Self {
            weight: Kernel::Linear(builder.parameter("weight", [to, from], initial)),
            bias: Some(conv.bias(builder)),
            gain: 1.0,
            options: conv.options,
            activation,
            folded: FoldedConv::default(),
        }
    }

    /// Multiplies the convolution's result by a constant before the residual is added.
    pub fn gain(mut self, gain: f64) -> Self {
        self.gain = gain;
        self
    }

    /// `activation(gain · (conv(input) + bias) + residual)`: `[images, channels, height, width]` in and out,
    /// the residual of the output's shape.
    pub fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>, pass: &Pass) -> Tensor<4> {
        let weight = self.weight.value(pass);
        let bias = self.bias.as_ref().map(|bias| pass.value(bias));
        match pass {
            Pass::Infer => {
                let tensors = ConvTensors { weight, bias, gain: self.gain, scale: None, norm: None };
                let residual = residual.map(Tensor::inner);
                self.folded.forward(input.inner(), residual, tensors, self.options, self.activation)
            }
            Pass::Train(_) => {
                let is_plain = (self.gain, self.activation) == (1.0, Activation::None);
                let (bias, residual) = match (bias, residual) {
                    (None, None) if is_plain => return op::conv2d(input, weight, self.options),
                    (Some(bias), residual) if is_plain => {
                        return op::conv2d_with_bias(input, weight, bias, residual, self.options);
                    }
                    both => both,
                };
                let x = op::conv2d(input, weight, self.options);
                let bias = bias.map(|bias| bias.mul_scalar(self.gain));
                op::batch_norm(
                    x.clone(),
                    AffineNorm::constant(self.gain, bias, &x),
                    residual,
                    self.activation,
                )
            }
        }
    }

    /// `scale · (conv(input) + bias) + residual`, a factor for each output, for a convolution without gain
    /// and activation: shapes as for [`forward`](Self::forward), the scale `[outputs]`.
    pub fn forward_scaled(
        &self,
        input: Tensor<4>,
        scale: Tensor<1>,
        residual: Tensor<4>,
        pass: &Pass,
    ) -> Tensor<4> {
        match pass {
            Pass::Infer => {
                let (weight, bias) =
                    (self.weight.value(pass), self.bias.as_ref().map(|bias| pass.value(bias)));
                let tensors = ConvTensors { weight, bias, gain: 1.0, scale: Some(scale), norm: None };
                let residual = Some(residual.inner());
                self.folded.forward(input.inner(), residual, tensors, self.options, Activation::None)
            }
            Pass::Train(_) => {
                let x = self.forward(input, None, pass);
                let scale = AffineNorm { weight: scale, ..AffineNorm::constant(1.0, None, &x) };
                op::batch_norm(x, scale, Some(residual), Activation::None)
            }
        }
    }
}
