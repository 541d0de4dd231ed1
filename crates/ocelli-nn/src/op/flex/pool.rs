//! Pooling: windows, and whole maps.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};
use ocelli_kernels::{
    Buffer, Pool2dShape, average_pool2d_backward, global_average_pool, global_average_pool_backward,
    global_concat_pool, global_concat_pool_backward, max_pool2d_backward,
};

use super::super::{GlobalPool, Window};
use super::{Maps, Stored, by_element, four, maps, matrix, others, parts, register, tracked, values};

pub fn pool(input: Tensor<4>, pool: GlobalPool) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::ocelli_global_pool(input.into_dispatch(), pool))
}

pub fn max_pool2d(input: Tensor<4>, window: Window) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::ocelli_max_pool2d(input.into_dispatch(), window))
}

pub fn average_pool2d(input: Tensor<4>, window: Window, count_padding: bool) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::ocelli_average_pool2d(input.into_dispatch(), window, count_padding))
}

#[backend_extension(Flex, Autodiff)]
pub trait PoolKernels: Backend {
    /// `[images, channels, height, width]` to `[images, pooled]`, in f32.
    fn ocelli_global_pool(input: FloatTensor<Self>, pool: GlobalPool) -> FloatTensor<Self>;

    /// The maximum of every window.
    fn ocelli_max_pool2d(input: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;

    /// The mean of every window.
    fn ocelli_average_pool2d(
        input: FloatTensor<Self>,
        window: Window,
        count_padding: bool,
    ) -> FloatTensor<Self>;
}

impl PoolKernels for Flex {
    fn ocelli_global_pool(input: FlexTensor, pool: GlobalPool) -> FlexTensor {
        by_element!(input, T => global::<T>(input, pool, None))
    }

    fn ocelli_max_pool2d(input: FlexTensor, window: Window) -> FlexTensor {
        by_element!(input, T => maximum::<T>(input, window, None))
    }

    fn ocelli_average_pool2d(input: FlexTensor, window: Window, count_padding: bool) -> FlexTensor {
        by_element!(input, T => average::<T>(input, window, count_padding))
    }
}

impl<C: CheckpointStrategy> PoolKernels for Autodiff<Flex, C> {
    fn ocelli_global_pool(input: FloatTensor<Self>, pool: GlobalPool) -> FloatTensor<Self> {
        let (input, node) = input.into_parts();
        match GlobalBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (shape, dtype) = (four(&input), input.dtype());
                let mut maxima = match pool {
                    GlobalPool::Average => Vec::new(),
                    GlobalPool::MaximumAndAverage => vec![0; shape[0] * shape[1]],
                };
                let output = by_element!(input, T => global::<T>(input, pool, Some(&mut maxima)));
                prepared.finish((shape, dtype, pool, Arc::new(maxima)), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::ocelli_global_pool(input, pool)),
        }
    }

    fn ocelli_max_pool2d(input: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let (input, node) = input.into_parts();
        match MaximumBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let shape = window.shape(four(&input));
                let dtype = input.dtype();
                let mut maxima = vec![0; shape.output_len()];
                let output = by_element!(input, T => maximum::<T>(input, window, Some(&mut maxima)));
                prepared.finish((shape, dtype, Arc::new(maxima)), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::ocelli_max_pool2d(input, window)),
        }
    }

    fn ocelli_average_pool2d(
        input: FloatTensor<Self>,
        window: Window,
        count_padding: bool,
    ) -> FloatTensor<Self> {
        let ([input], nodes) = parts([input]);
        let state = (window.shape(four(&input)), input.dtype(), count_padding);
        let output = Flex::ocelli_average_pool2d(input, window, count_padding);
        tracked::<C, _, 1>(AverageBackward, nodes, state, output)
    }
}

fn global<T: Stored>(input: FlexTensor, pool: GlobalPool, maxima: Option<&mut Vec<u32>>) -> FlexTensor {
    let x = Maps::new(input);
    let [images, pixels, channels] = x.sizes();
    match pool {
        GlobalPool::Average => {
            let mut y = Buffer::<f32>::take(images * channels);
            global_average_pool::<T>(images, pixels, channels, &x.values(), &mut y);
            matrix(y, [images, channels])
        }
        GlobalPool::MaximumAndAverage => {
            let mut y = Buffer::<f32>::take(images * 2 * channels);
            let maxima = maxima.map(Vec::as_mut_slice);
            global_concat_pool::<T>(images, pixels, channels, &x.values(), &mut y, maxima);
            matrix(y, [images, 2 * channels])
        }
    }
}

fn maximum<T: Stored>(input: FlexTensor, window: Window, maxima: Option<&mut Vec<u32>>) -> FlexTensor {
    let x = Maps::new(input);
    let shape = window.shape(x.shape);
    let mut y = Buffer::<T>::take(shape.output_len());
    ocelli_kernels::max_pool2d(&shape, &x.values(), &mut y, maxima.map(Vec::as_mut_slice));
    maps(y, output_of(&shape))
}

fn average<T: Stored>(input: FlexTensor, window: Window, count_padding: bool) -> FlexTensor {
    let x = Maps::new(input);
    let shape = window.shape(x.shape);
    let mut y = Buffer::<T>::take(shape.output_len());
    ocelli_kernels::average_pool2d(&shape, count_padding, &x.values(), &mut y);
    maps(y, output_of(&shape))
}

fn input_of(shape: &Pool2dShape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.in_height, shape.in_width]
}

fn output_of(shape: &Pool2dShape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.out_height(), shape.out_width()]
}

/// Whose type decides, where there is no tensor at hand.
struct Typed(DType);

impl Typed {
    fn dtype(&self) -> DType {
        self.0
    }
}

#[derive(Debug)]
struct GlobalBackward;

impl Backward<Flex, 1> for GlobalBackward {
    type State = ([usize; 4], DType, GlobalPool, Arc<Vec<u32>>);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        // A gate has its input from the maps that it scales.
        let others = match ops.state.2 {
            GlobalPool::Average => others(gradients, &ops),
            GlobalPool::MaximumAndAverage => None,
        };
        let (shape, dtype, pool, maxima) = ops.state;
        let [node] = ops.parents.map(|node| node.map(|node| node.id));
        let dx = by_element!(Typed(dtype), T => global_backward::<T>(shape, pool, &maxima, &dy, others));
        register(gradients, node, dx);
    }
}

fn global_backward<T: Stored>(
    shape: [usize; 4],
    pool: GlobalPool,
    maxima: &[u32],
    dy: &FlexTensor,
    others: Option<FlexTensor>,
) -> FlexTensor {
    let [images, channels, height, width] = shape;
    let (pixels, dy) = (height * width, values(dy));
    let mut dx = Buffer::<T>::take(images * channels * pixels);
    match pool {
        GlobalPool::Average => {
            let others = others.map(Maps::new);
            let others = others.as_ref().map(Maps::values);
            global_average_pool_backward(images, pixels, channels, &dy, others.as_deref(), &mut dx);
        }
        GlobalPool::MaximumAndAverage => {
            global_concat_pool_backward(images, pixels, channels, maxima, &dy, &mut dx);
        }
    }
    maps(dx, shape)
}

#[derive(Debug)]
struct MaximumBackward;

impl Backward<Flex, 1> for MaximumBackward {
    type State = (Pool2dShape, DType, Arc<Vec<u32>>);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (shape, dtype, maxima) = ops.state;
        let [node] = ops.parents.map(|node| node.map(|node| node.id));
        let dy = Maps::new(gradients.consume::<Flex>(&ops.node));
        let dx = by_element!(Typed(dtype), T => {
            let mut dx = Buffer::<T>::take(shape.input_len());
            max_pool2d_backward(&shape, &maxima, &dy.values(), &mut dx);
            maps(dx, input_of(&shape))
        });
        register(gradients, node, dx);
    }
}

#[derive(Debug)]
struct AverageBackward;

impl Backward<Flex, 1> for AverageBackward {
    type State = (Pool2dShape, DType, bool);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (shape, dtype, count_padding) = ops.state;
        let [node] = ops.parents.map(|node| node.map(|node| node.id));
        let dy = Maps::new(gradients.consume::<Flex>(&ops.node));
        let dx = by_element!(Typed(dtype), T => {
            let mut dx = Buffer::<T>::take(shape.input_len());
            average_pool2d_backward(&shape, count_padding, &dy.values(), &mut dx);
            maps(dx, input_of(&shape))
        });
        register(gradients, node, dx);
    }
}
