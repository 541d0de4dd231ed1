//! Pooling over windows, and factors for channels.

use burn::tensor::Tensor;
use ocelli_kernels::{Padding, Pool2dShape};

use super::{composed, flex, has_kernels};

/// The windows that slide over a map. Pairs are (rows, columns).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The size of a window.
    pub kernel: [usize; 2],
    /// The distance between two windows.
    pub stride: [usize; 2],
    /// The border on each side of the map.
    pub padding: [usize; 2],
    /// Whether a last window that reaches beyond the map counts (PyTorch's `ceil_mode`).
    pub ceil: bool,
}

impl Window {
    /// Square windows without border.
    pub fn new(kernel: usize, stride: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [0; 2], ceil: false }
    }

    /// With a border of that width around the map.
    pub fn padding(self, padding: usize) -> Self {
        Self { padding: [padding; 2], ..self }
    }

    /// With a last window that reaches beyond the map.
    pub fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    /// The shape for maps `[images, channels, height, width]`.
    pub(super) fn shape(&self, [batch, channels, in_height, in_width]: [usize; 4]) -> Pool2dShape {
        let beyond = |axis: usize, size: usize| {
            let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
            let rest = (size + 2 * padding - kernel) % stride;
            // A window that would begin in the border behind the map is none.
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

/// The maximum of every window; the border is never the maximum.
pub fn max_pool2d(input: Tensor<4>, window: Window) -> Tensor<4> {
    if has_kernels(&input) { flex::max_pool2d(input, window) } else { composed::max_pool2d(input, window) }
}

/// The mean of every window. The border counts as zeros if `count_padding` (PyTorch's `count_include_pad`), and what
/// lies beyond it never does.
pub fn average_pool2d(input: Tensor<4>, window: Window, count_padding: bool) -> Tensor<4> {
    if has_kernels(&input) && !(window.ceil && count_padding) {
        flex::average_pool2d(input, window, count_padding)
    } else {
        composed::average_pool2d(input, window, count_padding)
    }
}

/// Each channel of each image times a factor (squeeze and excitation): `[images, channels, height, width]` and
/// `[images, channels]`.
pub fn scale_channels(input: Tensor<4>, factors: Tensor<2>) -> Tensor<4> {
    if has_kernels(&input) {
        flex::scale_channels(input, factors)
    } else {
        composed::scale_channels(input, factors)
    }
}
