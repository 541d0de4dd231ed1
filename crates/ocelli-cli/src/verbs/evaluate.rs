//! `ocelli evaluate`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::{Args, Command};
use ocelli::{BadImages, Interpretation, Metric, Model, Proportion, RunFolder, Task, photos_of_run, text_of};
use ocelli::{Evaluation, FALSE_REFUSALS, Stop, StrangerScores, auroc, evaluate, score_strangers};
use ocelli_report::{ReportOptions, report_evaluation};

use crate::errors::Failure;
use crate::flags::{DataFlags, ThreadFlags};
use crate::interrupt::{finish_batch, stopped};
use crate::output::{self, eprintln, message, println, progress_bar, shown, usual_place};
use crate::photos::photos_at;
use crate::terminal::is_warning;
use crate::text::{brief, count, counted};
use crate::values::{false_refusals, names_help, one_of};
use crate::verbs::compare::accuracy;
use crate::verbs::report::{LISTED, print_confusion, print_paths};
use crate::verbs::train::{not_measured, print_metrics};

/// Evaluate a model on labelled photos
///
/// Evaluates the test set if the data has one, else the validation set, else all images; --valid, --fold or
/// --split choose other ones. Images that the model was trained on are excluded; photos.csv and split.csv in
/// its run folder identify them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli evaluate runs/photos-1 new-photos
  ocelli evaluate model.safetensors dogbreeds --labels labels.csv --out report")]
pub struct Evaluate {
    /// Model file, or the folder of its run
    model: PathBuf,
    /// Folder of photos with one folder per class, or a table of labels
    data: PathBuf,

    /// Output folder [default: evaluations/DATA-N]
    ///
    /// Predictions, tables and the report are written into it; it must be new or empty.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Also evaluate images that the model was trained on
    #[arg(long)]
    include_train: bool,
    /// Images that cannot be read: few, skip or fail
    #[arg(long_help = names_help("What to do with images that cannot be read", BadImages::NAMES))]
    #[arg(long, value_name = "POLICY", default_value = "few", hide_possible_values = true)]
    #[arg(value_parser = one_of::<BadImages>(BadImages::NAMES))]
    bad_images: BadImages,
    /// Print the figures as a JSON object
    #[arg(long)]
    json: bool,
    /// Photos of no known class, to measure the unknown score on
    #[arg(long, value_name = "FOLDER")]
    strangers: Option<PathBuf>,
    /// Fraction of known photos that may be called unknown [default: 0.05]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FRACTION", value_parser = false_refusals)]
    false_refusals: Option<f64>,

    #[command(flatten)]
    source: DataFlags,
    #[command(flatten)]
    threads: ThreadFlags,
}

/// The command, with the meaning of `--valid` here.
pub fn complete(evaluate: Command) -> Command {
    evaluate.mut_arg("valid", |valid| {
        let about = "Evaluate only this fraction of each class";
        valid.help(about).long_help(about)
    })
}

impl Evaluate {
    pub fn run(&self) -> Result<(), Failure> {
        self.out.iter().try_for_each(|out| output::no_dash(out, "--out"))?;
        let threads = self.threads.start()?;
        let mut model = Model::load(&self.model)?.threads(threads);
        if self.false_refusals.is_some() || self.strangers.is_some() {
            model = model.false_refusals(self.false_refusals.unwrap_or(FALSE_REFUSALS))?;
        }
        let evaluation = self.evaluate(&model, threads)?;
        for skipped in &evaluation.skipped {
            eprintln!("   skipped {}: {}", shown(skipped.path.display()), message(&skipped.reason));
        }
        for notice in evaluation.data.notices() {
            let label = if is_warning(notice) { "" } else { "note: " };
            eprintln!("   {label}{}", message(notice));
        }
        let strangers = self.strangers(&model, &evaluation)?;
        let unknown = UnknownFigures::new(&model, &evaluation, strangers.as_ref());
        let name = name_of(&self.data);
        let folder = self.folder(&evaluation, &name)?;
        evaluation.named.write_csv(folder.predictions())?;
        let title = format!("{name}, by {}", self.model.display());
        let options = ReportOptions { threads, stop: Stop::new(finish_batch()), ..ReportOptions::default() };
        let written = report_evaluation(&model, &evaluation, &title, folder.path(), &options);
        let written = stopped(written, "no report was written")?;
        if self.json {
            let tables = written.tables.iter().filter(|table| ["figures", "classes"].contains(&table.name));
            let mut tables: serde_json::Map<String, serde_json::Value> =
                tables.map(|table| (table.name.to_owned(), table.objects())).collect();
            tables.extend(unknown.map(|unknown| ("unknown".to_owned(), unknown.json())));
            output::json(&serde_json::Value::Object(tables));
            return Ok(());
        }
        print(&evaluation);
        if let Some(unknown) = unknown {
            unknown.print();
        }
        println!();
        print_paths(&written, evaluation.data.notices());
        Ok(())
    }

    fn evaluate(&self, model: &Model, threads: usize) -> Result<Evaluation, Failure> {
        let mut data = self.source.builder(&self.data).bad_images(self.bad_images).threads(threads);
        if !self.include_train {
            let run = if self.model.is_dir() { Some(&*self.model) } else { self.model.parent() };
            let run = run.unwrap_or(Path::new(""));
            // What was trained on is known from the run's files, if these are as the run wrote them.
            let folder = RunFolder::open(run);
            folder.iter().try_for_each(RunFolder::check_results)?;
            data = data.without_training_images_of(run)?;
            if folder.is_err() && !run.join("photos.csv").is_file() {
                eprintln!(
                    "   note: the model is not in its run folder, so images that it was trained on cannot be excluded"
                );
            }
        }
        let bar = progress_bar("   predicting     {bar:30} {human_pos} of {human_len} images · {eta} left");
        let stop = finish_batch();
        let evaluation = evaluate(model, data, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish_and_clear();
        stopped(evaluation, "no report was written")
    }

    /// The unknown scores of the strangers, if there are some; lists those that cannot be read.
    fn strangers(&self, model: &Model, evaluation: &Evaluation) -> Result<Option<StrangerScores>, Failure> {
        let Some(folder) = &self.strangers else { return Ok(None) };
        let photos = photos_at(std::slice::from_ref(folder))?.photos;
        let bar = progress_bar("   strangers      {bar:30} {human_pos} of {human_len} images · {eta} left");
        let stop = finish_batch();
        let scored = score_strangers(model, photos, evaluation, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish_and_clear();
        let scored = stopped(scored, "no report was written")?;
        for skipped in &scored.skipped {
            eprintln!("   skipped {}: {}", shown(skipped.path.display()), message(&skipped.reason));
        }
        Ok(Some(scored))
    }

    fn folder(&self, evaluation: &Evaluation, name: &str) -> Result<RunFolder, Failure> {
        if let Some(out) = &self.out {
            return Ok(RunFolder::at(out)?);
        }
        let trained_on = photos_of_run(&self.model);
        let folders: Vec<&Path> =
            evaluation.data.folders().into_iter().chain(trained_on.as_deref()).collect();
        Ok(RunFolder::numbered(usual_place("evaluations", &folders)?, name)?)
    }
}

/// How well the unknown score tells known photos from strangers.
struct UnknownFigures {
    threshold: f32,
    refused: Proportion,
    /// Strangers that are called known, and the area under the ROC curve.
    strangers: Option<(Proportion, Option<f64>)>,
}

impl UnknownFigures {
    /// `None` where the model has no score.
    fn new(model: &Model, evaluation: &Evaluation, strangers: Option<&StrangerScores>) -> Option<Self> {
        let threshold = model.unknown_threshold()?;
        let known = &evaluation.unknown;
        let above = |scores: &[f32]| scores.iter().filter(|score| **score > threshold).count();
        let strangers = strangers.map(|StrangerScores { scores, .. }| {
            let let_through = Proportion { count: scores.len() - above(scores), total: scores.len() };
            (let_through, auroc(known, scores))
        });
        Some(Self { threshold, refused: Proportion { count: above(known), total: known.len() }, strangers })
    }

    fn print(&self) {
        let percent = |proportion: &Proportion| {
            format!(
                "{} of {} ({:.1} %)",
                count(proportion.count),
                count(proportion.total),
                100.0 * proportion.value()
            )
        };
        println!(
            "\nunknown  known photos refused {}, threshold {:.4}",
            percent(&self.refused),
            self.threshold
        );
        if let Some((let_through, auroc)) = &self.strangers {
            let auroc = auroc.map_or_else(|| "–".to_owned(), |auroc| format!("{auroc:.4}"));
            println!("         strangers let through {}, AUROC {auroc}", percent(let_through));
        }
    }

    fn json(&self) -> serde_json::Value {
        let object = |proportion: &Proportion| serde_json::json!({ "count": proportion.count, "of": proportion.total });
        let mut figures =
            serde_json::json!({ "threshold": self.threshold, "known_refused": object(&self.refused) });
        if let Some((let_through, auroc)) = &self.strangers {
            figures["strangers_let_through"] = object(let_through);
            figures["auroc"] = (*auroc).into();
        }
        figures
    }
}

fn print(evaluation: &Evaluation) {
    let Evaluation { named, data, .. } = evaluation;
    println!(
        "data    {} in {} ({})",
        counted(named.len(), "image"),
        counted(named.classes.len(), "class"),
        data.split_origin()
    );
    match named.task() {
        Task::SingleLabel => println!("{}", accuracy(named.predictions.accuracy())),
        Task::MultiLabel => print_metrics(&named.predictions, Metric::usual(Task::MultiLabel), "image"),
    }
    if let Some(line) = not_measured(&named.predictions, &named.classes) {
        println!("{line}");
    }
    print_classes(named);
    print_confusion(named);
    println!("\ncalibration error (ECE) {:.4}", named.calibration().plain.expected_error);
}

fn print_classes(named: &Interpretation) {
    let mut rows = named.class_table().rows;
    let all = rows.len();
    if all > LISTED {
        // The worst classes are the most informative.
        rows.retain(|row| row.support > 0);
        rows.sort_by(|a, b| a.f1.unwrap_or(0.0).total_cmp(&b.f1.unwrap_or(0.0)));
        rows.truncate(LISTED);
        println!("\nthe {LISTED} of {all} classes with the lowest F1");
    } else {
        println!();
    }
    rows.iter_mut().for_each(|row| row.class = shown(&row.class));
    let width = rows.iter().map(|row| brief(&row.class).chars().count()).max().unwrap_or(0).max(5);
    println!("{:width$}  {:>7}  {:>9}  {:>7}  {:>7}", "class", "images", "precision", "recall", "F1");
    let cell = |proportion: Option<Proportion>| {
        proportion.map_or_else(|| "–".to_owned(), |proportion| format!("{:.4}", proportion.value()))
    };
    for row in rows {
        let f1 = row.f1.map_or_else(|| "–".to_owned(), |f1| format!("{f1:.4}"));
        println!(
            "{:width$}  {:>7}  {:>9}  {:>7}  {f1:>7}",
            brief(&row.class),
            count(row.support),
            cell(row.precision),
            cell(row.recall)
        );
    }
    if named.task() == Task::MultiLabel {
        let best = &named.threshold_curves()[0];
        println!(
            "\none threshold for all labels: highest F1 at {:.2}, highest F2 at {:.2}",
            best.best_f1, best.best_f2
        );
    }
}

fn name_of(data: &Path) -> String {
    let absolute = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    absolute.file_stem().map_or_else(|| "data".to_owned(), text_of)
}
