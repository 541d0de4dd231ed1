//! The speed of a backbone on this machine.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor, activation};
use ocelli_kernels::peak_of;
use ocelli_nn::{Arch, Network, Pass, Precision, Statistics};

use crate::error::{Error, Result};
use crate::learner::memory::{AvailableMemory, Cost, available_memory};
use crate::schedule::learning_rates::LearningRates;
use crate::train::gradients::ParameterGradients;
use crate::train::optimizer::{Optimizer, OptimizerState, WeightDecay};

/// Images per second, with random images and weights: medians over some batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Inference with a frozen network.
    pub forward: f64,
    /// A training step of all layers: forward, backward, optimizer.
    pub training: f64,
}

/// The number of classes of the head.
const CLASSES: usize = 10;

impl Speed {
    /// Measures `runs` batches of `batch` images (two or more, for batch norm), `size` pixels square, after
    /// one to warm up.
    ///
    /// # Errors
    /// [`Error::Memory`] where the machine has too little for that.
    pub fn measure(
        arch: Arch,
        size: usize,
        batch: usize,
        runs: usize,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        if *device == Device::flex() && batch * size * size > UNCHECKED {
            check_memory(arch, size, batch, precision, device)?;
        }
        let network = arch.untrained(3, CLASSES, 0, device).with_precision(precision);
        let mut network = network.train_groups_from(0);
        let images = Tensor::<4>::random([batch, size, size, 3], Distribution::Normal(0.0, 1.0), device);
        let images = images.permute([0, 3, 1, 2]);
        let forward = median_seconds(runs, || {
            network.infer(images.clone()).into_data();
        });
        let mut optimizer = OptimizerState::new(Optimizer::SGD, WeightDecay::default());
        let training = median_seconds(runs, || {
            network = train(network.clone(), images.clone(), &mut optimizer);
        });
        Ok(Self { forward: batch as f64 / forward, training: batch as f64 / training })
    }
}

/// Pixels of a batch that any machine has enough memory for.
const UNCHECKED: usize = 16 * 299 * 299;

/// Refuses what would need more memory than there is. The need is measured with a few small images.
fn check_memory(arch: Arch, size: usize, batch: usize, precision: Precision, device: &Device) -> Result<()> {
    let Some(AvailableMemory { bytes: available, .. }) = available_memory() else { return Ok(()) };
    let side = arch.info().smallest.max(64).next_multiple_of(32).min(size);
    let [few, more] = [2, 4].map(|images| {
        let network = arch.untrained(3, CLASSES, 0, device).with_precision(precision).train_groups_from(0);
        let images = Tensor::<4>::zeros([images, side, side, 3], device).permute([0, 3, 1, 2]);
        let mut optimizer = OptimizerState::new(Optimizer::SGD, WeightDecay::default());
        peak_of(|| train(network, images, &mut optimizer)).1
    });
    let of_an_image = more.saturating_sub(few) as u64 / 2 * (size * size) as u64 / (side * side) as u64;
    let cost = Cost { fixed: few as u64, of_an_image };
    let needed = cost.of(batch);
    if needed <= available {
        return Ok(());
    }
    let fits = cost.largest_batch(available);
    Err(Error::Memory { task: "measuring", batch, size, needed, available, fits })
}

/// One step on the cross-entropy of everything being of the first class.
fn train(network: Network, images: Tensor<4>, optimizer: &mut OptimizerState) -> Network {
    let pass = Pass::train(Statistics::Batch, 0);
    let logits = network.forward_from(0, images, &pass);
    let loss = activation::log_softmax(logits, 1).narrow(1, 0, 1).mean().neg();
    let gradients = ParameterGradients::take(&network, loss.backward());
    let network = optimizer.step(network, gradients, LearningRates::from(1e-6), None);
    let network = network.update_running_stats(pass.into_batch_stats());
    // Devices run asynchronously until a value is read.
    loss.into_data();
    network
}

fn median_seconds(runs: usize, mut step: impl FnMut()) -> f64 {
    step();
    let mut seconds: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let began = Instant::now();
            step();
            began.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
