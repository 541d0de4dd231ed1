//! How learning rate and momentum move over the steps of a fit: pure functions, tested and plotted without a model.
//!
//! A [`Schedule`] is a number of cycles, each of which follows a [`Course`] from its first step to its last:
//!
//! | the lesson says | here |
//! |---|---|
//! | `fit(lr, 3)` | [`Epochs`]`(3)` |
//! | `fit(lr, 3, cycle_len=1, cycle_mult=2)` | [`Sgdr`]`::cycles(3).len(1).mult(2)` |
//! | `fit(lr, 1, cycle_len=8, use_clr=(20, 10))` | [`Slanted`]`::cycles(1).len(8).div(20.0).cut_div(10)` |
//! | `fit(lr, 1, cycle_len=8, use_clr_beta=(10, 10))` | [`LinearOneCycle`]`::epochs(8)` |
//! | `fit_one_cycle(8, lr)` (fastai 2) | [`OneCycle`]`::epochs(8)` |
//! | `fit_opt_sched([TrainingPhase(…), …])` | [`Phases`]`::of([Phase::linear(1.0, 0.0, 1.0), …])` |

pub(crate) mod learning_rates;

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plot::{Axis, Chart, Figure, Line, Panel};
use crate::recipe::freezing::GROUP_NAMES;
use crate::schedule::learning_rates::LearningRates;

/// The learning rate and momentum of every step of a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The number of cycles.
    pub cycles: usize,
    /// Epochs of the first cycle.
    pub cycle_len: usize,
    /// Each cycle is so many times as long as the one before.
    pub cycle_mult: usize,
    /// What happens within a cycle.
    pub course: Course,
}

/// The course of learning rate and momentum over one cycle of `n` steps, of which `t` are over.
///
/// The rate is given as a factor of the peak rates, one a layer group, which the fit is asked for. A cycle of a
/// single step runs at the peak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "course", rename_all = "kebab-case")]
pub enum Course {
    /// The peak rate throughout.
    Constant,
    /// Half a cosine from the peak to almost 0, `(1 + cos(π t / n)) / 2` (Loshchilov & Hutter 2016,
    /// <https://arxiv.org/abs/1608.03983>).
    ///
    /// As in fastai 0.7, the first twentieth of the first cycle runs at a hundredth of the peak. Unlike there, a
    /// cycle of a single step trains.
    Cosine,
    /// The rate falls by `factor` after every `every` epochs of the cycle.
    Steps {
        /// Epochs at one rate, at least 1.
        every: usize,
        /// The next rate in terms of the last, above 0.
        factor: f64,
    },
    /// A straight line up from 1/`div` of the peak over the first ⌊`n` / `cut_div`⌋ steps, and one back down (Smith
    /// 2015, <https://arxiv.org/abs/1506.01186>; slanted: Howard & Ruder 2018, <https://arxiv.org/abs/1801.06146>);
    /// the momentum mirrors it. fastai 0.7's `use_clr`, which divides by zero where `n < cut_div`; here the way up
    /// then takes one step.
    Slanted {
        /// The peak over the lowest rate, at least 1.
        div: f64,
        /// The length of the cycle over that of the way up, at least 1; 2 is a symmetric triangle.
        cut_div: usize,
        /// The momentum at the ends and at the peak.
        momentum: Option<(f64, f64)>,
    },
    /// Straight lines up from 1/`div` of the peak, back down to it, and then to a hundredth of that in the last `pct`
    /// per cent of the steps; the momentum mirrors the first two and stays high in the last. fastai 0.7's
    /// `use_clr_beta`: the one-cycle policy of Smith 2018, <https://arxiv.org/abs/1803.09820>.
    LinearOneCycle {
        /// The peak over the first rate, at least 1.
        div: f64,
        /// The last part of the cycle in per cent, from 0 to below 100.
        pct: f64,
        /// The momentum at the ends and at the peak.
        momentum: Option<(f64, f64)>,
    },
    /// Half a cosine up from 1/`div` of the peak in the first `pct_start` of the steps, half a cosine down to
    /// 1/`div_final` of it in the rest; the momentum mirrors it. fastai 2's `fit_one_cycle`.
    OneCycle {
        /// The share of the way up, above 0 and below 1.
        pct_start: f64,
        /// The peak over the first rate, at least 1.
        div: f64,
        /// The peak over the last rate, at least 1.
        div_final: f64,
        /// The momentum at the ends and at the peak.
        momentum: Option<(f64, f64)>,
    },
    /// Phases put together by hand, one after the other.
    Phases {
        /// The phases; their epochs add up to those of the cycle.
        phases: Vec<Phase>,
    },
}

/// One part of a schedule that is put together by hand.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its length in epochs, which need not be whole.
    pub epochs: f64,
    /// The factor of the peak rate at its start and, reached where the next phase begins, at its end.
    pub rate: (f64, f64),
    /// The momentum at its start and end; without it the optimizer's own.
    pub momentum: Option<(f64, f64)>,
    /// How both move between start and end.
    pub shape: Shape,
}

/// How a number moves from one value to another, as fastai's annealing functions do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "kebab-case")]
pub enum Shape {
    /// It does not: the first value throughout.
    Constant,
    /// `start + (end − start) p`, `p` running from 0 to 1.
    Linear,
    /// `end + (start − end) (1 + cos(π p)) / 2`.
    Cosine,
    /// `start (end / start)^p`, for values above 0.
    Exponential,
    /// `end + (start − end) (1 − p)^power`.
    Polynomial {
        /// Above 0; 1 is a straight line.
        power: f64,
    },
}

/// Where a schedule stands at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The learning rate as a factor of the peak.
    pub factor: f64,
    /// The momentum, where the schedule sets it.
    pub momentum: Option<f64>,
}

/// The most epochs that a schedule may have; a guard against `cycle_mult` running away.
pub(crate) const MAX_EPOCHS: usize = 100_000;

/// Steps of a schedule that are drawn, at most.
const PLOTTED: usize = 20_000;

impl Schedule {
    /// One cycle of so many epochs.
    pub fn once(epochs: usize, course: Course) -> Self {
        Self { cycles: 1, cycle_len: epochs, cycle_mult: 1, course }
    }

    /// The number of epochs in all.
    pub fn epochs(&self) -> usize {
        self.cycle_lengths().fold(0, usize::saturating_add)
    }

    /// For each cycle the number of epochs of the whole schedule after which it is over.
    pub fn cycle_ends(&self) -> impl Iterator<Item = usize> {
        self.cycle_lengths().scan(0usize, |end, length| {
            *end = end.saturating_add(length);
            Some(*end)
        })
    }

    fn cycle_lengths(&self) -> impl Iterator<Item = usize> {
        let mult = self.cycle_mult;
        std::iter::successors(Some(self.cycle_len), move |length| Some(length.saturating_mul(mult)))
            // No more cycles than a schedule may have epochs, and one, so that too many are seen to be.
            .take(self.cycles.min(MAX_EPOCHS + 1))
    }

    /// Where the schedule stands at `step`, counted from 0 over all epochs of `steps_per_epoch` batches.
    pub fn at(&self, step: usize, steps_per_epoch: usize) -> Point {
        let mut length = self.cycle_len * steps_per_epoch;
        let mut within = step;
        while within >= length && length > 0 {
            within -= length;
            length *= self.cycle_mult;
        }
        self.course.at(within, length, steps_per_epoch, within == step)
    }

    /// A picture of learning rates and momentum over the epochs.
    pub fn plot(&self, rates: impl Into<LearningRates>, steps_per_epoch: usize) -> Figure {
        let rates = rates.into();
        let steps = self.epochs().saturating_mul(steps_per_epoch);
        // Of many steps some are enough for a picture.
        let stride = steps.div_ceil(PLOTTED).max(1);
        let course = |value: &dyn Fn(Point) -> Option<f64>| -> Vec<(f64, f64)> {
            let point =
                |step| Some((step as f64 / steps_per_epoch as f64, value(self.at(step, steps_per_epoch))?));
            (0..steps).step_by(stride).filter_map(point).collect()
        };
        let rate = |group: usize| course(&|point| Some(rates.0[group] * point.factor));
        let line = |label: &str, points| Line { label: label.to_owned(), points, faint: false };
        let lines = match rates.0.iter().all(|rate| *rate == rates.head()) {
            true => vec![line("all layers", rate(0))],
            false => GROUP_NAMES.iter().enumerate().map(|(group, name)| line(name, rate(group))).collect(),
        };
        let panel = |label: &str, lines| {
            let x = Axis::linear("epochs").between(0.0, self.epochs() as f64);
            Panel::from(Chart {
                x,
                y: Axis::linear(label),
                lines,
                marks: Vec::new(),
                verticals: Vec::new(),
                bars: Vec::new(),
            })
        };
        let mut panels = vec![panel("learning rate", lines)];
        let momentum = course(&|point| point.momentum);
        if !momentum.is_empty() {
            panels.push(panel("momentum", vec![line("momentum", momentum)]));
        }
        Figure { title: "Schedule".to_owned(), panels }
    }

    pub(crate) fn check(self) -> Result<Self> {
        let numbers = [
            ("the number of epochs", self.epochs()),
            ("the number of cycles", self.cycles),
            ("cycle_mult", self.cycle_mult),
        ];
        for (name, value) in numbers {
            if !(1..=MAX_EPOCHS).contains(&value) {
                let expected = "a whole number from 1 to 100,000";
                return Err(Error::Setting { name, value: value.to_string(), expected });
            }
        }
        self.course.check(self.cycle_len)?;
        Ok(self)
    }
}

impl Course {
    /// Where the course stands when `t` of its `n` steps are over.
    fn at(&self, t: usize, n: usize, steps_per_epoch: usize, first_cycle: bool) -> Point {
        let position = t as f64 / n.max(1) as f64;
        let alone = n <= 1 && !matches!(self, Self::Phases { .. });
        match self {
            Self::Constant => Point { factor: 1.0, momentum: None },
            Self::Cosine | Self::Steps { .. } if alone => Point { factor: 1.0, momentum: None },
            Self::Cosine => {
                let warming_up = first_cycle && t * 20 < n;
                let factor = if warming_up { 0.01 } else { Shape::Cosine.between((1.0, 0.0), position) };
                Point { factor, momentum: None }
            }
            Self::Steps { every, factor } => {
                let falls = t / (every * steps_per_epoch);
                Point { factor: factor.powi(falls as i32), momentum: None }
            }
            Self::Slanted { momentum, .. }
            | Self::LinearOneCycle { momentum, .. }
            | Self::OneCycle { momentum, .. }
                if alone =>
            {
                Point { factor: 1.0, momentum: momentum.map(|(_, low)| low) }
            }
            Self::Slanted { div, cut_div, momentum } => {
                let cut = (n / cut_div).max(1);
                let height = match t <= cut {
                    true => t as f64 / cut as f64,
                    false => 1.0 - (t - cut) as f64 / (n - cut) as f64,
                };
                on_a_slope(height, *div, *momentum)
            }
            Self::LinearOneCycle { div, pct, momentum } => {
                let half = ((n as f64 * (1.0 - pct / 100.0) / 2.0) as usize).max(1);
                match t {
                    t if t <= half => on_a_slope(t as f64 / half as f64, *div, *momentum),
                    t if t <= 2 * half => on_a_slope(2.0 - t as f64 / half as f64, *div, *momentum),
                    t => {
                        let last = (t - 2 * half) as f64 / (n - 2 * half) as f64;
                        let factor = Shape::Linear.between((1.0, 0.01), last) / div;
                        Point { factor, momentum: momentum.map(|(high, _)| high) }
                    }
                }
            }
            Self::OneCycle { pct_start, div, div_final, momentum } => {
                let up = position < *pct_start;
                let (rate, momentum) = match up {
                    true => ((1.0 / div, 1.0), *momentum),
                    false => ((1.0, 1.0 / div_final), momentum.map(|(high, low)| (low, high))),
                };
                let within =
                    if up { position / pct_start } else { (position - pct_start) / (1.0 - pct_start) };
                Point {
                    factor: Shape::Cosine.between(rate, within),
                    momentum: momentum.map(|ends| Shape::Cosine.between(ends, within)),
                }
            }
            Self::Phases { phases } => {
                // In epochs, since a phase may end within one.
                let now = t as f64 / steps_per_epoch as f64;
                let mut start = 0.0;
                let phase = phases.iter().find(|phase| {
                    let here = now < start + phase.epochs - 1e-9;
                    start += if here { 0.0 } else { phase.epochs };
                    here
                });
                match phase.or(phases.last()) {
                    Some(phase) => phase.at(((now - start) / phase.epochs).clamp(0.0, 1.0)),
                    None => Point { factor: 1.0, momentum: None },
                }
            }
        }
    }

    fn check(&self, cycle_len: usize) -> Result<()> {
        let refuse = |name, value: String, expected| Err(Error::Setting { name, value, expected });
        let momentum_fits = |momentum: &Option<(f64, f64)>| {
            let within = |value: &f64| (0.0..1.0).contains(value);
            momentum.is_none_or(|(high, low)| within(&high) && within(&low))
        };
        let at_least_1 = |div: f64| div.is_finite() && div >= 1.0;
        match self {
            Self::Steps { every: 0, .. } => refuse("every", "0".into(), "at least 1 epoch"),
            Self::Steps { factor, .. } if !(factor.is_finite() && *factor > 0.0) => {
                refuse("factor", factor.to_string(), "a number above 0, such as 0.1")
            }
            Self::Slanted { cut_div: 0, .. } => refuse("cut_div", "0".into(), "at least 1"),
            Self::Slanted { div, .. } | Self::LinearOneCycle { div, .. } | Self::OneCycle { div, .. }
                if !at_least_1(*div) =>
            {
                refuse("div", div.to_string(), "a number of at least 1")
            }
            Self::OneCycle { div_final, .. } if !at_least_1(*div_final) => {
                refuse("div_final", div_final.to_string(), "a number of at least 1")
            }
            Self::LinearOneCycle { pct, .. } if !(0.0..100.0).contains(pct) => {
                refuse("pct", pct.to_string(), "from 0 to below 100")
            }
            Self::OneCycle { pct_start, .. } if !(*pct_start > 0.0 && *pct_start < 1.0) => {
                refuse("pct_start", pct_start.to_string(), "above 0 and below 1")
            }
            Self::Slanted { momentum, .. }
            | Self::LinearOneCycle { momentum, .. }
            | Self::OneCycle { momentum, .. }
                if !momentum_fits(momentum) =>
            {
                refuse("momentum", format!("{momentum:?}"), "two numbers from 0 to below 1")
            }
            Self::Phases { phases } => {
                let epochs: f64 = phases.iter().map(|phase| phase.epochs).sum();
                if (epochs - cycle_len as f64).abs() > 1e-6 {
                    let expected = "a whole number: phases may end within an epoch, the last one not";
                    return refuse("the epochs of all phases", epochs.to_string(), expected);
                }
                for phase in phases {
                    let Phase { epochs, rate: (start, end), momentum, shape } = phase;
                    if !(epochs.is_finite() && *epochs > 0.0) {
                        return refuse("a phase's epochs", epochs.to_string(), "a number above 0");
                    }
                    let above = |rate: f64| {
                        rate.is_finite() && (rate > 0.0 || rate == 0.0 && !shape.needs_more_than_0())
                    };
                    if !(above(*start) && above(*end)) {
                        let expected = "at least 0, and above 0 for an exponential shape";
                        return refuse("a phase's rate", format!("{start} to {end}"), expected);
                    }
                    if !momentum_fits(momentum) {
                        let expected = "two numbers from 0 to below 1";
                        return refuse("a phase's momentum", format!("{momentum:?}"), expected);
                    }
                    if let Shape::Polynomial { power } = shape
                        && !(power.is_finite() && *power > 0.0)
                    {
                        return refuse("a phase's power", power.to_string(), "a number above 0");
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A point on a straight slope: height 0 at 1/`div` of the peak, height 1 at the peak.
fn on_a_slope(height: f64, div: f64, momentum: Option<(f64, f64)>) -> Point {
    Point {
        factor: (1.0 + height * (div - 1.0)) / div,
        momentum: momentum.map(|(high, low)| high + height * (low - high)),
    }
}

impl Phase {
    /// A straight line from `start` to `end` times the peak rate.
    pub fn linear(epochs: f64, start: f64, end: f64) -> Self {
        Self { epochs, rate: (start, end), momentum: None, shape: Shape::Linear }
    }

    /// Half a cosine from `start` to `end` times the peak rate.
    pub fn cosine(epochs: f64, start: f64, end: f64) -> Self {
        Self { shape: Shape::Cosine, ..Self::linear(epochs, start, end) }
    }

    /// `factor` times the peak rate throughout.
    pub fn constant(epochs: f64, factor: f64) -> Self {
        Self { shape: Shape::Constant, ..Self::linear(epochs, factor, factor) }
    }

    /// Another shape.
    pub fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// Momentum from `start` to `end`, in the phase's shape.
    pub fn momentum(self, start: f64, end: f64) -> Self {
        Self { momentum: Some((start, end)), ..self }
    }

    fn at(&self, position: f64) -> Point {
        Point {
            factor: self.shape.between(self.rate, position),
            momentum: self.momentum.map(|ends| self.shape.between(ends, position)),
        }
    }
}

impl Shape {
    /// The value at `position`, 0 at the start and 1 at the end.
    pub fn between(self, (start, end): (f64, f64), position: f64) -> f64 {
        match self {
            Self::Constant => start,
            Self::Linear => start + (end - start) * position,
            Self::Cosine => end + (start - end) / 2.0 * (1.0 + (PI * position).cos()),
            Self::Exponential => start * (end / start).powf(position),
            Self::Polynomial { power } => end + (start - end) * (1.0 - position).powf(power),
        }
    }

    fn needs_more_than_0(self) -> bool {
        self == Self::Exponential
    }
}

/// So many epochs at a constant rate.
#[derive(Debug, Clone, Copy)]
pub struct Epochs(pub usize);

impl From<Epochs> for Schedule {
    fn from(Epochs(epochs): Epochs) -> Self {
        Self::once(epochs, Course::Constant)
    }
}

/// So many epochs, the rate falling by a factor now and then.
#[derive(Debug, Clone, Copy)]
pub struct StepDecay {
    epochs: usize,
    every: usize,
    factor: f64,
}

impl StepDecay {
    /// So many epochs in all, the rate falling to a tenth after each third of them.
    pub fn epochs(epochs: usize) -> Self {
        Self { epochs, every: epochs.div_ceil(3).max(1), factor: 0.1 }
    }

    /// Epochs at one rate.
    pub fn every(self, epochs: usize) -> Self {
        Self { every: epochs, ..self }
    }

    /// The next rate in terms of the last.
    pub fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }
}

impl From<StepDecay> for Schedule {
    fn from(StepDecay { epochs, every, factor }: StepDecay) -> Self {
        Self::once(epochs, Course::Steps { every, factor })
    }
}

/// Cosine annealing with restarts, in the words of the lesson: `Sgdr::cycles(3).len(1).mult(2)`.
#[derive(Debug, Clone, Copy)]
pub struct Sgdr {
    cycles: usize,
    len: usize,
    mult: usize,
}

impl Sgdr {
    /// That many cycles, of one epoch each.
    pub fn cycles(cycles: usize) -> Self {
        Self { cycles, len: 1, mult: 1 }
    }

    /// Epochs of the first cycle.
    pub fn len(self, epochs: usize) -> Self {
        Self { len: epochs, ..self }
    }

    /// Each cycle is so many times as long as the one before.
    pub fn mult(self, mult: usize) -> Self {
        Self { mult, ..self }
    }
}

impl From<Sgdr> for Schedule {
    fn from(Sgdr { cycles, len, mult }: Sgdr) -> Self {
        Self { cycles, cycle_len: len, cycle_mult: mult, course: Course::Cosine }
    }
}

/// Cycles of a straight way up and a straight way down; [`Course::Slanted`].
#[derive(Debug, Clone, Copy)]
pub struct Slanted {
    cycles: usize,
    len: usize,
    mult: usize,
    div: f64,
    cut_div: usize,
    momentum: Option<(f64, f64)>,
}

impl Slanted {
    /// That many cycles of one epoch each, from a twentieth of the peak, a tenth of each on the way up: the values
    /// that fastai's courses use.
    pub fn cycles(cycles: usize) -> Self {
        Self { cycles, len: 1, mult: 1, div: 20.0, cut_div: 10, momentum: None }
    }

    /// That many cycles of one epoch each, from a quarter of the peak, half of each on the way up (Smith 2015).
    pub fn triangular(cycles: usize) -> Self {
        Self { div: 4.0, cut_div: 2, ..Self::cycles(cycles) }
    }

    /// Epochs of the first cycle.
    pub fn len(self, epochs: usize) -> Self {
        Self { len: epochs, ..self }
    }

    /// Each cycle is so many times as long as the one before.
    pub fn mult(self, mult: usize) -> Self {
        Self { mult, ..self }
    }

    /// The peak over the lowest rate.
    #[allow(clippy::should_implement_trait)] // fastai's name
    pub fn div(self, div: f64) -> Self {
        Self { div, ..self }
    }

    /// The length of a cycle over that of the way up.
    pub fn cut_div(self, cut_div: usize) -> Self {
        Self { cut_div, ..self }
    }

    /// The momentum at the ends and at the peak; 0.95 and 0.85 are usual.
    pub fn momentum(self, high: f64, low: f64) -> Self {
        Self { momentum: Some((high, low)), ..self }
    }
}

impl From<Slanted> for Schedule {
    fn from(Slanted { cycles, len, mult, div, cut_div, momentum }: Slanted) -> Self {
        Self { cycles, cycle_len: len, cycle_mult: mult, course: Course::Slanted { div, cut_div, momentum } }
    }
}

/// One cycle of straight lines; [`Course::LinearOneCycle`].
#[derive(Debug, Clone, Copy)]
pub struct LinearOneCycle {
    epochs: usize,
    div: f64,
    pct: f64,
    momentum: Option<(f64, f64)>,
}

impl LinearOneCycle {
    /// So many epochs, from a tenth of the peak, the last tenth below that, momentum from 0.95 to 0.85 and back.
    pub fn epochs(epochs: usize) -> Self {
        Self { epochs, div: 10.0, pct: 10.0, momentum: Some((0.95, 0.85)) }
    }

    /// The peak over the first rate.
    #[allow(clippy::should_implement_trait)] // fastai's name
    pub fn div(self, div: f64) -> Self {
        Self { div, ..self }
    }

    /// The last part in per cent.
    pub fn pct(self, pct: f64) -> Self {
        Self { pct, ..self }
    }

    /// The momentum at the ends and at the peak.
    pub fn momentum(self, high: f64, low: f64) -> Self {
        Self { momentum: Some((high, low)), ..self }
    }
}

impl From<LinearOneCycle> for Schedule {
    fn from(LinearOneCycle { epochs, div, pct, momentum }: LinearOneCycle) -> Self {
        Self::once(epochs, Course::LinearOneCycle { div, pct, momentum })
    }
}

/// One cycle of two half cosines; [`Course::OneCycle`].
#[derive(Debug, Clone, Copy)]
pub struct OneCycle {
    epochs: usize,
    pct_start: f64,
    div: f64,
    div_final: f64,
    momentum: Option<(f64, f64)>,
}

impl OneCycle {
    /// So many epochs with the constants of fastai 2: a quarter on the way up from 1/25 of the peak, down to
    /// 1/100,000 of it, momentum from 0.95 to 0.85 and back.
    pub fn epochs(epochs: usize) -> Self {
        Self { epochs, pct_start: 0.25, div: 25.0, div_final: 1e5, momentum: Some((0.95, 0.85)) }
    }

    /// The share of the way up.
    pub fn pct_start(self, pct_start: f64) -> Self {
        Self { pct_start, ..self }
    }

    /// The peak over the first rate.
    #[allow(clippy::should_implement_trait)] // fastai's name
    pub fn div(self, div: f64) -> Self {
        Self { div, ..self }
    }

    /// The peak over the last rate.
    pub fn div_final(self, div_final: f64) -> Self {
        Self { div_final, ..self }
    }

    /// The momentum at the ends and at the peak.
    pub fn momentum(self, high: f64, low: f64) -> Self {
        Self { momentum: Some((high, low)), ..self }
    }
}

impl From<OneCycle> for Schedule {
    fn from(OneCycle { epochs, pct_start, div, div_final, momentum }: OneCycle) -> Self {
        Self::once(epochs, Course::OneCycle { pct_start, div, div_final, momentum })
    }
}

/// Phases put together by hand.
#[derive(Debug, Clone)]
pub struct Phases(Vec<Phase>);

impl Phases {
    /// These, one after the other; their epochs add up to a whole number.
    pub fn of(phases: impl IntoIterator<Item = Phase>) -> Self {
        Self(phases.into_iter().collect())
    }
}

impl From<Phases> for Schedule {
    fn from(Phases(phases): Phases) -> Self {
        let epochs: f64 = phases.iter().map(|phase| phase.epochs).sum();
        Self::once(epochs.round().max(0.0) as usize, Course::Phases { phases })
    }
}
