//! Ensembles of several models.

use std::path::{Path, PathBuf};

use ocelli_nn::{AnyBackbone, Backbone};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::prediction::Prediction;

/// Models of the same classes, whose probabilities are averaged: the snapshots of a fit's cycles (Huang et
/// al. 2017, <https://arxiv.org/abs/1704.00109>), or models of different folds, sizes or architectures.
#[derive(Debug)]
pub struct Ensemble<B: Backbone = AnyBackbone> {
    models: Vec<Model<B>>,
}

impl Ensemble {
    /// Reads the models.
    ///
    /// # Errors
    /// As [`Model::load`] and [`of`](Self::of).
    pub fn load<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        let models = paths.into_iter().map(Model::load).collect::<Result<Vec<_>>>()?;
        Self::of(models)
    }
}

impl<B: Backbone> Ensemble<B> {
    /// An ensemble of these models.
    ///
    /// # Errors
    /// [`Error::EmptyEnsemble`], [`Error::ClassMismatch`] or [`Error::TaskMismatch`].
    pub fn of(models: Vec<Model<B>>) -> Result<Self> {
        let Some(first) = models.first() else {
            return Err(Error::EmptyEnsemble);
        };
        let asked = |model: &Model<B>| (model.config().task, model.config().classes.clone());
        let expected = asked(first);
        match models.iter().position(|model| asked(model) != expected) {
            Some(index) if models[index].config().task != expected.0 => {
                Err(Error::TaskMismatch { model: models[index].config().task, data: expected.0 })
            }
            Some(index) => Err(Error::ClassMismatch {
                what: format!("model {} of the ensemble", index + 1),
                found: asked(&models[index]).1,
                expected: expected.1,
            }),
            None => Ok(Self { models }),
        }
    }

    /// For each photo, in the order given, the mean of the models' probabilities, and of their thresholds for
    /// multi-label data; otherwise as [`Model::predict`]. Probabilities of models that are
    /// [calibrated](Model::calibrated) are calibrated here too.
    ///
    /// # Errors
    /// As [`Model::predict`].
    pub fn predict<P: Into<PathBuf>>(
        &self,
        photos: impl IntoIterator<Item = P>,
    ) -> Result<impl Iterator<Item = Result<Prediction>>> {
        let photos: Vec<PathBuf> = photos.into_iter().map(Into::into).collect();
        let mut each =
            self.models.iter().map(|model| model.predict(photos.clone())).collect::<Result<Vec<_>>>()?;
        Ok(std::iter::from_fn(move || {
            // All models are advanced, so that they stay in step even where one fails.
            let answers: Vec<Result<Prediction>> = each.iter_mut().map_while(Iterator::next).collect();
            let models = answers.len() as f32;
            answers
                .into_iter()
                .reduce(|sum, next| {
                    let (mut sum, next) = (sum?, next?);
                    sum.probabilities.iter_mut().zip(next.probabilities).for_each(|(sum, next)| *sum += next);
                    let thresholds = sum.thresholds.iter().zip(next.thresholds.iter());
                    sum.thresholds = thresholds.map(|(sum, next)| sum + next).collect();
                    // Scores of different networks have no common threshold.
                    sum.unknown = None;
                    Ok(sum)
                })
                .map(|sum| {
                    let mut mean = sum?;
                    mean.probabilities.iter_mut().for_each(|value| *value /= models);
                    mean.thresholds = mean.thresholds.iter().map(|value| value / models).collect();
                    Ok(mean)
                })
        }))
    }
}
