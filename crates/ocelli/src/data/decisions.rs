//! Decisions about labels: a table that a report's page exports.
//!
//! ```text
//! id,decision,label
//! cats/17.jpg,relabel,dogs
//! cats/23.jpg,drop,
//! dogs/4.jpg,keep,
//! dogs/5.jpg,new-class,foxes
//! ```
//!
//! `relabel` names classes that there are, so that a slip of the pen is found; `new-class` may name others, which there
//! are then.
//!
//! With several labels per image, their names are separated by `|`; where a class has that in its name, several are a
//! list in JSON.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use ocelli_data::source::table::Sheet;
use ocelli_data::{Classes, DataError, Items, Split, Target, Task, unescape_formula};

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

    /// What is decided.
    pub(crate) fn what(&self) -> &What {
        &self.what
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Keep,
    Drop,
    /// To the class of this name, or to several, as the cell has them.
    Relabel(String),
    /// As [`Relabel`](Self::Relabel), also to classes that there are not yet.
    NewClass(String),
}

impl What {
    /// As the table has it: the decision, and the label.
    pub(crate) fn cells(&self) -> (&'static str, &str) {
        match self {
            Self::Keep => ("keep", ""),
            Self::Drop => ("drop", ""),
            Self::Relabel(names) => ("relabel", names),
            Self::NewClass(names) => ("new-class", names),
        }
    }

    /// The names of classes in a label's cell, where these classes are known.
    pub(crate) fn names(&self, classes: &Classes, task: Task) -> Vec<String> {
        let cell = self.cells().1;
        let list = || serde_json::from_str(cell).ok().filter(|_| !is_separable(classes.names()));
        match (classes.index(cell), self, list()) {
            (Some(_), ..) => vec![cell.to_owned()],
            (None, Self::NewClass(_), _) if task == Task::SingleLabel => vec![cell.trim().to_owned()],
            (None, _, Some(list)) => list,
            (None, _, None) => cell
                .split(SEPARATOR)
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
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
            "new-class" => What::NewClass(cell(label).to_owned()),
            other => {
                return Err(wrong(
                    Some(row),
                    format!("has the decision \"{other}\"; expected keep, relabel, new-class or drop"),
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

/// Adds the new classes that training items are given; the items' targets then are of all classes.
pub(crate) fn add_classes(
    decisions: &[Decision],
    path: &Path,
    items: &mut Items,
    split: &Split,
) -> Result<()> {
    let trained: HashSet<&str> = split.train.iter().map(|&item| items[item].id.as_str()).collect();
    let mut names = items.classes.names().to_vec();
    for Decision { row, id, what } in decisions {
        if !matches!(what, What::NewClass(_)) || !(trained.contains(&id[..]) || trained.contains(id.trim())) {
            continue;
        }
        for name in what.names(&items.classes, items.task) {
            let wrong = |detail: String| wrong(path, Some(*row), detail);
            if name.is_empty() {
                return Err(wrong("makes a new class without a name".to_owned()));
            }
            match items.classes.alike(&name) {
                Some(same) if same == name => {}
                Some(alike) => {
                    let detail = format!("makes a new class \"{name}\", which looks like \"{alike}\"");
                    return Err(wrong(detail));
                }
                None => names.push(name),
            }
        }
    }
    let classes = Classes::new(names);
    if classes.len() == items.classes.len() {
        return Ok(());
    }
    let index = |&class: &usize| items.classes.name(class).and_then(|name| classes.index(name));
    for item in &mut items.items {
        if item.target != Target::Unlabelled {
            item.target = Target::new(items.task, item.target.classes().iter().filter_map(index).collect());
        }
    }
    items.classes = classes;
    Ok(())
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
            What::Relabel(_) | What::NewClass(_) => {
                let names = what.names(&items.classes, items.task);
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
    fn new_classes_are_made_where_a_decision_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decisions.csv");
        let given = |task: Task, rows: &str| {
            let item = |(id, class)| Item {
                id: format!("{id}"),
                path: "x".into(),
                target: Target::new(task, vec![class]),
            };
            let mut items = Items {
                root: PathBuf::new(),
                task,
                classes: Classes::new(["b", "d"]),
                items: [(1, 0), (2, 1), (3, 1)].map(item).to_vec(),
            };
            let mut split = Split { train: vec![0, 1], valid: vec![2], ..Split::default() };
            std::fs::write(&path, format!("id,decision,label\n{rows}")).unwrap();
            let decisions = read(&path)?;
            add_classes(&decisions, &path, &mut items, &split)?;
            apply(&decisions, &path, &mut items, &mut split)?;
            let labels = items.items.iter().map(|item| {
                item.target
                    .classes()
                    .iter()
                    .map(|&class| items.classes.name(class).unwrap())
                    .collect::<Vec<_>>()
                    .join("+")
            });
            Ok::<_, Error>((items.classes.names().join(" "), labels.collect::<Vec<_>>().join(" ")))
        };
        // Others keep their labels, though classes are ordered by name; held-out items make no class.
        let single = given(Task::SingleLabel, "1,new-class,a|c\n2,relabel,b\n3,new-class,e\n").unwrap();
        assert_eq!(single, ("a|c b d".to_owned(), "a|c b d".to_owned()));
        let several = given(Task::MultiLabel, "1,new-class,a|d\n2,new-class,b|c\n").unwrap();
        assert_eq!(several, ("a b c d".to_owned(), "a+d b+c d".to_owned()));
        for (rows, said) in [
            ("1,relabel,a\n", "which is no class"),
            ("1,new-class,\n", "without a name"),
            ("1,new-class,B\n", "looks like \"b\""),
        ] {
            let error = given(Task::SingleLabel, rows).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

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
