//! Maps of bytes, pooling and element-wise operations.

use super::Quantization;
use crate::{
    activation::{Activation, activate},
    buffer_pool::Scratch,
    isa::Isa,
    shape::{Padding, Pool2dShape, assert_len},
    simd::{Kernel, ROUNDING, Simd, run_on},
};

/// Maps of 8-bit integers: `[batch, height, width, channels]`, each pixel's channels padded to a multiple of four bytes.
#[derive(Debug)]
pub struct Int8Maps {
    bytes: Scratch,
    /// Batch, height, width, channels.
    shape: [usize; 4],
    quantization: Quantization,
}

/// Bytes after the last pixel, which vectors of its channels may reach into.
const SLACK: usize = 64;

/// The bytes of a pixel.
pub(super) fn pixel_bytes(channels: usize) -> usize {
    channels.next_multiple_of(4)
}

impl Int8Maps {
    /// Maps whose bytes hold any values until they are written.
    pub(super) fn take(shape: [usize; 4], quantization: Quantization) -> Self {
        let [batch, height, width, channels] = shape;
        let bytes = batch * height * width * pixel_bytes(channels) + SLACK;
        Self { bytes: Scratch::take(bytes.div_ceil(4)), shape, quantization }
    }

    /// The bytes nearest to these numbers, `[batch, height, width, channels]`.
    ///
    /// # Panics
    /// If there are more or fewer numbers than the shape has.
    pub fn from_f32(shape: [usize; 4], values: &[f32], quantization: Quantization) -> Self {
        assert_len("values", values, shape.iter().product());
        let mut maps = Self::take(shape, quantization);
        let channels = shape[3];
        let kernel = QuantizeKernel {
            values,
            channels,
            factor: 1.0 / quantization.scale,
            zero_point: f32::from(quantization.zero_point),
            bytes: maps.bytes_mut(),
        };
        run_on(Isa::current(), kernel);
        maps
    }

    /// The numbers that the bytes stand for, `[batch, height, width, channels]`.
    pub fn to_f32(&self) -> Vec<f32> {
        let channels = self.shape[3];
        let pixels = self.bytes().chunks_exact(pixel_bytes(channels)).take(self.pixels());
        pixels
            .flat_map(|pixel| pixel[..channels].iter().map(|byte| self.quantization.to_f32(*byte)))
            .collect()
    }

    /// Batch, height, width, channels.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// What the bytes stand for.
    pub fn quantization(&self) -> Quantization {
        self.quantization
    }

    /// The maps with rows and columns of zeros around them.
    pub(super) fn padded(&self, padding: Padding) -> Self {
        let [batch, height, width, channels] = self.shape;
        let (rows, columns) = (height + padding.top + padding.bottom, width + padding.left + padding.right);
        let mut padded = Self::take([batch, rows, columns, channels], self.quantization);
        let zero = self.quantization.zero_point;
        let row_bytes = columns * pixel_bytes(channels);
        let (left, inside) = (padding.left * pixel_bytes(channels), width * pixel_bytes(channels));
        for (at, y) in padded.bytes_mut().chunks_exact_mut(row_bytes).take(batch * rows).enumerate() {
            match (at % rows).checked_sub(padding.top).filter(|row| *row < height) {
                Some(row) => {
                    let x = &self.bytes()[(at / rows * height + row) * inside..][..inside];
                    y[..left].fill(zero);
                    y[left..left + inside].copy_from_slice(x);
                    y[left + inside..].fill(zero);
                }
                None => y.fill(zero),
            }
        }
        padded
    }

    fn pixels(&self) -> usize {
        self.shape[..3].iter().product()
    }

    /// All bytes, those of padding and slack too.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: as many words, and every pattern of bits is four bytes.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.bytes.len() * 4) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.bytes.len() * 4;
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_mut_slice().as_mut_ptr().cast(), len) }
    }

    /// The largest byte of each window; padding is never the largest.
    ///
    /// # Panics
    /// If the shape is not that of the maps, or does not [validate](Pool2dShape::validate).
    pub fn max_pool(&self, shape: &Pool2dShape) -> Self {
        self.pool(shape, self.quantization, |window, channel, _| {
            window.iter().map(|pixel| pixel[channel]).max().expect("windows reach into the maps")
        })
    }

    /// The mean of each window, with or without zeros in its padding.
    ///
    /// # Panics
    /// As [`max_pool`](Self::max_pool).
    pub fn average_pool(&self, shape: &Pool2dShape, count_padding: bool) -> Self {
        let zero_point = u32::from(self.quantization.zero_point);
        self.pool(shape, self.quantization, |window, channel, all| {
            let sum: u32 = window.iter().map(|pixel| u32::from(pixel[channel])).sum();
            let (sum, count) = match count_padding {
                true => (sum + zero_point * (all - window.len()) as u32, all as u32),
                false => (sum, window.len() as u32),
            };
            ((sum + count / 2) / count) as u8
        })
    }

    /// `of` is given the pixels of a window that are inside of the map, the channel, and the pixels with padding.
    fn pool(
        &self,
        shape: &Pool2dShape,
        quantization: Quantization,
        of: impl Fn(&[&[u8]], usize, usize) -> u8,
    ) -> Self {
        shape.assert_valid();
        let [batch, height, width, channels] = self.shape;
        assert_eq!([shape.batch, shape.in_height, shape.in_width, shape.channels], self.shape, "its shape");
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        let mut pooled = Self::take([batch, out_height, out_width, channels], quantization);
        let stride = pixel_bytes(channels);
        let all = shape.kernel[0] * shape.kernel[1];
        let x = self.bytes();
        let mut window = Vec::with_capacity(all);
        for (at, y) in
            pooled.bytes_mut().chunks_exact_mut(stride).take(batch * out_height * out_width).enumerate()
        {
            let (image, row, column) =
                (at / (out_height * out_width), at / out_width % out_height, at % out_width);
            let inside = |first: usize, padding: usize, kernel: usize, size: usize| {
                first.saturating_sub(padding)..(first + kernel).saturating_sub(padding).min(size)
            };
            let rows = inside(row * shape.stride[0], shape.padding.top, shape.kernel[0], height);
            let columns = inside(column * shape.stride[1], shape.padding.left, shape.kernel[1], width);
            window.clear();
            for row in rows {
                let pixels = columns.clone().map(|column| (image * height + row) * width + column);
                window.extend(pixels.map(|pixel| &x[pixel * stride..][..channels]));
            }
            for (channel, y) in y[..channels].iter_mut().enumerate() {
                *y = of(&window, channel, all);
            }
        }
        pooled
    }

    /// The mean of each channel of each image, `[batch, channels]`.
    pub fn means(&self) -> Vec<f32> {
        let [_, height, width, channels] = self.shape;
        let pixels = height * width;
        let mean = |image: &[u8]| {
            let mut sums = vec![0u32; channels];
            for pixel in image.chunks_exact(pixel_bytes(channels)) {
                sums.iter_mut().zip(pixel).for_each(|(sum, byte)| *sum += u32::from(*byte));
            }
            let zero_point = f64::from(self.quantization.zero_point);
            let scale = f64::from(self.quantization.scale);
            sums.into_iter().map(move |sum| (scale * (f64::from(sum) / pixels as f64 - zero_point)) as f32)
        };
        self.images().flat_map(mean).collect()
    }

    /// The means of a grid of as many rows as columns, channel by channel, `[batch, channels · grid · grid]`. Cell `i` of
    /// `n` over `size` pixels is from `⌊i · size / n⌋` to `⌈(i + 1) · size / n⌉`.
    pub fn adaptive_means(&self, grid: usize) -> Vec<f32> {
        let [batch, height, width, channels] = self.shape;
        let cell = |at: usize, size: usize| at * size / grid..((at + 1) * size).div_ceil(grid);
        let (bytes, stride) = (self.bytes(), pixel_bytes(channels));
        let mut means = Vec::with_capacity(batch * channels * grid * grid);
        for image in 0..batch {
            for channel in 0..channels {
                for (row, column) in (0..grid).flat_map(|row| (0..grid).map(move |column| (row, column))) {
                    let (rows, columns) = (cell(row, height), cell(column, width));
                    let count = rows.len() * columns.len();
                    let pixels = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
                    let sum: u32 = pixels
                        .map(|(row, column)| {
                            let pixel = (image * height + row) * width + column;
                            u32::from(bytes[pixel * stride + channel])
                        })
                        .sum();
                    let mean = f64::from(sum) / count as f64 - f64::from(self.quantization.zero_point);
                    means.push((f64::from(self.quantization.scale) * mean) as f32);
                }
            }
        }
        means
    }

    /// The largest number of each channel of each image, `[batch, channels]`.
    pub fn maxima(&self) -> Vec<f32> {
        let channels = self.shape[3];
        let largest = |image: &[u8]| {
            let mut largest = vec![0u8; channels];
            for pixel in image.chunks_exact(pixel_bytes(channels)) {
                largest.iter_mut().zip(pixel).for_each(|(largest, byte)| *largest = (*largest).max(*byte));
            }
            largest.into_iter().map(|byte| self.quantization.to_f32(byte))
        };
        self.images().flat_map(largest).collect()
    }

    fn images(&self) -> impl Iterator<Item = &[u8]> {
        let [batch, height, width, channels] = self.shape;
        self.bytes().chunks_exact(height * width * pixel_bytes(channels)).take(batch)
    }

    /// `activation(scale · x + shift + residual)`, a factor and a shift for each channel.
    ///
    /// # Panics
    /// If there are not as many as channels, or the residual has another shape.
    pub fn affine(
        &self,
        scale: &[f32],
        shift: &[f32],
        residual: Option<&Self>,
        activation: Activation,
        to: Quantization,
    ) -> Self {
        let channels = self.shape[3];
        assert_len("scale", scale, channels);
        assert_len("shift", shift, channels);
        let factors: Vec<f32> = scale.iter().map(|scale| scale * self.quantization.scale).collect();
        let zero_point = f32::from(self.quantization.zero_point);
        let shifts = shift.iter().zip(&factors).map(|(shift, factor)| shift - factor * zero_point);
        let shifts: Vec<f32> = shifts.collect();
        self.each_pixel(residual, activation, to, |_| (&factors, &shifts))
    }

    /// Each channel of each image times a factor, `[batch, channels]`.
    ///
    /// # Panics
    /// If there are more or fewer factors.
    pub fn scale_channels(&self, factors: &[f32], to: Quantization) -> Self {
        let [batch, height, width, channels] = self.shape;
        assert_len("factors", factors, batch * channels);
        let pixels = height * width;
        let all: Vec<f32> = factors.iter().map(|factor| factor * self.quantization.scale).collect();
        let zero_point = f32::from(self.quantization.zero_point);
        let shifts: Vec<f32> = all.iter().map(|factor| -factor * zero_point).collect();
        self.each_pixel(None, Activation::None, to, |pixel| {
            let first = pixel / pixels * channels;
            (&all[first..][..channels], &shifts[first..][..channels])
        })
    }

    /// `of` gives factors and shifts of a pixel's channels.
    fn each_pixel<'a>(
        &self,
        residual: Option<&Self>,
        activation: Activation,
        to: Quantization,
        of: impl Fn(usize) -> (&'a [f32], &'a [f32]),
    ) -> Self {
        let channels = self.shape[3];
        if let Some(residual) = residual {
            assert_eq!(residual.shape, self.shape, "a residual of the same shape");
        }
        let stride = pixel_bytes(channels);
        let mut result = Self::take(self.shape, to);
        let pixels = self.pixels();
        let y = result.bytes_mut().chunks_exact_mut(stride).take(pixels);
        for (at, y) in y.enumerate() {
            let (factors, shifts) = of(at);
            let kernel = AffineKernel {
                x: &self.bytes()[at * stride..],
                residual: residual.map(|residual| (&residual.bytes()[at * stride..], residual.quantization)),
                factors,
                shifts,
                activation,
                to,
                y,
            };
            run_on(Isa::current(), kernel);
        }
        result
    }

    /// Maps side by side in their channels.
    ///
    /// # Panics
    /// If there are none, or of different sizes.
    pub fn concat(parts: &[&Self], to: Quantization) -> Self {
        let [batch, height, width, _] = parts[0].shape;
        let channels = parts.iter().map(|part| part.shape[3]).sum();
        let mut result = Self::take([batch, height, width, channels], to);
        let tables: Vec<[u8; 256]> = parts.iter().map(|part| conversion(part.quantization, to)).collect();
        let stride = pixel_bytes(channels);
        for (at, y) in result.bytes_mut().chunks_exact_mut(stride).take(batch * height * width).enumerate() {
            let mut first = 0;
            for (part, table) in parts.iter().zip(&tables) {
                assert_eq!(part.shape[..3], [batch, height, width], "maps of one size");
                let channels = part.shape[3];
                let x = &part.bytes()[at * pixel_bytes(channels)..][..channels];
                let y = &mut y[first..first + channels];
                match part.quantization == to {
                    true => y.copy_from_slice(x),
                    false => y.iter_mut().zip(x).for_each(|(y, x)| *y = table[usize::from(*x)]),
                }
                first += channels;
            }
        }
        result
    }
}

/// The byte that stands for the same number as each byte, or the nearest one.
fn conversion(from: Quantization, to: Quantization) -> [u8; 256] {
    std::array::from_fn(|byte| {
        let number = from.to_f32(byte as u8) / to.scale + f32::from(to.zero_point);
        number.round_ties_even() as u8
    })
}

struct QuantizeKernel<'a> {
    values: &'a [f32],
    channels: usize,
    factor: f32,
    zero_point: f32,
    bytes: &'a mut [u8],
}

impl Kernel for QuantizeKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { values, channels, factor, zero_point, bytes } = self;
        let stride = pixel_bytes(channels);
        if channels < S::LANES {
            for (x, y) in values.chunks_exact(channels).zip(bytes.chunks_exact_mut(stride)) {
                for (x, y) in x.iter().zip(y) {
                    // Rounded to nearest; `as` saturates.
                    *y = ((x * factor + zero_point).clamp(-1.0, 256.0) + ROUNDING - ROUNDING) as u8;
                }
            }
            return;
        }
        for (x, y) in values.chunks_exact(channels).zip(bytes.chunks_exact_mut(stride)) {
            for first in (0..channels).step_by(S::LANES) {
                let lanes = S::LANES.min(channels - first);
                // SAFETY: the processor has S, and there are as many lanes.
                unsafe {
                    let x = match lanes == S::LANES {
                        true => S::load(x.as_ptr().add(first)),
                        false => S::load_first(x.as_ptr().add(first), lanes),
                    };
                    let value = S::add(S::mul(x, S::splat(factor)), S::splat(zero_point));
                    S::store_u8_first(y.as_mut_ptr().add(first), lanes, bounded::<S>(value, [0.0, 255.0]));
                }
            }
        }
    }
}

/// A pixel.
struct AffineKernel<'a> {
    /// Its channels, and [`SLACK`] more.
    x: &'a [u8],
    residual: Option<(&'a [u8], Quantization)>,
    factors: &'a [f32],
    shifts: &'a [f32],
    activation: Activation,
    to: Quantization,
    y: &'a mut [u8],
}

impl Kernel for AffineKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.factors.len();
        for first in (0..channels).step_by(S::LANES) {
            let lanes = S::LANES.min(channels - first);
            // SAFETY: the processor has S; maps have slack after their last pixel.
            unsafe {
                let load = |values: &[f32]| S::load_first(values.as_ptr().add(first), lanes);
                let x = S::load_u8(self.x.as_ptr().add(first));
                let mut value = S::fma(x, load(self.factors), load(self.shifts));
                if let Some((residual, of)) = self.residual {
                    let residual =
                        S::sub(S::load_u8(residual.as_ptr().add(first)), S::splat(f32::from(of.zero_point)));
                    value = S::fma(residual, S::splat(of.scale), value);
                }
                value = activate::<S>(self.activation, value);
                let value =
                    S::fma(value, S::splat(1.0 / self.to.scale), S::splat(f32::from(self.to.zero_point)));
                S::store_u8_first(self.y.as_mut_ptr().add(first), lanes, bounded::<S>(value, [0.0, 255.0]));
            }
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
