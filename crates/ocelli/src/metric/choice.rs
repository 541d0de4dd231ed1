//! A metric without what the choice of the best epoch has gained by chance.

use ocelli_data::{Draws, Purpose};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::metric::packed::Packed;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;

/// A metric of the best of several epochs, corrected for their having been compared on the same images: the
/// best of many is partly the luckiest.
///
/// The value is that of bootstrap bias correction (Tsamardinos, Greasidou and Borboudakis 2018): images are
/// drawn with replacement, the best epoch is chosen by the images drawn and measured on those that were not;
/// the value is the mean over 1,000 draws, always the same ones. It is never better than the uncorrected one.
/// The interval is that of [`Predictions::estimate`], moved by what the best epoch of each draw loses from the
/// images drawn to all images (Efron's bootstrap estimate of optimism), and widened where it would not contain
/// the value.
///
/// What was chosen by the same images otherwise, such as thresholds, or one of several runs, is not corrected
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CorrectedEstimate {
    /// The metric that chose the epoch.
    pub metric: Metric,
    /// The number of epochs that were compared.
    pub epochs: usize,
    /// The corrected value.
    pub value: f64,
    /// The lower and the upper end of the 95 % interval, which contains the value.
    pub interval: (f64, f64),
}

/// The epochs among which the best is chosen, with what each image contributes to the metric.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidates {
    epochs: Vec<Candidate>,
    /// Whether some epochs are not known image by image: then there is no correction.
    incomplete: bool,
}

/// An epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Candidate {
    fit: usize,
    epoch: usize,
    each: Packed,
}

/// Images times epochs up to which there is a correction, which takes a second or two for as many. With more
/// there are either so many images that it would be small, or thousands of epochs.
const MOST: usize = 2_000_000;
/// Resamples of the bootstrap.
const RESAMPLES: u64 = 1000;

impl Candidates {
    /// Takes an epoch into account; one that is not finite is never chosen.
    pub(crate) fn follow(&mut self, row: &EpochRecord, predictions: &Predictions, metric: Option<Metric>) {
        let Some(metric) = metric else { return };
        if self.incomplete || predictions.is_empty() || !row.is_finite() {
            return;
        }
        let too_many = predictions.len() * (self.epochs.len() + 1) > MOST;
        // The contributions to a custom metric take as many calls of it as there are images.
        let contributions = match metric {
            Metric::Custom(_) => None,
            _ if too_many => None,
            metric => predictions.monitored_contributions(metric),
        };
        let each = contributions.map(|each| Packed::new(predictions.items(), &each));
        let same_images = |each: &Packed| self.epochs.iter().all(|other| other.each.items == each.items);
        match each.filter(same_images) {
            Some(each) => self.epochs.push(Candidate { fit: row.fit, epoch: row.epoch, each }),
            None => self.forget(),
        }
    }

    /// Does without a correction: the epochs were not all compared on the same images.
    pub(crate) fn forget(&mut self) {
        *self = Self { epochs: Vec::new(), incomplete: true };
    }

    /// What each image contributes to the metric after an epoch, where that is known.
    pub(crate) fn contributions_of(&self, row: &EpochRecord) -> Option<&Packed> {
        self.position(row).map(|at| &self.epochs[at].each)
    }

    fn position(&self, row: &EpochRecord) -> Option<usize> {
        self.epochs.iter().rposition(|candidate| (candidate.fit, candidate.epoch) == (row.fit, row.epoch))
    }

    /// Whether all images are among so many items.
    pub(crate) fn is_among(&self, items: usize) -> bool {
        self.epochs.iter().all(|candidate| candidate.each.is_among(items))
    }

    /// The corrected metric of the best epoch, of which these are the predictions; `None` where there was no
    /// choice, or it is not known.
    pub(crate) fn corrected(
        &self,
        best: &EpochRecord,
        predictions: &Predictions,
        metric: Metric,
    ) -> Option<CorrectedEstimate> {
        let chosen = self.position(best)?;
        if self.epochs.len() < 2 || self.epochs[chosen].each.items() != predictions.items() {
            return None;
        }
        let contributions: Vec<&[f32]> =
            self.epochs.iter().map(|candidate| &candidate.each.values[..]).collect();
        let choice = Choice::of(&contributions, |value, other| metric.is_better(value, other))?;
        let plain = predictions.value(metric);
        let value = plain - (choice.of_all[chosen] - choice.of_others);
        let value = if metric.is_better(value, plain) { plain } else { value };
        let (low, high) = predictions.interval_moved(metric, -choice.optimism);
        let interval = (low.min(value), high.max(value));
        value.is_finite().then_some(CorrectedEstimate { metric, epochs: self.epochs.len(), value, interval })
    }
}

/// What is known of a choice by resampling.
#[derive(Debug, Clone, PartialEq)]
struct Choice {
    /// The mean of each candidate over all images.
    of_all: Vec<f64>,
    /// The mean of each draw's best candidate over the images that were not drawn.
    of_others: f64,
    /// The mean of each draw's best candidate over the images drawn, less that over all images.
    optimism: f64,
}

impl Choice {
    /// Of what each image contributes to each candidate.
    fn of(candidates: &[&[f32]], is_better: impl Fn(f64, f64) -> bool + Sync) -> Option<Self> {
        let images = candidates.first()?.len();
        let of_all: Vec<f64> = candidates
            .iter()
            .map(|each| each.iter().copied().map(f64::from).sum::<f64>() / images as f64)
            .collect();
        let draw = |resample: u64| {
            let mut draws = Draws::new(0, Purpose::Bootstrap, 1, resample);
            let mut times = vec![0u32; images];
            (0..images).for_each(|_| times[draws.below(images as u64) as usize] += 1);
            let others = times.iter().filter(|times| **times == 0).count();
            let drawn = |each: &[f32]| {
                let sum: f64 =
                    each.iter().zip(&times).map(|(value, times)| f64::from(*value) * f64::from(*times)).sum();
                sum / images as f64
            };
            let of_drawn: Vec<f64> = candidates.iter().map(|each| drawn(each)).collect();
            let better = |best, index| if is_better(of_drawn[index], of_drawn[best]) { index } else { best };
            let best = (1..candidates.len()).fold(0, better);
            let of_others: f64 = candidates[best]
                .iter()
                .zip(&times)
                .filter(|(_, times)| **times == 0)
                .map(|(value, _)| f64::from(*value))
                .sum();
            (others > 0).then(|| (of_others / others as f64, of_drawn[best] - of_all[best]))
        };
        let draws: Vec<(f64, f64)> = (0..RESAMPLES).into_par_iter().filter_map(draw).collect();
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| draws.iter().map(of).sum::<f64>() / draws.len() as f64;
        let (of_others, optimism) = (mean(&|draw| draw.0), mean(&|draw| draw.1));
        (!draws.is_empty()).then_some(Self { of_all, of_others, optimism })
    }
}

#[cfg(test)]
mod tests {
    use ocelli_data::{Target, Task};

    use super::*;
    use crate::metric::predictions::PredictionParts;
    use crate::schedule::learning_rates::LearningRates;

    /// Predictions of images of the first of two classes.
    fn predictions(right: &[bool]) -> Predictions {
        let probability = |right: &bool| if *right { [0.9, 0.1] } else { [0.1, 0.9] };
        Predictions::from_parts(PredictionParts {
            task: Task::SingleLabel,
            classes: 2,
            items: (0..right.len()).collect(),
            targets: vec![Target::Class(0); right.len()],
            probabilities: right.iter().flat_map(probability).collect(),
            losses: right.iter().map(|right| if *right { 0.1 } else { 2.3 }).collect(),
            thresholds: vec![0.5; 2],
        })
    }

    fn record(epoch: usize, predictions: &Predictions) -> EpochRecord {
        EpochRecord {
            fit: 1,
            epoch,
            train_loss: 1.0,
            valid_loss: Some(predictions.losses().iter().sum::<f64>() / predictions.len() as f64),
            accuracy: Some(predictions.value(Metric::Accuracy)),
            metrics: Vec::new(),
            learning_rates: LearningRates::from(0.1),
            seconds: 0.0,
            best: false,
        }
    }

    /// The best of these epochs, and the corrected accuracy.
    fn corrected(epochs: &[Predictions]) -> (usize, Option<CorrectedEstimate>) {
        let rows: Vec<EpochRecord> = (1..).zip(epochs).map(|(epoch, found)| record(epoch, found)).collect();
        let mut candidates = Candidates::default();
        for (row, found) in rows.iter().zip(epochs) {
            candidates.follow(row, found, Some(Metric::Accuracy));
        }
        let better = |best: usize, row: usize| {
            if rows[row].is_better(&rows[best], Metric::Accuracy) { row } else { best }
        };
        let best = (0..rows.len()).fold(0, better);
        (best, candidates.corrected(&rows[best], &epochs[best], Metric::Accuracy))
    }

    #[test]
    fn without_a_choice_there_is_nothing_to_correct() {
        let epoch = predictions(&[true, false, true, true]);
        assert_eq!(corrected(std::slice::from_ref(&epoch)).1, None);
        let alike = vec![epoch.clone(); 5];
        let (best, corrected) = corrected(&alike);
        let (plain, corrected) = (alike[best].estimate(Metric::Accuracy), corrected.unwrap());
        // Of the same images the same: what is left is the noise of 1,000 draws of four images.
        assert!((corrected.value - plain.value).abs() < 0.03, "{corrected:?}");
        assert!((corrected.interval.0 - plain.interval.0).abs() < 0.03, "{corrected:?} {plain:?}");
        assert_eq!(corrected.epochs, 5);
    }

    #[test]
    fn epochs_of_other_images_are_not_compared() {
        let rows = [predictions(&[true; 6]), predictions(&[true; 5])];
        assert_eq!(corrected(&rows).1, None);
        let mut candidates = Candidates::default();
        let text = serde_json::to_string(&candidates).unwrap();
        assert_eq!(serde_json::from_str::<Candidates>(&text).unwrap(), candidates);
        for row in [&rows[0], &rows[0]] {
            candidates.follow(&record(1, row), row, Some(Metric::Accuracy));
        }
        let text = serde_json::to_string(&candidates).unwrap();
        assert_eq!(serde_json::from_str::<Candidates>(&text).unwrap(), candidates);
        assert!(candidates.is_among(6) && !candidates.is_among(5));
        candidates.forget();
        candidates.follow(&record(1, &rows[0]), &rows[0], Some(Metric::Accuracy));
        assert_eq!(candidates.corrected(&record(1, &rows[0]), &rows[0], Metric::Accuracy), None);
    }

    /// How often the intervals of the best of some epochs contain its true accuracy, corrected and plain, and
    /// the mean errors of both values; over `draws` draws of the images.
    fn simulate(images: usize, epochs: usize, truth: f64, alike: f64, draws: u64) -> [f64; 4] {
        let drawn = |draw: u64| {
            let mut random = Draws::new(3, Purpose::Noise, draw, (images * 1000 + epochs) as u64);
            // With probability `alike` an image is as hard for all epochs, else for each on its own.
            let shared: Vec<Option<bool>> =
                (0..images).map(|_| (random.uniform() < alike).then(|| random.uniform() < truth)).collect();
            let epochs: Vec<Predictions> = (0..epochs)
                .map(|_| {
                    let right: Vec<bool> = shared
                        .iter()
                        .map(|shared| shared.unwrap_or_else(|| random.uniform() < truth))
                        .collect();
                    predictions(&right)
                })
                .collect();
            let (best, corrected) = corrected(&epochs);
            let (plain, corrected) = (epochs[best].estimate(Metric::Accuracy), corrected.unwrap());
            let holds = |(low, high): (f64, f64)| f64::from(u8::from(low <= truth && truth <= high));
            assert!(corrected.value <= plain.value, "{corrected:?} {plain:?}");
            assert!(corrected.interval.0 <= corrected.value && corrected.value <= corrected.interval.1);
            [holds(corrected.interval), holds(plain.interval), corrected.value - truth, plain.value - truth]
        };
        let all: Vec<[f64; 4]> = (0..draws).map(drawn).collect();
        std::array::from_fn(|index| all.iter().map(|each| each[index]).sum::<f64>() / draws as f64)
    }

    #[test]
    fn corrected_intervals_contain_the_truth_as_often_as_they_say() {
        // Labels without meaning: whatever is chosen, half of the images are right.
        let [covers, plain_covers, error, plain_error] = simulate(100, 10, 0.5, 0.0, 300);
        assert!((0.92..=0.985).contains(&covers), "{covers}");
        assert!(error.abs() < 0.01, "{error}");
        assert!(plain_covers < 0.9 && plain_error > 0.05, "{plain_covers} {plain_error}");
        let [covers, _, error, plain_error] = simulate(200, 8, 0.9, 0.8, 300);
        assert!((0.92..=0.985).contains(&covers), "{covers}");
        assert!(error.abs() < 0.005 && plain_error > 0.01, "{error} {plain_error}");
    }

    /// Prints the table of `benches/corrected.md`.
    #[test]
    #[ignore = "takes minutes"]
    fn coverage() {
        println!(
            "| images | epochs | truth | shared | corrected covers | plain covers | corrected error | plain error |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for images in [100, 500, 2000] {
            for epochs in [2, 10, 50] {
                for (truth, alike) in [(0.5, 0.0), (0.9, 0.0), (0.9, 0.8)] {
                    let [covers, plain, error, plain_error] = simulate(images, epochs, truth, alike, 500);
                    println!(
                        "| {images} | {epochs} | {truth} | {alike} | {covers:.3} | {plain:.3} | {error:+.4} | {plain_error:+.4} |"
                    );
                }
            }
        }
    }
}
