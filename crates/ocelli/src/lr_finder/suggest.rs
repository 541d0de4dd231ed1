//! Which learning rate a curve suggests.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lr_finder::curve::{LrCurve, MIN_STEPS};

/// With fewer training images a curve supports no learning rate.
const MIN_IMAGES: usize = 10;

/// The learning rate that a curve suggests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LrSuggestion {
    /// The head's rate; [`LrCurve::rates_at`] gives those of all groups.
    pub rate: f64,
    /// The rule by which it was chosen.
    pub rule: LrRule,
}

/// How a learning rate follows from a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrRule {
    /// A new head on frozen layers: a third of the learning rate at the lowest loss. On three data sets (ants
    /// and bees, satellite images, emoji) the better of 1e-2 and 3e-2, which is about where this lands, gave
    /// a validation loss after ten epochs that was 13 to 44 % lower than fastai 2's valley, which is a tenth
    /// of it. The lesson uses a tenth of the minimum of a running average, which lies some 6.6 times to the
    /// right of that of the smoothed losses here.
    ThirdOfMinimum,
    /// All layers, where the loss descends: a tenth of the learning rate at the lowest loss.
    TenthOfMinimum,
    /// The loss descends clearly at no learning rate, as in a network that already fits its images: a tenth
    /// of the learning rate above which it rises.
    TenthOfRise,
}

impl fmt::Display for LrRule {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::ThirdOfMinimum => "a third of the learning rate at the lowest loss",
            Self::TenthOfMinimum => "a tenth of the learning rate at the lowest loss",
            Self::TenthOfRise => "a tenth of the learning rate above which the loss rises",
        })
    }
}

/// The shape of the loss curve over the head's learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CurveShape {
    /// The loss descends clearly, and fastai's rules suggest these learning rates.
    Descends(SuggestedLrs),
    /// The loss descends clearly at no learning rate, as in a network that already fits its images, and rises
    /// above this one.
    OnlyRises(f64),
}

/// Learning rates of the head by fastai 2's four rules, on the smoothed losses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SuggestedLrs {
    /// The middle of the longest run of falling losses.
    pub valley: f64,
    /// Where the slope begins to differ from that 15 steps later by more than 0.005, from the right.
    pub slide: f64,
    /// A tenth of the learning rate at the lowest loss.
    pub minimum: f64,
    /// Where the loss descends the steepest over the logarithm of the learning rate.
    pub steep: f64,
}

impl LrCurve {
    /// The learning rate to train with, and the rule that chose it: what recipes use and `ocelli lr-find`
    /// prints.
    ///
    /// ```
    /// # fn main() -> ocelli::Result<()> {
    /// # let curve = ocelli::LrFind::default().search(|rates| Ok((rates.head().log10() + 1.0).powi(2) + 0.5))?;
    /// let suggestion = curve.suggestion()?;
    /// println!("learning rate {} ({})", curve.rates_at(suggestion.rate), suggestion.rule);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`shape`](Self::shape).
    pub fn suggestion(&self) -> Result<LrSuggestion> {
        Ok(match self.shape()? {
            // `minimum` is a tenth of the learning rate at the lowest loss, as in fastai.
            CurveShape::Descends(lrs) if self.frozen > 0 => {
                LrSuggestion { rate: lrs.minimum * (10.0 / 3.0), rule: LrRule::ThirdOfMinimum }
            }
            CurveShape::Descends(lrs) => LrSuggestion { rate: lrs.minimum, rule: LrRule::TenthOfMinimum },
            CurveShape::OnlyRises(rate) => LrSuggestion { rate: rate / 10.0, rule: LrRule::TenthOfRise },
        })
    }

    /// fastai's four suggestions.
    ///
    /// # Errors
    /// [`Error::NoLearningRate`], with the reason, where the curve supports none.
    pub fn suggestions(&self) -> Result<SuggestedLrs> {
        if let Some(photos) = self.photos
            && photos < MIN_IMAGES
        {
            return Err(unreliable(format!(
                "{photos} training images are too few: every step trains on the same ones, and the loss falls at any \
                 learning rate; at least {MIN_IMAGES} are needed"
            )));
        }
        let (rates, losses) = self.considered();
        if losses.len() < MIN_STEPS {
            return Err(unreliable(format!(
                "the loss diverged after {} steps; start below a learning rate of {:.1e}, or take more steps to a lower end",
                self.losses.len(),
                self.start.head()
            )));
        }
        let lowest = argmin(losses.iter().copied());
        let fall = 1.0 - losses[lowest] / losses[0];
        if fall < self.clear() {
            let rise = match self.rises_at() {
                Some(rate) => format!("it rises above {rate:.1e}"),
                None => "it does not rise either".to_owned(),
            };
            return Err(unreliable(format!("the loss descends clearly at no learning rate; {rise}")));
        }
        Ok(SuggestedLrs {
            valley: rates[valley(losses)],
            slide: rates[slide(losses)],
            minimum: rates[lowest] / 10.0,
            steep: rates[steep(rates, losses)],
        })
    }

    /// The shape of the curve: whether the loss descends, or only rises above some learning rate.
    ///
    /// # Errors
    /// [`Error::NoLearningRate`], with the reason, where the loss neither descends nor rises, rises from the
    /// first learning rates on, or diverges too early.
    pub fn shape(&self) -> Result<CurveShape> {
        match (self.suggestions(), self.rises_at()) {
            (Ok(suggestions), _) => Ok(CurveShape::Descends(suggestions)),
            (Err(error), _) if self.photos.is_some_and(|photos| photos < MIN_IMAGES) => Err(error),
            (Err(error), _) if self.considered().1.len() < MIN_STEPS => Err(error),
            (Err(error), None) => Err(error),
            (Err(_), Some(rate)) if self.rates.get(self.rates.len() / 4).is_some_and(|low| rate < *low) => {
                Err(unreliable(format!(
                    "the loss rises from the first learning rates on; start below {:.1e}",
                    self.start.head()
                )))
            }
            (Err(_), Some(rate)) => Ok(CurveShape::OnlyRises(rate)),
        }
    }
}

fn unreliable(reason: String) -> Error {
    Error::NoLearningRate { reason }
}

/// The index of the middle of the longest decreasing subsequence; of equally long ones, the first.
fn valley(losses: &[f64]) -> usize {
    let mut lengths = vec![1usize; losses.len()];
    let mut last = 0;
    for index in 1..losses.len() {
        let before = (0..index).filter(|&before| losses[index] < losses[before]);
        lengths[index] = before.map(|before| lengths[before] + 1).max().unwrap_or(1);
        if lengths[index] > lengths[last] {
            last = index;
        }
    }
    // As fastai counts: the subsequence is treated as if its members were consecutive.
    let first = last as f64 - lengths[last] as f64;
    let third = (last as f64 - first) / 3.0;
    (first + third.floor() + (third / 2.0).floor()).max(0.0) as usize
}

/// fastai's interval slide rule: from the right, as long as the slopes at two steps 15 apart differ.
fn slide(losses: &[f64]) -> usize {
    const APART: usize = 15;
    const DIFFERENT: f64 = 0.005;
    let slope = |index: usize| match index {
        0 => losses[1] - losses[0],
        index if index + 1 == losses.len() => losses[index] - losses[index - 1],
        index => (losses[index + 1] - losses[index - 1]) / 2.0,
    };
    let mut found = losses.len().saturating_sub(APART + 1);
    for right in (APART..losses.len()).rev() {
        let left = right - APART;
        if (slope(right) - slope(left)).abs() <= DIFFERENT {
            break;
        }
        found = left;
    }
    found
}

/// The index after which the loss descends the steepest over the logarithm of the learning rate.
fn steep(rates: &[f64], losses: &[f64]) -> usize {
    let slopes = losses.windows(2).zip(rates.windows(2));
    argmin(slopes.map(|(losses, rates)| (losses[1] - losses[0]) / (rates[1] / rates[0]).ln()))
}

/// The index of the lowest value; of equal ones, the first.
fn argmin(values: impl Iterator<Item = f64>) -> usize {
    let lowest = values.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    lowest.map_or(0, |(index, _)| index)
}
