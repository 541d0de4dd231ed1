//! "Train again": a run with the decisions, in a process of its own, and how its figures compare.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::StatusCode;
use ocelli::clean::LabelCleaning;
use ocelli::finished::{FinishedRun, history};
use ocelli::interpret::{Comparison, Flip};
use ocelli::{Proportion, text_of};
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// How a run is started: `ocelli train`.
#[derive(Debug, Clone)]
pub struct TrainCommand {
    /// The program.
    pub program: PathBuf,
    /// Further arguments of `train`, such as the cache folder.
    pub arguments: Vec<OsString>,
    /// Asks a process, by its number, to end as Ctrl-C does.
    pub interrupt: fn(u32),
}

/// Starts runs, one at a time.
pub(super) struct Trainer {
    cleaning: Arc<LabelCleaning>,
    command: TrainCommand,
    current: Mutex<Option<Training>>,
}

/// A run that was started.
struct Training {
    folder: PathBuf,
    decisions: usize,
    missing: Vec<String>,
    stop: Arc<AtomicBool>,
    outcome: Arc<Mutex<Outcome>>,
    watcher: Option<JoinHandle<()>>,
}

enum Outcome {
    Trains,
    Compared(Box<Value>),
    /// It is not comparable, for this reason.
    NotComparable(String),
    Stopped,
    Failed(String),
}

/// How often it is looked whether the process has ended.
const TICK: Duration = Duration::from_millis(100);
/// The longest error of a process that is shown, in bytes.
const LONGEST: usize = 4000;
/// The most photos whose predictions changed that are listed.
const LISTED: usize = 8;

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trainer {
    pub(super) fn new(cleaning: Arc<LabelCleaning>, command: TrainCommand) -> Self {
        Self { cleaning, command, current: Mutex::new(None) }
    }

    /// Starts a run with all decisions.
    pub(super) fn start(&self) -> Result<(), Refusal> {
        let mut current = locked(&self.current);
        if current.as_ref().is_some_and(|training| matches!(*locked(&training.outcome), Outcome::Trains)) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "a run is training already; wait for its end, or stop it",
            ));
        }
        let failed = |error: &dyn std::fmt::Display| {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        };
        if self.cleaning.decisions().map_err(|error| failed(&error))?.is_empty() {
            return Err(Refusal::new(StatusCode::CONFLICT, "nothing is decided yet"));
        }
        let (folder, decisions) = self.cleaning.prepare_training().map_err(|error| failed(&error))?;
        let run = &self.cleaning.run().folder;
        let run = run.canonicalize().unwrap_or_else(|_| run.clone());
        let mut command = Command::new(&self.command.program);
        command.arg("train").args(&self.command.arguments);
        // The same held-out photos, whatever the seed would draw.
        command.arg("--config").arg(run.join("config.toml")).arg("--split").arg(run.join("split.csv"));
        command.arg("--decisions").arg(&decisions.path).arg("--out").arg(&folder).arg("--quiet");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C in the terminal reaches this process alone, which passes it on once: a second one ends a run at once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|error| {
            let program = self.command.program.display();
            failed(&format!("cannot start {program}: {}", ocelli::io_reason(&error)))
        })?;
        let (stop, outcome) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Outcome::Trains)));
        let watcher = {
            let (stop, outcome, folder) = (stop.clone(), outcome.clone(), folder.clone());
            let (cleaning, interrupt) = (self.cleaning.clone(), self.command.interrupt);
            std::thread::spawn(move || {
                let ended = watch(child, &stop, interrupt);
                let result = ended.unwrap_or_else(|| compared(&cleaning, &folder));
                *locked(&outcome) = result;
            })
        };
        *current = Some(Training {
            folder,
            decisions: decisions.decisions,
            missing: decisions.missing,
            stop,
            outcome,
            watcher: Some(watcher),
        });
        Ok(())
    }

    /// Asks the run to stop.
    pub(super) fn stop(&self) {
        if let Some(training) = &*locked(&self.current) {
            training.stop.store(true, Ordering::SeqCst);
        }
    }

    /// The run that was started last; null where there is none.
    pub(super) fn status(&self) -> Value {
        let current = locked(&self.current);
        let Some(training) = &*current else { return Value::Null };
        let (columns, rows) = history(&training.folder);
        let name = training.folder.file_name().map(text_of).unwrap_or_default();
        let mut status = json!({
            "run": name,
            "folder": text_of(&training.folder),
            "decisions": training.decisions,
            "missing": training.missing,
            "columns": columns,
            "rows": rows,
        });
        let (state, more) = match &*locked(&training.outcome) {
            Outcome::Trains => ("trains", Value::Null),
            Outcome::Compared(comparison) => ("finished", (**comparison).clone()),
            Outcome::NotComparable(reason) => ("not-comparable", json!(reason)),
            Outcome::Stopped => ("stopped", Value::Null),
            Outcome::Failed(reason) => ("failed", json!(reason)),
        };
        status["state"] = json!(state);
        status["result"] = more;
        status
    }
}

impl Drop for Trainer {
    /// A run that still trains is asked to end, and writes a checkpoint, from which it can be resumed.
    fn drop(&mut self) {
        self.stop();
        let training = locked(&self.current).take();
        if let Some(watcher) = training.and_then(|mut training| training.watcher.take()) {
            let _ = watcher.join();
        }
    }
}

/// Waits for the end of a process; `None` where it has done its work.
fn watch(mut child: Child, stop: &AtomicBool, interrupt: fn(u32)) -> Option<Outcome> {
    let mut stderr = child.stderr.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut end: Vec<u8> = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut buffer) {
            end.extend(&buffer[..read]);
            let surplus = end.len().saturating_sub(LONGEST);
            end.drain(..surplus);
        }
        String::from_utf8_lossy(&end).trim().to_owned()
    });
    let mut asked = false;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) => {}
            Err(error) => break Err(error),
        }
        if !asked && stop.load(Ordering::SeqCst) {
            asked = true;
            interrupt(child.id());
        }
        std::thread::sleep(TICK);
    };
    let printed = reader.join().unwrap_or_default();
    match status {
        Ok(status) if status.success() => None,
        Ok(_) if asked => Some(Outcome::Stopped),
        Ok(status) => {
            let reason = if printed.is_empty() { format!("training ended with {status}") } else { printed };
            Some(Outcome::Failed(reason))
        }
        Err(error) => Some(Outcome::Failed(ocelli::io_reason(&error))),
    }
}

/// The comparison of `ocelli compare`.
fn compared(cleaning: &LabelCleaning, folder: &std::path::Path) -> Outcome {
    let compared = FinishedRun::open(folder).and_then(|next| cleaning.run().compare(&next));
    match compared {
        Ok(comparison) => Outcome::Compared(Box::new(as_json(&comparison))),
        Err(error) => Outcome::NotComparable(error.to_string()),
    }
}

fn as_json(comparison: &Comparison) -> Value {
    let accuracy = |correct: Proportion| {
        let (low, high) = correct.interval();
        json!({ "value": correct.value(), "low": low, "high": high, "correct": correct.count, "images": correct.total })
    };
    let flips = |flips: &[Flip]| json!({ "count": flips.len(), "first": flips.iter().take(LISTED).collect::<Vec<_>>() });
    json!({
        "before": accuracy(comparison.first),
        "after": accuracy(comparison.second),
        "p_value": comparison.p_value,
        "corrected": flips(&comparison.wrong_to_right),
        "lost": flips(&comparison.right_to_wrong),
    })
}
