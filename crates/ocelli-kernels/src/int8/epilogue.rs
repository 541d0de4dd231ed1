//! What is done to sums while they are in registers, and how they become bytes.

use super::Quantization;
use crate::{
    activation::{Activation, activate},
    simd::Simd,
};

/// What becomes of sums: `activation(sum · factor + shift + residual)`, as a byte.
#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    /// Of each channel, with room for a whole vector behind.
    factors: &'a [f32],
    shifts: &'a [f32],
    residual: Option<Residual<'a>>,
    /// Where factors, shifts and residual give numbers; otherwise they give steps of the output.
    activation: Option<(Activation, Quantization)>,
    /// The smallest and the largest byte.
    bounds: [f32; 2],
}

#[derive(Clone, Copy)]
struct Residual<'a> {
    bytes: &'a [u8],
    /// Of its bytes.
    factor: f32,
    shift: f32,
}

impl<'a> Epilogue<'a> {
    /// `in_steps`: factors and shifts give steps of the output, and the activation is a clamp; otherwise they give numbers.
    pub fn new(
        [factors, shifts]: [&'a [f32]; 2],
        residual: Option<(&'a [u8], Quantization)>,
        activation: Activation,
        to: Quantization,
        in_steps: bool,
    ) -> Self {
        let residual = residual.map(|(bytes, from)| {
            let factor = if in_steps { from.scale / to.scale } else { from.scale };
            Residual { bytes, factor, shift: -factor * f32::from(from.zero_point) }
        });
        let bounds = activation.limits().unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let bounds = bounds.map(|bound| (bound / to.scale + f32::from(to.zero_point)).clamp(0.0, 255.0));
        Self { factors, shifts, residual, activation: (!in_steps).then_some((activation, to)), bounds }
    }

    pub fn has_residual(&self) -> bool {
        self.residual.is_some()
    }

    /// Whether there is an activation that is more than a clamp.
    pub fn is_activated(&self) -> bool {
        self.activation.is_some()
    }

    /// What becomes of a vector of sums, those of `channel` and of the channels behind it, before it is rounded to the
    /// bytes at `at`. `RESIDUAL`, `ACTIVATED`: there may be such.
    ///
    /// # Safety
    /// The processor has S; the output has the bytes, and slack.
    #[inline(always)]
    pub unsafe fn apply<S: Simd, const RESIDUAL: bool, const ACTIVATED: bool>(
        &self,
        sums: S::V,
        channel: usize,
        at: usize,
    ) -> S::V {
        // SAFETY: the caller's promise. There is a whole vector behind each channel's factor.
        unsafe {
            let factor = S::load(self.factors.as_ptr().add(channel));
            let shift = S::load(self.shifts.as_ptr().add(channel));
            let mut value = S::fma(sums, factor, shift);
            if RESIDUAL && let Some(residual) = self.residual {
                let bytes = S::load_u8(residual.bytes.as_ptr().add(at));
                let shift = S::splat(residual.shift);
                value = S::add(value, S::fma(bytes, S::splat(residual.factor), shift));
            }
            if ACTIVATED && let Some((activation, to)) = self.activation {
                value = activate::<S>(activation, value);
                value = S::fma(value, S::splat(1.0 / to.scale), S::splat(f32::from(to.zero_point)));
            }
            bounded::<S>(value, self.bounds)
        }
    }
}

/// Stores `lanes` numbers as [`Simd::store_u8`].
///
/// # Safety
/// There is room for as many bytes, and the processor has S.
#[inline(always)]
pub(super) unsafe fn store_bytes<S: Simd>(to: *mut u8, lanes: usize, value: S::V) {
    // SAFETY: the caller's promise.
    unsafe {
        match lanes == S::LANES {
            true => S::store_u8(to, value),
            false => S::store_u8_first(to, lanes, value),
        }
    }
}

/// Within bounds; NaN becomes the lower one.
///
/// # Safety
/// The processor has S.
#[inline(always)]
pub(super) unsafe fn bounded<S: Simd>(value: S::V, [low, high]: [f32; 2]) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { S::min(S::max(value, S::splat(low)), S::splat(high)) }
}
