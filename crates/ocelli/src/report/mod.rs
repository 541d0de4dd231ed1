//! The report: one HTML page that shows a run, or an evaluation, and its tables as files beside it.
//!
//! ```text
//! report.html            the page: styles, script, data and pictures inline, so that it works from a file
//! results/NAME.csv       every table of it
//! results/NAME.json      the same, a list of objects
//! results/NAME.png, .svg every chart and matrix of it
//! ```
//!
//! | to change | see |
//! |---|---|
//! | what a report is made of, and in which order | this file |
//! | what the page is given | `page.rs` |
//! | which images are shown, and their heat maps | `pictures.rs` |
//! | what is read of a run's folder | `records.rs` |
//! | tables as files | `tables.rs` |
//! | charts and matrices as files | `drawings.rs` |
//! | how it looks and behaves | `page.html`, `style.css`, `page.js` |
//! | the page that compares two runs | `versus.rs`, `versus.js` |

mod drawings;
mod html;
mod page;
mod pictures;
mod records;
mod tables;
mod versus;

pub use tables::Table;
pub use versus::compare_runs;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ocelli_data::{Items, Skipped};

use crate::interpret::{LabelErrors, Neighbours};
use crate::{
    Error, ImageData, ImageDataBuilder, Interpretation, Model, Observer, Places, Predictions, Result,
    RunFolder, file,
};
use page::Page;
use records::Records;

/// How a report is made.
#[derive(Default)]
pub struct ReportOptions {
    /// The cache folder, where activations are looked for and kept.
    pub cache: Option<PathBuf>,
    /// Threads that decode; 0: one for each core.
    pub threads: usize,
    /// Where the photos are now, if they have been moved.
    pub data: Option<PathBuf>,
    /// Which labels of training images are likely wrong is found out only where their activations are kept already.
    pub only_kept_activations: bool,
    /// Told what goes on while activations are computed.
    pub observer: Option<Box<dyn Observer>>,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Report {
    /// The page.
    pub page: PathBuf,
    /// The tables, as in the files beside the page.
    pub tables: Vec<Table>,
    /// Predictions of the images that were measured on.
    pub named: Interpretation,
    /// The labels of training images that are likely wrong, if they were looked for.
    pub label_errors: Option<LabelErrors>,
    /// What could not be shown, and why: a sentence each.
    pub notices: Vec<String>,
}

/// What is known of labels: of images that the model was not trained on, or by networks that were not.
pub(crate) struct Doubts {
    /// What those networks say of the images.
    pub(crate) named: Interpretation,
    pub(crate) errors: LabelErrors,
    /// Of the same images, by places.
    pub(crate) neighbours: Neighbours,
    /// Groups of byte-identical images, by places.
    pub(crate) duplicates: Vec<Vec<usize>>,
    /// Whether decisions about these images can be applied in training.
    pub(crate) trainable: bool,
}

/// Everything that a page shows.
pub(crate) struct Subject<'a> {
    pub(crate) title: String,
    pub(crate) named: &'a Interpretation,
    pub(crate) data: &'a ImageData,
    pub(crate) model: &'a Model,
    pub(crate) records: Option<&'a Records>,
    pub(crate) doubts: Option<&'a Doubts>,
    pub(crate) threads: usize,
}

/// Folds for the predictions of training images.
const FOLDS: usize = 3;
/// Images like no others that are shown.
const OUTLIERS: usize = 24;

/// Writes the report of a run into its folder; the folder may be given, or the model in it.
///
/// # Errors
/// Where the folder is not that of a finished run, or its photos have gone or changed.
pub fn report_run(run: impl AsRef<Path>, options: ReportOptions) -> Result<Report> {
    let run = RunFolder::open(run.as_ref())?;
    let run = run.path();
    let records = Records::read(run)?;
    let data = records.data(&options)?;
    let model = Model::load(run.join("model.safetensors"))?.threads(options.threads);
    let mut named =
        with_items(Interpretation::read_csv(run.join("predictions.csv"), "")?, data.items(), run)?;
    named.predictions.thresholds = model.contract().thresholds();
    let threads = options.threads;
    let mut notices = Vec::new();
    let doubts = match doubts_of_training(&records, &data, options) {
        Ok(doubts) => doubts,
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => {
            notices.push(format!("which labels are likely wrong was not found out: {error}"));
            None
        }
    };
    let subject = Subject {
        title: records.name.clone(),
        named: &named,
        data: &data,
        model: &model,
        records: Some(&records),
        doubts: doubts.as_ref(),
        threads,
    };
    let mut report = write(&subject, run)?;
    report.notices.splice(0..0, notices);
    Ok(report)
}

/// What a model says of images with labels that it has not been trained on.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// What it says, and what is true.
    pub named: Interpretation,
    /// The images.
    pub data: ImageData,
    /// Images that could not be read.
    pub skipped: Vec<Skipped>,
}

/// Predicts all labelled images of some data; its classes are found among the model's by name.
///
/// # Errors
/// Where the images cannot be read, or have a class that the model does not know.
pub fn evaluate(
    model: &Model,
    data: ImageDataBuilder,
    observer: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation> {
    let data = data.channels(model.contract().channels).for_evaluation(&model.contract().classes)?;
    if data.task() != model.contract().task {
        return Err(Error::State {
            found: "the model and the data differ in whether an image has one class or several".to_owned(),
            advice: "say how the table of labels is meant, with --task single or --task multi",
        });
    }
    let model = model.clone().limited_as(data.loading().decoder);
    let items = data.split().valid.clone();
    let mut predictions = Predictions::new(data.task(), data.classes().len());
    predictions.thresholds = model.contract().thresholds();
    let mut skipped = Vec::new();
    let paths: Vec<PathBuf> = items.iter().map(|&item| data.items()[item].path.clone()).collect();
    for (place, prediction) in model.predict(paths)?.enumerate() {
        let item = items[place];
        match prediction {
            Ok(said) => predictions.push_probabilities(item, &data.items()[item].target, said.probabilities),
            Err(Error::Photo { path, reason }) => skipped.push(Skipped::image(path, reason)),
            Err(error) => return Err(error),
        }
        observer(place + 1, items.len());
    }
    data.can_spare(skipped.iter().map(|skipped| (skipped.path.as_path(), skipped.reason.as_str())))?;
    if predictions.items.is_empty() {
        return Err(Error::State {
            found: format!("{} has no labelled images that can be read", data.items().root.display()),
            advice: "give a folder with a folder of photos for each class, or a table of labels",
        });
    }
    let named = Interpretation::new(predictions, data.items());
    Ok(Evaluation { named, data, skipped })
}

/// Writes the report of an evaluation into a folder.
///
/// # Errors
/// Where a file cannot be written.
pub fn report_evaluation(
    model: &Model,
    evaluation: &Evaluation,
    title: &str,
    folder: &Path,
) -> Result<Report> {
    let Evaluation { named, data, .. } = evaluation;
    // The model was not trained on these images, so that its own doubts count.
    let doubts = Doubts {
        errors: named.label_errors(),
        neighbours: Neighbours { pairs: Vec::new(), outliers: Vec::new() },
        duplicates: identical(data, &named.predictions.items),
        named: named.clone(),
        trainable: false,
    };
    let subject = Subject {
        title: title.to_owned(),
        named,
        data,
        model,
        records: None,
        doubts: Some(&doubts),
        threads: 0,
    };
    write(&subject, folder)
}

/// Page, tables, and drawings.
fn write(subject: &Subject, folder: &Path) -> Result<Report> {
    let page = Page::of(subject)?;
    let tables = tables::tables(subject);
    let results = folder.join("results");
    for table in &tables {
        table.write(&results)?;
    }
    for (name, figure) in drawings::drawings(subject)? {
        for ending in ["png", "svg"] {
            figure.write(results.join(name).with_extension(ending))?;
        }
    }
    let path = folder.join("report.html");
    file::write(&path, page.html().as_bytes())?;
    Ok(Report {
        page: path,
        tables,
        named: subject.named.clone(),
        label_errors: subject.doubts.map(|doubts| doubts.errors.clone()),
        notices: page.notices,
    })
}

/// The predictions with the items that their ids name.
fn with_items(mut named: Interpretation, items: &Items, run: &Path) -> Result<Interpretation> {
    let places: HashMap<&str, usize> =
        items.items.iter().enumerate().map(|(place, item)| (item.id.as_str(), place)).collect();
    for (place, id) in named.ids.iter().enumerate() {
        let item = *places.get(id.as_str()).ok_or_else(|| Error::State {
            found: format!("{id}, which {} was measured on, is not among the photos any more", run.display()),
            advice: "put the photos back, or say where they are with --data FOLDER",
        })?;
        named.predictions.items[place] = item;
        named.paths[place] = items[item].path.clone();
    }
    Ok(named)
}

/// Which training labels are likely wrong, by heads on the pretrained backbone's activations; nothing where that would
/// need more than is allowed, or there are too few images.
fn doubts_of_training(records: &Records, data: &ImageData, options: ReportOptions) -> Result<Option<Doubts>> {
    if data.train_len() < 2 * FOLDS {
        return Ok(None);
    }
    let mut settings = records.settings.clone();
    settings.weights = settings.weights.map(|path| records.resolve(&path));
    let places = Places { cache: options.cache, ..Places::default() };
    let mut learner = settings.learner_on(data.with_split(data.split().without_valid()), &places)?;
    if options.only_kept_activations && !learner.has_kept_activations() {
        return Ok(None);
    }
    if let Some(observer) = options.observer {
        learner.observe_boxed(observer);
    }
    let predictions = learner.out_of_fold(FOLDS)?;
    let features = learner.pooled_activations(&predictions.items)?;
    let neighbours = Neighbours::of(&features, predictions.items.len(), OUTLIERS);
    let duplicates = identical(data, &predictions.items);
    let named = Interpretation::new(predictions, data.items());
    Ok(Some(Doubts { errors: named.label_errors(), named, neighbours, duplicates, trainable: true }))
}

/// Groups of byte-identical images among some items, by places.
fn identical(data: &ImageData, items: &[usize]) -> Vec<Vec<usize>> {
    let mut groups: HashMap<_, Vec<usize>> = HashMap::new();
    for (place, &item) in items.iter().enumerate() {
        groups.entry(data.digests[item]).or_default().push(place);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    groups
}
