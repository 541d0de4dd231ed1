//! Whether two images look the same: resized, compressed anew, slightly cropped.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::resize::{Filter, Resize};
use crate::threads::pool;
use crate::{DataError, Decoder, Items, RgbImage};

/// How an image looks from afar.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// Whether each of 8 × 8 cells is darker than its right neighbour (a difference hash).
    hash: u64,
    /// `[8, 9, 3]`.
    thumbnail: Vec<u8>,
}

/// A quarter of a hash, by its place.
pub(super) type Quarter = (u32, u16);

/// From images of this many pixels on a side a look is the same, but for single units.
const LOOK_SIDE: u32 = 64;
/// Alike are images whose hashes differ in at most this many of 64 bits …
const DIFFERENT_BITS: u32 = 3;
/// … and whose thumbnails differ by at most this much on average, in units of 0..=255.
const DIFFERENT_COLOUR: u32 = 8;

impl Look {
    pub(super) fn of(image: &RgbImage) -> Self {
        let thumbnail = Resize::whole(image, (9, 8)).pixels(image, Filter::Area);
        let luma =
            |pixel: &[u8]| 299 * u32::from(pixel[0]) + 587 * u32::from(pixel[1]) + 114 * u32::from(pixel[2]);
        let row = |row: &[u8]| {
            let luma: Vec<u32> = row.chunks_exact(3).map(luma).collect();
            luma.windows(2).fold(0u64, |bits, pair| bits << 1 | u64::from(pair[0] < pair[1]))
        };
        let hash = thumbnail.chunks_exact(27).fold(0, |bits, line| bits << 8 | row(line));
        Look { hash, thumbnail }
    }

    pub(super) fn is_like(&self, other: &Look) -> bool {
        let differences = self.thumbnail.iter().zip(&other.thumbnail).map(|(a, b)| u32::from(a.abs_diff(*b)));
        (self.hash ^ other.hash).count_ones() <= DIFFERENT_BITS
            && differences.sum::<u32>() <= DIFFERENT_COLOUR * self.thumbnail.len() as u32
    }

    /// The quarters of its hash: two that differ in at most three bits agree in at least one of four.
    pub(super) fn quarters(&self) -> impl Iterator<Item = Quarter> + use<> {
        let hash = self.hash;
        (0..=DIFFERENT_BITS).map(move |quarter| (quarter, (hash >> (16 * quarter)) as u16))
    }
}

/// The looks of images; `None` for one that cannot be read.
fn looks(paths: &[&Path], decoder: &Decoder, threads: usize) -> Result<Vec<Option<Look>>, DataError> {
    let look = |path: &&Path| Some(Look::of(&decoder.decode_file_for(path, LOOK_SIDE).ok()?));
    Ok(pool(threads)?.install(|| paths.par_iter().map(look).collect()))
}

/// Those of these pairs of items that look the same: resized, compressed anew, slightly cropped. Each image is
/// decoded once, with `threads` threads (0: one for each core); one that cannot be read looks like none.
///
/// # Errors
/// Where threads cannot be started.
pub fn pairs_that_look_the_same(
    items: &Items,
    pairs: &[(usize, usize)],
    decoder: &Decoder,
    threads: usize,
) -> Result<Vec<(usize, usize)>, DataError> {
    let images: BTreeSet<usize> = pairs.iter().flat_map(|&(one, other)| [one, other]).collect();
    let paths: Vec<&Path> = images.iter().map(|&item| items[item].path.as_path()).collect();
    let looks: HashMap<usize, Option<Look>> =
        images.into_iter().zip(looks(&paths, decoder, threads)?).collect();
    let are_alike = |(one, other): &(usize, usize)| match (&looks[one], &looks[other]) {
        (Some(one), Some(other)) => one.is_like(other),
        _ => false,
    };
    Ok(pairs.iter().copied().filter(are_alike).collect())
}

/// The images that look the same as one of others, each with the first of those, as indices. Each image is decoded
/// once, with `threads` threads (0: one for each core); one that cannot be read looks like none.
///
/// # Errors
/// Where threads cannot be started.
pub fn images_that_look_like(
    images: &[PathBuf],
    others: &[PathBuf],
    decoder: &Decoder,
    threads: usize,
) -> Result<Vec<(usize, usize)>, DataError> {
    let paths: Vec<&Path> = images.iter().chain(others).map(PathBuf::as_path).collect();
    let mut looks = looks(&paths, decoder, threads)?;
    let others = looks.split_off(images.len());
    let mut candidates: HashMap<Quarter, Vec<usize>> = HashMap::new();
    for (index, look) in others.iter().enumerate() {
        for quarter in look.iter().flat_map(Look::quarters) {
            candidates.entry(quarter).or_default().push(index);
        }
    }
    let first_like = |look: &Look| {
        let near = look.quarters().filter_map(|quarter| candidates.get(&quarter)).flatten();
        near.copied().filter(|&other| others[other].as_ref().is_some_and(|other| look.is_like(other))).min()
    };
    let found = looks.iter().enumerate();
    Ok(found.filter_map(|(index, look)| Some((index, first_like(look.as_ref()?)?))).collect())
}
