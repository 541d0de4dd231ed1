//! What an ONNX file holds, ours or another's.

use std::collections::BTreeMap;

use prost::Message;

use crate::proto::{DimensionValue, ModelProto, TensorProto, ValueInfoProto};
use crate::{Error, Result};

/// What an ONNX file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The program that wrote it, with its version; empty where the file does not say.
    pub producer: String,
    /// The version of the standard operators.
    pub opset: i64,
    /// What it takes.
    pub inputs: Vec<ValueDescription>,
    /// What it gives.
    pub outputs: Vec<ValueDescription>,
    /// How often each operator is used.
    pub operators: BTreeMap<String, usize>,
    /// Its constants.
    pub constants: Vec<ValueDescription>,
    /// Its texts, by their keys.
    pub metadata: BTreeMap<String, String>,
}

/// An input, an output or a constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueDescription {
    /// Its name.
    pub name: String,
    /// Each dimension's size, or the name of one that is free; `?` where the file does not say.
    pub shape: Vec<String>,
    /// The type of its numbers, as safetensors names it: F32, U8; `?` where it is none of those.
    pub dtype: &'static str,
}

impl Description {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::NotOnnx`] where the bytes are no ONNX model.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let model =
            ModelProto::decode(bytes).map_err(|error| Error::NotOnnx { reason: error.to_string() })?;
        let graph = model.graph.filter(|_| !model.opset_import.is_empty());
        let graph = graph.ok_or_else(|| Error::NotOnnx { reason: "it holds no graph".to_owned() })?;
        let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
        let mut operators = BTreeMap::new();
        for node in &graph.node {
            *operators.entry(node.op_type.clone()).or_default() += 1;
        }
        let constants: Vec<ValueDescription> = graph.initializer.iter().map(constant).collect();
        // Before version 4 of the format constants were inputs too.
        let is_input = |value: &&ValueInfoProto| constants.iter().all(|constant| constant.name != value.name);
        Ok(Self {
            producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
            opset: model.opset_import.iter().find(|set| standard(&set.domain)).map_or(0, |set| set.version),
            inputs: graph.input.iter().filter(is_input).map(value).collect(),
            outputs: graph.output.iter().map(value).collect(),
            operators,
            metadata: model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect(),
            constants,
        })
    }
}

fn value(info: &ValueInfoProto) -> ValueDescription {
    let tensor = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let sizes = shape.into_iter().flat_map(|shape| &shape.dim).map(|dimension| match &dimension.value {
        Some(DimensionValue::Value(size)) => size.to_string(),
        Some(DimensionValue::Parameter(name)) => name.clone(),
        None => "?".to_owned(),
    });
    ValueDescription {
        name: info.name.clone(),
        shape: sizes.collect(),
        dtype: dtype(tensor.map_or(0, |tensor| tensor.elem_type)),
    }
}

fn constant(tensor: &TensorProto) -> ValueDescription {
    ValueDescription {
        name: tensor.name.clone(),
        shape: tensor.dims.iter().map(i64::to_string).collect(),
        dtype: dtype(tensor.data_type),
    }
}

/// The numbers of `TensorProto.DataType`.
fn dtype(number: i32) -> &'static str {
    match number {
        1 => "F32",
        2 => "U8",
        3 => "I8",
        4 => "U16",
        5 => "I16",
        6 => "I32",
        7 => "I64",
        9 => "BOOL",
        10 => "F16",
        11 => "F64",
        12 => "U32",
        13 => "U64",
        16 => "BF16",
        _ => "?",
    }
}
