//! TIFF 6.0 and BigTIFF: the first page, in strips or tiles, with bands interleaved or in planes.
//!
//! Read are whole numbers of 1 to 64 bits, signed ones and floats; grey, palette, RGB, CMYK, YCbCr and any number of
//! bands; uncompressed, LZW, deflate, PackBits, zstd, CCITT group 4 and JPEG. What is not read is refused by name.
//! Nothing is allocated on the word of a header alone: sizes are held against the limit and against the bytes there are.

use std::io::{Cursor, Read};

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::ifd::{Directories, Directory};
use super::samples::{Channels, Kind, Scale, over_white};
use super::{Colour, Decoder, Format, RgbImage, budget};
use crate::inspect::quality::Levels;
use crate::{DecodeError, spare};

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

#[derive(Clone, Copy, PartialEq)]
enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

impl Photometric {
    /// Samples a pixel without extra ones.
    fn colours(self) -> usize {
        match self {
            Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Palette => 1,
            Photometric::Rgb | Photometric::YCbCr => 3,
            Photometric::Cmyk => 4,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Compression {
    None,
    Group4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
    Zstd,
}

#[derive(Clone, Copy, PartialEq)]
enum Predictor {
    None,
    Horizontal,
    Float,
}

#[derive(Clone, Copy, PartialEq)]
enum Alpha {
    /// The colours are to be multiplied by it.
    Separate,
    /// They are already.
    Multiplied,
}

/// All that is needed to read a page.
struct Page {
    width: usize,
    height: usize,
    samples: usize,
    bits: usize,
    /// 1: unsigned, 2: signed, 3: float.
    sample_format: u64,
    photometric: Photometric,
    compression: Compression,
    predictor: Predictor,
    planar: bool,
    little: bool,
    reversed_bits: bool,
    alpha: Option<(usize, Alpha)>,
    palette: Vec<[u8; 3]>,
    /// Luma samples across and down for one pair of chroma, where they lie in units.
    subsampling: Option<(usize, usize)>,
    jpeg_tables: Option<Vec<u8>>,
    /// Width and height of a strip or tile.
    chunk: (usize, usize),
    tiled: bool,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
}

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

impl Page {
    fn read(tags: &mut Tags<'_>, directory: &Directory) -> Result<Self, DecodeError> {
        let (width, height) = sides(tags, directory)?;
        let (width, height) = (width as usize, height as usize);
        let (samples, bits) = depth(tags, directory)?;
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
            // "Undefined" is what some programs say of whole numbers.
            (4, 8 | 16) => {}
            (2, bits) => return Err(unsupported(format!("signed numbers of {bits} bits"))),
            (3, bits) => return Err(unsupported(format!("floats of {bits} bits"))),
            _ => return Err(unsupported("complex numbers")),
        }
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
        // Bands beside grey make no difference to it, but RGB needs all three.
        if samples < photometric.colours() {
            return Err(damaged(format!("it has {samples} bands, which are too few for its colours")));
        }
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
        let planar = samples > 1 && tags.one(directory, tag::PLANAR).unwrap_or(1) == 2;
        if compression == Compression::Group4 && (bits != 1 || samples != 1) {
            return Err(damaged("CCITT compression is for one bit a pixel"));
        }
        if compression == Compression::Jpeg && bits != 8 {
            return Err(unsupported(format!("JPEG compression of {bits} bits")));
        }
        let extra = tags.numbers(directory, tag::EXTRA_SAMPLES);
        let alpha = match extra {
            Some(extra) => extra.iter().position(|kind| matches!(kind, 1 | 2)).map(|at| {
                let alpha = if extra[at] == 1 { Alpha::Multiplied } else { Alpha::Separate };
                (photometric.colours() + at, alpha)
            }),
            // Four samples of which nothing is said are RGB and alpha to libtiff and Pillow.
            None if photometric == Photometric::Rgb && samples == 4 => Some((3, Alpha::Separate)),
            None => None,
        };
        let alpha = alpha.filter(|(band, _)| *band < samples);
        let palette = match photometric {
            Photometric::Palette => palette(tags, directory, bits)?,
            _ => Vec::new(),
        };
        let mut subsampling = None;
        if photometric == Photometric::YCbCr {
            if bits != 8 || planar {
                return Err(unsupported("YCbCr of other than 8 bits, or in planes"));
            }
            if compression != Compression::Jpeg {
                subsampling = Some(subsampled(tags, directory)?);
                if samples != 3 {
                    return Err(unsupported(format!("YCbCr with {samples} bands")));
                }
            }
        }
        if photometric == Photometric::Cmyk && tags.one(directory, tag::INK_SET).unwrap_or(1) != 1 {
            return Err(unsupported("inks other than CMYK"));
        }
        let tiled = directory.has(tag::TILE_WIDTH);
        let whole = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
        let chunk = match tiled {
            true => {
                (whole(tags.one(directory, tag::TILE_WIDTH)), whole(tags.one(directory, tag::TILE_HEIGHT)))
            }
            false => {
                let rows = tags.one(directory, tag::ROWS_PER_STRIP).unwrap_or(u64::MAX);
                (width, rows.min(height as u64) as usize)
            }
        };
        if chunk.0 == 0 || chunk.1 == 0 {
            return Err(damaged("its strips or tiles have no pixels"));
        }
        let (offsets, lengths) = match tiled {
            true => (tag::TILE_OFFSETS, tag::TILE_BYTES),
            false => (tag::STRIP_OFFSETS, tag::STRIP_BYTES),
        };
        let offsets = tags
            .numbers(directory, offsets)
            .ok_or_else(|| damaged("it does not say where its strips or tiles are"))?;
        let lengths = tags.numbers(directory, lengths).unwrap_or_default();
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
    fn interleaved(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    fn row_bytes(&self) -> Option<usize> {
        if let Some((across, down)) = self.subsampling {
            // Units of across · down luma samples and two of chroma, for `down` rows at once.
            return self.chunk.0.div_ceil(across).checked_mul(across * down + 2);
        }
        Some(self.chunk.0.checked_mul(self.interleaved())?.checked_mul(self.bits)?.div_ceil(8))
    }

    /// Rows of bytes: several rows of pixels where colour is subsampled.
    fn byte_rows(&self, rows: usize) -> usize {
        rows.div_ceil(self.subsampling.map_or(1, |(_, down)| down))
    }

    fn across(&self) -> usize {
        self.width.div_ceil(self.chunk.0)
    }

    fn down(&self) -> usize {
        self.height.div_ceil(self.chunk.1)
    }

    /// Whether the file may hold so many pixels at all, and its parts are within the limit.
    fn check(&self, decoder: &Decoder, bytes: &[u8]) -> Result<(), DecodeError> {
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

    fn kind(&self) -> Kind {
        match self.sample_format {
            2 => Kind::Signed(self.bits as u32),
            3 => Kind::Float,
            _ => Kind::Unsigned(2f64.powi(self.bits as i32) - 1.0),
        }
    }

    /// Whether bands are chosen among those stored; otherwise among the red, green and blue that they become.
    fn has_plain_bands(&self) -> bool {
        matches!(self.photometric, Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Rgb)
    }

    /// The bands that are kept while strips are read: those of red, green and blue, or of grey, and of black or alpha.
    fn bands(&self, channels: &Channels) -> Result<Vec<usize>, DecodeError> {
        if let (Some(bands), true) = (channels.bands, self.has_plain_bands()) {
            return Ok(super::band_indices(bands, self.samples, Format::Tiff.name())?.to_vec());
        }
        let alpha = self.alpha.map(|(band, _)| band);
        let mut colours = (0..self.samples).filter(|band| Some(*band) != alpha);
        let mut bands: Vec<usize> = match self.photometric {
            Photometric::WhiteIsZero | Photometric::BlackIsZero => {
                let first: Vec<usize> = colours.by_ref().take(3).collect();
                if first.len() == 3 { first } else { vec![0] }
            }
            photometric => (0..photometric.colours()).collect(),
        };
        bands.extend(alpha);
        Ok(bands)
    }

    /// `[height, width, 3]`, and how light they are.
    fn pixels(&self, bytes: &[u8], channels: &Channels) -> Result<(Vec<u8>, Option<Levels>), DecodeError> {
        let bands = self.bands(channels)?;
        // Bytes a pixel of what is kept: a palette's and subsampled colours are found at once.
        let kept = match (self.photometric, self.subsampling) {
            (_, Some(_)) => 3,
            (Photometric::Palette, None) => 2 + bands.len(),
            _ => bands.len(),
        };
        let mut values = spare::zeros(self.width * self.height * kept);
        let mut scale = Scales {
            colour: Scale::new(self.kind(), channels.range),
            alpha: Scale::new(self.kind(), None),
            alpha_at: self.kept_alpha(channels).map(|_| bands.len() - 1),
        };
        let planes = if self.planar { self.samples } else { 1 };
        for plane in 0..planes {
            if self.planar && !bands.contains(&plane) {
                continue;
            }
            for down in 0..self.down() {
                for across in 0..self.across() {
                    let index = (plane * self.down() + down) * self.across() + across;
                    let place = (across * self.chunk.0, down * self.chunk.1);
                    self.read_chunk(bytes, index, place, |page, data, row_bytes, little, samples| {
                        let spread =
                            Spread { page, place, plane, bands: &bands, kept, row_bytes, little, samples };
                        spread.write(data, &mut values, &mut scale)
                    })?;
                }
            }
        }
        let scale = scale.colour;
        scale.check(Format::Tiff.name())?;
        let pixels = match self.finish(channels, kept) {
            Finish::AsIs => values,
            finish => {
                let mut pixels = spare::zeros(self.width * self.height * 3);
                let into = pixels.as_chunks_mut::<3>().0;
                into.iter_mut()
                    .zip(values.chunks_exact(kept))
                    .for_each(|(pixel, from)| *pixel = finish.of(from));
                spare::keep(values);
                pixels
            }
        };
        let pixels = match channels.bands.filter(|_| !self.has_plain_bands()) {
            Some(bands) => super::pick_bands(pixels, super::band_indices(bands, 3, Format::Tiff.name())?),
            None => pixels,
        };
        Ok((pixels, scale.levels()))
    }

    /// What the last of the bands that are kept means, where it is alpha.
    fn kept_alpha(&self, channels: &Channels) -> Option<Alpha> {
        let is_chosen = channels.bands.is_some() && self.has_plain_bands();
        self.alpha.map(|(_, alpha)| alpha).filter(|_| !is_chosen)
    }

    fn finish(&self, channels: &Channels, kept: usize) -> Finish {
        let alpha = self.kept_alpha(channels);
        let inverted = self.photometric == Photometric::WhiteIsZero;
        match self.photometric {
            Photometric::Cmyk => Finish::Cmyk(alpha),
            _ if kept == 3 && !inverted && alpha.is_none() => Finish::AsIs,
            _ => Finish::Colours { grey: kept < 3, inverted, alpha },
        }
    }

    /// Decompresses one strip or tile, and gives its rows of bytes to `then`.
    fn read_chunk(
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
        let start = usize::try_from(self.offsets[index]).ok().filter(|start| *start <= bytes.len());
        let rest = &bytes[start.ok_or_else(breaks_off)?..];
        let data = match self.lengths.get(index).map(|length| usize::try_from(*length)) {
            Some(Ok(length)) if length <= rest.len() && length > 0 => &rest[..length],
            // Wrong lengths are common where nothing is compressed.
            _ if self.compression == Compression::None => rest,
            Some(Ok(length)) if length > 0 => return Err(breaks_off()),
            _ => rest,
        };
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
                read_all(decoder.map_err(|error| damaged(super::one_line(error)))?, needed)
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
        let wanted = match (self.photometric, self.interleaved()) {
            (Photometric::YCbCr, _) => ColorSpace::RGB,
            (_, 1) => ColorSpace::Luma,
            _ => stored,
        };
        decoder.set_options(options.jpeg_set_out_colorspace(wanted));
        let mut pixels = decoder.decode().map_err(jpeg_error)?;
        let samples = wanted.num_components();
        if samples < self.interleaved() || pixels.len() < width * height * samples {
            return Err(damaged("a JPEG strip has too few bands"));
        }
        then(self, &mut pixels, width * samples, self.little, samples)
    }
}

/// From what is kept of the bands to a pixel.
#[derive(Clone, Copy)]
enum Finish {
    AsIs,
    Cmyk(Option<Alpha>),
    Colours { grey: bool, inverted: bool, alpha: Option<Alpha> },
}

impl Finish {
    fn of(self, from: &[u8]) -> [u8; 3] {
        let (mut pixel, alpha) = match self {
            Finish::AsIs => ([from[0], from[1], from[2]], None),
            Finish::Cmyk(alpha) => {
                let light = 255 - u32::from(from[3]);
                let ink = |ink: u8| ((255 - u32::from(ink)) * light / 255) as u8;
                ([ink(from[0]), ink(from[1]), ink(from[2])], alpha)
            }
            Finish::Colours { grey, inverted, alpha } => {
                let pixel = if grey { [from[0]; 3] } else { [from[0], from[1], from[2]] };
                (if inverted { pixel.map(|value| 255 - value) } else { pixel }, alpha)
            }
        };
        if let (Some(kind), Some(&alpha)) = (alpha, from.last()) {
            pixel = pixel.map(|value| match kind {
                Alpha::Separate => over_white(value, alpha),
                Alpha::Multiplied => value.saturating_add(255 - alpha),
            });
        }
        pixel
    }
}

/// From stored numbers to 8 bits: a range is one of colours, opacity has a meaning of its own.
struct Scales {
    colour: Scale,
    alpha: Scale,
    /// Which of the bands that are kept is alpha.
    alpha_at: Option<usize>,
}

impl Scales {
    #[inline]
    fn byte(&mut self, at: usize, value: f64) -> u8 {
        if Some(at) == self.alpha_at { self.alpha.byte(value) } else { self.colour.byte(value) }
    }
}

/// Where the rows of a strip or tile go.
struct Spread<'a> {
    page: &'a Page,
    place: (usize, usize),
    plane: usize,
    bands: &'a [usize],
    kept: usize,
    row_bytes: usize,
    little: bool,
    /// Samples a pixel in the rows of bytes.
    samples: usize,
}

impl Spread<'_> {
    fn write(&self, data: &[u8], values: &mut [u8], scale: &mut Scales) -> Result<(), DecodeError> {
        let page = self.page;
        let width = page.chunk.0.min(page.width - self.place.0);
        let height = page.chunk.1.min(page.height - self.place.1);
        if let Some(subsampling) = page.subsampling {
            self.subsampled(data, values, (width, height), subsampling);
            return Ok(());
        }
        // Which of the kept bands come from which sample of a pixel here.
        let picks: Vec<(usize, usize)> = match page.planar {
            true => {
                (0..self.bands.len()).filter(|at| self.bands[*at] == self.plane).map(|at| (at, 0)).collect()
            }
            false => self.bands.iter().copied().enumerate().collect(),
        };
        if page.photometric == Photometric::Palette {
            return self.coloured(data, values, width, height, &picks, scale);
        }
        let plain = [(0, 0), (1, 1), (2, 2)];
        let is_copy = page.bits == 8 && page.sample_format != 2 && picks == plain && self.samples == 3;
        if is_copy && self.kept == 3 {
            for row in 0..height {
                let from = &data[row * self.row_bytes..][..width * 3];
                values[self.start(row)..][..width * 3].copy_from_slice(from);
            }
            return Ok(());
        }
        let little = self.little;
        macro_rules! spread {
            ($bytes:literal, $at:expr) => {
                self.each(data, values, (width, height), &picks, |row, index, at| {
                    let bytes: [u8; $bytes] =
                        row[index * $bytes..][..$bytes].try_into().expect("of that length");
                    scale.byte(at, $at(bytes))
                })
            };
        }
        macro_rules! number {
            ($type:ty, $bytes:literal) => {
                spread!($bytes, |bytes| match little {
                    true => <$type>::from_le_bytes(bytes) as f64,
                    false => <$type>::from_be_bytes(bytes) as f64,
                })
            };
        }
        match (page.sample_format, page.bits) {
            (2, 8) => number!(i8, 1),
            (2, 16) => number!(i16, 2),
            (2, 32) => number!(i32, 4),
            (2, _) => number!(i64, 8),
            (3, 16) => spread!(2, |bytes| half_to_f64(match little {
                true => u16::from_le_bytes(bytes),
                false => u16::from_be_bytes(bytes),
            })),
            (3, 32) => number!(f32, 4),
            (3, _) => number!(f64, 8),
            (_, 8) => number!(u8, 1),
            (_, 16) => number!(u16, 2),
            (_, 32) => number!(u32, 4),
            (_, 64) => number!(u64, 8),
            (_, bits) => self.each(data, values, (width, height), &picks, |row, index, at| {
                scale.byte(at, bit_field(row, index, bits, little) as f64)
            }),
        }
        Ok(())
    }

    /// Where a row begins in the values that are kept.
    fn start(&self, row: usize) -> usize {
        ((self.place.1 + row) * self.page.width + self.place.0) * self.kept
    }

    #[inline]
    fn each(
        &self,
        data: &[u8],
        values: &mut [u8],
        (width, height): (usize, usize),
        picks: &[(usize, usize)],
        mut byte: impl FnMut(&[u8], usize, usize) -> u8,
    ) {
        for row in 0..height {
            let from = &data[row * self.row_bytes..][..self.row_bytes];
            let into = &mut values[self.start(row)..][..width * self.kept];
            for (x, pixel) in into.chunks_exact_mut(self.kept).enumerate() {
                for &(at, sample) in picks {
                    pixel[at] = byte(from, x * self.samples + sample, at);
                }
            }
        }
    }

    /// Indices become the palette's colours.
    fn coloured(
        &self,
        data: &[u8],
        values: &mut [u8],
        width: usize,
        height: usize,
        picks: &[(usize, usize)],
        scale: &mut Scales,
    ) -> Result<(), DecodeError> {
        let page = self.page;
        let number = |row: &[u8], index| bit_field(row, index, page.bits, self.little);
        for row in 0..height {
            let from = &data[row * self.row_bytes..][..self.row_bytes];
            let into = &mut values[self.start(row)..][..width * self.kept];
            for (x, pixel) in into.chunks_exact_mut(self.kept).enumerate() {
                for &(at, sample) in picks {
                    let value = number(from, x * self.samples + sample);
                    match at {
                        0 => {
                            let colour = page.palette.get(value as usize);
                            pixel[..3].copy_from_slice(
                                colour.ok_or_else(|| damaged("a colour is not in its palette"))?,
                            );
                        }
                        _ => pixel[2 + at] = scale.byte(at, value as f64),
                    }
                }
            }
        }
        Ok(())
    }

    /// Units of some luma samples and one pair of chroma become RGB, each pair standing for all of its unit.
    fn subsampled(
        &self,
        data: &[u8],
        values: &mut [u8],
        (width, height): (usize, usize),
        (across, down): (usize, usize),
    ) {
        let unit = across * down + 2;
        for row in 0..height {
            let units = &data[row / down * self.row_bytes..][..self.row_bytes];
            let into = &mut values[self.start(row)..][..width * 3];
            for (x, pixel) in into.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let unit = &units[x / across * unit..][..unit];
                let luma = unit[row % down * across + x % across];
                *pixel = rgb_of(luma, unit[across * down], unit[across * down + 1]);
            }
        }
    }
}

/// JFIF's conversion, which is TIFF's with the default coefficients.
fn rgb_of(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = (f32::from(luma), f32::from(blue) - 128.0, f32::from(red) - 128.0);
    [luma + 1.402 * red, luma - 0.344_136 * blue - 0.714_136 * red, luma + 1.772 * blue]
        .map(|value| (value + 0.5) as u8)
}

/// The number at a place in a row of numbers of any width: whole bytes in the file's order, bits from the highest.
#[inline]
fn bit_field(row: &[u8], index: usize, bits: usize, little: bool) -> u64 {
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if bits.is_multiple_of(8) {
        let bytes = &row[index * bits / 8..][..bits / 8];
        return if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) };
    }
    let mut number = 0;
    for at in index * bits..(index + 1) * bits {
        number = number << 1 | u64::from(row[at / 8] >> (7 - at % 8) & 1);
    }
    number
}

fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
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

/// Undoes the floating-point predictor: differences of bytes, the highest bytes of all floats first (Adobe's note 3).
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
fn subsampled(tags: &mut Tags<'_>, directory: &Directory) -> Result<(usize, usize), DecodeError> {
    let factors = tags.numbers(directory, tag::SUBSAMPLING).unwrap_or(vec![2, 2]);
    let usual = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];
    let range = tags.rationals(directory, tag::REFERENCE_BLACK_WHITE);
    if range
        .is_some_and(|range| range.len() != 6 || range.iter().zip(usual).any(|(a, b)| (a - b).abs() > 0.5))
    {
        return Err(unsupported("YCbCr of a reduced range"));
    }
    match factors[..] {
        [across @ (1 | 2 | 4), down @ (1 | 2 | 4), ..] => Ok((across as usize, down as usize)),
        _ => Err(damaged("its colour is subsampled by no known factor")),
    }
}

/// The colour profile of the first page.
pub(super) fn profile(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut tags, directory) = open(bytes).ok()?;
    tags.blob(&directory, tag::COLOUR_PROFILE)
}

/// What the decoder of the JPEGs inside says.
fn jpeg_error(error: zune_jpeg::errors::DecodeErrors) -> DecodeError {
    use zune_jpeg::errors::DecodeErrors;
    match error {
        DecodeErrors::Unsupported(scheme) => unsupported(format!("a JPEG inside: {scheme:?}")),
        error => damaged(super::one_line(error)),
    }
}
