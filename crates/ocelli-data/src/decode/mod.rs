//! From the bytes of a file to upright RGB pixels.
//!
//! The content of a file decides its format, never its name. Orientation is applied, grey is replicated,
//! CMYK becomes RGB, deeper samples become 8 bits (see [`Channels`]), transparency shows white, of more than three bands
//! the first three are taken, and of an animation or several pages the first.
//! Colours of another space than sRGB become sRGB, as the file's profile tells.
//!
//! A JPEG whose data contradict the format but reach its end is read as far as possible, as browsers do;
//! one that breaks off is an error. What is an image is the same whatever size is asked for.
//!
//! | module | what it knows |
//! |---|---|
//! | `jpeg`, `libjpeg` | JPEG, whole and at a part of its size |
//! | `tiff`, `ifd`, `pnm`, `heic`, `frames` | the other formats that are not `image`'s, and how many images a file holds |
//! | `samples`, `colour` | deep samples and bands; colour profiles |
//! | `orientation` | where each format notes which way is up |
//! | `foreign`, `raw` | what is no image that is read, by name |
//! | `budget` | the memory of all decodes together |

pub(crate) mod budget;
mod colour;
mod foreign;
mod frames;
mod heic;
mod ifd;
mod jpeg;
mod libjpeg;
mod orientation;
mod pnm;
mod raw;
mod samples;
mod tiff;

use std::fmt;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageError, ImageReader, Limits};
use serde::{Deserialize, Serialize};

use crate::files::write_whole;
use crate::inspect::quality::Levels;
use crate::photo_file::read_photo;
use crate::{DataError, DecodeError};

pub(crate) use foreign::{Refused, refused};
pub use samples::Channels;
use samples::{Kind, Scale};

/// An upright image: 8-bit RGB, row by row from the top, without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    extent: Extent,
}

/// Where the photo lies in its pixels, in eighths of a pixel: of one that was decoded at a part of its size the last
/// pixels of a row or column may stand for fewer of the photo's than the others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    left: u64,
    top: u64,
    width: u64,
    height: u64,
}

impl RgbImage {
    /// Takes `width · height · 3` bytes; `None` if there are more or fewer, or if a side is 0.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        let expected = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        let extent = Extent { left: 0, top: 0, width: 8 * u64::from(width), height: 8 * u64::from(height) };
        (expected > 0 && pixels.len() == expected).then_some(RgbImage { width, height, pixels, extent })
    }

    /// Says that this is a photo of that size, decoded at so many eighths of it; `None` where it cannot be.
    fn reduced(mut self, (width, height): (u32, u32), eighths: u8) -> Option<Self> {
        let eighths = u64::from(eighths);
        (self.extent.width, self.extent.height) = (u64::from(width) * eighths, u64::from(height) * eighths);
        let fits = |length: u64, pixels: u32| length.div_ceil(8) == u64::from(pixels);
        (fits(self.extent.width, self.width) && fits(self.extent.height, self.height)).then_some(self)
    }

    /// (left, top), (width, height) of the photo in its pixels: all of them, or a part of the last ones less where the
    /// photo was decoded at a part of its size.
    pub(crate) fn extent(&self) -> ((f64, f64), (f64, f64)) {
        let pixels = |eighths: u64| eighths as f64 / 8.0;
        let Extent { left, top, width, height } = self.extent;
        ((pixels(left), pixels(top)), (pixels(width), pixels(height)))
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The means of red, green and blue, in 0..=255.
    pub fn means(&self) -> [f64; 3] {
        // Sixteen pixels fill vectors; sums of 32 bits are taken before they could overflow.
        let mut totals = [0u64; 3];
        for part in self.pixels.chunks(48 << 16) {
            let (groups, rest) = part.as_chunks::<48>();
            let mut sums = [0u32; 48];
            for group in groups {
                sums.iter_mut().zip(group).for_each(|(sum, &value)| *sum += u32::from(value));
            }
            for (at, sum) in sums.into_iter().chain(rest.iter().map(|&value| value.into())).enumerate() {
                totals[at % 3] += u64::from(sum);
            }
        }
        totals.map(|total| total as f64 / (self.pixels.len() / 3) as f64)
    }

    /// Writes the image as a PNG file.
    pub fn write_png(&self, path: impl AsRef<Path>) -> Result<(), DataError> {
        write_whole(path.as_ref(), &self.to_png())
    }

    /// The bytes of a PNG file with the image.
    pub fn to_png(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(&self.pixels, self.width, self.height, image::ExtendedColorType::Rgb8)
            .expect("an image of some pixels is written to memory");
        bytes
    }

    /// The bytes of a JPEG file, of quality 1 to 100, colour at half the resolution.
    ///
    /// # Panics
    /// Where a side is longer than 65,535 pixels.
    pub fn to_jpeg(&self, quality: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
        encoder.set_optimized_huffman_tables(true);
        let side = |side: u32| u16::try_from(side).expect("a side that JPEG can tell");
        let encoded =
            encoder.encode(&self.pixels, side(self.width), side(self.height), jpeg_encoder::ColorType::Rgb);
        encoded.expect("writing to memory succeeds");
        bytes
    }

    /// A JPEG of quality 1 to 100 as a `data:` address, which an HTML page holds as it is.
    ///
    /// # Panics
    /// As [`to_jpeg`](Self::to_jpeg).
    pub fn to_inline_jpeg(&self, quality: u8) -> String {
        format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(self.to_jpeg(quality)))
    }

    /// `[height, width, 3]`.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}

impl fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RgbImage({} × {})", self.width, self.height)
    }
}

/// The file formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Baseline, extended and progressive JPEG.
    Jpeg,
    /// PNG; of an animated one the default image.
    Png,
    /// WebP, lossy and lossless.
    WebP,
    /// GIF; the first frame.
    Gif,
    /// Windows bitmaps.
    Bmp,
    /// TIFF and BigTIFF; the first page.
    Tiff,
    /// Netpbm's PBM, PGM, PPM, PAM and PFM; the first image.
    Pnm,
    /// HEIC: HEVC in HEIF; the primary image.
    Heic,
}

impl Format {
    /// The number of first bytes of a file that [`of`](Self::of) looks at.
    pub const MAGIC_LEN: usize = 64;

    /// The format that these first bytes of a file announce.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if pnm::announced(bytes) {
            return Some(Format::Pnm);
        }
        if heic::announced(bytes) {
            return Some(Format::Heic);
        }
        if matches!(bytes, [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..]) {
            return Some(Format::Tiff);
        }
        Some(match image::guess_format(bytes).ok()? {
            image::ImageFormat::Jpeg => Format::Jpeg,
            image::ImageFormat::Png => Format::Png,
            image::ImageFormat::WebP => Format::WebP,
            image::ImageFormat::Gif => Format::Gif,
            image::ImageFormat::Bmp => Format::Bmp,
            _ => return None,
        })
    }

    /// What `image` calls it, where it is `image` that reads it.
    fn kind(self) -> Option<image::ImageFormat> {
        match self {
            Format::Jpeg => Some(image::ImageFormat::Jpeg),
            Format::Png => Some(image::ImageFormat::Png),
            Format::WebP => Some(image::ImageFormat::WebP),
            Format::Gif => Some(image::ImageFormat::Gif),
            Format::Bmp => Some(image::ImageFormat::Bmp),
            Format::Tiff | Format::Pnm | Format::Heic => None,
        }
    }

    /// The format's name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::WebP => "WebP",
            Format::Gif => "GIF",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
            Format::Pnm => "PNM",
            Format::Heic => "HEIC",
        }
    }

    /// Usual endings of file names, lower case, the customary one first.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Format::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
            Format::Png => &["png", "apng"],
            Format::WebP => &["webp"],
            Format::Gif => &["gif"],
            Format::Bmp => &["bmp", "dib"],
            Format::Tiff => &["tif", "tiff", "btf", "tf8", "bigtiff"],
            Format::Pnm => &["pnm", "pbm", "pgm", "ppm", "pam", "pfm"],
            Format::Heic => &["heic", "heif", "hif"],
        }
    }

    /// Every format.
    pub const ALL: [Format; 8] = [
        Format::Jpeg,
        Format::Png,
        Format::WebP,
        Format::Gif,
        Format::Bmp,
        Format::Tiff,
        Format::Pnm,
        Format::Heic,
    ];
}

/// What a file says of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// By content, whatever the name.
    pub format: Format,
    /// Of the upright image.
    pub width: u32,
    /// Of the upright image.
    pub height: u32,
    /// EXIF orientation, 1 to 8; 1 is upright as stored.
    pub orientation: u8,
    /// How pixels are stored.
    pub colour: Colour,
    /// Pages or frames in the file, of which the first is read.
    pub frames: u32,
}

impl Probe {
    /// How pixels are stored, for people: "RGB", "CMYK", "grey, 16 bits".
    pub fn colour_name(&self) -> String {
        let kind = match (self.colour.channels, self.format) {
            (1, Format::Jpeg | Format::Pnm | Format::Heic) => "grey",
            (1, _) => "grey or palette",
            (2, _) => "grey with transparency",
            (3, _) => "RGB",
            (4, Format::Jpeg) => "CMYK",
            (5.., _) => return format!("{} bands, {} bits", self.colour.channels, self.colour.bits),
            _ => "RGB with transparency, or CMYK",
        };
        match self.colour.bits {
            8 => kind.to_owned(),
            1 => format!("{kind}, 1 bit"),
            bits => format!("{kind}, {bits} bits"),
        }
    }
}

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Colour {
    /// 1: grey or palette, 2: grey and alpha, 3: RGB, 4: RGB and alpha, or CMYK in a JPEG.
    pub channels: u8,
    /// Bits a channel.
    pub bits: u8,
}

/// Decodes images, within limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoder {
    /// The largest number of pixels an image may have; it bounds the memory of a decode to a small multiple.
    pub max_pixels: u64,
    /// Which bands are read, and which values are black and white.
    pub channels: Channels,
}

impl Default for Decoder {
    /// At most 178,956,970 pixels, the number above which Pillow refuses: 512 MiB of RGB.
    fn default() -> Self {
        Decoder { max_pixels: 178_956_970, channels: Channels::default() }
    }
}

/// The bytes of a file, unless they are, together with its name, those of a format that is not read: a camera's raw file
/// may be a TIFF by its content.
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
        // A decoder that panics on a hostile file has found a damaged file, not a reason to end a training run.
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

    /// Claims the memory of a decode by what the file says: as stored, with a decoder's own planes, and as RGB.
    fn claim(&self, bytes: &[u8], format: Format) -> Result<(), DecodeError> {
        let Probe { width, height, colour, .. } = self.probe_as(bytes, format)?;
        self.check_size(width, height, format)?;
        let stored = u64::from(colour.channels.max(1)) * u64::from(colour.bits.div_ceil(8).max(1));
        budget::claim((u64::from(width) * u64::from(height)).saturating_mul(2 * stored + 7));
        Ok(())
    }

    /// An image that is red, green and blue, in sRGB, and the bands that are wanted of it.
    fn finished(&self, image: RgbImage, bytes: &[u8], format: Format) -> Result<RgbImage, DecodeError> {
        let mut image = colour::to_srgb(image, bytes, format);
        if let Some(bands) = self.channels.bands {
            image.pixels = pick_bands(image.pixels, band_indices(bands, 3, "RGB")?);
        }
        Ok(image)
    }

    /// Decodes an image for a use that needs its shorter side to have `needed` pixels.
    ///
    /// A JPEG at least twice as large as that is decoded at 1/2, 1/4 or 1/8 of its size, which is never smaller
    /// than needed; anything else is decoded whole. Which files are images and which are damaged does not depend on
    /// what is needed.
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

    /// Reads a file and says what it tells of its image, without decoding the pixels.
    pub fn probe_file(&self, path: impl AsRef<Path>) -> Result<Probe, DataError> {
        let path = path.as_ref();
        let _scope = budget::scope();
        read_photo(path, self.max_bytes())
            .and_then(|bytes| self.probe(&bytes))
            .map_err(|reason| DataError::BadImage { path: path.to_owned(), reason })
    }

    /// What a file says of its image, without decoding the pixels.
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

    /// 16 bytes a pixel is the widest pixel there is (four 32-bit floats); the rest is for a decoder's tables.
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
        // As it is stored, with what a decoder keeps of it beside, and as 8 bits with or without transparency.
        let pixels = u64::from(width) * u64::from(height);
        budget::claim(decoder.total_bytes().saturating_mul(2).saturating_add(pixels * 4));
        let image = DynamicImage::from_decoder(decoder).map_err(fail)?;
        let scale = Scale::new(Kind::Unsigned(65535.0), self.channels.range);
        let levels = largest(&image).map(|largest| scale.levels_of(largest));
        Ok((over_white(self.in_range(image)), levels))
    }

    /// Spreads the wanted range of 16-bit samples over all that they allow.
    fn in_range(&self, mut image: DynamicImage) -> DynamicImage {
        if self.channels.range.is_none() {
            return image;
        }
        let mut scale = Scale::new(Kind::Unsigned(65535.0), self.channels.range);
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

/// The format of a file's bytes, or what it is instead.
fn format_of(bytes: &[u8]) -> Result<Format, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match foreign::of_bytes(bytes) {
        Some(error) => Err(error),
        None => Format::of(bytes).ok_or(DecodeError::UnknownFormat),
    }
}

/// Bands as indices from 0; an error where the image does not have them. Grey has its one band three times.
fn band_indices(bands: [u16; 3], count: usize, what: &'static str) -> Result<[usize; 3], DecodeError> {
    let count_or_three = if count == 1 { 3 } else { count };
    if let Some(band) = bands.iter().find(|band| !(1..=count_or_three).contains(&usize::from(**band))) {
        return Err(DecodeError::Band { band: *band, count: count_or_three, format: what });
    }
    Ok(bands.map(|band| if count == 1 { 0 } else { usize::from(band) - 1 }))
}

/// Bands of RGB pixels in another order.
fn pick_bands(mut pixels: Vec<u8>, [red, green, blue]: [usize; 3]) -> Vec<u8> {
    pixels
        .as_chunks_mut::<3>()
        .0
        .iter_mut()
        .for_each(|pixel| *pixel = [pixel[red], pixel[green], pixel[blue]]);
    pixels
}

/// Turns and mirrors an image as its EXIF orientation says.
fn upright(image: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return image;
    }
    let (width, height, extent) = (image.width, image.height, image.extent);
    let buffer = image::RgbImage::from_raw(width, height, image.pixels).expect("the size was checked");
    let mut image = DynamicImage::ImageRgb8(buffer);
    image.apply_orientation(orientation);
    let image = from_rgb8(image.into_rgb8());
    let extent = extent.turned(orientation, image.width, image.height);
    RgbImage { extent, ..image }
}

impl Extent {
    /// The same part of the image once that is turned, and then so large.
    fn turned(self, orientation: Orientation, width: u32, height: u32) -> Self {
        let (transposed, across, down) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::Rotate180 => (false, true, true),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate90 => (true, true, false),
            Orientation::Rotate270FlipH => (true, true, true),
            Orientation::Rotate270 => (true, false, true),
        };
        let mut turned = self;
        if transposed {
            turned = Extent { left: self.top, top: self.left, width: self.height, height: self.width };
        }
        if across {
            turned.left = 8 * u64::from(width) - turned.left - turned.width;
        }
        if down {
            turned.top = 8 * u64::from(height) - turned.top - turned.height;
        }
        turned
    }
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

fn from_rgb8(image: image::RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    RgbImage::new(width, height, image.into_raw()).expect("three bytes a pixel")
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
