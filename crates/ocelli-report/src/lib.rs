//! HTML pages: the report of a run or an evaluation, the comparison of two runs, the inspection of a data set.
//!
//! Every page is one file that works offline, made from one template and one style: [`report_run`] (for a custom backbone
//! [`report_run_with`]) and [`report_evaluation`] give it their values as JSON, which its script draws; so does [`compare_runs`]. [`inspect_page`]
//! writes its elements itself and has no script. Charts are laid out by `ocelli-plot`, and a page's script draws the same
//! layout as the files beside it.
//!
//! A report is made in three steps, all before anything is written: [`ocelli::finished::FinishedRun`] reads the run's
//! folder; the page chooses what it shows, and which photos; tables and charts are derived from the same values, so that
//! page and files cannot differ.
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
//! | to change | see |
//! |---|---|
//! | what a report is made of, and in which order | this file |
//! | what the page is given | `page/`: one file for each part |
//! | which images are shown, and their heat maps | `pictures.rs` |
//! | tables as files | `tables.rs` |
//! | charts and matrices as files | `drawings.rs` |
//! | how it looks and behaves | `template.html`, `style.css`, `common.js`, `page.js` |
//! | the page that compares two runs | `versus.rs`, `versus.js` |
//! | the page of a data set | `inspect.rs` |

mod drawings;
mod html;
mod inspect;
mod page;
mod pictures;
mod tables;
mod versus;

pub use inspect::inspect_page;
pub use tables::Table;
pub use versus::compare_runs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ocelli::finished::FinishedRun;
use ocelli::interpret::{Interpretation, LabelErrors, Look};
use ocelli::nn::Backbone;
use ocelli::review::{LabelReview, ReviewOptions};
use ocelli::{
    ClassCount, Contract, Decoder, Error, Evaluation, ImageData, Items, Learner, MissingImages, Model,
    Observer, Result, RunConfig, Stop, write_whole,
};
use ocelli_data::{files, picture::marked, text::count};

use page::Page;

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
    /// Where it is set, the report ends with [`Error::Stopped`]: it is asked between images. Files are written at the end
    /// alone, so that a report that was there stays as it was.
    pub stop: Stop,
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

/// Everything that a page shows.
struct Subject<'a> {
    title: String,
    named: &'a Interpretation,
    data: &'a ImageData,
    model: &'a dyn AnyModel,
    records: Option<&'a FinishedRun>,
    doubts: Option<&'a LabelReview>,
    /// Images that are not what they were.
    lost: &'a MissingImages,
    /// Width and height of images, as many as were looked at.
    sizes: Vec<[u32; 2]>,
    threads: usize,
    stop: Stop,
    began: Instant,
}

/// What a page asks of a model, whatever its backbone.
trait AnyModel {
    fn contract(&self) -> &Contract;
    fn parameters(&self) -> usize;
    fn decoder(&self) -> Decoder;
    fn look_at(&self, items: &Items, images: &[(usize, usize)], threads: usize, stop: &Stop) -> Result<Look>;
}

impl<B: Backbone> AnyModel for Model<B> {
    fn contract(&self) -> &Contract {
        self.contract()
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
    /// The number of images that were trained on, whether or not they are still there.
    fn train_len(&self) -> usize {
        let recorded = self.records.and_then(|records| records.data.as_ref());
        recorded.map_or_else(|| self.data.train_len(), |data| data.train)
    }

    /// How many images of each class there were.
    fn class_counts(&self) -> Vec<ClassCount> {
        let recorded = self.records.and_then(|records| records.data.as_ref());
        recorded.map_or_else(|| self.data.class_counts(), |data| data.classes.clone())
    }
}

/// Of so many classes there is a matrix of cells; of more, in a picture or a page, no cell could be seen, and the pairs
/// that are confused are listed.
const CELLS: usize = 200;

/// Writes the report of a run into its folder; the folder may be given, or the model in it.
///
/// Photos that have gone or changed since are missing in the page, which says so; the tables and charts are made all the
/// same.
///
/// # Errors
/// Where the folder is not that of a finished run, or there are no photos where [`ReportOptions::data`] says that they
/// are; [`Error::Stopped`] where [`ReportOptions::stop`] was set.
pub fn report_run(run: impl AsRef<Path>, options: ReportOptions) -> Result<Report> {
    let records = FinishedRun::open(run.as_ref())?;
    let model = records.model()?;
    report(&records, options, |_| Ok(model), |data, review, stop| records.review_labels(data, review, stop))
}

/// As [`report_run`], for a run on a backbone or with a head of the user's own: `learner` makes a new learner of the run's
/// settings and photos, as it did for [`Run::prepare_with`](ocelli::Run::prepare_with).
///
/// Label errors are looked for with new heads on its backbone as `learner` makes it, which should be pretrained; those of
/// random features are no evidence. With [`ReportOptions::only_kept_activations`] they are looked for only where the
/// features of that backbone are in the cache.
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
    let ReportOptions { cache, threads, data, only_kept_activations, observer, stop } = options;
    let mut named = records.predictions()?;
    let (data, lost) = records.images(&mut named, data.as_deref(), threads, &stop)?;
    let model = model(&data)?.threads(threads);
    named.predictions.set_thresholds(model.contract().thresholds());
    let mut notices = Vec::new();
    let options = ReviewOptions { cache, only_cached: only_kept_activations, observer };
    let doubts = match review(&data, options, &stop) {
        Ok(doubts) => doubts,
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => {
            notices.push(format!("label errors were not looked for: {error}"));
            None
        }
    };
    let subject = Subject {
        title: records.name.clone(),
        named: &named,
        data: &data,
        model: &model,
        records: Some(records),
        doubts: doubts.as_ref(),
        lost: &lost,
        sizes: page::sizes(&data, &stop),
        threads,
        stop,
        began,
    };
    let mut report = write(&subject, &records.folder)?;
    report.notices.splice(0..0, notices);
    Ok(report)
}

/// Writes the report of an evaluation into a folder. Of the options it takes [`stop`](ReportOptions::stop) and
/// [`threads`](ReportOptions::threads).
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
    let doubts = LabelReview::of_evaluation(evaluation);
    let stop = options.stop.clone();
    let subject = Subject {
        title: title.to_owned(),
        named,
        data,
        model,
        records: None,
        doubts: Some(&doubts),
        lost: &MissingImages::default(),
        sizes: page::sizes(data, &stop),
        threads: options.threads,
        stop,
        began: Instant::now(),
    };
    write(&subject, folder)
}

/// Page, tables, and drawings: all of them are made before any of them is written.
fn write(subject: &Subject, folder: &Path) -> Result<Report> {
    let drawings = drawings::drawings(subject)?;
    let figures = page::figures(subject);
    let page = Page::new(subject, &drawings, &figures)?;
    subject.stop.check()?;
    let tables = tables::tables(subject, &figures)?;
    let mut pictures = BTreeMap::new();
    for (name, figure) in &drawings {
        subject.stop.check()?;
        pictures.insert(format!("{name}.png"), marked(figure.to_png()));
        pictures.insert(format!("{name}.svg"), figure.to_svg().into_bytes());
    }
    let html = page.html();
    subject.stop.check()?;
    let results = folder.join("results");
    // A report that was killed has left these.
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
        label_errors: subject.doubts.map(|doubts| doubts.errors.clone()),
        notices: page.notices,
    })
}

/// What is to be known of images that are not what they were, a sentence each.
fn missing_notices(lost: &MissingImages) -> Vec<String> {
    let mut said = lost.trouble.clone();
    let kinds = [
        (&lost.missing, "no longer there, or cannot be read", "no longer there, or cannot be read"),
        (&lost.changed, "no longer the same file as in the run", "no longer the same files as in the run"),
    ];
    for (ids, one, several) in kinds {
        let names = ids.iter().take(LOST).cloned().collect::<Vec<_>>().join(", ");
        let more = if ids.len() > LOST { ", …" } else { "" };
        match ids.len() {
            0 => {}
            1 => said.push(format!("1 photo is {one}, so it is not shown: {names}")),
            number => {
                said.push(format!(
                    "{} photos are {several}, so they are not shown: {names}{more}",
                    count(number)
                ));
            }
        }
    }
    said
}

/// Images that are named in a sentence.
const LOST: usize = 5;
