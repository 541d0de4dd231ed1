//! Pooling over whole maps.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use ocelli_kernels::{
    Buffer, global_average_pool, global_average_pool_backward, global_concat_pool,
    global_concat_pool_backward,
};

use super::has_kernels;
use super::kernel::{Incoming, KernelOp, Maps, apply, by_element, dims, maps, row_major_tensor, values};
use super::operation::Operation;
use super::trace::{self, Source};

/// How a whole map `[images, channels, height, width]` becomes one vector an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GlobalPool {
    /// The mean of every channel: `[images, channels]`.
    Average,
    /// The maximum of every channel, then the mean of every channel: `[images, 2 · channels]` (fastai's
    /// order).
    MaximumAndAverage,
}

/// Pools whole maps: `[images, channels, height, width]` to `[images, pooled]`, in f32.
pub fn global_pool(input: Tensor<4>, pool: GlobalPool) -> Tensor<2> {
    let begun = trace::begin(|| {
        let operation = match pool {
            GlobalPool::Average => Operation::GlobalAverage,
            GlobalPool::MaximumAndAverage => Operation::GlobalMaximumAndAverage,
        };
        (operation, vec![Source::of(&input)])
    });
    trace::end(begun, run(input, pool))
}

fn run(input: Tensor<4>, pool: GlobalPool) -> Tensor<2> {
    if has_kernels(&input) {
        return apply(pool, [input.into()]);
    }
    let [images, channels, height, width] = input.dims();
    let pixels = input.reshape([images, channels, height * width]);
    let average = pixels.clone().mean_dim(2).reshape([images, channels]);
    match pool {
        GlobalPool::Average => average,
        GlobalPool::MaximumAndAverage => {
            Tensor::cat(vec![pixels.max_dim(2).reshape([images, channels]), average], 1)
        }
    }
}

/// What a backward pass needs: the maps' shape and type, and where the maxima were.
#[derive(Debug, Clone)]
pub(super) struct Pooled {
    shape: [usize; 4],
    dtype: DType,
    maxima: Arc<Vec<u32>>,
}

impl KernelOp<1> for GlobalPool {
    type Saved = Pooled;

    fn forward(&self, [input]: [FlexTensor; 1]) -> FlexTensor {
        forward(*self, input, None)
    }

    fn forward_and_save(&self, [input]: [FlexTensor; 1]) -> (FlexTensor, Pooled) {
        let (shape, dtype) = (dims(&input), input.dtype());
        let mut maxima = match self {
            Self::Average => Vec::new(),
            Self::MaximumAndAverage => vec![0; shape[0] * shape[1]],
        };
        let output = forward(*self, input, Some(&mut maxima));
        (output, Pooled { shape, dtype, maxima: Arc::new(maxima) })
    }

    fn backward(&self, saved: Pooled, incoming: Incoming<1>) -> [Option<FlexTensor>; 1] {
        let Pooled { shape, dtype, maxima } = saved;
        let [images, channels, height, width] = shape;
        let (pixels, dy) = (height * width, values(&incoming.gradient));
        by_element!(dtype, T => {
            let mut dx = Buffer::<T>::take(images * channels * pixels);
            match self {
                Self::Average => {
                    let others = incoming.others.map(Maps::new);
                    let others = others.as_ref().map(Maps::values);
                    global_average_pool_backward(images, pixels, channels, &dy, others.as_deref(), &mut dx);
                }
                Self::MaximumAndAverage => {
                    global_concat_pool_backward(images, pixels, channels, &maxima, &dy, &mut dx);
                }
            }
            [Some(maps(dx, shape))]
        })
    }

    /// A gate pools the maps that it then scales.
    fn adds_others(&self) -> bool {
        *self == Self::Average
    }
}

fn forward(pool: GlobalPool, input: FlexTensor, maxima: Option<&mut Vec<u32>>) -> FlexTensor {
    let x = Maps::new(input);
    let [images, pixels, channels] = x.sizes();
    by_element!(x.tensor.dtype(), T => match pool {
        GlobalPool::Average => {
            let mut y = Buffer::<f32>::take(images * channels);
            global_average_pool::<T>(images, pixels, channels, &x.values(), &mut y);
            row_major_tensor(y, [images, channels])
        }
        GlobalPool::MaximumAndAverage => {
            let mut y = Buffer::<f32>::take(images * 2 * channels);
            let maxima = maxima.map(Vec::as_mut_slice);
            global_concat_pool::<T>(images, pixels, channels, &x.values(), &mut y, maxima);
            row_major_tensor(y, [images, 2 * channels])
        }
    })
}
