//! What labels the cells of a table hold: one or several, and what separates them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use super::sheet::{separator_name, shortened};
use super::{TableOptions, table_error};
use crate::names::{is_digits, look_of, loose_look};
use crate::text::count;
use crate::{DataError, Task};

/// The longest name of a class, in characters.
pub(super) const LONGEST: usize = 255;

/// A cell of labels.
pub(super) struct Cell<'a> {
    pub line: u64,
    pub text: &'a str,
}

/// How cells are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A cell is a label.
    Whole,
    /// Labels separated by this.
    Apart(char),
    /// Lists in brackets: `['a', 'b']`.
    Lists,
}

impl Reading {
    /// The labels in a cell, sorted, each once.
    pub(super) fn labels(self, cell: &str) -> BTreeSet<&str> {
        match self {
            _ if is_missing(cell) => BTreeSet::new(),
            Reading::Whole => Some(cell).filter(|cell| !cell.is_empty()).into_iter().collect(),
            Reading::Apart(separator) => pieces(cell, separator),
            Reading::Lists => list(cell).unwrap_or_else(|| pieces(cell, ',')),
        }
    }

    /// What separates labels, where they are several.
    pub(super) fn separator(self) -> Option<char> {
        match self {
            Reading::Whole => None,
            Reading::Apart(separator) => Some(separator),
            Reading::Lists => Some(','),
        }
    }
}

/// What stands for no value: what pandas reads so by default, the question mark of older data sets, and the errors and
/// blanks of spreadsheets.
const MISSING: [&str; 37] = [
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "?", "#NV", "#REF!", "#BEZUG!", "#VALUE!", "#WERT!",
    "#DIV/0!", "#NAME?", "#NUM!", "#ZAHL!", "#NULL!", "#SPILL!", "(blank)", "(Leer)", "(leer)", "(vide)",
    "k.A.", "k. A.", "n.a.",
];

/// Whether a cell says that there is no value.
pub(super) fn is_missing(cell: &str) -> bool {
    MISSING.contains(&cell)
}

fn pieces(cell: &str, separator: char) -> BTreeSet<&str> {
    cell.split(separator).map(str::trim).filter(|label| !label.is_empty()).collect()
}

/// The entries of a list in brackets, as Python and JSON write them.
fn list(cell: &str) -> Option<BTreeSet<&str>> {
    let inner = match (cell.chars().next()?, cell.chars().last()?) {
        ('[', ']') | ('(', ')') | ('{', '}') if cell.len() > 1 => &cell[1..cell.len() - 1],
        _ => return None,
    };
    let mut labels = BTreeSet::new();
    if !inner.contains([',', '\'', '"']) && inner.contains(';') {
        return Some(pieces(inner, ';'));
    }
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|first| matches!(first, '\'' | '"'));
        let (label, after) = match quote {
            Some(quote) => {
                let (label, after) = rest[1..].split_once(quote)?;
                // What follows a closing quote is the next entry, or nothing.
                let after = after.trim_start();
                (label, if after.is_empty() { after } else { after.strip_prefix(',')? })
            }
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        if !label.trim().is_empty() {
            labels.insert(label.trim());
        }
        rest = after.trim();
    }
    Some(labels)
}

/// Whether cells in brackets are zeros and ones, as many in each, a place for each class.
fn are_one_hot(cells: &[&Cell]) -> bool {
    let places = |cell: &str| -> Option<usize> {
        let inner = &cell[1..cell.len() - 1];
        let mut entries =
            inner.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        let mut count = 0;
        let are_flags = entries.all(|entry| {
            count += 1;
            matches!(entry.trim_matches(['\'', '"']), "0" | "1" | "0." | "1." | "0.0" | "1.0")
        });
        (are_flags && count > 1).then_some(count)
    };
    let first = cells.first().and_then(|cell| places(cell.text));
    first.is_some() && cells.iter().all(|cell| places(cell.text) == first)
}

/// Whether a cell is JSON, of objects or of lists in lists.
fn is_nested(cell: &str) -> bool {
    // As Python prints objects.
    let is_dictionary = || cell.starts_with('{') && cell.ends_with('}') && cell.contains("':");
    cell.starts_with(['{', '['])
        && match serde_json::from_str(cell) {
            Ok(Value::Object(_)) => true,
            Ok(Value::Array(list)) => list.iter().any(|entry| entry.is_object() || entry.is_array()),
            _ => is_dictionary(),
        }
}

/// How often pieces come again, if cells are cut at a separator.
struct Evidence<'a> {
    several: usize,
    /// The first cell of several pieces.
    first: Option<&'a Cell<'a>>,
    /// Pieces of such cells; for spaces, of all cells.
    pieces: usize,
    /// Those that are in several different cells.
    recurring: usize,
    /// Whether cells differ in how many pieces they have.
    varied: bool,
    /// Different cells, different pieces, and pieces that are a cell by themselves.
    cells: usize,
    different: usize,
    alone: usize,
    /// Whether all pieces are whole numbers.
    numbers: bool,
    /// Whether a space follows a separator, as in names: `Paris, France`.
    spaced: bool,
    /// Whether a cell begins or ends with the separator, as lists do and names do not: `cat;`.
    open: bool,
    /// Whether the same pieces come in two orders, as in no names: `cat,dog` and `dog,cat`.
    permuted: bool,
}

impl<'a> Evidence<'a> {
    fn of(cells: &'a [Cell<'a>], reading: Reading) -> Self {
        let mut several = cells.iter().filter(|cell| reading.labels(cell.text).len() > 1);
        let first = several.next();
        let several = usize::from(first.is_some()) + several.count();
        let different: HashSet<BTreeSet<&str>> =
            cells.iter().map(|cell| reading.labels(cell.text)).filter(|labels| !labels.is_empty()).collect();
        let mut cells_with: HashMap<&str, usize> = HashMap::new();
        different.iter().flatten().for_each(|piece| *cells_with.entry(piece).or_default() += 1);
        // Labels that never come with others say nothing; words that never do are names of one word.
        let counts = |labels: &&BTreeSet<&str>| labels.len() > 1 || reading == Reading::Apart(' ');
        let pieces: HashSet<&str> = different.iter().filter(counts).flatten().copied().collect();
        let recurring = pieces.iter().filter(|piece| cells_with[**piece] > 1).count();
        let sizes: BTreeSet<usize> = different.iter().map(BTreeSet::len).collect();
        let open = match reading {
            Reading::Apart(separator) => cells.iter().any(|cell| {
                let text = cell.text.trim();
                text.len() > 1 && (text.starts_with(separator) || text.ends_with(separator))
            }),
            Reading::Whole | Reading::Lists => false,
        };
        let alone = different.iter().filter(|labels| labels.len() == 1).count();
        let permuted = match reading {
            Reading::Apart(separator) => {
                let in_order = |cell: &'a Cell| -> Vec<&'a str> {
                    cell.text.split(separator).map(str::trim).filter(|piece| !piece.is_empty()).collect()
                };
                let orders: HashSet<Vec<&str>> =
                    cells.iter().map(in_order).filter(|order| order.len() > 1).collect();
                let sets: HashSet<BTreeSet<&str>> =
                    orders.iter().map(|order| order.iter().copied().collect()).collect();
                sets.len() < orders.len()
            }
            Reading::Whole | Reading::Lists => false,
        };
        Evidence {
            several,
            first,
            pieces: pieces.len(),
            recurring,
            varied: sizes.len() > 1,
            cells: different.len(),
            different: cells_with.len(),
            alone,
            numbers: cells_with.keys().all(|piece| piece.bytes().all(|byte| byte.is_ascii_digit())),
            spaced: cells.iter().any(|cell| cell.text.contains(", ")),
            open,
            permuted,
        }
    }

    /// Whether labels come again in other combinations, which the parts of a class's name seldom do. Of `|` and
    /// `;`, which names seldom have, half of them is enough. Words alone, apart by spaces, must come in varied
    /// numbers too: "black cat" and "white dog" are names.
    fn recurs(&self, separator: char) -> bool {
        self.several > 0
            && match separator {
                '|' | ';' => self.open || 2 * self.recurring >= self.pieces,
                ' ' => 2 * self.recurring > self.pieces && self.varied,
                _ => 2 * self.recurring > self.pieces,
            }
    }

    /// Whether cells hold several labels. Names have spaces and commas, and words in common ("mild dysplasia", "severe
    /// dysplasia", "Paris, France"). Labels come in many more combinations than there are labels, or in a column whose name
    /// is a plural, or are numbers; apart by commas, half of them also come alone in some cell.
    fn convinces(&self, separator: char, form: Form) -> bool {
        // Words of names are turned around now and then: "cat black", "black cat".
        let turned = self.permuted && separator != ' ';
        turned
            || self.recurs(separator)
                && (matches!(separator, '|' | ';')
                    || separator == ',' && (!self.spaced || 2 * self.alone >= self.different)
                    || form.several_called
                    || self.numbers
                    || self.cells >= 2 * self.different)
    }
}

/// What else tells how cells are to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Whether the name of the column is a plural.
    pub(super) several_called: bool,
    /// Whether images have several rows.
    pub(super) rows_recur: bool,
}

/// The characters that separate labels, those that names of classes have least first.
const SEPARATORS: [char; 4] = ['|', ';', ',', ' '];

/// How the cells are to be read, and the task, as stated or as the cells suggest it.
pub(super) fn decide(
    path: &Path,
    cells: &[Cell],
    form: Form,
    options: &TableOptions,
    notices: &mut Vec<String>,
) -> Result<(Reading, Task), DataError> {
    let full: Vec<&Cell> = cells.iter().filter(|cell| !cell.text.is_empty()).collect();
    if let Some(cell) = full.iter().find(|cell| is_nested(cell.text)) {
        let detail = format!("holds an object where labels are expected, {}", shortened(cell.text));
        let advice = "give a label or a list of labels, such as \"cat\" or [\"cat\", \"dog\"]; objects of true and false are \
                      read too";
        return Err(table_error(path, Some(cell.line), detail, advice));
    }
    let lists = !full.is_empty() && full.iter().all(|cell| list(cell.text).is_some());
    if let (true, Some(cell)) = (lists, full.first())
        && are_one_hot(&full)
    {
        let detail = format!(
            "holds a 0 or 1 for each class in brackets, {}, and nothing says which place is which class",
            shortened(cell.text)
        );
        let advice = "give a column for each class, with its name, or the names of the classes in each row";
        return Err(table_error(path, Some(cell.line), detail, advice));
    }
    let candidates: Vec<Reading> = match options.label_separator {
        Some(separator) => vec![Reading::Apart(separator)],
        None if lists => vec![Reading::Lists],
        None if have_decimal_commas(&full) => vec![Reading::Apart('|'), Reading::Apart(';')],
        None => SEPARATORS.map(Reading::Apart).to_vec(),
    };
    let stated = options.label_separator.is_some();
    let read: Vec<(Reading, Evidence)> =
        candidates.into_iter().map(|reading| (reading, Evidence::of(cells, reading))).collect();
    let convincing = read.iter().find(|(reading, evidence)| match reading {
        Reading::Whole => false,
        Reading::Lists => evidence.several > 0,
        Reading::Apart(separator) => stated && evidence.several > 0 || evidence.convinces(*separator, form),
    });
    match (options.task, convincing) {
        (Some(Task::SingleLabel), _) if lists && !stated => {
            let (_, evidence) = &read[0];
            if let Some(cell) = evidence.first {
                let detail = format!("holds several labels, {}", shortened(cell.text));
                return Err(table_error(path, Some(cell.line), detail, "let images have several labels"));
            }
            Ok((Reading::Lists, Task::SingleLabel))
        }
        (Some(Task::SingleLabel), _) => Ok((Reading::Whole, Task::SingleLabel)),
        // A row for each label: what is in a cell is one.
        (Some(Task::MultiLabel), None) if form.rows_recur && !stated && !lists => {
            Ok((Reading::Whole, Task::MultiLabel))
        }
        (Some(Task::MultiLabel), None) => {
            let (reading, notice) = several_at_most(&read);
            notices.extend(notice.filter(|_| !stated));
            Ok((reading, Task::MultiLabel))
        }
        (task, Some((reading, evidence))) => {
            let several = evidence.several;
            let evidence = evidence.describe(*reading, cells.len());
            match task {
                Some(_) if stated => {}
                Some(_) => {
                    notices.push(format!("labels are separated by {}: {evidence}", names_of(*reading)))
                }
                None => {
                    let (warning, rare) = rarely(several, cells.len());
                    let undo = match reading {
                        _ if !rare.is_empty() => rare,
                        Reading::Apart(' ' | ',') if !form.several_called => {
                            "; to read each cell as one label: `task` single-label"
                        }
                        _ => "",
                    };
                    notices.push(format!(
                        "{warning}read as multi-label, labels separated by {}: {evidence}{undo}",
                        names_of(*reading)
                    ));
                }
            }
            Ok((*reading, Task::MultiLabel))
        }
        (None, None) => {
            let whole = if lists { Reading::Lists } else { Reading::Whole };
            // Not only names with a word in common, and not plainly several labels.
            let unsure = read.iter().find(|(reading, evidence)| match reading {
                Reading::Apart(separator) => evidence.recurs(*separator),
                _ => false,
            });
            notices.push(match unsure {
                Some((Reading::Apart(' '), evidence)) if let Some(word) = joining_word(cells) => format!(
                    "read as single-label, each cell one class, such as {}; if \"{word}\" stands between labels, separate them by \
                     ; instead",
                    evidence.first.map(shown).unwrap_or_default()
                ),
                Some((reading, evidence)) => format!(
                    "read as single-label, each cell one class, such as {}; if {} separate labels, say so \
                     (`label_separator`)",
                    evidence.first.map(shown).unwrap_or_default(),
                    names_of(*reading)
                ),
                None => why_single(&read, form, cells),
            });
            Ok((whole, Task::SingleLabel))
        }
    }
}

/// What is said where so few rows have several labels that these may be slips: that it is a warning, and the way out.
pub(super) fn rarely(several: usize, rows: usize) -> (&'static str, &'static str) {
    match 20 * several < rows {
        true => (
            "warning: ",
            "; if that is a slip, correct it, and images have one label each again (`task` single-label names such rows)",
        ),
        false => ("", ""),
    }
}

/// The reading that leaves several labels in some cell, if there is evidence for none; and an example of it.
fn several_at_most(read: &[(Reading, Evidence)]) -> (Reading, Option<String>) {
    let cut = read.iter().find(|(_, evidence)| evidence.several > 0);
    let reading = cut.or(read.last()).map_or(Reading::Apart(' '), |(reading, _)| *reading);
    let first = cut.and_then(|(_, evidence)| evidence.first);
    let notice = first.map(|first| {
        format!("labels are separated by {}: row {}: {}", names_of(reading), first.line, shown(first))
    });
    (reading, notice)
}

/// The word that joins two labels in some cell, where both are alone in others: `cat and dog`.
fn joining_word<'a>(cells: &[Cell<'a>]) -> Option<&'a str> {
    const WORDS: [&str; 12] = ["and", "und", "et", "y", "e", "och", "og", "en", "i", "&", "+", "with"];
    let alone: HashSet<&str> = cells.iter().map(|cell| cell.text.trim()).collect();
    cells.iter().find_map(|cell| {
        let words: Vec<&str> = cell.text.split_whitespace().collect();
        let at = (1..words.len().saturating_sub(1))
            .find(|&at| WORDS.contains(&words[at].to_lowercase().as_str()))?;
        let joins = alone.contains(&*words[..at].join(" ")) && alone.contains(&*words[at + 1..].join(" "));
        joins.then_some(words[at])
    })
}

/// Why images have one label each, as a notice.
fn why_single(read: &[(Reading, Evidence)], form: Form, cells: &[Cell]) -> String {
    let say_so = |separator: &str| format!("; if {separator} separate labels, say so (`label_separator`)");
    let way_out = RARE_SEPARATORS.into_iter().find(|separator| are_apart(cells, *separator));
    let way_out = way_out.map(|separator| say_so(&format!("\"{separator}\"")));
    match read.iter().find(|(_, evidence)| evidence.several > 0) {
        None => {
            let all = count(cells.len());
            match way_out {
                None => format!("read as single-label: none of {all} rows has several labels"),
                Some(way_out) => format!("read as single-label, each of {all} cells one class{way_out}"),
            }
        }
        Some((reading, evidence)) => {
            let called = form.several_called.then(|| say_so(&names_of(*reading)));
            format!(
                "read as single-label, with {} in the names of classes: {}{}",
                names_of(*reading),
                evidence.describe(*reading, cells.len()),
                way_out.or(called).unwrap_or_default()
            )
        }
    }
}

/// Characters that separate labels so seldom that cells are cut at them only where it is said.
const RARE_SEPARATORS: [char; 5] = ['#', '/', '+', '&', '\\'];

/// Whether cells look as if labels were separated so: most of the parts come again, and half of them alone.
fn are_apart(cells: &[Cell], separator: char) -> bool {
    let different: HashSet<BTreeSet<&str>> = cells
        .iter()
        .filter(|cell| !is_missing(cell.text))
        .map(|cell| pieces(cell.text, separator))
        .filter(|pieces| !pieces.is_empty())
        .collect();
    let together: BTreeSet<&str> =
        different.iter().filter(|pieces| pieces.len() > 1).flatten().copied().collect();
    let alone = together.iter().filter(|piece| different.contains(&BTreeSet::from([**piece]))).count();
    !together.is_empty() && 2 * alone >= together.len()
}

fn shown(cell: &Cell) -> String {
    format!("\"{}\"", shortened(cell.text))
}

fn names_of(reading: Reading) -> String {
    match reading {
        Reading::Apart(separator) => separator_name(separator),
        Reading::Lists => "commas in brackets".to_owned(),
        Reading::Whole => "nothing".to_owned(),
    }
}

impl Evidence<'_> {
    fn describe(&self, reading: Reading, rows: usize) -> String {
        let (line, text) = self.first.map_or((0, String::new()), |cell| (cell.line, shown(cell)));
        let piece = if reading == Reading::Apart(' ') { "words" } else { "labels" };
        let several = format!(
            "{} of {} rows have several {piece}, the first is row {line}: {text}",
            count(self.several),
            count(rows)
        );
        match reading {
            Reading::Lists => several,
            _ => format!("{several}; {} of {} {piece} are in different cells", self.recurring, self.pieces),
        }
    }
}

/// Names that are no names: too long, or with characters that are none.
pub(super) fn check_names<'a>(
    path: &Path,
    labels: impl Iterator<Item = (u64, &'a str)>,
) -> Result<(), DataError> {
    for (line, label) in labels {
        let length = label.chars().count();
        let detail = if length > LONGEST {
            format!("has a label of {} characters, more than {LONGEST}: {}", count(length), shortened(label))
        } else if let Some(found) = label.chars().find(|character| character.is_control()) {
            format!("has a label with the control character {}", found.escape_default())
        } else {
            continue;
        };
        return Err(table_error(
            path,
            Some(line),
            detail,
            "name the column of the labels, or correct the row",
        ));
    }
    Ok(())
}

/// Refuses classes whose names look the same, as folders of classes are.
pub(super) fn check_looks(path: &Path, classes: &[String]) -> Result<(), DataError> {
    let mut looks: BTreeMap<String, &String> = BTreeMap::new();
    for class in classes {
        if let Some(other) = looks.insert(look_of(class), class) {
            // Quoted so that marks and blanks are seen.
            let detail = format!("has two labels that look the same: {other:?} and {class:?}");
            return Err(table_error(path, None, detail, "make them one, or name one of them otherwise"));
        }
    }
    Ok(())
}

/// What is odd about the names of classes: some that the eye, or a spreadsheet, does not tell apart, and
/// numbers that are no classes.
pub(super) fn oddities(classes: &[String]) -> Vec<String> {
    let mut odd: Vec<String> = alike(classes.iter().map(String::as_str))
        .iter()
        .map(|names| alike_notice("classes", names))
        .collect();
    let fractions =
        || classes.iter().filter(|class| number(class).is_some_and(|number| number.fract() != 0.0));
    // Marks alone seldom are a class, nor what joins labels.
    let joins = |class: &&String| {
        ["and", "und", "or", "oder", "&", "/", "+"].contains(&class.to_lowercase().as_str())
    };
    odd.extend(classes.iter().filter(joins).map(|class| {
        format!(
            "warning: \"{class}\" is read as a class; if it stands between labels, separate them by | instead"
        )
    }));
    let marks = classes.iter().filter(|class| !joins(class) && !class.chars().any(char::is_alphanumeric));
    odd.extend(marks.map(|class| {
        format!(
            "warning: \"{class}\" is read as a class; if it stands for no value, leave these cells empty, or take their rows \
             out"
        )
    }));
    let is_whole = |class: &String| class.parse::<i64>().is_ok();
    if classes.len() > 2 && classes.iter().all(is_whole) && classes.iter().any(|class| class == "-1") {
        odd.push(
            "warning: \"-1\" is read as a class beside other numbers; if it stands for no label, leave these cells empty, or \
             take their rows out"
                .to_owned(),
        );
    }
    if 2 * fractions().count() > classes.len()
        && let Some(first) = fractions().next()
    {
        odd.push(format!("labels are numbers such as {first}, and each is taken for a class of its own"));
    }
    odd
}

/// What is odd about the names of groups, which decide what stays together in a split.
pub(super) fn alike_groups(names: BTreeSet<&str>) -> Option<String> {
    let alike = alike(names);
    let mut text = alike_notice("groups", alike.first()?);
    if alike.len() > 1 {
        text += &format!(" ({} more such)", count(alike.len() - 1));
    }
    Some(text)
}

/// Names that differ in case, in spaces and punctuation, or in the spelling of a number alone.
fn alike<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Vec<&'a str>> {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        let spelling = match name.parse::<f64>() {
            Ok(number) if number.is_finite() => number.to_string(),
            _ => loose_look(name),
        };
        alike.entry(spelling).or_default().push(name);
    }
    alike.into_values().filter(|names| names.len() > 1).collect()
}

fn alike_notice(of: &str, names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "the {of} {} differ in case, in spaces and punctuation, in letters of other alphabets that look the same, or in the \
         spelling of a number alone; if they are one, correct the table",
        names.join(" and ")
    )
}

/// A number as spreadsheets write it, also with a decimal comma.
fn number(text: &str) -> Option<f64> {
    let plain = text.parse::<f64>().ok().filter(|number| number.is_finite());
    plain.or_else(|| {
        let (whole, fraction) = text.split_once(',')?;
        let is_number = is_digits(whole.strip_prefix(['-', '+']).unwrap_or(whole)) && is_digits(fraction);
        is_number.then(|| text.replace(',', ".").parse().ok()).flatten()
    })
}

/// What follows a number: `mm` in `1.5 mm`.
fn unit(text: &str) -> &str {
    text.rfind(|character: char| character.is_ascii_digit()).map_or("", |last| &text[last + 1..])
}

/// Whether cells hold numbers with decimal commas, rather than two numbers each.
fn have_decimal_commas(cells: &[&Cell]) -> bool {
    let with_comma: Vec<&str> =
        cells.iter().map(|cell| cell.text).filter(|text| text.contains(',')).collect();
    let is_fraction = |text: &&&str| {
        let (whole, fraction) = text.split_once(',').unwrap_or_default();
        matches!(whole, "0" | "-0") || whole.starts_with('-') || fraction.len() > 2
    };
    2 * with_comma.len() > cells.len()
        && cells.iter().all(|cell| number(cell.text).is_some())
        && 2 * with_comma.iter().filter(is_fraction).count() > with_comma.len()
}

/// Whether labels are measurements rather than names: numbers that are nearly all different, or many
/// fractions.
pub(super) fn are_measurements(classes: &[String], images: usize) -> bool {
    let unit = classes.first().map_or("", |class| unit(class));
    let plain = |class: &'_ String| number(class.strip_suffix(unit)?.trim_end());
    let numbers: Vec<f64> = classes.iter().map_while(plain).collect();
    let fractions = numbers.iter().filter(|number| number.fract() != 0.0).count();
    // The names of files end in one, too.
    !unit.starts_with('.')
        && numbers.len() == classes.len()
        && (classes.len() > 10 && 2 * classes.len() > images
            || classes.len() > 20 && 2 * fractions > classes.len())
}

/// Whether labels are names that hardly come twice, as those of images, people or places do.
pub(super) fn are_nearly_all_different(classes: usize, images: usize) -> bool {
    classes >= 10 && 5 * classes >= 4 * images
}
