//! Class names as names of folders, on every system.

use std::collections::HashSet;

/// The folder of photos for which no class was predicted. No class has it.
pub(crate) const NO_CLASS: &str = "_no-class";
/// The folder of photos that are called unknown. No class has it.
pub(crate) const UNKNOWN: &str = "_unknown";

/// The longest name in bytes; file systems take 255, and some encrypt names to longer ones.
const LONGEST: usize = 120;

/// Names that Windows takes for devices, also with an extension.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The folder of each class. Names that are safe on every system are unchanged; others are changed, and get a
/// number where another folder would have the same name, also on systems that do not tell upper from lower
/// case.
pub(crate) fn folder_names(classes: &[String]) -> Vec<String> {
    let safe: Vec<String> = classes.iter().map(|class| safe_name(class)).collect();
    let mut taken = HashSet::from([NO_CLASS, UNKNOWN].map(str::to_owned));
    let mut names = vec![None; classes.len()];
    // Names that need no change come first, so that they keep theirs.
    for changed in [false, true] {
        for (index, (class, safe)) in classes.iter().zip(&safe).enumerate() {
            if (class != safe) == changed && names[index].is_none() {
                names[index] = Some(free_name(safe, &mut taken));
            }
        }
    }
    names.into_iter().flatten().collect()
}

/// This name, or the first with a free number.
fn free_name(name: &str, taken: &mut HashSet<String>) -> String {
    let numbered = (2..).map(|number: usize| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| taken.insert(name.to_lowercase())).expect("numbers do not end")
}

/// A name that every system takes for a folder in the folder where it is used.
fn safe_name(class: &str) -> String {
    let replaced = |character: char| match character {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '_',
        character if character.is_control() => '_',
        character => character,
    };
    let mut name: String = class.chars().map(replaced).collect();
    let mut end = name.len().min(LONGEST);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    // Windows drops blanks and dots at the end, and names that begin with a dot are hidden elsewhere.
    let trimmed = name.trim_end_matches(['.', ' ']).len();
    let dropped = name[trimmed..].chars().count();
    name.truncate(trimmed);
    name.extend(std::iter::repeat_n('_', dropped));
    if name.starts_with(['.', ' ']) {
        name.replace_range(..1, "_");
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    if name.is_empty() || DEVICES.contains(&stem.as_str()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(classes: &[&str]) -> Vec<String> {
        folder_names(&classes.iter().map(|class| class.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_made_safe_and_stay_apart() {
        assert_eq!(names(&["cats", "dogs 2", "Käse", "猫"]), ["cats", "dogs 2", "Käse", "猫"]);
        assert_eq!(names(&["a/b", "a_b", "a\\b"]), ["a_b-2", "a_b", "a_b-3"]);
        assert_eq!(names(&["..", ".", "", ".git"]), ["__", "_", "_-2", "_git"]);
        assert_eq!(
            names(&["CON", "con.x", "console", "nul ", "LPT9"]),
            ["_CON", "_con.x", "console", "nul_", "_LPT9"]
        );
        assert_eq!(names(&["Cat", "cat", "cat-2"]), ["Cat", "cat-2", "cat-2-2"]);
        assert_eq!(names(&["_no-class", "a\u{1b}[2J", "\u{202e}x"]), ["_no-class-2", "a_[2J", "_x"]);
        assert_eq!(names(&["_unknown", "_Unknown"]), ["_unknown-2", "_Unknown-3"]);
        assert_eq!(names(&["end.", "end "]), ["end_", "end_-2"]);
        assert!(names(&[&"ä".repeat(300)])[0].len() <= LONGEST);
    }

    proptest! {
        #[test]
        fn any_names_become_folders(classes in proptest::collection::hash_set("[ab./\\\\ :\u{1}AB]{0,5}|.*", 1..8)) {
            let classes: Vec<String> = classes.into_iter().collect();
            let found = folder_names(&classes);
            prop_assert_eq!(found.len(), classes.len());
            let folder = tempfile::tempdir().unwrap();
            for name in &found {
                prop_assert_eq!(std::path::Path::new(name).components().count(), 1, "{:?}", name);
                prop_assert!(name != NO_CLASS && name != UNKNOWN && !name.starts_with('.'));
                prop_assert!(!name.ends_with(['.', ' ']), "{:?}", name);
                // Each is a folder of its own in this one.
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            let lower: HashSet<String> = found.iter().map(|name| name.to_lowercase()).collect();
            prop_assert_eq!(lower.len(), found.len());
        }
    }
}
