//! The few vector operations that kernels are written in, once for all instruction sets.
//!
//! A kernel is a struct of its arguments that implements [`Kernel`]: one function, generic over [`Simd`] and
//! always inlined. [`run_on`] compiles it once for each instruction set, inside of a function that enables
//! its features.

mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use crate::isa::Isa;
use half::bf16;

/// A vector register of `f32` and the operations on it.
///
/// # Safety
/// Functions may only be called on a processor that has the instruction set; those that take pointers read or
/// write as many elements as they say, at any alignment.
pub trait Simd: Copy + 'static {
    /// `f32` values in a register.
    const LANES: usize;
    /// Whether there are 32 registers; else there are 16.
    const MANY_REGISTERS: bool;
    /// Whether [`Simd::dot`] is one instruction: then products of pairs cost half as much as those of f32.
    const FAST_DOT: bool = false;
    /// [`Simd::LANES`] values of `f32`, or as many words of two bf16.
    type V: Copy;

    unsafe fn splat(value: f32) -> Self::V;
    /// The same 32 bits in each lane.
    unsafe fn splat_word(value: u32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    /// Loads `count` lanes, `0..=LANES`; the others are 0.
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V;
    unsafe fn store(to: *mut f32, value: Self::V);
    /// Stores `count` lanes, `0..=LANES`.
    unsafe fn store_first(to: *mut f32, count: usize, value: Self::V);
    unsafe fn load_bf16(from: *const bf16) -> Self::V;
    unsafe fn load_bf16_first(from: *const bf16, count: usize) -> Self::V;
    unsafe fn store_bf16(to: *mut bf16, value: Self::V);
    unsafe fn store_bf16_first(to: *mut bf16, count: usize, value: Self::V);

    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// `a · b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `value` where `a > b`, else 0.
    unsafe fn where_greater(a: Self::V, b: Self::V, value: Self::V) -> Self::V;
    /// `2^n` for each lane that holds the integer `n`, -126..=127, plus [`ROUNDING`].
    unsafe fn power_of_two(n: Self::V) -> Self::V;
    /// For each lane, a word of two bf16: `sum + a.low · b.low + a.high · b.high`.
    unsafe fn dot(sum: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// For each lane of 32-bit integers, `sum + Σ a · b` over the four bytes of a word, those of `a` unsigned, those of `b`
    /// signed; two of one sign, the first or the last two of a word, are not more than 128 together.
    unsafe fn dot_bytes(sum: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// The numbers that lanes of 32-bit integers hold.
    unsafe fn from_integers(a: Self::V) -> Self::V;
    /// Loads [`Simd::LANES`] bytes as numbers.
    unsafe fn load_u8(from: *const u8) -> Self::V;
    /// Stores each lane as the nearest integer of 0 to 255, ties to even; lanes are within ±2³¹.
    unsafe fn store_u8(to: *mut u8, value: Self::V);
    /// As [`Simd::store_u8`] for two registers, one after the other.
    unsafe fn store_u8_pair(to: *mut u8, first: Self::V, second: Self::V) {
        // SAFETY: the caller's promise.
        unsafe {
            Self::store_u8(to, first);
            Self::store_u8(to.add(Self::LANES), second);
        }
    }
    /// As [`Simd::store_u8`] for the first `count` lanes, `0..=LANES`.
    unsafe fn store_u8_first(to: *mut u8, count: usize, value: Self::V) {
        let mut bytes = [0u8; 16];
        // SAFETY: no register has more lanes; the caller's promise.
        unsafe {
            Self::store_u8(bytes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count);
        }
    }
    /// Words that pair the values at `low` and `high`, [`Simd::LANES`] of each.
    unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> Self::V;
    /// Hints that the cache line at this address, which may be any, will be read soon.
    #[inline(always)]
    unsafe fn prefetch<T>(_: *const T) {}
    /// As [`Simd::load_pairs`] with `lows` and `highs` values, `0..=LANES` each; the others are 0.
    unsafe fn load_pairs_first(low: *const bf16, lows: usize, high: *const bf16, highs: usize) -> Self::V {
        let mut words = [0u32; 16];
        for (i, word) in words.iter_mut().enumerate() {
            // SAFETY: there are as many values.
            unsafe {
                if i < lows {
                    *word |= u32::from(low.add(i).read_unaligned().to_bits());
                }
                if i < highs {
                    *word |= u32::from(high.add(i).read_unaligned().to_bits()) << 16;
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { Self::load(words.as_ptr().cast()) }
    }
}

/// 1.5 · 2²³: adding it to a small number leaves the nearest integer in the low bits.
pub(crate) const ROUNDING: f32 = 12_582_912.0;

/// Work that is compiled for each instruction set.
pub(crate) trait Kernel {
    /// The result.
    type Output;

    /// Does the work. Implementations are marked `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instruction set `S`.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// Hints that the cache line at this address, which may be any, will be read soon.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of the architecture has SSE; a prefetch reads nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Runs a kernel with an instruction set, which the caller took from [`Isa::current`].
pub(crate) fn run_on<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::current` returns only what the processor has.
        Isa::Avx2 => unsafe { avx2::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512Bf16 => unsafe { avx512::run_bf16(kernel) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::Neon => unsafe { neon::run(kernel) },
        // SAFETY: plain Rust.
        _ => unsafe { kernel.run::<portable::Portable>() },
    }
}

/// As [`run_on`], for kernels of bytes: with the instructions that multiply and add four of them, where the processor has
/// these (VNNI).
pub(crate) fn run_on_bytes<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both are detected.
        Isa::Avx2 if is_x86_feature_detected!("avxvnni") => unsafe { avx2::run_vnni(kernel) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 if is_x86_feature_detected!("avx512vnni") => {
            // SAFETY: as above.
            unsafe { avx512::run_vnni(kernel) }
        }
        _ => run_on(isa, kernel),
    }
}

/// `f32` values in a register of an instruction set.
pub(crate) fn lanes(isa: Isa) -> usize {
    struct Lanes;
    impl Kernel for Lanes {
        type Output = usize;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> usize {
            S::LANES
        }
    }
    run_on(isa, Lanes)
}

/// Whether an instruction set has 32 registers.
pub(crate) fn has_many_registers(isa: Isa) -> bool {
    struct Many;
    impl Kernel for Many {
        type Output = bool;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> bool {
            S::MANY_REGISTERS
        }
    }
    run_on(isa, Many)
}

/// Whether pairs of bf16 are multiplied by an instruction of their own.
pub(crate) fn has_fast_dot(isa: Isa) -> bool {
    struct Fast;
    impl Kernel for Fast {
        type Output = bool;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> bool {
            S::FAST_DOT
        }
    }
    run_on(isa, Fast)
}

/// Repeats a block for each index below a constant of at most 14, in the source: the compiler would not
/// unroll a loop that long, and registers have no index.
macro_rules! unrolled {
    ($index:ident < $end:ident, $body:block) => {
        { unrolled!(@ $index $end $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13); }
    };
    (@ $index:ident $end:ident $body:block $($value:literal)*) => {
        $(if $value < $end {
            let $index: usize = $value;
            $body
        })*
    };
}
pub(crate) use unrolled;

/// `exp(x)` with x clamped to ±87: `2^n · exp(r)`, |r| ≤ ln 2 / 2, by the Taylor series to r⁷ / 7!.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = S::min(S::splat(87.0), S::max(S::splat(-87.0), x));
        let n = S::fma(x, S::splat(std::f32::consts::LOG2_E), S::splat(ROUNDING));
        let integer = S::sub(n, S::splat(ROUNDING));
        // ln 2 in two parts, the first exact in few bits, so that r loses nothing.
        let r = S::fma(integer, S::splat(-0.693_359_4), x);
        let r = S::fma(integer, S::splat(2.121_944_4e-4), r);
        let mut sum = S::splat(1.0 / 5040.0);
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = S::fma(sum, r, S::splat(coefficient));
        }
        S::mul(sum, S::power_of_two(n))
    }
}

/// The sum of all lanes, halves by halves.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
pub(crate) unsafe fn sum_of_lanes<S: Simd>(values: S::V) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { fold_lanes::<S>(values, |a, b| a + b) }
}

/// The largest lane.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
pub(crate) unsafe fn max_of_lanes<S: Simd>(values: S::V) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { fold_lanes::<S>(values, f32::max) }
}

#[inline(always)]
unsafe fn fold_lanes<S: Simd>(values: S::V, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    // SAFETY: the caller's promise; no register has more lanes.
    unsafe { S::store(lanes.as_mut_ptr(), values) };
    let mut half = S::LANES / 2;
    while half > 0 {
        for at in 0..half {
            lanes[at] = fold(lanes[at], lanes[at + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The bits of a bf16 nearest to a number, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(value: f32) -> u16 {
    bf16::from_f32(value).to_bits()
}
