//! Names from outside are shown, not obeyed: no control character of theirs reaches standard output or standard error.

use std::fs;

use crate::common::{Place, small};

/// A class that would colour the terminal red and ring, and one that would begin a line of its own.
const RED: &str = "\u{1b}[31mred\u{7}";
const BROKEN: &str = "two\nlines";
const TURNED: &str = "\u{202e}txet";

fn place() -> Option<Place> {
    let place = Place::with_photos(6);
    for (from, to) in [("flags", RED), ("food-and-drink", BROKEN), ("smileys-and-emotion", TURNED)] {
        if fs::rename(place.path("photos").join(from), place.path("photos").join(to)).is_err() {
            eprintln!("skipped: this file system takes no such name");
            return None;
        }
    }
    Some(place)
}

/// Both outputs of a command, in which nothing must be left that a terminal obeys.
fn harmless(place: &Place, arguments: &[&str]) -> String {
    let output = place.ocelli(arguments).output().unwrap();
    let all = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let obeyed = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
    assert!(!all.contains(obeyed), "{arguments:?}: {all:?}");
    assert!(!all.lines().any(|line| line.starts_with("lines")), "{arguments:?}: {all}");
    all
}

#[test]
fn names_with_codes_are_escaped_in_every_verb() {
    let Some(place) = place() else { return };
    let train = small(&["--head-epochs", "2", "--out"]);
    let said = harmless(&place, &[&train[..], &["a"]].concat());
    assert!(said.contains(r"\u{1b}[31mred\u{7}") && said.contains(r"two\nlines"), "{said}");
    harmless(&place, &[&train[..], &["\u{1b}b", "--seed", "1"]].concat());
    let photos = format!("photos/{RED}");
    let said = harmless(&place, &["predict", "a", &photos]);
    assert!(said.contains(r"\u{1b}[31mred\u{7}"), "{said}");
    for arguments in [
        &["inspect", "photos"][..],
        &["evaluate", "a", "photos"],
        &["explain", "a", &photos],
        &["explain", "a", "none.jpg"],
        &["explain", "a", "none.jpg", "--class", "x\u{1b}"],
        &["report", "a"],
        &["compare", "a", "\u{1b}b"],
        &["submit", "a", &photos, "--out", "\u{1b}.csv"],
        // Errors, with names and arguments in them.
        &["predict", "\u{1b}[2J", "x"],
        &["predict", "a", "\u{1b}[2J"],
        &["train", "\u{1b}[2J"],
        &["train", "photos", "--recipe", "\u{1b}[2J"],
        &["\u{1b}[2J"],
        &["train", "photos", "--labels", "\u{1b}.csv"],
        &["report", "\u{9b}2J"],
    ] {
        harmless(&place, arguments);
    }

    // JSON and CSV escape in their own way, and give the names back.
    let json = place.run(&["predict", "a", &photos, "--jsonl"]);
    let row: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    for class in [RED, BROKEN, TURNED] {
        assert!(row["probabilities"][class].is_number(), "{row}");
    }
    assert!(place.run(&["predict", "a", &photos, "--csv"]).contains(RED));
}
