//! What is read of a run's folder.

use std::path::{Path, PathBuf};

use ocelli_data::io_reason;
use ocelli_nn::GROUPS;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ReportOptions;
use crate::fit::batches_per_epoch;
use crate::recipe::Step;
use crate::recorded::Recorded;
use crate::state::{GROUP_NAMES, State};
use crate::training::Config;
use crate::{Error, Finding, ImageData, LearningRates, LrCurve, Result, Settings};

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
    /// What the learning rate finder saw, search by search.
    pub(crate) searches: Vec<SearchRecord>,
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
    pub(crate) number: usize,
    /// "head, precomputed"
    pub(crate) title: String,
    pub(crate) seconds: f64,
    pub(crate) epochs: usize,
    /// The number of frozen layer groups.
    pub(crate) frozen: usize,
    /// The peaks of the learning rates.
    pub(crate) rates: LearningRates,
}

/// One search of the learning rate finder.
#[derive(Serialize, Deserialize)]
pub(crate) struct SearchRecord {
    /// The stage that it was for.
    stage: usize,
    /// What was gone on with.
    rates: LearningRates,
    /// What the curve says of the head's, if it is of use.
    finding: Option<Finding>,
    /// Why it is not.
    doubt: Option<String>,
    curve: LrCurve,
}

/// The learning rates of some steps of a run.
#[derive(Serialize)]
pub(crate) struct RateCurve {
    /// The layer group, or all of them.
    pub(crate) name: &'static str,
    /// Epochs since the start, and the rate; nothing where the group is frozen.
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// Points of a curve of learning rates, about.
const RATE_POINTS: usize = 600;

impl Records {
    /// Reads a run's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let no_run = |path: &Path, reason: String| Error::State {
            found: format!("{}: {reason}", path.display()),
            advice: "give the folder of a finished run, such as runs/photos-1",
        };
        let path = folder.join("config.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| no_run(&path, io_reason(&error)))?;
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
            searches: Vec::new(),
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
                let state = serde_json::from_value::<State>(event.clone()).ok();
                let title = state.map_or_else(|| "training".to_owned(), |state| state.to_string());
                let frozen = state.map_or(0, State::frozen);
                let number = event["number"].as_u64().unwrap_or(0) as usize;
                let epochs = event["epochs"].as_u64().unwrap_or(0) as usize;
                let rates = serde_json::from_value(event["learning_rates"].clone())
                    .unwrap_or(LearningRates::from(0.0));
                // A stage that was interrupted before its first checkpoint begins again.
                self.stages.retain(|stage| stage.number != number);
                self.stages.push(StageRecord { number, title, seconds: 0.0, epochs, frozen, rates });
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
            Some("rate-found") => {
                if let Ok(search) = serde_json::from_value::<SearchRecord>(event.clone()) {
                    self.searches.retain(|other| other.stage != search.stage);
                    self.searches.push(search);
                }
            }
            Some("notice") => self.notices.extend(event["text"].as_str().map(str::to_owned)),
            _ => {}
        }
    }

    /// A column of `history.csv` as numbers; nothing where a cell holds none. Nothing at all where there is no such
    /// column.
    pub(crate) fn column(&self, name: &str) -> Option<Vec<Option<f64>>> {
        let (columns, rows) = &self.history;
        let place = columns.iter().position(|column| column == name)?;
        Some(rows.iter().map(|row| row.get(place)?.parse().ok()).collect())
    }

    /// The learning rates of the steps that the run took, by its schedules: one curve where all layers have the same,
    /// else one a layer group. Long runs are told with fewer points.
    pub(crate) fn rate_curves(&self, training_images: usize) -> Vec<RateCurve> {
        let steps = batches_per_epoch(training_images, self.settings.batch_size);
        let epochs_of = |number: usize| {
            let stages = self.column("stage").unwrap_or_default();
            stages.iter().filter(|stage| **stage == Some(number as f64)).count()
        };
        let stride = (steps * self.history.1.len()).div_ceil(RATE_POINTS).max(1);
        let (mut before, mut points) = (0, [const { Vec::new() }; GROUPS]);
        for stage in &self.stages {
            let Some(Step::Train(train)) = self.settings.recipe.steps.get(stage.number.wrapping_sub(1))
            else {
                continue;
            };
            let epochs = epochs_of(stage.number);
            // The ends of epochs are where schedules jump.
            let at_end = |step: usize| step.is_multiple_of(steps) || (step + 1).is_multiple_of(steps);
            let told = |step: &usize| step.is_multiple_of(stride) || at_end(*step);
            for step in (0..epochs * steps).filter(told) {
                let at = before as f64 + step as f64 / steps as f64;
                let rates = stage.rates.scaled(train.schedule.at(step, steps).factor);
                for (group, points) in points.iter_mut().enumerate() {
                    points.push((at, (group >= stage.frozen).then_some(rates.0[group])));
                }
            }
            before += epochs;
        }
        if points[0] == points[GROUPS - 1] {
            let [.., points] = points;
            return vec![RateCurve { name: "all layers", points }];
        }
        let curves = points.into_iter().zip(GROUP_NAMES).map(|(points, name)| RateCurve { name, points });
        curves.filter(|curve| curve.points.iter().any(|point| point.1.is_some())).collect()
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
        // Photos that have come since are no part of the run.
        settings.image_data(options.threads).recorded(Recorded::read(&self.folder, true)?).load()
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
