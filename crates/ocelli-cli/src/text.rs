//! Numbers, durations and tables as people read them.

pub use ocelli::text::count;

use crate::output::shown;

/// `1 image`, `2,000 images`
pub fn counted(number: usize, thing: &str) -> String {
    let ending = match (number, thing.ends_with("ss")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {thing}{ending}", count(number))
}

/// `0.4 s`, `19 s`, `1 min 52 s`, `2 h 5 min`
pub fn duration(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// The size of a file: `18.7 MB`, `683 kB`, `512 bytes`
pub fn bytes(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} bytes"),
        1_000..1_000_000 => format!("{:.0} kB", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number as f64 / 1e6),
        _ => format!("{:.1} GB", number as f64 / 1e9),
    }
}

/// A name, shortened to 40 characters with an ellipsis.
pub fn brief(name: &str) -> String {
    match name.char_indices().nth(40) {
        Some(_) => name.chars().take(39).chain(['…']).collect(),
        None => name.to_owned(),
    }
}

/// `4.7 M`, `683 k`, `512`
pub fn size(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{:.0} k", number as f64 / 1e3),
        _ => format!("{:.1} M", number as f64 / 1e6),
    }
}

/// A text wrapped at this width between words; a longer word has a line of its own.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A table for people: a header, then the rows; columns of numbers are right-aligned.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let columns: Vec<(usize, bool)> = heads
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let cells = || rows.iter().map(|row| row[column].as_str());
            let numbers = cells().all(|cell| cell.starts_with(|c: char| c.is_ascii_digit()));
            (cells().map(width).chain([width(head)]).max().unwrap_or(0), numbers && !rows.is_empty())
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&columns).map(|(cell, (wide, number))| {
            let space = " ".repeat(wide - width(cell));
            if *number { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(heads.to_vec())).chain(rows).collect()
}

/// ` (did you mean resnet34?)`: the most similar names; empty if none is similar.
pub fn meant<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    /// The similarity of one or two typos in a short word.
    const ALIKE: f64 = 0.75;
    let text = text.to_lowercase();
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(&text, &name.to_lowercase()), name));
    let mut alike: Vec<(f64, &str)> = scored.filter(|(score, _)| *score >= ALIKE).collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let names: Vec<String> = alike.iter().take(2).map(|(_, name)| shown(name)).collect();
    if names.is_empty() { String::new() } else { format!(" (did you mean {}?)", names.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([count(7), count(1000), count(1_234_567)], ["7", "1,000", "1,234,567"]);
        assert_eq!(
            [counted(1, "class"), counted(2, "class"), counted(2000, "image")],
            ["1 class", "2 classes", "2,000 images"]
        );
        assert_eq!([size(512), size(683_072), size(4_652_008)], ["512", "683 k", "4.7 M"]);
        let sizes = [7, 683_072, 18_652_008, 3_100_000_000].map(bytes);
        assert_eq!(sizes, ["7 bytes", "683 kB", "18.7 MB", "3.1 GB"]);
        let durations = [0.04, 9.96, 19.4, 112.0, 3599.7, 7510.0].map(duration);
        assert_eq!(durations, ["0.0 s", "10 s", "19 s", "1 min 52 s", "1 h 0 min", "2 h 5 min"]);
    }

    #[test]
    fn names_that_are_alike_are_offered() {
        let names = ["resnet18", "resnet34", "vgg16_bn"];
        assert_eq!(meant("resnet99", names), " (did you mean resnet18 or resnet34?)");
        assert_eq!(meant("VGG16", names), " (did you mean vgg16_bn?)");
        assert_eq!(meant("quikc", ["quick", "lesson"]), " (did you mean quick?)");
        assert_eq!(meant("xyz", names), "");
    }

    #[test]
    fn lines_are_parted_between_words() {
        assert_eq!(wrapped("one two  three", 7), ["one two", " three"]);
        assert_eq!(wrapped("a longword b", 4), ["a", "longword", "b"]);
        assert_eq!(wrapped("one two", usize::MAX), ["one two"]);
        assert_eq!(wrapped("", 7), [""]);
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [["a", "7"], ["longer", "12 M"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&["name", "size"], &rows), "name    size\na          7\nlonger  12 M\n");
    }
}
