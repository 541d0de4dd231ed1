//! Which way is up: what a file notes of how the camera was held.
//!
//! The note is the orientation of EXIF (tag 274 of its first directory; in a TIFF file of the file's own),
//! or, where there is none, `tiff:Orientation` of an XMP packet: Pillow's rule. Where each format keeps the
//! two is decided here alone. EXIF may begin with the `Exif\0\0` that JPEG puts before it, and may
//! be written as text, as ImageMagick does in PNG.

use image::metadata::Orientation;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::{Format, jpeg};

/// Of compressed notes no more than this is unpacked, in bytes.
const LONGEST_NOTE: usize = 1 << 20;

const EXIF_HEADER: &[u8] = b"Exif\0\0";
const XMP_HEADER: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Tags of TIFF directories.
const ORIENTATION: u16 = 274;
const XMP: u16 = 700;

/// How a file's image is to be turned; upright where nothing is noted, or nothing that has a meaning.
pub(super) fn of(bytes: &[u8], format: Format) -> Orientation {
    let notes = match format {
        Format::Jpeg => of_jpeg(bytes),
        Format::Png => of_png(bytes),
        Format::WebP => of_webp(bytes),
        Format::Tiff => of_tiff(bytes),
        _ => Notes::default(),
    };
    let noted = notes.exif.or(notes.xmp).and_then(|value| u8::try_from(value).ok());
    noted.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// The first note of each kind.
#[derive(Default)]
struct Notes {
    exif: Option<u16>,
    xmp: Option<u16>,
}

impl Notes {
    fn exif(&mut self, chunk: &[u8]) {
        self.exif = self.exif.or_else(|| exif(chunk));
    }

    fn xmp(&mut self, packet: &[u8]) {
        self.xmp = self.xmp.or_else(|| xmp(packet));
    }
}

fn of_jpeg(bytes: &[u8]) -> Notes {
    let mut notes = Notes::default();
    for segment in jpeg::Segments::of(bytes).take_while(|segment| segment.marker != jpeg::SCAN) {
        if segment.marker == jpeg::APP1 {
            match segment.content.strip_prefix(XMP_HEADER) {
                Some(packet) => notes.xmp(packet),
                None if segment.content.starts_with(EXIF_HEADER) => notes.exif(segment.content),
                None => {}
            }
        }
    }
    notes
}

fn of_webp(bytes: &[u8]) -> Notes {
    let mut notes = Notes::default();
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((head, after)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let content = &after[..length.min(after.len())];
        match &head[..4] {
            b"EXIF" => notes.exif(content),
            b"XMP " => notes.xmp(content),
            _ => {}
        }
        // Chunks begin at even offsets.
        rest = after.get(length.saturating_add(length & 1)..).unwrap_or_default();
    }
    notes
}

fn of_png(bytes: &[u8]) -> Notes {
    let mut notes = Notes::default();
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((head, after)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let content = &after[..length.min(after.len())];
        match &head[4..] {
            b"eXIf" => notes.exif(content),
            kind @ (b"tEXt" | b"zTXt" | b"iTXt") => {
                if let Some((keyword, text)) = png_text(kind, content) {
                    png_note(keyword, &text, &mut notes);
                }
            }
            b"IEND" => break,
            _ => {}
        }
        // A checksum follows.
        rest = after.get(length.saturating_add(4)..).unwrap_or_default();
    }
    notes
}

/// Keyword and text of a PNG's text chunk, where the keyword is one of those that matter here.
fn png_text<'a>(kind: &[u8], content: &'a [u8]) -> Option<(&'a [u8], Vec<u8>)> {
    let (keyword, rest) = cut(content)?;
    if keyword != b"XML:com.adobe.xmp" && !keyword.starts_with(b"Raw profile type ") {
        return None;
    }
    let unpacked = |packed: &[u8]| match decompress_to_vec_zlib_with_limit(packed, LONGEST_NOTE) {
        Ok(text) => text,
        // What came before the end or the limit.
        Err(error) => error.output,
    };
    let text = match kind {
        b"tEXt" => rest.to_vec(),
        b"zTXt" => unpacked(rest.get(1..)?),
        _ => {
            let (flags, rest) = rest.split_at_checked(2)?;
            let (_language, rest) = cut(rest)?;
            let (_translated, text) = cut(rest)?;
            if flags[0] == 1 { unpacked(text) } else { text.to_vec() }
        }
    };
    Some((keyword, text))
}

/// What is before the first zero byte, and what is after it.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn png_note(keyword: &[u8], text: &[u8], notes: &mut Notes) {
    match keyword.strip_prefix(b"Raw profile type ") {
        None => notes.xmp(text),
        Some(name) if [&b"exif"[..], b"EXIF", b"APP1", b"app1", b"xmp", b"XMP"].contains(&name) => {
            let profile = raw_profile(text);
            match profile.strip_prefix(XMP_HEADER) {
                Some(packet) => notes.xmp(packet),
                None if name.eq_ignore_ascii_case(b"xmp") => notes.xmp(&profile),
                None => notes.exif(&profile),
            }
        }
        Some(_) => {}
    }
}

/// The bytes of ImageMagick's text of a profile: a line with its name, one with its length, then hexadecimal
/// digits.
fn raw_profile(text: &[u8]) -> Vec<u8> {
    let text = text.trim_ascii_start();
    let lines = text.splitn(3, |&byte| byte == b'\n');
    let digits = lines.last().unwrap_or_default().iter().filter_map(|&digit| char::from(digit).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn of_tiff(bytes: &[u8]) -> Notes {
    let mut notes = Notes::default();
    let Some(directory) = Directory::first(bytes) else { return notes };
    for entry in directory.entries() {
        match entry.tag {
            ORIENTATION => notes.exif = notes.exif.or_else(|| directory.number(&entry)),
            XMP => notes.xmp(directory.bytes_of(&entry).unwrap_or_default()),
            _ => {}
        }
    }
    notes
}

/// The orientation in an EXIF chunk, with or without JPEG's header.
fn exif(mut chunk: &[u8]) -> Option<u16> {
    while let Some(rest) = chunk.strip_prefix(EXIF_HEADER) {
        chunk = rest;
    }
    let directory = Directory::first(chunk)?;
    let entry = directory.entries().find(|entry| entry.tag == ORIENTATION)?;
    directory.number(&entry)
}

/// The orientation in an XMP packet: an attribute, or an element.
fn xmp(packet: &[u8]) -> Option<u16> {
    const NAME: &[u8] = b"tiff:Orientation";
    let after = packet.windows(NAME.len()).position(|part| part == NAME)? + NAME.len();
    let rest = packet[after..].trim_ascii_start();
    let value = match rest.split_first()? {
        (b'=', value) => value
            .trim_ascii_start()
            .strip_prefix(b"\"")
            .or_else(|| value.trim_ascii_start().strip_prefix(b"'"))?,
        (b'>', value) => value,
        _ => return None,
    };
    let digit = value.trim_ascii_start().first()?;
    digit.is_ascii_digit().then(|| u16::from(digit - b'0'))
}

/// The first directory of a TIFF structure, of either byte order, with offsets of 32 or 64 bits.
struct Directory<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    /// Bytes of an offset: 4, or 8 in a BigTIFF.
    wide: usize,
    /// Where the entries begin, and how many there are.
    start: usize,
    count: usize,
}

struct Entry {
    tag: u16,
    kind: u64,
    count: u64,
    /// Where the value, or its offset, lies.
    at: usize,
}

impl<'a> Directory<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..2)? {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let mut directory = Directory { bytes, big_endian, wide: 4, start: 0, count: 0 };
        let first = match directory.uint(2, 2)? {
            42 => directory.uint(4, 4)?,
            43 => {
                directory.wide = 8;
                directory.uint(8, 8)?
            }
            _ => return None,
        };
        let (first, width) = (usize::try_from(first).ok()?, if directory.wide == 8 { 8 } else { 2 });
        directory.count = usize::try_from(directory.uint(first, width)?).ok()?;
        directory.start = first.checked_add(width)?;
        Some(directory)
    }

    fn uint(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        let length = 4 + 2 * self.wide;
        // Whatever number is claimed: an entry that is not there ends them.
        (0..self.count).map_while(move |number| {
            let at = self.start.checked_add(number.checked_mul(length)?)?;
            Some(Entry {
                tag: self.uint(at, 2)? as u16,
                kind: self.uint(at + 2, 2)?,
                count: self.uint(at + 4, self.wide)?,
                at: at + 4 + self.wide,
            })
        })
    }

    /// A single number of 8, 16 or 32 bits.
    fn number(&self, entry: &Entry) -> Option<u16> {
        let width = match entry.kind {
            1 => 1,
            3 => 2,
            4 => 4,
            _ => return None,
        };
        if entry.count != 1 {
            return None;
        }
        u16::try_from(self.uint(entry.at, width)?).ok()
    }

    /// Bytes that lie elsewhere in the file.
    fn bytes_of(&self, entry: &Entry) -> Option<&'a [u8]> {
        let length = usize::try_from(entry.count).ok().filter(|_| matches!(entry.kind, 1 | 7))?;
        let start = usize::try_from(self.uint(entry.at, self.wide)?).ok()?;
        self.bytes.get(start..start.checked_add(length)?)
    }
}
