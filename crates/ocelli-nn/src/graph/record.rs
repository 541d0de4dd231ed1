//! How a network becomes a graph.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use crate::graph::Graph;
use crate::op::trace::{Storage, Tape, record, storage_of};
use crate::op::{Precision, is_cpu};
use crate::{Backbone, Error, Network, Result};

impl<B: Backbone> Network<B> {
    /// The network in inference, in f32, as a list of operations on images of that height and width. It is
    /// recorded while one image runs through the network.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] where a custom backbone or head computes something by operations of Burn's own:
    /// those of [`op`](crate::op) are recorded, and so are all [`layer`](crate::layer)s.
    pub fn graph(&self, [height, width]: [usize; 2]) -> Result<Graph> {
        let image = [self.input_channels(), height, width];
        // Any values will do.
        let images = Tensor::<4>::full([1, image[0], height, width], 0.5, &Device::flex());
        let (tape, [features, logits]) = self.recorded(images)?;
        let steps = tape.steps.into_iter().map(|step| (step.operation, step.inputs, step.shape));
        Ok(Graph::new(image, steps, [features, logits]))
    }

    /// The tape of a pass of images on the CPU, and which of its values are features and logits.
    pub(super) fn recorded(&self, images: Tensor<4>) -> Result<(Tape, [usize; 2])> {
        let cpu = Device::flex();
        let network =
            if is_cpu(&self.device()) { self.clone() } else { self.clone().fork(&cpu.clone().autodiff()) };
        let network = network.with_precision(Precision::F32);
        let ((features, logits), tape) = record(images, names(&network), |images| {
            let features = network.infer_features(images);
            (features.clone(), network.infer_head(features))
        });
        if let Some(operation) = tape.unknown() {
            return Err(Error::NotRecorded { before: operation.to_owned() });
        }
        let value = |tensor: &Tensor<2>, before: &str| {
            tape.value_of(tensor).ok_or_else(|| Error::NotRecorded { before: before.to_owned() })
        };
        let outputs = [value(&features, "the head")?, value(&logits, "the logits")?];
        Ok((tape, outputs))
    }
}

/// The names of a network's parameters by the storage of their tensors.
fn names<B: Backbone>(network: &Network<B>) -> HashMap<Storage, String> {
    struct Names<'a, B: Backbone>(&'a Network<B>, HashMap<Storage, String>);
    impl<B: Backbone> ModuleVisitor for Names<'_, B> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.1.insert(storage_of(&parameter.val()), self.0.name(parameter.id).to_owned());
        }
    }
    let mut names = Names(network, HashMap::new());
    network.visit(&mut names);
    names.1
}
