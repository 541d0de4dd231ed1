//! Dense 3×3 convolutions of stride 1 with fewer multiplications: Winograd's minimal filtering (Lavin and Gray 2015,
//! "Fast Algorithms for Convolutional Neural Networks").
//!
//! A tile of m×m outputs sees (m + 2)×(m + 2) inputs `d`. These and each filter `g` are transformed to as many places,
//! `Bᵀ d B` and `G g Gᵀ`, multiplied place by place, and summed over the channels; `Aᵀ s A` of the sums is the tile. So
//! each place has a matrix product of its own, of tiles and channels. With m = 4 that takes 36 products for what takes
//! 144 otherwise, with m = 2 it takes 16 for 36. The gradient of the filters takes the same steps transposed:
//! `Gᵀ (Σ A dy Aᵀ · Bᵀ d B) G`.
//!
//! In forward passes a tile's sums have the order of the channels, however the work is cut.

use super::{
    dense::{Epilogue, Geometry, PackedDense, WeightSource},
    weights::{BroadcastWidths, PanelKernel, Run, SLACK, Side, SumKernel},
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

/// With fewer channels on either side the transforms take longer than the products that they save.
fn least_channels<T: Element>() -> usize {
    if T::BF16 { 32 } else { 16 }
}

/// Pairs of inputs and outputs above which tiles are small: the transformed filters of large ones take four times the
/// memory of the filters, which are as large as the images then.
const PAIRS: usize = 256 * 256;

/// Tiles that are computed together at least: so often are the transformed filters used when they are read.
const TOGETHER: usize = 48;

/// Words between the places of a piece, beyond its tiles: so that they do not meet in the same lines of a cache.
const APART: usize = 16;

/// Whether a convolution is computed in this way.
pub(super) fn is_for<T: Element>(shape: &Conv2dShape) -> bool {
    let channels = [shape.in_channels, shape.out_channels];
    shape.groups == 1
        && [shape.kernel, shape.stride, shape.dilation] == [[3, 3], [1, 1], [1, 1]]
        && channels
            .iter()
            .all(|channels| *channels >= least_channels::<T>() && channels.is_multiple_of(T::PER_WORD))
}

/// The side of a convolution's tiles in pixels of the output. Large tiles would lose more digits than bf16 has.
fn side_of<T: Element>(inputs: usize, outputs: usize) -> usize {
    if T::BF16 || inputs * outputs > PAIRS { Two::OUT } else { Four::OUT }
}

/// The transforms of one dimension, of a tile that has [`Transforms::OUT`] outputs and two inputs more. Arrays have room
/// for the largest.
trait Transforms {
    const OUT: usize;
    /// Inputs, and places.
    const PLACES: usize = Self::OUT + 2;

    /// `Bᵀ d`
    ///
    /// # Safety
    /// The processor has S; so for the following.
    unsafe fn inputs<S: Simd>(d: [S::V; 6]) -> [S::V; 6];
    /// `G g`
    unsafe fn filter<S: Simd>(g: [S::V; 3]) -> [S::V; 6];
    /// `Aᵀ s`
    unsafe fn outputs<S: Simd>(s: [S::V; 6]) -> [S::V; 4];
    /// `A dy`
    unsafe fn gradients<S: Simd>(dy: [S::V; 6]) -> [S::V; 6];
    /// `Gᵀ s`
    unsafe fn slopes<S: Simd>(s: [S::V; 6]) -> [S::V; 3];
}

/// F(2, 3), by the points 0, 1, -1 and infinity.
struct Two;

// SAFETY of all blocks here and below: the processor has S, by the trait's contract.
impl Transforms for Two {
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn inputs<S: Simd>([d0, d1, d2, d3, ..]: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let none = S::splat(0.0);
            [S::sub(d0, d2), S::add(d1, d2), S::sub(d2, d1), S::sub(d1, d3), none, none]
        }
    }

    #[inline(always)]
    unsafe fn filter<S: Simd>([g0, g1, g2]: [S::V; 3]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let (half, ends, none) = (S::splat(0.5), S::add(g0, g2), S::splat(0.0));
            [g0, S::mul(half, S::add(ends, g1)), S::mul(half, S::sub(ends, g1)), g2, none, none]
        }
    }

    #[inline(always)]
    unsafe fn outputs<S: Simd>([s0, s1, s2, s3, ..]: [S::V; 6]) -> [S::V; 4] {
        // SAFETY: see above.
        unsafe {
            let none = S::splat(0.0);
            [S::add(s0, S::add(s1, s2)), S::sub(S::sub(s1, s2), s3), none, none]
        }
    }

    #[inline(always)]
    unsafe fn gradients<S: Simd>([dy0, dy1, ..]: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let none = S::splat(0.0);
            [dy0, S::add(dy0, dy1), S::sub(dy0, dy1), S::sub(none, dy1), none, none]
        }
    }

    #[inline(always)]
    unsafe fn slopes<S: Simd>([s0, s1, s2, s3, ..]: [S::V; 6]) -> [S::V; 3] {
        // SAFETY: see above.
        unsafe {
            let half = S::splat(0.5);
            let (sum, difference) = (S::mul(half, S::add(s1, s2)), S::mul(half, S::sub(s1, s2)));
            [S::add(s0, sum), difference, S::add(sum, s3)]
        }
    }
}

/// F(4, 3), by the points 0, 1, -1, 1/2, -2 and infinity: these lose fewer digits than the usual 0, ±1, ±2 (Barabasz
/// et al. 2020, "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks").
struct Four;

impl Transforms for Four {
    const OUT: usize = 4;

    #[inline(always)]
    unsafe fn inputs<S: Simd>([d0, d1, d2, d3, d4, d5]: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let factor = S::splat(1.5);
            let (even, odd) = (S::sub(d4, d2), S::sub(d3, d1));
            [
                S::fma(factor, odd, S::add(S::sub(d0, d2), even)),
                S::fma(factor, S::add(d2, d3), S::add(even, odd)),
                S::fma(factor, S::sub(d3, d2), S::sub(even, odd)),
                S::fma(S::splat(2.0), odd, even),
                S::fma(S::splat(-0.5), odd, even),
                S::fma(factor, even, S::sub(S::sub(d5, d3), odd)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn filter<S: Simd>([g0, g1, g2]: [S::V; 3]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let (third, ends) = (S::splat(1.0 / 3.0), S::add(g0, g2));
            let at_half = S::fma(S::splat(0.5), g1, S::fma(S::splat(0.25), g2, g0));
            let at_two = S::fma(S::splat(-2.0), g1, S::fma(S::splat(4.0), g2, g0));
            [
                g0,
                S::mul(third, S::add(g1, ends)),
                S::mul(third, S::sub(g1, ends)),
                S::mul(S::splat(-16.0 / 15.0), at_half),
                S::mul(S::splat(1.0 / 15.0), at_two),
                g2,
            ]
        }
    }

    #[inline(always)]
    unsafe fn outputs<S: Simd>([s0, s1, s2, s3, s4, s5]: [S::V; 6]) -> [S::V; 4] {
        // SAFETY: see above.
        unsafe {
            let (sum, difference) = (S::add(s1, s2), S::sub(s1, s2));
            [
                S::add(S::add(s0, sum), S::add(s3, s4)),
                S::fma(S::splat(-2.0), s4, S::fma(S::splat(0.5), s3, difference)),
                S::fma(S::splat(4.0), s4, S::fma(S::splat(0.25), s3, sum)),
                S::fma(S::splat(-8.0), s4, S::fma(S::splat(0.125), s3, S::add(difference, s5))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn gradients<S: Simd>([dy0, dy1, dy2, dy3, ..]: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let (even, odd) = (S::add(dy0, dy2), S::add(dy1, dy3));
            let half = S::fma(S::splat(0.25), dy2, dy0);
            let two = S::fma(S::splat(4.0), dy2, dy0);
            [
                dy0,
                S::add(even, odd),
                S::sub(even, odd),
                S::fma(S::splat(0.5), dy1, S::fma(S::splat(0.125), dy3, half)),
                S::fma(S::splat(-2.0), dy1, S::fma(S::splat(-8.0), dy3, two)),
                dy3,
            ]
        }
    }

    #[inline(always)]
    unsafe fn slopes<S: Simd>([s0, s1, s2, s3, s4, s5]: [S::V; 6]) -> [S::V; 3] {
        // SAFETY: see above.
        unsafe {
            let third = S::splat(1.0 / 3.0);
            let (sum, difference) = (S::mul(third, S::add(s1, s2)), S::mul(third, S::sub(s1, s2)));
            let half = S::mul(S::splat(-16.0 / 15.0), s3);
            let two = S::mul(S::splat(1.0 / 15.0), s4);
            [
                S::add(S::add(s0, difference), S::add(half, two)),
                S::fma(S::splat(0.5), half, S::fma(S::splat(-2.0), two, sum)),
                S::fma(S::splat(0.25), half, S::fma(S::splat(4.0), two, S::add(difference, s5))),
            ]
        }
    }
}

/// Transformed filters, a matrix for each place.
#[derive(Clone, Debug)]
pub(crate) struct PackedWinograd {
    isa: Isa,
    /// Of the tiles.
    side: usize,
    places: Vec<PackedDense>,
}

impl PackedWinograd {
    /// Of a source with nine taps and one group.
    pub(super) fn pack<T: Element>(isa: Isa, source: &WeightSource<'_>) -> Self {
        let channels = [source.group_in, source.group_out];
        let side = side_of::<T>(source.group_in, source.group_out);
        let count = (side + 2).pow(2);
        let taps: [usize; 9] = source.taps[..].try_into().expect("nine taps");
        let places = PackedDense::pointwise::<T>(isa, channels, count, |block, inputs, word| {
            let mut to = [std::ptr::null_mut(); 36];
            for (place, to) in to.iter_mut().enumerate().take(count) {
                *to = word(place, inputs.start);
            }
            let width = block.vectors * simd::lanes(isa);
            // [input of the word][tap][output of the block]
            let mut filters = [[[0.0; 48]; 9]; 2];
            for (at, first) in inputs.step_by(T::PER_WORD).enumerate() {
                for (input, filters) in filters.iter_mut().enumerate().take(T::PER_WORD) {
                    for output in 0..block.count {
                        let start = source.start(0, block.first + output, first + input);
                        let weights: &[f32; 9] = source.weights[start..].first_chunk().expect("nine weights");
                        let scale = source.scale(0, block.first + output);
                        for (values, tap) in filters.iter_mut().zip(taps) {
                            values[output] = weights[tap] * scale;
                        }
                    }
                }
                let (vectors, element) = (block.vectors, PhantomData::<T>);
                let kernel =
                    FilterKernel { filters: &filters, vectors, side, to: &to, first: at * width, element };
                T::winograd_filters(isa, kernel);
            }
        });
        PackedWinograd { isa, side, places }
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
        let tiles = Tiles::of(geometry, self.side);
        let pieces = tiles.pieces(TOGETHER);
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
        let transformed = Places::of(self.isa, &Maps::inputs(geometry, first, x), tiles, rows.clone());
        let mut sums = Places::<f32>::new(tiles, rows.len(), geometry.out_channels);
        let (step, all) = (sums.step, SharedMut::new(&mut sums.values));
        self.places.par_iter().enumerate().with_min_len(threads::least(1)).for_each(|(place, packed)| {
            // SAFETY: places are disjoint.
            let sums = unsafe { all.slice(place * step, count * geometry.out_channels) };
            packed.products(&transformed.values[place * transformed.step..], sums);
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
    let is_one_vector = inputs <= simd::lanes(isa);
    let vector_block = if is_one_vector { 1 } else { 2 } * simd::lanes(isa);
    let broadcast_block = BroadcastWidths::best(isa, is_one_vector, outputs);
    let (vectors, broadcasts) = (inputs.div_ceil(vector_block), outputs.div_ceil(broadcast_block));
    let row_len = vectors * vector_block;
    // [place][output][input]
    let place_len = broadcasts * broadcast_block * row_len;
    let tiles = Tiles::of(geometry, side_of::<T>(inputs, outputs));
    let mut sums = Scratch::take(tiles.places() * place_len);
    let all = SharedMut::new(sums.as_mut_slice());
    // A place's values of both sides fit into the cache of a core, unless the sums would be read too often then.
    let at_once = (256 * 1024 / size_of::<f32>() / (inputs + outputs)).max(4 * TOGETHER);
    for (at, rows) in tiles.pieces(at_once).into_iter().enumerate() {
        let x = Places::of(isa, &Maps::inputs(geometry, first, x), &tiles, rows.clone());
        let dy = Places::of(isa, &Maps::gradients(geometry, dy), &tiles, rows.clone());
        let count = rows.len() * tiles.columns;
        let (x, dy) = (Words::of(isa, x, count, inputs), Words::of(isa, dy, count, outputs));
        let runs = [Run { input: 0, output: 0, count: count.div_ceil(T::PER_WORD) }];
        (0..tiles.places() * vectors).into_par_iter().with_min_len(threads::least(1)).for_each(|item| {
            let (place, vector) = (item / vectors, item % vectors * vector_block);
            for broadcast in (0..outputs).step_by(broadcast_block) {
                let kernel = SumKernel {
                    runs: &runs,
                    vector: x.side(place, vector),
                    broadcast: dy.side(place, broadcast),
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
            let kernel = SlopeKernel {
                sums: &sums[output * row_len..],
                step: place_len,
                side: tiles.side,
                inputs,
                dw,
            };
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
    /// Of a tile, in pixels.
    side: usize,
    /// Tiles of a row.
    columns: usize,
}

impl Tiles {
    fn of(geometry: &Geometry, side: usize) -> Self {
        let (batch, height, width) = (geometry.batch, geometry.grid_height, geometry.grid_width);
        Tiles { batch, height, width, side, columns: width.div_ceil(side) }
    }

    fn places(&self) -> usize {
        (self.side + 2).pow(2)
    }

    /// Rows of tiles, over all images.
    fn rows(&self) -> usize {
        self.batch * self.height.div_ceil(self.side)
    }

    /// All rows of tiles in even pieces of about so many tiles.
    fn pieces(&self, tiles: usize) -> Vec<Range<usize>> {
        let rows = self.rows();
        let count = rows.div_ceil(tiles.div_ceil(self.columns.max(1)));
        // As many for each of two threads, or four.
        let threads = if count > 8 { 4 } else { 2 };
        let count = if count > 1 { count.next_multiple_of(threads).min(rows) } else { count };
        (0..count).map(|at| at * rows / count..(at + 1) * rows / count).collect()
    }

    /// An image, and the first row of a row of tiles therein, in pixels.
    fn place(&self, row: usize) -> (usize, usize) {
        let rows = self.height.div_ceil(self.side);
        (row / rows, row % rows * self.side)
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
    fn inputs(geometry: &Geometry, first: [isize; 2], values: &'a [T]) -> Self {
        let (height, width) = (geometry.in_height, geometry.in_width);
        Maps { values, height, width, channels: geometry.in_channels, first, are_gradients: false }
    }

    fn gradients(geometry: &Geometry, values: &'a [T]) -> Self {
        let (height, width) = (geometry.grid_height, geometry.grid_width);
        Maps { values, height, width, channels: geometry.out_channels, first: [0, 0], are_gradients: true }
    }
}

/// Values of some tiles: `[place][tile][channel]`, with [`SLACK`] behind the last.
struct Places<T: Element> {
    values: Buffer<T>,
    /// Elements between places.
    step: usize,
}

impl<T: Element> Places<T> {
    /// Of any values.
    fn new(tiles: &Tiles, rows: usize, channels: usize) -> Self {
        let step = rows * tiles.columns * channels + APART;
        Places { values: Buffer::take(tiles.places() * step + SLACK), step }
    }

    /// Transformed ones of some rows of tiles.
    fn of(isa: Isa, maps: &Maps<'_, T>, tiles: &Tiles, rows: Range<usize>) -> Self {
        let mut places = Self::new(tiles, rows.len(), maps.channels);
        let (step, row_len) = (places.step, tiles.columns * maps.channels);
        let (all, zeros) = (SharedMut::new(&mut places.values), vec![T::default(); maps.channels]);
        rows.clone().into_par_iter().with_min_len(threads::least(1)).for_each(|row| {
            let to = all.from((row - rows.start) * row_len);
            T::winograd_tiles(isa, TileKernel { maps, tiles, row, zeros: &zeros, to, step });
        });
        places
    }
}

/// Transformed values as words, of which those of bf16 pair tiles of the first half with those of the second: sums over
/// tiles are sums over words then.
struct Words<T: Element> {
    places: Places<T>,
    /// Of pairs.
    pairs: Option<Scratch>,
    /// Words between places.
    step: usize,
    channels: usize,
}

impl<T: Element> Words<T> {
    fn of(isa: Isa, places: Places<T>, tiles: usize, channels: usize) -> Self {
        if !T::BF16 {
            return Words { step: places.step, places, pairs: None, channels };
        }
        let (low, high) = (tiles.div_ceil(2), tiles / 2);
        let step = low * channels + APART;
        let count = places.values.len() / places.step;
        let mut words = Scratch::take(count * step + SLACK);
        let all = SharedMut::new(words.as_mut_slice());
        (0..count).into_par_iter().with_min_len(threads::least(1)).for_each(|place| {
            let values = &places.values[place * places.step..];
            let pair = |tiles: Range<usize>, paired: bool| PanelKernel {
                low: &values[tiles.start * channels..],
                high: paired.then(|| &values[(low + tiles.start) * channels..]),
                groups: 1,
                group: channels,
                block: channels,
                pixels: tiles.len(),
                words: all,
                first: place * step + tiles.start * channels,
                step,
            };
            T::copy_panels(isa, pair(0..high, true));
            T::copy_panels(isa, pair(high..low, false));
        });
        Words { places, pairs: Some(words), step, channels }
    }

    /// The tiles' channels of a place, from one on.
    fn side(&self, place: usize, channel: usize) -> Side {
        let start = match &self.pairs {
            Some(words) => words.as_ptr(),
            None => self.places.values.as_ptr().cast(),
        };
        let start = start.wrapping_add(place * self.step + channel);
        Side { start, pixel: self.channels, step: self.channels }
    }
}

/// `G g Gᵀ` of an input's filters, or of two inputs' in bf16.
pub struct FilterKernel<'a, T> {
    /// `[input of a word][tap][output]`
    filters: &'a [[[f32; 48]; 9]; 2],
    vectors: usize,
    /// Of the tiles.
    side: usize,
    /// Where the words of a place go, from the first one on: as many as the vectors hold.
    to: &'a [*mut u32; 36],
    first: usize,
    element: PhantomData<T>,
}

impl<T: Element> Kernel for FilterKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S.
        unsafe {
            if self.side == Four::OUT { self.transform::<S, Four>() } else { self.transform::<S, Two>() }
        }
    }
}

impl<T: Element> FilterKernel<'_, T> {
    #[inline(always)]
    unsafe fn transform<S: Simd, F: Transforms>(&self) {
        // The values of a vector, of each input of a word.
        let mut stage = [[[T::default(); 16]; 36]; 2];
        for at in (0..self.vectors * S::LANES).step_by(S::LANES) {
            // SAFETY: the processor has S; filters have room for three vectors, the words for as many as there are.
            unsafe {
                for input in 0..T::PER_WORD {
                    let mut columns = [[S::splat(0.0); 6]; 3];
                    for column in 0..3 {
                        let mut g = [S::splat(0.0); 3];
                        for row in 0..3 {
                            g[row] = S::load(self.filters[input][row * 3 + column].as_ptr().add(at));
                        }
                        columns[column] = F::filter::<S>(g);
                    }
                    for row in 0..F::PLACES {
                        let places = F::filter::<S>([columns[0][row], columns[1][row], columns[2][row]]);
                        for column in 0..F::PLACES {
                            let place = row * F::PLACES + column;
                            if T::BF16 {
                                T::store::<S>(stage[input][place].as_mut_ptr(), places[column]);
                            } else {
                                S::store(self.to[place].add(self.first + at).cast(), places[column]);
                            }
                        }
                    }
                }
                if T::BF16 {
                    for place in 0..F::PLACES * F::PLACES {
                        let [low, high] = [0, 1].map(|input: usize| stage[input][place].as_ptr());
                        let words = S::load_pairs(low.cast(), high.cast());
                        S::store(self.to[place].add(self.first + at).cast(), words);
                    }
                }
            }
        }
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
    /// Elements between places.
    step: usize,
}

impl<T: Element> Kernel for TileKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S.
        unsafe {
            match (self.tiles.side == Four::OUT, self.maps.are_gradients) {
                (true, false) => self.tiles::<S, Four, false>(),
                (true, true) => self.tiles::<S, Four, true>(),
                (false, false) => self.tiles::<S, Two, false>(),
                (false, true) => self.tiles::<S, Two, true>(),
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
        let seen = if GRADIENTS { F::OUT } else { F::PLACES };
        let channels = self.maps.channels;
        let (image, top) = self.tiles.place(self.row);
        let top = self.maps.first[0] + top as isize;
        let mut pixels = [[self.zeros.as_ptr(); 6]; 6];
        for tile in 0..self.tiles.columns {
            let left = self.maps.first[1] + (tile * F::OUT) as isize;
            for (row, pixels) in pixels.iter_mut().enumerate().take(seen) {
                for (column, pixel) in pixels.iter_mut().enumerate().take(seen) {
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
    /// The processor has S; there are `lanes` channels from `at` on, and room for them at each place.
    #[inline(always)]
    unsafe fn tile<S: Simd, F: Transforms, const GRADIENTS: bool, const WHOLE: bool>(
        &self,
        pixels: &[[*const T; 6]; 6],
        at: usize,
        lanes: usize,
        to: *mut T,
    ) {
        let seen = if GRADIENTS { F::OUT } else { F::PLACES };
        // SAFETY: the caller's promise.
        unsafe {
            // [place of the rows][column]
            let mut columns = [[S::splat(0.0); 6]; 6];
            for column in 0..seen {
                let mut values = [S::splat(0.0); 6];
                for row in 0..seen {
                    values[row] = load_lanes::<S, T, WHOLE>(pixels[row][column].add(at), lanes);
                }
                let places = if GRADIENTS { F::gradients::<S>(values) } else { F::inputs::<S>(values) };
                for row in 0..F::PLACES {
                    columns[row][column] = places[row];
                }
            }
            for row in 0..F::PLACES {
                let places =
                    if GRADIENTS { F::gradients::<S>(columns[row]) } else { F::inputs::<S>(columns[row]) };
                for column in 0..F::PLACES {
                    store_lanes::<S, T, WHOLE>(
                        to.add((row * F::PLACES + column) * self.step),
                        lanes,
                        places[column],
                    );
                }
            }
        }
    }
}

/// `Aᵀ s A` of a row of tiles, and what follows a convolution.
pub struct OutputKernel<'a, T> {
    geometry: &'a Geometry,
    tiles: &'a Tiles,
    row: usize,
    /// The first place of the row.
    sums: &'a [f32],
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
        // SAFETY: the processor has S.
        unsafe { if self.tiles.side == Four::OUT { self.row::<S, Four>() } else { self.row::<S, Two>() } }
    }
}

impl<T: Element> OutputKernel<'_, T> {
    #[inline(always)]
    unsafe fn row<S: Simd, F: Transforms>(&self) {
        let channels = self.geometry.out_channels;
        let Tiles { height, width, columns, .. } = *self.tiles;
        let (image, top) = self.tiles.place(self.row);
        let rows = (height - top).min(F::OUT);
        for tile in 0..columns {
            let size = [rows, (width - tile * F::OUT).min(F::OUT)];
            let first = ((image * height + top) * width + tile * F::OUT) * channels;
            let sums = self.sums[tile * channels..].as_ptr();
            for at in (0..channels).step_by(S::LANES) {
                let lanes = S::LANES.min(channels - at);
                // SAFETY: the processor has S; the tile has its channels at each place and in the output.
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
    /// The processor has S; there are `lanes` channels from `at` on, at `sums` and so in each place, and at `first` and
    /// so in each pixel of the tile.
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
            // [row of the tile][place of the columns]
            let mut half = [[S::splat(0.0); 6]; 4];
            for column in 0..F::PLACES {
                let mut s = [S::splat(0.0); 6];
                for row in 0..F::PLACES {
                    let place = sums.add((row * F::PLACES + column) * self.step);
                    s[row] = load_lanes::<S, f32, WHOLE>(place, lanes);
                }
                let outputs = F::outputs::<S>(s);
                for row in 0..F::OUT {
                    half[row][column] = outputs[row];
                }
            }
            for row in 0..rows {
                let outputs = F::outputs::<S>(half[row]);
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
    /// Of the tiles.
    side: usize,
    inputs: usize,
    /// `[input][tap]`
    dw: &'a mut [f32],
}

impl Kernel for SlopeKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        // SAFETY: the processor has S.
        unsafe {
            if self.side == Four::OUT { self.transform::<S, Four>() } else { self.transform::<S, Two>() }
        }
    }
}

impl SlopeKernel<'_> {
    #[inline(always)]
    unsafe fn transform<S: Simd, F: Transforms>(&mut self) {
        let mut stage = [[0.0f32; 16]; 9];
        for at in (0..self.inputs).step_by(S::LANES) {
            let sums = self.sums[at..].as_ptr().cast::<f32>();
            // SAFETY: the processor has S; there are whole vectors at each place.
            unsafe {
                // [row of taps][place of the columns]
                let mut rows = [[S::splat(0.0); 6]; 3];
                for column in 0..F::PLACES {
                    let mut s = [S::splat(0.0); 6];
                    for row in 0..F::PLACES {
                        s[row] = S::load(sums.add((row * F::PLACES + column) * self.step));
                    }
                    let taps = F::slopes::<S>(s);
                    for row in 0..3 {
                        rows[row][column] = taps[row];
                    }
                }
                for row in 0..3 {
                    let taps = F::slopes::<S>(rows[row]);
                    for column in 0..3 {
                        S::store(stage[row * 3 + column].as_mut_ptr(), taps[column]);
                    }
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
