//! Test-time augmentation: predictions of several views of an image are averaged.

use ocelli_data::{Augmentation, Crop, Loader, Target, Task, Transform};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::predictions::{Predictions, log_softmax, probabilities};

/// Which views of an image are predicted besides the plain one, and how they are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tta {
    /// The views.
    pub views: TtaViews,
    /// How they are averaged.
    pub mean: TtaMean,
}

/// The views of an image besides the plain one, which validation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TtaViews {
    /// This many views, augmented as in training. The plain view has the weight of ⌈number / 4⌉ of them
    /// (fastai 0.7).
    Random(usize),
    /// Eight fixed views: the image enlarged by 1.35 and cropped at its four corners, each with its mirror
    /// image. The plain view has a weight of 0.4, these have 0.6 together (fastai 1).
    Corners,
}

/// How the views of an image are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TtaMean {
    /// The mean of the probabilities.
    #[default]
    Probabilities,
    /// The probabilities of the mean of the logits: a geometric mean.
    Logits,
}

impl Tta {
    /// This many augmented views besides the plain one; the lesson has 4.
    pub fn views(number: usize) -> Self {
        Self { views: TtaViews::Random(number), mean: TtaMean::Probabilities }
    }

    /// The four corners of the image and their mirror images, besides the plain view.
    pub fn corners() -> Self {
        Self { views: TtaViews::Corners, mean: TtaMean::Probabilities }
    }

    /// Sets how the views are averaged.
    pub fn mean(mut self, mean: TtaMean) -> Self {
        self.mean = mean;
        self
    }
}

/// The largest number of random views.
const MAX_VIEWS: usize = 64;
/// How much [`TtaViews::Corners`] enlarges.
const ENLARGED: f64 = 1.35;
/// Random views are drawn for an epoch that training never reaches.
pub(crate) const FIRST_EPOCH: u64 = 1 << 40;

impl TtaViews {
    /// The passes over the images that make all views but the plain one: for each its augmentation, its
    /// epochs, one view each, and the weight of a view. The plain view has the rest of 1.
    pub(crate) fn passes(
        self,
        augmentation: Option<&Augmentation>,
    ) -> Result<Vec<(Augmentation, Vec<u64>, f64)>> {
        match self {
            Self::Random(number) => {
                if !(1..=MAX_VIEWS).contains(&number) {
                    return Err(Error::setting("views", number, "from 1 to 64"));
                }
                let weight = 1.0 / (number + number.div_ceil(4)) as f64;
                let change = augmentation.cloned().unwrap_or_else(Augmentation::none);
                Ok(vec![(change, (0..number as u64).map(|view| FIRST_EPOCH + view).collect(), weight)])
            }
            Self::Corners => {
                let view = |number: u64| {
                    let at = |bit: u64| (number >> bit & 1) as f64;
                    let corner = Augmentation::none().zoom(ENLARGED, ENLARGED).crop(Crop::At(at(0), at(1)));
                    let mirrored = number & 4 != 0;
                    let corner =
                        if mirrored { corner.with(Transform::Flip { probability: 1.0 }) } else { corner };
                    (corner, vec![FIRST_EPOCH + number], 0.6 / 8.0)
                };
                Ok((0..8).map(view).collect())
            }
        }
    }

    /// The loaders of all views with the epoch to draw for and the weight of each, the plain one first; the
    /// weights sum to 1.
    pub(crate) fn loaders(
        self,
        plain: &Loader,
        augmentation: Option<&Augmentation>,
        seed: u64,
    ) -> Result<Vec<(Loader, u64, f64)>> {
        let mut loaders = Vec::new();
        for (change, epochs, weight) in self.passes(augmentation)? {
            let loader = plain.clone().augment(change, seed)?;
            loaders.extend(epochs.into_iter().map(|epoch| (loader.clone(), epoch, weight)));
        }
        let rest = 1.0 - loaders.iter().map(|(.., weight)| weight).sum::<f64>();
        loaders.insert(0, (plain.clone(), 0, rest));
        Ok(loaders)
    }
}

impl TtaMean {
    /// The probabilities of one image from its logits in each view, with the views' weights.
    pub(crate) fn of(self, task: Task, views: &[(f64, &[f32])]) -> Vec<f32> {
        let classes = views.first().map_or(0, |(_, logits)| logits.len());
        let mut sums = vec![0.0; classes];
        for (weight, logits) in views {
            let values: Vec<f64> = match (self, task) {
                (Self::Probabilities, _) => probabilities(task, logits).into_iter().map(f64::from).collect(),
                // Softmax ignores a common offset of logits, so they are normalised before averaging.
                (Self::Logits, Task::SingleLabel) => log_softmax(logits),
                (Self::Logits, Task::MultiLabel) => logits.iter().map(|logit| f64::from(*logit)).collect(),
            };
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
        let means: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
        if self == Self::Logits { probabilities(task, &means) } else { means }
    }
}

/// The logits of several views of some images, not yet averaged.
#[derive(Debug, Clone, PartialEq)]
pub struct TtaLogits {
    /// Whether an image has one label or several.
    pub task: Task,
    /// The number of classes.
    pub classes: usize,
    /// The items, as indices into [`ImageData::items`](crate::ImageData::items).
    pub items: Vec<usize>,
    /// The labels of each item.
    pub targets: Vec<Target>,
    /// For each view, the plain one first, logits `[items, classes]`, row by row.
    pub logits: Vec<Vec<f32>>,
    /// The weight of each view; they sum to 1.
    pub weights: Vec<f64>,
    /// The threshold of each class for multi-label predictions.
    pub thresholds: Vec<f32>,
}

impl TtaLogits {
    /// The predictions of the plain view, as in validation.
    pub fn plain(&self) -> Predictions {
        let mut predictions = Predictions::new(self.task, self.classes);
        predictions.set_thresholds(self.thresholds.clone());
        let rows = self.logits[0].chunks_exact(self.classes.max(1));
        for ((&item, target), logits) in self.items.iter().zip(&self.targets).zip(rows) {
            predictions.push(item, target, logits);
        }
        predictions
    }

    /// The averaged predictions. The losses are those of the averaged probabilities, which count as at least
    /// 1e-15.
    pub fn mean(&self, mean: TtaMean) -> Predictions {
        let mut predictions = Predictions::new(self.task, self.classes);
        predictions.set_thresholds(self.thresholds.clone());
        for (index, (&item, target)) in self.items.iter().zip(&self.targets).enumerate() {
            let rows = self.logits.iter().map(|logits| &logits[index * self.classes..][..self.classes]);
            let row = mean.of(self.task, &self.weights.iter().copied().zip(rows).collect::<Vec<_>>());
            predictions.push_probabilities(item, target, row);
        }
        predictions
    }
}
