//! Linear layers.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use ocelli_kernels::{
    Buffer, channel_sums, linear as multiply, linear_backward_data, linear_backward_weights,
};

use super::{Stored, by_element, matrix, parts, register, tracked, two, values, vector};

pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::ocelli_linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

#[backend_extension(Flex, Autodiff)]
pub trait LinearKernels: Backend {
    /// `input · weightᵀ + bias`.
    fn ocelli_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl LinearKernels for Flex {
    fn ocelli_linear(input: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        by_element!(input, T => forward::<T>(&input, &weight, &bias))
    }
}

impl<C: CheckpointStrategy> LinearKernels for Autodiff<Flex, C> {
    fn ocelli_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ([input, weight, bias], nodes) = parts([input, weight, bias]);
        let state = (input.clone(), weight.clone());
        tracked::<C, _, 3>(LinearBackward, nodes, state, Flex::ocelli_linear(input, weight, bias))
    }
}

fn forward<T: Stored>(input: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor) -> FlexTensor {
    let ([rows, inputs], [outputs, _]) = (two(input), two(weight));
    let mut y = Buffer::take(rows * outputs);
    let bias = values(bias);
    multiply::<T>([rows, inputs, outputs], &values(weight), Some(&bias), &values(input), &mut y);
    matrix(y, [rows, outputs])
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (input, weight) = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let dy = gradients.consume::<Flex>(&ops.node);
        by_element!(input, T => {
            let all = backward::<T>(&input, &weight, &dy, nodes.map(|node| node.is_some()));
            for (node, gradient) in nodes.into_iter().zip(all) {
                gradient.into_iter().for_each(|gradient| register(gradients, node, gradient));
            }
        });
    }
}

/// The gradients with respect to input, weight and bias, as far as they are wanted.
fn backward<T: Stored>(
    input: &FlexTensor,
    weight: &FlexTensor,
    dy: &FlexTensor,
    [to_input, to_weight, to_bias]: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let ([rows, inputs], [outputs, _]) = (two(input), two(weight));
    let dy = values::<T>(dy);
    let dx = to_input.then(|| {
        let mut dx = Buffer::<T>::take(rows * inputs);
        linear_backward_data([rows, inputs, outputs], &values(weight), &dy, &mut dx);
        matrix(dx, [rows, inputs])
    });
    let dw = to_weight.then(|| {
        let mut dw = Buffer::<f32>::take(outputs * inputs);
        linear_backward_weights([rows, inputs, outputs], &values::<T>(input), &dy, &mut dw);
        matrix(dw, [outputs, inputs])
    });
    [dx, dw, to_bias.then(|| vector(channel_sums(outputs, &dy)))]
}
