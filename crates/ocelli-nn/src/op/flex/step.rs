//! Steps of optimizers.

use burn::backend::Flex;
use burn::tensor::{Shape, Tensor};
use ocelli_kernels::{AdamWStep, Buffer, SgdStep};

use super::{Layout, primitive, stored, values};

pub fn sgd_step(
    step: SgdStep,
    weights: Tensor<1>,
    gradient: Tensor<1>,
    velocity: Option<Tensor<1>>,
) -> (Tensor<1>, Tensor<1>) {
    let (weights, gradient, velocity) = (primitive(weights), primitive(gradient), velocity.map(primitive));
    let weights = values::<f32>(&weights);
    let velocity = velocity.as_ref().map(values::<f32>);
    let [mut new_weights, mut new_velocity] = [(); 2].map(|()| Buffer::take(weights.len()));
    ocelli_kernels::sgd_step(
        step,
        &weights,
        &values(&gradient),
        velocity.as_deref(),
        &mut new_weights,
        &mut new_velocity,
    );
    (vector(new_weights), vector(new_velocity))
}

pub fn adamw_step(
    step: AdamWStep,
    weights: Tensor<1>,
    gradient: Tensor<1>,
    averages: Option<[Tensor<1>; 2]>,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let (weights, gradient) = (primitive(weights), primitive(gradient));
    let averages = averages.map(|averages| averages.map(primitive));
    let weights = values::<f32>(&weights);
    let averages =
        averages.as_ref().map(|averages| averages.each_ref().map(|average| values::<f32>(average)));
    let averages = averages.as_ref().map(|averages| averages.each_ref().map(|average| &average[..]));
    let [mut new_weights, mut mean, mut square] = [(); 3].map(|()| Buffer::take(weights.len()));
    ocelli_kernels::adamw_step(
        step,
        &weights,
        &values(&gradient),
        averages,
        &mut new_weights,
        [&mut mean, &mut square],
    );
    (vector(new_weights), [vector(mean), vector(square)])
}

pub fn sum_of_squares(of: Tensor<1>) -> f64 {
    ocelli_kernels::sum_of_squares(&values(&primitive(of)))
}

fn vector(values: Buffer<f32>) -> Tensor<1> {
    let layout = Layout::contiguous(Shape::from([values.len()]));
    Tensor::from_primitive::<Flex>(stored(values, layout))
}
