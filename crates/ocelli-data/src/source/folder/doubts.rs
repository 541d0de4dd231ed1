//! What is doubtful about class folders that were read, one sentence each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::names::{ending, is_digits, is_year};
use crate::source::listing::BROKEN_LINK;
use crate::source::table::{is_table, names_labels};
use crate::text::count;
use crate::{Items, Skipped};

/// The part of the images from which on documents left out among them are a warning.
const MANY: f64 = 0.1;

/// What to say of the classes of these images, and of what lies beside them.
pub(super) fn of(items: &Items, skipped: &[Skipped]) -> Vec<String> {
    let above: BTreeSet<&Path> = items.items.iter().filter_map(|item| item.path.parent()?.parent()).collect();
    let beside: BTreeSet<&Path> = items.items.iter().filter_map(|item| item.path.parent()).collect();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found: Vec<String> = albums(items.classes.names()).into_iter().collect();
    found.extend(unsorted(items.classes.names()));
    found.extend(two_at_once(items.classes.names()));
    found.extend(numbered(items.classes.names()));
    // A link to a folder on a drive that is not there.
    let is_class = |skipped: &&Skipped| {
        let parent = skipped.path.parent();
        skipped.reason.starts_with(BROKEN_LINK)
            && skipped.path.extension().is_none()
            && parent.is_some_and(|parent| above.contains(parent))
    };
    let links: Vec<String> = skipped.iter().filter(is_class).map(|skipped| name(&skipped.path)).collect();
    if let [first, rest @ ..] = &links[..] {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        found.push(format!(
            "warning: {first}{more} beside the class folders leads nowhere, as a link to a drive that is not there: no class \
             is made of it"
        ));
    }
    found.extend(tables_inside(items, skipped, &beside));
    let is_in_class = |skipped: &&Skipped| {
        skipped.path.parent().is_some_and(|parent| {
            beside.contains(parent) || parent.parent().is_some_and(|parent| above.contains(parent))
        })
    };
    found.extend(packed(items, skipped, &|skipped| {
        is_in_class(&skipped) || skipped.path.parent().is_some_and(|parent| above.contains(parent))
    }));
    for (endings, kind, advice) in MAY_HOLD_IMAGES {
        let is_one = |skipped: &&Skipped| endings.contains(&ending(&skipped.path).as_str());
        let files: Vec<&Skipped> = skipped.iter().filter(is_one).filter(is_in_class).collect();
        let Some(first) = files.first() else { continue };
        let warning = if files.len() as f64 >= MANY * items.len() as f64 { "warning: " } else { "" };
        found.push(format!(
            "{warning}{kind} files in the class folders are left out: {}, the first is {}; {advice}",
            count(files.len()),
            crate::source::id_of(&items.root, &first.path)
        ));
    }
    found
}

/// The notice that archives and shortcuts lie in or beside class folders.
fn packed(items: &Items, skipped: &[Skipped], is_beside: &dyn Fn(&Skipped) -> bool) -> Option<String> {
    const ENDINGS: [&str; 11] = ["zip", "rar", "7z", "tar", "tgz", "gz", "xz", "bz2", "zst", "lnk", "dvc"];
    let is_one = |skipped: &&Skipped| ENDINGS.contains(&ending(&skipped.path).as_str()) && is_beside(skipped);
    let files: Vec<&Skipped> = skipped.iter().filter(is_one).collect();
    let first = files.first()?;
    Some(format!(
        "archives and shortcuts in or beside the class folders are not read: {}, the first is {}; where they hold images of a \
         class, put these into its folder",
        count(files.len()),
        crate::source::id_of(&items.root, &first.path)
    ))
}

/// Files that may hold images, and in class folders may be meant as such: their endings, what they are called, and what
/// to do.
const MAY_HOLD_IMAGES: [(&[&str], &str, &str); 4] = [
    (
        &["pdf"],
        "PDF",
        "where they are scans, save their pages as images, for example with Poppler: pdftoppm -r 150 -png FILE.pdf FILE",
    ),
    (
        &["h5", "hdf5"],
        "HDF5",
        "where they hold images, write these as PNG or TIFF files, for example with h5py",
    ),
    (
        &["mat"],
        "MATLAB",
        "where they hold images, write these as PNG or TIFF files, for example with scipy.io",
    ),
    (
        &["npy", "npz"],
        "NumPy",
        "where they hold images, write these as PNG or TIFF files, for example with Pillow",
    ),
];

/// That class folders hold tables of labels of their own.
fn tables_inside(items: &Items, skipped: &[Skipped], class_folders: &BTreeSet<&Path>) -> Option<String> {
    let with_table: Vec<&Skipped> = skipped
        .iter()
        .filter(|skipped| {
            let stem = crate::stem_of(&skipped.path);
            let parent = skipped.path.parent();
            let is_inside = |folder: &Path| {
                class_folders.contains(folder)
                    || class_folders.iter().any(|class| class.parent() == Some(folder))
            };
            is_table(&skipped.path)
                && names_labels(&stem)
                && parent.is_some_and(|parent| parent != items.root && is_inside(parent))
        })
        .collect();
    let folders: BTreeSet<&Path> = with_table.iter().filter_map(|skipped| skipped.path.parent()).collect();
    // One may be a class's own list.
    (folders.len() > 1 && 2 * folders.len() >= items.classes.len()).then(|| {
        format!(
            "warning: the class folders hold tables of their own, {} in all, such as {}, which are not read: the folders' names \
             are the classes; if the tables say them, put their rows into one table with the paths of the photos, and give \
             that (`from_csv`)",
            count(with_table.len()),
            crate::source::id_of(&items.root, &with_table[0].path)
        )
    })
}

/// The notice that classes are named by two things at once, each with each: `Anna_apple`, `Anna_pear`, `Ben_apple`,
/// `Ben_pear`.
fn two_at_once(classes: &[String]) -> Option<String> {
    let halves = |class: &'_ String| -> Option<(String, String)> {
        let mut words = class.split([' ', '_', '-']).filter(|word| !word.is_empty());
        match (words.next(), words.next(), words.next()) {
            (Some(first), Some(second), None) => Some((first.to_owned(), second.to_owned())),
            _ => None,
        }
    };
    let pairs: Vec<(String, String)> = classes.iter().map(halves).collect::<Option<_>>()?;
    let firsts: BTreeSet<&String> = pairs.iter().map(|(first, _)| first).collect();
    let seconds: BTreeSet<&String> = pairs.iter().map(|(_, second)| second).collect();
    let named = |words: &BTreeSet<&String>| super::some_names(words.iter().map(|word| (*word).clone()));
    for (numbers, words) in [(&firsts, &seconds), (&seconds, &firsts)] {
        if numbers.len() == classes.len()
            && words.len() > 1
            && 2 * words.len() <= classes.len()
            && are_ids(numbers)
        {
            return Some(format!(
                "warning: each class is named by a number of its own ({}) and one of a few words ({}): where the words are to be \
                 learned, put the images of each together, with the numbers in the files' names",
                named(numbers),
                named(words)
            ));
        }
    }
    let is_word = |words: &BTreeSet<&String>| {
        words.iter().all(|word| word.chars().any(char::is_alphabetic))
            || words.iter().all(|word| is_year(word))
    };
    let all = firsts.len() * seconds.len();
    // One may be missing: of many, each has nearly all.
    let complete = firsts.len() > 1
        && seconds.len() > 1
        && (classes.len() == all || all >= 6 && classes.len() + 1 == all);
    (complete && is_word(&firsts) && is_word(&seconds)).then(|| {
        format!(
            "the classes are named by two things at once ({}, each with {}); where one of them is not to be learned, as a \
             person or a place, put the images of the other together",
            named(&firsts),
            named(&seconds)
        )
    })
}

/// That classes are numbered as the folders of several classes are that were filled one after the other: `cat 1`, `cat 2`,
/// `dog 1`, `dog 2`.
fn numbered(classes: &[String]) -> Option<String> {
    /// A name, and the number behind it, where that is one of a few.
    fn parts(class: &str) -> (String, Option<u32>) {
        let name = class.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let number = class[name.len()..].parse().ok().filter(|number| (1..10).contains(number));
        let stem = if number.is_some() { name.trim_end_matches([' ', '_', '-']) } else { class };
        (stem.to_lowercase(), number)
    }
    let mut by_stem: BTreeMap<String, BTreeSet<Option<u32>>> = BTreeMap::new();
    for class in classes {
        let (stem, number) = parts(class);
        by_stem.entry(stem).or_default().insert(number);
    }
    by_stem.retain(|stem, _| stem.chars().any(char::is_alphabetic));
    let runs = |numbers: &BTreeSet<Option<u32>>| {
        let numbers: Vec<u32> = numbers.iter().flatten().copied().collect();
        numbers.len() > 1 && numbers.iter().zip(1..).all(|(number, expected)| *number == expected)
    };
    // Of one name, numbers may be what is to be learned: `Type 1`, `Type 2`.
    let several: Vec<&String> =
        by_stem.iter().filter(|(_, numbers)| runs(numbers)).map(|(stem, _)| stem).collect();
    let is_one = |class: &&String| several.contains(&&parts(class).0);
    let named: Vec<String> = classes.iter().filter(is_one).map(|class| format!("\"{class}\"")).collect();
    (several.len() > 1).then(|| {
        format!(
            "warning: {} are numbered as several folders of one class are, and are a class each; if they are not, put the \
             images of each name together",
            super::some_of(&named)
        )
    })
}

/// Whether names are numbers, or letters before a number, as those of patients are: `p01`, `0042`.
fn are_ids(names: &BTreeSet<&String>) -> bool {
    names.iter().all(|name| is_digits(name.trim_start_matches(char::is_alphabetic)))
}

/// That folders are called as those of photos that nobody has sorted yet, or that are none of their own.
fn unsorted(classes: &[String]) -> Option<String> {
    const NAMES: [&str; 76] = [
        "papierkorb",
        "not used",
        "to label",
        "no label yet",
        "ungelabelt",
        "gelöscht",
        "bak",
        "thumbs",
        "thumbnails",
        "no label",
        "nolabel",
        "unlabeled",
        "unlabelled",
        "not labeled",
        "unsorted",
        "not sorted",
        "to sort",
        "tosort",
        "todo",
        "to do",
        "unsortiert",
        "nicht sortiert",
        "zu sortieren",
        "new folder",
        "neuer ordner",
        "nouveau dossier",
        "nueva carpeta",
        "nuova cartella",
        "nova pasta",
        "nieuwe map",
        "untitled folder",
        "predictions",
        "prediction",
        "predict",
        "preds",
        "pred",
        "to predict",
        "inference",
        "unclassified",
        "unlabelled photos",
        "unlabeled photos",
        "sort later",
        "sin clasificar",
        "à trier",
        "a trier",
        "da ordinare",
        "未分类",
        "doppelt",
        "dups",
        "aug",
        "preview",
        "previews",
        "heatmaps",
        "gradcam",
        "grad cam",
        "results",
        "output",
        "outputs",
        "checkpoints",
        "misclassified",
        "duplicates",
        "duplikate",
        "augmented",
        "backup",
        "sicherung",
        "temp",
        "tmp",
        "deleted",
        "recents",
        "favorites",
        "favourites",
        "untitled",
        "failed videos",
        "camera roll",
        "saved pictures",
        "screenshots",
    ];
    let is_one = |class: &&String| {
        let words = class.replace(['_', '-'], " ").to_lowercase();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        // `New folder (2)`
        NAMES.contains(&words.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '(' | ')' | ' ')))
    };
    // Sorted or not, labelled or not, may be what is to be learned.
    let bare = |class: &str| class.to_lowercase().replace([' ', '_', '-'], "");
    if let [one, other] = classes
        && let (one, other) = (bare(one), bare(other))
        && ["un", "not", "nicht"].iter().any(|not| {
            one.strip_prefix(not) == Some(other.as_str()) || other.strip_prefix(not) == Some(one.as_str())
        })
    {
        return None;
    }
    let named: Vec<String> = classes.iter().filter(is_one).map(|class| format!("\"{class}\"")).collect();
    // Beside other kinds of pictures, screenshots are one.
    if named == ["\"screenshots\"".to_owned()] || named == ["\"Screenshots\"".to_owned()] {
        return None;
    }
    (!named.is_empty() && named.len() < classes.len()).then(|| {
        format!(
            "warning: {} {} called as a folder of photos without a class, and taken for a class; move it out if it is none",
            super::some_of(&named),
            if named.len() == 1 { "is" } else { "are each" }
        )
    })
}

/// That folders are albums of years and bins, as exports of photo services have them, and hardly classes.
fn albums(classes: &[String]) -> Option<String> {
    const PHOTOS: [&str; 7] = ["photos", "fotos", "foto", "photo", "foto's", "foton", "billeder"];
    const BINS: [&str; 10] = [
        "trash",
        "bin",
        "papierkorb",
        "corbeille",
        "papelera",
        "cestino",
        "lixeira",
        "prullenbak",
        "archive",
        "archiv",
    ];
    let is_album = |class: &&String| {
        let lower = class.to_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        matches!(words[..], [first, .., last] if PHOTOS.contains(&first) && is_year(last))
    };
    let years: Vec<&String> = classes.iter().filter(is_album).collect();
    if years.is_empty() || years.len() == classes.len() {
        return None;
    }
    let is_bin = |class: &&String| BINS.contains(&class.to_lowercase().as_str());
    let named: Vec<String> =
        years.into_iter().chain(classes.iter().filter(is_bin)).map(|class| format!("\"{class}\"")).collect();
    Some(format!(
        "warning: {} are named as an export of photos by year names its folders, and are taken for classes; move them out if \
         they are none",
        super::some_of(&named)
    ))
}
