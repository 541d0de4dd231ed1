//! Classes against classes: a square of coloured cells.

use crate::canvas::{Anchor, Canvas, Colour};
use crate::{COLOURS, GRID, TEXT, brief};

/// A square of cells, a row and a column a class. Cells on the diagonal are blue, all others vermilion.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// The names of the rows, from the top, and of the columns, from the left.
    pub names: Vec<String>,
    /// What a row is.
    pub rows: String,
    /// What a column is.
    pub columns: String,
    /// `[row][column]`
    pub cells: Vec<Vec<Cell>>,
}

/// A cell of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// How strong its colour is, 0 to 1.
    pub strength: f64,
    /// The text in it, where there is room.
    pub text: String,
}

/// The room for the names of rows and columns, at most, and for what they are.
const NAMES: f64 = 170.0;
const AXIS: f64 = 34.0;
const MARGIN: f64 = 16.0;
/// Cells that are smaller have no names beside them.
const NAMED: f64 = 11.0;

impl Matrix {
    /// The side of a cell.
    fn cell(&self) -> f64 {
        match self.names.len() {
            0..=12 => 56.0,
            13..=25 => 34.0,
            26..=40 => 22.0,
            41..=100 => 13.0,
            many => 1000.0 / many as f64,
        }
    }

    /// The size of letters beside cells; nothing where there is no room for them.
    fn letters(&self) -> Option<f64> {
        let cell = self.cell();
        (cell >= NAMED).then_some((cell * 0.8).min(13.0))
    }

    /// The room for names.
    fn room(&self) -> f64 {
        let longest = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        self.letters().map_or(0.0, |size| (longest as f64 * size * 0.62 + 10.0).min(NAMES))
    }

    fn corner(&self) -> f64 {
        MARGIN + AXIS + self.room()
    }

    pub(crate) fn size(&self) -> (f64, f64) {
        let side = self.cell() * self.names.len() as f64;
        (self.corner() + side + MARGIN, self.corner() + side)
    }

    pub(crate) fn draw(&self, canvas: &mut impl Canvas, top: f64) {
        let (cell, side) = (self.cell(), self.cell() * self.names.len() as f64);
        let (left, top) = (self.corner(), top + self.corner() - MARGIN);
        let middle = side / 2.0;
        canvas.text(&self.columns, (left + middle, top - self.room() - 14.0), 13.0, TEXT, Anchor::Middle);
        canvas.text_upwards(
            &self.rows,
            (left - self.room() - 14.0, top + middle),
            13.0,
            TEXT,
            Anchor::Middle,
        );
        if let Some(size) = self.letters() {
            for (index, name) in self.names.iter().enumerate() {
                let (name, at) = (cut(name, size), (index as f64 + 0.5) * cell + size * 0.36);
                canvas.text(&name, (left - 6.0, top + at), size, TEXT, Anchor::End);
                canvas.text_upwards(&name, (left + at, top - 6.0), size, TEXT, Anchor::Start);
            }
        }
        let gap = if cell >= NAMED { 0.5 } else { 0.0 };
        canvas.rectangle((left, top), (left + side, top + side), if gap > 0.0 { GRID } else { [250; 3] });
        for (row, cells) in self.cells.iter().enumerate() {
            for (column, Cell { strength, text }) in cells.iter().enumerate() {
                let (x, y) = (left + column as f64 * cell, top + row as f64 * cell);
                if gap > 0.0 || *strength > 0.0 {
                    let colour = mixed(COLOURS[usize::from(row != column)], *strength);
                    canvas.rectangle((x + gap, y + gap), (x + cell - gap, y + cell - gap), colour);
                }
                let size = (cell * 0.36).clamp(8.0, 15.0);
                if !text.is_empty() && text.chars().count() as f64 * size * 0.64 <= cell - 2.0 {
                    let colour = if *strength > 0.55 { [255; 3] } else { TEXT };
                    let at = (x + cell / 2.0, y + cell / 2.0 + size * 0.36);
                    canvas.text(text, at, size, colour, Anchor::Middle);
                }
            }
        }
    }
}

/// White with so much of a colour.
fn mixed(colour: Colour, strength: f64) -> Colour {
    colour.map(|part| (255.0 + strength.clamp(0.0, 1.0) * (f64::from(part) - 255.0)) as u8)
}

/// A name as far as there is room.
fn cut(name: &str, size: f64) -> String {
    brief(name, ((NAMES - 10.0) / (size * 0.62)) as usize)
}
