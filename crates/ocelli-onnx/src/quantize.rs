//! Weights and activations as 8-bit integers.
//!
//! Files have pairs of `QuantizeLinear` and `DequantizeLinear` ("QDQ"), as onnxruntime's own tool writes them: engines join
//! what lies between such pairs into operators for integers, or compute in floats what they have no operator for. Weights
//! are int8 with a scale for each output channel, activations uint8 with a scale and a zero point, biases int32.
//!
//! Engines add two products in 16 bits on x86-64 without VNNI, and cut off what does not fit; which two, is theirs. So the
//! scale of a channel is such that no two of its weights are more than [`MAX_PAIR`] together, and all engines agree.

use std::collections::{BTreeMap, HashMap, HashSet};

use ocelli_kernels::{MAX_PAIR, Quantization};

use crate::builder::Builder;
use crate::model::Model;
use crate::proto::Attribute::Int;
use crate::proto::{DataType, GraphProto, NodeProto, TensorProto};
use crate::{Element, Engine, Error, Result};

/// The smallest and the largest number of each value.
pub type Ranges = BTreeMap<String, [f32; 2]>;

/// A convolution or a linear layer.
struct Layer {
    /// Where in the list of nodes.
    at: usize,
    weight: usize,
    /// The dimension of the weights that output channels have.
    axis: usize,
    /// Only a convolution's; a linear layer's is added by another node.
    bias: Option<usize>,
}

impl Model {
    /// Names of the values whose ranges [`quantize`](Self::quantize) needs: what convolutions and linear layers take, and what
    /// convolutions give.
    pub fn quantized_values(&self) -> Vec<String> {
        let graph = self.graph();
        let layers = layers(graph);
        let names: HashSet<String> = layers.iter().flat_map(|layer| values_of(graph, layer)).collect();
        let outputs: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
        let mut names: Vec<String> =
            names.into_iter().filter(|name| !outputs.contains(name.as_str())).collect();
        names.sort();
        names
    }

    /// The same model computing in 8-bit integers: weights are divided into 255 steps for each output channel, and values
    /// into 256 between the ends of their ranges.
    ///
    /// # Errors
    /// [`Error::NoRange`] where a value has no range, or one that is not finite.
    pub fn quantize(&self, ranges: &Ranges) -> Result<Self> {
        let mut model = self.clone();
        let values = self.quantized_values();
        let graph = model.graph_mut();
        let layers = layers(graph);
        let mut builder = Builder::beside(graph);
        let mut quantizations = HashMap::new();
        for name in &values {
            quantizations.insert(name.clone(), quantization(name, ranges)?);
        }
        // Weights and biases: a node before the layer that takes them.
        let mut before: HashMap<usize, Vec<NodeProto>> = HashMap::new();
        for layer in &layers {
            let input = graph.node[layer.at].input[0].clone();
            // The only values without a scale are outputs of the file, which no layer takes.
            let Some(of_input) = quantizations.get(&input) else { continue };
            let bias = layer.bias.map(|bias| (&graph.initializer[bias], of_input.scale));
            let (weight, bias) =
                quantized_weights(&mut builder, &graph.initializer[layer.weight], layer.axis, bias);
            before.entry(layer.at).or_default().append(&mut builder.nodes);
            let node = &mut graph.node[layer.at];
            node.input[1] = weight;
            if let Some(bias) = bias {
                node.input[2] = bias;
            }
        }
        // Values: two nodes after the one that computes them, whose result all others take.
        let mut renamed = HashMap::new();
        let mut after: HashMap<String, Vec<NodeProto>> = HashMap::new();
        for name in &values {
            let Quantization { scale, zero_point } = quantizations[name];
            builder.part(name.rsplit_once(':').map_or(name, |(node, _)| node));
            let scale = builder.float("scale", scale);
            let zero_point = builder.constant("zero_point", DataType::Uint8, &[], vec![zero_point]);
            let integers = builder.node("QuantizeLinear", &[name, &scale, &zero_point], []);
            let floats = builder.node("DequantizeLinear", &[&integers, &scale, &zero_point], []);
            renamed.insert(name.clone(), floats);
            after.insert(name.clone(), std::mem::take(&mut builder.nodes));
        }
        let mut nodes = Vec::new();
        for input in &graph.input {
            nodes.extend(after.remove(&input.name).unwrap_or_default());
        }
        for (at, mut node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
            for input in &mut node.input {
                if let Some(name) = renamed.get(input) {
                    input.clone_from(name);
                }
            }
            nodes.extend(before.remove(&at).unwrap_or_default());
            let outputs = node.output.clone();
            nodes.push(node);
            for output in outputs {
                nodes.extend(after.remove(&output).unwrap_or_default());
            }
        }
        let used: HashSet<&String> = nodes.iter().flat_map(|node| &node.input).collect();
        graph.initializer.append(&mut builder.constants);
        graph.initializer.retain(|constant| used.contains(&constant.name));
        graph.node = nodes;
        Ok(model)
    }

    /// The smallest and the largest number of each of the [`quantized_values`](Self::quantized_values) over these images, each
    /// `[1, channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Engine`] where the engine cannot run the model.
    pub fn ranges<T: Element>(
        &self,
        images: impl IntoIterator<Item = (Vec<T>, [usize; 4])>,
    ) -> Result<Ranges> {
        let names = self.quantized_values();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let engine = Engine::load_values(&self.to_bytes(), &all)?;
        let mut ranges = vec![[f32::INFINITY, f32::NEG_INFINITY]; names.len()];
        for (pixels, shape) in images {
            for ([low, high], values) in ranges.iter_mut().zip(engine.run(&pixels, shape)?) {
                *low = values.iter().copied().fold(*low, f32::min);
                *high = values.iter().copied().fold(*high, f32::max);
            }
        }
        Ok(names.into_iter().zip(ranges).collect())
    }
}

/// The layers whose weights are constants, in the order of nodes.
fn layers(graph: &GraphProto) -> Vec<Layer> {
    let constants: HashMap<&str, usize> =
        graph.initializer.iter().enumerate().map(|(at, constant)| (constant.name.as_str(), at)).collect();
    let layer = |(at, node): (usize, &NodeProto)| {
        let axis = match node.op_type.as_str() {
            "Conv" => 0,
            "MatMul" => 1,
            _ => return None,
        };
        let weight = *constants.get(node.input.get(1)?.as_str())?;
        // Other matrices are no weights: those of pooling, or of the unknown score.
        let name = graph.initializer[weight].name.rsplit('/').next()?;
        let bias = node.input.get(2).and_then(|name| constants.get(name.as_str()).copied());
        name.starts_with("weight").then_some(Layer { at, weight, axis, bias })
    };
    graph.node.iter().enumerate().filter_map(layer).collect()
}

/// The values that are quantized around a layer.
fn values_of(graph: &GraphProto, layer: &Layer) -> Vec<String> {
    let node = &graph.node[layer.at];
    let mut values = vec![node.input[0].clone()];
    if node.op_type == "Conv" {
        let output = &node.output[0];
        let consumers: Vec<&NodeProto> =
            graph.node.iter().filter(|other| other.input.iter().any(|input| input == output)).collect();
        // What is cut off by an activation needs no steps.
        values.push(match consumers[..] {
            [only] if ["Relu", "Clip"].contains(&only.op_type.as_str()) => only.output[0].clone(),
            _ => output.clone(),
        });
    }
    values
}

/// What the bytes of a value stand for.
fn quantization(name: &str, ranges: &Ranges) -> Result<Quantization> {
    let range = ranges.get(name).filter(|range| range.iter().all(|end| end.is_finite()));
    range.copied().map(Quantization::of_range).ok_or_else(|| Error::NoRange { value: name.to_owned() })
}

/// Weights and bias as integers; returns the names of their floats.
fn quantized_weights(
    builder: &mut Builder,
    weight: &TensorProto,
    axis: usize,
    bias: Option<(&TensorProto, f32)>,
) -> (String, Option<String>) {
    let values = floats(weight);
    let shape: Vec<usize> = weight.dims.iter().map(|size| *size as usize).collect();
    let channels = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let channel = |at: usize| at / inner % channels;
    let mut largest = vec![[0f32; 2]; channels];
    for (at, value) in values.iter().enumerate() {
        let [first, second] = &mut largest[channel(at)];
        *second = second.max(value.abs().min(*first));
        *first = first.max(value.abs());
    }
    let mut scales: Vec<f32> =
        largest.into_iter().map(|[first, second]| (first + second) / f32::from(MAX_PAIR)).collect();
    let biases = bias.map(|(bias, input_scale)| (floats(bias), input_scale));
    for (channel, scale) in scales.iter_mut().enumerate() {
        if let Some((biases, input_scale)) = &biases {
            // Within 32 bits, however small the weights are.
            *scale = scale.max(biases[channel].abs() / input_scale / (1 << 30) as f32);
        }
        if *scale < f32::MIN_POSITIVE {
            *scale = 1.0;
        }
    }
    let integers = values.iter().enumerate().map(|(at, value)| {
        let steps = (value / scales[channel(at)]).round_ties_even();
        (steps as i8).to_le_bytes()[0]
    });
    builder.part(weight.name.rsplit_once('/').map_or("", |(part, _)| part));
    let stored = builder.constant("weight", DataType::Int8, &shape, integers.collect());
    let scale = builder.floats("weight_scale", &[channels], &scales);
    let zero_point = builder.constant("weight_zero_point", DataType::Int8, &[channels], vec![0; channels]);
    let axis = ("axis", Int(axis as i64));
    let weight = builder.node("DequantizeLinear", &[&stored, &scale, &zero_point], [axis]);
    let bias = biases.map(|(biases, input_scale)| {
        let scales: Vec<f32> = scales.iter().map(|scale| scale * input_scale).collect();
        let integers = biases.iter().zip(&scales).flat_map(|(bias, scale)| {
            ((f64::from(*bias) / f64::from(*scale)).round_ties_even() as i32).to_le_bytes()
        });
        let stored = builder.constant("bias", DataType::Int32, &[channels], integers.collect());
        let scale = builder.floats("bias_scale", &[channels], &scales);
        let zeros = vec![0; 4 * channels];
        let zero_point = builder.constant("bias_zero_point", DataType::Int32, &[channels], zeros);
        builder.node("DequantizeLinear", &[&stored, &scale, &zero_point], [("axis", Int(0))])
    });
    (weight, bias)
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    tensor.raw_data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
