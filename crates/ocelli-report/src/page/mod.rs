//! What the page is given: one value that becomes JSON, a file for each part of it.

mod classes;
mod confusion;
mod data;
mod figures;
mod images;
mod labels;
pub(crate) mod settings;
mod training;

use ocelli::interpret::Calibration;
use ocelli::{Result, Task};
use ocelli_data::text::count;
use ocelli_plot::{self as plot, Layout};
use serde::Serialize;

pub(crate) use data::sizes;
pub(crate) use figures::{Figure, figures, plain_figures};
pub(crate) use labels::near_duplicates;

use crate::page::classes::ClassesPart;
use crate::page::confusion::{ConfusionPart, confusion};
use crate::page::data::{DataPart, data};
use crate::page::images::{Gallery, InsidePart, galleries, top_losses};
use crate::page::labels::{LabelsPart, labels};
use crate::page::training::TrainingPart;
use crate::pictures::{Album, Picture};
use crate::{CELLS, Subject, html, missing_notices};

/// Everything on the page. Images are numbers of places in [`images`](Self::images).
#[derive(Serialize)]
pub(crate) struct Page<'a> {
    title: String,
    subtitle: String,
    /// Whether images have several classes.
    several: bool,
    classes: Vec<String>,
    figures: &'a [Figure],
    /// What the model is, a sentence each.
    summary: Vec<String>,
    facts: Vec<[String; 2]>,
    pub(crate) notices: Vec<String>,
    data: DataPart,
    #[serde(flatten)]
    training: TrainingPart,
    confusion: Option<ConfusionPart>,
    /// The number of classes from which on there is no matrix of cells.
    cells: usize,
    #[serde(flatten)]
    by_class: ClassesPart,
    calibration: Option<Calibration>,
    reliability: Option<Layout>,
    images: Vec<Picture>,
    losses: Vec<usize>,
    galleries: Vec<Gallery>,
    labels: Option<LabelsPart>,
    inside: InsidePart,
}

/// Notices on the page.
const NOTICES: usize = 30;

impl<'a> Page<'a> {
    /// What a page shows, from what is known of its subject, the drawings beside it and the figures.
    pub(crate) fn new(
        subject: &'a Subject,
        drawings: &[(&'static str, plot::Figure)],
        figures: &'a [Figure],
    ) -> Result<Self> {
        let named = subject.named;
        let drawn = |name: &str| drawings.iter().find(|(other, _)| *other == name).map(|(_, figure)| figure);
        // The order in which images are chosen: there is room for some only.
        let mut album = Album::default();
        let losses = top_losses(named, &mut album);
        let galleries = galleries(named, &mut album);
        let confusion = confusion(named, &mut album);
        let labels = subject.doubts.map(|doubts| labels(doubts, &mut album));
        let (images, inside, photo) = album.develop(subject)?;
        Ok(Self {
            title: subject.title.clone(),
            subtitle: subtitle(subject),
            several: named.task() == Task::MultiLabel,
            classes: named.classes.clone(),
            figures,
            summary: summary(subject),
            facts: facts(subject),
            notices: notices(subject),
            data: data(subject, drawn("sizes")),
            training: TrainingPart::new(subject, &drawn),
            confusion,
            cells: CELLS,
            by_class: ClassesPart::new(named),
            calibration: (!named.is_empty()).then(|| named.calibration()),
            reliability: drawn("calibration").and_then(|figure| figure.layouts().pop()),
            images,
            losses,
            galleries,
            labels,
            inside: InsidePart::new(&inside, photo),
        })
    }

    pub(crate) fn html(&self) -> String {
        html::page(&format!("{} · Ocelli", self.title), include_str!("../page.js"), self)
    }
}

fn subtitle(subject: &Subject) -> String {
    let contract = subject.model.contract();
    let (size, classes) = (contract.preprocessing.size, count(contract.classes.len()));
    let what = format!("{} · {size} px · {classes} classes", contract.architecture);
    let measured = count(subject.named.len());
    match subject.records {
        Some(_) => {
            format!("{what} · trained on {} images, validated on {measured}", count(subject.train_len()))
        }
        None => format!("{what} · evaluated on {measured} images"),
    }
}

fn facts(subject: &Subject) -> Vec<[String; 2]> {
    let contract = subject.model.contract();
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push([name.to_owned(), value]);
    if let Some(records) = subject.records {
        add("Command", records.given.clone());
        add("Photos", records.settings.data.display().to_string());
    }
    add("Backbone", contract.architecture.clone());
    add("Image size", format!("{0} × {0} pixels", contract.preprocessing.size));
    add("Parameters", format!("{:.2} million", subject.model.parameters() as f64 / 1e6));
    if let Some(temperature) = contract.temperature {
        add("Temperature", format!("{temperature:.3}"));
    }
    let version = subject.records.map_or(&contract.version, |records| &records.version);
    add("Ocelli", version.clone());
    facts
}

fn notices(subject: &Subject) -> Vec<String> {
    let mut notices = subject.data.notices().to_vec();
    if let Some(records) = subject.records {
        notices.extend(
            records.notices.iter().filter(|notice| !subject.data.notices().contains(notice)).cloned(),
        );
    }
    notices.splice(0..0, missing_notices(subject.lost));
    if notices.len() > NOTICES {
        let more = notices.len() - NOTICES;
        notices.truncate(NOTICES);
        notices.push(format!("and {} more, in events.jsonl", count(more)));
    }
    notices
}

/// Which weights the model has, and what brought nothing.
fn summary(subject: &Subject) -> Vec<String> {
    let Some(records) = subject.records else { return Vec::new() };
    let mut said = Vec::new();
    match records.finished.as_ref().map(|finished| (finished.kept, finished.size)) {
        Some((Some((step, epoch)), size)) => {
            said.push(format!(
                "The model has the weights of phase {step}, epoch {epoch}, the best, at {size} px."
            ));
        }
        Some((None, _)) => {
            said.push("Nothing was held out, so the model has the weights of the last epoch.".to_owned());
        }
        None => {}
    }
    said
}
