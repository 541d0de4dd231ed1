//! From the bytes of a file to upright RGB pixels.
//!
//! The content of a file decides its format, never its name. Orientation is applied, grey is replicated, CMYK
//! becomes RGB, deeper samples become 8 bits (see [`Channels`]), transparency shows white, of more than three
//! bands the first three are taken, and of an animation or several pages the first. Colours of another space
//! than sRGB become sRGB, as the file's profile tells.
//!
//! A JPEG whose data violate the format but are complete is read as far as possible, as browsers do; a
//! truncated one is an error. Which files are images does not depend on the requested size.
//!
//! | file | content |
//! |---|---|
//! | `format.rs`, `rgb_image.rs` | the formats and their headers; decoded images |
//! | `jpeg.rs`, `libjpeg.rs` | JPEG, whole and at a reduced scale |
//! | `tiff/mod.rs`, `ifd.rs`, `pnm.rs`, `heic.rs`, `frames.rs` | formats that `image` does not read, and the
//! number of images in a file |
//! | `samples.rs`, `colour.rs` | deep samples and bands; colour profiles |
//! | `orientation.rs` | where each format stores the orientation |
//! | `foreign.rs`, `raw.rs` | formats that are recognised but not read |
//! | `budget.rs` | the memory of all decodes together |

pub(crate) mod budget;
mod colour;
mod foreign;
mod format;
mod frames;
mod heic;
mod ifd;
mod jpeg;
mod levels;
mod libjpeg;
mod orientation;
mod pnm;
mod raw;
mod rgb_image;
mod samples;
mod tiff;

use std::fmt;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

use crate::photo_file::read_photo;
use crate::{DataError, DecodeError};

pub(crate) use foreign::{MAGIC_LEN, Refused, refused};
use format::format_of;
pub use format::{Colour, Format, Probe};
pub use levels::Levels;
pub use rgb_image::RgbImage;
use rgb_image::{from_rgb8, upright};
pub use samples::Channels;
use samples::{Kind, Scale, band_indices, pick_bands};

/// Decodes images, within limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoder {
    /// The largest number of pixels of an image; it limits the memory of a decode to a small multiple.
    pub max_pixels: u64,
    /// Which bands are read, and which values are black and white.
    pub channels: Channels,
}

impl Default for Decoder {
    /// At most 178,956,970 pixels, Pillow's limit: 512 MiB of RGB.
    fn default() -> Self {
        Decoder { max_pixels: 178_956_970, channels: Channels::default() }
    }
}

/// The bytes of a file, unless they are, together with its name, those of a format that is not read: a
/// camera's raw file may be a TIFF by its content.
pub(crate) fn named_as_image(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    match foreign::of_named(path, &bytes) {
        Some(error) => Err(error),
        None => Ok(bytes),
    }
}

impl Decoder {
    /// Decodes the bytes of a file in any of the [formats](Format).
    pub fn decode(&self, bytes: &[u8]) -> Result<RgbImage, DecodeError> {
        self.decode_for(bytes, u32::MAX)
    }

    /// Decodes a file's bytes, and says how light its samples are where they have more than 8 bits.
    pub(crate) fn decode_and_look(
        &self,
        path: &Path,
        bytes: &[u8],
    ) -> Result<(RgbImage, Option<Levels>), DecodeError> {
        match foreign::of_named(path, bytes) {
            Some(error) => Err(error),
            None => self.decode_with_levels(bytes, format_of(bytes)?, u32::MAX),
        }
    }

    fn decode_with_levels(
        &self,
        bytes: &[u8],
        format: Format,
        needed: u32,
    ) -> Result<(RgbImage, Option<Levels>), DecodeError> {
        let _scope = budget::scope();
        // A decoder that panics on a hostile file has found a damaged file, not a reason to end a training
        // run.
        let (image, levels) = catch_unwind(AssertUnwindSafe(|| match format {
            Format::Jpeg => Ok((self.finished(jpeg::decode(self, bytes, needed)?, bytes, format)?, None)),
            Format::Tiff => {
                self.claim(bytes, format)?;
                let (image, levels) = tiff::decode(self, bytes)?;
                let image = match self.channels.is_usual() {
                    true => colour::to_srgb(image, bytes, format),
                    false => image,
                };
                Ok((image, levels))
            }
            Format::Pnm => {
                self.claim(bytes, format)?;
                pnm::decode(self, bytes)
            }
            Format::Heic => {
                self.claim(bytes, format)?;
                Ok((self.finished(heic::decode(self, bytes)?, bytes, format)?, None))
            }
            _ => {
                let (image, levels) = self.decode_other(bytes, format)?;
                Ok((self.finished(image, bytes, format)?, levels))
            }
        }))
        .unwrap_or_else(|_| {
            Err(DecodeError::Damaged { format: format.name(), detail: "the decoder gave up".to_owned() })
        })?;
        Ok((upright(image, orientation::of(bytes, format)), levels))
    }

    /// Claims the memory of a decode by what the file says: as stored, with a decoder's own planes, and as
    /// RGB.
    fn claim(&self, bytes: &[u8], format: Format) -> Result<(), DecodeError> {
        let Probe { width, height, colour, .. } = self.probe_as(bytes, format)?;
        self.check_size(width, height, format)?;
        let stored = u64::from(colour.channels.max(1)) * u64::from(colour.bits.div_ceil(8).max(1));
        budget::claim((u64::from(width) * u64::from(height)).saturating_mul(2 * stored + 7));
        Ok(())
    }

    /// An image that is red, green and blue, in sRGB, and the bands to take of it.
    fn finished(&self, image: RgbImage, bytes: &[u8], format: Format) -> Result<RgbImage, DecodeError> {
        let mut image = colour::to_srgb(image, bytes, format);
        if let Some(bands) = self.channels.bands {
            image.pixels = pick_bands(image.pixels, band_indices(bands, 3, "RGB")?);
        }
        Ok(image)
    }

    /// Decodes an image for a use that needs its shorter side to have `needed` pixels.
    ///
    /// A JPEG at least twice as large as that is decoded at 1/2, 1/4 or 1/8 of its size, which is never
    /// smaller than needed; anything else is decoded whole. Which files are images and which are damaged does
    /// not depend on `needed`.
    pub fn decode_for(&self, bytes: &[u8], needed: u32) -> Result<RgbImage, DecodeError> {
        Ok(self.decode_with_levels(bytes, format_of(bytes)?, needed)?.0)
    }

    /// Reads a file and decodes it as [`decode_for`](Self::decode_for) does.
    pub fn decode_file_for(&self, path: impl AsRef<Path>, needed: u32) -> Result<RgbImage, DataError> {
        let path = path.as_ref();
        let _scope = budget::scope();
        read_photo(path, self.max_bytes())
            .and_then(|bytes| named_as_image(path, bytes))
            .and_then(|bytes| self.decode_for(&bytes, needed))
            .map_err(|reason| DataError::BadImage { path: path.to_owned(), reason })
    }

    /// Reads and decodes a file.
    pub fn decode_file(&self, path: impl AsRef<Path>) -> Result<RgbImage, DataError> {
        self.decode_file_for(path, u32::MAX)
    }

    /// The largest file that is read, in bytes: 64 MiB, and three for each pixel that an image may have.
    pub fn max_bytes(&self) -> u64 {
        self.max_pixels.saturating_mul(3).saturating_add(64 << 20)
    }

    /// Reads a file's header, without decoding the pixels.
    pub fn probe_file(&self, path: impl AsRef<Path>) -> Result<Probe, DataError> {
        let path = path.as_ref();
        let _scope = budget::scope();
        read_photo(path, self.max_bytes())
            .and_then(|bytes| self.probe(&bytes))
            .map_err(|reason| DataError::BadImage { path: path.to_owned(), reason })
    }

    /// The header of a file, without decoding the pixels.
    pub fn probe(&self, bytes: &[u8]) -> Result<Probe, DecodeError> {
        let format = format_of(bytes)?;
        catch_unwind(AssertUnwindSafe(|| self.probe_as(bytes, format))).unwrap_or_else(|_| {
            Err(DecodeError::Damaged { format: format.name(), detail: "the decoder gave up".to_owned() })
        })
    }

    fn probe_as(&self, bytes: &[u8], format: Format) -> Result<Probe, DecodeError> {
        let fail = |error| image_error(error, format);
        let Some(kind) = format.kind() else {
            return match format {
                Format::Tiff => {
                    let tiff::Header { width, height, colour, pages } = tiff::header(bytes)?;
                    let orientation = orientation::of(bytes, format).to_exif();
                    let (width, height) = if orientation >= 5 { (height, width) } else { (width, height) };
                    Ok(Probe { format, width, height, orientation, colour, frames: pages })
                }
                Format::Pnm => {
                    let header = pnm::Header::read(bytes)?;
                    let (width, height, colour) = (header.width, header.height, header.colour());
                    Ok(Probe { format, width, height, orientation: 1, colour, frames: 1 })
                }
                _ => {
                    let heic::Header { width, height, colour } = heic::header(bytes)?;
                    Ok(Probe { format, width, height, orientation: 1, colour, frames: 1 })
                }
            };
        };
        let (mut width, mut height, colour) = if format == Format::Jpeg {
            let layout = jpeg::Layout::of(bytes)?;
            (layout.width, layout.height, layout.colour)
        } else {
            let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
            reader.limits(self.limits());
            let decoder = reader.into_decoder().map_err(fail)?;
            let (width, height) = decoder.dimensions();
            let colour = decoder.original_color_type();
            let channels = u16::from(colour.channel_count()).max(1);
            let bits = (colour.bits_per_pixel() / channels) as u8;
            (width, height, Colour { channels: channels as u8, bits })
        };
        let orientation = orientation::of(bytes, format).to_exif();
        if orientation >= 5 {
            std::mem::swap(&mut width, &mut height);
        }
        Ok(Probe { format, width, height, orientation, colour, frames: frames::count(bytes, format) })
    }

    fn check_size(&self, width: u32, height: u32, format: Format) -> Result<(), DecodeError> {
        if width == 0 || height == 0 {
            return Err(DecodeError::Damaged {
                format: format.name(),
                detail: "it has no pixels".to_owned(),
            });
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(DecodeError::TooLarge { width, height, limit: self.max_pixels });
        }
        Ok(())
    }

    /// 16 bytes a pixel is the widest pixel there is (four 32-bit floats); the rest is for a decoder's
    /// tables.
    fn limits(&self) -> Limits {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(self.max_pixels.saturating_mul(16).saturating_add(64 << 20));
        limits
    }

    fn decode_other(&self, bytes: &[u8], format: Format) -> Result<(RgbImage, Option<Levels>), DecodeError> {
        let fail = |error| image_error(error, format);
        let limits = self.limits();
        let kind = format.kind().ok_or(DecodeError::UnknownFormat)?;
        let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder().map_err(fail)?;
        let (width, height) = decoder.dimensions();
        self.check_size(width, height, format)?;
        decoder.set_limits(limits).map_err(fail)?;
        // As it is stored, with what a decoder keeps of it beside, and as 8 bits with or without
        // transparency.
        let pixels = u64::from(width) * u64::from(height);
        budget::claim(decoder.total_bytes().saturating_mul(2).saturating_add(pixels * 4));
        let image = DynamicImage::from_decoder(decoder).map_err(fail)?;
        let scale = Scale::new(Kind::Unsigned(65535.0), self.channels.value_range);
        let levels = largest(&image).map(|largest| scale.levels_of(largest));
        Ok((over_white(self.in_range(image)), levels))
    }

    /// Stretches the chosen range of 16-bit samples over the full one.
    fn in_range(&self, mut image: DynamicImage) -> DynamicImage {
        if self.channels.value_range.is_none() {
            return image;
        }
        let mut scale = Scale::new(Kind::Unsigned(65535.0), self.channels.value_range);
        let mut spread = |values: &mut [u16], samples: usize, alpha: bool| {
            for pixel in values.chunks_exact_mut(samples) {
                let colours = samples - usize::from(alpha);
                pixel[..colours]
                    .iter_mut()
                    .for_each(|value| *value = 257 * u16::from(scale.byte((*value).into())));
            }
        };
        match &mut image {
            DynamicImage::ImageLuma16(image) => spread(image, 1, false),
            DynamicImage::ImageLumaA16(image) => spread(image, 2, true),
            DynamicImage::ImageRgb16(image) => spread(image, 3, false),
            DynamicImage::ImageRgba16(image) => spread(image, 4, true),
            _ => {}
        }
        image
    }
}

/// The largest of 16-bit samples, without alpha.
fn largest(image: &DynamicImage) -> Option<f64> {
    let most = |values: &[u16], samples: usize, colours: usize| {
        values.chunks_exact(samples).flat_map(|pixel| &pixel[..colours]).max().copied()
    };
    let most = match image {
        DynamicImage::ImageLuma16(image) => most(image, 1, 1),
        DynamicImage::ImageLumaA16(image) => most(image, 2, 1),
        DynamicImage::ImageRgb16(image) => most(image, 3, 3),
        DynamicImage::ImageRgba16(image) => most(image, 4, 3),
        _ => None,
    };
    most.map(f64::from)
}

/// 8-bit RGB of any kind of pixels; what is transparent shows a white ground.
fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return from_rgb8(image.into_rgb8());
    }
    let image = image.into_rgba8();
    let (width, height) = image.dimensions();
    // In place: what is read lies behind what is written.
    let mut pixels = image.into_raw();
    let count = pixels.len() / 4;
    for at in 0..count {
        let [red, green, blue, alpha] = *pixels[at * 4..].first_chunk().expect("four bytes a pixel");
        let over = |value: u8| {
            let (value, alpha) = (u32::from(value), u32::from(alpha));
            ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        let shown = if alpha == 255 { [red, green, blue] } else { [red, green, blue].map(over) };
        pixels[at * 3..][..3].copy_from_slice(&shown);
    }
    pixels.truncate(count * 3);
    RgbImage::new(width, height, pixels).expect("three bytes a pixel")
}

fn image_error(error: ImageError, format: Format) -> DecodeError {
    let format = format.name();
    match error {
        ImageError::Unsupported(error) => DecodeError::Unsupported { format, detail: one_line(error) },
        error => DecodeError::Damaged { format, detail: one_line(error) },
    }
}

/// A decoder's message as one line.
fn one_line(error: impl fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
