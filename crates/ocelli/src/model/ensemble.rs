//! Several models that answer together.

use std::path::{Path, PathBuf};

use ocelli_nn::{AnyBackbone, Backbone};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::prediction::Prediction;

/// Models of the same classes, whose probabilities are averaged: the snapshots of a fit's cycles (Huang et al. 2017,
/// <https://arxiv.org/abs/1704.00109>), or models of different folds, sizes or architectures.
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
    /// These models together.
    ///
    /// # Errors
    /// [`Error::EmptyEnsemble`], [`Error::ClassMismatch`] or [`Error::TaskMismatch`].
    pub fn of(models: Vec<Model<B>>) -> Result<Self> {
        let Some(first) = models.first() else {
            return Err(Error::EmptyEnsemble);
        };
        let asked = |model: &Model<B>| (model.contract().task, model.contract().classes.clone());
        let wanted = asked(first);
        match models.iter().position(|model| asked(model) != wanted) {
            Some(index) if models[index].contract().task != wanted.0 => {
                Err(Error::TaskMismatch { model: models[index].contract().task, data: wanted.0 })
            }
            Some(index) => Err(Error::ClassMismatch {
                what: format!("model {} of the ensemble", index + 1),
                found: asked(&models[index]).1,
                expected: wanted.1,
            }),
            None => Ok(Self { models }),
        }
    }

    /// The mean of the models' probabilities for each photo, in the order given, and of their thresholds, where photos have
    /// several classes; as [`Model::predict`] otherwise. A model that is [calibrated](Model::calibrated) gives calibrated
    /// probabilities here too.
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
            // One after the other, so that each has gone on by one photo even where one of them fails.
            let answers: Vec<Result<Prediction>> = each.iter_mut().map_while(Iterator::next).collect();
            let models = answers.len() as f32;
            answers
                .into_iter()
                .reduce(|sum, next| {
                    let (mut sum, next) = (sum?, next?);
                    sum.probabilities.iter_mut().zip(next.probabilities).for_each(|(sum, next)| *sum += next);
                    let thresholds = sum.thresholds.iter().zip(next.thresholds.iter());
                    sum.thresholds = thresholds.map(|(sum, next)| sum + next).collect();
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
