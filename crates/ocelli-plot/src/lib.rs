//! Line charts, histograms and confusion matrices as PNG and SVG.
//!
//! A figure is a plain value: a title, and panels one below the other. Each panel is a [`Chart`] (lines, bars
//! and marks over two axes) or a [`Matrix`] (classes against classes). It is laid out once, and drawn from
//! that layout on a canvas that writes an SVG file or fills pixels, so that both show the same.
//! [`Chart::layout`] gives the same layout to other programs that draw, such as the script of a web page;
//! with the feature `serde` it can be serialised for that.
//!
//! Text is set in an embedded font (DejaVu Sans: Latin, Greek, Cyrillic), so that a picture has the same
//! bytes on every machine. Any values can be drawn: those that are not finite leave gaps, and an axis of
//! equal values has a range around them.
//!
//! ```
//! use ocelli_plot::{Axis, Chart, Figure, Line};
//!
//! # fn main() -> Result<(), ocelli_plot::Error> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("loss.svg");
//! let chart = Chart {
//!     lines: vec![Line::new("training loss", [(1.0, 0.92), (2.0, 0.41), (3.0, 0.28)])],
//!     ..Chart::new(Axis::linear("epoch"), Axis::linear("loss"))
//! };
//! Figure::new("Training", [chart]).write(&path)?;
//! # Ok(())
//! # }
//! ```
//!
//! | to change | file |
//! |---|---|
//! | the content of a chart, and how it is drawn | `chart.rs` |
//! | ranges, grid lines and their labels | `axis.rs` |
//! | positions | `layout.rs` |
//! | matrices | `matrix.rs` |
//! | what a canvas can draw: SVG, pixels | `canvas.rs`, `svg.rs`, `raster.rs` |
//! | errors | `error.rs` |

mod axis;
mod canvas;
mod chart;
mod error;
mod layout;
mod matrix;
mod raster;
mod svg;

use std::path::Path;

pub use axis::Axis;
pub use chart::{Bar, Chart, Line, Mark, Vertical};
pub use error::Error;
pub use layout::{AxisLayout, Layout, LineLayout, MarkLayout};
pub use matrix::{Cell, Matrix};

use canvas::{Anchor, Canvas, Colour};
use raster::Pixels;
use svg::Svg;

/// Panels with one title, one below the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What the figure shows.
    pub title: String,
    /// From top to bottom.
    pub panels: Vec<Panel>,
}

/// The content of a figure.
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

/// Blue, vermilion, green, purple, orange, sky blue: distinct to colour-blind readers too (Okabe & Ito 2008).
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
    /// Panels with a title.
    pub fn new<P: Into<Panel>>(title: impl Into<String>, panels: impl IntoIterator<Item = P>) -> Self {
        Self { title: title.into(), panels: panels.into_iter().map(Into::into).collect() }
    }

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
        pixels.finish()
    }

    /// The figure as the bytes of a PNG or SVG file, as the file's name says.
    ///
    /// # Errors
    /// [`Error::Format`] where the name ends in neither `.png` nor `.svg`.
    pub fn to_bytes(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
        let path = path.as_ref();
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("png") => Ok(self.to_png()),
            Some("svg") => Ok(self.to_svg().into_bytes()),
            _ => Err(Error::Format { path: path.to_owned() }),
        }
    }

    /// Writes the figure as a PNG or SVG file, as the file's name says.
    ///
    /// # Errors
    /// [`Error::Format`] for other names, and [`Error::Write`] where the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        std::fs::write(path, self.to_bytes(path)?)
            .map_err(|source| Error::Write { path: path.to_owned(), source })
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
