//! Statistics of channels: mean, variance, sums.

use super::periodic::{Vector, period, piece_len, repeated, vectors};
use crate::{
    element::{Element, load},
    isa::Isa,
    simd::{Kernel, Simd},
    threads,
};
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
    let pieces: Vec<Moments> =
        x.par_chunks(piece_len(channels)).map(|piece| Moments::new(channels, piece)).collect();
    Moments::merge(channels, &pieces)
}

/// The sum of each channel of `x`, `[pixels, channels]`: the gradient with respect to a bias.
///
/// # Panics
/// If the length of `x` is no multiple of `channels`.
pub fn channel_sums<T: Element>(channels: usize, x: &[T]) -> Vec<f32> {
    pixels(channels, x);
    let zeros = vec![0.0; channels];
    let pieces: Vec<[Vec<f64>; 2]> = x
        .par_chunks(piece_len(channels))
        .with_min_len(threads::min_len(1))
        .map(|piece| shifted_sums(channels, piece, &zeros))
        .collect();
    add_pieces(channels, &pieces)[0].iter().map(|sum| *sum as f32).collect()
}

/// Moments of a piece of the data, from which statistics are merged.
pub(crate) struct Moments {
    pixels: usize,
    mean: Vec<f64>,
    /// Sums of squared distances from the mean.
    squares: Vec<f64>,
}

impl Moments {
    pub(crate) fn new<T: Element>(channels: usize, x: &[T]) -> Self {
        let pixels = x.len() / channels;
        // Distances from about the mean, so that their squares do not cancel.
        let sample = pixels.min(16);
        let mut origin = vec![0.0f32; channels];
        for pixel in x[..sample * channels].chunks_exact(channels) {
            origin.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x.to_f32());
        }
        origin.iter_mut().for_each(|sum| *sum /= sample as f32);
        let [sums, squares] = shifted_sums(channels, x, &origin);
        let count = pixels as f64;
        let squares =
            squares.iter().zip(&sums).map(|(squares, sum)| (squares - sum * sum / count).max(0.0)).collect();
        let mean = sums.iter().zip(&origin).map(|(sum, origin)| sum / count + f64::from(*origin)).collect();
        Moments { pixels, mean, squares }
    }

    /// By the update of Chan, Golub and LeVeque.
    pub(crate) fn merge(channels: usize, pieces: &[Moments]) -> ChannelStatistics {
        let (mut mean, mut squares) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        let mut count = 0.0;
        for piece in pieces {
            let more = piece.pixels as f64;
            let total = count + more;
            for c in 0..channels {
                let difference = piece.mean[c] - mean[c];
                mean[c] += difference * more / total;
                squares[c] += piece.squares[c] + difference * difference * count * more / total;
            }
            count = total;
        }
        ChannelStatistics {
            mean: mean.into_iter().map(|m| m as f32).collect(),
            variance: squares.into_iter().map(|s| (s / count) as f32).collect(),
        }
    }
}

/// Sums of `x - origin` and of its square, for each channel.
fn shifted_sums<T: Element>(channels: usize, x: &[T], origin: &[f32]) -> [Vec<f64>; 2] {
    let origin = repeated(channels, |c| origin[c]);
    T::norm_sums(Isa::current(), SumKernel { channels, x, origin: &origin })
}

/// Adds the sums of pieces in their order.
pub(super) fn add_pieces(channels: usize, pieces: &[[Vec<f64>; 2]]) -> [Vec<f64>; 2] {
    let mut sums = [vec![0.0f64; channels], vec![0.0f64; channels]];
    for piece in pieces {
        for (sums, piece) in sums.iter_mut().zip(piece) {
            sums.iter_mut().zip(piece).for_each(|(sum, piece)| *sum += piece);
        }
    }
    sums
}

/// Pixels whose sums are f32, about.
const SINGLE_PRECISION_PIXELS: usize = 64;

/// Two sums for each channel: f32 for some pixels, then f64.
pub(super) struct ChannelSums {
    channels: usize,
    pub(super) single: [Vec<f32>; 2],
    pub(super) double: [Vec<f64>; 2],
}

impl ChannelSums {
    pub(super) fn zeros(channels: usize) -> Self {
        let period = period(channels);
        ChannelSums {
            channels,
            single: [vec![0.0; period], vec![0.0; period]],
            double: [vec![0.0; channels], vec![0.0; channels]],
        }
    }

    pub(super) fn flush(&mut self) {
        for (single, double) in self.single.iter_mut().zip(&mut self.double) {
            for repeat in single.chunks_exact_mut(self.channels) {
                for (single, double) in repeat.iter_mut().zip(double.iter_mut()) {
                    *double += f64::from(*single);
                    *single = 0.0;
                }
            }
        }
    }

    /// Elements between two flushes: whole periods.
    pub(super) fn interval(&self) -> usize {
        (SINGLE_PRECISION_PIXELS * self.channels).next_multiple_of(self.single[0].len())
    }
}

/// Sums of `x - origin` and of its square.
pub struct SumKernel<'a, T> {
    channels: usize,
    x: &'a [T],
    origin: &'a [f32],
}

impl<T: Element> Kernel for SumKernel<'_, T> {
    type Output = [Vec<f64>; 2];

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> [Vec<f64>; 2] {
        let mut sums = ChannelSums::zeros(self.channels);
        for x in self.x.chunks(sums.interval()) {
            let [first, second] = &mut sums.single;
            for Vector { at, channel, lanes } in vectors::<S>(x.len(), self.origin.len()) {
                // SAFETY: the processor has S; sums and origin have a whole period.
                unsafe {
                    // Lanes beyond the end stay 0, not -origin.
                    let origin = load::<S, f32>(self.origin.as_ptr().add(channel), lanes);
                    let x = S::sub(load::<S, T>(x.as_ptr().add(at), lanes), origin);
                    let (first, second) = (first.as_mut_ptr().add(channel), second.as_mut_ptr().add(channel));
                    S::store(first, S::add(S::load(first), x));
                    S::store(second, S::fma(x, x, S::load(second)));
                }
            }
            sums.flush();
        }
        sums.double
    }
}

#[track_caller]
pub(super) fn pixels<T>(channels: usize, x: &[T]) -> usize {
    assert!(
        channels > 0 && x.len().is_multiple_of(channels),
        "x has {} elements, no multiple of {channels} channels",
        x.len()
    );
    x.len() / channels
}
