//! `ocelli evaluate`

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::output::{self, eprintln, println, shown};
use indicatif::{ProgressBar, ProgressStyle};
use ocelli::report::{Evaluation, ReportOptions, evaluate, report_evaluation};
use ocelli::{Interpretation, Model, Proportion, RunFolder, Task, outside, photos_of_run, text_of};

use crate::Failure;
use crate::arguments::Evaluate;
use crate::report::{self, LISTED, stoppable};
use crate::source::channels;
use crate::train::{unmeasured, use_threads, watch_for_interrupt};
use crate::words::{brief, count, counted};

pub fn run(arguments: &Evaluate) -> Result<(), Failure> {
    use_threads(arguments.threads)?;
    let model = Model::load(&arguments.model)?.threads(arguments.threads);
    let channels = channels(&arguments.source.bands, &arguments.source.range)?;
    if !channels.is_usual() && channels != model.contract().channels {
        return Err(Failure::Error(
            "a model reads images as it was trained; leave --bands and --range out".to_owned(),
        ));
    }
    let mut data = arguments.source.builder(&arguments.data)?.bad_images(arguments.bad_images.policy());
    if !arguments.all {
        let run = if arguments.model.is_dir() { Some(&*arguments.model) } else { arguments.model.parent() };
        let run = run.unwrap_or(Path::new(""));
        data = data.without_training_images_of(run)?;
        if !run.join("photos.csv").is_file() {
            eprintln!(
                "   note: the model lies outside of its run folder, so that photos that it was trained on cannot be told \
                 from others"
            );
        }
    }
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let template = "   predicting {bar:30} {human_pos} of {human_len} images · {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("a valid template").progress_chars("━╸ "));
    let stop = watch_for_interrupt()?;
    let evaluation = evaluate(&model, data.threads(arguments.threads), &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let evaluation = stoppable(evaluation)?;
    bar.finish_and_clear();
    for skipped in &evaluation.skipped {
        eprintln!("   skipped {}: {}", shown(skipped.path.display()), shown(&skipped.reason));
    }
    for notice in evaluation.data.notices() {
        eprintln!("   note: {}", shown(notice));
    }
    let name = name_of(&arguments.data);
    let folder = match &arguments.out {
        Some(out) => RunFolder::at(out)?,
        None => {
            let photos = photos_of_run(&arguments.model);
            let folders: Vec<&Path> =
                evaluation.data.folders().into_iter().chain(photos.as_deref()).collect();
            let (folder, said) = outside("evaluations", &folders)?;
            said.iter().for_each(|said| eprintln!("   note: {}", shown(said)));
            RunFolder::numbered(folder, &name)?
        }
    };
    evaluation.named.write_csv(folder.predictions())?;
    let title = format!("{name}, by {}", arguments.model.display());
    let options = ReportOptions { threads: arguments.threads, stop: Some(stop), ..ReportOptions::default() };
    let written = stoppable(report_evaluation(&model, &evaluation, &title, folder.path(), &options))?;
    if arguments.json {
        let tables = written.tables.iter().filter(|table| ["figures", "classes"].contains(&table.name));
        let tables: serde_json::Map<String, serde_json::Value> =
            tables.map(|table| (table.name.to_owned(), table.objects())).collect();
        output::json(&serde_json::Value::Object(tables));
        return Ok(());
    }
    print(&evaluation);
    println!();
    report::say(&written);
    Ok(())
}

fn print(evaluation: &Evaluation) {
    let Evaluation { named, data, .. } = evaluation;
    println!(
        "data    {} in {} ({})",
        counted(named.len(), "image"),
        counted(named.classes.len(), "class"),
        data.split_origin()
    );
    let accuracy = named.predictions.accuracy();
    let (low, high) = accuracy.interval();
    println!(
        "accuracy {:.4}   95 % interval {low:.4} … {high:.4}   {} of {} right",
        accuracy.value(),
        count(accuracy.count),
        counted(accuracy.total, "image")
    );
    if let Some(line) = unmeasured(&named.predictions, &named.classes) {
        println!("{line}");
    }
    print_classes(named);
    report::confusion(named);
    let calibration = named.calibration();
    println!("\ncalibration   expected error {:.4}", calibration.plain.expected_error);
}

fn print_classes(named: &Interpretation) {
    let mut rows = named.class_table().rows;
    let all = rows.len();
    if all > LISTED {
        // The classes that are recognised worst say most.
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
    let cell = |share: Option<Proportion>| {
        share.map_or_else(|| "–".to_owned(), |share| format!("{:.4}", share.value()))
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
            "\nthreshold    highest F1 at {:.2}, highest F2 at {:.2}, over all labels",
            best.best_f1, best.best_f2
        );
    }
}

fn name_of(data: &Path) -> String {
    let absolute = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    absolute.file_stem().map_or_else(|| "data".to_owned(), text_of)
}
