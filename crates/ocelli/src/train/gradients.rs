//! Gradients of a network's parameters.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use ocelli_nn::op::{rounded, sum_of_squares};
use ocelli_nn::{Backbone, Network, Precision, TensorFile};

use crate::error::Result;

/// The gradient of every parameter that has one, flattened.
#[derive(Debug, Clone, Default)]
pub(crate) struct ParameterGradients(BTreeMap<ParamId, Tensor<1>>);

/// Takes the gradients of the parameters that it visits.
struct Take(Gradients, BTreeMap<ParamId, Tensor<1>>);

impl ModuleVisitor for Take {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = parameter.val().grad_remove(&mut self.0) {
            self.1.insert(parameter.id, gradient.flatten(0, D - 1));
        }
    }
}

impl ParameterGradients {
    /// Takes them from the result of a backward pass.
    pub(crate) fn take<B: Backbone>(network: &Network<B>, gradients: Gradients) -> Self {
        let mut take = Take(gradients, BTreeMap::new());
        network.visit(&mut take);
        Self(take.1)
    }

    /// The same where only the head is trained: a backbone has hundreds of parameters to look at.
    pub(crate) fn take_of_head<B: Backbone>(network: &Network<B>, gradients: Gradients) -> Self {
        let mut take = Take(gradients, BTreeMap::new());
        network.head().visit(&mut take);
        Self(take.1)
    }

    /// Each, by its parameter.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ParamId, &Tensor<1>)> {
        self.0.iter()
    }

    /// Keeps those of some parameters.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&ParamId) -> bool) {
        self.0.retain(|id, _| is_kept(id));
    }

    /// One parameter's.
    pub(crate) fn get(&self, id: &ParamId) -> Option<&Tensor<1>> {
        self.0.get(id)
    }

    /// The parameters that have one.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ParamId> {
        self.0.keys()
    }

    /// Whether no parameter has a gradient.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets one parameter's.
    pub(crate) fn insert(&mut self, id: ParamId, gradient: Tensor<1>) {
        self.0.insert(id, gradient);
    }

    /// Removes one parameter's.
    pub(crate) fn remove(&mut self, id: ParamId) -> Option<Tensor<1>> {
        self.0.remove(&id)
    }

    /// Multiplies all by a factor.
    pub(crate) fn scale(&mut self, factor: f64) {
        for gradient in self.0.values_mut() {
            *gradient = gradient.clone().mul_scalar(factor);
        }
    }

    /// Rounds all to numbers of that precision.
    pub(crate) fn round(&mut self, precision: Precision) {
        if precision != Precision::F32 {
            for gradient in self.0.values_mut() {
                *gradient = rounded(gradient.clone(), precision);
            }
        }
    }

    /// Adds others, parameter by parameter.
    pub(crate) fn add(&mut self, others: Self) {
        for (id, other) in others.0 {
            let sum = match self.0.remove(&id) {
                Some(gradient) => gradient + other,
                None => other,
            };
            self.0.insert(id, sum);
        }
    }

    /// The Euclidean norm of all together, summed in a fixed order.
    pub(crate) fn norm(&self) -> f64 {
        self.0.values().map(sum_of_squares).sum::<f64>().sqrt()
    }

    /// Clips the norm of all together, which is `norm`, to `most` (Pascanu et al. 2013, <https://arxiv.org/abs/1211.5063>).
    pub(crate) fn clip(&mut self, norm: f64, most: f64) {
        if norm > most {
            self.scale(most / norm);
        }
    }

    pub(crate) fn write<B: Backbone>(&self, network: &Network<B>, prefix: &str, file: &mut TensorFile) {
        write_tensors(&self.0, network, prefix, file);
    }

    pub(crate) fn read<B: Backbone>(
        &mut self,
        network: &Network<B>,
        prefix: &str,
        file: &TensorFile,
    ) -> Result<()> {
        self.0 = read_tensors(network, prefix, file)?;
        Ok(())
    }
}

/// Adds a tensor for each parameter NAME to a file, as `PREFIX.NAME`.
pub(crate) fn write_tensors<B: Backbone>(
    tensors: &BTreeMap<ParamId, Tensor<1>>,
    network: &Network<B>,
    prefix: &str,
    file: &mut TensorFile,
) {
    for (id, tensor) in tensors {
        let values = tensor.to_data().try_into_vec().expect("tensors of parameters are f32");
        file.insert(format!("{prefix}.{}", network.name(*id)), tensor.dims().to_vec(), values);
    }
}

/// The tensors that [`write_tensors`] has written, from a file that has the network's as well.
///
/// # Errors
/// Where one has not as many values as its parameter.
pub(crate) fn read_tensors<B: Backbone>(
    network: &Network<B>,
    prefix: &str,
    file: &TensorFile,
) -> Result<BTreeMap<ParamId, Tensor<1>>> {
    let read = |id: ParamId| Ok(read_tensor(network, id, prefix, file)?.map(|tensor| (id, tensor)));
    network.roles().into_keys().filter_map(|id| read(id).transpose()).collect()
}

/// One of them; `None` where the file has none for this parameter.
pub(crate) fn read_tensor<B: Backbone>(
    network: &Network<B>,
    id: ParamId,
    prefix: &str,
    file: &TensorFile,
) -> Result<Option<Tensor<1>>> {
    let name = format!("{prefix}.{}", network.name(id));
    let Some(found) = file.get(&name) else { return Ok(None) };
    let needed = file.get(network.name(id)).map_or(0, |own| own.values.len());
    if found.values.len() != needed {
        return Err(ocelli_nn::Error::Mismatch {
            origin: file.origin().to_owned(),
            architecture: "this network".to_owned(),
            missing: Vec::new(),
            misshapen: vec![(name, found.shape.clone(), vec![needed])],
            unexpected: Vec::new(),
        }
        .into());
    }
    Ok(Some(Tensor::from_data(found.values.as_slice(), &network.device())))
}
