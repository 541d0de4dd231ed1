//! The optimizer's work shared out among processes, as ZeRO's first stage has it (Rajbhandari et al. 2020,
//! <https://arxiv.org/abs/1910.02054>): each process keeps the moments of some of the backbone's parameters, updates these,
//! and sends them to the others. Parameter by parameter the arithmetic is that of one process, so that the result is the
//! same, to the bit.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use ocelli_nn::op::sum_of_squares;
use ocelli_nn::{Backbone, Network};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::processes::ProcessGroup;
use crate::train::gradients::ParameterGradients;

/// Which process has which parameters of the backbone.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    /// Those that have gradients, in the order of their names, with the numbers of their values.
    parameters: Vec<(ParamId, usize)>,
    /// The parameters of each process, by their places among all.
    ranges: Vec<Range<usize>>,
    rank: usize,
}

impl Shards {
    /// Parameters one after the other, about as many values for each process.
    pub(crate) fn new(parameters: Vec<(ParamId, usize)>, rank: usize, size: usize) -> Self {
        let total: usize = parameters.iter().map(|(_, length)| length).sum();
        let mut before = 0;
        let mut ranges = vec![0..0; size];
        for (place, (_, length)) in parameters.iter().enumerate() {
            // Of the process in whose share its middle lies.
            let owner = ((before + length / 2) * size / total.max(1)).min(size - 1);
            before += length;
            let range = &mut ranges[owner];
            *range = if range.start == range.end { place..place + 1 } else { range.start..place + 1 };
        }
        Self { parameters, ranges, rank }
    }

    /// The parameters of a process, with the numbers of their values.
    pub(crate) fn of(&self, rank: usize) -> &[(ParamId, usize)] {
        &self.parameters[self.ranges[rank].clone()]
    }

    /// Those of this process.
    pub(crate) fn own(&self) -> &[(ParamId, usize)] {
        self.of(self.rank)
    }

    /// The values of a process's parameters among those of all.
    pub(crate) fn values_of(&self, rank: usize) -> Range<usize> {
        let values = |own: &[(ParamId, usize)]| own.iter().map(|(_, length)| length).sum::<usize>();
        let start = values(&self.parameters[..self.ranges[rank].start]);
        start..start + values(self.of(rank))
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

    /// The network with the parameters of other processes as these have updated them.
    pub(crate) fn with_parameters_of_all<B: Backbone>(
        &self,
        network: Network<B>,
        processes: &ProcessGroup,
    ) -> Result<Network<B>> {
        let own = Values::of(&network, self.own().iter().map(|(id, _)| *id));
        let own: Vec<f32> = self.own().iter().flat_map(|(id, _)| own.get(id)).collect();
        let mut others = BTreeMap::new();
        for (rank, bytes) in processes.all_gather(&to_bytes(&own))?.iter().enumerate() {
            if rank == self.rank {
                continue;
            }
            let diverged = || Error::ProcessesDiverged { what: "the weights", rank };
            let values = to_floats(bytes).filter(|values| values.len() == self.values_of(rank).len());
            let mut rest = &values.ok_or_else(diverged)?[..];
            for (id, length) in self.of(rank) {
                let (values, others_values) = rest.split_at(*length);
                rest = others_values;
                others.insert(*id, values.to_vec());
            }
        }
        Ok(network.map(&mut Replace(others)))
    }
}

/// The values of some parameters.
struct Values(BTreeMap<ParamId, Option<Vec<f32>>>);

impl Values {
    fn of<B: Backbone>(network: &Network<B>, ids: impl Iterator<Item = ParamId>) -> Self {
        let mut values = Self(ids.map(|id| (id, None)).collect());
        network.visit(&mut values);
        values
    }

    fn get(&self, id: &ParamId) -> Vec<f32> {
        self.0.get(id).cloned().flatten().unwrap_or_default()
    }
}

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(values) = self.0.get_mut(&parameter.id) {
            let data = parameter.val().inner().into_data();
            *values = Some(data.try_into_vec().expect("weights are f32"));
        }
    }
}

/// Gives parameters other values.
struct Replace(BTreeMap<ParamId, Vec<f32>>);

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.0.remove(&parameter.id) else { return parameter };
        parameter.map(|old| {
            let new = Tensor::<1>::from_data(values.as_slice(), &old.device()).reshape(old.shape());
            new.autodiff().set_require_grad(old.is_require_grad())
        })
    }
}

pub(crate) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|value| value.to_le_bytes()).collect::<Vec<_>>().into_flattened()
}

/// `None` where the bytes are not whole numbers.
pub(crate) fn to_floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let (floats, rest) = bytes.as_chunks();
    rest.is_empty().then(|| floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
}

/// A message of a header and numbers: the header's length, the header as JSON, the numbers.
pub(crate) fn message(header: &impl Serialize, values: &[f32]) -> Vec<u8> {
    let header = serde_json::to_vec(header).expect("numbers and texts serialise");
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(to_bytes(values));
    bytes
}

/// What [`message`] was made of; `None` where it was not.
pub(crate) fn read_message<H: DeserializeOwned>(bytes: &[u8]) -> Option<(H, Vec<f32>)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (header, values) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    Some((serde_json::from_slice(header).ok()?, to_floats(values)?))
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
            let mut end = 0;
            for rank in 0..size {
                let values = shards.values_of(rank);
                assert_eq!(values.start, end, "{size}");
                assert!(values.len() <= total / size + 50, "{size}: {values:?}");
                end = values.end;
            }
            assert_eq!(end, total);
        }
        // More processes than parameters: some have none.
        let few = Shards::new(vec![(ParamId::from(1), 5), (ParamId::from(2), 5)], 3, 4);
        assert_eq!((0..4).map(|rank| few.of(rank).len()).sum::<usize>(), 2);
        assert!(Shards::new(Vec::new(), 0, 3).of(2).is_empty());
    }
}
