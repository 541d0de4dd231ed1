//! How the pixels of a page are stored, and whether the file can hold them.

use super::{Tags, damaged, depth, sides, tag, unsupported};
use crate::DecodeError;
use crate::decode::ifd::Directory;
use crate::decode::samples::Kind;
use crate::decode::{Decoder, budget};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

impl Photometric {
    /// Samples a pixel without extra ones.
    pub(super) fn colours(self) -> usize {
        match self {
            Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Palette => 1,
            Photometric::Rgb | Photometric::YCbCr => 3,
            Photometric::Cmyk => 4,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Compression {
    None,
    Group4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
    Zstd,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Predictor {
    None,
    Horizontal,
    Float,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Alpha {
    /// The colours are to be multiplied by it.
    Separate,
    /// They are already.
    Multiplied,
}

/// All that is needed to read a page.
pub(super) struct Page {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: usize,
    pub(super) bits: usize,
    /// 1: unsigned, 2: signed, 3: float.
    pub(super) sample_format: u64,
    pub(super) photometric: Photometric,
    pub(super) compression: Compression,
    pub(super) predictor: Predictor,
    pub(super) planar: bool,
    pub(super) little: bool,
    pub(super) reversed_bits: bool,
    pub(super) alpha: Option<(usize, Alpha)>,
    pub(super) palette: Vec<[u8; 3]>,
    /// Luma samples across and down for one pair of chroma, where they lie in units.
    pub(super) subsampling: Option<(usize, usize)>,
    pub(super) jpeg_tables: Option<Vec<u8>>,
    /// Width and height of a strip or tile.
    pub(super) chunk: (usize, usize),
    pub(super) tiled: bool,
    pub(super) offsets: Vec<u64>,
    pub(super) lengths: Vec<u64>,
}

impl Page {
    pub(super) fn read(tags: &mut Tags<'_>, directory: &Directory) -> Result<Self, DecodeError> {
        let (width, height) = sides(tags, directory)?;
        let (width, height) = (width as usize, height as usize);
        let (samples, bits) = depth(tags, directory)?;
        let sample_format = sample_format(tags, directory, samples, bits)?;
        let photometric = photometric(tags, directory, samples)?;
        // Bands beside grey make no difference to it, but RGB needs all three.
        if samples < photometric.colours() {
            return Err(damaged(format!("it has {samples} bands, which are too few for its colours")));
        }
        let compression = compression(tags, directory)?;
        let predictor = predictor(tags, directory, compression, bits, sample_format)?;
        let planar = samples > 1 && tags.one(directory, tag::PLANAR).unwrap_or(1) == 2;
        if compression == Compression::Group4 && (bits != 1 || samples != 1) {
            return Err(damaged("CCITT compression is for one bit a pixel"));
        }
        if compression == Compression::Jpeg && bits != 8 {
            return Err(unsupported(format!("JPEG compression of {bits} bits")));
        }
        let alpha = alpha(tags, directory, photometric, samples);
        let palette = match photometric {
            Photometric::Palette => palette(tags, directory, bits)?,
            _ => Vec::new(),
        };
        if photometric == Photometric::YCbCr && (bits != 8 || planar) {
            return Err(unsupported("YCbCr of other than 8 bits, or in planes"));
        }
        let subsampling = match (photometric, compression) {
            (Photometric::YCbCr, Compression::Jpeg) => None,
            (Photometric::YCbCr, _) => Some(subsampled(tags, directory, samples)?),
            _ => None,
        };
        if photometric == Photometric::Cmyk && tags.one(directory, tag::INK_SET).unwrap_or(1) != 1 {
            return Err(unsupported("inks other than CMYK"));
        }
        let tiled = directory.has(tag::TILE_WIDTH);
        let chunk = chunk_size(tags, directory, tiled, (width, height))?;
        let (offsets, lengths) = chunks(tags, directory, tiled)?;
        Ok(Page {
            width,
            height,
            samples,
            bits,
            sample_format,
            photometric,
            compression,
            predictor,
            planar,
            little: tags.little,
            reversed_bits: tags.one(directory, tag::FILL_ORDER) == Some(2),
            alpha,
            palette,
            subsampling,
            jpeg_tables: tags.blob(directory, tag::JPEG_TABLES),
            chunk,
            tiled,
            offsets,
            lengths,
        })
    }

    /// Samples in a row of a strip or tile are interleaved so many to a pixel.
    pub(super) fn interleaved(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    pub(super) fn row_bytes(&self) -> Option<usize> {
        if let Some((across, down)) = self.subsampling {
            // Units of across · down luma samples and two of chroma, for `down` rows at once.
            return self.chunk.0.div_ceil(across).checked_mul(across * down + 2);
        }
        Some(self.chunk.0.checked_mul(self.interleaved())?.checked_mul(self.bits)?.div_ceil(8))
    }

    /// Rows of bytes: several rows of pixels where colour is subsampled.
    pub(super) fn byte_rows(&self, rows: usize) -> usize {
        rows.div_ceil(self.subsampling.map_or(1, |(_, down)| down))
    }

    pub(super) fn across(&self) -> usize {
        self.width.div_ceil(self.chunk.0)
    }

    pub(super) fn down(&self) -> usize {
        self.height.div_ceil(self.chunk.1)
    }

    /// Whether the file may hold so many pixels at all, and its parts are within the limit.
    pub(super) fn check(&self, decoder: &Decoder, bytes: &[u8]) -> Result<(), DecodeError> {
        let planes = if self.planar { self.samples } else { 1 };
        let chunks = self.across().checked_mul(self.down()).and_then(|chunks| chunks.checked_mul(planes));
        if chunks.is_none_or(|chunks| self.offsets.len() < chunks) {
            return Err(damaged("strips or tiles are missing"));
        }
        let chunk_bytes = self.row_bytes().and_then(|row| row.checked_mul(self.byte_rows(self.chunk.1)));
        let limit = decoder.max_pixels.saturating_mul(16).saturating_add(1 << 20);
        if chunk_bytes.is_none_or(|bytes| bytes as u64 > limit) {
            return Err(unsupported("strips or tiles larger than the limit of pixels"));
        }
        // One strip or tile is there at a time, which may be much larger than the image.
        let chunk_rows = self.byte_rows(self.chunk.1.min(self.height));
        let chunk_needs = self.row_bytes().map_or(0, |row| row.saturating_mul(chunk_rows)) as u64;
        // The most that a byte can stand for.
        let ratio = match self.compression {
            Compression::None => 1,
            Compression::PackBits => 64,
            Compression::Deflate => 1040,
            Compression::Lzw => 2800,
            // A block of 64 pixels of three colours takes some bits.
            Compression::Jpeg => 4096,
            // A block of 128 KiB of the same byte takes four bytes.
            Compression::Zstd => 1 << 15,
            // A row that is like the one before it takes a bit.
            Compression::Group4 => self.chunk.0 as u64,
        };
        if self.compression != Compression::Jpeg
            && chunk_needs.saturating_sub(1024) > (bytes.len() as u64).saturating_mul(ratio)
        {
            return Err(damaged(
                "it breaks off: it has far fewer bytes than one of its strips or tiles needs",
            ));
        }
        budget::claim(chunk_needs);
        if matches!(self.compression, Compression::Group4 | Compression::Zstd) {
            return Ok(());
        }
        let pixels = self.width as u64 * self.height as u64;
        let whole = match self.subsampling {
            None => pixels.saturating_mul((self.samples * self.bits) as u64) / 8,
            Some(_) => pixels,
        };
        match whole.saturating_sub(1024) <= (bytes.len() as u64).saturating_mul(ratio) {
            true => Ok(()),
            false => Err(damaged("it breaks off: it has far fewer bytes than its size needs")),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.sample_format {
            2 => Kind::Signed(self.bits as u32),
            3 => Kind::Float,
            _ => Kind::Unsigned(2f64.powi(self.bits as i32) - 1.0),
        }
    }

    /// Whether bands are chosen among those stored; otherwise among the red, green and blue that they become.
    pub(super) fn has_plain_bands(&self) -> bool {
        matches!(self.photometric, Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Rgb)
    }
}

/// 1: unsigned, 2: signed, 3: float; an error for what is not read.
fn sample_format(
    tags: &mut Tags<'_>,
    directory: &Directory,
    samples: usize,
    bits: usize,
) -> Result<u64, DecodeError> {
    let sample_format = match tags.numbers(directory, tag::SAMPLE_FORMAT) {
        Some(formats) => {
            let first = formats.first().copied().unwrap_or(1);
            if formats.iter().take(samples).any(|&format| format != first) {
                return Err(unsupported("bands with different kinds of numbers"));
            }
            first
        }
        None => 1,
    };
    match (sample_format, bits) {
        (1, _) | (2, 8 | 16 | 32 | 64) | (3, 16 | 32 | 64) => {}
        // Some programs write "undefined" for integers.
        (4, 8 | 16) => {}
        (2, bits) => return Err(unsupported(format!("signed numbers of {bits} bits"))),
        (3, bits) => return Err(unsupported(format!("floats of {bits} bits"))),
        _ => return Err(unsupported("complex numbers")),
    }
    Ok(sample_format)
}

fn photometric(
    tags: &mut Tags<'_>,
    directory: &Directory,
    samples: usize,
) -> Result<Photometric, DecodeError> {
    let photometric = match tags.one(directory, tag::PHOTOMETRIC) {
        Some(0) => Photometric::WhiteIsZero,
        Some(1) => Photometric::BlackIsZero,
        Some(2) => Photometric::Rgb,
        Some(3) => Photometric::Palette,
        Some(5) => Photometric::Cmyk,
        Some(6) => Photometric::YCbCr,
        None if samples >= 3 => Photometric::Rgb,
        None => Photometric::BlackIsZero,
        Some(other) => {
            return Err(unsupported(match other {
                4 => "a transparency mask".to_owned(),
                8..=10 => "CIE L*a*b* colours".to_owned(),
                32844 | 32845 => "LogLuv colours".to_owned(),
                other => format!("photometric interpretation {other}"),
            }));
        }
    };
    Ok(photometric)
}

fn compression(tags: &mut Tags<'_>, directory: &Directory) -> Result<Compression, DecodeError> {
    let compression = match tags.one(directory, tag::COMPRESSION).unwrap_or(1) {
        1 => Compression::None,
        4 => Compression::Group4,
        5 => Compression::Lzw,
        7 => Compression::Jpeg,
        8 | 32946 => Compression::Deflate,
        32773 => Compression::PackBits,
        50000 => Compression::Zstd,
        other => {
            return Err(unsupported(match other {
                2 | 3 => "CCITT group 3 compression".to_owned(),
                6 => "old JPEG compression (6)".to_owned(),
                33003 | 33004 | 33005 | 34712 => "JPEG 2000 compression".to_owned(),
                34887 => "LERC compression".to_owned(),
                34925 => "LZMA compression".to_owned(),
                50001 => "WebP compression".to_owned(),
                50002 | 52546 => "JPEG XL compression".to_owned(),
                other => format!("compression {other}"),
            }));
        }
    };
    Ok(compression)
}

fn predictor(
    tags: &mut Tags<'_>,
    directory: &Directory,
    compression: Compression,
    bits: usize,
    sample_format: u64,
) -> Result<Predictor, DecodeError> {
    let predictor = match tags.one(directory, tag::PREDICTOR).unwrap_or(1) {
        2 if !matches!(compression, Compression::Lzw | Compression::Deflate | Compression::Zstd) => {
            Predictor::None
        }
        1 => Predictor::None,
        2 if matches!(bits, 8 | 16 | 32 | 64) => Predictor::Horizontal,
        2 => return Err(unsupported(format!("differences of samples of {bits} bits"))),
        3 if sample_format == 3 => Predictor::Float,
        other => return Err(unsupported(format!("predictor {other}"))),
    };
    Ok(predictor)
}

/// The band that is alpha, and what it means.
fn alpha(
    tags: &mut Tags<'_>,
    directory: &Directory,
    photometric: Photometric,
    samples: usize,
) -> Option<(usize, Alpha)> {
    let extra = tags.numbers(directory, tag::EXTRA_SAMPLES);
    let alpha = match extra {
        Some(extra) => extra.iter().position(|kind| matches!(kind, 1 | 2)).map(|at| {
            let alpha = if extra[at] == 1 { Alpha::Multiplied } else { Alpha::Separate };
            (photometric.colours() + at, alpha)
        }),
        // Four samples without a description are RGB and alpha to libtiff and Pillow.
        None if photometric == Photometric::Rgb && samples == 4 => Some((3, Alpha::Separate)),
        None => None,
    };
    alpha.filter(|(band, _)| *band < samples)
}

/// Width and height of a strip or tile.
fn chunk_size(
    tags: &mut Tags<'_>,
    directory: &Directory,
    tiled: bool,
    (width, height): (usize, usize),
) -> Result<(usize, usize), DecodeError> {
    let whole = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
    let chunk = match tiled {
        true => (whole(tags.one(directory, tag::TILE_WIDTH)), whole(tags.one(directory, tag::TILE_HEIGHT))),
        false => {
            let rows = tags.one(directory, tag::ROWS_PER_STRIP).unwrap_or(u64::MAX);
            (width, rows.min(height as u64) as usize)
        }
    };
    match chunk {
        (0, _) | (_, 0) => Err(damaged("its strips or tiles have no pixels")),
        chunk => Ok(chunk),
    }
}

/// The colours of a palette, 8 bits each.
fn palette(tags: &mut Tags<'_>, directory: &Directory, bits: usize) -> Result<Vec<[u8; 3]>, DecodeError> {
    if bits > 16 {
        return Err(unsupported(format!("a palette for {bits} bits")));
    }
    let map = tags.numbers(directory, tag::COLOUR_MAP).ok_or_else(|| damaged("it has no palette"))?;
    let count = 1 << bits;
    if map.len() < 3 * count {
        return Err(damaged("its palette is too short"));
    }
    // 16 bits by the standard; some programs write 8.
    let shift = if map.iter().any(|&value| value > 255) { 8 } else { 0 };
    let colour =
        |at: usize| [map[at], map[count + at], map[2 * count + at]].map(|value| (value >> shift) as u8);
    Ok((0..count).map(colour).collect())
}

/// Luma samples across and down for one pair of chroma.
fn subsampled(
    tags: &mut Tags<'_>,
    directory: &Directory,
    samples: usize,
) -> Result<(usize, usize), DecodeError> {
    let factors = tags.numbers(directory, tag::SUBSAMPLING).unwrap_or(vec![2, 2]);
    let usual = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];
    let range = tags.rationals(directory, tag::REFERENCE_BLACK_WHITE);
    if range
        .is_some_and(|range| range.len() != 6 || range.iter().zip(usual).any(|(a, b)| (a - b).abs() > 0.5))
    {
        return Err(unsupported("YCbCr of a reduced range"));
    }
    match factors[..] {
        [1 | 2 | 4, 1 | 2 | 4, ..] if samples != 3 => Err(unsupported(format!("YCbCr with {samples} bands"))),
        [across @ (1 | 2 | 4), down @ (1 | 2 | 4), ..] => Ok((across as usize, down as usize)),
        _ => Err(damaged("its colour is subsampled by no known factor")),
    }
}

/// Where the strips or tiles begin, and how long each is, as far as that is said.
fn chunks(
    tags: &mut Tags<'_>,
    directory: &Directory,
    tiled: bool,
) -> Result<(Vec<u64>, Vec<u64>), DecodeError> {
    let (offsets, lengths) = match tiled {
        true => (tag::TILE_OFFSETS, tag::TILE_BYTES),
        false => (tag::STRIP_OFFSETS, tag::STRIP_BYTES),
    };
    let offsets = tags
        .numbers(directory, offsets)
        .ok_or_else(|| damaged("it does not say where its strips or tiles are"))?;
    Ok((offsets, tags.numbers(directory, lengths).unwrap_or_default()))
}
