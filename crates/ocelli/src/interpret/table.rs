//! Predictions as a CSV table: one row per image.
//!
//! ```text
//! id,label,decision,loss,probability_cats,probability_dogs
//! valid/cats/1.jpg,cats,cats,0.0012,0.9988,0.0012
//! ```
//!
//! For multi-label data the columns are `labels` and `decisions`, and names are separated by `|`; where a class has
//! that in its name, they are a list in JSON. The column of a class is its name after `probability_`, so that no class
//! can have the name of another column. Text that a spreadsheet would run is escaped, see [`escape_formula`].

use std::collections::HashMap;
use std::path::Path;

use ocelli_data::{DataError, Target, Task, escape_formula, files, unescape_formula};

use super::Interpretation;
use crate::data::decisions::{SEPARATOR, is_separable};
use crate::error::{Error, Result};
use crate::file;
use crate::metric::predictions::Predictions;

/// Columns before the probabilities.
const BEFORE: usize = 4;
const SINGLE: [&str; BEFORE] = ["id", "label", "decision", "loss"];
const SEVERAL: [&str; BEFORE] = ["id", "labels", "decisions", "loss"];
/// Before the names of the classes.
const PROBABILITY: &str = "probability_";

/// The name of the column with the probability of a class, in every table of predictions: `probability_cats`.
/// No other column begins with it.
pub fn probability_column(class: &str) -> String {
    format!("{PROBABILITY}{class}")
}

impl Interpretation {
    /// Writes the predictions as a CSV table, with all digits.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        let header = match self.task() {
            Task::SingleLabel => SINGLE,
            Task::MultiLabel => SEVERAL,
        };
        let classes = self.classes.iter().map(|class| probability_column(class));
        let header = header.into_iter().map(str::to_owned).chain(classes);
        writer.write_record(header.map(|name| escape_formula(&name).into_owned())).expect(in_memory);
        for index in 0..self.len() {
            let mut cells = vec![
                escape_formula(&self.ids[index]).into_owned(),
                self.cell(self.truth(index)),
                self.cell(&self.predictions.predicted_labels(index)),
                self.predictions.losses()[index].to_string(),
            ];
            cells.extend(self.predictions.row(index).iter().map(f32::to_string));
            writer.write_record(cells).expect(in_memory);
        }
        file::write_whole(path.as_ref(), &writer.into_inner().expect(in_memory))
    }

    /// Reads a table that was written, to the bit. It does not hold where the images are: paths are the ids
    /// below `root`.
    ///
    /// # Errors
    /// Where the file cannot be read or is not such a table; the error names the row.
    pub fn read_csv(path: impl AsRef<Path>, root: impl AsRef<Path>) -> Result<Self> {
        let (path, root) = (path.as_ref(), root.as_ref());
        let bytes = files::read(path).map_err(Error::io("read", path))?;
        let wrong = |row: Option<u64>, detail: String| -> Error {
            let advice = "give a predictions.csv as a run writes it".to_owned();
            DataError::Table { path: path.to_owned(), row, detail, advice }.into()
        };
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let header = reader.headers().map_err(|error| wrong(Some(1), error.to_string()))?.clone();
        let first: Vec<&str> = header.iter().take(BEFORE).collect();
        let task = match &first[..] {
            first if first == SINGLE => Task::SingleLabel,
            first if first == SEVERAL => Task::MultiLabel,
            _ => return Err(wrong(Some(1), format!("begins with the columns {}", first.join(", ")))),
        };
        let class = |column: &str| {
            let class = column.strip_prefix(PROBABILITY).map(str::to_owned);
            class.ok_or_else(|| {
                wrong(Some(1), format!("has the column \"{column}\"; expected {PROBABILITY}CLASS"))
            })
        };
        let classes: Vec<String> = header.iter().skip(BEFORE).map(class).collect::<Result<_>>()?;
        let separable = is_separable(&classes);
        let indices: HashMap<String, usize> =
            classes.iter().enumerate().map(|(index, class)| (class.clone(), index)).collect();
        let mut read = Self {
            ids: Vec::new(),
            paths: Vec::new(),
            predictions: Predictions::new(task, classes.len()),
            classes,
        };
        for record in reader.records() {
            let record = record.map_err(|error| wrong(None, error.to_string()))?;
            let row = record.position().map(csv::Position::line);
            let number = |cell: &str| wrong(row, format!("has \"{cell}\"; expected a finite number"));
            let (id, truth) = (unescape_formula(&record[0]), unescape_formula(&record[1]));
            let label = |name: &str| {
                indices
                    .get(name)
                    .copied()
                    .ok_or_else(|| wrong(row, format!("is labelled \"{name}\", of which there is no column")))
            };
            let labels = match task {
                Task::SingleLabel => vec![label(truth)?],
                Task::MultiLabel if !separable => {
                    let names: Vec<String> = serde_json::from_str(truth).map_err(|_| {
                        let detail = format!(
                            "has the labels {truth}; expected a list in JSON, since a class has {SEPARATOR} in its name"
                        );
                        wrong(row, detail)
                    })?;
                    names.iter().map(|name| label(name)).collect::<Result<_>>()?
                }
                Task::MultiLabel => {
                    let names = truth.split(SEPARATOR).filter(|name| !name.is_empty());
                    names.map(label).collect::<Result<_>>()?
                }
            };
            let finite = |cell: &str| cell.parse::<f64>().ok().filter(|value| value.is_finite());
            let loss = finite(&record[3]).ok_or_else(|| number(&record[3]))?;
            let value = |cell: &str| cell.parse::<f32>().ok().filter(|value| value.is_finite());
            let values = record.iter().skip(BEFORE).map(|cell| value(cell).ok_or_else(|| number(cell)));
            let values = values.collect::<Result<Vec<f32>>>()?;
            read.predictions.push_row(read.ids.len(), Target::new(task, labels), &values, loss);
            read.paths.push(root.join(id));
            read.ids.push(id.to_owned());
        }
        Ok(read)
    }

    fn cell(&self, classes: &[usize]) -> String {
        let names: Vec<&str> = classes.iter().map(|&class| self.classes[class].as_str()).collect();
        let text = match self.task() == Task::SingleLabel || is_separable(&self.classes) {
            true => names.join(&SEPARATOR.to_string()),
            false => serde_json::to_string(&names).expect("text serialises"),
        };
        escape_formula(&text).into_owned()
    }
}
