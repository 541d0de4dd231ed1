//! Convolutions of inference, with norm, residual and activation folded in.

use std::sync::{Arc, Mutex};

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use ocelli_kernels::{Buffer, PackedConv2d, bf16};

use super::activation::activate;
use super::conv::output_dims;
use super::kernel::{Maps, Stored, constant, maps, primitive, values};
use super::operation::{Operation, Parameter};
use super::trace::{self, Source, parameter};
use super::{Activation, ConvOptions, add, batch_norm, conv2d, has_kernels, per_channel};

/// The tensors of a convolution and of what follows it, without autodiff:
/// `norm(gain · scale · (conv(input) + bias))`.
#[derive(Debug, Clone)]
pub struct ConvTensors {
    /// `[outputs, channels / groups, rows, columns]`
    pub weight: Tensor<4>,
    /// The convolution's own bias, `[outputs]`.
    pub bias: Option<Tensor<1>>,
    /// A constant factor.
    pub gain: f64,
    /// A factor for each output channel, `[outputs]`.
    pub scale: Option<Tensor<1>>,
    /// The norm after it.
    pub norm: Option<FoldedNorm>,
}

/// A batch norm by its running statistics, which folds into the convolution before it; every tensor is
/// `[channels]`.
#[derive(Debug, Clone)]
pub struct FoldedNorm {
    /// The factor.
    pub weight: Tensor<1>,
    /// The shift.
    pub bias: Tensor<1>,
    /// The running mean.
    pub mean: Tensor<1>,
    /// The running variance.
    pub variance: Tensor<1>,
    /// What is added to the variance.
    pub epsilon: f64,
}

/// A convolution with what follows it folded in. The kernels' packed form is cached while its tensors stay
/// the same.
#[derive(Debug, Clone, Default)]
pub struct FoldedConv(Arc<Mutex<Option<Arc<Folded>>>>);

impl FoldedConv {
    /// `activation(norm(gain · scale · (conv(input) + bias)) + residual)`.
    pub fn forward(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        tensors: ConvTensors,
        options: ConvOptions,
        activation: Activation,
    ) -> Tensor<4> {
        let begun = trace::begin(|| {
            let sources = std::iter::once(&input).chain(&residual).map(Source::of).collect();
            (recorded(&input, &tensors, options, activation), sources)
        });
        trace::end(begun, self.run(input, residual, tensors, options, activation))
    }

    fn run(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        tensors: ConvTensors,
        options: ConvOptions,
        activation: Activation,
    ) -> Tensor<4> {
        if has_kernels(&input) {
            return self.packed(&tensors, options, input.dtype()).forward(input, residual, activation);
        }
        let mut output = conv2d(input, tensors.weight, options);
        if let Some(bias) = tensors.bias {
            output = output + per_channel(bias);
        }
        if tensors.gain != 1.0 {
            output = output.mul_scalar(tensors.gain);
        }
        if let Some(scale) = tensors.scale {
            output = output * per_channel(scale);
        }
        match tensors.norm {
            Some(norm) => batch_norm(output, norm.into(), residual, activation),
            None => activate(add(output, residual), activation),
        }
    }

    /// The packed form for maps of that type.
    pub(super) fn packed(&self, tensors: &ConvTensors, options: ConvOptions, dtype: DType) -> Arc<Folded> {
        let mut cached = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*cached {
            Some(folded) if folded.is_made_of(tensors, dtype) => folded.clone(),
            _ => cached.insert(Arc::new(Folded::new(tensors, options, dtype))).clone(),
        }
    }
}

/// A convolution with what follows it, packed for the kernels, and the tensors that it was made from: as long
/// as they are held here nobody can change them in place, so that the same storage means the same values.
#[derive(Debug)]
pub(super) struct Folded {
    sources: Vec<FlexTensor>,
    pub options: ConvOptions,
    pub weight_shape: [usize; 4],
    pub packed: Packed,
}

/// A packed convolution for maps of either type.
#[derive(Debug)]
pub(super) enum Packed {
    F32(PackedConv2d<f32>),
    Bf16(PackedConv2d<bf16>),
}

impl Folded {
    /// For maps of that type.
    fn new(tensors: &ConvTensors, options: ConvOptions, dtype: DType) -> Self {
        let weight_shape = tensors.weight.dims();
        let (scale, bias) = scale_and_bias(tensors);
        // Packing does not depend on the image's size: any that the kernel fits into will do.
        let [_, _, height, width] = weight_shape;
        let image = [1, 0, height * options.dilation, width * options.dilation];
        let shape = options.shape(image, weight_shape);
        let sources = sources(tensors);
        let weight = values(&sources[0]);
        let packed = if dtype == DType::BF16 {
            Packed::Bf16(PackedConv2d::pack(&shape, &weight, Some(&scale), Some(&bias)))
        } else {
            Packed::F32(PackedConv2d::pack(&shape, &weight, Some(&scale), Some(&bias)))
        };
        drop(weight);
        Self { sources, options, weight_shape, packed }
    }

    fn is_made_of(&self, tensors: &ConvTensors, dtype: DType) -> bool {
        let given = sources(tensors);
        (dtype == DType::BF16) == matches!(self.packed, Packed::Bf16(_))
            && self.sources.len() == given.len()
            && self.sources.iter().zip(&given).all(|(source, given)| {
                Arc::ptr_eq(&source.data_arc(), &given.data_arc()) && source.layout() == given.layout()
            })
    }

    fn forward(&self, input: Tensor<4>, residual: Option<Tensor<4>>, activation: Activation) -> Tensor<4> {
        let (x, residual) = (Maps::new(primitive(input)), residual.map(primitive).map(Maps::new));
        constant(match &self.packed {
            Packed::F32(packed) => self.run(packed, &x, residual.as_ref(), activation),
            Packed::Bf16(packed) => self.run(packed, &x, residual.as_ref(), activation),
        })
    }

    fn run<T: Stored>(
        &self,
        packed: &PackedConv2d<T>,
        x: &Maps,
        residual: Option<&Maps>,
        activation: Activation,
    ) -> FlexTensor {
        let shape = self.options.shape(x.shape, self.weight_shape);
        let mut y = Buffer::take(shape.output_len());
        let residual = residual.map(Maps::values);
        packed.forward(&shape, &x.values(), residual.as_deref(), activation, &mut y);
        maps(y, output_dims(&shape))
    }
}

/// The convolution as it is recorded: weights times their scale, as the kernels pack them.
fn recorded(
    input: &Tensor<4>,
    tensors: &ConvTensors,
    options: ConvOptions,
    activation: Activation,
) -> Operation {
    let (scale, bias) = scale_and_bias(tensors);
    let Parameter { name, shape, values } = parameter(&tensors.weight);
    let row = values.len() / scale.len();
    let scaled =
        values.chunks_exact(row).zip(&scale).flat_map(|(row, scale)| row.iter().map(move |w| w * scale));
    let weight = Parameter::new(name.clone(), shape, scaled.collect());
    let bias = Parameter::new(name.replace("weight", "bias"), vec![scale.len()], bias);
    let window = options.resolved(input.dims(), &weight.shape);
    Operation::Conv { weight, bias, window, activation }
}

/// All that follows the convolution as `scale · conv(input) + bias`, computed in f64.
fn scale_and_bias(tensors: &ConvTensors) -> (Vec<f32>, Vec<f32>) {
    let outputs = tensors.weight.dims()[0];
    let own = |tensor: &Tensor<1>| values::<f32>(&primitive(tensor.clone())).into_owned();
    let mut scale = vec![tensors.gain; outputs];
    let mut bias = match &tensors.bias {
        Some(bias) => own(bias).iter().map(|bias| f64::from(*bias) * tensors.gain).collect(),
        None => vec![0.0; outputs],
    };
    if let Some(factors) = &tensors.scale {
        for (channel, factor) in own(factors).into_iter().enumerate() {
            scale[channel] *= f64::from(factor);
            bias[channel] *= f64::from(factor);
        }
    }
    if let Some(norm) = &tensors.norm {
        let (weight, shift) = (own(&norm.weight), own(&norm.bias));
        let (mean, variance) = (own(&norm.mean), own(&norm.variance));
        for channel in 0..outputs {
            let deviation = (f64::from(variance[channel]) + norm.epsilon).sqrt();
            let factor = f64::from(weight[channel]) / deviation;
            scale[channel] *= factor;
            bias[channel] = (bias[channel] - f64::from(mean[channel])) * factor + f64::from(shift[channel]);
        }
    }
    let to_f32 = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
    (to_f32(scale), to_f32(bias))
}

/// The weight, then all other tensors.
fn sources(tensors: &ConvTensors) -> Vec<FlexTensor> {
    let norm = tensors.norm.iter().flat_map(|norm| [&norm.weight, &norm.bias, &norm.mean, &norm.variance]);
    let vectors = tensors.bias.iter().chain(&tensors.scale).chain(norm);
    let vectors = vectors.map(|vector| primitive(vector.clone()));
    std::iter::once(primitive(tensors.weight.clone())).chain(vectors).collect()
}
