//! Nodes and constants of an ONNX graph, one after the other.

use half::f16;
use ocelli_nn::graph::UniqueNames;

use crate::proto::{Attribute, DataType, GraphProto, NodeProto, TensorProto};

/// What has been written so far.
pub struct Builder {
    pub nodes: Vec<NodeProto>,
    pub constants: Vec<TensorProto>,
    /// Whether weights are stored in 16 bits.
    half: bool,
    names: UniqueNames,
}

impl Builder {
    pub fn new(half: bool) -> Self {
        Self { nodes: Vec::new(), constants: Vec::new(), half, names: UniqueNames::default() }
    }

    /// For what is added to a graph: names differ from those in it.
    pub fn beside(graph: &GraphProto) -> Self {
        let mut builder = Self::new(false);
        let nodes = graph.node.iter().flat_map(|node| node.output.iter().chain([&node.name]));
        let constants = graph.initializer.iter().map(|constant| &constant.name);
        builder.names = UniqueNames::beside(nodes.chain(constants).cloned());
        builder
    }

    /// What follows is a part of this.
    pub fn part(&mut self, name: &str) {
        self.names.part(name);
    }

    /// A node of one output, whose name it returns.
    pub fn node<const N: usize>(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: [(&str, Attribute); N],
    ) -> String {
        self.outputs(op_type, inputs, attributes, 1).remove(0)
    }

    /// A node of several outputs.
    pub fn outputs<const N: usize>(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: [(&str, Attribute); N],
        count: usize,
    ) -> Vec<String> {
        let name = self.names.unique(op_type);
        let output: Vec<String> = match count {
            1 => vec![format!("{name}:0")],
            _ => (0..count).map(|number| format!("{name}:{number}")).collect(),
        };
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: output.clone(),
            name,
            op_type: op_type.to_owned(),
            attribute: attributes.into_iter().map(|(name, value)| value.named(name)).collect(),
        });
        output
    }

    /// Gives the last node, which has one output, and this output another name.
    pub fn rename_last(&mut self, name: &str) {
        let last = self.nodes.last_mut().expect("there is a node");
        (last.name, last.output) = (name.to_owned(), vec![name.to_owned()]);
    }

    /// The weights of a convolution or a linear layer.
    pub fn weights(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        if !self.half {
            return self.floats(name, shape, values);
        }
        let raw = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let stored = self.constant(name, DataType::Float16, shape, raw);
        self.node("Cast", &[&stored], [("to", Attribute::Int(DataType::Float as i64))])
    }

    /// Floats.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Float, shape, raw)
    }

    /// One float.
    pub fn float(&mut self, name: &str, value: f32) -> String {
        self.floats(name, &[], &[value])
    }

    /// One integer.
    pub fn integer(&mut self, name: &str, value: i64) -> String {
        self.integer_tensor(name, &[], &[value])
    }

    /// Integers in a row.
    pub fn integers(&mut self, name: &str, values: &[i64]) -> String {
        self.integer_tensor(name, &[values.len()], values)
    }

    /// Integers in this shape.
    pub fn integer_tensor(&mut self, name: &str, shape: &[usize], values: &[i64]) -> String {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, shape, raw)
    }

    /// A constant of any type, from its bytes.
    pub fn constant(&mut self, name: &str, kind: DataType, shape: &[usize], raw_data: Vec<u8>) -> String {
        let name = self.names.unique(name);
        self.constants.push(TensorProto {
            dims: shape.iter().map(|size| *size as i64).collect(),
            data_type: kind as i32,
            name: name.clone(),
            raw_data,
        });
        name
    }
}
