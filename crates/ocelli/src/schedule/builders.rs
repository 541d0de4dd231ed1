//! Builders of common schedules, named as in the lesson and in fastai.

use crate::schedule::Schedule;
use crate::schedule::policy::{LrPhase, LrPolicy};

/// Epochs at a constant learning rate.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Epochs(pub usize);

impl From<Epochs> for Schedule {
    fn from(Epochs(epochs): Epochs) -> Self {
        Self::once(epochs, LrPolicy::Constant)
    }
}

/// Epochs with a learning rate that is multiplied by a factor at intervals.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct StepDecay {
    epochs: usize,
    every: usize,
    factor: f64,
}

impl StepDecay {
    /// This many epochs; the learning rate falls to a tenth after each third of them.
    pub fn epochs(epochs: usize) -> Self {
        Self { epochs, every: epochs.div_ceil(3).max(1), factor: 0.1 }
    }

    /// Epochs per learning rate.
    pub fn every(self, epochs: usize) -> Self {
        Self { every: epochs, ..self }
    }

    /// The next learning rate divided by the last.
    pub fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }
}

impl From<StepDecay> for Schedule {
    fn from(StepDecay { epochs, every, factor }: StepDecay) -> Self {
        Self::once(epochs, LrPolicy::StepDecay { every, factor })
    }
}

/// Cosine annealing with restarts (SGDR), in the words of the lesson: `Sgdr::cycles(3).len(1).mult(2)`.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Sgdr {
    cycles: usize,
    len: usize,
    mult: usize,
}

impl Sgdr {
    /// This many cycles, of one epoch each.
    pub fn cycles(cycles: usize) -> Self {
        Self { cycles, len: 1, mult: 1 }
    }

    /// Epochs of the first cycle.
    pub fn len(self, epochs: usize) -> Self {
        Self { len: epochs, ..self }
    }

    /// Each cycle is this many times as long as the one before.
    pub fn mult(self, mult: usize) -> Self {
        Self { mult, ..self }
    }
}

impl From<Sgdr> for Schedule {
    fn from(Sgdr { cycles, len, mult }: Sgdr) -> Self {
        Self { cycles, cycle_len: len, cycle_mult: mult, policy: LrPolicy::Cosine }
    }
}

/// Cycles with a linear rise and a linear fall; [`LrPolicy::SlantedTriangular`].
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct SlantedTriangular {
    cycles: usize,
    len: usize,
    mult: usize,
    div: f64,
    cut_div: usize,
    momentum: Option<(f64, f64)>,
}

impl SlantedTriangular {
    /// This many cycles of one epoch each, from a twentieth of the peak, rising for a tenth of each: the
    /// values of fastai's courses.
    pub fn cycles(cycles: usize) -> Self {
        Self { cycles, len: 1, mult: 1, div: 20.0, cut_div: 10, momentum: None }
    }

    /// This many cycles of one epoch each, from a quarter of the peak, rising for half of each (Smith 2015).
    pub fn triangular(cycles: usize) -> Self {
        Self { div: 4.0, cut_div: 2, ..Self::cycles(cycles) }
    }

    /// Epochs of the first cycle.
    pub fn len(self, epochs: usize) -> Self {
        Self { len: epochs, ..self }
    }

    /// Each cycle is this many times as long as the one before.
    pub fn mult(self, mult: usize) -> Self {
        Self { mult, ..self }
    }

    /// The peak divided by the lowest learning rate.
    #[allow(clippy::should_implement_trait)] // fastai's name
    pub fn div(self, div: f64) -> Self {
        Self { div, ..self }
    }

    /// The length of a cycle divided by that of its rise.
    pub fn cut_div(self, cut_div: usize) -> Self {
        Self { cut_div, ..self }
    }

    /// The momentum at the ends and at the peak; 0.95 and 0.85 are usual.
    pub fn momentum(self, high: f64, low: f64) -> Self {
        Self { momentum: Some((high, low)), ..self }
    }
}

impl From<SlantedTriangular> for Schedule {
    fn from(SlantedTriangular { cycles, len, mult, div, cut_div, momentum }: SlantedTriangular) -> Self {
        Self {
            cycles,
            cycle_len: len,
            cycle_mult: mult,
            policy: LrPolicy::SlantedTriangular { div, cut_div, momentum },
        }
    }
}

/// One cycle of linear segments; [`LrPolicy::LinearOneCycle`].
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct LinearOneCycle {
    epochs: usize,
    div: f64,
    pct: f64,
    momentum: Option<(f64, f64)>,
}

impl LinearOneCycle {
    /// This many epochs, from a tenth of the peak, the last tenth below that, with momentum from 0.95 to 0.85
    /// and back.
    pub fn epochs(epochs: usize) -> Self {
        Self { epochs, div: 10.0, pct: 10.0, momentum: Some((0.95, 0.85)) }
    }

    /// The peak divided by the first learning rate.
    #[allow(clippy::should_implement_trait)] // fastai's name
    pub fn div(self, div: f64) -> Self {
        Self { div, ..self }
    }

    /// The length of the last part in per cent.
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
        Self::once(epochs, LrPolicy::LinearOneCycle { div, pct, momentum })
    }
}

/// One cycle of two half cosines; [`LrPolicy::OneCycle`].
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct OneCycle {
    epochs: usize,
    pct_start: f64,
    div: f64,
    div_final: f64,
    momentum: Option<(f64, f64)>,
}

impl OneCycle {
    /// This many epochs with fastai 2's defaults: rising for a quarter of them from 1/25 of the peak, down to
    /// 1/100,000 of it, with momentum from 0.95 to 0.85 and back.
    pub fn epochs(epochs: usize) -> Self {
        Self { epochs, pct_start: 0.25, div: 25.0, div_final: 1e5, momentum: Some((0.95, 0.85)) }
    }

    /// The fraction of steps in which the learning rate rises.
    pub fn pct_start(self, pct_start: f64) -> Self {
        Self { pct_start, ..self }
    }

    /// The peak divided by the first learning rate.
    #[allow(clippy::should_implement_trait)] // fastai's name
    pub fn div(self, div: f64) -> Self {
        Self { div, ..self }
    }

    /// The peak divided by the last learning rate.
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
        Self::once(epochs, LrPolicy::OneCycle { pct_start, div, div_final, momentum })
    }
}

/// A list of phases.
#[derive(Debug, Clone)]
#[must_use]
pub struct LrPhases(Vec<LrPhase>);

impl LrPhases {
    /// These phases, one after the other; their epochs must add up to a whole number.
    pub fn of(phases: impl IntoIterator<Item = LrPhase>) -> Self {
        Self(phases.into_iter().collect())
    }
}

impl From<LrPhases> for Schedule {
    fn from(LrPhases(phases): LrPhases) -> Self {
        let epochs: f64 = phases.iter().map(|phase| phase.epochs).sum();
        Self::once(epochs.round().max(0.0) as usize, LrPolicy::Phases { phases })
    }
}
