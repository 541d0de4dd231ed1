//! The list of operations in f64: slow and plain, to compare with.

use ocelli_kernels::Activation;

use super::{ConvWindow, Graph, Node, Operation, PoolWindow};

/// Values of several images, each of `shape`, in row-major order.
#[derive(Clone)]
struct Value {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Value {
    /// Channels and pixels of each image; the pixels of features are 1.
    fn sizes(&self) -> [usize; 2] {
        [self.shape[0], self.shape[1..].iter().product()]
    }

    fn map(&self, of: impl Fn(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), values: self.values.iter().map(|value| of(*value)).collect() }
    }
}

impl Graph {
    /// The logits `[images, classes]` of images `[images, channels, height, width]`, in f64, row by row.
    ///
    /// # Panics
    /// If `images` does not hold whole images.
    pub fn run(&self, images: &[f64]) -> Vec<f64> {
        let each: usize = self.image.iter().product();
        assert_eq!(images.len() % each, 0, "whole images");
        let count = images.len() / each;
        let mut values: Vec<Option<Value>> =
            vec![Some(Value { shape: self.image.to_vec(), values: images.to_vec() })];
        let mut last_use = vec![usize::MAX; self.nodes.len() + 1];
        for (number, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&input| last_use[input] = number);
        }
        last_use[self.logits] = usize::MAX;
        for (number, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<&Value> =
                node.inputs.iter().map(|&input| values[input].as_ref().expect("still used")).collect();
            let output = apply(node, &inputs, count);
            assert_eq!(output.len(), count * node.shape.iter().product::<usize>(), "{}", node.name);
            values.push(Some(Value { shape: node.shape.clone(), values: output }));
            for &input in node.inputs.iter().filter(|&&input| last_use[input] == number) {
                values[input] = None;
            }
        }
        values.swap_remove(self.logits).expect("logits are an output").values
    }
}

fn apply(node: &Node, inputs: &[&Value], count: usize) -> Vec<f64> {
    let (x, shape) = (inputs[0], &node.shape);
    let [channels, pixels] = x.sizes();
    match &node.operation {
        Operation::Conv { weight, bias, window, activation } => {
            let mut y = conv(x, count, &weight.values, &weight.shape, &bias.values, *window, shape);
            finish(&mut y, inputs.get(1).copied(), *activation);
            y
        }
        Operation::Affine { scale, shift, activation } => {
            let of = |(at, value): (usize, &f64)| {
                let channel = at / pixels % channels;
                value * f64::from(scale.values[channel]) + f64::from(shift.values[channel])
            };
            let mut y: Vec<f64> = x.values.iter().enumerate().map(of).collect();
            finish(&mut y, inputs.get(1).copied(), *activation);
            y
        }
        Operation::LayerNorm { weight, bias, epsilon } => {
            let mut y = vec![0.0; x.values.len()];
            for image in 0..count {
                for pixel in 0..pixels {
                    let at = |channel: usize| (image * channels + channel) * pixels + pixel;
                    let mean = (0..channels).map(|c| x.values[at(c)]).sum::<f64>() / channels as f64;
                    let square = |c: usize| (x.values[at(c)] - mean).powi(2);
                    let variance = (0..channels).map(square).sum::<f64>() / channels as f64;
                    for c in 0..channels {
                        let normalised = (x.values[at(c)] - mean) / (variance + epsilon).sqrt();
                        y[at(c)] = normalised * f64::from(weight.values[c]) + f64::from(bias.values[c]);
                    }
                }
            }
            y
        }
        Operation::Linear { weight, bias } => {
            let inputs = weight.shape[1];
            let of = |row: &[f64], output: usize| {
                let weights = &weight.values[output * inputs..][..inputs];
                let products = row.iter().zip(weights).map(|(x, w)| x * f64::from(*w));
                products.sum::<f64>() + f64::from(bias.values[output])
            };
            let rows = x.values.chunks_exact(inputs);
            rows.flat_map(|row| (0..weight.shape[0]).map(move |output| of(row, output))).collect()
        }
        Operation::MaxPool(window) => {
            pool(x, *window, shape, |found, _, _| found.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        }
        Operation::AveragePool { window, count_padding } => pool(x, *window, shape, |found, _, all| {
            let divisor = if *count_padding { all } else { found.len() };
            found.iter().sum::<f64>() / divisor as f64
        }),
        Operation::GlobalAverage => x.values.chunks_exact(pixels).map(mean).collect(),
        Operation::GlobalMaximumAndAverage => x
            .values
            .chunks_exact(channels * pixels)
            .flat_map(|image| {
                let maxima = image
                    .chunks_exact(pixels)
                    .map(|channel| channel.iter().copied().fold(f64::MIN, f64::max));
                maxima.chain(image.chunks_exact(pixels).map(mean)).collect::<Vec<_>>()
            })
            .collect(),
        Operation::AdaptiveAverage { grid } => adaptive(x, *grid),
        Operation::Concat => (0..count)
            .flat_map(|image| {
                inputs.iter().flat_map(move |part| {
                    let length = part.values.len() / count;
                    part.values[image * length..][..length].iter().copied()
                })
            })
            .collect(),
        Operation::ScaleChannels => {
            let factors = &inputs[1].values;
            x.values.iter().enumerate().map(|(at, value)| value * factors[at / pixels]).collect()
        }
        Operation::Sigmoid => x.map(sigmoid).values,
        Operation::HardSigmoid => x.map(|u| (u + 3.0).clamp(0.0, 6.0) / 6.0).values,
        Operation::Activate(activation) => x.map(|u| activate(u, *activation)).values,
        Operation::Attention { heads } => attention(x, count, *heads),
        Operation::Tokens { class_token, positions } => {
            let tokens = pixels + 1;
            let mut y = vec![0.0; count * channels * tokens];
            for (at, y) in y.iter_mut().enumerate() {
                let (image, channel, token) = (at / tokens / channels, at / tokens % channels, at % tokens);
                let value = match token {
                    0 => f64::from(class_token.values[channel]),
                    _ => x.values[(image * channels + channel) * pixels + token - 1],
                };
                *y = value + f64::from(positions.values[token * channels + channel]);
            }
            y
        }
        Operation::ClassToken => x.values.iter().step_by(pixels).copied().collect(),
        Operation::PatchTokens => {
            x.values.chunks_exact(pixels).flat_map(|tokens| tokens[1..].iter().copied()).collect()
        }
        Operation::Reshape(_) => x.values.clone(),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn sigmoid(u: f64) -> f64 {
    1.0 / (1.0 + (-u).exp())
}

fn activate(u: f64, activation: Activation) -> f64 {
    match activation {
        Activation::None => u,
        Activation::Relu => u.max(0.0),
        Activation::Relu6 => u.clamp(0.0, 6.0),
        Activation::Silu => u * sigmoid(u),
        Activation::Gelu => u * 0.5 * libm::erfc(-u / std::f64::consts::SQRT_2),
        Activation::HardSwish => u * (u + 3.0).clamp(0.0, 6.0) / 6.0,
    }
}

/// Adds the residual, then applies the activation.
fn finish(y: &mut [f64], residual: Option<&Value>, activation: Activation) {
    if let Some(residual) = residual {
        y.iter_mut().zip(&residual.values).for_each(|(y, residual)| *y += residual);
    }
    y.iter_mut().for_each(|y| *y = activate(*y, activation));
}

fn conv(
    x: &Value,
    count: usize,
    weight: &[f32],
    weight_shape: &[usize],
    bias: &[f32],
    window: ConvWindow,
    output: &[usize],
) -> Vec<f64> {
    let &[channels, height, width] = &x.shape[..] else { unreachable!("maps have three dimensions") };
    let &[outputs, out_height, out_width] = output else { unreachable!("maps have three dimensions") };
    let (group_channels, rows, columns) = (weight_shape[1], weight_shape[2], weight_shape[3]);
    let ConvWindow { stride, padding: [top, left, ..], dilation, groups } = window;
    let mut y = vec![0.0; count * outputs * out_height * out_width];
    for (plane, y) in y.chunks_exact_mut(out_height * out_width).enumerate() {
        let (image, o) = (plane / outputs, plane % outputs);
        y.fill(f64::from(bias[o]));
        let group = o / (outputs / groups);
        for c in 0..group_channels {
            let source = &x.values[(image * channels + group * group_channels + c) * height * width..];
            for row in 0..rows {
                for column in 0..columns {
                    let w = f64::from(weight[((o * group_channels + c) * rows + row) * columns + column]);
                    for (out_row, y) in y.chunks_exact_mut(out_width).enumerate() {
                        let at = (out_row * stride + row * dilation).checked_sub(top);
                        let Some(at) = at.filter(|at| *at < height) else { continue };
                        let source = &source[at * width..][..width];
                        for (out_column, y) in y.iter_mut().enumerate() {
                            let at = (out_column * stride + column * dilation).wrapping_sub(left);
                            if at < width {
                                *y += w * source[at];
                            }
                        }
                    }
                }
            }
        }
    }
    y
}

/// `of` is given the pixels of a window inside the map, the channel, and the number of pixels with padding.
fn pool(
    x: &Value,
    window: PoolWindow,
    output: &[usize],
    of: impl Fn(&[f64], usize, usize) -> f64,
) -> Vec<f64> {
    let &[channels, height, width] = &x.shape[..] else { unreachable!("maps have three dimensions") };
    let (out_height, out_width) = (output[1], output[2]);
    let [top, left, ..] = window.padding;
    let mut y = Vec::with_capacity(x.values.len());
    for (plane, map) in x.values.chunks_exact(height * width).enumerate() {
        for (out_row, out_column) in
            (0..out_height).flat_map(|row| (0..out_width).map(move |column| (row, column)))
        {
            let mut found = Vec::new();
            for (row, column) in
                (0..window.kernel[0]).flat_map(|row| (0..window.kernel[1]).map(move |column| (row, column)))
            {
                let row = (out_row * window.stride[0] + row).wrapping_sub(top);
                let column = (out_column * window.stride[1] + column).wrapping_sub(left);
                if row < height && column < width {
                    found.push(map[row * width + column]);
                }
            }
            y.push(of(&found, plane % channels, window.kernel.iter().product()));
        }
    }
    y
}

fn adaptive(x: &Value, grid: usize) -> Vec<f64> {
    let &[_, height, width] = &x.shape[..] else { unreachable!("maps have three dimensions") };
    let cell = |at: usize, size: usize| at * size / grid..((at + 1) * size).div_ceil(grid);
    let mut y = Vec::new();
    for map in x.values.chunks_exact(height * width) {
        for (row, column) in (0..grid).flat_map(|row| (0..grid).map(move |column| (row, column))) {
            let cells =
                cell(row, height).flat_map(|row| cell(column, width).map(move |column| row * width + column));
            let values: Vec<f64> = cells.map(|at| map[at]).collect();
            y.push(mean(&values));
        }
    }
    y
}

fn attention(qkv: &Value, count: usize, heads: usize) -> Vec<f64> {
    let [all, tokens] = qkv.sizes();
    let channels = all / 3;
    let width = channels / heads;
    let mut y = vec![0.0; count * channels * tokens];
    for image in 0..count {
        let value = |part: usize, channel: usize, token: usize| {
            qkv.values[((image * 3 + part) * channels + channel) * tokens + token]
        };
        for head in 0..heads {
            let range = head * width..(head + 1) * width;
            for token in 0..tokens {
                let score = |other: usize| {
                    let dot: f64 = range.clone().map(|c| value(0, c, token) * value(1, c, other)).sum();
                    dot / (width as f64).sqrt()
                };
                let scores: Vec<f64> = (0..tokens).map(score).collect();
                let most = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for c in range.clone() {
                    let mixed: f64 = (0..tokens).map(|other| weights[other] * value(2, c, other)).sum();
                    y[(image * channels + c) * tokens + token] = mixed / sum;
                }
            }
        }
    }
    y
}
