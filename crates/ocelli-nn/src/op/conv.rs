//! Convolutions as they are trained. Those of inference are [`FoldedConv`](super::FoldedConv)s.

use std::sync::{Arc, OnceLock};

use burn::backend::flex::FlexTensor;
use burn::tensor::ops::PadMode;
use burn::tensor::{Tensor, module};
use ocelli_kernels::{
    self as kernels, Activation, Buffer, ChannelStatistics, Conv2dShape, channel_sums, conv2d_backward_data,
    conv2d_backward_weights,
};

use super::kernel::{
    Incoming, KernelOp, Maps, Stored, apply, by_element, constant, dims, maps, row_major_tensor, values,
    vector,
};
use super::operation::{ConvWindow, Operation, Parameter};
use super::trace::{self, Source, parameter};
use super::{add, batch_statistics, has_kernels, per_channel};

/// How a kernel is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvOptions {
    /// The distance between two applications.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: Padding,
    /// The distance between the kernel's points.
    pub dilation: usize,
    /// The number of groups that the channels are split into; groups do not see each other.
    pub groups: usize,
}

/// Zeros around an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Padding {
    /// Rows above and below, and columns left and right.
    Symmetric([usize; 2]),
    /// TensorFlow's "same": as many as give ⌈size / stride⌉ outputs, the odd one at the bottom and right.
    Same,
}

impl ConvOptions {
    /// The padding for images of that height and width.
    fn padding(&self, image: [usize; 2], kernel: [usize; 2]) -> kernels::Padding {
        match self.padding {
            Padding::Symmetric([rows, columns]) => {
                kernels::Padding { top: rows, left: columns, bottom: rows, right: columns }
            }
            Padding::Same => kernels::Padding::same(image, kernel, [self.stride; 2], [self.dilation; 2]),
        }
    }

    /// As a plain value, for images and a weight of these shapes.
    pub(super) fn resolved(&self, image: [usize; 4], weight: &[usize]) -> ConvWindow {
        let padding = self.padding([image[2], image[3]], [weight[2], weight[3]]);
        let kernels::Padding { top, left, bottom, right } = padding;
        let ConvOptions { stride, dilation, groups, .. } = *self;
        ConvWindow { stride, padding: [top, left, bottom, right], dilation, groups }
    }

    /// The shape for images `[images, channels, height, width]` and a weight
    /// `[outputs, channels / groups, rows, columns]`.
    pub(super) fn shape(&self, image: [usize; 4], weight: [usize; 4]) -> Conv2dShape {
        let [batch, _, in_height, in_width] = image;
        let [out_channels, group_channels, kernel_height, kernel_width] = weight;
        let kernel = [kernel_height, kernel_width];
        Conv2dShape {
            batch,
            in_height,
            in_width,
            in_channels: group_channels * self.groups,
            out_channels,
            kernel,
            stride: [self.stride; 2],
            padding: self.padding([in_height, in_width], kernel),
            dilation: [self.dilation; 2],
            groups: self.groups,
        }
    }
}

/// The shape of the output maps.
pub(super) fn output_dims(shape: &Conv2dShape) -> [usize; 4] {
    [shape.batch, shape.out_channels, shape.out_height(), shape.out_width()]
}

/// Convolves `[images, channels, height, width]` with `[outputs, channels / groups, rows, columns]`.
pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, options: ConvOptions) -> Tensor<4> {
    let begun = trace::begin(|| (recorded(&input, &weight, None, options), vec![Source::of(&input)]));
    trace::end(begun, run(input, weight, options))
}

/// A convolution without anything after it, as it is recorded.
fn recorded(
    input: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    options: ConvOptions,
) -> Operation {
    let weight = parameter(weight);
    let outputs = weight.shape[0];
    let zeros = || Parameter::new("", vec![outputs], vec![0.0; outputs]);
    let bias = bias.map_or_else(zeros, parameter);
    let window = options.resolved(input.dims(), &weight.shape);
    Operation::Conv { weight, bias, window, activation: Activation::None }
}

fn run(input: Tensor<4>, weight: Tensor<4>, options: ConvOptions) -> Tensor<4> {
    if has_kernels(&input) {
        return apply(Conv { options, statistics: None }, [input.into(), weight.into()]);
    }
    let [_, _, height, width] = input.dims();
    let [_, _, kernel_height, kernel_width] = weight.dims();
    let padding = options.padding([height, width], [kernel_height, kernel_width]);
    let symmetric = padding.top == padding.bottom && padding.left == padding.right;
    let (input, padding) = if symmetric {
        (input, [padding.top, padding.left])
    } else {
        let sides = (padding.left, padding.right, padding.top, padding.bottom);
        (input.pad(sides, PadMode::Constant(0.0)), [0, 0])
    };
    let options = burn::tensor::ops::ConvOptions::new(
        [options.stride; 2],
        padding,
        [options.dilation; 2],
        options.groups,
    );
    module::conv2d(input, weight, None, options)
}

/// [`conv2d`] plus a bias, `[outputs]`, plus a residual of the output's shape.
pub fn conv2d_with_bias(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    options: ConvOptions,
) -> Tensor<4> {
    let begun = trace::begin(|| {
        let sources = std::iter::once(&input).chain(&residual).map(Source::of).collect();
        (recorded(&input, &weight, Some(&bias), options), sources)
    });
    let output = if has_kernels(&input) {
        let op = ConvBias(options);
        match residual {
            Some(residual) => apply(op, [input.into(), weight.into(), bias.into(), residual.into()]),
            None => apply(op, [input.into(), weight.into(), bias.into()]),
        }
    } else {
        add(run(input, weight, options) + per_channel(bias), residual)
    };
    trace::end(begun, output)
}

/// [`conv2d`], and the mean and the biased variance of every channel of its output, without autodiff: what a
/// batch norm needs.
pub fn conv2d_with_statistics(
    input: Tensor<4>,
    weight: Tensor<4>,
    options: ConvOptions,
) -> (Tensor<4>, (Tensor<1>, Tensor<1>)) {
    if !has_kernels(&input) {
        let output = conv2d(input, weight, options);
        return (output.clone(), batch_statistics(output.inner()));
    }
    let statistics = Arc::new(OnceLock::new());
    let op = Conv { options, statistics: Some(statistics.clone()) };
    let output = apply(op, [input.into(), weight.into()]);
    let ChannelStatistics { mean, variance } = statistics.get().expect("the convolution has run").clone();
    (output, (constant(vector(mean)), constant(vector(variance))))
}

#[derive(Debug, Clone)]
struct Conv {
    options: ConvOptions,
    /// Receives the output's mean and variance.
    statistics: Option<Arc<OnceLock<ChannelStatistics>>>,
}

impl KernelOp<2> for Conv {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [input, weight]: [FlexTensor; 2]) -> FlexTensor {
        let x = Maps::new(input);
        let shape = self.options.shape(x.shape, dims(&weight));
        let weight = values(&weight);
        by_element!(x.tensor.dtype(), T => {
            let mut y = Buffer::<T>::take(shape.output_len());
            match &self.statistics {
                Some(statistics) => {
                    let found = kernels::conv2d_with_statistics::<T>(&shape, &weight, &x.values(), &mut y);
                    statistics.set(found).expect("the convolution runs once");
                }
                None => {
                    kernels::conv2d(&shape, &weight, None, &x.values(), None, Activation::None, &mut y);
                }
            }
            maps(y, output_dims(&shape))
        })
    }

    fn forward_and_save(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        (self.forward(inputs.clone()), inputs)
    }

    fn backward(&self, saved: Self::Saved, incoming: Incoming<2>) -> [Option<FlexTensor>; 2] {
        backward(self.options, saved, incoming.gradient, incoming.others, incoming.needed)
    }

    fn adds_others(&self) -> bool {
        true
    }
}

/// With a bias, and with a residual if there are four inputs.
#[derive(Debug, Clone)]
struct ConvBias(ConvOptions);

impl<const N: usize> KernelOp<N> for ConvBias {
    type Saved = [FlexTensor; 2];

    fn forward(&self, inputs: [FlexTensor; N]) -> FlexTensor {
        let (x, residual) = (Maps::new(inputs[0].clone()), inputs.get(3).cloned().map(Maps::new));
        let shape = self.0.shape(x.shape, dims(&inputs[1]));
        let (weight, bias) = (values(&inputs[1]), values(&inputs[2]));
        by_element!(x.tensor.dtype(), T => {
            let residual = residual.as_ref().map(Maps::values);
            let mut y = Buffer::<T>::take(shape.output_len());
            let (x, residual) = (x.values(), residual.as_deref());
            kernels::conv2d(&shape, &weight, Some(&bias), &x, residual, Activation::None, &mut y);
            maps(y, output_dims(&shape))
        })
    }

    fn forward_and_save(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Self::Saved) {
        let saved = [inputs[0].clone(), inputs[1].clone()];
        (self.forward(inputs), saved)
    }

    fn backward(&self, saved: Self::Saved, incoming: Incoming<N>) -> [Option<FlexTensor>; N] {
        let Incoming { gradient, others, needed } = incoming;
        let to_bias = needed[2].then(|| {
            let dy = Maps::new(gradient.clone());
            let [_, _, outputs] = dy.sizes();
            vector(by_element!(gradient.dtype(), T => channel_sums::<T>(outputs, &dy.values())))
        });
        let [to_input, to_weight] = backward(self.0, saved, gradient.clone(), others, [needed[0], needed[1]]);
        let mut all = [to_input, to_weight, to_bias, Some(gradient)].into_iter();
        std::array::from_fn(|_| all.next().flatten())
    }

    fn adds_others(&self) -> bool {
        true
    }
}

/// The gradients of input and weight.
fn backward(
    options: ConvOptions,
    [input, weight]: [FlexTensor; 2],
    gradient: FlexTensor,
    others: Option<FlexTensor>,
    needed: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let (x, dy, others) = (Maps::new(input), Maps::new(gradient), others.map(Maps::new));
    let shape = options.shape(x.shape, dims(&weight));
    by_element!(x.tensor.dtype(), T => gradients::<T>(&shape, &x, &weight, &dy, others.as_ref(), needed))
}

fn gradients<T: Stored>(
    shape: &Conv2dShape,
    x: &Maps,
    weight: &FlexTensor,
    dy: &Maps,
    others: Option<&Maps>,
    [to_input, to_weight]: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let dy = dy.values::<T>();
    let dx = to_input.then(|| {
        let mut dx = Buffer::<T>::take(shape.input_len());
        let others = others.map(Maps::values);
        conv2d_backward_data(shape, &values(weight), &dy, others.as_deref(), &mut dx);
        maps(dx, x.shape)
    });
    let dw = to_weight.then(|| {
        let mut dw = Buffer::<f32>::take(shape.weight_len());
        conv2d_backward_weights(shape, &x.values::<T>(), &dy, &mut dw);
        row_major_tensor(dw, weight.layout().shape().clone())
    });
    [dx, dw]
}
