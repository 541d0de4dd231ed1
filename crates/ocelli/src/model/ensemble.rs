//! Ensembles of several models.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ocelli_data::Task;
use ocelli_nn::{AnyBackbone, Backbone};

use crate::error::{Error, Result};
use crate::model::prediction::Prediction;
use crate::model::tta::Tta;
use crate::model::{AT_ONCE, Model, check_min_probability};

/// Models of the same classes, whose probabilities are averaged: the snapshots of a fit's cycles (Huang et
/// al. 2017, <https://arxiv.org/abs/1704.00109>), or models of different folds, sizes or architectures.
///
/// Classes are compared by name, whatever their order in each model; predictions have the first model's order.
/// An ensemble of one model predicts what the model does, to the bit.
#[derive(Debug)]
pub struct Ensemble<B: Backbone = AnyBackbone> {
    models: Vec<Model<B>>,
    /// For each model, where each class of the first is among its own; `None` if the order is the same.
    orders: Vec<Option<Vec<usize>>>,
    min_probability: f32,
}

impl Ensemble {
    /// Reads the models: their files, or the folders of their runs.
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
        let (task, classes) = (first.config().task, &first.config().classes);
        let orders = models.iter().enumerate().map(|(index, model)| {
            let config = model.config();
            if config.task != task {
                return Err(Error::EnsembleTasks {
                    model: model.origin().to_owned(),
                    found: config.task,
                    expected: task,
                });
            }
            order_of(&config.classes, classes).ok_or_else(|| Error::ClassMismatch {
                what: format!("model {} of the ensemble, {},", index + 1, model.origin()),
                found: config.classes.clone(),
                expected: classes.clone(),
            })
        });
        let orders = orders.collect::<Result<Vec<_>>>()?;
        Ok(Self { models, orders, min_probability: 0.0 })
    }

    /// The models, the first one first.
    pub fn models(&self) -> &[Model<B>] {
        &self.models
    }

    /// The classes, in the order of the first model.
    pub fn classes(&self) -> &[String] {
        &self.models[0].config().classes
    }

    /// Whether an image has one label or several.
    pub fn task(&self) -> Task {
        self.models[0].config().task
    }

    /// As [`Model::min_probability`], for the mean of the models' probabilities.
    ///
    /// # Errors
    /// As [`Model::min_probability`].
    pub fn min_probability(self, probability: f32) -> Result<Self> {
        check_min_probability(self.task(), probability)?;
        Ok(Self { min_probability: probability, ..self })
    }

    /// The lowest probability of a predicted class.
    pub(crate) fn lowest(&self) -> f32 {
        self.min_probability
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
        self.predict_with(photos, None)
    }

    /// As [`predict`](Self::predict), with optional test-time augmentation by each model.
    ///
    /// # Errors
    /// As [`Model::predict_with`].
    pub fn predict_with<P: Into<PathBuf>>(
        &self,
        photos: impl IntoIterator<Item = P>,
        tta: Option<Tta>,
    ) -> Result<impl Iterator<Item = Result<Prediction>>> {
        let mut photos = photos.into_iter().map(Into::into);
        let start = move |photos: Vec<PathBuf>| -> Result<Vec<_>> {
            self.models.iter().map(|model| model.predict_with(photos.clone(), tta)).collect()
        };
        let mut each = start(photos.by_ref().take(AT_ONCE).collect())?;
        Ok(std::iter::from_fn(move || {
            // All models are advanced, so that they stay in step even where one fails.
            let mut predictions: Vec<Result<Prediction>> =
                each.iter_mut().map_while(Iterator::next).collect();
            if predictions.len() < self.models.len() {
                let more: Vec<PathBuf> = photos.by_ref().take(AT_ONCE).collect();
                if more.is_empty() {
                    return None;
                }
                each = match start(more) {
                    Ok(each) => each,
                    Err(error) => return Some(Err(error)),
                };
                predictions = each.iter_mut().map_while(Iterator::next).collect();
            }
            (!predictions.is_empty()).then(|| self.mean(predictions))
        }))
    }

    /// The mean of the models' predictions for a photo; the first error, if there is one.
    fn mean(&self, predictions: Vec<Result<Prediction>>) -> Result<Prediction> {
        let models = predictions.len() as f32;
        let mut predictions = predictions.into_iter().zip(&self.orders);
        let (first, _) = predictions.next().ok_or(Error::EmptyEnsemble)?;
        let mut mean = first?;
        let mut thresholds = mean.thresholds.to_vec();
        for (prediction, order) in predictions {
            let prediction = prediction?;
            add(&mut mean.probabilities, &prediction.probabilities, order.as_deref());
            add(&mut thresholds, &prediction.thresholds, order.as_deref());
        }
        mean.probabilities.iter_mut().for_each(|value| *value /= models);
        mean.thresholds = thresholds.iter().map(|value| value / models).collect::<Arc<[f32]>>();
        mean.min_probability = self.min_probability;
        // Scores of different networks have no common threshold.
        mean.unknown = mean.unknown.filter(|_| self.models.len() == 1);
        Ok(mean)
    }
}

/// Adds a value for each class, where they stand in another order.
fn add(sums: &mut [f32], values: &[f32], order: Option<&[usize]>) {
    for (index, sum) in sums.iter_mut().enumerate() {
        *sum += values[order.map_or(index, |order| order[index])];
    }
}

/// Where each of these classes is among others; `Some(None)` if the order is the same, `None` if they are not
/// the same classes.
fn order_of(classes: &[String], expected: &[String]) -> Option<Option<Vec<usize>>> {
    if classes == expected {
        return Some(None);
    }
    let indices: HashMap<&String, usize> = classes.iter().zip(0..).collect();
    if classes.len() != expected.len() || indices.len() != classes.len() {
        return None;
    }
    let order: Vec<usize> =
        expected.iter().map(|class| indices.get(class).copied()).collect::<Option<_>>()?;
    // A name that is expected twice would leave another one out.
    let mut seen = vec![false; order.len()];
    order.iter().for_each(|&index| seen[index] = true);
    seen.into_iter().all(|seen| seen).then_some(Some(order))
}

#[cfg(test)]
mod tests {
    use super::order_of;

    #[test]
    fn classes_are_compared_by_name() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let order = |classes, expected| order_of(&names(classes), &names(expected));
        assert_eq!(order("a b c", "a b c"), Some(None));
        assert_eq!(order("c a b", "a b c"), Some(Some(vec![1, 2, 0])));
        assert_eq!(order("a b", "a b c"), None);
        assert_eq!(order("a b d", "a b c"), None);
        assert_eq!(order("a a b", "a b a"), None);
        assert_eq!(order("a b c", "a a b"), None);
    }
}
