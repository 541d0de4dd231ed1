//! The output of a finished run: the metrics, and what the model confuses.

use std::collections::HashSet;

use ocelli::{
    CorrectedEstimate, ImageData, Interpretation, Items, Learner, Metric, Predictions, RunResult, Task,
};

use crate::output::{println, shown};
use crate::text::{brief, count, counted};

/// The most pairs of confused classes that are listed.
const CONFUSED: usize = 3;
/// The most classes without evaluated images that are listed.
const NOT_MEASURED: usize = 5;

/// Prints metrics with their confidence intervals, the comparison with the baseline, and the most confused
/// classes.
/// In a cross-validation they are of all images, each predicted by the model of a fold.
pub fn print(outcome: &RunResult, learner: &Learner, folds: Option<usize>) {
    let data = &learner.used_data();
    let skipped = learner.data().class_counts() != data.class_counts();
    let predictions = &outcome.predictions;
    println!();
    if predictions.is_empty() {
        println!("not evaluated: no validation images");
        return;
    }
    let images = if folds.is_some() { "image" } else { "validation image" };
    if let Some(folds) = folds {
        println!("{folds}-fold cross-validation: each image predicted by a model that had not seen it");
    }
    print_metrics(predictions, outcome.metric, images);
    if let Some(CorrectedEstimate { metric, epochs, value, interval: (low, high), .. }) = outcome.corrected {
        match folds {
            Some(_) => {
                println!("corrected for choosing the best of up to {epochs} epochs in a fold by its images:")
            }
            None => println!("corrected for choosing the best of {epochs} epochs by these images:"),
        }
        println!("{:<14}  {value:.4}   95 % CI {low:.4}–{high:.4}", metric.to_string());
    }
    if let Some(augmented) = &outcome.augmented {
        println!("with test-time augmentation:");
        print_metrics(augmented, outcome.metric, "validation image");
    }
    if let Some(line) = not_measured(predictions, data.classes()) {
        println!("{line}");
    }
    let used = outcome.augmented.as_ref().unwrap_or(predictions);
    print_baseline(used, outcome.metric, data, skipped, folds);
    print_confused(used, data.items());
    if let Some(thresholds) = &outcome.thresholds {
        let lowest = thresholds.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = thresholds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let value = match lowest == highest {
            true => format!("{lowest:.2}"),
            false => format!("{lowest:.2} to {highest:.2}, one per class"),
        };
        let tuned_to = match outcome.metric {
            // As `Thresholds::PerClass` is tuned.
            metric if lowest != highest && !matches!(metric, Metric::F(..)) => {
                Metric::usual(Task::MultiLabel)
            }
            metric => metric,
        };
        println!("threshold {value} (tuned to {tuned_to} on these images)");
    }
}

/// Prints the metric that chose the weights and the usual ones, of these images.
pub fn print_metrics(predictions: &Predictions, kept_by: Metric, images: &str) {
    let mut lines: Vec<(Metric, &str)> = match predictions.task() {
        Task::SingleLabel => vec![(Metric::Accuracy, ""), (Metric::LogLoss, "")],
        Task::MultiLabel => {
            let f1 = Metric::usual(Task::MultiLabel);
            vec![(f1, "over all labels"), (Metric::LabelAccuracy, "of each label of each image")]
        }
    };
    if !lines.iter().any(|(metric, _)| *metric == kept_by) {
        lines.insert(0, (kept_by, ""));
    }
    for (metric, note) in lines {
        let measured = predictions.estimate(metric);
        let (low, high) = measured.interval;
        let note = match metric {
            Metric::Accuracy => {
                let fraction = predictions.accuracy();
                format!("{} of {}", count(fraction.count), counted(fraction.total, images))
            }
            _ => note.to_owned(),
        };
        let line = format!(
            "{:<14}  {:.4}   95 % CI {low:.4}–{high:.4}   {note}",
            metric.to_string(),
            measured.value
        );
        println!("{}", line.trim_end());
    }
}

/// Prints a warning if the model is not significantly better than the baseline, and the baseline if images
/// were skipped.
fn print_baseline(
    predictions: &Predictions,
    metric: Metric,
    data: &ImageData,
    skipped: bool,
    folds: Option<usize>,
) {
    // What is the same for every image is at its best with one threshold; the predictions are judged with those
    // that they are shown with.
    let baseline = data.baseline(predictions.items());
    let baseline = baseline.monitored(metric);
    let same = match predictions.task() {
        Task::SingleLabel => {
            let class = shown(&data.classes()[baseline.predicted_labels(0)[0]]);
            format!("always predicting {class}, the most frequent class")
        }
        Task::MultiLabel => "predicting the same labels for every image".to_owned(),
    };
    let value = baseline.value(metric);
    if predictions.is_significantly_better(&baseline, metric) {
        // Before training it was not known which images can be read.
        if skipped {
            println!("{:<14}  {metric} {value:.4} ({same}), of the images that could be read", "baseline");
        }
        return;
    }
    let mut targets = predictions.targets().iter();
    let first = targets.next();
    if let (Task::SingleLabel, Some(first)) =
        (predictions.task(), first.filter(|first| targets.all(|target| target == *first)))
    {
        let class = first.classes().first().map(|&class| shown(&data.classes()[class])).unwrap_or_default();
        println!(
            "warning: all validation images are of {class}, so that they do not show whether it is told from the other classes"
        );
        return;
    }
    let advice = match metric.is_better(predictions.value(metric), value) {
        true if folds.is_some() => "it is on these images, but they are too few to be sure",
        true => "it is on these images, but they are too few to be sure; --folds 5 measures on all images",
        false => "more epochs, larger images or more photos may help",
    };
    println!("warning: not significantly better than {same} ({metric} {value:.4}); {advice}");
}

/// Prints the most confused pairs of classes; nothing for multi-label data, or if all predictions are
/// correct.
fn print_confused(predictions: &Predictions, items: &Items) {
    let Ok(pairs) = Interpretation::new(predictions.clone(), items).most_confused(1) else { return };
    for (number, pair) in pairs.iter().take(CONFUSED).enumerate() {
        let title = if number == 0 { "most confused" } else { "" };
        println!("{title:<14}  {}", confused(&pair.truth, &pair.predicted, pair.count, pair.of));
    }
}

/// The classes without evaluated images; `None` if there are none.
pub fn not_measured(predictions: &Predictions, classes: &[String]) -> Option<String> {
    let measured: HashSet<usize> =
        predictions.targets().iter().flat_map(|target| target.classes().iter().copied()).collect();
    let without: Vec<&String> =
        (0..classes.len()).filter(|class| !measured.contains(class)).map(|class| &classes[class]).collect();
    let names = without.iter().take(NOT_MEASURED).map(shown).collect::<Vec<_>>().join(", ");
    let more = if without.len() > NOT_MEASURED { ", …" } else { "" };
    (!without.is_empty()).then(|| {
        let (number, of) = (count(without.len()), counted(classes.len(), "class"));
        match predictions.task() {
            Task::SingleLabel => format!("not evaluated   {number} of {of} without images here: {names}{more}"),
            Task::MultiLabel => format!(
                "in no image     {number} of {of}: {names}{more}; where they are predicted, that counts as wrong"
            ),
        }
    })
}

/// `cats → dogs 12/1,000`
pub fn confused(truth: &str, predicted: &str, times: usize, of: usize) -> String {
    format!("{} → {} {}/{}", brief(&shown(truth)), brief(&shown(predicted)), count(times), count(of))
}
