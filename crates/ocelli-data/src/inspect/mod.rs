//! What is worth knowing of a data set before it is trained on. Nothing is changed.
//!
//! | module | what it knows |
//! |---|---|
//! | this one | the facts of each image, and which images are the same or look it |
//! | [`report`] | the findings, and the figures between them |
//! | [`look`] | whether two images look the same |
//! | `telltale.rs` | whether the files tell the classes apart |
//! | [`quality`] | blank, dark and blurred photos |

pub mod look;
pub mod quality;
pub mod report;
mod telltale;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::decode::{Format, Levels, Probe, budget};
use crate::digest::Digest;
use crate::photo_file::read_photo;
use crate::threads::pool;
use crate::{DataError, Decoder, Items};
use look::{Look, Quarter};
pub use look::{images_that_look_like, pairs_that_look_the_same};
use quality::Quality;
pub use quality::{images_of_many_bands, images_of_several_pages, shallow_images};
pub use report::Report;
pub use telltale::telltale;

/// All that was found in the images.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// Every image, in the order of the items.
    pub images: Vec<ImageFacts>,
    /// The digest of every file, in the order of the items. Of a file that cannot be read that of its id.
    #[serde(skip)]
    pub digests: Vec<Digest>,
    /// Groups of byte-identical images: indices of the items, ascending.
    pub duplicates: Vec<Vec<usize>>,
    /// Groups of images that look the same and are not byte-identical throughout: resized, compressed anew,
    /// slightly cropped.
    pub near_duplicates: Vec<Vec<usize>>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ImageFacts {
    /// The index of the item.
    pub item: usize,
    /// Size of the file.
    pub bytes: u64,
    /// What the file says of its image, if it can be read.
    pub probe: Option<Probe>,
    /// Why it cannot be decoded.
    pub problem: Option<String>,
    /// The customary ending of its format, where its name says something else.
    pub wrong_extension: Option<&'static str>,
    /// What can be seen in it.
    pub quality: Option<Quality>,
    /// How light its samples are, where they have more than 8 bits.
    pub levels: Option<Levels>,
}

impl ImageFacts {
    /// The longer side over the shorter one; 1 if the image cannot be read.
    pub fn aspect(&self) -> f64 {
        let ratio = |probe: &Probe| {
            f64::from(probe.width.max(probe.height)) / f64::from(probe.width.min(probe.height).max(1))
        };
        self.probe.as_ref().map_or(1.0, ratio)
    }

    /// How much of the area a centre crop to a square leaves out, 0 to 1.
    pub fn lost_by_crop(&self) -> f64 {
        1.0 - 1.0 / self.aspect()
    }

    /// Whether the shorter side has fewer pixels than `size`, so that it would be enlarged.
    pub fn smaller_than(&self, size: u32) -> bool {
        self.probe.is_some_and(|probe| probe.width.min(probe.height) < size)
    }
}

/// Decodes every image once, with `threads` threads (0: one for each core).
///
/// `progress` is called after each image, from any thread. Unreadable images are part of the result.
pub fn inspect(
    items: &Items,
    decoder: &Decoder,
    threads: usize,
    progress: impl Fn() + Sync,
) -> Result<Inspection, DataError> {
    let seen: Vec<Seen> = pool(threads)?.install(|| {
        let look = |index| {
            let seen = look(items, index, decoder);
            progress();
            seen
        };
        (0..items.len()).into_par_iter().map(look).collect()
    });
    Ok(Inspection {
        duplicates: identical(&seen),
        near_duplicates: alike(&seen),
        digests: seen.iter().map(|seen| seen.digest).collect(),
        images: seen.into_iter().map(|seen| seen.facts).collect(),
    })
}

/// What stays in memory of an image while others are examined.
struct Seen {
    facts: ImageFacts,
    digest: Digest,
    look: Option<Look>,
}

fn look(items: &Items, index: usize, decoder: &Decoder) -> Seen {
    let path = &items[index].path;
    let mut facts = ImageFacts {
        item: index,
        bytes: 0,
        probe: None,
        problem: None,
        wrong_extension: None,
        quality: None,
        levels: None,
    };
    let _scope = budget::scope();
    let bytes = match read_photo(path, decoder.max_bytes()) {
        Ok(bytes) => bytes,
        Err(error) => {
            facts.problem = Some(error.to_string());
            return Seen { facts, digest: *blake3::hash(items[index].id.as_bytes()).as_bytes(), look: None };
        }
    };
    facts.bytes = bytes.len() as u64;
    facts.probe = decoder.probe(&bytes).ok();
    facts.wrong_extension = Format::of(&bytes).and_then(|format| wrong_extension(path, format));
    let look = match decoder.decode_and_look(path, &bytes) {
        Ok((image, levels)) => {
            facts.quality = Some(Quality::of(&image));
            facts.levels = levels;
            Some(Look::of(&image))
        }
        Err(error) => {
            facts.problem = Some(error.to_string());
            None
        }
    };
    Seen { facts, digest: *blake3::hash(&bytes).as_bytes(), look }
}

/// The right ending, if the name has none of the format's.
fn wrong_extension(path: &Path, format: Format) -> Option<&'static str> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let right = extension.is_some_and(|extension| format.extensions().contains(&extension.as_str()));
    (!right).then_some(format.extensions()[0])
}

fn identical(seen: &[Seen]) -> Vec<Vec<usize>> {
    let mut groups: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (index, seen) in seen.iter().enumerate() {
        groups.entry(seen.digest).or_default().push(index);
    }
    let mut groups: Vec<_> = groups.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    groups
}

/// Groups of images connected by likeness, without those that are byte-identical throughout.
fn alike(seen: &[Seen]) -> Vec<Vec<usize>> {
    let mut candidates: BTreeMap<Quarter, Vec<usize>> = BTreeMap::new();
    for (index, look) in
        seen.iter().enumerate().filter_map(|(index, seen)| Some((index, seen.look.as_ref()?)))
    {
        for quarter in look.quarters() {
            candidates.entry(quarter).or_default().push(index);
        }
    }
    let mut leader: Vec<usize> = (0..seen.len()).collect();
    fn find(leader: &mut [usize], mut index: usize) -> usize {
        while leader[index] != index {
            leader[index] = leader[leader[index]];
            index = leader[index];
        }
        index
    }
    for candidates in candidates.values() {
        for (index, &a) in candidates.iter().enumerate() {
            for &b in &candidates[index + 1..] {
                let (from, to) = (find(&mut leader, b), find(&mut leader, a));
                if from == to {
                    continue;
                }
                if let (Some(one), Some(other)) = (&seen[a].look, &seen[b].look)
                    && one.is_like(other)
                {
                    leader[from.max(to)] = from.min(to);
                }
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in 0..seen.len() {
        groups.entry(find(&mut leader, index)).or_default().push(index);
    }
    let differ = |group: &Vec<usize>| group.iter().any(|&index| seen[index].digest != seen[group[0]].digest);
    groups.into_values().filter(|group| group.len() > 1 && differ(group)).collect()
}
