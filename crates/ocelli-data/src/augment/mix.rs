//! Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): images of a batch mixed with each other.

use serde::{Deserialize, Serialize};

use crate::random::{Draws, Purpose};
use crate::{Batch, DataError, Items};

/// Mixup or CutMix; λ is drawn from Beta(α, α) once per batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mix {
    /// Each image becomes λ · itself + (1 − λ) · another.
    Mixup {
        /// α, more than 0; 0.2 to 0.4 is usual.
        alpha: f64,
    },
    /// A rectangle of 1 − λ of each image's area is taken from another.
    CutMix {
        /// α, more than 0; 1 is usual.
        alpha: f64,
    },
}

/// How the images of a batch were mixed: target i becomes `weight` · target i + (1 − `weight`) · target
/// `partners[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// For each image of the batch, the position of the other one.
    pub partners: Vec<usize>,
    /// The weight of an image's own target, 0 to 1.
    pub weight: f32,
}

impl Mix {
    /// Mixes the images of a batch in place. The draws depend on the seed, the epoch and the first item.
    pub fn apply(&self, batch: &mut Batch, items: &Items, seed: u64, epoch: u64) -> Result<Mixed, DataError> {
        let (Mix::Mixup { alpha } | Mix::CutMix { alpha }) = *self;
        if !(alpha > 0.0 && alpha <= 100.0) {
            let value = alpha.to_string();
            return Err(DataError::Setting {
                name: "mix.alpha",
                value,
                expected: "more than 0 and at most 100",
            });
        }
        let [count, height, width, _] = batch.shape;
        let Some(&first) = batch.indices.first() else {
            return Ok(Mixed { partners: Vec::new(), weight: 1.0 });
        };
        let mut draws = Draws::new(seed, Purpose::Mix, epoch, items[first].key());
        let own = beta(&mut draws, alpha);
        let mut partners: Vec<usize> = (0..count).collect();
        draws.shuffle(&mut partners);

        let source = batch.images.clone();
        let length = height * width * 3;
        let other = |image: usize| &source[partners[image] * length..][..length];
        let weight = match self {
            Mix::Mixup { .. } => {
                let own = own as f32;
                for (image, sample) in batch.images.chunks_exact_mut(length).enumerate() {
                    for (value, other) in sample.iter_mut().zip(other(image)) {
                        *value = own * *value + (1.0 - own) * other;
                    }
                }
                own
            }
            Mix::CutMix { .. } => {
                let (rows, columns) = (rectangle(&mut draws, height, own), rectangle(&mut draws, width, own));
                for (image, sample) in batch.images.chunks_exact_mut(length).enumerate() {
                    for row in rows.clone() {
                        let part = (row * width + columns.start) * 3..(row * width + columns.end) * 3;
                        sample[part.clone()].copy_from_slice(&other(image)[part]);
                    }
                }
                // The part outside of the image does not count.
                1.0 - (rows.len() * columns.len()) as f32 / (height * width) as f32
            }
        };
        Ok(Mixed { partners, weight })
    }
}

/// √(1 − λ) of a side about a uniform centre, within the side.
fn rectangle(draws: &mut Draws, side: usize, own: f64) -> std::ops::Range<usize> {
    let half = (side as f64 * (1.0 - own).sqrt() / 2.0).round();
    let centre = (draws.uniform() * side as f64).floor();
    ((centre - half).max(0.0) as usize)..((centre + half).min(side as f64) as usize)
}

/// Beta(α, α) as a ratio of two gamma draws.
fn beta(draws: &mut Draws, alpha: f64) -> f64 {
    let (a, b) = (log_gamma_draw(draws, alpha), log_gamma_draw(draws, alpha));
    // In logarithms, since both draws underflow for a small α.
    1.0 / (1.0 + (b - a).exp())
}

/// The logarithm of a Gamma(α, 1) draw (Marsaglia and Tsang 2000).
fn log_gamma_draw(draws: &mut Draws, alpha: f64) -> f64 {
    if alpha < 1.0 {
        let boost = (1.0 - draws.uniform()).ln() / alpha;
        return log_gamma_draw(draws, alpha + 1.0) + boost;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = draws.normal();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - draws.uniform()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln();
        }
    }
}
