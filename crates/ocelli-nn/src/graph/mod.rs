//! A network, frozen for use, as a list of operations.
//!
//! [`Network::graph`](crate::Network::graph) records what the network does to one image: every operation with
//! its parameters, batch norms folded into the convolutions. The list is a plain value. What runs networks
//! elsewhere is made of it, such as ONNX files, and so is [`Int8Features`], which computes it in 8-bit integers;
//! [`Graph::run`] is its slow reference in f64.

mod export;
mod int8;
mod record;
mod reference;

use std::collections::HashSet;
use std::fmt;

pub use export::{Output, UNKNOWN_SCORE, UniqueNames, UnknownParameters};
pub use int8::{Int8Features, Ranges};

pub use crate::op::operation::{ConvWindow, Operation, Parameter, PoolWindow};

/// The operations of a network on images of one size.
///
/// Values are numbered: 0 is the images, `[images, channels, height, width]`, normalised; `n + 1` is the output
/// of node `n`. A node's inputs come before it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Graph {
    /// Channels, height and width of the images.
    pub image: [usize; 3],
    /// The operations, in the order in which they run.
    pub nodes: Vec<Node>,
    /// The value that is the pooled features, `[images, features]`.
    pub features: usize,
    /// The value that is the logits, `[images, classes]`.
    pub logits: usize,
}

/// An operation of a graph.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// A name that no other node has: that of its parameters, or what it does and a number.
    pub name: String,
    /// What it does.
    pub operation: Operation,
    /// The values that it takes.
    pub inputs: Vec<usize>,
    /// The shape of its output for one image.
    pub shape: Vec<usize>,
}

impl Graph {
    /// Names the nodes of a list.
    pub(crate) fn new(
        image: [usize; 3],
        steps: impl IntoIterator<Item = (Operation, Vec<usize>, Vec<usize>)>,
        [features, logits]: [usize; 2],
    ) -> Self {
        let mut names = HashSet::new();
        let mut named = |operation: &Operation, number: usize| {
            let parameter = operation.parameters().first().map_or("", |parameter| &parameter.name);
            let name = parameter.strip_suffix(".weight").unwrap_or(parameter);
            let name = if name.is_empty() {
                format!("{}_{number}", operation.name().replace(' ', "_"))
            } else {
                name.to_owned()
            };
            if names.insert(name.clone()) { name } else { format!("{name}_{number}") }
        };
        let nodes = steps.into_iter().enumerate().map(|(number, (operation, inputs, shape))| Node {
            name: named(&operation, number),
            operation,
            inputs,
            shape,
        });
        Self { image, nodes: nodes.collect(), features, logits }
    }

    /// The shape of a value for one image.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn shape(&self, value: usize) -> &[usize] {
        match value.checked_sub(1) {
            None => &self.image,
            Some(node) => &self.nodes[node].shape,
        }
    }

    /// The number of values of all parameters, norms folded in.
    pub fn parameters(&self) -> usize {
        let all = self.nodes.iter().flat_map(|node| node.operation.parameters());
        all.map(|parameter| parameter.values.len()).sum()
    }

    /// Multiplications of one image, each with its addition, in convolutions, linear layers and attention.
    pub fn multiply_adds(&self) -> usize {
        let of = |node: &Node| {
            let output: usize = node.shape.iter().product();
            match &node.operation {
                Operation::Conv { weight, .. } => output * weight.shape[1..].iter().product::<usize>(),
                Operation::Linear { weight, .. } => weight.values.len(),
                Operation::Attention { .. } => 2 * output * node.shape[1],
                _ => 0,
            }
        };
        self.nodes.iter().map(of).sum()
    }
}

/// A line for each operation: its output's number and shape, what it does, its inputs, its name.
impl fmt::Display for Graph {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let shape = |shape: &[usize]| shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        writeln!(formatter, "{:>4}  {:>12}  images", 0, shape(&self.image))?;
        for (number, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
            let (operation, inputs) = (node.operation.to_string(), inputs.join(", "));
            let value = number + 1;
            let role = match value {
                _ if value == self.logits => "  = logits",
                _ if value == self.features => "  = features",
                _ => "",
            };
            let size = shape(&node.shape);
            writeln!(formatter, "{value:>4}  {size:>12}  {operation} of {inputs}  ({}){role}", node.name)?;
        }
        Ok(())
    }
}
