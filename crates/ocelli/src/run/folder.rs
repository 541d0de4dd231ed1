//! The run folder: all that a run made, in plain files.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ocelli_data::files::{self, Lock};
use ocelli_data::{DataError, Skipped, escape_formula, text_of, unescape_formula};
use serde::{Deserialize, Serialize};

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::event::{Event, Observer};
use crate::file;
use crate::metric::Metric;
use crate::metric::record::EpochRecord;
use crate::paths::{CONFIG, MODEL, is_file};
use crate::run::stop_request::FILE as STOP;

/// A folder for the results of one run.
///
/// ```text
/// config.toml         every setting, as given and as resolved
/// history.csv         one row per epoch: phase, epoch, losses, metrics, learning rates, seconds
/// lr_find-1.csv …     the learning rate finder's curve before phase 1, also as PNG and SVG
/// checkpoints/        the last two checkpoints, and the best weights so far
/// events.jsonl        all events, one JSON object per line; its last field is the digest of those before it
/// events.out.tfevents.ocelli  losses, metrics and learning rates for TensorBoard, if it was asked for
/// split.csv           which images are in the training and validation sets
/// photos.csv          every image's id, label, part of the split and hash, by which a resumed run recognises it
/// predictions.csv     the model's predictions for the validation images: id, label, prediction, loss, probabilities
/// moved.toml          where the photos are, if the run was resumed after they were moved
/// skipped.csv         skipped images, and why
/// decisions.csv       what was decided about labels after the run, for the next one
/// fold-1 …            the run of each fold, in a cross-validation
/// folds.csv           which fold each image is held out in
/// model.safetensors   the model
/// int8-ranges.json    by what its features are computed in 8-bit integers, once that was asked for
/// checksums.b3        BLAKE3 hashes of these files for `b3sum --check`; written last, when the run is finished
/// ```
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Keeps other processes out while this one writes here.
    lock: Option<Arc<Lock>>,
    /// The tables that are written again and again, as they were written last.
    tables: Arc<Mutex<BTreeMap<&'static str, Vec<u8>>>>,
}

/// Whether a run is finished.
#[derive(Debug)]
pub(crate) enum Wholeness {
    /// Finished, and all files are as they were written.
    Whole,
    /// Not finished.
    Unfinished,
    /// Finished, but these files are not as they were written.
    Damaged(Vec<PathBuf>),
}

impl RunFolder {
    /// Creates this folder.
    ///
    /// # Errors
    /// [`Error::FolderNotEmpty`] where it holds anything.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        files::create_dir_all(&path).map_err(Error::io("create", &path))?;
        let entries = files::list(&path).map_err(Error::io("list", &path))?;
        let left = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(is_left);
        match entries.iter().all(left) {
            true => Ok(Self::of(path)),
            false => Err(Error::FolderNotEmpty { path }),
        }
    }

    fn of(path: PathBuf) -> Self {
        Self { path, lock: None, tables: Arc::default() }
    }

    /// Creates `runs/NAME-1`, or the next number after the highest existing one.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn numbered(runs: impl AsRef<Path>, name: &str) -> Result<Self> {
        let runs = runs.as_ref();
        files::create_dir_all(runs).map_err(Error::io("create", runs))?;
        let entries = files::list(runs).map_err(Error::io("list", runs))?;
        let numbers = entries.iter().filter_map(|path| {
            path.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse::<u32>().ok()
        });
        let mut number = u64::from(numbers.max().unwrap_or(0)) + 1;
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

    /// Opens the folder of a run; `path` is the folder, or the model in it.
    ///
    /// # Errors
    /// [`Error::NotARun`] where it holds no settings; [`Error::Io`] where it may not be entered.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = folder_of(&path.into());
        match is_file(&path.join(CONFIG))? {
            true => Ok(Self::of(path)),
            false => Err(Error::NotARun { path }),
        }
    }

    /// Copies the whole run to another folder, which must be empty or new.
    ///
    /// # Errors
    /// [`Error::FolderNotEmpty`] where the other folder holds anything; where a file cannot be read or written.
    pub fn copy_to(&self, path: impl Into<PathBuf>) -> Result<Self> {
        let copy = Self::at(path)?;
        let folds = (1..).map(|fold| self.fold(fold)).take_while(|fold| fold.is_dir());
        let of_folds: Vec<PathBuf> =
            folds.flat_map(|fold| [fold.clone(), Self::of(fold).checkpoints()]).collect();
        for folder in [self.path.clone(), self.checkpoints()].into_iter().chain(of_folds) {
            if !folder.is_dir() {
                continue;
            }
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

    /// The same folder, locked against other processes until all copies of the value are dropped.
    ///
    /// # Errors
    /// [`Error::RunBusy`] where another process has it.
    pub(crate) fn locked(self) -> Result<Self> {
        let path = self.path.join(LOCK);
        for pause in [0, 5, 50] {
            std::thread::sleep(Duration::from_millis(pause));
            if let Some(lock) = files::lock(&path).map_err(Error::io("lock", &path))? {
                return Ok(Self { lock: Some(Arc::new(lock)), ..self });
            }
            // Another process may only have looked whether the folder is locked.
        }
        Err(Error::RunBusy { path: self.path })
    }

    /// Removes half-written files of a killed process; the folder must be locked.
    pub(crate) fn sweep(&self) {
        debug_assert!(self.lock.is_some(), "it is locked");
        self.end_stop_request();
        files::sweep(&self.path, Duration::ZERO);
        files::sweep(self.checkpoints(), Duration::ZERO);
        // A report needs no lock.
        files::sweep(self.path.join("results"), files::LEFT);
    }

    /// Path of the hashes of a finished run.
    pub fn checksums(&self) -> PathBuf {
        self.path.join(CHECKSUMS)
    }

    /// Whether the run is finished, and its files undamaged.
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

    /// Checks the results of a finished run against their hashes.
    ///
    /// # Errors
    /// [`Error::DamagedResult`] where a file is missing or not as the run wrote it, [`Error::NotFinished`]
    /// where the run is not finished.
    pub fn check_results(&self) -> Result<()> {
        match self.wholeness()? {
            Wholeness::Whole => Ok(()),
            Wholeness::Unfinished => Err(Error::NotFinished { path: self.path.clone() }),
            Wholeness::Damaged(paths) => {
                Err(Error::DamagedResult { path: paths.into_iter().next().unwrap_or_default() })
            }
        }
    }

    /// Finishes the run: checks the tables and writes the hashes of all results. The last thing that a run
    /// does.
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

    /// Writes the split.
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

    /// Writes which fold of a cross-validation each image is held out in, counted from 1; empty for one that is in none.
    pub(crate) fn write_folds(&self, data: &ImageData, folds: usize) -> Result<()> {
        let of_item = data.fold_of_each(folds)?;
        let mut table = csv::Writer::from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        table.write_record(["id", "fold"]).expect(in_memory);
        for (item, fold) in data.items().items.iter().zip(of_item) {
            let fold = fold.map_or_else(String::new, |fold| fold.to_string());
            table.write_record([&*escape_formula(&item.id), &fold]).expect(in_memory);
        }
        file::write_whole(&self.path.join(FOLDS), &table.into_inner().expect(in_memory))
    }

    /// The fold of each image, by its id, as the run began; `None` where it is not recorded.
    pub(crate) fn folds(&self) -> Result<Option<BTreeMap<String, Option<usize>>>> {
        let path = self.path.join(FOLDS);
        if !is_file(&path)? {
            return Ok(None);
        }
        let bytes = files::read(&path).map_err(Error::io("read", &path))?;
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let row = |record: csv::StringRecord| {
            let (id, fold) = (unescape_formula(record.get(0)?).to_owned(), record.get(1)?);
            Some((id, if fold.is_empty() { None } else { Some(fold.parse().ok()?) }))
        };
        let rows = reader.records().map(|record| row(record.ok()?)).collect::<Option<_>>();
        rows.map(Some).ok_or_else(|| {
            let advice = "train anew: without it nobody knows which folds the run began with".to_owned();
            let detail = "is not what a run writes".to_owned();
            DataError::Table { path, row: None, detail, advice }.into()
        })
    }

    /// Path of the run of a fold of a cross-validation, counted from 1.
    pub fn fold(&self, fold: usize) -> PathBuf {
        self.path.join(format!("fold-{fold}"))
    }

    /// Path of the folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Path of the settings.
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the model.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// Path of the predictions for the validation images.
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

    /// The text of the settings, and whether it is unchanged since it was written.
    pub(crate) fn read_config(&self) -> Result<(String, bool)> {
        let path = self.config();
        let text = files::read_text(&path).map_err(Error::io("read", &path))?;
        Ok(unsealed(text))
    }

    /// An observer that writes history, events and skipped images, after those of earlier attempts, which are
    /// given.
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

/// Where the photos of this run, or their table, were moved to before it was resumed; `None` if they were not
/// moved, or are no longer there.
pub(crate) fn moved_data(run: &Path) -> Option<PathBuf> {
    let text = files::read_text(run.join(MOVED)).ok()?;
    toml::from_str::<MovedData>(&text).ok().map(|moved| moved.data).filter(|data| data.exists())
}

/// Records where the photos of the run are now.
pub(crate) fn note_moved_data(run: &Path, data: &Path) -> Result<()> {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let text = toml::to_string(&MovedData { data }).expect("a path serialises");
    file::write_whole(&run.join(MOVED), text.as_bytes())
}

/// The folder of a run, given as the folder or as the model in it; any other path as it is.
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
const SEAL_COMMENT: &str = "# Digest of the text above: an interrupted run resumes with the settings that it began with.\n\
     # To use this file with --config, edit it freely; the digest is then ignored.";
/// Records where moved photos are; the settings are not changed.
const MOVED: &str = "moved.toml";
pub(crate) const EVENTS: &str = "events.jsonl";
const HISTORY: &str = "history.csv";
const SKIPPED: &str = "skipped.csv";
const SPLIT: &str = "split.csv";
const FOLDS: &str = "folds.csv";
/// The files of a finished run that are read again, except the events, whose lines have digests of their own.
const RESULTS: [&str; 7] =
    [CONFIG, HISTORY, MODEL, crate::data::recorded::FILE, "predictions.csv", SKIPPED, SPLIT];
const CHECKSUMS: &str = "checksums.b3";
pub(crate) const LOCK: &str = ".lock";

/// Whether this is the name of a file that a killed process may leave behind.
fn is_left(name: &str) -> bool {
    [LOCK, STOP].contains(&name) || name.starts_with(".writing-")
}

/// The text of settings without the digest after it, and whether the digest matches.
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

/// The event of a line; `None` if the line does not match its digest.
pub(crate) fn event_of(line: &str) -> Option<serde_json::Value> {
    let (event, digest) = line.strip_suffix("\"}")?.rsplit_once(&format!(",{DIGEST_FIELD}"))?;
    let event = format!("{event}}}");
    (digest_of(event.as_bytes()) == digest).then(|| serde_json::from_str(&event).ok()).flatten()
}

/// Records events in the run folder.
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
        self.record(event)?;
        Ok(ControlFlow::Continue(()))
    }
}

impl Recorder {
    pub(crate) fn record(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Progress(_) => return Ok(()),
            Event::Skipped { path, reason } => {
                self.skipped.push(Skipped::image(path, reason));
                self.unwritten = true;
            }
            Event::LrFound { fit, curve, learning_rates: rates, .. } => {
                curve.write_with(&self.folder.path, &format!("lr_find-{fit}"), Some(rates.head()))?;
            }
            Event::Epoch(row) => {
                self.history.push(row.clone());
                self.write_history()?;
            }
            _ => {}
        }
        if self.unwritten && matches!(event, Event::Features { .. } | Event::Epoch(_)) {
            self.write_skipped()?;
            self.unwritten = false;
        }
        self.append(event)
    }

    fn append(&self, event: &Event) -> Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            event: &'a Event,
            /// The text in the terminal, for the report.
            #[serde(skip_serializing_if = "Option::is_none")]
            text: Option<String>,
        }
        let text = match event {
            Event::Diagnosis(diagnosis) => Some(diagnosis.to_string()),
            Event::FitStarted(fit) => Some(fit.to_string()),
            Event::LogisticRegression(fit) => Some(fit.to_string()),
            Event::Decision { reason, .. } => Some(format!("train all layers? {reason}")),
            _ => None,
        };
        let path = self.folder.path.join(EVENTS);
        files::append(&path, &line_of(&Line { event, text })).map_err(Error::io("write", path))
    }

    /// Removes an incomplete last line, left by a killed process or a power cut.
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
            ["phase", "epoch", "train_loss", "valid_loss", "accuracy"].map(str::to_owned).to_vec();
        header.extend(metrics.iter().map(Metric::to_string));
        header.extend(["early", "late", "head"].map(|group| format!("learning_rate_{group}")));
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
