//! Why a folder has no class folders: boxes in images instead, or classes in the images' names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{images, some_names};
use crate::DataError;
use crate::names::{ending, file_name, is_digits, stem_of};
use crate::source::id_of;

/// The most words that images' names begin with which may be classes.
const MOST_WORDS: usize = 50;

/// That a folder has boxes in images, and no class of each image.
pub(super) fn of_detection(root: &Path, boxes: &Path) -> DataError {
    DataError::Split {
        reason: format!(
            "{} is a data set for detection: {} says where in images things are, and no class of a whole image",
            root.display(),
            id_of(root, boxes)
        ),
        advice: "export it for classification (Roboflow calls that \"Folder Structure\"), or cut the boxes out, into a \
                 folder for each class"
            .to_owned(),
    }
}

/// The first file with boxes in images: of YOLO, VOC or COCO.
pub(super) fn boxes_in(root: &Path) -> Option<PathBuf> {
    /// So many folders deep, and so many files, they are looked for.
    const DEEPEST: usize = 4;
    const SOME: usize = 20_000;
    /// So many bytes tell what a file is.
    const BEGINNING: u64 = 1 << 16;
    let beginning = |path: &Path| -> Option<String> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(BEGINNING).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let has_boxes = |path: &Path| match ending(path).as_str() {
        "txt" => {
            let in_labels = path
                .parent()
                .is_some_and(|folder| folder.ancestors().any(|folder| file_name(folder) == "labels"));
            in_labels
                && beginning(path).is_some_and(|text| {
                    let words: Vec<&str> =
                        text.lines().next().unwrap_or_default().split_whitespace().collect();
                    words.len() >= 5 && words.iter().all(|word| is_number(word))
                })
        }
        "xml" => beginning(path).is_some_and(|text| text.contains("<bndbox>")),
        "json" => {
            beginning(path).is_some_and(|text| text.contains("\"bbox\"") && text.contains("\"image_id\""))
        }
        _ => false,
    };
    let walk = WalkDir::new(root).max_depth(DEEPEST).sort_by_file_name().into_iter().flatten().take(SOME);
    walk.filter(|entry| entry.file_type().is_file()).map(DirEntry::into_path).find(|path| has_boxes(path))
}

/// The words that the names of images begin with, where each is that of several, and they are few: `cat.0.jpg`, `dog.0.jpg`;
/// or the numbers, where all have two: `0_1.jpg`.
pub(super) fn first_words(images: &[&Path]) -> Option<BTreeSet<String>> {
    let word = |path: &&Path| {
        let name = stem_of(path);
        let word: String = name.chars().take_while(|letter| letter.is_alphabetic()).collect();
        let rest = &name[word.len()..];
        let (class, number) = name.split_once(['_', '-']).unwrap_or_default();
        match word.chars().count() {
            0 => (is_digits(class) && is_digits(number)).then(|| class.to_owned()),
            1 => rest.starts_with(|c: char| c.is_ascii_digit()).then_some(word),
            _ => {
                rest.chars().next().is_none_or(|c| ".-_ (".contains(c) || c.is_ascii_digit()).then_some(word)
            }
        }
    };
    let words: Vec<String> = images.iter().map(word).collect::<Option<_>>()?;
    let different: BTreeSet<String> = words.iter().cloned().collect();
    let is_of_several = |one: &String| words.iter().filter(|other| *other == one).count() > 1;
    // Cameras' and programs' words say nothing.
    let is_usual = |word: &String| {
        ["img", "image", "dsc", "dscn", "dscf", "photo", "pxl", "screenshot", "frame", "mvimg", "dji", "gopr"]
            .contains(&word.to_lowercase().as_str())
    };
    let found = (2..=MOST_WORDS).contains(&different.len())
        && different.iter().all(is_of_several)
        && !different.iter().any(is_usual);
    found.then_some(different)
}

/// That images lie together, and their names seem to begin with their classes.
pub(super) fn in_names(folder: &Path, number: usize, words: BTreeSet<String>) -> DataError {
    let first = words.first().cloned().unwrap_or_default();
    DataError::Split {
        reason: format!(
            "{} holds {} but no folder for each class; their names begin with {}",
            folder.display(),
            images(number),
            some_names(words)
        ),
        advice: format!(
            "if these are the classes, put the images into folders of these names ({}), or give a CSV file of labels",
            folder.join(first).display()
        ),
    }
}
