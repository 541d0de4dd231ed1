//! What transformers are made of: layer norm, and attention.

use burn::tensor::Tensor;

use super::{composed, flex, has_kernels};

/// Normalises `[images, channels, height, width]`, each pixel's channels together, by their mean and biased variance, to
/// which `epsilon` is added; times `weight` plus `bias`, both `[channels]`.
pub fn layer_norm(input: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<4> {
    if has_kernels(&input) {
        flex::layer_norm(input, weight, bias, epsilon)
    } else {
        composed::layer_norm(input, weight, bias, epsilon)
    }
}

/// `softmax(query · keyᵀ / √width) · value` in each of several heads: queries, keys and values
/// `[images, 3 · heads · width, tokens, 1]` to `[images, heads · width, tokens, 1]`.
pub fn attention(qkv: Tensor<4>, heads: usize) -> Tensor<4> {
    if has_kernels(&qkv) { flex::attention(qkv, heads) } else { composed::attention(qkv, heads) }
}
