//! Batch normalisation in training, with residual and activation, forward and backward.

use crate::{Activation, Element, assert_len};
use rayon::prelude::*;

/// Mean and variance of each channel over all images and pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStatistics {
    /// `[channels]`
    pub mean: Vec<f32>,
    /// `[channels]`; biased: divided by the number of pixels.
    pub variance: Vec<f32>,
}

/// The mean and (biased) variance of each channel of `x`, `[pixels, channels]`.
///
/// # Panics
/// If `x` is empty or its length is no multiple of `channels`.
pub fn channel_statistics<T: Element>(channels: usize, x: &[T]) -> ChannelStatistics {
    let pixels = pixels(channels, x);
    assert!(pixels > 0, "statistics of nothing");
    let chunk = chunk_len(channels);
    let partial: Vec<Moments> = x.par_chunks(chunk).map(|chunk| Moments::of(channels, chunk)).collect();
    Moments::merge(channels, &partial)
}

/// The sum of each channel of `x`, `[pixels, channels]`: the gradient with respect to a bias.
///
/// # Panics
/// If the length of `x` is no multiple of `channels`.
pub fn channel_sums<T: Element>(channels: usize, x: &[T]) -> Vec<f32> {
    pixels(channels, x);
    let partial: Vec<Vec<f32>> = x
        .par_chunks(chunk_len(channels))
        .map(|chunk| {
            let mut sums = vec![0.0f32; channels];
            for pixel in chunk.chunks_exact(channels) {
                for (sum, x) in sums.iter_mut().zip(pixel) {
                    *sum += x.to_f32();
                }
            }
            sums
        })
        .collect();
    let mut sums = vec![0.0f64; channels];
    for partial in partial {
        for (sum, partial) in sums.iter_mut().zip(partial) {
            *sum += f64::from(partial);
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// Where a normalisation's mean and variance came from, which its backward pass has to know.
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
pub struct BatchNormGradients {
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
        let (scale, shift) = self.affine();
        let chunk = chunk_len(channels);
        y.par_chunks_mut(chunk).enumerate().for_each(|(at, y)| {
            let x = &x[at * chunk..][..y.len()];
            let residual = residual.map(|r| &r[at * chunk..][..y.len()]);
            for (i, y) in y.iter_mut().enumerate() {
                let u = x[i].to_f32() * scale[i % channels]
                    + shift[i % channels]
                    + residual.map_or(0.0, |r| r[i].to_f32());
                *y = T::from_f32(self.activation.apply(u));
            }
        });
    }

    /// The backward pass of [`BatchNorm::forward`].
    ///
    /// `x` and `residual`: the forward pass's inputs; `dy`: the gradient with respect to its output; `dx` and
    /// `dresidual`: overwritten with the gradients with respect to `x` and `residual`.
    ///
    /// # Panics
    /// On slices of other lengths.
    pub fn backward<T: Element>(
        &self,
        source: StatisticsSource,
        x: &[T],
        residual: Option<&[T]>,
        dy: &[T],
        dx: &mut [T],
        dresidual: Option<&mut [T]>,
    ) -> BatchNormGradients {
        let channels = self.check(x, residual);
        assert_len("dy", dy, x.len());
        assert_len("dx", dx, x.len());
        if let Some(dresidual) = &dresidual {
            assert_len("dresidual", dresidual, x.len());
        }
        let (scale, shift) = self.affine();
        let inverse: Vec<f32> = self.variance.iter().map(|v| 1.0 / (v + self.epsilon).sqrt()).collect();
        // du: the gradient with respect to the activation's argument
        let du = |i: usize| {
            let c = i % channels;
            let u = x[i].to_f32() * scale[c] + shift[c] + residual.map_or(0.0, |r| r[i].to_f32());
            dy[i].to_f32() * self.activation.derivative(u)
        };
        let chunk = chunk_len(channels);
        let chunks = x.len().div_ceil(chunk);
        let partial: Vec<(Vec<f32>, Vec<f32>)> = (0..chunks)
            .into_par_iter()
            .map(|at| {
                let (mut gamma, mut beta) = (vec![0.0f32; channels], vec![0.0f32; channels]);
                for i in at * chunk..((at + 1) * chunk).min(x.len()) {
                    let (c, du) = (i % channels, du(i));
                    beta[c] += du;
                    gamma[c] += du * (x[i].to_f32() - self.mean[c]) * inverse[c];
                }
                (gamma, beta)
            })
            .collect();
        let sum = |which: fn(&(Vec<f32>, Vec<f32>)) -> &Vec<f32>, c: usize| {
            partial.iter().map(|p| f64::from(which(p)[c])).sum::<f64>() as f32
        };
        let gradients = BatchNormGradients {
            gamma: (0..channels).map(|c| sum(|p| &p.0, c)).collect(),
            beta: (0..channels).map(|c| sum(|p| &p.1, c)).collect(),
        };
        let pixels = (x.len() / channels).max(1) as f32;
        dx.par_chunks_mut(chunk).enumerate().for_each(|(at, dx)| {
            for (i, dx) in dx.iter_mut().enumerate() {
                let (i, c) = (at * chunk + i, i % channels);
                let mut gradient = du(i);
                if source == StatisticsSource::Batch {
                    let normalised = (x[i].to_f32() - self.mean[c]) * inverse[c];
                    gradient -= (gradients.beta[c] + normalised * gradients.gamma[c]) / pixels;
                }
                *dx = T::from_f32(gradient * scale[c]);
            }
        });
        if let Some(dresidual) = dresidual {
            dresidual.par_chunks_mut(chunk).enumerate().for_each(|(at, dresidual)| {
                for (i, dresidual) in dresidual.iter_mut().enumerate() {
                    *dresidual = T::from_f32(du(at * chunk + i));
                }
            });
        }
        gradients
    }

    fn affine(&self) -> (Vec<f32>, Vec<f32>) {
        let scale: Vec<f32> =
            self.variance.iter().zip(self.gamma).map(|(v, g)| g / (v + self.epsilon).sqrt()).collect();
        let shift = self.beta.iter().zip(self.mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        (scale, shift)
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

/// Sums of a piece of the data that fit together in a fixed order.
pub(crate) struct Moments {
    pixels: usize,
    mean: Vec<f32>,
    /// Sums of squared distances from the mean.
    squares: Vec<f32>,
}

impl Moments {
    pub(crate) fn of<T: Element>(channels: usize, x: &[T]) -> Self {
        let pixels = x.len() / channels;
        let (mut sums, mut squares) = (vec![0.0f32; channels], vec![0.0f32; channels]);
        for pixel in x.chunks_exact(channels) {
            for (sum, x) in sums.iter_mut().zip(pixel) {
                *sum += x.to_f32();
            }
        }
        let mean: Vec<f32> = sums.into_iter().map(|sum| sum / pixels as f32).collect();
        for pixel in x.chunks_exact(channels) {
            for ((square, x), mean) in squares.iter_mut().zip(pixel).zip(&mean) {
                *square += (x.to_f32() - mean) * (x.to_f32() - mean);
            }
        }
        Moments { pixels, mean, squares }
    }

    /// Chan, Golub and LeVeque's update, in f64.
    pub(crate) fn merge(channels: usize, pieces: &[Moments]) -> ChannelStatistics {
        let (mut mean, mut squares) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        let mut count = 0.0;
        for piece in pieces {
            let more = piece.pixels as f64;
            let total = count + more;
            for c in 0..channels {
                let difference = f64::from(piece.mean[c]) - mean[c];
                mean[c] += difference * more / total;
                squares[c] += f64::from(piece.squares[c]) + difference * difference * count * more / total;
            }
            count = total;
        }
        ChannelStatistics {
            mean: mean.into_iter().map(|m| m as f32).collect(),
            variance: squares.into_iter().map(|s| (s / count) as f32).collect(),
        }
    }
}

/// Elements of the pieces that passes over memory are cut into: whole pixels, about 64 Ki elements.
fn chunk_len(channels: usize) -> usize {
    (65_536 / channels).max(1) * channels
}

#[track_caller]
fn pixels<T>(channels: usize, x: &[T]) -> usize {
    assert!(
        channels > 0 && x.len().is_multiple_of(channels),
        "x has {} elements, no multiple of {channels} channels",
        x.len()
    );
    x.len() / channels
}
