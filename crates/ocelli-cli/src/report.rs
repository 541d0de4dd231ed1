//! `ocelli report`

use crate::output::{eprintln, message, println, shown};
use ocelli::report::{Report as Written, ReportOptions, report_run};
use ocelli::{Interpretation, default_cache};

use crate::Failure;
use crate::arguments::Report;
use crate::terminal::Terminal;
use crate::train::{use_threads, watch_for_interrupt};
use crate::words::{brief, count, counted};

/// Classes and pairs that are listed; all are in the tables.
pub const LISTED: usize = 12;

pub fn run(arguments: &Report) -> Result<(), Failure> {
    use_threads(arguments.threads)?;
    let cache = match &arguments.cache {
        Some(folder) => folder.clone(),
        None => default_cache()?,
    };
    let written = stoppable(report_run(
        &arguments.run,
        ReportOptions {
            stop: Some(watch_for_interrupt()?),
            cache: Some(cache),
            threads: arguments.threads,
            data: arguments.data.clone(),
            observer: Some(Box::new(Terminal::new(arguments.quiet, false))),
            ..ReportOptions::default()
        },
    ))?;
    confusion(&written.named);
    println!();
    say(&written);
    Ok(())
}

/// The wish to stop is no error.
pub fn stoppable<T>(result: ocelli::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| match error {
        ocelli::Error::Stopped => {
            eprintln!("stopped; no report was written");
            Failure::Interrupted
        }
        error => error.into(),
    })
}

/// Which classes are taken for which: the matrix of few classes, else the pairs that are confused most.
pub fn confusion(named: &Interpretation) {
    if named.is_empty() {
        println!("\nnothing was held out, so how good the model is was not measured");
        return;
    }
    let Ok(pairs) = named.most_confused(1) else { return };
    if named.classes.len() <= LISTED
        && let Ok(mut matrix) = named.confusion_matrix()
    {
        matrix.classes.iter_mut().for_each(|class| *class = shown(&class));
        println!("\nrows are what images are, columns what they are said to be\n{matrix}");
        return;
    }
    if pairs.is_empty() {
        println!("\nno class is taken for another");
        return;
    }
    println!("\nmost confused");
    for pair in pairs.iter().take(LISTED) {
        let (number, of) = (count(pair.count), count(pair.of));
        println!(
            "  {number:>5} of {of:<5} {} said to be {}",
            brief(&shown(&pair.truth)),
            brief(&shown(&pair.predicted))
        );
    }
}

/// Where things are, and what to look at first.
pub fn say(written: &Written) {
    for notice in &written.notices {
        eprintln!("note: {}", message(notice));
    }
    if let Some(errors) = &written.label_errors {
        println!(
            "labels  {} of {} likely wrong, {} in doubt",
            count(errors.likely),
            counted(errors.images, "image"),
            count(errors.suspects.len())
        );
    }
    let folder = written.page.with_file_name("results");
    println!("report  {}\ntables  {}", shown(written.page.display()), shown(folder.display()));
}
