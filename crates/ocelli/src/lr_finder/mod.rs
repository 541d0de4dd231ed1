//! The learning rate finder: train with rates that grow step by step, see where the loss falls, and forget it all.
//!
//! The method is the range test of Smith 2015 (<https://arxiv.org/abs/1506.01186>) as fastai performs it.

pub(crate) mod curve;
pub(crate) mod suggest;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lr_finder::curve::{LrCurve, smoothed};
use crate::schedule::learning_rates::LearningRates;

/// How the learning rate finder searches. The default is one rate for all layer groups, from 1e-5 to 10 in 100
/// steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LrFind {
    /// The rates of the first step.
    pub start: LearningRates,
    /// The head's rate after the last step; the other groups' keep their ratio to it.
    pub end: f64,
    /// Steps, each of one batch; the photos come again and again where there are fewer batches.
    pub steps: usize,
    /// How the rates grow.
    pub growth: Growth,
    /// Images a step; without it as many as training takes.
    #[serde(default)]
    pub batch_size: Option<usize>,
    /// The search ends where the average loss is so many times the lowest one so far.
    pub stop_above: f64,
}

/// How the rates of a search grow from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// By the same factor: at step i of n it is `start · (end / start)^(i / n)`.
    Geometric,
    /// By the same difference: `start + (end − start) · i / n`. (fastai 0.7 begins at 0 instead of `start`.)
    Linear,
}

impl Default for LrFind {
    fn default() -> Self {
        Self {
            start: 1e-5.into(),
            end: 10.0,
            steps: 100,
            growth: Growth::Geometric,
            batch_size: None,
            stop_above: 4.0,
        }
    }
}

impl LrFind {
    /// From rates in these proportions, a thousandth of them, to the head's rate 10: the lesson's
    /// `lr_find(lrs/1000)`.
    pub fn groups(rates: impl Into<LearningRates>) -> Self {
        Self { start: rates.into().scaled(1e-3), ..Self::default() }
    }

    /// The rates of the first step.
    pub fn start(self, start: impl Into<LearningRates>) -> Self {
        Self { start: start.into(), ..self }
    }

    /// The head's rate after the last step.
    pub fn end(self, end: f64) -> Self {
        Self { end, ..self }
    }

    /// The number of steps.
    pub fn steps(self, steps: usize) -> Self {
        Self { steps, ..self }
    }

    /// The number of images a step.
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size: Some(batch_size), ..self }
    }

    /// How the rates grow.
    pub fn growth(self, growth: Growth) -> Self {
        Self { growth, ..self }
    }

    /// The rates of step `step`, counted from 0.
    pub fn rates(&self, step: usize) -> LearningRates {
        let ratio = self.end / self.start.head();
        let share = step as f64 / self.steps as f64;
        self.start.scaled(match self.growth {
            Growth::Geometric => ratio.powf(share),
            Growth::Linear => 1.0 + (ratio - 1.0) * share,
        })
    }

    /// Searches with any training at all: `train` makes a step at the given rates and gives the loss before it.
    ///
    /// The stop rule is fastai's: the average of the losses, exponential with 0.98 and without bias, is compared
    /// with the lowest it has been since step 11. The step that ends the search is not part of the curve.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range, and whatever `train` gives.
    pub fn search(&self, mut train: impl FnMut(LearningRates) -> Result<f64>) -> Result<LrCurve> {
        self.check()?;
        let mut curve = LrCurve {
            start: self.start,
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
        self.start.check()?;
        if !(self.end.is_finite() && self.end > self.start.head()) {
            return Err(Error::setting("the finder's last learning rate", self.end, "above the first"));
        }
        if !(FEWEST..=100_000).contains(&self.steps) {
            return Err(Error::setting("the finder's number of steps", self.steps, "from 20 to 100,000"));
        }
        if self.batch_size.is_some_and(|images| images < 2) {
            return Err(Error::setting(
                "the finder's batch size",
                format!("{:?}", self.batch_size),
                "at least 2",
            ));
        }
        if self.stop_above.is_nan() || self.stop_above <= 1.0 {
            return Err(Error::setting("the finder's stop", self.stop_above, "a number above 1"));
        }
        Ok(())
    }
}

/// fastai's share of the past in the average loss.
const AVERAGED: f64 = 0.98;
/// Fewer steps say nothing.
const FEWEST: usize = 20;
