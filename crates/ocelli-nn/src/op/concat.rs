//! Concatenation of maps along their channels.

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use ocelli_kernels::{Buffer, concat_channels, slice_channels};

use super::has_kernels;
use super::kernel::{Incoming, KernelOp, Maps, apply, by_element, maps};
use super::operation::Operation;
use super::trace::{self, Source};

/// Concatenates maps `[images, channels, height, width]` along their channels.
///
/// # Panics
/// If there are none, or of different images, heights or widths.
pub fn concat(parts: Vec<Tensor<4>>) -> Tensor<4> {
    let begun = trace::begin(|| (Operation::Concat, parts.iter().map(Source::of).collect()));
    trace::end(begun, run(parts))
}

/// Concatenates features `[images, features]`.
///
/// # Panics
/// If there are none, or of different images.
pub fn concat_features(parts: Vec<Tensor<2>>) -> Tensor<2> {
    let begun = trace::begin(|| (Operation::Concat, parts.iter().map(Source::of).collect()));
    trace::end(begun, Tensor::cat(parts, 1))
}

fn run(parts: Vec<Tensor<4>>) -> Tensor<4> {
    if parts.iter().all(has_kernels) {
        let two = |first: Tensor<4>, second: Tensor<4>| apply(Concat, [first.into(), second.into()]);
        return parts.into_iter().reduce(two).expect("there are maps to concatenate");
    }
    Tensor::cat(parts, 1)
}

/// Two maps side by side.
#[derive(Debug, Clone)]
struct Concat;

impl KernelOp<2> for Concat {
    type Saved = (DType, [usize; 2]);

    fn forward(&self, inputs: [FlexTensor; 2]) -> FlexTensor {
        let [first, second] = inputs.map(Maps::new);
        let ([images, of_first, height, width], [_, of_second, ..]) = (first.shape, second.shape);
        by_element!(first.tensor.dtype(), T => {
            let mut y = Buffer::<T>::take(first.length() + second.length());
            concat_channels([of_first, of_second], &first.values(), &second.values(), &mut y);
            maps(y, [images, of_first + of_second, height, width])
        })
    }

    fn forward_and_save(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let channels = inputs.each_ref().map(|part| super::kernel::dims::<4>(part)[1]);
        let dtype = inputs[0].dtype();
        (self.forward(inputs), (dtype, channels))
    }

    fn backward(&self, (dtype, channels): Self::Saved, incoming: Incoming<2>) -> [Option<FlexTensor>; 2] {
        let [of_first, of_second] = channels;
        let dy = Maps::new(incoming.gradient);
        let [images, channels, height, width] = dy.shape;
        let part = |taken: std::ops::Range<usize>| {
            by_element!(dtype, T => {
                let shape = [images, taken.len(), height, width];
                let mut dx = Buffer::<T>::take(shape.iter().product());
                slice_channels(channels, taken, &dy.values::<T>(), &mut dx);
                maps(dx, shape)
            })
        };
        let [first, second] = incoming.needed;
        [first.then(|| part(0..of_first)), second.then(|| part(of_first..of_first + of_second))]
    }
}
