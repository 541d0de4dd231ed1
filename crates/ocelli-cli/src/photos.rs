//! Photos that are named on the command line: files, folders of them, and paths on standard input.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use ocelli::{Found, PathSet, photos_in};

use crate::errors::Failure;
use crate::output::{eprintln, is_dash, no_photos};
use crate::text::counted;

const BINARY: &str = "it holds a photo or other binary data, where paths of photos are expected, one per line (with --null, \
                      each ended by a zero byte); save the photo as a file and give its name";

/// The most paths of standard input that are waiting.
pub const AT_ONCE: usize = 1024;

/// Finds the photos at paths, each once.
#[derive(Default)]
pub struct PhotoFinder {
    found: PathSet,
    /// How many photos were named again.
    repeated: usize,
}

impl PhotoFinder {
    /// The photos at a path, and other files beside them, without those that were found before.
    ///
    /// # Errors
    /// As [`photos_of`].
    pub fn find(&mut self, path: &Path) -> Result<Found, Failure> {
        let mut found = photos_of(path)?;
        found.photos.retain(|photo| self.is_new(photo, true));
        found.skipped.retain(|skipped| self.is_new(&skipped.path, !skipped.is_usual));
        Ok(found)
    }

    fn is_new(&mut self, path: &Path, counts: bool) -> bool {
        // `photos`, `./photos` and the absolute path name the same; links are files of their own.
        let is_new = match std::path::absolute(path) {
            Ok(absolute) => self.found.insert(&absolute),
            Err(_) => self.found.insert(path),
        };
        self.repeated += usize::from(counts && !is_new);
        is_new
    }

    /// Says how many photos were named again.
    pub fn print_repeated(&self) {
        if self.repeated > 0 {
            let photos = counted(self.repeated, "photo");
            eprintln!("note: {photos} named more than once, taken once");
        }
    }
}

/// The photos at a path: the file itself, or those of a folder, and what else is in it.
///
/// # Errors
/// Where a folder has none, or cannot be listed.
pub fn photos_of(path: &Path) -> Result<Found, Failure> {
    if !path.is_dir() {
        return Ok(Found { photos: vec![path.to_owned()], skipped: Vec::new() });
    }
    let found = photos_in(path)?;
    if found.photos.is_empty() && found.skipped.iter().all(|skipped| skipped.is_usual) {
        return Err(no_photos(path, &found.skipped));
    }
    Ok(found)
}

/// The photos at some paths.
#[derive(Default)]
pub struct NamedPhotos {
    /// In the order of the paths, those of a folder sorted. Files that look like photos and cannot be read are
    /// among them, so that each is listed with its reason when it is read.
    pub photos: Vec<PathBuf>,
    /// The folders among the paths.
    pub folders: Vec<PathBuf>,
    /// Folders that have no photos or cannot be listed, which has been said.
    unusable: usize,
}

impl NamedPhotos {
    /// At the end of the work: fails if a folder could not be used.
    pub fn conclude(&self) -> Result<(), Failure> {
        if self.unusable > 0 { Err(Failure::Printed) } else { Ok(()) }
    }
}

/// The photos at these paths, each once; `-` stands for paths on standard input, one per line.
///
/// # Errors
/// Where there are none, or standard input cannot be read; of a single path as [`photos_of`].
pub fn photos_at(paths: &[PathBuf]) -> Result<NamedPhotos, Failure> {
    let mut all = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        if !is_dash(path) {
            all.push(path.clone());
        } else if !paths[..number].iter().any(|path| is_dash(path)) {
            for path in paths_on_standard_input(b'\n') {
                all.push(path.map_err(unread)?);
            }
        }
    }
    if all.is_empty() {
        return Err(Failure::Error("standard input: no paths of photos, expected one per line".to_owned()));
    }
    let (mut finder, mut named) = (PhotoFinder::default(), NamedPhotos::default());
    for path in &all {
        match finder.find(path) {
            Ok(Found { mut photos, skipped }) => {
                if path.is_dir() {
                    named.folders.push(path.clone());
                }
                photos.extend(
                    skipped.into_iter().filter(|skipped| !skipped.is_usual).map(|skipped| skipped.path),
                );
                photos.sort();
                named.photos.extend(photos);
            }
            Err(Failure::Error(message)) if all.len() > 1 => {
                eprintln!("{message}");
                named.unusable += 1;
            }
            Err(failure) => return Err(failure),
        }
    }
    finder.print_repeated();
    match named.photos.is_empty() {
        true => Err(Failure::Error(format!("none of these {} has photos", counted(all.len(), "folder")))),
        false => Ok(named),
    }
}

/// The failure if standard input cannot be read.
pub fn unread(error: io::Error) -> Failure {
    Failure::Error(format!("standard input: {}", ocelli::io_reason(&error)))
}

/// The paths on standard input as they arrive, without empty ones, as bytes; each ends with this byte.
pub fn paths_on_standard_input(end: u8) -> Receiver<io::Result<PathBuf>> {
    let (send, lines) = sync_channel(AT_ONCE);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        // No path contains a zero byte, and none begins like JPEG and PNG files.
        let is_binary = input.fill_buf().is_ok_and(|bytes| match end {
            b'\n' => bytes.contains(&b'\0'),
            _ => bytes.starts_with(b"\xff\xd8\xff") || bytes.starts_with(b"\x89PNG"),
        });
        for line in input.split(end) {
            let path = line.and_then(|mut line| {
                if is_binary || line.contains(&b'\0') {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, BINARY));
                }
                if end == b'\n' && line.last() == Some(&b'\r') {
                    line.pop();
                }
                Ok(path_of(line))
            });
            let is_empty = path.as_ref().is_ok_and(|path| path.as_os_str().is_empty());
            if !is_empty && send.send(path).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// Where paths are not bytes, a line that is not text is not a path: it names no file.
#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}
