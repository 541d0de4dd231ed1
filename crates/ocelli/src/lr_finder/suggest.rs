//! Which learning rates a curve speaks for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lr_finder::curve::{FEWEST_KEPT, LrCurve};

/// Fewer photos say nothing.
const FEWEST_PHOTOS: usize = 10;

/// The learning rate that a curve speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The head's rate; [`LrCurve::rates_at`] gives those of all groups.
    pub rate: f64,
    /// The rule by which it was chosen.
    pub rule: Rule,
}

/// How a learning rate follows from a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A new head on frozen layers: a third of the rate of the lowest loss. On three data sets (ants and bees, satellite
    /// images, emoji) the better of 1e-2 and 3e-2, which is about where this lands, gave a validation loss after ten
    /// epochs that was 13 to 44 % lower than fastai 2's valley, which is a tenth of it. The lesson takes a tenth of the
    /// minimum of a running average, which lies some 6.6 times to the right of that of the smoothed losses here.
    ThirdOfMinimum,
    /// All layers, whose loss falls: a tenth of the rate of the lowest loss.
    TenthOfMinimum,
    /// No rate lets the loss clearly fall, since the network knows its photos already: a tenth of the rate from which on
    /// it rises, which is as fast as it may be without harm.
    TenthOfRise,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::ThirdOfMinimum => "a third of the rate of the lowest loss",
            Self::TenthOfMinimum => "a tenth of the rate of the lowest loss",
            Self::TenthOfRise => "a tenth of the rate from which on the loss rises",
        })
    }
}

/// What a curve says of the head's learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// The loss falls, and these rates are suggested.
    Falls(Suggestions),
    /// No rate lets the loss clearly fall, as is so where a network knows its photos already; from this one on it rises.
    Rises(f64),
}

/// Learning rates of the head that a curve suggests, by fastai 2's four rules on the smoothed losses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Suggestions {
    /// The middle of the longest run of falling losses.
    pub valley: f64,
    /// Where the slope begins to differ from that 15 steps later by more than 0.005, from the right.
    pub slide: f64,
    /// A tenth of the rate of the lowest loss.
    pub minimum: f64,
    /// Where the loss falls the fastest over the logarithm of the rate.
    pub steep: f64,
}

impl LrCurve {
    /// The learning rate to train with, and the rule by which it was chosen: what recipes take, and `ocelli lr-find` shows.
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
    /// As [`finding`](Self::finding).
    pub fn suggestion(&self) -> Result<Suggestion> {
        Ok(match self.finding()? {
            // Suggestions have a tenth of the rate of the lowest loss, as fastai has it.
            Finding::Falls(found) if self.frozen > 0 => {
                Suggestion { rate: found.minimum * (10.0 / 3.0), rule: Rule::ThirdOfMinimum }
            }
            Finding::Falls(found) => Suggestion { rate: found.minimum, rule: Rule::TenthOfMinimum },
            Finding::Rises(rate) => Suggestion { rate: rate / 10.0, rule: Rule::TenthOfRise },
        })
    }

    /// fastai's four suggestions.
    ///
    /// # Errors
    /// [`Error::NoLearningRate`], with the reason, where the curve supports none.
    pub fn suggestions(&self) -> Result<Suggestions> {
        if let Some(photos) = self.photos
            && photos < FEWEST_PHOTOS
        {
            return self.doubt(format!(
                "{photos} photos to train on are too few to search with: every step learns the same ones by heart, \
                 and the loss falls at any rate; {FEWEST_PHOTOS} are the fewest"
            ));
        }
        let (rates, losses) = self.considered();
        if losses.len() < FEWEST_KEPT {
            return self.doubt(format!(
                "the loss grew without bounds after {} steps; begin with a lower rate than {:.1e}",
                self.losses.len(),
                self.start.head()
            ));
        }
        let lowest = argmin(losses.iter().copied());
        let fall = 1.0 - losses[lowest] / losses[0];
        if fall < self.clear() {
            let rise = match self.rises_at() {
                Some(rate) => format!("it rises from {rate:.1e} on"),
                None => "it does not rise either".to_owned(),
            };
            return self.doubt(format!("the loss does not clearly fall at any rate; {rise}"));
        }
        Ok(Suggestions {
            valley: rates[valley(losses)],
            slide: rates[slide(losses)],
            minimum: rates[lowest] / 10.0,
            steep: rates[steep(rates, losses)],
        })
    }

    /// The suggestions, or else the rate from which on the loss rises, which bounds what a network that is trained
    /// already can go on with.
    ///
    /// # Errors
    /// [`Error::NoLearningRate`], with the reason, where the loss neither falls nor rises, rises from the first rates
    /// on, or grew without bounds too soon.
    pub fn finding(&self) -> Result<Finding> {
        match (self.suggestions(), self.rises_at()) {
            (Ok(suggestions), _) => Ok(Finding::Falls(suggestions)),
            (Err(error), _) if self.photos.is_some_and(|photos| photos < FEWEST_PHOTOS) => Err(error),
            (Err(error), _) if self.considered().1.len() < FEWEST_KEPT => Err(error),
            (Err(error), None) => Err(error),
            (Err(_), Some(rate)) if self.rates.get(self.rates.len() / 4).is_some_and(|low| rate < *low) => {
                self.doubt(format!(
                    "the loss rises from the first rates on; begin with a lower rate than {:.1e}",
                    self.start.head()
                ))
            }
            (Err(_), Some(rate)) => Ok(Finding::Rises(rate)),
        }
    }

    fn doubt<T>(&self, reason: String) -> Result<T> {
        Err(Error::NoLearningRate { reason })
    }
}

/// The place in the middle of the longest decreasing subsequence, of the first of equally long ones.
fn valley(losses: &[f64]) -> usize {
    let mut lengths = vec![1usize; losses.len()];
    let mut last = 0;
    for place in 1..losses.len() {
        let before = (0..place).filter(|&before| losses[place] < losses[before]);
        lengths[place] = before.map(|before| lengths[before] + 1).max().unwrap_or(1);
        if lengths[place] > lengths[last] {
            last = place;
        }
    }
    // As fastai counts: the run is taken to fill as many places as it has members.
    let first = last as f64 - lengths[last] as f64;
    let third = (last as f64 - first) / 3.0;
    (first + third.floor() + (third / 2.0).floor()).max(0.0) as usize
}

/// fastai's interval slide rule: from the right, as long as the slopes of two places 15 apart differ.
fn slide(losses: &[f64]) -> usize {
    const APART: usize = 15;
    const DIFFERENT: f64 = 0.005;
    let slope = |place: usize| match place {
        0 => losses[1] - losses[0],
        place if place + 1 == losses.len() => losses[place] - losses[place - 1],
        place => (losses[place + 1] - losses[place - 1]) / 2.0,
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

/// The place after which the loss falls the fastest over the logarithm of the rate.
fn steep(rates: &[f64], losses: &[f64]) -> usize {
    let slopes = losses.windows(2).zip(rates.windows(2));
    argmin(slopes.map(|(losses, rates)| (losses[1] - losses[0]) / (rates[1] / rates[0]).ln()))
}

/// The place of the lowest number, of equal ones the first.
fn argmin(numbers: impl Iterator<Item = f64>) -> usize {
    let lowest = numbers.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    lowest.map_or(0, |(place, _)| place)
}
