//! The transforms of F(2, 3) and F(4, 3).

use crate::simd::Simd;

/// The transforms of one dimension, for tiles with [`Transforms::OUTPUTS`] outputs. Arrays have room for the
/// largest tile.
pub(super) trait Transforms {
    /// Outputs of a tile.
    const OUTPUTS: usize;
    /// Inputs of a tile: as many as its transformed components.
    const INPUTS: usize = Self::OUTPUTS + 2;

    /// `Bᵀ d`
    ///
    /// # Safety
    /// The processor has S; so for the following.
    unsafe fn input<S: Simd>(d: [S::V; 6]) -> [S::V; 6];
    /// `G g`
    unsafe fn filter<S: Simd>(g: [S::V; 3]) -> [S::V; 6];
    /// `Aᵀ s`
    unsafe fn output<S: Simd>(s: [S::V; 6]) -> [S::V; 4];
    /// `A dy`
    unsafe fn output_gradient<S: Simd>(dy: [S::V; 6]) -> [S::V; 6];
    /// `Gᵀ s`
    unsafe fn filter_gradient<S: Simd>(s: [S::V; 6]) -> [S::V; 3];
}

/// F(2, 3), by the points 0, 1, -1 and infinity.
pub(super) struct F2;

// SAFETY of all blocks here and below: the processor has S, by the trait's contract.
impl Transforms for F2 {
    const OUTPUTS: usize = 2;

    #[inline(always)]
    unsafe fn input<S: Simd>([d0, d1, d2, d3, ..]: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let none = S::splat(0.0);
            [S::sub(d0, d2), S::add(d1, d2), S::sub(d2, d1), S::sub(d1, d3), none, none]
        }
    }

    #[inline(always)]
    unsafe fn filter<S: Simd>([g0, g1, g2]: [S::V; 3]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let (half, ends, none) = (S::splat(0.5), S::add(g0, g2), S::splat(0.0));
            [g0, S::mul(half, S::add(ends, g1)), S::mul(half, S::sub(ends, g1)), g2, none, none]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>([s0, s1, s2, s3, ..]: [S::V; 6]) -> [S::V; 4] {
        // SAFETY: see above.
        unsafe {
            let none = S::splat(0.0);
            [S::add(s0, S::add(s1, s2)), S::sub(S::sub(s1, s2), s3), none, none]
        }
    }

    #[inline(always)]
    unsafe fn output_gradient<S: Simd>([dy0, dy1, ..]: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let none = S::splat(0.0);
            [dy0, S::add(dy0, dy1), S::sub(dy0, dy1), S::sub(none, dy1), none, none]
        }
    }

    #[inline(always)]
    unsafe fn filter_gradient<S: Simd>([s0, s1, s2, s3, ..]: [S::V; 6]) -> [S::V; 3] {
        // SAFETY: see above.
        unsafe {
            let half = S::splat(0.5);
            let (sum, difference) = (S::mul(half, S::add(s1, s2)), S::mul(half, S::sub(s1, s2)));
            [S::add(s0, sum), difference, S::add(sum, s3)]
        }
    }
}

/// F(4, 3), by the points 0, 1, -1, 1/2, -2 and infinity: these lose fewer digits than the usual 0, ±1, ±2
/// (Barabasz et al. 2020, "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural
/// Networks").
pub(super) struct F4;

impl Transforms for F4 {
    const OUTPUTS: usize = 4;

    #[inline(always)]
    unsafe fn input<S: Simd>([d0, d1, d2, d3, d4, d5]: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let factor = S::splat(1.5);
            let (even, odd) = (S::sub(d4, d2), S::sub(d3, d1));
            [
                S::fma(factor, odd, S::add(S::sub(d0, d2), even)),
                S::fma(factor, S::add(d2, d3), S::add(even, odd)),
                S::fma(factor, S::sub(d3, d2), S::sub(even, odd)),
                S::fma(S::splat(2.0), odd, even),
                S::fma(S::splat(-0.5), odd, even),
                S::fma(factor, even, S::sub(S::sub(d5, d3), odd)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn filter<S: Simd>([g0, g1, g2]: [S::V; 3]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let (third, ends) = (S::splat(1.0 / 3.0), S::add(g0, g2));
            let at_half = S::fma(S::splat(0.5), g1, S::fma(S::splat(0.25), g2, g0));
            let at_two = S::fma(S::splat(-2.0), g1, S::fma(S::splat(4.0), g2, g0));
            [
                g0,
                S::mul(third, S::add(g1, ends)),
                S::mul(third, S::sub(g1, ends)),
                S::mul(S::splat(-16.0 / 15.0), at_half),
                S::mul(S::splat(1.0 / 15.0), at_two),
                g2,
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>([s0, s1, s2, s3, s4, s5]: [S::V; 6]) -> [S::V; 4] {
        // SAFETY: see above.
        unsafe {
            let (sum, difference) = (S::add(s1, s2), S::sub(s1, s2));
            [
                S::add(S::add(s0, sum), S::add(s3, s4)),
                S::fma(S::splat(-2.0), s4, S::fma(S::splat(0.5), s3, difference)),
                S::fma(S::splat(4.0), s4, S::fma(S::splat(0.25), s3, sum)),
                S::fma(S::splat(-8.0), s4, S::fma(S::splat(0.125), s3, S::add(difference, s5))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output_gradient<S: Simd>([dy0, dy1, dy2, dy3, ..]: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: see above.
        unsafe {
            let (even, odd) = (S::add(dy0, dy2), S::add(dy1, dy3));
            let half = S::fma(S::splat(0.25), dy2, dy0);
            let two = S::fma(S::splat(4.0), dy2, dy0);
            [
                dy0,
                S::add(even, odd),
                S::sub(even, odd),
                S::fma(S::splat(0.5), dy1, S::fma(S::splat(0.125), dy3, half)),
                S::fma(S::splat(-2.0), dy1, S::fma(S::splat(-8.0), dy3, two)),
                dy3,
            ]
        }
    }

    #[inline(always)]
    unsafe fn filter_gradient<S: Simd>([s0, s1, s2, s3, s4, s5]: [S::V; 6]) -> [S::V; 3] {
        // SAFETY: see above.
        unsafe {
            let third = S::splat(1.0 / 3.0);
            let (sum, difference) = (S::mul(third, S::add(s1, s2)), S::mul(third, S::sub(s1, s2)));
            let half = S::mul(S::splat(-16.0 / 15.0), s3);
            let two = S::mul(S::splat(1.0 / 15.0), s4);
            [
                S::add(S::add(s0, difference), S::add(half, two)),
                S::fma(S::splat(0.5), half, S::fma(S::splat(-2.0), two, sum)),
                S::fma(S::splat(0.25), half, S::fma(S::splat(4.0), two, S::add(difference, s5))),
            ]
        }
    }
}
