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

use crate::error::{Error, Result};
use crate::processes::ProcessGroup;
use crate::train::gradients::ParameterGradients;

/// The names of the parameters that have gradients, in alphabetical order, and the numbers of their values.
pub(crate) type Layout = Vec<(String, usize)>;

/// Which process has which parameters of the backbone.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    layout: Layout,
    /// The parameters of each process, by their places in the layout.
    ranges: Vec<Range<usize>>,
    rank: usize,
}

impl Shards {
    /// Parameters one after the other, about as many values for each process.
    pub(crate) fn new(layout: Layout, rank: usize, size: usize) -> Self {
        let total: usize = layout.iter().map(|(_, length)| length).sum();
        let mut before = 0;
        let mut ranges = vec![0..0; size];
        for (place, (_, length)) in layout.iter().enumerate() {
            // Of the process in whose share its middle lies.
            let owner = ((before + length / 2) * size / total.max(1)).min(size - 1);
            before += length;
            let range = &mut ranges[owner];
            *range = if range.start == range.end { place..place + 1 } else { range.start..place + 1 };
        }
        Self { layout, ranges, rank }
    }

    /// The parameters of a process, with the numbers of their values.
    pub(crate) fn of(&self, rank: usize) -> &[(String, usize)] {
        &self.layout[self.ranges[rank].clone()]
    }

    /// Those of this process.
    pub(crate) fn own(&self) -> &[(String, usize)] {
        self.of(self.rank)
    }

    /// The values of a process's parameters among those of all.
    pub(crate) fn values_of(&self, rank: usize) -> Range<usize> {
        let values = |names: &[(String, usize)]| names.iter().map(|(_, length)| length).sum::<usize>();
        let start = values(&self.layout[..self.ranges[rank].start]);
        start..start + values(self.of(rank))
    }

    /// The Euclidean norm of the gradients of all processes, of which each has those of its own parameters, and all have the
    /// head's; added up in the order in which [`ParameterGradients::norm`] adds them.
    pub(crate) fn norm<B: Backbone>(
        &self,
        gradients: &ParameterGradients,
        network: &Network<B>,
        processes: &ProcessGroup,
    ) -> Result<f64> {
        let ids = ids_of(network);
        let mut squares: BTreeMap<ParamId, f64> =
            gradients.iter().map(|(id, gradient)| (*id, sum_of_squares(gradient))).collect();
        let own = self.own().iter().filter_map(|(name, _)| squares.get(ids.get(name.as_str())?));
        let own: Vec<u8> = own.flat_map(|square| square.to_le_bytes()).collect();
        for (rank, bytes) in processes.all_gather(&own)?.iter().enumerate() {
            let (values, rest) = bytes.as_chunks();
            if values.len() != self.of(rank).len() || !rest.is_empty() {
                return Err(Error::ProcessesDiverged { what: "the gradients", rank });
            }
            for ((name, _), square) in self.of(rank).iter().zip(values) {
                if let Some(id) = ids.get(name.as_str()) {
                    squares.insert(*id, f64::from_le_bytes(*square));
                }
            }
        }
        Ok(squares.values().sum::<f64>().sqrt())
    }

    /// The network with the parameters of other processes as these have updated them.
    pub(crate) fn with_parameters_of_all<B: Backbone>(
        &self,
        network: Network<B>,
        processes: &ProcessGroup,
    ) -> Result<Network<B>> {
        let ids: BTreeMap<String, ParamId> =
            ids_of(&network).into_iter().map(|(name, id)| (name.to_owned(), id)).collect();
        let id_of = |name: &String| ids.get(name).copied();
        let own = Values::of(&network, self.own().iter().filter_map(|(name, _)| id_of(name)));
        let own: Vec<f32> = self.own().iter().flat_map(|(name, _)| own.get(id_of(name))).collect();
        let mut others = BTreeMap::new();
        for (rank, bytes) in processes.all_gather(&to_bytes(&own))?.iter().enumerate() {
            if rank == self.rank {
                continue;
            }
            let diverged = || Error::ProcessesDiverged { what: "the weights", rank };
            let values = to_floats(bytes).filter(|values| values.len() == self.values_of(rank).len());
            let mut rest = &values.ok_or_else(diverged)?[..];
            for (name, length) in self.of(rank) {
                let (values, others_values) = rest.split_at(*length);
                rest = others_values;
                others.insert(id_of(name).ok_or_else(diverged)?, values.to_vec());
            }
        }
        Ok(network.map(&mut Replace(others)))
    }
}

/// The parameters of a network by their names.
pub(crate) fn ids_of<B: Backbone>(network: &Network<B>) -> BTreeMap<&str, ParamId> {
    network.roles().into_keys().map(|id| (network.name(id), id)).collect()
}

/// The values of some parameters.
struct Values(BTreeMap<ParamId, Option<Vec<f32>>>);

impl Values {
    fn of<B: Backbone>(network: &Network<B>, ids: impl Iterator<Item = ParamId>) -> Self {
        let mut values = Self(ids.map(|id| (id, None)).collect());
        network.visit(&mut values);
        values
    }

    fn get(&self, id: Option<ParamId>) -> Vec<f32> {
        id.and_then(|id| self.0.get(&id)?.clone()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_has_one_process_and_processes_have_about_as_many_values() {
        let layout: Layout = (0..40).map(|place| (format!("p{place}"), 1 + place * 7 % 50)).collect();
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
        let few = Shards::new(vec![("a".to_owned(), 5), ("b".to_owned(), 5)], 3, 4);
        assert_eq!((0..4).map(|rank| few.of(rank).len()).sum::<usize>(), 2);
        assert!(Shards::new(Vec::new(), 0, 3).of(2).is_empty());
    }
}
