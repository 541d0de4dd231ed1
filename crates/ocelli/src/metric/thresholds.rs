//! Tuned thresholds for multi-label predictions, and metrics at them.

use std::borrow::Cow;

use ocelli_data::Task;

use crate::metric::Metric;
use crate::metric::paired::{SIGNIFICANCE, paired_p_value};
use crate::metric::predictions::{Predictions, THRESHOLD};
use crate::metric::score::{Counts, Ranking, rankings};

impl Predictions {
    /// The single threshold for all classes at which the metric is best, of 0.01, 0.02 … 0.99; of equally
    /// good ones the middle one. It is tuned on these images, so the metric at it is optimistic on them.
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

    /// The value of a metric as it is monitored in training: F with several labels per image at its
    /// [best threshold](Self::best_threshold), since at a fixed one it depends more on how confident a
    /// network is than on how right; every other metric unchanged.
    pub fn monitored_value(&self, metric: Metric) -> f64 {
        self.monitored(metric).value(metric)
    }

    /// The [contributions](Self::contributions) to [`monitored_value`](Self::monitored_value).
    pub(crate) fn monitored_contributions(&self, metric: Metric) -> Option<Vec<f64>> {
        self.monitored(metric).contributions(metric)
    }

    /// Whether these predictions are significantly better than others of the same images, at 5 %: by
    /// McNemar's exact test where the metric is a proportion of the images, else by a paired bootstrap. Each
    /// is judged at its own thresholds, as its [value](Self::value) is.
    pub fn is_significantly_better(&self, other: &Self, metric: Metric) -> bool {
        let contributions = (self.contributions(metric), other.contributions(metric));
        let (Some(one), Some(two)) = contributions else { return false };
        let better = metric.is_better(self.value(metric), other.value(metric));
        better && paired_p_value(&one, &two).is_some_and(|p| p < SIGNIFICANCE)
    }

    /// These predictions with the threshold at which the metric is [monitored](Self::monitored_value).
    pub fn monitored(&self, metric: Metric) -> Cow<'_, Self> {
        if !matches!((self.task, metric), (Task::MultiLabel, Metric::F(..))) {
            return Cow::Borrowed(self);
        }
        let mut tuned = self.clone();
        tuned.thresholds = vec![self.best_threshold(metric); self.classes];
        Cow::Owned(tuned)
    }

    /// For each class the threshold at which its own F-beta is highest, half-way between the probabilities of
    /// the last image that reaches it and the next; a class without images gets the default threshold. They
    /// are tuned on these images, so metrics at them are optimistic here.
    pub fn best_thresholds(&self, beta: f64) -> Vec<f32> {
        if !self.is_finite() {
            return vec![THRESHOLD; self.classes];
        }
        let threshold = |(class, ranking): (usize, Ranking)| {
            let (support, _) = ranking.sides();
            if support == 0 {
                return THRESHOLD;
            }
            let (mut counts, mut best) = (Counts { missed: support, ..Counts::default() }, (0.0, 1.0));
            let probability = |tie: &[(u32, bool)]| self.row(tie[0].0 as usize)[class];
            let ties: Vec<&[(u32, bool)]> = ranking.ties().collect();
            for (index, tie) in ties.iter().enumerate().rev() {
                let having = tie.iter().filter(|(_, has)| *has).count();
                counts.right += having;
                counts.missed -= having;
                counts.wrong += tie.len() - having;
                let below = if index == 0 { 0.0 } else { probability(ties[index - 1]) };
                if counts.f(beta) > best.0 {
                    // The midpoint may round to the lower one, which must stay below.
                    let middle = (probability(tie) + below) / 2.0;
                    best = (counts.f(beta), if middle > below { middle } else { probability(tie) });
                }
            }
            best.1
        };
        rankings(self).into_iter().enumerate().map(threshold).collect()
    }
}
