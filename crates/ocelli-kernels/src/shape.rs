//! Shapes of convolution and pooling, their output sizes and what makes them invalid.

use thiserror::Error;

/// Rows and columns of zeros around an image; asymmetric where TensorFlow's "same" needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns on the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns on the right.
    pub right: usize,
}

impl Padding {
    /// The same padding on all four sides, as PyTorch's integer `padding`.
    pub const fn uniform(size: usize) -> Self {
        Padding { top: size, left: size, bottom: size, right: size }
    }

    /// TensorFlow's "same": the output has `ceil(input / stride)` rows and columns, and the odd row or column
    /// of zeros goes below and on the right.
    pub fn same(input: [usize; 2], kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2]) -> Self {
        let total = |axis: usize| {
            let reach = dilation[axis] * (kernel[axis].max(1) - 1) + 1;
            let output = input[axis].div_ceil(stride[axis].max(1));
            ((output.max(1) - 1) * stride[axis] + reach).saturating_sub(input[axis])
        };
        let (rows, columns) = (total(0), total(1));
        Padding { top: rows / 2, left: columns / 2, bottom: rows - rows / 2, right: columns - columns / 2 }
    }
}

/// Why a shape cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// A size that must be positive is zero.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// Channels do not divide into the groups.
    #[error("{channels} {which} do not divide into {groups} groups")]
    Groups {
        /// "input channels" or "output channels".
        which: &'static str,
        /// Their number.
        channels: usize,
        /// The number of groups.
        groups: usize,
    },
    /// The kernel does not fit into the padded image.
    #[error(
        "a kernel that spans {reach} {axis} does not fit into an image of {padded} {axis} with its padding"
    )]
    KernelTooLarge {
        /// "rows" or "columns".
        axis: &'static str,
        /// Rows or columns that the dilated kernel spans.
        reach: usize,
        /// Rows or columns of the padded image.
        padded: usize,
    },
    /// More elements than can be addressed.
    #[error("the shape has more elements than can be addressed")]
    TooLarge,
}

/// The shape of a 2-D convolution (cross-correlation, as everywhere in deep learning).
///
/// Input `[batch, in_height, in_width, in_channels]` (NHWC, contiguous), weights
/// `[out_channels, in_channels / groups, kernel[0], kernel[1]]` (OIHW, PyTorch's order), output
/// `[batch, out_height, out_width, out_channels]`. Pairs are (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dShape {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub in_height: usize,
    /// Columns of an input image.
    pub in_width: usize,
    /// Channels of the input, over all groups.
    pub in_channels: usize,
    /// Channels of the output, over all groups.
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Distance between output pixels, in input pixels.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// Distance between kernel taps, in input pixels.
    pub dilation: [usize; 2],
    /// Groups of channels that do not mix; `in_channels` for a depthwise convolution.
    pub groups: usize,
}

impl Conv2dShape {
    /// Checks that the shape can be computed: only the batch may be zero, groups divide the channels, the
    /// kernel fits. The kernels panic on shapes for which this is an error.
    pub fn validate(&self) -> Result<(), ShapeError> {
        for (name, value) in [
            ("image height", self.in_height),
            ("image width", self.in_width),
            ("number of input channels", self.in_channels),
            ("number of output channels", self.out_channels),
            ("number of groups", self.groups),
        ] {
            if value == 0 {
                return Err(ShapeError::Zero(name));
            }
        }
        for (which, channels) in
            [("input channels", self.in_channels), ("output channels", self.out_channels)]
        {
            if channels % self.groups != 0 {
                return Err(ShapeError::Groups { which, channels, groups: self.groups });
            }
        }
        validate_window(
            [self.in_height, self.in_width],
            self.kernel,
            self.stride,
            self.dilation,
            self.padding,
        )?;
        let sizes = [
            [self.batch, self.in_height, self.in_width, self.in_channels],
            [self.batch, self.out_height(), self.out_width(), self.out_channels],
            [self.out_channels, self.in_channels, self.kernel[0], self.kernel[1]],
        ];
        for size in sizes {
            let elements = size.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
            // 8: the widest element, and room for padding inside of the kernels.
            if elements.and_then(|n| n.checked_mul(8)).is_none_or(|bytes| bytes > isize::MAX as usize) {
                return Err(ShapeError::TooLarge);
            }
        }
        Ok(())
    }

    /// Rows of an output image.
    pub fn out_height(&self) -> usize {
        let padded = self.in_height + self.padding.top + self.padding.bottom;
        window_count(padded, self.kernel[0], self.stride[0], self.dilation[0])
    }

    /// Columns of an output image.
    pub fn out_width(&self) -> usize {
        let padded = self.in_width + self.padding.left + self.padding.right;
        window_count(padded, self.kernel[1], self.stride[1], self.dilation[1])
    }

    /// Elements of the input: `batch · in_height · in_width · in_channels`.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_height * self.in_width * self.in_channels
    }

    /// Elements of the output: `batch · out_height · out_width · out_channels`.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Elements of the weights: `out_channels · in_channels / groups · kernel[0] · kernel[1]`.
    pub fn weight_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Whether each group has one input channel.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels
    }

    /// Multiplications and additions of one forward pass, those with padding included.
    pub fn flops(&self) -> f64 {
        2.0 * self.output_len() as f64 * (self.weight_len() / self.out_channels) as f64
    }

    pub(crate) fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    pub(crate) fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Panics with the reason if the shape is invalid.
    #[track_caller]
    pub(crate) fn assert_valid(&self) {
        if let Err(error) = self.validate() {
            panic!("invalid convolution shape {self:?}: {error}");
        }
    }
}

/// The shape of a pooling window over `[batch, in_height, in_width, channels]` (NHWC, contiguous).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2dShape {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub in_height: usize,
    /// Columns of an input image.
    pub in_width: usize,
    /// Channels.
    pub channels: usize,
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Border around the input: never the maximum.
    pub padding: Padding,
}

impl Pool2dShape {
    /// Checks that nothing but the batch is zero, that the window fits, and that no window lies in padding
    /// alone.
    pub fn validate(&self) -> Result<(), ShapeError> {
        for (name, value) in [
            ("image height", self.in_height),
            ("image width", self.in_width),
            ("number of channels", self.channels),
        ] {
            if value == 0 {
                return Err(ShapeError::Zero(name));
            }
        }
        validate_window([self.in_height, self.in_width], self.kernel, self.stride, [1, 1], self.padding)?;
        let border = [self.padding.top.max(self.padding.bottom), self.padding.left.max(self.padding.right)];
        for (axis, name) in ["rows", "columns"].into_iter().enumerate() {
            if border[axis] >= self.kernel[axis] {
                return Err(ShapeError::KernelTooLarge {
                    axis: name,
                    reach: border[axis] + 1,
                    padded: self.kernel[axis],
                });
            }
        }
        if self.in_height.checked_mul(self.in_width).is_none_or(|pixels| pixels > u32::MAX as usize) {
            return Err(ShapeError::TooLarge);
        }
        Ok(())
    }

    /// Rows of an output image.
    pub fn out_height(&self) -> usize {
        window_count(
            self.in_height + self.padding.top + self.padding.bottom,
            self.kernel[0],
            self.stride[0],
            1,
        )
    }

    /// Columns of an output image.
    pub fn out_width(&self) -> usize {
        window_count(
            self.in_width + self.padding.left + self.padding.right,
            self.kernel[1],
            self.stride[1],
            1,
        )
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_height * self.in_width * self.channels
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.channels
    }

    #[track_caller]
    pub(crate) fn assert_valid(&self) {
        if let Err(error) = self.validate() {
            panic!("invalid pooling shape {self:?}: {error}");
        }
    }
}

fn window_count(padded: usize, kernel: usize, stride: usize, dilation: usize) -> usize {
    (padded - (dilation * (kernel - 1) + 1)) / stride + 1
}

fn validate_window(
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
) -> Result<(), ShapeError> {
    for axis in 0..2 {
        for (name, value) in
            [("kernel size", kernel[axis]), ("stride", stride[axis]), ("dilation", dilation[axis])]
        {
            if value == 0 {
                return Err(ShapeError::Zero(name));
            }
            if value > 1 << 20 || input[axis] > 1 << 40 {
                return Err(ShapeError::TooLarge);
            }
        }
    }
    if [padding.top, padding.left, padding.bottom, padding.right].into_iter().any(|size| size > 1 << 20) {
        return Err(ShapeError::TooLarge);
    }
    let padded = [input[0] + padding.top + padding.bottom, input[1] + padding.left + padding.right];
    for (axis, name) in ["rows", "columns"].into_iter().enumerate() {
        let reach = dilation[axis] * (kernel[axis] - 1) + 1;
        if reach > padded[axis] {
            return Err(ShapeError::KernelTooLarge { axis: name, reach, padded: padded[axis] });
        }
    }
    Ok(())
}

#[track_caller]
pub(crate) fn assert_len<T>(name: &str, slice: &[T], expected: usize) {
    assert!(slice.len() == expected, "{name} has {} elements, its shape has {expected}", slice.len());
}
