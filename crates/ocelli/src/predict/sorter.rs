//! Photos in folders by predicted class, as copies or links. Photos are never moved, and nothing is overwritten.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ocelli_data::files;

use crate::error::{Error, Result};
use crate::model::prediction::Prediction;
use crate::predict::folder_names::{NO_CLASS, UNKNOWN, folder_names};
use crate::predict::resume::KeptRow;

/// How photos are put into folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Copies, each whole or not at all.
    Copy,
    /// Symbolic links to the photos' absolute paths. They take no space and work between file systems, they show
    /// what they are, and removing one removes no photo; they lead nowhere once the photo is moved.
    SymbolicLink,
}

/// Puts photos into folders by predicted class.
///
/// A photo goes into the folder of each of its predicted classes, under its own name, and where no class was
/// predicted into `_no-class`; one that is called unknown goes into `_unknown`, if that is
/// [asked for](Self::unknown). If another file has the name already, it becomes `a-2.jpg`, `a-3.jpg`, … A photo
/// that is there already, with the same name and content or as a link to the same file, is not placed again.
#[derive(Debug)]
pub struct PhotoSorter {
    folder: PathBuf,
    /// The folder, without links.
    real: PathBuf,
    placement: Placement,
    /// Whether photos that are called unknown have a folder of their own.
    unknown: bool,
    /// When this value was made: half-written files that are older are left by killed processes.
    created: SystemTime,
    /// Whether those are removed.
    is_swept: bool,
    classes: HashMap<String, String>,
    changed: Vec<(String, String)>,
    filled: HashMap<String, Filled>,
    /// How many files were placed.
    pub placed: usize,
    /// How many were there already.
    pub present: usize,
}

/// What is in a folder of a class.
#[derive(Debug, Default)]
struct Filled {
    /// What links lead to.
    links: HashSet<PathBuf>,
    names: HashMap<OsString, Taken>,
}

/// The files that stand for photos of one name: `a.jpg`, `a-2.jpg`, …
#[derive(Debug, Default)]
struct Taken {
    /// The highest number.
    last: u64,
    /// The numbers of files, by their sizes.
    by_size: HashMap<u64, Vec<u64>>,
}

impl PhotoSorter {
    /// Puts photos into folders below this one, which is created once it is needed. `photos` are the folders that
    /// photos are taken from.
    ///
    /// # Errors
    /// [`Error::SortFolder`] where it is a file, or one of `photos` is in it, or the other way round.
    pub fn new(
        folder: impl Into<PathBuf>,
        classes: &[String],
        placement: Placement,
        photos: &[&Path],
    ) -> Result<Self> {
        let folder = folder.into();
        let refused = |reason: String| Error::SortFolder { path: folder.clone(), reason };
        if folder.exists() && !folder.is_dir() {
            return Err(refused("it is no folder".to_owned()));
        }
        let real = real_path(&folder).map_err(Error::io("find", &folder))?;
        for photos in photos {
            let Ok(from) = photos.canonicalize() else { continue };
            if real.starts_with(&from) {
                let reason = format!("it is in {}, which the photos are taken from", photos.display());
                return Err(refused(reason));
            }
            if from.starts_with(&real) {
                let reason = format!("{}, which the photos are taken from, is in it", photos.display());
                return Err(refused(reason));
            }
        }
        let names = folder_names(classes);
        let pairs = || classes.iter().cloned().zip(names.iter().cloned());
        Ok(Self {
            real,
            placement,
            unknown: false,
            created: SystemTime::now(),
            is_swept: false,
            changed: pairs().filter(|(class, name)| class != name).collect(),
            classes: pairs().collect(),
            filled: HashMap::new(),
            placed: 0,
            present: 0,
            folder,
        })
    }

    /// Whether photos that are called unknown go into `_unknown` instead of the folder of a class; default: no.
    pub fn unknown(self, unknown: bool) -> Self {
        Self { unknown, ..self }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Classes whose folder has another name, since theirs is not safe as one, with that name.
    pub fn changed_names(&self) -> &[(String, String)] {
        &self.changed
    }

    /// Places the photo of a prediction.
    ///
    /// # Errors
    /// [`Error::Photo`] where the photo cannot be read; where the folder cannot be written; [`Error::SortFolder`]
    /// where the photo is in the folder.
    pub fn place(&mut self, prediction: &Prediction) -> Result<()> {
        let labels: Vec<String> =
            prediction.predicted_labels().into_iter().map(|label| label.class).collect();
        let unknown = prediction.unknown.is_some_and(|unknown| unknown.is_unknown());
        self.place_as(&prediction.path, &labels, unknown)
    }

    /// Places the photo of a row that was kept, as the row says; nothing, if it could not be read then.
    ///
    /// # Errors
    /// Those of [`place`](Self::place); [`Error::Photo`] also for a row with a class that the model has not.
    pub fn place_kept(&mut self, row: &KeptRow) -> Result<()> {
        match row.failed {
            true => Ok(()),
            false => self.place_as(&row.path, &row.labels, row.unknown),
        }
    }

    fn place_as(&mut self, photo: &Path, labels: &[String], unknown: bool) -> Result<()> {
        let refused = |reason: String| Error::Photo { path: photo.to_owned(), reason };
        let unread = |error: io::Error| refused(ocelli_data::io_reason(&error));
        let real = photo.canonicalize().map_err(unread)?;
        if self.placement == Placement::Copy {
            File::open(&real).map_err(unread)?;
        }
        if real.starts_with(&self.real) {
            let reason = format!("the photo {} is in it", photo.display());
            return Err(Error::SortFolder { path: self.folder.clone(), reason });
        }
        let of_class = |label: &String| {
            let folder = self.classes.get(label).cloned();
            folder.ok_or_else(|| refused(format!("the model has no class \"{label}\"")))
        };
        let folders: Vec<String> = match (self.unknown && unknown, labels) {
            (true, _) => vec![UNKNOWN.to_owned()],
            (false, []) => vec![NO_CLASS.to_owned()],
            (false, labels) => labels.iter().map(of_class).collect::<Result<_>>()?,
        };
        self.sweep();
        for folder in folders {
            match self.place_in(&folder, photo, &real)? {
                true => self.placed += 1,
                false => self.present += 1,
            }
        }
        Ok(())
    }

    /// Removes the half-written copies of killed processes, once.
    fn sweep(&mut self) {
        if !std::mem::replace(&mut self.is_swept, true) {
            let age = self.created.elapsed().unwrap_or_default();
            for name in self.classes.values().map(String::as_str).chain([NO_CLASS, UNKNOWN]) {
                files::sweep(self.folder.join(name), age);
            }
        }
    }

    /// Places a photo in the folder of a class; `false` if it is there.
    fn place_in(&mut self, name: &str, photo: &Path, real: &Path) -> Result<bool> {
        let folder = self.folder.join(name);
        if !self.filled.contains_key(name) {
            files::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            let filled = Filled::read(&folder).map_err(Error::io("list", &folder))?;
            self.filled.insert(name.to_owned(), filled);
        }
        let filled = self.filled.get_mut(name).expect("it was just read");
        let file_name = photo.file_name().unwrap_or(OsStr::new("photo"));
        let size = match self.placement {
            Placement::SymbolicLink if filled.links.contains(real) => return Ok(false),
            Placement::SymbolicLink => 0,
            Placement::Copy => real.metadata().map_err(Error::io("read", photo))?.len(),
        };
        let taken = filled.names.entry(file_name.to_owned()).or_default();
        if self.placement == Placement::Copy {
            for &number in taken.by_size.get(&size).into_iter().flatten() {
                let other = folder.join(numbered(file_name, number));
                if is_same(&other, photo).map_err(Error::io("compare", &other))? {
                    return Ok(false);
                }
            }
        }
        // Names may be taken by files of other photos' names, and on systems that do not tell upper from lower
        // case by those, too.
        loop {
            taken.last += 1;
            let target = folder.join(numbered(file_name, taken.last));
            let placed = match self.placement {
                Placement::Copy => copy(photo, &target),
                Placement::SymbolicLink => link(real, &target),
            };
            match placed {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                placed => {
                    let action = if self.placement == Placement::Copy { "write" } else { "link" };
                    placed.map_err(Error::io(action, &target))?;
                    break;
                }
            }
        }
        taken.by_size.entry(size).or_default().push(taken.last);
        filled.links.insert(real.to_owned());
        Ok(true)
    }
}

impl Filled {
    fn read(folder: &Path) -> io::Result<Self> {
        let mut filled = Self::default();
        for path in files::list(folder)? {
            let Some(name) = path.file_name() else { continue };
            if let Ok(to) = path.read_link() {
                filled.links.insert(to);
            }
            // What cannot be looked at only takes a name.
            let size = path.metadata().map_or(u64::MAX, |metadata| metadata.len());
            filled.add(name, 1, size);
            if let Some((first, number)) = unnumbered(name) {
                filled.add(&first, number, size);
            }
        }
        Ok(filled)
    }

    /// Notes that a photo of this name has this number. A first name that is free is used nonetheless, since the
    /// search for a free one begins after the last number only.
    fn add(&mut self, name: &OsStr, number: u64, size: u64) {
        let taken = self.names.entry(name.to_owned()).or_default();
        taken.by_size.entry(size).or_default().push(number);
        // a-2.jpg may be the own name of a photo while a.jpg is free.
        if number == taken.last + 1 {
            taken.last = number;
        }
    }
}

/// `a.jpg`, `a-2.jpg`
fn numbered(name: &OsStr, number: u64) -> OsString {
    if number == 1 {
        return name.to_owned();
    }
    let path = Path::new(name);
    let mut numbered = path.file_stem().unwrap_or_default().to_owned();
    numbered.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        numbered.push(".");
        numbered.push(extension);
    }
    numbered
}

/// The name that a numbered name may be made of, and its number.
fn unnumbered(name: &OsStr) -> Option<(OsString, u64)> {
    let path = Path::new(name);
    let (stem, number) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let number = number.parse().ok().filter(|&number| number >= 2)?;
    let mut first = OsString::from(stem);
    if let Some(extension) = path.extension() {
        first.push(".");
        first.push(extension);
    }
    (numbered(&first, number) == name).then_some((first, number))
}

/// Copies a file, whole or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let mut source = File::open(from)?;
    let mut target = files::temporary(to)?;
    io::copy(&mut source, target.as_file_mut())?;
    let target = target.persist_noclobber(to).map_err(|error| error.error)?;
    // Viewers and cameras' programs sort photos by this time.
    if let Ok(modified) = source.metadata().and_then(|metadata| metadata.modified()) {
        let _ = target.set_modified(modified);
    }
    Ok(())
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(windows)]
fn link(to: &Path, at: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(to, at)
}

#[cfg(not(any(unix, windows)))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::new(ErrorKind::Unsupported, "there are no symbolic links on this system; copy instead"))
}

/// Whether two files have the same content. A link is not a copy.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    if one.symlink_metadata()?.file_type().is_symlink() {
        return Ok(false);
    }
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let length = fill(&mut one, &mut left)?;
        if length != fill(&mut other, &mut right)? || left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// Reads until a buffer is full, or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// A path without links, of which the last parts may not exist yet.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    for existing in absolute.ancestors() {
        if let Ok(real) = existing.canonicalize() {
            let rest = absolute.strip_prefix(existing).expect("it is an ancestor");
            return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
        }
    }
    Ok(absolute)
}
