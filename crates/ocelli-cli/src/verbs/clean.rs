//! `ocelli clean`

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::clean::{CleanOptions, LabelCleaning};
use ocelli::{RunConfig, Stop, photos_of_run};
use ocelli_serve::{Cleaning, TrainCommand};

use crate::errors::Failure;
use crate::flags::listen::{ListenFlags, Log};
use crate::flags::{CacheFlags, ThreadFlags};
use crate::interrupt::{finish_batch, stopped};
use crate::invocation;
use crate::output::{eprintln, message, shown};
use crate::terminal::Terminal;
use crate::text::counted;

/// Clean labels in the browser, and train again with them
///
/// Opens a page at the printed address: training photos whose labels are likely wrong, duplicates, outliers, and the
/// photos of each class, each beside what a network says that was not trained on it, and the photos most like it. Keys
/// keep a label (K), change it (R, or 1 to 9), drop a photo (D) and undo (U).
///
/// Decisions are saved at once, to decisions.csv in the run's folder, as train --decisions takes it; nothing is written
/// among the photos. Held-out photos are not listed: what runs are measured by stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli clean runs/photos-1
  ocelli clean photos --port 9000")]
pub struct Clean {
    /// Folder of a finished run, or of photos with a run in runs/
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Where the photos are now, if they have been moved
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    listen: ListenFlags,
    #[command(flatten)]
    cache: CacheFlags,
    #[command(flatten)]
    threads: ThreadFlags,
}

impl Clean {
    pub fn run(&self) -> Result<(), Failure> {
        let threads = self.threads.start()?;
        let listening = self.listen.listening(Log::None)?;
        let cache = self.cache.folder()?;
        let run = run_of(&self.run)?;
        let options = CleanOptions {
            cache: Some(cache.clone()),
            threads,
            data: self.data.clone(),
            observer: Some(Box::new(Terminal::new(false, false))),
            stop: Stop::new(finish_batch()),
        };
        let opened = LabelCleaning::open(&run, options);
        let cleaning = stopped(opened, "features that were computed so far are cached")?;
        for notice in cleaning.notices() {
            eprintln!("note: {}", message(notice));
        }
        let (suspects, likely) = cleaning.suspects();
        let what = match cleaning.better_than_chance() {
            true => format!("{likely} likely wrong, {} suspicious", suspects.len()),
            false => "not searched for wrong ones, as predictions are no better than chance".to_owned(),
        };
        let what = format!("{}: {what}", counted(cleaning.len(), "label"));
        let command = self.command(&cleaning, &cache)?;
        listening.run(Cleaning::new(cleaning, command), &what)
    }

    /// How a next run is started; `None` where the photos of a table were moved, whose flags the run does not have.
    fn command(&self, cleaning: &LabelCleaning, cache: &Path) -> Result<Option<TrainCommand>, Failure> {
        let run = cleaning.run();
        let as_recorded = RunConfig::read(run.folder.join("config.toml"))?.data;
        let moved = photos_of_run(&run.folder).filter(|_| !as_recorded.exists());
        let moved = self.data.clone().or(moved);
        if moved.is_some() && run.settings.table.is_some() {
            return Ok(None);
        }
        let mut arguments: Vec<OsString> = Vec::new();
        arguments.extend(moved.map(|data| std::path::absolute(&data).unwrap_or(data).into()));
        arguments.extend(["--cache".into(), cache.into()]);
        arguments.extend(["--threads".into(), self.threads.threads.to_string().into()]);
        Ok(invocation::program().map(|program| TrainCommand { program, arguments, interrupt }))
    }
}

/// The run that is meant: given by its folder or model, or the newest finished one on these photos.
fn run_of(path: &Path) -> Result<PathBuf, Failure> {
    if !path.exists() {
        return Err(Failure::Error(format!(
            "{}: it does not exist; give the folder of a finished run such as runs/photos-1, or the photos of one",
            shown(path.display())
        )));
    }
    if path.is_file() || path.join("config.toml").is_file() {
        return Ok(path.to_owned());
    }
    let photos = path.canonicalize().map_err(|error| {
        Failure::Error(format!("{}: {}", shown(path.display()), ocelli::io_reason(&error)))
    })?;
    let (runs, _) = ocelli::outside("runs", &[path])?;
    let finished = std::fs::read_dir(&runs).into_iter().flatten().flatten().filter_map(|entry| {
        let run = entry.path();
        let of = photos_of_run(&run)?.canonicalize().ok()?;
        let ended = run.join("checksums.b3").metadata().and_then(|file| file.modified()).ok()?;
        (of == photos).then_some((ended, run))
    });
    finished.max().map(|(_, run)| run).ok_or_else(|| {
        let (data, runs) = (shown(path.display()), shown(runs.display()));
        Failure::Error(format!(
            "{data}: no finished run in {runs} was trained on these photos, and suspicious labels are found by one; \
             train first: ocelli train {data}"
        ))
    })
}

/// Asks a process to end, as Ctrl-C does.
#[cfg(unix)]
fn interrupt(process: u32) {
    use nix::sys::signal::{Signal, kill};
    if let Ok(process) = i32::try_from(process) {
        // It may have ended meanwhile.
        let _ = kill(nix::unistd::Pid::from_raw(process), Signal::SIGINT);
    }
}

/// Asks a process to end.
#[cfg(not(unix))]
fn interrupt(process: u32) {
    let _ = std::process::Command::new("taskkill").args(["/T", "/F", "/PID", &process.to_string()]).output();
}
