//! Saving models of a learner.

use std::path::{Path, PathBuf};

use ocelli_data::Preprocessing;
use ocelli_nn::{Backbone, Network};

use crate::error::Result;
use crate::event::{Event, Observers};
use crate::model::config::{ModelConfig, save};
use crate::model::finite::check_finite;
use crate::train::fit::MeasuredEpoch;
use crate::train::input::Inputs;

/// Saves a model at the end of every cycle of a schedule.
#[derive(Debug, Clone)]
pub(crate) struct SaveCycles {
    /// The prefix of the files' names.
    name: PathBuf,
}

impl SaveCycles {
    pub(crate) fn new(name: PathBuf) -> Self {
        Self { name }
    }

    /// Saves the weights that an epoch has validated, as the model of a cycle, counted from 0.
    pub(crate) fn after_cycle<B: Backbone>(
        &self,
        cycle: usize,
        epoch: &MeasuredEpoch<B>,
        inputs: &Inputs,
        observers: &mut Observers,
    ) -> Result<()> {
        if !epoch.record.is_finite() {
            let number = cycle + 1;
            let text =
                format!("cycle {number} has no model: what the network computes is not finite any more");
            return observers.emit(&Event::Notice { text });
        }
        let mut path = self.name.clone().into_os_string();
        path.push(format!("_cyc_{cycle}.safetensors"));
        save_network(Path::new(&path), &epoch.network, inputs, epoch.size)?;
        observers.emit(&Event::Written { what: "model of a cycle", path: path.into() })
    }
}

/// The model configuration of a network that was trained on these inputs, for this image size.
pub(super) fn config<B: Backbone>(network: &Network<B>, inputs: &Inputs, size: usize) -> ModelConfig {
    let data = &inputs.data;
    let preprocessing = Preprocessing { size, ..inputs.preprocessing() };
    ModelConfig {
        head: network.head_form().unwrap_or_default(),
        channels: data.loading().decoder.channels,
        augmentation: data.augmentation().cloned(),
        label_separator: data.label_separator,
        ..ModelConfig::new(&inputs.backbone.name, &data.items, preprocessing, network.precision())
    }
}

/// Writes the model of a network, and returns its digest.
pub(crate) fn save_network<B: Backbone>(
    path: &Path,
    network: &Network<B>,
    inputs: &Inputs,
    size: usize,
) -> Result<String> {
    let tensors = network.to_tensors();
    check_finite(&tensors, "the network")?;
    save(path, &config(network, inputs, size), &tensors)
}
