//! A whole file: inputs, network, outputs, metadata.

use std::collections::{BTreeMap, HashSet};

use ocelli_data::Preprocessing;
use ocelli_nn::Graph;
use ocelli_nn::graph::{Output, UNKNOWN_SCORE, UnknownParameters};
use prost::Message;

use crate::builder::Builder;
use crate::proto::Attribute::Int;
use crate::proto::{
    DataType, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};
use crate::{Error, Result, network, preprocess, unknown};

/// What a file takes. The number of images is free in each.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Input {
    /// `images`: f32, `[images, channels, height, width]`, normalised.
    #[default]
    Normalized,
    /// `images`: u8, `[images, 3, height, width]`, red, green, blue, of the network's size; normalised inside.
    Pixels(Preprocessing),
    /// `images`: u8, `[images, 3, height, width]`, red, green, blue, of any size; resized, cropped or padded, and
    /// normalised inside.
    AnySize(Preprocessing),
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Float {
    /// 32 bits.
    #[default]
    F32,
    /// Weights of 16 bits, which the engine converts to 32 when it loads them: half the size at the same speed. (On
    /// CPUs, engines have few operators for arithmetic in 16 bits.)
    F16,
}

/// How a network is written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// What the file takes.
    pub input: Input,
    /// What it gives.
    pub output: Output,
    /// How weights are stored.
    pub float: Float,
    /// A second output `unknown_score`, f32, `[images]`: how unlike the training photos an image is.
    pub unknown: Option<UnknownParameters>,
    /// Texts of the file, by their keys.
    pub metadata: BTreeMap<String, String>,
}

/// An ONNX model in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Model(ModelProto);

/// The version of the format that files have: that of opset 17.
const IR_VERSION: i64 = 8;
/// The oldest with layer norm.
const OPSET: i64 = 17;
/// The dimension that is free.
const IMAGES: &str = "images";

impl Input {
    fn preprocessing(&self) -> Option<&Preprocessing> {
        match self {
            Self::Normalized => None,
            Self::Pixels(preprocessing) | Self::AnySize(preprocessing) => Some(preprocessing),
        }
    }
}

impl Model {
    /// Writes a graph as ONNX.
    ///
    /// # Errors
    /// [`Error::Size`] where the preprocessing gives images of another size than the graph takes; [`Error::NoFilter`] and
    /// [`Error::NoOperator`] where ONNX has nothing for a filter or an operation.
    pub fn new(graph: &Graph, options: &Options) -> Result<Self> {
        let [channels, height, width] = graph.image;
        if let Some(preprocessing) = options.input.preprocessing() {
            let given = [3, preprocessing.size, preprocessing.size];
            if given != graph.image {
                return Err(Error::Size { graph: graph.image, given });
            }
        }
        let mut builder = Builder::new(options.float == Float::F16);
        let (kind, sides) = match options.input {
            Input::Normalized => (DataType::Float, [Ok(height), Ok(width)]),
            Input::Pixels(_) => (DataType::Uint8, [Ok(height), Ok(width)]),
            Input::AnySize(_) => (DataType::Uint8, [Err("height"), Err("width")]),
        };
        let input = ValueInfoProto::tensor(IMAGES, kind, &[Err(IMAGES), Ok(channels), sides[0], sides[1]]);
        let images = match &options.input {
            Input::Normalized => IMAGES.to_owned(),
            Input::Pixels(preprocessing) => preprocess::normalize(&mut builder, IMAGES, preprocessing),
            Input::AnySize(preprocessing) => {
                preprocess::resize_and_normalize(&mut builder, IMAGES, preprocessing)?
            }
        };
        let values = network::write(&mut builder, graph, &images)?;
        let value = if options.output == Output::Features { graph.features } else { graph.logits };
        let found = values.name(value).to_owned();
        finish(&mut builder, &found, options.output);
        let dims = [Err(IMAGES), Ok(graph.shape(value)[0])];
        let mut outputs = vec![ValueInfoProto::tensor(options.output.name(), DataType::Float, &dims)];
        if let Some(score) = &options.unknown {
            unknown::write(&mut builder, values.name(graph.features), score);
            outputs.push(ValueInfoProto::tensor(UNKNOWN_SCORE, DataType::Float, &dims[..1]));
        }
        let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
        let used = without_unused(builder, &names);
        let metadata = options.metadata.iter();
        Ok(Self(ModelProto {
            ir_version: IR_VERSION,
            producer_name: "ocelli".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(GraphProto {
                node: used.nodes,
                name: "ocelli".to_owned(),
                initializer: used.constants,
                input: vec![input],
                output: outputs,
            }),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            metadata_props: metadata
                .map(|(key, value)| StringStringEntryProto { key: key.clone(), value: value.clone() })
                .collect(),
        }))
    }

    /// Adds a text to the file, or replaces it.
    pub fn set_metadata(&mut self, key: &str, value: String) {
        self.0.metadata_props.retain(|entry| entry.key != key);
        self.0.metadata_props.push(StringStringEntryProto { key: key.to_owned(), value });
    }

    pub(crate) fn graph(&self) -> &GraphProto {
        self.0.graph.as_ref().expect("it was made with one")
    }

    pub(crate) fn graph_mut(&mut self) -> &mut GraphProto {
        self.0.graph.as_mut().expect("it was made with one")
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }
}

/// From logits or features to the output of that name. Nodes of the same names give logits and features.
fn finish(builder: &mut Builder, found: &str, output: Output) {
    let (Output::Probabilities { temperature } | Output::ProbabilityOfEach { temperature }) = output else {
        builder.node("Identity", &[found], []);
        builder.rename_last(output.name());
        return;
    };
    builder.node("Identity", &[found], []);
    builder.rename_last(Output::Logits.name());
    let temperature = builder.floats("temperature", &[], &[temperature as f32]);
    let logits = builder.node("Div", &[Output::Logits.name(), &temperature], []);
    match output {
        Output::Probabilities { .. } => builder.node("Softmax", &[&logits], [("axis", Int(-1))]),
        _ => builder.node("Sigmoid", &[&logits], []),
    };
    builder.rename_last(output.name());
}

/// Leaves out nodes and constants that no output depends on.
fn without_unused(mut builder: Builder, outputs: &[&str]) -> Builder {
    let mut needed: HashSet<String> = outputs.iter().map(|output| (*output).to_owned()).collect();
    for node in builder.nodes.iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
        }
    }
    builder.nodes.retain(|node| node.output.iter().any(|output| needed.contains(output)));
    builder.constants.retain(|constant| needed.contains(&constant.name));
    builder
}
