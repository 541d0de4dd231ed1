//! JPEGs at 1/2, 1/4 or 1/8 of their size, straight from the low frequencies of their blocks.
//!
//! The pure-Rust decoders gain less from it or cannot do it at all (see the table in `benches/data`), so this is
//! libjpeg-turbo's work, in the edition of mozjpeg, which needs nothing but a C compiler to be built. Whole images
//! are decoded in Rust.

use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mozjpeg::{ColorSpace, Decompress};

use super::RgbImage;

/// Decodes at a part of the size, as stored: before orientation. `side` gives the part in eighths (1, 2 or 4) for a
/// width and height, or `None` where the whole image is wanted.
///
/// The answer is also `None` for whatever this decoder does not take, damaged files included: the other one then says
/// what is wrong with them.
pub(super) fn decode(bytes: &[u8], side: impl Fn(u32, u32) -> Option<u8>) -> Option<RgbImage> {
    // libjpeg's way to report an error is to unwind.
    catch_unwind(AssertUnwindSafe(|| {
        let mut decoder = Decompress::new_reader(Watched { rest: bytes, ended: false }).ok()?;
        // Four inks are not converted to RGB here.
        if matches!(decoder.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK) {
            return None;
        }
        decoder.scale(side(decoder.width() as u32, decoder.height() as u32)?);
        let mut rows = decoder.rgb().ok()?;
        let (width, height) = (rows.width() as u32, rows.height() as u32);
        let pixels = rows.read_scanlines::<u8>().ok()?;
        let ended = rows.finish_into_inner().ok()?.ended;
        if ended { None } else { RgbImage::new(width, height, pixels) }
    }))
    .ok()?
}

/// A file's bytes that note whether more were wanted than there are: libjpeg fills what is missing with grey.
struct Watched<'a> {
    rest: &'a [u8],
    ended: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Watched<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ended |= self.rest.is_empty();
        Ok(self.rest)
    }

    fn consume(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }
}
