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
        /// The system's error.
        source: std::io::Error,
    },
    /// The bytes are no safetensors file, or an incomplete one.
    #[error("{origin}: not a complete safetensors file ({reason}); copy or download it again")]
    NotSafetensors {
        /// Where the bytes came from: a path, or the name of embedded weights.
        origin: String,
        /// What the parser found.
        reason: String,
    },
    /// A file's content is not that of the digest in it.
    #[error(
        "{origin}: is damaged, or was changed by another program (the digest of its content begins with {}, and it records \
         {}); copy it again; if you changed it yourself, set the metadata entry \"ocelli-digest\" to \"none\"",
        beginning(found),
        beginning(noted)
    )]
    Damaged {
        /// Where the bytes came from: a path, or the name of embedded weights.
        origin: String,
        /// The digest in the file.
        noted: String,
        /// That of its content.
        found: String,
    },
    /// The depths of a head are not stages of the network before its last.
    #[error(
        "the depths {depths:?} of the head must be stages before the last, ascending; these are 0 to {}",
        before_last.saturating_sub(1)
    )]
    HeadForm {
        /// The head's depths.
        depths: Vec<usize>,
        /// The number of stages before the last.
        before_last: usize,
    },
    /// A network computes something that is not recorded, so that there is no list of its operations.
    #[error(
        "the network computes something before {before} by operations that are not recorded; make custom backbones \
         and heads of the layers and operations of ocelli_nn"
    )]
    NotRecorded {
        /// The first operation that takes it.
        before: String,
    },
    /// A network does something that there are no 8-bit integers for.
    #[error(
        "8-bit integers are for convolutional networks, and this one has the operation {operation}; compute it without them"
    )]
    NotInt8 {
        /// The operation.
        operation: &'static str,
    },
    /// Ranges of 8-bit integers are of another network, or of images of another size.
    #[error(
        "the ranges of 8-bit integers are of another network: {reason}; find them with this one, on images of its size"
    )]
    OtherRanges {
        /// How they differ.
        reason: String,
    },
    /// The images that ranges of 8-bit integers were found on gave numbers that are infinite or NaN.
    #[error(
        "the network's values are not finite in {value} ({low} to {high}): 8-bit integers cannot hold them"
    )]
    NoRange {
        /// The operation, and which of its kind.
        value: String,
        /// The smallest value.
        low: f32,
        /// The largest value.
        high: f32,
    },
    /// A file is of no kind that holds weights.
    #[error(
        "{}: neither a safetensors file nor a PyTorch checkpoint: it begins with {}; if it was downloaded, download it \
         again",
        path.display(),
        if begins.chars().any(char::is_control) { "bytes that are no text".to_owned() } else { format!("{begins:?}") }
    )]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// Its first bytes, as far as they are text.
        begins: String,
    },
    /// A file is no PyTorch checkpoint that can be read, or an incomplete one.
    #[error(
        "{origin}: not a complete PyTorch checkpoint of plain tensors ({reason}); copy or download it again, or \
         save it again in Python with torch.save(model.state_dict(), FILE)"
    )]
    NotPyTorch {
        /// The file.
        origin: String,
        /// What the reader found.
        reason: String,
    },
    /// A checkpoint holds an object that Python would have to make.
    #[error(
        "{origin}: {key:?} needs {object} to be run, and no code is run from files; if you trust the file, save its tensors in \
         Python with torch.save(model.state_dict(), FILE)"
    )]
    ForeignObject {
        /// The file.
        origin: String,
        /// Where the object is: the keys to it, separated by dots.
        key: String,
        /// The Python function or class that would make it.
        object: String,
    },
    /// A precision has no such name.
    #[error("unknown precision {name:?}; expected f32 or bf16")]
    UnknownPrecision {
        /// The name that was given.
        name: String,
    },
    /// A tensor is not of a floating-point type.
    #[error("{origin}: tensor {tensor} holds {found}; expected f16, bf16, f32 or f64")]
    TensorType {
        /// Where the tensor came from.
        origin: String,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// Two tensors of a file have the same name, so that one would replace the other.
    #[error("{origin}: two of its tensors are named {tensor:?}; save it again with a name for each")]
    DuplicateTensor {
        /// Where the tensors came from.
        origin: String,
        /// The name, without wrappers' prefixes.
        tensor: String,
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
    /// No device has this name.
    #[error(
        "unknown device {found:?}; expected cpu, cuda, metal, vulkan, wgpu or rocm, or one of several, such as cuda:1"
    )]
    UnknownDevice {
        /// The name given.
        found: String,
    },
    /// The device's backend is not compiled in.
    #[error(
        "this build of Ocelli cannot use {device}; get one that can with \
         `cargo install --path crates/ocelli-cli --features {device}`, or use cpu"
    )]
    DeviceNotBuilt {
        /// The kind of device, which is the name of the feature.
        device: &'static str,
    },
    /// The machine has no such device, or it does not work.
    #[error("{device} cannot be used: {reason}; check its driver, or use cpu")]
    NoDevice {
        /// The device's name.
        device: String,
        /// The backend's error.
        reason: String,
    },
    /// No architecture has this name.
    #[error("unknown backbone {found:?}; known are {}", known.join(", "))]
    UnknownArchitecture {
        /// The name given.
        found: String,
        /// The names of the registry.
        known: Vec<&'static str>,
    },
}

/// As much of a digest as people compare.
fn beginning(digest: &str) -> String {
    digest.chars().take(12).collect()
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
        const SHOWN: usize = 3;
        let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        match names.len().saturating_sub(SHOWN) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("missing: {}", some(missing)));
    }
    if !misshapen.is_empty() {
        let shapes: Vec<String> = misshapen
            .iter()
            .map(|(name, found, expected)| format!("{name} is {found:?}, expected {expected:?}"))
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
