//! Conversion of samples of any depth to 8 bits.
//!
//! | stored | 0 becomes | 255 becomes |
//! |---|---|---|
//! | whole numbers of n bits, or with a declared maximum | 0 | the largest number that the file's depth allows |
//! | signed numbers of n bits | the least of their kind | the largest |
//! | floats | 0 | 1; a file with values outside is refused |
//! | any of more than 8 bits, where a range is given | its first number | its second |
//!
//! Nothing depends on other pixels of the file, so that a value means the same in every file.

use serde::{Deserialize, Serialize};

use crate::decode::levels::Levels;
use crate::{DataError, DecodeError};

/// Which of an image's bands are read, and which values are black and white: part of a model's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Channels {
    /// The bands that become red, green and blue, from 1; default: the format's, or the first three of an
    /// image with more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bands: Option<[u16; 3]>,
    /// The values of samples of more than 8 bits that become black and white; others are clipped. Default:
    /// the whole range of integers, and 0 to 1 for floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_range: Option<[f64; 2]>,
}

impl Channels {
    /// Checks that bands count from 1, and that black is less than white.
    pub fn validate(&self) -> Result<(), DataError> {
        if let Some(bands) = self.bands
            && bands.contains(&0)
        {
            let value = bands.map(|band| band.to_string()).join(",");
            return Err(DataError::Setting { name: "bands", value, expected: "three numbers from 1" });
        }
        match self.value_range {
            Some([low, high]) if !(low < high && low.is_finite() && high.is_finite()) => {
                Err(DataError::Setting {
                    name: "value_range",
                    value: format!("{low},{high}"),
                    expected: "two numbers, the smaller one first",
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether this is the default.
    pub fn is_usual(&self) -> bool {
        *self == Channels::default()
    }
}

/// What a stored number is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// From 0 to a largest one.
    Unsigned(f64),
    /// Of so many bits, in two's complement.
    Signed(u32),
    Float,
}

/// Floats may be so far outside of 0 to 1 and are cut off: what interpolation overshoots.
const OVERSHOOT: f64 = 0.05;

/// Maps samples of one type to 0..=255, and remembers the largest.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    low: f64,
    factor: f64,
    /// Whether all values of the type are on the scale.
    complete: bool,
    deep: bool,
    /// The largest number of a signed type that is read from its least one on.
    signed: Option<f64>,
    least: f64,
    most: f64,
}

impl Scale {
    /// A range applies only to samples of more than 8 bits.
    pub fn new(kind: Kind, range: Option<[f64; 2]>) -> Self {
        let deep = !matches!(kind, Kind::Unsigned(maximum) if maximum <= 255.0) && kind != Kind::Signed(8);
        let range = range.filter(|_| deep);
        let [low, high] = range.unwrap_or_else(|| match kind {
            Kind::Unsigned(maximum) => [0.0, maximum],
            Kind::Signed(bits) => [-(2f64.powi(bits as i32 - 1)), 2f64.powi(bits as i32 - 1) - 1.0],
            Kind::Float => [0.0, 1.0],
        });
        Scale {
            low,
            factor: 255.0 / (high - low),
            complete: range.is_some() || kind != Kind::Float,
            deep,
            signed: match (kind, range) {
                (Kind::Signed(bits), None) => Some(2f64.powi(bits as i32 - 1) - 1.0),
                _ => None,
            },
            least: f64::INFINITY,
            most: f64::NEG_INFINITY,
        }
    }

    /// What is no number becomes 0.
    #[inline]
    pub fn byte(&mut self, value: f64) -> u8 {
        self.least = self.least.min(value);
        self.most = self.most.max(value);
        ((value - self.low) * self.factor + 0.5) as u8
    }

    /// How light what was seen is, where it has more than 8 bits.
    pub fn levels(&self) -> Option<Levels> {
        let mut levels = (self.deep && self.most.is_finite()).then(|| self.levels_of(self.most))?;
        levels.smallest = self.least.min(0.0);
        // What of a signed type is never used, its negative half for one, says how little is seen.
        if let Some(largest) = self.signed {
            levels.reach = self.most.abs().max(self.least.abs()) / largest;
        }
        Some(levels)
    }

    /// How light a number is.
    pub fn levels_of(&self, largest: f64) -> Levels {
        Levels { smallest: 0.0, largest, reach: (largest - self.low) * self.factor / 255.0 }
    }

    /// Floats that nothing gives a meaning to are refused.
    pub fn check(&self, format: &'static str) -> Result<(), DecodeError> {
        let outside = self.least < -OVERSHOOT || self.most > 1.0 + OVERSHOOT;
        match !self.complete && outside && self.least <= self.most {
            false => Ok(()),
            true => Err(DecodeError::Unsupported {
                format,
                detail: format!(
                    "its floats go from {} to {}, and only 0 to 1 have a meaning of themselves; give the values of \
                     black and white (`value_range`)",
                    short(self.least),
                    short(self.most)
                ),
            }),
        }
    }
}

/// Four digits are enough for people.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        0.001..10_000.0 => format!("{:.3}", value).trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => format!("{value:.3e}"),
    }
}

/// Shows alpha over white.
#[inline]
pub(super) fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// Bands as indices from 0; an error where the image does not have them. Grey has its one band three times.
pub(super) fn band_indices(
    bands: [u16; 3],
    count: usize,
    what: &'static str,
) -> Result<[usize; 3], DecodeError> {
    let count_or_three = if count == 1 { 3 } else { count };
    if let Some(band) = bands.iter().find(|band| !(1..=count_or_three).contains(&usize::from(**band))) {
        return Err(DecodeError::Band { band: *band, count: count_or_three, format: what });
    }
    Ok(bands.map(|band| if count == 1 { 0 } else { usize::from(band) - 1 }))
}

/// Bands of RGB pixels in another order.
pub(super) fn pick_bands(mut pixels: Vec<u8>, [red, green, blue]: [usize; 3]) -> Vec<u8> {
    pixels
        .as_chunks_mut::<3>()
        .0
        .iter_mut()
        .for_each(|pixel| *pixel = [pixel[red], pixel[green], pixel[blue]]);
    pixels
}
