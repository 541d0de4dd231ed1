//! The table of decisions beside a run: read again before each change, and written whole or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ocelli_data::files::{self, Lock};
use ocelli_data::source::table::Sheet;
use ocelli_data::{Classes, Task, escape_formula, unescape_formula};
use serde::{Deserialize, Serialize};

use crate::clean::Decisions;
use crate::data::decisions::{self, SEPARATOR, What, is_separable};
use crate::error::{Error, Result};
use crate::file;

/// What is decided about the label of a photo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "decision", content = "labels")]
pub enum LabelDecision {
    /// The label is right.
    Keep,
    /// The photo is not to be trained on.
    Drop,
    /// These classes are right; for single-label data one.
    Relabel(Vec<String>),
}

/// The table, which other windows and people may change at any time.
pub(super) struct DecisionsFile {
    path: PathBuf,
    /// What the run itself was trained with.
    earlier: HashMap<String, What>,
    task: Task,
    /// The run's classes.
    classes: Classes,
}

/// A table as it stands in its file, with all columns that it has.
struct Cells {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    id: usize,
    decision: usize,
    label: usize,
}

/// The longest wait for another process that writes the table.
const PATIENCE: Duration = Duration::from_secs(10);
/// The lock's name.
const LOCK: &str = ".decisions.lock";

impl DecisionsFile {
    pub(super) fn new(path: PathBuf, earlier: Option<PathBuf>, task: Task, classes: Classes) -> Self {
        // Where they cannot be read, the run's images say so.
        let earlier = earlier.and_then(|path| decisions::read(&path).ok()).unwrap_or_default();
        let earlier =
            earlier.iter().map(|decision| (decision.id().to_owned(), decision.what().clone())).collect();
        Self { path, earlier, task, classes }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All decisions, by ids.
    pub(super) fn read(&self) -> Result<Decisions> {
        let decision = |what: &What| match what {
            What::Keep => LabelDecision::Keep,
            What::Drop => LabelDecision::Drop,
            What::Relabel(_) | What::NewClass(_) => {
                LabelDecision::Relabel(what.names(&self.classes, self.task))
            }
        };
        if !self.path.exists() {
            return Ok(self.earlier.iter().map(|(id, what)| (id.clone(), decision(what))).collect());
        }
        let all = decisions::read(&self.path)?;
        Ok(all.iter().map(|row| (row.id().to_owned(), decision(row.what()))).collect())
    }

    /// Sets or removes one decision; all others stay as they are in the file by then.
    pub(super) fn set(&self, id: &str, decision: Option<&LabelDecision>) -> Result<Decisions> {
        let _lock = self.lock()?;
        // Refuses a file that is not understood, which is not to be overwritten.
        self.read()?;
        let mut cells = self.cells()?;
        // What the run was trained with holds where nothing else is decided, and its label is what is kept.
        let what = match decision {
            None => self.earlier.get(id).cloned(),
            Some(LabelDecision::Keep) => Some(match self.earlier.get(id) {
                Some(what @ (What::Relabel(_) | What::NewClass(_))) => what.clone(),
                _ => What::Keep,
            }),
            Some(LabelDecision::Drop) => Some(What::Drop),
            Some(LabelDecision::Relabel(labels)) => Some(self.relabel(labels)),
        };
        let at = cells.rows.iter().position(|row| cells.id_of(row) == id);
        match (at, what) {
            (Some(at), Some(what)) => cells.set(at, id, &what),
            (Some(at), None) => drop(cells.rows.remove(at)),
            (None, Some(what)) => {
                cells.rows.push(vec![String::new(); cells.header.len()]);
                cells.set(cells.rows.len() - 1, id, &what);
            }
            (None, None) => {}
        }
        file::write_whole(&self.path, &cells.to_csv())?;
        self.read()
    }

    /// Writes a copy of the decisions about photos that are there; gives their number, and the other photos.
    pub(super) fn copy_to(
        &self,
        path: &Path,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<(usize, Vec<String>)> {
        let _lock = self.lock()?;
        self.read()?;
        let mut cells = self.cells()?;
        let mut missing = Vec::new();
        let (id, rows) = (cells.id, std::mem::take(&mut cells.rows));
        cells.rows = (rows.into_iter())
            .filter(|row| {
                let id = row.get(id).map_or("", |cell| unescape_formula(cell));
                let there = is_there(id);
                if !there {
                    missing.push(id.to_owned());
                }
                there
            })
            .collect();
        file::write_whole(path, &cells.to_csv())?;
        Ok((cells.rows.len(), missing))
    }

    /// The row of new labels.
    fn relabel(&self, labels: &[String]) -> What {
        let cell = match labels {
            [label] if self.task == Task::SingleLabel => label.clone(),
            // A list may hold any character, and is read as one where a class has the separator in its name.
            labels if !is_separable(self.classes.names()) => {
                serde_json::to_string(labels).expect("text serialises")
            }
            labels => labels.join(&SEPARATOR.to_string()),
        };
        match labels.iter().all(|label| self.classes.index(label).is_some()) {
            true => What::Relabel(cell),
            false => What::NewClass(cell),
        }
    }

    fn lock(&self) -> Result<Lock> {
        let folder = files::folder_of(&self.path);
        let path = folder.join(LOCK);
        let began = Instant::now();
        loop {
            match files::lock(&path).map_err(Error::io("lock", &path))? {
                Some(lock) => return Ok(lock),
                None if began.elapsed() > PATIENCE => return Err(Error::RunBusy { path: folder.to_owned() }),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// The file's cells, as they are; where there is no file, those of the decisions that the run was trained with.
    fn cells(&self) -> Result<Cells> {
        if !self.path.exists() {
            let header = ["id", "decision", "label"].map(str::to_owned).to_vec();
            let mut cells = Cells { header, rows: Vec::new(), id: 0, decision: 1, label: 2 };
            let mut earlier: Vec<_> = self.earlier.iter().collect();
            earlier.sort_unstable_by_key(|(id, _)| *id);
            for (id, what) in earlier {
                cells.rows.push(vec![String::new(); 3]);
                cells.set(cells.rows.len() - 1, id, what);
            }
            return Ok(cells);
        }
        let mut rows: Vec<Vec<String>> =
            Sheet::read(&self.path)?.rows.into_iter().map(|row| row.cells).collect();
        let mut header = rows.remove(0);
        let column = |name: &str| header.iter().position(|cell| cell == name);
        let found = (column("id"), column("decision"), column("label"));
        let (Some(id), Some(decision), label) = found else {
            unreachable!("the columns were looked for as the file was read")
        };
        let label = label.unwrap_or_else(|| {
            header.push("label".to_owned());
            header.len() - 1
        });
        rows.iter_mut().for_each(|row| row.resize(header.len(), String::new()));
        Ok(Cells { header, rows, id, decision, label })
    }
}

impl Cells {
    fn id_of<'a>(&self, row: &'a [String]) -> &'a str {
        unescape_formula(&row[self.id])
    }

    fn set(&mut self, at: usize, id: &str, what: &What) {
        let (decision, label) = what.cells();
        let row = &mut self.rows[at];
        row[self.id] = escape_formula(id).into_owned();
        row[self.decision] = decision.to_owned();
        row[self.label] = escape_formula(label).into_owned();
    }

    fn to_csv(&self) -> Vec<u8> {
        let in_memory = "writing to memory succeeds";
        let mut table = csv::Writer::from_writer(Vec::new());
        for row in std::iter::once(&self.header).chain(&self.rows) {
            table.write_record(row).expect(in_memory);
        }
        table.into_inner().expect(in_memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, task: Task, classes: &[&str], earlier: Option<&str>) -> DecisionsFile {
        let before = earlier.map(|rows| {
            let path = folder.join("earlier.csv");
            std::fs::write(&path, format!("id,decision,label\n{rows}")).unwrap();
            path
        });
        DecisionsFile::new(folder.join("decisions.csv"), before, task, Classes::new(classes.iter().copied()))
    }

    fn relabel(labels: &[&str]) -> LabelDecision {
        LabelDecision::Relabel(labels.iter().map(|&label| label.to_owned()).collect())
    }

    #[test]
    fn what_others_wrote_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), Task::SingleLabel, &["cats", "dogs"], None);
        assert!(file.read().unwrap().is_empty());
        file.set("1.jpg", Some(&LabelDecision::Keep)).unwrap();
        // As a spreadsheet saves it, with a column of its own and no label for the last one.
        std::fs::write(
            file.path(),
            "note;id;decision;label\nsure;1.jpg;keep;\n\"a; b\";2.jpg;relabel;dogs\n",
        )
        .unwrap();
        file.set("=3.jpg", Some(&relabel(&["foxes"]))).unwrap();
        let all = file.set("1.jpg", Some(&LabelDecision::Drop)).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(
            text,
            "note,id,decision,label\nsure,1.jpg,drop,\na; b,2.jpg,relabel,dogs\n,'=3.jpg,new-class,foxes\n"
        );
        assert_eq!(all.len(), 3);
        assert_eq!(all["=3.jpg"], relabel(&["foxes"]));
        assert!(!file.set("2.jpg", None).unwrap().contains_key("2.jpg"));
        // What is not understood is said, and not overwritten.
        std::fs::write(file.path(), "id,decision\n1.jpg,perhaps\n").unwrap();
        let error = file.set("2.jpg", Some(&LabelDecision::Keep)).unwrap_err().to_string();
        assert!(error.contains("row 2") && error.contains("perhaps"), "{error}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "id,decision\n1.jpg,perhaps\n");
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for window in 0..4 {
                let folder = folder.path();
                scope.spawn(move || {
                    let file = file(folder, Task::SingleLabel, &["a", "b"], None);
                    for photo in 0..8 {
                        file.set(&format!("{window}-{photo}"), Some(&LabelDecision::Drop)).unwrap();
                    }
                });
            }
        });
        let file = file(folder.path(), Task::SingleLabel, &["a", "b"], None);
        assert_eq!(file.read().unwrap().len(), 32);
    }

    #[test]
    fn decisions_of_earlier_rounds_hold() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = "1,relabel,dogs\n2,drop,\n3,keep,\n";
        let file = file(folder.path(), Task::SingleLabel, &["cats", "dogs"], Some(earlier));
        assert_eq!(file.read().unwrap()["1"], relabel(&["dogs"]));
        // The label that is kept is the one that the run was trained with.
        let all = file.set("1", Some(&LabelDecision::Keep)).unwrap();
        assert_eq!(all["1"], relabel(&["dogs"]));
        assert_eq!(all["2"], LabelDecision::Drop);
        file.set("1", Some(&relabel(&["cats"]))).unwrap();
        assert_eq!(file.set("1", None).unwrap()["1"], relabel(&["dogs"]));
    }

    #[test]
    fn several_labels_are_read_as_they_were_written() {
        for classes in [&["a", "b", "c"][..], &["a|b", "b", "c"]] {
            let folder = tempfile::tempdir().unwrap();
            let file = file(folder.path(), Task::MultiLabel, classes, None);
            for labels in [&classes[..2], &classes[2..], &[], &[classes[0], "new one"]] {
                assert_eq!(
                    file.set("x", Some(&relabel(labels))).unwrap()["x"],
                    relabel(labels),
                    "{classes:?}"
                );
            }
        }
    }
}
