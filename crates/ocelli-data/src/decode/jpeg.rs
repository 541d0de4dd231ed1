//! JPEG files: what they say before their pixels, within which limits they are read, and at which part of
//! their size.
//!
//! One decoder reads them all, at all sizes, so that no file is readable at one size and damaged at another.

use super::{Colour, Decoder, Format, RgbImage, budget, libjpeg};
use crate::DecodeError;

/// Markers of segments.
pub(super) const APP1: u8 = 0xE1;
pub(super) const SCAN: u8 = 0xDA;
const END: u8 = 0xD9;

/// The most scans that an image is read from: as in the tests of libjpeg-turbo. Cameras and editors write
/// about ten.
const MAX_SCANS: u64 = 500;

/// The largest images may have this many scans, smaller ones as many more as they are smaller: every scan
/// goes through the whole image.
const MAX_SCANS_OF_LARGEST: u64 = 20;

/// What a file says before its pixels.
pub(super) struct Layout {
    pub width: u32,
    pub height: u32,
    pub colour: Colour,
    /// Whether the image is refined scan by scan, so that all of it stays in memory until the last.
    progressive: bool,
    scans: u64,
}

impl Layout {
    /// Reads the headers. Pixels are not decoded.
    pub fn of(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut frame, mut scans) = (None, 0);
        for Segment { marker, content } in Segments::of(bytes) {
            match (marker, content) {
                (
                    0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF,
                    &[bits, h1, h0, w1, w0, channels, ..],
                ) if frame.is_none() => {
                    let [width, height] = [[w1, w0], [h1, h0]].map(|side| u16::from_be_bytes(side).into());
                    let colour = Colour { channels, bits };
                    let progressive = matches!(marker, 0xC2 | 0xC6 | 0xCA | 0xCE);
                    frame = Some(Layout { width, height, colour, progressive, scans: 0 });
                }
                (SCAN, _) => scans += 1,
                _ => {}
            }
        }
        match frame {
            Some(frame) if scans > 0 => Ok(Layout { scans, ..frame }),
            Some(_) => Err(damaged("it holds no pixels")),
            None => Err(damaged("it has no size")),
        }
    }

    /// Refuses what is beyond the limits.
    fn check(&self, decoder: &Decoder) -> Result<(), DecodeError> {
        decoder.check_size(self.width, self.height, Format::Jpeg)?;
        let pixels = u64::from(self.width) * u64::from(self.height);
        let limit = (MAX_SCANS_OF_LARGEST.saturating_mul(decoder.max_pixels) / pixels).min(MAX_SCANS);
        match self.scans > limit {
            true => Err(DecodeError::TooManyScans { scans: self.scans, limit }),
            false => Ok(()),
        }
    }
}

/// Decodes an image for a use that needs its shorter side to have `needed` pixels, as stored: before
/// orientation.
pub(super) fn decode(decoder: &Decoder, bytes: &[u8], needed: u32) -> Result<RgbImage, DecodeError> {
    let layout = Layout::of(bytes)?;
    layout.check(decoder)?;
    let (width, height) = (u64::from(layout.width), u64::from(layout.height));
    let eighths = [1, 2, 4].into_iter().find(|&eighths| width.min(height) * eighths / 8 >= needed.into());
    let eighths = eighths.unwrap_or(8);
    // Three bytes a pixel, and those of all coefficients, of 16 bits, where they wait for the last scan.
    let coefficients =
        if layout.progressive || layout.scans > 1 { 2 * u64::from(layout.colour.channels) } else { 0 };
    let pixels = width * height;
    budget::claim(pixels * 3 * eighths * eighths / 64 + pixels * coefficients);

    libjpeg::decode(bytes, (layout.width, layout.height), eighths as u8).map_err(|reason| {
        let unsupported = reason.contains("not supported") || reason.contains("nsupported");
        match unsupported {
            true => DecodeError::Unsupported { format: "JPEG", detail: reason },
            false => damaged(&reason),
        }
    })
}

/// A segment of a file.
pub(super) struct Segment<'a> {
    pub marker: u8,
    /// What follows its length.
    pub content: &'a [u8],
}

/// The segments of a file up to its end, with libjpeg's eyes: what lies between two of them is passed over,
/// be it the data of a scan or of no meaning.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Segments { bytes, at: 2 }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        loop {
            self.at += memchr::memchr(0xFF, self.bytes.get(self.at..)?)?;
            match *self.bytes.get(self.at + 1)? {
                0xFF => self.at += 1,
                // A byte of a scan's data, or a marker that nothing belongs to.
                0x00 | 0x01 | 0xD0..=0xD8 => self.at += 2,
                END => {
                    self.at = self.bytes.len();
                    return Some(Segment { marker: END, content: &[] });
                }
                marker => {
                    let length = self.bytes.get(self.at + 2..self.at + 4)?;
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                    let start = self.at + 4;
                    self.at = (start + length - 2).min(self.bytes.len());
                    return Some(Segment { marker, content: &self.bytes[start..self.at] });
                }
            }
        }
    }
}

fn damaged(detail: &str) -> DecodeError {
    DecodeError::Damaged { format: "JPEG", detail: detail.to_owned() }
}
