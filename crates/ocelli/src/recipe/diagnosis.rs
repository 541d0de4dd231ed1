//! The diagnosis of a fit, in a sentence or two: the trend of the validation loss, and paired tests against
//! what was best before and against a baseline.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::metric::packed::Packed;
use crate::metric::paired::SIGNIFICANCE;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;

/// The diagnosis of a fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The fit, counted from 1.
    pub fit: usize,
    /// The trend of the validation loss; `None` for a fit of a single epoch.
    pub trend: Option<LossTrend>,
    /// Its best epoch compared with the best one of earlier fits.
    pub change: Option<MetricChange>,
    /// Its best epoch compared with predicting the same for every image.
    pub baseline: Option<Baseline>,
    /// The fit and the epoch of the best weights, from which training continues.
    pub best: Option<(usize, usize)>,
    /// Whether those are of this fit; `false` if an earlier fit was better.
    pub improved: bool,
}

/// The trend of the validation loss in a fit. The losses of two epochs count as different if a paired test on
/// the losses of the same images is significant at 5 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "kebab-case")]
pub enum LossTrend {
    /// It is lower than one epoch earlier.
    Falling,
    /// It differs neither from one epoch earlier nor from its lowest value, and has fallen before.
    Level,
    /// It has not changed significantly from any epoch to the next: it may be as low as it gets, or move too
    /// slowly.
    Still,
    /// It is higher than its lowest value: overfitting.
    Rising {
        /// The lowest loss.
        lowest: f64,
        /// The epoch of the lowest loss, counted from 1.
        epoch: usize,
        /// The last loss.
        last: f64,
    },
}

/// A metric before and after a fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricChange {
    /// The metric that chooses the best weights.
    pub metric: Metric,
    /// The best value before.
    pub before: f64,
    /// The best value of the fit.
    pub after: f64,
    /// The p-value of a paired test on the same images: McNemar's where each is right or wrong, else a
    /// bootstrap. `None` where the images differ.
    pub p_value: Option<f64>,
}

/// A metric compared with that of a constant prediction: the class frequencies of the training set for every
/// image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Baseline {
    /// The metric that chooses the best weights.
    pub metric: Metric,
    /// The metric of the constant prediction: for accuracy, the fraction of the most frequent class.
    pub value: f64,
    /// Whether the model is significantly better than that.
    pub beaten: bool,
}

/// What a diagnosis needs of a fit's epochs, image by image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// The trend of the loss so far.
    falls: Option<bool>,
    rises: Option<bool>,
    /// Whether it has fallen in any epoch.
    #[serde(default)]
    fell: bool,
    /// What each image contributes to the metric after the best epoch of the fit.
    best: Option<Watched>,
    /// The losses of the images after the epoch of the lowest loss, and after the last one.
    lowest: Option<Watched>,
    last: Option<Watched>,
}

/// An epoch, and one value for each image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Watched {
    row: EpochRecord,
    each: Packed,
}

impl Watch {
    /// Takes an epoch into account; one that is not finite is ignored.
    /// `contributions` are what each image contributes to the metric, where that is known already.
    pub(crate) fn follow(
        &mut self,
        row: &EpochRecord,
        predictions: &Predictions,
        metric: Option<Metric>,
        contributions: Option<&Packed>,
    ) {
        let (Some(loss), true) = (row.valid_loss, row.is_finite()) else { return };
        if let Some(metric) = metric
            && self.best.as_ref().is_none_or(|best| row.is_better(&best.row, metric))
        {
            let compute = || {
                let each = predictions.monitored_contributions(metric)?;
                Some(Packed::new(predictions.items(), &each))
            };
            let each = contributions.cloned().or_else(compute);
            self.best = each.map(|each| Watched { row: row.clone(), each });
        }
        let now = Watched { row: row.clone(), each: Packed::new(predictions.items(), predictions.losses()) };
        let of = |watched: &Watched| watched.row.valid_loss.unwrap_or(f64::NAN);
        let differs = |other: &Watched| now.each.p_value(&other.each).map(|p| p < SIGNIFICANCE);
        self.falls = self.last.as_ref().and_then(|last| Some(loss < of(last) && differs(last)?));
        self.fell |= self.falls == Some(true);
        self.rises = self.lowest.as_ref().and_then(|lowest| Some(loss > of(lowest) && differs(lowest)?));
        if self.lowest.as_ref().is_none_or(|lowest| loss < of(lowest)) {
            self.lowest = Some(now.clone());
        }
        self.last = Some(now);
    }

    /// What each image contributes to the metric after this epoch, if it is the best of those that were followed.
    pub(crate) fn scores_of(&self, row: &EpochRecord) -> Option<&Packed> {
        let best = self.best.as_ref()?;
        ((best.row.fit, best.row.epoch) == (row.fit, row.epoch)).then_some(&best.each)
    }

    /// The images that the best epoch was evaluated on: validation images that can be read.
    pub(crate) fn items(&self) -> Vec<usize> {
        self.best.as_ref().map(|best| best.each.items()).unwrap_or_default()
    }

    /// Whether all of its images are among so many items.
    pub(crate) fn is_among(&self, items: usize) -> bool {
        [&self.best, &self.lowest, &self.last].into_iter().flatten().all(|epoch| epoch.each.is_among(items))
    }

    fn trend(&self) -> Option<LossTrend> {
        let (lowest, last) = (&self.lowest.as_ref()?.row, &self.last.as_ref()?.row);
        match (self.falls?, self.rises?) {
            (_, true) => {
                let (lowest_loss, last_loss) = (lowest.valid_loss?, last.valid_loss?);
                Some(LossTrend::Rising { lowest: lowest_loss, epoch: lowest.epoch, last: last_loss })
            }
            (true, _) => Some(LossTrend::Falling),
            _ if self.fell => Some(LossTrend::Level),
            _ => Some(LossTrend::Still),
        }
    }
}

/// What the epochs of a fit are compared with.
pub(crate) struct Compared<'a> {
    /// The metric that chooses the best weights.
    pub(crate) metric: Option<Metric>,
    /// The best epoch before the fit, and what each image contributed to its metric.
    pub(crate) before: Option<(&'a EpochRecord, Option<&'a Packed>)>,
    /// The best of all epochs.
    pub(crate) best: Option<&'a EpochRecord>,
    /// The constant prediction for the images that the best epoch of the fit was evaluated on.
    pub(crate) baseline: Option<&'a Predictions>,
}

impl Diagnosis {
    /// Diagnoses the last fit of a history.
    pub(crate) fn of(rows: &[EpochRecord], watch: &Watch, compared: &Compared) -> Option<Self> {
        let last = rows.last()?;
        last.valid_loss?;
        let metric = compared.metric;
        let best_of_fit = metric.and_then(|metric| {
            rows.iter().reduce(|best, row| if row.is_better(best, metric) { row } else { best })
        });
        let value = |row: &EpochRecord| row.value(metric?).filter(|value| value.is_finite());
        let change = compared.before.and_then(|(before, scores)| {
            let (before, after) = (value(before)?, value(best_of_fit?)?);
            let p_value = scores.zip(watch.scores_of(best_of_fit?)).and_then(|(old, new)| old.p_value(new));
            Some(MetricChange { metric: metric?, before, after, p_value })
        });
        let baseline = compared.baseline.and_then(|baseline| {
            let (metric, after, scores) = (metric?, value(best_of_fit?)?, watch.scores_of(best_of_fit?)?);
            let value = baseline.monitored_value(metric);
            let contributions = baseline.monitored_contributions(metric)?;
            let p_value = Packed::new(baseline.items(), &contributions).p_value(scores)?;
            Some(Baseline { metric, value, beaten: metric.is_better(after, value) && p_value < SIGNIFICANCE })
        });
        let best = compared.best.map(|row| (row.fit, row.epoch));
        let improved = best.is_none_or(|(fit, _)| fit == last.fit);
        Some(Self { fit: last.fit, trend: watch.trend(), change, baseline, best, improved })
    }
}

impl fmt::Display for LossTrend {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Falling => {
                formatter.write_str("the validation loss is still falling: more epochs may help")
            }
            Self::Level => formatter.write_str("the validation loss has levelled off"),
            Self::Still => {
                formatter.write_str("the validation loss does not change significantly from epoch to epoch")
            }
            Self::Rising { lowest, epoch, last } => write!(
                formatter,
                "the validation loss has risen from {lowest:.4} in epoch {epoch} to {last:.4}: overfitting; \
                 try augmentation or fewer epochs"
            ),
        }
    }
}

impl fmt::Display for MetricChange {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { metric, before, after, p_value } = *self;
        write!(formatter, "{metric} {before:.4} → {after:.4}")?;
        let side = if metric.is_better(after, before) { "better" } else { "worse" };
        match p_value {
            _ if before == after => formatter.write_str(", the same"),
            None => Ok(()),
            Some(p) if p >= SIGNIFICANCE => write!(formatter, ", which may be chance ({})", probability(p)),
            Some(p) => write!(formatter, ", {side} ({})", probability(p)),
        }
    }
}

/// `p = 0.0312`
fn probability(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let mut lines = Vec::new();
        let first: Vec<String> =
            [self.trend.map(|part| part.to_string()), self.change.map(|part| part.to_string())]
                .into_iter()
                .flatten()
                .collect();
        if !first.is_empty() {
            lines.push(first.join("; "));
        }
        if let Some(Baseline { metric, value, beaten: false }) = self.baseline {
            let same = match metric {
                Metric::Accuracy | Metric::ErrorRate => "always predicting the most frequent class",
                _ => "a constant prediction",
            };
            lines.push(format!("not significantly better than {same}: {metric} {value:.4}"));
        }
        match self.best {
            Some((fit, epoch)) if !self.improved => {
                lines.push(format!("no improvement: restored the weights of phase {fit}, epoch {epoch}"));
            }
            Some((_, epoch)) => lines.push(format!("best weights: epoch {epoch}")),
            None => {}
        }
        formatter.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use ocelli_data::{Draws, Purpose, Target, Task};

    use super::*;

    fn row(fit: usize, epoch: usize, valid_loss: f64, accuracy: f64) -> EpochRecord {
        EpochRecord {
            fit,
            epoch,
            train_loss: 0.1,
            valid_loss: Some(valid_loss),
            accuracy: Some(accuracy),
            metrics: Vec::new(),
            learning_rates: 1e-2.into(),
            seconds: 1.0,
            best: false,
        }
    }

    /// Predictions of 200 images of two classes, of which the first `right` are right; their mean loss is
    /// about `loss`. It varies from image to image in the same way in every epoch, and a little from epoch to
    /// epoch.
    fn predictions(epoch: u64, right: usize, loss: f64) -> Predictions {
        let mut made = Predictions::new(Task::SingleLabel, 2);
        for image in 0..200 {
            let own = Draws::new(7, Purpose::Dropout, 0, image as u64).normal();
            let now = Draws::new(7, Purpose::Dropout, 1 + epoch, image as u64).normal();
            let probability = if image < right { 0.8 } else { 0.2 };
            let loss = loss + 0.3 * own + 0.05 * now;
            made.push_row(image, Target::Class(0), &[probability, 1.0 - probability], loss);
        }
        made
    }

    fn read(losses: &[f64]) -> Option<LossTrend> {
        let mut watch = Watch::default();
        let mut rows = Vec::new();
        for (epoch, &loss) in losses.iter().enumerate() {
            let predictions = predictions(epoch as u64, 150, loss);
            rows.push(row(1, epoch + 1, predictions.loss(), 0.75));
            watch.follow(&rows[epoch], &predictions, Some(Metric::Accuracy), None);
            // What a checkpoint keeps of it is all of it.
            watch = toml::from_str(&toml::to_string(&watch).unwrap()).unwrap();
        }
        let compared = Compared { metric: Some(Metric::Accuracy), before: None, best: None, baseline: None };
        Diagnosis::of(&rows, &watch, &compared).unwrap().trend
    }

    #[test]
    fn the_trend_of_the_loss_is_what_counts() {
        // Far above the training loss of 0.1, and still falling.
        assert_eq!(read(&[1.4, 0.9, 0.7, 0.6, 0.55]), Some(LossTrend::Falling));
        // It goes up and down by less than what the losses of images vary between epochs.
        assert_eq!(read(&[0.9, 0.6, 0.512, 0.513, 0.512]), Some(LossTrend::Level));
        // Three thousandths an epoch: nothing shows that this is the end of the fall.
        assert_eq!(read(&[0.7, 0.697, 0.694, 0.691]), Some(LossTrend::Still));
        assert!(matches!(
            read(&[0.9, 0.5, 0.45, 0.52, 0.6]),
            Some(LossTrend::Rising { epoch: 3, lowest, last }) if (lowest - 0.45).abs() < 0.1 && last > lowest
        ));
        // Rising counts where it is above its lowest, although it falls again.
        assert!(matches!(read(&[0.9, 0.4, 0.8, 0.6]), Some(LossTrend::Rising { epoch: 2, .. })));
        assert_eq!(read(&[0.7]), None, "one epoch has no trend");
    }

    #[test]
    fn epochs_that_are_not_finite_say_nothing() {
        let mut watch = Watch::default();
        let mut lost = predictions(0, 150, 0.5).into_parts();
        lost.probabilities[0] = f32::NAN;
        let lost = Predictions::from_parts(lost);
        let metric = Some(Metric::Accuracy);
        watch.follow(&row(1, 1, f64::NAN, f64::NAN), &lost, metric, None);
        assert_eq!(watch, Watch::default());
        watch.follow(&row(1, 2, 0.5, 0.75), &predictions(1, 150, 0.5), metric, None);
        watch.follow(&row(1, 3, f64::NAN, f64::NAN), &lost, metric, None);
        assert_eq!(watch.last.unwrap().row.epoch, 2);
    }

    #[test]
    fn a_change_is_tested_in_pairs_and_a_baseline_is_named() {
        let metric = Metric::Accuracy;
        let watch_of = |right: usize| {
            let mut watch = Watch::default();
            let epoch = predictions(0, right, 0.5);
            watch.follow(&row(2, 1, 0.5, right as f64 / 200.0), &epoch, Some(metric), None);
            watch
        };
        let read = |right: usize, before: usize| {
            let old = row(1, 2, 0.5, before as f64 / 200.0);
            let watch = watch_of(before);
            let scores = watch.best.map(|best| best.each);
            let now = row(2, 1, 0.5, right as f64 / 200.0);
            let mut baseline = predictions(0, 120, 0.7).into_parts();
            baseline.losses.fill(0.7);
            let baseline = Predictions::from_parts(baseline);
            let best = if right > before { now.clone() } else { old.clone() };
            let compared = Compared {
                metric: Some(metric),
                before: Some((&old, scores.as_ref())),
                best: Some(&best),
                baseline: Some(&baseline),
            };
            Diagnosis::of(&[now], &watch_of(right), &compared).unwrap()
        };
        // Intervals of 150 and 162 of 200 overlap, and yet twelve photos more and none less are no chance.
        let better = read(162, 150);
        // scipy.stats.binomtest(0, 12).pvalue
        assert!((better.change.unwrap().p_value.unwrap() - 0.00048828125).abs() < 1e-9);
        let text = better.to_string();
        assert!(text.contains("accuracy 0.7500 → 0.8100, better (p = 0.0005)"), "{text}");
        assert!(text.contains("best weights: epoch 1") && !text.contains("most frequent"), "{text}");
        let chance = read(152, 150).to_string();
        assert!(chance.contains("which may be chance (p = 0.5000)"), "{chance}");
        let worse = read(123, 150).to_string();
        assert!(worse.contains("worse (p < 0.0001)"), "{worse}");
        assert!(worse.contains("no improvement: restored the weights of phase 1, epoch 2"), "{worse}");
        assert!(
            worse.contains("not significantly better than always predicting the most frequent class"),
            "{worse}"
        );
        assert!(worse.contains("accuracy 0.6000"), "{worse}");
    }
    #[test]
    fn epochs_on_other_images_are_not_paired() {
        let one = Packed::new(&[3, 5], &[0.0, 1.0]);
        assert_eq!(one.p_value(&Packed::new(&[3, 5], &[1.0, 1.0])), Some(1.0));
        assert_eq!(one.p_value(&Packed::new(&[3, 6], &[1.0, 1.0])), None);
        assert_eq!(Packed::try_from(String::from(one.clone())).unwrap(), one);
        assert!(Packed::try_from("AAAAAAAAAAAAAAAA".to_owned()).is_err(), "three words");
        assert!(one.is_among(6) && !one.is_among(5));

        // The best epoch of the fit was before the photos changed; what is known is of one after that.
        let metric = Metric::Accuracy;
        let mut watch = Watch::default();
        watch.follow(&row(1, 2, 0.6, 0.7), &predictions(0, 140, 0.6), Some(metric), None);
        let baseline = predictions(0, 120, 0.7);
        let of = |rows: &[EpochRecord]| {
            let baseline = Some(&baseline);
            let compared = Compared { metric: Some(metric), before: None, best: None, baseline };
            Diagnosis::of(rows, &watch, &compared).unwrap().baseline
        };
        assert!(of(&[row(1, 2, 0.6, 0.7)]).is_some());
        assert_eq!(of(&[row(1, 1, 0.5, 0.75), row(1, 2, 0.6, 0.7)]), None);
    }
}
