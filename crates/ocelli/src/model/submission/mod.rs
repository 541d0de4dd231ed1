//! Submissions to competitions: a table with a row for each test photo, in the form that is asked for.

pub(crate) mod clip;
pub(crate) mod values;

mod plan;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ocelli_data::Skipped;
use ocelli_nn::Backbone;

use crate::error::{Error, Result};
use crate::file;
use crate::model::Model;
use crate::model::contract::Contract;
use crate::model::prediction::Prediction;
use crate::model::submission::clip::clip;
use crate::model::submission::plan::Plan;
use crate::model::submission::values::Values;
use crate::model::tta::Tta;

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

/// What a submission came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
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

impl Submission {
    /// Predicts the photos of a folder and writes the submission. `progress` is told after each photo how many are done,
    /// and of how many.
    ///
    /// # Errors
    /// Before anything is predicted, where the sample cannot be read or does not fit the model's classes, where an id
    /// has no photo, and where the file cannot be written; where `progress` asks to stop.
    pub fn write<B: Backbone>(
        &self,
        model: &Model<B>,
        test: &Path,
        out: &Path,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Submitted> {
        let contract = model.contract();
        let plan = Plan::new(self.sample.as_deref(), self.values, contract, test)?;
        let names_only = plan.names_only();
        let at = self.clip_at(contract, names_only)?;
        check_writable(out)?;

        let delimiter = u8::try_from(plan.delimiter).unwrap_or(b',');
        let mut table = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        let in_memory = "writing to memory succeeds";
        table.write_record(&plan.header).expect(in_memory);
        let mut filled = Vec::new();
        let (total, classes) = (plan.rows.len(), contract.classes.len());
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
            let cells = plan.cells(cells, &row, &chosen, &contract.classes);
            table.write_record(cells).expect(in_memory);
            if progress(index + 1, total).is_break() {
                return Err(Error::Stopped);
            }
        }
        file::write_whole(out, &table.into_inner().expect(in_memory))?;
        Ok(Submitted {
            rows: total,
            columns: plan.columns,
            probabilities: !names_only,
            filled,
            unnamed: plan.unnamed,
            clip: at,
        })
    }

    /// How far probabilities are kept from 0 and 1.
    fn clip_at(&self, contract: &Contract, names_only: bool) -> Result<f64> {
        match (self.clip, &contract.clip) {
            (Some(at), _) if !(0.0..0.5).contains(&at) => {
                Err(Error::setting("clip", at, "from 0 to below 0.5, such as 0.001"))
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
