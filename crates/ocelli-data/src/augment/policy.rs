//! RandAugment (Cubuk et al. 2020), TrivialAugment (Müller and Hutter 2021), and custom policies.

use serde::{Deserialize, Serialize};

use super::Base;
use super::plan::{Affine, Colour, Effect, LUMA, Plan};
use crate::DataError;
use crate::random::Draws;

/// A list of operations, of which some are drawn for each image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The operations, with equal probability.
    pub operations: Vec<Operation>,
    /// How many are drawn for an image, with replacement.
    pub count: usize,
    /// The magnitude, 0 to 1; `None`: drawn for each.
    pub magnitude: Option<f64>,
}

/// An operation; its strength grows with the policy's magnitude m from 0 to `max`, with a random sign where
/// that makes sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Operation {
    /// Identity.
    Identity,
    /// Rows shifted in proportion to their height: by ± m · max of it.
    ShearX(f64),
    /// Columns shifted in proportion to their distance from the left: by ± m · max of it.
    ShearY(f64),
    /// Shifted sideways by ± m · max of the width.
    TranslateX(f64),
    /// Shifted up or down by ± m · max of the height.
    TranslateY(f64),
    /// Turned by ± m · max degrees.
    Rotate(f64),
    /// Values multiplied by 1 ± m · max.
    Brightness(f64),
    /// Distance from grey multiplied by 1 ± m · max.
    Color(f64),
    /// Distance from the mean luma multiplied by 1 ± m · max.
    Contrast(f64),
    /// Distance from a smoothed image multiplied by 1 ± m · max.
    Sharpness(f64),
    /// The lowest round(m · max) of 8 bits cleared.
    Posterize(f64),
    /// Values of at least 255 · (1 − m) inverted.
    Solarize,
    /// Each channel stretched to 0..=255.
    AutoContrast,
    /// Each channel's histogram made even.
    Equalize,
}

impl Policy {
    /// RandAugment with `count` operations of a magnitude of 0 to 30 (torchvision's defaults are 2 and 9) and
    /// torchvision's ranges.
    pub fn rand_augment(count: usize, magnitude: f64) -> Self {
        let operations = operations(0.3, 150.0 / 331.0, 30.0, 0.9, 4.0);
        Policy { operations, count, magnitude: Some(magnitude / 30.0) }
    }

    /// TrivialAugment with its wide ranges: one operation of any magnitude.
    pub fn trivial_augment() -> Self {
        Policy { operations: operations(0.99, 32.0 / 224.0, 135.0, 0.99, 6.0), count: 1, magnitude: None }
    }

    /// Checks all settings.
    pub fn validate(&self) -> Result<(), DataError> {
        if self.operations.is_empty() {
            return Err(DataError::setting("operations", "empty", "at least one operation"));
        }
        if self.count > 100 {
            return Err(DataError::setting("count", self.count, "at most 100"));
        }
        if let Some(magnitude) = self.magnitude.filter(|magnitude| !(0.0..=1.0).contains(magnitude)) {
            return Err(DataError::setting("magnitude", magnitude, "from 0 to 1"));
        }
        self.operations.iter().try_for_each(|operation| match operation {
            Operation::ShearX(max)
            | Operation::ShearY(max)
            | Operation::TranslateX(max)
            | Operation::TranslateY(max)
            | Operation::Brightness(max)
            | Operation::Color(max)
            | Operation::Contrast(max)
            | Operation::Sharpness(max)
                if !(0.0..=1.0).contains(max) =>
            {
                Err(DataError::setting("operations", max, "a strength from 0 to 1"))
            }
            Operation::Rotate(max) if !(0.0..=180.0).contains(max) => {
                Err(DataError::setting("operations", max, "an angle from 0 to 180"))
            }
            Operation::Posterize(max) if !(0.0..=8.0).contains(max) => {
                Err(DataError::setting("operations", max, "a number of bits from 0 to 8"))
            }
            _ => Ok(()),
        })
    }

    pub(crate) fn draw(&self, draws: &mut Draws, base: &Base, plan: &mut Plan) {
        for _ in 0..self.count {
            let operation = &self.operations[draws.below(self.operations.len() as u64) as usize];
            let magnitude = self.magnitude.unwrap_or_else(|| draws.uniform());
            operation.draw(magnitude, draws, base, plan);
        }
    }
}

/// The fourteen operations of both papers.
fn operations(shear: f64, translate: f64, rotate: f64, enhance: f64, posterize: f64) -> Vec<Operation> {
    vec![
        Operation::Identity,
        Operation::ShearX(shear),
        Operation::ShearY(shear),
        Operation::TranslateX(translate),
        Operation::TranslateY(translate),
        Operation::Rotate(rotate),
        Operation::Brightness(enhance),
        Operation::Color(enhance),
        Operation::Contrast(enhance),
        Operation::Sharpness(enhance),
        Operation::Posterize(posterize),
        Operation::Solarize,
        Operation::AutoContrast,
        Operation::Equalize,
    ]
}

impl Operation {
    fn draw(&self, magnitude: f64, draws: &mut Draws, base: &Base, plan: &mut Plan) {
        let mut signed = |max: f64| if draws.chance(0.5) { magnitude * max } else { -magnitude * max };
        let (width, height) = plan.size();
        match self {
            Operation::Identity => {}
            Operation::ShearX(max) => {
                plan.warp(Affine::about(plan.middle(), [1.0, signed(*max), 0.0, 1.0]));
            }
            Operation::ShearY(max) => {
                plan.warp(Affine::about(plan.middle(), [1.0, 0.0, signed(*max), 1.0]));
            }
            Operation::TranslateX(max) => {
                plan.warp(Affine([1.0, 0.0, (signed(*max) * f64::from(width)).round(), 0.0, 1.0, 0.0]));
            }
            Operation::TranslateY(max) => {
                plan.warp(Affine([1.0, 0.0, 0.0, 0.0, 1.0, (signed(*max) * f64::from(height)).round()]));
            }
            Operation::Rotate(max) => plan.rotate(signed(*max)),
            Operation::Brightness(max) => plan.colours.push(Colour::scale(1.0 + signed(*max), 0.0)),
            Operation::Color(max) => plan.colours.push(Colour::saturation(1.0 + signed(*max))),
            Operation::Contrast(max) => {
                let factor = 1.0 + signed(*max);
                let means = base.means();
                let luma: f64 = means.iter().zip(LUMA).map(|(mean, weight)| mean * weight).sum();
                plan.colours.push(Colour::scale(factor, luma * (1.0 - factor)));
            }
            Operation::Sharpness(max) => plan.effects.push(Effect::Sharpness { factor: 1.0 + signed(*max) }),
            Operation::Posterize(max) => {
                let cleared = (magnitude * max).round() as u32;
                plan.colours.push(table(|_, value| value as f64 - (value % (1 << cleared)) as f64));
            }
            Operation::Solarize => {
                let threshold = 255.0 * (1.0 - magnitude);
                plan.colours.push(table(|_, value| {
                    if value as f64 >= threshold { 255.0 - value as f64 } else { value as f64 }
                }));
            }
            Operation::AutoContrast => {
                let ends = base.histograms().map(|histogram| {
                    let low = histogram.iter().position(|&count| count > 0).unwrap_or(0) as f64;
                    let high = histogram.iter().rposition(|&count| count > 0).unwrap_or(255) as f64;
                    (low, high)
                });
                plan.colours.push(table(|channel, value| match ends[channel] {
                    (low, high) if high > low => {
                        ((value as f64 - low) * 255.0 / (high - low)).clamp(0.0, 255.0)
                    }
                    _ => value as f64,
                }));
            }
            Operation::Equalize => {
                let tables = base.histograms().map(|histogram| equalize(&histogram));
                plan.colours.push(table(|channel, value| tables[channel][value]));
            }
        }
    }
}

fn table(value: impl Fn(usize, usize) -> f64) -> Colour {
    let mut tables = Box::new([[0.0; 256]; 3]);
    for (channel, table) in tables.iter_mut().enumerate() {
        for (from, to) in table.iter_mut().enumerate() {
            *to = value(channel, from) as f32;
        }
    }
    Colour::Table(tables)
}

/// Pillow's equalization: steps of (pixels − pixels of the brightest value) / 255.
fn equalize(histogram: &[u64; 256]) -> [f64; 256] {
    let total: u64 = histogram.iter().sum();
    let brightest = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
    let step = (total - brightest) / 255;
    let mut sum = step / 2;
    std::array::from_fn(|value| {
        if step == 0 {
            return value as f64;
        }
        let level = (sum / step).min(255);
        sum += histogram[value];
        level as f64
    })
}
