//! Dense 3×3 convolutions of stride 1 with fewer multiplications: Winograd's F(2×2, 3×3) (Lavin and Gray 2015,
//! "Fast Algorithms for Convolutional Neural Networks").
//!
//! A tile of 2×2 outputs sees 4×4 inputs `d`. These and each filter `g` are transformed to 16 places, `Bᵀ d B` and
//! `G g Gᵀ`, multiplied place by place, and summed over the channels: 16 products instead of 36. `Aᵀ m A` of the sums
//! is the tile. So each place has a matrix product of its own. The gradient of the filters takes the same steps
//! transposed: `Gᵀ (Σ A dy Aᵀ · Bᵀ d B) G`.
//!
//! In forward passes a tile's sums have the order of the channels, however the work is cut.

use super::{
    dense::{Epilogue, Geometry, PackedDense, WeightSource},
    weights::{BroadcastWidths, Run, SLACK, Side, SumKernel},
};
use crate::{
    Activation, Buffer, Conv2dShape, Element, Isa,
    element::{load_lanes, store_lanes},
    memory::{Scratch, SharedMut},
    simd::{self, Kernel, Simd},
    threads,
};
use rayon::prelude::*;
use std::{marker::PhantomData, ops::Range};

/// Products of a tile.
const PLACES: usize = 16;

/// With fewer channels on either side the transforms take longer than the products that they save.
const CHANNELS: usize = 16;

/// Tiles that are computed together at least: so often are the transformed filters used when they are read.
const TILES: usize = 64;

/// Words between the places of a piece, beyond its tiles: so that they do not meet in the same lines of a cache.
const APART: usize = 16;

/// Whether a convolution is computed in this way. In bf16 it is not: the transformed values would be rounded.
pub(super) fn is_for<T: Element>(shape: &Conv2dShape) -> bool {
    !T::BF16
        && shape.groups == 1
        && [shape.kernel, shape.stride, shape.dilation] == [[3, 3], [1, 1], [1, 1]]
        && shape.in_channels.min(shape.out_channels) >= CHANNELS
}

/// Transformed filters, a matrix for each place.
#[derive(Clone, Debug)]
pub(crate) struct PackedWinograd {
    isa: Isa,
    places: Vec<PackedDense>,
}

impl PackedWinograd {
    /// Of a source with nine taps and one group.
    pub(super) fn pack(isa: Isa, source: &WeightSource<'_>) -> Self {
        let channels = [source.group_in, source.group_out];
        let places = PackedDense::pointwise(isa, channels, PLACES, |block, inputs, word| {
            // [tap][output of the block]
            let mut filters = [[0.0; 48]; 9];
            for input in inputs {
                for output in 0..block.count {
                    let filter = &source.weights[source.start(0, block.first + output, input)..];
                    let scale = source.scale(0, block.first + output);
                    for (values, tap) in filters.iter_mut().zip(&source.taps) {
                        values[output] = filter[*tap] * scale;
                    }
                }
                let to = std::array::from_fn(|place| word(place, input).cast());
                simd::run_on(isa, FilterKernel { filters: &filters, vectors: block.vectors, to });
            }
        });
        PackedWinograd { isa, places }
    }

    /// Computes all pixels, and calls `then` with each piece of the output while it is in a cache. `first`: where the
    /// input of the first tap of output pixel (0, 0) is. Pieces depend on the shape alone.
    pub(super) fn run<T: Element, R: Send>(
        &self,
        geometry: &Geometry,
        first: [isize; 2],
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: &mut [T],
        then: impl Fn(&[T]) -> R + Sync,
    ) -> Vec<R> {
        let tiles = Tiles::of(geometry);
        let pieces = tiles.pieces(TILES);
        let y = SharedMut::new(y);
        // SAFETY: pieces of rows are disjoint.
        let done = |rows: Range<usize>| unsafe {
            let pixels = tiles.pixels(rows);
            &*y.slice(pixels.start * geometry.out_channels, pixels.len() * geometry.out_channels)
        };
        let run = |rows: Range<usize>| self.run_rows(geometry, &tiles, first, x, epilogue, y, rows);
        if pieces.len() < rayon::current_num_threads() {
            run(0..tiles.rows());
            return pieces.into_par_iter().map(|rows| then(done(rows))).collect();
        }
        let pieces = pieces.into_par_iter().with_min_len(threads::least(1));
        pieces
            .map(|rows| {
                threads::alone(|| run(rows.clone()));
                then(done(rows))
            })
            .collect()
    }

    #[allow(clippy::too_many_arguments)] // from where, to where, and how much
    fn run_rows<T: Element>(
        &self,
        geometry: &Geometry,
        tiles: &Tiles,
        first: [isize; 2],
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: SharedMut<T>,
        rows: Range<usize>,
    ) {
        let count = rows.len() * tiles.columns;
        let transformed = Places::of_inputs(self.isa, geometry, tiles, first, x, rows.clone(), 0);
        let mut sums = Places::<T>::new(count, geometry.out_channels, 0);
        let (step, all) = (sums.step, SharedMut::new(&mut sums.values));
        let matrix = Geometry {
            batch: 1,
            in_height: 1,
            in_width: count,
            in_channels: geometry.in_channels,
            step: [1, 1],
            taps: vec![[0, 0]],
            grid_height: 1,
            grid_width: count,
            out_image: count,
            out_row: count,
            out_column: 1,
            out_first: 0,
            out_channels: geometry.out_channels,
        };
        let nothing = Epilogue { bias: None, residual: None, activation: Activation::None };
        let places = self.places.par_iter().enumerate().with_min_len(threads::least(1));
        places.for_each(|(place, packed)| {
            let x = &transformed.values[place * transformed.step..][..count * geometry.in_channels];
            // SAFETY: places are disjoint.
            unsafe {
                let y = SharedMut::new(all.slice(place * step, count * geometry.out_channels));
                packed.run_piece(&matrix, x, &nothing, y, 0..count);
            }
        });
        rows.clone().into_par_iter().with_min_len(threads::least(1)).for_each(|row| {
            let kernel = OutputKernel {
                geometry,
                tiles,
                row,
                sums: &sums.values[(row - rows.start) * tiles.columns * geometry.out_channels..],
                step,
                bias: epilogue.bias,
                residual: epilogue.residual,
                activation: epilogue.activation,
                y,
            };
            T::winograd_outputs(self.isa, kernel);
        });
    }
}

/// The gradient with respect to the weights, `[out, in, 3, 3]`. `geometry` and `first`: of the forward pass.
pub(super) fn backward_weights<T: Element>(
    isa: Isa,
    geometry: &Geometry,
    first: [isize; 2],
    x: &[T],
    dy: &[T],
    dw: &mut [f32],
) {
    let (inputs, outputs) = (geometry.in_channels, geometry.out_channels);
    let vector_block = if inputs <= simd::lanes(isa) { 1 } else { 2 } * simd::lanes(isa);
    let broadcast_block = BroadcastWidths::best(isa, outputs);
    let (vectors, broadcasts) = (inputs.div_ceil(vector_block), outputs.div_ceil(broadcast_block));
    let row_len = vectors * vector_block;
    // [place][output][input]
    let place_len = broadcasts * broadcast_block * row_len;
    let mut sums = Scratch::take(PLACES * place_len);
    let all = SharedMut::new(sums.as_mut_slice());
    let tiles = Tiles::of(geometry);
    // A place's values of both sides fit into the cache of a core, unless the sums would be read too often then.
    let at_once = (256 * 1024 / size_of::<f32>() / (inputs + outputs)).max(4 * TILES);
    for (at, rows) in tiles.pieces(at_once).into_iter().enumerate() {
        let runs = [Run { input: 0, output: 0, count: rows.len() * tiles.columns }];
        let x = Places::of_inputs(isa, geometry, &tiles, first, x, rows.clone(), SLACK);
        let dy = Places::of_gradients(isa, geometry, &tiles, dy, rows, SLACK);
        let side = |places: &Places<T>, channels: usize, at: usize| Side {
            start: places.values[at..].as_ptr().cast(),
            pixel: channels,
            step: channels,
        };
        (0..PLACES * vectors).into_par_iter().with_min_len(threads::least(1)).for_each(|item| {
            let (place, vector) = (item / vectors, item % vectors * vector_block);
            for broadcast in (0..outputs).step_by(broadcast_block) {
                let kernel = SumKernel {
                    runs: &runs,
                    vector: side(&x, inputs, place * x.step + vector),
                    broadcast: side(&dy, outputs, place * dy.step + broadcast),
                    vector_is_output: false,
                    vector_block,
                    broadcast_block,
                    sums: all.at(place * place_len + broadcast * row_len + vector).cast(),
                    sum_step: row_len,
                    adds: at > 0,
                    element: PhantomData::<T>,
                };
                T::sum_products(isa, kernel);
            }
        });
    }
    let sums: &[u32] = sums.as_mut_slice();
    dw.par_chunks_exact_mut(inputs * 9).enumerate().with_min_len(threads::least(1)).for_each(
        |(output, dw)| {
            let kernel = SlopeKernel { sums: &sums[output * row_len..], step: place_len, inputs, dw };
            simd::run_on(isa, kernel);
        },
    );
}

/// The tiles of a convolution's outputs.
struct Tiles {
    batch: usize,
    /// Of an image, in pixels.
    height: usize,
    width: usize,
    /// Tiles of a row.
    columns: usize,
}

impl Tiles {
    fn of(geometry: &Geometry) -> Self {
        let (batch, height, width) = (geometry.batch, geometry.grid_height, geometry.grid_width);
        Tiles { batch, height, width, columns: width.div_ceil(2) }
    }

    /// Rows of tiles, over all images.
    fn rows(&self) -> usize {
        self.batch * self.height.div_ceil(2)
    }

    /// All rows of tiles in even pieces of about so many tiles.
    fn pieces(&self, tiles: usize) -> Vec<Range<usize>> {
        let rows = self.rows();
        let count = rows.div_ceil(tiles.div_ceil(self.columns.max(1)));
        // An even number of them, for two threads, or four.
        let count =
            if count > 1 { count.next_multiple_of(if count > 8 { 4 } else { 2 }).min(rows) } else { count };
        (0..count).map(|at| at * rows / count..(at + 1) * rows / count).collect()
    }

    /// An image, and the first row of a row of tiles therein, in pixels.
    fn place(&self, row: usize) -> (usize, usize) {
        let rows = self.height.div_ceil(2);
        (row / rows, row % rows * 2)
    }

    /// The pixels of some rows of tiles, over all images.
    fn pixels(&self, rows: Range<usize>) -> Range<usize> {
        let first = |row: usize| {
            let (image, row) = self.place(row);
            (image * self.height + row) * self.width
        };
        first(rows.start)..first(rows.end)
    }
}

/// Transformed values of some tiles: `[place][tile][channel]`.
struct Places<T: Element> {
    values: Buffer<T>,
    /// Elements between places.
    step: usize,
}

impl<T: Element> Places<T> {
    /// Of any values, with room behind the last.
    fn new(tiles: usize, channels: usize, slack: usize) -> Self {
        let step = tiles * channels + APART;
        Places { values: Buffer::take(PLACES * step + slack), step }
    }

    fn of_inputs(
        isa: Isa,
        geometry: &Geometry,
        tiles: &Tiles,
        first: [isize; 2],
        x: &[T],
        rows: Range<usize>,
        slack: usize,
    ) -> Self {
        let channels = geometry.in_channels;
        let zeros = vec![T::default(); channels];
        Self::of_rows(tiles, channels, rows, slack, |row, to, step| {
            let (image, top) = tiles.place(row);
            let kernel = InputKernel { geometry, tiles, image, top, first, x, zeros: &zeros, to, step };
            T::winograd_inputs(isa, kernel);
        })
    }

    fn of_gradients(
        isa: Isa,
        geometry: &Geometry,
        tiles: &Tiles,
        dy: &[T],
        rows: Range<usize>,
        slack: usize,
    ) -> Self {
        let channels = geometry.out_channels;
        let zeros = vec![T::default(); channels];
        Self::of_rows(tiles, channels, rows, slack, |row, to, step| {
            let (image, top) = tiles.place(row);
            let kernel = GradientKernel { tiles, image, top, dy, channels, zeros: &zeros, to, step };
            T::winograd_gradients(isa, kernel);
        })
    }

    /// Filled row by row: `fill` gets a row, where its values of the first place go, and the elements between places.
    fn of_rows(
        tiles: &Tiles,
        channels: usize,
        rows: Range<usize>,
        slack: usize,
        fill: impl Fn(usize, SharedMut<T>, usize) + Sync,
    ) -> Self {
        let mut places = Self::new(rows.len() * tiles.columns, channels, slack);
        let (step, row_len) = (places.step, tiles.columns * channels);
        let all = SharedMut::new(&mut places.values);
        rows.clone().into_par_iter().with_min_len(threads::least(1)).for_each(|row| {
            fill(row, all.from((row - rows.start) * row_len), step);
        });
        places
    }
}

/// `G g Gᵀ` of an input's filters.
struct FilterKernel<'a> {
    /// `[tap][output]`
    filters: &'a [[f32; 48]; 9],
    vectors: usize,
    /// A row of words of each place, as long as the vectors.
    to: [*mut f32; PLACES],
}

impl Kernel for FilterKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S; filters have room for three vectors, the words for as many as there are.
        unsafe {
            for at in (0..self.vectors * S::LANES).step_by(S::LANES) {
                let mut columns = [[S::splat(0.0); 4]; 3];
                for column in 0..3 {
                    let g0 = S::load(self.filters[column].as_ptr().add(at));
                    let g1 = S::load(self.filters[3 + column].as_ptr().add(at));
                    let g2 = S::load(self.filters[6 + column].as_ptr().add(at));
                    columns[column] = spread_filter::<S>(g0, g1, g2);
                }
                for row in 0..4 {
                    let places = spread_filter::<S>(columns[0][row], columns[1][row], columns[2][row]);
                    for column in 0..4 {
                        S::store(self.to[row * 4 + column].add(at), places[column]);
                    }
                }
            }
        }
    }
}

/// `G` times a column of three.
///
/// # Safety
/// The processor has S.
#[inline(always)]
unsafe fn spread_filter<S: Simd>(a: S::V, b: S::V, c: S::V) -> [S::V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let (half, ends) = (S::splat(0.5), S::add(a, c));
        [a, S::mul(half, S::add(ends, b)), S::mul(half, S::sub(ends, b)), c]
    }
}

/// `Bᵀ d B` of a row of tiles.
pub struct InputKernel<'a, T> {
    geometry: &'a Geometry,
    tiles: &'a Tiles,
    image: usize,
    /// First row of the tiles, in pixels of the output.
    top: usize,
    first: [isize; 2],
    x: &'a [T],
    /// As many as channels.
    zeros: &'a [T],
    to: SharedMut<T>,
    /// Elements between places.
    step: usize,
}

impl<T: Element> Kernel for InputKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Geometry { in_height, in_width, in_channels: channels, .. } = *self.geometry;
        let whole = channels / S::LANES * S::LANES;
        for column in 0..self.tiles.columns {
            let pixel = |row: usize, at: usize| {
                let row = self.first[0] + (self.top + row) as isize;
                let column = self.first[1] + (column * 2 + at) as isize;
                // Negative numbers become large ones.
                if (row as usize) < in_height && (column as usize) < in_width {
                    let pixel = (self.image * in_height + row as usize) * in_width + column as usize;
                    self.x[pixel * channels..][..channels].as_ptr()
                } else {
                    self.zeros.as_ptr()
                }
            };
            let pixels: [[*const T; 4]; 4] =
                std::array::from_fn(|row| std::array::from_fn(|at| pixel(row, at)));
            let to = self.to.at(column * channels);
            for at in (0..whole).step_by(S::LANES) {
                // SAFETY: the processor has S; each pixel has its channels, and there is room for the tile's.
                unsafe { transform_inputs::<S, T, true>(&pixels, at, S::LANES, to.add(at), self.step) };
            }
            if whole < channels {
                // SAFETY: as above.
                unsafe {
                    transform_inputs::<S, T, false>(
                        &pixels,
                        whole,
                        channels - whole,
                        to.add(whole),
                        self.step,
                    );
                }
            }
        }
    }
}

/// # Safety
/// The processor has S; there are `lanes` channels from `at` on, and room for them at each place.
#[inline(always)]
unsafe fn transform_inputs<S: Simd, T: Element, const WHOLE: bool>(
    pixels: &[[*const T; 4]; 4],
    at: usize,
    lanes: usize,
    to: *mut T,
    step: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // A row of places at a time: all at once would take more registers than there are.
        for row in 0..4 {
            let [from, other] = [[0, 2], [1, 2], [2, 1], [1, 3]][row];
            let mut d = [S::splat(0.0); 4];
            for column in 0..4 {
                let a = load_lanes::<S, T, WHOLE>(pixels[from][column].add(at), lanes);
                let b = load_lanes::<S, T, WHOLE>(pixels[other][column].add(at), lanes);
                d[column] = if row == 1 { S::add(a, b) } else { S::sub(a, b) };
            }
            let places = [S::sub(d[0], d[2]), S::add(d[1], d[2]), S::sub(d[2], d[1]), S::sub(d[1], d[3])];
            for column in 0..4 {
                store_lanes::<S, T, WHOLE>(to.add((row * 4 + column) * step), lanes, places[column]);
            }
        }
    }
}

/// `A dy Aᵀ` of a row of tiles.
pub struct GradientKernel<'a, T> {
    tiles: &'a Tiles,
    image: usize,
    top: usize,
    dy: &'a [T],
    channels: usize,
    /// As many as channels.
    zeros: &'a [T],
    to: SharedMut<T>,
    /// Elements between places.
    step: usize,
}

impl<T: Element> Kernel for GradientKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Tiles { height, width, .. } = *self.tiles;
        for column in 0..self.tiles.columns {
            let pixel = |row: usize, column: usize| {
                if row < height && column < width {
                    let pixel = (self.image * height + row) * width + column;
                    self.dy[pixel * self.channels..][..self.channels].as_ptr()
                } else {
                    self.zeros.as_ptr()
                }
            };
            let pixels = [0, 1].map(|row| [0, 1].map(|at| pixel(self.top + row, column * 2 + at)));
            let to = self.to.at(column * self.channels);
            for at in (0..self.channels).step_by(S::LANES) {
                let lanes = S::LANES.min(self.channels - at);
                // SAFETY: the processor has S; each pixel has its channels, and there is room for the tile's.
                unsafe {
                    if lanes == S::LANES {
                        transform_gradients::<S, T, true>(&pixels, at, lanes, to.add(at), self.step);
                    } else {
                        transform_gradients::<S, T, false>(&pixels, at, lanes, to.add(at), self.step);
                    }
                }
            }
        }
    }
}

/// # Safety
/// The processor has S; there are `lanes` channels from `at` on, and room for them at each place.
#[inline(always)]
unsafe fn transform_gradients<S: Simd, T: Element, const WHOLE: bool>(
    pixels: &[[*const T; 2]; 2],
    at: usize,
    lanes: usize,
    to: *mut T,
    step: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut columns = [[S::splat(0.0); 4]; 2];
        for column in 0..2 {
            let above = load_lanes::<S, T, WHOLE>(pixels[0][column].add(at), lanes);
            let below = load_lanes::<S, T, WHOLE>(pixels[1][column].add(at), lanes);
            columns[column] = spread::<S>(above, below);
        }
        for row in 0..4 {
            let places = spread::<S>(columns[0][row], columns[1][row]);
            for column in 0..4 {
                store_lanes::<S, T, WHOLE>(to.add((row * 4 + column) * step), lanes, places[column]);
            }
        }
    }
}

/// `A` times a column of two.
///
/// # Safety
/// The processor has S.
#[inline(always)]
unsafe fn spread<S: Simd>(a: S::V, b: S::V) -> [S::V; 4] {
    // SAFETY: the caller's promise.
    unsafe { [a, S::add(a, b), S::sub(a, b), S::sub(S::splat(0.0), b)] }
}

/// `Aᵀ m A` of a row of tiles, and what follows a convolution.
pub struct OutputKernel<'a, T> {
    geometry: &'a Geometry,
    tiles: &'a Tiles,
    row: usize,
    /// The first place of the row.
    sums: &'a [T],
    /// Elements between places.
    step: usize,
    bias: Option<&'a [f32]>,
    residual: Option<&'a [T]>,
    activation: Activation,
    y: SharedMut<T>,
}

impl<T: Element> Kernel for OutputKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.geometry.out_channels;
        let whole = channels / S::LANES * S::LANES;
        let (image, top) = self.tiles.place(self.row);
        let rows = (self.tiles.height - top).min(2);
        for column in 0..self.tiles.columns {
            let size = [rows, (self.tiles.width - column * 2).min(2)];
            let first = ((image * self.tiles.height + top) * self.tiles.width + column * 2) * channels;
            let sums = self.sums[column * channels..].as_ptr();
            for at in (0..whole).step_by(S::LANES) {
                // SAFETY: the processor has S; the tile has its channels at each place and in the output.
                unsafe { self.tile::<S, true>(sums.add(at), at, S::LANES, first + at, size) };
            }
            if whole < channels {
                // SAFETY: as above.
                unsafe {
                    self.tile::<S, false>(sums.add(whole), whole, channels - whole, first + whole, size)
                };
            }
        }
    }
}

impl<T: Element> OutputKernel<'_, T> {
    /// # Safety
    /// The processor has S; there are `lanes` channels from `at` on, at `sums` and so in each place, and at `first` and
    /// so in each pixel of the tile.
    #[inline(always)]
    unsafe fn tile<S: Simd, const WHOLE: bool>(
        &self,
        sums: *const T,
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
            for row in 0..rows {
                let mut m = [S::splat(0.0); 4];
                for column in 0..4 {
                    let place = sums.add((row * 4 + column) * self.step);
                    let a = load_lanes::<S, T, WHOLE>(place, lanes);
                    let b = load_lanes::<S, T, WHOLE>(place.add(4 * self.step), lanes);
                    let c = load_lanes::<S, T, WHOLE>(place.add(8 * self.step), lanes);
                    m[column] = if row == 0 { S::add(S::add(a, b), c) } else { S::sub(S::sub(a, b), c) };
                }
                let outputs = [S::add(S::add(m[0], m[1]), m[2]), S::sub(S::sub(m[1], m[2]), m[3])];
                for column in 0..columns {
                    let pixel = first + (row * self.tiles.width + column) * self.geometry.out_channels;
                    let mut output = S::add(outputs[column], bias);
                    if let Some(residual) = self.residual {
                        let residual = load_lanes::<S, T, WHOLE>(residual.as_ptr().add(pixel), lanes);
                        output = S::add(output, residual);
                    }
                    let output = simd::activate::<S>(self.activation, output);
                    store_lanes::<S, T, WHOLE>(self.y.at(pixel), lanes, output);
                }
            }
        }
    }
}

/// `Gᵀ s G` of an output's sums.
struct SlopeKernel<'a> {
    /// The first place, `[input]`, with whole vectors.
    sums: &'a [u32],
    /// Words between places.
    step: usize,
    inputs: usize,
    /// `[input][tap]`
    dw: &'a mut [f32],
}

impl Kernel for SlopeKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S; there are whole vectors at each place.
        unsafe {
            let mut stage = [[0.0f32; 16]; 9];
            for at in (0..self.inputs).step_by(S::LANES) {
                let sums = self.sums[at..].as_ptr().cast::<f32>();
                let mut columns = [[S::splat(0.0); 3]; 4];
                for column in 0..4 {
                    let mut s = [S::splat(0.0); 4];
                    for row in 0..4 {
                        s[row] = S::load(sums.add((row * 4 + column) * self.step));
                    }
                    columns[column] = gather::<S>(s);
                }
                for row in 0..3 {
                    let s = [columns[0][row], columns[1][row], columns[2][row], columns[3][row]];
                    let taps = gather::<S>(s);
                    for column in 0..3 {
                        S::store(stage[row * 3 + column].as_mut_ptr(), taps[column]);
                    }
                }
                let inputs = S::LANES.min(self.inputs - at);
                for (input, dw) in self.dw[at * 9..].chunks_exact_mut(9).enumerate().take(inputs) {
                    for (dw, stage) in dw.iter_mut().zip(&stage) {
                        *dw = stage[input];
                    }
                }
            }
        }
    }
}

/// `Gᵀ` times a column of four.
///
/// # Safety
/// The processor has S.
#[inline(always)]
unsafe fn gather<S: Simd>(s: [S::V; 4]) -> [S::V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let half = S::splat(0.5);
        let (sum, difference) = (S::mul(half, S::add(s[1], s[2])), S::mul(half, S::sub(s[1], s[2])));
        [S::add(s[0], sum), difference, S::add(sum, s[3])]
    }
}
