//! The operations on Burn's CPU backend, Flex, by this project's kernels, with their own backward passes.
//!
//! Tensors are NCHW by shape; in memory those made here are channels-last, which the strides say. Tensors that
//! lie otherwise are copied once.

use std::borrow::Cow;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Shape, Tensor};
use ocelli_kernels::{
    Activation, BatchNorm, Conv2dShape, PackedConv2d, PackedLinear, StatisticsSource, channel_statistics,
    channel_sums, conv2d_backward_data, conv2d_backward_weights, global_average_pool,
    global_average_pool_backward, global_concat_pool, global_concat_pool_backward, linear_backward_data,
    linear_backward_weights,
};

use super::{ConvNorm, Geometry, NormScale};
use crate::layer::Pool;

// ------------------------------------------------------------------------------------------ tensors in and out

pub(super) fn conv2d(input: Tensor<4>, weight: Tensor<4>, conv: Geometry) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::ocelli_conv2d(input.into_dispatch(), weight.into_dispatch(), conv))
}

pub(super) fn batch_statistics(input: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    let x = Maps::new(primitive(input));
    let statistics = channel_statistics(x.channels(), &x.values());
    (
        Tensor::from_primitive::<Flex>(vector(statistics.mean)),
        Tensor::from_primitive::<Flex>(vector(statistics.variance)),
    )
}

pub(super) fn batch_norm(
    input: Tensor<4>,
    scale: NormScale,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    let norm = Norm {
        mean: values(&primitive(scale.mean)).into(),
        variance: values(&primitive(scale.variance)).into(),
        epsilon: scale.epsilon as f32,
        from_batch: scale.from_batch,
        activation,
    };
    let (x, weight, bias) = (input.into_dispatch(), scale.weight.into_dispatch(), scale.bias.into_dispatch());
    Tensor::from_dispatch(match residual {
        Some(residual) => {
            Dispatch::ocelli_batch_norm_residual(x, weight, bias, residual.into_dispatch(), norm)
        }
        None => Dispatch::ocelli_batch_norm(x, weight, bias, norm),
    })
}

pub(super) fn pool(input: Tensor<4>, pool: Pool) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::ocelli_pool(input.into_dispatch(), pool))
}

pub(super) fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::ocelli_linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// A convolution with its norm, packed for the kernels, and the tensors that it was made from: as long as they
/// are held here nobody can change them in place, so that the same storage means the same values.
#[derive(Debug)]
pub struct Folded {
    sources: [FlexTensor; 5],
    conv: Geometry,
    weight_shape: [usize; 4],
    packed: PackedConv2d<f32>,
}

impl Folded {
    pub(super) fn new(tensors: &ConvNorm, conv: Geometry) -> Self {
        let sources = sources(tensors);
        let [weight, norm_weight, norm_bias, mean, variance] =
            sources.each_ref().map(|tensor| values(tensor));
        let weight_shape = tensors.weight.dims();
        let scale: Vec<f32> = norm_weight
            .iter()
            .zip(variance.iter())
            .map(|(weight, variance)| f64::from(*weight) / (f64::from(*variance) + tensors.epsilon).sqrt())
            .map(|scale| scale as f32)
            .collect();
        let bias: Vec<f32> = norm_bias
            .iter()
            .zip(mean.iter())
            .zip(&scale)
            .map(|((bias, mean), scale)| bias - mean * scale)
            .collect();
        // Packing does not depend on the image's size: any that the kernel fits into will do.
        let [_, _, height, width] = weight_shape;
        let image = [1, 0, height * conv.dilation, width * conv.dilation];
        let shape = conv_shape(image, weight_shape, conv);
        let packed = PackedConv2d::pack(&shape, &weight, Some(&scale), Some(&bias));
        drop((weight, norm_weight, norm_bias, mean, variance));
        Self { sources, conv, weight_shape, packed }
    }

    pub(super) fn is_of(&self, tensors: &ConvNorm) -> bool {
        self.sources.iter().zip(&sources(tensors)).all(|(kept, given)| {
            Arc::ptr_eq(&kept.data_arc(), &given.data_arc()) && kept.layout() == given.layout()
        })
    }

    pub(super) fn forward(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        let x = Maps::new(primitive(input));
        let residual = residual.map(|residual| Maps::new(primitive(residual)));
        let shape = conv_shape(x.shape, self.weight_shape, self.conv);
        let mut y = vec![0.0; shape.output_len()];
        let residual = residual.as_ref().map(Maps::values);
        self.packed.forward(&shape, &x.values(), residual.as_deref(), activation, &mut y);
        Tensor::from_primitive::<Flex>(maps(y, output_of(&shape)))
    }
}

fn sources(tensors: &ConvNorm) -> [FlexTensor; 5] {
    [
        primitive(tensors.weight.clone()),
        primitive(tensors.norm_weight.clone()),
        primitive(tensors.norm_bias.clone()),
        primitive(tensors.mean.clone()),
        primitive(tensors.variance.clone()),
    ]
}

// ------------------------------------------------------------------------------------- the extension of Burn

/// What a batch norm needs besides its tensors.
#[derive(Debug, Clone)]
pub struct Norm {
    mean: Arc<[f32]>,
    variance: Arc<[f32]>,
    epsilon: f32,
    from_batch: bool,
    activation: Activation,
}

/// The operations that the kernels offer to Burn.
#[backend_extension(Flex, Autodiff)]
pub trait Kernels: Backend {
    /// `[images, channels, height, width]` with `[outputs, channels / groups, kernel, kernel]`.
    fn ocelli_conv2d(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        conv: Geometry,
    ) -> FloatTensor<Self>;

    /// `activation(norm(input))`.
    fn ocelli_batch_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self>;

    /// `activation(norm(input) + residual)`.
    fn ocelli_batch_norm_residual(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self>;

    /// `[images, channels, height, width]` to `[images, pooled]`.
    fn ocelli_pool(input: FloatTensor<Self>, pool: Pool) -> FloatTensor<Self>;

    /// `input · weightᵀ + bias`.
    fn ocelli_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn ocelli_conv2d(input: FlexTensor, weight: FlexTensor, conv: Geometry) -> FlexTensor {
        let x = Maps::new(input);
        let shape = conv_shape(x.shape, four(&weight), conv);
        let packed = PackedConv2d::<f32>::pack(&shape, &values(&weight), None, None);
        let mut y = vec![0.0; shape.output_len()];
        packed.forward(&shape, &x.values(), None, Activation::None, &mut y);
        maps(y, output_of(&shape))
    }

    fn ocelli_batch_norm(input: FlexTensor, weight: FlexTensor, bias: FlexTensor, norm: Norm) -> FlexTensor {
        normalise(input, weight, bias, None, norm)
    }

    fn ocelli_batch_norm_residual(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        norm: Norm,
    ) -> FlexTensor {
        normalise(input, weight, bias, Some(residual), norm)
    }

    fn ocelli_pool(input: FlexTensor, pool: Pool) -> FlexTensor {
        pool_forward(input, pool, None)
    }

    fn ocelli_linear(input: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let [rows, inputs] = two(&input);
        let [outputs, _] = two(&weight);
        let packed = PackedLinear::<f32>::pack(inputs, outputs, &values(&weight), Some(&values(&bias)));
        let mut y = vec![0.0; rows * outputs];
        packed.forward(rows, &values(&input), Activation::None, &mut y);
        matrix(y, [rows, outputs])
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn ocelli_conv2d(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        conv: Geometry,
    ) -> FloatTensor<Self> {
        let (input, input_node) = input.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let output = |input, weight| Flex::ocelli_conv2d(input, weight, conv);
        match ConvBackward.prepare::<C>([input_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                prepared.finish((input.clone(), weight.clone(), conv), output(input, weight))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output(input, weight)),
        }
    }

    fn ocelli_batch_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        let (input, input_node) = input.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let nodes = [input_node, weight_node, bias_node];
        match NormBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(
                (input.clone(), weight.clone(), bias.clone(), norm.clone()),
                normalise(input, weight, bias, None, norm),
            ),
            OpsKind::UnTracked(prepared) => prepared.finish(normalise(input, weight, bias, None, norm)),
        }
    }

    fn ocelli_batch_norm_residual(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        let (input, input_node) = input.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (residual, residual_node) = residual.into_parts();
        let nodes = [input_node, weight_node, bias_node, residual_node];
        match NormResidualBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(
                (input.clone(), weight.clone(), bias.clone(), residual.clone(), norm.clone()),
                normalise(input, weight, bias, Some(residual), norm),
            ),
            OpsKind::UnTracked(prepared) => {
                prepared.finish(normalise(input, weight, bias, Some(residual), norm))
            }
        }
    }

    fn ocelli_pool(input: FloatTensor<Self>, pool: Pool) -> FloatTensor<Self> {
        let (input, node) = input.into_parts();
        match PoolBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let shape = four(&input);
                let mut maxima = match pool {
                    Pool::Average => Vec::new(),
                    Pool::MaximumAndAverage => vec![0; shape[0] * shape[1]],
                };
                let output = pool_forward(input, pool, Some(&mut maxima));
                prepared.finish((shape, pool, Arc::new(maxima)), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(pool_forward(input, pool, None)),
        }
    }

    fn ocelli_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (input, input_node) = input.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let nodes = [input_node, weight_node, bias_node];
        match LinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                prepared.finish((input.clone(), weight.clone()), Flex::ocelli_linear(input, weight, bias))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::ocelli_linear(input, weight, bias)),
        }
    }
}

// ---------------------------------------------------------------------------------------------- backward passes

#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 2> for ConvBackward {
    type State = (FlexTensor, FlexTensor, Geometry);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [to_input, to_weight] = ops.parents;
        let (input, weight, conv) = ops.state;
        let dy = Maps::new(gradients.consume::<Flex>(&ops.node));
        let x = Maps::new(input);
        let shape = conv_shape(x.shape, four(&weight), conv);
        if let Some(node) = to_input {
            let mut dx = vec![0.0; shape.input_len()];
            conv2d_backward_data(&shape, &values(&weight), &dy.values(), &mut dx);
            gradients.register::<Flex>(node.id, maps(dx, x.shape));
        }
        if let Some(node) = to_weight {
            let mut dw = vec![0.0; shape.weight_len()];
            conv2d_backward_weights(&shape, &x.values(), &dy.values(), &mut dw);
            gradients.register::<Flex>(node.id, contiguous(dw, weight.layout().shape().clone()));
        }
    }
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor, Norm);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [to_input, to_weight, to_bias] = ops.parents;
        let (input, weight, bias, norm) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let (dx, dweight, dbias, _) = normalise_backward(input, &weight, &bias, None, &norm, dy);
        for (node, gradient) in [(to_input, dx), (to_weight, dweight), (to_bias, dbias)] {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct NormResidualBackward;

impl Backward<Flex, 4> for NormResidualBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor, FlexTensor, Norm);

    fn backward(self, ops: Ops<Self::State, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [to_input, to_weight, to_bias, to_residual] = ops.parents;
        let (input, weight, bias, residual, norm) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let (dx, dweight, dbias, dresidual) =
            normalise_backward(input, &weight, &bias, Some(residual), &norm, dy);
        for (node, gradient) in [(to_input, dx), (to_weight, dweight), (to_bias, dbias)] {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
        if let (Some(node), Some(gradient)) = (to_residual, dresidual) {
            gradients.register::<Flex>(node.id, gradient);
        }
    }
}

#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 1> for PoolBackward {
    type State = ([usize; 4], Pool, Arc<Vec<u32>>);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [to_input] = ops.parents;
        let (shape, pool, maxima) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let Some(node) = to_input else { return };
        let [images, channels, height, width] = shape;
        let mut dx = vec![0.0f32; shape.iter().product()];
        let (pixels, dy) = (height * width, values(&dy));
        match pool {
            Pool::Average => global_average_pool_backward(images, pixels, channels, &dy, &mut dx),
            Pool::MaximumAndAverage => {
                global_concat_pool_backward(images, pixels, channels, &maxima, &dy, &mut dx);
            }
        }
        gradients.register::<Flex>(node.id, maps(dx, shape));
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [to_input, to_weight, to_bias] = ops.parents;
        let (input, weight) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let ([rows, inputs], [outputs, _]) = (two(&input), two(&weight));
        let dy = values(&dy);
        if let Some(node) = to_input {
            let mut dx = vec![0.0f32; rows * inputs];
            linear_backward_data(rows, inputs, outputs, &values(&weight), &dy, &mut dx);
            gradients.register::<Flex>(node.id, matrix(dx, [rows, inputs]));
        }
        if let Some(node) = to_weight {
            let mut dw = vec![0.0f32; outputs * inputs];
            linear_backward_weights(rows, inputs, outputs, &values(&input), &dy, &mut dw);
            gradients.register::<Flex>(node.id, matrix(dw, [outputs, inputs]));
        }
        if let Some(node) = to_bias {
            gradients.register::<Flex>(node.id, vector(channel_sums(outputs, &dy)));
        }
    }
}

// ------------------------------------------------------------------------------------------------ shared steps

fn normalise(
    input: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    residual: Option<FlexTensor>,
    norm: Norm,
) -> FlexTensor {
    let x = Maps::new(input);
    let residual = residual.map(Maps::new);
    let residual = residual.as_ref().map(Maps::values);
    let (weight, bias) = (values(&weight), values(&bias));
    let mut y = vec![0.0; x.length()];
    norm.kernel(&weight, &bias).forward(&x.values(), residual.as_deref(), &mut y);
    maps(y, x.shape)
}

type NormGradients = (FlexTensor, FlexTensor, FlexTensor, Option<FlexTensor>);

fn normalise_backward(
    input: FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    residual: Option<FlexTensor>,
    norm: &Norm,
    dy: FlexTensor,
) -> NormGradients {
    let (x, dy) = (Maps::new(input), Maps::new(dy));
    let residual = residual.map(Maps::new);
    let residual = residual.as_ref().map(Maps::values);
    let (weight, bias) = (values(weight), values(bias));
    let mut dx = vec![0.0; x.length()];
    let mut dresidual = residual.as_ref().map(|_| vec![0.0; x.length()]);
    let source = if norm.from_batch { StatisticsSource::Batch } else { StatisticsSource::Frozen };
    let gradients = norm.kernel(&weight, &bias).backward(
        source,
        &x.values(),
        residual.as_deref(),
        &dy.values(),
        &mut dx,
        dresidual.as_deref_mut(),
    );
    (
        maps(dx, x.shape),
        vector(gradients.gamma),
        vector(gradients.beta),
        dresidual.map(|dresidual| maps(dresidual, x.shape)),
    )
}

impl Norm {
    fn kernel<'a>(&'a self, weight: &'a [f32], bias: &'a [f32]) -> BatchNorm<'a> {
        BatchNorm {
            mean: &self.mean,
            variance: &self.variance,
            gamma: weight,
            beta: bias,
            epsilon: self.epsilon,
            activation: self.activation,
        }
    }
}

fn pool_forward(input: FlexTensor, pool: Pool, maxima: Option<&mut Vec<u32>>) -> FlexTensor {
    let x = Maps::new(input);
    let [images, channels, height, width] = x.shape;
    let pixels = height * width;
    match pool {
        Pool::Average => {
            let mut y = vec![0.0; images * channels];
            global_average_pool(images, pixels, channels, &x.values(), &mut y);
            matrix(y, [images, channels])
        }
        Pool::MaximumAndAverage => {
            let mut y = vec![0.0; images * 2 * channels];
            let maxima = maxima.map(Vec::as_mut_slice);
            global_concat_pool(images, pixels, channels, &x.values(), &mut y, maxima);
            matrix(y, [images, 2 * channels])
        }
    }
}

fn conv_shape(image: [usize; 4], weight: [usize; 4], conv: Geometry) -> Conv2dShape {
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

fn output_of(shape: &Conv2dShape) -> [usize; 4] {
    [shape.batch, shape.out_channels, shape.out_height(), shape.out_width()]
}

// ----------------------------------------------------------------------------------------------------- storage

/// Feature maps, NCHW by shape, NHWC in memory.
struct Maps {
    tensor: FlexTensor,
    shape: [usize; 4],
}

impl Maps {
    fn new(tensor: FlexTensor) -> Self {
        let shape = four(&tensor);
        Self { tensor, shape }
    }

    fn channels(&self) -> usize {
        self.shape[1]
    }

    fn length(&self) -> usize {
        self.shape.iter().product()
    }

    /// The numbers in NHWC order; copied only where they lie in another.
    fn values(&self) -> Cow<'_, [f32]> {
        let nhwc = self.tensor.layout().permute(&[0, 2, 3, 1]);
        row_major(&self.tensor, &nhwc)
    }
}

/// The numbers in the order of the shape; copied only where they lie in another.
fn values(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    row_major(tensor, tensor.layout())
}

fn row_major<'a>(tensor: &'a FlexTensor, layout: &Layout) -> Cow<'a, [f32]> {
    let storage = tensor.storage::<f32>();
    if is_row_major(layout) {
        let start = layout.start_offset();
        return Cow::Borrowed(&storage[start..start + layout.num_elements()]);
    }
    let contiguous = tensor.clone().with_layout(layout.clone()).to_contiguous();
    Cow::Owned(contiguous.storage::<f32>()[..layout.num_elements()].to_vec())
}

/// Whether elements follow each other; dimensions of one element may have any stride.
fn is_row_major(layout: &Layout) -> bool {
    let mut expected = 1;
    for (&length, &stride) in layout.shape().iter().zip(layout.strides()).rev() {
        if length != 1 && stride != expected {
            return false;
        }
        expected *= length as isize;
    }
    true
}

fn maps(values: Vec<f32>, [images, channels, height, width]: [usize; 4]) -> FlexTensor {
    let nhwc = Layout::contiguous(Shape::from([images, height, width, channels]));
    FlexTensor::new(Bytes::from_elems(values), nhwc.permute(&[0, 3, 1, 2]), DType::F32)
}

fn contiguous(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

fn matrix(values: Vec<f32>, shape: [usize; 2]) -> FlexTensor {
    contiguous(values, Shape::from(shape))
}

fn vector(values: Vec<f32>) -> FlexTensor {
    let length = values.len();
    contiguous(values, Shape::from([length]))
}

fn four(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims()
}

fn two(tensor: &FlexTensor) -> [usize; 2] {
    tensor.layout().shape().dims()
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("the caller has checked the backend")
}
