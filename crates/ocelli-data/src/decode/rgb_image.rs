//! Decoded images, and which way is up in them.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageEncoder};

use crate::DataError;
use crate::files::write_whole;

/// An upright image: 8-bit RGB, row by row from the top, without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pub(super) pixels: Vec<u8>,
    extent: Extent,
}

/// Where the photo lies in its pixels, in eighths of a pixel: of one that was decoded at a part of its size
/// the last pixels of a row or column may stand for fewer of the photo's than the others do.
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
    pub(super) fn reduced(mut self, (width, height): (u32, u32), eighths: u8) -> Option<Self> {
        let eighths = u64::from(eighths);
        (self.extent.width, self.extent.height) = (u64::from(width) * eighths, u64::from(height) * eighths);
        let fits = |length: u64, pixels: u32| length.div_ceil(8) == u64::from(pixels);
        (fits(self.extent.width, self.width) && fits(self.extent.height, self.height)).then_some(self)
    }

    /// (left, top), (width, height) of the photo in its pixels: all of them, or a part of the last ones less
    /// where the photo was decoded at a part of its size.
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

/// Turns and mirrors an image as its EXIF orientation says.
pub(super) fn upright(image: RgbImage, orientation: Orientation) -> RgbImage {
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

pub(super) fn from_rgb8(image: image::RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    RgbImage::new(width, height, image.into_raw()).expect("three bytes a pixel")
}
