//! The optimizer's work shared out among processes, as ZeRO's first stage has it (Rajbhandari et al. 2020,
//! <https://arxiv.org/abs/1910.02054>): each process keeps the moments of some of the backbone's parameters, updates these,
//! and sends them to the others. Parameter by parameter the arithmetic is that of one process, so that the result is the
//! same, to the bit.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor};
use ocelli_nn::op::{read_bytes, rounded, sum_of_squares, write_bytes};
use ocelli_nn::{Backbone, Network, Precision};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::processes::ProcessGroup;
use crate::train::gradients::ParameterGradients;

/// Which process has which parameters of the backbone.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    /// The parameters of each process that have gradients, with the numbers of their values.
    of: Vec<Vec<(ParamId, usize)>>,
    rank: usize,
}

impl Shards {
    /// Parameters one after the other, about as many values for each process.
    pub(crate) fn new(parameters: Vec<(ParamId, usize)>, rank: usize, size: usize) -> Self {
        let total: usize = parameters.iter().map(|(_, length)| length).sum();
        let mut before = 0;
        let mut of = vec![Vec::new(); size];
        for (id, length) in parameters {
            // Of the process in whose share its middle lies.
            let owner = ((before + length / 2) * size / total.max(1)).min(size - 1);
            before += length;
            of[owner].push((id, length));
        }
        Self { of, rank }
    }

    /// With those of other parameters; `None` where a parameter is among both.
    pub(crate) fn and(mut self, others: Self) -> Option<Self> {
        let known: BTreeSet<ParamId> = self.of.iter().flatten().map(|(id, _)| *id).collect();
        if others.of.iter().flatten().any(|(id, _)| known.contains(id)) {
            return None;
        }
        self.of.iter_mut().zip(others.of).for_each(|(own, others)| own.extend(others));
        Some(self)
    }

    /// The parameters of a process, with the numbers of their values.
    pub(crate) fn of(&self, rank: usize) -> &[(ParamId, usize)] {
        &self.of[rank]
    }

    /// Those of this process.
    pub(crate) fn own(&self) -> &[(ParamId, usize)] {
        self.of(self.rank)
    }

    /// The number of values of a process's parameters.
    pub(crate) fn values_of(&self, rank: usize) -> usize {
        self.of(rank).iter().map(|(_, length)| length).sum()
    }

    /// The Euclidean norm of the gradients of all processes, of which each has those of its own parameters, and all have the
    /// head's; added up in the order in which [`ParameterGradients::norm`] adds them.
    pub(crate) fn norm(&self, gradients: &ParameterGradients, processes: &ProcessGroup) -> Result<f64> {
        let mut squares: BTreeMap<ParamId, f64> =
            gradients.iter().map(|(id, gradient)| (*id, sum_of_squares(gradient))).collect();
        let own = self.own().iter().filter_map(|(id, _)| squares.get(id));
        let own: Vec<u8> = own.flat_map(|square| square.to_le_bytes()).collect();
        for (rank, bytes) in processes.all_gather(&own)?.iter().enumerate() {
            let (values, rest) = bytes.as_chunks();
            if values.len() != self.of(rank).len() || !rest.is_empty() {
                return Err(Error::ProcessesDiverged { what: "the gradients", rank });
            }
            let of_rank = self.of(rank).iter().zip(values);
            squares.extend(of_rank.map(|((id, _), square)| (*id, f64::from_le_bytes(*square))));
        }
        Ok(squares.values().sum::<f64>().sqrt())
    }

    /// The network with the parameters of other processes as these have updated them. `before` is that before the step:
    /// where a number is exchanged in bf16, it is by how much a weight changes, and the weight itself stays f32.
    pub(crate) fn with_parameters_of_all<B: Backbone>(
        &self,
        before: &Network<B>,
        network: Network<B>,
        processes: &ProcessGroup,
        precision: Precision,
    ) -> Result<Network<B>> {
        let device = network.device();
        let diverged = |rank| Error::ProcessesDiverged { what: "the weights", rank };
        let is_whole = precision == Precision::F32;
        let mut own = values_of(&network, self.own().iter());
        let old = if is_whole { BTreeMap::new() } else { values_of(before, self.of.iter().flatten()) };
        let old_of = |id: &ParamId| old.get(id).cloned().ok_or_else(|| diverged(self.rank));
        if !is_whole {
            for (id, new) in &mut own {
                *new = rounded(new.clone() - old_of(id)?, precision);
            }
        }
        let vectors = self.own().iter().filter_map(|(id, _)| own.get(id));
        let bytes = in_bytes(Vec::new(), vectors, precision);
        let mut all: BTreeMap<ParamId, Tensor<1>> = BTreeMap::new();
        for (rank, bytes) in processes.all_gather(&bytes)?.iter().enumerate() {
            if rank == self.rank {
                continue;
            }
            if bytes.len() != self.values_of(rank) * precision.bytes() {
                return Err(diverged(rank));
            }
            let mut rest = &bytes[..];
            for (id, length) in self.of(rank) {
                let values = next_vector(&mut rest, *length, precision, &device);
                all.insert(*id, values.ok_or_else(|| diverged(rank))?);
            }
        }
        if !is_whole {
            all.extend(own);
            for (id, change) in &mut all {
                *change = old_of(id)? + change.clone();
            }
        }
        Ok(network.map(&mut Replace(all)))
    }
}

/// The values of these parameters.
fn values_of<'a, B: Backbone>(
    network: &Network<B>,
    parameters: impl Iterator<Item = &'a (ParamId, usize)>,
) -> BTreeMap<ParamId, Tensor<1>> {
    struct Visit(BTreeSet<ParamId>, BTreeMap<ParamId, Tensor<1>>);
    impl ModuleVisitor for Visit {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if self.0.contains(&parameter.id) {
                self.1.insert(parameter.id, parameter.val().inner().flatten(0, D - 1));
            }
        }
    }
    let mut visit = Visit(parameters.map(|(id, _)| *id).collect(), BTreeMap::new());
    network.visit(&mut visit);
    visit.1
}

/// Gives parameters other values.
struct Replace(BTreeMap<ParamId, Tensor<1>>);

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.0.remove(&parameter.id) else { return parameter };
        parameter.map(|old| values.reshape(old.shape()).autodiff().set_require_grad(old.is_require_grad()))
    }
}

/// The numbers of vectors, one after the other, after `start`.
fn in_bytes<'a>(
    start: Vec<u8>,
    vectors: impl Iterator<Item = &'a Tensor<1>> + Clone,
    precision: Precision,
) -> Vec<u8> {
    let bytes_of = |vector: &Tensor<1>| vector.dims()[0] * precision.bytes();
    let numbers: usize = vectors.clone().map(bytes_of).sum();
    // In memory of the right size, which the system has filled with zeros.
    let mut bytes = vec![0; start.len() + numbers];
    let (header, mut rest) = bytes.split_at_mut(start.len());
    header.copy_from_slice(&start);
    for vector in vectors {
        let (own, others) = rest.split_at_mut(bytes_of(vector));
        write_bytes(vector, precision, own);
        rest = others;
    }
    bytes
}

/// A message of a header and numbers: the header's length, the header as JSON, the numbers.
pub(crate) fn message<'a>(
    header: &impl Serialize,
    vectors: impl Iterator<Item = &'a Tensor<1>> + Clone,
    precision: Precision,
) -> Vec<u8> {
    let header = serde_json::to_vec(header).expect("numbers and texts serialise");
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.extend(header);
    in_bytes(start, vectors, precision)
}

/// The header and the numbers of a [`message`]; `None` where it is none.
pub(crate) fn read_message<H: DeserializeOwned>(bytes: &[u8]) -> Option<(H, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (header, numbers) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    Some((serde_json::from_slice(header).ok()?, numbers))
}

/// The vector of this length at the front of numbers, which are then those after it; `None` where they are too few.
pub(crate) fn next_vector(
    numbers: &mut &[u8],
    length: usize,
    precision: Precision,
    device: &Device,
) -> Option<Tensor<1>> {
    let (own, rest) = numbers.split_at_checked(length.checked_mul(precision.bytes())?)?;
    *numbers = rest;
    Some(read_bytes(own, precision, device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_has_one_process_and_processes_have_about_as_many_values() {
        let layout: Vec<(ParamId, usize)> =
            (0..40).map(|place| (ParamId::from(place as u64), 1 + place * 7 % 50)).collect();
        let total: usize = layout.iter().map(|(_, length)| length).sum();
        for size in 1..9 {
            let shards = Shards::new(layout.clone(), 0, size);
            let all: Vec<_> = (0..size).flat_map(|rank| shards.of(rank).to_vec()).collect();
            assert_eq!(all, layout, "{size}");
            let values: Vec<usize> = (0..size).map(|rank| shards.values_of(rank)).collect();
            assert_eq!(values.iter().sum::<usize>(), total);
            assert!(values.iter().all(|values| *values <= total / size + 50), "{size}: {values:?}");
            assert!(shards.clone().and(shards.clone()).is_none());
            let both = shards.clone().and(Shards::new(vec![(ParamId::from(99), 3)], 0, size)).unwrap();
            assert_eq!((0..size).map(|rank| both.values_of(rank)).sum::<usize>(), total + 3);
        }
        // More processes than parameters: some have none.
        let few = Shards::new(vec![(ParamId::from(1), 5), (ParamId::from(2), 5)], 3, 4);
        assert_eq!((0..4).map(|rank| few.of(rank).len()).sum::<usize>(), 2);
        assert!(Shards::new(Vec::new(), 0, 3).of(2).is_empty());
    }
}
