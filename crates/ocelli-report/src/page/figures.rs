//! The figures of a whole set, with their intervals.

use ocelli::interpret::Interpretation;
use ocelli::{Average, Metric, MetricEstimate, Task};
use ocelli_data::text::count;
use serde::Serialize;

use crate::Subject;

/// A figure with its 95 % interval, if it has one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    detail: String,
}

/// The figures of a whole set, also with test-time augmentation; empty without evaluated images.
pub(crate) fn figures(subject: &Subject) -> Vec<Figure> {
    let mut figures = plain_figures(subject.named);
    let finished = subject.records.and_then(|records| records.finished.as_ref());
    if let Some(corrected) = finished.and_then(|finished| finished.corrected) {
        let (low, high) = corrected.interval;
        figures.push(Figure {
            name: format!("{}, corrected", capitalised(corrected.metric)),
            value: corrected.value,
            low: Some(low),
            high: Some(high),
            detail: format!("for choosing the best of {} epochs by these images", corrected.epochs),
        });
    }
    for measured in finished.iter().flat_map(|finished| &finished.augmented) {
        let name = capitalised(measured.metric);
        figures.extend(measured.value.map(|value| Figure {
            name: format!("{name}, test-time augmentation"),
            value,
            low: measured.interval.0,
            high: measured.interval.1,
            detail: "mean of several views of each image".to_owned(),
        }));
    }
    figures
}

/// `Log loss`
fn capitalised(metric: Metric) -> String {
    let name = metric.to_string().replace('-', " ");
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The figures without test-time augmentation.
pub(crate) fn plain_figures(named: &Interpretation) -> Vec<Figure> {
    if named.is_empty() {
        return Vec::new();
    }
    let predictions = &named.predictions;
    let accuracy = predictions.accuracy();
    let right = format!("{} of {} images correct", count(accuracy.count), count(accuracy.total));
    let several = named.task() == Task::MultiLabel;
    let mut expected = vec![
        (if several { "Exact match" } else { "Accuracy" }, Metric::Accuracy, right.as_str()),
        ("Balanced accuracy", Metric::BalancedAccuracy, "mean recall of the classes"),
        ("Macro F1", Metric::F(1.0, Average::Macro), "mean F1 of the classes"),
        ("Log loss", Metric::LogLoss, "lower is better"),
    ];
    if several {
        expected.insert(0, ("F1", Metric::F(1.0, Average::Micro), "over all labels"));
        expected.insert(1, ("F2", Metric::F(2.0, Average::Samples), "mean over images; recall counts more"));
    }
    let figure = |(name, metric, detail): (&str, Metric, &str)| {
        let MetricEstimate { value, interval: (low, high), .. } = predictions.estimate(metric);
        let finite = |number: f64| Some(number).filter(|number| number.is_finite());
        let (low, high) = (finite(low), finite(high));
        Figure { name: name.to_owned(), value, low, high, detail: detail.to_owned() }
    };
    expected.into_iter().map(figure).collect()
}
