//! libjpeg-turbo, which Pillow, and so torchvision, decodes JPEGs with too: in the edition of mozjpeg, which
//! needs nothing but a C compiler to be built. The values are the same as theirs, to the bit.
//!
//! At 1/2, 1/4 or 1/8 of the size it decodes straight from the low frequencies of the blocks, which the
//! decoders in Rust gain less from or cannot do at all (see the tables in `benches/data`).

use std::any::Any;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mozjpeg::{ColorSpace, Decompress};

use super::RgbImage;
use crate::error::panic_text;
use crate::spare;

/// Decodes at a part of the size, in eighths (1, 2, 4 or 8), as stored: before orientation. `whole` is the
/// size that the file tells.
///
/// # Errors
/// The reason, for people. Whether there is one does not depend on the part: all of the file is read for
/// each.
pub(super) fn decode(bytes: &[u8], whole: (u32, u32), eighths: u8) -> Result<RgbImage, String> {
    // libjpeg's way to report an error is to unwind.
    catch_unwind(AssertUnwindSafe(|| {
        let text = |error: io::Error| error.to_string();
        let mut decoder = Decompress::new_reader(Watched { rest: bytes, ended: false }).map_err(text)?;
        if (decoder.width(), decoder.height()) != (whole.0 as usize, whole.1 as usize) {
            return Err("it tells two sizes".to_owned());
        }
        decoder.scale(eighths);
        let inks = matches!(decoder.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
        let mut rows =
            if inks { decoder.to_colorspace(ColorSpace::JCS_CMYK) } else { decoder.rgb() }.map_err(text)?;
        let (width, height) = (rows.width() as u32, rows.height() as u32);
        let mut pixels = spare::zeros(width as usize * height as usize * if inks { 4 } else { 3 });
        rows.read_scanlines_into(&mut pixels).map_err(text)?;
        if rows.finish_into_inner().map_err(text)?.ended {
            return Err("it breaks off".to_owned());
        }
        if inks {
            pixels = from_inks(&pixels);
        }
        let image = RgbImage::new(width, height, pixels).and_then(|image| image.reduced(whole, eighths));
        image.ok_or_else(|| "pixels are missing".to_owned())
    }))
    .unwrap_or_else(|payload| Err(message(&*payload)))
}

/// What libjpeg, or a panic, says.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = panic_text(payload).unwrap_or("the decoder gave up");
    match text.strip_prefix("libjpeg fatal error: ").unwrap_or(text) {
        // A segment that reaches out of the file.
        "Input file read error" => "it breaks off".to_owned(),
        text => text.to_owned(),
    }
}

/// RGB of four inks, which JPEG files hold inverted: 255 is none. As in Pillow.
fn from_inks(inks: &[u8]) -> Vec<u8> {
    let product = |a: u8, b: u8| {
        let product = u32::from(a) * u32::from(b) + 128;
        ((product + (product >> 8)) >> 8) as u8
    };
    inks.as_chunks()
        .0
        .iter()
        .flat_map(|[c, m, y, k]| [c, m, y].map(|ink| k - product(255 - ink, *k)))
        .collect()
}

/// A file's bytes that note whether more were requested than there are: libjpeg fills what is missing with
/// grey.
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
