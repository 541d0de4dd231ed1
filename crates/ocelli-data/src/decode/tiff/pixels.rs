//! From rows of bytes to pixels.

use super::damaged;
use super::page::{Alpha, Page, Photometric};
use crate::decode::Format;
use crate::decode::levels::Levels;
use crate::decode::samples::{Channels, Scale, band_indices, over_white, pick_bands};
use crate::{DecodeError, spare};

impl Page {
    /// The bands that are selected while strips are read: those of red, green and blue, or of grey, and of
    /// black or alpha.
    fn bands(&self, channels: &Channels) -> Result<Vec<usize>, DecodeError> {
        if let (Some(bands), true) = (channels.bands, self.has_plain_bands()) {
            return Ok(band_indices(bands, self.samples, Format::Tiff.name())?.to_vec());
        }
        let alpha = self.alpha.map(|(band, _)| band);
        let mut colours = (0..self.samples).filter(|band| Some(*band) != alpha);
        let mut bands: Vec<usize> = match self.photometric {
            Photometric::WhiteIsZero | Photometric::BlackIsZero => {
                let first: Vec<usize> = colours.by_ref().take(3).collect();
                if first.len() == 3 { first } else { vec![0] }
            }
            photometric => (0..photometric.colours()).collect(),
        };
        bands.extend(alpha);
        Ok(bands)
    }

    /// `[height, width, 3]`, and how light they are.
    pub(super) fn pixels(
        &self,
        bytes: &[u8],
        channels: &Channels,
    ) -> Result<(Vec<u8>, Option<Levels>), DecodeError> {
        let bands = self.bands(channels)?;
        // Bytes a pixel of the selected bands: a palette's and subsampled colours are found at once.
        let stride = match (self.photometric, self.subsampling) {
            (_, Some(_)) => 3,
            (Photometric::Palette, None) => 2 + bands.len(),
            _ => bands.len(),
        };
        let mut values = spare::zeros(self.width * self.height * stride);
        let mut scale = Scales {
            colour: Scale::new(self.kind(), channels.value_range),
            alpha: Scale::new(self.kind(), None),
            alpha_at: self.kept_alpha(channels).map(|_| bands.len() - 1),
        };
        let planes = if self.planar { self.samples } else { 1 };
        for plane in 0..planes {
            if self.planar && !bands.contains(&plane) {
                continue;
            }
            for down in 0..self.down() {
                for across in 0..self.across() {
                    let index = (plane * self.down() + down) * self.across() + across;
                    let origin = (across * self.chunk.0, down * self.chunk.1);
                    self.read_chunk(bytes, index, origin, |page, data, row_bytes, little, samples| {
                        let spread =
                            Spread { page, origin, plane, bands: &bands, stride, row_bytes, little, samples };
                        spread.write(data, &mut values, &mut scale)
                    })?;
                }
            }
        }
        let scale = scale.colour;
        scale.check(Format::Tiff.name())?;
        let pixels = match self.finish(channels, stride) {
            Finish::AsIs => values,
            finish => {
                let mut pixels = spare::zeros(self.width * self.height * 3);
                let into = pixels.as_chunks_mut::<3>().0;
                into.iter_mut()
                    .zip(values.chunks_exact(stride))
                    .for_each(|(pixel, from)| *pixel = finish.of(from));
                spare::keep(values);
                pixels
            }
        };
        let pixels = match channels.bands.filter(|_| !self.has_plain_bands()) {
            Some(bands) => pick_bands(pixels, band_indices(bands, 3, Format::Tiff.name())?),
            None => pixels,
        };
        Ok((pixels, scale.levels()))
    }

    /// What the last selected band means, where it is alpha.
    fn kept_alpha(&self, channels: &Channels) -> Option<Alpha> {
        let is_chosen = channels.bands.is_some() && self.has_plain_bands();
        self.alpha.map(|(_, alpha)| alpha).filter(|_| !is_chosen)
    }

    fn finish(&self, channels: &Channels, stride: usize) -> Finish {
        let alpha = self.kept_alpha(channels);
        let inverted = self.photometric == Photometric::WhiteIsZero;
        match self.photometric {
            Photometric::Cmyk => Finish::Cmyk(alpha),
            _ if stride == 3 && !inverted && alpha.is_none() => Finish::AsIs,
            _ => Finish::Colours { grey: stride < 3, inverted, alpha },
        }
    }
}

/// From the selected bands to a pixel.
#[derive(Clone, Copy)]
enum Finish {
    AsIs,
    Cmyk(Option<Alpha>),
    Colours { grey: bool, inverted: bool, alpha: Option<Alpha> },
}

impl Finish {
    fn of(self, from: &[u8]) -> [u8; 3] {
        let (mut pixel, alpha) = match self {
            Finish::AsIs => ([from[0], from[1], from[2]], None),
            Finish::Cmyk(alpha) => {
                let light = 255 - u32::from(from[3]);
                let ink = |ink: u8| ((255 - u32::from(ink)) * light / 255) as u8;
                ([ink(from[0]), ink(from[1]), ink(from[2])], alpha)
            }
            Finish::Colours { grey, inverted, alpha } => {
                let pixel = if grey { [from[0]; 3] } else { [from[0], from[1], from[2]] };
                (if inverted { pixel.map(|value| 255 - value) } else { pixel }, alpha)
            }
        };
        if let (Some(kind), Some(&alpha)) = (alpha, from.last()) {
            pixel = pixel.map(|value| match kind {
                Alpha::Separate => over_white(value, alpha),
                Alpha::Multiplied => value.saturating_add(255 - alpha),
            });
        }
        pixel
    }
}

/// From stored samples to 8 bits: a range is one of colours, opacity has a meaning of its own.
struct Scales {
    colour: Scale,
    alpha: Scale,
    /// Which of the selected bands is alpha.
    alpha_at: Option<usize>,
}

impl Scales {
    #[inline]
    fn byte(&mut self, at: usize, value: f64) -> u8 {
        if Some(at) == self.alpha_at { self.alpha.byte(value) } else { self.colour.byte(value) }
    }
}

/// Where the rows of a strip or tile go.
struct Spread<'a> {
    page: &'a Page,
    origin: (usize, usize),
    plane: usize,
    bands: &'a [usize],
    stride: usize,
    row_bytes: usize,
    little: bool,
    /// Samples a pixel in the rows of bytes.
    samples: usize,
}

impl Spread<'_> {
    fn write(&self, data: &[u8], values: &mut [u8], scale: &mut Scales) -> Result<(), DecodeError> {
        let page = self.page;
        let width = page.chunk.0.min(page.width - self.origin.0);
        let height = page.chunk.1.min(page.height - self.origin.1);
        if let Some(subsampling) = page.subsampling {
            self.subsampled(data, values, (width, height), subsampling);
            return Ok(());
        }
        // Which of the selected bands come from which sample of a pixel here.
        let picks: Vec<(usize, usize)> = match page.planar {
            true => {
                (0..self.bands.len()).filter(|at| self.bands[*at] == self.plane).map(|at| (at, 0)).collect()
            }
            false => self.bands.iter().copied().enumerate().collect(),
        };
        if page.photometric == Photometric::Palette {
            return self.coloured(data, values, width, height, &picks, scale);
        }
        let plain = [(0, 0), (1, 1), (2, 2)];
        let is_copy = page.bits == 8 && page.sample_format != 2 && picks == plain && self.samples == 3;
        if is_copy && self.stride == 3 {
            for row in 0..height {
                let from = &data[row * self.row_bytes..][..width * 3];
                values[self.start(row)..][..width * 3].copy_from_slice(from);
            }
            return Ok(());
        }
        self.numbers(data, values, (width, height), &picks, scale);
        Ok(())
    }

    /// Spreads samples of any format over bytes.
    fn numbers(
        &self,
        data: &[u8],
        values: &mut [u8],
        size: (usize, usize),
        picks: &[(usize, usize)],
        scale: &mut Scales,
    ) {
        let (page, little) = (self.page, self.little);
        macro_rules! spread {
            ($bytes:literal, $at:expr) => {
                self.each(data, values, size, picks, |row, index, at| {
                    let bytes: [u8; $bytes] =
                        row[index * $bytes..][..$bytes].try_into().expect("of that length");
                    scale.byte(at, $at(bytes))
                })
            };
        }
        macro_rules! number {
            ($type:ty, $bytes:literal) => {
                spread!($bytes, |bytes| match little {
                    true => <$type>::from_le_bytes(bytes) as f64,
                    false => <$type>::from_be_bytes(bytes) as f64,
                })
            };
        }
        match (page.sample_format, page.bits) {
            (2, 8) => number!(i8, 1),
            (2, 16) => number!(i16, 2),
            (2, 32) => number!(i32, 4),
            (2, _) => number!(i64, 8),
            (3, 16) => spread!(2, |bytes| half_to_f64(match little {
                true => u16::from_le_bytes(bytes),
                false => u16::from_be_bytes(bytes),
            })),
            (3, 32) => number!(f32, 4),
            (3, _) => number!(f64, 8),
            (_, 8) => number!(u8, 1),
            (_, 16) => number!(u16, 2),
            (_, 32) => number!(u32, 4),
            (_, 64) => number!(u64, 8),
            (_, bits) => self.each(data, values, size, picks, |row, index, at| {
                scale.byte(at, bit_field(row, index, bits, little) as f64)
            }),
        }
    }

    /// Where a row begins in the selected values.
    fn start(&self, row: usize) -> usize {
        ((self.origin.1 + row) * self.page.width + self.origin.0) * self.stride
    }

    #[inline]
    fn each(
        &self,
        data: &[u8],
        values: &mut [u8],
        (width, height): (usize, usize),
        picks: &[(usize, usize)],
        mut byte: impl FnMut(&[u8], usize, usize) -> u8,
    ) {
        for row in 0..height {
            let from = &data[row * self.row_bytes..][..self.row_bytes];
            let into = &mut values[self.start(row)..][..width * self.stride];
            for (x, pixel) in into.chunks_exact_mut(self.stride).enumerate() {
                for &(at, sample) in picks {
                    pixel[at] = byte(from, x * self.samples + sample, at);
                }
            }
        }
    }

    /// Indices become the palette's colours.
    fn coloured(
        &self,
        data: &[u8],
        values: &mut [u8],
        width: usize,
        height: usize,
        picks: &[(usize, usize)],
        scale: &mut Scales,
    ) -> Result<(), DecodeError> {
        let page = self.page;
        let number = |row: &[u8], index| bit_field(row, index, page.bits, self.little);
        for row in 0..height {
            let from = &data[row * self.row_bytes..][..self.row_bytes];
            let into = &mut values[self.start(row)..][..width * self.stride];
            for (x, pixel) in into.chunks_exact_mut(self.stride).enumerate() {
                for &(at, sample) in picks {
                    let value = number(from, x * self.samples + sample);
                    match at {
                        0 => {
                            let colour = page.palette.get(value as usize);
                            pixel[..3].copy_from_slice(
                                colour.ok_or_else(|| damaged("a colour is not in its palette"))?,
                            );
                        }
                        _ => pixel[2 + at] = scale.byte(at, value as f64),
                    }
                }
            }
        }
        Ok(())
    }

    /// Units of some luma samples and one pair of chroma become RGB, each pair standing for all of its unit.
    fn subsampled(
        &self,
        data: &[u8],
        values: &mut [u8],
        (width, height): (usize, usize),
        (across, down): (usize, usize),
    ) {
        let unit = across * down + 2;
        for row in 0..height {
            let units = &data[row / down * self.row_bytes..][..self.row_bytes];
            let into = &mut values[self.start(row)..][..width * 3];
            for (x, pixel) in into.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let unit = &units[x / across * unit..][..unit];
                let luma = unit[row % down * across + x % across];
                *pixel = rgb_of(luma, unit[across * down], unit[across * down + 1]);
            }
        }
    }
}

/// JFIF's conversion, which is TIFF's with the default coefficients.
fn rgb_of(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = (f32::from(luma), f32::from(blue) - 128.0, f32::from(red) - 128.0);
    [luma + 1.402 * red, luma - 0.344_136 * blue - 0.714_136 * red, luma + 1.772 * blue]
        .map(|value| (value + 0.5) as u8)
}

/// The sample at an index in a row of samples of any width: whole bytes in the file's order, bits from the
/// highest.
#[inline]
fn bit_field(row: &[u8], index: usize, bits: usize, little: bool) -> u64 {
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if bits.is_multiple_of(8) {
        let bytes = &row[index * bits / 8..][..bits / 8];
        return if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) };
    }
    let mut number = 0;
    for at in index * bits..(index + 1) * bits {
        number = number << 1 | u64::from(row[at / 8] >> (7 - at % 8) & 1);
    }
    number
}

fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}
