//! The frozen layers' output, computed once and trained on again and again.

use ocelli_nn::{Backbone, GROUPS};

use crate::error::{Error, Result};
use crate::features::cache::View;
use crate::learner::Learner;
use crate::recipe::freezing::Freezing;

/// The share of images whose features make a cache worth taking: the rest may be bad ones.
const NEARLY_ALL: f64 = 0.95;

impl<B: Backbone> Learner<B> {
    /// With `true`: computes the frozen groups' output once for every image and trains on it from now on; with
    /// `false`: every epoch starts from the images.
    ///
    /// # Errors
    /// Where nothing is frozen, or an image cannot be used and bad images are to stop the work.
    pub fn precompute(&mut self, precompute: bool) -> Result<()> {
        let frozen = self.state.freezing.frozen();
        match precompute {
            true => self.precompute_with(Freezing::Cached { frozen, augmented_copies: 0 }),
            false => {
                self.set_freezing(Freezing::Live { frozen });
                Ok(())
            }
        }
    }

    /// Computes the frozen groups' output for so many augmented views of every image to train on, and trains on them
    /// from now on, each epoch on another view of each image: augmentation at the price of some passes over the images
    /// instead of one an epoch. Validation sees the images as they are.
    ///
    /// # Errors
    /// As [`precompute`](Self::precompute); [`Error::NotAugmented`] where the photos are not augmented.
    pub fn precompute_views(&mut self, augmented_copies: usize) -> Result<()> {
        if augmented_copies == 0 {
            return Err(Error::setting("augmented_copies", "0", "at least 1"));
        }
        if self.data().augmentation().is_none() {
            return Err(Error::NotAugmented);
        }
        self.precompute_with(Freezing::Cached { frozen: self.state.freezing.frozen(), augmented_copies })
    }

    pub(crate) fn precompute_with(&mut self, freezing: Freezing) -> Result<()> {
        if freezing.frozen() == 0 {
            return Err(Error::NothingFrozen);
        }
        self.set_freezing(freezing);
        self.inputs.prepare_features(&self.state, &mut self.observers)
    }

    /// Whether the pooled features of the backbone are in the cache folder, but for those of a few images, which may be
    /// bad ones.
    pub(crate) fn has_kept_activations(&self) -> bool {
        let mut state = self.state.fork();
        state.set_freezing(Freezing::Live { frozen: GROUPS - 1 });
        self.inputs.share_in_cache(&state) >= NEARLY_ALL
    }

    /// The backbone's pooled features of items that have some, row by row: `[items, features]`.
    pub(crate) fn pooled_activations(&mut self, items: &[usize]) -> Result<Vec<f32>> {
        let mut state = self.state.fork();
        state.set_freezing(Freezing::Cached { frozen: GROUPS - 1, augmented_copies: 0 });
        self.inputs.prepare_features(&state, &mut self.observers)?;
        let values = self.inputs.features_of(items, View::Validation).try_into_vec::<f32>();
        Ok(values.expect("features are f32"))
    }
}
