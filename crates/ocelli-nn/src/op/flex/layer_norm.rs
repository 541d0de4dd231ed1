//! Layer norm.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use ocelli_kernels::{Buffer, LayerNorm};

use super::{Maps, Stored, by_element, maps, others, parts, register, tracked, values, vector};

pub fn layer_norm(input: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::ocelli_layer_norm(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon as f32,
    ))
}

#[backend_extension(Flex, Autodiff)]
pub trait LayerNormKernels: Backend {
    /// Each pixel's channels of `[images, channels, height, width]`, normalised, scaled and shifted.
    fn ocelli_layer_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
}

impl LayerNormKernels for Flex {
    fn ocelli_layer_norm(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        epsilon: f32,
    ) -> FlexTensor {
        by_element!(input, T => forward::<T>(input, &weight, &bias, epsilon))
    }
}

impl<C: CheckpointStrategy> LayerNormKernels for Autodiff<Flex, C> {
    fn ocelli_layer_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let ([input, weight, bias], nodes) = parts([input, weight, bias]);
        let state = (input.clone(), weight.clone(), bias.clone(), epsilon);
        let output = Flex::ocelli_layer_norm(input, weight, bias, epsilon);
        tracked::<C, _, 3>(LayerNormBackward, nodes, state, output)
    }
}

fn forward<T: Stored>(input: FlexTensor, weight: &FlexTensor, bias: &FlexTensor, epsilon: f32) -> FlexTensor {
    let x = Maps::new(input);
    let mut y = Buffer::<T>::take(x.length());
    LayerNorm { gamma: &values(weight), beta: &values(bias), epsilon }.forward(&x.values(), &mut y);
    maps(y, x.shape)
}

#[derive(Debug)]
struct LayerNormBackward;

impl Backward<Flex, 3> for LayerNormBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor, f32);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let others = others(gradients, &ops);
        let (input, weight, bias, epsilon) = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        by_element!(input, T => {
            let all = backward::<T>(input, &weight, &bias, epsilon, dy, others);
            nodes.into_iter().zip(all).for_each(|(node, gradient)| register(gradients, node, gradient));
        });
    }
}

/// The gradients with respect to input, weight and bias; that of the input with `others` added.
fn backward<T: Stored>(
    input: FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    epsilon: f32,
    dy: FlexTensor,
    others: Option<FlexTensor>,
) -> [FlexTensor; 3] {
    let (x, dy, others) = (Maps::new(input), Maps::new(dy), others.map(Maps::new));
    let others = others.as_ref().map(Maps::values);
    let mut dx = Buffer::<T>::take(x.length());
    let gradients = LayerNorm { gamma: &values(weight), beta: &values(bias), epsilon }.backward(
        &x.values(),
        &dy.values(),
        others.as_deref(),
        &mut dx,
    );
    [maps(dx, x.shape), vector(gradients.gamma), vector(gradients.beta)]
}
