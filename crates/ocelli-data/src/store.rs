//! Images resized once, for runs at smaller sizes: fastai's `data.resize(340)`.
//!
//! An image much larger than needed is decoded once, turned upright, resized so that its shorter side has a
//! given length, and kept in the cache folder as a JPEG of quality 95 without colour subsampling, under the hash of
//! its file's bytes: runs share it, renaming changes nothing, and a changed file is another one. Images that
//! would gain little stay where they are; nothing is enlarged. The folder may be deleted at any time.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rayon::prelude::*;

use crate::decode::budget;
use crate::digest::Digest;
use crate::files::{read_photo, write_whole};
use crate::preprocess::Filter;
use crate::resize::Resize;
use crate::threads::pool;
use crate::{DataError, DecodeError, Decoder, Item, Items, RgbImage, Skipped};

/// Part of the key of an entry: changes with anything that changes its pixels.
const VERSION: &str = "4";
const QUALITY: u8 = 95;
/// An image is kept resized if that leaves at most a half of its pixels …
const WORTHWHILE: f64 = 0.5;
/// … and it has at least as many as these: smaller ones are decoded in less time than copies are written.
const LARGE: u64 = 500_000;

/// Resized images with one length of the shorter side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
    side: u32,
}

/// What [`Store::fill`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filled {
    /// Images resized now.
    pub made: usize,
    /// Images that were there.
    pub present: usize,
    /// Images that are small enough as they are.
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
    /// The store in `cache` (a folder, made when needed) of images whose shorter side has `side` pixels.
    pub fn new(cache: impl AsRef<Path>, side: u32) -> Result<Self, DataError> {
        if !(16..=4000).contains(&side) {
            let value = side.to_string();
            return Err(DataError::Setting { name: "resize", value, expected: "from 16 to 4000 pixels" });
        }
        Ok(Store { folder: cache.as_ref().join("resized").join(format!("{side}-v{VERSION}")), side })
    }

    /// Where the resized image of a file with this digest is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = blake3::Hash::from(*digest).to_hex();
        self.folder.join(&name[..2]).join(format!("{name}.jpg"))
    }

    /// Makes what is missing, with `threads` threads (0: one for each core); it can be stopped and taken up again.
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

    /// The same items, read from the store where it has them. Ids and targets stay.
    pub fn substitute(&self, items: &Items, digests: &[Digest]) -> Items {
        let mut items = items.clone();
        for (item, digest) in items.items.iter_mut().zip(digests) {
            let path = self.path(digest);
            if path.is_file() {
                item.path = path;
            }
        }
        items
    }

    fn make(&self, item: &Item, digest: &Digest, decoder: &Decoder) -> Result<Entry, DataError> {
        let path = self.path(digest);
        if path.is_file() {
            return Ok(Entry::Present);
        }
        let bad = |reason: DecodeError| Entry::Bad(Skipped::image(&item.path, reason));
        let _scope = budget::scope();
        let bytes = match read_photo(&item.path, decoder.max_bytes()) {
            Ok(bytes) => bytes,
            Err(reason) => return Ok(bad(reason)),
        };
        match decoder.probe(&bytes) {
            Ok(probe) if !self.is_worthwhile(probe.width, probe.height) => return Ok(Entry::Small),
            Ok(_) => {}
            Err(reason) => return Ok(bad(reason)),
        }
        match decoder.decode_for(&bytes, self.side) {
            Ok(image) => write_whole(&path, &self.encode(&image)?).map(|()| Entry::Made),
            Err(reason) => Ok(bad(reason)),
        }
    }

    fn is_worthwhile(&self, width: u32, height: u32) -> bool {
        let scale = f64::from(self.side) / f64::from(width.min(height).max(1));
        let pixels = u64::from(width) * u64::from(height);
        pixels >= LARGE && scale * scale <= WORTHWHILE && width.max(height) <= 16 * width.min(height)
    }

    fn encode(&self, image: &RgbImage) -> Result<Vec<u8>, DataError> {
        let resize = Resize::shorter_side_to(image, self.side);
        let (size, pixels) = (resize.size(), resize.pixels(image, Filter::Bicubic));
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, QUALITY);
        encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
        encoder
            .encode(&pixels, size.0 as u16, size.1 as u16, ColorType::Rgb)
            .map_err(|error| DataError::io("write", &self.folder)(std::io::Error::other(error)))?;
        Ok(bytes)
    }
}
