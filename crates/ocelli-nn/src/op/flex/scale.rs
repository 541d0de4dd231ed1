//! A factor for each channel of each image.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use ocelli_kernels::Buffer;

use super::{Maps, Stored, by_element, maps, matrix, parts, register, tracked, values};

pub fn scale_channels(input: Tensor<4>, factors: Tensor<2>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::ocelli_scale_channels(input.into_dispatch(), factors.into_dispatch()))
}

#[backend_extension(Flex, Autodiff)]
pub trait ScaleKernels: Backend {
    /// `[images, channels, height, width]` times `[images, channels]`.
    fn ocelli_scale_channels(input: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl ScaleKernels for Flex {
    fn ocelli_scale_channels(input: FlexTensor, factors: FlexTensor) -> FlexTensor {
        by_element!(input, T => forward::<T>(input, &factors))
    }
}

impl<C: CheckpointStrategy> ScaleKernels for Autodiff<Flex, C> {
    fn ocelli_scale_channels(input: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self> {
        let ([input, factors], nodes) = parts([input, factors]);
        let state = (input.clone(), factors.clone());
        tracked::<C, _, 2>(ScaleBackward, nodes, state, Flex::ocelli_scale_channels(input, factors))
    }
}

fn forward<T: Stored>(input: FlexTensor, factors: &FlexTensor) -> FlexTensor {
    let x = Maps::new(input);
    let [images, pixels, channels] = x.sizes();
    let mut y = Buffer::<T>::take(x.length());
    ocelli_kernels::scale_channels(images, pixels, channels, &x.values(), &values(factors), &mut y);
    maps(y, x.shape)
}

#[derive(Debug)]
struct ScaleBackward;

impl Backward<Flex, 2> for ScaleBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (input, factors) = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let dy = gradients.consume::<Flex>(&ops.node);
        by_element!(input, T => {
            let all = backward::<T>(input, &factors, dy);
            nodes.into_iter().zip(all).for_each(|(node, gradient)| register(gradients, node, gradient));
        });
    }
}

fn backward<T: Stored>(input: FlexTensor, factors: &FlexTensor, dy: FlexTensor) -> [FlexTensor; 2] {
    let (x, dy) = (Maps::new(input), Maps::new(dy));
    let [images, pixels, channels] = x.sizes();
    let mut dx = Buffer::<T>::take(x.length());
    let mut dfactors = Buffer::<f32>::take(images * channels);
    ocelli_kernels::scale_channels_backward(
        images,
        pixels,
        channels,
        &x.values(),
        &values(factors),
        &dy.values(),
        &mut dx,
        &mut dfactors,
    );
    [maps(dx, x.shape), matrix(dfactors, [images, channels])]
}
