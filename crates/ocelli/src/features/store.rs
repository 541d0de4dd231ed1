//! The feature cache on disk.
//!
//! The key of an image's features covers everything that they depend on: the frozen layers and their weights,
//! the preprocessing, the kernels' instruction set and version, and the bytes of the image. Everything but
//! the image names a folder, which holds shards: files with the features of some images, written whole and
//! never changed. A shard is named by the hash of its content, so that a damaged one is noticed and skipped.
//!
//! A shard also says up to how many pixels images were decoded for it. One that was made under a higher limit
//! is not used, since a photo in it may be too large by now: what is skipped must not depend on what ran
//! before.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ocelli_data::{Digest, files, io_reason};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Result};
use crate::features::rows::RowStore;
use crate::file;

/// Features of many images: in memory, or in a scratch file where they are large and a folder for it was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activations {
    /// The shape of one image's features: `[pooled]`, or `[channels, height, width]`.
    pub(crate) shape: Vec<usize>,
    rows: HashMap<Digest, usize>,
    values: RowStore,
}

impl Activations {
    /// Of no image yet. Once they would take much memory, they are in a scratch file on the disk of this folder.
    pub(crate) fn spilling_to(folder: &Path) -> Self {
        Self { values: RowStore::spilling_to(folder), ..Self::default() }
    }

    /// Whether there are some of this image.
    pub(crate) fn has(&self, image: &Digest) -> bool {
        self.rows.contains_key(image)
    }

    /// Appends the features of an image, which has some.
    ///
    /// # Errors
    /// Where the scratch file cannot be read.
    pub(crate) fn append_to(&self, values: &mut Vec<f32>, image: &Digest) -> Result<()> {
        self.values.append_to(values, self.rows[image], self.row_len())
    }

    /// Adds the features of images that are not there yet; `shape` is that of one image's.
    ///
    /// # Errors
    /// Where the scratch file cannot be read again after a write to it has failed.
    pub(crate) fn add(&mut self, shape: &[usize], images: &[Digest], values: &[f32]) -> Result<()> {
        if self.rows.is_empty() {
            self.shape = shape.to_vec();
        }
        let length = self.row_len();
        assert_eq!((shape, values.len()), (&self.shape[..], images.len() * length), "one shape for all");
        for (image, values) in images.iter().zip(values.chunks_exact(length)) {
            if let std::collections::hash_map::Entry::Vacant(row) = self.rows.entry(*image) {
                row.insert(self.values.push(values)?);
            }
        }
        Ok(())
    }

    /// The same images with these ranges of each image's features alone, which must be pooled.
    ///
    /// # Errors
    /// As [`append_to`](Self::append_to) and [`add`](Self::add).
    pub(crate) fn columns(&self, ranges: &[Range<usize>]) -> Result<Self> {
        let mut columns = Self { values: self.values.empty_like(), ..Self::default() };
        let shape = [ranges.iter().map(Range::len).sum()];
        let (mut row, mut selected) = (Vec::new(), Vec::new());
        for image in self.images() {
            row.clear();
            selected.clear();
            self.append_to(&mut row, &image)?;
            ranges.iter().for_each(|range| selected.extend_from_slice(&row[range.clone()]));
            columns.add(&shape, &[image], &selected)?;
        }
        columns.shape = shape.to_vec();
        Ok(columns)
    }

    /// The images, in the order in which they were added.
    pub(crate) fn images(&self) -> Vec<Digest> {
        let mut images: Vec<(usize, Digest)> = self.rows.iter().map(|(image, row)| (*row, *image)).collect();
        images.sort_unstable();
        images.into_iter().map(|(_, image)| image).collect()
    }

    fn row_len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The cache folder of the features of one key.
#[derive(Debug, Clone)]
pub(crate) struct ActivationStore {
    folder: PathBuf,
    /// The largest number of pixels of an image.
    max_pixels: u64,
}

const EXTENSION: &str = "safetensors";
const IMAGES: &str = "images";
const ACTIVATIONS: &str = "activations";
const MAX_PIXELS: &str = "max_pixels";

impl ActivationStore {
    /// The store for features of that key, below the cache folder.
    pub(crate) fn new(cache: &Path, key: &blake3::Hash, max_pixels: u64) -> Self {
        Self { folder: cache.join("activations").join(&key.to_hex()[..32]), max_pixels }
    }

    /// Adds the cached features of these images; returns what is wrong with shards, such as "PATH is damaged".
    ///
    /// # Errors
    /// As [`Activations::add`].
    pub(crate) fn load(&self, expected: &HashSet<Digest>, found: &mut Activations) -> Result<Vec<String>> {
        let mut failed = None;
        let problems = self.each_row(expected, &mut |image, shape, row| {
            if found.has(image) {
                return Some(());
            }
            if !found.rows.is_empty() && found.shape != shape {
                return None;
            }
            failed = failed.take().or(found.add(shape, &[*image], row).err());
            Some(())
        });
        failed.map_or(Ok(problems), Err)
    }

    /// How many of these images have cached features.
    pub(crate) fn count(&self, expected: &HashSet<Digest>) -> usize {
        let mut found = HashSet::new();
        self.each_row(expected, &mut |image, _, _| {
            found.insert(*image);
            Some(())
        });
        found.len()
    }

    /// Calls `each` with every cached row of these images, and its shape; `None` from it means that the shard does
    /// not fit. Returns what is wrong with shards.
    fn each_row(&self, expected: &HashSet<Digest>, each: &mut EachRow) -> Vec<String> {
        let mut problems = Vec::new();
        files::sweep(&self.folder, files::LEFT);
        // A folder that does not exist, or cannot be read, is empty.
        let mut shards = files::list(&self.folder).unwrap_or_default();
        shards.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        for path in shards {
            match files::read(&path) {
                Ok(bytes) if read_shard(&path, &bytes, self.max_pixels, expected, each).is_none() => {
                    problems.push(format!("{} is damaged", path.display()));
                }
                Ok(_) => {}
                // Somebody has emptied the cache.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => problems.push(format!("cannot read {}: {}", path.display(), io_reason(&error))),
            }
        }
        problems
    }

    /// Writes the features of some images, which must all be there.
    pub(crate) fn save(&self, images: &[Digest], activations: &Activations) -> Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        let keys: Vec<u8> = images.concat();
        let mut rows = Vec::with_capacity(images.len() * activations.row_len());
        images.iter().try_for_each(|image| activations.append_to(&mut rows, image))?;
        let values: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = [&[images.len()], &activations.shape[..]].concat();
        let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).expect("sizes agree");
        let tensors = [
            (IMAGES, view(Dtype::U8, vec![images.len(), 32], &keys)),
            (ACTIVATIONS, view(Dtype::F32, shape, &values)),
        ];
        let limit = HashMap::from([(MAX_PIXELS.to_owned(), self.max_pixels.to_string())]);
        let bytes =
            safetensors::serialize(tensors, Some(limit)).expect("views of this process's memory serialise");
        let name = blake3::hash(&bytes).to_hex();
        file::write_whole(&self.folder.join(name.as_str()).with_extension(EXTENSION), &bytes).map_err(
            |error| match error {
                Error::Io { path, source, .. } => Error::Io { action: "keep activations in", path, source },
                error => error,
            },
        )
    }
}

/// What is done with each row: the image, the shape, and the values.
type EachRow<'a> = dyn FnMut(&Digest, &[usize], &[f32]) -> Option<()> + 'a;

/// Reads the rows of these images from a shard, unless it was made under a higher limit; `None` if its content
/// does not match its name.
fn read_shard(
    path: &Path,
    bytes: &[u8],
    max_pixels: u64,
    expected: &HashSet<Digest>,
    each: &mut EachRow,
) -> Option<()> {
    if path.file_stem()?.to_str()? != blake3::hash(bytes).to_hex().as_str() {
        return None;
    }
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let made_under: u64 = header.metadata().as_ref()?.get(MAX_PIXELS)?.parse().ok()?;
    if made_under > max_pixels {
        return Some(());
    }
    let shard = SafeTensors::deserialize(bytes).ok()?;
    let (images, activations) = (shard.tensor(IMAGES).ok()?, shard.tensor(ACTIVATIONS).ok()?);
    let (&rows, shape) = activations.shape().split_first()?;
    if images.shape() != [rows, 32] || images.dtype() != Dtype::U8 || activations.dtype() != Dtype::F32 {
        return None;
    }
    let row_bytes = 4 * shape.iter().product::<usize>();
    if row_bytes == 0 {
        return None;
    }
    let mut values: Vec<f32> = Vec::with_capacity(row_bytes / 4);
    for (image, row) in
        images.data().as_chunks::<32>().0.iter().zip(activations.data().chunks_exact(row_bytes))
    {
        if expected.contains(image) {
            values.clear();
            values.extend(row.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            each(image, shape, &values)?;
        }
    }
    Some(())
}
