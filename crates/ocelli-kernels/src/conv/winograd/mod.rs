//! Dense 3×3 convolutions of stride 1 with fewer multiplications: Winograd's minimal filtering (Lavin and
//! Gray 2015, "Fast Algorithms for Convolutional Neural Networks").
//!
//! A tile of m×m outputs reads (m + 2)×(m + 2) inputs `d`. These and each filter `g` are transformed to as
//! many components, `Bᵀ d B` and `G g Gᵀ`, which are multiplied element-wise and summed over the channels;
//! `Aᵀ s A` of the sums is the tile. So each component has a matrix product of its own, of tiles and
//! channels. With m = 4 that takes 36 products instead of 144, with m = 2 it takes 16 instead of 36. The
//! gradient with respect to the filters takes the same steps transposed: `Gᵀ (Σ A dy Aᵀ · Bᵀ d B) G`.
//!
//! In forward passes a tile's sums run over the channels in order, however the work is split.
//!
//! | module | |
//! |---|---|
//! | `transforms` | `B`, `G` and `A` of F(2, 3) and F(4, 3) |
//! | `tiles` | from maps to components of tiles, and back |
//! | `backward_weights` | gradients with respect to weights |

mod backward_weights;
mod tiles;
mod transforms;

use super::{
    dense::{PackedDense, WeightSource},
    geometry::{Epilogue, SamplingGrid},
};
use crate::{
    element::Element,
    isa::Isa,
    shape::Conv2dShape,
    shared_mut::SharedMut,
    simd::{self, Kernel, Simd},
    threads,
};
pub(super) use backward_weights::backward_weights;
use rayon::prelude::*;
use std::{marker::PhantomData, ops::Range};
use tiles::{Maps, Tiles, Transformed};
pub(crate) use tiles::{OutputKernel, TileKernel};
use transforms::{F2, F4, Transforms};

/// With fewer channels on either side the transforms take longer than the products that they save.
fn min_channels<T: Element>() -> usize {
    if T::BF16 { 32 } else { 16 }
}

/// Pairs of inputs and outputs above which tiles are small: the transformed filters of large tiles take four
/// times the memory of the filters, which are as large as the images then.
const MAX_PAIRS_OF_LARGE_TILES: usize = 256 * 256;

/// Tiles that are computed together at least: as often are the transformed filters used when they are read.
const MIN_TILES: usize = 48;

/// Whether a convolution is computed in this way.
pub(super) fn is_for<T: Element>(shape: &Conv2dShape) -> bool {
    let channels = [shape.in_channels, shape.out_channels];
    shape.groups == 1
        && [shape.kernel, shape.stride, shape.dilation] == [[3, 3], [1, 1], [1, 1]]
        && channels
            .iter()
            .all(|channels| *channels >= min_channels::<T>() && channels.is_multiple_of(T::PER_WORD))
}

/// The side of a convolution's tiles, in pixels of the output. Large tiles would lose more digits than bf16
/// has.
fn tile_size<T: Element>(inputs: usize, outputs: usize) -> usize {
    if T::BF16 || inputs * outputs > MAX_PAIRS_OF_LARGE_TILES { F2::OUTPUTS } else { F4::OUTPUTS }
}

/// Transformed filters, a matrix for each component.
#[derive(Clone, Debug)]
pub(crate) struct PackedWinograd {
    isa: Isa,
    tile_size: usize,
    components: Vec<PackedDense>,
}

impl PackedWinograd {
    /// Packs the weights of a source with nine taps and one group.
    pub(super) fn pack<T: Element>(isa: Isa, source: &WeightSource<'_>) -> Self {
        let channels = [source.group_in, source.group_out];
        let tile_size = tile_size::<T>(source.group_in, source.group_out);
        let count = (tile_size + 2).pow(2);
        let taps: [usize; 9] = source.taps[..].try_into().expect("nine taps");
        let components = PackedDense::pointwise::<T>(isa, channels, count, |block, inputs, word| {
            let mut to = [std::ptr::null_mut(); 36];
            for (component, to) in to.iter_mut().enumerate().take(count) {
                *to = word(component, inputs.start);
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
                let kernel = FilterKernel {
                    filters: &filters,
                    vectors: block.vectors,
                    tile_size,
                    to: &to,
                    first: at * width,
                    element: PhantomData::<T>,
                };
                T::winograd_filters(isa, kernel);
            }
        });
        PackedWinograd { isa, tile_size, components }
    }

    /// Computes all pixels, and calls `then` with each piece of the output while it is in a cache. `first`:
    /// the position of the first tap's input for output pixel (0, 0). Pieces depend on the shape alone.
    pub(super) fn run<T: Element, R: Send>(
        &self,
        grid: &SamplingGrid,
        first: [isize; 2],
        x: &[T],
        epilogue: &Epilogue<'_, T>,
        y: &mut [T],
        then: impl Fn(&[T]) -> R + Sync,
    ) -> Vec<R> {
        let tiles = Tiles::new(grid, self.tile_size);
        let pieces = tiles.pieces(MIN_TILES);
        let y = SharedMut::new(y);
        // SAFETY: pieces of rows are disjoint.
        let output = |rows: Range<usize>| unsafe {
            let pixels = tiles.pixels(rows);
            &*y.slice(pixels.start * grid.out_channels, pixels.len() * grid.out_channels)
        };
        let maps = Maps::inputs(grid, first, x);
        let run = |rows: Range<usize>| self.run_rows(grid, &tiles, &maps, epilogue, y, rows);
        if pieces.len() < rayon::current_num_threads() {
            run(0..tiles.rows());
            return pieces.into_par_iter().map(|rows| then(output(rows))).collect();
        }
        let pieces = pieces.into_par_iter().with_min_len(threads::min_len(1));
        pieces
            .map(|rows| {
                threads::single_threaded(|| run(rows.clone()));
                then(output(rows))
            })
            .collect()
    }

    fn run_rows<T: Element>(
        &self,
        grid: &SamplingGrid,
        tiles: &Tiles,
        maps: &Maps<'_, T>,
        epilogue: &Epilogue<'_, T>,
        y: SharedMut<T>,
        rows: Range<usize>,
    ) {
        let count = rows.len() * tiles.columns;
        let transformed = Transformed::new(self.isa, maps, tiles, rows.clone());
        let mut sums = Transformed::<f32>::uninitialized(tiles, rows.len(), grid.out_channels);
        let (stride, all) = (sums.stride, SharedMut::new(&mut sums.values));
        let components = self.components.par_iter().enumerate().with_min_len(threads::min_len(1));
        components.for_each(|(component, packed)| {
            // SAFETY: components are disjoint.
            let sums = unsafe { all.slice(component * stride, count * grid.out_channels) };
            packed.products(&transformed.values[component * transformed.stride..], sums);
        });
        rows.clone().into_par_iter().with_min_len(threads::min_len(1)).for_each(|row| {
            let kernel = OutputKernel {
                grid,
                tiles,
                row,
                sums: &sums.values[(row - rows.start) * tiles.columns * grid.out_channels..],
                stride,
                bias: epilogue.bias,
                residual: epilogue.residual,
                activation: epilogue.activation,
                y,
            };
            T::winograd_outputs(self.isa, kernel);
        });
    }
}

/// `G g Gᵀ` of an input's filters, or of two inputs' in bf16.
pub struct FilterKernel<'a, T> {
    /// `[input of a word][tap][output]`
    filters: &'a [[[f32; 48]; 9]; 2],
    vectors: usize,
    tile_size: usize,
    /// Where the words of a component go, from index `first` on: as many as the vectors hold.
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
            if self.tile_size == F4::OUTPUTS { self.transform::<S, F4>() } else { self.transform::<S, F2>() }
        }
    }
}

impl<T: Element> FilterKernel<'_, T> {
    #[inline(always)]
    unsafe fn transform<S: Simd, F: Transforms>(&self) {
        // The values of a vector, of each input of a word.
        let mut values = [[[T::default(); 16]; 36]; 2];
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
                    for row in 0..F::INPUTS {
                        let components = F::filter::<S>([columns[0][row], columns[1][row], columns[2][row]]);
                        for column in 0..F::INPUTS {
                            let component = row * F::INPUTS + column;
                            if T::BF16 {
                                T::store::<S>(values[input][component].as_mut_ptr(), components[column]);
                            } else {
                                S::store(self.to[component].add(self.first + at).cast(), components[column]);
                            }
                        }
                    }
                }
                if T::BF16 {
                    for component in 0..F::INPUTS * F::INPUTS {
                        let [low, high] = [0, 1].map(|input: usize| values[input][component].as_ptr());
                        let words = S::load_pairs(low.cast(), high.cast());
                        S::store(self.to[component].add(self.first + at).cast(), words);
                    }
                }
            }
        }
    }
}
