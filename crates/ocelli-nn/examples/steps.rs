//! Images a second of a network as it is used and as it is trained, one JSON object a line: a forward pass,
//! and a whole step of training (forward, backward, SGD with momentum) on the same images again and again.
//!
//! ```text
//! cargo run --release -p ocelli-nn --example steps -- efficientnet_lite0 --size 224 --batch 16 --precision bf16
//! cargo run --release -p ocelli-nn --example steps -- resnet34 --isa avx2 --precision f32 --statistics running
//! ```

use std::collections::HashMap;
use std::time::Instant;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Gradients, Tensor, TensorData, activation};
use clap::Parser;
use ocelli_kernels::Isa;
use ocelli_nn::op::{SgdStep, sgd_step};
use ocelli_nn::{Arch, Int8Features, Network, Pass, Precision, Statistics};
use serde_json::json;

/// Measures images a second.
#[derive(Parser)]
struct Settings {
    #[arg(default_value_t = Arch::EfficientNetLite0)]
    arch: Arch,
    /// The side of the images in pixels.
    #[arg(long, default_value_t = 224)]
    size: usize,
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Runs, of which the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// 0: one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// f32 or bf16; without it the fastest of this processor.
    #[arg(long, value_parser = precision)]
    precision: Option<Precision>,
    /// What norms normalise by in training: batch or running.
    #[arg(long, value_parser = statistics, default_value = "batch")]
    statistics: Statistics,
    /// Measure one alone: forward, int8 (features in 8-bit integers) or train; without it forward and train.
    #[arg(long, value_parser = ["forward", "int8", "train"])]
    only: Option<String>,
    /// A set of kernels, such as portable, avx2, avx512.
    #[arg(long)]
    isa: Option<Isa>,
}

fn precision(text: &str) -> Result<Precision, String> {
    [Precision::F32, Precision::Bf16]
        .into_iter()
        .find(|precision| precision.to_string() == text)
        .ok_or_else(|| "f32 or bf16 is expected".to_owned())
}

fn statistics(text: &str) -> Result<Statistics, String> {
    match text {
        "batch" => Ok(Statistics::Batch),
        "running" => Ok(Statistics::Running),
        _ => Err("batch or running is expected".to_owned()),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::parse();
    Isa::force(settings.isa)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build()?;
    pool.install(|| measure(&settings));
    Ok(())
}

fn measure(settings: &Settings) {
    let device = Device::flex();
    let precision = settings.precision.unwrap_or_else(Precision::fastest);
    let network = settings.arch.untrained(3, 1000, 0, &device).with_precision(precision);
    let mut network = network.train_groups_from(0);
    let Settings { batch, size, .. } = *settings;
    let values = (0..batch * 3 * size * size).map(|i| ((i * 2_654_435_761) >> 7 & 255) as f32 / 128.0 - 1.0);
    // Channels last, as the loader makes them.
    let images = TensorData::new(values.collect::<Vec<_>>(), [batch, size, size, 3]);
    let images = Tensor::<4>::from_data(images, &device).permute([0, 3, 1, 2]);

    let mut line = json!({
        "arch": settings.arch.to_string(), "size": size, "batch": batch, "engine": "ocelli",
        "precision": precision.to_string(), "isa": Isa::current().to_string(), "threads": rayon::current_num_threads(),
    });
    let only = settings.only.as_deref();
    let measured = |what| only.is_none_or(|only| only == what);
    if measured("forward") {
        let seconds = settings.seconds(|| drop(network.infer(images.clone()).into_data()));
        line["forward_images_per_s"] = json!((batch as f64 / seconds * 10.0).round() / 10.0);
    }
    if only == Some("int8") {
        let ranges = network.ranges(images.clone()).expect("networks of the registry are recorded");
        let features = Int8Features::new(&network, ranges, [size; 2]).expect("a convolutional network");
        let seconds = settings.seconds(|| drop(features.infer(images.clone()).map(Tensor::into_data)));
        line["int8_images_per_s"] = json!((batch as f64 / seconds * 10.0).round() / 10.0);
    }
    if measured("train") {
        let mut velocities = HashMap::new();
        let seconds = settings.seconds(|| {
            network = step(network.clone(), images.clone(), settings.statistics, &mut velocities);
        });
        line["statistics"] = json!(format!("{:?}", settings.statistics).to_lowercase());
        line["train_images_per_s"] = json!((batch as f64 / seconds * 10.0).round() / 10.0);
    }
    line["peak_mib"] = json!(peak_mib());
    println!("{line}");
}

/// A step of training towards class 0.
fn step(
    network: Network,
    images: Tensor<4>,
    statistics: Statistics,
    velocities: &mut HashMap<ParamId, Tensor<1>>,
) -> Network {
    let pass = Pass::train(statistics, 0);
    let logits = network.forward_from(0, images, &pass);
    let loss = activation::log_softmax(logits, 1).narrow(1, 0, 1).mean().neg();
    let gradients = loss.backward();
    network.map(&mut Sgd { velocities, gradients }).update_running_stats(pass.into_batch_stats())
}

struct Sgd<'a> {
    velocities: &'a mut HashMap<ParamId, Tensor<1>>,
    gradients: Gradients,
}

impl ModuleMapper for Sgd<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = parameter.val().grad_remove(&mut self.gradients) else { return parameter };
        let step = SgdStep { lr: 1e-3, momentum: 0.9, decay_factor: 1.0 };
        let velocity = self.velocities.remove(&parameter.id);
        let id = parameter.id;
        parameter.map(|old| {
            let shape = old.shape();
            let (new, velocity) =
                sgd_step(step, old.inner().flatten(0, D - 1), gradient.flatten(0, D - 1), velocity);
            self.velocities.insert(id, velocity);
            new.reshape(shape).autodiff().require_grad()
        })
    }
}

impl Settings {
    /// The median of the seconds that work takes once it is warm.
    fn seconds(&self, mut work: impl FnMut()) -> f64 {
        work();
        let mut seconds: Vec<f64> = (0..self.runs)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    }
}

/// The most memory that this process has had, where the system says it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}
