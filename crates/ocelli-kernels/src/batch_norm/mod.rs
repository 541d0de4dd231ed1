//! Batch normalisation in training, with residual and activation, forward and backward.
//!
//! | module | |
//! |---|---|
//! | `statistics` | mean, variance and sums of channels |
//! | `passes` | the kernels of the forward and backward pass |
//! | `periodic` | values for each channel, repeated to fill whole vectors |

mod passes;
mod periodic;
mod statistics;

use crate::{
    activation::Activation, element::Element, isa::Isa, shape::assert_len, shared_mut::SharedMut, threads,
};
use passes::Job;
pub(crate) use passes::{BackwardKernel, ForwardKernel};
use periodic::{Correction, Periodic, piece_len, repeated};
use rayon::prelude::*;
pub use statistics::{ChannelStatistics, channel_statistics, channel_sums};
pub(crate) use statistics::{Moments, SumKernel};
use statistics::{add_pieces, pixels};

/// Where a normalisation's mean and variance came from: its backward pass depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatisticsSource {
    /// From this batch: they depend on `x`.
    Batch,
    /// Running statistics: constants.
    Frozen,
}

/// Batch normalisation of `[pixels, channels]` with what follows it:
/// `y = activation((x − mean) / sqrt(variance + epsilon) · gamma + beta + residual)`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// `[channels]`
    pub mean: &'a [f32],
    /// `[channels]`, biased.
    pub variance: &'a [f32],
    /// `[channels]`: the learnt scale, "weight" in PyTorch.
    pub gamma: &'a [f32],
    /// `[channels]`: the learnt shift, "bias" in PyTorch.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
    /// Applied last.
    pub activation: Activation,
}

/// Gradients with respect to the learnt scale and shift.
#[derive(Clone, Debug, PartialEq)]
pub struct NormGradients {
    /// `[channels]`
    pub gamma: Vec<f32>,
    /// `[channels]`
    pub beta: Vec<f32>,
}

impl BatchNorm<'_> {
    /// Normalises in one pass over memory. `x`, `residual`, `y`: `[pixels, channels]`.
    ///
    /// # Panics
    /// On slices of other lengths.
    pub fn forward<T: Element>(&self, x: &[T], residual: Option<&[T]>, y: &mut [T]) {
        let channels = self.check(x, residual);
        assert_len("y", y, x.len());
        let periodic = self.periodic(channels);
        let piece = piece_len(channels);
        y.par_chunks_mut(piece).enumerate().for_each(|(at, y)| {
            let range = at * piece..at * piece + y.len();
            let kernel = ForwardKernel {
                activation: self.activation,
                periodic: &periodic,
                x: &x[range.clone()],
                residual: residual.map(|residual| &residual[range]),
                y,
            };
            T::norm_forward(Isa::current(), kernel);
        });
    }

    /// The backward pass of [`BatchNorm::forward`].
    ///
    /// `x` and `residual`: the forward pass's inputs; `dy`: the gradient with respect to its output; `dx` and
    /// `dresidual`: overwritten with the gradients with respect to `x`, plus `others` if given (gradients
    /// that reach `x` along other paths), and to `residual`.
    ///
    /// # Panics
    /// On slices of other lengths.
    #[allow(clippy::too_many_arguments)] // two inputs, four gradients
    pub fn backward<T: Element>(
        &self,
        source: StatisticsSource,
        x: &[T],
        residual: Option<&[T]>,
        dy: &[T],
        others: Option<&[T]>,
        dx: &mut [T],
        dresidual: Option<&mut [T]>,
    ) -> NormGradients {
        let channels = self.check(x, residual);
        assert_len("dy", dy, x.len());
        assert_len("dx", dx, x.len());
        if let Some(others) = others {
            assert_len("others", others, x.len());
        }
        if let Some(dresidual) = &dresidual {
            assert_len("dresidual", dresidual, x.len());
        }
        let periodic = self.periodic(channels);
        let pass = BackwardPass {
            activation: self.activation,
            channels,
            periodic: &periodic,
            x,
            residual,
            dy,
            others,
            dx: SharedMut::new(dx),
            dresidual: dresidual.map(SharedMut::new),
        };
        // With constant statistics one pass does both; else dx needs the sums.
        let first = if source == StatisticsSource::Frozen { Job::Both } else { Job::Sum };
        let [beta, gamma] = add_pieces(channels, &pass.run(first, None));
        let gamma: Vec<f64> =
            gamma.iter().zip(self.inverse_deviation()).map(|(sum, inverse)| sum * inverse).collect();
        if source == StatisticsSource::Batch && !x.is_empty() {
            let correction = self.correction(&periodic, x.len() / channels, &beta, &gamma);
            pass.run(Job::Write, Some(&correction));
        }
        let single = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
        NormGradients { gamma: single(gamma), beta: single(beta) }
    }

    fn inverse_deviation(&self) -> impl Iterator<Item = f64> {
        self.variance.iter().map(|variance| 1.0 / (f64::from(*variance) + f64::from(self.epsilon)).sqrt())
    }

    fn periodic(&self, channels: usize) -> Periodic {
        let scale: Vec<f64> =
            self.inverse_deviation().zip(self.gamma).map(|(i, gamma)| i * f64::from(*gamma)).collect();
        let shift = |c: usize| f64::from(self.beta[c]) - f64::from(self.mean[c]) * scale[c];
        Periodic {
            scale: repeated(channels, |c| scale[c] as f32),
            shift: repeated(channels, |c| shift(c) as f32),
            mean: repeated(channels, |c| self.mean[c]),
        }
    }

    fn correction(&self, periodic: &Periodic, pixels: usize, beta: &[f64], gamma: &[f64]) -> Correction {
        let channels = self.mean.len();
        let inverse: Vec<f64> = self.inverse_deviation().collect();
        let slope = |c: usize| -f64::from(periodic.scale[c]) * inverse[c] * gamma[c] / pixels as f64;
        let constant = |c: usize| -f64::from(periodic.scale[c]) * beta[c] / pixels as f64;
        Correction {
            slope: repeated(channels, |c| slope(c) as f32),
            constant: repeated(channels, |c| constant(c) as f32),
        }
    }

    #[track_caller]
    fn check<T: Element>(&self, x: &[T], residual: Option<&[T]>) -> usize {
        let channels = self.mean.len();
        pixels(channels, x);
        assert_len("variance", self.variance, channels);
        assert_len("gamma", self.gamma, channels);
        assert_len("beta", self.beta, channels);
        if let Some(residual) = residual {
            assert_len("residual", residual, x.len());
        }
        channels
    }
}

/// The arguments of a backward pass over memory.
struct BackwardPass<'a, T> {
    activation: Activation,
    channels: usize,
    periodic: &'a Periodic,
    x: &'a [T],
    residual: Option<&'a [T]>,
    dy: &'a [T],
    others: Option<&'a [T]>,
    dx: SharedMut<T>,
    dresidual: Option<SharedMut<T>>,
}

impl<T: Element> BackwardPass<'_, T> {
    /// Runs over all pieces, and returns their sums.
    fn run(&self, job: Job, correction: Option<&Correction>) -> Vec<[Vec<f64>; 2]> {
        let piece = piece_len(self.channels);
        let pieces = (0..self.x.len().div_ceil(piece)).into_par_iter().with_min_len(threads::min_len(1));
        let work = pieces.map(|at| {
            let range = at * piece..((at + 1) * piece).min(self.x.len());
            // SAFETY: pieces do not overlap, and one pass follows the other.
            let (dx, dresidual) = unsafe {
                (
                    self.dx.slice(range.start, range.len()),
                    self.dresidual.map(|dresidual| dresidual.slice(range.start, range.len())),
                )
            };
            let kernel = BackwardKernel {
                activation: self.activation,
                channels: self.channels,
                periodic: self.periodic,
                job,
                correction,
                x: &self.x[range.clone()],
                residual: self.residual.map(|residual| &residual[range.clone()]),
                dy: &self.dy[range.clone()],
                others: self.others.map(|others| &others[range]),
                dx,
                dresidual,
            };
            T::norm_backward(Isa::current(), kernel)
        });
        work.collect()
    }
}
