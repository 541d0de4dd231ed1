//! Pictures that Ocelli draws, marked so that they are never taken for photos.

use std::path::Path;

use crate::files::write_whole;
use crate::{DataError, RgbImage};

/// The beginning of a PNG file: its signature, and its first chunk.
const HEADER: usize = 8 + 25;
/// The text chunk of a PNG file that names the program.
const TEXT: &[u8] = b"tEXtSoftware\0Ocelli";

/// The number of first bytes of a file that show the mark.
pub(crate) const MARK_LEN: usize = HEADER + 4 + TEXT.len();

/// The bytes of a PNG file, marked as drawn by Ocelli.
pub fn marked(mut png: Vec<u8>) -> Vec<u8> {
    let mut chunk = (TEXT.len() as u32 - 4).to_be_bytes().to_vec();
    chunk.extend(TEXT);
    chunk.extend(crc32(TEXT).to_be_bytes());
    png.splice(HEADER..HEADER, chunk);
    png
}

/// Whether these first bytes of a file are those of a [`marked`] picture.
pub(crate) fn is_marked(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG") && bytes.get(HEADER + 4..).is_some_and(|bytes| bytes.starts_with(TEXT))
}

/// Writes a drawing as a PNG file, marked as drawn by Ocelli, so that it is skipped among photos.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_drawing(image: &RgbImage, path: impl AsRef<Path>) -> Result<(), DataError> {
    write_whole(path.as_ref(), &marked(image.to_png()))
}

/// As PNG files check their chunks.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| step(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decoder;

    #[test]
    fn a_marked_picture_is_the_same_picture() {
        // The check value of this sum, by which implementations are compared.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let image = RgbImage::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let (plain, drawn) = (image.to_png(), marked(image.to_png()));
        assert!(is_marked(&drawn) && is_marked(&drawn[..MARK_LEN]) && !is_marked(&plain));
        assert!(Decoder::default().decode(&drawn).unwrap() == image);
    }
}
