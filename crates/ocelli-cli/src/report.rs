//! `ocelli report`

use crate::output::{eprintln, println, shown};
use ocelli::report::{Report as Written, ReportOptions, report_run};
use ocelli::{Interpretation, default_cache};

use crate::Failure;
use crate::arguments::Report;
use crate::terminal::Terminal;
use crate::train::use_threads;
use crate::words::{count, counted};

/// Classes and pairs that are listed; all are in the tables.
pub const LISTED: usize = 12;

pub fn run(arguments: &Report) -> Result<(), Failure> {
    use_threads(arguments.threads)?;
    let cache = match &arguments.cache {
        Some(folder) => folder.clone(),
        None => default_cache()?,
    };
    let written = report_run(
        &arguments.run,
        ReportOptions {
            cache: Some(cache),
            threads: arguments.threads,
            data: arguments.data.clone(),
            observer: Some(Box::new(Terminal::new(arguments.quiet, false))),
            ..ReportOptions::default()
        },
    )?;
    confusion(&written.named);
    println!();
    say(&written);
    Ok(())
}

/// Which classes are taken for which: the matrix of few classes, else the pairs that are confused most.
pub fn confusion(named: &Interpretation) {
    let Ok(mut matrix) = named.confusion_matrix() else { return };
    matrix.classes.iter_mut().for_each(|class| *class = shown(&class));
    if matrix.classes.len() <= LISTED {
        println!("\nrows are what images are, columns what they are said to be\n{matrix}");
        return;
    }
    let pairs = matrix.most_confused(1);
    if pairs.is_empty() {
        println!("\nno class is taken for another");
        return;
    }
    println!("\nmost confused");
    for pair in pairs.iter().take(LISTED) {
        let (number, of) = (count(pair.count), count(pair.of));
        println!("  {number:>5} of {of:<5} {} said to be {}", shown(&pair.truth), shown(&pair.predicted));
    }
}

/// Where things are, and what to look at first.
pub fn say(written: &Written) {
    for notice in &written.notices {
        eprintln!("note: {}", shown(notice));
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
