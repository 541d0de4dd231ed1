//! Passes over memory: conversion between element types, sums of squares, concatenation and slices of
//! channels, channels times a factor for each image.

use crate::{
    element::{Element, load, store},
    isa::Isa,
    shape::assert_len,
    simd::{Kernel, Simd},
};
use rayon::prelude::*;
use std::ops::Range;

/// Elements of a piece of work.
const PIECE: usize = 32_768;

/// `y` = `x`, rounded to nearest, ties to even.
///
/// # Panics
/// On slices of different lengths.
pub fn round_to<T: Element>(x: &[f32], y: &mut [T]) {
    assert_len("y", y, x.len());
    y.par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE))
        .for_each(|(y, x)| T::round(Isa::current(), Convert { x, y }));
}

/// `y` = `x`, exactly.
///
/// # Panics
/// On slices of different lengths.
pub fn widen<T: Element>(x: &[T], y: &mut [f32]) {
    assert_len("y", y, x.len());
    y.par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE))
        .for_each(|(y, x)| T::widen(Isa::current(), Convert { x, y }));
}

/// The channels of two maps, concatenated: `a` and `b`: `[pixels, channels of each]`; `y`:
/// `[pixels, all channels]`.
///
/// # Panics
/// If there are no channels, or on slices of other lengths.
pub fn concat_channels<T: Element>(channels: [usize; 2], a: &[T], b: &[T], y: &mut [T]) {
    let [channels_a, channels_b] = channels;
    let all = channels_a + channels_b;
    let pixels = y.len() / all;
    assert_len("y", y, pixels * all);
    assert_len("a", a, pixels * channels_a);
    assert_len("b", b, pixels * channels_b);
    let pixels_per_piece = (PIECE / all).max(1);
    y.par_chunks_mut(pixels_per_piece * all).enumerate().for_each(|(piece, y)| {
        for (pixel, y) in (piece * pixels_per_piece..).zip(y.chunks_exact_mut(all)) {
            let (to_a, to_b) = y.split_at_mut(channels_a);
            to_a.copy_from_slice(&a[pixel * channels_a..][..channels_a]);
            to_b.copy_from_slice(&b[pixel * channels_b..][..channels_b]);
        }
    });
}

/// A range of the channels: `x`: `[pixels, channels]`; `y`: `[pixels, range]`.
///
/// # Panics
/// If the range is empty or exceeds the channels, or on slices of other lengths.
pub fn slice_channels<T: Element>(channels: usize, range: Range<usize>, x: &[T], y: &mut [T]) {
    assert!(!range.is_empty() && range.end <= channels, "channels {range:?} of {channels}");
    let count = range.len();
    let pixels = y.len() / count;
    assert_len("y", y, pixels * count);
    assert_len("x", x, pixels * channels);
    let pixels_per_piece = (PIECE / channels).max(1);
    y.par_chunks_mut(pixels_per_piece * count).enumerate().for_each(|(piece, y)| {
        for (pixel, y) in (piece * pixels_per_piece..).zip(y.chunks_exact_mut(count)) {
            y.copy_from_slice(&x[pixel * channels + range.start..][..count]);
        }
    });
}

/// The sum of all squares, in f64 and in an order that the length alone decides.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let piece = |x: &[f32]| {
        let mut sums = [0.0f64; 8];
        let (eights, rest) = x.as_chunks::<8>();
        for eight in eights {
            for (sum, value) in sums.iter_mut().zip(eight) {
                *sum += f64::from(*value) * f64::from(*value);
            }
        }
        let rest: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
        sums.iter().sum::<f64>() + rest
    };
    let pieces: Vec<f64> = x.par_chunks(PIECE).map(piece).collect();
    pieces.iter().sum()
}

/// Each channel of each image times a factor (squeeze and excitation): `y = x · factors`. `x`, `y`:
/// `[batch, pixels, channels]`; `factors`: `[batch, channels]`.
///
/// # Panics
/// If `pixels` or `channels` is 0, or on slices of other lengths.
pub fn scale_channels<T: Element>(
    batch: usize,
    pixels: usize,
    channels: usize,
    x: &[T],
    factors: &[f32],
    y: &mut [T],
) {
    check(batch, pixels, channels, x, factors);
    assert_len("y", y, x.len());
    let rows = (PIECE / channels).max(1) * channels;
    let image = pixels * channels;
    y.par_chunks_mut(image).zip(x.par_chunks(image)).zip(factors.par_chunks(channels)).for_each(
        |((y, x), factors)| {
            y.par_chunks_mut(rows)
                .zip(x.par_chunks(rows))
                .for_each(|(y, x)| T::scale(Isa::current(), Scale { x, factors, y }));
        },
    );
}

/// The backward pass of [`scale_channels`]: `dx` and `dfactors` are overwritten.
///
/// # Panics
/// If `pixels` or `channels` is 0, or on slices of other lengths.
#[allow(clippy::too_many_arguments)] // two inputs, their gradients and a shape
pub fn scale_channels_backward<T: Element>(
    batch: usize,
    pixels: usize,
    channels: usize,
    x: &[T],
    factors: &[f32],
    dy: &[T],
    dx: &mut [T],
    dfactors: &mut [f32],
) {
    scale_channels(batch, pixels, channels, dy, factors, dx);
    assert_len("x", x, dy.len());
    assert_len("dfactors", dfactors, factors.len());
    let image = pixels * channels;
    dfactors
        .par_chunks_mut(channels)
        .zip(x.par_chunks(image).zip(dy.par_chunks(image)))
        .for_each(|(sums, (x, dy))| T::scale_sums(Isa::current(), ScaleSums { x, dy, sums }));
}

#[track_caller]
fn check<T>(batch: usize, pixels: usize, channels: usize, x: &[T], factors: &[f32]) {
    assert!(pixels > 0 && channels > 0, "{pixels} pixels with {channels} channels");
    assert_len("x", x, batch * pixels * channels);
    assert_len("factors", factors, batch * channels);
}

/// To the other type's precision: exact where it is the wider, rounded to nearest where not.
pub struct Convert<'a, X, Y> {
    x: &'a [X],
    y: &'a mut [Y],
}

impl<X: Element, Y: Element> Kernel for Convert<'_, X, Y> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for at in (0..self.x.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(self.x.len() - at);
            // SAFETY: the processor has S; both slices have as many lanes.
            unsafe {
                store::<S, Y>(
                    self.y.as_mut_ptr().add(at),
                    lanes,
                    load::<S, X>(self.x.as_ptr().add(at), lanes),
                )
            };
        }
    }
}

pub struct Scale<'a, T> {
    x: &'a [T],
    factors: &'a [f32],
    y: &'a mut [T],
}

impl<T: Element> Kernel for Scale<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.factors.len();
        for (x, y) in self.x.chunks_exact(channels).zip(self.y.chunks_exact_mut(channels)) {
            for at in (0..channels).step_by(S::LANES) {
                let lanes = S::LANES.min(channels - at);
                // SAFETY: the processor has S; all slices have as many lanes.
                unsafe {
                    let factor = load::<S, f32>(self.factors.as_ptr().add(at), lanes);
                    let product = S::mul(load::<S, T>(x.as_ptr().add(at), lanes), factor);
                    store::<S, T>(y.as_mut_ptr().add(at), lanes, product);
                }
            }
        }
    }
}

pub struct ScaleSums<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    sums: &'a mut [f32],
}

impl<T: Element> Kernel for ScaleSums<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.sums.len();
        for at in (0..channels).step_by(S::LANES) {
            let lanes = S::LANES.min(channels - at);
            // SAFETY: the processor has S; all rows and the sums have as many lanes.
            unsafe {
                let mut sum = S::splat(0.0);
                for (x, dy) in self.x.chunks_exact(channels).zip(self.dy.chunks_exact(channels)) {
                    let x = load::<S, T>(x.as_ptr().add(at), lanes);
                    sum = S::fma(x, load::<S, T>(dy.as_ptr().add(at), lanes), sum);
                }
                store::<S, f32>(self.sums.as_mut_ptr().add(at), lanes, sum);
            }
        }
    }
}
