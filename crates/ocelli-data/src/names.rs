//! Names of files and folders as text: paths are bytes, and not all of them are UTF-8.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serializer;
use unicode_normalization::UnicodeNormalization;

/// A path or a part of one as text; different ones never have the same text.
///
/// Bytes that are not UTF-8 are written `\xE9`, with two capital hexadecimal digits, and a backslash that is
/// followed by such digits in the name itself is written `\x5C`. All other names are unchanged.
pub fn text_of(name: impl AsRef<OsStr>) -> String {
    let bytes = name.as_ref().as_encoded_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            match character {
                // On Windows it separates folders, and is no part of a name.
                '\\' if !cfg!(windows) && is_escape(&valid.as_bytes()[at..]) => text.push_str("\\x5C"),
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02X}").expect("writing to memory succeeds");
        }
    }
    text
}

/// The name of a file without its folder and its ending, as [`text_of`] writes it; empty for a path that ends in `..`.
pub fn stem_of(path: &Path) -> String {
    text_of(path.file_stem().unwrap_or_default())
}

/// Whether a text is digits from 0 to 9, at least one.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The path that [`text_of`] has written.
pub fn path_of(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some(&first) = rest.first() {
        let digit = |digit: u8| (digit as char).to_digit(16).unwrap_or(0) as u8;
        if cfg!(unix) && is_escape(rest) {
            bytes.push(digit(rest[2]) << 4 | digit(rest[3]));
            rest = &rest[4..];
        } else {
            bytes.push(first);
            rest = &rest[1..];
        }
    }
    #[cfg(unix)]
    return PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
    #[cfg(not(unix))]
    return PathBuf::from(text);
}

/// `\x`, and two capital hexadecimal digits.
fn is_escape(bytes: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
    matches!(bytes, [b'\\', b'x', high, low, ..] if digit(high) && digit(low))
}

/// The last part of a path as text.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(text_of).unwrap_or_default()
}

/// The ending of a file's name, in small letters, without its dot; empty for none.
pub(crate) fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// A folder's name as the name of a class: composed (NFC), as keyboards and tables write it, whatever the
/// system that created the folder does, and trimmed.
pub(crate) fn class_name(folder: &Path) -> String {
    let text = file_name(folder);
    match composed(&text).trim() {
        "" => text,
        trimmed => trimmed.to_owned(),
    }
}

/// Text with composed characters (NFC), as the names of classes have them: `é` may be typed as `e` and an accent.
pub fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// The same for all names that look the same: composed, without what cannot be seen, each gap a single blank.
pub(crate) fn look_of(name: &str) -> String {
    let seen = name.nfc().filter(|&character| !is_invisible(character));
    let seen: String = seen.collect();
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same for all names that people may take for one: `Golden_Retriever`, `golden retriever`; `E. coli`, `E.coli`.
pub(crate) fn loose_look(name: &str) -> String {
    let letters: Vec<char> = look_of(name).to_lowercase().chars().map(latin).collect();
    let is_gap =
        |letter: &char| matches!(letter, ' ' | '_' | '-' | '.' | ',' | '!' | '?' | '(' | ')' | '\'' | '’');
    let mut look = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = letters[..at].iter().rev().find(|letter| !is_gap(letter));
        let after = letters[at..].iter().find(|letter| !is_gap(letter));
        match is_gap(letter) {
            false => look.push(*letter),
            // A sign: `A-`, `-1`.
            true if *letter == '-' && (before.is_none() || after.is_none()) => look.push('-'),
            // Between digits it separates numbers: `1.5` and `15`, `1_2` and `12`.
            true if [before, after].iter().all(|side| side.is_some_and(char::is_ascii_digit)) => {
                if !look.ends_with(' ') {
                    look.push(' ');
                }
            }
            true => {}
        }
    }
    look
}

/// The Latin letter that a small Cyrillic or Greek one looks like, itself or as a capital. Each is that of one
/// letter of an alphabet alone, so that no two names of one alphabet become the same.
fn latin(letter: char) -> char {
    const LETTERS: [(&str, &str); 2] =
        [("авекмнорстухіѕј", "abekmhopctyxisj"), ("αβεζηικμνορτυχ", "abezhikmnoptyx")];
    let like = |(from, to): &(&str, &str)| {
        let at = from.chars().position(|other| other == letter)?;
        to.chars().nth(at)
    };
    LETTERS.iter().find_map(like).filter(|_| !letter.is_ascii()).unwrap_or(letter)
}

fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
        || character.is_control()
}

/// Writes a path as by [`text_of`], where serde's own format refuses paths that are not UTF-8.
///
/// # Errors
/// Those of the serializer.
pub fn as_text<S: Serializer>(path: impl AsRef<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text_of(path.as_ref()))
}

/// Whether a name is a year.
pub(crate) fn is_year(name: &str) -> bool {
    name.len() == 4 && name.parse().is_ok_and(|year| (1900..2100).contains(&year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn different_bytes_are_different_texts() {
        use std::os::unix::ffi::OsStrExt;
        let of = |bytes: &[u8]| text_of(OsStr::from_bytes(bytes));
        assert_eq!(of("Käse/1.jpg".as_bytes()), "Käse/1.jpg");
        assert_eq!(of(b"K\xe4se.jpg"), "K\\xE4se.jpg");
        assert_eq!(of(b"K\\xE4se.jpg"), "K\\x5CxE4se.jpg");
        assert_eq!(of(b"K\\x5CxE4se.jpg"), "K\\x5Cx5CxE4se.jpg");
        assert_eq!(of(b"a\\b \\xe4 \\x"), "a\\b \\xe4 \\x");
        // What is written can be read back, so that no two names are written the same.
        let alphabet = [b'\\', b'x', b'5', b'C', 0xC3, 0xA4, 0xFF];
        for number in 0..7usize.pow(5) {
            let name: Vec<u8> = (0..5).map(|digit| alphabet[number / 7usize.pow(digit) % 7]).collect();
            assert_eq!(path_of(&of(&name)).as_os_str().as_bytes(), name);
        }
    }

    #[test]
    fn what_looks_the_same_has_one_look() {
        for other in ["Caf\u{e9}", "Cafe\u{301} ", "Caf\u{200b}\u{e9}", "\u{feff}Caf\u{e9}"] {
            assert_eq!(look_of(other), "Caf\u{e9}", "{other:?}");
        }
        assert_eq!(look_of("red\u{a0} fox"), look_of("red fox"));
        assert_ne!(look_of("cats"), look_of("Cats"));
        for (one, other) in
            [("E. coli", "E.coli"), ("great tit", "Great_Tit"), ("greattit", "great-tit"), ("cat!", "Cat.")]
        {
            assert_eq!(loose_look(one), loose_look(other), "{one}, {other}");
        }
        for (one, other) in [
            ("A-", "A"),
            ("A+", "A"),
            ("C++", "C"),
            ("1.5", "15"),
            ("1_2", "12"),
            ("-1", "1"),
            ("v1 2", "v12"),
        ] {
            assert_ne!(loose_look(one), loose_look(other), "{one}, {other}");
        }
        assert_eq!(class_name(Path::new("a/Cafe\u{301} ")), "Caf\u{e9}");
        assert_eq!(class_name(Path::new("a/ ")), " ");
    }
}
