//! Trains the same network on the same photos in the same order three ways: by Burn's own operations in f32, by
//! Ocelli's kernels in f32, and by its kernels in bf16. Two epochs of the head, then some of all layers; a JSON object
//! a run, then the mean of each way.
//!
//! ```text
//! cargo run --release -p ocelli --example three_ways -- photos --size 64 --epochs 3 --seeds 3
//! ```

use std::time::Instant;

use ocelli::prelude::*;
use ocelli_nn::op::compose_always;
use serde_json::json;

fn main() -> ocelli::Result<()> {
    let (mut photos, mut size, mut epochs, mut seeds) = (String::from("samples/emoji"), 64, 3, 3);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_else(|| panic!("{argument} takes a value"));
            value.parse().unwrap_or_else(|_| panic!("{value:?} is no number"))
        };
        match argument.as_str() {
            "--size" => size = number(),
            "--epochs" => epochs = number(),
            "--seeds" => seeds = number(),
            _ => photos = argument,
        }
    }
    let ways = [
        ("f32, Burn's operations", true, Precision::F32),
        ("f32, kernels", false, Precision::F32),
        ("bf16, kernels", false, Precision::Bf16),
    ];
    for (way, composed, precision) in ways {
        let mut accuracies = Vec::new();
        for seed in 0..seeds {
            let began = Instant::now();
            compose_always(composed);
            let data = ImageData::from_folder(&photos).size(size).batch_size(32).load()?;
            let mut learner = Learner::pretrained_seeded(Arch::EfficientNetLite0, data, seed as u64)?;
            learner.precision(precision);
            learner.precompute(true)?;
            learner.fit(1e-2, Epochs(2))?;
            learner.unfreeze();
            let rows = learner.fit([1e-5, 1e-4, 1e-3], Epochs(epochs))?;
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
