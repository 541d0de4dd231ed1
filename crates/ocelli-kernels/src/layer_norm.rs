//! Layer normalisation: each row by its own mean and variance; forward and backward.

use crate::{
    batch_norm::NormGradients,
    element::{Element, load, store},
    isa::Isa,
    shape::assert_len,
    shared_mut::SharedMut,
    simd::{self, Kernel, Simd},
    threads,
};
use rayon::prelude::*;

/// Layer normalisation of rows, `[rows, channels]`:
/// `y = (x − mean(row)) / sqrt(variance(row) + epsilon) · gamma + beta`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// `[channels]`: the learnt scale, "weight" in PyTorch.
    pub gamma: &'a [f32],
    /// `[channels]`: the learnt shift, "bias" in PyTorch.
    pub beta: &'a [f32],
    /// Added to the biased variance.
    pub epsilon: f32,
}

/// Elements of a piece of work, about, and its most rows, which are summed in f32.
const PIECE: usize = 8192;
const PIECE_ROWS: usize = 64;

impl LayerNorm<'_> {
    /// Normalises each row; `x`, `y`: `[rows, channels]`.
    ///
    /// # Panics
    /// If there are no channels, or on slices of other lengths.
    pub fn forward<T: Element>(&self, x: &[T], y: &mut [T]) {
        let piece = self.check(x);
        assert_len("y", y, x.len());
        y.par_chunks_mut(piece)
            .zip(x.par_chunks(piece))
            .with_min_len(threads::min_len(1))
            .for_each(|(y, x)| T::layer_norm_forward(Isa::current(), ForwardKernel { norm: self, x, y }));
    }

    /// The backward pass of [`LayerNorm::forward`].
    ///
    /// `x`: the forward pass's input; `dy`: the gradient with respect to its output; `dx`: overwritten with
    /// the gradient with respect to `x`, plus `others` if given: gradients that reach `x` along other paths.
    ///
    /// # Panics
    /// If there are no channels, or on slices of other lengths.
    pub fn backward<T: Element>(
        &self,
        x: &[T],
        dy: &[T],
        others: Option<&[T]>,
        dx: &mut [T],
    ) -> NormGradients {
        let piece = self.check(x);
        assert_len("dy", dy, x.len());
        assert_len("dx", dx, x.len());
        if let Some(others) = others {
            assert_len("others", others, x.len());
        }
        let dx = SharedMut::new(dx);
        let pieces = (0..x.len().div_ceil(piece)).into_par_iter().with_min_len(threads::min_len(1));
        let sums = pieces.map(|at| {
            let range = at * piece..((at + 1) * piece).min(x.len());
            let kernel = BackwardKernel {
                norm: self,
                x: &x[range.clone()],
                dy: &dy[range.clone()],
                others: others.map(|others| &others[range.clone()]),
                // SAFETY: pieces do not overlap.
                dx: unsafe { dx.slice(range.start, range.len()) },
            };
            T::layer_norm_backward(Isa::current(), kernel)
        });
        let sums: Vec<[Vec<f32>; 2]> = sums.collect();
        let [gamma, beta] = [0, 1].map(|which| {
            let mut total = vec![0.0f64; self.gamma.len()];
            for piece in &sums {
                total.iter_mut().zip(&piece[which]).for_each(|(total, sum)| *total += f64::from(*sum));
            }
            total.into_iter().map(|total| total as f32).collect()
        });
        NormGradients { gamma, beta }
    }

    /// The elements of a piece: whole rows.
    #[track_caller]
    fn check<T>(&self, x: &[T]) -> usize {
        let channels = self.gamma.len();
        assert_len("beta", self.beta, channels);
        assert!(
            channels > 0 && x.len().is_multiple_of(channels),
            "x has {} elements, no multiple of {channels} channels",
            x.len()
        );
        (PIECE / channels).clamp(1, PIECE_ROWS) * channels
    }
}

/// A row as f32, padded with zeros to whole vectors of every instruction set, so that loops over it have no
/// remainder.
struct Row {
    values: Vec<f32>,
    channels: usize,
}

impl Row {
    fn zeros(channels: usize) -> Self {
        Row { values: vec![0.0; channels.next_multiple_of(16)], channels }
    }

    fn padded(values: &[f32]) -> Self {
        let mut row = Row::zeros(values.len());
        row.values[..values.len()].copy_from_slice(values);
        row
    }

    /// The index of each vector, and how many of its lanes there are.
    #[inline(always)]
    fn vectors<S: Simd>(&self) -> impl Iterator<Item = (usize, usize)> + use<S> {
        let channels = self.channels;
        (0..channels).step_by(S::LANES).map(move |at| (at, S::LANES.min(channels - at)))
    }

    /// Becomes a row of `x` minus its mean. Returns `1 / sqrt(variance + epsilon)`.
    ///
    /// # Safety
    /// The processor has S, and `x` points to a row.
    #[inline(always)]
    unsafe fn centre<S: Simd, T: Element>(&mut self, x: *const T, epsilon: f32) -> f32 {
        let row = self.values.as_mut_ptr();
        // SAFETY: the caller's promise; the values fill whole vectors.
        unsafe {
            let mut sum = S::splat(0.0);
            for (at, lanes) in self.vectors::<S>() {
                let x = load::<S, T>(x.add(at), lanes);
                S::store(row.add(at), x);
                sum = S::add(sum, x);
            }
            let mean = simd::sum_of_lanes::<S>(sum) / self.channels as f32;
            // Lanes beyond the row stay 0.
            let means = [mean; 16];
            let mut squares = S::splat(0.0);
            for (at, lanes) in self.vectors::<S>() {
                let centred = S::sub(S::load(row.add(at)), load::<S, f32>(means.as_ptr(), lanes));
                S::store(row.add(at), centred);
                squares = S::fma(centred, centred, squares);
            }
            1.0 / (simd::sum_of_lanes::<S>(squares) / self.channels as f32 + epsilon).sqrt()
        }
    }
}

/// Some rows.
pub struct ForwardKernel<'a, T> {
    norm: &'a LayerNorm<'a>,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Element> Kernel for ForwardKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.norm.gamma.len();
        let mut row = Row::zeros(channels);
        let (gamma, beta) = (Row::padded(self.norm.gamma), Row::padded(self.norm.beta));
        for (x, y) in self.x.chunks_exact(channels).zip(self.y.chunks_exact_mut(channels)) {
            // SAFETY: the processor has S; rows fill whole vectors, x and y have as many channels.
            unsafe {
                let inverse = S::splat(row.centre::<S, T>(x.as_ptr(), self.norm.epsilon));
                for (at, lanes) in row.vectors::<S>() {
                    let normalised = S::mul(S::load(row.values.as_ptr().add(at)), inverse);
                    let (gamma, beta) =
                        (S::load(gamma.values.as_ptr().add(at)), S::load(beta.values.as_ptr().add(at)));
                    store::<S, T>(y.as_mut_ptr().add(at), lanes, S::fma(normalised, gamma, beta));
                }
            }
        }
    }
}

/// The backward pass of some rows.
pub struct BackwardKernel<'a, T> {
    norm: &'a LayerNorm<'a>,
    x: &'a [T],
    dy: &'a [T],
    others: Option<&'a [T]>,
    dx: &'a mut [T],
}

impl<T: Element> Kernel for BackwardKernel<'_, T> {
    type Output = [Vec<f32>; 2];

    /// Returns the sums for gamma and beta.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> [Vec<f32>; 2] {
        let channels = self.norm.gamma.len();
        let gamma = Row::padded(self.norm.gamma);
        // The normalised row, and the gradient with respect to it.
        let [mut row, mut gradients, mut dgamma, mut dbeta] = [(); 4].map(|()| Row::zeros(channels));
        for start in (0..self.x.len()).step_by(channels) {
            // SAFETY: the processor has S; rows fill whole vectors, the slices have as many channels from `start` on.
            unsafe {
                let inverse = row.centre::<S, T>(self.x.as_ptr().add(start), self.norm.epsilon);
                let (mut sum, mut product) = (S::splat(0.0), S::splat(0.0));
                for (at, lanes) in row.vectors::<S>() {
                    let row = row.values.as_mut_ptr().add(at);
                    let (dgamma, dbeta) =
                        (dgamma.values.as_mut_ptr().add(at), dbeta.values.as_mut_ptr().add(at));
                    let dy = load::<S, T>(self.dy.as_ptr().add(start + at), lanes);
                    let normalised = S::mul(S::load(row), S::splat(inverse));
                    let gradient = S::mul(dy, S::load(gamma.values.as_ptr().add(at)));
                    S::store(row, normalised);
                    S::store(gradients.values.as_mut_ptr().add(at), gradient);
                    S::store(dgamma, S::fma(dy, normalised, S::load(dgamma)));
                    S::store(dbeta, S::add(dy, S::load(dbeta)));
                    sum = S::add(sum, gradient);
                    product = S::fma(gradient, normalised, product);
                }
                let factor = -1.0 / channels as f32;
                let mean = S::splat(simd::sum_of_lanes::<S>(sum) * factor);
                let product = S::splat(simd::sum_of_lanes::<S>(product) * factor);
                for (at, lanes) in row.vectors::<S>() {
                    let (normalised, gradient) =
                        (S::load(row.values.as_ptr().add(at)), S::load(gradients.values.as_ptr().add(at)));
                    let centred = S::add(gradient, S::fma(normalised, product, mean));
                    let mut dx = S::mul(centred, S::splat(inverse));
                    if let Some(others) = self.others {
                        dx = S::add(dx, load::<S, T>(others.as_ptr().add(start + at), lanes));
                    }
                    store::<S, T>(self.dx.as_mut_ptr().add(start + at), lanes, dx);
                }
            }
        }
        [dgamma, dbeta].map(|row| row.values)
    }
}
