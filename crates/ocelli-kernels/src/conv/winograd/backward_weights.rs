//! Gradients with respect to the weights: `Gᵀ (Σ A dy Aᵀ · Bᵀ d B) G`, each component a matrix product that
//! sums over tiles.

use super::{
    MIN_TILES, tile_size,
    tiles::{COMPONENT_GAP, Maps, Tiles, Transformed},
    transforms::{F2, F4, Transforms},
};
use crate::{
    buffer_pool::Scratch,
    conv::{
        backward_weights::{BroadcastWidths, Operand, PANEL_SLACK, PanelKernel, PixelRun, SumKernel},
        geometry::SamplingGrid,
    },
    element::Element,
    isa::Isa,
    shared_mut::SharedMut,
    simd::{self, Kernel, Simd},
    threads,
};
use rayon::prelude::*;
use std::{marker::PhantomData, ops::Range};

/// How the matrix products of the components are divided. Inputs fill vectors, outputs are broadcast.
struct Blocks {
    inputs: usize,
    outputs: usize,
    vector: usize,
    broadcast: usize,
}

impl Blocks {
    fn new(isa: Isa, inputs: usize, outputs: usize) -> Self {
        let is_one_vector = inputs <= simd::lanes(isa);
        let vector = if is_one_vector { 1 } else { 2 } * simd::lanes(isa);
        Blocks { inputs, outputs, vector, broadcast: BroadcastWidths::best(isa, is_one_vector, outputs) }
    }

    fn vectors(&self) -> usize {
        self.inputs.div_ceil(self.vector)
    }

    /// Sums of an output.
    fn row_len(&self) -> usize {
        self.vectors() * self.vector
    }

    /// Sums of a component, `[output][input]`.
    fn component_len(&self) -> usize {
        self.outputs.div_ceil(self.broadcast) * self.broadcast * self.row_len()
    }
}

/// The gradient with respect to the weights, `[out, in, 3, 3]`. `grid` and `first`: of the forward pass.
pub(in crate::conv) fn backward_weights<T: Element>(
    isa: Isa,
    grid: &SamplingGrid,
    first: [isize; 2],
    x: &[T],
    dy: &[T],
    dw: &mut [f32],
) {
    let (inputs, outputs) = (grid.in_channels, grid.out_channels);
    let blocks = Blocks::new(isa, inputs, outputs);
    let (row_len, component_len) = (blocks.row_len(), blocks.component_len());
    let tiles = Tiles::new(grid, tile_size::<T>(inputs, outputs));
    let mut sums = Scratch::take(tiles.components() * component_len);
    let all = SharedMut::new(sums.as_mut_slice());
    // The values of a component, of both sides, fit into the cache of a core, unless the sums would then be
    // read too often.
    let tiles_per_piece = (256 * 1024 / size_of::<f32>() / (inputs + outputs)).max(4 * MIN_TILES);
    for (at, rows) in tiles.pieces(tiles_per_piece).into_iter().enumerate() {
        let x = Transformed::new(isa, &Maps::inputs(grid, first, x), &tiles, rows.clone());
        let dy = Transformed::new(isa, &Maps::gradients(grid, dy), &tiles, rows.clone());
        let count = rows.len() * tiles.columns;
        let (x, dy) = (Words::new(isa, x, count, inputs), Words::new(isa, dy, count, outputs));
        let runs = [PixelRun { input: 0, output: 0, count: count.div_ceil(T::PER_WORD) }];
        let items = (0..tiles.components() * blocks.vectors()).into_par_iter();
        items.with_min_len(threads::min_len(1)).for_each(|item| {
            let (component, vector) = (item / blocks.vectors(), item % blocks.vectors() * blocks.vector);
            for broadcast in (0..outputs).step_by(blocks.broadcast) {
                let kernel = SumKernel {
                    runs: &runs,
                    vector: x.operand(component, vector),
                    broadcast: dy.operand(component, broadcast),
                    vector_is_output: false,
                    vector_block: blocks.vector,
                    broadcast_block: blocks.broadcast,
                    sums: all.at(component * component_len + broadcast * row_len + vector).cast(),
                    sum_stride: row_len,
                    adds: at > 0,
                    element: PhantomData::<T>,
                };
                T::sum_products(isa, kernel);
            }
        });
    }
    let sums: &[u32] = sums.as_mut_slice();
    let rows = dw.par_chunks_exact_mut(inputs * 9).enumerate().with_min_len(threads::min_len(1));
    rows.for_each(|(output, dw)| {
        let sums = &sums[output * row_len..];
        let kernel = FilterGradientKernel { sums, stride: component_len, tile_size: tiles.size, inputs, dw };
        simd::run_on(isa, kernel);
    });
}

/// Components as words, of which those of bf16 pair tiles of the first half with those of the second: so sums
/// over tiles are sums over words.
struct Words<T: Element> {
    transformed: Transformed<T>,
    /// For bf16.
    pairs: Option<Scratch>,
    /// Words between components.
    stride: usize,
    channels: usize,
}

impl<T: Element> Words<T> {
    fn new(isa: Isa, transformed: Transformed<T>, tiles: usize, channels: usize) -> Self {
        if !T::BF16 {
            return Words { stride: transformed.stride, transformed, pairs: None, channels };
        }
        let (low, high) = (tiles.div_ceil(2), tiles / 2);
        let stride = low * channels + COMPONENT_GAP;
        let count = transformed.values.len() / transformed.stride;
        let mut words = Scratch::take(count * stride + PANEL_SLACK);
        let all = SharedMut::new(words.as_mut_slice());
        (0..count).into_par_iter().with_min_len(threads::min_len(1)).for_each(|component| {
            let values = &transformed.values[component * transformed.stride..];
            let pair = |tiles: Range<usize>, paired: bool| PanelKernel {
                low: &values[tiles.start * channels..],
                high: paired.then(|| &values[(low + tiles.start) * channels..]),
                groups: 1,
                group: channels,
                block: channels,
                pixels: tiles.len(),
                words: all,
                first: component * stride + tiles.start * channels,
                stride,
            };
            T::copy_panels(isa, pair(0..high, true));
            T::copy_panels(isa, pair(high..low, false));
        });
        Words { transformed, pairs: Some(words), stride, channels }
    }

    /// The tiles' channels of a component, from one on.
    fn operand(&self, component: usize, channel: usize) -> Operand {
        let start = match &self.pairs {
            Some(words) => words.as_ptr(),
            None => self.transformed.values.as_ptr().cast(),
        };
        let start = start.wrapping_add(component * self.stride + channel);
        Operand { start, pixel: self.channels, stride: self.channels }
    }
}

/// `Gᵀ s G` of an output's sums.
struct FilterGradientKernel<'a> {
    /// The first component, `[input]`, with whole vectors.
    sums: &'a [u32],
    /// Words between components.
    stride: usize,
    tile_size: usize,
    inputs: usize,
    /// `[input][tap]`
    dw: &'a mut [f32],
}

impl Kernel for FilterGradientKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        // SAFETY: the processor has S.
        unsafe {
            if self.tile_size == F4::OUTPUTS { self.transform::<S, F4>() } else { self.transform::<S, F2>() }
        }
    }
}

impl FilterGradientKernel<'_> {
    #[inline(always)]
    unsafe fn transform<S: Simd, F: Transforms>(&mut self) {
        // [tap][input]
        let mut gradients = [[0.0f32; 16]; 9];
        for at in (0..self.inputs).step_by(S::LANES) {
            let sums = self.sums[at..].as_ptr().cast::<f32>();
            // SAFETY: the processor has S; each component has whole vectors.
            unsafe {
                // [row of taps][component of the columns]
                let mut rows = [[S::splat(0.0); 6]; 3];
                for column in 0..F::INPUTS {
                    let mut s = [S::splat(0.0); 6];
                    for row in 0..F::INPUTS {
                        s[row] = S::load(sums.add((row * F::INPUTS + column) * self.stride));
                    }
                    let taps = F::filter_gradient::<S>(s);
                    for row in 0..3 {
                        rows[row][column] = taps[row];
                    }
                }
                for row in 0..3 {
                    let taps = F::filter_gradient::<S>(rows[row]);
                    for column in 0..3 {
                        S::store(gradients[row * 3 + column].as_mut_ptr(), taps[column]);
                    }
                }
            }
            let inputs = S::LANES.min(self.inputs - at);
            for (input, dw) in self.dw[at * 9..].chunks_exact_mut(9).enumerate().take(inputs) {
                for (dw, gradients) in dw.iter_mut().zip(&gradients) {
                    *dw = gradients[input];
                }
            }
        }
    }
}
