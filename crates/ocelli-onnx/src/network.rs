//! The operations of a network as ONNX nodes.

use ocelli_nn::graph::{ConvWindow, Graph, Node, Operation, Parameter, PoolWindow};
use ocelli_nn::op::Activation;

use crate::builder::Builder;
use crate::proto::Attribute::{Float, Int, Ints};
use crate::{Error, Result};

/// Names of values: the images, then each node's output.
pub struct Values(Vec<String>);

impl Values {
    pub fn name(&self, value: usize) -> &str {
        &self.0[value]
    }
}

/// Writes the nodes of a graph whose images are the value `images`.
pub fn write(builder: &mut Builder, graph: &Graph, images: &str) -> Result<Values> {
    let mut names = vec![images.to_owned()];
    for node in &graph.nodes {
        builder.part(&node.name);
        let inputs: Vec<&str> = node.inputs.iter().map(|input| names[*input].as_str()).collect();
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|input| graph.shape(*input)).collect();
        let output = Writer { builder, node, inputs, shapes }.write()?;
        names.push(output);
    }
    builder.part("");
    Ok(Values(names))
}

/// One node of the graph that is written.
struct Writer<'a> {
    builder: &'a mut Builder,
    node: &'a Node,
    inputs: Vec<&'a str>,
    /// The inputs' shapes for one image.
    shapes: Vec<&'a [usize]>,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<String> {
        let x = self.inputs[0].to_owned();
        Ok(match &self.node.operation {
            Operation::Conv { weight, bias, window, activation } => {
                let kernel = &weight.shape[2..];
                let weight = self.builder.weights("weight", &weight.shape, &weight.values);
                let bias = self.parameter(bias, "bias");
                let y = self.conv(&x, &weight, &bias, kernel, window);
                self.finish(y, *activation)
            }
            Operation::Affine { scale, shift, activation } => {
                let scale = self.per_channel(scale, "scale");
                let shift = self.per_channel(shift, "shift");
                let y = self.builder.node("Mul", &[&x, &scale], []);
                let y = self.builder.node("Add", &[&y, &shift], []);
                self.finish(y, *activation)
            }
            Operation::LayerNorm { weight, bias, epsilon } => {
                let weight = self.parameter(weight, "weight");
                let bias = self.parameter(bias, "bias");
                let axes = [("axis", Int(-1)), ("epsilon", Float(*epsilon as f32))];
                let pixels = self.transpose(&x, &[0, 2, 3, 1]);
                let y = self.builder.node("LayerNormalization", &[&pixels, &weight, &bias], axes);
                self.transpose(&y, &[0, 3, 1, 2])
            }
            Operation::Linear { weight, bias } => {
                let &[outputs, inputs] = &weight.shape[..] else { unreachable!("a matrix") };
                let mut transposed = vec![0.0; weight.values.len()];
                for (at, value) in weight.values.iter().enumerate() {
                    transposed[at % inputs * outputs + at / inputs] = *value;
                }
                let weight = self.builder.weights("weight", &[inputs, outputs], &transposed);
                let bias = self.parameter(bias, "bias");
                let product = self.builder.node("MatMul", &[&x, &weight], []);
                self.builder.node("Add", &[&product, &bias], [])
            }
            Operation::MaxPool(window) => self.builder.node("MaxPool", &[&x], pool(window)),
            Operation::AveragePool { window, count_padding } => {
                let [kernel, strides, pads] = pool(window);
                let count = ("count_include_pad", Int(i64::from(*count_padding)));
                self.builder.node("AveragePool", &[&x], [kernel, strides, pads, count])
            }
            Operation::GlobalAverage => {
                let y = self.builder.node("GlobalAveragePool", &[&x], []);
                self.flatten(&y)
            }
            Operation::GlobalMaximumAndAverage => {
                let axes = [("axes", Ints(vec![2, 3])), ("keepdims", Int(1))];
                let maximum = self.builder.node("ReduceMax", &[&x], axes);
                let average = self.builder.node("GlobalAveragePool", &[&x], []);
                let y = self.builder.node("Concat", &[&maximum, &average], [("axis", Int(1))]);
                self.flatten(&y)
            }
            Operation::AdaptiveAverage { grid } => self.adaptive(&x, *grid),
            Operation::Concat => {
                let inputs = self.inputs.clone();
                self.builder.node("Concat", &inputs, [("axis", Int(1))])
            }
            Operation::ScaleChannels => {
                let factors = self.inputs[1].to_owned();
                let factors = self.reshape(&factors, &[self.node.shape[0], 1, 1]);
                self.builder.node("Mul", &[&x, &factors], [])
            }
            Operation::Sigmoid => self.builder.node("Sigmoid", &[&x], []),
            Operation::HardSigmoid => self.hard_sigmoid(&x),
            Operation::Activate(activation) => self.activation(x, *activation),
            Operation::Attention { heads } => self.attention(&x, *heads),
            Operation::Tokens { class_token, positions } => self.tokens(&x, class_token, positions),
            Operation::ClassToken => {
                let y = self.slice(&x, 2, 0, 1);
                self.flatten(&y)
            }
            Operation::PatchTokens => self.slice(&x, 2, 1, i64::MAX),
            Operation::Reshape(shape) => self.reshape(&x, shape),
            operation => return Err(Error::NoOperator { operation: operation.to_string() }),
        })
    }

    fn conv(&mut self, x: &str, weight: &str, bias: &str, kernel: &[usize], window: &ConvWindow) -> String {
        let attributes = [
            ("kernel_shape", ints(kernel)),
            ("strides", ints(&[window.stride; 2])),
            ("pads", ints(&window.padding)),
            ("dilations", ints(&[window.dilation; 2])),
            ("group", Int(window.groups as i64)),
        ];
        self.builder.node("Conv", &[x, weight, bias], attributes)
    }

    fn parameter(&mut self, parameter: &Parameter, name: &str) -> String {
        self.builder.floats(name, &parameter.shape, &parameter.values)
    }

    /// A value for each channel, to be broadcast over maps or features.
    fn per_channel(&mut self, parameter: &Parameter, name: &str) -> String {
        let mut shape = vec![1; self.node.shape.len()];
        shape[0] = parameter.values.len();
        self.builder.floats(name, &shape, &parameter.values)
    }

    /// Adds the residual, if there is one, and applies the activation.
    fn finish(&mut self, y: String, activation: Activation) -> String {
        let y = match self.inputs.get(1) {
            Some(residual) => self.builder.node("Add", &[&y, residual], []),
            None => y,
        };
        self.activation(y, activation)
    }

    fn activation(&mut self, x: String, activation: Activation) -> String {
        match activation {
            Activation::None => x,
            Activation::Relu => self.builder.node("Relu", &[&x], []),
            Activation::Relu6 => {
                let (low, high) = (self.builder.float("low", 0.0), self.builder.float("high", 6.0));
                self.builder.node("Clip", &[&x, &low, &high], [])
            }
            Activation::Silu => {
                let gate = self.builder.node("Sigmoid", &[&x], []);
                self.builder.node("Mul", &[&x, &gate], [])
            }
            Activation::HardSwish => {
                let gate = self.hard_sigmoid(&x);
                self.builder.node("Mul", &[&x, &gate], [])
            }
            // The operator Gelu came with opset 20.
            Activation::Gelu => {
                let factor = self.builder.float("factor", std::f32::consts::FRAC_1_SQRT_2);
                let (one, half) = (self.builder.float("one", 1.0), self.builder.float("half", 0.5));
                let scaled = self.builder.node("Mul", &[&x, &factor], []);
                let erf = self.builder.node("Erf", &[&scaled], []);
                let sum = self.builder.node("Add", &[&erf, &one], []);
                let product = self.builder.node("Mul", &[&x, &sum], []);
                self.builder.node("Mul", &[&product, &half], [])
            }
        }
    }

    fn hard_sigmoid(&mut self, x: &str) -> String {
        self.builder.node("HardSigmoid", &[x], [("alpha", Float(1.0 / 6.0)), ("beta", Float(0.5))])
    }

    fn flatten(&mut self, x: &str) -> String {
        self.builder.node("Flatten", &[x], [("axis", Int(1))])
    }

    /// In this shape for each image; 0 is the number of images, as it is.
    fn reshape(&mut self, x: &str, shape: &[usize]) -> String {
        let shape: Vec<i64> = std::iter::once(0).chain(shape.iter().map(|size| *size as i64)).collect();
        let shape = self.builder.integers("shape", &shape);
        self.builder.node("Reshape", &[x, &shape], [])
    }

    fn transpose(&mut self, x: &str, order: &[usize]) -> String {
        self.builder.node("Transpose", &[x], [("perm", ints(order))])
    }

    fn slice(&mut self, x: &str, axis: i64, from: i64, to: i64) -> String {
        let [from, to, axis] = [("start", from), ("end", to), ("axis", axis)]
            .map(|(name, value)| self.builder.integers(name, &[value]));
        self.builder.node("Slice", &[x, &from, &to, &axis], [])
    }

    /// ONNX has no adaptive pooling; for maps of a known size it is a matrix.
    fn adaptive(&mut self, x: &str, grid: usize) -> String {
        let &[channels, height, width] = self.shapes[0] else { unreachable!("it takes maps") };
        let cell = |at: usize, size: usize| at * size / grid..((at + 1) * size).div_ceil(grid);
        let mut matrix = vec![0.0; height * width * grid * grid];
        for (row, column) in (0..grid).flat_map(|row| (0..grid).map(move |column| (row, column))) {
            let (rows, columns) = (cell(row, height), cell(column, width));
            let part = 1.0 / (rows.len() * columns.len()) as f32;
            for at in rows.flat_map(|row| columns.clone().map(move |column| row * width + column)) {
                matrix[at * grid * grid + row * grid + column] = part;
            }
        }
        let matrix = self.builder.floats("cells", &[height * width, grid * grid], &matrix);
        let pixels = self.reshape(x, &[channels, height * width]);
        let means = self.builder.node("MatMul", &[&pixels, &matrix], []);
        self.flatten(&means)
    }

    fn attention(&mut self, x: &str, heads: usize) -> String {
        let &[channels, tokens, one] = &self.node.shape[..] else { unreachable!("tokens are maps") };
        let width = channels / heads;
        let parts = self.builder.integers("parts", &[channels as i64; 3]);
        let parts = self.builder.outputs("Split", &[x, &parts], [("axis", Int(1))], 3);
        let [query, key, value] = [0, 1, 2].map(|part| self.reshape(&parts[part], &[heads, width, tokens]));
        let factor = self.builder.float("factor", (width as f32).powf(-0.5));
        let query = self.transpose(&query, &[0, 1, 3, 2]);
        let query = self.builder.node("Mul", &[&query, &factor], []);
        let scores = self.builder.node("MatMul", &[&query, &key], []);
        let weights = self.builder.node("Softmax", &[&scores], [("axis", Int(-1))]);
        let weights = self.transpose(&weights, &[0, 1, 3, 2]);
        let mixed = self.builder.node("MatMul", &[&value, &weights], []);
        self.reshape(&mixed, &[channels, tokens, one])
    }

    fn tokens(&mut self, x: &str, class_token: &Parameter, positions: &Parameter) -> String {
        let &[channels, height, width] = self.shapes[0] else { unreachable!("it takes maps") };
        let tokens = height * width + 1;
        let patches = self.reshape(x, &[channels, height * width]);
        // An empty first token, to which the class token is added with the positions: so there is nothing to repeat
        // for each image.
        let room = self.builder.integers("room", &[0, 0, 1, 0, 0, 0]);
        let padded = self.builder.node("Pad", &[&patches, &room], []);
        let mut added = vec![0.0; channels * tokens];
        for (at, value) in added.iter_mut().enumerate() {
            let (channel, token) = (at / tokens, at % tokens);
            let class_token = if token == 0 { class_token.values[channel] } else { 0.0 };
            *value = class_token + positions.values[token * channels + channel];
        }
        let added = self.builder.floats("positions", &[channels, tokens], &added);
        let sum = self.builder.node("Add", &[&padded, &added], []);
        self.reshape(&sum, &[channels, tokens, 1])
    }
}

fn pool(window: &PoolWindow) -> [(&'static str, crate::proto::Attribute); 3] {
    [
        ("kernel_shape", ints(&window.kernel)),
        ("strides", ints(&window.stride)),
        ("pads", ints(&window.padding)),
    ]
}

fn ints(values: &[usize]) -> crate::proto::Attribute {
    Ints(values.iter().map(|value| *value as i64).collect())
}
