//! Random draws that are functions of their purpose, never of earlier draws.
//!
//! A [`Draws`] stream is ChaCha8 keyed with the four values (seed, purpose, epoch, key), little-endian:
//! the same draws on every machine, with any number of threads, in any order, and after a restart.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The purpose of a stream of draws. Streams of different purposes are independent.
///
/// The numbers are part of the format of a run: an existing one never changes its meaning, and 6 is not
/// reused. Initial weights are drawn by `ocelli-nn`, from the seed and the tensor's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
#[non_exhaustive]
pub enum Purpose {
    /// Which items are for validation.
    Split = 1,
    /// The order of the items in an epoch.
    Shuffle = 2,
    /// The augmentation of one image in one epoch.
    Augment = 3,
    /// Which items a weighted sampler picks.
    Sample = 4,
    /// How the images of a batch are mixed (mixup, cutmix).
    Mix = 5,
    /// Dropout masks; the key is the step.
    Dropout = 7,
    /// Bootstrap resamples.
    Bootstrap = 8,
    /// The directions of a random projection.
    Project = 16,
    /// Made-up images.
    Noise = 17,
}

/// A stream of random numbers: a pure function of (seed, purpose, epoch, key).
#[derive(Debug, Clone)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream for `purpose` of the item (or step, or tensor) `key` in `epoch`.
    pub fn new(seed: u64, purpose: Purpose, epoch: u64, key: u64) -> Self {
        let mut state = [0; 32];
        for (bytes, number) in state.chunks_exact_mut(8).zip([seed, purpose as u64, epoch, key]) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        Draws(ChaCha8Rng::from_seed(state))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [`low`, `high`).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform over 0, 1, … `n` − 1, without bias; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // Rejects the first 2^64 mod n values, so that every residue is equally frequent.
        let rejected = n.wrapping_neg() % n;
        loop {
            let bits = self.bits();
            if bits >= rejected {
                return bits % n;
            }
        }
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Normal with mean 0 and standard deviation 1 (Box and Muller's method).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts `values` into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// The key of a name for random draws: the first eight bytes of its BLAKE3 hash, little-endian.
pub fn key(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}
