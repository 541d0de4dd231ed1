//! How far the numbers of a deep image reach.

use serde::Serialize;

/// How light samples of more than 8 bits are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Levels {
    /// The smallest number in the file, where it is below 0; else 0.
    pub smallest: f64,
    /// The largest number in the file.
    pub largest: f64,
    /// The part of white that it is read as.
    pub reach: f64,
}
