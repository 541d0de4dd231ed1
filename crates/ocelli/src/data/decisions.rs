//! Decisions about labels: a table that a report's page exports.
//!
//! ```text
//! id,decision,label
//! cats/17.jpg,relabel,dogs
//! cats/23.jpg,drop,
//! dogs/4.jpg,keep,
//! ```
//!
//! With several labels per image, their names are separated by `|`; where a class has that in its name, several are a
//! list in JSON.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use ocelli_data::source::table::Sheet;
use ocelli_data::{DataError, Items, Split, Target, Task, unescape_formula};

use crate::error::{Error, Result, some};

/// The separator between several class names in one cell.
pub(crate) const SEPARATOR: char = '|';

/// Whether several of these class names can be told apart with the separator between them.
pub(crate) fn is_separable(classes: &[String]) -> bool {
    !classes.iter().any(|class| class.contains(SEPARATOR))
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The line of the file, from 1.
    row: u64,
    id: String,
    what: What,
}

impl Decision {
    /// The image.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Keep,
    Drop,
    /// To the class of this name, or to several, as the cell has them.
    Relabel(String),
}

/// What the decisions did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Items that are not training images.
    pub(crate) dropped: Vec<usize>,
    relabelled: usize,
    kept: usize,
    held_out: usize,
}

/// Reads the table.
pub(crate) fn read(path: &Path) -> Result<Vec<Decision>> {
    // Spreadsheets may save it with other separators and encodings.
    let mut sheet = Sheet::read(path)?;
    let wrong = |row: Option<u64>, detail: String| wrong(path, row, detail);
    let header = sheet.rows.remove(0).cells;
    let column = |name: &str| header.iter().position(|cell| cell == name);
    let (Some(id), Some(decision)) = (column("id"), column("decision")) else {
        return Err(wrong(Some(1), "lacks the columns id and decision".to_owned()));
    };
    let label = column("label");
    let (mut decisions, mut seen) = (Vec::new(), HashSet::new());
    for record in &sheet.rows {
        let row = record.line;
        let cell = |column: Option<usize>| unescape_formula(column.map_or("", |column| record.cell(column)));
        let what = match cell(Some(decision)) {
            "keep" => What::Keep,
            "drop" => What::Drop,
            "relabel" => What::Relabel(cell(label).to_owned()),
            other => {
                return Err(wrong(
                    Some(row),
                    format!("has the decision \"{other}\"; expected keep, relabel or drop"),
                ));
            }
        };
        let id = cell(Some(id)).to_owned();
        if !seen.insert(id.clone()) {
            return Err(wrong(Some(row), format!("decides about {id} a second time")));
        }
        decisions.push(Decision { row, id, what });
    }
    Ok(decisions)
}

/// Relabels and drops training items; `path` names the table in errors.
pub(crate) fn apply(
    decisions: &[Decision],
    path: &Path,
    items: &mut Items,
    split: &mut Split,
) -> Result<Applied> {
    let by_id: HashMap<String, usize> =
        items.items.iter().enumerate().map(|(index, item)| (item.id.clone(), index)).collect();
    let trained: HashSet<usize> = split.train.iter().copied().collect();
    let mut applied = Applied::default();
    let mut decided = HashSet::new();
    for Decision { row, id, what } in decisions {
        let wrong = |detail: String| wrong(path, Some(*row), detail);
        let &item = by_id
            .get(id)
            .or_else(|| by_id.get(id.trim()))
            .ok_or_else(|| wrong(format!("names {id}, which is not among the images")))?;
        // Ids with and without spaces around them may name one image.
        if !decided.insert(item) {
            return Err(wrong(format!("decides about {} a second time", id.trim())));
        }
        if !trained.contains(&item) {
            applied.held_out += 1;
            continue;
        }
        match what {
            What::Keep => applied.kept += 1,
            What::Drop => applied.dropped.push(item),
            What::Relabel(names) => {
                let list =
                    || serde_json::from_str(names).ok().filter(|_| !is_separable(items.classes.names()));
                let names: Vec<String> = match (items.classes.index(names), list()) {
                    (Some(_), _) => vec![names.clone()],
                    (None, Some(list)) => list,
                    (None, None) => names
                        .split(SEPARATOR)
                        .map(str::trim)
                        .filter(|name| !name.is_empty())
                        .map(str::to_owned)
                        .collect(),
                };
                let class = |name: &String| {
                    let (exact, trimmed) = (items.classes.index(name), items.classes.index(name.trim()));
                    exact.or(trimmed).ok_or_else(|| {
                        let known = some(items.classes.names());
                        wrong(format!("relabels to \"{name}\", which is no class (there are: {known})"))
                    })
                };
                let mut classes = names.iter().map(class).collect::<Result<Vec<_>>>()?;
                classes.sort_unstable();
                classes.dedup();
                if items.task == Task::SingleLabel && classes.len() != 1 {
                    return Err(wrong(format!("relabels to {} classes; expected one", classes.len())));
                }
                items.items[item].target = Target::new(items.task, classes);
                applied.relabelled += 1;
            }
        }
    }
    applied.dropped.sort_unstable();
    let dropped: HashSet<usize> = applied.dropped.iter().copied().collect();
    split.train.retain(|item| !dropped.contains(item));
    Ok(applied)
}

fn wrong(path: &Path, row: Option<u64>, detail: String) -> Error {
    let advice = "correct it, or download the decisions from the report again".to_owned();
    DataError::Table { path: path.to_owned(), row, detail, advice }.into()
}

impl fmt::Display for Applied {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { dropped, relabelled, kept, held_out } = self;
        let dropped = dropped.len();
        write!(formatter, "decisions: {relabelled} relabelled, {dropped} dropped, {kept} kept")?;
        match held_out {
            0 => Ok(()),
            1 => write!(formatter, "; 1 is about a held-out image, which stays as it is"),
            several => write!(formatter, "; {several} are about held-out images, which stay as they are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ocelli_data::{Classes, Item};

    use super::*;

    #[test]
    fn classes_may_have_the_separator_in_their_names() {
        let item = |id: &str| {
            let target = Target::new(Task::MultiLabel, vec![0]);
            Item { id: id.to_owned(), path: id.into(), target }
        };
        let classes = Classes::new(["a", "a|b", "b"]);
        let items = ["1", "2", "3"].map(item).to_vec();
        let mut items = Items { root: PathBuf::new(), task: Task::MultiLabel, classes, items };
        let mut split = Split { train: vec![0, 1, 2], ..Split::default() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decisions.csv");
        let rows = r#"1,relabel,a|b
2,relabel,"[""a"",""b""]"
3,relabel,"[""a|b"",""b""]"
"#;
        std::fs::write(&path, format!("id,decision,label\n{rows}")).unwrap();
        apply(&read(&path).unwrap(), &path, &mut items, &mut split).unwrap();
        let relabelled: Vec<&[usize]> = items.items.iter().map(|item| item.target.classes()).collect();
        assert_eq!(relabelled, [&[1][..], &[0, 2], &[1, 2]]);
    }
}
