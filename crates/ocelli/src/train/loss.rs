//! The training loss.

use burn::tensor::{Tensor, TensorData, activation};
use ocelli_data::Task;
use serde::{Deserialize, Serialize};

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::train::custom_loss::CustomLoss;
use crate::train::gradients::ParameterGradients;

/// The training loss. The default is cross-entropy, or binary cross-entropy where images have several classes.
///
/// For one image whose class is t (a distribution, where images are mixed) and the network's probabilities p:
///
/// - one class an image: `−Σ t'(c) (1 − p(c))^γ ln p(c)` over the classes c;
/// - several: the mean over the classes of `−t'(c) (1 − p(c))^γ ln p(c) − (1 − t'(c)) p(c)^γ ln(1 − p(c))`.
///
/// γ = 0 is cross-entropy. A batch's loss is the mean over its images, weighted by the weights of their classes. What is
/// measured on the validation images is always plain cross-entropy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Loss {
    /// Label smoothing ε (Szegedy et al. 2016, <https://arxiv.org/abs/1512.00567>): t' is `(1 − ε) t + ε / classes`, or
    /// `(1 − ε) t + ε / 2` where images have several classes. From 0 to below 1; 0.1 is usual.
    pub label_smoothing: f64,
    /// The exponent γ of the focal loss (Lin et al. 2017, <https://arxiv.org/abs/1708.02002>), which gives less weight to
    /// what the network is already right about. 0, or from 1 to 10; 2 is usual.
    pub focal_gamma: f64,
    /// A custom loss, in place of the formulas above. Smoothing, γ and the weights of classes must then be left as they
    /// are: a custom loss applies its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomLoss>,
    /// The weights of the classes.
    pub class_weights: ClassWeights,
}

/// The weights of the classes in a loss: of the images of a class, or, where images have several classes, the terms of the
/// images that have a class (`pos_weight` of PyTorch).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClassWeights {
    /// All alike.
    #[default]
    Equal,
    /// Rare classes more: `images / (classes · images of the class)`; where images have several classes, the
    /// number of training images without a class over that with it.
    Balanced,
    /// These, one a class in the order of [`ImageData::classes`], each 0 or more.
    Given(Vec<f64>),
}

impl Loss {
    /// Cross-entropy with labels smoothed by ε.
    pub fn smoothed(smoothing: f64) -> Self {
        Self { label_smoothing: smoothing, ..Self::default() }
    }

    /// The focal loss with exponent γ.
    pub fn focal(gamma: f64) -> Self {
        Self { focal_gamma: gamma, ..Self::default() }
    }

    /// The same loss with classes of this weight.
    pub fn class_weights(self, class_weights: ClassWeights) -> Self {
        Self { class_weights, ..self }
    }

    pub(crate) fn check(&self, classes: usize) -> Result<()> {
        if let Some(custom) = &self.custom {
            custom.check()?;
            if *self != Self::from(custom.clone()) {
                let value = format!("{} with label smoothing, a focal γ or class weights", custom.name());
                return Err(Error::setting("loss", value, "a custom loss alone, which applies its own"));
            }
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Error::setting(
                "label_smoothing",
                self.label_smoothing,
                "from 0 to below 1, such as 0.1",
            ));
        }
        if self.focal_gamma != 0.0 && !(1.0..=10.0).contains(&self.focal_gamma) {
            return Err(Error::setting("focal_gamma", self.focal_gamma, "0, or from 1 to 10"));
        }
        if let ClassWeights::Given(weights) = &self.class_weights {
            if weights.len() != classes {
                let value = format!("{} for {classes} classes", weights.len());
                return Err(Error::setting("class_weights", value, "one a class"));
            }
            let usable = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
            if !usable || weights.iter().all(|weight| *weight == 0.0) {
                return Err(Error::setting(
                    "class_weights",
                    format!("{weights:?}"),
                    "0 or more, and some above 0",
                ));
            }
        }
        Ok(())
    }

    /// The mean loss of logits `[images, classes]` for targets of the same shape, from 0 to 1.
    ///
    /// `weights` are those of the classes, from [`weights`](Self::weights).
    pub(crate) fn of(
        &self,
        logits: Tensor<2>,
        targets: Vec<f32>,
        weights: Option<&[f32]>,
        task: Task,
    ) -> Result<Tensor<1>> {
        let [images, classes] = logits.dims();
        let device = logits.device();
        let matrix =
            |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [images, classes]), &device);
        if let Some(custom) = &self.custom {
            return custom.of(logits, matrix(targets));
        }
        let smoothing = self.label_smoothing as f32;
        let smooth = |to: f32| -> Vec<f32> {
            targets.iter().map(|target| (1.0 - smoothing) * target + smoothing * to).collect()
        };
        let focused = |loss: Tensor<2>, miss: Tensor<2>| match self.focal_gamma {
            0.0 => loss,
            gamma => loss * miss.powf_scalar(gamma as f32),
        };
        Ok(match task {
            Task::SingleLabel => {
                let likely = activation::log_softmax(logits, 1);
                let miss = likely.clone().exp().neg().add_scalar(1.0);
                // An image's weight is in its row of targets.
                let (scale, total) = image_weights(&targets, weights, classes);
                let mut goals = smooth(1.0 / classes as f32);
                for (row, scale) in goals.chunks_exact_mut(classes).zip(scale) {
                    row.iter_mut().for_each(|goal| *goal *= scale);
                }
                focused(likely * matrix(goals), miss).sum().mul_scalar(-1.0 / total)
            }
            Task::MultiLabel => {
                let mut goals = smooth(0.5);
                let others = goals.iter().map(|goal| 1.0 - goal).collect();
                if let Some(weights) = weights {
                    goals.iter_mut().zip(weights.iter().cycle()).for_each(|(goal, weight)| *goal *= weight);
                }
                let (likely, unlikely) =
                    (activation::log_sigmoid(logits.clone()), activation::log_sigmoid(logits.clone().neg()));
                let has = activation::sigmoid(logits);
                let has_not = has.clone().neg().add_scalar(1.0);
                let terms =
                    focused(likely * matrix(goals), has_not) + focused(unlikely * matrix(others), has);
                terms.sum().mul_scalar(-1.0 / (images * classes) as f32)
            }
        })
    }

    /// Refuses a custom loss whose gradients reach nothing.
    pub(crate) fn check_gradients(&self, gradients: &ParameterGradients) -> Result<()> {
        match &self.custom {
            Some(custom) if gradients.is_empty() => Err(custom.without_gradients()),
            _ => Ok(()),
        }
    }

    /// The weights of the classes where they are not all alike.
    pub(crate) fn weights(&self, data: &ImageData) -> Option<Vec<f32>> {
        match &self.class_weights {
            ClassWeights::Equal => None,
            ClassWeights::Given(weights) => Some(weights.iter().map(|weight| *weight as f32).collect()),
            ClassWeights::Balanced => {
                let images = data.train_len() as f32;
                let counts = data.items().class_counts(&data.split().train);
                // A class without images weighs nothing, since nothing is weighed by it.
                let weight = |count: usize| match (count as f32, data.task()) {
                    (0.0, _) => 0.0,
                    (count, Task::SingleLabel) => images / (counts.len() as f32 * count),
                    (count, Task::MultiLabel) => (images - count) / count,
                };
                Some(counts.iter().map(|count| weight(*count)).collect())
            }
        }
    }
}

impl From<CustomLoss> for Loss {
    fn from(custom: CustomLoss) -> Self {
        Self { custom: Some(custom), ..Self::default() }
    }
}

/// The weight of every image, which is that of its class, and their sum.
fn image_weights(targets: &[f32], weights: Option<&[f32]>, classes: usize) -> (Vec<f32>, f32) {
    let weight = |row: &[f32]| match weights {
        Some(weights) => row.iter().zip(weights).map(|(target, weight)| target * weight).sum(),
        None => 1.0,
    };
    let each: Vec<f32> = targets.chunks_exact(classes).map(weight).collect();
    let total: f32 = each.iter().sum();
    // A batch of nothing but weightless classes teaches nothing.
    (each, if total > 0.0 { total } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f64; 12] = [1.5, -0.3, 0.2, -2.0, 0.4, 3.1, 0.0, -0.7, 0.9, -4.0, 2.2, 0.6];
    /// The second image is a mixture.
    const TARGETS: [f64; 12] = [1.0, 0.0, 0.0, 0.3, 0.7, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    const CLASSES: usize = 3;

    fn losses() -> Vec<(Loss, Option<Vec<f32>>)> {
        let weights = Some(vec![0.5, 2.0, 1.25]);
        vec![
            (Loss::default(), None),
            (Loss::smoothed(0.1), None),
            (Loss::focal(2.0), None),
            (Loss { label_smoothing: 0.2, focal_gamma: 1.5, ..Loss::default() }, weights.clone()),
            (Loss::default(), weights),
        ]
    }

    /// The formulas of [`Loss`]'s docs in f64, a number at a time.
    fn slow(loss: &Loss, weights: Option<&[f32]>, task: Task, logits: &[f64]) -> f64 {
        let weight = |class: usize| weights.map_or(1.0, |weights| f64::from(weights[class]));
        let (mut sum, mut total) = (0.0, 0.0);
        for (row, targets) in logits.chunks(CLASSES).zip(TARGETS.chunks(CLASSES)) {
            match task {
                Task::SingleLabel => {
                    let normal: f64 = row.iter().map(|logit| logit.exp()).sum();
                    let image: f64 = (0..CLASSES).map(|class| targets[class] * weight(class)).sum();
                    total += image;
                    for class in 0..CLASSES {
                        let p = row[class].exp() / normal;
                        let goal = (1.0 - loss.label_smoothing) * targets[class]
                            + loss.label_smoothing / CLASSES as f64;
                        sum -= image * goal * (1.0 - p).powf(loss.focal_gamma) * p.ln();
                    }
                }
                Task::MultiLabel => {
                    total += CLASSES as f64;
                    for class in 0..CLASSES {
                        let p = 1.0 / (1.0 + (-row[class]).exp());
                        let goal = (1.0 - loss.label_smoothing) * targets[class] + loss.label_smoothing / 2.0;
                        sum -= weight(class) * goal * (1.0 - p).powf(loss.focal_gamma) * p.ln();
                        sum -= (1.0 - goal) * p.powf(loss.focal_gamma) * (1.0 - p).ln();
                    }
                }
            }
        }
        sum / total
    }

    fn tensor(values: &[f64]) -> Tensor<2> {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        let data = TensorData::new(values, [LOGITS.len() / CLASSES, CLASSES]);
        Tensor::from_data(data, &burn::tensor::Device::flex().autodiff()).require_grad()
    }

    #[test]
    fn losses_and_their_gradients_are_those_of_the_formulas() {
        let targets: Vec<f32> = TARGETS.iter().map(|value| *value as f32).collect();
        for task in [Task::SingleLabel, Task::MultiLabel] {
            for (loss, weights) in losses() {
                let logits = tensor(&LOGITS);
                let value = loss.of(logits.clone(), targets.clone(), weights.as_deref(), task).unwrap();
                let expected = slow(&loss, weights.as_deref(), task, &LOGITS);
                let seen = f64::from(value.clone().into_scalar::<f32>());
                assert!(
                    (seen - expected).abs() < 1e-5 * expected.abs().max(1.0),
                    "{loss:?}, {task:?}: {seen}, {expected}"
                );
                let gradients = value.backward();
                let gradient = logits.grad(&gradients).unwrap().into_data().try_into_vec::<f32>().unwrap();
                for (index, seen) in gradient.iter().enumerate() {
                    let moved = |by: f64| {
                        let mut logits = LOGITS;
                        logits[index] += by;
                        slow(&loss, weights.as_deref(), task, &logits)
                    };
                    let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    let off = (f64::from(*seen) - expected).abs();
                    assert!(off < 1e-4, "{loss:?}, {task:?}, logit {index}: {seen}, {expected}");
                }
            }
        }
    }

    /// PyTorch 2's `cross_entropy(weight=…)`, `cross_entropy(label_smoothing=0.1)` and
    /// `binary_cross_entropy_with_logits(pos_weight=…)` of images of one class.
    #[test]
    fn losses_are_pytorchs() {
        let targets = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0];
        let weights = Some(vec![0.5f32, 2.0, 1.25]);
        let cases = [
            (Loss::default(), weights.clone(), Task::SingleLabel, 1.163186951932677),
            (Loss::smoothed(0.1), None, Task::SingleLabel, 1.0578527933374928),
            (Loss::default(), weights, Task::MultiLabel, 0.7115669439520454),
        ];
        for (loss, weights, task, expected) in cases {
            let seen = loss.of(tensor(&LOGITS), targets.clone(), weights.as_deref(), task).unwrap();
            let seen = f64::from(seen.into_scalar::<f32>());
            assert!((seen - expected).abs() < 1e-5, "{loss:?}, {task:?}: {seen}, PyTorch {expected}");
        }
    }

    /// Sure answers, right and wrong, give numbers.
    #[test]
    fn extreme_logits_give_finite_gradients() {
        for task in [Task::SingleLabel, Task::MultiLabel] {
            for (loss, weights) in losses() {
                let logits = tensor(&[80.0, -80.0, 0.0, -80.0, 80.0, 0.0, 80.0, -80.0, 0.0, 1.0, 2.0, 3.0]);
                let targets = vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
                let value = loss.of(logits.clone(), targets, weights.as_deref(), task).unwrap();
                let gradients = value.backward();
                let gradient = logits.grad(&gradients).unwrap().into_data().try_into_vec::<f32>().unwrap();
                assert!(gradient.iter().all(|value| value.is_finite()), "{loss:?}, {task:?}: {gradient:?}");
            }
        }
    }
}
