//! Gradients by micro-batches, which processes share out: the same, to the bit, with any number of them.
//!
//! A batch is cut into pieces of a fixed number of images. The backbone runs forward and backward on one piece
//! at a time; the head takes the pooled features of the whole batch, so that its batch norm and the loss see
//! all of it, in every process. The gradients of the pieces are the leaves of one fixed tree of sums. Each
//! process adds up the nodes that lie in its pieces. Of the rest of the tree each adds up a shard of the
//! parameters, for which all send it their nodes' values, and updates these (`shards.rs`): about two sums of all
//! parameters each, however many processes there are.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Instant;

use burn::module::ParamId;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use ocelli_data::{Draws, Purpose};
use ocelli_distributed::tree;
use ocelli_nn::{Backbone, Network, Pass, StageOutput, Statistics};

use crate::error::{Error, Result};
use crate::processes::ProcessGroup;
use crate::train::gradients::ParameterGradients;
use crate::train::input::Inputs;
use crate::train::options::TrainOptions;
use crate::train::shards::{Shards, message, read_message, to_bytes, to_floats};
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
    let (of_head, of_backbone) = passes(state, batch, size, options, inputs, asked)?;
    let mut gradients = of_head.gradients;
    gradients.add(of_backbone);
    Ok(Backward { gradients, ..of_head })
}

/// What [`backward`] gives with the gradients of the head, and those of the backbone.
fn passes<B: Backbone>(
    state: &TrainState<B>,
    batch: Piecewise,
    size: usize,
    options: &TrainOptions,
    inputs: &Inputs,
    asked: bool,
) -> std::result::Result<(Backward, ParameterGradients), StepError> {
    let began = Instant::now();
    let Piecewise { output, part, images, targets } = batch;
    let (network, processes) = (&state.network, &inputs.processes);
    let leaves = images.div_ceil(size);
    let own = tree::leaves_of(processes.rank(), processes.size(), leaves);
    let key = Draws::new(state.seed, Purpose::Dropout, state.epochs, state.steps).bits();
    let first = state.first_trained_stage();
    let output = match part.is_empty() {
        true => output,
        // Of no stage: rounded to the precision of the backbone.
        false => network.infer_stages(output, first, first),
    };
    let images_of = |leaf: usize| leaf * size..images.min((leaf + 1) * size);
    let pooled = own.clone().map(|leaf| {
        let piece = images_of(leaf);
        let piece = output.narrow(&(piece.start - part.start..piece.end - part.start));
        Some(pooled(network, first, piece, key ^ (leaf as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    });
    let mut pooled: Vec<Option<Tensor<2>>> = pooled.collect();
    let (features, any_asked) =
        gathered(processes, pooled.iter().flatten(), asked).map_err(StepError::Loss)?;
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
    let mut leaf = |node: &Range<usize>| {
        let pooled = (node.len() == 1).then(|| pooled[node.start - own.start].take())??;
        let piece = images_of(node.start);
        let upstream = upstream.clone().narrow(0, piece.start, piece.len());
        // Its gradients are those that the head's would have if it were one graph.
        let product = (pooled * upstream.autodiff()).sum();
        Some(ParameterGradients::take(network, product.backward()))
    };
    let nodes = tree::nodes_within(&own, leaves).into_iter().map(|node| {
        let gradients = tree::sum(node.clone(), &mut leaf, &mut add).expect("own pieces");
        (node, gradients)
    });
    let nodes: Vec<(Range<usize>, ParameterGradients)> = nodes.collect();
    let (of_backbone, shards) = match processes.is_shared() {
        true => {
            let (own, shards) = summed(processes, network, nodes, leaves).map_err(StepError::Loss)?;
            (own, Some(shards))
        }
        // The whole tree.
        false => (nodes.into_iter().next().map(|(_, gradients)| gradients).unwrap_or_default(), None),
    };
    let batch_stats = pass.into_batch_stats();
    Ok((Backward { loss: value, forward, gradients: of_head, batch_stats, shards, any_asked }, of_backbone))
}

/// The pooled features of a piece, with autodiff, in f32.
fn pooled<B: Backbone>(network: &Network<B>, first: usize, piece: StageOutput, key: u64) -> Tensor<2> {
    let pass = Pass::train(Statistics::Running, key);
    let pooled = network.forward_features_from(first, piece, &pass);
    if pooled.dtype() == DType::F32 { pooled } else { pooled.cast(FloatDType::F32) }
}

fn add(mut first: ParameterGradients, second: ParameterGradients) -> ParameterGradients {
    first.add(second);
    first
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
    bytes.extend(to_bytes(&values));
    let parts = processes.all_gather(&bytes)?;
    let any = |flag: usize| parts.iter().any(|part| part.get(flag) == Some(&1));
    if any(0) {
        return Err(Error::Stopped);
    }
    let rest = parts.iter().flat_map(|part| part.get(2..).unwrap_or_default().as_chunks().0);
    Ok((rest.map(|value| f32::from_le_bytes(*value)).collect(), any(1)))
}

/// The names of the parameters that have gradients, and the lengths of these.
type Layout = Vec<(String, usize)>;

/// The sum of the gradients of all processes' nodes, of the parameters that are this process's, and whose the others are.
/// Adding element by element, it does not matter who adds which elements.
fn summed<B: Backbone>(
    processes: &ProcessGroup,
    network: &Network<B>,
    nodes: Vec<(Range<usize>, ParameterGradients)>,
    leaves: usize,
) -> Result<(ParameterGradients, Shards)> {
    let diverged = |rank| Error::ProcessesDiverged { what: "the gradients", rank };
    let (rank, size) = (processes.rank(), processes.size());
    let ids = ids_of(network);
    let mut layout: Option<Layout> = None;
    let mut own = Vec::new();
    for (_, gradients) in nodes {
        let (of_node, values) = flat(gradients, &ids);
        if *layout.get_or_insert_with(|| of_node.clone()) != of_node {
            return Err(diverged(rank));
        }
        own.push(values);
    }
    let shards_of = |layout: &Layout| -> Option<Shards> {
        let ids = layout.iter().map(|(name, length)| Some((*ids.get(name.as_str())?, *length)));
        Some(Shards::new(ids.collect::<Option<_>>()?, rank, size))
    };
    let known = layout.as_ref().and_then(shards_of);
    // A process without pieces does not know which parameters have gradients.
    let part = |to: usize| {
        let of_shard = |shards: &Shards| -> Vec<f32> {
            own.iter().flat_map(|values| &values[shards.values_of(to)]).copied().collect()
        };
        message(&layout, &known.as_ref().map(of_shard).unwrap_or_default())
    };
    let received = processes.all_to_all((0..size).map(part).collect())?;
    drop(own);
    let (mut layout, mut parts) = (layout, Vec::new());
    for (from, bytes) in received.iter().enumerate() {
        let (theirs, values): (Option<Layout>, _) = read_message(bytes).ok_or_else(|| diverged(from))?;
        if let Some(theirs) = theirs
            && *layout.get_or_insert_with(|| theirs.clone()) != theirs
        {
            return Err(diverged(from));
        }
        parts.push(values);
    }
    drop(received);
    let shards = layout.as_ref().and_then(shards_of).ok_or_else(|| diverged(rank))?;
    let length = shards.values_of(rank).len();
    let mut known: HashMap<Range<usize>, Vec<f32>> = HashMap::new();
    for (from, values) in parts.into_iter().enumerate() {
        let nodes = tree::nodes_within(&tree::leaves_of(from, size, leaves), leaves);
        if length * nodes.len() != values.len() {
            return Err(diverged(from));
        }
        for (number, node) in nodes.into_iter().enumerate() {
            known.insert(node, values[number * length..][..length].to_vec());
        }
    }
    let sum = tree::sum(0..leaves, &mut |node: &Range<usize>| known.remove(node), &mut add_values);
    let own = unflat(shards.own(), &sum.unwrap_or_default(), network).ok_or_else(|| diverged(rank))?;
    Ok((own, shards))
}

/// The gradients one after the other, by name.
fn flat(mut gradients: ParameterGradients, ids: &BTreeMap<&str, ParamId>) -> (Layout, Vec<f32>) {
    let (mut layout, mut values) = (Layout::new(), Vec::new());
    for (name, id) in ids {
        let Some(gradient) = gradients.remove(*id) else { continue };
        let gradient = gradient.into_data().try_into_vec::<f32>().expect("gradients are f32");
        layout.push(((*name).to_owned(), gradient.len()));
        values.push(gradient);
    }
    // At once, in memory of the right size.
    (layout, values.concat())
}

/// The gradients again; `None` where the values are not as many.
fn unflat<B: Backbone>(
    parameters: &[(ParamId, usize)],
    mut values: &[f32],
    network: &Network<B>,
) -> Option<ParameterGradients> {
    let mut gradients = ParameterGradients::default();
    for &(id, length) in parameters {
        let (own, rest) = values.split_at_checked(length)?;
        values = rest;
        gradients.insert(id, Tensor::from_data(own, &network.device()));
    }
    values.is_empty().then_some(gradients)
}

/// The parameters of a network by their names.
fn ids_of<B: Backbone>(network: &Network<B>) -> BTreeMap<&str, ParamId> {
    network.roles().into_keys().map(|id| (network.name(id), id)).collect()
}

fn add_values(mut first: Vec<f32>, second: Vec<f32>) -> Vec<f32> {
    first.iter_mut().zip(second).for_each(|(sum, term)| *sum += term);
    first
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
    let gradients = match passes(state, batch, size, options, inputs, false) {
        Ok((_, of_backbone)) => of_backbone,
        Err(StepError::Loss(error)) => return Err(error),
        Err(StepError::NotFinite(_)) => return Err(Error::NoTrainingBatch),
    };
    let ids = ids_of(network);
    let (mut pack, mut unpack, mut adding, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let began = Instant::now();
        let (layout, values) = flat(gradients.clone(), &ids);
        bytes = to_bytes(&values);
        pack.push(began.elapsed().as_secs_f64());
        let parameters: Vec<(ParamId, usize)> =
            layout.iter().map(|(name, length)| (ids[name.as_str()], *length)).collect();
        let began = Instant::now();
        let read = to_floats(&bytes).and_then(|values| unflat(&parameters, &values, network));
        drop(read.ok_or(Error::NoTrainingBatch)?);
        unpack.push(began.elapsed().as_secs_f64());
        let other = values.clone();
        let began = Instant::now();
        drop(add_values(values, other));
        adding.push(began.elapsed().as_secs_f64());
    }
    let [pack, unpack, add] = [pack, unpack, adding].map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    Ok(Handling { pack, unpack, add, bytes: bytes.len() as f64 })
}
