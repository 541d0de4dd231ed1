//! What is printed or written about each photo.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{
    ClassProbability, Ensemble, KeptRow, KeptRows, Prediction, PredictionFile, TableFormat, TableLayout,
    TableSettings, TableWriter, Task, Tta, text_of,
};

use crate::errors::Failure;
use crate::output::{Stdout, eprintln, is_dash, shown, unwritten};
use crate::text::counted;
use crate::values::{false_refusals, whole};

/// The format, and where it goes.
#[derive(Debug, Args)]
pub struct OutputFlags {
    /// Print CSV with all probabilities
    #[arg(long, conflicts_with_all = ["json", "jsonl"])]
    csv: bool,
    /// Print a JSON array with all probabilities
    #[arg(long, conflicts_with = "jsonl")]
    json: bool,
    /// Print JSON Lines with all probabilities
    #[arg(long)]
    jsonl: bool,
    /// The N most probable classes instead of all probabilities
    ///
    /// All, if there are fewer. In CSV they are columns class_1, probability_1, class_2, …
    #[arg(long, value_name = "N", value_parser = whole::<1, 100_000>)]
    top_k: Option<usize>,
    /// Call photos unknown that are unlike the training photos
    ///
    /// In text such a photo is "unknown (looks least unlike CLASS)". Tables have columns unknown (true or false) and
    /// unknown_score, and keep the class.
    #[arg(long)]
    pub unknown: bool,
    /// With --unknown: fraction of known photos that may be called unknown [default: 0.05]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FRACTION", requires = "unknown", value_parser = false_refusals)]
    pub false_refusals: Option<f64>,
    /// Write a table to a new file: .csv, .jsonl, .json or .parquet
    ///
    /// The ending says the format; a name with another ending, and - for standard output, need --csv, --jsonl or
    /// --json. CSV and JSON Lines grow while photos are predicted, and can be resumed: FILE.settings.json is written
    /// beside them. JSON and Parquet are written at the end, whole or not at all. Where no photo can be read, no file
    /// is written.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Continue a table of --out, or begin it
    ///
    /// Its rows are kept, those of photos that could not be read included; a row that was cut off is dropped, and
    /// photos without a row are predicted and appended. Photos are recognised by their paths as given. FILE is
    /// refused if FILE.settings.json is missing, or names another model (by its digest), format, version of
    /// Ocelli, device, or other values of --top-k, --min-probability, --calibrated, --tta, --precision or
    /// --max-pixels.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    resume_from: Option<PathBuf>,
}

/// Where predictions are to go.
pub enum Destination<'a> {
    /// Standard output, in this format; `None`: lines for people.
    Stdout(Option<TableFormat>),
    /// A new file.
    New(&'a Path, TableFormat),
    /// A file to continue.
    Resumed(&'a Path, TableFormat),
}

impl OutputFlags {
    /// Where predictions are to go, and in which format.
    pub fn destination(&self) -> Result<Destination<'_>, Failure> {
        let said = |message: &str| Err(Failure::Error(message.to_owned()));
        let flag = self.format();
        match (&self.out, &self.resume_from) {
            (_, Some(path)) if is_dash(path) => said(
                "--resume-from -: a table on standard output cannot be resumed; give the name of a file, such as ./-",
            ),
            (Some(path), _) if is_dash(path) && flag.is_none() => said(
                "--out -: standard output has no ending that says the format; give --csv, --jsonl or --json",
            ),
            (Some(path), _) if !is_dash(path) => Ok(Destination::New(path, self.format_of(path, "--out")?)),
            (_, Some(path)) => {
                let format = self.format_of(path, "--resume-from")?;
                if format == TableFormat::Parquet {
                    return Err(Failure::Error(format!(
                        "--resume-from {}: Parquet is written at the end, whole or not at all, and cannot be resumed; use \
                         .csv or .jsonl, or --out for a new file",
                        shown(path.display())
                    )));
                }
                Ok(Destination::Resumed(path, format))
            }
            _ => Ok(Destination::Stdout(flag.map(|(_, format)| format))),
        }
    }

    /// Opens the output; with `goes_on`, the work does although standard output cannot be written.
    pub fn open(
        &self,
        destination: Destination,
        models: &Ensemble,
        tta: Option<Tta>,
        device: &str,
        goes_on: bool,
    ) -> Result<Output, Failure> {
        let table = |format| TableLayout {
            format,
            classes: models.classes().to_vec(),
            task: models.task(),
            separator: models.models()[0].config().label_separator.unwrap_or(' '),
            top_k: self.top_k,
            unknown: self.unknown,
        };
        let (path, format) = match destination {
            Destination::Stdout(Some(format)) => {
                let table = TableWriter::new(Stdout { goes_on }, table(format)).map_err(unwritten)?;
                return Ok(Output::Table(Some(table)));
            }
            Destination::Stdout(None) => {
                let out = Stdout { goes_on };
                return Ok(Output::Text { out, top_k: self.top_k, unknown: self.unknown });
            }
            Destination::New(path, format) => {
                let layout = table(format);
                let settings = TableSettings::new(models, tta, &layout, device);
                let file = PredictionFile::create(path, layout, &settings)?;
                return Ok(Output::File { file: Some(Box::new(file)), kept: KeptRows::default(), format });
            }
            Destination::Resumed(path, format) => (path, format),
        };
        let layout = table(format);
        let settings = TableSettings::new(models, tta, &layout, device);
        let exists = path.exists();
        let (file, kept) = PredictionFile::resume(path, layout, &settings)?;
        let name = shown(path.display());
        if exists {
            let torn = if kept.was_torn { ", and a row that was cut off is dropped" } else { "" };
            eprintln!("{name}: {} kept{torn}", counted(kept.rows, "row"));
        } else {
            eprintln!("{name}: does not exist yet, and is begun");
        }
        Ok(Output::File { file: Some(Box::new(file)), kept, format })
    }

    /// The flag that names a format, and the format.
    fn format(&self) -> Option<(&'static str, TableFormat)> {
        let flags = [
            (self.csv, ("--csv", TableFormat::Csv)),
            (self.json, ("--json", TableFormat::Json)),
            (self.jsonl, ("--jsonl", TableFormat::JsonLines)),
        ];
        flags.into_iter().find_map(|(given, format)| given.then_some(format))
    }

    /// The format of a file: by its ending, or a flag.
    fn format_of(&self, path: &Path, of: &str) -> Result<TableFormat, Failure> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let path = shown(path.display());
        match (self.format(), ending.parse::<TableFormat>()) {
            (Some((flag, format)), Ok(by_ending)) if format != by_ending => Err(Failure::Error(format!(
                "{of} {path} and {flag} contradict each other: the ending .{ending} says another format; remove {flag}, \
                 or give a name that ends in .{}",
                &flag[2..]
            ))),
            (Some((_, format)), _) | (None, Ok(format)) => Ok(format),
            (None, Err(_)) => Err(Failure::Error(format!(
                "{path}: its ending does not say the format of the table; use .csv, .jsonl, .json or .parquet, or give \
                 --csv, --jsonl or --json"
            ))),
        }
    }
}

/// Where predictions go.
pub enum Output {
    /// Lines for people, perhaps with the most probable classes, and whether photos are unknown.
    Text { out: Stdout, top_k: Option<usize>, unknown: bool },
    /// A table on standard output, until it is ended.
    Table(Option<TableWriter<Stdout>>),
    /// A table in a file, until it is ended.
    File { file: Option<Box<PredictionFile>>, kept: KeptRows, format: TableFormat },
}

impl Output {
    /// Whether there is a row of this photo already.
    pub fn has_row(&self, photo: &Path) -> bool {
        matches!(self, Self::File { kept, .. } if kept.contains(photo))
    }

    /// The rows that were there already, and those of them with an error.
    pub fn kept(&self) -> (usize, usize) {
        match self {
            Self::File { kept, .. } => (kept.rows, kept.errors),
            _ => (0, 0),
        }
    }

    pub fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    pub fn is_resumable(&self) -> bool {
        matches!(self, Self::File { format, .. } if format.is_resumable())
    }

    /// The table's file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File { file, .. } => file.as_ref().map(|file| file.path()),
            _ => None,
        }
    }

    pub fn write(&mut self, prediction: &Prediction) -> Result<(), Failure> {
        match self {
            Self::Text { out, top_k, unknown } => {
                writeln!(out, "{}", line(prediction, *top_k, *unknown)).map_err(unwritten)
            }
            Self::Table(table) => {
                table.iter_mut().try_for_each(|table| table.write(prediction)).map_err(unwritten)
            }
            Self::File { file, .. } => Ok(file.iter_mut().try_for_each(|file| file.write(prediction))?),
        }
    }

    /// Writes the row of a file that could not be read; for people it is on standard error.
    pub fn write_error(&mut self, photo: &Path, reason: &str) -> Result<(), Failure> {
        match self {
            Self::Text { .. } => Ok(()),
            Self::Table(table) => {
                table.iter_mut().try_for_each(|table| table.write_error(photo, reason)).map_err(unwritten)
            }
            Self::File { file, .. } => {
                Ok(file.iter_mut().try_for_each(|file| file.write_error(photo, reason))?)
            }
        }
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Text { out, .. } => out.flush().map_err(unwritten),
            Self::Table(table) => table.iter_mut().try_for_each(TableWriter::flush).map_err(unwritten),
            Self::File { file, .. } => Ok(file.iter_mut().try_for_each(|file| file.flush())?),
        }
    }

    /// Calls `take` with the rows that were there.
    pub fn each_kept(&self, take: &mut dyn FnMut(KeptRow) -> ocelli::Result<()>) -> Result<(), Failure> {
        let Self::File { file: Some(file), kept, .. } = self else { return Ok(()) };
        match file.each_kept(kept, take) {
            Err(ocelli::Error::Stopped) => Err(Failure::Interrupted),
            done => Ok(done?),
        }
    }

    /// Leaves no file, if it is new.
    pub fn discard(&mut self) -> Result<(), Failure> {
        match self {
            Self::File { file, .. } => Ok(file.take().map_or(Ok(()), |file| file.discard())?),
            _ => self.finish(),
        }
    }

    /// Ends the table.
    pub fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::Table(table) => {
                table.take().map_or(Ok(()), |table| table.finish().map(drop)).map_err(unwritten)
            }
            Self::File { file, .. } => Ok(file.take().map_or(Ok(()), |file| file.finish())?),
            Self::Text { .. } => self.flush(),
        }
    }

    /// Ends what was printed so far, and leaves a file as it can be resumed, or none.
    pub fn interrupt(&mut self) -> Result<(), Failure> {
        if self.is_file() { self.flush() } else { self.finish() }
    }
}

/// A line for people: the path, the predicted class or classes, and probabilities.
fn line(prediction: &Prediction, top_k: Option<usize>, unknown: bool) -> String {
    let listed = |classes: &[ClassProbability]| {
        let class = |class: &ClassProbability| format!("{} {:.4}", shown(&class.class), class.probability);
        classes.iter().map(class).collect::<Vec<_>>().join(", ")
    };
    let labels = prediction.predicted_labels();
    let names: Vec<String> = labels.iter().map(|label| shown(&label.class)).collect();
    let none = if prediction.task == Task::SingleLabel { "no class" } else { "no label" };
    let predicted = if names.is_empty() { none.to_owned() } else { names.join(", ") };
    let path = shown(text_of(&prediction.path));
    if unknown && prediction.unknown.is_some_and(|unknown| unknown.is_unknown()) {
        let best = prediction.best();
        return format!("{path}  unknown (looks least unlike {})", shown(&best.class));
    }
    match (top_k, prediction.task) {
        (Some(top_k), _) => format!("{path}  {predicted}  {}", listed(&prediction.top_k(top_k))),
        (None, Task::SingleLabel) => format!("{path}  {predicted}  {:.4}", prediction.best().probability),
        (None, Task::MultiLabel) if labels.is_empty() => format!("{path}  {none}"),
        (None, Task::MultiLabel) => format!("{path}  {}", listed(&labels)),
    }
}
