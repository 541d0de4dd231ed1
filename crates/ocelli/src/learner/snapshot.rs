//! Where training stands between two steps, as one value that can be kept and returned to.

use ocelli_nn::{Backbone, TensorFile};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::learner::{Learner, LearnerView};
use crate::recipe::freezing::Freezing;
use crate::train::fit::Fit;

/// All that the rest of a training follows from, but for the photos and the settings of the learner.
///
/// Random draws are functions of the seed and of counters that are in here, so there is no random state.
#[derive(Debug, Clone)]
pub struct TrainSnapshot {
    /// What is no tensor.
    pub header: SnapshotHeader,
    /// The network's tensors under their names, and those of the fit under way under names that begin with `fit.`.
    pub tensors: TensorFile,
}

/// The part of a [`TrainSnapshot`] that is no tensor. A text form must keep every digit of its numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotHeader {
    freezing: Freezing,
    train_bn: bool,
    steps: u64,
    epochs: u64,
    fits: usize,
    /// The fit under way, if training stands within one.
    fit: Option<Fit>,
}

/// Tensors whose name begins so belong to the fit under way.
const FIT: &str = "fit.";

impl TrainSnapshot {
    /// Where the training of a learner stands.
    pub(crate) fn of<B: Backbone>(learner: &LearnerView<B>) -> Self {
        let LearnerView { state, fit, .. } = learner;
        let mut tensors = state.network.to_tensors();
        if let Some(fit) = fit {
            fit.write(&state.network, FIT, &mut tensors);
        }
        let header = SnapshotHeader {
            freezing: state.freezing,
            train_bn: learner.options.train_bn,
            steps: state.steps,
            epochs: state.epochs,
            fits: state.fits,
            fit: fit.cloned(),
        };
        Self { header, tensors }
    }
}

impl<B: Backbone> Learner<B> {
    /// Where training stands: after a fit, or in the middle of one that an error has ended, such as the wish to stop.
    pub fn snapshot(&self) -> TrainSnapshot {
        TrainSnapshot::of(&self.view())
    }

    /// Returns to a snapshot of a learner of the same photos, architecture and settings. If a fit was under way there,
    /// [`resume`](Self::resume) goes on with it.
    ///
    /// # Errors
    /// [`Error::Network`](crate::Error::Network) where the tensors are another network's; the learner then stays as
    /// it was.
    pub fn restore(&mut self, snapshot: TrainSnapshot) -> Result<()> {
        let TrainSnapshot { header, tensors } = snapshot;
        let SnapshotHeader { freezing, train_bn, steps, epochs, fits, fit } = header;
        let own = tensors.filtered(|name| !name.starts_with(FIT));
        let state = &mut self.state;
        state.network = state.network.clone().with_tensors(&own)?;
        state.set_freezing(freezing);
        (state.steps, state.epochs, state.fits) = (steps, epochs, fits);
        self.options.train_bn = train_bn;
        self.unfinished = fit;
        if let Some(fit) = &mut self.unfinished {
            fit.read(&self.state.network, FIT, &tensors);
        }
        Ok(())
    }
}
