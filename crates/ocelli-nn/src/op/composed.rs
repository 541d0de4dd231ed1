//! The operations as compositions of Burn's: for every backend, differentiable as they stand.

use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Tensor, module};

use super::{Activation, ConvNorm, Geometry, NormScale};
use crate::layer::Pool;

/// [`conv2d`](super::conv2d), composed.
pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, conv: Geometry) -> Tensor<4> {
    let [_, _, height, width] = input.dims();
    let [_, _, kernel_height, kernel_width] = weight.dims();
    let padding = conv.padding([height, width], [kernel_height, kernel_width]);
    let symmetric = padding.top == padding.bottom && padding.left == padding.right;
    let (input, padding) = if symmetric {
        (input, [padding.top, padding.left])
    } else {
        let sides = (padding.left, padding.right, padding.top, padding.bottom);
        (input.pad(sides, PadMode::Constant(0.0)), [0, 0])
    };
    let options = ConvOptions::new([conv.stride; 2], padding, [conv.dilation; 2], conv.groups);
    module::conv2d(input, weight, None, options)
}

/// Convolution, norm by running statistics, residual, activation.
pub fn conv_norm(
    input: Tensor<4>,
    residual: Option<Tensor<4>>,
    tensors: ConvNorm,
    conv: Geometry,
    activation: Activation,
) -> Tensor<4> {
    let scale = NormScale {
        weight: tensors.norm_weight,
        bias: tensors.norm_bias,
        mean: tensors.mean,
        variance: tensors.variance,
        epsilon: tensors.epsilon,
        from_batch: false,
    };
    batch_norm(conv2d(input, tensors.weight, conv), scale, residual, activation)
}

/// [`batch_statistics`](super::batch_statistics), composed.
pub fn batch_statistics(input: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    let [images, channels, height, width] = input.dims();
    let rows = input.swap_dims(0, 1).reshape([channels, images * height * width]);
    let (variance, mean) = rows.var_mean_bias(1);
    (mean.reshape([channels]), variance.reshape([channels]))
}

/// [`batch_norm`](super::batch_norm), composed.
pub fn batch_norm(
    input: Tensor<4>,
    scale: NormScale,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    let channels = scale.weight.dims()[0];
    let maps = |vector: Tensor<1>| vector.reshape([1, channels, 1, 1]);
    // Computed again where the gradient goes through the statistics: Burn then differentiates them.
    let (mean, variance) =
        if scale.from_batch { batch_statistics(input.clone()) } else { (scale.mean, scale.variance) };
    let normalised = (input - maps(mean)) / maps(variance.add_scalar(scale.epsilon).sqrt());
    let output = normalised * maps(scale.weight) + maps(scale.bias);
    activate(residual.map_or(output.clone(), |residual| output + residual), activation)
}

fn activate(input: Tensor<4>, activation: Activation) -> Tensor<4> {
    use burn::tensor::activation as burn_activation;
    match activation {
        Activation::None => input,
        Activation::Relu => burn_activation::relu(input),
        Activation::Relu6 => input.clamp(0.0, 6.0),
        Activation::Silu => burn_activation::silu(input),
        Activation::HardSwish => {
            let gate = input.clone().add_scalar(3.0).clamp(0.0, 6.0).div_scalar(6.0);
            input * gate
        }
    }
}

/// [`pool`](super::pool), composed.
pub fn pool(input: Tensor<4>, pool: Pool) -> Tensor<2> {
    let [images, channels, height, width] = input.dims();
    let pixels = input.reshape([images, channels, height * width]);
    let average = pixels.clone().mean_dim(2).reshape([images, channels]);
    match pool {
        Pool::Average => average,
        Pool::MaximumAndAverage => {
            Tensor::cat(vec![pixels.max_dim(2).reshape([images, channels]), average], 1)
        }
    }
}

/// [`linear`](super::linear), composed.
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    input.matmul(weight.transpose()) + bias.unsqueeze()
}
