//! Whether probabilities mean what they say, and the temperature that makes them, judged on images that it was not fitted
//! on.

use serde::Serialize;

use super::Interpretation;
use crate::metric::predictions::Predictions;
use ocelli_data::Task;

/// How far probabilities can be trusted, as they are and with a temperature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// What logits are divided by, fitted on all of these predictions; nothing where none can be fitted, or where it does
    /// not lower the log loss of images that it was not fitted on.
    pub temperature: Option<f64>,
    /// The probabilities as they are.
    pub plain: Reliability,
    /// The probabilities with a temperature, each image with the one that was fitted on the other folds: what is to be
    /// expected of new images. Nothing where there is no temperature.
    pub calibrated: Option<Reliability>,
    /// What came of it, in a sentence or two.
    pub sentence: String,
}

/// Confidence against what comes true.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// Fifteen bins of equal width; empty ones have no shares.
    pub bins: Vec<Bin>,
    /// The expected calibration error (Naeini et al. 2015): the mean distance of confidence and accuracy over bins,
    /// weighted by images, 0 to 1.
    pub expected_error: f64,
    /// The mean negative logarithm of the true class's probability; where images have several classes, the mean
    /// binary cross-entropy.
    pub log_loss: f64,
    /// The mean squared distance of probabilities and truth, summed over classes (Brier 1950), 0 to 2.
    pub brier: f64,
}

/// What is said with about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// The lowest confidence, not included but for 0.
    pub low: f64,
    /// The highest confidence.
    pub high: f64,
    /// How often something was said with it.
    pub count: usize,
    /// The mean confidence.
    pub confidence: Option<f64>,
    /// The share that came true.
    pub accuracy: Option<f64>,
}

/// The bins of a reliability diagram.
const BINS: usize = 15;
impl Interpretation {
    /// Whether the probabilities mean what they say, and whether a temperature makes them.
    pub fn calibration(&self) -> Calibration {
        let predictions = &self.predictions;
        let plain = reliability(predictions);
        let Some(temperature) = predictions.temperature() else {
            let sentence =
                "No temperature can be fitted, since everything that is said is right, or wrong.".to_owned();
            return Calibration { temperature: None, plain, calibrated: None, sentence };
        };
        let judged = reliability(&predictions.cross_tempered());
        let helps = judged.log_loss < plain.log_loss;
        let sentence = sentence(temperature, helps, &plain, &judged);
        let temperature = helps.then_some(temperature);
        Calibration { temperature, plain, calibrated: helps.then_some(judged), sentence }
    }
}

/// Each measure with its direction, so that nothing is praised that became worse.
fn sentence(temperature: f64, helps: bool, plain: &Reliability, judged: &Reliability) -> String {
    let measures = [
        ("log loss", plain.log_loss, judged.log_loss),
        ("expected error", plain.expected_error, judged.expected_error),
        ("Brier score", plain.brier, judged.brier),
    ];
    let told = measures.map(|(name, before, after)| {
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
        false => "No temperature is kept, since it does not lower the log loss of images that it was not fitted on."
            .to_owned(),
    };
    let [first, second, third] = told;
    format!(
        "{verdict} In cross-validation, with temperatures that were fitted on other images, {first}, {second}, and {third}."
    )
}

fn reliability(predictions: &Predictions) -> Reliability {
    let mut sums = vec![(0usize, 0.0, 0usize); BINS];
    let mut brier = 0.0;
    let mut said = 0;
    let images = predictions.len();
    for place in 0..images {
        let (row, truth) = (predictions.row(place), predictions.targets()[place].classes());
        for (class, &probability) in row.iter().enumerate() {
            let has = f64::from(u8::from(truth.contains(&class)));
            brier += (f64::from(probability) - has).powi(2);
        }
        // Where an image has one class, the answer is what counts; else each class is an answer.
        let answers = match predictions.task() {
            Task::SingleLabel => predictions.predicted_labels(place),
            Task::MultiLabel => (0..row.len()).collect(),
        };
        for class in answers {
            let confidence = f64::from(row[class]);
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            sums[bin].0 += 1;
            sums[bin].1 += confidence;
            sums[bin].2 += usize::from(truth.contains(&class));
            said += 1;
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
        expected_error: bins.iter().map(distance).sum::<f64>() / f64::from(said.max(1)),
        log_loss: predictions.loss(),
        brier: brier / images as f64,
        bins,
    }
}
