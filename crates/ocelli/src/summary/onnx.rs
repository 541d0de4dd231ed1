//! What is said of an ONNX file.

use std::collections::BTreeMap;
use std::path::Path;

use ocelli_onnx::{Description, ValueDescription};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::export::Agreement;
use crate::model::config::{self, ModelConfig};
use crate::summary::model::ModelSummary;
use crate::summary::{FileInfo, TensorSummary};

/// What an ONNX file says about itself.
#[derive(Debug, Clone, Serialize)]
pub struct OnnxSummary {
    /// The file.
    #[serde(flatten)]
    pub file: FileInfo,
    /// The program that wrote it, with its version; empty where the file does not say.
    pub producer: String,
    /// The version of the standard operators.
    pub opset: i64,
    /// What it takes.
    pub inputs: Vec<OnnxValue>,
    /// What it gives.
    pub outputs: Vec<OnnxValue>,
    /// How often each operator is used.
    pub operators: BTreeMap<String, usize>,
    /// The model that was exported; `None` where the file is not Ocelli's.
    pub model: Option<Box<ModelSummary>>,
    /// How far file and model agreed when it was written.
    pub agreement: Option<Agreement>,
}

/// An input or an output of an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnnxValue {
    /// Its name.
    pub name: String,
    /// Each dimension's size, or the name of one that is free.
    pub shape: Vec<String>,
    /// The type of its numbers, such as F32 or U8.
    pub dtype: String,
}

impl OnnxSummary {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let bytes = ocelli_data::files::read(path).map_err(Error::io("read", path))?;
        let found = Description::read(&bytes)
            .map_err(|source| Error::NotAnOnnxFile { path: path.to_owned(), source })?;
        let constants: Vec<TensorSummary> = found.constants.iter().map(tensor).collect();
        // Those with a shape; others are limits, axes and the like.
        let numbers = constants.iter().filter(|constant| constant.dtype.as_deref() != Some("I64"));
        let file = FileInfo {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            digest: None,
            parameters: numbers.map(|constant| constant.shape.iter().product::<usize>()).sum(),
            tensors: constants,
        };
        let config: Option<ModelConfig> =
            found.metadata.get(config::ENTRY).and_then(|text| serde_json::from_str(text).ok());
        let alone = FileInfo { tensors: Vec::new(), ..file.clone() };
        Ok(Self {
            file,
            producer: found.producer,
            opset: found.opset,
            inputs: found.inputs.iter().map(value).collect(),
            outputs: found.outputs.iter().map(value).collect(),
            operators: found.operators,
            model: config.map(|config| Box::new(ModelSummary::new(alone, config, None))),
            agreement: found.metadata.get("agreement").and_then(|text| serde_json::from_str(text).ok()),
        })
    }
}

fn value(value: &ValueDescription) -> OnnxValue {
    OnnxValue { name: value.name.clone(), shape: value.shape.clone(), dtype: value.dtype.to_owned() }
}

fn tensor(constant: &ValueDescription) -> TensorSummary {
    TensorSummary {
        name: constant.name.clone(),
        shape: constant.shape.iter().map(|size| size.parse().unwrap_or_default()).collect(),
        dtype: Some(constant.dtype.to_owned()),
    }
}
