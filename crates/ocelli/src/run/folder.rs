//! The run folder: all that a run made, in plain files.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ocelli_data::files::{self, Lock};
use ocelli_data::{Skipped, escape_formula, text_of};
use serde::{Deserialize, Serialize};

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::event::{Event, Observer};
use crate::file;
use crate::metric::Metric;
use crate::metric::record::EpochRecord;
use crate::paths::{CONFIG, MODEL};

/// A folder for the results of one run.
///
/// ```text
/// config.toml         every setting, as given and as resolved
/// history.csv         a row an epoch: fit, epoch, losses, metrics, learning rates, seconds
/// lr_find-1.csv …     what the learning rate finder saw before fit 1, also as PNG and SVG
/// checkpoints/        the last ones, and the best weights as models
/// events.jsonl        all that happened, a JSON object a line; its last field is the digest of those before it
/// split.csv           which images were trained on, and which were held out
/// photos.csv          which images there were: id, label, side of the split, and a digest of the file, by which a resumed
///                     run knows them
/// predictions.csv     what the model says of the held-out images: id, label, decision, loss, probabilities
/// moved.toml          where the photos are, if the run was resumed with them at another place
/// skipped.csv         what was left out, and why
/// model.safetensors   the model
/// checksums.b3        the BLAKE3 hashes of these, as `b3sum --check` reads them; written last: the run is finished
/// ```
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Keeps other processes out while this one writes here.
    lock: Option<Arc<Lock>>,
    /// The tables that are written again and again, as they were written last.
    tables: Arc<Mutex<BTreeMap<&'static str, Vec<u8>>>>,
}

/// Whether a run has come to its end.
#[derive(Debug)]
pub(crate) enum Wholeness {
    /// All is there, as it was written.
    Whole,
    /// Something is still to be written.
    Unfinished,
    /// All was written, and these files are not what they were.
    Damaged(Vec<PathBuf>),
}

impl RunFolder {
    /// Makes the folder that was asked for.
    ///
    /// # Errors
    /// [`Error::RunExists`] where it holds anything.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        files::create_dir_all(&path).map_err(Error::io("create", &path))?;
        let entries = files::list(&path).map_err(Error::io("list", &path))?;
        let left = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(is_left);
        match entries.iter().all(left) {
            true => Ok(Self::of(path)),
            false => Err(Error::RunExists { path }),
        }
    }

    fn of(path: PathBuf) -> Self {
        Self { path, lock: None, tables: Arc::default() }
    }

    /// Makes `runs/NAME-1`, or the first number after the highest there is.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn numbered(runs: impl AsRef<Path>, name: &str) -> Result<Self> {
        let runs = runs.as_ref();
        files::create_dir_all(runs).map_err(Error::io("create", runs))?;
        let entries = files::list(runs).map_err(Error::io("list", runs))?;
        let numbers = entries.iter().filter_map(|path| {
            path.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse::<u64>().ok()
        });
        let mut number = numbers.max().unwrap_or(0) + 1;
        loop {
            let path = runs.join(format!("{name}-{number}"));
            match files::create_dir(&path) {
                Ok(()) => return Ok(Self::of(path)),
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
            true => Ok(Self::of(path)),
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
            for from in files::list(&folder).map_err(Error::io("list", &folder))? {
                let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                // The settings make a folder that of a run, so they come when all else is there.
                if from.is_file() && from != self.config() && !is_left(name) {
                    let within = from.strip_prefix(&self.path).expect("it was listed in it");
                    let bytes = files::read(&from).map_err(Error::io("read", &from))?;
                    file::write_whole(&copy.path.join(within), &bytes)?;
                }
            }
        }
        let bytes = files::read(self.config()).map_err(Error::io("read", self.config()))?;
        file::write_whole(&copy.config(), &bytes)?;
        Ok(copy)
    }

    /// The same folder, for this process alone until all copies of the value are gone.
    ///
    /// # Errors
    /// [`Error::RunBusy`] where another process has it.
    pub(crate) fn locked(self) -> Result<Self> {
        let path = self.path.join(LOCK);
        match files::lock(&path).map_err(Error::io("lock", &path))? {
            Some(lock) => Ok(Self { lock: Some(Arc::new(lock)), ..self }),
            None => Err(Error::RunBusy { path: self.path }),
        }
    }

    /// Removes what a process that was killed has left half-written; nobody else may be writing here.
    pub(crate) fn sweep(&self) {
        debug_assert!(self.lock.is_some(), "it is locked");
        files::sweep(&self.path, Duration::ZERO);
        files::sweep(self.checkpoints(), Duration::ZERO);
        // A report needs no lock.
        files::sweep(self.path.join("results"), files::LEFT);
    }

    /// Where the hashes of a finished run are.
    pub fn checksums(&self) -> PathBuf {
        self.path.join(CHECKSUMS)
    }

    /// Whether the run of a folder is finished, and whole.
    pub(crate) fn wholeness(&self) -> Result<Wholeness> {
        let path = self.checksums();
        let text = match files::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Wholeness::Unfinished),
            text => text.map_err(Error::io("read", &path))?,
        };
        let text = String::from_utf8_lossy(&text);
        let noted: Vec<Option<(&str, &str)>> = text.lines().map(|line| line.split_once("  ")).collect();
        if noted.len() != RESULTS.len() || !text.ends_with('\n') {
            return Ok(Wholeness::Damaged(vec![path]));
        }
        let mut damaged = Vec::new();
        for (name, noted) in RESULTS.into_iter().zip(noted) {
            let path = self.path.join(name);
            let found = match files::hash(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                hash => Some(hash.map_err(Error::io("read", &path))?.to_hex()),
            };
            if found.is_none_or(|found| noted != Some((found.as_str(), name))) {
                damaged.push(path);
            }
        }
        Ok(if damaged.is_empty() { Wholeness::Whole } else { Wholeness::Damaged(damaged) })
    }

    /// Says that the run is finished: makes sure of the tables, and writes the hashes of all results. The last thing that
    /// a run does.
    pub(crate) fn finish(&self) -> Result<()> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, bytes) in tables.iter() {
            let path = self.path.join(name);
            if files::read(&path).ok().as_ref() != Some(bytes) {
                file::write_whole(&path, bytes)?;
            }
        }
        let lines = RESULTS.into_iter().map(|name| {
            let path = self.path.join(name);
            let hash = match tables.get(name) {
                Some(bytes) => blake3::hash(bytes),
                None => files::hash(&path).map_err(Error::io("read", &path))?,
            };
            Ok(format!("{}  {name}\n", hash.to_hex()))
        });
        let text = lines.collect::<Result<String>>()?;
        file::write_whole(&self.checksums(), text.as_bytes())
    }

    /// Writes which images are trained on.
    pub(crate) fn write_split(&self, data: &ImageData) -> Result<()> {
        let path = self.path.join(SPLIT);
        data.write_split(&path)?;
        let bytes = files::read(&path).map_err(Error::io("read", &path))?;
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).insert(SPLIT, bytes);
        Ok(())
    }

    /// Writes a table, and remembers it until the run is finished.
    pub(crate) fn write_table(&self, name: &'static str, bytes: Vec<u8>) -> Result<()> {
        file::write_whole(&self.path.join(name), &bytes)?;
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).insert(name, bytes);
        Ok(())
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

    /// Writes the settings, and after them the digest of their text. Gives the text.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_config(&self, config: &impl Serialize) -> Result<String> {
        let text = toml::to_string_pretty(config)
            .map_err(|error| Error::Settings { path: self.config(), reason: error.to_string() })?;
        let sealed = format!("{text}\n{SEAL_COMMENT}\n{SEAL}{}\n", blake3::hash(text.as_bytes()).to_hex());
        file::write_whole(&self.config(), sealed.as_bytes())?;
        Ok(text)
    }

    /// The text of the settings, and whether it is as it was written.
    pub(crate) fn read_config(&self) -> Result<(String, bool)> {
        let path = self.config();
        let text = files::read_text(&path).map_err(Error::io("read", &path))?;
        Ok(unsealed(text))
    }

    /// An observer that writes history, events and skipped images; what is given was there before.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn recorder(&self, history: &[EpochRecord], skipped: &[Skipped]) -> Result<Recorder> {
        let recorder = Recorder {
            folder: self.clone(),
            history: history.to_vec(),
            skipped: skipped.to_vec(),
            unwritten: false,
        };
        recorder.end_last_line()?;
        recorder.write_history()?;
        recorder.write_skipped()?;
        Ok(recorder)
    }
}

/// What [`MOVED`] holds.
#[derive(Serialize, Deserialize)]
struct MovedData {
    #[serde(with = "ocelli_data::path_text")]
    data: PathBuf,
}

/// Where the photos of the run in this folder, or their table, were when it was resumed with them at another place; nothing
/// where it was not, or they are not there any more.
pub(crate) fn moved_data(run: &Path) -> Option<PathBuf> {
    let text = files::read_text(run.join(MOVED)).ok()?;
    toml::from_str::<MovedData>(&text).ok().map(|moved| moved.data).filter(|data| data.exists())
}

/// Notes where the photos of the run are now, for whatever asks for them later.
pub(crate) fn note_moved_data(run: &Path, data: &Path) -> Result<()> {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let text = toml::to_string(&MovedData { data }).expect("a path serialises");
    file::write_whole(&run.join(MOVED), text.as_bytes())
}

/// The folder of a run, of which the folder or the model in it is given. What is neither stays as it is.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    let parent = || match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        parent => parent.unwrap_or(path).to_owned(),
    };
    let is_model = path.file_name().is_some_and(|name| name == MODEL) && path.is_file();
    if is_model && parent().join(CONFIG).is_file() { parent() } else { path.to_owned() }
}

/// What stands before the digest of the settings' text, on the file's last line.
const SEAL: &str = "# blake3 ";
const SEAL_COMMENT: &str = "# The digest of the text above: an interrupted run goes on with the settings that it began with.\n\
     # For --config, edit what you like; this line is not looked at.";
/// Where the photos are since the run was resumed with them at another place; the settings stay as they were sealed.
const MOVED: &str = "moved.toml";
const EVENTS: &str = "events.jsonl";
const HISTORY: &str = "history.csv";
const SKIPPED: &str = "skipped.csv";
const SPLIT: &str = "split.csv";
/// All that a finished run has and that is read again, but for the events, whose lines have digests of their own.
const RESULTS: [&str; 7] =
    [CONFIG, HISTORY, MODEL, crate::data::recorded::FILE, "predictions.csv", SKIPPED, SPLIT];
const CHECKSUMS: &str = "checksums.b3";
const LOCK: &str = ".lock";

/// Whether a process that was killed may have left a file of this name beside those of the run.
fn is_left(name: &str) -> bool {
    name == LOCK || name.starts_with(".writing-")
}

/// The text of settings without the digest after it, and whether it is that of the digest.
pub(crate) fn unsealed(mut text: String) -> (String, bool) {
    let Some(seal) = text.rfind(&format!("\n{SEAL_COMMENT}\n{SEAL}")) else { return (text, false) };
    let noted = text[seal..].lines().last().and_then(|line| line.strip_prefix(SEAL)).map(str::to_owned);
    let ended = text.ends_with('\n');
    text.truncate(seal);
    let whole = ended && noted.is_some_and(|noted| noted == blake3::hash(text.as_bytes()).to_hex().as_str());
    (text, whole)
}

/// A line of the file of events: the event, and the digest of its text as the last field.
fn line_of(event: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).expect("events serialise");
    let digest = digest_of(&line);
    line.pop(); // the object's end
    line.extend(format!(",{DIGEST_FIELD}{digest}\"}}\n").into_bytes());
    line
}

/// Begins the last field of a line of the file of events.
const DIGEST_FIELD: &str = "\"digest\":\"";

/// The first 16 digits of a BLAKE3 hash.
fn digest_of(line: &[u8]) -> String {
    blake3::hash(line).to_hex()[..16].to_owned()
}

/// An event as it was written, of its line; nothing where the line is not what was written.
pub(crate) fn event_of(line: &str) -> Option<serde_json::Value> {
    let (event, digest) = line.strip_suffix("\"}")?.rsplit_once(&format!(",{DIGEST_FIELD}"))?;
    let event = format!("{event}}}");
    (digest_of(event.as_bytes()) == digest).then(|| serde_json::from_str(&event).ok()).flatten()
}

/// Writes what happens into the run folder.
#[derive(Debug)]
pub struct Recorder {
    folder: RunFolder,
    history: Vec<EpochRecord>,
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
            Event::RateFound { fit, curve, rates, .. } => {
                curve.write_with(&self.folder.path, &format!("lr_find-{fit}"), Some(rates.head()))?;
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
        #[derive(Serialize)]
        struct Told<'a> {
            #[serde(flatten)]
            event: &'a Event,
            /// What people read in the terminal, for the page of the report.
            #[serde(skip_serializing_if = "Option::is_none")]
            text: Option<String>,
        }
        let text = match event {
            Event::Diagnosis(diagnosis) => Some(diagnosis.to_string()),
            Event::FitStarted(fit) => Some(fit.to_string()),
            _ => None,
        };
        let path = self.folder.path.join(EVENTS);
        files::append(&path, &line_of(&Told { event, text })).map_err(Error::io("write", path))
    }

    /// Cuts off what a killed process, or a power cut, has left of a last line.
    fn end_last_line(&self) -> Result<()> {
        let path = self.folder.path.join(EVENTS);
        let bytes = match files::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes.map_err(Error::io("read", &path))?,
        };
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if end < bytes.len() { file::write_whole(&path, &bytes[..end]) } else { Ok(()) }
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
            ["fit", "epoch", "train_loss", "valid_loss", "accuracy"].map(str::to_owned).to_vec();
        header.extend(metrics.iter().map(Metric::to_string));
        header.extend(["early_body", "late_body", "head"].map(|group| format!("learning_rate_{group}")));
        header.push("seconds".to_owned());
        let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let rows = self.history.iter().map(|row| {
            let rates = row.learning_rates.0.map(|rate| rate.to_string());
            let mut cells = vec![
                row.fit.to_string(),
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
        self.write_csv(HISTORY, &header, rows)
    }

    fn write_skipped(&self) -> Result<()> {
        let cell = |text: &str| escape_formula(text).into_owned();
        let row = |skipped: &Skipped| vec![cell(&text_of(&skipped.path)), cell(&skipped.reason)];
        let rows = self.skipped.iter().map(row);
        self.write_csv(SKIPPED, &["path", "reason"], rows)
    }

    fn write_csv(
        &self,
        name: &'static str,
        header: &[&str],
        rows: impl Iterator<Item = Vec<String>>,
    ) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        writer.write_record(header).expect(in_memory);
        for row in rows {
            writer.write_record(row).expect(in_memory);
        }
        self.folder.write_table(name, writer.into_inner().expect(in_memory))
    }
}
