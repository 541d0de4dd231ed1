//! Gradients by micro-batches, which processes share out: the same, to the bit, with any number of them.
//!
//! A batch is cut into pieces of a fixed number of images. The backbone runs forward and backward on one piece
//! at a time; the head takes the pooled features of the whole batch, so that its batch norm and the loss see
//! all of it, in every process. The gradients of the pieces are the leaves of one fixed tree of sums: each
//! process adds up the nodes that lie in its pieces, and sends those.

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
use crate::train::state::TrainState;
use crate::train::step::{Backward, StepError, finite};

/// The gradients of a batch: the input of the first trained stage, and the targets, row by row.
pub(crate) fn backward<B: Backbone>(
    state: &TrainState<B>,
    output: StageOutput,
    targets: Vec<f32>,
    size: usize,
    options: &TrainOptions,
    inputs: &Inputs,
) -> std::result::Result<Backward, StepError> {
    let began = Instant::now();
    let (network, processes) = (&state.network, &inputs.processes);
    let images = output.maps.dims()[0];
    let leaves = images.div_ceil(size);
    let own = tree::leaves_of(processes.rank(), processes.size(), leaves);
    let key = Draws::new(state.seed, Purpose::Dropout, state.epochs, state.steps).bits();
    // Of no stage: rounded to the precision of the backbone.
    let first = state.first_trained_stage();
    let output = network.infer_stages(output, first, first);
    let images_of = |leaf: usize| leaf * size..images.min((leaf + 1) * size);
    let pooled = own.clone().map(|leaf| {
        let piece = output.narrow(&images_of(leaf));
        Some(pooled(network, first, piece, key ^ (leaf as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    });
    let mut pooled: Vec<Option<Tensor<2>>> = pooled.collect();
    let features = gathered(processes, pooled.iter().flatten()).map_err(StepError::Loss)?;
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
    let mut of_head = ParameterGradients::take(network, gradients);
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
    let mut nodes: HashMap<Range<usize>, ParameterGradients> = nodes.collect();
    if processes.is_shared() {
        nodes = exchanged(processes, network, nodes).map_err(StepError::Loss)?;
    }
    let of_backbone = tree::sum(0..leaves, &mut |node: &Range<usize>| nodes.remove(node), &mut add);
    of_head.add(of_backbone.unwrap_or_default());
    Ok(Backward { loss: value, forward, gradients: of_head, batch_stats: pass.into_batch_stats() })
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

/// The pooled features of all pieces, in their order, from all processes.
///
/// # Errors
/// [`Error::Stopped`] where any process was asked to stop.
fn gathered<'a>(processes: &ProcessGroup, own: impl Iterator<Item = &'a Tensor<2>>) -> Result<Vec<f32>> {
    let values = own.flat_map(|pooled| {
        pooled.clone().inner().into_data().try_into_vec::<f32>().expect("pooled features are f32")
    });
    if !processes.is_shared() {
        return Ok(values.collect());
    }
    let mut bytes = vec![u8::from(processes.is_to_stop())];
    bytes.extend(values.flat_map(f32::to_le_bytes));
    let parts = processes.all_gather(&bytes)?;
    if parts.iter().any(|part| part.first() == Some(&1)) {
        return Err(Error::Stopped);
    }
    let rest = parts.iter().flat_map(|part| part.get(1..).unwrap_or_default().as_chunks().0);
    Ok(rest.map(|value| f32::from_le_bytes(*value)).collect())
}

/// A node's first leaf, its end, and the names and lengths of its gradients.
type NodeHeader<Name> = (usize, usize, Vec<(Name, usize)>);

/// The nodes of all processes.
fn exchanged<B: Backbone>(
    processes: &ProcessGroup,
    network: &Network<B>,
    own: HashMap<Range<usize>, ParameterGradients>,
) -> Result<HashMap<Range<usize>, ParameterGradients>> {
    let ids: BTreeMap<&str, ParamId> = network.roles().into_keys().map(|id| (network.name(id), id)).collect();
    // Each node's range and the lengths of its gradients, by name; then the gradients.
    let mut header: Vec<NodeHeader<&str>> = Vec::new();
    let mut values: Vec<u8> = Vec::new();
    for (node, gradients) in &own {
        let mut lengths = Vec::new();
        for (name, id) in &ids {
            let Some(gradient) = gradients.get(*id) else { continue };
            let gradient = gradient.to_data().try_into_vec::<f32>().expect("gradients are f32");
            lengths.push((*name, gradient.len()));
            values.extend(gradient.iter().flat_map(|value| value.to_le_bytes()));
        }
        header.push((node.start, node.end, lengths));
    }
    let header = serde_json::to_vec(&header).expect("numbers and texts serialise");
    let bytes = [&(header.len() as u64).to_le_bytes()[..], &header, &values].concat();
    drop(values);
    let rank = processes.rank();
    let mut nodes = own;
    for (from, part) in
        processes.all_gather(&bytes)?.into_iter().enumerate().filter(|(from, _)| *from != rank)
    {
        let read =
            read(network, &ids, &part).ok_or(Error::ProcessesDiverged { what: "messages", rank: from })?;
        nodes.extend(read);
    }
    Ok(nodes)
}

/// The nodes that a process has sent.
fn read<B: Backbone>(
    network: &Network<B>,
    ids: &BTreeMap<&str, ParamId>,
    bytes: &[u8],
) -> Option<Vec<(Range<usize>, ParameterGradients)>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (header, mut values) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Vec<NodeHeader<String>> = serde_json::from_slice(header).ok()?;
    let mut nodes = Vec::new();
    for (start, end, lengths) in header {
        let mut gradients = ParameterGradients::default();
        for (name, length) in lengths {
            let (own, rest) = values.split_at_checked(length.checked_mul(4)?)?;
            values = rest;
            let own: Vec<f32> = own.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
            gradients.insert(*ids.get(name.as_str())?, Tensor::from_data(own.as_slice(), &network.device()));
        }
        nodes.push((start..end, gradients));
    }
    Some(nodes)
}
