//! The metrics of each class, and threshold curves.

use ocelli::interpret::{Interpretation, Means, ThresholdCurve};
use ocelli::{Proportion, Task};
use ocelli_plot::Layout;
use serde::Serialize;

use crate::drawings;

/// The part of the page about classes; empty without evaluated images.
#[derive(Serialize, Default)]
pub(super) struct ClassesPart {
    table: Vec<ClassPart>,
    means: Option<Means>,
    curves: Vec<CurvePart>,
}

impl ClassesPart {
    pub(super) fn new(named: &Interpretation) -> Self {
        if named.is_empty() {
            return Self::default();
        }
        let interval = |fraction: Proportion| {
            let (low, high) = fraction.interval();
            [fraction.value(), low, high]
        };
        let table = named.class_table();
        let rows = table.rows.into_iter().map(|row| ClassPart {
            support: row.support,
            predicted: row.predicted,
            precision: row.precision.map(interval),
            recall: row.recall.map(interval),
            f1: row.f1,
            auroc: row.auroc,
        });
        let several = named.task() == Task::MultiLabel;
        Self {
            table: rows.collect(),
            means: Some(table.means),
            curves: if several { curves(named.threshold_curves()) } else { Vec::new() },
        }
    }
}

#[derive(Serialize)]
struct ClassPart {
    support: usize,
    predicted: usize,
    precision: Option<[f64; 3]>,
    recall: Option<[f64; 3]>,
    f1: Option<f64>,
    auroc: Option<f64>,
}

/// The threshold curves of a class.
#[derive(Serialize)]
struct CurvePart {
    /// The class; `None`: all labels together.
    class: Option<String>,
    chart: Layout,
    /// The highest F1, its threshold, the highest F2, its threshold.
    best: [f64; 4],
}

/// The most classes whose threshold curves are on the page.
const CURVES: usize = 100;

fn curves(curves: Vec<ThresholdCurve>) -> Vec<CurvePart> {
    let part = |curve: ThresholdCurve| {
        let best = |threshold: f64| curve.points.iter().find(|point| point.threshold == threshold);
        let chart = drawings::thresholds(&curve).layouts().pop()?;
        let (f1, f2) = (best(curve.best_f1)?.f1, best(curve.best_f2)?.f2);
        Some(CurvePart { class: curve.class, chart, best: [f1, curve.best_f1, f2, curve.best_f2] })
    };
    curves.into_iter().take(CURVES + 1).filter_map(part).collect()
}
