//! Gradients by micro-batches, which processes share out: the same, to the bit, with any number of them.
//!
//! A batch is cut into pieces of a fixed number of images. The backbone runs forward and backward on one piece
//! at a time; the head takes the pooled features of the whole batch, so that its batch norm and the loss see
//! all of it, in every process. The gradients of the pieces are the leaves of one fixed tree of sums. Each
//! process adds up the nodes that lie in its pieces. Of the rest of the tree each adds up a shard of the
//! parameters, for which all send it their nodes' values, and updates these (`shards.rs`): about two sums of all
//! parameters each, however many processes there are. In bf16 every node of the tree is rounded, whoever adds it up.

use std::ops::Range;
use std::time::Instant;

use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use ocelli_data::{Draws, Purpose};
use ocelli_distributed::tree;
use ocelli_nn::op::rounded;
use ocelli_nn::{Backbone, Network, Pass, Precision, StageOutput, Statistics};

use crate::error::{Error, Result};
use crate::processes::ProcessGroup;
use crate::train::exchange::{Nodes, exchanged};
use crate::train::gradients::ParameterGradients;
use crate::train::input::Inputs;
use crate::train::options::TrainOptions;
use crate::train::shards::{message, next_vector, read_message};
use crate::train::state::TrainState;
use crate::train::step::{Backward, StepError, finite};

/// A batch that is trained on in pieces.
pub(crate) struct Piecewise {
    /// The input of the first trained stage, of some of the images: at least those of this process's pieces.
    pub(crate) output: StageOutput,
    /// Which of them.
    pub(crate) part: Range<usize>,
    /// The number of all.
    pub(crate) images: usize,
    /// The targets of all, row by row.
    pub(crate) targets: Vec<f32>,
}

/// The gradients of a batch, in pieces of `size` images; of several processes those of the backbone's parameters that are
/// this one's, and whether any of them has `asked` for something.
pub(crate) fn backward<B: Backbone>(
    state: &TrainState<B>,
    batch: Piecewise,
    size: usize,
    options: &TrainOptions,
    inputs: &Inputs,
    asked: bool,
) -> std::result::Result<Backward, StepError> {
    let (of_head, of_backbone, _) = passes(state, batch, size, options, inputs, asked)?;
    let mut gradients = of_head.gradients;
    gradients.add(of_backbone);
    Ok(Backward { gradients, ..of_head })
}

/// What [`backward`] gives with the gradients of the head, those of the backbone, and the seconds that the early layers took.
fn passes<B: Backbone>(
    state: &TrainState<B>,
    batch: Piecewise,
    size: usize,
    options: &TrainOptions,
    inputs: &Inputs,
    asked: bool,
) -> std::result::Result<(Backward, ParameterGradients, f64), StepError> {
    let began = Instant::now();
    let Piecewise { output, part, images, targets } = batch;
    let (network, processes) = (&state.network, &inputs.processes);
    let leaves = images.div_ceil(size);
    let own = tree::leaves_of(processes.rank(), processes.size(), leaves);
    let mut early_seconds = 0.0;
    let precision = options.exchange_precision;
    let key = Draws::new(state.seed, Purpose::Dropout, state.epochs, state.steps).bits();
    let first = state.first_trained_stage();
    let output = match part.is_empty() {
        true => output,
        // Of no stage: rounded to the precision of the backbone.
        false => network.infer_stages(output, first, first),
    };
    let images_of = |leaf: usize| leaf * size..images.min((leaf + 1) * size);
    let middle = middle_stage(network, first);
    let pieces = own.clone().map(|leaf| {
        let piece = images_of(leaf);
        let piece = output.narrow(&(piece.start - part.start..piece.end - part.start));
        let key = key ^ (leaf as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Piece::new(network, first..middle, piece, key)
    });
    let mut pieces: Vec<Piece> = pieces.collect();
    let (features, any_asked) =
        gathered(processes, pieces.iter().map(|piece| &piece.pooled), asked).map_err(StepError::Loss)?;
    let width = features.len() / images;
    let features = TensorData::new(features, [images, width]);
    let features = Tensor::<2>::from_data(features, &network.device().autodiff()).require_grad();
    let pass = Pass::train(options.statistics(), key);
    let logits = network.forward_head(features.clone(), &pass);
    let weights = options.loss.weights(&inputs.data);
    let loss = options.loss.of(logits, targets, weights.as_deref(), inputs.data.task());
    let loss = loss.map_err(StepError::Loss)?;
    let value = finite("training loss", f64::from(loss.clone().into_scalar::<f32>()))?;
    let forward = began.elapsed();
    let mut gradients = loss.backward();
    let upstream = features.grad_remove(&mut gradients).expect("the head depends on its input");
    let of_head = ParameterGradients::take(network, gradients);
    let nodes_of = |leaf: &mut dyn FnMut(usize) -> ParameterGradients| -> Nodes {
        let mut known = |node: &Range<usize>| {
            let mut gradients = (node.len() == 1).then(|| leaf(node.start))?;
            gradients.round(precision);
            Some(gradients)
        };
        let mut add = |mut first: ParameterGradients, second: ParameterGradients| {
            first.add(second);
            first.round(precision);
            first
        };
        let mut sum = |node: Range<usize>| {
            let gradients = tree::sum(node.clone(), &mut known, &mut add).expect("own pieces");
            (node, gradients)
        };
        tree::nodes_within(&own, leaves).into_iter().map(&mut sum).collect()
    };
    // The late layers first, whose gradients travel while those of the early ones are computed.
    let late = nodes_of(&mut |leaf| {
        let images = images_of(leaf);
        let upstream = upstream.clone().narrow(0, images.start, images.len());
        pieces[leaf - own.start].late_gradients(network, upstream)
    });
    let mut early = |pieces: Vec<Piece>| {
        let began = Instant::now();
        let mut pieces: Vec<Option<Piece>> = pieces.into_iter().map(Some).collect();
        let nodes = nodes_of(&mut |leaf| {
            let piece = pieces[leaf - own.start].take().expect("each is a leaf once");
            piece.early_gradients(network)
        });
        early_seconds = began.elapsed().as_secs_f64();
        nodes
    };
    // What is not sent and not rounded needs no shards.
    let (of_backbone, shards) = match processes.is_shared() || precision != Precision::F32 {
        true => {
            let early = (first < middle).then_some(|| early(pieces));
            let exchanged = exchanged(processes, network, leaves, precision, late, early);
            let (own, shards) = exchanged.map_err(StepError::Loss)?;
            (own, Some(shards))
        }
        false => {
            // The whole tree.
            let mut gradients = late.into_values().next().unwrap_or_default();
            gradients.add(early(pieces).into_values().next().unwrap_or_default());
            (gradients, None)
        }
    };
    let batch_stats = pass.into_batch_stats();
    let of_head = Backward { loss: value, forward, gradients: of_head, batch_stats, shards, any_asked };
    Ok((of_head, of_backbone, early_seconds))
}

/// The stage from which on at least half of the trained backbone's parameters are.
fn middle_stage<B: Backbone>(network: &Network<B>, first: usize) -> usize {
    let parameters = network.stage_parameters();
    let total: usize = parameters[first..].iter().sum();
    let is_half = |stage: &usize| 2 * parameters[*stage..].iter().sum::<usize>() >= total;
    (first..parameters.len()).rev().find(is_half).unwrap_or(first)
}

fn to_f32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.dtype() == DType::F32 { tensor } else { tensor.cast(FloatDType::F32) }
}

/// A piece of a batch on its way through the trained stages.
struct Piece {
    /// What the early stages have put out, where there are any; with autodiff.
    early: Option<StageOutput>,
    /// The same, as the input of the late ones.
    between: StageOutput,
    /// The gradients of that, once they are computed.
    upstream: Option<StageOutput>,
    /// The pooled features, in f32, with autodiff.
    pooled: Tensor<2>,
}

impl Piece {
    fn new<B: Backbone>(network: &Network<B>, early: Range<usize>, input: StageOutput, key: u64) -> Self {
        let pass = Pass::train(Statistics::Running, key);
        let (early, between, from) = match early.is_empty() {
            true => (None, input, early.start),
            false => {
                let output = network.forward_stages(input, early.start, early.end, &pass);
                let between = output.detached();
                (Some(output), between, early.end)
            }
        };
        let pooled = network.forward_features_from(from, between.clone(), &pass);
        Self { early, between, upstream: None, pooled: to_f32(pooled) }
    }

    /// The gradients of the late stages' parameters, by those of the pooled features.
    fn late_gradients<B: Backbone>(
        &mut self,
        network: &Network<B>,
        upstream: Tensor<2>,
    ) -> ParameterGradients {
        let device = upstream.device();
        let pooled = std::mem::replace(&mut self.pooled, Tensor::zeros([0, 0], &device));
        // Its gradients are those that the head's would have if it were one graph.
        let mut gradients = (pooled * upstream.autodiff()).sum().backward();
        if self.early.is_some() {
            let between = &self.between;
            let none = "the late stages depend on their input";
            let maps = between.maps.grad_remove(&mut gradients).expect(none);
            let depths = between.depths.iter().map(|depth| depth.grad_remove(&mut gradients).expect(none));
            let depths = depths.collect();
            self.upstream = Some(StageOutput { maps, depths });
        }
        ParameterGradients::take(network, gradients)
    }

    /// The gradients of the early stages' parameters, by what [`late_gradients`](Self::late_gradients) has found.
    fn early_gradients<B: Backbone>(self, network: &Network<B>) -> ParameterGradients {
        let (Some(output), Some(upstream)) = (self.early, self.upstream) else {
            return ParameterGradients::default();
        };
        let product = to_f32((output.maps * upstream.maps.autodiff()).sum());
        let depths = output.depths.into_iter().zip(upstream.depths);
        let product =
            depths.fold(product, |sum, (depth, upstream)| sum + to_f32((depth * upstream.autodiff()).sum()));
        ParameterGradients::take(network, product.backward())
    }
}

/// The pooled features of all pieces, in their order, from all processes, and whether any process has `asked`.
///
/// # Errors
/// [`Error::Stopped`] where any process was asked to stop.
fn gathered<'a>(
    processes: &ProcessGroup,
    own: impl Iterator<Item = &'a Tensor<2>>,
    asked: bool,
) -> Result<(Vec<f32>, bool)> {
    let values = own.flat_map(|pooled| {
        pooled.clone().inner().into_data().try_into_vec::<f32>().expect("pooled features are f32")
    });
    let values: Vec<f32> = values.collect();
    if !processes.is_shared() {
        return Ok((values, asked));
    }
    let mut bytes = vec![u8::from(processes.is_to_stop()), u8::from(asked)];
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let parts = processes.all_gather(&bytes)?;
    let any = |flag: usize| parts.iter().any(|part| part.get(flag) == Some(&1));
    if any(0) {
        return Err(Error::Stopped);
    }
    let rest = parts.iter().flat_map(|part| part.get(2..).unwrap_or_default().as_chunks().0);
    Ok((rest.map(|value| f32::from_le_bytes(*value)).collect(), any(1)))
}

/// Seconds that gradients take besides their way between processes, and their bytes.
pub(crate) struct Handling {
    /// From tensors to bytes.
    pub(crate) pack: f64,
    /// And back.
    pub(crate) unpack: f64,
    /// Adding two of them.
    pub(crate) add: f64,
    pub(crate) bytes: f64,
    /// Computing those of a piece's early layers, while those of the late ones travel.
    pub(crate) early: f64,
    /// The late layers' part of all.
    pub(crate) late: f64,
}

/// Measures what the gradients of the backbone take.
pub(crate) fn handling<B: Backbone>(
    state: &TrainState<B>,
    batch: Piecewise,
    size: usize,
    options: &TrainOptions,
    inputs: &Inputs,
) -> Result<Handling> {
    let network = &state.network;
    let pieces = batch.images.div_ceil(size) as f64;
    let (gradients, early) = match passes(state, batch, size, options, inputs, false) {
        Ok((_, of_backbone, early)) => (of_backbone, early / pieces),
        Err(StepError::Loss(error)) => return Err(error),
        Err(StepError::NotFinite(_)) => return Err(Error::NoTrainingBatch),
    };
    let precision = options.exchange_precision;
    let vectors: Vec<&Tensor<1>> = gradients.iter().map(|(_, gradient)| gradient).collect();
    let (mut pack, mut unpack, mut adding, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let began = Instant::now();
        bytes = message(&(), vectors.iter().copied(), precision);
        pack.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        let ((), mut numbers) = read_message(&bytes).ok_or(Error::NoTrainingBatch)?;
        let mut others = Vec::new();
        for vector in &vectors {
            others.extend(next_vector(&mut numbers, vector.dims()[0], precision, &network.device()));
        }
        unpack.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        for (other, vector) in others.into_iter().zip(&vectors) {
            drop(rounded(other + (*vector).clone(), precision));
        }
        adding.push(began.elapsed().as_secs_f64());
    }
    let [pack, unpack, add] = [pack, unpack, adding].map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    let parameters = network.stage_parameters();
    let first = state.first_trained_stage();
    let values = |from: usize| parameters[from..].iter().sum::<usize>() as f64;
    let late = values(middle_stage(network, first)) / values(first).max(1.0);
    Ok(Handling { pack, unpack, add, bytes: bytes.len() as f64, early, late })
}
