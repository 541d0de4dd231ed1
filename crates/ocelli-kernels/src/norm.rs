//! Batch normalisation in training, with residual and activation, forward and backward.

use crate::{
    Activation, Element, Isa, assert_len,
    elementwise::{load, store},
    memory::SharedMut,
    simd::{self, Kernel, Simd},
    threads,
};
use rayon::prelude::*;

/// Mean and variance of each channel over all images and pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStatistics {
    /// `[channels]`
    pub mean: Vec<f32>,
    /// `[channels]`; biased: divided by the number of pixels.
    pub variance: Vec<f32>,
}

/// The mean and (biased) variance of each channel of `x`, `[pixels, channels]`.
///
/// # Panics
/// If `x` is empty or its length is no multiple of `channels`.
pub fn channel_statistics<T: Element>(channels: usize, x: &[T]) -> ChannelStatistics {
    let pixels = pixels(channels, x);
    assert!(pixels > 0, "statistics of nothing");
    let pieces: Vec<Moments> =
        x.par_chunks(piece_len(channels)).map(|piece| Moments::of(channels, piece)).collect();
    Moments::merge(channels, &pieces)
}

/// The sum of each channel of `x`, `[pixels, channels]`: the gradient with respect to a bias.
///
/// # Panics
/// If the length of `x` is no multiple of `channels`.
pub fn channel_sums<T: Element>(channels: usize, x: &[T]) -> Vec<f32> {
    pixels(channels, x);
    let zeros = vec![0.0; channels];
    let pieces: Vec<[Vec<f64>; 2]> = x
        .par_chunks(piece_len(channels))
        .with_min_len(threads::least(1))
        .map(|piece| shifted_sums(channels, piece, &zeros))
        .collect();
    add_pieces(channels, &pieces)[0].iter().map(|sum| *sum as f32).collect()
}

/// Where a normalisation's mean and variance came from, which its backward pass has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatisticsSource {
    /// From this batch: they depend on `x`.
    Batch,
    /// Running statistics: constants.
    Frozen,
}

/// Batch normalisation of `[pixels, channels]` with what follows it:
/// `y = activation((x − mean) / sqrt(variance + epsilon) · gamma + beta + residual)`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// `[channels]`
    pub mean: &'a [f32],
    /// `[channels]`, biased.
    pub variance: &'a [f32],
    /// `[channels]`: the learnt scale, "weight" in PyTorch.
    pub gamma: &'a [f32],
    /// `[channels]`: the learnt shift, "bias" in PyTorch.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
    /// Applied last.
    pub activation: Activation,
}

/// Gradients with respect to the learnt scale and shift.
#[derive(Clone, Debug, PartialEq)]
pub struct NormGradients {
    /// `[channels]`
    pub gamma: Vec<f32>,
    /// `[channels]`
    pub beta: Vec<f32>,
}

impl BatchNorm<'_> {
    /// Normalises in one pass over memory. `x`, `residual`, `y`: `[pixels, channels]`.
    ///
    /// # Panics
    /// On slices of other lengths.
    pub fn forward<T: Element>(&self, x: &[T], residual: Option<&[T]>, y: &mut [T]) {
        let channels = self.check(x, residual);
        assert_len("y", y, x.len());
        let periodic = self.periodic(channels);
        let piece = piece_len(channels);
        y.par_chunks_mut(piece).enumerate().for_each(|(at, y)| {
            let range = at * piece..at * piece + y.len();
            let kernel = ForwardKernel {
                activation: self.activation,
                periodic: &periodic,
                x: &x[range.clone()],
                residual: residual.map(|residual| &residual[range]),
                y,
            };
            T::norm_forward(Isa::current(), kernel);
        });
    }

    /// The backward pass of [`BatchNorm::forward`].
    ///
    /// `x` and `residual`: the forward pass's inputs; `dy`: the gradient with respect to its output; `dx` and
    /// `dresidual`: overwritten with the gradients with respect to `x`, plus `others` if there are any (gradients that
    /// reach it by other ways), and to `residual`.
    ///
    /// # Panics
    /// On slices of other lengths.
    #[allow(clippy::too_many_arguments)] // two inputs, three gradients, and what meets one of them
    pub fn backward<T: Element>(
        &self,
        source: StatisticsSource,
        x: &[T],
        residual: Option<&[T]>,
        dy: &[T],
        others: Option<&[T]>,
        dx: &mut [T],
        dresidual: Option<&mut [T]>,
    ) -> NormGradients {
        let channels = self.check(x, residual);
        assert_len("dy", dy, x.len());
        assert_len("dx", dx, x.len());
        if let Some(others) = others {
            assert_len("others", others, x.len());
        }
        if let Some(dresidual) = &dresidual {
            assert_len("dresidual", dresidual, x.len());
        }
        let periodic = self.periodic(channels);
        let piece = piece_len(channels);
        let dx = SharedMut::new(dx);
        let dresidual = dresidual.map(SharedMut::new);
        let pass = |job: Job, correction: Option<&Correction>| -> Vec<[Vec<f64>; 2]> {
            let pieces = (0..x.len().div_ceil(piece)).into_par_iter().with_min_len(threads::least(1));
            let work = pieces.map(|at| {
                let range = at * piece..((at + 1) * piece).min(x.len());
                // SAFETY: pieces do not overlap, and one pass follows the other.
                let (dx, dresidual) = unsafe {
                    (
                        dx.slice(range.start, range.len()),
                        dresidual.map(|dresidual| dresidual.slice(range.start, range.len())),
                    )
                };
                let kernel = BackwardKernel {
                    activation: self.activation,
                    channels,
                    periodic: &periodic,
                    job,
                    correction,
                    x: &x[range.clone()],
                    residual: residual.map(|residual| &residual[range.clone()]),
                    dy: &dy[range.clone()],
                    others: others.map(|others| &others[range]),
                    dx,
                    dresidual,
                };
                T::norm_backward(Isa::current(), kernel)
            });
            work.collect()
        };
        // With constant statistics one pass does both; else dx needs the sums.
        let first = if source == StatisticsSource::Frozen { Job::Both } else { Job::Sum };
        let [beta, gamma] = add_pieces(channels, &pass(first, None));
        let gamma: Vec<f64> =
            gamma.iter().zip(self.inverse_deviation()).map(|(sum, inverse)| sum * inverse).collect();
        if source == StatisticsSource::Batch && !x.is_empty() {
            let correction = self.correction(&periodic, x.len() / channels, &beta, &gamma);
            pass(Job::Write, Some(&correction));
        }
        let single = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
        NormGradients { gamma: single(gamma), beta: single(beta) }
    }

    fn inverse_deviation(&self) -> impl Iterator<Item = f64> {
        self.variance.iter().map(|variance| 1.0 / (f64::from(*variance) + f64::from(self.epsilon)).sqrt())
    }

    fn periodic(&self, channels: usize) -> Periodic {
        let scale: Vec<f64> =
            self.inverse_deviation().zip(self.gamma).map(|(i, gamma)| i * f64::from(*gamma)).collect();
        let shift = |c: usize| f64::from(self.beta[c]) - f64::from(self.mean[c]) * scale[c];
        Periodic {
            scale: repeat(channels, |c| scale[c] as f32),
            shift: repeat(channels, |c| shift(c) as f32),
            mean: repeat(channels, |c| self.mean[c]),
        }
    }

    fn correction(&self, periodic: &Periodic, pixels: usize, beta: &[f64], gamma: &[f64]) -> Correction {
        let channels = self.mean.len();
        let inverse: Vec<f64> = self.inverse_deviation().collect();
        let slope = |c: usize| -f64::from(periodic.scale[c]) * inverse[c] * gamma[c] / pixels as f64;
        let constant = |c: usize| -f64::from(periodic.scale[c]) * beta[c] / pixels as f64;
        Correction {
            slope: repeat(channels, |c| slope(c) as f32),
            constant: repeat(channels, |c| constant(c) as f32),
        }
    }

    #[track_caller]
    fn check<T: Element>(&self, x: &[T], residual: Option<&[T]>) -> usize {
        let channels = self.mean.len();
        pixels(channels, x);
        assert_len("variance", self.variance, channels);
        assert_len("gamma", self.gamma, channels);
        assert_len("beta", self.beta, channels);
        if let Some(residual) = residual {
            assert_len("residual", residual, x.len());
        }
        channels
    }
}

/// The sums over a piece of the data that statistics are put together from.
pub(crate) struct Moments {
    pixels: usize,
    mean: Vec<f64>,
    /// Sums of squared distances from the mean.
    squares: Vec<f64>,
}

impl Moments {
    pub(crate) fn of<T: Element>(channels: usize, x: &[T]) -> Self {
        let pixels = x.len() / channels;
        // Distances from about the mean, so that their squares do not cancel.
        let sample = pixels.min(16);
        let mut origin = vec![0.0f32; channels];
        for pixel in x[..sample * channels].chunks_exact(channels) {
            origin.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x.to_f32());
        }
        origin.iter_mut().for_each(|sum| *sum /= sample as f32);
        let [sums, squares] = shifted_sums(channels, x, &origin);
        let count = pixels as f64;
        let squares =
            squares.iter().zip(&sums).map(|(squares, sum)| (squares - sum * sum / count).max(0.0)).collect();
        let mean = sums.iter().zip(&origin).map(|(sum, origin)| sum / count + f64::from(*origin)).collect();
        Moments { pixels, mean, squares }
    }

    /// Chan, Golub and LeVeque's update.
    pub(crate) fn merge(channels: usize, pieces: &[Moments]) -> ChannelStatistics {
        let (mut mean, mut squares) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        let mut count = 0.0;
        for piece in pieces {
            let more = piece.pixels as f64;
            let total = count + more;
            for c in 0..channels {
                let difference = piece.mean[c] - mean[c];
                mean[c] += difference * more / total;
                squares[c] += piece.squares[c] + difference * difference * count * more / total;
            }
            count = total;
        }
        ChannelStatistics {
            mean: mean.into_iter().map(|m| m as f32).collect(),
            variance: squares.into_iter().map(|s| (s / count) as f32).collect(),
        }
    }
}

/// Sums of `x - origin` and of its square, for each channel.
fn shifted_sums<T: Element>(channels: usize, x: &[T], origin: &[f32]) -> [Vec<f64>; 2] {
    let origin = repeat(channels, |c| origin[c]);
    T::norm_sums(Isa::current(), SumKernel { channels, x, origin: &origin })
}

/// Adds the sums of pieces in their order.
fn add_pieces(channels: usize, pieces: &[[Vec<f64>; 2]]) -> [Vec<f64>; 2] {
    let mut sums = [vec![0.0f64; channels], vec![0.0f64; channels]];
    for piece in pieces {
        for (sums, piece) in sums.iter_mut().zip(piece) {
            sums.iter_mut().zip(piece).for_each(|(sum, piece)| *sum += piece);
        }
    }
    sums
}

// Passes over memory. Channels rarely fill whole vectors, but some pixels together do: values for each channel are
// repeated until they fill whole vectors of every instruction set, and data are gone through flat.

/// Values for each channel, repeated.
fn repeat(channels: usize, value: impl Fn(usize) -> f32) -> Vec<f32> {
    (0..period(channels)).map(|i| value(i % channels)).collect()
}

/// The smallest multiple of `channels` that fills vectors of 16.
fn period(channels: usize) -> usize {
    let mut common = 1;
    while common < 16 && channels.is_multiple_of(common * 2) {
        common *= 2;
    }
    channels * (16 / common)
}

/// `[period]` each.
pub struct Periodic {
    scale: Vec<f32>,
    shift: Vec<f32>,
    mean: Vec<f32>,
}

/// What dependent statistics add to `scale · du`: `slope · (x − mean) + constant`; `[period]` each.
pub struct Correction {
    slope: Vec<f32>,
    constant: Vec<f32>,
}

/// A vector of data: where it starts, where it is in the period, and how many of its lanes there are.
struct Place {
    at: usize,
    channel: usize,
    lanes: usize,
}

/// All vectors of the data. (An iterator, not a function that takes a closure: a closure that is not inlined has none
/// of the instruction set's features.)
struct Places {
    next: usize,
    channel: usize,
    len: usize,
    period: usize,
    width: usize,
}

impl Places {
    #[inline(always)]
    fn of<S: Simd>(len: usize, period: usize) -> Self {
        Places { next: 0, channel: 0, len, period, width: S::LANES }
    }
}

impl Iterator for Places {
    type Item = Place;

    #[inline(always)]
    fn next(&mut self) -> Option<Place> {
        if self.next >= self.len {
            return None;
        }
        let place =
            Place { at: self.next, channel: self.channel, lanes: self.width.min(self.len - self.next) };
        self.next += self.width;
        self.channel += self.width;
        if self.channel == self.period {
            self.channel = 0;
        }
        Some(place)
    }
}

/// Pixels whose sums are kept in f32, about.
const SINGLE_PRECISION_PIXELS: usize = 64;

/// Two sums for each channel: f32 for some pixels, then f64.
struct ChannelSums {
    channels: usize,
    single: [Vec<f32>; 2],
    double: [Vec<f64>; 2],
}

impl ChannelSums {
    fn zeros(channels: usize) -> Self {
        let period = period(channels);
        ChannelSums {
            channels,
            single: [vec![0.0; period], vec![0.0; period]],
            double: [vec![0.0; channels], vec![0.0; channels]],
        }
    }

    fn flush(&mut self) {
        for (single, double) in self.single.iter_mut().zip(&mut self.double) {
            for repeat in single.chunks_exact_mut(self.channels) {
                for (single, double) in repeat.iter_mut().zip(double.iter_mut()) {
                    *double += f64::from(*single);
                    *single = 0.0;
                }
            }
        }
    }

    /// Elements between two flushes: whole periods.
    fn interval(&self) -> usize {
        (SINGLE_PRECISION_PIXELS * self.channels).next_multiple_of(self.single[0].len())
    }
}

pub struct SumKernel<'a, T> {
    channels: usize,
    x: &'a [T],
    origin: &'a [f32],
}

impl<T: Element> Kernel for SumKernel<'_, T> {
    type Output = [Vec<f64>; 2];

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> [Vec<f64>; 2] {
        let mut sums = ChannelSums::zeros(self.channels);
        for x in self.x.chunks(sums.interval()) {
            let [first, second] = &mut sums.single;
            for Place { at, channel, lanes } in Places::of::<S>(x.len(), self.origin.len()) {
                // SAFETY: the processor has S; sums and origin have a whole period.
                unsafe {
                    // Lanes beyond the end stay 0, not -origin.
                    let origin = load::<S, f32>(self.origin.as_ptr().add(channel), lanes);
                    let x = S::sub(load::<S, T>(x.as_ptr().add(at), lanes), origin);
                    let (first, second) = (first.as_mut_ptr().add(channel), second.as_mut_ptr().add(channel));
                    S::store(first, S::add(S::load(first), x));
                    S::store(second, S::fma(x, x, S::load(second)));
                }
            }
            sums.flush();
        }
        sums.double
    }
}

pub struct ForwardKernel<'a, T> {
    activation: Activation,
    periodic: &'a Periodic,
    x: &'a [T],
    residual: Option<&'a [T]>,
    y: &'a mut [T],
}

impl<T: Element> Kernel for ForwardKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (scale, shift) = (self.periodic.scale.as_ptr(), self.periodic.shift.as_ptr());
        for Place { at, channel, lanes } in Places::of::<S>(self.y.len(), self.periodic.scale.len()) {
            // SAFETY: the processor has S; all of the data are equally long, and scale and shift have a whole period.
            unsafe {
                let x = load::<S, T>(self.x.as_ptr().add(at), lanes);
                let mut u = S::fma(x, S::load(scale.add(channel)), S::load(shift.add(channel)));
                if let Some(residual) = self.residual {
                    u = S::add(u, load::<S, T>(residual.as_ptr().add(at), lanes));
                }
                store::<S, T>(self.y.as_mut_ptr().add(at), lanes, simd::activate::<S>(self.activation, u));
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

/// `du` is the gradient with respect to the activation's argument.
pub struct BackwardKernel<'a, T> {
    activation: Activation,
    channels: usize,
    periodic: &'a Periodic,
    job: Job,
    correction: Option<&'a Correction>,
    x: &'a [T],
    residual: Option<&'a [T]>,
    dy: &'a [T],
    others: Option<&'a [T]>,
    dx: &'a mut [T],
    dresidual: Option<&'a mut [T]>,
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
            for Place { at, channel, lanes } in Places::of::<S>(len, period) {
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
                        du = simd::activation_gradient::<S>(self.activation, u, du);
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

/// Elements of the pieces that passes over memory are cut into: whole periods, about 32 Ki elements.
fn piece_len(channels: usize) -> usize {
    let period = period(channels);
    (32_768 / period).max(1) * period
}

#[track_caller]
fn pixels<T>(channels: usize, x: &[T]) -> usize {
    assert!(
        channels > 0 && x.len().is_multiple_of(channels),
        "x has {} elements, no multiple of {channels} channels",
        x.len()
    );
    x.len() / channels
}
