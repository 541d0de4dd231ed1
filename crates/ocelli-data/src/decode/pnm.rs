//! The Netpbm formats: PBM, PGM, PPM (as text and as bytes), PAM and PFM. Of several images in a file the
//! first is read.
//!
//! <https://netpbm.sourceforge.net/doc/pnm.html>; PFM as Pillow and OpenCV read it: rows from the bottom up,
//! the sign of the scale gives the byte order, and its size is ignored.

use super::samples::{Channels, Kind, Scale, over_white};
use super::{Colour, Decoder, Format, RgbImage, budget, samples};
use crate::decode::levels::Levels;
use crate::{DecodeError, spare};

/// How the samples are written.
#[derive(Clone, Copy, PartialEq)]
enum Coding {
    Text,
    /// Digits 0 and 1, with or without space between them; 1 is black.
    TextBits,
    /// Bits, rows of whole bytes; 1 is black.
    Bits,
    Bytes,
    Floats {
        little: bool,
    },
}

pub(super) struct Header {
    pub width: u32,
    pub height: u32,
    samples: usize,
    alpha: bool,
    maximum: u32,
    coding: Coding,
    /// Where the samples begin.
    start: usize,
}

/// Whether the first bytes are a Netpbm file's.
pub(super) fn announced(magic: &[u8]) -> bool {
    match magic {
        [b'P', b'1'..=b'6', next, ..] => next.is_ascii_whitespace() || *next == b'#',
        [b'P', b'7' | b'f' | b'F', b'\n' | b'\r', ..] => true,
        _ => false,
    }
}

fn damaged(detail: impl Into<String>) -> DecodeError {
    DecodeError::Damaged { format: Format::Pnm.name(), detail: detail.into() }
}

/// Words of a header, separated by space and comments.
struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Result<&str, DecodeError> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'#' => self.line(),
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => break,
            }
        }
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let length = rest.iter().take(64).take_while(|byte| !byte.is_ascii_whitespace()).count();
        self.at += length;
        match std::str::from_utf8(&rest[..length]) {
            Ok(word) if !word.is_empty() => Ok(word),
            _ => Err(damaged("the header breaks off")),
        }
    }

    fn number(&mut self) -> Result<u32, DecodeError> {
        let word = self.next()?;
        word.parse().map_err(|_| damaged(format!("the header has \"{}\" for a number", word.escape_debug())))
    }

    /// To the end of the line.
    fn line(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
            self.at += 1;
        }
    }
}

impl Header {
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kind = bytes.get(1).copied().unwrap_or_default();
        let mut words = Words { bytes, at: 2 };
        let mut header = Header {
            width: 0,
            height: 0,
            samples: 1,
            alpha: false,
            maximum: 255,
            coding: Coding::Bytes,
            start: 0,
        };
        if kind == b'7' {
            header.read_pam(&mut words)?;
        } else {
            (header.width, header.height) = (words.number()?, words.number()?);
            (header.samples, header.coding) = match kind {
                b'1' => (1, Coding::TextBits),
                b'2' => (1, Coding::Text),
                b'3' => (3, Coding::Text),
                b'4' => (1, Coding::Bits),
                b'5' => (1, Coding::Bytes),
                b'6' => (3, Coding::Bytes),
                b'f' | b'F' => {
                    let scale: f64 = words.next()?.parse().unwrap_or(0.0);
                    if scale == 0.0 || !scale.is_finite() {
                        return Err(damaged("the scale is no number, so the order of bytes is not known"));
                    }
                    (if kind == b'F' { 3 } else { 1 }, Coding::Floats { little: scale < 0.0 })
                }
                _ => return Err(damaged("it is of no known kind")),
            };
            if matches!(header.coding, Coding::Text | Coding::Bytes) {
                header.maximum = words.number()?;
            } else {
                header.maximum = 1;
            }
        }
        if !(1..=65535).contains(&header.maximum) {
            return Err(damaged(format!("its largest value is {}, not 1 to 65535", header.maximum)));
        }
        // One space ends the header.
        header.start = words.at + 1;
        Ok(header)
    }

    fn read_pam(&mut self, words: &mut Words<'_>) -> Result<(), DecodeError> {
        self.maximum = 0;
        self.samples = 0;
        let mut tuple = String::new();
        loop {
            match words.next()? {
                "WIDTH" => self.width = words.number()?,
                "HEIGHT" => self.height = words.number()?,
                "DEPTH" => self.samples = words.number()? as usize,
                "MAXVAL" => self.maximum = words.number()?,
                "TUPLTYPE" => tuple = words.next()?.to_owned(),
                "ENDHDR" => break,
                word => {
                    return Err(damaged(format!(
                        "the header has the unknown word \"{}\"",
                        word.escape_debug()
                    )));
                }
            }
        }
        self.alpha = tuple.ends_with("_ALPHA");
        if self.samples == 0 || self.samples > 65535 || (self.alpha && self.samples == 1) {
            return Err(damaged(format!("it has {} bands", self.samples)));
        }
        Ok(())
    }

    pub fn colour(&self) -> Colour {
        let bits = match (self.coding, self.maximum) {
            (Coding::Floats { .. }, _) => 32,
            (_, maximum) => 32 - maximum.leading_zeros(),
        };
        Colour { channels: self.samples.min(255) as u8, bits: bits as u8 }
    }

    /// The least bytes that all samples take.
    fn least_bytes(&self) -> u64 {
        let (width, height, samples) = (u64::from(self.width), u64::from(self.height), self.samples as u64);
        let values = width.saturating_mul(height).saturating_mul(samples);
        match self.coding {
            Coding::Text => values.saturating_mul(2) - 1,
            Coding::TextBits => values,
            Coding::Bits => width.div_ceil(8).saturating_mul(height),
            Coding::Bytes if self.maximum > 255 => values.saturating_mul(2),
            Coding::Bytes => values,
            Coding::Floats { .. } => values.saturating_mul(4),
        }
    }
}

/// The image, and how light its samples are.
pub(super) fn decode(decoder: &Decoder, bytes: &[u8]) -> Result<(RgbImage, Option<Levels>), DecodeError> {
    let header = Header::read(bytes)?;
    decoder.check_size(header.width, header.height, Format::Pnm)?;
    let data = bytes.get(header.start..).unwrap_or_default();
    if (data.len() as u64) < header.least_bytes() {
        return Err(damaged("it breaks off"));
    }
    let (picks, alpha) = picks(&header, &decoder.channels)?;
    let kind = match header.coding {
        Coding::Floats { .. } => Kind::Float,
        _ => Kind::Unsigned(header.maximum.into()),
    };
    // A range is one of colours: opacity has a meaning of its own.
    let (mut scale, mut opacity) = (Scale::new(kind, decoder.channels.value_range), Scale::new(kind, None));
    let (width, height) = (header.width as usize, header.height as usize);
    let mut pixels = spare::zeros(width * height * 3);
    let mut text = Words { bytes: data, at: 0 };
    // A row of very many bands is much larger than its pixels.
    budget::claim(8 * (width * header.samples) as u64);
    let mut row_values = vec![0.0; width * header.samples];
    for row in 0..height {
        fill(&header, data, &mut text, row, &mut row_values)?;
        let into = match header.coding {
            Coding::Floats { .. } => height - 1 - row,
            _ => row,
        };
        let line = &mut pixels[into * width * 3..][..width * 3];
        for (pixel, values) in
            line.as_chunks_mut::<3>().0.iter_mut().zip(row_values.chunks_exact(header.samples))
        {
            *pixel = picks.map(|band| scale.byte(values[band]));
            if let Some(alpha) = alpha {
                let alpha = opacity.byte(values[alpha]);
                *pixel = pixel.map(|value| over_white(value, alpha));
            }
        }
    }
    scale.check(Format::Pnm.name())?;
    let levels = scale.levels();
    let image =
        RgbImage::new(header.width, header.height, pixels).ok_or_else(|| damaged("it has no pixels"))?;
    Ok((image, levels))
}

/// The bands that become red, green and blue, from 0, and the one that is alpha.
fn picks(header: &Header, channels: &Channels) -> Result<([usize; 3], Option<usize>), DecodeError> {
    if let Some(bands) = channels.bands {
        return Ok((samples::band_indices(bands, header.samples, Format::Pnm.name())?, None));
    }
    let colours = header.samples - usize::from(header.alpha);
    let picks = if colours >= 3 { [0, 1, 2] } else { [0; 3] };
    Ok((picks, header.alpha.then_some(colours)))
}

/// The samples of one row.
fn fill(
    header: &Header,
    data: &[u8],
    text: &mut Words<'_>,
    row: usize,
    values: &mut [f64],
) -> Result<(), DecodeError> {
    let count = values.len();
    let maximum = header.maximum;
    match header.coding {
        Coding::Bits => {
            let line = &data[row * count.div_ceil(8)..];
            for (at, value) in values.iter_mut().enumerate() {
                *value = f64::from(1 - (line[at / 8] >> (7 - at % 8) & 1));
            }
        }
        Coding::Bytes if maximum > 255 => {
            let line = data[row * count * 2..].as_chunks::<2>().0;
            for (value, bytes) in values.iter_mut().zip(line) {
                *value = f64::from(u32::from(u16::from_be_bytes(*bytes)).min(maximum));
            }
        }
        Coding::Bytes => {
            for (value, byte) in values.iter_mut().zip(&data[row * count..]) {
                *value = f64::from(u32::from(*byte).min(maximum));
            }
        }
        Coding::Floats { little } => {
            let line = data[row * count * 4..].as_chunks::<4>().0;
            for (value, bytes) in values.iter_mut().zip(line) {
                *value =
                    f64::from(if little { f32::from_le_bytes(*bytes) } else { f32::from_be_bytes(*bytes) });
            }
        }
        Coding::Text => {
            for value in values {
                *value = f64::from(text.number()?.min(maximum));
            }
        }
        Coding::TextBits => {
            for value in values {
                *value = text_bit(data, text)?;
            }
        }
    }
    Ok(())
}

/// The next pixel of a picture of 0 and 1 in text: white or black. They need no spaces between them.
fn text_bit(data: &[u8], text: &mut Words<'_>) -> Result<f64, DecodeError> {
    loop {
        let digit = *data.get(text.at).ok_or_else(|| damaged("it breaks off"))?;
        match digit {
            b'#' => text.line(),
            _ => text.at += 1,
        }
        match digit {
            b'0' => return Ok(1.0),
            b'1' => return Ok(0.0),
            b'#' => {}
            _ if digit.is_ascii_whitespace() => {}
            _ => return Err(damaged("a pixel is neither 0 nor 1")),
        }
    }
}
