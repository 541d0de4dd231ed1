//! The model of a learner.

use std::path::Path;

use ocelli_nn::Backbone;

use crate::error::Result;
use crate::learner::Learner;
use crate::learner::save::{contract, save_network};
use crate::model::Model;

impl<B: Backbone> Learner<B> {
    /// The model as it is now; training goes on without an effect on it.
    pub fn to_model(&self) -> Model<B> {
        let network = self.state.network.copy();
        Model::new(contract(&network, &self.inputs, self.data().size()), network)
    }

    /// Writes the model to a file, with all that is needed to use it.
    ///
    /// # Errors
    /// Where the file cannot be written; what was there before then stays.
    /// [`Error::NotFiniteTensor`](crate::Error::NotFiniteTensor) where a weight is NaN or infinite.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save_network(path.as_ref(), &self.state.network, &self.inputs, self.data().size()).map(drop)
    }
}
