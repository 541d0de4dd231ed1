//! Features of the frozen layers: computed once, then trained on in every epoch.

use ocelli_nn::{Backbone, GROUPS};

use crate::error::{Error, Result};
use crate::features::cache::View;
use crate::learner::Learner;
use crate::recipe::freezing::Freezing;

/// The fraction of images that must have cached features for the cache to count as complete; the rest may be
/// unreadable.
const NEARLY_ALL: f64 = 0.95;

impl<B: Backbone> Learner<B> {
    /// Computes the features of the frozen layer groups once for every image, or takes them from the
    /// [cache folder](Self::set_cache), and trains on them from now on (`precompute=True` in fastai 0.7).
    /// This may take minutes; augmentation then has no effect. [`stream_images`](Self::stream_images) is the
    /// way back.
    ///
    /// # Errors
    /// [`Error::NothingFrozen`] where nothing is frozen, [`Error::BadImage`] where an image cannot be used
    /// and bad images are errors.
    pub fn cache_features(&mut self) -> Result<()> {
        self.cache_features_as(Freezing::Cached { frozen: self.state.freezing.frozen(), augmented_copies: 0 })
    }

    /// Starts every epoch from the images again, with augmentation, instead of from cached features.
    pub fn stream_images(&mut self) {
        self.set_freezing(Freezing::Streamed { frozen: self.state.freezing.frozen() });
    }

    /// Computes the features of this many augmented copies of every training image, and trains on them from
    /// now on, on another copy of each image in each epoch: augmentation at the cost of a few passes over the
    /// images instead of one per epoch. Validation uses the images without augmentation.
    ///
    /// # Errors
    /// As [`cache_features`](Self::cache_features); [`Error::NotAugmented`] where the data has no
    /// augmentation.
    pub fn cache_augmented_copies(&mut self, augmented_copies: usize) -> Result<()> {
        if augmented_copies == 0 {
            return Err(Error::setting("augmented_copies", "0", "at least 1"));
        }
        if self.data().augmentation().is_none() {
            return Err(Error::NotAugmented);
        }
        self.cache_features_as(Freezing::Cached { frozen: self.state.freezing.frozen(), augmented_copies })
    }

    pub(crate) fn cache_features_as(&mut self, freezing: Freezing) -> Result<()> {
        if freezing.frozen() == 0 {
            return Err(Error::NothingFrozen);
        }
        let network = self.network();
        let first = network.group_boundaries()[freezing.frozen()];
        if freezing.frozen() < GROUPS - 1 && network.depths().iter().any(|depth| *depth < first) {
            let expected = "2, the whole backbone: the head takes features of the frozen stages too";
            return Err(Error::setting("frozen", freezing.frozen(), expected));
        }
        self.set_freezing(freezing);
        self.inputs.prepare_features(&self.state, &mut self.observers)
    }

    /// Whether the cache folder has the backbone's pooled features of all images, except for a few, which may
    /// be unreadable.
    pub(crate) fn has_cached_features(&self) -> bool {
        let mut state = self.state.fork();
        state.set_freezing(Freezing::Streamed { frozen: GROUPS - 1 });
        self.inputs.cached_fraction(&state) >= NEARLY_ALL
    }

    /// Makes the backbone's pooled features ready, for [`pooled_features`](Self::pooled_features).
    pub(crate) fn prepare_pooled_features(&mut self) -> Result<()> {
        let mut state = self.state.fork();
        state.set_freezing(Freezing::Cached { frozen: GROUPS - 1, augmented_copies: 0 });
        self.inputs.prepare_features(&state, &mut self.observers)
    }

    /// The pooled features of the backbone's last stage of items that have them, row by row: `[items, features]`;
    /// they must be ready.
    pub(crate) fn pooled_features(&self, items: &[usize]) -> Result<Vec<f32>> {
        let values = self.inputs.features_of(items, View::Validation)?.try_into_vec::<f32>();
        let values = values.expect("features are f32");
        let widths = self.network().feature_widths(self.network().depths(), self.data().size());
        let [.., last] = widths[..] else { return Ok(values) };
        // Those of earlier stages, which a linear head may take too, come first.
        let rows = values.chunks_exact(widths.iter().sum());
        Ok(rows.flat_map(|row| &row[row.len() - last..]).copied().collect())
    }
}
