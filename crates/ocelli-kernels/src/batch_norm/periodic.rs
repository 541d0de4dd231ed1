//! Passes over memory, vector by vector. The channels of one pixel rarely fill whole vectors, but those of
//! several pixels do: values for each channel are repeated until they fill whole vectors of every instruction
//! set (a *period*), and data are read as one flat sequence.

use crate::simd::Simd;

/// Values for each channel, repeated.
pub(super) fn repeated(channels: usize, value: impl Fn(usize) -> f32) -> Vec<f32> {
    (0..period(channels)).map(|i| value(i % channels)).collect()
}

/// The smallest multiple of `channels` that fills vectors of 16.
pub(super) fn period(channels: usize) -> usize {
    let mut common = 1;
    while common < 16 && channels.is_multiple_of(common * 2) {
        common *= 2;
    }
    channels * (16 / common)
}

/// `y = activation(x · scale + shift)`, and the mean; `[period]` each.
pub struct Periodic {
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) mean: Vec<f32>,
}

/// What the statistics' dependence on `x` adds to `scale · du`: `slope · (x − mean) + constant`; `[period]`
/// each.
pub struct Correction {
    pub(super) slope: Vec<f32>,
    pub(super) constant: Vec<f32>,
}

/// A vector of data: where it starts, where it is in the period, and how many of its lanes there are.
pub(super) struct Vector {
    pub(super) at: usize,
    pub(super) channel: usize,
    pub(super) lanes: usize,
}

/// All vectors of `len` elements.
#[inline(always)]
pub(super) fn vectors<S: Simd>(len: usize, period: usize) -> Vectors {
    Vectors { next: 0, channel: 0, len, period, width: S::LANES }
}

/// An iterator, not a function that takes a closure: a closure that is not inlined has none of the
/// instruction set's features.
pub(super) struct Vectors {
    next: usize,
    channel: usize,
    len: usize,
    period: usize,
    width: usize,
}

impl Iterator for Vectors {
    type Item = Vector;

    #[inline(always)]
    fn next(&mut self) -> Option<Vector> {
        if self.next >= self.len {
            return None;
        }
        let vector =
            Vector { at: self.next, channel: self.channel, lanes: self.width.min(self.len - self.next) };
        self.next += self.width;
        self.channel += self.width;
        if self.channel == self.period {
            self.channel = 0;
        }
        Some(vector)
    }
}

/// Elements of the pieces that passes over memory are divided into: whole periods, about 32 Ki elements.
pub(super) fn piece_len(channels: usize) -> usize {
    let period = period(channels);
    (32_768 / period).max(1) * period
}
