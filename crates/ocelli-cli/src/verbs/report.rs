//! `ocelli report`

use std::path::PathBuf;

use clap::Args;
use ocelli::{Interpretation, Stop};
use ocelli_report::{Report as Written, ReportOptions, report_run};

use crate::errors::Failure;
use crate::flags::{CacheFlags, ThreadFlags};
use crate::interrupt::{finish_batch, stopped};
use crate::output::{eprintln, message, println, shown};
use crate::terminal::Terminal;
use crate::text::{count, counted};
use crate::verbs::train::confused;

/// Write the report of a run
///
/// Writes report.html, a page that works offline, and its tables as CSV and JSON in results/, both in the run
/// folder. `ocelli train` does so at its end; this does it again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli report runs/photos-1
  ocelli report runs/photos-1 --data /media/photos")]
pub struct Report {
    /// Folder of a finished run, or the model in it
    run: PathBuf,

    /// Where the photos are now, if they have been moved
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Print only the result
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    cache: CacheFlags,
    #[command(flatten)]
    threads: ThreadFlags,
}

/// The most classes, and pairs of them, that are listed; the tables have all.
pub const LISTED: usize = 12;

impl Report {
    pub fn run(&self) -> Result<(), Failure> {
        let options = ReportOptions {
            threads: self.threads.start()?,
            cache: Some(self.cache.folder()?),
            stop: Stop::new(finish_batch()),
            data: self.data.clone(),
            observer: Some(Box::new(Terminal::new(self.quiet, false))),
            ..ReportOptions::default()
        };
        let written = stopped(report_run(&self.run, options), "no report was written")?;
        print_confusion(&written.named);
        println!();
        print_paths(&written, &[]);
        Ok(())
    }
}

/// Prints the confusion matrix of few classes, else the most confused pairs.
pub fn print_confusion(named: &Interpretation) {
    if named.is_empty() {
        println!("\nnot evaluated: no validation images");
        return;
    }
    let Ok(pairs) = named.most_confused(1) else { return };
    if named.classes.len() <= LISTED
        && let Ok(mut matrix) = named.confusion_matrix()
    {
        matrix.classes.iter_mut().for_each(|class| *class = shown(&class));
        println!("\nconfusion matrix (rows: true classes, columns: predictions)\n{matrix}");
        return;
    }
    if pairs.is_empty() {
        println!("\nno class is confused with another");
        return;
    }
    println!("\nmost confused");
    for pair in pairs.iter().take(LISTED) {
        println!("  {}", confused(&pair.truth, &pair.predicted, pair.count, pair.of));
    }
}

/// Prints where the files are, and the notices that were not printed before.
pub fn print_paths(written: &Written, printed: &[String]) {
    for notice in written.notices.iter().filter(|notice| !printed.contains(notice)) {
        eprintln!("note: {}", message(notice));
    }
    match &written.label_errors {
        Some(errors) if errors.better_than_chance => println!(
            "labels  {} of {} likely wrong, {} suspicious",
            count(errors.likely),
            counted(errors.images, "image"),
            count(errors.suspects.len())
        ),
        Some(_) => println!("labels  not searched: the predictions are not significantly better than chance"),
        None => {}
    }
    let folder = written.page.with_file_name("results");
    println!("report  {}\ntables  {}", shown(written.page.display()), shown(folder.display()));
}
