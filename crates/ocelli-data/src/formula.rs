//! Text in CSV files that a spreadsheet would take for a formula (CSV injection).
//!
//! A file may be named `=cmd|'/C calc'!A1`, and a class `-1+2`: a spreadsheet that opens a table with such a
//! cell runs it. As OWASP advises (<https://owasp.org/www-community/attacks/CSV_Injection>), text cells with
//! such a beginning get an apostrophe in front, unless they are numbers, such as the class `-1`. So do those that begin with an apostrophe themselves, so that
//! [`unescape_formula`] undoes exactly what [`escape_formula`] did.
//!
//! The text of every table that Ocelli writes and reads again is escaped. Numbers are not, nor are
//! submissions, since competitions compare ids letter by letter. The script of a report's page follows the
//! same rule.

use std::borrow::Cow;

use crate::names::is_digits;

/// The beginnings of formulas, including the full-width forms, which some spreadsheets accept; and the
/// escape.
const BEGINNINGS: [char; 12] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', QUOTE];
const QUOTE: char = '\'';

/// Escapes a cell of text: with an apostrophe in front if it begins with `=`, `+`, `-`, `@`, a tab, a line
/// break, or an apostrophe, and is no number of digits, at most one point and a sign.
///
/// ```
/// use ocelli_data::{escape_formula, unescape_formula};
///
/// assert_eq!(escape_formula("=1+2.jpg"), "'=1+2.jpg");
/// assert_eq!(unescape_formula("'=1+2.jpg"), "=1+2.jpg");
/// assert_eq!(escape_formula("cats/1.jpg"), "cats/1.jpg");
/// assert_eq!(escape_formula("-1"), "-1");
/// ```
pub fn escape_formula(text: &str) -> Cow<'_, str> {
    match text.starts_with(BEGINNINGS) && !is_signed_number(text) {
        true => Cow::Owned(format!("{QUOTE}{text}")),
        false => Cow::Borrowed(text),
    }
}

/// `-1`, `+0.5`
fn is_signed_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or_default();
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    is_digits(whole) && is_digits(fraction)
}

/// The text of a cell that [`escape_formula`] has written. Other apostrophes stay, so that tables written by
/// people are read as they are.
pub fn unescape_formula(cell: &str) -> &str {
    cell.strip_prefix(QUOTE).filter(|rest| rest.starts_with(BEGINNINGS)).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "['=+@\\-\t\r\n＝ab1.,\"|;]{0,6}", any in ".*") {
            for text in [text, any] {
                let cell = escape_formula(&text);
                prop_assert_eq!(unescape_formula(&cell), &text);
                let is_number = cell.parse::<f64>().is_ok_and(f64::is_finite);
                prop_assert!(is_number || !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
            }
        }

        #[test]
        fn tables_give_back_what_was_put_in(cells in proptest::collection::vec("['=+@\\-\t\r\na,\"]{0,4}", 2..5)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(cells.iter().map(|cell| escape_formula(cell).into_owned())).unwrap();
            let bytes = writer.into_inner().unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
            let record = reader.records().next().unwrap().unwrap();
            prop_assert!(record.iter().map(unescape_formula).eq(cells.iter().map(String::as_str)));
        }
    }

    #[test]
    fn numbers_are_no_formulas() {
        for text in ["-1", "+2", "-0.5", "-12.25"] {
            assert_eq!(escape_formula(text), text);
            assert_eq!(unescape_formula(&format!("'{text}")), text);
        }
        for text in ["-", "-1+2", "-1/cat.jpg", "+-1", "-.5", "-1.", "--1", "-1e3", "-inf", "-１"] {
            assert_eq!(escape_formula(text), format!("'{text}"));
        }
    }

    #[test]
    fn what_people_write_stays() {
        for text in ["'tis.jpg", "'", "''", "cats", "", "1", "a=b"] {
            assert_eq!(unescape_formula(text), if text == "''" { "'" } else { text });
        }
    }
}
