//! Submissions to competitions: a table with a row for each test photo, in the form that is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ocelli_data::source::id_of;
use ocelli_data::source::table::{Finder, Match, Row, Sheet};
use ocelli_data::{Skipped, Task, text_of};
use serde::{Deserialize, Serialize};

use crate::data::photos::photos_in;
use crate::error::{Error, Result};
use crate::file;
use crate::metric::predictions::Predictions;
use crate::metric::{Metric, MetricEstimate};
use crate::model::tta::Tta;
use crate::model::{Contract, Model, Prediction};

/// How far probabilities are kept from 0 and 1, because one sure error costs the logarithmic loss so much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityClip {
    /// Probabilities count as at least this, and as at most 1 less it; 0 changes nothing.
    pub at: f64,
    /// The log loss of the validation images so clipped, by which it was chosen, and the ends of its 95 % interval.
    pub log_loss: (f64, f64, f64),
}

/// What may be chosen of.
const CLIPS: [f64; 9] = [0.0, 1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2];

impl ProbabilityClip {
    /// The clip with the lowest log loss on these predictions, after which rows of one class an image sum to 1 again;
    /// of equal ones the smaller. `None` of nothing.
    pub fn chosen_on(predictions: &Predictions) -> Option<Self> {
        let clipped = |at: f64| {
            let mut clipped = predictions.clone();
            clipped.probabilities.chunks_exact_mut(predictions.classes.max(1)).for_each(|row| {
                let new = clip(predictions.task, row, at);
                row.copy_from_slice(&new);
            });
            clipped.losses = (0..clipped.items.len())
                .map(|place| {
                    crate::metric::predictions::loss_of(
                        clipped.task,
                        clipped.row(place),
                        &clipped.targets[place],
                    )
                })
                .collect();
            clipped
        };
        let losses = CLIPS.map(|at| (at, clipped(at).loss()));
        let best =
            losses.into_iter().filter(|(_, loss)| loss.is_finite()).min_by(|a, b| a.1.total_cmp(&b.1))?;
        let MetricEstimate { value, interval: (low, high), .. } = clipped(best.0).estimate(Metric::LogLoss);
        Some(Self { at: best.0, log_loss: (value, low, high) })
    }
}

/// One image's probabilities, kept from 0 and 1.
fn clip(task: Task, row: &[f32], at: f64) -> Vec<f32> {
    let clipped: Vec<f64> =
        row.iter().map(|&probability| f64::from(probability).clamp(at, 1.0 - at)).collect();
    let sum: f64 = if task == Task::SingleLabel { clipped.iter().sum() } else { 1.0 };
    clipped.into_iter().map(|probability| (probability / sum) as f32).collect()
}

/// What a submission is to be like.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// A table whose columns, ids and separator it takes over.
    pub sample: Option<PathBuf>,
    /// What stands in a sample's single column that is no class; without it, what its cells hold.
    pub values: Option<Values>,
    /// Test-time augmentation.
    pub tta: Option<Tta>,
    /// How far probabilities are kept from 0 and 1; without it what the model was trained to.
    pub clip: Option<f64>,
}

/// What stands beside an id, where that is one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// The names of the classes.
    Labels,
    /// The probability of the class that the column is named after, or of the second of two.
    Probabilities,
}

impl Values {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("labels", "Class names"),
        (
            "probabilities",
            "The probability of the class that the column is named after, or of the second of two",
        ),
    ];
}

impl FromStr for Values {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "labels" => Ok(Self::Labels),
            "probabilities" => Ok(Self::Probabilities),
            _ => Err(Error::Setting {
                name: "values",
                value: name.to_owned(),
                expected: "labels or probabilities",
            }),
        }
    }
}

/// What a submission came to.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The number of rows.
    pub rows: usize,
    /// What stands in the columns after the id, for people.
    pub columns: String,
    /// Whether those are probabilities.
    pub probabilities: bool,
    /// Photos that could not be read, whose rows hold the same probability of every class, or no class.
    pub filled: Vec<Skipped>,
    /// Photos that the sample does not name.
    pub unnamed: usize,
    /// How far probabilities are kept from 0 and 1.
    pub clip: f64,
}

/// What a cell of a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// What the sample has there: the id.
    Sample,
    /// The probability of a class.
    Probability(usize),
    /// Whether the class is among those that are said: 0 or 1.
    Chosen(usize),
    /// The names of the classes.
    Names,
}

/// A submission that can be written: everything is known but what the model says.
struct Plan {
    delimiter: char,
    header: Vec<String>,
    /// A row's cells as the sample has them, and its photo.
    rows: Vec<(Vec<String>, PathBuf)>,
    contents: Vec<Content>,
    /// Between the names of several classes.
    separator: String,
    /// Photos that no row is about.
    unnamed: usize,
    /// What the columns hold, for people.
    said: String,
}

impl Submission {
    /// Predicts the photos of a folder and writes the submission. `progress` is told after each photo how many are done,
    /// and of how many.
    ///
    /// # Errors
    /// Before anything is predicted, where the sample cannot be read or does not fit the model's classes, where an id
    /// has no photo, and where the file cannot be written; where `progress` asks to stop.
    pub fn write(
        &self,
        model: &Model,
        test: &Path,
        out: &Path,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Submitted> {
        let contract = model.contract();
        let plan = self.plan(contract, test)?;
        let names_only = plan.contents.iter().all(|content| !matches!(content, Content::Probability(_)));
        let at = match (self.clip, &contract.clip) {
            (Some(at), _) if !(0.0..0.5).contains(&at) => {
                let expected = "from 0 to below 0.5, such as 0.001";
                return Err(Error::setting("clip", at, expected));
            }
            _ if names_only => 0.0,
            (Some(at), _) => at,
            (None, Some(chosen)) => chosen.at,
            (None, None) => 0.0,
        };
        check_writable(out)?;

        let delimiter = u8::try_from(plan.delimiter).unwrap_or(b',');
        let mut table = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        table.write_record(&plan.header).expect(in_memory);
        let mut filled = Vec::new();
        let (total, classes) = (plan.rows.len(), contract.classes.len());
        let paths: Vec<PathBuf> = plan.rows.iter().map(|(_, path)| path.clone()).collect();
        for (place, ((cells, _), prediction)) in
            plan.rows.iter().zip(model.predict_with(paths, self.tta)?).enumerate()
        {
            let (row, chosen) = match prediction {
                Ok(prediction) => {
                    let chosen = chosen(&prediction);
                    (clip(prediction.task, &prediction.probabilities, at), chosen)
                }
                Err(Error::Photo { path, reason }) => {
                    filled.push(Skipped::image(path, reason));
                    (vec![1.0 / classes as f32; classes], Vec::new())
                }
                Err(error) => return Err(error),
            };
            let names: Vec<&str> = chosen.iter().map(|&class| contract.classes[class].as_str()).collect();
            let cell = |(content, cell): (&Content, &String)| match content {
                Content::Sample => cell.clone(),
                Content::Probability(class) => row[*class].to_string(),
                Content::Chosen(class) => u8::from(chosen.contains(class)).to_string(),
                Content::Names => names.join(&plan.separator),
            };
            table.write_record(plan.contents.iter().zip(cells).map(cell)).expect(in_memory);
            if progress(place + 1, total).is_break() {
                return Err(Error::Stopped);
            }
        }
        file::write(out, &table.into_inner().expect(in_memory))?;
        Ok(Submitted {
            rows: total,
            columns: plan.said,
            probabilities: !names_only,
            filled,
            unnamed: plan.unnamed,
            clip: at,
        })
    }

    /// What is to be written, before anything is predicted.
    fn plan(&self, contract: &Contract, test: &Path) -> Result<Plan> {
        let found = photos_in(test)?;
        let mut photos = found.photos;
        photos.extend(found.skipped.into_iter().filter(|skipped| skipped.is_image).map(|broken| broken.path));
        photos.sort();
        if photos.is_empty() {
            return Err(Error::NoPhotos { path: test.to_owned() });
        }
        match &self.sample {
            Some(sample) => self.of_sample(sample, contract, test, photos),
            None if contract.classes.iter().any(|class| class == "id") => Err(Error::ClassCalledId),
            None => Ok(without_sample(contract, test, photos)),
        }
    }

    /// As the sample has it.
    fn of_sample(&self, path: &Path, contract: &Contract, test: &Path, photos: Vec<PathBuf>) -> Result<Plan> {
        let advice = "give the competition's sample submission";
        let wrong = |reason: String, advice| Error::Sample { path: path.to_owned(), reason, advice };
        let mut sheet = Sheet::read(path)?;
        let header = sheet.rows.remove(0).cells;
        let rows = sheet.rows;
        let width = header.len();
        if width < 2 {
            return Err(wrong("it has no column after the id".to_owned(), "give another sample"));
        }
        if rows.is_empty() {
            return Err(wrong("it has no rows but that of the columns' names".to_owned(), advice));
        }
        if let Some(row) = rows.iter().find(|row| row.cells.len() != width) {
            let (line, cells) = (row.line, row.cells.len());
            return Err(wrong(format!("row {line} has {cells} cells, and the first row {width}"), advice));
        }
        let finder = Finder::of(test, photos.iter().cloned());
        let beside: Vec<PathBuf> = test.parent().map(Path::to_owned).into_iter().collect();
        let matches = |column: usize| {
            let names: Vec<&str> = rows.iter().map(|row| row.cell(column)).collect();
            finder.resolve(&names, None, &beside)
        };
        let found =
            |matches: &[Match]| matches.iter().filter(|found| matches!(found, Match::Found(_))).count();
        // The first column, unless it only counts the rows.
        let mut id = 0;
        let mut photos_of = matches(0);
        if found(&photos_of) == 0
            && let Some((other, others)) = (1..width)
                .map(|column| (column, matches(column)))
                .find(|(_, others)| found(others) == rows.len())
        {
            (id, photos_of) = (other, others);
        }
        if let Match::Found(_) = finder.resolve(&[&header[id]], None, &beside)[0] {
            let found =
                format!("its first row names the photo {}, where the columns' names belong", header[id]);
            return Err(wrong(found, "put a row with the columns' names before it"));
        }
        let mut seen = BTreeMap::new();
        let mut paths = Vec::with_capacity(rows.len());
        for (row, found) in rows.iter().zip(photos_of) {
            let (line, text) = (row.line, row.cell(id));
            if let (false, Some(before)) = (text.is_empty(), seen.insert(text, line)) {
                let found =
                    format!("row {line} has the id \"{text}\", which was there before, in row {before}");
                return Err(wrong(found, advice));
            }
            let detail = match found {
                _ if text.is_empty() => format!("row {line} has no id"),
                Match::Found(found) => {
                    paths.push(found.path);
                    continue;
                }
                Match::Missing(why) => {
                    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
                    format!("row {line}: there is no photo for the id {text} in {}{why}", test.display())
                }
                Match::Ambiguous(several) => format!("row {line}: {text} could be {}", several.join(" or ")),
            };
            let advice =
                "give the folder of the competition's test photos, and the sample that belongs to it";
            return Err(wrong(detail, advice));
        }
        let (contents, separator, said) = self.contents(path, &header, &rows, id, contract)?;
        let named: BTreeSet<&PathBuf> = paths.iter().collect();
        let unnamed = photos.iter().filter(|photo| !named.contains(photo)).count();
        let rows = rows.into_iter().map(|row| row.cells).zip(paths).collect();
        let delimiter = if sheet.delimiter == ' ' { ',' } else { sheet.delimiter };
        Ok(Plan { delimiter, header, rows, contents, separator, unnamed, said })
    }

    /// What each column holds, what is between several names in one, and both for people.
    fn contents(
        &self,
        path: &Path,
        header: &[String],
        rows: &[Row],
        id: usize,
        contract: &Contract,
    ) -> Result<(Vec<Content>, String, String)> {
        let wrong = |reason: String, advice| Error::Sample { path: path.to_owned(), reason, advice };
        let classes = &contract.classes;
        let class_of = |name: &str| classes.iter().position(|class| class == name.trim());
        let separator = separator_of(rows, contract);
        let mut contents = vec![Content::Sample; header.len()];
        let counts_rows = |column: usize| {
            let name = header[column].to_lowercase();
            let unnamed = name.is_empty() || name.starts_with("unnamed:");
            unnamed && rows.iter().enumerate().all(|(place, row)| row.cell(column) == place.to_string())
        };
        let asked: Vec<usize> =
            (0..header.len()).filter(|&column| column != id && !counts_rows(column)).collect();
        let named: Vec<(usize, Option<usize>)> =
            asked.iter().map(|&column| (column, class_of(&header[column]))).collect();
        match named[..] {
            [] => return Err(wrong("it has no column after the id".to_owned(), "give another sample")),
            [(column, class)] => {
                let (content, said) =
                    self.one_column(path, &header[column], class, rows, column, contract)?;
                contents[column] = content;
                return Ok((contents, separator, said));
            }
            _ => {}
        }
        let foreign = named.iter().find(|(_, class)| class.is_none());
        let missing = (0..classes.len()).find(|&class| !named.iter().any(|(_, named)| *named == Some(class)));
        let found = match (foreign, missing) {
            (Some((column, _)), _) => {
                format!("its column \"{}\" is none of the model's classes", header[*column])
            }
            (None, Some(class)) => format!("it has no column for the model's class \"{}\"", classes[class]),
            (None, None) if named.len() > classes.len() => "it has a column twice".to_owned(),
            (None, None) => {
                let labels = self.values == Some(Values::Labels);
                for (column, class) in named {
                    let Some(class) = class else { continue };
                    contents[column] =
                        if labels { Content::Chosen(class) } else { Content::Probability(class) };
                }
                let what = if labels { "0 or 1 for" } else { "probabilities of" };
                return Ok((contents, separator, format!("{what} {} classes", classes.len())));
            }
        };
        Err(wrong(found, "train on the competition's labels, or give another sample"))
    }

    /// What a column beside the id holds.
    fn one_column(
        &self,
        path: &Path,
        name: &str,
        class: Option<usize>,
        rows: &[Row],
        column: usize,
        contract: &Contract,
    ) -> Result<(Content, String)> {
        let classes = &contract.classes;
        let two = classes.len() == 2 && contract.task == Task::SingleLabel;
        let cells = || rows.iter().map(|row| row.cell(column)).filter(|cell| !cell.is_empty());
        let all = |wanted: &dyn Fn(&str) -> bool| cells().next().is_some() && cells().all(wanted);
        let are_classes = all(&|cell| classes.iter().any(|class| class == cell));
        let are_numbers = all(&|cell| cell.parse::<f64>().is_ok());
        let probability =
            |class: usize| (Content::Probability(class), format!("the probability of {}", classes[class]));
        let names = |more: &str| (Content::Names, format!("names of classes{more}"));
        // Of two classes a probability without a name is that of the second, as in 0 and 1.
        match (self.values, class.or(two.then_some(1))) {
            (Some(Values::Labels), _) => Ok(names("")),
            (Some(Values::Probabilities), Some(class)) => Ok(probability(class)),
            (None, Some(of)) if class.is_some() => Ok(probability(of)),
            (None, _) if are_classes => Ok(names(match two && are_numbers {
                true => ", as in the sample (set values to probabilities for these)",
                false => "",
            })),
            (None, Some(of)) if are_numbers => Ok(probability(of)),
            (None, _) if !are_numbers => Ok(names("")),
            _ => Err(Error::SampleColumn {
                path: path.to_owned(),
                column: name.to_owned(),
                classes: classes.clone(),
            }),
        }
    }
}

/// A row a photo, with the probability of every class. Ids are names without their endings, or paths, as far as these
/// tell the photos apart.
fn without_sample(contract: &Contract, test: &Path, photos: Vec<PathBuf>) -> Plan {
    let stem = |photo: &PathBuf| text_of(photo.file_stem().unwrap_or_default());
    let name = |photo: &PathBuf| text_of(photo.file_name().unwrap_or_default());
    let path = |photo: &PathBuf| id_of(test, photo);
    let differ = |of: &dyn Fn(&PathBuf) -> String| {
        photos.iter().map(of).collect::<BTreeSet<_>>().len() == photos.len()
    };
    let id: &dyn Fn(&PathBuf) -> String = if differ(&stem) {
        &stem
    } else if differ(&name) {
        &name
    } else {
        &path
    };
    let classes = contract.classes.len();
    let mut rows: Vec<(Vec<String>, PathBuf)> = photos
        .iter()
        .map(|photo| {
            let mut cells = vec![String::new(); classes + 1];
            cells[0] = id(photo);
            (cells, photo.clone())
        })
        .collect();
    rows.sort();
    Plan {
        delimiter: ',',
        header: std::iter::once("id".to_owned()).chain(contract.classes.iter().cloned()).collect(),
        rows,
        contents: std::iter::once(Content::Sample).chain((0..classes).map(Content::Probability)).collect(),
        separator: String::new(),
        unnamed: 0,
        said: format!("probabilities of {classes} classes"),
    }
}

/// The classes that a prediction says, as indices.
fn chosen(prediction: &Prediction) -> Vec<usize> {
    let names = prediction.predicted_labels();
    let place = |name: &String| prediction.classes.iter().position(|class| class == name);
    names.iter().filter_map(|guess| place(&guess.class)).collect()
}

/// What separates several names in a cell: as in the sample, where it shows it, else as in the table that the model was
/// trained on, else a space.
fn separator_of(rows: &[Row], contract: &Contract) -> String {
    let known = |text: &str| contract.classes.iter().any(|class| class == text.trim());
    let shows = |separator: char| {
        rows.iter()
            .flat_map(|row| &row.cells)
            .any(|cell| !known(cell) && cell.contains(separator) && cell.split(separator).all(known))
    };
    let mut candidates = contract.label_separator.into_iter().chain(['|', ';', ',', ' ']);
    let shown = candidates.find(|&separator| shows(separator));
    shown.or(contract.label_separator).unwrap_or(' ').to_string()
}

/// Whether a file can be written there, tried on a temporary one beside it; folders that are missing are made when it is
/// written.
fn check_writable(out: &Path) -> Result<()> {
    if out.is_dir() {
        return Err(Error::OutputPath { path: out.to_owned(), reason: "it is a folder".to_owned() });
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    if !existing.is_dir() {
        let reason = format!("{} is a file, where a folder is needed", existing.display());
        return Err(Error::OutputPath { path: out.to_owned(), reason });
    }
    tempfile::Builder::new().prefix(".writing-").tempfile_in(existing).map_err(Error::io("write", out))?;
    Ok(())
}
