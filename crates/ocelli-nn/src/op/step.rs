//! Steps of optimizers on parameters, without autodiff.

use burn::tensor::Tensor;
pub use ocelli_kernels::{AdamWStep, SgdStep};

use super::{composed, flex, has_kernels};

/// A step of stochastic gradient descent: the weights' new values and the new velocity. There is no velocity before
/// the first step.
pub fn sgd_step(
    step: SgdStep,
    weights: Tensor<1>,
    gradient: Tensor<1>,
    velocity: Option<Tensor<1>>,
) -> (Tensor<1>, Tensor<1>) {
    if has_kernels(&weights) {
        flex::sgd_step(step, weights, gradient, velocity)
    } else {
        composed::sgd_step(step, weights, gradient, velocity)
    }
}

/// A step of AdamW: the weights' new values, and the new mean of the gradient and of its square, which there are none
/// of before the first step.
pub fn adamw_step(
    step: AdamWStep,
    weights: Tensor<1>,
    gradient: Tensor<1>,
    averages: Option<[Tensor<1>; 2]>,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    if has_kernels(&weights) {
        flex::adamw_step(step, weights, gradient, averages)
    } else {
        composed::adamw_step(step, weights, gradient, averages)
    }
}

/// The sum of all squares, in an order that does not depend on the number of threads.
pub fn sum_of_squares(values: &Tensor<1>) -> f64 {
    if has_kernels(values) { flex::sum_of_squares(values.clone()) } else { composed::sum_of_squares(values) }
}
