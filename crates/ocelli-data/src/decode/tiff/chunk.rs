//! From a compressed strip or tile to rows of bytes.

use std::io::Read;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::page::{Compression, Page, Photometric, Predictor};
use super::{damaged, unsupported};
use crate::DecodeError;
use crate::decode::one_line;

impl Page {
    /// Decompresses one strip or tile, and gives its rows of bytes to `then`.
    pub(super) fn read_chunk(
        &self,
        bytes: &[u8],
        index: usize,
        (_, top): (usize, usize),
        then: impl FnOnce(&Page, &mut [u8], usize, bool, usize) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let breaks_off = || damaged("a strip or tile breaks off");
        let row_bytes = self.row_bytes().ok_or_else(breaks_off)?;
        // Tiles are whole; the last strip ends with the image.
        let rows = if self.tiled { self.chunk.1 } else { self.chunk.1.min(self.height - top) };
        let needed = self.byte_rows(rows.min(self.height - top)) * row_bytes;
        let data = self.stored(bytes, index)?;
        let flipped: Vec<u8>;
        let data = match self.reversed_bits && self.compression != Compression::Jpeg {
            true => {
                flipped = data.iter().map(|byte| byte.reverse_bits()).collect();
                &flipped[..]
            }
            false => data,
        };
        if self.compression == Compression::Jpeg {
            return self.read_jpeg(data, rows, then);
        }
        let mut chunk = match self.compression {
            Compression::None => data.get(..needed).ok_or_else(breaks_off)?.to_vec(),
            Compression::PackBits => unpack_bits(data, needed),
            Compression::Lzw => lzw(data, needed),
            Compression::Deflate => read_all(flate2::read::ZlibDecoder::new(data), needed),
            Compression::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(data);
                read_all(decoder.map_err(|error| damaged(one_line(error)))?, needed)
            }
            Compression::Group4 => group4(data, self.chunk.0, rows)?,
            Compression::Jpeg => Vec::new(),
        };
        if chunk.len() < needed {
            return Err(breaks_off());
        }
        let little = match self.predictor {
            Predictor::None => self.little,
            Predictor::Horizontal => {
                for row in chunk.chunks_exact_mut(row_bytes) {
                    add_up(row, self.bits / 8, self.interleaved(), self.little);
                }
                self.little
            }
            Predictor::Float => {
                let mut buffer = vec![0; row_bytes];
                for row in chunk.chunks_exact_mut(row_bytes) {
                    join_floats(row, &mut buffer, self.bits / 8, self.interleaved());
                }
                false
            }
        };
        then(self, &mut chunk, row_bytes, little, self.interleaved())
    }

    /// The bytes of a strip or tile as they are stored.
    fn stored<'a>(&self, bytes: &'a [u8], index: usize) -> Result<&'a [u8], DecodeError> {
        let breaks_off = || damaged("a strip or tile breaks off");
        let start = usize::try_from(self.offsets[index]).ok().filter(|start| *start <= bytes.len());
        let rest = &bytes[start.ok_or_else(breaks_off)?..];
        match self.lengths.get(index).map(|length| usize::try_from(*length)) {
            Some(Ok(length)) if length <= rest.len() && length > 0 => Ok(&rest[..length]),
            // Wrong lengths are common where nothing is compressed.
            _ if self.compression == Compression::None => Ok(rest),
            Some(Ok(length)) if length > 0 => Err(breaks_off()),
            _ => Ok(rest),
        }
    }

    /// JPEG gives 8-bit samples of its own number.
    fn read_jpeg(
        &self,
        data: &[u8],
        rows: usize,
        then: impl FnOnce(&Page, &mut [u8], usize, bool, usize) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let joined: Vec<u8>;
        let data = match &self.jpeg_tables {
            // The tables' end marker and the image's start marker go.
            Some(tables) if tables.len() >= 4 && data.len() >= 2 => {
                joined = [&tables[..tables.len() - 2], &data[2..]].concat();
                &joined[..]
            }
            _ => data,
        };
        let options = DecoderOptions::default()
            .set_max_width(usize::from(u16::MAX))
            .set_max_height(usize::from(u16::MAX));
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
        decoder.decode_headers().map_err(jpeg_error)?;
        let (width, height) = decoder.dimensions().ok_or_else(|| damaged("a JPEG strip has no size"))?;
        if width < self.chunk.0.min(self.width) || height < rows.min(self.height) {
            return Err(damaged("a JPEG strip is smaller than it should be"));
        }
        if width > self.chunk.0.next_multiple_of(64) || height > self.chunk.1.next_multiple_of(64) {
            return Err(damaged("a JPEG strip is larger than it should be"));
        }
        let stored = decoder.input_colorspace().unwrap_or(ColorSpace::RGB);
        // Only YCbCr is converted; what is stored as RGB carries no mark that it is.
        let expected = match (self.photometric, self.interleaved()) {
            (Photometric::YCbCr, _) => ColorSpace::RGB,
            (_, 1) => ColorSpace::Luma,
            _ => stored,
        };
        decoder.set_options(options.jpeg_set_out_colorspace(expected));
        let mut pixels = decoder.decode().map_err(jpeg_error)?;
        let samples = expected.num_components();
        if samples < self.interleaved() || pixels.len() < width * height * samples {
            return Err(damaged("a JPEG strip has too few bands"));
        }
        then(self, &mut pixels, width * samples, self.little, samples)
    }
}

/// Undoes the differences between neighbouring pixels of a row.
fn add_up(row: &mut [u8], bytes: usize, samples: usize, little: bool) {
    macro_rules! add {
        ($type:ty, $bytes:literal) => {
            for at in samples..row.len() / $bytes {
                let read = |row: &[u8], at: usize| -> $type {
                    let bytes = row[at * $bytes..][..$bytes].try_into().expect("of that length");
                    if little { <$type>::from_le_bytes(bytes) } else { <$type>::from_be_bytes(bytes) }
                };
                let sum = read(row, at - samples).wrapping_add(read(row, at));
                let bytes = if little { sum.to_le_bytes() } else { sum.to_be_bytes() };
                row[at * $bytes..][..$bytes].copy_from_slice(&bytes);
            }
        };
    }
    match bytes {
        1 => add!(u8, 1),
        2 => add!(u16, 2),
        4 => add!(u32, 4),
        _ => add!(u64, 8),
    }
}

/// Undoes the floating-point predictor: differences of bytes, the highest bytes of all floats first (Adobe's
/// note 3).
fn join_floats(row: &mut [u8], buffer: &mut [u8], bytes: usize, samples: usize) {
    for at in samples..row.len() {
        row[at] = row[at].wrapping_add(row[at - samples]);
    }
    buffer.copy_from_slice(row);
    let count = row.len() / bytes;
    for at in 0..count {
        for byte in 0..bytes {
            row[at * bytes + byte] = buffer[byte * count + at];
        }
    }
}

/// As many bytes as are needed, or fewer where there are no more.
fn read_all(reader: impl Read, needed: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before an error may be enough.
    let _ = reader.take(needed as u64).read_to_end(&mut bytes);
    bytes
}

fn unpack_bits(data: &[u8], needed: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = data;
    while let [length, more @ ..] = rest {
        if bytes.len() >= needed {
            break;
        }
        let length = *length as i8;
        match (length, more) {
            (-128, _) => rest = more,
            (0.., _) => {
                let taken = (length as usize + 1).min(more.len());
                bytes.extend_from_slice(&more[..taken]);
                rest = &more[taken..];
            }
            (_, [byte, after @ ..]) => {
                bytes.resize(bytes.len() + 1 + usize::from(length.unsigned_abs()), *byte);
                rest = after;
            }
            (_, []) => break,
        }
    }
    bytes
}

fn lzw(data: &[u8], needed: usize) -> Vec<u8> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    // Grown as it is filled: what the header promises may not come.
    let (mut bytes, mut filled, mut rest) = (Vec::new(), 0, data);
    while filled < needed {
        let room = (needed - filled).min((4 * data.len()).max(1 << 16));
        bytes.resize(filled + room, 0);
        let result = decoder.decode_bytes(rest, &mut bytes[filled..]);
        filled += result.consumed_out;
        rest = &rest[result.consumed_in..];
        let stuck = result.consumed_in == 0 && result.consumed_out == 0;
        if stuck || !matches!(result.status, Ok(weezl::LzwStatus::Ok)) {
            break;
        }
    }
    bytes.truncate(filled);
    bytes
}

/// Bits of rows of whole bytes, 1 for black.
fn group4(data: &[u8], width: usize, rows: usize) -> Result<Vec<u8>, DecodeError> {
    let width =
        u16::try_from(width).map_err(|_| unsupported("CCITT compression of more than 65,535 columns"))?;
    let row_bytes = usize::from(width).div_ceil(8);
    let mut bytes = Vec::new();
    let input = data.iter().copied().map(Ok::<u8, std::convert::Infallible>);
    let mut decoder =
        fax::decoder::Group4Decoder::new(input, width).map_err(|_| damaged("a strip breaks off"))?;
    for _ in 0..rows {
        match decoder.advance() {
            Ok(fax::decoder::DecodeStatus::Incomplete) => {}
            // Rows that are not there are white, as libtiff has them.
            Ok(fax::decoder::DecodeStatus::End) => {
                bytes.resize(rows * row_bytes, 0);
                break;
            }
            Err(_) => return Err(damaged("its CCITT compression breaks off or contradicts itself")),
        }
        let start = bytes.len();
        bytes.resize(start + row_bytes, 0);
        for (at, colour) in
            fax::decoder::pels(decoder.transition(), width).take(usize::from(width)).enumerate()
        {
            if colour == fax::Color::Black {
                bytes[start + at / 8] |= 0x80 >> (at % 8);
            }
        }
    }
    Ok(bytes)
}

/// What the decoder of the JPEGs inside says.
fn jpeg_error(error: zune_jpeg::errors::DecodeErrors) -> DecodeError {
    use zune_jpeg::errors::DecodeErrors;
    match error {
        DecodeErrors::Unsupported(scheme) => unsupported(format!("a JPEG inside: {scheme:?}")),
        error => damaged(one_line(error)),
    }
}
