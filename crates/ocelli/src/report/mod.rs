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

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ocelli_data::{Items, Skipped, Split, Target, files, picture::marked, words::count};

use crate::data::builder::ImageDataBuilder;
use crate::data::of_run::{Lost, RunImages};
use crate::data::{ClassCount, ImageData};
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::file;
use crate::interpret::{Interpretation, LabelErrors, Neighbours};
use crate::metric::predictions::Predictions;
use crate::model::Model;
use crate::run::config::RunEnv;
use crate::run::folder::RunFolder;
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
    /// Set to true, it ends the report with [`Error::Stopped`]: it is asked between images. Files are written at the end
    /// alone, so that a report that was there stays as it was.
    pub stop: Option<Arc<AtomicBool>>,
}

/// Whether somebody wants no more of a report.
#[derive(Clone, Default)]
pub(crate) struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// # Errors
    /// [`Error::Stopped`] where it is set.
    pub(crate) fn ask(&self) -> Result<()> {
        if self.is_set() { Err(Error::Stopped) } else { Ok(()) }
    }
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
    /// Images that are not what they were.
    pub(crate) lost: &'a Lost,
    /// Width and height of images, as many as were looked at.
    pub(crate) sizes: Vec<[u32; 2]>,
    pub(crate) threads: usize,
    pub(crate) stop: Stop,
    pub(crate) began: Instant,
}

impl Subject<'_> {
    /// The number of images that were trained on, whether or not they are still there.
    pub(crate) fn train_len(&self) -> usize {
        let recorded = self.records.and_then(|records| records.data.as_ref());
        recorded.map_or_else(|| self.data.train_len(), |data| data.train)
    }

    /// How many images of each class there were.
    pub(crate) fn class_counts(&self) -> Vec<ClassCount> {
        let recorded = self.records.and_then(|records| records.data.as_ref());
        recorded.map_or_else(|| self.data.class_counts(), |data| data.classes.clone())
    }
}

/// Of so many classes there is a matrix of cells; of more, in a picture or a page, no cell could be seen, and the pairs
/// that are confused are listed.
pub(crate) const CELLS: usize = 200;

/// Folds for the predictions of training images.
const FOLDS: usize = 3;
/// Images like no others that are shown.
const OUTLIERS: usize = 24;

/// Writes the report of a run into its folder; the folder may be given, or the model in it.
///
/// Photos that have gone or changed since are missing in the page, which says so; the tables and charts are made all the
/// same.
///
/// # Errors
/// Where the folder is not that of a finished run, or there are no photos where [`ReportOptions::data`] says that they
/// are; [`Error::Stopped`] where [`ReportOptions::stop`] was set.
pub fn report_run(run: impl AsRef<Path>, options: ReportOptions) -> Result<Report> {
    let (run, began) = (RunFolder::open(run.as_ref())?, Instant::now());
    let run = run.path();
    let stop = Stop(options.stop.clone());
    let records = Records::read(run)?;
    let model = Model::load(run.join("model.safetensors"))?.threads(options.threads);
    let mut named = Interpretation::read_csv(run.join("predictions.csv"), "")?;
    let (data, lost) = images_of(&records, &named, &options, &stop)?;
    place(&mut named, data.items());
    named.predictions.set_thresholds(model.contract().thresholds());
    let threads = options.threads;
    let mut notices = Vec::new();
    let doubts = match doubts_of_training(&records, &data, options, &stop) {
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
        lost: &lost,
        sizes: page::sizes(&data, &stop),
        threads,
        stop,
        began,
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

/// Predicts all labelled images of some data; its classes are found among the model's by name. After each image the
/// observer is told how many are done, of how many, and may ask to stop.
///
/// # Errors
/// Where the images cannot be read, or have a class that the model does not know; [`Error::Stopped`] where the observer
/// asked to stop.
pub fn evaluate(
    model: &Model,
    data: ImageDataBuilder,
    observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Evaluation> {
    let contract = model.contract();
    let data = data.channels(contract.channels).expected_task(contract.task);
    let data = data.for_evaluation(&contract.classes)?;
    if data.task() != contract.task {
        return Err(Error::TaskMismatch { model: contract.task, data: data.task() });
    }
    let model = model.clone().limited_as(data.loading().decoder);
    let items = data.split().valid.clone();
    let mut predictions = Predictions::new(data.task(), data.classes().len());
    predictions.set_thresholds(model.contract().thresholds());
    let mut skipped = Vec::new();
    let paths: Vec<PathBuf> = items.iter().map(|&item| data.items()[item].path.clone()).collect();
    for (place, prediction) in model.predict(paths)?.enumerate() {
        let item = items[place];
        match prediction {
            Ok(said) => predictions.push_probabilities(item, &data.items()[item].target, said.probabilities),
            Err(Error::Photo { path, reason }) => skipped.push(Skipped::image(path, reason)),
            Err(error) => return Err(error),
        }
        if observer(place + 1, items.len()).is_break() {
            return Err(Error::Stopped);
        }
    }
    data.can_spare(skipped.iter().map(|skipped| (skipped.path.as_path(), skipped.reason.as_str())))?;
    if predictions.is_empty() {
        return Err(Error::NoLabelledImages { data: data.items().root.clone() });
    }
    let named = Interpretation::new(predictions, data.items());
    Ok(Evaluation { named, data, skipped })
}

/// Writes the report of an evaluation into a folder. Of the options it takes [`stop`](ReportOptions::stop) and
/// [`threads`](ReportOptions::threads).
///
/// # Errors
/// Where a file cannot be written; [`Error::Stopped`] where it was to stop.
pub fn report_evaluation(
    model: &Model,
    evaluation: &Evaluation,
    title: &str,
    folder: &Path,
    options: &ReportOptions,
) -> Result<Report> {
    let Evaluation { named, data, .. } = evaluation;
    // The model was not trained on these images, so that its own doubts count.
    let doubts = Doubts {
        errors: named.label_errors(),
        neighbours: Neighbours { pairs: Vec::new(), outliers: Vec::new() },
        duplicates: identical(data, named.predictions.items()),
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
        lost: &Lost::default(),
        sizes: page::sizes(data, &Stop(options.stop.clone())),
        threads: options.threads,
        stop: Stop(options.stop.clone()),
        began: Instant::now(),
    };
    write(&subject, folder)
}

/// Page, tables, and drawings: all of them are made before any of them is written.
fn write(subject: &Subject, folder: &Path) -> Result<Report> {
    let drawings = drawings::drawings(subject)?;
    let figures = page::figures(subject);
    let page = Page::of(subject, &drawings, &figures)?;
    subject.stop.ask()?;
    let tables = tables::tables(subject, &figures)?;
    let mut pictures = BTreeMap::new();
    for (name, figure) in &drawings {
        subject.stop.ask()?;
        pictures.insert(format!("{name}.png"), marked(figure.to_png()));
        pictures.insert(format!("{name}.svg"), figure.to_svg().into_bytes());
    }
    let html = page.html();
    subject.stop.ask()?;
    let results = folder.join("results");
    // A report that was killed has left these.
    [folder, &results].into_iter().for_each(|folder| files::sweep(folder, files::LEFT));
    for table in &tables {
        table.write(&results)?;
    }
    for (name, bytes) in pictures {
        file::write(&results.join(name), &bytes)?;
    }
    let path = folder.join("report.html");
    file::write(&path, html.as_bytes())?;
    Ok(Report {
        page: path,
        tables,
        named: subject.named.clone(),
        label_errors: subject.doubts.map(|doubts| doubts.errors.clone()),
        notices: page.notices,
    })
}

/// The images of a run, as far as they are there, and what of them is not.
pub(crate) fn images_of(
    records: &Records,
    named: &Interpretation,
    options: &ReportOptions,
    stop: &Stop,
) -> Result<(ImageData, Lost)> {
    let targets = named.predictions.targets().iter().cloned();
    let measured: Vec<(String, Target)> = named.ids.iter().cloned().zip(targets).collect();
    let images = RunImages {
        folder: &records.folder,
        classes: &named.classes,
        task: named.task(),
        measured: &measured,
        stopped: &|| stop.is_set(),
    };
    let (data, lost) = records.data(options).of_run(&images)?;
    // Who says where the photos are wants them to be found.
    match (&options.data, lost.trouble.first()) {
        (Some(_), Some(trouble)) if lost.missing.len() >= measured.len() => {
            Err(Error::PhotosNotFound { reason: trouble.clone() })
        }
        _ => Ok((data, lost)),
    }
}

/// Gives predictions the items that their ids name; each is there.
pub(crate) fn place(named: &mut Interpretation, items: &Items) {
    let places: HashMap<&str, usize> =
        items.items.iter().enumerate().map(|(place, item)| (item.id.as_str(), place)).collect();
    for (place, id) in named.ids.iter().enumerate() {
        let item = places[id.as_str()];
        named.predictions.set_item(place, item);
        named.paths[place] = items[item].path.clone();
    }
}

/// What is to be known of images that are not what they were, a sentence each.
fn said_of_lost(lost: &Lost) -> Vec<String> {
    let mut said = lost.trouble.clone();
    let kinds = [
        (
            &lost.missing,
            "not where it was, or cannot be read any more",
            "not where they were, or cannot be read any more",
        ),
        (
            &lost.changed,
            "not the same file any more as in the run",
            "not the same files any more as in the run",
        ),
    ];
    for (ids, one, several) in kinds {
        let names = ids.iter().take(LOST).cloned().collect::<Vec<_>>().join(", ");
        let more = if ids.len() > LOST { ", …" } else { "" };
        match ids.len() {
            0 => {}
            1 => said.push(format!("1 photo is {one}, so that it is not shown: {names}")),
            number => {
                said.push(format!(
                    "{} photos are {several}, so that they are not shown: {names}{more}",
                    count(number)
                ));
            }
        }
    }
    said
}

/// Images that are named in a sentence.
const LOST: usize = 5;

/// Which training labels are likely wrong, by heads on the pretrained backbone's activations; nothing where that would
/// need more than is allowed, or there are too few images.
fn doubts_of_training(
    records: &Records,
    data: &ImageData,
    options: ReportOptions,
    stop: &Stop,
) -> Result<Option<Doubts>> {
    if data.train_len() < 2 * FOLDS {
        return Ok(None);
    }
    let mut settings = records.settings.clone();
    settings.weights = settings.weights.map(|path| records.resolve(&path));
    let places = RunEnv { cache: options.cache, ..RunEnv::default() };
    let training = Split { train: data.split().train.clone(), ..Split::default() };
    let mut learner = settings.learner_on(data.with_split(training), &places)?;
    if options.only_kept_activations && !learner.has_kept_activations() {
        return Ok(None);
    }
    if let Some(observer) = options.observer {
        learner.observe_boxed(observer);
    }
    let asked = stop.clone();
    learner.observe(
        move |_: &crate::Event| {
            if asked.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    let predictions = learner.out_of_fold_until(FOLDS, stop.0.as_ref())?;
    let features = learner.pooled_activations(predictions.items())?;
    let neighbours = Neighbours::until(&features, predictions.len(), OUTLIERS, &|| stop.is_set());
    stop.ask()?;
    let duplicates = identical(data, predictions.items());
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
