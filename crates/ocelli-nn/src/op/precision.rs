//! The precision of activations.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Tensor};
use ocelli_kernels::{Buffer, Isa, bf16, round_to, widen};
use serde::{Deserialize, Serialize};

use super::has_kernels;
use super::kernel::{Maps, constant, maps, primitive};
use crate::{Error, Result};

/// The number type that activations are stored in while a network runs. Parameters, statistics, sums, pooled
/// features and heads are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits, 24 of them significant.
    #[default]
    F32,
    /// 16 bits, 8 of them significant (bfloat16): half the memory, and twice the multiplications a second
    /// where the processor has instructions for it. Every processor computes it; without them it is slower
    /// than f32.
    Bf16,
}

impl Precision {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] =
        &[("f32", "32-bit floats"), ("bf16", "bfloat16 activations; weights and sums stay f32")];

    /// The fastest of this processor for networks on the CPU: bf16 where it has instructions for it (AVX-512
    /// BF16).
    pub fn fastest() -> Self {
        if Isa::current().has_bf16() { Self::Bf16 } else { Self::F32 }
    }

    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(Error::UnknownPrecision { name: name.to_owned() }),
        }
    }
}

/// Maps in that precision. On devices without kernels they stay as they are.
pub fn to_precision(input: Tensor<4>, precision: Precision) -> Tensor<4> {
    let dtype = precision.dtype();
    if input.dtype() == dtype || !has_kernels(&input) {
        return input;
    }
    if input.is_autodiff() {
        return input.cast(dtype);
    }
    let x = Maps::new(primitive(input));
    constant(match precision {
        Precision::Bf16 => {
            let mut y = Buffer::<bf16>::take(x.length());
            round_to(&x.values(), &mut y);
            maps(y, x.shape)
        }
        Precision::F32 => {
            let mut y = Buffer::<f32>::take(x.length());
            widen::<bf16>(&x.values(), &mut y);
            maps(y, x.shape)
        }
    })
}
