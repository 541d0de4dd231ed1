//! Tiles of maps, their transformed components, and outputs from sums of components.

use super::transforms::{F2, F4, Transforms};
use crate::{
    activation::{Activation, activate},
    buffer_pool::Buffer,
    conv::{backward_weights::PANEL_SLACK, geometry::SamplingGrid},
    element::{Element, load_lanes, store_lanes},
    isa::Isa,
    shared_mut::SharedMut,
    simd::{Kernel, Simd},
    threads,
};
use rayon::prelude::*;
use std::ops::Range;

/// The tiles of a convolution's outputs.
pub(super) struct Tiles {
    batch: usize,
    /// Of an image, in pixels.
    height: usize,
    width: usize,
    /// The side of a tile, in pixels.
    pub(super) size: usize,
    /// Tiles of a row.
    pub(super) columns: usize,
}

impl Tiles {
    pub(super) fn new(grid: &SamplingGrid, size: usize) -> Self {
        let SamplingGrid { batch, height, width, .. } = *grid;
        Tiles { batch, height, width, size, columns: width.div_ceil(size) }
    }

    /// Components of a tile.
    pub(super) fn components(&self) -> usize {
        (self.size + 2).pow(2)
    }

    /// Rows of tiles, over all images.
    pub(super) fn rows(&self) -> usize {
        self.batch * self.height.div_ceil(self.size)
    }

    /// All rows of tiles in even pieces of about this many tiles.
    pub(super) fn pieces(&self, tiles: usize) -> Vec<Range<usize>> {
        let rows = self.rows();
        let count = rows.div_ceil(tiles.div_ceil(self.columns.max(1)));
        // As many for each of two threads, or four.
        let threads = if count > 8 { 4 } else { 2 };
        let count = if count > 1 { count.next_multiple_of(threads).min(rows) } else { count };
        (0..count).map(|at| at * rows / count..(at + 1) * rows / count).collect()
    }

    /// The image of a row of tiles, and its first row therein, in pixels.
    fn image_and_row(&self, row: usize) -> (usize, usize) {
        let rows = self.height.div_ceil(self.size);
        (row / rows, row % rows * self.size)
    }

    /// The pixels of some rows of tiles, over all images.
    pub(super) fn pixels(&self, rows: Range<usize>) -> Range<usize> {
        let first = |row: usize| {
            let (image, row) = self.image_and_row(row);
            (image * self.height + row) * self.width
        };
        first(rows.start)..first(rows.end)
    }
}

/// What is transformed: inputs, or gradients with respect to outputs, `[image][row][column][channel]`.
pub struct Maps<'a, T> {
    values: &'a [T],
    height: usize,
    width: usize,
    channels: usize,
    /// The pixel that the first tile begins with.
    first: [isize; 2],
    are_gradients: bool,
}

impl<'a, T> Maps<'a, T> {
    pub(super) fn inputs(grid: &SamplingGrid, first: [isize; 2], values: &'a [T]) -> Self {
        let (height, width) = (grid.in_height, grid.in_width);
        Maps { values, height, width, channels: grid.in_channels, first, are_gradients: false }
    }

    pub(super) fn gradients(grid: &SamplingGrid, values: &'a [T]) -> Self {
        let (height, width) = (grid.height, grid.width);
        Maps { values, height, width, channels: grid.out_channels, first: [0, 0], are_gradients: true }
    }
}

/// Elements between the tiles of one component and the next, so that components do not compete for the same
/// lines of a cache.
pub(super) const COMPONENT_GAP: usize = 16;

/// Components of some tiles: `[component][tile][channel]`, with [`PANEL_SLACK`] behind the last.
pub(super) struct Transformed<T: Element> {
    pub(super) values: Buffer<T>,
    /// Elements between components.
    pub(super) stride: usize,
}

impl<T: Element> Transformed<T> {
    /// Room for some rows of tiles, with any values.
    pub(super) fn uninitialized(tiles: &Tiles, rows: usize, channels: usize) -> Self {
        let stride = rows * tiles.columns * channels + COMPONENT_GAP;
        Transformed { values: Buffer::take(tiles.components() * stride + PANEL_SLACK), stride }
    }

    /// The components of some rows of tiles.
    pub(super) fn new(isa: Isa, maps: &Maps<'_, T>, tiles: &Tiles, rows: Range<usize>) -> Self {
        let mut transformed = Self::uninitialized(tiles, rows.len(), maps.channels);
        let (stride, row_len) = (transformed.stride, tiles.columns * maps.channels);
        let (all, zeros) = (SharedMut::new(&mut transformed.values), vec![T::default(); maps.channels]);
        rows.clone().into_par_iter().with_min_len(threads::min_len(1)).for_each(|row| {
            let to = all.from((row - rows.start) * row_len);
            T::winograd_tiles(isa, TileKernel { maps, tiles, row, zeros: &zeros, to, stride });
        });
        transformed
    }
}

/// `Bᵀ d B` of a row of tiles, or `A dy Aᵀ`.
pub struct TileKernel<'a, T> {
    maps: &'a Maps<'a, T>,
    tiles: &'a Tiles,
    /// The row, over all images.
    row: usize,
    /// As many as channels.
    zeros: &'a [T],
    to: SharedMut<T>,
    /// Elements between components.
    stride: usize,
}

impl<T: Element> Kernel for TileKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S.
        unsafe {
            match (self.tiles.size == F4::OUTPUTS, self.maps.are_gradients) {
                (true, false) => self.tiles::<S, F4, false>(),
                (true, true) => self.tiles::<S, F4, true>(),
                (false, false) => self.tiles::<S, F2, false>(),
                (false, true) => self.tiles::<S, F2, true>(),
            }
        }
    }
}

impl<T: Element> TileKernel<'_, T> {
    /// The channels of a pixel, or zeros outside of the maps.
    fn pixel(&self, image: usize, row: isize, column: isize) -> *const T {
        let Maps { values, height, width, channels, .. } = *self.maps;
        // Negative numbers become large ones.
        if (row as usize) < height && (column as usize) < width {
            let pixel = (image * height + row as usize) * width + column as usize;
            values[pixel * channels..][..channels].as_ptr()
        } else {
            self.zeros.as_ptr()
        }
    }

    #[inline(always)]
    unsafe fn tiles<S: Simd, F: Transforms, const GRADIENTS: bool>(&self) {
        let size = if GRADIENTS { F::OUTPUTS } else { F::INPUTS };
        let channels = self.maps.channels;
        let (image, top) = self.tiles.image_and_row(self.row);
        let top = self.maps.first[0] + top as isize;
        let mut pixels = [[self.zeros.as_ptr(); 6]; 6];
        for tile in 0..self.tiles.columns {
            let left = self.maps.first[1] + (tile * F::OUTPUTS) as isize;
            for (row, pixels) in pixels.iter_mut().enumerate().take(size) {
                for (column, pixel) in pixels.iter_mut().enumerate().take(size) {
                    *pixel = self.pixel(image, top + row as isize, left + column as isize);
                }
            }
            let to = self.to.at(tile * channels);
            for at in (0..channels).step_by(S::LANES) {
                let lanes = S::LANES.min(channels - at);
                // SAFETY: the processor has S; each pixel has its channels, and there is room for the tile's.
                unsafe {
                    if lanes == S::LANES {
                        self.tile::<S, F, GRADIENTS, true>(&pixels, at, lanes, to.add(at));
                    } else {
                        self.tile::<S, F, GRADIENTS, false>(&pixels, at, lanes, to.add(at));
                    }
                }
            }
        }
    }

    /// # Safety
    /// The processor has S; there are `lanes` channels from `at` on, and room for them in each component.
    #[inline(always)]
    unsafe fn tile<S: Simd, F: Transforms, const GRADIENTS: bool, const WHOLE: bool>(
        &self,
        pixels: &[[*const T; 6]; 6],
        at: usize,
        lanes: usize,
        to: *mut T,
    ) {
        let size = if GRADIENTS { F::OUTPUTS } else { F::INPUTS };
        // SAFETY: the caller's promise.
        unsafe {
            // [component of the rows][column]
            let mut columns = [[S::splat(0.0); 6]; 6];
            for column in 0..size {
                let mut values = [S::splat(0.0); 6];
                for row in 0..size {
                    values[row] = load_lanes::<S, T, WHOLE>(pixels[row][column].add(at), lanes);
                }
                let components =
                    if GRADIENTS { F::output_gradient::<S>(values) } else { F::input::<S>(values) };
                for row in 0..F::INPUTS {
                    columns[row][column] = components[row];
                }
            }
            for row in 0..F::INPUTS {
                let components = if GRADIENTS {
                    F::output_gradient::<S>(columns[row])
                } else {
                    F::input::<S>(columns[row])
                };
                for column in 0..F::INPUTS {
                    let to = to.add((row * F::INPUTS + column) * self.stride);
                    store_lanes::<S, T, WHOLE>(to, lanes, components[column]);
                }
            }
        }
    }
}

/// `Aᵀ s A` of a row of tiles, and the epilogue.
pub struct OutputKernel<'a, T> {
    pub(super) grid: &'a SamplingGrid,
    pub(super) tiles: &'a Tiles,
    pub(super) row: usize,
    /// The first component of the row.
    pub(super) sums: &'a [f32],
    /// Elements between components.
    pub(super) stride: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) residual: Option<&'a [T]>,
    pub(super) activation: Activation,
    pub(super) y: SharedMut<T>,
}

impl<T: Element> Kernel for OutputKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S.
        unsafe { if self.tiles.size == F4::OUTPUTS { self.row::<S, F4>() } else { self.row::<S, F2>() } }
    }
}

impl<T: Element> OutputKernel<'_, T> {
    #[inline(always)]
    unsafe fn row<S: Simd, F: Transforms>(&self) {
        let channels = self.grid.out_channels;
        let Tiles { height, width, columns, .. } = *self.tiles;
        let (image, top) = self.tiles.image_and_row(self.row);
        let rows = (height - top).min(F::OUTPUTS);
        for tile in 0..columns {
            let size = [rows, (width - tile * F::OUTPUTS).min(F::OUTPUTS)];
            let first = ((image * height + top) * width + tile * F::OUTPUTS) * channels;
            let sums = self.sums[tile * channels..].as_ptr();
            for at in (0..channels).step_by(S::LANES) {
                let lanes = S::LANES.min(channels - at);
                // SAFETY: the processor has S; the tile has its channels in each component and in the output.
                unsafe {
                    if lanes == S::LANES {
                        self.tile::<S, F, true>(sums.add(at), at, lanes, first + at, size);
                    } else {
                        self.tile::<S, F, false>(sums.add(at), at, lanes, first + at, size);
                    }
                }
            }
        }
    }

    /// # Safety
    /// The processor has S; there are `lanes` channels from `at` on: at `sums` and in each component after
    /// it, and at `first` and in each pixel of the tile after it.
    #[inline(always)]
    unsafe fn tile<S: Simd, F: Transforms, const WHOLE: bool>(
        &self,
        sums: *const f32,
        at: usize,
        lanes: usize,
        first: usize,
        [rows, columns]: [usize; 2],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let bias = match self.bias {
                Some(bias) => load_lanes::<S, f32, WHOLE>(bias.as_ptr().add(at), lanes),
                None => S::splat(0.0),
            };
            // [row of the tile][component of the columns]
            let mut half = [[S::splat(0.0); 6]; 4];
            for column in 0..F::INPUTS {
                let mut s = [S::splat(0.0); 6];
                for row in 0..F::INPUTS {
                    let component = sums.add((row * F::INPUTS + column) * self.stride);
                    s[row] = load_lanes::<S, f32, WHOLE>(component, lanes);
                }
                let outputs = F::output::<S>(s);
                for row in 0..F::OUTPUTS {
                    half[row][column] = outputs[row];
                }
            }
            for row in 0..rows {
                let outputs = F::output::<S>(half[row]);
                for column in 0..columns {
                    let pixel = first + (row * self.tiles.width + column) * self.grid.out_channels;
                    let mut output = S::add(outputs[column], bias);
                    if let Some(residual) = self.residual {
                        let residual = load_lanes::<S, T, WHOLE>(residual.as_ptr().add(pixel), lanes);
                        output = S::add(output, residual);
                    }
                    let output = activate::<S>(self.activation, output);
                    store_lanes::<S, T, WHOLE>(self.y.at(pixel), lanes, output);
                }
            }
        }
    }
}
