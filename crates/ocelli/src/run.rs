//! The run folder: all that a run made, in plain files.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ocelli_data::{Skipped, escape_formula, text_of};
use serde::Serialize;

use crate::event::Event;
use crate::{EpochRow, Error, Metric, Observer, Result, file};

/// A folder for the results of one run.
///
/// ```text
/// config.toml         every setting, as given and as resolved
/// history.csv         a row an epoch: stage, epoch, losses, metrics, learning rates, seconds
/// lr_find-1.csv …     what the learning rate finder saw before stage 1, also as PNG and SVG
/// checkpoints/        the last ones, and the best weights as models
/// events.jsonl        all that happened, a JSON object a line
/// split.csv           which images were trained on, and which were held out
/// photos.csv          which images there were: id, label, and a digest of the file, by which a resumed run knows them
/// predictions.csv     what the model says of the held-out images: id, label, decision, loss, probabilities
/// skipped.csv         what was left out, and why
/// model.safetensors   the model
/// ```
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder that was asked for.
    ///
    /// # Errors
    /// [`Error::RunExists`] where it holds anything.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        let mut entries = fs::read_dir(&path).map_err(Error::io("read", &path))?;
        match entries.next() {
            Some(_) => Err(Error::RunExists { path }),
            None => Ok(Self { path }),
        }
    }

    /// Makes `runs/NAME-1`, or the first number after the highest there is.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn numbered(runs: impl AsRef<Path>, name: &str) -> Result<Self> {
        let runs = runs.as_ref();
        fs::create_dir_all(runs).map_err(Error::io("create", runs))?;
        let entries = fs::read_dir(runs).map_err(Error::io("read", runs))?;
        let numbers = entries.filter_map(|entry| {
            let file_name = entry.ok()?.file_name();
            file_name.to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse::<u64>().ok()
        });
        let mut number = numbers.max().unwrap_or(0) + 1;
        loop {
            let path = runs.join(format!("{name}-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                // Another run has just taken the number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::io("create", path)(error)),
            }
        }
    }

    /// The folder of a run that is there, of which the folder or the model in it is given.
    ///
    /// # Errors
    /// [`Error::NotARun`] where it holds no settings.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = folder_of(&path.into());
        match path.join(CONFIG).is_file() {
            true => Ok(Self { path }),
            false => Err(Error::NotARun { path }),
        }
    }

    /// Copies the whole run to another folder, which must be empty or new.
    ///
    /// # Errors
    /// [`Error::RunExists`] where the other folder holds anything; where a file cannot be read or written.
    pub fn copy_to(&self, path: impl Into<PathBuf>) -> Result<Self> {
        let copy = Self::at(path)?;
        for folder in [self.path.clone(), self.checkpoints()] {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(_) if folder != self.path => continue,
                Err(error) => return Err(Error::io("list", folder)(error)),
            };
            for entry in entries {
                let from = entry.map_err(Error::io("list", &folder))?.path();
                // The settings make a folder that of a run, so they come when all else is there.
                if from.is_file() && from != self.config() {
                    let within = from.strip_prefix(&self.path).expect("it was listed in it");
                    let bytes = fs::read(&from).map_err(Error::io("read", &from))?;
                    file::write(&copy.path.join(within), &bytes)?;
                }
            }
        }
        let bytes = fs::read(self.config()).map_err(Error::io("read", self.config()))?;
        file::write(&copy.config(), &bytes)?;
        Ok(copy)
    }

    /// Where checkpoints go.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Where the settings are.
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the model goes.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// Where the predictions of the held-out images go.
    pub fn predictions(&self) -> PathBuf {
        self.path.join("predictions.csv")
    }

    /// Writes the settings.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_config(&self, config: &impl Serialize) -> Result<()> {
        let text = toml::to_string_pretty(config)
            .map_err(|error| Error::Settings { path: self.config(), reason: error.to_string() })?;
        file::write(&self.config(), text.as_bytes())
    }

    /// An observer that writes history, events and skipped images; what is given was there before.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn recorder(&self, history: &[EpochRow], skipped: &[Skipped]) -> Result<Recorder> {
        let recorder = Recorder {
            folder: self.path.clone(),
            history: history.to_vec(),
            skipped: skipped.to_vec(),
            unwritten: false,
        };
        recorder.write_history()?;
        recorder.write_skipped()?;
        Ok(recorder)
    }
}

/// The name of the model's file.
const MODEL: &str = "model.safetensors";

/// The folder of a run, of which the folder or the model in it is given. What is neither stays as it is.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    let parent = || match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        parent => parent.unwrap_or(path).to_owned(),
    };
    let is_model = path.file_name().is_some_and(|name| name == MODEL) && path.is_file();
    if is_model && parent().join(CONFIG).is_file() { parent() } else { path.to_owned() }
}

/// The model's file, of which the file or the folder of its run is given.
///
/// # Errors
/// [`Error::NotAModel`] for a folder without one.
pub(crate) fn model_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let model = path.join(MODEL);
    match (model.is_file(), path.join(CONFIG).is_file()) {
        (true, _) => Ok(model),
        (false, true) => Err(Error::NotAModel {
            path: path.to_owned(),
            reason: format!(
                "it is the folder of a run that is not finished, and has no {MODEL} yet; resume it first"
            ),
        }),
        (false, false) => Err(Error::NotAModel {
            path: path.to_owned(),
            reason: format!("it is a folder without a {MODEL}; give the model, or the folder of its run"),
        }),
    }
}

/// The name of the file with the settings.
const CONFIG: &str = "config.toml";

/// Writes what happens into the run folder.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    history: Vec<EpochRow>,
    skipped: Vec<Skipped>,
    /// Whether skipped images wait to be written.
    unwritten: bool,
}

impl Observer for Recorder {
    fn observe(&mut self, event: &Event) -> Result<ControlFlow<()>> {
        match event {
            Event::Progress(_) => return Ok(ControlFlow::Continue(())),
            Event::Skipped { path, reason } => {
                self.skipped.push(Skipped::image(path, reason));
                self.unwritten = true;
            }
            Event::RateFound { stage, curve, rates, .. } => {
                let path = |ending: &str| self.folder.join(format!("lr_find-{stage}.{ending}"));
                file::write(&path("csv"), curve.to_csv().as_bytes())?;
                let figure = curve.plot().with_vertical(format!("taken {:.1e}", rates.head()), rates.head());
                figure.write(path("png"))?;
                figure.write(path("svg"))?;
            }
            Event::Epoch(row) => {
                self.history.push(row.clone());
                self.write_history()?;
            }
            _ => {}
        }
        if self.unwritten && matches!(event, Event::Activations { .. } | Event::Epoch(_)) {
            self.write_skipped()?;
            self.unwritten = false;
        }
        self.append(event)?;
        Ok(ControlFlow::Continue(()))
    }
}

impl Recorder {
    fn append(&self, event: &Event) -> Result<()> {
        let path = self.folder.join("events.jsonl");
        #[derive(Serialize)]
        struct Told<'a> {
            #[serde(flatten)]
            event: &'a Event,
            /// What people read in the terminal, for the page of the report.
            #[serde(skip_serializing_if = "Option::is_none")]
            text: Option<String>,
        }
        let text = match event {
            Event::Reading(reading) => Some(reading.to_string()),
            Event::StageStarted(stage) => Some(stage.to_string()),
            _ => None,
        };
        let mut line = serde_json::to_vec(&Told { event, text }).expect("events serialise");
        line.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(&line)).map_err(Error::io("write", path))
    }

    fn write_history(&self) -> Result<()> {
        let metrics: Vec<Metric> = self
            .history
            .first()
            .into_iter()
            .flat_map(|row| &row.metrics)
            .map(|(metric, _)| *metric)
            .collect();
        let mut header: Vec<String> =
            ["stage", "epoch", "train_loss", "valid_loss", "accuracy"].map(str::to_owned).to_vec();
        header.extend(metrics.iter().map(Metric::to_string));
        header.extend(["early_body", "late_body", "head"].map(|group| format!("learning_rate_{group}")));
        header.push("seconds".to_owned());
        let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let rows = self.history.iter().map(|row| {
            let rates = row.learning_rates.0.map(|rate| rate.to_string());
            let mut cells = vec![
                row.stage.to_string(),
                row.epoch.to_string(),
                row.train_loss.to_string(),
                cell(row.valid_loss),
                cell(row.accuracy),
            ];
            cells.extend(metrics.iter().map(|metric| cell(row.value(*metric))));
            cells.extend(rates);
            cells.push(format!("{:.3}", row.seconds));
            cells
        });
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        self.write_csv("history.csv", &header, rows)
    }

    fn write_skipped(&self) -> Result<()> {
        let cell = |text: &str| escape_formula(text).into_owned();
        let row = |skipped: &Skipped| vec![cell(&text_of(&skipped.path)), cell(&skipped.reason)];
        let rows = self.skipped.iter().map(row);
        self.write_csv("skipped.csv", &["path", "reason"], rows)
    }

    fn write_csv(&self, name: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        writer.write_record(header).expect(in_memory);
        for row in rows {
            writer.write_record(row).expect(in_memory);
        }
        file::write(&self.folder.join(name), &writer.into_inner().expect(in_memory))
    }
}
