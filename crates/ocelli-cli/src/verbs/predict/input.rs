//! Which photos: from arguments, folders and standard input.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use ocelli::{Found, Skipped};

use crate::errors::Failure;
use crate::interrupt;
use crate::output::{eprintln, is_dash, message, shown};
use crate::photos::{AT_ONCE, paths_on_standard_input, unread};
use crate::text::count;

pub const NOTHING_GIVEN: &str =
    "no photos: name files or folders, or write paths to standard input, one per line";

/// The most common non-photo files that are listed.
const LISTED: usize = 5;

/// Checks that photos are named, or come from standard input; `--null` is for the latter.
pub fn check(photos: &[PathBuf], null: bool) -> Result<(), Failure> {
    if photos.is_empty() && io::stdin().is_terminal() {
        return Err(Failure::Error(NOTHING_GIVEN.to_owned()));
    }
    if null && !photos.is_empty() && !photos.iter().any(|path| is_dash(path)) {
        let message =
            "--null is for paths from standard input, and only photos are named; add -, or remove it";
        return Err(Failure::Error(message.to_owned()));
    }
    Ok(())
}

/// Photos to predict, and the other files beside them.
#[derive(Default)]
pub struct Photos {
    pub photos: Vec<PathBuf>,
    pub skipped: Vec<Skipped>,
}

impl Photos {
    pub fn add(&mut self, found: Found) {
        self.photos.extend(found.photos);
        self.skipped.extend(found.skipped);
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
        Self { lines: paths_on_standard_input(if null { b'\0' } else { b'\n' }), count: 0 }
    }

    /// The paths that have arrived, at least one: more may take long. `None` at the end.
    pub fn next_paths(&mut self) -> Result<Option<Vec<PathBuf>>, Failure> {
        let Some(first) = self.wait()? else { return Ok(None) };
        let lines = std::iter::once(first).chain(self.lines.try_iter().take(AT_ONCE - 1));
        let paths = lines.collect::<io::Result<Vec<PathBuf>>>().map_err(unread)?;
        self.count += paths.len();
        Ok(Some(paths))
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
