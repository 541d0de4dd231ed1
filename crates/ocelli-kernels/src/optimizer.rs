//! Optimizer steps: the new weights and moving averages in one pass over memory.

use crate::{
    element::{load, store},
    isa::Isa,
    shape::assert_len,
    simd::{Kernel, Simd, run_on},
};
use rayon::prelude::*;

/// A step of stochastic gradient descent with momentum and decoupled weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// The learning rate.
    pub lr: f32,
    /// The factor of the velocity.
    pub momentum: f32,
    /// The factor of the weights: 1 − lr · weight decay.
    pub decay_factor: f32,
}

/// A step of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// The learning rate, divided by 1 − beta_1^steps.
    pub step_size: f32,
    /// The factor of the mean of gradients.
    pub beta_1: f32,
    /// The factor of the mean of squares.
    pub beta_2: f32,
    /// 1 / (1 − beta_2^steps)
    pub square_factor: f32,
    /// Added to the root of the mean of squares.
    pub epsilon: f32,
    /// The factor of the weights: 1 − lr · weight decay.
    pub decay_factor: f32,
}

/// Weights of a piece of work.
const PIECE: usize = 16_384;

/// `velocity' = momentum · velocity + gradient` (the gradient alone if there is no velocity yet);
/// `weights' = decay_factor · weights − lr · velocity'`. The new values go into `new_weights` and
/// `new_velocity`.
///
/// # Panics
/// On slices of different lengths.
pub fn sgd_step(
    step: SgdStep,
    weights: &[f32],
    gradient: &[f32],
    velocity: Option<&[f32]>,
    new_weights: &mut [f32],
    new_velocity: &mut [f32],
) {
    assert_len("gradient", gradient, weights.len());
    assert_len("new_weights", new_weights, weights.len());
    assert_len("new_velocity", new_velocity, weights.len());
    velocity.iter().for_each(|velocity| assert_len("velocity", velocity, weights.len()));
    new_weights.par_chunks_mut(PIECE).zip(new_velocity.par_chunks_mut(PIECE)).enumerate().for_each(
        |(piece, (new_weights, new_velocity))| {
            let range = piece * PIECE..piece * PIECE + new_weights.len();
            let kernel = Sgd {
                step,
                weights: &weights[range.clone()],
                gradient: &gradient[range.clone()],
                velocity: velocity.map(|velocity| &velocity[range]),
                new_weights,
                new_velocity,
            };
            run_on(Isa::current(), kernel);
        },
    );
}

/// `mean' = beta_1 · mean + (1 − beta_1) · gradient`, likewise with the gradient's square (both 0 at first);
/// `weights' = decay_factor · weights − step_size · mean' / (√(square' · square_factor) + epsilon)`. The new
/// values go into `new_weights` and `new_averages`.
///
/// # Panics
/// On slices of different lengths.
pub fn adamw_step(
    step: AdamWStep,
    weights: &[f32],
    gradient: &[f32],
    averages: Option<[&[f32]; 2]>,
    new_weights: &mut [f32],
    new_averages: [&mut [f32]; 2],
) {
    let [new_mean, new_square] = new_averages;
    assert_len("gradient", gradient, weights.len());
    assert_len("new_weights", new_weights, weights.len());
    assert_len("the new mean", new_mean, weights.len());
    assert_len("the new mean of squares", new_square, weights.len());
    averages.iter().flatten().for_each(|average| assert_len("an average", average, weights.len()));
    new_weights
        .par_chunks_mut(PIECE)
        .zip(new_mean.par_chunks_mut(PIECE).zip(new_square.par_chunks_mut(PIECE)))
        .enumerate()
        .for_each(|(piece, (new_weights, (new_mean, new_square)))| {
            let range = piece * PIECE..piece * PIECE + new_weights.len();
            let kernel = AdamW {
                step,
                weights: &weights[range.clone()],
                gradient: &gradient[range.clone()],
                averages: averages.map(|averages| averages.map(|average| &average[range.clone()])),
                new_weights,
                new_mean,
                new_square,
            };
            run_on(Isa::current(), kernel);
        });
}

struct Sgd<'a> {
    step: SgdStep,
    weights: &'a [f32],
    gradient: &'a [f32],
    velocity: Option<&'a [f32]>,
    new_weights: &'a mut [f32],
    new_velocity: &'a mut [f32],
}

impl Kernel for Sgd<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for at in (0..self.weights.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(self.weights.len() - at);
            // SAFETY: the processor has S; all slices have as many lanes.
            unsafe {
                let mut velocity = load::<S, f32>(self.gradient.as_ptr().add(at), lanes);
                if let Some(old) = self.velocity {
                    let old = load::<S, f32>(old.as_ptr().add(at), lanes);
                    velocity = S::fma(S::splat(self.step.momentum), old, velocity);
                }
                let decayed = S::mul(
                    S::splat(self.step.decay_factor),
                    load::<S, f32>(self.weights.as_ptr().add(at), lanes),
                );
                let weights = S::fma(S::splat(-self.step.lr), velocity, decayed);
                store::<S, f32>(self.new_velocity.as_mut_ptr().add(at), lanes, velocity);
                store::<S, f32>(self.new_weights.as_mut_ptr().add(at), lanes, weights);
            }
        }
    }
}

struct AdamW<'a> {
    step: AdamWStep,
    weights: &'a [f32],
    gradient: &'a [f32],
    averages: Option<[&'a [f32]; 2]>,
    new_weights: &'a mut [f32],
    new_mean: &'a mut [f32],
    new_square: &'a mut [f32],
}

impl Kernel for AdamW<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let AdamWStep { step_size, beta_1, beta_2, square_factor, epsilon, decay_factor } = self.step;
        for at in (0..self.weights.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(self.weights.len() - at);
            // SAFETY: the processor has S; all slices have as many lanes.
            unsafe {
                let gradient = load::<S, f32>(self.gradient.as_ptr().add(at), lanes);
                let mut mean = S::mul(S::splat(1.0 - beta_1), gradient);
                let mut square = S::mul(S::splat(1.0 - beta_2), S::mul(gradient, gradient));
                if let Some([old_mean, old_square]) = self.averages {
                    // No closure: one that is not inlined has none of the instruction set's features.
                    let old_mean = load::<S, f32>(old_mean.as_ptr().add(at), lanes);
                    let old_square = load::<S, f32>(old_square.as_ptr().add(at), lanes);
                    mean = S::fma(S::splat(beta_1), old_mean, mean);
                    square = S::fma(S::splat(beta_2), old_square, square);
                }
                let root = S::add(S::sqrt(S::mul(square, S::splat(square_factor))), S::splat(epsilon));
                let weights =
                    S::mul(S::splat(decay_factor), load::<S, f32>(self.weights.as_ptr().add(at), lanes));
                let weights = S::fma(S::splat(-step_size), S::div(mean, root), weights);
                store::<S, f32>(self.new_mean.as_mut_ptr().add(at), lanes, mean);
                store::<S, f32>(self.new_square.as_mut_ptr().add(at), lanes, square);
                store::<S, f32>(self.new_weights.as_mut_ptr().add(at), lanes, weights);
            }
        }
    }
}
