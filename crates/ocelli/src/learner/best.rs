//! The best weights so far.

use std::collections::BTreeMap;

use ocelli_nn::{Backbone, Network};

use crate::metric::Metric;
use crate::metric::record::EpochRecord;
use crate::recipe::freezing::Freezing;
use crate::train::fit::MeasuredEpoch;

/// A network after an epoch.
#[derive(Debug, Clone)]
pub(crate) struct Best<B: Backbone> {
    pub(crate) network: Network<B>,
    pub(crate) freezing: Freezing,
    pub(crate) record: EpochRecord,
}

/// The best weights for each image size, and the metric that chooses them.
#[derive(Debug, Clone)]
pub(crate) struct BestWeights<B: Backbone> {
    /// The metric; without it no weights are saved.
    pub(crate) metric: Option<Metric>,
    pub(crate) by_size: BTreeMap<usize, Best<B>>,
    /// A fit ends after this many epochs without improvement.
    pub(crate) patience: Option<usize>,
}

impl<B: Backbone> Default for BestWeights<B> {
    fn default() -> Self {
        Self { metric: None, by_size: BTreeMap::new(), patience: None }
    }
}

impl<B: Backbone> BestWeights<B> {
    /// The best epoch so far at any size, and the size in pixels.
    pub(super) fn of_all(&self) -> Option<(&Best<B>, usize)> {
        let metric = self.metric?;
        let all = self.by_size.iter().map(|(&size, best)| (best, size));
        all.reduce(|best, other| if other.0.record.is_better(&best.0.record, metric) { other } else { best })
    }

    /// Saves the network of an epoch if it is the best, and marks its record.
    pub(crate) fn consider(&mut self, epoch: &mut MeasuredEpoch<B>) {
        let (Some(metric), record) = (self.metric, &mut epoch.record) else { return };
        let better = self.by_size.get(&epoch.size).is_none_or(|best| record.is_better(&best.record, metric));
        record.best = better && record.valid_loss.is_some() && record.is_finite();
        if record.best {
            let (network, record) = (epoch.network.copy(), record.clone());
            self.by_size.insert(epoch.size, Best { network, freezing: epoch.freezing, record });
        }
    }

    /// Whether the last fit of a history has run out of patience.
    pub(crate) fn is_out_of_patience(&self, history: &[EpochRecord]) -> bool {
        let (Some(patience), Some(metric), Some(last)) = (self.patience, self.metric, history.last()) else {
            return false;
        };
        let of_fit: Vec<&EpochRecord> = history.iter().filter(|record| record.fit == last.fit).collect();
        let best = (0..of_fit.len())
            .fold(0, |best, epoch| if of_fit[epoch].is_better(of_fit[best], metric) { epoch } else { best });
        of_fit.len() > best + patience
    }
}
