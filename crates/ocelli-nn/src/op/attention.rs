//! Multi-head self-attention.

use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, activation};
use ocelli_kernels::{self as kernels, Buffer};

use super::has_kernels;
use super::kernel::{Incoming, KernelOp, Maps, apply, by_element, maps};
use super::operation::Operation;
use super::trace::{self, Source};

/// `softmax(query · keyᵀ / √width) · value` in each of several heads: queries, keys and values
/// `[images, 3 · heads · width, tokens, 1]` to `[images, heads · width, tokens, 1]`.
pub fn attention(qkv: Tensor<4>, heads: usize) -> Tensor<4> {
    let begun = trace::begin(|| (Operation::Attention { heads }, vec![Source::of(&qkv)]));
    trace::end(begun, run(qkv, heads))
}

fn run(qkv: Tensor<4>, heads: usize) -> Tensor<4> {
    if has_kernels(&qkv) {
        return apply(Attention { heads }, [qkv.into()]);
    }
    let [images, channels, tokens, _] = qkv.dims();
    let (channels, width) = (channels / 3, channels / 3 / heads);
    let [query, key, value] = [0, 1, 2].map(|part| {
        let part = qkv.clone().narrow(1, part * channels, channels);
        part.reshape([images, heads, width, tokens]).swap_dims(2, 3)
    });
    let scores = query.mul_scalar((width as f64).powf(-0.5)).matmul(key.swap_dims(2, 3));
    let mixed = activation::softmax(scores, 3).matmul(value); // [images, heads, tokens, width]
    mixed.swap_dims(2, 3).reshape([images, channels, tokens, 1])
}

#[derive(Debug, Clone)]
struct Attention {
    heads: usize,
}

impl Attention {
    fn kernel(&self, qkv: &Maps) -> kernels::Attention {
        let [batch, tokens, channels] = qkv.sizes();
        kernels::Attention { batch, tokens, heads: self.heads, width: channels / 3 / self.heads }
    }
}

impl KernelOp<1> for Attention {
    type Saved = FlexTensor;

    fn forward(&self, [qkv]: [FlexTensor; 1]) -> FlexTensor {
        let qkv = Maps::new(qkv);
        let [images, channels, tokens, one] = qkv.shape;
        by_element!(qkv.tensor.dtype(), T => {
            let mut y = Buffer::<T>::take(qkv.length() / 3);
            self.kernel(&qkv).forward(&qkv.values(), &mut y);
            maps(y, [images, channels / 3, tokens, one])
        })
    }

    fn forward_and_save(&self, [qkv]: [FlexTensor; 1]) -> (FlexTensor, FlexTensor) {
        (self.forward([qkv.clone()]), qkv)
    }

    fn backward(&self, qkv: FlexTensor, incoming: Incoming<1>) -> [Option<FlexTensor>; 1] {
        let (qkv, dy) = (Maps::new(qkv), Maps::new(incoming.gradient));
        by_element!(qkv.tensor.dtype(), T => {
            let mut dqkv = Buffer::<T>::take(qkv.length());
            self.kernel(&qkv).backward(&qkv.values(), &dy.values(), &mut dqkv);
            [Some(maps(dqkv, qkv.shape))]
        })
    }
}
