//! What is printed before training starts.

use ocelli::Isa;
use ocelli::{Arch, BadImages, DeviceKind, DeviceName, ImageData, Metric, Phase, Precision, Run, Task};

use crate::output::{eprintln, labelled, message, shown};
use crate::text::{count, counted, size};

/// The most classes that are listed.
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

/// Prints the data and the model before training.
pub fn introduce(training: &Run) {
    let learner = training.learner();
    let data = learner.data();
    let run = training.run_folder().path();
    introduce_data(data);
    if !data.skipped().is_empty() {
        let listed = run.join("skipped.csv");
        field("", format!("{} skipped, see {}", count(data.skipped().len()), shown(listed.display())));
    }
    data.notices().iter().for_each(|notice| field("", message(notice)));
    // With this policy any number of images may be unread by the end, when the baseline is known.
    if training.settings().bad_images != BadImages::Skip {
        baseline(training).into_iter().for_each(|line| field("baseline", line));
    }
    let parameters = learner.network().parameters();
    let head = parameters[parameters.len() - 1];
    let is_linear = matches!(training.settings().recipe.phases[..], [Phase::LogisticRegression(_), ..]);
    let (counted, of_head) = match is_linear {
        // Its size is not known before its features are chosen.
        true => (parameters.iter().sum::<usize>() - head, "and a new linear head".to_owned()),
        false => (parameters.iter().sum(), format!("{} in the new head", size(head))),
    };
    let model =
        format!("{}, {} px · {} parameters, {of_head}", shown(learner.arch()), data.size(), size(counted));
    field("model", model);
    size_warning(training).iter().for_each(|warning| field("", message(warning)));
    if let Some((path, dropped)) = training.dropped_tensors() {
        let classifier = match dropped {
            [] => "no classifier in it".to_owned(),
            tensors => format!("without its classifier ({})", tensors.join(", ")),
        };
        field("", format!("weights from {}, {}", shown(path.display()), shown(classifier)));
    }
    field("run", shown(run.display()));
}

/// A line of the introduction.
fn field(label: &str, text: String) {
    labelled(label, 10, text);
}

fn introduce_data(data: &ImageData) {
    let counts = data.class_counts();
    let mut classes: Vec<String> = counts
        .iter()
        .take(CLASSES)
        .map(|class| format!("{} {}", shown(&class.class), count(class.train + class.valid)))
        .collect();
    if counts.len() > CLASSES {
        classes.push("…".to_owned());
    }
    let images = counted(data.train_len() + data.valid_len(), "image");
    field("data", format!("{images} in {}: {}", counted(counts.len(), "class"), classes.join(", ")));
    let (train, valid) = (count(data.train_len()), count(data.valid_len()));
    field("", format!("train {train}, valid {valid} ({})", data.split_origin()));
}

/// Whether a notice of the library is a warning, which begins with the word.
pub fn is_warning(notice: &str) -> bool {
    notice.starts_with("warning: ")
}

/// Prints only warnings, to standard error: `--quiet` does not silence what a result depends on.
pub fn print_warnings(training: &Run) {
    let notices = training.learner().data().notices().iter().filter(|notice| is_warning(notice));
    let warnings = notices.cloned().chain(size_warning(training));
    warnings.for_each(|warning| eprintln!("{}", message(warning)));
}

/// A warning that the images are smaller than the backbone was trained for.
fn size_warning(training: &Run) -> Option<String> {
    let settings = training.settings();
    let arch = training.learner().arch().parse::<Arch>().ok()?;
    settings.recipe.size_warning(arch, settings.size).map(|warning| format!("warning: {warning}"))
}

/// The usual metric of the constant prediction for every image that is measured on, and the chosen one; `None` if there are
/// none.
fn baseline(training: &Run) -> Option<String> {
    let (data, chosen) = (training.learner().data(), training.settings().metric);
    // In a cross-validation each is held out once.
    let measured = match training.settings().folds() {
        Some(_) => &data.split().train,
        None => &data.split().valid,
    };
    let baseline = data.baseline(measured);
    if baseline.is_empty() {
        return None;
    }
    let usual = Metric::usual(data.task());
    // The loss of a constant prediction depends on how sure it is.
    let chosen = chosen.filter(|metric| *metric != usual && *metric != Metric::LogLoss);
    let metrics = std::iter::once(usual).chain(chosen);
    let values = metrics.map(|metric| format!("{metric} {:.4}", baseline.monitored_value(metric)));
    let values = values.collect::<Vec<_>>().join(", ");
    Some(match data.task() {
        Task::SingleLabel => {
            let class = &data.classes()[baseline.predicted_labels(0)[0]];
            format!("{values} (always predicting {}, the most frequent class)", shown(class))
        }
        Task::MultiLabel => format!("{values} (predicting the same labels for every image)"),
    })
}
