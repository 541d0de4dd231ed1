//! Every table of a report, as CSV and JSON files.

use std::path::Path;

use ocelli::interpret::{Confused, ConfusionMatrix, Ranked, Ranking};
use ocelli::{Proportion, Result, Task, escape_formula, write_whole};
use serde_json::{Map, Value, json};

use crate::page::{Figure, near_duplicates};
use crate::{CELLS, Subject};

/// A table with named columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The name of its files.
    pub name: &'static str,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, one value per column.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    fn new(name: &'static str, columns: &[&str]) -> Self {
        Self { name, columns: columns.iter().map(|&column| column.to_owned()).collect(), rows: Vec::new() }
    }

    fn add<const N: usize>(&mut self, row: [Value; N]) {
        self.rows.push(row.into());
    }

    /// A list of objects, one per row.
    pub fn objects(&self) -> Value {
        let object = |row: &Vec<Value>| {
            Value::Object(self.columns.iter().cloned().zip(row.iter().cloned()).collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    /// Writes the table as `NAME.csv` and `NAME.json` into a folder.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let in_memory = "writing to memory succeeds";
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer
            .write_record(self.columns.iter().map(|name| escape_formula(name).into_owned()))
            .expect(in_memory);
        for row in &self.rows {
            writer.write_record(row.iter().map(csv_cell)).expect(in_memory);
        }
        write_whole(&folder.join(self.name).with_extension("csv"), &writer.into_inner().expect(in_memory))?;
        let text = serde_json::to_string_pretty(&self.objects()).expect("plain values serialise");
        write_whole(&folder.join(self.name).with_extension("json"), text.as_bytes())
    }
}

/// A cell of a CSV file: numbers unchanged, text escaped so that no spreadsheet runs it.
fn csv_cell(value: &Value) -> String {
    let text = cell(value);
    if value.is_number() { text } else { escape_formula(&text).into_owned() }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join("|"),
        other => other.to_string(),
    }
}

/// All tables of a report.
pub(crate) fn tables(subject: &Subject, figures: &[Figure]) -> Result<Vec<Table>> {
    let mut tables = vec![data(subject)];
    if !subject.named.is_empty() {
        tables.extend([
            table_of_figures(figures),
            classes(subject),
            ranking(subject),
            losses(subject),
            calibration(subject),
        ]);
        if subject.named.task() == Task::SingleLabel {
            if subject.named.classes.len() <= CELLS {
                tables.push(confusion(&subject.named.confusion_matrix()?));
            }
            tables.push(most_confused(subject.named.most_confused(1)?));
        } else {
            tables.push(thresholds(subject));
        }
    }
    if subject.review.is_some() {
        tables.extend([label_errors(subject), duplicates(subject), outliers(subject)]);
    }
    Ok(tables)
}

fn data(subject: &Subject) -> Table {
    let mut table = Table::new("data", &["class", "train", "valid"]);
    for count in subject.class_counts() {
        table.add([json!(count.class), json!(count.train), json!(count.valid)]);
    }
    table
}

fn table_of_figures(figures: &[Figure]) -> Table {
    let mut table = Table::new("figures", &["figure", "value", "low", "high"]);
    for figure in figures {
        table.add([json!(figure.name), json!(figure.value), json!(figure.low), json!(figure.high)]);
    }
    table
}

fn classes(subject: &Subject) -> Table {
    let columns = [
        "class",
        "support",
        "predicted",
        "precision",
        "precision_low",
        "precision_high",
        "recall",
        "recall_low",
        "recall_high",
        "f1",
        "auroc",
    ];
    let mut table = Table::new("classes", &columns);
    let parts = |fraction: Option<Proportion>| match fraction {
        Some(fraction) => {
            let (low, high) = fraction.interval();
            [json!(fraction.value()), json!(low), json!(high)]
        }
        None => [Value::Null, Value::Null, Value::Null],
    };
    for row in subject.named.class_table().rows {
        let [precision, precision_low, precision_high] = parts(row.precision);
        let [recall, recall_low, recall_high] = parts(row.recall);
        let (class, support, predicted, f1) =
            (json!(row.class), json!(row.support), json!(row.predicted), json!(row.f1));
        let auroc = json!(row.auroc);
        table.add([
            class,
            support,
            predicted,
            precision,
            precision_low,
            precision_high,
            recall,
            recall_low,
            recall_high,
            f1,
            auroc,
        ]);
    }
    table
}

fn ranking(subject: &Subject) -> Table {
    let mut table = Table::new("ranking", &[&["order", "class"], &RANKED[..]].concat());
    let orders = [
        (Ranking::MostCorrect, "most correct"),
        (Ranking::MostIncorrect, "most incorrect"),
        (Ranking::MostUncertain, "most uncertain"),
    ];
    for (order, name) in orders {
        for class in &subject.named.classes {
            let images = subject.named.ranked(order, class, 20).expect("a class of its own");
            for row in ranked(images) {
                table.rows.push([json!(name), json!(class)].into_iter().chain(row).collect());
            }
        }
    }
    table
}

fn losses(subject: &Subject) -> Table {
    let mut table = Table::new("top_losses", &RANKED);
    ranked(subject.named.top_losses(200)).for_each(|row| table.add(row));
    table
}

/// The columns of an image in a ranking.
const RANKED: [&str; 6] = ["rank", "id", "label", "decision", "probability", "loss"];

/// The cells of [`RANKED`] for images in order.
fn ranked(images: Vec<Ranked>) -> impl Iterator<Item = [Value; RANKED.len()]> {
    images.into_iter().enumerate().map(|(index, image)| {
        let Ranked { id, truth, predicted, probability, loss, .. } = image;
        [json!(index + 1), json!(id), json!(truth), json!(predicted), json!(probability), json!(loss)]
    })
}

fn calibration(subject: &Subject) -> Table {
    let columns = ["probabilities", "temperature", "low", "high", "count", "confidence", "accuracy"];
    let mut table = Table::new("calibration", &columns);
    let calibration = subject.calibration();
    let kinds = [
        ("plain", Some(&calibration.plain), Some(1.0)),
        ("calibrated", calibration.calibrated.as_ref(), calibration.temperature),
    ];
    for (kind, reliability, temperature) in kinds {
        for bin in reliability.into_iter().flat_map(|reliability| &reliability.bins) {
            table.add([
                json!(kind),
                json!(temperature),
                json!(bin.low),
                json!(bin.high),
                json!(bin.count),
                json!(bin.confidence),
                json!(bin.accuracy),
            ]);
        }
    }
    table
}

fn confusion(matrix: &ConfusionMatrix) -> Table {
    let mut counts = Table::new("confusion", &["label"]);
    counts.columns.extend(matrix.classes.iter().cloned());
    for (class, row) in matrix.classes.iter().zip(&matrix.counts) {
        counts.rows.push(std::iter::once(json!(class)).chain(row.iter().map(|count| json!(count))).collect());
    }
    counts
}

fn most_confused(confused: Vec<Confused>) -> Table {
    let mut pairs = Table::new("most_confused", &["label", "decision", "count", "of"]);
    for pair in confused {
        pairs.add([json!(pair.truth), json!(pair.predicted), json!(pair.count), json!(pair.of)]);
    }
    pairs
}

fn thresholds(subject: &Subject) -> Table {
    let mut table = Table::new("thresholds", &["class", "threshold", "precision", "recall", "f1", "f2"]);
    for curve in subject.named.threshold_curves() {
        for point in &curve.points {
            table.add([
                json!(curve.class.as_deref().unwrap_or("all labels")),
                json!(point.threshold),
                json!(point.precision),
                json!(point.recall),
                json!(point.f1),
                json!(point.f2),
            ]);
        }
    }
    table
}

fn label_errors(subject: &Subject) -> Table {
    let mut table = Table::new("label_errors", &["rank", "id", "label", "suggested", "score", "likely"]);
    for (rank, suspect) in subject.review.iter().flat_map(|review| &review.errors.suspects).enumerate() {
        table.add([
            json!(rank + 1),
            json!(suspect.id),
            json!(suspect.given),
            json!(suspect.suggested),
            json!(suspect.score),
            json!(suspect.likely),
        ]);
    }
    table
}

fn duplicates(subject: &Subject) -> Table {
    let mut table = Table::new("duplicates", &["first", "second", "likeness", "identical", "same_label"]);
    let Some(review) = subject.review else { return table };
    let named = &review.predictions;
    let mut add = |first: usize, second: usize, likeness: f64, identical: bool| {
        let same = named.truth(first) == named.truth(second);
        table.add([
            json!(named.ids[first]),
            json!(named.ids[second]),
            json!(likeness),
            json!(identical),
            json!(same),
        ]);
    };
    for group in &review.duplicates {
        group[1..].iter().for_each(|&other| add(group[0], other, 1.0, true));
    }
    for pair in near_duplicates(review) {
        add(pair.first, pair.second, pair.likeness, false);
    }
    table
}

fn outliers(subject: &Subject) -> Table {
    let mut table = Table::new("outliers", &["rank", "id", "label", "distance"]);
    let Some(review) = subject.review else { return table };
    for (rank, outlier) in review.neighbours.outliers.iter().enumerate() {
        let label = review.predictions.named(review.predictions.truth(outlier.index));
        table.add([
            json!(rank + 1),
            json!(review.predictions.ids[outlier.index]),
            json!(label),
            json!(outlier.distance),
        ]);
    }
    table
}
