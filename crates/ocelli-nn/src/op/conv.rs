//! Convolutions: plain ones to train, and folded ones with norm, residual and activation to use.

use std::sync::{Arc, Mutex};

use burn::tensor::{DType, Tensor};

use super::{Activation, NormScale, batch_norm, composed, flex, has_kernels};

/// How a kernel is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// The distance between two applications.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: Padding,
    /// The distance between the kernel's points.
    pub dilation: usize,
    /// Channels are split into so many groups that do not see each other.
    pub groups: usize,
}

/// Zeros around an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// So many rows above and below, so many columns left and right.
    Symmetric([usize; 2]),
    /// TensorFlow's "same": as many as give ⌈size / stride⌉ outputs, the odd one at the bottom and right.
    Same,
}

impl Conv2d {
    /// The padding for images of that height and width.
    pub(super) fn padding(&self, image: [usize; 2], kernel: [usize; 2]) -> ocelli_kernels::Padding {
        match self.padding {
            Padding::Symmetric([rows, columns]) => {
                ocelli_kernels::Padding { top: rows, left: columns, bottom: rows, right: columns }
            }
            Padding::Same => {
                ocelli_kernels::Padding::same(image, kernel, [self.stride; 2], [self.dilation; 2])
            }
        }
    }
}

/// Convolves `[images, channels, height, width]` with `[outputs, channels / groups, rows, columns]`.
pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, conv: Conv2d) -> Tensor<4> {
    if has_kernels(&input) {
        flex::conv2d(input, weight, conv)
    } else {
        composed::conv2d(input, weight, conv)
    }
}

/// [`conv2d`] plus a bias, `[outputs]`, plus a residual of the output's shape.
pub fn conv2d_with_bias(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    conv: Conv2d,
) -> Tensor<4> {
    if has_kernels(&input) {
        flex::conv2d_with_bias(input, weight, bias, residual, conv)
    } else {
        composed::conv2d_with_bias(input, weight, bias, residual, conv)
    }
}

/// [`conv2d`], and the mean and the biased variance of every channel of its output, without autodiff: what a batch
/// norm needs.
pub fn conv2d_with_statistics(
    input: Tensor<4>,
    weight: Tensor<4>,
    conv: Conv2d,
) -> (Tensor<4>, (Tensor<1>, Tensor<1>)) {
    if has_kernels(&input) {
        flex::conv2d_with_statistics(input, weight, conv)
    } else {
        let output = composed::conv2d(input, weight, conv);
        (output.clone(), composed::batch_statistics(output.inner()))
    }
}

/// The tensors of a convolution and of what follows it, without autodiff:
/// `norm(gain · scale · (conv(input) + bias))`.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    /// `[outputs, channels / groups, rows, columns]`
    pub weight: Tensor<4>,
    /// The convolution's own bias, `[outputs]`.
    pub bias: Option<Tensor<1>>,
    /// A constant factor.
    pub gain: f64,
    /// A factor a channel, `[outputs]`.
    pub scale: Option<Tensor<1>>,
    /// The norm behind it.
    pub norm: Option<RunningNorm>,
}

/// A batch norm by its running statistics; every tensor is `[channels]`.
#[derive(Debug, Clone)]
pub struct RunningNorm {
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

impl ConvNorm {
    /// All tensors but the weight.
    pub(super) fn vectors(&self) -> impl Iterator<Item = &Tensor<1>> {
        let norm = self.norm.iter().flat_map(|norm| [&norm.weight, &norm.bias, &norm.mean, &norm.variance]);
        self.bias.iter().chain(&self.scale).chain(norm)
    }
}

/// A convolution with what follows it folded in, packed for the kernels once and kept while its tensors stay the same.
#[derive(Debug, Clone, Default)]
pub struct FoldedConv(Arc<Mutex<Option<Arc<flex::Folded>>>>);

impl FoldedConv {
    /// `activation(norm(gain · (conv(input) + bias)) + residual)`.
    pub fn forward(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        tensors: ConvNorm,
        conv: Conv2d,
        activation: Activation,
    ) -> Tensor<4> {
        if !has_kernels(&input) {
            return composed::conv_norm(input, residual, tensors, conv, activation);
        }
        self.packed(&tensors, conv, input.dtype()).forward(input, residual, activation)
    }

    fn packed(&self, tensors: &ConvNorm, conv: Conv2d, dtype: DType) -> Arc<flex::Folded> {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*kept {
            Some(folded) if folded.is_of(tensors, dtype) => folded.clone(),
            _ => kept.insert(Arc::new(flex::Folded::new(tensors, conv, dtype))).clone(),
        }
    }
}

/// A convolution of a chain: what [`FoldedConv::forward`] takes, without a residual.
#[derive(Debug)]
pub struct Link<'a> {
    /// The convolution's own, and of nothing else.
    pub folded: &'a FoldedConv,
    /// Its tensors.
    pub tensors: ConvNorm,
    /// How it is applied.
    pub conv: Conv2d,
    /// What follows it.
    pub activation: Activation,
}

/// Convolutions one after another, and the input added before the last activation if `residual`: as by
/// [`FoldedConv::forward`] one by one. The kernels keep the maps between them in the processor's cache.
pub fn conv_chain(input: Tensor<4>, links: Vec<Link<'_>>, residual: bool) -> Tensor<4> {
    if has_kernels(&input) {
        let packed = |link: &Link<'_>| link.folded.packed(&link.tensors, link.conv, input.dtype());
        let links: Vec<_> = links.iter().map(|link| (packed(link), link.activation)).collect();
        return flex::conv_chain(input, &links, residual);
    }
    let last = links.len() - 1;
    let added = residual.then(|| input.clone());
    links.into_iter().enumerate().fold(input, |x, (at, link)| {
        let residual = added.clone().filter(|_| at == last);
        composed::conv_norm(x, residual, link.tensors, link.conv, link.activation)
    })
}

/// A convolution of a chain that is trained, and what follows it.
#[derive(Debug, Clone)]
pub struct TrainedLink {
    /// `[outputs, channels / groups, rows, columns]`
    pub weight: Tensor<4>,
    /// How it is applied.
    pub conv: Conv2d,
    /// The norm behind it, by running statistics.
    pub norm: NormScale,
    /// What follows the norm.
    pub activation: Activation,
}

/// Convolutions one after another, and the input added before the last activation if `residual`, with gradients: the
/// numbers of [`conv_chain`]. The kernels compute the maps between them once more on the way back instead of keeping
/// them, where that is faster.
pub fn trained_chain(input: Tensor<4>, links: Vec<TrainedLink>, residual: bool) -> Tensor<4> {
    if has_kernels(&input)
        && let Some(output) = flex::trained_chain(&input, &links, residual)
    {
        return output;
    }
    let last = links.len() - 1;
    let added = residual.then(|| input.clone());
    links.into_iter().enumerate().fold(input, |x, (at, link)| {
        let residual = added.clone().filter(|_| at == last);
        batch_norm(conv2d(x, link.weight, link.conv), link.norm, residual, link.activation)
    })
}
