//! "None of these": how unlike the training photos a photo is, by the network's pooled features.
//!
//! The score is the relative Mahalanobis distance (Ren et al. 2021, <https://arxiv.org/abs/2106.09022>) of
//! features with length 1, with one covariance for all classes (Lee et al. 2018,
//! <https://arxiv.org/abs/1807.03888>) that is shrunk by a tenth towards a multiple of the identity. Distances are
//! exact in the `K` directions in which the training photos vary most; all other directions count alike.
//!
//! With the pooled features `x` of a photo (`D` numbers) and the parameters below,
//!
//! ```text
//! u = x / ‖x‖ − center                                                 D
//! p = projection · u                                                   K
//! y = within · p                                                       K
//! unknown score = min over classes c of ‖y − means[c]‖²
//!                 − Σ_k total[k] · p[k]²
//!                 + residual · max(‖u‖² − ‖p‖², 0)
//! ```
//!
//! Higher is more unlike. A photo is called unknown if its score is above the threshold, which is set on
//! validation photos, so that the chosen fraction of photos of known classes is refused. `benches/unknown.md`
//! compares it with other scores.

use ocelli_data::{Draws, Purpose};
use ocelli_nn::TensorFile;
use ocelli_nn::graph::UnknownParameters;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::embed::nearest::{normalize, unit_rows};
use crate::interpret::neighbours::dot;

/// A fitted unknown score; see the docs of this file for the formula.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownScore(pub UnknownParameters);

/// What a model's configuration says about its unknown score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UnknownConfig {
    /// The model has a score.
    Fitted {
        /// The number of training photos that it was fitted on.
        train_photos: usize,
        /// The scores of validation photos, ascending. Thresholds follow from them.
        valid_scores: Vec<f32>,
    },
    /// It could not be fitted.
    Missing {
        /// Why not.
        reason: String,
    },
}

/// The unknown score of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Unknown {
    /// The score; higher is more unlike the training photos.
    pub score: f32,
    /// The threshold.
    pub threshold: f32,
}

/// The fraction of validation photos that the default threshold refuses.
pub const FALSE_REFUSALS: f64 = 0.05;
/// Directions with exact distances.
const DIRECTIONS: usize = 64;
/// Further directions that the search for them uses.
const SPARE: usize = 16;
/// Rounds of that search.
const ROUNDS: usize = 4;
/// How far covariances are shrunk to a multiple of the identity.
const SHRINKAGE: f64 = 0.1;
/// The fewest training photos.
const FEWEST: usize = 4;
/// The names of the tensors in a model's file begin so.
pub(crate) const PREFIX: &str = "unknown.";

impl Unknown {
    /// Whether the photo is called unknown.
    pub fn is_unknown(&self) -> bool {
        self.score > self.threshold
    }
}

impl UnknownConfig {
    /// The threshold that refuses at most this fraction of photos like the validation photos (0 to 1), if
    /// those are exchangeable: split conformal prediction. With too few validation photos for the fraction it
    /// is the highest of their scores. `None` without a score.
    pub fn threshold(&self, false_refusals: f64) -> Option<f32> {
        let Self::Fitted { valid_scores, .. } = self else { return None };
        let count = valid_scores.len();
        let rank = ((1.0 - false_refusals.clamp(0.0, 1.0)) * (count + 1) as f64).ceil() as usize;
        valid_scores.get(rank.clamp(1, count.max(1)) - 1).copied()
    }

    /// Whether the threshold is certain for this fraction: see [`threshold`](Self::threshold).
    pub fn has_enough(&self, false_refusals: f64) -> bool {
        let Self::Fitted { valid_scores, .. } = self else { return false };
        (1.0 - false_refusals) * (valid_scores.len() + 1) as f64 <= valid_scores.len() as f64
    }
}

impl UnknownScore {
    /// Fits the score to features of training photos, `[photos, width]` row by row, with the class of each; for
    /// photos with several labels, or where there is one class only, `classes` is 1, and the score is the
    /// Mahalanobis distance to the mean of all photos.
    ///
    /// # Errors
    /// Why it cannot be fitted.
    pub fn fit(
        features: &[f32],
        width: usize,
        labels: &[usize],
        classes: usize,
    ) -> std::result::Result<Self, String> {
        let photos = labels.len();
        assert_eq!(features.len(), photos * width, "a row a label");
        if photos < FEWEST {
            return Err(format!(
                "{photos} training photos are too few to fit it; it needs at least {FEWEST}"
            ));
        }
        if features.iter().any(|value| !value.is_finite()) {
            return Err("features of training photos are not finite".to_owned());
        }
        let mut rows = unit_rows(features, width);
        let center = mean(&rows, width, |_| true);
        rows.par_chunks_exact_mut(width).for_each(|row| subtract(row, &center));
        let counts: Vec<usize> =
            (0..classes).map(|class| labels.iter().filter(|&&label| label == class).count()).collect();
        let square = |row: &[f32]| f64::from(dot(row, row));
        let squares: Vec<f64> = rows.par_chunks_exact(width).map(square).collect();
        let of_total = squares.iter().sum::<f64>() / (photos - 1) as f64;
        // What is left of rounding where all rows are equal.
        if of_total < 1e-10 {
            return Err("the features of all training photos are the same".to_owned());
        }
        let projection = directions(&rows, width);
        let kept = projection.len() / width;
        let projected = project(&rows, &projection, width);
        let means: Vec<Vec<f64>> = (0..classes)
            .map(|class| match counts[class] {
                0 => vec![0.0; kept],
                count => {
                    let mut sums = vec![0.0; kept];
                    for (row, _) in projected.chunks_exact(kept).zip(labels).filter(|(_, l)| **l == class) {
                        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
                    }
                    sums.iter().map(|sum| sum / count as f64).collect()
                }
            })
            .collect();
        // The variance within classes, of all directions: that of all photos less that of the class means.
        let of_means: f64 = (0..classes)
            .filter(|&class| counts[class] > 0)
            .map(|class| {
                let mean = mean(&rows, width, |row| labels[row] == class);
                counts[class] as f64 * square(&mean)
            })
            .sum();
        let present = counts.iter().filter(|count| **count > 0).count();
        let freedom = photos.saturating_sub(present).max(1) as f64;
        let of_within = ((squares.iter().sum::<f64>() - of_means) / freedom).max(1e-3 * of_total);
        let mut within = vec![vec![0.0f64; kept]; kept];
        let mut total = vec![0.0f64; kept];
        for (row, &label) in projected.chunks_exact(kept).zip(labels) {
            let centred: Vec<f64> =
                row.iter().zip(&means[label]).map(|(value, mean)| f64::from(*value) - mean).collect();
            for (i, &one) in centred.iter().enumerate() {
                for (j, &other) in centred[..=i].iter().enumerate() {
                    within[i][j] += one * other / freedom;
                }
            }
            for (sum, value) in total.iter_mut().zip(row) {
                *sum += f64::from(*value) * f64::from(*value) / (photos - 1) as f64;
            }
        }
        let others = (width - kept).max(1) as f64;
        let of_kept: f64 = (0..kept).map(|i| within[i][i]).sum();
        let shrunk = |own: f64, mean: f64| (1.0 - SHRINKAGE) * own + SHRINKAGE * mean;
        let (mean_within, mean_total) = (of_within / width as f64, of_total / width as f64);
        let rest_within = shrunk((of_within - of_kept).max(0.0) / others, mean_within);
        let rest_total = shrunk((of_total - total.iter().sum::<f64>()).max(0.0) / others, mean_total);
        for (i, row) in within.iter_mut().enumerate() {
            row.iter_mut().for_each(|value| *value *= 1.0 - SHRINKAGE);
            row[i] += SHRINKAGE * mean_within;
        }
        let whiten = inverse_of_cholesky(&within).ok_or("the covariance of its features is singular")?;
        // A class without photos is none that a photo can be near to.
        let of_present = means.iter().zip(&counts).filter(|(_, count)| **count > 0);
        let transformed = of_present.flat_map(|(mean, _)| {
            whiten.iter().map(move |row| row.iter().zip(mean).map(|(a, b)| a * b).sum::<f64>() as f32)
        });
        // With one class, both distances are the same one.
        let relative = f64::from(u8::from(present > 1));
        let score = UnknownParameters {
            center,
            projection,
            means: transformed.collect(),
            within: whiten.iter().flatten().map(|value| *value as f32).collect(),
            total: total.iter().map(|&own| (relative / shrunk(own, mean_total)) as f32).collect(),
            residual: (1.0 / rest_within - relative / rest_total) as f32,
        };
        let all = [&score.center, &score.projection, &score.within, &score.means, &score.total];
        match all.iter().all(|values| values.iter().all(|value| value.is_finite()))
            && score.residual.is_finite()
        {
            true => Ok(Self(score)),
            false => Err("the distances of its features are not finite".to_owned()),
        }
    }

    /// The number of features of a photo.
    pub fn features(&self) -> usize {
        self.0.center.len()
    }

    /// The scores of photos, from their pooled features `[photos, features]`, row by row.
    pub fn of(&self, features: &[f32]) -> Vec<f32> {
        let (width, kept) = (self.0.center.len(), self.0.total.len());
        features
            .chunks_exact(width)
            .map(|row| {
                let mut row = row.to_vec();
                normalize(&mut row);
                subtract(&mut row, &self.0.center);
                let p = project(&row, &self.0.projection, width);
                let y: Vec<f64> = self.0.within.chunks_exact(kept).map(|w| exact_dot(w, &p)).collect();
                let distance =
                    |mean: &[f32]| y.iter().zip(mean).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>();
                let nearest = self.0.means.chunks_exact(kept).map(distance).fold(f64::INFINITY, f64::min);
                let all: f64 =
                    self.0.total.iter().zip(&p).map(|(t, p)| f64::from(*t) * f64::from(*p).powi(2)).sum();
                let rest = (exact_dot(&row, &row) - exact_dot(&p, &p)).max(0.0);
                (nearest - all + f64::from(self.0.residual) * rest) as f32
            })
            .collect()
    }

    /// Adds the parameters to the tensors of a model's file.
    pub(crate) fn add_to(&self, tensors: &mut TensorFile) {
        let (width, kept) = (self.0.center.len(), self.0.total.len());
        let mut add = |name: &str, shape: Vec<usize>, values: &[f32]| {
            tensors.insert(format!("{PREFIX}{name}"), shape, values.to_vec());
        };
        add("center", vec![width], &self.0.center);
        add("projection", vec![kept, width], &self.0.projection);
        add("within", vec![kept, kept], &self.0.within);
        add("means", vec![self.0.means.len() / kept, kept], &self.0.means);
        add("total", vec![kept], &self.0.total);
        add("residual", vec![1], &[self.0.residual]);
    }

    /// The parameters in a model's file; `None` where they are not complete.
    pub(crate) fn from_tensors(tensors: &TensorFile) -> Option<Self> {
        let get = |name: &str| tensors.get(&format!("{PREFIX}{name}"));
        let (center, projection, within) = (get("center")?, get("projection")?, get("within")?);
        let (means, total, residual) = (get("means")?, get("total")?, get("residual")?);
        let &[width] = &center.shape[..] else { return None };
        let &[kept] = &total.shape[..] else { return None };
        let fits = kept > 0
            && width > 0
            && projection.shape == [kept, width]
            && within.shape == [kept, kept]
            && means.shape.len() == 2
            && means.shape[0] > 0
            && means.shape[1] == kept
            && residual.shape == [1];
        fits.then(|| {
            Self(UnknownParameters {
                center: center.values.clone(),
                projection: projection.values.clone(),
                within: within.values.clone(),
                means: means.values.clone(),
                total: total.values.clone(),
                residual: residual.values[0],
            })
        })
    }
}

/// The area under the ROC curve of two sets of scores: the probability that one of `strangers` is above one of
/// `known`, ties counting half. `None` where one is empty.
pub fn auroc(known: &[f32], strangers: &[f32]) -> Option<f64> {
    if known.is_empty() || strangers.is_empty() {
        return None;
    }
    let mut known = known.to_vec();
    known.sort_by(f32::total_cmp);
    let below = strangers.iter().map(|score| {
        let less = known.partition_point(|other| other < score);
        let same = known.partition_point(|other| other <= score) - less;
        less as f64 + 0.5 * same as f64
    });
    Some(below.sum::<f64>() / (known.len() * strangers.len()) as f64)
}

fn exact_dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn subtract(row: &mut [f32], other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(value, other)| *value -= other);
}

/// The mean of the rows that are chosen by number.
fn mean(rows: &[f32], width: usize, chosen: impl Fn(usize) -> bool) -> Vec<f32> {
    let (mut sums, mut count) = (vec![0.0f64; width], 0usize);
    for (_, row) in rows.chunks_exact(width).enumerate().filter(|(index, _)| chosen(*index)) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        count += 1;
    }
    sums.iter().map(|sum| (sum / count.max(1) as f64) as f32).collect()
}

/// The products of every row with every direction: `[rows, directions]`.
fn project(rows: &[f32], directions: &[f32], width: usize) -> Vec<f32> {
    let kept = directions.len() / width;
    let mut products = vec![0.0; rows.len() / width * kept];
    products.par_chunks_exact_mut(kept).zip(rows.par_chunks_exact(width)).for_each(|(to, row)| {
        to.iter_mut().zip(directions.chunks_exact(width)).for_each(|(to, direction)| {
            *to = dot(row, direction);
        });
    });
    products
}

/// The orthonormal directions in which centred rows vary most, by subspace iteration (Halko et al. 2011,
/// <https://arxiv.org/abs/0909.4061>): at most [`DIRECTIONS`], and none of them without variance.
fn directions(rows: &[f32], width: usize) -> Vec<f32> {
    let photos = rows.len() / width;
    let count = (DIRECTIONS + SPARE).min(photos - 1).min(width);
    let mut draws = Draws::new(0, Purpose::Project, 0, 1);
    let mut basis: Vec<f32> = (0..count * width).map(|_| draws.normal() as f32).collect();
    for _ in 0..ROUNDS {
        let products = project(rows, &basis, width);
        let found = products.len() / photos;
        basis.par_chunks_exact_mut(width).enumerate().for_each(|(index, direction)| {
            let mut sums = vec![0.0f32; width];
            for (row, products) in rows.chunks_exact(width).zip(products.chunks_exact(found)) {
                let factor = products[index];
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
            }
            direction.copy_from_slice(&sums);
        });
        basis = orthonormal(basis, width);
    }
    // Within the subspace, the directions of most variance.
    let found = basis.len() / width;
    let products = project(rows, &basis, width);
    let mut covariance = vec![vec![0.0f64; found]; found];
    for row in products.chunks_exact(found) {
        for i in 0..found {
            for j in 0..found {
                covariance[i][j] += f64::from(row[i]) * f64::from(row[j]);
            }
        }
    }
    let mut vectors = eigenvectors(covariance);
    let highest = vectors.first().map_or(0.0, |first| first.0);
    vectors.retain(|(value, _)| *value > 1e-6 * highest);
    vectors.truncate(DIRECTIONS);
    let rotated: Vec<f32> = vectors
        .par_iter()
        .flat_map_iter(|(_, vector)| {
            let mut sums = vec![0.0f64; width];
            for (factor, direction) in vector.iter().zip(basis.chunks_exact(width)) {
                sums.iter_mut().zip(direction).for_each(|(sum, value)| *sum += factor * f64::from(*value));
            }
            sums.into_iter().map(|sum| sum as f32)
        })
        .collect();
    orthonormal(rotated, width)
}

/// Rows made orthonormal one after the other (Gram & Schmidt, twice), without those that depend on earlier
/// ones.
fn orthonormal(rows: Vec<f32>, width: usize) -> Vec<f32> {
    let mut basis: Vec<f32> = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(width) {
        let mut row = row.to_vec();
        let before = exact_dot(&row, &row).sqrt();
        for _ in 0..2 {
            for direction in basis.chunks_exact(width) {
                let along = exact_dot(&row, direction) as f32;
                row.iter_mut().zip(direction).for_each(|(value, other)| *value -= along * other);
            }
        }
        if before > 0.0 && exact_dot(&row, &row).sqrt() > 1e-4 * before {
            normalize(&mut row);
            basis.extend(row);
        }
    }
    basis
}

/// Eigenvalues and eigenvectors of a symmetric matrix, the greatest value first, by Jacobi's rotations.
#[allow(clippy::needless_range_loop)] // indices of matrices, as in the textbook
fn eigenvectors(mut matrix: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let size = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|i| (0..size).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..30 {
        let below = matrix.iter().enumerate().flat_map(|(i, row)| &row[..i]);
        let off: f64 = below.map(|value| value * value).sum();
        let scale: f64 = (0..size).map(|i| matrix[i][i] * matrix[i][i]).sum();
        if off <= 1e-22 * scale {
            break;
        }
        for i in 0..size {
            for j in 0..i {
                if matrix[i][j] == 0.0 {
                    continue;
                }
                let theta = (matrix[i][i] - matrix[j][j]) / (2.0 * matrix[i][j]);
                let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for row in &mut matrix {
                    let (a, b) = (row[j], row[i]);
                    (row[j], row[i]) = (cosine * a - sine * b, sine * a + cosine * b);
                }
                for column in 0..size {
                    let (a, b) = (matrix[j][column], matrix[i][column]);
                    matrix[j][column] = cosine * a - sine * b;
                    matrix[i][column] = sine * a + cosine * b;
                }
                for column in 0..size {
                    let (a, b) = (vectors[j][column], vectors[i][column]);
                    vectors[j][column] = cosine * a - sine * b;
                    vectors[i][column] = sine * a + cosine * b;
                }
            }
        }
    }
    let mut found: Vec<(f64, Vec<f64>)> =
        vectors.into_iter().enumerate().map(|(i, vector)| (matrix[i][i], vector)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found
}

/// The inverse of the Cholesky factor of a symmetric matrix, of which the lower half is read: `W` with
/// `‖W v‖² = vᵀ M⁻¹ v`. `None` where the matrix is not positive definite.
#[allow(clippy::needless_range_loop)] // indices of matrices, as in the textbook
fn inverse_of_cholesky(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let size = matrix.len();
    let mut factor = vec![vec![0.0; size]; size];
    for i in 0..size {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            if i == j {
                let square = matrix[i][i] - sum;
                if square.is_nan() || square <= 0.0 {
                    return None;
                }
                factor[i][i] = square.sqrt();
            } else {
                factor[i][j] = (matrix[i][j] - sum) / factor[j][j];
            }
        }
    }
    let mut inverse = vec![vec![0.0; size]; size];
    for column in 0..size {
        for i in column..size {
            let sum: f64 = (column..i).map(|k| factor[i][k] * inverse[k][column]).sum();
            let unit = f64::from(u8::from(i == column));
            inverse[i][column] = (unit - sum) / factor[i][i];
        }
    }
    Some(inverse)
}
