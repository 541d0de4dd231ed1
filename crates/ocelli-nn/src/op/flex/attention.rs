//! Attention.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use ocelli_kernels::{Attention, Buffer};

use super::{Maps, Stored, by_element, maps, parts, register, tracked};

pub fn attention(qkv: Tensor<4>, heads: usize) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::ocelli_attention(qkv.into_dispatch(), heads))
}

#[backend_extension(Flex, Autodiff)]
pub trait AttentionKernels: Backend {
    /// `[images, 3 · channels, tokens, 1]` to `[images, channels, tokens, 1]`.
    fn ocelli_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;
}

impl AttentionKernels for Flex {
    fn ocelli_attention(qkv: FlexTensor, heads: usize) -> FlexTensor {
        by_element!(qkv, T => forward::<T>(qkv, heads))
    }
}

impl<C: CheckpointStrategy> AttentionKernels for Autodiff<Flex, C> {
    fn ocelli_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        let ([qkv], nodes) = parts([qkv]);
        let state = (qkv.clone(), heads);
        tracked::<C, _, 1>(AttentionBackward, nodes, state, Flex::ocelli_attention(qkv, heads))
    }
}

fn of(qkv: &Maps, heads: usize) -> Attention {
    let [batch, tokens, channels] = qkv.sizes();
    Attention { batch, tokens, heads, width: channels / 3 / heads }
}

fn forward<T: Stored>(qkv: FlexTensor, heads: usize) -> FlexTensor {
    let qkv = Maps::new(qkv);
    let [images, channels, tokens, one] = qkv.shape;
    let mut y = Buffer::<T>::take(qkv.length() / 3);
    of(&qkv, heads).forward(&qkv.values(), &mut y);
    maps(y, [images, channels / 3, tokens, one])
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 1> for AttentionBackward {
    type State = (FlexTensor, usize);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (qkv, heads) = ops.state;
        let [node] = ops.parents.map(|node| node.map(|node| node.id));
        let dy = gradients.consume::<Flex>(&ops.node);
        by_element!(qkv, T => {
            let dqkv = backward::<T>(qkv, heads, dy);
            register(gradients, node, dqkv);
        });
    }
}

fn backward<T: Stored>(qkv: FlexTensor, heads: usize, dy: FlexTensor) -> FlexTensor {
    let (qkv, dy) = (Maps::new(qkv), Maps::new(dy));
    let mut dqkv = Buffer::<T>::take(qkv.length());
    of(&qkv, heads).backward(&qkv.values(), &dy.values(), &mut dqkv);
    maps(dqkv, qkv.shape)
}
