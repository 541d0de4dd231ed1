//! TIFF 6.0 and BigTIFF: the first page, in strips or tiles, with bands interleaved or in planes.
//!
//! Read are whole numbers of 1 to 64 bits, signed ones and floats; grey, palette, RGB, CMYK, YCbCr and any
//! number of bands; uncompressed, LZW, deflate, PackBits, zstd, CCITT group 4 and JPEG. What is not read is
//! refused by name. Nothing is allocated on the word of a header alone: sizes are held against the limit and
//! against the bytes there are.

//!
//! | file | content |
//! |---|---|
//! | `mod.rs` | the first page: its size, its depth, its colour profile |
//! | `page.rs` | how pixels are stored, and what of it is refused |
//! | `chunk.rs` | from a compressed strip or tile to rows of bytes |
//! | `pixels.rs` | from rows of bytes to pixels |

mod chunk;
mod page;
mod pixels;

use std::io::Cursor;

use super::ifd::{Directories, Directory};
use super::{Colour, Decoder, Format, RgbImage};
use crate::DecodeError;
use crate::decode::levels::Levels;
use page::Page;

mod tag {
    pub const SUBFILE_TYPE: u16 = 254;
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const SAMPLES: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTES: u16 = 279;
    pub const PLANAR: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const COLOUR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTES: u16 = 325;
    pub const INK_SET: u16 = 332;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    pub const SUBSAMPLING: u16 = 530;
    pub const REFERENCE_BLACK_WHITE: u16 = 532;
    pub const COLOUR_PROFILE: u16 = 34675;
}

/// Pages of one file are counted up to here.
const MOST_PAGES: u32 = 10_000;

/// What the file says of its first page.
pub(super) struct Header {
    pub width: u32,
    pub height: u32,
    pub colour: Colour,
    /// Images in the file, without reduced ones.
    pub pages: u32,
}

fn damaged(detail: impl Into<String>) -> DecodeError {
    DecodeError::Damaged { format: Format::Tiff.name(), detail: detail.into() }
}

fn unsupported(detail: impl Into<String>) -> DecodeError {
    DecodeError::Unsupported { format: Format::Tiff.name(), detail: detail.into() }
}

type Tags<'a> = Directories<Cursor<&'a [u8]>>;

fn open(bytes: &[u8]) -> Result<(Tags<'_>, Directory), DecodeError> {
    let mut tags = Directories::open(Cursor::new(bytes)).ok_or_else(|| damaged("the header breaks off"))?;
    let directory = tags.directory(tags.first).ok_or_else(|| damaged("its directory is not in the file"))?;
    Ok((tags, directory))
}

fn sides(tags: &mut Tags<'_>, directory: &Directory) -> Result<(u32, u32), DecodeError> {
    let mut side = |tag| {
        let side = tags.one(directory, tag).ok_or_else(|| damaged("it has no size"))?;
        u32::try_from(side).map_err(|_| damaged("its size is no number of pixels"))
    };
    Ok((side(tag::WIDTH)?, side(tag::HEIGHT)?))
}

/// Samples a pixel, and bits a sample, which are the same for all.
fn depth(tags: &mut Tags<'_>, directory: &Directory) -> Result<(usize, usize), DecodeError> {
    let samples = tags.one(directory, tag::SAMPLES).unwrap_or(1);
    if !(1..=65535).contains(&samples) {
        return Err(damaged(format!("it has {samples} bands")));
    }
    let bits = tags.numbers(directory, tag::BITS).filter(|bits| !bits.is_empty()).unwrap_or(vec![1]);
    if bits.iter().take(samples as usize).any(|&other| other != bits[0]) {
        return Err(unsupported("bands with different numbers of bits"));
    }
    match bits[0] {
        bits @ 1..=64 => Ok((samples as usize, bits as usize)),
        bits => Err(damaged(format!("its samples have {bits} bits"))),
    }
}

/// Looks at the first page without decoding it.
pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let (mut tags, directory) = open(bytes)?;
    let (width, height) = sides(&mut tags, &directory)?;
    let (samples, bits) = depth(&mut tags, &directory)?;
    let (mut pages, mut next, mut seen) = (1, directory.next, vec![tags.first]);
    while next != 0 && pages < MOST_PAGES && !seen.contains(&next) {
        seen.push(next);
        let Some(page) = tags.directory(next) else { break };
        // Pyramids hold the same image again, smaller, and masks.
        pages += u32::from(tags.one(&page, tag::SUBFILE_TYPE).unwrap_or(0) & 0b101 == 0);
        next = page.next;
    }
    let colour = Colour { channels: samples.min(255) as u8, bits: bits as u8 };
    Ok(Header { width, height, colour, pages })
}

/// The first page as stored, and how light its samples are.
pub(super) fn decode(decoder: &Decoder, bytes: &[u8]) -> Result<(RgbImage, Option<Levels>), DecodeError> {
    let (mut tags, directory) = open(bytes)?;
    let (width, height) = sides(&mut tags, &directory)?;
    decoder.check_size(width, height, Format::Tiff)?;
    let page = Page::read(&mut tags, &directory)?;
    page.check(decoder, bytes)?;
    let (pixels, levels) = page.pixels(bytes, &decoder.channels)?;
    let image = RgbImage::new(width, height, pixels).ok_or_else(|| damaged("it has no pixels"))?;
    Ok((image, levels))
}

/// The colour profile of the first page.
pub(super) fn profile(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut tags, directory) = open(bytes).ok()?;
    tags.blob(&directory, tag::COLOUR_PROFILE)
}
