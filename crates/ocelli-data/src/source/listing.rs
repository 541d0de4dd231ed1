//! The image files below a folder, in one fixed order.
//!
//! The content of a file decides whether it is an image, never its name. Symbolic links are followed, so that
//! a data set can be made of links; a link to its own parent is reported. Hidden files, files that systems
//! and other programs leave among photos ([`LEFT_BEHIND`]), and Ocelli's own output are reported once and not
//! read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::decode::{Format, MAGIC_LEN, Refused, refused as refused_image};
use crate::photo_file::open_photo;
use crate::picture::{self, is_marked};
use crate::{DecodeError, Skipped, io_reason, names};

/// What lies below a folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Images, sorted by their names' bytes, folder by folder.
    pub images: Vec<PathBuf>,
    /// The folders that were listed, in the same order, without the root.
    pub folders: Vec<PathBuf>,
    /// Everything else.
    pub skipped: Vec<Skipped>,
}

/// Names of Ocelli's output.
const RUN: &str = "a run of Ocelli's";
const EVALUATION: &str = "an evaluation of Ocelli's";
const DRAWN: &str = "a picture that Ocelli has drawn";
const CACHE: &str = "a cache, as its CACHEDIR.TAG says";

/// Files and folders that systems and other programs leave among photos; upper and lower case are the same.
const LEFT_BEHIND: [(&str, &str); 33] = [
    ("@eaDir", "thumbnails of a Synology NAS"),
    ("#recycle", "the recycle bin of a Synology NAS"),
    ("#snapshot", "snapshots of a NAS"),
    (".@__thumb", "thumbnails of a QNAP NAS"),
    ("@__thumb", "thumbnails of a QNAP NAS"),
    ("@Recycle", "the recycle bin of a QNAP NAS"),
    ("@Recently-Snapshot", "snapshots of a QNAP NAS"),
    ("lost+found", "what a file system's check has found"),
    ("$RECYCLE.BIN", "the recycle bin of Windows"),
    ("RECYCLER", "the recycle bin of Windows"),
    ("RECYCLED", "the recycle bin of Windows"),
    ("System Volume Information", "what Windows notes on a drive"),
    ("Thumbs.db", "thumbnails of Windows"),
    ("ehthumbs.db", "thumbnails of Windows"),
    ("ehthumbs_vista.db", "thumbnails of Windows"),
    ("desktop.ini", "what Windows notes on a folder"),
    ("__MACOSX", "what macOS adds to zip files"),
    ("Icon\r", "what macOS notes on a folder"),
    ("Network Trash Folder", "the recycle bin of a network drive"),
    (".Trashes", "the recycle bin of macOS"),
    (".Spotlight-V100", "what macOS notes on a drive"),
    (".fseventsd", "what macOS notes on a drive"),
    (".DS_Store", "what macOS notes on a folder"),
    (".AppleDouble", "what macOS notes on files"),
    (".ipynb_checkpoints", "copies of Jupyter"),
    (".thumbnails", "thumbnails"),
    (".thumb", "thumbnails"),
    (".picasaoriginals", "originals that Picasa has replaced"),
    (".dtrash", "the recycle bin of digiKam"),
    ("THMBNL", "thumbnails of a camera's films"),
    ("__pycache__", "what Python keeps"),
    ("site-packages", "packages of Python"),
    ("node_modules", "packages of Node.js"),
];

/// How the reason begins why a link is left out that leads nowhere.
pub(super) const BROKEN_LINK: &str = "a broken link";

/// Extensions of files that may be among photos and are not images: texts, tables, programs, models.
const DOCUMENTS: [&str; 73] = [
    "txt",
    "md",
    "rst",
    "rtf",
    "tex",
    "pdf",
    "doc",
    "docx",
    "odt",
    "ppt",
    "pptx",
    "csv",
    "tsv",
    "tab",
    "xls",
    "xlsx",
    "ods",
    "json",
    "jsonl",
    "ndjson",
    "geojson",
    "xml",
    "html",
    "htm",
    "mhtml",
    "css",
    "js",
    "yaml",
    "yml",
    "toml",
    "ini",
    "cfg",
    "conf",
    "log",
    "lock",
    "bib",
    "url",
    "lnk",
    "webloc",
    "py",
    "ipynb",
    "r",
    "m",
    "sh",
    "bat",
    "ps1",
    "c",
    "cpp",
    "h",
    "java",
    "rs",
    "names",
    "data-00000-of-00001",
    "xmp",
    "aae",
    "pp3",
    "db",
    "sqlite",
    "md5",
    "sha1",
    "sha256",
    "h5",
    "hdf5",
    "ckpt",
    "pt",
    "pth",
    "onnx",
    "tflite",
    "parquet",
    "pb",
    "safetensors",
    "pkl",
    "torrent",
];

/// Looks at everything below a folder.
pub(crate) fn images_below(folder: &Path) -> Listing {
    let mut listing = Listing::default();
    let real_folder = folder.canonicalize().ok();
    let is_run = made_by_ocelli(folder).is_some();
    let is_loop = |entry: &DirEntry| {
        entry.path_is_symlink()
            && entry.file_type().is_dir()
            && entry
                .path()
                .canonicalize()
                .ok()
                .is_some_and(|to| real_folder.as_ref().is_some_and(|from| from.starts_with(to)))
    };
    let mut walk = WalkDir::new(folder).min_depth(1).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        match entry {
            Err(error) => listing.skipped.push(walk_error(&error, folder)),
            Ok(entry) => {
                let is_folder = entry.file_type().is_dir();
                let refused = match is_loop(&entry) {
                    true => Some(Skipped::new(entry.path(), "a link to its own parent")),
                    // A run whose folder is given itself.
                    false
                        if is_run && is_folder && entry.depth() == 1 && is_part_of_run(entry.file_name()) =>
                    {
                        Some(Skipped::new(entry.path(), RUN))
                    }
                    false => refused(&entry),
                };
                match refused {
                    Some(skipped) => {
                        listing.skipped.push(skipped);
                        if is_folder {
                            walk.skip_current_dir();
                        }
                    }
                    None if is_folder => listing.folders.push(entry.into_path()),
                    None => listing.add(entry.path()),
                }
            }
        }
    }
    listing
}

impl Listing {
    /// Looks at one file.
    fn add(&mut self, path: &Path) {
        match not_an_image(path) {
            None => self.images.push(path.to_owned()),
            Some(skipped) => self.skipped.push(skipped),
        }
    }
}

/// Why an entry is skipped.
pub(crate) fn refused(entry: &DirEntry) -> Option<Skipped> {
    let (path, kind) = (entry.path(), entry.file_type());
    if let Some(reason) = left_behind(entry.file_name()) {
        return Some(Skipped::new(path, reason));
    }
    if entry.file_name().as_encoded_bytes().starts_with(b".") {
        let is_elsewhere = kind.is_file() && extension_of(path) == "icloud";
        return Some(
            match is_elsewhere && is_named_as_image(Path::new(path.file_stem().unwrap_or_default())) {
                true => Skipped::image(path, "is in iCloud, and not downloaded to this disk"),
                false => Skipped::new(path, "hidden"),
            },
        );
    }
    if kind.is_dir() {
        if path.join("pyvenv.cfg").is_file() {
            return Some(Skipped::new(path, "a virtual environment of Python"));
        }
        return made_by_ocelli(path).map(|made| Skipped::new(path, made));
    }
    if let Some(skipped) = no_photo_yet(path).filter(|_| kind.is_file()) {
        return Some(skipped);
    }
    (!kind.is_file()).then(|| {
        let reason = "neither a file nor a folder";
        if is_named_as_image(path) { Skipped::image(path, reason) } else { Skipped::other(path, reason) }
    })
}

/// What a file is by an ending behind that of an image: `photo.jpg.part`, `photo.jpg~`.
fn no_photo_yet(path: &Path) -> Option<Skipped> {
    const UNFINISHED: [&str; 5] = ["crdownload", "part", "partial", "download", "opdownload"];
    const COPIES: [&str; 6] = ["bak", "backup", "old", "orig", "original", "tmp"];
    let (extension, inner) = (extension_of(path), Path::new(path.file_stem()?));
    if UNFINISHED.contains(&extension.as_str()) && is_named_as_image(inner) {
        return Some(Skipped::image(path, "an unfinished download"));
    }
    let is_copy = COPIES.contains(&extension.as_str()) && is_named_as_image(inner)
        || extension.strip_suffix('~').is_some_and(|plain| is_named_as_image(&path.with_extension(plain)));
    // ExifTool's: `photo.jpg_original`.
    let of_exiftool = extension.strip_suffix("_original");
    let is_copy = is_copy || of_exiftool.is_some_and(|plain| is_named_as_image(&path.with_extension(plain)));
    is_copy.then(|| Skipped::new(path, "a program's copy of another file"))
}

/// Which program has left a file or folder of this name.
fn left_behind(name: &OsStr) -> Option<&'static str> {
    if name.as_encoded_bytes().starts_with(b"._") {
        return Some("what macOS notes on a file");
    }
    // The small pictures that cameras keep beside their films.
    if Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("thm")) {
        return Some("a thumbnail of a camera's film");
    }
    let known = LEFT_BEHIND.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    known.map(|(_, reason)| *reason)
}

/// Whether a folder in a run's folder is part of the run.
fn is_part_of_run(name: &OsStr) -> bool {
    ["results", "checkpoints"].iter().any(|part| name == *part)
}

/// What of Ocelli's output a folder holds.
fn made_by_ocelli(folder: &Path) -> Option<&'static str> {
    let has = |name: &str| folder.join(name).exists();
    if has("config.toml") && ["events.jsonl", "history.csv", "split.csv"].into_iter().any(has) {
        return Some(RUN);
    }
    if has("report.html") && has("predictions.csv") && has("results") {
        return Some(EVALUATION);
    }
    // https://bford.info/cachedir/
    let signature = b"Signature: 8a477f597d28d172789f06886806bc55";
    let tag = folder.join("CACHEDIR.TAG");
    let tagged = || opened(&tag, signature.len()).is_ok_and(|(head, _)| head == signature);
    (tag.is_file() && tagged()).then_some(CACHE)
}

fn walk_error(error: &walkdir::Error, folder: &Path) -> Skipped {
    let path = error.path().unwrap_or(folder);
    match (error.loop_ancestor(), error.io_error()) {
        (Some(_), _) => Skipped::new(path, "a link to its own parent"),
        (None, Some(source)) if path.is_symlink() => {
            let reason = format!("{BROKEN_LINK}: {}", io_reason(source));
            if is_named_as_image(path) { Skipped::image(path, reason) } else { Skipped::other(path, reason) }
        }
        // What is in a folder that cannot be read is not known.
        (None, Some(source)) => Skipped::image(path, format!("cannot be read: {}", io_reason(source))),
        (None, None) => Skipped::other(path, error),
    }
}

/// The first bytes of a file, and the file from its beginning on.
fn opened(path: &Path, length: usize) -> Result<(Vec<u8>, File), DecodeError> {
    let (mut head, mut file) = (Vec::with_capacity(length), open_photo(path)?);
    file.by_ref().take(length as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok((head, file))
}

/// In lower case; empty where there is none.
fn extension_of(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_lowercase()
}

fn is_named_as_image(path: &Path) -> bool {
    let extension = extension_of(path);
    Format::ALL.iter().any(|format| format.extensions().contains(&extension.as_str()))
}

/// Why a file is not an image that can be read.
fn not_an_image(path: &Path) -> Option<Skipped> {
    let extension = extension_of(path);
    let is_document = DOCUMENTS.contains(&extension.as_str());
    let unreadable = |error: DecodeError| {
        let reason = error.to_string();
        if is_document { Skipped::new(path, reason) } else { Skipped::image(path, reason) }
    };
    let (head, file) = match opened(path, picture::MARK_LEN.max(MAGIC_LEN)) {
        Ok(opened) => opened,
        Err(error) => return Some(unreadable(error)),
    };
    if is_marked(&head) {
        return Some(Skipped::new(path, DRAWN));
    }
    match refused_image(path, &head, file) {
        None => None,
        Some(Refused::Foreign(error)) => Some(Skipped::image(path, error)),
        Some(Refused::Misnamed(reason)) => Some(Skipped::image(path, reason)),
        Some(Refused::Other) if is_document || extension.is_empty() && is_text(&head) => {
            Some(Skipped::new(path, "not an image"))
        }
        Some(Refused::Other) => Some(Skipped::other(path, "not an image")),
    }
}

/// Whether a file begins as a text does: `README`, `LICENSE`.
fn is_text(head: &[u8]) -> bool {
    // A character may be cut off at the end.
    let valid = head.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let control = |character: char| character.is_control() && !character.is_whitespace();
    valid.len() + 4 > head.len() && !valid.contains(control)
}

/// What other programs or Ocelli have made among photos, for people: what, and how often.
pub(crate) fn known_leftovers(skipped: &[Skipped]) -> Option<String> {
    let mut found: Vec<(String, usize)> = Vec::new();
    for Skipped { path, reason, .. } in skipped {
        let name = path.file_name().unwrap_or_default();
        let is_known = LEFT_BEHIND.iter().any(|(known, _)| name.eq_ignore_ascii_case(known));
        let what = match reason.as_str() {
            DRAWN => DRAWN.to_owned(),
            RUN | EVALUATION | CACHE => format!("{} ({reason})", names::text_of(name)),
            // Of no interest to anybody.
            _ if name == ".DS_Store" || !is_known => continue,
            _ => format!("{} ({reason})", names::text_of(name)),
        };
        match found.iter_mut().find(|(known, _)| *known == what) {
            Some((_, times)) => *times += 1,
            None => found.push((what, 1)),
        }
    }
    found.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let more = found.len().saturating_sub(6);
    let named = found.into_iter().take(6).map(|(what, times)| match times {
        1 => what,
        _ => format!("{times} × {what}"),
    });
    let mut named = named.collect::<Vec<_>>().join(", ");
    if more > 0 {
        named.push_str(&format!(" and {more} more"));
    }
    (!named.is_empty()).then(|| format!("left out: {named}"))
}
