//! What can go wrong with ONNX files.

use ocelli_data::Filter;

/// Everything that this crate can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation of the network has no operator in ONNX.
    #[error("the operation {operation:?} cannot be written as ONNX")]
    NoOperator {
        /// The operation.
        operation: String,
    },
    /// The weights of this filter depend on how 64-bit floats are rounded, which ONNX files cannot say.
    #[error(
        "an ONNX file cannot resize as the filter {filter:?} does, only as bilinear, bicubic and lanczos do; resize images \
         yourself and leave resizing out of the file"
    )]
    NoFilter {
        /// The filter.
        filter: Filter,
    },
    /// The graph was recorded for images of another size than the preprocessing gives.
    #[error(
        "the network was recorded for images of {graph:?} (channels, height, width), and preprocessing gives {given:?}"
    )]
    Size {
        /// The graph's.
        graph: [usize; 3],
        /// The preprocessing's.
        given: [usize; 3],
    },
    /// The bytes are no ONNX file.
    #[error("not an ONNX file, or a damaged one: {reason}")]
    NotOnnx {
        /// What the parser found.
        reason: String,
    },
    /// A value's range, which quantization needs, is unknown or not finite.
    #[error(
        "the value {value:?} has no finite range; run the network on photos that it computes finite numbers for"
    )]
    NoRange {
        /// The value's name in the file.
        value: String,
    },
    /// The other engine cannot run the file.
    #[error("{engine} cannot run the file: {reason}")]
    Engine {
        /// Its name and version.
        engine: &'static str,
        /// What it says.
        reason: String,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
