//! Policies: how learning rate and momentum change within one cycle.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How learning rate and momentum change over one cycle of `n` steps, of which `t` are done.
///
/// The learning rate is a factor of the fit's peak learning rates, one per layer group. A cycle of a single
/// step runs at the peak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LrPolicy {
    /// The peak learning rate throughout.
    Constant,
    /// Half a cosine from the peak to almost 0, `(1 + cos(π t / n)) / 2` (Loshchilov & Hutter 2016,
    /// <https://arxiv.org/abs/1608.03983>).
    ///
    /// As in fastai 0.7, the first twentieth of the first cycle runs at a hundredth of the peak. Unlike
    /// there, a cycle of a single step trains.
    Cosine,
    /// The learning rate is multiplied by `factor` after every `every` epochs of the cycle.
    StepDecay {
        /// Epochs per learning rate, at least 1.
        every: usize,
        /// The next learning rate divided by the last, above 0.
        factor: f64,
    },
    /// A linear rise from 1/`div` of the peak over the first ⌊`n` / `cut_div`⌋ steps, and a linear fall back
    /// (Smith 2015, <https://arxiv.org/abs/1506.01186>; slanted: Howard & Ruder 2018,
    /// <https://arxiv.org/abs/1801.06146>); the momentum mirrors it. fastai 0.7's `use_clr`, which divides by
    /// zero where `n < cut_div`; here the rise then takes one step.
    SlantedTriangular {
        /// The peak divided by the lowest learning rate, at least 1.
        div: f64,
        /// The length of the cycle divided by that of the rise, at least 1; 2 is a symmetric triangle.
        cut_div: usize,
        /// The momentum at the ends and at the peak.
        momentum: Option<(f64, f64)>,
    },
    /// A linear rise from 1/`div` of the peak, a linear fall back to it, and then to a hundredth of that in
    /// the last `pct` per cent of the steps; the momentum mirrors the first two and stays high in the last.
    /// fastai 0.7's `use_clr_beta`: the one-cycle policy of Smith 2018, <https://arxiv.org/abs/1803.09820>.
    LinearOneCycle {
        /// The peak divided by the first learning rate, at least 1.
        div: f64,
        /// The length of the last part in per cent, from 0 to below 100.
        pct: f64,
        /// The momentum at the ends and at the peak.
        momentum: Option<(f64, f64)>,
    },
    /// Half a cosine up from 1/`div` of the peak in the first `pct_start` of the steps, half a cosine down to
    /// 1/`div_final` of it in the rest; the momentum mirrors it. fastai 2's `fit_one_cycle`.
    OneCycle {
        /// The fraction of steps in which the learning rate rises, above 0 and below 1.
        pct_start: f64,
        /// The peak divided by the first learning rate, at least 1.
        div: f64,
        /// The peak divided by the last learning rate, at least 1.
        div_final: f64,
        /// The momentum at the ends and at the peak.
        momentum: Option<(f64, f64)>,
    },
    /// A list of phases, one after the other.
    Phases {
        /// The phases; their epochs add up to those of the cycle.
        phases: Vec<LrPhase>,
    },
}

/// A phase of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LrPhase {
    /// Its length in epochs, which need not be whole.
    pub epochs: f64,
    /// The learning rate as a factor of the peak, at its start and at its end, which is where the next phase
    /// begins.
    pub lr_factor: (f64, f64),
    /// The momentum at its start and end; without it the optimizer's own.
    pub momentum: Option<(f64, f64)>,
    /// The shape of both between start and end.
    pub shape: Shape,
}

/// How a value moves from start to end, as in fastai's annealing functions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Shape {
    /// Constant: the first value throughout.
    Constant,
    /// Linear: `start + (end − start) p`, with `p` from 0 to 1.
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

/// Learning rate and momentum at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SchedulePoint {
    /// The learning rate as a factor of the peak.
    pub lr_factor: f64,
    /// The momentum, if the schedule sets it.
    pub momentum: Option<f64>,
}

/// A step of a cycle: `step` of `steps` are done.
#[derive(Debug, Clone, Copy)]
pub(super) struct CycleStep {
    pub(super) step: usize,
    pub(super) steps: usize,
    pub(super) steps_per_epoch: usize,
    /// Whether the cycle is the schedule's first.
    pub(super) first_cycle: bool,
}

impl CycleStep {
    /// From 0 to below 1.
    fn position(self) -> f64 {
        self.step as f64 / self.steps.max(1) as f64
    }

    /// Whether the cycle has only this step.
    fn is_alone(self) -> bool {
        self.steps <= 1
    }
}

/// The momentum at the ends and at the peak.
type Momentum = Option<(f64, f64)>;

impl LrPolicy {
    /// Learning rate and momentum at a step of a cycle.
    pub(super) fn at(&self, at: CycleStep) -> SchedulePoint {
        match self {
            Self::Constant => PEAK,
            Self::Cosine => cosine(at),
            Self::StepDecay { every, factor } => step_decay(at, *every, *factor),
            Self::SlantedTriangular { div, cut_div, momentum } => {
                slanted_triangular(at, *div, *cut_div, *momentum)
            }
            Self::LinearOneCycle { div, pct, momentum } => linear_one_cycle(at, *div, *pct, *momentum),
            Self::OneCycle { pct_start, div, div_final, momentum } => {
                one_cycle(at, *pct_start, *div, *div_final, *momentum)
            }
            Self::Phases { phases } => in_phases(at, phases),
        }
    }

    pub(super) fn check(&self, cycle_len: usize) -> Result<()> {
        match self {
            Self::Constant | Self::Cosine => Ok(()),
            Self::StepDecay { every, factor } => {
                if *every == 0 {
                    return Err(Error::setting("every", every, "at least 1 epoch"));
                }
                if !(factor.is_finite() && *factor > 0.0) {
                    return Err(Error::setting("factor", factor, "a number above 0, such as 0.1"));
                }
                Ok(())
            }
            Self::SlantedTriangular { div, cut_div, momentum } => {
                if *cut_div == 0 {
                    return Err(Error::setting("cut_div", cut_div, "at least 1"));
                }
                at_least_1("div", *div)?;
                check_momentum(*momentum)
            }
            Self::LinearOneCycle { div, pct, momentum } => {
                at_least_1("div", *div)?;
                if !(0.0..100.0).contains(pct) {
                    return Err(Error::setting("pct", pct, "from 0 to below 100"));
                }
                check_momentum(*momentum)
            }
            Self::OneCycle { pct_start, div, div_final, momentum } => {
                at_least_1("div", *div)?;
                at_least_1("div_final", *div_final)?;
                if !(*pct_start > 0.0 && *pct_start < 1.0) {
                    return Err(Error::setting("pct_start", pct_start, "above 0 and below 1"));
                }
                check_momentum(*momentum)
            }
            Self::Phases { phases } => {
                let epochs: f64 = phases.iter().map(|phase| phase.epochs).sum();
                if (epochs - cycle_len as f64).abs() > 1e-6 {
                    let expected = "a whole number: phases may end within an epoch, the last one not";
                    return Err(Error::setting("epochs", epochs, expected));
                }
                phases.iter().try_for_each(LrPhase::check)
            }
        }
    }
}

/// The peak learning rate, and the optimizer's own momentum.
const PEAK: SchedulePoint = SchedulePoint { lr_factor: 1.0, momentum: None };

fn cosine(at: CycleStep) -> SchedulePoint {
    let warming_up = at.first_cycle && at.step * 20 < at.steps;
    let lr_factor = match warming_up {
        _ if at.is_alone() => 1.0,
        true => 0.01,
        false => Shape::Cosine.between((1.0, 0.0), at.position()),
    };
    SchedulePoint { lr_factor, momentum: None }
}

fn step_decay(at: CycleStep, every: usize, factor: f64) -> SchedulePoint {
    if at.is_alone() {
        return PEAK;
    }
    let falls = at.step / (every * at.steps_per_epoch);
    SchedulePoint { lr_factor: factor.powi(falls as i32), momentum: None }
}

/// The peak of a cycle whose momentum mirrors the learning rate.
fn at_the_peak(momentum: Momentum) -> SchedulePoint {
    SchedulePoint { lr_factor: 1.0, momentum: momentum.map(|(_, low)| low) }
}

fn slanted_triangular(at: CycleStep, div: f64, cut_div: usize, momentum: Momentum) -> SchedulePoint {
    if at.is_alone() {
        return at_the_peak(momentum);
    }
    let (t, n) = (at.step, at.steps);
    let cut = (n / cut_div).max(1);
    let height = match t <= cut {
        true => t as f64 / cut as f64,
        false => 1.0 - (t - cut) as f64 / (n - cut) as f64,
    };
    on_a_slope(height, div, momentum)
}

fn linear_one_cycle(at: CycleStep, div: f64, pct: f64, momentum: Momentum) -> SchedulePoint {
    if at.is_alone() {
        return at_the_peak(momentum);
    }
    let (t, n) = (at.step, at.steps);
    let half = ((n as f64 * (1.0 - pct / 100.0) / 2.0) as usize).max(1);
    if t <= half {
        on_a_slope(t as f64 / half as f64, div, momentum)
    } else if t <= 2 * half {
        on_a_slope(2.0 - t as f64 / half as f64, div, momentum)
    } else {
        let last = (t - 2 * half) as f64 / (n - 2 * half) as f64;
        let lr_factor = Shape::Linear.between((1.0, 0.01), last) / div;
        SchedulePoint { lr_factor, momentum: momentum.map(|(high, _)| high) }
    }
}

fn one_cycle(at: CycleStep, pct_start: f64, div: f64, div_final: f64, momentum: Momentum) -> SchedulePoint {
    if at.is_alone() {
        return at_the_peak(momentum);
    }
    let position = at.position();
    let (rate, momentum, within) = match position < pct_start {
        true => ((1.0 / div, 1.0), momentum, position / pct_start),
        false => (
            (1.0, 1.0 / div_final),
            momentum.map(|(high, low)| (low, high)),
            (position - pct_start) / (1.0 - pct_start),
        ),
    };
    SchedulePoint {
        lr_factor: Shape::Cosine.between(rate, within),
        momentum: momentum.map(|ends| Shape::Cosine.between(ends, within)),
    }
}

fn in_phases(at: CycleStep, phases: &[LrPhase]) -> SchedulePoint {
    // In epochs, since a phase may end within one.
    let now = at.step as f64 / at.steps_per_epoch as f64;
    let mut start = 0.0;
    let phase = phases.iter().find(|phase| {
        let here = now < start + phase.epochs - 1e-9;
        start += if here { 0.0 } else { phase.epochs };
        here
    });
    match phase.or(phases.last()) {
        Some(phase) => phase.at(((now - start) / phase.epochs).clamp(0.0, 1.0)),
        None => PEAK,
    }
}

/// A point on a linear slope: height 0 at 1/`div` of the peak, height 1 at the peak.
fn on_a_slope(height: f64, div: f64, momentum: Momentum) -> SchedulePoint {
    SchedulePoint {
        lr_factor: (1.0 + height * (div - 1.0)) / div,
        momentum: momentum.map(|(high, low)| high + height * (low - high)),
    }
}

fn at_least_1(name: &'static str, value: f64) -> Result<()> {
    match value.is_finite() && value >= 1.0 {
        true => Ok(()),
        false => Err(Error::setting(name, value, "a number of at least 1")),
    }
}

fn check_momentum(momentum: Momentum) -> Result<()> {
    let within = |value: &f64| (0.0..1.0).contains(value);
    match momentum.is_none_or(|(high, low)| within(&high) && within(&low)) {
        true => Ok(()),
        false => Err(Error::setting("momentum", format!("{momentum:?}"), "two numbers from 0 to below 1")),
    }
}

impl LrPhase {
    /// Linear from `start` to `end` times the peak learning rate.
    pub fn linear(epochs: f64, start: f64, end: f64) -> Self {
        Self { epochs, lr_factor: (start, end), momentum: None, shape: Shape::Linear }
    }

    /// Half a cosine from `start` to `end` times the peak learning rate.
    pub fn cosine(epochs: f64, start: f64, end: f64) -> Self {
        Self { shape: Shape::Cosine, ..Self::linear(epochs, start, end) }
    }

    /// `factor` times the peak learning rate throughout.
    pub fn constant(epochs: f64, factor: f64) -> Self {
        Self { shape: Shape::Constant, ..Self::linear(epochs, factor, factor) }
    }

    /// Sets another shape.
    pub fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// Momentum from `start` to `end`, in the phase's shape.
    pub fn momentum(self, start: f64, end: f64) -> Self {
        Self { momentum: Some((start, end)), ..self }
    }

    fn check(&self) -> Result<()> {
        let Self { epochs, lr_factor: (start, end), momentum, shape } = *self;
        if !(epochs.is_finite() && epochs > 0.0) {
            return Err(Error::setting("epochs", epochs, "a number above 0"));
        }
        let usable =
            |rate: f64| rate.is_finite() && (rate > 0.0 || rate == 0.0 && !shape.needs_more_than_0());
        if !(usable(start) && usable(end)) {
            let expected = "at least 0, and above 0 for an exponential shape";
            return Err(Error::setting("lr_factor", format!("{start} to {end}"), expected));
        }
        check_momentum(momentum)?;
        match shape {
            Shape::Polynomial { power } if !(power.is_finite() && power > 0.0) => {
                Err(Error::setting("power", power, "a number above 0"))
            }
            _ => Ok(()),
        }
    }

    fn at(&self, position: f64) -> SchedulePoint {
        SchedulePoint {
            lr_factor: self.shape.between(self.lr_factor, position),
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
