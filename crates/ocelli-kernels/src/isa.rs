//! Which vector instructions the kernels use: detected once, or forced for tests and measurements.

use std::{
    fmt,
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU8, Ordering},
    },
};
use thiserror::Error;

/// A set of vector instructions that kernels exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Isa {
    /// Plain Rust, on every processor.
    Portable,
    /// AVX2, FMA, BMI1 and BMI2 (x86-64).
    Avx2,
    /// AVX-512 F, BW, DQ and VL (x86-64).
    Avx512,
    /// AVX-512 with BF16 dot products (x86-64).
    Avx512Bf16,
    /// NEON (AArch64).
    Neon,
}

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsaError {
    /// Not a name of an instruction set.
    #[error("{0:?} is no instruction set; known are portable, avx2, avx512, avx512-bf16 and neon")]
    Unknown(String),
    /// This processor does not have it.
    #[error("this processor has no {0}; the best it has is {1}")]
    Unsupported(Isa, Isa),
}

impl Isa {
    /// The name of the environment variable that forces an instruction set.
    pub const ENVIRONMENT_VARIABLE: &'static str = "OCELLI_ISA";

    /// Every instruction set, whether this processor has it or not.
    pub const ALL: [Isa; 5] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Neon];

    /// The instruction set that the kernels use: what [`Isa::force`] set, else what the environment variable
    /// `OCELLI_ISA` names, else the best of this processor.
    ///
    /// An environment variable with an unknown or unsupported value counts as absent here; programs report it
    /// with [`Isa::from_environment`] when they start.
    pub fn current() -> Isa {
        match FORCED.load(Ordering::Relaxed) {
            NOT_FORCED => *DEFAULT,
            forced => Isa::ALL[forced as usize],
        }
    }

    /// Forces an instruction set in the whole process, or with `None` returns to the default.
    ///
    /// # Errors
    /// If this processor does not have it.
    pub fn force(isa: Option<Isa>) -> Result<(), IsaError> {
        let value = match isa {
            Some(isa) if !isa.is_supported() => return Err(IsaError::Unsupported(isa, Isa::detect())),
            Some(isa) => isa as u8,
            None => NOT_FORCED,
        };
        FORCED.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// What the environment variable `OCELLI_ISA` asks for; `None` if it is unset or empty.
    ///
    /// # Errors
    /// If its value is no instruction set, or one that this processor does not have.
    pub fn from_environment() -> Result<Option<Isa>, IsaError> {
        match std::env::var_os(Self::ENVIRONMENT_VARIABLE) {
            Some(value) if !value.is_empty() => {
                let isa: Isa = value.to_string_lossy().parse()?;
                if isa.is_supported() {
                    Ok(Some(isa))
                } else {
                    Err(IsaError::Unsupported(isa, Isa::detect()))
                }
            }
            _ => Ok(None),
        }
    }

    /// The best instruction set of this processor.
    pub fn detect() -> Isa {
        let preferred = [Isa::Avx512Bf16, Isa::Avx512, Isa::Avx2, Isa::Neon];
        preferred.into_iter().find(|isa| isa.is_supported()).unwrap_or(Isa::Portable)
    }

    /// Whether this processor has the instruction set.
    pub fn is_supported(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Isa::Avx512.is_supported() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => false,
        }
    }

    /// Whether products of bf16 have instructions of their own, so that bf16 is faster than f32.
    pub fn has_bf16(self) -> bool {
        self == Isa::Avx512Bf16
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512-bf16",
            Isa::Neon => "neon",
        })
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        let lower = name.trim().to_ascii_lowercase().replace('_', "-");
        let found = Isa::ALL.into_iter().find(|isa| isa.to_string() == lower);
        found.ok_or_else(|| IsaError::Unknown(name.to_owned()))
    }
}

const NOT_FORCED: u8 = u8::MAX;
static FORCED: AtomicU8 = AtomicU8::new(NOT_FORCED);
static DEFAULT: LazyLock<Isa> =
    LazyLock::new(|| Isa::from_environment().ok().flatten().unwrap_or_else(Isa::detect));
