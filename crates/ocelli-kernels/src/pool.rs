//! Max, average and global pooling, forward and backward.

use crate::{
    element::{Element, load, store},
    isa::Isa,
    shape::{Pool2dShape, assert_len},
    simd::{Kernel, Simd},
};
use rayon::prelude::*;

/// `y` = the maximum of each window; `argmax` = where it was (`row · in_width + column` within its image; of
/// equal values the first), for the backward pass. Padding is never the maximum; NaN is, as in PyTorch.
///
/// `x`: `[batch, in_height, in_width, channels]`; `y`, `argmax`: `[batch, out_height, out_width, channels]`.
///
/// # Panics
/// On an invalid shape or slices of other lengths.
pub fn max_pool2d<T: Element>(shape: &Pool2dShape, x: &[T], y: &mut [T], mut argmax: Option<&mut [u32]>) {
    shape.assert_valid();
    assert_len("x", x, shape.input_len());
    assert_len("y", y, shape.output_len());
    let row_len = shape.out_width() * shape.channels;
    let work = |row: usize, y: &mut [T], mut argmax: Option<&mut [u32]>| {
        let (image, oy) = (row / shape.out_height(), row % shape.out_height());
        let x = &x[image * shape.in_height * shape.in_width * shape.channels..];
        let kernel = MaximumKernel { shape, oy, x, y: &mut *y, argmax: argmax.as_deref_mut() };
        if !T::row_of_maxima(Isa::current(), kernel) {
            scalar_row_of_maxima(shape, oy, x, y, argmax);
        }
    };
    match &mut argmax {
        Some(argmax) => {
            assert_len("argmax", argmax, shape.output_len());
            y.par_chunks_mut(row_len)
                .zip(argmax.par_chunks_mut(row_len))
                .enumerate()
                .for_each(|(row, (y, argmax))| work(row, y, Some(argmax)));
        }
        None => y.par_chunks_mut(row_len).enumerate().for_each(|(row, y)| work(row, y, None)),
    }
}

/// A row of windows, one window at a time.
fn scalar_row_of_maxima<T: Element>(
    shape: &Pool2dShape,
    oy: usize,
    x: &[T],
    y: &mut [T],
    mut argmax: Option<&mut [u32]>,
) {
    for ox in 0..shape.out_width() {
        for c in 0..shape.channels {
            let mut best: Option<(f32, usize)> = None;
            for iy in window(oy, shape.stride[0], shape.kernel[0], shape.padding.top, shape.in_height) {
                for ix in window(ox, shape.stride[1], shape.kernel[1], shape.padding.left, shape.in_width) {
                    let at = iy * shape.in_width + ix;
                    let value = x[at * shape.channels + c].to_f32();
                    if best.is_none_or(|(best, _)| value > best || (value.is_nan() && !best.is_nan())) {
                        best = Some((value, at));
                    }
                }
            }
            let (value, at) = best.expect("a valid shape has a pixel in each window");
            y[ox * shape.channels + c] = T::from_f32(value);
            if let Some(argmax) = &mut argmax {
                argmax[ox * shape.channels + c] = at as u32;
            }
        }
    }
}

/// A row of windows, a vector of channels at a time. Returns whether the results are right: they are not
/// where a value is NaN or infinite, nor where a position is not exact in f32.
pub struct MaximumKernel<'a, T> {
    shape: &'a Pool2dShape,
    oy: usize,
    /// The image and those after it.
    x: &'a [T],
    y: &'a mut [T],
    argmax: Option<&'a mut [u32]>,
}

impl<T: Element> Kernel for MaximumKernel<'_, T> {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) -> bool {
        let shape = self.shape;
        if shape.in_height * shape.in_width >= 1 << 24 {
            return false;
        }
        let channels = shape.channels;
        let mut values = [0.0f32; 16];
        // SAFETY: the processor has S; windows lie inside of the image; `y`, `argmax` have a row.
        unsafe {
            // NaN as soon as a value is not finite.
            let mut probe = S::splat(0.0);
            for ox in 0..shape.out_width() {
                let rows =
                    window(self.oy, shape.stride[0], shape.kernel[0], shape.padding.top, shape.in_height);
                let columns =
                    window(ox, shape.stride[1], shape.kernel[1], shape.padding.left, shape.in_width);
                for channel in (0..channels).step_by(S::LANES) {
                    let lanes = S::LANES.min(channels - channel);
                    let mut best = S::splat(f32::NEG_INFINITY);
                    let mut position = S::splat(0.0);
                    for iy in rows.clone() {
                        for ix in columns.clone() {
                            let at = iy * shape.in_width + ix;
                            let x = load::<S, T>(self.x.as_ptr().add(at * channels + channel), lanes);
                            let change = S::sub(S::splat(at as f32), position);
                            position = S::add(position, S::where_greater(x, best, change));
                            best = S::max(x, best);
                            probe = S::fma(x, S::splat(0.0), probe);
                        }
                    }
                    store::<S, T>(self.y.as_mut_ptr().add(ox * channels + channel), lanes, best);
                    if let Some(argmax) = &mut self.argmax {
                        S::store(values.as_mut_ptr(), position);
                        let argmax = &mut argmax[ox * channels + channel..][..lanes];
                        argmax
                            .iter_mut()
                            .zip(values)
                            .for_each(|(argmax, position)| *argmax = position as u32);
                    }
                }
            }
            S::store(values.as_mut_ptr(), probe);
        }
        values.iter().all(|probe| *probe == 0.0)
    }
}

/// The backward pass of [`max_pool2d`]: `dx` is overwritten.
///
/// # Panics
/// On an invalid shape, slices of other lengths, or an `argmax` that is not from this shape.
pub fn max_pool2d_backward<T: Element>(shape: &Pool2dShape, argmax: &[u32], dy: &[T], dx: &mut [T]) {
    shape.assert_valid();
    assert_len("argmax", argmax, shape.output_len());
    assert_len("dy", dy, shape.output_len());
    assert_len("dx", dx, shape.input_len());
    let image_out = shape.out_height() * shape.out_width() * shape.channels;
    dx.par_chunks_mut(shape.in_height * shape.in_width * shape.channels).enumerate().for_each(
        |(image, dx)| {
            let mut sums = vec![0.0f32; dx.len()];
            let range = image * image_out..(image + 1) * image_out;
            for (i, (at, dy)) in argmax[range.clone()].iter().zip(&dy[range]).enumerate() {
                sums[*at as usize * shape.channels + i % shape.channels] += dy.to_f32();
            }
            for (dx, sum) in dx.iter_mut().zip(sums) {
                *dx = T::from_f32(sum);
            }
        },
    );
}

/// `y` = the mean of each window; padding counts as zeros if `count_padding` (PyTorch's `count_include_pad`),
/// else it is left out of the mean.
///
/// `x`: `[batch, in_height, in_width, channels]`; `y`: `[batch, out_height, out_width, channels]`.
///
/// # Panics
/// On an invalid shape or slices of other lengths.
pub fn average_pool2d<T: Element>(shape: &Pool2dShape, count_padding: bool, x: &[T], y: &mut [T]) {
    shape.assert_valid();
    assert_len("x", x, shape.input_len());
    assert_len("y", y, shape.output_len());
    y.par_chunks_mut(shape.out_width() * shape.channels).enumerate().for_each(|(row, y)| {
        let (image, oy) = (row / shape.out_height(), row % shape.out_height());
        let x = &x[image * shape.in_height * shape.in_width * shape.channels..];
        let mut sums = vec![0.0f32; shape.channels];
        for (ox, y) in y.chunks_exact_mut(shape.channels).enumerate() {
            sums.fill(0.0);
            for iy in window(oy, shape.stride[0], shape.kernel[0], shape.padding.top, shape.in_height) {
                for ix in window(ox, shape.stride[1], shape.kernel[1], shape.padding.left, shape.in_width) {
                    let pixel = &x[(iy * shape.in_width + ix) * shape.channels..][..shape.channels];
                    for (sum, x) in sums.iter_mut().zip(pixel) {
                        *sum += x.to_f32();
                    }
                }
            }
            let weight = average_weight(shape, count_padding, oy, ox);
            for (y, sum) in y.iter_mut().zip(&sums) {
                *y = T::from_f32(sum * weight);
            }
        }
    });
}

/// The backward pass of [`average_pool2d`]: `dx` is overwritten.
///
/// # Panics
/// On an invalid shape or slices of other lengths.
pub fn average_pool2d_backward<T: Element>(shape: &Pool2dShape, count_padding: bool, dy: &[T], dx: &mut [T]) {
    shape.assert_valid();
    assert_len("dy", dy, shape.output_len());
    assert_len("dx", dx, shape.input_len());
    dx.par_chunks_mut(shape.in_height * shape.in_width * shape.channels).enumerate().for_each(
        |(image, dx)| {
            let mut sums = vec![0.0f32; dx.len()];
            for oy in 0..shape.out_height() {
                for ox in 0..shape.out_width() {
                    let weight = average_weight(shape, count_padding, oy, ox);
                    let at = ((image * shape.out_height() + oy) * shape.out_width() + ox) * shape.channels;
                    let dy = &dy[at..at + shape.channels];
                    for iy in window(oy, shape.stride[0], shape.kernel[0], shape.padding.top, shape.in_height)
                    {
                        for ix in
                            window(ox, shape.stride[1], shape.kernel[1], shape.padding.left, shape.in_width)
                        {
                            let sums =
                                &mut sums[(iy * shape.in_width + ix) * shape.channels..][..shape.channels];
                            for (sum, dy) in sums.iter_mut().zip(dy) {
                                *sum += dy.to_f32() * weight;
                            }
                        }
                    }
                }
            }
            for (dx, sum) in dx.iter_mut().zip(sums) {
                *dx = T::from_f32(sum);
            }
        },
    );
}

/// The mean of each image's channels: `x`: `[batch, pixels, channels]`, `y`: `[batch, channels]`.
///
/// # Panics
/// If `pixels` or `channels` is 0, or on slices of other lengths.
pub fn global_average_pool<T: Element>(batch: usize, pixels: usize, channels: usize, x: &[T], y: &mut [f32]) {
    check_global(batch, pixels, channels, x.len());
    assert_len("y", y, batch * channels);
    x.par_chunks(pixels * channels).zip(y.par_chunks_mut(channels)).for_each(|(x, y)| image_mean(x, y));
}

/// The backward pass of [`global_average_pool`]: `dy`: `[batch, channels]`; `dx`:
/// `[batch, pixels, channels]`, overwritten, plus `others` of the same shape if given: gradients that reach
/// the same input along other paths.
///
/// # Panics
/// If `pixels` or `channels` is 0, or on slices of other lengths.
pub fn global_average_pool_backward<T: Element>(
    batch: usize,
    pixels: usize,
    channels: usize,
    dy: &[f32],
    others: Option<&[T]>,
    dx: &mut [T],
) {
    check_global(batch, pixels, channels, dx.len());
    assert_len("dy", dy, batch * channels);
    if let Some(others) = others {
        assert_len("others", others, dx.len());
    }
    let image = pixels * channels;
    dx.par_chunks_mut(image).zip(dy.par_chunks(channels)).enumerate().for_each(|(at, (dx, dy))| {
        let gradients: Vec<f32> = dy.iter().map(|dy| dy / pixels as f32).collect();
        match others {
            None => {
                let gradients: Vec<T> = gradients.into_iter().map(T::from_f32).collect();
                dx.chunks_exact_mut(channels).for_each(|dx| dx.copy_from_slice(&gradients));
            }
            Some(others) => {
                let others = others[at * image..][..image].chunks_exact(channels);
                for (dx, others) in dx.chunks_exact_mut(channels).zip(others) {
                    for ((dx, other), gradient) in dx.iter_mut().zip(others).zip(&gradients) {
                        *dx = T::from_f32(other.to_f32() + gradient);
                    }
                }
            }
        }
    });
}

/// fastai's concat pooling: the maximum of each image's channels, then their mean. `x`:
/// `[batch, pixels, channels]`; `y`: `[batch, 2 · channels]`; `argmax`: `[batch, channels]`, the pixel of the
/// maximum (of equal values the first).
///
/// # Panics
/// If `pixels` or `channels` is 0, or on slices of other lengths.
pub fn global_concat_pool<T: Element>(
    batch: usize,
    pixels: usize,
    channels: usize,
    x: &[T],
    y: &mut [f32],
    argmax: Option<&mut [u32]>,
) {
    check_global(batch, pixels, channels, x.len());
    assert_len("y", y, batch * 2 * channels);
    let mut ignored = Vec::new();
    let argmax = match argmax {
        Some(argmax) => argmax,
        None => {
            ignored.resize(batch * channels, 0);
            &mut ignored[..]
        }
    };
    assert_len("argmax", argmax, batch * channels);
    x.par_chunks(pixels * channels)
        .zip(y.par_chunks_mut(2 * channels))
        .zip(argmax.par_chunks_mut(channels))
        .for_each(|((x, y), argmax)| {
            let (max, mean) = y.split_at_mut(channels);
            image_mean(x, mean);
            max.iter_mut().zip(x).for_each(|(max, x)| *max = x.to_f32());
            argmax.fill(0);
            for (at, pixel) in x.chunks_exact(channels).enumerate().skip(1) {
                for ((max, argmax), x) in max.iter_mut().zip(argmax.iter_mut()).zip(pixel) {
                    let x = x.to_f32();
                    if x > *max || (x.is_nan() && !max.is_nan()) {
                        (*max, *argmax) = (x, at as u32);
                    }
                }
            }
        });
}

/// The backward pass of [`global_concat_pool`]: `dy`: `[batch, 2 · channels]`, `dx`:
/// `[batch, pixels, channels]`, overwritten.
///
/// # Panics
/// If `pixels` or `channels` is 0, on slices of other lengths, or an `argmax` that is not from this shape.
pub fn global_concat_pool_backward<T: Element>(
    batch: usize,
    pixels: usize,
    channels: usize,
    argmax: &[u32],
    dy: &[f32],
    dx: &mut [T],
) {
    check_global(batch, pixels, channels, dx.len());
    assert_len("argmax", argmax, batch * channels);
    assert_len("dy", dy, batch * 2 * channels);
    dx.par_chunks_mut(pixels * channels)
        .zip(dy.par_chunks(2 * channels))
        .zip(argmax.par_chunks(channels))
        .for_each(|((dx, dy), argmax)| {
            let (dmax, dmean) = dy.split_at(channels);
            for (at, dx) in dx.chunks_exact_mut(channels).enumerate() {
                for (c, dx) in dx.iter_mut().enumerate() {
                    let from_max = if argmax[c] as usize == at { dmax[c] } else { 0.0 };
                    *dx = T::from_f32(dmean[c] / pixels as f32 + from_max);
                }
            }
            assert!(argmax.iter().all(|at| (*at as usize) < pixels), "argmax is not from this shape");
        });
}

/// Rows or columns of the input that a window covers.
fn window(
    output: usize,
    stride: usize,
    kernel: usize,
    padding: usize,
    size: usize,
) -> std::ops::Range<usize> {
    let start = output * stride;
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(size)
}

fn average_weight(shape: &Pool2dShape, count_padding: bool, oy: usize, ox: usize) -> f32 {
    let rows = window(oy, shape.stride[0], shape.kernel[0], shape.padding.top, shape.in_height);
    let columns = window(ox, shape.stride[1], shape.kernel[1], shape.padding.left, shape.in_width);
    let count = if count_padding { shape.kernel[0] * shape.kernel[1] } else { rows.len() * columns.len() };
    1.0 / count as f32
}

fn image_mean<T: Element>(x: &[T], y: &mut [f32]) {
    let channels = y.len();
    y.fill(0.0);
    for pixel in x.chunks_exact(channels) {
        for (y, x) in y.iter_mut().zip(pixel) {
            *y += x.to_f32();
        }
    }
    let pixels = (x.len() / channels) as f32;
    y.iter_mut().for_each(|y| *y /= pixels);
}

#[track_caller]
fn check_global(batch: usize, pixels: usize, channels: usize, len: usize) {
    assert!(pixels > 0 && channels > 0, "global pooling of {pixels} pixels with {channels} channels");
    assert!(
        len == batch * pixels * channels,
        "an activation has {len} elements, its shape [{batch}, {pixels}, {channels}] has {}",
        batch * pixels * channels
    );
}
