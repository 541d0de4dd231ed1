//! Averages of a network's weights over the steps or epochs of a fit.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use ocelli_nn::{Backbone, Network, TensorFile};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::train::gradients::{read_tensors, write_tensors};

/// An average of the tensors of all trainable layer groups, including running statistics.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WeightAverage {
    /// The first layer group that is averaged.
    first: usize,
    /// The number of updates.
    count: usize,
    #[serde(skip)]
    tensors: BTreeMap<ParamId, Tensor<1>>,
}

impl WeightAverage {
    /// An average that starts with the weights of this network.
    pub(crate) fn of<B: Backbone>(network: &Network<B>, first: usize) -> Self {
        let mut averages = Self { first, count: 0, tensors: BTreeMap::new() };
        averages.visit(network, |_, new| new);
        averages
    }

    /// The exponential moving average: `average ← d · average + (1 − d) · weights` after a step, with d =
    /// min(`decay`, (1 + t) / (10 + t)) after t steps, so that the initial weights soon fade (timm's and
    /// TensorFlow's rule).
    pub(crate) fn ema_update<B: Backbone>(&mut self, network: &Network<B>, decay: f64) {
        self.count += 1;
        let steps = self.count as f64;
        let decay = decay.min((1.0 + steps) / (10.0 + steps));
        self.visit(network, |old, new| old.mul_scalar(decay) + new.mul_scalar(1.0 - decay));
    }

    /// The mean of all networks that were added (Izmailov et al. 2018, <https://arxiv.org/abs/1803.05407>).
    /// `index` counts them from 0; one that was already added is not added twice.
    pub(crate) fn swa_update<B: Backbone>(&mut self, network: &Network<B>, index: usize) {
        if index == self.count {
            self.count += 1;
            let fraction = 1.0 / self.count as f64;
            self.visit(network, |old, new| old.mul_scalar(1.0 - fraction) + new.mul_scalar(fraction));
        }
    }

    /// The network with the averages instead of its weights.
    pub(crate) fn apply<B: Backbone>(&self, network: Network<B>) -> Network<B> {
        struct Apply<'a>(&'a BTreeMap<ParamId, Tensor<1>>);
        impl ModuleMapper for Apply<'_> {
            fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let Some(average) = self.0.get(&parameter.id) else { return parameter };
                parameter.map(|old| {
                    let new = average.clone().reshape(old.shape()).autodiff();
                    new.set_require_grad(old.is_require_grad())
                })
            }
        }
        network.map(&mut Apply(&self.tensors))
    }

    pub(crate) fn write<B: Backbone>(&self, network: &Network<B>, prefix: &str, file: &mut TensorFile) {
        write_tensors(&self.tensors, network, prefix, file);
    }

    pub(crate) fn read<B: Backbone>(
        &mut self,
        network: &Network<B>,
        prefix: &str,
        file: &TensorFile,
    ) -> Result<()> {
        self.tensors = read_tensors(network, prefix, file)?;
        Ok(())
    }

    /// Replaces every average by the result of `change` for it and the network's tensor.
    fn visit<B: Backbone>(
        &mut self,
        network: &Network<B>,
        change: impl Fn(Tensor<1>, Tensor<1>) -> Tensor<1>,
    ) {
        struct Visit<'a, B: Backbone, F> {
            network: &'a Network<B>,
            averages: &'a mut WeightAverage,
            change: F,
        }
        impl<B: Backbone, F: Fn(Tensor<1>, Tensor<1>) -> Tensor<1>> ModuleVisitor for Visit<'_, B, F> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                if self.network.role(parameter.id, D).group >= self.averages.first {
                    let new: Tensor<1> = parameter.val().inner().flatten(0, D - 1);
                    let old = self.averages.tensors.remove(&parameter.id).unwrap_or_else(|| new.clone());
                    self.averages.tensors.insert(parameter.id, (self.change)(old, new));
                }
            }
        }
        network.visit(&mut Visit { network, averages: self, change });
    }
}
