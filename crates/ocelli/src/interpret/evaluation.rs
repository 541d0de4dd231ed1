//! A model's predictions of labelled images that it was not trained on.

use std::ops::ControlFlow;
use std::path::PathBuf;

use ocelli_data::Skipped;
use ocelli_nn::Backbone;

use crate::data::ImageData;
use crate::data::builder::ImageDataBuilder;
use crate::error::{Error, Result};
use crate::interpret::Interpretation;
use crate::metric::predictions::Predictions;
use crate::model::Model;

/// What a model says of images with labels that it has not been trained on.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// What it says, and what is true.
    pub named: Interpretation,
    /// The images.
    pub data: ImageData,
    /// Images that could not be read.
    pub skipped: Vec<Skipped>,
}

/// Predicts all labelled images of some data; its classes are found among the model's by name. After each image the
/// observer is told how many are done, of how many, and may ask to stop.
///
/// # Errors
/// Where the images cannot be read, or have a class that the model does not know; [`Error::Stopped`] where the observer
/// asked to stop.
pub fn evaluate<B: Backbone>(
    model: &Model<B>,
    data: ImageDataBuilder,
    observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Evaluation> {
    let contract = model.contract();
    let data = data.channels(contract.channels).expected_task(contract.task);
    let data = data.for_evaluation(&contract.classes)?;
    if data.task() != contract.task {
        return Err(Error::TaskMismatch { model: contract.task, data: data.task() });
    }
    let model = model.clone().limited_as(data.loading().decoder);
    let items = data.split().valid.clone();
    let mut predictions = Predictions::new(data.task(), data.classes().len());
    predictions.set_thresholds(model.contract().thresholds());
    let mut skipped = Vec::new();
    let paths: Vec<PathBuf> = items.iter().map(|&item| data.items()[item].path.clone()).collect();
    for (place, prediction) in model.predict(paths)?.enumerate() {
        let item = items[place];
        match prediction {
            Ok(said) => predictions.push_probabilities(item, &data.items()[item].target, said.probabilities),
            Err(Error::Photo { path, reason }) => skipped.push(Skipped::image(path, reason)),
            Err(error) => return Err(error),
        }
        if observer(place + 1, items.len()).is_break() {
            return Err(Error::Stopped);
        }
    }
    data.can_spare(skipped.iter().map(|skipped| (skipped.path.as_path(), skipped.reason.as_str())))?;
    if predictions.is_empty() {
        return Err(Error::NoLabelledImages { data: data.items().root.clone() });
    }
    let named = Interpretation::new(predictions, data.items());
    Ok(Evaluation { named, data, skipped })
}
