//! Which photos: from arguments, folders and standard input.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use ocelli::{Found, Skipped, photos_in};

use crate::errors::Failure;
use crate::interrupt;
use crate::output::{eprintln, message, no_photos, shown};
use crate::text::count;

pub const NOTHING_GIVEN: &str =
    "no photos: name files or folders, or write paths to standard input, one per line";

const BINARY: &str = "it holds a photo or other binary data, where paths of photos are expected, one per line (with --null, \
                      each ended by a zero byte); save the photo as a file and give its name";

/// The most paths of standard input that are predicted at once.
const AT_ONCE: usize = 1024;
/// The most common non-photo files that are listed.
const LISTED: usize = 5;

/// Whether paths come from standard input.
pub fn reads_standard_input(photos: &[PathBuf], null: bool) -> Result<bool, Failure> {
    if photos.is_empty() && io::stdin().is_terminal() {
        return Err(Failure::Error(NOTHING_GIVEN.to_owned()));
    }
    let reads = photos.is_empty() || photos == [PathBuf::from("-")];
    if null && !reads {
        let message = "--null is for paths from standard input, and photos are named too; remove one of both";
        return Err(Failure::Error(message.to_owned()));
    }
    Ok(reads)
}

/// Photos to predict, and the other files beside them.
#[derive(Default)]
pub struct Photos {
    pub photos: Vec<PathBuf>,
    pub skipped: Vec<Skipped>,
}

impl Photos {
    /// Adds a file, or the photos in a folder.
    pub fn add(&mut self, path: &Path) -> Result<(), Failure> {
        if !path.is_dir() {
            self.photos.push(path.to_owned());
            return Ok(());
        }
        let Found { photos, skipped } = photos_in(path)?;
        if photos.is_empty() && skipped.iter().all(|skipped| skipped.is_usual) {
            return Err(no_photos(path, &skipped));
        }
        self.photos.extend(photos);
        self.skipped.extend(skipped);
        Ok(())
    }

    /// Lists the first common non-photo files.
    pub fn print_usual(&self) {
        let usual: Vec<&Skipped> = self.skipped.iter().filter(|skipped| skipped.is_usual).collect();
        if !usual.is_empty() {
            let name = |skipped: &&Skipped| {
                format!("{} ({})", shown(skipped.path.display()), message(&skipped.reason))
            };
            let mut listed: Vec<String> = usual.iter().take(LISTED).map(name).collect();
            if usual.len() > LISTED {
                listed.push(format!("and {} more", count(usual.len() - LISTED)));
            }
            eprintln!("skipped, not photos: {}", listed.join(", "));
        }
    }
}

/// The paths on standard input as they arrive.
pub struct StandardInput {
    lines: Receiver<io::Result<PathBuf>>,
    /// Paths so far.
    pub count: usize,
}

impl StandardInput {
    /// With `null`, paths end with a zero byte, else with their line.
    pub fn new(null: bool) -> Self {
        Self { lines: standard_input(if null { b'\0' } else { b'\n' }), count: 0 }
    }

    /// The photos of the paths that have arrived, at least one: more may take long. `None` at the end.
    pub fn next_photos(&mut self) -> Result<Option<Photos>, Failure> {
        let Some(first) = self.wait()? else { return Ok(None) };
        let mut photos = Photos::default();
        for line in std::iter::once(first).chain(self.lines.try_iter().take(AT_ONCE - 1)) {
            let path = line
                .map_err(|error| Failure::Error(format!("standard input: {}", ocelli::io_reason(&error))))?;
            self.count += 1;
            photos.add(&path)?;
        }
        Ok(Some(photos))
    }

    /// The next path, which may take long; meanwhile a signal still ends the process.
    fn wait(&self) -> Result<Option<io::Result<PathBuf>>, Failure> {
        loop {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(path) => return Ok(Some(path)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if interrupt::asked() => return Err(Failure::Interrupted),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// The paths on standard input as they arrive, without empty ones, as bytes.
fn standard_input(end: u8) -> Receiver<io::Result<PathBuf>> {
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
