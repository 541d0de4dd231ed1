//! Convolutions: as they are trained, and folded with what follows them.

use std::sync::{Arc, OnceLock};

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};
use ocelli_kernels::{
    self as kernels, Activation, Buffer, ChannelStatistics, Conv2dShape, PackedConv2d, bf16, channel_sums,
    conv2d_backward_data, conv2d_backward_weights,
};

use super::super::{ConvNorm, Geometry};
use super::{
    Maps, Stored, by_element, four, maps, others, parts, primitive, register, stored, tracked, values, vector,
};

pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, conv: Geometry) -> Tensor<4> {
    let call = Call { conv, statistics: None };
    Tensor::from_dispatch(Dispatch::ocelli_conv2d(input.into_dispatch(), weight.into_dispatch(), call))
}

pub fn conv2d_with_statistics(
    input: Tensor<4>,
    weight: Tensor<4>,
    conv: Geometry,
) -> (Tensor<4>, (Tensor<1>, Tensor<1>)) {
    let statistics = Arc::new(OnceLock::new());
    let call = Call { conv, statistics: Some(statistics.clone()) };
    let output = Dispatch::ocelli_conv2d(input.into_dispatch(), weight.into_dispatch(), call);
    let ChannelStatistics { mean, variance } = statistics.get().expect("the convolution has run").clone();
    let tensor = |values| Tensor::from_primitive::<Flex>(vector(values));
    (Tensor::from_dispatch(output), (tensor(mean), tensor(variance)))
}

pub fn conv2d_with_bias(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    conv: Geometry,
) -> Tensor<4> {
    let (x, weight, bias) = (input.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(match residual {
        Some(residual) => {
            Dispatch::ocelli_conv2d_bias_residual(x, weight, bias, residual.into_dispatch(), conv)
        }
        None => Dispatch::ocelli_conv2d_bias(x, weight, bias, conv),
    })
}

/// How a convolution is called.
#[derive(Debug, Clone)]
pub struct Call {
    conv: Geometry,
    /// Where the output's mean and variance are to go.
    statistics: Option<Arc<OnceLock<ChannelStatistics>>>,
}

#[backend_extension(Flex, Autodiff)]
pub trait ConvKernels: Backend {
    /// `[images, channels, height, width]` with `[outputs, channels / groups, rows, columns]`.
    fn ocelli_conv2d(input: FloatTensor<Self>, weight: FloatTensor<Self>, call: Call) -> FloatTensor<Self>;

    /// And `[outputs]` added.
    fn ocelli_conv2d_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        conv: Geometry,
    ) -> FloatTensor<Self>;

    /// And what has the output's shape.
    fn ocelli_conv2d_bias_residual(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        conv: Geometry,
    ) -> FloatTensor<Self>;
}

impl ConvKernels for Flex {
    fn ocelli_conv2d(input: FlexTensor, weight: FlexTensor, call: Call) -> FlexTensor {
        by_element!(input, T => forward::<T>(input, &weight, &call))
    }

    fn ocelli_conv2d_bias(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        conv: Geometry,
    ) -> FlexTensor {
        by_element!(input, T => forward_with_bias::<T>(input, &weight, &bias, None, conv))
    }

    fn ocelli_conv2d_bias_residual(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        conv: Geometry,
    ) -> FlexTensor {
        by_element!(input, T => forward_with_bias::<T>(input, &weight, &bias, Some(residual), conv))
    }
}

impl<C: CheckpointStrategy> ConvKernels for Autodiff<Flex, C> {
    fn ocelli_conv2d(input: FloatTensor<Self>, weight: FloatTensor<Self>, call: Call) -> FloatTensor<Self> {
        let ([input, weight], nodes) = parts([input, weight]);
        let state = (input.clone(), weight.clone(), call.conv);
        tracked::<C, _, 2>(ConvBackward, nodes, state, Flex::ocelli_conv2d(input, weight, call))
    }

    fn ocelli_conv2d_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        conv: Geometry,
    ) -> FloatTensor<Self> {
        let ([input, weight, bias], nodes) = parts([input, weight, bias]);
        let state = (input.clone(), weight.clone(), conv);
        let output = Flex::ocelli_conv2d_bias(input, weight, bias, conv);
        tracked::<C, _, 3>(ConvBiasBackward, nodes, state, output)
    }

    fn ocelli_conv2d_bias_residual(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        conv: Geometry,
    ) -> FloatTensor<Self> {
        let ([input, weight, bias, residual], nodes) = parts([input, weight, bias, residual]);
        let state = (input.clone(), weight.clone(), conv);
        let output = Flex::ocelli_conv2d_bias_residual(input, weight, bias, residual, conv);
        tracked::<C, _, 4>(ConvBiasBackward, nodes, state, output)
    }
}

fn forward<T: Stored>(input: FlexTensor, weight: &FlexTensor, call: &Call) -> FlexTensor {
    let x = Maps::new(input);
    let shape = conv_shape(x.shape, four(weight), call.conv);
    let weight = values(weight);
    let mut y = Buffer::take(shape.output_len());
    match &call.statistics {
        Some(statistics) => {
            let seen = kernels::conv2d_with_statistics::<T>(&shape, &weight, &x.values(), &mut y);
            statistics.set(seen).expect("the convolution runs once");
        }
        None => {
            kernels::conv2d::<T>(&shape, &weight, None, &x.values(), None, Activation::None, &mut y);
        }
    }
    maps(y, output_of(&shape))
}

fn forward_with_bias<T: Stored>(
    input: FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    residual: Option<FlexTensor>,
    conv: Geometry,
) -> FlexTensor {
    let (x, residual) = (Maps::new(input), residual.map(Maps::new));
    let residual = residual.as_ref().map(Maps::values);
    let shape = conv_shape(x.shape, four(weight), conv);
    let (weight, bias) = (values(weight), values(bias));
    let mut y = Buffer::take(shape.output_len());
    let (x, residual) = (x.values::<T>(), residual.as_deref());
    kernels::conv2d(&shape, &weight, Some(&bias), &x, residual, Activation::None, &mut y);
    maps(y, output_of(&shape))
}

#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 2> for ConvBackward {
    type State = (FlexTensor, FlexTensor, Geometry);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        pass_back(ops, dy, gradients);
    }
}

/// With a bias, and a residual if there are four parents.
#[derive(Debug)]
struct ConvBiasBackward;

impl<const N: usize> Backward<Flex, N> for ConvBiasBackward {
    type State = (FlexTensor, FlexTensor, Geometry);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let nodes = ops.parents.each_ref().map(|node| node.as_ref().map(|node| node.id));
        if nodes[2].is_some() {
            let maps = Maps::new(dy.clone());
            let [_, _, outputs] = maps.sizes();
            let sums = by_element!(dy, T => channel_sums::<T>(outputs, &maps.values()));
            register(gradients, nodes[2], vector(sums));
        }
        pass_back(ops, dy.clone(), gradients);
        if let Some(residual) = nodes.get(3) {
            register(gradients, *residual, dy);
        }
    }
}

/// Hands on the gradients with respect to input and weight, the first two parents.
fn pass_back<const N: usize>(
    ops: Ops<(FlexTensor, FlexTensor, Geometry), N>,
    dy: FlexTensor,
    gradients: &mut Gradients,
) {
    let others = others(gradients, &ops);
    let (input, weight, conv) = ops.state;
    let nodes = ops.parents.map(|node| node.map(|node| node.id));
    by_element!(input, T => {
        let wanted = [nodes[0].is_some(), nodes[1].is_some()];
        let [dx, dw] = backward::<T>(input, &weight, conv, dy, others, wanted);
        dx.into_iter().for_each(|dx| register(gradients, nodes[0], dx));
        dw.into_iter().for_each(|dw| register(gradients, nodes[1], dw));
    });
}

/// The gradients with respect to input and weight, as far as they are wanted; that of the input with `others` added.
fn backward<T: Stored>(
    input: FlexTensor,
    weight: &FlexTensor,
    conv: Geometry,
    dy: FlexTensor,
    others: Option<FlexTensor>,
    [to_input, to_weight]: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let (x, dy) = (Maps::new(input), Maps::new(dy));
    let dy = dy.values::<T>();
    let shape = conv_shape(x.shape, four(weight), conv);
    let dx = to_input.then(|| {
        let mut dx = Buffer::<T>::take(shape.input_len());
        let others = others.map(Maps::new);
        let others = others.as_ref().map(Maps::values);
        conv2d_backward_data(&shape, &values(weight), &dy, others.as_deref(), &mut dx);
        maps(dx, x.shape)
    });
    let dw = to_weight.then(|| {
        let mut dw = Buffer::<f32>::take(shape.weight_len());
        conv2d_backward_weights(&shape, &x.values::<T>(), &dy, &mut dw);
        stored(dw, Layout::contiguous(weight.layout().shape().clone()))
    });
    [dx, dw]
}

/// A convolution with what follows it, packed for the kernels, and the tensors that it was made from: as long as they
/// are held here nobody can change them in place, so that the same storage means the same values.
#[derive(Debug)]
pub struct Folded {
    sources: Vec<FlexTensor>,
    pub conv: Geometry,
    pub weight_shape: [usize; 4],
    pub packed: Packed,
}

/// A packed convolution for maps of either type.
#[derive(Debug)]
pub enum Packed {
    F32(PackedConv2d<f32>),
    Bf16(PackedConv2d<bf16>),
}

impl Folded {
    /// For maps of that type.
    pub fn new(tensors: &ConvNorm, conv: Geometry, dtype: DType) -> Self {
        let weight_shape = tensors.weight.dims();
        let own = |tensor: &Tensor<1>| values::<f32>(&primitive(tensor.clone())).into_owned();
        // y = scale · conv(x) + bias, in f64 until it is all there.
        let mut scale = vec![tensors.gain; weight_shape[0]];
        let mut bias = match &tensors.bias {
            Some(bias) => own(bias).iter().map(|bias| f64::from(*bias) * tensors.gain).collect(),
            None => vec![0.0; weight_shape[0]],
        };
        if let Some(factors) = &tensors.scale {
            for (channel, factor) in own(factors).into_iter().enumerate() {
                scale[channel] *= f64::from(factor);
                bias[channel] *= f64::from(factor);
            }
        }
        if let Some(norm) = &tensors.norm {
            let (weight, shift) = (own(&norm.weight), own(&norm.bias));
            let (mean, variance) = (own(&norm.mean), own(&norm.variance));
            for channel in 0..weight_shape[0] {
                let deviation = (f64::from(variance[channel]) + norm.epsilon).sqrt();
                let factor = f64::from(weight[channel]) / deviation;
                scale[channel] *= factor;
                bias[channel] =
                    (bias[channel] - f64::from(mean[channel])) * factor + f64::from(shift[channel]);
            }
        }
        let to_f32 = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<_>>();
        let (scale, bias) = (to_f32(scale), to_f32(bias));
        // Packing does not depend on the image's size: any that the kernel fits into will do.
        let [_, _, height, width] = weight_shape;
        let image = [1, 0, height * conv.dilation, width * conv.dilation];
        let shape = conv_shape(image, weight_shape, conv);
        let sources = sources(tensors);
        let weight = values(&sources[0]);
        let packed = if dtype == DType::BF16 {
            Packed::Bf16(PackedConv2d::pack(&shape, &weight, Some(&scale), Some(&bias)))
        } else {
            Packed::F32(PackedConv2d::pack(&shape, &weight, Some(&scale), Some(&bias)))
        };
        drop(weight);
        Self { sources, conv, weight_shape, packed }
    }

    pub fn is_of(&self, tensors: &ConvNorm, dtype: DType) -> bool {
        let given = sources(tensors);
        (dtype == DType::BF16) == matches!(self.packed, Packed::Bf16(_))
            && self.sources.len() == given.len()
            && self.sources.iter().zip(&given).all(|(kept, given)| {
                std::sync::Arc::ptr_eq(&kept.data_arc(), &given.data_arc()) && kept.layout() == given.layout()
            })
    }

    pub fn forward(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        let (x, residual) = (primitive(input), residual.map(primitive));
        Tensor::from_primitive::<Flex>(match &self.packed {
            Packed::F32(packed) => self.run(packed, x, residual, activation),
            Packed::Bf16(packed) => self.run(packed, x, residual, activation),
        })
    }

    fn run<T: Stored>(
        &self,
        packed: &PackedConv2d<T>,
        input: FlexTensor,
        residual: Option<FlexTensor>,
        activation: Activation,
    ) -> FlexTensor {
        let (x, residual) = (Maps::new(input), residual.map(Maps::new));
        let shape = conv_shape(x.shape, self.weight_shape, self.conv);
        let mut y = Buffer::take(shape.output_len());
        let residual = residual.as_ref().map(Maps::values);
        packed.forward(&shape, &x.values(), residual.as_deref(), activation, &mut y);
        maps(y, output_of(&shape))
    }
}

fn sources(tensors: &ConvNorm) -> Vec<FlexTensor> {
    let vectors = tensors.vectors().map(|vector| primitive(vector.clone()));
    std::iter::once(primitive(tensors.weight.clone())).chain(vectors).collect()
}

pub fn conv_shape(image: [usize; 4], weight: [usize; 4], conv: Geometry) -> Conv2dShape {
    let [batch, _, in_height, in_width] = image;
    let [out_channels, group_channels, kernel_height, kernel_width] = weight;
    let kernel = [kernel_height, kernel_width];
    Conv2dShape {
        batch,
        in_height,
        in_width,
        in_channels: group_channels * conv.groups,
        out_channels,
        kernel,
        stride: [conv.stride; 2],
        padding: conv.padding([in_height, in_width], kernel),
        dilation: [conv.dilation; 2],
        groups: conv.groups,
    }
}

pub fn output_of(shape: &Conv2dShape) -> [usize; 4] {
    [shape.batch, shape.out_channels, shape.out_height(), shape.out_width()]
}
