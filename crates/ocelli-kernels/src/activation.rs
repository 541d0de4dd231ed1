//! Activation functions, applied by the kernels while values are in registers: of one value, and of a vector.

use crate::simd::{Simd, exp};

/// An element-wise activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// `u`
    #[default]
    None,
    /// `max(u, 0)`
    Relu,
    /// `min(max(u, 0), 6)`
    Relu6,
    /// `u · sigmoid(u)` (also called swish)
    Silu,
    /// `u · min(max(u + 3, 0), 6) / 6` (MobileNetV3)
    HardSwish,
    /// `u · Φ(u)`, Φ being the normal distribution (ConvNeXt, transformers)
    Gelu,
}

impl Activation {
    /// The function's value at `u`.
    pub fn apply(self, u: f32) -> f32 {
        match self {
            Activation::None => u,
            // Written so that NaN stays NaN.
            Activation::Relu => {
                if u < 0.0 {
                    0.0
                } else {
                    u
                }
            }
            Activation::Relu6 => u.clamp(0.0, 6.0),
            Activation::Silu => u / (1.0 + (-u).exp()),
            Activation::HardSwish => u * (u + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0),
            Activation::Gelu => u * normal(u).0,
        }
    }

    /// The function's derivative at `u`; at a kink PyTorch's value (0 at both ends of ReLU and ReLU6).
    pub fn derivative(self, u: f32) -> f32 {
        match self {
            Activation::None => 1.0,
            Activation::Relu => f32::from(u > 0.0),
            Activation::Relu6 => f32::from(u > 0.0 && u < 6.0),
            Activation::Silu => {
                let sigmoid = 1.0 / (1.0 + (-u).exp());
                sigmoid * (1.0 + u * (1.0 - sigmoid))
            }
            Activation::HardSwish if u < -3.0 => 0.0,
            Activation::HardSwish if u > 3.0 => 1.0,
            Activation::HardSwish => u * (1.0 / 3.0) + 0.5,
            Activation::Gelu => {
                let (below, density) = normal(u);
                below + u * density
            }
        }
    }

    /// The bounds of an activation that is a clamp.
    #[inline(always)]
    pub(crate) fn limits(self) -> Option<[f32; 2]> {
        match self {
            Activation::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
            Activation::Relu => Some([0.0, f32::INFINITY]),
            Activation::Relu6 => Some([0.0, 6.0]),
            Activation::Silu | Activation::HardSwish | Activation::Gelu => None,
        }
    }
}

/// Coefficients of the normal distribution's tail: `p`, then those of t⁵ … t, halved (Abramowitz & Stegun
/// 7.1.26, whose error is at most 1.5e-7).
const TAIL: f32 = 0.327_591_1;
const TAIL_TERMS: [f32; 5] = [0.530_702_7, -0.726_576, 0.710_706_9, -0.142_248_4, 0.127_414_8];
/// `1 / √(2π)`
const DENSITY_AT_0: f32 = 0.398_942_3;

/// The normal distribution at `u`, and its density there.
fn normal(u: f32) -> (f32, f32) {
    let bell = (-0.5 * u * u).exp();
    let t = 1.0 / (1.0 + TAIL * std::f32::consts::FRAC_1_SQRT_2 * u.abs());
    let tail = TAIL_TERMS.iter().fold(0.0, |sum, term| sum * t + term) * t * bell;
    (if u > 0.0 { 1.0 - tail } else { tail }, DENSITY_AT_0 * bell)
}

/// An activation function of each lane.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(activation: Activation, u: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::None => u,
            // NaN stays NaN: `max` returns its second argument then.
            Activation::Relu => S::max(S::splat(0.0), u),
            Activation::Relu6 => S::min(S::splat(6.0), S::max(S::splat(0.0), u)),
            Activation::Silu => S::mul(u, sigmoid::<S>(u)),
            Activation::HardSwish => {
                let gate = S::min(S::splat(6.0), S::max(S::splat(0.0), S::add(u, S::splat(3.0))));
                S::mul(u, S::mul(gate, S::splat(1.0 / 6.0)))
            }
            Activation::Gelu => S::mul(u, normal_vector::<S>(u).0),
        }
    }
}

/// `gradient` times the activation's derivative at `u`.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
pub(crate) unsafe fn activation_gradient<S: Simd>(activation: Activation, u: S::V, gradient: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::None => gradient,
            Activation::Relu => S::where_greater(u, S::splat(0.0), gradient),
            Activation::Relu6 => {
                S::where_greater(S::splat(6.0), u, S::where_greater(u, S::splat(0.0), gradient))
            }
            Activation::Silu => {
                let (one, sigmoid) = (S::splat(1.0), sigmoid::<S>(u));
                S::mul(gradient, S::mul(sigmoid, S::fma(u, S::sub(one, sigmoid), one)))
            }
            Activation::HardSwish => {
                // (2u + 3) / 6 between -3 and 3; beyond, 0 and 1.
                let inner = S::where_greater(S::splat(3.0), u, S::fma(u, S::splat(1.0 / 3.0), S::splat(0.5)));
                let inner = S::where_greater(u, S::splat(-3.0), inner);
                let above = S::sub(S::splat(1.0), S::where_greater(S::splat(3.0), u, S::splat(1.0)));
                S::mul(gradient, S::add(inner, above))
            }
            Activation::Gelu => {
                let (below, density) = normal_vector::<S>(u);
                S::mul(gradient, S::fma(u, density, below))
            }
        }
    }
}

/// The normal distribution, within 1.5e-7, and its density.
#[inline(always)]
unsafe fn normal_vector<S: Simd>(u: S::V) -> (S::V, S::V) {
    // SAFETY: the caller's promise.
    unsafe {
        let (zero, one) = (S::splat(0.0), S::splat(1.0));
        // Beyond ±11 both are 0 or 1 within 1e-26; further out products become so small that processors take
        // long.
        let size = S::min(S::splat(11.0), S::max(S::sub(zero, u), u));
        let bell = exp::<S>(S::mul(S::mul(size, size), S::splat(-0.5)));
        let t = S::div(one, S::fma(size, S::splat(TAIL * std::f32::consts::FRAC_1_SQRT_2), one));
        let mut sum = zero;
        for term in TAIL_TERMS {
            sum = S::fma(sum, t, S::splat(term));
        }
        let tail = S::mul(S::mul(sum, t), bell);
        let above = S::where_greater(u, zero, S::fma(tail, S::splat(-2.0), one));
        (S::add(tail, above), S::mul(bell, S::splat(DENSITY_AT_0)))
    }
}

/// `1 / (1 + exp(-u))`, within 3 units in the last place.
#[inline(always)]
unsafe fn sigmoid<S: Simd>(u: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), u))))
    }
}
