//! HTML pages: the report of a run or an evaluation, the comparison of two runs, the inspection of a data
//! set.
//!
//! Every page is one file that works offline, made from one template and one style: [`report_run`] (for a
//! custom backbone [`report_run_with`]) and [`report_evaluation`] give it their values as JSON, which its
//! script draws; so does [`compare_runs`]. [`inspect_page`] writes its elements itself and has no script.
//! Charts are laid out by `ocelli-plot`, and a page's script draws the same layout as the files beside it.
//!
//! A report is made in three steps, all before anything is written: [`ocelli::finished::FinishedRun`] reads
//! the run's folder; the page chooses what it shows, and which photos; tables and charts are derived from the
//! same values, so that page and files cannot differ.
//!
//! ```text
//! report.html            the page: styles, script, data and pictures inline, so that it works from a file
//! results/NAME.csv       every table of it
//! results/NAME.json      the same, a list of objects
//! results/NAME.png, .svg every chart and matrix of it
//! ```
//!
//! ```no_run
//! use ocelli_report::{ReportOptions, report_run};
//!
//! # fn main() -> ocelli::Result<()> {
//! let report = report_run("runs/photos-1", ReportOptions::default())?;
//! println!("{}", report.page.display());
//! # Ok(())
//! # }
//! ```
//!
//! | to change | file |
//! |---|---|
//! | the order in which a report is made | `lib.rs` |
//! | the data of the page | `page/mod.rs`, and one file for each part: `page/classes.rs`,
//! `page/confusion.rs`, `page/data.rs`, `page/figures.rs`, `page/images.rs`, `page/labels.rs`,
//! `page/training.rs` |
//! | which images are shown, and their heat maps | `pictures.rs` |
//! | tables as files | `tables.rs` |
//! | charts and matrices as files | `drawings.rs` |
//! | the page's look and behaviour | `template.html`, `style.css`, `html.rs`, `common.js`, `page.js` |
//! | the page that compares two runs | `versus.rs`, `versus.js` |
//! | the page of a data set | `inspect.rs` |
//! | the page of similar photos | `similar.rs` |

mod drawings;
mod html;
mod inspect;
mod page;
mod pictures;
mod similar;
mod tables;
mod versus;

pub use inspect::inspect_page;
pub use similar::{SimilarPhotos, similar_page};
pub use tables::Table;
pub use versus::compare_runs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use ocelli::finished::FinishedRun;
use ocelli::interpret::{Calibration, Interpretation, LabelErrors, Look};
use ocelli::nn::Backbone;
use ocelli::review::{LabelReview, ReviewOptions};
use ocelli::{
    ClassCount, Decoder, Error, Evaluation, ImageData, Items, Learner, MissingImages, Model, ModelConfig,
    Observer, Result, RunConfig, Stop, write_whole,
};
use ocelli_data::{files, picture::marked, text::count, timeline};

use page::Page;

/// A page with the look of reports, and with their script's elements, numbers, tables and charts, that a server answers
/// with: `body` is HTML, `style` and `script` are added to those of reports.
pub fn live_page(title: &str, style: &str, body: &str, script: &str) -> String {
    html::live_page(title, style, body, script)
}

/// Options of a report.
#[derive(Default)]
pub struct ReportOptions {
    /// The cache folder for features.
    pub cache: Option<PathBuf>,
    /// Decoding threads; 0: one per core.
    pub threads: usize,
    /// Where the photos are now, if they have been moved.
    pub data: Option<PathBuf>,
    /// Search for likely label errors among training images only if their features are already cached.
    pub only_cached_features: bool,
    /// Receives progress while features are computed.
    pub observer: Option<Box<dyn Observer>>,
    /// Once set, the report ends with [`Error::Stopped`]: it is checked between images. Files are only
    /// written at the end, so that an existing report is then unchanged.
    pub stop: Stop,
}

/// A report that has been written.
#[derive(Debug, Clone)]
pub struct Report {
    /// The page.
    pub page: PathBuf,
    /// The tables, as in the files beside the page.
    pub tables: Vec<Table>,
    /// Predictions of the evaluated images.
    pub named: Interpretation,
    /// Likely label errors among the training images, if they were searched.
    pub label_errors: Option<LabelErrors>,
    /// What could not be shown, and why: one sentence each.
    pub notices: Vec<String>,
}

/// Everything that a page shows.
struct Subject<'a> {
    title: String,
    named: &'a Interpretation,
    data: &'a ImageData,
    model: &'a dyn AnyModel,
    records: Option<&'a FinishedRun>,
    review: Option<&'a LabelReview>,
    /// Images that are missing or have changed.
    lost: &'a MissingImages,
    /// Width and height of a sample of the images.
    sizes: Vec<[u32; 2]>,
    threads: usize,
    stop: Stop,
    began: Instant,
    /// Computed once: it takes seconds with many images and classes.
    calibration: OnceLock<Calibration>,
}

/// What a page asks of a model, whatever its backbone.
trait AnyModel {
    fn config(&self) -> &ModelConfig;
    fn parameters(&self) -> usize;
    fn decoder(&self) -> Decoder;
    fn look_at(&self, items: &Items, images: &[(usize, usize)], threads: usize, stop: &Stop) -> Result<Look>;
}

impl<B: Backbone> AnyModel for Model<B> {
    fn config(&self) -> &ModelConfig {
        self.config()
    }

    fn parameters(&self) -> usize {
        self.parameters()
    }

    fn decoder(&self) -> Decoder {
        self.decoder()
    }

    fn look_at(&self, items: &Items, images: &[(usize, usize)], threads: usize, stop: &Stop) -> Result<Look> {
        self.look_at(items, images, threads, stop)
    }
}

impl Subject<'_> {
    /// The calibration of the probabilities.
    fn calibration(&self) -> &Calibration {
        self.calibration.get_or_init(|| self.named.calibration())
    }

    /// The number of training images, whether or not they still exist.
    fn train_len(&self) -> usize {
        let recorded = self.records.and_then(|records| records.data.as_ref());
        recorded.map_or_else(|| self.data.train_len(), |data| data.train)
    }

    /// The number of images of each class.
    fn class_counts(&self) -> Vec<ClassCount> {
        let recorded = self.records.and_then(|records| records.data.as_ref());
        recorded.map_or_else(|| self.data.class_counts(), |data| data.classes.clone())
    }
}

/// With more classes than this there is no confusion matrix, but a list of the most confused pairs.
const CELLS: usize = ocelli::interpret::ConfusionMatrix::MOST_CLASSES;

/// Writes the report of a run into its folder; `run` is the folder, or the model in it.
///
/// Photos that are missing or have changed are not shown, and are named; tables and charts are complete in
/// any case.
///
/// # Errors
/// Where the folder is not that of a finished run, or there are no photos at [`ReportOptions::data`];
/// [`Error::Stopped`] where [`ReportOptions::stop`] is set.
pub fn report_run(run: impl AsRef<Path>, options: ReportOptions) -> Result<Report> {
    let records = FinishedRun::open(run.as_ref())?;
    let model = records.model()?;
    report(&records, options, |_| Ok(model), |data, review, stop| records.review_labels(data, review, stop))
}

/// As [`report_run`], for a run on a backbone or with a head of the user's own: `learner` makes a new learner
/// of the run's settings and photos, as it did for [`Run::prepare_with`](ocelli::Run::prepare_with).
///
/// Label errors are looked for with new heads on its backbone as `learner` makes it, which should be
/// pretrained; those of random features are no evidence. With [`ReportOptions::only_cached_features`] they
/// are looked for only where the features of that backbone are in the cache.
///
/// # Errors
/// As [`report_run`], and whatever `learner` gives.
pub fn report_run_with<B: Backbone>(
    run: impl AsRef<Path>,
    options: ReportOptions,
    learner: impl Fn(&RunConfig, ImageData) -> Result<Learner<B>>,
) -> Result<Report> {
    let records = FinishedRun::open(run.as_ref())?;
    let model = |data: &ImageData| records.model_with(data, &learner);
    report(&records, options, model, |data, review, stop| {
        records.review_labels_with(data, review, stop, &learner)
    })
}

/// The report of a run, whose model and review of labels are made of its photos.
fn report<B: Backbone>(
    records: &FinishedRun,
    options: ReportOptions,
    model: impl FnOnce(&ImageData) -> Result<Model<B>>,
    review: impl FnOnce(&ImageData, ReviewOptions, &Stop) -> Result<Option<LabelReview>>,
) -> Result<Report> {
    let began = Instant::now();
    let ReportOptions { cache, threads, data, only_cached_features, observer, stop } = options;
    let reading = timeline::span("report: predictions and images");
    let mut named = records.predictions()?;
    let (data, lost) = records.images(&mut named, data.as_deref(), threads, &stop)?;
    let model = model(&data)?.threads(threads);
    named.predictions.set_thresholds(model.config().thresholds());
    drop(reading);
    let reviewing = timeline::span("report: labels");
    let mut notices = Vec::new();
    let options =
        ReviewOptions { cache, only_cached: only_cached_features, observer, ..ReviewOptions::default() };
    let review = match review(&data, options, &stop) {
        Ok(review) => review,
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => {
            notices.push(format!("label errors were not searched: {error}"));
            None
        }
    };
    drop(reviewing);
    let subject = Subject {
        title: records.name.clone(),
        named: &named,
        data: &data,
        model: &model,
        records: Some(records),
        review: review.as_ref(),
        lost: &lost,
        sizes: page::sizes(&data, &stop),
        threads,
        stop,
        began,
        calibration: OnceLock::new(),
    };
    let mut report = write(&subject, &records.folder)?;
    report.notices.splice(0..0, notices);
    Ok(report)
}

/// Writes the report of an evaluation into a folder. It uses the options [`stop`](ReportOptions::stop) and
/// [`threads`](ReportOptions::threads) only.
///
/// # Errors
/// Where a file cannot be written; [`Error::Stopped`] where it was to stop.
pub fn report_evaluation<B: Backbone>(
    model: &Model<B>,
    evaluation: &Evaluation,
    title: &str,
    folder: &Path,
    options: &ReportOptions,
) -> Result<Report> {
    let Evaluation { named, data, .. } = evaluation;
    let review = LabelReview::of_evaluation(evaluation);
    let stop = options.stop.clone();
    let subject = Subject {
        title: title.to_owned(),
        named,
        data,
        model,
        records: None,
        review: Some(&review),
        lost: &MissingImages::default(),
        sizes: page::sizes(data, &stop),
        threads: options.threads,
        stop,
        began: Instant::now(),
        calibration: OnceLock::new(),
    };
    write(&subject, folder)
}

/// Page, tables, and drawings: all are made before any is written.
fn write(subject: &Subject, folder: &Path) -> Result<Report> {
    let spanned = timeline::span("report: drawings");
    let drawings = drawings::drawings(subject)?;
    drop(spanned);
    let spanned = timeline::span("report: figures");
    let figures = page::figures(subject);
    drop(spanned);
    let spanned = timeline::span("report: page");
    let page = Page::new(subject, &drawings, &figures)?;
    drop(spanned);
    subject.stop.check()?;
    let spanned = timeline::span("report: tables");
    let tables = tables::tables(subject, &figures)?;
    drop(spanned);
    let _span = timeline::span("report: files");
    let mut pictures = BTreeMap::new();
    for (name, figure) in &drawings {
        subject.stop.check()?;
        pictures.insert(format!("{name}.png"), marked(figure.to_png()));
        pictures.insert(format!("{name}.svg"), figure.to_svg().into_bytes());
    }
    let html = page.html();
    subject.stop.check()?;
    let results = folder.join("results");
    // A killed report has left these.
    [folder, &results].into_iter().for_each(|folder| files::sweep(folder, files::LEFT));
    for table in &tables {
        table.write(&results)?;
    }
    for (name, bytes) in pictures {
        write_whole(&results.join(name), &bytes)?;
    }
    let path = folder.join("report.html");
    write_whole(&path, html.as_bytes())?;
    Ok(Report {
        page: path,
        tables,
        named: subject.named.clone(),
        label_errors: subject.review.map(|review| review.errors.clone()),
        notices: page.notices,
    })
}

/// Notices about images that are missing or have changed.
fn missing_notices(lost: &MissingImages) -> Vec<String> {
    let mut notices = lost.trouble.clone();
    let kinds = [
        (&lost.missing, "no longer there, or cannot be read", "no longer there, or cannot be read"),
        (&lost.changed, "no longer the same file as in the run", "no longer the same files as in the run"),
    ];
    for (ids, one, several) in kinds {
        let names = ids.iter().take(LOST).cloned().collect::<Vec<_>>().join(", ");
        let more = if ids.len() > LOST { ", …" } else { "" };
        match ids.len() {
            0 => {}
            1 => notices.push(format!("1 photo is {one}, so it is not shown: {names}")),
            number => {
                notices.push(format!(
                    "{} photos are {several}, so they are not shown: {names}{more}",
                    count(number)
                ));
            }
        }
    }
    notices
}

/// The most images that are named in a sentence.
const LOST: usize = 5;
