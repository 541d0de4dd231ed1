//! A model card in Markdown, as the Hugging Face hub reads it: front matter in YAML, then sections
//! (<https://huggingface.co/docs/hub/model-cards>). It says what the model's file says, and nothing else.

use std::fmt::Write;

use ocelli_data::Task;
use ocelli_data::text::count;
use serde_json::json;

use crate::metric::choice::CorrectedEstimate;
use crate::model::training_record::{PretrainedWeights, TrainingRecord, ValidationMetric};
use crate::summary::model::{ModelSummary, UnknownSummary};

/// The most classes that are listed.
const LISTED: usize = 1000;

impl ModelSummary {
    /// The model card, to be completed by a person: what the model is for, and its licence.
    pub fn card(&self) -> String {
        let mut card = self.front_matter();
        let mut section = |title: &str, text: String| {
            let _ = write!(card, "\n## {title}\n\n{}\n", text.trim_end());
        };
        section("Model", self.model_section());
        section("Use", self.use_section());
        section("Preprocessing", list(&self.preprocessing_steps()));
        section("Classes", self.classes_section());
        section("Training", self.training_section());
        section("Results", self.results_section());
        section("Limits", self.limits_section());
        section("Licence", self.licence_section());
        card
    }

    /// A name that tells nothing but what the model is.
    fn title(&self) -> String {
        let classes = if self.classes.len() == 1 { "class" } else { "classes" };
        format!("{}, {} {classes}", self.arch, count(self.classes.len()))
    }

    /// YAML takes every JSON value, and strings with all their escapes.
    fn front_matter(&self) -> String {
        let mut front = "---\n".to_owned();
        let note = match self.pretrained_licence() {
            Some(licence) => format!(" # to be chosen; the pretrained weights are under {licence}"),
            None => " # to be chosen".to_owned(),
        };
        let _ = writeln!(front, "license: unknown{note}");
        front += "library_name: ocelli\npipeline_tag: image-classification\n";
        let mut tags = vec!["image-classification".to_owned(), "ocelli".to_owned(), "safetensors".to_owned()];
        if self.published.is_some() {
            tags.push(self.arch.clone());
        }
        if self.task == Task::MultiLabel {
            tags.push("multi-label".to_owned());
        }
        front += "tags:\n";
        for tag in tags {
            let _ = writeln!(front, "- {}", json!(tag));
        }
        if let Some(base) = self.base_model() {
            let _ = writeln!(front, "base_model: {}", json!(base));
        }
        let metrics = self.training.as_ref().map_or(&[][..], |training| &training.metrics);
        let known: Vec<(&ValidationMetric, f64)> =
            metrics.iter().filter_map(|metric| Some((metric, metric.value?))).collect();
        if !known.is_empty() {
            let _ = writeln!(front, "model-index:\n- name: {}\n  results:", json!(self.title()));
            front += "  - task:\n      type: image-classification\n";
            front += "    dataset:\n      name: \"validation images\"\n      type: unknown\n      split: validation\n";
            front += "    metrics:\n";
            for (metric, value) in known {
                let _ = writeln!(front, "    - type: {}\n      value: {value}", json!(metric.metric));
                let _ = writeln!(
                    front,
                    "      name: {}",
                    json!(format!("{}{}", metric.metric, interval(metric)))
                );
            }
        }
        let _ = write!(front, "---\n\n# {}\n", escaped(&self.title()));
        front
    }

    /// The repository of the pretrained weights on the Hugging Face hub.
    fn base_model(&self) -> Option<&str> {
        let published = self.training.as_ref()?.pretrained == PretrainedWeights::Published;
        let origin = self.published.as_ref()?.origin.as_str();
        (published && origin.contains('/')).then_some(origin)
    }

    fn model_section(&self) -> String {
        let task = match self.task {
            Task::SingleLabel => "exactly one class per image",
            Task::MultiLabel => "any number of classes per image",
        };
        let backbone = match &self.published {
            Some(published) if published.name != self.arch => {
                format!("{} ({}, {})", self.arch, published.name, published.origin)
            }
            Some(published) => format!("{} ({})", self.arch, published.origin),
            None => format!("{}, a custom one", self.arch),
        };
        let size = self.preprocessing.size;
        let mut rows = vec![
            ("backbone", backbone),
            ("task", task.to_owned()),
            ("input", format!("{size} × {size} px, RGB")),
            ("parameters", count(self.file.parameters)),
            ("file", format!("safetensors, {} bytes", count(self.file.bytes as usize))),
            ("precision of activations", self.precision.to_string()),
            ("written by", format!("Ocelli {}, format {}", self.version, self.format)),
        ];
        if let Some(head) = self.head_text() {
            rows.insert(1, ("head", head));
        }
        if let Some(digest) = &self.file.digest {
            rows.push(("digest (BLAKE3 of the content)", format!("`{digest}`")));
        }
        let mut table = "| | |\n|---|---|\n".to_owned();
        for (name, value) in rows {
            let value = if value.starts_with('`') { value } else { escaped(&value) };
            let _ = writeln!(table, "| {name} | {value} |");
        }
        table
    }

    fn use_section(&self) -> String {
        "```sh\nocelli predict model.safetensors photo.jpg\n```\n\n```rust\nlet model = ocelli::Model::load(\"model.safetensors\")?;\n\
         let best = model.predict_bytes(&std::fs::read(\"photo.jpg\")?)?.best();\n\
         println!(\"{} {:.3}\", best.class, best.probability);\n```\n"
            .to_owned()
    }

    fn classes_section(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (index, class) in self.classes.iter().enumerate().take(LISTED) {
            let threshold = self.thresholds.as_ref().and_then(|thresholds| thresholds.get(index));
            let threshold =
                threshold.map_or_else(String::new, |threshold| format!(" (threshold {threshold:.4})"));
            lines.push(format!("{}{threshold}", escaped(class)));
        }
        if self.classes.len() > LISTED {
            lines.push(format!("and {} more", count(self.classes.len() - LISTED)));
        }
        list(&lines)
    }

    fn training_section(&self) -> String {
        let Some(training) = &self.training else {
            return "The file does not say how the model was trained.".to_owned();
        };
        let TrainingRecord { train_images, valid_images, phases, best, seed, .. } = training;
        let pretrained = match (training.pretrained, &self.published) {
            (PretrainedWeights::Published, Some(published)) => {
                format!("Started from the published ImageNet weights of {}.", escaped(&published.name))
            }
            (PretrainedWeights::Own, _) => "Started from a weights file of the user's own.".to_owned(),
            _ => "It is not recorded which weights it started from.".to_owned(),
        };
        let validated = match training.folds {
            Some(folds) => format!("{folds}-fold cross-validation"),
            None => format!("{} validation images", count(*valid_images)),
        };
        let mut text =
            format!("{pretrained} {} training images, {validated}, seed {seed}.\n\n", count(*train_images));
        for phase in phases {
            let epochs = if phase.epochs == 1 { "epoch" } else { "epochs" };
            let _ = writeln!(
                text,
                "{}. {}: {} {epochs}",
                phase.number,
                escaped(&phase.trained),
                count(phase.epochs)
            );
        }
        if let Some((phase, epoch)) = best {
            let _ = writeln!(text, "\nThe weights are those of phase {phase}, epoch {epoch}.");
        }
        text
    }

    fn results_section(&self) -> String {
        let Some(training) = self.training.as_ref().filter(|training| !training.metrics.is_empty()) else {
            return "The file holds no results.".to_owned();
        };
        let measured_on = match training.folds {
            Some(folds) => format!(
                "In {folds}-fold cross-validation: each image was predicted by a model that was trained in the same way on \
                 the images of the other folds"
            ),
            None => format!(
                "On {} validation images, by which the best weights were also chosen",
                count(training.valid_images)
            ),
        };
        let mut text = format!(
            "{measured_on}; with 95 % confidence intervals.\n\n| metric | value | 95 % CI |\n|---|---|---|\n"
        );
        let with_tta = training.tta_metrics.iter().map(|metric| (metric, ", with test-time augmentation"));
        for (metric, note) in training.metrics.iter().map(|metric| (metric, "")).chain(with_tta) {
            let value = metric.value.map_or_else(|| "not defined".to_owned(), |value| format!("{value:.4}"));
            let interval =
                metric.interval.map_or_else(String::new, |(low, high)| format!("{low:.4}–{high:.4}"));
            let _ = writeln!(text, "| {}{note} | {value} | {interval} |", escaped(&metric.metric));
        }
        if let Some(CorrectedEstimate { metric, epochs, value, interval: (low, high), .. }) =
            training.corrected
        {
            let _ = writeln!(
                text,
                "\nThe best of {epochs} epochs was chosen by images that are measured here. Corrected for that, by the bootstrap of \
                 Tsamardinos et al. (2018), {metric} is {value:.4} ({low:.4}–{high:.4})."
            );
        }
        match self.temperature {
            Some(temperature) => {
                let _ = writeln!(
                    text,
                    "\nProbabilities can be calibrated: a temperature of {temperature:.4} lowered the log loss of \
                     validation images that it was not fitted on (`ocelli predict --calibrated`)."
                );
            }
            None => text += "\nThe file holds no temperature to calibrate probabilities.\n",
        }
        text
    }

    fn limits_section(&self) -> String {
        let mut text = match self.task {
            Task::SingleLabel => {
                "The model answers every image with one of its classes, also one that shows none of them. Results on \
                 images of another origin than the training images are not known."
            }
            Task::MultiLabel => {
                "The model knows no other classes than those above. Results on images of another origin than the \
                 training images are not known."
            }
        }
        .to_owned();
        if let Some(UnknownSummary { threshold, false_refusals, valid_photos }) = &self.unknown {
            let percent = false_refusals * 100.0;
            text += &format!(
                " Its unknown score (relative Mahalanobis distance of the features) says how unlike the training images an \
                 image is: above {threshold:.2} it is called unknown, a threshold that refuses about {percent:.0} % of \
                 images like the {valid_photos} validation images."
            );
        }
        text
    }

    fn licence_section(&self) -> String {
        let pretrained = match self.pretrained_licence() {
            Some(licence) => {
                format!("The pretrained weights that training started from are under {licence}.")
            }
            None => "The licence of the weights that training started from is unknown.".to_owned(),
        };
        format!("{pretrained} The licence of this model is to be chosen by its authors: see `license` above.")
    }
}

/// ` (95 % CI 0.9781–0.9890)`
fn interval(metric: &ValidationMetric) -> String {
    metric.interval.map_or_else(String::new, |(low, high)| format!(" (95 % CI {low:.4}–{high:.4})"))
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("- {line}\n")).collect()
}

/// Text from outside as Markdown that shows it: on one line, without any markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&' => {
                escaped.extend(['\\', character]);
            }
            character if character.is_control() => escaped.extend(character.escape_unicode().flat_map(|c| {
                // Its braces and backslash are shown.
                if c == '\\' { vec!['\\', '\\'] } else { vec![c] }
            })),
            character => escaped.push(character),
        }
    }
    escaped
}
