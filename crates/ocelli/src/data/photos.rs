//! Finding photos: those in a folder, those that a run was trained on; and where nothing must be written.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use ocelli_data::inspect::images_that_look_like;
use ocelli_data::{Digest, Items, LoaderOptions, Skipped, source, stem_of, text_of};

use crate::data::notices;
use crate::data::recorded::{self, Recorded};
use crate::error::{Error, Result};
use crate::paths::is_file;
use crate::run::config::photos_of_run;
use crate::spread::spread;

/// The content of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// All images, sorted.
    pub photos: Vec<PathBuf>,
    /// Everything else, with the reason why it is not an image.
    pub skipped: Vec<Skipped>,
}

/// All images below a folder, and everything else in it: unreadable images, other files, hidden files and
/// folders.
///
/// # Errors
/// Where the folder cannot be read.
pub fn photos_in(folder: impl AsRef<Path>) -> Result<Found> {
    let folder = folder.as_ref();
    std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let (photos, skipped) = source::list::images_below(folder);
    Ok(Found { photos, skipped })
}

/// The default path for output of this name: in the working folder, or, if that is in one of these folders of
/// photos, beside that folder. The second value is a notice about that.
///
/// # Errors
/// Where it cannot be beside the folder: at the root of a file system, as with a container's mounts.
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
    // Beside a part of a split are its other parts.
    while is_part_of_split(&around) {
        around.pop();
    }
    match around.parent() {
        Some(beside) if is_same_device(beside, &around) => {}
        _ => {
            let reason = format!(
                "the working folder lies among the photos in {}, where nothing is written unasked, and there is no \
                 folder beside them to write to",
                around.display()
            );
            return Err(Error::OutputPath { path: name.to_owned(), reason });
        }
    }
    let levels = working.components().count() - around.components().count() + 1;
    let path = std::iter::repeat_n(Component::ParentDir.as_os_str(), levels).collect::<PathBuf>().join(name);
    let notice = format!(
        "the working folder lies among photos, where nothing is written unasked: see {}",
        path.display()
    );
    Ok((path, Some(notice)))
}

/// Whether a folder has the name of a part of a split, and another one beside it as well.
fn is_part_of_split(folder: &Path) -> bool {
    let beside = || folder.parent().into_iter().flat_map(std::fs::read_dir).flatten().flatten();
    source::is_split_name(folder)
        && beside()
            .map(|entry| entry.path())
            .any(|other| other != folder && source::is_split_name(&other) && other.is_dir())
}

/// Files on another file system than the photos' may be lost, as in a container.
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

/// The photos that a run was trained on, recognised by content, wherever they are and whatever their names.
#[derive(Debug, Clone)]
pub(crate) struct TrainedOn {
    digests: HashSet<Digest>,
    /// Their names, from [`folder`](Self::folder) on, or as in a table.
    ids: Vec<String>,
    /// The folder that they were in; `None` if it is not known.
    folder: Option<PathBuf>,
}

/// The most training photos that others are looked at beside, and the most others: some seconds.
const MOST_LOOKED_AT: [usize; 2] = [5000, 2000];

impl TrainedOn {
    /// From a run's folder; `None` if it does not record them.
    pub(crate) fn of_run(run: &Path) -> Result<Option<Self>> {
        match is_file(&run.join(recorded::FILE))? {
            true => {
                let recorded = Recorded::read(run, true)?;
                let (ids, digests) = recorded.trained_on().unzip();
                Ok(Some(Self { digests, ids, folder: photos_of_run(run) }))
            }
            false => Ok(None),
        }
    }

    /// Whether the run was trained on a photo of this digest.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }

    /// The items at `indices`, with these digests, that the run was trained on, or copies of them.
    pub(crate) fn those_among(&self, digests: &[Digest], indices: &[usize]) -> HashSet<usize> {
        indices.iter().copied().filter(|&item| self.has(&digests[item])).collect()
    }

    /// A warning where some of the items at `indices` look like a photo that the run was trained on; `None` where none
    /// does, and where those photos are not where they were.
    pub(crate) fn look_alikes(
        &self,
        items: &Items,
        indices: &[usize],
        loading: &LoaderOptions,
    ) -> Result<Option<String>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let by_name = ByName::of(folder);
        let trained: Vec<(&str, PathBuf)> =
            self.ids.iter().filter_map(|id| Some((id.as_str(), by_name.path(id)?))).collect();
        let [most_trained, most] = MOST_LOOKED_AT;
        let trained = spread(&trained, most_trained);
        let evaluated = spread(indices, most);
        let paths: Vec<PathBuf> = evaluated.iter().map(|&item| items[item].path.clone()).collect();
        let others: Vec<PathBuf> = trained.iter().map(|(_, path)| path.clone()).collect();
        let found = images_that_look_like(&paths, &others, &loading.decoder, loading.threads)?;
        let pairs =
            found.into_iter().map(|(one, other)| (items[evaluated[one]].id.as_str(), trained[other].0));
        Ok(notices::look_alikes("image", &pairs.collect::<Vec<_>>()))
    }
}

/// The images below a folder by their names.
struct ByName<'a> {
    folder: &'a Path,
    /// By their names without endings; `None` for a name that several have.
    stems: HashMap<String, Option<PathBuf>>,
}

impl<'a> ByName<'a> {
    fn of(folder: &'a Path) -> Self {
        let mut stems: HashMap<String, Option<PathBuf>> = HashMap::new();
        for path in source::list::images_below(folder).0 {
            let stem = stem_of(&path);
            stems.entry(stem).and_modify(|other| *other = None).or_insert(Some(path));
        }
        Self { folder, stems }
    }

    /// The path of a photo by its path in the folder, or by its name as in a table, with or without ending.
    fn path(&self, id: &str) -> Option<PathBuf> {
        let path = self.folder.join(id);
        if path.is_file() {
            return Some(path);
        }
        let name = Path::new(id);
        let of = |name: Option<&OsStr>| self.stems.get(&text_of(name?)).cloned().flatten();
        of(name.file_stem()).or_else(|| of(name.file_name()))
    }
}
