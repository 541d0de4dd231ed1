//! Batch norm with residual and activation.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use ocelli_kernels::{Activation, BatchNorm, Buffer, StatisticsSource, channel_statistics};

use super::super::NormScale;
use super::{Maps, Stored, by_element, maps, others, parts, primitive, register, tracked, values, vector};

pub fn batch_statistics(input: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    let x = Maps::new(primitive(input));
    let [_, _, channels] = x.sizes();
    let statistics = by_element!(x.tensor, T => channel_statistics::<T>(channels, &x.values()));
    let tensor = |values| Tensor::from_primitive::<Flex>(vector(values));
    (tensor(statistics.mean), tensor(statistics.variance))
}

pub fn batch_norm(
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

/// What a batch norm needs besides its tensors.
#[derive(Debug, Clone)]
pub struct Norm {
    mean: Arc<[f32]>,
    variance: Arc<[f32]>,
    epsilon: f32,
    from_batch: bool,
    activation: Activation,
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

#[backend_extension(Flex, Autodiff)]
pub trait NormKernels: Backend {
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
}

impl NormKernels for Flex {
    fn ocelli_batch_norm(input: FlexTensor, weight: FlexTensor, bias: FlexTensor, norm: Norm) -> FlexTensor {
        by_element!(input, T => normalise::<T>(input, weight, bias, None, norm))
    }

    fn ocelli_batch_norm_residual(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        norm: Norm,
    ) -> FlexTensor {
        by_element!(input, T => normalise::<T>(input, weight, bias, Some(residual), norm))
    }
}

impl<C: CheckpointStrategy> NormKernels for Autodiff<Flex, C> {
    fn ocelli_batch_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        let ([input, weight, bias], nodes) = parts([input, weight, bias]);
        let state = (input.clone(), weight.clone(), bias.clone(), norm.clone());
        tracked::<C, _, 3>(NormBackward, nodes, state, Flex::ocelli_batch_norm(input, weight, bias, norm))
    }

    fn ocelli_batch_norm_residual(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        let ([input, weight, bias, residual], nodes) = parts([input, weight, bias, residual]);
        let state = (input.clone(), weight.clone(), bias.clone(), residual.clone(), norm.clone());
        let output = Flex::ocelli_batch_norm_residual(input, weight, bias, residual, norm);
        tracked::<C, _, 4>(NormResidualBackward, nodes, state, output)
    }
}

fn normalise<T: Stored>(
    input: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    residual: Option<FlexTensor>,
    norm: Norm,
) -> FlexTensor {
    let (x, residual) = (Maps::new(input), residual.map(Maps::new));
    let residual = residual.as_ref().map(Maps::values);
    let (weight, bias) = (values(&weight), values(&bias));
    let mut y = Buffer::<T>::take(x.length());
    norm.kernel(&weight, &bias).forward(&x.values(), residual.as_deref(), &mut y);
    maps(y, x.shape)
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor, Norm);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let others = others(gradients, &ops);
        let (input, weight, bias, norm) = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        by_element!(input, T => {
            let (all, _) = backward::<T>(input, &weight, &bias, None, &norm, dy, others);
            nodes.into_iter().zip(all).for_each(|(node, gradient)| register(gradients, node, gradient));
        });
    }
}

#[derive(Debug)]
struct NormResidualBackward;

impl Backward<Flex, 4> for NormResidualBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor, FlexTensor, Norm);

    fn backward(self, ops: Ops<Self::State, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let others = others(gradients, &ops);
        let (input, weight, bias, residual, norm) = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        by_element!(input, T => {
            let (all, to_residual) = backward::<T>(input, &weight, &bias, Some(residual), &norm, dy, others);
            let all = all.into_iter().chain(to_residual);
            nodes.into_iter().zip(all).for_each(|(node, gradient)| register(gradients, node, gradient));
        });
    }
}

/// The gradients with respect to input, with `others` added, weight and bias, and to the residual.
fn backward<T: Stored>(
    input: FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    residual: Option<FlexTensor>,
    norm: &Norm,
    dy: FlexTensor,
    others: Option<FlexTensor>,
) -> ([FlexTensor; 3], Option<FlexTensor>) {
    // Without an activation what reaches the residual is what comes.
    let (residual, whole) = match norm.activation {
        Activation::None => (None, residual.map(|_| dy.clone())),
        _ => (residual, None),
    };
    let (x, dy, residual) = (Maps::new(input), Maps::new(dy), residual.map(Maps::new));
    let residual = residual.as_ref().map(Maps::values);
    let others = others.map(Maps::new);
    let others = others.as_ref().map(Maps::values);
    let (weight, bias) = (values(weight), values(bias));
    let mut dx = Buffer::<T>::take(x.length());
    let mut dresidual = residual.as_ref().map(|_| Buffer::take(x.length()));
    let source = if norm.from_batch { StatisticsSource::Batch } else { StatisticsSource::Frozen };
    let gradients = norm.kernel(&weight, &bias).backward(
        source,
        &x.values(),
        residual.as_deref(),
        &dy.values(),
        others.as_deref(),
        &mut dx,
        dresidual.as_deref_mut(),
    );
    (
        [maps(dx, x.shape), vector(gradients.gamma), vector(gradients.beta)],
        dresidual.map(|dresidual| maps(dresidual, x.shape)).or(whole),
    )
}
