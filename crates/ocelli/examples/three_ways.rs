//! Trains the same network on the same photos in the same order three ways: by Burn's own operations in f32, by
//! Ocelli's kernels in f32, and by its kernels in bf16. Two epochs of the head, then some of all layers; or with `--arch`
//! all layers of another network, from random weights. `--kernels` leaves Burn's operations out. A JSON object a run,
//! then the mean of each way.
//!
//! ```text
//! cargo run --release -p ocelli --example three_ways -- photos --size 64 --epochs 3 --seeds 3
//! cargo run --release -p ocelli --example three_ways -- photos --size 64 --epochs 8 --seeds 2 --arch resnet18 --kernels
//! ```

use std::time::Instant;

use burn::tensor::Device;
use ocelli::prelude::*;
use ocelli::{EpochRecord, Normalization};
use ocelli_nn::op::compose_always;
use serde_json::json;

fn main() -> ocelli::Result<()> {
    let (mut photos, mut size, mut epochs, mut seeds) = (String::from("samples/emoji"), 64, 3, 3);
    let mut arch: Option<Arch> = None;
    let mut kernels_alone = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} takes a value"));
        let number = |value: String| value.parse().unwrap_or_else(|_| panic!("{value:?} is no number"));
        match argument.as_str() {
            "--kernels" => kernels_alone = true,
            "--arch" => arch = Some(value().parse().unwrap_or_else(|error| panic!("{error}"))),
            "--size" => size = number(value()),
            "--epochs" => epochs = number(value()),
            "--seeds" => seeds = number(value()),
            _ => photos = argument,
        }
    }
    let ways = [
        ("f32, Burn's operations", true, Precision::F32),
        ("f32, kernels", false, Precision::F32),
        ("bf16, kernels", false, Precision::Bf16),
    ];
    for (way, composed, precision) in ways.into_iter().skip(usize::from(kernels_alone)) {
        let mut accuracies = Vec::new();
        for seed in 0..seeds {
            let began = Instant::now();
            compose_always(composed);
            let data = ImageData::from_folder(&photos).size(size).batch_size(32).load()?;
            let rows = match arch {
                None => fine_tune(data, precision, epochs, seed as u64)?,
                Some(arch) => from_random_weights(arch, data, precision, epochs, seed as u64)?,
            };
            let last = rows.last().expect("an epoch was trained");
            accuracies.push(last.accuracy.expect("something is held out"));
            println!(
                "{}",
                json!({
                    "way": way, "seed": seed, "size": size, "epochs": epochs, "accuracy": last.accuracy,
                    "valid_loss": last.valid_loss, "train_loss": last.train_loss,
                    "seconds": began.elapsed().as_secs_f64().round(),
                })
            );
        }
        let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
        println!("{}", json!({ "way": way, "seeds": seeds, "mean_accuracy": mean }));
    }
    Ok(())
}

fn fine_tune(
    data: ImageData,
    precision: Precision,
    epochs: usize,
    seed: u64,
) -> ocelli::Result<Vec<EpochRecord>> {
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data.with_seed(seed))?;
    learner.set_precision(precision);
    learner.cache_features()?;
    learner.fit(1e-2, Epochs(2))?;
    learner.unfreeze();
    learner.fit([1e-5, 1e-4, 1e-3], Epochs(epochs))
}

fn from_random_weights(
    arch: Arch,
    data: ImageData,
    precision: Precision,
    epochs: usize,
    seed: u64,
) -> ocelli::Result<Vec<EpochRecord>> {
    let network = arch.untrained(3, data.classes().len(), seed, &Device::flex());
    let info = arch.info();
    let normalization = Normalization { mean: info.mean, std: info.std };
    let mut learner = Learner::from_network(network, info.name, normalization, data.with_seed(seed))?;
    learner.set_precision(precision);
    learner.unfreeze();
    learner.set_train_bn(true);
    learner.fit(1e-2, Epochs(epochs))
}
