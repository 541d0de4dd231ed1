//! Camera raw files: recognised, so that the small preview which many of them begin with is not taken for the
//! photo.
//!
//! Most are TIFF files whose first directory is a thumbnail; the sensor's data are in a directory below it.
//! The content decides. The ending of the name decides only where a TIFF file says nothing either way, so
//! that a TIFF named `.tif` is read and one named `.nef` is not.

use std::io::{Read, Seek};

use super::ifd::{Directories, Directory};

const SUBFILE_TYPE: u16 = 254;
const PHOTOMETRIC: u16 = 262;
const MAKE: u16 = 271;
const SUB_DIRECTORIES: u16 = 330;
const DNG_VERSION: u16 = 50706;
/// A colour filter array, and linear sensor values.
const SENSOR: [u64; 2] = [32803, 34892];
/// Directories that are examined: a file is known by its first ones.
const MOST_DIRECTORIES: usize = 16;

/// Endings of raw files that are TIFF files inside, and whose they are.
const ENDINGS: [(&str, &str); 22] = [
    ("3fr", "Hasselblad"),
    ("arw", "Sony"),
    ("bay", "Casio"),
    ("cr2", "Canon"),
    ("dcr", "Kodak"),
    ("dcs", "Kodak"),
    ("dng", "DNG"),
    ("erf", "Epson"),
    ("fff", "Hasselblad"),
    ("iiq", "Phase One"),
    ("k25", "Kodak"),
    ("kdc", "Kodak"),
    ("mef", "Mamiya"),
    ("mos", "Leaf"),
    ("nef", "Nikon"),
    ("nrw", "Nikon"),
    ("pef", "Pentax"),
    ("rwl", "Leica"),
    ("sr2", "Sony"),
    ("srf", "Sony"),
    ("srw", "Samsung"),
    ("gpr", "GoPro"),
];

/// Endings of raw files that are no TIFF files.
const OTHER_ENDINGS: [&str; 8] = ["cr3", "crw", "mrw", "orf", "raf", "raw", "rw2", "x3f"];

/// Whether a name's ending, in lower case, is that of a raw file.
pub(super) fn is_ending(extension: &str) -> bool {
    ENDINGS.iter().any(|(ending, _)| *ending == extension) || OTHER_ENDINGS.contains(&extension)
}

/// The kind of raw file that the first bytes announce, where they alone do.
pub(super) fn by_magic(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [b'I', b'I', 42, 0, _, _, _, _, b'C', b'R', 2, ..] => Some("Canon (CR2)"),
        [b'I', b'I', b'R', b'O' | b'S', ..] | [b'M', b'M', b'O', b'R', ..] => Some("Olympus (ORF)"),
        [b'I', b'I', b'U', 0, ..] => Some("Panasonic (RW2)"),
        [b'I', b'I', 26, 0, 0, 0, b'H', b'E', b'A', b'P', ..] => Some("Canon (CRW)"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'c', b'r', b'x', b' ', ..] => Some("Canon (CR3)"),
        [b'F', b'O', b'V', b'b', ..] => Some("Sigma (X3F)"),
        [0, b'M', b'R', b'M', ..] => Some("Minolta (MRW)"),
        _ if magic.starts_with(b"FUJIFILMCCD-RAW") => Some("Fujifilm (RAF)"),
        _ => None,
    }
}

/// The kind of raw file that a TIFF file is; `extension` is its name's ending in lower case, or nothing where
/// it has no name.
pub(super) fn in_tiff(file: impl Read + Seek, extension: &str) -> Option<String> {
    let mut tiff = Directories::open(file)?;
    let by_name = ENDINGS.iter().find(|(ending, _)| *ending == extension);
    if let Some((ending, maker)) = by_name {
        return Some(named(maker, ending));
    }
    let first = tiff.directory(tiff.first)?;
    if first.has(DNG_VERSION) {
        return Some("DNG".to_owned());
    }
    let is_reduced = tiff.one(&first, SUBFILE_TYPE).is_some_and(|kind| kind & 1 == 1);
    let make = tiff.blob(&first, MAKE).unwrap_or_default();
    let children = tiff.numbers(&first, SUB_DIRECTORIES).unwrap_or_default();
    let mut others: Vec<Directory> = Vec::new();
    for at in children.into_iter().take(MOST_DIRECTORIES) {
        others.extend(tiff.directory(at));
    }
    let has_whole = others.iter().any(|other| tiff.one(other, SUBFILE_TYPE).unwrap_or(0) & 1 == 0);
    let mut next = first.next;
    while next != 0 && others.len() < MOST_DIRECTORIES {
        let Some(directory) = tiff.directory(next) else { break };
        next = directory.next;
        others.push(directory);
    }
    let is_sensor = |tiff: &mut Directories<_>, directory: &Directory| {
        tiff.one(directory, PHOTOMETRIC).is_some_and(|kind| SENSOR.contains(&kind))
    };
    let holds_sensor = is_sensor(&mut tiff, &first) || others.iter().any(|other| is_sensor(&mut tiff, other));
    // A camera's thumbnail before the whole photo; pyramids of scanners begin with the whole.
    let is_preview = is_reduced && has_whole && !make.is_empty();
    (holds_sensor || is_preview).then(|| {
        let make: String =
            make.iter().take_while(|byte| **byte != 0).map(|&byte| char::from(byte)).take(40).collect();
        match make.split_whitespace().next() {
            Some(maker) if maker.chars().all(|letter| letter.is_ascii_graphic()) => maker.to_owned(),
            _ => "TIFF".to_owned(),
        }
    })
}

fn named(maker: &str, ending: &str) -> String {
    match maker {
        "DNG" => maker.to_owned(),
        _ => format!("{maker} ({})", ending.to_uppercase()),
    }
}
