//! The model of a learner.

use std::path::Path;

use ocelli_nn::Backbone;

use crate::error::Result;
use crate::learner::Learner;
use crate::learner::save::{config, save_network};
use crate::model::Model;

impl<B: Backbone> Learner<B> {
    /// The current model; further training does not change it.
    pub fn to_model(&self) -> Model<B> {
        let network = self.state.network.copy();
        Model::new(config(&network, &self.inputs, self.data().size()), network)
    }

    /// Writes the model to a file, with everything that is needed to use it.
    ///
    /// # Errors
    /// Where the file cannot be written; an existing file is then unchanged.
    /// [`Error::NotFiniteTensor`](crate::Error::NotFiniteTensor) where a weight is NaN or infinite.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save_network(path.as_ref(), &self.state.network, &self.inputs, self.data().size()).map(drop)
    }
}
