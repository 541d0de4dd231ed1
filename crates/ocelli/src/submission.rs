//! Submissions to competitions: a table with a row for each test photo, in the form that is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ocelli_data::{Skipped, Task, io_reason, text_of};
use serde::{Deserialize, Serialize};

use crate::{Error, Measured, Metric, Model, Predictions, Result, Tta, file, photos_in};

/// How far probabilities are kept from 0 and 1, because one sure error costs the logarithmic loss so much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Probabilities count as at least this, and as at most 1 less it; 0 changes nothing.
    pub at: f64,
    /// The log loss of the validation images so clipped, by which it was chosen, and the ends of its 95 % interval.
    pub log_loss: (f64, f64, f64),
}

/// What may be chosen of.
const CLIPS: [f64; 9] = [0.0, 1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2];

impl Clip {
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
                    crate::predictions::loss_of(clipped.task, clipped.row(place), &clipped.targets[place])
                })
                .collect();
            clipped
        };
        let losses = CLIPS.map(|at| (at, clipped(at).loss()));
        let best =
            losses.into_iter().filter(|(_, loss)| loss.is_finite()).min_by(|a, b| a.1.total_cmp(&b.1))?;
        let Measured { value, interval: (low, high), .. } = clipped(best.0).measure(Metric::LogLoss);
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
    /// A table whose columns and ids it takes over.
    pub sample: Option<PathBuf>,
    /// Test-time augmentation.
    pub tta: Option<Tta>,
    /// How far probabilities are kept from 0 and 1; without it what the model was trained to.
    pub clip: Option<f64>,
}

/// What a submission came to.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The number of rows.
    pub rows: usize,
    /// What stands in the columns after the id, for people.
    pub columns: String,
    /// Photos that could not be read, whose rows hold the same probability of every class, or no class.
    pub filled: Vec<Skipped>,
    /// Photos that the sample does not name.
    pub unnamed: usize,
    /// How far probabilities are kept from 0 and 1.
    pub clip: f64,
}

/// What stands in a row after the id.
enum Columns {
    /// The probabilities of these classes, in this order.
    Probabilities(Vec<usize>),
    /// The probability of one class of two.
    One(usize),
    /// The names of the classes.
    Names,
}

impl Submission {
    /// Predicts the photos of a folder and writes the table to `out`. `progress` is told how many of how many photos
    /// are done, and may stop it.
    ///
    /// # Errors
    /// Where the sample's columns are not the model's classes, an id has no photo or several, or `out` cannot be
    /// written; then nothing is.
    pub fn write(
        &self,
        model: &Model,
        test: &Path,
        out: &Path,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Submitted> {
        let contract = model.contract();
        let found = photos_in(test)?;
        let mut photos = found.photos;
        photos.extend(found.skipped.into_iter().filter(|skipped| skipped.is_image).map(|broken| broken.path));
        photos.sort();
        let photos = by_id(photos)?;
        let (header, ids, columns) = match &self.sample {
            Some(sample) => self.of_sample(sample, model)?,
            None => {
                let header =
                    std::iter::once("id".to_owned()).chain(contract.classes.iter().cloned()).collect();
                let all = (0..contract.classes.len()).collect();
                (header, photos.ids(), Columns::Probabilities(all))
            }
        };
        let paths: Vec<PathBuf> = ids.iter().map(|id| photos.find(id, test)).collect::<Result<_>>()?;
        let at = match (self.clip, &contract.clip, &columns) {
            (_, _, Columns::Names) => 0.0,
            (Some(at), ..) if (0.0..0.5).contains(&at) => at,
            (Some(at), ..) => {
                let expected = "from 0 to below 0.5, such as 0.001";
                return Err(Error::Setting { name: "the clip", value: at.to_string(), expected });
            }
            (None, Some(chosen), _) => chosen.at,
            (None, None, _) => 0.0,
        };

        let mut table = csv::Writer::from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        table.write_record(&header).expect(in_memory);
        let mut filled = Vec::new();
        let (total, classes) = (ids.len(), contract.classes.len());
        for (place, (id, prediction)) in ids.iter().zip(model.predict_with(paths, self.tta)?).enumerate() {
            let (row, names) = match prediction {
                Ok(prediction) => {
                    let names: Vec<String> =
                        prediction.decided().into_iter().map(|guess| guess.class).collect();
                    (clip(prediction.task, &prediction.probabilities, at), names.join(" "))
                }
                Err(Error::Photo { path, reason }) => {
                    filled.push(Skipped::image(path, reason));
                    (vec![1.0 / classes as f32; classes], String::new())
                }
                Err(error) => return Err(error),
            };
            let mut cells = vec![id.clone()];
            match &columns {
                Columns::Probabilities(order) => {
                    cells.extend(order.iter().map(|&class| row[class].to_string()))
                }
                Columns::One(class) => cells.push(row[*class].to_string()),
                Columns::Names => cells.push(names),
            }
            table.write_record(cells).expect(in_memory);
            if progress(place + 1, total).is_break() {
                return Err(Error::Stopped);
            }
        }
        file::write(out, &table.into_inner().expect(in_memory))?;
        let said = match columns {
            Columns::Probabilities(order) => format!("probabilities of {} classes", order.len()),
            Columns::One(class) => format!("the probability of {}", contract.classes[class]),
            Columns::Names => "names of classes".to_owned(),
        };
        let unnamed = photos.count() - total;
        Ok(Submitted { rows: total, columns: said, filled, unnamed, clip: at })
    }

    /// The header, the ids and the columns of a sample.
    fn of_sample(&self, path: &Path, model: &Model) -> Result<(Vec<String>, Vec<String>, Columns)> {
        let wrong =
            |found: String, advice| Error::State { found: format!("{}: {found}", path.display()), advice };
        let unreadable = |error: csv::Error| {
            wrong(
                format!("not a table: {}", io_reason(&error.into())),
                "give the competition's sample submission, a CSV file",
            )
        };
        let mut reader = csv::Reader::from_path(path).map_err(unreadable)?;
        let header: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(str::to_owned).collect();
        let rows: Vec<csv::StringRecord> =
            reader.records().map(|row| row.map_err(unreadable)).collect::<Result<_>>()?;
        let mut ids = Vec::with_capacity(rows.len());
        let mut seen = BTreeSet::new();
        for (row, record) in rows.iter().enumerate() {
            let id = record.get(0).unwrap_or_default().trim().to_owned();
            if id.is_empty() || !seen.insert(id.clone()) {
                return Err(wrong(
                    format!("row {} has the id \"{id}\", which is empty or was there before", row + 2),
                    "give the competition's sample submission",
                ));
            }
            ids.push(id);
        }
        let classes = &model.contract().classes;
        let place = |name: &String| classes.iter().position(|class| class == name.trim());
        let columns = match &header[..] {
            [] | [_] => return Err(wrong("it has no column after the id".to_owned(), "give another sample")),
            [_, only] => {
                match (place(only), rows.first().and_then(|row| row.get(1)).map(str::parse::<f64>)) {
                    (Some(class), _) => Columns::One(class),
                    // A number where two classes are told apart: the probability of the second, as in 0 and 1.
                    (None, Some(Ok(_)))
                        if classes.len() == 2 && model.contract().task == Task::SingleLabel =>
                    {
                        Columns::One(1)
                    }
                    (None, Some(Ok(_))) => {
                        return Err(wrong(
                            format!(
                                "its column \"{only}\" holds numbers, but is none of the model's classes"
                            ),
                            "name the column after the class whose probability is asked for",
                        ));
                    }
                    _ => Columns::Names,
                }
            }
            [_, named @ ..] => {
                let order: Option<Vec<usize>> = named.iter().map(place).collect();
                let all = order.as_ref().is_some_and(|order| order.len() == classes.len());
                let distinct: BTreeSet<&String> = named.iter().collect();
                match order {
                    Some(order) if all && distinct.len() == named.len() => Columns::Probabilities(order),
                    _ => {
                        let foreign = named.iter().find(|name| place(name).is_none());
                        let missing =
                            classes.iter().find(|class| !named.iter().any(|name| name.trim() == **class));
                        let found = match (foreign, missing) {
                            (Some(name), _) => {
                                format!("its column \"{name}\" is none of the model's classes")
                            }
                            (None, Some(class)) => {
                                format!("it has no column for the model's class \"{class}\"")
                            }
                            (None, None) => "it has a column twice".to_owned(),
                        };
                        return Err(wrong(
                            found,
                            "train on the competition's labels, or give another sample",
                        ));
                    }
                }
            }
        };
        Ok((header, ids, columns))
    }
}

/// Photos by what competitions call them.
struct Photos {
    by_name: BTreeMap<String, PathBuf>,
    by_stem: BTreeMap<String, Vec<PathBuf>>,
}

fn by_id(photos: Vec<PathBuf>) -> Result<Photos> {
    let (mut by_name, mut by_stem) = (BTreeMap::new(), BTreeMap::<String, Vec<PathBuf>>::new());
    for photo in photos {
        let text = |part: Option<&std::ffi::OsStr>| part.map(text_of).unwrap_or_default();
        by_stem.entry(text(photo.file_stem())).or_default().push(photo.clone());
        if let Some(other) = by_name.insert(text(photo.file_name()), photo.clone()) {
            let found = format!("{} and {} have the same name", other.display(), photo.display());
            return Err(Error::State { found, advice: "put the test photos into one folder" });
        }
    }
    Ok(Photos { by_name, by_stem })
}

impl Photos {
    fn count(&self) -> usize {
        self.by_name.len()
    }

    /// Names without their endings, where these tell the photos apart.
    fn ids(&self) -> Vec<String> {
        let stems = self.by_stem.len() == self.by_name.len();
        if stems { self.by_stem.keys().cloned().collect() } else { self.by_name.keys().cloned().collect() }
    }

    fn find(&self, id: &str, test: &Path) -> Result<PathBuf> {
        let found = match (self.by_name.get(id), self.by_stem.get(id).map(Vec::as_slice)) {
            (Some(photo), _) | (None, Some([photo])) => return Ok(photo.clone()),
            (None, Some(several)) => format!("{} photos are named {id}", several.len()),
            (None, None) => format!("there is no photo for the id {id}"),
        };
        let advice = "give the folder of the competition's test photos, and the sample that belongs to it";
        Err(Error::State { found: format!("{}: {found}", test.display()), advice })
    }
}
