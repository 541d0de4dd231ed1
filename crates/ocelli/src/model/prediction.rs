//! Predictions of photos, and how they follow from the network's logits.

use std::path::PathBuf;
use std::sync::Arc;

use ocelli_data::{Batch, Batches, Items, Skipped, Task};
use ocelli_nn::{Backbone, Network};
use serde::Serialize;

use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::metric::predictions::{predicted_labels, probabilities};
use crate::metric::temperature::apply_temperature;
use crate::model::UnknownOfModel;
use crate::model::finite::check_outputs;
use crate::model::int8::FeatureNetwork;
use crate::model::tta::TtaMean;
use crate::unknown::Unknown;

/// The prediction for one photo.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Prediction {
    /// The photo; empty for an image in memory.
    pub path: PathBuf,
    /// The names of the classes.
    pub classes: Arc<[String]>,
    /// The probability of each class; they sum to 1 for single-label models.
    pub probabilities: Vec<f32>,
    /// Whether an image has one label or several.
    pub task: Task,
    /// The threshold of each class for multi-label predictions.
    pub thresholds: Arc<[f32]>,
    /// The lowest probability of a predicted class for single-label predictions: see
    /// [`Model::min_probability`](crate::Model::min_probability).
    pub min_probability: f32,
    /// How unlike the training photos it is, in the plain view; `None` where the model has no unknown score.
    pub unknown: Option<Unknown>,
}

/// A class and its probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassProbability {
    /// The class.
    pub class: String,
    /// 0 to 1.
    pub probability: f32,
}

impl Prediction {
    /// The most probable class.
    pub fn best(&self) -> ClassProbability {
        self.ranked().swap_remove(0)
    }

    /// The predicted classes, the most probable first. Single-label models: one class, or none if its
    /// probability is below [`min_probability`](Self::min_probability). Multi-label models: all whose
    /// probability reaches their threshold, possibly none.
    pub fn predicted_labels(&self) -> Vec<ClassProbability> {
        let decided = predicted_labels(self.task, &self.probabilities, &self.thresholds);
        let guess = |class: usize| ClassProbability {
            class: self.classes[class].clone(),
            probability: self.probabilities[class],
        };
        let mut guesses: Vec<ClassProbability> = decided.into_iter().map(guess).collect();
        if self.task == Task::SingleLabel {
            guesses.retain(|guess| guess.probability >= self.min_probability);
        }
        guesses.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        guesses
    }

    /// The `count` most probable classes, the most probable first; all, if there are fewer.
    pub fn top_k(&self, count: usize) -> Vec<ClassProbability> {
        let mut guesses = self.ranked();
        guesses.truncate(count);
        guesses
    }

    /// All classes, the most probable first.
    pub fn ranked(&self) -> Vec<ClassProbability> {
        let named = self.classes.iter().zip(&self.probabilities);
        let mut guesses: Vec<ClassProbability> = named
            .map(|(class, &probability)| ClassProbability { class: class.clone(), probability })
            .collect();
        guesses.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        guesses
    }
}

/// From the logits of a photo's views to its prediction: the same way for all predictions of a model.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    /// The model's file, for errors.
    pub(super) model: String,
    pub(super) task: Task,
    pub(super) classes: Arc<[String]>,
    /// How several views are averaged.
    pub(super) mean: TtaMean,
    pub(super) temperature: Option<f64>,
    pub(super) thresholds: Arc<[f32]>,
    pub(super) min_probability: f32,
}

impl Answers {
    /// The probabilities of all classes, from the weight and the logits of each view; `photo` names it in
    /// errors.
    pub(super) fn probabilities(&self, views: &[(f64, &[f32])], photo: &str) -> Result<Vec<f32>> {
        for (_, logits) in views {
            check_outputs(logits, &self.classes, &self.model, photo)?;
        }
        let mut row = match views {
            [(_, plain)] => probabilities(self.task, plain),
            _ => self.mean.of(self.task, views),
        };
        if let Some(temperature) = self.temperature {
            apply_temperature(self.task, &mut row, temperature);
        }
        Ok(row)
    }

    fn prediction(
        &self,
        path: PathBuf,
        views: &[(f64, &[f32])],
        unknown: Option<Unknown>,
    ) -> Result<Prediction> {
        let probabilities = self.probabilities(views, &path.display().to_string())?;
        let (classes, thresholds) = (self.classes.clone(), self.thresholds.clone());
        let (task, min_probability) = (self.task, self.min_probability);
        Ok(Prediction { path, classes, probabilities, task, thresholds, min_probability, unknown })
    }
}

/// All views of some photos, batch by batch.
pub(super) struct Passes<B: Backbone> {
    pub(super) network: Network<B>,
    pub(super) features: FeatureNetwork<B>,
    pub(super) answers: Answers,
    pub(super) items: Arc<Items>,
    /// The batches of each view, and its weight.
    pub(super) passes: Vec<(Batches, f64)>,
    pub(super) unknown: Option<UnknownOfModel>,
    /// The first photo of the next batch.
    pub(super) next: usize,
}

/// One view of the photos of a batch.
struct View {
    weight: f64,
    /// The photos that could be read in this view, ascending, and their logits, row by row.
    indices: Vec<usize>,
    logits: Vec<f32>,
    /// Why the others could not, in their order.
    skipped: Vec<Skipped>,
}

impl<B: Backbone> Passes<B> {
    /// The predictions of a batch's photos, in order. A photo that can no longer be read in one of its views
    /// has an error.
    pub(super) fn next(&mut self) -> Option<Result<Vec<Result<Prediction>>>> {
        let mut views = Vec::with_capacity(self.passes.len());
        let mut scores = Vec::new().into_iter();
        for (batches, weight) in &mut self.passes {
            let mut batch = match batches.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error.into())),
            };
            // The first view is the plain one.
            let unknown = self.unknown.as_ref().filter(|_| views.is_empty());
            let (logits, of_view) = outputs(&self.network, &self.features, unknown, &mut batch);
            if views.is_empty() {
                scores = of_view.into_iter();
            }
            views.push(View { weight: *weight, indices: batch.indices, logits, skipped: batch.skipped });
        }
        let count = views.first().map_or(0, |view| view.indices.len() + view.skipped.len());
        let photos = self.next..self.next + count;
        self.next = photos.end;
        let mut rows = vec![0; views.len()];
        let predictions = photos.enumerate().map(|(position, photo)| {
            let path = self.items[photo].path.clone();
            let is_read = views.first().is_some_and(|plain| plain.indices.binary_search(&photo).is_ok());
            let unknown = if is_read { scores.next() } else { None };
            match logits_of(photo, position, &views, &mut rows) {
                Ok(logits) => self.answers.prediction(path, &logits, unknown),
                Err(reason) => Err(Error::Photo { path, reason }),
            }
        });
        Some(Ok(predictions.collect()))
    }
}

/// The weight and the logits of every view of the photo at `position` in its batch, or why one view could not
/// be read. `rows`: for each view, how many photos before it could be read.
fn logits_of<'a>(
    photo: usize,
    position: usize,
    views: &'a [View],
    rows: &mut [usize],
) -> std::result::Result<Vec<(f64, &'a [f32])>, String> {
    let (mut logits, mut lost) = (Vec::with_capacity(views.len()), None);
    for (view, row) in views.iter().zip(rows) {
        if view.indices.get(*row) == Some(&photo) {
            let classes = view.logits.len() / view.indices.len();
            logits.push((view.weight, &view.logits[*row * classes..][..classes]));
            *row += 1;
        } else {
            let skipped = view.skipped.get(position - *row);
            lost = lost.or(Some(skipped.map(|skipped| skipped.reason.clone()).unwrap_or_default()));
        }
    }
    match lost {
        None => Ok(logits),
        Some(reason) if logits.is_empty() => Err(reason),
        Some(reason) => Err(format!("was changed while it was read ({reason}); predict it again")),
    }
}

/// The logits of a batch, row by row, and its unknown scores, if they are asked for.
pub(super) fn outputs<B: Backbone>(
    network: &Network<B>,
    features: &FeatureNetwork<B>,
    unknown: Option<&UnknownOfModel>,
    batch: &mut Batch,
) -> (Vec<f32>, Vec<Unknown>) {
    if batch.indices.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let pooled = features.infer(to_tensor(batch, &network.device()));
    let scores = unknown.map_or_else(Vec::new, |UnknownOfModel { score, threshold }| {
        let features = pooled.clone().into_data().convert::<f32>();
        let features = features.try_into_vec::<f32>().expect("converted to f32");
        let scores = score.of(&features).into_iter();
        scores.map(|score| Unknown { score, threshold: *threshold }).collect()
    });
    let logits = network.infer_head(pooled);
    (logits.into_data().try_into_vec::<f32>().expect("logits are f32"), scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_that_changes_between_views_has_the_error_itself() {
        // Three photos of a batch; the first cannot be read at all, the second not any more in the second
        // view.
        let lost = |reasons: &[&str]| {
            reasons.iter().map(|reason| Skipped::image("photo", reason)).collect::<Vec<_>>()
        };
        let views = [
            View {
                weight: 0.4,
                indices: vec![8, 9],
                logits: vec![1.0, 2.0, 3.0, 4.0],
                skipped: lost(&["x"]),
            },
            View { weight: 0.6, indices: vec![9], logits: vec![5.0, 6.0], skipped: lost(&["x", "cut off"]) },
        ];
        let mut rows = vec![0; 2];
        let mut of = |photo: usize, position: usize| logits_of(photo, position, &views, &mut rows);
        assert_eq!(of(7, 0), Err("x".to_owned()));
        let error = of(8, 1).unwrap_err();
        assert!(error.contains("was changed while it was read") && error.contains("cut off"), "{error}");
        assert_eq!(of(9, 2), Ok(vec![(0.4, &[3.0, 4.0][..]), (0.6, &[5.0, 6.0][..])]));
    }
}
