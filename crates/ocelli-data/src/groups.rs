//! Groups of images: of one patient, one site, one burst of a camera. Metrics on an image are too good if
//! others of its group are training images.

use std::collections::{BTreeMap, HashMap, HashSet};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::names::is_digits;
use crate::source::role;
use crate::source::table::Column;
use crate::{DataError, Items};

/// What defines the groups of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grouping {
    /// A column of the table of labels: images with the same text are a group. An empty cell is no group.
    Column(Column),
    /// A regular expression that is searched in the file's name, or, if it contains a `/`, in the id: the
    /// group is its first capture group, or the whole match.
    Pattern(String),
}

/// The group of each item, found in its name by a regular expression; see [`Grouping::Pattern`].
///
/// # Errors
/// Where it is not a regular expression, and where it does not match a name.
pub fn by_pattern(items: &Items, pattern: &str) -> Result<Vec<Option<String>>, DataError> {
    let refused = |reason: String| DataError::Split {
        reason,
        advice:
            "give a regular expression such as \"^(patient[0-9]+)_\", whose first group is what images share"
                .to_owned(),
    };
    let regex = Regex::new(pattern).map_err(|error| {
        // The parser's drawing of where it stopped needs lines of its own.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or(&error).trim_start_matches("error: ");
        refused(format!("the pattern of groups, {pattern}, is no regular expression: {reason}"))
    })?;
    let whole = pattern.contains('/');
    let group = |id: &str| {
        let name = if whole { id } else { id.rsplit('/').next().unwrap_or(id) };
        let found = regex.captures(name)?;
        let group = if regex.captures_len() > 1 { found.get(1)? } else { found.get(0)? };
        Some(group.as_str().to_owned())
    };
    let groups: Vec<Option<String>> = items.items.iter().map(|item| group(&item.id)).collect();
    let without = groups.iter().filter(|group| group.is_none()).count();
    match items.items.iter().zip(&groups).find(|(_, group)| group.is_none()) {
        None => Ok(groups),
        Some((item, _)) => Err(refused(format!(
            "the pattern of groups, {pattern}, does not match {without} of {} names; the first is {}",
            items.len(),
            item.id
        ))),
    }
}

/// Images whose names say that they belong together: others changed, as augmented before the split, or of one shot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelatedImages {
    /// What the images have in common that belong together; `None` for one without others.
    pub groups: Vec<Option<String>>,
    /// The pattern of groups that keeps them together.
    pub pattern: String,
    /// Two that belong together.
    pub example: (String, String),
}

/// Roboflow's: `cat_jpg.rf.HASH.jpg`.
const ROBOFLOW: &str = r"([^/]+?)(?:\.rf\.[^/]*)?$";
/// What programs that augment images add to their names: `cat_aug.png`, `cat-flip.png`, `cat_rot90.png`, `aug_cat.png`.
const CHANGED: &str = r"(?i)(?:^|/)(?:(?:aug(?:mented)?|flip(?:ped)?|mirror(?:ed)?|rot(?:ated)?|crop(?:ped)?|r(?:90|180|270))[_ -]+)?([^/]+?)(?:[_. -]+(?:aug(?:mented)?|(?:(?:horizontal|vertical)[_ -]?)?[hv]?flip(?:ped|lr|tb|ud|h|v)?|mirror(?:ed)?|rot(?:ate|ated)?|crop(?:ped)?|blur(?:red)?|noise|noisy|bright(?:ness|er)?|dark(?:er)?|contrast|gr[ae]y|shift(?:ed)?|zoom(?:ed)?|shear|edited|cop(?:y|ie|ia)|kopie|r(?:90|180|270)|(?:new)?[0-9]{1,3}deg(?:flip(?:lr|tb|ud))?)[_-]?[0-9]*)*\.[^/.]+$";
/// Keras': `cat_0_1234.png` of `cat.png`; and `cat_90.png`, turned.
const KERAS: &str = r"([^/]+?)(?:_[0-9]{1,4}_[0-9]{1,4}|_(?:90|180|270))?\.[^/.]+$";
/// Augmentor's: `cats_original_1.jpg_HASH.jpg` of `1.jpg`.
const AUGMENTOR: &str = r"(?:[^/]*?_original_)?([^/]+?)(?:\.[A-Za-z]+_[0-9a-f]{8}-[0-9a-f-]+)?\.[^/.]+$";
/// The bands and cameras of a drone's shot: `DJI_0001_D.JPG`, `DJI_0001_MS_NIR.TIF`.
const BANDS: &str = r"(?i)(DJI_[^/]*?[0-9]+)(?:_(?:D|T|W|Z|V|S|MS_[A-Z]+))?\.[^/.]+$";
/// Keras' copies alone: `_0_1234.jpeg`, `_0_77.jpeg` of one image, or with its usual prefix `aug_0_1234.jpeg`.
const KERAS_ALONE: &str = r"(?i)^((?:aug[a-z]*(?:_[a-z]+)?)?_[0-9]+)_[0-9]{1,4}\.[^/.]+$";
/// Tiles of a picture: `slide_x0_y1.png`, `slide_row1_col2.png`, `slide_tile_7.png`, `slide_x0_y1_class0.png`.
const TILES: &str = r"(?i)([^/]+?)[_-](?:x[0-9]+[_-]?y[0-9]+|r(?:ow)?[0-9]+[_-]?c(?:ol)?[0-9]+|(?:tile|patch)[_-]?[0-9]+)(?:[_-][a-z]+[0-9]*)?\.[^/.]+$";
/// The two of a pair: `10_left.jpeg`, `10_right.jpeg`; `3_front.jpg`, `3_back.jpg`.
const SIDES: &str = r"(?i)([^/]+?)[_ -](?:left|right|front|back)\.[^/.]+$";
/// Images of one patient, animal, video: `patient07_img2.png`, `sub-01_slice3.png`.
const SUBJECTS: &str = r"(?i)((?:patient|pat|subject|subj|sub|person|participant|donor|case|animal|specimen|lesion|slide|video|vid|clip|scene|sequence|seq|burst)[_ -]?[0-9]+)[_ -][^/]+$";
/// Frames of a film, slices of a volume, views of a thing: `p00_frame000.png`, `3_slice10.png`, `3_cam0.jpg`, `v3_f001.jpg`.
const FRAMES: &str =
    r"(?i)([^/]+?)[_ -](?:(?:frame|frm|slice|slc|view|cam|camera)[_ -]?[0-9]+|f[0-9]{3,})\.[^/.]+$";
/// What a scanner sees of one place: `3_T1.png`, `3_FLAIR.png`.
const SEQUENCES: &str = r"(?i)([^/]+?)[_ -](?:t1|t1c|t1ce|t1w|t2|t2w|flair|dwi|adc|swi)\.[^/.]+$";
/// Images that are numbered anew for each film, patient, thing: `00003_00000.png` to `00003_00029.png`, as traffic signs are
/// in GTSRB; `CNV-1000-1.jpeg`.
const NUMBERED: &str = r"^([^/]*[0-9])[_-][0-9]+\.[^/.]+$";
/// What an iPhone has edited: `IMG_E0001.JPG` of `IMG_0001.JPG`.
const IPHONE: &str = r"(?i)IMG_E?([0-9]+)\.[^/.]+$";
/// The same image in another format: `DSC1.jpg` and `DSC1.tif`. Numbers alone may be those of two collections.
const FORMATS: &str = r"([^/]*[A-Za-z][^/]*?)\.[^/.]+$";
/// Folders of such images within those of the others: `cat/augmented/1.png` of `cat/1.png`.
const CHANGED_FOLDERS: [&str; 14] = [
    "aug",
    "augmented",
    "augmentation",
    "augmentations",
    "flip",
    "flipped",
    "hflip",
    "vflip",
    "mirrored",
    "rotated",
    "cropped",
    "crops",
    "resized",
    "edited",
];

/// Folders of the others beside them: `cat/original/1.png`.
const ORIGINAL_FOLDERS: [&str; 5] = ["orig", "original", "originals", "raw", "source"];

/// The images among these whose names say that they belong together; `None` where there are hardly any.
pub fn related_images_of(items: &Items) -> Option<RelatedImages> {
    let is_longer = |name: &str, stem: &str| name.rsplit_once('.').is_some_and(|(all, _)| all != stem);
    let is_jpeg = |name: &str| [".jpg", ".jpeg"].iter().any(|ending| name.ends_with(ending));
    let always = |_: &str, _: &str| true;
    let is_iphone = |name: &str, _: &str| name.to_lowercase().starts_with("img_e");
    let are_numbered = are_numbered_anew(items);
    // A pattern; whether the image itself must be there, since names may be so by chance; whether a name is that of one image
    // in all folders of a split; and which images are changed.
    type Way<'a> = (&'static str, bool, bool, &'a dyn Fn(&str, &str) -> bool);
    let ways: [Way; 14] = [
        (ROBOFLOW, false, true, &|name, _| name.contains(".rf.")),
        (AUGMENTOR, false, true, &|name, _| name.contains("_original_")),
        (CHANGED, false, true, &is_longer),
        (KERAS, true, false, &is_longer),
        (KERAS_ALONE, false, true, &always),
        (BANDS, false, false, &is_longer),
        (TILES, false, true, &always),
        (SIDES, false, true, &always),
        (SUBJECTS, false, true, &always),
        (FRAMES, false, false, &always),
        (SEQUENCES, false, false, &always),
        (NUMBERED, false, false, &|_, _| are_numbered),
        (IPHONE, true, false, &is_iphone),
        (FORMATS, true, false, &|name, _| !is_jpeg(&name.to_lowercase())),
    ];
    let known = ways.into_iter().find_map(|(pattern, needs_original, across_split, is_changed)| {
        related_by(items, pattern, needs_original, across_split, is_changed)
    });
    known.or_else(|| {
        let pattern = pattern_of_affixes(items)?;
        related_by(items, &pattern, true, true, is_longer)
    })
}

/// A pattern for what is often added to the names of other images of a folder, before or after them: `rotated_by_15_`,
/// `saltandpepper_`, `_sharpened`.
fn pattern_of_affixes(items: &Items) -> Option<String> {
    /// So many images say what is added.
    const SOME: usize = 20_000;
    /// So often at least, and to one of so many images.
    const FEWEST: usize = 5;
    const RAREST: usize = 50;
    const MOST: usize = 40;
    // Apart from the name, and a word: numbers and letters alone tell images apart.
    let is_affix = |text: &str, boundary: Option<char>| {
        boundary.is_some_and(|boundary| !boundary.is_alphanumeric())
            && text.chars().filter(|letter| letter.is_alphabetic()).count() > 1
    };
    let mut folders: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    for item in items.items.iter().take(SOME) {
        let (folder, name) = item.id.rsplit_once('/').unwrap_or(("", &item.id));
        if let Some((stem, _)) = name.rsplit_once('.') {
            folders.entry(folder).or_default().insert(stem);
        }
    }
    let all: usize = folders.values().map(HashSet::len).sum();
    // What is added, with digits as one, and whether before a name; and to how many names.
    let mut affixes: BTreeMap<(String, bool), HashSet<(&str, &str)>> = BTreeMap::new();
    for (folder, stems) in &folders {
        for stem in stems {
            for (at, letter) in stem.char_indices().skip(1) {
                let (before, after) = stem.split_at(at);
                if is_affix(before, before.chars().last()) && stems.contains(after) {
                    affixes.entry((without_digits(before), true)).or_default().insert((folder, after));
                }
                if is_affix(after, Some(letter)) && stems.contains(before) {
                    affixes.entry((without_digits(after), false)).or_default().insert((folder, before));
                }
            }
        }
    }
    affixes.retain(|_, images| images.len() >= FEWEST && RAREST * images.len() >= all);
    let one_of = |is_before: bool| {
        let mut found: Vec<&str> =
            affixes.keys().filter(|key| key.1 == is_before).map(|key| &*key.0).collect();
        // The longest first, since one may begin as another does.
        found.sort_by_key(|affix| std::cmp::Reverse(affix.len()));
        found.truncate(MOST);
        let found: Vec<String> =
            found.into_iter().map(|affix| regex::escape(affix).replace('0', "[0-9]+")).collect();
        if found.is_empty() { String::new() } else { format!("(?:{})?", found.join("|")) }
    };
    (!affixes.is_empty()).then(|| format!(r"^{}([^/]+?){}\.[^/.]+$", one_of(true), one_of(false)))
}

/// A text with each of its numbers as one 0.
fn without_digits(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_ascii_digit() {
            true if plain.ends_with('0') => {}
            true => plain.push('0'),
            false => plain.push(letter),
        }
    }
    plain
}

/// Whether names end in two numbers, of which the last counts from the beginning for each value of the first, a few dozen
/// times, and a folder has several of these. A camera's own (`100_0001.jpg`) count on.
fn are_numbered_anew(items: &Items) -> bool {
    const FEWEST_FILMS: usize = 5;
    const FRAMES: std::ops::RangeInclusive<usize> = 3..=60;
    let mut films: HashMap<&str, Vec<u64>> = HashMap::new();
    for item in &items.items {
        let parts = item.id.rsplit_once('.').and_then(|(path, _)| path.rsplit_once(['_', '-']));
        let Some((film, number)) = parts.filter(|(film, number)| {
            is_digits(number) && film.ends_with(|letter: char| letter.is_ascii_digit())
        }) else {
            return false;
        };
        let Ok(value) = number.parse() else { return false };
        films.entry(film).or_default().push(value);
    }
    let counts_on = |numbers: &Vec<u64>| {
        let first = numbers.iter().min().copied().unwrap_or_default();
        let last = numbers.iter().max().copied().unwrap_or_default();
        first < 2 && last - first < 2 * numbers.len() as u64
    };
    let folders: HashSet<&str> =
        films.keys().map(|film| film.rsplit_once('/').map_or("", |(folder, _)| folder)).collect();
    let mean = items.len() / films.len().max(1);
    films.len() >= FEWEST_FILMS.max(2 * folders.len())
        && FRAMES.contains(&mean)
        && 10 * films.values().filter(|film| counts_on(film)).count() >= 9 * films.len()
}

/// What images have in common: the path before and after the folder of a split, and the stem of their names.
type Key<'a> = (&'a str, &'a str, &'a str);

fn related_by(
    items: &Items,
    pattern: &str,
    needs_original: bool,
    across_split: bool,
    is_changed: impl Fn(&str, &str) -> bool,
) -> Option<RelatedImages> {
    let regex = Regex::new(pattern).expect("a valid pattern");
    // A few names may be so by chance.
    const FEWEST: usize = 3;
    // The folder and the stem that images have in common, and whether an image is changed.
    let found: Vec<Option<((&str, &str), bool)>> = items
        .items
        .iter()
        .map(|item| {
            // Of a folder: in another there are other images of the same names.
            let (folder, name) = item.id.rsplit_once('/').unwrap_or(("", &item.id));
            let stem = regex.captures(name)?.get(1)?.as_str();
            let (around, own) = folder.rsplit_once('/').unwrap_or(("", folder));
            let own = own.to_lowercase();
            let of_changed = CHANGED_FOLDERS.contains(&own.as_str());
            let is_inside = of_changed || ORIGINAL_FOLDERS.contains(&own.as_str());
            let folder = if is_inside { around } else { folder };
            Some(((folder, stem), of_changed || is_changed(name, stem)))
        })
        .collect();
    // Most data sets have none, and some have millions of images.
    if found.iter().flatten().filter(|(_, is_changed)| *is_changed).count() < FEWEST {
        return None;
    }
    let keys = keys_of(&found, across_split);
    // Of each key: the images that are changed, and those that are not.
    let mut of_key: HashMap<Key, [Vec<usize>; 2]> = HashMap::new();
    for (index, key) in keys.iter().enumerate() {
        if let (Some(key), Some((_, is_changed))) = (key, found[index]) {
            of_key.entry(*key).or_default()[usize::from(!is_changed)].push(index);
        }
    }
    let is_group = |images: &[Vec<usize>; 2]| {
        let [changed, original] = images;
        // The same name in two parts of a split says nothing, as `1.jpg` in both says nothing.
        let mut names = images
            .iter()
            .flatten()
            .map(|&index| items[index].id.rsplit_once('/').unwrap_or(("", &items[index].id)));
        let Some((first_folder, first)) = names.next() else { return false };
        // Names tell mostly; folders are looked at where they do not.
        let differs = |(folder, name): (&str, &str)| {
            name != first || without_split(folder) != without_split(first_folder)
        };
        !changed.is_empty() && names.any(differs) && !(needs_original && original.is_empty())
    };
    let mut changed: Vec<(usize, usize)> = of_key
        .values()
        .filter(|images| is_group(images))
        .filter_map(|[changed, original]| Some((*changed.first()?, *original.first().or(changed.get(1))?)))
        .collect();
    changed.sort_unstable();
    let &(one, other) = changed.first().filter(|_| changed.len() >= FEWEST)?;
    let name = |index: usize| items[index].id.clone();
    let group = |key: &Key| {
        let (before, after, stem) = key;
        of_key.get(key).is_some_and(is_group).then(|| format!("{before}/{after}/{stem}"))
    };
    let groups = keys.iter().map(|key| group(key.as_ref()?)).collect();
    Some(RelatedImages { groups, pattern: pattern.to_owned(), example: (name(one), name(other)) })
}

/// The key of each image. Where names may be those of one image in all folders of a split, an image that is called as a
/// changed one of `train` belongs to it in `valid`, too; unless both have an image of the name itself.
fn keys_of<'a>(found: &[Option<((&'a str, &'a str), bool)>], across_split: bool) -> Vec<Option<Key<'a>>> {
    let mut outside: HashMap<&str, (&str, &str)> = HashMap::new();
    let mut originals: HashMap<Key, HashSet<&str>> = HashMap::new();
    if across_split {
        for &((folder, stem), is_changed) in found.iter().flatten() {
            let (before, after) = *outside.entry(folder).or_insert_with(|| without_split(folder));
            if !is_changed {
                originals.entry((before, after, stem)).or_default().insert(folder);
            }
        }
    }
    let key = |&((folder, stem), _): &((&'a str, &'a str), bool)| -> Key<'a> {
        let whole = (folder, "", stem);
        let Some((before, after)) = outside.get(folder) else { return whole };
        let joined = (*before, *after, stem);
        if originals.get(&joined).is_none_or(|folders| folders.len() < 2) { joined } else { whole }
    };
    found.iter().map(|found| found.as_ref().map(key)).collect()
}

/// The parts of a path before and after the folder of a split: of `data/train/cats`, `data` and `cats`.
fn without_split(folder: &str) -> (&str, &str) {
    let mut start = 0;
    for name in folder.split('/') {
        let end = start + name.len();
        if role::roles(&[name])[0].is_some() {
            let after = folder.get(end + 1..).unwrap_or_default();
            return (folder[..start].trim_end_matches('/'), after);
        }
        start = end + 1;
    }
    (folder, "")
}
