//! Where photos are: those in a folder, those that a run was trained on, and where nothing is written.

use std::collections::{HashSet, VecDeque};
use std::path::{Component, Path, PathBuf};

use ocelli_data::{Digest, Items, Skipped, source, unescape_formula};

use crate::training::Config;
use crate::{Error, Result};

/// What is in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// All images, sorted.
    pub photos: Vec<PathBuf>,
    /// Everything else, with the reason why it is none.
    pub skipped: Vec<Skipped>,
}

/// All images below a folder, and what is left out there: what is meant as an image and cannot be read, and everything
/// else, hidden files and folders among it.
///
/// # Errors
/// Where the folder cannot be read.
pub fn photos_in(folder: impl AsRef<Path>) -> Result<Found> {
    let folder = folder.as_ref();
    std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let found = source::list::read([folder])?;
    Ok(Found {
        photos: found.items.items.into_iter().map(|item| item.path).collect(),
        skipped: found.skipped,
    })
}

/// Where output of this name goes that nobody has given a place: into the working folder, or, where that lies in one of
/// these folders of photos, beside that folder. The second value is a sentence about that.
///
/// # Errors
/// Where there is no place beside it: at the root of a file system, as a container's mounts are.
pub fn outside(name: impl AsRef<Path>, photos: &[&Path]) -> Result<(PathBuf, Option<String>)> {
    let name = name.as_ref();
    let here = || Ok((name.to_owned(), None));
    let Ok(working) = std::env::current_dir().and_then(|folder| folder.canonicalize()) else { return here() };
    let real = photos.iter().filter_map(|folder| match folder.as_os_str().is_empty() {
        true => Some(working.clone()),
        false => folder.canonicalize().ok(),
    });
    // The outermost of them.
    let around =
        real.filter(|folder| working.starts_with(folder)).min_by_key(|folder| folder.components().count());
    let Some(mut around) = around else { return here() };
    // Beside a part of a split there are the others.
    while is_part_of_split(&around) {
        around.pop();
    }
    match around.parent() {
        Some(beside) if is_same_device(beside, &around) => {}
        _ => {
            return Err(Error::State {
                found: format!(
                    "the working folder lies among the photos in {}, where nothing is written unasked, and there is no \
                     place beside them",
                    around.display()
                ),
                advice: "name a place for the results (--out)",
            });
        }
    }
    let levels = working.components().count() - around.components().count() + 1;
    let place = std::iter::repeat_n(Component::ParentDir.as_os_str(), levels).collect::<PathBuf>().join(name);
    let said = format!(
        "the working folder lies among photos, where nothing is written unasked: see {}",
        place.display()
    );
    Ok((place, Some(said)))
}

/// Whether a folder is called as a part of a split, and another one beside it, too.
fn is_part_of_split(folder: &Path) -> bool {
    let beside = || folder.parent().into_iter().flat_map(std::fs::read_dir).flatten().flatten();
    source::is_split_name(folder)
        && beside()
            .map(|entry| entry.path())
            .any(|other| other != folder && source::is_split_name(&other) && other.is_dir())
}

/// What is written on another file system than the photos' may be gone with it, as in a container.
#[cfg(unix)]
fn is_same_device(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    device(one) == device(other)
}

#[cfg(not(unix))]
fn is_same_device(_: &Path, _: &Path) -> bool {
    true
}

/// The photos that a run was trained on.
#[derive(Debug, Clone)]
pub(crate) struct TrainedOn {
    /// Their ids are relative to this folder.
    root: PathBuf,
    /// Their ids.
    ids: HashSet<String>,
}

/// The folder of photos that the run of a model, or that in this folder, was trained on, or the folder of its table;
/// `None` where nothing tells.
pub fn photos_of_run(model: impl AsRef<Path>) -> Option<PathBuf> {
    let model = model.as_ref();
    let run = if model.is_dir() { model } else { model.parent()? };
    let text = std::fs::read_to_string(run.join("config.toml")).ok()?;
    toml::from_str::<Config>(&text).ok().map(|config| folder_of(&config))
}

fn folder_of(config: &Config) -> PathBuf {
    let data = config.directory.join(&config.settings.data);
    match config.settings.table.as_ref().map(|table| &table.folder) {
        None => data,
        Some(Some(folder)) => config.directory.join(folder),
        Some(None) if data.is_dir() => data,
        Some(None) => data.parent().unwrap_or(&data).to_owned(),
    }
}

impl TrainedOn {
    /// As a run's folder tells; `None` where it does not.
    pub(crate) fn of_run(run: &Path) -> Result<Option<Self>> {
        let (config, split) = (run.join("config.toml"), run.join("split.csv"));
        if !(config.is_file() && split.is_file()) {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&config).map_err(Error::io("read", &config))?;
        let config: Config = toml::from_str(&text)
            .map_err(|error| Error::Settings { path: config.clone(), reason: error.message().to_owned() })?;
        let bytes = std::fs::read(&split).map_err(Error::io("read", &split))?;
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let mut ids = HashSet::new();
        for row in reader.records() {
            let row = row.map_err(|error| Error::State {
                found: format!("{}: {error}", split.display()),
                advice: "it is the table of a run; give another model, or take this file away",
            })?;
            if row.get(1) == Some("train") {
                ids.insert(unescape_formula(row.get(0).unwrap_or_default()).to_owned());
            }
        }
        // Photos that are gone are not measured either.
        Ok(root_of(&folder_of(&config), &ids).map(|root| Self { root, ids }))
    }

    /// Those of the items at `indices`, with these digests, that the run was trained on: the same files, through links or
    /// not, and their copies.
    pub(crate) fn those_among(&self, items: &Items, digests: &[Digest], indices: &[usize]) -> HashSet<usize> {
        let root = items.root.canonicalize().unwrap_or_else(|_| items.root.clone());
        let is_trained_on = |item: &usize| {
            let path = &items[*item].path;
            let inside = path.strip_prefix(&items.root).map(|inside| root.join(inside)).ok();
            let paths = inside.into_iter().chain(path.canonicalize());
            paths
                .filter_map(|path| {
                    path.strip_prefix(&self.root).map(|id| source::id_of(Path::new(""), id)).ok()
                })
                .any(|id| self.ids.contains(&id))
        };
        let (mut seen, others): (HashSet<usize>, Vec<usize>) = {
            let (seen, others): (Vec<usize>, Vec<usize>) =
                indices.iter().partition(|item| is_trained_on(item));
            (seen.into_iter().collect(), others)
        };
        // Only files of the same length can be copies.
        let length = |path: &Path| std::fs::metadata(path).map(|file| file.len()).ok();
        let lengths: HashSet<u64> = others.iter().filter_map(|&item| length(&items[item].path)).collect();
        let trained = self.ids.iter().map(|id| self.root.join(id));
        let may_be = trained.filter(|path| length(path).is_some_and(|length| lengths.contains(&length)));
        let contents: HashSet<Digest> = may_be
            .filter_map(|path| {
                let mut hasher = blake3::Hasher::new();
                hasher.update_reader(std::fs::File::open(path).ok()?).ok()?;
                Some(*hasher.finalize().as_bytes())
            })
            .collect();
        seen.extend(others.into_iter().filter(|&item| contents.contains(&digests[item])));
        seen
    }
}

/// Folders that are looked into for the one that ids begin in.
const LOOKED_INTO: usize = 1000;

/// Where in a folder the ids begin: in it, or in the folder in it that was entered.
fn root_of(folder: &Path, ids: &HashSet<String>) -> Option<PathBuf> {
    let some: Vec<&String> = ids.iter().take(20).collect();
    let mut waiting = VecDeque::from([folder.canonicalize().ok()?]);
    for _ in 0..LOOKED_INTO {
        let folder = waiting.pop_front()?;
        if some.iter().any(|id| folder.join(id).exists()) {
            return Some(folder);
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut inside: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        inside.sort();
        waiting.extend(inside);
    }
    None
}
