//! Tables of predictions, row by row.
//!
//! ```text
//! path,class,probability,error,probability_cats,probability_dogs
//! a.jpg,cats,0.9988,,0.9988,0.0012
//! b.jpg,,,"not an image",,
//! ```
//!
//! With `top_k` the probabilities of all classes are left out, and `class_1,probability_1,class_2,…` stand in
//! their place. Text that a spreadsheet would run is escaped, see [`escape_formula`].

use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use ocelli_data::{Task, escape_formula, text_of};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::interpret::probability_column;
use crate::model::prediction::{ClassProbability, Prediction};

/// The format of a table of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableFormat {
    /// CSV with a header.
    Csv,
    /// JSON Lines: an object per photo and line.
    JsonLines,
    /// JSON: an array of objects.
    Json,
    /// Parquet, for [`PredictionFile`](crate::PredictionFile) alone: the columns of CSV. Probabilities and scores are
    /// 64-bit floats, those that the other formats' decimals say; what CSV leaves empty is null.
    Parquet,
}

impl TableFormat {
    /// The names that [`FromStr`] takes, the extensions of files, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("csv", "CSV with a header"),
        ("jsonl", "JSON Lines"),
        ("json", "One JSON array"),
        ("parquet", "Parquet"),
    ];

    /// Whether a table of this format can be resumed: it needs no end.
    pub fn is_resumable(self) -> bool {
        matches!(self, Self::Csv | Self::JsonLines)
    }
}

impl FromStr for TableFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::JsonLines),
            "json" => Ok(Self::Json),
            "parquet" => Ok(Self::Parquet),
            _ => Err(Error::setting("format", name, "csv, jsonl, json or parquet")),
        }
    }
}

/// The columns of a table of predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct TableLayout {
    /// The format.
    pub format: TableFormat,
    /// The classes of the model.
    pub classes: Vec<String>,
    /// Whether an image has one label or several.
    pub task: Task,
    /// Between several labels of an image, in CSV.
    pub separator: char,
    /// The most probable classes to write instead of the probabilities of all; all where there are fewer.
    pub top_k: Option<usize>,
    /// Whether to write if a photo is called unknown, and its unknown score.
    pub unknown: bool,
}

/// A row in JSON.
#[derive(Serialize)]
struct Object<'a> {
    path: &'a str,
    /// Single-label; `null` where no class is probable enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Option<&'a str>>,
    /// Multi-label.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<ClassProbability>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_order")]
    probabilities: Option<&'a Prediction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// The probabilities of all classes, in their order.
fn in_order<S: Serializer>(
    prediction: &Option<&Prediction>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for prediction in prediction.iter() {
        for (class, probability) in prediction.classes.iter().zip(&prediction.probabilities) {
            map.serialize_entry(class, probability)?;
        }
    }
    map.end()
}

impl TableLayout {
    /// The header; empty where the format has none.
    pub fn header(&self) -> Vec<u8> {
        match self.format {
            TableFormat::Csv => record(self.columns().iter().map(|name| escape_formula(name).into_owned())),
            _ => Vec::new(),
        }
    }

    /// The names of a CSV table's columns.
    pub(crate) fn columns(&self) -> Vec<String> {
        let mut first = vec!["path", "class", "probability", "error"];
        if self.unknown {
            first.extend(["unknown", "unknown_score"]);
        }
        let first = first.into_iter().map(str::to_owned);
        let rest: Vec<String> = match self.most() {
            Some(most) => {
                (1..=most).flat_map(|rank| [format!("class_{rank}"), format!("probability_{rank}")]).collect()
            }
            // The column of a class cannot have the name of another column.
            None => self.classes.iter().map(|class| probability_column(class)).collect(),
        };
        first.chain(rest).collect()
    }

    /// The number of classes that are listed, if not the probabilities of all are.
    pub(crate) fn most(&self) -> Option<usize> {
        self.top_k.map(|most| most.min(self.classes.len()))
    }

    /// The row of a prediction as CSV or JSON, with the end of its line; in an array, without what is between rows.
    pub fn row(&self, prediction: &Prediction) -> Vec<u8> {
        let path = text_of(&prediction.path);
        let labels = prediction.predicted_labels();
        let labels: Vec<&str> = labels.iter().map(|label| label.class.as_str()).collect();
        let top = self.most().map(|most| prediction.top_k(most));
        let best = prediction.best().probability;
        let unknown = prediction.unknown.filter(|_| self.unknown);
        match self.format {
            TableFormat::Csv => {
                let class = labels.join(&self.separator.to_string());
                let mut cells = vec![text(&path), text(&class), best.to_string(), String::new()];
                if self.unknown {
                    let is_unknown = unknown.map(|unknown| unknown.is_unknown().to_string());
                    let score = unknown.map(|unknown| unknown.score.to_string());
                    cells.extend([is_unknown, score].map(Option::unwrap_or_default));
                }
                match top {
                    Some(top) => cells.extend(
                        top.iter().flat_map(|class| [text(&class.class), class.probability.to_string()]),
                    ),
                    None => cells.extend(prediction.probabilities.iter().map(f32::to_string)),
                }
                record(cells)
            }
            _ => {
                let single = prediction.task == Task::SingleLabel;
                self.object(&Object {
                    path: &path,
                    class: single.then(|| labels.first().copied()),
                    classes: (!single).then_some(labels),
                    probability: single.then_some(best),
                    unknown: unknown.map(|unknown| unknown.is_unknown()),
                    unknown_score: unknown.map(|unknown| unknown.score),
                    probabilities: top.is_none().then_some(prediction),
                    top,
                    error: None,
                })
            }
        }
    }

    /// The row of a file that could not be read, as CSV or JSON.
    pub fn error_row(&self, path: &Path, reason: &str) -> Vec<u8> {
        let path = text_of(path);
        match self.format {
            TableFormat::Csv => {
                let mut cells = vec![text(&path), String::new(), String::new(), text(reason)];
                cells.resize(self.columns().len(), String::new());
                record(cells)
            }
            _ => self.object(&Object {
                path: &path,
                class: None,
                classes: None,
                probability: None,
                unknown: None,
                unknown_score: None,
                top: None,
                probabilities: None,
                error: Some(reason),
            }),
        }
    }

    fn object(&self, object: &Object) -> Vec<u8> {
        let mut line = serde_json::to_vec(object).expect("plain values serialise");
        if self.format == TableFormat::JsonLines {
            line.push(b'\n');
        }
        line
    }
}

/// A cell of text.
fn text(text: &str) -> String {
    escape_formula(text).into_owned()
}

/// A line of CSV.
fn record(cells: impl IntoIterator<Item = String>) -> Vec<u8> {
    let in_memory = "writing to memory succeeds";
    let mut writer = csv::WriterBuilder::new().buffer_capacity(1 << 10).from_writer(Vec::new());
    writer.write_record(cells).expect(in_memory);
    writer.into_inner().expect(in_memory)
}

/// Writes a table of predictions as a stream. Each row is written at once, whole.
#[derive(Debug)]
pub struct TableWriter<W> {
    out: W,
    layout: TableLayout,
    is_empty: bool,
}

impl<W: Write> TableWriter<W> {
    /// Begins a table.
    ///
    /// # Errors
    /// Those of `out`; where the format is Parquet, which is no stream of rows.
    pub fn new(mut out: W, layout: TableLayout) -> io::Result<Self> {
        if layout.format == TableFormat::Parquet {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "Parquet is written to files alone"));
        }
        out.write_all(&layout.header())?;
        Ok(Self::resumed(out, layout))
    }

    /// Continues a table that has a header.
    pub(crate) fn resumed(out: W, layout: TableLayout) -> Self {
        Self { out, layout, is_empty: true }
    }

    /// Writes the row of a prediction.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&mut self, prediction: &Prediction) -> io::Result<()> {
        self.write_row(self.layout.row(prediction))
    }

    /// Writes the row of a file that could not be read.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_error(&mut self, path: &Path, reason: &str) -> io::Result<()> {
        self.write_row(self.layout.error_row(path, reason))
    }

    fn write_row(&mut self, row: Vec<u8>) -> io::Result<()> {
        let before: &[u8] = match (self.layout.format, self.is_empty) {
            (TableFormat::Json, true) => b"[\n",
            (TableFormat::Json, false) => b",\n",
            _ => b"",
        };
        self.is_empty = false;
        self.out.write_all(&[before, &row].concat())
    }

    /// Hands the rows so far to the system.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the table.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<W> {
        if self.layout.format == TableFormat::Json {
            self.out.write_all(if self.is_empty { b"[]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}
