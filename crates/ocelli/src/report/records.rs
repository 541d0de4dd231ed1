//! What is read of a run's folder.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::ReportOptions;
use crate::state::State;
use crate::{Error, HeldOut, ImageData, Result, Settings};

/// What a run has written of itself.
pub(crate) struct Records {
    /// The folder's name.
    pub(crate) name: String,
    folder: PathBuf,
    /// Where relative paths of the settings begin.
    directory: PathBuf,
    pub(crate) version: String,
    pub(crate) given: String,
    pub(crate) settings: Settings,
    pub(crate) stages: Vec<StageRecord>,
    /// Columns and rows of `history.csv`.
    pub(crate) history: (Vec<String>, Vec<Vec<String>>),
    /// Columns and rows of `lr_find.csv`, if there is one.
    pub(crate) finder: Option<(Vec<String>, Vec<Vec<String>>)>,
    /// Rows of `skipped.csv`: path and reason.
    pub(crate) skipped: Vec<Vec<String>>,
    /// What people were told while it ran.
    pub(crate) notices: Vec<String>,
    /// Seconds that went into computing activations.
    pub(crate) activations: f64,
    /// Images whose activations were computed.
    pub(crate) computed: u64,
}

/// One stage of a run.
pub(crate) struct StageRecord {
    pub(crate) number: u64,
    /// "head, precomputed"
    pub(crate) title: String,
    pub(crate) seconds: f64,
    pub(crate) epochs: u64,
}

/// `config.toml`
#[derive(Deserialize)]
struct Config {
    version: String,
    given: String,
    #[serde(default)]
    directory: PathBuf,
    settings: Settings,
}

impl Records {
    /// Reads a run's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let no_run = |path: &Path, reason: String| Error::State {
            found: format!("{}: {reason}", path.display()),
            advice: "give the folder of a finished run, such as runs/photos-1",
        };
        let path = folder.join("config.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| no_run(&path, error.to_string()))?;
        let config: Config =
            toml::from_str(&text).map_err(|error| no_run(&path, error.message().to_owned()))?;
        for needed in ["model.safetensors", "predictions.csv"] {
            if !folder.join(needed).is_file() {
                return Err(no_run(folder, format!("the run has not written {needed}")));
            }
        }
        let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = absolute.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut records = Self {
            name,
            folder: folder.to_owned(),
            directory: config.directory,
            version: config.version,
            given: config.given,
            settings: config.settings,
            stages: Vec::new(),
            history: table(&folder.join("history.csv")).unwrap_or_default(),
            finder: table(&folder.join("lr_find.csv")),
            skipped: table(&folder.join("skipped.csv")).unwrap_or_default().1,
            notices: Vec::new(),
            activations: 0.0,
            computed: 0,
        };
        let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
        events
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .for_each(|event| records.add(&event));
        Ok(records)
    }

    fn add(&mut self, event: &Value) {
        match event["event"].as_str() {
            Some("stage-started") => {
                let title = serde_json::from_value::<State>(event.clone())
                    .map_or_else(|_| "training".into(), |s| s.to_string());
                let number = event["number"].as_u64().unwrap_or(0);
                let epochs = event["epochs"].as_u64().unwrap_or(0);
                self.stages.push(StageRecord { number, title, seconds: 0.0, epochs });
            }
            Some("epoch") => {
                if let Some(stage) = self.stages.last_mut() {
                    stage.seconds += event["seconds"].as_f64().unwrap_or(0.0);
                }
            }
            Some("activations") => {
                self.activations += event["seconds"].as_f64().unwrap_or(0.0);
                self.computed += event["computed"].as_u64().unwrap_or(0);
            }
            Some("notice") => self.notices.extend(event["text"].as_str().map(str::to_owned)),
            _ => {}
        }
    }

    /// A path of the settings, from where the command ran.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The run's photos, divided as the run divided them.
    pub(crate) fn data(&self, options: &ReportOptions) -> Result<ImageData> {
        let mut settings = self.settings.clone();
        settings.data = options.data.clone().unwrap_or_else(|| self.resolve(&settings.data));
        if let Some(folder) = settings.table.as_mut().and_then(|table| table.folder.as_mut()) {
            *folder = options.data.clone().unwrap_or_else(|| self.resolve(folder));
            settings.data = self.resolve(&self.settings.data);
        }
        settings.decisions = settings.decisions.map(|path| self.resolve(&path));
        settings.held_out = Some(HeldOut::File(self.folder.join("split.csv")));
        settings.image_data(options.threads).load()
    }
}

/// Columns and rows of a CSV file; nothing where there is none.
fn table(path: &Path) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).ok()?;
    let cells = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<String>>();
    let header = cells(reader.headers().ok()?);
    let rows = reader.records().filter_map(|record| Some(cells(&record.ok()?))).collect();
    Some((header, rows))
}
