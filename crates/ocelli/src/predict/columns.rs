//! Tables of predictions as Parquet, with the columns of CSV.
//!
//! What CSV leaves empty is null, but for the class of a multi-label photo without a label, which is "". Nothing is escaped
//! for spreadsheets.

use std::io::{self, Write};
use std::path::Path;

use ocelli_data::{Task, text_of};

use crate::model::prediction::Prediction;
use crate::parquet::{Cell, Column, Kind, ParquetWriter};
use crate::predict::table::TableLayout;

/// Writes a table group by group.
#[derive(Debug)]
pub(crate) struct ColumnWriter<W> {
    table: ParquetWriter<W>,
    layout: TableLayout,
}

impl<W: Write> ColumnWriter<W> {
    pub fn new(out: W, layout: TableLayout) -> io::Result<Self> {
        let before = if layout.unknown { 6 } else { 4 };
        let kind = |index: usize| match index {
            0 | 1 | 3 => Kind::Text,
            4 if layout.unknown => Kind::Flag,
            // A class and its probability by turns.
            _ if index >= before && layout.top_k.is_some() && index.is_multiple_of(2) => Kind::Text,
            _ => Kind::Number,
        };
        let names = layout.columns().into_iter().enumerate();
        let columns = names.map(|(index, name)| Column { name, kind: kind(index) }).collect();
        Ok(Self { table: ParquetWriter::new(out, columns)?, layout })
    }

    pub fn write(&mut self, prediction: &Prediction) -> io::Result<()> {
        let path = text_of(&prediction.path);
        let labels = prediction.predicted_labels();
        let names: Vec<&str> = labels.iter().map(|label| label.class.as_str()).collect();
        let class = names.join(&self.layout.separator.to_string());
        let has_class = prediction.task == Task::MultiLabel || !names.is_empty();
        let best = number(prediction.best().probability);
        let mut cells = vec![
            Cell::Text(&path),
            if has_class { Cell::Text(&class) } else { Cell::Null },
            best,
            Cell::Null,
        ];
        if self.layout.unknown {
            let found = prediction.unknown;
            cells.push(found.map_or(Cell::Null, |unknown| Cell::Flag(unknown.is_unknown())));
            cells.push(found.map_or(Cell::Null, |unknown| number(unknown.score)));
        }
        let top = self.layout.most().map(|most| prediction.top_k(most));
        match &top {
            Some(top) => {
                cells.extend(top.iter().flat_map(|one| [Cell::Text(&one.class), number(one.probability)]));
            }
            None => cells.extend(prediction.probabilities.iter().map(|value| number(*value))),
        }
        self.table.row(cells)
    }

    pub fn write_error(&mut self, path: &Path, reason: &str) -> io::Result<()> {
        let path = text_of(path);
        self.table.row([Cell::Text(&path), Cell::Null, Cell::Null, Cell::Text(reason)])
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.table.flush()
    }

    pub fn finish(self) -> io::Result<W> {
        self.table.finish()
    }
}

/// The number that its decimals say in CSV and JSON, so that columns of all formats are equal.
fn number(value: f32) -> Cell<'static> {
    Cell::Number(value.to_string().parse().unwrap_or(f64::from(value)))
}
