//! The charts and matrices of a report as files.

use ocelli::finished::FinishedRun;
use ocelli::interpret::{Calibration, Reliability, ThresholdCurve, ThresholdPoint};
use ocelli::{FALSE_REFUSALS, ModelConfig, Result, Task, UnknownConfig};
use ocelli_plot::{Axis, Bar, Chart, Figure, Line, Mark, Panel, Vertical};

use crate::Subject;

/// Every drawing with the name of its files; the page shows the same charts. The learning rate finder's are
/// written during the run.
pub(crate) fn drawings(subject: &Subject) -> Result<Vec<(&'static str, Figure)>> {
    let named = subject.named;
    let mut drawings = Vec::new();
    if !named.is_empty() {
        if named.task() == Task::MultiLabel {
            drawings.extend(named.threshold_curves().first().map(|all| ("thresholds", thresholds(all))));
        } else if let Some(matrix) = named.drawn_matrix() {
            drawings.push(("confusion", matrix.plot()));
            drawings.push(("confusion_normalised", matrix.plot_normalised()));
        }
        drawings.push(("calibration", calibration(subject.calibration())));
    }
    if let Some(records) = subject.records
        && !records.history.1.is_empty()
    {
        // A single epoch has no course.
        if records.history.1.len() > 1 {
            drawings.push(("losses", losses(records)));
        }
        let curves = records.rate_curves(subject.train_len());
        if curves.iter().any(|curve| !curve.points.is_empty()) {
            drawings.push(("learning_rates", learning_rates(records, subject.train_len())));
        }
    }
    drawings.extend(unknown(subject.model.config()).map(|figure| ("unknown", figure)));
    drawings.extend(sizes(&subject.sizes).map(|figure| ("sizes", figure)));
    Ok(drawings)
}

fn line(label: &str, points: Vec<(f64, f64)>) -> Line {
    Line { label: label.to_owned(), points, faint: false }
}

fn calibration(calibration: &Calibration) -> Figure {
    let points = |reliability: &Reliability| {
        let bins = reliability.bins.iter();
        bins.filter_map(|bin| Some((bin.confidence?, bin.accuracy?))).collect::<Vec<_>>()
    };
    let mut lines = vec![line("uncalibrated", points(&calibration.plain))];
    if let (Some(calibrated), Some(temperature)) = (&calibration.calibrated, calibration.temperature) {
        lines.push(line(&format!("temperature {temperature:.2}"), points(calibrated)));
    }
    lines.push(Line {
        label: "perfectly calibrated".to_owned(),
        points: vec![(0.0, 0.0), (1.0, 1.0)],
        faint: true,
    });
    let most = calibration.plain.bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
    let bars = calibration.plain.bins.iter().filter(|bin| bin.count > 0);
    let chart = Chart {
        x: Axis::linear("confidence").between(0.0, 1.0),
        y: Axis::linear("accuracy; bars: relative frequency").between(0.0, 1.0),
        lines,
        marks: Vec::new(),
        verticals: Vec::new(),
        bars: bars.map(|bin| Bar { x: (bin.low, bin.high), y: bin.count as f64 / most }).collect(),
    };
    let error = calibration.plain.expected_error;
    let title = format!("Reliability diagram: expected calibration error {error:.4}");
    Figure { title, panels: vec![chart.into()] }
}

pub(crate) fn thresholds(curve: &ThresholdCurve) -> Figure {
    let of = |value: fn(&ThresholdPoint) -> f64| {
        curve.points.iter().map(|point| (point.threshold, value(point))).collect::<Vec<_>>()
    };
    let lines = vec![
        line("precision", of(|point| point.precision)),
        line("recall", of(|point| point.recall)),
        line("F1", of(|point| point.f1)),
        line("F2", of(|point| point.f2)),
    ];
    let best = [("highest F1", curve.best_f1, 2), ("highest F2", curve.best_f2, 3)];
    let marks = best.into_iter().filter_map(|(name, threshold, line): (&str, f64, usize)| {
        let at = *lines[line].points.iter().find(|point| point.0 == threshold)?;
        Some(Mark { label: format!("{name} {:.3}", at.1), at })
    });
    let chart = Chart {
        marks: marks.collect(),
        verticals: Vec::new(),
        x: Axis::linear("threshold").between(0.0, 1.0),
        y: Axis::linear("score").between(0.0, 1.0),
        lines,
        bars: Vec::new(),
    };
    let title = format!("Thresholds: {}", curve.class.as_deref().unwrap_or("all labels together"));
    Figure { title, panels: vec![chart.into()] }
}

/// Losses and, with validation images, metrics, one point per epoch; the best epoch, and where phases begin.
fn losses(records: &FinishedRun) -> Figure {
    let of = |name: &str| -> Option<Vec<(f64, f64)>> {
        let values = records.column(name)?;
        values.iter().any(Option::is_some).then(|| {
            let at = |(index, value): (usize, Option<f64>)| ((index + 1) as f64, value.unwrap_or(f64::NAN));
            values.into_iter().enumerate().map(at).collect()
        })
    };
    let verticals: Vec<Vertical> = records
        .phase_starts()
        .into_iter()
        .map(|(row, step)| Vertical { label: format!("phase {step}"), x: row as f64 + 0.5 })
        .collect();
    let chart = |label: &str, columns: &[(&str, String)]| {
        let lines = columns.iter().filter_map(|(name, label)| Some(line(label, of(name)?)));
        let lines: Vec<Line> = lines.collect();
        let kept = records.best_row().and_then(|row| {
            let at = *lines.last()?.points.get(row)?;
            Some(Mark { label: "best epoch".to_owned(), at })
        });
        let (x, y) = (Axis::linear("epoch"), Axis::linear(label));
        let marks = kept.into_iter().collect();
        let verticals = verticals.clone();
        (!lines.is_empty()).then(|| Chart { x, y, lines, marks, verticals, bars: Vec::new() }.into())
    };
    let losses: Option<Panel> =
        chart("loss", &[("train_loss", "training".to_owned()), ("valid_loss", "validation".to_owned())]);
    let metrics = metrics(records);
    let label = match &metrics[..] {
        [(_, only)] => only.clone(),
        _ => "value".to_owned(),
    };
    Figure {
        title: "Losses and metrics by epoch".to_owned(),
        panels: losses.into_iter().chain(chart(&label, &metrics)).collect(),
    }
}

/// The most metrics in one chart.
const METRICS: usize = 4;

/// The columns of the history that are proportions, and their names.
fn metrics(records: &FinishedRun) -> Vec<(&str, String)> {
    let others = ["phase", "epoch", "train_loss", "valid_loss", "seconds"];
    let fraction = |name: &str| {
        let values = records.column(name).unwrap_or_default();
        values.iter().any(Option::is_some) && values.iter().flatten().all(|value| (0.0..=1.0).contains(value))
    };
    let names = records.history.0.iter().map(String::as_str);
    let names = names.filter(|name| !others.contains(name) && !name.starts_with("learning_rate"));
    names.filter(|name| fraction(name)).take(METRICS).map(|name| (name, name.replace('_', " "))).collect()
}

fn learning_rates(records: &FinishedRun, training_images: usize) -> Figure {
    let curves = records.rate_curves(training_images).into_iter().map(|curve| {
        let points = curve.points.into_iter().map(|(at, rate)| (at, rate.unwrap_or(f64::NAN)));
        line(curve.name, points.collect())
    });
    let lines: Vec<Line> = curves.collect();
    let label = match &lines[..] {
        [only] => format!("learning rate of {}", only.label),
        _ => "learning rate".to_owned(),
    };
    let starts = records.phase_starts().into_iter();
    let chart = Chart {
        x: Axis::linear("epochs").between(0.0, records.history.1.len() as f64),
        y: Axis::linear(label),
        lines,
        marks: Vec::new(),
        verticals: starts
            .map(|(row, step)| Vertical { label: format!("phase {step}"), x: row as f64 })
            .collect(),
        bars: Vec::new(),
    };
    Figure { title: "Learning rates".to_owned(), panels: vec![chart.into()] }
}

/// The distribution of the unknown scores of validation photos, and the threshold; `None` without a score.
fn unknown(config: &ModelConfig) -> Option<Figure> {
    let unknown = config.unknown.as_ref()?;
    let UnknownConfig::Fitted { valid_scores, .. } = unknown else { return None };
    let threshold = f64::from(unknown.threshold(FALSE_REFUSALS)?);
    let (low, high) = (f64::from(*valid_scores.first()?), f64::from(*valid_scores.last()?));
    if low == high {
        return None;
    }
    let width = (high - low) / BARS as f64;
    let mut counts = [0usize; BARS];
    for score in valid_scores {
        counts[(((f64::from(*score) - low) / width) as usize).min(BARS - 1)] += 1;
    }
    let most = counts.iter().copied().max()? as f64;
    let bars = counts.iter().enumerate().map(|(bar, &count)| Bar {
        x: (low + bar as f64 * width, low + (bar + 1) as f64 * width),
        y: count as f64,
    });
    let chart = Chart {
        x: Axis::linear("unknown score").between(low, high),
        y: Axis::linear("validation photos").between(0.0, 1.05 * most),
        lines: Vec::new(),
        marks: Vec::new(),
        verticals: vec![Vertical { label: "threshold".to_owned(), x: threshold }],
        bars: bars.collect(),
    };
    Some(Figure { title: "Unknown scores of validation photos".to_owned(), panels: vec![chart.into()] })
}

/// Bars of the histograms of sizes and of scores.
const BARS: usize = 24;

/// The histogram of the images' shorter sides; `None` if all are equal.
fn sizes(sizes: &[[u32; 2]]) -> Option<Figure> {
    let shorter: Vec<u32> = sizes.iter().map(|size| size[0].min(size[1])).collect();
    let (low, high) = (*shorter.iter().min()?, *shorter.iter().max()?);
    if low == high {
        return None;
    }
    let width = f64::from(high - low) / BARS as f64;
    let mut counts = [0usize; BARS];
    for side in &shorter {
        let bar = (f64::from(side - low) / width) as usize;
        counts[bar.min(BARS - 1)] += 1;
    }
    let (low, most) = (f64::from(low), counts.iter().copied().max()? as f64);
    let bars = counts.iter().enumerate().map(|(bar, &count)| Bar {
        x: (low + bar as f64 * width, low + (bar + 1) as f64 * width),
        y: count as f64,
    });
    let chart = Chart {
        x: Axis::linear("pixels of the shorter side").between(low, f64::from(high)),
        y: Axis::linear("images").between(0.0, 1.05 * most),
        lines: Vec::new(),
        marks: Vec::new(),
        verticals: Vec::new(),
        bars: bars.collect(),
    };
    Some(Figure { title: "Image sizes".to_owned(), panels: vec![chart.into()] })
}
