//! Batch norm: statistics, and normalise + residual + activation in one operation.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use ocelli_kernels::{self as kernels, Buffer, StatisticsSource, channel_statistics};

use super::activation::activate;
use super::kernel::{
    Incoming, KernelOp, Maps, Stored, apply, by_element, constant, maps, primitive, values, vector,
};
use super::operation::{Operation, Parameter};
use super::trace::{self, Source, parameter};
use super::{Activation, FoldedNorm, add, has_kernels, per_channel};

/// A batch norm's statistics, and its factor and shift.
#[derive(Debug, Clone)]
pub struct AffineNorm {
    /// The factor, `[channels]`.
    pub weight: Tensor<1>,
    /// The shift, `[channels]`.
    pub bias: Tensor<1>,
    /// The mean to subtract, `[channels]`, without autodiff.
    pub mean: Tensor<1>,
    /// The biased variance to divide by, `[channels]`, without autodiff.
    pub variance: Tensor<1>,
    /// What is added to the variance.
    pub epsilon: f64,
    /// Whether mean and variance are those of the input, so that the gradient goes through them.
    pub from_batch: bool,
}

impl AffineNorm {
    /// A factor and a shift (0 where there is none) without any norm, for the channels of `maps`.
    pub fn constant(factor: f64, bias: Option<Tensor<1>>, maps: &Tensor<4>) -> Self {
        let [_, channels, _, _] = maps.dims();
        let zeros = Tensor::zeros([channels], &maps.device().inner());
        let ones = zeros.clone().add_scalar(1.0);
        Self {
            weight: zeros.clone().add_scalar(factor),
            bias: bias.unwrap_or_else(|| zeros.clone()),
            mean: zeros,
            variance: ones,
            epsilon: 0.0,
            from_batch: false,
        }
    }

    /// The norm by statistics that do not come from the batch as `scale · x + shift`.
    fn scale_and_shift(&self) -> (Parameter, Parameter) {
        let [weight, bias, mean, variance] =
            [&self.weight, &self.bias, &self.mean, &self.variance].map(parameter);
        let scale =
            |c: usize| f64::from(weight.values[c]) / (f64::from(variance.values[c]) + self.epsilon).sqrt();
        let shift = |c: usize| f64::from(bias.values[c]) - f64::from(mean.values[c]) * scale(c);
        let channels = weight.values.len();
        let all = |of: &dyn Fn(usize) -> f64| (0..channels).map(|c| of(c) as f32).collect();
        let (scale, shift) = (all(&scale), all(&shift));
        (Parameter::new(weight.name, vec![channels], scale), Parameter::new(bias.name, vec![channels], shift))
    }

    /// The same values without autodiff.
    pub fn inner(self) -> Self {
        Self { weight: self.weight.inner(), bias: self.bias.inner(), ..self }
    }
}

impl From<FoldedNorm> for AffineNorm {
    fn from(norm: FoldedNorm) -> Self {
        let FoldedNorm { weight, bias, mean, variance, epsilon } = norm;
        Self { weight, bias, mean, variance, epsilon, from_batch: false }
    }
}

/// Mean and biased variance of every channel of `[images, channels, height, width]`, which has no autodiff.
pub fn batch_statistics(input: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    if has_kernels(&input) {
        let x = Maps::new(primitive(input));
        let [_, _, channels] = x.sizes();
        let found = by_element!(x.tensor.dtype(), T => channel_statistics::<T>(channels, &x.values()));
        return (constant(vector(found.mean)), constant(vector(found.variance)));
    }
    let [images, channels, height, width] = input.dims();
    let rows = input.swap_dims(0, 1).reshape([channels, images * height * width]);
    let (variance, mean) = rows.var_mean_bias(1);
    (mean.reshape([channels]), variance.reshape([channels]))
}

/// `activation((input − mean) / √(variance + ε) · weight + bias + residual)`.
pub fn batch_norm(
    input: Tensor<4>,
    norm: AffineNorm,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    let begun = trace::begin(|| {
        let (scale, shift) = norm.scale_and_shift();
        let sources = std::iter::once(&input).chain(&residual).map(Source::of).collect();
        (Operation::Affine { scale, shift, activation }, sources)
    });
    trace::end(begun, run(input, norm, residual, activation))
}

fn run(input: Tensor<4>, norm: AffineNorm, residual: Option<Tensor<4>>, activation: Activation) -> Tensor<4> {
    if !has_kernels(&input) {
        // Computed again where the gradient goes through the statistics: Burn then differentiates them.
        let (mean, variance) =
            if norm.from_batch { batch_statistics(input.clone()) } else { (norm.mean, norm.variance) };
        let deviation = per_channel(variance.add_scalar(norm.epsilon).sqrt());
        let normalised = (input - per_channel(mean)) / deviation;
        let output = normalised * per_channel(norm.weight) + per_channel(norm.bias);
        return activate(add(output, residual), activation);
    }
    let op = BatchNorm {
        mean: values(&primitive(norm.mean)).into(),
        variance: values(&primitive(norm.variance)).into(),
        epsilon: norm.epsilon as f32,
        source: if norm.from_batch { StatisticsSource::Batch } else { StatisticsSource::Frozen },
        activation,
    };
    match residual {
        Some(residual) => apply(op, [input.into(), norm.weight.into(), norm.bias.into(), residual.into()]),
        None => apply(op, [input.into(), norm.weight.into(), norm.bias.into()]),
    }
}

/// Its inputs are maps, weight and bias, and a residual if there are four.
#[derive(Debug, Clone)]
struct BatchNorm {
    mean: Arc<[f32]>,
    variance: Arc<[f32]>,
    epsilon: f32,
    source: StatisticsSource,
    activation: Activation,
}

impl BatchNorm {
    fn kernel<'a>(&'a self, gamma: &'a [f32], beta: &'a [f32]) -> kernels::BatchNorm<'a> {
        kernels::BatchNorm {
            mean: &self.mean,
            variance: &self.variance,
            gamma,
            beta,
            epsilon: self.epsilon,
            activation: self.activation,
        }
    }

    /// The gradients of maps, weight and bias, and of the residual.
    fn gradients<T: Stored>(
        &self,
        inputs: &[FlexTensor],
        gradient: FlexTensor,
        others: Option<FlexTensor>,
    ) -> [Option<FlexTensor>; 4] {
        // Without an activation the residual gets the output's gradient as it is.
        let (residual, unchanged) = match (inputs.get(3), self.activation) {
            (Some(_), Activation::None) => (None, Some(gradient.clone())),
            (residual, _) => (residual.cloned().map(Maps::new), None),
        };
        let (x, dy, others) = (Maps::new(inputs[0].clone()), Maps::new(gradient), others.map(Maps::new));
        let (residual, others) = (residual.as_ref().map(Maps::values), others.as_ref().map(Maps::values));
        let (weight, bias) = (values(&inputs[1]), values(&inputs[2]));
        let mut dx = Buffer::<T>::take(x.length());
        let mut dresidual = residual.as_ref().map(|_| Buffer::take(x.length()));
        let gradients = self.kernel(&weight, &bias).backward(
            self.source,
            &x.values(),
            residual.as_deref(),
            &dy.values(),
            others.as_deref(),
            &mut dx,
            dresidual.as_deref_mut(),
        );
        [
            Some(maps(dx, x.shape)),
            Some(vector(gradients.gamma)),
            Some(vector(gradients.beta)),
            dresidual.map(|dresidual| maps(dresidual, x.shape)).or(unchanged),
        ]
    }
}

impl<const N: usize> KernelOp<N> for BatchNorm {
    type Saved = [FlexTensor; N];

    fn forward(&self, inputs: [FlexTensor; N]) -> FlexTensor {
        let (x, residual) = (Maps::new(inputs[0].clone()), inputs.get(3).cloned().map(Maps::new));
        let (weight, bias) = (values(&inputs[1]), values(&inputs[2]));
        by_element!(x.tensor.dtype(), T => {
            let residual = residual.as_ref().map(Maps::values);
            let mut y = Buffer::<T>::take(x.length());
            self.kernel(&weight, &bias).forward(&x.values(), residual.as_deref(), &mut y);
            maps(y, x.shape)
        })
    }

    fn forward_and_save(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Self::Saved) {
        (self.forward(inputs.clone()), inputs)
    }

    fn backward(&self, saved: Self::Saved, incoming: Incoming<N>) -> [Option<FlexTensor>; N] {
        let Incoming { gradient, others, .. } = incoming;
        let all = by_element!(saved[0].dtype(), T => self.gradients::<T>(&saved, gradient, others));
        let mut all = all.into_iter();
        std::array::from_fn(|_| all.next().flatten())
    }

    fn adds_others(&self) -> bool {
        true
    }
}
