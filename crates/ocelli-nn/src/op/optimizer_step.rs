//! Steps of optimizers on parameters, without autodiff.

use burn::tensor::Tensor;
use ocelli_kernels::{self as kernels, Buffer};
pub use ocelli_kernels::{AdamWStep, SgdStep};

use super::has_kernels;
use super::kernel::{constant_vector as vector, primitive, values};

/// A step of stochastic gradient descent: the weights' new values and the new velocity. There is no velocity
/// before the first step.
pub fn sgd_step(
    step: SgdStep,
    weights: Tensor<1>,
    gradient: Tensor<1>,
    velocity: Option<Tensor<1>>,
) -> (Tensor<1>, Tensor<1>) {
    if has_kernels(&weights) {
        let (weights, gradient) = (primitive(weights), primitive(gradient));
        let (velocity, weights) = (velocity.map(primitive), values::<f32>(&weights));
        let velocity = velocity.as_ref().map(values::<f32>);
        let [mut new_weights, mut new_velocity] = [(); 2].map(|()| Buffer::take(weights.len()));
        kernels::sgd_step(
            step,
            &weights,
            &values(&gradient),
            velocity.as_deref(),
            &mut new_weights,
            &mut new_velocity,
        );
        return (vector(new_weights), vector(new_velocity));
    }
    let velocity = match velocity {
        Some(velocity) => velocity.mul_scalar(step.momentum) + gradient,
        None => gradient,
    };
    (weights.mul_scalar(step.decay_factor) - velocity.clone().mul_scalar(step.lr), velocity)
}

/// A step of AdamW: the weights' new values, and the new running means of the gradient and of its square.
/// There are no means before the first step.
pub fn adamw_step(
    step: AdamWStep,
    weights: Tensor<1>,
    gradient: Tensor<1>,
    averages: Option<[Tensor<1>; 2]>,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    if has_kernels(&weights) {
        let (weights, gradient) = (primitive(weights), primitive(gradient));
        let averages = averages.map(|averages| averages.map(primitive));
        let weights = values::<f32>(&weights);
        let averages =
            averages.as_ref().map(|averages| averages.each_ref().map(|average| values::<f32>(average)));
        let averages = averages.as_ref().map(|averages| averages.each_ref().map(|average| &average[..]));
        let [mut new_weights, mut mean, mut square] = [(); 3].map(|()| Buffer::take(weights.len()));
        kernels::adamw_step(
            step,
            &weights,
            &values(&gradient),
            averages,
            &mut new_weights,
            [&mut mean, &mut square],
        );
        return (vector(new_weights), [vector(mean), vector(square)]);
    }
    let fresh = gradient.clone().mul_scalar(1.0 - step.beta_1);
    let fresh_square = gradient.clone() * gradient.mul_scalar(1.0 - step.beta_2);
    let (mean, square) = match averages {
        Some([mean, square]) => {
            (mean.mul_scalar(step.beta_1) + fresh, square.mul_scalar(step.beta_2) + fresh_square)
        }
        None => (fresh, fresh_square),
    };
    let root = square.clone().mul_scalar(step.square_factor).sqrt().add_scalar(step.epsilon);
    let delta = mean.clone().mul_scalar(step.step_size) / root;
    (weights.mul_scalar(step.decay_factor) - delta, [mean, square])
}

/// The sum of all squares, in an order that does not depend on the number of threads; on the CPU whatever the
/// device.
pub fn sum_of_squares(tensor: &Tensor<1>) -> f64 {
    if has_kernels(tensor) {
        return kernels::sum_of_squares(&values(&primitive(tensor.clone())));
    }
    let values = tensor.to_data().convert::<f32>();
    kernels::sum_of_squares(values.as_slice().expect("converted to f32"))
}
