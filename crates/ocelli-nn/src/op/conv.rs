//! Convolutions: plain ones to train, and folded ones with norm, residual and activation to use.

use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;

use super::{Activation, composed, flex, has_kernels};

/// How a square kernel is applied.
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
    /// So many on each side.
    Symmetric(usize),
    /// TensorFlow's "same": as many as give ⌈size / stride⌉ outputs, the odd one at the bottom and right.
    Same,
}

impl Conv2d {
    /// The padding for images of that height and width.
    pub(super) fn padding(&self, image: [usize; 2], kernel: [usize; 2]) -> ocelli_kernels::Padding {
        match self.padding {
            Padding::Symmetric(size) => ocelli_kernels::Padding::uniform(size),
            Padding::Same => {
                ocelli_kernels::Padding::same(image, kernel, [self.stride; 2], [self.dilation; 2])
            }
        }
    }
}

/// Convolves `[images, channels, height, width]` with `[outputs, channels / groups, kernel, kernel]`.
pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, conv: Conv2d) -> Tensor<4> {
    if has_kernels(&input) {
        flex::conv2d(input, weight, conv)
    } else {
        composed::conv2d(input, weight, conv)
    }
}

/// The tensors of a convolution and the norm behind it, without autodiff.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    /// `[outputs, channels / groups, kernel, kernel]`
    pub weight: Tensor<4>,
    /// The norm's factor, `[outputs]`.
    pub norm_weight: Tensor<1>,
    /// The norm's shift, `[outputs]`.
    pub norm_bias: Tensor<1>,
    /// The running mean, `[outputs]`.
    pub mean: Tensor<1>,
    /// The running variance, `[outputs]`.
    pub variance: Tensor<1>,
    /// What is added to the variance.
    pub epsilon: f64,
}

/// A convolution with its norm folded in, packed for the kernels once and kept while its tensors stay the same.
#[derive(Debug, Clone, Default)]
pub struct FoldedConv(Arc<Mutex<Option<Arc<flex::Folded>>>>);

impl FoldedConv {
    /// `activation(norm(conv(input)) + residual)`.
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
        let folded = {
            let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            match &*kept {
                Some(folded) if folded.is_of(&tensors) => folded.clone(),
                _ => kept.insert(Arc::new(flex::Folded::new(&tensors, conv))).clone(),
            }
        };
        folded.forward(input, residual, activation)
    }
}
