//! The features of a network, computed in 8-bit integers.
//!
//! Static quantization after training: the values of each operation become bytes between the smallest and the largest
//! number that photos gave ([`Ranges`]), convolutions multiply them by weights of 8 bits with a scale for each output
//! channel, and the head stays in f32. Images are computed one by one or a few at a time, each from the first layer to the last on one
//! thread, so that maps stay in its cache.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_kernels::{
    Activation, Int8Conv, Int8ConvOptions, Int8Maps, Padding, Pool2dShape, Quantization, linear,
    single_threaded,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{ConvWindow, Graph, Node, Operation, PoolWindow};
use crate::op::{is_cpu, with_channels_last};
use crate::{Backbone, Error, Network, Result};

/// The smallest and the largest number of each value in a network, over some images.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(BTreeMap<String, [f32; 2]>);

/// A network whose features are computed in 8-bit integers, on the CPU.
#[derive(Debug)]
pub struct Int8Features<B: Backbone> {
    network: Network<B>,
    ranges: Ranges,
    /// By height and width of the images.
    plans: Mutex<HashMap<[usize; 2], Arc<Plan>>>,
}

/// What is done to images of one size.
#[derive(Debug)]
struct Plan {
    image: [usize; 3],
    input: Quantization,
    steps: Vec<Step>,
    /// The value that is the features.
    features: usize,
    /// How many of the steps take each value.
    uses: Vec<usize>,
    /// The values of one image in the largest maps.
    largest: usize,
    /// The number of features.
    width: usize,
}

#[derive(Debug)]
struct Step {
    work: Work,
    inputs: Vec<usize>,
    /// The shape of its output for one image.
    shape: Vec<usize>,
    /// What its bytes stand for, where it has any.
    to: Quantization,
}

#[derive(Debug)]
enum Work {
    Conv(Box<Int8Conv>),
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
        activation: Activation,
    },
    /// The other operations keep what the graph says of them.
    Other(Operation),
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Maps,
    Features,
}

/// A value of some images.
enum Value {
    Maps(Int8Maps),
    /// Row by row.
    Features(Vec<f32>),
}

impl Ranges {
    /// The ranges of both.
    pub fn merge(&mut self, other: &Self) {
        for (name, [low, high]) in &other.0 {
            let range = self.0.entry(name.clone()).or_insert([*low, *high]);
            let is_nan = range.iter().chain([low, high]).any(|end| end.is_nan());
            *range = if is_nan { [f32::NAN; 2] } else { [range[0].min(*low), range[1].max(*high)] };
        }
    }

    /// The quantization of a value. Networks run the same operations on images of every size.
    fn quantization(&self, name: &str) -> Result<Quantization> {
        let Some(&[low, high]) = self.0.get(name) else {
            return Err(Error::OtherRanges { reason: format!("they have none of {name}") });
        };
        if !(low.is_finite() && high.is_finite()) {
            return Err(Error::NoRange { value: name.to_owned(), low, high });
        }
        Ok(Quantization::of_range([low, high]))
    }
}

fn to_cpu(images: Tensor<4>) -> Tensor<4> {
    if is_cpu(&images.device()) { images } else { Tensor::from_data(images.into_data(), &Device::flex()) }
}

/// The names of the images and of the values after them: what an operation is, and which of its kind.
fn names<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Vec<String> {
    let mut counts = HashMap::new();
    let mut name = |operation: &Operation| {
        let count = counts.entry(operation.name()).or_insert(0usize);
        *count += 1;
        format!("{} {count}", operation.name())
    };
    std::iter::once("images".to_owned()).chain(operations.into_iter().map(&mut name)).collect()
}

impl<B: Backbone> Network<B> {
    /// The ranges of the network's values on these images, `[images, channels, height, width]`, in f32.
    ///
    /// # Errors
    /// As [`graph`](Self::graph).
    pub fn ranges(&self, images: Tensor<4>) -> Result<Ranges> {
        let (tape, _) = self.recorded(to_cpu(images.inner()))?;
        let names = names(tape.steps.iter().map(|step| &step.operation));
        Ok(Ranges(names.into_iter().zip(tape.ranges()).collect()))
    }
}

impl<B: Backbone> Int8Features<B> {
    /// The features of a network by the ranges of its values on images of this height and width. It takes images of other
    /// sizes too, and keeps packed weights for each size.
    ///
    /// # Errors
    /// [`Error::NotInt8`] where it is no convolutional network; [`Error::NoRange`] where values are not finite;
    /// [`Error::OtherRanges`] where the ranges are of another network, or of images of another size;
    /// [`Error::NotRecorded`] where custom layers compute by operations of Burn's own.
    pub fn new(network: &Network<B>, ranges: Ranges, size: [usize; 2]) -> Result<Self> {
        let graph = network.graph(size)?;
        let found: BTreeSet<String> =
            names(graph.nodes.iter().map(|node| &node.operation)).into_iter().collect();
        if let Some(name) = ranges.0.keys().find(|name| !found.contains(*name)) {
            return Err(Error::OtherRanges { reason: format!("this one has no {name}") });
        }
        let plan = Arc::new(Plan::new(&graph, &ranges)?);
        Ok(Self { network: network.clone(), ranges, plans: Mutex::new(HashMap::from([(size, plan)])) })
    }

    /// Checks that there are integers for every operation before the features, on images of this height and width.
    ///
    /// # Errors
    /// [`Error::NotInt8`] where it is no convolutional network; [`Error::NotRecorded`] where custom layers compute by
    /// operations of Burn's own.
    pub fn check(network: &Network<B>, size: [usize; 2]) -> Result<()> {
        forms(&network.graph(size)?).map(|_| ())
    }

    /// The ranges of the network's values.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// The pooled features of images, `[images, channels, height, width]`: `[images, features]` as
    /// [`Network::infer_features`] gives them, but for the rounding. Each image's are the same in any batch.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), at images of a size that is new.
    ///
    /// # Panics
    /// Where the images have other channels than the network takes.
    pub fn infer(&self, images: Tensor<4>) -> Result<Tensor<2>> {
        let [count, channels, height, width] = images.dims();
        let device = images.device().inner();
        let plan = self.plan([height, width])?;
        assert_eq!(channels, plan.image[0], "the channels of the images");
        let images = to_cpu(images.inner());
        let rows = with_channels_last(images, |values| plan.run(values));
        let features = plan.width;
        Ok(Tensor::from_data(TensorData::new(rows, [count, features]), &device))
    }

    fn plan(&self, size: [usize; 2]) -> Result<Arc<Plan>> {
        let plans = || self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans().get(&size) {
            return Ok(plan.clone());
        }
        // Without the lock: kernels wait for other threads, whose work may be to ask for a plan, too.
        let plan = Arc::new(Plan::new(&self.network.graph(size)?, &self.ranges)?);
        Ok(plans().entry(size).or_insert(plan).clone())
    }
}

impl Plan {
    fn new(graph: &Graph, ranges: &Ranges) -> Result<Self> {
        // The head's operations come after the features.
        let nodes = &graph.nodes[..graph.features];
        let names = names(nodes.iter().map(|node| &node.operation));
        forms(graph)?;
        let mut quantizations = vec![ranges.quantization(&names[0])?];
        let mut steps = Vec::new();
        for (node, name) in nodes.iter().zip(&names[1..]) {
            let to = match &node.operation {
                // The numbers that they give are among those that they take.
                Operation::MaxPool(_) | Operation::AveragePool { .. } => quantizations[node.inputs[0]],
                _ => ranges.quantization(name)?,
            };
            quantizations.push(to);
            let from = quantizations[node.inputs[0]];
            let work = Work::new(node, graph.shape(node.inputs[0]), [from, to]);
            steps.push(Step { work, inputs: node.inputs.clone(), shape: node.shape.clone(), to });
        }
        let mut uses = vec![0; steps.len() + 1];
        steps.iter().flat_map(|step| &step.inputs).for_each(|input| uses[*input] += 1);
        uses[graph.features] += 1;
        let largest = nodes.iter().map(|node| node.shape.iter().product()).max().unwrap_or(0);
        let (image, features) = (graph.image, graph.features);
        let width = graph.shape(features).iter().product();
        Ok(Self { image, input: quantizations[0], steps, features, uses, largest, width })
    }

    /// The features of images in NHWC order.
    fn run(&self, values: &[f32]) -> Vec<f32> {
        // As many images at a time as keep their maps in a core's cache.
        const CACHE: usize = 1 << 20;
        let length: usize = self.image.iter().product();
        let count = values.len() / length;
        let threads = rayon::current_num_threads();
        // As many for each thread, in pieces of one size.
        let share = count.div_ceil(threads).max(1);
        let fit = (CACHE / self.largest.max(1)).clamp(1, share);
        let together = share.div_ceil(share.div_ceil(fit));
        let of = |images: &[f32]| self.features_of(images, images.len() / length);
        if count < threads {
            return values.chunks_exact(length).flat_map(of).collect();
        }
        let chunks = values.par_chunks(together * length).with_min_len(1);
        chunks.map(|images| single_threaded(|| of(images))).collect::<Vec<_>>().concat()
    }

    fn features_of(&self, images: &[f32], count: usize) -> Vec<f32> {
        let [channels, height, width] = self.image;
        let images = Int8Maps::from_f32([count, height, width, channels], images, self.input);
        let mut values = vec![Some(Value::Maps(images))];
        let mut uses = self.uses.clone();
        for step in &self.steps {
            let inputs: Vec<&Value> =
                step.inputs.iter().map(|input| values[*input].as_ref().expect("still used")).collect();
            let value = step.run(&inputs, count);
            values.push(Some(value));
            for input in &step.inputs {
                uses[*input] -= 1;
                if uses[*input] == 0 {
                    values[*input] = None;
                }
            }
        }
        match values.swap_remove(self.features) {
            Some(Value::Features(features)) => features,
            Some(Value::Maps(maps)) => maps.to_f32(),
            None => unreachable!("features are used at the end"),
        }
    }
}

impl Work {
    fn new(node: &Node, input: &[usize], quantization: [Quantization; 2]) -> Self {
        match &node.operation {
            Operation::Conv { weight, bias, window, activation } => {
                let ConvWindow { stride, padding: [top, left, bottom, right], dilation, groups } = *window;
                let options = Int8ConvOptions {
                    channels: [input[0], weight.shape[0]],
                    kernel: [weight.shape[2], weight.shape[3]],
                    stride: [stride; 2],
                    padding: Padding { top, left, bottom, right },
                    dilation: [dilation; 2],
                    groups,
                    activation: *activation,
                    quantization,
                };
                Self::Conv(Box::new(Int8Conv::pack(options, &weight.values, &bias.values)))
            }
            Operation::Affine { scale, shift, activation } => Self::Affine {
                scale: scale.values.to_vec(),
                shift: shift.values.to_vec(),
                activation: *activation,
            },
            other => Self::Other(other.clone()),
        }
    }
}

/// The forms of the images and of the values after them, up to the features.
fn forms(graph: &Graph) -> Result<Vec<Form>> {
    let mut forms = vec![Form::Maps];
    for node in &graph.nodes[..graph.features] {
        let inputs: Vec<Form> = node.inputs.iter().map(|input| forms[*input]).collect();
        let refused = Error::NotInt8 { operation: node.operation.name() };
        forms.push(Form::after(node, &inputs, graph.shape(node.inputs[0])).ok_or(refused)?);
    }
    Ok(forms)
}

impl Form {
    /// The form of a node's output; `None` where there are no integers for it. `shape` is that of its first input.
    fn after(node: &Node, inputs: &[Self], shape: &[usize]) -> Option<Self> {
        let all = |form: Self| inputs.iter().all(|input| *input == form);
        match &node.operation {
            Operation::Conv { .. }
            | Operation::Affine { .. }
            | Operation::MaxPool(_)
            | Operation::AveragePool { .. } => all(Self::Maps).then_some(Self::Maps),
            Operation::GlobalAverage
            | Operation::GlobalMaximumAndAverage
            | Operation::AdaptiveAverage { .. } => all(Self::Maps).then_some(Self::Features),
            Operation::Linear { .. } => all(Self::Features).then_some(Self::Features),
            Operation::ScaleChannels => (inputs[0] == Self::Maps).then_some(Self::Maps),
            Operation::Concat | Operation::Sigmoid | Operation::HardSigmoid | Operation::Activate(_) => {
                all(inputs[0]).then_some(inputs[0])
            }
            Operation::Reshape(_) => match (inputs[0], shape, &node.shape[..]) {
                (Self::Features, _, [_, 1, 1]) => Some(Self::Maps),
                (Self::Features, _, [_]) | (Self::Maps, [_, 1, 1], [_]) => Some(Self::Features),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Step {
    /// The output for `count` images.
    fn run(&self, inputs: &[&Value], count: usize) -> Value {
        let residual = || inputs.get(1).map(|residual| residual.maps());
        match &self.work {
            Work::Conv(conv) => Value::Maps(conv.forward(inputs[0].maps(), residual())),
            Work::Affine { scale, shift, activation } => {
                Value::Maps(inputs[0].maps().affine(scale, shift, residual(), *activation, self.to))
            }
            Work::Other(operation) => self.other(operation, inputs, count),
        }
    }

    fn other(&self, operation: &Operation, inputs: &[&Value], count: usize) -> Value {
        let each = |of: &dyn Fn(f32) -> f32| match inputs[0] {
            Value::Features(values) => Value::Features(values.iter().map(|value| of(*value)).collect()),
            Value::Maps(maps) => {
                let [batch, height, width, channels] = maps.shape();
                let values: Vec<f32> = maps.to_f32().into_iter().map(of).collect();
                Value::Maps(Int8Maps::from_f32([batch, height, width, channels], &values, self.to))
            }
        };
        match operation {
            Operation::MaxPool(window) => {
                let maps = inputs[0].maps();
                Value::Maps(maps.max_pool(&pool_shape(maps, *window)))
            }
            Operation::AveragePool { window, count_padding } => {
                let maps = inputs[0].maps();
                Value::Maps(maps.average_pool(&pool_shape(maps, *window), *count_padding))
            }
            Operation::GlobalAverage => Value::Features(inputs[0].maps().means()),
            Operation::GlobalMaximumAndAverage => {
                let maps = inputs[0].maps();
                let channels = maps.shape()[3];
                let (maxima, means) = (maps.maxima(), maps.means());
                let rows = maxima.chunks_exact(channels).zip(means.chunks_exact(channels));
                Value::Features(rows.flat_map(|(maxima, means)| [maxima, means].concat()).collect())
            }
            Operation::AdaptiveAverage { grid } => Value::Features(inputs[0].maps().adaptive_means(*grid)),
            Operation::Concat => match inputs[0] {
                Value::Maps(_) => {
                    let parts: Vec<&Int8Maps> = inputs.iter().map(|part| part.maps()).collect();
                    Value::Maps(Int8Maps::concat(&parts, self.to))
                }
                Value::Features(_) => {
                    let parts: Vec<&[f32]> = inputs.iter().map(|part| part.features()).collect();
                    let row = |at: usize| {
                        parts.iter().flat_map(move |part| {
                            let width = part.len() / count;
                            part[at * width..][..width].iter().copied()
                        })
                    };
                    Value::Features((0..count).flat_map(row).collect())
                }
            },
            Operation::ScaleChannels => {
                let factors = match inputs[1] {
                    Value::Features(factors) => factors.clone(),
                    Value::Maps(maps) => maps.to_f32(),
                };
                Value::Maps(inputs[0].maps().scale_channels(&factors, self.to))
            }
            Operation::Linear { weight, bias } => {
                let [outputs, inputs_of] = [weight.shape[0], weight.shape[1]];
                let mut y = vec![0.0; count * outputs];
                let x = inputs[0].features();
                linear::<f32>([count, inputs_of, outputs], &weight.values, Some(&bias.values), x, &mut y);
                Value::Features(y)
            }
            Operation::Sigmoid => each(&|x| 1.0 / (1.0 + (-x).exp())),
            Operation::HardSigmoid => each(&|x| (x + 3.0).clamp(0.0, 6.0) / 6.0),
            Operation::Activate(activation) => each(&|x| activation.apply(x)),
            Operation::Reshape(_) => match (inputs[0], &self.shape[..]) {
                // Between features and maps of one pixel.
                (Value::Features(values), &[channels, 1, 1]) => {
                    Value::Maps(Int8Maps::from_f32([count, 1, 1, channels], values, self.to))
                }
                (value, _) => Value::Features(match value {
                    Value::Maps(maps) => maps.to_f32(),
                    Value::Features(values) => values.clone(),
                }),
            },
            other => unreachable!("{other} is refused before"),
        }
    }
}

impl Value {
    fn maps(&self) -> &Int8Maps {
        match self {
            Self::Maps(maps) => maps,
            Self::Features(_) => unreachable!("operations on maps take maps"),
        }
    }

    fn features(&self) -> &[f32] {
        match self {
            Self::Features(features) => features,
            Self::Maps(_) => unreachable!("operations on features take features"),
        }
    }
}

fn pool_shape(maps: &Int8Maps, window: PoolWindow) -> Pool2dShape {
    let [batch, in_height, in_width, channels] = maps.shape();
    let PoolWindow { kernel, stride, padding: [top, left, bottom, right] } = window;
    let padding = Padding { top, left, bottom, right };
    Pool2dShape { batch, in_height, in_width, channels, kernel, stride, padding }
}
