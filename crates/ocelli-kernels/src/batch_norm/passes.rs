//! The kernels of the forward and backward pass.

use super::{
    periodic::{Correction, Periodic, Vector, vectors},
    statistics::ChannelSums,
};
use crate::{
    activation::{Activation, activate, activation_gradient},
    element::{Element, load, store},
    simd::{Kernel, Simd},
};

/// Normalises, adds the residual and applies the activation.
pub struct ForwardKernel<'a, T> {
    pub(super) activation: Activation,
    pub(super) periodic: &'a Periodic,
    pub(super) x: &'a [T],
    pub(super) residual: Option<&'a [T]>,
    pub(super) y: &'a mut [T],
}

impl<T: Element> Kernel for ForwardKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (scale, shift) = (self.periodic.scale.as_ptr(), self.periodic.shift.as_ptr());
        for Vector { at, channel, lanes } in vectors::<S>(self.y.len(), self.periodic.scale.len()) {
            // SAFETY: the processor has S; all of the data are equally long, and scale and shift have a whole period.
            unsafe {
                let x = load::<S, T>(self.x.as_ptr().add(at), lanes);
                let mut u = S::fma(x, S::load(scale.add(channel)), S::load(shift.add(channel)));
                if let Some(residual) = self.residual {
                    u = S::add(u, load::<S, T>(residual.as_ptr().add(at), lanes));
                }
                store::<S, T>(self.y.as_mut_ptr().add(at), lanes, activate::<S>(self.activation, u));
            }
        }
    }
}

/// What a backward pass over memory does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Job {
    /// Sums `du` and `du · (x − mean)`.
    Sum,
    /// Writes `dx` and `dresidual`.
    Write,
    Both,
}

/// The backward pass. `du` is the gradient with respect to the activation's argument.
pub struct BackwardKernel<'a, T> {
    pub(super) activation: Activation,
    pub(super) channels: usize,
    pub(super) periodic: &'a Periodic,
    pub(super) job: Job,
    pub(super) correction: Option<&'a Correction>,
    pub(super) x: &'a [T],
    pub(super) residual: Option<&'a [T]>,
    pub(super) dy: &'a [T],
    pub(super) others: Option<&'a [T]>,
    pub(super) dx: &'a mut [T],
    pub(super) dresidual: Option<&'a mut [T]>,
}

impl<T: Element> Kernel for BackwardKernel<'_, T> {
    type Output = [Vec<f64>; 2];

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> [Vec<f64>; 2] {
        // SAFETY: the processor has S.
        unsafe {
            match self.job {
                Job::Sum => self.pass::<S, true, false>(),
                Job::Write => self.pass::<S, false, true>(),
                Job::Both => self.pass::<S, true, true>(),
            }
        }
    }
}

impl<T: Element> BackwardKernel<'_, T> {
    #[inline(always)]
    unsafe fn pass<S: Simd, const SUM: bool, const WRITE: bool>(mut self) -> [Vec<f64>; 2] {
        let mut sums = ChannelSums::zeros(self.channels);
        let (interval, period) = (sums.interval(), self.periodic.scale.len());
        for start in (0..self.x.len()).step_by(interval) {
            let len = interval.min(self.x.len() - start);
            let [first, second] = &mut sums.single;
            for Vector { at, channel, lanes } in vectors::<S>(len, period) {
                let at = start + at;
                // SAFETY: the processor has S; all of the data are equally long, and what is periodic has a whole
                // period. Lanes beyond the end are 0 in dy, and so in du.
                unsafe {
                    let x = load::<S, T>(self.x.as_ptr().add(at), lanes);
                    let scale = S::load(self.periodic.scale.as_ptr().add(channel));
                    let mut du = load::<S, T>(self.dy.as_ptr().add(at), lanes);
                    if self.activation != Activation::None {
                        let mut u = S::fma(x, scale, S::load(self.periodic.shift.as_ptr().add(channel)));
                        if let Some(residual) = self.residual {
                            u = S::add(u, load::<S, T>(residual.as_ptr().add(at), lanes));
                        }
                        du = activation_gradient::<S>(self.activation, u, du);
                    }
                    let centred = S::sub(x, S::load(self.periodic.mean.as_ptr().add(channel)));
                    if SUM {
                        let (first, second) =
                            (first.as_mut_ptr().add(channel), second.as_mut_ptr().add(channel));
                        S::store(first, S::add(S::load(first), du));
                        S::store(second, S::fma(du, centred, S::load(second)));
                    }
                    if WRITE {
                        let mut dx = match self.correction {
                            Some(correction) => {
                                let slope = S::load(correction.slope.as_ptr().add(channel));
                                let constant = S::load(correction.constant.as_ptr().add(channel));
                                S::fma(scale, du, S::fma(slope, centred, constant))
                            }
                            None => S::mul(scale, du),
                        };
                        if let Some(others) = self.others {
                            dx = S::add(dx, load::<S, T>(others.as_ptr().add(at), lanes));
                        }
                        store::<S, T>(self.dx.as_mut_ptr().add(at), lanes, dx);
                        if let Some(dresidual) = &mut self.dresidual {
                            store::<S, T>(dresidual.as_mut_ptr().add(at), lanes, du);
                        }
                    }
                }
            }
            if SUM {
                sums.flush();
            }
        }
        sums.double
    }
}
