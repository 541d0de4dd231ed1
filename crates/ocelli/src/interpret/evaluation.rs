//! Evaluation of a model on labelled images that it was not trained on.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ocelli_data::{Digest, Skipped};
use ocelli_nn::Backbone;

use crate::data::ImageData;
use crate::data::builder::ImageDataBuilder;
use crate::data::of_run::digest_of;
use crate::data::photos::TrainedOn;
use crate::error::{Error, Result};
use crate::interpret::Interpretation;
use crate::metric::predictions::Predictions;
use crate::model::Model;
use crate::run::folder::folder_of;
use crate::unknown::FALSE_REFUSALS;

/// A model's predictions for labelled images that it was not trained on.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The predictions, with the labels.
    pub named: Interpretation,
    /// The images.
    pub data: ImageData,
    /// Images that could not be read.
    pub skipped: Vec<Skipped>,
    /// The unknown scores of the predicted images; empty where the model has none.
    pub unknown: Vec<f32>,
}

/// Predicts all labelled images of some data; its classes are matched with the model's by name. After each
/// image `progress` is called with the number of images that are done and of all; it can ask to stop.
///
/// # Errors
/// Where the images cannot be read, or have a class that the model does not know; [`Error::Stopped`] where
/// `progress` asks to stop.
pub fn evaluate<B: Backbone>(
    model: &Model<B>,
    data: ImageDataBuilder,
    observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Evaluation> {
    let config = model.config();
    let data = data.channels(config.channels).expected_task(config.task);
    let data = data.for_evaluation(&config.classes)?;
    if data.task() != config.task {
        return Err(Error::TaskMismatch { model: config.task, data: data.task() });
    }
    let model = model.clone().limited_as(data.loading().decoder);
    let items = data.split().valid.clone();
    let mut predictions = Predictions::new(data.task(), data.classes().len());
    predictions.set_thresholds(model.config().thresholds());
    let (mut skipped, mut unknown) = (Vec::new(), Vec::new());
    let paths: Vec<PathBuf> = items.iter().map(|&item| data.items()[item].path.clone()).collect();
    for (index, prediction) in model.predict(paths)?.enumerate() {
        let item = items[index];
        match prediction {
            Ok(prediction) => {
                unknown.extend(prediction.unknown.map(|unknown| unknown.score));
                predictions.push_probabilities(item, &data.items()[item].target, prediction.probabilities)
            }
            Err(Error::Photo { path, reason }) => skipped.push(Skipped::image(path, reason)),
            Err(error) => return Err(error),
        }
        if observer(index + 1, items.len()).is_break() {
            return Err(Error::Stopped);
        }
    }
    data.can_spare(skipped.iter().map(|skipped| (skipped.path.as_path(), skipped.reason.as_str())))?;
    if predictions.is_empty() {
        return Err(Error::NoLabelledImages { data: data.items().root.clone() });
    }
    let data = data.without(|path| skipped.iter().any(|skipped| skipped.path == path));
    let named = Interpretation::new(predictions, data.items());
    Ok(Evaluation { named, data, skipped, unknown })
}

/// The unknown scores of photos of no class that a model knows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StrangerScores {
    /// One for each photo that could be read.
    pub scores: Vec<f32>,
    /// Photos that could not be read.
    pub skipped: Vec<Skipped>,
}

/// Computes the unknown scores of photos that show none of the classes, to compare them with those of an
/// [`Evaluation`]; `progress` is as that of [`evaluate`].
///
/// # Errors
/// [`Error::NoUnknownScore`] where the model has none; [`Error::NoStrangers`] where photos are among those that were
/// evaluated, or that the model was trained on, whatever their names; [`Error::Stopped`] where `progress` asks to stop.
pub fn score_strangers<B: Backbone>(
    model: &Model<B>,
    photos: Vec<PathBuf>,
    evaluation: &Evaluation,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<StrangerScores> {
    // Refuses a model without a score, with the reason.
    model.clone().false_refusals(FALSE_REFUSALS)?;
    let items = evaluation.named.predictions.items();
    let evaluated: HashSet<&Digest> = items.iter().map(|&item| &evaluation.data.digests[item]).collect();
    let digests: Vec<Digest> = photos.iter().filter_map(|photo| digest_of(photo)).collect();
    let known = digests.iter().filter(|digest| evaluated.contains(digest)).count();
    if known > 0 {
        return Err(Error::NoStrangers { known, photos: photos.len(), what: "evaluated" });
    }
    let trained = TrainedOn::of_run(&folder_of(Path::new(model.origin()))).ok().flatten();
    let all: Vec<usize> = (0..digests.len()).collect();
    let known = trained.map_or(0, |trained| trained.those_among(&digests, &all).len());
    if known > 0 {
        return Err(Error::NoStrangers { known, photos: photos.len(), what: "training" });
    }
    let (mut scores, mut skipped, total) = (Vec::new(), Vec::new(), photos.len());
    for (index, prediction) in model.predict(photos)?.enumerate() {
        match prediction {
            Ok(prediction) => scores.extend(prediction.unknown.map(|unknown| unknown.score)),
            Err(Error::Photo { path, reason }) => skipped.push(Skipped::image(path, reason)),
            Err(error) => return Err(error),
        }
        if progress(index + 1, total).is_break() {
            return Err(Error::Stopped);
        }
    }
    Ok(StrangerScores { scores, skipped })
}
