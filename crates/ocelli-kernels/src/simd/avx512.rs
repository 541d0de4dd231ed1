//! AVX-512: 32 registers of 16 lanes; with BF16, dot products of pairs of bf16.

use super::{Kernel, Simd};
use half::bf16;
use std::arch::x86_64::*;

/// # Safety
/// The processor has AVX-512 F, BW, DQ and VL, and what `avx2::run` needs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features are enabled here.
    unsafe { kernel.run::<Avx512<false, false>>() }
}

/// # Safety
/// The processor has AVX-512 VNNI, and what [`run`] needs.
#[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn run_vnni<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features are enabled here.
    unsafe { kernel.run::<Avx512<false, true>>() }
}

/// # Safety
/// The processor has AVX-512 F, BW, DQ, VL and BF16, and what `avx2::run` needs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn run_bf16<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features are enabled here.
    unsafe { kernel.run::<Avx512<true, false>>() }
}

/// `BF16`: with the instructions of AVX-512 BF16; `VNNI`: with those of AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool, const VNNI: bool>;

const LANES: usize = 16;

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

/// Rounds to bf16; NaN stays a (quiet) NaN.
#[inline(always)]
unsafe fn to_bf16<const BF16: bool>(value: __m512) -> __m256i {
    // SAFETY: the caller's promise that there is AVX-512, and BF16 if it says so.
    unsafe {
        if BF16 {
            return std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value));
        }
        let bits = _mm512_castps_si512(value);
        let odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
        _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_blend_epi32(nan, rounded, quiet), 16))
    }
}

#[inline(always)]
unsafe fn from_bf16(halves: __m256i) -> __m512 {
    // SAFETY: the caller's promise that there is AVX-512.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16)) }
}

// SAFETY of all blocks: the processor has AVX-512 F, BW, DQ and VL (and BF16 or VNNI if the constants say so), and pointers
// are valid for as many elements as are read or written, by the trait's contract.
impl<const BF16: bool, const VNNI: bool> Simd for Avx512<BF16, VNNI> {
    const LANES: usize = LANES;
    const MANY_REGISTERS: bool = true;
    const FAST_DOT: bool = BF16;
    type V = __m512;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn splat_word(value: u32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_castsi512_ps(_mm512_set1_epi32(value as i32)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_maskz_loadu_ps(first(count), from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, value: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_mask_storeu_ps(to, first(count), value) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> __m512 {
        // SAFETY: see above.
        unsafe { from_bf16(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_first(from: *const bf16, count: usize) -> __m512 {
        // SAFETY: see above.
        unsafe { from_bf16(_mm256_maskz_loadu_epi16(first(count), from.cast())) }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut bf16, value: __m512) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_si256(to.cast(), to_bf16::<BF16>(value)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_first(to: *mut bf16, count: usize, value: __m512) {
        // SAFETY: see above.
        unsafe { _mm256_mask_storeu_epi16(to.cast(), first(count), to_bf16::<BF16>(value)) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn where_greater(a: __m512, b: __m512, value: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), value) }
    }
    #[inline(always)]
    unsafe fn power_of_two(n: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_castps_si512(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            if BF16 {
                let (a, b) =
                    (std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b));
                return _mm512_dpbf16_ps(sum, a, b);
            }
            let low = |v| _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(v), 16));
            let high = |v| {
                let mask = _mm512_set1_epi32(0xffff_0000u32 as i32);
                _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), mask))
            };
            _mm512_fmadd_ps(high(a), high(b), _mm512_fmadd_ps(low(a), low(b), sum))
        }
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let (sum, a, b) = (_mm512_castps_si512(sum), _mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(if VNNI {
                _mm512_dpbusd_epi32(sum, a, b)
            } else {
                // As of AVX2.
                let pairs = _mm512_maddubs_epi16(a, b);
                _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
            })
        }
    }
    #[inline(always)]
    unsafe fn from_integers(a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(_mm512_castps_si512(a)) }
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, value: __m512) {
        // SAFETY: see above.
        unsafe {
            let integers = _mm512_max_epi32(_mm512_cvtps_epi32(value), _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(integers));
        }
    }
    #[inline(always)]
    unsafe fn store_u8_first(to: *mut u8, count: usize, value: __m512) {
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            let integers = _mm512_max_epi32(_mm512_cvtps_epi32(value), _mm512_setzero_si512());
            _mm512_mask_cvtusepi32_storeu_epi8(to.cast(), first(count), integers);
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> __m512 {
        // SAFETY: see above.
        unsafe { pairs(_mm256_loadu_si256(low.cast()), _mm256_loadu_si256(high.cast())) }
    }
    #[inline(always)]
    unsafe fn prefetch<T>(at: *const T) {
        // SAFETY: see above; a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn load_pairs_first(low: *const bf16, lows: usize, high: *const bf16, highs: usize) -> __m512 {
        // SAFETY: see above.
        unsafe {
            pairs(
                _mm256_maskz_loadu_epi16(first(lows), low.cast()),
                _mm256_maskz_loadu_epi16(first(highs), high.cast()),
            )
        }
    }
}

/// Halves of words, lane by lane.
#[inline(always)]
unsafe fn pairs(low: __m256i, high: __m256i) -> __m512 {
    // SAFETY: the caller's promise that there is AVX-512 BW; the index has 32 lanes of 16 bits.
    unsafe {
        let index = _mm512_loadu_si512(ALTERNATING.as_ptr().cast());
        let (low, high) = (_mm512_castsi256_si512(low), _mm512_castsi256_si512(high));
        _mm512_castsi512_ps(_mm512_permutex2var_epi16(low, index, high))
    }
}

/// Lane i of the first of two registers (0 to 31), then lane i of the second (32 to 63).
const ALTERNATING: [u16; 32] = {
    let mut index = [0; 32];
    let mut i = 0;
    while i < 16 {
        index[2 * i] = i as u16;
        index[2 * i + 1] = 32 + i as u16;
        i += 1;
    }
    index
};
