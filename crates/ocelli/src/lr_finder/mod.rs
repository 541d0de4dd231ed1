//! The learning rate finder: train with rates that grow step by step, see where the loss falls, and forget it all.
//!
//! The method is the range test of Smith 2015 (<https://arxiv.org/abs/1506.01186>) as fastai performs it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
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
        curve.smoothed = smoothed(&curve.losses, self.steps as f64 * SMOOTHED);
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
/// The standard deviation of the smoothing kernel as a share of the steps.
const SMOOTHED: f64 = 0.03;
/// Fewer steps say nothing.
const FEWEST: usize = 20;
/// Fewer photos say nothing.
const FEWEST_PHOTOS: usize = 10;
/// Fewer steps before the loss grows without bounds say nothing.
const FEWEST_KEPT: usize = 10;
/// The standard deviation of the smoothing in which a rise is looked for, as a share of the steps.
const RISE_SMOOTHED: f64 = 0.05;
/// The smallest rise of the loss's logarithm that counts.
const LEAST_RISE: f64 = 0.05;

/// What the learning rate finder saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrCurve {
    /// The rates of the first step, one a layer group, whose ratios all steps kept.
    pub start: LearningRates,
    /// The head's rate of each step.
    pub rates: Vec<f64>,
    /// The loss before each step.
    pub losses: Vec<f64>,
    /// The losses, smoothed: at each step the geometric mean of its neighbours on both sides, in Gaussian weights
    /// of 3 % of the steps. Looking both ways it lags behind nowhere, unlike the average of the past that fastai
    /// draws, whose minimum lies almost a factor of ten to the right.
    pub smoothed: Vec<f64>,
    /// The head's rate at which the loss grew without bounds, if it did.
    pub diverged: Option<f64>,
    /// The number of frozen layer groups: 0 where all layers were trained, as [`LrFind::search`] supposes.
    #[serde(default)]
    pub frozen: usize,
    /// The number of photos that were trained on, if it is known.
    #[serde(default)]
    pub photos: Option<usize>,
}

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

    /// The rate from which on the loss is clearly higher than at low rates, for good; nothing where it never is.
    ///
    /// Low rates are those of the first half of the steps, at which a network that is trained already stays as it is, or of
    /// the first quarter, where the loss is higher in the second one already; clearly higher is by more
    /// than two standard deviations of the mean of so many batches as the smoothing takes together.
    pub fn rises_at(&self) -> Option<f64> {
        let (level, deviation) = self.low_rates(if self.rises_at_once() { 4 } else { 2 })?;
        let width = (self.losses.len() as f64 * RISE_SMOOTHED).max(1.0);
        let higher = (2.0 * deviation / averaged(width).sqrt()).max(LEAST_RISE);
        let smoothed = smoothed(&self.losses, width);
        let last_low = smoothed.iter().rposition(|loss| loss.ln() <= level + higher)?;
        self.rates.get(last_low + 1).copied().or(self.diverged)
    }

    /// Whether the loss rises already among the low rates: its mean logarithm in the second quarter of the steps is clearly
    /// above that in the first.
    fn rises_at_once(&self) -> bool {
        let Some((_, deviation)) = self.low_rates(2) else { return false };
        let quarter = self.losses.len() / 4;
        let mean =
            |losses: &[f64]| losses.iter().map(|loss| logarithm(*loss)).sum::<f64>() / losses.len() as f64;
        let rise = mean(&self.losses[quarter..2 * quarter]) - mean(&self.losses[..quarter]);
        // Four standard deviations of the difference, since it takes most of the level's steps away.
        rise > (4.0 * deviation * (2.0 / quarter as f64).sqrt()).max(LEAST_RISE)
    }

    /// The logarithm of the loss at the rates of the first half, quarter …, and its standard deviation from batch to batch,
    /// both by medians; nothing where there are too few.
    fn low_rates(&self, part: usize) -> Option<(f64, f64)> {
        let low = &self.losses[..self.losses.len() / part];
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let level = median(low.iter().map(|loss| logarithm(*loss)).collect())?;
        // 1.4826 median absolute deviations of a normal number are its standard deviation.
        let deviation = 1.4826 * median(low.iter().map(|loss| (logarithm(*loss) - level).abs()).collect())?;
        (low.len() >= FEWEST_KEPT / 2).then_some((level, deviation))
    }

    /// The relative difference of losses that is not by chance.
    fn clear(&self) -> f64 {
        0.02_f64.max(2.0 * self.noise())
    }

    /// The rates of all groups where the head's is `head`, in the proportions of the search.
    pub fn rates_at(&self, head: f64) -> LearningRates {
        self.start.scaled(head / self.start.head())
    }

    /// Rates and smoothed losses without the first tenth and the last five steps, as fastai 2 has it.
    fn considered(&self) -> (&[f64], &[f64]) {
        let end = self.smoothed.len().saturating_sub(5);
        let first = (self.smoothed.len() / 10).min(end);
        (&self.rates[first..end], &self.smoothed[first..end])
    }

    /// How much smoothed losses vary by chance, relative to them: half the width of a 95 % interval of the mean that
    /// they are.
    fn noise(&self) -> f64 {
        let (first, count) = (self.losses.len() / 10, self.losses.len());
        let residuals =
            (first..count).map(|step| (self.losses[step] / self.smoothed[step]).max(1e-6).ln().powi(2));
        let mut squares: Vec<f64> = residuals.collect();
        squares.sort_by(f64::total_cmp);
        // By the median, which divergence does not move; 0.455 is that of a squared normal number.
        let variance = squares.get(squares.len() / 2).copied().unwrap_or(0.0) / 0.455;
        1.96 * (variance / averaged(SMOOTHED * count as f64)).sqrt()
    }

    /// The curve as a CSV file: `step,learning_rate,loss,smoothed_loss`.
    pub fn to_csv(&self) -> String {
        let rows = self.rates.iter().zip(&self.losses).zip(&self.smoothed).enumerate();
        let rows =
            rows.map(|(step, ((rate, loss), smoothed))| format!("{step},{rate:e},{loss},{smoothed}\n"));
        std::iter::once("step,learning_rate,loss,smoothed_loss\n".to_owned()).chain(rows).collect()
    }

    /// Writes NAME`.csv` into a folder, and with the feature `plot` NAME`.png` and NAME`.svg`.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, folder: impl AsRef<std::path::Path>, name: &str) -> Result<()> {
        let folder = folder.as_ref();
        crate::file::write(&folder.join(format!("{name}.csv")), self.to_csv().as_bytes())?;
        #[cfg(feature = "plot")]
        crate::charts::write_figure(&self.plot(), folder, name)?;
        Ok(())
    }
}

/// How many numbers a Gaussian kernel of this standard deviation averages, in the variance of its mean: 2 √π s.
fn averaged(width: f64) -> f64 {
    (2.0 * std::f64::consts::PI.sqrt() * width).max(1.0)
}

/// Of a loss, which may be 0.
fn logarithm(loss: f64) -> f64 {
    loss.max(1e-12).ln()
}

/// Weighted means of logarithms, weights `exp(−d² / 2 width²)` at a distance of d steps.
fn smoothed(losses: &[f64], width: f64) -> Vec<f64> {
    let logarithms: Vec<f64> = losses.iter().map(|loss| logarithm(*loss)).collect();
    let at = |centre: usize| {
        let weights = logarithms.iter().enumerate().map(|(place, logarithm)| {
            let distance = place as f64 - centre as f64;
            let weight = (-distance * distance / (2.0 * width * width)).exp();
            (weight, weight * logarithm)
        });
        let (weights, sum) =
            weights.fold((0.0, 0.0), |sums, (weight, value)| (sums.0 + weight, sums.1 + value));
        (sum / weights).exp()
    };
    (0..losses.len()).map(at).collect()
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
