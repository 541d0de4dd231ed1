//! Printing: names from outside are made harmless, and a closed output is no panic.
//!
//! Class names, file names, columns and the texts of model files may contain anything, including control
//! codes of terminals. Every line goes through here, and control characters are shown, not sent: `\u{1b}`.
//! JSON and CSV are escaped in their own way, and go through [`raw`].
//!
//! If standard output cannot be written, the verb continues, so that its work is not lost; the first reason
//! is remembered, and is the command's error at the end. A reader that closes a pipe early is not an error.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ocelli::{Skipped, is_new_or_empty, outside};

use crate::errors::{Failure, in_flags};
use crate::text::wrapped;

/// Why standard output could not be written first.
static BROKEN: Mutex<Option<io::Error>> = Mutex::new(None);

/// Like the standard library's macro, through [`line`].
macro_rules! print_line {
    () => { $crate::output::line(format_args!("")) };
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
/// Like the standard library's macro, through [`error_line`].
macro_rules! print_error_line {
    ($($text:tt)*) => { $crate::output::error_line(format_args!($($text)*)) };
}
pub(crate) use print_error_line as eprintln;
pub(crate) use print_line as println;

/// Prints a line, or some, to standard output.
pub fn line(text: fmt::Arguments) {
    raw(harmless(&format!("{text}\n"), Keep::LineBreaks).as_bytes());
}

/// Prints a line, or some, to standard error. If that fails, there is nowhere to report it.
pub fn error_line(text: fmt::Arguments) {
    let _ = io::stderr().write_all(harmless(&format!("{text}\n"), Keep::LineBreaks).as_bytes());
}

/// Writes bytes to standard output unchanged.
pub fn raw(bytes: &[u8]) {
    let mut broken = BROKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if broken.is_none()
        && let Err(error) = io::stdout().write_all(bytes)
    {
        *broken = Some(error);
    }
}

/// Standard output as a stream, where each line is written at once.
#[derive(Debug)]
pub struct Stdout {
    /// Whether the work goes on where it cannot be written, as with [`raw`].
    pub goes_on: bool,
}

impl io::Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.goes_on {
            return io::stdout().write(bytes);
        }
        raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What cannot be written is known at the end: see `finish`.
        if self.goes_on { Ok(()) } else { io::stdout().flush() }
    }
}

/// Prints a label, padded to this width, and a text, which is wrapped and indented in a terminal.
pub fn labelled(label: &str, width: usize, text: impl fmt::Display) {
    let columns =
        terminal_size::terminal_size_of(io::stdout()).map_or(usize::MAX, |(columns, _)| columns.0.into());
    for (number, line_of_text) in wrapped(&text.to_string(), columns.saturating_sub(width)).iter().enumerate()
    {
        let label = if number == 0 { label } else { "" };
        line(format_args!("{label:width$}{line_of_text}"));
    }
}

/// Prints a value as a line of JSON, which has its own escapes.
pub fn json(value: &serde_json::Value) {
    raw(format!("{value}\n").as_bytes());
}

/// Prints a path alone on a line: its exact bytes for programs, made harmless in a terminal.
pub fn path_line(path: &Path) {
    if io::stdout().is_terminal() {
        return line(format_args!("{}", shown(path.display())));
    }
    raw(&[path_bytes(path).as_ref(), b"\n"].concat());
}

/// A path's bytes, or its text where it has none.
pub fn path_bytes(path: &Path) -> Cow<'_, [u8]> {
    #[cfg(unix)]
    return Cow::Borrowed(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
    #[cfg(not(unix))]
    return Cow::Owned(path.to_string_lossy().into_owned().into_bytes());
}

/// Flushes the output. If anything could not be written, that is an error, or the end of a closed pipe.
pub fn finish() -> Result<(), Failure> {
    let mut broken = BROKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let first = broken.take().map_or_else(|| io::stdout().flush(), Err);
    first.map_err(unwritten)
}

/// The failure if standard output cannot be written.
pub fn unwritten(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Error(format!("cannot write standard output: {}", ocelli::io_reason(&error))),
    }
}

/// Where results are written: to the path that is given, else to the first free name of the default kind,
/// outside of these folders of photos.
///
/// # Errors
/// If the given file exists: no file is overwritten.
pub fn destination(out: Option<&Path>, usual: &str, photos: &[&Path]) -> Result<PathBuf, Failure> {
    match out {
        Some(out) => new_file(out, "--out"),
        None => Ok(free(&usual_place(usual, photos)?)),
    }
}

/// The default place for results of this name: in the working folder, unless that is among the photos.
pub fn usual_place(name: &str, photos: &[&Path]) -> Result<PathBuf, Failure> {
    let (path, note) = outside(name, photos)?;
    note.iter().for_each(|note| eprintln!("note: {}", message(note)));
    Ok(path)
}

/// A file that is given.
///
/// # Errors
/// If it exists already: no file is overwritten; and for `-`.
pub fn new_file(path: &Path, flag: &str) -> Result<PathBuf, Failure> {
    no_dash(path, flag)?;
    match path.metadata() {
        Ok(found) if found.is_file() => {
            let path = shown(path.display());
            Err(Failure::Error(format!(
                "{flag} {path}: this file exists already; give another name, or remove it"
            )))
        }
        _ => Ok(path.to_owned()),
    }
}

/// A folder that is given.
///
/// # Errors
/// If it holds anything, or is a file; and for `-`.
pub fn new_folder(path: &Path, flag: &str) -> Result<PathBuf, Failure> {
    new_file(path, flag)?;
    // What cannot be listed is refused where it is written.
    match is_new_or_empty(path) {
        Ok(false) => {
            let path = shown(path.display());
            Err(Failure::Error(format!("{flag} {path}: this folder is not empty; give a new or empty one")))
        }
        Ok(true) | Err(_) => Ok(path.to_owned()),
    }
}

/// The name that stands for standard output, or input.
const DASH: &str = "-";

/// Whether a path stands for standard output, or input.
pub fn is_dash(path: &Path) -> bool {
    path == Path::new(DASH)
}

/// Checks that a path is not `-`, where more than one file of text is written.
pub fn no_dash(path: &Path, flag: &str) -> Result<(), Failure> {
    match is_dash(path) {
        true => Err(Failure::Error(format!(
            "{flag} -: this is not one file of text, which alone can go to standard output; give a name, such as ./-"
        ))),
        false => Ok(()),
    }
}

/// Where one file of text is written: a path or, for `-`, standard output.
pub struct TextFile {
    path: PathBuf,
    /// What is for standard output is written here first.
    temporary: Option<tempfile::TempDir>,
}

impl TextFile {
    /// The file that is given; `json` says whether standard output is taken.
    ///
    /// # Errors
    /// As [`new_file`], except for `-`.
    pub fn new(path: &Path, flag: &str, json: bool) -> Result<Self, Failure> {
        if !is_dash(path) {
            return Ok(Self { path: new_file(path, flag)?, temporary: None });
        }
        if json {
            return Err(Failure::Error(format!(
                "{flag} - and --json both write to standard output; give one"
            )));
        }
        let folder = tempfile::tempdir()?;
        Ok(Self { path: folder.path().join("text"), temporary: Some(folder) })
    }

    /// The path to write to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes to standard output, where nothing else may be printed then.
    pub fn is_stdout(&self) -> bool {
        self.temporary.is_some()
    }

    /// Once it is written: sends it to standard output, if that is where it goes.
    pub fn send(&self) -> Result<(), Failure> {
        if self.is_stdout() {
            raw(&std::fs::read(&self.path)?);
        }
        Ok(())
    }
}

/// As [`destination`], where `-` is standard output.
pub fn text_destination(
    out: Option<&Path>,
    usual: &str,
    photos: &[&Path],
    json: bool,
) -> Result<TextFile, Failure> {
    match out {
        Some(out) => TextFile::new(out, "--out", json),
        None => Ok(TextFile { path: free(&usual_place(usual, photos)?), temporary: None }),
    }
}

/// A path that does not exist yet: this one, or the first with a free number. No file is overwritten that was
/// not named.
pub fn free(path: &Path) -> PathBuf {
    free_of(path, &[])
}

/// As [`free`], where files of the same name with these extensions are written beside it.
pub fn free_of(path: &Path, extensions: &[&str]) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default();
    let numbered = (2..).map(|number: u64| {
        let mut name = stem.to_owned();
        name.push(format!("-{number}"));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    });
    // Dangling links exist as well.
    let is_free = |path: &Path| path.symlink_metadata().is_err();
    let mut paths = std::iter::once(path.to_owned()).chain(numbered);
    let found =
        paths.find(|path| is_free(path) && extensions.iter().all(|end| is_free(&path.with_extension(end))));
    found.unwrap_or_else(|| path.to_owned())
}

/// The failure that a folder has no photos, and what it contains instead.
pub fn no_photos(folder: &Path, skipped: &[Skipped]) -> Failure {
    /// The most files that are listed.
    const LISTED: usize = 5;
    let mut listed: Vec<String> = (skipped.iter().take(LISTED))
        .map(|skipped| format!("\n       {}: {}", shown(skipped.path.display()), message(&skipped.reason)))
        .collect();
    if skipped.len() > LISTED {
        listed.push(format!("\n       and {} more", skipped.len() - LISTED));
    }
    Failure::Error(format!("{}: no photos in this folder{}", shown(folder.display()), listed.concat()))
}

/// A progress bar, hidden if standard error is not a terminal.
pub fn progress_bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("a valid template").progress_chars("━╸ ");
    let bar = ProgressBar::new(0).with_style(style);
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// Text from outside, such as a name, for use in a line: every control character is escaped, including line
/// breaks.
pub fn shown(text: impl fmt::Display) -> String {
    harmless(&text.to_string(), Keep::Nothing).into_owned()
}

/// A sentence of the library, for use in a line, with flags instead of its settings.
pub fn message(text: impl fmt::Display) -> String {
    shown(in_flags(&text.to_string()))
}

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    LineBreaks,
    Nothing,
}

/// Escapes what a terminal would interpret: control characters (C0, DEL, C1), and marks that change the
/// direction of text.
fn harmless(text: &str, keep: Keep) -> Cow<'_, str> {
    let harmful = |c: char| match c {
        '\n' => keep == Keep::Nothing,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' if harmful(c) => safe.extend(c.escape_default()),
            c if harmful(c) => {
                let _ = write!(safe, "{}", c.escape_unicode());
            }
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// A word quoted for a shell, exactly: unchanged where that is safe, else in quotes, or in `$'\xff'` quotes
/// if it contains unprintable bytes.
pub fn quoted(word: &std::ffi::OsStr) -> String {
    let bytes = path_bytes(Path::new(word));
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:=@%".contains(byte);
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if harmless(text, Keep::Nothing) == text => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let mut safe = "$'".to_owned();
            for chunk in bytes.utf8_chunks() {
                for c in chunk.valid().chars() {
                    match c {
                        '\'' | '\\' => safe.extend(['\\', c]),
                        c if c.is_ascii_control() => {
                            let _ = write!(safe, "\\x{:02x}", c as u32);
                        }
                        c if harmless(c.encode_utf8(&mut [0; 4]), Keep::Nothing).len() > c.len_utf8() => {
                            let _ = write!(safe, "\\u{:04x}", c as u32);
                        }
                        c => safe.push(c),
                    }
                }
                for byte in chunk.invalid() {
                    let _ = write!(safe, "\\x{byte:02x}");
                }
            }
            safe + "'"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(shown("\u{1b}[31mred\u{7}"), r"\u{1b}[31mred\u{7}");
        assert_eq!(shown("a\nb\r\tc"), r"a\nb\r\tc");
        assert_eq!(shown("\u{9b}2J\u{7f}\u{85}"), r"\u{9b}2J\u{7f}\u{85}");
        assert_eq!(shown("\u{202e}gpj.exe\u{2066}"), r"\u{202e}gpj.exe\u{2066}");
        assert_eq!(shown("Café · 猫 – é"), "Café · 猫 – é");
        assert_eq!(harmless("one\ntwo\u{1b}", Keep::LineBreaks), "one\ntwo\\u{1b}");
    }

    #[test]
    fn a_free_place_is_found_beside_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        assert_eq!(free(&path), path);
        std::fs::write(&path, "a").unwrap();
        assert_eq!(free(&path), folder.path().join("page-2.html"));
        std::fs::create_dir(folder.path().join("page-2.html")).unwrap();
        assert_eq!(free(&path), folder.path().join("page-3.html"));
        std::fs::create_dir(folder.path().join("heat")).unwrap();
        assert_eq!(free(&folder.path().join("heat")), folder.path().join("heat-2"));
        std::fs::write(folder.path().join("curve.csv"), "a").unwrap();
        let curve = folder.path().join("curve.png");
        assert_eq!(free_of(&curve, &["svg", "csv"]), folder.path().join("curve-2.png"));
        assert_eq!(free(&curve), curve);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        let quote = |text: &str| quoted(OsStr::new(text));
        assert_eq!(quote("runs/photos-1"), "runs/photos-1");
        assert_eq!(quote("my photos"), "'my photos'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a\nb\u{1b}"), r"$'a\x0ab\x1b'");
        assert_eq!(quote("\u{202e}x"), r"$'\u202ex'");
    }

    #[cfg(unix)]
    #[test]
    fn words_that_are_not_text_keep_their_bytes() {
        use std::os::unix::ffi::OsStrExt;
        let word = OsStr::from_bytes(b"caf\xe9 'x'");
        assert_eq!(quoted(word), r"$'caf\xe9 \'x\''");
        // A shell that has these quotes gives the bytes back.
        let echo =
            std::process::Command::new("bash").arg("-c").arg(format!("printf %s {}", quoted(word))).output();
        match echo {
            Ok(output) => assert_eq!(output.stdout, word.as_bytes()),
            Err(_) => self::println!("skipped: there is no bash here"),
        }
    }
}
