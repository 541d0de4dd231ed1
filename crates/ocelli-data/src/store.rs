//! Images resized once, for runs at smaller sizes: fastai's `data.resize(340)`.
//!
//! An image much larger than needed is decoded once, turned upright, resized so that its shorter side has a
//! given length, and cached as a JPEG of quality 95 without chroma subsampling, under the hash of its file's
//! bytes: runs share it, renaming changes nothing, and a changed file is another one. Images that would gain
//! little are not copied; nothing is enlarged. The folder may be deleted at any time: a copy depends on its
//! file alone, and one that is missing or damaged is made again. The hash of a copy, with that of its file,
//! is appended after its last byte, where no decoder looks, after the limit of pixels that it was made under:
//! under a lower one it is not used, since the file may be too large.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rayon::prelude::*;

use crate::decode::budget;
use crate::digest::{Digest, read_expected};
use crate::files::{self, write_whole};
use crate::resize::{Filter, Resize};
use crate::threads::pool;
use crate::{DataError, DecodeError, Decoder, Item, Items, RgbImage, Skipped};

/// Part of the key of an entry; it changes with anything that changes pixels.
const VERSION: &str = "6";
const QUALITY: u8 = 95;
/// An image is copied if that leaves at most half of its pixels …
const WORTHWHILE: f64 = 0.5;
/// … and it has at least this many: smaller ones are decoded faster than copies are written.
const LARGE: u64 = 500_000;

/// Resized copies with one length of the shorter side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
    side: u32,
}

/// The result of [`Store::fill`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filled {
    /// Images that were resized.
    pub made: usize,
    /// Images that had copies.
    pub present: usize,
    /// Images that need no copies.
    pub small: usize,
    /// Images that cannot be decoded.
    pub skipped: Vec<Skipped>,
}

/// What became of one image.
enum Entry {
    Made,
    Present,
    Small,
    Bad(Skipped),
}

impl Store {
    /// The store in `cache` (a folder, created when needed) of images whose shorter side has `side` pixels.
    pub fn new(cache: impl AsRef<Path>, side: u32) -> Result<Self, DataError> {
        if !(16..=4000).contains(&side) {
            let value = side.to_string();
            return Err(DataError::Setting { name: "resize", value, expected: "from 16 to 4000 pixels" });
        }
        Ok(Store { folder: cache.as_ref().join("resized").join(format!("{side}-v{VERSION}")), side })
    }

    /// The path of the copy of a file with this digest.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = blake3::Hash::from(*digest).to_hex();
        self.folder.join(&name[..2]).join(format!("{name}.jpg"))
    }

    /// Makes missing copies, with `threads` threads (0: one per core); it can be stopped and continued.
    ///
    /// `digests` are those of all items. `progress` is called after each image, from any thread.
    pub fn fill(
        &self,
        items: &Items,
        digests: &[Digest],
        decoder: &Decoder,
        threads: usize,
        progress: impl Fn() + Sync,
    ) -> Result<Filled, DataError> {
        for folder in files::list(&self.folder).unwrap_or_default() {
            files::sweep(folder, files::LEFT);
        }
        let mut seen = HashSet::new();
        let first: Vec<usize> = (0..items.len()).filter(|&index| seen.insert(digests[index])).collect();
        let entries: Vec<Result<Entry, DataError>> = pool(threads)?.install(|| {
            first
                .par_iter()
                .map(|&index| {
                    let entry = self.make(&items[index], &digests[index], decoder);
                    progress();
                    entry
                })
                .collect()
        });
        let mut filled = Filled::default();
        for entry in entries {
            match entry? {
                Entry::Made => filled.made += 1,
                Entry::Present => filled.present += 1,
                Entry::Small => filled.small += 1,
                Entry::Bad(skipped) => filled.skipped.push(skipped),
            }
        }
        Ok(filled)
    }

    /// The bytes to decode for an item whose file has this digest: of its copy, or, if that would gain
    /// little, of the file. They depend on the file's content alone; a missing or damaged copy is made again.
    ///
    /// # Errors
    /// Where the file must be read and cannot be, has changed, or cannot be decoded.
    pub fn image(&self, item: &Item, digest: &Digest, decoder: &Decoder) -> Result<Vec<u8>, DecodeError> {
        if let Some(copy) = self.read(digest, decoder.max_pixels) {
            return Ok(copy);
        }
        let bytes = read_expected(&item.path, Some(digest), decoder.max_bytes())?;
        Ok(match self.resized(&bytes, decoder)? {
            Some(copy) => {
                // Without a copy it only takes longer.
                let _ = self.keep(digest, &copy, decoder.max_pixels);
                copy
            }
            None => bytes,
        })
    }

    /// A complete copy that was made under no higher limit.
    fn read(&self, digest: &Digest, max_pixels: u64) -> Option<Vec<u8>> {
        let mut bytes = files::read(self.path(digest)).ok()?;
        let end = bytes.len().checked_sub(size_of::<Digest>())?;
        let whole = bytes[end..] == seal(digest, &bytes[..end]);
        bytes.truncate(end);
        let limit = bytes.split_off(end.checked_sub(size_of::<u64>())?);
        (whole && u64::from_le_bytes(limit.try_into().ok()?) <= max_pixels).then_some(bytes)
    }

    fn keep(&self, digest: &Digest, copy: &[u8], max_pixels: u64) -> Result<(), DataError> {
        let copy = [copy, &max_pixels.to_le_bytes()].concat();
        write_whole(self.path(digest), &[&copy[..], &seal(digest, &copy)].concat())
    }

    /// The copy of an image, if it is worth it.
    fn resized(&self, bytes: &[u8], decoder: &Decoder) -> Result<Option<Vec<u8>>, DecodeError> {
        let probe = decoder.probe(bytes)?;
        if !self.is_worthwhile(probe.width, probe.height) {
            return Ok(None);
        }
        self.encode(&decoder.decode_for(bytes, self.side)?).map(Some)
    }

    fn make(&self, item: &Item, digest: &Digest, decoder: &Decoder) -> Result<Entry, DataError> {
        if self.path(digest).is_file() {
            return Ok(Entry::Present);
        }
        let _scope = budget::scope();
        let bytes = read_expected(&item.path, Some(digest), decoder.max_bytes());
        match bytes.and_then(|bytes| self.resized(&bytes, decoder)) {
            Ok(Some(copy)) => self.keep(digest, &copy, decoder.max_pixels).map(|()| Entry::Made),
            Ok(None) => Ok(Entry::Small),
            Err(reason) => Ok(Entry::Bad(Skipped::image(&item.path, reason))),
        }
    }

    fn is_worthwhile(&self, width: u32, height: u32) -> bool {
        let scale = f64::from(self.side) / f64::from(width.min(height).max(1));
        let pixels = u64::from(width) * u64::from(height);
        pixels >= LARGE && scale * scale <= WORTHWHILE && width.max(height) <= 16 * width.min(height)
    }

    fn encode(&self, image: &RgbImage) -> Result<Vec<u8>, DecodeError> {
        let resize = Resize::shorter_side_to(image, self.side);
        let (size, pixels) = (resize.size(), resize.pixels(image, Filter::Bicubic));
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, QUALITY);
        encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
        encoder
            .encode(&pixels, size.0 as u16, size.1 as u16, ColorType::Rgb)
            .map_err(|error| DecodeError::Io(std::io::Error::other(error)))?;
        Ok(bytes)
    }
}

/// The bytes after a copy's last byte.
fn seal(digest: &Digest, copy: &[u8]) -> Digest {
    *blake3::Hasher::new().update(digest).update(copy).finalize().as_bytes()
}
