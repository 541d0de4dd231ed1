//! `ocelli predict`

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use clap::Args;
use ocelli::interpret::probability_column;
use ocelli::{
    ClassProbability, DeviceName, Found, Model, ModelConfig, Prediction, Skipped, Task, Tta, escape_formula,
    photos_in, text_of,
};

use crate::errors::Failure;
use crate::flags::ComputeFlags;
use crate::interrupt;
use crate::output::{eprintln, message, no_photos, shown, unwritten};
use crate::text::{count, counted};
use crate::values::{OrNone, pixels, tta};

/// Classify photos with a trained model
///
/// Skipped files are listed on standard error with the reason. The exit status is then 1, except for files
/// that are common among photos: texts, tables, hidden files, thumbnails.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli predict runs/photos-1 garden.jpg holiday/
  find . -name '*.jpg' -print0 | ocelli predict model.safetensors -0 --csv")]
pub struct Predict {
    /// Model file, or the folder of its run
    model: PathBuf,
    /// Photos, folders; none or -: paths from standard input
    ///
    /// Paths on standard input stand one per line. Photos are classified as soon as their paths arrive.
    photos: Vec<PathBuf>,
    /// Paths on standard input end with a zero byte (find -print0)
    #[arg(long, short = '0')]
    null: bool,

    /// Print JSON Lines with all probabilities
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV with all probabilities
    #[arg(long)]
    csv: bool,
    /// Calibrate probabilities (temperature scaling)
    #[arg(long)]
    calibrated: bool,
    /// Test-time augmentation: views, corners or none
    #[arg(long, value_name = "VIEWS", value_parser = tta)]
    tta: Option<OrNone<Tta>>,
    /// Largest image to read, in pixels [default: 178956970]
    #[arg(hide_short_help = true, help_heading = "Run")]
    #[arg(long, value_name = "PIXELS", value_parser = pixels)]
    max_pixels: Option<u64>,
    #[command(flatten)]
    compute: ComputeFlags,
}

const BINARY: &str = "it holds a photo or other binary data, where paths of photos are expected, one per line (with --null, \
                      each ended by a zero byte); save the photo as a file and give its name";

/// The most paths of standard input that are predicted at once.
const AT_ONCE: usize = 1024;
/// The most common non-photo files that are listed.
const LISTED: usize = 5;
const NOTHING_GIVEN: &str =
    "no photos: name files or folders, or write paths to standard input, one per line";

impl Predict {
    pub fn run(&self) -> Result<(), Failure> {
        let model = self.model()?;
        interrupt::finish("this batch");
        let out = Output::new(self, model.config()).map_err(unwritten)?;
        let mut batches =
            Batches { model, tta: self.tta.and_then(|tta| tta.0), out, tally: Tally::default() };
        if self.reads_standard_input()? {
            self.predict_standard_input(&mut batches)?;
        } else {
            let mut photos = Photos::default();
            self.photos.iter().try_for_each(|path| photos.add(path))?;
            batches.predict(photos)?;
        }
        let Tally { failed, total, .. } = batches.tally;
        if failed > 0 {
            eprintln!("skipped: {failed} of {total} files could not be read as photos");
            return Err(Failure::Printed);
        }
        Ok(())
    }

    fn model(&self) -> Result<Model, Failure> {
        let threads = self.compute.threads.start()?;
        let mut model = Model::load(&self.model)?.threads(threads);
        if let Some(precision) = self.compute.precision {
            model = model.precision(precision);
        }
        if let Some(pixels) = self.max_pixels {
            model = model.max_pixels(pixels);
        }
        if self.compute.device != DeviceName::default() {
            model = model.to_device(&self.compute.device.open()?);
        }
        if self.calibrated {
            model = model.calibrated()?;
        }
        Ok(model)
    }

    fn reads_standard_input(&self) -> Result<bool, Failure> {
        if self.photos.is_empty() && io::stdin().is_terminal() {
            return Err(Failure::Error(NOTHING_GIVEN.to_owned()));
        }
        let reads = self.photos.is_empty() || self.photos == [PathBuf::from("-")];
        if self.null && !reads {
            let message =
                "--null is for paths from standard input, and photos are named too; remove one of both";
            return Err(Failure::Error(message.to_owned()));
        }
        Ok(reads)
    }

    fn predict_standard_input(&self, batches: &mut Batches) -> Result<(), Failure> {
        let lines = standard_input(if self.null { b'\0' } else { b'\n' });
        // Paths that have arrived are predicted at once: more may take long.
        while let Some(first) = next(&lines, &batches.tally)? {
            let mut photos = Photos::default();
            for line in std::iter::once(first).chain(lines.try_iter().take(AT_ONCE - 1)) {
                let path = line.map_err(|error| {
                    Failure::Error(format!("standard input: {}", ocelli::io_reason(&error)))
                })?;
                batches.tally.lines += 1;
                photos.add(&path)?;
            }
            batches.predict(photos)?;
        }
        // With `-` an empty list is not an error.
        if batches.tally.lines == 0 && self.photos.is_empty() {
            return Err(Failure::Error(NOTHING_GIVEN.to_owned()));
        }
        Ok(())
    }
}

/// Predicts batches of photos and prints the results.
struct Batches {
    model: Model,
    tta: Option<Tta>,
    out: Output,
    tally: Tally,
}

impl Batches {
    fn predict(&mut self, photos: Photos) -> Result<(), Failure> {
        self.tally.total += photos.photos.len();
        photos.print_skipped(&mut self.tally);
        for prediction in self.model.predict_with(photos.photos, self.tta)? {
            match prediction {
                Ok(prediction) => self.out.write(&prediction).map_err(unwritten)?,
                // Not an error of the photo: no output of this model can be trusted.
                Err(error @ ocelli::Error::NotFiniteOutput { .. }) => return Err(error.into()),
                Err(error) => {
                    self.tally.failed += 1;
                    eprintln!("{}", message(error));
                }
            }
            self.tally.predicted += 1;
            if interrupt::asked() {
                self.out.flush().map_err(unwritten)?;
                return Err(stopped(&self.tally));
            }
        }
        self.out.flush().map_err(unwritten)
    }
}

/// Counts of files.
#[derive(Default)]
struct Tally {
    /// Photos, and files that may be photos.
    total: usize,
    /// Those of them that could not be read.
    failed: usize,
    /// Paths on standard input.
    lines: usize,
    /// Photos that were predicted, or failed.
    predicted: usize,
}

/// Photos to predict, and the other files beside them.
#[derive(Default)]
struct Photos {
    photos: Vec<PathBuf>,
    skipped: Vec<Skipped>,
}

impl Photos {
    /// Adds a file, or the photos in a folder.
    fn add(&mut self, path: &Path) -> Result<(), Failure> {
        if !path.is_dir() {
            self.photos.push(path.to_owned());
            return Ok(());
        }
        let Found { photos, skipped } = photos_in(path)?;
        if photos.is_empty() && skipped.iter().all(|skipped| skipped.is_usual) {
            return Err(no_photos(path, &skipped));
        }
        self.photos.extend(photos);
        self.skipped.extend(skipped);
        Ok(())
    }

    /// Lists skipped files: each that may be a photo, and the first common non-photo files.
    fn print_skipped(&self, tally: &mut Tally) {
        let (usual, others): (Vec<&Skipped>, Vec<&Skipped>) =
            self.skipped.iter().partition(|skipped| skipped.is_usual);
        for Skipped { path, reason, .. } in &others {
            eprintln!("{}: {}", shown(path.display()), message(reason));
        }
        tally.failed += others.len();
        tally.total += others.len();
        if !usual.is_empty() {
            let name = |skipped: &&Skipped| {
                format!("{} ({})", shown(skipped.path.display()), message(&skipped.reason))
            };
            let mut listed: Vec<String> = usual.iter().take(LISTED).map(name).collect();
            if usual.len() > LISTED {
                listed.push(format!("and {} more", count(usual.len() - LISTED)));
            }
            eprintln!("skipped, not photos: {}", listed.join(", "));
        }
    }
}

/// The next path of standard input, which may take long; meanwhile a signal still ends the process.
fn next(
    lines: &Receiver<io::Result<PathBuf>>,
    tally: &Tally,
) -> Result<Option<io::Result<PathBuf>>, Failure> {
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(path) => return Ok(Some(path)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if interrupt::asked() => return Err(stopped(tally)),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn stopped(tally: &Tally) -> Failure {
    eprintln!("stopped after {}", counted(tally.predicted, "photo"));
    Failure::Interrupted
}

/// The paths on standard input as they arrive, without empty ones, as bytes.
fn standard_input(end: u8) -> Receiver<io::Result<PathBuf>> {
    let (send, lines) = sync_channel(AT_ONCE);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        // No path contains a zero byte, and none begins like JPEG and PNG files.
        let is_binary = input.fill_buf().is_ok_and(|bytes| match end {
            b'\n' => bytes.contains(&b'\0'),
            _ => bytes.starts_with(b"\xff\xd8\xff") || bytes.starts_with(b"\x89PNG"),
        });
        for line in input.split(end) {
            let path = line.and_then(|mut line| {
                if is_binary || line.contains(&b'\0') {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, BINARY));
                }
                if end == b'\n' && line.last() == Some(&b'\r') {
                    line.pop();
                }
                Ok(path_of(line))
            });
            let is_empty = path.as_ref().is_ok_and(|path| path.as_os_str().is_empty());
            if !is_empty && send.send(path).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// Where paths are not bytes, a line that is not text is not a path: it names no file.
#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// The output for predictions, in one of three formats.
enum Output {
    Text(io::Stdout),
    Json(io::Stdout),
    /// With the separator of several labels, as in the model's training table.
    Csv(Box<csv::Writer<io::Stdout>>, char),
}

impl Output {
    fn new(verb: &Predict, config: &ModelConfig) -> io::Result<Self> {
        if verb.json {
            return Ok(Self::Json(io::stdout()));
        }
        if verb.csv {
            let mut writer = csv::Writer::from_writer(io::stdout());
            // The column of a class cannot have the name of another column.
            let header = ["path", "class", "probability"].into_iter().map(str::to_owned);
            let header = header.chain(config.classes.iter().map(|class| probability_column(class)));
            writer.write_record(header.map(|name| escape_formula(&name).into_owned()))?;
            return Ok(Self::Csv(Box::new(writer), config.label_separator.unwrap_or(' ')));
        }
        Ok(Self::Text(io::stdout()))
    }

    fn write(&mut self, prediction: &Prediction) -> io::Result<()> {
        let path = text_of(&prediction.path);
        let decided = prediction.predicted_labels();
        let separator = if let Self::Csv(_, separator) = self { *separator } else { ' ' };
        let labels: Vec<&str> = decided.iter().map(|guess| guess.class.as_str()).collect();
        let class = labels.join(&separator.to_string());
        let probability = prediction.best().probability;
        match self {
            Self::Text(out) if prediction.task == Task::SingleLabel => {
                writeln!(out, "{}  {}  {probability:.4}", shown(path), shown(class))?;
            }
            Self::Text(out) => {
                let guess =
                    |guess: &ClassProbability| format!("{} {:.4}", shown(&guess.class), guess.probability);
                let labels = decided.iter().map(guess).collect::<Vec<_>>().join(", ");
                writeln!(out, "{}  {}", shown(path), if labels.is_empty() { "no label" } else { &labels })?;
            }
            Self::Json(out) => {
                let probabilities: serde_json::Map<String, serde_json::Value> = prediction
                    .classes
                    .iter()
                    .zip(&prediction.probabilities)
                    .map(|(class, probability)| (class.clone(), (*probability).into()))
                    .collect();
                let mut object = serde_json::json!({ "path": path, "probabilities": probabilities });
                match prediction.task {
                    Task::SingleLabel => {
                        object["class"] = class.into();
                        object["probability"] = probability.into();
                    }
                    Task::MultiLabel => {
                        object["classes"] = decided.iter().map(|guess| guess.class.as_str()).collect();
                    }
                }
                writeln!(out, "{object}")?;
            }
            Self::Csv(writer, _) => {
                let text = |text: &str| escape_formula(text).into_owned();
                let mut cells = vec![text(&path), text(&class), probability.to_string()];
                cells.extend(prediction.probabilities.iter().map(f32::to_string));
                writer.write_record(cells)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Text(out) | Self::Json(out) => out.flush(),
            Self::Csv(writer, _) => writer.flush(),
        }
    }
}
