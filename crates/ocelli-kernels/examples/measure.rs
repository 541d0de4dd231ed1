//! Measures the kernels on the layers of a network, one JSON object a line: time, GFLOP/s, GB/s, and the fraction of what
//! this machine reaches in a loop of multiplications in registers, or in copying memory, measured just before.
//!
//! ```text
//! cargo run --release -p ocelli-kernels --example measure -- resnet34 --size 224 --batch 16 --precision bf16
//! cargo run --release -p ocelli-kernels --example measure -- efficientnet_lite0 --threads 1 --isa avx2 --precision f32
//! ```

use clap::Parser;
use ocelli_kernels::{
    Activation, BatchNorm, Conv2dShape, Element, Isa, PackedConv2d, Padding, StatisticsSource, bf16,
    conv2d_backward_data, conv2d_backward_weights, conv2d_with_statistics,
};
use serde_json::json;
use std::{hint::black_box, time::Instant};

/// Measures the kernels on the layers of a network.
#[derive(Parser)]
struct Settings {
    #[arg(
        value_parser = [
            "resnet34",
            "resnet50",
            "resnext50",
            "efficientnet_lite0",
            "vit_tiny_patch16",
            "convnext_tiny",
        ],
        default_value = "resnet34"
    )]
    network: String,
    /// The side of the images in pixels.
    #[arg(long, default_value_t = 224)]
    size: usize,
    #[arg(long, default_value_t = 16)]
    batch: usize,
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The fastest of the runs counts, not their median: for a machine that is busy otherwise.
    #[arg(long)]
    best: bool,
    /// 0: one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// f32 or bf16; without it the faster one of this processor.
    #[arg(long, value_parser = ["f32", "bf16"])]
    precision: Option<String>,
    /// Only layers whose name or shape contains this.
    #[arg(long, default_value = "")]
    layer: String,
    /// Measure inference only.
    #[arg(long)]
    forward: bool,
    /// A set of kernels, such as portable, avx2, avx512.
    #[arg(long)]
    isa: Option<Isa>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::parse();
    Isa::force(settings.isa)?;
    let use_bf16 =
        settings.precision.as_deref().map_or(Isa::current().has_bf16(), |expected| expected == "bf16");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build()?;
    pool.install(|| if use_bf16 { measure::<bf16>(&settings) } else { measure::<f32>(&settings) });
    Ok(())
}

/// A convolution with the batch norm that follows it.
struct Layer {
    name: String,
    shape: Conv2dShape,
    activation: Activation,
    residual: bool,
}

impl Layer {
    fn description(&self) -> String {
        let s = &self.shape;
        let (height, width) = (s.out_height(), s.out_width());
        format!(
            "{}x{}x{} -> {height}x{width}x{} k{} s{} g{}",
            s.in_height, s.in_width, s.in_channels, s.out_channels, s.kernel[0], s.stride[0], s.groups
        )
    }
}

fn measure<T: Element>(settings: &Settings) {
    let layers = match settings.network.as_str() {
        "resnet34" => resnet(settings.batch, settings.size, None),
        "resnet50" => resnet(settings.batch, settings.size, Some([64, 1])),
        "resnext50" => resnet(settings.batch, settings.size, Some([128, 32])),
        "convnext_tiny" => convnext_tiny(settings.batch, settings.size),
        "vit_tiny_patch16" => vit_tiny_patch16(settings.batch, settings.size),
        _ => efficientnet_lite0(settings.batch, settings.size),
    };
    let threads = rayon::current_num_threads();
    let common = json!({
        "network": settings.network, "size": settings.size, "batch": settings.batch, "threads": threads,
        "isa": Isa::current().to_string(), "precision": if T::BF16 { "bf16" } else { "f32" },
    });
    // Per layer class: the same shape is measured once and counted as often as it occurs.
    let mut totals = [0.0; 6];
    let mut peak_seconds = 0.0;
    let mut counted: Vec<(Layer, usize)> = Vec::new();
    for layer in layers {
        match counted.iter_mut().find(|(l, _)| l.shape == layer.shape && l.residual == layer.residual) {
            Some((_, count)) => *count += 1,
            None => counted.push((layer, 1)),
        }
    }
    for (layer, count) in counted {
        let description = layer.description();
        if !format!("{} {description}", layer.name).contains(&settings.layer) {
            continue;
        }
        let (flops, copied) = (peak::flops::<T>(threads), peak::copy(threads));
        let shape = &layer.shape;
        let mut seconds = layer_seconds::<T>(&layer, settings);
        if layer.name == "stem" {
            seconds[3] = 0.0; // Nobody asks for the gradient of the images.
        }
        let activations = ((shape.input_len() + shape.output_len()) * size_of::<T>()) as f64;
        let mut line = common.clone();
        line["layer"] = json!(layer.name);
        line["count"] = json!(count);
        line["shape"] = json!(description);
        line["peak_gflops"] = json!(round(flops / 1e9));
        line["copy_gbs"] = json!(round(copied / 1e9));
        for (at, name) in PASSES.into_iter().enumerate() {
            let s = seconds[at];
            totals[at] += s * count as f64;
            if s == 0.0 {
                continue;
            }
            line[format!("{name}_ms")] = json!(round(s * 1e3));
            if at < 4 {
                line[format!("{name}_gflops")] = json!(round(shape.flops() / s / 1e9));
                line[format!("{name}_of_peak")] = json!(round(shape.flops() / s / flops));
                line[format!("{name}_of_copy")] = json!(round(activations / s / copied));
            }
        }
        peak_seconds += shape.flops() / flops * count as f64;
        println!("{line}");
    }
    let mut line = common;
    line["layer"] = json!("all convolutions and norms");
    for (at, name) in PASSES.into_iter().enumerate() {
        line[format!("{name}_ms")] = json!(round(totals[at] * 1e3));
    }
    let batch = settings.batch as f64;
    line["forward_at_peak_ms"] = json!(round(peak_seconds * 1e3));
    line["forward_images_per_s"] = json!(round(batch / totals[0]));
    if !settings.forward {
        line["train_images_per_s"] = json!(round(batch / totals[1..].iter().sum::<f64>()));
    }
    println!("{line}");
}

const PASSES: [&str; 6] =
    ["forward", "forward_statistics", "backward_weights", "backward_data", "norm", "norm_backward"];

/// Median seconds of each of [`PASSES`].
fn layer_seconds<T: Element>(layer: &Layer, settings: &Settings) -> [f64; 6] {
    let shape = &layer.shape;
    let x: Vec<T> = values(shape.input_len());
    let weights: Vec<f32> = values(shape.weight_len());
    let dy: Vec<T> = values(shape.output_len());
    let residual: Option<Vec<T>> = layer.residual.then(|| values(shape.output_len()));
    let residual = residual.as_deref();
    let per_channel: Vec<f32> = values::<f32>(shape.out_channels).into_iter().map(|v| v + 1.5).collect();
    let mut y = vec![T::default(); shape.output_len()];
    let mut z = vec![T::default(); shape.output_len()];
    let mut dresidual = layer.residual.then(|| vec![T::default(); shape.output_len()]);
    let mut dx = vec![T::default(); shape.input_len()];
    let mut dw = vec![0.0; shape.weight_len()];
    let packed = PackedConv2d::<T>::pack(shape, &weights, None, Some(&per_channel));
    let forward = settings.seconds(|| packed.forward(shape, &x, residual, layer.activation, &mut y));
    if settings.forward {
        return [forward, 0.0, 0.0, 0.0, 0.0, 0.0];
    }
    let statistics = settings.seconds(|| {
        black_box(conv2d_with_statistics(shape, &weights, &x, &mut y));
    });
    let backward_weights = settings.seconds(|| conv2d_backward_weights(shape, &x, &dy, &mut dw));
    let backward_data = settings.seconds(|| conv2d_backward_data(shape, &weights, &dy, None, &mut dx));
    let norm = BatchNorm {
        mean: &per_channel,
        variance: &per_channel,
        gamma: &per_channel,
        beta: &per_channel,
        epsilon: 1e-5,
        activation: layer.activation,
    };
    let normalise = settings.seconds(|| norm.forward(&y, residual, &mut z));
    let norm_backward = settings.seconds(|| {
        black_box(norm.backward(
            StatisticsSource::Batch,
            &y,
            residual,
            &dy,
            None,
            &mut z,
            dresidual.as_deref_mut(),
        ));
    });
    [forward, statistics, backward_weights, backward_data, normalise, norm_backward]
}

/// A convolution of square maps and kernel without padding, of one group.
fn square([batch, size]: [usize; 2], channels: [usize; 2], kernel: usize, stride: usize) -> Conv2dShape {
    Conv2dShape {
        batch,
        in_height: size,
        in_width: size,
        in_channels: channels[0],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::default(),
        dilation: [1; 2],
        groups: 1,
    }
}

/// ResNet-34, or, with bottlenecks of this many channels and groups in the first stage, ResNet-50 and ResNeXt-50.
fn resnet(batch: usize, size: usize, bottlenecks: Option<[usize; 2]>) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut add = |name: &str,
                   size: usize,
                   channels: [usize; 2],
                   kernel: usize,
                   stride: usize,
                   groups,
                   residual,
                   activation| {
        let shape = Conv2dShape {
            padding: Padding::uniform(kernel / 2),
            groups,
            ..square([batch, size], channels, kernel, stride)
        };
        layers.push(Layer { name: name.to_owned(), shape, activation, residual });
        shape.out_height()
    };
    let relu = Activation::Relu;
    let stem = add("stem", size, [3, 64], 7, 2, 1, false, relu);
    let mut size = stem.div_ceil(2);
    let mut channels = 64;
    for (stage, (plain, blocks)) in [(64, 3), (128, 4), (256, 6), (512, 3)].into_iter().enumerate() {
        let out = if bottlenecks.is_some() { 4 * plain } else { plain };
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            if channels != out {
                add("downsample", size, [channels, out], 1, stride, 1, false, Activation::None);
            }
            if let Some([first, groups]) = bottlenecks {
                let inner = first << stage;
                add("reduce", size, [channels, inner], 1, 1, 1, false, relu);
                size = add("3x3", size, [inner; 2], 3, stride, groups, false, relu);
                add("expand residual", size, [inner, out], 1, 1, 1, true, relu);
            } else {
                size = add("3x3", size, [channels, out], 3, stride, 1, false, relu);
                add("3x3 residual", size, [out; 2], 3, 1, 1, true, relu);
            }
            channels = out;
        }
    }
    layers
}

fn efficientnet_lite0(batch: usize, size: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut add = |name: &str,
                   size: usize,
                   channels: [usize; 2],
                   kernel: usize,
                   stride: usize,
                   groups,
                   residual,
                   activation| {
        let shape = Conv2dShape {
            padding: Padding::same([size; 2], [kernel; 2], [stride; 2], [1; 2]),
            groups,
            ..square([batch, size], channels, kernel, stride)
        };
        layers.push(Layer { name: name.to_owned(), shape, activation, residual });
        shape.out_height()
    };
    let relu6 = Activation::Relu6;
    let mut size = add("stem", size, [3, 32], 3, 2, 1, false, relu6);
    let mut channels = 32;
    let stages = [
        (1, 3, 1, 1, 16),
        (6, 3, 2, 2, 24),
        (6, 5, 2, 2, 40),
        (6, 3, 2, 3, 80),
        (6, 5, 1, 3, 112),
        (6, 5, 2, 4, 192),
        (6, 3, 1, 1, 320),
    ];
    for (expansion, kernel, stride, blocks, out) in stages {
        for block in 0..blocks {
            let inner = channels * expansion;
            if expansion > 1 {
                add("expand", size, [channels, inner], 1, 1, 1, false, relu6);
            }
            let stride = if block == 0 { stride } else { 1 };
            size = add("depthwise", size, [inner; 2], kernel, stride, inner, false, relu6);
            add("project", size, [inner, out], 1, 1, 1, block > 0, Activation::None);
            channels = out;
        }
    }
    add("head", size, [channels, 1280], 1, 1, 1, false, relu6);
    layers
}

/// The linear layers of the blocks.
fn vit_tiny_patch16(batch: usize, size: usize) -> Vec<Layer> {
    let tokens = 1 + (size / 16).pow(2);
    let layer = |(name, channels, activation, residual): (&str, [usize; 2], Activation, bool)| Layer {
        name: name.to_owned(),
        shape: Conv2dShape {
            batch,
            in_height: tokens,
            in_width: 1,
            in_channels: channels[0],
            out_channels: channels[1],
            kernel: [1; 2],
            stride: [1; 2],
            padding: Padding::default(),
            dilation: [1; 2],
            groups: 1,
        },
        activation,
        residual,
    };
    let none = Activation::None;
    let block = [
        ("queries, keys, values", [192, 576], none, false),
        ("projection", [192, 192], none, true),
        ("widen", [192, 768], Activation::Gelu, false),
        ("narrow", [768, 192], none, true),
    ];
    (0..12).flat_map(|_| block.map(layer)).collect()
}

/// The convolutions, and the linear layers of the blocks; a norm is measured as one of a batch.
fn convnext_tiny(batch: usize, size: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut add =
        |name: &str, size: usize, channels: [usize; 2], kernel: usize, stride: usize, groups, activation| {
            let padding = Padding::uniform(if stride == 1 { kernel / 2 } else { 0 });
            let shape = Conv2dShape { padding, groups, ..square([batch, size], channels, kernel, stride) };
            let residual = name == "narrow";
            layers.push(Layer { name: name.to_owned(), shape, activation, residual });
            shape.out_height()
        };
    let none = Activation::None;
    let mut size = add("stem", size, [3, 96], 4, 4, 1, none);
    let mut channels = 96;
    for (out, blocks) in [(96, 3), (192, 3), (384, 9), (768, 3)] {
        if channels != out {
            size = add("downsample", size, [channels, out], 2, 2, 1, none);
        }
        for _ in 0..blocks {
            add("depthwise", size, [out; 2], 7, 1, out, none);
            add("widen", size, [out, 4 * out], 1, 1, 1, Activation::Gelu);
            add("narrow", size, [4 * out, out], 1, 1, 1, none);
        }
        channels = out;
    }
    layers
}

impl Settings {
    /// Seconds that work takes once it is warm.
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
        seconds[if self.best { 0 } else { seconds.len() / 2 }]
    }
}

fn values<T: Element>(len: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f32(((i * 2_654_435_761) >> 7 & 255) as f32 / 128.0 - 1.0)).collect()
}

fn round(value: f64) -> f64 {
    let digits = if value >= 100.0 { 1.0 } else { 1000.0 };
    (value * digits).round() / digits
}

/// What the machine reaches.
mod peak {
    use super::{Element, Instant, Isa, black_box};
    use rayon::prelude::*;

    /// Operations a second of multiply-adds (dot products of pairs for bf16) in registers, all threads together.
    pub fn flops<T: Element>(threads: usize) -> f64 {
        best(|| {
            const ROUNDS: usize = 200_000;
            let start = Instant::now();
            let operations: f64 = (0..threads).into_par_iter().map(|_| registers::<T>(ROUNDS)).sum();
            operations / start.elapsed().as_secs_f64()
        })
    }

    fn registers<T: Element>(rounds: usize) -> f64 {
        #[cfg(target_arch = "x86_64")]
        {
            match Isa::current() {
                // SAFETY: the processor has what `Isa::current` says.
                Isa::Avx512Bf16 if T::BF16 => return unsafe { x86::avx512_bf16(rounds) },
                // SAFETY: the processor has what `Isa::current` says.
                Isa::Avx512 | Isa::Avx512Bf16 => return unsafe { x86::avx512(rounds) },
                // SAFETY: the processor has what `Isa::current` says.
                Isa::Avx2 => return unsafe { x86::avx2(rounds) },
                _ => {}
            }
        }
        let mut sums = black_box([1.0f32; 64]);
        let factor = black_box([0.999f32; 64]);
        for _ in 0..rounds {
            for i in 0..64 {
                sums[i] = sums[i] * factor[i] + factor[i];
            }
        }
        black_box(sums);
        (rounds * 64 * 2) as f64
    }

    /// Bytes a second, read and written, of copying memory beyond the caches, all threads together.
    pub fn copy(threads: usize) -> f64 {
        const LEN: usize = 32 << 20;
        let from = vec![1u8; LEN * threads];
        let mut to = vec![0u8; LEN * threads];
        best(|| {
            let start = Instant::now();
            from.par_chunks(LEN).zip(to.par_chunks_mut(LEN)).for_each(|(from, to)| to.copy_from_slice(from));
            black_box(&to);
            2.0 * (LEN * threads) as f64 / start.elapsed().as_secs_f64()
        })
    }

    fn best(mut measure: impl FnMut() -> f64) -> f64 {
        (0..5).map(|_| measure()).fold(0.0, f64::max)
    }

    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use super::black_box;
        use std::arch::x86_64::*;

        #[target_feature(enable = "avx512f,avx512bf16")]
        pub fn avx512_bf16(rounds: usize) -> f64 {
            let mut sums = [_mm512_set1_ps(black_box(1.0)); 16];
            let factor = _mm512_cvtne2ps_pbh(_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(0.25));
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm512_dpbf16_ps(*sum, factor, factor);
                }
            }
            black_box(sums);
            (rounds * 16 * 64) as f64
        }

        #[target_feature(enable = "avx512f")]
        pub fn avx512(rounds: usize) -> f64 {
            let mut sums = [_mm512_set1_ps(black_box(1.0)); 16];
            let factor = _mm512_set1_ps(black_box(0.5));
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm512_fmadd_ps(*sum, factor, factor);
                }
            }
            black_box(sums);
            (rounds * 16 * 32) as f64
        }

        #[target_feature(enable = "avx2,fma")]
        pub fn avx2(rounds: usize) -> f64 {
            let mut sums = [_mm256_set1_ps(black_box(1.0)); 12];
            let factor = _mm256_set1_ps(black_box(0.5));
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm256_fmadd_ps(*sum, factor, factor);
                }
            }
            black_box(sums);
            (rounds * 12 * 16) as f64
        }
    }
}
