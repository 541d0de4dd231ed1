//! AVX2 and FMA: 16 registers of 8 lanes.

use super::{Kernel, Simd};
use half::bf16;
use std::arch::x86_64::*;

/// # Safety
/// The processor has AVX2, FMA, BMI1 and BMI2.
#[target_feature(enable = "avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features are enabled here.
    unsafe { kernel.run::<Avx2<false>>() }
}

/// # Safety
/// The processor has AVX-VNNI, and what [`run`] needs.
#[target_feature(enable = "avxvnni,avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn run_vnni<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features are enabled here.
    unsafe { kernel.run::<Avx2<true>>() }
}

/// `VNNI`: with the instructions of AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

const LANES: usize = 8;

/// Rounds to bf16 in the low halves of each lane; NaN stays a (quiet) NaN.
#[inline(always)]
unsafe fn to_bf16(value: __m256) -> __m128i {
    // SAFETY: the caller's promise that there is AVX2.
    unsafe {
        let bits = _mm256_castps_si256(value);
        let odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
        let high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
        let packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0b1000);
        _mm256_castsi256_si128(packed)
    }
}

// SAFETY of all blocks: the processor has AVX2 and FMA (and AVX-VNNI if the constant says so), and pointers are valid for
// as many elements as are read or written, by the trait's contract.
impl<const VNNI: bool> Simd for Avx2<VNNI> {
    const LANES: usize = LANES;
    const MANY_REGISTERS: bool = false;
    type V = __m256;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn splat_word(value: u32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_castsi256_ps(_mm256_set1_epi32(value as i32)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> __m256 {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), lanes.as_mut_ptr().cast::<u8>(), count * 4);
            _mm256_loadu_ps(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, value: __m256) {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr().cast::<u8>(), to.cast::<u8>(), count * 4);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let halves = _mm_loadu_si128(from.cast());
            _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_first(from: *const bf16, count: usize) -> __m256 {
        let mut lanes = [bf16::ZERO; LANES];
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), lanes.as_mut_ptr().cast::<u8>(), count * 2);
            Self::load_bf16(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut bf16, value: __m256) {
        // SAFETY: see above.
        unsafe { _mm_storeu_si128(to.cast(), to_bf16(value)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_first(to: *mut bf16, count: usize, value: __m256) {
        let mut lanes = [bf16::ZERO; LANES];
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            Self::store_bf16(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr().cast::<u8>(), to.cast::<u8>(), count * 2);
        }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn where_greater(a: __m256, b: __m256, value: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b), value) }
    }
    #[inline(always)]
    unsafe fn power_of_two(n: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_castps_si256(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23))
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let low = |v| _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(v), 16));
            let high = |v| _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000u32 as i32)));
            _mm256_fmadd_ps(high(a), high(b), _mm256_fmadd_ps(low(a), low(b), sum))
        }
    }
    #[inline(always)]
    unsafe fn prefetch<T>(at: *const T) {
        // SAFETY: see above; a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let (sum, a, b) = (_mm256_castps_si256(sum), _mm256_castps_si256(a), _mm256_castps_si256(b));
            _mm256_castsi256_ps(if VNNI {
                _mm256_dpbusd_avx_epi32(sum, a, b)
            } else {
                // Sums of two products are within 16 bits, where this instruction would cut them off.
                let pairs = _mm256_maddubs_epi16(a, b);
                _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            })
        }
    }
    #[inline(always)]
    unsafe fn from_integers(a: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_cvtepi32_ps(_mm256_castps_si256(a)) }
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, value: __m256) {
        // SAFETY: see above.
        unsafe {
            let integers = _mm256_cvtps_epi32(value);
            let (low, high) = (_mm256_castsi256_si128(integers), _mm256_extracti128_si256::<1>(integers));
            let halves = _mm_packs_epi32(low, high);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves));
        }
    }
    #[inline(always)]
    unsafe fn store_u8_pair(to: *mut u8, first: __m256, second: __m256) {
        // SAFETY: see above.
        unsafe {
            // Both instructions take halves of registers by turns; words are put in order at the end.
            let halves = _mm256_packs_epi32(_mm256_cvtps_epi32(first), _mm256_cvtps_epi32(second));
            let bytes = _mm256_packus_epi16(halves, halves);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(bytes));
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(low.cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(high.cast()));
            _mm256_castsi256_ps(_mm256_or_si256(low, _mm256_slli_epi32(high, 16)))
        }
    }
}
