//! Convolutions of 8-bit integers, for inference.
//!
//! Maps are bytes, `[batch, height, width, channels]`; a byte `q` stands for `scale · (q − zero point)`. Dense convolutions
//! multiply bytes by weights of 8 bits, with a scale for each output channel, and sum in 32 bits: exactly, and alike on
//! every processor. (Without VNNI two products are added in 16 bits, so scales are such that two neighbouring weights of one
//! sign are at most 128 together.) Depthwise convolutions multiply bytes by weights of `f32`: there it is the loads that
//! take time. What follows a convolution is computed in `f32`, and rounded to the bytes of the output.
//!
//! | module | |
//! |---|---|
//! | `conv` | [`Int8Conv`]: packed weights, and how work is split |
//! | `dense` | register tiles of dense and grouped convolutions |
//! | `depthwise` | those of depthwise convolutions |
//! | `epilogue` | what follows a sum, and how it becomes a byte |
//! | `maps` | [`Int8Maps`], pooling and element-wise operations |

mod conv;
mod dense;
mod depthwise;
mod epilogue;
mod maps;

pub use conv::{Int8Conv, Int8ConvOptions};
pub use maps::Int8Maps;

/// The most that two weights of one sign are together, in magnitude, before they are rounded, which adds 1 at most: products
/// of 128 with bytes are below 2¹⁵, which is where x86-64 without VNNI (`vpmaddubsw`) cuts off the sum of two products.
pub const MAX_PAIR: i8 = 127;

/// What the bytes of maps stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// The difference between the numbers of two neighbouring bytes, positive.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

impl Quantization {
    /// Bytes for the numbers between these two, and for 0.
    pub fn of_range([low, high]: [f32; 2]) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        // What is always 0 needs no steps.
        let scale = if high > low { ((high - low) / 255.0).max(f32::MIN_POSITIVE) } else { 1.0 };
        Self { scale, zero_point: (-low / scale).round_ties_even() as u8 }
    }

    /// The number that a byte stands for.
    pub fn to_f32(self, byte: u8) -> f32 {
        self.scale * (f32::from(byte) - f32::from(self.zero_point))
    }
}
