//! The operations as compositions of Burn's: for every backend, differentiable as they stand.

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Tensor, module};

use super::{Activation, AdamWStep, ConvNorm, Geometry, GlobalPool, NormScale, SgdStep, Window};

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

/// [`conv2d_with_bias`](super::conv2d_with_bias), composed.
pub fn conv2d_with_bias(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    conv: Geometry,
) -> Tensor<4> {
    let output = conv2d(input, weight, conv) + maps(bias);
    residual.map_or(output.clone(), |residual| output + residual)
}

/// [`FoldedConv::forward`](super::FoldedConv::forward), composed.
pub fn conv_norm(
    input: Tensor<4>,
    residual: Option<Tensor<4>>,
    tensors: ConvNorm,
    conv: Geometry,
    activation: Activation,
) -> Tensor<4> {
    let mut output = conv2d(input, tensors.weight, conv);
    if let Some(bias) = tensors.bias {
        output = output + maps(bias);
    }
    if tensors.gain != 1.0 {
        output = output.mul_scalar(tensors.gain);
    }
    if let Some(scale) = tensors.scale {
        output = output * maps(scale);
    }
    match tensors.norm {
        Some(norm) => batch_norm(output, norm.into(), residual, activation),
        None => activate(residual.map_or(output.clone(), |residual| output + residual), activation),
    }
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
    // Computed again where the gradient goes through the statistics: Burn then differentiates them.
    let (mean, variance) =
        if scale.from_batch { batch_statistics(input.clone()) } else { (scale.mean, scale.variance) };
    let normalised = (input - maps(mean)) / maps(variance.add_scalar(scale.epsilon).sqrt());
    let output = normalised * maps(scale.weight) + maps(scale.bias);
    activate(residual.map_or(output.clone(), |residual| output + residual), activation)
}

/// A number for each channel, to be broadcast over maps.
fn maps(vector: Tensor<1>) -> Tensor<4> {
    let channels = vector.dims()[0];
    vector.reshape([1, channels, 1, 1])
}

fn activate(input: Tensor<4>, activation: Activation) -> Tensor<4> {
    use burn::tensor::activation as burn_activation;
    match activation {
        Activation::None => input,
        Activation::Relu => burn_activation::relu(input),
        // Burn's clamp has a slope of 1 at 0; here, as in PyTorch, it is 0.
        Activation::Relu6 => burn_activation::relu(input).clamp_max(6.0),
        Activation::Silu => burn_activation::silu(input),
        Activation::Gelu => burn_activation::gelu(input),
        Activation::HardSwish => {
            let gate = input.clone().add_scalar(3.0).clamp(0.0, 6.0).div_scalar(6.0);
            input * gate
        }
    }
}

/// [`pool`](super::pool), composed.
pub fn pool(input: Tensor<4>, pool: GlobalPool) -> Tensor<2> {
    let [images, channels, height, width] = input.dims();
    let pixels = input.reshape([images, channels, height * width]);
    let average = pixels.clone().mean_dim(2).reshape([images, channels]);
    match pool {
        GlobalPool::Average => average,
        GlobalPool::MaximumAndAverage => {
            Tensor::cat(vec![pixels.max_dim(2).reshape([images, channels]), average], 1)
        }
    }
}

/// [`max_pool2d`](super::max_pool2d), composed.
pub fn max_pool2d(input: Tensor<4>, window: Window) -> Tensor<4> {
    let options = MaxPoolOptions::new(window.kernel)
        .with_stride(window.stride)
        .with_padding(window.padding)
        .with_ceil_mode(window.ceil);
    module::max_pool2d(input, options)
}

/// [`average_pool2d`](super::average_pool2d), composed.
pub fn average_pool2d(input: Tensor<4>, window: Window, count_padding: bool) -> Tensor<4> {
    let options = AvgPoolOptions::new(window.kernel)
        .with_stride(window.stride)
        .with_padding(window.padding)
        .with_count_include_pad(count_padding)
        .with_ceil_mode(window.ceil);
    module::avg_pool2d(input, options)
}

/// [`scale_channels`](super::scale_channels), composed.
pub fn scale_channels(input: Tensor<4>, factors: Tensor<2>) -> Tensor<4> {
    let [images, channels] = factors.dims();
    input * factors.reshape([images, channels, 1, 1])
}

/// [`layer_norm`](super::layer_norm), composed.
pub fn layer_norm(input: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<4> {
    let centred = input.clone() - input.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / variance.add_scalar(epsilon).sqrt() * maps(weight) + maps(bias)
}

/// [`attention`](super::attention), composed.
pub fn attention(qkv: Tensor<4>, heads: usize) -> Tensor<4> {
    let [images, channels, tokens, _] = qkv.dims();
    let (channels, width) = (channels / 3, channels / 3 / heads);
    let [query, key, value] = [0, 1, 2].map(|part| {
        let part = qkv.clone().narrow(1, part * channels, channels);
        part.reshape([images, heads, width, tokens]).swap_dims(2, 3)
    });
    let scores = query.mul_scalar((width as f64).powf(-0.5)).matmul(key.swap_dims(2, 3));
    let mixed = burn::tensor::activation::softmax(scores, 3).matmul(value); // [images, heads, tokens, width]
    mixed.swap_dims(2, 3).reshape([images, channels, tokens, 1])
}

/// [`join`](super::join), composed.
pub fn join(parts: Vec<Tensor<4>>) -> Tensor<4> {
    Tensor::cat(parts, 1)
}

/// [`linear`](super::linear), composed.
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    input.matmul(weight.transpose()) + bias.unsqueeze()
}

/// [`sgd_step`](super::sgd_step), composed.
pub fn sgd_step(
    step: SgdStep,
    weights: Tensor<1>,
    gradient: Tensor<1>,
    velocity: Option<Tensor<1>>,
) -> (Tensor<1>, Tensor<1>) {
    let velocity = match velocity {
        Some(velocity) => velocity.mul_scalar(step.momentum) + gradient,
        None => gradient,
    };
    (weights.mul_scalar(step.decay_factor) - velocity.clone().mul_scalar(step.lr), velocity)
}

/// [`adamw_step`](super::adamw_step), composed.
pub fn adamw_step(
    step: AdamWStep,
    weights: Tensor<1>,
    gradient: Tensor<1>,
    averages: Option<[Tensor<1>; 2]>,
) -> (Tensor<1>, [Tensor<1>; 2]) {
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

/// [`sum_of_squares`](super::sum_of_squares), on the CPU whatever the device.
pub fn sum_of_squares(values: &Tensor<1>) -> f64 {
    let values = values.to_data().convert::<f32>();
    ocelli_kernels::sum_of_squares(values.as_slice().expect("converted to f32"))
}
