//! Lines and bars over two axes: what they are, and how they are drawn.

use crate::axis::Axis;
use crate::canvas::{Anchor, Canvas, Colour};
use crate::layout::Layout;
use crate::{COLOURS, GRID, TEXT, brief};

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
    /// Positions on the horizontal axis worth naming.
    pub verticals: Vec<Vertical>,
    /// Bars from the lower edge up, behind the lines.
    pub bars: Vec<Bar>,
}
/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub label: String,
    /// `(x, y)`, in the order in which they are joined; those that are not finite leave gaps.
    pub points: Vec<(f64, f64)>,
    /// Whether it is drawn fainter, behind the others.
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

/// A vertical line through a whole chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertical {
    /// The text beside it.
    pub label: String,
    /// Where it is on the horizontal axis.
    pub x: f64,
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
const BAR: Colour = [196, 214, 228];
const VERTICAL: Colour = [120, 120, 120];
/// The room for the legend at a panel's right, and for labels and ticks at its other sides.
const RIGHT: f64 = 230.0;
const LEFT: f64 = 84.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 56.0;
/// Characters of a legend's entry, at most.
const ENTRY: usize = 25;
/// Entries of a legend, as many as there is room for.
const ENTRIES: usize = 15;
/// The distance between vertical lines from which on the next one's label has room.
const APART: f64 = 52.0;

impl Line {
    /// A line through points.
    pub fn new(label: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { label: label.into(), points: points.into_iter().collect(), faint: false }
    }
}

impl Chart {
    /// A chart of nothing yet.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, lines: Vec::new(), marks: Vec::new(), verticals: Vec::new(), bars: Vec::new() }
    }

    pub(crate) fn size(&self) -> (f64, f64) {
        (WIDTH, HEIGHT)
    }

    pub(crate) fn draw(&self, canvas: &mut impl Canvas, top: f64) {
        let layout = self.layout();
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let (top, bottom) = (top + TOP, top + HEIGHT - BOTTOM);
        let across = |fraction: f64| left + fraction * (right - left);
        let down = |fraction: f64| bottom - fraction * (bottom - top);
        let point = |&[x, y]: &[f64; 2]| (across(x), down(y));

        for (at, words) in &layout.x.ticks {
            canvas.line(&[(across(*at), top), (across(*at), bottom)], 1.0, GRID);
            canvas.text(words, (across(*at), bottom + 18.0), 12.0, TEXT, Anchor::Middle);
        }
        for (at, words) in &layout.y.ticks {
            canvas.line(&[(left, down(*at)), (right, down(*at))], 1.0, GRID);
            canvas.text(words, (left - 8.0, down(*at) + 4.0), 12.0, TEXT, Anchor::End);
        }
        for [from, to, height] in &layout.bars {
            canvas.rectangle((across(*from) + 0.5, down(*height)), (across(*to) - 0.5, bottom), BAR);
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], 1.0, TEXT);
        canvas.text(&layout.x.label, ((left + right) / 2.0, bottom + 42.0), 13.0, TEXT, Anchor::Middle);
        canvas.text_upwards(&layout.y.label, (22.0, (top + bottom) / 2.0), 13.0, TEXT, Anchor::Middle);

        let mut free = f64::NEG_INFINITY;
        for (label, at) in &layout.verticals {
            let at = across(*at);
            canvas.line(&[(at, top), (at, bottom)], 1.0, VERTICAL);
            if at >= free && !label.is_empty() {
                // Beside the line, on the side where there is room.
                let (side, anchor) =
                    if at > right - 100.0 { (-4.0, Anchor::End) } else { (4.0, Anchor::Start) };
                canvas.text(&brief(label, ENTRY), (at + side, top + 11.0), 11.0, VERTICAL, anchor);
                free = at + APART;
            }
        }
        for (number, line) in layout.lines.iter().enumerate().rev() {
            let (width, colour) = style(line.faint, number);
            for part in &line.parts {
                canvas.line(&part.iter().map(point).collect::<Vec<_>>(), width, colour);
            }
            line.dots.iter().for_each(|(at, _)| canvas.dot(point(at), 3.5, colour));
        }
        for (number, mark) in layout.marks.iter().enumerate() {
            if let Some(at) = &mark.at {
                let (colour, at) = (mark_colour(&layout, number), point(at));
                canvas.line(&[at, (at.0, bottom)], 1.0, colour);
                canvas.dot(at, 5.0, colour);
            }
        }
        draw_legend(&layout, canvas, right + 18.0, top + 12.0);
    }
}
fn draw_legend(layout: &Layout, canvas: &mut impl Canvas, left: f64, top: f64) {
    let lines = layout.lines.iter().enumerate().filter(|(_, line)| !line.label.is_empty());
    let lines = lines.map(|(number, line)| (&line.label, style(line.faint, number), false));
    let marks = layout.marks.iter().enumerate();
    let marks = marks.map(|(number, mark)| (&mark.label, (2.0, mark_colour(layout, number)), true));
    let entries: Vec<_> = lines.chain(marks).collect();
    let shown = if entries.len() > ENTRIES { ENTRIES - 1 } else { entries.len() };
    for (number, (label, (width, colour), dot)) in entries[..shown].iter().enumerate() {
        let at = top + 22.0 * number as f64;
        match dot {
            true => canvas.dot((left + 12.0, at), 5.0, *colour),
            false => canvas.line(&[(left, at), (left + 24.0, at)], *width, *colour),
        }
        canvas.text(&brief(label, ENTRY), (left + 34.0, at + 5.0), 13.0, TEXT, Anchor::Start);
    }
    if shown < entries.len() {
        let (more, at) = (format!("and {} more", entries.len() - shown), top + 22.0 * shown as f64);
        canvas.text(&more, (left + 34.0, at + 5.0), 13.0, TEXT, Anchor::Start);
    }
}

/// Marks take the colours that lines leave.
fn mark_colour(layout: &Layout, number: usize) -> Colour {
    COLOURS[(layout.lines.len() + number) % COLOURS.len()]
}

/// Width and colour of a line.
fn style(faint: bool, number: usize) -> (f64, Colour) {
    let colour = COLOURS[number % COLOURS.len()];
    if faint { (1.0, colour.map(|part| part / 3 + 170)) } else { (2.0, colour) }
}
