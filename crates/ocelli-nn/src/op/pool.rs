//! Pooling over windows.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{DType, Tensor, module};
use ocelli_kernels::{
    self as kernels, Buffer, Padding, Pool2dShape, average_pool2d_backward, max_pool2d_backward,
};

use super::has_kernels;
use super::kernel::{Incoming, KernelOp, Maps, apply, by_element, dims, maps};
use super::operation::{Operation, PoolWindow};
use super::trace::{self, Source};

/// The windows that slide over a map. Pairs are (rows, columns).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The size of a window.
    pub kernel: [usize; 2],
    /// The distance between two windows.
    pub stride: [usize; 2],
    /// Padding on each side of the map.
    pub padding: [usize; 2],
    /// Whether a last window that reaches beyond the map counts (PyTorch's `ceil_mode`).
    pub ceil: bool,
}

impl Window {
    /// Square windows without padding.
    pub fn new(kernel: usize, stride: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [0; 2], ceil: false }
    }

    /// With padding of that width around the map.
    pub fn padding(self, padding: usize) -> Self {
        Self { padding: [padding; 2], ..self }
    }

    /// With a last window that reaches beyond the map.
    pub fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    /// As a plain value, for maps of that shape.
    fn resolved(&self, maps: [usize; 4]) -> PoolWindow {
        let Pool2dShape { kernel, stride, padding, .. } = self.shape(maps);
        let Padding { top, left, bottom, right } = padding;
        PoolWindow { kernel, stride, padding: [top, left, bottom, right] }
    }

    /// The shape for maps `[images, channels, height, width]`.
    fn shape(&self, [batch, channels, in_height, in_width]: [usize; 4]) -> Pool2dShape {
        let beyond = |axis: usize, size: usize| {
            let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
            let rest = (size + 2 * padding - kernel) % stride;
            // A window that would begin in the padding behind the map does not count.
            let begins = size + 2 * padding - kernel - rest + stride;
            if self.ceil && rest > 0 && begins < size + padding { stride - rest } else { 0 }
        };
        let [rows, columns] = self.padding;
        let padding = Padding {
            top: rows,
            left: columns,
            bottom: rows + beyond(0, in_height),
            right: columns + beyond(1, in_width),
        };
        Pool2dShape {
            batch,
            in_height,
            in_width,
            channels,
            kernel: self.kernel,
            stride: self.stride,
            padding,
        }
    }
}

/// The maximum of every window; padding is never the maximum.
pub fn max_pool2d(input: Tensor<4>, window: Window) -> Tensor<4> {
    let begun =
        trace::begin(|| (Operation::MaxPool(window.resolved(input.dims())), vec![Source::of(&input)]));
    trace::end(begun, run_max(input, window))
}

fn run_max(input: Tensor<4>, window: Window) -> Tensor<4> {
    if has_kernels(&input) {
        return apply(MaxPool(window), [input.into()]);
    }
    let options = MaxPoolOptions::new(window.kernel)
        .with_stride(window.stride)
        .with_padding(window.padding)
        .with_ceil_mode(window.ceil);
    module::max_pool2d(input, options)
}

/// The mean of every window. Padding counts as zeros if `count_padding` (PyTorch's `count_include_pad`); what
/// lies beyond it never counts.
pub fn average_pool2d(input: Tensor<4>, window: Window, count_padding: bool) -> Tensor<4> {
    let begun = trace::begin(|| {
        let window = window.resolved(input.dims());
        (Operation::AveragePool { window, count_padding }, vec![Source::of(&input)])
    });
    trace::end(begun, run_average(input, window, count_padding))
}

/// The means of a grid of `side` rows and columns, channel by channel: `[images, channels, height, width]` to
/// `[images, channels · side²]`, in f32.
pub fn adaptive_average_pool2d(input: Tensor<4>, side: usize) -> Tensor<2> {
    let begun = trace::begin(|| (Operation::AdaptiveAverage { grid: side }, vec![Source::of(&input)]));
    let output = module::adaptive_avg_pool2d(input.cast(DType::F32), [side; 2]).flatten(1, 3);
    trace::end(begun, output)
}

fn run_average(input: Tensor<4>, window: Window, count_padding: bool) -> Tensor<4> {
    if has_kernels(&input) && !(window.ceil && count_padding) {
        return apply(AveragePool { window, count_padding }, [input.into()]);
    }
    let options = AvgPoolOptions::new(window.kernel)
        .with_stride(window.stride)
        .with_padding(window.padding)
        .with_count_include_pad(count_padding)
        .with_ceil_mode(window.ceil);
    module::avg_pool2d(input, options)
}

#[derive(Debug, Clone)]
struct MaxPool(Window);

impl MaxPool {
    fn run(&self, input: FlexTensor, maxima: Option<&mut [u32]>) -> FlexTensor {
        let x = Maps::new(input);
        let shape = self.0.shape(x.shape);
        by_element!(x.tensor.dtype(), T => {
            let mut y = Buffer::<T>::take(shape.output_len());
            kernels::max_pool2d(&shape, &x.values(), &mut y, maxima);
            maps(y, output_dims(&shape))
        })
    }
}

impl KernelOp<1> for MaxPool {
    /// The shape, the element type, and where the maxima were.
    type Saved = (Pool2dShape, DType, Arc<Vec<u32>>);

    fn forward(&self, [input]: [FlexTensor; 1]) -> FlexTensor {
        self.run(input, None)
    }

    fn forward_and_save(&self, [input]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let (shape, dtype) = (self.0.shape(dims(&input)), input.dtype());
        let mut maxima = vec![0; shape.output_len()];
        let output = self.run(input, Some(&mut maxima));
        (output, (shape, dtype, Arc::new(maxima)))
    }

    fn backward(
        &self,
        (shape, dtype, maxima): Self::Saved,
        incoming: Incoming<1>,
    ) -> [Option<FlexTensor>; 1] {
        let dy = Maps::new(incoming.gradient);
        by_element!(dtype, T => {
            let mut dx = Buffer::<T>::take(shape.input_len());
            max_pool2d_backward(&shape, &maxima, &dy.values(), &mut dx);
            [Some(maps(dx, input_dims(&shape)))]
        })
    }
}

#[derive(Debug, Clone)]
struct AveragePool {
    window: Window,
    count_padding: bool,
}

impl KernelOp<1> for AveragePool {
    type Saved = (Pool2dShape, DType);

    fn forward(&self, [input]: [FlexTensor; 1]) -> FlexTensor {
        let x = Maps::new(input);
        let shape = self.window.shape(x.shape);
        by_element!(x.tensor.dtype(), T => {
            let mut y = Buffer::<T>::take(shape.output_len());
            kernels::average_pool2d(&shape, self.count_padding, &x.values(), &mut y);
            maps(y, output_dims(&shape))
        })
    }

    fn forward_and_save(&self, [input]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let saved = (self.window.shape(dims(&input)), input.dtype());
        (self.forward([input]), saved)
    }

    fn backward(&self, (shape, dtype): Self::Saved, incoming: Incoming<1>) -> [Option<FlexTensor>; 1] {
        let dy = Maps::new(incoming.gradient);
        by_element!(dtype, T => {
            let mut dx = Buffer::<T>::take(shape.input_len());
            average_pool2d_backward(&shape, self.count_padding, &dy.values(), &mut dx);
            [Some(maps(dx, input_dims(&shape)))]
        })
    }
}

fn input_dims(shape: &Pool2dShape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.in_height, shape.in_width]
}

fn output_dims(shape: &Pool2dShape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.out_height(), shape.out_width()]
}
