//! Safetensors files: named tensors with text metadata, read into f32.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Error, Result};

/// Named f32 tensors and the metadata of the file that held them.
#[derive(Debug, Clone, Default)]
pub struct TensorFile {
    origin: String,
    tensors: BTreeMap<String, NamedTensor>,
    metadata: BTreeMap<String, String>,
}

/// One tensor of a file, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The length of every dimension.
    pub shape: Vec<usize>,
    /// Its numbers; f16, bf16 and f64 files are converted.
    pub values: Vec<f32>,
}

impl TensorFile {
    /// Reads a safetensors file whole.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotSafetensors`] and [`Error::TensorType`]; each names the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        Self::parse(&bytes, &path.display().to_string())
    }

    /// Reads the bytes of a safetensors file; `origin` names them in errors.
    ///
    /// # Errors
    /// [`Error::NotSafetensors`] and [`Error::TensorType`].
    pub fn parse(bytes: &[u8], origin: &str) -> Result<Self> {
        let broken = |error: &dyn std::fmt::Display| Error::NotSafetensors {
            origin: origin.to_owned(),
            reason: error.to_string(),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| broken(&error))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| broken(&error))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = to_f32(&view).ok_or_else(|| Error::TensorType {
                origin: origin.to_owned(),
                tensor: name.to_owned(),
                found: format!("{:?}", view.dtype()),
            })?;
            tensors.insert(name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values });
        }
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Self { origin: origin.to_owned(), tensors, metadata })
    }

    /// An empty file, to be filled; `origin` names it in errors.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    /// Adds or replaces a tensor.
    ///
    /// # Panics
    /// Where the number of values is not the product of the shape.
    pub fn insert(&mut self, name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a tensor's values fill its shape");
        self.tensors.insert(name.into(), NamedTensor { shape, values });
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// An entry of the metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Where the tensors came from: a path, or the name of embedded weights.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The tensors whose names `select` accepts.
    pub fn filtered(&self, select: impl Fn(&str) -> bool) -> Self {
        let mut filtered = self.clone();
        filtered.tensors.retain(|name, _| select(name));
        filtered
    }

    /// The bytes of a safetensors file with these tensors in f32 and one entry of metadata. The same tensors
    /// give the same bytes.
    pub fn to_bytes(&self, key: &str, text: &str) -> Vec<u8> {
        let bytes: Vec<(&String, &NamedTensor, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                (name, tensor, tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, tensor, bytes)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes);
            (name.as_str(), view.expect("four bytes a value"))
        });
        // One entry only: the format's writer takes a hash map, whose order would not be fixed.
        let metadata = HashMap::from([(key.to_owned(), text.to_owned())]);
        safetensors::serialize(views, Some(metadata)).expect("views of this process's memory serialise")
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
