//! Plain Rust: arrays that the compiler turns into whatever vectors the target always has.

use super::Simd;
use half::bf16;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 8;

#[inline(always)]
fn map2(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn halves(word: f32) -> (f32, f32) {
    let bits = word.to_bits();
    (f32::from_bits(bits << 16), f32::from_bits(bits & 0xffff_0000))
}

// SAFETY of all blocks: pointers are valid for as many elements as are read or written, by the trait's contract.
impl Simd for Portable {
    const LANES: usize = LANES;
    const MANY_REGISTERS: bool = false;
    type V = [f32; LANES];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn splat_word(value: u32) -> Self::V {
        [f32::from_bits(value); LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: see above.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        // SAFETY: see above.
        std::array::from_fn(|i| if i < count { unsafe { from.add(i).read_unaligned() } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        // SAFETY: see above.
        unsafe { to.cast::<Self::V>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, value: Self::V) {
        for (i, value) in value.into_iter().enumerate().take(count) {
            // SAFETY: see above.
            unsafe { to.add(i).write_unaligned(value) }
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self::V {
        // SAFETY: see above.
        let halves = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        halves.map(|half| f32::from_bits(u32::from(half) << 16))
    }
    #[inline(always)]
    unsafe fn load_bf16_first(from: *const bf16, count: usize) -> Self::V {
        let mut lanes = [0.0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            // SAFETY: see above.
            *lane = unsafe { from.add(i).read_unaligned() }.to_f32();
        }
        lanes
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut bf16, value: Self::V) {
        // SAFETY: see above.
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(value.map(super::bf16_bits)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_first(to: *mut bf16, count: usize, value: Self::V) {
        for (i, value) in value.into_iter().enumerate().take(count) {
            // SAFETY: see above.
            unsafe { to.add(i).write_unaligned(bf16::from_f32(value)) }
        }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    // Two roundings: `f32::mul_add` would be a function call where there is no such instruction.
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn where_greater(a: Self::V, b: Self::V, value: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { value[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn power_of_two(n: Self::V) -> Self::V {
        n.map(|n| f32::from_bits(n.to_bits().wrapping_add(127) << 23))
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::V, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| {
            let ((a0, a1), (b0, b1)) = (halves(a[i]), halves(b[i]));
            sum[i] + a0 * b0 + a1 * b1
        })
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: Self::V, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| {
            let (a, b) = (a[i].to_bits().to_le_bytes(), b[i].to_bits().to_le_bytes());
            let products = a.into_iter().zip(b).map(|(a, b)| i32::from(a) * i32::from(b.cast_signed()));
            f32::from_bits((sum[i].to_bits().cast_signed() + products.sum::<i32>()).cast_unsigned())
        })
    }
    #[inline(always)]
    unsafe fn from_integers(a: Self::V) -> Self::V {
        a.map(|a| a.to_bits().cast_signed() as f32)
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::V {
        // SAFETY: see above.
        unsafe { from.cast::<[u8; LANES]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, value: Self::V) {
        // SAFETY: see above. `as` saturates.
        unsafe { to.cast::<[u8; LANES]>().write_unaligned(value.map(|value| value.round_ties_even() as u8)) }
    }
    #[inline(always)]
    unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> Self::V {
        // SAFETY: see above.
        let (low, high) = unsafe {
            (low.cast::<[u16; LANES]>().read_unaligned(), high.cast::<[u16; LANES]>().read_unaligned())
        };
        std::array::from_fn(|i| f32::from_bits(u32::from(low[i]) | u32::from(high[i]) << 16))
    }
}
