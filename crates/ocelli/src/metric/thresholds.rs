//! From which probability on an image has a class: thresholds fitted to predictions, and metrics at them.

use std::borrow::Cow;

use ocelli_data::Task;

use crate::metric::Metric;
use crate::metric::paired::{SIGNIFICANCE, paired_p_value};
use crate::metric::predictions::{Predictions, THRESHOLD};
use crate::metric::score::{Counts, Ranking, rankings};

impl Predictions {
    /// The one threshold for all classes at which the metric is best, of 0.01, 0.02 … 0.99; of equally good ones the
    /// middle one. Tuned on these images, so the metric at it is optimistic on them.
    pub fn best_threshold(&self, metric: Metric) -> f32 {
        let candidates: Vec<f32> = (1..100u8).map(|hundredth| f32::from(hundredth) / 100.0).collect();
        let mut with = self.clone();
        let values: Vec<f64> = candidates
            .iter()
            .map(|&threshold| {
                with.thresholds = vec![threshold; self.classes];
                with.value(metric)
            })
            .collect();
        let best = values
            .iter()
            .fold(f64::NAN, |best, &value| if metric.is_better(value, best) { value } else { best });
        let equal: Vec<f32> =
            candidates.into_iter().zip(values).filter(|(_, value)| *value == best).map(|(t, _)| t).collect();
        equal.get(equal.len() / 2).copied().unwrap_or(THRESHOLD)
    }

    /// The value of a metric by which training is watched: F of several labels an image at its
    /// [best threshold](Self::best_threshold), since at a fixed one it says more of how sure a network is than of how
    /// right; every other metric as it is.
    pub fn value_watched(&self, metric: Metric) -> f64 {
        self.tuned(metric).value(metric)
    }

    /// The [contributions](Self::contributions) to what [`value_watched`](Self::value_watched) gives.
    pub(crate) fn watched_contributions(&self, metric: Metric) -> Option<Vec<f64>> {
        self.tuned(metric).contributions(metric)
    }

    /// Whether these predictions are better than others of the same images by more than chance, at 5 %: by McNemar's exact
    /// test where the metric is a share of the images, else by a bootstrap of the images in pairs.
    pub fn is_shown_better(&self, other: &Self, metric: Metric) -> bool {
        let contributions = (self.watched_contributions(metric), other.watched_contributions(metric));
        let (Some(one), Some(two)) = contributions else { return false };
        let better = metric.is_better(self.value_watched(metric), other.value_watched(metric));
        better && paired_p_value(&one, &two).is_some_and(|p| p < SIGNIFICANCE)
    }

    fn tuned(&self, metric: Metric) -> Cow<'_, Self> {
        if !matches!((self.task, metric), (Task::MultiLabel, Metric::F(..))) {
            return Cow::Borrowed(self);
        }
        let mut tuned = self.clone();
        tuned.thresholds = vec![self.best_threshold(metric); self.classes];
        Cow::Owned(tuned)
    }

    /// For each class the threshold at which its own F-beta is highest, half-way between the probabilities of the
    /// last image that is said to have it and the next; a class that no image has gets the usual threshold. Tuned
    /// on these images, so what is measured with them here is optimistic.
    pub fn best_thresholds(&self, beta: f64) -> Vec<f32> {
        if !self.is_finite() {
            return vec![THRESHOLD; self.classes];
        }
        let threshold = |(class, ranking): (usize, Ranking)| {
            let support = ranking.ties.iter().flatten().filter(|(_, has)| *has).count();
            if support == 0 {
                return THRESHOLD;
            }
            let (mut counts, mut best) = (Counts { missed: support, ..Counts::default() }, (0.0, 1.0));
            let probability = |tie: &[(usize, bool)]| self.row(tie[0].0)[class];
            for (place, tie) in ranking.ties.iter().enumerate().rev() {
                let having = tie.iter().filter(|(_, has)| *has).count();
                counts.right += having;
                counts.missed -= having;
                counts.wrong += tie.len() - having;
                let below = if place == 0 { 0.0 } else { probability(&ranking.ties[place - 1]) };
                if counts.f(beta) > best.0 {
                    // What is half-way may round to the lower one, which must stay below.
                    let middle = (probability(tie) + below) / 2.0;
                    best = (counts.f(beta), if middle > below { middle } else { probability(tie) });
                }
            }
            best.1
        };
        rankings(self).into_iter().enumerate().map(threshold).collect()
    }
}
