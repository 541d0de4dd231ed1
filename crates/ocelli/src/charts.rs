//! Charts of schedules, of the learning rate finder and of confusion matrices (feature `plot`).

use std::path::Path;

use ocelli_data::picture::marked;
use ocelli_nn::GROUPS;
use ocelli_plot::{Axis, Cell, Chart, Figure, Line, Mark, Matrix, Panel};

use crate::error::Result;
use crate::file;
use crate::interpret::{ConfusionMatrix, Interpretation};
use crate::lr_finder::curve::LrCurve;
use crate::lr_finder::suggest::{CurveShape, SuggestedLrs};
use crate::recipe::freezing::GROUP_NAMES;
use crate::schedule::learning_rates::LearningRates;
use crate::schedule::{Schedule, SchedulePoint};

/// Steps of a schedule that are drawn, at most.
const PLOTTED: usize = 20_000;

/// With at least this many classes, confused classes are put next to each other.
const CLUSTERED: usize = 13;

/// Writes NAME`.png` and NAME`.svg` into a folder, the PNG marked so that it is never taken for a photo.
pub(crate) fn write_figure(figure: &Figure, folder: &Path, name: &str) -> Result<()> {
    let path = |extension: &str| folder.join(format!("{name}.{extension}"));
    file::write_whole(&path("png"), &marked(figure.to_png()))?;
    file::write_whole(&path("svg"), figure.to_svg().as_bytes())
}

impl Schedule {
    /// A chart of learning rates and momentum over the epochs.
    pub fn plot(&self, rates: impl Into<LearningRates>, steps_per_epoch: usize) -> Figure {
        let rates = rates.into();
        let steps = self.epochs().saturating_mul(steps_per_epoch);
        // A sample of the steps is enough for a chart.
        let stride = steps.div_ceil(PLOTTED).max(1);
        let curve = |value: &dyn Fn(SchedulePoint) -> Option<f64>| -> Vec<(f64, f64)> {
            let point =
                |step| Some((step as f64 / steps_per_epoch as f64, value(self.at(step, steps_per_epoch))?));
            (0..steps).step_by(stride).filter_map(point).collect()
        };
        let rate = |group: usize| curve(&|point| Some(rates.0[group] * point.lr_factor));
        let line = |label: &str, points| Line { label: label.to_owned(), points, faint: false };
        let lines = match rates.0.iter().all(|rate| *rate == rates.head()) {
            true => vec![line("all layers", rate(0))],
            false => GROUP_NAMES.iter().enumerate().map(|(group, name)| line(name, rate(group))).collect(),
        };
        let panel = |label: &str, lines| {
            let x = Axis::linear("epochs").between(0.0, self.epochs() as f64);
            Panel::from(Chart {
                x,
                y: Axis::linear(label),
                lines,
                marks: Vec::new(),
                verticals: Vec::new(),
                bars: Vec::new(),
            })
        };
        let mut panels = vec![panel("learning rate", lines)];
        let momentum = curve(&|point| point.momentum);
        if !momentum.is_empty() {
            panels.push(panel("momentum", vec![line("momentum", momentum)]));
        }
        Figure { title: "Schedule".to_owned(), panels }
    }
}

impl LrCurve {
    /// The curve as a chart: learning rates on a logarithmic axis, the suggestions marked.
    pub fn plot(&self) -> Figure {
        let points = |losses: &[f64]| self.rates.iter().copied().zip(losses.iter().copied()).collect();
        let line = |label: &str, points, faint| Line { label: label.to_owned(), points, faint };
        let mark = |name: &str, rate: f64| Mark {
            label: format!("{name} {rate:.1e}"),
            at: (rate, self.smoothed_at(rate)),
        };
        let (shape, suggestion) = (self.shape(), self.suggestion());
        let (title, others) = match &shape {
            Ok(CurveShape::Descends(SuggestedLrs { valley, slide, minimum, steep })) => {
                let marks =
                    [("valley", valley), ("slide", slide), ("minimum / 10", minimum), ("steep", steep)];
                (String::new(), marks.map(|(name, rate)| mark(name, *rate)).to_vec())
            }
            Ok(CurveShape::OnlyRises(rate)) => {
                (": no clear descent".to_owned(), vec![mark("rises above", *rate)])
            }
            Err(error) => (format!(": {error}"), Vec::new()),
        };
        let suggested = suggestion.iter().map(|suggestion| mark("suggested", suggestion.rate));
        let marks: Vec<Mark> = suggested.chain(others).collect();
        let title = match &suggestion {
            Ok(suggestion) => format!("{title}; suggested {:.1e}, {}", suggestion.rate, suggestion.rule),
            Err(_) => title,
        };
        // The losses after divergence would flatten all others.
        let lowest = self.smoothed.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let first = self.smoothed.first().copied().unwrap_or(1.0);
        let mut highest = (2.0 * first - lowest).max(1.2 * first);
        if let Ok(CurveShape::OnlyRises(_)) = shape {
            // The level at low learning rates, and the rise itself.
            let low_rates = self.smoothed.iter().take(self.smoothed.len() / 2).copied();
            let seen = low_rates.chain(marks.iter().map(|mark| mark.at.1));
            highest = seen.map(|loss| 1.1 * loss).fold(highest, f64::max);
        }
        let y =
            Axis::linear("training loss").between(lowest - 0.1 * (first - lowest).max(0.1 * first), highest);
        let x = Axis::logarithmic(match self.start.0 == [self.start.head(); GROUPS] {
            true => "learning rate",
            false => "learning rate of the head",
        });
        let lines = vec![
            line("smoothed", points(&self.smoothed), false),
            line("each batch", points(&self.losses), true),
        ];
        let chart = Chart { x, y, lines, marks, verticals: Vec::new(), bars: Vec::new() };
        Figure { title: format!("Learning rate finder{title}"), panels: vec![chart.into()] }
    }

    /// The smoothed loss at a learning rate, interpolated between steps over its logarithm.
    fn smoothed_at(&self, rate: f64) -> f64 {
        // If the loss was not finite at the first step, there is no curve.
        if self.rates.is_empty() {
            return f64::NAN;
        }
        let next = self.rates.partition_point(|other| *other < rate);
        if next == 0 || next == self.rates.len() {
            return self.smoothed[next.min(self.rates.len() - 1)];
        }
        let (low, high) = (self.rates[next - 1].ln(), self.rates[next].ln());
        let fraction = (rate.ln() - low) / (high - low);
        self.smoothed[next - 1] + fraction * (self.smoothed[next] - self.smoothed[next - 1])
    }
}

impl Interpretation {
    /// The confusion matrix, where there is one that can be drawn: of at most [`ConfusionMatrix::MOST_CLASSES`], with one
    /// label per image.
    pub fn drawn_matrix(&self) -> Option<ConfusionMatrix> {
        let is_drawn = self.classes.len() <= ConfusionMatrix::MOST_CLASSES && !self.is_empty();
        self.confusion_matrix().ok().filter(|_| is_drawn)
    }
}

impl ConfusionMatrix {
    /// A matrix of the numbers of images, shaded by the fractions of their rows.
    pub fn plot(&self) -> Figure {
        self.figure("Confusion matrix", |count, _| count.to_string())
    }

    /// A matrix of fractions of the rows.
    pub fn plot_normalised(&self) -> Figure {
        self.figure("Confusion matrix, normalized by row", |_, fraction| format!("{fraction:.2}"))
    }

    /// A matrix whose cells have the text of a count and its fraction of the row.
    fn figure(&self, title: &str, text: impl Fn(usize, f64) -> String) -> Figure {
        let classes = self.classes.len();
        let order = if classes < CLUSTERED { (0..classes).collect() } else { self.clustered() };
        let fractions = self.normalised();
        let cell = |truth: usize, predicted: usize| {
            let (count, fraction) = (self.counts[truth][predicted], fractions[truth][predicted]);
            match count {
                0 => Cell { strength: fraction, text: String::new() },
                // Single errors among many images must remain visible.
                _ => Cell { strength: 0.12 + 0.88 * fraction, text: text(count, fraction) },
            }
        };
        let row = |&truth: &usize| order.iter().map(|&predicted| cell(truth, predicted)).collect();
        let matrix = Matrix {
            names: order.iter().map(|&class| self.classes[class].clone()).collect(),
            rows: "actual".to_owned(),
            columns: "predicted".to_owned(),
            cells: order.iter().map(row).collect(),
        };
        let order = if classes < CLUSTERED { "" } else { ", confused classes next to each other" };
        Figure { title: format!("{title}{order}"), panels: vec![matrix.into()] }
    }
}
