//! Register tiles: some output pixels × some vectors of output channels.

use super::{WORDS_PER_CACHE_LINE, pack::Block};
use crate::{
    activation::{Activation, activate},
    element::{Element, load_lanes, store_lanes},
    simd::{Kernel, Simd, unrolled},
};
use std::{mem::MaybeUninit, ops::Range};

/// Pixels of the largest register tile.
pub(super) const MAX_PIXELS: usize = 14;

/// Products that are summed in f32 before they are added to the sum of those before: a single sum over
/// thousands of products would lose digits. bf16 has lost more already.
const MAX_CHAIN: usize = 128;

/// Sums of the largest tile, `[pixel][channel]`.
#[repr(align(64))]
struct TileSums {
    _sums: [f32; 28 * 16],
}

/// One block of output channels of a piece of pixels.
pub struct BlockKernel<'a, T> {
    pub(super) block: Block,
    pub(super) weights: *const u32,
    pub(super) taps: usize,
    /// The words that are read at each pointer.
    pub(super) first_word: usize,
    pub(super) words_per_tap: usize,
    pub(super) pointers: &'a [*const T],
    pub(super) pointer_stride: usize,
    pub(super) outputs: &'a [usize],
    pub(super) pixels: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) residual: Option<*const T>,
    pub(super) activation: Activation,
    pub(super) y: *mut T,
    /// Where the bare sums go instead.
    pub(super) sums: Option<*mut f32>,
}

impl<T: Element> Kernel for BlockKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has S.
        unsafe {
            match (S::MANY_REGISTERS, self.block.vectors) {
                (true, 1) => self.tiles::<S, 14, 1>(),
                (true, 2) => self.tiles::<S, 14, 2>(),
                (true, _) => self.tiles::<S, 9, 3>(),
                (false, 1) => self.tiles::<S, 7, 1>(),
                (false, 2) => self.tiles::<S, 6, 2>(),
                (false, _) => self.tiles::<S, 3, 3>(),
            }
        }
    }
}

impl<T: Element> BlockKernel<'_, T> {
    #[inline(always)]
    unsafe fn tiles<S: Simd, const P: usize, const V: usize>(&self) {
        let mut bias = [[0.0f32; 16]; 3];
        if let Some(values) = self.bias {
            for (i, value) in values.iter().enumerate() {
                bias[i / S::LANES][i % S::LANES] = *value;
            }
        }
        let mut start = 0;
        if let Some(limits) = self.activation.limits()
            && self.taps * self.words_per_tap < MAX_CHAIN
            && self.sums.is_none()
        {
            let whole = self.block.count == V * S::LANES;
            while start + P <= self.pixels {
                // SAFETY: as below.
                unsafe {
                    match (self.residual, whole) {
                        (None, true) => self.short_tile::<S, P, V, false, true>(start, &bias, limits),
                        (None, false) => self.short_tile::<S, P, V, false, false>(start, &bias, limits),
                        (_, true) => self.short_tile::<S, P, V, true, true>(start, &bias, limits),
                        (_, false) => self.short_tile::<S, P, V, true, false>(start, &bias, limits),
                    }
                }
                start += P;
            }
        }
        while start < self.pixels {
            // SAFETY: the processor has S; see `tile`.
            unsafe { self.tile::<S, P, V>(start, &bias) };
            start += P;
        }
    }

    /// The same as [`tile`](Self::tile), for P pixels, few products and an activation that only clamps: so
    /// short that every branch would show. `WHOLE`: the block fills its vectors.
    #[inline(always)]
    unsafe fn short_tile<S: Simd, const P: usize, const V: usize, const RESIDUAL: bool, const WHOLE: bool>(
        &self,
        start: usize,
        bias: &[[f32; 16]; 3],
        limits: [f32; 2],
    ) {
        // SAFETY: see `tile`.
        unsafe {
            let mut sums = first_sums::<S, P, V>(bias);
            let mut weights = self.weights.cast::<f32>();
            for tap in 0..self.taps {
                let pointers = self.pointers.as_ptr().add(tap * self.pointer_stride + start);
                let pointers: [*const u32; P] = *pointers.cast();
                let words = self.first_word..self.first_word + self.words_per_tap;
                weights = add_products::<T, S, P, V>(&mut sums, &pointers, words, weights);
            }
            let (low, high) = (S::splat(limits[0]), S::splat(limits[1]));
            let residual = self.residual.unwrap_or(self.y);
            let outputs = self.outputs.as_ptr().add(start);
            // Of the last vector.
            let lanes = self.block.count - (V - 1) * S::LANES;
            unrolled!(p < P, {
                let output = *outputs.add(p);
                for v in 0..V {
                    let at = output + v * S::LANES;
                    let is_last = v + 1 == V;
                    let mut value = sums[p][v];
                    if RESIDUAL {
                        let residual = residual.add(at);
                        let residual = match is_last {
                            true => load_lanes::<S, T, WHOLE>(residual, lanes),
                            false => T::load::<S>(residual),
                        };
                        value = S::add(value, residual);
                    }
                    let value = S::min(high, S::max(low, value));
                    match is_last {
                        true => store_lanes::<S, T, WHOLE>(self.y.add(at), lanes, value),
                        false => T::store::<S>(self.y.add(at), value),
                    }
                }
            });
        }
    }

    /// Computes and stores pixels `start..start + P`, as far as there are any.
    ///
    /// # Safety
    /// The processor has S. There are `words_per_tap` words from `first_word` on at each pointer: it points
    /// to the channels of a pixel, to a patch or to zeros. The weights hold as many rows of V vectors as
    /// words are multiplied. Outputs and residuals lie in the output, by the geometry.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize>(&self, start: usize, bias: &[[f32; 16]; 3]) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = first_sums::<S, P, V>(bias);
            self.accumulate::<S, P, V>(start, &mut sums);
            if let Some(to) = self.sums {
                return self.store_sums::<S, P, V>(start, &sums, to);
            }
            let whole = self.block.count == V * S::LANES;
            match self.activation.limits() {
                Some(limits) if whole || self.residual.is_none() => {
                    self.store_clamped::<S, P, V>(start, &sums, limits);
                }
                _ => self.store_activated::<S, P, V>(start, &mut sums),
            }
        }
    }

    /// Adds all products of the tile to the sums.
    ///
    /// # Safety
    /// As [`tile`](Self::tile).
    #[inline(always)]
    unsafe fn accumulate<S: Simd, const P: usize, const V: usize>(
        &self,
        start: usize,
        sums: &mut [[S::V; V]; P],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            // Through memory: registers have no index, and loops that are too long are not unrolled.
            let mut tile = MaybeUninit::<TileSums>::uninit();
            let tile = tile.as_mut_ptr().cast::<f32>();
            let mut chain = 0;
            let mut is_first = true;
            let mut weights = self.weights.cast::<f32>();
            for tap in 0..self.taps {
                let pointers = self.pointers.as_ptr().add(tap * self.pointer_stride);
                let next = if start + P < self.pixels { start + P } else { start };
                let next = pointers.add(next);
                let pointers: &[*const T; P] = &*pointers.add(start).cast();
                let pointers: [*const u32; P] = std::array::from_fn(|p| pointers[p].cast());
                let mut first = self.first_word;
                let last = first + self.words_per_tap;
                while first < last {
                    let end = if T::BF16 { last } else { last.min(first + MAX_CHAIN) };
                    let mut line = first;
                    while line < end {
                        // The next tile's inputs. Those of more taps are in the cache already: they overlap.
                        if self.taps == 1 {
                            for p in 0..P {
                                S::prefetch((*next.add(p)).cast::<u32>().wrapping_add(line));
                            }
                        }
                        let next_line = end.min(line + WORDS_PER_CACHE_LINE);
                        weights = add_products::<T, S, P, V>(sums, &pointers, line..next_line, weights);
                        line = next_line;
                    }
                    chain += end - first;
                    first = end;
                    if !T::BF16 && chain >= MAX_CHAIN {
                        if is_first {
                            store_tile::<S, P, V>(tile, sums);
                        } else {
                            add_to_tile::<S, P, V>(tile, sums);
                        }
                        is_first = false;
                        chain = 0;
                    }
                }
            }
            if !is_first {
                unrolled!(p < P, {
                    for v in 0..V {
                        sums[p][v] = S::add(S::load(tile.add((p * V + v) * S::LANES)), sums[p][v]);
                    }
                });
            }
        }
    }

    /// # Safety
    /// As [`tile`](Self::tile); `to` has room for the block's channels of each output.
    #[inline(always)]
    unsafe fn store_sums<S: Simd, const P: usize, const V: usize>(
        &self,
        start: usize,
        sums: &[[S::V; V]; P],
        to: *mut f32,
    ) {
        let whole = self.block.count == V * S::LANES;
        let pixels = P.min(self.pixels - start);
        // Of the last vector.
        let lanes = self.block.count - (V - 1) * S::LANES;
        // SAFETY: the caller's promise.
        unsafe {
            let outputs = self.outputs.as_ptr().add(start);
            unrolled!(p < P, {
                if p < pixels {
                    let to = to.add(*outputs.add(p));
                    for v in 0..V {
                        if whole || v + 1 < V {
                            S::store(to.add(v * S::LANES), sums[p][v]);
                        } else {
                            S::store_first(to.add(v * S::LANES), lanes, sums[p][v]);
                        }
                    }
                }
            });
        }
    }

    /// Stores outputs after an activation that only clamps. A residual is read for whole vectors only.
    ///
    /// # Safety
    /// As [`tile`](Self::tile).
    #[inline(always)]
    unsafe fn store_clamped<S: Simd, const P: usize, const V: usize>(
        &self,
        start: usize,
        sums: &[[S::V; V]; P],
        limits: [f32; 2],
    ) {
        let whole = self.block.count == V * S::LANES;
        let pixels = P.min(self.pixels - start);
        // Of the last vector.
        let lanes = self.block.count - (V - 1) * S::LANES;
        // SAFETY: the caller's promise.
        unsafe {
            let (low, high) = (S::splat(limits[0]), S::splat(limits[1]));
            let outputs = self.outputs.as_ptr().add(start);
            match self.residual {
                None => unrolled!(p < P, {
                    if p < pixels {
                        let y = self.y.add(*outputs.add(p));
                        for v in 0..V {
                            let value = S::min(high, S::max(low, sums[p][v]));
                            if whole || v + 1 < V {
                                T::store::<S>(y.add(v * S::LANES), value);
                            } else {
                                T::store_first::<S>(y.add(v * S::LANES), lanes, value);
                            }
                        }
                    }
                }),
                Some(residual) => unrolled!(p < P, {
                    if p < pixels {
                        let output = *outputs.add(p);
                        for v in 0..V {
                            let at = output + v * S::LANES;
                            let value = S::add(sums[p][v], T::load::<S>(residual.add(at)));
                            T::store::<S>(self.y.add(at), S::min(high, S::max(low, value)));
                        }
                    }
                }),
            }
        }
    }

    /// Stores outputs after any activation.
    ///
    /// # Safety
    /// As [`tile`](Self::tile).
    #[inline(always)]
    unsafe fn store_activated<S: Simd, const P: usize, const V: usize>(
        &self,
        start: usize,
        sums: &mut [[S::V; V]; P],
    ) {
        let whole = self.block.count == V * S::LANES;
        let pixels = P.min(self.pixels - start);
        // SAFETY: the caller's promise.
        unsafe {
            // Through memory: what follows is too long to be repeated.
            let mut tile = MaybeUninit::<TileSums>::uninit();
            let tile = tile.as_mut_ptr().cast::<f32>();
            store_tile::<S, P, V>(tile, sums);
            for p in 0..pixels {
                let output = self.outputs[start + p];
                for v in 0..V {
                    let mut value = S::load(tile.add((p * V + v) * S::LANES));
                    let at = output + v * S::LANES;
                    if whole {
                        if let Some(residual) = self.residual {
                            value = S::add(value, T::load::<S>(residual.add(at)));
                        }
                        T::store::<S>(self.y.add(at), activate::<S>(self.activation, value));
                    } else {
                        let count = (self.block.count - v * S::LANES).min(S::LANES);
                        if let Some(residual) = self.residual {
                            value = S::add(value, T::load_first::<S>(residual.add(at), count));
                        }
                        let value = activate::<S>(self.activation, value);
                        T::store_first::<S>(self.y.add(at), count, value);
                    }
                }
            }
        }
    }
}

/// Sums that begin with the bias.
#[inline(always)]
unsafe fn first_sums<S: Simd, const P: usize, const V: usize>(bias: &[[f32; 16]; 3]) -> [[S::V; V]; P] {
    // SAFETY: the processor has S.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; P];
        for v in 0..V {
            let bias = S::load(bias[v].as_ptr());
            for p in 0..P {
                sums[p][v] = bias;
            }
        }
        sums
    }
}

/// Adds the products of some words at each pointer with `weights`, `[word][vector]`, to the sums. Returns the
/// weights that follow.
///
/// # Safety
/// The processor has S, and there are as many words at each pointer, and as many weights.
#[inline(always)]
unsafe fn add_products<T: Element, S: Simd, const P: usize, const V: usize>(
    sums: &mut [[S::V; V]; P],
    pointers: &[*const u32; P],
    words: Range<usize>,
    mut weights: *const f32,
) -> *const f32 {
    // SAFETY: the caller's promise.
    unsafe {
        for word in words {
            let mut vectors = [S::splat(0.0); V];
            for v in 0..V {
                vectors[v] = S::load(weights.add(v * S::LANES));
            }
            weights = weights.add(V * S::LANES);
            for p in 0..P {
                let input = S::splat_word(pointers[p].add(word).read_unaligned());
                for v in 0..V {
                    sums[p][v] = T::multiply::<S>(sums[p][v], vectors[v], input);
                }
            }
        }
        weights
    }
}

/// Writes the sums to the tile, `[pixel][vector]`, and sets them to 0.
#[inline(always)]
unsafe fn store_tile<S: Simd, const P: usize, const V: usize>(tile: *mut f32, sums: &mut [[S::V; V]; P]) {
    for p in 0..P {
        for v in 0..V {
            // SAFETY: the processor has S; the tile holds P · V vectors.
            unsafe {
                S::store(tile.add((p * V + v) * S::LANES), sums[p][v]);
                sums[p][v] = S::splat(0.0);
            }
        }
    }
}

/// Adds the sums to the tile, `[pixel][vector]`, and sets them to 0.
#[inline(always)]
unsafe fn add_to_tile<S: Simd, const P: usize, const V: usize>(tile: *mut f32, sums: &mut [[S::V; V]; P]) {
    for p in 0..P {
        for v in 0..V {
            // SAFETY: the processor has S; the tile holds P · V vectors.
            unsafe {
                let at = tile.add((p * V + v) * S::LANES);
                S::store(at, S::add(S::load(at), sums[p][v]));
                sums[p][v] = S::splat(0.0);
            }
        }
    }
}
