//! A factor for each channel of each image.

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use ocelli_kernels::{self as kernels, Buffer};

use super::has_kernels;
use super::kernel::{Incoming, KernelOp, Maps, apply, by_element, maps, row_major_tensor, values};
use super::operation::Operation;
use super::trace::{self, Source};

/// Each channel of each image times a factor (squeeze and excitation): `[images, channels, height, width]`
/// and `[images, channels]`.
pub fn scale_channels(input: Tensor<4>, factors: Tensor<2>) -> Tensor<4> {
    let begun = trace::begin(|| (Operation::ScaleChannels, vec![Source::of(&input), Source::of(&factors)]));
    trace::end(begun, run(input, factors))
}

fn run(input: Tensor<4>, factors: Tensor<2>) -> Tensor<4> {
    if has_kernels(&input) {
        return apply(ScaleChannels, [input.into(), factors.into()]);
    }
    let [images, channels] = factors.dims();
    input * factors.reshape([images, channels, 1, 1])
}

#[derive(Debug, Clone)]
struct ScaleChannels;

impl KernelOp<2> for ScaleChannels {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [input, factors]: [FlexTensor; 2]) -> FlexTensor {
        let x = Maps::new(input);
        let [images, pixels, channels] = x.sizes();
        by_element!(x.tensor.dtype(), T => {
            let mut y = Buffer::<T>::take(x.length());
            kernels::scale_channels(images, pixels, channels, &x.values(), &values(&factors), &mut y);
            maps(y, x.shape)
        })
    }

    fn forward_and_save(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        (self.forward(inputs.clone()), inputs)
    }

    fn backward(&self, [input, factors]: Self::Saved, incoming: Incoming<2>) -> [Option<FlexTensor>; 2] {
        let (x, dy) = (Maps::new(input), Maps::new(incoming.gradient));
        let [images, pixels, channels] = x.sizes();
        let mut dfactors = Buffer::<f32>::take(images * channels);
        let dx = by_element!(x.tensor.dtype(), T => {
            let mut dx = Buffer::<T>::take(x.length());
            kernels::scale_channels_backward(
                images,
                pixels,
                channels,
                &x.values(),
                &values(&factors),
                &dy.values(),
                &mut dx,
                &mut dfactors,
            );
            maps(dx, x.shape)
        });
        [Some(dx), Some(row_major_tensor(dfactors, [images, channels]))]
    }
}
