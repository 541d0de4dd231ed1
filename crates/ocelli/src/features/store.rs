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
use crate::file;

/// Features of many images, in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activations {
    /// The shape of one image's features: `[pooled]`, or `[channels, height, width]`.
    pub(crate) shape: Vec<usize>,
    rows: HashMap<Digest, usize>,
    values: Vec<f32>,
}

impl Activations {
    pub(crate) fn get(&self, image: &Digest) -> Option<&[f32]> {
        let length = self.row_len();
        self.rows.get(image).map(|row| &self.values[row * length..][..length])
    }

    /// Adds the features of images that are not there yet; `shape` is that of one image's.
    pub(crate) fn add(&mut self, shape: &[usize], images: &[Digest], values: &[f32]) {
        if self.rows.is_empty() {
            self.shape = shape.to_vec();
        }
        let length = self.row_len();
        assert_eq!((shape, values.len()), (&self.shape[..], images.len() * length), "one shape for all");
        for (image, values) in images.iter().zip(values.chunks_exact(length)) {
            let next = self.rows.len();
            if let std::collections::hash_map::Entry::Vacant(row) = self.rows.entry(*image) {
                row.insert(next);
                self.values.extend_from_slice(values);
            }
        }
    }

    /// The same images with these ranges of each image's features alone, which must be pooled.
    pub(crate) fn columns(&self, ranges: &[Range<usize>]) -> Self {
        let length = self.row_len();
        let mut values = Vec::with_capacity(self.rows.len() * ranges.iter().map(Range::len).sum::<usize>());
        for row in self.values.chunks_exact(length.max(1)) {
            ranges.iter().for_each(|range| values.extend_from_slice(&row[range.clone()]));
        }
        Self { shape: vec![ranges.iter().map(Range::len).sum()], rows: self.rows.clone(), values }
    }

    /// The images.
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
    pub(crate) fn load(&self, expected: &HashSet<Digest>, found: &mut Activations) -> Vec<String> {
        let mut problems = Vec::new();
        files::sweep(&self.folder, files::LEFT);
        // A folder that does not exist, or cannot be read, is empty.
        let mut shards = files::list(&self.folder).unwrap_or_default();
        shards.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        for path in shards {
            match files::read(&path) {
                Ok(bytes) if add_shard(&path, &bytes, self.max_pixels, expected, found).is_none() => {
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
        let rows = images.iter().flat_map(|image| activations.get(image).expect("just computed"));
        let values: Vec<u8> = rows.flat_map(|value| value.to_le_bytes()).collect();
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

/// Adds the rows of these images from a shard, unless it was made under a higher limit; `None` if its content
/// does not match its name.
fn add_shard(
    path: &Path,
    bytes: &[u8],
    max_pixels: u64,
    expected: &HashSet<Digest>,
    found: &mut Activations,
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
    for (image, row) in
        images.data().as_chunks::<32>().0.iter().zip(activations.data().chunks_exact(row_bytes))
    {
        if expected.contains(image) && found.get(image).is_none() {
            if !found.rows.is_empty() && found.shape != shape {
                return None;
            }
            let values: Vec<f32> = row.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            found.add(shape, &[*image], &values);
        }
    }
    Some(())
}
