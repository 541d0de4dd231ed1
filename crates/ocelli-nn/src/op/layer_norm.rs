//! Layer norm.

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use ocelli_kernels::{self as kernels, Buffer};

use super::kernel::{Incoming, KernelOp, Maps, apply, by_element, maps, values, vector};
use super::operation::Operation;
use super::trace::{self, Source, parameter};
use super::{has_kernels, per_channel};

/// Normalises `[images, channels, height, width]`, each pixel's channels together, by their mean and biased
/// variance, to which `epsilon` is added; times `weight` plus `bias`, both `[channels]`.
pub fn layer_norm(input: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<4> {
    let begun = trace::begin(|| {
        let (weight, bias) = (parameter(&weight), parameter(&bias));
        (Operation::LayerNorm { weight, bias, epsilon }, vec![Source::of(&input)])
    });
    trace::end(begun, run(input, weight, bias, epsilon))
}

fn run(input: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<4> {
    if has_kernels(&input) {
        return apply(LayerNorm { epsilon: epsilon as f32 }, [input.into(), weight.into(), bias.into()]);
    }
    let centred = input.clone() - input.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / variance.add_scalar(epsilon).sqrt() * per_channel(weight) + per_channel(bias)
}

#[derive(Debug, Clone)]
struct LayerNorm {
    epsilon: f32,
}

impl KernelOp<3> for LayerNorm {
    type Saved = [FlexTensor; 3];

    fn forward(&self, [input, weight, bias]: [FlexTensor; 3]) -> FlexTensor {
        let x = Maps::new(input);
        by_element!(x.tensor.dtype(), T => {
            let mut y = Buffer::<T>::take(x.length());
            let (gamma, beta) = (&values(&weight), &values(&bias));
            kernels::LayerNorm { gamma, beta, epsilon: self.epsilon }.forward(&x.values(), &mut y);
            maps(y, x.shape)
        })
    }

    fn forward_and_save(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        (self.forward(inputs.clone()), inputs)
    }

    fn backward(&self, [input, weight, bias]: Self::Saved, incoming: Incoming<3>) -> [Option<FlexTensor>; 3] {
        let (x, dy, others) =
            (Maps::new(input), Maps::new(incoming.gradient), incoming.others.map(Maps::new));
        by_element!(x.tensor.dtype(), T => {
            let others = others.as_ref().map(Maps::values);
            let mut dx = Buffer::<T>::take(x.length());
            let (gamma, beta) = (&values(&weight), &values(&bias));
            let norm = kernels::LayerNorm { gamma, beta, epsilon: self.epsilon };
            let gradients = norm.backward(&x.values(), &dy.values(), others.as_deref(), &mut dx);
            [maps(dx, x.shape), vector(gradients.gamma), vector(gradients.beta)].map(Some)
        })
    }

    fn adds_others(&self) -> bool {
        true
    }
}
