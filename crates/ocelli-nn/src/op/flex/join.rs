//! Maps side by side, channel by channel.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use ocelli_kernels::{Buffer, concat_channels, slice_channels};

use super::{Maps, Stored, by_element, maps, parts, register, tracked};

pub fn join(first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::ocelli_join(first.into_dispatch(), second.into_dispatch()))
}

#[backend_extension(Flex, Autodiff)]
pub trait JoinKernels: Backend {
    /// `[images, channels of both, height, width]`
    fn ocelli_join(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl JoinKernels for Flex {
    fn ocelli_join(first: FlexTensor, second: FlexTensor) -> FlexTensor {
        by_element!(first, T => forward::<T>(first, second))
    }
}

impl<C: CheckpointStrategy> JoinKernels for Autodiff<Flex, C> {
    fn ocelli_join(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self> {
        let ([first, second], nodes) = parts([first, second]);
        let channels = [&first, &second].map(|part| super::four(part)[1]);
        tracked::<C, _, 2>(JoinBackward, nodes, channels, Flex::ocelli_join(first, second))
    }
}

fn forward<T: Stored>(first: FlexTensor, second: FlexTensor) -> FlexTensor {
    let (first, second) = (Maps::new(first), Maps::new(second));
    let ([images, of_first, height, width], [_, of_second, ..]) = (first.shape, second.shape);
    let mut y = Buffer::<T>::take(first.length() + second.length());
    concat_channels([of_first, of_second], &first.values(), &second.values(), &mut y);
    maps(y, [images, of_first + of_second, height, width])
}

#[derive(Debug)]
struct JoinBackward;

impl Backward<Flex, 2> for JoinBackward {
    type State = [usize; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_first, of_second] = ops.state;
        let dy = Maps::new(gradients.consume::<Flex>(&ops.node));
        let [images, channels, height, width] = dy.shape;
        let taken = [0..of_first, of_first..of_first + of_second];
        by_element!(dy.tensor, T => {
            let values = dy.values::<T>();
            for (parent, taken) in ops.parents.into_iter().zip(taken).filter(|(parent, _)| parent.is_some()) {
                let shape = [images, taken.len(), height, width];
                let mut dx = Buffer::<T>::take(shape.iter().product());
                slice_channels(channels, taken, &values, &mut dx);
                register(gradients, parent.map(|parent| parent.id), maps(dx, shape));
            }
        });
    }
}
