//! Linear layers.

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use ocelli_kernels::{self as kernels, Buffer, channel_sums, linear_backward_data, linear_backward_weights};

use super::has_kernels;
use super::kernel::{Incoming, KernelOp, Stored, apply, by_element, dims, row_major_tensor, values, vector};
use super::operation::Operation;
use super::trace::{self, Source, parameter};

/// `input · weightᵀ + bias`: `[images, inputs]` and `[outputs, inputs]` to `[images, outputs]`.
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let begun = trace::begin(|| {
        let (weight, bias) = (parameter(&weight), parameter(&bias));
        (Operation::Linear { weight, bias }, vec![Source::of(&input)])
    });
    trace::end(begun, run(input, weight, bias))
}

fn run(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    if has_kernels(&input) {
        return apply(Linear, [input.into(), weight.into(), bias.into()]);
    }
    input.matmul(weight.transpose()) + bias.unsqueeze()
}

#[derive(Debug, Clone)]
struct Linear;

impl KernelOp<3> for Linear {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [input, weight, bias]: [FlexTensor; 3]) -> FlexTensor {
        let ([rows, inputs], [outputs, _]) = (dims(&input), dims(&weight));
        let bias = values(&bias);
        by_element!(input.dtype(), T => {
            let mut y = Buffer::<T>::take(rows * outputs);
            let shape = [rows, inputs, outputs];
            kernels::linear(shape, &values(&weight), Some(&bias), &values::<T>(&input), &mut y);
            row_major_tensor(y, [rows, outputs])
        })
    }

    fn forward_and_save(&self, [input, weight, bias]: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        (self.forward([input.clone(), weight.clone(), bias]), [input, weight])
    }

    fn backward(&self, [input, weight]: Self::Saved, incoming: Incoming<3>) -> [Option<FlexTensor>; 3] {
        by_element!(input.dtype(), T => backward::<T>(&input, &weight, &incoming))
    }
}

/// The gradients of input, weight and bias.
fn backward<T: Stored>(
    input: &FlexTensor,
    weight: &FlexTensor,
    incoming: &Incoming<3>,
) -> [Option<FlexTensor>; 3] {
    let ([rows, inputs], [outputs, _]) = (dims(input), dims(weight));
    let dy = values::<T>(&incoming.gradient);
    let [to_input, to_weight, to_bias] = incoming.needed;
    let dx = to_input.then(|| {
        let mut dx = Buffer::<T>::take(rows * inputs);
        linear_backward_data([rows, inputs, outputs], &values(weight), &dy, &mut dx);
        row_major_tensor(dx, [rows, inputs])
    });
    let dw = to_weight.then(|| {
        let mut dw = Buffer::<f32>::take(outputs * inputs);
        linear_backward_weights([rows, inputs, outputs], &values::<T>(input), &dy, &mut dw);
        row_major_tensor(dw, [outputs, inputs])
    });
    [dx, dw, to_bias.then(|| vector(channel_sums(outputs, &dy)))]
}
