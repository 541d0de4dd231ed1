//! The report at the end of a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ocelli::{Observer, Run, RunResult, Stop, timeline};
use ocelli_report::{ReportOptions, report_run};

use crate::errors::Failure;
use crate::interrupt::{finish_batch, stopped};
use crate::output::{eprintln, message, path_line, println, quoted, shown};
use crate::terminal;
use crate::verbs::train::Train;

impl Train {
    /// Writes the report, and returns its page. Even without its report the run is finished.
    pub(super) fn report(
        &self,
        training: &Run,
        outcome: &RunResult,
        cache: &Path,
        stop: Arc<AtomicBool>,
    ) -> Result<Option<PathBuf>, Failure> {
        let run = training.run_folder().path();
        let _span = timeline::span("report");
        match report_run(run, self.report_options(cache, stop)) {
            Ok(report) => Ok(Some(report.page)),
            Err(ocelli::Error::Stopped) => {
                let model = shown(outcome.model.display());
                let run = quoted(run.as_os_str());
                eprintln!(
                    "stopped; the model is written: {model}. To write its report:  ocelli report {run}"
                );
                Err(Failure::Interrupted)
            }
            Err(error) => {
                eprintln!("   note: no report was written: {}", message(error));
                Ok(None)
            }
        }
    }

    pub(super) fn write_missing_report(&self, run: &Path, model: &Path, cache: &Path) -> Result<(), Failure> {
        let report = report_run(run, self.report_options(cache, finish_batch()));
        let report = stopped(report, "no report was written")?;
        if self.output.quiet {
            path_line(model);
        } else {
            println!(
                "this run is finished; its report was missing and is written: {}",
                shown(report.page.display())
            );
        }
        Ok(())
    }

    fn report_options(&self, cache: &Path, stop: Arc<AtomicBool>) -> ReportOptions {
        ReportOptions {
            cache: Some(cache.to_owned()),
            threads: self.compute.threads.threads,
            only_cached_features: true,
            data: self.moved_to.clone(),
            stop: Stop::new(stop),
            observer: (!self.output.quiet).then(|| Box::new(terminal::progress_alone()) as Box<dyn Observer>),
        }
    }
}
