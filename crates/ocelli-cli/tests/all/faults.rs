//! As SQLite does: every step of the files layer fails, or ends the process, in turn. What is left is never believed to be
//! what it is not, and the run is gone on with to the same bits.
//!
//! A few of the steps are tried here; `ci/faults` tries all.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{Place, rows, stderr, two_phases};

const KINDS: [&str; 5] = ["kill", "eio", "power", "enospc", "short"];

/// Results of which every byte must be the same.
const RESULTS: [&str; 4] = ["model.safetensors", "predictions.csv", "split.csv", "skipped.csv"];

struct Trials {
    place: Place,
    /// What a run comes to that nothing disturbs.
    wanted: (Vec<String>, Vec<Vec<u8>>),
    /// The steps of such a run, a line each.
    steps: Vec<String>,
}

impl Trials {
    fn new() -> Self {
        let place = Place::with_photos(4);
        let log = place.path("log");
        let fault = format!("log:{}", log.display());
        let output =
            command(&place, &["--out", "undisturbed"], "undisturbed-cache", Some(&fault)).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let steps = fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect();
        let mut trials = Self { place, wanted: Default::default(), steps };
        trials.wanted = trials.result("undisturbed").unwrap();
        trials
    }

    fn result(&self, run: &str) -> Option<(Vec<String>, Vec<Vec<u8>>)> {
        let run = self.place.path(run);
        let read = |name: &str| fs::read(run.join(name)).ok();
        let history = String::from_utf8(read("history.csv")?).ok()?;
        Some((rows(&history), RESULTS.into_iter().map(read).collect::<Option<_>>()?))
    }

    /// Lets a step fail, of a new run or of one that is resumed, and goes on with what is left.
    fn assert_survives(&self, run: &str, fault: &str) {
        let cache = format!("{run}-cache");
        let fresh = !self.place.path(run).join("config.toml").exists();
        let disturbed = self.go_on(run, fresh, &cache, Some(fault));
        let first = stderr(&disturbed);
        assert!(!first.contains("panicked"), "{run} {fault}: {first}");
        let begun = self.place.path(run).join("config.toml").exists();
        // Twice at most: it is finished, or it has no report yet.
        let output = self.go_on(run, !begun, &cache, None);
        let said = stderr(&output);
        let finished = said.contains("is finished");
        assert!(output.status.success() || finished, "{run} {fault}: {first}\nthen: {said}");
        if let Some((history, files)) = self.result(run) {
            assert_eq!(history, self.wanted.0, "{run} {fault}");
            for ((name, found), wanted) in RESULTS.iter().zip(&files).zip(&self.wanted.1) {
                assert!(found == wanted, "{run} {fault}: {name} is not the same");
            }
        } else {
            panic!("{run} {fault}: results are missing: {first}\nthen: {said}");
        }
        for name in ["report.html", "checksums.b3"] {
            assert!(
                self.place.path(run).join(name).exists(),
                "{run} {fault}: no {name}: {first}\nthen: {said}"
            );
        }
        // A report that was killed leaves its own; they go when they are old.
        for folder in ["", "checkpoints"] {
            for entry in fs::read_dir(self.place.path(run).join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(
                    !name.starts_with(".writing-") || finished || !begun,
                    "{run} {fault}: {folder}/{name}"
                );
            }
        }
        fs::remove_dir_all(self.place.path(run)).unwrap();
        let _ = fs::remove_dir_all(self.place.path(&cache));
    }

    fn go_on(&self, run: &str, fresh: bool, cache: &str, fault: Option<&str>) -> Output {
        let arguments: &[&str] = if fresh { &["--out", run] } else { &["--resume", run] };
        command(&self.place, arguments, cache, fault).output().unwrap()
    }

    /// A run that was killed at this step, to be resumed.
    fn killed_at(&self, step: usize, run: &str) {
        let output = self.go_on(run, true, &format!("{run}-cache"), Some(&format!("{step}:kill")));
        assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
    }
}

fn command(place: &Place, arguments: &[&str], cache: &str, fault: Option<&str>) -> Command {
    let arguments = match arguments {
        ["--out", _] => two_phases("1", arguments),
        _ => [&["train"], arguments].concat(),
    };
    let mut command = place.ocelli(&arguments);
    command.env("OCELLI_CACHE", place.path(cache)).stdin(Stdio::null());
    if let Some(fault) = fault {
        command.env("OCELLI_FAULT", fault);
    }
    command
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn some_steps_that_fail_leave_nothing_wrong_and_the_run_goes_on_to_the_same_bits() {
    let trials = Trials::new();
    let before_report = trials.steps.iter().rposition(|step| step.contains("checksums.b3")).unwrap() + 2;
    for trial in 0..10 {
        let step = 1 + (before_report * trial + before_report / 2) / 10;
        trials.assert_survives(&format!("run-{trial}"), &format!("{step}:{}", KINDS[trial % KINDS.len()]));
    }
    // The report, and a run that is resumed.
    let report = before_report + (trials.steps.len() - before_report) / 2;
    trials.assert_survives("report", &format!("{report}:kill"));
    let middle = trials
        .steps
        .iter()
        .rposition(|step| step.contains("Rename") && step.contains("checkpoint-"))
        .unwrap();
    trials.killed_at(middle, "resumed");
    trials.assert_survives("resumed", "12:power");
}

#[test]
#[ignore = "takes half an hour: ci/faults"]
fn every_step_that_fails_leaves_nothing_wrong_and_the_run_goes_on_to_the_same_bits() {
    let number = |name: &str, usual: usize| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
    };
    let trials = Trials::new();
    let before_report = trials.steps.iter().rposition(|step| step.contains("checksums.b3")).unwrap() + 2;
    let all = trials.steps.len();
    println!("{all} steps, {before_report} of them before the report");
    let (first, share, shares) =
        (number("OCELLI_FAULTS_FROM", 1), number("OCELLI_FAULTS_PART", 0), number("OCELLI_FAULTS_PARTS", 1));
    let mut count = 0;
    for step in first..=all {
        for (place, kind) in KINDS.iter().enumerate() {
            // The steps of the report are alike, and nothing is resumed from them.
            if step % shares != share || step > before_report && (place > 0 || step % 8 != 0) {
                continue;
            }
            trials.assert_survives(&format!("run-{step}-{kind}"), &format!("{step}:{kind}"));
            count += 1;
        }
    }
    println!("{count} faults in new runs");
    // What is resumed has steps of its own: to the end of the first checkpoint that it writes.
    let middle = trials
        .steps
        .iter()
        .rposition(|step| step.contains("Rename") && step.contains("checkpoint-"))
        .unwrap();
    trials.killed_at(middle, "killed");
    let mut count = 0;
    for step in 1..=60 {
        for kind in KINDS {
            if step % shares != share {
                continue;
            }
            let run = format!("again-{step}-{kind}");
            copy(&trials.place.path("killed"), &trials.place.path(&run));
            copy(&trials.place.path("killed-cache"), &trials.place.path(&format!("{run}-cache")));
            trials.assert_survives(&run, &format!("{step}:{kind}"));
            count += 1;
        }
    }
    println!("{count} faults in a resumed run");
}
