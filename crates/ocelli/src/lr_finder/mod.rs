//! The learning rate finder: trains a copy of the network while the learning rate grows, and records the
//! loss.
//!
//! This is the LR range test of Smith 2015 (<https://arxiv.org/abs/1506.01186>) as in fastai.

pub(crate) mod curve;
pub(crate) mod suggest;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lr_finder::curve::{LrCurve, smoothed};
use crate::schedule::learning_rates::LearningRates;

/// Options of the learning rate finder. The default is one learning rate for all layer groups, from 1e-5 to
/// 10 in 100 steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LrFind {
    /// The learning rates of the first step.
    pub start_lr: LearningRates,
    /// The head's learning rate after the last step; the other groups' keep their ratio to it.
    pub end_lr: f64,
    /// Steps, one batch each; if there are fewer batches, they are repeated.
    pub steps: usize,
    /// How the learning rates grow.
    pub growth: Growth,
    /// Images per step; default: the batch size of training.
    #[serde(default)]
    pub batch_size: Option<usize>,
    /// Stop when the average loss is more than this many times its lowest value so far.
    pub stop_above: f64,
}

/// How the learning rates grow from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// Exponentially: at step i of n it is `start · (end / start)^(i / n)`.
    Geometric,
    /// Linearly: `start + (end − start) · i / n`. (fastai 0.7 begins at 0 instead of `start`.)
    Linear,
}

impl Default for LrFind {
    fn default() -> Self {
        Self {
            start_lr: 1e-5.into(),
            end_lr: 10.0,
            steps: 100,
            growth: Growth::Geometric,
            batch_size: None,
            stop_above: 4.0,
        }
    }
}

impl LrFind {
    /// From a thousandth of these learning rates until the head's is 10: the lesson's `lr_find(lrs/1000)`.
    pub fn groups(rates: impl Into<LearningRates>) -> Self {
        Self { start_lr: rates.into().scaled(1e-3), ..Self::default() }
    }

    /// The learning rates of the first step.
    pub fn start_lr(self, start_lr: impl Into<LearningRates>) -> Self {
        Self { start_lr: start_lr.into(), ..self }
    }

    /// The head's learning rate after the last step.
    pub fn end_lr(self, end_lr: f64) -> Self {
        Self { end_lr, ..self }
    }

    /// The number of steps.
    pub fn steps(self, steps: usize) -> Self {
        Self { steps, ..self }
    }

    /// The number of images per step.
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size: Some(batch_size), ..self }
    }

    /// How the learning rates grow.
    pub fn growth(self, growth: Growth) -> Self {
        Self { growth, ..self }
    }

    /// The learning rates of step `step`, counted from 0.
    pub fn rates(&self, step: usize) -> LearningRates {
        let ratio = self.end_lr / self.start_lr.head();
        let progress = step as f64 / self.steps as f64;
        self.start_lr.scaled(match self.growth {
            Growth::Geometric => ratio.powf(progress),
            Growth::Linear => 1.0 + (ratio - 1.0) * progress,
        })
    }

    /// Runs the finder on any training: `train` makes a step at the given learning rates and returns the loss
    /// before it.
    ///
    /// The stopping rule is fastai's: the exponential moving average of the losses, with 0.98 and without
    /// bias, is compared with its lowest value since step 11. The step that ends the search is not part of
    /// the curve.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range, and any error of `train`.
    pub fn search(&self, mut train: impl FnMut(LearningRates) -> Result<f64>) -> Result<LrCurve> {
        self.check()?;
        let mut curve = LrCurve {
            start: self.start_lr,
            rates: Vec::new(),
            losses: Vec::new(),
            smoothed: Vec::new(),
            diverged: None,
            frozen: 0,
            photos: None,
        };
        let (mut average, mut lowest) = (0.0, f64::INFINITY);
        for step in 0..self.steps {
            let rates = self.rates(step);
            let loss = train(rates)?;
            average = AVERAGED * average + (1.0 - AVERAGED) * loss;
            let unbiased = average / (1.0 - AVERAGED.powi(step as i32 + 1));
            if !loss.is_finite() || unbiased > self.stop_above * lowest {
                curve.diverged = Some(rates.head());
                break;
            }
            if step > 10 {
                lowest = lowest.min(unbiased);
            }
            curve.rates.push(rates.head());
            curve.losses.push(loss);
        }
        curve.smoothed = smoothed(&curve.losses, self.steps as f64 * curve::SMOOTHED);
        Ok(curve)
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.start_lr.check()?;
        if !(self.end_lr.is_finite() && self.end_lr > self.start_lr.head()) {
            return Err(Error::setting("end_lr", self.end_lr, "above the first learning rate"));
        }
        if !(MIN_STEPS..=100_000).contains(&self.steps) {
            return Err(Error::setting("steps", self.steps, "from 20 to 100,000"));
        }
        if self.batch_size.is_some_and(|images| images < 2) {
            return Err(Error::setting("batch_size", self.batch_size.unwrap_or(0), "at least 2"));
        }
        if self.stop_above.is_nan() || self.stop_above <= 1.0 {
            return Err(Error::setting("stop_above", self.stop_above, "a number above 1"));
        }
        Ok(())
    }
}

/// The decay of the average loss, as in fastai.
const AVERAGED: f64 = 0.98;
/// The fewest steps.
const MIN_STEPS: usize = 20;
