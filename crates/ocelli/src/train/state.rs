//! The training state: everything that training changes, as one value.

use burn::tensor::Tensor;
use ocelli_data::{Draws, Purpose};
use ocelli_nn::{Backbone, GROUPS, Network, Pass, StageOutput, Statistics};

use crate::recipe::freezing::Freezing;

/// Everything that the next training step depends on, besides its batch and the options. Random draws are
/// functions of the seed and the counters, so there is no random state.
#[derive(Debug)]
pub(crate) struct TrainState<B: Backbone> {
    pub(crate) network: Network<B>,
    /// Which layers are frozen, and whether their features are cached.
    pub(crate) freezing: Freezing,
    pub(crate) seed: u64,
    /// Batches trained on so far, over all fits: dropout masks are drawn from it.
    pub(crate) steps: u64,
    /// Epochs so far, over all fits: shuffling and augmentation are drawn from it.
    pub(crate) epochs: u64,
    /// Fits so far.
    pub(crate) fits: usize,
}

/// The input of the trainable part.
pub(crate) enum StageInput {
    /// Images, or feature maps of the frozen part, and the pooled depths in it.
    Maps(StageOutput),
    /// Pooled features: `[images, features]`.
    Pooled(Tensor<2>),
}

impl StageInput {
    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Maps(output) => output.maps.shape().num_elements(),
            Self::Pooled(pooled) => pooled.shape().num_elements(),
        }
    }
}

impl<B: Backbone> TrainState<B> {
    /// The state before any training, with the backbone frozen.
    pub(crate) fn new(network: Network<B>, seed: u64) -> Self {
        let freezing = Freezing::Streamed { frozen: GROUPS - 1 };
        let network = network.train_groups_from(freezing.frozen());
        Self { network, freezing, seed, steps: 0, epochs: 0, fits: 0 }
    }

    /// A copy that can be trained without an effect on this one. Its tensors are shared until a step replaces
    /// them.
    pub(crate) fn fork(&self) -> Self {
        // Clones would share the running statistics of Burn's own batch norms.
        let network = self.network.copy();
        let Self { freezing, seed, steps, epochs, fits, .. } = *self;
        Self { network, freezing, seed, steps, epochs, fits }
    }

    /// Changes which layers are frozen.
    pub(crate) fn set_freezing(&mut self, freezing: Freezing) {
        self.freezing = freezing;
        self.network = self.network.clone().train_groups_from(freezing.frozen());
    }

    /// The first trainable stage of the backbone; the number of stages if only the head is trained.
    pub(crate) fn first_trained_stage(&self) -> usize {
        self.network.group_boundaries()[self.freezing.frozen()]
    }

    /// Whether the whole backbone is frozen, so that the trainable part takes pooled features.
    pub(crate) fn is_pooled(&self) -> bool {
        self.first_trained_stage() == self.network.backbone().stages()
    }

    /// The input of the trainable part, from images.
    pub(crate) fn infer_frozen(&self, images: Tensor<4>) -> StageInput {
        if self.is_pooled() {
            return StageInput::Pooled(self.network.infer_features(images));
        }
        StageInput::Maps(self.network.infer_stages(images, 0, self.first_trained_stage()))
    }

    /// Logits of a training pass over the trainable part of a network like this one's, and the pass with its
    /// batch statistics.
    pub(crate) fn forward(
        &self,
        network: &Network<B>,
        input: StageInput,
        statistics: Statistics,
    ) -> (Tensor<2>, Pass) {
        let key = Draws::new(self.seed, Purpose::Dropout, self.epochs, self.steps).bits();
        let pass = Pass::train(statistics, key);
        let logits = match input {
            StageInput::Maps(output) => network.forward_from(self.first_trained_stage(), output, &pass),
            StageInput::Pooled(pooled) => network.forward_head(pooled, &pass),
        };
        (logits, pass)
    }
}
