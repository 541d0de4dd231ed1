//! Lines and bars over two axes.
//!
//! A chart is laid out once, within a frame from 0 to 1 in both directions. From this [`Layout`] it is drawn as a file
//! here, and on a page by its script, so that both show the same.

use serde::Serialize;

use super::canvas::{Anchor, Canvas, Colour};
use super::{COLOURS, GRID, TEXT, brief};

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
    /// Places on the horizontal axis worth naming.
    pub verticals: Vec<Vertical>,
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

/// A vertical line through a whole chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertical {
    /// What stands beside it.
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

/// A chart as it is drawn: everything lies within a frame from 0 to 1, counted from the lower left corner.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layout {
    /// The horizontal axis.
    pub x: Ruler,
    /// The vertical axis.
    pub y: Ruler,
    /// Where bars begin and end, and how high they are.
    pub bars: Vec<[f64; 3]>,
    /// Lines, in the order of the legend.
    pub lines: Vec<Trace>,
    /// Named points.
    pub marks: Vec<Spot>,
    /// Labels and places of vertical lines.
    pub verticals: Vec<(String, f64)>,
}

/// An axis as it is drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ruler {
    /// What is measured, with its unit.
    pub label: String,
    /// Places and numbers of grid lines, ascending.
    pub ticks: Vec<(f64, String)>,
}

/// A line as it is drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// Its name in the legend.
    pub label: String,
    /// Whether it stands back behind the others.
    pub faint: bool,
    /// The parts of it that lie in the frame.
    pub parts: Vec<Vec<[f64; 2]>>,
    /// Points that are worth seeing each: where they are, and what they say.
    pub dots: Vec<([f64; 2], String)>,
}

/// A named point as it is drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spot {
    /// Its name in the legend.
    pub label: String,
    /// Where it is, at the edge of the frame where it would be beyond; nothing where it is no place at all.
    pub at: Option<[f64; 2]>,
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
/// Characters of a legend's entry and of an axis' label, at most.
const ENTRY: usize = 25;
const LABEL: usize = 90;
/// Entries of a legend, as many as there is room for.
const ENTRIES: usize = 15;
/// Grid lines of an axis, at most.
const TICKS: usize = 12;
/// Points of a line, at most; of longer ones the lowest and the highest of neighbours are kept.
const POINTS: usize = 2000;
/// Vertical lines, at most, and the distance from which on the next one's label has room.
const VERTICALS: usize = 100;
const APART: f64 = 52.0;
/// Numbers beyond these are not drawn: an axis of them could not be divided.
const LARGEST: f64 = 1e300;
const SMALLEST: f64 = 1e-300;
/// The range of an axis relative to its numbers, and its decades where it is logarithmic, at least: less could not be
/// told apart.
const NARROWEST: f64 = 1e-9;

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

    /// The range that is shown: a little more than there is.
    fn scale(&self, values: impl Iterator<Item = f64>) -> Scale {
        let logarithmic = self.logarithmic;
        let all = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let all = || {
            let usable = values.filter(|value| usable(*value, logarithmic));
            usable.fold((f64::INFINITY, f64::NEG_INFINITY), all)
        };
        let given = self.range.filter(|(low, high)| {
            usable(*low, logarithmic) && usable(*high, logarithmic) && !too_narrow(*low, *high, logarithmic)
        });
        let (low, high) = given.unwrap_or_else(all);
        let (low, high) = match logarithmic {
            true if low > high => (0.1, 1.0),
            true if too_narrow(low, high, true) => (low / 2.0, high * 2.0),
            false if low > high => (0.0, 1.0),
            false if too_narrow(low, high, false) => {
                let room = 0.5f64.max(0.001 * high.abs());
                (low - room, high + room)
            }
            false if given.is_none() => (low - 0.03 * (high - low), high + 0.03 * (high - low)),
            _ => (low, high),
        };
        Scale { low, high, logarithmic }
    }
}

/// Whether a number can be drawn.
fn usable(value: f64, logarithmic: bool) -> bool {
    if logarithmic { (SMALLEST..=LARGEST).contains(&value) } else { value.abs() <= LARGEST }
}

/// Whether a range is none, or too small to be divided.
fn too_narrow(low: f64, high: f64, logarithmic: bool) -> bool {
    match logarithmic {
        true => high.log10() - low.log10() < NARROWEST,
        false => high - low < (NARROWEST * low.abs().max(high.abs())).max(SMALLEST),
    }
}

/// The range of an axis. Both ends are usable, and far enough apart to be divided.
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// Where a usable number lies: from 0 to 1 in the frame.
    fn at(&self, value: f64) -> f64 {
        let [value, low, high] =
            [value, self.low, self.high].map(|number| if self.logarithmic { number.ln() } else { number });
        // Far away it does not matter how far.
        ((value - low) / (high - low)).clamp(-1e6, 1e6)
    }

    /// Round numbers to draw grid lines at, ascending, with their words.
    fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = (self.low, self.high);
        let decades = high.log10() - low.log10();
        let (ticks, step): (Vec<f64>, _) = if self.logarithmic && decades > 0.9 {
            let every = (decades / 8.0).ceil().max(1.0) as i32;
            let steps: &[f64] = if decades < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let all = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let all = all.filter(|decade| decade % every == 0);
            (all.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade))).collect(), None)
        } else {
            let rough = (high - low) / 6.0;
            let decade = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0]
                .map(|step| step * decade)
                .into_iter()
                .find(|step| *step >= rough * (1.0 - 1e-9));
            let step = step.unwrap_or(10.0 * decade);
            let first = (low / step - 1e-9).ceil();
            ((0..TICKS).map(|place| (first + place as f64) * step).collect(), Some(step))
        };
        let reach = 1e-6;
        let in_frame = |tick: &f64| tick.is_finite() && (-reach..=1.0 + reach).contains(&self.at(*tick));
        let ticks = ticks.into_iter().filter(in_frame).take(TICKS);
        ticks.map(|tick| (tick, words(tick, step))).collect()
    }
}

/// A number on an axis whose grid lines are `step` apart, if they are evenly: with as many digits as tell it from its
/// neighbours, with an exponent where it would be long.
fn words(value: f64, step: Option<f64>) -> String {
    let size = value.abs();
    let magnitude = |value: f64| value.log10().floor();
    let digits = match step {
        Some(step) if size < step * 1e-6 => return "0".to_owned(),
        Some(step) => {
            let decimals = (-magnitude(step)).max(0.0) as usize;
            if (1e-3..1e5).contains(&size) && decimals <= 6 {
                let text = format!("{value:.decimals$}");
                return match text.contains('.') {
                    true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                    false => text,
                };
            }
            (magnitude(size) - magnitude(step)).clamp(0.0, 15.0) as usize
        }
        None => 1,
    };
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').expect("it has an exponent");
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    format!("{mantissa}e{exponent}")
}

impl Chart {
    /// The chart as it is drawn, whatever its numbers are: at most a dozen grid lines an axis, and some thousand points a
    /// line.
    pub fn layout(&self) -> Layout {
        let marks = self.marks.iter().map(|mark| mark.at);
        let points: Vec<(f64, f64)> =
            self.lines.iter().flat_map(|line| line.points.iter().copied()).chain(marks).collect();
        let verticals = self.verticals.iter().map(|vertical| vertical.x);
        let edges = self.bars.iter().flat_map(|bar| [bar.x.0, bar.x.1]);
        let x = self.x.scale(points.iter().map(|point| point.0).chain(verticals).chain(edges));
        let within = |point: &&(f64, f64)| (x.low..=x.high).contains(&point.0);
        let heights = self.bars.iter().flat_map(|bar| [0.0, bar.y]);
        let y = self.y.scale(points.iter().filter(within).map(|point| point.1).chain(heights));
        let ruler = |axis: &Axis, scale: &Scale| Ruler {
            label: brief(&axis.label, LABEL),
            ticks: scale.ticks().into_iter().map(|(tick, words)| (rounded(scale.at(tick)), words)).collect(),
        };
        let known = |(a, b): &(f64, f64)| usable(*a, x.logarithmic) && usable(*b, y.logarithmic);
        let at = |&(a, b): &(f64, f64)| [x.at(a), y.at(b)];
        let lines = self.lines.iter().map(|line| {
            let (mut parts, mut dots) = (Vec::new(), Vec::new());
            for run in line.points.split(|point| !known(point)) {
                let places: Vec<[f64; 2]> = thinned(run.iter().map(at).collect());
                parts.extend(within_frame(&places));
                // What stands alone is no line, and few points are worth seeing each.
                if run.len() == 1 || (line.points.len() <= DOTTED && !line.faint) {
                    let inside = run.iter().zip(&places).filter(|(_, place)| in_frame(place));
                    dots.extend(inside.map(|(&(a, b), &place)| {
                        let said =
                            |value: f64| words(value, Some(10f64.powf(value.abs().log10().floor() - 3.0)));
                        let said = |value: f64| if value == 0.0 { "0".to_owned() } else { said(value) };
                        (place.map(rounded), format!("{}: {}, {}", line.label, said(a), said(b)))
                    }));
                }
            }
            dots.truncate(POINTS);
            let parts: Vec<Vec<[f64; 2]>> = parts
                .into_iter()
                .take(POINTS)
                .map(|part| part.into_iter().map(|place| place.map(rounded)).collect())
                .collect();
            Trace { label: line.label.clone(), faint: line.faint, parts, dots }
        });
        let marks = self.marks.iter().map(|mark| Spot {
            label: mark.label.clone(),
            at: known(&mark.at).then(|| at(&mark.at).map(|place| rounded(place.clamp(0.0, 1.0)))),
        });
        let verticals = self.verticals.iter().filter(|vertical| usable(vertical.x, x.logarithmic));
        let verticals = verticals.map(|vertical| (vertical.label.clone(), x.at(vertical.x)));
        let verticals = verticals.filter(|(_, at)| (0.0..=1.0).contains(at)).take(VERTICALS);
        let bars = self.bars.iter().filter(|bar| {
            usable(bar.x.0, x.logarithmic) && usable(bar.x.1, x.logarithmic) && usable(bar.y, y.logarithmic)
        });
        let bars =
            bars.map(|bar| [x.at(bar.x.0), x.at(bar.x.1), y.at(bar.y)].map(|at| rounded(at.clamp(0.0, 1.0))));
        Layout {
            bars: bars.take(POINTS).collect(),
            lines: lines.collect(),
            marks: marks.collect(),
            verticals: verticals.map(|(label, at)| (label, rounded(at))).collect(),
            x: ruler(&self.x, &x),
            y: ruler(&self.y, &y),
        }
    }

    pub(super) fn size(&self) -> (f64, f64) {
        (WIDTH, HEIGHT)
    }

    pub(super) fn draw(&self, canvas: &mut impl Canvas, top: f64) {
        let layout = self.layout();
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let (top, bottom) = (top + TOP, top + HEIGHT - BOTTOM);
        let across = |share: f64| left + share * (right - left);
        let down = |share: f64| bottom - share * (bottom - top);
        let place = |&[x, y]: &[f64; 2]| (across(x), down(y));

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
                canvas.line(&part.iter().map(place).collect::<Vec<_>>(), width, colour);
            }
            line.dots.iter().for_each(|(at, _)| canvas.dot(place(at), 3.5, colour));
        }
        for (number, mark) in layout.marks.iter().enumerate() {
            if let Some(at) = &mark.at {
                let (colour, at) = (mark_colour(&layout, number), place(at));
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

const VERTICAL: Colour = [120, 120, 120];

/// Marks take the colours that lines leave.
fn mark_colour(layout: &Layout, number: usize) -> Colour {
    COLOURS[(layout.lines.len() + number) % COLOURS.len()]
}

/// Width and colour of a line.
fn style(faint: bool, number: usize) -> (f64, Colour) {
    let colour = COLOURS[number % COLOURS.len()];
    if faint { (1.0, colour.map(|part| part / 3 + 170)) } else { (2.0, colour) }
}

/// A place in the frame to a tenth of a thousandth: less than a pixel.
fn rounded(place: f64) -> f64 {
    (place * 1e4).round() / 1e4
}

fn in_frame(place: &[f64; 2]) -> bool {
    place.iter().all(|at| (0.0..=1.0).contains(at))
}

/// Of many points the first and the last, the lowest and the highest of each of some hundred stretches.
fn thinned(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    if points.len() <= POINTS {
        return points;
    }
    let stretches = points.chunks(points.len().div_ceil(POINTS / 4));
    let kept = stretches.flat_map(|stretch| {
        let by_height = |a: &usize, b: &usize| stretch[*a][1].total_cmp(&stretch[*b][1]);
        let lowest = (0..stretch.len()).min_by(by_height).unwrap_or(0);
        let highest = (0..stretch.len()).max_by(by_height).unwrap_or(0);
        let mut kept = vec![0, lowest, highest, stretch.len() - 1];
        kept.sort_unstable();
        kept.dedup();
        kept.into_iter().map(|place| stretch[place])
    });
    kept.collect()
}

/// The parts of a line within the frame.
fn within_frame(points: &[[f64; 2]]) -> Vec<Vec<[f64; 2]>> {
    let mut parts: Vec<Vec<[f64; 2]>> = Vec::new();
    for pair in points.windows(2) {
        let Some((from, to)) = clipped(pair[0], pair[1]) else { continue };
        match parts.last_mut() {
            Some(part) if part.last() == Some(&from) => part.push(to),
            _ => parts.push(vec![from, to]),
        }
    }
    parts
}

/// The part of a segment within the frame (Liang & Barsky 1984).
fn clipped(from: [f64; 2], to: [f64; 2]) -> Option<([f64; 2], [f64; 2])> {
    let (across, up) = (to[0] - from[0], to[1] - from[1]);
    let sides = [(-across, from[0]), (across, 1.0 - from[0]), (-up, from[1]), (up, 1.0 - from[1])];
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
        // Rounding may end a hair outside.
        share => [from[0] + share * across, from[1] + share * up].map(|at| at.clamp(0.0, 1.0)),
    };
    (enters <= leaves).then(|| (at(enters), at(leaves)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any number there is, with those that break arithmetic more often than by chance.
    fn any_number() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => any::<f64>(),
            4 => -100.0..100.0f64,
            1 => proptest::sample::select(vec![
                0.0, -0.0, 1.0, 1e16, 1e16 + 2.0, 1e300, -1e300, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324,
                f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-300, 1e308, 9007199254740993.0,
            ]),
        ]
    }

    fn chart(axis: fn(&str) -> Axis, points: Vec<(f64, f64)>, range: Option<(f64, f64)>) -> Chart {
        let y = Axis { range, ..axis("y") };
        let line = Line { label: "line".to_owned(), points: points.clone(), faint: false };
        let marks = points.iter().take(3).map(|&at| Mark { label: "mark".to_owned(), at });
        let bars = points.iter().take(3).map(|&(a, b)| Bar { x: (a, b), y: a });
        let verticals = points.iter().take(3).map(|&(x, _)| Vertical { label: "here".to_owned(), x });
        Chart {
            x: axis("x"),
            y,
            lines: vec![line],
            marks: marks.collect(),
            bars: bars.collect(),
            verticals: verticals.collect(),
        }
    }

    /// All of a layout lies in the frame, and there is no more of it than can be drawn.
    fn is_drawable(layout: &Layout) {
        let inside = |at: &f64| (0.0..=1.0).contains(at);
        for ruler in [&layout.x, &layout.y] {
            assert!(ruler.ticks.len() <= TICKS, "{} grid lines", ruler.ticks.len());
            assert!(ruler.ticks.iter().all(|(at, _)| (-0.001..=1.001).contains(at)), "{:?}", ruler.ticks);
            assert!(ruler.ticks.is_sorted_by(|a, b| a.0 < b.0), "{:?}", ruler.ticks);
            let mut words: Vec<&String> = ruler.ticks.iter().map(|tick| &tick.1).collect();
            assert!(words.iter().all(|words| words.len() < 24), "{words:?}");
            words.sort();
            words.dedup();
            assert_eq!(words.len(), ruler.ticks.len(), "each number once: {:?}", ruler.ticks);
        }
        for line in &layout.lines {
            assert!(line.parts.iter().flatten().flatten().all(inside), "{line:?}");
            assert!(line.dots.iter().flat_map(|dot| &dot.0).all(inside), "{line:?}");
            assert!(line.parts.iter().map(Vec::len).sum::<usize>() <= 2 * POINTS);
        }
        assert!(layout.bars.iter().flatten().all(inside), "{:?}", layout.bars);
        assert!(layout.verticals.iter().map(|vertical| &vertical.1).all(inside));
        assert!(layout.marks.iter().filter_map(|mark| mark.at.as_ref()).flatten().all(inside));
    }

    proptest! {
        #[test]
        fn any_numbers_are_laid_out_in_the_frame_with_few_grid_lines(
            points in proptest::collection::vec((any_number(), any_number()), 0..12),
            range in proptest::option::of((any_number(), any_number())),
        ) {
            for axis in [|label: &str| Axis::linear(label), |label: &str| Axis::logarithmic(label)] {
                is_drawable(&chart(axis, points.clone(), range).layout());
            }
        }

        #[test]
        fn two_numbers_have_at_least_two_grid_lines_between_them(low in any_number(), high in any_number()) {
            let usable = low.abs() <= 1e299 && high.abs() <= 1e299 && high - low > 1e-6 * low.abs().max(high.abs());
            prop_assume!(usable && high - low > 1e-290);
            let layout = chart(|label| Axis::linear(label), vec![(low, high), (high, low)], None).layout();
            prop_assert!(layout.x.ticks.len() >= 2, "{low} {high} {:?}", layout.x.ticks);
        }
    }

    #[test]
    fn constant_series_have_a_range_around_them() {
        for value in [0.0, 0.97, -3.0, 1e16, -1e16, 1e250] {
            let mut chart = chart(|label| Axis::linear(label), vec![(1.0, value), (2.0, value)], None);
            chart.bars.clear();
            let layout = chart.layout();
            is_drawable(&layout);
            assert!(layout.y.ticks.len() >= 2, "{value}: {:?}", layout.y.ticks);
            assert!(
                layout.lines[0].parts.iter().flatten().all(|at| (0.2..0.8).contains(&at[1])),
                "{layout:?}"
            );
        }
    }

    #[test]
    fn grid_lines_are_at_round_numbers() {
        let said = |axis: Axis, low: f64, high: f64| {
            let scale = axis.between(low, high).scale(std::iter::empty());
            scale.ticks().into_iter().map(|tick| tick.1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(said(Axis::linear(""), 0.0, 1.0), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(said(Axis::linear(""), -3.0, 2.9), "-3 -2 -1 0 1 2");
        assert_eq!(said(Axis::linear(""), 0.0, 6000.0), "0 1000 2000 3000 4000 5000 6000");
        assert_eq!(said(Axis::linear(""), 0.9712, 0.97183), "0.9712 0.9714 0.9716 0.9718");
        assert_eq!(said(Axis::linear(""), 0.0, 3e-5), "0 5e-6 1e-5 1.5e-5 2e-5 2.5e-5 3e-5");
        assert_eq!(said(Axis::logarithmic(""), 1e-5, 10.0), "1e-5 1e-4 1e-3 1e-2 1e-1 1e0 1e1");
        assert_eq!(said(Axis::logarithmic(""), 1e-3, 5e-2), "1e-3 2e-3 5e-3 1e-2 2e-2 5e-2");
    }

    #[test]
    fn long_lines_keep_their_extremes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|step| (f64::from(step), 0.5)).collect();
        points[77_777].1 = 9.0;
        points[33_333].1 = -9.0;
        let layout = chart(|label| Axis::linear(label), points, None).layout();
        is_drawable(&layout);
        let heights: Vec<f64> = layout.lines[0].parts.iter().flatten().map(|at| at[1]).collect();
        let (low, high) =
            (heights.iter().copied().fold(1.0, f64::min), heights.iter().copied().fold(0.0, f64::max));
        assert!(low < 0.04 && high > 0.96, "{low} {high}");
    }
}
