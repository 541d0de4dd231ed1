//! Fault injection for tests: with `OCELLI_FAULT=K:KIND` in the environment the K-th step of the files layer,
//! counted from 1, fails. Without the variable this costs one comparison per step.
//!
//! | kind | what happens |
//! |---|---|
//! | `eio` | the step fails once, as on a failing disk |
//! | `enospc` | from this step on, nothing can be created or written: the disk is full |
//! | `short` | half of the bytes are written, then the step fails; other steps fail as with `eio` |
//! | `kill` | the process ends at once, within a write after half of it |
//! | `power` | as `kill`, and what was not synced is lost: half of written content, renames, removals |
//!
//! `OCELLI_FAULT=log:PATH` makes no step fail, and logs each to that file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Open,
    Create,
    Read,
    Write,
    Sync,
    Rename,
    Remove,
    List,
    Folder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Eio,
    Enospc,
    Short,
    Kill,
    Power,
    Log,
}

struct Plan {
    kind: Kind,
    /// The step, from 1.
    at: u64,
    /// Steps so far.
    count: AtomicU64,
    log: Option<Mutex<File>>,
    /// What is not synced yet, oldest first.
    unforced: Mutex<Vec<Unforced>>,
}

/// Something that a power cut undoes.
enum Unforced {
    /// Content, and where it began.
    Content { path: PathBuf, from: u64 },
    /// A name that was given or removed, and its file before.
    Name { path: PathBuf, before: Option<Vec<u8>> },
}

/// The exit status of a killed process, as in a shell.
const KILLED: i32 = 137;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| {
    let text = std::env::var("OCELLI_FAULT").ok()?;
    let (first, second) = text.split_once(':')?;
    let (kind, at) = match second {
        _ if first == "log" => (Kind::Log, 0),
        "eio" => (Kind::Eio, first.parse().ok()?),
        "enospc" => (Kind::Enospc, first.parse().ok()?),
        "short" => (Kind::Short, first.parse().ok()?),
        "kill" => (Kind::Kill, first.parse().ok()?),
        "power" => (Kind::Power, first.parse().ok()?),
        _ => return None,
    };
    let log = (kind == Kind::Log).then(|| File::create(second).ok().map(Mutex::new)).flatten();
    Some(Plan { kind, at, count: AtomicU64::new(0), log, unforced: Mutex::default() })
});

/// The fate of a step.
enum Fate {
    Good,
    Fails(i32),
    /// Half done; the process continues or not.
    Half(bool),
}

impl Plan {
    fn fate(&self, step: Step, path: &Path) -> Fate {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(log) = &self.log {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(log, "{number} {step:?} {}", path.display());
        }
        let takes_room = matches!(step, Step::Create | Step::Write | Step::Folder);
        match self.kind {
            Kind::Enospc if number >= self.at && takes_room => Fate::Fails(ENOSPC),
            Kind::Eio if number == self.at => Fate::Fails(EIO),
            Kind::Short if number == self.at && step == Step::Write => Fate::Half(true),
            Kind::Short if number == self.at => Fate::Fails(EIO),
            Kind::Kill | Kind::Power if number == self.at && step == Step::Write => Fate::Half(false),
            Kind::Kill | Kind::Power if number == self.at => self.end(),
            _ => Fate::Good,
        }
    }

    /// Ends the process.
    fn end(&self) -> ! {
        let mut unforced = self.unforced.lock().unwrap_or_else(PoisonError::into_inner);
        for lost in unforced.drain(..).rev() {
            let _ = match lost {
                Unforced::Content { path, from } => half(&path, from),
                Unforced::Name { path, before: Some(bytes) } => fs::write(path, bytes),
                Unforced::Name { path, before: None } => fs::remove_file(path),
            };
        }
        std::process::exit(KILLED)
    }

    fn note(&self, lost: Unforced) {
        if self.kind == Kind::Power {
            self.unforced.lock().unwrap_or_else(PoisonError::into_inner).push(lost);
        }
    }

    fn forced(&self, is: impl Fn(&Unforced) -> bool) {
        self.unforced.lock().unwrap_or_else(PoisonError::into_inner).retain(|lost| !is(lost));
    }
}

/// Cuts off half of what was appended to a file.
fn half(path: &Path, from: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let length = file.metadata()?.len();
    file.set_len(from + length.saturating_sub(from) / 2)
}

/// A step that may fail.
pub fn step(step: Step, path: &Path) -> io::Result<()> {
    let Some(plan) = &*PLAN else { return Ok(()) };
    match plan.fate(step, path) {
        Fate::Fails(code) => Err(io::Error::from_raw_os_error(code)),
        _ => Ok(()),
    }
}

/// Writes to a file.
pub fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(plan) = &*PLAN else { return file.write_all(bytes) };
    let metadata = file.metadata()?;
    // What a device or a pipe was given cannot be lost again.
    if metadata.is_file() {
        plan.note(Unforced::Content { path: path.to_owned(), from: metadata.len() });
    }
    match plan.fate(Step::Write, path) {
        Fate::Good => file.write_all(bytes),
        Fate::Fails(code) => Err(io::Error::from_raw_os_error(code)),
        Fate::Half(goes_on) => {
            file.write_all(&bytes[..bytes.len() / 2])?;
            if goes_on { Err(io::Error::from_raw_os_error(ENOSPC)) } else { plan.end() }
        }
    }
}

/// Before a file's content is synced.
pub fn sync(path: &Path) -> io::Result<()> {
    step(Step::Sync, path)?;
    if let Some(plan) = &*PLAN {
        plan.forced(|lost| matches!(lost, Unforced::Content { path: of, .. } if of == path));
    }
    Ok(())
}

/// Before a folder's names are synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    step(Step::Sync, folder)?;
    if let Some(plan) = &*PLAN {
        plan.forced(|lost| matches!(lost, Unforced::Name { path, .. } if super::folder_of(path) == folder));
    }
    Ok(())
}

/// Before a file is renamed.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(Step::Rename, to)?;
    if let Some(plan) = &*PLAN {
        let unforced = plan.kind == Kind::Power;
        // Content that was not synced is lost with its file.
        let mut lost = plan.unforced.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in lost.iter_mut() {
            if let Unforced::Content { path, .. } = entry
                && path == from
            {
                to.clone_into(path);
            }
        }
        drop(lost);
        if unforced {
            plan.note(Unforced::Name { path: to.to_owned(), before: fs::read(to).ok() });
        }
    }
    Ok(())
}

/// Before a file is removed.
pub fn remove(path: &Path) -> io::Result<()> {
    step(Step::Remove, path)?;
    if let Some(plan) = &*PLAN
        && plan.kind == Kind::Power
    {
        plan.note(Unforced::Name { path: path.to_owned(), before: fs::read(path).ok() });
    }
    Ok(())
}
