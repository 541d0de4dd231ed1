//! Where everything in a chart is, within a frame from 0 to 1 in both directions.
//!
//! Files are drawn from a [`Layout`], and so can a page's script do it, so that both show the same.

use crate::axis::{Axis, Scale, tick_label, usable};
use crate::brief;
use crate::chart::{Chart, Line};

/// A chart as it is drawn: everything lies within a frame from 0 to 1, counted from the lower left corner.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Layout {
    /// The horizontal axis.
    pub x: AxisLayout,
    /// The vertical axis.
    pub y: AxisLayout,
    /// Where bars begin and end, and how high they are.
    pub bars: Vec<[f64; 3]>,
    /// Lines, in the order of the legend.
    pub lines: Vec<LineLayout>,
    /// Named points.
    pub marks: Vec<MarkLayout>,
    /// Labels and positions of vertical lines.
    pub verticals: Vec<(String, f64)>,
}

/// An axis as it is drawn.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AxisLayout {
    /// What is measured, with its unit.
    pub label: String,
    /// Positions and labels of grid lines, ascending.
    pub ticks: Vec<(f64, String)>,
}

/// A line as it is drawn.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LineLayout {
    /// Its name in the legend.
    pub label: String,
    /// Whether it is drawn fainter, behind the others.
    pub faint: bool,
    /// The parts of it that lie in the frame.
    pub parts: Vec<Vec<[f64; 2]>>,
    /// Points that are worth seeing each: where they are, and what they say.
    pub dots: Vec<([f64; 2], String)>,
}

/// A named point as it is drawn.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MarkLayout {
    /// Its name in the legend.
    pub label: String,
    /// Where it is, at the edge of the frame where it would be beyond; `None` where its values cannot be
    /// drawn.
    pub at: Option<[f64; 2]>,
}

/// Lines of at most this many points have a dot at each.
const DOTTED: usize = 40;
/// Characters of an axis' label, at most.
const LABEL: usize = 90;
/// Points of a line, at most; of longer ones the lowest and the highest of neighbours are drawn.
const POINTS: usize = 2000;
/// Vertical lines, at most.
const VERTICALS: usize = 100;

impl Chart {
    /// The chart as it is drawn, whatever its values are: at most a dozen grid lines an axis, and some
    /// thousand points a line.
    pub fn layout(&self) -> Layout {
        let frame = Frame::around(self);
        let marks = self.marks.iter().map(|mark| MarkLayout {
            label: mark.label.clone(),
            at: frame.is_usable(&mark.at).then(|| frame.at(&mark.at).map(|at| rounded(at.clamp(0.0, 1.0)))),
        });
        Layout {
            bars: frame.bars(self),
            lines: self.lines.iter().map(|line| frame.line(line)).collect(),
            marks: marks.collect(),
            verticals: frame.verticals(self),
            x: AxisLayout::new(&self.x, &frame.x),
            y: AxisLayout::new(&self.y, &frame.y),
        }
    }
}

impl AxisLayout {
    fn new(axis: &Axis, scale: &Scale) -> Self {
        let ticks = scale.ticks().into_iter().map(|(tick, label)| (rounded(scale.at(tick)), label));
        Self { label: brief(&axis.label, LABEL), ticks: ticks.collect() }
    }
}

/// The ranges of both axes.
struct Frame {
    x: Scale,
    y: Scale,
}

impl Frame {
    /// The frame that shows all of a chart, or what its axes ask for.
    fn around(chart: &Chart) -> Self {
        let marks = chart.marks.iter().map(|mark| mark.at);
        let points: Vec<(f64, f64)> =
            chart.lines.iter().flat_map(|line| line.points.iter().copied()).chain(marks).collect();
        let verticals = chart.verticals.iter().map(|vertical| vertical.x);
        let edges = chart.bars.iter().flat_map(|bar| [bar.x.0, bar.x.1]);
        let x = chart.x.scale(points.iter().map(|point| point.0).chain(verticals).chain(edges));
        let within = |point: &&(f64, f64)| (x.low..=x.high).contains(&point.0);
        let heights = chart.bars.iter().flat_map(|bar| [0.0, bar.y]);
        let y = chart.y.scale(points.iter().filter(within).map(|point| point.1).chain(heights));
        Self { x, y }
    }

    /// Whether a point can be drawn, in the frame or beyond it.
    fn is_usable(&self, (x, y): &(f64, f64)) -> bool {
        usable(*x, self.x.logarithmic) && usable(*y, self.y.logarithmic)
    }

    fn at(&self, &(x, y): &(f64, f64)) -> [f64; 2] {
        [self.x.at(x), self.y.at(y)]
    }

    fn line(&self, line: &Line) -> LineLayout {
        let (mut parts, mut dots) = (Vec::new(), Vec::new());
        for run in line.points.split(|point| !self.is_usable(point)) {
            let points: Vec<[f64; 2]> = thinned(run.iter().map(|point| self.at(point)).collect());
            parts.extend(within_frame(&points));
            // A single point is no line, and few points are worth seeing each.
            if run.len() == 1 || (line.points.len() <= DOTTED && !line.faint) {
                let inside = run.iter().zip(&points).filter(|(_, point)| in_frame(point));
                dots.extend(inside.map(|(&(x, y), &point)| {
                    (point.map(rounded), format!("{}: {}, {}", line.label, value_label(x), value_label(y)))
                }));
            }
        }
        dots.truncate(POINTS);
        let parts = parts.into_iter().take(POINTS);
        let parts = parts.map(|part| part.into_iter().map(|point| point.map(rounded)).collect());
        LineLayout { label: line.label.clone(), faint: line.faint, parts: parts.collect(), dots }
    }

    fn verticals(&self, chart: &Chart) -> Vec<(String, f64)> {
        let usable = chart.verticals.iter().filter(|vertical| usable(vertical.x, self.x.logarithmic));
        let all = usable.map(|vertical| (vertical.label.clone(), self.x.at(vertical.x)));
        let inside = all.filter(|(_, at)| (0.0..=1.0).contains(at));
        inside.take(VERTICALS).map(|(label, at)| (label, rounded(at))).collect()
    }

    fn bars(&self, chart: &Chart) -> Vec<[f64; 3]> {
        let usable = chart.bars.iter().filter(|bar| {
            let (from, to) = bar.x;
            self.is_usable(&(from, bar.y)) && usable(to, self.x.logarithmic)
        });
        let bars = usable.map(|bar| {
            [self.x.at(bar.x.0), self.x.at(bar.x.1), self.y.at(bar.y)].map(|at| rounded(at.clamp(0.0, 1.0)))
        });
        bars.take(POINTS).collect()
    }
}

/// A number of four digits.
fn value_label(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value => tick_label(value, Some(10f64.powf(value.abs().log10().floor() - 3.0))),
    }
}

/// A number of the frame to four decimals: less than a pixel.
fn rounded(at: f64) -> f64 {
    (at * 1e4).round() / 1e4
}

fn in_frame(point: &[f64; 2]) -> bool {
    point.iter().all(|at| (0.0..=1.0).contains(at))
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
        kept.into_iter().map(|index| stretch[index])
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
    let at = |fraction: f64| match fraction {
        0.0 => from,
        1.0 => to,
        // Rounding may end a hair outside.
        fraction => [from[0] + fraction * across, from[1] + fraction * up].map(|at| at.clamp(0.0, 1.0)),
    };
    (enters <= leaves).then(|| (at(enters), at(leaves)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::axis::MAX_TICKS;
    use crate::chart::{Bar, Mark, Vertical};

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
            assert!(ruler.ticks.len() <= MAX_TICKS, "{} grid lines", ruler.ticks.len());
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
