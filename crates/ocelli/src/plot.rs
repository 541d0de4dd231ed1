//! Charts and matrices as PNG and SVG.
//!
//! A figure is laid out once, on a canvas that writes an SVG file or fills pixels. Text is set in a font that
//! comes along, so that a picture is the same on every machine.

mod canvas;
mod chart;
mod matrix;

use std::path::Path;

pub use chart::{Axis, Bar, Chart, Layout, Line, Mark, Ruler, Spot, Trace, Vertical};
pub use matrix::{Cell, Matrix};

use canvas::{Anchor, Canvas, Colour, Pixels, Svg};

use crate::error::{Error, Result};
use crate::file;

/// Panels with one title, one below the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What is to be seen.
    pub title: String,
    /// From top to bottom.
    pub panels: Vec<Panel>,
}

/// What stands in a figure.
#[derive(Debug, Clone, PartialEq)]
pub enum Panel {
    /// Lines over two axes.
    Chart(Chart),
    /// Classes against classes.
    Matrix(Matrix),
}

const TITLE: f64 = 44.0;
/// The room for a title where there is nothing else.
const NARROWEST: f64 = 420.0;
/// Characters of a title, at most, and the width of one, about.
const TITLE_CHARACTERS: usize = 130;
const TITLE_CHARACTER: f64 = 9.6;

/// Blue, vermilion, green, purple, orange, sky blue: told apart by colour-blind eyes too (Okabe & Ito 2008).
const COLOURS: [Colour; 6] =
    [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233]];
const TEXT: Colour = [40, 40, 40];
const GRID: Colour = [228, 228, 228];

impl From<Chart> for Panel {
    fn from(chart: Chart) -> Self {
        Self::Chart(chart)
    }
}

impl From<Matrix> for Panel {
    fn from(matrix: Matrix) -> Self {
        Self::Matrix(matrix)
    }
}

impl Panel {
    /// Width and height.
    fn size(&self) -> (f64, f64) {
        match self {
            Self::Chart(chart) => chart.size(),
            Self::Matrix(matrix) => matrix.size(),
        }
    }

    fn draw(&self, canvas: &mut impl Canvas, top: f64) {
        match self {
            Self::Chart(chart) => chart.draw(canvas, top),
            Self::Matrix(matrix) => matrix.draw(canvas, top),
        }
    }
}

impl Figure {
    /// The figure as an SVG file's text.
    pub fn to_svg(&self) -> String {
        let mut svg = Svg::new(self.size());
        self.draw(&mut svg);
        svg.finish()
    }

    /// The figure as a PNG file's bytes.
    pub fn to_png(&self) -> Vec<u8> {
        let mut pixels = Pixels::new(self.size());
        self.draw(&mut pixels);
        pixels.finish().to_png()
    }

    /// Writes the figure; the name's ending, `.png` or `.svg`, says how.
    ///
    /// # Errors
    /// For other endings, and where the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("png") => file::write(path, &ocelli_data::picture::marked(self.to_png())),
            Some("svg") => file::write(path, self.to_svg().as_bytes()),
            _ => Err(Error::Setting {
                name: "the picture's file",
                value: path.display().to_string(),
                expected: "a name that ends in .png or .svg",
            }),
        }
    }

    /// The same figure with a vertical line through its charts.
    pub fn with_vertical(mut self, label: impl Into<String>, x: f64) -> Self {
        let label = label.into();
        for panel in &mut self.panels {
            if let Panel::Chart(chart) = panel {
                chart.verticals.push(Vertical { label: label.clone(), x });
            }
        }
        self
    }

    /// The charts among the panels, as they are drawn.
    pub fn layouts(&self) -> Vec<Layout> {
        let charts = self.panels.iter().filter_map(|panel| match panel {
            Panel::Chart(chart) => Some(chart.layout()),
            Panel::Matrix(_) => None,
        });
        charts.collect()
    }

    fn size(&self) -> (f64, f64) {
        let sizes = self.panels.iter().map(Panel::size);
        let around = |(width, height): (f64, f64), panel: (f64, f64)| (width.max(panel.0), height + panel.1);
        let title = brief(&self.title, TITLE_CHARACTERS).chars().count() as f64 * TITLE_CHARACTER + 32.0;
        sizes.fold((title.max(NARROWEST), TITLE), around)
    }

    fn draw(&self, canvas: &mut impl Canvas) {
        let title = brief(&self.title, TITLE_CHARACTERS);
        canvas.text(&title, (16.0, 28.0), 17.0, TEXT, Anchor::Start);
        let mut top = TITLE;
        for panel in &self.panels {
            panel.draw(canvas, top);
            top += panel.size().1;
        }
    }
}

/// A text of at most so many characters, with an ellipsis where it was longer.
fn brief(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}
