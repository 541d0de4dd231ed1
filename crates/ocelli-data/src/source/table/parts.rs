//! Whether folders are called as the parts of one collection, and not as classes: `images_part_1`, `batch2`.

use std::collections::BTreeSet;

use crate::names::{is_digits, is_year};

/// The words of a name, and its numbers.
fn tokens(name: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut last = None;
    for character in name.to_lowercase().chars() {
        let kind = match character {
            c if c.is_ascii_digit() => Some(0),
            c if c.is_alphabetic() => Some(1),
            _ => None,
        };
        match kind {
            Some(_) if kind == last => tokens.last_mut().expect("not the first").push(character),
            Some(_) => tokens.push(character.to_string()),
            None => {}
        }
        last = kind;
    }
    tokens
}

/// Whether names differ in a running number or letter only, as those of the parts of one collection do:
/// `images_001`, `batch2`, `part_b`. Names of nothing else, those whose word says that they are classes, and
/// WordNet's (`n02102040`) are none.
pub(super) fn are_parts(names: &BTreeSet<String>) -> bool {
    const CLASSES: [&str; 13] = [
        "class", "classes", "category", "label", "grade", "stage", "level", "type", "kind", "score",
        "degree", "rating", "stars",
    ];
    let all: Vec<Vec<String>> = names.iter().map(|name| tokens(name)).collect();
    let Some((first, rest)) = all.split_first() else { return false };
    if rest.is_empty() || rest.iter().any(|other| other.len() != first.len()) {
        return false;
    }
    let differs = |place: &usize| rest.iter().any(|other| other[*place] != first[*place]);
    let different: Vec<usize> = (0..first.len()).filter(differs).collect();
    let [place] = different[..] else { return false };
    let runs = |token: &String| token.bytes().all(|byte| byte.is_ascii_digit()) || token.chars().count() == 1;
    let words =
        || first.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, word)| word.as_str());
    all.iter().all(|name| runs(&name[place]))
        && words().any(|word| word.chars().any(char::is_alphabetic))
        && !words().any(|word| CLASSES.contains(&word))
        && !names.iter().all(|name| is_synset(name))
}

/// Whether a name is the number of a set of synonyms in WordNet, as ImageNet's classes are called.
fn is_synset(name: &str) -> bool {
    name.strip_prefix('n').is_some_and(|number| number.len() == 8 && is_digits(number))
}

/// Whether names are those that cameras and phones give to their folders: `100APPLE`, `101CANON`.
fn are_of_a_camera(names: &BTreeSet<String>) -> bool {
    let is_one = |name: &String| {
        let (number, rest) = name.split_at_checked(3).unwrap_or_default();
        is_digits(number)
            && rest.len() == 5
            && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            && !is_digits(rest)
    };
    names.len() > 1 && names.iter().all(is_one)
}

/// Whether names are years, as those of albums.
fn are_years(names: &BTreeSet<String>) -> bool {
    names.len() > 1 && names.iter().all(|name| is_year(name))
}

/// Whether names are months or days, as `2024-01`, `20240131`, `01_Januar`, `Montag` and `day1`.
fn are_dates(names: &BTreeSet<String>) -> bool {
    const NAMED: [&str; 47] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "januar",
        "februar",
        "märz",
        "mai",
        "juni",
        "juli",
        "oktober",
        "dezember",
        "janvier",
        "février",
        "mars",
        "avril",
        "juin",
        "juillet",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "montag",
        "dienstag",
        "mittwoch",
        "donnerstag",
        "freitag",
        "samstag",
        "sonntag",
        "lundi",
        "mardi",
        "mercredi",
        "jeudi",
        "vendredi",
        "samedi",
        "dimanche",
    ];
    let is_one = |name: &String| {
        let lower = name.to_lowercase();
        let digits: String = lower.chars().filter(|letter| letter.is_ascii_digit()).collect();
        let others: String = lower.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        let is_date = matches!(digits.len(), 6 | 8)
            && others.chars().all(|letter| matches!(letter, '-' | '_' | '.'))
            && is_year(&digits[..4])
            && digits[4..6].parse().is_ok_and(|month: u32| (1..=12).contains(&month));
        let word = others.trim_matches(['-', '_', '.', ' ']);
        is_date
            || NAMED.contains(&word)
            || matches!(word, "day" | "tag" | "jour" | "week") && !digits.is_empty()
    };
    names.len() > 1 && names.iter().all(is_one)
}

/// Whether names are those of a phone's albums.
fn are_of_a_phone(names: &BTreeSet<String>) -> bool {
    const ALBUMS: [&str; 14] = [
        "camera roll",
        "saved pictures",
        "camera",
        "screenshots",
        "whatsapp images",
        "restored",
        "download",
        "downloads",
        "dcim",
        "pictures",
        "telegram",
        "instagram",
        "snapchat",
        "screen recordings",
    ];
    let is_album = |name: &String| {
        let lower = name.to_lowercase();
        ALBUMS.contains(&lower.as_str()) || lower.starts_with("whatsapp chat ")
    };
    names.len() > 1 && names.iter().all(is_album)
}

/// Whether names say that folders are parts, whatever is in them: by a word, or as those of a camera or of albums are.
pub(crate) fn are_surely_parts(names: &BTreeSet<String>) -> bool {
    are_parts(names) && has_part_word(names)
        || are_of_a_camera(names)
        || are_years(names)
        || are_dates(names)
        || are_of_a_phone(names)
}

/// Whether a word of the names says that they are parts, whatever is in them.
pub(super) fn has_part_word(names: &BTreeSet<String>) -> bool {
    const PARTS: [&str; 32] = [
        "patient",
        "part",
        "parts",
        "batch",
        "batches",
        "chunk",
        "shard",
        "zip",
        "archive",
        "images",
        "imgs",
        "photos",
        "pictures",
        "train",
        "training",
        "set",
        "subset",
        "dataset",
        "data",
        "folder",
        "dir",
        "volume",
        "video",
        "videos",
        "session",
        "site",
        "frames",
        "frame",
        "clip",
        "scan",
        "recording",
        "kw",
    ];
    names.first().is_some_and(|name| tokens(name).iter().any(|word| PARTS.contains(&word.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn albums_and_days_are_parts() {
        let parts = |names: &[&str]| are_surely_parts(&names.iter().map(|name| (*name).to_owned()).collect());
        for names in [
            &["2024-01", "2024-02"][..],
            &["20240101", "20240102"],
            &["01_Januar", "02_Februar"],
            &["Montag", "Dienstag"],
            &["day1", "day2"],
            &["Camera", "Screenshots", "WhatsApp Images"],
            &["2019", "2020"],
        ] {
            assert!(parts(names), "{names:?}");
        }
        for names in
            [&["may", "june", "rose"][..], &["123456", "654321"], &["camera", "lens"], &["day", "night"]]
        {
            assert!(!parts(names), "{names:?}");
        }
    }

    #[test]
    fn parts_of_a_collection_are_known_by_their_names() {
        let parts = |names: &[&str]| are_parts(&names.iter().map(|name| (*name).to_owned()).collect());
        for names in [
            &["HAM10000_images_part_1", "HAM10000_images_part_2"][..],
            &["batch1", "batch2"],
            &["images_001", "images_002", "images_012"],
            &["train_part_1", "train_part_2"],
            &["zip1", "zip2"],
            &["part A", "part B"],
            &["Part1 of 3", "Part2 of 3", "Part3 of 3"],
            &["patient07", "patient12"],
        ] {
            assert!(parts(names), "{names:?}");
        }
        for names in [
            &["A", "B"][..],
            &["1", "2", "3"],
            &["cats", "dogs"],
            &["class_1", "class_2"],
            &["grade 0", "grade 1"],
            &["part_1", "part_2", "other"],
            &["part_1"],
            &["red_1", "blue_2"],
            &["cat", "car"],
            &["n01440764", "n02102040", "n02979186"],
        ] {
            assert!(!parts(names), "{names:?}");
        }
    }
}
