//! Where training stands between two steps, as one value that can be kept and returned to.

use ocelli_nn::{Backbone, Statistics, TensorFile};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::EpochRow;
use crate::learner::Learner;
use crate::recipe::freezing::Freezing;
use crate::train::fit::Fit;

/// All that the rest of a training follows from, but for the photos and the settings of the learner.
///
/// Random draws are functions of the seed and of counters that are in here, so there is no random state.
#[derive(Debug, Clone)]
pub struct Position {
    /// What is no tensor.
    pub numbers: Numbers,
    /// The network's tensors under their names, and those of the fit under way under names that begin with `fit.`.
    pub tensors: TensorFile,
}

/// The part of a [`Position`] that is no tensor. A text form must keep every digit of its numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Numbers {
    pub(crate) freezing: Freezing,
    /// Whether the backbone's norms keep their statistics.
    pub(crate) bn_frozen: bool,
    pub(crate) steps: u64,
    pub(crate) epochs: u64,
    pub(crate) fits: usize,
    /// The fit under way, if training stands within one.
    pub(crate) fit: Option<Fit>,
}

/// Tensors whose name begins so belong to the fit under way.
const FIT: &str = "fit.";

impl<B: Backbone> Learner<B> {
    /// Where training stands: after a fit, or in the middle of one that an error has ended, such as the wish to stop.
    pub fn position(&self) -> Position {
        self.position_in(self.unfinished.as_ref())
    }

    /// Where training stands, this fit being under way.
    pub(crate) fn position_in(&self, fit: Option<&Fit>) -> Position {
        let mut tensors = self.network.to_tensors();
        if let Some(fit) = fit {
            fit.write(&self.network, FIT, &mut tensors);
        }
        let Self { freezing, steps, epochs, fits, .. } = *self;
        let bn_frozen = self.statistics == Statistics::Running;
        Position { numbers: Numbers { freezing, bn_frozen, steps, epochs, fits, fit: fit.cloned() }, tensors }
    }

    /// Returns to a position of a learner of the same photos, architecture and settings. If a fit was under way there,
    /// [`resume`](Self::resume) goes on with it.
    ///
    /// # Errors
    /// [`Error::Network`](crate::Error::Network) where the tensors are another network's; the learner then stays as
    /// it was.
    pub fn return_to(&mut self, position: Position) -> Result<()> {
        let Position { numbers, tensors } = position;
        let own = tensors.filtered(|name| !name.starts_with(FIT));
        self.network = self.network.clone().with_tensors(&own)?;
        self.set_freezing(numbers.freezing);
        self.bn_freeze(numbers.bn_frozen);
        self.steps = numbers.steps;
        self.epochs = numbers.epochs;
        self.fits = numbers.fits;
        self.unfinished = numbers.fit;
        if let Some(fit) = &mut self.unfinished {
            fit.read(&self.network, FIT, &tensors);
        }
        Ok(())
    }

    /// Goes on with a fit that an error has ended, from the step where it did, and gives the rows of the epochs
    /// that end meanwhile; nothing where none is unfinished. What comes of it is what would have come without
    /// the interruption, to the bit.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn resume(&mut self) -> Result<Vec<EpochRow>> {
        match self.unfinished.take() {
            Some(fit) => self.finish(fit),
            None => Ok(Vec::new()),
        }
    }
}
