//! Submissions to competitions: a table with one row per test photo, laid out like the sample submission.

pub(crate) mod clip;
pub(crate) mod values;

mod plan;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ocelli_data::{Skipped, files};
use ocelli_nn::Backbone;

use crate::data::of_run::digest_of;
use crate::data::photos::TrainedOn;
use crate::error::{Error, Result};
use crate::file;
use crate::model::Model;
use crate::model::config::ModelConfig;
use crate::model::prediction::Prediction;
use crate::model::submission::clip::{CLIP_RANGE, clip};
use crate::model::submission::plan::Plan;
use crate::model::submission::values::Values;
use crate::model::tta::Tta;
use crate::run::folder::folder_of;

/// Options of a submission.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// A sample submission, whose columns, ids and separator are used.
    pub sample: Option<PathBuf>,
    /// What to write into the sample's single column if it is not named after a class; default: what its
    /// cells hold.
    pub values: Option<Values>,
    /// Test-time augmentation.
    pub tta: Option<Tta>,
    /// Clip probabilities to this distance from 0 and 1; default: the one that the model records.
    pub clip_probabilities: Option<f64>,
}

/// A submission that has been written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Submitted {
    /// The number of rows.
    pub rows: usize,
    /// The columns after the id, for people.
    pub columns: String,
    /// Whether those are probabilities.
    pub probabilities: bool,
    /// Photos that could not be read, whose rows have the same probability for every class, or no label.
    pub filled: Vec<Skipped>,
    /// Photos that are not in the sample.
    pub unnamed: usize,
    /// Rows whose photos the model was trained on, as far as the files of its run say it.
    pub trained: usize,
    /// Columns of the sample that are none of the model's classes; they hold 0, or what it is clipped to.
    pub untrained: Vec<String>,
    /// The distance from 0 and 1 that probabilities are clipped to.
    pub clip: f64,
}

impl Submission {
    /// Predicts the photos of a folder and writes the submission. `progress` is called after each photo with
    /// the number of photos that are done, and of all.
    ///
    /// # Errors
    /// Before anything is predicted: where the sample cannot be read or does not fit the model's classes,
    /// where an id has no photo, and where the file cannot be written. During prediction: where `progress`
    /// asks to stop.
    pub fn write<B: Backbone>(
        &self,
        model: &Model<B>,
        test: &Path,
        out: &Path,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Submitted> {
        let config = model.config();
        let plan = Plan::new(self.sample.as_deref(), self.values, config, test)?;
        let names_only = plan.names_only();
        let at = self.clip_at(config, names_only)?;
        check_writable(out)?;

        let delimiter = u8::try_from(plan.delimiter).unwrap_or(b',');
        let mut table = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        table.write_record(&plan.header).expect(in_memory);
        let mut filled = Vec::new();
        let (total, classes) = (plan.rows.len(), config.classes.len());
        let paths: Vec<PathBuf> = plan.rows.iter().map(|(_, path)| path.clone()).collect();
        for (index, ((cells, _), prediction)) in
            plan.rows.iter().zip(model.predict_with(paths, self.tta)?).enumerate()
        {
            let (row, chosen) = match prediction {
                Ok(prediction) => {
                    let row = clip(prediction.task, &prediction.probabilities, at);
                    (row, predicted_indices(&prediction))
                }
                Err(Error::Photo { path, reason }) => {
                    filled.push(Skipped::image(path, reason));
                    (vec![1.0 / classes as f32; classes], Vec::new())
                }
                Err(error) => return Err(error),
            };
            let cells = plan.cells(cells, &row, &chosen, &config.classes, at);
            table.write_record(cells).expect(in_memory);
            if progress(index + 1, total).is_break() {
                return Err(Error::Stopped);
            }
        }
        file::write_whole(out, &table.into_inner().expect(in_memory))?;
        let trained_on = TrainedOn::of_run(&folder_of(Path::new(model.origin())))?;
        let trained = trained_on.map_or(0, |trained_on| {
            plan.rows
                .iter()
                .filter_map(|(_, path)| digest_of(path))
                .filter(|digest| trained_on.has(digest))
                .count()
        });
        Ok(Submitted {
            trained,
            rows: total,
            columns: plan.columns,
            probabilities: !names_only,
            filled,
            unnamed: plan.unnamed,
            untrained: plan.untrained,
            clip: at,
        })
    }

    /// The distance from 0 and 1 to clip probabilities to.
    fn clip_at(&self, config: &ModelConfig, names_only: bool) -> Result<f64> {
        match (self.clip_probabilities, &config.clip) {
            (Some(at), _) if !CLIP_RANGE.contains(&at) => {
                Err(Error::setting("clip_probabilities", at, "from 0 to below 0.5, such as 0.001"))
            }
            _ if names_only => Ok(0.0),
            (Some(at), _) => Ok(at),
            (None, chosen) => Ok(chosen.as_ref().map_or(0.0, |chosen| chosen.at)),
        }
    }
}

/// The predicted classes, as indices.
fn predicted_indices(prediction: &Prediction) -> Vec<usize> {
    let names = prediction.predicted_labels();
    let index = |name: &String| prediction.classes.iter().position(|class| class == name);
    names.iter().filter_map(|class| index(&class.class)).collect()
}

/// Checks that a file can be written there, by writing a temporary one beside it; missing folders are created
/// later.
fn check_writable(out: &Path) -> Result<()> {
    if out.is_dir() {
        return Err(Error::OutputPath { path: out.to_owned(), reason: "it is a folder".to_owned() });
    }
    if files::is_stream(out) {
        return Ok(());
    }
    let existing = files::folder_of(out).ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    if !existing.is_dir() {
        let reason = format!("{} is a file; expected a folder", existing.display());
        return Err(Error::OutputPath { path: out.to_owned(), reason });
    }
    tempfile::Builder::new().prefix(".writing-").tempfile_in(existing).map_err(Error::io("write", out))?;
    Ok(())
}
