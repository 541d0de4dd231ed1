//! Blocks of convolutions one after another, with norms by running statistics folded in: in inference, and in
//! training.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use ocelli_kernels::{self as kernels, Buffer, Conv2dShape, PackedConv2d, bf16, has_fused_block_backward};

use super::conv::output_dims;
use super::folded_conv::Packed;
use super::kernel::{
    Incoming, Input, KernelOp, Maps, Stored, apply, by_element, constant, dims, maps, primitive,
    row_major_tensor, values, vector,
};
use super::trace;
use super::{Activation, AffineNorm, ConvOptions, ConvTensors, FoldedConv, batch_norm, conv2d, has_kernels};

/// A convolution of a fused block: what [`FoldedConv::forward`] takes, without a residual.
#[derive(Debug)]
pub struct FusedStage<'a> {
    /// The convolution's own cache, used for nothing else.
    pub folded: &'a FoldedConv,
    /// Its tensors.
    pub tensors: ConvTensors,
    /// How it is applied.
    pub options: ConvOptions,
    /// What follows it.
    pub activation: Activation,
}

/// Convolutions one after another, and the input added before the last activation if `residual`: as by
/// [`FoldedConv::forward`] in sequence. The kernels keep the maps between them in the processor's cache.
pub fn fused_block(input: Tensor<4>, stages: Vec<FusedStage<'_>>, residual: bool) -> Tensor<4> {
    // What is recorded is one convolution after the other.
    if !has_kernels(&input) || trace::is_recording() {
        let last = stages.len() - 1;
        let shortcut = residual.then(|| input.clone());
        return stages.into_iter().enumerate().fold(input, |x, (index, stage)| {
            let residual = shortcut.clone().filter(|_| index == last);
            stage.folded.forward(x, residual, stage.tensors, stage.options, stage.activation)
        });
    }
    let input = primitive(input);
    let folded: Vec<_> = stages
        .iter()
        .map(|stage| stage.folded.packed(&stage.tensors, stage.options, input.dtype()))
        .collect();
    let filters = folded.iter().zip(&stages).map(|(folded, stage)| Filter {
        packed: &folded.packed,
        weight: folded.weight_shape,
        options: folded.options,
        activation: stage.activation,
    });
    let filters: Vec<Filter<'_>> = filters.collect();
    constant(by_element!(input.dtype(), T => run::<T>(input, &filters, residual)))
}

/// A packed convolution and how it is applied.
struct Filter<'a> {
    packed: &'a Packed,
    weight: [usize; 4],
    options: ConvOptions,
    activation: Activation,
}

fn run<T: Stored>(input: FlexTensor, filters: &[Filter<'_>], residual: bool) -> FlexTensor {
    let x = Maps::new(input);
    let stages = kernel_stages::<T>(x.shape, filters);
    let output = output_dims(&stages[stages.len() - 1].shape);
    let mut y = Buffer::take(output.iter().product());
    kernels::fused_block(&stages, &x.values(), residual, &mut y);
    maps(y, output)
}

fn kernel_stages<'a, T: Stored>(
    image: [usize; 4],
    filters: &[Filter<'a>],
) -> Vec<kernels::FusedStage<'a, T>> {
    let shapes = shapes(image, filters.iter().map(|filter| (filter.weight, filter.options)));
    let stage = |(filter, shape): (&Filter<'a>, Conv2dShape)| kernels::FusedStage {
        conv: T::packed(filter.packed),
        shape,
        activation: filter.activation,
    };
    filters.iter().zip(shapes).map(stage).collect()
}

/// The shapes of convolutions with these weights one after another.
fn shapes(
    mut image: [usize; 4],
    convolutions: impl Iterator<Item = ([usize; 4], ConvOptions)>,
) -> Vec<Conv2dShape> {
    let next = |(weight, options): ([usize; 4], ConvOptions)| {
        let shape = options.shape(image, weight);
        image = output_dims(&shape);
        shape
    };
    convolutions.map(next).collect()
}

/// A convolution of a block that is trained, and what follows it.
#[derive(Debug, Clone)]
pub struct TrainableStage {
    /// `[outputs, channels / groups, rows, columns]`
    pub weight: Tensor<4>,
    /// How it is applied.
    pub options: ConvOptions,
    /// The norm after it, by running statistics.
    pub norm: AffineNorm,
    /// What follows the norm.
    pub activation: Activation,
}

/// Convolutions one after another, and the input added before the last activation if `residual`, with
/// gradients: the values of [`fused_block`]. Where it is faster, the kernels compute the maps between them
/// once more in the backward pass instead of keeping them.
pub fn trainable_block(input: Tensor<4>, stages: Vec<TrainableStage>, residual: bool) -> Tensor<4> {
    if has_kernels(&input) && is_fused_in_training(&input, &stages) {
        return fused_in_training(input, &stages, residual);
    }
    let last = stages.len() - 1;
    let shortcut = residual.then(|| input.clone());
    stages.into_iter().enumerate().fold(input, |x, (index, stage)| {
        let residual = shortcut.clone().filter(|_| index == last);
        batch_norm(conv2d(x, stage.weight, stage.options), stage.norm, residual, stage.activation)
    })
}

/// The most stages of a block that is trained.
const MOST: usize = 3;
/// The input, then the weight of each convolution and the weight and bias of its norm. Blocks of fewer stages
/// have unused inputs.
const INPUTS: usize = 1 + 3 * MOST;

/// Whether the kernels have a fused backward pass of this block.
fn is_fused_in_training(input: &Tensor<4>, stages: &[TrainableStage]) -> bool {
    let convolutions = stages.iter().map(|stage| (stage.weight.dims(), stage.options));
    let shapes = shapes(input.dims(), convolutions);
    let kinds: Vec<_> = shapes.into_iter().zip(stages.iter().map(|stage| stage.activation)).collect();
    let has_backward = match input.dtype() {
        DType::BF16 => has_fused_block_backward::<bf16>(&kinds),
        _ => has_fused_block_backward::<f32>(&kinds),
    };
    stages.len() <= MOST && has_backward
}

fn fused_in_training(input: Tensor<4>, stages: &[TrainableStage], residual: bool) -> Tensor<4> {
    let norms = stages.iter().map(|stage| StageNorm {
        options: stage.options,
        activation: stage.activation,
        mean: values(&primitive(stage.norm.mean.clone())).into(),
        variance: values(&primitive(stage.norm.variance.clone())).into(),
        epsilon: stage.norm.epsilon,
    });
    let op = FusedBlock { norms: norms.collect(), residual };
    let unused = Tensor::<1>::zeros([1], &input.device().inner());
    let mut tensors = vec![Input::from(input)];
    for stage in stages {
        let TrainableStage { weight, norm, .. } = stage.clone();
        tensors.extend([weight.into(), norm.weight.into(), norm.bias.into()]);
    }
    tensors.resize_with(INPUTS, || unused.clone().into());
    let Ok(tensors) = <[Input; INPUTS]>::try_from(tensors) else { unreachable!("resized") };
    apply(op, tensors)
}

/// A block in training.
#[derive(Debug, Clone)]
struct FusedBlock {
    norms: Vec<StageNorm>,
    residual: bool,
}

/// A convolution's running statistics, and what follows it.
#[derive(Debug, Clone)]
struct StageNorm {
    options: ConvOptions,
    activation: Activation,
    mean: Arc<[f32]>,
    variance: Arc<[f32]>,
    epsilon: f64,
}

impl StageNorm {
    fn inverse_deviation(&self, channel: usize) -> f64 {
        1.0 / (f64::from(self.variance[channel]) + self.epsilon).sqrt()
    }

    /// The norm as a factor of the convolution's weights, and a bias.
    fn folded(&self, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let channels = self.mean.len();
        let scale: Vec<f64> =
            (0..channels).map(|c| f64::from(weight[c]) * self.inverse_deviation(c)).collect();
        let shift = |c: usize| f64::from(bias[c]) - f64::from(self.mean[c]) * scale[c];
        ((0..channels).map(|c| scale[c] as f32).collect(), (0..channels).map(|c| shift(c) as f32).collect())
    }
}

/// Weight of a convolution, weight and bias of its norm.
type Parameters = [FlexTensor; 3];

/// What the backward pass needs of the forward pass.
#[derive(Debug, Clone)]
struct Saved {
    input: FlexTensor,
    parameters: [Parameters; MOST],
    packed: Arc<Vec<Packed>>,
    /// The maps between the convolutions, in NHWC order.
    maps: Vec<FlexTensor>,
}

impl KernelOp<INPUTS> for FusedBlock {
    type Saved = Saved;

    fn forward(&self, inputs: [FlexTensor; INPUTS]) -> FlexTensor {
        let (input, parameters) = split(inputs);
        by_element!(input.dtype(), T => {
            let packed = self.pack::<T>(&input, &parameters);
            run::<T>(input, &self.filters(&parameters, &packed), self.residual)
        })
    }

    fn forward_and_save(&self, inputs: [FlexTensor; INPUTS]) -> (FlexTensor, Saved) {
        let (input, parameters) = split(inputs);
        let x = Maps::new(input.clone());
        let (output, packed, between) = by_element!(input.dtype(), T => {
            let packed = self.pack::<T>(&input, &parameters);
            let stages = kernel_stages::<T>(x.shape, &self.filters(&parameters, &packed));
            let output = output_dims(&stages[stages.len() - 1].shape);
            let mut y = Buffer::take(output.iter().product());
            let between = kernels::fused_block_with_feature_maps(&stages, &x.values(), self.residual, &mut y);
            let tensor = |map: Buffer<T>| {
                let length = map.len();
                row_major_tensor(map, [length])
            };
            let between: Vec<FlexTensor> = between.into_iter().map(tensor).collect();
            (maps(y, output), packed, between)
        });
        (output, Saved { input, parameters, packed: Arc::new(packed), maps: between })
    }

    fn backward(&self, saved: Saved, incoming: Incoming<INPUTS>) -> [Option<FlexTensor>; INPUTS] {
        let (dx, parameters) = by_element!(saved.input.dtype(), T => {
            self.gradients::<T>(&saved, Maps::new(incoming.gradient), incoming.needed[0])
        });
        let mut all = std::iter::once(dx).chain(parameters.into_iter().flatten().map(Some));
        std::array::from_fn(|_| all.next().flatten())
    }
}

fn split(inputs: [FlexTensor; INPUTS]) -> (FlexTensor, [Parameters; MOST]) {
    let [input, w1, g1, b1, w2, g2, b2, w3, g3, b3] = inputs;
    (input, [[w1, g1, b1], [w2, g2, b2], [w3, g3, b3]])
}

impl FusedBlock {
    fn pack<T: Stored>(&self, input: &FlexTensor, parameters: &[Parameters; MOST]) -> Vec<Packed> {
        let convolutions =
            self.norms.iter().zip(parameters).map(|(norm, [weight, ..])| (dims(weight), norm.options));
        let shapes = shapes(dims(input), convolutions);
        let pack = |((norm, [weight, factor, bias]), shape): ((&StageNorm, &Parameters), &Conv2dShape)| {
            let (scale, bias) = norm.folded(&values(factor), &values(bias));
            T::pack(PackedConv2d::pack(shape, &values(weight), Some(&scale), Some(&bias)))
        };
        self.norms.iter().zip(parameters).zip(&shapes).map(pack).collect()
    }

    fn filters<'a>(&self, parameters: &[Parameters], packed: &'a [Packed]) -> Vec<Filter<'a>> {
        let filter = |((norm, [weight, ..]), packed): ((&StageNorm, &Parameters), &'a Packed)| Filter {
            packed,
            weight: dims(weight),
            options: norm.options,
            activation: norm.activation,
        };
        self.norms.iter().zip(parameters).zip(packed).map(filter).collect()
    }

    /// The gradients of the input, if it needs one, and of the parameters.
    fn gradients<T: Stored>(
        &self,
        saved: &Saved,
        dy: Maps,
        to_input: bool,
    ) -> (Option<FlexTensor>, Vec<Parameters>) {
        let Saved { input, parameters, packed, maps: between } = saved;
        let x = Maps::new(input.clone());
        let stages = kernel_stages::<T>(x.shape, &self.filters(parameters, packed));
        let between: Vec<&[T]> = between.iter().map(T::storage).collect();
        let folded: Vec<(Vec<f32>, Vec<f32>)> = self
            .norms
            .iter()
            .zip(parameters)
            .map(|(norm, [weight, factor, bias])| {
                let (scale, _) = norm.folded(&values(factor), &values(bias));
                (by_output(&values(weight), &scale), scale)
            })
            .collect();
        let weights: Vec<&[f32]> = folded.iter().map(|(weights, _)| &weights[..]).collect();
        let mut dx = to_input.then(|| Buffer::<T>::take(x.length()));
        let found = kernels::fused_block_backward(
            &stages,
            &weights,
            &x.values(),
            &between,
            self.residual,
            &dy.values(),
            dx.as_deref_mut(),
        );
        let all = found.into_iter().zip(&self.norms).zip(parameters).zip(&folded).map(
            |(((found, norm), [weight, ..]), (_, scale))| {
                parameter_gradients(norm, weight, scale, &found.weights, found.bias)
            },
        );
        let all = all.collect();
        (dx.map(|dx| maps(dx, x.shape)), all)
    }
}

/// The gradients of a stage's parameters, from those of the weights and biases that the norm was folded into.
fn parameter_gradients(
    norm: &StageNorm,
    weight: &FlexTensor,
    scale: &[f32],
    folded_weights: &[f32],
    folded_bias: Vec<f32>,
) -> Parameters {
    let values = values::<f32>(weight);
    let row = values.len() / scale.len();
    // The sum of the norm's input times its gradient follows from the gradient of the weights before it.
    let factor = |channel: usize| {
        let (values, gradients) = (&values[channel * row..], &folded_weights[channel * row..]);
        let products = values.iter().zip(gradients).take(row);
        let sum: f64 = products.map(|(weight, gradient)| f64::from(*weight) * f64::from(*gradient)).sum();
        let shift = f64::from(norm.mean[channel]) * f64::from(folded_bias[channel]);
        ((sum - shift) * norm.inverse_deviation(channel)) as f32
    };
    let factors = (0..scale.len()).map(factor).collect();
    let mut dw = Buffer::<f32>::take(values.len());
    dw.copy_from_slice(&by_output(folded_weights, scale));
    [row_major_tensor(dw, weight.layout().shape().clone()), vector(factors), vector(folded_bias)]
}

/// Weights of each output times its factor.
fn by_output(weights: &[f32], factors: &[f32]) -> Vec<f32> {
    let row = weights.len() / factors.len();
    let scaled =
        weights.chunks_exact(row).zip(factors).flat_map(|(row, factor)| row.iter().map(move |w| w * factor));
    scaled.collect()
}
