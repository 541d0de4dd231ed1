//! From the bytes of a file to upright RGB pixels.

use std::path::Path;

use crate::{DataError, DecodeError};

/// An upright image: 8-bit RGB, row by row from the top, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// Takes `width · height · 3` bytes; `None` if there are more or fewer, or if a side is 0.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        let expected = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        (expected > 0 && pixels.len() == expected).then_some(RgbImage { width, height, pixels })
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

    /// `[height, width, 3]`.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}

/// Decodes images, within limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoder {
    /// The largest number of pixels an image may have; it bounds the memory of a decode to a small multiple.
    pub max_pixels: u64,
}

impl Default for Decoder {
    /// At most 178,956,970 pixels, Pillow's limit: 512 MiB of RGB.
    fn default() -> Self {
        Decoder { max_pixels: 178_956_970 }
    }
}

impl Decoder {
    /// Decodes the bytes of a JPEG, PNG, WebP, GIF (first frame), BMP or TIFF file; the content decides which.
    pub fn decode(&self, bytes: &[u8]) -> Result<RgbImage, DecodeError> {
        let _ = bytes;
        todo!()
    }

    /// Reads and decodes a file.
    pub fn decode_file(&self, path: impl AsRef<Path>) -> Result<RgbImage, DataError> {
        let _ = path;
        todo!()
    }
}
