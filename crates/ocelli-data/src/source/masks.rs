//! Segmentation masks among photos, by their names.
//!
//! Many published sets keep a mask beside each photo, as an image of its own. It is told from photos by what
//! its name, or that of its folder, has in common with those of the photos:
//!
//! ```text
//! images/cat_1.jpg  annotations/trimaps/cat_1.png      benign/1.png  benign/1_mask.png
//! COVID/images/1.png  COVID/masks/1.png                benign/1.png  benign/masks/1.png
//! ```
//!
//! A name alone is never enough: a folder called `mask` may be a class of photos of people with a mask. Nine
//! tenths of the images in it must have the names of photos in a folder of images beside it. Where photos and masks lie
//! in one folder, a few of them are looked at, too: a mask has few colours.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::listing::Listing;
use super::{id_of, role};
use crate::names::file_name;
use crate::text::count;
use crate::{Decoder, Skipped};

/// Words in the names of folders of masks.
const MASKS: [&str; 16] = [
    "seg",
    "mask",
    "masks",
    "trimap",
    "trimaps",
    "segmentation",
    "segmentations",
    "segmap",
    "segmaps",
    "groundtruth",
    "gt",
    "annotation",
    "annotations",
    "label",
    "labels",
    "superpixels",
];
/// Words in the names of folders of photos that are no class's.
const PHOTOS: [&str; 19] = [
    "image",
    "images",
    "img",
    "imgs",
    "photo",
    "photos",
    "picture",
    "pictures",
    "jpg",
    "jpeg",
    "jpegs",
    "png",
    "raw",
    "tif",
    "input",
    "inputs",
    "original",
    "originals",
    "data",
];
/// Words that say nothing else in the names of folders of masks.
const FILLERS: [&str; 12] =
    ["png", "bmp", "gif", "part", "set", "files", "folder", "class", "classes", "object", "objects", "all"];
/// What the names of masks have after those of their photos.
const SUFFIXES: [&str; 12] = [
    "mask",
    "masks",
    "segmentation",
    "seg",
    "gt",
    "groundtruth",
    "trimap",
    "superpixels",
    "annotation",
    "label",
    "roi",
    "maskcrop",
];
/// What they have before them.
const PREFIXES: [&str; 3] = ["mask", "seg", "gt"];

/// The masks among the images below a folder.
#[derive(Debug, Default, Clone)]
pub(crate) struct Masks {
    /// Folders of nothing but masks, with their number, and the folder of photos whose names they have.
    folders: BTreeMap<PathBuf, (usize, PathBuf)>,
    /// Masks in the folders of their photos, each with its photo.
    files: BTreeMap<PathBuf, PathBuf>,
    /// The same where something speaks against it: these may be photos too.
    unsure: BTreeMap<PathBuf, PathBuf>,
    /// What speaks against it.
    doubt: &'static str,
}

impl Masks {
    /// Looks for masks among these images below a folder.
    pub(crate) fn find<'a>(root: &Path, images: impl Iterator<Item = &'a Path> + Clone) -> Self {
        let mut masks = Self::default();
        let mut named: BTreeMap<&Path, bool> = BTreeMap::new();
        let mut any_suffix = false;
        for image in images.clone() {
            any_suffix = any_suffix || photo_stem(&stem(image)).is_some();
            let folders = image.ancestors().skip(1).take_while(|folder| *folder != root);
            for folder in folders.take_while(|folder| folder.starts_with(root)) {
                if named.contains_key(folder) {
                    break;
                }
                named.insert(folder, is_named(folder));
            }
        }
        // Most data sets have none, and some have millions of images.
        if !any_suffix && !named.values().any(|named| *named) {
            return masks;
        }
        let mut tree = Tree::default();
        images.for_each(|image| tree.add(root, image));
        for (folder, _) in named.into_iter().filter(|(_, named)| *named) {
            if !masks.contains(folder)
                && let Some(photos) = tree.photos_of(folder)
            {
                masks.folders.insert(folder.to_owned(), (tree.below[folder].len(), photos));
            }
        }
        masks.find_pairs(&tree);
        masks
    }

    /// Masks that lie in the folders of their photos: `1.png` and `1_mask.png`.
    fn find_pairs(&mut self, tree: &Tree) {
        let mut pairs: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        let (mut called, mut photos, mut covered) = (0, 0, 0);
        for images in
            tree.directly.iter().filter(|(folder, _)| !self.contains(folder)).map(|(_, images)| images)
        {
            let mut plain: BTreeMap<String, &Path> = BTreeMap::new();
            let mut with_suffix: Vec<(String, &Path)> = Vec::new();
            for image in images {
                let stem = stem(image);
                match photo_stem(&stem) {
                    Some(photo) => with_suffix.push((photo.to_owned(), image)),
                    None => {
                        plain.insert(stem, image);
                    }
                }
            }
            let of =
                |(stem, mask): &(String, &Path)| Some((mask.to_path_buf(), plain.get(stem)?.to_path_buf()));
            let found: BTreeMap<PathBuf, PathBuf> = with_suffix.iter().filter_map(of).collect();
            if found.is_empty() {
                continue;
            }
            called += with_suffix.len();
            photos += plain.len();
            covered += found.values().collect::<BTreeSet<_>>().len();
            pairs.extend(found);
        }
        let nearly_all = 10 * pairs.len() >= 9 * called && 10 * covered >= 9 * photos;
        self.doubt = match nearly_all {
            false => "only some photos have one",
            true if look_like_photos(&pairs) => "they have the colours of photos",
            true => {
                self.files = pairs;
                return;
            }
        };
        self.unsure = pairs;
    }

    /// Whether a path is a mask, or a folder of masks, or in one.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        self.files.contains_key(path)
            || !self.folders.is_empty() && path.ancestors().any(|folder| self.folders.contains_key(folder))
    }

    /// Without those that are images of a data set, and folders that hold one.
    pub(crate) fn without(mut self, images: &HashSet<&Path>) -> Self {
        self.files.retain(|mask, _| !images.contains(mask.as_path()));
        for folder in images.iter().flat_map(|image| image.ancestors().skip(1)) {
            self.folders.remove(folder);
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.files.is_empty()
    }

    /// Takes the masks out of a listing, and gives them as skipped files and folders.
    pub(crate) fn take_out(&self, listing: &mut Listing) -> Vec<Skipped> {
        if self.is_empty() {
            return Vec::new();
        }
        listing.images.retain(|image| !self.contains(image));
        listing.folders.retain(|folder| !self.contains(folder));
        listing.skipped.retain(|skipped| !skipped.is_image || !self.contains(&skipped.path));
        let reason = "segmentation masks of the photos beside it";
        let folders = self.folders.keys().map(|folder| Skipped::new(folder, reason));
        let files = self.files.iter().map(|(mask, photo)| {
            Skipped::new(mask, format!("the segmentation mask of {}", file_name(photo)))
        });
        folders.chain(files).collect()
    }

    /// The warning that what is called as masks is taken for photos, since this was asked for.
    pub(crate) fn taken_for_photos(&self, root: &Path) -> Option<String> {
        let first = self.folders.keys().chain(self.files.keys()).next()?;
        let number = self.folders.values().map(|(number, _)| number).sum::<usize>() + self.files.len();
        Some(format!(
            "warning: {} images are named as segmentation masks of others are, and are taken for photos of their class, as \
             `class_folders` says: {}; if they are masks, move them out",
            count(number),
            id_of(root, first)
        ))
    }

    /// What people should know about them.
    pub(crate) fn notices(&self, root: &Path) -> Vec<String> {
        let masks =
            |number| format!("{} segmentation mask{}", count(number), if number == 1 { "" } else { "s" });
        let keep = "(to take them for photos: `class_folders`)";
        let mut notices = Vec::new();
        if let Some((first, (_, photos))) = self.folders.first_key_value() {
            let number = self.folders.values().map(|(number, _)| number).sum::<usize>();
            let more = match self.folders.len() {
                1 => String::new(),
                folders => format!(" and {} more folders", count(folders - 1)),
            };
            let photos = match photos {
                photos if Some(photos.as_path()) == first.parent() => "the folder around it".to_owned(),
                photos => id_of(root, photos),
            };
            notices.push(format!(
                "{} left out: the images in {}{more} have the names of those in {photos} {keep}",
                masks(number),
                id_of(root, first)
            ));
        }
        if let Some((first, photo)) = self.files.first_key_value() {
            notices.push(format!(
                "{} left out: their names are those of the photos beside them and a word for a mask; the first is {}, of \
                 {} {keep}",
                masks(self.files.len()),
                id_of(root, first),
                file_name(photo)
            ));
        }
        if let Some((first, photo)) = self.unsure.first_key_value() {
            notices.push(format!(
                "warning: {} images are called as segmentation masks of others are, but {}: they count as photos of their \
                 class; the first is {}, beside {}",
                count(self.unsure.len()),
                self.doubt,
                id_of(root, first),
                file_name(photo)
            ));
        }
        notices
    }
}

/// Whether most of a few of these masks have more colours than the classes of a segmentation. Grey ones may be mattes.
fn look_like_photos(pairs: &BTreeMap<PathBuf, PathBuf>) -> bool {
    const LOOKED_AT: usize = 5;
    const FEWEST_COLOURS: usize = 48;
    let has_many_colours = |mask: &PathBuf| {
        let Ok(image) = Decoder::default().decode_file_for(mask, 64) else { return false };
        // Coarse colours, so that the edges of a mask saved as JPEG add few.
        let coloured = image.pixels().chunks_exact(3).filter(|pixel| {
            pixel.iter().max().zip(pixel.iter().min()).is_some_and(|(most, least)| most - least > 16)
        });
        let mut colours: BTreeMap<[u8; 3], usize> = BTreeMap::new();
        for pixel in coloured {
            *colours.entry([pixel[0] >> 4, pixel[1] >> 4, pixel[2] >> 4]).or_default() += 1;
        }
        let pixels = image.pixels().len() / 3;
        colours.values().filter(|&&number| 2_000 * number >= pixels).count() >= FEWEST_COLOURS
    };
    let step = pairs.len().div_ceil(LOOKED_AT).max(1);
    let looked_at: Vec<bool> = pairs.keys().step_by(step).map(has_many_colours).collect();
    2 * looked_at.iter().filter(|is_photo| **is_photo).count() > looked_at.len()
}

/// Whether a name says that a folder holds photos, and nothing of what they show.
pub(crate) fn says_photos(name: &str) -> bool {
    let words = words(name);
    !words.is_empty() && words.iter().all(|word| PHOTOS.contains(&word.as_str()))
}

/// Whether a folder's name says that it may hold masks.
pub(crate) fn is_named(folder: &Path) -> bool {
    let words = words(&file_name(folder));
    let ground_truth = words.windows(2).any(|pair| pair[0] == "ground" && pair[1] == "truth");
    ground_truth || words.iter().any(|word| MASKS.contains(&word.as_str()))
}

/// The images below a folder, folder by folder.
#[derive(Default)]
struct Tree<'a> {
    /// Those in a folder directly.
    directly: BTreeMap<&'a Path, Vec<&'a Path>>,
    /// Those in a folder at any depth, without the root's.
    below: BTreeMap<&'a Path, Vec<&'a Path>>,
    /// The folders in a folder.
    folders: BTreeMap<&'a Path, BTreeSet<&'a Path>>,
}

impl<'a> Tree<'a> {
    fn add(&mut self, root: &Path, image: &'a Path) {
        let Some(folder) = image.parent() else { return };
        self.directly.entry(folder).or_default().push(image);
        for folder in folder.ancestors().take_while(|folder| *folder != root && folder.starts_with(root)) {
            self.below.entry(folder).or_default().push(image);
            if let Some(around) = folder.parent() {
                self.folders.entry(around).or_default().insert(folder);
            }
        }
    }

    /// The folder of the photos that the images in a folder are the masks of.
    fn photos_of(&self, masks: &Path) -> Option<PathBuf> {
        let around = masks.parent()?;
        let own = &self.below[masks];
        let rest = rest(&file_name(masks));
        let folders = self.folders.get(around)?;
        let plain: Vec<&Path> = folders.iter().copied().filter(|folder| !is_named(folder)).collect();
        // `cats_masks` beside `cats`, `dogs_masks` beside `dogs`.
        let has_masks = |folder: &&Path| {
            let rest = self::rest(&file_name(folder));
            !rest.is_empty()
                && folders.iter().any(|other| is_named(other) && self::rest(&file_name(other)) == rest)
        };
        let classes_have_masks = plain.len() > 1 && plain.iter().all(has_masks);
        for &beside in &plain {
            let name = file_name(beside);
            let of_photos = words(&name).iter().any(|word| PHOTOS.contains(&word.as_str()));
            let other_rest = self::rest(&name);
            // `train` beside `train_masks`.
            let of_split = other_rest == rest && rest.iter().any(|word| role::named_role(word).is_some());
            // `cats/cats masks` beside `cats/cats`.
            let around_rest = self::rest(&file_name(around));
            let is_of_around = !rest.is_empty() && plain.len() == 1 && around_rest == rest;
            let of_class = (classes_have_masks || is_of_around) && other_rest == rest;
            if !(of_split || of_class || of_photos && (other_rest.is_empty() || other_rest == rest)) {
                continue;
            }
            let stems: HashSet<String> = self.below[beside].iter().map(|image| stem(image)).collect();
            if nearly_all(own, |mask| stems.contains(&base(mask))) {
                return Some(beside.to_path_buf());
            }
        }
        if rest.is_empty() && self.are_of_all(own, &plain) {
            return Some(around.to_owned());
        }
        // The photos lie directly around the folder, and each has its mask.
        let loose: HashSet<String> =
            self.directly.get(around).into_iter().flatten().map(|image| stem(image)).collect();
        let bases: HashSet<String> = own.iter().map(|mask| base(mask)).collect();
        let masked = loose.iter().filter(|stem| bases.contains(*stem)).count();
        if !loose.is_empty()
            && 10 * masked >= 9 * loose.len()
            && nearly_all(own, |mask| loose.contains(&base(mask)))
        {
            return Some(around.to_owned());
        }
        // Its folders are those around it again: `masks/cats/1.png` of `cats/1.jpg`.
        let as_beside = |mask: &Path| -> Option<bool> {
            let inside = mask.strip_prefix(masks).ok()?.parent().filter(|inside| *inside != Path::new(""))?;
            let images = self.directly.get(around.join(inside).as_path())?;
            let base = base(mask);
            Some(images.iter().any(|image| stem(image) == base))
        };
        // A folder of many images is searched for each of them: one name in each is looked for first.
        let first = own.first().is_some_and(|mask| as_beside(mask) == Some(true));
        (first && nearly_all(own, |mask| as_beside(mask) == Some(true))).then(|| around.to_owned())
    }
}

impl Tree<'_> {
    /// Whether images have the names of those in all of several folders, which have none in common: `masks/cat1.png`,
    /// `masks/dog1.png` of `cats/cat1.jpg`, `dogs/dog1.jpg`. Numbers alone come in any folder.
    fn are_of_all(&self, masks: &[&Path], folders: &[&Path]) -> bool {
        let bases: HashSet<String> = masks.iter().map(|mask| base(mask)).collect();
        let stems: Vec<Vec<String>> = folders
            .iter()
            .map(|folder| self.below[folder].iter().map(|image| stem(image)).collect())
            .collect();
        let all: HashSet<&String> = stems.iter().flatten().collect();
        let have_masks = |stems: &Vec<String>| {
            10 * stems.iter().filter(|stem| bases.contains(*stem)).count() >= 9 * stems.len()
        };
        folders.len() > 1
            && all.len() == stems.iter().map(Vec::len).sum::<usize>()
            && stems.iter().all(have_masks)
            && nearly_all(masks, |mask| all.contains(&base(mask)))
    }
}

fn nearly_all(images: &[&Path], holds: impl Fn(&Path) -> bool) -> bool {
    10 * images.iter().filter(|image| holds(image)).count() >= 9 * images.len()
}

/// The words of a name, in small letters, without numbers: `SegmentationClass`, `train_masks2`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last = ' ';
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        // `JPEGImages` are two words.
        let next_is_small = letters.peek().is_some_and(|next| next.is_lowercase());
        let begins = !last.is_alphabetic()
            || letter.is_uppercase() && (last.is_lowercase() || last.is_uppercase() && next_is_small);
        if letter.is_alphabetic() {
            match words.last_mut().filter(|_| !begins) {
                Some(word) => word.extend(letter.to_lowercase()),
                None => words.push(letter.to_lowercase().collect()),
            }
        }
        last = letter;
    }
    words
}

/// The words of a folder's name that say neither photos nor masks.
fn rest(name: &str) -> Vec<String> {
    let says_nothing = |word: &String| {
        [&MASKS[..], &PHOTOS, &FILLERS].iter().any(|words| words.contains(&word.as_str()))
            || word == "ground"
            || word == "truth"
    };
    words(name).into_iter().filter(|word| !says_nothing(word)).collect()
}

/// A file's name without its ending, in small letters.
fn stem(image: &Path) -> String {
    crate::stem_of(image).to_lowercase()
}

/// The stem of the photo that a mask in another folder belongs to.
fn base(mask: &Path) -> String {
    let stem = stem(mask);
    photo_stem(&stem).map_or_else(|| stem.clone(), str::to_owned)
}

/// What comes before `_mask`, `-segmentation`, `_mask_1` in a stem, or after `mask_`.
fn photo_stem(stem: &str) -> Option<&str> {
    const MARKS: [char; 4] = ['_', '-', '.', ' '];
    let after = PREFIXES.iter().find_map(|prefix| stem.strip_prefix(prefix)?.strip_prefix(MARKS));
    if let Some(photo) = after.filter(|photo| !photo.is_empty()) {
        return Some(photo);
    }
    let named = stem.trim_end_matches(|letter: char| letter.is_ascii_digit()).trim_end_matches(MARKS);
    let suffix = SUFFIXES.iter().find_map(|suffix| named.strip_suffix(suffix))?;
    let photo = suffix.trim_end_matches(MARKS);
    (photo.len() < suffix.len() && !photo.is_empty()).then_some(photo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_into_words_and_masks_into_their_photos() {
        assert_eq!(words("JPEGImages"), ["jpeg", "images"]);
        assert_eq!(words("SegmentationClass"), ["segmentation", "class"]);
        assert_eq!(
            words("ISIC2018_Task1_Training_GroundTruth"),
            ["isic", "task", "training", "ground", "truth"]
        );
        for (mask, photo) in [
            ("benign (1)_mask", "benign (1)"),
            ("benign (1)_mask_1", "benign (1)"),
            ("isic_0000000_segmentation", "isic_0000000"),
            ("01-gt", "01"),
            ("mask_1", "1"),
        ] {
            assert_eq!(photo_stem(mask), Some(photo), "{mask}");
        }
        for name in ["mask", "unmask", "with_mask_on", "cat_1"] {
            assert_eq!(photo_stem(name), None, "{name}");
        }
    }
}
