//! The frozen layers' output, computed once and trained on again and again.

use ocelli_nn::{Backbone, GROUPS};

use crate::error::{Error, Result};
use crate::features::cache::View;
use crate::learner::Learner;
use crate::recipe::freezing::State;

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
            true => self.precompute_state(State::Precomputed { frozen, views: 0 }),
            false => {
                self.set_freezing(State::Live { frozen });
                Ok(())
            }
        }
    }

    /// Computes the frozen groups' output for so many augmented views of every image to train on, and trains on them
    /// from now on, each epoch on another view of each image: augmentation at the price of some passes over the images
    /// instead of one an epoch. Validation sees the images as they are.
    ///
    /// # Errors
    /// As [`precompute`](Self::precompute); [`Error::State`] where the photos are not augmented.
    pub fn precompute_views(&mut self, views: usize) -> Result<()> {
        if views == 0 {
            return Err(Error::Setting {
                name: "the number of views",
                value: "0".to_owned(),
                expected: "at least 1",
            });
        }
        if self.data().augmentation().is_none() {
            return Err(Error::State {
                found: "the photos are not augmented, so that all views would be alike".to_owned(),
                advice: "give the data transforms, or precompute without views",
            });
        }
        self.precompute_state(State::Precomputed { frozen: self.state.freezing.frozen(), views })
    }

    pub(crate) fn precompute_state(&mut self, freezing: State) -> Result<()> {
        if freezing.frozen() == 0 {
            return Err(Error::State {
                found: "all layers are trained, so no activations stay the same".to_owned(),
                advice: "freeze some layers first",
            });
        }
        self.set_freezing(freezing);
        self.inputs.prepare_features(&self.state, &mut self.observers)
    }

    /// Whether the pooled features of the backbone are in the cache folder, but for those of a few images, which may be
    /// bad ones.
    pub(crate) fn has_kept_activations(&self) -> bool {
        let mut state = self.state.fork();
        state.set_freezing(State::Live { frozen: GROUPS - 1 });
        self.inputs.share_in_cache(&state) >= NEARLY_ALL
    }

    /// The backbone's pooled features of items that have some, row by row: `[items, features]`.
    pub(crate) fn pooled_activations(&mut self, items: &[usize]) -> Result<Vec<f32>> {
        let mut state = self.state.fork();
        state.set_freezing(State::Precomputed { frozen: GROUPS - 1, views: 0 });
        self.inputs.prepare_features(&state, &mut self.observers)?;
        let values = self.inputs.features_of(items, View::Validation).try_into_vec::<f32>();
        Ok(values.expect("features are f32"))
    }
}
