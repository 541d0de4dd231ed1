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
pub(super) const NEIGHBOURS: usize = 10;
/// Candidates for them by the random projection, from which the exact similarity chooses.
pub(super) const CANDIDATES: usize = 3 * NEIGHBOURS;
/// Images of at least this cosine similarity count as nearly identical.
pub(crate) const NEARLY_THE_SAME: f32 = 0.97;
/// Dimensions of the random projection for the search (Johnson & Lindenstrauss 1984).
pub(crate) const DIMENSIONS: usize = 96;
/// With more images than these, all are compared with so many of them, or fewer: see
/// [`references`](super::large_neighbours::references).
pub(super) const REFERENCES: usize = 20_000;

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
        let found: Vec<(f64, Vec<Pair>)> = (0..images)
            .into_par_iter()
            .map(|index| {
                if stopped() {
                    return (0.0, Vec::new());
                }
                let mut near: Vec<(f32, usize)> = (0..images)
                    .filter(|&other| other != index)
                    .map(|other| {
                        (dot(row(&projected, DIMENSIONS, index), row(&projected, DIMENSIONS, other)), other)
                    })
                    .collect();
                // More candidates than needed, from which the exact similarity chooses.
                let candidates = CANDIDATES.min(near.len());
                near.select_nth_unstable_by(candidates - 1, |a, b| b.0.total_cmp(&a.0));
                near.truncate(candidates);
                for (likeness, other) in &mut near {
                    *likeness = dot(row(&rows, length, index), row(&rows, length, *other));
                }
                near.sort_by(|a, b| b.0.total_cmp(&a.0));
                let pairs = near.iter().take_while(|(likeness, _)| *likeness >= NEARLY_THE_SAME);
                let pairs = pairs.filter(|(_, other)| *other > index);
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
        let far = found.iter().enumerate().map(|(index, found)| Outlier { index, distance: found.0 });
        let (far, pairs) = (far.collect(), found.into_iter().flat_map(|found| found.1).collect());
        Self { pairs, outliers: far }.ordered(outliers)
    }

    /// The most similar pairs first, and the first outliers, the farthest first.
    pub(super) fn ordered(mut self, outliers: usize) -> Self {
        self.outliers.sort_by(|a, b| b.distance.total_cmp(&a.distance));
        self.outliers.truncate(outliers);
        self.pairs.sort_by(|a, b| {
            b.likeness.total_cmp(&a.likeness).then((a.first, a.second).cmp(&(b.first, b.second)))
        });
        self
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
    let mut moments = Moments::new(features.len() / images);
    moments.add(features);
    let mut rows = features.to_vec();
    moments.scale().apply(&mut rows);
    rows
}

/// The sums of rows' columns and of their squares.
pub(super) struct Moments {
    sums: Vec<f64>,
    squares: Vec<f64>,
    rows: usize,
}

/// What normalises rows: the mean of each column, and the reciprocal of its standard deviation.
pub(super) struct Scale(Vec<(f32, f32)>);

impl Moments {
    pub(super) fn new(length: usize) -> Self {
        Self { sums: vec![0.0; length], squares: vec![0.0; length], rows: 0 }
    }

    pub(super) fn add(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.sums.len()) {
            self.rows += 1;
            for ((&value, sum), square) in row.iter().zip(&mut self.sums).zip(&mut self.squares) {
                *sum += f64::from(value);
                *square += f64::from(value) * f64::from(value);
            }
        }
    }

    pub(super) fn scale(&self) -> Scale {
        let count = self.rows as f64;
        let columns = self.sums.iter().zip(&self.squares).map(|(sum, square)| {
            let mean = sum / count;
            let deviation = (square / count - mean * mean).max(0.0).sqrt();
            (mean as f32, if deviation > 1e-6 { (1.0 / deviation) as f32 } else { 0.0 })
        });
        Scale(columns.collect())
    }
}

impl Scale {
    /// Every column with mean 0 and variance 1, then every row with length 1.
    pub(super) fn apply(&self, rows: &mut [f32]) {
        rows.par_chunks_exact_mut(self.0.len()).for_each(|row| {
            row.iter_mut().zip(&self.0).for_each(|(value, (mean, scale))| *value = (*value - mean) * scale);
            unit(row);
        });
    }
}

/// A row with length 1.
pub(super) fn unit(row: &mut [f32]) {
    let norm = dot(row, row).sqrt().max(f32::MIN_POSITIVE);
    row.iter_mut().for_each(|value| *value /= norm);
}

/// The directions of the random projection, `[DIMENSIONS, length]`.
pub(super) fn directions(length: usize) -> Vec<f32> {
    let mut draws = Draws::new(0, Purpose::Project, 0, 0);
    (0..DIMENSIONS * length).map(|_| draws.normal() as f32).collect()
}

/// The rows in fewer dimensions, which approximately preserves distances.
pub(crate) fn projected(rows: &[f32], length: usize) -> Vec<f32> {
    let directions = directions(length);
    let mut projected = vec![0.0; rows.len() / length * DIMENSIONS];
    projected.par_chunks_exact_mut(DIMENSIONS).zip(rows.par_chunks_exact(length)).for_each(|(to, from)| {
        for (value, direction) in to.iter_mut().zip(directions.chunks_exact(length)) {
            *value = dot(from, direction);
        }
        unit(to);
    });
    projected
}
