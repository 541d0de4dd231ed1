//! What is printed before training starts.

use ocelli::{Arch, DeviceKind, DeviceName, ImageData, Metric, Precision, Run, Task};
use ocelli_kernels::Isa;

use crate::output::{eprintln, message, println, shown};
use crate::text::{count, counted, size};

/// Classes that are listed.
const CLASSES: usize = 6;

/// `cpu, 2 threads, bf16 (AVX-512)`, or the name of another device.
pub fn machine(device: DeviceName, precision: Precision) -> String {
    if device.kind != DeviceKind::Cpu {
        return format!("{device}, f32");
    }
    let isa = match Isa::current() {
        Isa::Portable => "no SIMD",
        Isa::Avx2 => "AVX2",
        Isa::Avx512 | Isa::Avx512Bf16 => "AVX-512",
        Isa::Neon => "NEON",
        #[allow(unreachable_patterns)]
        _ => "CPU",
    };
    format!("cpu, {}, {precision} ({isa})", counted(rayon::current_num_threads(), "thread"))
}

/// What is about to be trained, on what.
pub fn introduce(training: &Run) {
    let learner = training.learner();
    let data = learner.data();
    let run = training.run_folder().path();
    print_data(data);
    if !data.skipped().is_empty() {
        let listed = run.join("skipped.csv");
        println!("          {} skipped, see {}", count(data.skipped().len()), shown(listed.display()));
    }
    for notice in data.notices() {
        println!("          {}", message(notice));
    }
    if let Some(line) = baseline(data) {
        println!("baseline  {line}");
    }
    let parameters = learner.network().parameters();
    println!(
        "model     {}, {} px · {} parameters, {} in the new head",
        shown(learner.architecture()),
        data.size(),
        size(parameters.iter().sum()),
        size(parameters[parameters.len() - 1]),
    );
    if let Some(warning) = size_warning(training) {
        println!("          {}", message(warning));
    }
    if let Some((path, dropped)) = training.dropped_tensors() {
        let classifier = match dropped {
            [] => "no classifier in it".to_owned(),
            tensors => format!("without its classifier ({})", tensors.join(", ")),
        };
        println!("          weights from {}, {}", shown(path.display()), shown(classifier));
    }
    println!("run       {}", shown(run.display()));
}

fn print_data(data: &ImageData) {
    let counts = data.class_counts();
    let mut classes: Vec<String> = counts
        .iter()
        .take(CLASSES)
        .map(|class| format!("{} {}", shown(&class.class), count(class.train + class.valid)))
        .collect();
    if counts.len() > CLASSES {
        classes.push("…".to_owned());
    }
    println!(
        "data      {} in {}: {}\n          train {}, valid {} ({})",
        counted(data.train_len() + data.valid_len(), "image"),
        counted(counts.len(), "class"),
        classes.join(", "),
        count(data.train_len()),
        count(data.valid_len()),
        data.split_origin(),
    );
}

/// Warnings alone, to standard error: `--quiet` silences progress, and nothing that a result depends on.
pub fn print_warnings(training: &Run) {
    let notices = training.learner().data().notices().iter().filter(|notice| notice.starts_with("warning"));
    let warnings = notices.cloned().chain(size_warning(training));
    warnings.for_each(|warning| eprintln!("{}", message(warning)));
}

/// That the images are smaller than the backbone is made for.
fn size_warning(training: &Run) -> Option<String> {
    let settings = training.settings();
    let arch = training.learner().architecture().parse::<Arch>().ok()?;
    settings.recipe.size_warning(arch, settings.size).map(|warning| format!("warning: {warning}"))
}

/// The metric of the same prediction for every validation image; nothing if there are none.
fn baseline(data: &ImageData) -> Option<String> {
    let baseline = data.baseline(&data.split().valid);
    if baseline.items.is_empty() {
        return None;
    }
    let metric = Metric::usual(data.task());
    let value = baseline.value_watched(metric);
    Some(match data.task() {
        Task::SingleLabel => {
            let class = &data.classes()[baseline.predicted_labels(0)[0]];
            format!("{metric} {value:.4} (always predicting {}, the most frequent class)", shown(class))
        }
        Task::MultiLabel => format!("{metric} {value:.4} (predicting the same labels for every image)"),
    })
}
