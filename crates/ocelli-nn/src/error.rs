//! What can go wrong with networks and their weights.

use std::path::PathBuf;

/// Everything that this crate can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A weights file could not be opened or read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no safetensors file, or an incomplete one.
    #[error("{origin}: not a whole safetensors file ({reason}); copy or download it again")]
    NotSafetensors {
        /// Where the bytes came from: a path, or the name of embedded weights.
        origin: String,
        /// What the parser found.
        reason: String,
    },
    /// A tensor has a number type that is no floating-point type.
    #[error("{origin}: tensor {tensor} holds {found}; f16, bf16, f32 or f64 is needed")]
    TensorType {
        /// Where the tensor came from.
        origin: String,
        /// The tensor's name.
        tensor: String,
        /// Its number type.
        found: String,
    },
    /// The weights are those of another network.
    #[error("{}", mismatch(origin, architecture, missing, misshapen, unexpected))]
    Mismatch {
        /// Where the weights came from.
        origin: String,
        /// The network they were to fill.
        architecture: String,
        /// Tensors that the network needs and the file lacks.
        missing: Vec<String>,
        /// Tensors of another shape: name, shape found, shape needed.
        misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
        /// Tensors that the network does not know.
        unexpected: Vec<String>,
    },
    /// No architecture has this name.
    #[error("there is no architecture {found:?}; known are {}", known.join(", "))]
    UnknownArchitecture {
        /// The name given.
        found: String,
        /// The names of the registry.
        known: Vec<&'static str>,
    },
}

fn mismatch(
    origin: &str,
    architecture: &str,
    missing: &[String],
    misshapen: &[(String, Vec<usize>, Vec<usize>)],
    unexpected: &[String],
) -> String {
    /// A list of names with its length, cut where it would fill the screen.
    fn some(names: &[String]) -> String {
        let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        if names.len() > 3 { format!("{shown}, … ({} in all)", names.len()) } else { shown }
    }
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("missing: {}", some(missing)));
    }
    if !misshapen.is_empty() {
        let shapes: Vec<String> = misshapen
            .iter()
            .map(|(name, found, wanted)| format!("{name} is {found:?}, {wanted:?} is needed"))
            .collect();
        parts.push(some(&shapes));
    }
    if !unexpected.is_empty() {
        parts.push(format!("not part of the network: {}", some(unexpected)));
    }
    format!("{origin}: these are not the weights of {architecture}: {}", parts.join("; "))
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
