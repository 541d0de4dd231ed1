//! Calibration: whether probabilities can be trusted, and a temperature that improves them, evaluated by
//! cross-validation.

use serde::Serialize;

use super::Interpretation;
use crate::metric::predictions::Predictions;
use ocelli_data::Task;

/// Calibration of the probabilities, without and with a temperature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// The temperature that logits are divided by, fitted on all of these predictions; `None` if none can be
    /// fitted, or if it does not lower the log loss of images that it was not fitted on.
    pub temperature: Option<f64>,
    /// Reliability without a temperature.
    pub plain: Reliability,
    /// Reliability with a temperature, each image with the one that was fitted on the other folds: what to
    /// expect for new images. `None` if there is no temperature.
    pub calibrated: Option<Reliability>,
    /// The result in a sentence or two.
    pub sentence: String,
}

/// Confidence compared with accuracy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// Fifteen bins of equal width; empty ones have `None`.
    pub bins: Vec<Bin>,
    /// The expected calibration error (Naeini et al. 2015): the mean absolute difference of confidence and
    /// accuracy over bins, weighted by images, 0 to 1.
    pub expected_error: f64,
    /// The mean negative logarithm of the true class's probability; for multi-label data, the mean binary
    /// cross-entropy.
    pub log_loss: f64,
    /// The mean squared difference of probabilities and truth, summed over classes (Brier 1950), 0 to 2.
    pub brier: f64,
}

/// Predictions with about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// The lowest confidence, exclusive except for 0.
    pub low: f64,
    /// The highest confidence, inclusive.
    pub high: f64,
    /// The number of predictions.
    pub count: usize,
    /// The mean confidence.
    pub confidence: Option<f64>,
    /// The accuracy.
    pub accuracy: Option<f64>,
}

/// The bins of a reliability diagram.
const BINS: usize = 15;
impl Interpretation {
    /// Evaluates the calibration of the probabilities, and of temperature scaling.
    pub fn calibration(&self) -> Calibration {
        let predictions = &self.predictions;
        let plain = reliability(predictions);
        let Some(temperature) = predictions.temperature() else {
            let sentence =
                "No temperature can be fitted, since all predictions are right, or all are wrong.".to_owned();
            return Calibration { temperature: None, plain, calibrated: None, sentence };
        };
        let judged = reliability(&predictions.with_cross_validated_temperature());
        let helps = judged.log_loss < plain.log_loss;
        let sentence = sentence(temperature, helps, &plain, &judged);
        let temperature = helps.then_some(temperature);
        Calibration { temperature, plain, calibrated: helps.then_some(judged), sentence }
    }
}

/// Each metric with its direction, so that a change for the worse is named as one.
fn sentence(temperature: f64, helps: bool, plain: &Reliability, judged: &Reliability) -> String {
    let measures = [
        ("log loss", plain.log_loss, judged.log_loss),
        ("expected error", plain.expected_error, judged.expected_error),
        ("Brier score", plain.brier, judged.brier),
    ];
    let changes = measures.map(|(name, before, after)| {
        let moved = match (format!("{before:.4}"), format!("{after:.4}")) {
            (before, after) if before == after => return format!("the {name} stays at {before}"),
            (before, after) => format!("from {before} to {after}"),
        };
        let word = if after < before { "falls" } else { "rises" };
        format!("the {name} {word} {moved}")
    });
    let sureness = if temperature > 1.0 { "less sure" } else { "surer" };
    let verdict = match helps {
        true => format!("A temperature of {temperature:.3} makes the model {sureness}."),
        false => "The temperature is not used, since it does not lower the log loss of images that it was not fitted on."
            .to_owned(),
    };
    let [first, second, third] = changes;
    format!(
        "{verdict} In cross-validation, with temperatures that were fitted on other images, {first}, {second}, and {third}."
    )
}

fn reliability(predictions: &Predictions) -> Reliability {
    let mut sums = vec![(0usize, 0.0, 0usize); BINS];
    let mut brier = 0.0;
    let mut counted = 0;
    let images = predictions.len();
    for index in 0..images {
        let (row, truth) = (predictions.row(index), predictions.targets()[index].classes());
        for (class, &probability) in row.iter().enumerate() {
            let has = f64::from(u8::from(truth.contains(&class)));
            brier += (f64::from(probability) - has).powi(2);
        }
        // For single-label data the predicted class counts; else each class is a prediction.
        let answers = match predictions.task() {
            Task::SingleLabel => predictions.predicted_labels(index),
            Task::MultiLabel => (0..row.len()).collect(),
        };
        for class in answers {
            let confidence = f64::from(row[class]);
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            sums[bin].0 += 1;
            sums[bin].1 += confidence;
            sums[bin].2 += usize::from(truth.contains(&class));
            counted += 1;
        }
    }
    let bins: Vec<Bin> = sums
        .iter()
        .enumerate()
        .map(|(bin, &(count, confidence, right))| Bin {
            low: bin as f64 / BINS as f64,
            high: (bin + 1) as f64 / BINS as f64,
            count,
            confidence: (count > 0).then(|| confidence / count as f64),
            accuracy: (count > 0).then(|| right as f64 / count as f64),
        })
        .collect();
    let distance = |bin: &Bin| match (bin.confidence, bin.accuracy) {
        (Some(confidence), Some(accuracy)) => bin.count as f64 * (confidence - accuracy).abs(),
        _ => 0.0,
    };
    Reliability {
        expected_error: bins.iter().map(distance).sum::<f64>() / f64::from(counted.max(1)),
        log_loss: predictions.loss(),
        brier: brier / images as f64,
        bins,
    }
}
