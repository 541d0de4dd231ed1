//! Copies of training images among the validation images: resized, or compressed anew. Those that are the same
//! byte for byte are found when the data is loaded.

use std::collections::{BTreeMap, HashSet};

use ocelli_data::inspect::pairs_that_look_the_same;
use ocelli_nn::Backbone;
use rayon::prelude::*;

use crate::data::{Part, notices};
use crate::error::Result;
use crate::features::cache::View;
use crate::interpret::neighbours::{DIMENSIONS, dot, normalised, projected, row};
use crate::learner::Learner;

/// The cosine of two images' normalised features from which on they are looked at. Measured with EfficientNet-Lite0 at
/// 128 and 224 pixels on ants and bees, dogs, cats and dogs, and satellite images: copies as PNG have at least 0.95, JPEGs
/// of quality 50 nearly always more than 0.5, and so have those of half the size, but for half of the satellite images,
/// which are small. Of other pairs the nearest have 0.6 to 0.9, so that the features alone do not tell.
const CANDIDATE: f32 = 0.5;
/// The random projection changes a cosine by less than this, nearly always.
const PROJECTED: f32 = 0.2;
/// The most comparisons of two images: some seconds.
const MOST_COMPARISONS: usize = 1 << 29;
/// The most numbers that are in memory for it, twice.
const MOST_NUMBERS: usize = 1 << 28;
/// The training images that each validation image is looked at beside.
const NEAREST: usize = 2;
/// The most pairs that are looked at.
const MOST_PAIRS: usize = 300;

impl<B: Backbone> Learner<B> {
    /// A warning where validation images look like training images, so that metrics may be too good. Images whose
    /// pooled features nearly agree are looked at, pixel by pixel at a small size. `None` where there are none,
    /// and where the features of all images, of a frozen backbone, are not in memory.
    ///
    /// # Errors
    /// Where features are in a scratch file that cannot be read.
    pub(crate) fn look_alikes(&self) -> Result<Option<String>> {
        let Self { state, inputs, .. } = self;
        if !state.freezing.is_cached() || !state.is_pooled() || !inputs.has_features_of(state) {
            return Ok(None);
        }
        let data = self.data();
        let [train, valid] = [Part::Train, Part::Valid].map(|part| {
            // One of those that are the same byte for byte is enough.
            let mut once = HashSet::new();
            let items = inputs.with_features(data.part(part), View::Validation);
            items.into_iter().filter(|&item| once.insert(data.digests[item])).collect::<Vec<usize>>()
        });
        if train.is_empty() || valid.is_empty() || train.len() * valid.len() > MOST_COMPARISONS {
            return Ok(None);
        }
        let items = [&train[..], &valid[..]].concat();
        let width = inputs.features_of(&items[..1], View::Validation)?.num_elements();
        if width * items.len() > MOST_NUMBERS {
            return Ok(None);
        }
        let values = inputs.features_of(&items, View::Validation)?.try_into_vec::<f32>();
        let rows = normalised(&values.expect("features are f32"), items.len());
        let near = projected(&rows, width);
        let is_same = |one: usize, other: usize| data.digests[items[one]] == data.digests[items[other]];
        let alike = |valid: usize| {
            let mut found: Vec<(f32, usize)> = (0..train.len())
                .filter(|&other| {
                    let cosine = dot(row(&near, DIMENSIONS, valid), row(&near, DIMENSIONS, other));
                    cosine >= CANDIDATE - PROJECTED && !is_same(valid, other)
                })
                .map(|other| (dot(row(&rows, width, valid), row(&rows, width, other)), other))
                .filter(|(cosine, _)| *cosine >= CANDIDATE)
                .collect();
            found.sort_by(|a, b| b.0.total_cmp(&a.0));
            found.truncate(NEAREST);
            found.into_iter().map(|(cosine, other)| (cosine, valid, other)).collect::<Vec<_>>()
        };
        let candidates: Vec<_> = (train.len()..items.len()).into_par_iter().map(alike).collect();
        let mut candidates: Vec<(f32, usize, usize)> = candidates.into_iter().flatten().collect();
        // The most alike first, where not all can be looked at.
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        candidates.truncate(MOST_PAIRS);
        let mut pairs: Vec<(usize, usize)> =
            candidates.into_iter().map(|(_, one, other)| (items[one], items[other])).collect();
        pairs.sort_unstable();
        let loading = data.loading();
        let found = pairs_that_look_the_same(&data.items, &pairs, &loading.decoder, loading.threads)?;
        let by_valid: BTreeMap<usize, usize> = found.into_iter().rev().collect();
        let id = |item: usize| data.items[item].id.as_str();
        let pairs: Vec<(&str, &str)> =
            by_valid.into_iter().map(|(valid, train)| (id(valid), id(train))).collect();
        Ok(notices::look_alikes("validation image", &pairs))
    }
}
