//! Paths whose folder and file name stand in two columns: `folder,file`, `dir,image_name`.

use super::files::Finder;
use super::sheet::{Row, Sheet};

/// So many rows tell which columns hold the parts of a path.
const SOME_ROWS: usize = 500;

/// The columns that make the paths of the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathColumns {
    pub(super) folder: usize,
    pub(super) name: usize,
}

/// Adds a column of paths to a table where two of its columns, put together, name more files than any one does,
/// since files in different folders have the same name.
pub(super) fn join(
    sheet: &mut Sheet,
    header: &mut Option<Vec<String>>,
    finder: &Finder,
    suffix: Option<&str>,
    notices: &mut Vec<String>,
) -> Option<PathColumns> {
    let (width, rows) = (sheet.width(), &sheet.rows);
    let step = rows.len().div_ceil(SOME_ROWS).max(1);
    let sampled = || rows.iter().step_by(step);
    let number = sampled().count();
    let hits = |column: usize| finder.hits(sampled().map(|row| row.cell(column)), suffix);
    let single: Vec<usize> = (0..width).map(hits).collect();
    let most = single.iter().copied().max().unwrap_or(0);
    // One column names a file of its own in nearly every row.
    if most == 0 || 10 * most >= 9 * number {
        return None;
    }
    let names_folders = |column: &usize| {
        let named = sampled().filter(|row| finder.has_folder(row.cell(*column))).count();
        2 * named > number
    };
    let folders: Vec<usize> = (0..width).filter(names_folders).collect();
    let names = (0..width).filter(|&column| single[column] > 0);
    let pairs = names.flat_map(|name| folders.iter().map(move |&folder| (folder, name)));
    let together = |&(folder, name): &(usize, usize)| {
        let paths: Vec<String> = sampled().map(|row| path(row, folder, name)).collect();
        finder.hits(paths.iter().map(String::as_str), suffix)
    };
    let (found, (folder, name)) = pairs
        .filter(|(folder, name)| folder != name)
        .map(|pair| (together(&pair), pair))
        .max_by_key(|(found, pair)| (*found, std::cmp::Reverse(*pair)))?;
    if 2 * found < number || 10 * found < 11 * most {
        return None;
    }
    let title = |column: usize| {
        let named = header.as_ref().and_then(|header| header.get(column)).filter(|name| !name.is_empty());
        named.map_or_else(|| format!("number {}", column + 1), |name| format!("\"{name}\""))
    };
    let example = sheet.rows.get(usize::from(header.is_none() && rows.len() > 1));
    notices.push(format!(
        "the files of {} are named by the columns {} and {} together, as row {}: {}",
        sheet.name(),
        title(folder),
        title(name),
        example.map_or(1, |row| row.line),
        example.map_or_else(String::new, |row| path(row, folder, name))
    ));
    for row in &mut sheet.rows {
        row.cells.resize(width, String::new());
        row.cells.push(path(row, folder, name));
    }
    for names in [header, &mut sheet.names].into_iter().flatten() {
        names.resize(width, String::new());
        names.push(format!("{}/{}", names[folder], names[name]));
    }
    Some(PathColumns { folder, name })
}

fn path(row: &Row, folder: usize, name: usize) -> String {
    match (row.cell(folder).trim_end_matches(['/', '\\']), row.cell(name)) {
        (_, "") => String::new(),
        ("", name) => name.to_owned(),
        (folder, name) => format!("{folder}/{}", name.trim_start_matches(['/', '\\'])),
    }
}
