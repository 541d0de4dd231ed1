//! The runs that are shown: which there are, and what is known of each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ocelli::{LrChoice, Phase, RunFolder, RunState, text_of};
use serde_json::{Value, json};

use crate::options::Error;

/// Where runs are looked for.
pub(crate) struct Folder {
    path: PathBuf,
    /// Whether it is itself a run.
    is_run: bool,
    /// What the events of each run told, by its id, as long as the file does not change.
    known: Mutex<HashMap<String, (Stamp, Value)>>,
}

/// By what it is known that a file of events has changed.
type Stamp = Option<(u64, SystemTime)>;

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let known = Mutex::default();
        if let Ok(run) = RunFolder::open(path) {
            let path = run.path().canonicalize().unwrap_or_else(|_| run.path().to_owned());
            return Ok(Self { path, is_run: true, known });
        }
        match std::fs::read_dir(path) {
            Ok(_) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
                Ok(Self { path, is_run: false, known })
            }
            Err(source) => Err(Error::Folder { path: path.to_owned(), source }),
        }
    }

    /// Whether only one run is shown.
    pub(crate) fn is_run(&self) -> bool {
        self.is_run
    }

    /// The runs there are now, by their ids. An id is the name of the run's folder; a client can ask for none but these.
    fn list(&self) -> Vec<(String, RunFolder)> {
        let paths = match self.is_run {
            true => vec![self.path.clone()],
            false => {
                let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
                entries.map(|entry| entry.path()).collect()
            }
        };
        let name = |path: &Path| path.file_name().map_or_else(|| "run".to_owned(), text_of);
        let runs = paths.into_iter().filter_map(|path| Some((name(&path), RunFolder::open(&path).ok()?)));
        let mut runs: Vec<(String, RunFolder)> =
            runs.filter(|(_, run)| run.path().is_dir() && run.events().is_file()).collect();
        runs.sort_by(|one, other| one.0.cmp(&other.0));
        runs
    }

    pub(crate) fn run(&self, id: &str) -> Option<RunFolder> {
        self.list().into_iter().find(|(name, _)| name == id).map(|(_, run)| run)
    }

    /// A line of the list for each run.
    pub(crate) fn summaries(&self) -> Vec<Value> {
        self.list().iter().map(|(id, run)| self.summary(id, run)).collect()
    }

    fn summary(&self, id: &str, run: &RunFolder) -> Value {
        let stamp = stamp(run);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let told = match known.get(id) {
            Some((of, told)) if *of == stamp => told.clone(),
            _ => {
                let told = told(run);
                known.insert(id.to_owned(), (stamp, told.clone()));
                told
            }
        };
        drop(known);
        let mut summary = json!({ "id": id, "state": run.state(), "idle": idle(run) });
        let fields = summary.as_object_mut().zip(told.as_object());
        if let Some((summary, told)) = fields {
            summary.extend(told.clone());
        }
        summary
    }
}

fn stamp(run: &RunFolder) -> Stamp {
    let found = std::fs::metadata(run.events()).ok()?;
    Some((found.len(), found.modified().ok()?))
}

/// Seconds since the last event.
pub(crate) fn idle(run: &RunFolder) -> f64 {
    let since = stamp(run).and_then(|(_, modified)| modified.elapsed().ok());
    since.unwrap_or(Duration::ZERO).as_secs_f64()
}

/// What settings and events tell of a run: what it is, and its epochs.
fn told(run: &RunFolder) -> Value {
    let settings = run.settings().ok();
    let text = std::fs::read(run.events()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let (mut epochs, mut finished, mut goes_on) = (Vec::new(), Value::Null, true);
    for event in text.lines().filter_map(RunFolder::event) {
        match event["event"].as_str() {
            Some("epoch") => {
                // A resumed run repeats what it had not saved.
                let at = |epoch: &Value| (epoch["fit"].as_u64(), epoch["epoch"].as_u64());
                epochs.retain(|earlier| at(earlier) < at(&event));
                epochs.push(event);
            }
            Some("decision") => goes_on = event["goes_on"] != false,
            Some("finished") => finished = event,
            _ => {}
        }
    }
    let settings = settings.map(|settings| settings.settings);
    json!({
        "data": settings.as_ref().map(|settings| text_of(settings.data.as_os_str())),
        "arch": settings.as_ref().map(|settings| &settings.arch),
        "size": settings.as_ref().map(|settings| settings.size),
        "seed": settings.as_ref().map(|settings| settings.seed),
        "planned": settings.as_ref().map(|settings| planned(&settings.recipe.phases, goes_on)),
        "epochs": epochs,
        "finished": finished,
    })
}

/// The number of epochs of a recipe; if it does not go on, up to where it decided so.
fn planned(phases: &[Phase], goes_on: bool) -> usize {
    let phases = phases.iter().take_while(|phase| goes_on || **phase != Phase::EndUnlessPromising);
    let epochs = phases.map(|phase| match phase {
        Phase::Train(train) => train.schedule.epochs(),
        Phase::LogisticRegression(_) => 1,
        _ => 0,
    });
    epochs.sum()
}

/// All about a run but its events.
pub(crate) fn described(id: &str, run: &RunFolder, can_continue: bool) -> Value {
    let state = run.state();
    let settings = run.settings();
    let unreadable = settings.as_ref().err().map(ToString::to_string);
    let settings = settings.ok();
    let phases = settings.as_ref().map(|settings| phases(&settings.settings.recipe.phases));
    // Every run has a recipe; what a learner does is not planned.
    let is_learner = phases.as_ref().is_some_and(Vec::is_empty);
    json!({
        "id": id,
        "state": state,
        "idle": idle(run),
        "report": run.path().join("report.html").is_file(),
        "is_learner": is_learner,
        "can_stop": state == RunState::Running,
        "can_continue": can_continue && !is_learner && matches!(state, RunState::Stopped | RunState::Interrupted),
        "path": text_of(run.path().as_os_str()),
        "version": settings.as_ref().map(|settings| &settings.version),
        "command": settings.as_ref().map(|settings| &settings.given),
        "phases": phases,
        "settings": settings.as_ref().map(|settings| &settings.settings),
        "unreadable": unreadable,
    })
}

/// The phases of a recipe, each for people.
fn phases(phases: &[Phase]) -> Vec<Value> {
    let phase = |phase: &Phase| match phase {
        Phase::Train(train) => json!({
            "kind": "train",
            "title": train.freezing.to_string(),
            "epochs": train.schedule.epochs(),
            "finder": matches!(train.lr, LrChoice::Finder { .. }),
        }),
        Phase::LogisticRegression(_) => {
            json!({ "kind": "train", "title": "head, logistic regression", "epochs": 1, "finder": false })
        }
        Phase::Resize { size } => {
            json!({ "kind": "resize", "title": format!("images of {size} pixels") })
        }
        Phase::EndUnlessPromising => {
            json!({ "kind": "end", "title": "whether to train all layers" })
        }
        _ => json!({ "kind": "tta", "title": "test-time augmentation" }),
    };
    phases.iter().map(phase).collect()
}
