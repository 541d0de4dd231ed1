//! Gradients on their way between processes: those of the late layers while those of the early ones are computed.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use burn::module::ParamId;
use burn::tensor::Tensor;
use ocelli_data::timeline;
use ocelli_distributed::tree;
use ocelli_nn::op::{read_bytes, rounded};
use ocelli_nn::{Backbone, Network, Precision};

use crate::error::{Error, Result};
use crate::processes::ProcessGroup;
use crate::train::gradients::ParameterGradients;
use crate::train::shards::{Shards, message, read_message};

/// The gradients of nodes of the tree.
pub(crate) type Nodes = HashMap<Range<usize>, ParameterGradients>;

/// The names of the parameters that have gradients, and the lengths of these.
type Layout = Vec<(String, usize)>;

/// What is the same for all exchanges of a step.
struct Exchange<'a, B: Backbone> {
    processes: &'a ProcessGroup,
    network: &'a Network<B>,
    ids: BTreeMap<&'a str, ParamId>,
    /// The number of pieces of the batch.
    leaves: usize,
    precision: Precision,
}

/// The sum of the gradients of all processes' nodes, of the parameters that are this process's, and whose the others are.
/// Those of `late` layers travel while those of the early ones, if there are any, are computed.
pub(crate) fn exchanged<B: Backbone>(
    processes: &ProcessGroup,
    network: &Network<B>,
    leaves: usize,
    precision: Precision,
    late: Nodes,
    early: Option<impl FnOnce() -> Nodes>,
) -> Result<(ParameterGradients, Shards)> {
    let ids = network.roles().into_keys().map(|id| (network.name(id), id)).collect();
    let exchange = Exchange { processes, network, ids, leaves, precision };
    let (layout, parts) = exchange.outgoing(&late)?;
    let send = |parts| {
        let _span = timeline::span("exchange gradients");
        processes.all_to_all(parts)
    };
    let (received, early) = thread::scope(|scope| {
        let sending = scope.spawn(|| send(parts));
        let early = early.map(|early| early());
        (sending.join().unwrap_or_else(|panic| resume_unwind(panic)), early)
    });
    let (mut sums, shards) = exchange.added_up(layout, late, &received?)?;
    let Some(early) = early else { return Ok((sums, shards)) };
    let (layout, parts) = exchange.outgoing(&early)?;
    let (of_early, shards_of_early) = exchange.added_up(layout, early, &send(parts)?)?;
    sums.add(of_early);
    let shards = shards.and(shards_of_early).ok_or_else(|| {
        let expected = "left out for a backbone whose stages have parameters in common";
        Error::setting("micro_batch", "set", expected)
    })?;
    Ok((sums, shards))
}

impl<B: Backbone> Exchange<'_, B> {
    fn nodes_of(&self, rank: usize) -> Vec<Range<usize>> {
        tree::nodes_within(&tree::leaves_of(rank, self.processes.size(), self.leaves), self.leaves)
    }

    fn shards(&self, layout: &Layout) -> Option<Shards> {
        let ids = layout.iter().map(|(name, length)| Some((*self.ids.get(name.as_str())?, *length)));
        Some(Shards::new(ids.collect::<Option<_>>()?, self.processes.rank(), self.processes.size()))
    }

    fn diverged(rank: usize) -> Error {
        Error::ProcessesDiverged { what: "the gradients", rank }
    }

    /// The layout of these nodes' gradients, and a message to each process: the nodes' values of its parameters. A process
    /// without pieces does not know which parameters have gradients.
    fn outgoing(&self, nodes: &Nodes) -> Result<(Option<Layout>, Vec<Vec<u8>>)> {
        let rank = self.processes.rank();
        let mut layout: Option<Layout> = None;
        for gradients in nodes.values() {
            let lengths =
                self.ids.iter().filter_map(|(name, id)| Some((*name, gradients.get(id)?.dims()[0])));
            let of_node: Layout = lengths.map(|(name, length)| (name.to_owned(), length)).collect();
            if *layout.get_or_insert_with(|| of_node.clone()) != of_node {
                return Err(Self::diverged(rank));
            }
        }
        let shards = layout.as_ref().and_then(|layout| self.shards(layout));
        let order = self.nodes_of(rank);
        let parts = (0..self.processes.size()).map(|to| {
            let theirs = shards.as_ref().filter(|_| to != rank).map_or(&[][..], |shards| shards.of(to));
            let gradients = order.iter().filter_map(|node| nodes.get(node));
            let vectors =
                gradients.flat_map(|gradients| theirs.iter().filter_map(|(id, _)| gradients.get(id)));
            message(&layout, vectors, self.precision)
        });
        let parts = parts.collect();
        Ok((layout, parts))
    }

    /// The sums of this process's parameters, by its own nodes and what it has received of others'. Adding element by
    /// element, it does not matter who adds which elements.
    fn added_up(
        &self,
        mut layout: Option<Layout>,
        mut nodes: Nodes,
        received: &[Vec<u8>],
    ) -> Result<(ParameterGradients, Shards)> {
        let (rank, precision) = (self.processes.rank(), self.precision);
        let mut parts = Vec::new();
        for (from, bytes) in received.iter().enumerate() {
            let message: Option<(Option<Layout>, _)> = read_message(bytes);
            let (theirs, numbers) = message.ok_or_else(|| Self::diverged(from))?;
            if let Some(theirs) = theirs
                && *layout.get_or_insert_with(|| theirs.clone()) != theirs
            {
                return Err(Self::diverged(from));
            }
            parts.push(numbers);
        }
        let shards = layout.as_ref().and_then(|layout| self.shards(layout));
        let shards = shards.ok_or_else(|| Self::diverged(rank))?;
        let length = shards.values_of(rank) * precision.bytes();
        let mut others: HashMap<Range<usize>, &[u8]> = HashMap::new();
        for (from, numbers) in parts.into_iter().enumerate().filter(|(from, _)| *from != rank) {
            let theirs = self.nodes_of(from);
            if length * theirs.len() != numbers.len() {
                return Err(Self::diverged(from));
            }
            others.extend(theirs.into_iter().zip(numbers.chunks_exact(length.max(1))));
        }
        let device = self.network.device();
        let mut sums = ParameterGradients::default();
        let mut start = 0;
        for &(id, length) in shards.own() {
            let end = start + length * precision.bytes();
            let mut known = |node: &Range<usize>| match nodes.get_mut(node) {
                Some(own) => own.remove(id),
                None => others.get(node).map(|numbers| read_bytes(&numbers[start..end], precision, &device)),
            };
            let mut add = |first: Tensor<1>, second: Tensor<1>| rounded(first + second, precision);
            let sum = tree::sum(0..self.leaves, &mut known, &mut add);
            sums.insert(id, sum.filter(|sum| sum.dims() == [length]).ok_or_else(|| Self::diverged(rank))?);
            start = end;
        }
        Ok((sums, shards))
    }
}
