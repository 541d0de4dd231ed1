//! The charts and matrices of a report as files.

use super::Subject;
use super::records::Records;
use crate::interpret::{Calibration, ConfusionMatrix, Reliability, ThresholdCurve};
use crate::plot::{Axis, Bar, Cell, Chart, Figure, Line, Mark, Matrix};
use crate::{Result, Task};

/// From so many classes on, those that are taken for each other stand side by side.
const CLUSTERED: usize = 13;

/// Every drawing with the name of its files. What the learning rate finder saw is drawn while it is seen.
pub(super) fn drawings(subject: &Subject) -> Result<Vec<(&'static str, Figure)>> {
    let named = subject.named;
    let mut drawings = Vec::new();
    if !named.is_empty() {
        if named.task() == Task::SingleLabel {
            let matrix = named.confusion_matrix()?;
            drawings.push(("confusion", counts(&matrix)));
            drawings.push(("confusion_normalised", shares(&matrix)));
        } else if let Some(all) = named.threshold_curves().first() {
            drawings.push(("thresholds", thresholds(all)));
        }
        drawings.push(("calibration", calibration(&named.calibration())));
    }
    if let Some(records) = subject.records
        && !records.history.1.is_empty()
    {
        drawings.push(("losses", losses(records)));
        drawings.push(("learning_rates", learning_rates(records, subject.data.train_len())));
    }
    Ok(drawings)
}

fn counts(matrix: &ConfusionMatrix) -> Figure {
    let cell = |count: usize, share: f64| Cell { strength: share, text: count.to_string() };
    confusion("Confusion matrix", matrix, cell)
}

fn shares(matrix: &ConfusionMatrix) -> Figure {
    let cell = |_, share: f64| Cell { strength: share, text: format!("{share:.2}") };
    confusion("Confusion matrix: shares of what images are", matrix, cell)
}

/// A matrix whose cells are told by count and by share of the row.
fn confusion(title: &str, matrix: &ConfusionMatrix, cell: impl Fn(usize, f64) -> Cell) -> Figure {
    let classes = matrix.classes.len();
    let order = if classes < CLUSTERED { (0..classes).collect() } else { matrix.clustered() };
    let shares = matrix.normalised();
    let row = |&truth: &usize| {
        let cell = |&said: &usize| {
            let count = matrix.counts[truth][said];
            let mut cell = cell(count, shares[truth][said]);
            if count == 0 {
                cell.text.clear();
            } else {
                // Single mistakes among many images are to be seen too.
                cell.strength = 0.12 + 0.88 * cell.strength;
            }
            cell
        };
        order.iter().map(cell).collect()
    };
    let matrix = Matrix {
        names: order.iter().map(|&class| matrix.classes[class].clone()).collect(),
        rows: "what images are".to_owned(),
        columns: "what they are said to be".to_owned(),
        cells: order.iter().map(row).collect(),
    };
    let order =
        if classes < CLUSTERED { "" } else { ", classes in an order that brings confused ones together" };
    Figure { title: format!("{title}{order}"), panels: vec![matrix.into()] }
}

fn line(label: &str, points: Vec<(f64, f64)>) -> Line {
    Line { label: label.to_owned(), points, faint: false }
}

fn calibration(calibration: &Calibration) -> Figure {
    let points = |reliability: &Reliability| {
        let bins = reliability.bins.iter();
        bins.filter_map(|bin| Some((bin.confidence?, bin.accuracy?))).collect::<Vec<_>>()
    };
    let mut lines = vec![line("as they are", points(&calibration.plain))];
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
        y: Axis::linear("share that is right; bars: how often").between(0.0, 1.0),
        lines,
        marks: Vec::new(),
        bars: bars.map(|bin| Bar { x: (bin.low, bin.high), y: bin.count as f64 / most }).collect(),
    };
    let error = calibration.plain.expected_error;
    let title = format!("Reliability diagram: expected calibration error {error:.4}");
    Figure { title, panels: vec![chart.into()] }
}

fn thresholds(curve: &ThresholdCurve) -> Figure {
    let of = |value: fn(&crate::interpret::ThresholdPoint) -> f64| {
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
        x: Axis::linear("threshold").between(0.0, 1.0),
        y: Axis::linear("score").between(0.0, 1.0),
        lines,
        bars: Vec::new(),
    };
    Figure { title: "Thresholds: all labels together".to_owned(), panels: vec![chart.into()] }
}

/// Losses and, where images were held out, accuracy, a point an epoch.
fn losses(records: &Records) -> Figure {
    let of = |name: &str| -> Option<Vec<(f64, f64)>> {
        let values = records.column(name)?;
        values.iter().any(Option::is_some).then(|| {
            let at = |(place, value): (usize, Option<f64>)| ((place + 1) as f64, value.unwrap_or(f64::NAN));
            values.into_iter().enumerate().map(at).collect()
        })
    };
    let chart = |label: &str, columns: &[(&str, &str)]| {
        let lines = columns.iter().filter_map(|(name, label)| Some(line(label, of(name)?)));
        let lines: Vec<Line> = lines.collect();
        let (x, y) = (Axis::linear("epoch"), Axis::linear(label));
        (!lines.is_empty()).then(|| Chart { x, y, lines, marks: Vec::new(), bars: Vec::new() }.into())
    };
    let losses = chart("loss", &[("train_loss", "training"), ("valid_loss", "validation")]);
    let accuracy = chart("accuracy", &[("accuracy", "validation")]);
    Figure {
        title: "Losses and accuracy by epoch".to_owned(),
        panels: losses.into_iter().chain(accuracy).collect(),
    }
}

fn learning_rates(records: &Records, training_images: usize) -> Figure {
    let curves = records.rate_curves(training_images).into_iter().map(|curve| {
        let points = curve.points.into_iter().map(|(at, rate)| (at, rate.unwrap_or(f64::NAN)));
        line(curve.name, points.collect())
    });
    let chart = Chart {
        x: Axis::linear("epochs").between(0.0, records.history.1.len() as f64),
        y: Axis::linear("learning rate"),
        lines: curves.collect(),
        marks: Vec::new(),
        bars: Vec::new(),
    };
    Figure { title: "Learning rates, step by step".to_owned(), panels: vec![chart.into()] }
}
