//! The directories of a TIFF file: tags and their values, with nothing believed that the file's length
//! contradicts.
//!
//! TIFF 6.0, section 2, and BigTIFF.

use std::io::{Read, Seek, SeekFrom};

/// More tags than this in one directory are a sign of damage; real files have less than a hundred.
const MOST_TAGS: u64 = 4096;
/// Values of one tag are read up to this many bytes: a strip offset for each of two million rows.
const MOST_BYTES: u64 = 16 << 20;

/// Reads directories.
pub(super) struct Directories<R> {
    reader: R,
    length: u64,
    /// Whether the byte order is little-endian.
    pub little: bool,
    big: bool,
    /// Where the first directory is.
    pub first: u64,
}

/// The tags of one image.
pub(super) struct Directory {
    entries: Vec<Entry>,
    /// Where the next directory is; 0 after the last.
    pub next: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// The values themselves where they fit, or where they are.
    field: [u8; 8],
}

impl<R: Read + Seek> Directories<R> {
    /// `None` where this is no TIFF file.
    pub fn open(mut reader: R) -> Option<Self> {
        let length = reader.seek(SeekFrom::End(0)).ok()?;
        let mut header = [0; 16];
        reader.seek(SeekFrom::Start(0)).ok()?;
        reader.read_exact(&mut header[..8]).ok()?;
        let little = match &header[..2] {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        let mut directories = Directories { reader, length, little, big: false, first: 0 };
        match directories.number(&header[2..4]) {
            42 => directories.first = directories.number(&header[4..8]),
            43 => {
                directories.read(8, &mut header[8..16])?;
                if directories.number(&header[4..6]) != 8 {
                    return None;
                }
                directories.big = true;
                directories.first = directories.number(&header[8..16]);
            }
            _ => return None,
        }
        Some(directories)
    }

    /// The directory at an offset; `None` where the file ends before it does.
    pub fn directory(&mut self, at: u64) -> Option<Directory> {
        let (count_len, entry_len, field_len) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let mut buffer = [0; 8];
        self.read(at, &mut buffer[..count_len])?;
        let count = self.number(&buffer[..count_len]);
        if count > MOST_TAGS {
            return None;
        }
        let mut bytes = vec![0; count as usize * entry_len];
        let start = at.checked_add(count_len as u64)?;
        self.read(start, &mut bytes)?;
        let entry = |bytes: &[u8]| {
            let mut field = [0; 8];
            field[..field_len].copy_from_slice(&bytes[entry_len - field_len..]);
            Entry {
                tag: self.number(&bytes[..2]) as u16,
                kind: self.number(&bytes[2..4]) as u16,
                count: self.number(&bytes[4..4 + field_len]),
                field,
            }
        };
        let entries = bytes.chunks_exact(entry_len).map(entry).collect();
        // Some writers leave the end of the chain out.
        let next = match self.read(start + bytes.len() as u64, &mut buffer[..field_len]) {
            Some(()) => self.number(&buffer[..field_len]),
            None => 0,
        };
        Some(Directory { entries, next })
    }

    /// The bytes of a tag's values; `None` where it is absent or the file is too short for them.
    fn bytes(&mut self, directory: &Directory, tag: u16) -> Option<(u16, Vec<u8>)> {
        let Entry { kind, count, field, .. } = *directory.entries.iter().find(|entry| entry.tag == tag)?;
        let length = count.checked_mul(size_of_kind(kind)?)?;
        if length > MOST_BYTES.min(self.length) {
            return None;
        }
        let field_len = if self.big { 8 } else { 4 };
        if length <= field_len {
            return Some((kind, field[..length as usize].to_vec()));
        }
        let mut bytes = vec![0; length as usize];
        self.read(self.number(&field[..field_len as usize]), &mut bytes)?;
        Some((kind, bytes))
    }

    /// A tag's values as unsigned integers; `None` where it is absent, damaged or of another kind.
    pub fn numbers(&mut self, directory: &Directory, tag: u16) -> Option<Vec<u64>> {
        let (kind, bytes) = self.bytes(directory, tag)?;
        let whole = matches!(kind, 1 | 3 | 4 | 7 | 13 | 16 | 18);
        whole.then(|| {
            bytes.chunks_exact(size_of_kind(kind).unwrap_or(1) as usize).map(|it| self.number(it)).collect()
        })
    }

    /// The first of a tag's values.
    pub fn one(&mut self, directory: &Directory, tag: u16) -> Option<u64> {
        self.numbers(directory, tag)?.first().copied()
    }

    /// A tag's bytes, whatever their kind.
    pub fn blob(&mut self, directory: &Directory, tag: u16) -> Option<Vec<u8>> {
        Some(self.bytes(directory, tag)?.1)
    }

    /// A tag's rational numbers.
    pub fn rationals(&mut self, directory: &Directory, tag: u16) -> Option<Vec<f64>> {
        let (kind, bytes) = self.bytes(directory, tag)?;
        let ratio = |it: &[u8]| self.number(&it[..4]) as f64 / self.number(&it[4..8]) as f64;
        (kind == 5).then(|| bytes.chunks_exact(8).map(ratio).collect())
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Option<()> {
        if at.checked_add(into.len() as u64)? > self.length {
            return None;
        }
        self.reader.seek(SeekFrom::Start(at)).ok()?;
        self.reader.read_exact(into).ok()
    }

    /// An unsigned number of up to eight bytes.
    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.little {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        }
    }
}

impl Directory {
    /// Whether it has the tag at all.
    pub fn has(&self, tag: u16) -> bool {
        self.entries.iter().any(|entry| entry.tag == tag)
    }
}

/// Bytes a value; `None` for kinds that the format does not know.
fn size_of_kind(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 | 17 | 18 => Some(8),
        _ => None,
    }
}
