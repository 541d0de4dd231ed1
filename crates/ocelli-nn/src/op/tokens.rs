//! Tokens of transformers: maps of one column, `[images, channels, tokens, 1]`.

use burn::tensor::{DType, Tensor};

use super::operation::Operation;
use super::trace::{self, Source, parameter};

/// Maps `[images, channels, height, width]` as tokens, row by row, after a class token `[1, 1, channels]`, with
/// position embeddings `[1, 1 + height · width, channels]` added: `[images, channels, 1 + height · width, 1]`.
pub fn embed_tokens(patches: Tensor<4>, class_token: Tensor<3>, positions: Tensor<3>) -> Tensor<4> {
    let begun = trace::begin(|| {
        let plain = |tensor: &Tensor<3>| {
            let all = parameter(tensor);
            super::operation::Parameter { shape: all.shape[1..].to_vec(), ..all }
        };
        let mut class_token = plain(&class_token);
        class_token.shape.remove(0);
        (Operation::Tokens { class_token, positions: plain(&positions) }, vec![Source::of(&patches)])
    });
    let ([count, width, rows, columns], precision) = (patches.dims(), patches.dtype());
    let patches = patches.permute([0, 2, 3, 1]).cast(DType::F32).reshape([count, rows * columns, width]);
    let tokens = Tensor::cat(vec![class_token.repeat_dim(0, count), patches], 1) + positions;
    let [_, tokens_each, _] = tokens.dims();
    let tokens = tokens.cast(precision).reshape([count, tokens_each, 1, width]).permute([0, 3, 1, 2]);
    trace::end(begun, tokens)
}

/// The first token, `[images, channels]` in f32.
pub fn class_token(tokens: Tensor<4>) -> Tensor<2> {
    let begun = trace::begin(|| (Operation::ClassToken, vec![Source::of(&tokens)]));
    trace::end(begun, tokens.narrow(2, 0, 1).cast(DType::F32).flatten(1, 3))
}

/// All tokens but the first.
pub fn patch_tokens(tokens: Tensor<4>) -> Tensor<4> {
    let begun = trace::begin(|| (Operation::PatchTokens, vec![Source::of(&tokens)]));
    let others = tokens.dims()[2] - 1;
    trace::end(begun, tokens.narrow(2, 1, others))
}
