//! `ocelli report`

use anstream::{eprintln, println};
use ocelli::default_cache;
use ocelli::report::{Report as Written, ReportOptions, report_run};

use crate::Failure;
use crate::arguments::Report;
use crate::terminal::Terminal;
use crate::train::use_threads;
use crate::words::{count, counted};

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
    say(&written);
    Ok(())
}

/// Where things are, and what to look at first.
pub fn say(written: &Written) {
    for notice in &written.notices {
        eprintln!("note: {notice}");
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
    println!("report  {}\ntables  {}", written.page.display(), folder.display());
}
