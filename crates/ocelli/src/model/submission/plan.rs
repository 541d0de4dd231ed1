//! The layout of a submission, known before anything is predicted: from the sample and the photos.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ocelli_data::source::id_of;
use ocelli_data::source::table::{Finder, Match, Row, Sheet};
use ocelli_data::{Task, names, stem_of, text_of};

use crate::data::photos::photos_in;
use crate::error::{Error, Result};
use crate::model::config::ModelConfig;
use crate::model::submission::values::Values;

/// The content of a cell of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The sample's text: the id.
    Sample,
    /// The probability of a class.
    Probability(usize),
    /// Whether the class is predicted: 0 or 1.
    Predicted(usize),
    /// The least probability, since the model does not know the class.
    Least,
    /// The names of the classes.
    Names,
    /// The index of the class; empty where there is none.
    Index,
}

/// A submission that can be written: everything but the predictions.
pub(super) struct Plan {
    pub(super) delimiter: char,
    pub(super) header: Vec<String>,
    /// The cells of each row from the sample, and its photo.
    pub(super) rows: Vec<(Vec<String>, PathBuf)>,
    contents: Vec<Content>,
    /// The separator between several class names.
    separator: String,
    /// Photos without a row.
    pub(super) unnamed: usize,
    /// What the columns contain, for people.
    pub(super) columns: String,
    /// See [`Submitted::untrained`](super::Submitted::untrained).
    pub(super) untrained: Vec<String>,
}

impl Plan {
    /// Plans the submission for the photos of a folder.
    pub(super) fn new(
        sample: Option<&Path>,
        values: Option<Values>,
        config: &ModelConfig,
        test: &Path,
    ) -> Result<Self> {
        let found = photos_in(test)?;
        let mut photos = found.photos;
        photos.extend(found.skipped.into_iter().filter(|skipped| skipped.is_image).map(|broken| broken.path));
        photos.sort();
        if photos.is_empty() {
            return Err(Error::NoPhotos { path: test.to_owned() });
        }
        match sample {
            Some(sample) => Sample::read(sample, config, values)?.plan(test, photos),
            None if config.classes.iter().any(|class| class == "id") => Err(Error::ClassCalledId),
            None => Ok(without_sample(config, test, photos)),
        }
    }

    /// Whether no column holds probabilities.
    pub(super) fn names_only(&self) -> bool {
        self.contents.iter().all(|content| !matches!(content, Content::Probability(_)))
    }

    /// One row, from the sample's cells, a photo's probabilities and predicted classes, and the least probability.
    pub(super) fn cells(
        &self,
        sample: &[String],
        row: &[f32],
        predicted: &[usize],
        classes: &[String],
        least: f64,
    ) -> Vec<String> {
        let names = || predicted.iter().map(|&class| classes[class].as_str()).collect::<Vec<_>>();
        let cell = |(content, cell): (&Content, &String)| match content {
            Content::Sample => cell.clone(),
            Content::Probability(class) => row[*class].to_string(),
            Content::Predicted(class) => u8::from(predicted.contains(class)).to_string(),
            Content::Least => (least as f32).to_string(),
            Content::Names => names().join(&self.separator),
            Content::Index => predicted.first().map(usize::to_string).unwrap_or_default(),
        };
        self.contents.iter().zip(sample).map(cell).collect()
    }
}

/// A sample submission, whose columns, ids and separator are used.
struct Sample<'a> {
    path: &'a Path,
    config: &'a ModelConfig,
    values: Option<Values>,
    delimiter: char,
    header: Vec<String>,
    rows: Vec<Row>,
}

const GIVE_A_SAMPLE: &str = "give the competition's sample submission";

impl<'a> Sample<'a> {
    fn read(path: &'a Path, config: &'a ModelConfig, values: Option<Values>) -> Result<Self> {
        let mut sheet = Sheet::read(path)?;
        let header = sheet.rows.remove(0).cells;
        let delimiter = if sheet.delimiter == ' ' { ',' } else { sheet.delimiter };
        let sample = Self { path, config, values, delimiter, header, rows: sheet.rows };
        let width = sample.header.len();
        if width < 2 {
            return Err(sample.no_column());
        }
        if sample.rows.is_empty() {
            return Err(
                sample.wrong("it has no rows but that of the columns' names".to_owned(), GIVE_A_SAMPLE)
            );
        }
        if let Some(row) = sample.rows.iter().find(|row| row.cells.len() != width) {
            let (line, cells) = (row.line, row.cells.len());
            let reason = format!("row {line} has {cells} cells, and the first row {width}");
            return Err(sample.wrong(reason, GIVE_A_SAMPLE));
        }
        Ok(sample)
    }

    fn wrong(&self, reason: String, advice: &'static str) -> Error {
        Error::Sample { path: self.path.to_owned(), reason, advice }
    }

    fn no_column(&self) -> Error {
        self.wrong("it has no column after the id".to_owned(), "give another sample")
    }

    fn plan(self, test: &Path, photos: Vec<PathBuf>) -> Result<Plan> {
        let (id, paths) = self.find_photos(test, &photos)?;
        let separator = separator_of(&self.rows, self.config);
        let (contents, columns) = self.contents(id)?;
        let unknown = |index: &usize| contents[*index] == Content::Least;
        let untrained = (0..contents.len()).filter(unknown).map(|index| self.header[index].clone()).collect();
        let named: BTreeSet<&PathBuf> = paths.iter().collect();
        let unnamed = photos.iter().filter(|photo| !named.contains(photo)).count();
        let rows = self.rows.into_iter().map(|row| row.cells).zip(paths).collect();
        let (delimiter, header) = (self.delimiter, self.header);
        Ok(Plan { delimiter, header, rows, contents, separator, unnamed, columns, untrained })
    }

    /// Finds the column of ids, and the photo of each row.
    fn find_photos(&self, test: &Path, photos: &[PathBuf]) -> Result<(usize, Vec<PathBuf>)> {
        let finder = Finder::of(test, photos.iter().cloned());
        let beside: Vec<PathBuf> = test.parent().map(Path::to_owned).into_iter().collect();
        let matches = |column: usize| {
            let names: Vec<&str> = self.rows.iter().map(|row| row.cell(column)).collect();
            finder.resolve(&names, None, &beside)
        };
        let found =
            |matches: &[Match]| matches.iter().filter(|found| matches!(found, Match::Found(_))).count();
        // The first column, unless it only counts the rows.
        let mut id = 0;
        let mut photos_of = matches(0);
        if found(&photos_of) == 0
            && let Some((other, others)) = (1..self.header.len())
                .map(|column| (column, matches(column)))
                .find(|(_, others)| found(others) == self.rows.len())
        {
            (id, photos_of) = (other, others);
        }
        let header = &self.header[id];
        if let Match::Found(_) = finder.resolve(&[header], None, &beside)[0] {
            let reason = format!("its first row names the photo {header}, where the columns' names belong");
            return Err(self.wrong(reason, "put a row with the columns' names before it"));
        }
        Ok((id, self.paths(id, photos_of, test)?))
    }

    /// The photo of each row; ids must be unique and name one photo each.
    fn paths(&self, id: usize, photos_of: Vec<Match>, test: &Path) -> Result<Vec<PathBuf>> {
        let mut seen = BTreeMap::new();
        let mut paths = Vec::with_capacity(self.rows.len());
        for (row, found) in self.rows.iter().zip(photos_of) {
            let (line, text) = (row.line, row.cell(id));
            if let (false, Some(before)) = (text.is_empty(), seen.insert(text, line)) {
                let reason =
                    format!("row {line} has the id \"{text}\", which was there before, in row {before}");
                return Err(self.wrong(reason, GIVE_A_SAMPLE));
            }
            let reason = match found {
                _ if text.is_empty() => format!("row {line} has no id"),
                // No row of a submission is guessed.
                Match::Found(found) if !found.also.is_empty() => {
                    format!("row {line}: {text} could be {} or {}", found.relative, found.also.join(" or "))
                }
                Match::Found(found) => {
                    paths.push(found.path);
                    continue;
                }
                Match::Missing(why) => {
                    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
                    format!("row {line}: there is no photo for the id {text} in {}{why}", test.display())
                }
                Match::Ambiguous(several) => format!("row {line}: {text} could be {several}"),
            };
            let advice =
                "give the folder of the competition's test photos, and the sample that belongs to it";
            return Err(self.wrong(reason, advice));
        }
        Ok(paths)
    }

    /// What each column contains, and a description for people.
    fn contents(&self, id: usize) -> Result<(Vec<Content>, String)> {
        let classes = &self.config.classes;
        let class_of = |column: usize| {
            let name = names::composed(self.header[column].trim());
            classes.iter().position(|class| *class == name)
        };
        let columns = (0..self.header.len()).filter(|&column| column != id && !self.counts_rows(column));
        let named: Vec<(usize, Option<usize>)> = columns.map(|column| (column, class_of(column))).collect();
        let mut contents = vec![Content::Sample; self.header.len()];
        match named[..] {
            [] => return Err(self.no_column()),
            [(column, class)] => {
                let (content, text) = self.one_column(column, class)?;
                contents[column] = content;
                return Ok((contents, text));
            }
            _ => {}
        }
        let foreign = named.iter().find(|(_, class)| class.is_none());
        let missing = (0..classes.len()).find(|&class| !named.iter().any(|(_, named)| *named == Some(class)));
        let known = named.iter().filter(|(_, class)| class.is_some()).count();
        let reason = match (foreign, missing) {
            // One of the two may be misspelt.
            (Some((column, _)), Some(_)) => {
                format!("its column \"{}\" is none of the model's classes", self.header[*column])
            }
            (None, Some(class)) => format!("it has no column for the model's class \"{}\"", classes[class]),
            (_, None) if known > classes.len() => "it has a column twice".to_owned(),
            (_, None) => {
                let labels = self.values == Some(Values::Labels);
                for (column, class) in named {
                    contents[column] = match class {
                        Some(class) if labels => Content::Predicted(class),
                        Some(class) => Content::Probability(class),
                        // A class of the competition of which no photo was trained on.
                        None => Content::Least,
                    };
                }
                let what = if labels { "0 or 1 for" } else { "probabilities of" };
                return Ok((contents, format!("{what} {} classes", classes.len())));
            }
        };
        Err(self.wrong(reason, "train on the competition's labels, or give another sample"))
    }

    /// Whether a column only counts the rows, as pandas writes it.
    fn counts_rows(&self, column: usize) -> bool {
        let name = self.header[column].to_lowercase();
        let unnamed = name.is_empty() || name.starts_with("unnamed:");
        unnamed && self.rows.iter().enumerate().all(|(index, row)| row.cell(column) == index.to_string())
    }

    /// What the only column beside the id contains; `class` is the one that it is named after.
    fn one_column(&self, column: usize, class: Option<usize>) -> Result<(Content, String)> {
        let classes = &self.config.classes;
        let two = classes.len() == 2 && self.config.task == Task::SingleLabel;
        let cells = || self.rows.iter().map(|row| row.cell(column)).filter(|cell| !cell.is_empty());
        let all = |matches: &dyn Fn(&str) -> bool| cells().next().is_some() && cells().all(matches);
        let are_classes = all(&|cell| classes.iter().any(|class| class == cell));
        let are_numbers = all(&|cell| cell.parse::<f64>().is_ok());
        let probability =
            |class: usize| (Content::Probability(class), format!("the probability of {}", classes[class]));
        let names = |more: &str| (Content::Names, format!("names of classes{more}"));
        // These may stand for one of two classes, or for a probability.
        let zeros_and_ones = two && all(&|cell| matches!(cell, "0" | "1"));
        let (zeros, ones) = (cells().any(|cell| cell == "0"), cells().any(|cell| cell == "1"));
        // Often a placeholder; but another spelling would be wrong in every row.
        let is_class = |name: &str| classes.iter().any(|class| class == name);
        // Of several labels each counts, whatever separates them in the sample.
        let are_all_classes = |cell: &str| {
            let mut parts = cell.split([' ', ',', ';', '|']).map(str::trim).filter(|part| !part.is_empty());
            self.config.task == Task::MultiLabel && parts.all(is_class)
        };
        let odd = cells().find(|cell| !is_class(cell) && !are_all_classes(cell));
        let odd = odd.map_or(String::new(), |cell| {
            format!(
                " (warning: \"{cell}\" in the sample is none of the model's classes, whose names are written)"
            )
        });
        // With two classes, an unnamed probability is that of the second, as in 0 and 1.
        match (self.values, class.or(two.then_some(1))) {
            (Some(Values::Labels), _) => Ok(names(if are_numbers { "" } else { &odd })),
            (Some(Values::Indices), _) if self.config.task == Task::MultiLabel => Err(Error::setting(
                "values",
                "indices",
                "labels or probabilities, since images have several labels",
            )),
            (Some(Values::Indices), _) if are_other_numbers(classes) => Err(Error::setting(
                "values",
                "indices",
                "labels, since these classes are numbers already, and their places among the names are others",
            )),
            (Some(Values::Indices), _) => {
                let some =
                    classes.iter().take(3).enumerate().map(|(index, class)| format!("{index} is {class}"));
                let more = if classes.len() > 3 { ", …" } else { "" };
                let text = format!("indices of classes ({}{more})", some.collect::<Vec<_>>().join(", "));
                Ok((Content::Index, text))
            }
            (Some(Values::Probabilities), Some(class)) => Ok(probability(class)),
            (None, Some(of)) if class.is_some() => Ok(probability(of)),
            (None, _) if zeros_and_ones && !(are_classes && zeros && ones) => Err(Error::SampleForm {
                path: self.path.to_owned(),
                column: self.header[column].clone(),
                cells: match (zeros, ones) {
                    (true, true) => "0 and 1",
                    (true, false) => "0",
                    _ => "1",
                },
                classes: [classes[0].clone(), classes[1].clone()],
            }),
            (None, _) if are_classes => Ok(names(match two && are_numbers {
                true => ", as in the sample (set values to probabilities for these)",
                false => "",
            })),
            (None, Some(of)) if are_numbers => Ok(probability(of)),
            (None, _) if !are_numbers => Ok(names(&odd)),
            _ => Err(Error::SampleColumn {
                path: self.path.to_owned(),
                column: self.header[column].clone(),
                classes: classes.clone(),
            }),
        }
    }
}

/// One row per photo, with the probability of every class. Ids are names without extensions, or paths where
/// names are ambiguous.
fn without_sample(config: &ModelConfig, test: &Path, photos: Vec<PathBuf>) -> Plan {
    let stem = |photo: &PathBuf| stem_of(photo);
    let name = |photo: &PathBuf| text_of(photo.file_name().unwrap_or_default());
    let path = |photo: &PathBuf| id_of(test, photo);
    let differ = |of: &dyn Fn(&PathBuf) -> String| {
        photos.iter().map(of).collect::<BTreeSet<_>>().len() == photos.len()
    };
    let (id, said): (&dyn Fn(&PathBuf) -> String, &str) = if differ(&stem) {
        (&stem, "")
    } else if differ(&name) {
        (&name, "; ids are file names, since photos differ in their endings alone")
    } else {
        (&path, "; ids are paths, since photos in several folders have the same name")
    };
    let classes = config.classes.len();
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
        header: std::iter::once("id".to_owned()).chain(config.classes.iter().cloned()).collect(),
        rows,
        contents: std::iter::once(Content::Sample).chain((0..classes).map(Content::Probability)).collect(),
        separator: String::new(),
        unnamed: 0,
        columns: format!("probabilities of {classes} classes{said}"),
        untrained: Vec::new(),
    }
}

/// The separator between several names in a cell: the sample's where it shows one, else that of the table
/// that the model was trained on, else a space.
fn separator_of(rows: &[Row], config: &ModelConfig) -> String {
    let known = |text: &str| config.classes.iter().any(|class| class == text.trim());
    let shows = |separator: char| {
        rows.iter()
            .flat_map(|row| &row.cells)
            .any(|cell| !known(cell) && cell.contains(separator) && cell.split(separator).all(known))
    };
    let mut candidates = config.label_separator.into_iter().chain(['|', ';', ',', ' ']);
    let shown = candidates.find(|&separator| shows(separator));
    shown.or(config.label_separator).unwrap_or(' ').to_string()
}

/// Whether all classes are whole numbers, and not all at the place that they say.
fn are_other_numbers(classes: &[String]) -> bool {
    let numbers: Option<Vec<i64>> = classes.iter().map(|class| class.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.iter().zip(0..).any(|(number, place)| *number != place))
}
