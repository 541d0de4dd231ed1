//! Whether the first row names the columns.

use super::sheet::{Row, Sheet, ends_as_image};
use super::{Column, Finder, Match, TableOptions, names, table_error};
use crate::DataError;

/// Takes the first row off if it is known to be a header.
pub(super) fn known_header(
    sheet: &mut Sheet,
    options: &TableOptions,
    finder: &Finder,
    notices: &mut Vec<String>,
) -> Result<Option<Vec<String>>, DataError> {
    if let Some(names) = &sheet.names {
        return Ok(Some(names.clone()));
    }
    let by_name = |column: &Column| matches!(column, Column::Name(_));
    // `none` is no name of a column, but says that there is no such column.
    let split = options.split_column.as_ref().filter(|column| **column != Column::Name("none".to_owned()));
    let single = [options.id_column.as_ref(), split, options.group_column.as_ref()];
    let named = options.label_columns.iter().chain(single.into_iter().flatten()).any(by_name);
    let is_header = match (options.header, named) {
        (Some(false), true) => {
            return Err(DataError::Setting {
                name: "header",
                value: "absent".to_owned(),
                expected: "present where columns are given by name",
            });
        }
        (Some(false), false) => false,
        (Some(true), _) | (None, true) => true,
        (None, false) => looks_like_a_header(sheet, finder) || numbers_the_columns(sheet),
    };
    if !is_header {
        return Ok(None);
    }
    let Row { line, cells: header, .. } = sheet.rows.remove(0);
    if options.header.is_none() && !named {
        notices.push(format!("row {line} of {} names the columns: {}", sheet.name(), header.join(", ")));
    }
    if sheet.rows.is_empty() {
        let advice = "give a table with a row for each image";
        return Err(table_error(&sheet.path, None, "has no rows but that of the columns' names", advice));
    }
    Ok(Some(header))
}

/// Whether the first row has the usual name of a column, which is neither a file nor comes again below.
pub(super) fn looks_like_a_header(sheet: &Sheet, finder: &Finder) -> bool {
    let [first, rows @ ..] = &sheet.rows[..] else { return false };
    let known = first
        .cells
        .iter()
        .enumerate()
        .any(|(column, name)| names::is_known(name) && !rows.iter().any(|row| row.cell(column) == name));
    known && finder.hits(first.cells.iter().map(String::as_str), None) == 0
}

/// Whether the first row is the one that pandas writes for columns without names, `0,1` or `,0,1`, above files that are named
/// in full: one may be called 0.
fn numbers_the_columns(sheet: &Sheet) -> bool {
    let [first, rows @ ..] = &sheet.rows[..] else { return false };
    let cells = first.cells.strip_prefix(&[String::new()]).unwrap_or(&first.cells);
    let counts =
        cells.len() > 1 && cells.iter().enumerate().all(|(number, cell)| *cell == number.to_string());
    let of_files = |column: usize| rows.iter().all(|row| ends_as_image(row.cell(column)));
    counts && !rows.is_empty() && (0..sheet.width()).any(of_files)
}

/// Whether the first id is no file; that others are is known when this is asked.
pub(super) fn first_row_is_a_header(sheet: &Sheet, file: usize, matches: &[Match]) -> bool {
    let [first, rows @ ..] = &sheet.rows[..] else { return false };
    let recurs = |(column, cell): (usize, &String)| {
        // A label that occurs again is a label, whatever became of its file.
        column != file && !cell.is_empty() && rows.iter().any(|row| row.cell(column) == cell)
    };
    !rows.is_empty() && !matches!(matches[0], Match::Found(_)) && !first.cells.iter().enumerate().any(recurs)
}
