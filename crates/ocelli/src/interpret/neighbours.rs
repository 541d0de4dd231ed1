//! Near duplicates and outliers, by the network's features.

use ocelli_data::{Draws, Purpose};
use rayon::prelude::*;
use serde::Serialize;

/// The nearest neighbours of images by a network's features.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neighbours {
    /// Pairs of nearly identical images, the most similar first.
    pub pairs: Vec<Pair>,
    /// The outliers: images far from their neighbours, the farthest first.
    pub outliers: Vec<Outlier>,
}

/// Two nearly identical images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// The index of the earlier image.
    pub first: usize,
    /// The index of the later image.
    pub second: usize,
    /// The cosine of their features, up to 1.
    pub likeness: f64,
}

/// An outlier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outlier {
    /// The index of the image.
    pub index: usize,
    /// The mean distance to its nearest neighbours, as 1 − cosine, 0 to 2.
    pub distance: f64,
}

/// The number of neighbours (cleanlab's for outliers).
const NEIGHBOURS: usize = 10;
/// Images of at least this cosine similarity count as nearly identical.
pub(crate) const NEARLY_THE_SAME: f32 = 0.97;
/// Dimensions of the random projection for the search (Johnson & Lindenstrauss 1984).
const DIMENSIONS: usize = 96;
/// With more images than these, outliers are found by the distance to this many of them.
const REFERENCES: usize = 20_000;

impl Neighbours {
    /// From features `[images, features]`, row by row: the first `outliers` of them, and all pairs.
    ///
    /// Every feature is normalised to mean 0 and variance 1, so that features of a large scale do not
    /// dominate.
    ///
    /// # Panics
    /// Where the number of features is not a multiple of `images`.
    pub fn of(features: &[f32], images: usize, outliers: usize) -> Self {
        Self::until(features, images, outliers, &|| false)
    }

    /// As [`of`](Self::of); once stopped, the result is meaningless.
    pub(crate) fn until(
        features: &[f32],
        images: usize,
        outliers: usize,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Self {
        if images < 2 {
            return Self { pairs: Vec::new(), outliers: Vec::new() };
        }
        assert_eq!(features.len() % images, 0, "features are [images, features]");
        let rows = normalised(features, images);
        let length = rows.len() / images;
        let projected = projected(&rows, length);
        let step = images.div_ceil(REFERENCES);
        let found: Vec<(f64, Vec<Pair>)> = (0..images)
            .into_par_iter()
            .map(|index| {
                if stopped() {
                    return (0.0, Vec::new());
                }
                let mut near: Vec<(f32, usize)> = (0..images)
                    .step_by(step)
                    .filter(|&other| other != index)
                    .map(|other| {
                        (dot(row(&projected, DIMENSIONS, index), row(&projected, DIMENSIONS, other)), other)
                    })
                    .collect();
                // More candidates than needed, from which the exact similarity chooses.
                let candidates = (3 * NEIGHBOURS).min(near.len());
                near.select_nth_unstable_by(candidates - 1, |a, b| b.0.total_cmp(&a.0));
                near.truncate(candidates);
                for (likeness, other) in &mut near {
                    *likeness = dot(row(&rows, length, index), row(&rows, length, *other));
                }
                near.sort_by(|a, b| b.0.total_cmp(&a.0));
                let pairs = near.iter().take_while(|(likeness, _)| *likeness >= NEARLY_THE_SAME);
                let pairs = pairs.filter(|(_, other)| *other > index || *other % step != 0);
                let pairs = pairs.map(|&(likeness, other)| Pair {
                    first: index.min(other),
                    second: index.max(other),
                    likeness: f64::from(likeness.min(1.0)),
                });
                let pairs = pairs.collect();
                near.truncate(NEIGHBOURS);
                let mean = near.iter().map(|(likeness, _)| 1.0 - f64::from(*likeness)).sum::<f64>()
                    / near.len() as f64;
                (mean, pairs)
            })
            .collect();
        let mut far: Vec<Outlier> =
            found.iter().enumerate().map(|(index, found)| Outlier { index, distance: found.0 }).collect();
        far.sort_by(|a, b| b.distance.total_cmp(&a.distance));
        far.truncate(outliers);
        let mut pairs: Vec<Pair> = found.into_iter().flat_map(|found| found.1).collect();
        pairs.sort_by(|a, b| {
            b.likeness.total_cmp(&a.likeness).then((a.first, a.second).cmp(&(b.first, b.second)))
        });
        Self { pairs, outliers: far }
    }
}

pub(crate) fn row(rows: &[f32], length: usize, index: usize) -> &[f32] {
    &rows[index * length..][..length]
}

/// The dot product, in eight lanes.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (whole_a, rest_a) = a.as_chunks::<8>();
    let (whole_b, rest_b) = b.as_chunks::<8>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}

/// Every column with mean 0 and variance 1, then every row with length 1.
pub(crate) fn normalised(features: &[f32], images: usize) -> Vec<f32> {
    let length = features.len() / images;
    let (mut mean, mut square) = (vec![0.0f64; length], vec![0.0f64; length]);
    for row in features.chunks_exact(length) {
        for (column, &value) in row.iter().enumerate() {
            mean[column] += f64::from(value);
            square[column] += f64::from(value) * f64::from(value);
        }
    }
    let count = images as f64;
    let scale: Vec<(f32, f32)> = mean
        .iter()
        .zip(&square)
        .map(|(sum, square)| {
            let mean = sum / count;
            let deviation = (square / count - mean * mean).max(0.0).sqrt();
            (mean as f32, if deviation > 1e-6 { (1.0 / deviation) as f32 } else { 0.0 })
        })
        .collect();
    let mut rows = features.to_vec();
    rows.par_chunks_exact_mut(length).for_each(|row| {
        row.iter_mut().zip(&scale).for_each(|(value, (mean, scale))| *value = (*value - mean) * scale);
        let norm = dot(row, row).sqrt().max(f32::MIN_POSITIVE);
        row.iter_mut().for_each(|value| *value /= norm);
    });
    rows
}

/// The rows in fewer dimensions, which approximately preserves distances.
fn projected(rows: &[f32], length: usize) -> Vec<f32> {
    let mut draws = Draws::new(0, Purpose::Project, 0, 0);
    let directions: Vec<f32> = (0..DIMENSIONS * length).map(|_| draws.normal() as f32).collect();
    let mut projected = vec![0.0; rows.len() / length * DIMENSIONS];
    projected.par_chunks_exact_mut(DIMENSIONS).zip(rows.par_chunks_exact(length)).for_each(|(to, from)| {
        for (value, direction) in to.iter_mut().zip(directions.chunks_exact(length)) {
            *value = dot(from, direction);
        }
        let norm = dot(to, to).sqrt().max(f32::MIN_POSITIVE);
        to.iter_mut().for_each(|value| *value /= norm);
    });
    projected
}
