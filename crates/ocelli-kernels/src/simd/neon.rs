//! NEON: 32 registers of 4 lanes.

use super::{Kernel, Simd};
use half::bf16;
use std::arch::aarch64::*;

/// # Safety
/// The processor has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the feature is enabled here.
    unsafe { kernel.run::<Neon>() }
}

#[derive(Clone, Copy)]
pub(crate) struct Neon;

const LANES: usize = 4;

// SAFETY of all blocks: the processor has NEON, and pointers are valid for as many elements as are read or written,
// by the trait's contract.
impl Simd for Neon {
    const LANES: usize = LANES;
    const MANY_REGISTERS: bool = true;
    type V = float32x4_t;

    #[inline(always)]
    unsafe fn splat(value: f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_f32(value) }
    }
    #[inline(always)]
    unsafe fn splat_word(value: u32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vreinterpretq_f32_u32(vdupq_n_u32(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> float32x4_t {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), lanes.as_mut_ptr().cast::<u8>(), count * 4);
            vld1q_f32(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: float32x4_t) {
        // SAFETY: see above.
        unsafe { vst1q_f32(to, value) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, value: float32x4_t) {
        let mut lanes = [0.0f32; LANES];
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr().cast::<u8>(), to.cast::<u8>(), count * 4);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_bf16_first(from: *const bf16, count: usize) -> float32x4_t {
        let mut lanes = [bf16::ZERO; LANES];
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), lanes.as_mut_ptr().cast::<u8>(), count * 2);
            Self::load_bf16(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut bf16, value: float32x4_t) {
        // SAFETY: see above.
        unsafe {
            let bits = vreinterpretq_u32_f32(value);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
            let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
            let number = vceqq_f32(value, value);
            vst1_u16(to.cast(), vshrn_n_u32::<16>(vbslq_u32(number, rounded, quiet)));
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_first(to: *mut bf16, count: usize, value: float32x4_t) {
        let mut lanes = [bf16::ZERO; LANES];
        // SAFETY: see above; `count` is at most LANES.
        unsafe {
            Self::store_bf16(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr().cast::<u8>(), to.cast::<u8>(), count * 2);
        }
    }

    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vsqrtq_f32(a) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vfmaq_f32(c, a, b) }
    }
    // By comparison, because NEON's own maximum treats NaN otherwise than the other instruction sets.
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    #[inline(always)]
    unsafe fn where_greater(a: float32x4_t, b: float32x4_t, value: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vreinterpretq_f32_u32(vandq_u32(vcgtq_f32(a, b), vreinterpretq_u32_f32(value))) }
    }
    #[inline(always)]
    unsafe fn power_of_two(n: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let exponent = vaddq_u32(vreinterpretq_u32_f32(n), vdupq_n_u32(127));
            vreinterpretq_f32_u32(vshlq_n_u32::<23>(exponent))
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let low = |v| vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(v)));
            let high =
                |v| vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vdupq_n_u32(0xffff_0000)));
            vfmaq_f32(vfmaq_f32(sum, low(a), low(b)), high(a), high(b))
        }
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above. A product is within 16 bits.
        unsafe {
            let (a, b) = (vreinterpretq_u8_f32(a), vreinterpretq_s8_f32(b));
            let product = |a, b| vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(a)), vmovl_s8(b));
            let low = vpaddlq_s16(product(vget_low_u8(a), vget_low_s8(b)));
            let high = vpaddlq_s16(product(vget_high_u8(a), vget_high_s8(b)));
            vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(sum), vpaddq_s32(low, high)))
        }
    }
    #[inline(always)]
    unsafe fn from_integers(a: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vcvtq_f32_s32(vreinterpretq_s32_f32(a)) }
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let words = vreinterpret_u8_u32(vdup_n_u32(from.cast::<u32>().read_unaligned()));
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(words))))
        }
    }
    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, value: float32x4_t) {
        // SAFETY: see above.
        unsafe {
            let halves = vqmovn_s32(vcvtnq_s32_f32(value));
            let bytes = vqmovun_s16(vcombine_s16(halves, halves));
            to.cast::<u32>().write_unaligned(vget_lane_u32::<0>(vreinterpret_u32_u8(bytes)));
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let low = vmovl_u16(vld1_u16(low.cast()));
            let high = vshll_n_u16::<16>(vld1_u16(high.cast()));
            vreinterpretq_f32_u32(vorrq_u32(low, high))
        }
    }
}
