//! Likely label errors, duplicates and outliers.

use std::collections::BTreeMap;

use ocelli::interpret::Pair;
use ocelli::review::{LabelReview, REVIEW_FOLDS};
use serde::Serialize;

use crate::pictures::{Album, Source};

#[derive(Serialize)]
pub(super) struct LabelsPart {
    pub(super) trainable: bool,
    /// The number of folds of the out-of-fold predictions.
    pub(super) folds: usize,
    pub(super) looked_at: usize,
    pub(super) likely: usize,
    /// Whether the predictions are; if not, there are no suspects.
    pub(super) better_than_chance: bool,
    pub(super) suspects: Vec<SuspectPart>,
    pub(super) suspects_in_all: usize,
    /// Images of a pair, their similarity, whether byte-identical, whether of the same label.
    pub(super) duplicates: Vec<(usize, usize, f64, bool, bool)>,
    pub(super) duplicates_in_all: usize,
    pub(super) outliers: Vec<(usize, f64)>,
}

#[derive(Serialize)]
pub(super) struct SuspectPart {
    pub(super) image: usize,
    pub(super) given: Vec<usize>,
    pub(super) suggested: Vec<usize>,
    pub(super) score: f64,
    pub(super) likely: bool,
}

/// The most suspects on the page; all are in the tables.
const SUSPECTS: usize = 100;

/// The most pairs of duplicates on the page.
const PAIRS: usize = 24;

/// Pairs that are nearly identical, but not byte for byte.
pub(crate) fn near_duplicates(review: &LabelReview) -> Vec<Pair> {
    let mut group = BTreeMap::new();
    for (number, indices) in review.duplicates.iter().enumerate() {
        indices.iter().for_each(|&index| {
            group.insert(index, number);
        });
    }
    let same = |pair: &Pair| group.get(&pair.first).is_some_and(|one| group.get(&pair.second) == Some(one));
    review.neighbours.pairs.iter().filter(|pair| !same(pair)).copied().collect()
}

pub(super) fn labels(review: &LabelReview, album: &mut Album) -> LabelsPart {
    let named = &review.predictions;
    let class =
        |name: &String| named.classes.iter().position(|class| class == name).expect("a class of its own");
    let source = if review.trainable { Source::Reviewed } else { Source::Evaluated };
    let suspects = review.errors.suspects.iter().take(SUSPECTS);
    let suspects = suspects
        .filter_map(|suspect| {
            Some(SuspectPart {
                image: album.add(source, suspect.index)?,
                given: suspect.given.iter().map(class).collect(),
                suggested: suspect.suggested.iter().map(class).collect(),
                score: suspect.score,
                likely: suspect.likely,
            })
        })
        .collect();
    let identical = review.duplicates.iter().flat_map(|group| {
        group[1..].iter().map(|&other| (Pair { first: group[0], second: other, likeness: 1.0 }, true))
    });
    let near = near_duplicates(review).into_iter().map(|pair| (pair, false));
    let mut pairs: Vec<(Pair, bool)> = identical.chain(near).collect();
    // Two different labels cannot both be right.
    pairs.sort_by_key(|(pair, _)| named.truth(pair.first) == named.truth(pair.second));
    let duplicates_in_all = pairs.len();
    let duplicates = pairs
        .into_iter()
        .take(PAIRS)
        .filter_map(|(pair, identical)| {
            let same = named.truth(pair.first) == named.truth(pair.second);
            Some((
                album.add(source, pair.first)?,
                album.add(source, pair.second)?,
                pair.likeness,
                identical,
                same,
            ))
        })
        .collect();
    let outliers = review.neighbours.outliers.iter();
    let outliers = outliers.filter_map(|outlier| Some((album.add(source, outlier.index)?, outlier.distance)));
    LabelsPart {
        trainable: review.trainable,
        folds: REVIEW_FOLDS,
        looked_at: review.errors.images,
        likely: review.errors.likely,
        better_than_chance: review.errors.better_than_chance,
        suspects,
        suspects_in_all: review.errors.suspects.len(),
        duplicates,
        duplicates_in_all,
        outliers: outliers.collect(),
    }
}
