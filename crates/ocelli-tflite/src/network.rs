//! The operations of a network as TFLite operators.
//!
//! Maps are `[images, height, width, channels]` here, tokens `[images, tokens, 1, channels]`, features as they are.

use ocelli_nn::graph::{ConvWindow, Graph, Node, Operation, Parameter, PoolWindow};
use ocelli_nn::op::Activation;

use crate::builder::Builder;
use crate::flatbuffer::Field;
use crate::schema::{Fused, Padding, code, field};
use crate::{Error, Result};

/// Writes the operations that these values need, and gives the tensor of each value that is written.
pub fn write(
    builder: &mut Builder,
    graph: &Graph,
    images: usize,
    wanted: &[usize],
) -> Result<Vec<Option<usize>>> {
    let mut needed = vec![false; graph.nodes.len() + 1];
    wanted.iter().for_each(|&value| needed[value] = true);
    for (number, node) in graph.nodes.iter().enumerate().rev() {
        if needed[number + 1] {
            node.inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    let mut values = vec![Some(images)];
    for (number, node) in graph.nodes.iter().enumerate() {
        if !needed[number + 1] {
            values.push(None);
            continue;
        }
        builder.part(&node.name);
        let inputs = node.inputs.iter().map(|&input| values[input].expect("it is needed")).collect();
        let shapes = node.inputs.iter().map(|&input| graph.shape(input)).collect();
        let output = Writer { builder, node, inputs, shapes }.write()?;
        values.push(Some(output));
    }
    builder.part("");
    Ok(values)
}

/// One node of the graph that is written.
struct Writer<'a> {
    builder: &'a mut Builder,
    node: &'a Node,
    inputs: Vec<usize>,
    /// The inputs' shapes for one image, channels first.
    shapes: Vec<&'a [usize]>,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<usize> {
        let x = self.inputs[0];
        Ok(match &self.node.operation {
            Operation::Conv { weight, bias, window, activation } => {
                let own = if self.inputs.len() > 1 { Activation::None } else { *activation };
                let y = self.conv(x, weight, bias, window, fused(own));
                match self.inputs.len() {
                    1 if fused(own) != Fused::None => y,
                    _ => self.finish(y, *activation),
                }
            }
            Operation::Affine { scale, shift, activation } => {
                let (scale, shift) = (self.parameter(scale, "scale"), self.parameter(shift, "shift"));
                let y = self.builder.mul(x, scale);
                let y = self.builder.add(y, shift, Fused::None);
                self.finish(y, *activation)
            }
            Operation::LayerNorm { weight, bias, epsilon } => {
                self.layer_norm(x, weight, bias, *epsilon as f32)
            }
            Operation::Linear { weight, bias } => {
                let (weight, bias) = (self.parameter(weight, "weight"), self.parameter(bias, "bias"));
                self.builder.fully_connected(x, weight, Some(bias))
            }
            Operation::MaxPool(window) => self.pool(x, window, code::MAX_POOL_2D, Some(f32::MIN)),
            Operation::AveragePool { window, count_padding } => self.average_pool(x, window, *count_padding),
            Operation::GlobalAverage => self.builder.reduce("mean", code::MEAN, x, &[1, 2], false),
            Operation::GlobalMaximumAndAverage => {
                let maximum = self.builder.reduce("max", code::REDUCE_MAX, x, &[1, 2], false);
                let average = self.builder.reduce("mean", code::MEAN, x, &[1, 2], false);
                self.builder.concat(&[maximum, average], 1)
            }
            Operation::AdaptiveAverage { grid } => self.adaptive(x, *grid),
            Operation::Concat => {
                let axis = if self.node.shape.len() == 3 { 3 } else { 1 };
                self.builder.concat(&self.inputs, axis)
            }
            Operation::ScaleChannels => {
                let factors = self.builder.reshape(self.inputs[1], &[1, 1, self.node.shape[0]]);
                self.builder.mul(x, factors)
            }
            Operation::Sigmoid => self.builder.each("sigmoid", code::LOGISTIC, x),
            Operation::HardSigmoid => {
                let (three, sixth) =
                    (self.builder.float("three", 3.0), self.builder.float("sixth", 1.0 / 6.0));
                let clipped = self.builder.add(x, three, Fused::Relu6);
                self.builder.mul(clipped, sixth)
            }
            Operation::Activate(activation) => self.activation(x, *activation),
            Operation::Attention { heads } => self.attention(x, *heads),
            Operation::Tokens { class_token, positions } => self.tokens(x, class_token, positions),
            Operation::ClassToken => {
                let y = self.builder.slice(x, 1, 0, Some(1));
                self.builder.reshape(y, &self.node.shape)
            }
            Operation::PatchTokens => self.builder.slice(x, 1, 1, None),
            Operation::Reshape(_) => self.reshape(x),
            operation => return Err(Error::NoOperator { operation: operation.to_string() }),
        })
    }

    fn parameter(&mut self, parameter: &Parameter, name: &str) -> usize {
        self.builder.floats(name, &parameter.shape, &parameter.values)
    }

    fn conv(
        &mut self,
        x: usize,
        weight: &Parameter,
        bias: &Parameter,
        window: &ConvWindow,
        fused: Fused,
    ) -> usize {
        let &[outputs, inputs, height, width] = &weight.shape[..] else { unreachable!("a kernel") };
        let ConvWindow { stride, padding, dilation, groups } = *window;
        let channels = self.shapes[0][0];
        let is_depthwise = groups > 1 && groups == channels;
        // Channels last; of depthwise convolutions, the outputs are.
        let mut values = vec![0.0; weight.values.len()];
        let area = height * width;
        for (at, value) in weight.values.iter().enumerate() {
            let (output, input, point) = (at / area / inputs, at / area % inputs, at % area);
            let place = if is_depthwise {
                point * outputs + output
            } else {
                (output * area + point) * inputs + input
            };
            values[place] = *value;
        }
        let shape = if is_depthwise { [1, height, width, outputs] } else { [outputs, height, width, inputs] };
        let weight = self.builder.floats("weight", &shape, &values);
        let bias = self.parameter(bias, "bias");
        let extent = [(height - 1) * dilation + 1, (width - 1) * dilation + 1];
        let (x, same) = self.padded(x, extent, [stride; 2], padding, None);
        let [stride, dilation] = [stride, dilation].map(|size| Field::I32(size as i32));
        let (code, options) = match is_depthwise {
            true => (
                code::DEPTHWISE_CONV_2D,
                vec![
                    (field::depthwise::PADDING, Field::I8(same as i8)),
                    (field::depthwise::STRIDE_W, stride.clone()),
                    (field::depthwise::STRIDE_H, stride),
                    (field::depthwise::DEPTH_MULTIPLIER, Field::I32((outputs / groups) as i32)),
                    (field::depthwise::ACTIVATION, Field::I8(fused as i8)),
                    (field::depthwise::DILATION_W, dilation.clone()),
                    (field::depthwise::DILATION_H, dilation),
                ],
            ),
            // Groups follow from the kernel's channels.
            false => (
                code::CONV_2D,
                vec![
                    (field::conv::PADDING, Field::I8(same as i8)),
                    (field::conv::STRIDE_W, stride.clone()),
                    (field::conv::STRIDE_H, stride),
                    (field::conv::ACTIVATION, Field::I8(fused as i8)),
                    (field::conv::DILATION_W, dilation.clone()),
                    (field::conv::DILATION_H, dilation),
                ],
            ),
        };
        let shape = self.maps();
        self.builder.operator("conv", code, &[x, weight, bias], options, &shape)
    }

    /// The output's shape, channels last.
    fn maps(&self) -> [usize; 4] {
        let &[channels, height, width] = &self.node.shape[..] else { unreachable!("it gives maps") };
        [1, height, width, channels]
    }

    /// Padding as the format has it: none, `SAME`, which may be wider after a map than before it, or else an operator of
    /// its own. `extent` is how far a window reaches.
    fn padded(
        &mut self,
        x: usize,
        extent: [usize; 2],
        stride: [usize; 2],
        [top, left, ..]: [usize; 4],
        value: Option<f32>,
    ) -> (usize, Padding) {
        let (from, to) = (self.shapes[0], self.maps());
        let axes = [0, 1].map(|axis| {
            let (size, count) = (from[1 + axis], to[1 + axis]);
            let (before, reach) = ([top, left][axis], (count - 1) * stride[axis] + extent[axis]);
            let is_same = count == size.div_ceil(stride[axis]) && before == reach.saturating_sub(size) / 2;
            let is_valid = before == 0 && reach <= size && count == (size - extent[axis]) / stride[axis] + 1;
            (is_same, is_valid, [before, reach.saturating_sub(before + size)])
        });
        if axes.iter().all(|axis| axis.1) {
            return (x, Padding::Valid);
        }
        if axes.iter().all(|axis| axis.0) {
            return (x, Padding::Same);
        }
        let x = self.builder.pad(x, &[[0; 2], axes[0].2, axes[1].2, [0; 2]], value);
        (x, Padding::Valid)
    }

    /// `padding` is the value of what is outside; `None` is 0.
    fn pool(&mut self, x: usize, window: &PoolWindow, code: i32, padding: Option<f32>) -> usize {
        let (x, same) = self.padded(x, window.kernel, window.stride, window.padding, padding);
        self.pool_padded(x, window, code, same)
    }

    fn pool_padded(&mut self, x: usize, window: &PoolWindow, code: i32, padding: Padding) -> usize {
        let size = |size: usize| Field::I32(size as i32);
        let options = vec![
            (field::pool::PADDING, Field::I8(padding as i8)),
            (field::pool::STRIDE_W, size(window.stride[1])),
            (field::pool::STRIDE_H, size(window.stride[0])),
            (field::pool::FILTER_WIDTH, size(window.kernel[1])),
            (field::pool::FILTER_HEIGHT, size(window.kernel[0])),
        ];
        let shape = self.maps();
        self.builder.operator("pool", code, &[x], options, &shape)
    }

    /// TFLite's own padding does not count; zeros beside the map do.
    fn average_pool(&mut self, x: usize, window: &PoolWindow, count_padding: bool) -> usize {
        let (padded, same) = self.padded(x, window.kernel, window.stride, window.padding, None);
        let is_as_padded = match same {
            Padding::Same => !count_padding,
            Padding::Valid => padded == x || count_padding,
        };
        if is_as_padded {
            return self.pool_padded(padded, window, code::AVERAGE_POOL_2D, same);
        }
        let [_, height, width, _] = self.maps();
        let from = self.shapes[0];
        // The part of a window that is inside the map, for each window.
        let inside = |at: usize, axis: usize| {
            let first = at * window.stride[axis];
            let (before, size) = (window.padding[axis], from[1 + axis]);
            (first + window.kernel[axis]).min(before + size) - first.max(before)
        };
        let area = (window.kernel[0] * window.kernel[1]) as f32;
        let parts: Vec<f32> = (0..height)
            .flat_map(|row| (0..width).map(move |column| (row, column)))
            .map(|(row, column)| (inside(row, 0) * inside(column, 1)) as f32)
            .collect();
        let factors: Vec<f32> = match (count_padding, same) {
            // From the mean of what is inside to that of the window.
            (true, Padding::Same) => parts.iter().map(|part| part / area).collect(),
            _ => parts.iter().map(|part| area / part).collect(),
        };
        let y = self.pool_padded(padded, window, code::AVERAGE_POOL_2D, same);
        let factors = self.builder.floats("factors", &[1, height, width, 1], &factors);
        self.builder.mul(y, factors)
    }

    /// TFLite has no layer norm.
    fn layer_norm(&mut self, x: usize, weight: &Parameter, bias: &Parameter, epsilon: f32) -> usize {
        let last = self.builder.shape(x).len() - 1;
        let mean = self.builder.reduce("mean", code::MEAN, x, &[last], true);
        let squares = self.builder.binary("squares", code::SQUARED_DIFFERENCE, x, mean);
        let variance = self.builder.reduce("variance", code::MEAN, squares, &[last], true);
        let epsilon = self.builder.float("epsilon", epsilon);
        let variance = self.builder.add(variance, epsilon, Fused::None);
        let factor = self.builder.each("factor", code::RSQRT, variance);
        let centred = self.builder.binary("centred", code::SUB, x, mean);
        let normalized = self.builder.mul(centred, factor);
        let (weight, bias) = (self.parameter(weight, "weight"), self.parameter(bias, "bias"));
        let scaled = self.builder.mul(normalized, weight);
        self.builder.add(scaled, bias, Fused::None)
    }

    /// Adds the residual, if there is one, and applies the activation.
    fn finish(&mut self, y: usize, activation: Activation) -> usize {
        match self.inputs.get(1) {
            Some(&residual) => {
                let fused = fused(activation);
                let y = self.builder.add(y, residual, fused);
                if fused == Fused::None { self.activation(y, activation) } else { y }
            }
            None => self.activation(y, activation),
        }
    }

    fn activation(&mut self, x: usize, activation: Activation) -> usize {
        match activation {
            Activation::None => x,
            Activation::Relu => self.builder.each("relu", code::RELU, x),
            Activation::Relu6 => self.builder.each("relu6", code::RELU6, x),
            Activation::Silu => {
                let gate = self.builder.each("sigmoid", code::LOGISTIC, x);
                self.builder.mul(x, gate)
            }
            Activation::HardSwish => self.builder.each("hard_swish", code::HARD_SWISH, x),
            // Without the option `approximate`: by the error function.
            Activation::Gelu => self.builder.each("gelu", code::GELU, x),
        }
    }

    /// TFLite has no adaptive pooling; for maps of a known size it is a matrix.
    fn adaptive(&mut self, x: usize, grid: usize) -> usize {
        let &[channels, height, width] = self.shapes[0] else { unreachable!("it takes maps") };
        let cell = |at: usize, size: usize| at * size / grid..((at + 1) * size).div_ceil(grid);
        let mut matrix = vec![0.0; grid * grid * height * width];
        for (row, column) in (0..grid).flat_map(|row| (0..grid).map(move |column| (row, column))) {
            let (rows, columns) = (cell(row, height), cell(column, width));
            let part = 1.0 / (rows.len() * columns.len()) as f32;
            for at in rows.flat_map(|row| columns.clone().map(move |column| row * width + column)) {
                matrix[(row * grid + column) * height * width + at] = part;
            }
        }
        let matrix = self.builder.floats("cells", &[grid * grid, height * width], &matrix);
        let pixels = self.builder.reshape(x, &[height * width, channels]);
        let planes = self.builder.transpose(pixels, &[0, 2, 1]);
        let means = self.builder.fully_connected(planes, matrix, None);
        self.builder.reshape(means, &self.node.shape)
    }

    fn attention(&mut self, x: usize, heads: usize) -> usize {
        let &[channels, tokens, _] = &self.node.shape[..] else { unreachable!("tokens are maps") };
        let width = channels / heads;
        let parts = self.builder.split(x, 3, 3);
        let [query, key, value] = [0, 1, 2].map(|part| {
            let part = self.builder.reshape(parts[part], &[tokens, heads, width]);
            self.builder.transpose(part, &[0, 2, 1, 3])
        });
        let factor = self.builder.float("factor", (width as f32).powf(-0.5));
        let query = self.builder.mul(query, factor);
        let scores = self.builder.matmul(query, key, true);
        let weights = self.builder.softmax(scores);
        let mixed = self.builder.matmul(weights, value, false);
        let mixed = self.builder.transpose(mixed, &[0, 2, 1, 3]);
        self.builder.reshape(mixed, &[tokens, 1, channels])
    }

    fn tokens(&mut self, x: usize, class_token: &Parameter, positions: &Parameter) -> usize {
        let &[channels, height, width] = self.shapes[0] else { unreachable!("it takes maps") };
        let patches = self.builder.reshape(x, &[height * width, 1, channels]);
        // An empty first token, to which the class token is added with the positions: so there is nothing to repeat
        // for each image.
        let padded = self.builder.pad(patches, &[[0; 2], [1, 0], [0; 2], [0; 2]], None);
        let mut added = positions.values.to_vec();
        added.iter_mut().zip(class_token.values.iter()).for_each(|(added, value)| *added += value);
        let added = self.builder.floats("positions", &[1, height * width + 1, 1, channels], &added);
        self.builder.add(padded, added, Fused::None)
    }

    /// The same values in another shape, in the order that they have with channels first.
    fn reshape(&mut self, x: usize) -> usize {
        let planes = match self.shapes[0] {
            &[channels, height, width] if channels > 1 && height * width > 1 => {
                self.builder.transpose(x, &[0, 3, 1, 2])
            }
            _ => x,
        };
        match &self.node.shape[..] {
            &[channels, height, width] if channels > 1 && height * width > 1 => {
                let planes = self.builder.reshape(planes, &[channels, height, width]);
                self.builder.transpose(planes, &[0, 2, 3, 1])
            }
            &[channels, height, width] => self.builder.reshape(planes, &[height, width, channels]),
            shape => self.builder.reshape(planes, shape),
        }
    }
}

/// What an operator can apply itself.
fn fused(activation: Activation) -> Fused {
    match activation {
        Activation::Relu => Fused::Relu,
        Activation::Relu6 => Fused::Relu6,
        _ => Fused::None,
    }
}
