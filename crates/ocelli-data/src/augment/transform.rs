//! Transforms, and how each is drawn.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use super::Base;
use super::custom::CustomTransform;
use super::plan::{Affine, Colour, Effect, LUMA, Plan};
use super::policy::Policy;
use crate::DataError;
use crate::random::Draws;

/// A transform with random parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Transform {
    /// With `probability`, turned about the centre by an angle uniform in ± `degrees` (positive is
    /// counter-clockwise); the corners are filled by reflection. fastai: `RandomRotate`.
    Rotate {
        /// The largest angle, 0 to 180.
        degrees: f64,
        /// How often.
        probability: f64,
    },
    /// Mirrored left and right. fastai: `RandomFlip`.
    Flip {
        /// How often.
        probability: f64,
    },
    /// One of the eight symmetries of the square, each equally often. fastai: `RandomDihedral`.
    Dihedral,
    /// Brightness and contrast, always: b uniform in ± `balance`, c in ± `contrast`, m = 1 + c or 1 / (1 − c)
    /// for negative c; x ↦ (x − μ) · m + μ + b on a scale of 0 to 1, clipped, where μ is the mean over all
    /// pixels and channels of the image. fastai: `RandomLighting`.
    Lighting {
        /// The largest shift, on a scale of 0 to 1.
        balance: f64,
        /// The largest change of contrast, less than 1.
        contrast: f64,
    },
    /// Enlarged about the centre by a factor uniform in 1 + `min` to 1 + `max`. fastai: `RandomZoom`.
    Zoom {
        /// The least enlargement, 0 or more.
        min: f64,
        /// The largest enlargement.
        max: f64,
    },
    /// Either the width or the height enlarged about the centre by up to 1 + `max`. fastai: `RandomStretch`.
    Stretch {
        /// The largest enlargement.
        max: f64,
    },
    /// One of rotation, zoom, stretch and nothing, a quarter of the images each. fastai: `RandomRotateZoom`.
    RotateZoom {
        /// The largest angle.
        degrees: f64,
        /// The largest zoom.
        zoom: f64,
        /// The largest stretch.
        stretch: f64,
    },
    /// Gaussian blur over 2k − 1 pixels, k uniform in 1 to `strength`, with OpenCV's
    /// σ = 0.3 · (k − 2) + 0.8. fastai: `RandomBlur`.
    Blur {
        /// The largest k, 1 to 20.
        strength: usize,
        /// How often.
        probability: f64,
    },
    /// Black squares whose centres are uniform over the sample, cut off at its borders. fastai: `Cutout`
    /// (there in pixels of the resized image).
    Cutout {
        /// How many.
        holes: usize,
        /// The side of a square as a fraction of the sample's side.
        length: f64,
        /// How often.
        probability: f64,
    },
    /// Hue turned by up to ± `hue` of the colour circle (a rotation in YIQ) and saturation multiplied by a
    /// factor uniform in 1 ± `saturation`.
    ColorJitter {
        /// The largest turn, 0 to 0.5.
        hue: f64,
        /// The largest change, 0 to 1.
        saturation: f64,
    },
    /// Operations picked from a list: RandAugment, TrivialAugment, or a list of your own.
    Policy(Policy),
    /// A custom transform.
    Custom(CustomTransform),
}

impl Transform {
    /// Says which setting is out of range, if one is.
    pub fn validate(&self) -> Result<(), DataError> {
        let check = |name, value: f64, low: f64, high: f64, expected| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err(DataError::setting(name, value, expected)),
        };
        let probability = |value| check("probability", value, 0.0, 1.0, "from 0 to 1");
        let degrees = |value| check("degrees", value, 0.0, 180.0, "from 0 to 180");
        let enlargement = |name, value| check(name, value, 0.0, 9.0, "from 0 to 9");
        match *self {
            Transform::Rotate { degrees: angle, probability: p } => degrees(angle).and(probability(p)),
            Transform::Flip { probability: p } => probability(p),
            Transform::Dihedral => Ok(()),
            Transform::Lighting { balance, contrast } => check("balance", balance, 0.0, 1.0, "from 0 to 1")
                .and(check("contrast", contrast, 0.0, 0.99, "from 0 to 0.99")),
            Transform::Zoom { min, max } => {
                enlargement("zoom", min).and(check("zoom", max, min, 9.0, "from the smallest zoom to 9"))
            }
            Transform::Stretch { max } => enlargement("stretch", max),
            Transform::RotateZoom { degrees: angle, zoom, stretch } => {
                degrees(angle).and(enlargement("zoom", zoom)).and(enlargement("stretch", stretch))
            }
            Transform::Blur { strength, probability: p } => {
                check("strength", strength as f64, 1.0, 20.0, "from 1 to 20").and(probability(p))
            }
            Transform::Cutout { holes, length, probability: p } => {
                check("holes", holes as f64, 0.0, 1000.0, "from 0 to 1000")
                    .and(check("length", length, 0.0, 1.0, "from 0 to 1"))
                    .and(probability(p))
            }
            Transform::ColorJitter { hue, saturation } => check("hue", hue, 0.0, 0.5, "from 0 to 0.5")
                .and(check("saturation", saturation, 0.0, 1.0, "from 0 to 1")),
            Transform::Policy(ref policy) => policy.validate(),
            Transform::Custom(ref custom) => custom.validate(),
        }
    }

    /// Draws the transform's parameters and adds it to the plan.
    pub(crate) fn draw(&self, draws: &mut Draws, base: &Base, plan: &mut Plan) {
        match *self {
            Transform::Rotate { degrees, probability } => {
                if draws.chance(probability) {
                    plan.rotate(draws.between(-degrees, degrees));
                }
            }
            Transform::Flip { probability } => {
                if draws.chance(probability) {
                    plan.flip();
                }
            }
            Transform::Dihedral => {
                (0..draws.below(4)).for_each(|_| plan.quarter_turn());
                if draws.chance(0.5) {
                    plan.flip();
                }
            }
            Transform::Lighting { balance, contrast } => {
                let b = draws.between(-balance, balance);
                let c = draws.between(-contrast, contrast);
                plan.colours.push(lighting(b, c, base.means().iter().sum::<f64>() / 3.0));
            }
            Transform::Zoom { min, max } => zoom(plan, draws.between(min, max)),
            Transform::Stretch { max } => stretch(plan, max, draws),
            Transform::RotateZoom { degrees, zoom: largest, stretch: longest } => match draws.below(4) {
                0 => plan.rotate(draws.between(-degrees, degrees)),
                1 => zoom(plan, draws.between(0.0, largest)),
                2 => stretch(plan, longest, draws),
                _ => {}
            },
            Transform::Blur { strength, probability } => {
                if draws.chance(probability) {
                    plan.effects.push(Effect::Blur { strength: 1 + draws.below(strength as u64) as usize });
                }
            }
            Transform::Cutout { holes, length, probability } => {
                if draws.chance(probability) {
                    let centres = (0..holes).map(|_| (draws.uniform(), draws.uniform())).collect();
                    plan.effects.push(Effect::Holes { centres, length });
                }
            }
            Transform::ColorJitter { hue, saturation } => {
                let turn = draws.between(-hue, hue);
                let factor = 1.0 + draws.between(-saturation, saturation);
                plan.colours.push(hue_and_saturation(turn, factor));
            }
            Transform::Policy(ref policy) => policy.draw(draws, base, plan),
            Transform::Custom(ref custom) => {
                plan.effects.push(Effect::Custom { transform: custom.clone(), key: draws.bits() });
            }
        }
    }
}

impl From<CustomTransform> for Transform {
    fn from(custom: CustomTransform) -> Self {
        Self::Custom(custom)
    }
}

pub(crate) fn zoom(plan: &mut Plan, larger: f64) {
    let factor = 1.0 / (1.0 + larger);
    plan.warp(Affine::about(plan.middle(), [factor, 0.0, 0.0, factor]));
}

fn stretch(plan: &mut Plan, max: f64, draws: &mut Draws) {
    let factor = 1.0 / (1.0 + draws.between(0.0, max));
    let linear = if draws.chance(0.5) { [factor, 0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0, factor] };
    plan.warp(Affine::about(plan.middle(), linear));
}

/// fastai's lighting for drawn b and c; `mean` in 0..=255.
pub(crate) fn lighting(b: f64, c: f64, mean: f64) -> Colour {
    let m = if c >= 0.0 { 1.0 + c } else { 1.0 / (1.0 - c) };
    Colour::scale(m, mean - mean * m + 255.0 * b)
}

/// Rotates the chroma plane of YIQ and scales it.
fn hue_and_saturation(turn: f64, factor: f64) -> Colour {
    // FCC's YIQ; its inverse is computed, so that no change is none.
    let to_yiq = [LUMA, [0.595_716, -0.274_453, -0.321_263], [0.211_456, -0.522_591, 0.311_135]];
    let (sin, cos) = (turn * TAU).sin_cos();
    let change = [[1.0, 0.0, 0.0], [0.0, factor * cos, -factor * sin], [0.0, factor * sin, factor * cos]];
    let rows = product(&inverse(&to_yiq), &product(&change, &to_yiq));
    Colour::Matrix(rows.map(|row| row.map(|weight| weight as f32)))
}

type Matrix = [[f64; 3]; 3];

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

fn inverse(m: &Matrix) -> Matrix {
    let minor = |i: usize, j: usize| {
        let (r, c) = ([(i + 1) % 3, (i + 2) % 3], [(j + 1) % 3, (j + 2) % 3]);
        m[r[0]][c[0]] * m[r[1]][c[1]] - m[r[0]][c[1]] * m[r[1]][c[0]]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * minor(0, j)).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| minor(j, i) / determinant))
}
