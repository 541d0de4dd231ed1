//! The data of the page: one value that becomes JSON, with one file for each part.

mod classes;
mod confusion;
mod data;
mod figures;
mod images;
mod labels;
pub(crate) mod settings;
mod training;

use ocelli::finished::FinishedRun;
use ocelli::interpret::Calibration;
use ocelli::{FALSE_REFUSALS, Result, Task, UnknownConfig};
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

/// Everything on the page. Images are indices into [`images`](Self::images).
#[derive(Serialize)]
pub(crate) struct Page<'a> {
    title: String,
    subtitle: String,
    /// Whether images have several labels.
    several: bool,
    classes: Vec<String>,
    figures: &'a [Figure],
    /// Facts about the model, one sentence each.
    summary: Vec<String>,
    facts: Vec<[String; 2]>,
    pub(crate) notices: Vec<String>,
    data: DataPart,
    #[serde(flatten)]
    training: TrainingPart,
    confusion: Option<ConfusionPart>,
    /// The most classes that have a confusion matrix.
    cells: usize,
    #[serde(flatten)]
    by_class: ClassesPart,
    calibration: Option<Calibration>,
    reliability: Option<Layout>,
    unknown: Option<UnknownPart>,
    images: Vec<Picture>,
    losses: Vec<usize>,
    galleries: Vec<Gallery>,
    labels: Option<LabelsPart>,
    inside: InsidePart,
}

/// The most notices on the page.
const NOTICES: usize = 30;

impl<'a> Page<'a> {
    /// The data of the page for a subject, with its drawings and figures.
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
        let labels = subject.review.map(|review| labels(review, &mut album));
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
            calibration: (!named.is_empty()).then(|| subject.calibration().clone()),
            reliability: drawn("calibration").and_then(|figure| figure.layouts().pop()),
            unknown: UnknownPart::new(subject, drawn("unknown")),
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

/// What the page says about the unknown score.
#[derive(Serialize)]
struct UnknownPart {
    sentence: String,
    chart: Option<Layout>,
}

impl UnknownPart {
    /// `None` where the model was saved without a word about it.
    fn new(subject: &Subject, chart: Option<&plot::Figure>) -> Option<Self> {
        let unknown = subject.model.config().unknown.as_ref()?;
        let sentence = match unknown {
            UnknownConfig::Missing { reason } => format!("The model has no unknown score: {reason}."),
            UnknownConfig::Fitted { train_photos, valid_scores } => {
                let few = match unknown.has_enough(FALSE_REFUSALS) {
                    true => "",
                    false => " These are too few for that fraction, so the highest of their scores is taken.",
                };
                format!(
                    "Fitted on {} training photos. The threshold {:.4} refuses {:.0} % of photos like the {} validation photos shown.{few}",
                    count(*train_photos),
                    unknown.threshold(FALSE_REFUSALS).unwrap_or_default(),
                    100.0 * FALSE_REFUSALS,
                    count(valid_scores.len()),
                )
            }
        };
        Some(Self { sentence, chart: chart.and_then(|figure| figure.layouts().pop()) })
    }
}

fn subtitle(subject: &Subject) -> String {
    let config = subject.model.config();
    let (size, classes) = (config.preprocessing.size, count(config.classes.len()));
    let what = format!("{} · {size} px · {classes} classes", config.arch);
    let measured = count(subject.named.len());
    let folds = subject.records.and_then(|records| records.settings.folds());
    match subject.records {
        Some(_) if let Some(folds) = folds => {
            let trained = count(subject.train_len());
            format!(
                "{what} · trained on {trained} images, evaluated on {measured} of them in {folds}-fold cross-validation"
            )
        }
        Some(_) => {
            format!("{what} · trained on {} images, validated on {measured}", count(subject.train_len()))
        }
        None => format!("{what} · evaluated on {measured} images"),
    }
}

fn facts(subject: &Subject) -> Vec<[String; 2]> {
    let config = subject.model.config();
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push([name.to_owned(), value]);
    if let Some(records) = subject.records {
        add("Command", records.given.clone());
        add("Photos", records.settings.data.display().to_string());
    }
    add("Backbone", config.arch.clone());
    add("Image size", format!("{0} × {0} pixels", config.preprocessing.size));
    add("Parameters", format!("{:.2} million", subject.model.parameters() as f64 / 1e6));
    if let Some(temperature) = config.temperature {
        add("Temperature", format!("{temperature:.3}"));
    }
    let version = subject.records.map_or(&config.version, |records| &records.version);
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
    notices.extend(subject.review.iter().flat_map(|review| review.left_out.iter().cloned()));
    if notices.len() > NOTICES {
        let more = notices.len() - NOTICES;
        notices.truncate(NOTICES);
        notices.push(format!("and {} more, in events.jsonl", count(more)));
    }
    notices
}

/// Which weights the model has.
fn summary(subject: &Subject) -> Vec<String> {
    let Some(records) = subject.records else { return Vec::new() };
    let mut lines = Vec::new();
    match records.finished.as_ref().map(|finished| (finished.best, finished.size)) {
        Some((Some((phase, epoch)), size)) => {
            lines.push(format!(
                "The model has the weights of phase {phase}, epoch {epoch}, the best, at {size} px."
            ));
        }
        Some((None, _)) if let Some(folds) = records.settings.folds() => {
            lines.push(format!(
                "The model was trained on all images, to the last epoch. All figures and lists are of {folds}-fold \
                 cross-validation: each image was predicted by a model that had not seen it, trained in the same way on \
                 the images of the other folds. Models of more images are usually somewhat better."
            ));
            lines.extend(folds_of(records));
        }
        Some((None, _)) => {
            lines.push(
                "There are no validation images, so the model has the weights of the last epoch.".to_owned(),
            );
        }
        None => {}
    }
    lines
}

/// `By fold, accuracy is 0.8214, 0.8643, ….`
fn folds_of(records: &FinishedRun) -> Option<String> {
    let metric = records.folds.first()?.metrics.first()?.metric;
    let values = records.folds.iter().map(|fold| match fold.metrics.first()?.value {
        Some(value) => Some(format!("{value:.4}")),
        None => Some("–".to_owned()),
    });
    Some(format!("By fold, {metric} is {}.", values.collect::<Option<Vec<String>>>()?.join(", ")))
}
