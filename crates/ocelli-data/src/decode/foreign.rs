//! Formats that are recognised in order to say by name that they are not read, and what to do about it.

use std::io::{Cursor, Read, Seek};
use std::path::Path;

use super::{Format, raw};
use crate::DecodeError;

/// So many first bytes tell them: DICOM's are at 128.
pub(crate) const MAGIC_LEN: usize = 264;

/// What a file is that is no image in a format that is read.
#[derive(Debug)]
pub(crate) enum Refused {
    /// An image, or something that holds images, of a known kind.
    Foreign(DecodeError),
    /// Named like an image that is read, but it is not one.
    Misnamed(String),
    /// Nothing of that kind.
    Other,
}

/// The error for bytes that begin like a format that is known and not read, or that are a camera's raw file.
pub(super) fn of_bytes(bytes: &[u8]) -> Option<DecodeError> {
    of(&bytes[..bytes.len().min(MAGIC_LEN)], Cursor::new(bytes), "")
}

/// The same of a file, of which `bytes` are the content: its name may tell a raw file too.
pub(super) fn of_named(path: &Path, bytes: &[u8]) -> Option<DecodeError> {
    of(&bytes[..bytes.len().min(MAGIC_LEN)], Cursor::new(bytes), &extension(path))
}

/// What a file is, by its first bytes, [`MAGIC_LEN`] if it has as many, and, of a TIFF file, by the
/// directories in it: `None` for an image that can be read.
pub(crate) fn refused(path: &Path, head: &[u8], file: impl Read + Seek) -> Option<Refused> {
    let magic = &head[..head.len().min(MAGIC_LEN)];
    let extension = extension(path);
    if let Some(error) = of(magic, file, &extension) {
        return Some(Refused::Foreign(error));
    }
    if Format::of(magic).is_some() {
        return None;
    }
    let usual = Format::ALL.iter().any(|format| format.extensions().contains(&extension.as_str()));
    let meant = usual || raw::is_ending(&extension) || OTHER_ENDINGS.contains(&extension.as_str());
    Some(match (meant, magic.is_empty()) {
        (true, true) => Refused::Misnamed(format!("named .{extension}, but the file is empty")),
        (true, false) => Refused::Misnamed(format!("named .{extension}, but its content is no image")),
        (false, false) if let Some((kind, remedy)) = by_ending(&extension) => {
            Refused::Foreign(error(kind, remedy))
        }
        (false, _) => Refused::Other,
    })
}

/// Endings of images that are recognised by their first bytes, and of which none is read.
const OTHER_ENDINGS: [&str; 10] = ["avif", "exr", "hdr", "j2k", "jp2", "jxl", "psd", "qoi", "xcf", "fits"];

fn extension(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.ends_with(".nii.gz") {
        return "nii.gz".to_owned();
    }
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn of(magic: &[u8], file: impl Read + Seek, extension: &str) -> Option<DecodeError> {
    let raw = match raw::by_magic(magic) {
        Some(kind) => Some(kind.to_owned()),
        None if Format::of(magic) == Some(Format::Tiff) => raw::in_tiff(file, extension),
        None => None,
    };
    if let Some(kind) = raw {
        return Some(DecodeError::Foreign {
            kind: format!("a camera's raw file, {kind}"),
            remedy: "a sensor's values have to be developed: export JPEG or TIFF files, for example with darktable-cli or RawTherapee",
        });
    }
    if Format::of(magic).is_some() {
        return None;
    }
    by_magic(magic).map(|(kind, remedy)| error(kind, remedy))
}

fn error(kind: &str, remedy: &'static str) -> DecodeError {
    DecodeError::Foreign { kind: kind.to_owned(), remedy }
}

const MAGICK: &str = "convert it to PNG or JPEG, for example with ImageMagick: magick FILE FILE.png";
const AVIF: &str = "convert it to PNG, for example with libavif: avifdec FILE FILE.png";
const JXL: &str = "convert it to PNG, for example with libjxl: djxl FILE FILE.png";
const DICOM: &str = "convert it to PNG with the window that shows what matters, for example with DCMTK: dcm2img --use-window 1 FILE FILE.png";
const FITS: &str = "write its image as a PNG or TIFF file, for example with astropy and tifffile";
const NIFTI: &str = "write its slices as PNG or TIFF files, for example with med2image or nibabel";
const CZI: &str =
    "write its planes as PNG or TIFF files, for example with Bio-Formats: bfconvert FILE FILE.tiff";
const VIDEO: &str = "take pictures out of it, for example with FFmpeg: ffmpeg -i FILE -vf fps=1 %05d.jpg";

/// What the first bytes announce, with an article, and what to do.
fn by_magic(magic: &[u8]) -> Option<(&'static str, &'static str)> {
    if let [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] = magic {
        return match brand.get(..4)? {
            b"avif" | b"avis" => Some(("an AVIF image", AVIF)),
            b"jxl " => Some(("a JPEG XL image", JXL)),
            // A general brand: the compatible ones, up to the end of the box, say more.
            b"mif1" | b"mif2" | b"msf1" => {
                let length = usize::try_from(u32::from_be_bytes([magic[0], magic[1], magic[2], magic[3]]));
                let end = length.unwrap_or(0).clamp(8, magic.len());
                let brands = magic[8..end].as_chunks::<4>().0;
                match brands.iter().any(|brand| matches!(brand, b"avif" | b"avis")) {
                    true => Some(("an AVIF image", AVIF)),
                    false => Some(("a HEIF image", MAGICK)),
                }
            }
            b"hevc" | b"hevx" => Some(("a HEIF image sequence", VIDEO)),
            _ => Some(("a video", VIDEO)),
        };
    }
    let at = |offset: usize, bytes: &[u8]| magic.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    let kinds: [(usize, &[u8], &str, &str); 19] = [
        (128, b"DICM", "a DICOM image", DICOM),
        (0, &[0xFF, 0x0A], "a JPEG XL image", JXL),
        (0, b"\0\0\0\x0CJXL ", "a JPEG XL image", JXL),
        (0, b"\0\0\0\x0CjP  ", "a JPEG 2000 image", MAGICK),
        (0, &[0xFF, 0x4F, 0xFF, 0x51], "a JPEG 2000 image", MAGICK),
        (0, b"8BPS", "a Photoshop image", MAGICK),
        (0, b"gimp xcf", "a GIMP image", MAGICK),
        (0, &[0x76, 0x2F, 0x31, 0x01], "an OpenEXR image", MAGICK),
        (0, b"#?RADIANCE", "a Radiance HDR image", MAGICK),
        (0, b"#?RGBE", "a Radiance HDR image", MAGICK),
        (0, b"\0\0\x01\0", "an icon (ICO)", MAGICK),
        (0, b"qoif", "a QOI image", MAGICK),
        (0, b"DDS ", "a DDS image", MAGICK),
        (0, b"farbfeld", "a farbfeld image", MAGICK),
        (0, b"SIMPLE  =", "a FITS image", FITS),
        (0, b"<svg", "an SVG drawing", MAGICK),
        (0, &[0x1A, 0x45, 0xDF, 0xA3], "a video (Matroska, WebM)", VIDEO),
        (0, &[0, 0, 1, 0xBA], "a video (MPEG)", VIDEO),
        (0, b"OggS", "a video or sound (Ogg)", VIDEO),
    ];
    if at(0, b"RIFF") && at(8, b"AVI ") {
        return Some(("a video (AVI)", VIDEO));
    }
    kinds.iter().find(|(offset, bytes, ..)| at(*offset, bytes)).map(|(_, _, kind, remedy)| (*kind, *remedy))
}

/// Kinds without first bytes of their own, by their names' ending.
fn by_ending(extension: &str) -> Option<(&'static str, &'static str)> {
    match extension {
        "dcm" | "dicom" => Some(("a DICOM image", DICOM)),
        "tga" => Some(("a TGA image", MAGICK)),
        "pcx" => Some(("a PCX image", MAGICK)),
        "svg" => Some(("an SVG drawing", MAGICK)),
        "nii" | "nii.gz" => Some(("a NIfTI image", NIFTI)),
        "czi" => Some(("a microscope image of Zeiss (CZI)", CZI)),
        "sgi" => Some(("an SGI image", MAGICK)),
        "eps" => Some(("a PostScript drawing", MAGICK)),
        _ => None,
    }
}
