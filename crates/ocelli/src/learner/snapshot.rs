//! Snapshots of training between two steps, as one value that can be saved and restored.

use ocelli_nn::{Backbone, HeadForm, Network, TensorFile};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::learner::{Learner, LearnerView};
use crate::recipe::freezing::Freezing;
use crate::train::fit::Fit;

/// Everything that the rest of a training depends on, except the images and the settings of the learner.
///
/// Random draws are functions of the seed and of counters that are included, so there is no random state.
#[derive(Debug, Clone)]
pub struct TrainSnapshot {
    /// Everything but tensors.
    pub header: SnapshotHeader,
    /// The network's tensors under their names, and those of the current fit under names with the prefix
    /// `fit.`.
    pub tensors: TensorFile,
}

/// The part of a [`TrainSnapshot`] that is not tensors. A text format must preserve every digit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The form of the head; `None` for a custom one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<HeadForm>,
    freezing: Freezing,
    train_bn: bool,
    steps: u64,
    epochs: u64,
    fits: usize,
    /// The current fit, if training is within one.
    fit: Option<Fit>,
}

impl SnapshotHeader {
    /// Checks what has been read from a file.
    pub(crate) fn check(&self) -> Result<()> {
        self.freezing.check()?;
        self.fit.as_ref().map_or(Ok(()), Fit::check)
    }
}

/// The prefix of the current fit's tensors.
const FIT: &str = "fit.";

impl TrainSnapshot {
    /// A snapshot of a learner.
    pub(crate) fn of<B: Backbone>(learner: &LearnerView<B>) -> Self {
        let LearnerView { state, fit, .. } = learner;
        let mut tensors = state.network.to_tensors();
        if let Some(fit) = fit {
            fit.write(&state.network, FIT, &mut tensors);
        }
        let header = SnapshotHeader {
            head: state.network.head_form(),
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
    /// A snapshot: after a fit, or within one that an error has ended, such as a request to stop. Of several processes that
    /// train together, process 0 has the whole state.
    ///
    /// # Errors
    /// [`Error::StateInParts`](crate::Error::StateInParts) where a process was lost, which had a part of the optimizer's state.
    pub fn snapshot(&self) -> Result<TrainSnapshot> {
        match self.unfinished.as_ref().is_none_or(Fit::is_whole) {
            true => Ok(TrainSnapshot::of(&self.view())),
            false => Err(Error::StateInParts),
        }
    }

    /// The network with a head of this form, whose values are to be replaced.
    pub(crate) fn with_form(&self, form: Option<&HeadForm>) -> Result<Network<B>> {
        let network = self.state.network.clone();
        let (Some(form), own) = (form, network.head_form()) else { return Ok(network) };
        if own.as_ref() == Some(form) {
            return Ok(network);
        }
        network.check_depths(&form.depths)?;
        let features = network.feature_widths(&form.depths, self.data().size()).iter().sum();
        network.with_head_form(form, features, self.state.seed).ok_or(Error::CustomHead)
    }

    /// Restores a snapshot of a learner with the same images, architecture and settings. A fit that it is
    /// within can be continued with [`resume`](Self::resume).
    ///
    /// # Errors
    /// [`Error::Network`](crate::Error::Network) where the tensors are another network's,
    /// [`Error::Setting`](crate::Error::Setting) where the header has a value that no training has; the learner
    /// is then unchanged.
    pub fn restore(&mut self, snapshot: TrainSnapshot) -> Result<()> {
        let TrainSnapshot { header, tensors } = snapshot;
        header.check()?;
        let SnapshotHeader { head, freezing, train_bn, steps, epochs, fits, mut fit } = header;
        let own = tensors.filtered(|name| !name.starts_with(FIT));
        let network = self.with_form(head.as_ref())?.with_tensors(&own)?;
        if let Some(fit) = &mut fit {
            fit.read(&network, FIT, &tensors)?;
        }
        let state = &mut self.state;
        state.network = network;
        state.set_freezing(freezing);
        (state.steps, state.epochs, state.fits) = (steps, epochs, fits);
        self.options.train_bn = train_bn;
        self.unfinished = fit;
        Ok(())
    }
}
