//! The file formats that are read, and what a file says of its image.

use serde::{Deserialize, Serialize};

use super::{foreign, heic, pnm};
use crate::DecodeError;

/// The file formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
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
    pub(super) fn kind(self) -> Option<image::ImageFormat> {
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
#[non_exhaustive]
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

/// The format of a file's bytes, or what it is instead.
pub(super) fn format_of(bytes: &[u8]) -> Result<Format, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match foreign::of_bytes(bytes) {
        Some(error) => Err(error),
        None => Format::of(bytes).ok_or(DecodeError::UnknownFormat),
    }
}
