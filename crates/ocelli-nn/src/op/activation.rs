//! Activations.

use burn::tensor::{Tensor, activation};

use super::Activation;
use super::operation::Operation;
use super::trace::{self, Source};

/// Negative values become 0.
pub fn relu(input: Tensor<2>) -> Tensor<2> {
    let begun = trace::begin(|| (Operation::Activate(Activation::Relu), vec![Source::of(&input)]));
    trace::end(begun, activation::relu(input))
}

/// `u · min(max(u + 3, 0), 6) / 6`
pub fn hard_swish(input: Tensor<2>) -> Tensor<2> {
    let begun = trace::begin(|| (Operation::Activate(Activation::HardSwish), vec![Source::of(&input)]));
    trace::end(begun, activation::hard_swish(input))
}

/// `1 / (1 + exp(−u))`
pub fn sigmoid(input: Tensor<4>) -> Tensor<4> {
    let begun = trace::begin(|| (Operation::Sigmoid, vec![Source::of(&input)]));
    trace::end(begun, activation::sigmoid(input))
}

/// `min(max(u + 3, 0), 6) / 6`
pub fn hard_sigmoid(input: Tensor<4>) -> Tensor<4> {
    let begun = trace::begin(|| (Operation::HardSigmoid, vec![Source::of(&input)]));
    trace::end(begun, input.add_scalar(3.0).clamp(0.0, 6.0).div_scalar(6.0))
}

/// An activation composed of Burn's operations.
pub(super) fn activate(input: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::None => input,
        Activation::Relu => activation::relu(input),
        // Burn's clamp has a slope of 1 at 0; here, as in PyTorch, it is 0.
        Activation::Relu6 => activation::relu(input).clamp_max(6.0),
        Activation::Silu => activation::silu(input),
        Activation::Gelu => activation::gelu(input),
        Activation::HardSwish => {
            let gate = input.clone().add_scalar(3.0).clamp(0.0, 6.0).div_scalar(6.0);
            input * gate
        }
    }
}
