//! Maps of bytes, pooling and element-wise operations.

use super::{
    Quantization,
    epilogue::{Epilogue, bounded, store_bytes},
};
use crate::{
    activation::Activation,
    buffer_pool::Scratch,
    element,
    isa::Isa,
    shape::{Padding, Pool2dShape, assert_len},
    shared_mut::SharedMut,
    simd::{self, Kernel, ROUNDING, Simd, run_on},
};
use std::ops::Range;

/// Maps of 8-bit integers: `[batch, height, width, channels]`, each pixel's channels padded to a multiple of four bytes.
#[derive(Debug)]
pub struct Int8Maps {
    bytes: Scratch,
    /// Batch, height, width, channels.
    shape: [usize; 4],
    quantization: Quantization,
}

/// The most pixels of an image: sums of as many bytes fit into 32 bits.
const MAX_PIXELS: usize = 1 << 24;

/// Bytes after the last pixel, which vectors of its channels may reach into.
const SLACK: usize = 64;

/// The bytes of a pixel.
pub(super) fn pixel_bytes(channels: usize) -> usize {
    channels.next_multiple_of(4)
}

impl Int8Maps {
    /// Maps whose bytes hold any values until they are written.
    ///
    /// # Panics
    /// On images of more than 2²⁴ pixels.
    pub(super) fn take(shape: [usize; 4], quantization: Quantization) -> Self {
        let [batch, height, width, channels] = shape;
        let pixels = height.checked_mul(width).filter(|pixels| *pixels <= MAX_PIXELS);
        let bytes = pixels
            .and_then(|pixels| pixels.checked_mul(batch)?.checked_mul(pixel_bytes(channels)))
            .unwrap_or_else(|| panic!("maps of bytes cannot have the size {shape:?}"));
        Self { bytes: Scratch::take((bytes + SLACK).div_ceil(4)), shape, quantization }
    }

    /// The bytes nearest to these numbers, `[batch, height, width, channels]`.
    ///
    /// # Panics
    /// If there are more or fewer numbers than the shape has, and on images of more than 2²⁴ pixels.
    pub fn from_f32(shape: [usize; 4], values: &[f32], quantization: Quantization) -> Self {
        let len = shape.iter().try_fold(1usize, |len, size| len.checked_mul(*size));
        assert_len("values", values, len.unwrap_or(usize::MAX));
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

    /// All bytes, and what they stand for.
    pub(super) fn coded(&self) -> (&[u8], Quantization) {
        (self.bytes(), self.quantization)
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
        self.pool(shape, |window, channel, _| {
            window.iter().map(|pixel| pixel[channel]).max().expect("windows reach into the maps")
        })
    }

    /// The mean of each window, with or without zeros in its padding.
    ///
    /// # Panics
    /// As [`max_pool`](Self::max_pool).
    pub fn average_pool(&self, shape: &Pool2dShape, count_padding: bool) -> Self {
        let zero_point = u32::from(self.quantization.zero_point);
        self.pool(shape, |window, channel, all| {
            let sum: u32 = window.iter().map(|pixel| u32::from(pixel[channel])).sum();
            let (sum, count) = match count_padding {
                true => (sum + zero_point * (all - window.len()) as u32, all as u32),
                false => (sum, window.len() as u32),
            };
            ((sum + count / 2) / count) as u8
        })
    }

    /// `of` is given the pixels of a window that are inside of the map, the channel, and the pixels with padding.
    fn pool(&self, shape: &Pool2dShape, of: impl Fn(&[&[u8]], usize, usize) -> u8) -> Self {
        shape.assert_valid();
        let [batch, height, width, channels] = self.shape;
        assert_eq!([shape.batch, shape.in_height, shape.in_width, shape.channels], self.shape, "its shape");
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        let mut pooled = Self::take([batch, out_height, out_width, channels], self.quantization);
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
        self.each_image(residual, activation, to, |_, channel| [scale[channel], shift[channel]])
    }

    /// Each channel of each image times a factor, `[batch, channels]`.
    ///
    /// # Panics
    /// If there are more or fewer factors.
    pub fn scale_channels(&self, factors: &[f32], to: Quantization) -> Self {
        let [batch, _, _, channels] = self.shape;
        assert_len("factors", factors, batch * channels);
        self.each_image(None, Activation::None, to, |image, channel| {
            [factors[image * channels + channel], 0.0]
        })
    }

    /// `of` gives the factor and the shift of an image's channel.
    fn each_image(
        &self,
        residual: Option<&Self>,
        activation: Activation,
        to: Quantization,
        of: impl Fn(usize, usize) -> [f32; 2],
    ) -> Self {
        let [batch, height, width, channels] = self.shape;
        if let Some(residual) = residual {
            assert_eq!(residual.shape, self.shape, "a residual of the same shape");
        }
        let isa = Isa::current();
        let mut result = Self::take(self.shape, to);
        let y = SharedMut::new(result.bytes_mut());
        let padded = channels + simd::lanes(isa);
        let (mut factors, mut shifts) = (vec![0.0; padded], vec![0.0; padded]);
        for image in 0..batch {
            for channel in 0..channels {
                let [scale, shift] = of(image, channel);
                factors[channel] = scale * self.quantization.scale;
                shifts[channel] = shift - factors[channel] * f32::from(self.quantization.zero_point);
            }
            let epilogue =
                Epilogue::new([&factors, &shifts], residual.map(Self::coded), activation, to, false);
            let pixels = image * height * width..(image + 1) * height * width;
            run_on(isa, AffineKernel { x: self.bytes(), channels, epilogue, pixels, y });
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
                    let x = element::load::<S, f32>(x.as_ptr().add(first), lanes);
                    let value = S::add(S::mul(x, S::splat(factor)), S::splat(zero_point));
                    store_bytes::<S>(y.as_mut_ptr().add(first), lanes, bounded::<S>(value, [0.0, 255.0]));
                }
            }
        }
    }
}

/// Some pixels.
struct AffineKernel<'a> {
    /// Of all pixels, and [`SLACK`] more.
    x: &'a [u8],
    channels: usize,
    epilogue: Epilogue<'a>,
    pixels: Range<usize>,
    y: SharedMut<u8>,
}

impl Kernel for AffineKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.channels;
        for pixel in self.pixels {
            for first in (0..channels).step_by(S::LANES) {
                let at = pixel * pixel_bytes(channels) + first;
                // SAFETY: the processor has S; maps have slack after their last pixel.
                unsafe {
                    let x = S::load_u8(self.x.as_ptr().add(at));
                    let value = self.epilogue.apply::<S, true, true>(x, first, at);
                    store_bytes::<S>(self.y.at(at), S::LANES.min(channels - first), value);
                }
            }
        }
    }
}
