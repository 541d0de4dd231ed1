//! Finding photos: those in a folder, those that a run was trained on; and where nothing must be written.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use ocelli_data::{Digest, Skipped, digests, source};

use crate::data::recorded::{self, Recorded};
use crate::error::{Error, Result};
use crate::paths::is_file;

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
pub(crate) struct TrainedOn(HashSet<Digest>);

/// How many of the photos in a folder the run of a model was trained on (or copies of them), and how many
/// there are; `None` if the model's folder does not record it.
///
/// # Errors
/// Where a photo cannot be read.
pub fn trained_on(model: impl AsRef<Path>, photos: impl AsRef<Path>) -> Result<Option<(usize, usize)>> {
    let model = model.as_ref();
    let run = if model.is_dir() { model } else { model.parent().unwrap_or(Path::new("")) };
    let Some(trained_on) = TrainedOn::of_run(run)? else { return Ok(None) };
    let items = source::list::read([photos.as_ref()])?.items;
    let digests = digests(&items, 0, || ())?;
    let all: Vec<usize> = (0..items.len()).collect();
    Ok(Some((trained_on.those_among(&digests, &all).len(), all.len())))
}

impl TrainedOn {
    /// From a run's folder; `None` if it does not record them.
    pub(crate) fn of_run(run: &Path) -> Result<Option<Self>> {
        match is_file(&run.join(recorded::FILE))? {
            true => Ok(Some(Self(Recorded::read(run, true)?.trained_on()))),
            false => Ok(None),
        }
    }

    /// The items at `indices`, with these digests, that the run was trained on, or copies of them.
    pub(crate) fn those_among(&self, digests: &[Digest], indices: &[usize]) -> HashSet<usize> {
        indices.iter().copied().filter(|&item| self.0.contains(&digests[item])).collect()
    }
}
