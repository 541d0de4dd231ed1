//! What is doubtful about class folders that were read, one sentence each.

use std::collections::BTreeSet;
use std::path::Path;

use crate::names::is_year;
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
    for (endings, kind, advice) in MAY_HOLD_IMAGES {
        let is_one = |skipped: &&Skipped| {
            let ending = skipped.path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            endings.contains(&ending.as_str())
        };
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
            let stem = skipped.path.file_stem().unwrap_or_default().to_string_lossy();
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
