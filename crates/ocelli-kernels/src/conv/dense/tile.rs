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

/// Weights of a span, in bytes: they stay in the first cache of a core while all tiles are multiplied with them.
const SPAN_BYTES: usize = 16 * 1024;

/// Sums that are kept between the spans of weights; those of the largest tile are 14 · 2 · 16.
const KEPT_SUMS: usize = 4096;

/// Sums of some tiles, `[tile][pixel][channel]`.
#[repr(align(64))]
struct TileSums {
    _sums: [f32; KEPT_SUMS],
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
        let together = KEPT_SUMS / (P * V * S::LANES) * P;
        while start < self.pixels {
            let end = self.pixels.min(start + together);
            // SAFETY: the processor has S; see `tiles_together`.
            unsafe { self.tiles_together::<S, P, V>(start..end, &bias) };
            start = end;
        }
    }

    /// The same as a [tile](Self::tiles_together), for P pixels, few products and an activation that only clamps: so
    /// short that every branch would show. `WHOLE`: the block fills its vectors.
    #[inline(always)]
    unsafe fn short_tile<S: Simd, const P: usize, const V: usize, const RESIDUAL: bool, const WHOLE: bool>(
        &self,
        start: usize,
        bias: &[[f32; 16]; 3],
        limits: [f32; 2],
    ) {
        // SAFETY: see `tiles_together`.
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

    /// Computes and stores some pixels, whose sums are kept at once, in tiles of P. The weights of one tap are taken
    /// span by span, each for all tiles. The order of the sums is the same whatever the span.
    ///
    /// # Safety
    /// The processor has S. There are `words_per_tap` words from `first_word` on at each pointer: it points
    /// to the channels of a pixel, to a patch or to zeros. The weights hold as many rows of V vectors as
    /// words are multiplied. Outputs and residuals lie in the output, by the geometry.
    #[inline(always)]
    unsafe fn tiles_together<S: Simd, const P: usize, const V: usize>(
        &self,
        pixels: Range<usize>,
        bias: &[[f32; 16]; 3],
    ) {
        let mut kept = MaybeUninit::<TileSums>::uninit();
        let kept = kept.as_mut_ptr().cast::<f32>();
        let last = self.first_word + self.words_per_tap;
        let span = self.span(V * S::LANES);
        // The sums of one span are needed for one tile at a time.
        let tile_len = if span < self.words_per_tap { P * V * S::LANES } else { 0 };
        let mut first = self.first_word;
        loop {
            let end = last.min(first + span);
            let mut tile = kept;
            let mut start = pixels.start;
            while start < pixels.end {
                // SAFETY: the caller's promise; as many tiles are kept.
                unsafe {
                    let mut sums = if first == self.first_word {
                        first_sums::<S, P, V>(bias)
                    } else {
                        [[S::splat(0.0); V]; P]
                    };
                    self.accumulate::<S, P, V>(start, first..end, tile, &mut sums);
                    if end == last {
                        self.store::<S, P, V>(start, &mut sums);
                    } else if T::BF16 {
                        store_tile::<S, P, V>(tile, &mut sums);
                    }
                    tile = tile.add(tile_len);
                }
                start += P;
            }
            if end == last {
                return;
            }
            first = end;
        }
    }

    /// The words of a span, of this many channels: whole chains.
    #[inline(always)]
    fn span(&self, channels: usize) -> usize {
        if self.taps != 1 {
            return self.words_per_tap;
        }
        let most = (SPAN_BYTES / (size_of::<u32>() * channels) / MAX_CHAIN).max(1) * MAX_CHAIN;
        let spans = self.words_per_tap.div_ceil(most).max(1);
        self.words_per_tap.div_ceil(spans).next_multiple_of(MAX_CHAIN)
    }

    /// # Safety
    /// As [`tiles_together`](Self::tiles_together).
    #[inline(always)]
    unsafe fn store<S: Simd, const P: usize, const V: usize>(&self, start: usize, sums: &mut [[S::V; V]; P]) {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(to) = self.sums {
                return self.store_sums::<S, P, V>(start, sums, to);
            }
            let whole = self.block.count == V * S::LANES;
            match self.activation.limits() {
                Some(limits) if whole || self.residual.is_none() => {
                    self.store_clamped::<S, P, V>(start, sums, limits);
                }
                _ => self.store_activated::<S, P, V>(start, sums),
            }
        }
    }

    /// Adds the products of some words of each tap to the sums, or chains of them to those in `tile`, `[pixel][channel]`.
    /// With the last words, the sums are complete.
    ///
    /// # Safety
    /// As [`tiles_together`](Self::tiles_together); `tile` holds as many sums, those of the words before.
    #[inline(always)]
    unsafe fn accumulate<S: Simd, const P: usize, const V: usize>(
        &self,
        start: usize,
        words: Range<usize>,
        tile: *mut f32,
        sums: &mut [[S::V; V]; P],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut chain = 0;
            let mut is_first = words.start == self.first_word;
            if T::BF16 && !is_first {
                add_tile::<S, P, V>(tile, sums);
            }
            let skipped = (words.start - self.first_word) * V * S::LANES;
            let mut weights = self.weights.cast::<f32>().add(skipped);
            for tap in 0..self.taps {
                let pointers = self.pointers.as_ptr().add(tap * self.pointer_stride);
                let next = if start + P < self.pixels { start + P } else { start };
                let next = pointers.add(next);
                let pointers: &[*const T; P] = &*pointers.add(start).cast();
                let pointers: [*const u32; P] = std::array::from_fn(|p| pointers[p].cast());
                let mut first = words.start;
                while first < words.end {
                    let end = if T::BF16 { words.end } else { words.end.min(first + MAX_CHAIN) };
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
            if !T::BF16 && !is_first && words.end == self.first_word + self.words_per_tap {
                add_tile::<S, P, V>(tile, sums);
            }
        }
    }

    /// # Safety
    /// As [`tiles_together`](Self::tiles_together); `to` has room for the block's channels of each output.
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
    /// As [`tiles_together`](Self::tiles_together).
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
    /// As [`tiles_together`](Self::tiles_together).
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

/// Adds the tile, `[pixel][vector]`, to the sums.
#[inline(always)]
unsafe fn add_tile<S: Simd, const P: usize, const V: usize>(tile: *const f32, sums: &mut [[S::V; V]; P]) {
    unrolled!(p < P, {
        for v in 0..V {
            // SAFETY: the processor has S; the tile holds P · V vectors.
            unsafe {
                sums[p][v] = S::add(S::load(tile.add((p * V + v) * S::LANES)), sums[p][v]);
            }
        }
    });
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
