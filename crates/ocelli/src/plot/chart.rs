//! Lines and bars over two axes.

use super::canvas::{Anchor, Canvas, Colour};
use super::{COLOURS, GRID, TEXT};

/// Lines over two axes, with a legend at their side.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// Lines, each in a colour of its own.
    pub lines: Vec<Line>,
    /// Points worth naming.
    pub marks: Vec<Mark>,
    /// Bars from the lower edge up, behind the lines.
    pub bars: Vec<Bar>,
}

/// One axis of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What is measured, with its unit.
    pub label: String,
    /// Whether equal distances are equal factors.
    pub logarithmic: bool,
    /// Lowest and highest value shown; by default all there is.
    pub range: Option<(f64, f64)>,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub label: String,
    /// `(x, y)`, in the order in which they are joined; those that are no numbers leave gaps.
    pub points: Vec<(f64, f64)>,
    /// Whether it stands back behind the others.
    pub faint: bool,
}

/// A named point of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its name in the legend.
    pub label: String,
    /// Where it is.
    pub at: (f64, f64),
}

/// One bar of a chart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Where it begins and ends on the horizontal axis.
    pub x: (f64, f64),
    /// How high it is.
    pub y: f64,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
/// Lines of so many points have a dot at each.
const DOTTED: usize = 40;
const BAR: Colour = [196, 214, 228];
/// The room for the legend at a panel's right, and for labels and numbers at its other sides.
const RIGHT: f64 = 230.0;
const LEFT: f64 = 84.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 56.0;

impl Axis {
    /// A linear axis that shows all there is.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: false, range: None }
    }

    /// A logarithmic axis that shows all there is.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: true, range: None }
    }

    /// The same axis, showing this range.
    pub fn between(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// The axis on the page, from `start` to `end`; it shows a little more than there is.
    fn scale(&self, values: impl Iterator<Item = f64>, start: f64, end: f64) -> Scale {
        let usable = |value: &f64| value.is_finite() && (!self.logarithmic || *value > 0.0);
        let all = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let all = || values.filter(usable).fold((f64::INFINITY, f64::NEG_INFINITY), all);
        let (low, high) = self.range.filter(|(low, high)| low < high).unwrap_or_else(all);
        let (low, high) = match self.logarithmic {
            true if low > high => (0.1, 1.0),
            true if low == high => (low / 2.0, high * 2.0),
            false if low > high => (0.0, 1.0),
            false if low == high => (low - 0.5, high + 0.5),
            false if self.range.is_none() => (low - 0.03 * (high - low), high + 0.03 * (high - low)),
            _ => (low, high),
        };
        Scale { low, high, start, end, logarithmic: self.logarithmic }
    }
}

/// Where numbers lie on the page.
struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let [value, low, high] =
            [value, self.low, self.high].map(|number| if self.logarithmic { number.ln() } else { number });
        self.start + (self.end - self.start) * (value - low) / (high - low)
    }

    /// A number on the axis: plain where it is short; on a logarithmic axis, and else, with an exponent.
    fn words(&self, value: f64) -> String {
        match value.abs() {
            size if size < 1e-12 => "0".to_owned(),
            size if !self.logarithmic && (1e-3..1e5).contains(&size) => {
                let text = format!("{value:.4}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ => format!("{value:.1e}").replace(".0e", "e"),
        }
    }

    /// Round numbers to draw grid lines at.
    fn ticks(&self) -> Vec<f64> {
        let (low, high) = (self.low, self.high);
        if self.logarithmic && high / low > 8.0 {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let every = ((high / low).log10() / 8.0).ceil().max(1.0) as i32;
            let steps: &[f64] = if high / low < 100.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let decades = decades.filter(|decade| decade % every == 0);
            let ticks = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            return ticks.filter(|tick| (low * 0.999..=high * 1.001).contains(tick)).collect();
        }
        let rough = (high - low) / 6.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * decade);
        let first = (low / step - 1e-9).ceil() as i64;
        (first..).map(|place| place as f64 * step).take_while(|tick| *tick <= high + 1e-9 * step).collect()
    }
}

impl Chart {
    pub(super) fn size(&self) -> (f64, f64) {
        (WIDTH, HEIGHT)
    }

    pub(super) fn draw(&self, canvas: &mut impl Canvas, top: f64) {
        let marks = self.marks.iter().map(|mark| mark.at);
        let points: Vec<(f64, f64)> =
            self.lines.iter().flat_map(|line| line.points.iter().copied()).chain(marks).collect();
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let (top, bottom) = (top + TOP, top + HEIGHT - BOTTOM);
        let x = self.x.scale(points.iter().map(|point| point.0), left, right);
        let within = |point: &&(f64, f64)| (x.low..=x.high).contains(&point.0);
        let y = self.y.scale(points.iter().filter(within).map(|point| point.1), bottom, top);

        for tick in x.ticks() {
            let at = x.at(tick);
            canvas.line(&[(at, top), (at, bottom)], 1.0, GRID);
            canvas.text(&x.words(tick), (at, bottom + 18.0), 12.0, TEXT, Anchor::Middle);
        }
        for tick in y.ticks() {
            let at = y.at(tick);
            canvas.line(&[(left, at), (right, at)], 1.0, GRID);
            canvas.text(&y.words(tick), (left - 8.0, at + 4.0), 12.0, TEXT, Anchor::End);
        }
        for bar in &self.bars {
            let top = y.at(bar.y).clamp(top, bottom);
            canvas.rectangle((x.at(bar.x.0) + 0.5, top), (x.at(bar.x.1) - 0.5, bottom), BAR);
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], 1.0, TEXT);
        canvas.text(&self.x.label, ((left + right) / 2.0, bottom + 42.0), 13.0, TEXT, Anchor::Middle);
        canvas.text_upwards(&self.y.label, (22.0, (top + bottom) / 2.0), 13.0, TEXT, Anchor::Middle);

        for (number, line) in self.lines.iter().enumerate().rev() {
            let usable = |point: &(f64, f64)| {
                point.0.is_finite() && point.1.is_finite() && (!y.logarithmic || point.1 > 0.0)
            };
            let (width, colour) = style(line, number);
            for run in line.points.split(|point| !usable(point)) {
                let places: Vec<_> = run.iter().map(|&(a, b)| (x.at(a), y.at(b))).collect();
                for part in within_box(&places, (left, right), (top, bottom)) {
                    canvas.line(&part, width, colour);
                }
                // What stands alone is no line, and few points are worth seeing each.
                if places.len() == 1 || (line.points.len() <= DOTTED && !line.faint) {
                    let inside = |place: &&(f64, f64)| {
                        (left..=right).contains(&place.0) && (top..=bottom).contains(&place.1)
                    };
                    places.iter().filter(inside).for_each(|place| canvas.dot(*place, 3.5, colour));
                }
            }
        }
        for (number, mark) in self.marks.iter().enumerate() {
            let (colour, at) = (self.mark_colour(number), (x.at(mark.at.0), y.at(mark.at.1)));
            if (left..=right).contains(&at.0) && (top..=bottom).contains(&at.1) {
                canvas.line(&[at, (at.0, bottom)], 1.0, colour);
                canvas.dot(at, 5.0, colour);
            }
        }
        self.draw_legend(canvas, right + 18.0, top + 12.0);
    }

    fn draw_legend(&self, canvas: &mut impl Canvas, left: f64, top: f64) {
        let mut at = top;
        for (number, line) in self.lines.iter().enumerate().filter(|(_, line)| !line.label.is_empty()) {
            let (width, colour) = style(line, number);
            canvas.line(&[(left, at), (left + 24.0, at)], width, colour);
            canvas.text(&line.label, (left + 34.0, at + 5.0), 13.0, TEXT, Anchor::Start);
            at += 22.0;
        }
        for (number, mark) in self.marks.iter().enumerate() {
            canvas.dot((left + 12.0, at), 5.0, self.mark_colour(number));
            canvas.text(&mark.label, (left + 34.0, at + 5.0), 13.0, TEXT, Anchor::Start);
            at += 22.0;
        }
    }

    /// Marks take the colours that lines leave.
    fn mark_colour(&self, number: usize) -> Colour {
        COLOURS[(self.lines.len() + number) % COLOURS.len()]
    }
}

/// Width and colour of a line.
fn style(line: &Line, number: usize) -> (f64, Colour) {
    let colour = COLOURS[number % COLOURS.len()];
    if line.faint { (1.0, colour.map(|part| part / 3 + 170)) } else { (2.0, colour) }
}

/// The parts of a line within a box.
fn within_box(points: &[(f64, f64)], x: (f64, f64), y: (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in points.windows(2) {
        let Some((from, to)) = clipped(pair[0], pair[1], x, y) else { continue };
        match parts.last_mut() {
            Some(part) if part.last() == Some(&from) => part.push(to),
            _ => parts.push(vec![from, to]),
        }
    }
    parts
}

/// The part of a segment within a box (Liang & Barsky 1984).
fn clipped(
    from: (f64, f64),
    to: (f64, f64),
    x: (f64, f64),
    y: (f64, f64),
) -> Option<((f64, f64), (f64, f64))> {
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let sides =
        [(-across, from.0 - x.0), (across, x.1 - from.0), (-down, from.1 - y.0), (down, y.1 - from.1)];
    let (mut enters, mut leaves) = (0.0f64, 1.0f64);
    for (step, room) in sides {
        match step {
            0.0 if room < 0.0 => return None,
            0.0 => {}
            step if step < 0.0 => enters = enters.max(room / step),
            step => leaves = leaves.min(room / step),
        }
    }
    let at = |share: f64| match share {
        0.0 => from,
        1.0 => to,
        share => (from.0 + share * across, from.1 + share * down),
    };
    (enters <= leaves).then(|| (at(enters), at(leaves)))
}
