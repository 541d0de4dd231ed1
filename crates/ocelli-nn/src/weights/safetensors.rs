//! Safetensors files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, json};

use super::{DIGEST, NamedTensor, TensorFile, UNSEALED, is_counter};
use crate::{Error, Result};

/// How many bytes show whether a file is one.
pub const START: usize = 9;

/// The longest text before the tensors that is read, in bytes: names, shapes, and what else the file says.
const LONGEST_HEADER: u64 = 32 << 20;

/// The most tensors that are read.
const MOST_TENSORS: usize = 100_000;

/// Whether a file that begins so is meant as safetensors: the header's length in eight bytes, then JSON.
pub fn begins(start: &[u8]) -> bool {
    start.get(START - 1) == Some(&b'{') && start[5..START - 1] == [0; 3]
}

pub fn parse(bytes: &[u8], origin: &str) -> Result<TensorFile> {
    let broken = |error: &dyn std::fmt::Display| Error::NotSafetensors {
        origin: origin.to_owned(),
        reason: error.to_string(),
    };
    // Text is parsed into many times its memory.
    let claimed = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if claimed > LONGEST_HEADER {
        return Err(broken(&format!(
            "it claims {claimed} bytes of names and shapes, more than the limit of {LONGEST_HEADER}"
        )));
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| broken(&error))?;
    let count = header.tensors().len();
    if count > MOST_TENSORS {
        return Err(broken(&format!("it holds {count} tensors, more than the limit of {MOST_TENSORS}")));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| broken(&error))?;
    let metadata: BTreeMap<String, String> =
        header.metadata().clone().unwrap_or_default().into_iter().collect();
    let views: BTreeMap<&str, TensorView> = file.iter().collect();
    if let Some(noted) = metadata.get(DIGEST)
        && noted != UNSEALED
    {
        let mut hasher = Hasher::new(&metadata);
        for (name, view) in &views {
            hasher.tensor(name, view.dtype(), view.shape(), view.data());
        }
        let found = hasher.finish();
        if *noted != found {
            let (origin, noted) = (origin.to_owned(), noted.clone());
            return Err(Error::Damaged { origin, noted, found });
        }
    }
    let (mut tensors, mut dtypes) = (BTreeMap::new(), BTreeMap::new());
    for (name, view) in views.into_iter().filter(|(name, _)| !is_counter(name)) {
        let values = to_f32(&view).ok_or_else(|| Error::TensorType {
            origin: origin.to_owned(),
            tensor: name.to_owned(),
            found: format!("{:?}", view.dtype()),
        })?;
        dtypes.insert(name.to_owned(), format!("{:?}", view.dtype()));
        tensors.insert(name.to_owned(), Arc::new(NamedTensor { shape: view.shape().to_vec(), values }));
    }
    Ok(TensorFile { origin: origin.to_owned(), tensors, metadata, dtypes })
}

/// The bytes of a file, and the digest of its content, which they contain.
pub fn to_bytes(
    tensors: &BTreeMap<String, Arc<NamedTensor>>,
    mut metadata: BTreeMap<String, String>,
) -> (Vec<u8>, String) {
    let mut hasher = Hasher::new(&metadata);
    let mut header = Map::new();
    let mut end = 0;
    for (name, tensor) in tensors {
        hasher.tensor(name, Dtype::F32, &tensor.shape, &little_endian(tensor));
        let begin = end;
        end += size_of_val(&tensor.values[..]);
        let place = json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, end] });
        header.insert(name.clone(), place);
    }
    let digest = hasher.finish();
    metadata.insert(DIGEST.to_owned(), digest.clone());
    // The format's own writer takes the metadata as a hash map, whose order would not be fixed.
    header.insert("__metadata__".to_owned(), json!(metadata));
    let mut header = serde_json::to_vec(&header).expect("plain values serialise");
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let mut bytes = Vec::with_capacity(ALIGNMENT + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    tensors.values().for_each(|tensor| bytes.extend_from_slice(&little_endian(tensor)));
    (bytes, digest)
}

/// Tensors begin at multiples of this many bytes.
const ALIGNMENT: usize = 8;

fn little_endian(tensor: &NamedTensor) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        bytemuck::cast_slice(&tensor.values).into()
    } else {
        tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into()
    }
}

/// The digest of what a file says: its metadata and its tensors, each by its name, in the order of the names,
/// wherever they stand in the file.
struct Hasher(blake3::Hasher);

impl Hasher {
    fn new(metadata: &BTreeMap<String, String>) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        for (key, text) in metadata.iter().filter(|(key, _)| *key != DIGEST) {
            hasher.add(key.as_bytes());
            hasher.add(text.as_bytes());
        }
        hasher.add(b"");
        hasher
    }

    fn tensor(&mut self, name: &str, kind: Dtype, shape: &[usize], bytes: &[u8]) {
        self.add(name.as_bytes());
        self.add(format!("{kind:?}").as_bytes());
        self.add(&shape.iter().flat_map(|length| (*length as u64).to_le_bytes()).collect::<Vec<u8>>());
        self.add(bytes);
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    fn finish(self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

fn to_f32(view: &TensorView) -> Option<Vec<f32>> {
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        _ => return None,
    })
}
