//! NumPy's files: `.npy` (its format 1.0) and `.npz`, a ZIP archive of them, stored without compression.
//!
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use std::io::{self, Read, Write};

/// Bytes of a header: the values that follow are aligned to 64 bytes, and any shape fits.
pub(crate) const HEADER: usize = 128;

/// The header of an array; `kind` is NumPy's, such as `<f4`.
pub(crate) fn header(kind: &str, shape: &[usize]) -> [u8; HEADER] {
    let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let lengths = if shape.len() > 1 { lengths.trim_end_matches(", ") } else { lengths.trim_end() };
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({lengths}), }}");
    let mut bytes = [b' '; HEADER];
    bytes[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    bytes[8..10].copy_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    bytes[10..10 + text.len()].copy_from_slice(text.as_bytes());
    bytes[HEADER - 1] = b'\n';
    bytes
}

/// Writes a ZIP archive, entry by entry, in the form for any size (ZIP64).
pub(crate) struct Zip<W: Write> {
    out: W,
    at: u64,
    directory: Vec<u8>,
    entries: u64,
}

/// The size and the checksum of an entry.
#[derive(Clone, Copy, Default)]
pub(crate) struct Checked {
    size: u64,
    crc: u32,
}

impl Checked {
    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        let crc = bytes
            .iter()
            .fold(!self.crc, |crc, byte| CRC[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8));
        self.crc = !crc;
    }
}

/// The table of the CRC-32 of ZIP files.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

/// The version needed to extract: 4.5, the first with ZIP64.
const VERSION: u16 = 45;
/// 1980-01-01, so that the same features give the same bytes.
const DATE: u16 = 0x21;
/// Sizes stand in the extra field.
const ELSEWHERE: u32 = u32::MAX;

impl<W: Write> Zip<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, at: 0, directory: Vec::new(), entries: 0 }
    }

    /// Adds an entry of this name, whose content is read from `content`, and has been checked before.
    pub(crate) fn add(&mut self, name: &str, checked: Checked, content: &mut dyn Read) -> io::Result<()> {
        let Checked { size, crc } = checked;
        let offset = self.at;
        let mut common = Vec::new();
        for value in [VERSION, 0, 0, 0, DATE] {
            common.extend(value.to_le_bytes());
        }
        for value in [crc, ELSEWHERE, ELSEWHERE] {
            common.extend(value.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        let sizes = [size.to_le_bytes(), size.to_le_bytes()].concat();
        let local =
            [b"PK\x03\x04", &common[..], &20u16.to_le_bytes(), name.as_bytes(), &[1, 0, 16, 0], &sizes];
        self.write(&local.concat())?;
        let copied = io::copy(content, &mut self.out)?;
        if copied != size {
            let message = format!("{copied} bytes were read again where {size} had been written");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.at += copied;
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(&common);
        // Lengths of extra field and comment; disk; attributes; offset.
        self.directory.extend(28u16.to_le_bytes());
        self.directory.extend([0; 10]);
        self.directory.extend(ELSEWHERE.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.directory.extend([1, 0, 24, 0]);
        self.directory.extend(sizes);
        self.directory.extend(offset.to_le_bytes());
        self.entries += 1;
        Ok(())
    }

    /// Writes the directory.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let (begin, size) = (self.at, self.directory.len() as u64);
        let directory = std::mem::take(&mut self.directory);
        self.write(&directory)?;
        let end = self.at;
        let mut tail = b"PK\x06\x06".to_vec();
        tail.extend(44u64.to_le_bytes());
        tail.extend([VERSION.to_le_bytes(), VERSION.to_le_bytes()].concat());
        tail.extend([0; 8]);
        for value in [self.entries, self.entries, size, begin] {
            tail.extend(value.to_le_bytes());
        }
        tail.extend(b"PK\x06\x07");
        tail.extend(0u32.to_le_bytes());
        tail.extend(end.to_le_bytes());
        tail.extend(1u32.to_le_bytes());
        tail.extend(b"PK\x05\x06");
        tail.extend([0; 4]);
        tail.extend([0xff; 12]);
        tail.extend([0; 2]);
        self.write(&tail)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_the_format() {
        let bytes = header("<f4", &[12, 2560]);
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00", "magic, version 1.0, 118 bytes follow");
        let text = std::str::from_utf8(&bytes[10..]).unwrap();
        assert_eq!(text.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 2560), }");
        assert!(text.ends_with('\n') && bytes.len().is_multiple_of(64));
        assert!(std::str::from_utf8(&header("<U7", &[3])[10..]).unwrap().contains("'shape': (3,), }"));
    }

    #[test]
    fn the_checksum_is_zips() {
        let mut checked = Checked::default();
        checked.update(b"1234");
        checked.update(b"56789");
        assert_eq!((checked.size, checked.crc), (9, 0xcbf4_3926), "the check value of CRC-32");
    }
}
