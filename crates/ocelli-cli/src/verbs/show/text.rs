//! The text about each kind of file.

use ocelli::{
    CheckpointSummary, CorrectedEstimate, FileInfo, FileSummary, ModelSummary, PretrainedWeights,
    PublishedBackbone, Task, TrainingRecord, UnknownSummary, ValidationMetric, WeightsSummary,
};
#[cfg(feature = "onnx")]
use ocelli::{OnnxSummary, OnnxValue};

use crate::output::{labelled, println, shown};
use crate::text::{bytes, count, counted, duration, table};

/// The width of the labels.
const WIDTH: usize = 16;
/// The most classes that are listed unasked.
const LISTED: usize = 20;

pub fn print(summary: &FileSummary, all_classes: bool) {
    let file = summary.file();
    let kind = match summary {
        FileSummary::Model(_) => "a model of Ocelli's",
        FileSummary::Checkpoint(_) => "a checkpoint of a run",
        FileSummary::Weights(_) => "weights, without what they are for",
        #[cfg(feature = "onnx")]
        FileSummary::Onnx(file) if file.model.is_some() => "an ONNX file of Ocelli's",
        #[cfg(feature = "onnx")]
        FileSummary::Onnx(_) => "an ONNX file",
        _ => "a file of another kind",
    };
    println!("{}   {kind}, {}\n", shown(file.path.display()), bytes(file.bytes));
    match summary {
        FileSummary::Model(model) => print_model(model, all_classes),
        FileSummary::Checkpoint(checkpoint) => print_checkpoint(checkpoint),
        FileSummary::Weights(weights) => print_weights(weights),
        #[cfg(feature = "onnx")]
        FileSummary::Onnx(file) => {
            print_onnx(file, all_classes);
            return;
        }
        _ => {}
    }
    let digest = match &file.digest {
        Some(digest) => format!("{digest}, matches the content"),
        None => "none: whether the content is as it was written is not known".to_owned(),
    };
    field("digest", digest);
}

fn field(label: &str, text: impl std::fmt::Display) {
    labelled(label, WIDTH, shown(text));
}

fn print_model(model: &ModelSummary, all_classes: bool) {
    print_backbone(Some(&model.arch), model.published.as_ref(), &model.file);
    if let Some(head) = model.head_text() {
        field("head", head);
    }
    print_task(model);
    print_classes(model, all_classes);
    let size = model.preprocessing.size;
    field("input", format!("{size} × {size} px, RGB, {}", model.precision));
    print_preprocessing(model);
    print_origin(model);
}

fn print_task(model: &ModelSummary) {
    let task = match (&model.thresholds, model.task) {
        (_, Task::SingleLabel) => "one label per image".to_owned(),
        (Some(thresholds), Task::MultiLabel) => {
            let lowest = thresholds.iter().copied().fold(f32::INFINITY, f32::min);
            let highest = thresholds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            match lowest == highest {
                true => format!("any number of labels per image, threshold {lowest:.4}"),
                false => format!("any number of labels per image, thresholds {lowest:.4} to {highest:.4}"),
            }
        }
        (None, Task::MultiLabel) => "any number of labels per image, threshold 0.5".to_owned(),
    };
    field("task", task);
}

fn print_preprocessing(model: &ModelSummary) {
    for (number, step) in model.preprocessing_steps().iter().enumerate() {
        field(if number == 0 { "preprocessing" } else { "" }, step);
    }
}

/// How a model came about, and what its probabilities and scores are worth.
fn print_origin(model: &ModelSummary) {
    match &model.training {
        Some(training) => print_training(model, training),
        None => field("training", "not recorded in the file"),
    }
    match model.temperature {
        Some(temperature) => field("calibration", format!("temperature {temperature:.4}, with --calibrated")),
        None => field("calibration", "none"),
    }
    if let Some(UnknownSummary { threshold, false_refusals, valid_photos }) = &model.unknown {
        let (percent, photos) = (false_refusals * 100.0, counted(*valid_photos, "validation image"));
        field(
            "unknown",
            format!("scores above {threshold:.2}: {percent:.0} % false refusals, from {photos}"),
        );
    }
    field(
        "licence",
        match model.pretrained_licence() {
            Some(licence) => format!("of the pretrained weights: {licence}"),
            None => "of the pretrained weights: unknown".to_owned(),
        },
    );
    field("written by", format!("Ocelli {}, format {}", model.version, model.format));
}

#[cfg(feature = "onnx")]
fn print_onnx(file: &OnnxSummary, all_classes: bool) {
    let value = |value: &OnnxValue| format!("{}: {}, {}", value.name, value.dtype, value.shape.join(" × "));
    let print_values = |label: &str, values: &[OnnxValue]| {
        for (number, one) in values.iter().enumerate() {
            field(if number == 0 { label } else { "" }, value(one));
        }
    };
    match &file.model {
        Some(model) => {
            field("architecture", backbone(Some(&model.arch), model.published.as_ref()));
            print_task(model);
            print_classes(model, all_classes);
        }
        None => field(
            "numbers",
            format!("{} in {}", count(file.file.parameters), counted(file.file.tensors.len(), "constant")),
        ),
    }
    print_values("takes", &file.inputs);
    print_values("gives", &file.outputs);
    let operators: Vec<String> =
        file.operators.iter().map(|(name, times)| format!("{name} {times}")).collect();
    field("operators", format!("opset {}: {}", file.opset, operators.join(", ")));
    if let Some(agreement) = &file.agreement {
        let (engine, photos) = (&agreement.engine, counted(agreement.photos, "photo"));
        let found = match agreement.accuracy {
            Some([before, after]) => format!("accuracy {before:.4} → {after:.4}"),
            None => format!("outputs differ by at most {:.1e} of their spread", agreement.difference),
        };
        field("compared", format!("with the model in {engine} on {photos}: {found}"));
    }
    match &file.model {
        Some(model) => {
            print_preprocessing(model);
            print_origin(model);
        }
        None => field("written by", if file.producer.is_empty() { "not said" } else { &file.producer }),
    }
}

fn print_backbone(arch: Option<&str>, published: Option<&PublishedBackbone>, file: &FileInfo) {
    let name = backbone(arch, published);
    field("architecture", format!("{name}, {} parameters", count(file.parameters)));
}

fn backbone(arch: Option<&str>, published: Option<&PublishedBackbone>) -> String {
    match (arch, published) {
        (Some(arch), Some(published)) if published.name == arch => format!("{arch} ({})", published.origin),
        (Some(arch), Some(published)) => format!("{arch} ({})", published.origin),
        (Some(arch), None) => format!("{arch}, a custom backbone"),
        (None, _) => "not known".to_owned(),
    }
}

fn print_classes(model: &ModelSummary, all: bool) {
    let listed = if all { model.classes.len() } else { LISTED };
    let class = |(index, class): (usize, &String)| match &model.thresholds {
        Some(thresholds) if all => format!("{class} (from {:.4})", thresholds[index]),
        _ => class.clone(),
    };
    let names: Vec<String> = model.classes.iter().enumerate().take(listed).map(class).collect();
    let more = match model.classes.len().saturating_sub(listed) {
        0 => String::new(),
        more => format!(", and {} more (--classes)", count(more)),
    };
    field("classes", format!("{}: {}{more}", count(model.classes.len()), names.join(", ")));
}

fn print_training(model: &ModelSummary, training: &TrainingRecord) {
    let pretrained = match (training.pretrained, &model.published) {
        (PretrainedWeights::Published, Some(_)) => "published ImageNet weights",
        (PretrainedWeights::Own, _) => "a weights file of the user's own",
        _ => "not recorded",
    };
    field("started from", pretrained);
    field(
        "data",
        format!(
            "{}, {}, seed {}",
            counted(training.train_images, "training image"),
            match training.folds {
                Some(folds) => format!("{folds}-fold cross-validation"),
                None => counted(training.valid_images, "validation image"),
            },
            training.seed
        ),
    );
    // The folder of the run also knows the learning rates.
    let phases: Vec<String> = match &model.run {
        Some(run) if run.phases.len() == training.phases.len() => run.phases.clone(),
        _ => {
            let phase = |phase: &ocelli::TrainedPhase| {
                format!("{}: {}", phase.trained, counted(phase.epochs, "epoch"))
            };
            training.phases.iter().map(phase).collect()
        }
    };
    for (number, (phase, text)) in training.phases.iter().zip(phases).enumerate() {
        field(if number == 0 { "training" } else { "" }, format!("{}  {text}", phase.number));
    }
    if let Some(run) = &model.run {
        let mut about = vec![format!("the run {}", run.name)];
        about.extend(run.seconds.map(duration));
        about.extend(run.split.clone());
        if run.skipped > 0 {
            about.push(format!("{} skipped", counted(run.skipped, "image")));
        }
        field("", about.join(" · "));
    }
    field(
        "weights of",
        match training.best {
            Some((phase, epoch)) => format!("phase {phase}, epoch {epoch}"),
            None => "the last epoch: there were no validation images".to_owned(),
        },
    );
    let with_tta = training.tta_metrics.iter().map(|metric| (metric, ", with TTA"));
    let metrics = training.metrics.iter().map(|metric| (metric, "")).chain(with_tta);
    for (number, (metric, note)) in metrics.enumerate() {
        field(if number == 0 { "validation" } else { "" }, format!("{}{note}", validation(metric)));
    }
    if let Some(CorrectedEstimate { metric, epochs, value, interval: (low, high), .. }) = training.corrected {
        let corrected = format!("{metric} {value:.4} (95 % CI {low:.4}–{high:.4})");
        field("", format!("{corrected}, corrected for choosing the best of {epochs} epochs"));
    }
}

/// `accuracy 0.9845 (95 % CI 0.9781–0.9890)`
fn validation(metric: &ValidationMetric) -> String {
    let value = metric.value.map_or_else(|| "not defined".to_owned(), |value| format!("{value:.4}"));
    let interval =
        metric.interval.map_or_else(String::new, |(low, high)| format!(" (95 % CI {low:.4}–{high:.4})"));
    format!("{} {value}{interval}", metric.metric)
}

fn print_checkpoint(checkpoint: &CheckpointSummary) {
    field("architecture", checkpoint.arch.as_deref().unwrap_or("not known"));
    field("image size", format!("{} px", checkpoint.size));
    let phases = match checkpoint.phases {
        (done, Some(all)) => format!("{done} of {} finished", counted(all, "phase")),
        (done, None) => format!("{} finished", counted(done, "phase")),
    };
    let (epochs, seconds) = (counted(checkpoint.epochs, "epoch"), duration(checkpoint.seconds));
    field("training", format!("{phases} · {epochs} in all · {seconds}"));
    for (number, best) in checkpoint.best.iter().enumerate() {
        let figures = match (best.accuracy, best.valid_loss) {
            (Some(accuracy), Some(loss)) => format!(" · accuracy {accuracy:.4}, loss {loss:.4}"),
            (None, Some(loss)) => format!(" · loss {loss:.4}"),
            _ => String::new(),
        };
        let text = format!("{}: phase {}, epoch {}{figures}", best.file, best.phase, best.epoch);
        field(if number == 0 { "best weights" } else { "" }, text);
    }
    let (version, format) = (&checkpoint.version, checkpoint.format);
    field("written by", format!("Ocelli {version}, format {format}, on {}", checkpoint.instructions));
}

fn print_weights(weights: &WeightsSummary) {
    print_backbone(weights.arch.as_deref(), weights.published.as_ref(), &weights.file);
    if let (Some(size), Some(mean), Some(std)) = (weights.size, weights.mean, weights.std) {
        field("input", format!("{size} × {size} px, RGB"));
        let list = |values: [f32; 3]| values.map(|value| value.to_string()).join(", ");
        field("normalization", format!("mean {}, std {} (of 0 to 255)", list(mean), list(std)));
    }
    if let Some(accuracy) = weights.accuracy {
        field("accuracy", format!("{:.1} % top-1 on ImageNet, as published", accuracy * 100.0));
    }
    let licence = weights.published.as_ref().map_or("unknown", |published| published.licence.as_str());
    field("licence", licence);
}

pub fn print_tensors(file: &FileInfo) {
    let rows: Vec<Vec<String>> = file
        .tensors
        .iter()
        .map(|tensor| {
            let shape = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
            let dtype = tensor.dtype.clone().unwrap_or_else(|| "not known".to_owned());
            vec![shown(&tensor.name), if shape.is_empty() { "1 value".to_owned() } else { shape }, dtype]
        })
        .collect();
    println!("\n{}", table(&["tensor", "shape", "type"], &rows).trim_end());
}
