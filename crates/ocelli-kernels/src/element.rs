//! The two types that activations are stored in, and how they are loaded and stored.

use crate::{compiled::Compiled, simd::Simd};
use half::bf16;

/// The storage type of activations: `f32` or `bf16`. Sums are always `f32`.
pub trait Element:
    sealed::Lanes + Compiled + Copy + Default + Send + Sync + PartialEq + std::fmt::Debug + 'static
{
    /// Whether this is `bf16`, whose products are formed two by two.
    const BF16: bool;
    /// Rounds to nearest, ties to even.
    fn from_f32(value: f32) -> Self;
    /// Exact.
    fn to_f32(self) -> f32;
}

pub(crate) mod sealed {
    use super::Simd;

    /// How an element type goes through registers. A *word* is 32 bits of it: one f32, or two bf16.
    pub trait Lanes: Sized {
        /// Elements in a word.
        const PER_WORD: usize;
        /// A word of elements, the first in the low bits.
        fn word(elements: impl Fn(usize) -> f32) -> u32;
        /// # Safety
        /// As [`Simd::load`]; so for the following.
        unsafe fn load<S: Simd>(from: *const Self) -> S::V;
        /// # Safety
        /// As [`Simd::load_first`].
        unsafe fn load_first<S: Simd>(from: *const Self, count: usize) -> S::V;
        /// # Safety
        /// As [`Simd::store`].
        unsafe fn store<S: Simd>(to: *mut Self, value: S::V);
        /// # Safety
        /// As [`Simd::store_first`].
        unsafe fn store_first<S: Simd>(to: *mut Self, count: usize, value: S::V);
        /// `sum` plus the products of two registers of words.
        ///
        /// # Safety
        /// As [`Simd::fma`].
        unsafe fn multiply<S: Simd>(sum: S::V, a: S::V, b: S::V) -> S::V;
    }
}

/// Loads a whole register, or unless `WHOLE` the first `lanes`; the others are 0.
///
/// # Safety
/// As [`Simd::load`] and [`Simd::load_first`].
#[inline(always)]
pub(crate) unsafe fn load_lanes<S: Simd, T: Element, const WHOLE: bool>(
    from: *const T,
    lanes: usize,
) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if WHOLE { T::load::<S>(from) } else { T::load_first::<S>(from, lanes) } }
}

/// Stores a whole register, or unless `WHOLE` the first `lanes`.
///
/// # Safety
/// As [`Simd::store`] and [`Simd::store_first`].
#[inline(always)]
pub(crate) unsafe fn store_lanes<S: Simd, T: Element, const WHOLE: bool>(
    to: *mut T,
    lanes: usize,
    value: S::V,
) {
    // SAFETY: the caller's promise.
    unsafe { if WHOLE { T::store::<S>(to, value) } else { T::store_first::<S>(to, lanes, value) } }
}

/// Loads `lanes` elements; the other lanes are 0.
///
/// # Safety
/// There are `lanes` elements, and the processor has S.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, T: Element>(from: *const T, lanes: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        if lanes == S::LANES {
            load_lanes::<S, T, true>(from, lanes)
        } else {
            load_lanes::<S, T, false>(from, lanes)
        }
    }
}

/// Stores `lanes` elements.
///
/// # Safety
/// There is room for `lanes` elements, and the processor has S.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, T: Element>(to: *mut T, lanes: usize, value: S::V) {
    // SAFETY: the caller's promise.
    unsafe {
        if lanes == S::LANES {
            store_lanes::<S, T, true>(to, lanes, value);
        } else {
            store_lanes::<S, T, false>(to, lanes, value);
        }
    }
}

impl Element for f32 {
    const BF16: bool = false;
    fn from_f32(value: f32) -> Self {
        value
    }
    fn to_f32(self) -> f32 {
        self
    }
}

// SAFETY of all blocks here and below: the same contract, passed on.
impl sealed::Lanes for f32 {
    const PER_WORD: usize = 1;
    fn word(elements: impl Fn(usize) -> f32) -> u32 {
        elements(0).to_bits()
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: see above.
        unsafe { S::load(from) }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(from: *const Self, count: usize) -> S::V {
        // SAFETY: see above.
        unsafe { S::load_first(from, count) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut Self, value: S::V) {
        // SAFETY: see above.
        unsafe { S::store(to, value) }
    }
    #[inline(always)]
    unsafe fn store_first<S: Simd>(to: *mut Self, count: usize, value: S::V) {
        // SAFETY: see above.
        unsafe { S::store_first(to, count, value) }
    }
    #[inline(always)]
    unsafe fn multiply<S: Simd>(sum: S::V, a: S::V, b: S::V) -> S::V {
        // SAFETY: see above.
        unsafe { S::fma(a, b, sum) }
    }
}

impl Element for bf16 {
    const BF16: bool = true;
    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}

impl sealed::Lanes for bf16 {
    const PER_WORD: usize = 2;
    fn word(elements: impl Fn(usize) -> f32) -> u32 {
        let [low, high] = [0, 1].map(|i| u32::from(bf16::from_f32(elements(i)).to_bits()));
        low | high << 16
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: see above.
        unsafe { S::load_bf16(from) }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(from: *const Self, count: usize) -> S::V {
        // SAFETY: see above.
        unsafe { S::load_bf16_first(from, count) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut Self, value: S::V) {
        // SAFETY: see above.
        unsafe { S::store_bf16(to, value) }
    }
    #[inline(always)]
    unsafe fn store_first<S: Simd>(to: *mut Self, count: usize, value: S::V) {
        // SAFETY: see above.
        unsafe { S::store_bf16_first(to, count, value) }
    }
    #[inline(always)]
    unsafe fn multiply<S: Simd>(sum: S::V, a: S::V, b: S::V) -> S::V {
        // SAFETY: see above.
        unsafe { S::dot(sum, a, b) }
    }
}
