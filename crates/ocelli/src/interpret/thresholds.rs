//! Precision and recall over the threshold, for multi-label data.

use serde::Serialize;

use super::Interpretation;

/// Precision and recall over the threshold, for one class or for all labels together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThresholdCurve {
    /// The class; `None`: all labels of all images together.
    pub class: Option<String>,
    /// Ascending by threshold.
    pub points: Vec<ThresholdPoint>,
    /// The threshold of the highest F1 score among the points.
    pub best_f1: f64,
    /// The threshold of the highest F2 score among the points.
    pub best_f2: f64,
}

/// The metrics at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ThresholdPoint {
    /// The threshold.
    pub threshold: f64,
    /// The precision, 0 to 1; 1 where nothing is predicted.
    pub precision: f64,
    /// The recall, 0 to 1; 1 where nothing is labelled.
    pub recall: f64,
    /// The F1 score.
    pub f1: f64,
    /// The F2 score.
    pub f2: f64,
}

/// The thresholds: multiples of 1/50 between 0 and 1.
const STEPS: usize = 50;

impl Interpretation {
    /// The curve of all labels together, then that of every class.
    pub fn threshold_curves(&self) -> Vec<ThresholdCurve> {
        let one = |class: usize| curve(Some(self.classes[class].clone()), &self.answers([class]));
        let all = curve(None, &self.answers(0..self.classes.len()));
        std::iter::once(all).chain((0..self.classes.len()).map(one)).collect()
    }

    /// The probability of each of some classes in each image, and whether the image has it.
    fn answers(&self, classes: impl IntoIterator<Item = usize> + Clone) -> Vec<(f32, bool)> {
        let of = |index: usize| {
            let (row, truth) = (self.predictions.row(index), self.truth(index));
            classes.clone().into_iter().map(move |class| (row[class], truth.contains(&class)))
        };
        (0..self.len()).flat_map(of).collect()
    }
}

fn curve(class: Option<String>, answers: &[(f32, bool)]) -> ThresholdCurve {
    let positives = answers.iter().filter(|answer| answer.1).count();
    let thresholds: Vec<f64> = (1..STEPS).map(|step| step as f64 / STEPS as f64).collect();
    // How many predictions, and how many right ones, are between a threshold and the next.
    let mut reached = vec![(0usize, 0usize); STEPS];
    for &(probability, has) in answers {
        let (right, predicted) =
            &mut reached[thresholds.partition_point(|&threshold| threshold <= f64::from(probability))];
        *right += usize::from(has);
        *predicted += 1;
    }
    for index in (0..STEPS - 1).rev() {
        reached[index] = (reached[index].0 + reached[index + 1].0, reached[index].1 + reached[index + 1].1);
    }
    let points: Vec<ThresholdPoint> = thresholds
        .iter()
        .zip(&reached[1..])
        .map(|(&threshold, &(right, predicted))| {
            let fraction = |count: usize, of: usize| if of == 0 { 1.0 } else { count as f64 / of as f64 };
            // F-beta of counts: (1 + β²) right / (β² positives + predicted).
            let score = |square: f64| {
                let of = square * positives as f64 + predicted as f64;
                if of == 0.0 { 1.0 } else { (1.0 + square) * right as f64 / of }
            };
            ThresholdPoint {
                threshold,
                precision: fraction(right, predicted),
                recall: fraction(right, positives),
                f1: score(1.0),
                f2: score(4.0),
            }
        })
        .collect();
    let best = |score: fn(&ThresholdPoint) -> f64| {
        let better = |best: &ThresholdPoint, point: &ThresholdPoint| score(point) > score(best);
        points
            .iter()
            .fold(points[0], |best, point| if better(&best, point) { *point } else { best })
            .threshold
    };
    let (best_f1, best_f2) = (best(|point| point.f1), best(|point| point.f2));
    ThresholdCurve { class, points, best_f1, best_f2 }
}
