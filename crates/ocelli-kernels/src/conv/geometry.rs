//! Which input pixels each output pixel reads: the geometry that all convolution kernels share.
//!
//! A forward pass is one grid of output pixels. A gradient with respect to the input is one grid for each
//! [`Phase`] of the stride. Either way a pixel sums over taps, so the same kernels compute both.

use crate::{activation::Activation, shape::Conv2dShape};

/// Where output pixels find their inputs and where they are stored: pixels form a grid in each image; pixel
/// `(row, column)` has its taps at input pixels `(row, column) · stride + tap`.
#[derive(Clone, Debug)]
pub struct SamplingGrid {
    pub batch: usize,
    pub in_height: usize,
    pub in_width: usize,
    /// Channels of an input pixel in memory, over all groups.
    pub in_channels: usize,
    pub stride: [usize; 2],
    pub taps: Vec<[isize; 2]>,
    /// Rows and columns of the grid.
    pub height: usize,
    pub width: usize,
    /// Distances between images, rows and columns of the grid in the output, and its first pixel, in pixels.
    pub out_image: usize,
    pub out_row: usize,
    pub out_column: usize,
    pub out_first: usize,
    /// Channels of an output pixel in memory, over all groups.
    pub out_channels: usize,
}

impl SamplingGrid {
    /// The grid of a forward pass: all output pixels.
    pub(crate) fn forward(shape: &Conv2dShape) -> Self {
        let (height, width) = (shape.out_height(), shape.out_width());
        SamplingGrid {
            batch: shape.batch,
            in_height: shape.in_height,
            in_width: shape.in_width,
            in_channels: shape.in_channels,
            stride: shape.stride,
            taps: TapGrid::forward(shape).offsets(),
            height,
            width,
            out_image: height * width,
            out_row: width,
            out_column: 1,
            out_first: 0,
            out_channels: shape.out_channels,
        }
    }

    /// Whether the input and output pixels are the same, one tap each.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.taps == [[0, 0]]
            && self.stride == [1, 1]
            && [self.in_height, self.in_width] == [self.height, self.width]
            && [self.out_image, self.out_row, self.out_column, self.out_first]
                == [self.height * self.width, self.width, 1, 0]
    }

    /// Pixels of all images' grids.
    pub(crate) fn pixels(&self) -> usize {
        self.batch * self.height * self.width
    }
}

/// Taps in rows and columns, at input offsets `first + i · dilation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapGrid {
    pub rows: usize,
    pub columns: usize,
    pub first: [isize; 2],
    pub dilation: [isize; 2],
}

impl TapGrid {
    /// The taps of a forward pass.
    pub(crate) fn forward(shape: &Conv2dShape) -> Self {
        TapGrid {
            rows: shape.kernel[0],
            columns: shape.kernel[1],
            first: [-(shape.padding.top as isize), -(shape.padding.left as isize)],
            dilation: shape.dilation.map(|dilation| dilation as isize),
        }
    }

    /// All taps, row by row.
    fn offsets(self) -> Vec<[isize; 2]> {
        let row = |r: usize| self.first[0] + r as isize * self.dilation[0];
        let column = |c: usize| self.first[1] + c as isize * self.dilation[1];
        (0..self.rows).flat_map(|r| (0..self.columns).map(move |c| [row(r), column(c)])).collect()
    }
}

/// What is done to the sums before they are stored: `activation(sums + bias + residual)`.
pub struct Epilogue<'a, T> {
    /// `[out_channels]`
    pub bias: Option<&'a [f32]>,
    /// Of the output's shape.
    pub residual: Option<&'a [T]>,
    pub activation: Activation,
}

/// Input pixels whose gradient sums the same kernel taps: with stride s, every s-th row and column.
pub(crate) struct Phase {
    pub(crate) grid: SamplingGrid,
    pub(crate) taps: TapGrid,
    /// Kernel rows and columns of the taps.
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Phase {
    /// Which of the kernel's taps is in this row and column of the phase's taps.
    pub(crate) fn kernel_tap_at(&self, shape: &Conv2dShape, row: usize, column: usize) -> usize {
        self.rows[row] * shape.kernel[1] + self.columns[column]
    }

    /// The kernel's taps in the order of the phase's.
    pub(crate) fn kernel_taps(&self, shape: &Conv2dShape) -> Vec<usize> {
        (0..self.rows.len())
            .flat_map(|row| (0..self.columns.len()).map(move |column| (row, column)))
            .map(|(row, column)| self.kernel_tap_at(shape, row, column))
            .collect()
    }
}

/// The gradient of a convolution with stride s with respect to its input is s² convolutions of `dy` with
/// stride 1, each with some of the taps.
pub(crate) fn phases(shape: &Conv2dShape) -> Vec<Phase> {
    let row_axis = phase_axis(shape.kernel[0], shape.stride[0], shape.dilation[0], shape.padding.top);
    let column_axis = phase_axis(shape.kernel[1], shape.stride[1], shape.dilation[1], shape.padding.left);
    let mut phases = Vec::new();
    for (first_row, rows) in row_axis.iter().enumerate().take(shape.in_height) {
        for (first_column, columns) in column_axis.iter().enumerate().take(shape.in_width) {
            let dilation = [rows, columns].map(|axis| match axis[..] {
                [(_, first), (_, second), ..] => second - first,
                _ => 1,
            });
            let first = [rows, columns].map(|axis| axis.first().map_or(0, |(_, offset)| *offset));
            let taps = TapGrid { rows: rows.len(), columns: columns.len(), first, dilation };
            let grid = SamplingGrid {
                batch: shape.batch,
                in_height: shape.out_height(),
                in_width: shape.out_width(),
                in_channels: shape.out_channels,
                stride: [1, 1],
                taps: taps.offsets(),
                height: (shape.in_height - first_row).div_ceil(shape.stride[0]),
                width: (shape.in_width - first_column).div_ceil(shape.stride[1]),
                out_image: shape.in_height * shape.in_width,
                out_row: shape.stride[0] * shape.in_width,
                out_column: shape.stride[1],
                out_first: first_row * shape.in_width + first_column,
                out_channels: shape.in_channels,
            };
            let [rows, columns] = [rows, columns].map(|axis| axis.iter().map(|(tap, _)| *tap).collect());
            phases.push(Phase { grid, taps, rows, columns });
        }
    }
    phases
}

/// For each phase of an axis, its kernel taps and their offsets in `dy`, in ascending order of the offsets.
fn phase_axis(kernel: usize, stride: usize, dilation: usize, padding: usize) -> Vec<Vec<(usize, isize)>> {
    (0..stride)
        .map(|first| {
            let distance = |tap: usize| (first + padding) as isize - (tap * dilation) as isize;
            let taps = (0..kernel).rev().filter(|tap| distance(*tap) % stride as isize == 0);
            taps.map(|tap| (tap, distance(tap) / stride as isize)).collect()
        })
        .collect()
}
