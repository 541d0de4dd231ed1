//! The model of a learner.

use std::path::Path;

use ocelli_nn::Backbone;

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::learner::save::{config, save_network};
use crate::model::Model;
use crate::model::config::read;
use crate::paths::model_of;
use crate::unknown::PREFIX;

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

    /// Takes the weights of a model of the same backbone and classes, given its file or the folder of its run. What is
    /// frozen, the data and the options do not change; an unfinished fit can no longer be resumed.
    ///
    /// # Errors
    /// As [`Model::load`]; [`Error::Setting`] where the backbone is another one, [`Error::ClassMismatch`] where the
    /// classes are others. The learner is then unchanged.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = &model_of(path.as_ref())?;
        let (config, tensors) = read(path)?;
        if config.arch != self.arch() {
            return Err(Error::setting("arch", config.arch, "the learner's backbone"));
        }
        if config.classes != self.data().classes() || config.task != self.data().task() {
            return Err(Error::ClassMismatch {
                what: path.display().to_string(),
                found: config.classes,
                expected: self.data().classes().to_vec(),
            });
        }
        let tensors = tensors.filtered(|name| !name.starts_with(PREFIX));
        self.state.network = self.state.network.clone().with_tensors(&tensors)?;
        self.set_freezing(self.state.freezing);
        self.inputs.forget_features();
        self.unfinished = None;
        Ok(())
    }
}
