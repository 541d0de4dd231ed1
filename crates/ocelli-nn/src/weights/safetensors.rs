//! Safetensors files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};

use super::{NamedTensor, TensorFile, is_counter};
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
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter().filter(|(name, _)| !is_counter(name)) {
        let values = to_f32(&view).ok_or_else(|| Error::TensorType {
            origin: origin.to_owned(),
            tensor: name.to_owned(),
            found: format!("{:?}", view.dtype()),
        })?;
        tensors.insert(name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values });
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(TensorFile { origin: origin.to_owned(), tensors, metadata })
}

pub fn to_bytes(tensors: &BTreeMap<String, NamedTensor>, key: &str, text: &str) -> Vec<u8> {
    // One entry only: the format's writer takes a hash map, whose order would not be fixed.
    let metadata = HashMap::from([(key.to_owned(), text.to_owned())]);
    safetensors::serialize(tensors, Some(metadata)).expect("views of this process's memory serialise")
}

impl View for &NamedTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            bytemuck::cast_slice(&self.values).into()
        } else {
            self.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into()
        }
    }

    fn data_len(&self) -> usize {
        size_of_val(&self.values[..])
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
